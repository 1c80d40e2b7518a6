package cli

import (
	"strings"
	"testing"
	"time"

	"spoor/internal/intake"
)

func TestProgressLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		listed, listedBytes, unsized, done, doneBytes int64
		listing                                       bool
		want                                          string
	}{
		{listed: 10, listedBytes: 1000, done: 1, doneBytes: 500, want: "ETA 10s"},
		{listed: 10, listedBytes: 1000, done: 1, doneBytes: 500, listing: true, want: "1/10+ files"},
		{listed: 10, listedBytes: 501, unsized: 5, done: 2, doneBytes: 500, want: "ETA 40s"},
		{listed: 10, listedBytes: 500, done: 10, doneBytes: 500, want: "10/10 files"},
		{listed: 1, unsized: 1, want: "0/1 files"},
	} {
		var p intake.Progress
		p.Listed.Store(c.listed)
		p.ListedBytes.Store(c.listedBytes)
		p.Unsized.Store(c.unsized)
		p.Done.Store(c.done)
		p.DoneBytes.Store(c.doneBytes)
		p.ListingDone.Store(!c.listing)
		line := progressLine(&p, 10*time.Second)
		if !strings.Contains(line, c.want) || strings.Contains(line, "ETA") != strings.Contains(c.want, "ETA") {
			t.Errorf("%+v: %q", c, line)
		}
	}
}
