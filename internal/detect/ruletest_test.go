package detect

import (
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func runTests(t *testing.T, files map[string]string) []string {
	t.Helper()
	results, err := RunTests(t.Context(), filesOf(files), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range results {
		out = append(out, r.String())
	}
	return out
}

func TestRunTests(t *testing.T) {
	t.Parallel()
	a := rule("A", "Make")
	chain := rule("Step", "Make") + correlationDoc("Chain", "event_count", "Step", "  group-by: sourceIPAddress\n  condition: {gte: 3}\n")
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"passes", map[string]string{"d/a.yml": a, "d/a.test.yml": "fire:\n- name: it\n  event: {eventName: Make}\nquiet:\n- event: {eventName: Take}\n"},
			[]string{`d/a.test.yml: A: fire "it": ok`, `d/a.test.yml: A: quiet "1": ok`}},
		{"does not fire, and fires", map[string]string{"a.yml": a, "a.test.yml": "fire:\n- event: {eventName: Take}\nquiet:\n- name: benign\n  event: {eventName: Make}\n"},
			[]string{`a.test.yml: A: fire "1": did not fire`, `a.test.yml: A: quiet "benign": fired: eventName = "Make"`}},
		{"untested", map[string]string{"a.yml": a, "b.yml": rule("B", "B"), "b.test.yml": "fire:\n- event: {eventName: B}\n"},
			[]string{"a.yml: A: untested: it has no fire case", "a.yml: A: untested: it has no quiet case", `b.test.yml: B: fire "1": ok`, "b.yml: B: untested: it has no quiet case"}},
		{"no rule file", map[string]string{"x.test.yml": "fire: []\n"}, []string{"x.test.yml: there is no rule file that could be loaded beside it: x.yml"}},
		{"broken rule", map[string]string{"x.yml": "title: X\n"}, []string{"x.yml: X: document 1 could not be loaded: neither a rule (detection) nor a correlation nor a filter"}},
		{"defaults and absent", map[string]string{"a.yml": strings.Replace(a, "{eventName: Make}", "{eventName: Make, awsRegion: eu-central-1, errorCode: null, sourceIPAddress|exists: false, userIdentity.userName: null}", 1),
			"a.test.yml": "defaults: {awsRegion: eu-central-1, errorCode: X}\nfire:\n- absent: [sourceIPAddress, errorCode]\n  event: {eventName: Make, userIdentity: {type: Root}}\nquiet:\n- event: {eventName: Make}\n- absent: [sourceIPAddress]\n  event: {eventName: Make, errorCode: ~, userIdentity: {type: Root}, awsRegion: us-east-1}\n"},
			[]string{`a.test.yml: A: fire "1": ok`, `a.test.yml: A: quiet "1": ok`, `a.test.yml: A: quiet "2": ok`}},
		{"values", map[string]string{"a.yml": strings.Replace(a, "{eventName: Make}", "{requestParameters.when: '2026-01-02', requestParameters.n|gt: 1, requestParameters.yes: 'yes', requestParameters.b: 'true', requestParameters.list: x, responseElements: null, eventVersion: '1.11'}", 1),
			"a.test.yml": "fire:\n- event: {requestParameters: {when: 2026-01-02, n: 0x10, yes: yes, b: True, list: [w, x]}}\nquiet:\n- event: {}\n"},
			[]string{`a.test.yml: A: fire "1": ok`, `a.test.yml: A: quiet "1": ok`}},
		{"correlation: repeat and at", map[string]string{"c.yml": chain,
			"c.test.yml": "fire:\n- events:\n  - {at: 0s, repeat: 3, every: 20s, eventName: Make}\nquiet:\n- events:\n  - {at: 0s, repeat: 3, every: 30s, eventName: Make}\n- events:\n  - {eventName: Make}\n  - {eventName: Make}\n"},
			[]string{`c.test.yml: Chain: fire "1": ok`, `c.test.yml: Chain: quiet "1": ok`, `c.test.yml: Chain: quiet "2": ok`}},
		{"correlation fails", map[string]string{"c.yml": chain,
			"c.test.yml": "fire:\n- events:\n  - {repeat: 2, eventName: Make}\nquiet:\n- events:\n  - {repeat: 3, every: 1s, eventName: Make}\n"},
			[]string{`c.test.yml: Chain: fire "1": did not fire; events that matched its rules: "Step": 2`, `c.test.yml: Chain: quiet "1": fired: 3 events in 2s`}},
		{"a case for the step of a chain", map[string]string{"c.yml": chain,
			"c.test.yml": "fire:\n- rule: Step\n  event: {eventName: Make}\n- events: [{repeat: 3, eventName: Make}]\nquiet:\n- event: {eventName: Make}\n"},
			[]string{`c.test.yml: Step: fire "1": ok`, `c.test.yml: Chain: fire "2": ok`, `c.test.yml: Chain: quiet "1": ok`}},
		{"several rules", map[string]string{"a.yml": a + rule("B", "B"), "a.test.yml": "rule: B\nfire:\n- event: {eventName: B}\nquiet:\n- event: {eventName: Make}\n---\nrule: A\nfire:\n- event: {eventName: Make}\n- rule: Z\n  event: {}\nquiet:\n- rule: ''\n  event: {}\n"},
			[]string{`a.test.yml: B: fire "1": ok`, `a.test.yml: B: quiet "1": ok`, `a.test.yml: A: fire "1": ok`, `a.test.yml: fire "2": the rule file has no rule "Z"`, `a.test.yml: A: quiet "1": ok`}},
		{"several rules, none named", map[string]string{"a.yml": a + rule("B", "B"), "a.test.yml": "fire:\n- event: {}\n"},
			[]string{"a.test.yml: fire \"1\": name the rule with `rule:`, the file has several: \"A\", \"B\"",
				"a.yml: A: untested: it has no fire case", "a.yml: A: untested: it has no quiet case", "a.yml: B: untested: it has no fire case", "a.yml: B: untested: it has no quiet case"}},
		{"attempts: ignore", map[string]string{"a.yml": rule("A", "Make", "spoor: {attempts: ignore}"), "a.test.yml": "fire:\n- event: {eventName: Make, errorCode: AccessDenied}\nquiet:\n- event: {eventName: Make, errorCode: AccessDenied}\n"},
			[]string{`a.test.yml: A: fire "1": did not fire: the call failed, and the rule says attempts: ignore`, `a.test.yml: A: quiet "1": ok`}},
		{"quiet is about this rule alone", map[string]string{"a.yml": a, "a.test.yml": "fire:\n- event: {eventName: Make}\nquiet:\n- event: {eventName: B}\n", "b.yml": rule("B", "B"), "b.test.yml": "fire:\n- event: {eventName: Make}\nquiet:\n- event: {eventName: Make}\n"},
			[]string{`a.test.yml: A: fire "1": ok`, `a.test.yml: A: quiet "1": ok`, `b.test.yml: B: fire "1": did not fire; these did: "A"`, `b.test.yml: B: quiet "1": ok`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got := runTests(t, c.files)
			if !slices.Equal(got, c.want) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
		})
	}
}

func TestRunTestsMistakes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"fires: []\n":                            `unknown key "fires"`,
		"fire: {event: {}}\n":                    "fire is not a list of cases",
		"fire: [x]\n":                            "not a map",
		"fire: [{evnt: {}}]\n":                   `unknown key "evnt"`,
		"fire: [{name: x}]\n":                    "the case has no event",
		"fire: [{event: {}, events: []}]\n":      "give either event or events",
		"fire: [{event: 3}]\n":                   "event: not a map",
		"fire: [{events: []}]\n":                 "events is not a list of events",
		"fire: [{events: [{at: soon}]}]\n":       `event 1: at: "soon" is not a duration`,
		"fire: [{events: [{}, {repeat: 0}]}]\n":  `event 2: repeat: "0" is not a number from 1 on`,
		"fire: [{events: [{repeat: 999999}]}]\n": "more than 100000 events",
		"fire: [{events: [{at: 1s, eventTime: '2026-01-01T00:00:00Z'}]}]\n": "eventTime goes with neither at nor repeat",
		"fire: [{event: {eventTime: noon}}]\n":                              `eventTime "noon" is not a time`,
		"fire: [{event: {eventName: a, eventName: b}}]\n":                   `the key "eventName" is there twice`,
		"fire: [{event: {x: .nan}}]\n":                                      "is not a number of JSON",
		"fire: [{event: {eventName: &a [*a]}}]\n":                           "nested too deep",
		"defaults: 3\n":                           "defaults: not a map",
		"fire: [{absent: {a: b}, event: {}}]\n":   "absent: not a list of names",
		"fire: [{event: &a {<<: &b {<<: *a}}}]\n": "merged too deep",
		"a: [\n": "yaml:",
		"":       "the file holds no cases",
	} {
		got := strings.Join(runTests(t, map[string]string{"a.yml": rule("A", "Make"), "a.test.yml": text}), "\n")
		if !strings.Contains(got, want) || !strings.HasPrefix(got, "a.test.yml: ") {
			t.Errorf("%q:\n%s\ndoes not say %q", text, got, want)
		}
	}
}

func FuzzRuleTest(f *testing.F) {
	f.Add("fire:\n- name: x\n  absent: [a]\n  events:\n  - {at: 1s, repeat: 2, every: 1s, eventName: Make, x: [1, ~, 2026-01-01]}\nquiet:\n- event: &a {<<: {b: 1}}\n")
	f.Add("fire: [{event: {eventName: &a [*a]}}]\n")
	rules := rule("A", "Make")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "repeat") && len(text) > 200 {
			t.Skip("slow, not wrong")
		}
		_, err := RunTests(t.Context(), fstest.MapFS{"a.yml": {Data: []byte(rules)}, "a.test.yml": {Data: []byte(text)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
	})
}
