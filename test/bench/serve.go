package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"spoor/internal/sample"
	"spoor/test/rig"
)

// What is asked for of the service.
const (
	pushBatch   = 100
	pushClients = 16
	pushRate    = 30_000 // events/s, accepted and synced
	pushAck     = 100 * time.Millisecond
	steadyRate  = 20_000 // events/s
	foundMost   = 5 * time.Second
	serveMemory = 2_000_000_000
	readyMost   = 10 * time.Second
	flatGrowth  = 1.10 // of the second quarter's mean, in the last quarter
)

// The watchers of the steady load: how many, and how often each asks. A question for an id costs the server some 30 ms of
// processor time while events come in, so they are few.
const (
	probers   = 1
	probePoll = 200 * time.Millisecond
)

// serve is what the running service must be quick at: taking events in, making them searchable, staying small, coming back.
func (b *bench) serve(ctx context.Context) error {
	feed, err := rig.NewFeed(ctx, pushBatch)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "serve")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	fmt.Fprintf(b.page, "\n## The service\n\n")
	fmt.Fprintf(b.page, "`spoor serve` with its defaults, a data folder of its own on the disk of the other data, and nothing else to do. What feeds it runs on the same %d cores: batches of %d records of the sample's kind (%.0f bytes of JSON each, not compressed), by HTTP with keep-alive; it copies text that is made beforehand and writes ids and times into it. Its CPU time is told beside the server's.\n",
		cores, pushBatch, float64(feed.Bytes())/pushBatch)
	for _, part := range []struct {
		name string
		run  func(context.Context, *rig.Feed, string) error
	}{{"push", b.push}, {"steady", b.steady}, {"restart", b.restart}} {
		at := filepath.Join(dir, part.name)
		if err := part.run(ctx, feed, at); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
		if err := os.RemoveAll(at); err != nil {
			return fmt.Errorf("remove the folder of %s: %w", part.name, err)
		}
	}
	return nil
}

// start starts a server, and waits until it is ready.
func (b *bench) start(ctx context.Context, o rig.Options) (*rig.Server, time.Duration, error) {
	o.Program = b.spoor
	o.Env = append(o.Env, "GOMAXPROCS="+strconv.Itoa(cores))
	s, err := rig.Start(ctx, o)
	if err != nil {
		return nil, 0, err
	}
	limited, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	took, err := s.Ready(limited)
	if err != nil {
		s.Kill()
		return nil, 0, err
	}
	return s, took, nil
}

// settled waits until as many events are in the answer as were accepted.
func settled(ctx context.Context, s *rig.Server, want int64) (time.Duration, error) {
	began := time.Now()
	for {
		n, err := s.Count(ctx, "SELECT count(*) AS n FROM events")
		if err == nil && n >= want {
			return time.Since(began), nil
		}
		if time.Since(began) > 10*time.Minute {
			return 0, errors.Join(fmt.Errorf("%d events are in the answer after 10 minutes, %d were accepted", n, want), err)
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-s.Done():
			return 0, fmt.Errorf("%w: %s", rig.ErrEnded, s.Complaints())
		case <-time.After(time.Second):
		}
	}
}

// clock is the processor time of a stretch: of the server, and of this program.
type clock struct {
	began       time.Time
	theirs, own time.Duration
}

func newClock(s *rig.Server) (clock, error) {
	p, err := s.Process()
	return clock{time.Now(), p.CPU, ownTime()}, err
}

// cores that the server and this program have used since.
func (c clock) cores(s *rig.Server) (theirs, own float64, err error) {
	p, err := s.Process()
	took := time.Since(c.began).Seconds()
	return (p.CPU - c.theirs).Seconds() / took, (ownTime() - c.own).Seconds() / took, err
}

func ownTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// push is how fast the service accepts, and how soon it says so.
func (b *bench) push(ctx context.Context, feed *rig.Feed, dir string) error {
	s, _, err := b.start(ctx, rig.Options{Data: dir})
	if err != nil {
		return err
	}
	defer s.Kill()
	load := &rig.Load{Feed: feed, Clients: pushClients}
	var accepted int64
	run := func(rate float64, how time.Duration) (*rig.Sent, string, error) {
		load.Rate = rate
		c, err := newClock(s)
		if err != nil {
			return nil, "", err
		}
		limited, cancel := context.WithTimeout(ctx, how)
		defer cancel()
		sent := load.Run(limited, s)
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		if sent.Failed > 0 || sent.Records == 0 {
			return nil, "", fmt.Errorf("%d requests failed: %w\n%s", sent.Failed, sent.Err, s.Complaints())
		}
		theirs, own, err := c.cores(s)
		if err != nil {
			return nil, "", err
		}
		accepted += sent.Records
		behind, err := settled(ctx, s, accepted) // each row begins with nothing left to do
		if err != nil {
			return nil, "", err
		}
		due := "as fast as it goes"
		if rate > 0 {
			due = thousands(rate) + " events/s"
		}
		b.say("push, %s: %.0f events/s, p99 %s", due, sent.Rate(), sent.Percentile(99))
		return sent, fmt.Sprintf("| %s | %s | %s | %s | %s | %d | %.2f | %.2f | %.1f |\n", due, thousands(sent.Rate()), millis(sent.Percentile(50)), millis(sent.Percentile(99)), millis(sent.Percentile(100)), sent.Refused, theirs, own, behind.Seconds()), nil
	}
	if _, _, err := run(0, min(2*time.Second, b.pushed)); err != nil { // folders, connections and memory are there then
		return err
	}
	full, row, err := run(0, b.pushed)
	if err != nil {
		return err
	}
	rows := []string{row}
	p, err := s.Process()
	if err != nil {
		return err
	}
	var half *rig.Sent
	for _, rate := range []float64{full.Rate() / 2, pushRate / 2} {
		sent, row, err := run(rate, b.pushed)
		if err != nil {
			return err
		}
		if half == nil {
			half = sent
		}
		rows = append(rows, row)
	}
	fmt.Fprintf(b.page, "\n### Accepting\n\n%d clients, each with one batch under way, %s for each row; an answer means synced. At a rate, a batch counts from the moment at which it was due.\n", pushClients, b.pushed)
	fmt.Fprintf(b.page, "\n| due | accepted, events/s | acknowledged, p50, ms | p99, ms | longest, ms | answers of 503 | cores, server | cores, clients | all searchable after, s |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n%s", strings.Join(rows, ""))
	fmt.Fprintf(b.page, "\n- accepted and synced: %s events/s, wanted ≥ %s: %s\n- acknowledged at half of that rate: p99 %s ms, wanted ≤ %s: %s\n- peak memory of the server while it accepts as fast as it goes: %.0f MB\n",
		thousands(full.Rate()), thousands(pushRate), sayReached(full.Rate() >= pushRate),
		millis(half.Percentile(99)), millis(pushAck), sayReached(half.Percentile(99) <= pushAck && half.Rate() >= full.Rate()/2*0.95), float64(p.Peak)/1e6)
	return nil
}

// acked is a batch that was acknowledged.
type acked struct {
	stream uint8
	batch  uint64
	at     time.Time
}

// probe asks for an event that was acknowledged a moment ago until it is found, again and again.
func probe(ctx context.Context, s *rig.Server, feed *rig.Feed, fresh <-chan acked) (found []time.Duration, err error) {
	const most = 2 * time.Minute
	for {
		var a acked
		select {
		case <-ctx.Done():
			return found, nil
		case a = <-fresh:
		}
		if time.Since(a.at) > probePoll { // it lay here
			continue
		}
		id := feed.ID(a.stream, a.batch, int(a.batch)%feed.Size())
		for poll := a.at.Add(probePoll); ; poll = poll.Add(probePoll) {
			if late := time.Since(poll); late > probePoll {
				poll = poll.Add(late.Truncate(probePoll))
			}
			select {
			case <-ctx.Done():
				return found, nil
			case <-time.After(time.Until(poll)):
			}
			ok, err := s.Found(ctx, id)
			switch {
			case ctx.Err() != nil:
				return found, nil
			case err != nil:
				return found, fmt.Errorf("ask for an event: %w", err)
			case ok:
				found = append(found, time.Since(a.at))
			case time.Since(a.at) > most:
				return found, fmt.Errorf("event %s was accepted %s ago and is not found", id, most)
			}
			if ok {
				break
			}
		}
	}
}

// steady is a steady load: when events are found, and how large the server is over time.
func (b *bench) steady(ctx context.Context, feed *rig.Feed, dir string) error {
	s, _, err := b.start(ctx, rig.Options{Data: dir})
	if err != nil {
		return err
	}
	defer s.Kill()
	fresh := make(chan acked)
	load := &rig.Load{Feed: feed, Clients: pushClients, Rate: steadyRate, Acked: func(stream uint8, batch uint64, at time.Time) {
		select {
		case fresh <- acked{stream, batch, at}:
		default: // nobody waits for one
		}
	}}
	c, err := newClock(s)
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, b.steadily)
	defer cancel()
	var watchers sync.WaitGroup
	found, errs := make([][]time.Duration, probers), make([]error, probers+1)
	for i := range probers {
		watchers.Go(func() { found[i], errs[i] = probe(limited, s, feed, fresh) })
	}
	type size struct{ rss, file int64 }
	var course []size
	watchers.Go(func() {
		tick := time.NewTicker(max(time.Second/4, min(time.Second, b.steadily/100)))
		defer tick.Stop()
		for {
			select {
			case <-limited.Done():
				return
			case <-s.Done():
				errs[probers] = rig.ErrEnded
				return
			case <-tick.C:
			}
			p, err := s.Process()
			if err != nil {
				errs[probers] = err
				return
			}
			course = append(course, size{p.RSS, p.File})
		}
	})
	sent := load.Run(limited, s)
	theirs, own, cpuErr := c.cores(s)
	cancel()
	watchers.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := errors.Join(append(errs, cpuErr)...); err != nil {
		return fmt.Errorf("%w\n%s", err, s.Complaints())
	}
	if sent.Failed > 0 {
		return fmt.Errorf("%d requests failed: %w\n%s", sent.Failed, sent.Err, s.Complaints())
	}
	p, err := s.Process()
	if err != nil {
		return err
	}
	late, err := settled(ctx, s, sent.Records)
	if err != nil {
		return err
	}
	all := slices.Concat(found...)
	slices.Sort(all)
	if len(all) == 0 || len(course) < 20 {
		return fmt.Errorf("%d events were found, %d sizes measured: the load lasted too short", len(all), len(course))
	}
	const parts = 10
	var header, rule, rss, files strings.Builder
	mean := func(from, to int) (m size) {
		for _, x := range course[from:to] {
			m.rss += x.rss / int64(to-from)
			m.file += x.file / int64(to-from)
		}
		return m
	}
	for i := range parts {
		m := mean(i*len(course)/parts, (i+1)*len(course)/parts)
		fmt.Fprintf(&header, " %.1f |", (b.steadily * time.Duration(i+1) / parts).Minutes())
		rule.WriteString("--:|")
		fmt.Fprintf(&rss, " %.0f |", float64(m.rss)/1e6)
		fmt.Fprintf(&files, " %.0f |", float64(m.file)/1e6)
	}
	second, last := mean(len(course)/4, len(course)/2), mean(len(course)*3/4, len(course))
	growth := float64(last.rss) / float64(second.rss)
	fmt.Fprintf(b.page, "\n### A steady load\n\n%s events/s for %s; %s were accepted at %s events/s (acknowledged: p99 %s ms), and all were in the answer %.1f s after the last. The server took %.2f cores, the clients and watchers %.2f.\n",
		thousands(steadyRate), b.steadily, thousands(float64(sent.Records)), thousands(sent.Rate()), millis(sent.Percentile(99)), late.Seconds(), theirs, own)
	fmt.Fprintf(b.page, "\nFrom the acknowledgement until `GET /api/v1/events/{id}` finds an event of the batch, asked every %s by %d watcher(s), over %d events: p50 %.2f s, p99 %.2f s, longest %.2f s.\n",
		probePoll, probers, len(all), rig.Percentile(all, 50).Seconds(), rig.Percentile(all, 99).Seconds(), all[len(all)-1].Seconds())
	fmt.Fprintf(b.page, "\n| memory of the server in MB, mean until minute |%s\n|---|%s\n| resident |%s\n| of it pages of files |%s\n", header.String(), rule.String(), rss.String(), files.String())
	fmt.Fprintf(b.page, "\n- accepted → searchable at %s events/s: p99 %.2f s, wanted ≤ %.0f s: %s\n- memory at %s events/s for %s: peak %.0f MB, wanted ≤ %.0f: %s\n- flat: in the last quarter %.2f of what it was in the second, wanted ≤ %.2f: %s\n",
		thousands(steadyRate), rig.Percentile(all, 99).Seconds(), foundMost.Seconds(), sayReached(rig.Percentile(all, 99) <= foundMost && sent.Rate() >= steadyRate*0.98),
		thousands(steadyRate), b.steadily, float64(p.Peak)/1e6, float64(serveMemory)/1e6, sayReached(p.Peak <= serveMemory), growth, flatGrowth, sayReached(growth <= flatGrowth))
	b.say("steady: searchable p99 %s, peak %.0f MB, growth %.2f", rig.Percentile(all, 99), float64(p.Peak)/1e6, growth)
	return nil
}

// restart is how soon a server that was killed is there again, with much stored and much that was not yet flushed.
func (b *bench) restart(ctx context.Context, feed *rig.Feed, dir string) error {
	days := daysFor(b.many)
	d, err := b.dataset(ctx, "many", sample.Options{Events: b.many, Days: days, Story: true}, fmt.Sprintf("--events %d --days %d", b.many, days))
	if err != nil {
		return err
	}
	b.say("filling the store of the restart")
	if _, err := process(ctx, []int{0}, b.spoor, "store", "ingest", d.logs(), "--into", filepath.Join(dir, "store"), "--quiet", "--temp-dir", b.dir); err != nil {
		return err
	}
	stored := int64(d.truth.Events)
	// Nothing is flushed while the server runs.
	s, idle, err := b.start(ctx, rig.Options{Data: dir, Args: []string{"--set", "store.flush_rows=20000000", "--set", "store.flush_interval=1d", "--set", "store.max_hot_rows=100000000"}})
	if err != nil {
		return err
	}
	defer func() { s.Kill() }()
	var last atomic.Pointer[acked]
	var accepted atomic.Int64
	enough, cancel := context.WithCancel(ctx)
	defer cancel()
	load := &rig.Load{Feed: feed, Clients: pushClients, Rate: pushRate, Acked: func(stream uint8, batch uint64, at time.Time) {
		last.Store(&acked{stream, batch, at})
		if accepted.Add(pushBatch) >= int64(b.unflushed) {
			cancel()
		}
	}}
	sent := load.Run(enough, s)
	s.Kill() // in the middle of what follows the last answer
	if err := ctx.Err(); err != nil {
		return err
	}
	if sent.Failed > 0 || last.Load() == nil {
		return fmt.Errorf("%d requests failed: %w\n%s", sent.Failed, sent.Err, s.Complaints())
	}
	a := last.Load()
	id := feed.ID(a.stream, a.batch, 0)
	again, ready, err := b.start(ctx, s.Again())
	if err != nil {
		return err
	}
	s = again
	answered, counted := time.Duration(0), time.Duration(0)
	for answered == 0 {
		ok, err := s.Found(ctx, id)
		if err != nil {
			return err
		}
		if ok {
			answered = time.Since(s.Began)
		}
	}
	want := stored + accepted.Load()
	for {
		n, err := s.Count(ctx, "SELECT count(*) AS n FROM events")
		if err != nil {
			return err
		}
		if n > want+int64(pushClients*pushBatch) { // what was under way may be there
			return fmt.Errorf("%d events are in the answer, %d were stored or acknowledged", n, want)
		}
		if n >= want {
			counted = time.Since(s.Began)
			break
		}
		if time.Since(s.Began) > 10*time.Minute {
			return fmt.Errorf("%d events are in the answer after 10 minutes, %d were stored or acknowledged", n, want)
		}
	}
	p, err := s.Process()
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n### Restart\n\nThe store has %s events of %d days; %s more were accepted and not flushed to it, and the server was killed (kill -9) as the last was acknowledged. From the execution of the new process:\n", thousands(float64(stored)), days, thousands(float64(accepted.Load())))
	fmt.Fprintf(b.page, "\n| | s |\n|---|--:|\n| `/readyz` says 200 | %.2f |\n| the event that was accepted last is found by its id | %.2f |\n| all events are counted in SQL | %.2f |\n| `/readyz` with nothing that is not flushed, for comparison | %.2f |\n", ready.Seconds(), answered.Seconds(), counted.Seconds(), idle.Seconds())
	fmt.Fprintf(b.page, "\n- ready after a restart: %.2f s, wanted ≤ %.0f s: %s (peak memory by then %.0f MB)\n", ready.Seconds(), readyMost.Seconds(), sayReached(ready <= readyMost && counted <= readyMost), float64(p.Peak)/1e6)
	b.say("restart: ready %s, last event %s, all %s", ready, answered, counted)
	limited, done := context.WithTimeout(ctx, 10*time.Minute)
	defer done()
	return s.Stop(limited)
}
