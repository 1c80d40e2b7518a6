package hunt

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/ledger"
)

// BacktestOptions of [Backtest].
type BacktestOptions struct {
	Options
	// About says which of the rules are told about; nil for all.
	About func(detect.Rule) bool
	// Samples is how many events are shown of each rule, at most what a finding keeps.
	Samples int
	// Unread is the reason for which a source left out records that no rule can match: they count as events all the same.
	Unread string
}

// BacktestResult is what rules did over past events.
type BacktestResult struct {
	Version  string         `json:"version"` // of the program
	Started  time.Time      `json:"started"`
	Elapsed  time.Duration  `json:"elapsedNanoseconds"`
	Inputs   []string       `json:"inputs"`
	Events   int64          `json:"events"` // that were asked for, those included that no rule can match
	Rules    []RuleTest     `json:"rules"`  // most matches first
	Problems []string       `json:"problems,omitempty"`
	Notes    []string       `json:"notes,omitempty"`
	Ledger   *ledger.Report `json:"ledger"`
}

// RuleTest is what one rule did.
type RuleTest struct {
	Rule detect.Rule `json:"rule"`
	// Alerts is false for a rule that only feeds correlations: of such a rule the matches alone are known.
	Alerts   bool      `json:"alerts"`
	Matches  int64     `json:"matches"` // for a correlation, times it fired
	Per10000 float64   `json:"matchesPer10000"`
	Denied   int64     `json:"denied"` // of Matches, calls that failed
	First    time.Time `json:"first,omitzero"`
	Last     time.Time `json:"last,omitzero"`
	Actors   int       `json:"actors"` // distinct; for a correlation, of the first event of each group
	Accounts int       `json:"accounts"`
	// Samples are the earliest matches of different actors, then of the same ones.
	Samples []detect.Evidence `json:"samples"`
}

// Backtest runs rules over past events and tells of each what it would have done. It gives what [Run] finds.
func Backtest(ctx context.Context, opts BacktestOptions) (*BacktestResult, error) {
	opts.RulesOnly = true
	res, err := Run(ctx, opts.Options)
	if err != nil {
		return nil, err
	}
	out := &BacktestResult{Version: res.Version, Started: res.Started, Elapsed: res.Elapsed, Inputs: res.Inputs, Events: res.Ledger.Records.Kept,
		Rules: []RuleTest{}, Problems: res.Rules.Problems, Notes: res.Notes, Ledger: res.Ledger}
	for _, p := range res.Ledger.Pruned {
		if p.Reason == opts.Unread {
			out.Events += p.Count
		}
	}
	found := map[string][]*detect.Finding{}
	for i := range res.Findings {
		f := &res.Findings[i]
		found[ruleKey(&f.Rule)] = append(found[ruleKey(&f.Rule)], f)
	}
	for _, h := range res.Hits {
		if opts.About != nil && !opts.About(h.Rule) {
			continue
		}
		t := RuleTest{Rule: h.Rule, Alerts: h.Alerts, Matches: h.Hits}
		if out.Events > 0 {
			t.Per10000 = float64(h.Hits) * 10_000 / float64(out.Events)
		}
		t.gather(found[ruleKey(&h.Rule)], opts.Samples)
		out.Rules = append(out.Rules, t)
	}
	slices.SortStableFunc(out.Rules, func(a, b RuleTest) int {
		return cmp.Or(cmp.Compare(b.Matches, a.Matches), cmp.Compare(b.Rule.Level, a.Rule.Level), strings.Compare(a.Rule.Title, b.Rule.Title))
	})
	return out, nil
}

// ruleKey tells rules apart, which need not have an id.
func ruleKey(r *detect.Rule) string { return r.ID + "\x00" + r.File + "\x00" + r.Title }

// gather adds up the findings of the rule.
func (t *RuleTest) gather(found []*detect.Finding, samples int) {
	actors, accounts := map[string]bool{}, map[string]bool{}
	type sample struct {
		*detect.Evidence
		turn int // of its finding's events
	}
	var all []sample
	for _, f := range found {
		actors[f.Actor.ID] = true
		accounts[f.Account] = true
		t.Denied += int64(f.Denied)
		if !f.First.IsZero() && (t.First.IsZero() || f.First.Before(t.First)) {
			t.First = f.First
		}
		if f.Last.After(t.Last) {
			t.Last = f.Last
		}
		for i := range f.Events[:min(len(f.Events), samples)] {
			all = append(all, sample{&f.Events[i], i})
		}
	}
	t.Actors, t.Accounts = len(actors), len(accounts)
	slices.SortFunc(all, func(a, b sample) int {
		return cmp.Or(cmp.Compare(a.turn, b.turn), a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID), cmp.Compare(a.Offset, b.Offset))
	})
	all = all[:min(len(all), samples)]
	slices.SortStableFunc(all, func(a, b sample) int { return cmp.Or(a.Time.Compare(b.Time), strings.Compare(a.ID, b.ID)) })
	t.Samples = make([]detect.Evidence, len(all))
	for i := range all {
		t.Samples[i] = *all[i].Evidence
	}
}
