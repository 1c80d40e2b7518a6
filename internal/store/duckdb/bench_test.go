package duckdb

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"spoor/internal/store/segment/segmenttest"
)

// TestBenchmark runs the queries over a small sample, or over the store in the folder SPOOR_BENCH_STORE, and prints how
// long they take.
func TestBenchmark(t *testing.T) {
	var files []string
	if dir := os.Getenv("SPOOR_BENCH_STORE"); dir != "" {
		var err error
		if files, err = filepath.Glob(filepath.Join(dir, "data", "*", "*.parquet")); err != nil {
			t.Fatal(err)
		}
	} else {
		dir := t.TempDir()
		for _, s := range segmenttest.WriteSample(t, dir, 3000) {
			files = append(files, filepath.Join(dir, filepath.FromSlash(s.Path)))
		}
	}
	start := time.Now()
	e := open(t, Options{Files: files})
	t.Logf("%d files; opened in %s", len(files), time.Since(start))
	n, err := e.FindNeedles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range Questions(n) {
		got, err := e.Time(t.Context(), q.SQL, 7)
		if err != nil {
			t.Fatalf("%s: %v", q.Name, err)
		}
		t.Logf("%-40s first %-12s warm %-12s %d rows", q.Name, got.First.Round(100*time.Microsecond), got.Warm.Round(100*time.Microsecond), got.Rows)
		if got.Rows == 0 != q.Nothing {
			t.Errorf("%s: %d rows: %s", q.Name, got.Rows, q.SQL)
		}
	}
}
