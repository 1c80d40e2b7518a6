//go:build !linux

package rig

import (
	"errors"
	"os/exec"
)

var errOnlyLinux = errors.New("a file system of its own is for Linux")

// Inside does nothing.
func Inside() {}

// CannotMount is always true.
func CannotMount(error) bool { return true }

func mounted(*exec.Cmd, string, int64) error { return errOnlyLinux }

// FillDisk is for Linux.
func (*Server) FillDisk() error { return errOnlyLinux }

// FreeDisk is for Linux.
func (*Server) FreeDisk() error { return errOnlyLinux }

// CopyDisk is for Linux.
func (*Server) CopyDisk(string) error { return errOnlyLinux }

// LeaveDisk does nothing.
func (*Server) LeaveDisk() error { return nil }
