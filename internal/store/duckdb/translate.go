package duckdb

import (
	"fmt"
	"maps"
	"strings"
	"unicode/utf8"
)

// maxQuery and maxNesting bound what the parser is given.
const (
	maxQuery   = 256 << 10 // bytes
	maxNesting = 150       // parentheses in parentheses
)

type kind uint8

const (
	space  kind = iota // white space and comments
	word               // keyword or unquoted identifier
	quoted             // "identifier"
	text               // 'string', and DuckDB's $$string$$
	number
	param // $name, $1, ?
	uuid  // an event data store id that is not quoted
	sign  // everything else, one character or -> or ->>
)

type token struct {
	kind kind
	text string
	low  string // of a word in lower case, of a quoted identifier without quotes in lower case
	mate int    // of a parenthesis or bracket: the index of its partner
}

// openError is a query that ends before something in it does.
type openError struct {
	what   string
	parens bool
}

func (e *openError) Error() string { return "the query is not SQL: " + e.what }

// lex splits a query into tokens. Joined they are the query.
func lex(sql string) ([]token, error) {
	toks, _, err := scan(sql)
	return toks, err
}

// scan is lex; at is where in the query an error is.
func scan(sql string) (_ []token, at int, _ error) {
	if len(sql) > maxQuery {
		return nil, at, refusef("the query has %d bytes; the limit is %d", len(sql), maxQuery)
	}
	if !utf8.ValidString(sql) || strings.IndexByte(sql, 0) >= 0 {
		return nil, at, refusef("the query is not UTF-8 text")
	}
	var out []token
	var open []int
	for i := 0; i < len(sql); {
		start := i
		at = i
		t := token{mate: -1}
		c := sql[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v':
			for i < len(sql) && strings.IndexByte(" \t\n\r\f\v", sql[i]) >= 0 {
				i++
			}
		case strings.HasPrefix(sql[i:], "--"):
			for i < len(sql) && sql[i] != '\n' && sql[i] != '\r' {
				i++
			}
		case strings.HasPrefix(sql[i:], "/*"):
			end := blockComment(sql[i:])
			if end < 0 {
				return nil, at, &openError{"a comment that starts with /* does not end", false}
			}
			i += end
		case c == '\'' || c == '"':
			for i++; ; i++ {
				if i >= len(sql) {
					return nil, at, &openError{fmt.Sprintf("a text that starts with %c does not end", c), false}
				}
				if sql[i] != c {
					continue
				}
				if i+1 < len(sql) && sql[i+1] == c {
					i++
					continue
				}
				break
			}
			i++
			t.kind = text
			if c == '"' {
				t.kind = quoted
				t.low = strings.ToLower(strings.ReplaceAll(sql[start+1:i-1], `""`, `"`))
			}
		case uuidAt(sql, i):
			i += 36
			t.kind = uuid
		case identStart(c):
			// E'…' and the like are strings with escapes, in which a quote does not end them where it seems to.
			for i < len(sql) && (identStart(sql[i]) || isDigit(sql[i]) || sql[i] == '$') {
				i++
			}
			t.kind = word
			t.low = strings.ToLower(sql[start:i])
			if i < len(sql) && sql[i] == '\'' && len(t.low) == 1 {
				return nil, at, refusef("texts with a prefix, such as %s'…', are not supported", sql[start:i])
			}
		case isDigit(c) || c == '.' && i+1 < len(sql) && isDigit(sql[i+1]):
			for i < len(sql) && (isDigit(sql[i]) || identStart(sql[i]) || sql[i] == '.' || (sql[i] == '+' || sql[i] == '-') && (sql[i-1] == 'e' || sql[i-1] == 'E')) {
				i++
			}
			t.kind = number
		case c == '$':
			i++
			for i < len(sql) && (identStart(sql[i]) || isDigit(sql[i])) {
				i++
			}
			if i < len(sql) && sql[i] == '$' {
				return nil, at, refusef("texts in $…$ are not supported")
			}
			t.kind = param
			t.low = strings.ToLower(sql[start:i])
		case c == '?':
			i++
			t.kind = param
		case strings.HasPrefix(sql[i:], "->"):
			i += 2
			t.kind = sign
		default:
			i++
			t.kind = sign
			switch c {
			case '(', '[', '{':
				open = append(open, len(out))
				if len(open) > maxNesting {
					return nil, at, refusef("the query has more than %d parentheses in each other", maxNesting)
				}
			case ')', ']', '}':
				if len(open) == 0 {
					return nil, at, refusef("a %c without its partner", c)
				}
				o := open[len(open)-1]
				if want := map[byte]string{')': "(", ']': "[", '}': "{"}[c]; out[o].text != want {
					return nil, at, refusef("a %s is closed by a %c", out[o].text, c)
				}
				open = open[:len(open)-1]
				out[o].mate, t.mate = len(out), o
			}
		}
		t.text = sql[start:i]
		out = append(out, t)
	}
	if len(open) > 0 {
		return nil, offset(out, open[len(open)-1]), &openError{fmt.Sprintf("a %s is not closed", out[open[len(open)-1]].text), true}
	}
	return out, 0, nil
}

// offset is where in the query a token is.
func offset(toks []token, i int) (at int) {
	for _, t := range toks[:i] {
		at += len(t.text)
	}
	return at
}

// blockComment is the length of the comment that s starts with, -1 when it does not end. Comments nest, as in the parser.
func blockComment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			i++
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

func identStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// uuidAt reports whether an unquoted UUID starts at s[i].
func uuidAt(s string, i int) bool {
	if len(s)-i < 36 || i > 0 && (identStart(s[i-1]) || isDigit(s[i-1])) || len(s) > i+36 && (identStart(s[i+36]) || isDigit(s[i+36])) {
		return false
	}
	return isUUID(s[i : i+36])
}

func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for k := range 36 {
		c := s[k]
		if k == 8 || k == 13 || k == 18 || k == 23 {
			if c != '-' {
				return false
			}
		} else if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return false
		}
	}
	return true
}

// translation is a query on its way from Trino's SQL to DuckDB's. Everything that macros cannot do is done here.
type translation struct {
	toks   []token
	params []Param
	maps   bool // UNNEST over several columns is of maps, not of lists of structs
	// multi reports that such an UNNEST was met.
	multi bool
	err   error

	lake *lakeForms // in the Lake dialect
	// vars are the parameters of lambdas that are written as something else.
	vars    map[string]string
	lambdas int
}

// Translate writes a query in Trino's SQL as DuckDB takes it. What is DuckDB's own stays as it is. What Translate does:
//
//	CAST(x AS varchar)                 the text of a JSON string without its quotes
//	CAST(x AS json)                    makes JSON of x, does not parse it
//	CAST(x AS array(T)), row(…)        T[], STRUCT
//	transform, any_match, all_match, none_match, approx_distinct, …   DuckDB's names
//	concat(a, b)                       a || b: NULL when one is NULL
//	date_parse, date_format, …         patterns of MySQL and Java as strptime's
//	UNNEST(a) AS t(x, y)               one column for each member of a row or map
//	FROM <event data store id>         event_data_store
//	awsdatacatalog.                    left out
//	if(c, a)                           if(c, a, NULL)
//
// Lambdas (x -> …), integer division and the place of NULLs in an order are settings of the engine.
func Translate(sql string) (string, error) {
	toks, err := lex(sql)
	if err != nil {
		return "", err
	}
	t := &translation{toks: toks}
	return t.all()
}

func (t *translation) all() (string, error) {
	var b strings.Builder
	t.emit(&b, 0, len(t.toks))
	return b.String(), t.err
}

func (t *translation) fail(format string, args ...any) {
	if t.err == nil {
		t.err = refusef(format, args...)
	}
}

// next is the index of the first token from i on, before end, that is not space; end when there is none.
func (t *translation) next(i, end int) int {
	for i < end && t.toks[i].kind == space {
		i++
	}
	return i
}

// prev is the token before i that is not space.
func (t *translation) prev(i int) token {
	for i--; i >= 0; i-- {
		if t.toks[i].kind != space {
			return t.toks[i]
		}
	}
	return token{}
}

func (t *translation) is(i, end int, s string) bool {
	return i < end && (t.toks[i].kind == sign && t.toks[i].text == s || t.toks[i].kind == word && t.toks[i].low == s)
}

func (t *translation) str(i, end int) string {
	var b strings.Builder
	t.emit(&b, i, end)
	return strings.TrimSpace(b.String())
}

// args splits what stands between the parentheses at open and its partner at commas.
func (t *translation) args(open int) (out [][2]int) {
	end := t.toks[open].mate
	start := open + 1
	if t.next(start, end) == end {
		return nil
	}
	for i := start; i < end; i++ {
		switch tok := t.toks[i]; {
		case tok.mate > i:
			i = tok.mate
		case tok.text == ",":
			out = append(out, [2]int{start, i})
			start = i + 1
		}
	}
	return append(out, [2]int{start, end})
}

// emit writes the tokens from i to end.
func (t *translation) emit(b *strings.Builder, i, end int) {
	for i < end {
		tok := t.toks[i]
		if t.lake != nil {
			if to, ok := t.lake.instead[i]; ok {
				b.WriteString(to)
				i++
				continue
			}
			if after := t.lakeForm(b, i, end); after > 0 {
				i = after
				continue
			}
		}
		if to, ok := t.vars[tok.low]; ok && tok.kind == word && t.prev(i).text != "." && !t.is(t.next(i+1, end), end, "(") {
			b.WriteString(to)
			i++
			continue
		}
		switch tok.kind {
		case uuid:
			b.WriteString(dataStoreView)
			i++
			continue
		case quoted, param:
			if isUUID(tok.low) || tok.kind == param && t.inFrom(i) {
				b.WriteString(dataStoreView)
				i++
				continue
			}
		}
		if tok.kind == param {
			i++
			b.WriteString(t.param(tok))
			continue
		}
		if tok.kind == word && tok.low == "default" && t.is(t.next(i+1, end), end, ".") {
			b.WriteString(`"default"`) // a keyword in DuckDB
			i++
			continue
		}
		if (tok.kind == word || tok.kind == quoted) && tok.low == "awsdatacatalog" {
			if dot := t.next(i+1, end); t.is(dot, end, ".") && t.prev(i).text != "." {
				i = t.next(dot+1, end)
				continue
			}
		}
		if tok.kind == word && t.prev(i).text != "." {
			if open := t.next(i+1, end); t.is(open, end, "(") {
				if after := t.call(b, tok.low, i, open, end); after > 0 {
					i = after
					continue
				}
			}
		}
		b.WriteString(tok.text)
		i++
	}
}

// param writes the value of a parameter.
func (t *translation) param(tok token) string {
	for _, p := range t.params {
		if strings.EqualFold("$"+p.Name, tok.text) {
			return quoteText(p.Value)
		}
	}
	t.fail("there is no value for the parameter %s", tok.text)
	return tok.text
}

// inFrom reports whether the token at i stands where a table does.
func (t *translation) inFrom(i int) bool {
	switch t.prev(i).low {
	case "from", "join":
		return true
	}
	return false
}

// renamed are functions of Trino's that DuckDB has by another name.
func renamed(name string) string {
	switch name {
	case "transform":
		return "list_transform"
	case "approx_distinct":
		return "approx_count_distinct"
	case "approx_percentile":
		return "approx_quantile"
	case "every":
		return "bool_and"
	case "array_max":
		return "list_max"
	case "array_min":
		return "list_min"
	case "array_sum":
		return "list_sum"
	case "arrays_overlap":
		return "list_has_any"
	case "zip":
		return "list_zip"
	case "levenshtein_distance":
		return "levenshtein"
	case "rand":
		return "random"
	}
	return ""
}

// call writes the call of a function whose name is at i and whose arguments are in the parentheses at open, when it needs
// writing in another way, and returns the index after it.
func (t *translation) call(b *strings.Builder, name string, i, open, end int) int {
	after := t.toks[open].mate + 1
	if t.lake != nil && t.lakeCall(b, name, open) {
		return after
	}
	if to := renamed(name); to != "" {
		b.WriteString(to)
		return i + 1
	}
	switch name {
	case "cast", "try_cast":
		return t.cast(b, name, open)
	case "unnest":
		return t.unnest(b, open, end)
	}
	args := t.args(open)
	arg := func(k int) string { return t.str(args[k][0], args[k][1]) }
	switch name {
	case "if":
		if len(args) != 2 {
			return 0
		}
		fmt.Fprintf(b, "if(%s, %s, NULL)", arg(0), arg(1))
	case "concat":
		if len(args) < 2 {
			return 0
		}
		for k := range args {
			b.WriteString([...]string{"((", ") || ("}[min(k, 1)])
			b.WriteString(arg(k))
		}
		b.WriteString("))")
	case "regexp_replace":
		if len(args) > 3 {
			return 0
		}
		b.WriteString("spoor_regexp_replace")
		return i + 1
	case "any_match", "all_match", "none_match":
		if len(args) != 2 {
			return 0
		}
		fn := map[string]string{"any_match": "coalesce(list_bool_or(", "all_match": "coalesce(list_bool_and(", "none_match": "NOT coalesce(list_bool_or("}[name]
		fmt.Fprintf(b, "(CASE WHEN (%s) IS NOT NULL THEN %slist_transform(%s, %s)), %t) END)", arg(0), fn, arg(0), arg(1), name == "all_match")
	case "date_parse", "date_format", "parse_datetime", "format_datetime":
		if len(args) != 2 {
			return 0
		}
		at := t.next(args[1][0], args[1][1])
		if t.next(at+1, args[1][1]) != args[1][1] || t.toks[at].kind != text {
			t.fail("%s: the pattern must be a text in quotes", name)
			return 0
		}
		pattern, err := mysqlPattern, error(nil)
		if strings.HasSuffix(name, "datetime") {
			pattern = javaPattern
		}
		fn := map[string]string{"date_parse": "strptime", "date_format": "strftime", "parse_datetime": "strptime", "format_datetime": "strftime"}[name]
		p, err := pattern(t.toks[at].text)
		if err != nil {
			t.fail("%s: %v", name, err)
			return 0
		}
		subject := arg(0)
		if name == "parse_datetime" {
			fmt.Fprintf(b, "timezone('UTC', strptime(%s, %s))", subject, p)
			break
		}
		fmt.Fprintf(b, "%s(%s, %s)", fn, subject, p)
	case "json_value", "json_exists", "json_query":
		if len(args) > 0 {
			if at := t.next(args[len(args)-1][0], args[len(args)-1][1]); at < len(t.toks) && (strings.HasPrefix(t.toks[at].text, "'lax ") || strings.HasPrefix(t.toks[at].text, "'strict ")) {
				t.fail("%s with a path that starts with lax or strict is not supported; use json_extract_scalar", name)
			}
		}
		return 0
	case "reduce":
		if len(args) != 4 {
			return 0
		}
		fmt.Fprintf(b, "(list_transform([list_reduce(%s, %s, %s)], %s))[1]", arg(0), arg(2), arg(1), arg(3))
	case "map_filter":
		if body, ok := t.lambda(args, "spoor_e%d", "spoor_e%d.key", "spoor_e%d.value"); ok {
			fmt.Fprintf(b, "map_from_entries(list_filter(map_entries(%s), %s))", arg(0), body)
			break
		}
		return 0
	case "transform_values", "transform_keys":
		if body, ok := t.lambda(args, "spoor_e%d", "spoor_e%d.key", "spoor_e%d.value"); ok {
			e, body, _ := strings.Cut(body, " -> ")
			pair := [2]string{e + ".key", body}
			if name == "transform_keys" {
				pair = [2]string{body, e + ".value"}
			}
			fmt.Fprintf(b, "map_from_entries(list_transform(map_entries(%s), %s -> (%s, %s)))", arg(0), e, pair[0], pair[1])
			break
		}
		return 0
	case "zip_with":
		if len(args) != 3 {
			return 0
		}
		if body, ok := t.lambda(args[1:], "spoor_e%d", "spoor_e%d[1]", "spoor_e%d[2]"); ok {
			fmt.Fprintf(b, "list_transform(list_zip(%s, %s), %s)", arg(0), arg(1), body)
			break
		}
		return 0
	default:
		return 0
	}
	return after
}

// lambda writes the second of two arguments, a lambda of two parameters, as one of one parameter, of which they are the
// members first and second. All are patterns for a number.
func (t *translation) lambda(args [][2]int, param, first, second string) (string, bool) {
	if len(args) != 2 {
		return "", false
	}
	end := args[1][1]
	open := t.next(args[1][0], end)
	if !t.is(open, end, "(") {
		return "", false
	}
	names := t.args(open)
	arrow := t.next(t.toks[open].mate+1, end)
	if len(names) != 2 || !t.is(arrow, end, "->") {
		return "", false
	}
	t.lambdas++
	outer := t.vars
	t.vars = maps.Clone(outer)
	if t.vars == nil {
		t.vars = map[string]string{}
	}
	for k, to := range []string{first, second} {
		at := t.next(names[k][0], names[k][1])
		if at >= names[k][1] || t.toks[at].kind != word {
			t.vars = outer
			return "", false
		}
		t.vars[t.toks[at].low] = fmt.Sprintf(to, t.lambdas)
	}
	p := fmt.Sprintf(param, t.lambdas)
	body := t.str(arrow+1, end)
	t.vars = outer
	return p + " -> (" + body + ")", true
}

// cast writes CAST and TRY_CAST.
func (t *translation) cast(b *strings.Builder, name string, open int) int {
	end := t.toks[open].mate
	as := -1
	for i := open + 1; i < end; i++ {
		if m := t.toks[i].mate; m > i {
			i = m
		} else if t.is(i, end, "as") {
			as = i
		}
	}
	if as < 0 {
		return 0
	}
	expr := t.str(open+1, as)
	typ := t.next(as+1, end)
	switch {
	case t.is(typ, end, "varchar") || t.is(typ, end, "string"):
		if n := t.next(typ+1, end); t.is(n, end, "(") {
			fmt.Fprintf(b, "left(spoor_text(%s), %s)", expr, t.str(n+1, t.toks[n].mate))
		} else {
			fmt.Fprintf(b, "spoor_text(%s)", expr)
		}
	case t.is(typ, end, "json") && t.next(typ+1, end) == end:
		fmt.Fprintf(b, "to_json(%s)", expr)
	default:
		if first := t.next(open+1, as); !t.is(first, as, "row") && !t.is(first, as, "(") {
			if shape, ok := t.shape(typ, end); ok && strings.Contains(shape, "{") {
				fn := map[string]string{"cast": "json_transform", "try_cast": "TRY(json_transform"}[name]
				fmt.Fprintf(b, "%s(to_json(%s), %s)%s", fn, expr, quoteText(shape), map[string]string{"try_cast": ")"}[name])
				break
			}
		}
		fmt.Fprintf(b, "%s(%s AS ", strings.ToUpper(name), expr)
		t.typ(b, typ, end)
		b.WriteByte(')')
	}
	return end + 1
}

// shape is the type in the tokens from i to end as json_transform wants it: members of rows by name, others left out, as
// Trino casts JSON to rows. It is false for types that it cannot give.
func (t *translation) shape(i, end int) (string, bool) {
	i = t.next(i, end)
	if i >= end {
		return "", false
	}
	open := t.next(i+1, end)
	switch {
	case t.is(i, end, "array") && t.is(open, end, "("):
		s, ok := t.shape(open+1, t.toks[open].mate)
		return "[" + s + "]", ok
	case t.is(i, end, "row") && t.is(open, end, "("):
		var parts []string
		for _, a := range t.args(open) {
			name := t.next(a[0], a[1])
			if name >= a[1] || t.toks[name].kind != word && t.toks[name].kind != quoted {
				return "", false
			}
			s, ok := t.shape(name+1, a[1])
			if !ok {
				return "", false
			}
			text := t.toks[name].text
			if t.toks[name].kind == quoted {
				text = strings.ReplaceAll(text[1:len(text)-1], `""`, `"`)
			}
			parts = append(parts, string(quoteJSON(text))+":"+s)
		}
		return "{" + strings.Join(parts, ",") + "}", len(parts) > 0
	}
	var b strings.Builder
	t.typ(&b, i, end)
	return string(quoteJSON(strings.ToUpper(strings.TrimSpace(b.String())))), true
}

// typ writes a type, in which array(T) is T[].
func (t *translation) typ(b *strings.Builder, i, end int) {
	for i < end {
		if t.is(i, end, "array") {
			if open := t.next(i+1, end); t.is(open, end, "(") {
				t.typ(b, open+1, t.toks[open].mate)
				b.WriteString("[]")
				i = t.toks[open].mate + 1
				continue
			}
		}
		b.WriteString(t.toks[i].text)
		i++
	}
}

// unnest writes UNNEST as a table with names for its columns, as in CROSS JOIN UNNEST(x) AS t(a, b).
func (t *translation) unnest(b *strings.Builder, open, end int) int {
	i := t.next(t.toks[open].mate+1, end)
	ordinality := false
	if t.is(i, end, "with") {
		if i = t.next(i+1, end); !t.is(i, end, "ordinality") {
			return 0
		}
		ordinality = true
		i = t.next(i+1, end)
	}
	if t.is(i, end, "as") {
		i = t.next(i+1, end)
	}
	if i >= end || t.toks[i].kind != word && t.toks[i].kind != quoted {
		return 0
	}
	alias := t.toks[i].text
	if i = t.next(i+1, end); !t.is(i, end, "(") {
		return 0
	}
	names := len(t.args(i))
	if ordinality {
		names--
	}
	args := t.args(open)
	if len(args) == 1 && names == 1 {
		return 0
	}
	if t.prev(open-1).low == "lateral" {
		return 0
	}
	b.WriteString("LATERAL (SELECT ")
	for k, a := range args {
		if k > 0 {
			b.WriteString(", ")
		}
		x := t.str(a[0], a[1])
		switch {
		case len(args) > 1:
			fmt.Fprintf(b, "unnest(%s)", x)
		case t.maps:
			fmt.Fprintf(b, "unnest(map_entries(%s), max_depth := 2)", x)
		default:
			fmt.Fprintf(b, "unnest(%s, max_depth := 2)", x)
		}
		t.multi = t.multi || len(args) == 1
	}
	if ordinality {
		x := t.str(args[0][0], args[0][1])
		if t.maps && len(args) == 1 {
			x = "map_entries(" + x + ")"
		}
		fmt.Fprintf(b, ", generate_subscripts(%s, 1)", x)
	}
	fmt.Fprintf(b, ") AS %s", alias)
	t.emit(b, i, t.toks[i].mate+1)
	return t.toks[i].mate + 1
}

// mysqlPattern writes a date pattern of MySQL, in quotes, as strptime's.
func mysqlPattern(lit string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(lit); i++ {
		if lit[i] != '%' || i+1 == len(lit) {
			b.WriteByte(lit[i])
			continue
		}
		i++
		switch c := lit[i]; c {
		case 'Y', 'y', 'm', 'd', 'H', 'I', 'j', 'p', 'f', 'a', 'b', '%', 'S':
			b.WriteByte('%')
			b.WriteByte(c)
		case 'i':
			b.WriteString("%M")
		case 's':
			b.WriteString("%S")
		case 'h':
			b.WriteString("%I")
		case 'k':
			b.WriteString("%-H")
		case 'l':
			b.WriteString("%-I")
		case 'c':
			b.WriteString("%-m")
		case 'e':
			b.WriteString("%-d")
		case 'M':
			b.WriteString("%B")
		case 'W':
			b.WriteString("%A")
		case 'T':
			b.WriteString("%H:%M:%S")
		case 'r':
			b.WriteString("%I:%M:%S %p")
		case 'v':
			b.WriteString("%V")
		case 'x':
			b.WriteString("%G")
		default:
			return "", fmt.Errorf("the pattern %%%c is not supported", c)
		}
	}
	return b.String(), nil
}

// javaPattern writes a date pattern of Joda, in quotes, as strptime's.
func javaPattern(lit string) (string, error) {
	var b strings.Builder
	b.WriteByte('\'')
	in := lit[1 : len(lit)-1]
	for i := 0; i < len(in); {
		c := in[i]
		if strings.HasPrefix(in[i:], "''") { // one quote in the literal: text as it is until the next one
			end := strings.Index(in[i+2:], "''")
			if end < 0 {
				return "", fmt.Errorf("a quoted part of the pattern does not end")
			}
			b.WriteString(strings.ReplaceAll(in[i+2:i+2+end], "%", "%%"))
			i += end + 4
			continue
		}
		n := 1
		for i+n < len(in) && in[i+n] == c {
			n++
		}
		i += n
		switch {
		case c == 'y' || c == 'Y' || c == 'u':
			b.WriteString("%Y")
		case c == 'M' && n <= 2:
			b.WriteString([]string{"%-m", "%m"}[n-1])
		case c == 'M':
			b.WriteString([]string{"%b", "%B"}[min(n-3, 1)])
		case c == 'd':
			b.WriteString([]string{"%-d", "%d"}[min(n-1, 1)])
		case c == 'H':
			b.WriteString([]string{"%-H", "%H"}[min(n-1, 1)])
		case c == 'h':
			b.WriteString([]string{"%-I", "%I"}[min(n-1, 1)])
		case c == 'm':
			b.WriteString([]string{"%-M", "%M"}[min(n-1, 1)])
		case c == 's':
			b.WriteString([]string{"%-S", "%S"}[min(n-1, 1)])
		case c == 'S':
			b.WriteString("%g")
		case c == 'E':
			b.WriteString([]string{"%a", "%A"}[min(max(n-3, 0), 1)])
		case c == 'a':
			b.WriteString("%p")
		case c == 'D':
			b.WriteString("%j")
		case identStart(c):
			return "", fmt.Errorf("the pattern %c is not supported", c)
		case c == '%':
			b.WriteString(strings.Repeat("%%", n))
		default:
			b.WriteString(strings.Repeat(string(c), n))
		}
	}
	b.WriteByte('\'')
	return b.String(), nil
}
