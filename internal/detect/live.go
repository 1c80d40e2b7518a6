package detect

import (
	"container/heap"
	"errors"
	"strings"
	"sync"
	"time"

	"spoor/internal/detect/window"
	"spoor/internal/event"
)

// The defaults of [LiveOptions].
const (
	DefaultLateness   = 15 * time.Minute // CloudTrail delivers within about this time
	DefaultLiveHeld   = 200_000
	DefaultLiveMemory = 64 << 20
	maxAhead          = 5 * time.Minute // how far an eventTime may lie in the future
)

// LiveOptions are the settings of a [Live]. Zero members stand for defaults; NoLateness for none.
type LiveOptions struct {
	// Lateness is how long events wait for earlier ones before correlations see them. Later ones still take part as far as
	// windows reach back, and are counted.
	Lateness   time.Duration
	NoLateness bool
	MaxHeld    int   // events that wait; beyond it the earliest go on before their time, counted
	Memory     int64 // bytes of compressed records kept for findings; the oldest go first
	// Now, when set, tells the time: events from more than 5 minutes in the future take no part in correlations, so that
	// one of them does not make all others late.
	Now func() time.Time
	// Hit is called for each match of a rule that alerts, by the goroutine of the worker.
	Hit func(Hit)
	// Fired is called for each firing of a correlation that alerts, with a finding of that firing alone; Joined for each
	// event that comes while a firing is open, with the id of its finding. Both are called with a lock held: they must
	// not call the Live back.
	Fired  func(Finding)
	Joined func(findingID, eventID string, at time.Time)
}

// Live evaluates events as they arrive. Single-event rules answer at once; correlations see events in order of event time
// behind a watermark, the latest eventTime less LiveOptions.Lateness, so that their answer does not depend on the order of
// arrival and equals that of a [Batch]. It is safe for concurrent use; memory is bounded.
type Live struct {
	engine *Engine
	opt    LiveOptions

	mu        sync.Mutex
	k         *correlator
	log       *payloadLog
	waiting   waiting
	latest    int64 // eventTime
	watermark int64 // what lies before it has been given to the correlations
	late      int64
	early     int64
	err       error
}

// NewLive begins a live evaluation.
func (e *Engine) NewLive(opt LiveOptions) *Live {
	if opt.Lateness <= 0 && !opt.NoLateness {
		opt.Lateness = DefaultLateness
	}
	if opt.MaxHeld <= 0 {
		opt.MaxHeld = DefaultLiveHeld
	}
	if opt.Memory <= 0 {
		opt.Memory = DefaultLiveMemory
	}
	l := &Live{engine: e, opt: opt, log: &payloadLog{limit: opt.Memory}}
	l.k = newCorrelator(e.rs, l.fired, l.joined)
	return l
}

// LiveWorker gives the events of one goroutine to a Live.
type LiveWorker struct {
	live   *Live
	worker *Worker
}

// Worker adds a worker for one goroutine.
func (l *Live) Worker() *LiveWorker { return &LiveWorker{l, l.engine.NewWorker()} }

// Event evaluates an event. It copies what it keeps. An error says that the record of a firing could not be read back; the
// evaluation goes on.
func (w *LiveWorker) Event(e *event.Event) error {
	rules := w.worker.run(e)
	if w.live.opt.Hit != nil {
		for _, i := range rules {
			if r := w.worker.rs.rules[i]; r.alerts {
				w.live.opt.Hit(Hit{Event: e, Failed: w.worker.failed, rule: r, worker: w.worker})
			}
		}
	}
	var in []input
	if len(rules) > 0 {
		in = w.worker.inputs(e, rules)
	}
	return w.live.offer(e, in, w.worker.failed)
}

func (l *Live) offer(e *event.Event, in []input, failed bool) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ahead := l.opt.Now != nil && e.Time > l.opt.Now().Add(maxAhead).UnixNano()
	if len(in) > 0 && ahead {
		l.k.untimed++
	} else if len(in) > 0 {
		record, err := l.log.append(e, false)
		if err != nil {
			return err
		}
		o := &occurrence{time: e.Time, id: strings.Clone(orderID(e)), account: strings.Clone(shorten(e.Account())), failed: failed, record: record,
			inputs: cloneInputs(in)}
		if e.Time != 0 && e.Time < l.watermark {
			l.late++
			l.k.take(o)
		} else {
			heap.Push(&l.waiting, o)
		}
	}
	if !ahead {
		l.moveTo(e.Time)
	}
	return l.takeError()
}

// moveTo moves time on to t.
func (l *Live) moveTo(t int64) {
	if t > l.latest {
		l.latest = t
		l.watermark = max(l.watermark, t-int64(l.opt.Lateness))
	}
	l.release()
}

// release gives the correlations what lies before the watermark.
func (l *Live) release() {
	for len(l.waiting) > 0 && (l.waiting[0].time < l.watermark || len(l.waiting) > l.opt.MaxHeld) {
		o := heap.Pop(&l.waiting).(*occurrence)
		if o.time >= l.watermark {
			l.early++
			l.watermark = o.time
		}
		l.k.take(o)
	}
	l.k.advance(l.watermark)
}

// Tick tells that the clock stands at now, so that windows end while no events arrive.
func (l *Live) Tick(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.moveTo(now.UnixNano())
	return l.takeError()
}

// Flush gives the correlations everything that waits and judges every open window, as if the input ended.
func (l *Live) Flush() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) > 0 {
		l.k.take(heap.Pop(&l.waiting).(*occurrence))
	}
	l.watermark = max(l.watermark, l.latest)
	l.k.flush()
	return l.takeError()
}

// LiveStats counts what a Live could not do.
type LiveStats struct {
	Waiting int   // events that wait for earlier ones
	Late    int64 // events that came behind the watermark
	Early   int64 // events that went on before their time
	Untimed int64 // events without a time, or from the future
	Evicted int64 // groups given up for the bounds
	Groups  int   // open groups
}

// Stats returns the counters.
func (l *Live) Stats() LiveStats {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := LiveStats{Waiting: len(l.waiting), Late: l.late, Early: l.early + l.k.early, Untimed: l.k.untimed}
	for _, s := range l.k.sets {
		st.Evicted += s.Stats().Evicted
		st.Groups += s.Groups()
	}
	return st
}

func (l *Live) fired(c *correlation, f *window.Firing) {
	if l.opt.Fired == nil {
		return
	}
	cs := newCases(l.engine.rs, 1)
	cs.fired(c, f)
	if len(cs.byGroup) == 0 {
		return
	}
	found, _, err := l.engine.rs.findings(nil, cs.list(), []*payloadLog{l.log}, DefaultRawLimit, nil)
	if err != nil {
		l.err = errors.Join(l.err, err)
		return
	}
	l.opt.Fired(found[0])
}

func (l *Live) joined(c *correlation, key string, e *window.Entry) {
	if l.opt.Joined != nil && c.alerts {
		l.opt.Joined(findingID("correlation", c.info.ID, c.info.Title, key), e.ID, when(e.Time))
	}
}

func (l *Live) takeError() error {
	err := l.err
	l.err = nil
	return err
}

func cloneInputs(in []input) []input {
	out := make([]input, len(in))
	for i, x := range in {
		x.key = strings.Clone(x.key)
		values := make([]string, len(x.values))
		for j, v := range x.values {
			values[j] = strings.Clone(v)
		}
		x.values = values
		out[i] = x
	}
	return out
}

type waiting []*occurrence

func (w waiting) Len() int           { return len(w) }
func (w waiting) Less(i, j int) bool { return w[i].compare(w[j]) < 0 }
func (w waiting) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)        { *w = append(*w, x.(*occurrence)) }
func (w *waiting) Pop() any {
	old := *w
	o := old[len(old)-1]
	old[len(old)-1] = nil
	*w = old[:len(old)-1]
	return o
}
