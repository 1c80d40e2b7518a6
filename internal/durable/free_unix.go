//go:build unix

package durable

import "golang.org/x/sys/unix"

// Free is the room for an unprivileged user where path is, in bytes.
func Free(path string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, err
	}
	return uint64(st.Bavail) * uint64(st.Bsize), nil //nolint:unconvert // the types differ by system
}
