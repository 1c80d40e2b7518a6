package detect

import (
	"fmt"
	"time"

	"spoor/internal/event"
)

// Level is a severity. Findings below Low annotate and do not alert.
type Level int8

// The levels, as Sigma names them.
const (
	Informational Level = iota
	Low
	Medium
	High
	Critical
)

// Levels lists the names in rising order.
var Levels = [...]string{"informational", "low", "medium", "high", "critical"}

func (l Level) String() string { return Levels[l] }

// MarshalText writes the level's name.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText reads a level's name.
func (l *Level) UnmarshalText(text []byte) error {
	for i, name := range Levels {
		if name == string(text) {
			*l = Level(i)
			return nil
		}
	}
	return fmt.Errorf("unknown level %q", text)
}

// Finding is all that one rule found of one actor (or, for correlations, of one group) in one account: repeats are
// counted, not listed. It copies what it keeps; nothing in it points into a record's buffer. For the same events it is
// the same whatever their order.
type Finding struct {
	ID    string `json:"id"`    // 16 hexadecimal digits, from rule, actor, account and group; stable across runs
	Rule  Rule   `json:"rule"`  // what is known of the rule
	Level Level  `json:"level"` // the rule's, one lower when every event was a denied attempt and the rule says so

	Actor    event.Actor       `json:"actor"`
	Account  string            `json:"account"`
	Group    map[string]string `json:"group,omitempty"` // group-by values of a correlation
	Count    int               `json:"count"`           // matching events; for a correlation, times it fired
	Denied   int               `json:"denied"`          // of Count, calls that failed
	First    time.Time         `json:"first"`
	Last     time.Time         `json:"last"`
	Observed string            `json:"observed,omitempty"` // for a correlation what was counted, such as "37 failed sign-ins by 1 source in 4m"

	Names     []Tally `json:"names"` // eventSource:eventName with counts, most frequent first, at most TallyCap
	Regions   []Tally `json:"regions"`
	Addresses []Tally `json:"addresses"`
	Agents    []Tally `json:"agents"`
	Errors    []Tally `json:"errors,omitempty"`
	Keys      []Tally `json:"accessKeys,omitempty"`
	Targets   []Tally `json:"targets,omitempty"` // resource ARNs, or the name that request parameters give

	// Events are the earliest events by time, then id, at most EventCap. For a correlation they are of its first firing:
	// the first of each rule that it refers to, the last, and then the earliest.
	Events []Evidence `json:"events"`
	// EventIDs names the contributing events of a correlation's first firing, at most ContributingCap.
	EventIDs []string `json:"eventIDs,omitempty"`
}

// EventCap is the most events that one finding keeps as evidence; TallyCap the most values of one tally.
const (
	EventCap = 10
	TallyCap = 10
)

// Tally is a value with the number of events that had it.
type Tally struct {
	Value string `json:"value"`
	Count int    `json:"count"`
}

// Evidence is one event behind a finding.
type Evidence struct {
	ID      string       `json:"eventID"`
	Time    time.Time    `json:"eventTime"`
	Source  string       `json:"eventSource"`
	Name    string       `json:"eventName"`
	Region  string       `json:"awsRegion"`
	Account string       `json:"account"`
	Actor   event.Actor  `json:"actor"`
	Address string       `json:"sourceIPAddress"`
	Agent   string       `json:"userAgent"`
	Error   string       `json:"errorCode,omitempty"`
	Key     string       `json:"accessKeyId,omitempty"`
	Target  string       `json:"target,omitempty"`
	RuleID  string       `json:"rule,omitempty"` // for a correlation, the rule that this event matched
	Matched []FieldMatch `json:"matched,omitempty"`
	File    string       `json:"file"`
	Offset  int64        `json:"offset"`
	Raw     []byte       `json:"-"` // the record, byte-exact
}

// FieldMatch is a field test that held, for highlighting.
type FieldMatch struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

// Rule is what a finding shows of its rule.
type Rule struct {
	ID             string      `json:"id"`
	Title          string      `json:"title"`
	Level          Level       `json:"level"`
	Status         string      `json:"status,omitempty"`
	Description    string      `json:"description,omitempty"`
	Author         string      `json:"author,omitempty"`
	License        string      `json:"license,omitempty"`
	Suite          string      `json:"suite,omitempty"` // "spoor" for the built-in pack, else the folder or file it was loaded from
	File           string      `json:"file,omitempty"`
	References     []string    `json:"references,omitempty"`
	Tags           []string    `json:"tags,omitempty"`
	FalsePositives []string    `json:"falsepositives,omitempty"`
	Check          []string    `json:"check,omitempty"`
	Controls       []string    `json:"controls,omitempty"`
	Techniques     []Technique `json:"techniques,omitempty"`
	Correlation    bool        `json:"correlation,omitempty"`
}

// Technique is an ATT&CK technique with its names before and after ATT&CK 19.
type Technique struct {
	ID     string `json:"id"`            // as current ATT&CK numbers it
	Old    string `json:"old,omitempty"` // the number before version 19, when it differs
	Name   string `json:"name"`
	Tactic string `json:"tactic"` // current short name, such as defense-impairment; "" when the rule names none
}
