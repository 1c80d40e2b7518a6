package detect

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"spoor/internal/detect/window"
	"spoor/internal/event"
)

// everyType holds a correlation of every type over three rules, chains included.
func everyType() string {
	g := "  group-by: userIdentity.userName\n"
	return rule("A", "A", "spoor: {attempts: lower}") + rule("B", "B") + rule("C", "C", "spoor: {attempts: ignore}") + rule("Everything", "'*'") +
		correlationDoc("count", "event_count", "A, B", g+"  condition: {gte: 3}\n  generate: true\n") +
		correlationDoc("few", "event_count", "A", g+"  condition: {lte: 2}\n") +
		correlationDoc("range", "event_count", "B", "  condition: {gt: 2, lt: 16}\n") +
		correlationDoc("values", "value_count", "A, C", "  group-by: [sourceIPAddress]\n  condition: {field: userIdentity.userName, gte: 3}\n") +
		correlationDoc("sum", "value_sum", "C", g+"  condition: {field: requestParameters.n, gt: 12}\n") +
		correlationDoc("avg", "value_avg", "C", g+"  condition: {field: requestParameters.n, gt: 7}\n") +
		correlationDoc("median", "value_percentile", "B", g+"  condition: {field: requestParameters.n, lt: 3}\n") +
		correlationDoc("all", "temporal", "A, B, C", g) +
		correlationDoc("not", "temporal", "A, B", g+"  condition: A and not B\n") +
		correlationDoc("then", "temporal_ordered", "A, B, C", g) +
		correlationDoc("chain", "temporal_ordered", "count, few, C", g+"  generate: true\n") +
		correlationDoc("chain of chains", "event_count", "chain, all", g+"  condition: {gte: 2}\n  generate: true\n")
}

func randomRecs(rng *rand.Rand, n int) []rec {
	out := make([]rec, n)
	for i := range out {
		out[i] = rec{at: time.Duration(rng.IntN(n)) * time.Second, id: fmt.Sprintf("%08x-%d", rng.Uint32(), i), name: string('A' + rune(rng.IntN(4))), user: fmt.Sprint("u", rng.IntN(5)),
			ip: fmt.Sprint("198.51.100.", rng.IntN(3)), failed: rng.IntN(4) == 0, params: fmt.Sprintf(`{"n":%d}`, rng.IntN(10)), session: []string{"", "s1", "s2"}[rng.IntN(3)]}
		if rng.IntN(3) > 0 { // the user names above are those of IAM users
			out[i].session = ""
		}
	}
	return out
}

// firingsOf gives the firings of a batch's correlations in words.
func firingsOf(t *testing.T, rs *Ruleset, b *Batch) []string {
	t.Helper()
	var out []string
	k := newCorrelator(rs, func(c *correlation, f *window.Firing) { out = append(out, sayFiring(c, f)) },
		func(c *correlation, key string, e *window.Entry) {
			out = append(out, fmt.Sprintf("%s %q + %s", c.info.Title, key, e.ID))
		})
	var sorters []*sorter
	for _, s := range b.shards {
		sorters = append(sorters, s.sorter)
	}
	if err := merged(rs, sorters, func(o *occurrence) error { k.take(o); return nil }); err != nil {
		t.Fatal(err)
	}
	k.flush()
	return out
}

func sayFiring(c *correlation, f *window.Firing) string {
	var ids []string
	for i := range f.Entries {
		ids = append(ids, f.Entries[i].ID)
	}
	return fmt.Sprintf("%s %q at %d: %d events, %g, refs %b: %s", c.info.Title, f.Key, f.Time, f.Count, f.Value, f.Refs, strings.Join(ids, " "))
}

// The answer depends on the events alone: not on their order, nor on how they are dealt over shards, nor on memory; and it
// is the same live.
func TestSameAnswer(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, everyType())
	for seed := range uint64(4) {
		rng := rand.New(rand.NewPCG(seed, 1))
		recs := randomRecs(rng, 1500)
		evs := events(t, recs)
		inOrder := slices.Clone(evs)
		slices.SortFunc(inOrder, func(a, b *event.Event) int {
			return (&occurrence{time: a.Time, id: a.ID()}).compare(&occurrence{time: b.Time, id: b.ID()})
		})

		wantResult := batchOf(t, rs, BatchOptions{}, 1, inOrder)
		wantFirings := liveFirings(t, rs, inOrder, LiveOptions{NoLateness: true})
		fired := map[string]bool{}
		for _, f := range wantFirings {
			title, _, _ := strings.Cut(f, ` "`)
			fired[title] = true
		}
		for _, c := range rs.correlations {
			if !fired[c.info.Title] {
				t.Errorf("seed %d: %s never fired, so that nothing is tested of it", seed, c.info.Title)
			}
		}
		for round := range 3 {
			shuffled := slices.Clone(evs)
			rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
			shards := 1 + rng.IntN(5)
			opt := BatchOptions{}
			if round == 1 {
				opt.Memory = 40 << 10 // spills
			}
			got := batchOf(t, rs, opt, shards, shuffled)
			sameResults(t, fmt.Sprintf("seed %d round %d, %d shards", seed, round, shards), wantResult, got)

			opt.Shards, opt.TempDir = shards, t.TempDir()
			b := NewEngine(rs).NewBatch(opt)
			for i, e := range shuffled {
				if i < shards {
					if _, err := b.Shard(); err != nil {
						t.Fatal(err)
					}
				}
				if err := b.shards[i%shards].Event(e); err != nil {
					t.Fatal(err)
				}
			}
			runs := 0
			for _, s := range b.shards {
				runs += len(s.sorter.runs)
			}
			if round == 1 && runs < 10 {
				t.Errorf("only %d runs were spilled", runs)
			}
			sameLines(t, "batch firings", wantFirings, firingsOf(t, rs, b))
			if err := b.Close(); err != nil {
				t.Fatal(err)
			}

			live := liveFirings(t, rs, shuffled, LiveOptions{Lateness: 1500 * time.Second})
			sameLines(t, "live firings, shuffled", wantFirings, live)
		}
	}
}

func liveFirings(t *testing.T, rs *Ruleset, evs []*event.Event, opt LiveOptions) []string {
	t.Helper()
	var out []string
	l := NewEngine(rs).NewLive(opt)
	l.k.fired = func(c *correlation, f *window.Firing) { out = append(out, sayFiring(c, f)) }
	l.k.joined = func(c *correlation, key string, e *window.Entry) {
		out = append(out, fmt.Sprintf("%s %q + %s", c.info.Title, key, e.ID))
	}
	w := l.Worker()
	for _, e := range evs {
		if err := w.Event(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Flush(); err != nil {
		t.Fatal(err)
	}
	if st := l.Stats(); st.Late != 0 || st.Early != 0 {
		t.Errorf("events were late or early: %+v", st)
	}
	return out
}

// sameLines compares what each correlation told, in order; how the correlations interleave is not promised.
func sameLines(t *testing.T, what string, want, got []string) {
	t.Helper()
	byTitle := func(lines []string) []string {
		lines = slices.Clone(lines)
		title := func(s string) string { out, _, _ := strings.Cut(s, ` "`); return out }
		slices.SortStableFunc(lines, func(a, b string) int { return strings.Compare(title(a), title(b)) })
		return lines
	}
	want, got = byTitle(want), byTitle(got)
	for i := range max(len(want), len(got)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a != b {
			t.Fatalf("%s: line %d of %d and %d\nwant %s\ngot  %s", what, i, len(want), len(got), a, b)
		}
	}
}

func sameResults(t *testing.T, what string, want, got *Result) {
	t.Helper()
	if len(want.Findings) != len(got.Findings) {
		t.Fatalf("%s: %d findings, want %d", what, len(got.Findings), len(want.Findings))
	}
	for i := range want.Findings {
		if !reflect.DeepEqual(want.Findings[i], got.Findings[i]) {
			a, _ := json.MarshalIndent(want.Findings[i], "", " ")
			b, _ := json.MarshalIndent(got.Findings[i], "", " ")
			t.Fatalf("%s: finding %d\nwant %s\ngot %s", what, i, a, b)
		}
	}
	if !reflect.DeepEqual(want.Rules, got.Rules) || !reflect.DeepEqual(want.Notes, got.Notes) {
		t.Fatalf("%s: rules or notes differ: %v %v", what, want.Notes, got.Notes)
	}
}

func TestFinding(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("A", "A", "id: 11111111-1111-4111-8111-111111111111\nspoor: {attempts: lower}\ntags: [attack.persistence, attack.t1136.003]")+rule("B", "B", "spoor: {attempts: ignore}"))
	var recs []rec
	for i := range 12 {
		recs = append(recs, rec{at: time.Duration(12-i) * time.Minute, name: "A", failed: i < 3, user: "Deploy", session: fmt.Sprint("s", i%2), ip: fmt.Sprint("198.51.100.", i%3), params: `{"userName":"eve","x":1}`})
	}
	recs = append(recs, rec{at: 0, name: "A", user: "bob", failed: true}, rec{at: 0, name: "B", failed: true}, rec{at: time.Minute, name: "B"})
	res := batchOf(t, rs, BatchOptions{}, 2, events(t, recs))
	if len(res.Findings) != 3 || len(res.Notes) != 0 || res.Fired() != 2 {
		t.Fatalf("%d findings, notes %q", len(res.Findings), res.Notes)
	}
	f := res.Findings[0]
	if f.Count != 12 || f.Denied != 3 || f.Level != Medium || !f.First.Equal(start.Add(time.Minute)) || !f.Last.Equal(start.Add(12*time.Minute)) || f.Account != "111122223333" {
		t.Errorf("%+v", f)
	}
	if f.Actor.ID != "arn:aws:iam::111122223333:role/Deploy" || f.Actor.Session != "" {
		t.Errorf("actor %+v", f.Actor)
	}
	if want := []Tally{{"198.51.100.0", 4}, {"198.51.100.1", 4}, {"198.51.100.2", 4}}; !reflect.DeepEqual(f.Addresses, want) {
		t.Errorf("addresses %v", f.Addresses)
	}
	if want := []Tally{{"eve", 12}}; !reflect.DeepEqual(f.Targets, want) {
		t.Errorf("targets %v", f.Targets)
	}
	if want := []Tally{{"AccessDenied", 3}}; !reflect.DeepEqual(f.Errors, want) {
		t.Errorf("errors %v", f.Errors)
	}
	if want := []Tally{{"x.amazonaws.com:A", 12}}; !reflect.DeepEqual(f.Names, want) {
		t.Errorf("names %v", f.Names)
	}
	if len(f.Events) != EventCap || f.Events[0].ID != "id-000011" || f.Events[9].ID != "id-000002" {
		t.Errorf("events %v", f.Events)
	}
	e := f.Events[0]
	if e.Actor.Session != "s1" || e.File != "log.json" || e.Offset != 11 || string(e.Raw) != string(events(t, recs)[11].Raw) || e.Target != "eve" {
		t.Errorf("%+v", e)
	}
	if want := []FieldMatch{{"eventName", "A"}}; !reflect.DeepEqual(e.Matched, want) {
		t.Errorf("matched %v", e.Matched)
	}
	if f.Rule.Suite != "test" || len(f.Rule.Techniques) != 1 || f.Rule.Techniques[0].Name != "Cloud Account" {
		t.Errorf("rule %+v", f.Rule)
	}
	if b := res.Findings[1]; b.Rule.Title != "B" || b.Count != 1 || b.Denied != 0 {
		t.Errorf("a rule that ignores attempts: %+v", b)
	}
	if denied := res.Findings[2]; denied.Level != Low || denied.Rule.Level != Medium || denied.Actor.Name != "bob" {
		t.Errorf("a denied attempt: %+v", denied)
	}
}

func TestCorrelationFinding(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("Failed sign-in", "A", "id: aaaaaaaa-1111-4111-8111-111111111111")+rule("Sign-in", "B", "id: bbbbbbbb-1111-4111-8111-111111111111")+
		correlationDoc("many", "event_count", "Failed sign-in", "  group-by: [sourceIPAddress]\n  condition: {gte: 5}\n")+
		"title: Brute force\nid: cccccccc-1111-4111-8111-111111111111\nlevel: critical\ntags: [attack.t1110]\nspoor: {attempts: lower}\ncorrelation:\n  type: temporal_ordered\n  rules: [many, Sign-in]\n  group-by: [sourceIPAddress]\n  timespan: 10m\n")
	var recs []rec
	for i := range 40 {
		recs = append(recs, rec{at: time.Duration(i) * time.Second, name: "A", user: "guess", failed: true})
	}
	recs = append(recs, rec{at: time.Minute, name: "B", user: "ana"}, rec{at: 2 * time.Minute, name: "B", user: "ana"})
	res := batchOf(t, rs, BatchOptions{}, 2, events(t, recs))
	if len(res.Findings) != 1 {
		t.Fatalf("%+v", res.Findings)
	}
	f := res.Findings[0]
	if f.Rule.Title != "Brute force" || !f.Rule.Correlation || f.Level != Critical || f.Count != 1 || f.Denied != 0 || f.Actor.Name != "ana" || f.Account != "111122223333" {
		t.Errorf("%+v", f)
	}
	if !reflect.DeepEqual(f.Group, map[string]string{"sourceIPAddress": "203.0.113.10"}) || f.Observed != "many, then Sign-in: 2 events in 56s" {
		t.Errorf("group %v, observed %q", f.Group, f.Observed)
	}
	if len(f.EventIDs) != 6 || len(f.Events) != 6 || f.Events[5].ID != "id-000040" || f.Events[5].RuleID != "bbbbbbbb-1111-4111-8111-111111111111" ||
		f.Events[0].RuleID != "aaaaaaaa-1111-4111-8111-111111111111" || len(f.Events[0].Raw) == 0 || len(f.Events[0].Matched) != 1 {
		t.Errorf("ids %v, events %+v", f.EventIDs, f.Events)
	}
	// The second sign-in joins the finding.
	if want := []Tally{{"x.amazonaws.com:A", 5}, {"x.amazonaws.com:B", 2}}; !reflect.DeepEqual(f.Names, want) || !f.Last.Equal(start.Add(2*time.Minute)) {
		t.Errorf("names %v, last %s", f.Names, f.Last)
	}
}

// What does not fit the bounds is chosen by the groups, not by order, and counted.
func TestOverflow(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("Low", "'*'", "id: l")+strings.Replace(rule("High", "H"), "medium", "high", 1))
	rng := rand.New(rand.NewPCG(7, 7))
	var recs []rec
	for i := range 3000 {
		name := "L"
		if i%100 == 0 {
			name = "H"
		}
		recs = append(recs, rec{at: time.Duration(i) * time.Second, id: fmt.Sprint(i), name: name, user: fmt.Sprint("u", rng.IntN(800))})
	}
	evs := events(t, recs)
	want := batchOf(t, rs, BatchOptions{MaxFindings: 100}, 1, evs)
	high, total := 0, 0
	for _, f := range want.Findings {
		total += f.Count
		if f.Level == High {
			high += f.Count
		}
	}
	if len(want.Findings) > 100 || len(want.Findings) < 30 || high != 30 {
		t.Errorf("%d findings, %d of 30 high ones", len(want.Findings), high)
	}
	if len(want.Notes) != 1 || !strings.HasPrefix(want.Notes[0], fmt.Sprintf("%d matches are not shown", 3030-total)) {
		t.Errorf("%d of 3030 matches are shown; notes %q", total, want.Notes)
	}
	for range 3 {
		rng.Shuffle(len(evs), func(i, j int) { evs[i], evs[j] = evs[j], evs[i] })
		sameResults(t, "shuffled", want, batchOf(t, rs, BatchOptions{MaxFindings: 100}, 1+rng.IntN(4), evs))
	}
}

func TestTally(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 3))
	var texts []string
	for i := range 5000 {
		texts = append(texts, fmt.Sprint("v", i), fmt.Sprint("v", i%700))
	}
	var want []Tally
	for round := range 4 {
		rng.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
		parts := make([]tally, 1+round)
		for i, s := range texts {
			parts[i%len(parts)].add(s, 1, TallyExact)
		}
		for i := range parts[1:] {
			parts[0].merge(&parts[i+1], TallyExact)
		}
		if n := parts[0].len(); n > TallyExact || n < TallyExact/4 {
			t.Errorf("%d values are kept", n)
		}
		if got := parts[0].top(); round == 0 {
			want = got
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("another order gives %v, not %v", got, want)
		}
	}
	if len(want) != TallyCap || want[0].Count < 8 {
		t.Errorf("%v", want)
	}
	var few tally
	for i := range 1000 {
		for range 1 + i%3 {
			few.add(fmt.Sprintf("%04d", i), 1, TallyExact)
		}
	}
	if got := few.top(); few.len() != 1000 || got[0] != (Tally{"0002", 3}) || got[9] != (Tally{"0029", 3}) {
		t.Errorf("%v", got)
	}
}

func TestRawLimit(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("A", "A")+strings.Replace(rule("High", "H"), "medium", "high", 1))
	var recs []rec
	for i := range 200 {
		recs = append(recs, rec{name: []string{"A", "H"}[i%2], user: fmt.Sprint("u", i%20), at: time.Duration(i) * time.Second})
	}
	evs := events(t, recs)
	limit := int64(len(evs[0].Raw)) * 50
	want := batchOf(t, rs, BatchOptions{RawLimit: limit}, 1, evs)
	raw, gap := 0, false
	for _, f := range want.Findings {
		for _, e := range f.Events {
			if e.Raw == nil {
				gap = true
			} else if gap {
				t.Error("an event keeps its record though a better ranked one does not")
			}
			raw += len(e.Raw)
			if e.Name == "" {
				t.Error("an event without a record lost its fields")
			}
		}
	}
	if int64(raw) > limit || int64(raw) < limit*8/10 {
		t.Errorf("%d bytes of records, the limit is %d", raw, limit)
	}
	slices.Reverse(evs)
	sameResults(t, "reversed", want, batchOf(t, rs, BatchOptions{RawLimit: limit}, 3, evs))
}

// Records that spill to disk come back as they were.
func TestSpilledRecords(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("A", "A")+correlationDoc("X", "event_count", "A", "  group-by: userIdentity.userName\n  condition: {gte: 2}\n  generate: true\n"))
	rng := rand.New(rand.NewPCG(1, 1))
	var recs []rec
	for i := range 3000 {
		pad := make([]byte, 600)
		for j := range pad {
			pad[j] = 'a' + byte(rng.IntN(26))
		}
		recs = append(recs, rec{name: "A", user: fmt.Sprint("u", i%300), at: time.Duration(i) * time.Millisecond * 100, params: `{"pad":"` + string(pad) + `"}`})
	}
	evs := events(t, recs)
	want := batchOf(t, rs, BatchOptions{}, 1, evs)
	small := BatchOptions{Memory: 64 << 10, TempDir: t.TempDir()}
	b := NewEngine(rs).NewBatch(small)
	s, err := b.Shard()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range evs {
		if err := s.Event(e); err != nil {
			t.Fatal(err)
		}
	}
	if s.log.fileSize == 0 || len(s.sorter.runs) == 0 {
		t.Fatal("nothing was spilled")
	}
	got, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sameResults(t, "spilled", want, got)
	for _, f := range got.Findings {
		for _, e := range f.Events {
			if want := evs[e.Offset].Raw; string(e.Raw) != string(want) {
				t.Fatalf("the record at %d came back as %d bytes, not %d", e.Offset, len(e.Raw), len(want))
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSpillFails(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("A", "A")+correlationDoc("X", "event_count", "A", "  condition: {gte: 2}\n"))
	b := NewEngine(rs).NewBatch(BatchOptions{Memory: 1, TempDir: t.TempDir() + "/gone"})
	s, err := b.Shard()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		err = s.Event(rec{name: "A"}.event(t, i))
	}
	if err == nil || !strings.Contains(err.Error(), "temporary file") {
		t.Errorf("got %v", err)
	}
	if _, ferr := b.Finish(t.Context()); ferr == nil {
		t.Error("Finish gives a result after matches were lost")
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func FuzzOccurrence(f *testing.F) {
	o := occurrence{time: 5, id: "id", account: "1", failed: true, record: makeHandle(1, 2, 3), inputs: []input{{1, 2, "k", []string{"v"}, []float64{1.5}}}}
	good := o.encode(nil)
	f.Add(good)
	f.Fuzz(func(t *testing.T, b []byte) {
		var o occurrence
		if o.decode(b) != nil {
			return
		}
		var again occurrence
		if err := again.decode(o.encode(nil)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestShorten(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("ä", maxText)
	a, b := shorten(long+"a"), shorten(long+"b")
	if len(a) > maxText+32 || a == b || !strings.HasPrefix(a, long[:1000]) || shorten("x") != "x" || !utf8.ValidString(shorten("y"+long)) {
		t.Errorf("%d bytes: %q", len(a), a[maxText-4:])
	}
	rs := rulesOf(t, rule("A", "A")+correlationDoc("X", "value_count", "A", "  group-by: userIdentity.userName\n  condition: {field: requestParameters.v, gte: 2}\n  generate: true\n"))
	same := batchOf(t, rs, BatchOptions{}, 1, events(t, []rec{{name: "A", params: `{"v":"` + long + `a"}`}, {name: "A", params: `{"v":"` + long + `a"}`, at: 1}}))
	differ := batchOf(t, rs, BatchOptions{}, 1, events(t, []rec{{name: "A", params: `{"v":"` + long + `a"}`, ip: long}, {name: "A", params: `{"v":"` + long + `b"}`, at: 1}}))
	if len(same.Findings) != 1 || len(differ.Findings) != 2 {
		t.Errorf("%d and %d findings", len(same.Findings), len(differ.Findings))
	}
	for _, f := range differ.Findings {
		if f.Events[0].Address == long || len(f.Addresses[0].Value) > maxText+32 {
			t.Error("a long text is kept whole")
		}
	}
}

// Records that can be read again are not kept, and the answer is the same; what is gone by then is told.
func TestReadAgain(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("A", "A")+rule("B", "B")+rule("C", "C")+
		correlationDoc("many", "event_count", "A", "  group-by: userIdentity.userName\n  condition: {gte: 4}\n")+
		correlationDoc("then", "temporal_ordered", "A, B", "  group-by: userIdentity.userName\n"))
	evs := events(t, randomRecs(rand.New(rand.NewPCG(3, 1)), 1500))
	want := batchOf(t, rs, BatchOptions{}, 2, evs)
	files := map[string]map[int64]*event.Event{}
	for i, e := range evs {
		e.File, e.Offset, e.Again = fmt.Sprint("file ", i%7), int64(i)*1000, true
		if files[e.File] == nil {
			files[e.File] = map[int64]*event.Event{}
		}
		files[e.File][e.Offset] = e
	}
	for i := range want.Findings {
		for j := range want.Findings[i].Events {
			ev := &want.Findings[i].Events[j]
			ev.File, ev.Offset = fmt.Sprint("file ", ev.Offset%7), ev.Offset*1000
		}
	}
	again := func(file string, at []event.Stretch, to func(int, []byte) error) error {
		if !slices.IsSortedFunc(at, func(a, b event.Stretch) int { return int(a.Offset - b.Offset) }) {
			t.Errorf("stretches of %s do not rise", file)
		}
		for i, s := range at {
			raw := files[file][s.Offset].Raw
			if len(raw) != s.Length {
				t.Errorf("%d bytes are asked for at %d, where %d are", s.Length, s.Offset, len(raw))
			}
			text := slices.Clone(raw)
			if err := to(i, text); err != nil {
				return err
			}
			clear(text) // nothing may be kept of it
		}
		return nil
	}
	got := batchOf(t, rs, BatchOptions{Again: again}, 2, evs)
	sameResults(t, "read again", want, got)

	if len(want.Findings) < 8 {
		t.Fatalf("only %d findings, so that hardly anything is tested", len(want.Findings))
	}

	var lost atomic.Int64
	got = batchOf(t, rs, BatchOptions{Again: func(file string, at []event.Stretch, to func(int, []byte) error) error {
		for i := range at { // every other one is something else by now, one file has gone
			switch {
			case file == "file 3":
			case i%2 == 0:
				if err := to(i, files[file][at[i].Offset].Raw); err != nil {
					return err
				}
				continue
			default:
				if err := to(i, []byte(`"Records":[{`)); err != nil {
					return err
				}
			}
			lost.Add(1)
		}
		return nil
	}, TempDir: t.TempDir()}, 1, evs[:1000:1000])
	if note := fmt.Sprint(lost.Load(), " records behind correlations could not be read again: their files have changed since"); lost.Load() == 0 || !slices.Contains(got.Notes, note) {
		t.Errorf("%d records were lost, and the notes are %q", lost.Load(), got.Notes)
	}
}
