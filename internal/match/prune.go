package match

import (
	"encoding/binary"
	"slices"

	"spoor/internal/event"
)

// Needs gives the texts, folded and sorted, of which field has one in every event for which x holds, in events in which
// it is a string, a boolean, null or missing. Without such a condition it returns false.
func Needs(x Expr, field event.Field) ([]string, bool) { return needs(x, field) }

// TestedFields gives the typed fields whose texts can decide parts of an expression, in rising order.
func TestedFields(xs ...Expr) []event.Field {
	var out []event.Field
	for _, x := range xs {
		eachTest(x, func(test Expr) {
			if l, ok := test.(*leaf); ok && l.place.typed && event.Fields[l.place.field].Type == "string" {
				out = append(out, l.place.field)
			}
		})
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// Pruner rules events out of which only the texts of some typed fields are known, before their records are read. It is
// not safe for concurrent use.
type Pruner struct {
	xs     []Expr
	at     [event.NumFields]int8 // place of a field in the texts, from 1; 0 for those that are not known
	texts  [][]byte
	ctx    Context
	null   event.Value
	memory map[string]bool // by texts; nil when they hardly come again
	key    []byte
}

// What a Pruner remembers: so many answers, for texts of so many bytes together.
const (
	pruneMemory = 1 << 14
	pruneText   = 512
)

// NewPruner makes a pruner for events for which some of xs may hold, told the texts of fields, of which there may be 100.
func NewPruner(xs []Expr, fields []event.Field) *Pruner {
	p := &Pruner{xs: xs, memory: map[string]bool{}}
	p.null, _ = event.NewValue([]byte("null")) // is JSON
	for i, f := range fields {
		p.at[f] = int8(i + 1)
		switch f {
		case event.EventID, event.RequestID, event.SharedEventID:
			p.memory = nil
		}
	}
	return p
}

// Possible reports whether some of the expressions may hold for an event. texts are those of the fields, nil for one that
// is null or missing; the fields must be strings or booleans otherwise, and userIdentity no array.
func (p *Pruner) Possible(texts [][]byte) bool {
	p.texts = texts
	if p.memory == nil {
		return p.any()
	}
	p.key = p.key[:0]
	for _, t := range texts {
		if t == nil {
			p.key = append(p.key, 0xff)
			continue
		}
		p.key = binary.AppendUvarint(append(p.key, 1), uint64(len(t)))
		p.key = append(p.key, t...)
	}
	if len(p.key) > pruneText {
		return p.any()
	}
	answer, ok := p.memory[string(p.key)]
	if !ok {
		if answer = p.any(); len(p.memory) >= pruneMemory {
			clear(p.memory)
		}
		p.memory[string(p.key)] = answer
	}
	return answer
}

func (p *Pruner) any() bool {
	return slices.ContainsFunc(p.xs, func(x Expr) bool { return decide(x, p.test) != never })
}

// test is [decide] for one test, as far as the texts tell.
func (p *Pruner) test(x Expr) verdict {
	switch x := x.(type) {
	case *exists:
		if text, known := p.text(x.place); known && text != nil {
			return always
		}
	case *leaf:
		return p.leaf(x)
	}
	return perhaps
}

func (p *Pruner) text(place *Place) (text []byte, known bool) {
	if !place.typed || p.at[place.field] == 0 {
		return nil, false
	}
	return p.texts[p.at[place.field]-1], true
}

func (p *Pruner) leaf(x *leaf) verdict {
	text, known := p.text(x.place)
	switch {
	case !known:
		return perhaps
	case text == nil:
		// Null and missing are one here; null ends the search for a value, missing does not.
		null := x.test.value(&p.ctx, p.null)
		if x.place.otherwise != nil || null != x.test.missing() {
			return perhaps
		}
		return verdictOf(null)
	}
	if t, ok := x.test.(texter); ok {
		return verdictOf(t.text(&p.ctx, view(text)))
	}
	v, ok := p.ctx.makeValue(view(text))
	if !ok {
		return perhaps
	}
	return verdictOf(x.test.value(&p.ctx, v))
}
