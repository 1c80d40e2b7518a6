package console

import (
	"cmp"
	"slices"
	"time"

	"spoor/internal/config"
	"spoor/internal/event"
	"spoor/internal/ledger"
	"spoor/internal/query"
)

// Selecting are the query parameters by which events are chosen.
type Selecting struct {
	Term    []string `query:"term,explode" maxItems:"100" doc:"a term of spoor search: text anywhere in the event, or field=value, field!=value, field|modifier=value, field~expression. All must hold"`
	Since   string   `query:"since" maxLength:"64" doc:"earliest event time: 2026-01-10, 2026-01-10T09:00:00Z, or 36h or 7d ago"`
	Until   string   `query:"until" maxLength:"64" doc:"latest event time, itself not included; written like since"`
	Account []string `query:"account,explode" maxItems:"1000" doc:"only events of these accounts"`
	Region  []string `query:"region,explode" maxItems:"100" doc:"only events of these Regions"`
}

func (c *Console) filter(s Selecting) (query.Filter, error) {
	f := query.Filter{Terms: s.Term, Accounts: s.Account, Regions: s.Region}
	var err error
	f.Since, f.Until, err = c.span("query.", s.Since, s.Until)
	return f, err
}

// span reads two times, of which the first must be the earlier one.
func (c *Console) span(where, since, until string) (from, to time.Time, err error) {
	if from, err = c.when(where+"since", since); err != nil {
		return from, to, err
	}
	if to, err = c.when(where+"until", until); err != nil {
		return from, to, err
	}
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return from, to, invalid(where+"until", "it is not after since")
	}
	return from, to, nil
}

// when reads a point in time, or a length of time before now; empty is the zero time.
func (c *Console) when(where, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if d, err := config.ParseSpan(s); err == nil {
		return c.o.Now().Add(-d).UTC(), nil
	}
	// Times of other years are beyond what nanoseconds since 1970 can say.
	if t, ok := event.ParseTime(s); ok && s[:4] >= "1970" && s[:4] < "2262" {
		return time.Unix(0, t).UTC(), nil
	}
	return time.Time{}, invalid(where, "it is neither a time (2026-01-10, 2026-01-10T09:00:00Z) nor a length of time before now (36h, 7d)")
}

func sortedLedgers(all map[string]*ledger.Report) []SourceLedger {
	out := make([]SourceLedger, 0, len(all))
	for name, r := range all {
		out = append(out, SourceLedger{name, r})
	}
	slices.SortFunc(out, func(a, b SourceLedger) int { return cmp.Compare(a.Source, b.Source) })
	return out
}
