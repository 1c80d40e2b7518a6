// Package livetail gives events to subscribers as the journal accepts them.
//
// A [Tail] follows the journal while anybody is subscribed, reads each record once, and puts it into the buffers of those
// whose predicates hold. Buffers are bounded. A subscriber that is too slow loses the oldest events of its buffer, is told how
// many with the next message, and holds nobody else up. The tail has no cursor in the journal: nothing is kept for it, and
// when it cannot keep up with what is accepted its subscribers are told of a gap.
//
// Every message has a position. A subscription that begins behind a position is first given what the journal still has from
// there, at its own pace, and then joins the others. What the journal has no more is told as a gap.
//
// The journal may accept an event twice. A subscription gives an event once within the last [Window] that it gave, by eventID.
package livetail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/match"
)

var (
	// ErrClosed is returned when the tail has ended, or the subscription was closed.
	ErrClosed = errors.New("the live tail has ended")
	// ErrTooMany is returned for a subscription beyond Options.Subscribers.
	ErrTooMany = errors.New("too many live tails")
)

// Window is how many of the events that a subscription gave last are not given again.
const Window = 4096

// Journal is what a tail follows; [journal.Journal] is one.
type Journal interface {
	Follow(ctx context.Context, name string, from journal.Start) (*journal.Follower, error)
}

// Options are the options of a tail. Zero values are the defaults.
type Options struct {
	Journal Journal // required
	// Stream is the identity of the journal. Positions of another one are not resumed.
	Stream      string
	Subscribers int   // at once; default 64
	Buffer      int   // events that wait for a subscriber; default 4096
	BufferBytes int64 // and their bytes; default 16 MiB. One event always fits
	// ResumeAge is how old an event may be at which a subscription resumes. Default 1 h. Resuming is how many entries of the
	// journal are read at once for subscriptions that resume; default 2.
	ResumeAge time.Duration
	Resuming  int
	Log       *slog.Logger     // default discards
	Now       func() time.Time // default [time.Now]
}

// Request says what a subscriber wants.
type Request struct {
	Expr match.Expr // that holds for the events; nil for all
	// After is the position behind which to begin; "" begins with what is accepted from now on. One that is not known is told
	// as a gap.
	After string
}

// Message is what a subscriber is given: an event, or that something is missing, or both; what is missing comes before the
// event.
type Message struct {
	Event    *event.Event // shared, and must not be changed; nil when there is none
	Accepted time.Time    // when the journal took the event
	Position string       // of this message: a subscription after it goes on behind it
	Dropped  uint64       // events that were left out because the subscriber was too slow
	Gap      string       // why events may be missing that nobody counted; "" when none are
}

// Stats are the figures of a tail. Counters count from its beginning.
type Stats struct {
	Subscribers int    // of now
	Resuming    int    // of them, those that did not catch up yet
	Records     uint64 // read
	Unreadable  uint64 // of them, those that are no event
	Given       uint64 // events put into buffers, for each subscriber
	Duplicates  uint64 // events that a subscriber had been given, for each subscriber
	Dropped     uint64 // events left out of buffers that were full, for each subscriber
	Gaps        uint64 // told to subscribers
	Resumed     uint64 // subscriptions that began behind a position
	Position    string // up to which the journal was read; "" when nobody is subscribed
}

// position is a place in the journal: behind an entry, and then behind a number of records of the next one.
type position struct {
	after  uint64
	passed int
}

func (t *Tail) text(p position) string {
	return t.o.Stream + "." + strconv.FormatUint(p.after, 10) + "." + strconv.Itoa(p.passed)
}

// Position is that behind a sequence of the journal, for [Request].After.
func (t *Tail) Position(seq uint64) string { return t.text(position{after: seq}) }

// parse reads what text wrote.
func (t *Tail) parse(s string) (position, error) {
	var p position
	rest, passed, ok := cutLast(s)
	stream, after, ok2 := cutLast(rest)
	if !ok || !ok2 || len(s) > 256 {
		return p, errors.New("the position to go on from is none of this server")
	}
	if stream != t.o.Stream {
		return p, errors.New("the position to go on from is one of another journal")
	}
	var err, err2 error
	p.after, err = strconv.ParseUint(after, 10, 64)
	p.passed, err2 = strconv.Atoi(passed)
	if err != nil || err2 != nil || p.passed < 0 {
		return p, errors.New("the position to go on from is none of this server")
	}
	return p, nil
}

func cutLast(s string) (before, after string, ok bool) {
	i := strings.LastIndexByte(s, '.')
	if i < 0 {
		return "", "", false
	}
	return s[:i], s[i+1:], true
}

// Tail follows a journal for its subscribers. Its methods may be called concurrently.
type Tail struct {
	o       Options
	resumes chan struct{} // a place in it for each entry that is read for those who resume
	done    chan struct{} // closed when the tail has ended

	// joining is held while the follower is begun or ended, and before mu.
	joining sync.Mutex

	mu       sync.Mutex // guards what follows
	ended    bool
	all      map[*Subscription]struct{}
	live     []*Subscription // those that the follower serves; replaced, never changed
	changed  bool            // live is another one than the matcher knows
	follower *journal.Follower
	taken    uint64        // the follower has given everything up to it
	at       uint64        // and it is in the buffers
	wake     chan struct{} // tells Run that there is a follower

	records, unreadable, given, duplicates, dropped, gaps, resumed atomic.Uint64
}

// New makes a tail, which [Tail.Run] brings to life.
func New(o Options) *Tail {
	set(&o.Subscribers, 64)
	set(&o.Buffer, 4096)
	set(&o.BufferBytes, 16<<20)
	set(&o.ResumeAge, time.Hour)
	set(&o.Resuming, 2)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Tail{o: o, resumes: make(chan struct{}, o.Resuming), done: make(chan struct{}), all: map[*Subscription]struct{}{}, wake: make(chan struct{}, 1)}
}

func set[T int | int64 | time.Duration](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

// Run serves the subscribers until the context ends, and then ends their subscriptions. It is called once. It returns nil
// when the context has ended, and otherwise why the journal cannot be followed.
func (t *Tail) Run(ctx context.Context) error {
	defer t.end()
	var matcher *match.Matcher
	var live []*Subscription
	var hits []int
	for {
		t.mu.Lock()
		f := t.follower
		t.mu.Unlock()
		if f == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-t.wake:
			}
			continue
		}
		b, err := f.Next(ctx)
		if err != nil {
			t.mu.Lock()
			gone := t.follower != f // the last subscriber left
			t.mu.Unlock()
			if ctx.Err() != nil {
				return nil
			}
			if gone {
				continue
			}
			return fmt.Errorf("live tail: %w", err)
		}
		t.mu.Lock()
		if t.follower == f {
			t.taken = b.Seq
		}
		if t.changed {
			live, t.changed = t.live, false
			matcher = matcherOf(live)
		}
		t.mu.Unlock()
		if len(live) > 0 {
			for _, s := range live {
				s.lost(b)
			}
			t.records.Add(uint64(len(b.Records)))
			for i, r := range b.Records {
				e, err := event.Parse(r.Raw)
				if err != nil {
					t.unreadable.Add(1) // the store keeps and names it
					continue
				}
				hits = matcher.Match(e, hits[:0])
				for _, n := range hits {
					live[n].put(b.Seq, Message{Event: e, Accepted: b.Accepted}, position{b.First - 1, i + 1})
				}
			}
		}
		t.mu.Lock()
		if t.follower == f {
			t.at = b.Seq
		}
		t.mu.Unlock()
	}
}

func matcherOf(subs []*Subscription) *match.Matcher {
	exprs := make([]match.Expr, len(subs))
	for i, s := range subs {
		exprs[i] = s.expr
	}
	return match.NewIndex(exprs).NewMatcher()
}

// end ends all subscriptions.
func (t *Tail) end() {
	t.joining.Lock()
	defer t.joining.Unlock()
	t.mu.Lock()
	t.ended = true
	close(t.done)
	f := t.follower
	t.follower, t.live = nil, nil
	t.mu.Unlock()
	if f != nil {
		f.Close()
	}
}

// Stats returns the figures of now.
func (t *Tail) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Stats{Subscribers: len(t.all), Resuming: len(t.all) - len(t.live), Records: t.records.Load(), Unreadable: t.unreadable.Load(),
		Given: t.given.Load(), Duplicates: t.duplicates.Load(), Dropped: t.dropped.Load(), Gaps: t.gaps.Load(), Resumed: t.resumed.Load()}
	if t.follower != nil {
		s.Position = t.text(position{after: t.at})
	}
	return s
}

// Subscribe begins a subscription, which must be closed. When it returns, whatever is accepted from then on will be given.
// The context is for the call only.
func (t *Tail) Subscribe(ctx context.Context, r Request) (*Subscription, error) {
	if r.Expr == nil {
		r.Expr = match.Const(true)
	}
	s := &Subscription{t: t, expr: r.Expr, more: make(chan struct{}, 1), closed: make(chan struct{}), known: map[string]struct{}{}}
	var from position
	if r.After != "" {
		var err error
		if from, err = t.parse(r.After); err != nil {
			s.gap = err.Error()
			r.After = ""
		}
	}
	t.joining.Lock()
	defer t.joining.Unlock()
	if err := t.admit(s); err != nil {
		return nil, err
	}
	err := t.follow(ctx)
	if err == nil && r.After != "" {
		err = t.resume(ctx, s, from)
	} else if err == nil {
		t.mu.Lock()
		t.join(s)
		t.mu.Unlock()
	}
	if err != nil {
		t.leave(s)
		return nil, err
	}
	if s.gap != "" {
		t.gaps.Add(1)
	}
	return s, nil
}

// admit counts a subscription among all.
func (t *Tail) admit(s *Subscription) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return ErrClosed
	}
	if len(t.all) >= t.o.Subscribers {
		return ErrTooMany
	}
	t.all[s] = struct{}{}
	return nil
}

// follow begins to follow the journal, unless it is followed; t.joining is held.
func (t *Tail) follow(ctx context.Context) error {
	t.mu.Lock()
	f := t.follower
	t.mu.Unlock()
	if f != nil {
		return nil
	}
	f, err := t.o.Journal.Follow(ctx, "", journal.FromNew())
	if err != nil {
		return fmt.Errorf("live tail: %w", err)
	}
	t.mu.Lock()
	t.follower, t.taken, t.at = f, f.Start(), f.Start()
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
	return nil
}

// resume begins a subscription behind a position; t.joining is held.
func (t *Tail) resume(ctx context.Context, s *Subscription, from position) error {
	// A follower that is ahead of the journal is taken for a journal that lost something: nobody may make one by asking.
	now, err := t.o.Journal.Follow(ctx, "", journal.FromNew())
	if err != nil {
		return fmt.Errorf("live tail: %w", err)
	}
	last := now.Start()
	now.Close()
	if from.after > last {
		t.mu.Lock()
		defer t.mu.Unlock()
		s.gap = "the position to go on from is not in the journal"
		t.join(s) // nobody else knows of s yet
		return nil
	}
	if s.journal, err = t.o.Journal.Follow(ctx, "", journal.After(from.after)); err != nil {
		return fmt.Errorf("live tail: %w", err)
	}
	s.given, s.read, s.first = from, from, true
	t.resumed.Add(1)
	return nil
}

// join lets the follower serve a subscription, from what it gives next; t.mu is held.
func (t *Tail) join(s *Subscription) {
	s.behind = max(s.read.after, t.taken)
	s.read = position{after: max(s.read.after, t.at)}
	if len(s.buffer) == 0 {
		s.given = s.read
	}
	t.live = append(t.live[:len(t.live):len(t.live)], s)
	t.changed = true
}

// leave ends a subscription, and the follower with the last one; t.joining is held.
func (t *Tail) leave(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.all[s]; !ok {
		return
	}
	delete(t.all, s)
	for i, other := range t.live {
		if other == s {
			t.live = append(t.live[:i:i], t.live[i+1:]...)
			t.changed = true
		}
	}
	if len(t.all) == 0 && t.follower != nil {
		t.follower.Close()
		t.follower = nil
	}
}
