//go:build !linux

package gateway

import (
	"errors"
	"syscall"
)

// Elsewhere all goes through http.Transport.
const canRelay = false

const (
	stateQuiet = iota
	stateMore
	stateClosed
)

func state(syscall.RawConn) int { return stateClosed }

func await(syscall.RawConn) (int, error) { return 0, errors.ErrUnsupported }
