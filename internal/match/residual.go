package match

// maxResiduals is the number of expressions up to which the residuals of a pair are kept.
const maxResiduals = 4096

// residual gives what is left of x for events with the eventSource and eventName of the event of c: parts that these two
// decide are taken out. It holds for the same events with that pair as x does.
func residual(c *Context, x Expr) Expr {
	switch c.decide(x) {
	case always:
		return Const(true)
	case never:
		return Const(false)
	}
	switch x := x.(type) {
	case *named:
		return residual(c, x.x)
	case *not:
		return Not(residual(c, x.x))
	case *and:
		return And(residuals(c, x.xs)...)
	case *or:
		return Or(residuals(c, x.xs)...)
	}
	return x
}

func residuals(c *Context, xs []Expr) []Expr {
	out := make([]Expr, len(xs))
	for i, x := range xs {
		out[i] = residual(c, x)
	}
	return out
}

// of gives the residual of an expression for the pair. c holds an event with it.
func (f *found) of(c *Context, id int32, x Expr, n int) Expr {
	if !f.kept || n > maxResiduals {
		return x
	}
	if f.left == nil {
		f.left = make([]Expr, n)
	}
	if f.left[id] == nil {
		f.left[id] = residual(c, x)
	}
	return f.left[id]
}
