//go:build unix

package watch

import (
	"fmt"
	"io/fs"
	"syscall"
)

// fileID tells a file whatever its name is, "" where that is not known.
func fileID(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%x:%x", st.Dev, st.Ino)
	}
	return ""
}
