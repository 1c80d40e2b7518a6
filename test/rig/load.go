package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Book keeps what was offered to a server, and what it has acknowledged. Its methods may be called concurrently.
type Book struct {
	size int

	mu      sync.Mutex
	offered map[uint64]bool // batches, by the number of their first record; true when they are acknowledged
	acked   int64
}

// NewBook makes a book of batches of a feed.
func NewBook(f *Feed) *Book { return &Book{size: f.size, offered: map[uint64]bool{}} }

func (b *Book) key(stream uint8, batch uint64) uint64 { return number(stream, batch*uint64(b.size)) }

// Offer takes down that a batch is about to be sent.
func (b *Book) Offer(stream uint8, batch uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.key(stream, batch); !b.offered[k] {
		b.offered[k] = false
	}
}

// Ack takes down that a batch must be in the answer from now on.
func (b *Book) Ack(stream uint8, batch uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if k := b.key(stream, batch); !b.offered[k] {
		b.offered[k] = true
		b.acked += int64(b.size)
	}
}

// Acked is how many records must be in the answer.
func (b *Book) Acked() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acked
}

// Verdict is what an answer is worth.
type Verdict struct {
	Rows    int64 // in the answer
	Acked   int64 // records that were acknowledged before it was asked for
	Missing int64 // of them, those that are not in the answer
	Twice   int64 // rows that are in it already
	Unasked int64 // records of feeds that were never offered
	Others  int64 // rows of somebody else, such as the server's own calls
	Example string
}

// Whole says whether everything is in the answer once.
func (v *Verdict) Whole() bool { return v.Missing == 0 && v.Twice == 0 && v.Unasked == 0 }

// Check asks for the ids of all events, and holds them against the book.
func (b *Book) Check(ctx context.Context, s *Server) (*Verdict, error) {
	b.mu.Lock()
	acked := make([]uint64, 0, len(b.offered))
	for k, ok := range b.offered {
		if ok {
			acked = append(acked, k)
		}
	}
	b.mu.Unlock()
	v := &Verdict{Acked: int64(len(acked)) * int64(b.size)}
	seen := map[uint64][]uint64{} // bits of the records of a batch
	others := map[string]bool{}
	size := uint64(b.size)
	err := s.SQL(ctx, "SELECT eventID FROM events", func(line []byte) error {
		var row struct {
			ID string `json:"eventID"`
		}
		if err := json.Unmarshal(line, &row); err != nil {
			return fmt.Errorf("read an id: %w", err)
		}
		v.Rows++
		n, ours := numberOf(row.ID)
		if !ours {
			v.Others++
			if others[row.ID] {
				v.Twice++
				v.Example = row.ID
			}
			others[row.ID] = true
			return nil
		}
		at := (n & (1<<56 - 1)) % size
		k := n - at
		bits := seen[k]
		if bits == nil {
			bits = make([]uint64, (size+63)/64)
			seen[k] = bits
		}
		if bits[at/64]&(1<<(at%64)) != 0 {
			v.Twice++
			v.Example = row.ID
		}
		bits[at/64] |= 1 << (at % 64)
		return nil
	})
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	for k := range seen {
		if _, ok := b.offered[k]; !ok {
			v.Unasked += int64(b.size)
		}
	}
	b.mu.Unlock()
	for _, k := range acked {
		bits := seen[k]
		for at := range size {
			if bits == nil || bits[at/64]&(1<<(at%64)) == 0 {
				v.Missing++
				var id [idLen]byte
				putID(id[:], k+at)
				v.Example = string(id[:])
			}
		}
	}
	return v, nil
}

// Settle checks until everything is in the answer, for as long as the context lasts: what was acknowledged a moment ago may
// take some seconds. What is there twice, or was never offered, is told at once.
func (b *Book) Settle(ctx context.Context, s *Server) (*Verdict, error) {
	for {
		v, err := b.Check(ctx, s)
		if err != nil || v.Whole() || v.Twice > 0 || v.Unasked > 0 {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, nil
		case <-s.Done():
			return v, ErrEnded
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// Load sends batches of a feed, as several clients, each with a stream of its own. A batch whose outcome is not known is sent
// again, also after a restart of the server. One goroutine may call Run at a time.
type Load struct {
	Feed    *Feed
	Book    *Book // may be nil
	Clients int
	Stream  uint8 // of the first client; the others follow
	// Rate is how many records a second are due, of all clients together; 0 for as many as they can. What comes late counts
	// from when it was due.
	Rate float64
	// Twice sends every so many batches again although they were acknowledged; 0 none.
	Twice int
	// Acked, when set, is told of each batch that was acknowledged, when it was.
	Acked func(stream uint8, batch uint64, at time.Time)

	next []uint64    // batch of each client that is not acknowledged
	made []time.Time // when it was sent first: offered again it must be the same
}

// Sent is what came of a load.
type Sent struct {
	Records   int64 // acknowledged
	Took      time.Duration
	Latencies []time.Duration // of the batches that were acknowledged, sorted
	Refused   int64           // answers of 503
	Silent    int64           // of them, those that did not say when to come again
	Failed    int64           // requests without an answer, and other answers
	Err       error           // the last of these
}

// Rate is records that were acknowledged in a second.
func (s *Sent) Rate() float64 { return float64(s.Records) / max(s.Took.Seconds(), 1e-9) }

// Percentile of the latencies, of 100; 0 when there are none.
func (s *Sent) Percentile(p float64) time.Duration { return Percentile(s.Latencies, p) }

// Percentile of sorted durations, of 100; 0 when there are none.
func Percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*p/100))]
}

// longestWait is how long a client waits at most when it is told to come again later.
const longestWait = 2 * time.Second

// Run sends until the context or the server ends.
func (l *Load) Run(ctx context.Context, s *Server) *Sent {
	if l.next == nil {
		l.next, l.made = make([]uint64, l.Clients), make([]time.Time, l.Clients)
	}
	began := time.Now()
	var turn atomic.Int64
	all := make([]Sent, l.Clients)
	var clients sync.WaitGroup
	for c := range l.Clients {
		clients.Go(func() { l.client(ctx, s, c, began, &turn, &all[c]) })
	}
	clients.Wait()
	out := &Sent{Took: time.Since(began)}
	for i := range all {
		a := &all[i]
		out.Records += a.Records
		out.Latencies = append(out.Latencies, a.Latencies...)
		out.Refused += a.Refused
		out.Silent += a.Silent
		out.Failed += a.Failed
		if a.Err != nil {
			out.Err = a.Err
		}
	}
	slices.Sort(out.Latencies)
	return out
}

func (l *Load) client(ctx context.Context, s *Server, c int, began time.Time, turn *atomic.Int64, out *Sent) {
	stream := l.Stream + uint8(c)
	var body []byte
	pause := func(d time.Duration) bool {
		if d <= 0 {
			return ctx.Err() == nil
		}
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return false
		case <-s.Done():
			return false
		case <-timer.C:
			return true
		}
	}
	again := false // the same batch is due already
	due := began
	for ctx.Err() == nil {
		switch {
		case again:
		case l.Rate > 0:
			n := turn.Add(1) - 1
			due = began.Add(time.Duration(float64(n) * float64(l.Feed.size) / l.Rate * float64(time.Second)))
			if !pause(time.Until(due)) {
				return
			}
		default:
			due = time.Now()
		}
		batch := l.next[c]
		if l.Book != nil {
			l.Book.Offer(stream, batch)
		}
		if l.made[c].IsZero() {
			l.made[c] = time.Now()
		}
		body = l.Feed.Batch(body, stream, batch, l.made[c])
		err := s.Push(ctx, body, l.Feed.size)
		if err == nil && l.Twice > 0 && batch%uint64(l.Twice) == 0 {
			err = s.Push(ctx, body, l.Feed.size)
		}
		var status *StatusError
		switch {
		case err == nil:
			now := time.Now()
			if l.Book != nil {
				l.Book.Ack(stream, batch)
			}
			if l.Acked != nil {
				l.Acked(stream, batch, now)
			}
			out.Records += int64(l.Feed.size)
			out.Latencies = append(out.Latencies, now.Sub(due))
			l.next[c]++
			l.made[c] = time.Time{}
			again = false
		case ctx.Err() != nil:
			return
		case errors.As(err, &status) && status.Status == http.StatusServiceUnavailable:
			out.Refused++
			wait := status.RetryAfter
			if wait <= 0 {
				out.Silent++
			}
			again = true
			if !pause(min(max(wait, 10*time.Millisecond), longestWait)) {
				return
			}
		default:
			out.Failed++
			out.Err = err
			again = true
			if !pause(50 * time.Millisecond) {
				return
			}
		}
	}
}
