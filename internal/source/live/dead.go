package live

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/durable"
)

// Letter is something that was given up: an object, or a message with everything that it names.
type Letter struct {
	ID       string    `json:"id"`
	Object   string    `json:"object"`            // name of the object, or id of the message
	Message  string    `json:"message,omitempty"` // as it came, when it was a message
	Reason   string    `json:"reason"`
	Attempts int       `json:"attempts"`
	At       time.Time `json:"at"`
}

// ErrDeadFull is returned for a letter beyond Options.DeadMax.
var ErrDeadFull = errors.New("there are too many dead letters")

// ErrNoLetter is returned for a letter that is not there.
var ErrNoLetter = errors.New("no such dead letter")

const (
	letterSuffix  = ".json"
	letterMessage = 1 << 20 // bytes of a message; queues take less
)

// letters is a folder of letters, a file each, named by what they are about: the same one is kept once.
type letters struct {
	mu  sync.Mutex // guards what follows, and changes of the folder
	dir string
	max int
	n   int64
}

func (d *letters) open(dir string, most int) error {
	d.dir, d.max = dir, most
	ids, err := d.ids()
	d.n = int64(len(ids))
	return err
}

func (d *letters) count() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

func (d *letters) ids() ([]string, error) {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return nil, fmt.Errorf("list dead letters: %w", err)
	}
	var ids []string
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), letterSuffix); ok && validID(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// validID keeps ids that a caller gives from being paths.
func validID(id string) bool {
	if len(id) != 32 {
		return false
	}
	_, err := hex.DecodeString(id)
	return err == nil && id == strings.ToLower(id)
}

func (d *letters) path(id string) string { return filepath.Join(d.dir, id+letterSuffix) }

func (d *letters) add(l Letter) (string, error) {
	if len(l.Message) > letterMessage {
		return "", fmt.Errorf("the message has %d bytes, the most that is kept is %d", len(l.Message), letterMessage)
	}
	l.Object, l.Reason = strings.ToValidUTF8(l.Object, "\uFFFD"), short(errors.New(l.Reason))
	sum := sha256.Sum256([]byte(l.Object + "\x00" + l.Message))
	l.ID = hex.EncodeToString(sum[:16])
	text, err := json.Marshal(l)
	if err != nil {
		return "", err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	_, err = os.Stat(d.path(l.ID))
	isNew := errors.Is(err, fs.ErrNotExist)
	if isNew && d.n >= int64(d.max) {
		return "", ErrDeadFull
	}
	if err := durable.WriteFile(d.path(l.ID), text, 0o600); err != nil {
		return "", err
	}
	if isNew {
		d.n++
	}
	return l.ID, nil
}

func (d *letters) get(id string) (Letter, error) {
	var l Letter
	if !validID(id) {
		return l, ErrNoLetter
	}
	text, err := os.ReadFile(d.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return l, ErrNoLetter
	}
	if err != nil {
		return l, fmt.Errorf("read a dead letter: %w", err)
	}
	if err := json.Unmarshal(text, &l); err != nil {
		return l, fmt.Errorf("read %s: %w", d.path(id), err)
	}
	l.ID = id
	return l, nil
}

func (d *letters) list(after string, limit int) ([]Letter, error) {
	ids, err := d.ids()
	if err != nil {
		return nil, err
	}
	var out []Letter
	for _, id := range ids {
		if id <= after {
			continue
		}
		if len(out) >= limit {
			break
		}
		l, err := d.get(id)
		if errors.Is(err, ErrNoLetter) {
			continue // removed meanwhile
		}
		if err != nil {
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

func (d *letters) remove(id string) error {
	if !validID(id) {
		return ErrNoLetter
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	err := os.Remove(d.path(id))
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNoLetter
	}
	if err != nil {
		return fmt.Errorf("remove a dead letter: %w", err)
	}
	d.n--
	return durable.SyncDir(d.dir)
}
