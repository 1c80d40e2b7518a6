package match

import (
	"hash/maphash"
	"strings"
	"unicode/utf8"
	"unsafe"

	"spoor/internal/event"
)

// Context evaluates expressions over one event at a time. Its zero value is ready for [Context.Reset]. It owns scratch
// memory and is not safe for concurrent use.
type Context struct {
	e     *event.Event
	known *known // besides the pair, what decides; nil outside of a memo
	many  bool   // userIdentity is an array, so that typed fields in it may have several values

	text  []byte       // unescaped text of the value being tested
	fold  []byte       // folded text of the same
	ref   []byte       // folded text of the other field of a reference
	made  []byte       // JSON text of a derived value
	json  []byte       // the texts of objects, for this event
	objs  []objectText // index into json
	piece [1]segment   // of the pattern of rel
	rel   relationTest // the test made from another field's text

	// memory remembers answers of costly tests: the same agents, ARNs and addresses come again and again. A word is a hash
	// of test and text with the answer in its lowest bit; 0 is empty. hashes are those of the event's typed texts, 0 when
	// not taken yet. The seed is random, so that no log can make texts collide.
	memory []uint64
	seed   maphash.Seed
	seeded bool
	hashes [event.NumFields]uint64
}

const (
	rememberFrom  = 25      // cost of a test from which its answers are remembered
	rememberText  = 1 << 10 // longest text, in bytes
	rememberSlots = 1 << 13
)

// hash gives a hash of v, a text of a typed field, that is not 0.
func (c *Context) hash(field event.Field, v event.Value) uint64 {
	if h := c.hashes[field]; h != 0 {
		return h
	}
	if !c.seeded {
		c.seed, c.seeded = maphash.MakeSeed(), true
	}
	h := maphash.Bytes(c.seed, v.Raw()) | 1
	c.hashes[field] = h
	return h
}

// remember gives l's answer for v, a text of its typed field.
func (c *Context) remember(l *leaf, v event.Value) bool {
	if c.memory == nil {
		c.memory = make([]uint64, rememberSlots)
	}
	h := c.hash(l.place.field, v)
	key := (h ^ uint64(uintptr(unsafe.Pointer(l)))) * 0x9e3779b97f4a7c15 &^ 1
	slot := &c.memory[key>>(64-13)]
	if *slot&^1 == key && key != 0 {
		return *slot&1 == 1
	}
	held := l.test.value(c, v)
	*slot = key
	if held {
		*slot |= 1
	}
	return held
}

// Reset makes e the event that is evaluated. e must not change until the next Reset.
func (c *Context) Reset(e *event.Event) {
	c.e = e
	c.many = e.Get(event.UserIdentity).Kind() == event.Array
	c.hashes = [event.NumFields]uint64{}
	clear(c.objs)
	c.objs = c.objs[:0]
	if cap(c.json) > 1<<20 {
		c.json = nil // one huge record does not hold memory for good
	}
	c.json = c.json[:0]
}

// Match reports whether x holds for the event.
func (c *Context) Match(x Expr) bool { return x.eval(c) }

// Find calls fn for each value at p until fn returns false, and reports whether there was any, null included. Arrays are
// given whole. A value lives until the next use of the context.
func (c *Context) Find(p *Place, fn func(event.Value) bool) bool { return p.find(c, fn) }

// Trace tells why an expression held.
type Trace struct {
	Names []string // of the Named expressions that held, outside of Not
	Tests []Held   // the tests that held, outside of Not
}

// Held is a test that held and the first value that passed it. Its strings are copies.
type Held struct {
	Path  string // path of the value; "" for a search over the whole event
	Value string // text of the value, at most MaxHeldValue bytes; "" for null and missing
	// Missing is set when the test held because nothing is there.
	Missing bool
}

// MaxHeldValue is the most bytes of a value that a [Trace] keeps.
const MaxHeldValue = 1024

// Explain is [Context.Match] and also tells what held. Nothing in the trace points into the event.
func (c *Context) Explain(x Expr) (Trace, bool) {
	var t Trace
	held := x.trace(c, &t)
	return t, held
}

type traceMark struct{ names, tests int }

func (t *Trace) mark() traceMark { return traceMark{len(t.Names), len(t.Tests)} }

func (t *Trace) forget(m traceMark) {
	t.Names, t.Tests = t.Names[:m.names], t.Tests[:m.tests]
}

func (t *Trace) note(path, value string, missing bool) {
	if len(value) > MaxHeldValue {
		cut := MaxHeldValue
		for cut > 0 && !utf8.RuneStart(value[cut]) {
			cut--
		}
		value = value[:cut]
	}
	t.Tests = append(t.Tests, Held{path, strings.Clone(value), missing})
}
