package event

import (
	"encoding/binary"
	"math/bits"
)

// GUIDLen is the length of a GUID's text.
const GUIDLen = 36

// ParseGUID reads a GUID in its usual text, as eventID has it: 36 characters, in lower case. Nothing else is read, so that
// the same number is the same text, and numbers are ordered as texts are.
func ParseGUID(s string) (hi, lo uint64, ok bool) {
	if len(s) != GUIDLen || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return 0, 0, false
	}
	a, bad1 := hexDigits(word(s, 0) | word(s, 4)<<32)
	b, bad2 := hexDigits(word(s, 9) | word(s, 14)<<32)
	c, bad3 := hexDigits(word(s, 19) | word(s, 24)<<32)
	d, bad4 := hexDigits(word(s, 28) | word(s, 32)<<32)
	return a<<32 | b, c<<32 | d, bad1|bad2|bad3|bad4 == 0
}

// AppendGUID appends the text of a GUID.
func AppendGUID(b []byte, hi, lo uint64) []byte {
	const digits = "0123456789abcdef"
	for i := range 32 {
		if i == 8 || i == 12 || i == 16 || i == 20 {
			b = append(b, '-')
		}
		b = append(b, digits[hi>>60])
		hi, lo = hi<<4|lo>>60, lo<<4
	}
	return b
}

// word gives the four bytes of s at i.
func word(s string, i int) uint64 {
	return uint64(binary.LittleEndian.Uint32([]byte(s[i : i+4])))
}

// hexDigits gives the 32 bits that eight lower-case digits stand for, the first in the lowest byte of x. Not all are
// digits if bad is not 0.
func hexDigits(x uint64) (bits32, bad uint64) {
	const each = 0x0101010101010101
	letter := x >> 6 & each // 1 for a to f
	low := x & (each * 0x0f)
	bad = x&(each*0xf0) ^ each*0x30 ^ letter*0x50 // 3 before a decimal digit, 6 before a letter
	bad |= (low + each*6 + letter*3) & (each * 0x10)
	bad |= ^(low + each*0x0f) & (letter << 4)
	v := bits.ReverseBytes64(low + letter*9)
	v = (v | v>>4) & 0x00ff00ff00ff00ff
	v = (v | v>>8) & 0x0000ffff0000ffff
	return (v | v>>16) & 0xffffffff, bad
}
