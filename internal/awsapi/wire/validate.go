package wire

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"spoor/internal/awsapi/model"
)

// Rule is a kind of constraint.
type Rule uint8

// The constraints.
const (
	Required Rule = iota + 1
	MaxLength
	MinLength
	MaxValue
	MinValue
	Pattern
	Enum
	OneOf // of a union
)

// Bounds of what is told of violations.
const (
	maxViolations = 50
	maxShown      = 512 // bytes of a value
)

// Violation is a value that its constraint does not allow.
type Violation struct {
	Member string // of the input, as the model writes it
	Path   string // as AWS's messages write it
	Rule   Rule
	Value  string // cut where it is long, "" of secrets
	null   bool
	hidden bool
	text   string
}

// String is AWS's sentence.
func (v Violation) String() string {
	value := " '" + v.Value + "'"
	switch {
	case v.null:
		value = " null"
	case v.hidden:
		value = ""
	}
	return fmt.Sprintf("Value%s at '%s' failed to satisfy constraint: %s", value, v.Path, v.text)
}

// Message is AWS's message for violations.
func Message(vs []Violation) string {
	texts := make([]string, len(vs))
	for i, v := range vs {
		texts[i] = v.String()
	}
	plural := "s"
	if len(vs) == 1 {
		plural = ""
	}
	return fmt.Sprintf("%d validation error%s detected: %s", len(vs), plural, strings.Join(texts, "; "))
}

// Validate returns what of a structure its constraints do not allow, at most 50 violations.
func (t *Type) Validate(of any) []Violation {
	var c check
	for i := range t.fields {
		f := &t.fields[i]
		c.member = f.name
		c.field(f, t.root(of), "")
	}
	return c.out
}

type check struct {
	member string
	out    []Violation
}

func (c *check) add(v Violation) {
	if len(c.out) < maxViolations {
		v.Member = c.member
		c.out = append(c.out, v)
	}
}

func (c *check) field(f *field, structure reflect.Value, above string) {
	path := above + f.recorded
	v, ok := f.of(structure)
	if !ok {
		if f.required {
			c.add(Violation{Path: path, Rule: Required, null: true, text: "Member must not be null"})
		}
		return
	}
	c.value(f.t, v, path, f.hidden)
}

func (c *check) value(t *Type, v reflect.Value, path string, hidden bool) {
	if len(c.out) >= maxViolations {
		return
	}
	hidden = hidden || t.hidden
	for _, broken := range t.broken(v) {
		c.add(Violation{Path: path, Rule: broken.rule, Value: t.show(v, hidden), hidden: hidden, text: broken.text})
	}
	switch t.shape.Kind {
	case model.Structure:
		set := 0
		for i := range t.fields {
			c.field(&t.fields[i], v, path+".")
			if _, ok := t.fields[i].of(v); ok {
				set++
			}
		}
		if t.shape.Has(model.Union) && set != 1 {
			c.add(Violation{Path: path, Rule: OneOf, Value: t.show(v, hidden), hidden: hidden, text: "Exactly one member must be set"})
		}
	case model.List:
		if t.elem.simple() {
			c.elements(t.elem, "Member", path, t.show(v, hidden), hidden, v.Len(), v.Index)
			return
		}
		for i := range v.Len() {
			c.value(t.elem, v.Index(i), path+"."+strconv.Itoa(i+1)+".member", hidden)
		}
	case model.Map:
		keys := sortedKeys(v)
		c.elements(t.key, "Map keys", path, t.show(v, hidden), hidden, len(keys), func(i int) reflect.Value { return keys[i] })
		if t.elem.simple() {
			c.elements(t.elem, "Map value", path, t.show(v, hidden), hidden, len(keys), func(i int) reflect.Value { return v.MapIndex(keys[i]) })
			return
		}
		for _, k := range keys {
			c.value(t.elem, v.MapIndex(k), path+"."+cut(k.String(), maxShown)+".member", hidden)
		}
	}
}

// elements checks the elements of a list or map that are no structures: AWS names all of their constraints when one is broken.
func (c *check) elements(t *Type, what, path, shown string, hidden bool, n int, at func(int) reflect.Value) {
	for i := range n {
		if broken := t.broken(at(i)); len(broken) > 0 {
			c.add(Violation{Path: path, Rule: broken[0].rule, Value: shown, hidden: hidden || t.hidden,
				text: what + " must satisfy constraint: [" + strings.Join(t.rules, ", ") + "]"})
			return
		}
	}
}

// simple holds for shapes without members.
func (t *Type) simple() bool {
	return t.shape.Kind != model.Structure && t.shape.Kind != model.List && t.shape.Kind != model.Map
}

type brokenRule struct {
	rule Rule
	text string
}

// broken returns the constraints of the shape itself that a value breaks.
func (t *Type) broken(v reflect.Value) []brokenRule {
	var out []brokenRule
	s := t.shape
	if s.Flags&(model.HasMin|model.HasMax) != 0 {
		n, number := 0.0, false
		switch s.Kind {
		case model.String:
			n = float64(utf8.RuneCountInString(v.String()))
		case model.Blob, model.List, model.Map:
			n = float64(v.Len())
		case model.Integer, model.Long:
			n, number = float64(v.Int()), true
		case model.Float, model.Double:
			n, number = v.Float(), true
		}
		if s.Has(model.HasMax) && (n > float64(s.Max) || math.IsNaN(n)) {
			out = append(out, brokenRule{pick(number, MaxValue, MaxLength), bound(number, "less", s.Max)})
		}
		if s.Has(model.HasMin) && (n < float64(s.Min) || math.IsNaN(n)) {
			out = append(out, brokenRule{pick(number, MinValue, MinLength), bound(number, "greater", s.Min)})
		}
	}
	if t.expr != nil && !t.expr.MatchString(v.String()) {
		out = append(out, brokenRule{Pattern, "Member must satisfy regular expression pattern: " + s.Pattern})
	}
	if len(s.Enum) > 0 && !slices.Contains(s.Enum, v.String()) {
		out = append(out, brokenRule{Enum, enumRule(s)})
	}
	return out
}

func pick(number bool, a, b Rule) Rule {
	if number {
		return a
	}
	return b
}

func bound(number bool, than string, n int64) string {
	what := "length"
	if number {
		what = "value"
	}
	return fmt.Sprintf("Member must have %s %s than or equal to %d", what, than, n)
}

func enumRule(s *model.Shape) string {
	return "Member must satisfy enum value set: [" + strings.Join(s.Enum, ", ") + "]"
}

// allRules are the texts of all constraints of a shape.
func allRules(s *model.Shape) []string {
	var out []string
	number := s.Kind == model.Integer || s.Kind == model.Long || s.Kind == model.Float || s.Kind == model.Double
	if s.Has(model.HasMax) {
		out = append(out, bound(number, "less", s.Max))
	}
	if s.Has(model.HasMin) {
		out = append(out, bound(number, "greater", s.Min))
	}
	if s.Pattern != "" {
		out = append(out, "Member must satisfy regular expression pattern: "+s.Pattern)
	}
	if len(s.Enum) > 0 {
		out = append(out, enumRule(s))
	}
	return out
}

// show writes a value as AWS's messages do, cut where it is long, and without secrets.
func (t *Type) show(v reflect.Value, hidden bool) string {
	if hidden {
		return ""
	}
	var b strings.Builder
	t.print(&b, v, false)
	return cut(b.String(), maxShown)
}

func (t *Type) print(b *strings.Builder, v reflect.Value, hidden bool) {
	if b.Len() > maxShown {
		return
	}
	if hidden || t.hidden {
		b.WriteString("***")
		return
	}
	switch t.shape.Kind {
	case model.Structure:
		if v.Type() == timeType {
			break
		}
		b.WriteString(exported(t.shape.Name) + "(")
		first := true
		for i := range t.fields {
			f := &t.fields[i]
			if m, ok := f.of(v); ok {
				if !first {
					b.WriteString(", ")
				}
				first = false
				b.WriteString(f.recorded + "=")
				f.t.print(b, m, f.hidden)
			}
		}
		b.WriteString(")")
		return
	case model.List:
		b.WriteString("[")
		for i := range v.Len() {
			if b.Len() > maxShown {
				break
			}
			if i > 0 {
				b.WriteString(", ")
			}
			t.elem.print(b, v.Index(i), false)
		}
		b.WriteString("]")
		return
	case model.Map:
		b.WriteString("{")
		for i, k := range sortedKeys(v) {
			if b.Len() > maxShown {
				break
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(cut(k.String(), maxShown) + "=")
			t.elem.print(b, v.MapIndex(k), false)
		}
		b.WriteString("}")
		return
	case model.Blob:
		fmt.Fprintf(b, "%d bytes", v.Len())
		return
	case model.String:
		b.WriteString(cut(v.String(), maxShown))
		return
	}
	fmt.Fprint(b, v.Interface())
}

func sortedKeys(m reflect.Value) []reflect.Value {
	keys := m.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	return keys
}
