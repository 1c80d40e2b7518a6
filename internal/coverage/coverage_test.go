package coverage

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/source/live"
)

var now = time.Date(2026, 1, 10, 12, 30, 0, 0, time.UTC)

// ledgerOf reads objects, fails others, and rejects records.
func ledgerOf(read, failed, rejected, replayed int) *ledger.Report {
	l := ledger.New()
	obj := func(name string) *ledger.Object {
		o := source.Object{Name: name, Place: source.Place{Account: "111122223333", Region: "us-east-1", Delivered: now}}
		l.Listed(o)
		return l.Object(o)
	}
	for range read {
		o := obj("good")
		o.Seen(2)
		for range 2 {
			o.Record("111122223333", "us-east-1", now.UnixNano(), ledger.Kept)
		}
		if replayed > 0 {
			replayed--
			o.Note(live.Replayed)
		}
		o.Close(nil)
	}
	for i := range failed {
		obj(fmt.Sprintf("bad%d", i)).Close(errors.New("broken off"))
	}
	if rejected > 0 {
		o := obj("mixed")
		o.Seen(int64(rejected))
		for range rejected {
			o.Reject(0, 1, "no JSON")
		}
		o.Close(nil)
	}
	return l.Report()
}

func TestJudge(t *testing.T) {
	t.Parallel()
	letter := live.Letter{ID: "x", Object: "bad0", At: now}
	old := live.Letter{ID: "y", Object: "old", At: now.Add(-72 * time.Hour)}
	unbalanced := ledgerOf(1, 0, 0, 0)
	unbalanced.Balanced, unbalanced.Problems = false, []string{"objects: 2 listed"}
	for name, c := range map[string]struct {
		s               Source
		reasons, remark string // "" for none
		missing, given  int64
	}{
		"all is well":        {Source{Ledger: ledgerOf(3, 0, 0, 0)}, "", "", 0, 0},
		"one waits":          {Source{Ledger: ledgerOf(3, 1, 0, 0), Letters: []live.Letter{letter}, Waiting: 1}, "1 object could not be read: 1 wait as dead letters, 0 were given up", "", 1, 0},
		"one was replayed":   {Source{Ledger: ledgerOf(3, 1, 0, 1)}, "", "", 0, 0},
		"one was given up":   {Source{Ledger: ledgerOf(3, 2, 0, 0), Letters: []live.Letter{letter}, Waiting: 1}, "2 objects could not be read: 1 wait as dead letters, 1 were given up", "", 2, 1},
		"malformed":          {Source{Ledger: ledgerOf(3, 0, 2, 0)}, "2 records of what was read", "", 0, 0},
		"does not balance":   {Source{Ledger: unbalanced}, "does not balance: objects: 2 listed", "", 0, 0},
		"no ledger":          {Source{Unread: errors.New("disk on fire")}, "disk on fire", "", 0, 0},
		"failed":             {Source{Ledger: ledgerOf(1, 0, 0, 0), State: "failed", Error: "no such queue"}, "it does not read: no such queue", "", 0, 0},
		"paused":             {Source{Ledger: ledgerOf(1, 0, 0, 0), State: "paused"}, "paused", "", 0, 0},
		"disabled":           {Source{Ledger: ledgerOf(1, 0, 0, 0), State: "disabled"}, "", "disabled", 0, 0},
		"behind":             {Source{Ledger: ledgerOf(1, 0, 0, 0), State: "running", Backlog: 7}, "", "7 wait", 0, 0},
		"an old letter":      {Source{Ledger: ledgerOf(1, 0, 0, 0), Letters: []live.Letter{old}, Waiting: 1}, "", "1 more dead letters", 0, 0},
		"more than listed":   {Source{Ledger: ledgerOf(1, 0, 0, 0), Waiting: 9}, "", "9 more dead letters", 0, 0},
		"replayed from then": {Source{Ledger: ledgerOf(2, 0, 0, 2)}, "", "", 0, 0},
	} {
		c.s.Name = "trail"
		r := Judge([]Source{c.s}, now.Add(-24*time.Hour), now)
		v := r.Sources[0]
		reasons, remarks := strings.Join(v.Reasons, "; "), strings.Join(v.Remarks, "; ")
		if r.Whole != (c.reasons == "") || v.Whole != r.Whole || !strings.Contains(reasons, c.reasons) || !strings.Contains(remarks, c.remark) || (c.remark == "") != (remarks == "") ||
			v.MissingObjects != c.missing || v.Discarded != c.given || r.Total.MissingObjects != c.missing || r.Total.ToRead != c.s.Backlog || len(r.Reasons) != 0 {
			t.Errorf("%s: %+v", name, r)
		}
		if (len(v.Failures) > 0) != (c.given > 0) {
			t.Errorf("%s: failures %+v", name, v.Failures)
		}
	}
}

func TestNothingIsNotWhole(t *testing.T) {
	t.Parallel()
	for want, sources := range map[string][]Source{
		"there is no source":          nil,
		"no source has read a record": {{Name: "a", Ledger: ledgerOf(0, 0, 0, 0)}, {Name: "b", Ledger: ledgerOf(0, 0, 0, 0)}},
		"":                            {{Name: "b", Ledger: ledgerOf(1, 0, 0, 0)}, {Name: "a", Ledger: ledgerOf(0, 0, 0, 0)}},
	} {
		r := Judge(sources, time.Time{}, now)
		if got := strings.Join(r.Reasons, "; "); got != want || r.Whole != (want == "") {
			t.Errorf("%+v, want %q", r, want)
		}
		if len(sources) == 2 && (r.Sources[0].Name != "a" || r.Sources[1].Name != "b") {
			t.Errorf("order %+v", r.Sources)
		}
	}
}
