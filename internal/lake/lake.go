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
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"spoor/internal/journal"
	"spoor/internal/refusal"
	"spoor/internal/selector"
	"spoor/internal/statefile"
	"spoor/internal/tag"
)

// Quotas and bounds, those of CloudTrail where it has them.
const (
	MaxStores   = 10 // of an account in a Region, in every status
	MaxChannels = 25 // of an account in a Region
	MaxTags     = tag.Max
	MaxPage     = 1000
	// PendingFor is how long a deleted store can be restored.
	PendingFor = 7 * 24 * time.Hour
	// BuiltIn is the name of the store that is always there.
	BuiltIn = "spoor"

	maxSpans = 1000 // times at which the ingestion of a store was on
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
type Tag = tag.Tag

// Error is a refusal. Code is the name of CloudTrail's exception for it.
type Error = refusal.Error

// refuse makes a refusal.
func refuse(code, format string, a ...any) error { return refusal.Errorf(code, format, a...) }

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
	o    Options
	file *statefile.File[file]

	ingestion sync.Map // of channels by id, *ingested
}

// Undo takes a change back, as if it had never been.
type Undo = statefile.Undo

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
	l := &Lake{o: o}
	l.file, err = statefile.Open(ctx, dir, statefile.Options[file]{
		What: "the lake", Document: document(), Decode: decodeState, New: func() *file { return newState(l.now()) }, Clone: (*file).clone, Check: (*file).check,
		Encode: l.encode, Locked: ErrLocked, Closed: ErrClosed, Wait: o.Wait, Log: o.Log,
	})
	if err != nil {
		return nil, err
	}
	for _, c := range l.file.Get().Channels {
		l.status(c.ID).set(c.Ingestion)
	}
	return l, nil
}

// Close writes what is not written yet and gives the folder back.
func (l *Lake) Close() error {
	return l.file.Close(func(f *file) bool {
		return slices.ContainsFunc(f.Channels, func(c Channel) bool { return l.status(c.ID).get() != c.Ingestion })
	})
}

// now is the time of changes, in whole seconds as events have it.
func (l *Lake) now() time.Time { return l.o.Now().UTC().Truncate(time.Second) }

// encode is the content of the file for a state.
func (l *Lake) encode(f *file) ([]byte, error) {
	out := *f
	out.Format, out.Version, out.Written = stateFormat, stateVersion, l.now()
	out.Channels = slices.Clone(out.Channels)
	for i := range out.Channels {
		out.Channels[i].Ingestion = l.status(out.Channels[i].ID).get()
	}
	return out.encode()
}

// change applies fn to the state. fn may be called again, on other states, and must do the same then.
func (l *Lake) change(fn func(f *file, now time.Time) error) (Undo, error) {
	now := l.now()
	return l.file.Change(func(f *file) error {
		f.purge(now)
		return fn(f, now)
	})
}

// state is the state as it is now: without what has gone.
func (l *Lake) state() *file {
	f := l.file.Get()
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
	made := l.file.Get().Made
	return EventDataStore{
		ID: BuiltInID(w.Account), Account: w.Account, Region: w.Region, Name: BuiltIn, MultiRegion: true, Organization: w.Account == l.o.Account && l.o.Management == w.Account,
		Retention: maxExtendable, Billing: Extendable, Protected: true, Status: Enabled, Created: made, Updated: made,
	}
}

// audit reports whether selectors are those of a store for outside events.
func audit(s []selector.Advanced) bool {
	return slices.Equal(selector.Categories(s), []string{selector.ActivityAuditLog})
}
