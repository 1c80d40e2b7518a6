package topic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/netip"
	"slices"
	"strings"
)

// Bounds of filter policies, those of SNS.
const (
	maxFilterKeys   = 5   // of MessageAttributes; of MessageBody, leaf keys
	maxFilterValues = 150 // the product of the numbers of values of all keys
	maxFilterDepth  = 32
)

// filter is a filter policy. All its keys have to match, and one alternative of each $or.
type filter struct {
	keys []filterKey
	or   [][]*filter
}

type filterKey struct {
	name   string
	tests  []test  // one of them has to match
	nested *filter // instead of tests, in policies of bodies
}

// test tests one value; absent is what it says of a key that is not there.
type test struct {
	match  func(v any) bool // v is a string, a json.Number, a bool or nil
	absent bool
	not    bool // has to hold for all values of an array
}

// parseFilter parses a filter policy. Errors are those of SNS for subscriptions.
func parseFilter(text string, body bool) (*filter, error) {
	bad := func(err error) error { return invalid("FilterPolicy: %s", err) }
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	root, err := ordered(dec, 0)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows its end")
		}
	}
	if err != nil {
		return nil, bad(err)
	}
	o, ok := root.(object)
	if !ok {
		return nil, invalid("FilterPolicy: Filter policy must be a JSON object")
	}
	c := count{combinations: 1}
	f, err := c.filter(o, body, true)
	if err != nil {
		return nil, bad(err)
	}
	if c.keys > maxFilterKeys || c.combinations > maxFilterValues {
		return nil, invalid("FilterPolicy: Filter policy is too complex: it has %d keys of at most %d, and %d combinations of at most %d", c.keys, maxFilterKeys, c.combinations, maxFilterValues)
	}
	return f, nil
}

// object is a JSON object in the order of its text, in which no name comes twice.
type object []member
type member struct {
	name  string
	value any
}

// ordered reads a JSON value; arrays are []any.
func ordered(dec *json.Decoder, depth int) (any, error) {
	if depth > maxFilterDepth {
		return nil, errors.New("it is nested too deeply")
	}
	tok, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("failed to parse JSON: %w", err)
	}
	switch tok {
	case json.Delim('{'):
		o := object{}
		for dec.More() {
			name, err := dec.Token()
			if err != nil {
				return nil, fmt.Errorf("failed to parse JSON: %w", err)
			}
			v, err := ordered(dec, depth+1)
			if err != nil {
				return nil, err
			}
			key, ok := name.(string)
			if !ok || slices.ContainsFunc(o, func(m member) bool { return m.name == key }) {
				return nil, fmt.Errorf("the key %.80v is there twice", name)
			}
			o = append(o, member{key, v})
		}
		_, err = dec.Token()
		return o, err
	case json.Delim('['):
		l := []any{}
		for dec.More() {
			v, err := ordered(dec, depth+1)
			if err != nil {
				return nil, err
			}
			l = append(l, v)
		}
		_, err = dec.Token()
		return l, err
	}
	return tok, nil
}

// count counts how complex a policy is.
type count struct{ keys, combinations int }

func (c *count) filter(o object, body, top bool) (*filter, error) {
	f := &filter{}
	for _, m := range o {
		list, isList := m.value.([]any)
		if m.name == "$or" && isList && len(list) > 1 && !slices.ContainsFunc(list, func(v any) bool { _, ok := v.(object); return !ok }) {
			var alternatives []*filter
			most, keys := 0, c.keys
			for _, v := range list {
				one := count{combinations: 1}
				a, err := one.filter(v.(object), body, top)
				if err != nil {
					return nil, err
				}
				alternatives = append(alternatives, a)
				most += one.combinations
				keys += one.keys
			}
			c.keys = keys
			c.combinations = min(c.combinations*most, maxFilterValues+1)
			f.or = append(f.or, alternatives)
			continue
		}
		k := filterKey{name: m.name}
		if nested, ok := m.value.(object); ok && body {
			n, err := c.filter(nested, body, false)
			if err != nil {
				return nil, err
			}
			k.nested = n
			f.keys = append(f.keys, k)
			continue
		}
		if !isList || len(list) == 0 {
			return nil, fmt.Errorf("the value of %.80q has to be an array that is not empty", m.name)
		}
		for _, v := range list {
			t, err := parseTest(v)
			if err != nil {
				return nil, fmt.Errorf("%.80q: %w", m.name, err)
			}
			k.tests = append(k.tests, t)
		}
		c.keys++
		c.combinations = min(c.combinations*len(list), maxFilterValues+1)
		f.keys = append(f.keys, k)
	}
	if len(o) == 0 && !top {
		return nil, errors.New("an object is empty")
	}
	return f, nil
}

func parseTest(v any) (test, error) {
	o, ok := v.(object)
	if !ok {
		return equal(v)
	}
	if len(o) != 1 {
		return test{}, errors.New("an operator is an object with one member")
	}
	switch op, arg := o[0].name, o[0].value; op {
	case "prefix", "suffix", "equals-ignore-case":
		text, ok := arg.(string)
		if !ok || text == "" {
			return test{}, fmt.Errorf("%s needs a text", op)
		}
		return onText(op, text), nil
	case "anything-but":
		return anythingBut(arg)
	case "numeric":
		list, _ := arg.([]any)
		return numeric(list)
	case "exists":
		yes, ok := arg.(bool)
		if !ok {
			return test{}, errors.New("exists needs true or false")
		}
		return test{match: func(any) bool { return yes }, absent: !yes, not: !yes}, nil
	case "cidr":
		text, _ := arg.(string)
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return test{}, fmt.Errorf("cidr needs a block of addresses: %w", err)
		}
		return test{match: func(v any) bool {
			text, _ := v.(string)
			a, err := netip.ParseAddr(text)
			return err == nil && p.Contains(a.Unmap())
		}}, nil
	default:
		return test{}, fmt.Errorf("unrecognized match type %.40s", op)
	}
}

func onText(op, want string) test {
	return test{match: func(v any) bool {
		s, ok := v.(string)
		switch {
		case !ok:
			return false
		case op == "prefix":
			return strings.HasPrefix(s, want)
		case op == "suffix":
			return strings.HasSuffix(s, want)
		}
		return strings.EqualFold(s, want)
	}}
}

// equal is a test for one value.
func equal(want any) (test, error) {
	switch w := want.(type) {
	case string, bool, nil:
		return test{match: func(v any) bool { return v == w }}, nil
	case json.Number:
		n, err := number(w)
		if err != nil {
			return test{}, err
		}
		return test{match: func(v any) bool { return compare(v, n, func(c int) bool { return c == 0 }) }}, nil
	}
	return test{}, errors.New("a value is a text, a number, true, false, null or an operator")
}

func anythingBut(arg any) (test, error) {
	var tests []test
	switch a := arg.(type) {
	case []any:
		if len(a) == 0 {
			return test{}, errors.New("anything-but needs values")
		}
		for _, v := range a {
			t, err := equal(v)
			if err != nil {
				return test{}, fmt.Errorf("anything-but: %w", err)
			}
			tests = append(tests, t)
		}
	case object:
		if len(a) != 1 || a[0].name != "prefix" && a[0].name != "suffix" && a[0].name != "equals-ignore-case" {
			return test{}, errors.New("anything-but takes values, prefix, suffix or equals-ignore-case")
		}
		list, ok := a[0].value.([]any)
		if !ok {
			list = []any{a[0].value}
		}
		for _, v := range list {
			text, ok := v.(string)
			if !ok || text == "" {
				return test{}, fmt.Errorf("anything-but: %s needs texts", a[0].name)
			}
			tests = append(tests, onText(a[0].name, text))
		}
		if len(tests) == 0 {
			return test{}, errors.New("anything-but needs values")
		}
	default:
		t, err := equal(arg)
		if err != nil {
			return test{}, fmt.Errorf("anything-but: %w", err)
		}
		tests = []test{t}
	}
	return test{not: true, match: func(v any) bool {
		return !slices.ContainsFunc(tests, func(t test) bool { return t.match(v) })
	}}, nil
}

// maxNumber bounds the text of a number: its exponent could make it huge.
const maxNumber = 40

func number(n json.Number) (*big.Rat, error) {
	text := n.String()
	if i := strings.IndexAny(text, "eE"); len(text) > maxNumber || i >= 0 && len(text)-i > 4 {
		return nil, fmt.Errorf("the number %.40s is too long", text)
	}
	r, ok := new(big.Rat).SetString(text)
	if !ok {
		return nil, fmt.Errorf("%.40s is no number", text)
	}
	return r, nil
}

func compare(v any, with *big.Rat, is func(int) bool) bool {
	n, ok := v.(json.Number)
	if !ok {
		return false
	}
	r, err := number(n)
	return err == nil && is(r.Cmp(with))
}

func numeric(list []any) (test, error) {
	if len(list) != 2 && len(list) != 4 {
		return test{}, errors.New("numeric needs one or two operators, each with a number")
	}
	type bound struct {
		is func(int) bool
		n  *big.Rat
	}
	var bounds []bound
	lower := false
	for i := 0; i < len(list); i += 2 {
		op, _ := list[i].(string)
		n, ok := list[i+1].(json.Number)
		if !ok {
			return test{}, errors.New("numeric: an operator has no number")
		}
		r, err := number(n)
		if err != nil {
			return test{}, fmt.Errorf("numeric: %w", err)
		}
		b := bound{n: r}
		switch op {
		case "=":
			b.is = func(c int) bool { return c == 0 }
		case "<":
			b.is = func(c int) bool { return c < 0 }
		case "<=":
			b.is = func(c int) bool { return c <= 0 }
		case ">":
			b.is = func(c int) bool { return c > 0 }
		case ">=":
			b.is = func(c int) bool { return c >= 0 }
		default:
			return test{}, fmt.Errorf("numeric: unrecognized operator %.10q", op)
		}
		if len(list) == 4 {
			if i == 0 {
				lower = op[0] == '>'
			}
			if op == "=" || i == 0 && !lower || i == 2 && op[0] != '<' {
				return test{}, errors.New("numeric: a range is from > or >= to < or <=")
			}
			if i == 2 && bounds[0].n.Cmp(r) >= 0 {
				return test{}, errors.New("numeric: the bottom of the range is not below its top")
			}
		}
		bounds = append(bounds, b)
	}
	return test{match: func(v any) bool {
		return !slices.ContainsFunc(bounds, func(b bound) bool { return !compare(v, b.n, b.is) })
	}}, nil
}

// matches reports whether a value of one key, which may be an array, passes one of the tests.
func (k filterKey) matches(v any, there bool) bool {
	var values []any
	if list, ok := v.([]any); ok {
		values = list
	} else if there {
		values = []any{v}
	}
	return slices.ContainsFunc(k.tests, func(t test) bool {
		switch {
		case !there:
			return t.absent
		case t.absent:
			return false
		case t.not:
			return len(values) > 0 && !slices.ContainsFunc(values, func(v any) bool { return !t.match(v) })
		}
		return slices.ContainsFunc(values, t.match)
	})
}

// match reports whether an object passes. get finds a member.
func (f *filter) match(get func(name string) (any, bool)) bool {
	for _, k := range f.keys {
		v, there := get(k.name)
		if k.nested == nil {
			if _, isObject := v.(map[string]any); isObject {
				return false
			}
			if !k.matches(v, there) {
				return false
			}
			continue
		}
		// Of a list of objects, one has to pass; of what is not there, the absence of everything below it.
		objects, ok := v.([]any)
		if !ok {
			objects = []any{v}
		}
		if !slices.ContainsFunc(objects, func(v any) bool {
			m, _ := v.(map[string]any)
			return k.nested.match(func(name string) (any, bool) { v, ok := m[name]; return v, ok })
		}) {
			return false
		}
	}
	for _, alternatives := range f.or {
		if !slices.ContainsFunc(alternatives, func(a *filter) bool { return a.match(get) }) {
			return false
		}
	}
	return true
}

// wants reports whether a message passes, by its body or by its attributes. A body that is no JSON object passes no policy, as
// in SNS.
func (f *filter) wants(e *entry, body bool) bool {
	if !body {
		return f.match(func(name string) (any, bool) {
			a, ok := e.Attributes[name]
			if !ok {
				return nil, false
			}
			return a.value()
		})
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(e.Body)))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return false
	}
	m, ok := v.(map[string]any)
	return ok && f.match(func(name string) (any, bool) { v, ok := m[name]; return v, ok })
}

// value is an attribute as filters see it: binary ones are not there for them.
func (a Attribute) value() (any, bool) {
	switch kind, _, _ := strings.Cut(a.Type, "."); {
	case a.Type == typeArray:
		dec := json.NewDecoder(strings.NewReader(a.Text))
		dec.UseNumber()
		var list []any
		if dec.Decode(&list) != nil {
			return nil, false
		}
		return list, true
	case kind == "Number":
		return json.Number(strings.TrimSpace(a.Text)), true
	case kind == "String":
		return a.Text, true
	}
	return nil, false
}
