// Package lake keeps event data stores and channels: what of the one table of events an event data store shows, and which
// outside events may come in, and to where.
//
// A store copies nothing. It is a condition over the table of events, made of its selectors, its account, its Regions, the
// times at which its ingestion was on, and its retention. [Lake.DataStores] gives the conditions to those who ask questions.
// Outside events come by [Lake.Put], through a channel, and are records of the table as all others.
//
// The state is one file, replaced as a whole and synced before a change is told; docs/formats/lake.md describes it.
package lake

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"spoor/internal/journal"
)

// Status is where an event data store is in its life, in AWS's words.
type Status string

// The statuses. Created is told by the answer of Create alone.
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
type Tag struct{ Key, Value string }

// Errors of the lake. Those that say more are of the types below and wrap one of these.
var (
	// ErrInactive is what a store that cannot be queried or changed is, because its deletion is pending.
	ErrInactive = errors.New("the event data store is not active")
	ErrNotFound = errors.New("not found")
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
	Accounts   []string         // of the organisation
	Partition  string           // default aws
	Journal    Journal          // for Put; nil refuses
	Wait       time.Duration    // how long a lock is waited for that another process has
	Now        func() time.Time // default [time.Now]
	Log        *slog.Logger     // default discards
}

// Lake holds the state. Its methods may be called concurrently.
type Lake struct{}

// DataStore is a store as a table of the Lake dialect; to become the type of package duckdb.
type DataStore struct {
	ID    string
	Audit bool
	Where string
}

// Open opens the state in a folder, which is made when it is missing and locked until [Lake.Close].
func Open(ctx context.Context, dir string, o Options) (*Lake, error) {
	return nil, errors.New("not built yet")
}

// Close gives the folder back.
func (l *Lake) Close() error { return nil }

// DataStores gives stores by their ids, for an account in a Region. Errors: [NotFoundError], and [ErrInactive].
func (l *Lake) DataStores(ctx context.Context, account, region string, ids []string) ([]DataStore, error) {
	return nil, errors.New("not built yet")
}
