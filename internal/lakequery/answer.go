package lakequery

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// find gives a query that is there for its owner. The caller holds the lock.
func (m *Manager) find(o Owner, id string) (*entry, error) {
	e := m.byID[id]
	if e == nil || e.gone || e.q.Owner != o || m.old(e, time.Now()) {
		return nil, ErrNotFound
	}
	return e, nil
}

// tell gives what is known at the moment. The caller holds the lock.
func (e *entry) tell() Query {
	q := e.q
	if q.Status == Running {
		q.Took = time.Since(e.began)
	}
	return q
}

// open reads the head and the end of a query's file; the caller closes it.
func (e *entry) open() (*reader, *os.File, error) {
	f, err := os.Open(e.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, ErrNotFound // it was removed meanwhile
	}
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		var r *reader
		if r, err = openReader(f, info.Size()); err == nil {
			return r, f, nil
		}
	}
	return nil, nil, errors.Join(fmt.Errorf("read %s: %w", e.path, err), f.Close())
}

// Describe gives a query.
func (m *Manager) Describe(_ context.Context, o Owner, id string) (Query, error) {
	m.mu.Lock()
	e, err := m.find(o, id)
	if err != nil {
		m.mu.Unlock()
		return Query{}, err
	}
	q := e.tell()
	m.mu.Unlock()
	r, f, err := e.open()
	if err != nil {
		return Query{}, err
	}
	q.Statement = r.head.Statement
	return q, f.Close()
}

// Stores gives the ids of the event data stores that a query asks; none for a query that is not there.
func (m *Manager) Stores(o Owner, id string) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, err := m.find(o, id)
	if err != nil {
		return nil
	}
	return e.q.Stores
}

// Latest gives the query that was started last by an alias.
func (m *Manager) Latest(ctx context.Context, o Owner, alias string) (Query, error) {
	m.mu.Lock()
	id := ""
	for _, e := range slices.Backward(m.all) {
		if e.q.Owner == o && !e.gone && strings.EqualFold(e.q.Alias, alias) {
			id = e.q.ID
			break
		}
	}
	m.mu.Unlock()
	return m.Describe(ctx, o, id)
}

// Results gives a page of at most limit rows, [MaxPage] when 0, of the query's result; fewer where they are large. The token is
// Next of the page before, whose limit was the same or 0; "" for the first page. It waits for a query that has not ended, for
// Options.Wait or until ctx ends, and then says how far that is.
func (m *Manager) Results(ctx context.Context, o Owner, id string, limit int, token string) (Page, error) {
	m.mu.Lock()
	e, err := m.find(o, id)
	if err != nil {
		m.mu.Unlock()
		return Page{}, err
	}
	if !e.q.Status.Ended() && m.o.Wait > 0 {
		m.await(ctx, e.done)
	}
	p := Page{Query: e.tell()}
	m.mu.Unlock()
	var from int64
	if token != "" {
		if limit, from, err = m.openRowsToken(o, id, limit, token); err != nil {
			return Page{}, err
		}
	}
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	if p.Query.Status != Finished {
		return p, nil
	}
	r, f, err := e.open()
	if err != nil {
		return Page{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	if r.end == nil {
		return Page{}, fmt.Errorf("read %s: %w", e.path, &damage{"its end is damaged", false})
	}
	p.Columns = r.end.Columns
	if p.Rows, err = r.rows(m.codec, from, limit, pageBytes); err != nil {
		return Page{}, fmt.Errorf("read %s: %w", e.path, err)
	}
	if next := from + int64(len(p.Rows)); next < r.end.Rows {
		p.Next = m.rowsToken(o, id, limit, next)
	}
	return p, nil
}

// await waits until a query has ended, at most Options.Wait. The caller holds the lock, which is free meanwhile.
func (m *Manager) await(ctx context.Context, done <-chan struct{}) {
	m.mu.Unlock()
	defer m.mu.Lock()
	timer := time.NewTimer(m.o.Wait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	case <-m.ctx.Done():
	}
}

// List gives queries, newest first, and the token of the next page.
func (m *Manager) List(_ context.Context, f Filter) (out []Query, next string, err error) {
	at := place{created: 1<<63 - 1}
	if f.Token != "" {
		if f.Limit, at, err = m.openListToken(f); err != nil {
			return nil, "", err
		}
	}
	if f.Limit <= 0 || f.Limit > MaxPage {
		f.Limit = MaxPage
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for _, e := range slices.Backward(m.all) {
		created := e.q.Created.UnixMilli()
		if m.old(e, now) {
			break
		}
		switch {
		case e.gone, e.q.Owner != f.Owner, created > at.created, created == at.created && e.q.ID >= at.id,
			!f.Since.IsZero() && e.q.Created.Before(f.Since), !f.Until.IsZero() && e.q.Created.After(f.Until),
			f.Status != "" && e.q.Status != f.Status, f.Store != "" && !slices.Contains(e.q.Stores, f.Store):
			continue
		}
		if len(out) == f.Limit {
			last := out[len(out)-1]
			return out, m.listToken(f, place{last.Created.UnixMilli(), last.ID}), nil
		}
		out = append(out, e.tell())
	}
	return out, "", nil
}

// Cancel ends a query, and waits until the engine has let go of it. One that has ended gives [ErrEnded].
func (m *Manager) Cancel(ctx context.Context, o Owner, id string) (Query, error) {
	m.mu.Lock()
	e, err := m.find(o, id)
	if err == nil && e.q.Status.Ended() {
		err = ErrEnded
	}
	if err == nil && m.closed {
		err = ErrClosed
	}
	if err != nil {
		m.mu.Unlock()
		return Query{}, err
	}
	m.end(e, errCancelled)
	select {
	case <-e.done:
	case <-ctx.Done():
		return Query{}, fmt.Errorf("wait for the end of a query: %w", context.Cause(ctx))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.q.Status != Cancelled {
		return Query{}, ErrEnded // it was faster
	}
	return e.tell(), nil
}

// end ends a query that has not ended. The caller holds the lock, which is given back.
func (m *Manager) end(e *entry, cause error) {
	i := slices.Index(m.queue, e)
	switch {
	case i >= 0:
		m.queue = slices.Delete(m.queue, i, i+1)
		m.tasks.Add(1)
		m.mu.Unlock()
		m.settle(e, end{Status: Cancelled})
		m.tasks.Done()
		return
	case e.cancel != nil:
		e.cancel(cause)
	}
	m.mu.Unlock()
}

// Withdraw takes a [Manager.Start] back: the query ends, and is forgotten.
func (m *Manager) Withdraw(ctx context.Context, id string) error {
	m.mu.Lock()
	e := m.byID[id]
	if e == nil || m.closed {
		m.mu.Unlock()
		return nil
	}
	e.gone = true
	if e.q.Status.Ended() {
		m.forget(e)
		m.mu.Unlock()
		return nil
	}
	m.end(e, errCancelled)
	select {
	case <-e.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of a query: %w", context.Cause(ctx))
	}
}

// Again takes a [Manager.Cancel] back: the query runs once more.
func (m *Manager) Again(ctx context.Context, id string) error {
	m.mu.Lock()
	e := m.byID[id]
	if e == nil || e.q.Status != Cancelled || m.closed {
		m.mu.Unlock()
		return ErrNotFound
	}
	owner := e.q.Owner
	m.tasks.Add(1)
	defer m.tasks.Done()
	m.mu.Unlock()
	r, f, err := e.open()
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	c, err := m.compile(ctx, Spec{Owner: owner, Statement: r.head.Statement, Alias: r.head.Alias, Params: r.head.Params})
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.q.Status != Cancelled || m.byID[id] != e || m.closed {
		return ErrNotFound
	}
	w, err := reopenFile(e.path, e.start, m.codec, func(n int64) error { return m.grow(e, n) })
	if err != nil {
		return fmt.Errorf("run a query once more: %w", err)
	}
	e.w, e.sql, e.done = w, c.sql, make(chan struct{})
	e.q.Status, e.q.Error, e.q.Took, e.began = Queued, "", 0, time.Time{}
	m.active[owner.Account]++
	m.enqueue(e)
	return nil
}
