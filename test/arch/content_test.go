package arch

import (
	"bytes"
	"crypto/sha256"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"spoor/internal/source/sourcetest"
	"spoor/test/kit"
)

// smallest is the size from which equal files are no coincidence.
const smallest = 64

// each calls visit for every file of the project.
func each(t *testing.T, visit func(name string, text []byte)) {
	t.Helper()
	root, err := kit.Root()
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == ".git" || slices.Contains([]string{"bin", "out", "spoor-data"}, name)): // as .gitignore has them
			return fs.SkipDir
		case !d.Type().IsRegular() || slices.Contains([]string{".test", ".prof"}, filepath.Ext(name)):
			return nil
		}
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			return err
		}
		n++
		visit(name, text)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n < 200 {
		t.Errorf("%d files looked at", n)
	}
}

// TestNoCopies holds that nothing of the rules and logs of others was copied: they are read where they lie.
func TestNoCopies(t *testing.T) {
	t.Parallel()
	shared := sourcetest.Shared(t)
	theirs := map[[sha256.Size]byte]string{}
	for _, dir := range []string{"rules", "data"} {
		if err := filepath.WalkDir(filepath.Join(shared, dir), func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "LICENSE") { // which may be ours too
				return err
			}
			text, err := os.ReadFile(name)
			if len(text) >= smallest {
				theirs[fingerprint(text)] = name
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	if len(theirs) < 200 {
		t.Fatalf("%d files to compare with", len(theirs))
	}
	each(t, func(name string, text []byte) {
		if from, ok := theirs[fingerprint(text)]; ok {
			t.Errorf("%s is a copy of %s", name, from)
		}
	})
}

// fingerprint is the same for texts that differ in white space alone.
func fingerprint(text []byte) [sha256.Size]byte {
	return sha256.Sum256(bytes.Join(bytes.Fields(text), []byte{' '}))
}

// homes are folders of people, whose names a project that anybody can build does not mention.
var homes = regexp.MustCompile(`(^|[^A-Za-z0-9_./-])(/home/[a-z][a-z0-9_-]*/|/Users/[A-Za-z][A-Za-z0-9_.-]*/|/root/|[A-Z]:\\Users\\)`)

// machinePath returns where text names a folder of the machine that it was written on, or "".
func machinePath(text []byte, places []string) string {
	if m := homes.FindSubmatch(text); m != nil {
		return string(m[2])
	}
	for _, place := range places {
		if bytes.Contains(text, []byte(place)) {
			return place
		}
	}
	return ""
}

// TestNoMachinePaths holds that no file names folders of the machine that it was written on.
func TestNoMachinePaths(t *testing.T) {
	t.Parallel()
	root, err := kit.Root()
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, place := range []string{root, os.Getenv("SPOOR_SHARED"), os.Getenv("GOPATH")} {
		if strings.Count(filepath.ToSlash(place), "/") >= 2 { // a folder such as /src says nothing
			places = append(places, place)
		}
	}
	each(t, func(name string, text []byte) {
		if filepath.Base(name) == "content_test.go" {
			return
		}
		if found := machinePath(text, places); found != "" {
			t.Errorf("%s names %s", name, found)
		}
	})
	for text, want := range map[string]string{
		"see /home/ana/logs":               "/home/ana/",
		"cd /some/place/of/mine && make":   "/some/place/of/mine",
		`C:\Users\ana`:                     `C:\Users\`,
		"https://example.com/home/page/":   "",
		"arn:aws:iam::111122223333:root/x": "",
		"./home/x/y, docs/root/":           "",
	} {
		if got := machinePath([]byte(text), []string{"/some/place/of/mine"}); got != want {
			t.Errorf("%q: found %q, want %q", text, got, want)
		}
	}
}
