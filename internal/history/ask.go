package history

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
	"unicode/utf8"

	"spoor/internal/event"
)

// ask is a query that can be answered.
type ask struct {
	kind            kind
	account, region string // both empty for all
	attributes      []Attribute
	since, until    int64 // Unix nanoseconds, both included
	limit           int
	after           *place // only what comes behind it
	bound           string // what tokens are bound to
}

// ask checks a query.
func (h *History) ask(q Query, now time.Time) (*ask, error) {
	a := &ask{kind: management, account: q.Account, region: q.Region, attributes: q.Attributes, since: math.MinInt64, until: math.MaxInt64, limit: q.MaxResults}
	if h.opts.Scope == ScopeAll && (h.opts.All == nil || h.opts.All(q.Account)) {
		a.account, a.region = "", ""
	} else if q.Account == "" || q.Region == "" {
		return nil, errors.New("look events up: no account or no Region")
	}
	if q.Insight {
		a.kind = insight
	}
	if len(q.Attributes) > 1 && !h.opts.Extended {
		return nil, fmt.Errorf("%w: one attribute can be asked for, not %d", ErrAttributes, len(q.Attributes))
	}
	for _, attr := range q.Attributes {
		switch attr.Key {
		case EventID, EventName, EventSource:
		case AccessKeyID, ReadOnly, ResourceName, ResourceType, Username:
			if q.Insight {
				return nil, fmt.Errorf("%w: Insight events are looked up by EventId, EventName or EventSource, not %s", ErrAttributes, attr.Key)
			}
		default:
			return nil, fmt.Errorf("%w: there is no attribute %q", ErrAttributes, attr.Key)
		}
		if n := utf8.RuneCountInString(attr.Value); n < 1 || n > 2000 {
			return nil, fmt.Errorf("%w: a value has 1 to 2000 characters, not %d", ErrAttributes, n)
		}
	}
	if a.limit == 0 {
		a.limit = MaxResults
	}
	if a.limit < 1 || a.limit > MaxResults {
		return nil, fmt.Errorf("%w: %d: want 1 to %d", ErrMaxResults, q.MaxResults, MaxResults)
	}
	if !q.Start.IsZero() && !q.End.IsZero() && q.Start.After(q.End) {
		return nil, fmt.Errorf("%w: the start %s is after the end %s", ErrTimeRange, q.Start.UTC().Format(time.RFC3339), q.End.UTC().Format(time.RFC3339))
	}
	bound, err := json.Marshal([]any{string(rune(a.kind)), a.account, a.region, a.attributes, nanos(q.Start, 0), nanos(q.End, 0)})
	if err != nil {
		return nil, fmt.Errorf("look events up: %w", err)
	}
	a.bound = string(bound)
	a.since, a.until = nanos(q.Start, math.MinInt64), nanos(q.End, math.MaxInt64)
	if !h.opts.Extended {
		a.since = max(a.since, now.Add(-Reach).UnixNano())
	}
	if q.Token != "" {
		if err := h.resume(q.Token, a); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// nanos is a time in Unix nanoseconds, as near as those go; absent for none.
func nanos(t time.Time, absent int64) int64 {
	switch {
	case t.IsZero():
		return absent
	case t.Year() < 1678:
		return math.MinInt64 + 1
	case t.Year() > 2261:
		return math.MaxInt64
	}
	return t.UnixNano()
}

// asks reports whether an event is asked for, but for its place.
func (a *ask) asks(e *event.Event) bool {
	if kindOf(e) != a.kind || e.Time < a.since || e.Time > a.until || a.account != "" && (e.Account() != a.account || e.Region() != a.region) {
		return false
	}
	for _, want := range a.attributes {
		has := false
		attributes(e, a.kind, func(key Key, value string) { has = has || key == want.Key && value == want.Value })
		if !has {
			return false
		}
	}
	return true
}

// place is a place in the order of events: by time, then the beginning of the id, then a sum of the record. Data files are in
// the order of time, id and record, so that merging them changes no place.
type place struct {
	time int64
	id   string
	sum  [8]byte
}

// idBegins is how much of an eventID is in a place.
const idBegins = 512

func placeOf(e *event.Event) place {
	p := place{time: e.Time, id: begin(e.ID())}
	sum := sha256.Sum256(e.Raw)
	copy(p.sum[:], sum[:])
	return p
}

func begin(id string) string {
	return string([]byte(id[:min(len(id), idBegins)]))
}

// compare orders places as pages have them, newest first.
func (p *place) compare(o *place) int {
	switch {
	case p.time != o.time:
		if p.time > o.time {
			return -1
		}
		return 1
	case p.id != o.id:
		if p.id > o.id {
			return -1
		}
		return 1
	}
	for i := range p.sum {
		if p.sum[i] != o.sum[i] {
			return int(o.sum[i]) - int(p.sum[i])
		}
	}
	return 0
}

const keyFile = "token.key"

// tokenText is what a token says.
type tokenText struct {
	Time  int64  `json:"t"`
	ID    []byte `json:"i,omitempty"`
	Sum   []byte `json:"s"`
	Since int64  `json:"f"` // of the first page, so that no later one is shorter
}

func (h *History) token(p place, a *ask) string {
	text, err := json.Marshal(tokenText{p.time, []byte(p.id), p.sum[:], a.since})
	if err != nil {
		return "" // it has numbers and bytes only
	}
	return h.key.Seal(text, a.bound)
}

// resume lets an ask go on behind what a token says.
func (h *History) resume(token string, a *ask) error {
	b, err := h.key.Open(token, a.bound)
	if err != nil {
		return fmt.Errorf("%w: it is not one that was given for these parameters", ErrToken)
	}
	var t tokenText
	p := place{}
	if err := json.Unmarshal(b, &t); err != nil || copy(p.sum[:], t.Sum) != len(p.sum) {
		return fmt.Errorf("%w: it cannot be read", ErrToken)
	}
	p.time, p.id = t.Time, string(t.ID)
	a.after, a.since = &p, t.Since
	return nil
}

// limiter counts calls by account and Region, and knows when the last was.
type limiter struct {
	mu   sync.Mutex
	last time.Time
	of   map[string]bucket
}

// bucket has the calls that may be made at a time.
type bucket struct {
	calls float64
	at    time.Time
}

// allow takes a call into account, and reports whether it may be answered.
func (l *limiter) allow(who string, now time.Time, limited bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = now
	if !limited {
		return true
	}
	if len(l.of) > 1000 {
		for k, b := range l.of { // a second later a bucket is full
			if now.Sub(b.at) > time.Second {
				delete(l.of, k)
			}
		}
	}
	if l.of == nil {
		l.of = map[string]bucket{}
	}
	b, ok := l.of[who]
	if !ok {
		b = bucket{Rate, now}
	}
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b = bucket{min(Rate, b.calls+passed*Rate), now}
	}
	if b.calls < 1 {
		l.of[who] = b
		return false
	}
	b.calls--
	l.of[who] = b
	return true
}

// lately reports whether there was a call in the last minutes.
func (l *limiter) lately(now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.last.IsZero() && now.Sub(l.last) < 15*time.Minute
}
