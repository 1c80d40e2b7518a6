// Package window judges sliding windows of event time: how many events, how many distinct values, which kinds of events
// in which order, what sum or percentile, within one span and one group. Sigma correlations use it; alarms and alert
// thresholds can.
//
// A [Set] is all the windows of one rule, one per group key. It reads no clock: time comes from the entries and from
// [Set.Advance], so the same entries in the same order always give the same firings. Its memory is bounded by
// [Spec.MaxGroups], [Spec.MaxEntries] and [Spec.Shared] whatever the input.
//
// There are two ways to judge, chosen by the condition:
//
//   - At once, when the condition can only become true by more events (gt, gte): with each entry at time t the window
//     (t-span, t] is looked at, and the set fires when the condition holds. Then the group stays silent for one span;
//     entries that come meanwhile join the firing.
//   - At the end, when more events can make the condition false (lt, lte, eq, neq, a range, a negation): the first entry
//     opens the window [t, t+span), which is judged when time reaches its end. The next entry opens the next window.
//
// A Set is not safe for concurrent use.
package window

import (
	"container/heap"
	"math/bits"
	"time"
)

// Kind is what a window measures.
type Kind uint8

// The kinds. The quantity that conditions are compared with is given for each.
const (
	Count      Kind = iota // entries
	Distinct               // distinct Entry.Values
	Temporal               // how many of the references occurred
	Ordered                // how many of the references, from the first on, occurred in order; equal times count as ordered
	Sum                    // sum of Entry.Numbers
	Avg                    // their mean
	Percentile             // their percentile, linear between ranks
	Min                    // the smallest
	Max                    // the largest
)

// Op is a comparison.
type Op uint8

// The comparisons.
const (
	GT Op = iota
	GTE
	LT
	LTE
	EQ
	NEQ
)

// Cond compares the measured quantity with a value.
type Cond struct {
	Op    Op
	Value float64
}

func (c Cond) holds(q float64) bool {
	switch c.Op {
	case GT:
		return q > c.Value
	case GTE:
		return q >= c.Value
	case LT:
		return q < c.Value
	case LTE:
		return q <= c.Value
	case EQ:
		return q == c.Value
	}
	return q != c.Value
}

// The bounds that a zero [Spec] member stands for.
const (
	DefaultMaxGroups  = 100_000 // groups of one rule; the least recently touched goes first
	DefaultMaxEntries = 500_000 // entries, times and values held by one rule over all its groups; whole groups go, least recently touched first
	EntryCap          = 1000    // most entries held by one group; counts go on beyond it
	fewEntries        = 250     // entries held by a group whose condition does not need more
	DistinctCap       = 10_000  // distinct values of a group counted exactly; beyond it the number is an estimate
	NumberCap         = 10_000  // numbers of a group kept for percentile, minimum and maximum; beyond it every other one
	bucketCap         = 8192    // distinct times of a group counted exactly
	MaxRefs           = 64      // references of one rule
)

// Spec is one rule.
type Spec struct {
	Kind  Kind
	Span  time.Duration
	Refs  int    // number of references, at most MaxRefs
	Conds []Cond // all must hold; none means all references for Temporal and Ordered
	// Expr, if set, replaces Conds for Temporal and Ordered: it judges the set of references that occurred. Asserted
	// is the set of references that it asks for positively; for Ordered, those of them that occurred must have done so in order.
	Expr     func(refs uint64) bool
	Asserted uint64
	// AtEnd makes an Expr be judged when the window ends, because it holds a negation.
	AtEnd      bool
	Percent    float64 // 0 to 100, for Percentile
	MaxGroups  int
	MaxEntries int
	Shared     *Budget // with other sets, or nil
}

// Budget bounds what several sets hold together. A set that holds more than its share gives up groups while the sum is
// above Max; the sum stays below twice Max.
type Budget struct {
	Max  int // entries, times and values; a group counts as one
	Sets int // that share it
	held int
}

// entryCap is how many entries a group holds: what its condition counts, as far as EntryCap allows.
func (s *Spec) entryCap() int {
	n := fewEntries
	if s.Kind == Count {
		for _, c := range s.Conds {
			if c.Value < EntryCap {
				n = max(n, int(c.Value)+1)
			} else {
				n = EntryCap
			}
		}
	}
	return min(n, EntryCap)
}

// Entry is one event as a window sees it.
type Entry struct {
	Time    int64  // Unix nanoseconds
	ID      string // of the event
	Refs    uint64 // bit i: matched reference i
	Failed  bool   // the call failed
	Handle  uint64 // for the owner of the set, as Account
	Account string
	Values  []string
	Numbers []float64
	Parts   []Part // the events behind an entry that is itself a firing
}

// Part is an event behind an entry.
type Part struct {
	Time   int64
	ID     string
	Failed bool
	Handle uint64
	Label  int // for the owner of the set
}

// Firing is one time that a condition held. It and its Entries are valid during the callback only.
type Firing struct {
	Key         string
	Time        int64 // of the last entry
	First, Last int64
	Count       int64   // entries in the window, those that are not held included
	Value       float64 // the measured quantity
	Approximate bool    // Value is an estimate: more than DistinctCap values
	Refs        uint64  // references that occurred
	Entries     []Entry // by time and arrival; the first and the last of those in the window when there are too many to hold
}

// Stats counts what a set could not do.
type Stats struct {
	Evicted int64 // groups given up for the bounds
	Late    int64 // entries older than what their group had seen
	Stale   int64 // of Late, entries too old for the state that was held
}

// Set is the windows of one rule.
type Set struct {
	spec   Spec
	span   int64
	atEnd  bool
	fire   func(*Firing)
	join   func(key string, e *Entry)
	groups map[string]*group
	head   *group // least recently touched
	tail   *group
	held   int // weight of all groups
	cap    int // entries of one group
	ends   deadlines
	stats  Stats
}

// New makes a set. fire is called for every firing, join for every entry that comes while a group is silent after one;
// both during Add, Advance or Flush. join may be nil.
func New(spec Spec, fire func(*Firing), join func(key string, e *Entry)) *Set {
	if spec.MaxGroups <= 0 {
		spec.MaxGroups = DefaultMaxGroups
	}
	if spec.MaxEntries <= 0 {
		spec.MaxEntries = DefaultMaxEntries
	}
	return &Set{spec: spec, span: int64(spec.Span), atEnd: spec.JudgedAtEnd(), cap: spec.entryCap(), fire: fire, join: join, groups: map[string]*group{}}
}

// JudgedAtEnd reports whether the rule is judged when a window ends, not when an entry comes.
func (s *Spec) JudgedAtEnd() bool {
	if s.Expr != nil {
		return s.AtEnd
	}
	for _, c := range s.Conds {
		if c.Op != GT && c.Op != GTE {
			return true
		}
	}
	return false
}

// Stats returns the counters.
func (s *Set) Stats() Stats { return s.stats }

// Groups returns the number of groups that are held.
func (s *Set) Groups() int { return len(s.groups) }

// group is the state of one key.
type group struct {
	key        string
	prev, next *group
	first      int64 // of the window that is judged at its end
	last       int64 // latest time seen
	silent     int64 // no firing before this time
	total      int64 // entries in the window
	entries    []Entry
	buckets    []bucket // by time
	sum        sum
	distinct   *distinct
	numbers    *numbers
	seen       []int64 // Temporal: latest time of each reference
	chain      chain   // Ordered
	weight     int     // entries, times and values held
	index      int     // in the heap of deadlines, for windows judged at their end
}

// never is a time before every event.
const never = -1 << 62

// Add takes an entry. Entries are expected by rising time; an older one counts as late, and takes part as far as the
// state of its group reaches back.
func (s *Set) Add(key string, e Entry) {
	if s.atEnd {
		s.Advance(e.Time)
	} else {
		s.expireOld(e.Time)
	}
	g := s.groups[key]
	if g == nil {
		g = s.newGroup(key, e.Time)
	} else {
		s.touch(g)
	}
	if e.Time < g.last {
		s.addLate(g, e)
		return
	}
	g.last = e.Time
	if !s.atEnd {
		s.slide(g)
	}
	s.put(g, e)
	s.bound(g)
	if !s.atEnd {
		s.judge(g, &e)
	}
}

// addLate takes an entry that is older than its group's latest one.
func (s *Set) addLate(g *group, e Entry) {
	s.stats.Late++
	if from := g.last - s.span; !s.atEnd && e.Time <= from || s.atEnd && e.Time < g.first {
		s.stats.Stale++
		return
	}
	s.put(g, e)
	s.bound(g)
	if !s.atEnd {
		s.judge(g, &e)
	}
}

// judge fires or joins after an entry of a rule that is judged at once.
func (s *Set) judge(g *group, e *Entry) {
	if g.last < g.silent {
		if s.join != nil {
			s.join(g.key, e)
		}
		return
	}
	f, ok := s.measure(g)
	if !ok {
		return
	}
	g.silent = g.last + s.span
	s.fire(&f)
}

// Advance tells that no entry before t is to be expected: windows that end by then are judged, and state that can no
// longer matter is dropped.
func (s *Set) Advance(t int64) {
	s.expireOld(t)
	for len(s.ends) > 0 && s.ends[0].first+s.span <= t {
		s.end(heap.Pop(&s.ends).(*group))
	}
}

// Flush judges every window that is open, as if time went on without further entries.
func (s *Set) Flush() {
	for len(s.ends) > 0 {
		s.end(heap.Pop(&s.ends).(*group))
	}
	for s.head != nil {
		s.drop(s.head)
	}
}

// end judges a window at its end and forgets it.
func (s *Set) end(g *group) {
	if f, ok := s.measure(g); ok {
		s.fire(&f)
	}
	s.drop(g)
}

// expireOld drops groups whose window has emptied by t. Touch order is time order but for late entries, so a group that is
// kept a little longer than needed is all that can go wrong.
func (s *Set) expireOld(t int64) {
	if s.atEnd {
		return
	}
	for g := s.head; g != nil && g.last+s.span <= t; g = s.head {
		s.drop(g)
	}
}

// put lays an entry into the state of its group.
func (s *Set) put(g *group, e Entry) {
	held := e
	held.Values, held.Numbers = nil, nil // are measured here and not needed again
	g.hold(held, s.cap)
	b := bucket{time: e.Time, n: 1}
	for _, v := range e.Numbers {
		b.sum.add(v)
	}
	g.addBucket(b)
	switch s.spec.Kind {
	case Distinct:
		if g.distinct == nil {
			g.distinct = newDistinct()
		}
		for _, v := range e.Values {
			g.distinct.add(v, e.Time)
		}
	case Temporal:
		if g.seen == nil {
			g.seen = make([]int64, s.spec.Refs)
			for i := range g.seen {
				g.seen[i] = never
			}
		}
		for r := e.Refs; r != 0; r &= r - 1 {
			if i := bits.TrailingZeros64(r); i < len(g.seen) {
				g.seen[i] = max(g.seen[i], e.Time)
			}
		}
	case Ordered:
		if e.Time < g.chain.at {
			g.chain = chain{} // late: the order is read anew from what is held
			for i := range g.entries {
				g.chain.add(&g.entries[i], s.spec.Refs)
			}
			break
		}
		g.chain.add(&e, s.spec.Refs)
	case Percentile, Min, Max:
		if g.numbers == nil {
			g.numbers = new(numbers)
		}
		for _, v := range e.Numbers {
			g.numbers.add(v, e.Time)
		}
	}
}

// slide lets go of what lies at or before last-span.
func (s *Set) slide(g *group) {
	from := g.last - s.span
	n := 0
	for n < len(g.entries) && g.entries[n].Time <= from {
		n++
	}
	if n > 0 {
		clear(g.entries[:n])
		g.entries = g.entries[n:]
	}
	g.slideBuckets(from)
	if g.distinct != nil {
		g.distinct.expire(from)
	}
	if g.numbers != nil {
		g.numbers.expire(from)
	}
}

// measure gives the firing of the group's window as it is now, and whether the condition holds.
func (s *Set) measure(g *group) (Firing, bool) {
	from := int64(never)
	if !s.atEnd {
		from = g.last - s.span
	}
	f := Firing{Key: g.key}
	ok := true
	switch s.spec.Kind {
	case Count:
		f.Value = float64(g.total)
	case Distinct:
		f.Value, f.Approximate = g.distinct.count()
	case Sum:
		f.Value = g.sum.value()
		ok = g.sum.n > 0
	case Avg:
		ok = g.sum.n > 0
		f.Value = g.sum.value() / float64(max(g.sum.n, 1))
	case Percentile:
		f.Value, ok = g.numbers.percentile(s.spec.Percent)
	case Min:
		f.Value, ok = g.numbers.percentile(0)
	case Max:
		f.Value, ok = g.numbers.percentile(100)
	case Temporal:
		for i, t := range g.seen {
			if t > from {
				f.Refs |= 1 << i
			}
		}
		f.Value = float64(bits.OnesCount64(f.Refs))
		ok = s.spec.temporal(f.Refs, f.Value)
	case Ordered:
		n := g.chain.reach(from)
		f.Value = float64(n)
		if s.spec.Expr != nil {
			for i := range g.entries {
				f.Refs |= g.entries[i].Refs
			}
			ok = s.spec.Expr(f.Refs) && inOrder(g.entries, f.Refs&s.spec.Asserted)
			break
		}
		f.Refs = 1<<n - 1
		ok = s.spec.temporal(f.Refs, f.Value)
	}
	if s.spec.Expr == nil {
		for _, c := range s.spec.Conds {
			ok = ok && c.holds(f.Value)
		}
	}
	if !ok || len(g.entries) == 0 {
		return f, false
	}
	f.Count = g.total
	f.Entries = g.entries
	f.First, f.Last = g.entries[0].Time, g.entries[len(g.entries)-1].Time
	f.Time = f.Last
	if s.spec.Kind != Temporal && s.spec.Kind != Ordered {
		for i := range g.entries {
			f.Refs |= g.entries[i].Refs
		}
	}
	return f, true
}

// inOrder reports whether the references in want occur in rising order of reference; equal times count as ordered.
func inOrder(entries []Entry, want uint64) bool {
	for i := 0; i < len(entries) && want != 0; {
		var same uint64
		for t := entries[i].Time; i < len(entries) && entries[i].Time == t; i++ {
			same |= entries[i].Refs
		}
		for want != 0 && want&-want&same != 0 {
			want &= want - 1
		}
	}
	return want == 0
}

// hold keeps an entry in time order. When the group is full, the newest takes the place of the one before it, or of one
// in the middle where that one would be lost as the only one of its kind: the first and the last of a flood stay.
func (g *group) hold(e Entry, limit int) {
	n := len(g.entries)
	if n > 0 && e.Time < g.entries[n-1].Time {
		if n >= limit {
			return
		}
		i := n
		for i > 0 && g.entries[i-1].Time > e.Time {
			i--
		}
		g.entries = append(g.entries, Entry{})
		copy(g.entries[i+1:], g.entries[i:])
		g.entries[i] = e
		return
	}
	switch {
	case n < limit:
		g.entries = append(g.entries, e)
	case g.entries[n-1].Refs == e.Refs:
		g.entries[n-1] = e
	default:
		copy(g.entries[n/2:], g.entries[n/2+1:])
		g.entries[n-1] = e
	}
}

// The groups of a set, least recently touched first.

func (s *Set) newGroup(key string, t int64) *group {
	g := &group{key: key, first: t, last: t, silent: never, prev: s.tail, index: -1}
	if s.tail != nil {
		s.tail.next = g
	} else {
		s.head = g
	}
	s.tail = g
	s.groups[key] = g
	if s.spec.Shared != nil {
		s.spec.Shared.held++
	}
	if s.atEnd {
		heap.Push(&s.ends, g)
	}
	return g
}

func (s *Set) touch(g *group) {
	if g == s.tail {
		return
	}
	s.unlink(g)
	g.prev, g.next = s.tail, nil
	s.tail.next = g
	s.tail = g
}

func (s *Set) unlink(g *group) {
	if g.prev != nil {
		g.prev.next = g.next
	} else {
		s.head = g.next
	}
	if g.next != nil {
		g.next.prev = g.prev
	} else {
		s.tail = g.prev
	}
}

func (s *Set) drop(g *group) {
	s.unlink(g)
	g.prev, g.next = nil, nil
	delete(s.groups, g.key)
	s.count(-g.weight)
	if s.spec.Shared != nil {
		s.spec.Shared.held--
	}
	if g.index >= 0 && s.atEnd {
		heap.Remove(&s.ends, g.index)
	}
}

// weigh notes what a group holds now.
func (s *Set) weigh(g *group) {
	n := len(g.entries) + len(g.buckets)
	if g.distinct != nil {
		n += len(g.distinct.at)
	}
	if g.numbers != nil {
		n += len(g.numbers.byTime)
	}
	s.count(n - g.weight)
	g.weight = n
}

// bound gives up the least recently touched groups until the bounds hold. The group just touched stays.
func (s *Set) bound(g *group) {
	s.weigh(g)
	for s.over() && s.head != s.tail {
		s.drop(s.head)
		s.stats.Evicted++
	}
}

func (s *Set) over() bool {
	if len(s.groups) > s.spec.MaxGroups || s.held > s.spec.MaxEntries {
		return true
	}
	b := s.spec.Shared
	return b != nil && b.held > b.Max && s.held+len(s.groups) > b.Max/max(b.Sets, 1)
}

// count notes that n more entries are held.
func (s *Set) count(n int) {
	s.held += n
	if s.spec.Shared != nil {
		s.spec.Shared.held += n
	}
}

// deadlines is a heap of groups by the end of their window, then by key.
type deadlines []*group

func (d deadlines) Len() int { return len(d) }
func (d deadlines) Less(i, j int) bool {
	if d[i].first != d[j].first {
		return d[i].first < d[j].first
	}
	return d[i].key < d[j].key
}
func (d deadlines) Swap(i, j int) {
	d[i], d[j] = d[j], d[i]
	d[i].index, d[j].index = i, j
}
func (d *deadlines) Push(x any) {
	g := x.(*group)
	g.index = len(*d)
	*d = append(*d, g)
}
func (d *deadlines) Pop() any {
	old := *d
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*d = old[:len(old)-1]
	g.index = -1
	return g
}
