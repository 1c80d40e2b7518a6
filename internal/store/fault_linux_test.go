package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/source"
)

// childVar makes the test binary do one job on a store and end: JOB, the store's folder, the folder of logs.
const childVar = "SPOOR_STORE_CHILD"

func TestMain(m *testing.M) {
	if job := os.Getenv(childVar); job != "" {
		if err := child(strings.Split(job, "\n")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child does a job. It writes a line to stdout for everything that it was told is committed.
func child(job []string) error {
	ctx := context.Background()
	dir, logs := job[1], job[2]
	switch job[0] {
	case "full", "live full":
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+job[3]); err != nil {
			fmt.Println("no mount:", err)
			return nil
		}
		if job[0] == "full" {
			return fullDisk(ctx, dir, logs)
		}
		return liveFullDisk(ctx, dir)
	case "live":
		return liveKilled(ctx, dir, job[2:])
	}
	s, err := Open(ctx, dir, Options{Wait: time.Minute})
	if errors.Is(err, ErrNoStore) {
		s, err = Create(ctx, dir, Options{Wait: time.Minute})
	}
	if err != nil {
		return err
	}
	fmt.Println("open", s.st.Load().Rows)
	switch job[0] {
	case "ingest":
		in, err := sources(logs)
		if err != nil {
			return err
		}
		_, err = s.Ingest(ctx, IngestOptions{Intake: in, EpochRows: 250, BufferBytes: 1 << 19, Committed: func(rows int64) { fmt.Println("rows", rows) }})
		if err != nil {
			return err
		}
	case "compact":
		if _, err := s.Compact(ctx, CompactOptions{Closed: -1, Progress: func(d DayCompacted) { fmt.Println("day", d.Day) }}); err != nil {
			return err
		}
	case "beside":
		if err := beside(ctx, s, logs); err != nil {
			return err
		}
	case "expire":
		ages := map[string]time.Duration{"Data": time.Hour, "Insight": time.Hour}
		if _, err := s.Retain(ctx, RetainOptions{Ages: ages}); err != nil {
			return err
		}
		fmt.Println("retained")
		if _, err := s.Expire(ctx, ExpireOptions{Grace: -1}); err != nil {
			return err
		}
	}
	fmt.Println("done")
	return s.Close()
}

// beside ingests while the store is looked after without a pause.
func beside(ctx context.Context, s *Store, logs string) error {
	in, err := sources(logs)
	if err != nil {
		return err
	}
	keep := func() error {
		if _, err := s.Compact(ctx, CompactOptions{Closed: -1}); err != nil {
			return err
		}
		if _, err := s.Retain(ctx, RetainOptions{Ages: map[string]time.Duration{"Data": time.Hour}}); err != nil {
			return err
		}
		_, err := s.Expire(ctx, ExpireOptions{Grace: -1})
		return err
	}
	ended := make(chan error)
	go func() {
		_, err := s.Ingest(ctx, IngestOptions{Intake: in, EpochRows: 100, BufferBytes: 1 << 19, Committed: func(rows int64) { fmt.Println("rows", rows) }})
		ended <- err
	}()
	for rounds := 0; ; rounds++ {
		select {
		case err := <-ended:
			fmt.Println("rounds beside", rounds)
			return errors.Join(err, keep())
		default:
		}
		if err := keep(); err != nil {
			return errors.Join(err, <-ended)
		}
	}
}

// runChild runs a job and kills it after a while; a negative while lets it end. It returns what the job wrote.
func runChild(t *testing.T, kill time.Duration, job ...string) (lines []string, killed bool) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childVar+"="+strings.Join(job, "\n"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if kill >= 0 {
		timer := time.AfterFunc(kill, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
	}
	for sc := bufio.NewScanner(out); sc.Scan(); {
		lines = append(lines, sc.Text())
	}
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return lines, true
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", job[0], err, stderr.String())
	}
	return lines, false
}

// TestKill kills ingestion, compaction and expiry at random: the store always opens, its rows are what the ledger counts,
// nothing is twice, and what was acknowledged is there. SPOOR_FAULT_ROUNDS is how often each of them is killed.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("SPOOR_FAULT_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("SPOOR_FAULT_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("SPOOR_FAULT_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	logs := makeLogs(t, 1500, 2, 8)
	want := unique(t, logs)
	took := map[string]time.Duration{} // how long a job takes when nobody kills it
	jobs := []string{"ingest", "compact", "expire"}
	kills := map[string]int{}
	missing := func(job string) bool { return kills[job] < rounds }
	for slices.ContainsFunc(jobs, missing) {
		dir := filepath.Join(t.TempDir(), "store")
		for _, job := range jobs {
			limit := took[job]
			if limit == 0 {
				limit = time.Second
			}
			for tries := 0; ; tries++ {
				began := time.Now()
				kill := time.Duration(rnd.Int64N(int64(limit) * 5 / 4))
				if !missing(job) || tries == max(1, min(5, rounds/20)) { // the next job has its turn
					kill = -1
				}
				lines, killed := runChild(t, kill, job, dir, logs)
				var acked int64
				for _, l := range lines {
					if n, ok := strings.CutPrefix(l, "rows "); ok {
						v, err := strconv.ParseInt(n, 10, 64)
						if err != nil {
							t.Fatal(err)
						}
						acked = v
					}
				}
				opened := aftermath(t, dir, job, acked, int64(len(want)))
				if !killed {
					if !opened {
						t.Fatalf("%s ended without a store", job)
					}
					took[job] = time.Since(began)
					break
				}
				kills[job]++
			}
		}
		s, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		got := records(t, s.Source(Filter{}), source.Selection{})
		if s.st.Load().Rows+s.st.Load().removedRows() != int64(len(want)) || int64(len(got)) != s.st.Load().Rows {
			t.Errorf("%d records at the end, %d removed, want %d", len(got), s.st.Load().removedRows(), len(want))
		}
		for _, r := range got {
			if _, ok := slices.BinarySearch(want, r); !ok {
				t.Fatalf("a record that was never read: %s", r)
			}
		}
		if st, err := s.Status(t.Context(), false); err != nil || st.Orphans > 0 || st.Replaced > 0 {
			t.Errorf("%d orphans, %d replaced files at the end (%v)", st.Orphans, st.Replaced, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("killed: %v", kills)
}

// TestKillBeside kills a process that ingests while it compacts, retains and expires: whatever it was doing, the store is
// whole, and in the end it has every event once that retention does not remove, and none that it does.
func TestKillBeside(t *testing.T) {
	t.Parallel()
	rounds := 1
	if n, err := strconv.Atoi(os.Getenv("SPOOR_FAULT_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("SPOOR_FAULT_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("SPOOR_FAULT_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 2))
	logs := makeLogs(t, 900, 2, 8)
	g := &gatherClass{leave: "Data"}
	in := input(t, logs)
	in.Ledger, in.Workers = ledger.New(), 1
	if err := intake.Run(t.Context(), in, func() (intake.Worker, error) { return g, nil }); err != nil {
		t.Fatal(err)
	}
	slices.Sort(g.raw)
	want := slices.Compact(g.raw)
	if len(want) < 100 || g.left < 100 {
		t.Fatalf("%d events stay, %d go", len(want), g.left)
	}
	limit := 2 * time.Second
	for killed := 0; killed < rounds; {
		dir := filepath.Join(t.TempDir(), "store")
		for tries := 0; ; tries++ {
			kill := time.Duration(rnd.Int64N(int64(limit)))
			if tries == 3 || killed == rounds {
				kill = -1
			}
			began := time.Now()
			lines, was := runChild(t, kill, "beside", dir, logs)
			if !was {
				limit = time.Since(began)
				if i := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "rounds beside") }); i < 0 || tries == 0 && lines[i] == "rounds beside 0" {
					t.Errorf("nothing was done beside: %q", lines)
				}
				break
			}
			killed++
			for _, o := range []Options{{ReadOnly: true}, {}} {
				s, err := Open(t.Context(), dir, o)
				if errors.Is(err, ErrNoStore) && !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "rows") }) {
					break // killed before there was a store
				}
				if err != nil {
					t.Fatal(err)
				}
				check(t, s)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		}
		s, err := Open(t.Context(), dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		check(t, s)
		if got := records(t, s.Source(Filter{}), source.Selection{}); !slices.Equal(got, want) {
			t.Errorf("%d events at the end, want %d", len(got), len(want))
		}
		if st, err := s.Status(t.Context(), false); err != nil || st.Orphans > 0 || st.Replaced > 0 {
			t.Errorf("%d orphans, %d replaced files at the end (%v)", st.Orphans, st.Replaced, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// gatherClass gathers the records that are not of a class.
type gatherClass struct {
	gather
	leave string
	left  int
}

func (g *gatherClass) Event(e *event.Event) error {
	if e.Category() == g.leave {
		g.left++
		return nil
	}
	return g.gather.Event(e)
}

// aftermath looks at a store that may have been left at any point: first as a reader finds it, then as the next writer.
func aftermath(t *testing.T, dir, job string, acked, most int64) (opened bool) {
	t.Helper()
	for _, o := range []Options{{ReadOnly: true}, {}} {
		s, err := Open(t.Context(), dir, o)
		if errors.Is(err, ErrNoStore) && job == "ingest" && acked == 0 {
			return false // killed before there was a store
		}
		if err != nil {
			t.Fatalf("after %s: %v", job, err)
		}
		v := check(t, s)
		if v.Kept < acked || v.Kept > most || v.Rows != v.Kept-v.Removed {
			t.Fatalf("after %s: %d kept, %d removed, %d there; %d were acknowledged of %d", job, v.Kept, v.Removed, v.Rows, acked, most)
		}
		if !o.ReadOnly {
			if st, err := s.Status(t.Context(), false); err != nil || st.Orphans > 0 {
				t.Fatalf("after %s: %d orphans stay (%v)", job, st.Orphans, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return true
}

// TestFullDisk: a disk that runs full ends the work with an error that says so. What was committed stays whole, and work
// goes on when there is room again.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "full", t.TempDir(), makeLogs(t, 6000, 3, 9), "3m")
}

// onSmallDisk runs a job that has a small disk of its own, and says "whole after all" in the end.
func onSmallDisk(t *testing.T, job ...string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childVar+"="+strings.Join(job, "\n"))
	// A mount of its own, which nobody else sees and which ends with the process.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, os.ErrPermission) || strings.HasPrefix(string(out), "no mount") {
		t.Skipf("a small file system cannot be mounted here: %v %s", err, out)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if !strings.Contains(string(out), "whole after all") {
		t.Errorf("it said:\n%s", out)
	}
}

func fullDisk(ctx context.Context, dir, logs string) error {
	look := func(s *Store) (int64, error) {
		v, err := s.Verify(ctx, VerifyOptions{})
		if err != nil {
			return 0, err
		}
		if !v.OK() {
			return 0, fmt.Errorf("not whole: %+v", v)
		}
		return v.Rows, nil
	}
	store := filepath.Join(dir, "store")
	s, err := Create(ctx, store, Options{})
	if err != nil {
		return err
	}
	in, err := sources(logs)
	if err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 2200<<10), 0o644); err != nil {
		return err
	}
	_, err = s.Ingest(ctx, IngestOptions{Intake: in, EpochRows: 500, BufferBytes: 1 << 19})
	if !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("ingestion into a full disk: %v", err)
	}
	rows, err := look(s)
	if err != nil {
		return fmt.Errorf("with the disk full: %w", err)
	}
	if err := s.Close(); err != nil {
		return err
	}
	r, err := Open(ctx, store, Options{ReadOnly: true})
	if err != nil {
		return fmt.Errorf("read with the disk full: %w", err)
	}
	if n, err := look(r); err != nil || n != rows {
		return fmt.Errorf("read with the disk full: %d rows, not %d: %w", n, rows, err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if s, err = Open(ctx, store, Options{}); err != nil {
		return err
	}
	if in, err = sources(logs); err != nil {
		return err
	}
	res, err := s.Ingest(ctx, IngestOptions{Intake: in})
	if err != nil {
		return err
	}
	n, err := look(s)
	if err != nil {
		return err
	}
	if rows == 0 || n != rows+res.Added || res.Added == 0 || !res.Ledger.Complete() {
		return fmt.Errorf("%d rows before, %d added, %d now", rows, res.Added, n)
	}
	fmt.Println("whole after all:", rows, "then", n)
	return s.Close()
}
