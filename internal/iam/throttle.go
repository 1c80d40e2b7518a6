package iam

import (
	"net/netip"
	"sync"
	"time"
)

// Throttle bounds failed attempts. From an address, Burst may fail at once, and one more after every Every. Attempts with
// the id of a token that exists are counted by address and token, so that who fails with one token does not keep out those
// who come from the same address with another.
type Throttle struct {
	Burst int           // 0 for 20
	Every time.Duration // 0 for 3 seconds
}

// maxThrottled bounds how many addresses are remembered. Beyond it some are forgotten.
const maxThrottled = 20_000

type throttle struct {
	burst int
	every time.Duration

	mu   sync.Mutex // guards what follows
	full map[throttleKey]time.Time
}

type throttleKey struct {
	from netip.Prefix
	id   string // of the token, empty when there is none
}

func newThrottle(o Throttle) *throttle {
	t := &throttle{burst: o.Burst, every: o.Every, full: map[throttleKey]time.Time{}}
	if t.burst <= 0 {
		t.burst = 20
	}
	if t.every <= 0 {
		t.every = 3 * time.Second
	}
	return t
}

// source is what failures are counted by: the address, of IPv6 its network of 64 bits, in which addresses cost nothing.
func source(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil { // no address: all of those count together
		return netip.Prefix{}
	}
	return p
}

// wait says how long an attempt is refused unseen, 0 for not at all. The table holds, for each key, when its failures
// will all be forgotten.
func (t *throttle) wait(k throttleKey, now time.Time) time.Duration {
	t.mu.Lock()
	defer t.mu.Unlock()
	until, ok := t.full[k]
	if !ok {
		return 0
	}
	return max(0, until.Sub(now)-time.Duration(t.burst-1)*t.every)
}

// fail counts a failed attempt.
func (t *throttle) fail(k throttleKey, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	until := t.full[k]
	if until.Before(now) {
		until = now
	}
	if _, ok := t.full[k]; !ok && len(t.full) >= maxThrottled {
		t.forget(now)
	}
	t.full[k] = until.Add(t.every)
}

// forget makes room: everything that is over goes, and when that is too little, half of the rest, in the order of a map.
func (t *throttle) forget(now time.Time) {
	for k, until := range t.full {
		if !until.After(now) {
			delete(t.full, k)
		}
	}
	for k := range t.full {
		if len(t.full) <= maxThrottled/2 {
			break
		}
		delete(t.full, k)
	}
}
