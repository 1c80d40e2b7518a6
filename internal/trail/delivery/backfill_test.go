package delivery

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spoor/internal/blob"
	"spoor/internal/trail/digest"
)

// oneRegion is a trail of its home Region alone, without a topic.
func oneRegion(s *story) {
	set := all("one", "a")
	set.MultiRegion, set.GlobalServiceEvents, set.Topic = false, false, ""
	s.set(named("a"), set)
}

// row is a digest: from and to after the start of the trail, in minutes, how many files it lists, and what it links to.
type row struct {
	from, to, files int
	backfill        bool
	links           int // the end of what it links to; -1 for nothing
}

// rows gives the digests of a trail in the order in which they were put.
func (s *story) rows(f found, began time.Time) []row {
	s.t.Helper()
	began = began.UTC().Truncate(time.Second)
	minutes := func(at time.Time) int { return int(at.Sub(began) / time.Minute) }
	var out []row
	for _, d := range f.digests {
		r := row{minutes(d.Start), minutes(d.End), len(d.Files), slices.Contains(f.backfills, d), -1}
		if d.Previous != nil {
			n, ok := digest.SplitKey(d.Previous.Object)
			if !ok || n.Backfill != r.backfill {
				s.t.Errorf("%s links to %s", d.Object, d.Previous.Object)
			}
			r.links = minutes(n.End)
		}
		out = append(out, r)
	}
	return out
}

func (s *story) wantRows(f found, began time.Time, want []row) {
	s.t.Helper()
	if got := s.rows(f, began); !slices.Equal(got, want) {
		s.t.Errorf("digests\n%+v\nwant\n%+v", got, want)
	}
}

// TestDown has the service not running: for a moment, and for long, twice. Digests that are late by more than their interval are
// backfill digests, which are empty where nothing ran; the second outage goes on from those of the first.
func TestDown(t *testing.T) {
	t.Parallel()
	testKey()
	nextKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.DigestInterval, s.o.Interval = 10*time.Minute, time.Minute
		oneRegion(s)
		began := time.Now()
		s.rolled = began.Add(65 * time.Minute) // within the first outage
		r := s.start()
		down := func(d time.Duration) {
			t.Helper()
			synctest.Wait()
			if err := r.end(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(d)
			r = s.start()
		}
		s.events(1, 9) // file of minute 1
		time.Sleep(25 * time.Minute)
		down(13 * time.Minute) // until minute 38: the digest of 30 is 8 minutes late
		time.Sleep(4 * time.Minute)
		s.events(1, 9) // file of minute 42, made when the service ends
		down(39 * time.Minute)
		s.events(1, 9) // file of minute 82
		time.Sleep(14 * time.Minute)
		down(35 * time.Minute) // from minute 95 to 130
		time.Sleep(15 * time.Minute)
		synctest.Wait()
		f := s.check(r.Delivery)
		s.wantRows(f, began, []row{
			{0, 10, 1, false, -1}, {10, 20, 0, false, 10}, {20, 30, 0, false, 20}, {30, 40, 0, false, 30},
			{40, 50, 1, true, -1}, {50, 60, 0, true, 50}, {60, 70, 0, true, 60}, {70, 80, 0, false, 40},
			{80, 90, 1, false, 80}, {90, 100, 0, true, 70}, {100, 110, 0, true, 100}, {110, 120, 0, false, 90}, {120, 130, 0, false, 120}, {130, 140, 0, false, 130},
		})
		if st := r.Status(arnOf("a"), home); st.LatestDigestDelivery.Sub(began) < 140*time.Minute || st.LatestDigestDeliveryError != "" {
			t.Errorf("status %+v", st)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestLateFiles has a bucket that refuses for long: what could not be put is in the backfill digest of the interval in which it
// was cut, once, and the digest that was made before stays an ordinary one.
func TestLateFiles(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.DigestInterval, s.o.Interval = 10*time.Minute, time.Minute
		oneRegion(s)
		began := time.Now()
		r := s.start()
		minute := 0
		until := func(end int, refused bool) {
			t.Helper()
			s.mu.Lock()
			delete(s.refuse, "one")
			if refused {
				s.refuse["one"] = blob.ErrDenied
			}
			s.mu.Unlock()
			for ; minute < end; minute += 5 {
				s.events(1, 9)
				time.Sleep(5 * time.Minute)
			}
		}
		until(15, false) // two files that belong to the first digest: that of minute 11 does not
		until(55, true)  // files of minutes 16, 21, …, 51 wait, and so does the digest of minute 20
		st := r.Status(arnOf("a"), home)
		if st.LatestDigestDelivery.Sub(began).Truncate(time.Minute) != 10*time.Minute || st.LatestDigestDeliveryError != "AccessDenied" {
			t.Errorf("status %+v", st)
		}
		if err := r.end(); err != nil { // what waits is kept
			t.Fatal(err)
		}
		r = s.start()
		until(80, false)
		synctest.Wait()
		f := s.look()
		s.wantRows(f, began, []row{
			{0, 10, 2, false, -1}, {10, 20, 1, false, 10},
			{20, 30, 3, true, -1},  // of minutes 16, 21 and 26
			{30, 40, 2, true, 30},  // of 31 and 36
			{40, 50, 0, false, 20}, // five minutes late
			{50, 60, 4, false, 50}, // of 41, 46 and 51, which came in this interval, and of 56
			{60, 70, 2, false, 60}, {70, 80, 2, false, 70},
		})
		for name := range f.files {
			if f.listed[name] != 1 && cutOf(t, name).Sub(began) < 79*time.Minute {
				t.Errorf("%s is in %d digests", name, f.listed[name])
			}
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestFilesRefusedForEver makes backfill digests all the same, when what they wait for does not come: of another bucket, and
// damaged in the spool.
func TestFilesRefusedForEver(t *testing.T) {
	t.Parallel()
	testKey()
	for _, what := range []string{"another bucket", "a damaged pack"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStory(t)
				s.o.DigestInterval, s.o.Interval = 10*time.Minute, time.Minute
				if what == "another bucket" {
					s.refuse["gone"] = blob.ErrNoBucket
					set := all("gone", "a")
					set.MultiRegion, set.GlobalServiceEvents, set.Topic = false, false, ""
					s.set(named("a"), set)
				} else {
					s.refuse["one"] = blob.ErrDenied
					oneRegion(s)
				}
				began := time.Now()
				r := s.start()
				s.events(1, 9)
				time.Sleep(5 * time.Minute)
				oneRegion(s)
				synctest.Wait()
				if what == "a damaged pack" {
					packs := s.spool()
					pack, err := os.ReadFile(packs[0])
					if err != nil {
						t.Fatal(err)
					}
					pack[len(pack)/2] ^= 1
					if err := os.WriteFile(packs[0], pack, 0o600); err != nil {
						t.Fatal(err)
					}
					s.mu.Lock()
					delete(s.refuse, "one")
					s.mu.Unlock()
				}
				time.Sleep(7 * time.Minute)
				if err := r.end(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(60 * time.Minute) // until minute 72
				r = s.start()
				time.Sleep(20 * time.Minute)
				synctest.Wait()
				// In the same place it is waited for one interval, so that the digest of 70 is late too.
				want := []row{{0, 10, 0, false, -1}, {10, 20, 0, true, -1}, {20, 30, 0, true, 20}, {30, 40, 0, true, 30}, {40, 50, 0, true, 40}, {50, 60, 0, true, 50}}
				if what == "another bucket" {
					want = append(want, row{60, 70, 0, false, 10}, row{70, 80, 0, false, 70}, row{80, 90, 0, false, 80})
				} else {
					want = append(want, row{60, 70, 0, true, 60}, row{70, 80, 0, false, 10}, row{80, 90, 0, false, 80})
				}
				s.wantRows(s.look(), began, want)
				if st := r.Stats().Trails[0]; st.PendingFiles != 1 {
					t.Errorf("stats %+v", st)
				}
				if err := r.end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// outages is a story with two trails, in which the process is not running for long, and buckets refuse for long.
func (s *story) outages(down func(d time.Duration), at func()) {
	s.o.DigestInterval, s.o.Interval, s.o.RetryMost = 10*time.Minute, time.Minute, 2*time.Minute
	a, b := named("a"), named("b")
	aSet, bSet := all("one", "a"), all("two", "b")
	aSet.MultiRegion, bSet.MultiRegion, bSet.GlobalServiceEvents, bSet.Topic = false, false, false, ""
	refuse := func(err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(s.refuse, "one"); err != nil {
			s.refuse["one"] = err
		}
	}
	steps := []func(){
		func() { s.set(a, aSet); s.set(b, bSet); s.events(2, 18) },
		func() {},
		func() { s.events(1, 18); down(47 * time.Minute) },
		func() { s.events(1, 18) },
		func() { refuse(blob.ErrDenied); s.events(1, 18) },
		func() { s.events(1, 18) }, func() { s.events(1, 9) }, func() { s.events(1, 18) }, func() {}, func() { s.events(1, 18) },
		func() { refuse(nil) },
		func() { s.events(1, 18) },
		func() { aSet.Bucket = "three"; s.set(a, aSet); s.events(1, 18); down(33 * time.Minute) },
		func() {}, func() {},
		func() { aSet.Logging = false; s.set(a, aSet); down(41 * time.Minute) },
		func() { aSet.Logging = true; s.set(a, aSet); s.events(1, 18) },
		func() {}, func() {},
	}
	for _, step := range steps {
		step()
		time.Sleep(7*time.Minute + 500*time.Millisecond)
		synctest.Wait()
		at()
	}
	for _, set := range []func(){func() { aSet.Logging = false; s.set(a, aSet) }, func() { bSet.Logging = false; s.set(b, bSet) }} {
		set()
		time.Sleep(time.Minute)
	}
	time.Sleep(time.Hour)
	synctest.Wait()
}

// eachOnce checks that every file is in one digest, and that there were outages.
func (s *story) eachOnce(f found) {
	s.t.Helper()
	want := map[string]int{}
	for name := range f.files {
		want[name] = 1
	}
	same(s.t, "file in digests", f.listed, want)
	late := map[string]bool{}
	for _, d := range f.backfills {
		for _, l := range d.Files {
			late[l.Object] = true
		}
	}
	if len(f.backfills) < 10 || len(late) < 5 {
		s.t.Errorf("%d backfill digests, of %d files", len(f.backfills), len(late))
	}
}

// TestCrashOutages ends the process at each step of the story of outages, and starts it again: soon, or as late that it is an
// outage of its own.
func TestCrashOutages(t *testing.T) {
	t.Parallel()
	testKey()
	count := map[string]int{}
	var names []string
	t.Run("none", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newStory(t)
			r := s.start()
			s.outages(func(d time.Duration) {
				synctest.Wait()
				if err := r.end(); err != nil {
					t.Error(err)
				}
				time.Sleep(d)
				r = s.start()
			}, func() {})
			f := s.check(r.Delivery)
			s.eachOnce(f)
			s.notices(f)
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
	for _, must := range []string{"digest", "digest kept", "digest put", "digest put done", "digest mark", "digest mark kept",
		"backfill", "backfill kept", "backfill put", "backfill put done", "backfill mark", "backfill mark kept"} {
		if count[must] == 0 {
			t.Errorf("there is no step %q", must)
		}
	}
	for i, name := range names {
		nths, pauses := []int{1 + i%2*count[name]/2}, []time.Duration{time.Duration(i%2) * 38 * time.Minute}
		if strings.HasPrefix(name, "digest") || strings.HasPrefix(name, "backfill") {
			nths, pauses = slices.Compact([]int{1, max(1, count[name]/2)}), []time.Duration{0, 38 * time.Minute}
		}
		for _, nth := range nths {
			for _, pause := range pauses {
				t.Run(fmt.Sprintf("%s %d %s", name, nth, pause), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						s := newStory(t)
						f := s.crash(name, nth, func(again func()) {
							dead := func() bool {
								s.mu.Lock()
								defer s.mu.Unlock()
								return s.dead
							}
							s.outages(func(d time.Duration) {
								s.mu.Lock()
								s.dead = true // the outage is a crash too
								s.mu.Unlock()
								time.Sleep(d)
								again()
							}, func() {
								if dead() {
									time.Sleep(pause)
									again()
								}
							})
						})
						s.eachOnce(f)
					})
				})
			}
		}
	}
}

// TestOlderLog goes on from the log of a trail that version 1 of its form wrote: it is written anew, and what it had is in digests.
func TestOlderLog(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		older, err := os.ReadFile(filepath.Join("testdata", "v1.log"))
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(s.dir, trailsDir, logName(arnOf("a")))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, older, 0o600)); err != nil {
			t.Fatal(err)
		}
		s.o.DigestInterval, s.o.Interval = 10*time.Minute, time.Minute
		oneRegion(s)
		// Its trail began when this world did; a file came in minute 13, and the digest of minute 10 is put.
		s.fault = func(step string) error {
			if step == "digest" || step == "backfill" {
				return errors.New("crash")
			}
			return nil
		}
		began := time.Now()
		time.Sleep(45 * time.Minute)
		r := s.start()
		time.Sleep(time.Second)
		synctest.Wait()
		_ = r.end() // it crashed
		now, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(older, []byte(`"version":1`)) || !bytes.Contains(now, []byte(`"version":2`)) {
			t.Errorf("the log is now\n%s", now)
		}
		s.fault = nil
		r = s.start()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		var got []string
		for _, name := range s.order {
			n, ok := digest.SplitKey(strings.TrimPrefix(name, "one/"))
			if !ok {
				t.Fatalf("%s", name)
			}
			d, err := digest.Parse(gunzip(t, s.objects[name].body))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, fmt.Sprintf("%s %v %d", n.End.Sub(began), n.Backfill, len(d.Files)))
		}
		if want := []string{"20m0s true 1", "30m0s true 0", "40m0s false 0", "50m0s false 0"}; !slices.Equal(got, want) {
			t.Errorf("digests %q, want %q", got, want)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}
