package match

import (
	"regexp"
	"testing"
)

// FuzzRequired checks that the clauses of an expression hold for every text that it matches.
func FuzzRequired(f *testing.F) {
	for _, expr := range []string{`:assumed-role/[^/]+/i-[0-9a-f]{8,17}$`, `(?i)(?:^|/)[^/]*(?:ransom|how[_\- ]?to[_\- ]?decrypt)`, `^(a|bc|d?)x+`, `(?i)k{2,}ſ`, `(ab){0,2}c|abd`, `a(?:|b)c`, `[ab]c`, `(?i:Ab)C`} {
		for _, text := range []string{"arn:aws:sts::1:assumed-role/r/i-0123456789", "x/HOW to decrypt", "bcxx", "KKs", "ababc", "abd", "ac", "bc", "aBC"} {
			f.Add(expr, text)
		}
	}
	f.Fuzz(func(t *testing.T, expr, text string) {
		plain, err := regexp.Compile(expr)
		if err != nil || len(expr) > 1000 {
			return
		}
		test, err := Regexp(expr)
		if err != nil {
			return
		}
		if got, want := test.(*re).text(nil, text), plain.MatchString(text); got != want {
			t.Fatalf("%q in %q: %v, want %v; clauses %v", expr, text, got, want, required(expr))
		}
	})
}

func TestRequired(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string][]int{ // the number of literals of each clause
		`:assumed-role/[^/]+/i-[0-9a-f]{8,17}$`: {1, 1},
		`(ransom|decrypt)[0-9]+\.txt`:           {2, 1},
		`a*|b`:                                  nil,
		`[ab]c?`:                                nil,
	} {
		got := required(expr)
		ok := len(got) == len(want)
		for i := range want {
			ok = ok && len(got[i]) == want[i]
		}
		if !ok {
			t.Errorf("%s: %v", expr, got)
		}
	}
}
