package source

import (
	"slices"
	"time"
)

// Selection prunes a listing before anything is read. Zero members do not prune. Objects whose key does not tell are
// never pruned: records are to be filtered again when read, as a key says where and when a file was delivered, not what each
// record in it holds.
type Selection struct {
	Since, Until time.Time // event time, until is exclusive
	Accounts     []string
	Regions      []string
	// Kinds are the kinds of objects wanted, for none all of them. Unknown is always wanted.
	Kinds []Kind
	// Lag is how long after an event the object with it may be delivered: objects delivered later than Until and Lag are
	// left out. 0 is DefaultLag. CloudTrail delivers within minutes, but retries for up to 30 days while it cannot
	// reach a bucket.
	Lag time.Duration
}

// DefaultLag is the allowance for late delivery when a selection names none.
const DefaultLag = 24 * time.Hour

// early is how much earlier than its events an object may seem to be delivered: names tell the minute only.
const early = time.Minute

// logKinds is what LogKinds returns.
var logKinds = [...]Kind{Logs, Insight, NetworkActivity, Aggregated}

// LogKinds returns the kinds that hold records: everything but digests, results of Lake queries and other services' logs.
func LogKinds() []Kind { return slices.Clone(logKinds[:]) }

// Reasons for which objects are skipped.
const (
	SkipTime    = "outside of the time range"
	SkipAccount = "account not selected"
	SkipRegion  = "Region not selected"
	SkipDigest  = "digest file"
	SkipLake    = "result of a Lake query"
	SkipEmpty   = "empty"
	SkipSystem  = "written by an operating system's file manager"
	SkipSpecial = "not a regular file"
	SkipLoop    = "link to a folder that is listed already"
	SkipLink    = "link inside of an archive"
)

// Skip returns the reason why an object at p is left out, or "" if it is to be read.
func (s *Selection) Skip(p Place) string {
	if r := s.skip(p); r != "" || p.Delivered.IsZero() {
		return r
	}
	to := p.Delivered.Add(early)
	if p.Delivered.Equal(p.Delivered.Truncate(24 * time.Hour)) { // midnight, or a day without a time
		to = p.Delivered.Add(24 * time.Hour)
	}
	return s.skipTime(p.Delivered, to)
}

// SkipFolder is [Selection.Skip] for everything below a folder: the reason why no object in it is wanted, or "". Digests
// and results of Lake queries are never left out by the folder, so that they are counted.
func (s *Selection) SkipFolder(f Folder) string {
	if r := s.skip(f.Place); r != "" && r != SkipDigest && r != SkipLake {
		return r
	}
	if f.From.IsZero() {
		return ""
	}
	return s.skipTime(f.From, f.To)
}

func (s *Selection) skip(p Place) string {
	if p.Account != "" && len(s.Accounts) > 0 && !slices.Contains(s.Accounts, p.Account) {
		return SkipAccount
	}
	if p.Region != "" && len(s.Regions) > 0 && !slices.Contains(s.Regions, p.Region) {
		return SkipRegion
	}
	if p.Kind == Unknown || len(s.Kinds) == 0 || slices.Contains(s.Kinds, p.Kind) {
		return ""
	}
	switch p.Kind {
	case Digest:
		return SkipDigest
	case Lake:
		return SkipLake
	case Logs, Insight, NetworkActivity, Aggregated:
		return string("kind not selected: " + p.Kind)
	}
	return string("log of another service: " + p.Kind)
}

// skipTime prunes what was delivered in [from, to).
func (s *Selection) skipTime(from, to time.Time) string {
	if !s.Since.IsZero() && !to.After(s.Since) {
		return SkipTime
	}
	lag := s.Lag
	if lag <= 0 {
		lag = DefaultLag
	}
	if !s.Until.IsZero() && from.After(s.Until.Add(lag)) {
		return SkipTime
	}
	return ""
}

// Counts reports whether a folder left out for this reason is visited itself, once: nobody asked to leave it out, it just
// holds nothing that is wanted.
func Counts(skip string) bool {
	return skip != "" && skip != SkipTime && skip != SkipAccount && skip != SkipRegion
}
