package event

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

// rawOf keeps where records stood and what they were.
type rawOf struct {
	nothing
	at  []Stretch
	raw []string
}

func (r *rawOf) Event(e *Event) error {
	if e.Again {
		r.at, r.raw = append(r.at, Stretch{e.Offset, len(e.Raw)}), append(r.raw, string(e.Raw))
	}
	return nil
}

// Whatever Decode says may be read again is where it says, whatever the file's shape.
func TestStretchesGiveRecordsAgain(t *testing.T) {
	t.Parallel()
	var records []string
	for i := range 300 {
		records = append(records, strings.Replace(record(fmt.Sprint(i)), "{", `{"pad":"`+strings.Repeat("ä", i*7)+`",`, 1))
	}
	list := `{"Records":[` + strings.Join(records, ", \n") + `]}`
	packed := func(text string) string {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	wide := []byte{0xff, 0xfe}
	for _, u := range utf16.Encode([]rune(list)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	inputs := map[string]string{
		"plain": list, "lines": strings.Join(records, "\n"), "gzip": packed(list), "gzip twice": packed(packed(list)),
		"members": packed(list[:5000]) + packed(list[5000:]), "UTF-16": string(wide), "BOM": "\ufeff" + list,
	}
	// One of each for all, so that nothing stays from the input before.
	reader, d := NewDecoder(Limits{}), NewDecoder(Limits{})
	reader.Reopen = true
	check := func(t *testing.T, text string) {
		t.Helper()
		var want rawOf
		if err := reader.Decode(context.Background(), "x", strings.NewReader(text), &want); err != nil {
			return // not logs, or damaged
		}
		for step := 1; step <= len(want.at); step *= 7 { // all of them, then fewer
			var at []Stretch
			for i := step - 1; i < len(want.at); i += step {
				at = append(at, want.at[i])
			}
			n := 0
			err := d.Stretches(context.Background(), iotest.HalfReader(strings.NewReader(text)), at, func(i int, text []byte) error {
				if i != n || string(text) != want.raw[(i+1)*step-1] {
					t.Fatalf("stretch %d (of %d) is %.80q, want %.80q", i, n, text, want.raw[(i+1)*step-1])
				}
				n++
				return nil
			})
			if err != nil || n != len(at) {
				t.Fatalf("%d of %d stretches, %v", n, len(at), err)
			}
		}
	}
	for name, text := range inputs {
		t.Run(name, func(t *testing.T) {
			var have rawOf
			if err := reader.Decode(t.Context(), "x", strings.NewReader(text), &have); err != nil || len(have.at) != len(records) {
				t.Fatalf("%d records can be read again, %v", len(have.at), err)
			}
			check(t, text)
		})
	}
	t.Run("real files", func(t *testing.T) {
		err := filepath.WalkDir(sharedData(t), func(path string, e os.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if info, err := e.Info(); err != nil || info.Size() > 1<<18 {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			check(t, string(text))
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestStretchesThatAreNotThere(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("0123456789", 20_000)
	broken := errors.New("broken")
	for _, c := range []struct {
		name string
		in   io.Reader
		at   []Stretch
		want string
		err  error
	}{
		{"behind the end", strings.NewReader(text), []Stretch{{0, 2}, {199_995, 5}, {199_996, 5}, {300_000, 1}}, "01 56789", nil},
		{"too long, less than nothing", strings.NewReader(text), []Stretch{{0, 100_001}, {5, -1}, {7, 1}}, "7", nil},
		{"broken", io.MultiReader(strings.NewReader(text), iotest.ErrReader(broken)), []Stretch{{199_999, 1}, {200_000, 1}}, "9", ErrInput},
		{"broken at once", iotest.ErrReader(broken), []Stretch{{0, 1}}, "", ErrInput},
	} {
		d := NewDecoder(Limits{MaxRecord: 100_000})
		var got []string
		err := d.Stretches(t.Context(), c.in, c.at, func(_ int, text []byte) error {
			got = append(got, string(text))
			return nil
		})
		if s := strings.Join(got, " "); s != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v, want %q, %v", c.name, s, err, c.want, c.err)
		}
	}
	stop := errors.New("stop")
	err := NewDecoder(Limits{}).Stretches(t.Context(), strings.NewReader(text), []Stretch{{0, 1}, {1, 1}}, func(i int, _ []byte) error { return stop })
	if !errors.Is(err, stop) {
		t.Errorf("the error of the caller came back as %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewDecoder(Limits{}).Stretches(ctx, strings.NewReader(text), []Stretch{{100_000, 1}}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
