// Package trail keeps trails: which events go where. Package delivery under it delivers them, package digest signs for them.
//
// What a trail was told applies to the journal from a sequence on ([Epoch]), so that a follower that is behind, or repeats
// after a crash, decides as it would have decided at once.
//
// A [Book] is the state behind CloudTrail's API: trails with their tags, Insight selectors and aggregations, and, for event data
// stores and channels, what of the same API is not the lake's: Insight selectors, event configurations and resource policies. It
// knows the rules of names, limits, Regions and organisations; buckets, keys and topics are looked at by its callers. The state is
// one file, which docs/formats/trails.md describes.
package trail

import (
	"context"
	"log/slog"
	"time"

	"spoor/internal/selector"
)

// Settings are what of a trail decides over deliveries.
type Settings struct {
	Logging             bool                `json:"logging"`
	Bucket              string              `json:"bucket"`
	Prefix              string              `json:"prefix,omitempty"`
	Topic               string              `json:"topic,omitempty"`  // ARN, empty for none
	KMSKey              string              `json:"kmsKey,omitempty"` // ARN, empty for none
	Validation          bool                `json:"validation"`       // digests are written
	MultiRegion         bool                `json:"multiRegion"`
	GlobalServiceEvents bool                `json:"globalServiceEvents"`
	Organization        bool                `json:"organization"`       // a trail of the organisation: events of all its accounts
	Basic               []selector.Basic    `json:"basic,omitempty"`    // or Advanced; without either, the default: management events
	Advanced            []selector.Advanced `json:"advanced,omitempty"` // of categories Management, Data and NetworkActivity
}

// Epoch is the settings of entries of the journal with sequences greater than After, up to the next epoch. After is not before
// the record of the call that made it, so that the record of a call that stops a trail is still in the trail.
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
	Accounts            []string // whose events it takes: its own, or those of the organisation; sorted
	Epochs              []Epoch  // in rising order of After; never empty
	Deleted             bool     // ended with the last epoch, and kept until that is delivered
}

// Organization is the organisation that trails can be for. One without an ID is none.
type Organization struct {
	ID         string
	Management string   // account
	Accounts   []string // Management is among them
}

// Options of Open.
type Options struct {
	Account, Region, Partition string // Account and Region are those of the installation; Partition is aws by default
	Organization               Organization
	// Position is the last sequence of the journal. Without it, all epochs begin at its beginning.
	Position func(context.Context) (uint64, error)
	Wait     time.Duration    // how long a lock is waited for that another process has
	Now      func() time.Time // default [time.Now]
	Log      *slog.Logger     // default discards
}

// Status is how the deliveries of a trail from a Region are doing. Zero times are never.
type Status struct {
	LatestDelivery, LatestDeliveryAttempt, LatestDeliveryAttemptSucceeded             time.Time
	LatestDeliveryError                                                               string // code of S3, such as NoSuchBucket; empty when the last one was good
	LatestNotification, LatestNotificationAttempt, LatestNotificationAttemptSucceeded time.Time
	LatestNotificationError                                                           string
	LatestDigestDelivery                                                              time.Time
	LatestDigestDeliveryError                                                         string
}
