package delivery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spoor/internal/blob"
	"spoor/internal/journal"
	"spoor/internal/topic"
)

// TestRefusing has one trail whose bucket refuses for three days, and another one that goes on meanwhile.
func TestRefusing(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.RetryMost = 15 * time.Minute
		s.refuse["one"] = blob.ErrNoBucket
		s.set(named("a"), all("one", "a"))
		s.set(named("b"), all("two", "b"))
		r := s.start()
		for range 72 {
			s.events(1, 20)
			time.Sleep(time.Hour)
		}
		synctest.Wait()
		a, b := r.Status(arnOf("a"), home), r.Status(arnOf("b"), home)
		if a.LatestDeliveryError != "NoSuchBucket" || !a.LatestDelivery.IsZero() || a.LatestDigestDeliveryError != "NoSuchBucket" || time.Since(a.LatestDeliveryAttempt) > 16*time.Minute {
			t.Errorf("status of the one that cannot: %+v", a)
		}
		if b.LatestDeliveryError != "" || time.Since(b.LatestDelivery) > 2*time.Hour || b.LatestDigestDelivery.IsZero() {
			t.Errorf("status of the other one: %+v", b)
		}
		st := r.Stats().Trails
		if st[0].PendingFiles == 0 || st[0].PendingBytes == 0 || st[0].PendingSince.IsZero() || st[0].PendingDigests == 0 || st[1].PendingFiles != 0 {
			t.Errorf("stats %+v", st)
		}
		if s.cursor != s.last() {
			t.Errorf("acknowledged %d, the journal has %d", s.cursor, s.last())
		}
		if n := s.puts; n > 5_000 {
			t.Errorf("%d puts in three days", n)
		}
		s.mu.Lock()
		delete(s.refuse, "one")
		s.mu.Unlock()
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		a = r.Status(arnOf("a"), home)
		if a.LatestDeliveryError != "" || a.LatestDelivery.IsZero() || a.LatestDigestDeliveryError != "" {
			t.Errorf("status of the one that can again: %+v", a)
		}
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		f := s.check(r.Delivery)
		hours := 0
		for _, d := range f.digests {
			if strings.HasPrefix(d.Object, "a/") && d.Account == mine && strings.Contains(d.Object, "/CloudTrail-Digest/"+home+"/") {
				hours++
			}
		}
		if hours != 74 {
			t.Errorf("%d digests for 74 hours", hours)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestGiveUp gives files up after the time that is set, and says so.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.GiveUp = 24 * time.Hour
		s.refuse["one"] = blob.ErrDenied
		set := all("one", "a")
		set.Topic = ""
		s.set(named("a"), set)
		r := s.start()
		s.events(1, 9)
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		st := r.Stats().Trails[0]
		if st.GivenUp < 3 || st.PendingFiles != 0 {
			t.Errorf("stats %+v", st)
		}
		if left := s.spool(); len(left) > 0 {
			t.Errorf("left in the spool: %q", left)
		}
		s.mu.Lock()
		delete(s.refuse, "one")
		s.mu.Unlock()
		time.Sleep(2 * time.Hour)
		if err := r.end(); err != nil {
			t.Error(err)
		}
		r = s.start() // the log says it too
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := r.Stats().Trails[0]; st.PendingFiles != 0 {
			t.Errorf("stats after a start %+v", st)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestTopicGone tries to tell a topic for a day; the log files do not wait for it.
func TestTopicGone(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.noTopic = topic.ErrNotFound
		s.set(named("a"), all("one", "a"))
		r := s.start()
		s.events(1, 1)
		time.Sleep(20 * time.Hour)
		s.events(1, 9)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		st := r.Status(arnOf("a"), home)
		if st.LatestNotificationError != "NotFound" || st.LatestDeliveryError != "" || time.Since(st.LatestNotificationAttempt) > 3*time.Minute {
			t.Errorf("status %+v", st)
		}
		if n := r.Stats().Trails[0].PendingNotices; n == 0 {
			t.Errorf("%d notices wait", n)
		}
		s.mu.Lock()
		s.noTopic = nil
		s.mu.Unlock()
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if st := r.Status(arnOf("a"), home); st.LatestNotificationError != "" || st.LatestNotification.IsZero() {
			t.Errorf("status %+v", st)
		}
		told := 0
		for _, body := range s.topics["arn:aws:sns:eu-central-1:111122223333:topic"] {
			told += strings.Count(body, ".json.gz")
		}
		if files := len(s.look().files); told != files-1 { // that of the first entry was given up
			t.Errorf("told of %d files of %d", told, files)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestFull stops taking from the journal when the spool is full, and goes on when there is room.
func TestFull(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.MaxSpool, s.o.RetryMost = 20_000, 15*time.Minute
		s.refuse["one"] = blob.ErrDenied
		s.set(named("a"), all("one", "a"))
		s.set(named("b"), all("two", "b"))
		r := s.start()
		for range 60 {
			s.events(1, 90)
			time.Sleep(10 * time.Minute)
		}
		synctest.Wait()
		st := r.Stats()
		if !st.Full || st.Spool < 20_000 || st.Spool > 30_000 || st.Reached >= s.last() || s.cursor != st.Reached {
			t.Errorf("stats of a full spool: %+v; acknowledged %d of %d", st, s.cursor, s.last())
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
		r = s.start() // it is full from the beginning
		time.Sleep(time.Hour)
		synctest.Wait()
		if again := r.Stats(); !again.Full || again.Spool != st.Spool || s.cursor != st.Reached {
			t.Errorf("stats after a start: %+v; acknowledged %d", again, s.cursor)
		}
		s.mu.Lock()
		delete(s.refuse, "one")
		s.mu.Unlock()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		s.check(r.Delivery)
		if r.Stats().Full {
			t.Error("it is full still")
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestManyPlaces delivers events of thousands of accounts and Regions with few buffers.
func TestManyPlaces(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.MaxBuffer, s.o.MaxOpen = 64<<10, 700
		o := named("o")
		o.OrganizationID = "o-abcdef1234"
		for i := range 300 {
			o.Accounts = append(o.Accounts, fmt.Sprintf("%012d", i))
		}
		set := all("one", "o")
		set.Organization, set.Validation, set.Topic = true, false, ""
		s.set(o, set)
		r := s.start()
		var list []journal.Record
		for i := range 3000 {
			k := kind{fmt.Sprintf("%012d", i%300), []string{home, "us-east-1", "eu-west-1", "us-west-2", "ap-south-1"}[i/300%5], "ec2.amazonaws.com", "RunInstances", "Management", false}
			list = append(list, k.record(i))
			s.want[fmt.Sprintf("one/o/ id-%d", i)]++
			if len(list) == 100 {
				s.accept(list...)
				list = nil
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		f := s.check(r.Delivery)
		if len(f.files) < 1500 || r.Stats().Cuts < 2 {
			t.Errorf("%d files in %d cuts", len(f.files), r.Stats().Cuts)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestTenTrails delivers the same events to ten trails; what is alike is stored once.
func TestTenTrails(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		for i := range 10 {
			name := fmt.Sprint("t", i)
			set := choice(i % 3).settings(all("one", name))
			set.Topic = ""
			s.set(named(name, mine, other), set)
		}
		s.refuse["one"] = blob.ErrDenied
		r := s.start()
		s.events(20, 50)
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		if n := len(s.spool()); n < 2 || n > 4 {
			t.Errorf("%d packs for three kinds of selectors", n)
		}
		var pending int64
		for _, st := range r.Stats().Trails {
			pending += st.PendingBytes
		}
		if spool := r.Stats().Spool; spool*2 > pending {
			t.Errorf("the spool has %d bytes for files of %d", spool, pending)
		}
		s.mu.Lock()
		delete(s.refuse, "one")
		s.mu.Unlock()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		s.check(r.Delivery)
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestOddRecords: huge ones, those that are no event, and those that say nothing of account or Region.
func TestOddRecords(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.MaxFile = 64 << 10
		s.o.Sources = func(source string) bool { return source != "trail logs" }
		set := all("one", "a")
		set.Topic = ""
		s.set(named("a"), set)
		r := s.start()
		record := func(text string) journal.Record {
			return journal.Record{Raw: []byte(text), Origin: journal.Origin{Source: "push", Object: "odd"}}
		}
		huge := fmt.Sprintf(`{"eventID":"huge","eventName":"X","awsRegion":%q,"recipientAccountId":%q,"padding":%q}`, home, mine, strings.Repeat("x", 300<<10))
		circle := kinds[0].record(1)
		circle.Origin.Source = "trail logs"
		s.accept(kinds[0].record(0), record("no event"), record(`{"eventName":`), record(`[]`), record(huge), circle,
			record(fmt.Sprintf(`{"eventID":"caller","eventName":"X","awsRegion":%q,"userIdentity":{"accountId":%q}}`, home, mine)),
			record(`{"eventID":"nowhere","eventName":"X"}`),
			record(`{"eventID":"evil","eventName":"X","awsRegion":"../../x","recipientAccountId":"../.."}`),
			record(" \n"+`{"eventID":"white","eventName":"X",  "awsRegion":"eu-central-1","recipientAccountId":"111122223333" }`+"\n"),
		)
		s.events(1, 9)
		time.Sleep(6 * time.Minute)
		synctest.Wait()
		st := r.Stats()
		if st.Undecodable != 3 || st.Unplaced != 2 || st.Records != 18 {
			t.Errorf("stats %+v", st)
		}
		ids := map[string]int{}
		largest := 0
		for name, ob := range s.objects {
			text := gunzip(t, ob.body)
			if !strings.HasPrefix(name, "one/a/AWSLogs/"+mine+"/CloudTrail/") {
				t.Errorf("%s", name)
			}
			for _, id := range []string{"huge", "caller", "nowhere", "evil", "white", "id-0", "id-1"} {
				ids[id] += bytes.Count(text, []byte(`"eventID":"`+id+`"`))
			}
			if bytes.Contains(text, []byte("huge")) && bytes.Count(text, []byte("eventID")) != 1 {
				t.Error("a record that is larger than a file is not alone in its file")
			}
			largest = max(largest, len(text))
		}
		same(t, "event", ids, map[string]int{"huge": 1, "caller": 1, "nowhere": 1, "evil": 1, "white": 1, "id-0": 2, "id-1": 1})
		if largest > 301<<10 {
			t.Errorf("a file of %d bytes", largest)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestFileSize never makes a file larger than it may be.
func TestFileSize(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.MaxFile = 5000
		s.set(named("a"), all("one", "a"))
		r := s.start()
		s.events(5, 100)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		f := s.check(r.Delivery)
		for name := range f.files {
			if n := len(gunzip(t, s.objects[name].body)); n > 5000 {
				t.Errorf("%s has %d bytes", name, n)
			}
		}
		if len(f.files) < 20 {
			t.Errorf("%d files", len(f.files))
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestLateStart begins with a journal that has entries of before the trail, and stops at once.
func TestLateStart(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.events(10, 20)
		set := all("one", "a")
		s.set(named("a"), set)
		s.events(10, 20)
		off := set
		off.Logging = false
		s.set(named("a"), off)
		s.events(10, 20)
		s.set(named("a"), set)
		time.Sleep(time.Hour)
		r := s.start()
		synctest.Wait()
		if err := r.end(); err != nil { // a cut is made
			t.Fatal(err)
		}
		if s.cursor != s.last() {
			t.Errorf("acknowledged %d of %d", s.cursor, s.last())
		}
		r = s.start()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		s.check(r.Delivery)
		if n := r.Stats().Cuts; n != 0 {
			t.Errorf("%d cuts after the second start", n)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestSpoolFails begins again behind the last manifest when the spool cannot be written for a while.
func TestSpoolFails(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.set(named("a"), all("one", "a"))
		r := s.start()
		s.events(2, 20)
		time.Sleep(6 * time.Minute)
		packs := filepath.Join(s.dir, packsDir)
		if err := os.Rename(packs, packs+"-gone"); err != nil {
			t.Fatal(err)
		}
		s.events(2, 20)
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if st := r.Stats(); st.Reached >= s.last() {
			t.Errorf("without a spool: %+v", st)
		}
		if err := os.Rename(packs+"-gone", packs); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		s.check(r.Delivery)
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestCompact writes the log of a trail anew when it is long, also where that is the moment of a crash.
func TestCompact(t *testing.T) {
	t.Parallel()
	testKey()
	for _, at := range []string{"", "compact", "compacted"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStory(t)
				s.fault = func(step string) error {
					if step == at {
						return errors.New("crash")
					}
					return nil
				}
				s.o.compact = 4 << 10
				s.set(named("a"), all("one", "a"))
				r := s.start()
				for range 120 {
					s.events(1, 20)
					time.Sleep(6 * time.Minute)
					synctest.Wait()
					if s.dead {
						_ = r.end() // it crashed
						s.fault = nil
						r = s.start()
					}
				}
				if at != "" && s.fault != nil {
					t.Error("it was never written anew")
				}
				info, err := os.Stat(filepath.Join(s.dir, trailsDir, logName(arnOf("a"))))
				if err != nil {
					t.Fatal(err)
				}
				if info.Size() > 128<<10 {
					t.Errorf("the log has %d bytes", info.Size())
				}
				time.Sleep(2 * time.Hour)
				synctest.Wait()
				f := s.check(r.Delivery)
				s.notices(f)
				if err := r.end(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// TestDamage refuses state that is not what was written, and never puts a file out of a pack that is not.
func TestDamage(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.refuse["one"] = blob.ErrDenied
		s.set(named("a"), all("one", "a"))
		r := s.start()
		for range 3 {
			s.events(1, 9)
			time.Sleep(61 * time.Minute)
		}
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		files, err := filepath.Glob(filepath.Join(s.dir, "[ct]*", "*"))
		if err != nil || len(files) != 4 {
			t.Fatalf("%q, %v", files, err)
		}
		for _, name := range files {
			was, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			newer := bytes.Replace(was, []byte(`"version":1`), []byte(`"version":2`), 1)
			if strings.HasSuffix(name, ".log") { // the sum is right
				newer = bytes.Replace(was, []byte(`"version":2`), []byte(`"version":3`), 1)
				_, rest, _ := bytes.Cut(newer, []byte{'\n'})
				text, _, _ := bytes.Cut(newer, []byte{'\n'})
				text = append(bytes.Clone(text[sumLen+1:]), '\n')
				newer = append(fmt.Appendf(nil, "%08x ", crc32.Checksum(text, castagnoli())), text...)
				newer = append(newer, rest...)
			}
			for what, b := range map[string][]byte{
				"a byte": append(append(bytes.Clone(was[:20]), was[20]^1), was[21:]...), "cut off": was[:30], "empty": {}, "newer": newer,
			} {
				if err := os.WriteFile(name, b, 0o600); err != nil {
					t.Fatal(err)
				}
				o := s.o
				o.Dir, o.Feed, o.Book, o.Storage, o.Signer = s.dir, s.world, (*bookOf)(s.world), (*storageOf)(s.world), (*signerOf)(s.world)
				want := ErrDamaged
				if what == "newer" {
					want = ErrNewer
				}
				if _, err := New(t.Context(), o); !errors.Is(err, want) {
					t.Errorf("%s, %s: %v", filepath.Base(name), what, err)
				}
			}
			if err := os.WriteFile(name, was, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		packs := s.spool()
		pack, err := os.ReadFile(packs[0])
		if err != nil {
			t.Fatal(err)
		}
		pack[len(pack)/2] ^= 1
		if err := os.WriteFile(packs[0], pack, 0o600); err != nil {
			t.Fatal(err)
		}
		delete(s.refuse, "one")
		r = s.start()
		time.Sleep(time.Hour)
		synctest.Wait()
		if st := r.Stats().Trails[0]; st.PendingFiles != 1 {
			t.Errorf("stats %+v", st)
		}
		for id, n := range s.look().events {
			if s.want[id] != n {
				t.Errorf("%s is there %d times", id, n)
			}
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// FuzzLog reads logs that anybody may have written.
func FuzzLog(f *testing.F) {
	first, err := line(snapshot{logFormat, logVersion, newState(arnOf("a"))})
	if err != nil {
		f.Fatal(err)
	}
	second, err := line([]entry{{Shipped: &shippedEntry{Batch: 1, At: time.Unix(1, 0).UTC(), Bucket: "b", Files: []shippedFile{{ID: fileID{1, 0}, Key: "k", Account: mine, Region: home}}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(bytes.Clone(first), second...))
	f.Add(first[:20])
	older, err := os.ReadFile(filepath.Join("testdata", "v1.log"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(older)
	at := time.Unix(60, 0).UTC()
	late, err := line([]entry{{Begin: &beginEntry{1, mine, home, at}}, {Digest: &digestEntry{1, mine, home, pending{Bucket: "b", Key: "k", End: at.Add(time.Minute), Backfill: true, Made: at}}}, {Put: &putEntry{1, mine, home, at, false}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(bytes.Clone(first), late...))
	f.Fuzz(func(t *testing.T, b []byte) {
		st, version, base, size, err := replay(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("error %v", err)
			}
			return
		}
		if version < 1 || version > logVersion || base <= 0 || size < base || size > int64(len(b)) || st.check() != nil {
			t.Errorf("base %d, size %d of %d", base, size, len(b))
		}
	})
}

// FuzzManifest reads manifests that anybody may have written.
func FuzzManifest(f *testing.F) {
	f.Add([]byte(`{"format":"spoor-trail-cut","version":1,"number":1,"journal":"j","from":1,"to":2,"at":"2026-01-10T10:00:00Z","packs":[{"name":"00000000000000000001-0.pack","size":10}],"places":[{"trail":"t","bucket":"b"}],"files":[{"place":0,"account":"111122223333","region":"eu-central-1","kind":"CloudTrail","key":"k","events":1,"size":20,"crc":1,"hash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","oldest":"2026-01-10T10:00:00Z","newest":"2026-01-10T10:00:00Z","chunks":[[0,0,10,5]]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeManifest(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("error %v", err)
			}
			return
		}
		if err := m.check(); err != nil {
			t.Error(err)
		}
	})
}

// TestAuthorize asks before each put.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		allowed := false
		s.o.Authorize = func(_ context.Context, arn, bucket, key, kmsKey string) error {
			if arn != arnOf("a") || bucket != "one" || !strings.HasPrefix(key, "a/AWSLogs/") || kmsKey == "" {
				t.Errorf("asked for %s, %s, %s, %s", arn, bucket, key, kmsKey)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if !allowed {
				return fmt.Errorf("policy: %w", blob.ErrDenied)
			}
			return nil
		}
		s.set(named("a"), all("one", "a"))
		r := s.start()
		s.events(1, 9)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if st := r.Status(arnOf("a"), home); st.LatestDeliveryError != "AccessDenied" || len(s.objects) != 0 {
			t.Errorf("status %+v, %d objects", st, len(s.objects))
		}
		s.mu.Lock()
		allowed = true
		s.mu.Unlock()
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		s.check(r.Delivery)
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestEmptyDigests makes digests of hours without files, and those of hours in which nothing ran.
func TestEmptyDigests(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.DigestInterval = 10 * time.Second
		s.o.Interval = 3 * time.Second
		set := all("one", "a")
		set.MultiRegion, set.Topic = false, ""
		s.set(named("a"), set)
		began := time.Now()
		r := s.start()
		time.Sleep(35 * time.Second)
		s.events(1, 1)
		time.Sleep(5 * time.Second)
		if err := r.end(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(60 * time.Second)
		r = s.start()
		time.Sleep(15 * time.Second)
		synctest.Wait()
		f := s.check(r.Delivery)
		if len(f.digests) != 11 {
			t.Errorf("%d digests in 115 s", len(f.digests))
		}
		for i, d := range f.digests {
			from := began.Truncate(time.Second).Add(time.Duration(i) * 10 * time.Second)
			if !d.Start.Equal(from) || !d.End.Equal(from.Add(10*time.Second)) || (len(d.Files) == 1) != (i == 3) {
				t.Errorf("digest %d from %s to %s with %d files", i, d.Start, d.End, len(d.Files))
			}
		}
		off := set
		off.Logging = false
		s.set(named("a"), off)
		time.Sleep(time.Minute)
		synctest.Wait()
		if f := s.check(r.Delivery); len(f.digests) != 12 || f.digests[11].End.Sub(f.digests[11].Start) >= 10*time.Second {
			t.Errorf("%d digests after the end", len(f.digests))
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}

// TestAcknowledged: what no trail takes is acknowledged soon, and a journal of which much is read and held is given room before
// the interval is over.
func TestAcknowledged(t *testing.T) {
	t.Parallel()
	testKey()
	synctest.Test(t, func(t *testing.T) {
		s := newStory(t)
		s.o.MaxHeld = 4 << 10
		r := s.start()
		cursor := func() uint64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.cursor
		}
		last := s.accept(kinds[0].record(1))
		time.Sleep(2 * idleAck)
		synctest.Wait()
		if got := cursor(); got != last {
			t.Errorf("without trails: acknowledged up to %d, want %d", got, last)
		}
		s.set(named("a"), all("one", "a"))
		synctest.Wait()
		held := s.accept(kinds[0].record(2))
		time.Sleep(2 * idleAck)
		synctest.Wait()
		if got := cursor(); got >= held {
			t.Errorf("acknowledged up to %d, and %d is in no manifest", got, held)
		}
		for n := range 20 { // data events, which the trail does not take
			last = s.accept(kinds[4].record(3 + n))
		}
		time.Sleep(2 * idleAck)
		synctest.Wait()
		if got := cursor(); got < held {
			t.Errorf("acknowledged up to %d, with %d entries held", got, last-got)
		}
		if err := r.end(); err != nil {
			t.Error(err)
		}
	})
}
