package ledger

import (
	"slices"
	"testing"
	"time"
)

func TestStretches(t *testing.T) {
	t.Parallel()
	day := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	cell := func(account, region string, hour int) Cell {
		return Cell{Account: account, Region: region, Hour: day.Add(time.Duration(hour) * time.Hour), Objects: Objects{Listed: 1, Read: 1}, Records: Records{Seen: 2, Kept: 2}}
	}
	r := &Report{}
	for h := range 20 {
		if h < 5 || h > 6 { // steady, with a gap of two hours
			r.Cells = append(r.Cells, cell("1", "a", h))
		}
		if h%4 == 0 { // now and then
			r.Cells = append(r.Cells, cell("1", "b", h))
		}
		if h < 12 { // steady, and silent since
			r.Cells = append(r.Cells, cell("2", "a", h))
		}
	}
	r.Cells = append(r.Cells, cell("1", "a", -500), cell("1", "a", 400), // a clock that is wrong
		Cell{Account: "3", Region: "a", Hour: day, Objects: Objects{Listed: 1, Failed: 1}})
	slices.Reverse(r.Cells)
	at := func(h int) time.Time { return day.Add(time.Duration(h) * time.Hour) }
	got, gaps := r.Stretches(day.Add(time.Minute), at(20))
	inside, open := Gap{"1", "a", at(5), at(7), 2, false}, Gap{"2", "a", at(12), at(20), 8, true}
	if want := []Gap{inside, open}; !slices.Equal(gaps, want) {
		t.Errorf("gaps %+v, want %+v", gaps, want)
	}
	if len(got) != 4 || got[0].Busy != 19 || got[0].Hours != 520 || !got[0].First.Equal(at(-500)) || got[1].Busy != 5 || got[1].Hours != 17 || got[2].Busy != 12 || got[3].Busy != 0 ||
		got[3].Objects.Failed != 1 || got[0].Records.Kept != 40 {
		t.Errorf("%+v", got)
	}
	// The hour that is not over is no gap.
	if _, gaps = r.Stretches(day, at(12)); !slices.Equal(gaps, []Gap{inside}) {
		t.Errorf("gaps %+v", gaps)
	}
}
