package match

import (
	"slices"
	"strings"

	"spoor/internal/event"
)

// Index picks, for an event, the few of many expressions that can hold. It is immutable.
//
// From each expression it derives necessary conditions. Expressions that need certain values of eventSource or
// eventName are found by that pair: a [Matcher] remembers for each pair that it meets which of them the pair leaves
// possible. Others are guarded by a necessary condition on another field, tested once for an event however many
// expressions share it: a value out of a set, or a literal that the text must contain. What has neither is always a
// candidate.
type Index struct {
	exprs    []Expr
	byName   map[string][]int32 // by a folded eventName that is needed
	bySource map[string][]int32 // by a folded eventSource that is needed, when no certain eventName is
	scan     []int32            // depend on the pair in another way
	free     []int32            // always candidates
	watches  []watch            // the guarded
	all      []int32
}

// crowd is how many expressions one pair may select before guards are preferred.
const crowd = 12

// NewIndex makes an index over exprs; expressions are known by their place in it.
func NewIndex(exprs []Expr) *Index {
	ix := &Index{exprs: slices.Clone(exprs), byName: map[string][]int32{}, bySource: map[string][]int32{}}
	type needed struct {
		names, sources   []string
		byName, bySource bool
	}
	need := make([]needed, len(exprs))
	names, sources := map[string]int{}, map[string]int{}
	for i, x := range exprs {
		n := &need[i]
		ix.all = append(ix.all, int32(i))
		if n.names, n.byName = needs(x, event.EventName); n.byName {
			for _, s := range n.names {
				names[s]++
			}
			continue
		}
		if n.sources, n.bySource = needs(x, event.EventSource); n.bySource {
			for _, s := range n.sources {
				sources[s]++
			}
		}
	}
	crowded := func(texts []string, count map[string]int) bool {
		return slices.ContainsFunc(texts, func(s string) bool { return count[s] > crowd })
	}
	offered := make([][]guard, len(exprs))
	shared := map[string]int{}
	for i, x := range exprs {
		offered[i] = guardsOf(x)
		for _, g := range offered[i] {
			g.each(func(key string) { shared[key]++ })
		}
	}
	scans := 0
	var watched []watchedExpr
	for i, x := range exprs {
		n, id := &need[i], int32(i)
		g := bestGuard(offered[i], shared)
		guarded := g.place != nil && !g.present
		switch {
		case n.byName && !(guarded && crowded(n.names, names)):
			for _, s := range n.names {
				ix.byName[s] = append(ix.byName[s], id)
			}
		case n.bySource && !(guarded && crowded(n.sources, sources)):
			for _, s := range n.sources {
				ix.bySource[s] = append(ix.bySource[s], id)
			}
		case pairBound(x) && (!guarded || scans < crowd):
			scans++
			ix.scan = append(ix.scan, id)
		case g.place != nil:
			watched = append(watched, watchedExpr{id, g})
		default:
			ix.free = append(ix.free, id)
		}
	}
	ix.watches, ix.free = makeWatches(watched, ix.free)
	return ix
}

// Len returns the number of expressions.
func (ix *Index) Len() int { return len(ix.exprs) }

// guardsOf returns the guards of x on other fields than the pair.
func guardsOf(x Expr) []guard {
	return slices.DeleteFunc(guards(x), func(g guard) bool {
		return g.place.typed && (g.place.field == event.EventSource || g.place.field == event.EventName)
	})
}

// bestGuard picks the guard that is expected to let pass the fewest events, of expressions that few others share it
// with; shared counts the latter.
func bestGuard(gs []guard, shared map[string]int) guard {
	var best guard
	crowdOf := func(g *guard) int {
		most := 0
		g.each(func(key string) { most = max(most, shared[key]) })
		return most
	}
	for _, g := range gs {
		better := true
		switch a, b := crowdOf(&g), crowdOf(&best); {
		case best.place == nil:
		case g.present != best.present:
			better = best.present
		case g.place.scalar() != best.place.scalar():
			better = g.place.scalar()
		case (a > crowd || b > crowd) && a != b:
			better = a < b
		case g.strength() != best.strength():
			better = g.strength() > best.strength()
		default:
			better = len(g.exact)+len(g.lits) < len(best.exact)+len(best.lits)
		}
		if better {
			best = g
		}
	}
	return best
}

// scalar reports whether p is a typed field that holds texts.
func (p *Place) scalar() bool {
	return p.typed && (event.Fields[p.field].Type == "string" || event.Fields[p.field].Type == "boolean")
}

// maxPairs bounds the pairs that a Matcher remembers, maxPairText the length of one. When full, it starts anew.
const (
	maxPairs    = 4096
	nearPairs   = 1024
	maxPairText = 512
)

// Matcher evaluates the expressions of an Index over one event at a time. It is not safe for concurrent use.
type Matcher struct {
	ix      *Index
	ctx     Context
	pairs   map[pair]*found
	near    []*found // by a hash of the pair that is cheap and may collide
	memos   int
	answers []answer
	key     []byte

	list    []int32
	stamp   []uint32 // of the event for which an expression was listed
	now     uint32
	scratch []byte
	texts   [][]remembered // of each watch
}

// pair is eventSource and eventName as they stand in an event.
type pair struct {
	source, name       string
	hasSource, hasName bool
}

// found is what a pair leaves possible.
type found struct {
	pair    pair
	ids     []int32
	watches []*watch // those of which some expression is possible
	kept    bool     // for the events to come
	left    []Expr   // residuals by expression, made when first needed
	uses    int      // until there is a memo
	memo    *memo
}

// NewMatcher makes a matcher for one goroutine.
func (ix *Index) NewMatcher() *Matcher {
	return &Matcher{ix: ix, pairs: map[pair]*found{}, near: make([]*found, nearPairs), stamp: make([]uint32, len(ix.exprs)), texts: make([][]remembered, len(ix.watches))}
}

// Context is the context of the event last given to [Matcher.Match] or [Matcher.Candidates], for [Context.Explain].
func (m *Matcher) Context() *Context { return &m.ctx }

// Match appends to dst the numbers of the expressions that hold for e, ascending.
func (m *Matcher) Match(e *event.Event, dst []int) []int {
	from := len(dst)
	f := m.reset(e)
	list := m.ix.all
	if f != nil {
		if left, ok := m.survivors(f); ok {
			for _, s := range left {
				if s.expr.eval(&m.ctx) {
					dst = append(dst, int(s.id))
				}
			}
			m.list = m.list[:0]
			m.see(f.memo.open)
			list = m.list
		} else {
			list = m.candidates(f)
		}
	}
	for _, id := range list {
		x := m.ix.exprs[id]
		if f != nil {
			x = f.of(&m.ctx, id, x, len(m.ix.exprs))
		}
		if x.eval(&m.ctx) {
			dst = append(dst, int(id))
		}
	}
	if len(dst)-from > 1 {
		slices.Sort(dst[from:])
	}
	return dst
}

// Candidates returns the numbers of expressions among which are all that hold for e, each once, in no order. The list
// lives until the next call.
func (m *Matcher) Candidates(e *event.Event) []int32 {
	f := m.reset(e)
	if f == nil {
		return m.ix.all
	}
	return m.candidates(f)
}

func (m *Matcher) candidates(f *found) []int32 {
	m.list = append(append(m.list[:0], f.ids...), m.ix.free...)
	m.see(f.watches)
	return m.list
}

// see lists the expressions whose guards pass.
func (m *Matcher) see(watches []*watch) {
	if len(watches) > 0 {
		m.stampAnew()
	}
	for _, w := range watches {
		w.see(m)
	}
}

// reset makes e the event, and gives what its pair leaves possible: nil when its pair is not text.
func (m *Matcher) reset(e *event.Event) *found {
	m.ctx.Reset(e)
	p := pair{}
	var ok bool
	if p.source, p.hasSource, ok = pairText(e, event.EventSource); !ok {
		return nil
	}
	if p.name, p.hasName, ok = pairText(e, event.EventName); !ok {
		return nil
	}
	return m.possible(p)
}

// pairText gives a typed field's text and whether there is one; false as last answer when it is something else than a
// string.
func pairText(e *event.Event, field event.Field) (text string, has, ok bool) {
	switch v := e.Get(field); v.Kind() {
	case event.String:
		return v.Text(), true, true
	case event.Missing:
		return "", false, true
	}
	return "", false, false
}

// possible returns what the pair does not rule out.
func (m *Matcher) possible(p pair) *found {
	near := &m.near[event.CallHash(p.source, p.name)%nearPairs]
	if *near != nil && p == (*near).pair {
		return *near
	}
	f := m.pairs[p]
	if f == nil {
		f = m.narrow(p)
		if len(p.source)+len(p.name) > maxPairText {
			return f
		}
		if len(m.pairs) >= maxPairs {
			clear(m.pairs)
		}
		f.pair, f.kept = p, true
		f.pair.source, f.pair.name = strings.Clone(p.source), strings.Clone(p.name)
		m.pairs[f.pair] = f
	}
	*near = f
	return f
}

func (m *Matcher) narrow(p pair) *found {
	f := &found{}
	ruledOut := func(id int32) bool { return m.ctx.decide(m.ix.exprs[id]) == never }
	try := func(among []int32) {
		for _, id := range among {
			if !ruledOut(id) {
				f.ids = append(f.ids, id)
			}
		}
	}
	if p.hasName {
		m.key = appendFold(m.key[:0], p.name)
		try(m.ix.byName[string(m.key)])
	}
	if p.hasSource {
		m.key = appendFold(m.key[:0], p.source)
		try(m.ix.bySource[string(m.key)])
	}
	try(m.ix.scan)
	for i := range m.ix.watches {
		if w := &m.ix.watches[i]; slices.ContainsFunc(w.everything, func(id int32) bool { return !ruledOut(id) }) {
			f.watches = append(f.watches, w)
		}
	}
	return f
}

// stampAnew forgets which expressions are listed.
func (m *Matcher) stampAnew() {
	m.now++
	if m.now == 0 {
		clear(m.stamp)
		m.now = 1
	}
}

func (m *Matcher) add(ids []int32) {
	for _, id := range ids {
		if m.stamp[id] != m.now {
			m.stamp[id] = m.now
			m.list = append(m.list, id)
		}
	}
}
