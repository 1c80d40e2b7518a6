// Package faults torments the running service: it is killed, stopped, starved of room, and its journal is damaged, while it is
// fed and asked. What it acknowledged must be in the answer, once, whatever happened.
//
// SPOOR_FAULT_ROUNDS is how often it is killed, SPOOR_FAULT_SEED what the moments are drawn from. `make faults` runs it for
// long, and the tests of other packages that do the same to their parts.
package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"spoor/test/kit"
	"spoor/test/rig"
)

// program is the binary under test. It is set before the first test.
var program string

func TestMain(m *testing.M) {
	rig.Inside()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "spoor-faults-*")
	if err == nil {
		defer os.RemoveAll(dir)
		program = filepath.Join(dir, "spoor")
		err = kit.Build(context.Background(), program, "-ldflags", "-s -w")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faults:", err)
		return 1
	}
	return m.Run()
}

// rounds is how often things are done, few by default, and what random moments are drawn from.
func rounds(t *testing.T, few int) (n int, rnd *rand.Rand) {
	t.Helper()
	n = few
	if v, err := strconv.Atoi(os.Getenv("SPOOR_FAULT_ROUNDS")); err == nil {
		n = v
	}
	seed := uint64(time.Now().UnixNano())
	if v, err := strconv.ParseUint(os.Getenv("SPOOR_FAULT_SEED"), 10, 64); err == nil {
		seed = v
	}
	t.Logf("SPOOR_FAULT_SEED=%d", seed)
	return n, rand.New(rand.NewPCG(seed, 1))
}

// batch is how many records a push has.
const batch = 20

// stand is a service that a test works on.
type stand struct {
	t    *testing.T
	feed *rig.Feed
	book *rig.Book
	opts rig.Options
	// drop is the folder that a source of the service reads, when it has one.
	drop    string
	dropped uint64
}

// The streams of those who offer records.
const (
	pushStream = 1 // and those that follow
	dropStream = 100
)

func newStand(t *testing.T, args ...string) *stand {
	t.Helper()
	f, err := rig.NewFeed(t.Context(), batch)
	if err != nil {
		t.Fatal(err)
	}
	// Little is enough for it to do all that it does: segments are written every second, and of a thousand events.
	always := []string{"--set", "store.flush_rows=1000", "--set", "store.flush_interval=1s", "--set", "query.max_rows=100000000", "--log-level", "warn"}
	return &stand{t: t, feed: f, book: rig.NewBook(f), opts: rig.Options{Program: program, Data: filepath.Join(t.TempDir(), "data"), Args: append(always, args...), Log: t.Output()}}
}

// start starts the service, and does not wait.
func (s *stand) start() *rig.Server {
	s.t.Helper()
	srv, err := rig.Start(context.WithoutCancel(s.t.Context()), s.opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(srv.Kill)
	s.opts = srv.Again()
	return srv
}

// long is how long anything may take on a machine that has other things to do.
const long = time.Minute

func (s *stand) ready(srv *rig.Server) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), long)
	defer cancel()
	if _, err := srv.Ready(ctx); err != nil {
		s.t.Fatal(err)
	}
	s.opts = srv.Again()
}

// push sends for a while.
func (s *stand) push(srv *rig.Server, l *rig.Load, how time.Duration) *rig.Sent {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), how)
	defer cancel()
	return l.Run(ctx, srv)
}

func (s *stand) load() *rig.Load {
	return &rig.Load{Feed: s.feed, Book: s.book, Clients: 4, Stream: pushStream, Rate: 4000, Twice: 7}
}

// settled holds the answer against the book.
func (s *stand) settled(srv *rig.Server) *rig.Verdict {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), long)
	defer cancel()
	v, err := s.book.Settle(ctx, srv)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, srv.Complaints())
	}
	if !v.Whole() {
		s.t.Fatalf("%+v\n%s", *v, srv.Complaints())
	}
	return v
}

// stop ends the service in order.
func (s *stand) stop(srv *rig.Server) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), long)
	defer cancel()
	if err := srv.Stop(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// rows is how many events are in the answer.
func (s *stand) rows(srv *rig.Server) int64 {
	s.t.Helper()
	n, err := srv.Count(s.t.Context(), "SELECT count(*) AS n FROM events")
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

// leave ends the service in order, and verifies what it leaves.
func (s *stand) leave(srv *rig.Server) {
	s.t.Helper()
	want := s.rows(srv)
	s.stop(srv)
	s.verify(s.opts.Data, want)
}

// metrics asks for figures.
func (s *stand) metrics(srv *rig.Server) rig.Metrics {
	s.t.Helper()
	m, err := srv.Metrics(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return m
}

// balanced checks the ledgers of all sources.
func (s *stand) balanced(srv *rig.Server) {
	s.t.Helper()
	var all struct {
		Items []struct {
			Source string `json:"source"`
			Ledger struct {
				Balanced bool     `json:"balanced"`
				Problems []string `json:"problems"`
			} `json:"ledger"`
		} `json:"items"`
	}
	if err := srv.Get(s.t.Context(), "/api/v1/ledger", &all); err != nil {
		s.t.Fatal(err)
	}
	if len(all.Items) == 0 {
		s.t.Fatal("there is no ledger")
	}
	for _, l := range all.Items {
		if !l.Ledger.Balanced {
			s.t.Errorf("the ledger of %s does not balance: %q", l.Source, l.Ledger.Problems)
		}
	}
}

// verify lets `spoor store verify` look at a store that nobody serves. It must have as many events as were in the answer.
func (s *stand) verify(data string, want int64) {
	s.t.Helper()
	var stderr strings.Builder
	cmd := exec.CommandContext(s.t.Context(), program, "store", "verify", filepath.Join(data, "store"), "--json")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		s.t.Fatalf("spoor store verify: %v\n%s%s", err, out, stderr.String())
	}
	var v struct {
		Rows    int64 `json:"rows"`
		Kept    int64 `json:"kept"`
		Removed int64 `json:"removed"`
		HotRows int64 `json:"hotRows"`
	}
	if err := json.Unmarshal(out, &v); err != nil {
		s.t.Fatalf("spoor store verify: %v\n%s", err, out)
	}
	s.t.Logf("spoor store verify: %+v", v)
	if v.Rows+v.HotRows != want || v.Kept-v.Removed != v.Rows {
		s.t.Errorf("spoor store verify: %+v; %d events were in the answer", v, want)
	}
}

// write puts a log file where the folder source finds it. It appears whole.
func (s *stand) write() error {
	n := s.dropped
	s.dropped++
	return rig.Drop(s.feed, s.book, dropStream, n, s.drop)
}

// expected says whether an error is one of a service that is being tormented: it is gone, it starts, or it has no room.
func expected(err error) bool {
	var status *rig.StatusError
	return !errors.As(err, &status) || status.Status == http.StatusServiceUnavailable
}

// busyness is how often each kind of work was done.
type busyness struct{ searches, queries, events, compactions, files atomic.Int64 }

// busy asks a service all kinds of things until the context or the service ends.
func (s *stand) busy(ctx context.Context, srv *rig.Server, did *busyness) {
	var all sync.WaitGroup
	every := func(d time.Duration, what string, do func() error) {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := do(); err != nil && ctx.Err() == nil && !expected(err) {
					s.t.Errorf("%s: %v", what, err)
				}
				select {
				case <-ctx.Done():
				case <-srv.Done():
					return
				case <-time.After(d):
				}
			}
		})
	}
	n := 0
	every(30*time.Millisecond, "search", func() error {
		paths := []string{"/api/v1/events?limit=20&term=eventSource%3Ds3.amazonaws.com", "/api/v1/events?limit=5&order=oldest", "/api/v1/histogram?buckets=10&by=eventSource", "/api/v1/top?field=eventName",
			"/api/v1/events?limit=1&term=nobody-is-called-so", "/api/v1/status", "/api/v1/journal", "/api/v1/store"}
		n++
		err := srv.Get(ctx, paths[n%len(paths)], nil)
		if err == nil {
			did.searches.Add(1)
		}
		return err
	})
	every(50*time.Millisecond, "query", func() error {
		twice, err := srv.Count(ctx, "SELECT count(*) - count(DISTINCT eventID) AS twice FROM events")
		if err == nil {
			did.queries.Add(1)
			if twice != 0 {
				return &rig.StatusError{Body: fmt.Sprintf("%d events are in the answer twice", twice)}
			}
		}
		return err
	})
	every(time.Second, "compact", func() error {
		err := srv.Post(ctx, "/api/v1/store/compact", nil, nil)
		if err == nil {
			did.compactions.Add(1)
			err = srv.Post(ctx, "/api/v1/store/expire", nil, nil)
		}
		return err
	})
	every(100*time.Millisecond, "tail", func() error {
		return srv.Tail(ctx, url.Values{}, nil, func(e rig.TailEvent) error {
			if e.Kind != "event" {
				return nil
			}
			var got struct {
				ID string `json:"id"`
			}
			if err := json.Unmarshal(e.Data, &got); err != nil || got.ID == "" {
				return &rig.StatusError{Body: fmt.Sprintf("an event of the tail: %s: %v", e.Data, err)}
			}
			did.events.Add(1)
			return nil
		})
	})
	if s.drop != "" {
		every(150*time.Millisecond, "folder", func() error { did.files.Add(1); return s.write() })
	}
	all.Wait()
}
