package delivery

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spoor/internal/blob"
	"spoor/internal/journal"
	"spoor/internal/trail"
)

// story is a world with trails that change while events come, and what must come of it.
type story struct {
	*world
	n    int
	want map[string]int // by the place of the folder AWSLogs, and id
	now  map[string]trail.Trail
	is   map[string]trail.Settings
}

func newStory(t testing.TB) *story {
	return &story{world: newWorld(t), want: map[string]int{}, now: map[string]trail.Trail{}, is: map[string]trail.Settings{}}
}

func (s *story) set(t trail.Trail, to trail.Settings) {
	s.now[t.ARN], s.is[t.ARN] = t, to
	s.change(t, to)
}

// events accepts entries with events of all kinds, and notes who must get them.
func (s *story) events(entries, each int) {
	for range entries {
		var list []journal.Record
		for range each {
			k := kinds[s.n%len(kinds)]
			list = append(list, k.record(s.n))
			for arn, t := range s.now {
				if set := s.is[arn]; takes(t, set, k) {
					s.want[fmt.Sprintf("%s/%s/ id-%d", set.Bucket, set.Prefix, s.n)]++
				}
			}
			s.n++
		}
		s.accept(list...)
	}
}

// check compares what lies in the buckets with what must be there, when nothing is left to do.
func (s *story) check(d *Delivery) found {
	t := s.t
	t.Helper()
	f := s.look()
	same(t, "event", f.events, s.want)
	if left := s.spool(); len(left) > 0 {
		t.Errorf("left in the spool: %q", left)
	}
	if d != nil {
		for _, st := range d.Stats().Trails {
			if st.PendingFiles != 0 || st.PendingBytes != 0 || st.PendingDigests != 0 || st.PendingNotices != 0 {
				t.Errorf("left to do: %+v", st)
			}
		}
		if d.Stats().Spool != 0 {
			t.Errorf("the spool has %d bytes", d.Stats().Spool)
		}
	}
	return f
}

// all is settings that take management events from everywhere, with digests, a key and a topic.
func all(bucket, prefix string) trail.Settings {
	return trail.Settings{Logging: true, Bucket: bucket, Prefix: prefix, Validation: true, MultiRegion: true, GlobalServiceEvents: true,
		KMSKey: "arn:aws:kms:eu-central-1:111122223333:key/k", Topic: "arn:aws:sns:eu-central-1:111122223333:topic"}
}

// play is a story of about two hours: three trails, one of an organisation, which are changed, stopped, started, moved and deleted.
func (s *story) play(at func(step int)) {
	a := named("a")
	o := named("o", mine, other)
	o.OrganizationID = "o-abcdef1234"
	w := named("w")
	aSet, wSet := all("one", "a"), writes.settings(trail.Settings{Logging: true, Bucket: "one", Prefix: "w", GlobalServiceEvents: true})
	oSet := data.settings(all("two", "o"))
	oSet.Organization, oSet.Topic, oSet.KMSKey = true, "", ""
	steps := []func(){
		func() { s.events(2, 9); s.set(a, aSet); s.events(2, 9) },
		func() { s.set(w, wSet); s.events(3, 20) },
		func() { s.set(o, oSet); s.events(1, 40) },
		func() { s.events(0, 0) },
		func() { aSet.Bucket = "three"; s.set(a, aSet); s.events(2, 9) },
		func() { wSet.Logging = false; s.set(w, wSet); s.events(1, 9) },
		func() {
			off := aSet
			off.Logging = false
			s.set(a, off)
			s.events(1, 9)
			s.set(a, aSet)
			s.events(1, 18)
		},
		func() { oSet.Basic, oSet.Advanced = nil, nil; s.set(o, oSet); s.events(2, 18) },
		func() {
			gone := w
			gone.Deleted = true
			s.set(gone, wSet)
			s.events(1, 9)
		},
		func() { aSet.Validation = false; s.set(a, aSet); s.events(1, 9) },
		func() { off := oSet; off.Logging = false; s.set(o, off) },
		func() {},
	}
	for i, step := range steps {
		step()
		time.Sleep(7*time.Minute + 500*time.Millisecond)
		synctest.Wait()
		at(i)
	}
	time.Sleep(90 * time.Minute)
	synctest.Wait()
}

func TestDelivery(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		r := s.start()
		s.play(func(int) {})
		f := s.check(r.Delivery)
		s.inDigestsOfPlay(f)
		st := r.Status(arnOf("a"), home)
		if st.LatestDelivery.IsZero() || st.LatestDeliveryError != "" || st.LatestNotification.IsZero() || st.LatestDigestDelivery.IsZero() {
			t.Errorf("status %+v", st)
		}
		s.notices(f)
		if s.told < s.last() {
			t.Errorf("the book was told of %d, the journal has %d", s.told, s.last())
		}
		if got := r.Stats(); got.Records == 0 || got.Undecodable != 0 || got.Unplaced != 0 || got.Lost != 0 || got.Reached != s.last() {
			t.Errorf("stats %+v", got)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
		if s.cursor != s.last() {
			t.Errorf("acknowledged %d, the journal has %d", s.cursor, s.last())
		}
		if logs, _ := os.ReadDir(filepath.Join(s.dir, trailsDir)); len(logs) != 2 {
			t.Errorf("%d logs of trails, there are 2 trails", len(logs))
		}
	})
}

// inDigestsOfPlay checks which files of a play are in digests: those of a that were delivered while validation was on, and those of o.
func (s *story) inDigestsOfPlay(f found) {
	s.t.Helper()
	for name := range f.files {
		n := f.listed[name]
		switch {
		case strings.HasPrefix(name, "one/w/"):
			if n != 0 {
				s.t.Errorf("%s is in %d digests", name, n)
			}
		case strings.HasPrefix(name, "one/a/"), strings.HasPrefix(name, "two/o/"):
			if n != 1 {
				s.t.Errorf("%s is in %d digests", name, n)
			}
		case n > 1:
			s.t.Errorf("%s is in %d digests", name, n)
		}
	}
	unlisted := 0
	for name := range f.files {
		if strings.HasPrefix(name, "three/a/") && f.listed[name] == 0 {
			unlisted++
		}
	}
	if unlisted == 0 || unlisted > 3 { // of the entry after validation ended: two or three Regions
		s.t.Errorf("%d files of a trail without validation are in no digest", unlisted)
	}
	starts, ends := 0, map[string]int{}
	for _, d := range f.digests {
		if d.Previous == nil && strings.Contains(d.Object, "_a_") {
			starts++
		}
		ends[d.Object]++
	}
	for k, n := range ends {
		if n != 1 {
			s.t.Errorf("%d digests have the key %s", n, k)
		}
	}
	if starts < 4 { // two runs, in two Regions at least
		s.t.Errorf("%d chains of trail a begin", starts)
	}
}

// notices checks that each file of a trail with a topic was told once.
func (s *story) notices(f found) {
	s.t.Helper()
	told, want := map[string]int{}, map[string]int{}
	for _, body := range s.topics["arn:aws:sns:eu-central-1:111122223333:topic"] {
		rest, ok := strings.CutPrefix(body, `{"s3Bucket":"`)
		bucket, rest, ok2 := strings.Cut(rest, `","s3ObjectKey":["`)
		rest, ok3 := strings.CutSuffix(rest, `"]}`)
		if !ok || !ok2 || !ok3 {
			s.t.Errorf("notice %s", body)
		}
		for _, k := range strings.Split(rest, `","`) {
			told[bucket+"/"+k]++
		}
	}
	for name := range f.files {
		if strings.Contains(name, "/a/AWSLogs/") {
			want[name] = 1
		}
	}
	same(s.t, "notice", told, want)
}

// TestCrash ends the process at each step, starts it again, and compares what lies in buckets at last.
func TestCrash(t *testing.T) {
	t.Parallel()
	testKey()
	var names []string
	count := map[string]int{}
	t.Run("none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newStory(t)
			r := s.start()
			s.play(func(int) {})
			s.check(r.Delivery)
			if err := r.end(); err != nil {
				t.Error(err)
			}
			for _, step := range s.steps {
				if count[step]++; count[step] == 1 {
					names = append(names, step)
				}
			}
		})
	})
	for _, must := range []string{"pack create", "pack write", "pack sync", "manifest", "manifest written", "ack", "acked", "file read", "file put", "file put done",
		"mark", "mark kept", "packs remove", "packs removed", "manifest remove", "publish", "published", "notice", "notice kept", "runs", "runs kept", "begin",
		"begin kept", "digest", "digest kept", "digest put", "digest put done", "digest mark", "digest mark kept", "end", "end kept", "book", "retire"} {
		if count[must] == 0 {
			t.Errorf("there is no step %q", must)
		}
	}
	for _, name := range names {
		for _, nth := range slices.Compact([]int{1, max(1, count[name]/3), max(1, count[name]/2)}) { // how many there are varies: marks share a sync
			t.Run(fmt.Sprintf("%s %d", name, nth), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := newStory(t)
					f := s.crash(name, nth, func(again func()) { s.play(func(int) { again() }) })
					s.inDigestsOfPlay(f)
				})
			})
		}
	}
}

// crash plays with a crash at a step, in some cases while the last line of each log was being written. The play starts the
// process again when it calls, if it crashed.
func (s *story) crash(name string, nth int, play func(again func())) found {
	t := s.t
	t.Helper()
	left := nth
	s.fault = func(step string) error {
		if step == name {
			if left--; left == 0 {
				return errors.New("crash")
			}
		}
		return nil
	}
	r := s.start()
	again := func() {
		s.mu.Lock()
		dead := s.dead
		s.mu.Unlock()
		if !dead {
			return
		}
		_ = r.end() // it crashed
		if nth%2 == 0 {
			tear(t, s.dir)
		}
		r = s.start()
	}
	play(again)
	again()
	time.Sleep(3 * time.Hour)
	synctest.Wait()
	f := s.check(r.Delivery)
	s.notices(f)
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if left > 0 {
		t.Errorf("step %s came %d times only", name, nth-left)
	}
	return f
}

// tear puts half a line behind each log.
func tear(t testing.TB, dir string) {
	logs, err := filepath.Glob(filepath.Join(dir, trailsDir, "*.log"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range logs {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(`01234567 [{"shipped":{"batch":9`); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRandom plays random stories with random crashes and refusals.
func TestRandom(t *testing.T) {
	t.Parallel()
	testKey()
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("SPOOR_FAULT_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("SPOOR_FAULT_SEED=%d", seed)
	for i := range uint64(8) {
		t.Run(strconv.FormatUint(i, 10), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { randomStory(t, rand.New(rand.NewPCG(seed, i))) })
		})
	}
}

func randomStory(t *testing.T, rnd *rand.Rand) {
	s := newStory(t)
	s.o.MaxFile = []int64{0, 1500, 20_000}[rnd.IntN(3)]
	s.o.MaxBuffer = []int64{0, 4000}[rnd.IntN(2)]
	s.o.MaxCut = []int64{0, 8000}[rnd.IntN(2)]
	s.o.MaxSpool = []int64{0, 6000}[rnd.IntN(2)]
	s.o.DigestInterval = []time.Duration{0, 10 * time.Minute}[rnd.IntN(2)]
	crashIn, crashes := 30+rnd.IntN(200), rand.New(rand.NewPCG(rnd.Uint64(), 1))
	s.fault = func(string) error {
		if crashIn--; crashIn == 0 {
			crashIn = 30 + crashes.IntN(400)
			return errors.New("crash")
		}
		return nil
	}
	r := s.start()
	buckets := []string{"one", "two", "three"}
	validated := map[string]bool{}
	for range 40 {
		name := string(rune('a' + rnd.IntN(5)))
		tr := named(name)
		if name > "c" {
			tr = named(name, mine, other)
		}
		set := choice(rnd.IntN(3)).settings(trail.Settings{
			Logging: rnd.IntN(4) > 0, Bucket: buckets[rnd.IntN(3)], Prefix: name, MultiRegion: rnd.IntN(2) == 0, GlobalServiceEvents: rnd.IntN(2) == 0,
			Validation: name < "d",
		})
		if name == "b" {
			set.Topic = "arn:aws:sns:eu-central-1:111122223333:topic"
		}
		validated[name] = set.Validation
		s.mu.Lock()
		if rnd.IntN(3) == 0 {
			s.refuse[buckets[rnd.IntN(3)]] = []error{blob.ErrNoBucket, blob.ErrDenied, errors.New("500"), nil, nil, nil}[rnd.IntN(6)]
		}
		s.mu.Unlock()
		if rnd.IntN(3) == 0 {
			s.set(tr, set)
		}
		s.events(rnd.IntN(4), 1+rnd.IntN(30))
		time.Sleep(time.Duration(rnd.Int64N(int64(20 * time.Minute))))
		synctest.Wait()
		s.mu.Lock()
		dead := s.dead
		s.mu.Unlock()
		if dead {
			_ = r.end() // it crashed
			if rnd.IntN(2) == 0 {
				tear(t, s.dir)
			}
			r = s.start()
		}
	}
	s.mu.Lock()
	clear(s.refuse)
	s.fault = nil
	dead := s.dead
	s.mu.Unlock()
	if dead {
		_ = r.end()
		r = s.start()
	}
	for arn, set := range s.is { // so that all chains end
		set.Logging = false
		s.set(s.now[arn], set)
	}
	time.Sleep(5 * time.Hour)
	synctest.Wait()
	f := s.check(r.Delivery)
	want := map[string]int{}
	for name := range f.files {
		if prefix := strings.Split(name, "/")[1]; validated[prefix] {
			want[name] = 1
		}
	}
	same(t, "file in digests", f.listed, want)
	if err := r.end(); err != nil {
		t.Error(err)
	}
}
