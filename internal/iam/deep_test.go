package iam

import (
	"strings"
	"testing"
	"time"
)

// TestDeepPolicies: policies that are nested too deep or too long are refused before anybody spends stack and time on them,
// and the worst that is let through is quick.
func TestDeepPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		before, after string
		n             int
		want          string
	}{
		{"(", ")", 50, ""},
		{"if true then ", " else true", 50, ""},
		{"(", ")", 5000, "line 1: nested deeper than 64"},
		{"!", "", 5000, "line 1: nested deeper than 64"},
		{"-", "", 5000, "line 1: nested deeper than 64"},
		{"[", "]", 5000, "line 1: nested deeper than 64"},
		{"{a: ", "}", 5000, "line 1: nested deeper than 64"},
		{"if true then ", " else true", 5000, "line 1: nested deeper than 64"},
		{"true && ", "", 2000, ""},
		{"true || ", "", 2000, ""},
		{"true && ", "", 5000, "line 1: the policy is longer than 16384 bytes"},
		{"", ".a", 5000, "unexpected type"},
		{"!(-(", "))", 40, "line 1: nested deeper than 64"},
		{"1 - 1 != 2 && ", "", 100, ""},
	} {
		text := "permit (principal, action, resource) when { " + strings.Repeat(c.before, c.n) + "true" + strings.Repeat(c.after, c.n) + " };"
		began := time.Now()
		_, err := ParsePolicies(PolicyFile{"deep.cedar", text})
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("%d times %q took %v", c.n, c.before+c.after, took)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%d times %q: %.200v; want %s", c.n, c.before+c.after, err, c.want)
		}
	}
	// Brackets in strings and comments open nothing.
	text := "// " + strings.Repeat("(", 100) + "\npermit (principal, action, resource) when { principal.name == \"" + strings.Repeat(`[\"`, 100) + "\" };"
	if _, err := ParsePolicies(PolicyFile{"deep.cedar", text}); err != nil {
		t.Error(err)
	}
}
