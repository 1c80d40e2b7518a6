// Package trail keeps trails: which events go where. Package delivery under it delivers them, package digest signs for them.
//
// What a trail was told applies to the journal from a sequence on ([Epoch]), so that a follower that is behind, or repeats
// after a crash, decides as it would have decided at once.
package trail

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"spoor/internal/selector"
)

// Settings are what of a trail decides over deliveries.
type Settings struct {
	Logging             bool
	Bucket, Prefix      string
	Topic               string // ARN, empty for none
	KMSKey              string // ARN, empty for none
	Validation          bool   // digests are written
	MultiRegion         bool
	GlobalServiceEvents bool
	Organization        bool                // a trail of the organisation: events of all its accounts
	Basic               []selector.Basic    `json:",omitempty"` // or Advanced; without either, the default: management events
	Advanced            []selector.Advanced `json:",omitempty"`
}

// Epoch is the settings of entries of the journal with sequences greater than After, up to the next epoch.
type Epoch struct {
	After    uint64
	At       time.Time
	Settings Settings
}

// Trail is a trail as deliveries see it.
type Trail struct {
	ARN, Name           string
	Account, HomeRegion string
	OrganizationID      string   // of a trail of an organisation
	Accounts            []string // whose events it takes: its own, or those of the organisation
	Epochs              []Epoch  // in rising order; never empty
	Deleted             bool     // ended with the last epoch, and kept until that is delivered
}

// Options of Open.
type Options struct {
	Account, Region, Partition string
	Now                        func() time.Time // default [time.Now]
	Log                        *slog.Logger     // default discards
}

// Book keeps trails. Its methods may be called concurrently.
type Book struct{}

// Open opens the book in a folder.
func Open(ctx context.Context, dir string, o Options) (*Book, error) {
	return nil, errors.New("not built yet")
}

// Close ends the book.
func (b *Book) Close() error { return nil }

// Deliverable gives the trails that deliveries are for, and a channel that is closed when they have changed.
func (b *Book) Deliverable() ([]Trail, <-chan struct{}) { return nil, nil }

// Delivered tells that everything up to a sequence is settled: epochs before it, and trails that were deleted, are forgotten.
func (b *Book) Delivered(seq uint64) error { return errors.New("not built yet") }

// Status is how the deliveries of a trail from a Region are doing. Zero times are never.
type Status struct {
	LatestDelivery, LatestDeliveryAttempt, LatestDeliveryAttemptSucceeded             time.Time
	LatestDeliveryError                                                               string // code of S3, such as NoSuchBucket; empty when the last one was good
	LatestNotification, LatestNotificationAttempt, LatestNotificationAttemptSucceeded time.Time
	LatestNotificationError                                                           string
	LatestDigestDelivery                                                              time.Time
	LatestDigestDeliveryError                                                         string
}
