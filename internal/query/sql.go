package query

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

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

// SQL asks in SQL. What may not be asked gives a [*RefusedError] or [ErrInvalid].
func (e *Engine) SQL(ctx context.Context, q SQL) (_ *Rows, err error) {
	opts := duckdb.QueryOptions{}
	switch {
	case q.Query != "" && q.Ready != "":
		return nil, fmt.Errorf("%w: either SQL or the name of a ready query, not both", ErrInvalid)
	case q.Ready != "":
		r, ok := duckdb.FindReady(q.Ready)
		if !ok {
			return nil, fmt.Errorf("%w: there is no ready query %q", ErrInvalid, q.Ready)
		}
		if opts.Params, err = r.Bind(q.Params); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		q.Query = r.SQL
	default:
		for _, name := range slices.Sorted(maps.Keys(q.Params)) {
			opts.Params = append(opts.Params, duckdb.Param{Name: name, Value: q.Params[name]})
		}
	}
	if most := e.maxRows.Load(); q.Limit <= 0 || q.Limit > most {
		q.Limit = most
	}
	ctx, a, err := e.ask(ctx, Filter{Since: q.Since, Until: q.Until, Accounts: q.Accounts, Regions: q.Regions})
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
		opts.Scope, opts.Limit = a.scope(a.files()), q.Limit+1
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
