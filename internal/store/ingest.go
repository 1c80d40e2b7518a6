package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/store/segment"
)

// IngestOptions say what is read into a store.
type IngestOptions struct {
	// Intake says what is read; its Ledger, Seen, Epochs and Window are set by [Store.Ingest].
	Intake intake.Options
	// TempDir is where goes what does not fit into memory: ids of events, to the system's temporary folder when it is empty,
	// and events of many days that came together, into the store's folder when it is empty.
	TempDir string
	// EpochRows and EpochTime are after how many events and how long what was read is committed, as soon as the objects
	// that are being read have ended; by default 500 000 and a minute. Events that were set aside on disk until there are
	// enough of their day count an eighth.
	EpochRows int64
	EpochTime time.Duration
	// BufferBytes is how many bytes of records are held in memory before they become files, 64 MiB by default.
	BufferBytes int64
	// Committed, when set, is called after each commit with the rows that the store has then. Calls do not overlap.
	Committed func(rows int64)
}

// IngestResult tells what an ingestion did.
type IngestResult struct {
	// Ledger counts everything that was listed in this run, as a hunt over the same inputs would.
	Ledger *ledger.Report `json:"ledger"`
	// Known is how many objects were left out because they were read before.
	Known   int64         `json:"known"`
	Added   int64         `json:"added"` // events
	Files   int           `json:"files"` // data files written
	Bytes   int64         `json:"bytes"` // of them
	Commits int           `json:"commits"`
	Rows    int64         `json:"rows"` // events in the store now
	Took    time.Duration `json:"-"`
	Seconds float64       `json:"seconds"`
}

// ReadBefore is the reason for which an object that the store has is skipped.
const ReadBefore = "read before"

// window is how many listed objects are held to be read in the order of delivery: about 40 MB at most.
const window = 1 << 16

// Ingest reads what is new. What was committed stays when it ends with an error; what was read of the epoch that was open
// then is read again the next time. Objects and records that cannot be read are in the ledger and no error.
func (s *Store) Ingest(ctx context.Context, opts IngestOptions) (_ *IngestResult, err error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	if s.following.Load() {
		return nil, errors.New("ingest: the store follows a journal, which what is to be added belongs into")
	}
	if opts.EpochRows <= 0 {
		opts.EpochRows = 500_000
	}
	if opts.EpochTime <= 0 {
		opts.EpochTime = time.Minute
	}
	if opts.BufferBytes <= 0 {
		opts.BufferBytes = 64 << 20
	}
	began := s.opts.Now()
	in := &ingestion{s: s, ctx: ctx, opts: opts, led: ledger.New(), wake: make(chan struct{}), began: began, epochBegan: began,
		listing: ledger.New(), run: Run{Began: began.UTC()}}
	for i, name := range opts.Intake.Named {
		if i == inputsKept {
			in.run.Inputs = append(in.run.Inputs, fmt.Sprintf("and %d more", len(opts.Intake.Named)-i))
			break
		}
		in.run.Inputs = append(in.run.Inputs, name)
	}
	defer func() { err = errors.Join(err, in.close()) }()
	for _, p := range s.st.Load().Objects {
		o, err := openPart(s.dir, p)
		if err != nil {
			return nil, err
		}
		in.known = append(in.known, o)
	}
	if in.seen, err = s.newSeen(ctx, opts.TempDir); err != nil {
		return nil, err
	}
	if in.hot, err = s.withHot(ctx, in.seen); err != nil {
		return nil, err
	}
	// The next writer empties the index folder of what is not an index.
	in.aside = segment.NewSpill(cmp.Or(opts.TempDir, filepath.Join(s.dir, indexDir)))
	io := opts.Intake
	io.Ledger, io.Seen, io.Epochs, io.Window = in.listing, in.hot, in, window
	err = intake.Run(ctx, io, in.newWorker)
	// What ended is committed whatever stopped the rest, if nothing of it was interrupted.
	if in.inflight == 0 && in.broken == nil && ctx.Err() == nil {
		err = errors.Join(err, in.commit(ctx))
	}
	if err != nil {
		return nil, err
	}
	in.res.Ledger = ledger.Merge(in.listing.Report(), in.total)
	in.res.Rows = s.st.Load().Rows
	in.res.Took = s.opts.Now().Sub(began)
	in.res.Seconds = in.res.Took.Seconds()
	return &in.res, nil
}

// ingestion is one run of [Store.Ingest]. It implements [intake.Epochs].
type ingestion struct {
	s       *Store
	opts    IngestOptions
	known   []*objectsFile
	seen    *seen
	hot     *hotSeen // seen, and hot rows
	aside   *segment.Spill
	began   time.Time
	listing *ledger.Ledger // of what is left out while listing
	total   *ledger.Report // of the epochs that were committed
	res     IngestResult
	run     Run

	ctx   context.Context
	rows  atomic.Int64 // of the epoch
	limit atomic.Int64 // bytes that a worker holds

	mu         sync.Mutex
	led        *ledger.Ledger // of the epoch; guarded by mu, like the rest
	epochBegan time.Time
	inflight   int           // objects being read
	closing    bool          // nothing is begun until the epoch is committed
	wake       chan struct{} // closed when it is
	objects    []objectKey   // read whole in this epoch
	workers    []*worker
	broken     error // a commit failed
}

func (in *ingestion) close() error {
	var errs []error
	for _, o := range in.known {
		errs = append(errs, o.close())
	}
	if in.hot != nil {
		errs = append(errs, in.hot.close())
	}
	if in.seen != nil {
		errs = append(errs, in.seen.close())
	}
	if in.aside != nil {
		errs = append(errs, in.aside.Close())
	}
	for _, w := range in.workers {
		errs = append(errs, w.discard())
	}
	return errors.Join(errs...)
}

// Skip implements [intake.Epochs].
func (in *ingestion) Skip(obj source.Object) (string, error) {
	k, ok := identify(obj)
	if !ok {
		return "", nil
	}
	for _, o := range in.known {
		if has, err := o.has(k); err != nil || has {
			in.res.Known++ // listing is one goroutine
			return ReadBefore, err
		}
	}
	return "", nil
}

// Begin implements [intake.Epochs]. It waits while an epoch is being committed.
func (in *ingestion) Begin(ctx context.Context, _ source.Object) (*ledger.Ledger, error) {
	for {
		in.mu.Lock()
		if in.broken != nil {
			defer in.mu.Unlock()
			return nil, in.broken
		}
		if !in.closing {
			defer in.mu.Unlock()
			in.inflight++
			return in.led, nil
		}
		wake := in.wake
		in.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// End implements [intake.Epochs]. The last object of an epoch that is full commits it.
func (in *ingestion) End(ctx context.Context, obj source.Object, whole bool) error {
	in.mu.Lock()
	in.inflight--
	if whole {
		if k, ok := identify(obj); ok {
			in.objects = append(in.objects, k)
		}
	}
	in.closing = in.closing || in.rows.Load()-in.aside.Filed()/8*7 >= in.opts.EpochRows || len(in.objects) >= epochObjects ||
		in.s.opts.Now().Sub(in.epochBegan) >= in.opts.EpochTime
	last := in.closing && in.inflight == 0
	in.mu.Unlock()
	if !last {
		return nil
	}
	err := in.commit(ctx) // nobody else is in: nothing is begun while closing
	in.mu.Lock()
	defer in.mu.Unlock()
	in.broken = err
	in.closing = false
	close(in.wake)
	in.wake = make(chan struct{})
	return err
}

// epochObjects bounds the objects of an epoch.
const epochObjects = 200_000

// commit makes the epoch's events, ledger and objects part of the store. No object is being read.
func (in *ingestion) commit(ctx context.Context) error {
	report := in.led.Report()
	if report.Objects.Listed == 0 {
		return nil
	}
	if !report.Balanced {
		return fmt.Errorf("the ledger of what was read does not balance, so it is not taken over: %s", report.Problems[0])
	}
	if err := in.flush(ctx); err != nil {
		return err
	}
	var files []segment.Segment
	var rows, size int64
	for _, w := range in.workers {
		for _, f := range w.files {
			rows += f.Rows
			size += f.Bytes
		}
		files = append(files, w.files...)
	}
	if rows != report.Records.Kept {
		return fmt.Errorf("%d events were written where the ledger kept %d, so they are not taken over", rows, report.Records.Kept)
	}
	more, err := in.s.prepare(report, in.objects)
	if err != nil {
		return err
	}
	defer more.done()
	in.total = ledger.Merge(in.total, report)
	in.run.Ended = in.s.opts.Now().UTC()
	in.run.Objects, in.run.Records = in.total.Objects, in.total.Records
	for _, w := range in.workers {
		w.files = nil // whether the commit fails or not, what nothing refers to is for the next writer to remove
	}
	st, err := in.s.append(ctx, files, func(st *state) error {
		more.apply(st)
		st.Runs = slices.DeleteFunc(st.Runs, func(r Run) bool { return in.res.Commits > 0 && r.Began.Equal(in.run.Began) })
		st.Runs = append(st.Runs, in.run)
		st.Runs = st.Runs[max(0, len(st.Runs)-runsKept):]
		return nil
	})
	if err != nil {
		return err
	}
	if err := in.seen.committed(); err != nil {
		return fmt.Errorf("the events are in the store, but: %w", err)
	}
	in.res.Commits++
	in.res.Files += len(files)
	in.res.Bytes += size
	in.res.Added += rows
	in.objects, in.led = nil, ledger.New()
	in.epochBegan = in.s.opts.Now()
	in.rows.Store(0)
	if in.opts.Committed != nil {
		in.opts.Committed(st.Rows)
	}
	return nil
}

// flush makes files of everything that waits. What waits at several workers, or was set aside, is brought together by day.
func (in *ingestion) flush(ctx context.Context) error {
	var waiting []*worker
	var writers []*segment.Writer
	for _, w := range in.workers {
		if w.writer.Rows() > 0 {
			waiting = append(waiting, w)
		}
		writers = append(writers, w.writer)
	}
	if len(waiting) == 1 && in.aside.Rows() == 0 {
		return waiting[0].flush(nil)
	}
	var g errgroup.Group
	for _, w := range waiting {
		g.Go(func() error { return w.flush(in.aside) })
	}
	if err := g.Wait(); err != nil || in.aside.Rows() == 0 {
		return err
	}
	segs, err := in.aside.Write(ctx, writers[:min(len(writers), runtime.GOMAXPROCS(0))], in.limit.Load())
	if err != nil {
		return fmt.Errorf("write events to the store: %w", err)
	}
	in.workers[0].files = append(in.workers[0].files, segs...)
	return nil
}

// newWorker is called by the goroutine that starts the run, and by the one that decodes a big object.
func (in *ingestion) newWorker() (intake.Worker, error) {
	w := &worker{in: in, ctx: in.ctx, limit: &in.limit, writer: segment.NewWriter(segment.Options{Dir: in.s.dir})}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.workers = append(in.workers, w)
	in.limit.Store(in.opts.BufferBytes / int64(len(in.workers)))
	return w, nil
}

// worker writes the events of one goroutine. Between epochs the ingestion uses it.
type worker struct {
	in     *ingestion
	ctx    context.Context // of the ingestion, as events come without one
	writer *segment.Writer
	limit  *atomic.Int64 // bytes that wait before they become files
	files  []segment.Segment
}

// Event implements [intake.Worker].
func (w *worker) Event(e *event.Event) error {
	if err := w.writer.Add(e, nil); err != nil {
		return err
	}
	w.in.rows.Add(1)
	if w.writer.Bytes() >= w.limit.Load() {
		return w.flush(w.in.aside)
	}
	return nil
}

// flush makes files of what waits, but for days of few events when these can be set aside. The files are no part of the
// store before they are committed.
func (w *worker) flush(aside *segment.Spill) error {
	if w.writer.Rows() == 0 {
		return nil
	}
	var segs []segment.Segment
	var err error
	if aside == nil {
		segs, err = w.writer.Flush(w.ctx)
	} else {
		segs, err = w.writer.Settle(w.ctx, aside)
	}
	if err != nil {
		return fmt.Errorf("write events to the store: %w", err)
	}
	w.files = append(w.files, segs...)
	return nil
}

// discard removes files that were not committed.
func (w *worker) discard() error {
	err := removeSegments(w.in.s.dir, w.files)
	w.files = nil
	return err
}
