package duckdb

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
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

// TestLakeCost asks the same of an event data store, by its id and by its view, over a small sample or the store in the folder
// SPOOR_BENCH_STORE, and prints what the Lake dialect costs.
func TestLakeCost(t *testing.T) {
	var files []string
	runs := 3
	if dir := os.Getenv("SPOOR_BENCH_STORE"); dir != "" {
		var err error
		runs = 21
		if files, err = filepath.Glob(filepath.Join(dir, "data", "*", "*.parquet")); err != nil {
			t.Fatal(err)
		}
	} else {
		dir := t.TempDir()
		for _, s := range segmenttest.WriteSample(t, dir, 3000) {
			files = append(files, filepath.Join(dir, filepath.FromSlash(s.Path)))
		}
	}
	e := open(t, Options{Files: files})
	scope := &Scope{Files: files}
	whole, part := []DataStore{{ID: lake}}, []DataStore{{ID: lake, Where: "(eventCategory IN ('Management', 'Data') OR eventCategory IS NULL) AND eventTime >= TIMESTAMPTZ '2020-01-01 00:00:00+00'"}}
	n, err := e.FindNeedles(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []struct{ name, sql string }{
		{"nothing", `SELECT 1`},
		{"one event id", `SELECT * FROM EDS WHERE eventID = ` + quoteText(n.EventID)},
		{"one access key", `SELECT eventTime, eventName, sourceIPAddress FROM EDS WHERE userIdentity.accessKeyId = ` + quoteText(n.AccessKey) + ` ORDER BY eventTime DESC LIMIT 50`},
		{"newest of a type", `SELECT * FROM EDS WHERE userIdentity.type = 'AssumedRole' ORDER BY eventTime DESC LIMIT 50`},
		{"newest 50", `SELECT eventTime, eventName, sourceIPAddress, userIdentity.arn FROM EDS ORDER BY eventTime DESC LIMIT 50`},
		{"by name and hour", `SELECT date_trunc('hour', eventTime), eventName, count(*) FROM EDS WHERE eventTime > '2020-01-01 00:00:00' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20`},
		{"refused calls", `SELECT userIdentity.arn, errorCode, count(*) FROM EDS WHERE errorCode LIKE '%Denied%' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 20`},
		{"parameters", `SELECT element_at(requestParameters, 'bucketName'), count(*) FROM EDS WHERE eventSource = 's3.amazonaws.com' GROUP BY 1 ORDER BY 2 DESC LIMIT 20`},
		{"two in one", `SELECT a.eventName, count(*) FROM EDS a JOIN EDS b ON a.eventID = b.eventID WHERE a.eventName = 'ConsoleLogin' AND b.eventName = 'ConsoleLogin' GROUP BY 1`},
	} {
		// They take turns, so that what else the machine does is the same for both.
		var took [3][]time.Duration
		var rows [3]int
		for range runs {
			for i, opts := range []QueryOptions{{Scope: scope}, {Scope: scope, DataStores: whole}, {Scope: scope, DataStores: part}} {
				start := time.Now()
				r, err := e.Query(t.Context(), strings.ReplaceAll(q.sql, "EDS", []string{dataStoreView, lake, lake}[i]), opts)
				if err != nil {
					t.Fatalf("%s: %v", q.name, err)
				}
				got, err := read(t, r)
				if err != nil {
					t.Fatalf("%s: %v", q.name, err)
				}
				took[i], rows[i] = append(took[i], time.Since(start)), len(got)
			}
		}
		var quarter [3]time.Duration // of the runs are faster
		for i := range took {
			slices.Sort(took[i])
			quarter[i] = took[i][runs/4]
		}
		ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
		t.Logf("%-20s direct %7.1f ms, as a store %+6.1f ms, with a condition %+6.1f ms; %d rows", q.name, ms(quarter[0]), ms(quarter[1]-quarter[0]), ms(quarter[2]-quarter[0]), rows[0])
		if rows[0] != rows[1] || rows[0] != rows[2] || rows[0] == 0 && q.name != "two in one" {
			t.Errorf("%s: %d rows", q.name, rows)
		}
	}
}
