package lakequery

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"spoor/internal/lake"
	"spoor/internal/query"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// mostReason is how many characters of a reason are told, as AWS bounds it.
const mostReason = 1000

// compiled is what a [Spec] asks.
type compiled struct {
	sql       query.SQL
	statement string
	alias     string
	stores    []string
}

// compile reads what is to be asked, and of which stores.
func (m *Manager) compile(ctx context.Context, s Spec) (c compiled, err error) {
	if s.Alias != "" {
		return m.ready(ctx, s)
	}
	if n := utf8.RuneCountInString(s.Statement); n > MaxStatement || !utf8.ValidString(s.Statement) {
		return c, &StatementError{Reason: fmt.Sprintf("the statement has more than %d characters, or is no UTF-8", MaxStatement)}
	}
	if c.stores, err = duckdb.DataStoreIDs(s.Statement); err != nil {
		return c, refused(s.Statement, fmt.Errorf("%w: %w", query.ErrInvalid, err))
	}
	if len(c.stores) == 0 {
		if err := m.o.Engine.Check(ctx, query.SQL{Query: s.Statement, DataStores: []duckdb.DataStore{}}); err != nil {
			return c, refused(s.Statement, err)
		}
		return c, &StatementError{Reason: "no event data store is named by its id in FROM"}
	}
	tables, err := m.o.Tables.DataStores(ctx, s.Owner.Account, s.Owner.Region, c.stores)
	var none *lake.NotFoundError
	if errors.As(err, &none) {
		e := &StatementError{Reason: fmt.Sprintf("there is no event data store %s", none.ID), cause: none}
		e.Line, e.Column = find(s.Statement, `"`+none.ID+`"`)
		return c, e
	}
	if err != nil {
		return c, err
	}
	c.statement, c.sql = s.Statement, query.SQL{Query: s.Statement, DataStores: tables}
	return c, nil
}

// ready makes a ready query of an alias.
func (m *Manager) ready(ctx context.Context, s Spec) (c compiled, err error) {
	r, ok := duckdb.FindReady(s.Alias)
	if !ok {
		return c, &ParameterError{fmt.Sprintf("there is no query with the alias %s", s.Alias)}
	}
	given := map[string]string{}
	for i, text := range s.Params {
		name, value, named := strings.Cut(text, "=")
		if !named || !slices.ContainsFunc(r.Params, func(p duckdb.ReadyParam) bool { return p.Name == name }) {
			if i >= len(r.Params) {
				return c, &ParameterError{fmt.Sprintf("the query %s has %d parameters, and %d were given", r.Name, len(r.Params), len(s.Params))}
			}
			name, value = r.Params[i].Name, text
		}
		if _, twice := given[name]; twice {
			return c, &ParameterError{fmt.Sprintf("the parameter %s of the query %s is given twice", name, r.Name)}
		}
		given[name] = value
	}
	for _, p := range r.Params {
		if _, ok := given[p.Name]; !ok && p.Default == "" {
			return c, &ParameterError{fmt.Sprintf("the query %s needs the parameter %s: %s", r.Name, p.Name, p.Doc)}
		}
	}
	c.statement, c.alias, c.stores = r.SQL, r.Name, []string{lake.BuiltInID(s.Owner.Account)}
	tables, err := m.o.Tables.DataStores(ctx, s.Owner.Account, s.Owner.Region, c.stores)
	if err != nil {
		return c, err
	}
	c.sql = query.SQL{Ready: r.Name, Params: given, Accounts: []string{s.Owner.Account}}
	if len(tables) == 1 && tables[0].Where == "" { // the account sees the others, too
		c.sql.Accounts = nil
	}
	return c, nil
}

// refused makes what the engine says of a statement an error for the caller; failures stay what they are.
func refused(statement string, err error) error {
	var r *query.RefusedError
	switch {
	case errors.As(err, &r) && r.Column > 0:
		return &StatementError{Line: r.Line, Column: r.Column, Reason: oneLine(r.Reason)}
	case errors.As(err, &r):
		err = errors.New(r.Reason)
	case !errors.Is(err, query.ErrInvalid):
		return err
	}
	e := &StatementError{Reason: oneLine(err.Error())}
	e.Line, e.Column = find(statement, err.Error())
	return e
}

// oneLine is what an engine says, without the picture of the statement that it translated.
func oneLine(text string) string {
	text = strings.TrimPrefix(text, query.ErrInvalid.Error()+": ")
	if at := strings.Index(text, "\nLINE "); at >= 0 {
		text = text[:at]
	}
	text = strings.Join(strings.Fields(text), " ")
	if utf8.RuneCountInString(text) > mostReason {
		text = string([]rune(text)[:mostReason-1]) + "…"
	}
	return text
}

var quoted = regexp.MustCompile(`"((?:[^"\n]|"")+)"|\b(?:function|table|column)(?: with name)? ([\p{L}\p{N}_.$-]+)`)

// find gives the place in a statement of what a reason names first, where it stands there once.
func find(statement, reason string) (line, column int) {
	match := quoted.FindStringSubmatch(reason)
	if match == nil {
		return 0, 0
	}
	name := strings.ReplaceAll(match[1], `""`, `"`) + match[2]
	at := -1
	for _, t := range words(statement) {
		if strings.EqualFold(statement[t[0]:t[1]], name) {
			if at >= 0 {
				return 0, 0
			}
			at = t[0]
		}
	}
	if at < 0 {
		return 0, 0
	}
	before := statement[:at]
	return strings.Count(before, "\n") + 1, utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
}

var tokens = regexp.MustCompile(`--[^\n]*|/\*(?s:.*?)\*/|'(?:[^']|'')*'|"(?:[^"]|"")*"|[\p{L}\p{N}_$-]+|\S`)

// words are where the words of a statement stand: what is no comment, text or space. Quotes do not belong to a name.
func words(statement string) (out [][2]int) {
	for _, at := range tokens.FindAllStringIndex(statement, -1) {
		switch text := statement[at[0]:at[1]]; {
		case strings.HasPrefix(text, "--") && strings.TrimLeft(text, "-") != "", strings.HasPrefix(text, "/*"), strings.HasPrefix(text, "'"):
		case len(text) > 1 && text[0] == '"':
			out = append(out, [2]int{at[0] + 1, at[1] - 1})
		default:
			out = append(out, [2]int{at[0], at[1]})
		}
	}
	return out
}

// missing says what the rows of an answer may lack.
func missing(damaged []store.Damage) string {
	if len(damaged) == 0 {
		return ""
	}
	text := fmt.Sprintf("%d damaged files were left out, so that events may be missing:", len(damaged))
	for i, d := range damaged {
		if i == 5 {
			text += " …"
			break
		}
		text += " " + d.File
	}
	return oneLine(text)
}
