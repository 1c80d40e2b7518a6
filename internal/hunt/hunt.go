// Package hunt reads logs once and tells what happened in them: findings of the rules, who did what from where, and how
// complete the reading was. It needs no server. The same decoding and detection run live elsewhere.
package hunt

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
)

// Options of [Run].
type Options struct {
	// Intake says what is read. Its Ledger and Seen are set by Run.
	Intake intake.Options
	// Rules are the rules to run; nil gathers statistics only.
	Rules *detect.Ruleset
	// TempDir is where event ids and matches go that do not fit into memory; the system's temporary folder when empty.
	TempDir string
	// Actor, when set, asks for the timeline of the actors it names: by id, name, ARN or session, without regard to case.
	Actor string
	// KeepDuplicates counts an event as often as it is read.
	KeepDuplicates bool
	// RulesOnly leaves out statistics and timeline, so that events which no rule can match need not be read.
	RulesOnly bool
	// Earlier, when set, knows events that are read from sources which have every event once, for [dedup.Options].
	Earlier func(dedup.Key, int64) (dedup.Verdict, error)
	Version string    // of the program, for the result
	Now     time.Time // when the run starts, for the result
}

// TimelineCap bounds the events of a timeline. The earliest are kept.
const TimelineCap = 200_000

// Run reads, judges and counts. Inputs that cannot be read whole are in the result's ledger and no error.
func Run(ctx context.Context, opts Options) (res *Result, err error) {
	workers := opts.Intake.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
		opts.Intake.Workers = workers
	}
	led := ledger.New()
	opts.Intake.Ledger = led
	if !opts.KeepDuplicates {
		seen := dedup.New(dedup.Options{Dir: opts.TempDir, Earlier: opts.Earlier})
		defer func() { err = errors.Join(err, seen.Close()) }()
		opts.Intake.Seen = seen
	}
	h := &hunt{opts: opts, seed: maphash.MakeSeed()}
	if opts.Rules != nil {
		files := intake.NewRereader(opts.Intake.Limits)
		h.batch = detect.NewEngine(opts.Rules).NewBatch(detect.BatchOptions{Shards: 2 * workers, TempDir: opts.TempDir,
			Again: func(file string, at []event.Stretch, to func(int, []byte) error) error {
				return files.Read(ctx, file, at, to)
			}})
		defer func() { err = errors.Join(err, h.batch.Close()) }()
	}
	start := time.Now()
	if err := intake.Run(ctx, opts.Intake, h.newWorker); err != nil {
		return nil, err
	}
	// The counts are put together while the windows of the rules are gone through.
	all, timeline := newCollector(h.seed), timeline{}
	var stats Stats
	counted := make(chan struct{})
	go func() {
		defer close(counted)
		for _, w := range h.workers {
			all.merge(w.stats)
			timeline.merge(&w.timeline)
		}
		stats = all.stats()
	}()
	var found *detect.Result
	if h.batch != nil {
		found, err = h.batch.Finish(ctx)
	}
	<-counted
	if err != nil {
		return nil, fmt.Errorf("join what the rules found: %w", err)
	}
	res = &Result{
		Version: opts.Version, Started: opts.Now, Inputs: opts.Intake.Named,
		First: clock(all.first), Last: clock(all.last), Stats: stats, Ledger: led.Report(),
	}
	res.Timeline, res.TimelineCut = timeline.entries(), timeline.cut
	if found != nil {
		res.Findings, res.Notes, res.Hits = found.Findings, found.Notes, found.Rules
		res.Rules.Loaded, res.Rules.Correlations = opts.Rules.Count()
		res.Rules.Off = len(opts.Rules.Off())
		res.Rules.Fired = found.Fired()
		for _, p := range opts.Rules.Problems() {
			if p.Fatal {
				res.Rules.Broken++
				res.Rules.Problems = append(res.Rules.Problems, p.String())
			}
		}
	}
	res.Elapsed = time.Since(start)
	return res, nil
}

type hunt struct {
	opts    Options
	seed    maphash.Seed
	batch   *detect.Batch
	mu      sync.Mutex // guards workers
	workers []*worker
}

func (h *hunt) newWorker() (intake.Worker, error) {
	w := &worker{stats: newCollector(h.seed), actor: strings.ToLower(h.opts.Actor)}
	if h.batch != nil {
		var err error
		if w.rules, err = h.batch.Shard(); err != nil {
			return nil, err
		}
		w.only = h.opts.RulesOnly
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.workers = append(h.workers, w)
	return w, nil
}

// worker judges and counts the events of one goroutine.
type worker struct {
	rules    *detect.Shard
	only     bool // rules alone
	stats    *collector
	actors   event.ActorCache
	actor    string // lower case, "" for no timeline
	timeline timeline
}

// Prepare finds the rules that the event matches; [intake.Run] calls it before each Event.
func (w *worker) Prepare(e *event.Event) {
	if w.rules != nil {
		w.rules.Prepare(e)
	}
}

// Event implements [intake.Worker].
func (w *worker) Event(e *event.Event) error {
	if w.only {
		return w.rules.Event(e)
	}
	actor := w.actors.Of(e)
	failed := e.Failed()
	w.stats.add(e, actor, failed)
	if w.actor != "" && concerns(e, actor, w.actor) {
		w.timeline.add(e, actor)
	}
	if w.rules == nil {
		return nil
	}
	return w.rules.Event(e)
}

// concerns reports whether the event is one of the actor that want names, in lower case.
func concerns(e *event.Event, actor *event.Actor, want string) bool {
	for _, s := range [...]string{actor.ID, actor.Name, actor.Session, e.Text(event.IdentityARN), e.Text(event.AccessKeyID), e.Text(event.UserName)} {
		if len(s) == len(want) && strings.EqualFold(s, want) {
			return true
		}
	}
	return false
}

// timeline collects the events of an actor.
type timeline struct {
	list []TimelineEntry
	cut  int64
}

func (t *timeline) add(e *event.Event, actor *event.Actor) {
	t.list = append(t.list, TimelineEntry{
		First: e.When(), Last: e.When(), Count: 1, Actor: *actor,
		Source: strings.Clone(e.Source()), Name: strings.Clone(e.Name()), Error: strings.Clone(e.Text(event.ErrorCode)),
		Address: strings.Clone(e.Text(event.SourceIPAddress)), Agent: strings.Clone(e.Text(event.UserAgent)),
		Region: strings.Clone(e.Region()), Account: strings.Clone(e.Account()), Target: strings.Clone(detect.Target(e)),
		EventID: strings.Clone(e.ID()),
	})
	if len(t.list) >= 2*TimelineCap {
		t.tighten()
	}
}

func (t *timeline) merge(o *timeline) {
	t.list = append(t.list, o.list...)
	t.cut += o.cut
	if len(t.list) > TimelineCap {
		t.tighten()
	}
}

// tighten keeps the earliest events.
func (t *timeline) tighten() {
	slices.SortFunc(t.list, byTime)
	if n := len(t.list) - TimelineCap; n > 0 {
		t.cut += int64(n)
		clear(t.list[TimelineCap:])
		t.list = t.list[:TimelineCap]
	}
}

func byTime(a, b TimelineEntry) int {
	if c := a.First.Compare(b.First); c != 0 {
		return c
	}
	return strings.Compare(a.EventID, b.EventID)
}

// entries gives the timeline in order, with runs of the same call folded into one entry.
func (t *timeline) entries() []TimelineEntry {
	t.tighten()
	var out []TimelineEntry
	for _, e := range t.list {
		if n := len(out); n > 0 && alike(&out[n-1], &e) {
			out[n-1].Last = e.First
			out[n-1].Count++
			continue
		}
		out = append(out, e)
	}
	return out
}

func alike(a, b *TimelineEntry) bool {
	return a.Name == b.Name && a.Source == b.Source && a.Error == b.Error && a.Address == b.Address && a.Agent == b.Agent &&
		a.Region == b.Region && a.Account == b.Account && a.Target == b.Target && a.Actor.ID == b.Actor.ID
}
