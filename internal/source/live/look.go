package live

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"spoor/internal/ledger"
)

// Replayed is the note in a ledger for each dead letter that was replayed: the object counts as failed, from before, and as
// read. A message that named several objects which failed is one letter.
const Replayed = "replayed after it was given up"

// Folder is what a source left in its folder. It can be looked at without the source's lock, while the source runs too: it is
// then as old as the last checkpoint.
type Folder struct{ dir string }

// Folders finds the folders of sources in a folder, by name. One that is not there has none.
func Folders(dir string) (map[string]Folder, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("look for sources: %w", err)
	}
	out := map[string]Folder{}
	for _, e := range entries {
		if e.IsDir() {
			out[e.Name()] = Folder{filepath.Join(dir, e.Name())}
		}
	}
	return out, nil
}

// Ledger is that of [Source], and the time of the last checkpoint; zero when there was none.
func (f Folder) Ledger(since time.Time) (r *ledger.Report, at time.Time, err error) {
	b := book{dir: f.dir}
	if r, err = b.report(since, "a", ledger.Merge()); err != nil { // every day stands before a letter
		return nil, at, err
	}
	days, err := b.days()
	if err != nil || len(days) == 0 {
		return r, at, err
	}
	info, err := os.Stat(b.path(slices.Max(days)))
	if err != nil {
		return nil, at, fmt.Errorf("read ledger: %w", err)
	}
	return r, info.ModTime(), nil
}

// Dead is that of [Source].
func (f Folder) Dead(after string, limit int) ([]Letter, error) {
	l, err := (&letters{dir: filepath.Join(f.dir, "dead")}).list(after, limit)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return l, err
}
