package ledger

import (
	"slices"
	"time"
)

// Gap is a stretch of hours of which an account has no record in a Region.
type Gap struct {
	Account string    `json:"account"`
	Region  string    `json:"region"`
	From    time.Time `json:"from"`  // first hour
	Until   time.Time `json:"until"` // first hour behind it
	Hours   int       `json:"hours"`
	// Open says that nothing came after it.
	Open bool `json:"open"`
}

// Stretch is the time over which an account has records in a Region.
type Stretch struct {
	Account, Region string
	First, Last     time.Time // hours, up to until
	Hours           int       // from the first to the last, both included
	Busy            int       // of them, those with records
	Objects         Objects   // whose keys name the account and the Region, of all hours
	Records         Records   // of all hours
}

// steady says whether hours have records in at least three of four from the first to the last, and in eight at least.
func steady(busy []time.Time) bool {
	n := len(busy)
	return n >= 8 && 4*n >= 3*(between(busy[0], busy[n-1])+1)
}

// Stretches adds cells up by account and Region, and finds gaps where there are records in most hours since a time: the hours
// without any between the first and the last one, and two or more behind the last one, up to the latest of the report before
// until, whose hour is not over. Hours after until are left out of times and gaps.
func (r *Report) Stretches(since, until time.Time) ([]Stretch, []Gap) {
	since, until = since.UTC().Truncate(time.Hour), until.UTC().Truncate(time.Hour)
	type key struct{ account, region string }
	var out []Stretch
	hours := map[key][]time.Time{}
	var latest time.Time
	cells := slices.Clone(r.Cells)
	slices.SortFunc(cells, compareCells)
	for _, c := range cells {
		k := key{c.Account, c.Region}
		if n := len(out); n == 0 || out[n-1].Account != c.Account || out[n-1].Region != c.Region {
			out = append(out, Stretch{Account: c.Account, Region: c.Region})
		}
		s := &out[len(out)-1]
		s.Objects.add(c.Objects)
		s.Records.add(c.Records)
		if c.Hour.IsZero() || c.Hour.After(until) || c.Records.Kept+c.Records.Duplicate == 0 {
			continue
		}
		hours[k] = append(hours[k], c.Hour)
		if c.Hour.After(latest) && c.Hour.Before(until) {
			latest = c.Hour
		}
	}
	var gaps []Gap
	for i := range out {
		s := &out[i]
		busy := hours[key{s.Account, s.Region}]
		if len(busy) == 0 {
			continue
		}
		s.First, s.Last, s.Busy = busy[0], busy[len(busy)-1], len(busy)
		s.Hours = between(s.First, s.Last) + 1
		if i, _ := slices.BinarySearchFunc(busy, since, time.Time.Compare); i > 0 {
			busy = busy[i:]
		}
		if !steady(busy) || s.Account == "" || s.Account == Rest {
			continue
		}
		for k, h := range busy {
			next, open := latest.Add(time.Hour), true
			if k+1 < len(busy) {
				next, open = busy[k+1], false
			}
			if n := between(h, next) - 1; n > 1 || n == 1 && !open {
				gaps = append(gaps, Gap{Account: s.Account, Region: s.Region, From: h.Add(time.Hour), Until: next, Hours: n, Open: open})
			}
		}
	}
	return out, gaps
}

func between(a, b time.Time) int { return int(b.Sub(a) / time.Hour) }
