package iam

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go"
)

// Caller is a principal in a call: what [Service.Authenticate] or [Service.CallerOf] found out. TLS is the front's to set.
type Caller struct {
	Principal Principal
	Token     string     // id of the token, or empty
	AccessKey string     // id of the access key, or empty
	Session   *Session   // of a temporary access key
	Address   netip.Addr // that the call came from; may be invalid
	TLS       bool
}

// Resource is what an action is done to. The zero value is the server.
type Resource struct {
	Type ResourceType `json:"type"`
	ID   string       `json:"id"` // name of a source or user, id of a token
	// Roles are those that a user is to have, where users are made and changed; policies find them in context.roles.
	Roles []Role `json:"roles,omitempty"`
}

func (r Resource) text() string {
	if r.Type == "" || r.Type == TypeServer {
		return "the server"
	}
	return strings.ToLower(string(r.Type)) + " " + r.ID
}

// Decision says whether an action is allowed, and why.
type Decision struct {
	Allowed   bool      `json:"allowed"`
	Principal Principal `json:"principal"`
	Action    Action    `json:"action"`
	Resource  Resource  `json:"resource"`
	// Policies are the ids of those that decided: permits when it is allowed, else forbids. None means that nothing permits it.
	Policies []string `json:"policies"`
	// Errors are policies that could not be evaluated. A forbid among them counts as if it applied.
	Errors []string `json:"errors,omitempty"`
	Reason string   `json:"reason"` // a sentence

	silent bool
}

// Silent reports whether it is not allowed for no other reason than that no policy permits it: what else may permit it, as the
// policy of a resource does, can.
func (d Decision) Silent() bool { return d.silent }

// Err is nil when the action is allowed, and a [*DeniedError] when it is not.
func (d Decision) Err() error {
	if d.Allowed {
		return nil
	}
	return &DeniedError{d}
}

// DeniedError is the error of a caller who may not do something.
type DeniedError struct{ Decision Decision }

// Error says who may not do what, and why.
func (e *DeniedError) Error() string { return e.Decision.Reason }

const space = "Spoor::"

func entity(typ, id string) cedar.EntityUID {
	return cedar.NewEntityUID(cedar.EntityType(space+typ), cedar.String(id))
}

// caller is how policies see who acts.
func (sn *snapshot) caller(p Principal) cedar.Entity {
	switch p.Kind {
	case KindRoot:
		return userEntity(entity("Root", RootName), p.Name, p.Roles)
	case KindRole:
		id, _, _ := strings.Cut(p.ID, ":")
		e := userEntity(entity("Assumed", sn.assumables[id].ARN()), p.Name, p.Roles)
		role, session, _ := strings.Cut(p.Name, "/")
		e.Attributes = cedar.NewRecord(cedar.RecordMap{
			"name": cedar.String(p.Name), "role": cedar.String(role), "session": cedar.String(session), "account": cedar.String(p.Account),
		})
		return e
	}
	return userEntity(entity("User", p.Name), p.Name, p.Roles)
}

// userEntity is how policies see a user.
func userEntity(uid cedar.EntityUID, name string, roles []Role) cedar.Entity {
	parents := make([]cedar.EntityUID, len(roles))
	for i, r := range roles {
		parents[i] = entity("Role", string(r))
	}
	return cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parents...), Attributes: named(name)}
}

func named(name string) cedar.Record {
	return cedar.NewRecord(cedar.RecordMap{"name": cedar.String(name)})
}

// fixedEntities are those that are always there: roles, actions and their groups.
func fixedEntities() cedar.EntityMap {
	out := cedar.EntityMap{}
	put := func(e cedar.Entity) { out[e.UID] = e }
	for _, r := range Roles() {
		put(cedar.Entity{UID: entity("Role", string(r.Role))})
	}
	for _, g := range Groups() {
		put(cedar.Entity{UID: entity("Action", string(g))})
	}
	for _, a := range actions {
		put(cedar.Entity{UID: entity("Action", string(a.Action)), Parents: cedar.NewEntityUIDSet(entity("Action", string(a.Group)))})
	}
	return out
}

// request are the entities of one call over the fixed ones.
type request struct {
	fixed cedar.EntityMap
	own   [2]cedar.Entity
}

// Get implements [cedar.EntityGetter].
func (r *request) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	for _, e := range r.own {
		if e.UID == uid {
			return e, true
		}
	}
	e, ok := r.fixed[uid]
	return e, ok
}

// Takes says whether the action can be done to a resource of a type.
func (a ActionInfo) Takes(t ResourceType) bool { return slices.Contains(a.entityTypes(), string(t)) }

// Authorize decides whether a caller may do something. A caller whose credential has been revoked, or who was deleted, may
// do nothing; the roles that count are those of now, not those of when the caller came. It asks nobody and does not block.
func (s *Service) Authorize(ctx context.Context, c Caller, a Action, r Resource) Decision {
	d := decision(c.Principal, a, r)
	if err := ctx.Err(); err != nil {
		return d.deny(err.Error())
	}
	snap := s.now()
	p, why := s.current(snap, c, s.clock())
	if why == "" {
		why = c.barred(a)
	}
	if why != "" {
		return d.deny(why)
	}
	d.Principal = p
	return s.decide(snap, c, d)
}

// Would decides whether a user, by name, or whoever assumed a role, by its ARN, might do something in a call such as c, of which
// the principal and the credential do not count. The error is [ErrNotFound].
func (s *Service) Would(name string, c Caller, a Action, r Resource) (Decision, error) {
	sn := s.now()
	p, ok := sn.principals[name]
	if role := sn.assumables[sn.idOf(name)]; role != nil && role.ARN() == name {
		p, ok = role.principal(""), true
	}
	if !ok {
		return Decision{}, fmt.Errorf("user %.200q: %w", name, ErrNotFound)
	}
	c.Token, c.AccessKey, c.Session = "", "", nil
	return s.decide(sn, c, decision(p, a, r)), nil
}

// decision is one that is not made yet.
func decision(p Principal, a Action, r Resource) Decision {
	if r.Type == "" {
		r = Resource{Type: TypeServer}
	}
	return Decision{Principal: p, Action: a, Resource: r, Policies: []string{}}
}

func (d Decision) deny(why string) Decision {
	d.Allowed = false
	d.Reason = fmt.Sprintf("%s may not %s on %s: %s", who(d.Principal), d.Action, d.Resource.text(), why)
	return d
}

// decide asks the policies.
func (s *Service) decide(snap *snapshot, c Caller, d Decision) Decision {
	p, a := d.Principal, d.Action
	info, ok := s.actions[a]
	if !ok {
		return d.deny("there is no such action")
	}
	if !info.Takes(d.Resource.Type) {
		return d.deny("it is not done to a " + strings.ToLower(string(d.Resource.Type)))
	}
	target := s.resource(snap, d.Resource)
	caller := snap.caller(p)
	facts := cedar.RecordMap{"tls": cedar.Boolean(c.TLS), "time": cedar.NewDatetime(s.clock()), "token": cedar.String(c.Token)}
	if addr := c.Address.Unmap().WithZone(""); addr.IsValid() {
		facts["address"] = cedar.IPAddr(netip.PrefixFrom(addr, addr.BitLen()))
	}
	if c.AccessKey != "" {
		facts["accessKey"] = cedar.String(c.AccessKey)
	}
	if c.Session != nil {
		facts["issued"] = cedar.NewDatetime(c.Session.Issued)
	}
	if d.Resource.Roles != nil {
		roles := make([]cedar.Value, len(d.Resource.Roles))
		for i, r := range d.Resource.Roles {
			roles[i] = cedar.String(r)
		}
		facts["roles"] = cedar.NewSet(roles...)
	}
	req := &request{fixed: s.fixed, own: [2]cedar.Entity{caller, target}}
	set := s.policies.Load().set
	decision, diag := cedar.Authorize(set, req, cedar.Request{
		Principal: caller.UID, Action: entity("Action", string(a)), Resource: target.UID, Context: cedar.NewRecord(facts),
	})
	d.Allowed = decision == cedar.Allow
	for _, e := range diag.Errors {
		d.Errors = append(d.Errors, fmt.Sprintf("%s: %s", e.PolicyID, e.Message))
		if policy := set.Get(e.PolicyID); policy == nil || policy.Effect() == cedar.Forbid {
			d.Allowed = false
			d.Policies = append(d.Policies, string(e.PolicyID))
		}
	}
	failed := len(d.Policies) > 0
	if !failed || decision == cedar.Deny {
		for _, r := range diag.Reasons {
			d.Policies = append(d.Policies, string(r.PolicyID))
		}
	}
	slices.Sort(d.Policies)
	switch list := strings.Join(d.Policies, ", "); {
	case d.Allowed:
		d.Reason = fmt.Sprintf("%s may %s on %s: permitted by %s", who(p), a, d.Resource.text(), list)
	case failed:
		return d.deny("a policy that forbids could not be evaluated: " + strings.Join(d.Errors, "; "))
	case len(d.Policies) > 0:
		return d.deny("forbidden by " + list)
	default:
		d.silent = true
		return d.deny("no policy permits it")
	}
	return d
}

func who(p Principal) string {
	what := "user " + p.Name
	switch {
	case p.Kind == KindRoot:
		return "root"
	case p.Name == "":
		return "nobody"
	case p.Kind == KindRole:
		role, session, _ := strings.Cut(p.Name, "/")
		if what = "role " + role; session != "" {
			what += ", session " + session
		}
	}
	if len(p.Roles) == 0 {
		return what + " (no role)"
	}
	roles := make([]string, len(p.Roles))
	for i, r := range p.Roles {
		roles[i] = string(r)
	}
	return what + " (" + strings.Join(roles, ", ") + ")"
}

// current gives the principal of a caller as it is now, or why the caller is none any more.
func (s *Service) current(sn *snapshot, c Caller, now time.Time) (Principal, string) {
	var p Principal
	if c.Session != nil {
		var why string
		if p, _, why = s.session(sn, c.Session.origin, c.Session.chain, c.Session.Name, now); why != "" {
			return Principal{}, why
		}
		if !now.Before(c.Session.Expires) {
			return Principal{}, "the session is expired"
		}
	} else {
		p = sn.principals[c.Principal.Name]
	}
	if p.ID == "" || p.ID != c.Principal.ID || p.Kind != c.Principal.Kind || p.Name != c.Principal.Name {
		return Principal{}, "the principal is not there any more"
	}
	if c.Session != nil {
		return p, ""
	}
	id, typ, what := c.Token, typeToken, "the token"
	if c.AccessKey != "" {
		id, typ, what = c.AccessKey, typeAccessKey, "the access key"
	}
	cred, ok := sn.credentials[id]
	if !ok || cred.User != p.Name || cred.Type != typ {
		return Principal{}, what + " is not there any more"
	}
	if st := cred.status(now); st != StatusActive {
		return Principal{}, what + " is " + string(st)
	}
	return p, ""
}

// owner is the name of whose credential it is, empty when it is not there.
func (sn *snapshot) owner(typ, id string) cedar.Entity {
	name := ""
	if c, ok := sn.credentials[id]; ok && c.Type == typ {
		name = c.User
	}
	e := cedar.Entity{UID: entity("Token", id), Attributes: cedar.NewRecord(cedar.RecordMap{"owner": cedar.String(name)})}
	if typ == typeAccessKey {
		e.UID = entity("AccessKey", id)
	}
	return e
}

// resource gives the entity of a resource.
func (s *Service) resource(sn *snapshot, r Resource) cedar.Entity {
	switch r.Type {
	case TypeUser:
		if r.ID == RootName {
			return userEntity(entity("Root", RootName), RootName, nil)
		}
		return userEntity(entity("User", r.ID), r.ID, sn.principals[r.ID].Roles)
	case TypeToken:
		return sn.owner(typeToken, r.ID)
	case TypeAccessKey:
		return sn.owner(typeAccessKey, r.ID)
	case TypeSource:
		return cedar.Entity{UID: entity("Source", r.ID), Attributes: named(r.ID)}
	case TypeAssumable:
		arn, ok := parseARN(r.ID)
		if !ok {
			role, there := sn.named[assumableKey(s.opts.Account, r.ID)]
			if !there {
				role = &assumable{Assumable: Assumable{Name: r.ID, Account: s.opts.Account, Path: "/"}}
			}
			r.ID, arn = role.ARN(), arnParts{account: role.Account, name: role.Name}
		}
		return cedar.Entity{UID: entity("Assumable", r.ID), Attributes: cedar.NewRecord(cedar.RecordMap{
			"name": cedar.String(arn.last()), "account": cedar.String(arn.account),
		})}
	case TypeResource:
		a, _ := parseARN(r.ID)
		return cedar.Entity{UID: entity("Resource", r.ID), Attributes: cedar.NewRecord(cedar.RecordMap{
			"service": cedar.String(a.service), "region": cedar.String(a.region), "account": cedar.String(a.account),
			"kind": cedar.String(a.kind), "name": cedar.String(a.name),
		})}
	}
	return cedar.Entity{UID: entity("Server", "spoor"), Attributes: named("")}
}
