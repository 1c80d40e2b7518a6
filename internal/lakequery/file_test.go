package lakequery

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/store/duckdb"
)

var when = time.Date(2026, 1, 10, 9, 12, 41, 0, time.UTC)

const someID = "0b0a5f0e-8a53-4b2e-9b8c-0a4c6b9b2f11"

// writeQuery writes a whole file, and gives its bytes.
func writeQuery(t testing.TB, c *codec, rows [][]duckdb.Value) []byte {
	t.Helper()
	dir := t.TempDir()
	h := head{ID: someID, Account: "111122223333", Region: "eu-west-1", Statement: "SELECT 1 FROM x", Stores: []string{someID}, Created: when}
	w, err := createFile(dir, h, c, func(int64) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	e := end{Status: Finished, Ended: when, Millis: 7}
	if len(rows) > 0 {
		for i := range rows[0] {
			e.Columns = append(e.Columns, fmt.Sprintf("c%d", i))
		}
	}
	for _, r := range rows {
		if err := w.row(r); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.finish(e), w.close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, someID+suffix))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// someRows are n rows with whatever values can be.
func someRows(n, size int) (rows [][]duckdb.Value) {
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range n {
		rows = append(rows, []duckdb.Value{
			{Text: fmt.Sprint(i)}, {Null: true}, {Text: ""}, {Text: "ä€𝄞\x00\n"}, {Text: strings.Repeat(string(rune('a'+r.IntN(26))), r.IntN(size+1))},
		})
	}
	return rows
}

func newTestCodec(t testing.TB) *codec {
	t.Helper()
	c, err := newCodec()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func TestFileRows(t *testing.T) {
	t.Parallel()
	c := newTestCodec(t)
	for _, rows := range [][][]duckdb.Value{nil, someRows(1, 10), someRows(1000, 10), someRows(3000, 2000), someRows(3, 600_000)} {
		b := writeQuery(t, c, rows)
		r, err := openReader(bytes.NewReader(b), int64(len(b)))
		if err != nil || r.end == nil {
			t.Fatalf("%d rows: %v, end %v", len(rows), err, r.end)
		}
		if r.end.Rows != int64(len(rows)) || r.head.ID != someID || r.end.Millis != 7 {
			t.Errorf("%d rows: head %+v, end %+v", len(rows), r.head, r.end)
		}
		for _, limit := range []int{1, 7, 1000} {
			from := 0
			for from < len(rows) {
				got, err := r.rows(c, int64(from), limit, 1<<30)
				if err != nil {
					t.Fatal(err)
				}
				want := rows[from:min(from+limit, len(rows))]
				if !slices.EqualFunc(got, want, slices.Equal) {
					t.Fatalf("%d rows: %d from %d on are not what was written", len(rows), limit, from)
				}
				if from += limit * 61; limit == 1000 {
					from += limit - limit*61
				}
			}
		}
		if got, err := r.rows(c, int64(len(rows)), 10, 1<<30); len(got) > 0 || err != nil {
			t.Errorf("behind the last of %d rows: %d, %v", len(rows), len(got), err)
		}
	}
}

func TestFilePagesAreBounded(t *testing.T) {
	t.Parallel()
	c := newTestCodec(t)
	rows := someRows(30, 300_000)
	b := writeQuery(t, c, rows)
	r, err := openReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	var got [][]duckdb.Value
	for pages := 0; len(got) < len(rows); pages++ {
		page, err := r.rows(c, int64(len(got)), MaxPage, 500_000)
		if err != nil || len(page) == 0 {
			t.Fatalf("page %d: %d rows, %v", pages, len(page), err)
		}
		size := 0
		for _, r := range page {
			for _, v := range r {
				size += len(v.Text)
			}
		}
		if size > 500_000 && len(page) > 1 {
			t.Errorf("page %d has %d bytes", pages, size)
		}
		got = append(got, page...)
	}
	if !slices.EqualFunc(got, rows, slices.Equal) {
		t.Error("the pages are not what was written")
	}
}

// TestFileCut reads every beginning of a file, as a process that ends at any moment leaves it: nothing but the whole file ends.
func TestFileCut(t *testing.T) {
	t.Parallel()
	c := newTestCodec(t)
	for _, rows := range [][][]duckdb.Value{nil, someRows(40, 10)} {
		b := writeQuery(t, c, rows)
		start := int64(-1)
		for n := range len(b) + 1 {
			r, err := openReader(bytes.NewReader(b[:n]), int64(n))
			var d *damage
			switch {
			case err != nil && (!errors.As(err, &d) || !d.torn || start >= 0):
				t.Fatalf("%d of %d bytes: %v", n, len(b), err)
			case err == nil && start < 0:
				start = int64(n)
			}
			if err == nil && (r.end != nil) != (n == len(b)) {
				t.Fatalf("%d of %d bytes: end %+v", n, len(b), r.end)
			}
			if err == nil && r.start != start {
				t.Fatalf("%d of %d bytes: the head ends at %d, not %d", n, len(b), r.start, start)
			}
		}
	}
}

// TestFileDamage changes every byte of a file: no row is ever another than was written.
func TestFileDamage(t *testing.T) {
	t.Parallel()
	c := newTestCodec(t)
	rows := someRows(20, 10)
	large := someRows(300, 20_000) // more than what is verified with the end
	r := rand.New(rand.NewPCG(3, 4))
	for name, rows := range map[string][][]duckdb.Value{"small": rows, "large": large} {
		b := writeQuery(t, c, rows)
		step := max(1, len(b)/500)
		for at := 0; at < len(b); at += step {
			bad := bytes.Clone(b)
			bad[at] ^= byte(1 + r.IntN(255))
			f, err := openReader(bytes.NewReader(bad), int64(len(bad)))
			if err != nil || f.end == nil {
				continue
			}
			if name == "small" {
				t.Fatalf("a change of byte %d of %d was not noticed", at, len(b))
			}
			for from := 0; from < len(rows); from += 50 {
				got, err := f.rows(c, int64(from), 50, 1<<30)
				if err == nil && !slices.EqualFunc(got, rows[from:from+50], slices.Equal) {
					t.Fatalf("a change of byte %d of %d gave other rows", at, len(b))
				}
			}
		}
	}
}

func TestFileBounds(t *testing.T) {
	t.Parallel()
	c := newTestCodec(t)
	dir := t.TempDir()
	full := errors.New("full")
	if _, err := createFile(dir, head{ID: someID}, c, func(int64) error { return full }); !errors.Is(err, full) {
		t.Errorf("a file without room: %v", err)
	}
	left := int64(1 << 20)
	w, err := createFile(dir, head{ID: someID}, c, func(n int64) error {
		if left -= n; left < 0 {
			return full
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	noise := make([]byte, blockSize)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	n := 0
	for ; err == nil && n < 10; n++ {
		err = w.row([]duckdb.Value{{Text: string(noise)}})
	}
	if !errors.Is(err, full) || n != 4 {
		t.Errorf("after %d rows: %v", n, err)
	}
	if err := w.row([]duckdb.Value{{Text: string(make([]byte, maxRow))}}); err == nil || !strings.Contains(err.Error(), "larger than 32 MiB") {
		t.Errorf("a row of %d bytes: %v", maxRow, err)
	}
	// What ends a query that did not finish needs no room.
	if err := errors.Join(w.discard(), w.finish(end{Status: Failed, Error: "full"}), w.close()); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(dir, someID+suffix))
	if err != nil {
		t.Fatal(err)
	}
	f, err := openReader(bytes.NewReader(b), int64(len(b)))
	if err != nil || f.end == nil || f.end.Status != Failed || f.end.Rows != 0 || len(b) > 1000 {
		t.Errorf("%d bytes, end %+v, %v", len(b), f.end, err)
	}
}

func FuzzFile(f *testing.F) {
	c := newTestCodec(f)
	for _, rows := range [][][]duckdb.Value{nil, someRows(1, 3), someRows(40, 10), someRows(3, 200_000)} {
		b := writeQuery(f, c, rows)
		f.Add(b)
		f.Add(b[:len(b)/2])
		f.Add(b[:len(b)-1])
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := openReader(bytes.NewReader(b), int64(len(b)))
		if err != nil || r.end == nil {
			return
		}
		for from := int64(0); from < min(r.end.Rows, 5000); {
			rows, err := r.rows(c, from, 100, 1<<20)
			if err != nil {
				return
			}
			if len(rows) == 0 || len(rows) > 100 {
				t.Fatalf("%d rows of %d from %d on", len(rows), r.end.Rows, from)
			}
			for _, row := range rows {
				if len(row) != len(r.end.Columns) {
					t.Fatalf("a row of %d values, with %d columns", len(row), len(r.end.Columns))
				}
			}
			from += int64(len(rows))
		}
	})
}
