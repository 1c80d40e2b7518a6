package lakequery

import (
	"cmp"
	"context"
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
	"spoor/internal/pagetoken"
	"spoor/internal/query"
)

const (
	lockName  = "lock"
	keyName   = "key"
	fileUnit  = 4096    // what a file takes at least, for the bound of all
	pageBytes = 8 << 20 // of the values of a page, but for a row that has more
	busyWait  = time.Second
)

// Manager runs queries. It is safe for concurrent use.
type Manager struct {
	o     Options
	dir   string
	lock  *durable.Lock
	key   pagetoken.Key
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
	if m.key, err = pagetoken.OpenKey(filepath.Join(dir, keyName)); err != nil {
		return nil, err
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
