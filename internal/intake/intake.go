// Package intake runs inputs through the decoder: it lists sources, opens objects, decodes them on all processors,
// leaves out what was not asked for and what was seen before, and accounts for every object and record in a ledger.
// Everything that reads files or buckets without a server goes through [Run].
package intake

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/ledger"
	"spoor/internal/source"
)

// Options of [Run]. Sources and Ledger are required.
type Options struct {
	Sources []source.Source
	// Named are the inputs as the user gave them: what was named must hold logs, what merely lies in a folder need not.
	Named  []string
	Select source.Selection
	// Workers is how many goroutines decode, by default as many as there are processors.
	Workers int
	Limits  event.Limits
	// Seen tells events that were offered before; nil keeps duplicates.
	Seen    Seen
	Ledger  *ledger.Ledger
	Rejects *RejectWriter // may be nil
	// Epochs, when set, is asked about every object and says which ledger counts it. Ledger then counts only what is left out
	// while listing.
	Epochs Epochs
	// Window, when set, is how many listed objects are held back so that they can be read in the order of their delivery.
	Window int
	// Progress, when set, is kept up to date while Run runs.
	Progress *Progress
}

// Progress counts what was done. Its members may be read at any time.
type Progress struct {
	Listed      atomic.Int64 // objects to read
	ListedBytes atomic.Int64 // their stored size, where it is known
	Unsized     atomic.Int64 // listed and not done, and their size is not known
	Done        atomic.Int64
	DoneBytes   atomic.Int64
	Expanded    atomic.Int64
	Events      atomic.Int64
	ListingDone atomic.Bool
}

// Worker takes the events that are kept. Each is used by one goroutine at a time; e is valid until Event returns, and an
// error ends the run.
type Worker interface {
	Event(e *event.Event) error
}

// preparer is a Worker that begins before it is known whether the event is a duplicate: Prepare is called before each
// Event, with the same event, and keeps nothing of those that Event does not get.
type preparer interface {
	Prepare(e *event.Event)
}

// Seen remembers events, as [dedup.Set] does. Implementations are safe for concurrent use.
type Seen interface {
	// Ahead says that a key will be added soon.
	Ahead(k dedup.Key)
	// Add offers an event by its key and eventTime in nanoseconds.
	Add(k dedup.Key, time int64) (dedup.Verdict, error)
}

// Epochs tells objects from one another for whoever must take them over whole. Implementations are safe for concurrent use.
type Epochs interface {
	// Skip is called while listing, and gives the reason why obj is not to be read, or "".
	Skip(obj source.Object) (reason string, err error)
	// Begin is called before obj is opened; it may wait. The ledger counts obj, the members of it and their records.
	Begin(ctx context.Context, obj source.Object) (*ledger.Ledger, error)
	// End is called when nothing of obj is left to be given to a worker; not when the run ends before. whole says that obj
	// could be read to its end, with its members, and that the selection left out nothing of it.
	End(ctx context.Context, obj source.Object, whole bool) error
}

const (
	// bigObject is the stored size from which one object is decoded by several goroutines.
	bigObject = 48 << 20
	// prefetchMax is the largest object that is fetched whole before it is decoded, where fetching is slow, and
	// prefetchAll the most memory that such objects take together.
	prefetchMax = 16 << 20
	prefetchAll = 96 << 20
	queueLength = 4096
)

// Run reads everything that the sources list. It calls newWorker for every goroutine that decodes, up to twice the number
// of Workers. What cannot be read is in the ledger and no error; errors are a source that cannot be listed, a worker's
// error, and a cancelled context.
func Run(ctx context.Context, opts Options, newWorker func() (Worker, error)) error {
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	if opts.Select.Kinds == nil {
		opts.Select.Kinds = source.LogKinds()
	}
	if opts.Progress == nil {
		opts.Progress = new(Progress)
	}
	r := &run{opts: opts, newWorker: newWorker, queue: make(chan job, queueLength), slots: make(chan *slot, opts.Workers),
		fetching: semaphore.NewWeighted(prefetchAll)}
	for range opts.Workers {
		s, err := r.newSlot()
		if err != nil {
			return err
		}
		r.slots <- s
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	openers := opts.Workers
	for _, src := range opts.Sources {
		openers = max(openers, src.Parallel())
	}
	var wg sync.WaitGroup
	for range openers {
		wg.Go(func() {
			for j := range r.queue {
				if ctx.Err() != nil {
					continue
				}
				if err := r.object(ctx, j); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := r.list(ctx)
	close(r.queue)
	wg.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if n, m := r.queued, r.ended.Load(); err == nil && n != m {
		return fmt.Errorf("%d objects were listed to be read, but %d were dealt with", n, m)
	}
	return err
}

type run struct {
	opts      Options
	newWorker func() (Worker, error)
	queue     chan job
	slots     chan *slot

	fetching *semaphore.Weighted // bytes of prefetched objects

	queued int64        // objects; of the goroutine that lists
	ended  atomic.Int64 // objects dealt with

	bigMu sync.Mutex // held while an object is decoded by the big slots
	big   []*slot    // guarded by bigMu
}

type job struct {
	src source.Source
	obj source.Object
}

// slot is what one decoding goroutine uses.
type slot struct {
	run    *run
	dec    *event.Decoder
	worker Worker
	early  preparer // the worker, nil if it is none
}

func (r *run) newSlot() (*slot, error) {
	w, err := r.newWorker()
	if err != nil {
		return nil, err
	}
	early, _ := w.(preparer)
	return &slot{run: r, dec: event.NewDecoder(r.opts.Limits), worker: w, early: early}, nil
}

// list queues what the sources list. A source that cannot be listed to its end ends the run when what was queued is done:
// an incomplete answer must not look whole.
func (r *run) list(ctx context.Context) error {
	p := r.opts.Progress
	held := window{limit: r.opts.Window}
	send := func(j job) error {
		select {
		case r.queue <- j:
			r.queued++
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var failed error
	for _, src := range r.opts.Sources {
		list := src.List
		if names, ok := src.(source.Namer); ok && r.opts.Epochs == nil { // which tell objects apart by size and time
			list = names.ListNames
		}
		err := list(ctx, r.opts.Select, func(obj source.Object, skip string) (err error) {
			if skip == "" {
				skip = unwanted(obj.Place.Kind)
			}
			if skip == "" && r.opts.Epochs != nil {
				if skip, err = r.opts.Epochs.Skip(obj); err != nil {
					return err
				}
			}
			if skip != "" || r.opts.Epochs == nil {
				r.opts.Ledger.Listed(obj)
			}
			if skip != "" {
				r.opts.Ledger.Skip(obj, skip)
				return nil
			}
			p.Listed.Add(1)
			p.ListedBytes.Add(storedSize(obj))
			if obj.Size < 0 {
				p.Unsized.Add(1)
			}
			return held.through(job{src, obj}, send)
		})
		if err != nil {
			failed = err
			break
		}
	}
	p.ListingDone.Store(true)
	if err := held.drain(send); err != nil {
		return err
	}
	return failed
}

// storedSize is what an object adds to the bytes to be read: members of archives lie in the bytes of their archive.
func storedSize(obj source.Object) int64 {
	if obj.Archive != "" {
		return 0
	}
	return max(obj.Size, 0)
}

// unwanted says why objects of a kind are not read.
func unwanted(k source.Kind) string {
	switch k {
	case source.Unknown, source.Logs, source.Insight, source.NetworkActivity, source.Aggregated:
		return ""
	case source.Digest:
		return "digest file"
	}
	return "delivered by another service: " + string(k)
}

// object opens one object and decodes it, or its members. It returns only what must end the run.
func (r *run) object(ctx context.Context, j job) error {
	p := r.opts.Progress
	defer func() {
		p.Done.Add(1)
		p.DoneBytes.Add(storedSize(j.obj))
		if j.obj.Size < 0 {
			p.Unsized.Add(-1)
		}
	}()
	led := r.opts.Ledger
	if r.opts.Epochs == nil {
		_, err := r.read(ctx, &j, led)
		r.ended.Add(1)
		return err
	}
	led, err := r.opts.Epochs.Begin(ctx, j.obj)
	if err != nil {
		return err
	}
	led.Listed(j.obj)
	whole, err := r.read(ctx, &j, led)
	if err != nil {
		return err
	}
	r.ended.Add(1)
	return r.opts.Epochs.End(ctx, j.obj, whole)
}

// read reads one object or its members, counted by led, and tells whether nothing of it is missing. It returns only the
// error that must end the run. The job's object gets the size that it turns out to have.
func (r *run) read(ctx context.Context, j *job, led *ledger.Ledger) (whole bool, _ error) {
	if src, ok := j.src.(Records); ok {
		return r.records(ctx, src, j.obj, led)
	}
	whole = true
	settled := false
	var fatal error
	err := j.src.Open(ctx, j.obj, func(obj source.Object, text io.Reader) error {
		if obj.Name != j.obj.Name {
			led.Listed(obj)
			skip := obj.Skip
			if skip == "" {
				skip = unwanted(obj.Place.Kind)
			}
			if skip != "" {
				led.Skip(obj, skip)
				whole = whole && source.Counts(skip)
				return nil
			}
		} else {
			settled = true
			r.sized(j, obj.Size)
			if obj.Skip != "" {
				led.Skip(obj, obj.Skip)
				return nil
			}
		}
		var all bool
		all, fatal = r.decode(ctx, j.src, obj, text, led)
		whole = whole && all
		return fatal
	})
	switch {
	case fatal != nil:
		return false, fatal
	case settled:
		return whole, ctx.Err()
	case ctx.Err() != nil:
		return false, ctx.Err()
	}
	// An archive, or something that could not be opened at all.
	if names, ok := j.src.(source.Namer); ok && j.obj.Size < 0 {
		r.sized(j, names.Look(j.obj).Size)
	}
	led.Object(j.obj).Close(err)
	return whole && err == nil, nil
}

// sized notes the size of an object that was listed without.
func (r *run) sized(j *job, size int64) {
	if j.obj.Size < 0 && size >= 0 {
		j.obj.Size = size
		r.opts.Progress.ListedBytes.Add(storedSize(j.obj))
		r.opts.Progress.Unsized.Add(-1)
	}
}

// decode reads one object and settles it in the ledger. It returns only the error that must end the run.
func (r *run) decode(ctx context.Context, src source.Source, obj source.Object, text io.Reader, led *ledger.Ledger) (whole bool, _ error) {
	slow := src.Parallel() > 0
	if obj.Size >= bigObject || obj.Size < 0 {
		return r.decodeBig(ctx, obj, text, led)
	}
	if slow && obj.Size <= prefetchMax {
		// Wait for the network without holding a decoder.
		if err := r.fetching.Acquire(ctx, obj.Size); err != nil {
			return false, err
		}
		defer r.fetching.Release(obj.Size)
		fetched := bytes.NewBuffer(make([]byte, 0, obj.Size+bytes.MinRead))
		if _, err := fetched.ReadFrom(text); err != nil {
			if ctx.Err() != nil {
				return false, ctx.Err()
			}
			text = io.MultiReader(fetched, failing{err})
		} else {
			text = fetched
		}
	}
	s := <-r.slots
	defer func() { r.slots <- s }()
	sink := &sink{slot: s, obj: obj, led: led}
	s.dec.Reopen = reopenable(src, obj)
	err := s.dec.Decode(ctx, obj.Name, text, sink)
	return sink.settle(ctx, err)
}

// failing gives its error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// decodeBig reads one object with several goroutines.
func (r *run) decodeBig(ctx context.Context, obj source.Object, text io.Reader, led *ledger.Ledger) (whole bool, _ error) {
	r.bigMu.Lock()
	defer r.bigMu.Unlock()
	for len(r.big) < r.opts.Workers {
		s, err := r.newSlot()
		if err != nil {
			return false, err
		}
		r.big = append(r.big, s)
	}
	// The slot that does the splitting meets events only in shapes that cannot be split.
	main := <-r.slots
	defer func() { r.slots <- main }()
	first := &sink{slot: main, obj: obj, led: led}
	first.begin()
	var sinks []event.Sink
	var parts []*sink
	for _, s := range r.big {
		part := &sink{slot: s, obj: obj, led: led, open: first.open, tally: first.open.Part()}
		parts = append(parts, part)
		sinks = append(sinks, part)
	}
	main.dec.Reopen = false
	err := main.dec.DecodeParallel(ctx, obj.Name, text, first, sinks)
	for _, p := range parts {
		p.flush()
		p.tally.Done()
		first.filtered = first.filtered || p.filtered
		if first.fatal == nil {
			first.fatal = p.fatal
		}
	}
	return first.settle(ctx, err)
}

// sink takes what the decoder reads from one object.
type sink struct {
	slot  *slot
	obj   source.Object
	led   *ledger.Ledger
	open  *ledger.Object // begun with the first thing to count, as an object without logs is skipped
	tally *ledger.Tally
	notes []string
	fatal error
	n     int64 // events since the progress was last told

	filtered bool // some event was not wanted
	distinct bool // no event was seen before
}

func (s *sink) begin() *ledger.Tally {
	if s.tally == nil {
		s.open = s.led.Object(s.obj)
		s.tally = s.open.Tally
		for _, n := range s.notes {
			s.tally.Note(n)
		}
		s.notes = nil
	}
	return s.tally
}

// Event implements [event.Sink].
func (s *sink) Event(e *event.Event) error {
	t := s.tally
	if t == nil {
		t = s.begin()
	}
	if s.n++; s.n == 1024 {
		s.flush()
	}
	opts := &s.slot.run.opts
	account, region := e.Account(), e.Region()
	if !wanted(&opts.Select, account, region, e) {
		s.filtered = true
		t.Record(account, region, e.Time, ledger.Filtered)
		return nil
	}
	distinct := opts.Seen == nil || s.distinct
	var key dedup.Key
	if !distinct {
		key = dedup.KeyOf(e)
		opts.Seen.Ahead(key)
	}
	if s.slot.early != nil {
		s.slot.early.Prepare(e)
	}
	if !distinct {
		switch v, err := opts.Seen.Add(key, e.Time); {
		case err != nil:
			s.fatal = err
			return err
		case v == dedup.Duplicate:
			t.Record(account, region, e.Time, ledger.Duplicate)
			return nil
		case v == dedup.Conflict:
			t.Note(noteConflict)
		}
	}
	t.Record(account, region, e.Time, ledger.Kept)
	if err := s.slot.worker.Event(e); err != nil {
		s.fatal = err
		return err
	}
	return nil
}

const noteConflict = "eventID that another event has too: both were kept"

func wanted(sel *source.Selection, account, region string, e *event.Event) bool {
	if e.Time != 0 {
		if !sel.Since.IsZero() && e.Time < sel.Since.UnixNano() || !sel.Until.IsZero() && e.Time >= sel.Until.UnixNano() {
			return false
		}
	}
	return (len(sel.Accounts) == 0 || slices.Contains(sel.Accounts, account)) && (len(sel.Regions) == 0 || slices.Contains(sel.Regions, region))
}

func (s *sink) flush() {
	s.slot.run.opts.Progress.Events.Add(s.n)
	s.n = 0
}

// Reject implements [event.Sink].
func (s *sink) Reject(r event.Reject) error {
	s.begin().Reject(r.Offset, r.Length, r.Reason)
	if w := s.slot.run.opts.Rejects; w != nil {
		if err := w.Write(r); err != nil {
			s.fatal = err
			return err
		}
	}
	return nil
}

// Note implements [event.Sink].
func (s *sink) Note(remark string) {
	if s.tally == nil {
		if len(s.notes) < 16 {
			s.notes = append(s.notes, remark)
		}
		return
	}
	s.tally.Note(remark)
}

// Digest implements [event.Sink].
func (s *sink) Digest([]byte) error {
	s.begin().Record("", "", 0, ledger.Other)
	return nil
}

// settle closes the object in the ledger.
func (s *sink) settle(ctx context.Context, err error) (whole bool, _ error) {
	s.flush()
	r := s.slot.run
	r.opts.Progress.Expanded.Add(s.slot.dec.Expanded())
	if s.fatal != nil {
		return false, s.fatal
	}
	if err != nil && ctx.Err() != nil {
		return false, ctx.Err()
	}
	expected := s.obj.Place.Kind != source.Unknown || slices.Contains(r.opts.Named, s.obj.Name)
	other := errors.Is(err, event.ErrNoRecords) || errors.Is(err, event.ErrNotLogs) && !JSONName(s.obj.Name)
	if s.open == nil && other && !expected {
		s.led.Skip(s.obj, err.Error())
		return true, nil
	}
	t := s.begin()
	t.Seen(s.slot.dec.Met())
	t.Expanded(s.slot.dec.Expanded())
	s.open.Close(err)
	return err == nil && !s.filtered, nil
}

// JSONName tells names that promise JSON, so that other content means damage, from the notes and licences that lie
// beside logs.
func JSONName(name string) bool {
	name = strings.ToLower(path.Base(strings.ReplaceAll(name, "\\", "/")))
	for _, packed := range [...]string{".gz", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, packed)
	}
	switch path.Ext(name) {
	case ".json", ".jsonl", ".ndjson":
		return true
	}
	return false
}

// String describes the progress for logs.
func (p *Progress) String() string {
	return fmt.Sprintf("%d of %d objects, %d events", p.Done.Load(), p.Listed.Load(), p.Events.Load())
}
