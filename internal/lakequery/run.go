package lakequery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"spoor/internal/query"
)

// Start checks a query and starts it. It is durable when Start returns. Errors: [StatementError], [ParameterError], those of
// [Tables], [ErrTooMany], [ErrClosed].
func (m *Manager) Start(ctx context.Context, s Spec) (_ Query, err error) {
	if err := m.reserve(s.Owner.Account); err != nil {
		return Query{}, err
	}
	defer m.tasks.Done()
	defer func() {
		if err != nil {
			m.mu.Lock()
			m.leave(s.Owner.Account)
			m.mu.Unlock()
		}
	}()
	c, err := m.compile(ctx, s)
	if err != nil {
		return Query{}, err
	}
	h := head{
		ID: uuid.NewString(), Account: s.Owner.Account, Region: s.Owner.Region, By: s.By, Statement: c.statement, Alias: c.alias, Params: s.Params,
		Stores: c.stores, Created: time.Now().UTC().Truncate(time.Millisecond),
	}
	e := &entry{
		q:    Query{ID: h.ID, Owner: s.Owner, By: s.By, Alias: c.alias, Stores: c.stores, Created: h.Created, Status: Queued},
		path: filepath.Join(m.dir, h.ID+suffix), done: make(chan struct{}), sql: c.sql,
	}
	// The disk takes as long as the engine does: one does not wait for the other.
	e.ahead = m.ask(e)
	checked := make(chan error, 1)
	go func() { checked <- m.check(ctx, e) }()
	w, err := createFile(m.dir, h, m.codec, func(n int64) error { return m.grow(e, n) })
	if err != nil {
		err = fmt.Errorf("start a query: %w", err)
	}
	if no := <-checked; no != nil {
		err = refused(c.statement, no)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil && m.closed {
		err = ErrClosed
	}
	if err != nil {
		m.charge(e, 0)
		if e.ahead != nil {
			e.cancel(err)
			m.mu.Unlock()
			<-e.ahead.answered
			if rows := e.ahead.rows; rows != nil {
				err = errors.Join(err, rows.Close())
			}
			e.ahead.done()
			m.mu.Lock()
			m.ended(e)
		}
		if w != nil {
			if rerr := errors.Join(w.close(), os.Remove(e.path)); rerr != nil {
				m.o.Log.Error("the file of a query that was refused could not be removed", "file", e.path, "error", rerr)
			}
		}
		return Query{}, err
	}
	e.w, e.start = w, w.start
	m.byID[h.ID] = e
	i, _ := slices.BinarySearchFunc(m.all, e, compare)
	m.all = slices.Insert(m.all, i, e)
	m.counts.Started++
	m.expire(time.Now())
	if e.ahead != nil {
		m.tasks.Add(1)
		go m.run(e.ahead.ctx, e)
	} else {
		m.enqueue(e)
	}
	q := e.q
	q.Statement = h.Statement
	return q, nil
}

// ask lets a query that is being started run at once, when no other waits. Without room it returns nil.
func (m *Manager) ask(e *entry) *ahead {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || m.running >= m.o.Running || len(m.queue) > 0 {
		return nil
	}
	a := &ahead{ctx: m.begin(e), accepted: make(chan struct{}), answered: make(chan struct{})}
	a.timed, a.done = context.WithTimeoutCause(a.ctx, m.o.Timeout, errTimedOut)
	sql := m.question(e)
	sql.Accepted = sync.OnceFunc(func() { close(a.accepted) })
	m.tasks.Add(1)
	go func() {
		defer m.tasks.Done()
		defer close(a.answered)
		a.rows, a.err = m.o.Engine.SQL(a.timed, sql)
	}()
	return a
}

// check tells whether a query may be asked. What else keeps it from its answer is for later.
func (m *Manager) check(ctx context.Context, e *entry) error {
	if a := e.ahead; a != nil {
		select {
		case <-a.accepted:
			return nil
		case <-a.answered:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case <-a.accepted: // what failed is the answer
			return nil
		default:
		}
		var no *query.RefusedError
		if a.err == nil || errors.As(a.err, &no) || errors.Is(a.err, query.ErrInvalid) {
			return a.err
		}
	}
	return m.o.Engine.Check(ctx, e.sql)
}

// question is what the engine is asked for a query.
func (m *Manager) question(e *entry) query.SQL {
	sql := e.sql
	sql.Timeout, sql.Whole = m.o.Timeout, true
	return sql
}

// begin counts a query as running, and gives the context that it runs in. The caller holds the lock.
func (m *Manager) begin(e *entry) context.Context {
	m.running++
	m.busy[e.q.Owner.Account]++
	ctx, cancel := context.WithCancelCause(m.ctx)
	e.cancel, e.q.Status, e.began = cancel, Running, time.Now()
	return ctx
}

// ended takes back what begin counted, and lets others run. The caller holds the lock.
func (m *Manager) ended(e *entry) {
	m.running--
	account := e.q.Owner.Account
	if m.busy[account]--; m.busy[account] == 0 {
		delete(m.busy, account)
	}
	if !m.closed {
		m.schedule()
	}
}

// enqueue lets a query run when it is its turn. The caller holds the lock.
func (m *Manager) enqueue(e *entry) {
	m.queue = append(m.queue, e)
	m.schedule()
}

// schedule starts what may run: of the accounts with the fewest queries that run, the query that has waited the longest. The
// caller holds the lock.
func (m *Manager) schedule() {
	for m.running < m.o.Running && len(m.queue) > 0 {
		best := 0
		for i, e := range m.queue {
			if m.busy[e.q.Owner.Account] < m.busy[m.queue[best].q.Owner.Account] {
				best = i
			}
		}
		e := m.queue[best]
		m.queue = slices.Delete(m.queue, best, best+1)
		m.tasks.Add(1)
		go m.run(m.begin(e), e)
	}
}

// run takes a query to its end.
func (m *Manager) run(ctx context.Context, e *entry) {
	defer m.tasks.Done()
	defer e.cancel(nil)
	x, err := m.answer(ctx, e)
	for busy := new(query.BusyError); errors.As(err, &busy) && ctx.Err() == nil; {
		m.wait(ctx, e, max(busy.RetryAfter, busyWait))
		x, err = m.answer(ctx, e)
	}
	cause := context.Cause(ctx)
	switch {
	case err == nil:
		x.Status = Finished
	case errors.Is(cause, errCancelled):
		x.Status = Cancelled
	case errors.Is(err, errTimedOut), errors.Is(err, query.ErrTimeout):
		x.Status, x.Error = TimedOut, errTimedOut.Error()
	case cause != nil:
		x.Status, x.Error = Failed, cause.Error()
	default:
		x.Status, x.Error = Failed, oneLine(err.Error())
	}
	m.settle(e, x)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ended(e)
}

// wait is for an engine that has no room.
func (m *Manager) wait(ctx context.Context, e *entry, d time.Duration) {
	m.mu.Lock()
	e.q.Status = Queued
	m.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	m.mu.Lock()
	e.q.Status, e.began = Running, time.Now()
	m.mu.Unlock()
}

// answer asks the engine, and writes what it says. Rows of an answer that fails stay in the file until that ends.
func (m *Manager) answer(ctx context.Context, e *entry) (x end, err error) {
	ahead := e.ahead
	e.ahead = nil
	var cancel context.CancelFunc
	if ahead != nil {
		ctx, cancel = ahead.timed, ahead.done
	} else {
		ctx, cancel = context.WithTimeoutCause(ctx, m.o.Timeout, errTimedOut)
	}
	defer cancel()
	defer func() {
		if err != nil && ctx.Err() != nil {
			err = context.Cause(ctx)
		}
	}()
	var rows Rows
	if ahead != nil {
		<-ahead.answered
		rows, err = ahead.rows, ahead.err
	} else {
		rows, err = m.o.Engine.SQL(ctx, m.question(e))
	}
	if err != nil {
		return x, err
	}
	defer func() {
		if cerr := rows.Close(); cerr != nil {
			m.o.Log.Warn("a query could not be ended", "query", e.q.ID, "error", cerr)
		}
	}()
	columns := rows.Columns()
	if len(columns) == 0 || len(columns) > maxColumns {
		return x, fmt.Errorf("the result has %d columns; there may be 1 to %d", len(columns), maxColumns)
	}
	for _, c := range columns {
		x.Columns = append(x.Columns, c.Name)
	}
	for n := 0; ; n++ {
		if n%1000 == 0 && ctx.Err() != nil {
			return x, context.Cause(ctx)
		}
		values, ok, err := rows.Next()
		if err != nil {
			return x, err
		}
		if !ok {
			break
		}
		if err := e.w.row(values); err != nil {
			return x, fmt.Errorf("%w: %w", errKept, err)
		}
	}
	x.Scanned, x.Bytes = rows.Scanned()
	x.Error = missing(rows.Damaged())
	return x, nil
}

// settle ends a query whose file is the caller's, in its file and for all who ask. A Finished one that cannot be kept fails.
func (m *Manager) settle(e *entry, x end) {
	now := time.Now().UTC()
	x.Ended = now
	if !e.began.IsZero() {
		x.Millis = now.Sub(e.began).Milliseconds()
	}
	var err error
	if x.Status == Finished {
		if err = e.w.finish(x); err != nil {
			x.Status, x.Error = Failed, oneLine(fmt.Sprintf("%v: %v", errKept, err))
		}
		x.Rows = e.w.total
	}
	if x.Status != Finished {
		x.Columns, x.Rows = nil, 0
		if err = e.w.discard(); err == nil {
			err = e.w.finish(x)
		}
		if err != nil { // it will be found without an end, and failed
			m.o.Log.Error("the end of a query could not be written", "query", e.q.ID, "status", x.Status, "error", err)
		}
	}
	size := max(e.w.size, fileUnit)
	if err := e.w.close(); err != nil {
		m.o.Log.Error("the file of a query could not be closed", "query", e.q.ID, "error", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	e.set(x)
	m.charge(e, size)
	e.w, e.sql, e.cancel = nil, query.SQL{}, nil
	m.leave(e.q.Owner.Account)
	m.counts.Ended++
	if x.Status == Failed || x.Status == TimedOut {
		m.counts.Failed++
	}
	if e.gone {
		m.forget(e)
	}
	close(e.done)
}
