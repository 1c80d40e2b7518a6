package files_test

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/source"
	"spoor/internal/source/archive"
	"spoor/internal/source/files"
	"spoor/internal/source/sourcetest"
)

// put writes a tree into dir.
func put(t testing.TB, dir string, tree map[string][]byte) {
	t.Helper()
	for path, data := range tree {
		p := filepath.Join(dir, filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func open(t testing.TB, path string) *files.Source {
	t.Helper()
	s, err := files.New(path, archive.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestConform(t *testing.T) {
	t.Parallel()
	sourcetest.Conform(t, func(t *testing.T, tree map[string][]byte) sourcetest.Place {
		dir := t.TempDir()
		put(t, dir, tree)
		return sourcetest.Place{Source: open(t, dir), Name: func(path string) string { return filepath.Join(dir, path) }}
	})
}

func TestOneFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := sourcetest.Key("111122223333", "us-east-1", time.Date(2026, 1, 10, 9, 15, 0, 0, time.UTC), "aaaaaaaaaaaaaaaa")
	put(t, dir, map[string][]byte{key: []byte("{}"), "empty": nil})
	path := filepath.Join(dir, key)
	src := open(t, path)
	got := sourcetest.List(t, src, source.Selection{})
	if l := got[path]; len(got) != 1 || l.Skip != "" || l.Object.Place.Account != "111122223333" || l.Object.Size != 2 {
		t.Errorf("%+v", got)
	}
	sourcetest.Same(t, sourcetest.ReadAll(t, src, source.Selection{}), map[string]string{path: "{}"})
	if l := sourcetest.List(t, src, source.Selection{Regions: []string{"x"}})[path]; l.Skip != source.SkipRegion {
		t.Errorf("%+v", l)
	}
	empty := filepath.Join(dir, "empty")
	if l := sourcetest.List(t, open(t, empty), source.Selection{})[empty]; l.Skip != source.SkipEmpty {
		t.Errorf("%+v", l)
	}
	if _, err := files.New(filepath.Join(dir, "gone"), archive.Limits{}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "gone") {
		t.Errorf("what does not exist: %v", err)
	}
}

// The folder given may itself lie inside of a layout.
func TestInsideOfALayout(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, map[string][]byte{
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/10/a": []byte("{}"),
		"AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/12/b": []byte("{}"),
	})
	root := filepath.Join(dir, "AWSLogs/111122223333/CloudTrail/us-east-1/2026")
	got := sourcetest.List(t, open(t, root), source.Selection{Since: time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)})
	if _, ok := got[filepath.Join(root, "01", "12", "b")]; !ok || len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

func TestZipGivenByName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "logs")
	data := sourcetest.Zip(
		sourcetest.Member{Name: "a", Data: []byte("1")}, sourcetest.Member{Name: "e"}, sourcetest.Member{Name: "a", Data: []byte("2")},
		sourcetest.Member{Name: "t.tar", Data: sourcetest.Tar(sourcetest.Member{Name: "x", Data: []byte("3")})})
	put(t, dir, map[string][]byte{"logs": data, "broken.zip": data[:50], "f.tar": sourcetest.Tar(sourcetest.Member{Name: "x", Data: []byte("3")})})
	src := open(t, path)
	got := sourcetest.List(t, src, source.Selection{})
	for name, skip := range map[string]string{path: "", path + "!a": "", path + "!a (2)": "", path + "!e": source.SkipEmpty, path + "!t.tar": ""} {
		l, ok := got[name]
		if !ok || l.Skip != skip || (name != path) != (l.Object.Archive == path) {
			t.Errorf("%s: %v %+v", name, ok, l)
		}
	}
	if len(got) != 5 {
		t.Errorf("%+v", got)
	}
	sourcetest.Same(t, sourcetest.ReadAll(t, src, source.Selection{}), map[string]string{path + "!a": "1", path + "!a (2)": "2", path + "!t.tar!x": "3"})

	path = filepath.Join(dir, "f.tar")
	if got := sourcetest.List(t, open(t, path), source.Selection{}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
	sourcetest.Same(t, sourcetest.ReadAll(t, open(t, path), source.Selection{}), map[string]string{path + "!x": "3"})

	path = filepath.Join(dir, "broken.zip")
	l, ok := sourcetest.List(t, open(t, path), source.Selection{})[path]
	if !ok || l.Skip != "" || l.Object.Err == nil {
		t.Errorf("%+v", l)
	}
	if _, err := sourcetest.Read(t, open(t, path), l.Object); err == nil || !strings.Contains(err.Error(), "broken.zip") {
		t.Error(err)
	}
}

func TestLinks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put(t, dir, map[string][]byte{"in/z/file": []byte("{}"), "in/y/file": []byte("{}"), "out/other": []byte("{}")})
	in := filepath.Join(dir, "in")
	for name, target := range map[string]string{
		"loop": ".", "z/up": "../..", "y/self": "self", "a": "z", "b": filepath.Join(dir, "out"), "c": "b", "file": "z/file", "dangling": "nowhere",
	} {
		if err := os.Symlink(target, filepath.Join(in, name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	got := sourcetest.List(t, open(t, in), source.Selection{})
	// z/up leads above the folder: what lies there is listed below the link, except what was listed by its own name.
	want := map[string]string{
		"z/file": "", "y/file": "", "file": "", "y/self": "error", "dangling": "error",
		"a/": source.SkipLoop, "loop/": source.SkipLoop, "z/up/in/": source.SkipLoop, "b/other": "", "c/": source.SkipLoop, "z/up/out/": source.SkipLoop,
	}
	for name, skip := range want {
		n := filepath.Join(in, name)
		if strings.HasSuffix(name, "/") {
			n += "/"
		}
		l, ok := got[n]
		if l.Object.Err != nil {
			l.Skip += "error"
			if _, err := sourcetest.Read(t, open(t, in), l.Object); err == nil {
				t.Errorf("%s can be opened", n)
			}
		}
		if !ok || l.Skip != skip {
			t.Errorf("%s: listed %v, %q, want %q", name, ok, l.Skip, skip)
		}
		delete(got, n)
	}
	for n, l := range got {
		t.Errorf("%s is listed: %+v", n, l)
	}
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Skip("root reads everything")
	}
	dir := t.TempDir()
	put(t, dir, map[string][]byte{"a": []byte("{}"), "secret": []byte("{}"), "closed/x": []byte("{}"), "z": []byte("{}")})
	for name, mode := range map[string]fs.FileMode{"secret": 0, "closed": 0} {
		path := filepath.Join(dir, name)
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(path, 0o700) })
	}
	src := open(t, dir)
	failed := map[string]bool{}
	for _, l := range sourcetest.List(t, src, source.Selection{}) {
		if _, err := sourcetest.Read(t, src, l.Object); err != nil {
			if !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), strings.TrimSuffix(l.Object.Name, "/")) {
				t.Errorf("%s: %v", l.Object.Name, err)
			}
			failed[l.Object.Name] = true
		}
	}
	if len(failed) != 2 || !failed[filepath.Join(dir, "secret")] || !failed[filepath.Join(dir, "closed")+"/"] {
		t.Errorf("%v", failed)
	}
}

func TestStdin(t *testing.T) {
	t.Parallel()
	zipped := string(sourcetest.Zip(sourcetest.Member{Name: "a", Data: []byte("1")}, sourcetest.Member{Name: "b", Data: []byte("2")}))
	for in, want := range map[string]map[string]string{
		"{}":   {"-": "{}"},
		"":     {"-": ""},
		zipped: {"-!a": "1", "-!b": "2"},
	} {
		src := files.NewStdin(io.MultiReader(strings.NewReader(in[:len(in)/2]), strings.NewReader(in[len(in)/2:])), archive.Limits{})
		sourcetest.Same(t, sourcetest.ReadAll(t, src, source.Selection{}), want)
		if _, err := sourcetest.Read(t, src, source.Object{Name: "-"}); err == nil {
			t.Error("standard input can be read twice")
		}
	}
}

// Files of one to five records, as quiet Regions deliver them.
func BenchmarkTinyFiles(b *testing.B) {
	const n = 20_000
	dir := b.TempDir()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	data := sourcetest.Gzip(`{"Records":[` + strings.Repeat(`{"eventVersion":"1.08","eventName":"X"},`, 40) + `{}]}`)
	for i := range n {
		key := filepath.Join(dir, sourcetest.Key("111122223333", "us-east-1", at.Add(time.Duration(i)*5*time.Minute), fmt.Sprintf("%016d", i)))
		if err := os.MkdirAll(filepath.Dir(key), 0o700); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(key, data, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	src := open(b, dir)
	ctx := b.Context()
	b.Run("list", func(b *testing.B) {
		for b.Loop() {
			if err := src.List(ctx, source.Selection{Since: at}, func(source.Object, string) error { return nil }); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "files/s")
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			objects := make(chan source.Object, 64)
			done := make(chan error, 2)
			for range 2 {
				go func() {
					buf := make([]byte, 64<<10)
					var err error
					for obj := range objects {
						err = errors.Join(err, src.Open(ctx, obj, func(_ source.Object, r io.Reader) error {
							_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, buf)
							return err
						}))
					}
					done <- err
				}()
			}
			err := src.List(ctx, source.Selection{Since: at}, func(obj source.Object, _ string) error { objects <- obj; return nil })
			close(objects)
			if err := errors.Join(err, <-done, <-done); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "files/s")
	})
}
