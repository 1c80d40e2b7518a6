package faults

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"spoor/test/rig"
)

// TestKill kills the service with kill -9 at random moments of its life, its start too, while it is pushed to by several
// clients, asked, followed, compacted, and reads a folder that grows. What was acknowledged, and what lay in the folder, is in
// the answer, once; its ledgers balance, and its store is whole.
func TestKill(t *testing.T) {
	t.Parallel()
	n, rnd := rounds(t, 3)
	s := newStand(t)
	s.drop = t.TempDir()
	conf := filepath.Join(t.TempDir(), "spoor.yaml")
	text, err := json.Marshal(map[string]any{"sources": []any{map[string]any{"name": "drop", "type": "folder", "path": s.drop, "interval": "1s", "settle": "0s"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, text, 0o600); err != nil { // JSON is YAML
		t.Fatal(err)
	}
	s.opts.Args = append(s.opts.Args, "--config", conf)

	// The first start tells its token.
	srv := s.start()
	s.ready(srv)
	l, did := s.load(), &busyness{}
	var sent, refused, failed, early int64
	life := func(srv *rig.Server, how time.Duration) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		all.Go(func() { s.busy(ctx, srv, did) })
		all.Go(func() {
			got := l.Run(ctx, srv)
			sent, refused, failed = sent+got.Records, refused+got.Refused, failed+got.Failed
		})
		select {
		case <-time.After(how):
		case <-srv.Done():
			t.Errorf("the service ended by itself, with %d:\n%s", srv.Exit(), srv.Complaints())
		}
		srv.Kill()
		cancel()
		all.Wait()
	}
	life(srv, time.Second)
	for i := range n {
		srv = s.start()
		if i%4 != 3 { // else it is killed while it starts
			s.ready(srv)
			m := s.metrics(srv)
			if d, l := m["spoor_journal_damaged_files_total"], m["spoor_journal_lost_at_end_total"]; d != 0 || l != 0 {
				t.Errorf("a kill is not damage: %.0f files, %.0f lost at the end", d, l)
			}
		} else {
			early++
		}
		if i%10 == 2 {
			v := s.settled(srv)
			t.Logf("round %d: %+v", i, *v)
		}
		most := 2500 * time.Millisecond
		if i%4 == 3 {
			most = 300 * time.Millisecond
		}
		life(srv, time.Duration(rnd.Int64N(int64(most))))
		if t.Failed() {
			t.FailNow()
		}
	}
	srv = s.start()
	s.ready(srv)
	v := s.settled(srv)
	s.balanced(srv)
	s.leave(srv)
	t.Logf("%d kills, %d of them during the start; %d records were acknowledged, %d requests refused, %d without an answer; %d searches, %d queries, %d events of tails, %d compactions, %d files; %+v",
		n+1, early, sent, refused, failed, did.searches.Load(), did.queries.Load(), did.events.Load(), did.compactions.Load(), did.files.Load(), *v)
	if did.searches.Load() == 0 || did.queries.Load() == 0 || did.events.Load() == 0 || did.files.Load() == 0 || did.compactions.Load() == 0 || sent == 0 {
		t.Error("some of the work was never done")
	}
}

// TestFullDisk fills the service's disk to its last byte while it is pushed to. It refuses, says when to come again, and says
// why in /readyz. With room again it accepts, in the same process, and nothing that it acknowledged is missing.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	n, _ := rounds(t, 1)
	s := newStand(t, "--set", "journal.min_free=8MiB")
	s.opts.Disk = 512 << 20
	srv, err := rig.Start(context.WithoutCancel(t.Context()), s.opts)
	if rig.CannotMount(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Kill)
	if _, err := srv.Ready(t.Context()); rig.CannotMount(err) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	l := s.load()
	for range min(n, 5) {
		before := s.push(srv, l, 2*time.Second)
		if before.Records == 0 || before.Failed > 0 {
			t.Fatalf("with room: %+v, %v", *before, before.Err)
		}
		var during *rig.Sent
		var pushing sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		pushing.Go(func() { during = l.Run(ctx, srv) })
		time.Sleep(300 * time.Millisecond) // in the middle of it
		err := srv.FillDisk()
		time.Sleep(4 * time.Second) // as long as the disk is full
		cancel()
		pushing.Wait()
		if err != nil {
			t.Fatal(err)
		}
		if during.Refused == 0 || during.Silent > 0 || during.Failed > 0 {
			t.Errorf("with the disk full: %d answers of 503, %d without Retry-After, %d other failures: %v\n%s", during.Refused, during.Silent, during.Failed, during.Err, srv.Complaints())
		}
		var status *rig.StatusError
		if err := srv.Get(t.Context(), "/readyz", nil); !errors.As(err, &status) || status.Status != http.StatusServiceUnavailable {
			t.Errorf("with the disk full, /readyz says %v", err)
		}
		if err := srv.Get(t.Context(), "/api/v1/events?limit=1", nil); err != nil {
			t.Errorf("with the disk full, a search says %v", err)
		}
		if err := srv.FreeDisk(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		s.ready(srv) // without anybody who pushes
		t.Logf("ready %s after there was room again; %d records were accepted before, %d answers of 503", time.Since(began), before.Records, during.Refused)
		after := s.push(srv, l, 2*time.Second)
		if after.Records == 0 || after.Failed > 0 {
			t.Fatalf("with room again: %+v, %v\n%s", *after, after.Err, srv.Complaints())
		}
		t.Logf("%+v", *s.settled(srv))
	}
	s.balanced(srv)
	want := s.rows(srv)
	s.stop(srv)
	data := filepath.Join(t.TempDir(), "data")
	if err := errors.Join(srv.CopyDisk(data), srv.LeaveDisk()); err != nil {
		t.Fatal(err)
	}
	s.verify(data, want)
}

// TestDamagedJournal damages a file of the journal, and takes away what the store has made of it and not committed, as a loss of
// power may. What the damage took is counted and told, and everything else is in the answer, and the service goes on.
func TestDamagedJournal(t *testing.T) {
	t.Parallel()
	s := newStand(t, "--set", "store.flush_rows=1000000", "--set", "store.flush_interval=1d")
	srv := s.start()
	s.ready(srv)
	l := s.load()
	l.Twice = 0
	sent := s.push(srv, l, 2*time.Second)
	if sent.Records < 2000 || sent.Failed > 0 {
		t.Fatalf("%+v, %v", *sent, sent.Err)
	}
	srv.Kill()
	if err := os.RemoveAll(filepath.Join(s.opts.Data, "store", "hot")); err != nil {
		t.Fatal(err)
	}
	name, size := "", int64(0)
	if err := filepath.WalkDir(filepath.Join(s.opts.Data, "journal"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".blk" {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Size() > size {
			name, size = path, info.Size()
		}
		return err
	}); err != nil || name == "" {
		t.Fatalf("no file of the journal: %v", err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	hit := make([]byte, 64)
	if _, err := f.ReadAt(hit, size/2); err != nil {
		t.Fatal(err)
	}
	for i := range hit {
		hit[i] ^= 0x5a
	}
	if _, err := f.WriteAt(hit, size/2); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	srv = s.start()
	s.ready(srv)
	m := s.metrics(srv)
	if m["spoor_journal_damaged_files_total"] == 0 {
		t.Error("the damage is not counted")
	}
	// New records are accepted and found; of the old ones some may be missing.
	if sent := s.push(srv, l, time.Second); sent.Records == 0 || sent.Failed > 0 {
		t.Fatalf("after the damage: %+v, %v", *sent, sent.Err)
	}
	last := s.feed.ID(pushStream, 1_000_000, 0)
	if err := srv.Push(t.Context(), s.feed.Batch(nil, pushStream, 1_000_000, time.Now()), batch); err != nil {
		t.Fatal(err)
	}
	s.book.Offer(pushStream, 1_000_000)
	s.book.Ack(pushStream, 1_000_000)
	found(t, srv, last)
	v, err := s.book.Check(t.Context(), srv)
	if err != nil {
		t.Fatal(err)
	}
	if v.Twice > 0 || v.Unasked > 0 || v.Missing > v.Acked/2 {
		t.Errorf("after the damage: %+v", *v)
	}
	m = s.metrics(srv)
	t.Logf("%+v; %v damaged files, %v appends saved, %v sequences lost", *v, m["spoor_journal_damaged_files_total"], m["spoor_journal_salvaged_appends_total"], m["spoor_journal_follower_lost_total"])
	if v.Missing > 0 && m["spoor_journal_follower_lost_total"] == 0 && m["spoor_journal_lost_at_end_total"] == 0 {
		t.Error("records are missing, and nothing is told of it")
	}
	s.stop(srv)
}

// found waits until an event is in the answer.
func found(t *testing.T, srv *rig.Server, id string) {
	t.Helper()
	for began := time.Now(); ; {
		ok, err := srv.Found(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			return
		}
		if time.Since(began) > long {
			t.Fatalf("event %s is not found\n%s", id, srv.Complaints())
		}
		time.Sleep(20 * time.Millisecond) // the interval at which is asked
	}
}

// TestSlowTail follows the service with one reader that does not read. It slows nobody, and is told how many events it did not
// get; one that reads gets them all.
func TestSlowTail(t *testing.T) {
	t.Parallel()
	s := newStand(t)
	srv := s.start()
	s.ready(srv)
	slow, err := srv.Do(t.Context(), http.MethodGet, "/api/v1/tail", nil) // its body is read below
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Body.Close() //nolint:errcheck // it ends here
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began, got := make(chan struct{}), make(chan struct{})
	var events, missed int64
	enough := errors.New("enough")
	const want = 40_000
	go func() {
		defer close(got)
		err := srv.Tail(ctx, nil, func() { close(began) }, func(e rig.TailEvent) error {
			switch e.Kind {
			case "event":
				events++
			case "missing":
				missed++
			}
			if events >= want {
				return enough
			}
			return nil
		})
		if !errors.Is(err, enough) {
			t.Errorf("the tail that is read: %v", err)
		}
	}()
	<-began
	l := s.load()
	l.Twice = 0
	l.Rate = 10_000
	sent := int64(0)
	var slowest time.Duration
	for sent < want {
		r := s.push(srv, l, 500*time.Millisecond)
		if r.Failed > 0 || r.Refused > 0 {
			t.Fatalf("%d failed, %d refused: %v", r.Failed, r.Refused, r.Err)
		}
		sent += r.Records
		slowest = max(slowest, r.Percentile(99))
	}
	select {
	case <-got:
	case <-time.After(long):
		t.Fatalf("the tail that is read has %d of %d events", events, sent)
	}
	if missed > 0 {
		t.Errorf("the tail that is read missed some, %d times", missed)
	}
	// Now the slow one reads.
	var dropped, given uint64
	deadline := time.AfterFunc(long, func() { _ = slow.Body.Close() })
	defer deadline.Stop()
	err = rig.Events(slow.Body, func(e rig.TailEvent) error {
		switch e.Kind {
		case "event":
			given++
		case "missing":
			var m struct {
				Dropped uint64 `json:"dropped"`
			}
			if err := json.Unmarshal(e.Data, &m); err != nil {
				return err
			}
			dropped += m.Dropped
		}
		if given+dropped >= uint64(sent) {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) {
		t.Fatalf("the slow tail has %d events and was told of %d, of %d: %v", given, dropped, sent, err)
	}
	t.Logf("%d records, acknowledged in %s at p99; the slow tail was given %d and told of %d that it did not get", sent, slowest, given, dropped)
	if dropped == 0 || given+dropped != uint64(sent) {
		t.Errorf("%d given, %d dropped, %d sent", given, dropped, sent)
	}
	s.settled(srv)
	s.stop(srv)
}

// TestSlowStore pushes more than the store takes, until the journal is full: pushes are refused and told when to come again.
// They are accepted again when the store has read on, and nothing is missing.
func TestSlowStore(t *testing.T) {
	t.Parallel()
	s := newStand(t, "--set", "store.max_hot_rows=3000", "--set", "journal.max_size=16MiB", "--set", "journal.retain_size=1MiB", "--set", "journal.queue_wait=100ms")
	srv := s.start()
	s.ready(srv)
	l := s.load()
	l.Rate, l.Twice = 0, 0
	var refused int64
	for began := time.Now(); refused == 0; {
		r := s.push(srv, l, time.Second)
		if r.Failed > 0 || r.Silent > 0 {
			t.Fatalf("%d failed, %d were not told when to come again: %v", r.Failed, r.Silent, r.Err)
		}
		refused += r.Refused
		if time.Since(began) > long {
			t.Skip("this store is not slower than who pushes")
		}
	}
	before := s.book.Acked()
	l.Rate = 100
	r := s.push(srv, l, 10*time.Second)
	if s.book.Acked() == before || r.Failed > 0 {
		t.Fatalf("after a while: %+v, %v\n%s", *r, r.Err, srv.Complaints())
	}
	t.Logf("%d refused; %+v", refused, *s.settled(srv))
	s.balanced(srv)
	s.leave(srv)
}

// TestStopped halts the process and lets it go on, as machines do that are moved or suspended.
func TestStopped(t *testing.T) {
	t.Parallel()
	n, rnd := rounds(t, 2)
	s := newStand(t)
	srv := s.start()
	s.ready(srv)
	l := s.load()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	did := &busyness{}
	var sent *rig.Sent
	all.Go(func() { sent = l.Run(ctx, srv) })
	all.Go(func() { s.busy(ctx, srv, did) })
	for i := range min(n, 20) {
		time.Sleep(time.Duration(rnd.Int64N(int64(time.Second)))) // random moments
		if err := srv.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		halt := time.Duration(rnd.Int64N(int64(2 * time.Second)))
		if i%10 == 9 {
			halt = 20 * time.Second
		}
		time.Sleep(halt)
		if err := srv.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(500 * time.Millisecond) // it goes on
	cancel()
	all.Wait()
	if sent.Failed > 0 || sent.Records == 0 {
		t.Errorf("%d requests failed: %v", sent.Failed, sent.Err)
	}
	t.Logf("%d records, longest acknowledgement %s; %+v", sent.Records, sent.Percentile(100), *s.settled(srv))
	s.balanced(srv)
	s.leave(srv)
}
