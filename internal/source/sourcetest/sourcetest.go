// Package sourcetest holds what every [source.Source] must do, as a test that each of them runs.
package sourcetest

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/source"
)

// Shared returns the folder of shared logs and specifications: $SPOOR_SHARED, or the folder named shared beside the
// checkout. It skips the test when there is none.
func Shared(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("SPOOR_SHARED"); dir != "" {
		return dir
	}
	dir, err := os.Getwd()
	for err == nil {
		shared := filepath.Join(dir, "shared")
		if _, statErr := os.Stat(filepath.Join(shared, "DESIGN.md")); statErr == nil {
			return shared
		}
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	t.Skip("no folder with shared data: set SPOOR_SHARED")
	return ""
}

// Listed is what one visit told.
type Listed struct {
	Object source.Object
	Skip   string
}

// List returns what src lists, by name. A name listed twice fails the test.
func List(t testing.TB, src source.Source, sel source.Selection) map[string]Listed {
	t.Helper()
	got := map[string]Listed{}
	var inside sync.Mutex
	err := src.List(t.Context(), sel, func(obj source.Object, skip string) error {
		if !inside.TryLock() {
			t.Error("visit is called concurrently")
		}
		defer inside.Unlock()
		if _, twice := got[obj.Name]; twice {
			t.Errorf("%s is listed twice", obj.Name)
		}
		got[obj.Name] = Listed{obj, skip}
		return nil
	})
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return got
}

// Read opens an object and returns what it and its members hold, by name; members to skip have "skip: " and the reason, and
// those that cannot be read "error: " and the error.
func Read(t testing.TB, src source.Source, obj source.Object) (map[string]string, error) {
	t.Helper()
	got := map[string]string{}
	err := src.Open(t.Context(), obj, func(m source.Object, r io.Reader) error {
		if _, twice := got[m.Name]; twice {
			t.Errorf("%s is read twice", m.Name)
		}
		b, err := io.ReadAll(r)
		switch {
		case err != nil:
			got[m.Name] = "error: " + err.Error()
			if m.Name == obj.Name {
				return err
			}
		case m.Skip != "":
			got[m.Name] = "skip: " + m.Skip
		default:
			got[m.Name] = string(b)
		}
		if m.Name != obj.Name && m.Archive == "" {
			t.Errorf("%s does not name its archive", m.Name)
		}
		return nil
	})
	return got, err
}

// ReadAll lists and reads everything that is not skipped, several at once, and fails on any error.
func ReadAll(t testing.TB, src source.Source, sel source.Selection) map[string]string {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	all := map[string]string{}
	sem := make(chan struct{}, 4)
	for _, l := range List(t, src, sel) {
		if l.Skip != "" {
			continue
		}
		wg.Go(func() {
			sem <- struct{}{}
			defer func() { <-sem }()
			got, err := Read(t, src, l.Object)
			if err != nil {
				t.Errorf("open %s: %v", l.Object.Name, err)
			}
			mu.Lock()
			defer mu.Unlock()
			maps.Copy(all, got)
		})
	}
	wg.Wait()
	return all
}

// Key returns the key of a log file in the layout that trails deliver.
func Key(account, region string, delivered time.Time, unique string) string {
	return fmt.Sprintf("AWSLogs/%s/CloudTrail/%s/%s/%[1]s_CloudTrail_%[2]s_%[5]sZ_%[4]s.json.gz",
		account, region, delivered.Format("2006/01/02"), unique, delivered.Format("20060102T1504"))
}

// Gzip compresses.
func Gzip(s string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	if err := errors.Join(err, w.Close()); err != nil {
		panic(err) // a bytes.Buffer takes everything
	}
	return b.Bytes()
}

// Member is a file for [Zip] and [Tar].
type Member struct {
	Name string
	Data []byte
}

// Zip makes a zip archive.
func Zip(members ...Member) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		f, err := w.Create(m.Name)
		if err == nil {
			_, err = f.Write(m.Data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Tar makes a tar archive.
func Tar(members ...Member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		err := w.WriteHeader(&tar.Header{Name: m.Name, Mode: 0o600, Size: int64(len(m.Data)), Typeflag: tar.TypeReg})
		if err == nil {
			_, err = w.Write(m.Data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// Place holds a source over a tree, and how it names what lies at a path of the tree.
type Place struct {
	Source source.Source
	Name   func(path string) string
}

// Conform runs the suite. put makes a source over a tree of paths with slashes and contents.
func Conform(t *testing.T, put func(t *testing.T, tree map[string][]byte) Place) {
	day := func(d, h, m int) time.Time { return time.Date(2026, 1, d, h, m, 0, 0, time.UTC) }
	const one, two = "111122223333", "444455556666"

	t.Run("everything once", func(t *testing.T) {
		t.Parallel()
		tree := map[string][]byte{
			Key(one, "us-east-1", day(10, 9, 15), "aaaaaaaaaaaaaaaa"):                Gzip(`{"Records":[]}`),
			Key(two, "eu-west-1", day(11, 9, 15), "bbbbbbbbbbbbbbbb"):                Gzip(`{"Records":[{}]}`),
			"p/q/" + Key(two, "eu-west-1", day(11, 9, 15), "cccccccccccccccc"):       Gzip(`{"Records":[{},{}]}`),
			"AWSLogs/o-abc1234567/" + Key(two, "eu-west-1", day(11, 9, 15), "d")[8:]: []byte("not compressed"),
			"plain.json":                        []byte(`{}`),
			"a/b/c/d/e/f/g/deep.jsonl":          []byte("{}\n{}\n"),
			".hidden":                           []byte(`{}`),
			"odd names/ü & \"x\" +%41 #1?.json": []byte(`{"a":1}`),
			"a-b":                               []byte("sorts before a/"),
			"a.b":                               []byte("sorts before a/ too"),
			"empty.json":                        {},
			"mac/.DS_Store":                     []byte("\x00\x00\x00\x01Bud1"),
		}
		p := put(t, tree)
		got := List(t, p.Source, source.Selection{})
		for path, data := range tree {
			l, ok := got[p.Name(path)]
			if !ok {
				t.Errorf("%s is not listed", path)
				continue
			}
			delete(got, p.Name(path))
			want := Listed{source.Object{Name: p.Name(path), Size: int64(len(data)), Place: source.ParseKey(path)}, ""}
			switch path {
			case "empty.json":
				want.Skip = source.SkipEmpty
			case "mac/.DS_Store":
				want.Skip = source.SkipSystem
			}
			if l.Object.Modified.IsZero() || time.Since(l.Object.Modified).Abs() > time.Hour {
				t.Errorf("%s: modified %v", path, l.Object.Modified)
			}
			l.Object.Modified, l.Object.ETag, l.Object.Within = time.Time{}, "", nil
			if l != want {
				t.Errorf("%s\n got %+v\nwant %+v", path, l, want)
			}
		}
		for name := range got {
			t.Errorf("%s is listed and does not exist", name)
		}
		delete(tree, "empty.json")
		delete(tree, "mac/.DS_Store")
		read := ReadAll(t, p.Source, source.Selection{})
		for path, data := range tree {
			if b, ok := read[p.Name(path)]; !ok || b != string(data) {
				t.Errorf("%s holds %q (%v), want %q", path, b, ok, data)
			}
		}
		if len(read) != len(tree) {
			t.Errorf("%d objects read, want %d", len(read), len(tree))
		}
	})

	t.Run("selection", func(t *testing.T) {
		t.Parallel()
		tree := map[string][]byte{"other.json": []byte("{}"), "AWSLogs/readme": []byte("x")}
		for _, account := range []string{one, two} {
			for _, region := range []string{"us-east-1", "eu-west-1"} {
				for _, at := range []time.Time{
					day(1, 0, 0).AddDate(-1, 0, 0), day(1, 0, 0).Add(-time.Minute), day(1, 0, 0), day(9, 23, 59), day(10, 0, 0), day(10, 9, 15),
					day(10, 23, 59), day(11, 0, 0), day(11, 9, 15), day(12, 0, 0), day(12, 0, 1), day(31, 23, 59), day(32, 0, 0), day(1, 0, 0).AddDate(1, 0, 0),
				} {
					tree[Key(account, region, at, "abcdefghijklmnop")] = Gzip(at.String())
					tree["AWSLogs/o-abc1234567/"+Key(account, region, at, "abcdefghijklmnop")[len("AWSLogs/"):]] = Gzip(at.String())
				}
			}
			tree["AWSLogs/"+account+"/vpcflowlogs/us-east-1/2026/01/10/x.log.gz"] = Gzip("flow")
			tree["AWSLogs/"+account+"/CloudTrail-Digest/us-east-1/2026/01/10/"+account+"_CloudTrail-Digest_us-east-1_t_us-east-1_20260110T100031Z.json.gz"] = Gzip("digest")
		}
		p := put(t, tree)
		for name, sel := range map[string]source.Selection{
			"all":             {},
			"logs":            {Kinds: source.LogKinds()},
			"account":         {Accounts: []string{two}},
			"region":          {Regions: []string{"eu-west-1"}},
			"since":           {Since: day(10, 9, 10)},
			"until":           {Until: day(10, 12, 0)},
			"day":             {Since: day(10, 0, 0), Until: day(11, 0, 0), Lag: time.Hour},
			"month":           {Since: day(1, 0, 0), Until: day(32, 0, 0), Lag: 1},
			"short lag":       {Since: day(10, 9, 0), Until: day(10, 10, 0), Lag: time.Minute},
			"everything":      {Since: day(10, 9, 0), Until: day(11, 0, 0), Accounts: []string{one}, Regions: []string{"us-east-1"}, Kinds: source.LogKinds()},
			"nothing at all":  {Since: day(1, 0, 0).AddDate(10, 0, 0)},
			"unknown account": {Accounts: []string{"000000000000"}},
		} {
			got := List(t, p.Source, sel)
			folders := map[string]bool{}
			for path := range tree {
				want := sel.Skip(source.ParseKey(path))
				l, listed := got[p.Name(path)]
				delete(got, p.Name(path))
				if want == "" && (!listed || l.Skip != "") {
					t.Errorf("%s: %s is left out: listed %v, %q", name, path, listed, l.Skip)
				}
				if want != "" && listed && l.Skip != want {
					t.Errorf("%s: %s: skip %q, want %q", name, path, l.Skip, want)
				}
				if (want == source.SkipDigest) != (listed && l.Skip == source.SkipDigest) {
					t.Errorf("%s: %s: listed %v, %q: digests are to be counted", name, path, listed, l.Skip)
				}
				if i := strings.Index(path, "/vpcflowlogs/"); i >= 0 {
					folders[p.Name(path[:i+len("/vpcflowlogs")])] = true
				}
			}
			// What remains are folders of other services, named once.
			for n, l := range got {
				if !folders[strings.TrimSuffix(n, "/")] || !strings.HasSuffix(n, "/") || l.Skip != "log of another service: vpcflowlogs" {
					t.Errorf("%s: %s is listed, skip %q", name, n, l.Skip)
				}
			}
			if name == "logs" && len(got) != 2 {
				t.Errorf("%s: %d folders of other services, want 2", name, len(got))
			}
		}
	})

	t.Run("many", func(t *testing.T) {
		t.Parallel()
		tree := map[string][]byte{}
		for i := range 2500 { // more than two pages of a bucket
			tree[fmt.Sprintf("logs/%04d.json", i)] = []byte("{}")
		}
		for i := range 1200 {
			tree[Key(one, "us-east-1", day(10, i/60, i%60), "abcdefghijklmnop")] = []byte("{}")
		}
		p := put(t, tree)
		for _, sel := range []source.Selection{{}, {Since: day(10, 0, 0), Until: day(12, 0, 0)}} {
			got := List(t, p.Source, sel)
			if len(got) != len(tree) {
				t.Errorf("%d objects, want %d", len(got), len(tree))
			}
			for path := range tree {
				if l, ok := got[p.Name(path)]; !ok || l.Skip != "" {
					t.Errorf("%s: %v %q", path, ok, l.Skip)
				}
			}
		}
	})

	t.Run("archives", func(t *testing.T) {
		t.Parallel()
		key := Key(one, "us-east-1", day(10, 9, 15), "aaaaaaaaaaaaaaaa")
		members := []Member{
			{"x/" + key, Gzip(`{"Records":[]}`)}, {"two.jsonl", []byte("{}\n{}\n")}, {"empty", nil}, {"__MACOSX/._two.jsonl", []byte("x")},
		}
		inner := Tar(Member{"in.json", []byte("[]")})
		tree := map[string][]byte{
			"a.zip":      Zip(members...),
			"b.tar":      Tar(members...),
			"c.tar.gz":   Gzip(string(Tar(members...))),
			"d":          Zip(members...),
			"e.gz":       Gzip(string(Tar(members...))),
			"nested.zip": Zip(Member{"i.tar", inner}, Member{"i.zip", Zip(Member{"in.json", []byte("[]")}, Member{"deep.tar", inner})}),
			"plain.gz":   Gzip("{}"),
			"PK.json":    []byte("PK is not a zip"),
		}
		p := put(t, tree)
		if got := List(t, p.Source, source.Selection{}); len(got) != len(tree) {
			t.Errorf("%d objects listed, want %d", len(got), len(tree))
		}
		got := ReadAll(t, p.Source, source.Selection{})
		want := map[string]string{
			p.Name("plain.gz"): string(tree["plain.gz"]), p.Name("PK.json"): string(tree["PK.json"]),
			p.Name("nested.zip!i.tar!in.json"): "[]", p.Name("nested.zip!i.zip!in.json"): "[]",
			p.Name("nested.zip!i.zip!deep.tar"): "error: archive inside of an archive inside of an archive",
		}
		for _, a := range []string{"a.zip", "b.tar", "c.tar.gz", "d", "e.gz"} {
			want[p.Name(a+"!x/"+key)] = string(members[0].Data)
			want[p.Name(a+"!two.jsonl")] = "{}\n{}\n"
			want[p.Name(a+"!empty")] = "skip: " + source.SkipEmpty
			want[p.Name(a+"!__MACOSX/._two.jsonl")] = "skip: " + source.SkipSystem
		}
		// Archives inside of archives are read, and are no objects themselves.
		Same(t, got, want)

		for _, sel := range []source.Selection{{Accounts: []string{two}}, {Since: day(11, 0, 0)}, {Regions: []string{"x"}}} {
			got := ReadAll(t, p.Source, sel)
			why := "skip: " + sel.Skip(source.ParseKey(key))
			for _, a := range []string{"a.zip", "b.tar", "c.tar.gz", "d", "e.gz"} {
				want[p.Name(a+"!x/"+key)] = why
			}
			Same(t, got, want)
		}
	})

	t.Run("errors", func(t *testing.T) {
		t.Parallel()
		p := put(t, map[string][]byte{"a.json": []byte("{}"), "b.json": []byte("{}"), "broken.zip": Zip(Member{"x", []byte("{}")})[:40]})
		stop := errors.New("stop")
		visits := 0
		err := p.Source.List(t.Context(), source.Selection{}, func(source.Object, string) error { visits++; return stop })
		if err != stop || visits != 1 {
			t.Errorf("a visit's error: %v after %d visits", err, visits)
		}
		l := List(t, p.Source, source.Selection{})[p.Name("a.json")]
		if err := p.Source.Open(t.Context(), l.Object, func(source.Object, io.Reader) error { return stop }); err != stop {
			t.Errorf("a read's error: %v", err)
		}
		calls := 0
		gone := l.Object
		gone.Name = p.Name("gone.json")
		err = p.Source.Open(t.Context(), gone, func(source.Object, io.Reader) error { calls++; return nil })
		if err == nil || calls != 0 || !strings.Contains(err.Error(), p.Name("gone.json")) {
			t.Errorf("what does not exist: %v, %d reads", err, calls)
		}
		broken := l.Object
		broken.Name = p.Name("broken.zip")
		err = p.Source.Open(t.Context(), broken, func(source.Object, io.Reader) error { calls++; return nil })
		if err == nil || calls != 0 || !strings.Contains(err.Error(), p.Name("broken.zip")) {
			t.Errorf("a broken archive: %v, %d reads", err, calls)
		}
		failed := l.Object
		failed.Err = stop
		if err := p.Source.Open(t.Context(), failed, func(source.Object, io.Reader) error { calls++; return nil }); !errors.Is(err, stop) || calls != 0 {
			t.Errorf("what could not be listed: %v, %d reads", err, calls)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Source.List(ctx, source.Selection{}, func(source.Object, string) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled listing: %v", err)
		}
		err = p.Source.Open(ctx, l.Object, func(_ source.Object, r io.Reader) error { _, err := io.ReadAll(r); return err })
		if !errors.Is(err, context.Canceled) {
			t.Errorf("a cancelled read: %v", err)
		}
	})
}

// Same compares what was read.
func Same(t testing.TB, got, want map[string]string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[name]; !ok || g != want[name] {
			t.Errorf("%s: got %q (%v), want %q", name, g, ok, want[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			t.Errorf("%s is read and should not be: %q", name, got[name])
		}
	}
}
