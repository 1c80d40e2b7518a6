package dedup

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func randomKeys(seed uint64, n int) []Key {
	r := rand.New(rand.NewPCG(seed, 7))
	keys := make([]Key, n)
	for i := range keys {
		keys[i] = Key{r.Uint64(), r.Uint32(), r.Uint32()}
	}
	return keys
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 100, 50_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			keys := randomKeys(1, n)
			if n == 100 { // words that are not spread at all
				for i := range keys {
					keys[i].hi = uint64(i / 2)
				}
			}
			name := filepath.Join(t.TempDir(), "x.ids")
			if err := WriteIDs(name, slices.Clone(keys), 5, 9, 7); err != nil {
				t.Fatal(err)
			}
			d, err := OpenIDs(name)
			if err != nil {
				t.Fatal(err)
			}
			if first, last := d.Times(); first != 5 || last != 9 || d.Len() != n || d.Sum() != 7 {
				t.Errorf("times %d %d, length %d", first, last, d.Len())
			}
			if err := d.Verify(); err != nil {
				t.Error(err)
			}
			for _, k := range keys {
				if v := d.Find(k); v != Duplicate {
					t.Fatalf("%v: %d, want a duplicate", k, v)
				}
				k.essence++
				if v := d.Find(k); v != Conflict && n != 100 {
					t.Fatalf("%v with another essence: %d, want a conflict", k, v)
				}
			}
			for _, k := range randomKeys(2, 1000) {
				if v := d.Find(k); v != First {
					t.Fatalf("%v: %d, want nothing", k, v)
				}
			}
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestIDsBloom holds the share of wrong answers of the Bloom filter below 3 per cent.
func TestIDsBloom(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "x.ids")
	if err := WriteIDs(name, randomKeys(1, 50_000), 0, 0, 7); err != nil {
		t.Fatal(err)
	}
	d, err := OpenIDs(name)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	wrong := 0
	for _, k := range randomKeys(3, 50_000) {
		block, h := bloomPlace(k, d.blocks)
		in := true
		for range bloomProbes {
			in = in && d.bloom[block*idsBlock+h>>3&(idsBlock-1)]&(1<<(h&7)) != 0
			h >>= 9
		}
		if in {
			wrong++
		}
	}
	if wrong > 1500 || wrong == 0 {
		t.Errorf("%d of 50 000 absent keys pass the filter", wrong)
	}
}

func TestIDsDamaged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := filepath.Join(dir, "good.ids")
	if err := WriteIDs(good, randomKeys(1, 1000), 1, 2, 7); err != nil {
		t.Fatal(err)
	}
	if err := WriteIDs(good, nil, 1, 2, 7); !errors.Is(err, os.ErrExist) {
		t.Errorf("written over: %v", err)
	}
	text, err := os.ReadFile(good)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		change func([]byte) []byte
		open   bool // is it seen at once, or only by Verify
	}{
		{func(b []byte) []byte { return nil }, true},
		{func(b []byte) []byte { return b[:len(b)-1] }, true},
		{func(b []byte) []byte { return append(b, 0) }, true},
		{func(b []byte) []byte { b[0]++; return b }, true},
		{func(b []byte) []byte { b[8]++; return b }, true},
		{func(b []byte) []byte { b[17]++; return b }, true},
		{func(b []byte) []byte { b[30] = 0xff; return b }, true},
		{func(b []byte) []byte { b[70]++; return b }, false},
		{func(b []byte) []byte { b[len(b)-1]++; return b }, false},
	} {
		name := filepath.Join(dir, fmt.Sprintf("%d.ids", i))
		if err := os.WriteFile(name, c.change(slices.Clone(text)), 0o666); err != nil {
			t.Fatal(err)
		}
		d, err := OpenIDs(name)
		if c.open {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("%d: %v", i, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Verify(); !errors.Is(err, ErrDamaged) {
			t.Errorf("%d: %v", i, err)
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestIndex asks an index through a set, as ingestion does.
func TestIndex(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	x := NewIndex()
	e := ev(t, "11111111-2222-3333-4444-555555555555", "A")
	other := ev(t, "", "B")
	keys := append(randomKeys(1, 1000), KeyOf(e), KeyOf(other))
	name := filepath.Join(dir, "a.ids")
	if err := WriteIDs(name, keys, e.Time-1, e.Time, 7); err != nil {
		t.Fatal(err)
	}
	x.Add(name, e.Time-1, e.Time)
	x.Add(filepath.Join(dir, "missing.ids"), 0, 0)
	s := New(Options{Earlier: x.Find})
	for i, want := range []Verdict{Duplicate, Duplicate} {
		if v, err := add(s, e); v != want || err != nil {
			t.Errorf("%d: %d %v", i, v, err)
		}
	}
	if v, err := add(s, other); v != Duplicate || err != nil {
		t.Errorf("without id: %d %v", v, err)
	}
	for i, want := range []Verdict{Conflict, Duplicate} {
		if v, err := add(s, ev(t, "11111111-2222-3333-4444-555555555555", "C")); v != want || err != nil {
			t.Errorf("conflict %d: %d %v", i, v, err)
		}
	}
	if v, err := x.Find(KeyOf(e), e.Time+1); v != First || err != nil {
		t.Errorf("at another time: %d %v", v, err)
	}
	if _, err := x.Find(KeyOf(e), 1); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := x.Close(); err != nil {
		t.Error(err)
	}
}

// TestKeyOf pins what is written into files.
func TestKeyOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id, name string
		want     Key
	}{
		{"11111111-2222-3333-4444-555555555555", "CreateAccessKey", Key{0xc5cf33d4c9ba6216, 0x11110000, 0x69d4bc45}},
		{"not a GUID", "A", Key{0x7078bd9246beae06, 0x502cfe2f, 0x4fe6e524}},
		{"", "A", Key{0xb7d3addbe8299308, 0x20232a99, 0}},
	} {
		if got := KeyOf(ev(t, c.id, c.name)); got != c.want {
			t.Errorf("%q %q: %#v", c.id, c.name, got)
		}
	}
}

func BenchmarkIndex(b *testing.B) {
	dir := b.TempDir()
	x := NewIndex()
	var keys []Key
	for i := range 4 {
		keys = randomKeys(uint64(i), 1_000_000)
		name := filepath.Join(dir, fmt.Sprintf("%d.ids", i))
		if err := WriteIDs(name, slices.Clone(keys), 0, 1, 7); err != nil {
			b.Fatal(err)
		}
		x.Add(name, 0, 1)
	}
	b.Run("present", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if v, err := x.Find(keys[i%len(keys)], 0); v != Duplicate || err != nil {
				b.Fatal(v, err)
			}
		}
	})
	absent := randomKeys(9, 1_000_000)
	b.Run("absent", func(b *testing.B) {
		for i := 0; b.Loop(); i++ {
			if v, err := x.Find(absent[i%len(absent)], 0); v != First || err != nil {
				b.Fatal(v, err)
			}
		}
	})
}

// TestForget: what was let go of is found again, also after the set is emptied.
func TestForget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	keys := randomKeys(2, 5000)
	name := filepath.Join(dir, "a.ids")
	if err := WriteIDs(name, slices.Clone(keys), 1, 9, 7); err != nil {
		t.Fatal(err)
	}
	x := NewIndex()
	x.Add(name, 1, 9)
	s := New(Options{Dir: dir, InMemory: 64 * 4, Earlier: x.Find})
	added := randomKeys(3, 5000)
	for round := range 2 {
		for _, k := range keys {
			if v, err := s.Add(k, 5); v != Duplicate || err != nil {
				t.Fatalf("round %d: %d %v", round, v, err)
			}
		}
		for _, want := range []Verdict{First, Duplicate} {
			for _, k := range added {
				if v, err := s.Add(k, 5); v != want || err != nil {
					t.Fatalf("round %d: %d %v, want %d", round, v, err, want)
				}
			}
		}
		if x.touched.Load() == 0 {
			t.Error("nothing was touched")
		}
		if err := errors.Join(x.forget(), s.Reset()); err != nil {
			t.Fatal(err)
		}
		if n := x.touched.Load(); n != 0 {
			t.Errorf("%d bytes are still counted", n)
		}
	}
	if names, err := filepath.Glob(filepath.Join(dir, "spoor-seen-*", "*")); err != nil || len(names) != 0 {
		t.Errorf("the emptied set keeps files: %v (%v)", names, err)
	}
	if err := errors.Join(s.Close(), x.Close()); err != nil {
		t.Error(err)
	}
}
