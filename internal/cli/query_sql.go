package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
)

// queryFlags are the flags of spoor query.
type queryFlags struct {
	in                     inputFlags
	server                 serverFlags
	store, hold, file      string
	format, out            string
	timeout, memory, table string
	ready                  string
	params                 []string
	list, show, limitGiven bool
	timeoutGiven           bool
	limit                  int64
	run                    func(context.Context, *duckdb.Engine) error // asked in place of SQL and the shell
}

// shownRows is how many rows a table shows unless asked for more.
const shownRows = 1000

func queryFormats() []string { return append(slices.Clone(duckdb.Formats[:]), "parquet") }

func (e *env) querySQL() *cobra.Command {
	var f queryFlags
	c := &cobra.Command{
		Use:   "query [SQL] PATH…",
		Short: "Ask in SQL",
		Long: `Query asks logs, or a store, in SQL. The tables are events, cloudtrail_logs (Athena's columns) and event_data_store
(CloudTrail Lake's); queries written for Athena and Lake run as they are. Without SQL it opens a shell.

  spoor query "SELECT eventName, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 10" ./logs
  spoor query "SELECT * FROM cloudtrail_logs WHERE errorcode = 'AccessDenied'" s3://bucket/prefix --since 7d --format csv --out denied.csv
  spoor query --store ./store                           a shell over a store
  spoor query --server https://spoor.example.com:8484   a shell over a service
  spoor query --list                                    ready queries
  spoor query --ready key --param key=AKIAIOSFODNN7EXAMPLE ./logs
  spoor query --ready refused --show                    its SQL

A query can only ask: no files, no network, no changes. It is ended after --timeout, and bounded by --memory.` + "\n" +
			strings.Replace(exitCodesHelp, "findings at or above --fail-on (or: no match, a failed test)", "not used", 1),
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			f.limitGiven, f.timeoutGiven = c.Flags().Changed("limit"), c.Flags().Changed("timeout")
			if f.server.server != "" || len(args) < 2 && f.store == "" && !slices.ContainsFunc(args, isInput) && f.server.named() != "" {
				if err := f.server.allow(c, "since", "until", "account", "region", "format", "out", "file", "limit", "timeout", "ready", "param", "list", "show", "quiet"); err != nil {
					return err
				}
				return e.queryServer(c.Context(), &f, args)
			}
			return e.runQuery(c.Context(), &f, args)
		},
	}
	f.in.add(c)
	f.server.add(c, "ask the server at this `URL` (default: the variable SPOOR_SERVER, when there is nothing else to ask)")
	fl := c.Flags()
	fl.StringVar(&f.store, "store", "", "ask the store in this `folder`")
	fl.StringVar(&f.hold, "hold", "", "ask the store as it was when this hold was `named`")
	fl.StringVarP(&f.file, "file", "f", "", "read the SQL from this `file`")
	fl.StringVar(&f.format, "format", "table", "`format`: "+strings.Join(queryFormats(), ", "))
	fl.StringVar(&f.out, "out", "", "write to this `file` in place of stdout")
	fl.Int64Var(&f.limit, "limit", 0, fmt.Sprintf("most rows to give; -1: all (default: %d for a table, else all)", shownRows))
	fl.StringVar(&f.timeout, "timeout", "10m", "end a query that takes longer; 0: never")
	fl.StringVar(&f.memory, "memory", "1GiB", "most memory that a query may take; what does not fit goes to --temp-dir")
	fl.StringVar(&f.table, "table-name", "", "another `name` for cloudtrail_logs, such as cloudtrail_logs_mybucket or mydb.trail")
	fl.BoolVar(&f.list, "list", false, "list the ready queries")
	fl.StringVar(&f.ready, "ready", "", "ask the ready query of this `name`")
	fl.StringArrayVar(&f.params, "param", nil, "a parameter of a ready query, or $name in SQL, as `name=value`")
	fl.BoolVar(&f.show, "show", false, "print the SQL of --ready, do not ask it")
	_ = c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(queryFormats(), cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("ready", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		var out []string
		for _, r := range duckdb.ReadyQueries() {
			out = append(out, r.Name+"\t"+r.Question)
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	})
	return c
}

// question is what is asked: SQL and its parameters.
type question struct {
	sql    string
	params []duckdb.Param
}

// whatIsAsked finds out what is asked and of what; nil asks for the shell. done says that nothing is: a list or the SQL of a
// ready query was all.
func (e *env) whatIsAsked(f *queryFlags, args []string) (q *question, inputs []string, done bool, err error) {
	if f.list {
		return nil, nil, true, listReady(e.stdout)
	}
	if q, inputs, err = f.question(e, args); err != nil {
		return nil, nil, true, err
	}
	if f.show {
		if f.ready == "" {
			return nil, nil, true, usagef("--show wants --ready with the name of a query; spoor query --list lists them")
		}
		_, err := fmt.Fprintln(e.stdout, q.sql)
		return nil, nil, true, err
	}
	return q, inputs, false, nil
}

func (e *env) runQuery(ctx context.Context, f *queryFlags, args []string) error {
	q, inputs, done, err := e.whatIsAsked(f, args)
	if err != nil || done {
		return err
	}
	opts, err := f.options()
	if err != nil {
		return err
	}
	switch {
	case !slices.Contains(queryFormats(), f.format):
		return usagef("--format %q: want one of %s", f.format, strings.Join(queryFormats(), ", "))
	case f.format == "parquet" && (f.out == "" || f.out == "-"):
		return usagef("--format parquet wants --out with the name of a file")
	case f.store != "" && len(inputs) > 0:
		return usagef("either --store or paths to read, not both: %q", inputs)
	case f.store == "" && len(inputs) == 0:
		return usagef("nothing to ask: give a file, folder, archive or bucket to read, or --store; for example: spoor query %q ./logs", "SELECT count(*) FROM events")
	case f.store == "" && f.hold != "":
		return usagef("--hold wants --store")
	}
	if q != nil && f.store == "" {
		// A mistake in the query should not show up after an hour of reading.
		if err := checkQuery(ctx, opts, q); err != nil {
			return err
		}
	}
	if f.store != "" {
		return e.queryStore(ctx, f, opts, q)
	}
	return e.queryPaths(ctx, f, opts, q, inputs)
}

func checkQuery(ctx context.Context, opts duckdb.Options, q *question) (err error) {
	engine, err := duckdb.Open(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.Close()) }()
	return usageOf(engine.Check(ctx, q.sql, q.params...))
}

// usageOf makes errors of the query errors of the caller.
func usageOf(err error) error {
	var damaged *duckdb.FileError
	if err == nil || errors.As(err, &damaged) || errors.Is(err, context.Canceled) || errors.Is(err, duckdb.ErrTimeout) || errors.Is(err, duckdb.ErrMemory) {
		return err
	}
	return usageError{err}
}

// question finds out what is asked and of what; nil asks for the shell.
func (f *queryFlags) question(e *env, args []string) (*question, []string, error) {
	params := map[string]string{}
	for _, p := range f.params {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return nil, nil, usagef("--param %q: want name=value", p)
		}
		params[strings.TrimPrefix(name, "$")] = value
	}
	if f.ready != "" {
		r, ok := duckdb.FindReady(f.ready)
		if !ok {
			return nil, nil, usagef("there is no ready query %q; spoor query --list lists them", f.ready)
		}
		if f.file != "" {
			return nil, nil, usagef("either --ready or --file, not both")
		}
		q := &question{sql: r.SQL}
		if f.show {
			return q, args, nil
		}
		var err error
		if q.params, err = r.Bind(params); err != nil {
			return nil, nil, usageError{err}
		}
		return q, args, nil
	}
	q := &question{}
	for name, value := range params {
		q.params = append(q.params, duckdb.Param{Name: name, Value: value})
	}
	switch {
	case f.file != "":
		text, err := os.ReadFile(f.file)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("read the query: %w", err)}
		}
		q.sql = string(text)
		return q, args, nil
	case len(args) > 0 && !isInput(args[0]):
		if !strings.ContainsAny(args[0], " \t\n;(") {
			return nil, nil, usagef("%q is neither SQL nor a file, folder, s3:// or -", args[0])
		}
		q.sql = args[0]
		return q, args[1:], nil
	case e.interactive():
		return nil, args, nil
	case slices.Contains(args, "-"):
		return nil, nil, usagef("no query: standard input holds the logs; give the SQL as the first argument, or --file")
	}
	text, err := io.ReadAll(io.LimitReader(e.stdin, 1<<20))
	if err != nil {
		return nil, nil, fmt.Errorf("read the query from standard input: %w", err)
	}
	if q.sql = string(text); strings.TrimSpace(q.sql) == "" {
		return nil, nil, usagef("no query: give the SQL as the first argument, with --file or on standard input; or --ready, or a terminal for a shell")
	}
	return q, args, nil
}

// interactive reports whether somebody sits before standard input and output.
func (e *env) interactive() bool {
	in, ok := e.stdin.(*os.File)
	if !ok {
		return false
	}
	_, _, isTerminal := terminal(in)
	_, _, out := terminal(e.stdout)
	return isTerminal && out
}

func (f *queryFlags) options() (duckdb.Options, error) {
	opts := duckdb.Options{TableName: f.table, TempDir: f.in.tempDir, Threads: f.in.workers, Accounts: f.in.accounts, Regions: f.in.regions}
	if f.timeout != "0" {
		d, ok := span(f.timeout)
		if !ok {
			return opts, usagef("--timeout %q: want a span such as 30s or 10m, or 0", f.timeout)
		}
		opts.Timeout = d
	}
	var err error
	if opts.Memory, err = byteSize(f.memory); err != nil || opts.Memory < 64<<20 {
		return opts, usagef("--memory %q: want an amount of at least 64MiB, such as 512MiB or 4GiB", f.memory)
	}
	now := time.Now()
	if opts.Since, err = parseWhen("--since", f.in.since, now); err != nil {
		return opts, err
	}
	if opts.Until, err = parseWhen("--until", f.in.until, now); err != nil {
		return opts, err
	}
	return opts, nil
}

// byteSize reads 512MB, 512MiB or 4G.
func byteSize(s string) (int64, error) {
	var n int64
	var unit string
	if _, err := fmt.Sscanf(s+" ", "%d%s", &n, &unit); err != nil && unit == "" && n == 0 {
		return 0, err
	}
	shift, ok := map[string]int{"": 0, "B": 0, "K": 10, "KB": 10, "KIB": 10, "M": 20, "MB": 20, "MIB": 20, "G": 30, "GB": 30, "GIB": 30, "T": 40, "TB": 40, "TIB": 40}[strings.ToUpper(unit)]
	if !ok || n <= 0 || n > 1<<(62-shift) {
		return 0, fmt.Errorf("%q is not an amount", s)
	}
	return n << shift, nil
}

// queryStore asks a store.
func (e *env) queryStore(ctx context.Context, f *queryFlags, opts duckdb.Options, q *question) error {
	return withStore(ctx, f.store, store.Options{ReadOnly: true}, func(s *store.Store) error {
		p, err := s.Plan(ctx, store.Filter{Since: opts.Since, Until: opts.Until, Hold: f.hold})
		if errors.Is(err, store.ErrNoHold) {
			return usageError{err}
		}
		if err != nil {
			return err
		}
		defer p.Release()
		for _, file := range p.Files {
			opts.Files = append(opts.Files, file.Path)
		}
		for _, d := range p.Damaged {
			e.damaged(d.File, d.What)
		}
		return e.ask(ctx, f, opts, q)
	})
}

// damaged tells about a file that was left out.
func (e *env) damaged(file, what string) {
	e.exit = ExitIncomplete
	fmt.Fprintf(e.stderr, "spoor: damaged, left out: %s: %s\n", safetext.Terminal(file, 200), safetext.Terminal(what, 300))
}

// queryPaths reads logs into a temporary folder and asks that.
func (e *env) queryPaths(ctx context.Context, f *queryFlags, opts duckdb.Options, q *question, inputs []string) (err error) {
	in, done, err := f.in.intake(ctx, e, inputs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	dir, err := os.MkdirTemp(f.in.tempDir, "spoor-query-")
	if err != nil {
		return fmt.Errorf("make a folder for what is read: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	in.Ledger = ledger.New()
	if !f.in.keepDuplicates {
		seen := dedup.New(dedup.Options{Dir: f.in.tempDir})
		in.Seen = seen
		defer func() { err = errors.Join(err, seen.Close()) }()
	}
	g := &gatherer{dir: dir}
	stop := f.in.progress(e, in.Progress)
	err = intake.Run(ctx, in, func() (intake.Worker, error) { return g.worker(ctx), nil })
	if err == nil {
		err = g.finish()
	}
	stop()
	if err != nil {
		return err
	}
	opts.Files = g.files
	opts.Since, opts.Until, opts.Accounts, opts.Regions = time.Time{}, time.Time{}, nil, nil // already left out
	rep := in.Ledger.Report()
	err = e.ask(ctx, f, opts, q)
	switch {
	case !rep.Balanced:
		e.exit = ExitFailure
		fmt.Fprintf(e.stderr, "spoor: the ledger does not balance: %s\n", strings.Join(rep.Problems, "; "))
	case !rep.Complete() || rep.Records.Seen == 0:
		e.exit = max(e.exit, ExitIncomplete)
		fmt.Fprintf(e.stderr, "spoor: input incomplete: %d events read, %d objects failed, %d records rejected; spoor hunt shows which\n",
			rep.Records.Kept, rep.Objects.Failed, rep.Records.Rejected)
	}
	return err
}

// gatherer collects the segments of all workers.
type gatherer struct {
	dir string

	mu      sync.Mutex // guards what follows
	workers []*gatherWorker
	files   []string
}

// gatherBytes is how much a worker holds in memory before it writes.
const gatherBytes = 64 << 20

type gatherWorker struct {
	g      *gatherer
	ctx    context.Context //nolint:containedctx // of the run that the worker belongs to
	w      *segment.Writer
	actors event.ActorCache
}

func (g *gatherer) worker(ctx context.Context) *gatherWorker {
	w := &gatherWorker{g: g, ctx: ctx, w: segment.NewWriter(segment.Options{Dir: g.dir})}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.workers = append(g.workers, w)
	return w
}

// Event implements [intake.Worker].
func (w *gatherWorker) Event(e *event.Event) error {
	if err := w.w.Add(e, w.actors.Of(e)); err != nil {
		return err
	}
	if w.w.Bytes() < gatherBytes {
		return nil
	}
	return w.flush()
}

func (w *gatherWorker) flush() error {
	segs, err := w.w.Flush(w.ctx)
	if err != nil {
		return err
	}
	w.g.mu.Lock()
	defer w.g.mu.Unlock()
	for _, s := range segs {
		w.g.files = append(w.g.files, filepath.Join(w.g.dir, filepath.FromSlash(s.Path)))
	}
	return nil
}

// finish writes what the workers hold. They must have ended.
func (g *gatherer) finish() error {
	var wg sync.WaitGroup
	errs := make([]error, len(g.workers))
	for i, w := range g.workers {
		wg.Go(func() { errs[i] = w.flush() })
	}
	wg.Wait()
	slices.Sort(g.files)
	return errors.Join(errs...)
}

// mostDamaged is how many damaged files, found one after the other, are left out before a query is given up.
const mostDamaged = 50

// ask asks the engine over opts.Files, or opens the shell. A file that turns out to be damaged is left out, and told.
func (e *env) ask(ctx context.Context, f *queryFlags, opts duckdb.Options, q *question) error {
	for left := 0; ; left++ {
		engine, err := duckdb.Open(ctx, opts)
		if err != nil {
			return err
		}
		for _, d := range engine.Damaged() {
			e.damaged(d.File, d.Err.Error())
		}
		switch {
		case f.run != nil:
			err = f.run(ctx, engine)
		case q == nil:
			err = e.engineShell(ctx, f, engine)
		default:
			if f.store != "" { // otherwise the query was looked at before the logs were read
				err = usageOf(engine.Check(ctx, q.sql, q.params...))
			}
			if err == nil {
				err = e.answer(ctx, f, engine, q)
			}
		}
		err = errors.Join(err, engine.Close())
		var bad *duckdb.FileError
		if !errors.As(err, &bad) || left == mostDamaged {
			return err
		}
		e.damaged(bad.File, bad.Err.Error())
		opts.Files = slices.DeleteFunc(slices.Clone(opts.Files), func(name string) bool {
			return name == bad.File || slices.ContainsFunc(engine.Damaged(), func(d duckdb.Damage) bool { return d.File == name })
		})
	}
}

// answer asks one question and writes the result.
func (e *env) answer(ctx context.Context, f *queryFlags, engine *duckdb.Engine, q *question) error {
	limit := f.limit
	if !f.limitGiven && f.format == "table" {
		limit = shownRows
	}
	qo := duckdb.QueryOptions{Params: q.params, Limit: max(limit, 0)}
	if f.format == "parquet" {
		return e.answerParquet(ctx, f.out, engine, q, qo)
	}
	wo := duckdb.WriteOptions{QueryOptions: qo, Format: f.format}
	if f.out == "" || f.out == "-" {
		wo.Width, _, _ = terminal(e.stdout)
	}
	var n duckdb.Written
	err := e.write(f.out, func(w io.Writer) (err error) {
		n, err = engine.Write(ctx, w, q.sql, wo)
		return err
	})
	if err != nil {
		return err
	}
	if n.More {
		fmt.Fprintf(e.stderr, "spoor: only the first %d rows; --limit -1 shows all\n", n.Rows)
	}
	if f.format == "table" && f.out == "" && n.Rows == 0 {
		fmt.Fprintln(e.stderr, "spoor: no rows")
	}
	return nil
}

// answerParquet writes a result as Parquet; the file appears whole or not at all.
func (e *env) answerParquet(ctx context.Context, out string, engine *duckdb.Engine, q *question, qo duckdb.QueryOptions) error {
	w, done, err := e.output(out)
	if err != nil {
		return err
	}
	file, ok := w.(*os.File)
	if !ok {
		return done(errors.New("there is no file to write to"))
	}
	path, err := filepath.Abs(file.Name())
	if err == nil {
		_, err = engine.WriteParquet(ctx, q.sql, path, qo)
	}
	return done(err)
}

// listReady lists the ready queries.
func listReady(w io.Writer) error {
	var b strings.Builder
	for _, r := range duckdb.ReadyQueries() {
		fmt.Fprintf(&b, "%-16s %s\n", r.Name, r.Question)
		for _, p := range r.Params {
			fmt.Fprintf(&b, "%-16s   --param %s=…  %s\n", "", p.Name, p.Doc)
		}
	}
	b.WriteString("\nspoor query --ready NAME PATH… asks one; --show prints its SQL.\n")
	_, err := io.WriteString(w, b.String())
	return err
}
