package detect

import (
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"spoor/internal/detect/window"
)

// idle finds the groups that matter, before anything is sorted: by sorter and place, whether the rows of a group can make its
// correlation fire. Most groups hold a few events over days and never will; without their rows the answer is the same.
// It gives nil for sorters whose rows all matter: when some were written to files, the rest does not tell.
func idle(rs *Ruleset, sorters []*sorter) [][]bool {
	keep := make([][]bool, len(sorters))
	if len(sorters) == 0 || slices.ContainsFunc(sorters, func(s *sorter) bool { return len(s.runs) > 0 }) {
		return keep
	}
	p := newPooled(rs, sorters)
	places := make([][]int32, len(sorters)) // of the groups of each sorter
	for i, s := range sorters {
		places[i] = p.join(&s.rows)
	}
	p.fill(sorters, places)
	possible := p.possible()
	for i := range sorters {
		keep[i] = make([]bool, len(places[i]))
		for g, at := range places[i] {
			keep[i][g] = at < 0 || possible[at]
		}
	}
	return keep
}

// pooled is the rows of several sorters by group, as far as [window.Spec.Possible] looks at them. What the first sorter
// has keeps the numbers that it has there; only what others add is gathered anew.
type pooled struct {
	rs     *Ruleset
	chains []bool // by correlation, whether others feed it
	first  *rows
	byKey  []map[string]int32 // by correlation, places in groups
	groups []pooledGroup
	values map[string]uint32 // numbers of measured values
	marks  []window.Mark     // group by group
}

func newPooled(rs *Ruleset, sorters []*sorter) *pooled {
	p := &pooled{rs: rs, byKey: make([]map[string]int32, len(rs.correlations)), values: map[string]uint32{}}
	for i, c := range rs.correlations {
		p.chains = append(p.chains, slices.ContainsFunc(c.refs, func(ref reference) bool { return ref.corr >= 0 }))
		p.byKey[i] = map[string]int32{}
	}
	p.first = &sorters[0].rows
	for _, g := range p.first.groups {
		p.groups = append(p.groups, pooledGroup{corr: g.corr})
	}
	return p
}

type pooledGroup struct {
	corr     int
	rows     int
	refs     uint64 // of all rows
	many     bool   // some row has more than one value, or numbers
	from, to int    // in marks; from is -1 when there are none: too few rows, or too many values
}

// join gives the places of the groups of r, -1 for those of which nothing can be told from rows alone.
func (p *pooled) join(r *rows) []int32 {
	out := make([]int32, len(r.groups))
	for i, g := range r.groups {
		if out[i] = p.place(r, i, g); out[i] < 0 {
			continue
		}
		at := &p.groups[out[i]]
		at.rows += g.rows
		at.refs |= g.refs
		at.many = at.many || g.many
	}
	return out
}

func (p *pooled) place(r *rows, i int, g rowGroup) int32 {
	if p.chains[g.corr] {
		return -1
	}
	if r == p.first {
		return int32(i)
	}
	key := r.texts.get(g.key)
	if g.corr < len(p.first.byKey) {
		if at, ok := p.first.byKey[g.corr][key]; ok {
			return int32(at)
		}
	}
	at, ok := p.byKey[g.corr][key]
	if !ok {
		at = int32(len(p.groups))
		p.byKey[g.corr][key] = at
		p.groups = append(p.groups, pooledGroup{corr: g.corr})
	}
	return at
}

// numbers gives for the values of r numbers that all sorters share, from 1.
func (p *pooled) numbers(r *rows) []uint32 {
	out := make([]uint32, len(r.values))
	for i, v := range r.values {
		if r == p.first {
			out[i] = uint32(i) + 1
			continue
		}
		text := r.texts.get(v)
		if at, ok := p.first.known[text]; ok {
			out[i] = at + 1
			continue
		}
		number, ok := p.values[text]
		if !ok {
			number = uint32(len(p.first.values)+len(p.values)) + 1
			p.values[text] = number
		}
		out[i] = number
	}
	return out
}

// fill lays the marks of all rows down by group.
func (p *pooled) fill(sorters []*sorter, places [][]int32) {
	n := 0
	for i := range p.groups {
		g := &p.groups[i]
		if g.from, g.to = n, n; g.many || !p.rs.correlations[g.corr].spec.Enough(g.rows, g.refs) {
			g.from = -1
			continue
		}
		n += g.rows
	}
	p.marks = make([]window.Mark, n)
	for i, s := range sorters {
		numbers := p.numbers(&s.rows)
		for n := range s.rows.n {
			r := s.rows.at(n)
			at := places[i][r.group]
			if at < 0 || p.groups[at].from < 0 || r.time == 0 {
				continue
			}
			g := &p.groups[at]
			m := window.Mark{Time: r.time, Refs: r.refs}
			if r.value != 0 {
				m.Value = numbers[r.value-1]
			}
			p.marks[g.to] = m
			g.to++
		}
	}
}

// possible judges every group.
func (p *pooled) possible() []bool {
	out := make([]bool, len(p.groups))
	var g errgroup.Group
	parts := runtime.GOMAXPROCS(0)
	for part := range parts {
		g.Go(func() error {
			seen := make([]int32, len(p.first.values)+len(p.values)+1)
			// Neighbours are of one correlation and alike; so each part takes from everywhere.
			for i := part; i < len(p.groups); i += parts {
				at := &p.groups[i]
				if at.from < 0 {
					out[i] = at.many
					continue
				}
				marks := p.marks[at.from:at.to]
				if !slices.IsSortedFunc(marks, byTime) {
					slices.SortFunc(marks, byTime)
				}
				out[i] = p.rs.correlations[at.corr].spec.Possible(marks, seen)
			}
			return nil
		})
	}
	_ = g.Wait() // none fails
	return out
}

func byTime(a, b window.Mark) int {
	switch {
	case a.Time < b.Time:
		return -1
	case a.Time > b.Time:
		return 1
	}
	return 0
}
