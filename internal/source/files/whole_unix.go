//go:build unix

package files

import (
	"io/fs"
	"syscall"
)

// readWhole reads a regular file of the given size into buf, which is returned, larger if it had to grow. ok is false
// when the file is larger by now, or cannot be read to its end. It makes three system calls where [os.File] makes seven: for small files those are what
// reading costs.
func readWhole(name string, size int, buf []byte) (_ []byte, ok bool, err error) {
	fd, err := retried(func() (int, error) { return syscall.Open(name, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return buf, false, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer syscall.Close(fd)
	if cap(buf) <= size {
		buf = make([]byte, size+size/4+512)
	}
	buf = buf[:cap(buf)]
	n := 0
	for n < len(buf) {
		k, err := retried(func() (int, error) { return syscall.Read(fd, buf[n:]) })
		if err != nil {
			return buf, false, nil // read again in pieces, what can be read is handed on
		}
		if n += k; k == 0 || n == size { // the size it had when it was listed: what was appended since is not wanted
			return buf[:n], true, nil
		}
	}
	return buf, false, nil
}

// retried calls until no signal gets in between.
func retried(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if err != syscall.EINTR {
			return n, err
		}
	}
}
