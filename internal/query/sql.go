package query

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// Rows is the result of [Engine.SQL]. It is for one goroutine; Close must be called, and lets go of the files.
type Rows struct {
	*duckdb.Rows
	// Limit is the most rows that may be given; there may be one more, by which the reader knows that there are more.
	Limit   int64
	Damaged []store.Damage // files that were left out; the answer may miss their events

	done func()
}

// Close ends the question.
func (r *Rows) Close() error {
	defer r.done()
	return r.Rows.Close()
}

// options are those of a question, whose Query is then there.
func (q *SQL) options() (opts duckdb.QueryOptions, err error) {
	opts.DataStores, opts.Accepted = q.DataStores, q.Accepted
	switch {
	case q.Query != "" && q.Ready != "":
		return opts, fmt.Errorf("%w: either SQL or the name of a ready query, not both", ErrInvalid)
	case q.Ready != "" && q.DataStores != nil:
		return opts, fmt.Errorf("%w: ready queries are not in the Lake dialect", ErrInvalid)
	case q.Ready != "":
		r, ok := duckdb.FindReady(q.Ready)
		if !ok {
			return opts, fmt.Errorf("%w: there is no ready query %q", ErrInvalid, q.Ready)
		}
		if opts.Params, err = r.Bind(q.Params); err != nil {
			return opts, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		q.Query = r.SQL
	default:
		for _, name := range slices.Sorted(maps.Keys(q.Params)) {
			opts.Params = append(opts.Params, duckdb.Param{Name: name, Value: q.Params[name]})
		}
	}
	return opts, nil
}

// Check tells whether SQL can be asked, without asking it. It takes no place, and reads no file of the store. Errors are
// those of [Engine.SQL].
func (e *Engine) Check(ctx context.Context, q SQL) error {
	opts, err := q.options()
	if err != nil {
		return err
	}
	duck, leave := e.use()
	defer leave()
	opts.Scope = &duckdb.Scope{}
	if err := duck.CheckQuery(ctx, q.Query, opts); err != nil {
		return invalid(err)
	}
	return nil
}

// SQL asks in SQL. What may not be asked gives a [*RefusedError] or [ErrInvalid].
func (e *Engine) SQL(ctx context.Context, q SQL) (_ *Rows, err error) {
	opts, err := q.options()
	if err != nil {
		return nil, err
	}
	if most := e.maxRows.Load(); q.Limit <= 0 || q.Limit > most {
		q.Limit = most
	}
	opts.Limit = q.Limit + 1
	if q.Whole {
		q.Limit, opts.Limit = math.MaxInt64, 0
	}
	ctx, a, err := e.askFor(ctx, Filter{Since: q.Since, Until: q.Until, Accounts: q.Accounts, Regions: q.Regions}, cmp.Or(q.Timeout, time.Duration(e.timeout.Load())))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.done()
		}
	}()
	var rows *duckdb.Rows
	if err := a.whole(ctx, func() error {
		files := a.files()
		opts.Scope = a.scope(files)
		if q.DataStores != nil {
			opts.Scope.Facts = make(map[string]duckdb.FileFacts, len(files))
			for _, f := range files {
				opts.Scope.Facts[f.Path] = duckdb.FileFacts{Rows: f.Rows, Bytes: f.Bytes, MinTime: f.MinTime, MaxTime: f.MaxTime}
			}
		}
		rows, err = a.duck.Query(ctx, q.Query, opts)
		return err
	}); err != nil {
		return nil, invalid(err)
	}
	return &Rows{Rows: rows, Limit: q.Limit, Damaged: a.damaged, done: a.done}, nil
}

// invalid tells mistakes of the caller apart from failures: what the engine says about a query that it could not read is the
// caller's, as long as nothing else was the matter.
func invalid(err error) error {
	var refused *RefusedError
	var damaged *duckdb.FileError
	switch {
	case errors.As(err, &refused), errors.As(err, &damaged), errors.Is(err, ErrTimeout), errors.Is(err, ErrMemory), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}
