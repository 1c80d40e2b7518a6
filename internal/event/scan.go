package event

import (
	"encoding/binary"
	"fmt"
	"math/bits"
)

// MaxDepth is how deep arrays and objects of one record may nest.
const MaxDepth = 256

// SyntaxError says where and why JSON text could not be read.
type SyntaxError struct {
	Offset int64 // of the offending byte, from the start of the text or, in a [Reject], of the decompressed file
	Reason string
}

func (e *SyntaxError) Error() string { return fmt.Sprintf("%s at byte %d", e.Reason, e.Offset) }

// scanner walks JSON text and checks its grammar (RFC 8259). Its methods return the index after what they read, or -1
// with at and reason set; reason is reasonEnd when the text stops too early and more of it might help.
type scanner struct {
	b      []byte
	at     int
	reason string
	// high gathers every word that str looked at: no bit of highs set means that all strings were ASCII.
	high uint64
	// marks, when set, has a bit for each byte of b at which a string may end: see markStops.
	marks []uint64
	// known, when set, is what is remembered of earlier records.
	known *habits
}

const reasonEnd = "unexpected end of JSON"

func (s *scanner) fail(i int, reason string) int {
	if i >= len(s.b) {
		i, reason = len(s.b), reasonEnd
	}
	s.at, s.reason = i, reason
	return -1
}

// needMore reports whether the failure was the end of the text.
func (s *scanner) needMore() bool { return s.reason == reasonEnd }

// error gives the failure, its offset counted from base.
func (s *scanner) error(base int64) *SyntaxError {
	return &SyntaxError{Offset: base + int64(s.at), Reason: s.reason}
}

const (
	lanes  = 0x0101010101010101
	highs  = 0x8080808080808080
	quotes = lanes * '"'
	slants = lanes * '\\'
	spaces = lanes * ' '
)

// stops marks the lanes of x that hold a quote, a backslash or a control character. Only the lowest mark is exact.
func stops(x uint64) uint64 {
	q := x ^ quotes
	s := x ^ slants
	return ((q-lanes)&^q | (s-lanes)&^s | (x-spaces)&^x) & highs
}

// str reads the string whose opening quote is b[i].
func (s *scanner) str(i int) (end int, esc bool) {
	b := s.b
	i++
	if s.marks != nil {
		if w := i >> 6; w < len(s.marks) {
			if m := s.marks[w] >> (uint(i) & 63); m != 0 {
				if j := i + bits.TrailingZeros64(m); j < len(b) && b[j] == '"' {
					return j + 1, false
				}
			}
		}
		return s.markedStr(i)
	}
	for {
		for i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			s.high |= x
			m := stops(x)
			if m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				goto found
			}
			i += 8
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= ' ' {
			s.high |= uint64(b[i])
			i++
		}
		if i >= len(b) {
			return s.fail(i, reasonEnd), esc
		}
	found:
		if b[i] == '"' {
			return i + 1, esc
		}
		if i = s.escape(i); i < 0 {
			return -1, true
		}
		esc = true
	}
}

// quick reads the string whose opening quote is b[i], if it is short and plain and there are marks; otherwise it returns 0.
// It is small enough to be inlined.
func (s *scanner) quick(i int) int {
	i++
	if w := uint(i) >> 6; w < uint(len(s.marks)) {
		if i += bits.TrailingZeros64(s.marks[w] >> (uint(i) & 63)); i < len(s.b) && i < int(w+1)<<6 && s.b[i] == '"' {
			return i + 1
		}
	}
	return 0
}

// markedStr is str from behind the opening quote, with marks.
func (s *scanner) markedStr(i int) (end int, esc bool) {
	b, marks := s.b, s.marks
	for {
		w := i >> 6
		if w >= len(marks) {
			return s.fail(len(b), reasonEnd), esc
		}
		if m := marks[w] >> (uint(i) & 63); m != 0 {
			i += bits.TrailingZeros64(m)
		} else {
			for w++; w < len(marks) && marks[w] == 0; w++ {
			}
			if w == len(marks) {
				return s.fail(len(b), reasonEnd), esc
			}
			i = w<<6 + bits.TrailingZeros64(marks[w])
		}
		if i >= len(b) {
			return s.fail(len(b), reasonEnd), esc
		}
		if b[i] == '"' {
			return i + 1, esc
		}
		if i = s.escape(i); i < 0 {
			return -1, true
		}
		esc = true
	}
}

// escape reads the escape sequence at b[i] and refuses anything else.
func (s *scanner) escape(i int) int {
	b := s.b
	if b[i] != '\\' {
		return s.fail(i, "control character in a string")
	}
	if i+1 >= len(b) {
		return s.fail(len(b), reasonEnd)
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		for k := i + 2; k < i+6; k++ {
			if k >= len(b) || !isHex(b[k]) {
				return s.fail(k, "invalid \\u escape in a string")
			}
		}
		return i + 6
	}
	return s.fail(i, "invalid escape in a string")
}

func isHex(c byte) bool {
	return c-'0' <= 9 || (c|0x20)-'a' <= 5
}

// space skips insignificant white space.
func (s *scanner) space(i int) int { return skipSpace(s.b, i) }

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// scalar reads a number, true, false or null.
func (s *scanner) scalar(i int) int {
	b := s.b
	switch b[i] {
	case 't':
		return s.word(i, "true")
	case 'f':
		return s.word(i, "false")
	case 'n':
		return s.word(i, "null")
	}
	start := i
	if b[i] == '-' {
		i++
	}
	switch {
	case i >= len(b):
		return s.fail(i, reasonEnd)
	case b[i] == '0':
		i++
	case b[i]-'1' <= 8:
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
	default:
		return s.fail(start, "expected a JSON value")
	}
	if i < len(b) && b[i] == '.' {
		i++
		n := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == n {
			return s.fail(i, "invalid number")
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		n := i
		for i < len(b) && b[i]-'0' <= 9 {
			i++
		}
		if i == n {
			return s.fail(i, "invalid number")
		}
	}
	return i
}

func (s *scanner) word(i int, w string) int {
	for k := range len(w) {
		if i+k >= len(s.b) || s.b[i+k] != w[k] {
			return s.fail(i+k, "expected "+w)
		}
	}
	return i + len(w)
}

// value reads any value that starts at b[i], white space already skipped.
func (s *scanner) value(i int) int {
	if i >= len(s.b) {
		return s.fail(i, reasonEnd)
	}
	switch s.b[i] {
	case '"':
		end, _ := s.str(i)
		return end
	case '{', '[':
		return s.container(i)
	}
	return s.scalar(i)
}

// container reads the object or array that opens at b[i]. It does not recurse: one bit a level says which of the two
// is open.
func (s *scanner) container(i int) int {
	b := s.b
	var open [MaxDepth / 64]uint64
	depth := 0
	inObject := false

push:
	if depth == MaxDepth {
		return s.fail(i, "nested too deep")
	}
	if b[i] == '{' {
		open[depth>>6] |= 1 << (depth & 63)
		depth++
		inObject = true
		i = skipSpace(b, i+1)
		if i < len(b) && b[i] == '}' {
			goto pop
		}
		goto key
	}
	open[depth>>6] &^= 1 << (depth & 63)
	depth++
	inObject = false
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == ']' {
		goto pop
	}
	goto value

key:
	if i >= len(b) || b[i] != '"' {
		return s.fail(i, "expected a member name in quotes")
	}
	if end := s.quick(i); end > 0 {
		i = end
	} else if i, _ = s.str(i); i < 0 {
		return -1
	}
	if i >= len(b) || b[i] != ':' {
		i = skipSpace(b, i)
		if i >= len(b) || b[i] != ':' {
			return s.fail(i, "expected ':' after a member name")
		}
	}
	i++
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}

value:
	if i >= len(b) {
		return s.fail(i, reasonEnd)
	}
	switch b[i] {
	case '"':
		if end := s.quick(i); end > 0 {
			i = end
		} else {
			i, _ = s.str(i)
		}
	case '{', '[':
		goto push
	default:
		i = s.scalar(i)
	}
	if i < 0 {
		return -1
	}

after:
	if i < len(b) && b[i] <= ' ' {
		i = skipSpace(b, i)
	}
	if i >= len(b) {
		return s.fail(i, reasonEnd)
	}
	switch b[i] {
	case ',':
		i++
		if i < len(b) && b[i] <= ' ' {
			i = skipSpace(b, i)
		}
		if inObject {
			goto key
		}
		goto value
	case '}':
		if !inObject {
			return s.fail(i, "'}' closes an array")
		}
		goto pop
	case ']':
		if inObject {
			return s.fail(i, "']' closes an object")
		}
		goto pop
	}
	if inObject {
		return s.fail(i, "expected ',' or '}' after a member")
	}
	return s.fail(i, "expected ',' or ']' after an element")

pop:
	i++
	depth--
	if depth == 0 {
		return i
	}
	inObject = open[(depth-1)>>6]>>((depth-1)&63)&1 == 1
	goto after
}

// stringEnd and valueEnd walk text that has been validated.

func stringEnd(b []byte, i int) int {
	for i++; ; i++ {
		switch b[i] {
		case '"':
			return i + 1
		case '\\':
			i++
		}
	}
}

func valueEnd(b []byte, i int) int {
	s := scanner{b: b}
	return s.value(i)
}
