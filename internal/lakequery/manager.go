package lakequery

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"spoor/internal/durable"
	"spoor/internal/query"
)

const (
	lockName  = "lock"
	keyName   = "key"
	keySize   = 32
	fileUnit  = 4096    // what a file takes at least, for the bound of all
	pageBytes = 8 << 20 // of the values of a page, but for a row that has more
	busyWait  = time.Second
)

// Manager runs queries. It is safe for concurrent use.
type Manager struct {
	o     Options
	dir   string
	lock  *durable.Lock
	key   []byte
	codec *codec
	ctx   context.Context // of queries; ends with Close
	stop  context.CancelCauseFunc
	tasks sync.WaitGroup // of goroutines, and of calls that write

	mu      sync.Mutex // guards what follows, and the fields of entries
	closed  bool
	byID    map[string]*entry
	all     []*entry // in the order of their start
	queue   []*entry
	active  map[string]int // queries that have not ended, or are being started, by account
	busy    map[string]int // queries that run, by account
	running int
	size    int64            // bytes of all files
	sizes   map[string]int64 // of them, by account
	counts  Stats
}

// entry is a query.
type entry struct {
	q      Query // without Statement, which is in the file
	path   string
	start  int64 // where the head ends
	size   int64 // that counts for the bounds
	began  time.Time
	cancel context.CancelCauseFunc // nil but while it runs
	done   chan struct{}           // closed when it has ended
	gone   bool                    // it is to be forgotten when it has ended

	// Of the one who has taken it out of the queue.
	sql   query.SQL
	w     *writer
	ahead *ahead // the first question, when it was asked already
}

// ahead is a question that was asked before its query is known to be one: the engine then says whether it is, and the query
// need not be planned twice.
type ahead struct {
	ctx      context.Context
	timed    context.Context // ctx with the time limit
	done     context.CancelFunc
	accepted chan struct{} // closed when the engine takes the question
	answered chan struct{} // closed when what follows is there
	rows     Rows
	err      error
}

// Why queries end, as causes of contexts.
var (
	errCancelled = errors.New("the query was cancelled")
	errStopped   = errors.New("the service was stopped while the query was running")
	errTimedOut  = errors.New("the query took longer than its time limit")
	errKept      = errors.New("the result cannot be kept")
)

// interrupted is what is said of a query that has no end.
const interrupted = "the service ended while the query was queued or running"

// Open reads the queries of a folder, which is made when it is missing, and takes it until [Manager.Close].
func Open(ctx context.Context, dir string, o Options) (_ *Manager, err error) {
	o.Concurrent = cmp.Or(o.Concurrent, DefaultConcurrent)
	o.Running = cmp.Or(o.Running, DefaultRunning)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.Size = cmp.Or(o.Size, DefaultSize)
	o.QuerySize = cmp.Or(o.QuerySize, o.Size/4)
	o.Age = cmp.Or(o.Age, DefaultAge)
	o.Most = cmp.Or(o.Most, DefaultMost)
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.Engine == nil || o.Tables == nil {
		return nil, errors.New("queries of the lake need an engine and tables")
	}
	m := &Manager{o: o, dir: dir, byID: map[string]*entry{}, active: map[string]int{}, busy: map[string]int{}, sizes: map[string]int64{}}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of queries: %w", err)
	}
	if m.lock, err = durable.Acquire(ctx, filepath.Join(dir, lockName), 0o600, 0); err != nil {
		return nil, fmt.Errorf("take the folder of queries: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.lock.Release())
		}
	}()
	if err := durable.RemoveParts(dir); err != nil {
		return nil, fmt.Errorf("clean the folder of queries: %w", err)
	}
	if m.key, err = readKey(filepath.Join(dir, keyName)); err != nil {
		return nil, fmt.Errorf("the key of page tokens: %w", err)
	}
	if m.codec, err = newCodec(); err != nil {
		return nil, err
	}
	if err := m.load(ctx); err != nil {
		m.codec.close()
		return nil, fmt.Errorf("read the folder of queries: %w", err)
	}
	m.ctx, m.stop = context.WithCancelCause(context.WithoutCancel(ctx))
	m.tasks.Add(1)
	go m.sweep()
	return m, nil
}

// readKey gives the key that page tokens are proven with, which is made when it is missing.
func readKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, keySize)
		_, _ = rand.Read(key) // never fails
		err = durable.WriteFile(path, key, 0o600)
	}
	if err == nil && len(key) != keySize {
		err = fmt.Errorf("%s has %d bytes in place of %d; without it, the tokens that are out do not count any more", path, len(key), keySize)
	}
	return key, err
}

// load reads all files. What has no end gets one.
func (m *Manager) load(ctx context.Context) error {
	names, err := os.ReadDir(m.dir)
	if err != nil {
		return err
	}
	found := make([]*entry, len(names))
	var group errgroup.Group
	group.SetLimit(8)
	for i, name := range names {
		if id, ok := strings.CutSuffix(name.Name(), suffix); ok && name.Type().IsRegular() {
			group.Go(func() (err error) {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				if found[i], err = m.read(id); err != nil {
					return fmt.Errorf("%s: %w", name.Name(), err)
				}
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, e := range found {
		if e == nil {
			continue
		}
		size := e.size
		e.size = 0
		m.charge(e, size)
		if e.q.ID != "" {
			m.byID[e.q.ID] = e
			m.all = append(m.all, e)
		}
	}
	slices.SortFunc(m.all, compare)
	m.expire(time.Now())
	return nil
}

func compare(a, b *entry) int {
	return cmp.Or(a.q.Created.Compare(b.q.Created), cmp.Compare(a.q.ID, b.q.ID))
}

// read gives what a file tells: nil when there is nothing, no id when it is damaged.
func (m *Manager) read(id string) (*entry, error) {
	e := &entry{path: filepath.Join(m.dir, id+suffix), done: make(chan struct{})}
	close(e.done)
	f, err := os.Open(e.path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	e.size = max(info.Size(), fileUnit)
	r, err := openReader(f, info.Size())
	if err == nil && (r.head.ID != id || uuid.Validate(id) != nil) {
		err = &damage{"it tells of another query than its name", false}
	}
	var bad *damage
	switch {
	case errors.As(err, &bad) && bad.torn:
		return nil, os.Remove(e.path) // its start was never answered
	case errors.As(err, &bad):
		if time.Since(info.ModTime()) > m.o.Age {
			return nil, os.Remove(e.path)
		}
		m.o.Log.Error("the file of a query is damaged and left out", "file", e.path, "error", err)
		return e, nil
	case err != nil:
		return nil, err
	}
	e.start = r.start
	if r.end == nil {
		w, err := reopenFile(e.path, r.start, m.codec, func(int64) error { return nil })
		if err != nil {
			return nil, err
		}
		r.end = &end{Status: Failed, Error: interrupted, Ended: time.Now().UTC()}
		if err := errors.Join(w.finish(*r.end), w.close()); err != nil {
			return nil, err
		}
		e.size = max(w.size, fileUnit)
	}
	e.q = Query{
		ID: id, Owner: Owner{r.head.Account, r.head.Region}, By: r.head.By, Alias: r.head.Alias, Stores: r.head.Stores, Created: r.head.Created,
	}
	e.set(*r.end)
	return e, nil
}

// set tells what became of a query.
func (e *entry) set(x end) {
	e.q.Status, e.q.Error, e.q.Took = x.Status, x.Error, time.Duration(x.Millis)*time.Millisecond
	e.q.Rows, e.q.Scanned, e.q.Bytes = x.Rows, x.Scanned, x.Bytes
}

// Close ends the queries, which fail, and waits for them until ctx ends.
func (m *Manager) Close(ctx context.Context) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	waiting := m.queue
	m.queue = nil
	m.mu.Unlock()
	m.stop(errStopped)
	ended := make(chan struct{})
	go func() { // ends with what it waits for, at the latest
		defer close(ended)
		for _, e := range waiting {
			m.settle(e, end{Status: Failed, Error: interrupted})
		}
		m.tasks.Wait()
		m.codec.close()
	}()
	select {
	case <-ended:
		return m.lock.Release()
	case <-ctx.Done():
		return fmt.Errorf("wait for the end of queries: %w", context.Cause(ctx))
	}
}

// sweep removes what is old.
func (m *Manager) sweep() {
	defer m.tasks.Done()
	tick := time.NewTicker(max(min(m.o.Age/8, 10*time.Minute), time.Second))
	defer tick.Stop()
	for {
		select {
		case <-m.ctx.Done():
			return
		case now := <-tick.C:
			m.mu.Lock()
			m.expire(now)
			m.mu.Unlock()
		}
	}
}

// expire forgets queries that are old, and those that are too many. The caller holds the lock.
func (m *Manager) expire(now time.Time) {
	if len(m.all) <= m.o.Most && (len(m.all) == 0 || !m.old(m.all[0], now)) {
		return
	}
	for _, e := range slices.Clone(m.all) {
		if len(m.all) <= m.o.Most && !m.old(e, now) {
			return
		}
		if e.q.Status.Ended() {
			m.forget(e)
		}
	}
}

func (m *Manager) old(e *entry, now time.Time) bool { return now.Sub(e.q.Created) > m.o.Age }

// forget removes a query that has ended. The caller holds the lock.
func (m *Manager) forget(e *entry) {
	if m.byID[e.q.ID] != e {
		return
	}
	if err := os.Remove(e.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		m.o.Log.Error("the file of a query could not be removed", "file", e.path, "error", err)
	}
	delete(m.byID, e.q.ID)
	if i, ok := slices.BinarySearchFunc(m.all, e, compare); ok {
		m.all = slices.Delete(m.all, i, i+1)
	}
	m.charge(e, 0)
}

// charge counts that a file has a size. The caller holds the lock.
func (m *Manager) charge(e *entry, size int64) {
	account := e.q.Owner.Account
	m.size += size - e.size
	if m.sizes[account] += size - e.size; m.sizes[account] == 0 {
		delete(m.sizes, account)
	}
	e.size = size
}

// evict forgets the oldest query that has ended: of the account whose results take the most, where it has one. It reports
// whether there was one. The caller holds the lock.
func (m *Manager) evict() bool {
	most := ""
	for account, size := range m.sizes {
		if size > m.sizes[most] || size == m.sizes[most] && account < most {
			most = account
		}
	}
	var oldest *entry
	for _, e := range m.all {
		if e.q.Status.Ended() && (oldest == nil || e.q.Owner.Account == most) {
			if oldest = e; e.q.Owner.Account == most {
				break
			}
		}
	}
	if oldest == nil {
		return false
	}
	m.forget(oldest)
	return true
}

// grow makes room for n more bytes of a query.
func (m *Manager) grow(e *entry, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	size := n // of a file that is made
	if e.w != nil {
		if size += e.w.size; size-e.start > m.o.QuerySize {
			return fmt.Errorf("it is larger than the %d bytes that one may take, compressed", m.o.QuerySize)
		}
	}
	size = max(size, fileUnit)
	for m.size+size-e.size > m.o.Size {
		if !m.evict() {
			return fmt.Errorf("queries that have not ended take the %d bytes that all results may take together", m.o.Size)
		}
	}
	m.charge(e, size)
	return nil
}

// reserve takes a place for a query of an account, and keeps Close waiting until the task is done.
func (m *Manager) reserve(account string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return ErrClosed
	case m.active[account] >= m.o.Concurrent:
		return fmt.Errorf("%w: the account has %d, which is the most", ErrTooMany, m.o.Concurrent)
	}
	m.active[account]++
	m.tasks.Add(1)
	return nil
}

// leave gives a place back. The caller holds the lock.
func (m *Manager) leave(account string) {
	if m.active[account]--; m.active[account] == 0 {
		delete(m.active, account)
	}
}

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
// Next of the page before, whose limit was the same or 0; "" for the first page.
func (m *Manager) Results(_ context.Context, o Owner, id string, limit int, token string) (Page, error) {
	m.mu.Lock()
	e, err := m.find(o, id)
	if err != nil {
		m.mu.Unlock()
		return Page{}, err
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

// Stats are figures of a [Manager].
type Stats struct {
	Queued, Running, Kept  int
	Bytes                  int64 // of all files
	Started, Ended, Failed int64 // since Open; Failed are those of Ended that failed or timed out
}

// Stats gives figures for metrics.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.counts
	s.Queued, s.Running, s.Kept, s.Bytes = len(m.queue), m.running, len(m.all), m.size
	return s
}
