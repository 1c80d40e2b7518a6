package policy

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind is what an operator of conditions compares.
type Kind uint8

// The kinds.
const (
	Text Kind = 1 << iota
	ARN
	Address
	Time
	Number
	Truth
	Binary
	Existence // of the operator Null
)

// compare makes of a value that a policy wants what compares it with one that a request has.
type compare func(want string) (func(have string) bool, error)

type operator struct {
	name string
	kind Kind
	not  bool
	make compare                      // of kinds whose values are read once
	text func(want, have string) bool // of texts and ARNs, which have variables
	wild bool                         // * and ? are wildcards in the value
}

// operators are those of the IAM reference, without IfExists and without the prefixes of sets.
var operators = []operator{
	{name: "StringEquals", kind: Text, text: same}, {name: "StringNotEquals", kind: Text, not: true, text: same},
	{name: "StringEqualsIgnoreCase", kind: Text, text: strings.EqualFold}, {name: "StringNotEqualsIgnoreCase", kind: Text, not: true, text: strings.EqualFold},
	{name: "StringLike", kind: Text, text: likeText, wild: true}, {name: "StringNotLike", kind: Text, not: true, text: likeText, wild: true},
	{name: "ArnEquals", kind: ARN, text: likeARN, wild: true}, {name: "ArnNotEquals", kind: ARN, not: true, text: likeARN, wild: true},
	{name: "ArnLike", kind: ARN, text: likeARN, wild: true}, {name: "ArnNotLike", kind: ARN, not: true, text: likeARN, wild: true},
	{name: "NumericEquals", kind: Number, make: number(isEqual)}, {name: "NumericNotEquals", kind: Number, not: true, make: number(isEqual)},
	{name: "NumericLessThan", kind: Number, make: number(isLess)}, {name: "NumericLessThanEquals", kind: Number, make: number(isAtMost)},
	{name: "NumericGreaterThan", kind: Number, make: number(isMore)}, {name: "NumericGreaterThanEquals", kind: Number, make: number(isAtLeast)},
	{name: "DateEquals", kind: Time, make: date(isEqual)}, {name: "DateNotEquals", kind: Time, not: true, make: date(isEqual)},
	{name: "DateLessThan", kind: Time, make: date(isLess)}, {name: "DateLessThanEquals", kind: Time, make: date(isAtMost)},
	{name: "DateGreaterThan", kind: Time, make: date(isMore)}, {name: "DateGreaterThanEquals", kind: Time, make: date(isAtLeast)},
	{name: "Bool", kind: Truth, make: truth}, {name: "BinaryEquals", kind: Binary, make: binary},
	{name: "IpAddress", kind: Address, make: network}, {name: "NotIpAddress", kind: Address, not: true, make: network},
	{name: "Null", kind: Existence},
}

func isEqual(c int) bool   { return c == 0 }
func isLess(c int) bool    { return c < 0 }
func isAtMost(c int) bool  { return c <= 0 }
func isMore(c int) bool    { return c > 0 }
func isAtLeast(c int) bool { return c >= 0 }

func same(want, have string) bool     { return want == have }
func likeText(want, have string) bool { return like(want, have, anyText, anyChar) }

// decimal is a number as policies write it. Without exponents none is large.
var decimal = regexp.MustCompile(`^[+-]?[0-9]{1,30}(\.[0-9]{1,30})?$`)

func number(is func(int) bool) compare {
	read := func(text string) (*big.Rat, bool) {
		if !decimal.MatchString(text) {
			return nil, false
		}
		return new(big.Rat).SetString(text)
	}
	return func(want string) (func(string) bool, error) {
		w, ok := read(want)
		if !ok {
			return nil, errors.New("want a number")
		}
		return func(have string) bool {
			h, ok := read(have)
			return ok && is(h.Cmp(w))
		}, nil
	}
}

// readTime reads a moment: ISO 8601 to the day or to the second, or seconds since 1970.
func readTime(text string) (time.Time, bool) {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if at, err := time.Parse(layout, text); err == nil {
			return at, true
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return time.Unix(n, 0), err == nil
}

func date(is func(int) bool) compare {
	return func(want string) (func(string) bool, error) {
		w, ok := readTime(want)
		if !ok {
			return nil, errors.New("want a time such as 2026-03-09T08:00:00Z")
		}
		return func(have string) bool {
			h, ok := readTime(have)
			return ok && is(h.Compare(w))
		}, nil
	}
}

func truth(want string) (func(string) bool, error) {
	if !strings.EqualFold(want, "true") && !strings.EqualFold(want, "false") {
		return nil, errors.New("want true or false")
	}
	return func(have string) bool { return strings.EqualFold(want, have) }, nil
}

func binary(want string) (func(string) bool, error) {
	w, err := base64.StdEncoding.DecodeString(want)
	if err != nil {
		return nil, errors.New("want base64")
	}
	return func(have string) bool {
		h, err := base64.StdEncoding.DecodeString(have)
		return err == nil && bytes.Equal(w, h)
	}, nil
}

// readNetwork reads an address or a network.
func readNetwork(text string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		addr, e := netip.ParseAddr(text)
		if e != nil || addr.Zone() != "" {
			return p, errors.New("want an address or a network")
		}
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	if p.Addr().Is4In6() {
		return p, errors.New("write it as IPv4")
	}
	return p, nil
}

func network(want string) (func(string) bool, error) {
	p, err := readNetwork(want)
	if err != nil {
		return nil, err
	}
	return func(have string) bool {
		addr, err := netip.ParseAddr(have)
		return err == nil && p.Contains(addr.Unmap().WithZone(""))
	}, nil
}

// set says how the values of a key with several are compared.
type set uint8

const (
	noSet set = iota
	forAll
	forAny
)

// condition compares a key with values: one of them has to fit, or with not none of them may.
type condition struct {
	key      string // in small letters
	op       *operator
	set      set
	ifExists bool                     // it holds where the key is missing
	missing  bool                     // what Null wants
	fits     []func(have string) bool // of operators that make them
	want     []pattern                // of the others
	given    []string                 // the values as they are written
}

// Conditions all have to hold.
type Conditions struct{ list []condition }

// ConditionForm is what conditions may say.
type ConditionForm struct {
	// Key says what is wrong with a key that an operator, of a kind, compares, or nothing.
	Key func(name, operator string, kind Kind) string
	// Value says what is wrong with a value, or nothing; optional.
	Value     func(text string) string
	Kinds     Kind // of operators that are understood; 0 for all
	Sets      bool // ForAllValues: and ForAnyValue: are understood
	Variables bool
}

// ParseConditions reads the member Condition of a statement, which is at a place. Errors are an *[Error].
func ParseConditions(place string, v any, f ConditionForm) (c Conditions, _ error) {
	members, ok := v.([]Member)
	if !ok {
		return c, wrong(place, "want an object")
	}
	for _, m := range members {
		at := Under(place, m.Name)
		name, ifExists := strings.CutSuffix(m.Name, "IfExists")
		var of set
		if prefix, rest, ok := strings.Cut(name, ":"); ok && f.Sets {
			if of = map[string]set{"ForAllValues": forAll, "ForAnyValue": forAny}[prefix]; of != noSet {
				name = rest
			}
		}
		i := slices.IndexFunc(operators, func(known operator) bool { return known.name == name })
		if i < 0 || f.Kinds != 0 && operators[i].kind&f.Kinds == 0 || operators[i].kind == Existence && (ifExists || of != noSet) {
			return c, wrong(at, "not an operator that is understood")
		}
		keys, ok := m.Value.([]Member)
		if !ok || len(keys) == 0 {
			return c, wrong(at, "want an object with keys to compare")
		}
		for _, k := range keys {
			one := condition{key: strings.ToLower(k.Name), op: &operators[i], set: of, ifExists: ifExists}
			keyAt := Under(at, k.Name)
			if why := f.Key(k.Name, m.Name, one.op.kind); why != "" {
				return c, wrong(keyAt, "%s", why)
			}
			list, err := Texts(keyAt, k.Value)
			if err != nil {
				return c, err
			}
			for _, text := range list {
				if f.Value != nil && f.Value(text) != "" {
					return c, wrong(keyAt, "%.80q: %s", text, f.Value(text))
				}
			}
			if err := one.read(list, f.Variables); err != nil {
				return c, wrong(keyAt, "%v", err)
			}
			c.list = append(c.list, one)
		}
	}
	return c, nil
}

func (c *condition) read(list []string, variables bool) error {
	if c.op.kind == Existence {
		if len(list) != 1 || list[0] != "true" && list[0] != "false" {
			return errors.New("want true or false")
		}
		c.missing = list[0] == "true"
		return nil
	}
	c.given = list
	for _, want := range list {
		if c.op.make != nil {
			fit, err := c.op.make(want)
			if err != nil {
				return fmt.Errorf("%.80q: %w", want, err)
			}
			c.fits = append(c.fits, fit)
			continue
		}
		p, err := parsePattern(want, variables, c.op.wild)
		if err == nil && c.op.kind == ARN && !p.variables() && strings.Count(want, ":") < arnParts-1 && want != "*" {
			err = errors.New("want an ARN")
		}
		if err != nil {
			return fmt.Errorf("%.80q: %w", want, err)
		}
		c.want = append(c.want, p)
	}
	return nil
}

// Hold reports whether all conditions hold for the values of a request, whose keys are in small letters. A key without values is
// missing. What cannot be told counts against the request: deny says that the statement denies, and so that it is the side that
// gains by a condition that holds.
func (c Conditions) Hold(values map[string][]string, deny bool) bool {
	for i := range c.list {
		if !c.list[i].holds(values, deny) {
			return false
		}
	}
	return true
}

func (c *condition) holds(values map[string][]string, deny bool) bool {
	have := values[c.key]
	if c.op.kind == Existence {
		return c.missing == (len(have) == 0)
	}
	if len(have) == 0 {
		switch {
		case c.ifExists || c.set == forAll:
			return true
		case c.set == forAny:
			return false
		}
		return c.op.not
	}
	if c.set == forAll || c.set == noSet && !deny {
		for _, h := range have {
			if !c.fitsOne(h, values, deny) {
				return false
			}
		}
		return true
	}
	return slices.ContainsFunc(have, func(h string) bool { return c.fitsOne(h, values, deny) })
}

// fitsOne compares one value of a request.
func (c *condition) fitsOne(have string, values map[string][]string, deny bool) bool {
	for _, fit := range c.fits {
		if fit(have) {
			return !c.op.not
		}
	}
	for i := range c.want {
		want, ok := c.want[i].expand(values)
		if !ok {
			if c.op.not && !deny {
				return false
			}
			continue
		}
		if c.op.text(want, have) {
			return !c.op.not
		}
	}
	return c.op.not
}
