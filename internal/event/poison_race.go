//go:build race

package event

// poison overwrites a released part of a buffer, so that tests see who kept something for too long.
func poison(b []byte) {
	for i := range b {
		b[i] = 0xdd
	}
}
