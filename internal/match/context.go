package match

import (
	"strings"
	"unicode/utf8"

	"spoor/internal/event"
)

// Context evaluates expressions over one event at a time. Its zero value is ready for [Context.Reset]. It owns scratch
// memory and is not safe for concurrent use.
type Context struct {
	e    *event.Event
	many bool // userIdentity is an array, so that typed fields in it may have several values

	text  []byte       // unescaped text of the value being tested
	fold  []byte       // folded text of the same
	ref   []byte       // folded text of the other field of a reference
	made  []byte       // JSON text of a derived value
	json  []byte       // the texts of objects, for this event
	objs  []objectText // index into json
	piece [1]segment   // of the pattern of rel
	rel   relationTest // the test made from another field's text
}

// Reset makes e the event that is evaluated. e must not change until the next Reset.
func (c *Context) Reset(e *event.Event) {
	c.e = e
	c.many = e.Get(event.UserIdentity).Kind() == event.Array
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
