package dedup

import (
	"os"
	"path/filepath"
	"testing"
)

// TestIndexRemove: what only a removed file had is unknown, also when the file is gone; what another one has stays known.
func TestIndexRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := NewIndex()
	const day = 24 * 60 * 60 * int64(1e9)
	keys := []Key{{hi: 1 << 40, lo: 1}, {hi: 2 << 40, lo: 2}, {hi: 3 << 40, lo: 3}}
	names := []string{filepath.Join(dir, "a.ids"), filepath.Join(dir, "b.ids")}
	for i, name := range names {
		if err := WriteIDs(name, []Key{keys[i], keys[2]}, 0, 2*day, 0); err != nil {
			t.Fatal(err)
		}
		x.Add(name, 0, 2*day)
	}
	find := func(want ...Verdict) {
		t.Helper()
		for i, k := range keys {
			for _, at := range []int64{0, day, 2 * day} {
				if v, err := x.Find(k, at); err != nil || v != want[i] {
					t.Errorf("key %d on day %d: %v, %v; want %v", i, at/day, v, err, want[i])
				}
			}
		}
	}
	find(Duplicate, Duplicate, Duplicate)
	if err := os.Remove(names[0]); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := x.Remove(names[0]); err != nil {
			t.Fatal(err)
		}
		find(First, Duplicate, Duplicate)
	}
	if err := x.Remove(names[1]); err != nil {
		t.Fatal(err)
	}
	find(First, First, First)
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
}
