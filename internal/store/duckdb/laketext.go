package duckdb

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// The results of CloudTrail Lake are text, in the way of Presto: [a, b] for arrays, {k=v} for maps and rows, null for NULL in
// them, 1.0E7 for doubles, 2026-01-05 09:12:41.000 for timestamps.

// sqlType is a type of the engine, as far as it matters for its text.
type sqlType struct {
	name   string     // of a plain type
	elem   *sqlType   // of lists, and the values of maps
	fields []sqlField // of structs
	isMap  bool
}

type sqlField struct {
	name string
	typ  *sqlType
}

// parseType reads a type as the engine writes it. What it does not know is a plain type.
func parseType(s string) *sqlType {
	s = strings.TrimSpace(s)
	if strings.HasSuffix(s, "]") {
		if open := strings.LastIndexByte(s, '['); open > 0 {
			return &sqlType{elem: parseType(s[:open])}
		}
	}
	if in, ok := strings.CutPrefix(s, "STRUCT("); ok && strings.HasSuffix(in, ")") {
		t := &sqlType{fields: []sqlField{}}
		for _, part := range splitTypes(in[:len(in)-1]) {
			part = strings.TrimSpace(part)
			name, rest := "", ""
			if strings.HasPrefix(part, `"`) {
				end := 1
				for end < len(part) && (part[end] != '"' || strings.HasPrefix(part[end:], `""`)) {
					if part[end] == '"' {
						end++
					}
					end++
				}
				name = strings.ReplaceAll(part[1:min(end, len(part))], `""`, `"`)
				rest = part[min(end+1, len(part)):]
			} else {
				name, rest, _ = strings.Cut(part, " ")
			}
			t.fields = append(t.fields, sqlField{name, parseType(rest)})
		}
		return t
	}
	if in, ok := strings.CutPrefix(s, "MAP("); ok && strings.HasSuffix(in, ")") {
		if parts := splitTypes(in[:len(in)-1]); len(parts) == 2 {
			return &sqlType{isMap: true, elem: parseType(parts[1])}
		}
	}
	return &sqlType{name: s}
}

// splitTypes splits at commas that are in no parentheses and no quotes.
func splitTypes(s string) (out []string) {
	depth, start, inQuotes := 0, 0, false
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"':
			inQuotes = !inQuotes
		case inQuotes:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			out = append(out, s[start:i])
			start = i + 1
		}
	}
	return append(out, s[start:])
}

// nested reports whether values of the type come as JSON.
func (t *sqlType) nested() bool { return t.elem != nil || t.fields != nil }

// text writes a value, which comes as the engine writes it, nested ones as JSON.
func (t *sqlType) text(s string) string {
	if t.nested() {
		var b strings.Builder
		if t.appendJSON(&b, json.RawMessage(s)) {
			return b.String()
		}
		return s
	}
	switch t.name {
	case "TIMESTAMP":
		return millis(s)
	case "TIMESTAMP WITH TIME ZONE":
		if local, ok := strings.CutSuffix(s, "+00"); ok {
			return millis(local) + " UTC"
		}
	case "DOUBLE":
		return javaFloat(s, 64)
	case "FLOAT":
		return javaFloat(s, 32)
	}
	return s
}

// appendJSON writes a value that is JSON. It is false for what is not of the type.
func (t *sqlType) appendJSON(b *strings.Builder, raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	if string(raw) == "null" {
		b.WriteString("null")
		return true
	}
	switch {
	case t.isMap, t.fields != nil:
		dec := json.NewDecoder(bytes.NewReader(raw))
		if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
			return false
		}
		b.WriteByte('{')
		for i := 0; dec.More(); i++ {
			tok, err := dec.Token()
			key, ok := tok.(string)
			if err != nil || !ok {
				return false
			}
			var value json.RawMessage
			if dec.Decode(&value) != nil {
				return false
			}
			of := t.elem
			if !t.isMap {
				if i >= len(t.fields) {
					return false
				}
				of = t.fields[i].typ
			}
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(key)
			b.WriteByte('=')
			if !of.appendJSON(b, value) {
				return false
			}
		}
		b.WriteByte('}')
		return true
	case t.elem != nil:
		var values []json.RawMessage
		if json.Unmarshal(raw, &values) != nil {
			return false
		}
		b.WriteByte('[')
		for i, v := range values {
			if i > 0 {
				b.WriteString(", ")
			}
			if !t.elem.appendJSON(b, v) {
				return false
			}
		}
		b.WriteByte(']')
		return true
	case t.name == "JSON":
		b.Write(raw)
		return true
	case len(raw) > 0 && raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return false
		}
		b.WriteString(t.text(s))
		return true
	}
	b.WriteString(t.text(string(raw)))
	return true
}

// millis gives a time three digits behind its seconds.
func millis(s string) string {
	at := len("2006-01-02 15:04:05")
	if len(s) < at || strings.Count(s[:at], ":") != 2 {
		return s // infinity, or a year of more digits
	}
	frac := strings.TrimPrefix(s[at:], ".")
	return s[:at] + "." + (frac + "000")[:3]
}

// javaFloat writes a number as Java does.
func javaFloat(s string, bits int) string {
	f, err := strconv.ParseFloat(s, bits)
	if err != nil {
		return s
	}
	switch a := math.Abs(f); {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	case a == 0, a >= 1e-3 && a < 1e7:
		out := strconv.FormatFloat(f, 'f', -1, bits)
		if !strings.Contains(out, ".") {
			out += ".0"
		}
		return out
	}
	mantissa, exp, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, bits), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exp) // FormatFloat wrote it
	return mantissa + "E" + strconv.Itoa(n)
}
