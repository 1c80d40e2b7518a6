package match

import (
	"cmp"
	"regexp/syntax"
	"slices"
	"strings"
)

// foreign names the first construct of expr that RE2 lacks although other engines have it, "" when there is none.
func foreign(expr string) string {
	class := false
	for i := 0; i < len(expr); i++ {
		rest := expr[i:]
		switch {
		case expr[i] == '\\':
			if i+1 < len(expr) && !class {
				switch c := expr[i+1]; {
				case '1' <= c && c <= '9':
					return "a back-reference (" + rest[:2] + ")"
				case c == 'k' || c == 'g':
					return "a back-reference (" + rest[:2] + ")"
				case c == 'Q':
					if end := strings.Index(rest, `\E`); end > 0 {
						i += end
					} else {
						return ""
					}
				}
			}
			i++
		case class:
			if expr[i] == ']' {
				class = false
			}
		case expr[i] == '[':
			class = true
			if strings.HasPrefix(rest, "[^]") {
				i += 2
			} else if strings.HasPrefix(rest, "[]") {
				i++
			}
		case strings.HasPrefix(rest, "(?="), strings.HasPrefix(rest, "(?!"):
			return "look-ahead (" + rest[:3] + ")"
		case strings.HasPrefix(rest, "(?<="), strings.HasPrefix(rest, "(?<!"):
			return "look-behind (" + rest[:4] + ")"
		case strings.HasPrefix(rest, "(?P="):
			return "a back-reference ((?P=)"
		case strings.HasPrefix(rest, "(?>"):
			return "an atomic group ((?>)"
		case strings.HasPrefix(rest, "(?("):
			return "a conditional group ((?()"
		case strings.HasPrefix(rest, "++"), strings.HasPrefix(rest, "*+"), strings.HasPrefix(rest, "?+"):
			return "a possessive quantifier (" + rest[:2] + ")"
		}
	}
	return ""
}

// literal is text that a match contains, compared without regard to case when folded.
type literal struct {
	text   string
	folded bool
}

// The bounds of what [required] gives.
const (
	maxClauses  = 4
	maxLiterals = 24 // of one clause
)

// required returns clauses that every match of expr meets: of each, at least one literal stands in the text. The longest
// are kept. They are cheaper to look for than the expression.
func required(expr string) [][]literal {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil
	}
	clauses := clausesOf(tree.Simplify())
	slices.SortStableFunc(clauses, func(a, b []literal) int { return cmp.Compare(weight(b), weight(a)) })
	return clauses[:min(len(clauses), maxClauses)]
}

// weight says how much a clause is worth: the length of its shortest literal, less what many literals cost.
func weight(clause []literal) int {
	shortest := len(clause[0].text)
	for _, l := range clause {
		shortest = min(shortest, len(l.text))
	}
	return 4*shortest - len(clause)
}

func clausesOf(x *syntax.Regexp) (out [][]literal) {
	switch x.Op {
	case syntax.OpLiteral:
		return [][]literal{{{string(x.Rune), x.Flags&syntax.FoldCase != 0}}}
	case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
		for _, sub := range x.Sub {
			out = append(out, clausesOf(sub)...)
		}
	case syntax.OpRepeat:
		if x.Min > 0 {
			return clausesOf(x.Sub[0])
		}
	case syntax.OpAlternate:
		var any []literal
		for _, sub := range x.Sub {
			clauses := clausesOf(sub)
			if len(clauses) == 0 {
				return nil
			}
			any = append(any, slices.MaxFunc(clauses, func(a, b []literal) int { return cmp.Compare(weight(a), weight(b)) })...)
		}
		if len(any) <= maxLiterals {
			return [][]literal{any}
		}
	}
	return out
}
