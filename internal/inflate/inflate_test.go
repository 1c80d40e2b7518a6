package inflate_test

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"

	"spoor/internal/inflate"
)

// packed compresses text at a level, under a name if it is given.
func packed(t testing.TB, text []byte, level int, name string) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	w.Name = name
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// agrees fails the test unless text is what a reader of streams makes of packed, or begins with what that gives until it
// refuses a table of codes that libdeflate takes; the checksum is right then all the same.
func agrees(t testing.TB, packed, text []byte) {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	want, err := io.ReadAll(r)
	var corrupt flate.CorruptInputError
	switch {
	case err == nil && bytes.Equal(text, want):
	case errors.As(err, &corrupt) && bytes.HasPrefix(text, want) && crc32.ChecksumIEEE(text) == binary.LittleEndian.Uint32(packed[len(packed)-8:]):
	default:
		t.Errorf("%d bytes where the stream gives %d, %v", len(text), len(want), err)
	}
}

// inflater gives one, or skips the test in a build without.
func inflater(t testing.TB) *inflate.Inflater {
	t.Helper()
	z := inflate.New()
	if z == nil {
		t.Skip("built without libdeflate")
	}
	return z
}

func TestEngine(t *testing.T) {
	t.Parallel()
	name, z := inflate.Engine(), inflate.New()
	if (name == "") != (z == nil) || z != nil && !strings.HasPrefix(name, "libdeflate 1.") {
		t.Errorf("engine %q, and New gives %v", name, z)
	}
}

// texts are of kinds that make stored blocks, fixed and dynamic codes, and long matches.
func texts() [][]byte {
	random := make([]byte, 100_000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	return [][]byte{[]byte("a"), []byte("hello"), bytes.Repeat([]byte("abc"), 100_000), random, []byte(strings.Repeat(`{"eventName":"X"},`, 5000) + string(random[:999]))}
}

func TestGunzip(t *testing.T) {
	t.Parallel()
	z := inflater(t)
	for i, text := range texts() {
		for level := gzip.HuffmanOnly; level <= gzip.BestCompression; level++ {
			for _, name := range []string{"", "log.json"} {
				p := packed(t, text, level, name)
				n, ok := inflate.Size(p)
				if !ok || n != len(text) {
					t.Fatalf("text %d: size %d, %v", i, n, ok)
				}
				out := make([]byte, n+64)
				if err := z.Gunzip(out[:n], p); err != nil || !bytes.Equal(out[:n], text) {
					t.Fatalf("text %d, level %d: %v", i, level, err)
				}
				if !bytes.Equal(out[n:], make([]byte, 64)) {
					t.Fatalf("text %d, level %d: it wrote behind the end", i, level)
				}
			}
		}
	}
}

func TestSize(t *testing.T) {
	t.Parallel()
	good := packed(t, []byte("hello"), 6, "")
	with := func(at int, c byte) []byte {
		b := bytes.Clone(good)
		b[at] = c
		return b
	}
	for name, b := range map[string][]byte{
		"empty": nil, "short": good[:18], "other magic": with(0, 0), "other magic 2": with(1, 0), "other method": with(2, 7),
		"header checksum": with(3, 2), "extra": with(3, 4), "comment": with(3, 16), "reserved": with(3, 32),
		"name without end":   append(append([]byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x00"), bytes.Repeat([]byte("n"), 300)...), make([]byte, 20)...),
		"name up to the end": append([]byte("\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\x00nnnn"), make([]byte, 8)...),
	} {
		if n, ok := inflate.Size(b); ok {
			t.Errorf("%s: %d", name, n)
		}
	}
	if n, ok := inflate.Size(with(len(good)-1, 0xff)); !ok || n != 0xff000005 {
		t.Errorf("a size that is wrong: %#x, %v", n, ok)
	}
}

func TestBad(t *testing.T) {
	t.Parallel()
	z := inflater(t)
	text := bytes.Repeat([]byte("hello, "), 1000)
	good := packed(t, text, 6, "")
	fails := func(name string, size int, b []byte) {
		t.Helper()
		if err := z.Gunzip(make([]byte, size), b); !errors.Is(err, inflate.ErrGzip) {
			t.Errorf("%s: %v", name, err)
		}
	}
	n := len(text)
	fails("one byte less room", n-1, good)
	fails("one byte more room", n+1, good)
	fails("no room", 0, good)
	fails("nothing", n, nil)
	fails("two members", n, append(bytes.Clone(good), good...))
	fails("zeros behind", n, append(bytes.Clone(good), 0, 0))
	for i := range good {
		fails("truncated", n, good[:i])
	}
	refused := 0
	out := make([]byte, n)
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x41
		size, ok := inflate.Size(bad)
		if !ok || size != n || z.Gunzip(out, bad) != nil {
			refused++
			continue
		}
		agrees(t, bad, out)
	}
	if refused < len(good)/2 {
		t.Errorf("%d of %d damages are noticed", refused, len(good))
	}
	if err := z.Gunzip(make([]byte, n), good); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Inflaters come and go with whoever used them, and several work at once.
func TestMany(t *testing.T) {
	t.Parallel()
	inflater(t)
	text := bytes.Repeat([]byte("hello, "), 1000)
	good := packed(t, text, 6, "")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			out := make([]byte, len(text))
			for i := range 200 {
				if err := inflate.New().Gunzip(out, good); err != nil {
					t.Error(err)
					return
				}
				if i%50 == 0 {
					runtime.GC()
				}
			}
		})
	}
	wg.Wait()
}

func FuzzGunzip(f *testing.F) {
	z := inflater(f)
	for _, text := range texts() {
		f.Add(packed(f, text[:min(len(text), 2000)], 6, ""))
	}
	f.Add(packed(f, []byte("hello"), 0, "name"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, ok := inflate.Size(b)
		if !ok || n > 1<<20 {
			return
		}
		out := make([]byte, n)
		if z.Gunzip(out, b) != nil {
			return
		}
		agrees(t, b, out)
	})
}

func BenchmarkGunzip(b *testing.B) {
	z := inflater(b)
	for _, n := range []int{100, 100_000} {
		text := bytes.Repeat([]byte(`{"eventName":"X","userIdentity":{"type":"Root"}},`), n)
		p := packed(b, text, 6, "")
		b.Run("", func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			out := make([]byte, len(text))
			for b.Loop() {
				if err := z.Gunzip(out, p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
