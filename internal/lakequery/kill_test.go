package lakequery

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const killFolder = "SPOOR_TEST_LAKEQUERY_FOLDER"

// TestKill kills a process that runs queries, at any moment: each query that it said it had started is there afterwards, each
// that it said had finished has all its rows, and no other claims to have finished without them.
func TestKill(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(killFolder); dir != "" {
		asked(t, dir)
		return
	}
	dir := t.TempDir()
	started, finished := map[string]int{}, map[string]bool{}
	for round := range 6 {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill$", "-test.v")
		cmd.Env = append(os.Environ(), killFolder+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines, left := bufio.NewScanner(out), 5+rand.IntN(40)
		for left > 0 && lines.Scan() {
			var id string
			var rows int
			if n, _ := fmt.Sscanf(lines.Text(), "started %s %d", &id, &rows); n == 2 {
				started[id] = rows
				left--
			}
			if n, _ := fmt.Sscanf(lines.Text(), "finished %s", &id); n == 1 {
				finished[id] = true
				left--
			}
		}
		if left > 0 {
			t.Fatalf("round %d: the process ended by itself: %v", round, cmd.Wait())
		}
		time.Sleep(time.Duration(rand.IntN(3000)) * time.Microsecond)
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() { // what it said until then
			var id string
			var rows int
			if n, _ := fmt.Sscanf(lines.Text(), "started %s %d", &id, &rows); n == 2 && strings.HasSuffix(lines.Text(), " .") {
				started[id] = rows
			}
		}
		_ = cmd.Wait() // it was killed
		m, _ := open(t, dir)
		for id, rows := range started {
			q, err := m.Describe(t.Context(), mine, id)
			if err != nil {
				t.Fatalf("round %d: %s: %v", round, id, err)
			}
			switch {
			case q.Status == Finished:
				n := 0
				for token := ""; ; {
					p, err := m.Results(t.Context(), mine, id, 0, token)
					if err != nil {
						t.Fatal(err)
					}
					n += len(p.Rows)
					if token = p.Next; token == "" {
						break
					}
				}
				if n != rows {
					t.Errorf("round %d: %s has %d rows of %d", round, id, n, rows)
				}
			case finished[id] || q.Status != Failed || q.Error != interrupted:
				t.Errorf("round %d: %+v; finished: %t", round, q, finished[id])
			}
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(finished) == 0 || len(started) <= len(finished) {
		t.Errorf("%d started, %d finished", len(started), len(finished))
	}
	if files, err := filepath.Glob(filepath.Join(dir, "*"+suffix)); err != nil || len(files) < len(started) {
		t.Errorf("%d files, %v", len(files), err)
	}
}

// asked starts queries until it is killed, and says so.
func asked(t *testing.T, dir string) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, _ := open(t, dir)
	var last []Query
	for k := 0; ctx.Err() == nil; k++ {
		rows := []int{0, 1, 100, 3000}[k%4]
		q, err := m.Start(ctx, Spec{Owner: mine, Statement: fmt.Sprintf("SELECT '%s rows %d' FROM %s", []string{"", "large"}[k/4%2], rows, storeA)})
		if err != nil && !errors.Is(err, ErrTooMany) {
			t.Fatal(err)
		}
		if err == nil {
			fmt.Printf("started %s %d .\n", q.ID, rows)
			last = append(last, q)
		}
		for i := 0; i < len(last); i++ {
			if got, err := m.Describe(ctx, mine, last[i].ID); err != nil {
				t.Fatal(err)
			} else if got.Status == Finished {
				fmt.Printf("finished %s\n", got.ID)
				last = append(last[:i], last[i+1:]...)
				i--
			}
		}
	}
}
