//go:build unix

package files

import (
	"io/fs"
	"syscall"
)

// readWhole reads a regular file of the given size, or of whatever size it has where that is -1, into buf, which is returned
// as text, larger if it had to grow. It is not whole when it is larger by now or than [smallFile], or cannot be read to its
// end. It makes three or four system calls where [os.File] makes seven: for small files those are what reading costs.
func readWhole(name string, size int64, buf []byte) (reading, error) {
	got := reading{text: buf, size: size}
	flags := syscall.O_RDONLY | syscall.O_CLOEXEC
	if size < 0 {
		flags |= syscall.O_NONBLOCK // a pipe that took the file's place is not waited for
	}
	fd, err := retried(func() (int, error) { return syscall.Open(name, flags, 0) })
	if err == syscall.EAGAIN && size < 0 {
		return got, nil // leased to another program, which must be waited for
	}
	if err != nil {
		return got, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	defer syscall.Close(fd)
	if size < 0 {
		var info syscall.Stat_t
		if _, err := retried(func() (int, error) { return 0, syscall.Fstat(fd, &info) }); err != nil {
			return got, &fs.PathError{Op: "stat", Path: name, Err: err}
		}
		got.size, got.special = info.Size, info.Mode&syscall.S_IFMT != syscall.S_IFREG
		if size = got.size; got.special || size == 0 || size > smallFile {
			return got, nil
		}
	}
	if int64(cap(buf)) <= size {
		buf = make([]byte, size+size/4+512)
	}
	buf = buf[:cap(buf)]
	got.text = buf
	n := 0
	for n < len(buf) {
		k, err := retried(func() (int, error) { return syscall.Read(fd, buf[n:]) })
		if err != nil {
			return got, nil // read again in pieces, what can be read is handed on
		}
		if n += k; k == 0 || int64(n) == size { // what was appended since is not wanted
			got.text, got.whole = buf[:n], true
			return got, nil
		}
	}
	return got, nil
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
