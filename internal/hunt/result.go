package hunt

import (
	"time"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/ledger"
)

// Result is what a hunt found: everything that a report shows.
type Result struct {
	Version  string            `json:"version"` // of the program
	Started  time.Time         `json:"started"`
	Elapsed  time.Duration     `json:"elapsedNanoseconds"`
	Inputs   []string          `json:"inputs"` // as given
	First    time.Time         `json:"first"`  // earliest and latest eventTime of the kept events
	Last     time.Time         `json:"last"`
	Rules    RuleCounts        `json:"rules"`
	Hits     []detect.RuleHits `json:"-"`        // of every rule that ran
	Findings []detect.Finding  `json:"findings"` // highest level first, then count, then first; informational ones last
	Stats    Stats             `json:"stats"`
	Ledger   *ledger.Report    `json:"ledger"`
	// Timeline is what the actor did that was asked for, TimelineCut how many of its later events are left out.
	Timeline    []TimelineEntry `json:"timeline,omitempty"`
	TimelineCut int64           `json:"timelineCut,omitempty"`
	Notes       []string        `json:"notes,omitempty"` // what the rules could not judge, such as groups given up
}

// RuleCounts says which rules ran.
type RuleCounts struct {
	Loaded       int      `json:"loaded"`       // event rules
	Correlations int      `json:"correlations"` // correlation rules
	Off          int      `json:"off"`          // loaded but off: deprecated, unsupported, switched off
	Broken       int      `json:"broken"`
	Fired        int      `json:"fired"`
	Problems     []string `json:"problems,omitempty"` // broken documents: file, document, reason
}

// Stats is who did what, from where, in the kept events. Lists are the most frequent first and bounded; Distinct tells
// how many values there were in all.
type Stats struct {
	Events   int64 `json:"events"`
	Failed   int64 `json:"failed"` // calls that failed
	ReadOnly int64 `json:"readOnly"`
	Insights int64 `json:"insights"` // Insight and aggregated events: counted here, not in the lists below
	// Bounded names the dimensions that had more values than are kept (DimensionCap): their rare values are missing and
	// Distinct is a lower bound.
	Bounded   []string         `json:"bounded,omitempty"`
	Distinct  map[string]int64 `json:"distinct"` // by dimension: actors, accounts, regions, names, addresses, agents, errors, keys
	Accounts  []Seen           `json:"accounts"`
	Regions   []Seen           `json:"regions"`
	Sources   []Seen           `json:"sources"` // eventSource
	Names     []Seen           `json:"names"`   // eventSource:eventName
	Actors    []ActorSeen      `json:"actors"`
	Addresses []Seen           `json:"addresses"`
	Agents    []Seen           `json:"agents"`
	Errors    []Seen           `json:"errors"`
	Keys      []Seen           `json:"accessKeys"`
	Hours     []HourCount      `json:"hours"` // histogram by event hour, oldest first
}

// Seen is a value with its count and its first and last event.
type Seen struct {
	Value  string    `json:"value"`
	Count  int64     `json:"count"`
	Failed int64     `json:"failed"`
	First  time.Time `json:"first"`
	Last   time.Time `json:"last"`
}

// ActorSeen is an actor with what it did.
type ActorSeen struct {
	Actor event.Actor `json:"actor"`
	Seen
	Names     int64 `json:"names"`     // distinct eventSource:eventName
	Addresses int64 `json:"addresses"` // distinct source addresses
}

// HourCount is one bar of the histogram.
type HourCount struct {
	Hour   time.Time `json:"hour"`
	Count  int64     `json:"count"`
	Failed int64     `json:"failed"`
}

// TimelineEntry is one event of an actor's timeline, runs of the same call folded into one.
type TimelineEntry struct {
	First   time.Time   `json:"first"`
	Last    time.Time   `json:"last"`
	Count   int         `json:"count"`
	Actor   event.Actor `json:"actor"`
	Source  string      `json:"eventSource"`
	Name    string      `json:"eventName"`
	Error   string      `json:"errorCode,omitempty"`
	Address string      `json:"sourceIPAddress"`
	Agent   string      `json:"userAgent"`
	Region  string      `json:"awsRegion"`
	Account string      `json:"account"`
	Target  string      `json:"target,omitempty"`
	EventID string      `json:"eventID"` // of the first
}
