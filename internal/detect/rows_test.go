package detect

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
)

func TestTexts(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	var x texts
	for round := range 3 {
		var want []string
		var refs []textRef
		for i := range 2000 {
			n := rng.IntN(200)
			switch rng.IntN(100) {
			case 0:
				n = rng.IntN(3 * textChunk)
			case 1:
				n = textChunk - rng.IntN(8)
			}
			want = append(want, strings.Repeat(string('a'+rune(i%26)), n))
			refs = append(refs, x.add(want[i]))
		}
		for i, ref := range refs {
			if got := x.get(ref); got != want[i] {
				t.Fatalf("round %d: text %d of %d bytes came back as one of %d", round, i, len(want[i]), len(got))
			}
		}
		before := len(x.chunks)
		x.reset()
		if round > 0 && len(x.chunks) > 2*before {
			t.Errorf("%d chunks after %d: they are not used again", len(x.chunks), before)
		}
	}
}

// What a sorter takes comes back as it was, in order, from memory and from files.
func TestSorter(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 1))
	for _, limit := range []int64{1 << 30, 20 << 10, 1} {
		b := &budget{limit: limit}
		sorters := []*sorter{newSorter(b, t.TempDir()), newSorter(b, t.TempDir())}
		var want []occurrence
		for i := range 500 {
			id := fmt.Sprintf("%x id", rng.Uint32()) // its place is among the GUIDs
			if rng.IntN(3) > 0 {
				id = string(event.AppendGUID(nil, rng.Uint64(), rng.Uint64()))
			}
			o := occurrence{time: int64(rng.IntN(100)), id: id, account: fmt.Sprint(rng.IntN(3)), failed: i%3 == 0, record: makeHandle(i%2, 0, i)}
			for corr := range rng.IntN(3) + 1 {
				in := input{corr: corr, refs: 1 << rng.IntN(3), key: fmt.Sprint("key ", rng.IntN(9))}
				for range rng.IntN(4) {
					in.values = append(in.values, fmt.Sprint(rng.IntN(50)))
				}
				for range rng.IntN(6) - 3 {
					in.numbers = append(in.numbers, rng.Float64())
				}
				o.inputs = append(o.inputs, in)
			}
			want = append(want, o)
			if err := sorters[i%2].add(&o); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(want, func(a, b occurrence) int { return a.compare(&b) })
		rs := &Ruleset{}
		for range 3 { // whose rows all matter
			rs.correlations = append(rs.correlations, &correlation{refs: []reference{{corr: 0}}})
		}
		n := 0
		err := merged(rs, sorters, func(o *occurrence) error {
			if !reflect.DeepEqual(*o, want[n]) {
				return fmt.Errorf("occurrence %d is\n%+v, want\n%+v", n, *o, want[n])
			}
			n++
			o.inputs = nil
			return nil
		})
		if err != nil || n != len(want) {
			t.Errorf("limit %d: %d of %d occurrences, %v", limit, n, len(want), err)
		}
		if runs := len(sorters[0].runs); runs == 0 != (limit == 1<<30) {
			t.Errorf("limit %d: %d runs", limit, runs)
		}
		var told int64
		for _, s := range sorters {
			told += s.told
			if err := s.close(); err != nil {
				t.Fatal(err)
			}
		}
		if held := b.held.Load(); held != told || held > limit*3/2 {
			t.Errorf("limit %d: the budget says that %d bytes are held, the sorters that %d are", limit, held, told)
		}
	}
}

// Rows of groups in which nothing can happen go no further; events without a time are counted all the same.
func TestIdleGroups(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("A", "A")+correlationDoc("X", "event_count", "A", "  group-by: userIdentity.userName\n  condition: {gte: 3}\n"))
	var recs []rec
	for i := range 20 {
		recs = append(recs, rec{name: "A", user: fmt.Sprint("u", i%7), at: time.Duration(i) * time.Second}) // none of the users 6
	}
	recs = append(recs, rec{name: "A", user: "untimed", at: -1})
	b := NewEngine(rs).NewBatch(BatchOptions{TempDir: t.TempDir()})
	for range 2 {
		if _, err := b.Shard(); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range events(t, recs) {
		if err := b.shards[i%2].Event(e); err != nil {
			t.Fatal(err)
		}
	}
	var users []string
	m := []stream{}
	sorters := []*sorter{b.shards[0].sorter, b.shards[1].sorter}
	for i, keep := range idle(rs, sorters) {
		sorters[i].sort(keep)
		m = append(m, &memoryStream{s: sorters[i]})
	}
	for _, st := range m {
		var o occurrence
		for {
			err := st.next(&o)
			if errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if user := splitKey(o.inputs[0].key)[0]; !slices.Contains(users, user) {
				users = append(users, user)
			}
		}
	}
	slices.Sort(users)
	if want := []string{"u0", "u1", "u2", "u3", "u4", "u5", "untimed"}; !slices.Equal(users, want) {
		t.Errorf("rows of %q are kept, want %q", users, want)
	}
	res, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Findings) != 6 || !slices.Contains(res.Notes, "1 events without a readable eventTime took no part in correlations") {
		t.Errorf("%d findings, notes %q", len(res.Findings), res.Notes)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

// A group is judged by all that is known of it, whichever shard knows it.
func TestGroupsOverShards(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("A", "A")+rule("B", "B")+
		correlationDoc("values", "value_count", "A", "  group-by: userIdentity.userName\n  condition: {field: requestParameters.id, gte: 3}\n")+
		correlationDoc("both", "temporal", "A, B", "  group-by: userIdentity.userName\n"))
	for _, c := range []struct {
		name string
		recs []rec // dealt in turn
		want []string
	}{
		{"one value each", []rec{{name: "A", params: `{"id":1}`}, {name: "A", params: `{"id":2}`}, {name: "A", params: `{"id":3}`}}, []string{"values"}},
		{"the same value", []rec{{name: "A", params: `{"id":1}`}, {name: "A", params: `{"id":1}`}, {name: "A", params: `{"id":2}`}}, nil},
		{"two values of one", []rec{{name: "A", params: `{"id":[1,2]}`}, {name: "A", params: `{"id":3}`}}, []string{"values"}},
		{"two values of another", []rec{{name: "A", params: `{"id":3}`}, {name: "A", params: `{"id":[1,2]}`}}, []string{"values"}},
		{"another rule", []rec{{name: "A", params: `{"id":1}`}, {name: "B"}, {name: "A"}}, []string{"both"}},
		{"another rule first", []rec{{name: "B"}, {name: "A"}}, []string{"both"}},
		{"another user", []rec{{name: "A"}, {name: "B", user: "bea"}}, nil},
	} {
		for shards := range 4 {
			res := batchOf(t, rs, BatchOptions{}, shards+1, events(t, c.recs))
			var got []string
			for _, f := range res.Findings {
				got = append(got, f.Rule.Title)
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%s, %d shards: %q, want %q", c.name, shards+1, got, c.want)
			}
		}
	}
	res, err := NewEngine(rs).NewBatch(BatchOptions{}).Finish(t.Context())
	if err != nil || len(res.Findings) > 0 {
		t.Errorf("without a shard: %+v, %v", res, err)
	}
}
