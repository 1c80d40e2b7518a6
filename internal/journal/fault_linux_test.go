package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// childVar makes the test binary do one job on a journal and end.
const childVar = "SPOOR_JOURNAL_CHILD"

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

const killClients = 4

// killAppend is append i of a client: what it holds follows from its name, and now and then it takes several pieces.
func killAppend(client, i int) (id string, list []Record) {
	id = fmt.Sprintf("%d.%d", client, i)
	rnd := rand.New(rand.NewPCG(uint64(client), uint64(i)))
	list = make([]Record, 1+rnd.IntN(4))
	for k := range list {
		size := rnd.IntN(2000)
		if rnd.IntN(10) == 0 {
			size *= 20
		}
		raw := make([]byte, size)
		for b := range raw {
			raw[b] = byte(rnd.Uint32())
		}
		list[k] = Record{Raw: raw, Origin: Origin{Source: "kill", Object: id, Offset: int64(k)}}
	}
	return id, list
}

// child appends as several clients, each from where it is told, and follows. It says what was accepted, and what it was given
// before it acknowledges it.
func child(job []string) error {
	if job[0] == "full" {
		return fullDisk(job[1])
	}
	ctx := context.Background()
	j, err := Open(ctx, Options{Dir: job[1], MinFree: -1, RetainBytes: -1, RetainAge: -1, Followers: []string{"check"}})
	if err != nil {
		return err
	}
	j.piece = 8 << 10
	var all sync.WaitGroup
	for c := range killClients {
		from, err := strconv.Atoi(job[2+c])
		if err != nil {
			return err
		}
		all.Go(func() {
			for i := from; ; i++ {
				id, list := killAppend(c, i)
				seq, err := j.AppendOnce(ctx, id, list)
				if err != nil {
					fmt.Println("error", err)
					return
				}
				fmt.Printf("ok %d %d %d\n", c, i, seq)
			}
		})
	}
	all.Go(func() {
		f, err := j.Follow(ctx, "check", FromCursor())
		if err != nil {
			fmt.Println("error", err)
			return
		}
		for n := 1; ; n++ {
			b, err := f.Next(ctx)
			if err != nil {
				fmt.Println("error", err)
				return
			}
			fmt.Println(given(b))
			if n%7 == 0 {
				if err := f.Ack(ctx, b.Seq); err != nil {
					fmt.Println("error", err)
					return
				}
			}
			if n%20 == 0 {
				if err := j.trim(ctx, 0); err != nil {
					fmt.Println("error", err)
					return
				}
			}
		}
	})
	all.Wait()
	return j.Close()
}

func marker(object string) []Record { return []Record{{Origin: Origin{Object: object}}} }

// given is a line about a batch: its sequence and the appends in it, checked.
func given(b Batch) string {
	line := fmt.Sprintf("got %d", b.Seq)
	if len(b.Lost) > 0 {
		return fmt.Sprintf("error lost %v", b.Lost)
	}
	for at := 0; at < len(b.Records); {
		var c, i int
		if _, err := fmt.Sscanf(b.Records[at].Origin.Object, "%d.%d", &c, &i); err != nil {
			return "error " + err.Error()
		}
		id, want := killAppend(c, i)
		if at+len(want) > len(b.Records) || !slices.EqualFunc(b.Records[at:at+len(want)], want, func(x, y Record) bool { return bytes.Equal(x.Raw, y.Raw) && x.Origin == y.Origin }) {
			return "error append " + id + " is not what it was"
		}
		line += " " + id
		at += len(want)
	}
	return line
}

// TestKill kills a process that appends, follows and removes, at random. Every accepted append is given to the follower, as
// it was, at one sequence only, and in the order of its client; what was offered again is there once.
func TestKill(t *testing.T) {
	t.Parallel()
	rounds := 6
	if n, err := strconv.Atoi(os.Getenv("SPOOR_FAULT_ROUNDS")); err == nil {
		rounds = n
	}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("SPOOR_FAULT_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("SPOOR_FAULT_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 1))
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "journal")
	var nextAppend [killClients]int // the first that is not known to be accepted
	accepted := map[string]uint64{}
	got := map[string]uint64{} // sequences of appends that the follower was given
	note := func(line string) {
		t.Helper()
		word := strings.Fields(line)
		switch {
		case len(word) > 1 && word[0] == "ok" && len(word) == 4:
			c, _ := strconv.Atoi(word[1])
			i, _ := strconv.Atoi(word[2])
			seq, _ := strconv.ParseUint(word[3], 10, 64)
			accepted[word[1]+"."+word[2]] = seq
			nextAppend[c] = i + 1
		case len(word) > 1 && word[0] == "got":
			seq, _ := strconv.ParseUint(word[1], 10, 64)
			for _, id := range word[2:] {
				if had, ok := got[id]; ok && had != seq {
					t.Fatalf("append %s is at %d and at %d", id, had, seq)
				}
				got[id] = seq
			}
		default:
			t.Fatalf("a process said: %s", line)
		}
	}
	for range rounds {
		job := []string{"kill", dir}
		for _, n := range nextAppend {
			job = append(job, strconv.Itoa(n))
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
		timer := time.AfterFunc(time.Duration(rnd.Int64N(int64(1500*time.Millisecond))), func() { _ = cmd.Process.Kill() })
		var lines []string
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if err != nil {
				break // and a line that the kill cut off
			}
			lines = append(lines, line)
		}
		err = cmd.Wait()
		timer.Stop()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("it ended by itself: %v\n%s", err, stderr.String())
		}
		for _, line := range lines {
			note(line)
		}
	}
	j := open(t, Options{Dir: dir, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))})
	f := follow(t, j, "check", FromCursor())
	end := appendAll(t, j, marker("end")) // a write that was cut short is known as such by what follows
	for {
		b := next(t, f)
		if b.Seq == end {
			break
		}
		note(given(b))
	}
	for id, seq := range accepted {
		if got[id] != seq {
			t.Errorf("append %s was accepted as %d; it is at %d", id, seq, got[id])
		}
	}
	for c := range killClients {
		var before uint64
		for i := range nextAppend[c] {
			seq := got[fmt.Sprintf("%d.%d", c, i)]
			if seq <= before {
				t.Errorf("append %d of client %d is at %d, the one before at %d", i, c, seq, before)
			}
			before = seq
		}
	}
	if len(got) > len(accepted)+killClients*rounds {
		t.Errorf("%d appends are there, %d were accepted", len(got), len(accepted))
	}
	if s := stats(t, j); s.DamagedFiles != 0 || s.LostAtEnd != 0 {
		t.Errorf("kills are not damage: %+v", s)
	}
	t.Logf("%d rounds, %d accepted, %d there", rounds, len(accepted), len(got))
}

// TestFullDisk: a disk that runs full refuses appends with an error that says so. What was accepted stays, can be followed,
// and appends go on when there is room again, without a restart of the process.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^$")
	cmd.Env = append(os.Environ(), childVar+"="+strings.Join([]string{"full", t.TempDir()}, "\n"))
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
	t.Log(string(out))
}

func fullDisk(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		fmt.Println("no mount:", err)
		return nil
	}
	ctx := context.Background()
	for _, minFree := range []int64{2 << 20, -1} { // refused before it is full, and by the disk itself
		sub := filepath.Join(dir, strconv.FormatInt(minFree, 10))
		o := Options{Dir: sub, MinFree: minFree, QueueWait: time.Second}
		j, err := Open(ctx, o)
		if err != nil {
			return err
		}
		n := 0
		for ; ; n++ {
			_, list := bigAppend(n)
			if _, err = j.Append(ctx, list); err != nil {
				break
			}
		}
		var full *FullError
		if !errors.As(err, &full) || full.RetryAfter <= 0 || n < 5 {
			return fmt.Errorf("append %d into a full disk: %w", n, err)
		}
		fmt.Println(n, "appends;", err)
		if err := checkBig(ctx, j, n); err != nil {
			return fmt.Errorf("with the disk full: %w", err)
		}
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=64m"); err != nil {
			return err
		}
		for range 3 {
			_, list := bigAppend(n)
			if _, err := j.Append(ctx, list); err != nil {
				return fmt.Errorf("with room again: %w", err)
			}
			n++
		}
		s, err := j.Stats(ctx)
		if err != nil {
			return err
		}
		if minFree < 0 && s.Restarts == 0 || s.Refused == 0 || s.Err != nil {
			return fmt.Errorf("figures %+v", s)
		}
		for range 2 {
			if err := checkBig(ctx, j, n); err != nil {
				return err
			}
			if err := j.Close(); err != nil {
				return err
			}
			if j, err = Open(ctx, o); err != nil {
				return err
			}
		}
		if err := j.Close(); err != nil {
			return err
		}
		if err := os.RemoveAll(sub); err != nil {
			return err
		}
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "size=24m"); err != nil {
			return err
		}
	}
	fmt.Println("whole after all")
	return nil
}

// checkBig reads a journal that must have n big appends.
func checkBig(ctx context.Context, j *Journal, n int) error {
	f, err := j.Follow(ctx, "", After(0))
	if err != nil {
		return err
	}
	defer f.Close()
	for i := range n {
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		b, err := f.Next(ctx)
		cancel()
		if err != nil {
			return fmt.Errorf("append %d of %d: %w", i, n, err)
		}
		if _, want := bigAppend(i); !same(b.Records, want) || b.Lost != nil {
			return fmt.Errorf("append %d of %d is another", i, n)
		}
	}
	if last, _ := j.reach(); f.next <= last {
		return fmt.Errorf("more than %d appends", n)
	}
	return nil
}
