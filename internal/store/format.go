package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"spoor/internal/durable"
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

// lock takes the right to write to the store in dir. A lock that is taken is waited for as long as wait says; a negative
// wait has no end.
func lock(ctx context.Context, dir string, wait time.Duration) (*durable.Lock, error) {
	l, err := durable.Acquire(ctx, filepath.Join(dir, lockName), 0o644, wait)
	var locked *durable.LockedError
	switch {
	case errors.As(err, &locked):
		return nil, fmt.Errorf("%s: %w%s", dir, ErrLocked, locked.Owner())
	case err != nil:
		return nil, fmt.Errorf("lock the store: %w", err)
	}
	return l, nil
}
