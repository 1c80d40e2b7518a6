// Package lake keeps event data stores and channels: what of the one table of events an event data store shows, and which
// outside events may come in, and to where.
//
// A store copies nothing. It is a condition over the table of events, made of its selectors, its account, its Regions, the
// times at which its ingestion was on, and its retention. [Lake.DataStores] gives the conditions to those who ask questions.
// Outside events come by [Lake.Put], through a channel, and are records of the table as all others.
//
// One store is always there for every account: [BuiltIn]. In the account of the installation it has all events of all accounts,
// in others those of the account.
//
// The state is one file, replaced as a whole and synced before a change is told; docs/formats/lake.md describes it. Every
// change comes with a way back ([Undo]), for callers who find out afterwards that it must not have been.
package lake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"spoor/internal/durable"
	"spoor/internal/journal"
	"spoor/internal/selector"
)

// Quotas and bounds, those of CloudTrail where it has them.
const (
	MaxStores   = 10 // of an account in a Region, in every status
	MaxChannels = 25 // of an account in a Region
	MaxTags     = 50 // of a store or channel
	MaxPage     = 1000
	// PendingFor is how long a deleted store can be restored.
	PendingFor = 7 * 24 * time.Hour
	// BuiltIn is the name of the store that is always there.
	BuiltIn = "spoor"

	maxSpans = 1000 // times at which the ingestion of a store was on
	maxUndo  = 256  // changes that can be taken back
)

// Status is where an event data store is in its life, in AWS's words.
type Status string

// The statuses. Created is told by the answer of CreateStore alone.
const (
	Created          Status = "CREATED"
	Enabled          Status = "ENABLED"
	PendingDeletion  Status = "PENDING_DELETION"
	StoppedIngestion Status = "STOPPED_INGESTION"
)

// BillingMode decides how long events may be kept.
type BillingMode string

// The billing modes.
const (
	Extendable BillingMode = "EXTENDABLE_RETENTION_PRICING"
	Fixed      BillingMode = "FIXED_RETENTION_PRICING"
)

// Tag is a tag of a store or a channel.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// Error is a refusal. Code is the name of CloudTrail's exception for it.
type Error struct{ Code, Message string }

// Error implements error.
func (e *Error) Error() string { return e.Message }

// refuse makes a refusal.
func refuse(code, format string, a ...any) error { return &Error{code, fmt.Sprintf(format, a...)} }

var (
	// ErrInactive is what a store that cannot be queried is, because its deletion is pending.
	ErrInactive = errors.New("the event data store is not active")
	// ErrNotFound is what a [NotFoundError] is.
	ErrNotFound = errors.New("not found")
	// ErrLocked says that another process has the folder.
	ErrLocked = errors.New("another process has the lake")
	// ErrDamaged says that a state file is not what was written, ErrNewer that a newer version wrote it.
	ErrDamaged = errors.New("the state of the lake is damaged")
	ErrNewer   = errors.New("the state of the lake was written by a newer version")
	// ErrClosed is returned for changes after Close.
	ErrClosed = errors.New("the lake is closed")
)

// NotFoundError names a store that is not there for an account in a Region.
type NotFoundError struct{ ID string }

// Error implements error.
func (e *NotFoundError) Error() string { return "event data store " + e.ID + ": not found" }

// Is tells that it is [ErrNotFound].
func (e *NotFoundError) Is(target error) bool { return target == ErrNotFound }

// Journal is where outside events go. [journal.Journal] is one. What it accepted is durable.
type Journal interface {
	Append(ctx context.Context, records []journal.Record) (uint64, error)
}

// Options of [Open].
type Options struct {
	Account    string           // of the installation, 12 digits; its built-in store has the events of all accounts
	Management string           // account that manages the organisation, empty for none
	Accounts   []string         // of the organisation, with Management
	Partition  string           // default aws
	Journal    Journal          // for Put, which fails without
	Wait       time.Duration    // how long a lock is waited for that another process has
	Now        func() time.Time // default [time.Now]
	Log        *slog.Logger     // default discards
}

// Lake holds the state. Its methods may be called concurrently.
type Lake struct {
	dir  string
	o    Options
	snap atomic.Pointer[file] // replaced under mu, never changed

	mu    sync.Mutex    // guards what follows, and the state file
	lock  *durable.Lock // nil when closed
	dirty bool          // the file lacks a change that was taken back
	done  []change      // the last changes, oldest first
	next  uint64        // number of the next change

	ingestion sync.Map // of channels by id, *ingested
}

// change is a change of the state, which can be made again on another one.
type change struct {
	number uint64
	before *file
	make   func(f *file) error
}

// Undo takes a change back, as if it had never been: changes after it are made again without it. It holds in memory at once
// also when it cannot be written; then the error says so, and it is written with the next change or by [Lake.Close].
type Undo func() error

// Open opens the state in a folder, which is made when it is missing and locked until [Lake.Close].
func Open(ctx context.Context, dir string, o Options) (_ *Lake, err error) {
	if !accountForm.MatchString(o.Account) {
		return nil, fmt.Errorf("open the lake: %.40q is no account", o.Account)
	}
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Lake{dir: dir, o: o}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the lake: %w", err)
	}
	l.lock, err = durable.Acquire(ctx, filepath.Join(dir, lockName), 0o600, o.Wait)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("open the lake in %s: %w: %w", dir, ErrLocked, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the lake: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.lock.Release())
		}
	}()
	if err := durable.RemoveParts(dir); err != nil {
		return nil, fmt.Errorf("open the lake: %w", err)
	}
	f, err := readState(filepath.Join(dir, stateName))
	if err != nil {
		return nil, err
	}
	if f == nil {
		f = newState(l.now())
		if err := l.write(f); err != nil {
			return nil, err
		}
	}
	for i := range f.Channels {
		c := &f.Channels[i]
		l.status(c.ID).set(c.Ingestion)
	}
	l.snap.Store(f)
	return l, nil
}

// Close writes what is not written yet and gives the folder back.
func (l *Lake) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil {
		return nil
	}
	var err error
	f := l.snap.Load()
	moved := slices.ContainsFunc(f.Channels, func(c Channel) bool { return l.status(c.ID).get() != c.Ingestion })
	if l.dirty || moved {
		err = l.write(f)
	}
	lock := l.lock
	l.lock = nil
	return errors.Join(err, lock.Release())
}

// now is the time of changes, in whole seconds as events have it.
func (l *Lake) now() time.Time { return l.o.Now().UTC().Truncate(time.Second) }

// write makes a state durable.
func (l *Lake) write(f *file) error {
	out := *f
	out.Format, out.Version, out.Written = stateFormat, stateVersion, l.now()
	out.Channels = slices.Clone(out.Channels)
	for i := range out.Channels {
		out.Channels[i].Ingestion = l.status(out.Channels[i].ID).get()
	}
	b, err := out.encode()
	if err == nil {
		err = durable.WriteFile(filepath.Join(l.dir, stateName), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the state of the lake: %w", err)
	}
	return nil
}

// change applies fn to a copy of the state and makes it durable before anybody sees it. fn may be called again, on other
// states, and must do the same then.
func (l *Lake) change(fn func(f *file, now time.Time) error) (Undo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lock == nil {
		return nil, ErrClosed
	}
	now, before := l.now(), l.snap.Load()
	change := change{number: l.next, before: before, make: func(f *file) error {
		f.purge(now)
		return fn(f, now)
	}}
	f := before.clone()
	if err := change.make(f); err != nil {
		return nil, err
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("change the lake: %w", err)
	}
	if err := l.write(f); err != nil {
		return nil, err
	}
	l.next++
	l.dirty = false
	l.snap.Store(f)
	if l.done = append(l.done, change); len(l.done) > maxUndo {
		l.done = slices.Delete(l.done, 0, 1)
	}
	return func() error { return l.undo(change.number) }, nil
}

// undo takes a change back.
func (l *Lake) undo(number uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.IndexFunc(l.done, func(c change) bool { return c.number == number })
	if at < 0 {
		err := errors.New("take back a change of the lake: it was taken back already, or is too long ago")
		l.o.Log.Error(err.Error())
		return err
	}
	f := l.done[at].before
	l.done = slices.Delete(l.done, at, at+1)
	for i := at; i < len(l.done); {
		after := f.clone()
		if err := l.done[i].make(after); err != nil { // it stood on what never was
			l.o.Log.Error("a change of the lake went with another one that was taken back", slog.Any("error", err))
			l.done = slices.Delete(l.done, i, i+1)
			continue
		}
		l.done[i].before = f
		f, i = after, i+1
	}
	l.snap.Store(f)
	l.dirty = true
	if l.lock == nil {
		l.o.Log.Error("a change of the lake was taken back, but not on disk: it is closed")
		return ErrClosed
	}
	if err := l.write(f); err != nil {
		l.o.Log.Error("a change of the lake was taken back, but not on disk yet", slog.Any("error", err))
		return err
	}
	l.dirty = false
	return nil
}

// state is the state as it is now: without what has gone.
func (l *Lake) state() *file {
	f := l.snap.Load()
	now := l.now()
	if slices.ContainsFunc(f.Stores, func(s EventDataStore) bool { return s.gone(now) }) {
		f = f.clone()
		f.purge(now)
	}
	return f
}

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	nameForm    = regexp.MustCompile(`^[a-zA-Z0-9._-]{3,128}$`)
	uuidForm    = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	arnForm     = regexp.MustCompile(`^arn:(aws[a-z-]*):cloudtrail:([a-z0-9-]+):([0-9]{12}):([a-z]+)/(.+)$`)
)

// Where is the account and Region that a call is for.
type Where struct{ Account, Region string }

// arn is an ARN taken apart.
type arn struct{ partition, region, account, kind, id string }

func parseARN(text string) (a arn, ok bool) {
	m := arnForm.FindStringSubmatch(text)
	if m == nil {
		return a, false
	}
	return arn{m[1], m[2], m[3], m[4], m[5]}, true
}

// IsARN reports whether a text has the form of an ARN of CloudTrail.
func IsARN(text string) bool {
	_, ok := parseARN(text)
	return ok
}

// The kinds of resources in ARNs.
const (
	storeKind   = "eventdatastore"
	channelKind = "channel"
)

// ref gives the id of a resource by its ARN or its id; ok is false for a text that is neither, and here for an ARN of
// somewhere else.
func (l *Lake) ref(w Where, kind, text string) (id string, here, ok bool) {
	if !strings.Contains(text, ":") {
		id = strings.ToLower(text)
		return id, true, uuidForm.MatchString(id)
	}
	a, ok := parseARN(text)
	id = strings.ToLower(a.id)
	if !ok || a.kind != kind || !uuidForm.MatchString(id) {
		return "", false, false
	}
	return id, a.partition == l.o.Partition && a.account == w.Account && a.region == w.Region, true
}

func (l *Lake) arn(w Where, kind, id string) string {
	return "arn:" + l.o.Partition + ":cloudtrail:" + w.Region + ":" + w.Account + ":" + kind + "/" + id
}

// BuiltInID is the id of the built-in store of an account.
func BuiltInID(account string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("spoor:lake:event-data-store:"+account)).String()
}

// builtIn is the built-in store of an account, seen from a Region.
func (l *Lake) builtIn(w Where) EventDataStore {
	made := l.snap.Load().Made
	return EventDataStore{
		ID: BuiltInID(w.Account), Account: w.Account, Region: w.Region, Name: BuiltIn, MultiRegion: true, Organization: w.Account == l.o.Account && l.o.Management == w.Account,
		Retention: maxExtendable, Billing: Extendable, Protected: true, Status: Enabled, Created: made, Updated: made,
	}
}

// audit reports whether selectors are those of a store for outside events.
func audit(s []selector.Advanced) bool {
	return slices.Equal(selector.Categories(s), []string{selector.ActivityAuditLog})
}
