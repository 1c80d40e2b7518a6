package hunt

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"testing"

	"spoor/internal/event"
)

// logged is an event as its parts, for counting by hand.
type logged struct{ user, key, source, name, address, agent, failure string }

func (l logged) event(t testing.TB) *event.Event {
	t.Helper()
	e, err := event.Parse(fmt.Appendf(nil, `{"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/%s","userName":"%[1]s","accountId":"111122223333","accessKeyId":%q},`+
		`"eventTime":"2026-01-10T09:15:41Z","eventSource":%q,"eventName":%q,"awsRegion":"eu-west-1","sourceIPAddress":%q,"userAgent":%q,"errorCode":%q}`,
		l.user, l.key, l.source, l.name, l.address, l.agent, l.failure))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// counted adds events to as many collectors as there are workers, and merges them.
func counted(t testing.TB, workers int, events []logged) *collector {
	t.Helper()
	seed := maphash.MakeSeed()
	all := newCollector(seed)
	parts := make([]*collector, workers)
	caches := make([]event.ActorCache, workers)
	for i := range parts {
		parts[i] = newCollector(seed)
	}
	for i, l := range events {
		e := l.event(t)
		parts[i%workers].add(e, caches[i%workers].Of(e), e.Failed())
	}
	for _, p := range parts {
		all.merge(p)
	}
	return all
}

func TestStatsAreCounts(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(what string, n int) string {
		// A few are frequent, many are rare, so that tallies come late too.
		return fmt.Sprintf("%s%d", what, min(rng.IntN(n), rng.IntN(n), rng.IntN(n)))
	}
	var events []logged
	type perActor struct{ names, addresses map[string]bool }
	want := map[string]map[string]int64{"sources": {}, "names": {}, "addresses": {}, "agents": {}, "errors": {}, "keys": {}, "actors": {}}
	actors := map[string]*perActor{}
	for range 40_000 {
		l := logged{pick("user", 60), pick("AKIA", 90), pick("s", 40) + ".amazonaws.com", pick("Call", 4000), pick("192.0.2.", 9000), pick("agent", 300), ""}
		if rng.IntN(7) == 0 {
			l.failure = pick("Denied", 5)
			want["errors"][l.failure]++
		}
		events = append(events, l)
		want["sources"][l.source]++
		want["names"][l.source+":"+l.name]++
		want["addresses"][l.address]++
		want["agents"][l.agent]++
		want["keys"][l.key]++
		id := "arn:aws:iam::111122223333:user/" + l.user
		want["actors"][id]++
		if actors[id] == nil {
			actors[id] = &perActor{map[string]bool{}, map[string]bool{}}
		}
		actors[id].names[l.source+":"+l.name] = true
		actors[id].addresses[l.address] = true
	}
	for _, workers := range []int{1, 3} {
		s := counted(t, workers, events).stats()
		lists := map[string][]Seen{"sources": s.Sources, "names": s.Names, "addresses": s.Addresses, "agents": s.Agents, "errors": s.Errors, "keys": s.Keys}
		for what, counts := range want {
			if got := s.Distinct[what]; got != int64(len(counts)) {
				t.Errorf("%d workers: %d %s, want %d", workers, got, what, len(counts))
			}
			for _, seen := range lists[what] {
				if seen.Count != counts[seen.Value] {
					t.Errorf("%d workers: %s %s: %d, want %d", workers, what, seen.Value, seen.Count, counts[seen.Value])
				}
			}
		}
		for _, a := range s.Actors {
			if w := actors[a.Value]; a.Names != int64(len(w.names)) || a.Addresses != int64(len(w.addresses)) || a.Count != want["actors"][a.Value] {
				t.Errorf("%d workers: %s: %d names, %d addresses, %d events, want %d, %d, %d", workers, a.Value, a.Names, a.Addresses, a.Count,
					len(w.names), len(w.addresses), want["actors"][a.Value])
			}
		}
		if len(s.Actors) != len(actors) || s.Events != int64(len(events)) {
			t.Errorf("%d workers: %d actors, %d events", workers, len(s.Actors), s.Events)
		}
	}
	if len(want["names"]) < earlyTallies {
		t.Errorf("only %d calls: none came late", len(want["names"]))
	}
}

// TestStatsForgetTheRare: beyond the cap the frequent values stay right, and that others are missing is said.
func TestStatsForgetTheRare(t *testing.T) {
	t.Parallel()
	c := newCollector(maphash.MakeSeed())
	var cache event.ActorCache
	e := logged{"ana", "AKIA1", "s3.amazonaws.com", "GetObject", "192.0.2.1", "cli", ""}.event(t)
	const rare = DimensionCap + 10
	for i := range rare {
		// One address in two is the frequent one; the record stands for the decoder's buffer, which is reused.
		if err := e.Reset(fmt.Appendf(nil, `{"userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ana","userName":"ana"},"eventSource":"s3.amazonaws.com","eventName":"GetObject","sourceIPAddress":"10.%d.%d.%d"}`, i>>16, i>>8&255, i&255)); err != nil {
			t.Fatal(err)
		}
		c.add(e, cache.Of(e), false)
		frequent := logged{"ana", "AKIA1", "s3.amazonaws.com", "GetObject", "192.0.2.1", "cli", ""}
		if i%16 == 0 {
			f := frequent.event(t)
			c.add(f, cache.Of(f), false)
		}
	}
	s := c.stats()
	if !slices.Equal(s.Bounded, []string{"addresses"}) {
		t.Errorf("bounded: %v", s.Bounded)
	}
	if top := s.Addresses[0]; top.Value != "192.0.2.1" || top.Count != (rare+15)/16 {
		t.Errorf("most frequent address: %+v", top)
	}
	if s.Names[0].Count != rare+(rare+15)/16 || s.Actors[0].Count != s.Names[0].Count || s.Actors[0].Names != 1 {
		t.Errorf("calls %+v, actors %+v", s.Names[0], s.Actors[0])
	}
}
