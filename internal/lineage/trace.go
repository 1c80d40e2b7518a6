package lineage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"spoor/internal/store/duckdb"
)

// Trace answers where asked comes from and what was done with it. asked is an access key id, an event id, an ARN of a
// session, role or user, or the name of a session or actor. A report without roots means that the data have nothing of it.
func Trace(ctx context.Context, engine *duckdb.Engine, asked string, opts Options) (*Report, error) {
	t, err := newTracer(ctx, engine, opts)
	if err != nil {
		return nil, err
	}
	t.report.Asked = asked
	targets, err := t.resolve(asked)
	if err != nil {
		return nil, err
	}
	return t.trace(targets)
}

func newTracer(ctx context.Context, engine *duckdb.Engine, opts Options) (_ *tracer, err error) {
	opts.Depth = cmp.Or(opts.Depth, 12)
	opts.Sessions = cmp.Or(opts.Sessions, 60)
	opts.Group = cmp.Or(opts.Group, 4)
	t := &tracer{asker: asker{ctx: ctx, engine: engine}, opts: opts, nodes: map[string]*Node{}, first: map[string]rec{}, report: &Report{}}
	t.cover, err = t.coverage()
	return t, err
}

// trace follows the targets both ways.
func (t *tracer) trace(targets []*Node) (*Report, error) {
	for _, n := range targets {
		n.Target = true
	}
	if err := t.up(targets); err != nil {
		return nil, err
	}
	if err := t.down(targets); err != nil {
		return nil, err
	}
	if err := t.finish(); err != nil {
		return nil, err
	}
	return t.report, nil
}

type tracer struct {
	asker
	opts   Options
	cover  map[string]Coverage
	nodes  map[string]*Node // by key, identities by a name of their own
	order  []*Node          // nodes as they were found
	first  map[string]rec   // first use of keys
	report *Report
}

// node gives the node of a key, and whether it is new.
func (t *tracer) node(key string) (*Node, bool) {
	if n, ok := t.nodes[key]; ok {
		return n, false
	}
	n := &Node{Kind: Session, Key: key}
	switch {
	case strings.HasPrefix(key, "AKIA"):
		n.Kind = LongTerm
	case !isAccessKey(key):
		n.Kind = Bearer
	}
	t.nodes[key] = n
	t.order = append(t.order, n)
	return n, true
}

// identity gives the node of an identity that acted without a key that is known.
func (t *tracer) identity(r rec) *Node {
	id := "identity\x00" + cmp.Or(r.who.ActorID, r.who.ARN) + "\x00" + r.who.Account
	if r.who.Type == "AWSAccount" {
		id += r.who.Principal
	}
	if n, ok := t.nodes[id]; ok {
		return n
	}
	n := &Node{Kind: Identity, Who: r.who, Source: r.federate}
	n.Name = ""
	n.linked, n.expanded = true, true
	n.Origin = Link{Certainty: Beginning, Text: beginning(r)}
	t.nodes[id] = n
	t.order = append(t.order, n)
	return n
}

// beginning says why nothing stands before an identity.
func beginning(r rec) string {
	switch {
	case r.who.ActorKind == "service":
		return "an AWS service on its own behalf"
	case r.who.Type == "SAMLUser":
		return "signed in at a SAML identity provider, which CloudTrail does not see"
	case r.who.Type == "WebIdentityUser":
		return "came with a token of an identity provider, which CloudTrail does not see"
	case r.Name == "ConsoleLogin":
		return "signed in with a password"
	case r.who.ActorKind == "anonymous":
		return "called without credentials"
	}
	return "the record names no credential"
}

// resolve finds what is asked for.
func (t *tracer) resolve(asked string) ([]*Node, error) {
	if asked == "" {
		return nil, nil
	}
	if isAccessKey(asked) {
		return t.keys("key", []string{asked}, 1)
	}
	if len(asked) >= 32 && len(asked) <= 40 && strings.Count(asked, "-") == 4 {
		return t.event(asked)
	}
	var p params
	v := p.add(asked)
	as, cond := "name", `actor.name = `+v+` OR actorId = `+v+` OR actor.session = `+v+` OR userIdentity.userName = `+v+` OR userIdentity.sessionContext.sourceIdentity = `+v+
		` OR userIdentity.credentialId = `+v+` OR userIdentity.principalId = `+v+` OR lower(actor.name) = lower(`+v+`)`
	if strings.HasPrefix(asked, "arn:") {
		as, cond = "arn", `userIdentity.arn = `+v+` OR actorId = `+v+` OR userIdentity.sessionContext.sessionIssuer.arn = `+v+` OR userIdentity.inScopeOf.sourceArn = `+v
	}
	rows, err := t.rows("who that is", `SELECT coalesce(nullif(accessKeyId, ''), userIdentity.credentialId) AS k, min(eventTime) AS first FROM events WHERE (`+cond+`) AND k IS NOT NULL GROUP BY k ORDER BY first DESC, k`, p, mostRows)
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, r := range rows {
		keys = append(keys, r[0])
	}
	// Sessions that it took without a key of its own, and, where there is nothing else, those that were never used.
	given, err := t.fetch("sessions of it", mintColumns, `eventName IN (`+mintCalls+`) AND errorCode IS NULL AND coalesce(accessKeyId, '') = '' AND (`+cond+`)`, p)
	if err == nil && len(given)+len(keys) == 0 {
		given, err = t.recs("sessions of it", `SELECT `+mintColumns+` FROM events WHERE eventName IN (`+mintCalls+`) AND errorCode IS NULL AND (`+mintedFor(as, v)+`) ORDER BY eventTime, eventID`, p, mostRows)
	}
	if err != nil {
		return nil, err
	}
	given = slices.DeleteFunc(given, func(r rec) bool { return r.gave == "" })
	for _, r := range given {
		if !slices.Contains(keys, r.gave) {
			keys = append(keys, r.gave)
		}
	}
	if len(keys) > 0 {
		return t.keys(as, keys, len(keys))
	}
	recs, err := t.recs("who that is", `SELECT `+recColumns+` FROM events WHERE `+cond+` ORDER BY eventTime LIMIT 1`, p, 1)
	if err != nil || len(recs) == 0 {
		return nil, err
	}
	t.report.As, t.report.Targets = as, 1
	return []*Node{t.keyless(recs[0])}, nil
}

// mintedFor is the condition that a call gave credentials to what is asked for.
func mintedFor(as, v string) string {
	if as == "arn" {
		return `json_extract_scalar(responseElements, '$.assumedRoleUser.arn') = ` + v + ` OR json_extract_scalar(requestParameters, '$.roleArn') = ` + v
	}
	return `json_extract_scalar(requestParameters, '$.roleSessionName') = ` + v
}

// keyless is the node of whoever made a record that names no key.
func (t *tracer) keyless(r rec) *Node {
	n := t.identity(r)
	if n.Origin.Text == "the record names no credential" {
		n.Origin = Link{Certainty: Unknown, Reason: ReasonNoKey, Text: "its records name no access key, so that no call can be found that gave it one"}
	}
	return n
}

// keys loads keys, which are what the question is about.
func (t *tracer) keys(as string, keys []string, total int) ([]*Node, error) {
	if len(keys) > t.opts.Sessions {
		t.report.Left = total - t.opts.Sessions
		keys = keys[:t.opts.Sessions]
	}
	nodes, err := t.load(keys, true)
	if len(nodes) > 0 {
		t.report.As, t.report.Targets = as, len(nodes)+t.report.Left
	}
	return nodes, err
}

// event finds an event by its id, and the credential that it is about: the caller's, or else the one that it gave.
func (t *tracer) event(id string) ([]*Node, error) {
	var p params
	v := p.add(id)
	recs, err := t.recs("the event", `SELECT `+mintColumns+` FROM events WHERE eventID = `+v, p, 10)
	if err == nil && len(recs) == 0 {
		recs, err = t.recs("the event", `SELECT `+mintColumns+` FROM events WHERE sharedEventID = `+v+` ORDER BY accessKeyId DESC NULLS LAST`, p, 10)
	}
	if err != nil || len(recs) == 0 {
		return nil, err
	}
	r := recs[0]
	t.report.Event = &r.Event
	if r.key == "" {
		r.key = r.gave
	}
	if r.key != "" {
		return t.keys("event", []string{r.key}, 1)
	}
	if r.Source == "signin.amazonaws.com" && r.Error == "" && r.who.ARN != "" {
		keys, err := t.begun(r)
		if err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			return t.keys("event", keys, len(keys))
		}
	}
	t.report.As, t.report.Targets = "event", 1
	return []*Node{t.keyless(r)}, nil
}

// begun gives the keys of console sessions that a sign-in may have begun.
func (t *tracer) begun(r rec) ([]string, error) {
	var p params
	arn := p.add(r.who.ARN)
	rows, err := t.rows("sessions of a sign-in", `SELECT accessKeyId, min(eventTime) AS first FROM events WHERE userIdentity.arn = `+arn+` AND accessKeyId LIKE 'ASIA%' AND `+p.around(r.Time.Add(-nearAfter), r.Time.Add(24*time.Hour))+`
		AND epoch(TRY_CAST(userIdentity.sessionContext.attributes.creationDate AS timestamp with time zone)) - epoch(CAST(`+p.add(r.Time.Format(time.RFC3339))+` AS timestamp with time zone)) BETWEEN `+
		fmt.Sprintf("%d AND %d", -int(nearAfter.Seconds()), int(signInBefore.Seconds()))+` GROUP BY 1 ORDER BY 2, 1`, p, mostRows)
	var out []string
	for _, row := range rows {
		out = append(out, row[0])
	}
	return out, err
}

// load makes nodes of keys and links each to the call that minted it. Keys of which the data have nothing are left out,
// unless they are named by something that they have.
func (t *tracer) load(keys []string, unnamed bool) ([]*Node, error) {
	var fresh []string
	for _, k := range keys {
		if _, ok := t.nodes[k]; !ok && !slices.Contains(fresh, k) {
			fresh = append(fresh, k)
		}
	}
	for part := range slices.Chunk(fresh, 200) {
		if err := t.loadSome(part, unnamed); err != nil {
			return nil, err
		}
	}
	var out []*Node
	for _, k := range keys {
		if n := t.nodes[k]; n != nil && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out, nil
}

func (t *tracer) loadSome(keys []string, unnamed bool) error {
	used, err := t.firstUse(keys)
	if err != nil {
		return err
	}
	// Sessions are looked for about the time when they began, as far as that is known.
	var sessions, others []string
	var from, to time.Time
	for _, k := range keys {
		r, ok := used[k]
		if !ok || r.issued.IsZero() {
			others = append(others, k)
			continue
		}
		sessions = append(sessions, k)
		if from.IsZero() || r.issued.Before(from) {
			from = r.issued
		}
		if r.issued.After(to) {
			to = r.issued
		}
	}
	minted := map[string][]rec{}
	if len(sessions) > 0 {
		if minted, err = t.mints(sessions, "", from.Add(-time.Hour), to.Add(time.Hour)); err != nil {
			return err
		}
		for _, k := range sessions { // times in records may be wrong, or not what they seem
			if len(minted[k]) == 0 && len(sessions) <= 20 {
				others = append(others, k)
			}
		}
	}
	// The makings of long-term keys are rare, and quickly found; what could be any call is looked for among all of them.
	longTerm := slices.DeleteFunc(slices.Clone(others), func(k string) bool { return !strings.HasPrefix(k, "AKIA") })
	for _, try := range []struct {
		only string
		keys []string
	}{{"CreateAccessKey", longTerm}, {"", others}} {
		part := slices.DeleteFunc(slices.Clone(try.keys), func(k string) bool {
			r, ok := used[k]
			return len(minted[k]) > 0 || try.only == "" && strings.HasPrefix(k, "AKIA") && ok && r.issued.IsZero()
		})
		if len(part) == 0 {
			continue
		}
		more, err := t.mints(part, try.only, time.Time{}, time.Time{})
		if err != nil {
			return err
		}
		for k, m := range more {
			minted[k] = m
		}
	}
	for _, k := range keys {
		r, ok := used[k]
		if !ok && len(minted[k]) == 0 && unnamed {
			continue
		}
		n, _ := t.node(k)
		if ok {
			t.first[k] = r
			n.describe(r)
		}
		if err := t.link(n, minted[k]); err != nil {
			return err
		}
	}
	return nil
}

// describe takes over what a use of a credential tells about it.
func (n *Node) describe(r rec) {
	n.Who, n.Issued, n.MFA, n.SourceIdentity, n.Console = r.who, r.issued, r.mfa, r.source, r.console
	n.Source = cmp.Or(r.scope, r.federate)
	n.role, n.account = r.issuer, cmp.Or(r.who.Account, r.Account)
	if n.Kind == Session && n.Issued.IsZero() && n.Type == "" {
		n.Kind = Bearer
	}
}

// up follows the chain of each node to its beginning.
func (t *tracer) up(nodes []*Node) error {
	for range t.opts.Depth {
		var next []string
		for _, n := range nodes {
			if n.parentKey != "" && t.nodes[n.parentKey] == nil {
				next = append(next, n.parentKey)
			}
		}
		parents, err := t.load(next, false)
		if err != nil {
			return err
		}
		t.join(nodes)
		if len(parents) == 0 {
			return nil
		}
		nodes = parents
	}
	for _, n := range nodes {
		if n.parentKey != "" && n.parent == nil {
			n.unlink(ReasonDepth, fmt.Sprintf("the chain goes on with key %s; only %d links are followed", n.parentKey, t.opts.Depth))
		}
	}
	return nil
}

// join ties nodes to their parents. A tie that would close a circle is not made.
func (t *tracer) join(nodes []*Node) {
	for _, n := range nodes {
		p := t.nodes[n.parentKey]
		if n.parent != nil || n.parentKey == "" || p == nil {
			continue
		}
		for a := p; a != nil; a = a.parent {
			if a == n {
				n.unlink(ReasonCycle, "the records say that this key was minted, in the end, by itself; no true records do")
				p = nil
				break
			}
		}
		if p != nil {
			n.parent = p
			p.Minted = append(p.Minted, n)
		}
	}
}

// unlink takes back the tie to a parent; the call stays as evidence.
func (n *Node) unlink(why Reason, text string) {
	n.Origin.Certainty, n.Origin.Reason, n.Origin.Text = Unknown, why, text
	n.parentKey = ""
}

// down finds what nodes minted in turn.
func (t *tracer) down(nodes []*Node) error {
	for range t.opts.Depth {
		var keys []string
		for _, n := range nodes {
			if !n.expanded && n.Key != "" {
				n.expanded = true
				keys = append(keys, n.Key)
			}
		}
		if len(keys) == 0 {
			return nil
		}
		var next []*Node
		for part := range slices.Chunk(keys, 200) {
			found, err := t.expand(part)
			if err != nil {
				return err
			}
			next = append(next, found...)
		}
		nodes = next
	}
	return nil
}

// expand finds the children of keys, and adds up those that are too many.
func (t *tracer) expand(keys []string) ([]*Node, error) {
	recs, total, err := t.children(keys)
	if err != nil {
		return nil, err
	}
	type kind struct{ key, call, target string }
	groups := map[kind][]rec{}
	var order []kind
	for _, r := range recs {
		if r.gave == r.key {
			continue // no true record says so
		}
		k := kind{r.key, r.Name, r.Target}
		if groups[k] == nil {
			order = append(order, k)
		}
		if !slices.ContainsFunc(groups[k], func(o rec) bool { return o.gave == r.gave }) {
			groups[k] = append(groups[k], r)
		}
	}
	for k, n := range total {
		if p := t.nodes[k]; p != nil {
			p.Hidden += max(0, n-mostRows)
		}
	}
	var load []string
	for _, k := range order {
		p, members := t.nodes[k.key], groups[k]
		single := members
		if len(members) > t.opts.Group {
			single = nil
			var rest []rec
			for _, m := range members {
				if t.nodes[m.gave] != nil {
					single = append(single, m)
				} else {
					rest = append(rest, m)
				}
			}
			g, err := t.group(k.call, k.target, rest)
			if err != nil {
				return nil, err
			}
			if g.Sessions > 0 {
				p.Groups = append(p.Groups, g)
			}
		}
		for _, m := range single {
			if t.nodes[m.gave] == nil && len(t.nodes)+len(load) >= t.opts.Sessions+t.report.Targets {
				p.Hidden++
				continue
			}
			load = append(load, m.gave)
		}
	}
	nodes, err := t.load(load, false)
	t.join(nodes)
	return nodes, err
}

// groupKeys is how many sessions of a group are asked for their uses.
const groupKeys = 1000

func (t *tracer) group(call, target string, recs []rec) (Group, error) {
	g := Group{Call: call, Target: target, Sessions: int64(len(recs))}
	if len(recs) == 0 {
		return g, nil
	}
	g.First, g.Last = recs[0].Time, recs[len(recs)-1].Time
	g.Partial = len(recs) > groupKeys
	var keys []string
	for _, r := range recs[:min(len(recs), groupKeys)] {
		keys = append(keys, r.gave)
	}
	u, err := t.uses(keys, true)
	g.Uses = u["all"]
	return g, err
}

// finish adds what was done, and puts the trees in order.
func (t *tracer) finish() error {
	var keys, spine []string
	for _, n := range t.order {
		if n.Key == "" {
			continue
		}
		keys = append(keys, n.Key)
		n.Uses = &Uses{}
		if !n.expanded {
			spine = append(spine, n.Key)
		}
	}
	for part := range slices.Chunk(keys, 20) {
		uses, err := t.uses(part, false)
		if err != nil {
			return err
		}
		for k, u := range uses {
			if n := t.nodes[k]; n != nil {
				n.Uses = u
			}
		}
	}
	for part := range slices.Chunk(spine, 200) {
		recs, total, err := t.children(part)
		if err != nil {
			return err
		}
		for _, r := range recs {
			if n := t.nodes[r.key]; n != nil && t.nodes[r.gave] == nil {
				n.Hidden++
			}
		}
		for k, count := range total {
			if n := t.nodes[k]; n != nil {
				n.Hidden = max(n.Hidden, count-int64(len(n.Minted)))
			}
		}
	}
	accounts := map[string]bool{}
	for _, n := range t.order {
		accounts[n.Account] = true
		if n.Origin.Event != nil {
			accounts[n.Origin.Event.Account] = true
		}
		slices.SortStableFunc(n.Minted, func(a, b *Node) int { return cmp.Or(a.began().Compare(b.began()), strings.Compare(a.Key, b.Key)) })
		slices.SortStableFunc(n.Groups, func(a, b Group) int { return a.First.Compare(b.First) })
		if n.parent == nil {
			t.report.Roots = append(t.report.Roots, n)
		}
	}
	slices.SortStableFunc(t.report.Roots, func(a, b *Node) int { return a.began().Compare(b.began()) })
	for _, c := range t.cover {
		if accounts[c.Account] || len(t.report.Roots) == 0 {
			t.report.Accounts = append(t.report.Accounts, c)
		}
	}
	slices.SortFunc(t.report.Accounts, func(a, b Coverage) int { return strings.Compare(a.Account, b.Account) })
	return nil
}

// began is when a credential was made, or else first used; an identity, when it minted its first.
func (n *Node) began() time.Time {
	switch {
	case n.Origin.Event != nil:
		return n.Origin.Event.Time
	case !n.Issued.IsZero():
		return n.Issued
	case n.Uses != nil && !n.Uses.First.IsZero():
		return n.Uses.First
	}
	var first time.Time
	for _, c := range n.Minted {
		if b := c.began(); !b.IsZero() && (first.IsZero() || b.Before(first)) {
			first = b
		}
	}
	return first
}
