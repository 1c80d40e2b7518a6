package detect

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// told gives each firing as "title key@seconds [ids]", in the order in which they came.
func told(t testing.TB, rs *Ruleset, recs []rec) []string {
	t.Helper()
	var out []string
	l := NewEngine(rs).NewLive(LiveOptions{Lateness: 100 * time.Hour, Fired: func(f Finding) {
		var group []string
		for k, v := range f.Group {
			group = append(group, k+"="+v)
		}
		slices.Sort(group)
		ids := strings.Join(f.EventIDs, " ")
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s..%s [%s]", f.Rule.Title, strings.Join(group, ","), f.First.Sub(start), f.Last.Sub(start), ids)))
	}})
	w := l.Worker()
	for i, r := range recs {
		if r.id == "" {
			r.id = fmt.Sprint(i)
		}
		if err := w.Event(r.event(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	return out
}

func correlationDoc(title, kind, rules, rest string) string {
	return fmt.Sprintf("title: %s\nlevel: high\ncorrelation:\n  type: %s\n  rules: [%s]\n  timespan: 1m\n%s---\n", title, kind, rules, rest)
}

func TestCorrelations(t *testing.T) {
	t.Parallel()
	base := rule("A", "A") + rule("B", "B") + rule("C", "C")
	sec := time.Second
	byUser := "  group-by: userIdentity.userName\n"
	for _, c := range []struct {
		name string
		docs string
		recs []rec
		want []string
	}{
		{"event_count in the window", correlationDoc("X", "event_count", "A", byUser+"  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: 59 * sec, name: "A"}}, []string{"X userIdentity.userName=ana 0s..59s [0 1]"}},
		{"event_count: the boundary is out", correlationDoc("X", "event_count", "A", byUser+"  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: 60 * sec, name: "A"}}, nil},
		{"event_count: another group", correlationDoc("X", "event_count", "A", byUser+"  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A", user: "bob"}}, nil},
		{"event_count over several rules, an event of two rules counts once", rule("A2", "A") + correlationDoc("X", "event_count", "A, A2, B", byUser+"  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "B"}}, []string{"X userIdentity.userName=ana 0s..1s [0 1]"}},
		{"no group-by: one group per account", correlationDoc("X", "event_count", "A", "  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A", user: "bob", account: "444455556666"}, {at: 2 * sec, name: "A", user: "eve"}}, []string{"X  0s..2s [0 2]"}},
		{"missing group field: left out", correlationDoc("X", "event_count", "A", "  group-by: [requestParameters.g]\n  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}, {at: sec, name: "A", params: `{"g":null}`}}, nil},
		{"missing group field: a group of its own", correlationDoc("X", "event_count", "A", "  group-by: [requestParameters.g]\n  correlate_missing: true\n  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}}, []string{"X requestParameters.g= 0s..1s [0 1]"}},
		{"several group values", correlationDoc("X", "event_count", "A", "  group-by: [requestParameters.g]\n  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A", params: `{"g":["x","y"]}`}, {at: sec, name: "A", params: `{"g":["y","y"]}`}}, []string{"X requestParameters.g=y 0s..1s [0 1]"}},
		{"two group fields are told apart", correlationDoc("X", "event_count", "A", "  group-by: [requestParameters.g, requestParameters.h]\n  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A", params: `{"g":"ab","h":"c"}`}, {at: sec, name: "A", params: `{"g":"a","h":"bc"}`}}, nil},
		{"group values are compared exactly", correlationDoc("X", "event_count", "A", "  group-by: [requestParameters.g]\n  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A", params: `{"g":"x"}`}, {at: sec, name: "A", params: `{"g":"X"}`}}, nil},
		{"aliases", correlationDoc("X", "temporal", "A, B", "  aliases: {who: {A: userIdentity.userName, B: requestParameters.u}}\n  group-by: [who]\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "B", user: "bob", params: `{"u":"ana"}`}}, []string{"X who=ana 0s..1s [0 1]"}},
		{"fires again after one timespan", correlationDoc("X", "event_count", "A", byUser+"  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}, {at: 30 * sec, name: "A"}, {at: 60 * sec, name: "A"}, {at: 61 * sec, name: "A"}},
			[]string{"X userIdentity.userName=ana 0s..1s [0 1]", "X userIdentity.userName=ana 30s..1m1s [2 3 4]"}},
		{"range", correlationDoc("X", "event_count", "A", byUser+"  condition: {gte: 2, lt: 3}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}, {at: 2 * sec, name: "A"}, {at: 100 * sec, name: "A"}, {at: 101 * sec, name: "A"}},
			[]string{"X userIdentity.userName=ana 1m40s..1m41s [3 4]"}},
		{"lt is judged when the window ends", correlationDoc("X", "event_count", "A", byUser+"  condition: {lt: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}, {at: 60 * sec, name: "A"}}, []string{"X userIdentity.userName=ana 1m0s..1m0s [2]"}},
		{"value_count", correlationDoc("X", "value_count", "A", "  group-by: [sourceIPAddress]\n  condition: {field: userIdentity.userName, gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}, {at: 2 * sec, name: "A", user: "bob"}}, []string{"X sourceIPAddress=203.0.113.10 0s..2s [0 1 2]"}},
		{"value_count over tuples", correlationDoc("X", "value_count", "A", "  condition: {field: [userIdentity.userName, requestParameters.g], gte: 3}\n"),
			[]rec{{at: 0, name: "A", params: `{"g":"x"}`}, {at: sec, name: "A", params: `{"g":"y"}`}, {at: sec, name: "A", params: `{"g":"y"}`}, {at: 2 * sec, name: "A", user: "bob", params: `{"g":"y"}`}},
			[]string{"X  0s..2s [0 1 2 3]"}},
		{"value_sum of numbers and texts", correlationDoc("X", "value_sum", "A", byUser+"  condition: {field: requestParameters.n, gt: 10}\n"),
			[]rec{{at: 0, name: "A", params: `{"n":5}`}, {at: sec, name: "A", params: `{"n":"5"}`}, {at: 2 * sec, name: "A", params: `{"n":"many"}`}, {at: 3 * sec, name: "A", params: `{"n":1}`}},
			[]string{"X userIdentity.userName=ana 0s..3s [0 1 2 3]"}},
		{"value_avg", correlationDoc("X", "value_avg", "A", byUser+"  condition: {field: requestParameters.n, gte: 5}\n"),
			[]rec{{at: 0, name: "A", params: `{"n":1}`}, {at: sec, name: "A", params: `{"n":9}`}}, []string{"X userIdentity.userName=ana 0s..1s [0 1]"}},
		{"value_percentile", correlationDoc("X", "value_percentile", "A", byUser+"  condition: {field: requestParameters.n, percentile: 90, gte: 9}\n"),
			[]rec{{at: 0, name: "A", params: `{"n":0}`}, {at: sec, name: "A", params: `{"n":10}`}, {at: 2 * sec, name: "A", params: `{"n":10}`}}, []string{"X userIdentity.userName=ana 0s..1s [0 1]"}},
		{"value_median", correlationDoc("X", "value_median", "A", byUser+"  condition: {field: requestParameters.n, gte: 5}\n"),
			[]rec{{at: 0, name: "A", params: `{"n":1}`}, {at: sec, name: "A", params: `{"n":5}`}, {at: 2 * sec, name: "A", params: `{"n":7}`}}, []string{"X userIdentity.userName=ana 0s..2s [0 1 2]"}},
		{"temporal in any order", correlationDoc("X", "temporal", "A, B", byUser), []rec{{at: 0, name: "B"}, {at: sec, name: "A"}}, []string{"X userIdentity.userName=ana 0s..1s [0 1]"}},
		{"temporal with a number", correlationDoc("X", "temporal", "A, B, C", byUser+"  condition: {gte: 2}\n"), []rec{{at: 0, name: "C"}, {at: sec, name: "A"}}, []string{"X userIdentity.userName=ana 0s..1s [0 1]"}},
		{"temporal with words", correlationDoc("X", "temporal", "A, B, C", byUser+"  condition: A and (B or C)\n"), []rec{{at: 0, name: "C"}, {at: sec, name: "A"}}, []string{"X userIdentity.userName=ana 0s..1s [0 1]"}},
		{"temporal with not: held", correlationDoc("X", "temporal", "A, B", byUser+"  condition: A and not B\n"), []rec{{at: 0, name: "A"}, {at: 60 * sec, name: "B"}}, []string{"X userIdentity.userName=ana 0s..0s [0]"}},
		{"temporal with not: the other comes", correlationDoc("X", "temporal", "A, B", byUser+"  condition: A and not B\n"), []rec{{at: 0, name: "A"}, {at: 59 * sec, name: "B"}}, nil},
		{"ordered", correlationDoc("X", "temporal_ordered", "A, B", byUser), []rec{{at: 0, name: "A"}, {at: sec, name: "B"}}, []string{"X userIdentity.userName=ana 0s..1s [0 1]"}},
		{"ordered: reversed", correlationDoc("X", "temporal_ordered", "A, B", byUser), []rec{{at: 0, name: "B"}, {at: sec, name: "A"}}, nil},
		{"ordered: one second", correlationDoc("X", "temporal_ordered", "A, B", byUser), []rec{{at: 0, name: "B", id: "1"}, {at: 0, name: "A", id: "2"}}, []string{"X userIdentity.userName=ana 0s..0s [1 2]"}},
		{"ordered: arrived in another order", correlationDoc("X", "temporal_ordered", "A, B", byUser), []rec{{at: sec, name: "B"}, {at: 0, name: "A"}}, []string{"X userIdentity.userName=ana 0s..1s [1 0]"}},
		{"the same event twice counts once", correlationDoc("X", "event_count", "A", byUser+"  condition: {gte: 2}\n"), []rec{{at: 0, name: "A", id: "e"}, {at: 0, name: "A", id: "e"}}, nil},
		{"an event without a time takes no part", correlationDoc("X", "event_count", "A", byUser+"  condition: {gte: 2}\n"), []rec{{at: -1, name: "A"}, {at: 0, name: "A"}}, nil},
		{"chain", correlationDoc("Outer", "temporal_ordered", "Inner, B", byUser) + correlationDoc("Inner", "event_count", "A", "  group-by: [userIdentity.userName, sourceIPAddress]\n  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}, {at: 30 * sec, name: "B"}}, []string{"Outer userIdentity.userName=ana 1s..30s [0 1 2]"}},
		{"chain: the inner fires too late", correlationDoc("Outer", "temporal_ordered", "Inner, B", byUser) + correlationDoc("Inner", "event_count", "A", byUser+"  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: 30 * sec, name: "B"}, {at: 40 * sec, name: "A"}}, nil},
		{"chain: the inner lacks the group field", correlationDoc("Outer", "temporal", "Inner, B", byUser) + correlationDoc("Inner", "event_count", "A", "  group-by: [sourceIPAddress]\n  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}, {at: 30 * sec, name: "B"}}, nil},
		{"chain: the inner is judged when its window ends", correlationDoc("Outer", "temporal_ordered", "Inner, B", byUser) + correlationDoc("Inner", "event_count", "A", byUser+"  condition: {lte: 1}\n"),
			[]rec{{at: 0, name: "A"}, {at: 30 * sec, name: "B"}, {at: 300 * sec, name: "C"}}, []string{"Outer userIdentity.userName=ana 0s..30s [0 1]"}},
		{"chain counting values of the inner group", correlationDoc("Outer", "value_count", "Inner", "  group-by: [sourceIPAddress]\n  condition: {field: userIdentity.userName, gte: 2}\n") +
			correlationDoc("Inner", "event_count", "A", "  group-by: [sourceIPAddress, userIdentity.userName]\n  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: 0, name: "A"}, {at: sec, name: "A", user: "bob"}, {at: 2 * sec, name: "A", user: "bob"}}, []string{"Outer sourceIPAddress=203.0.113.10 0s..2s [0 1 2 3]"}},
		{"generate of the outer lets the inner alert", correlationDoc("Outer", "temporal_ordered", "Inner, B", byUser+"  generate: true\n") + correlationDoc("Inner", "event_count", "A", byUser+"  condition: {gte: 2}\n"),
			[]rec{{at: 0, name: "A"}, {at: sec, name: "A"}, {at: 30 * sec, name: "B"}},
			[]string{"Inner userIdentity.userName=ana 0s..1s [0 1]", "Outer userIdentity.userName=ana 1s..30s [0 1 2]"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := told(t, rulesOf(t, c.docs+base), c.recs)
			if strings.Join(got, "\n") != strings.Join(c.want, "\n") {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func TestLiveLateness(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, correlationDoc("X", "event_count", "A", "  group-by: userIdentity.userName\n  condition: {gte: 3}\n")+rule("A", "A"))
	var fired []Finding
	var joined []string
	now := start.Add(time.Hour)
	l := NewEngine(rs).NewLive(LiveOptions{Lateness: 10 * time.Second, Now: func() time.Time { return now }, Fired: func(f Finding) { fired = append(fired, f) },
		Joined: func(id, eventID string, _ time.Time) { joined = append(joined, id+" "+eventID) }})
	w := l.Worker()
	give := func(n int, at time.Duration) {
		t.Helper()
		if err := w.Event(rec{at: at, name: "A"}.event(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	give(0, 0)
	give(1, 30*time.Second)
	if st := l.Stats(); st.Waiting != 1 || st.Late != 0 {
		t.Errorf("after two events: %+v", st)
	}
	give(2, 50*time.Second) // time moves on to 40 s
	give(3, 10*time.Second) // behind it: late, still within the window
	if st := l.Stats(); st.Late != 1 {
		t.Errorf("late: %+v", st)
	}
	if len(fired) != 1 || len(fired[0].EventIDs) != 3 || fired[0].EventIDs[1] != "id-000003" || len(fired[0].Events[0].Raw) == 0 {
		t.Fatalf("the late event should have completed the window: %+v", fired)
	}
	give(4, 4*time.Hour) // from the future
	if st := l.Stats(); st.Untimed != 1 || st.Waiting != 1 {
		t.Errorf("an event from the future: %+v", st)
	}
	if err := l.Tick(start.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if len(joined) != 1 || joined[0] != fired[0].ID+" id-000002" {
		t.Errorf("joined: %q", joined)
	}
}

func TestLiveBounds(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, correlationDoc("X", "event_count", "A", "  group-by: userIdentity.userName\n  condition: {gte: 1000}\n")+rule("A", "A"))
	l := NewEngine(rs).NewLive(LiveOptions{MaxHeld: 10, Memory: 300 << 10})
	w := l.Worker()
	for i := range 2000 {
		if err := w.Event(rec{at: time.Duration(i%7) * time.Second, name: "A", params: `{"pad":"` + strings.Repeat(fmt.Sprint(i), 200) + `"}`}.event(t, i)); err != nil {
			t.Fatal(err)
		}
	}
	st := l.Stats()
	if st.Waiting > 10 || st.Early == 0 || st.Late == 0 {
		t.Errorf("%+v", st)
	}
	if l.log.mem > 300<<10 && len(l.log.blocks) > 1 {
		t.Errorf("%d bytes of records are held", l.log.mem)
	}
}
