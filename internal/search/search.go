// Package search compiles the terms by which people look for events: text that stands anywhere in an event, and tests of
// fields. They mean the same wherever events are looked for: in files, in a store, in a service and in its live tail.
package search

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/match/sigma"
)

// MaxTerms and MaxTerm bound what is looked for at once: so many terms, of so many bytes each.
const (
	MaxTerms = 100
	MaxTerm  = 16 << 10
)

// Query is terms of which all must hold. It is not safe for concurrent use; [Query.Clone] makes one for another goroutine.
type Query struct {
	expr    match.Expr
	needles [][]byte
	context match.Context
}

// Parse compiles terms: field=value and field!=value by the rules of Sigma (wildcards, no case; modifiers as in
// field|contains=value), field~expression as a regular expression, anything else as text anywhere in the event. Without
// terms everything is looked for.
func Parse(terms []string) (*Query, error) {
	q := &Query{expr: match.Const(true)}
	if len(terms) == 0 {
		return q, nil
	}
	if len(terms) > MaxTerms {
		return nil, fmt.Errorf("cannot search for that: %d terms, the limit is %d", len(terms), MaxTerms)
	}
	detection := map[string]any{}
	var want, not []string
	for i, t := range terms {
		if len(t) > MaxTerm {
			return nil, fmt.Errorf("cannot search for that: a term of %d bytes, the limit is %d", len(t), MaxTerm)
		}
		name := fmt.Sprintf("t%d", i)
		field, op, value := cut(t)
		switch op {
		case "":
			detection[name] = []string{t}
			if n, ok := needle(t); ok {
				q.needles = append(q.needles, n)
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
			return nil, fmt.Errorf("cannot search for that: %s", p.Reason)
		}
	}
	if len(docs.Rules) != 1 {
		return nil, errors.New("cannot search for that")
	}
	q.expr = docs.Rules[0].Expr
	return q, nil
}

// Clone returns the same query for another goroutine.
func (q *Query) Clone() *Query { return &Query{expr: q.expr, needles: q.needles} }

// Expr is the predicate that the terms make, but for [Query.Needles].
func (q *Query) Expr() match.Expr { return q.expr }

// Needles are texts, ASCII in lower case, each of which stands in the record of an event that is looked for, in any case,
// unless the record has a backslash.
func (q *Query) Needles() [][]byte { return q.needles }

// Match reports whether e is looked for.
func (q *Query) Match(e *event.Event) bool {
	for _, n := range q.needles {
		if !containsFold(e.Raw, n) && bytes.IndexByte(e.Raw, '\\') < 0 {
			return false
		}
	}
	q.context.Reset(e)
	return q.context.Match(q.expr)
}

// cut finds the operator of a term whose left side looks like a field path.
func cut(t string) (field, op, value string) {
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

// needle gives the text that must stand in the raw record, ASCII letters in lower case, for a term to be found: the
// longest stretch of characters that JSON never escapes.
func needle(term string) ([]byte, bool) {
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
