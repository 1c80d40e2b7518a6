package poll

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spoor/internal/source"
	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
)

// bucket is a bucket in memory. It lists in no order.
type bucket struct {
	mu       sync.Mutex
	objects  map[string][]byte
	modified map[string]time.Time
	fail     func(op, key string) error
	lists    int // whole listings
	folders  int // prefixes listed
	opened   map[string]int
}

func newBucket() *bucket {
	return &bucket{objects: map[string][]byte{}, modified: map[string]time.Time{}, opened: map[string]int{}}
}

func (b *bucket) put(key string, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[key], b.modified[key] = data, time.Now()
}

func (b *bucket) list(prefixes []string, sel source.Selection, visit func(source.Object, string) error) error {
	b.mu.Lock()
	var objs []source.Object
	for key, data := range b.objects {
		for _, p := range prefixes {
			if strings.HasPrefix(key, p) {
				objs = append(objs, source.Object{Name: "s3://b/" + key, Size: int64(len(data)), ETag: fmt.Sprintf("%x", data[max(len(data)-8, 0):]),
					Modified: b.modified[key], Place: source.ParseKey(key)})
			}
		}
	}
	b.mu.Unlock()
	rand.Shuffle(len(objs), func(i, k int) { objs[i], objs[k] = objs[k], objs[i] })
	for i, obj := range objs {
		if b.fail != nil && i == len(objs)/2 {
			if err := b.fail("list", ""); err != nil {
				return err
			}
		}
		if err := visit(obj, sel.Skip(obj.Place)); err != nil {
			return err
		}
	}
	return nil
}

func (b *bucket) List(_ context.Context, sel source.Selection, visit func(source.Object, string) error) error {
	b.mu.Lock()
	b.lists++
	b.mu.Unlock()
	return b.list([]string{""}, sel, visit)
}

func (b *bucket) ListFolders(_ context.Context, prefixes []string, sel source.Selection, visit func(source.Object, string) error) error {
	b.mu.Lock()
	b.folders += len(prefixes)
	b.mu.Unlock()
	return b.list(prefixes, sel, visit)
}

func (b *bucket) Parallel() int { return 1 }

func (b *bucket) Open(_ context.Context, obj source.Object, read func(source.Object, io.Reader) error) error {
	key := strings.TrimPrefix(obj.Name, "s3://b/")
	b.mu.Lock()
	data, ok := b.objects[key]
	b.opened[key]++
	b.mu.Unlock()
	if b.fail != nil {
		if err := b.fail("open", key); err != nil {
			return err
		}
	}
	if !ok {
		return errors.New("there is no such object")
	}
	return read(obj, strings.NewReader(string(data)))
}

type polled struct {
	*testing.T
	b     *bucket
	kept  *livetest.Kept
	state string
	src   *Source
	stop  func()
}

// today is the day of the tests as the keys have it.
const today = 10

func poll(t *testing.T, b *bucket) *polled {
	p := &polled{T: t, b: b, kept: &livetest.Kept{}, state: t.TempDir()}
	// Virtual time begins in 2000; the keys are of 2026.
	time.Sleep(time.Until(time.Date(2026, 1, today, 12, 0, 0, 0, time.UTC)))
	return p
}

func (p *polled) start(change func(*Options)) {
	p.Helper()
	o := Options{Options: live.Options{Name: "bucket", Dir: p.state, Accept: p.kept, Workers: 3}, Bucket: "b"}
	if change != nil {
		change(&o)
	}
	src, err := open(o, p.b)
	if err != nil {
		p.Fatal(err)
	}
	p.src = src
	ctx, cancel := context.WithCancel(p.Context())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx) }()
	p.stop = func() {
		p.Helper()
		cancel()
		if err := <-done; err != nil {
			p.Errorf("run: %v", err)
		}
		if err := src.Close(); err != nil {
			p.Errorf("close: %v", err)
		}
	}
}

func (p *polled) after(d time.Duration, want string) {
	p.Helper()
	time.Sleep(d)
	synctest.Wait()
	if got := strings.Join(p.kept.IDs(), " "); got != want {
		p.Errorf("accepted %q, want %q; %+v", got, want, p.src.Stats())
	}
	r, err := p.src.Ledger(time.Time{})
	if err != nil || !r.Balanced {
		p.Errorf("ledger: %v, %v", r.Problems, err)
	}
}

func TestPoll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket()
		p := poll(t, b)
		b.put(livetest.Key(1, "old"), livetest.Log("a"))
		b.put(livetest.Key(today, "m"), livetest.Log("b"))
		digest := "AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/2026/01/10/111122223333_CloudTrail-Digest_eu-central-1_t_eu-central-1_20260110T100000Z.json.gz"
		b.put(digest, []byte("{}"))
		p.start(nil)
		p.after(time.Second, "a b")
		b.put(livetest.Key(today, "z"), livetest.Log("c"))
		p.after(time.Minute, "a b c")
		b.put(livetest.Key(today, "a"), livetest.Log("d")) // before what is there
		p.after(time.Minute, "a b c d")
		b.put(livetest.Key(today-1, "late"), livetest.Log("e"))
		p.after(time.Minute, "a b c d e")
		b.put(livetest.Key(today-5, "later"), livetest.Log("f")) // within Lookback
		p.after(16*time.Minute, "a b c d e f")
		b.put(livetest.Key(2, "latest"), livetest.Log("g")) // beyond it
		p.after(25*time.Hour, "a b c d e f g")
		b.put(livetest.Key(today, "z"), livetest.Log("h")) // replaced; that day is not of yesterday any more
		p.after(16*time.Minute, "a b c d e f g h")
		b.put(strings.ReplaceAll(livetest.Key(today+1, "n"), "eu-central-1", "eu-west-1"), livetest.Log("i")) // a new Region
		p.after(16*time.Minute, "a b c d e f g h i")
		p.stop()
		r, err := p.src.Ledger(time.Time{})
		if err != nil || r.Objects.Read != 9 || r.Objects.Skipped != 1 || r.Records.Kept != 9 {
			t.Errorf("ledger %+v %+v, %v", r.Objects, r.Records, err)
		}
		// Nothing is read again by the next process.
		p.start(nil)
		p.after(26*time.Hour, "a b c d e f g h i")
		p.stop()
		for key, n := range b.opened {
			if want := map[bool]int{true: 2, false: 1}[key == livetest.Key(today, "z")]; n != want {
				t.Errorf("%s was read %d times", key, n)
			}
		}
		if b.opened[digest] != 0 {
			t.Error("the digest was read")
		}
	})
}

// An hour of looking at one Region is two requests a minute, and not the whole bucket each time.
func TestFewRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket()
		p := poll(t, b)
		for day := 1; day <= today; day++ {
			for i := range 50 {
				b.put(livetest.Key(day, fmt.Sprint(i)), livetest.Log(fmt.Sprintf("%02d-%02d", day, i)))
			}
		}
		p.start(func(o *Options) { o.MaxIDs = 100 }) // ids do not all fit into memory
		defer func() { p.stop() }()
		time.Sleep(time.Hour + time.Second)
		synctest.Wait()
		if n := len(p.kept.IDs()); n != 50*today || len(p.kept.Distinct()) != n {
			t.Errorf("%d records, %d different", n, len(p.kept.Distinct()))
		}
		if b.lists < 3 || b.lists > 6 || b.folders > 2*60 || b.folders < 100 {
			t.Errorf("%d whole listings, %d folders listed", b.lists, b.folders)
		}
		p.src.seen.mu.Lock()
		defer p.src.seen.mu.Unlock()
		if p.src.seen.loaded > 200 {
			t.Errorf("%d ids in memory", p.src.seen.loaded)
		}
	})
}

// Outside of the layout everything is listed each time.
func TestLoose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket()
		p := poll(t, b)
		p.start(nil)
		defer func() { p.stop() }()
		p.after(time.Minute, "")
		b.put("some/where/b.json", livetest.Log("a"))
		p.after(time.Minute, "a")
		b.put("some/where/a.json", livetest.Log("b"))
		b.put("readme.txt", []byte("hello"))
		p.after(time.Minute, "a b")
		b.put("x.json", livetest.Log("c"))
		p.after(time.Minute, "a b c")
		if n := b.opened["readme.txt"]; n != 1 {
			t.Errorf("what is no log was read %d times", n)
		}
	})
}

func TestBrokenObjects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket()
		p := poll(t, b)
		cut, good := livetest.Key(1, "cut"), livetest.Key(today, "good")
		b.put(cut, livetest.Log("a", "b")[:60])
		b.put(good, livetest.Log("c"))
		b.put(livetest.Key(today, "text"), []byte("hello"))
		p.start(func(o *Options) { o.MaxTries = 3 })
		defer func() { p.stop() }()
		p.after(30*time.Minute, "c")
		letters, err := p.src.Dead("", 10)
		if err != nil || len(letters) != 2 || letters[0].Attempts != 3 || b.opened[cut] != 3 {
			t.Fatalf("letters %+v, %v; read %d times", letters, err, b.opened[cut])
		}
		p.after(26*time.Hour, "c") // not tried again by itself
		if b.opened[cut] != 3 {
			t.Errorf("read %d times", b.opened[cut])
		}
		if r, err := p.src.Ledger(time.Time{}); err != nil || r.Objects.Failed != 2 || r.Objects.Read != 1 {
			t.Errorf("ledger %+v, %v", r.Objects, err)
		}
		b.put(cut, livetest.Log("a", "b"))
		for _, l := range letters {
			if err := p.src.Replay(t.Context(), l.ID); (err == nil) != strings.Contains(l.Object, "cut") {
				t.Errorf("replay %s: %v", l.Object, err)
			}
		}
		if fmt.Sprint(p.kept.Distinct()) != "[a b c]" || p.src.Stats().DeadLetters != 1 {
			t.Errorf("accepted %v", p.kept.IDs())
		}
		if _, err := p.src.Letter("../../../etc/passwd"); !errors.Is(err, live.ErrNoLetter) {
			t.Errorf("a letter that is a path: %v", err)
		}
	})
}

type serverError struct{}

func (serverError) Error() string        { return "SlowDown" }
func (serverError) RetryableError() bool { return true }

// A store that throttles and breaks off listings delays, and loses nothing.
func TestTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket()
		p := poll(t, b)
		over := time.Now().Add(3 * time.Hour)
		b.fail = func(op, key string) error {
			if time.Now().Before(over) && (op == "open" || rand.IntN(2) == 0) {
				return serverError{}
			}
			return nil
		}
		for i := range 20 {
			b.put(livetest.Key(1+i%today, fmt.Sprint(i)), livetest.Log(fmt.Sprintf("%02d", i)))
		}
		p.start(func(o *Options) { o.MaxTries = 1 })
		defer func() { p.stop() }()
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		if n := len(p.kept.IDs()); n != 20 || p.src.Stats().DeadLetters != 0 || p.src.Stats().Errors == 0 {
			t.Errorf("%d records; %+v", n, p.src.Stats())
		}
	})
}

// Killed between durable and known: read again, and counted once in the ledger.
func TestKilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBucket()
		p := poll(t, b)
		b.put(livetest.Key(today, "x"), livetest.Log("a"))
		p.start(func(o *Options) { o.Checkpoint = 30 * time.Second })
		p.after(31*time.Second, "a")
		b.put(livetest.Key(today, "y"), livetest.Log("b"))
		p.after(31*time.Second, "a b")
		killed := t.TempDir()
		b.put(livetest.Key(today, "z"), livetest.Log("c"))
		p.after(59*time.Second, "a b c")
		if err := os.CopyFS(killed, os.DirFS(p.state)); err != nil {
			t.Fatal(err)
		}
		// Bytes that were written, but not together with a ledger.
		f, err := os.OpenFile(filepath.Join(killed, "seen", "2026-01-10"), os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(make([]byte, 23)); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		p.stop()
		p.state = killed
		p.start(nil)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		p.stop()
		if got := fmt.Sprint(p.kept.Distinct()); got != "[a b c]" {
			t.Errorf("accepted %s", got)
		}
		if r, err := p.src.Ledger(time.Time{}); err != nil || r.Objects.Read != 3 || r.Records.Kept != 3 {
			t.Errorf("ledger %+v %+v, %v", r.Objects, r.Records, err)
		}
		n := len(p.kept.IDs())
		p.start(nil)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		p.stop()
		if len(p.kept.IDs()) != n {
			t.Errorf("read again: %v", p.kept.IDs())
		}
	})
}
