// Package durable changes files so that a crash leaves the old content or the new one, and keeps a second process out.
package durable

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// PartPrefix begins the names of files that are being written.
const PartPrefix = ".part-"

// WriteFile replaces the content of path. When it returns nil the content is synced, and so is the name; after an error or
// a crash path has its old content, or, when only the last sync of the folder did not happen, the new one.
func WriteFile(path string, content []byte, perm fs.FileMode) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), PartPrefix)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		if err = f.Chmod(perm); err == nil {
			err = f.Sync()
		}
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return SyncDir(filepath.Dir(path))
}

// MkdirAll makes a folder, and those above it that are missing, such that they are there after a crash.
func MkdirAll(path string, perm fs.FileMode) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	above := filepath.Dir(path)
	if above != path {
		if err := MkdirAll(above, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil {
		if info, serr := os.Stat(path); serr != nil || !info.IsDir() { // else somebody was faster
			return err
		}
	}
	return SyncDir(above)
}

// RemoveParts removes what a crash in [WriteFile] left in the folder dir. Nobody may write there meanwhile.
func RemoveParts(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), PartPrefix) && e.Type().IsRegular() {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	return err
}

// SyncDir makes the entries of a folder durable.
func SyncDir(path string) error {
	if runtime.GOOS == "windows" { // has no such thing
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// ErrLocked is what a [LockedError] is.
var ErrLocked = errors.New("another process has it locked")

// LockedError is returned when another owner has the lock.
type LockedError struct{ pid int }

func (e *LockedError) Error() string { return ErrLocked.Error() + e.Owner() }

// Is reports whether target is [ErrLocked].
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// Owner names the process that has the lock, as far as it told, as " (process N)"; otherwise it is empty.
func (e *LockedError) Owner() string {
	if e.pid == 0 {
		return ""
	}
	return fmt.Sprintf(" (process %d)", e.pid)
}

// Lock is the right to change what belongs to a file.
type Lock struct{ f *os.File }

// Acquire takes the lock of the file path, which is made with perm when it is missing. A lock that is taken is waited for as
// long as wait says, and then the error is a *[LockedError]; a negative wait has no end. The kernel gives the lock back when the process
// ends in any way. The file stays, and says who had it last.
func Acquire(ctx context.Context, path string, perm fs.FileMode, wait time.Duration) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, perm)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(wait)
	for {
		got, err := tryLock(f)
		if got {
			break
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
		}
		if wait >= 0 && !time.Now().Before(deadline) {
			return nil, errors.Join(&LockedError{owner(f)}, f.Close())
		}
		select {
		case <-ctx.Done():
			return nil, errors.Join(ctx.Err(), f.Close())
		case <-time.After(50 * time.Millisecond):
		}
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d\n", os.Getpid()) // a hint for the one who finds it locked
	}
	return &Lock{f}, nil
}

// owner is the process that has the lock, as far as it told, otherwise 0.
func owner(f *os.File) int {
	text := make([]byte, 64)
	n, _ := f.ReadAt(text, 0) // short or empty is as good as any
	pid := 0
	if _, err := fmt.Sscanf(string(text[:n]), "%d", &pid); err != nil {
		return 0
	}
	return pid
}

// Release gives the lock back.
func (l *Lock) Release() error {
	// Not by closing alone: a process that is being started may have a copy of the file for a moment.
	return errors.Join(unlock(l.f), l.f.Close())
}
