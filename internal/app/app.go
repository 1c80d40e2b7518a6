// Package app builds a server from a configuration, runs it, and stops it: the only place that knows every part.
//
// [Open] starts the parts against the way of an event: journal, access, store, questions, live tail, then sources and the
// address that answers. [App.Close] stops them in the reverse order, within the configured time; what does not end by then is
// cut off and named. A part that fails while the server runs ends it with an error, but for sources, which are shown as
// failed and tried again. What was accepted is durable at any moment: a server that is killed loses nothing.
package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/config"
	"spoor/internal/durable"
	"spoor/internal/history"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/lake"
	"spoor/internal/lakequery"
	"spoor/internal/livetail"
	"spoor/internal/metrics"
	"spoor/internal/query"
	"spoor/internal/recorder"
	"spoor/internal/sample"
	"spoor/internal/source/live"
	"spoor/internal/store"
)

// Options of Open. Load is required.
type Options struct {
	// Load reads the configuration: at the start, and again at each reload.
	Load            func() (*config.Loaded, error)
	Version, Commit string
	// Sample feeds the service with the logs of an organisation that does not exist: a week until now, and then as time passes.
	Sample bool
	LogTo  io.Writer        // nil: nothing is logged
	Now    func() time.Time // nil for the system's clock
}

// App is a server that runs.
type App struct {
	opts  Options
	log   *slog.Logger
	level *slog.LevelVar
	began time.Time

	lock        *durable.Lock
	front       *front
	aws         *front // for AWS's clients, nil for none
	journal     *journal.Journal
	iam         *iam.Service
	recorder    *recorder.Recorder
	tail        *livetail.Tail
	store       *store.Store       // nil without the role
	live        *store.Live        // the same
	maintenance *store.Maintenance // the same
	reader      *reader            // in its place
	query       *query.Engine      // nil without the role api
	history     *history.History   // nil without an endpoint for AWS's clients
	lake        *lake.Lake         // the same
	lakeQueries *lakequery.Manager // the same
	trails      trailParts         // empty without an endpoint for AWS's clients

	endAccessLogs func() error // ends the one that writes the logs of access of buckets; guarded by change once the server runs
	sources       *sources
	registry      *metrics.Registry
	parts         []part // in the order of their starts

	failed  chan struct{} // closed when a part has failed
	failure error         // why, once failed is closed
	failing sync.Once

	change  sync.Mutex // held by a reload, and by what stops
	loaded  *config.Loaded
	set     atomic.Pointer[settings] // in effect
	stopped bool
	closed  chan struct{} // closed when Close has stopped everything
	reloads atomic.Int64
	refused atomic.Int64
	state   atomic.Pointer[string] // "" when the service runs, else what it does
	atStart uint64                 // last sequence of the journal then
}

// part is something that was started. stop ends it: gently until the context ends, and then at once.
type part struct {
	name string
	stop func(ctx context.Context) error
	soon bool // it has half of the time, so that those after it have some
}

// ErrInUse is wrapped by the error of Open when another server has the data folder.
var ErrInUse = errors.New("another server uses this folder")

// Open starts a server. An error names the setting that it comes from, and where its value does. The context is for the start
// only.
func Open(ctx context.Context, o Options) (_ *App, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LogTo == nil {
		o.LogTo = io.Discard
	}
	a := &App{opts: o, level: new(slog.LevelVar), began: o.Now(), failed: make(chan struct{}), closed: make(chan struct{})}
	a.setState("starting")
	l, set, err := a.read()
	if err != nil {
		return nil, err
	}
	a.loaded = l
	a.set.Store(set)
	a.level.Set(set.log.level)
	handler := &slog.HandlerOptions{Level: a.level}
	if set.log.json {
		a.log = slog.New(slog.NewJSONHandler(o.LogTo, handler))
	} else {
		a.log = slog.New(slog.NewTextHandler(o.LogTo, handler))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Close())
		}
	}()
	for _, w := range l.Warnings {
		a.log.Warn(w)
	}
	if set.memory > 0 {
		before := debug.SetMemoryLimit(set.memory)
		a.started("memory limit", func(context.Context) error { debug.SetMemoryLimit(before); return nil })
	}
	for _, step := range []func(context.Context) error{a.openFolder, a.openFront, a.openJournal, a.openAccess, a.openStore, a.openQuery, a.openRecorder, a.openTail, a.openHistory, a.openLake, a.openKeys, a.openBuckets, a.openTopics, a.openTrails, a.openSample, a.openSources} {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	if a.registry, err = metrics.New(a.log, a.figures()...); err != nil {
		return nil, err
	}
	h, err := a.handler()
	if err != nil {
		return nil, err
	}
	if a.aws != nil {
		e, buckets, err := a.endpoint(set)
		if err != nil {
			return nil, err
		}
		if err := a.answerAWS(e, buckets); err != nil {
			return nil, err
		}
	}
	a.front.hand(h)
	a.setState("")
	a.log.Info("serving", slog.String("url", a.URL()), slog.String("aws", a.AWSURL()), slog.Any("roles", l.Config.Roles), slog.Duration("after", o.Now().Sub(a.began).Round(time.Millisecond)))
	return a, nil
}

// read loads the configuration with its files, and translates it.
func (a *App) read() (*config.Loaded, *settings, error) {
	l, err := a.opts.Load()
	if err != nil {
		return nil, nil, err
	}
	if err := l.ReadFiles(); err != nil {
		return nil, nil, err
	}
	set, err := settingsOf(l)
	if err == nil && a.opts.Sample {
		set.sources = append(set.sources, sourceOptions(&config.Source{Name: sampleSource, Type: config.SourceFolder, Enabled: true, Workers: 2,
			Path: filepath.Join(sampleFolder(set), "AWSLogs"), Interval: time.Second}, set.dirs.sources, set.http.maxBody))
	}
	return l, set, err
}

// sampleSource is the source that reads the logs of Options.Sample.
const sampleSource = "sample"

func sampleFolder(s *settings) string { return filepath.Join(s.data, "sample") }

// openSample begins to write the logs of Options.Sample.
func (a *App) openSample(context.Context) error {
	if !a.opts.Sample {
		return nil
	}
	dir := sampleFolder(a.set.Load())
	if err := durable.MkdirAll(filepath.Join(dir, "AWSLogs"), 0o700); err != nil {
		return a.blame("data", err)
	}
	a.background("sample", func(ctx context.Context) error {
		return sample.Live(ctx, sample.LiveOptions{Seed: 1, Out: dir, Now: a.opts.Now})
	})
	return nil
}

// background starts a part that runs until it is stopped. When it ends by itself, the server fails.
func (a *App) background(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		err := run(ctx)
		if ctx.Err() == nil {
			if err == nil {
				err = errors.New("it ended by itself")
			}
			a.fail(fmt.Errorf("%s: %w", name, err))
		}
		done <- err
	}()
	a.started(name, func(context.Context) error {
		cancel()
		err := <-done
		if errors.Is(err, context.Canceled) {
			err = nil
		}
		return err
	})
}

func (a *App) setState(s string) { a.state.Store(&s) }

// fail ends the server with an error: Run returns it.
func (a *App) fail(err error) {
	a.failing.Do(func() {
		a.failure = err
		close(a.failed)
	})
}

// started takes note of a part that is to be stopped.
func (a *App) started(name string, stop func(context.Context) error) {
	a.parts = append(a.parts, part{name: name, stop: stop})
	a.log.Debug("started", slog.String("part", name))
}

func (a *App) blame(key string, err error) error { return blame(a.loaded, key, err) }

func (a *App) openFolder(ctx context.Context) error {
	dir := a.set.Load().data
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return a.blame("data", err)
	}
	var err error
	a.lock, err = durable.Acquire(ctx, filepath.Join(dir, "lock"), 0o600, 0)
	var locked *durable.LockedError
	if errors.As(err, &locked) {
		return a.blame("data", fmt.Errorf("%s: %w%s; stop it, or give this one another folder with --data", dir, ErrInUse, locked.Owner()))
	}
	if err != nil {
		return a.blame("data", err)
	}
	a.started("data folder", func(context.Context) error { return a.lock.Release() })
	return nil
}

func (a *App) openFront(ctx context.Context) error {
	var err error
	a.front, err = listen(ctx, a.set.Load().http, starting(), a.log)
	if err != nil {
		return a.blame("http.listen", err)
	}
	// They are listed where they are stopped: see Close.
	a.front.serve(a.fail)
	return a.openAWS(ctx)
}

func (a *App) openJournal(ctx context.Context) error {
	o := a.set.Load().journal
	o.Log, o.Now = a.log.With("part", "journal"), a.opts.Now
	j, err := journal.Open(ctx, o)
	if err != nil {
		key := "journal.dir"
		if o.URL != "" {
			key = "journal.url"
		}
		return a.blame(key, err)
	}
	a.journal = j
	a.started("journal", func(context.Context) error { return j.Close() })
	s, err := j.Stats(ctx)
	if err != nil {
		return fmt.Errorf("look at the journal: %w", err)
	}
	a.atStart = s.Last
	return nil
}

func (a *App) openAccess(ctx context.Context) error {
	o := a.set.Load().iam
	o.Log, o.Now = a.log.With("part", "iam"), a.opts.Now
	s, err := iam.Open(ctx, a.set.Load().dirs.iam, o)
	if err != nil {
		return a.blame("data", err)
	}
	a.iam = s
	a.started("access", func(context.Context) error { return s.Close() })
	return nil
}

func (a *App) openRecorder(context.Context) error {
	set := a.set.Load()
	r, err := recorder.New(recorder.Options{Journal: a.journal, Account: set.iam.Account, Region: set.region, Log: a.log.With("part", "recorder"), Now: a.opts.Now})
	if err != nil {
		return err
	}
	a.recorder = r
	a.background("recorder", r.Run)
	return nil
}

func (a *App) openTail(context.Context) error {
	a.tail = livetail.New(livetail.Options{Journal: a.journal, Stream: a.journal.ID(), Subscribers: a.set.Load().http.tails, Log: a.log.With("part", "tail"), Now: a.opts.Now})
	a.background("tail", a.tail.Run)
	return nil
}

func (a *App) openSources(context.Context) error {
	set := a.set.Load()
	ss, err := newSources(set, live.Into(a.journal), a.log.With("part", "source"), a.opts.Now)
	if err != nil {
		return a.blame("data", err)
	}
	a.sources = ss
	a.started("sources", ss.close)
	ss.apply(withDefault(set.sources, set))
	return nil
}

// Region is that of the calls that are recorded, and for which signatures of AWS's clients count.
func (a *App) Region() string { return a.set.Load().region }

// AWSURL is where AWS's own clients on this machine reach the server, "" for nowhere.
func (a *App) AWSURL() string {
	if a.aws == nil {
		return ""
	}
	return a.aws.url()
}

// Folder is where everything is kept.
func (a *App) Folder() string { return a.set.Load().data }

// URL is where callers on this machine reach the server.
func (a *App) URL() string { return a.front.url() }

// FirstCredential makes the first credential of root, the first time that it is called for a data folder. Nobody can have it
// later. That it was made is recorded, and can be searched for when it returns.
func (a *App) FirstCredential(ctx context.Context) (secret string, made bool, err error) {
	secret, made, err = a.iam.FirstRoot()
	if err != nil || !made {
		return "", false, err
	}
	root, err := a.iam.User(iam.RootName)
	if err != nil {
		return "", false, err
	}
	_, err = a.recorder.Record(ctx, recorder.Call{
		Name: string(iam.CreateToken), Identity: recorder.Identity{Type: "Root", PrincipalID: root.ID, ARN: root.ARN(), AccountID: root.Account},
		UserAgent: "spoor/" + a.opts.Version, Request: map[string]any{"userName": iam.RootName, "note": "first start"},
		Response: map[string]any{"tokenId": iam.TokenID(secret)},
	})
	if err == nil {
		err = a.caughtUp(ctx)
	}
	if err != nil { // the credential is good, and nobody could have another one
		a.log.Error("the first credential was not recorded", slog.Any("error", err))
	}
	return secret, true, nil
}

// caughtUp waits until everything that the journal has is in answers, for a while.
func (a *App) caughtUp(ctx context.Context) error {
	if a.live == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	s, err := a.journal.Stats(ctx)
	if err != nil {
		return err
	}
	return a.live.Wait(ctx, s.Last)
}

// Run waits until the context ends, or a part fails, which is the error. Close is still to be called.
func (a *App) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-a.failed:
		return a.failure
	}
}

// Close stops the server. What has not ended within the configured time is cut off: that is an error, and so is what went
// wrong otherwise. It may be called more than once.
func (a *App) Close() error {
	a.change.Lock()
	again := a.stopped
	a.stopped = true
	a.change.Unlock() // what is under way may want it
	if again {
		<-a.closed
		return nil
	}
	defer close(a.closed)
	a.setState("stopping")
	limit := a.set.Load().shutdown
	ctx, cancel := context.WithTimeoutCause(context.Background(), limit, fmt.Errorf("it did not end within shutdown_timeout, %s", config.FormatSpan(limit)))
	defer cancel()
	parts := slices.Clone(a.parts)
	if a.front != nil {
		parts = append(parts, part{name: "http", stop: a.front.stop, soon: true})
	}
	if a.aws != nil {
		parts = append(parts, part{name: "aws", stop: a.aws.stop, soon: true})
	}
	var errs []error
	began := a.opts.Now()
	half, cancelHalf := context.WithTimeoutCause(ctx, limit/2, fmt.Errorf("it did not end within half of shutdown_timeout, %s", config.FormatSpan(limit/2)))
	defer cancelHalf()
	for _, p := range slices.Backward(parts) {
		within := ctx
		if p.soon {
			within = half
		}
		if err := a.stopPart(within, p); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.name, err))
		}
	}
	a.log.Info("stopped", slog.Duration("after", a.opts.Now().Sub(began).Round(time.Millisecond)), slog.Int("cut_off", len(errs)))
	return errors.Join(errs...)
}

// hardTime is how long a part may take to end at once, when the time to end is over.
const hardTime = 2 * time.Second

// stopPart stops a part. One that does not end although its time is over is left behind.
func (a *App) stopPart(ctx context.Context, p part) error {
	began := a.opts.Now()
	done := make(chan error, 1)
	go func() { done <- p.stop(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		hard := time.NewTimer(hardTime)
		defer hard.Stop()
		select {
		case err = <-done:
		case <-hard.C:
			err = context.Cause(ctx)
		}
	}
	took := slog.Duration("after", a.opts.Now().Sub(began).Round(time.Millisecond))
	if err != nil {
		a.log.Error("stopped, but not in order", slog.String("part", p.name), took, slog.Any("error", err))
		return err
	}
	a.log.Info("stopped", slog.String("part", p.name), took)
	return nil
}
