package livetail

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/match"
)

// Subscription is one subscriber's. One goroutine may call Next; Position and Close may be called at the same time.
type Subscription struct {
	t      *Tail
	expr   match.Expr
	closed chan struct{}
	close  sync.Once
	behind uint64 // entries up to it were given before it joined; set before it joins

	// Of the goroutine that calls Next, while the subscription resumes.
	first   bool // nothing was read yet
	context match.Context

	known map[string]struct{} // eventIDs that were given; of the one goroutine that puts
	ids   [Window]string      // the same, the oldest at next
	next  int

	mu sync.Mutex // guards what follows
	// journal is what it resumes from, nil when it has joined. The goroutine that calls Next alone changes it.
	journal *journal.Follower
	given   position // everything up to it was given
	read    position // everything up to it was given or is in the buffer
	buffer  []queued
	bytes   int64
	dropped uint64
	gap     string
	more    chan struct{} // something is in the buffer, or is to be told
}

type queued struct {
	Message
	at position
}

func size(e *event.Event) int64 { return int64(len(e.Raw)) + 512 }

// put gives an event to the subscriber: the oldest ones go when there is no room.
func (s *Subscription) put(seq uint64, m Message, at position) {
	if seq <= s.behind {
		return
	}
	if !s.remember(m.Event.ID()) {
		s.t.duplicates.Add(1)
		return
	}
	s.mu.Lock()
	dropped := uint64(0)
	if s.journal == nil { // while it resumes, one entry is read at a time
		for len(s.buffer) > 0 && (len(s.buffer) >= s.t.o.Buffer || s.bytes+size(m.Event) > s.t.o.BufferBytes) {
			dropped++
			s.pop()
		}
	}
	s.dropped += dropped
	s.buffer = append(s.buffer, queued{m, at})
	s.bytes += size(m.Event)
	s.mu.Unlock()
	s.signal()
	s.t.given.Add(1)
	s.t.dropped.Add(dropped)
}

// pop takes the oldest message out of the buffer; s.mu is held. What it missed stays to be told.
func (s *Subscription) pop() queued {
	q := s.buffer[0]
	s.buffer[0] = queued{}
	if s.buffer = s.buffer[1:]; len(s.buffer) == 0 {
		s.buffer = nil
	}
	s.bytes -= size(q.Event)
	return q
}

// remember reports whether an eventID is new. Ids that are too long are.
func (s *Subscription) remember(id string) bool {
	if id == "" || len(id) > 128 {
		return true
	}
	if _, ok := s.known[id]; ok {
		return false
	}
	delete(s.known, s.ids[s.next])
	id = string(append([]byte(nil), id...))
	s.ids[s.next] = id
	s.known[id] = struct{}{}
	s.next = (s.next + 1) % Window
	return true
}

// lost tells of what the journal could not give before a batch.
func (s *Subscription) lost(b journal.Batch) {
	if len(b.Lost) == 0 || b.Seq <= s.behind {
		return
	}
	first, last := b.Lost[0].First, b.Lost[len(b.Lost)-1].Last
	s.tell(fmt.Sprintf("the journal has not got all of its entries from %d to %d any more", first, last))
}

// tell notes a gap for the next message.
func (s *Subscription) tell(gap string) {
	s.mu.Lock()
	s.gap = gap
	s.mu.Unlock()
	s.signal()
	s.t.gaps.Add(1)
}

func (s *Subscription) signal() {
	select {
	case s.more <- struct{}{}:
	default:
	}
}

// Next waits for the next message. Errors: the context's, [ErrClosed], and for a subscription that resumes those of the
// journal.
func (s *Subscription) Next(ctx context.Context) (Message, error) {
	for {
		select {
		case <-s.closed:
			return Message{}, ErrClosed
		default:
		}
		if m, ok := s.take(); ok {
			return m, nil
		}
		if s.journal != nil {
			if err := s.catchUp(ctx); err != nil {
				return Message{}, err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return Message{}, ctx.Err()
		case <-s.closed:
			return Message{}, ErrClosed
		case <-s.t.done:
			if m, ok := s.take(); ok {
				return m, nil
			}
			return Message{}, ErrClosed
		case <-s.more:
		}
	}
}

// take gives the next message that is there.
func (s *Subscription) take() (Message, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var m Message
	switch {
	case len(s.buffer) > 0:
		q := s.pop()
		m, s.given = q.Message, q.at
	case s.gap == "":
		return m, false
	}
	m.Dropped, s.dropped = s.dropped, 0
	m.Gap, s.gap = s.gap, ""
	m.Position = s.t.text(s.given)
	return m, true
}

// Position is that behind everything that was given, as far as the journal was read: also behind events that are not for the
// subscriber.
func (s *Subscription) Position() string {
	s.t.mu.Lock()
	at := s.t.at // what was put before is in the buffer now
	s.t.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal == nil && at > s.read.after {
		s.read = position{after: at}
	}
	if len(s.buffer) == 0 {
		s.given = s.read
	}
	return s.t.text(s.given)
}

// catchUp reads an entry of the journal, or joins the others when everything is read that they were given.
func (s *Subscription) catchUp(ctx context.Context) error {
	t := s.t
	t.mu.Lock()
	s.mu.Lock()
	joined := t.ended || s.read.passed == 0 && s.read.after >= t.taken
	if joined {
		s.joinLocked()
	}
	from := s.read
	s.mu.Unlock()
	t.mu.Unlock()
	if joined {
		return nil
	}
	select {
	case t.resumes <- struct{}{}:
		defer func() { <-t.resumes }()
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return ErrClosed
	}
	b, err := s.journal.Next(ctx)
	if errors.Is(err, journal.ErrClosed) {
		return ErrClosed
	}
	if err != nil {
		return err
	}
	s.lost(b)
	if old := t.o.Now().Sub(b.Accepted); s.first && len(b.Records) > 0 && old > t.o.ResumeAge {
		s.tell(fmt.Sprintf("the position to go on from is %s old; at most %s can be gone back", old.Round(time.Second), t.o.ResumeAge))
		t.mu.Lock()
		s.mu.Lock()
		s.read = position{}
		s.joinLocked()
		s.mu.Unlock()
		t.mu.Unlock()
		return nil
	}
	for i, r := range b.Records {
		if s.first && b.First == from.after+1 && i < from.passed {
			continue
		}
		e, err := event.Parse(r.Raw)
		if err != nil {
			continue
		}
		if s.context.Reset(e); s.context.Match(s.expr) {
			s.put(b.Seq, Message{Event: e, Accepted: b.Accepted}, position{b.First - 1, i + 1})
		}
	}
	s.first = false
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read = position{after: b.Seq}
	return nil
}

// joinLocked ends resuming; t.mu and s.mu are held.
func (s *Subscription) joinLocked() {
	s.journal.Close()
	s.journal = nil
	s.t.join(s)
}

// Close ends the subscription. It may be called more than once.
func (s *Subscription) Close() {
	s.close.Do(func() {
		close(s.closed)
		s.mu.Lock()
		if s.journal != nil {
			s.journal.Close()
		}
		s.mu.Unlock()
		s.t.joining.Lock()
		defer s.t.joining.Unlock()
		s.t.leave(s)
	})
}
