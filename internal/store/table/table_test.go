package table

import (
	"slices"
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
	same, err := sameColumns(p.Columns, testSchema().Columns)
	if err != nil || !same {
		t.Errorf("columns came back as %+v (%v)", p.Columns, err)
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
