package store

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"spoor/internal/source"
)

// TestVersion1 opens a store that an earlier program wrote with version 1 of the format, and writes on into it. With
// SPOOR_GOLDEN=write it makes testdata/v1 anew, which is right only while version 1 has not been released.
func TestVersion1(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "v1")
	if os.Getenv("SPOOR_GOLDEN") == "write" {
		writeGolden(t, golden)
	}
	dir := filepath.Join(t.TempDir(), "store")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(golden, "store"))); err != nil {
		t.Fatal(err)
	}
	want := unique(t, filepath.Join(golden, "logs"))
	r, err := Open(t.Context(), dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	checkAll(t, r, true)
	s, err := Open(t.Context(), dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	check(t, s)
	if got := records(t, s.Source(Filter{}), source.Selection{}); !slices.Equal(got, want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	// What it read is known by the ids of the events: the files lie elsewhere now.
	logs := filepath.Join(t.TempDir(), "logs")
	if err := os.CopyFS(logs, os.DirFS(filepath.Join(golden, "logs"))); err != nil {
		t.Fatal(err)
	}
	if res := ingest(t, s, IngestOptions{}, logs); res.Added != 0 || res.Ledger.Records.Duplicate != int64(len(want)) {
		t.Errorf("%+v", res.Ledger.Records)
	}
	if res := ingest(t, s, IngestOptions{}, classed(t, 1)); res.Added != 72 {
		t.Errorf("added %d", res.Added)
	}
	if _, err := s.Compact(t.Context(), CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	if v := check(t, s); v.Rows != int64(len(want))+72 {
		t.Errorf("%d rows", v.Rows)
	}
	if holds, err := s.Holds(t.Context()); err != nil || len(holds) != 1 || holds[0].Name != "golden" {
		t.Errorf("holds %+v %v", holds, err)
	}
}

func writeGolden(t *testing.T, golden string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(golden, "store")); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "store")
	s := create(t, dir, Options{})
	logs := filepath.Join(golden, "logs")
	names, err := filepath.Glob(filepath.Join(logs, "*"))
	if err != nil || len(names) < 2 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		ingest(t, s, IngestOptions{}, name)
	}
	if err := s.Hold(t.Context(), Hold{Name: "golden", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(golden, "store"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
}
