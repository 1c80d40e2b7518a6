package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"spoor/internal/console"
	"spoor/internal/durable"
	"spoor/internal/query"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// openStore opens the store, which is made when it is missing, and lets it follow the journal and look after itself. A process
// without the role reads the store of another one, where it has its folder.
func (a *App) openStore(ctx context.Context) error {
	set := a.set.Load()
	log := a.log.With("part", "store")
	opts := store.Options{Log: log, Now: a.opts.Now}
	if !set.roles.store {
		a.reader = &reader{dir: set.dirs.store, opts: store.Options{ReadOnly: true, Log: log, Now: a.opts.Now}}
		a.started("store", func(context.Context) error { return a.reader.close() })
		return nil
	}
	s, err := store.Open(ctx, set.dirs.store, opts)
	if errors.Is(err, store.ErrNoStore) {
		log.Info("the store is made", slog.String("dir", set.dirs.store))
		s, err = store.Create(ctx, set.dirs.store, opts)
	}
	if err != nil {
		return a.blame("store.dir", err)
	}
	a.store = s
	a.started("store", func(context.Context) error { return s.Close() })
	o := set.live
	o.Log = log
	l, err := s.Follow(ctx, store.JournalFeed(a.journal), o)
	if err != nil {
		return a.blame("store.dir", err)
	}
	a.live = l
	a.started("store's following", func(context.Context) error { return l.Close() })
	a.background("store's follower", l.Run)
	m, err := s.Maintain(ctx, set.maintain)
	if err != nil {
		return fmt.Errorf("look after the store: %w", err)
	}
	a.maintenance = m
	a.background("store's maintenance", m.Run)
	return nil
}

// planner gives what questions are asked about.
func (a *App) planner() query.Planner {
	if a.store != nil {
		return a.store
	}
	return a.reader
}

// openQuery opens the engine for questions, where somebody can ask.
func (a *App) openQuery(ctx context.Context) error {
	set := a.set.Load()
	if !set.roles.api {
		return nil
	}
	if err := durable.MkdirAll(set.query.TempDir, 0o700); err != nil {
		return a.blame("data", err)
	}
	o := set.query
	o.Store, o.Dir, o.Log = a.planner(), set.dirs.store, a.log.With("part", "query")
	e, err := query.Open(ctx, o)
	if err != nil {
		return err
	}
	a.query = e
	a.started("questions", func(context.Context) error { return e.Close() })
	return nil
}

// reader reads the store that another process writes, once it is there.
type reader struct {
	dir  string
	opts store.Options

	mu sync.Mutex
	s  *store.Store // nil until it could be opened
}

func (r *reader) store(ctx context.Context) (*store.Store, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s != nil {
		return r.s, nil
	}
	s, err := store.Open(ctx, r.dir, r.opts)
	if errors.Is(err, store.ErrNoStore) {
		return nil, fmt.Errorf("%w: the process with the role store has not made it yet: %w", console.ErrUnavailable, err)
	}
	if err != nil {
		return nil, err
	}
	r.s = s
	return s, nil
}

// Plan implements [query.Planner].
func (r *reader) Plan(ctx context.Context, f store.Filter) (*store.Plan, error) {
	s, err := r.store(ctx)
	if err != nil {
		return nil, err
	}
	return s.Plan(ctx, f)
}

func (r *reader) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.s == nil {
		return nil
	}
	return r.s.Close()
}

// asker is the engine as [console.Asker].
type asker struct{ *query.Engine }

// SQL implements [console.Asker].
func (a asker) SQL(ctx context.Context, q query.SQL) (console.Rows, error) {
	rows, err := a.Engine.SQL(ctx, q)
	if err != nil {
		return nil, err
	}
	return answer{rows}, nil
}

// Fields implements [console.Asker].
func (asker) Fields(context.Context) ([]query.Field, error) { return query.Fields(), nil }

// answer is the rows of a question as [console.Rows].
type answer struct{ rows *query.Rows }

// Write implements [console.Rows].
func (r answer) Write(w io.Writer, format string, width int) (duckdb.Written, error) {
	return r.rows.Write(w, format, width, r.rows.Limit)
}

// Damaged implements [console.Rows].
func (r answer) Damaged() []store.Damage { return r.rows.Damaged }

// Close implements [console.Rows].
func (r answer) Close() error { return r.rows.Close() }

// keeper is the store as [console.StoreKeeper].
type keeper struct{ a *App }

func (k keeper) store(ctx context.Context) (*store.Store, error) {
	if k.a.store != nil {
		return k.a.store, nil
	}
	return k.a.reader.store(ctx)
}

// writer is the store where this process may change it.
func (k keeper) writer() (*store.Store, error) {
	if k.a.store == nil {
		return nil, fmt.Errorf("%w: another process has the role that changes the store", console.ErrUnavailable)
	}
	return k.a.store, nil
}

// Status implements [console.StoreKeeper].
func (k keeper) Status(ctx context.Context) (*store.Status, error) {
	s, err := k.store(ctx)
	if err != nil {
		return nil, err
	}
	return s.Status(ctx, false)
}

// following is how a store follows the journal.
type following struct {
	Journal       string    `json:"journal"` // its identity
	Waiting       int64     `json:"waitingRows"`
	Unsearchable  float64   `json:"unsearchableSeconds"` // since the oldest event was accepted that is not in answers
	Taken         uint64    `json:"takenSequence"`
	Published     uint64    `json:"publishedSequence"` // in answers
	Committed     uint64    `json:"committedSequence"` // in data files
	Full          bool      `json:"full"`
	Records       uint64    `json:"records"`
	Duplicates    uint64    `json:"duplicates"`
	Rejected      uint64    `json:"rejected"`
	Lost          uint64    `json:"lostSequences"`
	Flushes       uint64    `json:"flushes"`
	LastFlush     time.Time `json:"lastFlush,omitzero"`
	LastFlushTook float64   `json:"lastFlushSeconds"`
	Failures      uint64    `json:"failures"`
	LastError     string    `json:"lastError,omitempty"`
	// Maintenance is how the store is looked after.
	Maintenance store.MaintainStats `json:"maintenance"`
}

// Live implements [console.StoreKeeper].
func (k keeper) Live(context.Context) (any, error) {
	if k.a.live == nil {
		return nil, nil
	}
	l := k.a.live.Stats()
	return following{l.Journal, l.Waiting, l.Oldest.Seconds(), l.Taken, l.Published, l.Committed, l.Full, l.Records, l.Duplicates, l.Rejected, l.Lost,
		l.Flushes, l.LastFlush, l.FlushTime.Seconds(), l.Failures, l.LastError, k.a.maintenance.Stats()}, nil
}

// Compact implements [console.StoreKeeper].
func (k keeper) Compact(ctx context.Context) (*store.CompactResult, error) {
	if _, err := k.writer(); err != nil {
		return nil, err
	}
	return k.a.maintenance.Compact(ctx)
}

// Expire implements [console.StoreKeeper].
func (k keeper) Expire(ctx context.Context) (*console.Expired, error) {
	if _, err := k.writer(); err != nil {
		return nil, err
	}
	e, err := k.a.maintenance.Expire(ctx)
	if err != nil {
		return nil, err
	}
	return &console.Expired{Retained: e.Retained, Expired: e.Expired}, nil
}

// TableMetadata implements [restcatalog.Store].
func (k keeper) TableMetadata(ctx context.Context) (store.TableMetadata, error) {
	s, err := k.store(ctx)
	if err != nil {
		return store.TableMetadata{}, err
	}
	return s.TableMetadata(ctx)
}

// Holds implements [console.StoreKeeper].
func (k keeper) Holds(ctx context.Context) ([]store.Hold, error) {
	s, err := k.store(ctx)
	if err != nil {
		return nil, err
	}
	return s.Holds(ctx)
}

// Hold implements [console.StoreKeeper].
func (k keeper) Hold(ctx context.Context, h store.Hold) error {
	s, err := k.writer()
	if err != nil {
		return err
	}
	return s.Hold(ctx, h)
}

// Release implements [console.StoreKeeper].
func (k keeper) Release(ctx context.Context, name string) error {
	s, err := k.writer()
	if err != nil {
		return err
	}
	return s.Release(ctx, name)
}

// storeState says how far the store is behind the journal.
func (a *App) storeState() (detail string, err error) {
	st := a.live.Stats()
	detail = fmt.Sprintf("sequence %d in answers, %d in data files", st.Published, st.Committed)
	switch {
	case st.Published < a.atStart:
		err = fmt.Errorf("events up to sequence %d of the journal are in answers; those up to %d, which were there at the start, are still being read", st.Published, a.atStart)
	case st.Oldest > storeLate:
		err = fmt.Errorf("an event that was accepted %s ago is not in answers yet", st.Oldest.Round(time.Second))
		if st.LastError != "" {
			err = fmt.Errorf("%w: %s", err, st.LastError)
		}
	}
	return detail, err
}

// storeLate is how old an event may be that is not in answers, before the service says that it is not ready.
const storeLate = 30 * time.Second
