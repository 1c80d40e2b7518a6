package iam

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"spoor/internal/policy"
)

// Bounds of a trust document.
const (
	maxTrust        = 8 << 10 // bytes
	maxTrustNesting = 6
)

// trust is a trust document that was understood in every detail.
type trust struct {
	statements []trustStatement
}

type trustStatement struct {
	allow      bool
	actions    trustAction
	everybody  bool
	accounts   []string
	named      []string // ARNs
	conditions policy.Conditions
}

// trustAction is a set of what a trust document can speak of.
type trustAction uint8

const (
	trustAssume trustAction = 1 << iota
	trustTag
	trustSourceIdentity
	trustAll = trustAssume | trustTag | trustSourceIdentity
)

type namedAction struct {
	name string
	is   trustAction
}

var trustActions = []namedAction{
	{"sts:AssumeRole", trustAssume}, {"sts:TagSession", trustTag}, {"sts:SetSourceIdentity", trustSourceIdentity},
	{"sts:*", trustAll}, {"*", trustAll},
}

// trustKey is a key of conditions, in small letters as AWS compares them.
type trustKey string

const (
	keyExternalID       trustKey = "sts:externalid"
	keyRoleSessionName  trustKey = "sts:rolesessionname"
	keySourceIdentity   trustKey = "sts:sourceidentity"
	keyPrincipalARN     trustKey = "aws:principalarn"
	keyPrincipalAccount trustKey = "aws:principalaccount"
	keySourceIP         trustKey = "aws:sourceip"
	keyCurrentTime      trustKey = "aws:currenttime"
)

type namedKey struct {
	key  trustKey
	name string // as AWS writes it
	kind policy.Kind
}

var trustKeys = []namedKey{
	{keyExternalID, "sts:ExternalId", policy.Text}, {keyRoleSessionName, "sts:RoleSessionName", policy.Text},
	{keySourceIdentity, "sts:SourceIdentity", policy.Text}, {keyPrincipalARN, "aws:PrincipalArn", policy.Text | policy.ARN},
	{keyPrincipalAccount, "aws:PrincipalAccount", policy.Text}, {keySourceIP, "aws:SourceIp", policy.Address}, {keyCurrentTime, "aws:CurrentTime", policy.Time},
}

// trustConditions are those that are understood.
func trustConditions() policy.ConditionForm {
	return policy.ConditionForm{
		Kinds: policy.Text | policy.ARN | policy.Address | policy.Time | policy.Existence,
		Key: func(name, operator string, kind policy.Kind) string {
			i := slices.IndexFunc(trustKeys, func(known namedKey) bool { return string(known.key) == strings.ToLower(name) })
			switch {
			case i < 0:
				return "not a key that is understood; there are " + trustKeyNames()
			case trustKeys[i].kind&kind == 0 && kind != policy.Existence:
				return trustKeys[i].name + " is not compared with " + operator
			}
			return ""
		},
		Value: func(text string) string {
			if strings.Contains(text, "${") {
				return "variables are not understood"
			}
			return ""
		},
	}
}

// trustCall is what a trust document is asked about.
type trustCall struct {
	account string
	arns    []string            // by which the caller can be named
	id      string              // of the user or role that these are of
	values  map[string][]string // of conditions, by keys in small letters
}

// decide says whether the document lets a call do all of what, and why not. ids are the ids of those whom the document
// names, as they were when it was given: another one of the same name is not trusted. It is refused all the same.
func (t *trust) decide(c trustCall, what trustAction, ids map[string]string) string {
	var allowed trustAction
	for i, st := range t.statements {
		if st.actions&what == 0 || !st.concerns(c, ids) || !st.conditions.Hold(c.values, !st.allow) {
			continue
		}
		if !st.allow {
			return fmt.Sprintf("Statement[%d] of the trust document denies it", i)
		}
		allowed |= st.actions
	}
	if missing := what &^ allowed; missing != 0 {
		i := slices.IndexFunc(trustActions, func(a namedAction) bool { return missing&a.is != 0 })
		return "the trust document does not allow " + trustActions[i].name
	}
	return ""
}

func (st *trustStatement) concerns(c trustCall, ids map[string]string) bool {
	if st.everybody || slices.Contains(st.accounts, c.account) {
		return true
	}
	for _, arn := range c.arns {
		if slices.Contains(st.named, arn) && (!st.allow || ids[arn] == c.id) {
			return true
		}
	}
	return false
}

// names are the ARNs of users, roles and sessions that the document names.
func (t *trust) names() []string {
	var out []string
	for _, st := range t.statements {
		out = append(out, st.named...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// accounts are the accounts that it names.
func (t *trust) accounts() []string {
	var out []string
	for _, st := range t.statements {
		out = append(out, st.accounts...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// CheckTrust checks the form of a trust document. The error is [ErrInvalid], with place and reason.
func CheckTrust(trust json.RawMessage) error {
	_, err := parseTrust(trust)
	return err
}

// TrustOf makes a trust document that lets principals assume a role: ARNs of users, roles and accounts, 12 digits of an account,
// or "*" for everybody of the installation.
func TrustOf(principals ...string) (json.RawMessage, error) {
	var who any = map[string][]string{"AWS": principals}
	if slices.Contains(principals, "*") {
		who = "*"
	}
	b, err := json.Marshal(struct {
		Version   string
		Statement []any
	}{"2012-10-17", []any{struct {
		Effect    string
		Principal any
		Action    []string
	}{"Allow", who, []string{"sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"}}}})
	if err != nil {
		return nil, fmt.Errorf("make a trust document: %w", err)
	}
	return b, CheckTrust(b)
}

// asTrustError makes what package policy refuses an [ErrTrust].
func asTrustError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrTrust, err)
}

// trustError tells the place of what is wrong.
func trustError(place, format string, args ...any) error {
	if place != "" {
		place += ": "
	}
	return fmt.Errorf("%w: %s%s", ErrTrust, place, fmt.Sprintf(format, args...))
}

// parseTrust reads a trust document. What it does not understand it refuses: a condition that is ignored lets somebody in.
func parseTrust(text []byte) (*trust, error) {
	v, err := policy.ReadJSON(text, maxTrust, maxTrustNesting)
	if err != nil {
		return nil, asTrustError(err)
	}
	doc, ok := v.([]policy.Member)
	if !ok {
		return nil, trustError("", "want an object with Version and Statement")
	}
	t := &trust{}
	for _, m := range doc {
		switch m.Name {
		case "Version":
			if m.Value != "2012-10-17" && m.Value != "2008-10-17" {
				return nil, trustError("Version", "want 2012-10-17 or 2008-10-17")
			}
		case "Id":
			if _, ok := m.Value.(string); !ok {
				return nil, trustError("Id", "want text")
			}
		case "Statement":
			list, ok := m.Value.([]any)
			one := !ok
			if one {
				list = []any{m.Value}
			}
			for i, v := range list {
				place := fmt.Sprintf("Statement[%d]", i)
				if one {
					place = "Statement"
				}
				st, err := parseStatement(place, v)
				if err != nil {
					return nil, err
				}
				t.statements = append(t.statements, st)
			}
		default:
			return nil, trustError(policy.Under("", m.Name), "want Version, Id or Statement")
		}
	}
	if len(t.statements) == 0 {
		return nil, trustError("", "it has no Statement")
	}
	return t, nil
}

func parseStatement(place string, v any) (st trustStatement, err error) {
	members, ok := v.([]policy.Member)
	if !ok {
		return st, trustError(place, "want an object")
	}
	var effect, who bool
	for _, m := range members {
		at := policy.Under(place, m.Name)
		switch m.Name {
		case "Sid":
			if _, ok := m.Value.(string); !ok {
				return st, trustError(at, "want text")
			}
		case "Effect":
			if m.Value != "Allow" && m.Value != "Deny" {
				return st, trustError(at, "want Allow or Deny")
			}
			effect, st.allow = true, m.Value == "Allow"
		case "Principal":
			who = true
			err = st.parsePrincipal(at, m.Value)
		case "Action":
			err = st.parseActions(at, m.Value)
		case "Condition":
			st.conditions, err = policy.ParseConditions(at, m.Value, trustConditions())
			err = asTrustError(err)
		case "NotPrincipal", "NotAction":
			return st, trustError(at, "not understood; say what it is, rather than what it is not")
		case "Resource", "NotResource":
			return st, trustError(at, "a trust document is about its role, and names no resource")
		default:
			return st, trustError(at, "want Sid, Effect, Principal, Action or Condition")
		}
		if err != nil {
			return st, err
		}
	}
	switch {
	case !effect:
		return st, trustError(place, "it has no Effect")
	case !who:
		return st, trustError(place, "it has no Principal")
	case st.actions == 0:
		return st, trustError(place, "it has no Action")
	}
	return st, nil
}

var (
	accountID      = regexp.MustCompile(`^[0-9]{12}$`)
	trustPrincipal = regexp.MustCompile(`^arn:aws:(iam::[0-9]{12}:(user|role)/([!-~]{1,510}/)?|sts::[0-9]{12}:assumed-role/[A-Za-z0-9+=,.@_-]{1,64}/)[A-Za-z0-9+=,.@_-]{1,64}$`)
)

func (st *trustStatement) parsePrincipal(place string, v any) error {
	if v == "*" {
		st.everybody = true
		return nil
	}
	members, ok := v.([]policy.Member)
	if !ok || len(members) == 0 {
		return trustError(place, `want "*" or {"AWS": …}`)
	}
	for _, m := range members {
		at := policy.Under(place, m.Name)
		if m.Name != "AWS" {
			return trustError(at, "only AWS is understood: no service and no other identity provider assumes roles here")
		}
		list, err := policy.Texts(at, m.Value)
		if err != nil {
			return asTrustError(err)
		}
		for _, p := range list {
			account, isRoot := strings.CutSuffix(p, ":root")
			if isRoot {
				account, isRoot = strings.CutPrefix(account, "arn:aws:iam::")
			}
			switch {
			case p == "*":
				st.everybody = true
			case accountID.MatchString(p), isRoot && accountID.MatchString(account):
				st.accounts = append(st.accounts, account)
			case trustPrincipal.MatchString(p) && !strings.ContainsAny(p, "*?"):
				st.named = append(st.named, p)
			default:
				return trustError(at, `%.200q: want "*", 12 digits of an account, or the ARN of an account's root, a user, a role or a session of one, without wildcards`, p)
			}
		}
	}
	return nil
}

func (st *trustStatement) parseActions(place string, v any) error {
	list, err := policy.Texts(place, v)
	if err != nil {
		return asTrustError(err)
	}
	for _, a := range list {
		found := false
		for _, known := range trustActions {
			if strings.EqualFold(a, known.name) {
				st.actions |= known.is
				found = true
			}
		}
		if !found {
			return trustError(place, "%.80q: want sts:AssumeRole, sts:TagSession, sts:SetSourceIdentity, sts:* or *", a)
		}
	}
	return nil
}

func trustKeyNames() string {
	var names []string
	for _, k := range trustKeys {
		names = append(names, k.name)
	}
	return strings.Join(names, ", ")
}
