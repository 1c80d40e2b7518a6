package validate

import (
	"time"
)

// Level is how bad a verdict is.
type Level string

// The levels.
const (
	OK        Level = "valid"
	Notice    Level = "notice"    // worth knowing, nothing is wrong
	Unchecked Level = "unchecked" // could not be decided
	Invalid   Level = "invalid"
)

// Code names a verdict. The codes stay as they are: programs compare them.
type Code string

// The codes. [Codes] says what they mean.
const (
	LogValid      Code = "log-valid"
	LogModified   Code = "log-modified"
	LogMissing    Code = "log-missing"
	LogUnreadable Code = "log-unreadable"
	LogAlgorithm  Code = "log-algorithm"
	LogUnlisted   Code = "log-unlisted"
	LogUnvouched  Code = "log-unvouched"
	LogFailed     Code = "log-not-read"

	DigestValid        Code = "digest-valid"
	DigestModified     Code = "digest-modified"
	DigestMissing      Code = "digest-missing"
	DigestUnsigned     Code = "digest-unsigned"
	DigestForged       Code = "digest-forged"
	DigestFormat       Code = "digest-format"
	DigestMoved        Code = "digest-moved"
	DigestKeyUnknown   Code = "digest-key-unknown"
	DigestKeyBad       Code = "digest-key-unreadable"
	DigestKeyTime      Code = "digest-key-time"
	DigestAlgorithm    Code = "digest-algorithm"
	DigestUnverifiable Code = "digest-unverifiable"
	DigestFailed       Code = "digest-not-read"

	ChainHash      Code = "chain-hash"
	ChainSignature Code = "chain-signature"
	ChainTimes     Code = "chain-times"
	ChainOrder     Code = "chain-order"
	ChainStart     Code = "chain-start"
	ChainRestart   Code = "chain-restart"
	ChainMoved     Code = "chain-moved"
	ChainElsewhere Code = "chain-elsewhere"

	GapStart Code = "gap-start"
	GapEnd   Code = "gap-end"
	EndOpen  Code = "end-open"

	NoDigests     Code = "no-digests"
	NoKeys        Code = "no-keys"
	ListFailed    Code = "list-failed"
	LogsUncovered Code = "logs-uncovered"

	LedgerUnread Code = "ledger-unread"
	LedgerFailed Code = "ledger-failed"
)

// Meaning is what a code stands for.
type Meaning struct {
	Code  Code
	Level Level
	Text  string // a sentence without its end
}

// Codes lists the codes in the order in which they are explained.
func Codes() []Meaning {
	return []Meaning{
		{LogValid, OK, "the log file is as it was delivered"},
		{LogModified, Invalid, "the log file has another hash than its digest lists, or is encrypted and does not open"},
		{LogMissing, Invalid, "a digest lists the log file, and it is not there"},
		{LogUnreadable, Invalid, "the log file is not one whole gzip member, or something follows it"},
		{LogAlgorithm, Invalid, "the digest names another hash algorithm than SHA-256"},
		{LogUnlisted, Invalid, "the log file lies in hours that digests cover, and no digest lists it"},
		{LogUnvouched, Unchecked, "the log file has the hash that is listed, in a digest that nothing vouches for"},
		{LogFailed, Unchecked, "the log file could not be read"},
		{DigestValid, OK, "the digest is as it was signed"},
		{DigestModified, Invalid, "the digest is not what was signed, or is encrypted and does not open"},
		{DigestMissing, Invalid, "the digest is missing from the chain"},
		{DigestUnsigned, Invalid, "the digest lost its signature"},
		{DigestForged, Invalid, "somebody else signed the digest"},
		{DigestFormat, Invalid, "the digest is not in the form of one"},
		{DigestMoved, Invalid, "the digest lies elsewhere than it was delivered"},
		{DigestKeyUnknown, Invalid, "the digest is signed with a key that is not among the public keys"},
		{DigestKeyBad, Invalid, "the public key cannot be read"},
		{DigestKeyTime, Invalid, "the digest is signed with a key outside of its validity"},
		{DigestAlgorithm, Invalid, "the digest names another algorithm than it should"},
		{DigestUnverifiable, Unchecked, "no signature or no key is at hand to verify the digest with"},
		{DigestFailed, Unchecked, "the digest could not be read"},
		{ChainHash, Invalid, "the digest links to other content than the digest before it has"},
		{ChainSignature, Invalid, "the digest links to another signature than the digest before it has"},
		{ChainTimes, Invalid, "the digest does not start where the one before it ends"},
		{ChainOrder, Invalid, "the digest links past the digest before it"},
		{ChainStart, Notice, "the chain starts here"},
		{ChainRestart, Notice, "the chain starts anew: in between, logging or validation was off"},
		{ChainMoved, Notice, "the chain comes from another bucket or prefix"},
		{ChainElsewhere, Unchecked, "the chain comes from another bucket or prefix, which could not be looked at"},
		{GapStart, Invalid, "a digest is missing before the first one that was found"},
		{GapEnd, Invalid, "a digest is missing after the last one that was found"},
		{EndOpen, Notice, "the digests end here; whether newer ones were deleted cannot be told"},
		{NoDigests, Unchecked, "no digest was found"},
		{NoKeys, Unchecked, "no public key is at hand"},
		{ListFailed, Unchecked, "objects could not be listed"},
		{LogsUncovered, Notice, "log files lie in hours that no digest covers"},
		{LedgerUnread, Invalid, "log files that digests list were never read"},
		{LedgerFailed, Invalid, "a log file that a digest lists could not be read"},
	}
}

// Finding is one verdict.
type Finding struct {
	Code     Code      `json:"code"`
	Level    Level     `json:"level"`
	Bucket   string    `json:"bucket,omitempty"`
	Key      string    `json:"key,omitempty"` // of the object; of a missing digest the expected one
	Reason   string    `json:"reason,omitempty"`
	Account  string    `json:"account,omitempty"`
	Region   string    `json:"region,omitempty"`
	Trail    string    `json:"trail,omitempty"`
	Backfill bool      `json:"backfill,omitempty"`
	Start    time.Time `json:"start,omitzero"` // of a digest's hour, or of a gap
	End      time.Time `json:"end,omitzero"`
	Hash     string    `json:"sha256,omitempty"` // of the content, as it is
	Listed   string    `json:"listedSha256,omitempty"`
	Size     int64     `json:"size,omitempty"`   // of the content
	Stored   int64     `json:"stored,omitempty"` // bytes of the object
	StoredBy string    `json:"storedSha256,omitempty"`
	Files    int       `json:"files,omitempty"` // that a digest lists
	ByLink   bool      `json:"byLink,omitempty"`
}

// Counts are sums of verdicts on objects of a kind.
type Counts struct {
	Valid     int64 `json:"valid"`
	Invalid   int64 `json:"invalid"`
	Unchecked int64 `json:"unchecked"`
}

// Total is the sum.
func (c Counts) Total() int64 { return c.Valid + c.Invalid + c.Unchecked }

func (c *Counts) add(l Level) {
	switch l {
	case OK:
		c.Valid++
	case Invalid:
		c.Invalid++
	case Unchecked:
		c.Unchecked++
	}
}

// Chain is what was found of the digests of a trail for an account and a Region.
type Chain struct {
	Bucket       string    `json:"bucket"`
	Prefix       string    `json:"prefix,omitempty"`
	Organization string    `json:"organization,omitempty"`
	Account      string    `json:"account"`
	Region       string    `json:"region"`
	Trail        string    `json:"trail"`
	HomeRegion   string    `json:"homeRegion"`
	Backfill     bool      `json:"backfill,omitempty"`
	Start        time.Time `json:"start,omitzero"` // of the first digest that is valid
	End          time.Time `json:"end,omitzero"`   // of the last one
	Digests      Counts    `json:"digests"`        // missing ones are invalid
	Logs         Counts    `json:"logs"`
}

// Summary is what came of a validation.
type Summary struct {
	Digests  Counts         `json:"digests"`
	Backfill Counts         `json:"backfillDigests"`
	Logs     Counts         `json:"logs"`
	Notices  int64          `json:"notices"`
	Codes    map[Code]int64 `json:"codes"`
	Start    time.Time      `json:"start,omitzero"` // what valid digests cover
	End      time.Time      `json:"end,omitzero"`
	Stored   int64          `json:"storedBytes"` // of log files
	Expanded int64          `json:"bytes"`
	Chains   []Chain        `json:"chains"`
	// Problem and Gaps: something is invalid; something could not be checked.
	Problem bool `json:"invalid"`
	Gaps    bool `json:"incomplete"`
}

func (s *Summary) add(f *Finding) {
	s.Codes[f.Code]++
	switch f.Level {
	case Invalid:
		s.Problem = true
	case Unchecked:
		s.Gaps = true
	case Notice:
		s.Notices++
	}
	switch f.Code.subject() {
	case "digest":
		if f.Backfill {
			s.Backfill.add(f.Level)
		} else {
			s.Digests.add(f.Level)
		}
	case "log":
		s.Logs.add(f.Level)
		s.Stored += f.Stored
		s.Expanded += f.Size
	}
	if f.Code == DigestValid {
		if s.Start.IsZero() || f.Start.Before(s.Start) {
			s.Start = f.Start
		}
		if f.End.After(s.End) {
			s.End = f.End
		}
	}
}

// subject is what a code is about: digest and log are counted.
func (c Code) subject() string {
	switch c {
	case LogValid, LogModified, LogMissing, LogUnreadable, LogAlgorithm, LogUnlisted, LogUnvouched, LogFailed:
		return "log"
	case DigestValid, DigestModified, DigestMissing, DigestUnsigned, DigestForged, DigestFormat, DigestMoved, DigestKeyUnknown, DigestKeyBad,
		DigestKeyTime, DigestAlgorithm, DigestUnverifiable, DigestFailed, GapStart, GapEnd:
		return "digest"
	}
	return ""
}
