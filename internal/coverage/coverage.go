// Package coverage judges whether what the sources of a service listed was read: by their ledgers, their dead letters and their
// states. What is missing is named.
package coverage

import (
	"fmt"
	"slices"
	"time"

	"spoor/internal/ledger"
	"spoor/internal/source/live"
)

// Source is what is known of a source.
type Source struct {
	Name  string
	Kind  string // sqs, s3, folder or push; "" when that is not known
	State string // running, paused, disabled, failed or elsewhere; "" when that is not known
	Error string // why it failed
	// Ledger is of what was read on the day of since and later. nil with Unread says why it cannot be read.
	Ledger *ledger.Report
	Unread error
	// Letters are the dead letters, as far as they were listed; Waiting is how many there are.
	Letters []live.Letter
	Waiting int64

	Backlog     int64 // -1 when that is not known
	InFlight    int64
	LastSuccess time.Time
	AsOf        time.Time // of the ledger when it is not that of a source that runs
}

// Report is a judgement over sources.
type Report struct {
	Whole   bool      `json:"whole"`
	Since   time.Time `json:"since,omitzero"` // the first day, zero for all
	Until   time.Time `json:"until"`
	Reasons []string  `json:"reasons"` // why it is not whole, beside what the sources tell
	Remarks []string  `json:"remarks"` // worth knowing; nothing is missing for them
	Sources []Verdict `json:"sources"` // by name
	Total   Total     `json:"total"`
}

// Total adds up the sources.
type Total struct {
	Objects        ledger.Objects `json:"objects"`
	Records        ledger.Records `json:"records"`
	MissingObjects int64          `json:"missingObjects"`
	MissingRecords int64          `json:"missingRecords"` // malformed stretches
	Incomplete     int            `json:"incompleteSources"`
	ToRead         int64          `json:"toRead"` // objects and messages that are known to wait; not missing
}

// Verdict is the judgement of a source.
type Verdict struct {
	Name        string    `json:"name"`
	Kind        string    `json:"kind,omitempty"`
	State       string    `json:"state,omitempty"`
	Whole       bool      `json:"whole"`
	Reasons     []string  `json:"reasons"` // why it is not
	Remarks     []string  `json:"remarks"`
	AsOf        time.Time `json:"asOf,omitzero"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`

	Objects ledger.Objects `json:"objects"`
	Records ledger.Records `json:"records"`
	// MissingObjects are those that failed and were not replayed; Waiting of them lie with the dead letters, Discarded were
	// given up.
	MissingObjects int64 `json:"missingObjects"`
	Waiting        int64 `json:"waiting"`
	Discarded      int64 `json:"discarded"`
	Replayed       int64 `json:"replayed"`

	Letters  []live.Letter    `json:"deadLetters"` // those that wait, as far as they were listed
	Failures []ledger.Failure `json:"failures"`    // objects that failed and do not wait; some may have been replayed
	Rejects  []ledger.Reject  `json:"rejects"`
	Gaps     []ledger.Gap     `json:"gaps"` // hours without records where there are usually some; not a reason
	Cells    []ledger.Cell    `json:"cells"`

	Stretches []ledger.Stretch `json:"-"`
}

// lateAfter is how old the newest record may be before that is remarked.
const lateAfter = 3 * time.Hour

// Judge says whether everything was read. since is the first day that the ledgers tell about, zero for all of them.
func Judge(sources []Source, since, now time.Time) *Report {
	r := &Report{Whole: true, Until: now.UTC(), Reasons: []string{}, Remarks: []string{}, Sources: []Verdict{}}
	if !since.IsZero() {
		r.Since = since.UTC().Truncate(24 * time.Hour)
	}
	for _, s := range sources {
		v := judge(&s, r.Since, now)
		r.Sources = append(r.Sources, v)
		if !v.Whole {
			r.Whole = false
			r.Total.Incomplete++
		}
		t := &r.Total
		t.MissingObjects += v.MissingObjects
		t.ToRead += max(0, s.Backlog)
		t.MissingRecords += v.Records.Rejected
		t.Objects.Listed += v.Objects.Listed
		t.Objects.Read += v.Objects.Read
		t.Objects.Skipped += v.Objects.Skipped
		t.Objects.Failed += v.Objects.Failed
		t.Records.Seen += v.Records.Seen
		t.Records.Kept += v.Records.Kept
		t.Records.Duplicate += v.Records.Duplicate
		t.Records.Filtered += v.Records.Filtered
		t.Records.Rejected += v.Records.Rejected
		t.Records.Other += v.Records.Other
	}
	slices.SortFunc(r.Sources, func(a, b Verdict) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	var newest time.Time
	for i := range r.Sources {
		for _, st := range r.Sources[i].Stretches {
			if st.Last.After(newest) {
				newest = st.Last
			}
		}
	}
	if d := now.Sub(newest); !newest.IsZero() && d > lateAfter {
		r.Remarks = append(r.Remarks, fmt.Sprintf("the newest record is of the hour of %s UTC, %d hours ago", newest.Format("2006-01-02 15:04"), int(d.Hours())))
	}
	switch {
	case len(sources) == 0:
		r.Miss("there is no source")
	case r.Total.Records.Seen == 0 && r.Whole:
		r.Miss("no source has read a record")
	}
	return r
}

// Miss adds a reason why the whole is not whole.
func (r *Report) Miss(reason string) {
	r.Whole = false
	r.Reasons = append(r.Reasons, reason)
}

func judge(s *Source, since, now time.Time) Verdict {
	v := Verdict{Name: s.Name, Kind: s.Kind, State: s.State, Reasons: []string{}, Remarks: []string{}, AsOf: s.AsOf, LastSuccess: s.LastSuccess,
		Letters: []live.Letter{}, Failures: []ledger.Failure{}, Rejects: []ledger.Reject{}, Gaps: []ledger.Gap{}, Cells: []ledger.Cell{}}
	miss := func(format string, args ...any) { v.Reasons = append(v.Reasons, fmt.Sprintf(format, args...)) }
	remark := func(format string, args ...any) { v.Remarks = append(v.Remarks, fmt.Sprintf(format, args...)) }
	switch s.State {
	case "failed":
		miss("it does not read: %s", s.Error)
	case "paused":
		miss("it is paused: nothing is read from it until it is resumed")
	case "disabled":
		remark("it is disabled in the configuration")
	case "elsewhere":
		remark("another process runs it; this is what it last wrote down")
	}
	if s.Backlog > 0 {
		remark("%d wait to be read", s.Backlog)
	}
	older := s.Waiting - int64(len(s.Letters))
	names := map[string]bool{}
	for _, l := range s.Letters {
		if l.At.Before(since) {
			older++
			continue
		}
		v.Letters = append(v.Letters, l)
		names[l.Object] = true
	}
	v.Waiting = int64(len(v.Letters))
	if older > 0 {
		remark("%d more dead letters wait, from before or not listed here", older)
	}
	if s.Ledger == nil {
		miss("its ledger cannot be read: %v", s.Unread)
		v.MissingObjects = v.Waiting
		return v
	}
	l := s.Ledger
	v.Objects, v.Records = l.Objects, l.Records
	v.Rejects = append(v.Rejects, l.Rejects...)
	v.Cells = append(v.Cells, l.Cells...)
	for _, n := range l.Notes {
		if n.Reason == live.Replayed {
			v.Replayed += n.Count
		}
	}
	v.MissingObjects = max(l.Objects.Failed-v.Replayed, v.Waiting)
	v.Discarded = v.MissingObjects - v.Waiting
	for _, f := range l.Failures {
		if !names[f.Object] && v.Discarded > 0 {
			v.Failures = append(v.Failures, f)
		}
	}
	if v.MissingObjects > 0 {
		miss("%s could not be read: %d wait as dead letters, %d were given up", count(v.MissingObjects, "object"), v.Waiting, v.Discarded)
	}
	if l.Records.Rejected > 0 {
		miss("%s of what was read could not be understood", count(l.Records.Rejected, "record"))
	}
	problems := l.Problems
	if !l.Balanced && len(problems) == 0 {
		problems = []string{"it does not say why"}
	}
	for _, p := range problems {
		miss("its ledger does not balance: %s", p)
	}
	v.Stretches, v.Gaps = l.Stretches(since, now)
	if v.Gaps == nil {
		v.Gaps = []ledger.Gap{}
	}
	v.Whole = len(v.Reasons) == 0
	return v
}

func count(n int64, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
