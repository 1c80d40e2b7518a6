package sigma

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"spoor/internal/match"
)

// maxAlternatives bounds what windash and expand make of one value.
const maxAlternatives = 10_000

// apply applies one modifier to every value.
func (it *item) apply(mod string, c *compiler) error {
	switch mod {
	case "all":
		it.all = true
		return nil
	case "neq":
		it.neq = true
		return nil
	}
	if part, ok := timeParts[mod]; ok {
		return it.timePart(mod, part)
	}
	if slices.Contains([]string{"re", "cidr", "exists"}, mod) && len(it.applied) > 0 {
		return fmt.Errorf("%s after %s: it must be the first modifier", mod, it.applied[len(it.applied)-1])
	}
	if mod == "exists" && it.field == "" {
		return errors.New("exists needs a field")
	}
	if it.part != nil && !slices.Contains([]string{"lt", "lte", "gt", "gte"}, mod) {
		return fmt.Errorf("%s after a part of time", mod)
	}
	total := 0
	for i, g := range it.groups {
		var out []value
		for _, v := range g {
			made, err := c.modify(mod, v)
			if err != nil {
				return err
			}
			if total += len(made); total > maxAlternatives && total > 10*len(it.groups) {
				return fmt.Errorf("%s makes more than %d alternatives of the values", mod, maxAlternatives)
			}
			out = append(out, made...)
		}
		it.groups[i] = out
	}
	return nil
}

var timeParts = map[string]match.TimePart{"minute": match.Minute, "hour": match.Hour, "day": match.Day, "week": match.Week, "month": match.Month, "year": match.Year}

func (it *item) timePart(mod string, part match.TimePart) error {
	if it.field == "" {
		return fmt.Errorf("%s needs a field", mod)
	}
	if it.part != nil {
		return fmt.Errorf("%s after another part of time", mod)
	}
	for _, g := range it.groups {
		for _, v := range g {
			if v.kind != isNumber && v.kind != isSpan {
				return fmt.Errorf("%s takes a number, not %s", mod, v.kind)
			}
		}
	}
	it.part = &part
	return nil
}

func (c *compiler) modify(mod string, v value) ([]value, error) {
	takes := func(kinds ...valueKind) error {
		if slices.Contains(kinds, v.kind) {
			return nil
		}
		return fmt.Errorf("%s does not take %s", mod, v.kind)
	}
	one := func(v value, err error) ([]value, error) { return []value{v}, err }
	switch mod {
	case "contains", "startswith", "endswith":
		return one(c.position(mod, v))
	case "exists":
		if err := takes(isBool); err != nil {
			return nil, err
		}
		v.kind = isExists
		return one(v, nil)
	case "cased":
		v.cased = true
		return one(v, takes(isText, isField))
	case "re":
		expr := ""
		switch v.kind {
		case isText:
			expr = v.written
		case isNumber:
			expr = v.num.text
		case isBool:
			expr = fmt.Sprint(v.yes)
		default:
			return nil, takes()
		}
		return one(value{kind: isRegexp, re: regex{expr: expr}}, nil)
	case "i", "ignorecase", "m", "multiline", "s", "dotall":
		if v.kind != isRegexp {
			return nil, fmt.Errorf("%s without re before it", mod)
		}
		if !strings.Contains(v.re.flags, mod[:1]) && mod != "dotall" {
			v.re.flags += mod[:1]
		} else if mod == "dotall" && !strings.Contains(v.re.flags, "s") {
			v.re.flags += "s"
		}
		return one(v, nil)
	case "cidr":
		if err := takes(isText); err != nil {
			return nil, err
		}
		net, err := parseNetwork(v.written)
		return one(value{kind: isNetwork, net: net}, err)
	case "lt", "lte", "gt", "gte":
		if err := takes(isNumber); err != nil {
			return nil, err
		}
		return one(value{kind: isSpan, span: spanOf(mod, v.num.val)}, nil)
	case "fieldref":
		if err := takes(isText); err != nil {
			return nil, err
		}
		if v.wild() {
			return nil, errors.New("fieldref to a name with wildcards")
		}
		name := v.plain()
		if name == "" {
			return nil, errors.New("fieldref to no field")
		}
		if err := checkField(name); err != nil {
			return nil, err
		}
		return one(value{kind: isField, other: name, cased: v.cased}, nil)
	case "base64":
		s, err := v.bytes(mod)
		return one(value{parts: literalParts(base64.StdEncoding.EncodeToString([]byte(s))), cased: true}, err)
	case "base64offset":
		s, err := v.bytes(mod)
		if err != nil {
			return nil, err
		}
		var out []value
		for _, t := range base64Offsets(s) {
			out = append(out, value{parts: literalParts(t), cased: true})
		}
		return out, nil
	case "utf16le", "wide", "utf16be", "utf16":
		if err := takes(isText); err != nil {
			return nil, err
		}
		return one(v.utf16(mod), nil)
	case "windash":
		if err := takes(isText); err != nil {
			return nil, err
		}
		return v.windash()
	case "expand":
		if err := takes(isText, isRegexp); err != nil {
			return nil, err
		}
		return c.expand(v)
	}
	return nil, fmt.Errorf("unknown modifier %q", mod)
}

// position applies contains, startswith or endswith.
func (c *compiler) position(mod string, v value) (value, error) {
	if v.kind == isNumber {
		v = value{parts: literalParts(v.num.text)}
	}
	switch v.kind {
	case isText:
		if mod != "startswith" {
			v.parts = startsOpen(v.parts)
		}
		if mod != "endswith" {
			v.parts = endsOpen(v.parts)
		}
		v.anchored = v.anchored || mod != "contains"
	case isRegexp:
		v.re.start = v.re.start || mod == "startswith"
		v.re.end = v.re.end || mod == "endswith"
	case isField:
		v.rel = map[string]match.Relation{"contains": match.Contains, "startswith": match.StartsWith, "endswith": match.EndsWith}[mod]
	default:
		return v, fmt.Errorf("%s does not take %s", mod, v.kind)
	}
	return v, nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	net, err := netip.ParsePrefix(s)
	if err != nil {
		return net, fmt.Errorf("%q is not a network", s)
	}
	if net.Masked() != net {
		return net, fmt.Errorf("%q is not a network: bits are set behind the mask; %s is meant perhaps", s, net.Masked())
	}
	return net, nil
}

// bytes is the text to be encoded.
func (v *value) bytes(mod string) (string, error) {
	switch {
	case v.kind == isNumber:
		return v.num.text, nil
	case v.kind != isText:
		return "", fmt.Errorf("%s does not take %s", mod, v.kind)
	case v.wild():
		return "", fmt.Errorf("%s of a text with wildcards", mod)
	}
	return v.plain(), nil
}

// base64Offsets gives what Base64 of s looks like at the three offsets modulo 3 inside longer text, without the
// characters that depend on what stands before and behind.
func base64Offsets(s string) []string {
	var out []string
	for i, from := range []int{0, 2, 3} {
		enc := base64.StdEncoding.EncodeToString([]byte(strings.Repeat(" ", i) + s))
		end := len(enc) - []int{0, 3, 2}[(len(s)+i)%3]
		if from >= end {
			continue // too short to leave anything stable
		}
		out = append(out, enc[from:end])
	}
	return out
}

// utf16 encodes the literal runs.
func (v value) utf16(mod string) value {
	parts := slices.Clone(v.parts)
	first := true
	for i, p := range parts {
		if p.Kind != match.Literal {
			continue
		}
		var b []byte
		if mod == "utf16" && first {
			b = append(b, 0xFF, 0xFE)
		}
		first = false
		for _, u := range utf16.Encode([]rune(p.Text)) {
			if mod == "utf16be" {
				b = append(b, byte(u>>8), byte(u))
			} else {
				b = append(b, byte(u), byte(u>>8))
			}
		}
		parts[i].Text = string(b)
	}
	v.parts = parts
	return v
}

// dashes are what windash tries for each dash of an option.
var dashes = []string{"-", "/", "\u2013", "\u2014", "\u2015"}

func (v value) windash() ([]value, error) {
	type place struct{ part, at int }
	var places []place
	for i, p := range v.parts {
		if p.Kind != match.Literal {
			continue
		}
		for at := range len(p.Text) {
			if c := p.Text[at]; c != '-' && c != '/' {
				continue
			}
			before, _ := utf8.DecodeLastRuneInString(p.Text[:at])
			after, _ := utf8.DecodeRuneInString(p.Text[at+1:])
			if (at == 0 || !wordRune(before)) && at+1 < len(p.Text) && wordRune(after) {
				places = append(places, place{i, at})
			}
		}
	}
	out := []value{v}
	for n := len(places) - 1; n >= 0; n-- { // from the end, so that places before keep their index
		var next []value
		for _, have := range out {
			for _, d := range dashes {
				parts := slices.Clone(have.parts)
				t := parts[places[n].part].Text
				parts[places[n].part].Text = t[:places[n].at] + d + t[places[n].at+1:]
				made := have
				made.parts = parts
				next = append(next, made)
			}
		}
		if len(next) > maxAlternatives {
			return nil, fmt.Errorf("windash makes more than %d alternatives of a value", maxAlternatives)
		}
		out = next
	}
	return out, nil
}

func wordRune(r rune) bool { return r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r) }

// placeholder is %name%, or an escaped percent sign.
var placeholder = regexp.MustCompile(`\\%|%(\w+)%`)

// expand replaces placeholders by each of their values.
func (c *compiler) expand(v value) ([]value, error) {
	if v.kind == isRegexp {
		exprs, err := c.fill([][]match.Part{nil}, []match.Part{{Text: v.re.expr}}, true)
		if err != nil {
			return nil, err
		}
		var out []value
		for _, parts := range exprs {
			made := v
			made.re.expr = (&value{parts: parts}).plain()
			out = append(out, made)
		}
		return out, nil
	}
	filled, err := c.fill([][]match.Part{nil}, v.parts, false)
	if err != nil {
		return nil, err
	}
	var out []value
	for _, parts := range filled {
		made := v
		made.parts = parts
		out = append(out, made)
	}
	return out, nil
}

// fill appends parts with their placeholders replaced to each of outs.
func (c *compiler) fill(outs [][]match.Part, parts []match.Part, asRegexp bool) ([][]match.Part, error) {
	add := func(more ...[]match.Part) error {
		var next [][]match.Part
		for _, have := range outs {
			for _, m := range more {
				next = append(next, slices.Concat(have, m))
			}
			if len(next) > maxAlternatives {
				return fmt.Errorf("expand makes more than %d alternatives of a value", maxAlternatives)
			}
		}
		outs = next
		return nil
	}
	for _, p := range parts {
		if p.Kind != match.Literal {
			if err := add([]match.Part{p}); err != nil {
				return nil, err
			}
			continue
		}
		at := 0
		for _, m := range placeholder.FindAllStringSubmatchIndex(p.Text, -1) {
			if err := add(literalParts(p.Text[at:m[0]])); err != nil {
				return nil, err
			}
			at = m[1]
			if m[2] < 0 {
				if err := add(literalParts("%")); err != nil {
					return nil, err
				}
				continue
			}
			name := p.Text[m[2]:m[3]]
			list, ok := c.opts.Placeholders[name]
			if !ok {
				return nil, fmt.Errorf("the placeholder %%%s%% is not configured", name)
			}
			var alts [][]match.Part
			for _, s := range list {
				alt := parsePattern(s)
				if asRegexp {
					alt = literalParts(regexpOf(alt))
				}
				alts = append(alts, alt)
			}
			if err := add(alts...); err != nil {
				return nil, err
			}
		}
		if err := add(literalParts(p.Text[at:])); err != nil {
			return nil, err
		}
	}
	return outs, nil
}

// regexpOf is the regular expression of a pattern.
func regexpOf(parts []match.Part) string {
	var b strings.Builder
	for _, p := range parts {
		switch p.Kind {
		case match.Star:
			b.WriteString(".*")
		case match.One:
			b.WriteByte('.')
		default:
			b.WriteString(regexp.QuoteMeta(p.Text))
		}
	}
	return b.String()
}
