package window

import (
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// bucket is the entries of one time.
type bucket struct {
	time int64
	n    int64 // entries
	sum  sum
}

// sum adds numbers so that the result hardly depends on their order (Neumaier's compensated summation).
type sum struct {
	n       int64
	s, comp float64
}

func (a *sum) add(v float64) {
	a.n++
	a.addPart(v)
}

func (a *sum) addPart(v float64) {
	t := a.s + v
	if math.Abs(a.s) >= math.Abs(v) {
		a.comp += (a.s - t) + v
	} else {
		a.comp += (v - t) + a.s
	}
	a.s = t
}

func (a *sum) merge(b sum) {
	a.n += b.n
	a.addPart(b.s)
	a.addPart(b.comp)
}

func (a *sum) value() float64 {
	if v := a.s + a.comp; !math.IsNaN(v) {
		return v
	}
	return a.s // past the largest float64
}

// addBucket counts b into the group, in time order. When a group has more than bucketCap distinct times, neighbours are
// joined under the later time, so that an entry may count for slightly longer than its span.
func (g *group) addBucket(b bucket) {
	g.total += b.n
	g.sum.merge(b.sum)
	i := len(g.buckets)
	for i > 0 && g.buckets[i-1].time > b.time {
		i--
	}
	if i > 0 && g.buckets[i-1].time == b.time {
		at := &g.buckets[i-1]
		at.n += b.n
		at.sum.merge(b.sum)
		return
	}
	g.buckets = slices.Insert(g.buckets, i, b)
	if len(g.buckets) <= bucketCap {
		return
	}
	out := g.buckets[:0]
	for i := 0; i < len(g.buckets); i += 2 {
		b := g.buckets[i]
		if i+1 < len(g.buckets) {
			c := g.buckets[i+1]
			b.time = c.time
			b.n += c.n
			b.sum.merge(c.sum)
		}
		out = append(out, b)
	}
	g.buckets = out
}

// slideBuckets drops what lies at or before from. The sum is added anew, so that rounding does not pile up.
func (g *group) slideBuckets(from int64) {
	n := 0
	for n < len(g.buckets) && g.buckets[n].time <= from {
		g.total -= g.buckets[n].n
		n++
	}
	if n == 0 {
		return
	}
	numbers := false
	for _, b := range g.buckets[:n] {
		numbers = numbers || b.sum.n > 0
	}
	g.buckets = g.buckets[n:]
	if numbers {
		g.sum = sum{}
		for _, b := range g.buckets {
			g.sum.merge(b.sum)
		}
	}
}

// distinct counts distinct values with the time each was last seen. Up to DistinctCap values the number is exact. Beyond
// it only values whose hash starts with level zero bits are kept, and each stands for 2^level (adaptive sampling, Wegman and
// Flajolet): which values those are does not depend on order.
type distinct struct {
	at         map[[16]byte]*value
	head, tail *value // by last time, oldest first
	level      int
}

type value struct {
	hash       [16]byte
	last       int64
	prev, next *value
}

func newDistinct() *distinct { return &distinct{at: map[[16]byte]*value{}} }

func (d *distinct) add(text string, t int64) {
	full := sha256.Sum256([]byte(text))
	hash := [16]byte(full[:16])
	if !d.keeps(hash) {
		return
	}
	v := d.at[hash]
	if v != nil {
		if t <= v.last {
			return
		}
		d.unlink(v)
	} else {
		v = &value{hash: hash}
		d.at[hash] = v
	}
	v.last = t
	d.link(v)
	for len(d.at) > DistinctCap {
		d.level++
		for v := d.head; v != nil; {
			next := v.next
			if !d.keeps(v.hash) {
				d.unlink(v)
				delete(d.at, v.hash)
			}
			v = next
		}
	}
}

func (d *distinct) keeps(hash [16]byte) bool {
	return bits.LeadingZeros64(binary.BigEndian.Uint64(hash[:])) >= d.level
}

// link puts v behind the values that were last seen no later.
func (d *distinct) link(v *value) {
	after := d.tail
	for after != nil && after.last > v.last {
		after = after.prev
	}
	v.prev = after
	if after != nil {
		v.next = after.next
		after.next = v
	} else {
		v.next = d.head
		d.head = v
	}
	if v.next != nil {
		v.next.prev = v
	} else {
		d.tail = v
	}
}

func (d *distinct) unlink(v *value) {
	if v.prev != nil {
		v.prev.next = v.next
	} else {
		d.head = v.next
	}
	if v.next != nil {
		v.next.prev = v.prev
	} else {
		d.tail = v.prev
	}
	v.prev, v.next = nil, nil
}

func (d *distinct) expire(from int64) {
	for v := d.head; v != nil && v.last <= from; v = d.head {
		d.unlink(v)
		delete(d.at, v.hash)
	}
	if d.head == nil {
		d.level = 0
	}
}

func (d *distinct) count() (n float64, approximate bool) {
	if d == nil {
		return 0, false
	}
	return math.Ldexp(float64(len(d.at)), d.level), d.level > 0
}

// numbers keeps the numbers of a window by time and by size. When there are more than NumberCap, every other one is let
// go.
type numbers struct {
	byTime []number
	sorted []float64
	skip   int // power of two: one number of so many is kept
	turn   int
}

type number struct {
	time int64
	v    float64
}

func (n *numbers) add(v float64, t int64) {
	n.turn++
	if n.skip > 1 && n.turn%n.skip != 0 {
		return
	}
	i := len(n.byTime)
	for i > 0 && n.byTime[i-1].time > t {
		i--
	}
	n.byTime = slices.Insert(n.byTime, i, number{t, v})
	at, _ := slices.BinarySearch(n.sorted, v)
	n.sorted = slices.Insert(n.sorted, at, v)
	if len(n.byTime) <= NumberCap {
		return
	}
	n.skip = max(n.skip, 1) * 2
	kept := n.byTime[:0]
	for i, x := range n.byTime {
		if i%2 == 1 {
			kept = append(kept, x)
		}
	}
	n.byTime = kept
	n.sorted = n.sorted[:0]
	for _, x := range n.byTime {
		n.sorted = append(n.sorted, x.v)
	}
	slices.Sort(n.sorted)
}

func (n *numbers) expire(from int64) {
	k := 0
	for k < len(n.byTime) && n.byTime[k].time <= from {
		if at, ok := slices.BinarySearch(n.sorted, n.byTime[k].v); ok {
			n.sorted = slices.Delete(n.sorted, at, at+1)
		}
		k++
	}
	if k > 0 {
		n.byTime = n.byTime[k:]
	}
	if len(n.byTime) == 0 {
		n.skip = 0
	}
}

// percentile interpolates linearly between ranks.
func (n *numbers) percentile(p float64) (float64, bool) {
	if n == nil || len(n.sorted) == 0 {
		return 0, false
	}
	rank := p / 100 * float64(len(n.sorted)-1)
	lo := int(math.Floor(rank))
	lo = min(max(lo, 0), len(n.sorted)-1)
	hi := min(lo+1, len(n.sorted)-1)
	return n.sorted[lo] + (n.sorted[hi]-n.sorted[lo])*(rank-float64(lo)), true
}

// chain follows an ordered sequence: start[k] is the latest time at which a sequence of the first k+1 references, in
// order, can have begun. The sequence lies within the window if its start does.
type chain struct {
	start []int64
	at    int64  // time of the latest entry
	same  uint64 // references seen at that time, which may stand in any order
	any   bool
}

func (c *chain) add(e *Entry, refs int) {
	if c.start == nil {
		c.start = make([]int64, refs)
		for i := range c.start {
			c.start[i] = never
		}
	}
	if !c.any || e.Time > c.at {
		c.at, c.same, c.any = e.Time, 0, true
	}
	c.same |= e.Refs
	for k := range c.start {
		if c.same&(1<<k) == 0 {
			continue
		}
		if k == 0 {
			c.start[0] = e.Time
		} else {
			c.start[k] = max(c.start[k], c.start[k-1])
		}
	}
}

// reach is the length of the longest part of the sequence, from its first reference on, that lies after from.
func (c *chain) reach(from int64) int {
	for k := len(c.start); k > 0; k-- {
		if c.start[k-1] > from {
			return k
		}
	}
	return 0
}
