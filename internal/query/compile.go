package query

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/search"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
)

// cond is an expression in SQL, by two conditions that are never NULL: every event for which lower holds is one of the
// expression, and every event of the expression fulfils upper. Where both are the same, the SQL says it exactly. In
// between, the matcher judges. It holds for segments of which compiler.known holds; see [segment.Known].
type cond struct{ lower, upper string }

const (
	never  = "false"
	always = "true"
)

// unknown is what nothing is known of.
func unknown() cond { return cond{never, always} }

func exactly(sql string) cond { return cond{sql, sql} }

// exact reports whether the SQL decides.
func (c cond) exact() bool { return c.lower == c.upper }

// compiler says expressions in SQL over the columns of segments.
type compiler struct{ known segment.Known }

func (x compiler) compile(f match.Form) cond {
	switch f.Kind {
	case match.FormConst:
		return exactly(strconv.FormatBool(f.Holds))
	case match.FormNot:
		c := x.compile(f.Of[0])
		return cond{not(c.upper), not(c.lower)}
	case match.FormAnd, match.FormOr, match.FormAtLeast:
		var lower, upper []string
		for _, of := range f.Of {
			c := x.compile(of)
			lower, upper = append(lower, c.lower), append(upper, c.upper)
		}
		switch f.Kind {
		case match.FormAnd:
			return cond{all(lower), all(upper)}
		case match.FormOr:
			return cond{some(lower), some(upper)}
		}
		return cond{atLeast(f.N, lower), atLeast(f.N, upper)}
	case match.FormExists:
		return x.exists(f)
	case match.FormField:
		return x.field(f)
	case match.FormAnywhere:
		return x.anywhere(f)
	}
	return unknown()
}

func not(sql string) string {
	switch sql {
	case never:
		return always
	case always:
		return never
	}
	return "NOT " + sql
}

// all joins conditions that stand in parentheses or bind as if they did.
func all(sqls []string) string  { return join(sqls, " AND ", always, never) }
func some(sqls []string) string { return join(sqls, " OR ", never, always) }

func join(sqls []string, op, neutral, decisive string) string {
	sqls = slices.DeleteFunc(sqls, func(s string) bool { return s == neutral })
	switch {
	case slices.Contains(sqls, decisive):
		return decisive
	case len(sqls) == 0:
		return neutral
	case len(sqls) == 1:
		return sqls[0]
	}
	return "(" + strings.Join(sqls, op) + ")"
}

func atLeast(n int, sqls []string) string {
	terms := make([]string, len(sqls))
	for i, s := range sqls {
		terms[i] = "CAST(" + s + " AS INTEGER)"
	}
	return fmt.Sprintf("((%s) >= %d)", strings.Join(terms, " + "), n)
}

// quote writes a text in SQL, which itself is UTF-8 and cannot have NUL.
func quote(s string) string {
	s = strings.ToValidUTF8(s, "\ufffd")
	s = "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.IndexByte(s, 0) >= 0 {
		s = "(" + strings.ReplaceAll(s, "\x00", "' || chr(0) || '") + ")"
	}
	return s
}

// column gives the SQL of the column of a typed field, and its type; ok is false for fields without.
func column(f event.Field) (sql string, typ segment.Type, ok bool) {
	if name, needle := segment.ColumnsOf(f); name != "" {
		if needle != "" {
			name = needle
		}
		return columnSQL(name), segment.Text, true
	}
	for _, c := range segment.Columns() {
		if c.Name == event.Fields[f].Path && (c.Type == segment.Bool || c.Type == segment.JSON) {
			return columnSQL(c.Name), c.Type, true
		}
	}
	return "", 0, false
}

func columnSQL(path string) string {
	return `"` + strings.ReplaceAll(path, ".", `"."`) + `"`
}

func (x compiler) exists(f match.Form) cond {
	if !f.Typed {
		return x.reach(f.Path, nil)
	}
	c, typ, ok := column(f.Field)
	if !ok || typ == segment.JSON {
		return unknown()
	}
	// A column is NULL where the record has null, too.
	return cond{"(" + c + " IS NOT NULL)", always}
}

func (x compiler) field(f match.Form) cond {
	if !f.Typed || !x.known.PlainTexts {
		if f.Path == nil || f.Test.Missing {
			return unknown()
		}
		return x.reach(f.Path, f.Test.Runs)
	}
	c, typ, ok := column(f.Field)
	switch {
	case !ok || typ == segment.JSON:
		if f.Test.Missing {
			return unknown()
		}
		return x.reach(f.Path, f.Test.Runs)
	case typ == segment.Bool:
		return boolean(c, f.Test)
	}
	there := "(" + c + " IS NOT NULL)"
	switch f.Test.Kind {
	case match.TestNull:
		return exactly("(" + c + " IS NULL)")
	case match.TestCIDR:
		var in []string
		for _, n := range f.Test.Nets {
			in = append(in, fmt.Sprintf("ip_in(%s, %s)", c, quote(n.String())))
		}
		// The matcher does not look at longer texts.
		return exactly(has(c, "strlen("+c+") <= 64", some(in)))
	case match.TestValues:
		if f.Test.All {
			return exactly(there)
		}
		return x.values(f.Field, c, f.Test)
	}
	if f.Test.Missing {
		return unknown()
	}
	return cond{never, all([]string{there, runsSQL(f.Test.Runs, func(run string) string {
		return found(c, match.NewPattern([]match.Part{{Kind: match.Star}, {Text: run}, {Kind: match.Star}}, false))
	})})}
}

// boolean tests a column that is NULL where the record has no boolean, whatever else it has.
func boolean(c string, t match.FormTest) cond {
	if t.Kind != match.TestValues {
		return cond{never, always}
	}
	pass := func(text string) string {
		return strconv.FormatBool(t.All || slices.Contains(t.Texts, text) || slices.ContainsFunc(t.Patterns, func(p *match.Pattern) bool { return p.Match(text) }))
	}
	sql := fmt.Sprintf("CASE %s WHEN true THEN %s WHEN false THEN %s ELSE ", c, pass("true"), pass("false"))
	return cond{"(" + sql + "false END)", "(" + sql + "true END)"}
}

// values tests a text column for texts and patterns.
func (x compiler) values(field event.Field, c string, t match.FormTest) cond {
	var lower, upper, equal []string
	add := func(sql string) { lower, upper = append(lower, sql), append(upper, sql) }
	for _, text := range t.Texts {
		switch {
		case !utf8.ValidString(text):
			upper = append(upper, "("+c+" IS NOT NULL)")
		case !letters(text):
			equal = append(equal, quote(text))
		case x.known.SmallIDs && (field == event.EventID || field == event.SharedEventID):
			if ascii(text) { // folded; nothing else equals it
				equal = append(equal, quote(text))
			}
		case x.known.CapitalKeys && field == event.AccessKeyID:
			if ascii(text) {
				equal = append(equal, quote(strings.ToUpper(text)))
			}
		case ascii(text):
			add(has(c, fmt.Sprintf("strlen(%s) = %d", c, len(text)), "lower("+c+") = "+quote(text))) // so many bytes are ASCII
			if strings.ContainsAny(text, "ks") {                                                     // they, and they only, have other forms
				add(has(c, wide(c), matches(c, match.NewPattern([]match.Part{{Text: text}}, false))))
			}
		default:
			add(found(c, match.NewPattern([]match.Part{{Text: text}}, false)))
		}
	}
	switch len(equal) {
	case 0:
	case 1:
		add(has(c, c+" = "+equal[0])) // the engine skips by it
	default:
		add(has(c, c+" IN ("+strings.Join(equal, ", ")+")"))
	}
	for _, p := range t.Patterns {
		if _, ok := p.Expression(); ok {
			add(found(c, p))
		} else {
			upper = append(upper, "("+c+" IS NOT NULL)")
		}
	}
	return cond{some(lower), some(upper)}
}

// has joins conditions about a column that has a value, so that the whole is never NULL.
func has(c string, sqls ...string) string {
	return "(" + c + " IS NOT NULL AND " + strings.Join(sqls, " AND ") + ")"
}

// found is that a pattern matches a column. Of ASCII, which nearly everything is, the engine compares small letters faster
// than it runs regular expressions.
func found(c string, p *match.Pattern) string {
	like, cased, ok := p.Like()
	switch {
	case !ok:
		return has(c, matches(c, p))
	case cased:
		return has(c, c+" LIKE "+quote(like))
	}
	return has(c, fmt.Sprintf("CASE WHEN %s THEN %s ELSE lower(%s) LIKE %s END", wide(c), matches(c, p), c, quote(like)))
}

// wide is that a text is not all ASCII.
func wide(c string) string { return "strlen(" + c + ") <> length(" + c + ")" }

func matches(c string, p *match.Pattern) string {
	expr, ok := p.Expression()
	if !ok {
		return always
	}
	return "regexp_matches(" + c + ", " + quote(expr) + ")"
}

// letters reports whether a folded text has anything that has another case.
func letters(s string) bool {
	return !ascii(s) || strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' })
}

func ascii(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf })
}

// runsSQL joins what is known of the pieces that a text has, true when that is nothing.
func runsSQL(runs [][]string, of func(run string) string) string {
	if len(runs) == 0 || len(runs) > 50 {
		return always
	}
	var alternatives []string
	for _, run := range runs {
		longest := ""
		for _, r := range run {
			if utf8.ValidString(r) && len(r) > len(longest) {
				longest = r
			}
		}
		if longest == "" {
			return always
		}
		alternatives = append(alternatives, of(longest))
	}
	return some(alternatives)
}

// reach is what can be said of a value at a path that no column has by itself: the record has a piece of every text that
// passes, as it is or with escapes.
func (x compiler) reach(path *event.Path, runs [][]string) cond {
	first, _, _ := strings.Cut(path.String(), ".")
	parts := rawParts()
	for _, c := range segment.Columns() {
		if c.Type == segment.JSON && strings.EqualFold(c.Name, first) {
			parts = []string{columnSQL(c.Name)}
		}
	}
	return cond{never, x.inRecord(parts, runs)}
}

// anywhere is what can be said of a test of any value.
func (x compiler) anywhere(f match.Form) cond {
	c := cond{never, x.inRecord(rawParts(), f.Test.Runs)}
	if f.Test.Kind != match.TestValues || !x.known.PlainTexts {
		return c
	}
	// What a column has the event has.
	var lower []string
	for _, field := range [...]event.Field{event.EventSource, event.EventName, event.AWSRegion, event.SourceIPAddress, event.UserAgent, event.ErrorCode, event.AccessKeyID, event.IdentityARN, event.RecipientAccountID} {
		name, _, _ := column(field)
		lower = append(lower, x.values(field, name, f.Test).lower)
	}
	if f.Test.All {
		lower = nil
	}
	c.lower = some(lower)
	return c
}

// rawParts are the columns that the record is joined from.
func rawParts() []string {
	return []string{"rawHead", "requestParameters", "responseElements", "additionalEventData", "requestID", "eventID", "rawTail", "raw"}
}

// inRecord is that some of the parts has a piece of each text that passes. White space and what stands between the values
// are unknown, numbers may be written in other ways, and any character may be escaped.
func (x compiler) inRecord(parts []string, runs [][]string) string {
	if !x.known.PlainTexts || len(runs) == 0 || len(runs) > 50 {
		return always
	}
	var alternatives []string
	for _, run := range runs {
		var pieces, numbers []string
		for _, r := range run {
			for _, p := range strings.FieldsFunc(r, func(r rune) bool { return r <= ' ' || strings.ContainsRune(`"{}[],:\`, r) || r >= utf8.RuneSelf }) {
				if strings.Trim(p, "0123456789.e+-") != "" || strings.Count(p, ".") > 1 {
					pieces = append(pieces, p)
				} else {
					numbers = append(numbers, p)
				}
			}
		}
		expr, otherwise := duckdb.Piece(pieces), []string{escaped}
		if expr == "" {
			expr, otherwise = duckdb.Piece(numbers), append(otherwise, otherNumber)
		}
		if expr == "" {
			return always
		}
		alternatives = append(alternatives, inParts(parts, expr, otherwise...))
	}
	return some(alternatives)
}

// What a part has that may have any text, or any number.
const (
	escaped     = `contains(%[1]s, '\')`
	otherNumber = `regexp_matches(%[1]s, '(^|[:,\[])\s*-?[0-9]+[.eE]')`
)

// inParts is that an expression is found in some part, or else something by which it could be there in another form.
func inParts(parts []string, expr string, otherwise ...string) string {
	var any []string
	for _, c := range parts {
		one := []string{"regexp_matches(" + c + ", " + quote(expr) + ")"}
		for _, o := range otherwise {
			one = append(one, fmt.Sprintf(o, c))
		}
		any = append(any, has(c, some(one)))
	}
	return some(any)
}

// needles is that the record has the texts that it must have for terms to be found.
func (x compiler) needles(needles [][]byte) string {
	var sqls []string
	for _, n := range needles {
		if expr := duckdb.Piece([]string{string(n)}); expr != "" && x.known.PlainTexts {
			sqls = append(sqls, inParts(rawParts(), expr, escaped))
		}
	}
	return all(sqls)
}

// query says what is looked for.
func (x compiler) query(q *search.Query) cond {
	c := x.compile(match.FormOf(q.Expr()))
	if c.upper == c.lower {
		return c
	}
	return cond{c.lower, all([]string{c.upper, x.needles(q.Needles())})}
}
