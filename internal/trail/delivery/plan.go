package delivery

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/selector"
	"spoor/internal/trail"
)

// target is a trail with the settings that apply.
type target struct {
	t     trail.Trail
	s     trail.Settings
	place place
}

// plan is which trails take what of entries up to a sequence.
type plan struct {
	until   uint64 // the last one
	targets []target
	matcher *match.Matcher
	routes  map[routeKey]*route
	last    *route // of the event before
	hits    []int
	key     []byte
}

// routeKey is what decides, besides selectors, who takes an event, and into which of their files.
type routeKey struct {
	account, region, category string
	global                    bool // it is one of a global service
}

// route is what is known of events with a key.
type route struct {
	routeKey
	filed    filed
	open     []bool // whether a target is for them
	some     bool   // for any
	stretch  map[string]*stretch
	last     *stretch // the one that the event before went to
	lastOf   string
	unplaced bool
}

// filed is where events lie in a bucket.
type filed struct{ account, region, kind string }

// newPlan is the plan for the entry with a sequence.
func newPlan(trails []trail.Trail, seq uint64) (*plan, error) {
	p := &plan{until: math.MaxUint64, routes: map[routeKey]*route{}}
	var exprs []match.Expr
	for _, t := range trails {
		at := t.At(seq)
		if at+1 < len(t.Epochs) {
			p.until = min(p.until, t.Epochs[at+1].After)
		}
		if at < 0 || t.Deleted && at == len(t.Epochs)-1 || !t.Epochs[at].Settings.Logging {
			continue
		}
		s := t.Epochs[at].Settings
		set, err := t.Compile(s)
		if err != nil {
			return nil, fmt.Errorf("selectors of %s: %w", t.ARN, err)
		}
		exprs = append(exprs, set.Match())
		p.targets = append(p.targets, target{t, s, placeOf(t, s)})
	}
	p.matcher = match.NewIndex(exprs).NewMatcher()
	return p, nil
}

func placeOf(t trail.Trail, s trail.Settings) place {
	p := place{Trail: t.ARN, Bucket: s.Bucket, Prefix: s.Prefix, KMSKey: s.KMSKey, Topic: s.Topic, Validation: s.Validation}
	if s.Organization {
		p.Organization = t.OrganizationID
	}
	return p
}

// takes gives the targets that take an event, and its route. The numbers live until the next call.
func (p *plan) takes(e *event.Event, account, region string) ([]int, *route) {
	p.hits = p.matcher.Match(e, p.hits[:0])
	if len(p.hits) == 0 {
		return nil, nil
	}
	source, k := e.Source(), routeKey{category: e.Category()}
	k.account, k.region = short(e.Account()), short(e.Region())
	k.global = trail.Global(source, k.region)
	r := p.last
	if r == nil || r.routeKey != k {
		if r = p.routes[k]; r == nil {
			r = p.route(k, source, account, region)
		}
		p.last = r
	}
	if !r.some {
		return nil, r
	}
	n := 0
	for _, i := range p.hits {
		if r.open[i] {
			p.hits[n] = i
			n++
		}
	}
	return p.hits[:n], r
}

// route makes the route of a key. What tells no usable account or Region is filed under those of the installation.
func (p *plan) route(k routeKey, source, account, region string) *route {
	k = routeKey{strings.Clone(k.account), strings.Clone(k.region), strings.Clone(k.category), k.global}
	r := &route{routeKey: k, filed: filed{k.account, k.region, kindOf(k.category)}, open: make([]bool, len(p.targets)), stretch: map[string]*stretch{}}
	if !accountForm.MatchString(r.filed.account) {
		r.filed.account, r.unplaced = account, true
	}
	if !regionForm.MatchString(r.filed.region) {
		r.filed.region, r.unplaced = region, true
	}
	for i := range p.targets {
		t := &p.targets[i]
		r.open[i] = k.category != selector.ActivityAuditLog && t.t.Takes(t.s, r.filed.account, r.filed.region, source)
		r.some = r.some || r.open[i]
	}
	if r.some || len(p.routes) < maxRoutes {
		p.routes[k] = r
	}
	return r
}

// short is a text as it is, or none where it is too long to be the name of anything.
func short(text string) string {
	if len(text) > 64 {
		return ""
	}
	return text
}

// kindOf is the folder of a category of events.
func kindOf(category string) string {
	switch category {
	case selector.Insight, selector.NetworkActivity, "Aggregated":
		return "CloudTrail-" + category
	}
	return "CloudTrail"
}

// to gives the stretch of a route for records that certain targets take; class names these.
func (p *plan) to(r *route, hits []int) (s *stretch, class string) {
	p.key = p.key[:0]
	for _, i := range hits {
		p.key = binary.BigEndian.AppendUint16(p.key, uint16(i))
	}
	if r.last != nil && r.lastOf == string(p.key) {
		return r.last, r.lastOf
	}
	if s = r.stretch[string(p.key)]; s == nil {
		return nil, string(p.key)
	}
	r.last, r.lastOf = s, s.class
	return s, s.class
}

// forget lets go of the stretches of a cut.
func (p *plan) forget() {
	p.last = nil
	if len(p.routes) > maxRoutes {
		clear(p.routes)
	}
	for _, r := range p.routes {
		clear(r.stretch)
		r.last, r.lastOf = nil, ""
	}
}

// maxRoutes are the routes that a plan keeps from one cut to the next.
const maxRoutes = 50_000
