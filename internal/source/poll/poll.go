// Package poll reads a bucket by listing it again and again, for buckets without notifications.
//
// What was read is known by the identity of each object, its key with ETag and size, and never by the order of keys: an object
// that appears late under an old date, or between others, is found. In an AWSLogs layout the folders of today and yesterday
// are listed every Interval, one request for each account and Region; the days of Lookback, and new accounts and Regions, are
// looked for every RecentEvery; and everything every FullEvery and at the start. Other layouts have no days: they are listed
// whole every Interval.
//
// The ids of settled objects lie in files by the day of delivery, and only those that are asked for in memory. They and the
// ledger are written together: after a crash each object is in both or in neither, and in the latter case is read again.
package poll

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/source"
	"spoor/internal/source/live"
	"spoor/internal/source/s3"
)

// Options say which bucket is read. Bucket is required; zero members are the defaults.
type Options struct {
	live.Options
	Bucket, Prefix string
	S3             s3.Options

	Interval    time.Duration // default 1 min
	Lookback    time.Duration // default 7 days, negative for everything
	RecentEvery time.Duration // default 15 min
	FullEvery   time.Duration // default 24 h
	// MaxTries is how often an object is tried before it goes to the dead letters. Default 5.
	MaxTries int
	// MaxIDs is how many ids of settled objects are in memory, 16 bytes each. Default 8 million. More are there only when that
	// many were delivered on one day, or lie in one folder outside of the layout.
	MaxIDs int
}

// lister is a bucket.
type lister interface {
	source.Source
	ListFolders(ctx context.Context, prefixes []string, sel source.Selection, visit func(obj source.Object, skip string) error) error
}

// Source reads a bucket. It implements [live.Source].
type Source struct {
	*live.Core
	opts   Options
	bucket lister
	seen   *seen
	filter string // what decides which objects are left out

	urgent, rest chan job

	mu      sync.Mutex // guards what follows
	pending map[id]bool
	again   map[id]*retry
	folders map[string]bool // of Regions, known to have logs
	loose   bool            // there are objects outside of the layout
}

type job struct {
	obj    source.Object
	id     id
	shard  string
	urgent bool
}

// retry is an object that failed.
type retry struct {
	job
	tries int
	next  time.Time
}

const (
	maxAgain   = 10_000
	maxFolders = 50_000
	maxRetry   = time.Hour
	queue      = 64 // listed objects that wait to be read
)

// Open opens the source of a bucket. It reads configuration files, and asks nobody yet.
func Open(ctx context.Context, o Options) (*Source, error) {
	bucket, err := s3.New(ctx, o.Bucket, o.Prefix, o.S3)
	if err != nil {
		return nil, err
	}
	return open(o, bucket)
}

func open(o Options, bucket lister) (*Source, error) {
	o.Kind = "s3"
	o.Interval = cmp.Or(o.Interval, time.Minute)
	o.Lookback = cmp.Or(o.Lookback, 7*24*time.Hour)
	o.RecentEvery = max(cmp.Or(o.RecentEvery, 15*time.Minute), o.Interval)
	o.FullEvery = max(cmp.Or(o.FullEvery, 24*time.Hour), o.RecentEvery)
	o.MaxTries = cmp.Or(o.MaxTries, 5)
	o.MaxIDs = cmp.Or(o.MaxIDs, 8_000_000)
	core, err := live.Open(o.Options)
	if err != nil {
		return nil, err
	}
	o.Options = core.Options
	known, err := openSeen(filepath.Join(o.Dir, "seen"), core.Marks(), o.MaxIDs)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open source %s: %w", o.Name, err), core.Close())
	}
	core.Remember(known.save)
	return &Source{Core: core, opts: o, bucket: bucket, seen: known, filter: fmt.Sprintf("%q %q", o.Accounts, o.Regions),
		urgent: make(chan job, queue), rest: make(chan job, queue), pending: map[id]bool{}, again: map[id]*retry{}, folders: map[string]bool{}}, nil
}

// Run implements [live.Source].
func (s *Source) Run(ctx context.Context) error {
	return s.Work(ctx, func(ctx context.Context) error {
		var all sync.WaitGroup
		for range s.opts.Workers {
			all.Go(func() { s.work(ctx) })
		}
		all.Go(func() { s.rounds(ctx) })
		all.Go(func() { s.sweeps(ctx) })
		all.Wait()
		return nil
	})
}

// rounds looks for what is new.
func (s *Source) rounds(ctx context.Context) {
	var looked time.Time // at Lookback
	for {
		begun := time.Now()
		s.retry(ctx)
		err := s.round(ctx, &looked)
		s.told(ctx, err)
		if live.Pause(ctx, s.opts.Interval-min(time.Since(begun), s.opts.Interval)) != nil {
			return
		}
	}
}

func (s *Source) round(ctx context.Context, looked *time.Time) error {
	now := s.Now().UTC()
	s.mu.Lock()
	loose, folders := s.loose, make([]string, 0, len(s.folders))
	for f := range s.folders {
		folders = append(folders, f)
	}
	s.mu.Unlock()
	if loose || len(folders) == 0 || time.Since(*looked) >= s.opts.RecentEvery {
		sel := s.selection()
		if s.opts.Lookback > 0 {
			sel.Since = now.Add(-s.opts.Lookback)
		}
		begun := time.Now()
		err := s.bucket.List(ctx, sel, s.visit(ctx, true))
		if err == nil {
			*looked = begun
		}
		return err
	}
	slices.Sort(folders)
	var prefixes []string
	for day := now.Add(-24 * time.Hour).Truncate(24 * time.Hour); !day.After(now.Add(time.Hour)); day = day.Add(24 * time.Hour) {
		for _, f := range folders { // an hour into tomorrow, as clocks differ
			prefixes = append(prefixes, f+day.Format("2006/01/02/"))
		}
	}
	return s.bucket.ListFolders(ctx, prefixes, s.selection(), s.visit(ctx, true))
}

// sweeps looks for everything.
func (s *Source) sweeps(ctx context.Context) {
	for failures := 0; ; {
		err := s.bucket.List(ctx, s.selection(), s.visit(ctx, false))
		s.told(ctx, err)
		wait := s.opts.FullEvery
		if err != nil {
			failures++
			wait = live.Backoff(s.opts.Interval, s.opts.FullEvery, failures)
		} else {
			failures = 0
		}
		if live.Pause(ctx, wait) != nil {
			return
		}
	}
}

func (s *Source) told(ctx context.Context, err error) {
	switch {
	case ctx.Err() != nil:
	case err != nil:
		s.Failed(err)
	default:
		s.Succeeded()
	}
}

func (s *Source) selection() source.Selection {
	return source.Selection{Accounts: s.opts.Accounts, Regions: s.opts.Regions, Kinds: source.LogKinds()}
}

// visit takes what a listing gives.
func (s *Source) visit(ctx context.Context, urgent bool) func(obj source.Object, skip string) error {
	return func(obj source.Object, skip string) error {
		if skip == source.SkipTime {
			return nil // of another listing
		}
		j := job{obj: obj, id: identity(obj), shard: shardOf(obj), urgent: urgent}
		if skip != "" {
			j.id = identity(obj, "skip", skip, s.filter) // with another filter it is looked at again
		} else {
			s.place(obj)
		}
		known, err := s.seen.has(j.shard, j.id)
		if err != nil || known {
			return err
		}
		if skip != "" {
			s.Skip(obj, skip, func() { s.seen.add(j.shard, j.id) })
			return nil
		}
		return s.enqueue(ctx, j)
	}
}

// enqueue hands an object to the workers, unless they have it or it failed and has to wait.
func (s *Source) enqueue(ctx context.Context, j job) error {
	s.mu.Lock()
	if r := s.again[j.id]; s.pending[j.id] || r != nil && s.Now().Before(r.next) {
		s.mu.Unlock()
		return nil
	}
	s.pending[j.id] = true
	s.mu.Unlock()
	s.Note(func(st *live.Stats) { st.Backlog = max(st.Backlog, 0) + 1 })
	to := s.rest
	if j.urgent {
		to = s.urgent
	}
	select {
	case to <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// place learns where logs lie.
func (s *Source) place(obj source.Object) {
	region := ""
	if dir := path.Dir(s.key(obj)); source.ParseFolder(dir).Level == source.LevelDay {
		region = path.Dir(path.Dir(path.Dir(dir))) + "/"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if region == "" || len(s.folders) >= maxFolders {
		s.loose = s.loose || !s.folders[region]
		return
	}
	s.folders[region] = true
}

func (s *Source) key(obj source.Object) string {
	return strings.TrimPrefix(obj.Name, "s3://"+s.opts.Bucket+"/")
}

// identity tells an object and its content from others.
func identity(obj source.Object, more ...string) id {
	h := sha256.New()
	version := obj.ETag
	if version == "" {
		version = obj.Modified.UTC().Format(time.RFC3339Nano)
	}
	for _, part := range append([]string{obj.Name, version, fmt.Sprint(obj.Size)}, more...) {
		fmt.Fprintf(h, "%d:%s", len(part), part)
	}
	return id(h.Sum(nil)[:len(id{})])
}

// shardOf is the name of the file that an object's id lies in.
func shardOf(obj source.Object) string {
	if d := obj.Place.Delivered; !d.IsZero() {
		return d.UTC().Format(time.DateOnly)
	}
	sum := sha256.Sum256([]byte(path.Dir(obj.Name)))
	return fmt.Sprintf("other-%02x", sum[0])
}

// work reads objects, the urgent ones first.
func (s *Source) work(ctx context.Context) {
	for {
		var j job
		select {
		case j = <-s.urgent:
		default:
			select {
			case j = <-s.urgent:
			case j = <-s.rest:
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
		s.Note(func(st *live.Stats) { st.Backlog--; st.InFlight++ })
		s.object(ctx, j)
		s.Note(func(st *live.Stats) { st.InFlight-- })
	}
}

// object reads one object, to the end or to the next time.
func (s *Source) object(ctx context.Context, j job) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.pending, j.id)
	}()
	if known, err := s.seen.has(j.shard, j.id); err == nil && known {
		return // another listing was quicker
	}
	r, err := s.From(ctx, s.bucket, j.obj)
	if err == nil || r.Else(err) {
		s.settle(j, r, err)
		return
	}
	if ctx.Err() != nil {
		return
	}
	s.Failed(fmt.Errorf("read %s: %w", j.obj.Name, err))
	passing := live.Passing(err)
	s.mu.Lock()
	again := s.again[j.id]
	if again == nil && len(s.again) < maxAgain { // beyond, the next sweep finds it
		again = &retry{job: j}
		s.again[j.id] = again
	}
	tries := 1
	if again != nil {
		if !passing {
			again.tries++
		}
		again.next = s.Now().Add(live.Backoff(s.opts.Interval, maxRetry, again.tries))
		tries = again.tries
	}
	s.mu.Unlock()
	if passing || tries < s.opts.MaxTries {
		s.Note(func(st *live.Stats) { st.Retries++ })
		return
	}
	if err := s.Bury(live.Letter{Object: j.obj.Name, Reason: err.Error(), Attempts: tries}); err != nil {
		s.Failed(err)
		return
	}
	s.settle(j, r, err)
}

func (s *Source) settle(j job, r *live.Reading, err error) {
	s.Settle(r, err, func() { s.seen.add(j.shard, j.id) })
	s.mu.Lock()
	delete(s.again, j.id)
	s.mu.Unlock()
	if j.urgent && !j.obj.Modified.IsZero() {
		s.Note(func(st *live.Stats) { st.Lag = max(s.Now().Sub(j.obj.Modified), 0) })
	}
}

// retry hands objects that failed to the workers again when it is time.
func (s *Source) retry(ctx context.Context) {
	now := s.Now()
	s.mu.Lock()
	var due []job
	for _, r := range s.again {
		if !now.Before(r.next) {
			due = append(due, r.job)
		}
	}
	s.mu.Unlock()
	for _, j := range due {
		if s.enqueue(ctx, j) != nil {
			return
		}
	}
}

// Replay implements [live.Source].
func (s *Source) Replay(ctx context.Context, letter string) error {
	l, err := s.Letter(letter)
	if err != nil {
		return err
	}
	obj := source.Object{Name: l.Object, Size: -1}
	obj.Place = source.ParseKey(s.key(obj))
	r, err := s.From(ctx, s.bucket, obj)
	if err != nil {
		return fmt.Errorf("replay %s: %w", letter, err)
	}
	r.Note(live.Replayed)
	s.Settle(r, nil, nil)
	return s.Discard(letter)
}

var _ live.Source = (*Source)(nil)
