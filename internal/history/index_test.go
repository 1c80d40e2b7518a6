package history

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"spoor/internal/store"
)

// sets makes a rowset of some rows out of n, as a list or as bits.
func sets(random *rand.Rand, n uint32, asBits bool) (rowset, []uint32) {
	var rows []uint32
	share := random.Float64()
	for row := range n {
		if random.Float64() < share*share {
			rows = append(rows, row)
		}
	}
	if !asBits {
		return rowset{list: slices.Clone(rows)}, rows
	}
	s := rowset{bits: make([]byte, (n+7)/8)}
	for _, row := range rows {
		s.bits[row/8] |= 1 << (row % 8)
	}
	return s, rows
}

func TestRowset(t *testing.T) {
	t.Parallel()
	random := newRand(8)
	for range 400 {
		n := uint32(1 + random.IntN(300))
		a, as := sets(random, n, random.IntN(2) == 0)
		b, bs := sets(random, n, random.IntN(2) == 0)
		for row := range n {
			if a.has(row) != slices.Contains(as, row) {
				t.Fatalf("has %d: %v of %v", row, a.has(row), as)
			}
		}
		from := random.Uint32N(n)
		to := from + random.Uint32N(n-from+1)
		wantBetween := slices.DeleteFunc(slices.Clone(as), func(r uint32) bool { return r < from || r >= to })
		if got := a.between(from, to); !slices.Equal(got, wantBetween) {
			t.Fatalf("between %d and %d: %v, want %v", from, to, got, wantBetween)
		}
		want := slices.DeleteFunc(slices.Clone(as), func(r uint32) bool { return !slices.Contains(bs, r) })
		both := a.and(b)
		var got []uint32
		for row, ok := both.below(n); ok; row, ok = both.below(row) {
			got = append(got, row)
		}
		slices.Reverse(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%v and %v: %v, want %v", as, bs, got, want)
		}
	}
}

// FuzzIndex reads indexes whose bytes are anything: nothing panics, and no row is beyond the file.
func FuzzIndex(f *testing.F) {
	x := newFixture(f)
	x.put((&maker{Rand: newRand(2)}).some(300, 3)...)
	x.flush()
	plan, err := x.store.Plan(f.Context(), store.Filter{})
	if err != nil {
		f.Fatal(err)
	}
	defer plan.Release()
	for _, file := range plan.Files {
		b, err := buildIndex(f.Context(), file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, int64(now.UnixNano()), uint32(7))
	}
	f.Fuzz(func(t *testing.T, b []byte, at int64, row uint32) {
		if len(b) < headerBytes {
			return
		}
		h := header{}
		for i, field := range h.fields() { // what the sums would keep out
			switch field := field.(type) {
			case *uint64:
				*field = le.Uint64(b[min(16+8*i, len(b)-8):])
			case *int64:
				*field = int64(le.Uint64(b[min(16+8*i, len(b)-8):]))
			case *uint32:
				*field = le.Uint32(b[min(16+8*11+4*(i-11), len(b)-4):])
			}
		}
		h.rows %= 1 << 20
		h.end = uint64(len(b))
		h.ngroups = uint32(len(b)) % 97
		h.blocks = uint32((h.rows + timeBlock - 1) / timeBlock)
		h.idsBits, h.termBits = directoryBits(uint64(h.nids)), directoryBits(uint64(h.nterms))
		x := index{header: h, r: bytes.NewReader(b), block: -1}
		for _, s := range []func() (rowset, error){
			func() (rowset, error) { return x.rowsOf(term(EventName, "Decrypt")) },
			func() (rowset, error) { return x.rowsOf(uint64(at)) },
			func() (rowset, error) { return x.rowsOfID("same") },
		} {
			set, err := s()
			if err != nil {
				continue
			}
			for r, ok := set.below(uint32(h.rows)); ok; r, ok = set.below(r) {
				if uint64(r) >= h.rows {
					t.Fatalf("row %d of %d", r, h.rows)
				}
			}
		}
		_, _ = x.from(at)
		if uint64(row) < h.rows {
			_, _ = x.timeOf(row)
			_, _ = x.group(row)
		}
	})
}
