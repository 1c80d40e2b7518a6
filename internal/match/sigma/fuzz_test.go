package sigma

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/event"
	"spoor/internal/match"
)

func FuzzParse(f *testing.F) {
	f.Add(ruleOf("s:\n  a|contains|all: [x, '*y?']\n  b|re|i: z+\n  c|cidr: 10.0.0.0/8\n  d|hour|gte: 5\n  e|base64offset|contains: q\n  f|windash: ' -x'\n  g|fieldref: h\nk: [foo, 1, true]\ncondition: 1 of s* and not k"))
	f.Add("title: C\ncorrelation:\n  type: temporal\n  rules: [a, b]\n  timespan: 5m\n  condition: a and not b\n---\naction: global\ntitle: g\n---\naction: repeat\n")
	f.Add("title: f\n" + head + "filter:\n  rules: any\n  s: &a {a: [null, 1.5, 0x1F]}\n  t: {<<: *a}\n  condition: s or t\n")
	f.Add("%YAML 1.2\n---\ntitle: &a [*a]\n...\n--- !!str x\n")
	f.Add(ruleOf("s: {a: 1}\ncondition: s | count(x) by y >= 2\ntimeframe: 1h"))
	if dir := os.Getenv("SPOOR_SHARED"); dir != "" {
		files, err := filepath.Glob(filepath.Join(dir, "rules/sigma/*/*.yml"))
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(data))
		}
	}
	var events []*event.Event
	for _, text := range []string{
		`{"eventSource":"s3.amazonaws.com","eventName":"GetObject","a":"xy","b":"z","c":"10.1.1.1","requestParameters":{"k":[1,"foo",null,{"x":"\"q\""}]}}`,
		`{"eventName":null,"a":[true,1.5],"d":"2024-05-06T15:04:05Z","g":"h","h":"H"}`, `{}`,
	} {
		e, err := event.Parse([]byte(text))
		if err != nil {
			f.Fatal(err)
		}
		events = append(events, e)
	}
	f.Fuzz(func(t *testing.T, text string) {
		docs, problems := Parse("f", []byte(text), testOptions)
		for _, p := range problems {
			if p.Reason == "" || p.File != "f" {
				t.Errorf("a problem without file or reason: %+v", p)
			}
		}
		if len(docs.Rules)+len(docs.Correlations)+len(docs.Filters) > strings.Count(text, "\n")+1 {
			t.Error("more documents than lines")
		}
		docs.ApplyFilters()
		rules := docs.Rules
		for _, c := range docs.Correlations {
			rules = append(rules, c.Base...)
			if c.Timespan <= 0 || len(c.Rules) == 0 || len(c.Conditions) > 2 {
				t.Errorf("correlation %+v", c)
			}
		}
		var xs []match.Expr
		for _, r := range rules {
			xs = append(xs, r.Expr)
		}
		m := match.NewIndex(xs).NewMatcher()
		for _, e := range events {
			var c match.Context
			c.Reset(e)
			want := []int{}
			for i, x := range xs {
				held := c.Match(x)
				if held {
					want = append(want, i)
				}
				if _, traced := c.Explain(x); traced != held {
					t.Errorf("Explain says %v, Match %v", traced, held)
				}
			}
			if got := m.Match(e, []int{}); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the index gives %v, evaluation %v", got, want)
			}
		}
	})
}

func FuzzCondition(f *testing.F) {
	for _, s := range []string{"a", "not a and b or c", "1 of s*", "all of them", "(a or (not b))", "2 of s* and not any of _h", "a | b", "1 of (a)", "not not of of"} {
		f.Add(s)
	}
	var s selections
	s.exprs = map[string]match.Expr{}
	for i, name := range []string{"a", "b", "c", "s1", "s2", "_h", "of", "not"} {
		s.names = append(s.names, name)
		s.exprs[name] = match.Field(match.At(event.ParsePath(fmt.Sprintf("f%d", i))), match.NullOrMissing())
	}
	var events []*event.Event
	for bits := range 32 {
		text := `{"x":1`
		for i := range 8 {
			if bits*37>>(i%5)&1 == 1 {
				text += fmt.Sprintf(`,"f%d":1`, i)
			}
		}
		e, err := event.Parse([]byte(text + "}"))
		if err != nil {
			f.Fatal(err)
		}
		events = append(events, e)
	}
	f.Fuzz(func(t *testing.T, text string) {
		x, err := s.condition(text)
		inner, err2 := s.condition("(" + text + ")")
		if err != nil {
			return
		}
		if err2 != nil {
			if strings.Contains(err2.Error(), "nested deeper") {
				return
			}
			t.Fatalf("%q compiles, in parentheses: %v", text, err2)
		}
		negated, err := s.condition("not (" + text + ")")
		if err != nil && !strings.Contains(err.Error(), "nested deeper") {
			t.Fatal(err)
		}
		for _, e := range events {
			var c match.Context
			c.Reset(e)
			if c.Match(x) != c.Match(inner) || negated != nil && c.Match(x) == c.Match(negated) {
				t.Fatalf("%q does not equal itself in parentheses, or equals its negation", text)
			}
		}
	})
}
