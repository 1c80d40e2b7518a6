package match

import (
	"regexp/syntax"
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

// required returns a literal that every match of expr contains, the longest that is easily seen, and whether it is to
// be compared without regard to case.
func required(expr string) (lit string, folded bool) {
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return "", false
	}
	var see func(*syntax.Regexp)
	see = func(x *syntax.Regexp) {
		switch x.Op {
		case syntax.OpLiteral:
			if s := string(x.Rune); len(s) > len(lit) {
				lit, folded = s, x.Flags&syntax.FoldCase != 0
			}
		case syntax.OpConcat, syntax.OpCapture, syntax.OpPlus:
			for _, sub := range x.Sub {
				see(sub)
			}
		case syntax.OpRepeat:
			if x.Min > 0 {
				see(x.Sub[0])
			}
		}
	}
	see(tree.Simplify())
	return lit, folded
}
