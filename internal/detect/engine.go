package detect

import (
	"cmp"
	"slices"

	"spoor/internal/event"
	"spoor/internal/match"
)

// Engine evaluates the event rules of a rule set. It is immutable and may be shared; each goroutine has a [Worker].
type Engine struct {
	rs    *Ruleset
	index *match.Index
}

// NewEngine makes an engine.
func NewEngine(rs *Ruleset) *Engine {
	exprs := make([]match.Expr, len(rs.rules))
	for i, r := range rs.rules {
		exprs[i] = r.src.Expr
	}
	return &Engine{rs: rs, index: match.NewIndex(exprs)}
}

// Rules returns the engine's rule set.
func (e *Engine) Rules() *Ruleset { return e.rs }

// Worker evaluates one event at a time and keeps nothing between events but caches. It is not safe for concurrent use.
type Worker struct {
	rs     *Ruleset
	match  *match.Matcher
	found  []int
	hits   []int
	keys   keyBuilder
	actors event.ActorCache
	failed bool
}

// NewWorker makes a worker for one goroutine.
func (e *Engine) NewWorker() *Worker {
	return &Worker{rs: e.rs, match: e.index.NewMatcher()}
}

// Hit is an event that matched a rule. It is valid until the worker's next event, and no longer than the event.
type Hit struct {
	Event  *event.Event
	Failed bool // the call failed
	rule   *eventRule
	worker *Worker
}

// Rule describes the rule.
func (h Hit) Rule() Rule { return h.rule.info }

// Alerts is false for a rule that only feeds correlations.
func (h Hit) Alerts() bool { return h.rule.alerts }

// Level is the rule's, one lower for a failed call where the rule says so.
func (h Hit) Level() Level {
	if h.Failed && h.rule.attempts == attemptsLower {
		return lower(h.rule.info.Level)
	}
	return h.rule.info.Level
}

// Matched gives the field tests that held.
func (h Hit) Matched() []FieldMatch { return explain(h.worker.match.Context(), h.rule.src.Expr) }

// Evaluate calls emit for every rule that e matches, rules that only feed correlations included.
func (w *Worker) Evaluate(e *event.Event, emit func(Hit)) {
	for _, i := range w.run(e) {
		emit(Hit{Event: e, Failed: w.failed, rule: w.rs.rules[i], worker: w})
	}
}

// run gives the indices of the rules that e matches, those that ignore attempts left out if it failed.
func (w *Worker) run(e *event.Event) []int {
	w.found = w.match.Match(e, w.found[:0])
	if len(w.found) == 0 {
		return nil
	}
	w.failed = e.Failed()
	if !w.failed {
		return w.found
	}
	w.hits = w.hits[:0]
	for _, i := range w.found {
		if w.rs.rules[i].attempts != attemptsIgnore {
			w.hits = append(w.hits, i)
		}
	}
	return w.hits
}

// inputs gives what the rules that e matched put into correlations, rising by correlation. It is valid until the next call.
func (w *Worker) inputs(e *event.Event, rules []int) []input {
	w.keys.reset()
	for _, i := range rules {
		feeds := w.rs.rules[i].feeds
		for j := range feeds {
			w.keys.add(w.rs.correlations[feeds[j].corr], &feeds[j], e)
		}
	}
	in := w.keys.inputs
	if len(in) > 1 {
		slices.SortFunc(in, func(a, b input) int { return cmp.Or(cmp.Compare(a.corr, b.corr), cmp.Compare(a.key, b.key)) })
	}
	return in
}

// alerts reports whether any of the rules does more than feed correlations.
func (w *Worker) alerts(rules []int) bool {
	return slices.ContainsFunc(rules, func(i int) bool { return w.rs.rules[i].alerts })
}

func lower(l Level) Level { return max(l-1, Informational) }

// explain gives the field tests of x that hold for the event of the context.
func explain(c *match.Context, x match.Expr) []FieldMatch {
	trace, _ := c.Explain(x)
	var out []FieldMatch
	for _, t := range trace.Tests {
		m := FieldMatch{Path: t.Path, Value: t.Value}
		if !slices.Contains(out, m) {
			out = append(out, m)
		}
	}
	return out
}
