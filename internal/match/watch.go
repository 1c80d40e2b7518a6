package match

import (
	"slices"

	"spoor/internal/event"
)

// watch tests, once for an event, the guards that many expressions have on one place.
type watch struct {
	place *Place
	exact map[string][]int32 // by folded text
	grams map[uint32][]int32 // by one gram of a literal
	maybe [1 << 10]uint64    // a bit for each hash of a gram
	// present are the expressions that need no more than a value, everything all that are watched here.
	present    []int32
	everything []int32
	n          int // its number in the index
}

type watchedExpr struct {
	id int32
	g  guard
}

// gramLen is the length of the pieces of literals by which a text is searched for many literals at once.
const gramLen = 4

// usual is text that most events hold; grams out of it make poor guards.
const usual = "arn:aws:iam::assumed-role/user/role/sts::arn:aws:s3:::aws:sts::aws-cli/mozilla/5.0 (windows nt 10.0; win64; x64) " +
	"applewebkit/537.36 (khtml, like gecko) chrome/ safari/ console.amazonaws.com boto3/ botocore/ python/ linux/ exec-env/ " +
	"aws-sdk-go/ aws-internal/ awsserviceroleforaws-service-role/ us-east-1 us-west-2 eu-west-1 is not authorized to perform: " +
	"because no identity-based policy allows the action resource accessdenied client. exception md/ ua/ cfg/ api/ lang/ os/ java/"

// makeWatches groups guarded expressions by place. A place that is dear to look up and watched by few is not worth it:
// its expressions are added to free.
func makeWatches(watched []watchedExpr, free []int32) ([]watch, []int32) {
	byPlace := map[string][]watchedExpr{}
	var order []string
	for _, w := range watched {
		k := w.g.key()
		if byPlace[k] == nil {
			order = append(order, k)
		}
		byPlace[k] = append(byPlace[k], w)
	}
	var out []watch
	for _, k := range order {
		ws := byPlace[k]
		least := 2
		if !ws[0].g.place.scalar() {
			least = 4
		}
		if len(ws) < least {
			for _, w := range ws {
				free = append(free, w.id)
			}
			continue
		}
		w := makeWatch(ws)
		w.n = len(out)
		out = append(out, w)
	}
	return out, free
}

func makeWatch(ws []watchedExpr) watch {
	w := watch{place: ws[0].g.place, exact: map[string][]int32{}, grams: map[uint32][]int32{}}
	count := map[uint32]int{}
	for i := range len(usual) - gramLen {
		count[gram(usual[i:])] += 1000
	}
	for _, x := range ws {
		for _, lit := range x.g.lits {
			for i := range len(lit) - gramLen + 1 {
				count[gram(lit[i:])]++
			}
		}
	}
	for _, x := range ws {
		w.everything = append(w.everything, x.id)
		if x.g.present {
			w.present = append(w.present, x.id)
			continue
		}
		for _, s := range x.g.exact {
			w.exact[s] = append(w.exact[s], x.id)
		}
		for _, lit := range x.g.lits {
			best := gram(lit)
			for i := range len(lit) - gramLen + 1 {
				if g := gram(lit[i:]); count[g] < count[best] {
					best = g
				}
			}
			if !slices.Contains(w.grams[best], x.id) {
				w.grams[best] = append(w.grams[best], x.id)
			}
			h := hash(best)
			w.maybe[h>>6] |= 1 << (h & 63)
		}
	}
	return w
}

// gram packs the first gramLen bytes of s, which are folded ASCII.
func gram(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

func hash(g uint32) uint32 { return g * 2654435761 >> 16 }

// see lists the expressions whose guard passes.
func (w *watch) see(m *Matcher) {
	if w.place.direct(&m.ctx) {
		v := m.ctx.e.Get(w.place.field)
		switch {
		case v.Kind() == event.String && len(v.Raw()) <= rememberText:
			m.add(w.remember(m, v))
		case v.Kind() != event.Missing:
			w.value(m, v)
		}
		return
	}
	w.place.find(&m.ctx, func(v event.Value) bool {
		w.value(m, v)
		return true
	})
}

// remembered is what a watch lists for a text, known by its hash: the same texts come again and again.
type remembered struct {
	hash uint64
	ids  []int32
}

// remember lists the expressions whose guard passes for v, a text.
func (w *watch) remember(m *Matcher, v event.Value) []int32 {
	h := m.ctx.hash(w.place.field, v)
	slots := m.texts[w.n]
	if slots == nil {
		slots = make([]remembered, rememberWatched)
		m.texts[w.n] = slots
	}
	slot := &slots[h>>32%rememberWatched]
	if slot.hash != h {
		list := m.list
		m.list = nil
		m.stampAnew()
		w.text(m, m.ctx.valueText(v))
		*slot = remembered{h, m.list}
		m.list = list
		m.stampAnew()
		for _, id := range list {
			m.stamp[id] = m.now
		}
	}
	return slot.ids
}

const rememberWatched = 1 << 11

func (w *watch) value(m *Matcher, v event.Value) {
	switch v.Kind() {
	case event.String:
		w.text(m, m.ctx.valueText(v))
	case event.Array:
		m.add(w.present)
		v.Elements(func(el event.Value) bool {
			w.value(m, el)
			return true
		})
	case event.Null:
		m.add(w.present)
	default:
		m.add(w.everything)
	}
}

func (w *watch) text(m *Matcher, s string) {
	m.add(w.present)
	if len(w.exact) > 0 {
		m.scratch = appendFold(m.scratch[:0], s)
		m.add(w.exact[string(m.scratch)])
	}
	if len(w.grams) == 0 || len(s) < gramLen {
		return
	}
	if !isASCII(s) {
		// Few such texts occur, and the letters k and s have folds outside ASCII.
		for _, ids := range w.grams {
			m.add(ids)
		}
		return
	}
	g := uint32(lower[s[0]])<<16 | uint32(lower[s[1]])<<8 | uint32(lower[s[2]])
	for i := 3; i < len(s); i++ {
		g = g<<8 | uint32(lower[s[i]])
		if h := hash(g); w.maybe[h>>6]&(1<<(h&63)) != 0 {
			m.add(w.grams[g])
		}
	}
}
