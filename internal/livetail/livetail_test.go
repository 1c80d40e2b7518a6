package livetail

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/match"
)

// openJournal opens a journal; close, or the end of the test, closes it.
func openJournal(t testing.TB, o journal.Options) (j *journal.Journal, close func()) {
	t.Helper()
	o.MinFree = -1
	j, err := journal.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	close = sync.OnceFunc(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(close)
	return j, close
}

// begin runs a tail over a journal until stop, which gives its error, or the end of the test, which wants none.
func begin(t testing.TB, j *journal.Journal, o Options) (tail *Tail, stop func() error) {
	t.Helper()
	o.Journal = j
	if o.Stream == "" {
		o.Stream = "trail.one"
	}
	tail = New(o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- tail.Run(ctx) }()
	var once sync.Once
	stop = func() (err error) {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return tail, stop
}

func record(id, name string) journal.Record {
	return journal.Record{Raw: fmt.Appendf(nil, `{"eventVersion":"1.08","eventTime":"2026-03-01T11:00:00Z","eventSource":"iam.amazonaws.com","eventName":%q,"eventID":%q}`, name, id)}
}

// accept appends events with ids from first on, as one append.
func accept(t testing.TB, j *journal.Journal, name string, first, n int) {
	t.Helper()
	var list []journal.Record
	for i := range n {
		list = append(list, record(fmt.Sprintf("%06d", first+i), name))
	}
	if _, err := j.Append(t.Context(), list); err != nil {
		t.Fatal(err)
	}
}

func subscribe(t testing.TB, tail *Tail, r Request) *Subscription {
	t.Helper()
	s, err := tail.Subscribe(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func next(t testing.TB, s *Subscription) Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// ids takes n events, before which nothing may be missing.
func ids(t testing.TB, s *Subscription, n int) []string {
	t.Helper()
	var out []string
	for range n {
		m := next(t, s)
		if m.Event == nil || m.Dropped != 0 || m.Gap != "" {
			t.Fatalf("want an event and nothing missing after %q, got %+v", out, m)
		}
		out = append(out, m.Event.ID())
	}
	return out
}

func numbers(first, n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("%06d", first+i))
	}
	return out
}

func wantIDs(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("events %q, want %q", got, want)
	}
}

// named is the predicate of events with a name.
func named(t testing.TB, name string) match.Expr {
	t.Helper()
	return match.Field(match.At(event.ParsePath("eventName")), match.Values([]*match.Pattern{match.NewPattern([]match.Part{{Kind: match.Literal, Text: name}}, true)}))
}

func TestSubscribersGetWhatTheyAskFor(t *testing.T) {
	t.Parallel()
	j, _ := openJournal(t, journal.Options{Dir: t.TempDir()})
	tail, stop := begin(t, j, Options{})
	accept(t, j, "Early", 1, 3)
	if n := tail.Stats().Records; n != 0 {
		t.Errorf("%d records read for nobody", n)
	}
	all, some, none := subscribe(t, tail, Request{}), subscribe(t, tail, Request{Expr: named(t, "CreateUser")}), subscribe(t, tail, Request{Expr: match.Const(false)})
	accept(t, j, "CreateUser", 10, 2)
	accept(t, j, "DeleteUser", 20, 2)
	accept(t, j, "CreateUser", 30, 1)
	wantIDs(t, ids(t, some, 3), []string{"000010", "000011", "000030"})
	raw := record("000010", "CreateUser").Raw
	m := next(t, all)
	if string(m.Event.Raw) != string(raw) || m.Accepted.IsZero() {
		t.Errorf("%+v, want the record as it came", m)
	}
	wantIDs(t, ids(t, all, 4), []string{"000011", "000020", "000021", "000030"})
	st := tail.Stats()
	if st.Subscribers != 3 || st.Resuming != 0 || st.Records != 5 || st.Given != 8 || st.Position == "" {
		t.Errorf("%+v", st)
	}
	none.Close()
	if _, err := none.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed subscription: %v", err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if _, err := all.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if _, err := tail.Subscribe(t.Context(), Request{}); !errors.Is(err, ErrClosed) {
		t.Errorf("subscribe after the end: %v", err)
	}
}

func TestSlowSubscriberIsToldAndHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	j, _ := openJournal(t, journal.Options{Dir: t.TempDir()})
	tail, _ := begin(t, j, Options{Buffer: 10})
	slow, fast := subscribe(t, tail, Request{}), subscribe(t, tail, Request{})
	for i := range 30 {
		accept(t, j, "A", 10*i, 10)
		wantIDs(t, ids(t, fast, 10), numbers(10*i, 10))
	}
	m := next(t, slow)
	if m.Dropped != 290 || m.Event.ID() != "000290" || m.Gap != "" {
		t.Errorf("dropped %d before %s, %q", m.Dropped, m.Event.ID(), m.Gap)
	}
	wantIDs(t, ids(t, slow, 9), numbers(291, 9))
	if st := tail.Stats(); st.Dropped != 290 || st.Given != 600 {
		t.Errorf("%+v", st)
	}
}

func TestBytesOfBuffersAreBounded(t *testing.T) {
	t.Parallel()
	j, _ := openJournal(t, journal.Options{Dir: t.TempDir()})
	tail, _ := begin(t, j, Options{BufferBytes: 1})
	slow, fast := subscribe(t, tail, Request{}), subscribe(t, tail, Request{Expr: named(t, "B")})
	accept(t, j, "A", 0, 5)
	accept(t, j, "B", 5, 1)
	ids(t, fast, 1)
	if m := next(t, slow); m.Dropped != 5 || m.Event.ID() != "000005" {
		t.Errorf("dropped %d before %s", m.Dropped, m.Event.ID())
	}
}

func TestEventsAreGivenOnce(t *testing.T) {
	t.Parallel()
	j, _ := openJournal(t, journal.Options{Dir: t.TempDir()})
	tail, _ := begin(t, j, Options{})
	s := subscribe(t, tail, Request{})
	accept(t, j, "A", 0, 3)
	accept(t, j, "A", 0, 4)
	if _, err := j.Append(t.Context(), []journal.Record{{Raw: []byte(`{"eventID":`)}, record("", "None"), record("", "None")}); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, ids(t, s, 6), []string{"000000", "000001", "000002", "000003", "", ""})
	accept(t, j, "A", 10, 1)
	ids(t, s, 1)
	if st := tail.Stats(); st.Duplicates != 3 || st.Unreadable != 1 {
		t.Errorf("%+v", st)
	}
}

func TestResumeLosesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, closeIt := openJournal(t, journal.Options{Dir: dir})
	tail, stop := begin(t, j, Options{})
	s := subscribe(t, tail, Request{Expr: named(t, "A")})
	accept(t, j, "A", 0, 10)
	wantIDs(t, ids(t, s, 5), numbers(0, 5))
	m := next(t, s) // in the middle of an entry
	s.Close()
	accept(t, j, "B", 100, 10)
	accept(t, j, "A", 10, 10)

	s = subscribe(t, tail, Request{Expr: named(t, "A"), After: m.Position})
	wantIDs(t, ids(t, s, 14), numbers(6, 14))
	accept(t, j, "A", 20, 2)
	wantIDs(t, ids(t, s, 1), numbers(20, 1))
	m = next(t, s)
	if err := stop(); err != nil {
		t.Error(err)
	}
	closeIt()

	j, _ = openJournal(t, journal.Options{Dir: dir}) // a server that begins again
	tail, _ = begin(t, j, Options{})
	accept(t, j, "A", 22, 3)
	s = subscribe(t, tail, Request{Expr: named(t, "A"), After: m.Position})
	accept(t, j, "A", 25, 3)
	wantIDs(t, ids(t, s, 6), numbers(22, 6))
	if st := tail.Stats(); st.Resumed != 1 || st.Gaps != 0 {
		t.Errorf("%+v", st)
	}
}

// TestPositionPassesOthers: a position goes on while nothing is given, so that who resumes behind it reads no more than it must.
func TestPositionPassesOthers(t *testing.T) {
	t.Parallel()
	j, _ := openJournal(t, journal.Options{Dir: t.TempDir()})
	tail, _ := begin(t, j, Options{})
	s, other := subscribe(t, tail, Request{Expr: named(t, "A")}), subscribe(t, tail, Request{})
	before := s.Position()
	accept(t, j, "B", 0, 2)
	accept(t, j, "B", 2, 2)
	ids(t, other, 4)
	accept(t, j, "B", 4, 1) // when it is given, the position is behind the entry before it
	ids(t, other, 1)
	at := s.Position()
	if at == before {
		t.Fatalf("the position stays at %s", at)
	}
	s.Close()
	accept(t, j, "A", 10, 1)
	wantIDs(t, ids(t, subscribe(t, tail, Request{Expr: named(t, "A"), After: at}), 1), numbers(10, 1))
}

// TestResumeWhileEventsArrive joins again and again what is being written.
func TestResumeWhileEventsArrive(t *testing.T) {
	t.Parallel()
	j, _ := openJournal(t, journal.Options{Dir: t.TempDir()})
	tail, _ := begin(t, j, Options{})
	const total = 3000
	s := subscribe(t, tail, Request{})
	keep := subscribe(t, tail, Request{Expr: match.Const(false)}) // the follower goes on all the time
	done := make(chan error, 1)
	go func() {
		for i := 0; i < total; i += 5 {
			var list []journal.Record
			for k := range 5 {
				list = append(list, record(fmt.Sprintf("%06d", i+k), "A"))
			}
			if _, err := j.Append(t.Context(), list); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	resumes := 0
	for i := 0; i < total; i++ {
		m := next(t, s)
		if want := fmt.Sprintf("%06d", i); m.Event == nil || m.Event.ID() != want || m.Dropped != 0 || m.Gap != "" {
			t.Fatalf("want event %s, got %+v", want, m)
		}
		if i%97 == 0 {
			s.Close()
			s = subscribe(t, tail, Request{After: m.Position})
			resumes++
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	keep.Close()
	if st := tail.Stats(); int(st.Resumed) != resumes || st.Gaps != 0 || st.Dropped != 0 {
		t.Errorf("%+v", st)
	}
}

func TestGapsAreTold(t *testing.T) {
	t.Parallel()
	j, _ := openJournal(t, journal.Options{Dir: t.TempDir()})
	now := time.Now()
	tail, _ := begin(t, j, Options{Now: func() time.Time { return now.Add(2 * time.Hour) }})
	s := subscribe(t, tail, Request{})
	accept(t, j, "A", 0, 2)
	old := next(t, s).Position
	for _, c := range []struct{ after, gap string }{
		{"nonsense", "none of this server"},
		{"trail.one.x.0", "none of this server"},
		{"trail.one.1.-1", "none of this server"},
		{"trail.two.1.0", "another journal"},
		{strings.Repeat("x", 1000) + ".1.0", "none of this server"},
		{"trail.one.18446744073709551615.0", "not in the journal"},
		{old, "at most 1h0m0s"},
	} {
		s := subscribe(t, tail, Request{After: c.after})
		if m := next(t, s); m.Event != nil || !strings.Contains(m.Gap, c.gap) || m.Position == "" {
			t.Errorf("after %q: %+v, want a gap with %q", c.after, m, c.gap)
		}
		accept(t, j, "B", 50, 1)
		wantIDs(t, ids(t, s, 1), numbers(50, 1))
		s.Close()
	}
	if n := tail.Stats().Gaps; n != 7 {
		t.Errorf("%d gaps counted", n)
	}
	st, err := j.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st.Last > 20 {
		t.Errorf("the journal was filled up to %d", st.Last)
	}
}

// TestRetentionIsAGap resumes behind what the journal removed.
func TestRetentionIsAGap(t *testing.T) {
	t.Parallel()
	j, _ := openJournal(t, journal.Options{Dir: t.TempDir(), MaxBytes: 6 << 20, RetainBytes: 1 << 20})
	tail, _ := begin(t, j, Options{})
	s := subscribe(t, tail, Request{})
	accept(t, j, "A", 0, 2)
	at := next(t, s).Position
	s.Close()
	rnd := rand.New(rand.NewPCG(1, 2))
	for full := false; !full; {
		noise := make([]byte, 100<<10)
		for i := range noise {
			noise[i] = 'a' + byte(rnd.IntN(26))
		}
		if _, err := j.Append(t.Context(), []journal.Record{record(string(noise), "B")}); err != nil {
			t.Fatal(err)
		}
		st, err := j.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		full = st.First > 2
	}
	s = subscribe(t, tail, Request{After: at, Expr: named(t, "A")})
	accept(t, j, "A", 9, 1)
	m := next(t, s)
	if !strings.Contains(m.Gap, "not got all of its entries from 1 to") {
		t.Errorf("%+v, want a gap", m)
	}
	if m.Event == nil {
		m = next(t, s)
	}
	if m.Event.ID() != "000009" {
		t.Errorf("%s, want event 9", m.Event.Raw)
	}
}

func TestLimitsAndEnds(t *testing.T) {
	t.Parallel()
	j, closeIt := openJournal(t, journal.Options{Dir: t.TempDir()})
	tail, stop := begin(t, j, Options{Subscribers: 2, Resuming: 1})
	a := subscribe(t, tail, Request{})
	accept(t, j, "A", 0, 3)
	at := next(t, a).Position
	b := subscribe(t, tail, Request{After: at})
	if _, err := tail.Subscribe(t.Context(), Request{}); !errors.Is(err, ErrTooMany) {
		t.Errorf("third of two: %v", err)
	}
	wantIDs(t, ids(t, b, 2), numbers(1, 2))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	var closing sync.WaitGroup
	for _, s := range []*Subscription{a, b} {
		closing.Go(s.Close)
		var err error
		for err == nil { // what was in the buffer may come first
			_, err = s.Next(t.Context())
		}
		if !errors.Is(err, ErrClosed) {
			t.Errorf("closed while it waits: %v", err)
		}
	}
	closing.Wait()
	if st := tail.Stats(); st.Position != "" || st.Subscribers != 0 {
		t.Errorf("%+v", st)
	}
	c := subscribe(t, tail, Request{})
	closeIt()
	if err := stop(); err == nil || !strings.Contains(err.Error(), "the journal is closed") {
		t.Errorf("the tail of a closed journal ended with %v", err)
	}
	if _, err := c.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed journal: %v", err)
	}
}

func BenchmarkTail(b *testing.B) {
	j, _ := openJournal(b, journal.Options{Dir: b.TempDir()})
	tail, _ := begin(b, j, Options{})
	for range 63 {
		subscribe(b, tail, Request{Expr: named(b, "CreateUser")})
	}
	last := subscribe(b, tail, Request{Expr: named(b, "Last")})
	rounds := 0
	for b.Loop() {
		rounds++
		for i := range 10 {
			accept(b, j, "GetObject", 1000*i, 1000)
		}
		accept(b, j, "Last", rounds, 1)
		next(b, last)
	}
	b.ReportMetric(10_000*float64(rounds)/b.Elapsed().Seconds(), "records/s")
}
