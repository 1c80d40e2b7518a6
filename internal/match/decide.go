package match

type verdict uint8

const (
	never verdict = iota
	perhaps
	always
)

func verdictOf(b bool) verdict {
	if b {
		return always
	}
	return never
}

// decide evaluates x as far as the tests in it are known: of is asked about each, and answers perhaps where it cannot tell.
func decide(x Expr, of func(test Expr) verdict) verdict {
	switch x := x.(type) {
	case constant:
		return verdictOf(bool(x))
	case *named:
		return decide(x.x, of)
	case *not:
		return always - decide(x.x, of)
	case *and:
		all := always
		for _, sub := range x.xs {
			if all = min(all, decide(sub, of)); all == never {
				break
			}
		}
		return all
	case *or:
		most := never
		for _, sub := range x.xs {
			if most = max(most, decide(sub, of)); most == always {
				break
			}
		}
		return most
	case *atLeast:
		sure, possible := 0, 0
		for _, sub := range x.xs {
			switch decide(sub, of) {
			case always:
				sure++
				possible++
			case perhaps:
				possible++
			}
		}
		switch {
		case sure >= x.want:
			return always
		case possible < x.want:
			return never
		}
		return perhaps
	}
	return of(x)
}

// eachTest calls fn with every test in x.
func eachTest(x Expr, fn func(test Expr)) {
	each := func(xs []Expr) {
		for _, sub := range xs {
			eachTest(sub, fn)
		}
	}
	switch x := x.(type) {
	case constant:
	case *named:
		eachTest(x.x, fn)
	case *not:
		eachTest(x.x, fn)
	case *and:
		each(x.xs)
	case *or:
		each(x.xs)
	case *atLeast:
		each(x.xs)
	default:
		fn(x)
	}
}

// decide evaluates x as far as the pair, and what else is known of the event, tell.
func (c *Context) decide(x Expr) verdict { return decide(x, c.test) }

// test is decide for one test.
func (c *Context) test(x Expr) verdict {
	switch x := x.(type) {
	case *leaf:
		if c.decides(x.place, kindOnly(x.test)) {
			return verdictOf(x.eval(c))
		}
	case *exists:
		if c.decides(x.place, true) {
			return verdictOf(x.eval(c))
		}
	}
	return perhaps
}
