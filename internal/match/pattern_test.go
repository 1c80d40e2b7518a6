package match

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// parse reads * and ? as wildcards; tests need no escapes.
func parse(s string) []Part {
	var parts []Part
	for _, c := range split(s) {
		switch c {
		case "*":
			parts = append(parts, Part{Kind: Star})
		case "?":
			parts = append(parts, Part{Kind: One})
		default:
			parts = append(parts, Part{Text: c})
		}
	}
	return parts
}

func split(s string) []string {
	var out []string
	for s != "" {
		i := strings.IndexAny(s, "*?")
		switch {
		case i < 0:
			return append(out, s)
		case i > 0:
			out = append(out, s[:i])
		}
		out = append(out, s[i:i+1])
		s = s[i+1:]
	}
	return out
}

func pat(s string) *Pattern   { return NewPattern(parse(s), false) }
func cased(s string) *Pattern { return NewPattern(parse(s), true) }

func TestPattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "any\nlines", true}, {"?", "", false}, {"?", "a", true}, {"?", "é", true}, {"?", "ab", false},
		{"abc", "ABC", true}, {"ABC", "abc", true}, {"abc", "abcd", false}, {"abc", "ab", false},
		{"list*", "ListBuckets", true}, {"list*", "BlistBuckets", false}, {"*s3:get*", "xxS3:GetObject", true},
		{"*.com", "iam.amazonaws.COM", true}, {"*.com", "x.com.", false}, {"a*b*c", "a1b2c", true}, {"a*b*c", "a1c2b", false}, {"a*bc*bc", "abcbc", true}, {"a*bc*bc", "abc", false},
		{"*aab*aab", "aaab", false}, {"*aab", "aaab", true}, {"a*a", "a", false}, {"a**b", "ab", true}, {"*?", "", false}, {"*?", "x", true}, {"??*", "é", false}, {"??*", "éa", true},
		{"a?c", "aéc", true}, {"a?c", "a\nc", true}, {"a?c", "ac", false}, {"*a?c", "xxabc", true}, {"*a?c*", "xabac", false}, {"*a?c*", "xabaxcx", true},
		{"k", "\u212a", true}, {"\u212a", "K", true}, {"s", "ſ", true}, {"*kelvin*", "x\u212aelvin", true}, {"k*s", "\u212a-ſ", true}, {"*sk", "éſ\u212a", true},
		{"ÄÖ*", "äöX", true}, {"äö", "ÄÖ", true}, {"σ", "ς", true}, {"ß", "ẞ", true}, {"ß", "ss", false}, {"é*", "e", false},
		{"*é", "xÉ", true}, {"*é", "É", true}, {"aé*é", "aÉ", false},
		{"\xff", "\xff", true}, {"\xff", "\xfe", false}, {"*\xff", "\uFFFD", false}, {"?", "\xff", true},
	} {
		if got := pat(c.pattern).Match(c.text); got != c.want {
			t.Errorf("%q on %q: %v, want %v", c.pattern, c.text, got, c.want)
		}
		if got := reference(c.pattern, c.text, false); got != c.want {
			t.Errorf("%q on %q: the reference says %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"abc", "abc", true}, {"abc", "Abc", false}, {"*b*", "aBc", false}, {"*b*", "abc", true}, {"a?c", "aéc", true}, {"k", "\u212a", false}, {"*é", "xé", true}, {"*é", "xÉ", false},
	} {
		if got := cased(c.pattern).Match(c.text); got != c.want {
			t.Errorf("cased %q on %q: %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

func TestPatternExact(t *testing.T) {
	t.Parallel()
	for p, want := range map[string]string{"AbC": "abc", "": "", "a*": "-", "*": "-", "a?": "-"} {
		got, ok := pat(p).Exact()
		if !ok {
			got = "-"
		}
		if got != want {
			t.Errorf("%q: %q, want %q", p, got, want)
		}
	}
	for p, want := range map[string]bool{"*": true, "**": true, "": false, "*?": false, "*a": false} {
		if got := pat(p).All(); got != want {
			t.Errorf("%q matches all: %v, want %v", p, got, want)
		}
	}
}

// reference is the matcher in its plainest form: runes, folded, by a table.
func reference(pattern, text string, cased bool) bool {
	runes := func(s string) []rune {
		var out []rune
		for s != "" {
			r, n := utf8.DecodeRuneInString(s)
			if r == utf8.RuneError && n == 1 {
				r = -100 - rune(s[0])
			} else if !cased {
				least := r
				for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
					least = min(least, f)
				}
				r = least
			}
			out = append(out, r)
			s = s[n:]
		}
		return out
	}
	const star, one = -1, -2
	var p []rune
	for _, s := range split(pattern) {
		switch s {
		case "*":
			p = append(p, star)
		case "?":
			p = append(p, one)
		default:
			p = append(p, runes(s)...)
		}
	}
	row := make([]bool, len(p)+1)
	row[0] = true
	for i, r := range p {
		row[i+1] = row[i] && r == star
	}
	for _, c := range runes(text) {
		next := make([]bool, len(p)+1)
		for i, r := range p {
			if r == star {
				next[i+1] = next[i] || row[i+1]
			} else {
				next[i+1] = row[i] && (r == one || r == c)
			}
		}
		row = next
	}
	return row[len(p)]
}

func FuzzPattern(f *testing.F) {
	for _, s := range [][2]string{{"a*b?c", "aXbYc"}, {"*K?s*", "\u212aé\u017f"}, {"ÄÖ*?", "äöß"}, {"*aab*aab*", "aaabaab"}, {"\xff*é", "\xff\xc3é"}, {"?\xc3", "é\xc3"}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, pattern, text string) {
		for _, mode := range []bool{false, true} {
			p := NewPattern(parse(pattern), mode)
			want := reference(pattern, text, mode)
			if got := p.Match(text); got != want {
				t.Errorf("%q on %q, cased %v: %v, want %v", pattern, text, mode, got, want)
			}
			if want && isASCII(text) {
				for _, run := range p.runs() {
					if !strings.Contains(Fold(text), run) {
						t.Errorf("%q matches %q, which lacks the run %q", pattern, text, run)
					}
				}
			}
		}
		if (Fold(pattern) == Fold(text)) != reference(strings.NewReplacer("*", "-", "?", "+").Replace(pattern), strings.NewReplacer("*", "-", "?", "+").Replace(text), false) && !strings.ContainsAny(pattern+text, "*?") {
			t.Errorf("Fold of %q and %q disagrees with the reference", pattern, text)
		}
	})
}
