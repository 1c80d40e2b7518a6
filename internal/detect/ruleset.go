package detect

import (
	"strings"
	"time"

	"spoor/internal/event"
	"spoor/internal/match/sigma"

	"spoor/internal/detect/window"
)

// Ruleset is a set of rules that were loaded together: references between them are resolved, and it is decided which of
// them run and which alert. It is immutable and may be shared.
type Ruleset struct {
	rules        []*eventRule
	correlations []*correlation // those that are referred to before those that refer to them
	off          []Off
	problems     []sigma.Problem
}

// Off is a rule that was loaded and does not run.
type Off struct {
	Rule   Rule
	Reason string // such as "status deprecated"
}

// attempts is what a failed call means for a rule.
type attempts uint8

const (
	attemptsSame attempts = iota
	attemptsLower
	attemptsIgnore
)

// eventRule is an event rule that runs.
type eventRule struct {
	index    int
	info     Rule
	src      *sigma.Rule
	attempts attempts
	alerts   bool // its hits become findings; otherwise it only feeds correlations
	part     bool // a selection of a correlation in the same document, not a rule of its own
	feeds    []feed
}

// feed is what an event rule gives to a correlation.
type feed struct {
	corr   int
	refs   uint64        // places of the rule in the correlation's list
	group  []*event.Path // empty: one group per account
	values []*event.Path // of the measured field
}

// correlation is a correlation rule that runs.
type correlation struct {
	index    int
	info     Rule
	src      *sigma.Correlation
	spec     window.Spec
	attempts attempts
	alerts   bool
	group    []string // names of the group-by fields, aliases by their own name
	missing  bool     // correlate_missing
	numeric  bool
	refs     []reference
	outs     []chainFeed
	delay    int64 // nanoseconds that its input is held back, because correlations that it refers to fire late
}

// reference is one resolved entry of a correlation's list of rules.
type reference struct {
	rule  int // index of the event rule, or -1
	corr  int // index of the correlation, or -1
	title string
}

// chainFeed is what a correlation gives to another. Fields are places in the group of the inner one, -1 where it has no
// such field.
type chainFeed struct {
	corr   int
	refs   uint64
	group  []int
	values []int
}

// Rules describes the rules that run, event rules first.
func (rs *Ruleset) Rules() []RuleState {
	out := make([]RuleState, 0, len(rs.rules)+len(rs.correlations))
	for _, r := range rs.rules {
		if !r.part {
			out = append(out, RuleState{Rule: r.info, Alerts: r.alerts, Warnings: r.src.Warnings})
		}
	}
	for _, c := range rs.correlations {
		out = append(out, RuleState{Rule: c.info, Alerts: c.alerts, Warnings: c.src.Warnings})
	}
	return out
}

// RuleState is a rule that runs.
type RuleState struct {
	Rule
	Alerts   bool // false for a rule that only feeds correlations
	Warnings []string
}

// Off lists the rules that were loaded and do not run.
func (rs *Ruleset) Off() []Off { return rs.off }

// Problems lists the documents that could not be loaded, and remarks on others.
func (rs *Ruleset) Problems() []sigma.Problem { return rs.problems }

// Count gives the number of event rules and of correlations that run.
func (rs *Ruleset) Count() (rules, correlations int) {
	for _, r := range rs.rules {
		if !r.part {
			rules++
		}
	}
	return rules, len(rs.correlations)
}

// Find returns the rule that runs with this id, or else this title, without regard to case.
func (rs *Ruleset) Find(ref string) (RuleState, bool) {
	for _, of := range []func(Rule) string{func(r Rule) string { return r.ID }, func(r Rule) string { return r.Title }} {
		for _, r := range rs.Rules() {
			if strings.EqualFold(of(r.Rule), ref) {
				return r, true
			}
		}
	}
	return RuleState{}, false
}

// Lookback is how far back events matter to correlations: what has to be read again after a restart.
func (rs *Ruleset) Lookback() time.Duration {
	var most time.Duration
	for _, c := range rs.correlations {
		most = max(most, time.Duration(c.delay)+c.spec.Span)
	}
	return most
}
