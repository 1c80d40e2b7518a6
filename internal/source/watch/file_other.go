//go:build !unix

package watch

import "io/fs"

// fileID is not known: a file that was renamed is read again.
func fileID(fs.FileInfo) string { return "" }
