// Package source says what an input is: an [Object] with the [Place] that its key tells, a [Selection] that prunes by it,
// and a [Source] that lists and opens. source/files reads files, folders and standard input, source/s3 buckets,
// source/archive the members of archives found in either; source/open picks the one that an argument names.
//
// Nothing is left out silently: what is not read is visited with a reason, and what cannot be listed or opened is an object
// whose Open gives the error.
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
	ETag     string // as the bucket lists it, or ""
	Place    Place
	// Records is how many records it holds, where the source knows that before it is read, else 0.
	Records int64

	// Archive is the name of the archive that this is a member of, or "". Bytes of a member are bytes of its archive too.
	Archive string
	// Skip is set on members of archives that are not to be read, and on what [Namer.ListNames] listed and Open found not to be
	// worth reading: it is the reason, and their reader is empty.
	Skip string
	// Err is why the object could not be listed, such as a folder without permission. Open returns it.
	Err error
	// Within is the selection of the listing. Open applies it to the members of an archive.
	Within *Selection
}

// Kind is what an object holds, as far as its key tells.
type Kind string

// The kinds of objects in a trail's bucket (CloudTrail user guide, "Finding your CloudTrail log files"). Unknown is any name
// outside of that layout. Other values are the folders of other services that deliver below AWSLogs: Config, vpcflowlogs, …
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
	Delivered time.Time // minute of delivery, UTC; the day alone (midnight) where the file name does not tell
}

// Source lists and opens objects. Implementations are safe for concurrent use.
type Source interface {
	// List calls visit for every object in no promised order, never concurrently; skip is "" for an object to read, or else
	// the reason why it is left out. Objects below a folder that the selection leaves out are not listed one by one where the
	// store can avoid it: then visit is not called for them. It stops at the first error of visit and returns it.
	List(ctx context.Context, sel Selection, visit func(obj Object, skip string) error) error
	// Open calls read once with the object's bytes as stored (still compressed), or once for each member of an archive, one
	// after the other, with an Object of its own. A member that cannot be read has a reader that gives the error. The reader
	// is valid during the call only. An error of read is returned as it is, and ends an archive.
	Open(ctx context.Context, obj Object, read func(obj Object, r io.Reader) error) error
	// Parallel is how many Opens are worth running at once: 0 for as many as there are processors.
	Parallel() int
}

// Namer is a Source that lists faster where names are enough.
type Namer interface {
	Source
	// ListNames is List, but objects to be read may have neither Size, which is -1 then, nor Modified: Open gives them with
	// their Size, and with a reason in Skip where List would have left them out.
	ListNames(ctx context.Context, sel Selection, visit func(obj Object, skip string) error) error
	// Look gives an object that was listed so with Size and Modified, as far as they can be had.
	Look(obj Object) Object
}
