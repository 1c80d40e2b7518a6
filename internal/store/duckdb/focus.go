package duckdb

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"spoor/internal/store/segment"
)

// A query that looks for a needle has to read a small part of the store only. The engine finds most of that part by itself:
// by the statistics and Bloom filters of row groups. Three things it does not do, and focus does:
//
//   - It prepares every column that the query wants for every row group, whether that is left out or not. So the files
//     that have the event id, request id or shared event id are found first, by that column alone, and no other is opened.
//   - It skips nothing by a member of a struct. So a test of userIdentity.accessKeyId becomes one of accessKeyId too.
//   - It skips nothing by a member of a list, although ARNs of resources have Bloom filters. So the files that may have one
//     are found first, unless the newest has it everywhere: then it is better to begin.
//   - It joins every record from its columns before it searches in it. So each part is searched first, as it lies in its
//     column, for a piece of the text that can only stand within one part.
//
// All of it only narrows what the tables have, by conditions that the query itself makes; the query is asked as it is.

// focus is what may be left out for a query.
type focus struct {
	column string   // of needle columns that hardly repeat
	values []string // of it; nil when there is no such condition
	arn    string   // of resources
	key    string   // accessKeyId
	regex  string   // matches in a part of the record
}

// The variables of a connection that the view of the segments depends on. Queries cannot read or set variables.
const (
	filesVar  = "spoor_files"
	schemaVar = "spoor_schema" // what read_parquet wants to know of all columns: a constant is bound sooner than its text
	keyVar    = "spoor_key"
	regexVar  = "spoor_regex"

	sinceVar, untilVar      = "spoor_since", "spoor_until"
	accountsVar, regionsVar = "spoor_accounts", "spoor_regions"
)

// rawParts are the columns that the record is joined from.
func rawParts() []string {
	return []string{"rawHead", "requestParameters", "responseElements", "additionalEventData", "requestID", "eventID", "rawTail", "raw"}
}

// focusSQL is the condition of the view of the segments. Where a variable is not set, the engine leaves its part out.
func focusSQL() string {
	value := func(name string) string { return "CAST(getvariable('" + name + "') AS VARCHAR)" }
	var regex []string
	for _, p := range rawParts() {
		// Of an expression that is a plain text the engine makes contains.
		regex = append(regex, fmt.Sprintf("regexp_matches(%s, %s)", p, value(regexVar)))
	}
	return fmt.Sprintf("(%s IS NULL OR accessKeyId = %[1]s) AND (%s IS NULL OR %s)", value(keyVar), value(regexVar), strings.Join(regex, " OR "))
}

// setFocus prepares a connection for a query. It must be done before each, since connections are used again.
// It gives the files that are left.
func (e *Engine) setFocus(ctx context.Context, conn *sql.Conn, scope Scope, f focus) ([]string, error) {
	if e.fixedEmpty() {
		return nil, nil
	}
	if len(scope.Files) == 0 {
		scope.Files = []string{e.none}
	}
	if e.opts.unfocused {
		f = focus{}
	}
	set := func(files []string) error {
		value := func(s string) string {
			if s == "" {
				return "NULL"
			}
			return quoteText(s)
		}
		at := func(t time.Time) string {
			if t.IsZero() {
				return "NULL"
			}
			return "TIMESTAMPTZ " + quoteText(t.UTC().Format("2006-01-02 15:04:05.999999+00"))
		}
		list := func(texts []string) string {
			if len(texts) == 0 {
				return "NULL"
			}
			return "[" + quotedList(texts) + "]"
		}
		var b strings.Builder
		for _, v := range [][2]string{
			{filesVar, list(files)}, {keyVar, value(f.key)}, {regexVar, value(f.regex)}, {sinceVar, at(scope.Since)}, {untilVar, at(scope.Until)},
			{accountsVar, list(scope.Accounts)}, {regionsVar, list(scope.Regions)},
		} {
			fmt.Fprintf(&b, "SET VARIABLE %s = %s;", v[0], v[1])
		}
		_, err := conn.ExecContext(ctx, b.String())
		if err != nil {
			return fmt.Errorf("prepare the query: %w", err)
		}
		return nil
	}
	var known bool
	if err := conn.QueryRowContext(ctx, "SELECT getvariable('"+schemaVar+"') IS NOT NULL").Scan(&known); err != nil {
		return nil, fmt.Errorf("prepare the query: %w", err)
	}
	if !known {
		if _, err := conn.ExecContext(ctx, "SET VARIABLE "+schemaVar+" = "+schemaSQL(func(segment.Column) bool { return true })); err != nil {
			return nil, fmt.Errorf("prepare the query: %w", err)
		}
	}
	if err := set(scope.Files); err != nil || f.values == nil && f.arn == "" || len(scope.Files) == 1 {
		return scope.Files, err
	}
	find := e.mayHave
	if f.values != nil {
		find = e.having
	}
	files, err := find(ctx, conn, scope.Files, f)
	if err != nil {
		return scope.Files, ctx.Err() // a file that cannot be read is the query's to report
	}
	if len(files) == 0 {
		files = scope.Files[:1] // one must be asked
	}
	if len(files) == len(scope.Files) {
		return files, nil
	}
	return files, set(files)
}

// often is how many row groups of the newest file have an ARN that is better looked for from there on. Bloom filters alone
// let hardly more than one in a file pass.
const often = 4

// mayHave gives the files that may have the ARN of a resource.
func (e *Engine) mayHave(ctx context.Context, _ *sql.Conn, all []string, f focus) ([]string, error) {
	found := make([]int, len(all))
	look := func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		groups, err := segment.Lookup(all[i], segment.ResourceARN, f.arn)
		found[i] = len(groups)
		return err
	}
	if err := look(0); err != nil {
		return nil, err
	}
	if found[0] >= often {
		return all, nil
	}
	var group errgroup.Group
	group.SetLimit(e.opts.Threads)
	for i := range all[1:] {
		group.Go(func() error { return look(1 + i) })
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var files []string
	for i, n := range found {
		if n > 0 {
			files = append(files, all[i])
		}
	}
	return files, nil
}

// having gives the files that have one of the values.
func (e *Engine) having(ctx context.Context, conn *sql.Conn, _ []string, f focus) (files []string, err error) {
	schema := schemaSQL(func(c segment.Column) bool { return strings.EqualFold(c.Name, f.column) })
	rows, err := conn.QueryContext(ctx, fmt.Sprintf("SELECT DISTINCT filename FROM %s WHERE %s IN (%s)", readSQL(schema), f.column, quotedList(f.values)))
	if err != nil {
		return nil, err
	}
	defer func() {
		if cerr := rows.Close(); err == nil {
			err = cerr
		}
	}()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		files = append(files, name)
	}
	return files, rows.Err()
}

func quotedList(texts []string) string {
	out := make([]string, len(texts))
	for i, t := range texts {
		out[i] = quoteText(t)
	}
	return strings.Join(out, ", ")
}

// focusOf finds the tables that a parsed query names, each time that it does, by their keys, and conditions that hold for
// all rows that it uses: those of the WHERE right behind the one table that it names.
func focusOf(tree []byte) (tables []string, f focus) {
	var doc any
	dec := json.NewDecoder(bytes.NewReader(tree))
	dec.UseNumber()
	if dec.Decode(&doc) != nil {
		return nil, focus{}
	}
	var selects []map[string]any
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			switch v["type"] {
			case "BASE_TABLE":
				schema, _ := v["schema_name"].(string)
				name, _ := v["table_name"].(string)
				tables = append(tables, table{schema, name, ""}.key())
			case "SELECT_NODE":
				if from, ok := v["from_table"].(map[string]any); ok && from["type"] == "BASE_TABLE" && from["sample"] == nil {
					selects = append(selects, v)
				}
			}
			for _, c := range v {
				walk(c)
			}
		case []any:
			for _, c := range v {
				walk(c)
			}
		}
	}
	walk(doc)
	if len(tables) != 1 || len(selects) != 1 {
		return tables, focus{}
	}
	from, _ := selects[0]["from_table"].(map[string]any)
	if list, _ := from["column_name_alias"].([]any); len(list) > 0 {
		return tables, focus{} // columns have other names
	}
	alias, _ := from["alias"].(string)
	if alias == "" {
		alias, _ = from["table_name"].(string)
	}
	f.conjuncts(selects[0]["where_clause"], alias)
	return tables, f
}

// conjuncts notes the conditions of which all must hold.
func (f *focus) conjuncts(v any, table string) {
	e, ok := v.(map[string]any)
	if !ok {
		return
	}
	switch e["type"] {
	case "CONJUNCTION_AND":
		children, _ := e["children"].([]any)
		for _, c := range children {
			f.conjuncts(c, table)
		}
	case "COMPARE_EQUAL":
		column, value := columnOf(e["left"], table), e["right"]
		if column == "" {
			column, value = columnOf(e["right"], table), e["left"]
		}
		if s, ok := constant(value); ok {
			f.equal(column, s)
		}
	case "COMPARE_IN":
		children, _ := e["children"].([]any)
		if len(children) < 2 || len(children) > 1000 {
			return
		}
		var values []string
		for _, c := range children[1:] {
			s, ok := constant(c)
			if !ok {
				return
			}
			values = append(values, s)
		}
		f.equal(columnOf(children[0], table), values...)
	case "FUNCTION":
		children, _ := e["children"].([]any)
		if len(children) != 2 || e["schema"] != "" {
			return
		}
		c := columnOf(children[0], table)
		s, ok := constant(children[1])
		if !ok {
			return
		}
		switch name := e["function_name"]; {
		case c == "resourcearns" && (name == "contains" || name == "list_contains" || name == "array_contains" || name == "list_has" || name == "array_has"):
			f.arn = s
			return
		case c != "raw" && c != "eventjson":
			return
		}
		switch e["function_name"] {
		case "contains":
			f.search([]string{s}, false)
		case "~~":
			f.search(strings.FieldsFunc(s, wildcard), false)
		case "~~*":
			f.search(strings.FieldsFunc(s, wildcard), true)
		}
	}
}

func wildcard(r rune) bool { return r == '%' || r == '_' }

func (f *focus) equal(column string, values ...string) {
	switch column {
	case "eventid", "requestid", "sharedeventid":
		if f.values == nil {
			f.column, f.values = column, values
		}
	case "useridentity.accesskeyid":
		if len(values) == 1 {
			f.key = values[0]
		}
	}
}

// commonBytes are the bytes of records from frequent to rare, as far as they are frequent.
const commonBytes = `"ea:stnro2icd1,-3mul0p5A.46vISyb8gfw7/9TED{}RCxOMNPL_HkhzVWZGFBKqXUJj#`

// minPiece is how long a piece of text is at least that is searched for in parts.
const minPiece = 3

// search takes texts of which all stand in the record. The best piece is noted: within no piece is there a character
// that can stand beside the seam of two parts, so that it lies in one part, unless it is of the texts between them.
func (f *focus) search(texts []string, fold bool) {
	best, rank := "", -1
	for _, t := range texts {
		for _, piece := range strings.FieldsFunc(t, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == ':' || r == ',' }) {
			// At least half of a piece, so that few records have it.
			for at := range max(0, len(piece)-max(minPiece, (len(piece)+1)/2)+1) {
				p := piece[at:]
				if betweenParts(p) {
					break
				}
				// The engine looks for the first byte first.
				r := strings.IndexByte(commonBytes, p[0])
				if r < 0 {
					r = len(commonBytes)
				}
				if fold {
					// It looks for some letters at once, but for those that stand for more than themselves and their capital.
					r = min(plainRun(p), 9)*len(commonBytes)*100 + len(p)
				}
				if r > rank {
					best, rank = p, r
				}
			}
		}
	}
	switch {
	case best == "":
	case fold:
		f.regex = foldRegex(best)
	default:
		f.regex = quoteRegex(best)
	}
}

// Piece gives a regular expression that is found, quickly, in some part of every record that has all the texts, in any
// case and not escaped: a piece of one of them that can only stand within one part. It is "" when there is none.
func Piece(texts []string) string {
	var f focus
	f.search(texts, true)
	return f.regex
}

// betweenParts reports whether a piece can stand in what is put between the parts.
func betweenParts(piece string) bool {
	for _, word := range []string{"responseelements", "additionaleventdata", "requestid", "eventid", "null"} {
		if strings.Contains(word, strings.ToLower(piece)) {
			return true
		}
	}
	return false
}

// plainRun is how many bytes of a piece come before the first letter that has more forms than two.
func plainRun(piece string) int {
	if n := strings.IndexAny(piece, "kKsSiI"); n >= 0 {
		return n
	}
	return len(piece)
}

// foldRegex makes a text of ASCII a regular expression that matches all that ILIKE takes for it, whether it compares by
// Unicode's folding, as the macro does, or by lower case, as the engine does: k is the Kelvin sign too, s the long s, and
// i the dotted capital I.
func foldRegex(s string) string {
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i] | 0x20; {
		case c == 'k':
			b.WriteString("[kK\u212a]")
		case c == 's':
			b.WriteString("[sS\u017f]")
		case c == 'i':
			b.WriteString("[iI\u0130]")
		case c >= 'a' && c <= 'z':
			b.WriteString("[" + string(c) + string(c-0x20) + "]")
		default:
			b.WriteString(quoteRegex(s[i : i+1]))
		}
	}
	return b.String()
}

// quoteRegex makes a text of ASCII a regular expression that matches it.
func quoteRegex(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; !identStart(c) && !isDigit(c) {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// columnOf is the column, with the member of a struct after a dot, that an expression is, in lower case, or "".
func columnOf(v any, table string) string {
	e, _ := v.(map[string]any)
	if e["type"] != "COLUMN_REF" {
		return ""
	}
	var names []string
	list, _ := e["column_names"].([]any)
	for _, n := range list {
		s, _ := n.(string)
		names = append(names, strings.ToLower(s))
	}
	if len(names) > 1 && names[0] == strings.ToLower(table) {
		names = names[1:]
	}
	return strings.Join(names, ".")
}

// constant is the text that an expression is.
func constant(v any) (string, bool) {
	e, _ := v.(map[string]any)
	if e["type"] != "VALUE_CONSTANT" {
		return "", false
	}
	value, _ := e["value"].(map[string]any)
	s, ok := value["value"].(string)
	return s, ok && s != ""
}
