// Package source lists and opens inputs: files, folders, archives, standard input, buckets.
package source

import (
	"context"
	"io"
	"time"
)

// Object is one input: a file, a member of an archive, standard input, an object of a bucket.
type Object struct {
	Name     string // for people and ledgers: a path, s3://bucket/key, archive.zip!member, - for standard input
	Size     int64  // as listed, -1 when not known
	Modified time.Time
	Place    Place
}

// Kind is what an object holds, as far as its key tells.
type Kind string

// The kinds of objects in a trail's bucket (spec: delivery, key layout). Unknown is any name outside of that layout.
const (
	Unknown         Kind = ""
	Logs            Kind = "CloudTrail"
	Insight         Kind = "CloudTrail-Insight"
	Digest          Kind = "CloudTrail-Digest"
	NetworkActivity Kind = "CloudTrail-NetworkActivity"
	Aggregated      Kind = "CloudTrail-Aggregated"
	Lake            Kind = "CloudTrail-Lake"
)

// Place is what the key of an object in an AWSLogs layout tells; zero for other names.
type Place struct {
	Kind      Kind
	Org       string    // organisation id, for organisation trails
	Account   string    // of the events
	Region    string    // of the events
	Delivered time.Time // minute of delivery, UTC; the day alone where the file name does not tell
}

// Selection prunes a listing before anything is read. Zero members do not prune. Objects whose key does not tell are
// never pruned.
type Selection struct {
	Since, Until time.Time // event time, until is exclusive; delivery may lag, so listing allows for it
	Accounts     []string
	Regions      []string
}

// Source lists and opens objects. Implementations are safe for concurrent use.
type Source interface {
	// List calls visit for every object in no promised order; skip is "" for an object to read, or else the reason why
	// the selection left it out. Objects below a pruned prefix are not listed one by one where the store can avoid it: then
	// visit is not called for them. It stops at the first error of visit and returns it.
	List(ctx context.Context, sel Selection, visit func(obj Object, skip string) error) error
	// Open calls read once with the object's bytes as stored (still compressed), or once for each member of an archive
	// with an Object of its own. The reader is valid during the call only. An error of read is returned as it is.
	Open(ctx context.Context, obj Object, read func(obj Object, r io.Reader) error) error
	// Parallel is how many Opens are worth running at once: 0 for as many as there are processors.
	Parallel() int
}
