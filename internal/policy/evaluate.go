package policy

import (
	"slices"
	"strings"
)

// Evaluate says what the document has to say of a request, and which statement says it: its Sid, or its number from 1. A Deny
// counts before an Allow, and that before a Delegate. No document says nothing. What conditions may ask of the principal is filled
// in from it.
func (d *Document) Evaluate(r Request) (Effect, string) {
	if d == nil {
		return None, ""
	}
	values := r.values()
	found, by := None, ""
	for i := range d.statements {
		st := &d.statements[i]
		e := st.effect(r, values)
		if e == Deny {
			return Deny, st.name
		}
		if e == Allow && found != Allow || e == Delegate && found == None {
			found, by = e, st.name
		}
	}
	return found, by
}

// values are those of conditions by keys in small letters.
func (r Request) values() map[string][]string {
	out := make(map[string][]string, len(r.Conditions)+6)
	for k, v := range r.Conditions {
		k = strings.ToLower(k)
		out[k] = append(out[k], v...)
	}
	for k, v := range r.Principal.values() {
		out[k] = []string{v}
	}
	return out
}

// values are what conditions may ask of a principal.
func (p Principal) values() map[string]string {
	out := map[string]string{"aws:principaltype": p.kind(), "aws:principalisawsservice": "false"}
	put := func(k, v string) {
		if v != "" {
			out[k] = v
		}
	}
	if p.Service != "" {
		out["aws:principalisawsservice"] = "true"
		put("aws:principalservicename", p.Service)
		delete(out, "aws:principaltype")
		return out
	}
	if p.Anonymous {
		return out
	}
	arn := p.ARN
	if p.RoleARN != "" {
		arn = p.RoleARN
	}
	put("aws:principalarn", arn)
	put("aws:principalaccount", p.Account)
	put("aws:userid", p.UserID)
	put("aws:username", p.UserName)
	return out
}

func (p Principal) kind() string {
	switch {
	case p.Anonymous:
		return "Anonymous"
	case p.root():
		return "Account"
	case p.RoleARN != "":
		return "AssumedRole"
	}
	return "User"
}

// root reports whether it is the root of its account, who is the account.
func (p Principal) root() bool {
	m := rootARN.FindStringSubmatch(p.ARN)
	return m != nil && m[1] == p.Account
}

func (st *statement) effect(r Request, values map[string][]string) Effect {
	e := st.concerns(r.Principal)
	if e == None || anyMatches(st.actions, strings.ToLower(r.Action)) == st.notAction || !st.on(r.Resource, values) || !st.conditions.Hold(values, !st.allow) {
		return None
	}
	if !st.allow {
		return Deny
	}
	return e
}

func anyMatches(list []pattern, text string) bool {
	return slices.ContainsFunc(list, func(p pattern) bool { return like(p.parts[0].text, text, anyText, anyChar) })
}

// on reports whether the statement is about a resource. A variable without a value names nothing, and never widens what is allowed.
func (st *statement) on(resource string, values map[string][]string) bool {
	for i := range st.resources {
		want, ok := st.resources[i].expand(values)
		if !ok && st.notOn && st.allow {
			return false
		}
		if ok && likeARN(want, resource) {
			return !st.notOn
		}
	}
	return st.notOn
}

// concerns says what a statement that allows does for a principal: Allow, Delegate, or None where it is about others.
func (st *statement) concerns(p Principal) Effect {
	switch {
	case !st.notWho:
		return st.who.names(p)
	case st.allow && st.who.names(p) != None:
		return None
	case !st.allow && st.who.names(p.alone()) == Allow:
		return None
	}
	return Allow
}

// alone is a principal whom only what names himself means: not his role. From a Deny he is left out by that alone, as AWS has it.
func (p Principal) alone() Principal {
	p.RoleARN = ""
	return p
}

func (who *principals) names(p Principal) Effect {
	if who.everybody {
		return Allow
	}
	switch {
	case p.Anonymous:
		return None
	case p.Service != "":
		if slices.Contains(who.services, p.Service) {
			return Allow
		}
		return None
	}
	id, _, _ := strings.Cut(p.UserID, ":")
	if slices.Contains(who.named, p.ARN) || p.RoleARN != "" && slices.Contains(who.named, p.RoleARN) || id != "" && slices.Contains(who.ids, id) {
		return Allow
	}
	if p.Account != "" && slices.Contains(who.accounts, p.Account) {
		if p.root() {
			return Allow
		}
		return Delegate
	}
	return None
}
