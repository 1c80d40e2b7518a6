package detect

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"hash/crc32"
	"math/bits"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"spoor/internal/event"
)

// The bounds of the aggregator. Within them findings are exact and the same for every order of the events.
const (
	// DefaultMaxFindings is the most groups (rule, actor, account) that are kept. Beyond it whole groups are left out, low
	// levels first, chosen by a hash of the group and not by order; what they held is counted.
	DefaultMaxFindings = 20_000
	// TallyExact is the most distinct values of one tally that are counted. Beyond it every second value, chosen by hash, is
	// left out, and again: counts that are shown stay exact, but a frequent value may be missing.
	TallyExact = 1024

	shardTallyValues = 1 << 18 // distinct values over all tallies of a shard; beyond it TallyExact is halved
	smallTally       = 12      // values that are searched one by one
)

// dimension is what a finding tallies.
type dimension int

const (
	dimNames dimension = iota
	dimRegions
	dimAddresses
	dimAgents
	dimErrors
	dimKeys
	dimTargets
	dimensions
)

// aggregate is a finding in the making.
type aggregate struct {
	rule          int
	hash          uint64
	actor         event.Actor // of the earliest event
	account       string
	count, denied int64
	first, last   int64 // 0: no event had a time
	tallies       [dimensions]tally
	events        []seenEvent // earliest by time and id, at most EventCap
}

// seenEvent is an event that a finding may show.
type seenEvent struct {
	time   int64
	id     string
	sum    uint32 // of the record: events may lack an id, or share one
	record handle
	size   int
	rule   int // index of the event rule that matched, -1 if not known
}

func (a seenEvent) compare(b seenEvent) int {
	return cmp.Or(cmp.Compare(a.time, b.time), strings.Compare(a.id, b.id), cmp.Compare(a.sum, b.sum))
}

// checksum tells records apart that nothing else does. Processors have an instruction for it.
func checksum(raw []byte) uint32 { return crc32.Checksum(raw, crc32.MakeTable(crc32.Castagnoli)) }

// hits aggregates the hits of one goroutine.
type hits struct {
	limit    int
	levels   []Level // by rule
	groups   map[string]*aggregate
	step     int   // how much is left out, see admits
	overflow int64 // hits of groups that were left out
	byRule   []int64
	values   int // distinct values over all tallies
	exact    int // current TallyExact
	key      []byte
	text     []byte
	log      *payloadLog
}

func newHits(rules []*eventRule, limit int, log *payloadLog) *hits {
	h := &hits{limit: limit, groups: map[string]*aggregate{}, byRule: make([]int64, len(rules)), exact: TallyExact, log: log}
	for _, r := range rules {
		h.levels = append(h.levels, r.info.Level)
	}
	return h
}

// add counts one hit. actor belongs to e. record is where e was kept already, or noHandle; it returns where it is kept now.
func (h *hits) add(rule int, e *event.Event, actor *event.Actor, failed bool, record handle) (handle, error) {
	h.byRule[rule]++
	account := shorten(e.Account())
	k := append(h.key[:0], byte(rule), byte(rule>>8), byte(rule>>16))
	k = append(k, actor.ID...)
	k = append(k, 0)
	k = append(k, account...)
	h.key = k
	g := h.groups[string(k)]
	if g == nil {
		hash := hashText(view(k))
		if !admits(h.step, h.levels[rule], hash) {
			h.overflow++
			return record, nil
		}
		g = &aggregate{rule: rule, hash: hash, account: strings.Clone(account)}
		h.groups[string(k)] = g
		if len(h.groups) > h.limit {
			h.tighten()
			if !admits(h.step, h.levels[rule], hash) {
				h.overflow++
				return record, nil
			}
		}
	}
	g.count++
	if failed {
		g.denied++
	}
	if e.Time != 0 {
		if g.first == 0 || e.Time < g.first {
			g.first = e.Time
		}
		g.last = max(g.last, e.Time)
	}
	h.tally(g, e)
	return h.keep(g, e, actor, record)
}

// keep notes the event if it is among the earliest.
func (h *hits) keep(g *aggregate, e *event.Event, actor *event.Actor, record handle) (handle, error) {
	n := len(g.events)
	if n == EventCap && e.Time > g.events[n-1].time {
		return record, nil
	}
	s := seenEvent{time: e.Time, id: shorten(e.ID()), sum: checksum(e.Raw), record: record, size: len(e.Raw), rule: g.rule}
	i, _ := slices.BinarySearchFunc(g.events, s, seenEvent.compare)
	if i == EventCap {
		return record, nil
	}
	if s.record == noHandle {
		var err error
		if s.record, err = h.log.append(e, false); err != nil {
			return noHandle, err
		}
	}
	s.id = strings.Clone(s.id)
	if i == 0 {
		g.actor = *actor
	}
	if n == EventCap {
		g.events = g.events[:n-1]
	}
	g.events = slices.Insert(g.events, i, s)
	return s.record, nil
}

func (h *hits) tally(g *aggregate, e *event.Event) {
	t := append(h.text[:0], e.Source()...)
	t = append(t, ':')
	t = append(t, e.Name()...)
	h.text = t
	h.count(g, dimNames, view(t))
	h.count(g, dimRegions, e.Region())
	h.count(g, dimAddresses, e.Text(event.SourceIPAddress))
	h.count(g, dimAgents, e.Text(event.UserAgent))
	h.count(g, dimErrors, e.Text(event.ErrorCode))
	h.count(g, dimKeys, e.Text(event.AccessKeyID))
	targets(e, func(text string) { h.count(g, dimTargets, text) })
}

func (h *hits) count(g *aggregate, d dimension, text string) {
	if text == "" {
		return
	}
	text = shorten(text)
	t := &g.tallies[d]
	before := t.len()
	t.add(text, 1, h.exact)
	if n := t.len() - before; n != 0 {
		if h.values += n; h.values > shardTallyValues && h.exact > TallyCap {
			h.exact /= 2
			h.values = 0
			for _, g := range h.groups {
				for d := range g.tallies {
					g.tallies[d].thin(h.exact)
					h.values += g.tallies[d].len()
				}
			}
		}
	}
}

// tighten leaves out groups until no more than the limit are kept.
func (h *hits) tighten() {
	for len(h.groups) > h.limit && h.step < lastStep {
		h.step++
		h.sieve()
	}
}

func (h *hits) sieve() {
	for k, g := range h.groups {
		if !admits(h.step, h.levels[g.rule], g.hash) {
			h.overflow += g.count
			for d := range g.tallies {
				h.values -= g.tallies[d].len()
			}
			delete(h.groups, k)
		}
	}
}

// merge takes the other's groups over; the other must not be used afterwards.
func (h *hits) merge(o *hits) {
	h.overflow += o.overflow
	for i, n := range o.byRule {
		h.byRule[i] += n
	}
	h.exact = min(h.exact, o.exact)
	if o.step > h.step {
		h.step = o.step
		h.sieve()
	}
	for k, g := range o.groups {
		if !admits(h.step, h.levels[g.rule], g.hash) {
			h.overflow += g.count
			continue
		}
		mine := h.groups[k]
		if mine == nil {
			h.groups[k] = g
			for d := range g.tallies {
				h.values += g.tallies[d].len()
			}
			continue
		}
		for d := range mine.tallies {
			h.values -= mine.tallies[d].len()
		}
		mine.merge(g, h.exact)
		for d := range mine.tallies {
			h.values += mine.tallies[d].len()
		}
	}
	o.groups = nil
	h.tighten()
}

func (g *aggregate) merge(o *aggregate, exact int) {
	g.count += o.count
	g.denied += o.denied
	if o.first != 0 && (g.first == 0 || o.first < g.first) {
		g.first = o.first
	}
	g.last = max(g.last, o.last)
	for d := range g.tallies {
		g.tallies[d].merge(&o.tallies[d], exact)
	}
	if len(o.events) > 0 && (len(g.events) == 0 || o.events[0].compare(g.events[0]) < 0) {
		g.actor = o.actor
	}
	g.events = append(g.events, o.events...)
	slices.SortStableFunc(g.events, seenEvent.compare)
	g.events = g.events[:min(len(g.events), EventCap)]
}

// admits reports whether a group is kept at a step. Each step keeps a part of what the one before kept: first every
// second informational group, then every fourth, …, then none of them, then every second low one, and so on. Which step is
// needed for a set of groups follows from the set alone.
func admits(step int, level Level, hash uint64) bool {
	if step == 0 {
		return true
	}
	at := min(Level((step-1)/stepsPerLevel), Critical)
	bitsOut := step - int(at)*stepsPerLevel
	switch {
	case level > at:
		return true
	case level < at:
		return false
	}
	if level < Critical && bitsOut == stepsPerLevel {
		return false
	}
	return bits.LeadingZeros64(hash) >= bitsOut
}

const (
	stepsPerLevel = 8
	lastStep      = int(Critical)*stepsPerLevel + 40
)

// tally counts values. When there are more than a given number of distinct ones, those whose hash does not begin with
// level zero bits are left out, so that what is kept does not depend on order.
type tally struct {
	small []Tally // in order of first sight, while there are few
	many  map[string]*Tally
	level int
}

func (t *tally) len() int { return len(t.small) + len(t.many) }

func (t *tally) add(text string, n int, exact int) {
	if t.many == nil {
		for i := range t.small {
			if t.small[i].Value == text {
				t.small[i].Count += n
				if i > 0 && t.small[i].Count > t.small[i-1].Count {
					t.small[i], t.small[i-1] = t.small[i-1], t.small[i]
				}
				return
			}
		}
	} else if v := t.many[text]; v != nil {
		v.Count += n
		return
	}
	if t.level > 0 && bits.LeadingZeros64(hashText(text)) < t.level {
		return
	}
	text = strings.Clone(text)
	if t.many == nil && len(t.small) < smallTally {
		t.small = append(t.small, Tally{text, n})
	} else {
		if t.many == nil {
			t.many = make(map[string]*Tally, 2*smallTally)
			for _, v := range t.small {
				t.many[v.Value] = &v
			}
			t.small = nil
		}
		t.many[text] = &Tally{text, n}
	}
	t.thin(exact)
}

// thin leaves values out until no more than exact remain.
func (t *tally) thin(exact int) {
	for t.len() > exact {
		t.raise(t.level + 1)
	}
}

func (t *tally) raise(level int) {
	if level <= t.level {
		return
	}
	t.level = level
	out := func(v *Tally) bool { return bits.LeadingZeros64(hashText(v.Value)) < level }
	t.small = slices.DeleteFunc(t.small, func(v Tally) bool { return out(&v) })
	for k, v := range t.many {
		if out(v) {
			delete(t.many, k)
		}
	}
}

func (t *tally) merge(o *tally, exact int) {
	t.raise(o.level)
	for _, v := range o.small {
		t.add(v.Value, v.Count, exact)
	}
	for _, v := range o.many {
		t.add(v.Value, v.Count, exact)
	}
	t.thin(exact)
}

// top gives the most frequent values, then by value.
func (t *tally) top() []Tally {
	all := slices.Clone(t.small)
	for _, v := range t.many {
		all = append(all, *v)
	}
	slices.SortFunc(all, func(a, b Tally) int { return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Value, b.Value)) })
	return slices.Clip(all[:min(len(all), TallyCap)])
}

// hashText is FNV-1a with its bits mixed once more (the finaliser of SplitMix64), so that the leading ones are even.
func hashText(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

// maxText is the most bytes that are kept of a text out of a record, but for the record itself.
const maxText = 1 << 10

// shorten cuts a text that is longer than maxText, so that different ones stay different.
func shorten(s string) string {
	if len(s) <= maxText {
		return s
	}
	n := maxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	sum := sha256.Sum256([]byte(s))
	return s[:n] + "… " + hex.EncodeToString(sum[:8])
}

// noID begins what stands for the id of a record that has none, so that such events have an order too. No text out of a
// record begins with it, as those are UTF-8.
const noID = "\xff"

// orderID is what events of one time are ordered by.
func orderID(e *event.Event) string {
	if id := e.ID(); id != "" {
		return shorten(id)
	}
	sum := sha256.Sum256(e.Raw)
	return noID + string(sum[:8])
}

// view gives b as a string without copying it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

func when(t int64) time.Time {
	if t == 0 {
		return time.Time{}
	}
	return time.Unix(0, t).UTC()
}
