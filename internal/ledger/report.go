package ledger

import "time"

// Report is a ledger at rest: what was listed, read, kept and failed. The identities that must hold:
//
//	Objects.Listed  = Objects.Read + Objects.Skipped + Objects.Failed
//	Records.Seen    = Records.Kept + Records.Duplicate + Records.Filtered + Records.Rejected + Records.Other
//
// and the same over the sum of the cells.
type Report struct {
	Objects  Objects       `json:"objects"`
	Records  Records       `json:"records"`
	Bytes    Bytes         `json:"bytes"`
	Skipped  []ReasonCount `json:"skippedReasons"` // why objects were skipped, most frequent first
	Failures []Failure     `json:"failures"`       // objects that could not be read whole, at most FailureCap, by name
	Rejects  []Reject      `json:"rejects"`        // records that could not be read, at most RejectCap, by object and offset
	Notes    []ReasonCount `json:"notes"`          // odd but read: invalid UTF-8 replaced, eventID reused with other content, …
	// Pruned counts the records that were not read, as the source knew without that they are not wanted, by reason. They are
	// not among Records.
	Pruned   []ReasonCount `json:"pruned,omitempty"`
	Cells    []Cell        `json:"cells"` // by account, Region, hour
	Balanced bool          `json:"balanced"`
	Problems []string      `json:"problems,omitempty"` // which identity does not hold
}

// Complete reports whether everything that was listed was read whole.
func (r *Report) Complete() bool {
	return r.Objects.Failed == 0 && r.Records.Rejected == 0
}

// Empty reports whether no record was met: neither read nor known well enough to be left out.
func (r *Report) Empty() bool { return r.Records.Seen == 0 && len(r.Pruned) == 0 }

// Objects counts files and bucket objects; members of archives count as objects of their own, the archive as read.
type Objects struct {
	Listed  int64 `json:"listed"`
	Read    int64 `json:"read"`
	Skipped int64 `json:"skipped"` // not wanted: outside of the time range, account or Region, not a log, a digest
	Failed  int64 `json:"failed"`  // could not be read, or not to its end
}

// Records counts records.
type Records struct {
	Seen      int64 `json:"seen"`
	Kept      int64 `json:"kept"`
	Duplicate int64 `json:"duplicate"` // same eventID as a record that was kept
	Filtered  int64 `json:"filtered"`  // outside of --since, --until, --account, --region
	Rejected  int64 `json:"rejected"`  // malformed
	Other     int64 `json:"other"`     // recognised and routed elsewhere: digests
}

// Bytes counts input.
type Bytes struct {
	Stored   int64 `json:"stored"`   // as listed, compressed
	Expanded int64 `json:"expanded"` // after decompression
}

// ReasonCount is a reason and how often it was met.
type ReasonCount struct {
	Reason string `json:"reason"`
	Count  int64  `json:"count"`
}

// Failure is an object that could not be read, or not to its end.
type Failure struct {
	Object string `json:"object"`
	Reason string `json:"reason"`
	Kept   int64  `json:"recordsKept"` // records read before it failed
}

// Reject is a record, or a stretch of a file, that could not be read.
type Reject struct {
	Object string `json:"object"`
	Offset int64  `json:"offset"` // in the decompressed object
	Length int64  `json:"length"`
	Reason string `json:"reason"`
}

// FailureCap and RejectCap bound the lists of a [Report]; the counts are always whole.
const (
	FailureCap = 1000
	RejectCap  = 1000
)

// Cell is one account, Region and hour. Objects are placed by their key (delivery hour), records by recipient account,
// awsRegion and eventTime; "" and the zero time stand for what is not known. Rejected records, which tell nothing, are placed
// like their object.
type Cell struct {
	Account string    `json:"account"`
	Region  string    `json:"region"`
	Hour    time.Time `json:"hour,omitzero"`
	Objects Objects   `json:"objects"`
	Records Records   `json:"records"`
}
