package segment

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"spoor/internal/event"
)

// spillFixture fills a spill from two writers: 40 days of 8 large records, beyond what is kept in memory, and records
// without a time. A day of many small ones becomes a segment at once.
func spillFixture(t *testing.T, dir string) (s *Spill, writers []*Writer, direct []Segment, want []string) {
	t.Helper()
	s = NewSpill(dir)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	rnd := rand.NewChaCha8([32]byte{})
	random, pad := make([]byte, 4<<10), make([]byte, 8<<10)
	n := 0
	add := func(w *Writer, at string, size int) {
		if _, err := rnd.Read(random[:(size+1)/2]); err != nil {
			t.Fatal(err)
		}
		hex.Encode(pad, random[:(size+1)/2])
		n++
		raw := fmt.Sprintf(`{"eventID":"e-%d"%s,"eventName":"X","requestParameters":{"pad":"%s"}}`, n, at, pad[:size])
		e, err := event.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		e.File, e.Offset = fmt.Sprintf("file-%d", n%3), int64(n)
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprint(e.File, e.Offset, raw))
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for range 2 {
		w := NewWriter(Options{Dir: dir})
		writers = append(writers, w)
		for day := range 40 {
			for i := range 8 {
				at := start.AddDate(0, 0, day).Add(time.Duration(i*1000+n) * time.Second).Format(time.RFC3339)
				add(w, fmt.Sprintf(`,"eventTime":%q`, at), len(pad))
			}
		}
		for range 3 {
			add(w, "", 10)
		}
	}
	for range enoughRows {
		add(writers[0], `,"eventTime":"2025-12-31T12:00:00Z"`, 3)
	}
	for _, w := range writers {
		segs, err := w.Settle(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		direct = append(direct, segs...)
	}
	slices.Sort(want)
	return s, writers, direct, want
}

func TestSpill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, writers, direct, want := spillFixture(t, dir)
	if len(direct) != 1 || direct[0].Rows != enoughRows || s.Rows() != int64(len(want)-enoughRows) || s.Filed() == 0 || s.Filed() == s.Rows() {
		t.Fatalf("%d files, %d events aside, %d of them on disk", len(direct), s.Rows(), s.Filed())
	}
	segs, err := s.Write(t.Context(), writers, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	days := map[time.Time]int{}
	var got []string
	for _, g := range append(segs, direct...) {
		days[g.Day]++
		r, err := Open(t.Context(), filepath.Join(dir, g.Path), time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		for {
			rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprint(rec.File, rec.Offset, string(rec.Raw)))
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("%d events came out, %d went in, or others", len(got), len(want))
	}
	// A day is cut where the limit of a goroutine is reached: here 3 MB of records and 2 goroutines.
	if len(days) != 42 || len(segs) > 41+8 {
		t.Errorf("%d files of %d days", len(segs), len(days))
	}
	if s.Rows() != 0 || s.Filed() != 0 {
		t.Errorf("%d events stay aside", s.Rows())
	}
	if segs, err = s.Write(t.Context(), writers, 1<<20); err != nil || len(segs) != 0 {
		t.Errorf("%d files out of nothing: %v", len(segs), err)
	}
}

func TestSpillFails(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"cancelled", "changed", "cut", "no folder"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if what == "no folder" {
				s := NewSpill(filepath.Join(dir, "none"))
				s.memory = spillMemory
				w := NewWriter(Options{Dir: dir})
				e, err := event.Parse([]byte(`{"eventID":"1"}`))
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Add(e, nil); err != nil {
					t.Fatal(err)
				}
				if _, err := w.Settle(ctx, s); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%v", err)
				}
				return
			}
			s, writers, direct, _ := spillFixture(t, dir)
			want := context.Canceled
			switch what {
			case "cancelled":
				cancel()
			case "changed":
				want = errSpill
				if _, err := s.file.WriteAt(make([]byte, 100_000), 1000); err != nil {
					t.Fatal(err)
				}
			case "cut":
				want = io.EOF
				if err := s.file.Truncate(s.end / 2); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := s.Write(ctx, writers, 1<<20); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			for _, sub := range []string{"data/*/*", "index/*"} {
				names, err := filepath.Glob(filepath.Join(dir, sub))
				if err != nil || len(names) != len(direct) {
					t.Errorf("files are left: %v (%v)", names, err)
				}
			}
			if names, err := os.ReadDir(dir); err != nil || len(names) > 3 {
				t.Errorf("in the folder: %v (%v)", names, err)
			}
		})
	}
}
