package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
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
	conditions []trustCondition
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

// trustCondition compares a key with values: one of them has to fit, or with not none of them may.
type trustCondition struct {
	key      trustKey
	not      bool
	ifExists bool // it holds where the key is missing
	null     bool // it asks whether the key is missing
	fits     []func(v trustValue) bool
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
	kind operatorKind
}

var trustKeys = []namedKey{
	{keyExternalID, "sts:ExternalId", ofText}, {keyRoleSessionName, "sts:RoleSessionName", ofText},
	{keySourceIdentity, "sts:SourceIdentity", ofText}, {keyPrincipalARN, "aws:PrincipalArn", ofText | ofARN},
	{keyPrincipalAccount, "aws:PrincipalAccount", ofText}, {keySourceIP, "aws:SourceIp", ofAddress}, {keyCurrentTime, "aws:CurrentTime", ofTime},
}

// operatorKind is what an operator compares.
type operatorKind uint8

const (
	ofText operatorKind = 1 << iota
	ofARN
	ofAddress
	ofTime
	ofAny = ofText | ofARN | ofAddress | ofTime
)

type namedOperator struct {
	name string
	kind operatorKind
	not  bool
	make func(want string) (func(trustValue) bool, error) // of one value; nil for Null
}

var trustOperators = []namedOperator{
	{"StringEquals", ofText, false, textEquals}, {"StringNotEquals", ofText, true, textEquals},
	{"StringEqualsIgnoreCase", ofText, false, textFolds}, {"StringNotEqualsIgnoreCase", ofText, true, textFolds},
	{"StringLike", ofText, false, textLike}, {"StringNotLike", ofText, true, textLike},
	{"ArnEquals", ofARN, false, arnLike}, {"ArnNotEquals", ofARN, true, arnLike},
	{"ArnLike", ofARN, false, arnLike}, {"ArnNotLike", ofARN, true, arnLike},
	{"IpAddress", ofAddress, false, addressIn}, {"NotIpAddress", ofAddress, true, addressIn},
	{"DateEquals", ofTime, false, timeIs(func(c int) bool { return c == 0 })}, {"DateNotEquals", ofTime, true, timeIs(func(c int) bool { return c == 0 })},
	{"DateLessThan", ofTime, false, timeIs(func(c int) bool { return c < 0 })}, {"DateLessThanEquals", ofTime, false, timeIs(func(c int) bool { return c <= 0 })},
	{"DateGreaterThan", ofTime, false, timeIs(func(c int) bool { return c > 0 })}, {"DateGreaterThanEquals", ofTime, false, timeIs(func(c int) bool { return c >= 0 })},
	{"Null", ofAny, false, nil},
}

// trustValue is what a key has in a call; which field counts is the key's kind.
type trustValue struct {
	text    string
	address netip.Addr
	time    time.Time
}

// trustCall is what a trust document is asked about.
type trustCall struct {
	account string
	arns    []string // by which the caller can be named
	id      string   // of the user or role that these are of
	values  map[trustKey]trustValue
}

// decide says whether the document lets a call do all of what, and why not. ids are the ids of those whom the document
// names, as they were when it was given: another one of the same name is not trusted. It is refused all the same.
func (t *trust) decide(c trustCall, what trustAction, ids map[string]string) string {
	var allowed trustAction
	for i, st := range t.statements {
		if st.actions&what == 0 || !st.concerns(c, ids) || slices.ContainsFunc(st.conditions, func(cond trustCondition) bool { return !cond.holds(c.values) }) {
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

func (c *trustCondition) holds(values map[trustKey]trustValue) bool {
	v, there := values[c.key]
	switch {
	case c.null:
		return there == c.not
	case !there:
		return c.ifExists || c.not
	}
	return slices.ContainsFunc(c.fits, func(fit func(trustValue) bool) bool { return fit(v) }) != c.not
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

// trustError tells the place of what is wrong.
func trustError(place, format string, args ...any) error {
	if place != "" {
		place += ": "
	}
	return fmt.Errorf("%w: %s%s", ErrTrust, place, fmt.Sprintf(format, args...))
}

// member is one of a JSON object.
type member struct {
	name  string
	value any // string, json.Number, bool, nil, []any or []member
}

// readJSON reads JSON and keeps what the standard library drops: the order of members, and those that are there twice.
func readJSON(dec *json.Decoder, place string, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, trustError(place, "not JSON: %v", err)
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth >= maxTrustNesting {
		return nil, trustError(place, "nested deeper than %d", maxTrustNesting)
	}
	members, list := []member{}, []any{}
	for dec.More() {
		if delim == '[' {
			v, err := readJSON(dec, fmt.Sprintf("%s[%d]", place, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
			continue
		}
		tok, err := dec.Token()
		if err != nil {
			return nil, trustError(place, "not JSON: %v", err)
		}
		m := member{name: tok.(string)} // the decoder lets no other be a name
		if slices.ContainsFunc(members, func(o member) bool { return o.name == m.name }) {
			return nil, trustError(place, "%.80q is there twice", m.name)
		}
		if m.value, err = readJSON(dec, under(place, m.name), depth+1); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, trustError(place, "not JSON: %v", err)
	}
	if delim == '[' {
		return list, nil
	}
	return members, nil
}

func under(place, name string) string {
	if !plainName.MatchString(name) {
		name = strconv.Quote(name[:min(len(name), 80)])
	}
	if place == "" {
		return name
	}
	return place + "." + name
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9:_-]{1,80}$`)

// parseTrust reads a trust document. What it does not understand it refuses: a condition that is ignored lets somebody in.
func parseTrust(text []byte) (*trust, error) {
	if len(text) > maxTrust {
		return nil, trustError("", "%d bytes are more than %d", len(text), maxTrust)
	}
	if !utf8.Valid(text) {
		return nil, trustError("", "not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := readJSON(dec, "", 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, trustError("", "something follows its end")
	}
	doc, ok := v.([]member)
	if !ok {
		return nil, trustError("", "want an object with Version and Statement")
	}
	t := &trust{}
	for _, m := range doc {
		switch m.name {
		case "Version":
			if m.value != "2012-10-17" && m.value != "2008-10-17" {
				return nil, trustError("Version", "want 2012-10-17 or 2008-10-17")
			}
		case "Id":
			if _, ok := m.value.(string); !ok {
				return nil, trustError("Id", "want text")
			}
		case "Statement":
			list, ok := m.value.([]any)
			one := !ok
			if one {
				list = []any{m.value}
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
			return nil, trustError(under("", m.name), "want Version, Id or Statement")
		}
	}
	if len(t.statements) == 0 {
		return nil, trustError("", "it has no Statement")
	}
	return t, nil
}

func parseStatement(place string, v any) (st trustStatement, err error) {
	members, ok := v.([]member)
	if !ok {
		return st, trustError(place, "want an object")
	}
	var effect, who bool
	for _, m := range members {
		at := under(place, m.name)
		switch m.name {
		case "Sid":
			if _, ok := m.value.(string); !ok {
				return st, trustError(at, "want text")
			}
		case "Effect":
			if m.value != "Allow" && m.value != "Deny" {
				return st, trustError(at, "want Allow or Deny")
			}
			effect, st.allow = true, m.value == "Allow"
		case "Principal":
			who = true
			err = st.parsePrincipal(at, m.value)
		case "Action":
			err = st.parseActions(at, m.value)
		case "Condition":
			err = st.parseConditions(at, m.value)
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
	members, ok := v.([]member)
	if !ok || len(members) == 0 {
		return trustError(place, `want "*" or {"AWS": …}`)
	}
	for _, m := range members {
		at := under(place, m.name)
		if m.name != "AWS" {
			return trustError(at, "only AWS is understood: no service and no other identity provider assumes roles here")
		}
		list, err := texts(at, m.value)
		if err != nil {
			return err
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
	list, err := texts(place, v)
	if err != nil {
		return err
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

func (st *trustStatement) parseConditions(place string, v any) error {
	operators, ok := v.([]member)
	if !ok {
		return trustError(place, "want an object")
	}
	for _, o := range operators {
		at := under(place, o.name)
		name, ifExists := strings.CutSuffix(o.name, "IfExists")
		i := slices.IndexFunc(trustOperators, func(known namedOperator) bool { return known.name == name })
		if i < 0 || ifExists && name == "Null" {
			return trustError(at, "not an operator that is understood")
		}
		op := trustOperators[i]
		keys, ok := o.value.([]member)
		if !ok || len(keys) == 0 {
			return trustError(at, "want an object with keys to compare")
		}
		for _, k := range keys {
			at := under(at, k.name)
			i := slices.IndexFunc(trustKeys, func(known namedKey) bool { return string(known.key) == strings.ToLower(k.name) })
			if i < 0 {
				return trustError(at, "not a key that is understood; there are %s", trustKeyNames())
			}
			if trustKeys[i].kind&op.kind == 0 {
				return trustError(at, "%s is not compared with %s", trustKeys[i].name, o.name)
			}
			list, err := texts(at, k.value)
			if err != nil {
				return err
			}
			c := trustCondition{key: trustKeys[i].key, not: op.not, ifExists: ifExists}
			if op.make == nil {
				if len(list) != 1 || list[0] != "true" && list[0] != "false" {
					return trustError(at, "want true or false")
				}
				c.null, c.not = true, list[0] == "false"
			}
			for _, want := range list {
				if strings.Contains(want, "${") {
					return trustError(at, "%.80q: variables are not understood", want)
				}
				if op.make == nil {
					continue
				}
				fit, err := op.make(want)
				if err != nil {
					return trustError(at, "%.80q: %v", want, err)
				}
				c.fits = append(c.fits, fit)
			}
			st.conditions = append(st.conditions, c)
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

// texts are one or several values. Numbers and truth values are texts too, as AWS has it.
func texts(place string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case json.Number:
			out = append(out, v.String())
		case bool:
			out = append(out, strconv.FormatBool(v))
		default:
			return nil, trustError(place, "want text or a list of texts")
		}
	}
	if len(out) == 0 {
		return nil, trustError(place, "the list is empty")
	}
	return out, nil
}

func textEquals(want string) (func(trustValue) bool, error) {
	return func(v trustValue) bool { return v.text == want }, nil
}

func textFolds(want string) (func(trustValue) bool, error) {
	return func(v trustValue) bool { return strings.EqualFold(v.text, want) }, nil
}

func textLike(want string) (func(trustValue) bool, error) {
	return func(v trustValue) bool { return like(want, v.text) }, nil
}

// arnLike compares the six parts of an ARN, each by itself.
func arnLike(want string) (func(trustValue) bool, error) {
	parts := strings.SplitN(want, ":", 6)
	if len(parts) != 6 {
		return nil, errors.New("want an ARN")
	}
	return func(v trustValue) bool {
		have := strings.SplitN(v.text, ":", 6)
		for i := range have {
			if len(have) != 6 || !like(parts[i], have[i]) {
				return false
			}
		}
		return true
	}, nil
}

func addressIn(want string) (func(trustValue) bool, error) {
	p, err := netip.ParsePrefix(want)
	if err != nil {
		addr, e := netip.ParseAddr(want)
		if e != nil || addr.Zone() != "" {
			return nil, errors.New("want an address or a network")
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		return nil, errors.New("write it as IPv4")
	}
	return func(v trustValue) bool { return p.Contains(v.address) }, nil
}

// timeIs compares the moment of a call with one in RFC 3339 or in seconds since 1970.
func timeIs(is func(c int) bool) func(string) (func(trustValue) bool, error) {
	return func(want string) (func(trustValue) bool, error) {
		at, err := time.Parse(time.RFC3339, want)
		if err != nil {
			if at, err = time.Parse(time.DateOnly, want); err != nil {
				n, e := strconv.ParseInt(want, 10, 64)
				if e != nil {
					return nil, errors.New("want a time such as 2026-03-09T08:00:00Z")
				}
				at = time.Unix(n, 0)
			}
		}
		return func(v trustValue) bool { return is(v.time.Compare(at)) }, nil
	}
}

// like matches text with a pattern in which * is any text and ? any character.
func like(pattern, text string) bool {
	star, from := -1, 0
	p, i := 0, 0
	for i < len(text) {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == '?':
			p++
			i += size
		case p < len(pattern) && pattern[p] == text[i]:
			p++
			i++
		case star >= 0:
			_, size := utf8.DecodeRuneInString(text[from:])
			from += size
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
