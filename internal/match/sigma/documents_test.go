package sigma

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func parseAll(t testing.TB, text string) (Documents, []Problem) {
	t.Helper()
	return Parse("f.yml", []byte(text), testOptions)
}

const head = "logsource: {product: aws, service: cloudtrail}\n"

func TestMeta(t *testing.T) {
	t.Parallel()
	docs, problems := parseAll(t, "title: T\nid: 0815\nname: n\nstatus: Test\nlevel: HIGH\ndescription: |\n  d\n  e\nlicense: DRL 1.1\nauthor: [a, b]\ndate: 2024/01/02\nmodified: 2024-03-04\n"+
		"references:\nfalsepositives: Unknown\nfields: [eventName, 5]\ntags: [attack.initial_access, attack.T1078.004, cis.aws.4.1, attack.defense-evasion]\n"+
		"related: [{id: x, type: similar}, y]\nscope: [z]\nunknown: {key: [1]}\nspoor: {check: [look, there], attempts: lower, controls: CIS-4.1, signals: [S]}\n"+
		head+"detection: {s: {a: b}, condition: s}\n")
	if len(problems) != 0 || len(docs.Rules) != 1 {
		t.Fatalf("%d rules, %+v", len(docs.Rules), problems)
	}
	want := Meta{ID: "0815", Name: "n", Title: "T", Status: "test", Level: "high", Description: "d\ne", License: "DRL 1.1", Author: "a, b", Date: "2024/01/02", Modified: "2024-03-04",
		FalsePositives: []string{"Unknown"}, Fields: []string{"eventName", "5"}, Tags: []string{"attack.initial-access", "attack.t1078.004", "cis.aws.4.1", "attack.defense-evasion"},
		Related: []Related{{"x", "similar"}}, Spoor: Extension{Check: []string{"look", "there"}, Attempts: "lower", Controls: []string{"CIS-4.1"}, Signals: []string{"S"}}, File: "f.yml", Doc: 1}
	if got := docs.Rules[0].Meta; !reflect.DeepEqual(got, want) {
		t.Errorf("%+v\nwant %+v", got, want)
	}
	if got := docs.Rules[0].LogSource; got != (LogSource{Product: "aws", Service: "cloudtrail"}) {
		t.Errorf("log source %+v", got)
	}
}

func TestLogSource(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    LogSource
		want bool
	}{
		{LogSource{"", "aws", "cloudtrail"}, true}, {LogSource{"", "aws", ""}, true}, {LogSource{"", "", "cloudtrail"}, true}, {LogSource{}, true},
		{LogSource{"", "aws", "route53"}, false}, {LogSource{"", "azure", ""}, false}, {LogSource{"webserver", "aws", "cloudtrail"}, false}, {LogSource{"process_creation", "", ""}, false},
	} {
		if got := c.s.Applies(); got != c.want {
			t.Errorf("%+v: %v, want %v", c.s, got, c.want)
		}
	}
}

// TestBrokenDocuments: each broken document is named with its place and reason, and the others load.
func TestBrokenDocuments(t *testing.T) {
	t.Parallel()
	good := "title: good\n" + head + "detection: {s: {a: b}, condition: s}\n"
	for bad, want := range map[string]string{
		"title: x\n  bad: : :\n": "not YAML: line 6",
		"- a\n- b\n":             "not a map",
		"just text\n":            "not a map",
		"title: x\n":             "neither a rule",
		head + "detection: {s: {a: b}, condition: s}\n":                                          "no title",
		"title: x\ndetection: {s: {a: b}, condition: s}\n":                                       "no logsource",
		"title: x\nlogsource: aws\ndetection: {}\n":                                              "no logsource",
		"title: x\nlogsource: {product: [aws]}\ndetection: {}\n":                                 "logsource.product is not a text",
		"title: x\n" + head + "detection: s\n":                                                   "detection is not a map",
		"title: x\ntitle: y\n":                                                                   `"title" occurs twice`,
		"title: x\n? [a, b]\n: c\n":                                                              "key that is not plain text",
		"title: x\nspoor: {attempts: never}\n" + head + "detection: {s: {a: b}, condition: s}\n": "spoor.attempts",
		"title: x\naction: explode\n":                                                            `unknown action "explode"`,
		"title: *nothing\n":                                                                      "unknown anchor",
		"title: x\na: &a [*a]\n":                                                                 "",
		"title: x\na: " + strings.Repeat("[", 80) + strings.Repeat("]", 80) + "\n":               "nested deeper than 64",
		"title: x\ncorrelation: y\n":                                                             "correlation is not a map",
		"title: x\n" + head + "filter: y\n":                                                      "filter is not a map",
	} {
		docs, problems := parseAll(t, good+"---\n"+bad+"---\n"+strings.Replace(good, "good", "second", 1))
		if len(docs.Rules) != 2 || len(problems) != 1 || !problems[0].Fatal || problems[0].Doc != 2 || problems[0].File != "f.yml" || !strings.Contains(problems[0].Reason, want) {
			t.Errorf("%q: %d rules, %+v, want one problem of document 2 with %q", bad, len(docs.Rules), problems, want)
		}
		if len(docs.Rules) == 2 && (docs.Rules[1].Doc != 3 || docs.Rules[1].Title != "second") {
			t.Errorf("%q: the last rule is %q, document %d", bad, docs.Rules[1].Title, docs.Rules[1].Doc)
		}
	}
}

func TestAliasBomb(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("title: x\nl0: &l0 [a, a, a, a, a, a, a, a, a, a]\n")
	for i := range 9 {
		fmt.Fprintf(&b, "l%d: &l%d [*l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d, *l%d]\n", i+1, i+1, i, i, i, i, i, i, i, i, i, i)
	}
	_, problems := parseAll(t, b.String())
	if len(problems) != 1 || !strings.Contains(problems[0].Reason, "with its aliases expanded") {
		t.Errorf("%+v", problems)
	}
}

func TestFileBounds(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{strings.Repeat("#", MaxFile+1): "the limit is", "": "no document", "---\n# nothing\n---\n...\n": "no document"} {
		docs, problems := parseAll(t, text)
		if len(docs.Rules) != 0 || len(problems) != 1 || !problems[0].Fatal || problems[0].Doc != 0 || !strings.Contains(problems[0].Reason, want) {
			t.Errorf("%.20q: %+v, want %q", text, problems, want)
		}
	}
}

func TestSplit(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"a: 1\n---\nb: 2\n":                         {"a: 1\n@0", "---\nb: 2\n@1"},
		"---\na: 1\n--- {b: 2}\n---\n---\nc: 3":     {"---\na: 1\n@0", "--- {b: 2}\n@2", "---\nc: 3@4"},
		"%YAML 1.2\n---\na: 1\n...\n# x\n---\nb: 2": {"%YAML 1.2\n---\na: 1\n@0", "---\nb: 2@5"},
		"a: |\n  ---\n  text\nb: '---'\n":           {"a: |\n  ---\n  text\nb: '---'\n@0"},
		"a: 1\r\n---\r\nb: 2\r\n":                   {"a: 1\r\n@0", "---\r\nb: 2\r\n@1"},
		"----\na: 1\n":                              {"----\na: 1\n@0"},
	} {
		var got []string
		for _, c := range split([]byte(text)) {
			got = append(got, fmt.Sprintf("%s@%d", c.text, c.line))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestYAMLMerge(t *testing.T) {
	t.Parallel()
	docs, problems := parseAll(t, "title: x\n"+head+"detection:\n  base: &b {a: 1, c: 2}\n  s: {<<: *b, c: 3}\n  condition: s\n")
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	if x := docs.Rules[0].Expr; !holds(t, x, `{"a":1,"c":3}`) || holds(t, x, `{"a":1,"c":2}`) || holds(t, x, `{"c":3}`) {
		t.Error("merged keys do not yield to those of the map itself")
	}
}

func TestCollections(t *testing.T) {
	t.Parallel()
	docs, problems := parseAll(t, `action: global
title: G
level: high
`+head+`detection:
  s: {a: 1}
  condition: s
---
detection:
  s: {b: 1}
---
title: own
detection:
  s: {a: 2}
---
action: repeat
title: again
detection:
  t: {c: 1}
  condition: s and t
---
action: global
level: low
---
title: still global
---
action: reset
---
title: alone
`+head+`detection: {s: {z: 1}, condition: s}
`)
	if len(problems) != 0 {
		t.Fatal(problems)
	}
	var got []string
	for _, r := range docs.Rules {
		var match []string
		for _, record := range []string{`{"a":1}`, `{"a":1,"b":1}`, `{"a":2}`, `{"a":2,"c":1}`, `{"z":1}`} {
			if holds(t, r.Expr, record) {
				match = append(match, record)
			}
		}
		got = append(got, fmt.Sprint(r.Title, " ", r.Level, " ", match, " ", r.Doc))
	}
	want := []string{`G high [{"a":1,"b":1}] 2`, `own high [{"a":2} {"a":2,"c":1}] 3`, `again high [{"a":2,"c":1}] 4`, `still global low [{"a":1} {"a":1,"b":1}] 6`, `alone  [{"z":1}] 8`}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
	if _, problems = parseAll(t, "action: repeat\ntitle: x\n"); len(problems) != 1 || !strings.Contains(problems[0].Reason, "without a rule before") {
		t.Errorf("repeat of nothing: %+v", problems)
	}
}

// correlationOf parses one correlation.
func correlationOf(t testing.TB, body string) (*Correlation, string) {
	t.Helper()
	docs, problems := parseAll(t, "title: C\nid: c1\ncorrelation:\n"+indent(body))
	for _, p := range problems {
		if p.Fatal {
			return nil, p.Reason
		}
	}
	if len(docs.Correlations) != 1 {
		t.Fatalf("%s: %d correlations", body, len(docs.Correlations))
	}
	return docs.Correlations[0], ""
}

func TestCorrelations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want Correlation
	}{
		{"type: event_count\nrules: a\ngroup-by: userIdentity.arn\ntimespan: 5m\ncondition: {gte: 10}",
			Correlation{Type: EventCount, Rules: []string{"a"}, GroupBy: []string{"userIdentity.arn"}, Timespan: 5 * time.Minute, Percentile: 50, Conditions: []Comparison{{"gte", 10}}}},
		{"type: event_count\nrules: [a, Some Title, a]\ntimespan: 1d\ngenerate: true\ncorrelate_missing: true\ncondition: {gt: 1, lte: 5}",
			Correlation{Type: EventCount, Rules: []string{"a", "Some Title"}, Timespan: 24 * time.Hour, Percentile: 50, Generate: true, CorrelateMissing: true, Conditions: []Comparison{{"gt", 1}, {"lte", 5}}}},
		{"type: value_count\nrules: [a]\ntimespan: 2w\ncondition: {field: [x, y], neq: 3}",
			Correlation{Type: ValueCount, Rules: []string{"a"}, Timespan: 14 * 24 * time.Hour, Percentile: 50, Fields: []string{"x", "y"}, Conditions: []Comparison{{"neq", 3}}}},
		{"type: value_percentile\nrules: [a]\ntimespan: 1M\ncondition: {field: x, percentile: 95, gte: 1.5}",
			Correlation{Type: ValuePercentile, Rules: []string{"a"}, Timespan: 30 * 24 * time.Hour, Percentile: 95, Fields: []string{"x"}, Conditions: []Comparison{{"gte", 1.5}}}},
		{"type: value_median\nrules: [a]\ntimespan: 1y\npercentile: 7\ncondition: {field: x, eq: 1}",
			Correlation{Type: ValueMedian, Rules: []string{"a"}, Timespan: 365 * 24 * time.Hour, Percentile: 7, Fields: []string{"x"}, Conditions: []Comparison{{"eq", 1}}}},
		{"type: temporal\nrules: [a, b]\ntimespan: 30s\naliases: {u: {a: x.y, b: z}}\ngroup-by: [u]",
			Correlation{Type: Temporal, Rules: []string{"a", "b"}, Timespan: 30 * time.Second, Percentile: 50, GroupBy: []string{"u"}, Aliases: map[string]map[string]string{"u": {"a": "x.y", "b": "z"}}}},
		{"type: temporal_ordered\nrules: [a, b]\ntimespan: 1h\ncondition: {gte: 2}",
			Correlation{Type: TemporalOrdered, Rules: []string{"a", "b"}, Timespan: time.Hour, Percentile: 50, Conditions: []Comparison{{"gte", 2}}}},
		{"type: temporal\nrules: [a, b, c]\ntimespan: 1h\ncondition: a and (b or c) and not c",
			Correlation{Type: Temporal, Rules: []string{"a", "b", "c"}, Timespan: time.Hour, Percentile: 50,
				Expression: &BoolExpr{And: []*BoolExpr{{Ref: "a"}, {Or: []*BoolExpr{{Ref: "b"}, {Ref: "c"}}}, {Not: &BoolExpr{Ref: "c"}}}}}},
		{"type: temporal\ntimespan: 1h\ncondition: b and a",
			Correlation{Type: Temporal, Rules: []string{"b", "a"}, Timespan: time.Hour, Percentile: 50, Expression: &BoolExpr{And: []*BoolExpr{{Ref: "b"}, {Ref: "a"}}}}},
		{"type: event_count\nrules: [a]\ntimespan: 1h\ncondition: {gte: 2, field: x}",
			Correlation{Type: EventCount, Rules: []string{"a"}, Timespan: time.Hour, Percentile: 50, Conditions: []Comparison{{"gte", 2}}, Warnings: []string{"condition.field is ignored: event_count counts events"}}},
		{"type: temporal\nrules: [a]\ntimespan: 1h\naliases: {u: {b: x}}",
			Correlation{Type: Temporal, Rules: []string{"a"}, Timespan: time.Hour, Percentile: 50, Aliases: map[string]map[string]string{"u": {"b": "x"}}, Warnings: []string{`alias u names "b", which is not among the rules`}}},
	} {
		got, reason := correlationOf(t, c.body)
		if reason != "" {
			t.Errorf("%s: %s", c.body, reason)
			continue
		}
		c.want.Meta = Meta{ID: "c1", Title: "C", File: "f.yml", Doc: 1}
		if !reflect.DeepEqual(*got, c.want) {
			t.Errorf("%s\n%+v\nwant %+v", c.body, *got, c.want)
		}
	}
	for body, want := range map[string]string{
		"type: x\nrules: [a]\ntimespan: 1h":                                                               "unknown correlation type",
		"rules: [a]\ntimespan: 1h":                                                                        "unknown correlation type",
		"type: value_min\nrules: [a]\ntimespan: 1h\ncondition: {field: x, gt: 1}":                         "unknown correlation type",
		"type: event_count\nrules: [a]\ncondition: {gt: 1}":                                               "without timespan",
		"type: event_count\nrules: [a]\ntimespan: 5\ncondition: {gt: 1}":                                  "timespan",
		"type: event_count\nrules: [a]\ntimespan: 5x\ncondition: {gt: 1}":                                 "timespan",
		"type: event_count\nrules: [a]\ntimespan: 0s\ncondition: {gt: 1}":                                 "timespan",
		"type: event_count\nrules: [a]\ntimespan: 11y\ncondition: {gt: 1}":                                "timespan",
		"type: event_count\nrules: [a]\ntimespan: 99999999999s\ncondition: {gt: 1}":                       "timespan",
		"type: event_count\nrules: [a]\ntimespan: 1h":                                                     "without a condition",
		"type: event_count\nrules: [a]\ntimespan: 1h\ncondition: {}":                                      "without a condition",
		"type: event_count\nrules: [a]\ntimespan: 1h\ncondition: a":                                       "needs a temporal type",
		"type: event_count\nrules: [a]\ntimespan: 1h\ncondition: 5":                                       "neither a map nor a text",
		"type: event_count\nrules: [a]\ntimespan: 1h\ncondition: {gt: x}":                                 "not a number",
		"type: event_count\nrules: [a]\ntimespan: 1h\ncondition: {foo: 1}":                                `unknown condition "foo"`,
		"type: event_count\nrules: [a]\ntimespan: 1h\ncondition: {gt: 1, lt: 5, neq: 3}":                  "more than two",
		"type: event_count\ntimespan: 1h\ncondition: {gt: 1}":                                             "correlation of no rules",
		"type: event_count\nrules: {a: b}\ntimespan: 1h\ncondition: {gt: 1}":                              "rules is not a list",
		"type: event_count\nrules: [a]\ngenerate: yes\ntimespan: 1h\ncondition: {gt: 1}":                  "generate is neither",
		"type: event_count\nrules: [a]\naliases: [x]\ntimespan: 1h\ncondition: {gt: 1}":                   "aliases is not a map",
		"type: event_count\nrules: [a]\naliases: {x: y}\ntimespan: 1h\ncondition: {gt: 1}":                "not a map of rules",
		"type: value_count\nrules: [a]\ntimespan: 1h\ncondition: {gt: 1}":                                 "without condition.field",
		"type: value_sum\nrules: [a]\ntimespan: 1h\ncondition: {field: [x, y], gt: 1}":                    "takes one field",
		"type: value_percentile\nrules: [a]\ntimespan: 1h\ncondition: {field: x, percentile: 101, gt: 1}": "percentile",
		"type: temporal\nrules: [a]\ntimespan: 1h\ncondition: a and b":                                    `"b" is not among the rules`,
		"type: temporal\nrules: [a]\ntimespan: 1h\ncondition: 1 of a":                                     "not allowed here",
		"type: temporal\nrules: [a]\ntimespan: 1h\ncondition: a and":                                      "it ends where",
	} {
		if _, reason := correlationOf(t, body); !strings.Contains(reason, want) {
			t.Errorf("%s: %q, want it to say %q", body, reason, want)
		}
	}
}

func TestAggregation(t *testing.T) {
	t.Parallel()
	sel := "s: {a: 1}\nt: {b: 1}\nu: {c: 1}\n"
	for _, c := range []struct {
		condition, timeframe string
		want                 Correlation
		matches              []string // an event for each base rule
	}{
		{"s | count() > 10", "30m", Correlation{Type: EventCount, Timespan: 30 * time.Minute, Conditions: []Comparison{{"gt", 10}}}, []string{`{"a":1}`}},
		{"s or t | COUNT ( ) BY userIdentity.arn >= 10", "1h", Correlation{Type: EventCount, Timespan: time.Hour, GroupBy: []string{"userIdentity.arn"}, Conditions: []Comparison{{"gte", 10}}}, []string{`{"b":1}`}},
		{"s | count(x.y) by a, b = 3", "15s", Correlation{Type: ValueCount, Timespan: 15 * time.Second, Fields: []string{"x.y"}, GroupBy: []string{"a", "b"}, Conditions: []Comparison{{"eq", 3}}}, []string{`{"a":1}`}},
		{"s|sum(x)<2.5", "1d", Correlation{Type: ValueSum, Timespan: 24 * time.Hour, Fields: []string{"x"}, Conditions: []Comparison{{"lt", 2.5}}}, []string{`{"a":1}`}},
		{"s | avg(x) != 2", "1d", Correlation{Type: ValueAvg, Timespan: 24 * time.Hour, Fields: []string{"x"}, Conditions: []Comparison{{"neq", 2}}}, []string{`{"a":1}`}},
		{"s | min(x) <= 2", "1d", Correlation{Type: ValueMin, Timespan: 24 * time.Hour, Fields: []string{"x"}, Conditions: []Comparison{{"lte", 2}}}, []string{`{"a":1}`}},
		{"s | max(x) by y == 2", "1d", Correlation{Type: ValueMax, Timespan: 24 * time.Hour, Fields: []string{"x"}, GroupBy: []string{"y"}, Conditions: []Comparison{{"eq", 2}}}, []string{`{"a":1}`}},
		{"s | near t", "10m", Correlation{Type: Temporal, Timespan: 10 * time.Minute}, []string{`{"a":1}`, `{"b":1}`}},
		{"s | near t and u", "", Correlation{Type: Temporal, Timespan: time.Hour, Warnings: []string{"no timeframe: one hour is taken"}}, []string{`{"a":1}`, `{"b":1}`, `{"c":1}`}},
	} {
		detection := sel + "condition: " + fmt.Sprintf("%q", c.condition)
		if c.timeframe != "" {
			detection += "\ntimeframe: " + c.timeframe
		}
		docs, problems := parseAll(t, "id: r1\nname: n1\nlevel: low\n"+ruleOf(detection))
		if len(docs.Correlations) != 1 || len(docs.Rules) != 0 {
			t.Errorf("%s: %+v", c.condition, problems)
			continue
		}
		got := *docs.Correlations[0]
		for i, r := range got.Base {
			id := fmt.Sprintf("r1#%d", i+1)
			c.want.Rules = append(c.want.Rules, id)
			if r.ID != id || r.Name != "" || r.Level != "low" || r.LogSource.Service != "cloudtrail" {
				t.Errorf("%s: base rule %+v", c.condition, r.Meta)
			}
			for k, record := range c.matches {
				if holds(t, r.Expr, record) != (k == i) {
					t.Errorf("%s: base rule %d on %s is wrong", c.condition, i, record)
				}
			}
		}
		if len(got.Base) != len(c.matches) {
			t.Errorf("%s: %d base rules, want %d", c.condition, len(got.Base), len(c.matches))
		}
		got.Base = nil
		c.want.Meta = Meta{ID: "r1", Name: "n1", Title: "t", Level: "low", File: "f.yml", Doc: 1}
		c.want.Percentile = 50
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s\n%+v\nwant %+v", c.condition, got, c.want)
		}
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	text := `title: one
id: ID-1
name: n1
` + head + `detection:
  selection_a: {a: 1}
  condition: 1 of selection*
---
title: two
` + head + `detection:
  selection_a: {a: 1}
  condition: 1 of them
---
title: other log
logsource: {product: aws, service: route53}
detection:
  s: {a: 1}
  condition: s
---
title: counted
id: ID-4
` + head + `detection:
  s: {a: 1}
  condition: s | count() > 1
  timeframe: 1h
---
`
	filter := func(rules, rest string) string {
		return "title: f\n" + head + "filter:\n  rules: " + rules + "\n  selection_f: {ok: 1}\n" + indent(rest)
	}
	for _, c := range []struct {
		name, filters, record string
		want                  string // of the rules one, two, other log, counted
		problems              int
	}{
		{"by id, case aside", filter("[id-1]", "condition: not selection_f"), `{"a":1,"ok":1}`, "0111", 0},
		{"by name", filter("[n1]", "condition: not selection_f"), `{"a":1,"ok":1}`, "0111", 0},
		{"by title", filter("two", "condition: not selection_f"), `{"a":1,"ok":1}`, "1011", 0},
		{"any of the log source", filter("any", "condition: not selection_f"), `{"a":1,"ok":1}`, "0010", 0},
		{"not concerned", filter("any", "condition: not selection_f"), `{"a":1}`, "1111", 0},
		{"written positively", filter("any", "condition: selection_f"), `{"a":1}`, "0010", 0},
		{"another log source", filter("[other log]", "condition: not selection_f"), `{"a":1,"ok":1}`, "1111", 0},
		{"base of an aggregation", filter("[ID-4]", "condition: not selection_f"), `{"a":1,"ok":1}`, "1110", 0},
		{"its names are its own", filter("any", "condition: not selection_f"), `{"ok":1}`, "0000", 0},
		{"several", filter("[n1]", "condition: not selection_f") + "---\n" + filter("any", "selection_g: {more: 1}\ncondition: not selection_g"), `{"a":1,"more":1}`, "0010", 0},
		{"several, the first", filter("[n1]", "condition: not selection_f") + "---\n" + filter("any", "selection_g: {more: 1}\ncondition: not selection_g"), `{"a":1,"ok":1}`, "0111", 0},
		{"unknown", filter("[nobody, n1]", "condition: not selection_f"), `{"a":1,"ok":1}`, "0111", 1},
	} {
		docs, problems := parseAll(t, text+c.filters)
		if len(problems) != 0 {
			t.Fatalf("%s: %+v", c.name, problems)
		}
		if problems = docs.ApplyFilters(); len(problems) != c.problems {
			t.Errorf("%s: problems %+v", c.name, problems)
		}
		got := ""
		for _, r := range append(slices.Clone(docs.Rules), docs.Correlations[0].Base...) {
			if holds(t, r.Expr, c.record) {
				got += "1"
			} else {
				got += "0"
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	for bad, want := range map[string]string{
		"title: f\n" + head + "filter: {rules: [], s: {a: 1}, condition: s}":  "filter of no rules",
		"title: f\n" + head + "filter: {s: {a: 1}, condition: s}":             "filter of no rules",
		"title: f\n" + head + "filter: {rules: any, s: {a: 1}}":               "no condition",
		"title: f\n" + head + "filter: {rules: any, condition: s}":            "no selection",
		"title: f\n" + head + "filter: {rules: any, s: {a: 1}, condition: t}": "undefined identifier",
		"title: f\nfilter: {rules: any, s: {a: 1}, condition: s}":             "no logsource",
		head + "filter: {rules: any, s: {a: 1}, condition: s}":                "no title",
	} {
		if _, problems := parseAll(t, bad); len(problems) != 1 || !strings.Contains(problems[0].Reason, want) {
			t.Errorf("%s: %+v, want %q", bad, problems, want)
		}
	}
}
