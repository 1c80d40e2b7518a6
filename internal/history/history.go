// Package history is the event history of a store, as CloudTrail's LookupEvents gives it: management and Insight events
// by account, Region and attribute, newest first, a page at a time.
package history

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"spoor/internal/store"
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
	opts Options
}

// New prepares the event history of a store. Close it.
func New(opts Options) (*History, error) { return &History{opts: opts}, nil }

// Run makes indexes of files as they come, until the context ends. Without it lookups make what they need, and take longer.
func (h *History) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Close lets go of what is open. No lookup may be running.
func (h *History) Close() error { return nil }

// Lookup gives a page of events.
func (h *History) Lookup(context.Context, Query) (Page, error) {
	return Page{}, errors.New("not built yet")
}
