// Package history is the event history of a store, as CloudTrail's LookupEvents gives it: management and Insight events
// by account, Region and attribute, newest first, a page at a time.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"spoor/internal/durable"
	"spoor/internal/pagetoken"
	"spoor/internal/store"
	"spoor/internal/store/table"
)

// Key names an attribute of events.
type Key string

// The attributes that events are looked up by.
const (
	AccessKeyID  Key = "AccessKeyId"
	EventID      Key = "EventId"
	EventName    Key = "EventName"
	EventSource  Key = "EventSource"
	ReadOnly     Key = "ReadOnly" // "true" or "false"
	ResourceName Key = "ResourceName"
	ResourceType Key = "ResourceType"
	Username     Key = "Username"
)

// Attribute is what events must have, exactly.
type Attribute struct {
	Key   Key
	Value string // 1 to 2000 characters
}

// Query asks for a page of events.
type Query struct {
	// Account and Region are those whose events are asked for: recipientAccountId and awsRegion of the record.
	Account, Region string
	Attributes      []Attribute // one at most, but for Options.Extended
	// Start and End bound the event time, both included; zero times are no bounds. Without Options.Extended, nothing older
	// than [Reach] is given.
	Start, End time.Time
	Insight    bool   // Insight events in place of management events
	MaxResults int    // 1 to [MaxResults], 0 for as many
	Token      string // [Page.Next] of the page before, with everything else but MaxResults the same
}

// MaxResults is the most events of a page; Reach is how far back the history goes, Rate how many calls a second are
// answered for an account and Region.
const (
	MaxResults = 50
	Reach      = 90 * 24 * time.Hour
	Rate       = 2
)

// Page is a stretch of the events that were asked for, newest first.
type Page struct {
	Events  []Event
	Next    string         // token of the next page, "" when there are no more events
	Damaged []store.Damage // files that were left out; the answer may miss their events
}

// Event is an event with its attributes. Texts are as they came, "" for what the record does not have.
type Event struct {
	ID, Name, Source, Username, AccessKeyID string
	ReadOnly                                string // "true", "false" or ""
	Time                                    time.Time
	Resources                               []Resource
	Raw                                     json.RawMessage // the record, byte for byte
}

// Resource is something that a call was about. Type is such as AWS::S3::Bucket, "" when unknown.
type Resource struct{ Type, Name string }

// Errors that tell the caller apart what cannot be asked; [errors.Is].
var (
	ErrAttributes = errors.New("invalid lookup attributes")
	ErrMaxResults = errors.New("invalid number of results")
	ErrTimeRange  = errors.New("invalid time range")
	ErrToken      = errors.New("invalid token")
	ErrThrottled  = errors.New("rate exceeded")
)

// Planner tells what a store is at a moment, and keeps the files until the plan is released: a [store.Store].
type Planner interface {
	Plan(ctx context.Context, f store.Filter) (*store.Plan, error)
}

// Scope says whose events a caller gets.
type Scope string

// The scopes.
const (
	ScopeOwn Scope = "own" // of the account and Region that are asked for; also ""
	ScopeAll Scope = "all" // of all accounts and Regions
)

// Options of a [History].
type Options struct {
	Store Planner
	// Dir is the folder for indexes of the store's files and the key of tokens. It is made when missing; all but the key
	// can be made again.
	Dir string
	// Extended lets several attributes be asked for at once, any time range, and any number of calls.
	Extended bool
	// Scope is [ScopeOwn] or [ScopeAll]. With ScopeAll, the accounts for which All is true get all events, others their own
	// still. A nil All is true for all.
	Scope Scope
	All   func(account string) bool
	Now   func() time.Time // default [time.Now]
	Log   *slog.Logger     // nothing is logged when nil
}

// History answers lookups. It is safe for concurrent use.
type History struct {
	opts    Options
	indexes indexes
	key     pagetoken.Key
	limit   limiter
	readers sync.Pool // of *segment.Records
}

// New prepares the event history of a store. Close it.
func New(opts Options) (*History, error) {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Scope == "" {
		opts.Scope = ScopeOwn
	}
	if opts.Scope != ScopeOwn && opts.Scope != ScopeAll {
		return nil, fmt.Errorf("open the event history: scope %q: want %s or %s", opts.Scope, ScopeOwn, ScopeAll)
	}
	if err := durable.MkdirAll(opts.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the event history: %w", err)
	}
	if err := durable.RemoveParts(opts.Dir); err != nil {
		return nil, fmt.Errorf("open the event history: %w", err)
	}
	key, err := pagetoken.OpenKey(filepath.Join(opts.Dir, keyFile))
	if err != nil {
		return nil, fmt.Errorf("open the event history: %w", err)
	}
	h := &History{opts: opts, key: key}
	h.indexes = indexes{dir: opts.Dir, now: opts.Now, slots: make(chan struct{}, runtime.GOMAXPROCS(0)), files: map[string]*indexFile{}}
	return h, nil
}

// runEvery is how often [History.Run] looks for new files.
const runEvery = 2 * time.Second

// Run makes indexes of new files, removes those of files that are gone, and returns nil when the context ends. Without it lookups
// make what they need, and take longer. Hot files, which are gone within minutes, are left to lookups when there were none
// lately.
func (h *History) Run(ctx context.Context) error {
	tick := time.NewTicker(runEvery)
	defer tick.Stop()
	for {
		more, err := h.catchUp(ctx)
		if err != nil && ctx.Err() == nil {
			h.opts.Log.Error("indexes of the event history could not be made; lookups make them, and take longer", "error", err)
		}
		if more && err == nil && ctx.Err() == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// catchUp makes indexes that are missing, one after the other, newest first, for some seconds, and tells whether there are
// more to be made.
func (h *History) catchUp(ctx context.Context) (more bool, _ error) {
	plan, err := h.opts.Store.Plan(ctx, store.Filter{})
	if err != nil {
		return false, err
	}
	defer plan.Release()
	now := h.opts.Now()
	end := time.Now().Add(2 * runEvery) // files come meanwhile
	var errs []error
	for _, f := range slices.Backward(plan.Files) {
		if h.tooOld(f, now) || h.indexes.has(f) || f.Day.IsZero() && !h.limit.lately(now) {
			continue
		}
		if more = time.Now().After(end); more || ctx.Err() != nil {
			break
		}
		if _, err := h.indexes.ready(ctx, f); err != nil && !damaged(err) {
			errs = append(errs, err)
		}
	}
	return more, errors.Join(append(errs, h.indexes.sweep(plan))...)
}

// Prepare makes the indexes of data files that are about to be part of the store, so that lookups need not wait for them:
// see [store.Store.BeforeCommit]. What fails is made by Run or a lookup.
func (h *History) Prepare(ctx context.Context, files []table.File) {
	now := h.opts.Now()
	wanted := slices.DeleteFunc(slices.Clone(files), func(f table.File) bool { return h.tooOld(f, now) })
	_ = h.indexes.allReady(ctx, wanted) // whoever commits sees that the context has ended
}

// tooOld reports whether no lookup asks for the events of a file.
func (h *History) tooOld(f table.File, now time.Time) bool {
	return !h.opts.Extended && !f.MaxTime.IsZero() && now.Sub(f.MaxTime) > Reach
}

// Close ends the history. No lookup and no Run may be under way.
func (h *History) Close() error { return nil }

// Lookup gives a page of events.
func (h *History) Lookup(ctx context.Context, q Query) (_ Page, err error) {
	now := h.opts.Now()
	ask, err := h.ask(q, now)
	if err != nil {
		return Page{}, err
	}
	if !h.limit.allow(q.Account+" "+q.Region, now, !h.opts.Extended) {
		return Page{}, fmt.Errorf("%w: %d calls a second are answered for an account and Region", ErrThrottled, Rate)
	}
	filter := store.Filter{Until: until(ask)}
	if ask.since != math.MinInt64 {
		filter.Since = time.Unix(0, ask.since).Add(-time.Microsecond) // times of files are to the microsecond
	}
	plan, err := h.opts.Store.Plan(ctx, filter)
	if err != nil {
		return Page{}, fmt.Errorf("look events up: %w", err)
	}
	defer plan.Release()
	l := lookup{h: h, ask: ask, files: plan.Files, damaged: plan.Damaged}
	found, err := l.page(ctx, ask.limit+1)
	if err != nil {
		return Page{}, fmt.Errorf("look events up: %w", err)
	}
	page := Page{Events: []Event{}, Damaged: l.damaged}
	for i := range found[:min(len(found), ask.limit)] {
		page.Events = append(page.Events, found[i].Event)
	}
	if len(found) > ask.limit {
		page.Next = h.token(found[ask.limit-1].place, ask)
	}
	return page, nil
}

// until is the end of the files that are asked for.
func until(a *ask) time.Time {
	end := a.until
	if a.after != nil {
		end = min(end, a.after.time)
	}
	if end >= math.MaxInt64-1000 {
		return zeroTime
	}
	return time.Unix(0, end+1000) // times of files are to the microsecond
}
