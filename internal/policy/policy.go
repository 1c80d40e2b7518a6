// Package policy is AWS's policy documents as resources have them: those of buckets, keys, topics, event data stores and channels.
// They are parsed strictly, since a condition that is not understood may be what keeps somebody out, and evaluated for one request
// at a time. The semantics are those of the IAM reference; docs/kms.md says which keys of conditions requests give.
//
// The parts of which such documents are made, [ReadJSON], [Texts] and [ParseConditions], are here for trust documents too.
package policy

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Principal is who asks.
type Principal struct {
	ARN       string // of the user, or of the assumed role's session
	RoleARN   string // of the role behind a session
	Account   string
	UserID    string
	UserName  string
	Service   string // such as cloudtrail.amazonaws.com, for a service that asks on its own
	Anonymous bool
}

// Request is what a principal wants to do.
type Request struct {
	Principal  Principal
	Action     string              // such as s3:PutObject
	Resource   string              // ARN
	Conditions map[string][]string // values of condition keys, such as aws:SourceArn; keys compare without case
}

// Effect is what a document says of a request.
type Effect uint8

// The effects.
const (
	None Effect = iota // nothing: it is for others to decide
	Allow
	Delegate // an account is allowed, not the principal: policies of the account decide
	Deny
)

// String names the effect.
func (e Effect) String() string { return [...]string{"none", "allow", "delegate", "deny"}[e&3] }

// Document is a parsed policy. It is immutable.
type Document struct {
	text       []byte
	statements []statement
}

// statement is one that was understood in every detail.
type statement struct {
	name       string // Sid, or number from 1
	allow      bool
	who        principals
	notWho     bool
	actions    []pattern
	notAction  bool
	resources  []pattern
	notOn      bool
	conditions Conditions
}

// principals are those that a statement names.
type principals struct {
	everybody bool
	accounts  []string
	named     []string // ARNs of users, roles and sessions
	ids       []string // unique ids of users and roles
	services  []string
}

// Error is what is wrong with a document.
type Error struct {
	Place  string // such as Statement[0].Action; empty for the document as a whole
	Reason string
}

// Error tells place and reason.
func (e *Error) Error() string {
	if e.Place == "" {
		return e.Reason
	}
	return e.Place + ": " + e.Reason
}

func wrong(place, format string, a ...any) error {
	return &Error{place, fmt.Sprintf(format, a...)}
}

// form is what documents of a service may say.
type form struct {
	service  string
	prefixes []string // of actions and of keys of conditions
	most     int      // bytes
}

// The limits are those of the services.
func formOf(service string) (form, bool) {
	for _, f := range []form{
		{"s3", []string{"s3"}, 20 << 10},
		{"kms", []string{"kms"}, 32 << 10},
		{"sns", []string{"sns"}, 30 << 10},
		{"cloudtrail", []string{"cloudtrail", "cloudtrail-data"}, 8 << 10},
	} {
		if f.service == service {
			return f, true
		}
	}
	return form{}, false
}

// maxNesting is that of a document whose every member is a list.
const maxNesting = 6

// Parse parses a document for the resources of a service: s3, kms, sns or cloudtrail. Errors name statement, member and reason;
// those of the document are an *[Error].
func Parse(service string, text []byte) (*Document, error) {
	f, ok := formOf(service)
	if !ok {
		return nil, fmt.Errorf("parse a policy: no resource of service %q has one", service)
	}
	v, err := ReadJSON(text, f.most, maxNesting)
	if err != nil {
		return nil, err
	}
	doc, ok := v.([]Member)
	if !ok {
		return nil, wrong("", "want an object with Version and Statement")
	}
	d := &Document{text: bytes.Clone(text)}
	var list []any
	var one, variables bool
	for _, m := range doc {
		switch m.Name {
		case "Version":
			if m.Value != "2012-10-17" && m.Value != "2008-10-17" {
				return nil, wrong("Version", "want 2012-10-17 or 2008-10-17")
			}
			variables = m.Value == "2012-10-17"
		case "Id":
			if _, ok := m.Value.(string); !ok {
				return nil, wrong("Id", "want text")
			}
		case "Statement":
			var many bool
			if list, many = m.Value.([]any); !many {
				list, one = []any{m.Value}, true
			}
		default:
			return nil, wrong(Under("", m.Name), "want Version, Id or Statement")
		}
	}
	if len(list) == 0 {
		return nil, wrong("", "it has no Statement")
	}
	sids := map[string]bool{}
	for i, v := range list {
		place := fmt.Sprintf("Statement[%d]", i)
		if one {
			place = "Statement"
		}
		st, err := f.statement(place, v, variables)
		if err != nil {
			return nil, err
		}
		switch {
		case st.name == "":
			st.name = fmt.Sprint(i + 1)
		case sids[st.name]:
			return nil, wrong(place+".Sid", "%.80q is there twice", st.name)
		default:
			sids[st.name] = true
		}
		d.statements = append(d.statements, st)
	}
	return d, nil
}

// Text is the document as it was given.
func (d *Document) Text() []byte { return bytes.Clone(d.text) }

func (f form) statement(place string, v any, variables bool) (st statement, err error) {
	members, ok := v.([]Member)
	if !ok {
		return st, wrong(place, "want an object")
	}
	seen := map[string]bool{}
	var who any
	var whoAt string
	for _, m := range members {
		at := Under(place, m.Name)
		seen[strings.TrimPrefix(m.Name, "Not")] = true
		switch m.Name {
		case "Sid":
			sid, ok := m.Value.(string)
			if !ok {
				return st, wrong(at, "want text")
			}
			st.name = sid
		case "Effect":
			if m.Value != "Allow" && m.Value != "Deny" {
				return st, wrong(at, "want Allow or Deny")
			}
			st.allow = m.Value == "Allow"
		case "Principal", "NotPrincipal":
			if who != nil {
				return st, wrong(at, "Principal and NotPrincipal exclude one another")
			}
			who, whoAt, st.notWho = m.Value, at, m.Name == "NotPrincipal"
			if who == nil {
				return st, wrong(at, `want "*" or an object`)
			}
		case "Action", "NotAction":
			if st.actions != nil {
				return st, wrong(at, "Action and NotAction exclude one another")
			}
			st.actions, err = f.actions(at, m.Value)
			st.notAction = m.Name == "NotAction"
		case "Resource", "NotResource":
			if st.resources != nil {
				return st, wrong(at, "Resource and NotResource exclude one another")
			}
			st.resources, err = f.resources(at, m.Value, variables)
			st.notOn = m.Name == "NotResource"
		case "Condition":
			st.conditions, err = ParseConditions(at, m.Value, ConditionForm{Key: f.key, Sets: true, Variables: variables})
		default:
			return st, wrong(at, "want Sid, Effect, Principal, Action, Resource, Condition, or one of them with Not before it")
		}
		if err != nil {
			return st, err
		}
	}
	for _, name := range []string{"Effect", "Principal", "Action", "Resource"} {
		if !seen[name] {
			return st, wrong(place, "it has no %s", name)
		}
	}
	// Whom nobody here can be is harmless where it can only keep out more.
	st.who, err = f.principals(whoAt, who, st.allow != st.notWho)
	return st, err
}

// The forms of principals. Ids are those that AWS puts in the place of users and roles that were deleted.
var (
	accountID      = regexp.MustCompile(`^[0-9]{12}$`)
	rootARN        = regexp.MustCompile(`^arn:aws[a-z-]*:iam::([0-9]{12}):root$`)
	namedARN       = regexp.MustCompile(`^arn:aws[a-z-]*:(iam::[0-9]{12}:(user|role)/([!-~]{1,510}/)?|sts::[0-9]{12}:assumed-role/[A-Za-z0-9+=,.@_-]{1,64}/)[A-Za-z0-9+=,.@_-]{1,64}$`)
	uniqueID       = regexp.MustCompile(`^(AIDA|AROA)[A-Z0-9]{12,28}$`)
	serviceName    = regexp.MustCompile(`^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,5}\.amazonaws\.com(\.cn)?$`)
	canonicalUser  = regexp.MustCompile(`^[0-9a-f]{64}$`)
	actionName     = regexp.MustCompile(`^([A-Za-z0-9-]{1,64}):([A-Za-z0-9*?]{1,128})$`)
	resourceName   = regexp.MustCompile(`^arn:`)
	federatedNames = regexp.MustCompile(`^[!-~]{1,512}$`)
)

// principals reads who a statement names. Those that nobody can be here are taken only where they are harmless.
func (f form) principals(place string, v any, harmless bool) (p principals, err error) {
	if v == "*" {
		p.everybody = true
		return p, nil
	}
	members, ok := v.([]Member)
	if !ok || len(members) == 0 {
		return p, wrong(place, `want "*" or {"AWS": …}`)
	}
	for _, m := range members {
		at := Under(place, m.Name)
		list, err := Texts(at, m.Value)
		if err != nil {
			return p, err
		}
		for _, name := range list {
			switch m.Name {
			case "AWS":
				root := rootARN.FindStringSubmatch(name)
				switch {
				case name == "*":
					p.everybody = true
				case accountID.MatchString(name):
					p.accounts = append(p.accounts, name)
				case root != nil:
					p.accounts = append(p.accounts, root[1])
				case namedARN.MatchString(name) && !strings.ContainsAny(name, "*?"):
					p.named = append(p.named, name)
				case uniqueID.MatchString(name):
					p.ids = append(p.ids, name)
				default:
					return p, wrong(at, `%.200q: want "*", 12 digits of an account, or the ARN of an account's root, a user, a role or a session of one, without wildcards`, name)
				}
			case "Service":
				if !serviceName.MatchString(name) {
					return p, wrong(at, "%.200q: want a service such as cloudtrail.amazonaws.com", name)
				}
				p.services = append(p.services, name)
			case "Federated", "CanonicalUser":
				if form := map[string]*regexp.Regexp{"Federated": federatedNames, "CanonicalUser": canonicalUser}[m.Name]; !form.MatchString(name) {
					return p, wrong(at, "%.200q: not of the form", name)
				}
				if !harmless {
					return p, wrong(at, "nobody is known by that here: what is meant to deny, or to leave out, would not")
				}
			default:
				return p, wrong(at, "want AWS, Service, Federated or CanonicalUser")
			}
		}
	}
	return p, nil
}

func (f form) actions(place string, v any) ([]pattern, error) {
	list, err := Texts(place, v)
	if err != nil {
		return nil, err
	}
	var out []pattern
	for _, a := range list {
		m := actionName.FindStringSubmatch(a)
		if a != "*" && (m == nil || !slices.Contains(f.prefixes, strings.ToLower(m[1]))) {
			return nil, wrong(place, "%.80q: want an action of %s, such as %s:*", a, f.service, f.prefixes[0])
		}
		p, err := parsePattern(strings.ToLower(a), false, true)
		if err != nil {
			return nil, wrong(place, "%.80q: %v", a, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func (f form) resources(place string, v any, variables bool) ([]pattern, error) {
	list, err := Texts(place, v)
	if err != nil {
		return nil, err
	}
	var out []pattern
	for _, r := range list {
		if r != "*" && !resourceName.MatchString(r) {
			return nil, wrong(place, "%.200q: want an ARN or *", r)
		}
		p, err := parsePattern(r, variables, true)
		if err != nil {
			return nil, wrong(place, "%.200q: %v", r, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// key says what is wrong with a key of conditions. Which keys a request has is not known here: one that it has not is missing.
func (f form) key(name, _ string, _ Kind) string {
	prefix, rest, ok := strings.Cut(strings.ToLower(name), ":")
	switch {
	case !ok || rest == "" || len(name) > 512 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return "not the name of a key"
	case prefix != "aws" && !slices.Contains(f.prefixes, prefix):
		return fmt.Sprintf("not a key of aws or of %s", f.service)
	}
	return ""
}

// Resources are those that statements name, as they are written.
func (d *Document) Resources() []string {
	if d == nil {
		return nil
	}
	var out []string
	for _, st := range d.statements {
		for _, r := range st.resources {
			out = append(out, r.text)
		}
	}
	return out
}
