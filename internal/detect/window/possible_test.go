package window

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// What Possible rules out never happens, and what happens is mostly all that it does not rule out.
func TestPossible(t *testing.T) {
	t.Parallel()
	gte := func(n float64) []Cond { return []Cond{{GTE, n}} }
	specs := map[string]Spec{
		"count":          {Kind: Count, Conds: gte(4)},
		"count, two":     {Kind: Count, Conds: []Cond{{GT, 2}, {GTE, 5}}},
		"distinct":       {Kind: Distinct, Conds: gte(3)},
		"temporal":       {Kind: Temporal, Refs: 3},
		"temporal, two":  {Kind: Temporal, Refs: 3, Conds: gte(2)},
		"temporal, expr": {Kind: Temporal, Refs: 3, Expr: func(r uint64) bool { return r&1 != 0 && r&6 != 0 }, Asserted: 7},
		"ordered":        {Kind: Ordered, Refs: 3},
		"ordered, two":   {Kind: Ordered, Refs: 3, Conds: gte(2)},
		"ordered, expr":  {Kind: Ordered, Refs: 3, Expr: func(r uint64) bool { return r&1 != 0 && r&2 != 0 }, Asserted: 3},
	}
	const rounds = 2000
	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec.Span = 10 * time.Second
			rng := rand.New(rand.NewPCG(1, 2))
			values := []string{"", "x", "y", "z"}
			seen := make([]int32, len(values))
			fired, ruledOut := 0, 0
			for range rounds {
				marks := make([]Mark, 1+rng.IntN(12))
				for i := range marks {
					marks[i] = Mark{Time: int64(time.Duration(rng.IntN(60)) * time.Second), Refs: 1 << rng.IntN(3), Value: uint32(rng.IntN(len(values)))}
					if rng.IntN(5) == 0 {
						marks[i].Refs |= 1 << rng.IntN(3)
					}
				}
				slices.SortFunc(marks, func(a, b Mark) int { return int(a.Time - b.Time) })
				fires := false
				s := New(spec, func(*Firing) { fires = true }, nil)
				for i, m := range marks {
					e := Entry{Time: m.Time, ID: fmt.Sprint(i), Refs: m.Refs}
					if m.Value != 0 {
						e.Values = values[m.Value : m.Value+1]
					}
					s.Add("k", e)
				}
				s.Flush()
				possible := spec.Possible(marks, seen)
				var refs uint64
				for _, m := range marks {
					refs |= m.Refs
				}
				if possible && !spec.Enough(len(marks), refs) {
					t.Fatalf("too few for what is possible: %+v", marks)
				}
				switch {
				case fires && !possible:
					t.Fatalf("it fires on what is said to be impossible: %+v", marks)
				case fires:
					fired++
				case !possible:
					ruledOut++
				}
				if slices.Max(seen) != 0 || slices.Min(seen) != 0 {
					t.Fatalf("places for values are given back as %v", seen)
				}
			}
			if fired < rounds/50 || ruledOut < rounds/20 || spec.Kind < Temporal && fired+ruledOut != rounds {
				t.Errorf("of %d groups %d fired and %d were ruled out", rounds, fired, ruledOut)
			}
		})
	}
}

func TestPossibleWhereItCannotTell(t *testing.T) {
	t.Parallel()
	one := []Mark{{Time: 1, Refs: 1}}
	never := []Cond{{GTE, 1e9}}
	for name, spec := range map[string]Spec{
		"judged at the end": {Kind: Count, Conds: []Cond{{LT, 1}}},
		"negation":          {Kind: Temporal, Refs: 2, AtEnd: true, Expr: func(uint64) bool { return false }},
		"sum":               {Kind: Sum, Conds: never},
		"mean":              {Kind: Avg, Conds: never},
		"percentile":        {Kind: Percentile, Conds: never},
		"least":             {Kind: Min, Conds: never},
		"most":              {Kind: Max, Conds: never},
	} {
		spec.Span = time.Second
		if !spec.Enough(1, 1) || !spec.Possible(one, make([]int32, 1)) {
			t.Errorf("%s: ruled out", name)
		}
	}
	many := make([]Mark, bucketCap+1)
	for i := range many {
		many[i] = Mark{Time: int64(i), Value: uint32(i)}
	}
	count := Spec{Kind: Count, Span: 1, Conds: []Cond{{GTE, 2}}}
	if !count.Possible(many, make([]int32, 1)) {
		t.Error("a group whose times may be joined is ruled out")
	}
	if count.Possible(many[:bucketCap], make([]int32, 1)) {
		t.Error("a group that holds one entry at a time is not ruled out")
	}
}
