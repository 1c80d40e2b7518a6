package event

import "golang.org/x/sys/cpu"

//go:noescape
func markBlocks(p *byte, blocks int, out *uint64) (high uint32)

// markStops fills marks, one bit for each byte of b, with the bytes at which a JSON string ends or is interrupted, and
// reports whether b is all ASCII. b is padded to whole blocks of 64 bytes. ok is false where the processor cannot.
func markStops(b []byte, marks []uint64) (ascii, ok bool) {
	if !cpu.X86.HasAVX2 || len(b) == 0 {
		return false, false
	}
	return markBlocks(&b[0], len(b)/64, &marks[0]) == 0, true
}
