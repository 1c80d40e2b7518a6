// Command soak runs the service under mixed load for a long time, and watches that it stays as it was: it is pushed to, asked,
// followed, compacted, and reads a folder that grows. Every minute it prints what the process takes, and in the end whether
// that was bounded, and whether everything that was acknowledged is in the answer, once.
//
//	go run ./test/soak -spoor bin/spoor -for 1h
//
// Exit status: 0 bounded and whole, 1 not, 2 wrong usage, 4 it could not run.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spoor/test/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// What counts as bounded.
const (
	mostMemory = 2_000_000_000
	growth     = 1.15 // of the last quarter over the second
	mostFiles  = 400  // open
	mostLag    = 10 * time.Second
)

// batch is how many records a push has.
const batch = 100

// The streams of those who offer records.
const (
	pushStream = 1 // and those that follow
	dropStream = 100
)

type soak struct {
	program, dir string
	how, every   time.Duration
	rate         float64
	clients      int
	out, log     io.Writer

	feed *rig.Feed
	book *rig.Book
	drop string // the folder that is read

	asked, busy, tailed, compacted, dropped atomic.Int64
	failed                                  atomic.Int64
	mu                                      sync.Mutex
	last                                    error           // of what failed
	answers                                 []time.Duration // since the last row
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s := &soak{out: stdout, log: stderr}
	fl := flag.NewFlagSet("soak", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.StringVar(&s.program, "spoor", "bin/spoor", "the `binary`")
	fl.StringVar(&s.dir, "dir", "", "`folder` for its data, which must not exist (default: a temporary one)")
	fl.DurationVar(&s.how, "for", time.Hour, "how long")
	fl.DurationVar(&s.every, "every", time.Minute, "how often a row is printed")
	fl.Float64Var(&s.rate, "rate", 2000, "events/s that are pushed")
	fl.IntVar(&s.clients, "clients", 8, "clients that push, up to 64")
	if err := fl.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if fl.NArg() > 0 || s.how < 4*s.every || s.every < time.Second || s.rate <= 0 || s.clients < 1 || s.clients > 64 {
		fmt.Fprintln(stderr, "soak: no arguments beside flags; -for at least four times -every, -every at least 1s, -rate above 0, -clients 1 to 64")
		return 2
	}
	ok, err := s.run(ctx)
	switch {
	case err != nil:
		fmt.Fprintf(stderr, "soak: %v\n", err)
		return 4
	case !ok:
		return 1
	}
	return 0
}

func (s *soak) run(ctx context.Context) (ok bool, err error) {
	if s.dir == "" {
		temp, err := os.MkdirTemp("", "spoor-soak-*")
		if err != nil {
			return false, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
		s.dir = filepath.Join(temp, "data")
	}
	if s.program, err = exec.LookPath(s.program); err != nil {
		return false, err
	}
	s.drop = s.dir + "-drop"
	if err := os.MkdirAll(s.drop, 0o700); err != nil {
		return false, err
	}
	conf := s.dir + "-soak.yaml"
	if err := os.WriteFile(conf, fmt.Appendf(nil, "query: {max_rows: 100000000}\nstore: {compact_interval: 5m, expire_interval: 5m, expire_grace: 1m}\nlog: {level: warn}\nsources: [{name: drop, type: folder, path: %q, interval: 1s, settle: 0s}]\n", s.drop), 0o600); err != nil {
		return false, err
	}
	if s.feed, err = rig.NewFeed(ctx, batch); err != nil {
		return false, err
	}
	s.book = rig.NewBook(s.feed)
	srv, err := rig.Start(context.WithoutCancel(ctx), rig.Options{Program: s.program, Data: s.dir, Args: []string{"--config", conf}, Log: s.log})
	if err != nil {
		return false, err
	}
	defer srv.Kill()
	if _, err := srv.Ready(ctx); err != nil {
		return false, err
	}
	fmt.Fprintf(s.out, "%.0f events/s by %d clients, a file of %d events a second in a folder, searches, SQL, two tails, compaction, for %s.\n\n", s.rate, s.clients, batch, s.how)

	loading, cancel := context.WithTimeout(ctx, s.how)
	defer cancel()
	var all sync.WaitGroup
	var sent *rig.Sent
	all.Go(func() {
		l := &rig.Load{Feed: s.feed, Book: s.book, Clients: s.clients, Stream: pushStream, Rate: s.rate, Twice: 50}
		sent = l.Run(loading, srv)
	})
	s.mixed(loading, srv, &all)
	rows, err := s.watch(loading, srv)
	cancel()
	all.Wait()
	if err != nil {
		return false, err
	}
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	return s.verdict(ctx, srv, sent, rows)
}

// mixed asks for all kinds of things until the context ends.
func (s *soak) mixed(ctx context.Context, srv *rig.Server, all *sync.WaitGroup) {
	every := func(d time.Duration, count *atomic.Int64, do func(n int) error) {
		all.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				began := time.Now()
				err := do(n)
				var status *rig.StatusError
				switch {
				case ctx.Err() != nil:
				case err == nil:
					count.Add(1)
					if count == &s.asked {
						s.mu.Lock()
						s.answers = append(s.answers, time.Since(began))
						s.mu.Unlock()
					}
				case errors.As(err, &status) && status.Status == http.StatusServiceUnavailable:
					s.busy.Add(1)
				default:
					s.failed.Add(1)
					s.mu.Lock()
					s.last = err
					s.mu.Unlock()
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
	recent := func() string { return url.QueryEscape(time.Now().Add(-10 * time.Minute).UTC().Format(time.RFC3339)) }
	every(200*time.Millisecond, &s.asked, func(n int) error {
		switch n % 4 {
		case 0:
			return srv.Get(ctx, "/api/v1/events?limit=50&term=eventSource%3Ds3.amazonaws.com", nil)
		case 1:
			return srv.Get(ctx, "/api/v1/events?limit=50&term=errorCode%3DAccessDenied&since="+recent(), nil)
		case 2:
			return srv.Get(ctx, "/api/v1/top?field=eventName&since="+recent(), nil)
		default: // an id that is there, most likely
			_, err := srv.Found(ctx, s.feed.ID(pushStream, rand.Uint64N(max(1, uint64(s.book.Acked()/batch/int64(s.clients)))), 0))
			return err
		}
	})
	every(2*time.Second, &s.asked, func(int) error {
		_, err := srv.Count(ctx, "SELECT count(*) AS n FROM events WHERE errorCode IS NOT NULL")
		return err
	})
	every(5*time.Second, &s.asked, func(int) error {
		return srv.Get(ctx, "/api/v1/histogram?buckets=60&by=eventSource&since="+recent(), nil)
	})
	every(time.Minute, &s.compacted, func(int) error { return srv.Post(ctx, "/api/v1/store/compact", nil, nil) })
	tail := func(terms url.Values) func(int) error {
		return func(int) error {
			return srv.Tail(ctx, terms, nil, func(rig.TailEvent) error { s.tailed.Add(1); return nil })
		}
	}
	var tails atomic.Int64
	every(time.Second, &tails, tail(nil))
	every(time.Second, &tails, tail(url.Values{"term": {"errorCode=AccessDenied"}}))
	every(time.Second, &s.dropped, func(n int) error {
		return rig.Drop(s.feed, s.book, dropStream, uint64(n), s.drop)
	})
}

// row is what the service takes at a moment.
type row struct {
	at         time.Duration
	rss        int64
	goroutines float64
	files      int
	journal    float64
	hot        float64
	lag        time.Duration
	disk       int64
}

// watch prints a row now and then until the context ends.
func (s *soak) watch(ctx context.Context, srv *rig.Server) (rows []row, err error) {
	began := time.Now()
	fmt.Fprintf(s.out, "| minute | events | RSS, MB | of it files | goroutines | open files | journal, MB | hot rows | lag, s | disk, MB | cores | answers | p99, ms | events tailed |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	tick := time.NewTicker(s.every)
	defer tick.Stop()
	before := time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return rows, nil
		case <-srv.Done():
			return rows, rig.ErrEnded
		case <-tick.C:
		}
		p, err := srv.Process()
		if err != nil {
			return rows, err
		}
		m, err := srv.Metrics(ctx)
		if ctx.Err() != nil {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		r := row{at: time.Since(began), rss: p.RSS, goroutines: m["go_goroutines"], files: p.Files, journal: m["spoor_journal_bytes"], hot: m["spoor_store_hot_rows"],
			lag: time.Duration(m["spoor_store_unsearchable_seconds"] * float64(time.Second))}
		if r.disk, err = size(s.dir); err != nil {
			return rows, err
		}
		rows = append(rows, r)
		s.mu.Lock()
		answers := s.answers
		s.answers = nil
		s.mu.Unlock()
		slices.Sort(answers)
		fmt.Fprintf(s.out, "| %.1f | %d | %.0f | %.0f | %.0f | %d | %.0f | %.0f | %.1f | %.0f | %.2f | %d | %.0f | %d |\n", r.at.Minutes(), s.book.Acked(), float64(r.rss)/1e6, float64(p.File)/1e6, r.goroutines, r.files,
			r.journal/1e6, r.hot, r.lag.Seconds(), float64(r.disk)/1e6, (p.CPU-before).Seconds()/s.every.Seconds(), len(answers), float64(rig.Percentile(answers, 99))/1e6, s.tailed.Load())
		before = p.CPU
	}
}

// size is that of a folder. Files come and go while it is looked at.
func size(dir string) (n int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				n += info.Size()
			}
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	return n, err
}

// verdict says whether all is well.
func (s *soak) verdict(ctx context.Context, srv *rig.Server, sent *rig.Sent, rows []row) (bool, error) {
	limited, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	v, err := s.book.Settle(limited, srv)
	if err != nil {
		return false, err
	}
	p, err := srv.Process()
	if err != nil {
		return false, err
	}
	if err := srv.Stop(limited); err != nil {
		return false, err
	}
	verify := exec.CommandContext(ctx, s.program, "store", "verify", filepath.Join(s.dir, "store"))
	text, verr := verify.CombinedOutput()
	if verr != nil {
		fmt.Fprintf(s.out, "\n%s\n", text)
	}
	all := true
	say := func(ok bool, format string, args ...any) {
		word := "yes"
		if !ok {
			word, all = "**no**", false
		}
		fmt.Fprintf(s.out, "- %s: %s\n", fmt.Sprintf(format, args...), word)
	}
	mean := func(of func(row) float64, from, to int) (m float64) {
		for _, r := range rows[from:to] {
			m += of(r) / float64(to-from)
		}
		return m
	}
	grown := func(of func(row) float64) float64 {
		n := len(rows)
		return mean(of, n*3/4, n) / max(mean(of, n/4, n/2), 1)
	}
	var lag time.Duration
	files := 0
	for _, r := range rows {
		lag, files = max(lag, r.lag), max(files, r.files)
	}
	fmt.Fprintln(s.out)
	s.mu.Lock()
	defer s.mu.Unlock()
	say(v.Whole(), "all %d events that were acknowledged are in the answer, each once, among %d", v.Acked, v.Rows)
	say(verr == nil, "spoor store verify finds it whole")
	say(sent.Failed == 0 && sent.Records > 0 && sent.Silent == 0, "pushes: %d accepted at p99 %.0f ms, %d told to come again, %d failed (%v)", sent.Records, float64(sent.Percentile(99))/1e6, sent.Refused, sent.Failed, sent.Err)
	say(s.failed.Load() == 0, "questions: %d answered, %d told to come again, %d failed (%v); %d compactions", s.asked.Load(), s.busy.Load(), s.failed.Load(), s.last, s.compacted.Load())
	say(p.Peak <= mostMemory, "memory: peak %.0f MB, wanted ≤ %.0f", float64(p.Peak)/1e6, float64(mostMemory)/1e6)
	if len(rows) < 4 {
		return false, errors.New("there are too few rows to tell growth")
	}
	g := grown(func(r row) float64 { return float64(r.rss) })
	say(g <= growth, "memory is flat: in the last quarter %.2f of what it was in the second, wanted ≤ %.2f", g, growth)
	g = grown(func(r row) float64 { return r.goroutines })
	say(g <= growth, "goroutines: %.2f, wanted ≤ %.2f", g, growth)
	say(files <= mostFiles, "open files: at most %d, wanted ≤ %d", files, mostFiles)
	say(lag <= mostLag, "lag: at most %s, wanted ≤ %s", lag, mostLag)
	return all, nil
}
