package topic

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/durable"
)

const (
	// window is how many messages of a subscription may be open: on their way, or waiting to be tried again. Those behind them
	// wait in the outbox.
	window = 256
	// parallel is how many attempts a subscription makes at once.
	parallel = 4
	// keepEvery is how often cursors are written at most; keepShare is which part of the time that may take.
	keepEvery = 2 * time.Second
	keepShare = 50
	sweepFor  = 10 * time.Minute // between looks at what is over

	cursorsName    = "cursors.json"
	cursorsFormat  = "spoor-topic-cursors"
	cursorsVersion = 1
	attemptTime    = 30 * time.Second
)

// cursor is how far a subscription is. What is before Read and not open is done.
type cursor struct {
	Round     int       `json:"round"` // of the subscription
	Read      place     `json:"read"`
	Open      []open    `json:"open,omitempty"` // by number
	Delivered uint64    `json:"delivered,omitempty"`
	Filtered  uint64    `json:"filtered,omitempty"`
	GivenUp   uint64    `json:"givenUp,omitempty"`
	Damaged   uint64    `json:"damaged,omitempty"` // could not be read any more
	Error     string    `json:"error,omitempty"`   // of the last attempt, where that failed
	Tried     time.Time `json:"tried,omitzero"`
}

// open is a message that is not done.
type open struct {
	Seq      uint64    `json:"seq"`
	At       place     `json:"at"`
	Attempts int       `json:"attempts,omitempty"`
	Due      time.Time `json:"due,omitzero"`
	Dead     bool      `json:"dead,omitempty"` // goes to the queue for dead letters
	Why      string    `json:"why,omitempty"`  // it does
	Group    string    `json:"group,omitempty"`
}

// cursors is the file of the cursors of a topic.
type cursors struct {
	Format        string            `json:"format"`
	Version       int               `json:"version"`
	Written       time.Time         `json:"written"`
	Subscriptions map[string]cursor `json:"subscriptions"`
}

// box is what a topic has to deliver.
type box struct {
	id, dir string
	log     *outbox
	moved   atomic.Bool   // cursors are to be written
	leave   atomic.Uint64 // segments before this one have to be left

	mu      sync.Mutex
	cursors map[string]cursor  // of subscriptions without a worker
	workers map[string]*worker // by subscription
	dead    sync.Mutex         // held while dead letters are written or read

	sigMu    sync.Mutex
	sigs     map[[sha256.Size]byte]string // the last signatures, by what was signed
	sigOrder [2 * window][sha256.Size]byte
	sigAt    int // the oldest
}

func cursorDocument() durable.Document {
	return durable.Document{What: "the cursors of a topic", Format: cursorsFormat, Version: cursorsVersion, Most: maxState, Damaged: ErrDamaged, Newer: ErrNewer}
}

func decodeCursors(b []byte) (c cursors, err error) {
	if err := cursorDocument().Decode(b, &c); err != nil {
		return c, err
	}
	for id, x := range c.Subscriptions {
		if x.Read.Offset < 0 || !slices.IsSortedFunc(x.Open, func(a, b open) int { return cmp.Compare(a.Seq, b.Seq) }) || len(x.Open) > 2*window {
			return c, fmt.Errorf("%w: the cursor of %.40s", ErrDamaged, id)
		}
		for _, o := range x.Open {
			if o.Seq == 0 || o.At.Offset < 0 || o.Attempts < 0 {
				return c, fmt.Errorf("%w: the cursor of %.40s: message %d", ErrDamaged, id, o.Seq)
			}
		}
	}
	return c, nil
}

// openBox opens the folder of a topic.
func (s *Service) openBox(t *Topic) (*box, error) {
	b := &box{id: t.ID, dir: filepath.Join(s.dir, topicsName, t.ID), cursors: map[string]cursor{}, workers: map[string]*worker{}}
	if err := durable.MkdirAll(b.dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the topic %s: %w", t.Name, err)
	}
	path := filepath.Join(b.dir, cursorsName)
	_, err := cursorDocument().Read(path, func(text []byte) error {
		c, err := decodeCursors(text)
		if err == nil {
			b.cursors = c.Subscriptions
		}
		return err
	})
	if errors.Is(err, ErrDamaged) { // what was delivered is delivered again, which is better than nothing at all
		s.o.Log.Error("cursors of a topic are damaged: what is in its outbox is delivered again", slog.String("topic", s.arn(t)), slog.Any("error", err))
		err = os.Rename(path, path+".damaged")
	}
	if err != nil {
		return nil, fmt.Errorf("open the topic %s: %w", t.Name, err)
	}
	if b.cursors == nil {
		b.cursors = map[string]cursor{}
	}
	least := uint64(1)
	for _, c := range b.cursors {
		least = max(least, c.Read.Segment)
		for _, o := range c.Open {
			least = max(least, o.Seq+1)
		}
	}
	for _, u := range t.Subscriptions {
		least = max(least, u.From)
	}
	b.log, err = openOutbox(filepath.Join(b.dir, "outbox"), least, s.o.segment, s.now(), s.o.at, s.o.Log)
	return b, err
}

// snapshot is the cursors as they are now.
func (b *box) snapshot(t *Topic) map[string]cursor {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := map[string]cursor{}
	for _, u := range t.Subscriptions {
		if u.Status != Confirmed {
			continue
		}
		if w := b.workers[u.ID]; w != nil && w.round == u.Round {
			out[u.ID] = w.cursor()
		} else if c, ok := b.cursors[u.ID]; ok && c.Round == u.Round {
			out[u.ID] = c
		}
	}
	return out
}

// keep writes the cursors of a topic, and removes what nobody needs any more.
func (s *Service) keep(b *box) error {
	end := b.log.end() // who subscribes from here on wants what follows it
	t := s.byID(b.id)
	if t == nil {
		return nil
	}
	b.moved.Store(false)
	now := b.snapshot(t)
	text, err := json.Marshal(cursors{Format: cursorsFormat, Version: cursorsVersion, Written: s.now(), Subscriptions: now})
	s.o.at("cursors")
	if err == nil {
		err = durable.WriteFile(filepath.Join(b.dir, cursorsName), text, 0o600)
	}
	if err != nil {
		b.moved.Store(true)
		return fmt.Errorf("write the cursors of the topic %s: %w", t.Name, err)
	}
	s.o.at("kept")
	if err := b.log.clean(s.now(), func(g segment, last uint64) bool {
		for _, u := range t.Subscriptions {
			if u.Status != Confirmed {
				continue
			}
			c, ok := now[u.ID]
			switch {
			case !ok:
				if last >= u.From {
					return true
				}
			case g.first > c.Read.Segment, g.first == c.Read.Segment && c.Read.Offset < g.size:
				return true
			case slices.ContainsFunc(c.Open, func(o open) bool { return o.At.Segment == g.first }):
				return true
			}
		}
		return last >= end
	}); err != nil {
		return fmt.Errorf("clean the outbox of the topic %s: %w", t.Name, err)
	}
	s.bound(t, b)
	return nil
}

// bound makes workers leave the oldest segments of an outbox that is too large.
func (s *Service) bound(t *Topic, b *box) {
	b.log.mu.Lock()
	segments := slices.Clone(b.log.segments)
	b.log.mu.Unlock()
	var size int64
	for i, g := range slices.Backward(segments) {
		if size += g.size; size > s.o.MaxOutbox && i < len(segments)-1 {
			if first := segments[i+1].first; b.leave.Swap(first) != first {
				s.o.Log.Error("the outbox of a topic is full: what waits longest is given up", slog.String("topic", s.arn(t)), slog.Int64("most", s.o.MaxOutbox))
			}
			b.wake()
			return
		}
	}
}

// wake tells the workers that there is something new.
func (b *box) wake() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, w := range b.workers {
		signal(w.wake)
	}
}

// job is a goroutine that serves a subscription in one status.
type job struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// Run delivers until ctx ends. It runs once.
func (s *Service) Run(ctx context.Context) error {
	if s.running.Swap(true) {
		return errors.New("deliver to topics: it runs already")
	}
	keep, stop := context.WithCancel(context.WithoutCancel(ctx))
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		s.keeper(keep)
	}()
	jobs := map[string]job{}
	for ctx.Err() == nil {
		s.staff(ctx, jobs)
		select {
		case <-ctx.Done():
		case <-s.changed:
		}
	}
	for _, j := range jobs {
		j.cancel()
	}
	for _, j := range jobs {
		<-j.done
	}
	stop()
	<-kept
	var err error
	for _, b := range s.all() {
		if b.moved.Load() {
			err = errors.Join(err, s.keep(b))
		}
	}
	return err
}

func (s *Service) all() []*box {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Values(s.boxes))
}

// staff lets workers come and go, as subscriptions do.
func (s *Service) staff(ctx context.Context, jobs map[string]job) {
	wanted := map[string]bool{}
	for _, t := range s.state.Get().Topics {
		b := s.box(t.ID)
		if b == nil { // it went just now
			continue
		}
		for _, u := range t.Subscriptions {
			if u.Status != Confirmed && u.Asked {
				continue
			}
			name := fmt.Sprintf("%s/%s/%s/%d", t.ID, u.ID, u.Status, u.Round)
			wanted[name] = true
			if _, runs := jobs[name]; runs {
				continue
			}
			ctx, cancel := context.WithCancel(ctx)
			j := job{cancel, make(chan struct{})}
			jobs[name] = j
			w := s.hire(b, t, u)
			go func() {
				defer close(j.done)
				defer cancel()
				if u.Status == Confirmed {
					w.run(ctx)
				} else {
					w.ask(ctx)
				}
			}()
		}
	}
	for name, j := range jobs {
		if !wanted[name] {
			j.cancel()
			<-j.done // attempts end with their context
			delete(jobs, name)
		}
	}
}

// keeper writes cursors a while after they moved, and removes what is over.
func (s *Service) keeper(ctx context.Context) {
	pause := keepEvery
	sweep := time.NewTicker(sweepFor)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			s.sweep()
		case <-s.moved:
			select {
			case <-ctx.Done():
				return
			case <-time.After(pause):
			}
			began := time.Now()
			for _, b := range s.all() {
				if !b.moved.Load() {
					continue
				}
				if err := s.keep(b); err != nil {
					s.o.Log.Error("cursors of a topic could not be kept; after a crash, what was delivered since is delivered again", slog.Any("error", err))
					signal(s.moved)
				}
			}
			pause = max(keepEvery, keepShare*time.Since(began))
		}
	}
}

// sweep removes what is over: subscriptions that nobody confirmed, folders of topics that went, names that do not count.
func (s *Service) sweep() {
	now := s.now()
	if err := s.state.Amend(func(f *file) (changed bool) {
		for i, t := range f.Topics {
			if c := t.clone(); c.expire(now) {
				f.Topics[i], changed = c, true
			}
		}
		return changed
	}); err != nil {
		s.o.Log.Error("subscriptions that nobody confirmed could not be removed", slog.Any("error", err))
	}
	signal(s.changed)
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.boxes {
		switch at, gone := s.went[id]; {
		case s.byID(id) != nil:
			delete(s.went, id)
			continue
		case !gone: // the change may be taken back
			s.went[id] = now
			continue
		case now.Sub(at) < sweepFor:
			continue
		}
		delete(s.went, id)
		b := s.boxes[id]
		delete(s.boxes, id)
		if b == nil {
			continue
		}
		if err := errors.Join(b.log.close(), os.RemoveAll(b.dir)); err != nil {
			s.o.Log.Error("the folder of a topic that was deleted could not be removed", slog.String("folder", b.dir), slog.Any("error", err))
		}
	}
	for _, b := range s.boxes {
		b.moved.Store(true)
	}
	signal(s.moved)
}

// worker serves a subscription.
type worker struct {
	s     *Service
	b     *box
	topic string // id
	id    string // of the subscription
	round int
	wake  chan struct{}
	send  sender

	mu   sync.Mutex
	cur  cursor           // without Open
	open map[uint64]*item // what is not done

	// Its goroutine owns these.
	read    reader
	waiting []*item // open, not on their way, and not behind another one of their group
	groups  map[string][]*item
	flying  int
	results chan result
	next    time.Time // when the endpoint may be called again
	filter  *filter
	filterOf,
	scopeOf string
	ill bool
}

// item is an open message.
type item struct {
	open
	flying bool
}

// result is how an attempt went.
type result struct {
	item *item
	err  error
}

func (s *Service) hire(b *box, t *Topic, u *Subscription) *worker {
	w := &worker{
		s: s, b: b, topic: t.ID, id: u.ID, round: u.Round, wake: make(chan struct{}, 1), send: s.sender(u.Protocol), open: map[uint64]*item{},
		groups: map[string][]*item{}, results: make(chan result, parallel),
	}
	if u.Status != Confirmed {
		return w
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c, ok := b.cursors[u.ID]; ok && c.Round == u.Round {
		for _, o := range c.Open {
			w.admit(&item{open: o})
		}
		c.Open = nil
		w.cur = c
	} else {
		w.cur = cursor{Round: u.Round, Read: b.log.find(u.From)}
	}
	w.read = reader{b: b.log, at: w.cur.Read}
	b.workers[u.ID] = w
	return w
}

// cursor is how far the worker is.
func (w *worker) cursor() cursor {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.cur
	for _, i := range w.open {
		c.Open = append(c.Open, i.open)
	}
	slices.SortFunc(c.Open, func(a, b open) int { return cmp.Compare(a.Seq, b.Seq) })
	return c
}

// subscription is the subscription as it is now; nil when it is another one by now.
func (w *worker) subscription() (*Topic, *Subscription) {
	t := w.s.byID(w.topic)
	if t == nil {
		return nil, nil
	}
	if _, u := t.subscription(w.id); u != nil && u.Round == w.round {
		return t, u
	}
	return nil, nil
}

// admit makes a message open. Of a group, one is under way at a time.
func (w *worker) admit(i *item) {
	w.open[i.Seq] = i
	if i.Group != "" {
		w.groups[i.Group] = append(w.groups[i.Group], i)
		if len(w.groups[i.Group]) > 1 {
			return
		}
	}
	w.waiting = append(w.waiting, i)
}

// touch changes what the cursor is made of.
func (w *worker) touch(fn func()) {
	w.mu.Lock()
	fn()
	w.mu.Unlock()
	w.b.moved.Store(true)
	signal(w.s.moved)
}

// done ends a message.
func (w *worker) done(i *item, count func(c *cursor)) {
	w.touch(func() {
		delete(w.open, i.Seq)
		count(&w.cur)
	})
	if i.Group == "" {
		return
	}
	g := w.groups[i.Group][1:]
	if len(g) == 0 {
		delete(w.groups, i.Group)
		return
	}
	w.groups[i.Group] = g
	w.waiting = append(w.waiting, g[0])
}

// run delivers messages until ctx ends.
func (w *worker) run(ctx context.Context) {
	defer func() {
		for w.flying > 0 {
			w.settle(ctx, <-w.results)
		}
		w.read.close()
		w.send.close()
		w.b.mu.Lock()
		defer w.b.mu.Unlock()
		if w.b.workers[w.id] == w {
			w.b.cursors[w.id] = w.cursor()
			delete(w.b.workers, w.id)
		}
	}()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		w.leave(ctx)
		wait, idle := w.start(ctx)
		if idle {
			timer.Stop()
		} else {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
		case r := <-w.results:
			w.settle(ctx, r)
		case <-w.wake:
		case <-timer.C:
		}
	}
}

// start begins the attempts that are due, and tells how long nothing further is; idle says that there is nothing further.
func (w *worker) start(ctx context.Context) (wait time.Duration, idle bool) {
	t, u := w.subscription()
	if u == nil {
		return 0, true
	}
	interval := w.interval(t, u)
	for w.flying < parallel && ctx.Err() == nil {
		now := w.s.o.Now()
		if now.Before(w.next) {
			return w.next.Sub(now), false
		}
		at := -1
		var first time.Time
		for k, i := range w.waiting {
			if at < 0 || i.Due.Before(first) {
				at, first = k, i.Due
			}
		}
		if at < 0 || now.Before(first) {
			more, err := w.take(u)
			if err != nil {
				w.s.o.Log.Error("an outbox cannot be read", slog.String("subscription", w.name(t)), slog.Any("error", err))
				return time.Minute, false
			}
			if more {
				continue
			}
			if at < 0 {
				return 0, true
			}
			return first.Sub(now), false
		}
		i := w.waiting[at]
		w.waiting = slices.Delete(w.waiting, at, at+1)
		w.fly(ctx, t, u, i)
		w.next = now.Add(interval)
	}
	return 0, true // results wake it
}

func (w *worker) interval(t *Topic, u *Subscription) time.Duration {
	if u.Protocol != protocolHTTP && u.Protocol != protocolHTTPS {
		return 0
	}
	d, err := deliveryOf(t, u)
	if err != nil || d.Throttle == nil {
		return 0
	}
	return time.Second / time.Duration(d.Throttle.PerSecond)
}

func (w *worker) name(t *Topic) string { return w.s.arn(t) + ":" + w.id }

// take reads the next message; false when there is none, or no room for one.
func (w *worker) take(u *Subscription) (bool, error) {
	if len(w.open) >= w.s.o.window {
		return false, nil
	}
	l, at, ok, err := w.read.next()
	if err != nil || !ok {
		return false, err
	}
	switch e := l.entry; {
	case e == nil:
		w.s.o.Log.Error("a message of an outbox is damaged and cannot be delivered", slog.String("subscription", w.id), slog.String("folder", w.b.dir),
			slog.Uint64("segment", at.Segment), slog.Int64("offset", at.Offset))
		w.touch(func() { w.cur.Damaged++; w.cur.Read = w.read.at })
	case w.b.log.holds(e.Seq):
		w.read.at = at
		return false, nil // its release wakes
	case e.Withdraw != 0 || e.Seq < u.From || w.b.log.gone(e.Seq):
		w.touch(func() { w.cur.Read = w.read.at })
	case !w.wants(u, e):
		w.touch(func() { w.cur.Filtered++; w.cur.Read = w.read.at })
	default:
		w.touch(func() {
			w.cur.Read = w.read.at
			w.admit(&item{open: open{Seq: e.Seq, At: at, Group: e.Group}})
		})
	}
	return true, nil
}

// wants reports whether the filter policy of the subscription lets a message through.
func (w *worker) wants(u *Subscription, e *entry) bool {
	text, scope := u.Attributes[attrFilter], u.Attributes[attrFilterScope]
	if text == "" {
		return true
	}
	if w.filter == nil || text != w.filterOf || scope != w.scopeOf {
		f, err := parseFilter(text, scope == scopeBody)
		if err != nil { // which was checked when it was set
			w.s.o.Log.Error("a filter policy cannot be read: everything is delivered", slog.String("subscription", w.id), slog.Any("error", err))
			return true
		}
		w.filter, w.filterOf, w.scopeOf = f, text, scope
	}
	return w.filter.wants(e, scope == scopeBody)
}

// fly begins an attempt.
func (w *worker) fly(ctx context.Context, t *Topic, u *Subscription, i *item) {
	w.flying++
	i.flying = true
	o := i.open
	go func() {
		e, err := w.b.log.read(o.At)
		switch {
		case err != nil && !errors.Is(err, errLine):
			w.results <- result{i, err}
		case err != nil || e.Seq != o.Seq:
			w.results <- result{i, errLine}
		case w.b.log.gone(o.Seq):
			w.results <- result{i, errWithdrawn}
		default:
			ctx, cancel := context.WithTimeout(ctx, attemptTime)
			defer cancel()
			if o.Dead {
				err = w.s.redrive(ctx, t, u, e, o, w.b)
			} else {
				err = w.send.send(ctx, t, u, e, w.b)
			}
			w.s.o.at("sent")
			w.results <- result{i, err}
		}
	}()
}

var errWithdrawn = errors.New("the message was withdrawn")

// permanent is an error that no further attempt changes.
type permanent struct{ error }

// Unwrap gives the error itself.
func (p permanent) Unwrap() error { return p.error }

// settle takes the result of an attempt.
func (w *worker) settle(ctx context.Context, r result) {
	w.flying--
	i := r.item
	i.flying = false
	t, u := w.subscription()
	switch {
	case u == nil || r.err != nil && ctx.Err() != nil: // it counts as not made
		w.waiting = append(w.waiting, i)
		return
	case errors.Is(r.err, errWithdrawn):
		w.done(i, func(*cursor) {})
		return
	case errors.Is(r.err, errLine):
		w.s.o.Log.Error("a message of an outbox is damaged and cannot be delivered", slog.String("subscription", w.name(t)), slog.Uint64("message", i.Seq))
		w.done(i, func(c *cursor) { c.Damaged++ })
		return
	case r.err == nil:
		if w.ill {
			w.ill = false
			w.s.o.Log.Info("an endpoint takes messages again", slog.String("subscription", w.name(t)))
		}
		dead := i.Dead
		w.done(i, func(c *cursor) {
			c.Error, c.Tried = "", w.s.now()
			if !dead { // else it was counted when it was given up
				c.Delivered++
			}
		})
		return
	}
	if !w.ill {
		w.ill = true
		w.s.o.Log.Warn("an endpoint does not take messages", slog.String("subscription", w.name(t)), slog.Any("error", r.err))
	}
	final := errors.As(r.err, new(permanent))
	delay, again := w.s.retries(t, u, i.Dead).delay(i.Attempts + 1)
	if final || !again {
		w.touch(func() { i.Attempts++; w.cur.Error, w.cur.Tried = short(r.err), w.s.now() })
		w.giveUp(t, u, i, r.err)
		return
	}
	w.touch(func() {
		i.Attempts++
		i.Due = w.s.o.Now().Add(delay).UTC()
		w.cur.Error, w.cur.Tried = short(r.err), w.s.now()
	})
	w.waiting = append(w.waiting, i)
}

// giveUp gives a message up: to the queue of the redrive policy, or else to the dead letters that are kept here.
func (w *worker) giveUp(t *Topic, u *Subscription, i *item, why error) {
	queue, _ := deadLetterQueue(u.Attributes[attrRedrive]) // which was checked when it was set
	if queue == "" || i.Dead || w.s.o.SQS == nil {
		w.bury(t, i, why)
		return
	}
	w.s.o.Log.Warn("a message is given up and goes to the queue for dead letters", slog.String("subscription", w.name(t)),
		slog.Uint64("message", i.Seq), slog.Int("attempts", i.Attempts), slog.Any("error", why))
	w.touch(func() {
		i.Dead, i.Why, i.Attempts, i.Due = true, short(why), 0, time.Time{}
		w.cur.GivenUp++
	})
	w.waiting = append(w.waiting, i)
}

// bury keeps a message as a dead letter; false when that has to be tried again.
func (w *worker) bury(t *Topic, i *item, why error) bool {
	e, err := w.b.log.read(i.At)
	if err == nil {
		err = w.s.keepDead(w.b, w.id, letterOf(e, w.s.now(), i.Attempts, why))
	}
	if err != nil && !errors.Is(err, errLine) { // no room, most likely
		w.s.o.Log.Error("a dead letter could not be kept; it is tried again", slog.String("subscription", w.name(t)), slog.Uint64("message", i.Seq), slog.Any("error", err))
		w.touch(func() { i.Due = w.s.o.Now().Add(time.Minute).UTC() })
		w.waiting = append(w.waiting, i)
		return false
	}
	w.s.o.at("buried")
	id := ""
	if e != nil {
		id = e.ID
	}
	w.s.o.Log.Error("a message is given up and kept as a dead letter", slog.String("subscription", w.name(t)), slog.String("message", id),
		slog.Int("attempts", i.Attempts), slog.Any("error", why))
	counted := i.Dead
	w.done(i, func(c *cursor) {
		if !counted {
			c.GivenUp++
		}
	})
	return true
}

var errFull = errors.New("the outbox of the topic is full")

// leave gives up what is in segments that have to be left.
func (w *worker) leave(ctx context.Context) {
	first := w.b.leave.Load()
	t, u := w.subscription()
	if first == 0 || u == nil {
		return
	}
	for {
		k := slices.IndexFunc(w.waiting, func(i *item) bool { return i.At.Segment < first })
		if k < 0 {
			break
		}
		i := w.waiting[k]
		w.waiting = slices.Delete(w.waiting, k, k+1)
		if !w.bury(t, i, errFull) {
			return
		}
	}
	for ctx.Err() == nil && w.read.at.Segment < first {
		before := w.read.at
		l, at, ok, err := w.read.next()
		if err != nil {
			w.s.o.Log.Error("an outbox cannot be read", slog.String("subscription", w.name(t)), slog.Any("error", err))
			return
		}
		if ok && at.Segment >= first {
			w.read.at = at // it is read in its turn
		}
		wanted := ok && at.Segment < first && l.entry != nil && l.entry.Withdraw == 0 && l.entry.Seq >= u.From && !w.b.log.gone(l.entry.Seq) && w.wants(u, l.entry)
		if wanted {
			if err := w.s.keepDead(w.b, w.id, letterOf(l.entry, w.s.now(), 0, errFull)); err != nil {
				w.s.o.Log.Error("a dead letter could not be kept; it is tried again", slog.String("subscription", w.name(t)), slog.Any("error", err))
				w.read.at = before
				return
			}
			w.s.o.Log.Error("a message is given up and kept as a dead letter", slog.String("subscription", w.name(t)), slog.String("message", l.entry.ID), slog.Any("error", errFull))
		}
		w.touch(func() {
			w.cur.Read = w.read.at
			if wanted {
				w.cur.GivenUp++
			}
		})
		if !ok {
			return
		}
	}
}

// ask sends the message about a subscription that waits for its endpoint.
func (w *worker) ask(ctx context.Context) {
	defer w.send.close()
	for n := 1; ; n++ {
		t, u := w.subscription()
		if u == nil {
			return
		}
		attempt, cancel := context.WithTimeout(ctx, attemptTime)
		err := w.send.send(attempt, t, u, nil, w.b)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			if err := w.s.state.Amend(func(f *file) bool {
				return on(w.topic, func(t *Topic) error {
					k, u := t.subscription(w.id)
					if u == nil || u.Round != w.round || u.Asked {
						return ErrNotFound
					}
					u = u.clone()
					u.Asked = true
					t.Subscriptions[k] = u
					return nil
				})(f) == nil
			}); err != nil {
				w.s.o.Log.Error("that an endpoint was asked could not be kept; it is asked again after the next start", slog.String("subscription", w.name(t)), slog.Any("error", err))
			}
			return
		}
		delay, again := w.s.retries(t, u, false).delay(n)
		if !again || errors.As(err, new(permanent)) {
			w.s.o.Log.Error("an endpoint could not be asked to confirm its subscription", slog.String("subscription", w.name(t)), slog.Int("attempts", n), slog.Any("error", err))
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(delay):
		}
	}
}

// short is the text of an error, within bounds.
func short(err error) string {
	text := []rune(err.Error())
	if len(text) > 500 {
		text = text[:500]
	}
	return string(text)
}
