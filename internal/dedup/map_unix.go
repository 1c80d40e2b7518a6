//go:build unix

package dedup

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// mapFile gives the bytes of a file, read when they are touched. They stay readable when f is closed.
func mapFile(f *os.File, size int) (data []byte, unmap func() error, err error) {
	data, err = syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil, nil, os.NewSyscallError("mmap", err)
	}
	return data, func() error { return os.NewSyscallError("munmap", syscall.Munmap(data)) }, nil
}

// forget takes the bytes of a mapped file out of the process's memory. They stay readable.
func forget(data []byte) error {
	return os.NewSyscallError("madvise", unix.Madvise(data, unix.MADV_DONTNEED))
}
