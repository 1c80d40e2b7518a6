package trail

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// TestKill: a process that is killed while it starts and stops a trail loses no epoch that it told of, and those that nobody was
// told of are at the end, in order.
func TestKill(t *testing.T) {
	const variable = "SPOOR_TRAIL_TEST_DIR"
	if dir := os.Getenv(variable); dir != "" {
		seq := uint64(0)
		b, err := Open(t.Context(), dir, Options{Account: account, Region: region, Position: func(context.Context) (uint64, error) { return seq, nil }})
		if err != nil {
			t.Fatal(err)
		}
		last := &rig{Book: b, t: t}
		if len(b.All(account)) == 0 {
			last.made(0)(last.create(home, "one"))
		}
		ts, _ := b.Deliverable()
		seq = ts[0].Epochs[len(ts[0].Epochs)-1].After
		for {
			i, err := b.Trail(home, "one")
			if err != nil {
				t.Fatal(err)
			}
			_, c, err := b.SetLogging(home, "one", !i.Settings.Logging)
			if err != nil {
				t.Fatal(err)
			}
			seq++
			if err := c.Recorded(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := fmt.Printf("epoch %d\n", seq); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Skipf("the test program cannot be started again: %v", err)
	}
	dir := t.TempDir()
	told := uint64(0)
	for round := range 4 {
		cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestKill$", "-test.timeout=1m")
		cmd.Env = append(os.Environ(), variable+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			_, _ = fmt.Sscanf(lines.Text(), "epoch %d", &told) // the last line may be cut
			if n == 6+round {
				if err := cmd.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("it ended by itself")
		}
		b, err := Open(t.Context(), dir, Options{Account: account, Region: region, Wait: time.Minute, Position: func(context.Context) (uint64, error) { return told + 1, nil }})
		if err != nil {
			t.Fatal(err)
		}
		ts, _ := b.Deliverable()
		es := ts[0].Epochs
		if n := uint64(len(es)); n < told+1 || es[told].After != told {
			t.Errorf("round %d: %d epochs, told of %d: %+v", round, n, told, es)
		}
		for k := 1; k < len(es); k++ {
			if es[k].After <= es[k-1].After || es[k].Settings.Logging == es[k-1].Settings.Logging {
				t.Errorf("round %d: %+v", round, es)
			}
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
		if parts, err := filepath.Glob(filepath.Join(dir, ".part-*")); err != nil || len(parts) > 0 {
			t.Errorf("left behind: %v %v", parts, err)
		}
	}
	if told < 20 {
		t.Errorf("told of %d epochs", told)
	}
}
