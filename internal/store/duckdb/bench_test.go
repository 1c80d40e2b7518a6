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
	timings, err := e.Benchmark(t.Context(), n, 7)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range timings {
		t.Logf("%-32s first %-12s warm %-12s %d rows", b.Name, b.First.Round(100*time.Microsecond), b.Warm.Round(100*time.Microsecond), b.Rows)
		if b.Rows == 0 != (b.Name == "an event id that is not there") {
			t.Errorf("%s: %d rows", b.Name, b.Rows)
		}
	}
}
