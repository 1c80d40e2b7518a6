//go:build unix

package files_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"spoor/internal/source"
	"spoor/internal/source/sourcetest"
)

// A pipe in a folder would block for ever; one given by name is what a shell makes of <(…).
func TestPipe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no pipes here:", err)
	}
	if l := sourcetest.List(t, open(t, dir), source.Selection{})[path]; l.Skip != source.SkipSpecial {
		t.Errorf("%+v", l)
	}
	done := make(chan error, 1)
	go func() { done <- os.WriteFile(path, []byte("{}"), 0o600) }()
	sourcetest.Same(t, sourcetest.ReadAll(t, open(t, path), source.Selection{}), map[string]string{path: "{}"})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A pipe that takes a file's place is not waited for.
func TestPipeInPlaceOfAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, map[string][]byte{"a": []byte("{}")})
	src, path := open(t, dir), filepath.Join(dir, "a")
	obj := names(t, src, source.Selection{})[path].Object
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skip("no pipes here:", err)
	}
	got, err := sourcetest.Read(t, src, obj)
	if err != nil {
		t.Error(err)
	}
	sourcetest.Same(t, got, map[string]string{path: "skip: " + source.SkipSpecial})
}
