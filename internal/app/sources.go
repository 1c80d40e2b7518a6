package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"spoor/internal/config"
	"spoor/internal/console"
	"spoor/internal/durable"
	"spoor/internal/ledger"
	"spoor/internal/source/live"
	"spoor/internal/source/poll"
	"spoor/internal/source/push"
	"spoor/internal/source/sqs"
	"spoor/internal/source/watch"
)

// sourceState says what a source does.
type sourceState string

// The states of a source.
const (
	sourceRunning   sourceState = "running"
	sourcePaused    sourceState = "paused"    // by somebody, until it is resumed; restarts do not change that
	sourceDisabled  sourceState = "disabled"  // by the configuration
	sourceFailed    sourceState = "failed"    // tried again after a while
	sourceElsewhere sourceState = "elsewhere" // this process does not have the role
)

const (
	sourceRetry = time.Second // after a failure, doubled up to
	sourceLate  = 5 * time.Minute
	// defaultPush is the source of pushes that name none. It is there without any configuration.
	defaultPush = "push"
)

// sources runs the sources of a configuration. A source that fails is shown as failed and tried again; it never ends the
// process.
type sources struct {
	dir    string
	has    roles
	accept live.Acceptor
	log    *slog.Logger
	now    func() time.Time

	change sync.Mutex // held by what starts and stops sources
	mu     sync.Mutex // guards what follows
	all    map[string]*runner
	paused map[string]bool
	closed bool
}

// runner is one source: its goroutine, from start to stop, is tend.
type runner struct {
	set    sourceSettings
	cancel context.CancelFunc
	done   chan struct{}

	mu    sync.Mutex
	src   live.Source // nil while it could not be opened
	state sourceState
	err   error
	retry time.Time
	ended bool           // no request is begun any more
	uses  sync.WaitGroup // requests that are under way
}

func newSources(s *settings, accept live.Acceptor, log *slog.Logger, now func() time.Time) (*sources, error) {
	ss := &sources{dir: s.dirs.sources, has: s.roles, accept: accept, log: log, now: now, all: map[string]*runner{}, paused: map[string]bool{}}
	if err := durable.MkdirAll(ss.dir, 0o700); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(ss.pauseFile())
	if errors.Is(err, os.ErrNotExist) {
		return ss, nil
	}
	var names []string
	if err == nil {
		err = json.Unmarshal(text, &names)
	}
	if err != nil {
		return nil, fmt.Errorf("read which sources are paused: %w", err)
	}
	for _, n := range names {
		ss.paused[n] = true
	}
	return ss, nil
}

// pauseFile holds the names of paused sources, as a JSON array.
func (ss *sources) pauseFile() string { return filepath.Join(ss.dir, "paused.json") }

// withDefault adds the source of pushes that name none.
func withDefault(list []sourceSettings, s *settings) []sourceSettings {
	for _, one := range list {
		if one.name == defaultPush {
			return list
		}
	}
	if !s.roles.api {
		return list
	}
	return append(slices.Clone(list), sourceOptions(&config.Source{Name: defaultPush, Type: config.SourcePush, Enabled: true, MaxBody: s.http.maxBody}, s.dirs.sources, s.http.maxBody))
}

// mine says whether this process runs a source: who answers over HTTP takes pushes, and the role sources reads the others.
func (ss *sources) mine(s *sourceSettings) bool {
	if s.push != nil {
		return ss.has.api
	}
	return ss.has.sources
}

// apply makes the sources those of a list: new ones are started, others stopped, changed ones restarted. It returns when
// those that are gone have stopped.
func (ss *sources) apply(list []sourceSettings) {
	ss.change.Lock()
	defer ss.change.Unlock()
	wanted := map[string]sourceSettings{}
	for _, s := range list {
		wanted[s.name] = s
	}
	ss.mu.Lock()
	var stop []*runner
	for name, r := range ss.all {
		if w, ok := wanted[name]; !ok || !sameSource(w, r.set) {
			stop = append(stop, r)
		}
	}
	ss.mu.Unlock()
	_ = ss.stop(context.Background(), stop) // without an end there is no error
	ss.mu.Lock()
	defer ss.mu.Unlock()
	for _, r := range stop {
		delete(ss.all, r.set.name)
	}
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if ss.all[name] == nil {
			ss.start(wanted[name])
		}
	}
}

// sameSource compares options; they hold nothing but values.
func sameSource(a, b sourceSettings) bool { return fingerprint(a) == fingerprint(b) }

func fingerprint(s sourceSettings) string {
	return fmt.Sprintf("%s %s %t %+v %+v %+v %+v", s.name, s.kind, s.enabled, deref(s.sqs), deref(s.poll), deref(s.watch), deref(s.push))
}

func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// start runs a source. ss.mu is held.
func (ss *sources) start(s sourceSettings) {
	if ss.closed {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &runner{set: s, cancel: cancel, done: make(chan struct{})}
	ss.all[s.name] = r
	switch {
	case !ss.mine(&s):
		r.state = sourceElsewhere
		close(r.done)
		return
	case !s.enabled:
		r.state = sourceDisabled
	case ss.paused[s.name]:
		r.state = sourcePaused
	default:
		r.state = sourceRunning
	}
	r.open(ss)
	go func() {
		defer close(r.done)
		r.tend(ctx, ss)
	}()
}

// stop ends sources and waits for them.
func (ss *sources) stop(ctx context.Context, list []*runner) error {
	for _, r := range list {
		r.cancel()
	}
	var late []string
	for _, r := range list {
		select {
		case <-r.done:
		case <-ctx.Done():
			late = append(late, r.set.name)
		}
	}
	if len(late) > 0 {
		return fmt.Errorf("stop sources %q: %w", late, context.Cause(ctx))
	}
	return nil
}

// close stops all sources, for good.
func (ss *sources) close(ctx context.Context) error {
	ss.change.Lock()
	defer ss.change.Unlock()
	ss.mu.Lock()
	ss.closed = true
	list := slices.Collect(maps.Values(ss.all))
	ss.mu.Unlock()
	return ss.stop(ctx, list)
}

// open opens the source, and notes why it could not be.
func (r *runner) open(ss *sources) bool {
	src, err := r.build(ss)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.src, r.err = nil, err
		return false
	}
	r.src, r.err = src, nil
	return true
}

func (r *runner) build(ss *sources) (live.Source, error) {
	s := r.set // its options are copied: each opening has its own
	o := *s.options()
	o.Accept, o.Log, o.Now = ss.accept, ss.log, ss.now
	switch {
	case s.sqs != nil:
		c := *s.sqs
		c.Options = o
		return opened(sqs.Open(context.Background(), c))
	case s.poll != nil:
		c := *s.poll
		c.Options = o
		return opened(poll.Open(context.Background(), c))
	case s.watch != nil:
		c := *s.watch
		c.Options = o
		return opened(watch.Open(c))
	}
	c := *s.push
	c.Options = o
	return opened(push.Open(c))
}

func opened[S live.Source](s S, err error) (live.Source, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// tend runs a source until the context ends, again and again when it fails.
func (r *runner) tend(ctx context.Context, ss *sources) {
	log := ss.log.With("source", r.set.name)
	defer func() {
		r.mu.Lock()
		src := r.src
		r.ended = true
		r.mu.Unlock()
		r.uses.Wait()
		if src == nil {
			return
		}
		if err := src.Close(); err != nil {
			log.Error("close the source", slog.Any("error", err))
		}
	}()
	r.mu.Lock()
	idle := r.state != sourceRunning
	r.mu.Unlock()
	for failures := 0; ; {
		r.mu.Lock()
		src, err := r.src, r.err
		r.mu.Unlock()
		began := ss.now()
		if src != nil {
			if idle {
				<-ctx.Done()
				return
			}
			log.Info("source started", slog.String("type", r.set.kind))
			err = src.Run(ctx)
			if ctx.Err() != nil {
				if err != nil {
					log.Error("the source did not stop in order", slog.Any("error", err))
				}
				return
			}
			if err == nil {
				err = errors.New("it ended by itself")
			}
			if ss.now().Sub(began) > sourceLate {
				failures = 0
			}
		}
		failures++
		wait := live.Backoff(sourceRetry, sourceLate, failures)
		log.Error("source failed", slog.Any("error", err), slog.Duration("again_in", wait))
		r.mu.Lock()
		r.err, r.retry = err, ss.now().Add(wait)
		if !idle {
			r.state = sourceFailed
		}
		r.mu.Unlock()
		if live.Pause(ctx, wait) != nil {
			return
		}
		if src != nil { // what was opened runs once
			if err := src.Close(); err != nil {
				log.Error("close the source", slog.Any("error", err))
			}
		}
		if r.open(ss) && !idle {
			r.mu.Lock()
			r.state, r.retry = sourceRunning, time.Time{}
			r.mu.Unlock()
		}
	}
}

func (r *runner) source() (live.Source, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.state == sourceElsewhere:
		return nil, fmt.Errorf("%w: another process has the role that runs the source %s", console.ErrUnavailable, r.set.name)
	case r.src == nil:
		return nil, fmt.Errorf("%w: the source %s cannot be opened: %w", console.ErrUnavailable, r.set.name, r.err)
	}
	return r.src, nil
}

func (r *runner) status() console.SourceStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := console.SourceStatus{Stats: live.Stats{Name: r.set.name, Kind: r.set.kind, Backlog: -1}, State: string(r.state), Retry: r.retry}
	if r.src != nil {
		s.Stats = r.src.Stats()
	}
	if r.err != nil {
		s.State, s.Error = string(sourceFailed), r.err.Error()
	}
	return s
}

func (ss *sources) runner(name string) (*runner, error) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if r := ss.all[name]; r != nil {
		return r, nil
	}
	return nil, fmt.Errorf("%w: there is no source %s", console.ErrNotFound, name)
}

// List implements [console.Sources].
func (ss *sources) List() []console.SourceStatus {
	ss.mu.Lock()
	all := slices.Collect(maps.Values(ss.all))
	ss.mu.Unlock()
	out := make([]console.SourceStatus, len(all))
	for i, r := range all {
		out[i] = r.status()
	}
	slices.SortFunc(out, func(a, b console.SourceStatus) int { return compare(a.Name, b.Name) })
	return out
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Source implements [console.Sources].
func (ss *sources) Source(name string) (live.Source, error) {
	r, err := ss.runner(name)
	if err != nil {
		return nil, err
	}
	return r.source()
}

// Get implements [console.Sources].
func (ss *sources) Get(name string) (console.SourceStatus, error) {
	r, err := ss.runner(name)
	if err != nil {
		return console.SourceStatus{}, err
	}
	return r.status(), nil
}

// Pause implements [console.Sources]. That it is paused is durable when it returns nil.
func (ss *sources) Pause(_ context.Context, name string) error { return ss.setPaused(name, true) }

// Resume implements [console.Sources].
func (ss *sources) Resume(_ context.Context, name string) error { return ss.setPaused(name, false) }

func (ss *sources) setPaused(name string, paused bool) error {
	ss.change.Lock()
	defer ss.change.Unlock()
	r, err := ss.runner(name)
	if err != nil {
		return err
	}
	ss.mu.Lock()
	was := ss.paused[name]
	ss.mu.Unlock()
	if was == paused {
		return nil
	}
	if err := ss.remember(name, paused); err != nil {
		return err
	}
	_ = ss.stop(context.Background(), []*runner{r}) // without an end there is no error
	ss.mu.Lock()
	defer ss.mu.Unlock()
	ss.start(r.set)
	return nil
}

func (ss *sources) remember(name string, paused bool) error {
	ss.mu.Lock()
	next := maps.Clone(ss.paused)
	ss.mu.Unlock()
	if paused {
		next[name] = true
	} else {
		delete(next, name)
	}
	text, err := json.Marshal(slices.Sorted(maps.Keys(next)))
	if err != nil {
		return err
	}
	if err := durable.WriteFile(ss.pauseFile(), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("remember which sources are paused: %w", err)
	}
	ss.mu.Lock()
	ss.paused = next
	ss.mu.Unlock()
	return nil
}

// PushTo implements [console.Sources]; the empty name is that of the source that is always there.
func (ss *sources) PushTo(name string) (http.Handler, error) {
	if name == "" {
		name = defaultPush
	}
	r, err := ss.runner(name)
	if err != nil {
		return nil, err
	}
	src, err := r.source()
	if err != nil {
		return nil, err
	}
	h, ok := src.(http.Handler)
	if !ok {
		return nil, fmt.Errorf("%w: the source %s is of type %s, and takes no pushes", console.ErrInvalid, name, r.set.kind)
	}
	if st := r.status().State; st == string(sourcePaused) || st == string(sourceDisabled) {
		return nil, fmt.Errorf("%w: the source %s is %s", console.ErrUnavailable, name, st)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		ended := r.ended
		if !ended {
			r.uses.Add(1)
		}
		r.mu.Unlock()
		if ended { // it is being restarted
			w.Header().Set("Retry-After", "1")
			writeJSON(w, http.StatusServiceUnavailable, push.Answer{Error: "the source " + name + " is being restarted"})
			return
		}
		defer r.uses.Done()
		h.ServeHTTP(w, req)
	}), nil
}

// Ledgers implements [console.Sources].
func (ss *sources) Ledgers(since time.Time, name string) (map[string]*ledger.Report, error) {
	out := map[string]*ledger.Report{}
	for _, st := range ss.List() {
		if name != "" && st.Name != name {
			continue
		}
		src, err := ss.Source(st.Name)
		if err != nil {
			if name != "" {
				return nil, err
			}
			continue
		}
		if out[st.Name], err = src.Ledger(since); err != nil {
			return nil, fmt.Errorf("ledger of source %s: %w", st.Name, err)
		}
	}
	if name != "" && len(out) == 0 {
		return nil, fmt.Errorf("%w: there is no source %s", console.ErrNotFound, name)
	}
	return out, nil
}
