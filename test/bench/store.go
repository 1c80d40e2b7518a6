//go:build cgo

package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"spoor/internal/sample"
	"spoor/internal/store"
	engine "spoor/internal/store/duckdb"
)

// What is asked for of the store.
const (
	ingestRate  = 60_000 // events/s
	eventBytes  = 320
	compactPeak = 512 << 20
	needleMost  = 100 * time.Millisecond // over the large data set
	asked       = 7                      // warm runs of each question, fewer of those that take long
)

// store is what the store must be quick at: filling it, merging its files, and asking.
func (b *bench) store(ctx context.Context) error {
	fmt.Fprintf(b.page, "\n## The store\n")
	days := daysFor(b.stored)
	d, err := b.dataset(ctx, "stored", sample.Options{Events: b.stored, Days: days, Story: true}, fmt.Sprintf("--events %d --days %d", b.stored, days))
	if err != nil {
		return err
	}
	b.describe(d)
	dir, err := b.ingest(ctx, d, b.runs)
	if err != nil {
		return err
	}
	if err := b.oneDay(ctx); err != nil {
		return err
	}
	n, err := b.questions(ctx, d, dir)
	if err != nil {
		return err
	}
	if err := b.others(ctx, d, n); err != nil {
		return err
	}
	return b.needles(ctx)
}

// ingest fills a store, several times, and gives the folder of the last one.
func (b *bench) ingest(ctx context.Context, d *data, runs int) (string, error) {
	dir := filepath.Join(d.dir, "store")
	var m measured
	for range runs {
		if err := os.RemoveAll(dir); err != nil {
			return "", fmt.Errorf("remove an old store: %w", err)
		}
		p, err := process(ctx, []int{0}, b.spoor, "store", "ingest", d.logs(), "--into", dir, "--quiet", "--temp-dir", b.dir)
		if err != nil {
			return "", err
		}
		p.Peak = max(p.Peak, m.process.Peak)
		m.times, m.records, m.process = append(m.times, p.Elapsed), d.truth.Records, p
		b.say("ingestion: %.1f s, %.0f events/s", p.Elapsed.Seconds(), float64(d.truth.Records)/p.Elapsed.Seconds())
	}
	files, rows, bytes, err := planned(ctx, dir)
	if err != nil {
		return "", err
	}
	if rows != int64(d.truth.Events) {
		return "", fmt.Errorf("%d events in the store, %d were made", rows, d.truth.Events)
	}
	each := float64(bytes) / float64(rows)
	fmt.Fprintf(b.page, "\n| ingestion | events/s | time, s | CPU, s | peak memory, MB | bytes an event | files |\n|---|--:|--:|--:|--:|--:|--:|\n")
	fmt.Fprintf(b.page, "| %s events | %s | %.1f | %.1f | %.0f | %.0f | %d |\n", thousands(float64(rows)), thousands(m.rate()), m.median().Seconds(), m.process.CPU.Seconds(), float64(m.process.Peak)/1e6, each, len(files))
	fmt.Fprintf(b.page, "\n- ingestion: %s events/s, wanted ≥ %s: %s\n- an event takes %.0f bytes, wanted ≤ %d: %s\n", thousands(m.rate()), thousands(ingestRate), sayReached(m.rate() >= ingestRate), each, eventBytes, sayReached(each <= eventBytes))
	return dir, nil
}

// compact merges files. The row is one of a table.
func (b *bench) compact(ctx context.Context, dir, what string) (measurement, error) {
	before, rows, _, err := planned(ctx, dir)
	if err != nil {
		return measurement{}, err
	}
	m, err := process(ctx, []int{0}, b.spoor, "store", "compact", dir)
	if err != nil {
		return m, err
	}
	after, _, _, err := planned(ctx, dir)
	if err != nil {
		return m, err
	}
	fmt.Fprintf(b.page, "\n| compaction | events/s | time, s | CPU, s | peak memory, MB | files |\n|---|--:|--:|--:|--:|--:|\n| %s | %s | %.1f | %.1f | %.0f | %d into %d |\n", what,
		thousands(float64(rows)/m.Elapsed.Seconds()), m.Elapsed.Seconds(), m.CPU.Seconds(), float64(m.Peak)/1e6, len(before), len(after))
	return m, nil
}

// oneDay is the compaction of a large day.
func (b *bench) oneDay(ctx context.Context) error {
	d, err := b.dataset(ctx, "day", sample.Options{Events: b.day, Days: 1, Story: true}, fmt.Sprintf("--events %d --days 1", b.day))
	if err != nil {
		return err
	}
	dir := filepath.Join(d.dir, "store")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove an old store: %w", err)
	}
	if _, err := process(ctx, []int{0}, b.spoor, "store", "ingest", d.logs(), "--into", dir, "--quiet", "--temp-dir", b.dir); err != nil {
		return err
	}
	m, err := b.compact(ctx, dir, "a day of "+thousands(float64(b.day))+" events")
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n- compaction: peak %.0f MB, wanted ≤ %.0f MB: %s\n", float64(m.Peak)/1e6, float64(compactPeak)/1e6, sayReached(m.Peak <= compactPeak))
	return nil
}

// planned is what the table of a store names.
func planned(ctx context.Context, dir string) (files []string, rows, bytes int64, err error) {
	s, err := store.Open(ctx, dir, store.Options{ReadOnly: true})
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	p, err := s.Plan(ctx, store.Filter{})
	if err != nil {
		return nil, 0, 0, err
	}
	defer p.Release()
	if len(p.Damaged) > 0 {
		return nil, 0, 0, fmt.Errorf("damaged: %v", p.Damaged)
	}
	for _, f := range p.Files {
		files, rows, bytes = append(files, f.Path), rows+f.Rows, bytes+f.Bytes
	}
	return files, rows, bytes, nil
}

// timed is a question with its times, and the processor time of a warm run: on a machine that is shared it says more.
type timed struct {
	engine.Question
	engine.Timing
	cpu time.Duration
}

func (b *bench) ask(ctx context.Context, files []string, only func(engine.Question) bool, n *engine.Needles) (out []timed, err error) {
	e, err := engine.Open(ctx, engine.Options{Files: files, Threads: cores, TempDir: b.dir})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	if n.EventID == "" {
		if *n, err = e.FindNeedles(ctx); err != nil {
			return nil, err
		}
	}
	for _, q := range engine.Questions(*n) {
		if !only(q) {
			continue
		}
		runtime.GC()
		before := cpuTime()
		t, err := e.Time(ctx, q.SQL, asked)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.Name, err)
		}
		if t.Rows == 0 != q.Nothing {
			return nil, fmt.Errorf("%s: %d rows", q.Name, t.Rows)
		}
		out = append(out, timed{q, t, (cpuTime() - before) / time.Duration(t.Runs)})
		b.say("%s: %s", q.Name, t.Warm)
	}
	return out, nil
}

func cpuTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func everything(engine.Question) bool { return true }

// questions asks a store as it was filled, and after compaction, and DuckDB's own table with the same columns.
func (b *bench) questions(ctx context.Context, d *data, dir string) (n engine.Needles, err error) {
	files, rows, _, err := planned(ctx, dir)
	if err != nil {
		return n, err
	}
	fresh, err := b.ask(ctx, files, everything, &n)
	if err != nil {
		return n, err
	}
	if _, err := b.compact(ctx, dir, thousands(float64(rows))+" events"); err != nil {
		return n, err
	}
	small := len(files)
	if files, _, _, err = planned(ctx, dir); err != nil {
		return n, err
	}
	merged, err := b.ask(ctx, files, everything, &n)
	if err != nil {
		return n, err
	}
	native, err := b.native(ctx, d, files, n)
	if err != nil {
		b.say("DuckDB's own table: %v", err)
		fmt.Fprintf(b.page, "\nDuckDB's own table failed: %.400s\n", strings.Join(strings.Fields(err.Error()), " "))
	}
	fmt.Fprintf(b.page, "\nSQL over %s events, in %d files and compacted to %d, in milliseconds; the CPU time is that of the compacted one.\n", thousands(float64(rows)), small, len(files))
	fmt.Fprintf(b.page, "\n| question | rows | %d files | compacted, first | compacted, warm | CPU | DuckDB's own table, warm |\n|---|--:|--:|--:|--:|--:|--:|\n", small)
	for i, q := range merged {
		own := ""
		if i < len(native) {
			own = millis(native[i].Warm)
		}
		fmt.Fprintf(b.page, "| %s | %d | %s | %s | %s | %s | %s |\n", q.Name, q.Rows, millis(fresh[i].Warm), millis(q.First), millis(q.Warm), millis(q.cpu), own)
	}
	fmt.Fprintln(b.page)
	for _, q := range merged {
		if q.Most > 0 {
			fmt.Fprintf(b.page, "- %s: %s ms, wanted ≤ %s: %s\n", q.Name, millis(q.Warm), millis(q.Most), sayReached(q.Warm <= q.Most))
		}
	}
	// What a person waits for, start and end of the program included.
	var whole []time.Duration
	var peak int64
	for range max(3, b.runs) {
		m, err := process(ctx, []int{0}, b.spoor, "query", "--store", dir, "SELECT * FROM events WHERE eventID = '"+n.EventID+"'", "--temp-dir", b.dir)
		if err != nil {
			return n, err
		}
		whole, peak = append(whole, m.Elapsed), max(peak, m.Peak)
	}
	slices.Sort(whole)
	fmt.Fprintf(b.page, "- `spoor query` for one event id, from start to exit: %s ms, %.0f MB\n", millis(whole[len(whole)/2]), float64(peak)/1e6)
	return n, nil
}

// native asks a table of DuckDB's own with the same columns and rows.
func (b *bench) native(ctx context.Context, d *data, files []string, n engine.Needles) (out []timed, err error) {
	work := filepath.Join(d.dir, "native")
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o755)); err != nil {
		return nil, fmt.Errorf("make room for DuckDB's own table: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	copied := filepath.Join(work, "events.parquet")
	e, err := engine.Open(ctx, engine.Options{Files: files, Threads: cores, TempDir: b.dir, Memory: 4 << 30})
	if err != nil {
		return nil, err
	}
	_, err = e.WriteParquet(ctx, "SELECT * FROM events", copied, engine.QueryOptions{})
	if err = errors.Join(err, e.Close()); err != nil {
		return nil, err
	}
	db, err := sql.Open("duckdb", filepath.Join(work, "events.duckdb"))
	if err != nil {
		return nil, fmt.Errorf("open DuckDB: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(ctx, fmt.Sprintf("SET threads = %d; SET memory_limit = '4GB'; SET TimeZone = 'UTC'; CREATE TABLE events AS SELECT * FROM read_parquet('%s'); CHECKPOINT",
		cores, strings.ReplaceAll(copied, "'", "''"))); err != nil {
		return nil, fmt.Errorf("make DuckDB's own table: %w", err)
	}
	for _, q := range engine.Questions(n) {
		t := timed{Question: q}
		var warm []time.Duration
		since := time.Now()
		for run := range asked + 1 {
			if run > 1 && time.Since(since) > 10*time.Second {
				break
			}
			began := time.Now()
			if t.Rows, err = readAll(ctx, db, q.SQL); err != nil {
				return nil, fmt.Errorf("%s: %w", q.Name, err)
			}
			if run > 0 {
				warm = append(warm, time.Since(began))
			}
		}
		slices.Sort(warm)
		t.Warm = warm[len(warm)/2]
		b.say("DuckDB's own table, %s: %s", q.Name, t.Warm)
		out = append(out, t)
	}
	return out, nil
}

// readAll asks, and counts the rows.
func readAll(ctx context.Context, db *sql.DB, query string) (n int64, err error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Err(), rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	cells := make([]any, len(columns))
	for i := range cells {
		cells[i] = new(any)
	}
	for rows.Next() {
		if err := rows.Scan(cells...); err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// others asks the log files themselves: DuckDB with the shape declared, and zcat into jq.
func (b *bench) others(ctx context.Context, d *data, n engine.Needles) error {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
	from := fmt.Sprintf(`(SELECT unnest(Records) AS r FROM read_json(%s, columns = {Records: 'STRUCT(eventID VARCHAR, eventTime TIMESTAMP, eventName VARCHAR, errorCode VARCHAR, userIdentity STRUCT(arn VARCHAR, accessKeyId VARCHAR))[]'}, maximum_object_size = 67108864))`,
		quote(filepath.Join(d.logs(), "**", "*.json.gz")))
	fmt.Fprintf(b.page, "\nThe same questions to the log files, in seconds:\n\n| question | DuckDB | `zcat` into `jq` |\n|---|--:|--:|\n")
	for _, q := range []struct{ name, sql, jq string }{
		{"one event id", `SELECT r FROM ` + from + ` WHERE r.eventID = ` + quote(n.EventID), `.Records[] | select(.eventID == $id)`},
		{"one actor, newest 50", `SELECT r FROM ` + from + ` WHERE starts_with(r.userIdentity.arn, ` + quote(n.Actor) + `) ORDER BY r.eventTime DESC LIMIT 50`, ""},
		{"one access key", `SELECT r FROM ` + from + ` WHERE r.userIdentity.accessKeyId = ` + quote(n.AccessKey), `.Records[] | select(.userIdentity.accessKeyId == $key)`},
		{"group by eventName over all", `SELECT r.eventName, count(*) FROM ` + from + ` GROUP BY 1`, `.Records[].eventName`},
		{"hourly histogram with a filter", `SELECT date_trunc('hour', r.eventTime), count(*) FROM ` + from + ` WHERE r.errorCode IS NOT NULL GROUP BY 1`, `.Records[] | select(.errorCode != null) | .eventTime[:13]`},
		{"text in the record", `SELECT r FROM (SELECT unnest(Records) AS r FROM read_json(` + quote(filepath.Join(d.logs(), "**", "*.json.gz")) + `, columns = {Records: 'JSON[]'}, maximum_object_size = 67108864)) WHERE contains(r::VARCHAR, ` + quote(n.AccessKey) + `)`,
			`.Records[] | select(tojson | contains($key))`},
	} {
		row := []string{"not measured", "not measured"}
		db, err := openDuck(ctx)
		if err != nil {
			return err
		}
		began := time.Now()
		_, err = readAll(ctx, db, q.sql)
		if took := time.Since(began); err != nil {
			b.say("DuckDB over files, %s: %v", q.name, err)
		} else {
			row[0] = fmt.Sprintf("%.1f", took.Seconds())
		}
		if err := errors.Join(db.Close(), ctx.Err()); err != nil {
			return err
		}
		if q.jq != "" {
			const script = `set -e; find "$1" -name '*.json.gz' -print0 | xargs -0 zcat | jq -c --arg id "$3" --arg key "$4" "$2" > /dev/null`
			m, err := process(ctx, []int{0}, "sh", "-c", script, "sh", d.logs(), q.jq, n.EventID, n.AccessKey)
			if err != nil {
				b.say("jq, %s: %v", q.name, err)
			} else {
				row[1] = fmt.Sprintf("%.1f", m.Elapsed.Seconds())
			}
		}
		fmt.Fprintf(b.page, "| %s | %s | %s |\n", q.name, row[0], row[1])
		b.say("over files, %s: DuckDB %s s, jq %s s", q.name, row[0], row[1])
	}
	return nil
}

// needles are looked for in the large data set, warm, and with files and engine that nothing has touched.
func (b *bench) needles(ctx context.Context) error {
	days := daysFor(b.many)
	d, err := b.dataset(ctx, "many", sample.Options{Events: b.many, Days: days, Story: true}, fmt.Sprintf("--events %d --days %d", b.many, days))
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n### Needles\n")
	b.describe(d)
	dir, err := b.ingest(ctx, d, 1)
	if err != nil {
		return err
	}
	if _, err := b.compact(ctx, dir, thousands(float64(b.many))+" events"); err != nil {
		return err
	}
	files, rows, _, err := planned(ctx, dir)
	if err != nil {
		return err
	}
	needle := func(q engine.Question) bool { return q.Needle }
	var n engine.Needles
	warm, err := b.ask(ctx, files, needle, &n)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n%s events in %d files, in milliseconds. Cold is the first question to a new engine, opening it included, with files that are not in the page cache.\n", thousands(float64(rows)), len(files))
	fmt.Fprintf(b.page, "\n| question | rows | cold | warm | CPU |\n|---|--:|--:|--:|--:|\n")
	for _, q := range warm {
		if err := evict(files); err != nil {
			return err
		}
		began := time.Now()
		e, err := engine.Open(ctx, engine.Options{Files: files, Threads: cores, TempDir: b.dir})
		if err != nil {
			return err
		}
		_, err = e.Time(ctx, q.SQL, 0)
		cold := time.Since(began)
		if err := errors.Join(err, e.Close()); err != nil {
			return err
		}
		fmt.Fprintf(b.page, "| %s | %d | %s | %s | %s |\n", q.Name, q.Rows, millis(cold), millis(q.Warm), millis(q.cpu))
	}
	fmt.Fprintln(b.page)
	for _, q := range warm {
		if q.Most > 0 {
			fmt.Fprintf(b.page, "- %s in %s events: %s ms, wanted ≤ %s: %s\n", q.Name, thousands(float64(rows)), millis(q.Warm), millis(needleMost), sayReached(q.Warm <= needleMost))
		}
	}
	return nil
}

// evict takes files out of the page cache.
func evict(files []string) error {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("take a file out of the page cache: %w", err)
		}
		err = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("take %s out of the page cache: %w", name, err)
		}
	}
	return nil
}
