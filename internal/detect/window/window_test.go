package window

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// step is one line of a test: an entry "t ref,ref key=value number", or a command.
type fired struct {
	key   string
	at    int64
	value float64
	ids   []string
}

func (f fired) String() string {
	return fmt.Sprintf("%s@%d=%g[%s]", f.key, f.at/int64(time.Second), f.value, strings.Join(f.ids, ","))
}

// run feeds entries given as "seconds[:id] refs [values…]" with refs as letters, "/" for the key, such as "10 a k=x v=1".
func run(t *testing.T, spec Spec, script string) []string {
	t.Helper()
	var out []string
	s := New(spec, func(f *Firing) {
		r := fired{key: f.Key, at: f.Time, value: f.Value}
		for _, e := range f.Entries {
			r.ids = append(r.ids, e.ID)
		}
		out = append(out, r.String())
	}, func(key string, e *Entry) { out = append(out, key+"+"+e.ID) })
	for n, word := range strings.Fields(script) {
		if word == "flush" {
			s.Flush()
			continue
		}
		if at, ok := strings.CutPrefix(word, "advance:"); ok {
			var sec int64
			if _, err := fmt.Sscan(at, &sec); err != nil {
				t.Fatal(err)
			}
			s.Advance(sec * int64(time.Second))
			continue
		}
		parts := strings.Split(word, ":")
		var sec float64
		if _, err := fmt.Sscan(parts[0], &sec); err != nil {
			t.Fatalf("%s: %v", word, err)
		}
		e := Entry{Time: int64(sec * float64(time.Second)), ID: fmt.Sprint(n)}
		key := "k"
		for _, c := range parts[1] {
			e.Refs |= 1 << (c - 'a')
		}
		for _, p := range parts[2:] {
			name, val, _ := strings.Cut(p, "=")
			switch name {
			case "k":
				key = val
			case "v":
				e.Values = append(e.Values, val)
			case "n":
				var f float64
				if _, err := fmt.Sscan(val, &f); err != nil {
					t.Fatal(err)
				}
				e.Numbers = append(e.Numbers, f)
			}
		}
		s.Add(key, e)
	}
	return out
}

func TestWindows(t *testing.T) {
	t.Parallel()
	const span = 10 * time.Second
	gte := func(v float64) []Cond { return []Cond{{GTE, v}} }
	count3 := Spec{Kind: Count, Span: span, Refs: 1, Conds: gte(3)}
	ordered3 := Spec{Kind: Ordered, Span: span, Refs: 3}
	temporal3 := Spec{Kind: Temporal, Span: span, Refs: 3}
	notC := Spec{Kind: Temporal, Span: span, Refs: 3, AtEnd: true, Expr: func(r uint64) bool { return r == 0b011 }, Asserted: 0b011}
	for _, c := range []struct {
		name   string
		spec   Spec
		script string
		want   string
	}{
		{"count reached", count3, "0:a 5:a 9:a", "k@9=3[0,1,2]"},
		{"count: an event one span old is out", count3, "0:a 5:a 10:a", ""},
		{"count: just inside", count3, "0.001:a 5:a 10:a", "k@10=3[0,1,2]"},
		{"count: ties", count3, "4:a 4:a 4:a", "k@4=3[0,1,2]"},
		{"count: other group", count3, "0:a 1:a:k=x 2:a 3:a:k=x 4:a", "k@4=3[0,2,4]"},
		{"count: later entries join, then it fires again", count3, "0:a 1:a 2:a 3:a 11:a 11.9:a 12:a", "k@2=3[0,1,2] k+3 k+4 k+5 k@12=4[3,4,5,6]"},
		{"count: gt", Spec{Kind: Count, Span: span, Refs: 1, Conds: []Cond{{GT, 2}}}, "0:a 1:a 2:a", "k@2=3[0,1,2]"},
		{"count: late entry completes", count3, "5:a 9:a 2:a", "k@9=3[2,0,1]"},
		{"count: too late", count3, "15:a 16:a 5:a 6:a", ""},
		{"count below, judged at the end", Spec{Kind: Count, Span: span, Refs: 1, Conds: []Cond{{LT, 3}}}, "0:a 1:a 2:a 20:a 29:a 30:a", "k@29=2[3,4]"},
		{"count below, the boundary opens the next window", Spec{Kind: Count, Span: span, Refs: 1, Conds: []Cond{{LTE, 1}}}, "0:a 10:a flush", "k@0=1[0] k@10=1[1]"},
		{"range fires inside only", Spec{Kind: Count, Span: span, Refs: 1, Conds: []Cond{{GTE, 2}, {LTE, 3}}}, "0:a 1:a 100:a 101:a 102:a 103:a 200:a flush", "k@1=2[0,1]"},
		{"eq", Spec{Kind: Count, Span: span, Refs: 1, Conds: []Cond{{EQ, 2}}}, "0:a 1:a advance:9 advance:10 50:a 51:a 52:a flush", "k@1=2[0,1]"},
		{"neq", Spec{Kind: Count, Span: span, Refs: 1, Conds: []Cond{{NEQ, 2}}}, "0:a 1:a 50:a flush", "k@50=1[2]"},
		{"windows end in order of their end", Spec{Kind: Count, Span: span, Refs: 1, Conds: []Cond{{EQ, 1}}}, "3:a:k=b 2:a:k=z 2:a:k=a flush", "a@2=1[2] z@2=1[1] b@3=1[0]"},
		{"distinct", Spec{Kind: Distinct, Span: span, Refs: 1, Conds: gte(3)}, "0:a:v=x 1:a:v=x 2:a:v=y 3:a:v=y 4:a:v=z", "k@4=3[0,1,2,3,4]"},
		{"distinct: value expires unless seen again", Spec{Kind: Distinct, Span: span, Refs: 1, Conds: gte(3)}, "0:a:v=x 1:a:v=y 9:a:v=x 12:a:v=z 13:a:v=y", "k@13=3[2,3,4]"},
		{"distinct: missing values are not counted", Spec{Kind: Distinct, Span: span, Refs: 1, Conds: gte(2)}, "0:a:v=x 1:a 2:a", ""},
		{"temporal, any order", temporal3, "0:c 1:a 9:b", "k@9=3[0,1,2]"},
		{"temporal, one left the window", temporal3, "0:c 1:a 10:b", ""},
		{"temporal, one event for two references", temporal3, "0:c 1:ab", "k@1=3[0,1]"},
		{"temporal with a number", Spec{Kind: Temporal, Span: span, Refs: 3, Conds: gte(2)}, "0:c 1:c 2:a", "k@2=2[0,1,2]"},
		{"ordered", ordered3, "0:a 1:b 2:c", "k@2=3[0,1,2]"},
		{"ordered: reversed", ordered3, "0:c 1:b 2:a", ""},
		{"ordered: ties count whatever their order", ordered3, "0:c 0:a 0:b", "k@0=3[0,1,2]"},
		{"ordered: tie at the end, reversed", ordered3, "0:a 5:c 5:b", "k@5=3[0,1,2]"},
		{"ordered: first step too old, a newer one serves", ordered3, "0:a 1:b 5:a 6:b 12:c", "k@12=3[2,3,4]"},
		{"ordered: second step only before the newer first", ordered3, "0:a 1:b 5:a 12:c", ""},
		{"ordered: late middle", ordered3, "0:a 5:c 3:b", "k@5=3[0,2,1]"},
		{"ordered: the same reference twice", Spec{Kind: Ordered, Span: span, Refs: 3}, "0:ac 1:b", ""},
		{"ordered: the same reference twice, complete", Spec{Kind: Ordered, Span: span, Refs: 3}, "0:ac 1:b 2:ac", "k@2=3[0,1,2]"},
		{"negation is judged at the end", notC, "0:a 1:b flush", "k@1=2[0,1]"},
		{"negation: c comes", notC, "0:a 1:b 9:c flush", ""},
		{"negation: c comes after the end", notC, "0:a 1:b 10:c flush", "k@1=2[0,1]"},
		{"sum", Spec{Kind: Sum, Span: span, Refs: 1, Conds: []Cond{{GT, 10}}}, "0:a:n=5 1:a:n=5 2:a:n=0.5", "k@2=10.5[0,1,2]"},
		{"sum slides", Spec{Kind: Sum, Span: span, Refs: 1, Conds: []Cond{{GT, 10}}}, "0:a:n=5 1:a:n=5 10:a:n=5", ""},
		{"sum of no numbers is no sum", Spec{Kind: Sum, Span: span, Refs: 1, Conds: []Cond{{GTE, 0}}}, "0:a", ""},
		{"avg", Spec{Kind: Avg, Span: span, Refs: 1, Conds: []Cond{{GT, 4}}}, "0:a:n=1 1:a:n=8", "k@1=4.5[0,1]"},
		{"avg skips non-numbers", Spec{Kind: Avg, Span: span, Refs: 1, Conds: []Cond{{GT, 4}}}, "0:a:n=4 1:a 2:a:n=5", "k@2=4.5[0,1,2]"},
		{"median", Spec{Kind: Percentile, Percent: 50, Span: span, Refs: 1, Conds: gte(5)}, "0:a:n=1 1:a:n=4 2:a:n=5 3:a:n=6 4:a:n=100", "k@4=5[0,1,2,3,4]"},
		{"percentile is linear between ranks", Spec{Kind: Percentile, Percent: 75, Span: span, Refs: 1, Conds: []Cond{{GTE, 3.25}}}, "0:a:n=1 1:a:n=2 2:a:n=3 3:a:n=4", "k@3=3.25[0,1,2,3]"},
		{"percentile below, at the end", Spec{Kind: Percentile, Percent: 50, Span: span, Refs: 1, Conds: []Cond{{LTE, 2}}}, "0:a:n=1 1:a:n=3 flush", "k@1=2[0,1]"},
		{"max", Spec{Kind: Max, Span: span, Refs: 1, Conds: []Cond{{GT, 4}}}, "0:a:n=1 1:a:n=5", "k@1=5[0,1]"},
		{"min slides", Spec{Kind: Min, Span: span, Refs: 1, Conds: []Cond{{GTE, 4}}}, "0:a:n=1 1:a:n=5 10:a:n=6", "k@10=5[1,2]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(run(t, c.spec, c.script), " "); got != c.want {
				t.Errorf("%s\ngot  %s\nwant %s", c.script, got, c.want)
			}
		})
	}
}

func TestOrderedExpression(t *testing.T) {
	t.Parallel()
	spec := Spec{Kind: Ordered, Span: time.Minute, Refs: 3, Expr: func(r uint64) bool { return r&1 != 0 && r&0b110 != 0 }, Asserted: 0b111}
	for script, want := range map[string]string{"0:a 1:b": "k@1=2[0,1]", "0:b 1:a": "", "0:a 1:c": "k@1=1[0,1]", "0:a 0:b": "k@0=2[0,1]"} {
		if got := strings.Join(run(t, spec, script), " "); got != want {
			t.Errorf("%s: got %s, want %s", script, got, want)
		}
	}
}

func TestBounds(t *testing.T) {
	t.Parallel()
	s := New(Spec{Kind: Count, Span: time.Hour, Refs: 1, Conds: []Cond{{GTE, 2}}, MaxGroups: 2}, func(f *Firing) {
		if f.Key != "b" {
			t.Errorf("fired for %s", f.Key)
		}
	}, nil)
	for i, key := range []string{"a", "b", "c", "a", "b"} { // a goes for c, b for the second a, c for the second b
		s.Add(key, Entry{Time: int64(i), ID: fmt.Sprint(i)})
	}
	if st := s.Stats(); st.Evicted != 3 || s.Groups() != 2 {
		t.Errorf("evicted %d, groups %d", st.Evicted, s.Groups())
	}
	s.Add("b", Entry{Time: 9})
	s.Advance(int64(2 * time.Hour))
	if s.Groups() != 0 || s.held != 0 {
		t.Errorf("%d groups, %d entries left after their time", s.Groups(), s.held)
	}

	many := New(Spec{Kind: Count, Span: time.Hour, Refs: 1, Conds: []Cond{{GTE, 1 << 40}}, MaxEntries: 500}, func(*Firing) {}, nil)
	for i := range 1000 {
		many.Add(fmt.Sprint(i%100), Entry{Time: int64(i)})
	}
	if many.held > 500 || many.Stats().Evicted == 0 {
		t.Errorf("held %d entries, evicted %d", many.held, many.Stats().Evicted)
	}
}

func TestSharedBudget(t *testing.T) {
	t.Parallel()
	budget := &Budget{Max: 1000, Sets: 2}
	spec := Spec{Kind: Count, Span: time.Hour, Refs: 1, Conds: []Cond{{GTE, 1 << 40}}, Shared: budget}
	small, large := New(spec, func(*Firing) {}, nil), New(spec, func(*Firing) {}, nil)
	for i := range 100 {
		small.Add(fmt.Sprint(i), Entry{Time: int64(i)})
	}
	for i := range 5000 {
		large.Add(fmt.Sprint(i), Entry{Time: int64(i)})
	}
	if small.Stats().Evicted != 0 || small.Groups() != 100 || large.Groups() != 233 || budget.held > 1000 || budget.held < 990 {
		t.Errorf("%d and %d groups, %d held", small.Groups(), large.Groups(), budget.held)
	}
	small.Flush()
	large.Advance(int64(3 * time.Hour))
	if budget.held != 0 {
		t.Errorf("%d held of nothing", budget.held)
	}
}

// A count holds what its condition counts.
func TestEntryCap(t *testing.T) {
	t.Parallel()
	for want, value := range map[int]float64{fewEntries: 10, 601: 600, EntryCap: 5000} {
		if got := (&Spec{Kind: Count, Conds: []Cond{{GTE, value}}}).entryCap(); got != want {
			t.Errorf("%g: %d, want %d", value, got, want)
		}
	}
}

// A flood keeps the count exact and holds the first entries, the last one, and the one of another kind.
func TestFlood(t *testing.T) {
	t.Parallel()
	var got Firing
	s := New(Spec{Kind: Ordered, Span: time.Hour, Refs: 2}, func(f *Firing) { got = *f; got.Entries = slices.Clone(f.Entries) }, nil)
	const n = 50_000
	for i := range n {
		s.Add("k", Entry{Time: int64(i) * int64(time.Millisecond), ID: fmt.Sprint(i), Refs: 1})
	}
	s.Add("k", Entry{Time: int64(time.Minute), ID: "end", Refs: 2})
	if got.Count != n+1 || len(got.Entries) != fewEntries || got.Entries[0].ID != "0" || got.Entries[fewEntries-1].ID != "end" || got.Entries[10].ID != "10" {
		t.Errorf("count %d, %d entries", got.Count, len(got.Entries))
	}
}

func TestDistinctEstimate(t *testing.T) {
	t.Parallel()
	d := newDistinct()
	for i := range DistinctCap {
		d.add(fmt.Sprint(i), int64(i))
	}
	if n, approx := d.count(); n != DistinctCap || approx {
		t.Fatalf("%g, approximate %v: want exactly %d", n, approx, DistinctCap)
	}
	const n = 300_000
	for i := range n {
		d.add(fmt.Sprint(i), int64(i))
	}
	if got, approx := d.count(); !approx || got < n*0.95 || got > n*1.05 || len(d.at) > DistinctCap {
		t.Errorf("estimated %g of %d from %d values", got, n, len(d.at))
	}
	d.expire(n)
	if got, approx := d.count(); got != 0 || approx || len(d.at) != 0 || d.tail != nil {
		t.Errorf("%g left after all expired", got)
	}
}

func BenchmarkCount(b *testing.B) {
	s := New(Spec{Kind: Count, Span: 10 * time.Minute, Refs: 1, Conds: []Cond{{GTE, 50}}}, func(*Firing) {}, nil)
	keys := make([]string, 1000)
	for i := range keys {
		keys[i] = fmt.Sprint("key", i)
	}
	b.ReportAllocs()
	for i := range b.N {
		s.Add(keys[i%len(keys)], Entry{Time: int64(i) * int64(10*time.Millisecond), ID: "0", Refs: 1})
	}
}
