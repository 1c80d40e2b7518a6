package segment_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2" // another reader of the files

	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/segment/segmenttest"
)

func duck(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// query gives the rows of a query as texts, columns joined by bars.
func query(t testing.TB, db *sql.DB, q string) []string {
	t.Helper()
	rows, err := db.Query(q)
	if err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for rows.Next() {
		vals := make([]any, len(cols))
		ptrs := make([]any, len(cols))
		for i := range vals {
			ptrs[i] = &vals[i]
		}
		if err := rows.Scan(ptrs...); err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, v := range vals {
			if at, ok := v.(time.Time); ok {
				v = at.UTC().Format(time.RFC3339Nano)
			}
			text = append(text, fmt.Sprint(v))
		}
		out = append(out, strings.Join(text, "|"))
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", q, err)
	}
	return out
}

func from(dir string) string {
	return "read_parquet('" + filepath.Join(dir, "data", "*", "*.parquet") + "', hive_partitioning=false)"
}

// TestDuckDB reads records of every form with DuckDB: types, and the record by RawSQL.
func TestDuckDB(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir})
	var want []string
	for i, raw := range slices.Concat(odd, typical, []string{record(1, "2026-01-10T09:12:41Z"), strings.Replace(record(2, "2026-01-10T09:12:41Z"), `"requestID"`, `"additionalEventData":{"a":"ü"},"requestID"`, 1)}) {
		e := parse(t, raw)
		e.Offset = int64(i)
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
		want = append(want, raw)
	}
	if _, err := w.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	db := duck(t)
	var types []string
	for _, row := range query(t, db, "DESCRIBE SELECT * FROM "+from(dir)) {
		parts := strings.SplitN(row, "|", 3)
		types = append(types, parts[0]+" "+parts[1])
	}
	for i, c := range segment.Columns() {
		if got, w := strings.ReplaceAll(types[i], `"`, ""), c.Name+" "+strings.ReplaceAll(c.DuckDB(), `"`, ""); got != w {
			t.Errorf("DuckDB reads %s, want %s", got, w)
		}
	}
	rows, err := db.Query("SELECT sourceOffset, " + segment.RawSQL + ", rawBytes FROM " + from(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	n, whole := 0, 0
	for rows.Next() {
		var i int
		var raw string
		var bytes []byte
		if err := rows.Scan(&i, &raw, &bytes); err != nil {
			t.Fatal(err)
		}
		if bytes != nil {
			whole++
			raw = string(bytes)
		}
		if raw != want[i] {
			t.Errorf("%.300q became %.300q", want[i], raw)
		}
		n++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if n != len(want) || whole != 2 {
		t.Errorf("%d rows, %d of them not UTF-8", n, whole)
	}
}

// TestBloom looks up values that are there and values that are not.
func TestBloom(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir, RowGroup: 1024})
	segmenttest.Events(t, 6_000, func(e *event.Event) {
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	})
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	db := duck(t)
	total := 0
	for _, s := range segs {
		total += int(s.Rows+1023) / 1024
	}
	needles := map[string]string{segment.ResourceARN: "list_filter(list_transform(resources, lambda r: r.ARN), lambda a: a IS NOT NULL)[1]"}
	for _, c := range segment.Columns() {
		if c.Needle {
			needles[c.Name] = c.Name
		}
	}
	for column, expr := range needles {
		left := func(value string) (n int) {
			for _, s := range segs {
				groups, err := segment.Lookup(filepath.Join(dir, s.Path), column, value)
				if err != nil {
					t.Fatal(err)
				}
				n += len(groups)
			}
			return n
		}
		for _, row := range query(t, db, fmt.Sprintf("SELECT v, count(DISTINCT (filename, n // 1024)) FROM (SELECT %s AS v, filename, file_row_number AS n FROM "+
			"read_parquet('%s', hive_partitioning=false, filename=true, file_row_number=true)) WHERE v IS NOT NULL GROUP BY v USING SAMPLE 4 ROWS (reservoir, 1)", expr, filepath.Join(dir, "data", "*", "*.parquet"))) {
			value, n, _ := strings.Cut(row, "|")
			if holding, err := strconv.Atoi(n); err != nil || left(value) < holding {
				t.Errorf("%s = %s is in %s row groups, the filters leave %d", column, value, n, left(value))
			}
		}
		wrong := 0
		for i := range 12 {
			wrong += left(fmt.Sprintf("absent %d", i))
		}
		if wrong > total*12*3/100+2 {
			t.Errorf("%s: the filters leave %d of %d row groups for values that are not there", column, wrong, total*12)
		}
	}
	if _, err := segment.Lookup(filepath.Join(dir, segs[0].Path), "userAgent", "x"); err == nil {
		t.Error("a column without filters was looked up")
	}

	// DuckDB uses the filters, and they are no heavier than what they save.
	files := "'" + filepath.Join(dir, "data", "*", "*.parquet") + "'"
	for _, row := range query(t, db, "SELECT path_in_schema, max(bloom_filter_length) FROM parquet_metadata("+files+") WHERE bloom_filter_length > 8192 GROUP BY 1") {
		t.Errorf("a Bloom filter for 1024 rows is large: %s", row)
	}
	read := func(value string) int {
		plan := query(t, db, "EXPLAIN (ANALYZE, FORMAT json) SELECT userAgent FROM "+from(dir)+" WHERE eventID = '"+value+"'")[0]
		_, after, _ := strings.Cut(plan, `"total_bytes_read": `)
		digits, _, _ := strings.Cut(after, ",")
		n, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatalf("no total_bytes_read in %s", plan)
		}
		return n
	}
	stored, err := strconv.Atoi(query(t, db, "SELECT CAST(sum(total_compressed_size) AS BIGINT) FROM parquet_metadata("+files+") WHERE path_in_schema = 'eventID'")[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := read("80000000-0000-4000-8000-000000000000"); n > stored/2 {
		t.Errorf("DuckDB read %d bytes for an eventID that is not there; the column has %d", n, stored)
	}
}

// TestStatistics looks for values at the edges: empty, long, with bytes above ASCII, null.
func TestStatistics(t *testing.T) {
	t.Parallel()
	values := []string{"", "a", "ü", "\u0001", strings.Repeat("z", 300), strings.Repeat("\U0010ffff", 100)}
	for _, with := range [][]int{{0, 1}, {1, 4}, {3, 5}, {0, 1, 2, 3, 4, 5}, {}} {
		dir := t.TempDir()
		w := segment.NewWriter(segment.Options{Dir: dir})
		want := map[string]int{}
		add := func(raw string) {
			if err := w.Add(parse(t, raw), nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, i := range with {
			want[values[i]] += 3
			quoted, err := json.Marshal(values[i])
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				add(fmt.Sprintf(`{"eventTime":"2026-01-10T09:12:41Z","userAgent":%s,"eventName":%[1]s,"eventID":%[1]s,"userIdentity":{"accessKeyId":%[1]s},"resources":[{"ARN":%[1]s}]}`, quoted))
			}
		}
		add(`{"eventTime":"2026-01-10T09:12:41Z"}`)
		if _, err := w.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		db := duck(t)
		for _, col := range []string{"userAgent", "eventName", "eventID", "accessKeyId", "userIdentity.accessKeyId", "resources[1].ARN"} {
			for _, v := range values {
				var n int
				if err := db.QueryRow("SELECT count(*) FROM "+from(dir)+" WHERE "+col+" = ?", v).Scan(&n); err != nil {
					t.Fatal(err)
				}
				if n != want[v] {
					t.Errorf("of %v: %d rows where %s is %.10q, want %d", with, n, col, v, want[v])
				}
			}
			if got := query(t, db, "SELECT count(*) FROM "+from(dir)+" WHERE "+col+" IS NULL")[0]; got != "1" {
				t.Errorf("of %v: %s rows where %s is null", with, got, col)
			}
		}
	}
}
