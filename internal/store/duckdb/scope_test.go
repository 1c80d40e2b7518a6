package duckdb

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
)

// TestScope asks one engine about changing files and bounds.
func TestScope(t *testing.T) {
	t.Parallel()
	files := write(t, records)
	later := write(t, records[:1])
	e := open(t, Options{Dirs: []string{filepath.Dir(filepath.Dir(files[0])), filepath.Dir(filepath.Dir(later[0]))}})
	const count = "SELECT count(*) FROM events"
	for _, c := range []struct {
		name  string
		scope *Scope
		sql   string
		want  []string
	}{
		{"nothing said", nil, count, []string{"0"}},
		{"no files", &Scope{}, count, []string{"0"}},
		{"no files, a needle", &Scope{}, "SELECT eventName FROM events WHERE eventID = 'x'", nil},
		{"all", &Scope{Files: files}, count, []string{"4"}},
		{"one more", &Scope{Files: append(files[:len(files):len(files)], later...)}, count, []string{"5"}},
		{"since", &Scope{Files: files, Since: mustTime("2026-01-06T11:00:00Z")}, count, []string{"2"}},
		{"until", &Scope{Files: files, Until: mustTime("2026-01-06T11:00:00Z")}, count, []string{"2"}},
		{"an account", &Scope{Files: files, Accounts: []string{"444455556666", "none"}}, "SELECT eventName FROM cloudtrail_logs", []string{"CreateUser"}},
		{"a Region", &Scope{Files: files, Regions: []string{"eu-west-1"}}, "SELECT eventName FROM event_data_store", []string{"AuthorizeSecurityGroupIngress"}},
		{"hostile bounds", &Scope{Files: files, Accounts: []string{"']); DROP VIEW events; --"}}, count, []string{"0"}},
		{"no bounds again", &Scope{Files: files}, count, []string{"4"}},
	} {
		got, err := askScope(t, e, c.scope, c.sql)
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

// TestOwn reads the files as they are, which only the program's own queries may.
func TestOwn(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records)})
	own := func(sql string) error {
		rows, err := e.Query(t.Context(), sql, QueryOptions{Own: true})
		if err != nil {
			return err
		}
		return rows.Close()
	}
	if err := own("SELECT rawHead FROM " + Segments); err != nil {
		t.Error(err)
	}
	for _, sql := range []string{"SELECT 1; SELECT 2", "SELECT * FROM read_text('/etc/hosts')", "CREATE TABLE t AS SELECT 1"} {
		var refused *RefusedError
		if err := own(sql); !errors.As(err, &refused) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := ask(t, e, "SELECT rawHead FROM "+Segments); err == nil {
		t.Error("a query of a user read the files as they are")
	}
}
