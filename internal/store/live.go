package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"spoor/internal/dedup"
	"spoor/internal/durable"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/store/segment"
)

// FollowerName is the name under which a store follows a journal, for [journal.Options].Followers.
const FollowerName = "store"

// Feed is a journal as a store follows it: [JournalFeed].
type Feed interface {
	// ID is the identity of the journal: sequences are kept beside it.
	ID() string
	// Follow begins behind the sequence after; what is behind keep stays until it is acknowledged.
	Follow(ctx context.Context, after, keep uint64) (Follower, error)
}

// Follower gives a journal's batches, as [journal.Follower] does.
type Follower interface {
	Next(ctx context.Context) (journal.Batch, error)
	Ack(ctx context.Context, seq uint64) error
	Close()
}

// JournalFeed is a journal to be followed by a store.
func JournalFeed(j *journal.Journal) Feed { return journalFeed{j} }

type journalFeed struct{ *journal.Journal }

func (f journalFeed) Follow(ctx context.Context, after, keep uint64) (Follower, error) {
	return f.Journal.Follow(ctx, FollowerName, journal.After(after).Keeping(keep))
}

// LiveOptions say how a store follows a journal. Zero values are the defaults.
type LiveOptions struct {
	// FlushRows and FlushInterval are after how many hot rows, or how long after the oldest of them was published, they are
	// written to data files and committed; default 500 000 and 5 minutes. Rows of many days wait for more of each: for
	// about 4096 of a day, or up to half of MaxHotRows; and up to twelve times as long when there are few.
	FlushRows     int64
	FlushInterval time.Duration
	// MaxHotRows is how many hot rows there are at most: then nothing is taken from the journal until a flush has ended.
	// Default 4 million.
	MaxHotRows int64
	// Publish is how long a row that was taken waits at most to be part of answers, but for the time that writing takes.
	// Default 1 s.
	Publish time.Duration
	// Grace is how long hot files stay that nothing refers to any more, for readers in other processes. Default 2 minutes;
	// negative for not at all.
	Grace time.Duration
	Log   *slog.Logger     // nil: that of the store
	Now   func() time.Time // nil: that of the store

	// fault, when set, may refuse a step.
	fault func(step string) error
}

const (
	// A publication has about so many rows or bytes, even if less time has passed.
	publishRows  = 32_768
	publishBytes = 32 << 20
	// hotFilesMost is how many hot files a query meets, about: beyond it they are merged.
	hotFilesMost = 40
	// hotMemory is about how much memory reading hot files side by side takes.
	hotMemory = 160 << 20
	// dayRows is how many rows of each event day a flush waits for, and fewRows how many make it wait for longer.
	dayRows, fewRows = 4096, 256
	fewDays          = 4
	longer           = 12
	retryFirst       = 100 * time.Millisecond
	retryMost        = 30 * time.Second
)

// Live is a store that follows a journal: what it takes is in plans within seconds, as hot files, and in data files
// later. [Live.Run] does the work. The other methods may be called concurrently with it, but for Close.
type Live struct {
	s    *Store
	o    LiveOptions
	feed Feed
	id   string
	run  Run // of the state; the flusher's

	follower Follower
	seen     *seen // the table's events, and those that were taken since the last publication

	// Of the goroutine that takes batches.
	writer *segment.Writer
	pend   pending
	staged *hotFile // its Parquet file is written; it waits for its ledger
	report *ledger.Report
	ev     event.Event
	retry  backoff

	merging sync.Mutex // held while hot files are merged or claimed; taken before naming and mu
	naming  sync.Mutex // held while the manifest is written; taken before mu
	dirty   atomic.Bool

	publishNow, flushNow chan chan error
	wakeFlush, wakeMerge chan struct{}

	mu        sync.RWMutex // guards what follows
	files     []*liveFile  // hot files in the order of the journal
	claimed   int          // how many of them a flush works on
	committed uint64       // sequence up to which rows are in data files
	published uint64       // and up to which they are in plans
	broken    bool         // hot files are damaged, and not published until they are made again
	waiting   time.Time    // when the oldest batch was accepted that was taken and is not published
	taken     uint64       // sequence up to which batches were taken
	waitRows  int64        // rows that were taken and are not in hot files
	leaving   []*liveFile  // left files; the manifest may name them still
	closing   []*liveFile  // left files; who takes batches may be looking at them, and closes them
	retired   []retired
	changed   chan struct{} // closed when any of it changes
	stats     LiveStats
}

// pending is what was taken since the last publication.
type pending struct {
	led   *ledger.Ledger
	to    uint64 // 0 for nothing
	since time.Time
	days  map[int64]struct{}
}

// liveFile is a hot file whose events are known.
type liveFile struct {
	hotFile
	known *dedup.IDs // nil without rows
}

// retired is a hot file that no manifest names any more.
type retired struct {
	names []string // relative to the store's folder
	mark  uint64   // of leases
	at    time.Time
}

// LiveStats are figures of a store that follows. Counters count from [Store.Follow].
type LiveStats struct {
	Journal       string        // identity of the journal
	HotRows       int64         // that are in plans and not in data files
	HotFiles      int           //
	HotBytes      int64         //
	Waiting       int64         // rows that were taken and are in no plan yet
	Oldest        time.Duration // how long ago the oldest batch was accepted that was taken and is not published
	Taken         uint64        // sequence up to which batches were taken
	Published     uint64        // sequence up to which rows are in plans
	Committed     uint64        // sequence up to which rows are in data files
	Full          bool          // nothing is taken, as there are too many hot rows
	Batches       uint64        // that were taken
	Records       uint64        // in them
	Kept          uint64        // of these
	Duplicates    uint64        // that the store had
	Rejected      uint64        // that cannot be read; they are in the folder rejects
	Lost          uint64        // sequences that the journal could not give
	Publications  uint64        //
	Merges        uint64        // of hot files
	Flushes       uint64        //
	FlushedRows   uint64        //
	FlushedFiles  uint64        //
	LastFlush     time.Time     // when it ended
	FlushTime     time.Duration // of the last one
	FlushTimeAll  time.Duration // of all
	Failures      uint64        // of publications, merges and flushes, which were tried again
	LastError     string        // of the last of them; empty when it went well since
	Rebuilt       uint64        // hot files that were damaged and made again from the journal
	Orphaned      uint64        // events in damaged hot files of a journal that is not followed any more: they are lost
	RetiredFiles  int           // files that wait to be removed
	FollowedSince time.Time
}

// backoff says when to try again.
type backoff struct {
	wait time.Duration
	at   time.Time
}

func (b *backoff) failed() {
	b.wait = min(max(2*b.wait, retryFirst), retryMost)
	b.at = time.Now().Add(b.wait)
}
func (b *backoff) ready() bool { return !time.Now().Before(b.at) }

// Follow prepares to follow a journal: it takes over the hot files that are whole. What is missing is made again from the
// journal. Of another journal than the one that was followed before, everything is read; events that the store has count
// once. Call [Live.Run], and Close in the end. A store follows one journal at a time.
func (s *Store) Follow(ctx context.Context, feed Feed, opts LiveOptions) (_ *Live, err error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	l := &Live{s: s, o: opts, feed: feed, id: feed.ID(), publishNow: make(chan chan error), flushNow: make(chan chan error),
		wakeFlush: make(chan struct{}, 1), wakeMerge: make(chan struct{}, 1), changed: make(chan struct{})}
	set(&l.o.FlushRows, 500_000)
	set(&l.o.FlushInterval, 5*time.Minute)
	set(&l.o.MaxHotRows, 4_000_000)
	set(&l.o.Publish, time.Second)
	set(&l.o.Grace, 2*time.Minute)
	l.o.FlushRows = min(l.o.FlushRows, l.o.MaxHotRows)
	if l.o.Log == nil {
		l.o.Log = s.opts.Log
	}
	if l.o.Now == nil {
		l.o.Now = s.opts.Now
	}
	if !s.following.CompareAndSwap(false, true) {
		return nil, errors.New("follow a journal: the store follows one already")
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("follow a journal: %w", err), l.Close())
		}
	}()
	l.stats.Journal, l.stats.FollowedSince = l.id, l.o.Now()
	l.run = Run{Began: l.o.Now().UTC(), Inputs: []string{"journal " + l.id}}
	if err := durable.MkdirAll(filepath.Join(s.dir, hotDir), 0o755); err != nil {
		return nil, err
	}
	if l.seen, err = s.newSeen(ctx, ""); err != nil {
		return nil, err
	}
	return l, l.restore(ctx)
}

func set[T cmp.Ordered](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Close lets go of the journal and of files. Run must have ended.
func (l *Live) Close() error {
	var errs []error
	if l.follower != nil {
		l.follower.Close()
	}
	errs = append(errs, l.forget())
	if l.seen != nil {
		errs = append(errs, l.seen.close())
	}
	l.s.following.Store(false)
	return errors.Join(errs...)
}

// forget closes hot files and what was taken.
func (l *Live) forget() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, f := range l.files {
		errs = append(errs, f.close())
	}
	for _, f := range l.closing {
		errs = append(errs, f.close())
	}
	l.files, l.closing, l.claimed, l.waitRows, l.waiting = nil, nil, 0, 0, time.Time{}
	l.writer, l.staged, l.report = segment.NewWriter(segment.Options{Dir: l.s.dir, Hot: true}), nil, nil
	l.pend = pending{led: ledger.New(), days: map[int64]struct{}{}}
	if l.seen != nil {
		errs = append(errs, l.seen.Reset())
	}
	return errors.Join(errs...)
}

func (f *liveFile) close() error {
	if f.known == nil {
		return nil
	}
	err := f.known.Close()
	f.known = nil
	return err
}

// restore takes over the hot files that are whole and contiguous behind what is committed, and begins to follow behind
// them.
func (l *Live) restore(ctx context.Context) error {
	if l.follower != nil {
		l.follower.Close()
		l.follower = nil
	}
	if err := l.forget(); err != nil {
		return err
	}
	m, err := readManifest(l.s.dir)
	if errors.Is(err, errHotManifest) {
		l.o.Log.Error("store: the list of hot files is damaged; what it had is made again from the journal", "error", err)
		l.count(func(st *LiveStats) { st.Rebuilt++ })
		m, err = &manifest{}, nil
	}
	if err != nil {
		return err
	}
	var mark journalMark
	if st := l.s.st.Load(); st.Journal != nil {
		mark = *st.Journal
	}
	files := m.beyond(mark)
	if m.Journal != "" && m.Journal != l.id {
		if err := l.adopt(ctx, m.Journal, files); err != nil {
			return err
		}
		files = nil
	}
	if mark.ID != "" && mark.ID != l.id {
		l.o.Log.Warn("store: the journal is another one than before, so all of it is read; events that the store has count once", "journal", l.id, "before", mark.ID)
		mark = journalMark{}
	}
	at := mark.Seq
	for i := range files {
		f := &files[i]
		what := ""
		if f.From != at {
			what = fmt.Sprintf("begins behind sequence %d, where %d is committed", f.From, at)
		} else if what, err = checkHot(ctx, l.s.dir, f); err != nil {
			return err
		}
		var live *liveFile
		if what == "" {
			if live, err = l.open(*f); err != nil {
				what = plain(err)
			}
		}
		if what != "" {
			l.o.Log.Error("store: a hot file is not what was written; it and those after it are made again from the journal", "file", f.parquet(), "what", what, "files", len(files)-i)
			l.count(func(st *LiveStats) { st.Rebuilt += uint64(len(files) - i) })
			break
		}
		l.mu.Lock()
		l.files = append(l.files, live)
		l.mu.Unlock()
		at = f.To
	}
	if err := l.sweep(); err != nil {
		return err
	}
	l.mu.Lock()
	l.committed, l.taken, l.published, l.broken = mark.Seq, at, 0, false
	l.mu.Unlock()
	l.dirty.Store(true) // names nothing that is not there, from the first publication on
	if err := l.name(); err != nil {
		return err
	}
	l.follower, err = l.feed.Follow(ctx, at, mark.Seq)
	return err
}

// open makes the events of a hot file known.
func (l *Live) open(f hotFile) (*liveFile, error) {
	if f.Rows == 0 {
		return &liveFile{hotFile: f}, nil
	}
	ids, err := dedup.OpenIDs(idsPath(l.s.dir, f.parquet()))
	if err != nil {
		return nil, err
	}
	return &liveFile{hotFile: f, known: ids}, nil
}

// sweep notes what lies in the hot folder and is no part of anything, to be removed after the grace period.
func (l *Live) sweep() error {
	keep := map[string]bool{hotManifest: true}
	for _, f := range l.files {
		for _, name := range f.names() {
			keep[filepath.Base(name)] = true
		}
	}
	entries, err := os.ReadDir(filepath.Join(l.s.dir, hotDir))
	if err != nil {
		return fmt.Errorf("look for hot files: %w", err)
	}
	r := retired{mark: l.s.leases.mark(), at: l.o.Now()}
	for _, e := range entries {
		if !keep[e.Name()] && e.Type().IsRegular() {
			r.names = append(r.names, hotDir+"/"+e.Name())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaving, l.retired = nil, []retired{r}
	return nil
}

// removeRetired removes what no manifest names any more and no plan holds.
func (l *Live) removeRetired() {
	now := l.o.Now()
	l.mu.Lock()
	var gone []string
	l.retired = slices.DeleteFunc(l.retired, func(r retired) bool {
		if now.Sub(r.at) < l.o.Grace || l.s.leases.before(r.mark) {
			return false
		}
		gone = append(gone, r.names...)
		return true
	})
	l.mu.Unlock()
	for _, name := range gone {
		if err := os.Remove(filepath.Join(l.s.dir, filepath.FromSlash(name))); err != nil && !errors.Is(err, os.ErrNotExist) {
			l.o.Log.Warn("store: a hot file that is not needed any more stays until the next start", "file", name, "error", err)
		}
	}
}

// rebuildError says that hot files turned out to be damaged.
type rebuildError struct{ err error }

func (e *rebuildError) Error() string { return "a hot file is damaged: " + e.err.Error() }
func (e *rebuildError) Unwrap() error { return e.err }

// Run follows until the context ends, and then returns nil. What was taken by then is published. An error is one that does
// not go away by itself: what the disk refuses is tried again.
func (l *Live) Run(ctx context.Context) error {
	for {
		err := l.session(ctx)
		var bad *rebuildError
		switch {
		case ctx.Err() != nil:
			return nil
		case !errors.As(err, &bad):
			return fmt.Errorf("follow the journal: %w", err)
		}
		l.o.Log.Error("store: a hot file is damaged; it is made again from the journal", "error", bad.err)
		if err := l.restore(ctx); err != nil {
			return fmt.Errorf("follow the journal: %w", err)
		}
	}
}

// session follows until something ends it.
func (l *Live) session(ctx context.Context) error {
	g, gctx := errgroup.WithContext(ctx)
	batches := make(chan journal.Batch)
	g.Go(func() error {
		for {
			b, err := l.follower.Next(gctx)
			if err != nil {
				return err
			}
			select {
			case batches <- b:
			case <-gctx.Done():
				return gctx.Err()
			}
		}
	})
	g.Go(func() error { return l.takeAll(gctx, batches) })
	g.Go(func() error { return l.flushAll(gctx) })
	g.Go(func() error { return l.mergeAllHot(gctx) })
	return g.Wait()
}

// takeAll takes batches and publishes them.
func (l *Live) takeAll(ctx context.Context, batches <-chan journal.Batch) error {
	tick := time.NewTicker(min(max(l.o.Publish/4, 5*time.Millisecond), 250*time.Millisecond))
	defer tick.Stop()
	for {
		if err := l.closeLeft(); err != nil {
			return err
		}
		in := batches
		if l.full() {
			in = nil
		}
		select {
		case <-ctx.Done():
			// What was taken need not be taken again at the next start, if this goes well.
			return errors.Join(ctx.Err(), l.publish(context.WithoutCancel(ctx)))
		case b := <-in:
			if err := l.take(ctx, b); err != nil {
				return err
			}
		case <-tick.C:
		case answer := <-l.publishNow:
			err := l.publish(ctx)
			l.told(err)
			answer <- err
			continue
		}
		if l.due() {
			l.told(l.publish(ctx))
		}
	}
}

// closeLeft closes files that left the list.
func (l *Live) closeLeft() error {
	l.mu.Lock()
	left := l.closing
	l.closing = nil
	l.mu.Unlock()
	for _, f := range left {
		if err := f.close(); err != nil {
			return fmt.Errorf("close event ids: %w", err)
		}
	}
	return nil
}

// told notes how a publication went.
func (l *Live) told(err error) {
	if err == nil {
		l.retry = backoff{}
		return
	}
	l.retry.failed()
	l.failed("what was taken from the journal could not be made part of answers; again", err)
}

// failed counts and tells a failure that is followed by another try.
func (l *Live) failed(what string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	l.o.Log.Error("store: "+what, "error", err)
	l.count(func(st *LiveStats) {
		st.Failures++
		st.LastError = err.Error()
	})
}

func (l *Live) count(change func(*LiveStats)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.stats)
}

// full reports whether nothing may be taken now.
func (l *Live) full() bool {
	if l.staged != nil || l.retry.wait > 0 && (l.writer.Rows() >= publishRows || l.writer.Bytes() >= publishBytes) {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stats.Full = l.hotRows()+l.waitRows >= l.o.MaxHotRows
	if l.stats.Full && l.claimed == 0 {
		wake(l.wakeFlush)
	}
	return l.stats.Full
}

// hotRows is how many rows hot files have. The caller holds mu.
func (l *Live) hotRows() (n int64) {
	for _, f := range l.files {
		n += f.Rows
	}
	return n
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// due reports whether what was taken is to be published now.
func (l *Live) due() bool {
	switch {
	case !l.retry.ready():
		return false
	case l.staged != nil || l.dirty.Load():
		return true
	case l.pend.to == 0:
		return false
	}
	return l.writer.Rows() >= publishRows || l.writer.Bytes() >= publishBytes || time.Since(l.pend.since) >= l.o.Publish
}

// take adds a batch to what waits. After an error what waits is not whole.
func (l *Live) take(ctx context.Context, b journal.Batch) error {
	if b.Seq <= l.taken && len(b.Lost) == 0 {
		return nil
	}
	if l.pend.to == 0 {
		l.pend.since = time.Now()
	}
	led := l.pend.led
	var lost, records, kept, duplicates, rejected uint64
	for _, gap := range b.Lost {
		obj := source.Object{Name: fmt.Sprintf("journal %s %d-%d", l.id, gap.First, gap.Last)}
		led.Listed(obj)
		led.Object(obj).Close(errors.New("lost: the journal cannot give it"))
		lost += gap.Last - gap.First + 1
		l.o.Log.Error("store: the journal has lost entries, and with them what they held", "journal", l.id, "first", gap.First, "last", gap.Last)
	}
	if len(b.Records) > 0 {
		obj := source.Object{Name: fmt.Sprintf("journal %s %d", l.id, b.Seq)}
		led.Listed(obj)
		tally := led.Object(obj)
		defer func() { tally.Close(nil) }()
		tally.Seen(int64(len(b.Records)))
		records = uint64(len(b.Records))
		var rejects []event.Reject
		l.mu.RLock()
		known := l.known()
		l.mu.RUnlock()
		e := &l.ev
		for i := range b.Records {
			r := &b.Records[i]
			tally.Expanded(int64(len(r.Raw)))
			if err := e.Reset(r.Raw); err != nil {
				rejects = append(rejects, event.Reject{File: cmp.Or(r.Origin.Object, r.Origin.Source), Offset: r.Origin.Offset, Length: int64(len(r.Raw)), Reason: err.Error(), Raw: r.Raw})
				tally.Reject(int64(i), int64(len(r.Raw)), err.Error())
				continue
			}
			e.File, e.Offset = cmp.Or(r.Origin.Object, r.Origin.Source), r.Origin.Offset
			v, err := l.offer(ctx, known, e)
			if err != nil {
				return err
			}
			account, region := e.Account(), e.Region()
			if v == dedup.Duplicate {
				tally.Record(account, region, e.Time, ledger.Duplicate)
				duplicates++
				continue
			}
			if v == dedup.Conflict {
				tally.Note("eventID that another event has too: both were kept")
			}
			tally.Record(account, region, e.Time, ledger.Kept)
			kept++
			if err := l.writer.Add(e, nil); err != nil {
				return err
			}
			if day := e.Time / int64(24*time.Hour); len(l.pend.days) < dayRows {
				l.pend.days[day] = struct{}{}
			}
		}
		rejected = uint64(len(rejects))
		if err := l.keepRejects(ctx, b.Seq, rejects); err != nil {
			return err
		}
	}
	l.pend.to = b.Seq
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting.IsZero() {
		l.waiting = b.Accepted
	}
	l.taken = b.Seq
	l.waitRows += int64(kept)
	st := &l.stats
	st.Batches++
	st.Records += records
	st.Kept += kept
	st.Duplicates += duplicates
	st.Rejected += rejected
	st.Lost += lost
	return nil
}

// known are the ids of the hot files. The caller holds mu, and is the one who closes them.
func (l *Live) known() hotIDs {
	out := make(hotIDs, 0, len(l.files))
	for _, f := range l.files {
		if f.known != nil {
			out = append(out, f.known)
		}
	}
	return out
}

// offer tells whether an event is new, and remembers it.
func (l *Live) offer(ctx context.Context, hot hotIDs, e *event.Event) (dedup.Verdict, error) {
	k := dedup.KeyOf(e)
	verdict := hot.find(k, e.Time)
	if verdict == dedup.Duplicate {
		return verdict, nil
	}
	var retry backoff
	for {
		v, err := l.seen.Add(k, e.Time)
		if err == nil {
			return max(verdict, v), nil
		}
		// An index file that cannot be read now must not make an event count twice.
		l.failed("event ids cannot be read; again", err)
		if err := retry.sleep(ctx); err != nil {
			return verdict, err
		}
		if oerr := l.seen.reopen(ctx); oerr != nil {
			l.failed("event ids cannot be made again", oerr)
		}
	}
}

// sleep waits for the next try.
func (b *backoff) sleep(ctx context.Context) error {
	b.failed()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(b.wait):
		return nil
	}
}

// keepRejects keeps records of a batch that cannot be read, in a file of their own that is the same whenever the batch is
// taken again.
func (l *Live) keepRejects(ctx context.Context, seq uint64, rejects []event.Reject) error {
	if len(rejects) == 0 {
		return nil
	}
	var text bytes.Buffer
	w := intake.NewRejectWriter(&text)
	for _, r := range rejects {
		if err := w.Write(r); err != nil {
			return err
		}
	}
	plainID := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '-' || r == '_' {
			return r
		}
		return '_'
	}, l.id)
	path := filepath.Join(l.s.dir, rejectsDir, fmt.Sprintf("%s-%020d.jsonl", plainID, seq))
	l.o.Log.Error("store: records of the journal cannot be read and are set aside", "sequence", seq, "records", len(rejects), "file", path, "reason", rejects[0].Reason)
	var retry backoff
	for {
		err := durable.MkdirAll(filepath.Dir(path), 0o755)
		if err == nil {
			err = durable.WriteFile(path, text.Bytes(), 0o644)
		}
		if err == nil {
			return nil
		}
		l.failed("records that cannot be read could not be set aside; again", err)
		if err := retry.sleep(ctx); err != nil {
			return err
		}
	}
}

// rejectsDir is the folder of records that could not be read.
const rejectsDir = "rejects"

// publish makes what was taken part of plans. After an error it is tried again, and nothing is lost.
func (l *Live) publish(ctx context.Context) error {
	if l.staged == nil && l.pend.to != 0 {
		if err := l.stage(ctx); err != nil {
			return err
		}
	}
	if l.staged != nil {
		if err := l.unstage(); err != nil {
			return err
		}
	}
	if !l.dirty.Load() {
		return nil
	}
	if err := l.name(); err != nil {
		return err
	}
	wake(l.wakeFlush)
	wake(l.wakeMerge)
	return nil
}

func (l *Live) step(name string) error {
	if l.o.fault == nil {
		return nil
	}
	return l.o.fault(name)
}

// stage writes the Parquet file of what was taken.
func (l *Live) stage(ctx context.Context) error {
	if err := l.step("hot file"); err != nil {
		return err
	}
	report := l.pend.led.Report()
	if !report.Balanced {
		return fmt.Errorf("the ledger of what was taken does not balance: %s", report.Problems[0])
	}
	if report.Records.Kept != int64(l.writer.Rows()) {
		return fmt.Errorf("%d events wait where the ledger kept %d", l.writer.Rows(), report.Records.Kept)
	}
	f := hotFile{Name: uuid.NewString()}
	if l.writer.Rows() > 0 {
		segs, err := l.writer.Flush(ctx)
		if err != nil {
			return fmt.Errorf("write hot rows: %w", err)
		}
		f = hotOf(segs[0])
	}
	l.mu.RLock()
	f.From = l.committed
	if n := len(l.files); n > 0 {
		f.From = l.files[n-1].To
	}
	l.mu.RUnlock()
	f.To, f.Days, f.Published = l.pend.to, len(l.pend.days), l.o.Now().UTC()
	l.staged, l.report = &f, report
	l.pend.led, l.pend.to = ledger.New(), 0
	clear(l.pend.days)
	return nil
}

// unstage writes the ledger of a hot file and adds the file to the others.
func (l *Live) unstage() error {
	f := l.staged
	if err := l.writeHotLedger(f, l.report); err != nil {
		return err
	}
	live, err := l.open(*f)
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.files = append(l.files, live)
	l.waitRows = 0
	l.stats.Publications++
	l.mu.Unlock()
	l.dirty.Store(true)
	l.staged, l.report = nil, nil
	return l.seen.committed()
}

func (l *Live) writeHotLedger(f *hotFile, report *ledger.Report) error {
	if err := l.step("hot ledger"); err != nil {
		return err
	}
	b, err := encodeLedger(report)
	if err != nil {
		return err
	}
	f.LedgerSum = crc32.Checksum(b, castagnoli())
	if err := os.WriteFile(filepath.Join(l.s.dir, filepath.FromSlash(f.ledger())), b, 0o644); err != nil {
		return fmt.Errorf("write the ledger of hot rows: %w", err)
	}
	return nil
}

// name writes the manifest of the files of this moment.
func (l *Live) name() error {
	l.naming.Lock()
	defer l.naming.Unlock()
	l.dirty.Store(false)
	m := &manifest{Format: "spoor-hot", Version: hotVersion, Journal: l.id, Written: l.o.Now().UTC(), Files: []hotFile{}}
	l.mu.RLock()
	for _, f := range l.files {
		m.Files = append(m.Files, f.hotFile)
	}
	to, waits := l.committed, l.waitRows > 0
	l.mu.RUnlock()
	err := l.step("hot manifest")
	if err == nil {
		err = writeManifest(l.s.dir, m)
	}
	if err != nil {
		l.dirty.Store(true)
		return err
	}
	if n := len(m.Files); n > 0 {
		to = m.Files[n-1].To
	}
	mark, at := l.s.leases.mark(), l.o.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.broken {
		l.published = max(l.published, to)
	}
	if !waits && l.taken <= l.published {
		l.waiting = time.Time{}
	}
	named := map[string]bool{}
	for i := range m.Files {
		named[m.Files[i].Name] = true
	}
	l.leaving = slices.DeleteFunc(l.leaving, func(f *liveFile) bool {
		if named[f.Name] {
			return false
		}
		l.retired = append(l.retired, retired{f.names(), mark, at})
		return true
	})
	l.notify()
	return nil
}

// notify tells those who wait that something changed. The caller holds mu.
func (l *Live) notify() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Wait waits until everything up to a sequence of the journal is part of plans that are made from then on.
func (l *Live) Wait(ctx context.Context, seq uint64) error {
	for {
		l.mu.RLock()
		done, changed := l.published >= seq, l.changed
		l.mu.RUnlock()
		if done {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for what was accepted to be part of answers: %w", ctx.Err())
		case <-changed:
		}
	}
}

// Flush publishes what was taken and writes all hot rows to data files, once. Run must be running.
func (l *Live) Flush(ctx context.Context) error {
	for _, c := range []chan chan error{l.publishNow, l.flushNow} {
		answer := make(chan error, 1)
		select {
		case <-ctx.Done():
			return fmt.Errorf("flush the store: %w", ctx.Err())
		case c <- answer:
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("flush the store: %w", ctx.Err())
		case err := <-answer:
			if err != nil {
				return fmt.Errorf("flush the store: %w", err)
			}
		}
	}
	return nil
}

// Stats are the figures of this moment.
func (l *Live) Stats() LiveStats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := l.stats
	st.HotRows, st.HotFiles, st.Waiting = l.hotRows(), len(l.files), l.waitRows
	for _, f := range l.files {
		st.HotBytes += f.Bytes
	}
	if !l.waiting.IsZero() {
		st.Oldest = max(0, l.o.Now().Sub(l.waiting))
	}
	st.Taken, st.Published, st.Committed = l.taken, l.published, l.committed
	for _, r := range l.retired {
		st.RetiredFiles += len(r.names)
	}
	return st
}
