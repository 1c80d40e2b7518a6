package duckdb

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/duckdb/duckdb-go/v2"
)

// Scope is what a query sees of the events.
type Scope struct {
	// Files are the Parquet segments that are asked, as planned; absolute paths, and they must stay until the rows of the
	// query are closed. The first ones are read first.
	Files []string
	// Since and Until bound the event time of what is seen, Until not included; Accounts and Regions are the only ones seen.
	// The zero values are no bounds. Events without a time are always seen.
	Since, Until      time.Time
	Accounts, Regions []string
	// Facts are what is known of Files, by path. Queries of the Lake dialect leave out files by them.
	Facts map[string]FileFacts
}

// Options of an [Engine].
type Options struct {
	// Files are the Parquet segments that are asked, as planned; absolute paths, and they must stay while the engine is open.
	Files []string
	// Dirs are folders, by absolute paths, whose files a query can be told to ask by [QueryOptions.Scope], for an engine that
	// outlives what files there are. No statement of a user can name a file; these folders are what the engine itself could
	// reach.
	Dirs []string
	// Since and Until bound the event time of what is seen, Until not included; Accounts and Regions are the only ones seen.
	// The zero values are no bounds. Events without a time are always seen.
	Since, Until      time.Time
	Accounts, Regions []string
	// TableName is another name for cloudtrail_logs, with or without a schema before it.
	TableName string
	// Threads is how many threads a query takes, by default one for each processor.
	Threads int
	// Memory is how many bytes queries may take together, 1 GiB when 0. What does not fit goes to TempDir. On Linux all engines
	// of the process together are kept from taking more than the Memory of all of them, and 512 MiB for each; what other
	// parts of the process take does not count.
	Memory int64
	// TempDir is where a folder for intermediate results is made, the system's when empty; TempBytes is how much it may
	// hold, 8 GiB when 0.
	TempDir   string
	TempBytes int64
	// Timeout ends a query, 0 for no limit.
	Timeout time.Duration
	// LakePlanner finds the time ranges of queries of the Lake dialect; one is opened at the first of them when it is nil. It
	// must stay while the engine is open.
	LakePlanner *LakePlanner

	unfocused bool   // nothing is left out by focus.go
	writable  string // a file that this engine, which answers no user's statement, may write
}

func (o *Options) scope() Scope {
	return Scope{Files: o.Files, Since: o.Since, Until: o.Until, Accounts: o.Accounts, Regions: o.Regions}
}

// Engine answers queries over a list of files. It is safe for concurrent use; Close ends it.
type Engine struct {
	opts    Options
	db      *sql.DB
	guard   guard
	account *account // nil where memory is not watched
	none    string   // a file without events, for scopes without files
	temp    string
	damaged []Damage
	tables  []table

	planning sync.Mutex // guards planner
	planner  *LakePlanner

	defining sync.Mutex      // guards defined
	defined  map[string]bool // views that are there, by key
}

// Damage is a file that cannot be read, and was left out.
type Damage struct {
	File string
	Err  error
}

// ErrTimeout is the cause of the end of queries that take longer than Options.Timeout.
var ErrTimeout = errors.New("the query took longer than its time limit")

// Open makes an engine. Files that are no whole Parquet files are left out; see [Engine.Damaged].
func Open(ctx context.Context, opts Options) (_ *Engine, err error) {
	if opts.Memory == 0 {
		opts.Memory = 1 << 30
	}
	if opts.TempBytes == 0 {
		opts.TempBytes = 8 << 30
	}
	if opts.Threads == 0 {
		opts.Threads = runtime.GOMAXPROCS(0)
	}
	e := &Engine{opts: opts}
	opts.Files = slices.Clone(opts.Files)
	opts.Files = slices.DeleteFunc(opts.Files, func(f string) bool {
		err := checkParquet(f)
		if err != nil {
			e.damaged = append(e.damaged, Damage{f, err})
		}
		return err != nil
	})
	// The newest day first: of queries for the newest events, the engine then leaves out all that is older than what it has.
	slices.SortStableFunc(opts.Files, func(a, b string) int { return cmp.Compare(filepath.Dir(b), filepath.Dir(a)) })
	e.opts.Files = opts.Files
	tables, err := tableNames(opts.TableName)
	if err != nil {
		return nil, err
	}
	e.guard = guard{tables: map[string]bool{}}
	for _, t := range tables {
		e.guard.tables[t.key()] = true
	}
	e.tables, e.defined = tables, map[string]bool{}
	if e.temp, err = os.MkdirTemp(opts.TempDir, "spoor-query-"); err != nil {
		return nil, fmt.Errorf("make a folder for intermediate results: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.Close())
		}
	}()
	connector, err := duckdb.NewConnector("", nil)
	if err != nil {
		return nil, fmt.Errorf("start the query engine: %w", err)
	}
	e.db = sql.OpenDB(connector)
	e.account = openAccount(opts.Memory)
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("start the query engine: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err = duckdb.RegisterScalarUDF(conn, "ip_in", ipIn{}); err != nil {
		return nil, fmt.Errorf("start the query engine: %w", err)
	}
	for _, step := range []struct{ what, sql string }{
		{"set its limits", e.limitsSQL()},
		{"define its functions", macros},
		{"lock it", e.noneSQL() + e.lockSQL()},
	} {
		if _, err = conn.ExecContext(ctx, step.sql); err != nil {
			return nil, fmt.Errorf("start the query engine: %s: %w", step.what, err)
		}
	}
	return e, nil
}

// Check tells whether a query can be asked, without asking it.
func (e *Engine) Check(ctx context.Context, sql string, params ...Param) error {
	return e.CheckQuery(ctx, sql, QueryOptions{Params: params})
}

// CheckQuery is Check of a query with options. The files of its scope are of no account.
func (e *Engine) CheckQuery(ctx context.Context, sql string, opts QueryOptions) (err error) {
	ctx, done, fail := e.limits(ctx)
	defer func() {
		if err != nil {
			err = fail(err)
		}
		err = errors.Join(err, done())
	}()
	conn, err := e.db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("ask the query engine: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = e.plan(ctx, conn, sql, opts)
	return err
}

// Damaged are the files that were left out.
func (e *Engine) Damaged() []Damage { return e.damaged }

// Close ends the engine and removes its temporary folder. No query may be running.
func (e *Engine) Close() error {
	var err error
	if e.db != nil {
		err = e.db.Close()
	}
	if e.planner != nil {
		err = errors.Join(err, e.planner.Close())
	}
	e.account.close()
	return errors.Join(err, os.RemoveAll(e.temp))
}

// lakePlanner gives the planner of queries of the Lake dialect.
func (e *Engine) lakePlanner(ctx context.Context) (_ *LakePlanner, err error) {
	if e.opts.LakePlanner != nil {
		return e.opts.LakePlanner, nil
	}
	e.planning.Lock()
	defer e.planning.Unlock()
	if e.planner == nil {
		e.planner, err = OpenLakePlanner(ctx, e.opts.TempDir)
	}
	return e.planner, err
}

func (e *Engine) limitsSQL() string {
	return fmt.Sprintf(`SET threads=%d; SET memory_limit='%dB'; SET temp_directory=%s; SET max_temp_directory_size='%dB';
SET preserve_insertion_order=true; SET parquet_metadata_cache=true;`,
		e.opts.Threads, e.opts.Memory, quoteText(e.temp), e.opts.TempBytes) + dialectSQL + cacheSQL(len(e.opts.Dirs) > 0)
}

// dialectSQL makes the engine understand queries as it should, and nothing more.
const dialectSQL = `SET TimeZone='UTC'; SET Calendar='gregorian'; SET integer_division=true; SET default_null_order='nulls_last'; SET lambda_syntax='ENABLE_SINGLE_ARROW';
SET enable_progress_bar=false; SET autoinstall_known_extensions=false; SET autoload_known_extensions=false; SET allow_community_extensions=false;`

// cacheSQL lets the engine keep what it has read of files, or not: beside files that come and go, their bytes are better kept
// by the system alone, whose memory is there for others too.
func cacheSQL(come bool) string { return fmt.Sprintf(" SET enable_external_file_cache=%t;", !come) }

// table is a name under which queries find a view.
type table struct{ schema, name, view string }

var namePattern = regexp.MustCompile(`^[\pL_][\pL\pN_$-]*$`)

// tableNames are all names of all views. The views themselves lie in the schema main.
func tableNames(extra string) ([]table, error) {
	var out []table
	for _, v := range Tables() {
		out = append(out, table{"", v, v}, table{"main", v, v}, table{"default", v, v})
	}
	if extra == "" {
		return out, nil
	}
	schema, name, ok := strings.Cut(extra, ".")
	if !ok {
		schema, name = "", extra
	}
	schema, name = strings.Trim(schema, `"`), strings.Trim(name, `"`)
	if !namePattern.MatchString(name) || schema != "" && !namePattern.MatchString(schema) {
		return nil, fmt.Errorf("%q is not a name for a table: want name or schema.name, of letters, digits, _, $ and -", extra)
	}
	if slices.ContainsFunc(out, func(t table) bool {
		return strings.EqualFold(t.schema, schema) && strings.EqualFold(t.name, name) && t.view != athenaView
	}) || strings.EqualFold(name, segmentsView) {
		return nil, fmt.Errorf("%q is the name of another table", extra)
	}
	if schema != "" {
		return append(out, table{schema, name, athenaView}), nil
	}
	return append(out, table{"", name, athenaView}, table{"default", name, athenaView}), nil
}

// define makes the views that a parsed query names, as far as they are not there yet: each takes the engine milliseconds.
func (e *Engine) define(ctx context.Context, conn *sql.Conn, names []string, files []string) error {
	e.defining.Lock()
	defer e.defining.Unlock()
	for _, t := range append(e.tables[:len(e.tables):len(e.tables)], segmentsTable()) {
		if !slices.Contains(names, t.key()) {
			continue
		}
		todo := []table{segmentsTable(), {"main", t.view, t.view}}
		if t.schema != "" && t.schema != "main" || !strings.EqualFold(t.name, t.view) {
			todo = append(todo, t)
		}
		for _, t := range todo {
			if e.defined[t.key()] {
				continue
			}
			if _, err := conn.ExecContext(ctx, e.viewSQL(t)); err != nil {
				return e.blame(ctx, conn, files, err)
			}
			e.defined[t.key()] = true
		}
	}
	return nil
}

// segmentsTable is the files as they are.
func segmentsTable() table { return table{"main", segmentsView, segmentsView} }

// key is how a query names the table, in lower case.
func (t table) key() string { return strings.ToLower(strings.TrimPrefix(t.schema+"."+t.name, ".")) }

func (e *Engine) viewSQL(t table) string {
	schema := t.schema
	if schema == "" {
		schema = "main"
	}
	sql := "SELECT * FROM main." + t.view
	switch {
	case schema != "main" || !strings.EqualFold(t.name, t.view):
	case t.view == segmentsView:
		sql = segmentsSQL(e.fixedEmpty()) + boundsSQL(e.fixedEmpty())
	case t.view == eventsView:
		sql = eventsSQL()
	case t.view == athenaView:
		sql = athenaSQL()
	case t.view == dataStoreView:
		sql = dataStoreSQL()
	default:
		for _, v := range seenViews() {
			if v.name == t.view {
				sql = v.sql
			}
		}
	}
	return fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s; CREATE VIEW IF NOT EXISTS %[1]s.%s AS %s", quoteName(schema), quoteName(t.name), sql)
}

// fixedEmpty reports whether no query of the engine can ask a file.
func (e *Engine) fixedEmpty() bool { return len(e.opts.Files) == 0 && len(e.opts.Dirs) == 0 }

// noneSQL writes the file that is asked where a scope has no files: the engine must have one.
func (e *Engine) noneSQL() string {
	if len(e.opts.Dirs) == 0 {
		return ""
	}
	e.none = filepath.Join(e.temp, "none.parquet")
	return "COPY (SELECT 1 AS nothing WHERE false) TO " + quoteText(e.none) + " (FORMAT parquet);"
}

// lockSQL leaves nothing reachable but the files, and nothing to be set.
func (e *Engine) lockSQL() string {
	paths := slices.Clone(e.opts.Files)
	for _, p := range []string{e.opts.writable, e.none} {
		if p != "" {
			paths = append(paths, p)
		}
	}
	return fmt.Sprintf("SET allowed_paths=[%s]; SET allowed_directories=[%s]; SET enable_external_access=false; SET lock_configuration=true;", quotedList(paths), quotedList(e.opts.Dirs))
}

// checkParquet reports whether a file looks like a whole Parquet file.
func checkParquet(path string) error {
	if !filepath.IsAbs(path) {
		return errors.New("the path is not absolute")
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < 12 {
		return fmt.Errorf("not a Parquet file: only %d bytes", info.Size())
	}
	var tail [8]byte
	if _, err := f.ReadAt(tail[:], info.Size()-8); err != nil && err != io.EOF {
		return err
	}
	if string(tail[4:]) != "PAR1" {
		return errors.New("not a whole Parquet file: its end is missing")
	}
	if n := int64(binary.LittleEndian.Uint32(tail[:4])); n > info.Size()-12 {
		return errors.New("not a whole Parquet file: its footer is longer than the file")
	}
	return nil
}

// ipIn is ip_in(address, network): whether a text is an IP address in a network such as 10.0.0.0/8. NULL when one of them
// is NULL; a text that is no address is in no network; what is no network is an error.
type ipIn struct{}

// Config implements [duckdb.ScalarFunc].
func (ipIn) Config() duckdb.ScalarFuncConfig {
	str, _ := duckdb.NewTypeInfo(duckdb.TYPE_VARCHAR) // these types need no more information, so there is no error
	boolean, _ := duckdb.NewTypeInfo(duckdb.TYPE_BOOLEAN)
	return duckdb.ScalarFuncConfig{InputTypeInfos: []duckdb.TypeInfo{str, str}, ResultTypeInfo: boolean}
}

// Executor implements [duckdb.ScalarFunc].
func (ipIn) Executor() duckdb.ScalarFuncExecutor {
	return duckdb.ScalarFuncExecutor{RowExecutor: func(args []driver.Value) (any, error) {
		address, ok1 := args[0].(string)
		network, ok2 := args[1].(string)
		if !ok1 || !ok2 {
			return nil, nil
		}
		var net netip.Prefix
		var err error
		if strings.Contains(network, "/") {
			net, err = netip.ParsePrefix(network)
		} else {
			var a netip.Addr
			if a, err = netip.ParseAddr(network); err == nil {
				net = netip.PrefixFrom(a, a.BitLen())
			}
		}
		if err != nil {
			return nil, fmt.Errorf("ip_in: %q is not a network", network)
		}
		a, err := netip.ParseAddr(address)
		return err == nil && net.Contains(a.Unmap().WithZone("")), nil
	}}
}
