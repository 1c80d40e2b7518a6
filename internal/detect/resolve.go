package detect

import (
	"cmp"
	"container/heap"
	"slices"
	"strings"
	"sync"
)

// DefaultRawLimit is the most bytes of raw records that findings carry together; beyond it the findings that rank last show
// their events without.
const DefaultRawLimit = 64 << 20

// draft is a finding whose records are still to be read back.
type draft struct {
	Finding
	group *aggregate // one of them is set
	of    *caseOf
}

// rank orders findings: highest level first, then count, then first seen, then id.
func rank(a, b *Finding) int {
	return cmp.Or(cmp.Compare(b.Level, a.Level), cmp.Compare(b.Count, a.Count), a.First.Compare(b.First), strings.Compare(a.ID, b.ID))
}

// findings makes the findings of aggregates and cases, in the order of rank, with the records behind them, and tells how
// many of those could not be read again.
func (rs *Ruleset) findings(groups []*aggregate, of []*caseOf, logs []*payloadLog, rawLimit int64, again Again) (out []Finding, lost int, err error) {
	drafts := make([]*draft, 0, len(groups)+len(of))
	for _, g := range groups {
		drafts = append(drafts, &draft{Finding: rs.findingOf(g), group: g})
	}
	for _, o := range of {
		drafts = append(drafts, &draft{Finding: o.finding(), of: o})
	}
	slices.SortFunc(drafts, func(a, b *draft) int { return rank(&a.Finding, &b.Finding) })

	var mu sync.Mutex // guards keep, and the tallies and actors of correlations
	keep := rawKeeper{limit: rawLimit, cut: 1 << 62}
	var wants []want
	show := func(order int, d *draft, i int, rule int, h handle) {
		wants = append(wants, want{h, func(r *reading) {
			at := order*EventCap + i
			mu.Lock()
			withRaw := keep.take(at)
			mu.Unlock()
			ev := rs.evidence(r, rule, withRaw)
			if d.of != nil {
				ev.RuleID = rs.labelID(rule)
			}
			d.Events[i] = ev
			if withRaw {
				mu.Lock()
				keep.hold(at, &d.Events[i])
				mu.Unlock()
			}
		}})
	}
	for order, d := range drafts {
		if d.group != nil {
			d.Events = make([]Evidence, len(d.group.events))
			for i, s := range d.group.events {
				d.Events[i] = Evidence{ID: s.id, Time: when(s.time)}
				show(order, d, i, s.rule, s.record)
			}
			continue
		}
		d.Events = make([]Evidence, len(d.of.shown))
		for i, p := range d.of.shown {
			d.Events[i] = Evidence{ID: p.ID, Time: when(p.Time), RuleID: rs.labelID(p.Label)}
			show(order, d, i, p.Label, handle(p.Handle))
		}
	}
	tallies := map[*draft]*tallyOf{}
	for _, d := range drafts {
		if d.of == nil {
			continue
		}
		t := new(tallyOf)
		tallies[d] = t
		for _, p := range d.of.parts {
			done := p.Handle == d.of.done
			wants = append(wants, want{handle(p.Handle), func(r *reading) {
				mu.Lock()
				defer mu.Unlock()
				t.add(&r.event)
				if done {
					d.Actor = r.event.Actor()
					d.Actor.Session = ""
				}
			}})
		}
	}
	if lost, err = fetch(logs, wants, again); err != nil {
		return nil, 0, err
	}
	out = make([]Finding, len(drafts))
	for i, d := range drafts {
		if t := tallies[d]; t != nil {
			d.setTallies((*[dimensions]tally)(t))
		}
		if d.Actor.ID == "" && len(d.Events) > 0 {
			d.Actor = d.Events[len(d.Events)-1].Actor
			d.Actor.Session = ""
		}
		out[i] = d.Finding
	}
	return out, lost, nil
}

// findingOf makes the finding of an aggregate but for its events.
func (rs *Ruleset) findingOf(g *aggregate) Finding {
	r := rs.rules[g.rule]
	f := Finding{Rule: r.info, Level: r.info.Level, Actor: g.actor, Account: g.account, Count: int(g.count), Denied: int(g.denied),
		First: when(g.first), Last: when(g.last)}
	if g.denied == g.count && r.attempts == attemptsLower {
		f.Level = lower(f.Level)
	}
	f.Actor.Session = ""
	f.setTallies(&g.tallies)
	f.ID = findingID("event", r.info.ID, r.info.Title, g.actor.ID, g.account)
	return f
}

// rawKeeper lets the best ranked events keep their raw records, as far as they fit a limit together. Which do follows from
// the events alone, not from the order in which they are read back.
type rawKeeper struct {
	limit, total int64
	cut          int // events from this place on keep nothing
	held         rawHeap
}

// take reports whether the event at a place may keep its record.
func (k *rawKeeper) take(at int) bool { return at < k.cut }

func (k *rawKeeper) hold(at int, e *Evidence) {
	k.total += int64(len(e.Raw))
	heap.Push(&k.held, heldRaw{at, e})
	for k.total > k.limit && len(k.held) > 0 {
		last := heap.Pop(&k.held).(heldRaw)
		k.total -= int64(len(last.e.Raw))
		last.e.Raw = nil
		k.cut = min(k.cut, last.at)
	}
}

type heldRaw struct {
	at int
	e  *Evidence
}

type rawHeap []heldRaw

func (h rawHeap) Len() int           { return len(h) }
func (h rawHeap) Less(i, j int) bool { return h[i].at > h[j].at }
func (h rawHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *rawHeap) Push(x any)        { *h = append(*h, x.(heldRaw)) }
func (h *rawHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
