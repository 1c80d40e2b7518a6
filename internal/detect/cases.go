package detect

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/detect/window"
	"spoor/internal/event"
)

// The bounds of correlation findings.
const (
	ContributingCap = 1000    // contributing events of which a finding keeps the ids and which its tallies count
	maxCaseParts    = 1 << 18 // contributing events kept over all findings; beyond it a finding keeps EventCap
)

// cases gathers the firings of correlations into findings, one per rule and group. It belongs to one goroutine.
type cases struct {
	rs       *Ruleset
	limit    int
	byGroup  map[caseKey]*caseOf
	held     int
	overflow int64 // firings of groups beyond the limit
	byRule   []int64
}

type caseKey struct {
	corr int
	key  string
}

// caseOf is a correlation finding in the making.
type caseOf struct {
	corr        *correlation
	key         string
	account     string
	count       int
	denied      int // firings all of whose events failed
	first, last int64
	observed    string
	parts       []window.Part // contributing events, each once, at most ContributingCap
	firstFiring int           // how many of parts belong to the first firing
	shown       []window.Part // evidence of the first firing
	done        uint64        // the event that completed the first firing
	have        map[uint64]struct{}
}

func newCases(rs *Ruleset, limit int) *cases {
	return &cases{rs: rs, limit: limit, byGroup: map[caseKey]*caseOf{}, byRule: make([]int64, len(rs.correlations))}
}

func (cs *cases) fired(c *correlation, f *window.Firing) {
	if !c.alerts {
		return
	}
	cs.byRule[c.index]++
	k := caseKey{c.index, f.Key}
	o := cs.byGroup[k]
	if o == nil {
		if len(cs.byGroup) >= cs.limit {
			cs.overflow++
			return
		}
		o = &caseOf{corr: c, key: f.Key, account: f.Entries[len(f.Entries)-1].Account, first: f.First, last: f.Last,
			observed: observed(c, f), have: map[uint64]struct{}{}, shown: shownOf(c, f), done: f.Entries[len(f.Entries)-1].Handle}
		cs.byGroup[k] = o
	}
	o.count++
	failed := true
	for i := range f.Entries {
		failed = failed && f.Entries[i].Failed
		cs.contribute(o, &f.Entries[i])
	}
	if o.count == 1 {
		o.firstFiring = len(o.parts)
	}
	if failed {
		o.denied++
	}
	o.first, o.last = min(o.first, f.First), max(o.last, f.Last)
}

// joined takes an event that came while the group's last firing was open.
func (cs *cases) joined(c *correlation, key string, e *window.Entry) {
	if o := cs.byGroup[caseKey{c.index, key}]; o != nil {
		cs.contribute(o, e)
		o.first, o.last = min(o.first, e.Time), max(o.last, e.Time)
	}
}

func (cs *cases) contribute(o *caseOf, e *window.Entry) {
	limit := ContributingCap
	if cs.held >= maxCaseParts {
		limit = EventCap
	}
	if len(o.parts) >= limit {
		return
	}
	for _, p := range parts(o.corr, e) {
		if _, ok := o.have[p.Handle]; ok || len(o.parts) >= limit {
			continue
		}
		o.have[p.Handle] = struct{}{}
		o.parts = append(o.parts, p)
		cs.held++
	}
}

// shownOf picks the events of a firing that a finding shows: the first of each reference, the last, and then the earliest.
func shownOf(c *correlation, f *window.Firing) []window.Part {
	var out []window.Part
	have := map[uint64]bool{}
	show := func(e *window.Entry) {
		for _, p := range parts(c, e) {
			if len(out) < EventCap && !have[p.Handle] {
				have[p.Handle] = true
				out = append(out, p)
			}
		}
	}
	if n := len(f.Entries); len(f.Entries[n-1].Parts) == 0 {
		show(&f.Entries[n-1])
	}
	var seen uint64
	for i := range f.Entries {
		if e := &f.Entries[i]; e.Refs&^seen != 0 {
			seen |= e.Refs
			if len(e.Parts) == 0 {
				show(e)
			}
		}
	}
	for i := range f.Entries {
		show(&f.Entries[i])
	}
	slices.SortFunc(out, func(a, b window.Part) int { return cmp.Or(cmp.Compare(a.Time, b.Time), strings.Compare(a.ID, b.ID)) })
	return out
}

// observed says in words what a firing counted.
func observed(c *correlation, f *window.Firing) string {
	span := time.Duration(f.Last - f.First).Round(time.Second).String()
	number := strconv.FormatFloat(f.Value, 'f', -1, 64)
	if f.Value != math.Trunc(f.Value) {
		number = strconv.FormatFloat(f.Value, 'f', 2, 64)
	}
	if f.Approximate {
		number = "about " + number
	}
	events := strconv.FormatInt(f.Count, 10) + " events"
	if f.Count == 1 {
		events = "1 event"
	}
	fields := strings.Join(c.src.Fields, ", ")
	switch c.src.Type {
	case "event_count":
		return fmt.Sprintf("%s in %s", events, span)
	case "value_count":
		return fmt.Sprintf("%s values of %s in %s in %s", number, fields, events, span)
	case "temporal", "temporal_ordered":
		var titles []string
		for i, r := range c.refs {
			if i < window.MaxRefs && f.Refs&(1<<i) != 0 && !slices.Contains(titles, r.title) {
				titles = append(titles, r.title)
			}
		}
		sep := " and "
		if c.spec.Kind == window.Ordered {
			sep = ", then "
		}
		return fmt.Sprintf("%s: %s in %s", strings.Join(titles, sep), events, span)
	}
	what := strings.TrimPrefix(string(c.src.Type), "value_")
	if c.spec.Kind == window.Percentile && c.spec.Percent != 50 {
		what = strconv.FormatFloat(c.spec.Percent, 'f', -1, 64) + "th percentile"
	}
	return fmt.Sprintf("%s of %s is %s in %s in %s", what, fields, number, events, span)
}

// list gives the cases in a fixed order.
func (cs *cases) list() []*caseOf {
	out := make([]*caseOf, 0, len(cs.byGroup))
	for _, o := range cs.byGroup {
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b *caseOf) int {
		return cmp.Or(cmp.Compare(a.corr.index, b.corr.index), strings.Compare(a.key, b.key))
	})
	return out
}

// finding makes the finding of a case but for what its records tell.
func (o *caseOf) finding() Finding {
	c := o.corr
	f := Finding{Rule: c.info, Level: c.info.Level, Account: o.account, Count: o.count, Denied: o.denied, First: when(o.first),
		Last: when(o.last), Observed: o.observed}
	if o.denied == o.count && c.attempts == attemptsLower {
		f.Level = lower(f.Level)
	}
	if values := splitKey(o.key); len(c.group) > 0 && len(values) == len(c.group) {
		f.Group = make(map[string]string, len(values))
		for i, name := range c.group {
			f.Group[name] = values[i]
		}
	}
	for _, p := range o.parts[:o.firstFiring] {
		if !strings.HasPrefix(p.ID, noID) {
			f.EventIDs = append(f.EventIDs, p.ID)
		}
	}
	f.ID = findingID("correlation", c.info.ID, c.info.Title, o.key)
	return f
}

// labelID is the id of the event rule that a contributing event matched.
func (rs *Ruleset) labelID(label int) string {
	if label < 0 {
		return ""
	}
	return rs.rules[label].info.ID
}

// tallyOf counts the records of a case.
type tallyOf [dimensions]tally

func (t *tallyOf) add(e *event.Event) {
	count := func(d dimension, text string) {
		if text != "" {
			t[d].add(shorten(text), 1, TallyExact)
		}
	}
	count(dimNames, e.Source()+":"+e.Name())
	count(dimRegions, e.Region())
	count(dimAddresses, e.Text(event.SourceIPAddress))
	count(dimAgents, e.Text(event.UserAgent))
	count(dimErrors, e.Text(event.ErrorCode))
	count(dimKeys, e.Text(event.AccessKeyID))
	targets(e, func(text string) { count(dimTargets, text) })
}

func (f *Finding) setTallies(t *[dimensions]tally) {
	f.Names, f.Regions, f.Addresses, f.Agents = t[dimNames].top(), t[dimRegions].top(), t[dimAddresses].top(), t[dimAgents].top()
	f.Errors, f.Keys, f.Targets = t[dimErrors].top(), t[dimKeys].top(), t[dimTargets].top()
}
