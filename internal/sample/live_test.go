package sample

import (
	"context"
	"encoding/json"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
)

// liveClock goes on by a step each time that it is read, and ends the run when it has reached the end.
type liveClock struct {
	mu   sync.Mutex
	now  time.Time
	step time.Duration
	end  time.Time
	stop context.CancelFunc
}

func (c *liveClock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(c.step)
	if c.now.After(c.end) {
		c.stop()
	}
	return c.now
}

// liveEvents reads ids and times of everything in a folder.
func liveEvents(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	out := map[string]time.Time{}
	err := filepath.WalkDir(filepath.Join(dir, "AWSLogs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if strings.HasSuffix(path, ".part") {
			t.Errorf("left behind: %s", path)
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		text, err := io.ReadAll(z)
		if err != nil {
			return err
		}
		var file struct {
			Records []struct {
				EventID   string
				EventTime time.Time
			}
		}
		if err := json.Unmarshal(text, &file); err != nil {
			return err
		}
		for _, r := range file.Records {
			out[r.EventID] = r.EventTime
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLiveGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const perDay, days = 600, 2
	began := time.Date(2026, 5, 6, 22, 0, 0, 0, time.UTC)
	run := func(from, to time.Time) map[string]time.Time {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		c := &liveClock{now: from, step: 10 * time.Minute, end: to, stop: stop}
		if err := Live(ctx, LiveOptions{Seed: 3, Accounts: 3, Out: dir, PerDay: perDay, Days: days, Every: time.Microsecond, Now: c.read}); err != nil {
			t.Fatal(err)
		}
		return liveEvents(t, dir)
	}
	count := func(all map[string]time.Time, from, to time.Time) (n int) {
		for _, at := range all {
			if !at.Before(from) && at.Before(to) {
				n++
			}
		}
		return n
	}
	midnight := began.Truncate(24 * time.Hour)
	first := run(began, began.Add(time.Hour))
	if n := count(first, midnight.AddDate(0, 0, -days), midnight); n != perDay*days {
		t.Errorf("the history has %d events, want %d", n, perDay*days)
	}
	if n := count(first, midnight, began); n == 0 || n >= perDay {
		t.Errorf("%d events of today before the start, of %d", n, perDay)
	}
	if n := count(first, began.Add(time.Hour+time.Second), began.AddDate(1, 0, 0)); n != 0 {
		t.Errorf("%d events of the future", n)
	}
	// A second run goes on where the first ended, also when it was away over midnight.
	second := run(began.Add(4*time.Hour), began.Add(27*time.Hour))
	for id, at := range first {
		if !second[id].Equal(at) {
			t.Fatalf("event %s has gone", id)
		}
	}
	for d := range 2 {
		from := midnight.AddDate(0, 0, d)
		if n := count(second, from, from.AddDate(0, 0, 1)); n != perDay {
			t.Errorf("day %d has %d events, want %d", d, n, perDay)
		}
	}
}
