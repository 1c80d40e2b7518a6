package watch

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
)

// folder is a folder that is watched, in virtual time: files have the times that write gives them.
type folder struct {
	*testing.T
	dir, state string
	kept       *livetest.Kept
	src        *Source
	stop       func()
}

func watched(t *testing.T, change func(*Options)) *folder {
	f := &folder{T: t, dir: t.TempDir(), state: t.TempDir(), kept: &livetest.Kept{}}
	f.start(change)
	return f
}

func (f *folder) start(change func(*Options)) {
	f.Helper()
	o := Options{Options: live.Options{Name: "folder", Dir: f.state, Accept: f.kept, Workers: 2}, Path: f.dir, Interval: 10 * time.Second, Settle: 5 * time.Second}
	if change != nil {
		change(&o)
	}
	src, err := Open(o)
	if err != nil {
		f.Fatal(err)
	}
	f.src = src
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx) }()
	f.stop = func() {
		cancel()
		if err := <-done; err != nil {
			f.Errorf("run: %v", err)
		}
		if err := src.Close(); err != nil {
			f.Errorf("close: %v", err)
		}
	}
	synctest.Wait()
}

func (f *folder) write(name, text string) {
	f.Helper()
	path := filepath.Join(f.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		f.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		f.Fatal(err)
	}
	f.touch(name)
}

func (f *folder) touch(name string) {
	f.Helper()
	if err := os.Chtimes(filepath.Join(f.dir, name), time.Time{}, time.Now()); err != nil {
		f.Fatal(err)
	}
}

func (f *folder) add(name, text string) {
	f.Helper()
	w, err := os.OpenFile(filepath.Join(f.dir, name), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := w.WriteString(text); err != nil {
		f.Fatal(err)
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	f.touch(name)
}

func (f *folder) rename(from, to string) {
	f.Helper()
	if err := os.Rename(filepath.Join(f.dir, from), filepath.Join(f.dir, to)); err != nil {
		f.Fatal(err)
	}
}

// after says what was accepted in all when some time has gone by.
func (f *folder) after(d time.Duration, want string) {
	f.Helper()
	time.Sleep(d)
	synctest.Wait()
	if got := strings.Join(f.kept.IDs(), " "); got != want {
		f.Errorf("accepted %q, want %q; %+v", got, want, f.src.Stats())
	}
	r, err := f.src.Ledger(time.Time{})
	if err != nil || !r.Balanced {
		f.Errorf("ledger: %v, %v", r.Problems, err)
	}
}

func rec(ids ...string) string {
	var out strings.Builder
	for _, id := range ids {
		out.WriteString(livetest.Record(id) + "\n")
	}
	return out.String()
}

func TestWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, nil)
		defer func() { f.stop() }()
		f.write("a.json.gz", string(livetest.Log("a", "b"))[:70]) // still being written
		f.write("x/b.json.tmp", `{"Records":[`+livetest.Record("c")+`]}`)
		f.write(".hidden", rec("hidden"))
		f.write("empty.json", "")
		f.write("note.txt", "hello")
		time.Sleep(8 * time.Second)
		f.write("a.json.gz", string(livetest.Log("a", "b")))
		f.after(4*time.Second, "") // looked at 10 s, 2 s after the change
		f.after(10*time.Second, "a b")
		f.rename("x/b.json.tmp", "x/b.json")
		f.after(20*time.Second, "a b c")
		f.touch("a.json.gz")
		f.rename("a.json.gz", "z.json.gz")
		f.after(time.Minute, "a b c") // no other content
		f.write("z.json.gz", string(livetest.Log("d")))
		f.after(time.Minute, "a b c d") // another one
		r, err := f.src.Ledger(time.Time{})
		if err != nil || r.Objects.Read != 3 || r.Objects.Skipped != 2 || r.Objects.Failed != 0 {
			t.Errorf("ledger %+v, %v", r.Objects, err)
		}
		if st := f.src.Stats(); st.Errors != 0 || st.Backlog != 0 {
			t.Errorf("stats %+v", st)
		}
	})
}

func TestLines(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, nil)
		half := rec("c")
		f.write("log.jsonl", rec("a", "b")+half[:50])
		f.after(11*time.Second, "a b")
		f.after(time.Minute, "a b") // not whole, however long it is so
		if st := f.src.Stats(); st.Backlog != 1 {
			t.Errorf("backlog %d", st.Backlog)
		}
		f.add("log.jsonl", half[50:]+rec("d"))
		f.after(20*time.Second, "a b c d")
		f.add("log.jsonl", strings.TrimSpace(rec("e"))) // whole, without an end
		f.after(20*time.Second, "a b c d e")
		f.rename("log.jsonl", "log.jsonl.1") // rotated
		f.write("log.jsonl", rec("f"))
		f.add("log.jsonl.1", "\n"+rec("g")) // by a writer that still has it
		f.after(20*time.Second, "a b c d e f g")
		// The offset is that in the file.
		i := slices.IndexFunc(f.kept.Records(), func(r journal.Record) bool { return strings.Contains(string(r.Raw), `"d"`) })
		if o := f.kept.Records()[i].Origin; o.Offset != int64(len(rec("a", "b", "c"))) || o.Object != filepath.Join(f.dir, "log.jsonl") {
			t.Errorf("origin %+v", o)
		}
		f.stop()
		f.add("log.jsonl", rec("h"))
		f.start(nil) // goes on where it was
		f.after(20*time.Second, "a b c d e f g h")
		f.write("log.jsonl", rec("i")) // written anew
		f.after(20*time.Second, "a b c d e f g h i")
		if err := os.Remove(filepath.Join(f.dir, "log.jsonl.1")); err != nil {
			t.Fatal(err)
		}
		f.after(20*time.Second, "a b c d e f g h i")
		if got := f.src.Files(); len(got) != 1 {
			t.Errorf("known: %v", got)
		}
		if r, err := f.src.Ledger(time.Time{}); err != nil || r.Records.Kept != 9 || r.Records.Rejected != 0 {
			t.Errorf("ledger %+v, %v", r.Records, err)
		}
		f.stop()
	})
}

func TestBroken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, func(o *Options) { o.MaxTries = 3 })
		defer func() { f.stop() }()
		whole := livetest.Log("a", "b")
		f.write("a.json.gz", string(whole[:60]))
		f.after(5*time.Minute, "")
		letters, err := f.src.Dead("", 10)
		if err != nil || len(letters) != 1 || letters[0].Attempts != 3 || letters[0].Object != filepath.Join(f.dir, "a.json.gz") {
			t.Fatalf("letters %+v, %v", letters, err)
		}
		if r, err := f.src.Ledger(time.Time{}); err != nil || r.Objects.Failed != 1 || r.Objects.Listed != 1 || f.src.Stats().Errors != 3 {
			t.Errorf("ledger %+v, %v", r.Objects, err)
		}
		f.write("a.json.gz", string(whole)) // whole at last
		f.after(20*time.Second, "a b")
		if err := f.src.Replay(t.Context(), letters[0].ID); err != nil || f.src.Stats().DeadLetters != 0 {
			t.Errorf("replay: %v", err)
		}
		if r, err := f.src.Ledger(time.Time{}); err != nil || len(r.Notes) != 1 || r.Notes[0] != (ledger.ReasonCount{Reason: live.Replayed, Count: 1}) {
			t.Errorf("notes %+v, %v", r.Notes, err)
		}
	})
}

// Killed at a moment after events are durable: they are read again, and counted once in the ledger.
func TestKilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, func(o *Options) { o.Checkpoint = time.Hour })
		f.write("log.jsonl", rec("a", "b"))
		f.after(11*time.Second, "a b")
		copied := t.TempDir() // what lies on the disk now is what a kill leaves
		if err := os.CopyFS(copied, os.DirFS(f.state)); err != nil {
			t.Fatal(err)
		}
		f.stop()
		f.state = copied
		f.start(nil)
		f.after(11*time.Second, "a a b b")
		if r, err := f.src.Ledger(time.Time{}); err != nil || r.Records.Kept != 2 {
			t.Errorf("ledger %+v, %v", r.Records, err)
		}
		f.stop()
		f.start(nil)
		f.after(time.Minute, "a a b b")
		f.stop()
	})
}

// A clock that is wrong, on either side, delays and does not lose.
func TestClockSkew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, nil)
		defer func() { f.stop() }()
		for name, at := range map[string]time.Time{"future.json": time.Now().AddDate(1, 0, 0), "past.json": time.Unix(0, 0)} {
			f.write(name, `{"Records":[`+livetest.Record(name)+`]}`)
			if err := os.Chtimes(filepath.Join(f.dir, name), time.Time{}, at); err != nil {
				t.Fatal(err)
			}
		}
		f.after(31*time.Second, "future.json past.json")
		if st := f.src.Stats(); st.Lag < 0 {
			t.Errorf("lag %v", st.Lag)
		}
	})
}

func TestNoFolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := watched(t, nil)
		defer func() { f.stop() }()
		f.write("a.jsonl", rec("a"))
		f.after(11*time.Second, "a")
		aside := f.dir + "-aside"
		if err := os.Rename(f.dir, aside); err != nil {
			t.Fatal(err)
		}
		f.after(20*time.Second, "a")
		if st := f.src.Stats(); st.Errors == 0 || !strings.Contains(st.LastError, "no such file") {
			t.Errorf("stats %+v", st)
		}
		if err := os.Rename(aside, f.dir); err != nil {
			t.Fatal(err)
		}
		f.after(20*time.Second, "a") // it is known still
	})
}
