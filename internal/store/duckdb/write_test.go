package duckdb

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"spoor/internal/safetext"
)

const everyKind = `SELECT 1 AS n, -1.5 AS d, true AS b, NULL AS nothing, 'it''s' AS s, {'a': 1, 'b': NULL} AS st, [1, NULL] AS l, map(ARRAY['k'], ARRAY['v']) AS m, json_parse('{"j":[1]}') AS j,
	from_iso8601_timestamp('2026-01-05T10:00:00.25Z') AS tz, timestamp '2026-01-05 10:00:00' AS ts, date '2026-01-05' AS da, interval '1' day AS i, 12345678901234567890123 AS big, 1 AS n, cast('nan' AS double) AS nan, 'x'::blob AS bl`

func written(t *testing.T, e *Engine, sql string, opts WriteOptions) (string, Written) {
	t.Helper()
	var b bytes.Buffer
	n, err := e.Write(t.Context(), &b, sql, opts)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), n
}

func TestFormats(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records)})
	for format, want := range map[string]string{
		"json": "[\n" + `{"n":1,"d":-1.5,"b":true,"nothing":null,"s":"it's","st":{"a":1,"b":null},"l":[1,null],"m":{"k":"v"},"j":{"j":[1]},"tz":"2026-01-05T10:00:00.25Z","ts":"2026-01-05 10:00:00","da":"2026-01-05","i":"1 day","big":12345678901234567890123,"n_2":1,"nan":"nan","bl":"x"}` + "\n]\n",
		"csv":  "n,d,b,nothing,s,st,l,m,j,tz,ts,da,i,big,n,nan,bl\n" + `1,-1.5,true,,it's,"{""a"":1,""b"":null}","[1,null]","{""k"":""v""}","{""j"":[1]}",2026-01-05T10:00:00.25Z,2026-01-05 10:00:00,2026-01-05,1 day,12345678901234567890123,1,nan,x` + "\n",
		"table": `n     d  b     nothing  s     st       l         m          j          tz                       ts                   da          i                          big  n  nan  bl
─  ────  ────  ───────  ────  ───────  ────────  ─────────  ─────────  ───────────────────────  ───────────────────  ──────────  ─────  ───────────────────────  ─  ───  ──
1  -1.5  true     NULL  it's  {"a":1}  [1,null]  {"k":"v"}  {"j":[1]}  2026-01-05T10:00:00.25Z  2026-01-05 10:00:00  2026-01-05  1 day  12345678901234567890123  1  nan  x
`,
	} {
		got, _ := written(t, e, everyKind, WriteOptions{Format: format})
		if got != want {
			t.Errorf("%s: got\n%s\nwant\n%s", format, got, want)
		}
	}
	got, _ := written(t, e, "SELECT eventName, failed FROM events ORDER BY eventTime", WriteOptions{Format: "jsonl"})
	var names []string
	for line := range strings.Lines(got) {
		var row struct {
			EventName string
			Failed    bool
		}
		if err := json.Unmarshal([]byte(line), &row); err != nil {
			t.Fatal(err)
		}
		if row.Failed {
			row.EventName += " failed"
		}
		names = append(names, row.EventName)
	}
	if want := []string{"GetObject", "AuthorizeSecurityGroupIngress", "CreateUser failed", "ConsoleLogin failed"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
	if got, n := written(t, e, "SELECT 1 AS a WHERE false", WriteOptions{Format: "json"}); got != "[]\n" || n.Rows != 0 {
		t.Errorf("no rows: got %q", got)
	}
	if _, err := e.Write(t.Context(), &bytes.Buffer{}, "SELECT 1", WriteOptions{Format: "xml"}); err == nil {
		t.Error("any format is taken")
	}
}

// TestHostileText writes what a log may hold: no format may let it act.
func TestHostileText(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records)})
	const sql = `SELECT userAgent AS "=agent", errorMessage, json_format(cast(errorMessage AS json)) AS j FROM events WHERE eventName = 'CreateUser'`
	for _, format := range Formats {
		for _, width := range []int{0, 40, 200} {
			got, _ := written(t, e, sql, WriteOptions{Format: format, Width: width})
			if strings.ContainsAny(got, "\x1b\x07\u202e") {
				t.Errorf("%s: a control character came through: %q", format, got)
			}
			if !strings.Contains(got, "not authorized") && width != 40 {
				t.Errorf("%s: the text is gone: %q", format, got)
			}
		}
	}
	got, _ := written(t, e, sql, WriteOptions{Format: "csv"})
	rows, err := csv.NewReader(strings.NewReader(got)).ReadAll()
	if err != nil || len(rows) != 2 {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, row := range rows {
		if !strings.HasPrefix(row[0], "'=") {
			t.Errorf("the cell %q is a formula", row[0])
		}
	}
}

func TestTableWidth(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records)})
	for _, width := range []int{20, 40, 80, 120, 300} {
		for _, sql := range []string{"SELECT * FROM events", "SELECT eventTime, eventName, userAgent, requestParameters FROM events", "SELECT eventName, count(*) FROM events GROUP BY 1", "SELECT 'äöü漢字' AS t, eventName FROM events"} {
			got, n := written(t, e, sql, WriteOptions{Format: "table", Width: width})
			if n.Rows == 0 {
				t.Errorf("%s: no rows", sql)
			}
			for line := range strings.Lines(got) {
				if w := safetext.Width(strings.TrimSuffix(line, "\n")); w > width && (width >= 80 || !strings.Contains(sql, "*")) {
					t.Errorf("%s: a line of %d columns for %d: %q", sql, w, width, line)
				}
			}
		}
	}
}

func TestLimit(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records)})
	for _, test := range []struct {
		limit int64
		rows  int64
		more  bool
	}{{0, 4, false}, {3, 3, true}, {4, 4, false}, {5, 4, false}} {
		_, n := written(t, e, "SELECT eventID FROM events", WriteOptions{Format: "csv", QueryOptions: QueryOptions{Limit: test.limit}})
		if n.Rows != test.rows || n.More != test.more {
			t.Errorf("limit %d: got %+v", test.limit, n)
		}
	}
}

func TestParquet(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Files: write(t, records)})
	dir := t.TempDir()
	out := filepath.Join(dir, "out.parquet")
	n, err := e.WriteParquet(t.Context(), "SELECT eventTime, userIdentity, requestParameters, resources, readOnly FROM events ORDER BY eventTime; -- all", out, QueryOptions{})
	if err != nil || n != 4 {
		t.Fatalf("wrote %d rows: %v", n, err)
	}
	if err := checkParquet(out); err != nil {
		t.Error(err)
	}
	if got := listing(t, dir); !slices.Equal(got, []string{"out.parquet"}) {
		t.Errorf("wrote %v", got)
	}
	// The engine that answers cannot write there.
	if _, err := e.db.ExecContext(t.Context(), "COPY (SELECT 1) TO '"+out+"' (USE_TMP_FILE false)"); err == nil {
		t.Error("the file was written again")
	}
	other := filepath.Join(dir, "other.parquet")
	for _, sql := range []string{"COPY (SELECT 1) TO '" + other + "'", "SELECT 1) TO '" + other + "'; --", "EXPLAIN SELECT 1"} {
		if _, err := e.WriteParquet(t.Context(), sql, out, QueryOptions{}); err == nil {
			t.Errorf("%s was done", sql)
		}
	}
	if _, err := os.Stat(other); err == nil {
		t.Error("another file was written")
	}
}

// TestBounds sees only what the options let through.
func TestBounds(t *testing.T) {
	t.Parallel()
	files := write(t, records)
	day := func(d int) Options {
		o := Options{Files: files}
		o.Since = mustTime("2026-01-06T00:00:00Z")
		o.Until = mustTime("2026-01-06T00:00:00Z").AddDate(0, 0, d)
		return o
	}
	for _, test := range []struct {
		opts Options
		want string
	}{
		{day(1), "1"}, {day(2), "2"},
		{Options{Files: files, Accounts: []string{"444455556666"}}, "1"},
		{Options{Files: files, Regions: []string{"us-east-1", "it's"}}, "3"},
		{Options{}, "0"},
		{Options{Regions: []string{"x"}}, "0"},
	} {
		if got := must(t, open(t, test.opts), "SELECT count(*) FROM events"); got[0] != test.want {
			t.Errorf("%+v: got %s, want %s", test.opts, got[0], test.want)
		}
	}
}

// TestDamaged leaves out what is no whole Parquet file, and names a file that turns out to be damaged.
func TestDamaged(t *testing.T) {
	t.Parallel()
	files := write(t, records)
	if len(files) != 3 {
		t.Fatalf("%d files", len(files))
	}
	whole, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[0], whole[:len(whole)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	e := open(t, Options{Files: append(files, "/nowhere/x.parquet")})
	if got := must(t, e, "SELECT count(*) FROM events"); got[0] != "2" {
		t.Errorf("got %q", got)
	}
	var left []string
	for _, d := range e.Damaged() {
		left = append(left, d.File)
	}
	if !slices.Equal(left, []string{files[0], "/nowhere/x.parquet"}) {
		t.Errorf("left out: %q", left)
	}
	// Damage in the middle, behind a good footer.
	bad := slices.Clone(whole)
	for i := 4; i < len(bad)/2; i++ {
		bad[i] ^= 0x55
	}
	if err := os.WriteFile(files[0], bad, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = ask(t, open(t, Options{Files: files}), "SELECT * FROM events")
	var fe *FileError
	if !errors.As(err, &fe) || fe.File != files[0] {
		t.Errorf("got %v", err)
	}
}

func TestTableNames(t *testing.T) {
	t.Parallel()
	files := write(t, records)
	for _, name := range []string{"trail", "mydb.trail", `"mydb"."trail"`, "events.trail"} {
		e := open(t, Options{Files: files, TableName: name})
		if got := must(t, e, "SELECT count(eventname) FROM "+name); got[0] != "4" {
			t.Errorf("%s: got %q", name, got)
		}
	}
	for _, name := range []string{"events", "main.events", "a b", `x"; DROP VIEW events; --`, "a.b.c", "spoor_segments", ""} {
		e, err := Open(t.Context(), Options{Files: files, TableName: name, TempDir: t.TempDir()})
		if err == nil {
			err = e.Close()
			if name != "" {
				t.Errorf("the name %q is taken", name)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
}

func TestEnded(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]bool{
		"SELECT 1": false, "SELECT 1;": true, "SELECT 1; -- x": true, "SELECT ';": false, "SELECT ';'": false, "SELECT (1;": true, "SELECT (1": false, "SELECT 1 -- ;": false, "/* ;": false, "SELECT 1);": true, "": false, "SELECT 1;\n": true,
	} {
		if got := Ended(sql); got != want {
			t.Errorf("%q: got %t", sql, got)
		}
	}
}

// FuzzTranslate looks for panics, and that queries that need no translation stay as they are.
func FuzzTranslate(f *testing.F) {
	for _, form := range forms() {
		f.Add(form.sql)
	}
	for _, list := range tricks {
		for _, q := range list {
			f.Add(q)
		}
	}
	f.Fuzz(func(t *testing.T, sql string) {
		out, err := Translate(sql)
		if err != nil {
			return
		}
		toks, err := lex(sql)
		if err != nil {
			t.Fatalf("translated to %q, but cannot be read: %v", out, err)
		}
		var joined strings.Builder
		for _, tok := range toks {
			joined.WriteString(tok.text)
		}
		if joined.String() != sql {
			t.Errorf("the tokens of %q are %q", sql, joined.String())
		}
		Ended(sql)
	})
}
