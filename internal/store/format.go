package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Names in a store's folder.
const (
	formatName = "spoor-store.json"
	lockName   = "lock"
	dataDir    = "data"
	indexDir   = "index"
	stateDir   = "state"
)

// FormatVersion is the version of the folder that this package writes. It reads this and older ones.
const FormatVersion = 1

// Errors that [Open] and [Create] wrap.
var (
	ErrNoStore  = errors.New("not a store")
	ErrNewer    = errors.New("written by a newer version of Spoor")
	ErrLocked   = errors.New("another process is writing to the store")
	ErrReadOnly = errors.New("the store is open for reading only")
)

// formatFile is spoor-store.json.
type formatFile struct {
	Format  string    `json:"format"` // spoor-store
	Version int       `json:"version"`
	Created time.Time `json:"created"`
}

// readFormat tells whether dir is a store that this version can read.
func readFormat(dir string) (formatFile, error) {
	var f formatFile
	b, err := os.ReadFile(filepath.Join(dir, formatName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return f, fmt.Errorf("%s: %w: there is no %s in it", dir, ErrNoStore, formatName)
	case err != nil:
		return f, fmt.Errorf("open store: %w", err)
	}
	if err := json.Unmarshal(b, &f); err != nil || f.Format != "spoor-store" || f.Version < 1 {
		return f, fmt.Errorf("%s: %w: %s is not readable", dir, ErrNoStore, formatName)
	}
	if f.Version > FormatVersion {
		return f, fmt.Errorf("%s: %w: the store has format version %d, this program knows up to %d", dir, ErrNewer, f.Version, FormatVersion)
	}
	return f, nil
}

// lockFile is the right to write to a store.
type lockFile struct{ f *os.File }

// lock takes the lock of dir. A lock that is taken is waited for as long as wait says; a negative wait has no end.
func lock(ctx context.Context, dir string, wait time.Duration) (*lockFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the store: %w", err)
	}
	deadline := time.Now().Add(wait)
	for {
		got, err := tryLock(f)
		if got {
			break
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("lock the store: %w", err), f.Close())
		}
		if wait >= 0 && !time.Now().Before(deadline) {
			owner := make([]byte, 64)
			n, _ := f.ReadAt(owner, 0) // what the owner wrote about itself is a hint
			who := ""
			if pid := 0; n > 0 {
				if _, err := fmt.Sscanf(string(owner[:n]), "%d", &pid); err == nil {
					who = fmt.Sprintf(" (process %d)", pid)
				}
			}
			return nil, errors.Join(fmt.Errorf("%s: %w%s", dir, ErrLocked, who), f.Close())
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
	return &lockFile{f}, nil
}

// release gives the lock back; the kernel does so too when the process ends in any way.
func (l *lockFile) release() error {
	// Not by closing alone: a process that is being started may have a copy of the file for a moment.
	return errors.Join(unlock(l.f), l.f.Close())
}

// writeFile writes and syncs a file that appears whole or not at all.
func writeFile(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".part-")
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		if err = f.Chmod(0o644); err == nil {
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
	return syncDir(filepath.Dir(path))
}

// syncDir makes the entries of a folder durable.
func syncDir(path string) error {
	if runtime.GOOS == "windows" { // has no such thing
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
