package duckdb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// tricks are queries that try to get out of the sandbox. PLANNED, SECRET and DIR stand for a file that is asked, another
// file, and a folder that can be written to.
var tricks = map[string][]string{
	"read a file": {
		`SELECT * FROM 'SECRET'`, `SELECT * FROM "SECRET"`, `FROM 'SECRET'`, `SELECT * FROM 'SECRET' AS t(a)`,
		`SELECT * FROM read_text('SECRET')`, `SELECT * FROM read_blob('SECRET')`, `SELECT * FROM read_csv('SECRET')`, `SELECT * FROM read_csv_auto('SECRET')`,
		`SELECT * FROM read_json('SECRET')`, `SELECT * FROM read_ndjson_objects('SECRET')`, `SELECT * FROM read_parquet('PLANNED')`, `SELECT * FROM parquet_scan('PLANNED')`,
		`SELECT * FROM 'PLANNED'`, `SELECT * FROM parquet_metadata('PLANNED')`, `SELECT * FROM parquet_kv_metadata('PLANNED')`, `SELECT * FROM parquet_schema('PLANNED')`,
		`SELECT * FROM glob('DIR/*')`, `SELECT * FROM sniff_csv('SECRET')`, `SELECT * FROM read_duckdb('SECRET')`, `SELECT * FROM events, read_text('SECRET')`,
		`WITH x AS (SELECT * FROM read_text('SECRET')) SELECT 1`, `WITH "SECRET" AS (SELECT 1) SELECT * FROM "SECRET", (SELECT * FROM "SECRET")`,
		`SELECT (SELECT content FROM read_text('SECRET'))`, `SELECT * FROM events WHERE EXISTS (SELECT 1 FROM read_text('SECRET'))`,
		`SELECT * FROM query('SELECT * FROM read_text(''SECRET'')')`, `SELECT * FROM query_table('SECRET')`, `SELECT * FROM query_table(['SECRET'])`,
		`SELECT json_serialize_plan('SELECT * FROM read_text(''SECRET'')')`, `SELECT * FROM json_execute_serialized_sql(json_serialize_sql('SELECT * FROM read_text(''SECRET'')'))`,
		`DESCRIBE SELECT * FROM read_text('SECRET')`, `SUMMARIZE SELECT * FROM read_text('SECRET')`, `SUMMARIZE 'SECRET'`, `DESCRIBE 'SECRET'`, `EXPLAIN ANALYZE SELECT * FROM read_text('SECRET')`,
		`SELECT * FROM main.spoor_segments`, `SELECT * FROM spoor_segments`, `SELECT * FROM 'http://127.0.0.1:1/x.csv'`, `SELECT * FROM read_text('s3://bucket/key')`,
		`VALUES ((SELECT content FROM read_text('SECRET')))`, `SELECT * FROM (SHOW ALL TABLES)`, `TABLE "SECRET"`, `PIVOT 'SECRET' ON a USING count(*)`,
		`SELECT * FROM events ORDER BY (SELECT content FROM read_text('SECRET'))`, `SELECT count(*) OVER (PARTITION BY (SELECT content FROM read_text('SECRET'))) FROM events`,
		`SELECT transform(ARRAY[1], x -> (SELECT content FROM read_text('SECRET')))`, `SELECT list_transform([1], lambda x: (SELECT 1 FROM 'SECRET'))`,
		`SELECT * FROM events LIMIT (SELECT count(*) FROM read_text('SECRET'))`, `SELECT * FROM UNNEST((SELECT list(content) FROM read_text('SECRET')))`,
		`SELECT /* FROM */ * FROM/**/read_text/**/('SECRET')`, `SELECT * FROM "read_text"('SECRET')`, `SELECT * FROM system.main.read_text('SECRET')`, `SELECT * FROM READ_TEXT('SECRET')`,
	},
	"write": {
		`COPY (SELECT 1) TO 'DIR/out.csv'`, `COPY events TO 'DIR/out.parquet'`, `EXPORT DATABASE 'DIR/out'`, `CREATE TABLE t AS SELECT 1`, `CREATE VIEW v AS SELECT 1`, `CREATE MACRO m() AS 1`,
		`CREATE TEMP TABLE t AS SELECT 1`, `INSERT INTO events VALUES (1)`, `UPDATE events SET eventName = 'x'`, `DELETE FROM events`, `DROP VIEW events`, `ALTER VIEW events RENAME TO e`, `TRUNCATE events`,
		`CREATE OR REPLACE VIEW main.events AS SELECT 1`, `MERGE INTO events USING events AS e ON true WHEN MATCHED THEN DELETE`, `CREATE SEQUENCE s`, `CREATE SCHEMA s`, `CREATE TYPE t AS ENUM ('a')`, `COMMENT ON VIEW events IS 'x'`,
		`SELECT * FROM enable_logging('QueryLog', storage='file', storage_config={'path': 'DIR/log'})`, `CALL enable_logging('QueryLog', storage='file', storage_config={'path': 'DIR/log'})`,
		`SELECT write_log('x')`, `PRAGMA enable_profiling='json'`, `PRAGMA profiling_output='DIR/profile'`, `EXPLAIN COPY (SELECT 1) TO 'DIR/out.csv'`, `EXPLAIN ANALYZE COPY (SELECT 1) TO 'DIR/out.csv'`,
		`CHECKPOINT`, `FORCE CHECKPOINT`, `VACUUM`, `ANALYZE`, `SELECT * FROM checkpoint()`, `SELECT * FROM force_checkpoint()`, `SELECT nextval('s')`, `PREPARE p AS SELECT 1`, `EXECUTE p`, `DEALLOCATE p`,
		`BEGIN`, `COMMIT`, `ROLLBACK`, `WITH t AS (DELETE FROM events RETURNING *) SELECT * FROM t`,
	},
	"attach or install": {
		`ATTACH 'DIR/a.db'`, `ATTACH ':memory:' AS m`, `DETACH memory`, `USE memory`, `INSTALL httpfs`, `LOAD httpfs`, `LOAD 'DIR/x.duckdb_extension'`, `FORCE INSTALL httpfs`, `UPDATE EXTENSIONS`, `IMPORT DATABASE 'DIR'`,
		`CREATE SECRET s (TYPE s3)`, `DROP SECRET s`,
	},
	"change settings": {
		`SET memory_limit='100GB'`, `SET GLOBAL threads=64`, `SET SESSION TimeZone='Asia/Tokyo'`, `RESET memory_limit`, `PRAGMA memory_limit='100GB'`, `SET enable_external_access=true`, `SET lock_configuration=false`,
		`SET VARIABLE x = 1`, `SELECT set_config('a', 'b', false)`, `PRAGMA disable_optimizer`, `SELECT setseed(0.5)`, `SET allowed_directories=['/']`, `PRAGMA enable_external_access`,
	},
	"learn about the engine and its surroundings": {
		`SELECT getenv('HOME')`, `SELECT current_setting('temp_directory')`, `SELECT getvariable('x')`, `SELECT current_query()`, `SELECT current_database()`, `SELECT pg_get_viewdef(1)`,
		`SELECT * FROM duckdb_settings()`, `SELECT * FROM duckdb_secrets()`, `SELECT * FROM duckdb_views()`, `SELECT * FROM duckdb_functions()`, `SELECT * FROM duckdb_extensions()`, `SELECT * FROM duckdb_temporary_files()`,
		`SELECT * FROM duckdb_memory()`, `SELECT * FROM duckdb_logs()`, `SELECT * FROM pragma_version()`, `SELECT * FROM pragma_database_list()`, `SELECT * FROM pragma_platform()`, `SELECT * FROM pragma_user_agent()`,
		`SELECT * FROM information_schema.tables`, `SELECT * FROM information_schema.views`, `SELECT * FROM pg_catalog.pg_views`, `SELECT * FROM sqlite_master`, `SELECT * FROM duckdb_views`, `SELECT * FROM pg_class`, `SELECT * FROM system.main.duckdb_views`, `SELECT * FROM memory.main.events`,
		`SHOW ALL TABLES`, `SHOW DATABASES`, `SHOW VARIABLES`, `SHOW threads`, `PRAGMA database_list`, `PRAGMA version`, `PRAGMA show_tables`, `DESCRIBE`, `SHOW`, `SELECT version() FROM duckdb_databases()`, `SELECT stats(eventName) FROM events`,
	},
	"ask more than one thing": {
		`SELECT 1; SELECT 2`, `SELECT 1; COPY (SELECT 1) TO 'DIR/out.csv'`, `SELECT 1) AS q; COPY (SELECT 1) TO 'DIR/out.csv'; --`, `;;SELECT 1; DROP VIEW events`, `SELECT 1 /* ; */ ; ; DROP VIEW events`, `SELECT 1 --` + "\n" + `; DROP VIEW events`,
		`SELECT '` + `\'; DROP VIEW events; --'`, `SELECT E'\'; DROP VIEW events; --'`, `SELECT $$ ' $$; DROP VIEW events`, `EXPLAIN SELECT 1; DROP VIEW events`, ``, ` `, `;`, `-- nothing`, `/* open`, `'open`, `(`, `)`, `SELECT (1]`,
	},
	"leave its size": {
		`SELECT length(repeat('x', 1000000000))`, `SELECT length(lpad('x', 1000000000, 'y'))`, `SELECT length(rpad('x', 1000000000, 'y'))`, `SELECT length(printf('%1000000000d', 1))`, `SELECT length(format('{:1000000000}', 1))`,
		`SELECT list_sum(range(1000000000))`, `SELECT list_sum(generate_series(1, 1000000000))`, `SELECT len(sequence(1, 1000000000))`, `SELECT list_sum(range(0, 1000000000))`, `SELECT len(range(0, 1000000000, 1))`, `SELECT list_sum(generate_series(1000000000, 1, -1))`,
		`SELECT list_resize([1], 1000000000, 1)`, `SELECT array_resize([1], 1000000000, 1)`, `SELECT system.main.repeat('x', 1000000000)`, `SELECT system.repeat('x', 1000000000)`, `SELECT main.repeat('x', 1000000000)`, `SELECT 'x'.repeat(1000000000)`, `SELECT bar(1, 0, 1, 1000000000)`,
		`SELECT bitstring('1', 1000000000)`,
	},
}

func TestSandbox(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.csv")
	if err := os.WriteFile(secret, []byte("a\nhidden\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := write(t, records)
	before := listing(t, dir)
	data := listing(t, filepath.Dir(files[0]))
	for kind, engine := range map[string]struct {
		opts  Options
		scope *Scope
	}{
		"files":   {Options{Files: files}, nil},
		"folders": {Options{Dirs: []string{filepath.Dir(filepath.Dir(files[0]))}}, &Scope{Files: files}},
	} {
		e := open(t, engine.opts)
		for what, queries := range tricks {
			t.Run(kind+" "+what, func(t *testing.T) {
				for _, q := range queries {
					q = strings.NewReplacer("SECRET", secret, "PLANNED", files[0], "DIR", dir).Replace(q)
					got, err := askScope(t, e, engine.scope, q)
					if err == nil {
						// A text that only looks like two statements is one.
						if strings.HasPrefix(q, `SELECT '\'; DROP`) {
							continue
						}
						t.Errorf("%s\nwas answered: %.200q", q, got)
						continue
					}
					if strings.Contains(err.Error(), "hidden") {
						t.Errorf("%s\ntold the content of a file: %v", q, err)
					}
				}
			})
		}
		// The engine is as it was.
		got, err := askScope(t, e, engine.scope, "SELECT count(*), CAST(max(eventTime) AS varchar) FROM events")
		if err != nil || got[0] != "4 | 2026-01-07 12:00:00.000 UTC" {
			t.Errorf("%s: after all that, got %q, %v", kind, got, err)
		}
	}
	if after := listing(t, dir); !slices.Equal(before, after) {
		t.Errorf("files were written: %v, before %v", after, before)
	}
	if after := listing(t, filepath.Dir(files[0])); !slices.Equal(data, after) {
		t.Errorf("files were written among the data: %v, before %v", after, data)
	}
}

func listing(t *testing.T, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestLocked asks the engine itself, past the guard: the second wall must hold alone.
func TestLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret.csv")
	if err := os.WriteFile(secret, []byte("a\nhidden\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	files := write(t, records)
	for kind, opts := range map[string]Options{"files": {Files: files}, "folders": {Dirs: []string{filepath.Dir(filepath.Dir(files[0]))}}} {
		e := open(t, opts)
		for _, q := range []string{
			`SELECT * FROM 'SECRET'`, `SELECT * FROM read_text('SECRET')`, `SELECT * FROM read_csv('SECRET')`, `SELECT * FROM glob('DIR/*')`, `COPY (SELECT 1) TO 'DIR/out.csv'`, `ATTACH 'DIR/a.db'`,
			`EXPORT DATABASE 'DIR/out'`, `INSTALL httpfs`, `LOAD httpfs`, `SET memory_limit='100GB'`, `SET enable_external_access=true`, `SET allowed_directories=['/']`, `SET allowed_paths=['SECRET']`, `SET lock_configuration=false`, `RESET threads`,
			`SELECT * FROM 'http://127.0.0.1:1/x.csv'`, `SELECT * FROM read_text('DATA/../../../../../../../../../../../..SECRET')`, `COPY (SELECT 1) TO 'DATA/../../out.csv'`, `COPY (SELECT 1) TO 'DATA-beside.csv'`,
		} {
			q = strings.NewReplacer("SECRET", secret, "DIR", dir, "DATA", filepath.Dir(filepath.Dir(files[0]))).Replace(q)
			if _, err := e.db.ExecContext(t.Context(), q); err == nil {
				t.Errorf("%s: %s was done", kind, q)
			}
		}
	}
	if got := listing(t, dir); !slices.Equal(got, []string{"secret.csv"}) {
		t.Errorf("files were written: %v", got)
	}
}

// TestFunctions compares the functions that the engine has with those that are known: a new version of it must not bring
// new ways out unseen.
func TestFunctions(t *testing.T) {
	t.Parallel()
	e := open(t, Options{})
	names := func(sql string) (out []string) {
		rows, err := e.db.QueryContext(t.Context(), sql)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				t.Fatal(err)
			}
			out = append(out, name)
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		return out
	}
	tables := names(`SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type IN ('table', 'table_macro', 'pragma') AND function_name IS NOT NULL`)
	if len(tables) < 50 {
		t.Fatalf("the engine tells of %d table functions only", len(tables))
	}
	for _, name := range tables {
		if tableFunctions[name] {
			continue
		}
		for _, args := range []string{"", "'x'", "1", "'x', 'y'"} {
			_, err := ask(t, e, fmt.Sprintf("SELECT * FROM %s(%s)", quoteName(name), args))
			var refused *RefusedError
			if !errors.As(err, &refused) {
				t.Errorf("the table function %s(%s) is not refused: %v", name, args, err)
			}
		}
	}
	// Functions whose result is not made of their arguments alone are known by name.
	harmless := []string{"random", "uuid", "uuidv4", "uuidv7", "gen_random_uuid", "now", "today", "transaction_timestamp", "current_date", "get_current_time", "get_current_timestamp",
		"current_localtime", "current_localtimestamp", "error", "uuidv5"}
	for _, name := range names(`SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'scalar' AND (stability <> 'CONSISTENT' OR has_side_effects)`) {
		if _, no := refusedFunctions[name]; !no && !slices.Contains(harmless, name) && !strings.HasPrefix(name, "pg_") && !strings.HasPrefix(name, "has_") {
			t.Errorf("the function %s depends on more than its arguments; is it harmless?", name)
		}
	}
	for name := range refusedFunctions {
		_, err := ask(t, e, fmt.Sprintf("SELECT %s('x')", name))
		var refused *RefusedError
		if !errors.As(err, &refused) && name != "current_role" && name != "current_user" && name != "session_user" && name != "user" && name != "current_catalog" && name != "current_schema" {
			t.Errorf("%s is not refused: %v", name, err)
		}
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Timeout: 300 * time.Millisecond, Threads: 1})
	start := time.Now()
	_, err := ask(t, e, `SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range % 7 = b.range % 5`)
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
	_, err = ask(t, e, `WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n`)
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("endless recursion: got %v", err)
	}
	if got := must(t, e, "SELECT 1"); got[0] != "1" {
		t.Errorf("afterwards got %q", got)
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	e := open(t, Options{Threads: 1})
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(100*time.Millisecond, cancel)
	_, err := e.Query(ctx, `SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range % 7 = b.range % 5`, QueryOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestMemory(t *testing.T) {
	t.Parallel()
	unraced(t)
	temp := t.TempDir()
	e := open(t, Options{Memory: 64 << 20, TempDir: temp, TempBytes: 32 << 20, Threads: 1})
	for _, q := range []string{
		`SELECT length(string_agg(repeat('x', 60000), '')) FROM range(5000)`,
		`SELECT len(array_agg(md5(range::varchar))) FROM range(5000000)`,
		`SELECT count(*) FROM (SELECT DISTINCT md5(range::varchar) FROM range(10000000))`,
		`SELECT max(b) FROM (SELECT md5(range::varchar) b, row_number() OVER (ORDER BY md5((range * 7)::varchar)) n FROM range(5000000))`,
	} {
		if _, err := ask(t, e, q); !errors.Is(err, ErrMemory) {
			t.Errorf("%s\ngot %v", q, err)
		}
	}
	if got := must(t, e, "SELECT 1"); got[0] != "1" {
		t.Errorf("afterwards got %q", got)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if got := listing(t, temp); len(got) != 0 {
		t.Errorf("left over: %v", got)
	}
}

// unraced skips tests of what is watched when the race detector is there; make test runs them without it, too.
func unraced(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("memory is not watched under the race detector, which takes a multiple of what Go takes")
	}
}

// TestGrowth tries to make the process grow in ways that the engine does not count.
func TestGrowth(t *testing.T) {
	unraced(t)
	base, ok := taken()
	if !ok {
		t.Skip("the memory of the process cannot be read here")
	}
	const limit = 64 << 20
	e := open(t, Options{Memory: limit, TempBytes: 32 << 20, Threads: 1, Timeout: 20 * time.Second})
	peak := base
	end := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			default:
				now, _ := taken()
				peak = max(peak, now)
				time.Sleep(5 * time.Millisecond)
			}
		}
	}()
	for _, q := range []string{
		`SELECT sum(length(repeat('x', 60000) || range)) FROM range(20000)`,
		`SELECT sum(list_sum(list_transform(range(10000), x -> x + a.range))) FROM range(20000) a`,
		`SELECT sum(len(list_transform(range(10000), x -> repeat('y', 1000)))) FROM range(2000) a`,
		`WITH RECURSIVE d(s) AS (SELECT 'xxxxxxxxxxxxxxxx' UNION ALL SELECT s || s FROM d) SELECT max(length(s)) FROM d`,
	} {
		start := time.Now()
		_, err := ask(t, e, q) // an answer or an end; what counts is the memory
		now, _ := taken()
		t.Logf("%s: %s, then %d MiB: %v", q, time.Since(start), now>>20, err)
	}
	close(end)
	<-done
	if got := must(t, e, "SELECT max(x) FROM (SELECT unnest(sequence(1, 9999)) x)"); got[0] != "9999" {
		t.Errorf("afterwards got %q", got)
	}
	if grown := peak - base; grown > limit+memorySlack+128<<20 {
		t.Errorf("the process grew by %d MiB", grown>>20)
	} else {
		t.Logf("the process grew by %d MiB", grown>>20)
	}
}

// TestOthers grows other parts of the process by more than the engine may take: queries must not notice.
func TestOthers(t *testing.T) {
	unraced(t)
	if _, ok := taken(); !ok {
		t.Skip("the memory of the process is not watched here")
	}
	const limit = 64 << 20
	e := open(t, Options{Memory: limit, Threads: 1})
	const sql = `SELECT count(DISTINCT md5(range::varchar)) FROM range(100000)`
	must(t, e, sql)
	grown := make([]byte, limit+memorySlack+128<<20)
	for i := 0; i < len(grown); i += 4096 {
		grown[i] = 1
	}
	if got := must(t, e, sql); got[0] != "100000" {
		t.Errorf("got %q", got)
	}
	// What the engine may take is as it was.
	if _, err := ask(t, e, `SELECT len(array_agg(md5(range::varchar))) FROM range(5000000)`); !errors.Is(err, ErrMemory) {
		t.Errorf("beyond the limit: %v", err)
	}
	runtime.KeepAlive(grown)
}
