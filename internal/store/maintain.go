package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"
)

// MaintainOptions say how a store is looked after.
type MaintainOptions struct {
	// CompactInterval is how often small files are merged, 0 for never; CompactAfter how long after its end a day is left
	// alone, and CompactTarget how large a file is that needs no company, as in [CompactOptions].
	CompactInterval time.Duration
	CompactAfter    time.Duration // 0: days are compacted when they end
	CompactTarget   int64
	// ExpireInterval is how often retention is applied and what was replaced leaves the disk, 0 for never; ExpireGrace is
	// how long that stays for processes which read it, as in [ExpireOptions] but for 0, which is no time.
	ExpireInterval time.Duration
	ExpireGrace    time.Duration
	Retention      RetainOptions
	// First is how long after the start of [Maintenance.Run] jobs are first done, a minute by default, and Retry how long
	// after a failure it is tried again, a minute by default; twice as long after each further one, at most the interval.
	First, Retry time.Duration
}

func (o *MaintainOptions) check() error {
	for name, d := range map[string]time.Duration{"compaction": o.CompactInterval, "expiry": o.ExpireInterval, "the age of days that are compacted": o.CompactAfter,
		"the grace period": o.ExpireGrace, "the first time": o.First, "trying again": o.Retry} {
		if d < 0 {
			return fmt.Errorf("maintain the store: the time of %s is negative", name)
		}
	}
	if o.Retention.DryRun {
		return errors.New("maintain the store: a schedule has no dry runs")
	}
	return o.Retention.check()
}

// Maintenance looks after a store on a schedule, and when it is asked to. One thing is done at a time, beside everything
// else that happens to the store; the memory for it does not grow with the store. Failures are logged, counted and tried
// again. Its methods may be called concurrently.
type Maintenance struct {
	s    *Store
	busy chan struct{} // holds what is done; one at a time
	wake chan struct{} // tells Run to look at the clock again

	mu      sync.Mutex // guards what follows
	opts    MaintainOptions
	running bool // Run is
	compact job
	expire  job
	totals  MaintainTotals
	bytes   int64
	over    int64
	overBy  map[string]int64
	held    int
	damaged map[string]int // by the name of the job
}

// job is something that is done again and again.
type job struct {
	JobStats
	failed int // times in a row
}

// JobStats tell of something that is done again and again.
type JobStats struct {
	Runs     int64         `json:"runs"` // that ended well
	Failures int64         `json:"failures"`
	Running  bool          `json:"running"`
	Began    time.Time     `json:"began,omitzero"` // the last time
	Ended    time.Time     `json:"ended,omitzero"` // the last one that ended
	Took     time.Duration `json:"-"`
	Seconds  float64       `json:"seconds"`
	Error    string        `json:"error,omitempty"` // of the last one that ended
	Next     time.Time     `json:"next,omitzero"`   // zero for never
}

// MaintainTotals count since the process began.
type MaintainTotals struct {
	DaysCompacted    int64 `json:"daysCompacted"`
	RowsCompacted    int64 `json:"rowsCompacted"`
	FilesMerged      int64 `json:"filesMerged"`  // by compaction,
	FilesWritten     int64 `json:"filesWritten"` // into so many
	BytesMerged      int64 `json:"bytesMerged"`
	BytesWritten     int64 `json:"bytesWritten"`
	RowsRemoved      int64 `json:"rowsRemoved"`        // by retention
	RowsForSize      int64 `json:"rowsRemovedForSize"` // those of them that were of days of which something went because of a size
	DaysForSize      int64 `json:"daysRemovedForSize"`
	SnapshotsExpired int64 `json:"snapshotsExpired"`
	FilesDeleted     int64 `json:"filesDeleted"` // by expiry
	BytesDeleted     int64 `json:"bytesDeleted"`
	Redone           int64 `json:"redone"` // days begun anew, as other changes took away files of them
}

// MaintainStats tell how the store is looked after.
type MaintainStats struct {
	Compact JobStats       `json:"compact"`
	Expire  JobStats       `json:"expire"`
	Totals  MaintainTotals `json:"totals"`
	// As of the last retention: what the store takes, by how much that and what classes take is too much although nothing
	// more may go, and days that would have gone but for a hold.
	Bytes    int64            `json:"bytes"`
	Over     int64            `json:"over"`
	OverBy   map[string]int64 `json:"overBy,omitempty"`
	DaysHeld int              `json:"daysHeld"`
	// Damaged are files that could not be read, the last time that something was done.
	Damaged int `json:"damaged"`
	// OldestPlan is when the oldest plan was made that is being read in this process, zero for none: what was replaced
	// since then does not leave the disk.
	OldestPlan time.Time `json:"oldestPlan,omitzero"`
}

// Expiry is what retention and expiry did.
type Expiry struct {
	Retained *RetainResult `json:"retention,omitempty"` // nil when everything is kept for ever
	Expired  *ExpireResult `json:"expired,omitempty"`
}

// planWarning is the age of a plan that is told, as it keeps files on the disk.
const planWarning = 24 * time.Hour

// Maintain prepares what looks after the store. [Maintenance.Run] does it.
func (s *Store) Maintain(ctx context.Context, opts MaintainOptions) (*Maintenance, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := &Maintenance{s: s, busy: make(chan struct{}, 1), wake: make(chan struct{}, 1), damaged: map[string]int{}}
	return m, m.Configure(opts)
}

// Configure changes how the store is looked after, from the next time on.
func (m *Maintenance) Configure(opts MaintainOptions) error {
	if err := opts.check(); err != nil {
		return err
	}
	if opts.First == 0 {
		opts.First = time.Minute
	}
	if opts.Retry == 0 {
		opts.Retry = time.Minute
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.opts = opts
	if m.running {
		m.schedule(&m.compact, m.interval(&m.compact))
		m.schedule(&m.expire, m.interval(&m.expire))
		m.look()
	}
	return nil
}

// schedule says when a job is done next: an interval after it began, or sooner after a failure. The caller holds mu.
func (m *Maintenance) schedule(j *job, interval time.Duration) {
	now := m.s.opts.Now()
	switch {
	case interval == 0:
		j.Next = time.Time{}
	case j.failed > 0:
		wait := m.opts.Retry
		for n := 1; n < j.failed && wait < interval; n++ {
			wait *= 2
		}
		j.Next = j.Ended.Add(min(wait, interval))
	case j.Began.IsZero():
		j.Next = now.Add(min(m.opts.First, interval))
	default:
		j.Next = j.Began.Add(interval)
	}
	if interval > 0 && j.Next.Before(now) {
		j.Next = now
	}
}

// interval is how often a job is done. The caller holds mu.
func (m *Maintenance) interval(j *job) time.Duration {
	if j == &m.expire {
		return m.opts.ExpireInterval
	}
	return m.opts.CompactInterval
}

// look has Run look at the clock again. The caller holds mu.
func (m *Maintenance) look() {
	select {
	case m.wake <- struct{}{}:
	default: // it will
	}
}

// Run does what is due until ctx ends, which is no error. What is being done then is broken off, and nothing of it is
// half done.
func (m *Maintenance) Run(ctx context.Context) error {
	m.mu.Lock()
	if m.running {
		m.mu.Unlock()
		return errors.New("maintain the store: it runs already")
	}
	m.running = true
	m.schedule(&m.compact, m.interval(&m.compact))
	m.schedule(&m.expire, m.interval(&m.expire))
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.running = false
		m.compact.Next, m.expire.Next = time.Time{}, time.Time{}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		m.mu.Lock()
		now, due := m.s.opts.Now(), time.Time{}
		for _, j := range []*job{&m.compact, &m.expire} {
			if latest := now.Add(m.interval(j)); j.Next.After(latest) { // the clock was set back
				j.Next = latest
			}
			if !j.Next.IsZero() && !j.Running && (due.IsZero() || j.Next.Before(due)) {
				due = j.Next
			}
		}
		compact := !m.compact.Running && !m.compact.Next.IsZero() && !m.compact.Next.After(now)
		expire := !m.expire.Running && !m.expire.Next.IsZero() && !m.expire.Next.After(now)
		m.mu.Unlock()
		// Failures are in the log and in the figures, and the next time is set.
		if expire {
			_, _ = m.Expire(ctx)
		}
		if compact {
			_, _ = m.Compact(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		if compact || expire {
			continue
		}
		wait := time.Hour
		if !due.IsZero() {
			wait = max(0, due.Sub(now))
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-timer.C:
		}
	}
}

// Compact merges small files now, when nothing else is being done.
func (m *Maintenance) Compact(ctx context.Context) (*CompactResult, error) {
	var res *CompactResult
	err := m.do(ctx, "compaction", &m.compact, func(o MaintainOptions) (err error) {
		after := o.CompactAfter
		if after == 0 {
			after = 1
		}
		res, err = m.s.Compact(ctx, CompactOptions{Closed: after, TargetBytes: o.CompactTarget, Often: true})
		if res != nil {
			m.compacted(res)
		}
		return err
	})
	return res, err
}

func (m *Maintenance) compacted(res *CompactResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	t := &m.totals
	for _, d := range res.Days {
		t.DaysCompacted++
		t.RowsCompacted += d.Rows
		t.FilesMerged += int64(d.FilesBefore)
		t.FilesWritten += int64(d.FilesAfter)
		t.BytesMerged += d.BytesBefore
		t.BytesWritten += d.BytesAfter
	}
	t.Redone += int64(res.Redone)
	m.damaged["compaction"] = len(res.Damaged)
	if len(res.Days) > 0 {
		m.s.opts.Log.Info("store: small files were merged", "days", len(res.Days), "events", res.Rows, "seconds", res.Seconds)
	}
}

// Expire applies retention and lets go of what was replaced, now, when nothing else is being done.
func (m *Maintenance) Expire(ctx context.Context) (*Expiry, error) {
	out := &Expiry{}
	err := m.do(ctx, "expiry", &m.expire, func(o MaintainOptions) error {
		// What cannot be removed does not keep what was replaced from leaving.
		var rerr, err error
		if r := o.Retention; len(r.Ages) > 0 || len(r.Sizes) > 0 || r.MaxBytes > 0 {
			if out.Retained, rerr = m.s.Retain(ctx, r); out.Retained != nil {
				m.retained(out.Retained)
			}
		}
		grace := o.ExpireGrace
		if grace == 0 {
			grace = -1
		}
		if out.Expired, err = m.s.Expire(ctx, ExpireOptions{Grace: grace}); out.Expired != nil {
			m.expired(out.Expired)
		}
		return errors.Join(rerr, err)
	})
	return out, err
}

func (m *Maintenance) retained(res *RetainResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.held = 0
	for _, d := range res.Days {
		switch {
		case d.Held != "":
			m.held++
		case len(d.Oversize) > 0:
			m.totals.DaysForSize++
		}
	}
	m.totals.RowsRemoved += res.Removed
	m.totals.RowsForSize += res.RemovedForSize
	m.totals.Redone += int64(res.Redone)
	m.bytes, m.over, m.overBy = res.Bytes, res.Over, res.OverBy
	m.damaged["retention"] = len(res.Damaged)
	if res.Removed > 0 {
		m.s.opts.Log.Info("store: retention removed events", "events", res.Removed, "days", len(res.Days)-m.held)
	}
	if len(res.Damaged) > 0 {
		m.s.opts.Log.Warn("store: damaged files are kept", "files", len(res.Damaged), "first", res.Damaged[0].File)
	}
}

func (m *Maintenance) expired(res *ExpireResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.totals.SnapshotsExpired += int64(res.Snapshots)
	m.totals.FilesDeleted += int64(res.Files)
	m.totals.BytesDeleted += res.Bytes
	if res.Files > 0 {
		m.s.opts.Log.Info("store: replaced files were deleted", "files", res.Files, "bytes", res.Bytes)
	}
	if at := m.s.leases.oldest(); !at.IsZero() && m.s.opts.Now().Sub(at) > planWarning {
		m.s.opts.Log.Warn("store: a plan is being read for long, and keeps what was replaced on the disk", "since", at)
	}
}

// do does a job when nothing else is being done, and keeps its figures.
func (m *Maintenance) do(ctx context.Context, name string, j *job, fn func(MaintainOptions) error) error {
	select {
	case m.busy <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-m.busy }()
	m.mu.Lock()
	opts := m.opts
	j.Began, j.Running = m.s.opts.Now(), true
	m.mu.Unlock()
	err := fn(opts)
	m.mu.Lock()
	defer m.mu.Unlock()
	j.Ended, j.Running = m.s.opts.Now(), false
	j.Took = j.Ended.Sub(j.Began)
	j.Seconds = j.Took.Seconds()
	j.Error = ""
	switch {
	case err == nil:
		j.Runs++
		j.failed = 0
	case ctx.Err() != nil:
		j.Error = "broken off"
	default:
		j.Failures++
		j.failed++
		j.Error = err.Error()
		m.s.opts.Log.Error("store: "+name+" failed, and is tried again", "error", err, "failures", j.failed)
	}
	if m.running {
		// The schedule may be another one by now. What was broken off is due when it was due.
		if err == nil || ctx.Err() == nil {
			m.schedule(j, m.interval(j))
		}
		m.look()
	}
	return err
}

// Stats tells how the store is looked after.
func (m *Maintenance) Stats() MaintainStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := MaintainStats{Compact: m.compact.JobStats, Expire: m.expire.JobStats, Totals: m.totals, Bytes: m.bytes, Over: m.over,
		OverBy: maps.Clone(m.overBy), DaysHeld: m.held, OldestPlan: m.s.leases.oldest()}
	for _, n := range m.damaged {
		out.Damaged += n
	}
	return out
}
