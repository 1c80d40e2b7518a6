//go:build !amd64

package event

// markStops is for processors with wide vectors only; strings are searched word by word elsewhere.
func markStops([]byte, []uint64) (ascii, ok bool) { return false, false }
