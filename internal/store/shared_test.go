package store

import (
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"spoor/internal/dedup"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/source/sourcetest"
)

// TestShared: what a store takes over is what a hunt counts, by folder and as a whole.
func TestShared(t *testing.T) {
	t.Parallel()
	data := filepath.Join(sourcetest.Shared(t), "data")
	folders, err := filepath.Glob(filepath.Join(data, "*", "*"))
	if err != nil || len(folders) == 0 {
		t.Fatal(folders, err)
	}
	for _, folder := range append(folders, data) {
		rel, err := filepath.Rel(data, folder)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(rel, func(t *testing.T) {
			t.Parallel()
			in := input(t, folder)
			in.Ledger = ledger.New()
			set := dedup.New(dedup.Options{})
			defer set.Close()
			in.Seen, in.Workers = set, 1
			g := &gather{}
			if err := intake.Run(t.Context(), in, func() (intake.Worker, error) { return g, nil }); err != nil {
				t.Fatal(err)
			}
			want := in.Ledger.Report()
			s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
			one := input(t, folder)
			one.Workers = 1 // of two records of one event, the first counts
			got, err := s.Ingest(t.Context(), IngestOptions{Intake: one})
			if err != nil {
				t.Fatal(err)
			}
			if got.Ledger.Objects != want.Objects || got.Ledger.Records != want.Records || got.Ledger.Bytes != want.Bytes {
				t.Errorf("objects %+v\nwant    %+v\nrecords %+v\nwant    %+v", got.Ledger.Objects, want.Objects, got.Ledger.Records, want.Records)
			}
			if !reflect.DeepEqual(got.Ledger.Skipped, want.Skipped) || !reflect.DeepEqual(got.Ledger.Cells, want.Cells) || !reflect.DeepEqual(got.Ledger.Failures, want.Failures) {
				t.Errorf("skipped %v\nwant %v\nfailures %v\nwant %v", got.Ledger.Skipped, want.Skipped, got.Ledger.Failures, want.Failures)
			}
			if got.Rows != want.Records.Kept {
				t.Errorf("%d rows, %d kept", got.Rows, want.Records.Kept)
			}
			if rel == "." && got.Rows < 1000 {
				t.Errorf("%d rows in all", got.Rows)
			}
			check(t, s)
			slices.Sort(g.raw)
			if out := records(t, s.Source(Filter{}), source.Selection{}); !slices.Equal(out, g.raw) {
				t.Errorf("%d records come out, %d went in, or others", len(out), len(g.raw))
			}
			again := ingest(t, s, IngestOptions{}, folder)
			if again.Added != 0 || again.Rows != got.Rows {
				t.Errorf("the second time: %+v", again.Ledger.Records)
			}
			if rel != "." {
				return
			}
			if _, err := s.Compact(t.Context(), CompactOptions{}); err != nil {
				t.Fatal(err)
			}
			check(t, s)
		})
	}
}
