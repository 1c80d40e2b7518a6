package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spoor/internal/journal"
	"spoor/internal/source"
)

const (
	killBatches = 180
	killPer     = 7
)

func killTexts(i int) []string { return texts(i*killPer, (i+1)*killPer) }

// liveKilled appends batches to a journal that a store follows, and says which were accepted; it kills itself at a step
// when that comes for the nth time. What was accepted before is offered again, with and without its name.
func liveKilled(ctx context.Context, dir string, job []string) (err error) {
	step := job[0]
	nth, err := strconv.Atoi(job[1])
	if err != nil {
		return err
	}
	j, err := journal.Open(ctx, journal.Options{Dir: filepath.Join(dir, "journal"), Followers: []string{FollowerName}, MinFree: -1, RetainAge: -1, RetainBytes: -1})
	if err != nil {
		return err
	}
	so := Options{Wait: time.Minute}
	s, err := Open(ctx, filepath.Join(dir, "store"), so)
	if errors.Is(err, ErrNoStore) {
		s, err = Create(ctx, filepath.Join(dir, "store"), so)
	}
	if err != nil {
		return err
	}
	o := quiet()
	var mu sync.Mutex
	o.fault = func(at string) error {
		mu.Lock()
		defer mu.Unlock()
		if at == step {
			if nth--; nth == 0 {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // until it comes
			}
		}
		return nil
	}
	l, err := s.Follow(ctx, JournalFeed(j), o)
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Run(run) }()
	var last uint64
	for i := range killBatches {
		var list []journal.Record
		for k, text := range killTexts(i) {
			list = append(list, journal.Record{Raw: []byte(text), Origin: journal.Origin{Source: "push", Object: "o", Offset: int64(k)}})
		}
		if last, err = j.AppendOnce(ctx, fmt.Sprint("batch ", i), list); err != nil {
			return err
		}
		if i%9 == 0 { // delivered once more
			if last, err = j.Append(ctx, list); err != nil {
				return err
			}
		}
		if err := l.Wait(ctx, last); err != nil {
			return err
		}
		fmt.Println("published", i)
		if step != "hot merge" && i%8 == 7 {
			if err := l.Flush(ctx); err != nil {
				return err
			}
		}
	}
	if err := l.Flush(ctx); err != nil {
		return err
	}
	stop()
	st, err := j.Stats(ctx)
	if err != nil {
		return err
	}
	fmt.Println("done", st.Followers[0].Cursor >= last, l.Stats().HotRows)
	return errors.Join(<-done, l.Close(), s.Close(), j.Close())
}

// TestLiveKill kills a store that follows a journal at every step, and at random: what was published is in the answer of
// the next reader at once, and after the last start everything that was accepted is there once.
func TestLiveKill(t *testing.T) {
	t.Parallel()
	steps := []string{"hot file", "hot ledger", "hot manifest", "flush merge", "flush commit", "flush committed", "flush ack"}
	seed := uint64(time.Now().UnixNano())
	if n, err := strconv.ParseUint(os.Getenv("SPOOR_FAULT_SEED"), 10, 64); err == nil {
		seed = n
	}
	t.Logf("SPOOR_FAULT_SEED=%d", seed)
	rnd := rand.New(rand.NewPCG(seed, 3))
	var all []string
	for i := range killBatches {
		all = append(all, killTexts(i)...)
	}
	rnd.Shuffle(len(steps), func(i, k int) { steps[i], steps[k] = steps[k], steps[i] })
	for _, group := range [][]string{append(steps, "random", "random"), {"hot merge"}} {
		dir := t.TempDir()
		for _, step := range group { // each on what the ones before it left
			after := time.Duration(-1)
			if step == "random" {
				after = time.Duration(rnd.Int64N(int64(time.Second)))
			}
			lines, dead := runChild(t, after, "live", dir, step, fmt.Sprint(1+rnd.IntN(3)))
			published := 0
			for _, line := range lines {
				if n, ok := strings.CutPrefix(line, "published "); ok {
					i, err := strconv.Atoi(n)
					if err != nil {
						t.Fatal(err)
					}
					published = i + 1
				}
			}
			if !dead && step != "random" {
				t.Errorf("%s: was not killed", step)
			}
			s, err := Open(t.Context(), filepath.Join(dir, "store"), Options{ReadOnly: true})
			if errors.Is(err, ErrNoStore) && step == "random" {
				continue
			}
			if err != nil {
				t.Fatalf("%s: %v", step, err)
			}
			got := records(t, s.Source(Filter{}), source.Selection{})
			if v, err := s.Verify(t.Context(), VerifyOptions{}); err != nil || !v.OK() {
				t.Errorf("%s: %+v, %v", step, v, err)
			}
			want := all[:published*killPer]
			for _, text := range want {
				if _, ok := slices.BinarySearch(got, text); !ok {
					t.Fatalf("%s: published and not there: %s", step, text)
				}
			}
			if n := len(slices.Compact(got)); n != len(got) {
				t.Errorf("%s: %d records, of them %d different", step, len(got), n)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
		lines, dead := runChild(t, -1, "live", dir, "none", "1")
		if dead || len(lines) == 0 || lines[len(lines)-1] != "done true 0" {
			t.Fatalf("the last run: %q", lines)
		}
		holds(t, filepath.Join(dir, "store"), all)
	}
}

// TestLiveFullDisk: a disk that runs full stops publications and flushes, which are tried again until there is room.
func TestLiveFullDisk(t *testing.T) {
	t.Parallel()
	onSmallDisk(t, "live full", t.TempDir(), "", "4m")
}

func liveFullDisk(ctx context.Context, dir string) error {
	s, err := Create(ctx, filepath.Join(dir, "store"), Options{})
	if err != nil {
		return err
	}
	feed := newFeed("j")
	l, err := s.Follow(ctx, feed, quiet())
	if err != nil {
		return err
	}
	run, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- l.Run(run) }()
	var want []string
	add := func() uint64 {
		part := texts(len(want), len(want)+200)
		want = append(want, part...)
		return feed.add(part...)
	}
	if err := l.Wait(ctx, add()); err != nil {
		return err
	}
	if err := l.Flush(ctx); err != nil {
		return err
	}
	committed := feed.acked
	published := add()
	if err := l.Wait(ctx, published); err != nil {
		return err
	}
	ballast := filepath.Join(dir, "ballast")
	if err := fill(ballast); err != nil {
		return err
	}
	if err := l.Flush(ctx); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a flush onto a full disk: %v", err)
	}
	last := add()
	for l.Stats().Failures < 4 {
		time.Sleep(time.Millisecond)
	}
	if st := l.Stats(); st.Published != published || st.Committed != committed || feed.acked != committed || st.LastError == "" {
		return fmt.Errorf("with the disk full: acknowledged %d, %+v", feed.acked, st)
	}
	r, err := Open(ctx, s.Dir(), Options{ReadOnly: true})
	if err != nil {
		return err
	}
	if v, err := r.Verify(ctx, VerifyOptions{}); err != nil || !v.OK() || v.Rows != 200 || v.HotRows != 200 {
		return fmt.Errorf("with the disk full: %+v, %w", v, err)
	}
	if err := os.Remove(ballast); err != nil {
		return err
	}
	if err := l.Wait(ctx, last); err != nil {
		return err
	}
	if err := l.Flush(ctx); err != nil {
		return err
	}
	if v, err := r.Verify(ctx, VerifyOptions{}); err != nil || !v.OK() || v.Rows != 600 || feed.acked != last {
		return fmt.Errorf("with room again: acknowledged %d, %+v, %w", feed.acked, v, err)
	}
	stop()
	if err := errors.Join(<-done, l.Close(), r.Close(), s.Close()); err != nil {
		return err
	}
	fmt.Println("whole after all")
	return nil
}

// fill writes a file until the disk is full.
func fill(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	block := make([]byte, 64<<10)
	for len(block) > 0 {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return f.Close()
}
