package lineage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// How far the record of a call may lie from the beginning of the session that it gave. Sign-ins come before, as a person
// types; the others are of the same moment, but for clocks.
const (
	nearBefore   = 2 * time.Minute
	signInBefore = 15 * time.Minute
	nearAfter    = 2 * time.Minute
)

// call is one call with its records in several accounts.
type call struct {
	rec     // the record that tells most about the caller
	copies  []Event
	callers []string // keys that its records name as the caller's
}

// merge puts records of one call together.
func merge(recs []rec) []call {
	var out []call
	for _, r := range recs {
		at := slices.IndexFunc(out, func(c call) bool {
			return c.shared != "" && c.shared == r.shared || c.request != "" && c.request == r.request && c.Name == r.Name || c.ID == r.ID
		})
		if at < 0 {
			out = append(out, call{rec: r})
			at = len(out) - 1
		} else {
			c := &out[at]
			if tells(r) > tells(c.rec) {
				c.rec, r = r, c.rec
			}
			if c.ID != r.ID {
				c.copies = append(c.copies, r.Event)
			}
		}
		if k := cmp.Or(out[at].key, r.key); k != "" && !slices.Contains(out[at].callers, k) {
			out[at].callers = append(out[at].callers, k)
		}
	}
	return out
}

// tells is how much a record says about its caller.
func tells(r rec) int {
	switch {
	case r.key != "":
		return 3
	case r.who.ARN != "":
		return 2
	case r.who.Type != "AWSAccount":
		return 1
	}
	return 0
}

// link says where n comes from, given the records of calls that name its key in their answer.
func (t *tracer) link(n *Node, minted []rec) error {
	if n.linked {
		return nil
	}
	n.linked = true
	calls := merge(minted)
	switch len(calls) {
	case 0:
	case 1:
		c := calls[0]
		n.named(c.rec)
		return t.tie(n, c, Proven, "its answer names the key")
	default:
		n.named(calls[0].rec)
		t.several(n, calls, func(call) string { return "its answer names the key" })
		return nil
	}
	if n.Kind != Session {
		return t.unknownKey(n)
	}
	calls, evidence, err := t.candidates(n)
	if err != nil {
		return err
	}
	switch len(calls) {
	case 0:
		return t.unknownSession(n)
	case 1:
		return t.tie(n, calls[0], Matched, evidence(calls[0]))
	}
	t.several(n, calls, evidence)
	return nil
}

// named takes from the call what uses of the credential would tell, when there are none.
func (n *Node) named(r rec) {
	if n.SourceIdentity == "" {
		n.SourceIdentity = r.set
	}
	if n.Type != "" {
		return
	}
	switch {
	case r.Name == "CreateAccessKey" || r.Name == "CreateServiceSpecificCredential":
		user := cmp.Or(r.user, r.who.Actor)
		n.Who = Who{Type: "IAMUser", Account: r.Account, Actor: user, ActorKind: "user", ARN: "arn:aws:iam::" + r.Account + ":user/" + user}
		n.ActorID = n.ARN
	case r.role != "" || r.assumed != "":
		n.Who = Who{Type: "AssumedRole", ARN: r.assumed, Account: cmp.Or(accountOf(r.assumed), accountOf(r.role), r.Account), Actor: last(r.role), ActorID: r.role, ActorKind: "role", Name: cmp.Or(r.session, last(r.assumed))}
		n.role = r.role
		if n.Actor == "" {
			_, rest, _ := strings.Cut(r.assumed, ":assumed-role/")
			n.Actor, _, _ = strings.Cut(rest, "/")
		}
	case r.Name == "GetFederationToken":
		n.Who = Who{Type: "FederatedUser", Account: r.Account, Actor: r.session, ActorKind: "federated"}
	default:
		n.Who = r.who
	}
	if n.Kind == Session {
		n.Issued = r.Time
	}
}

// tie links n to the call that minted it, and to the caller.
func (t *tracer) tie(n *Node, c call, how Certainty, evidence string) error {
	ev := c.Event
	n.Origin = Link{Certainty: how, Event: &ev, Copies: c.copies, Evidence: evidence}
	if how == Matched && c.signIn() {
		if err := t.noteSignIn(n, c.rec); err != nil {
			return err
		}
	}
	if n.ActorKind == "instance" {
		if err := t.noteInstance(n); err != nil {
			return err
		}
	}
	switch {
	case len(c.callers) > 1:
		n.Origin.Text = "its records in different accounts name different keys of the caller"
		fallthrough
	case len(c.callers) == 1 && c.callers[0] != n.Key:
		n.parentKey = c.callers[0]
		return nil
	case len(c.callers) == 1:
		n.unlink(ReasonCycle, "the record says that the key minted itself; no true record does")
		return nil
	case c.Name == "SwitchRole" && c.from != "":
		p := t.identity(rec{Event: c.Event, who: Who{ARN: c.from, Account: accountOf(c.from), Actor: last(c.from), ActorID: c.from}})
		p.Origin = Link{Certainty: Unknown, Reason: ReasonNoKey, Text: "the record of the switch names the session before it by its ARN alone"}
		t.adopt(p, n)
		return nil
	case c.who.Type == "AWSAccount" && c.who.ActorKind != "service":
		return t.foreign(n, c)
	}
	p := t.identity(c.rec)
	t.adopt(p, n)
	if p.ActorKind == "user" && len(p.Notes) == 0 {
		return t.noteUser(p)
	}
	return nil
}

func (t *tracer) adopt(p, n *Node) {
	n.parent = p
	p.Minted = append(p.Minted, n)
}

// several leaves n without a parent, as more than one call fits.
func (t *tracer) several(n *Node, calls []call, evidence func(call) string) {
	n.Origin = Link{Certainty: Ambiguous, Reason: ReasonSeveral, Text: fmt.Sprintf("%d calls fit, and the records do not tell which it was", len(calls))}
	for i, c := range calls {
		if i == 10 {
			n.Origin.More = len(calls) - i
			break
		}
		n.Origin.Candidates = append(n.Origin.Candidates, Candidate{Event: c.Event, Key: c.key, Who: c.who, Evidence: evidence(c)})
	}
}

// foreign finds the caller of a call of which only the record of the role's account names the session.
func (t *tracer) foreign(n *Node, c call) error {
	if c.shared != "" {
		var p params
		v := p.add(c.shared)
		recs, err := t.recs("other records of a call", `SELECT `+recColumns+` FROM events WHERE sharedEventID = `+v+` AND accessKeyId <> '' AND `+p.around(c.Time.Add(-time.Hour), c.Time.Add(time.Hour))+` ORDER BY eventTime LIMIT 10`, p, 10)
		if err != nil {
			return err
		}
		for _, r := range recs {
			if r.key != n.Key {
				n.Origin.Copies = append(n.Origin.Copies, r.Event)
				n.Origin.Evidence += "; the caller is told by the record of the same call (sharedEventID) in account " + r.Account
				n.parentKey = r.key
				return nil
			}
		}
	}
	p := t.identity(c.rec)
	t.adopt(p, n)
	if p.Origin.Certainty != Beginning {
		return nil // asked before
	}
	var callers []rec
	if c.who.Principal != "" {
		var ps params
		v := ps.add(c.who.Principal)
		var err error
		callers, err = t.recs("keys of the caller", `SELECT `+recColumns+` FROM events WHERE userIdentity.principalId = `+v+` AND accessKeyId <> '' AND `+ps.around(c.Time.Add(-12*time.Hour), c.Time.Add(12*time.Hour))+
			` QUALIFY row_number() OVER (PARTITION BY accessKeyId ORDER BY eventTime, eventID) = 1 ORDER BY eventTime LIMIT 50`, ps, 50)
		if err != nil {
			return err
		}
		// A session that began later, or a caller without use before and after, did not do it.
		callers = slices.DeleteFunc(callers, func(r rec) bool { return r.key == n.Key || r.issued.After(c.Time.Add(nearAfter)) })
	}
	where := "account " + c.who.Account
	if len(callers) > 0 {
		p.Origin = Link{Certainty: Ambiguous, Reason: ReasonSeveral,
			Text: "the record of the call in the caller's account is not in the data; " + plural(len(callers), "key") + " of the caller in use then may have made it"}
		for i, r := range callers {
			if i == 10 {
				p.Origin.More = len(callers) - i
				break
			}
			p.Origin.Candidates = append(p.Origin.Candidates, Candidate{Event: r.Event, Key: r.key, Who: r.who, Evidence: "a use of the key by the same principal id"})
		}
		return nil
	}
	if _, ok := t.cover[c.who.Account]; ok {
		p.Origin = Link{Certainty: Unknown, Reason: ReasonNotInData, Text: "the caller is of " + where + ", of which the data have events, but neither its record of the call nor a key of the caller"}
		return nil
	}
	p.Origin = Link{Certainty: Unknown, Reason: ReasonOtherAccount, Text: "the caller is of " + where + ", of which the data have nothing: its trail knows who that was"}
	return nil
}

func (c call) signIn() bool {
	return c.Source == "signin.amazonaws.com" || c.Name == "GetSigninToken"
}

// candidates finds calls that may have given a session whose key no answer names.
func (t *tracer) candidates(n *Node) ([]call, func(call) string, error) {
	r := t.first[n.Key]
	at := n.Issued
	if at.IsZero() {
		return nil, nil, nil
	}
	var p params
	when := p.around(at.Add(-signInBefore), at.Add(nearAfter))
	arn, role, session := p.add(n.ARN), p.add(n.role), p.add(n.Name)
	sql := `SELECT ` + mintColumns + ` FROM events WHERE ` + when + ` AND NOT failed AND (
		eventName IN (` + mintCalls + `) AND (json_extract_scalar(responseElements, '$.assumedRoleUser.arn') = ` + arn + `
			OR json_extract_scalar(requestParameters, '$.roleArn') = ` + role + ` AND json_extract_scalar(requestParameters, '$.roleSessionName') = ` + session + `
			OR json_extract_scalar(requestParameters, '$.roleArn') = ` + role + ` AND eventName = 'AssumeRoleWithSAML'
			OR userIdentity.arn = ` + arn + ` OR userIdentity.arn = ` + role + `)
		OR eventName IN (` + signCalls + `) AND userIdentity.arn = ` + arn + `
		OR eventSource = 'sso.amazonaws.com' AND eventName IN (` + ssoCalls + `))
	ORDER BY eventTime, eventID LIMIT 500`
	recs, err := t.recs("calls that may have given a session", sql, p, 500)
	if err != nil {
		return nil, nil, err
	}
	recs = slices.DeleteFunc(recs, func(c rec) bool { return !fits(n, r, c, at) })
	calls := merge(recs)
	// A caller that is known by its key tells more than the sign-in that it led to.
	if slices.ContainsFunc(calls, func(c call) bool { return c.key != "" }) {
		calls = slices.DeleteFunc(calls, func(c call) bool { return c.key == "" })
	}
	// One sign-in has several records.
	calls = sameSignIn(calls)
	return calls, func(c call) string {
		d := at.Sub(c.Time).Round(time.Second)
		switch {
		case d == 0:
			return "same identity, and the session began when it was called"
		case d < 0:
			return fmt.Sprintf("same identity, and the session began %s before it was recorded", -d)
		}
		return fmt.Sprintf("same identity, and the session began %s after it", d)
	}, nil
}

// fits reports whether c may have given the session n, whose first use is r and which began at at.
func fits(n *Node, r, c rec, at time.Time) bool {
	if c.gave != "" && c.gave != n.Key && !n.Console {
		return false // it gave another one
	}
	near := c.Time.After(at.Add(-nearBefore)) // and not later than nearAfter, as asked for
	arn := n.ARN != "" && c.assumed == n.ARN
	switch c.Name {
	case "AssumeRole", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity":
		role := n.role != "" && c.role == n.role
		return near && n.Type == "AssumedRole" && (arn || role && (c.session == n.Name || c.session == "" && c.Name == "AssumeRoleWithSAML" && c.assumed == ""))
	case "GetSessionToken":
		return near && c.who.ARN == n.ARN && (n.Type == "IAMUser" || n.Type == "Root")
	case "GetFederationToken":
		return near && n.Type == "FederatedUser" && c.session == last(n.ARN) && c.who.ARN == n.role
	case "GetRoleCredentials", "Federate":
		set := permissionSet(n.role)
		return set != "" && near && c.ssoAcct == n.Account && c.ssoRole == set && (c.who.Actor == "" || strings.EqualFold(c.who.Actor, n.Name) || c.who.Type == "IdentityCenterUser")
	case "ConsoleLogin", "SwitchRole", "GetSigninToken", "UserAuthentication", "CreateOAuth2Token", "AuthorizeOAuth2Access":
		return c.who.ARN == n.ARN && n.ARN != ""
	}
	return false
}

// sameSignIn takes records of one sign-in, within two minutes and by nobody's key, as one call.
func sameSignIn(calls []call) []call {
	var out []call
	for _, c := range calls {
		if i := len(out) - 1; i >= 0 && c.key == "" && out[i].key == "" && c.signIn() && out[i].signIn() && c.Name != out[i].Name && c.Time.Sub(out[i].Time) < nearBefore {
			out[i].copies = append(out[i].copies, c.Event)
			continue
		}
		out = append(out, c)
	}
	return out
}

// unknownKey says why no call is known that made a long-term key.
func (t *tracer) unknownKey(n *Node) error {
	if n.Kind == Bearer && n.ActorKind == "person" {
		n.Origin = Link{Certainty: Beginning, Text: "signed in at Identity Center; the token is named by its credential id"}
		return nil
	}
	n.Origin = Link{Certainty: Unknown}
	c, ok := t.cover[n.account]
	making := "CreateAccessKey"
	if n.Kind == Bearer {
		making = "call that gave it"
	}
	switch {
	case !ok:
		n.Origin.Reason = ReasonOtherAccount
		n.Origin.Text = "the data have nothing recorded in account " + cmp.Or(n.account, "of its user") + ", where its making is logged"
	default:
		n.Origin.Reason = ReasonBeforeData
		n.Origin.Text = fmt.Sprintf("no %s for it in the data of account %s, which begin %s: it is probably older", making, n.account, clock(c.First))
	}
	if err := t.noteUser(n); err != nil {
		return err
	}
	for _, note := range n.Notes {
		if note.Event != nil && note.Event.Name == "CreateUser" {
			n.Origin.Reason = ReasonNotInData
			n.Origin.Text = "its user was made within the data, so its key was, too; but no " + making + " is recorded"
		}
	}
	return nil
}

// unknownSession says why no call is known that gave a session.
func (t *tracer) unknownSession(n *Node) error {
	r := t.first[n.Key]
	n.Origin = Link{Certainty: Unknown}
	c, covered := t.cover[n.account]
	service := serviceBehind(n, r)
	if n.ActorKind == "instance" {
		if err := t.noteInstance(n); err != nil {
			return err
		}
	}
	set := func(why Reason, format string, args ...any) error {
		n.Origin.Reason, n.Origin.Text = why, fmt.Sprintf(format, args...)
		return nil
	}
	switch {
	case !covered:
		return set(ReasonOtherAccount, "the data have nothing recorded in account %s, where the call is logged that gave it", cmp.Or(n.account, "of the session"))
	case !n.Issued.IsZero() && n.Issued.Before(c.First):
		return set(ReasonBeforeData, "the session began %s, before the data of account %s begin (%s)", clock(n.Issued), n.account, clock(c.First))
	case service != "":
		return set(ReasonService, "%s, and no such call is in the data: CloudTrail does not log all of them", service)
	case n.Console || n.Type == "IAMUser" && r.mfa != "" || n.Type == "Root":
		if err := set(ReasonNoSignIn, "no sign-in and no call for it in the data about %s; sign-ins are logged in the Region where they were made, often us-east-1", clock(n.Issued)); err != nil {
			return err
		}
		return t.noteUser(n)
	case n.Issued.IsZero():
		return set(ReasonNotInData, "no call in the data gave it, and its records do not say when it began")
	}
	set(ReasonNotInData, "the data of account %s cover %s, but have no call that gave it: the trail may leave out that Region or STS, or was off", n.account, clock(n.Issued)) //nolint:errcheck // always nil
	return t.noteTrail(n)
}

// serviceBehind says which service hands out such a session, or "".
func serviceBehind(n *Node, r rec) string {
	switch {
	case n.ActorKind == "instance":
		return "EC2 gives the instance its credentials"
	case strings.Contains(r.scope, ":function:") || n.ActorKind == "function":
		return "Lambda gives the function its credentials"
	case r.scope != "":
		return "an AWS service gives " + r.scope + " its credentials"
	case r.delivery != "":
		return "EC2 gives an instance these credentials"
	case strings.Contains(n.role, ":role/aws-service-role/"), n.ActorKind == "service":
		return "an AWS service took its own role"
	case r.invoked != "":
		return "the service " + r.invoked + " acted with it"
	}
	return ""
}

// noteUser tells who made a user and set its password.
func (t *tracer) noteUser(n *Node) error {
	user := n.Actor
	if n.ActorKind != "user" || user == "" || n.Account == "" {
		return nil
	}
	var p params
	recs, err := t.fetch("who made a user", mintColumns, `eventSource = 'iam.amazonaws.com' AND eventName IN ('CreateUser', 'CreateLoginProfile', 'UpdateLoginProfile') AND errorCode IS NULL AND account = `+p.add(n.Account), p)
	if err != nil {
		return err
	}
	recs = slices.DeleteFunc(recs, func(r rec) bool { return r.user != user })
	recs = recs[max(0, len(recs)-5):] // the last ones
	for _, r := range recs {
		what := map[string]string{"CreateUser": "user made", "CreateLoginProfile": "password set", "UpdateLoginProfile": "password changed"}[r.Name]
		n.note(what+" by "+r.who.Actor, r)
	}
	return nil
}

func (n *Node) note(text string, r rec) {
	ev := r.Event
	n.Notes = append(n.Notes, Note{Text: text, Event: &ev, Key: r.key})
}

// noteInstance tells who started an instance.
func (t *tracer) noteInstance(n *Node) error {
	if len(n.Notes) > 0 || n.Name == "" {
		return nil
	}
	var p params
	recs, err := t.recs("who started an instance", `SELECT `+recColumns+` FROM events WHERE eventName = 'RunInstances' AND errorCode IS NULL AND contains(CAST(responseElements AS varchar), `+p.add(`"`+n.Name+`"`)+`) ORDER BY eventTime LIMIT 1`, p, 1)
	if err != nil || len(recs) == 0 {
		return err
	}
	n.note("instance started by "+recs[0].who.Actor, recs[0])
	return nil
}

// noteSignIn tells how often a sign-in failed before the one that began n.
func (t *tracer) noteSignIn(n *Node, login rec) error {
	if login.Name != "ConsoleLogin" || login.who.ARN == "" {
		return nil
	}
	var p params
	rows, err := t.rows("failed sign-ins", `SELECT count(*), arg_max(left(sourceIPAddress, `+longest+`), eventTime), count(DISTINCT sourceIPAddress) FROM events WHERE eventName = 'ConsoleLogin' AND failed AND userIdentity.arn = `+p.add(login.who.ARN)+
		` AND `+p.around(login.Time.Add(-24*time.Hour), login.Time), p, 1)
	if err != nil || len(rows) == 0 || number(rows[0][0]) == 0 {
		return err
	}
	from := rows[0][1]
	if number(rows[0][2]) > 1 {
		from = rows[0][2] + " addresses"
	}
	n.Notes = append(n.Notes, Note{Text: plural(int(number(rows[0][0])), "failed sign-in") + " in the 24 hours before, from " + from})
	return nil
}

// noteTrail tells what was done to trails in the account in the day before a session began.
func (t *tracer) noteTrail(n *Node) error {
	var p params
	recs, err := t.recs("what became of trails", `SELECT `+recColumns+` FROM events WHERE eventSource = 'cloudtrail.amazonaws.com' AND eventName IN ('StopLogging', 'DeleteTrail', 'PutEventSelectors', 'UpdateTrail') AND errorCode IS NULL
		AND account = `+p.add(n.account)+` AND `+p.around(n.Issued.Add(-24*time.Hour), n.Issued)+` ORDER BY eventTime DESC LIMIT 1`, p, 1)
	if err != nil || len(recs) == 0 {
		return err
	}
	n.note(recs[0].Name+" by "+recs[0].who.Actor, recs[0])
	return nil
}

// clock writes a time for people.
func clock(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// accountOf is the account of an ARN.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return ""
	}
	return parts[4]
}

// last is the last part of an ARN's resource.
func last(arn string) string { return arn[strings.LastIndexAny(arn, "/:")+1:] }
