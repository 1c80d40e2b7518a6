package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/match/sigma"
	"spoor/internal/store/segment"
)

// query is what spoor search looks for: terms anywhere in the event and tests of fields, all of which must hold.
type query struct {
	expr    match.Expr
	needles [][]byte // lower-case texts that the raw record must hold for the terms to be found
	context match.Context
}

// splitQuery tells the terms of a command line from its inputs: what stands behind -- or, without it, the last arguments
// that are files, folders, buckets or -.
func splitQuery(args []string, dash int) (terms, inputs []string) {
	if dash >= 0 {
		return args[:dash], args[dash:]
	}
	n := len(args)
	for n > 0 && isInput(args[n-1]) {
		n--
	}
	return args[:n], args[n:]
}

func isInput(arg string) bool {
	if arg == "-" || strings.HasPrefix(arg, "s3://") {
		return true
	}
	_, err := os.Stat(arg)
	return err == nil
}

// newQuery compiles terms: field=value and field!=value by the rules of Sigma (wildcards, no case; modifiers as in
// field|contains=value), field~expression as a regular expression, anything else as text anywhere in the event.
func newQuery(terms []string) (*query, error) {
	detection := map[string]any{}
	var want, not []string
	q := &query{}
	for i, t := range terms {
		name := fmt.Sprintf("t%d", i)
		field, op, value := cutTerm(t)
		switch op {
		case "":
			detection[name] = []string{t}
			if needle, ok := rawNeedle(t); ok {
				q.needles = append(q.needles, needle)
			}
		case "~":
			detection[name] = map[string]any{field + "|re": value}
		default:
			detection[name] = map[string]any{field: value}
		}
		if op == "!=" {
			not = append(not, "not "+name)
		} else {
			want = append(want, name)
		}
	}
	detection["condition"] = strings.Join(append(want, not...), " and ")
	doc, err := json.Marshal(map[string]any{"title": "search", "logsource": map[string]string{"product": "aws"}, "detection": detection})
	if err != nil {
		return nil, fmt.Errorf("write the search as a rule: %w", err)
	}
	docs, problems := sigma.Parse("search", doc, sigma.Options{})
	for _, p := range problems {
		if p.Fatal {
			return nil, usagef("cannot search for that: %s", p.Reason)
		}
	}
	if len(docs.Rules) != 1 {
		return nil, usagef("cannot search for that")
	}
	q.expr = docs.Rules[0].Expr
	return q, nil
}

// cutTerm finds the operator of a term whose left side looks like a field path.
func cutTerm(t string) (field, op, value string) {
	for i := range len(t) {
		switch c := t[i]; {
		case c == '=' && i > 0:
			if t[i-1] == '!' {
				return t[:i-1], "!=", t[i+1:]
			}
			return t[:i], "=", t[i+1:]
		case c == '~' && i > 0:
			return t[:i], "~", t[i+1:]
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-', c == '|', c == '!', c == '@':
		default:
			return "", "", ""
		}
	}
	return "", "", ""
}

// rawNeedle gives the text that must stand in the raw record, ASCII letters in lower case, for a term to be found: the
// longest stretch of characters that JSON never escapes.
func rawNeedle(term string) ([]byte, bool) {
	best, start := "", 0
	flush := func(end int) {
		if end-start > len(best) {
			best = term[start:end]
		}
	}
	for i := range len(term) {
		c := term[i]
		if c < ' ' || c >= 0x7f || c == '"' || c == '\\' || c == '/' || c == '*' || c == '?' || c == '<' || c == '>' || c == '&' || c == '\'' || c == 'k' || c == 'K' || c == 's' || c == 'S' {
			flush(i)
			start = i + 1
		}
	}
	flush(len(term))
	return bytes.ToLower([]byte(best)), len(best) >= 3
}

// match reports whether e is looked for.
func (q *query) match(e *event.Event) bool {
	for _, n := range q.needles {
		if !containsFold(e.Raw, n) && bytes.IndexByte(e.Raw, '\\') < 0 {
			return false
		}
	}
	q.context.Reset(e)
	return q.context.Match(q.expr)
}

// containsFold reports whether b holds needle, which is in lower case, without regard to the case of ASCII letters.
func containsFold(b, needle []byte) bool {
	c := needle[0]
	up := c
	if c >= 'a' && c <= 'z' {
		up = c - 'a' + 'A'
	}
	last := len(b) - len(needle)
	for i := 0; i <= last; {
		at := bytes.IndexByte(b[i:last+1], c)
		if up != c {
			limit := last + 1
			if at >= 0 {
				limit = i + at
			}
			if k := bytes.IndexByte(b[i:limit], up); k >= 0 {
				at = k
			}
		}
		if at < 0 {
			return false
		}
		i += at
		if bytes.EqualFold(b[i:i+len(needle)], needle) {
			return true
		}
		i++
	}
	return false
}

// wanted says what of a store can hold the terms, as far as its columns tell.
func wanted(terms []string) (*segment.Rows, error) {
	q, err := newQuery(terms)
	if err != nil {
		return nil, err
	}
	return rowsFor([]match.Expr{q.expr}, "has not what is looked for", true), nil
}
