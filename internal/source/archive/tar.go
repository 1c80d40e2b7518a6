package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"spoor/internal/source"
)

const blockSize = 512

// isTar reports whether b starts with the header of a tar archive: its checksum holds (POSIX.1-2017, pax, "ustar
// Interchange Format"; older forms have the same place for it).
func isTar(b []byte) bool {
	const from, to = 148, 156 // the checksum, counted as spaces
	if len(b) < blockSize || b[0] == 0 {
		return false
	}
	want, digits := 0, 0
	for _, c := range b[from:to] {
		switch {
		case c >= '0' && c <= '7':
			want = want*8 + int(c-'0')
			digits++
		case c != ' ' && c != 0:
			return false
		}
	}
	sum := (to - from) * int(' ')
	for i, c := range b[:blockSize] {
		if i < from || i >= to {
			sum += int(c)
		}
	}
	return digits > 0 && sum == want
}

// tar gives the members of a tar archive, and of others that follow it in the same stream. An archive without its end is an
// error: it may have been cut off between two members.
func (x *expansion) tar(ctx context.Context, obj source.Object, r io.Reader, depth int) error {
	b := &blocks{r: r}
	for {
		t := tar.NewReader(b)
		for {
			b.zeros, b.ended = 0, false
			h, err := t.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
			e := entry{name: h.Name, size: h.Size, modified: h.ModTime, open: func() (io.ReadCloser, error) { return io.NopCloser(t), nil }}
			switch h.Typeflag {
			case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
				if strings.HasSuffix(h.Name, "/") && h.Size == 0 {
					continue
				}
			case tar.TypeDir, tar.TypeXGlobalHeader:
				continue
			case tar.TypeLink, tar.TypeSymlink:
				e.skip = source.SkipLink
			default:
				e.skip = source.SkipSpecial
			}
			if err := x.member(ctx, obj, e, depth); err != nil {
				return err
			}
		}
		if !b.ended {
			return errors.New("the tar archive has no end: it is cut off")
		}
		more, err := b.skipZeros()
		if err != nil || !more {
			return err
		}
	}
}

// blocks reads a tar archive and notes whether it came to the two blocks of zeros at its end.
type blocks struct {
	r     io.Reader
	again []byte // a block to be read before the rest
	zeros int
	ended bool
}

func (b *blocks) Read(p []byte) (int, error) {
	if len(b.again) > 0 {
		n := copy(p, b.again)
		b.again = b.again[n:]
		return n, nil
	}
	if len(p) != blockSize { // no header
		b.zeros = 0
		return b.r.Read(p)
	}
	n, err := io.ReadFull(b.r, p)
	if err == nil && isZero(p) {
		b.zeros++
		b.ended = b.zeros >= 2
	} else {
		b.zeros = 0
	}
	return n, err
}

// skipZeros reads the padding after the end, which also checks a compressed stream to its end. More says that another
// archive follows.
func (b *blocks) skipZeros() (more bool, err error) {
	var block [blockSize]byte
	for {
		n := 0
		for n < blockSize && err == nil { // io.ReadFull hides whether it was the stream that ended unexpectedly
			var k int
			k, err = b.r.Read(block[n:])
			n += k
		}
		switch {
		case err != nil && err != io.EOF:
			return false, fmt.Errorf("after the end of the tar archive: %w", err)
		case isZero(block[:n]):
			if err == io.EOF {
				return false, nil
			}
		case isTar(block[:n]):
			*b = blocks{r: b.r, again: bytes.Clone(block[:])}
			return true, nil
		default:
			return false, errors.New("something else follows the tar archive")
		}
	}
}

func isZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
