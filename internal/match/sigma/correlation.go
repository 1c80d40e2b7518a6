package sigma

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/match"
)

var correlationTypes = []CorrelationType{EventCount, ValueCount, Temporal, TemporalOrdered, ValueSum, ValueAvg, ValuePercentile, ValueMedian}

var comparisons = []string{"gt", "gte", "lt", "lte", "eq", "neq"}

// defaultTimespan is the window of a retired aggregation that gives none.
const defaultTimespan = time.Hour

func (p *parser) correlation(meta Meta, doc *mapping) ([]string, error) {
	if meta.Title == "" {
		return nil, errors.New("no title")
	}
	m, ok := doc.get("correlation").(*mapping)
	if !ok {
		return nil, errors.New("correlation is not a map")
	}
	c := &Correlation{Meta: meta, Percentile: 50}
	kind, _ := text(m.get("type"))
	c.Type = CorrelationType(strings.ToLower(kind))
	if !slices.Contains(correlationTypes, c.Type) {
		return nil, fmt.Errorf("unknown correlation type %q", kind)
	}
	var err error
	if c.Rules, err = references(m, "rules"); err != nil {
		return nil, err
	}
	if c.GroupBy, err = references(m, "group-by"); err != nil {
		return nil, err
	}
	if c.Aliases, err = aliases(m.get("aliases")); err != nil {
		return nil, err
	}
	span, ok := text(m.get("timespan"))
	if !ok {
		return nil, errors.New("correlation without timespan")
	}
	if c.Timespan, err = parseTimespan(span); err != nil {
		return nil, err
	}
	for key, to := range map[string]*bool{"generate": &c.Generate, "correlate_missing": &c.CorrelateMissing, "correlate-missing": &c.CorrelateMissing} {
		if err := readBool(m, key, to); err != nil {
			return nil, err
		}
	}
	if doc.has("generate") && !m.has("generate") {
		if err := readBool(doc, "generate", &c.Generate); err != nil {
			return nil, err
		}
	}
	if m.has("percentile") {
		if err := c.percentile(m.get("percentile")); err != nil {
			return nil, err
		}
	}
	if err := c.condition(m.get("condition")); err != nil {
		return nil, err
	}
	if err := c.checkFields(); err != nil {
		return nil, err
	}
	if len(c.Rules) == 0 {
		return nil, errors.New("correlation of no rules")
	}
	if m.has("aliases") {
		for alias, of := range c.Aliases {
			for ref := range of {
				if !slices.Contains(c.Rules, ref) {
					c.Warnings = append(c.Warnings, fmt.Sprintf("alias %s names %q, which is not among the rules", alias, ref))
				}
			}
		}
		slices.Sort(c.Warnings)
	}
	p.docs.Correlations = append(p.docs.Correlations, c)
	return c.Warnings, nil
}

func readBool(m *mapping, key string, to *bool) error {
	if !m.has(key) {
		return nil
	}
	b, ok := m.get(key).(bool)
	if !ok {
		return fmt.Errorf("%s is neither true nor false", key)
	}
	*to = b
	return nil
}

// references reads a text or a list of texts.
func references(m *mapping, key string) ([]string, error) {
	v := m.get(key)
	if v == nil {
		return nil, nil
	}
	if s, ok := text(v); ok {
		v = []any{s}
	}
	list, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("%s is not a list of texts", key)
	}
	var out []string
	for _, one := range list {
		s, ok := text(one)
		if !ok || s == "" {
			return nil, fmt.Errorf("%s is not a list of texts", key)
		}
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out, nil
}

func aliases(v any) (map[string]map[string]string, error) {
	if v == nil {
		return nil, nil
	}
	m, ok := v.(*mapping)
	if !ok {
		return nil, errors.New("aliases is not a map")
	}
	out := map[string]map[string]string{}
	for _, alias := range m.keys {
		of, ok := m.vals[alias].(*mapping)
		if !ok {
			return nil, fmt.Errorf("alias %s is not a map of rules to fields", alias)
		}
		out[alias] = map[string]string{}
		for _, ref := range of.keys {
			field, ok := of.vals[ref].(string)
			if !ok || field == "" {
				return nil, fmt.Errorf("alias %s has no field for %s", alias, ref)
			}
			out[alias][ref] = field
		}
	}
	return out, nil
}

var timespan = regexp.MustCompile(`^\s*([0-9]{1,9})\s*([smhdwMy])\s*$`)

// maxTimespan bounds windows.
const maxTimespan = 10 * 365 * 24 * time.Hour

// parseTimespan reads a number with a unit: s m h d w, M (30 days), y (365 days).
func parseTimespan(s string) (time.Duration, error) {
	m := timespan.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("timespan %q is not a number with one of s, m, h, d, w, M, y", s)
	}
	day := 24 * time.Hour
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": day, "w": 7 * day, "M": 30 * day, "y": 365 * day}[m[2]]
	n, err := strconv.Atoi(m[1])
	if err != nil || n == 0 || time.Duration(n) > maxTimespan/unit {
		return 0, fmt.Errorf("timespan %q is not between 1s and 10y", s)
	}
	return time.Duration(n) * unit, nil
}

// checkFields bounds the fields that the correlation names.
func (c *Correlation) checkFields() error {
	fields := slices.Concat(c.GroupBy, c.Fields)
	for _, of := range c.Aliases {
		fields = slices.AppendSeq(fields, maps.Values(of))
	}
	for _, f := range fields {
		if err := checkField(f); err != nil {
			return err
		}
	}
	return nil
}

func (c *Correlation) temporal() bool { return c.Type == Temporal || c.Type == TemporalOrdered }

// condition reads the condition: a map of comparisons, or for temporal types a boolean expression over rule references.
func (c *Correlation) condition(v any) error {
	switch v := v.(type) {
	case nil:
	case string:
		if !c.temporal() {
			return fmt.Errorf("a condition in words needs a temporal type, not %s", c.Type)
		}
		return c.expression(v)
	case *mapping:
		if err := c.comparisons(v); err != nil {
			return err
		}
	default:
		return errors.New("the condition is neither a map nor a text")
	}
	switch counted := c.Type == EventCount; {
	case c.temporal():
		return nil
	case len(c.Conditions) == 0:
		return fmt.Errorf("%s without a condition", c.Type)
	case counted && len(c.Fields) > 0:
		c.Warnings = append(c.Warnings, "condition.field is ignored: event_count counts events")
		c.Fields = nil
	case !counted && len(c.Fields) == 0:
		return fmt.Errorf("%s without condition.field", c.Type)
	case len(c.Fields) > 1 && c.Type != ValueCount:
		return fmt.Errorf("%s takes one field", c.Type)
	}
	return nil
}

func (c *Correlation) comparisons(m *mapping) error {
	for _, key := range m.keys {
		v := m.vals[key]
		switch {
		case key == "field":
			var err error
			if c.Fields, err = references(m, key); err != nil {
				return err
			}
		case key == "percentile":
			if err := c.percentile(v); err != nil {
				return err
			}
		case slices.Contains(comparisons, key):
			n, ok := v.(number)
			if !ok {
				return fmt.Errorf("condition.%s is not a number", key)
			}
			c.Conditions = append(c.Conditions, Comparison{Op: key, Value: n.val})
		default:
			return fmt.Errorf("unknown condition %q", key)
		}
	}
	if len(c.Conditions) > 2 {
		return errors.New("more than two comparisons in the condition")
	}
	return nil
}

func (c *Correlation) percentile(v any) error {
	n, ok := v.(number)
	if !ok || n.val < 0 || n.val > 100 {
		return errors.New("percentile is not a number from 0 to 100")
	}
	c.Percentile = n.val
	return nil
}

// expression reads a condition such as `a and b and not c`. Without a list of rules it names them.
func (c *Correlation) expression(s string) error {
	listed := len(c.Rules) > 0
	p := conditionParser[*BoolExpr]{toks: tokens(s), ops: ops[*BoolExpr]{
		and: func(xs ...*BoolExpr) *BoolExpr { return &BoolExpr{And: xs} },
		or:  func(xs ...*BoolExpr) *BoolExpr { return &BoolExpr{Or: xs} },
		not: func(x *BoolExpr) *BoolExpr { return &BoolExpr{Not: x} },
		ref: func(name string) (*BoolExpr, error) {
			if !slices.Contains(c.Rules, name) {
				if listed {
					return nil, fmt.Errorf("%q is not among the rules", name)
				}
				c.Rules = append(c.Rules, name)
			}
			return &BoolExpr{Ref: name}, nil
		},
	}}
	x, err := p.parse()
	if err != nil {
		return fmt.Errorf("condition %q: %w", s, err)
	}
	c.Expression = x
	return nil
}

var (
	aggregate = regexp.MustCompile(`(?i)^\s*(count|min|max|sum|avg)\s*\(\s*([^()\s]*)\s*\)\s*(?:by\s+(.+?)\s*)?(>=|<=|==|!=|>|<|=)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*$`)
	near      = regexp.MustCompile(`(?i)^\s*near\s+(.+?)\s*$`)
	andWord   = regexp.MustCompile(`(?i)\s+and\s+`)
)

// aggregation turns `before | aggregate` into a correlation over rules of the same document.
func (p *parser) aggregation(c *compiler, meta Meta, source LogSource, sels *selections, before, agg string, frame any) error {
	cor := &Correlation{Meta: meta, Timespan: defaultTimespan, Percentile: 50}
	if frame != nil {
		s, _ := text(frame)
		var err error
		if cor.Timespan, err = parseTimespan(s); err != nil {
			return err
		}
	} else {
		c.warn("no timeframe: one hour is taken")
	}
	first, err := sels.condition(before)
	if err != nil {
		return err
	}
	exprs := []match.Expr{first}
	if m := near.FindStringSubmatch(agg); m != nil {
		cor.Type = Temporal
		for _, part := range andWord.Split(m[1], -1) {
			x, err := sels.condition(part)
			if err != nil {
				return fmt.Errorf("near: %w", err)
			}
			exprs = append(exprs, x)
		}
	} else if err := cor.aggregate(agg); err != nil {
		return err
	} else if err := cor.checkFields(); err != nil {
		return err
	}
	base := meta.ID
	if base == "" {
		base = meta.Title
	}
	for i, x := range exprs {
		r := &Rule{Meta: meta, LogSource: source, Expr: x}
		r.Name = ""
		r.ID = base + "#" + strconv.Itoa(i+1)
		cor.Rules = append(cor.Rules, r.ID)
		cor.Base = append(cor.Base, r)
	}
	c.warnings = append(c.warnings, sels.warnings...)
	cor.Warnings = c.warnings
	p.docs.Correlations = append(p.docs.Correlations, cor)
	return nil
}

func (c *Correlation) aggregate(agg string) error {
	m := aggregate.FindStringSubmatch(agg)
	if m == nil {
		return fmt.Errorf("the aggregation %q is not understood", strings.TrimSpace(agg))
	}
	fn, field := strings.ToLower(m[1]), m[2]
	c.Type = map[string]CorrelationType{"count": ValueCount, "min": ValueMin, "max": ValueMax, "sum": ValueSum, "avg": ValueAvg}[fn]
	switch {
	case field != "":
		c.Fields = []string{field}
	case fn == "count":
		c.Type = EventCount
	default:
		return fmt.Errorf("%s() without a field", fn)
	}
	for f := range strings.SplitSeq(m[3], ",") {
		f = strings.TrimSpace(f)
		switch {
		case strings.ContainsAny(f, " \t()"):
			return fmt.Errorf("the aggregation %q is not understood", strings.TrimSpace(agg))
		case f != "":
			c.GroupBy = append(c.GroupBy, f)
		}
	}
	n, err := strconv.ParseFloat(m[5], 64)
	if err != nil {
		return fmt.Errorf("the aggregation %q is not understood", strings.TrimSpace(agg))
	}
	op := map[string]string{">": "gt", ">=": "gte", "<": "lt", "<=": "lte", "=": "eq", "==": "eq", "!=": "neq"}[m[4]]
	c.Conditions = []Comparison{{Op: op, Value: n}}
	return nil
}
