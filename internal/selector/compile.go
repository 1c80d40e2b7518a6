package selector

import (
	"strings"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
)

// Set is compiled selectors. It is immutable.
type Set struct{ cond }

// Match is the predicate over events.
func (s *Set) Match() match.Expr { return s.expr }

// SQL is the condition over the columns of segments. It is never NULL.
func (s *Set) SQL() string { return s.sql }

// CompileAdvanced checks and compiles advanced selectors.
func CompileAdvanced(target Target, selectors []Advanced) (*Set, error) {
	if err := CheckAdvanced(target, selectors); err != nil {
		return nil, err
	}
	var any []cond
	for _, s := range selectors {
		any = append(any, s.cond())
	}
	return &Set{or(any)}, nil
}

// CompileBasic checks and compiles basic selectors.
func CompileBasic(selectors []Basic) (*Set, error) {
	if err := CheckBasic(selectors); err != nil {
		return nil, err
	}
	var any []cond
	for _, s := range selectors {
		any = append(any, s.cond())
	}
	return &Set{or(any)}, nil
}

// cond is a condition in both forms.
type cond struct {
	expr match.Expr
	sql  string // in parentheses, or binding as if it were; never NULL
}

func and(cs []cond) cond { return join(cs, match.And, " AND ", "true") }
func or(cs []cond) cond  { return join(cs, match.Or, " OR ", "false") }

func join(cs []cond, expr func(...match.Expr) match.Expr, op, none string) cond {
	if len(cs) == 1 {
		return cs[0]
	}
	xs, sqls := make([]match.Expr, len(cs)), make([]string, len(cs))
	for i, c := range cs {
		xs[i], sqls[i] = c.expr, c.sql
	}
	if len(cs) == 0 {
		return cond{expr(), none}
	}
	return cond{expr(xs...), "(" + strings.Join(sqls, op) + ")"}
}

func (s Advanced) cond() cond {
	var all []cond
	var entry []FieldSelector // those of one entry of resources
	for _, f := range s.FieldSelectors {
		switch f.Field {
		case "eventCategory":
			all = append(all, category(f.Equals[0]))
		case "readOnly":
			var any []cond
			for _, v := range f.Equals {
				any = append(any, readOnly(v == "true"))
			}
			all = append(all, or(any))
		case "resources.type", "resources.ARN":
			entry = append(entry, f)
		default:
			all = append(all, text(fields[f.Field], f))
		}
	}
	if entry != nil {
		all = append(all, resources(entry))
	}
	return and(all)
}

// category is the condition on [event.Event.Category].
func category(name string) cond {
	place := match.Derived("eventCategory", func(e *event.Event) (string, bool) { return e.Category(), true })
	sql := `eventCategory = ` + duckdb.QuoteText(name)
	const unnamed = `(eventCategory IS NULL OR eventCategory = '')`
	derived := ""
	const kind = `coalesce(eventType, '')`
	switch name {
	case Management:
		derived = kind + ` NOT IN ('AwsCloudTrailInsight', 'AwsAggregatedEvent', 'AwsVpceEvent', 'AwsVpceEvents') AND coalesce(managementEvent, true)`
	case Data:
		derived = kind + ` NOT IN ('AwsCloudTrailInsight', 'AwsAggregatedEvent', 'AwsVpceEvent', 'AwsVpceEvents') AND NOT coalesce(managementEvent, true)`
	case NetworkActivity:
		derived = kind + ` IN ('AwsVpceEvent', 'AwsVpceEvents')`
	case Insight:
		derived = kind + ` = 'AwsCloudTrailInsight'`
	}
	sql = "coalesce(" + sql + ", false)"
	if derived != "" {
		sql = "(" + sql + " OR " + unnamed + " AND " + derived + ")"
	}
	return cond{match.Field(place, values(equals, []string{name})), sql}
}

func readOnly(want bool) cond {
	word, sql := "false", "NOT coalesce(readOnly, true)"
	if want {
		word, sql = "true", "coalesce(readOnly, false)"
	}
	return cond{match.Field(at(event.Fields[event.ReadOnly].Path), match.Values([]*match.Pattern{match.NewPattern([]match.Part{{Kind: match.Literal, Text: word}}, false)})), "(" + sql + ")"}
}

// text is the condition on a field that is compared as text.
func text(field event.Field, f FieldSelector) cond {
	column, needle := segment.ColumnsOf(field)
	if needle != "" {
		column = needle
	}
	place := at(event.Fields[field].Path)
	return f.decide(func(c clause) cond {
		return cond{match.Field(place, values(c.op, c.values)), clauseSQL(column, c)}
	}, func(c cond) cond { return cond{match.Not(c.expr), "(NOT " + c.sql + ")"} })
}

// decide puts the clauses of a field together: some that select, when there are any, and none that deselect.
func (f FieldSelector) decide(test func(clause) cond, not func(cond) cond) cond {
	var some, all []cond
	for _, c := range f.clauses() {
		if c.not {
			all = append(all, not(test(c)))
		} else {
			some = append(some, test(c))
		}
	}
	if some != nil {
		all = append([]cond{or(some)}, all...)
	}
	return and(all)
}

func at(path string) *match.Place { return match.At(event.ParsePath(path)) }

// values is the test for any of the values, in their case.
func values(op operator, vs []string) match.Test {
	ps := make([]*match.Pattern, len(vs))
	for i, v := range vs {
		parts := []match.Part{{Kind: match.Literal, Text: v}}
		switch op {
		case startsWith:
			parts = append(parts, match.Part{Kind: match.Star})
		case endsWith:
			parts = []match.Part{{Kind: match.Star}, parts[0]}
		}
		ps[i] = match.NewPattern(parts, true)
	}
	return match.Values(ps)
}

// clauseSQL says in SQL that a text has any of the values.
func clauseSQL(text string, c clause) string {
	sqls := make([]string, len(c.values))
	for i, v := range c.values {
		sqls[i] = duckdb.QuoteText(v)
		if c.op != equals {
			sqls[i] = [...]string{startsWith: "starts_with", endsWith: "ends_with"}[c.op] + "(" + text + ", " + sqls[i] + ")"
		}
	}
	if c.op == equals {
		return "coalesce(" + text + " IN (" + strings.Join(sqls, ", ") + "), false)"
	}
	return "coalesce(" + strings.Join(sqls, " OR ") + ", false)"
}

// holds tells for a text, or none, what clauseSQL does.
func (c clause) holds(text string, there bool) bool {
	if !there {
		return false
	}
	for _, v := range c.values {
		if c.op == equals && text == v || c.op == startsWith && strings.HasPrefix(text, v) || c.op == endsWith && strings.HasSuffix(text, v) {
			return true
		}
	}
	return false
}

// resources is the condition that one entry of resources fulfils all of selectors on resources.type and resources.ARN.
func resources(selectors []FieldSelector) cond {
	var sqls []string
	var types []string
	for _, f := range selectors {
		member := `r."ARN"`
		if f.Field == "resources.type" {
			member, types = `r."type"`, f.Equals
		}
		sqls = append(sqls, f.decide(
			func(c clause) cond { return cond{match.Const(true), clauseSQL(member, c)} },
			func(c cond) cond { return cond{c.expr, "(NOT " + c.sql + ")"} },
		).sql)
	}
	place := match.Derived("resources", func(e *event.Event) (string, bool) {
		found := false
		e.Get(event.Resources).Elements(func(r event.Value) bool {
			found = r.Kind() == event.Object && entryHolds(r, selectors)
			return !found
		})
		return "true", found
	})
	expr := match.Field(place, values(equals, []string{"true"}))
	if types != nil { // it is cheaper, and an index knows it
		expr = match.And(match.Field(at("resources.type"), values(equals, types)), expr)
	}
	// A list of no resources, and one of something else than objects, has none that fulfils it.
	return cond{expr, "(coalesce(len(list_filter(resources, lambda r: r IS NOT NULL AND " + strings.Join(sqls, " AND ") + ")), 0) > 0)"}
}

// entryHolds evaluates selectors on an entry of resources.
func entryHolds(r event.Value, selectors []FieldSelector) bool {
	for _, f := range selectors {
		text, there := member(r, strings.TrimPrefix(f.Field, "resources."))
		some, selects := false, false
		for _, c := range f.clauses() {
			held := c.holds(text, there)
			if c.not && held {
				return false
			}
			if !c.not {
				selects, some = true, some || held
			}
		}
		if selects && !some {
			return false
		}
	}
	return true
}

// member gives the text of a member as the columns of segments have it: by its name, or else by one that differs in case.
func member(v event.Value, name string) (text string, there bool) {
	exact := false
	v.Members(func(k string, m event.Value) bool {
		if k != name && (exact || len(k) != len(name) || !strings.EqualFold(k, name)) {
			return true
		}
		exact = k == name
		switch m.Kind() {
		case event.String, event.Number, event.True, event.False:
			text, there = m.Text(), true
		default:
			text, there = "", false
		}
		return true
	})
	return text, there
}

func (s Basic) cond() cond {
	rw := cond{match.And(), "true"}
	switch s.ReadWriteType {
	case "ReadOnly":
		rw = readOnly(true)
	case "WriteOnly":
		rw = readOnly(false)
	}
	var any []cond
	if s.IncludeManagementEvents {
		all := []cond{category(Management), rw}
		if len(s.ExcludeManagementEventSources) > 0 {
			all = append(all, text(event.EventSource, FieldSelector{NotEquals: s.ExcludeManagementEventSources}))
		}
		any = append(any, and(all))
	}
	var data []cond
	for _, r := range s.DataResources {
		selectors := []FieldSelector{{Field: "resources.type", Equals: []string{r.Type}}}
		arn, all := FieldSelector{Field: "resources.ARN"}, false
		for _, v := range r.Values {
			switch {
			case everything(v):
				all = true
			case r.Type == "AWS::S3::Object":
				arn.StartsWith = append(arn.StartsWith, v)
			default:
				arn.Equals = append(arn.Equals, v)
			}
		}
		if !all {
			selectors = append(selectors, arn)
		}
		data = append(data, resources(selectors))
	}
	if data != nil {
		any = append(any, and([]cond{category(Data), rw, or(data)}))
	}
	return or(any)
}
