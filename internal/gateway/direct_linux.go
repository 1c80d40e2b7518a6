package gateway

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// canRelay says whether connections can be looked at, and bytes moved between them.
const canRelay = true

// What there is on a connection.
const (
	stateQuiet  = iota // open, and nothing came
	stateMore          // something came
	stateClosed        // by the other side, by us, or broken
)

// state looks at a connection without waiting.
func state(c syscall.RawConn) int {
	s := stateClosed
	if err := c.Control(func(fd uintptr) { s, _ = peek(fd) }); err != nil {
		return stateClosed
	}
	return s
}

// peek looks whether there is a byte to read.
func peek(fd uintptr) (int, error) {
	var b [1]byte
	for {
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return stateQuiet, nil
		case err != nil:
			return stateClosed, fmt.Errorf("read from the service: %w", err)
		case n == 0:
			return stateClosed, errCutShort
		default:
			return stateMore, nil
		}
	}
}

// await waits until something can be read from a connection, and says how many bytes.
func await(c syscall.RawConn) (int, error) {
	var n int
	var failure error
	err := c.Read(func(fd uintptr) bool {
		if n, failure = unix.IoctlGetInt(int(fd), unix.TIOCINQ); failure != nil {
			failure = fmt.Errorf("ask how much can be read from the service: %w", failure)
			return true
		}
		if n > 0 {
			return true
		}
		var s int
		if s, failure = peek(fd); s == stateMore {
			n = 1
		}
		return s != stateQuiet
	})
	if err != nil {
		return 0, fmt.Errorf("wait for the service: %w", err)
	}
	return n, failure
}
