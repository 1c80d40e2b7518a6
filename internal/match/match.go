// Package match is the predicate form that every rule language of Spoor compiles to, and the index that picks the few
// candidate predicates for an event.
//
// An [Expr] is a tree of And, Or, Not, AtLeast and tests of values at a [Place] in the event. It is immutable and may be
// shared. It is evaluated with a [Context], which holds the scratch memory of one goroutine. An [Index] over many
// expressions gives each goroutine a [Matcher], whose answer equals evaluating every expression and whose cost hardly
// grows with their number.
//
// A place yields a set of values. A test holds when any of them passes it, elements of arrays included; what the empty
// set (missing) and null mean is up to each test. The differences between rule languages live in the tests and in how
// a front end puts them together, never in the evaluation.
package match

import (
	"cmp"
	"slices"
)

// Expr is a compiled predicate over an event, made by the constructors of this package.
type Expr interface {
	eval(c *Context) bool
	// trace is eval without shortcuts; it notes what held, and leaves no notes when the answer is false.
	trace(c *Context, t *Trace) bool
	// cost is a rough number of nanoseconds, for the order of evaluation.
	cost() int
}

type constant bool

// Const is the expression that always has the same answer.
func Const(answer bool) Expr { return constant(answer) }

func (k constant) eval(*Context) bool          { return bool(k) }
func (k constant) trace(*Context, *Trace) bool { return bool(k) }
func (k constant) cost() int                   { return 0 }

type and struct {
	xs []Expr // cheap ones first
	n  int    // cost
}

// And holds when all of xs do; And() always holds.
func And(xs ...Expr) Expr {
	var flat []Expr
	for _, x := range xs {
		switch x := x.(type) {
		case constant:
			if !x {
				return x
			}
		case *and:
			flat = append(flat, x.xs...)
		default:
			flat = append(flat, x)
		}
	}
	switch len(flat) {
	case 0:
		return Const(true)
	case 1:
		return flat[0]
	}
	byCost(flat)
	// The first test decides most events.
	return &and{flat, flat[0].cost() + sumCost(flat[1:])/8}
}

func byCost(xs []Expr) []Expr {
	slices.SortStableFunc(xs, func(a, b Expr) int { return cmp.Compare(a.cost(), b.cost()) })
	return xs
}

func sumCost(xs []Expr) int {
	n := 1
	for _, x := range xs {
		n += x.cost()
	}
	return n
}

func (a *and) cost() int { return a.n }

func (a *and) eval(c *Context) bool {
	for _, x := range a.xs {
		if !x.eval(c) {
			return false
		}
	}
	return true
}

func (a *and) trace(c *Context, t *Trace) bool {
	mark := t.mark()
	for _, x := range a.xs {
		if !x.trace(c, t) {
			t.forget(mark)
			return false
		}
	}
	return true
}

type or struct {
	xs []Expr
	n  int
}

// Or holds when any of xs does; Or() never holds.
func Or(xs ...Expr) Expr {
	var flat []Expr
	for _, x := range xs {
		switch x := x.(type) {
		case constant:
			if x {
				return x
			}
		case *or:
			flat = append(flat, x.xs...)
		default:
			flat = append(flat, x)
		}
	}
	switch len(flat) {
	case 0:
		return Const(false)
	case 1:
		return flat[0]
	}
	return &or{byCost(flat), sumCost(flat)}
}

func (o *or) cost() int { return o.n }

func (o *or) eval(c *Context) bool {
	for _, x := range o.xs {
		if x.eval(c) {
			return true
		}
	}
	return false
}

func (o *or) trace(c *Context, t *Trace) bool {
	held := false
	for _, x := range o.xs {
		if x.trace(c, t) {
			held = true
		}
	}
	return held
}

type not struct{ x Expr }

// Not holds when x does not.
func Not(x Expr) Expr {
	switch x := x.(type) {
	case constant:
		return !x
	case *not:
		return x.x
	}
	return &not{x}
}

// cost is more than that of the expression: what a rule leaves out is seldom what decides.
func (n *not) cost() int            { return n.x.cost() + 30 }
func (n *not) eval(c *Context) bool { return !n.x.eval(c) }

// trace notes nothing: what does not hold has no value to show.
func (n *not) trace(c *Context, _ *Trace) bool { return !n.x.eval(c) }

type atLeast struct {
	want int
	xs   []Expr
	n    int
}

// AtLeast holds when n or more of xs do.
func AtLeast(n int, xs ...Expr) Expr {
	switch {
	case n <= 0:
		return Const(true)
	case n > len(xs):
		return Const(false)
	case n == 1:
		return Or(xs...)
	case n == len(xs):
		return And(xs...)
	}
	xs = slices.Clone(xs)
	return &atLeast{n, byCost(xs), sumCost(xs)}
}

func (a *atLeast) cost() int { return a.n }

func (a *atLeast) eval(c *Context) bool {
	need := a.want
	for i, x := range a.xs {
		if x.eval(c) {
			need--
		}
		if need == 0 {
			return true
		}
		if need > len(a.xs)-i-1 {
			return false
		}
	}
	return false
}

func (a *atLeast) trace(c *Context, t *Trace) bool {
	mark, held := t.mark(), 0
	for _, x := range a.xs {
		if x.trace(c, t) {
			held++
		}
	}
	if held < a.want {
		t.forget(mark)
		return false
	}
	return true
}

type named struct {
	name string
	x    Expr
}

// Named gives x a name that [Context.Explain] reports when x held, such as a Sigma search identifier.
func Named(name string, x Expr) Expr {
	if _, ok := x.(constant); ok {
		return x
	}
	return &named{name, x}
}

func (n *named) cost() int            { return n.x.cost() }
func (n *named) eval(c *Context) bool { return n.x.eval(c) }

func (n *named) trace(c *Context, t *Trace) bool {
	if !n.x.trace(c, t) {
		return false
	}
	if !slices.Contains(t.Names, n.name) {
		t.Names = append(t.Names, n.name)
	}
	return true
}
