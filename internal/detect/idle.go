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
	if slices.ContainsFunc(sorters, func(s *sorter) bool { return len(s.runs) > 0 }) {
		return keep
	}
	p := pooled{rs: rs, byKey: make([]map[string]int32, len(rs.correlations)), values: map[string]uint32{}}
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

// pooled is the rows of several sorters by group, as far as [window.Spec.Possible] looks at them.
type pooled struct {
	rs     *Ruleset
	byKey  []map[string]int32 // by correlation, places in groups
	groups []pooledGroup
	values map[string]uint32 // numbers for measured values, from 1
	marks  []window.Mark     // group by group
}

type pooledGroup struct {
	corr     int
	from, to int // in marks
}

// join gives the places of the groups of r, -1 for those of which nothing can be told from rows alone.
func (p *pooled) join(r *rows) []int32 {
	out := make([]int32, len(r.groups))
	for i, g := range r.groups {
		if g.many || slices.ContainsFunc(p.rs.correlations[g.corr].refs, func(ref reference) bool { return ref.corr >= 0 }) {
			out[i] = -1
			continue
		}
		if p.byKey[g.corr] == nil {
			p.byKey[g.corr] = map[string]int32{}
		}
		key := r.texts.get(g.key)
		at, ok := p.byKey[g.corr][key]
		if !ok {
			at = int32(len(p.groups))
			p.byKey[g.corr][key] = at
			p.groups = append(p.groups, pooledGroup{corr: g.corr})
		}
		out[i] = at
	}
	return out
}

// fill lays the marks of all rows down by group.
func (p *pooled) fill(sorters []*sorter, places [][]int32) {
	each := func(visit func(s int, at int32, r *row)) {
		for i, s := range sorters {
			for n := range s.rows.n {
				if r := s.rows.at(n); r.time != 0 && places[i][r.group] >= 0 {
					visit(i, places[i][r.group], r)
				}
			}
		}
	}
	each(func(_ int, at int32, _ *row) { p.groups[at].to++ })
	n := 0
	for i := range p.groups {
		g := &p.groups[i]
		g.from, g.to, n = n, n, n+g.to
	}
	p.marks = make([]window.Mark, n)
	numbers := make([][]uint32, len(sorters)) // of the values of each sorter
	for i, s := range sorters {
		for _, v := range s.rows.values {
			text := s.rows.texts.get(v)
			number, ok := p.values[text]
			if !ok {
				number = uint32(len(p.values)) + 1
				p.values[text] = number
			}
			numbers[i] = append(numbers[i], number)
		}
	}
	each(func(s int, at int32, r *row) {
		g := &p.groups[at]
		m := window.Mark{Time: r.time, Refs: r.refs}
		if r.value != 0 {
			m.Value = numbers[s][r.value-1]
		}
		p.marks[g.to] = m
		g.to++
	})
}

// possible judges every group.
func (p *pooled) possible() []bool {
	out := make([]bool, len(p.groups))
	var g errgroup.Group
	parts := runtime.GOMAXPROCS(0)
	for part := range parts {
		g.Go(func() error {
			seen := make([]int32, len(p.values)+1)
			// Neighbours are of one correlation and alike; so each part takes from everywhere.
			for i := part; i < len(p.groups); i += parts {
				at := &p.groups[i]
				marks := p.marks[at.from:at.to]
				slices.SortFunc(marks, func(a, b window.Mark) int {
					if a.Time < b.Time {
						return -1
					} else if a.Time > b.Time {
						return 1
					}
					return 0
				})
				out[i] = p.rs.correlations[at.corr].spec.Possible(marks, seen)
			}
			return nil
		})
	}
	_ = g.Wait() // none fails
	return out
}
