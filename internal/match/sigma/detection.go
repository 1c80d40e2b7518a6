package sigma

import (
	"errors"
	"fmt"
	"strings"

	"spoor/internal/match"
)

// compiler turns the selections of one document into predicates.
type compiler struct {
	opts     *Options
	warnings []string
}

func (c *compiler) warn(format string, args ...any) {
	c.warnings = append(c.warnings, fmt.Sprintf(format, args...))
}

// selections compiles every search identifier of a detection; the keys in except are no identifiers.
func (c *compiler) selections(m *mapping, except ...string) (*selections, error) {
	s := &selections{exprs: map[string]match.Expr{}}
next:
	for _, name := range m.keys {
		for _, e := range except {
			if name == e {
				continue next
			}
		}
		x, err := c.selection(m.vals[name])
		if err != nil {
			return nil, fmt.Errorf("selection %s: %w", name, err)
		}
		s.names = append(s.names, name)
		s.exprs[name] = match.Named(name, x)
	}
	if len(s.names) == 0 {
		return nil, errors.New("no selection")
	}
	return s, nil
}

// selection compiles a map (all items), a list (any entry), or a plain value (a keyword).
func (c *compiler) selection(v any) (match.Expr, error) {
	switch v := v.(type) {
	case *mapping:
		if len(v.keys) == 0 {
			return nil, errors.New("empty map")
		}
		var xs []match.Expr
		for _, key := range v.keys {
			x, err := c.item(key, v.vals[key])
			if err != nil {
				if key == "" {
					key = "keywords"
				}
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			xs = append(xs, x)
		}
		return match.And(xs...), nil
	case []any:
		if len(v) == 0 {
			return nil, errors.New("empty list")
		}
		var xs []match.Expr
		var plain []any
		for _, one := range v {
			switch one.(type) {
			case *mapping, []any:
				x, err := c.selection(one)
				if err != nil {
					return nil, err
				}
				xs = append(xs, x)
			default:
				plain = append(plain, one)
			}
		}
		if len(plain) > 0 {
			x, err := c.item("", plain)
			if err != nil {
				return nil, err
			}
			xs = append(xs, x)
		}
		return match.Or(xs...), nil
	}
	return c.item("", v)
}

// item compiles one `field|modifier: values` of a map. Without a field the values are keywords.
func (c *compiler) item(key string, v any) (match.Expr, error) {
	mods := strings.Split(key, "|")
	field := mods[0]
	mods = mods[1:]
	raw, isList := v.([]any)
	if !isList {
		raw = []any{v}
	}
	if isList && len(raw) == 0 {
		raw = []any{nil} // an empty list: the field is null or missing
	}
	if err := checkField(field); err != nil {
		return nil, err
	}
	it := item{field: field, single: len(raw) == 1}
	for _, one := range raw {
		val, err := plainValue(one)
		if err != nil {
			return nil, err
		}
		it.groups = append(it.groups, []value{val})
	}
	for _, mod := range mods {
		if err := it.apply(mod, c); err != nil {
			return nil, err
		}
		it.applied = append(it.applied, mod)
	}
	return it.compile(c)
}

// item is one entry of a selection on its way through the modifiers.
type item struct {
	field   string
	single  bool
	groups  [][]value // per value of the rule the alternatives that modifiers made of it
	applied []string
	all     bool
	neq     bool
	part    *match.TimePart
}

// compile makes the predicate: any group, or with all every one; any alternative within a group.
func (it *item) compile(c *compiler) (match.Expr, error) {
	var place *match.Place
	if it.field != "" {
		place = c.opts.Place(it.field)
	}
	var xs []match.Expr
	if it.all {
		for _, g := range it.groups {
			x, err := it.anyOf(c, place, g)
			if err != nil {
				return nil, err
			}
			xs = append(xs, x)
		}
		if it.single {
			c.warn("%s: `all` on a single value", it.field)
		}
	} else {
		var all []value
		for _, g := range it.groups {
			all = append(all, g...)
		}
		x, err := it.anyOf(c, place, all)
		if err != nil {
			return nil, err
		}
		xs = append(xs, x)
	}
	x := match.And(xs...)
	if it.neq {
		x = match.Not(x)
	}
	return x, nil
}

// anyOf holds when any of the values does. Values of one kind share a test.
func (it *item) anyOf(c *compiler, place *match.Place, vals []value) (match.Expr, error) {
	var xs []match.Expr
	var g gathered
	for _, v := range vals {
		if place == nil {
			if err := v.keyword(); err != nil {
				return nil, err
			}
		}
		x, err := v.gather(&g, c, place)
		if err != nil {
			return nil, err
		}
		if x != nil {
			xs = append(xs, x)
		}
	}
	if place == nil {
		return match.Or(append(xs, g.keywords()...)...), nil
	}
	for _, t := range g.tests(it.part) {
		xs = append(xs, match.Field(place, t))
	}
	return match.Or(xs...), nil
}

// Bounds of a field name.
const (
	maxField    = 1024 // bytes
	maxSegments = 32
)

func checkField(name string) error {
	if len(name) > maxField || strings.Count(name, ".") >= maxSegments {
		return fmt.Errorf("a field name of more than %d bytes or %d segments", maxField, maxSegments)
	}
	return nil
}
