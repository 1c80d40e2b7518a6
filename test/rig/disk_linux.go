package rig

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// insideVar makes a test binary mount a file system and become another program: its folder, its size, the program.
const insideVar = "SPOOR_RIG_INSIDE"

// Inside must be called first in TestMain by who uses Options.Disk: in a process that was started for it, it does not return.
func Inside() {
	job := os.Getenv(insideVar)
	if job == "" {
		return
	}
	if err := inside(strings.Split(job, "\n")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func inside(job []string) error {
	if len(job) != 3 {
		return fmt.Errorf("%s: %q", insideVar, job)
	}
	if err := syscall.Mount("tmpfs", job[0], "tmpfs", 0, "size="+job[1]); err != nil {
		return fmt.Errorf("%s: %w", cannotMount, err)
	}
	if err := os.Unsetenv(insideVar); err != nil {
		return err
	}
	return syscall.Exec(job[2], append([]string{job[2]}, os.Args[1:]...), os.Environ())
}

const cannotMount = "a small file system cannot be mounted here"

// CannotMount says that a server did not start because it may not have a file system of its own.
func CannotMount(err error) bool {
	return errors.Is(err, os.ErrPermission) || err != nil && strings.Contains(err.Error(), cannotMount)
}

// mounted gives a command a file system that nobody else sees and that ends with it.
func mounted(cmd *exec.Cmd, dir string, size int64) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return fmt.Errorf("find %s: %w", dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of a small file system: %w", err)
	}
	cmd.Env = append(cmd.Env, insideVar+"="+strings.Join([]string{dir, strconv.FormatInt(size, 10), cmd.Path}, "\n"))
	cmd.Path = self
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return nil
}

// folder is the data folder as the process sees it, open: it stays when the process ends.
func (s *Server) folder() (*os.Root, error) {
	if s.copied == nil {
		dir, err := filepath.Abs(s.opts.Data)
		if err == nil {
			s.copied, err = os.OpenRoot(filepath.Join("/proc", strconv.Itoa(s.PID()), "root", dir))
		}
		if err != nil {
			return nil, fmt.Errorf("open the server's folder: %w", err)
		}
	}
	return s.copied, nil
}

const ballast = "ballast"

// FillDisk takes all room of a disk that is the server's alone.
func (s *Server) FillDisk() error {
	root, err := s.folder()
	if err != nil {
		return err
	}
	f, err := root.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk: %w", err)
	}
	defer f.Close() //nolint:errcheck // nobody reads it
	for size := 1 << 20; size > 0; {
		if _, err := f.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 2
		} else if err != nil {
			return fmt.Errorf("fill the disk: %w", err)
		}
	}
	return nil
}

// FreeDisk gives the room back.
func (s *Server) FreeDisk() error {
	root, err := s.folder()
	if err == nil {
		err = root.Remove(ballast)
	}
	if err != nil {
		return fmt.Errorf("give the disk free: %w", err)
	}
	return nil
}

// CopyDisk copies what is on a disk that is the server's alone; the server may have ended.
func (s *Server) CopyDisk(to string) error {
	root, err := s.folder()
	if err != nil {
		return err
	}
	if err := os.CopyFS(to, root.FS()); err != nil {
		return fmt.Errorf("copy the server's folder: %w", err)
	}
	return nil
}

// LeaveDisk lets the file system go.
func (s *Server) LeaveDisk() error {
	if s.copied == nil {
		return nil
	}
	return s.copied.Close()
}
