package duckdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// Param is the value of a parameter, which stands in a query as $name. Values are text and never become SQL.
type Param struct{ Name, Value string }

// Kind says how the values of a column are written.
type Kind uint8

// The kinds of columns.
const (
	Text Kind = iota
	Number
	Bool
	JSON // JSON, and structs, lists and maps as JSON
	Time // with zone as 2026-01-10T09:12:41Z, without as 2026-01-10 09:12:41
)

// Column is a column of a result.
type Column struct {
	Name string
	Type string // as the engine calls it
	Kind Kind
}

// Value is a value of a result, as text.
type Value struct {
	Text string
	Null bool
}

// Rows is the result of a query. It is for one goroutine; Close must be called.
type Rows struct {
	Columns []Column

	rows   *sql.Rows
	more   func() (*sql.Rows, error) // the next page; nil when rows is all
	paged  int64                     // rows of this page
	done   func() error
	fail   func(error) error
	scan   []any
	cells  []sql.NullString
	values []Value

	events, bytes int64
	lake          []*sqlType // of the columns, in the Lake dialect
}

// Scanned is how many events the files that were looked at have, and how many bytes. It is known at once, and 0 where the
// scope of the query did not tell.
func (r *Rows) Scanned() (events, bytes int64) { return r.events, r.bytes }

// Next reads a row. The values are valid until the next call; ok is false at the end.
func (r *Rows) Next() (values []Value, ok bool, err error) {
	for !r.rows.Next() {
		if err := r.rows.Err(); err != nil {
			return nil, false, r.fail(err)
		}
		if r.more == nil || r.paged < pageRows {
			return nil, false, nil
		}
		if err := r.rows.Close(); err != nil {
			return nil, false, r.fail(err)
		}
		next, err := r.more()
		if err != nil {
			return nil, false, r.fail(err)
		}
		r.rows, r.paged = next, 0
	}
	r.paged++
	if err := r.rows.Scan(r.scan...); err != nil {
		return nil, false, fmt.Errorf("read the result of the query: %w", err)
	}
	for i, c := range r.cells {
		r.values[i] = Value{Text: c.String, Null: !c.Valid}
		if r.lake != nil {
			r.values[i].Text = r.lake[i].text(c.String)
			continue
		}
		if c.Valid && r.Columns[i].Kind == Time {
			r.values[i].Text = isoText(c.String, r.Columns[i].Type)
		}
	}
	return r.values, true, nil
}

// Close ends the query.
func (r *Rows) Close() error { return errors.Join(r.rows.Close(), r.done()) }

// isoText writes a time as it is usual in CloudTrail.
func isoText(s, typ string) string {
	if typ != "TIMESTAMP WITH TIME ZONE" {
		return s
	}
	if day, rest, ok := strings.Cut(s, " "); ok && strings.HasSuffix(rest, "+00") {
		return day + "T" + strings.TrimSuffix(rest, "+00") + "Z"
	}
	return s
}

// QueryOptions of one query.
type QueryOptions struct {
	Params []Param
	// Limit is the most rows to give, 0 for all.
	Limit int64
	// Scope is what the query sees, in place of what the options of the engine say. Its files lie in [Options.Dirs].
	Scope *Scope
	// DataStores, when not nil, are the only tables, and the query is in the Lake dialect.
	DataStores []DataStore
	// Own is for queries that the program itself wrote, with all texts in them quoted: they are DuckDB's SQL as it is, and may
	// read [Segments] too. The rest of the sandbox is around them as around others.
	Own bool
	// Accepted, when not nil, is called when it is known that the query may be asked, before it is.
	Accepted func()
}

func (e *Engine) scopeOf(opts *QueryOptions) Scope {
	if opts.Scope != nil {
		return *opts.Scope
	}
	return e.opts.scope()
}

// Query asks sql. A query that may not be asked gives a [*RefusedError].
func (e *Engine) Query(ctx context.Context, sql string, opts QueryOptions) (_ *Rows, err error) {
	ctx, done, fail := e.limits(ctx)
	defer func() {
		if err != nil {
			err = fail(err)
			err = errors.Join(err, done())
		}
	}()
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("ask the query engine: %w", err)
	}
	release := done
	done = func() error { return errors.Join(conn.Close(), release()) }
	p, err := e.plan(ctx, conn, sql, opts)
	if err != nil {
		return nil, err
	}
	if opts.Accepted != nil {
		opts.Accepted()
	}
	scope := e.scopeOf(&opts)
	files := scope.Files
	stop := e.watchMemory(ctx)
	defer stop()
	r := &Rows{Columns: p.columns, done: done, fail: fail}
	for _, f := range p.files {
		r.events += scope.Facts[f].Rows
		r.bytes += scope.Facts[f].Bytes
	}
	ask := func(sql string) (*sqlRows, error) {
		rows, err := conn.QueryContext(ctx, sql)
		if err != nil {
			return nil, e.blame(ctx, conn, files, err)
		}
		return rows, nil
	}
	if p.explain != "" {
		r.rows, err = ask(p.text())
	} else {
		// The driver takes a result into memory whole, uncounted. A table of the engine counts, and goes to disk where it must.
		if _, err = conn.ExecContext(ctx, "CREATE OR REPLACE TEMP TABLE "+resultTable+" AS "+p.numbered(opts.Limit)); err != nil {
			if p.lake != nil {
				err = lakeError(err, p.lake.toks, p.prefix+1)
			}
			return nil, e.blame(ctx, conn, files, err)
		}
		drop := func() error {
			_, err := conn.ExecContext(context.WithoutCancel(ctx), "DROP TABLE "+resultTable)
			return err
		}
		r.done = func() error { return errors.Join(drop(), done()) }
		var page int64
		r.more = func() (*sqlRows, error) {
			e.account.refresh() // it may be long ago that the page before was read
			from := page * pageRows
			page++
			return ask(fmt.Sprintf("SELECT %s FROM %s WHERE rowid >= %d AND rowid < %d ORDER BY rowid", p.asText(), resultTable, from, from+pageRows))
		}
		if err = p.describe(ctx, conn); err == nil {
			r.Columns = p.columns
			r.rows, err = r.more()
		}
		if err != nil {
			return nil, errors.Join(err, drop())
		}
	}
	if err != nil {
		return nil, err
	}
	r.cells = make([]sqlNullString, len(p.columns))
	r.values = make([]Value, len(p.columns))
	for i := range r.cells {
		r.scan = append(r.scan, &r.cells[i])
	}
	if p.lake != nil {
		for _, c := range p.columns {
			r.lake = append(r.lake, parseType(c.Type))
		}
	}
	return r, nil
}

type (
	sqlNullString = sql.NullString // where the name sql is taken
	sqlRows       = sql.Rows
)

// resultTable holds the result of a query on its connection; pageRows are read from it at once.
const (
	resultTable = "temp.main.spoor_result"
	pageRows    = 5000
)

// limits gives the context that a query runs in. fail says why it ended when it was its limits.
func (e *Engine) limits(ctx context.Context) (_ context.Context, done func() error, fail func(error) error) {
	e.account.refresh()
	ctx, cancel := context.WithCancelCause(ctx)
	var timer *time.Timer
	if e.opts.Timeout > 0 {
		timer = time.AfterFunc(e.opts.Timeout, func() { cancel(fmt.Errorf("%w of %s", ErrTimeout, e.opts.Timeout)) })
	}
	ctx = context.WithValue(ctx, cancelKey{}, cancel)
	done = func() error {
		if timer != nil {
			timer.Stop()
		}
		cancel(nil)
		return nil
	}
	fail = func(err error) error {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
			trimProcess()
			return cause
		} else if cause != nil && ctx.Err() != nil {
			return fmt.Errorf("the query was ended: %w", cause)
		}
		return e.explain(err)
	}
	return ctx, done, fail
}

type cancelKey struct{}

// explain makes errors of the engine readable.
func (e *Engine) explain(err error) error {
	var de *duckdb.Error
	if !errors.As(err, &de) {
		return err
	}
	if strings.HasPrefix(de.Msg, "Out of Memory Error") || strings.Contains(de.Msg, "bad_alloc") {
		trimProcess() // so that the next query is not refused for what this one took
		if strings.Contains(de.Msg, "max_temp_directory_size") {
			return fmt.Errorf("%w of %d MiB and %d MiB of temporary files", ErrMemory, e.opts.Memory>>20, e.opts.TempBytes>>20)
		}
		return fmt.Errorf("%w of %d MiB", ErrMemory, e.opts.Memory>>20)
	}
	return err
}

// blame finds the file that an error comes from, when it is one of reading files: not all such errors name it.
func (e *Engine) blame(ctx context.Context, conn *sql.Conn, files []string, err error) error {
	var de *duckdb.Error
	// A conversion that fails is no damage: what was asked, or a file of another format, is at fault.
	if !errors.As(err, &de) || ctx.Err() != nil || strings.HasPrefix(de.Msg, "Conversion Error") {
		return err
	}
	for _, f := range files {
		if strings.Contains(de.Msg, f) {
			return &FileError{File: f, Err: err}
		}
	}
	if !slices.ContainsFunc([]string{"Invalid Error", "IO Error", "INTERNAL Error", "Parquet", "parquet", "ZSTD", "zstd", "Thrift", "TTransport", "orrupt"},
		func(s string) bool { return strings.Contains(de.Msg, s) }) {
		return err
	}
	for _, f := range files {
		rows, ferr := conn.QueryContext(ctx, "SELECT count(COLUMNS(*)) FROM read_parquet("+quoteText(f)+", hive_partitioning=false)")
		if ferr == nil {
			ferr = errors.Join(rows.Err(), rows.Close())
		}
		if ferr != nil && ctx.Err() == nil {
			return &FileError{File: f, Err: ferr}
		}
	}
	return err
}

// FileError is a query that ended because of a damaged file.
type FileError struct {
	File string
	Err  error
}

func (e *FileError) Error() string { return fmt.Sprintf("read %s: %v", e.File, e.Err) }
func (e *FileError) Unwrap() error { return e.Err }

// plan is a query that was checked, with the columns of its result.
type plan struct {
	sql     string // what is asked, in DuckDB's SQL
	own     bool   // see [QueryOptions.Own]
	explain string // EXPLAIN or EXPLAIN ANALYZE, or ""
	columns []Column

	files  []string     // those that are asked
	lake   *translation // in the Lake dialect
	stores []DataStore
	prefix int // how many lines stand before the query in sql
}

// plan translates and checks a query, and finds the names of its columns.
func (e *Engine) plan(ctx context.Context, conn *sql.Conn, query string, opts QueryOptions) (*plan, error) {
	scope, g := e.scopeOf(&opts), e.guard
	p := &plan{}
	if opts.Own {
		g.tables = maps.Clone(g.tables)
		g.tables[segmentsTable().key()] = true
		p.sql, p.own = query, true
		return p, e.check(ctx, conn, g, scope, p)
	}
	if opts.DataStores != nil {
		return e.lakePlan(ctx, conn, query, opts)
	}
	toks, err := lex(query)
	if err != nil {
		return nil, err
	}
	if toks, p.explain, err = e.statement(toks); err != nil {
		return nil, err
	}
	t := &translation{toks: toks, params: opts.Params}
	return p, e.translate(t, p, func() error { return e.check(ctx, conn, g, scope, p) })
}

// translate translates a query until it can be asked: once, or twice where only a refusal tells what is unnested.
func (e *Engine) translate(t *translation, p *plan, check func() error) error {
	for {
		var err error
		t.multi, p.columns = false, nil
		if p.sql, err = t.all(); err != nil {
			return err
		}
		err = check()
		if err == nil || !t.multi || t.maps || !strings.Contains(err.Error(), "UNNEST") {
			return err
		}
		t.maps = true // what is unnested to several columns must be a map
	}
}

// check refuses what may not be asked, and finds the names of the columns.
func (e *Engine) check(ctx context.Context, conn *sql.Conn, g guard, scope Scope, p *plan) error {
	var tree string
	if err := conn.QueryRowContext(ctx, "SELECT CAST(json_serialize_sql("+quoteText(p.sql)+") AS VARCHAR)").Scan(&tree); err != nil {
		return fmt.Errorf("read the query: %w", err)
	}
	if err := g.check([]byte(tree)); err != nil {
		if p.lake != nil {
			err = lakeSyntax(ctx, conn, lakePlace(err, p.lake.toks), p.lake.toks)
		}
		return err
	}
	tables, f := focusOf([]byte(tree))
	if p.lake != nil {
		if err := e.lakeBind(ctx, conn, p, tables, scope, f); err != nil {
			return lakeError(err, p.lake.toks, p.prefix)
		}
	} else {
		if !slices.Equal(tables, []string{segmentsTable().key()}) && !slices.ContainsFunc(e.tables, func(t table) bool {
			return slices.Equal(tables, []string{t.key()}) && (t.view == eventsView || t.view == athenaView || t.view == dataStoreView)
		}) {
			f = focus{} // the other tables are of more than single rows
		}
		var err error
		if p.files, err = e.setFocus(ctx, conn, scope, f); err != nil {
			return err
		}
		if err := e.define(ctx, conn, tables, scope.Files); err != nil {
			return err
		}
	}
	if p.own {
		return nil // its columns are named apart, and known when it was run
	}
	var names []string
	if err := conn.Raw(func(driverConn any) (err error) {
		dc, ok := driverConn.(*duckdb.Conn)
		if !ok {
			return fmt.Errorf("the query engine gave a %T", driverConn)
		}
		stmt, err := dc.PrepareContext(ctx, p.text())
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stmt.Close()) }()
		s, ok := stmt.(*duckdb.Stmt)
		if !ok {
			return fmt.Errorf("the query engine gave a %T", stmt)
		}
		typ, err := s.StatementType()
		if err != nil {
			return err
		}
		want := duckdb.STATEMENT_TYPE_SELECT
		if p.explain != "" {
			want = duckdb.STATEMENT_TYPE_EXPLAIN
		}
		if typ != want {
			return refusef("only SELECT, WITH, EXPLAIN, DESCRIBE and SHOW TABLES can be asked")
		}
		n, err := s.ColumnCount()
		for i := 0; i < n && err == nil; i++ {
			var name string
			name, err = s.ColumnName(i)
			names = append(names, name)
		}
		return err
	}); err != nil {
		if p.lake != nil {
			err = lakeError(err, p.lake.toks, p.prefix)
		}
		return err
	}
	if p.lake != nil {
		lakeNames([]byte(tree), names)
	}
	if p.explain != "" {
		p.columns = []Column{{Name: "explain_key", Type: "VARCHAR"}, {Name: "explain_value", Type: "VARCHAR"}}
		return nil
	}
	for _, name := range names {
		p.columns = append(p.columns, Column{Name: name})
	}
	return nil
}

// describe finds the types of the columns of the result.
func (p *plan) describe(ctx context.Context, conn *sql.Conn) (err error) {
	rows, err := conn.QueryContext(ctx, "DESCRIBE "+resultTable)
	if err != nil {
		return fmt.Errorf("read the columns of the query: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	n := 0
	for ; rows.Next(); n++ {
		var name, typ string
		var rest [4]any
		if err := rows.Scan(&name, &typ, &rest[0], &rest[1], &rest[2], &rest[3]); err != nil {
			return fmt.Errorf("read the columns of the query: %w", err)
		}
		if p.own {
			p.columns = append(p.columns, Column{Name: name})
		}
		if n < len(p.columns) {
			p.columns[n].Type, p.columns[n].Kind = typ, kindOf(typ)
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("read the columns of the query: %w", err)
	}
	if n != len(p.columns) {
		return fmt.Errorf("the query has %d columns, or %d", len(p.columns), n)
	}
	return nil
}

// text is the statement itself.
func (p *plan) text() string {
	if p.explain != "" {
		return p.explain + " " + p.sql
	}
	return p.sql
}

// numbered is the query with columns that are named c0, c1 and so on, but for the program's own.
func (p *plan) numbered(limit int64) string {
	if p.own {
		sql := "SELECT * FROM (\n" + p.sql + "\n) AS spoor_query"
		if limit > 0 {
			sql += fmt.Sprintf(" LIMIT %d", limit)
		}
		return sql
	}
	names := make([]string, len(p.columns))
	for i := range names {
		names[i] = fmt.Sprintf("c%d", i)
	}
	sql := fmt.Sprintf("SELECT * FROM (\n%s\n) AS spoor_query(%s)", p.sql, strings.Join(names, ","))
	if limit > 0 {
		sql += fmt.Sprintf(" LIMIT %d", limit)
	}
	return sql
}

// asText gives every column of a result as text.
func (p *plan) asText() string {
	out := make([]string, len(p.columns))
	for i, c := range p.columns {
		name := fmt.Sprintf("c%d", i)
		if p.own {
			name = quoteName(c.Name)
		}
		switch {
		case c.Kind == JSON && c.Type != "JSON":
			out[i] = fmt.Sprintf("CAST(to_json(%s) AS VARCHAR)", name)
		case c.Type == "VARCHAR":
			out[i] = name
		default:
			out[i] = fmt.Sprintf("CAST(%s AS VARCHAR)", name)
		}
	}
	return strings.Join(out, ", ")
}

func kindOf(typ string) Kind {
	switch {
	case strings.HasSuffix(typ, "]"), strings.HasPrefix(typ, "STRUCT("), strings.HasPrefix(typ, "MAP("), strings.HasPrefix(typ, "UNION("), typ == "JSON":
		return JSON
	case strings.HasPrefix(typ, "TIMESTAMP"):
		return Time
	case typ == "BOOLEAN":
		return Bool
	case strings.HasPrefix(typ, "DECIMAL"),
		slices.Contains([]string{"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "BIGNUM"}, typ):
		return Number
	}
	return Text
}

// statement takes EXPLAIN and the final semicolon off a query, and writes SHOW as SELECT.
func (e *Engine) statement(toks []token) (_ []token, explain string, err error) {
	for len(toks) > 0 && (toks[len(toks)-1].kind == space || toks[len(toks)-1].text == ";") {
		toks = toks[:len(toks)-1]
	}
	var words []string
	for _, t := range toks {
		if t.kind != space && len(words) < 8 {
			words = append(words, t.low)
		}
	}
	switch {
	case len(words) == 0:
		return nil, "", refusef("there is no query")
	case words[0] == "explain":
		explain = "EXPLAIN"
		toks = skipWord(toks)
		if len(words) > 1 && words[1] == "analyze" {
			explain = "EXPLAIN ANALYZE"
			toks = skipWord(toks)
		}
		return shift(toks), explain, nil
	case words[0] == "show" && len(words) > 1:
		switch {
		case words[1] == "tables" && len(words) == 2:
			toks, err = lex("SELECT name FROM (VALUES (" + quoted1(e.guard.list()) + ")) AS t(name) ORDER BY name")
		case words[1] == "columns" && len(words) > 3 && (words[2] == "from" || words[2] == "in"):
			var b strings.Builder
			for _, t := range skipWord(skipWord(skipWord(toks))) {
				b.WriteString(t.text)
			}
			toks, err = lex("DESCRIBE " + b.String())
		default:
			return nil, "", refusef("of SHOW only SHOW TABLES and SHOW COLUMNS FROM can be asked")
		}
		return toks, "", err
	}
	return toks, "", nil
}

func quoted1(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = quoteText(n)
	}
	return strings.Join(out, "), (")
}

// skipWord leaves out the first token that is not space, and what stands before it.
func skipWord(toks []token) []token {
	for i, t := range toks {
		if t.kind != space {
			return toks[i+1:]
		}
	}
	return nil
}

// shift finds the partners of parentheses again.
func shift(toks []token) []token {
	var open []int
	for i := range toks {
		if toks[i].mate < 0 {
			continue
		}
		switch toks[i].text {
		case "(", "[", "{":
			open = append(open, i)
		default:
			o := open[len(open)-1]
			open = open[:len(open)-1]
			toks[o].mate, toks[i].mate = i, o
		}
	}
	return toks
}

// Ended reports whether a query that somebody types is at its end: it closes with a semicolon that is part of no text or
// comment. What cannot be read, such as a parenthesis too many, is at its end, too, so that it can be refused.
func Ended(sql string) bool {
	toks, err := lex(sql)
	if err != nil {
		var open *openError
		return !errors.As(err, &open) || strings.HasSuffix(strings.TrimSpace(sql), ";") && open.parens
	}
	for i := len(toks) - 1; i >= 0; i-- {
		if toks[i].kind != space {
			return toks[i].text == ";"
		}
	}
	return false
}

// ColumnNames are the names of the columns of a table, and of the members of its structs as a.b.
func (e *Engine) ColumnNames(ctx context.Context, table string) (names []string, err error) {
	rows, err := e.Query(ctx, "SELECT column_name, column_type FROM (DESCRIBE "+table+")", QueryOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		values, ok, err := rows.Next()
		if err != nil || !ok {
			return names, err
		}
		names = append(names, values[0].Text)
		names = append(names, members(values[0].Text, values[1].Text)...)
	}
}

// members are the paths of the members of a struct type, written as the engine writes types.
func members(path, typ string) (out []string) {
	inner, ok := strings.CutPrefix(typ, "STRUCT(")
	if !ok || !strings.HasSuffix(inner, ")") {
		return nil
	}
	inner = strings.TrimSuffix(inner, ")")
	depth, start := 0, 0
	for i := 0; i <= len(inner); i++ {
		if i < len(inner) {
			switch inner[i] {
			case '(':
				depth++
			case ')':
				depth--
			}
			if inner[i] != ',' || depth > 0 {
				continue
			}
		}
		name, of, _ := strings.Cut(strings.TrimSpace(inner[start:i]), " ")
		name = path + "." + strings.Trim(name, `"`)
		out = append(append(out, name), members(name, of)...)
		start = i + 1
	}
	return out
}

// OneLine is a query on one line, without comments; what cannot be read stays as it is.
func OneLine(sql string) string {
	toks, err := lex(sql)
	if err != nil {
		return sql
	}
	var b strings.Builder
	for _, t := range toks {
		if t.kind == space {
			if s := b.String(); s != "" && !strings.HasSuffix(s, " ") {
				b.WriteByte(' ')
			}
			continue
		}
		b.WriteString(t.text)
	}
	return strings.TrimSpace(b.String())
}
