package match

import (
	"slices"

	"spoor/internal/event"
)

// memo answers for the events of one pair by the texts of the fields on which most of its expressions depend: who
// calls, from where, with what, and how it ended repeats far more often than requests do. What those texts decide is
// decided once; what is left of an expression is evaluated for every event.
type memo struct {
	texts   []event.Field // their texts are in the key
	kinds   []event.Field // their kinds are in the key
	known   known
	watched []*watch // on a field of texts: part of what is remembered
	open    []*watch // the others: seen for every event
	number  uint64   // makes keys of different memos differ

	asked, missed int // since last judged
	off           bool
}

// answer is what is remembered for a key. The key is a hash with a random seed: no log can make two alike.
type answer struct {
	key  uint64 // 0 for none
	left []survivor
}

// survivor is what is left of an expression.
type survivor struct {
	id   int32
	expr Expr
}

// known are fields of which the texts or the kinds, besides those of the pair, take part in deciding.
type known struct {
	text, kind [event.NumFields]bool
}

const (
	memoFrom   = 4       // events of a pair after which it gets a memo
	memoJudged = 1 << 11 // a memo that misses half of so many events is given up
	maxAnswers = 1 << 15 // places for answers of one matcher
)

// repeating are the typed fields of which few texts, or few at a time, make up most events.
var repeating = func() (set [event.NumFields]bool) {
	for _, f := range [...]event.Field{
		event.EventVersion, event.IdentityType, event.IdentityARN, event.IdentityAccountID, event.UserName, event.InvokedBy,
		event.IdentityProvider, event.InScopeOfSourceARN, event.InScopeOfIssuerType, event.IssuerType, event.IssuerARN,
		event.IssuerAccountID, event.IssuerUserName, event.FederatedProvider, event.MFAAuthenticated, event.SourceIdentity,
		event.EC2RoleDelivery, event.AssumedRoot, event.AWSRegion, event.SourceIPAddress, event.UserAgent, event.ErrorCode,
		event.ReadOnly, event.EventType, event.APIVersion, event.ManagementEvent, event.RecipientAccountID,
		event.VPCEndpointID, event.VPCEndpointAccountID, event.EventCategory, event.SessionCredentialFromConsole,
	} {
		set[f] = true
	}
	return set
}()

// decides reports whether what is known gives the answer of a test at p, of one that asks for no more than the kind if
// kind is set.
func (c *Context) decides(p *Place, kind bool) bool {
	for ; p != nil; p = p.otherwise {
		switch {
		case !p.typed:
			return false
		case p.field == event.EventSource || p.field == event.EventName:
		case c.known == nil || !c.known.text[p.field] && !(kind && c.known.kind[p.field]):
			return false
		}
	}
	return true
}

// kindOnly reports whether no more of a value than its kind matters to t, arrays apart.
func kindOnly(t Test) bool {
	_, ok := t.(null)
	return ok
}

// newMemo makes the memo of a pair; the context holds an event with it.
func (m *Matcher) newMemo(f *found) *memo {
	m.memos++
	p := &memo{number: uint64(m.memos) * 0xff51afd7ed558ccd}
	use := func(field event.Field, kind bool) {
		switch {
		case field == event.EventSource || field == event.EventName:
		case repeating[field]:
			p.known.text[field] = true
		case kind:
			p.known.kind[field] = true
		}
	}
	for _, ids := range [...][]int32{f.ids, m.ix.free} {
		for _, id := range ids {
			eachPlace(f.of(&m.ctx, id, m.ix.exprs[id], len(m.ix.exprs)), use)
		}
	}
	for _, w := range f.watches {
		if w.place.typed && w.place.otherwise == nil && repeating[w.place.field] {
			p.known.text[w.place.field] = true
			p.watched = append(p.watched, w)
		} else {
			p.open = append(p.open, w)
		}
	}
	for field := range event.Field(event.NumFields) {
		switch {
		case p.known.text[field]:
			p.texts = append(p.texts, field)
		case p.known.kind[field]:
			p.kinds = append(p.kinds, field)
		}
	}
	return p
}

// eachPlace calls use with the typed fields of the tests in x.
func eachPlace(x Expr, use func(field event.Field, kind bool)) {
	at := func(p *Place, kind bool) {
		for ; p != nil; p = p.otherwise {
			if p.typed {
				use(p.field, kind)
			}
		}
	}
	eachTest(x, func(test Expr) {
		switch test := test.(type) {
		case *leaf:
			at(test.place, kindOnly(test.test))
		case *exists:
			at(test.place, true)
		}
	})
}

// memoKey gives what an event is known by in a memo, and false when it has values that are not remembered.
func (c *Context) memoKey(p *memo) (key uint64, ok bool) {
	key = p.number
	for _, field := range p.texts {
		v := c.e.Get(field)
		h := uint64(v.Kind())
		switch v.Kind() {
		case event.String, event.Number:
			if len(v.Raw()) > rememberText {
				return 0, false
			}
			h ^= c.hash(field, v)
		case event.Object, event.Array:
			return 0, false
		}
		key = (key ^ h) * 0x9e3779b97f4a7c15
		key ^= key >> 32
	}
	for _, field := range p.kinds {
		k := c.e.Get(field).Kind()
		if k == event.Array {
			return 0, false
		}
		key = (key ^ uint64(k)) * 0x9e3779b97f4a7c15
	}
	return key | 1, true
}

// survivors gives what is left of the expressions that can hold, from the memo. It returns false when the memo cannot
// tell.
func (m *Matcher) survivors(f *found) ([]survivor, bool) {
	if f.memo == nil {
		if f.uses++; f.uses < memoFrom || !f.kept {
			return nil, false
		}
		f.memo = m.newMemo(f)
	}
	p := f.memo
	if p.off || m.ctx.many {
		return nil, false
	}
	key, ok := m.ctx.memoKey(p)
	if !ok {
		return nil, false
	}
	if p.asked++; p.asked == memoJudged {
		p.off = p.missed > memoJudged/2
		p.asked, p.missed = 0, 0
	}
	if m.answers == nil {
		m.answers = make([]answer, maxAnswers)
	}
	slot := &m.answers[key>>20%maxAnswers]
	if slot.key == key {
		return slot.left, true
	}
	p.missed++
	m.list = append(append(m.list[:0], f.ids...), m.ix.free...)
	m.see(p.watched)
	*slot = answer{key, m.decided(f, p)}
	return slot.left, true
}

// decided gives what the memo's texts leave of the listed expressions.
func (m *Matcher) decided(f *found, p *memo) (left []survivor) {
	for _, id := range m.list {
		x := f.of(&m.ctx, id, m.ix.exprs[id], len(m.ix.exprs))
		m.ctx.known = &p.known
		x = residual(&m.ctx, x)
		m.ctx.known = nil
		if x != constant(false) {
			left = append(left, survivor{id, x})
		}
	}
	return slices.Clip(left)
}
