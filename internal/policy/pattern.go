package policy

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// In an expanded pattern these stand for * and ?, which may be in the value of a variable as themselves. No pattern and no value
// of a variable has control characters.
const (
	anyText = '\x01'
	anyChar = '\x02'
)

// pattern is text with wildcards and variables.
type pattern struct {
	text  string // as it was written
	parts []part
}

// part is text in its expanded form, or a variable.
type part struct {
	text     string
	variable string // key of a condition, in small letters
	other    string // where it has no value
	hasOther bool
}

func (p *pattern) variables() bool { return len(p.parts) > 1 || p.parts[0].variable != "" }

var (
	errControl  = errors.New("it has control characters")
	errVariable = errors.New("want a variable such as ${aws:username}, or one with ${aws:username, 'what else'}")
)

// parsePattern reads text, with variables where the version has them, and with wildcards where they mean something.
func parsePattern(text string, variables, wild bool) (pattern, error) {
	p := pattern{text: text}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return p, errControl
	}
	var plain strings.Builder
	flush := func() {
		if plain.Len() > 0 {
			p.parts = append(p.parts, part{text: plain.String()})
			plain.Reset()
		}
	}
	for rest := text; rest != ""; {
		switch {
		case variables && strings.HasPrefix(rest, "${"):
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return p, errVariable
			}
			name := rest[2:end]
			rest = rest[end+1:]
			if name == "*" || name == "?" || name == "$" {
				plain.WriteString(name)
				continue
			}
			v := part{}
			name, other, has := strings.Cut(name, ",")
			if has {
				other = strings.TrimSpace(other)
				if len(other) < 2 || other[0] != '\'' || other[len(other)-1] != '\'' {
					return p, errVariable
				}
				v.other, v.hasOther = other[1:len(other)-1], true
			}
			name = strings.TrimSpace(name)
			if v.variable = strings.ToLower(name); !strings.Contains(name, ":") || strings.ContainsAny(name, "${' ") {
				return p, errVariable
			}
			flush()
			p.parts = append(p.parts, v)
		default:
			c := rest[0]
			switch {
			case wild && c == '*':
				c = anyText
			case wild && c == '?':
				c = anyChar
			}
			plain.WriteByte(c)
			rest = rest[1:]
		}
	}
	flush()
	if len(p.parts) == 0 {
		p.parts = []part{{}}
	}
	return p, nil
}

// expand puts in the values of variables. It fails where one has no value, several, or one that cannot be compared.
func (p *pattern) expand(values map[string][]string) (string, bool) {
	if !p.variables() {
		return p.parts[0].text, true
	}
	var b strings.Builder
	for _, t := range p.parts {
		switch have := values[t.variable]; {
		case t.variable == "":
			b.WriteString(t.text)
		case len(have) == 1 && !strings.ContainsFunc(have[0], unicode.IsControl):
			b.WriteString(have[0])
		case len(have) == 0 && t.hasOther:
			b.WriteString(t.other)
		default:
			return "", false
		}
	}
	return b.String(), true
}

// Like matches text with a pattern in which * is any text and ? any character.
func Like(pattern, text string) bool { return like(pattern, text, '*', '?') }

func like(pattern, text string, star, char byte) bool {
	at, from := -1, 0
	p, i := 0, 0
	for i < len(text) {
		_, size := utf8.DecodeRuneInString(text[i:])
		switch {
		case p < len(pattern) && pattern[p] == star:
			at, from = p, i
			p++
		case p < len(pattern) && pattern[p] == char:
			p++
			i += size
		case p < len(pattern) && pattern[p] == text[i]:
			p++
			i++
		case at >= 0:
			_, size := utf8.DecodeRuneInString(text[from:])
			from += size
			p, i = at+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], string(rune(star))) == ""
}

// arnParts is how many an ARN has. Wildcards do not reach over their borders.
const arnParts = 6

// likeARN compares the parts of an ARN with those of an expanded pattern, each by itself. Parts that the pattern has not are
// anything, as where a policy names resources by the begin of their ARNs.
func likeARN(expanded, arn string) bool {
	if expanded == string(rune(anyText)) {
		return true
	}
	want, have := strings.SplitN(expanded, ":", arnParts), strings.SplitN(arn, ":", arnParts)
	if len(have) != arnParts {
		return false
	}
	for i := range want {
		if !like(want[i], have[i], anyText, anyChar) {
			return false
		}
	}
	return true
}
