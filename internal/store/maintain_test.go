package store

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"spoor/internal/source"
)

const oneDay = 24 * time.Hour

// onWarning calls a function at the first warning that has a text, from inside of what warns.
type onWarning struct {
	text string
	done *atomic.Bool
	call func()
}

func (h onWarning) Enabled(context.Context, slog.Level) bool { return true }
func (h onWarning) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, h.text) && !h.done.Swap(true) { // what is called may warn of the same
		h.call()
	}
	return nil
}
func (h onWarning) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h onWarning) WithGroup(string) slog.Handler      { return h }

// meddle has a function called in the middle of the next merge of files of a day: it takes away the ids of one of them,
// which is told when its turn has come.
func meddle(t *testing.T, s *Store, day string, call func()) (called *bool) {
	t.Helper()
	plan, err := s.Plan(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Release()
	for _, f := range plan.Files {
		if dayName(f) == day {
			if err := os.Remove(idsPath(s.dir, f.Name)); err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	called = new(bool)
	s.opts.Log = slog.New(onWarning{"written anew", &atomic.Bool{}, func() { *called = true; call() }})
	return called
}

// scattered makes a store with several files for each of the days of classed.
func scattered(t *testing.T, days int, now *time.Time) *Store {
	t.Helper()
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{Now: func() time.Time { return *now }})
	for _, dir := range thirds(t, days) {
		ingest(t, s, IngestOptions{}, dir)
	}
	return s
}

// thirds are folders with the events of classed, of each hour and class in one of them.
func thirds(t *testing.T, days int) (dirs []string) {
	t.Helper()
	// Lines are in the order of time; every third is of one class.
	text, err := os.ReadFile(filepath.Join(classed(t, days), "a.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	parts := make([]strings.Builder, 3)
	for i, line := range strings.SplitAfter(string(text), "\n") {
		parts[i/3%3].WriteString(line)
	}
	for i := range parts {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte(parts[i].String()), 0o644); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	return dirs
}

// TestCompactMeetsRetention: what retention took away while a day was being compacted does not come back with it.
func TestCompactMeetsRetention(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)
	s := scattered(t, 3, &now)
	called := meddle(t, s, "2026-01-02", func() {
		if res, err := s.Retain(t.Context(), RetainOptions{Ages: map[string]time.Duration{"Data": oneDay}}); err != nil || res.Removed != 72 {
			t.Errorf("%+v %v", res, err)
		}
	})
	res, err := s.Compact(t.Context(), CompactOptions{})
	if err != nil || !*called {
		t.Fatalf("%v; the middle was reached: %t", err, *called)
	}
	if res.Redone != 1 || len(res.Days) != 3 {
		t.Errorf("%+v", res)
	}
	if v := check(t, repaired(t, s)); v.Rows != 144 || v.Files != 3 {
		t.Errorf("%d rows in %d files", v.Rows, v.Files)
	}
}

// TestRetentionMeetsCompaction: a day that was compacted while retention wrote it anew is done again.
func TestRetentionMeetsCompaction(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)
	s := scattered(t, 3, &now)
	called := meddle(t, s, "2026-01-02", func() {
		if res, err := s.Compact(t.Context(), CompactOptions{}); err != nil || len(res.Days) != 3 {
			t.Errorf("%+v %v", res, err)
		}
	})
	res, err := s.Retain(t.Context(), RetainOptions{Ages: map[string]time.Duration{"Data": oneDay}})
	if err != nil || !*called {
		t.Fatalf("%v; the middle was reached: %t", err, *called)
	}
	if res.Redone != 1 || res.Removed != 72 || len(res.Days) != 3 {
		t.Errorf("%+v", res)
	}
	if v := check(t, repaired(t, s)); v.Rows != 144 {
		t.Errorf("%d rows", v.Rows)
	}
}

// TestRetentionMeetsHold: a hold that is placed while a day is being written anew keeps the day.
func TestRetentionMeetsHold(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)
	s := scattered(t, 3, &now)
	called := meddle(t, s, "2026-01-01", func() {
		if err := s.Hold(t.Context(), Hold{Name: "case"}); err != nil {
			t.Error(err)
		}
	})
	res, err := s.Retain(t.Context(), RetainOptions{Ages: map[string]time.Duration{"Data": oneDay}})
	if err != nil || !*called {
		t.Fatalf("%v; the middle was reached: %t", err, *called)
	}
	if res.Removed != 0 || len(res.Days) != 3 || res.Days[0].Held != "case" || res.Days[2].Held != "case" {
		t.Errorf("%+v", res)
	}
	if v := check(t, repaired(t, s)); v.Rows != 216 || v.Files != 9 {
		t.Errorf("%d rows in %d files", v.Rows, v.Files)
	}
}

// TestCompactMeetsAppend: what is appended to a day while it is being compacted is there afterwards.
func TestCompactMeetsAppend(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 11, 0, 0, 0, 0, time.UTC)
	s := scattered(t, 2, &now)
	more := t.TempDir()
	if err := os.WriteFile(filepath.Join(more, "b.jsonl"), []byte(`{"eventTime":"2026-01-02T12:30:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","eventID":"late"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	called := meddle(t, s, "2026-01-02", func() { ingest(t, s, IngestOptions{}, more) })
	res, err := s.Compact(t.Context(), CompactOptions{})
	if err != nil || !*called {
		t.Fatalf("%v; the middle was reached: %t", err, *called)
	}
	if v := check(t, s); res.Redone != 0 || v.Rows != 145 || v.Files != 3 {
		t.Errorf("%+v; %d rows in %d files", res, v.Rows, v.Files)
	}
}

// repaired has the ids made again that a test took away, where files are left that miss them.
func repaired(t *testing.T, s *Store) *Store {
	t.Helper()
	s.opts.Log = slog.New(slog.DiscardHandler)
	ingest(t, s, IngestOptions{}, t.TempDir())
	return s
}

// TestRetainSize: what is too much goes by whole days, the oldest first; holds and today stay, and that is told.
func TestRetainSize(t *testing.T) {
	t.Parallel()
	const days = 6
	today := time.Date(2026, 1, days, 15, 0, 0, 0, time.UTC)
	name := func(n int) string { return fmt.Sprintf("2026-01-%02d", n) }
	hold := Hold{Name: "case", Since: today.AddDate(0, 0, -4).Truncate(oneDay), Until: today.AddDate(0, 0, -3).Truncate(oneDay)} // the second day
	for _, c := range []struct {
		name string
		opts func(day int64) RetainOptions // by how large a day is
		hold bool
		gone []string // days
		held []string
		left int64 // rows
		over bool
	}{
		{name: "room enough", opts: func(d int64) RetainOptions { return RetainOptions{MaxBytes: days*d + d/2} }, left: days * 72},
		{name: "two days too much", opts: func(d int64) RetainOptions { return RetainOptions{MaxBytes: (days-2)*d + d/2} },
			gone: []string{name(1), name(2)}, left: (days - 2) * 72},
		{name: "a day is on hold", hold: true, opts: func(d int64) RetainOptions { return RetainOptions{MaxBytes: (days-2)*d + d/2} },
			gone: []string{name(1), name(3)}, left: (days - 2) * 72},
		{name: "today stays", opts: func(int64) RetainOptions { return RetainOptions{MaxBytes: 1} },
			gone: []string{name(1), name(2), name(3), name(4), name(5)}, left: 72, over: true},
		{name: "today and the hold stay", hold: true, opts: func(int64) RetainOptions { return RetainOptions{MaxBytes: 1} },
			gone: []string{name(1), name(3), name(4), name(5)}, left: 144, over: true},
		{name: "age first", opts: func(d int64) RetainOptions {
			ages := map[string]time.Duration{}
			for _, c := range Classes() {
				ages[c] = 3*oneDay - time.Hour
			}
			return RetainOptions{Ages: ages, MaxBytes: (days-2)*d + d/2}
		}, gone: []string{name(1), name(2)}, left: (days - 2) * 72},
		{name: "a class", opts: func(d int64) RetainOptions {
			return RetainOptions{Sizes: map[string]int64{"Data": (days-2)*d/3 + d/6}}
		}, gone: []string{name(1), name(2)}, left: days*72 - 48},
		{name: "a class and a hold", hold: true, opts: func(d int64) RetainOptions { return RetainOptions{Sizes: map[string]int64{"Data": 1}} },
			gone: []string{name(1), name(3), name(4), name(5)}, left: days*72 - 4*24, over: true},
		{name: "a class, and then all", opts: func(d int64) RetainOptions {
			return RetainOptions{Sizes: map[string]int64{"Data": (days-3)*d/3 + d/6}, MaxBytes: days*d - d - d/2}
		}, gone: []string{name(1), name(2), name(3)}, left: days*72 - 72 - 48},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := create(t, filepath.Join(t.TempDir(), "store"), Options{Now: func() time.Time { return today }})
			ingest(t, s, IngestOptions{}, classed(t, days))
			if c.hold {
				if err := s.Hold(t.Context(), hold); err != nil {
					t.Fatal(err)
				}
			}
			full, err := s.Retain(t.Context(), RetainOptions{})
			if err != nil || full.Removed != 0 || len(full.Days) != 0 {
				t.Fatalf("%+v %v", full, err)
			}
			opts := c.opts(full.Bytes / days)
			dry := opts
			dry.DryRun = true
			for _, o := range []RetainOptions{dry, opts} {
				res, err := s.Retain(t.Context(), o)
				if err != nil {
					t.Fatal(err)
				}
				var gone []string
				for _, d := range res.Days {
					gone = append(gone, d.Day)
				}
				if !slices.Equal(gone, c.gone) || res.Removed != days*72-c.left || (res.Over > 0 || res.OverBy["Data"] > 0) != c.over {
					t.Errorf("dry run %t: days %v, want %v; %d removed, over by %d, %v", o.DryRun, gone, c.gone, res.Removed, res.Over, res.OverBy)
				}
				if len(o.Ages) == 0 && res.RemovedForSize != res.Removed || len(o.Ages) > 0 && res.RemovedForSize != 0 {
					t.Errorf("%d of %d are said to be removed for size", res.RemovedForSize, res.Removed)
				}
			}
			if v := check(t, s); v.Rows != c.left {
				t.Errorf("%d rows left, want %d", v.Rows, c.left)
			}
			// How large what is left of a file will be is only known when it has been written.
			estimated := len(opts.Sizes) > 0 && opts.MaxBytes > 0
			if res, err := s.Retain(t.Context(), opts); err != nil || res.Removed != 0 && !estimated {
				t.Errorf("again: %+v %v", res, err)
			}
		})
	}
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{})
	for _, bad := range []RetainOptions{{MaxBytes: -1}, {Sizes: map[string]int64{"Data": 0}}, {Sizes: map[string]int64{"Nonsense": 1}}} {
		if _, err := s.Retain(t.Context(), bad); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
}

// TestCompactOften: hours that are over are compacted while their day goes on, and what comes late does not have a large
// file written anew.
func TestCompactOften(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 12, 10, 0, 0, time.UTC)
	s := create(t, filepath.Join(t.TempDir(), "store"), Options{Now: func() time.Time { return now }})
	n := 0
	flush := func(rows int, at time.Time) {
		t.Helper()
		var b strings.Builder
		for i := range rows {
			n++
			fmt.Fprintf(&b, `{"eventTime":%q,"eventSource":"s3.amazonaws.com","eventName":"GetObject","requestParameters":{"key":"%x"},"eventID":"e-%d"}`+"\n",
				at.Add(time.Duration(i)*time.Millisecond).Format("2006-01-02T15:04:05.000Z07:00"), uint32(n)*2654435761, n)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "a.jsonl"), []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		ingest(t, s, IngestOptions{}, dir)
	}
	compact := func(days, files int) {
		t.Helper()
		res, err := s.Compact(t.Context(), CompactOptions{Often: true})
		if err != nil || len(res.Days) != days {
			t.Fatalf("%+v %v", res, err)
		}
		if v := check(t, s); v.Files != files || v.Rows != int64(n) {
			t.Fatalf("%s: %d rows in %d files, want %d in %d", now.Format(time.TimeOnly), v.Rows, v.Files, n, files)
		}
	}
	for hour := 10; hour < 13; hour++ {
		for m := range 4 {
			flush(10, time.Date(2026, 1, 2, hour, m, 0, 0, time.UTC))
		}
	}
	compact(1, 1+4+4) // the hour from 10 on; that from 11 on ended just now
	now = now.Add(10 * time.Minute)
	compact(1, 1+1+4)
	compact(0, 6)
	now = now.Add(time.Hour)
	compact(1, 3)
	if _, err := s.Compact(t.Context(), CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	compact(0, 3) // the day goes on
	now = time.Date(2026, 1, 3, 3, 0, 1, 0, time.UTC)
	compact(1, 1)
	// Late events.
	flush(4_000, time.Date(2026, 1, 2, 1, 0, 0, 0, time.UTC))
	compact(0, 2)
	flush(1, time.Date(2026, 1, 2, 2, 0, 0, 0, time.UTC))
	compact(1, 2)
	if res, err := s.Compact(t.Context(), CompactOptions{}); err != nil || len(res.Days) != 1 {
		t.Fatalf("%+v %v", res, err)
	}
	compact(0, 1)
}

// TestMaintain goes over days of a schedule in virtual time, in a process of its own: encoders that tests share may not
// be shared between times.
func TestMaintain(t *testing.T) {
	t.Parallel()
	const inside = "SPOOR_STORE_VIRTUAL"
	if os.Getenv(inside) == "" {
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestMaintain$", "-test.v")
		cmd.Env = append(os.Environ(), inside+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: TestMaintain") {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	logs := thirds(t, 3)
	dir := filepath.Join(t.TempDir(), "store")
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)))
		s := create(t, dir, Options{})
		for _, dir := range logs {
			ingest(t, s, IngestOptions{}, dir)
		}
		ctx, cancel := context.WithCancel(t.Context())
		opts := MaintainOptions{CompactInterval: time.Hour, CompactAfter: 3 * time.Hour, ExpireInterval: 6 * time.Hour, ExpireGrace: 4 * time.Hour,
			Retention: RetainOptions{Ages: map[string]time.Duration{"Data": 5 * oneDay}}}
		m, err := s.Maintain(ctx, opts)
		if err != nil {
			t.Fatal(err)
		}
		if st := m.Stats(); !st.Compact.Next.IsZero() || st.Compact.Runs != 0 {
			t.Errorf("before it runs: %+v", st)
		}
		ended := make(chan error)
		go func() { ended <- m.Run(ctx) }()
		began := time.Now()
		after := func(d time.Duration, compact, expire int64) MaintainStats {
			t.Helper()
			time.Sleep(time.Until(began.Add(d)))
			synctest.Wait()
			st := m.Stats()
			if st.Compact.Runs != compact || st.Expire.Runs != expire {
				t.Errorf("after %s: compacted %d times, want %d; expired %d, want %d", d, st.Compact.Runs, compact, st.Expire.Runs, expire)
			}
			return st
		}
		after(59*time.Second, 0, 0)
		st := after(61*time.Second, 1, 1)
		if want := began.Add(time.Minute + time.Hour); !st.Compact.Next.Equal(want) || !st.Compact.Began.Equal(began.Add(time.Minute)) {
			t.Errorf("next at %s, want %s", st.Compact.Next, want)
		}
		after(6*time.Hour+59*time.Second, 6, 1)
		st = after(6*time.Hour+61*time.Second, 7, 2)
		// The first day was over for three hours.
		if st.Totals.DaysCompacted != 1 || st.Totals.RowsCompacted != 72 || st.Totals.FilesMerged < 2 || st.Totals.FilesWritten != 1 || st.Totals.BytesWritten == 0 {
			t.Errorf("%+v", st.Totals)
		}
		after(7*time.Hour, 7, 2)
		if _, err := m.Compact(ctx); err != nil { // on demand; the next one counts from here
			t.Fatal(err)
		}
		after(7*time.Hour+59*time.Minute, 8, 2)
		st = after(8*time.Hour, 9, 2)
		if st.Totals.FilesDeleted != 0 {
			t.Errorf("within the grace period: %+v", st.Totals)
		}
		st = after(12*time.Hour+2*time.Minute, 13, 3)
		if st.Totals.FilesDeleted != st.Totals.FilesMerged || st.Totals.BytesDeleted != st.Totals.BytesMerged || st.Totals.SnapshotsExpired == 0 {
			t.Errorf("%+v", st.Totals)
		}
		// A plan that is being read keeps its files.
		plan, err := s.Plan(ctx, Filter{})
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		st = after(2*oneDay+12*time.Hour+2*time.Minute, 61, 11)
		if !st.OldestPlan.Equal(at) || st.Totals.DaysCompacted != 3 {
			t.Errorf("%+v", st)
		}
		for _, f := range plan.Files {
			if what := looks(f); what != "" {
				t.Fatalf("%s: %s", f.Name, what)
			}
		}
		plan.Release()
		st = after(2*oneDay+18*time.Hour+2*time.Minute, 67, 12)
		if st.Totals.FilesDeleted != st.Totals.FilesMerged || !st.OldestPlan.IsZero() {
			t.Errorf("%+v", st)
		}
		// What fails is tried again, at growing distances.
		state := filepath.Join(dir, stateDir)
		if err := os.Rename(state, state+"-away"); err != nil {
			t.Fatal(err)
		}
		st = after(3*oneDay+90*time.Second, 73, 12)
		if st.Expire.Failures != 1 || st.Expire.Error == "" {
			t.Errorf("%+v", st.Expire)
		}
		for i, minutes := range []int{2, 4, 8, 16} {
			if st = after(3*oneDay+time.Duration(minutes)*time.Minute+30*time.Second, 73, 12); st.Expire.Failures != int64(i+2) {
				t.Errorf("%d failures after %d minutes", st.Expire.Failures, minutes)
			}
		}
		if err := os.Rename(state+"-away", state); err != nil {
			t.Fatal(err)
		}
		st = after(3*oneDay+32*time.Minute+30*time.Second, 73, 13)
		if st.Expire.Error != "" || !st.Expire.Next.Equal(st.Expire.Began.Add(6*time.Hour)) {
			t.Errorf("%+v", st.Expire)
		}
		// Other times.
		opts.CompactInterval, opts.ExpireInterval = 0, 2*time.Hour
		if err := m.Configure(opts); err != nil {
			t.Fatal(err)
		}
		st = after(4*oneDay+33*time.Minute, 73, 25)
		if !st.Compact.Next.IsZero() {
			t.Errorf("%+v", st.Compact)
		}
		opts.Retention.DryRun = true
		if err := m.Configure(opts); err == nil {
			t.Error("a schedule of dry runs was taken")
		}
		// Retention: data events of the first day are five days older than the end of it on January 7.
		st = after(5*oneDay+3*time.Hour, 73, 38)
		if st.Totals.RowsRemoved != 24 {
			t.Errorf("%+v", st.Totals)
		}
		if err := m.Run(ctx); err == nil {
			t.Error("it ran twice")
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if st := m.Stats(); !st.Expire.Next.IsZero() {
			t.Errorf("%+v", st.Expire)
		}
		if v := check(t, s); v.Rows != 192 || v.Removed != 24 {
			t.Errorf("%+v", v)
		}
	})
}

// TestMaintainLoud: what is over its size, held or damaged is in the figures.
func TestMaintainLoud(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 3, 12, 0, 0, 0, time.UTC)
	s := scattered(t, 3, &now)
	if err := s.Hold(t.Context(), Hold{Name: "case", Until: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}); err != nil {
		t.Fatal(err)
	}
	var loud []string
	s.opts.Log = slog.New(levels{&loud})
	ages := map[string]time.Duration{"Data": time.Hour, "Management": 100 * oneDay}
	m, err := s.Maintain(t.Context(), MaintainOptions{Retention: RetainOptions{Ages: ages, MaxBytes: 1, Sizes: map[string]int64{"Data": 1}}})
	if err != nil {
		t.Fatal(err)
	}
	out, err := m.Expire(t.Context())
	if err != nil || out.Retained == nil || out.Expired == nil {
		t.Fatalf("%+v %v", out, err)
	}
	st := m.Stats()
	if st.Over == 0 || st.OverBy["Data"] == 0 || st.Bytes == 0 || st.DaysHeld != 1 || st.Totals.DaysForSize != 1 || st.Totals.RowsForSize != 72 || st.Totals.RowsRemoved != 72 || st.Damaged != 0 {
		t.Errorf("%+v", st)
	}
	for _, want := range []string{"ERROR store: it is larger than it may be", "ERROR store: events of a class take more", "WARN store: a day was removed as there is too much"} {
		if !slices.ContainsFunc(loud, func(l string) bool { return strings.HasPrefix(l, want) }) {
			t.Errorf("%q was not logged: %q", want, loud)
		}
	}
	plan, err := s.Plan(t.Context(), Filter{})
	if err != nil {
		t.Fatal(err)
	}
	plan.Release()
	if err := os.Truncate(plan.Files[len(plan.Files)-1].Path, 100); err != nil {
		t.Fatal(err)
	}
	now = now.AddDate(0, 0, 2)
	if _, err := m.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if st := m.Stats(); st.Damaged != 1 || st.Compact.Runs != 1 {
		t.Errorf("%+v", st)
	}
	if got := records(t, s.Source(Filter{Until: time.Date(2026, 1, 3, 0, 0, 0, 0, time.UTC)}), source.Selection{}); len(got) != 72 {
		t.Errorf("%d records of the day on hold", len(got))
	}
}

// levels notes what is logged as a warning or an error.
type levels struct{ lines *[]string }

func (h levels) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }
func (h levels) Handle(_ context.Context, r slog.Record) error {
	*h.lines = append(*h.lines, r.Level.String()+" "+r.Message)
	return nil
}
func (h levels) WithAttrs([]slog.Attr) slog.Handler { return h }
func (h levels) WithGroup(string) slog.Handler      { return h }
