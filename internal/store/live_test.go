package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/intake"
	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/store/table"
)

// memFeed is a journal in memory.
type memFeed struct {
	id string

	mu      sync.Mutex // guards the rest
	batches []journal.Batch
	acked   uint64
	keep    uint64
	starts  []uint64
	changed chan struct{}
}

func newFeed(id string) *memFeed { return &memFeed{id: id, changed: make(chan struct{})} }

func (f *memFeed) ID() string { return f.id }

// add appends a batch of records and gives its sequence. Sequences have gaps.
func (f *memFeed) add(texts ...string) uint64 {
	records := make([]journal.Record, len(texts))
	for i, text := range texts {
		records[i] = journal.Record{Raw: []byte(text), Origin: journal.Origin{Source: "push", Object: "request", Offset: int64(i)}}
	}
	return f.addBatch(journal.Batch{Records: records})
}

func (f *memFeed) addBatch(b journal.Batch) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	b.Seq = 2
	if n := len(f.batches); n > 0 {
		b.Seq = f.batches[n-1].Seq + 1 + uint64(n%3)
	}
	b.Accepted = time.Now()
	f.batches = append(f.batches, b)
	close(f.changed)
	f.changed = make(chan struct{})
	return b.Seq
}

func (f *memFeed) Follow(_ context.Context, after, keep uint64) (Follower, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keep = keep
	f.starts = append(f.starts, after)
	return &memFollower{f, after}, nil
}

type memFollower struct {
	f  *memFeed
	at uint64
}

func (m *memFollower) Next(ctx context.Context) (journal.Batch, error) {
	for {
		m.f.mu.Lock()
		i, _ := slices.BinarySearchFunc(m.f.batches, m.at+1, func(b journal.Batch, seq uint64) int { return int(int64(b.Seq) - int64(seq)) })
		changed := m.f.changed
		if i < len(m.f.batches) {
			b := m.f.batches[i]
			m.f.mu.Unlock()
			m.at = b.Seq
			return b, nil
		}
		m.f.mu.Unlock()
		select {
		case <-ctx.Done():
			return journal.Batch{}, ctx.Err()
		case <-changed:
		}
	}
}

func (m *memFollower) Ack(_ context.Context, seq uint64) error {
	m.f.mu.Lock()
	defer m.f.mu.Unlock()
	m.f.acked = max(m.f.acked, seq)
	return nil
}

func (m *memFollower) Close() {}

// eventText is a record of about half a kilobyte, told by n, at a time; "" for none.
func eventText(n int, at string) string {
	return fmt.Sprintf(`{"eventVersion":"1.10","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/u%d","accountId":"111122223333"},"eventTime":%q,"eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-central-1","sourceIPAddress":"192.0.2.%d","requestParameters":{"bucketName":"b","key":"k%d"},"responseElements":null,"requestID":"R%d","eventID":"%08x-0000-4000-8000-000000000000","readOnly":true,"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"111122223333","eventCategory":"Data"}`,
		n%7, at, n%250, n, n, n)
}

func dayText(n, day int) string {
	return eventText(n, time.Date(2026, 1, 1, n%24, n%60, 0, 0, time.UTC).AddDate(0, 0, day).Format(time.RFC3339))
}

// running is a store that follows a feed.
type running struct {
	t    testing.TB
	s    *Store
	l    *Live
	stop func()
}

// quiet publishes at once, and flushes when it is told to.
func quiet() LiveOptions {
	return LiveOptions{FlushRows: 1 << 40, MaxHotRows: 1 << 50, FlushInterval: 1000 * time.Hour, Publish: time.Millisecond, Grace: -1}
}

func follow(t testing.TB, dir string, feed Feed, o LiveOptions) *running {
	t.Helper()
	so := Options{Wait: 20 * time.Second}
	s, err := Open(t.Context(), dir, so)
	if errors.Is(err, ErrNoStore) {
		s, err = Create(t.Context(), dir, so)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Follow(t.Context(), feed, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	r := &running{t: t, s: s, l: l}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-done, l.Close(), s.Close()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

func (r *running) wait(seq uint64) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	if err := r.l.Wait(ctx, seq); err != nil {
		r.t.Fatalf("%v; %+v", err, r.l.Stats())
	}
}

func (r *running) flush() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 30*time.Second)
	defer cancel()
	if err := r.l.Flush(ctx); err != nil {
		r.t.Fatalf("%v; %+v", err, r.l.Stats())
	}
}

// holds says that the answer from a store has these records, each once, however it is read, and that it verifies.
func holds(t testing.TB, dir string, want []string) {
	t.Helper()
	s, err := Open(t.Context(), dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() // was only read
	want = slices.Sorted(slices.Values(want))
	if got := records(t, s.Source(Filter{}), source.Selection{}); !slices.Equal(got, want) {
		t.Fatalf("the store has %d records, want %d", len(got), len(want))
	}
	var out strings.Builder
	if _, err := s.Export(t.Context(), ExportOptions{Lines: &out}); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if slices.Sort(lines); len(want) > 0 && !slices.Equal(lines, want) {
		t.Fatalf("%d records are exported, want %d", len(lines), len(want))
	}
	v, err := s.Verify(t.Context(), VerifyOptions{Deep: true})
	if err != nil || !v.OK() || v.Rows+v.HotRows != int64(len(want)) {
		t.Fatalf("verify: %+v, %v", v, err)
	}
	st, err := s.Status(t.Context(), false)
	if err != nil || st.Rows+st.Hot.Rows != int64(len(want)) || len(st.Damaged) > 0 {
		t.Fatalf("status: %+v, %v", st, err)
	}
}

func texts(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, dayText(i, i%3))
	}
	return out
}

// TestLive: what is accepted is in answers before it is in data files, once, across batches that are given again, flushes
// and restarts.
func TestLive(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	feed := newFeed("j1")
	r := follow(t, dir, feed, quiet())
	want := texts(0, 20)
	r.wait(feed.add(want[:10]...))
	holds(t, dir, want[:10])
	feed.add(want[5:15]...)                 // five of them again
	r.wait(feed.add(want[10:]...))          // and five of those
	r.wait(feed.add(want[0], want[0]))      // nothing new
	untimed := eventText(1000, "yesterday") // has no time
	twin := dayText(3, 40)                  // the same eventID at another time: another event
	early := eventText(1001, "1969-01-01T00:00:00Z")
	seq := feed.add(untimed, twin, early, untimed)
	want = append(want, untimed, twin, early)
	r.wait(seq)
	holds(t, dir, want)
	if st := r.l.Stats(); st.HotRows != 23 || st.Duplicates != 13 || st.Committed != 0 || st.Published != seq || feed.acked != 0 {
		t.Errorf("%+v, acknowledged %d", st, feed.acked)
	}
	p, err := r.s.Plan(t.Context(), Filter{Since: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)})
	if err != nil || len(p.Files) == 0 || len(p.Damaged) > 0 || !slices.ContainsFunc(p.Files, func(f table.File) bool { return isHot(f.Name) }) {
		t.Fatalf("%+v, %v", p, err)
	}
	r.flush()
	holds(t, dir, want)
	if st := r.l.Stats(); st.HotRows != 0 || st.Committed != seq || feed.acked != seq {
		t.Errorf("%+v, acknowledged %d", st, feed.acked)
	}
	// The plan that was made before the flush can still be read.
	for _, f := range p.Files {
		if what := looks(f); what != "" {
			t.Errorf("%s, which a plan holds: %s", f.Name, what)
		}
	}
	p.Release()
	r.l.removeRetired()
	if left := hotNames(t, dir); !slices.Equal(left, []string{hotManifest}) {
		t.Errorf("left in the folder of hot files: %v", left)
	}
	// Segments and hot rows are both looked at.
	more := texts(2000, 2010)
	r.wait(feed.add(append(more, want...)...))
	want = append(want, more...)
	holds(t, dir, want)
	r.stop()
	holds(t, dir, want)

	// Hot rows are taken over: nothing is read again that is there.
	last := feed.batches[len(feed.batches)-1].Seq
	r = follow(t, dir, feed, quiet())
	if at := feed.starts[len(feed.starts)-1]; at != last || feed.keep != seq {
		t.Errorf("followed from %d, keeping %d; want %d and %d", at, feed.keep, last, seq)
	}
	r.wait(feed.add(append(texts(3000, 3001), want...)...))
	want = append(want, texts(3000, 3001)...)
	holds(t, dir, want)
	if st := r.l.Stats(); st.Kept != 1 || st.HotRows != 11 {
		t.Errorf("%+v", st)
	}
	r.flush()
	holds(t, dir, want)
	r.stop()

	// Another journal is read from its beginning, and a store follows one at a time.
	other := newFeed("j2")
	other.add(want[:7]...)
	other.add(texts(4000, 4002)...)
	r = follow(t, dir, other, quiet())
	if _, err := r.s.Follow(t.Context(), other, quiet()); err == nil {
		t.Error("followed twice")
	}
	if _, err := r.s.Ingest(t.Context(), IngestOptions{}); err == nil {
		t.Error("ingested while it follows")
	}
	r.wait(other.batches[1].Seq)
	want = append(want, texts(4000, 4002)...)
	holds(t, dir, want)
	r.stop()
	// And the first one again: the other one's hot rows stay.
	r = follow(t, dir, feed, quiet())
	r.wait(feed.add(texts(5000, 5001)...))
	want = append(want, texts(5000, 5001)...)
	r.flush()
	holds(t, dir, want)
}

// hotNames are the files in the hot folder.
func hotNames(t testing.TB, dir string) (out []string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, hotDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// TestLiveDamage: hot files and lists of them that are not what was written are made again from the journal, before a
// start and while it runs; readers say what they miss meanwhile.
func TestLiveDamage(t *testing.T) {
	t.Parallel()
	for _, what := range []string{"*.parquet", "*.ids", "*.ledger.json.gz", hotManifest} {
		for _, how := range []string{"flip", "cut", "gone"} {
			if what == hotManifest && how == "gone" {
				continue // then there are no hot files
			}
			t.Run(strings.Trim(what, "*.")+" "+how, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(t.TempDir(), "store")
				feed := newFeed("j")
				r := follow(t, dir, feed, quiet())
				want := texts(0, 30)
				r.wait(feed.add(want[:5]...))
				r.flush()
				for i := 5; i < 30; i += 5 {
					r.wait(feed.add(want[i : i+5]...))
				}
				r.stop()
				spoil(t, dir, what, how)
				s, err := Open(t.Context(), dir, Options{ReadOnly: true})
				if err != nil {
					t.Fatal(err)
				}
				if v, err := s.Verify(t.Context(), VerifyOptions{}); err != nil || v.OK() {
					t.Errorf("verify sees nothing: %+v, %v", v, err)
				}
				if p, err := s.Plan(t.Context(), Filter{}); err != nil || (what == hotManifest || what == "*.parquet" && how != "flip") != (len(p.Damaged) == 1) {
					t.Errorf("plan: %+v, %v", p, err)
				}
				r = follow(t, dir, feed, quiet())
				r.wait(feed.batches[len(feed.batches)-1].Seq)
				holds(t, dir, want)
				if st := r.l.Stats(); st.Rebuilt == 0 {
					t.Errorf("%+v", st)
				}
				if what == hotManifest || what == "*.ids" { // is not read while it runs
					return
				}
				spoil(t, dir, what, how)
				r.flushDamaged()
				r.wait(feed.batches[len(feed.batches)-1].Seq)
				r.flush()
				holds(t, dir, want)
				if st := r.l.Stats(); st.Committed != feed.acked || st.HotRows != 0 {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

// flushDamaged flushes what turns out to be damaged.
func (r *running) flushDamaged() {
	r.t.Helper()
	if err := r.l.Flush(r.t.Context()); err == nil {
		r.t.Error("what is damaged was flushed")
	}
}

// spoil damages one of the hot files of a kind that the manifest names.
func spoil(t *testing.T, dir, what, how string) {
	t.Helper()
	m, err := readManifest(dir)
	if err != nil || len(m.Files) < 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	path := filepath.Join(dir, hotDir, strings.Replace(what, "*", m.Files[2].Name, 1))
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	switch how {
	case "flip":
		b[len(b)/2] ^= 0x20
	case "cut":
		b = b[:len(b)/2]
	case "gone":
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestLiveFaults: a step that fails is tried again; what was accepted is in the answer once, whatever fails, and nothing is
// acknowledged that is not in data files.
func TestLiveFaults(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"hot file", "hot ledger", "hot manifest", "flush merge", "flush commit"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "store")
			feed := newFeed("j")
			o := quiet()
			var mu sync.Mutex
			left := 0
			o.fault = func(s string) error {
				mu.Lock()
				defer mu.Unlock()
				if s != step || left == 0 {
					return nil
				}
				left--
				return errors.New("no space left on device")
			}
			r := follow(t, dir, feed, o)
			var want []string
			var seq uint64
			for i := range 3 {
				mu.Lock()
				left = 2
				mu.Unlock()
				part := texts(i*10, i*10+10)
				seq = feed.add(part...)
				want = append(want, part...)
				r.wait(seq)
				holds(t, dir, want)
				for try := 0; ; try++ {
					if err := r.l.Flush(t.Context()); err == nil {
						break
					} else if try == 4 {
						t.Fatal(err)
					}
					if feed.acked >= seq {
						t.Error("acknowledged what is not committed")
					}
				}
				holds(t, dir, want)
			}
			if st := r.l.Stats(); feed.acked != seq || st.Failures == 0 || st.HotRows != 0 {
				t.Errorf("acknowledged %d of %d; %+v", feed.acked, seq, st)
			}
		})
	}
}

// TestLiveLimits: nothing is taken beyond the most hot rows until a flush has ended; many hot files are merged; rows of
// many days wait for more of them.
func TestLiveLimits(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	feed := newFeed("j")
	o := quiet()
	o.MaxHotRows, o.Grace = 200, time.Hour
	blocked := make(chan struct{})
	o.fault = func(step string) error {
		if step == "flush merge" {
			<-blocked
		}
		return nil
	}
	r := follow(t, dir, feed, o)
	var want []string
	var seqs []uint64
	for i := range 60 {
		part := texts(i*10, i*10+10)
		want = append(want, part...)
		seqs = append(seqs, feed.add(part...))
		if i < 20 {
			r.wait(seqs[i])
		}
	}
	for r.l.Stats().Full == false { // set before the next batch is taken
		time.Sleep(time.Millisecond)
	}
	if st := r.l.Stats(); st.HotRows != 200 || st.Taken != seqs[19] || st.HotFiles > hotFilesMost+1 {
		t.Errorf("%+v", st)
	}
	holds(t, dir, want[:200])
	close(blocked)
	r.wait(seqs[59])
	holds(t, dir, want)
	r.flush()
	holds(t, dir, want)
	r.stop()

	o = quiet()
	o.Grace = time.Hour
	r = follow(t, dir, feed, o)
	for i := range 100 {
		part := texts(10_000+i, 10_001+i)
		want = append(want, part...)
		r.wait(feed.add(part...))
	}
	if st := r.l.Stats(); st.Merges == 0 || st.HotFiles > hotFilesMost+2 || st.HotRows != 100 {
		t.Errorf("%+v", st)
	}
	holds(t, dir, want)
	r.flush()
	holds(t, dir, want)
}

// TestFlushDue: what is flushed when.
func TestFlushDue(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		rows int64
		days int
		age  time.Duration
		full bool
		want bool
	}{
		{rows: 499_999, days: 1, age: time.Minute},
		{rows: 500_000, days: 1, want: true},
		{rows: 1, days: 1, age: 5 * time.Minute, want: true},
		{rows: 1, days: 4, age: 5 * time.Minute, want: true},
		{rows: 500_000, days: 365, age: time.Minute},
		{rows: 365 * dayRows, days: 365, want: true},
		{rows: 365 * fewRows, days: 365, age: 5 * time.Minute, want: true},
		{rows: 365*fewRows - 1, days: 365, age: 59 * time.Minute},
		{rows: 365*fewRows - 1, days: 365, age: time.Hour, want: true},
		{rows: 2_000_000, days: 4096, want: true},
		{rows: 1, days: 4096, full: true, want: true},
	} {
		l := &Live{o: LiveOptions{FlushRows: 500_000, FlushInterval: 5 * time.Minute, MaxHotRows: 4_000_000, Now: func() time.Time { return now }},
			files: []*liveFile{{hotFile: hotFile{Rows: c.rows, Days: c.days, Published: now.Add(-c.age)}}}}
		l.stats.Full = c.full
		if got := l.flushDue(); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if (&Live{}).flushDue() {
		t.Error("nothing is flushed")
	}
}

// TestLiveOdd: records that cannot be read are kept aside, losses of the journal are counted and named, and large records
// go through.
func TestLiveOdd(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	feed := newFeed("a journal/of ours")
	r := follow(t, dir, feed, quiet())
	big := eventText(7, "2026-01-01T00:00:00Z")
	big = strings.Replace(big, `"key":"k7"`, `"key":"`+strings.Repeat("x", 20<<20)+`"`, 1)
	want := []string{big, dayText(1, 0)}
	feed.add(want[0], `{"eventID":`, "", want[1])
	r.wait(feed.addBatch(journal.Batch{Lost: []journal.Lost{{First: 3, Last: 5}, {First: 7, Last: 7}}}))
	if st := r.l.Stats(); st.Rejected != 2 || st.Lost != 4 || st.Kept != 2 || st.Records != 4 {
		t.Errorf("%+v", st)
	}
	rejects, err := filepath.Glob(filepath.Join(dir, rejectsDir, "*"))
	if err != nil || len(rejects) != 1 || filepath.Base(rejects[0]) != "a_journal_of_ours-00000000000000000002.jsonl" {
		t.Fatalf("%v, %v", rejects, err)
	}
	if b, err := os.ReadFile(rejects[0]); err != nil || strings.Count(string(b), "\n") != 2 || !strings.Contains(string(b), `{\"eventID\":`) {
		t.Errorf("%s, %v", b, err)
	}
	holds(t, dir, want)
	r.flush()
	holds(t, dir, want)
	st, err := r.s.Status(t.Context(), false)
	if err != nil || st.Ledger.Records.Rejected != 2 || st.Ledger.Objects.Failed != 2 || st.Ledger.Records.Seen != 4 || !st.Ledger.Balanced {
		t.Errorf("%+v, %v", st, err)
	}
	if f := st.Ledger.Failures; len(f) != 2 || !strings.Contains(f[0].Object, "3-5") {
		t.Errorf("%+v", f)
	}
	if st.Hot.Journal != feed.id || st.Hot.Committed != feed.acked || len(st.Runs) != 1 || st.Runs[0].Records.Kept != 2 {
		t.Errorf("%+v", st)
	}
}

// TestLiveReaders: plans that are made all the time while rows are published, merged, flushed and compacted have every
// record once that was published before, in this process and as another one would see it.
func TestLiveReaders(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "store")
	feed := newFeed("j")
	r := follow(t, dir, feed, quiet())
	other, err := Open(t.Context(), dir, Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var wg sync.WaitGroup
	var mu sync.Mutex
	published := 0
	done := make(chan struct{})
	for _, s := range []*Store{r.s, other} {
		wg.Go(func() {
			for {
				mu.Lock()
				atLeast := published
				mu.Unlock()
				src := s.Source(Filter{})
				g, led := collect(t, src)
				if err := src.Close(); err != nil {
					t.Error(err)
				}
				seen := map[string]bool{}
				for _, text := range g {
					if seen[text] {
						t.Errorf("twice: %s", text)
					}
					seen[text] = true
				}
				// A reader without a lease may find that a file is gone; then it says so.
				if len(seen) < atLeast && !led {
					t.Errorf("%d records, %d were published", len(seen), atLeast)
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	n := 0
	for i := range 60 {
		k := 1 + rnd.IntN(20)
		var part []string
		for range k {
			part = append(part, dayText(n, n%3))
			n++
		}
		r.wait(feed.add(part...))
		mu.Lock()
		published = n
		mu.Unlock()
		if i%7 == 6 {
			r.flush()
		}
		if i%20 == 19 {
			if _, err := r.s.Compact(t.Context(), CompactOptions{Closed: -1}); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	wg.Wait()
	if st := r.l.Stats(); st.Flushes == 0 {
		t.Errorf("%+v", st)
	}
	r.stop()
	var want []string
	for i := range n {
		want = append(want, dayText(i, i%3))
	}
	holds(t, dir, want)
}

// collect reads all records, and reports whether something could not be read.
func collect(t testing.TB, src source.Source) (raw []string, damaged bool) {
	g := &gather{}
	led := ledger.New()
	if err := intake.Run(t.Context(), intake.Options{Sources: []source.Source{src}, Ledger: led, Workers: 1}, func() (intake.Worker, error) { return g, nil }); err != nil {
		t.Error(err)
	}
	return g.raw, !led.Report().Complete()
}
