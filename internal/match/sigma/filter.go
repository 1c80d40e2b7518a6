package sigma

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"spoor/internal/match"
)

// Filter is a document that narrows rules: a rule it names holds only when the filter's condition does too. Its search
// identifiers are its own.
type Filter struct {
	Meta
	LogSource LogSource
	Rules     []string // by id, name or title
	Any       bool     // every rule of the log source
	Expr      match.Expr
	Warnings  []string
}

func (p *parser) filter(meta Meta, doc *mapping) ([]string, error) {
	if meta.Title == "" {
		return nil, errors.New("no title")
	}
	source, err := readLogSource(doc)
	if err != nil {
		return nil, err
	}
	m, ok := doc.get("filter").(*mapping)
	if !ok {
		return nil, errors.New("filter is not a map")
	}
	f := &Filter{Meta: meta, LogSource: source}
	if f.Rules, err = references(m, "rules"); err != nil {
		return nil, err
	}
	if len(f.Rules) == 1 && strings.EqualFold(f.Rules[0], "any") {
		f.Rules, f.Any = nil, true
	}
	if len(f.Rules) == 0 && !f.Any {
		return nil, errors.New("filter of no rules")
	}
	if !m.has("condition") {
		return nil, errors.New("filter has no condition")
	}
	c := compiler{opts: &p.opts}
	sels, err := c.selections(m, "rules", "condition")
	if err != nil {
		return nil, err
	}
	conditions, err := conditionTexts(m.get("condition"))
	if err != nil {
		return nil, err
	}
	var xs []match.Expr
	for _, cond := range conditions {
		x, err := sels.condition(cond)
		if err != nil {
			return nil, err
		}
		xs = append(xs, x)
	}
	f.Expr = match.Or(xs...)
	f.Warnings = append(c.warnings, sels.warnings...)
	p.docs.Filters = append(p.docs.Filters, f)
	return f.Warnings, nil
}

// ApplyFilters narrows the rules of d, and the base rules of its correlations, by the filters of d that name them and
// fit their log source. Several filters of a rule all apply. It is to be called once, when everything is loaded; the
// problems are names that no rule has.
func (d *Documents) ApplyFilters() []Problem {
	type target struct {
		rule    *Rule
		id      string
		parents []string
	}
	var targets []target
	for _, r := range d.Rules {
		targets = append(targets, target{r, r.ID, []string{r.Name, r.Title}})
	}
	for _, c := range d.Correlations {
		for _, r := range c.Base {
			targets = append(targets, target{r, r.ID, []string{c.ID, c.Name, c.Title}})
		}
	}
	var problems []Problem
	for _, f := range d.Filters {
		used := map[string]bool{}
		for _, t := range targets {
			named := f.Any
			for _, ref := range f.Rules {
				if strings.EqualFold(ref, t.id) || slices.Contains(t.parents, ref) {
					named, used[ref] = true, true
				}
			}
			if named && f.LogSource.fits(t.rule.LogSource) {
				t.rule.Expr = match.And(t.rule.Expr, f.Expr)
			}
		}
		for _, ref := range f.Rules {
			if !used[ref] {
				problems = append(problems, Problem{File: f.File, Doc: f.Doc, Title: f.Title, Reason: fmt.Sprintf("no rule %q to filter", ref)})
			}
		}
	}
	return problems
}
