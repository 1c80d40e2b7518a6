package wire

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/fxamacker/cbor/v2"

	"spoor/internal/awsapi/model"
)

// Hidden stands in a record in place of a secret.
const Hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// recordedTime is how CloudTrail writes times among parameters and results.
const recordedTime = "Jan 2, 2006, 3:04:05 PM"

// AppendJSON appends a structure as JSON.
func (t *Type) AppendJSON(b []byte, of any) []byte { return t.json(b, t.root(of), false) }

// Record is a structure as CloudTrail records it: members begin with a small letter, and secrets are replaced by [Hidden]. It
// is nil for a structure without members that are set.
func (t *Type) Record(of any) json.RawMessage {
	if t.Empty(of) {
		return nil
	}
	return t.json(nil, t.root(of), true)
}

func (t *Type) json(b []byte, v reflect.Value, record bool) []byte {
	if record && t.hidden {
		return appendString(b, Hidden)
	}
	switch t.shape.Kind {
	case model.Structure:
		b = append(b, '{')
		first := true
		for i := range t.fields {
			f := &t.fields[i]
			m, ok := f.of(v)
			if !ok || record && f.omitted {
				continue
			}
			if !first {
				b = append(b, ',')
			}
			first = false
			if record {
				b = append(appendString(b, f.recorded), ':')
				if f.hidden {
					b = appendString(b, Hidden)
					continue
				}
			} else {
				b = append(appendString(b, f.name), ':')
			}
			b = f.t.json(b, m, record)
		}
		return append(b, '}')
	case model.List:
		b = append(b, '[')
		for i := range v.Len() {
			if i > 0 {
				b = append(b, ',')
			}
			b = t.elem.json(b, v.Index(i), record)
		}
		return append(b, ']')
	case model.Map:
		b = append(b, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, k.String()), ':')
			b = t.elem.json(b, v.MapIndex(k), record)
		}
		return append(b, '}')
	case model.String:
		return appendString(b, v.String())
	case model.Integer, model.Long:
		return strconv.AppendInt(b, v.Int(), 10)
	case model.Float, model.Double:
		return appendFloat(b, v)
	case model.Boolean:
		return strconv.AppendBool(b, v.Bool())
	case model.Timestamp:
		at := v.Interface().(time.Time)
		if record {
			return appendString(b, at.UTC().Format(recordedTime))
		}
		return appendEpoch(b, at)
	case model.Blob:
		b = append(b, '"')
		b = base64.StdEncoding.AppendEncode(b, v.Bytes())
		return append(b, '"')
	}
	panic("a shape of no kind")
}

// appendFloat writes what JSON has no number for as a string.
func appendFloat(b []byte, v reflect.Value) []byte {
	f := v.Float()
	switch {
	case math.IsNaN(f):
		return append(b, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(b, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(b, `"-Infinity"`...)
	}
	return strconv.AppendFloat(b, f, 'g', -1, v.Type().Bits())
}

// appendEpoch writes seconds, with milliseconds where there are any.
func appendEpoch(b []byte, at time.Time) []byte {
	ms := at.UnixMilli()
	if ms%1000 == 0 {
		return strconv.AppendInt(b, ms/1000, 10)
	}
	return strconv.AppendFloat(b, float64(ms)/1000, 'f', 3, 64)
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == '"' || c == '\\' {
			text, err := json.Marshal(s)
			if err != nil {
				panic(err) // a string has a form
			}
			return append(b, text...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

// AppendXML appends the members of a structure as elements of the query protocol.
func (t *Type) AppendXML(b []byte, of any) []byte { return t.xml(b, t.root(of)) }

func (t *Type) xml(b []byte, v reflect.Value) []byte {
	switch t.shape.Kind {
	case model.Structure:
		for i := range t.fields {
			f := &t.fields[i]
			if m, ok := f.of(v); ok {
				b = element(b, f.name, func(b []byte) []byte { return f.t.xml(b, m) })
			}
		}
		return b
	case model.List:
		for i := range v.Len() {
			b = element(b, "member", func(b []byte) []byte { return t.elem.xml(b, v.Index(i)) })
		}
		return b
	case model.Map:
		for _, k := range sortedKeys(v) {
			b = element(b, "entry", func(b []byte) []byte {
				b = AppendElement(b, t.names[0], k.String())
				return element(b, t.names[1], func(b []byte) []byte { return t.elem.xml(b, v.MapIndex(k)) })
			})
		}
		return b
	case model.String:
		return escapeXML(b, v.String())
	case model.Integer, model.Long:
		return strconv.AppendInt(b, v.Int(), 10)
	case model.Float, model.Double:
		text := appendFloat(nil, v)
		if text[0] == '"' {
			text = text[1 : len(text)-1]
		}
		return append(b, text...)
	case model.Boolean:
		return strconv.AppendBool(b, v.Bool())
	case model.Timestamp:
		return v.Interface().(time.Time).UTC().Truncate(time.Millisecond).AppendFormat(b, "2006-01-02T15:04:05.999Z07:00")
	case model.Blob:
		return base64.StdEncoding.AppendEncode(b, v.Bytes())
	}
	panic("a shape of no kind")
}

func element(b []byte, name string, content func([]byte) []byte) []byte {
	b = append(append(append(b, '<'), name...), '>')
	b = content(b)
	return append(append(append(b, '<', '/'), name...), '>')
}

// AppendElement appends an XML element that holds a text.
func AppendElement(b []byte, name, text string) []byte {
	return element(b, name, func(b []byte) []byte { return escapeXML(b, text) })
}

func escapeXML(b []byte, s string) []byte {
	w := sliceWriter{b}
	_ = xml.EscapeText(&w, []byte(s)) // writing into memory
	return w.b
}

type sliceWriter struct{ b []byte }

func (w *sliceWriter) Write(p []byte) (int, error) {
	w.b = append(w.b, p...)
	return len(p), nil
}

// EncodeCBOR writes a structure as CBOR.
func (t *Type) EncodeCBOR(of any) ([]byte, error) {
	out, err := cbor.Marshal(t.tree(t.root(of)))
	if err != nil {
		return nil, fmt.Errorf("encode %s as CBOR: %w", t.shape.Name, err)
	}
	return out, nil
}

// tree is a value for an encoder of CBOR.
func (t *Type) tree(v reflect.Value) any {
	switch t.shape.Kind {
	case model.Structure:
		m := make(map[string]any, len(t.fields))
		for i := range t.fields {
			f := &t.fields[i]
			if member, ok := f.of(v); ok {
				m[f.name] = f.t.tree(member)
			}
		}
		return m
	case model.List:
		list := make([]any, v.Len())
		for i := range list {
			list[i] = t.elem.tree(v.Index(i))
		}
		return list
	case model.Map:
		m := make(map[string]any, v.Len())
		for _, k := range v.MapKeys() {
			m[k.String()] = t.elem.tree(v.MapIndex(k))
		}
		return m
	case model.Timestamp:
		ms := v.Interface().(time.Time).UnixMilli()
		if ms%1000 == 0 {
			return cbor.Tag{Number: 1, Content: ms / 1000}
		}
		return cbor.Tag{Number: 1, Content: float64(ms) / 1000}
	case model.Blob:
		return slices.Clone(v.Bytes())
	}
	return v.Interface()
}
