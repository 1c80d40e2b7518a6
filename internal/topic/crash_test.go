package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// picture is a folder as a kill at some moment leaves it, with what was promised until then.
type picture struct {
	point     string
	dir       string
	promised  []string // messages whose Publish had returned
	delivered []string // to https://a.test/
}

// Whatever step a kill hits, what was promised reaches its endpoints, in the right order within a group, and only what was
// delivered since the cursors were last kept does so twice.
func TestKill(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		dir, pictures := t.TempDir(), t.TempDir()
		var mu sync.Mutex
		var promised []string
		var taken []picture
		points := map[string]int{}
		var take func(point string)
		o := options(w)
		o.at = func(point string) { take(point) }
		o.segment = 2 << 10 // so that there are segments to be removed
		take = func(point string) {
			mu.Lock()
			defer mu.Unlock()
			points[point]++
			if n := points[point]; n > 2 && n%37 != 0 {
				return
			}
			p := picture{point: fmt.Sprint(point, points[point]), promised: slices.Clone(promised)}
			p.delivered = w.bodies("https://a.test/")
			p.dir = filepath.Join(pictures, p.point)
			if err := os.CopyFS(p.dir, os.DirFS(dir)); err != nil && !errors.Is(err, os.ErrNotExist) { // a file may go meanwhile
				t.Error(err)
			}
			taken = append(taken, p)
		}
		s, stop := begin(t, dir, o)
		arn := create(t, s, "news", nil)
		sub := subscribe(t, s, arn, "https", "https://a.test/", nil)
		subscribe(t, s, arn, "https", "https://dead.test/", nil)
		attempts := 0
		w.set(func() {
			w.answer = func(g got) (int, error) {
				if g.kind != typeNotification {
					return 200, nil
				}
				time.Sleep(700 * time.Millisecond) // so that some are on their way at every moment
				if strings.HasPrefix(g.url, "https://dead") {
					return 404, nil
				}
				mu.Lock()
				defer mu.Unlock()
				if attempts++; attempts%5 == 0 {
					return 503, nil
				}
				return 200, nil
			}
		})
		big := strings.Repeat("x", 100)
		for i := range 45 {
			body := fmt.Sprint(i, " ", big)
			publish(t, s, arn, body)
			mu.Lock()
			promised = append(promised, body)
			mu.Unlock()
			if i%5 == 0 {
				time.Sleep(1500 * time.Millisecond)
			}
		}
		time.Sleep(3 * time.Minute)
		stop()
		same(t, "without a kill", w.bodies("https://a.test/"), promised)
		for _, point := range []string{"append", "written", "appended", "begun", "sent", "buried", "cursors", "kept", "strip", "stripped"} {
			if points[point] == 0 {
				t.Errorf("no picture was taken at %q", point)
			}
		}
		for _, p := range taken {
			if strings.HasPrefix(p.point, "written") { // the kernel had written a part
				tear(t, p.dir)
			}
			after := &world{}
			o2 := options(after)
			o2.segment = o.segment
			s, stop := begin(t, p.dir, o2)
			if len(s.Topics(here)) == 0 {
				stop()
				continue
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			again := after.bodies("https://a.test/")
			if _, _, err := s.Subscription(sub); err != nil {
				if len(p.promised) > 0 {
					t.Errorf("%s: %v", p.point, err)
				}
				stop()
				continue
			}
			all := append(slices.Clone(p.delivered), again...)
			for _, m := range p.promised {
				if !slices.Contains(all, m) {
					t.Errorf("%s: message %.3s is lost", p.point, m)
				}
			}
			repeated := 0
			for _, m := range again {
				if slices.Contains(p.delivered, m) {
					repeated++
				}
				if n := len(slices.DeleteFunc(slices.Clone(again), func(x string) bool { return x != m })); n != 1 {
					t.Errorf("%s: message %.3s came %d times", p.point, m, n)
				}
			}
			if repeated > 16 { // what was delivered within two seconds, at four in 0.7 s
				t.Errorf("%s: %d messages were repeated", p.point, repeated)
			}
			stop()
			// Another start repeats nothing.
			s, stop = begin(t, p.dir, o2)
			time.Sleep(time.Minute)
			if n := len(after.bodies("https://a.test/")); n != len(again) {
				t.Errorf("%s: an orderly start repeated %d messages", p.point, n-len(again))
			}
			publish(t, s, arn, "new")
			synctest.Wait()
			if got := after.bodies("https://a.test/"); got[len(got)-1] != "new" {
				t.Errorf("%s: what is published after it is not delivered", p.point)
			}
			stop()
		}
	})
}

// tear cuts the last line of the newest segment.
func tear(t *testing.T, dir string) {
	logs, err := filepath.Glob(filepath.Join(dir, topicsName, "*", "outbox", "*"+logSuffix))
	if err != nil || len(logs) == 0 {
		return
	}
	slices.Sort(logs)
	last := logs[len(logs)-1]
	info, err := os.Stat(last)
	if err != nil {
		t.Error(err)
		return
	}
	if err := os.Truncate(last, max(info.Size()-7, 0)); err != nil {
		t.Error(err)
	}
}

// At every length to which the end of the log may be cut, all lines before it are there, and the next message follows them.
func TestTornOutbox(t *testing.T) {
	t.Parallel()
	src := filepath.Join(t.TempDir(), "whole")
	none := func(string) {}
	b, err := openOutbox(src, 1, segmentSize, time.Now(), none, discard())
	if err != nil {
		t.Fatal(err)
	}
	var ends []int64
	for i := range 3 {
		m, err := Message{Body: fmt.Sprint("m", i), Once: fmt.Sprint(i)}.entry(&Topic{Name: "t"}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.append(time.Now(), m); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, b.size())
	}
	if err := b.close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(segmentPath(src, 1, logSuffix))
	if err != nil {
		t.Fatal(err)
	}
	for n := int(ends[1]) - 3; n <= len(text); n++ {
		dir := filepath.Join(t.TempDir(), "cut")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(segmentPath(dir, 1, logSuffix), text[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		whole := 0
		for whole < 3 && ends[whole] <= int64(n) {
			whole++
		}
		b, err := openOutbox(dir, 1, segmentSize, time.Now(), none, discard())
		if err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		if b.end() != uint64(whole+1) || len(b.keys) != whole {
			t.Fatalf("%d: next %d, %d names; want %d lines", n, b.end(), len(b.keys), whole)
		}
		m, _ := Message{Body: "next"}.entry(&Topic{Name: "t"}, time.Now())
		if _, err := b.append(time.Now(), m); err != nil {
			t.Fatalf("%d: %v", n, err)
		}
		r := &reader{b: b, at: b.find(1)}
		var read []string
		for {
			l, _, ok, err := r.next()
			if err != nil || !ok {
				if err != nil {
					t.Fatal(err)
				}
				break
			}
			read = append(read, l.entry.Body)
		}
		r.close()
		if want := append([]string{"m0", "m1", "m2"}[:whole:whole], "next"); fmt.Sprint(read) != fmt.Sprint(want) {
			t.Fatalf("%d: read %q, want %q", n, read, want)
		}
		if err := b.close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A line that is damaged in the middle is named and counted, and those behind it are delivered.
func TestDamagedLine(t *testing.T) {
	virtual(t, func(t *testing.T) {
		w := &world{}
		dir := t.TempDir()
		s, stop := begin(t, dir, options(w))
		arn := create(t, s, "news", nil)
		sub := subscribe(t, s, arn, "https", "https://a.test/", nil)
		synctest.Wait()
		w.set(func() { w.answer = func(got) (int, error) { return 500, nil } })
		stop()
		// Without a run, what is published waits.
		s, err := Open(context.Background(), dir, options(w))
		if err != nil {
			t.Fatal(err)
		}
		publish(t, s, arn, "one", "two", "three")
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		logs, _ := filepath.Glob(filepath.Join(dir, topicsName, "*", "outbox", "*"+logSuffix))
		text, err := os.ReadFile(logs[0])
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(logs[0], []byte(strings.Replace(string(text), `"two"`, `"twO"`, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		w.set(func() { w.answer = nil })
		s, stop = begin(t, dir, options(w))
		synctest.Wait()
		same(t, "a", w.bodies("https://a.test/"), []string{"one", "three"})
		if f, err := s.Figures(sub); err != nil || f.Damaged != 1 || f.Delivered != 2 || f.Open != 0 {
			t.Errorf("%+v %v", f, err)
		}
		stop()
		// Damaged cursors are put aside: rather again than never.
		paths, _ := filepath.Glob(filepath.Join(dir, topicsName, "*", cursorsName))
		if err := os.WriteFile(paths[0], []byte(`{"format":"spoor-topic-cursors","version":1,"subscriptions":{"x":{"read":{"segment":1,"offset":-1}}}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		_, stop = begin(t, dir, options(w))
		synctest.Wait()
		stop()
		same(t, "a", w.bodies("https://a.test/"), []string{"one", "three", "one", "three"})
	})
}

// Publishers at once share syncs, and each message is there once.
func TestPublishersAtOnce(t *testing.T) {
	t.Parallel()
	w := &world{}
	s, stop := begin(t, t.TempDir(), options(w))
	arn := create(t, s, "news", nil)
	var wg sync.WaitGroup
	var want []string
	for i := range 8 {
		for k := range 25 {
			want = append(want, fmt.Sprint(i, "-", k))
		}
		wg.Go(func() {
			for k := range 25 {
				once := fmt.Sprint(i, "-", k)
				for range 2 {
					if _, err := s.Publish(t.Context(), arn, Message{Body: once, Once: once}); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	b := s.box(s.byARN(arn).ID)
	r := &reader{b: b.log, at: b.log.find(1)}
	defer r.close()
	var read []string
	for {
		l, _, ok, err := r.next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		read = append(read, l.entry.Body)
	}
	same(t, "the outbox", read, want)
	stop()
}

func FuzzLine(f *testing.F) {
	e, err := Message{Subject: "s", Body: "b", Once: "o", Attributes: map[string]Attribute{"a": {Type: "String", Text: "t"}}}.entry(&Topic{Name: "t"}, time.Unix(0, 0))
	if err != nil {
		f.Fatal(err)
	}
	e.Seq = 7
	text, err := appendLine(nil, e)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("00000000 {}\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := decodeLine(raw)
		if err != nil {
			return
		}
		again, err := appendLine(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeLine(again)
		if err != nil || back.Seq != e.Seq || back.Body != e.Body {
			t.Errorf("%q became %q", raw, again)
		}
	})
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":"spoor-topics","version":1,"written":"2026-01-01T00:00:00Z","topics":[{"id":"00000000-0000-4000-8000-000000000001","account":"111122223333","region":"eu-west-1","name":"t","created":"2026-01-01T00:00:00Z",
		"subscriptions":[{"id":"00000000-0000-4000-8000-000000000002","protocol":"https","endpoint":"https://a.test/","owner":"111122223333","status":"pending","since":"2026-01-01T00:00:00Z","attributes":{"FilterPolicy":"{\"a\":[1]}"}}]}]}`))
	f.Add([]byte(`{"format":"spoor-topics","version":1,"topics":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("%v", err)
			}
			return
		}
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeState(text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := decodeCursors(b); err == nil {
			t.Error("topics are cursors")
		}
	})
}

func FuzzFilter(f *testing.F) {
	for _, s := range []string{`{"a":["x",{"prefix":"y"},{"numeric":[">",1,"<=",2.5]},{"exists":false}]}`, `{"a":{"b":[{"anything-but":["c"]}]},"$or":[{"x":[1]},{"y":[{"cidr":"10.0.0.0/8"}]}]}`} {
		f.Add(s, `{"a":{"b":["d"]},"x":1e5}`, true)
		f.Add(s, `["x"]`, false)
	}
	f.Fuzz(func(t *testing.T, policy, body string, scope bool) {
		p, err := parseFilter(policy, scope)
		if err != nil {
			return
		}
		p.wants(&entry{Body: body, Attributes: map[string]Attribute{"a": {Type: typeArray, Text: body}, "x": {Type: "Number", Text: body}}}, scope)
	})
}
