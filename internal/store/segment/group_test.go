package segment_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/segment/segmenttest"
)

// oddRecords are records that are kept in other ways than usual ones.
func oddRecords() []string {
	out := []string{
		`{"eventTime":"2026-03-02T10:00:00Z","eventName":"NoParts"}`,
		`{"eventTime":"2026-03-02T10:00:00Z","eventName":"Bytes` + "\xff" + `","eventID":"b` + "\xfe" + `"}`,
		`{"eventTime":"2026-03-02T10:00:01Z","requestParameters":null,"responseElements":null,"requestID":"","eventID":""}`,
		`{"eventTime":"2026-03-02T10:00:01Z","requestParameters":{"a":"` + strings.Repeat("x", 300_000) + `","b":"` + strings.Repeat("y", 900_000) + `"},"responseElements":null,"eventID":"long"}`,
		`{"eventName":"Untimed","requestParameters":null,"responseElements":null,"eventID":"untimed"}`,
	}
	for i := range 40 {
		out = append(out, fmt.Sprintf(`{"eventTime":"2026-03-02T11:00:%02dZ","requestParameters":null,"responseElements":{"n":%d},"additionalEventData":{"k":"v"},"requestID":"r%d","eventID":"e%d"}`, i, i, i, i))
	}
	return out
}

// TestRecords: any row, in any order, gives the record that reading the file from its beginning gives.
func TestRecords(t *testing.T) {
	t.Parallel()
	for _, opts := range []segment.Options{{}, {RowGroup: 300}, {Hot: true}, {Hot: true, RowGroup: 90}} {
		dir := t.TempDir()
		opts.Dir = dir
		w := segment.NewWriter(opts)
		segmenttest.Events(t, 900, func(e *event.Event) {
			if err := w.Add(e, nil); err != nil {
				t.Fatal(err)
			}
		})
		for _, text := range oddRecords() {
			e, err := event.Parse([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Add(e, nil); err != nil {
				t.Fatal(err)
			}
		}
		segs, err := w.Flush(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range segs {
			everyRow(t, filepath.Join(dir, filepath.FromSlash(s.Path)), s.Rows)
		}
	}
}

func everyRow(t *testing.T, name string, rows int64) {
	t.Helper()
	r, err := segment.Open(t.Context(), name, time.Time{}, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var want []string
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(rec.Raw))
	}
	groups, err := segment.Groups(name)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var x segment.Records
	seen := int64(0)
	for i := range groups {
		g, err := segment.ParseGroup(groups[i].AppendBinary(nil))
		if err != nil || !reflect.DeepEqual(g, groups[i]) {
			t.Fatalf("row group %d: %v, or something else than what was written", i, err)
		}
		if g.First != seen {
			t.Fatalf("row group %d begins with row %d, not %d", i, g.First, seen)
		}
		seen += g.Rows
		x.Reset(name, f, &g)
		for _, at := range rand.New(rand.NewPCG(1, uint64(i))).Perm(int(g.Rows)) {
			row := g.First + int64(at)
			raw, err := x.Record(row)
			if err != nil || string(raw) != want[row] {
				t.Fatalf("row %d of %s: %.200q, %v; want %.200q", row, name, raw, err, want[row])
			}
			e, err := event.Parse([]byte(want[row]))
			if err != nil {
				t.Fatal(err)
			}
			id, ok, err := x.ID(row)
			if err != nil || ok == strings.Contains(want[row], "\xff") || ok && id != e.ID() {
				t.Fatalf("row %d of %s: id %q, %v, %v; want %q", row, name, id, ok, err, e.ID())
			}
		}
		if _, err := x.Record(g.First + g.Rows); err == nil {
			t.Fatalf("row group %d gave a row behind its last", i)
		}
	}
	if seen != rows || int64(len(want)) != rows {
		t.Fatalf("%d rows in row groups, %d read, %d written", seen, len(want), rows)
	}
}

// TestRecordsDamaged: bytes that have changed give an error or the record, but never another one, and never a panic.
func TestRecordsDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	segs := segmenttest.WriteSample(t, dir, 400)
	name := filepath.Join(dir, filepath.FromSlash(segs[0].Path))
	groups, err := segment.Groups(name)
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var x segment.Records
	var want [][]byte
	x.Reset(name, bytes.NewReader(good), &groups[0])
	for row := range groups[0].Rows {
		raw, err := x.Record(row)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, bytes.Clone(raw))
	}
	random := rand.New(rand.NewPCG(2, 2))
	failed := 0
	for range 120 {
		b := bytes.Clone(good)
		b[random.IntN(len(b))] ^= 1 << random.IntN(8)
		x.Reset(name, bytes.NewReader(b), &groups[0])
		row := random.Int64N(groups[0].Rows)
		raw, err := x.Record(row)
		switch {
		case err != nil:
			failed++
		case !bytes.Equal(raw, want[row]):
			t.Fatalf("row %d: %.200q, which is not its record", row, raw)
		}
	}
	if failed == 0 {
		t.Fatal("no damage was noticed")
	}
}

func FuzzParseGroup(f *testing.F) {
	dir := f.TempDir()
	groups, err := segment.Groups(filepath.Join(dir, filepath.FromSlash(segmenttest.WriteSample(f, dir, 100)[0].Path)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(groups[0].AppendBinary(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := segment.ParseGroup(b)
		if err != nil {
			return
		}
		var x segment.Records
		x.Reset("fuzzed", bytes.NewReader(b), &g)
		for _, row := range []int64{-1, 0, g.First, g.First + g.Rows - 1, 1 << 40} {
			_, _ = x.Record(row) // must not panic
		}
	})
}
