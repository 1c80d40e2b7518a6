package detect

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"slices"
	"strconv"
	"strings"

	"spoor/internal/detect/window"
	"spoor/internal/event"
)

// The bounds of what one event can put into correlations.
const (
	maxKeys      = 100     // groups per correlation, for multi-valued group fields
	maxValues    = 1000    // values of the measured field
	maxParts     = 100     // events that a firing passes on to the correlation that consumes it
	maxDelayed   = 200_000 // entries held back for one correlation; beyond it the earliest goes on early
	maxEntries   = 500_000 // entries and groups that all correlations hold together, see window.Budget
	maxFloatText = 64
)

// keyBuilder makes group keys and measured values of events. What it gives is valid until its next reset.
type keyBuilder struct {
	buf    []byte
	list   []string // keys and measured values, in buf
	vals   []string // of one path
	limit  int      // of vals
	take   func(event.Value) bool
	inputs []input
}

func (k *keyBuilder) reset() {
	k.buf = k.buf[:0]
	k.list = k.list[:0]
	k.inputs = k.inputs[:0]
}

// find sets vals to the values at p.
func (k *keyBuilder) find(p *event.Path, e *event.Event, limit int) {
	if k.take == nil {
		k.take = func(v event.Value) bool { k.scalars(v); return len(k.vals) < k.limit }
	}
	k.vals, k.limit = k.vals[:0], limit
	e.Find(p, k.take)
}

// add appends the inputs that an event gives to correlation c through f.
func (k *keyBuilder) add(c *correlation, f *feed, e *event.Event) {
	var values []string
	var numbers []float64
	switch {
	case len(f.values) == 0:
	case c.numeric:
		numbers = k.numbers(f.values[0], e)
	default:
		values = k.product(f.values, e, maxValues, false)
	}
	if len(f.group) == 0 {
		k.put(f.corr, f.refs, k.single(e.Account()), values, numbers)
		return
	}
	for _, key := range k.product(f.group, e, maxKeys, c.missing) {
		k.put(f.corr, f.refs, key, values, numbers)
	}
}

func (k *keyBuilder) put(corr int, refs uint64, key string, values []string, numbers []float64) {
	for i := range k.inputs {
		if in := &k.inputs[i]; in.corr == corr && in.key == key {
			in.refs |= refs
			in.values = appendNew(in.values, values)
			if len(in.numbers) == 0 {
				in.numbers = numbers
			}
			return
		}
	}
	k.inputs = append(k.inputs, input{corr, refs, key, values, numbers})
}

func appendNew(have, more []string) []string {
	for _, m := range more {
		found := false
		for _, h := range have {
			found = found || h == m
		}
		if !found {
			have = append(have, m)
		}
	}
	return have
}

func (k *keyBuilder) single(text string) string {
	start := len(k.buf)
	k.buf = appendKey(k.buf, text)
	return view(k.buf[start:])
}

// appendKey appends one value to a group key.
func appendKey(b []byte, text string) []byte {
	text = shorten(text)
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// splitKey takes a group key apart.
func splitKey(key string) []string {
	var out []string
	for b := []byte(key); len(b) > 0; {
		n, w := binary.Uvarint(b)
		if w <= 0 || n > uint64(len(b)-w) {
			return out
		}
		out = append(out, string(b[w:w+int(n)]))
		b = b[w+int(n):]
	}
	return out
}

// product gives a key for each combination of the values at paths. A path without a value gives no key, or with missing
// set the empty text.
func (k *keyBuilder) product(paths []*event.Path, e *event.Event, limit int, missing bool) []string {
	from := len(k.list)
	for i, p := range paths {
		k.find(p, e, limit)
		if len(k.vals) == 0 {
			if !missing {
				k.list = k.list[:from]
				return nil
			}
			k.vals = append(k.vals, "")
		}
		if i == 0 {
			for _, v := range k.vals {
				k.new(from, k.single(v))
			}
			continue
		}
		to := len(k.list)
		for _, key := range k.list[from:to] {
			for _, v := range k.vals {
				if len(k.list)-to == limit {
					break
				}
				start := len(k.buf)
				k.buf = appendKey(append(k.buf, key...), v)
				k.new(to, view(k.buf[start:]))
			}
		}
		k.list = append(k.list[:from], k.list[to:]...)
	}
	return k.list[from:len(k.list):len(k.list)]
}

// new appends a text to list unless it is there already, from a place on.
func (k *keyBuilder) new(from int, text string) {
	if !slices.Contains(k.list[from:], text) {
		k.list = append(k.list, text)
	}
}

// scalars appends the texts of v: elements of arrays one by one, objects as JSON, null as nothing.
func (k *keyBuilder) scalars(v event.Value) {
	switch v.Kind() {
	case event.Missing, event.Null:
	case event.Array:
		v.Elements(k.take)
	case event.Object:
		k.vals = append(k.vals, string(v.Compact(nil)))
	default:
		k.vals = append(k.vals, v.Text())
	}
}

func (k *keyBuilder) numbers(p *event.Path, e *event.Event) []float64 {
	var out []float64
	var take func(v event.Value) bool
	take = func(v event.Value) bool {
		if v.Kind() == event.Array {
			v.Elements(take)
		} else if f, ok := v.Float(); ok {
			out = append(out, f)
		}
		return len(out) < maxValues
	}
	e.Find(p, take)
	return out
}

// correlator runs the correlations of a rule set over occurrences in order of time and id. It belongs to one goroutine.
type correlator struct {
	rs      *Ruleset
	sets    []*window.Set
	delayed []delayedEntries // by correlation
	timed   []int            // correlations that something happens to by time alone
	fired   func(c *correlation, f *window.Firing)
	joined  func(c *correlation, key string, e *window.Entry)
	last    struct {
		time int64
		id   string
	}
	untimed int64 // events without a time, which no window can place
	early   int64 // entries let go before their time because too many were held back
}

// newCorrelator runs the correlations of rs and tells of their firings, those of correlations that do not alert included.
func newCorrelator(rs *Ruleset, fired func(*correlation, *window.Firing), joined func(*correlation, string, *window.Entry)) *correlator {
	k := &correlator{rs: rs, fired: fired, joined: joined, delayed: make([]delayedEntries, len(rs.correlations))}
	budget := &window.Budget{Max: maxEntries, Sets: len(rs.correlations)}
	for i, c := range rs.correlations {
		spec := c.spec
		spec.Shared = budget
		k.sets = append(k.sets, window.New(spec, func(f *window.Firing) { k.fire(c, f) },
			func(key string, e *window.Entry) { k.joined(c, key, e) }))
		if c.delay > 0 || c.spec.JudgedAtEnd() {
			k.timed = append(k.timed, i)
		}
	}
	return k
}

// take runs an occurrence. Occurrences come by rising time, but for late ones. o and its strings are not kept unless they
// are needed; then they are kept as they are.
func (k *correlator) take(o *occurrence) {
	if o.time == 0 {
		k.untimed++
		return
	}
	if o.id != "" && o.id == k.last.id && o.time == k.last.time {
		return // the same event again
	}
	k.last.time, k.last.id = o.time, o.id
	k.advance(o.time)
	for i := range o.inputs { // rising by correlation, so that what they fire comes before what they feed
		in := &o.inputs[i]
		k.give(in.corr, in.key, window.Entry{Time: o.time, ID: o.id, Refs: in.refs, Failed: o.failed, Handle: uint64(o.record),
			Account: o.account, Values: in.values, Numbers: in.numbers})
	}
}

func (k *correlator) give(corr int, key string, e window.Entry) {
	c := k.rs.correlations[corr]
	if c.attempts == attemptsIgnore && e.Failed {
		return
	}
	if c.delay == 0 {
		k.sets[corr].Add(key, e)
		return
	}
	d := &k.delayed[corr]
	heap.Push(d, delayedEntry{key, e})
	if len(*d) > maxDelayed {
		k.early++
		out := heap.Pop(d).(delayedEntry)
		k.sets[corr].Add(out.key, out.Entry)
	}
}

// advance tells that no occurrence before t is to come.
func (k *correlator) advance(t int64) {
	for _, i := range k.timed {
		at := t - k.rs.correlations[i].delay
		d := &k.delayed[i]
		for len(*d) > 0 && (*d)[0].Time <= at {
			out := heap.Pop(d).(delayedEntry)
			k.sets[i].Add(out.key, out.Entry)
		}
		k.sets[i].Advance(at)
	}
}

// flush judges everything that is open: the end of the input is the end of time.
func (k *correlator) flush() {
	for i := range k.sets {
		d := &k.delayed[i]
		for len(*d) > 0 {
			out := heap.Pop(d).(delayedEntry)
			k.sets[i].Add(out.key, out.Entry)
		}
		k.sets[i].Flush()
	}
}

// fire reports a firing and passes it on as an event of its own to the correlations that refer to c.
func (k *correlator) fire(c *correlation, f *window.Firing) {
	k.fired(c, f)
	if len(c.outs) == 0 {
		return
	}
	last := &f.Entries[len(f.Entries)-1]
	e := window.Entry{Time: f.Time, ID: "correlation " + strconv.Itoa(c.index) + " " + f.Key + " " + strconv.FormatInt(f.Time, 10),
		Failed: true, Handle: last.Handle, Account: last.Account}
	for i := range f.Entries {
		in := &f.Entries[i]
		e.Failed = e.Failed && in.Failed
		if i >= maxParts/2 && i < len(f.Entries)-maxParts/2 {
			continue
		}
		e.Parts = append(e.Parts, parts(c, in)...)
	}
	if n := len(e.Parts); n > maxParts {
		e.Parts = append(e.Parts[:maxParts/2:maxParts/2], e.Parts[n-maxParts/2:]...)
	}
	values := splitKey(f.Key)
	for _, out := range c.outs {
		to := k.rs.correlations[out.corr]
		e := e
		e.Refs = out.refs
		chainValues(&e, to, out.values, values)
		key, ok := chainKey(to, out.group, values, e.Account)
		if ok {
			k.give(out.corr, key, e)
		}
	}
}

func chainKey(to *correlation, places []int, values []string, account string) (string, bool) {
	if len(to.group) == 0 {
		return string(appendKey(nil, account)), true
	}
	var b []byte
	for _, p := range places {
		switch {
		case p >= 0 && p < len(values):
			b = appendKey(b, values[p])
		case to.missing:
			b = appendKey(b, "")
		default:
			return "", false
		}
	}
	return string(b), true
}

// chainValues sets the measured values of a firing; one that the inner group lacks is missing and does not count.
func chainValues(e *window.Entry, to *correlation, places []int, values []string) {
	if len(places) == 0 {
		return
	}
	var b []byte
	for _, p := range places {
		if p < 0 || p >= len(values) {
			return
		}
		if to.numeric {
			v := strings.TrimSpace(values[p])
			if n, err := strconv.ParseFloat(v, 64); err == nil && len(v) <= maxFloatText {
				e.Numbers = []float64{n}
			}
			return
		}
		b = appendKey(b, values[p])
	}
	e.Values = []string{string(b)}
}

// parts are the events behind an entry, labelled with the event rule that they matched.
func parts(c *correlation, e *window.Entry) []window.Part {
	if len(e.Parts) > 0 {
		return e.Parts
	}
	label := -1
	for i, r := range c.refs {
		if e.Refs&(1<<min(i, window.MaxRefs-1)) != 0 && r.rule >= 0 {
			label = r.rule
			break
		}
	}
	return []window.Part{{Time: e.Time, ID: e.ID, Failed: e.Failed, Handle: e.Handle, Label: label}}
}

type delayedEntry struct {
	key string
	window.Entry
}

type delayedEntries []delayedEntry

func (d delayedEntries) Len() int { return len(d) }
func (d delayedEntries) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(d[i].Time, d[j].Time), strings.Compare(d[i].ID, d[j].ID), strings.Compare(d[i].key, d[j].key)) < 0
}
func (d delayedEntries) Swap(i, j int) { d[i], d[j] = d[j], d[i] }
func (d *delayedEntries) Push(x any)   { *d = append(*d, x.(delayedEntry)) }
func (d *delayedEntries) Pop() any {
	old := *d
	e := old[len(old)-1]
	old[len(old)-1] = delayedEntry{}
	*d = old[:len(old)-1]
	return e
}
