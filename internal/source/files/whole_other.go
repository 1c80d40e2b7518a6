//go:build !unix

package files

// readWhole leaves the file to [os.Open].
func readWhole(_ string, size int64, buf []byte) (reading, error) {
	return reading{text: buf, size: size}, nil
}
