package event

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"spoor/internal/inflate"
)

// witness writes down every call, so that two decoders can be compared.
type witness struct{ calls []string }

func (w *witness) Event(e *Event) error {
	w.calls = append(w.calls, fmt.Sprintf("event %s %d %s %s %d %v", e.File, e.Offset, e.ID(), e.Name(), e.Time, e.Again), string(e.Raw))
	return nil
}

func (w *witness) Reject(r Reject) error {
	w.calls = append(w.calls, fmt.Sprintf("reject %s %d %d %s", r.File, r.Offset, r.Length, r.Reason), string(r.Raw))
	return nil
}

func (w *witness) Note(s string) { w.calls = append(w.calls, "note "+s) }
func (w *witness) Digest(raw []byte) error {
	w.calls = append(w.calls, "digest "+string(raw))
	return nil
}

// outcome is everything that a decoder tells about an input.
type outcome struct {
	calls    []string
	err      string
	met, got int64
}

// outcomeOf decodes with d, whose window gets a size if that is not 0.
func outcomeOf(d *Decoder, window int, packed []byte) outcome {
	if window > 0 {
		d.leaveFlat()
		d.buf = make([]byte, window)
	}
	w := &witness{}
	err := d.Decode(context.Background(), "in.gz", bytes.NewReader(packed), w)
	return outcome{w.calls, fmt.Sprint(err), d.Met(), d.Expanded()}
}

// streaming is a decoder that expands nothing whole.
func streaming(lim Limits) *Decoder {
	d := NewDecoder(lim)
	d.flat.most = 0
	return d
}

// sameOutcome fails the test unless both decoders tell the same.
func sameOutcome(t *testing.T, got, want outcome) {
	t.Helper()
	if got.err != want.err || got.met != want.met || got.got != want.got {
		t.Errorf("whole: %s, %d records in %d bytes; streamed: %s, %d in %d", got.err, got.met, got.got, want.err, want.met, want.got)
	}
	if !slices.Equal(got.calls, want.calls) {
		n := 0
		for n < len(got.calls) && n < len(want.calls) && got.calls[n] == want.calls[n] {
			n++
		}
		t.Errorf("whole: %d calls, streamed: %d; the first that differs is %d: %.200q, %.200q", len(got.calls), len(want.calls), n,
			slices.Concat(got.calls, []string{""})[n], slices.Concat(want.calls, []string{""})[n])
	}
}

func zip(text string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(text))
	_ = w.Close() // a bytes.Buffer takes everything
	return b.Bytes()
}

// manyRecords is a log file of records of different sizes, 2 MB of them.
var manyRecords = sync.OnceValue(func() string {
	const n = 4000
	var text strings.Builder
	r := rand.New(rand.NewPCG(7, 7))
	text.WriteString(`{"Records":[`)
	for i := range n {
		if i > 0 {
			text.WriteString(" , ")
		}
		pad := make([]byte, r.IntN(900))
		for k := range pad {
			pad[k] = 'a' + byte(r.IntN(26))
		}
		text.WriteString(record(fmt.Sprintf("%d-é\\n%s", i, pad)))
	}
	text.WriteString("]}")
	return text.String()
})

// flatInputs are inputs of every kind, by name. Those that good names are taken whole.
func flatInputs() (inputs map[string][]byte, good []string) {
	a, b := record("a"), record("b")
	file := `{"Records":[` + a + `,` + b + `]}`
	large := manyRecords() // several windows
	broken := strings.Replace(large, `"eventName":"ListUsers","eventID":"777-`, `"eventName" "ListUsers","eventID":"777-`, 1)
	named := func() []byte {
		var buf bytes.Buffer
		w := gzip.NewWriter(&buf)
		w.Name = "x.json"
		_, _ = w.Write([]byte(file))
		_ = w.Close()
		return buf.Bytes()
	}()
	whole := map[string][]byte{
		"log file": zip(file), "large": zip(large), "broken record": zip(broken), "named": named, "lines": zip(a + "\n" + b), "blank": zip(" \n"),
		"no logs": zip("hello"), "not records": zip(`[{"a":1},{"b":2}]`), "truncated JSON": zip(large[:len(large)-999]), "one byte": zip("{"),
		"bad UTF-8": zip(`[` + record("a\xff") + `]`), "exactly a window": zip(large[:initialBuffer]), "exactly two": zip(large[:2*initialBuffer]),
		"a byte more": zip(large[:initialBuffer+1]), "byte order mark": zip("\xef\xbb\xbf" + a), "UTF-16": zip("\xff\xfe{\x00}\x00"),
		"long record": zip(`[` + a + `,` + strings.Replace(b, `"iam`, `"ü`+strings.NewReplacer(`"`, "", `\`, "").Replace(large)+`iam`, 1) + `,` + a + `]`),
		"CSV":         zip("id,record\n1,\"" + strings.ReplaceAll(a, `"`, `""`) + "\"\n"),
		"digest":      zip(`{"digestStartTime":"x","digestEndTime":"y","digestS3Object":"z","logFiles":[]}`),
	}
	inputs = map[string][]byte{}
	for name, packed := range whole {
		inputs[name] = packed
		good = append(good, name)
	}
	g := zip(file)
	damaged := bytes.Clone(zip(large))
	damaged[len(damaged)/2] ^= 0xff
	checksum := bytes.Clone(g)
	checksum[len(g)-8] ^= 1
	size := func(n byte) []byte {
		c := bytes.Clone(g)
		c[len(g)-4] += n
		return c
	}
	for name, packed := range map[string][]byte{
		"empty": nil, "empty text": zip(""), "header alone": g[:10], "truncated": g[:len(g)-5], "truncated large": zip(large)[:50_000],
		"members": slices.Concat(zip(a+"\n"), zip(b)), "same members": slices.Concat(g, g), "padded": slices.Concat(g, make([]byte, 512)),
		"garbage behind": slices.Concat(g, []byte("garbage that is no gzip")), "twice": zip(string(g)), "thrice": zip(string(zip(string(g)))),
		"too often": zip(string(zip(string(zip(string(zip("x"))))))), "damaged": damaged, "checksum": checksum, "larger": size(1), "smaller": size(0xff),
		"plain": []byte(file), "bomb": zip(`[` + a + strings.Repeat(" ", 8<<20) + `]`),
		"extra": append([]byte("\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\x00\x02\x00xx"), g[10:]...),
	} {
		inputs[name] = packed
	}
	return inputs, good
}

func TestWholeTextsAreReadAsStreamsAre(t *testing.T) {
	t.Parallel()
	inputs, good := flatInputs()
	for _, lim := range []Limits{{}, {MaxRecord: 1000}, {MaxExpanded: 300_000}} {
		for name, packed := range inputs {
			t.Run(fmt.Sprintf("%s, %+v", name, lim), func(t *testing.T) {
				t.Parallel()
				for _, window := range []int{0, 64, 1000, 4096} {
					d := NewDecoder(lim)
					got := outcomeOf(d, window, packed)
					taken := d.flat.streamed != nil
					sameOutcome(t, got, outcomeOf(streaming(lim), window, packed))
					if want := inflate.Engine() != "" && slices.Contains(good, name) && (lim == Limits{} || got.got <= max(int64(lim.MaxRecord), lim.MaxExpanded)); taken != want {
						t.Errorf("window %d: taken whole: %v, want %v", window, taken, want)
					}
				}
			})
		}
	}
}

// One decoder for inputs of all kinds and sizes, and reading again of parts of them.
func TestWholeTextsOneAfterTheOther(t *testing.T) {
	t.Parallel()
	inputs, _ := flatInputs()
	var names []string
	for name := range inputs {
		names = append(names, name)
	}
	slices.Sort(names)
	at := []Stretch{{0, 5}, {10, 20}, {1000, 300}, {initialBuffer - 10, 100}, {initialBuffer + 100, 3 * initialBuffer}, {4 << 20, 9}}
	stretches := func(d *Decoder, packed []byte) (got []string) {
		err := d.Stretches(t.Context(), bytes.NewReader(packed), at, func(i int, text []byte) error {
			got = append(got, fmt.Sprint(i, string(text)))
			return nil
		})
		return append(got, fmt.Sprint(err))
	}
	wanted, parts := map[string]outcome{}, map[string][]string{}
	for name, packed := range inputs {
		wanted[name], parts[name] = outcomeOf(streaming(Limits{}), 0, packed), stretches(streaming(Limits{}), packed)
	}
	r := rand.New(rand.NewPCG(1, 1))
	d := NewDecoder(Limits{})
	for range 60 {
		name := names[r.IntN(len(names))]
		sameOutcome(t, outcomeOf(d, 0, inputs[name]), wanted[name])
		if got := stretches(d, inputs[name]); !slices.Equal(got, parts[name]) {
			t.Errorf("%d stretches, streamed %d", len(got), len(parts[name]))
		}
		if t.Failed() {
			t.Fatal(name)
		}
	}
}

func TestWholeTextsInParallel(t *testing.T) {
	t.Parallel()
	inputs, good := flatInputs()
	for _, name := range good {
		c, want := &collect{}, &collect{}
		d := NewDecoder(Limits{})
		outcomeOf(d, 0, inputs["lines"])
		err := d.DecodeParallel(t.Context(), "in.gz", bytes.NewReader(inputs[name]), c, []Sink{c, c})
		werr := streaming(Limits{}).Decode(t.Context(), "in.gz", bytes.NewReader(inputs[name]), want)
		if len(c.events) != len(want.events) || len(c.rejects) != len(want.rejects) || fmt.Sprint(err) != fmt.Sprint(werr) {
			t.Errorf("%s: %d events, %d rejects, %v; want %d, %d, %v", name, len(c.events), len(c.rejects), err, len(want.events), len(want.rejects), werr)
		}
		if got := outcomeOf(d, 0, inputs["lines"]); len(got.calls) != 4 {
			t.Errorf("after %s: %q", name, got.calls)
		}
	}
}

func TestWholeTextsOfRealFiles(t *testing.T) {
	t.Parallel()
	root := sharedData(t)
	d := NewDecoder(Limits{})
	n := 0
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !compressed(data) {
			data = zip(string(data))
		}
		sameOutcome(t, outcomeOf(d, 0, data), outcomeOf(streaming(Limits{}), 0, data))
		if t.Failed() {
			t.Fatal(path)
		}
		n++
		return nil
	})
	if err != nil || n < 100 {
		t.Errorf("%d files, %v", n, err)
	}
}

func TestTextsBeyondTheBufferAreStreamed(t *testing.T) {
	t.Parallel()
	if inflate.Engine() == "" {
		t.Skip("built without libdeflate")
	}
	large := strings.Repeat(manyRecords(), mostFlat/len(manyRecords())+1) // the last of which is cut
	d := NewDecoder(Limits{})
	for _, c := range []struct {
		size, kept int
		whole      bool
	}{{100, initialBuffer, true}, {initialBuffer, 4 * initialBuffer, true}, {100, 4 * initialBuffer, true}, {4 * initialBuffer, 16 * initialBuffer, true},
		{mostFlat, mostFlat + blockBytes, true}, {mostFlat + 1, mostFlat + blockBytes, false}, {len(large), mostFlat + blockBytes, false}} {
		packed := zip(large[:c.size])
		_ = d.Decode(t.Context(), "in.gz", bytes.NewReader(packed), nullSink{})
		if d.Expanded() != int64(c.size) {
			t.Errorf("%d bytes of %d are read", d.Expanded(), c.size)
		}
		if whole := d.flat.streamed != nil; whole != c.whole || len(d.flat.buf) != c.kept {
			t.Errorf("%d bytes: whole %v, %d bytes are kept, want %v, %d", c.size, whole, len(d.flat.buf), c.whole, c.kept)
		}
	}
}

// FuzzWhole compares texts that are expanded whole with the same as streams: as they are given, compressed, and damaged.
func FuzzWhole(f *testing.F) {
	inputs, _ := flatInputs()
	for _, packed := range inputs {
		if len(packed) < 10_000 {
			f.Add(packed, uint16(64), uint16(0), byte(0))
			f.Add(packed, uint16(300), uint16(20), byte(1))
		}
	}
	f.Add([]byte(`{"Records":[`+record("a")+`,`+record("b")+`]}`), uint16(64), uint16(40), byte(0))
	f.Fuzz(func(t *testing.T, data []byte, window, at uint16, change byte) {
		packed := data
		if !compressed(data) {
			packed = zip(string(data))
		}
		if len(packed) > 0 {
			packed = bytes.Clone(packed)
			packed[int(at)%len(packed)] ^= change
		}
		lim := Limits{MaxExpanded: 1 << 20}
		d := NewDecoder(lim)
		got := outcomeOf(d, 64+int(window), packed)
		want := outcomeOf(streaming(lim), 64+int(window), packed)
		if d.flat.streamed != nil && strings.Contains(want.err, "gzip: flate: corrupt") {
			// A table of codes that is taken for good although it is not complete: the text has its checksum.
			r, err := gzip.NewReader(bytes.NewReader(packed))
			if err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(r); err == nil || !bytes.HasPrefix(d.flat.buf[:d.flat.size], text) {
				t.Fatalf("the stream gives another text: %v", err)
			}
			return
		}
		sameOutcome(t, got, want)
	})
}
