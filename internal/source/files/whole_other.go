//go:build !unix

package files

// readWhole leaves the file to [os.Open].
func readWhole(_ string, _ int, buf []byte) (_ []byte, ok bool, err error) { return buf, false, nil }
