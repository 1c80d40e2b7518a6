package keyring

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"spoor/internal/seal"
	"spoor/internal/statefile"
)

// Reader opens what keys of a ring wrapped, while another process may have the ring: it locks and writes nothing. Whoever may read
// the folder may do that; policies are not asked. Its methods may be called concurrently.
type Reader struct {
	dir string
	o   Options

	mu   sync.Mutex // guards what follows
	ring *Ring
	file os.FileInfo // that the ring was read from
}

// OpenReadOnly opens the ring in a folder for reading. Of the options Partition, Master, External and Now are used. The error is
// [os.ErrNotExist] where there is no ring, and [ErrMaster] where the master key is missing or another one.
func OpenReadOnly(dir string, o Options) (*Reader, error) {
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Log = slog.New(slog.DiscardHandler)
	r := &Reader{dir: dir, o: o}
	return r, r.read()
}

// read reads the state anew. The caller has mu, or the only reader.
func (r *Reader) read() error {
	for again := 0; ; again++ {
		info, err := os.Stat(filepath.Join(r.dir, StateFile))
		if err != nil {
			return fmt.Errorf("open the key ring for reading: %w", err)
		}
		ring := &Ring{o: r.o, dir: r.dir, keys: map[string]*seal.Key{}, look: true}
		ring.state, err = statefile.Look(r.dir, ring.stateOptions())
		if errors.Is(err, ErrMaster) && again < 2 {
			continue // the master key may have been replaced between the reading of state and key
		}
		if err != nil {
			return err
		}
		r.ring, r.file = ring, info
		return nil
	}
}

// Unwrap is [Ring.Unwrap]. A key or a material that was made since the state was read is found too.
func (r *Reader) Unwrap(ctx context.Context, wrapped []byte, encryptionContext map[string]string) (DataKey, error) {
	r.mu.Lock()
	ring := r.ring
	r.mu.Unlock()
	key, err := ring.Unwrap(ctx, wrapped, encryptionContext)
	if err == nil || !r.stale(ring) {
		return key, err
	}
	r.mu.Lock()
	ring = r.ring
	r.mu.Unlock()
	return ring.Unwrap(ctx, wrapped, encryptionContext)
}

// stale reads the state again when it is another one than that of a ring, and reports whether there is another ring now.
func (r *Reader) stale(ring *Ring) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ring != ring {
		return true
	}
	info, err := os.Stat(filepath.Join(r.dir, StateFile))
	if err != nil || os.SameFile(info, r.file) && info.ModTime().Equal(r.file.ModTime()) && info.Size() == r.file.Size() {
		return false
	}
	return r.read() == nil
}

// GenerateDataKey is refused: nothing new is sealed by who only reads.
func (r *Reader) GenerateDataKey(context.Context, string, map[string]string) (DataKey, error) {
	return DataKey{}, fmt.Errorf("make a data key: %w: it was opened for reading", ErrClosed)
}
