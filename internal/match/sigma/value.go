package sigma

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strings"

	"spoor/internal/match"
)

type valueKind uint8

const (
	isText valueKind = iota
	isNumber
	isBool
	isNull
	isRegexp
	isNetwork
	isSpan   // a comparison with a number
	isField  // a reference to another field
	isExists // the modifier exists
)

func (k valueKind) String() string {
	return [...]string{"a text", "a number", "a boolean", "null", "a regular expression", "a network", "a comparison", "a field reference", "an existence test"}[k]
}

// value is one value of a rule.
type value struct {
	kind    valueKind
	written string       // a text as it stands in the rule, until a modifier is applied
	parts   []match.Part // of a text
	cased   bool         // a text, or a reference, compared with case
	num     number
	yes     bool // of a boolean and of exists
	re      regex
	net     netip.Prefix
	span    match.Span
	other   string         // the field of a reference
	rel     match.Relation // of a reference
	// anchored is set when startswith or endswith was applied, so that a keyword is not searched anywhere in a text.
	anchored bool
}

// regex is a regular expression with its flags and anchors.
type regex struct {
	expr       string
	flags      string
	start, end bool
}

func (r regex) String() string {
	expr := r.expr
	if r.start || r.end {
		expr = "(?:" + expr + ")"
	}
	if r.start {
		expr = `\A` + expr
	}
	if r.end {
		expr += `\z`
	}
	if r.flags != "" {
		expr = "(?" + r.flags + ")" + expr
	}
	return expr
}

// plainValue makes a value of what the document has.
func plainValue(v any) (value, error) {
	switch v := v.(type) {
	case nil:
		return value{kind: isNull}, nil
	case string:
		return value{written: v, parts: parsePattern(v)}, nil
	case number:
		return value{kind: isNumber, num: v}, nil
	case bool:
		return value{kind: isBool, yes: v}, nil
	case []any:
		return value{}, errors.New("a list inside a list of values")
	}
	return value{}, errors.New("a map where a value is expected")
}

// parsePattern reads a text with wildcards: * and ? stand for themselves behind a backslash, a backslash behind a
// backslash is one, and before anything else it is a plain character.
func parsePattern(s string) []match.Part {
	var parts []match.Part
	var lit strings.Builder
	flush := func() {
		if lit.Len() > 0 {
			parts = append(parts, match.Part{Text: lit.String()})
			lit.Reset()
		}
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s) && strings.IndexByte(`*?\`, s[i+1]) >= 0:
			i++
			lit.WriteByte(s[i])
		case c == '*':
			flush()
			parts = append(parts, match.Part{Kind: match.Star})
		case c == '?':
			flush()
			parts = append(parts, match.Part{Kind: match.One})
		default:
			lit.WriteByte(c)
		}
	}
	flush()
	return parts
}

// wild reports whether a text has wildcards.
func (v *value) wild() bool {
	for _, p := range v.parts {
		if p.Kind != match.Literal {
			return true
		}
	}
	return false
}

// plain is the text of a value without wildcards.
func (v *value) plain() string {
	var b strings.Builder
	for _, p := range v.parts {
		b.WriteString(p.Text)
	}
	return b.String()
}

func literalParts(s string) []match.Part {
	if s == "" {
		return nil
	}
	return []match.Part{{Text: s}}
}

// gathered are the values of an item that share a test.
type gathered struct {
	patterns []*match.Pattern
	numbers  []float64
	null     bool
	regexps  []match.Test
	nets     []netip.Prefix
	spans    []match.Span
	inner    bool // of keywords: some pattern has a wildcard inside
}

// gather adds v to g, or returns an expression of its own.
func (v *value) gather(g *gathered, c *compiler, place *match.Place) (match.Expr, error) {
	switch v.kind {
	case isText:
		parts := v.parts
		if place == nil {
			parts = v.keywordParts()
			for i, p := range parts {
				if p.Kind != match.Literal && i > 0 && i < len(parts)-1 {
					g.inner = true
				}
			}
		}
		g.patterns = append(g.patterns, match.NewPattern(parts, v.cased))
	case isNumber:
		for _, t := range v.num.texts() {
			parts := literalParts(t)
			if place == nil {
				parts = contains(parts)
			}
			g.patterns = append(g.patterns, match.NewPattern(parts, false))
		}
		if place != nil {
			g.numbers = append(g.numbers, v.num.val)
		}
	case isBool:
		t := "false"
		if v.yes {
			t = "true"
		}
		parts := literalParts(t)
		if place == nil {
			parts = contains(parts)
		}
		g.patterns = append(g.patterns, match.NewPattern(parts, false))
	case isNull:
		g.null = true
	case isRegexp:
		t, err := match.Regexp(v.re.String())
		if err != nil {
			return nil, err
		}
		g.regexps = append(g.regexps, t)
	case isNetwork:
		g.nets = append(g.nets, v.net)
	case isSpan:
		g.spans = append(g.spans, v.span)
	case isField:
		return match.FieldRef(place, c.opts.Place(v.other), v.rel, v.cased), nil
	case isExists:
		x := match.Exists(place)
		if !v.yes {
			x = match.Not(x)
		}
		return x, nil
	}
	return nil, nil
}

// tests returns the tests of what was gathered; with part they are about a part of a point in time.
func (g *gathered) tests(part *match.TimePart) []match.Test {
	var out []match.Test
	if part != nil {
		spans := g.spans
		for _, n := range g.numbers {
			spans = append(spans, match.Span{Min: n, Max: n})
		}
		return append(out, match.TimeParts(*part, spans...))
	}
	if len(g.patterns) > 0 || len(g.numbers) > 0 {
		out = append(out, match.Values(g.patterns, g.numbers...))
	}
	if g.null {
		out = append(out, match.NullOrMissing())
	}
	if len(g.nets) > 0 {
		out = append(out, match.CIDR(g.nets...))
	}
	if len(g.spans) > 0 {
		out = append(out, match.Numbers(g.spans...))
	}
	return append(out, g.regexps...)
}

// keywords returns the searches over the whole event. Patterns with wildcards inside, and regular expressions, may reach
// over several values, so they are tried on the event's JSON too.
func (g *gathered) keywords() []match.Expr {
	var out []match.Expr
	if len(g.patterns) > 0 {
		out = append(out, match.Anywhere(match.Values(g.patterns), g.inner))
	}
	for _, t := range g.regexps {
		out = append(out, match.Anywhere(t, true))
	}
	return out
}

// keyword refuses what needs a field.
func (v *value) keyword() error {
	switch v.kind {
	case isText, isNumber, isBool, isRegexp:
		return nil
	}
	return fmt.Errorf("%s needs a field", v.kind)
}

// keywordParts is the pattern of a keyword, found anywhere in a text unless the rule says where.
func (v *value) keywordParts() []match.Part {
	if v.anchored {
		return v.parts
	}
	return contains(v.parts)
}

func contains(parts []match.Part) []match.Part { return endsOpen(startsOpen(parts)) }

// startsOpen gives parts with a star before them, unless there is one.
func startsOpen(parts []match.Part) []match.Part {
	if len(parts) > 0 && parts[0].Kind == match.Star {
		return parts
	}
	return append([]match.Part{{Kind: match.Star}}, parts...)
}

// endsOpen gives parts with a star behind them, unless there is one.
func endsOpen(parts []match.Part) []match.Part {
	if len(parts) > 0 && parts[len(parts)-1].Kind == match.Star {
		return parts
	}
	return append(parts[:len(parts):len(parts)], match.Part{Kind: match.Star})
}

// span of a comparison modifier.
func spanOf(op string, n float64) match.Span {
	s := match.Span{Min: math.Inf(-1), Max: math.Inf(1)}
	switch op {
	case "lt":
		s.Max, s.OpenMax = n, true
	case "lte":
		s.Max = n
	case "gt":
		s.Min, s.OpenMin = n, true
	case "gte":
		s.Min = n
	}
	return s
}
