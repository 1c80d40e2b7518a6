package table

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func names(files []File) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.Name
	}
	return out
}

func TestAppendAndPlan(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	if p := mustPlan(t, tbl, Filter{}); len(p.Files) != 0 || p.Snapshot != 0 {
		t.Fatalf("empty table: %+v", p)
	}
	a := newFile(t, tbl, day(0).Add(time.Hour), day(0).Add(5*time.Hour))
	b := newFile(t, tbl, day(1).Add(time.Hour))
	if err := tbl.Append(t.Context(), []string{a, tbl.path(b)}, Props{"spoor.seq": "1"}); err != nil {
		t.Fatal(err)
	}
	c := newFile(t, tbl, day(2).Add(24*time.Hour-time.Microsecond))
	if err := tbl.Append(t.Context(), []string{c}, Props{"spoor.seq": "2"}); err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, tbl, Filter{})
	if got := names(p.Files); !slices.Equal(got, []string{a, b, c}) || p.Props["spoor.seq"] != "2" || p.Rows() != 4 {
		t.Fatalf("plan: %+v", p)
	}
	first := p.Files[0]
	if first.Rows != 2 || first.Day != day(0) || first.MinTime != day(0).Add(time.Hour) || first.MaxTime != day(0).Add(5*time.Hour) {
		t.Errorf("file: %+v", first)
	}
	if got := rows(t, first.Path); got != 2 {
		t.Errorf("rows in the file: %d", got)
	}
	if !reflect.DeepEqual(p.Columns, testSchema().Columns) {
		t.Errorf("columns came back as %+v", p.Columns)
	}
	for _, tc := range []struct {
		name         string
		since, until time.Time
		want         []string
	}{
		{"all", time.Time{}, time.Time{}, []string{a, b, c}},
		{"since a file's last event", day(0).Add(5 * time.Hour), time.Time{}, []string{a, b, c}},
		{"after a file's last event", day(0).Add(5*time.Hour + time.Microsecond), time.Time{}, []string{b, c}},
		{"until a file's first event", time.Time{}, day(1).Add(time.Hour), []string{a}},
		{"until just after it", time.Time{}, day(1).Add(time.Hour + time.Microsecond), []string{a, b}},
		{"one day", day(2), day(3), []string{c}},
		{"none", day(3), day(4), nil},
	} {
		if got := names(mustPlan(t, tbl, Filter{Since: tc.since, Until: tc.until}).Files); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestEventsWithoutTime: they are in every plan, and are never dropped for their age.
func TestEventsWithoutTime(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	timeless, old := newFile(t, tbl, time.Time{}, time.Time{}), newFile(t, tbl, time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC))
	if err := tbl.Append(t.Context(), []string{timeless, old}, nil); err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, tbl, Filter{Since: day(0), Until: day(1)})
	if !slices.Equal(names(p.Files), []string{timeless}) || !p.Files[0].Day.IsZero() || !p.Files[0].MaxTime.IsZero() || p.Rows() != 2 {
		t.Errorf("plan: %+v", p)
	}
	dropped, err := tbl.DropBefore(t.Context(), day(0), nil)
	if err != nil || !slices.Equal(names(dropped), []string{old}) || dropped[0].Day != time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC) {
		t.Errorf("dropped %+v, %v", dropped, err)
	}
}

func TestReplaceAndDrop(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	a, b, c := newFile(t, tbl, day(0)), newFile(t, tbl, day(0).Add(time.Hour)), newFile(t, tbl, day(3))
	if err := tbl.Append(t.Context(), []string{a, b, c}, nil); err != nil {
		t.Fatal(err)
	}
	ab := newFile(t, tbl, day(0), day(0).Add(time.Hour))
	if err := tbl.Replace(t.Context(), []string{a, b}, []string{ab}, Props{"spoor.seq": "7"}); err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, tbl, Filter{})
	if got := names(p.Files); !slices.Equal(got, []string{ab, c}) || p.Rows() != 3 || p.Props["spoor.seq"] != "7" {
		t.Fatalf("after the replacement: %+v", p)
	}
	if err := tbl.Replace(t.Context(), []string{a}, []string{newFile(t, tbl, day(0))}, Props{"spoor.seq": "8"}); !errors.Is(err, ErrConflict) {
		t.Fatalf("a file that is gone was replaced: %v", err)
	}
	dropped, err := tbl.DropBefore(t.Context(), day(1).Add(5*time.Hour), Props{"spoor.seq": "9"})
	if err != nil || !slices.Equal(names(dropped), []string{ab}) {
		t.Fatalf("dropped %v, %v", names(dropped), err)
	}
	if got := names(mustPlan(t, tbl, Filter{}).Files); !slices.Equal(got, []string{c}) {
		t.Fatalf("after the drop: %v", got)
	}
	if err := tbl.Drop(t.Context(), []string{c}, nil); err != nil {
		t.Fatal(err)
	}
	if p := mustPlan(t, tbl, Filter{}); len(p.Files) != 0 || p.Props["spoor.seq"] != "9" {
		t.Fatalf("after the last drop: %+v", p)
	}
	if err := tbl.Append(t.Context(), nil, Props{"spoor.seq": "10"}); err != nil {
		t.Fatal(err)
	}
	reopened, err := Open(t.Context(), tbl.Dir(), Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := reopened.Props(); !reflect.DeepEqual(got, Props{"spoor.seq": "10"}) {
		t.Errorf("properties: %v", got)
	}
	files, err := reopened.Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, want := names(files), []string{a, b, c, ab}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("files of all snapshots: %v, want %v", got, want)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	if _, err := Create(t.Context(), tbl.Dir(), testSchema(), Options{}); !errors.Is(err, ErrExists) {
		t.Errorf("created twice: %v", err)
	}
	if _, err := Open(t.Context(), t.TempDir(), Options{}); !errors.Is(err, ErrNoTable) {
		t.Errorf("opened an empty folder: %v", err)
	}
	if _, err := Create(t.Context(), t.TempDir(), testSchema(), Options{ReadOnly: true}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("created for reading: %v", err)
	}
	good := newFile(t, tbl, day(0))
	if err := writeNamed(filepath.Join(tbl.Dir(), "elsewhere.parquet"), day(0)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tbl.path("data/not.parquet"), []byte("PAR1 not a file PAR1"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, want string
		files      []string
		props      Props
	}{
		{"two days", "data/two.parquet", []string{writeTwoDays(t, tbl)}, nil},
		{"not parquet", "data/not.parquet", []string{"data/not.parquet"}, nil},
		{"missing", "no such file", []string{"data/missing.parquet"}, nil},
		{"outside of data", "not a .parquet file below", []string{"elsewhere.parquet"}, nil},
		{"outside of the folder", "not a .parquet file below", []string{"data/../../x.parquet"}, nil},
		{"twice", "named twice", []string{good, tbl.path(good)}, nil},
		{"a property of Iceberg", `"gc.enabled" does not begin`, []string{good}, Props{"gc.enabled": "true"}},
	} {
		if err := tbl.Append(t.Context(), tc.files, tc.props); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		}
	}
	if p := mustPlan(t, tbl, Filter{}); p.Snapshot != 0 || len(p.Props) != 0 {
		t.Errorf("a refused commit left %+v", p)
	}
	reader, err := Open(t.Context(), tbl.Dir(), Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	_, expireErr := reader.Expire(t.Context(), 0, nil)
	_, orphanErr := reader.RemoveOrphans(t.Context(), time.Time{})
	for what, err := range map[string]error{
		"append": reader.Append(t.Context(), []string{good}, nil), "tag": reader.Tag(t.Context(), "x"), "untag": reader.Untag(t.Context(), "x"),
		"expire": expireErr, "orphans": orphanErr,
	} {
		if !errors.Is(err, ErrReadOnly) {
			t.Errorf("%s with a table open for reading: %v", what, err)
		}
	}
}

func writeTwoDays(t *testing.T, tbl *Table) string {
	t.Helper()
	if err := writeNamed(tbl.path("data/two.parquet"), day(0), day(1)); err != nil {
		t.Fatal(err)
	}
	return "data/two.parquet"
}

func TestSchemaRefusals(t *testing.T) {
	t.Parallel()
	at := Column{ID: 1, Name: "at", Type: "timestamptz"}
	for name, s := range map[string]Schema{
		"no columns":        {Time: "at"},
		"no time column":    {Columns: []Column{at}, Time: "when"},
		"time of no time":   {Columns: []Column{{ID: 1, Name: "at", Type: "string"}}, Time: "at"},
		"an id twice":       {Columns: []Column{at, {ID: 2, Name: "s", Type: "struct", Fields: []Column{{ID: 1, Name: "m", Type: "long"}}}}, Time: "at"},
		"no id":             {Columns: []Column{at, {Name: "x", Type: "long"}}, Time: "at"},
		"unknown type":      {Columns: []Column{at, {ID: 2, Name: "x", Type: "uuid4"}}, Time: "at"},
		"list of no one":    {Columns: []Column{at, {ID: 2, Name: "x", Type: "list"}}, Time: "at"},
		"bad list element":  {Columns: []Column{at, {ID: 2, Name: "x", Type: "list", Fields: []Column{{ID: 3, Name: "element", Type: "?"}}}}, Time: "at"},
		"bad struct member": {Columns: []Column{at, {ID: 2, Name: "x", Type: "struct", Fields: []Column{{ID: 3, Type: "long"}}}}, Time: "at"},
	} {
		if _, err := Create(t.Context(), t.TempDir(), s, Options{}); err == nil {
			t.Errorf("%s: a table was made", name)
		}
	}
}

func TestEvolve(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	if err := tbl.Append(t.Context(), []string{newFile(t, tbl, day(0))}, Props{"spoor.seq": "1"}); err != nil {
		t.Fatal(err)
	}
	version := tbl.current.Load().version
	s := testSchema()
	s.Columns[1].Doc = "Another text."
	if err := tbl.Evolve(t.Context(), s); err != nil || tbl.current.Load().version != version {
		t.Fatalf("a text alone made a version (%v)", err)
	}
	s.Columns = append(s.Columns, Column{ID: 30, Name: "annotation", Type: "string"})
	s.Columns[2].Fields = append(s.Columns[2].Fields, Column{ID: 31, Name: "invokedBy", Type: "string"})
	if err := tbl.Evolve(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if err := tbl.Append(t.Context(), []string{newFile(t, tbl, day(1))}, nil); err != nil {
		t.Fatal(err)
	}
	reader, err := Open(t.Context(), tbl.Dir(), Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, reader, Filter{})
	if !reflect.DeepEqual(p.Columns, s.Columns) || p.Rows() != 2 || p.Props["spoor.seq"] != "1" {
		t.Errorf("after the change: %+v", p)
	}
	for name, change := range map[string]func(*Schema){
		"gone":        func(s *Schema) { s.Columns = s.Columns[1:] },
		"renamed":     func(s *Schema) { s.Columns[1].Name = "x" },
		"retyped":     func(s *Schema) { s.Columns[5].Type = "double" },
		"member gone": func(s *Schema) { s.Columns[2].Fields = s.Columns[2].Fields[1:] },
		"required": func(s *Schema) {
			s.Columns = append(s.Columns, Column{ID: 40, Name: "x", Type: "long", Required: true})
		},
	} {
		bad := testSchema()
		change(&bad)
		if name != "required" {
			bad.Columns = append(bad.Columns, Column{ID: 41, Name: "more", Type: "long"})
		}
		if err := tbl.Evolve(t.Context(), bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestRelocation: the folder is copied, the original goes, and everything works on.
func TestRelocation(t *testing.T) {
	t.Parallel()
	tbl := create(t, Options{})
	a, b := newFile(t, tbl, day(0), day(0).Add(time.Minute)), newFile(t, tbl, day(1))
	if err := tbl.Append(t.Context(), []string{a, b}, Props{"spoor.seq": "1"}); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(t.TempDir(), "else where", "s3:")
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(to, os.DirFS(tbl.Dir())); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(tbl.Dir()); err != nil {
		t.Fatal(err)
	}
	moved, err := Open(t.Context(), to, Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := newFile(t, moved, day(2))
	if err := moved.Replace(t.Context(), []string{b}, []string{c}, Props{"spoor.seq": "2"}); err != nil {
		t.Fatal(err)
	}
	p := mustPlan(t, moved, Filter{})
	if got := names(p.Files); !slices.Equal(got, []string{a, c}) || p.Props["spoor.seq"] != "2" {
		t.Fatalf("plan: %+v", p)
	}
	for _, f := range p.Files {
		if got := rows(t, f.Path); got != f.Rows || !strings.HasPrefix(f.Path, to) {
			t.Errorf("%s has %d rows, planned %d", f.Path, got, f.Rows)
		}
	}
	metadata, err := os.ReadFile(moved.path(moved.current.Load().name))
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(metadata, []byte(tbl.Dir())) || bytes.Contains(metadata, []byte(to)) {
		t.Error("the metadata knows where the folder is")
	}
}

// TestLocations: what the metadata names outside of the folder is not opened.
func TestLocations(t *testing.T) {
	t.Parallel()
	d := &disk{dir: "/store", location: "s3://spoor/id"}
	for location, want := range map[string]string{
		"s3://spoor/id/data/a=b/x y.parquet":     "data/a=b/x y.parquet",
		"s3://spoor/id/data/../../etc/passwd":    "",
		"s3://spoor/id/../id2/x":                 "",
		"s3://spoor/id//etc/passwd":              "",
		"s3://spoor/id2/data/x.parquet":          "",
		"s3://spoor/id":                          "",
		"s3://spoor/id/":                         "",
		"/etc/passwd":                            "",
		"file:///etc/passwd":                     "",
		"":                                       "",
		"s3://spoor/id/data/eventDay=1/../x.par": "data/eventDay=1/../x.par",
	} {
		got, err := d.name(location)
		if (err == nil) != (want != "") || got != want {
			t.Errorf("%q: %q, %v", location, got, err)
		}
	}
}

// TestTwoWriters: without a lock between them, nothing is lost and nothing is overwritten.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	one := create(t, Options{})
	two, err := Open(t.Context(), one.Dir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	const each = 15
	var want [2][]string
	var wg sync.WaitGroup
	for i, tbl := range []*Table{one, two} {
		wg.Go(func() {
			for n := range each {
				name, err := writeFile(tbl.Dir(), day(n))
				if err == nil {
					err = tbl.Append(t.Context(), []string{name}, nil)
				}
				if err != nil {
					t.Error(err)
					return
				}
				want[i] = append(want[i], name)
			}
		})
	}
	wg.Wait()
	if err := one.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := slices.Concat(want[0], want[1])
	got := names(mustPlan(t, one, Filter{}).Files)
	slices.Sort(all)
	slices.Sort(got)
	if !slices.Equal(got, all) || len(got) != 2*each {
		t.Fatalf("%d files, want %d", len(got), len(all))
	}

	// The same property: the slower one is told.
	if err := two.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := one.Append(t.Context(), nil, Props{"spoor.seq": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := two.Append(t.Context(), []string{newFile(t, two, day(0))}, Props{"spoor.seq": "2"}); !errors.Is(err, ErrConflict) {
		t.Errorf("the same property from two writers: %v", err)
	}
	if err := two.Append(t.Context(), nil, Props{"spoor.seq": "2"}); err != nil {
		t.Errorf("after the refresh: %v", err)
	}
	// The same file replaced by both: its rows must not be there twice.
	if err := one.Replace(t.Context(), all[:1], []string{newFile(t, one, day(0))}, nil); err != nil {
		t.Fatal(err)
	}
	if err := two.Replace(t.Context(), all[:1], []string{newFile(t, two, day(0))}, nil); !errors.Is(err, ErrConflict) {
		t.Errorf("the same file from two writers: %v", err)
	}
	if got := mustPlan(t, two, Filter{}); got.Rows() != 2*each {
		t.Errorf("%d rows, want %d", got.Rows(), 2*each)
	}
}

// TestLongOvertaken: a writer that slept while others trimmed its version away does not start a branch of its own.
func TestLongOvertaken(t *testing.T) {
	t.Parallel()
	one := create(t, Options{})
	two, err := Open(t.Context(), one.Dir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 104 // more than the versions that are kept
	for i := range n {
		if err := one.Append(t.Context(), nil, Props{"spoor.one": strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(one.path(metadataName(2))); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("version 2 is still there: %v", err)
	}
	if err := two.Append(t.Context(), nil, Props{"spoor.two": "x"}); err != nil {
		t.Fatal(err)
	}
	if got, want := two.Props(), (Props{"spoor.one": strconv.Itoa(n - 1), "spoor.two": "x"}); !reflect.DeepEqual(got, want) {
		t.Errorf("properties %v, want %v", got, want)
	}
	if got := two.current.Load().version; got != n+2 {
		t.Errorf("version %d, want %d", got, n+2)
	}
}

// TestReadWhileWriting: whatever a reader plans belongs together, and its files are there.
func TestReadWhileWriting(t *testing.T) {
	t.Parallel()
	w := create(t, Options{})
	if err := w.Append(t.Context(), nil, Props{"spoor.rows": "0"}); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		reader, err := Open(t.Context(), w.Dir(), Options{ReadOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			last := int64(0)
			for stop := false; !stop; {
				select {
				case <-done:
					stop = true
				default:
				}
				p, err := reader.Plan(t.Context(), Filter{})
				if err != nil {
					t.Error(err)
					return
				}
				if got := strconv.FormatInt(p.Rows(), 10); got != p.Props["spoor.rows"] || p.Rows() < last {
					t.Errorf("%s rows, the property says %s, %d before", got, p.Props["spoor.rows"], last)
					return
				}
				last = p.Rows()
				for _, f := range p.Files {
					if info, err := os.Stat(f.Path); err != nil || info.Size() != f.Bytes {
						t.Errorf("a planned file: %v", err)
						return
					}
				}
			}
			if last != 20 {
				t.Errorf("the last plan has %d rows", last)
			}
		})
	}
	var names []string
	for i := range 20 {
		names = append(names, newFile(t, w, day(i%3)))
		if err := w.Append(t.Context(), names[len(names)-1:], Props{"spoor.rows": strconv.Itoa(i + 1)}); err != nil {
			t.Error(err)
			break
		}
		if i%5 == 4 {
			if err := w.Replace(t.Context(), names[len(names)-1:], []string{newFile(t, w, day(7))}, nil); err != nil {
				t.Error(err)
				break
			}
			if _, err := w.Expire(t.Context(), time.Hour, nil); err != nil {
				t.Error(err)
				break
			}
		}
	}
	close(done)
	wg.Wait()
}
