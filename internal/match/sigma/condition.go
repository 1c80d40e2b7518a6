package sigma

import (
	"fmt"
	"strconv"
	"strings"

	"spoor/internal/match"
)

// selections are the search identifiers of a detection, compiled.
type selections struct {
	names    []string
	exprs    map[string]match.Expr
	warnings []string
}

// maxConditionDepth bounds nested parentheses and nots.
const maxConditionDepth = 64

// condition compiles the text of a condition.
func (s *selections) condition(text string) (match.Expr, error) {
	p := conditionParser[match.Expr]{toks: tokens(text), ops: ops[match.Expr]{
		and: match.And, or: match.Or, not: match.Not, ref: s.identifier, quant: s.quantifier,
	}}
	x, err := p.parse()
	if err != nil {
		return nil, fmt.Errorf("condition %q: %w", text, err)
	}
	return x, nil
}

func (s *selections) identifier(name string) (match.Expr, error) {
	x, ok := s.exprs[name]
	if !ok {
		return nil, fmt.Errorf("undefined identifier %q", name)
	}
	return x, nil
}

func (s *selections) quantifier(n int, pattern string) (match.Expr, error) {
	glob := match.NewPattern(parsePattern(pattern), true)
	var xs []match.Expr
	for _, name := range s.names {
		hidden := strings.HasPrefix(name, "_")
		switch {
		case pattern == "them":
			if hidden {
				continue
			}
		case hidden && !strings.HasPrefix(pattern, "_"):
			continue
		case !glob.Match(name):
			continue
		}
		xs = append(xs, s.exprs[name])
	}
	switch {
	case len(xs) == 0:
		return nil, fmt.Errorf("no identifier fits %q", pattern)
	case n == allOf:
		return match.And(xs...), nil
	case n > len(xs):
		s.warnings = append(s.warnings, fmt.Sprintf("%d of %s can never hold: %d fit", n, pattern, len(xs)))
	}
	return match.AtLeast(n, xs...), nil
}

// allOf is the count of `all of`.
const allOf = -1

// ops build the result of a condition out of its parts.
type ops[T any] struct {
	and, or func(...T) T
	not     func(T) T
	ref     func(name string) (T, error)
	quant   func(n int, pattern string) (T, error) // nil: not allowed
}

// conditionParser reads: or binds weakest, then and, then not, then `N of pattern`, identifiers and parentheses.
type conditionParser[T any] struct {
	toks []string
	at   int
	ops  ops[T]
}

// tokens cuts a condition into parentheses and words.
func tokens(text string) []string {
	var out []string
	word := -1
	flush := func(end int) {
		if word >= 0 {
			out = append(out, text[word:end])
			word = -1
		}
	}
	for i, c := range text {
		switch c {
		case '(', ')':
			flush(i)
			out = append(out, text[i:i+1])
		case ' ', '\t', '\n', '\r':
			flush(i)
		default:
			if word < 0 {
				word = i
			}
		}
	}
	flush(len(text))
	return out
}

func (p *conditionParser[T]) peek() string {
	if p.at < len(p.toks) {
		return p.toks[p.at]
	}
	return ""
}

func (p *conditionParser[T]) keyword(word string) bool {
	if strings.EqualFold(p.peek(), word) {
		p.at++
		return true
	}
	return false
}

func (p *conditionParser[T]) parse() (T, error) {
	x, err := p.or(0)
	if err == nil && p.at < len(p.toks) {
		err = fmt.Errorf("unexpected %q", p.peek())
	}
	return x, err
}

func (p *conditionParser[T]) or(depth int) (T, error) {
	return p.chain("or", p.and, p.ops.or, depth)
}

func (p *conditionParser[T]) and(depth int) (T, error) {
	return p.chain("and", p.not, p.ops.and, depth)
}

func (p *conditionParser[T]) chain(word string, part func(int) (T, error), join func(...T) T, depth int) (T, error) {
	x, err := part(depth)
	if err != nil || !strings.EqualFold(p.peek(), word) {
		return x, err
	}
	xs := []T{x}
	for p.keyword(word) {
		if x, err = part(depth); err != nil {
			return x, err
		}
		xs = append(xs, x)
	}
	return join(xs...), nil
}

func (p *conditionParser[T]) not(depth int) (T, error) {
	if depth > maxConditionDepth {
		var none T
		return none, fmt.Errorf("nested deeper than %d", maxConditionDepth)
	}
	if p.keyword("not") {
		x, err := p.not(depth + 1)
		if err != nil {
			return x, err
		}
		return p.ops.not(x), nil
	}
	return p.primary(depth)
}

func (p *conditionParser[T]) primary(depth int) (none T, err error) {
	tok := p.peek()
	p.at++
	switch {
	case tok == "":
		return none, fmt.Errorf("it ends where an identifier is expected")
	case tok == "(":
		x, err := p.or(depth + 1)
		if err != nil {
			return none, err
		}
		if p.peek() != ")" {
			return none, fmt.Errorf("a parenthesis is not closed")
		}
		p.at++
		return x, nil
	case strings.EqualFold(p.peek(), "of"):
		return p.quantified(tok)
	case strings.EqualFold(tok, "and"), strings.EqualFold(tok, "or"), tok == ")":
		return none, fmt.Errorf("unexpected %q", tok)
	case !isIdentifier(tok, false):
		return none, fmt.Errorf("%q is not an identifier", tok)
	}
	return p.ops.ref(tok)
}

func (p *conditionParser[T]) quantified(count string) (none T, err error) {
	n := 0
	switch {
	case strings.EqualFold(count, "all"):
		n = allOf
	case strings.EqualFold(count, "any"):
		n = 1
	default:
		if n, err = strconv.Atoi(count); err != nil || n < 1 {
			return none, fmt.Errorf("%q of: expected all, any or a number from 1", count)
		}
	}
	p.at++ // of
	pattern := p.peek()
	p.at++
	if strings.EqualFold(pattern, "them") {
		pattern = "them"
	}
	if !isIdentifier(pattern, true) {
		return none, fmt.Errorf("%q is not a pattern of identifiers", pattern)
	}
	if p.ops.quant == nil {
		return none, fmt.Errorf("%s of %s: not allowed here", count, pattern)
	}
	return p.ops.quant(n, pattern)
}

func isIdentifier(s string, star bool) bool {
	for _, c := range s {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		case c == '*' && star:
		default:
			return false
		}
	}
	return s != ""
}
