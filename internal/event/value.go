package event

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// Kind is the JSON type of a value, with true and false apart and Missing for a value that is not there.
type Kind uint8

// The kinds of a [Value].
const (
	Missing Kind = iota
	Null
	False
	True
	Number
	String
	Object
	Array
)

func (k Kind) String() string {
	return [...]string{"missing", "null", "false", "true", "number", "string", "object", "array"}[k]
}

// Value is one JSON value inside a record. The zero Value is missing. It points into the record's bytes and lives no
// longer than they do.
type Value struct {
	raw  []byte // JSON text; strings with their quotes
	kind Kind
	esc  bool // string with at least one backslash escape
}

// NewValue reads text as one JSON value. It is for constants and tests; values of a record come from [Event].
func NewValue(text []byte) (Value, error) {
	text = bytes.TrimSpace(text)
	s := scanner{b: text}
	end := s.value(0)
	if end < 0 {
		return Value{}, s.error(0)
	}
	if end != len(text) {
		return Value{}, &SyntaxError{Offset: int64(end), Reason: "more text after the JSON value"}
	}
	return valueAt(text, 0, end), nil
}

// valueAt makes the Value of the validated JSON text b[i:end].
func valueAt(b []byte, i, end int) Value {
	v := Value{raw: b[i:end:end]}
	switch b[i] {
	case '"':
		v.kind = String
		v.esc = bytes.IndexByte(v.raw, '\\') >= 0
	case '{':
		v.kind = Object
	case '[':
		v.kind = Array
	case 't':
		v.kind = True
	case 'f':
		v.kind = False
	case 'n':
		v.kind = Null
	default:
		v.kind = Number
	}
	return v
}

// Kind returns the value's JSON type.
func (v Value) Kind() Kind { return v.kind }

// Exists reports whether the key is there, null included.
func (v Value) Exists() bool { return v.kind != Missing }

// IsNull reports whether the value is missing or null.
func (v Value) IsNull() bool { return v.kind <= Null }

// Raw returns the value's JSON text as it stands in the record; nil when missing.
func (v Value) Raw() []byte { return v.raw }

// Text returns a scalar as text: a string without quotes and escapes, a number in its shortest decimal form, true or
// false. Missing, null, objects and arrays give "". A string without escapes is not copied.
func (v Value) Text() string {
	switch v.kind {
	case String:
		body := v.raw[1 : len(v.raw)-1]
		if !v.esc {
			return view(body)
		}
		return view(appendUnescaped(nil, body))
	case Number:
		return numberText(v.raw)
	case True:
		return "true"
	case False:
		return "false"
	}
	return ""
}

// AppendText appends what [Value.Text] returns to dst.
func (v Value) AppendText(dst []byte) []byte {
	if v.kind == String && v.esc {
		return appendUnescaped(dst, v.raw[1:len(v.raw)-1])
	}
	return append(dst, v.Text()...)
}

// Float returns the number that the value is, or that its text is. Strings such as "22" count; NaN and infinities do
// not.
func (v Value) Float() (float64, bool) {
	var s string
	switch v.kind {
	case Number:
		s = view(v.raw)
	case String:
		s = strings.TrimSpace(v.Text())
		if s == "" || !plainNumber(s) {
			return 0, false
		}
	default:
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, false
	}
	return f, !math.IsNaN(f) && !math.IsInf(f, 0)
}

// plainNumber refuses what ParseFloat takes but JSON does not: hexadecimal, underscores, names.
func plainNumber(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
		default:
			return false
		}
	}
	return true
}

// Members calls fn for each member of an object, in the order of the text, until fn returns false. The key comes
// without quotes and escapes. Other kinds have no members.
func (v Value) Members(fn func(key string, val Value) bool) {
	if v.kind != Object {
		return
	}
	b := v.raw
	i := skipSpace(b, 1)
	for b[i] != '}' {
		kend := stringEnd(b, i)
		key := valueAt(b, i, kend)
		i = skipSpace(b, kend)
		i = skipSpace(b, i+1) // the colon
		end := valueEnd(b, i)
		if !fn(key.Text(), valueAt(b, i, end)) {
			return
		}
		i = skipSpace(b, end)
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
}

// Elements calls fn for each element of an array until fn returns false. Other kinds have no elements.
func (v Value) Elements(fn func(Value) bool) {
	if v.kind != Array {
		return
	}
	b := v.raw
	i := skipSpace(b, 1)
	for b[i] != ']' {
		end := valueEnd(b, i)
		if !fn(valueAt(b, i, end)) {
			return
		}
		i = skipSpace(b, end)
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
}

// Compact appends the value's JSON without insignificant white space.
func (v Value) Compact(dst []byte) []byte {
	if v.kind == Missing {
		return dst
	}
	buf := bytes.NewBuffer(dst)
	if err := json.Compact(buf, v.raw); err != nil {
		return append(dst, v.raw...) // lone surrogates and the like: the text as it came
	}
	return buf.Bytes()
}

// Any decodes the value into nil, bool, string, json.Number, []any or map[string]any.
func (v Value) Any() any {
	switch v.kind {
	case True, False:
		return v.kind == True
	case Number:
		return json.Number(string(v.raw))
	case String:
		return strings.Clone(v.Text())
	case Array:
		out := []any{}
		v.Elements(func(e Value) bool { out = append(out, e.Any()); return true })
		return out
	case Object:
		out := map[string]any{}
		v.Members(func(k string, e Value) bool { out[strings.Clone(k)] = e.Any(); return true })
		return out
	}
	return nil
}

// view gives b as a string without copying it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// numberText gives the shortest decimal text of a JSON number: integers as they stand, others without exponent or
// trailing zeros where they fit a float64.
func numberText(raw []byte) string {
	integer := true
	for _, c := range raw {
		if c == '.' || c == 'e' || c == 'E' {
			integer = false
			break
		}
	}
	if integer {
		return view(raw)
	}
	f, err := strconv.ParseFloat(view(raw), 64)
	if err != nil {
		return view(raw)
	}
	if math.Abs(f) >= 1e21 {
		return strconv.FormatFloat(f, 'g', -1, 64)
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// appendUnescaped appends the text of a validated JSON string body. Lone surrogates become U+FFFD.
func appendUnescaped(dst, body []byte) []byte {
	for i := 0; i < len(body); {
		c := body[i]
		if c != '\\' {
			n := bytes.IndexByte(body[i:], '\\')
			if n < 0 {
				return append(dst, body[i:]...)
			}
			dst = append(dst, body[i:i+n]...)
			i += n
			continue
		}
		switch body[i+1] {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			r := hex4(body[i+2:])
			i += 6
			if utf16.IsSurrogate(r) {
				if i+6 <= len(body) && body[i] == '\\' && body[i+1] == 'u' {
					if p := utf16.DecodeRune(r, hex4(body[i+2:])); p != utf8.RuneError {
						dst = utf8.AppendRune(dst, p)
						i += 6
						continue
					}
				}
				r = utf8.RuneError
			}
			dst = utf8.AppendRune(dst, r)
			continue
		default: // quote, backslash, slash
			dst = append(dst, body[i+1])
		}
		i += 2
	}
	return dst
}

func hex4(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		r <<= 4
		switch {
		case c <= '9':
			r |= rune(c - '0')
		default:
			r |= rune(c|0x20-'a') + 10
		}
	}
	return r
}
