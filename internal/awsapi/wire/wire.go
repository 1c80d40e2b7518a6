// Package wire moves structures of AWS's models between Go and the bytes of each protocol: it decodes requests, validates them
// by the constraints of the model, encodes answers, and writes both as CloudTrail records them, without their secrets.
//
// A [Type] binds a shape of a model to the generated Go type. Decoding is strict and bounded: it takes the depth and the number
// of values that [Limits] allow, refuses what has another type than the model says, names that come twice, text that is no
// UTF-8, and what follows the end; it ignores members that the model does not have, as AWS does.
package wire

import (
	"cmp"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"spoor/internal/awsapi/model"
)

// Limits of what is decoded.
const (
	MaxDepth  = 64
	maxParams = 20_000 // of the query protocol
)

// Error is a request that cannot be decoded. Its text is for the caller.
type Error struct{ Text string }

// Error implements error.
func (e *Error) Error() string { return e.Text }

func malformed(format string, a ...any) error { return &Error{fmt.Sprintf(format, a...)} }

// Type is a shape with the Go type that holds its values. It is immutable.
type Type struct {
	shape  *model.Shape
	goType reflect.Type
	fields []field
	byName map[string]int // of fields
	elem   *Type
	key    *Type
	expr   *regexp.Regexp
	names  [2]string // of the keys and values of a map in the query protocol
	rules  []string  // what AWS says of all constraints of a scalar
	hidden bool
}

type field struct {
	name     string
	recorded string // with a small first letter, as CloudTrail has it
	t        *Type
	index    int // in the Go structure
	required bool
	query    string
	hidden   bool
	omitted  bool // from records
}

// Compiler makes the types of a service. It must be used by one goroutine.
type Compiler struct {
	service *model.Service
	secrets []string
	omitted []string
	types   map[int16]*Type
}

// NewCompiler prepares for a service. secrets are members whose values are not to be recorded beside those that the model calls
// sensitive: STRUCTURE.MEMBER.
func NewCompiler(s *model.Service, secrets ...string) *Compiler {
	return &Compiler{service: s, secrets: secrets, types: map[int16]*Type{}}
}

// Omit leaves members out of records altogether, where CloudTrail has nothing in their place: STRUCTURE.MEMBER. It is called before
// Type.
func (c *Compiler) Omit(members ...string) { c.omitted = append(c.omitted, members...) }

// Type binds a structure, by its index, to the Go type of its values.
func (c *Compiler) Type(shape int16, goType reflect.Type) (*Type, error) {
	if shape < 0 || int(shape) >= len(c.service.Shapes) {
		return nil, fmt.Errorf("%s has no shape %d", c.service.Name, shape)
	}
	if t := c.types[shape]; t != nil {
		if t.goType != goType {
			return nil, fmt.Errorf("shape %s of %s is bound to %v, not to %v", t.shape.Name, c.service.Name, t.goType, goType)
		}
		return t, nil
	}
	s := &c.service.Shapes[shape]
	t := &Type{shape: s, goType: goType, hidden: s.Has(model.Sensitive)}
	c.types[shape] = t // before its members: a structure may hold itself
	want, ok := goKinds[s.Kind]
	if !ok || goType.Kind() != want || s.Kind == model.Timestamp && goType != timeType || s.Kind == model.Blob && goType != bytesType {
		return nil, fmt.Errorf("shape %s of %s cannot be held by %v", s.Name, c.service.Name, goType)
	}
	if s.Pattern != "" {
		expr := s.Expr
		if expr == "" {
			expr = s.Pattern
		}
		e, err := regexp.Compile(`^(?:` + expr + `)$`)
		if err != nil {
			return nil, fmt.Errorf("shape %s of %s: %w", s.Name, c.service.Name, err)
		}
		t.expr = e
	}
	t.rules = allRules(s)
	var err error
	switch s.Kind {
	case model.List, model.Map:
		if t.elem, err = c.Type(s.Elem, goType.Elem()); err != nil {
			return nil, err
		}
		if s.Kind == model.Map {
			t.names = [2]string{cmp.Or(s.KeyName, "key"), cmp.Or(s.ElemName, "value")}
			if t.key, err = c.Type(s.Key, goType.Key()); err != nil {
				return nil, err
			}
		}
	case model.Structure:
		t.byName = make(map[string]int, len(s.Members))
		for _, m := range s.Members {
			f, ok := goType.FieldByName(exported(m.Name))
			if !ok || len(f.Index) != 1 {
				return nil, fmt.Errorf("%v has no field for the member %s", goType, m.Name)
			}
			ft := f.Type
			if ft.Kind() == reflect.Pointer {
				ft = ft.Elem()
			}
			mt, err := c.Type(m.Shape, ft)
			if err != nil {
				return nil, err
			}
			t.byName[m.Name] = len(t.fields)
			t.fields = append(t.fields, field{
				name: m.Name, recorded: lowerFirst(m.Name), t: mt, index: f.Index[0], required: m.Required, query: m.Query,
				hidden: slices.Contains(c.secrets, s.Name+"."+m.Name), omitted: slices.Contains(c.omitted, s.Name+"."+m.Name),
			})
		}
	}
	return t, nil
}

var (
	timeType  = reflect.TypeFor[timeValue]()
	bytesType = reflect.TypeFor[[]byte]()
)

// goKinds are the kinds of Go types that hold shapes.
var goKinds = map[model.Kind]reflect.Kind{
	model.Structure: reflect.Struct, model.List: reflect.Slice, model.Map: reflect.Map, model.String: reflect.String,
	model.Integer: reflect.Int32, model.Long: reflect.Int64, model.Float: reflect.Float32, model.Double: reflect.Float64,
	model.Boolean: reflect.Bool, model.Timestamp: reflect.Struct, model.Blob: reflect.Slice,
}

func exported(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(r)) + name[n:]
}

func lowerFirst(name string) string {
	r, n := utf8.DecodeRuneInString(name)
	return string(unicode.ToLower(r)) + name[n:]
}

// field returns the value of a field, and whether it is there.
func (f *field) of(structure reflect.Value) (reflect.Value, bool) {
	v := structure.Field(f.index)
	if v.IsNil() { // fields are pointers, slices and maps
		return v, false
	}
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	return v, true
}

// room returns where the value of a field goes, which is made.
func (f *field) room(structure reflect.Value) reflect.Value {
	v := structure.Field(f.index)
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		return v.Elem()
	}
	return v
}

// root is the structure that into points to.
func (t *Type) root(into any) reflect.Value {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Type() != t.goType {
		panic(fmt.Sprintf("a %T where *%v belongs", into, t.goType)) // a mistake of the caller's code
	}
	return v.Elem()
}

// Empty reports whether no member is set.
func (t *Type) Empty(of any) bool {
	v := t.root(of)
	return !slices.ContainsFunc(t.fields, func(f field) bool { _, ok := f.of(v); return ok })
}

// utf8Text refuses bytes that are no text.
func utf8Text(body []byte) error {
	if !utf8.Valid(body) {
		return malformed("The request is not valid UTF-8")
	}
	return nil
}

// article puts "a" or "an" before a word.
func article(word string) string {
	if strings.ContainsRune("AEIOU", rune(word[0])) {
		return "an " + word
	}
	return "a " + word
}
