package window

import (
	"math/bits"
)

// Mark is an entry as far as [Spec.Possible] looks at it.
type Mark struct {
	Time  int64
	Refs  uint64
	Value uint32 // stands for the entry's value; 0 when it has none
}

// Possible reports whether the condition of a rule can come to hold in a group that gets these entries and no others. They
// are sorted by time and have at most one value each. False is certain, true is not: what is judged at the end, or
// measures numbers, is possible. seen has a place for every value, all 0, and is given back so.
func (s *Spec) Possible(marks []Mark, seen []int32) bool {
	if s.JudgedAtEnd() || len(marks) > bucketCap { // where several times may count as one
		return true
	}
	switch s.Kind {
	case Count:
		return s.mostEntries(marks)
	case Distinct:
		return s.mostValues(marks, seen)
	case Temporal, Ordered:
		return s.mostRefs(marks)
	}
	return true
}

// Enough reports whether the condition can come to hold in a group that gets no more than n entries, with these references
// among them. It is a quick look before [Spec.Possible], which says what the answers mean.
func (s *Spec) Enough(n int, refs uint64) bool {
	if s.JudgedAtEnd() {
		return true
	}
	switch s.Kind {
	case Count, Distinct:
		return s.enough(n)
	case Temporal, Ordered:
		n := bits.OnesCount64(refs)
		return s.temporal(refs, float64(n)) && (s.Expr != nil || s.enough(n))
	}
	return true
}

// enough reports whether the comparisons hold for q. All of them hold for more, too.
func (s *Spec) enough(q int) bool {
	for _, c := range s.Conds {
		if !c.holds(float64(q)) {
			return false
		}
	}
	return true
}

func (s *Spec) mostEntries(marks []Mark) bool {
	most, lo := 0, 0
	for hi := range marks {
		for marks[lo].Time <= marks[hi].Time-int64(s.Span) {
			lo++
		}
		if n := hi - lo + 1; n > most {
			if most = n; s.enough(n) {
				return true
			}
		}
	}
	return false
}

func (s *Spec) mostValues(marks []Mark, seen []int32) bool {
	most, n, lo, hi := 0, 0, 0, 0
	enough := false
	for ; hi < len(marks) && !enough; hi++ {
		if v := marks[hi].Value; v != 0 {
			if seen[v]++; seen[v] == 1 {
				n++
			}
		}
		for ; marks[lo].Time <= marks[hi].Time-int64(s.Span); lo++ {
			if v := marks[lo].Value; v != 0 {
				if seen[v]--; seen[v] == 0 {
					n--
				}
			}
		}
		if n > most || hi == 0 {
			most = n
			enough = s.enough(n) || n > DistinctCap // from there on the number is an estimate
		}
	}
	for _, m := range marks[lo:hi] {
		seen[m.Value] = 0
	}
	return enough
}

func (s *Spec) mostRefs(marks []Mark) bool {
	var last [MaxRefs]int64
	var all uint64
	for i := range marks {
		m := &marks[i]
		all |= m.Refs
		for r := m.Refs; r != 0; r &= r - 1 {
			last[bits.TrailingZeros64(r)] = m.Time
		}
		var refs uint64
		for r := all; r != 0; r &= r - 1 {
			if ref := bits.TrailingZeros64(r); last[ref] > m.Time-int64(s.Span) {
				refs |= 1 << ref
			}
		}
		if s.Enough(i+1, refs) {
			return true
		}
	}
	return false
}

// temporal is the verdict over references where no comparison is given.
func (s *Spec) temporal(refs uint64, n float64) bool {
	switch {
	case s.Expr != nil:
		return s.Expr(refs)
	case len(s.Conds) > 0:
		return true // the comparisons follow
	}
	return n >= float64(s.Refs)
}
