// Package safetext makes text out of logs safe to show. Whatever a caller of AWS puts into a user agent, a user name or a
// request parameter ends up in a CloudTrail record, so every such text is hostile until it went through here.
//
// The rule is the same for all targets: what could act or mislead is not dropped but written as a visible escape (\x1b,
// \u202e), so that a reader sees that it was there. [Terminal] and its kin serve consoles and pages, [CSV] spreadsheets,
// [JSON] documents that somebody may print on a console. The package imports nothing else of Spoor.
package safetext

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/width"
)

const hexDigits = "0123456789abcdef"

// Terminal returns s on one line with every character that could drive a terminal or mislead a reader written as an
// escape: control characters of both sets (ANSI sequences start with one), bidirectional overrides and isolates,
// zero-width and other invisible characters, line separators, odd spaces, private and unassigned code points, a third
// combining mark on one character, bytes that are not UTF-8. The result is at most limit columns wide, its last
// character an ellipsis when something was cut off; a limit of 0 or less means none.
func Terminal(s string, limit int) string {
	if limit <= 0 {
		limit = int(^uint(0) >> 1)
	}
	if plain(s) {
		if len(s) <= limit {
			return s
		}
		return s[:limit-1] + "…"
	}
	var b strings.Builder
	cols, marks := 0, 0
	cut := 0 // length of the result that leaves room for the ellipsis
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		w := 0
		switch {
		case r == utf8.RuneError && size == 1:
			w = escapeByte(&b, s[i])
			marks = 0
		case mark(r) && !invisible(r) && marks < 2 && cols > 0:
			marks++
			b.WriteRune(r)
			w = runeWidth(r)
		case mark(r), hidden(r):
			w = escapeRune(&b, r)
			marks = 0
		default:
			b.WriteRune(r)
			w = runeWidth(r)
			marks = 0
		}
		cols += w
		if cols > limit {
			return b.String()[:cut] + "…"
		}
		if cols < limit {
			cut = b.Len()
		}
		i += size
	}
	return b.String()
}

// Middle is [Terminal] with the cut in the middle, for texts whose ends tell the most: ARNs, paths, addresses.
func Middle(s string, limit int) string {
	full := Terminal(s, 0)
	if limit <= 0 || Width(full) <= limit {
		return full
	}
	if limit < 8 {
		return Terminal(s, limit)
	}
	tail := limit / 2
	i := len(full)
	for cols := 0; i > 0; {
		r, size := utf8.DecodeLastRuneInString(full[:i])
		if cols += runeWidth(r); cols > tail {
			break
		}
		i -= size
	}
	return Terminal(full, limit-Width(full[i:])) + full[i:]
}

// Lines is [Terminal] without a limit for text of several lines: line feeds stay, the rest is escaped.
func Lines(s string) string {
	if strings.IndexByte(s, '\n') < 0 {
		return Terminal(s, 0)
	}
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = Terminal(strings.TrimSuffix(l, "\r"), 0)
	}
	return strings.Join(lines, "\n")
}

// CSV returns s as the content of one cell that no spreadsheet takes for a formula: a text that starts with = + - @, a
// tab, a carriage return or a line feed, or the full-width forms of these signs, gets an apostrophe before it. Control
// and invisible characters become visible escapes as in [Terminal], so a cell is one line. Quoting is the CSV writer's.
func CSV(s string) string {
	out := Terminal(s, 0)
	r, _ := utf8.DecodeRuneInString(strings.TrimLeft(s, " "))
	switch r {
	case '=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠':
		return "'" + out
	}
	return out
}

// JSON returns the JSON document or documents in b with every control or invisible character inside its strings written
// as a \u escape. The values stay the same, but for bytes that are not UTF-8, which become U+FFFD. It expects valid JSON,
// which has such characters in strings only.
func JSON(b []byte) []byte {
	if plainJSON(b) {
		return b
	}
	var out bytes.Buffer
	out.Grow(len(b) + len(b)/8)
	for i := 0; i < len(b); {
		if c := b[i]; c < utf8.RuneSelf && c != 0x7f {
			out.WriteByte(c)
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			writeU(&out, utf8.RuneError)
		case !hidden(r):
			out.Write(b[i : i+size])
		case r >= 0x10000:
			r -= 0x10000
			writeU(&out, 0xd800+r>>10)
			writeU(&out, 0xdc00+r&0x3ff)
		default:
			writeU(&out, r)
		}
		i += size
	}
	return out.Bytes()
}

// Width returns how many terminal columns s takes, which must have gone through this package.
func Width(s string) int {
	n := 0
	for _, r := range s {
		n += runeWidth(r)
	}
	return n
}

// plain reports whether s is printable ASCII.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

func plainJSON(b []byte) bool {
	for _, c := range b {
		if c >= 0x7f {
			return false
		}
	}
	return true
}

// mark reports whether r combines with the character before it. Stacked without end, marks cover other lines.
func mark(r rune) bool { return r >= 0x300 && unicode.In(r, unicode.Mn, unicode.Me, unicode.Mc) }

// hidden reports whether r controls, reorders or shows nothing.
func hidden(r rune) bool { return !unicode.IsPrint(r) || invisible(r) }

// invisible reports whether a character that counts as printable shows nothing: fillers, variation selectors, the
// grapheme joiner, the blank Braille pattern.
func invisible(r rune) bool {
	switch {
	case r == 0x034f, r == 0x115f, r == 0x1160, r == 0x17b4, r == 0x17b5, r == 0x2800, r == 0x3164, r == 0xffa0,
		r >= 0x180b && r <= 0x180f, r >= 0xfe00 && r <= 0xfe0f, r >= 0xe0000 && r <= 0xe0fff:
		return true
	}
	return false
}

func runeWidth(r rune) int {
	switch {
	case r < utf8.RuneSelf:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	}
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func escapeByte(b *strings.Builder, c byte) int {
	b.WriteString(`\x`)
	b.WriteByte(hexDigits[c>>4])
	b.WriteByte(hexDigits[c&15])
	return 4
}

// escapeRune writes r as \n, \x1b, \u202e or \U000e0041 and returns the columns it took.
func escapeRune(b *strings.Builder, r rune) int {
	switch r {
	case '\n':
		b.WriteString(`\n`)
		return 2
	case '\r':
		b.WriteString(`\r`)
		return 2
	case '\t':
		b.WriteString(`\t`)
		return 2
	}
	if r < 0xa0 {
		return escapeByte(b, byte(r))
	}
	digits := 4
	b.WriteByte('\\')
	if r > 0xffff {
		digits = 8
		b.WriteByte('U')
	} else {
		b.WriteByte('u')
	}
	for i := digits - 1; i >= 0; i-- {
		b.WriteByte(hexDigits[r>>(4*i)&15])
	}
	return digits + 2
}

func writeU(out *bytes.Buffer, r rune) {
	out.WriteString(`\u`)
	for i := 3; i >= 0; i-- {
		out.WriteByte(hexDigits[r>>(4*i)&15])
	}
}
