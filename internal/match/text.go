package match

import (
	"bytes"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"spoor/internal/event"
)

// valueText gives a string value's text; it lives until the next call.
func (c *Context) valueText(v event.Value) string {
	if bytes.IndexByte(v.Raw(), '\\') < 0 {
		return v.Text()
	}
	c.text = v.AppendText(c.text[:0])
	return view(c.text)
}

// objectText holds the texts of one object or array of this event.
type objectText struct {
	raw   *byte
	size  int
	json  string // compact JSON, with no more escapes than needed
	plain string // the same with \" turned into "; "" when that changes nothing
}

// objectTexts gives the texts that stand for the whole of v. They live until the next Reset.
func (c *Context) objectTexts(v event.Value) (json, plain string) {
	raw := v.Raw()
	for i := range c.objs {
		if o := &c.objs[i]; o.raw == &raw[0] && o.size == len(raw) {
			return o.json, o.plain
		}
	}
	from := len(c.json)
	c.json = appendCompact(c.json, raw)
	o := objectText{raw: &raw[0], size: len(raw), json: view(c.json[from:])}
	if strings.Contains(o.json, `\"`) {
		mid := len(c.json)
		c.json = appendUnquoted(c.json, o.json)
		o.plain = view(c.json[mid:])
	}
	c.objs = append(c.objs, o)
	return o.json, o.plain
}

// appendCompact appends valid JSON without white space, and without escapes of characters that need none, so that the
// text does not depend on who wrote it.
func appendCompact(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch b := raw[i]; b {
		case ' ', '\t', '\n', '\r':
			i++
		case '"':
			end := i + 1
			for raw[end] != '"' {
				if raw[end] == '\\' {
					end++
				}
				end++
			}
			end++
			dst = appendString(dst, raw[i:end])
			i = end
		default:
			dst = append(dst, b)
			i++
		}
	}
	return dst
}

// appendString appends a JSON string with its quotes.
func appendString(dst, raw []byte) []byte {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...)
		}
		dst = append(dst, raw[:i]...)
		raw = raw[i:]
		n := 2
		switch raw[1] {
		case '/':
			dst = append(dst, '/')
		case 'u':
			n = 6
			r := hex4(raw[2:6])
			if utf16.IsSurrogate(r) {
				pair := utf8.RuneError
				if len(raw) >= 12 && raw[6] == '\\' && raw[7] == 'u' {
					pair = utf16.DecodeRune(r, hex4(raw[8:12]))
				}
				if pair != utf8.RuneError {
					n, r = 12, pair
				}
			}
			switch {
			case r == '"' || r == '\\':
				dst = append(dst, '\\', byte(r))
			case r < ' ' || utf16.IsSurrogate(r):
				dst = append(dst, raw[:n]...)
			default:
				dst = utf8.AppendRune(dst, r)
			}
		default:
			dst = append(dst, raw[:2]...)
		}
		raw = raw[n:]
	}
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

// appendUnquoted appends s with \" turned into ".
func appendUnquoted(dst []byte, s string) []byte {
	for {
		i := strings.Index(s, `\"`)
		if i < 0 {
			return append(dst, s...)
		}
		dst = append(dst, s[:i]...)
		dst = append(dst, '"')
		s = s[i+2:]
	}
}

// anyLeaf calls fn for each scalar under v, null included, until fn returns true, and reports whether it did.
func anyLeaf(v event.Value, fn func(event.Value) bool) bool {
	held := false
	switch v.Kind() {
	case event.Object:
		v.Members(func(_ string, m event.Value) bool {
			held = anyLeaf(m, fn)
			return !held
		})
	case event.Array:
		v.Elements(func(m event.Value) bool {
			held = anyLeaf(m, fn)
			return !held
		})
	default:
		return fn(v)
	}
	return held
}
