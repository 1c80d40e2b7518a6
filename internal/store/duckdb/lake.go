package duckdb

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/duckdb/duckdb-go/v2"
)

// The Lake dialect is Trino's SQL over event data stores, of which FROM names the ids. It is translated as Trino's SQL is,
// and besides:
//
//   - an id becomes the name of a common table expression that the program writes before the query: the rows of the one
//     table of events that the store has, with the columns of the store;
//   - the moments of now and from_iso8601_timestamp are in UTC without a zone, as eventTime is: the engine takes 200 ns to
//     compare one with a zone with one without;
//   - columns of the result that have no name are _col0, _col1 … by their place;
//   - the result is written as text as AWS writes it (laketext.go).

// lakeForms is what is to be written in another way in the Lake dialect, by token.
type lakeForms struct {
	before map[int]int // how many calls of spoor_at_zone open before a token
	zones  map[int]int // AT, and the token behind it that is the zone

	at      string         // name of a column more that stores have: see [translation.orderByTime]
	instead map[int]string // tokens that are written as something else
}

// timeColumn is eventTime as it lies in the files. No query sees it.
const timeColumn = "spoor: eventTime of the file"

// orderByTime makes a query for the newest or oldest events of one store, SELECT … FROM store WHERE … ORDER BY eventTime …
// LIMIT …, be ordered by the column of the files, of which the engine leaves out what is too old or too young. By an
// expression of it, which eventTime is in the dialect, it would read all. False is told of queries that are not of this form
// for certain; [translation.asWritten] takes it back.
func (t *translation) orderByTime() bool {
	end := len(t.toks)
	instead := map[int]string{}
	at := t.next(0, end)
	if !t.is(at, end, "select") {
		return false
	}
	clause, ordered, limited := "select", false, false
	before := token{}
	last := t.toks[at]
	for i := t.next(at+1, end); i < end; i = t.next(i+1, end) {
		tok := t.toks[i]
		switch name := tok.low; {
		case tok.mate > i:
			i = tok.mate
		case tok.kind == word && (name == "from" || name == "where" || name == "order" || name == "limit"):
			if name == "from" {
				if i = t.next(i+1, end); i >= end {
					return false
				}
				if _, ok := storeID(t.toks[i]); !ok {
					return false
				}
			}
			if name == "order" {
				by := t.next(i+1, end)
				key := t.next(by+1, end)
				if dot := t.next(key+1, end); t.is(dot, end, ".") {
					key = t.next(dot+1, end)
				}
				if !t.is(by, end, "by") || key >= end || t.toks[key].low != "eventtime" {
					return false
				}
				if after := t.next(key+1, end); !t.is(after, end, "asc") && !t.is(after, end, "desc") && !t.is(after, end, "nulls") && !t.is(after, end, ",") && !t.is(after, end, "limit") {
					return false
				}
				instead[key], ordered = quoteName(timeColumn), true
				i = key
			}
			limited = limited || name == "limit"
			clause = name
		case tok.kind == word && (name == "distinct" || name == "group" || name == "having" || name == "union" || name == "except" || name == "intersect" || name == "window" ||
			name == "qualify" || name == "join" || name == "sample" || name == "tablesample" || name == "using"):
			return false
		case clause == "from" && tok.text == ",":
			return false
		case clause == "select" && name == "eventtime" && last.low != "select" && last.text != "," && last.text != ".":
			return false // it may be the name of something else
		case clause == "select" && tok.text == "*" && (last.low == "select" || last.text == "," || last.text == "." && before.kind != number):
			instead[i] = "* EXCLUDE (" + quoteName(timeColumn) + ")"
		}
		before, last = last, t.toks[i]
	}
	if !ordered || !limited {
		return false
	}
	t.lake.at, t.lake.instead = timeColumn, instead
	return true
}

// asWritten takes [translation.orderByTime] back.
func (t *translation) asWritten() { t.lake.at, t.lake.instead = "", nil }

// lakeLex splits a query. Errors are refusals, and say where.
func lakeLex(sql string) ([]token, error) {
	toks, at, err := scan(sql)
	if err == nil {
		return toks, nil
	}
	var refused *RefusedError
	if !errors.As(err, &refused) {
		refused = &RefusedError{Reason: err.Error()}
	}
	if at <= len(sql) && utf8.ValidString(sql) {
		refused.Line, refused.Column = lineColumn(sql, at)
	}
	return nil, refused
}

func lineColumn(sql string, at int) (line, column int) {
	before := sql[:min(at, len(sql))]
	return 1 + strings.Count(before, "\n"), 1 + utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
}

// refuseAt refuses for a token.
func refuseAt(toks []token, i int, format string, args ...any) error {
	line, column := lineColumn(source(toks), offset(toks, i))
	return &RefusedError{Reason: fmt.Sprintf(format, args...), Line: line, Column: column}
}

// source is the query that tokens are of.
func source(toks []token) string {
	var b strings.Builder
	for _, t := range toks {
		b.WriteString(t.text)
	}
	return b.String()
}

// lakeStatement takes the final semicolon off a query of the Lake dialect and refuses what is no single SELECT.
func lakeStatement(toks []token) ([]token, error) {
	end := len(toks)
	for end > 0 && (toks[end-1].kind == space || toks[end-1].text == ";") {
		end--
	}
	first := slices.IndexFunc(toks[:end], func(t token) bool { return t.kind != space })
	if first < 0 {
		return nil, refusef("there is no query")
	}
	switch t := toks[first]; {
	case t.low == "select", t.low == "with", t.low == "values", t.text == "(":
	case t.text == ";":
		return nil, refuseAt(toks, first, "there is no query before this semicolon")
	default:
		return nil, refuseAt(toks, first, onlySelect+", not %s", strings.ToUpper(short(t.text)))
	}
	for i, t := range toks[:end] {
		if t.kind == sign && t.text == ";" {
			return nil, refuseAt(toks, i, "there is more than one statement; ask one at a time")
		}
	}
	for _, i := range tablePlaces(toks[:end]) {
		switch toks[i].kind {
		case param:
			return nil, refuseAt(toks, i, "write the id of an event data store in place of %s", short(toks[i].text))
		case text: // which the engine takes for a name
			return nil, refuseAt(toks, i, "a text stands where a table must: write the id as it is, or in double quotes")
		}
	}
	return toks[:end], nil
}

// short is a text that is not long.
func short(s string) string {
	if utf8.RuneCountInString(s) > 40 {
		return string([]rune(s)[:40]) + "…"
	}
	return s
}

// lakeTranslation prepares the translation of a query of the Lake dialect.
func lakeTranslation(toks []token, params []Param) *translation {
	t := &translation{toks: toks, params: params, lake: &lakeForms{before: map[int]int{}, zones: map[int]int{}}}
	for i := range toks {
		if toks[i].low != "at" || toks[i].kind != word {
			continue
		}
		end := len(toks)
		time := t.next(i+1, end)
		zone := t.next(time+1, end)
		of := t.next(zone+1, end)
		if !t.is(time, end, "time") || !t.is(zone, end, "zone") || of >= end || toks[of].kind != text {
			continue
		}
		if start := t.operand(i); start >= 0 {
			t.lake.before[start]++
			t.lake.zones[i] = of
		}
	}
	return t
}

// operand is the first token of the operand that ends before the token at i, -1 when that cannot be told.
func (t *translation) operand(i int) int {
	before := func(i int) int {
		for i--; i >= 0 && t.toks[i].kind == space; i-- {
		}
		return i
	}
	j := before(i)
	for {
		switch {
		case j < 0:
			return -1
		case t.toks[j].text == "]" && t.toks[j].mate >= 0:
			j = before(t.toks[j].mate)
			continue
		case t.toks[j].text == ")" && t.toks[j].mate >= 0:
			j = t.toks[j].mate
			if k := before(j); k >= 0 && (t.toks[k].kind == quoted || t.toks[k].kind == word && !beforeOperand(t.toks[k].low)) {
				j = k
			}
		case t.toks[j].kind == text:
			if k := before(j); k >= 0 && (t.toks[k].low == "timestamp" || t.toks[k].low == "date") {
				j = k
			}
			return j
		case t.toks[j].kind != word && t.toks[j].kind != quoted:
			return -1
		}
		if k := before(j); k >= 0 && t.toks[k].text == "." {
			j = before(k)
			continue
		}
		return j
	}
}

// beforeOperand reports whether a word can stand before an operand in parentheses without being the name of a function.
func beforeOperand(word string) bool {
	switch word {
	case "select", "distinct", "where", "and", "or", "not", "on", "in", "when", "then", "else", "case", "by", "from", "having", "between", "like", "is", "as", "over", "filter", "values", "all", "any", "some", "end", "return", "limit", "offset":
		return true
	}
	return false
}

// lakeForm writes what begins at i in another way, where it must be, and returns the index behind it; else 0.
func (t *translation) lakeForm(b *strings.Builder, i, end int) int {
	tok := t.toks[i]
	if n := t.lake.before[i]; n > 0 {
		t.lake.before[i] = 0
		b.WriteString(strings.Repeat("spoor_at_zone(", n))
		after := t.lakeForm(b, i, end)
		if after == 0 { // what begins here is written as it is, without coming here again
			defer func() { t.lake.before[i] = n }()
			return 0
		}
		t.lake.before[i] = n
		return after
	}
	if of, ok := t.lake.zones[i]; ok {
		b.WriteString(", ")
		b.WriteString(t.toks[of].text)
		b.WriteString(")")
		return of + 1
	}
	if id, ok := storeID(tok); ok {
		b.WriteString(quoteName(id))
		return i + 1
	}
	if tok.kind != word && tok.kind != quoted || t.prev(i).text == "." {
		return 0
	}
	next := t.next(i+1, end)
	if tok.kind == word {
		switch tok.low {
		case "current_timestamp", "localtimestamp", "now":
			if t.prev(i).low == "as" {
				return 0
			}
			switch open := t.is(next, end, "("); {
			case open && tok.low != "now":
				b.WriteString("spoor_now()")
				return t.toks[next].mate + 1
			case open == (tok.low == "now"):
				b.WriteString("spoor_now")
				if !open {
					b.WriteString("()")
				}
				return i + 1
			}
			return 0
		}
	}
	// a.b.c, whose end may name a member that is text in the files.
	names, last := []string{tok.low}, i
	for t.is(next, end, ".") {
		at := t.next(next+1, end)
		if at >= end || t.toks[at].kind != word && t.toks[at].kind != quoted {
			return 0
		}
		names, last = append(names, t.toks[at].low), at
		next = t.next(at+1, end)
	}
	if len(names) < 2 || t.is(next, end, "(") {
		return 0
	}
	fn := map[string]string{"attributes.creationdate": "spoor_moment", "webidfederationdata.attributes": "spoor_map"}[strings.Join(names[len(names)-2:], ".")]
	if fn == "" {
		return 0
	}
	b.WriteString(fn + "(")
	for _, part := range t.toks[i : last+1] {
		b.WriteString(part.text)
	}
	b.WriteString(")")
	return last + 1
}

// lakeCall writes the call of a function whose arguments are in the parentheses at open, when the Lake dialect means it in
// another way.
func (t *translation) lakeCall(b *strings.Builder, name string, open int) bool {
	args := t.args(open)
	arg := func(k int) string { return t.str(args[k][0], args[k][1]) }
	to := ""
	switch {
	case name == "from_iso8601_timestamp" && len(args) == 1:
		to = "spoor_iso_utc"
	case name == "at_timezone" && len(args) == 2:
		to = "spoor_at_zone"
	case name == "split_part" && len(args) == 3:
		to = "spoor_split_part"
	case (name == "greatest" || name == "least") && len(args) > 1:
		b.WriteString("(CASE WHEN true")
		for k := range args {
			fmt.Fprintf(b, " AND (%s) IS NOT NULL", arg(k))
		}
		fmt.Fprintf(b, " THEN %s(%s) END)", name, t.str(open+1, t.toks[open].mate))
		return true
	case name == "extract":
		field := t.next(open+1, t.toks[open].mate)
		iso := map[string]string{"day_of_week": "isodow", "dow": "isodow", "day_of_month": "day", "day_of_year": "doy", "year_of_week": "isoyear", "yow": "isoyear"}[t.toks[field].low]
		if iso == "" {
			return false
		}
		fmt.Fprintf(b, "extract(%s %s)", iso, t.str(field+1, t.toks[open].mate))
		return true
	default:
		return false
	}
	fmt.Fprintf(b, "%s(%s)", to, t.str(open+1, t.toks[open].mate))
	return true
}

// withStores puts the definitions of stores before a translated query. prefix is how many lines the query moved down.
func (t *translation) withStores(query string, stores []DataStore, s span) (_ string, prefix int) {
	if len(stores) == 0 {
		return query, 0
	}
	var ctes []string
	for _, d := range stores {
		ctes = append(ctes, strings.ReplaceAll(d.cteSQL(s, t.lake.at), "\n", " "))
	}
	list := strings.Join(ctes, ", ")
	// A WITH of the query's own goes on behind.
	end := len(t.toks)
	with := t.next(0, end)
	if !t.is(with, end, "with") {
		return "WITH " + list + "\n" + query, 1
	}
	recursive := ""
	if next := t.next(with+1, end); t.is(next, end, "recursive") {
		recursive, with = " RECURSIVE", next
	}
	var rest strings.Builder
	t.emit(&rest, with+1, end)
	return "WITH" + recursive + " " + list + ",\n" + rest.String(), 1 - strings.Count(source(t.toks[:with]), "\n")
}

// lakePlan is [Engine.plan] for a query of the Lake dialect.
func (e *Engine) lakePlan(ctx context.Context, conn *sql.Conn, query string, opts QueryOptions) (*plan, error) {
	toks, err := lakeLex(query)
	if err != nil {
		return nil, err
	}
	if toks, err = lakeStatement(toks); err != nil {
		return nil, err
	}
	g := guard{tables: map[string]bool{}, lake: true}
	for _, d := range opts.DataStores {
		if !isUUID(d.ID) {
			return nil, fmt.Errorf("an event data store has the id %q, which is none", d.ID)
		}
		g.tables[strings.ToLower(d.ID)] = true
	}
	p := &plan{lake: lakeTranslation(toks, opts.Params), stores: opts.DataStores}
	return p, e.translate(p.lake, p, func() error { return e.check(ctx, conn, g, e.scopeOf(&opts), p) })
}

// lakeBind writes the stores that a query names before it, and leaves it the files that it can need.
func (e *Engine) lakeBind(ctx context.Context, conn *sql.Conn, p *plan, tables []string, scope Scope, f focus) error {
	var used []DataStore
	for _, d := range p.stores {
		if d.ID = strings.ToLower(d.ID); slices.Contains(tables, d.ID) && !slices.ContainsFunc(used, func(u DataStore) bool { return u.ID == d.ID }) {
			used = append(used, d)
		}
	}
	if len(tables) != 1 || len(used) != 1 || used[0].Audit {
		f = focus{}
	}
	if len(used) == 0 {
		return nil // it asks nothing
	}
	of, err := []span{always}, error(nil)
	if len(scope.Files) > 0 {
		if of, err = e.lakeSpans(ctx, p, used); err != nil {
			return err
		}
	}
	whole := of[0]
	for _, s := range of[1:] {
		whole = whole.or(s)
	}
	if p.lake.orderByTime() {
		if p.sql, err = p.lake.all(); err != nil {
			return err
		}
		defer p.lake.asWritten()
	}
	p.sql, p.prefix = p.lake.withStores(p.sql, used, whole)
	scope.Files = slices.DeleteFunc(slices.Clone(scope.Files), func(file string) bool {
		facts, known := scope.Facts[file]
		return known && !facts.may(of)
	})
	if p.files, err = e.setFocus(ctx, conn, scope, f); err != nil {
		return err
	}
	return e.define(ctx, conn, []string{segmentsTable().key()}, scope.Files)
}

// lakeSpans gives the time ranges that a query needs of the stores that it names. What says nothing of eventTime is not
// planned for them: that of every column takes as long as to answer it.
func (e *Engine) lakeSpans(ctx context.Context, p *plan, used []DataStore) ([]span, error) {
	planner, err := e.lakePlanner(ctx)
	if err != nil {
		return nil, err
	}
	var query string
	query, p.prefix = p.lake.withStores(p.sql, used, always)
	if p.lake.boundsTime() {
		return planner.spans(ctx, query)
	}
	var out []span
	for _, d := range used {
		if !strings.Contains(strings.ToLower(d.Where), "eventtime") {
			return []span{always}, nil
		}
		of, err := planner.spans(ctx, "WITH "+d.cteSQL(always, "")+" SELECT eventID FROM "+quoteName(d.ID))
		if err != nil {
			return nil, err
		}
		out = append(out, of...)
	}
	return out, nil
}

// boundsTime reports whether a query may have a condition on eventTime. It has none for certain where eventTime stands alone
// in the list of a SELECT, or behind ORDER BY, outside of all parentheses: under no other name, which WHERE could use.
func (t *translation) boundsTime() bool {
	end := len(t.toks)
	clause, last := "", token{}
	for i := t.next(0, end); i < end; i = t.next(i+1, end) {
		tok := t.toks[i]
		switch {
		case tok.low == "eventtime":
			after := token{}
			if j := t.next(i+1, end); j < end {
				after = t.toks[j]
			}
			listed := clause == "select" && (last.low == "select" || last.text == ",") && (after.text == "," || after.low == "from")
			if !listed && clause != "order" {
				return true
			}
		case tok.mate > i:
			if slices.ContainsFunc(t.toks[i:tok.mate], func(in token) bool { return in.low == "eventtime" }) {
				return true
			}
			i = tok.mate
		case tok.kind == word && (tok.low == "select" || tok.low == "order" || tok.low == "from" || tok.low == "limit" || endsTables(tok.low)):
			clause = tok.low
		}
		last = t.toks[i]
	}
	return false
}

// lakePlace says where in the query what a refusal names is.
func lakePlace(err error, toks []token) error {
	var refused *RefusedError
	if !errors.As(err, &refused) || refused.Line > 0 || refused.near == "" {
		return err
	}
	places := tablePlaces(toks)
	for _, wantTable := range []bool{true, false} {
		for i, t := range toks {
			low := t.low
			if t.kind == uuid {
				low = strings.ToLower(t.text)
			} else if t.kind == text && len(t.text) > 1 {
				low = strings.ToLower(t.text[1 : len(t.text)-1])
			}
			if low == refused.near && (!wantTable || slices.Contains(places, i)) {
				return refuseAt(toks, i, "%s", refused.Reason)
			}
		}
	}
	return err
}

// lakeSyntax says where a query that the parser refuses is wrong: where it says so of the query as it was written, with ids
// as names.
func lakeSyntax(ctx context.Context, conn *sql.Conn, err error, toks []token) error {
	var refused *RefusedError
	if !errors.As(err, &refused) {
		return err
	}
	var b strings.Builder
	said := refused.Reason
	for _, t := range toks {
		if t.kind == uuid {
			asLong := `"` + t.text[:34] + `"`
			said = strings.ReplaceAll(said, quoteName(strings.ToLower(t.text)), asLong)
			refused.Reason = strings.ReplaceAll(refused.Reason, quoteName(strings.ToLower(t.text)), t.text)
			b.WriteString(asLong)
			continue
		}
		b.WriteString(t.text)
	}
	var tree string
	if conn.QueryRowContext(ctx, "SELECT CAST(json_serialize_sql("+quoteText(b.String())+") AS VARCHAR)").Scan(&tree) != nil {
		return err
	}
	var doc struct {
		Message  string `json:"error_message"`
		Position string `json:"position"`
	}
	at, perr := 0, error(nil)
	if perr = json.Unmarshal([]byte(tree), &doc); perr == nil {
		at, perr = strconv.Atoi(doc.Position)
	}
	if perr != nil || !strings.HasSuffix(said, strings.TrimSpace(doc.Message)) || at < 0 || at > b.Len() {
		return err
	}
	line, column := lineColumn(b.String(), at)
	return &RefusedError{Reason: refused.Reason, Line: line, Column: column}
}

var errorPlace = regexp.MustCompile(`(?s)\n+LINE (\d+): ([^\n]*)\n( *)\^.*$`)

// lakeError makes what the engine says about a query a refusal that speaks of the query as it was written. prefix is how many
// lines stand before it.
func lakeError(err error, toks []token, prefix int) error {
	var de *duckdb.Error
	if !errors.As(err, &de) {
		return err
	}
	kind, reason, ok := strings.Cut(de.Msg, ": ")
	switch kind {
	case "Parser Error", "Binder Error", "Catalog Error", "Conversion Error", "Invalid Input Error", "Out of Range Error", "Not implemented Error":
	default:
		return err
	}
	if !ok {
		return err
	}
	refused := &RefusedError{Reason: strings.ReplaceAll(strings.TrimSpace(errorPlace.ReplaceAllString(reason, "")), timeColumn, "eventTime")}
	m := errorPlace.FindStringSubmatch(reason)
	if m == nil {
		return refused
	}
	line, err := strconv.Atoi(m[1])
	query := strings.Split(source(toks), "\n")
	if line -= prefix; err != nil || line < 1 || line > len(query) {
		return refused
	}
	refused.Line = line
	caret := len(m[3]) - len("LINE : ") - len(m[1])
	if caret < 0 || caret >= len(m[2]) {
		return refused
	}
	near := strings.ToLower(wordAt.FindString(m[2][caret:]))
	text := strings.ToLower(query[line-1])
	if at := strings.Index(text, near); near != "" && at >= 0 && strings.Count(text, near) == 1 {
		refused.Column = 1 + utf8.RuneCountInString(text[:at])
	}
	return refused
}

var wordAt = regexp.MustCompile(`^"?[\pL\pN_]+`)

// lakeNames gives columns that have no name the one that Trino gives them.
func lakeNames(tree []byte, names []string) {
	var doc struct {
		Statements []struct {
			Node map[string]any `json:"node"`
		} `json:"statements"`
	}
	if json.Unmarshal(tree, &doc) != nil || len(doc.Statements) != 1 {
		return
	}
	node := doc.Statements[0].Node
	for node != nil && node["type"] != "SELECT_NODE" {
		left, ok := node["left"].(map[string]any)
		if !ok {
			left, ok = node["child"].(map[string]any)
		}
		if children, _ := node["children"].([]any); !ok && len(children) > 0 {
			left, _ = children[0].(map[string]any)
		}
		node = left
	}
	list, _ := node["select_list"].([]any)
	stars := 0
	for _, item := range list {
		if e, _ := item.(map[string]any); e["class"] == "STAR" {
			stars++
		}
	}
	column := 0
	for i, item := range list {
		e, _ := item.(map[string]any)
		if e["class"] == "STAR" {
			if stars > 1 {
				return // how many columns each stands for is not known
			}
			column = len(names) - (len(list) - i - 1)
			continue
		}
		if column < 0 || column >= len(names) {
			return
		}
		if name, ok := lakeName(e); !ok {
			names[column] = fmt.Sprintf("_col%d", column)
		} else if name != "" {
			names[column] = name
		}
		column++
	}
}

// lakeName is the name of a column of a result, "" where it has its own, false where it has none.
func lakeName(e map[string]any) (string, bool) {
	if alias, _ := e["alias"].(string); alias != "" || e["class"] == "COLUMN_REF" {
		return "", true
	}
	children, _ := e["children"].([]any)
	switch name, _ := e["function_name"].(string); {
	case (name == "spoor_moment" || name == "spoor_map") && len(children) == 1:
		ref, _ := children[0].(map[string]any)
		if names, _ := ref["column_names"].([]any); len(names) > 0 {
			last, _ := names[len(names)-1].(string)
			return last, last != ""
		}
	case (name == "struct_extract" || e["type"] == "STRUCT_EXTRACT") && len(children) == 2:
		member, _ := children[1].(map[string]any)
		return constant(member)
	}
	return "", false
}
