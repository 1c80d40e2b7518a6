package statefile_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"spoor/internal/durable"
	"spoor/internal/statefile"
)

var (
	errDamaged, errNewer, errLocked = errors.New("damaged"), errors.New("newer"), errors.New("locked")
	errClosed, errNo                = errors.New("closed"), errors.New("no")
)

type state struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Words   []string
}

func options() statefile.Options[state] {
	d := durable.Document{What: "the words", Format: "words", Version: 1, Most: 1000, Damaged: errDamaged, Newer: errNewer}
	return statefile.Options[state]{
		What: "the words", Document: d, Locked: errLocked, Closed: errClosed,
		Decode: func(b []byte) (*state, error) {
			s := &state{}
			return s, d.Decode(b, s)
		},
		New:   func() *state { return &state{Format: "words", Version: 1} },
		Clone: func(s *state) *state { c := *s; c.Words = slices.Clone(s.Words); return &c },
		Check: func(s *state) error {
			if len(s.Words) > 4 {
				return errors.New("too many words")
			}
			return nil
		},
		Encode: func(s *state) ([]byte, error) { return json.Marshal(s) },
	}
}

func open(t *testing.T, dir string) *statefile.File[state] {
	t.Helper()
	f, err := statefile.Open(t.Context(), dir, options())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(nil); err != nil {
			t.Error(err)
		}
	})
	return f
}

// add adds a word behind another, which has to be there; "" for none.
func add(behind, word string) func(*state) error {
	return func(s *state) error {
		if behind != "" && !slices.Contains(s.Words, behind) {
			return errNo
		}
		s.Words = append(s.Words, word)
		return nil
	}
}

func TestChangeAndUndo(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "words")
	f := open(t, dir)
	is := func(want ...string) {
		t.Helper()
		var s state
		b, err := os.ReadFile(filepath.Join(dir, statefile.Name))
		if err == nil {
			err = json.Unmarshal(b, &s)
		}
		if err != nil || fmt.Sprint(f.Get().Words) != fmt.Sprint(want) || fmt.Sprint(s.Words) != fmt.Sprint(want) {
			t.Errorf("%v, on disk %v (%v), want %v", f.Get().Words, s.Words, err, want)
		}
	}
	change := func(fn func(*state) error) statefile.Undo {
		t.Helper()
		u, err := f.Change(fn)
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	is()
	a := change(add("", "a"))
	b := change(add("a", "b"))
	change(add("", "c"))
	if _, err := f.Change(add("x", "d")); !errors.Is(err, errNo) {
		t.Error(err)
	}
	is("a", "b", "c")
	// An amendment stays whatever is taken back, and what stood on a change goes with it.
	if err := f.Amend(func(s *state) bool { s.Words = append([]string{"0"}, s.Words...); return true }); err != nil {
		t.Fatal(err)
	}
	is("0", "a", "b", "c")
	if err := a(); err != nil {
		t.Error(err)
	}
	is("0", "c")
	if a() == nil || b() == nil {
		t.Error("taken back twice")
	}
	is("0", "c")
	// What the check refuses, or cannot be written, changes nothing.
	change(add("", "d"))
	change(add("", "e"))
	if _, err := f.Change(add("", "f")); err == nil {
		t.Error("five words")
	}
	if err := f.Amend(func(s *state) bool { s.Words = append(s.Words, "f"); return true }); err == nil {
		t.Error("five words")
	}
	is("0", "c", "d", "e")
	if _, err := statefile.Open(t.Context(), dir, options()); !errors.Is(err, errLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := f.Close(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Change(add("", "x")); !errors.Is(err, errClosed) {
		t.Error(err)
	}
	if err := f.Amend(func(*state) bool { return true }); !errors.Is(err, errClosed) {
		t.Error(err)
	}
	f = open(t, dir)
	is("0", "c", "d", "e")
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{`{"format":"words","version":2}`: errNewer, `{"format":"x"}`: errDamaged, ``: errDamaged, `{"format":"words","version":1,"More":1}`: errDamaged} {
		dir := t.TempDir()
		path := filepath.Join(dir, statefile.Name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := statefile.Open(context.Background(), dir, options()); !errors.Is(err, want) {
			t.Errorf("%s: %v", text, err)
		}
		if b, err := os.ReadFile(path); err != nil || string(b) != text {
			t.Errorf("%s became %s %v", text, b, err)
		}
	}
}
