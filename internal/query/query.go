package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"spoor/internal/search"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// Planner tells what a store is at a moment, and keeps the files until the plan is released: a [store.Store].
type Planner interface {
	Plan(ctx context.Context, f store.Filter) (*store.Plan, error)
}

// Options of an [Engine].
type Options struct {
	Store Planner
	// Dir is the folder of the store. The engine can reach the folders data and hot below it, and its own temporary one.
	Dir string
	// TempDir is where a folder for intermediate results is made, the system's when empty.
	TempDir string
	// Memory is how many bytes all questions together may take, 1 GiB when 0; see [duckdb.Options].
	Memory int64
	// TempBytes is how much the folder for intermediate results may hold, 8 GiB when 0.
	TempBytes int64
	// Threads is how many threads questions take together, by default one for each processor.
	Threads int
	// Timeout ends a question, one minute when 0. For [Engine.SQL] it includes the reading of the rows.
	Timeout time.Duration
	// MaxRows is the most rows that SQL gives, 100 000 when 0.
	MaxRows int64
	// Concurrent is how many questions are answered at once, 4 when 0. Eight times as many wait, for Wait at most, 5 s
	// when 0; the others get a [*BusyError].
	Concurrent int
	Wait       time.Duration
	// TableName is another name for cloudtrail_logs in SQL.
	TableName string
	// RenewAfter is after how many new files the engine behind is replaced, 250 when 0: it keeps about 150 KB of each file
	// that it has ever read, hot ones that went within minutes too. It is a matter of 50 ms.
	RenewAfter int
	Log        *slog.Logger // nothing is logged when nil
}

// Engine answers questions over a store. It is safe for concurrent use; Close ends it.
type Engine struct {
	opts    Options
	slots   chan struct{}
	waiting atomic.Int64
	asked   atomic.Int64
	refused atomic.Int64
	renewed atomic.Int64
	timeout atomic.Int64 // nanoseconds
	maxRows atomic.Int64

	planner *duckdb.LakePlanner

	mu    sync.Mutex // guards what follows
	known map[string]segment.Known
	duck  *engine
	files int // new ones since duck was opened
}

// engine is a [duckdb.Engine] and those who use it.
type engine struct {
	*duckdb.Engine
	uses int // guarded by Engine.mu; the last one closes
}

// Open starts an engine.
func Open(ctx context.Context, opts Options) (*Engine, error) {
	opts.Memory = cmp.Or(opts.Memory, 1<<30)
	opts.Threads = cmp.Or(opts.Threads, runtime.GOMAXPROCS(0))
	opts.Timeout = cmp.Or(opts.Timeout, time.Minute)
	opts.MaxRows = cmp.Or(opts.MaxRows, 100_000)
	opts.Concurrent = cmp.Or(opts.Concurrent, 4)
	opts.Wait = cmp.Or(opts.Wait, 5*time.Second)
	opts.RenewAfter = cmp.Or(opts.RenewAfter, 250)
	opts.Log = cmp.Or(opts.Log, slog.New(slog.DiscardHandler))
	dir, err := filepath.Abs(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the query engine: %w", err)
	}
	opts.Dir = dir
	e := &Engine{opts: opts, slots: make(chan struct{}, opts.Concurrent), known: map[string]segment.Known{}}
	e.Configure(opts.Timeout, opts.MaxRows)
	if e.planner, err = duckdb.OpenLakePlanner(ctx, opts.TempDir); err != nil {
		return nil, err
	}
	if e.duck, err = e.open(ctx); err != nil {
		return nil, errors.Join(err, e.planner.Close())
	}
	return e, nil
}

func (e *Engine) open(ctx context.Context) (*engine, error) {
	d, err := duckdb.Open(ctx, duckdb.Options{
		Dirs: []string{filepath.Join(e.opts.Dir, "data"), filepath.Join(e.opts.Dir, "hot")}, TableName: e.opts.TableName,
		Threads: e.opts.Threads, Memory: e.opts.Memory, TempDir: e.opts.TempDir, TempBytes: e.opts.TempBytes, LakePlanner: e.planner,
	})
	if err != nil {
		return nil, err
	}
	return &engine{d, 1}, nil // Engine.duck
}

// use gives an engine until leave is called.
func (e *Engine) use() (d *engine, leave func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	d = e.duck
	d.uses++
	return d, func() { e.leave(d) }
}

func (e *Engine) leave(d *engine) {
	e.mu.Lock()
	d.uses--
	last := d.uses == 0
	e.mu.Unlock()
	if !last {
		return
	}
	if err := d.Close(); err != nil {
		e.opts.Log.Error("an engine of questions could not be closed", "error", err)
	}
}

// renew replaces an engine that has seen many files.
func (e *Engine) renew(ctx context.Context) {
	e.mu.Lock()
	due := e.files >= e.opts.RenewAfter
	if due {
		e.files = 0 // one renews
	}
	e.mu.Unlock()
	if !due {
		return
	}
	ctx = context.WithoutCancel(ctx)
	d, err := e.open(ctx)
	if err != nil {
		e.opts.Log.Error("another engine for questions could not be opened; the one before goes on", "error", err)
		return
	}
	e.mu.Lock()
	old := e.duck
	e.duck = d
	e.mu.Unlock()
	e.renewed.Add(1)
	e.leave(old)
}

// Configure changes how long a question may take and how many rows SQL gives, from the next question on.
func (e *Engine) Configure(timeout time.Duration, maxRows int64) {
	e.timeout.Store(int64(timeout))
	e.maxRows.Store(maxRows)
}

// Close ends the engine. No question may be running.
func (e *Engine) Close() error { return errors.Join(e.duck.Close(), e.planner.Close()) }

// Stats are figures of an [Engine].
type Stats struct {
	Asked   int64 // questions, those that were not answered included
	Refused int64 // of them, by a [BusyError]
	Running int
	Waiting int
	Renewed int64 // engines, see Options.RenewAfter
}

// Stats gives figures for metrics.
func (e *Engine) Stats() Stats {
	return Stats{Asked: e.asked.Load(), Refused: e.refused.Load(), Running: len(e.slots), Waiting: int(e.waiting.Load()), Renewed: e.renewed.Load()}
}

// asking is a question that is being answered. It has a place, and a lease of what the store is.
type asking struct {
	e       *Engine
	duck    *engine
	plan    *store.Plan
	query   *search.Query
	filter  Filter
	sets    []set
	damaged []store.Damage
	done    func()
}

// set is files of which the same is known.
type set struct {
	known segment.Known
	files []table.File // newest first
}

// ask prepares a question; asking.done must be called.
func (e *Engine) ask(ctx context.Context, f Filter) (context.Context, *asking, error) {
	return e.askFor(ctx, f, time.Duration(e.timeout.Load()))
}

// askFor is ask with a time limit.
func (e *Engine) askFor(ctx context.Context, f Filter, timeout time.Duration) (_ context.Context, _ *asking, err error) {
	e.asked.Add(1)
	q, err := search.Parse(f.Terms)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until) {
		return nil, nil, fmt.Errorf("%w: nothing is since %s and until %s", ErrInvalid, f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339))
	}
	if slices.ContainsFunc(slices.Concat(f.Accounts, f.Regions), func(s string) bool { return strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s) }) {
		return nil, nil, fmt.Errorf("%w: an account or Region is not text", ErrInvalid)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%w of %s", ErrTimeout, timeout))
	leave, err := e.enter(ctx)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	e.renew(ctx)
	duck, unuse := e.use()
	a := &asking{e: e, duck: duck, query: q, filter: f, done: sync.OnceFunc(func() { unuse(); leave(); cancel() })}
	defer func() {
		if err != nil {
			a.done()
		}
	}()
	plan, err := e.opts.Store.Plan(ctx, store.Filter{Since: f.Since, Until: f.Until})
	if err != nil {
		return nil, nil, ended(ctx, err)
	}
	a.plan, a.done = plan, sync.OnceFunc(func() { plan.Release(); unuse(); leave(); cancel() })
	a.damaged = slices.Clone(plan.Damaged)
	if err := a.divide(ctx, plan.Files); err != nil {
		return nil, nil, ended(ctx, err)
	}
	return ctx, a, nil
}

// enter waits for a place.
func (e *Engine) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-e.slots }
	select {
	case e.slots <- struct{}{}:
		return leave, nil
	default:
	}
	if e.waiting.Add(1) > 8*int64(e.opts.Concurrent) {
		e.waiting.Add(-1)
		e.refused.Add(1)
		return nil, &BusyError{RetryAfter: e.opts.Wait}
	}
	defer e.waiting.Add(-1)
	timer := time.NewTimer(e.opts.Wait)
	defer timer.Stop()
	select {
	case e.slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C:
		e.refused.Add(1)
		return nil, &BusyError{RetryAfter: e.opts.Wait}
	}
}

// ended gives the reason why a question was ended, in place of what came of that.
func ended(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// divide puts files with plain texts, of which columns tell everything, apart from others. What is known of a file is read
// once.
func (a *asking) divide(ctx context.Context, files []table.File) error {
	known := make([]segment.Known, len(files))
	errs := make([]error, len(files))
	var group errgroup.Group
	group.SetLimit(a.e.opts.Threads)
	var missing []int
	a.e.mu.Lock()
	for i, f := range files {
		var ok bool
		if known[i], ok = a.e.known[f.Path]; !ok {
			missing = append(missing, i)
		}
	}
	a.e.files += len(missing)
	a.e.mu.Unlock()
	for _, i := range missing {
		group.Go(func() error {
			if ctx.Err() == nil {
				known[i], errs[i] = segment.Knows(files[i].Path)
			}
			return ctx.Err()
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	a.e.mu.Lock()
	if len(a.e.known)+len(missing) > 2*len(files)+10_000 {
		clear(a.e.known) // of files that are gone, mostly
	}
	for _, i := range missing {
		if errs[i] == nil {
			a.e.known[files[i].Path] = known[i]
		}
	}
	a.e.mu.Unlock()
	plain, odd := set{known: segment.Known{PlainTexts: true, SmallIDs: true, CapitalKeys: true}}, set{}
	for i, f := range files {
		switch {
		case errs[i] != nil:
			a.leaveOut(f, errs[i])
		case known[i].PlainTexts:
			plain.files = append(plain.files, f)
			plain.known.SmallIDs = plain.known.SmallIDs && known[i].SmallIDs
			plain.known.CapitalKeys = plain.known.CapitalKeys && known[i].CapitalKeys
		default:
			odd.files = append(odd.files, f)
		}
	}
	for _, s := range []set{plain, odd} {
		if len(s.files) > 0 {
			slices.SortStableFunc(s.files, func(a, b table.File) int { return b.MaxTime.Compare(a.MaxTime) })
			a.sets = append(a.sets, s)
		}
	}
	return nil
}

func (a *asking) leaveOut(f table.File, err error) {
	a.e.opts.Log.Error("a damaged file was left out of an answer", "file", f.Path, "error", err)
	day := ""
	if !f.Day.IsZero() {
		day = f.Day.Format(time.DateOnly)
	}
	a.damaged = append(a.damaged, store.Damage{File: f.Name, Day: day, Rows: f.Rows, What: err.Error()})
}

// mostDamaged is how many files are found damaged while a question is answered before it is given up.
const mostDamaged = 20

// whole answers a question, and again without the files that turn out to be damaged.
func (a *asking) whole(ctx context.Context, answer func() error) error {
	for range mostDamaged {
		err := answer()
		var damaged *duckdb.FileError
		if ctx.Err() != nil || !errors.As(err, &damaged) || !a.drop(damaged) {
			return ended(ctx, err)
		}
	}
	return fmt.Errorf("more than %d files are damaged: %s and others", mostDamaged, a.damaged[len(a.damaged)-1].File)
}

func (a *asking) drop(d *duckdb.FileError) bool {
	for i := range a.sets {
		s := &a.sets[i]
		at := slices.IndexFunc(s.files, func(f table.File) bool { return f.Path == d.File })
		if at >= 0 {
			a.leaveOut(s.files[at], d.Err)
			s.files = slices.Delete(s.files, at, at+1)
			return true
		}
	}
	return false
}

// only leaves the files that may have an event.
func (a *asking) only(ctx context.Context, id string) error {
	has, err := a.plan.WithEvent(ctx, id)
	if err != nil {
		return err
	}
	for i := range a.sets {
		a.sets[i].files = slices.DeleteFunc(a.sets[i].files, func(f table.File) bool {
			return !slices.ContainsFunc(has, func(h table.File) bool { return h.Path == f.Path })
		})
	}
	return nil
}

// files are those of all sets, newest first.
func (a *asking) files() (files []table.File) {
	for _, s := range a.sets {
		files = append(files, s.files...)
	}
	slices.SortStableFunc(files, func(a, b table.File) int { return b.MaxTime.Compare(a.MaxTime) })
	return files
}

// scope is what a query over files sees.
func (a *asking) scope(files []table.File) *duckdb.Scope {
	out := &duckdb.Scope{Since: a.filter.Since, Until: a.filter.Until, Accounts: a.filter.Accounts, Regions: a.filter.Regions}
	for _, f := range files {
		out.Files = append(out.Files, f.Path)
	}
	return out
}

// each asks SQL of the program's own and hands on the rows, whose values are valid during the call.
func (a *asking) each(ctx context.Context, sql string, scope *duckdb.Scope, fn func(row []duckdb.Value) error) (err error) {
	if len(scope.Files) == 0 {
		return nil
	}
	rows, err := a.duck.Query(ctx, sql, duckdb.QueryOptions{Scope: scope, Own: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		row, ok, err := rows.Next()
		if err != nil || !ok {
			return err
		}
		if err := fn(row); err != nil {
			return err
		}
	}
}
