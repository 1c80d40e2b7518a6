package store

import (
	"sync"
	"time"
)

// leases knows the plans that are being read in this process, so that their files stay. The zero value is ready; it is
// safe for concurrent use.
type leases struct {
	mu   sync.Mutex
	last uint64
	held map[uint64]time.Time // when each was taken
}

// take takes a lease, before the plan that it is for is made, and gives what ends it, which may be called more than once.
func (l *leases) take(now time.Time) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	id := l.last
	if l.held == nil {
		l.held = map[uint64]time.Time{}
	}
	l.held[id] = now
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, id)
	}
}

// mark gives a moment in the order of leases, for before: what left the store at a mark is in no plan whose lease was
// taken after it.
func (l *leases) mark() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

// before reports whether a lease is held that was taken before the mark.
func (l *leases) before(mark uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.held {
		if id <= mark {
			return true
		}
	}
	return false
}

// oldest is when the oldest lease was taken, zero when none is held.
func (l *leases) oldest() (at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.held {
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at
}
