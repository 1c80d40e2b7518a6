// Package inflate expands gzip files that are held in memory whole, in one call of libdeflate, where the program is built
// with it: with cgo and the build tag libdeflate. It does so several times as fast as readers of streams, which must be
// able to stop and go on at every byte. Without it [New] gives nothing, and texts are read as streams.
package inflate

import (
	"encoding/binary"
	"errors"
)

// ErrGzip means that what was given is not exactly one whole gzip member of the size that was told, or one with parts
// that are not looked at here. A reader of streams tells what it is.
var ErrGzip = errors.New("not one plain gzip member")

const (
	headLength = 10
	tailLength = 8 // checksum and size
	flagName   = 1 << 3
	maxName    = 256
)

// Size is what packed expands to as its last bytes tell, if it begins as a gzip file without parts that are rare.
func Size(packed []byte) (size int, ok bool) {
	if len(packed) <= headLength+tailLength || packed[0] != 0x1f || packed[1] != 0x8b || packed[2] != 8 {
		return 0, false
	}
	switch packed[3] {
	case 0:
	case flagName: // by gzip on a command line
		if !hasName(packed[headLength : len(packed)-tailLength]) {
			return 0, false
		}
	default:
		return 0, false
	}
	return int(binary.LittleEndian.Uint32(packed[len(packed)-4:])), true
}

// hasName tells whether b begins with a name, its end included.
func hasName(b []byte) bool {
	for _, c := range b[:min(len(b), maxName)] {
		if c == 0 {
			return true
		}
	}
	return false
}
