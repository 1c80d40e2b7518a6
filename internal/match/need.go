package match

import (
	"slices"

	"spoor/internal/event"
)

// What must be true of an event for an expression to hold. All of it may only err by asking too little.

// maxNeed bounds the texts of a condition; larger ones are as good as none.
const maxNeed = 4096

// needs returns the folded texts, sorted, of which a typed field has one in every event for which x holds, provided that the
// field is a string there. Without such a condition it returns false.
func needs(x Expr, field event.Field) ([]string, bool) {
	switch x := x.(type) {
	case constant:
		return nil, !bool(x)
	case *named:
		return needs(x.x, field)
	case *and:
		var best []string
		known := false
		for _, sub := range x.xs {
			texts, ok := needs(sub, field)
			switch {
			case !ok:
			case !known:
				best, known = texts, true
			default:
				best = slices.DeleteFunc(slices.Clone(best), func(s string) bool {
					_, in := slices.BinarySearch(texts, s)
					return !in
				})
			}
		}
		return best, known
	case *or:
		return needsAny(x.xs, field)
	case *atLeast:
		return needsAny(x.xs, field)
	case *leaf:
		if t, ok := x.test.(*values); ok && x.place.typed && x.place.field == field && x.place.otherwise == nil {
			return t.exact()
		}
	}
	return nil, false
}

func needsAny(xs []Expr, field event.Field) ([]string, bool) {
	var all []string
	for _, sub := range xs {
		texts, ok := needs(sub, field)
		if !ok || len(all)+len(texts) > maxNeed {
			return nil, false
		}
		all = append(all, texts...)
	}
	slices.Sort(all)
	return slices.Compact(all), true
}

// exact returns the folded texts that the test allows, false when it allows others too.
func (t *values) exact() ([]string, bool) {
	if t.all || len(t.globs) > 0 || len(t.few)+len(t.cased) > maxNeed {
		return nil, false
	}
	texts := slices.Clone(t.few)
	for s := range t.cased {
		texts = append(texts, Fold(s))
	}
	slices.Sort(texts)
	return slices.Compact(texts), true
}

// pairBound reports whether eventSource and eventName can be expected to rule x out for most events.
func pairBound(x Expr) bool {
	switch x := x.(type) {
	case *named:
		return pairBound(x.x)
	case *and:
		return slices.ContainsFunc(x.xs, pairBound)
	case *or:
		return !slices.ContainsFunc(x.xs, func(sub Expr) bool { return !pairBound(sub) })
	case *atLeast:
		return !slices.ContainsFunc(x.xs, func(sub Expr) bool { return !pairBound(sub) })
	case *leaf:
		return x.onPair()
	}
	return false
}

// guard is a necessary condition on the values at one place: there is one, and if all of them are strings then the
// folded text of some value is among exact, or contains some of lits, or present is set.
type guard struct {
	place   *Place
	exact   []string
	lits    []string // ASCII, at least gramLen long
	present bool
}

// key is the same for guards on one place. Case counts: keys of an object may differ in nothing else.
func (g *guard) key() string { return g.place.name }

// each calls fn with a key for every text of the guard.
func (g *guard) each(fn func(key string)) {
	for _, s := range g.exact {
		fn(g.key() + "=" + s)
	}
	for _, s := range g.lits {
		fn(g.key() + "~" + s)
	}
}

// strength orders guards: the fewer events pass, the higher.
func (g *guard) strength() int {
	switch {
	case g.present:
		return 0
	case len(g.lits) > 0:
		return 1
	}
	return 2
}

// guards returns necessary conditions of x, at most one for a place.
func guards(x Expr) []guard {
	switch x := x.(type) {
	case *named:
		return guards(x.x)
	case *and:
		var out []guard
		for _, sub := range x.xs {
			for _, g := range guards(sub) {
				i := slices.IndexFunc(out, func(o guard) bool { return o.key() == g.key() })
				switch {
				case i < 0:
					out = append(out, g)
				case g.strength() > out[i].strength():
					out[i] = g
				}
			}
		}
		return out
	case *or:
		return guardsAny(x.xs)
	case *atLeast:
		return guardsAny(x.xs)
	case *not:
		// not (a or b) needs neither; of a test for nothing it needs something.
		switch sub := x.x.(type) {
		case *named:
			return guards(&not{sub.x})
		case *leaf:
			if sub.place.otherwise == nil && sub.place.path != nil && sub.test.missing() {
				return []guard{{place: sub.place, present: true}}
			}
		case *or:
			var out []guard
			for _, one := range sub.xs {
				out = append(out, guards(&not{one})...)
			}
			return out
		}
	case *exists:
		if x.place.otherwise == nil && x.place.path != nil {
			return []guard{{place: x.place, present: true}}
		}
	case *fieldRef:
		if x.place.otherwise == nil && x.place.path != nil {
			return []guard{{place: x.place, present: true}}
		}
	case *leaf:
		if x.place.otherwise != nil || x.place.path == nil || x.test.missing() {
			return nil
		}
		g := guard{place: x.place}
		switch t := x.test.(type) {
		case *values:
			t.guard(&g)
		case *re:
			if g.lits = usable(t.lits); g.lits == nil {
				g.present = true
			}
		default:
			g.present = true
		}
		return []guard{g}
	}
	return nil
}

func (t *values) guard(g *guard) {
	if t.all || len(t.few)+len(t.cased)+len(t.globs) > maxNeed {
		g.present = true
		return
	}
	g.exact = slices.Clone(t.few)
	for s := range t.cased {
		g.exact = append(g.exact, Fold(s))
	}
	for _, p := range t.globs {
		lits := usable(p.runs())
		if lits == nil {
			g.present = true
			return
		}
		g.lits = append(g.lits, lits...)
	}
}

// usable returns the longest of the runs, of which a text contains all, if it is long enough for a guard.
func usable(runs []string) []string {
	best := ""
	for _, r := range runs {
		if len(r) > len(best) && isASCII(r) {
			best = r
		}
	}
	if len(best) < gramLen {
		return nil
	}
	return []string{best}
}

// guardsAny keeps the conditions that each of xs has, joined.
func guardsAny(xs []Expr) []guard {
	var out []guard
	for i, sub := range xs {
		gs := guards(sub)
		if i == 0 {
			out = gs
			continue
		}
		joined := out[:0:0]
		for _, a := range out {
			for _, b := range gs {
				if a.key() == b.key() {
					joined = append(joined, guard{a.place, slices.Concat(a.exact, b.exact), slices.Concat(a.lits, b.lits), a.present || b.present})
				}
			}
		}
		out = joined
	}
	return out
}
