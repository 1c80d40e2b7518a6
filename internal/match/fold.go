package match

import (
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// Texts are compared by Unicode simple case folding (CaseFolding.txt, status C and S): two runes are equal when they
// are in the same orbit of unicode.SimpleFold. The canonical member is the lower-case letter for ASCII, else the
// smallest of the orbit. Bytes that are not UTF-8 equal only themselves.

// badByte is added to a byte that is not UTF-8 to make it a rune of its own.
const badByte = unicode.MaxRune + 1

// decode is utf8.DecodeRuneInString with bytes that are not UTF-8 told apart.
func decode(s string) (rune, int) {
	if s[0] < utf8.RuneSelf {
		return rune(s[0]), 1
	}
	r, n := utf8.DecodeRuneInString(s)
	if r == utf8.RuneError && n == 1 {
		return badByte + rune(s[0]), 1
	}
	return r, n
}

// lower is the folding of ASCII.
var lower = func() (t [256]byte) {
	for i := range t {
		t[i] = byte(i)
		if 'A' <= i && i <= 'Z' {
			t[i] += 'a' - 'A'
		}
	}
	return t
}()

func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		return rune(lower[r])
	}
	if r > unicode.MaxRune {
		return r
	}
	least := r
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		least = min(least, f)
	}
	if least < utf8.RuneSelf {
		return rune(lower[least])
	}
	return least
}

// appendFold appends s folded.
func appendFold(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		if b := s[i]; b < utf8.RuneSelf {
			dst = append(dst, lower[b])
			i++
			continue
		}
		r, n := decode(s[i:])
		if r >= badByte {
			dst = append(dst, s[i])
		} else {
			dst = utf8.AppendRune(dst, foldRune(r))
		}
		i += n
	}
	return dst
}

// Fold gives s in the form in which texts are compared without regard to case.
func Fold(s string) string { return string(appendFold(nil, s)) }

func isASCII(s string) bool {
	for ; len(s) >= 8; s = s[8:] {
		if (s[0]|s[1]|s[2]|s[3]|s[4]|s[5]|s[6]|s[7])&utf8.RuneSelf != 0 {
			return false
		}
	}
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// view gives b as a string without copying it.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
