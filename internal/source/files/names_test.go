package files_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/source"
	"spoor/internal/source/files"
	"spoor/internal/source/sourcetest"
)

// byName lists names, and looks at each as far as it must to tell what List tells.
type byName struct{ *files.Source }

func (s byName) List(ctx context.Context, sel source.Selection, visit func(obj source.Object, skip string) error) error {
	return s.ListNames(ctx, sel, func(obj source.Object, skip string) error {
		if obj.Size < 0 && skip == "" && obj.Err == nil {
			if obj = s.Look(obj); obj.Size == 0 {
				skip = source.SkipEmpty
			}
		}
		return visit(obj, skip)
	})
}

func TestConformByName(t *testing.T) {
	t.Parallel()
	sourcetest.Conform(t, func(t *testing.T, tree map[string][]byte) sourcetest.Place {
		dir := t.TempDir()
		put(t, dir, tree)
		return sourcetest.Place{Source: byName{open(t, dir)}, Name: func(path string) string { return filepath.Join(dir, path) }}
	})
}

// names lists without sizes.
func names(t *testing.T, src *files.Source, sel source.Selection) map[string]sourcetest.Listed {
	t.Helper()
	got := map[string]sourcetest.Listed{}
	err := src.ListNames(t.Context(), sel, func(obj source.Object, skip string) error {
		got[obj.Name] = sourcetest.Listed{Object: obj, Skip: skip}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := sourcetest.Key("111122223333", "us-east-1", time.Date(2026, 1, 10, 9, 15, 0, 0, time.UTC), "old")
	large := bytes.Repeat([]byte("0123456789abcdef"), 100_000) // more than is read at once
	put(t, dir, map[string][]byte{
		"a.json": []byte("{}"), "empty.json": nil, ".DS_Store": []byte("x"), "__MACOSX/._x": nil, "large": large, old: []byte("{}"),
		strings.Replace(old, "old", "nil", 1): nil,
		"z.zip":                               sourcetest.Zip(sourcetest.Member{Name: "m", Data: []byte("1")}, sourcetest.Member{Name: "n", Data: []byte("2")}),
	})
	for name, target := range map[string]string{"link": "a.json", "dangling": "nowhere", "folder": "AWSLogs"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	src := open(t, dir)
	for _, sel := range []source.Selection{{}, {Since: time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)}, {Regions: []string{"x"}}} {
		quick, full := names(t, src, sel), sourcetest.List(t, src, sel)
		for name, want := range full {
			got, ok := quick[name]
			unsized := got.Object.Size < 0 && got.Object.Err == nil && got.Skip == ""
			if !ok || !unsized && (got.Skip != want.Skip || got.Object.Size != want.Object.Size || !got.Object.Modified.Equal(want.Object.Modified)) {
				t.Errorf("%s: listed %v, %+v, want %+v", name, ok, got, want)
			}
			regular := !strings.HasSuffix(name, "link") && want.Object.Err == nil
			toRead := want.Skip == "" || want.Skip == source.SkipEmpty && !source.SystemFile(name) && sel.Skip(want.Object.Place) == ""
			if unsized != (regular && toRead) {
				t.Errorf("%s: without a size: %v", name, unsized)
			}
			if unsized {
				if seen := src.Look(got.Object); seen.Size != want.Object.Size || !seen.Modified.Equal(want.Object.Modified) || seen.Place != want.Object.Place {
					t.Errorf("%s: %+v, want %+v", name, seen, want.Object)
				}
			}
		}
		if len(quick) != len(full) {
			t.Errorf("%d are listed, want %d", len(quick), len(full))
		}
	}
	all := names(t, src, source.Selection{})
	for name, want := range map[string]map[string]string{
		"a.json": {"a.json": "{}"}, "large": {"large": string(large)}, "z.zip": {"z.zip!m": "1", "z.zip!n": "2"}, "link": {"link": "{}"}, old: {old: "{}"},
		"empty.json": {"empty.json": "skip: " + source.SkipEmpty},
	} {
		full := map[string]string{}
		for k, v := range want {
			full[filepath.Join(dir, filepath.FromSlash(k))] = v
		}
		got, err := sourcetest.Read(t, src, all[filepath.Join(dir, filepath.FromSlash(name))].Object)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sourcetest.Same(t, got, full)
	}
}

// What changes between the listing and the reading is as it is when it is read.
func TestNamesOfFilesThatChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, map[string][]byte{"gone": []byte("{}"), "emptied": []byte("{}"), "grown": []byte("{}"), "folder": []byte("{}"), "filled": nil})
	src := open(t, dir)
	all := names(t, src, source.Selection{})
	path := func(name string) string { return filepath.Join(dir, name) }
	grown := strings.Repeat("x", 3<<20)
	put(t, dir, map[string][]byte{"emptied": nil, "grown": []byte(grown), "filled": []byte("[]")})
	for _, name := range []string{"gone", "folder"} {
		if err := os.Remove(path(name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(path("folder"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"emptied": "skip: " + source.SkipEmpty, "grown": grown, "filled": "[]", "folder": "skip: " + source.SkipSpecial} {
		got, err := sourcetest.Read(t, src, all[path(name)].Object)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		sourcetest.Same(t, got, map[string]string{path(name): want})
	}
	if _, err := sourcetest.Read(t, src, all[path("gone")].Object); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "open "+path("gone")) {
		t.Error(err)
	}
	if obj := src.Look(all[path("gone")].Object); obj.Size != -1 {
		t.Errorf("%+v", obj)
	}
}
