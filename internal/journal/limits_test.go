package journal

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) get() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func trim(t *testing.T, j *Journal) {
	t.Helper()
	if err := j.trim(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

// TestRetention: what all followers have acknowledged goes by age and size; what one of them has not stays, whatever the
// clock does.
func TestRetention(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	j := open(t, Options{Dir: t.TempDir(), Now: c.get, RetainAge: time.Hour, Followers: []string{"fast", "slow"}})
	for i := range uint64(10) {
		appendAll(t, j, records(i, 2))
		c.add(10 * time.Minute)
	}
	fast, slow := follow(t, j, "fast", FromCursor()), follow(t, j, "slow", FromCursor())
	_, _, last := drain(t, fast)
	if err := fast.Ack(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	first := func() uint64 { t.Helper(); trim(t, j); return stats(t, j).First }
	if got := first(); got != 1 {
		t.Errorf("first %d though one has read nothing", got)
	}
	c.add(1000 * time.Hour) // ahead, and back
	if got := first(); got != 1 {
		t.Errorf("first %d though one has read nothing, after a jump", got)
	}
	if age := stats(t, j).Followers[1].Age; age != 1000*time.Hour+100*time.Minute {
		t.Errorf("age %v", age)
	}
	c.add(-1000 * time.Hour)
	for range 3 {
		next(t, slow)
	}
	if err := slow.Ack(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if got := first(); got != 4 { // 4 and beyond are not acknowledged, though older than an hour
		t.Errorf("first %d, want 4", got)
	}
	_, _, last = drain(t, slow)
	if err := slow.Ack(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	if got := first(); got != 5 { // entry 5 was written an hour ago
		t.Errorf("first %d, want 5", got)
	}
	c.add(-5000 * time.Hour)
	appendAll(t, j, records(99, 1)) // written long before the others
	if b := next(t, slow); b.Seq != 11 || stats(t, j).Followers[1].Age != 0 {
		t.Errorf("after a jump back: %d, %+v", b.Seq, stats(t, j).Followers)
	}
	if got := first(); got != 5 {
		t.Errorf("first %d after a jump back", got)
	}
	c.add(6000 * time.Hour)
	if got := first(); got != 11 {
		t.Errorf("first %d, want 11", got)
	}
	if list, lost, _ := drain(t, follow(t, j, "late", FromCursor())); len(list) != 1 || lost != nil {
		t.Errorf("a follower that is new gets %d records and %v", len(list), lost)
	}
	if _, lost, _ := drain(t, follow(t, j, "", After(2))); len(lost) != 1 || lost[0] != (Lost{3, 10}) {
		t.Errorf("what was removed is told as %v", lost)
	}
	for _, name := range []string{"fast", "slow"} {
		if err := j.RemoveFollower(t.Context(), name); !errors.Is(err, ErrFollowed) {
			t.Errorf("removed %s while it follows: %v", name, err)
		}
	}
}

// TestFull: a follower that does not acknowledge stops appends with an error that says when to come again, and nothing of
// what it needs goes; with DropUnread it goes, is counted, and the follower is told.
func TestFull(t *testing.T) {
	t.Parallel()
	for _, drop := range []bool{false, true} {
		dir := t.TempDir()
		o := Options{Dir: dir, MaxBytes: 6 << 20, RetainBytes: 1 << 20, GroupBytes: 1, DropUnread: drop, Followers: []string{"slow"}}
		j := open(t, o)
		n := 0
		var err error
		for ; n < 40 && err == nil; n++ {
			_, list := bigAppend(n)
			if _, err = j.Append(t.Context(), list); err == nil {
				trim(t, j)
			}
		}
		if drop {
			if err != nil {
				t.Fatal(err)
			}
			s := stats(t, j)
			if s.Dropped == 0 || s.Bytes > 7<<20 {
				t.Errorf("%d dropped, %d bytes are there", s.Dropped, s.Bytes)
			}
			list, lost, _ := drain(t, follow(t, j, "slow", FromCursor()))
			if len(lost) != 1 || lost[0].First != 1 || lost[0].Last != s.Dropped || len(list) != n-int(s.Dropped) {
				t.Errorf("%d dropped of %d, told %v, %d given", s.Dropped, n, lost, len(list))
			}
			continue
		}
		var full *FullError
		if !errors.As(err, &full) || !errors.Is(err, ErrFull) || full.RetryAfter <= 0 || n != 12 {
			t.Fatalf("append %d: %v", n, err)
		}
		closeIt(t, j)
		j = open(t, o)
		f := follow(t, j, "slow", FromCursor())
		list, lost, last := drain(t, f)
		if len(list) != n-1 || lost != nil || stats(t, j).Dropped != 0 {
			t.Errorf("%d of %d are there, %v lost", len(list), n-1, lost)
		}
		if err := f.Ack(t.Context(), last); err != nil {
			t.Fatal(err)
		}
		trim(t, j)
		if s := stats(t, j); s.Bytes > 1<<20 {
			t.Errorf("%d bytes stay", s.Bytes)
		}
		appendAll(t, j, list[:1])
	}
}

// TestQueue: appends wait for room among what is to be written, and not for ever.
func TestQueue(t *testing.T) {
	t.Parallel()
	j := open(t, Options{Dir: t.TempDir(), QueueBytes: 1 << 10, QueueWait: 20 * time.Millisecond})
	if err := j.room.Acquire(t.Context(), 1<<10); err != nil { // as if that much waited
		t.Fatal(err)
	}
	var full *FullError
	if _, err := j.AppendOnce(t.Context(), "a", records(1, 1)); !errors.As(err, &full) {
		t.Errorf("no room: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Append(ctx, records(1, 1)); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknown) {
		t.Errorf("cancelled before: %v", err)
	}
	j.room.Release(1 << 10)
	if _, err := j.AppendOnce(t.Context(), "a", records(1, 1)); err != nil { // the refused id is not known
		t.Error(err)
	}
	if s := stats(t, j); s.Refused != 1 || s.Appends != 1 || s.Duplicates != 0 {
		t.Errorf("figures %+v", s)
	}
}

// TestOnce: an id is accepted once, offered at the same time, later, or after a restart; and known is as many as was asked for.
func TestOnce(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir(), KeepIDs: 8}
	j := open(t, o)
	var all sync.WaitGroup
	seqs := make([]uint64, 8)
	for i := range seqs {
		all.Go(func() {
			seq, err := j.AppendOnce(t.Context(), "one", records(1, 2))
			if err != nil {
				t.Error(err)
			}
			seqs[i] = seq
		})
	}
	all.Wait()
	for _, seq := range seqs {
		if seq != seqs[0] {
			t.Errorf("sequences %v", seqs)
		}
	}
	if _, err := j.AppendOnce(t.Context(), "two", records(2, 2)); err != nil {
		t.Fatal(err)
	}
	closeIt(t, j)
	j = open(t, o)
	if seq, err := j.AppendOnce(t.Context(), "one", records(1, 2)); err != nil || seq != seqs[0] {
		t.Errorf("after a restart %d, %v; was %d", seq, err, seqs[0])
	}
	if list, _, _ := drain(t, follow(t, j, "", After(0))); len(list) != 4 {
		t.Errorf("%d records, want 4", len(list))
	}
	for i := range 8 {
		if _, err := j.AppendOnce(t.Context(), fmt.Sprint(i), records(1, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if len(j.ids.known) != 8 || len(j.ids.order) != 8 {
		t.Errorf("%d ids are known", len(j.ids.known))
	}
	if s := stats(t, j); s.Duplicates != 1 {
		t.Errorf("%d duplicates", s.Duplicates)
	}
}

// TestLarge: records up to the decoder's limit go through, in pieces, and what is larger than an append may be is refused.
func TestLarge(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir()}
	j := open(t, o)
	raw := make([]byte, 32<<20)
	for i := 0; i < len(raw); i += 64 {
		_, list := bigAppend(i % 255)
		i += copy(raw[i:], list[0].Raw)
	}
	big := []Record{{Raw: raw, Origin: Origin{Object: "big"}}}
	seq, err := j.AppendOnce(t.Context(), "big", big)
	if err != nil || seq < 8 {
		t.Fatalf("sequence %d, %v", seq, err)
	}
	small := appendAll(t, j, records(1, 1))
	if _, err := j.Append(t.Context(), []Record{big[0], big[0]}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("64 MiB and more: %v", err)
	}
	closeIt(t, j)
	j = open(t, o)
	if again, err := j.AppendOnce(t.Context(), "big", big); err != nil || again != seq {
		t.Errorf("again at %d, %v", again, err)
	}
	f := follow(t, j, "", FromCursor())
	if b := next(t, f); b.Seq != seq || !same(b.Records, big) {
		t.Errorf("batch %d of %d records is another", b.Seq, len(b.Records))
	}
	if b := next(t, f); b.Seq != small || !same(b.Records, records(1, 1)) {
		t.Errorf("batch %d is another", b.Seq)
	}
	if b := next(t, follow(t, j, "", After(seq-2))); b.Seq != small || b.Lost == nil {
		t.Errorf("from the middle of an entry: %d, %v", b.Seq, b.Lost)
	}
}

// TestAhead: a follower that has more than the journal, which is new, misses nothing of what comes.
func TestAhead(t *testing.T) {
	t.Parallel()
	for _, ahead := range []uint64{7, 123_456} {
		o := Options{Dir: t.TempDir()}
		j := open(t, o)
		appendAll(t, j, records(1, 1))
		f := follow(t, j, "store", After(ahead))
		seq := appendAll(t, j, records(2, 1))
		if b := next(t, f); b.Seq != seq || seq <= ahead || !same(b.Records, records(2, 1)) || b.Lost != nil {
			t.Errorf("ahead by %d: batch %d, lost %v; appended as %d", ahead, b.Seq, b.Lost, seq)
		}
		if err := f.Ack(t.Context(), seq); err != nil {
			t.Error(err)
		}
		closeIt(t, j)
		j = open(t, o)
		if s := stats(t, j); s.Last != seq || s.LostAtEnd != 0 || s.Followers[0].Cursor != seq {
			t.Errorf("after a restart: %+v", s)
		}
	}
}

// TestNewer: what a newer version wrote is not skipped.
func TestNewer(t *testing.T) {
	t.Parallel()
	j := open(t, Options{Dir: t.TempDir()})
	m := appendPiece(nil, pieceInfo{of: 1}, []byte{0})
	m[3]++
	if _, err := j.js.Publish(t.Context(), j.subject(), m); err != nil {
		t.Fatal(err)
	}
	appendAll(t, j, records(1, 1))
	f := follow(t, j, "store", FromCursor())
	for range 2 {
		if b, err := f.Next(t.Context()); !errors.Is(err, ErrVersion) {
			t.Errorf("batch %d, %v", b.Seq, err)
		}
	}
}

// TestNoPort: the server of this process listens nowhere, and its folder is for its owner only.
func TestNoPort(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir() + "/journal"}
	j := open(t, o)
	if a := j.eng.srv.Addr(); a != nil {
		t.Errorf("it listens at %v", a)
	}
	if a := j.eng.srv.MonitorAddr(); a != nil {
		t.Errorf("it listens at %v", a)
	}
	if info, err := os.Stat(o.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := Open(ctx, o); err == nil || !strings.Contains(err.Error(), "open journal") {
		t.Errorf("opened twice: %v", err)
	}
}

// TestURL: the same with a NATS server that runs elsewhere: two processes append, both are followed, and the server goes
// away and comes back.
func TestURL(t *testing.T) {
	t.Parallel()
	opts := &server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true}
	start := func() *server.Server {
		t.Helper()
		srv, err := server.NewServer(opts)
		if err != nil {
			t.Fatal(err)
		}
		srv.Start()
		if !srv.ReadyForConnections(20 * time.Second) {
			t.Fatal("the server does not start")
		}
		return srv
	}
	srv := start()
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	url := srv.ClientURL()
	opts.Port = srv.Addr().(*net.TCPAddr).Port
	one, two := open(t, Options{URL: url}), open(t, Options{URL: url})
	one.piece, two.piece = 2000, 2000
	f := follow(t, one, "store", FromCursor())
	var all sync.WaitGroup
	for w, j := range []*Journal{one, two} {
		all.Go(func() {
			for i := range 20 {
				if _, err := j.AppendOnce(t.Context(), fmt.Sprint(w, i), records(uint64(w*100+i), 10)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	count := map[string]int{}
	for n := 0; n < 400; {
		b := next(t, f)
		for _, r := range b.Records {
			count[r.Origin.Object]++
		}
		if n += len(b.Records); b.Lost != nil {
			t.Fatalf("lost %v", b.Lost)
		}
	}
	for object, n := range count {
		if n != 10 {
			t.Errorf("%d records of %s", n, object)
		}
	}
	srv.Shutdown()
	srv.WaitForShutdown()
	done := make(chan error, 1)
	go func() { _, err := two.AppendOnce(t.Context(), "late", records(999, 10)); done <- err }()
	srv = start()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for {
		if b := next(t, f); len(b.Records) > 0 && b.Records[0].Origin.Object == "request-999" {
			break
		}
	}
}

// TestForeignStream: a stream that would drop what was accepted is refused.
func TestForeignStream(t *testing.T) {
	t.Parallel()
	o := Options{Dir: t.TempDir()}
	j := open(t, o)
	c := j.stream.CachedInfo().Config
	c.MaxAge = time.Hour
	if _, err := j.js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	closeIt(t, j)
	if j, err := Open(t.Context(), o); err == nil {
		_ = j.Close()
		t.Error("opened")
	} else if !strings.Contains(err.Error(), "another configuration") {
		t.Error(err)
	}
}

// TestKeeping: a follower that begins behind what it has not made durable yet does not let go of it, and a journal is
// known again by its identity.
func TestKeeping(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	o := Options{Dir: dir, RetainAge: -1, RetainBytes: -1, Followers: []string{"store"}}
	j := open(t, o)
	for i := range uint64(6) {
		appendAll(t, j, records(i, 1))
	}
	id := j.ID()
	f := follow(t, j, "store", After(4).Keeping(2))
	if b := next(t, f); b.Seq != 5 {
		t.Fatalf("begins at %d, want 5", b.Seq)
	}
	trim(t, j)
	if s := stats(t, j); s.First != 3 || s.Followers[0].Cursor != 2 {
		t.Errorf("keeps from %d, cursor %d; want 3 and 2", s.First, s.Followers[0].Cursor)
	}
	if err := f.Ack(t.Context(), 4); err != nil { // what it was given before
		t.Fatal(err)
	}
	trim(t, j)
	if s := stats(t, j); s.First != 5 {
		t.Errorf("keeps from %d, want 5", s.First)
	}
	closeIt(t, j)
	j = open(t, o)
	if got := j.ID(); got != id || id == "" {
		t.Errorf("known as %q, before as %q", got, id)
	}
	if c := stats(t, j).Followers[0].Cursor; c != 4 {
		t.Errorf("cursor %d after a restart, want 4", c)
	}
	if other := open(t, Options{Dir: t.TempDir()}); other.ID() == id {
		t.Errorf("two journals are both %s", id)
	}
}
