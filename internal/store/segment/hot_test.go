package segment_test

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/segment/segmenttest"
)

// TestHot: events of all days, with and without a time, lie in one hot file in the order of time, which both readers give
// byte for byte, and which a stream makes of several.
func TestHot(t *testing.T) {
	t.Parallel()
	var texts []string
	for i, at := range []string{"2026-03-02T00:00:00Z", "2024-02-29T23:59:59Z", "", "1969-12-31T23:59:59Z", "2026-03-01T12:00:00Z", "1970-01-01T00:00:01Z", "not a time"} {
		for k := range 3 {
			texts = append(texts, fmt.Sprintf(`{"eventTime":%q,"eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"%08d-0000-4000-8000-%012d","requestParameters":{"n":%d},"responseElements":null}`, at, i, k, k))
		}
	}
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir, Hot: true})
	stream := segment.NewStream(segment.Options{Dir: dir, Hot: true})
	add := func(text string) {
		e, err := event.Parse([]byte(text))
		if err == nil {
			err = w.Add(e, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range texts {
		add(text)
	}
	segs, err := w.Flush(t.Context())
	if err != nil || len(segs) != 1 {
		t.Fatalf("%d files, %v", len(segs), err)
	}
	read := func(g segment.Segment) (n int) {
		t.Helper()
		if !g.Day.IsZero() || !g.MinTime.IsZero() || filepath.Dir(g.Path) != "hot" || g.Rows != int64(len(texts)) {
			t.Errorf("%+v", g)
		}
		b, err := os.ReadFile(filepath.Join(dir, g.Path))
		if err != nil || crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) != g.Sum || int64(len(b)) != g.Bytes {
			t.Errorf("sum %x of %d bytes, %v", g.Sum, len(b), err)
		}
		ids, err := dedup.OpenIDs(filepath.Join(dir, g.IDsPath))
		if err != nil {
			t.Fatal(err)
		}
		defer ids.Close()
		if err := ids.Verify(); err != nil || ids.Sum() != g.Sum || ids.Len() != len(texts) {
			t.Errorf("ids: %v", err)
		}
		r, err := segment.Open(t.Context(), filepath.Join(dir, g.Path), time.Time{}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		seen := map[string]bool{}
		last := int64(-1 << 62)
		var e event.Event
		for {
			rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err == nil {
				err = rec.Event(&e)
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.Time < last || seen[string(e.Raw)] {
				t.Errorf("out of order or twice: %s", e.Raw)
			}
			last, seen[string(bytes.Clone(e.Raw))] = e.Time, true
			if g.Path == segs[0].Path {
				if err := stream.Add(t.Context(), &e); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, text := range texts {
			if !seen[text] {
				t.Errorf("missing: %s", text)
			}
		}
		// What has no time is given whatever is asked for.
		since := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		some, err := segment.Open(t.Context(), filepath.Join(dir, g.Path), since, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		defer some.Close()
		for n = 0; ; n++ {
			if _, err := some.Next(); err != nil {
				break
			}
		}
		return n
	}
	if n := read(segs[0]); n != 12 {
		t.Errorf("%d events since March or without a time, want 12", n)
	}
	merged, err := stream.Close(t.Context())
	if err != nil || len(merged) != 1 {
		t.Fatalf("%d files, %v", len(merged), err)
	}
	read(merged[0])
	db := duck(t)
	for _, g := range []segment.Segment{segs[0], merged[0]} {
		got := query(t, db, fmt.Sprintf(`SELECT count(*), count(eventTime), count(DISTINCT eventDay), count_if(%s LIKE '{"eventTime"%%}') FROM read_parquet('%s')`, segment.RawSQL, filepath.Join(dir, g.Path)))
		if len(got) != 1 || got[0] != "21|15|5|21" {
			t.Errorf("DuckDB reads %v", got)
		}
	}

	// Events that all have a time tell of when, and row groups are bounded by size.
	w.Reset()
	big := bytes.Repeat([]byte("x"), 5<<20)
	for i := range 5 {
		add(fmt.Sprintf(`{"eventTime":"2026-03-0%dT00:00:00Z","eventID":"big%d","requestParameters":%q}`, i+1, i, big))
	}
	segs, err = w.Flush(t.Context())
	if err != nil || len(segs) != 1 {
		t.Fatalf("%d files, %v", len(segs), err)
	}
	if g := segs[0]; g.MinTime.Day() != 1 || g.MaxTime.Day() != 5 || g.Group > 12<<20 {
		t.Errorf("%+v", g)
	}
}

// BenchmarkHot is the way of an event into a hot file, and from hot files into one of its day.
func BenchmarkHot(b *testing.B) {
	var events []*event.Event
	segmenttest.Events(b, 60_000, func(e *event.Event) { events = append(events, e.Clone()) })
	dir := b.TempDir()
	var segs []segment.Segment
	b.Run("write", func(b *testing.B) {
		w := segment.NewWriter(segment.Options{Dir: dir, Hot: true})
		before, rows, size := cpu(), int64(0), int64(0)
		for b.Loop() {
			for part := events; len(part) > 0; part = part[min(len(part), 20_000):] {
				for _, e := range part[:min(len(part), 20_000)] {
					if err := w.Add(e, nil); err != nil {
						b.Fatal(err)
					}
				}
				out, err := w.Flush(b.Context())
				if err != nil {
					b.Fatal(err)
				}
				rows += out[0].Rows
				size += out[0].Bytes
				segs = append(segs, out...)
			}
		}
		b.ReportMetric((cpu()-before).Seconds()*1e6/float64(rows), "cpu-us/event")
		b.ReportMetric(float64(size)/float64(rows), "B/event")
	})
	b.Run("read", func(b *testing.B) {
		before, rows := cpu(), 0
		var e event.Event
		for b.Loop() {
			r, err := segment.Open(b.Context(), filepath.Join(dir, segs[0].Path), time.Time{}, time.Time{})
			if err != nil {
				b.Fatal(err)
			}
			for {
				rec, err := r.Next()
				if err == io.EOF {
					break
				}
				if err == nil {
					err = rec.Event(&e)
				}
				if err != nil {
					b.Fatal(err)
				}
				rows++
			}
			if err := r.Close(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric((cpu()-before).Seconds()*1e6/float64(rows), "cpu-us/event")
	})
}
