package open_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/source"
	"spoor/internal/source/files"
	"spoor/internal/source/open"
	"spoor/internal/source/s3"
	"spoor/internal/source/sourcetest"
)

func TestResolve(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.json")
	if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	opts := open.Options{Stdin: strings.NewReader("[]")}
	resolve := func(arg string) source.Source {
		t.Helper()
		src, err := open.Resolve(t.Context(), arg, opts)
		if err != nil {
			t.Fatalf("%s: %v", arg, err)
		}
		return src
	}
	sourcetest.Same(t, sourcetest.ReadAll(t, resolve("-"), source.Selection{}), map[string]string{"-": "[]"})
	sourcetest.Same(t, sourcetest.ReadAll(t, resolve(path), source.Selection{}), map[string]string{path: "{}"})
	sourcetest.Same(t, sourcetest.ReadAll(t, resolve(dir), source.Selection{}), map[string]string{path: "{}"})
	if _, ok := resolve("s3://bucket/prefix").(*s3.Source); !ok {
		t.Error("not a bucket")
	}
	if _, ok := resolve(".").(*files.Source); !ok {
		t.Error("not a folder")
	}

	if _, err := open.Resolve(t.Context(), filepath.Join(dir, "gone"), opts); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "gone") {
		t.Error(err)
	}
	for arg, want := range map[string]string{"": "empty name", "s3://": "names no bucket", "gs://bucket/x": "not gs://", "https://host/x": "not https://"} {
		if _, err := open.Resolve(t.Context(), arg, opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", arg, err, want)
		}
	}
	if _, err := open.Resolve(t.Context(), "-", open.Options{}); err == nil {
		t.Error("no standard input, and no error")
	}
}
