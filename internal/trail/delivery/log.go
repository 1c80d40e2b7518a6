package delivery

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"

	"spoor/internal/durable"
)

const (
	logFormat  = "spoor-trail-log"
	logVersion = 2 // 1 had no backfill digests
	sumLen     = 8
	// A log is written anew when it has this size, and is so many times as large as its first line.
	compactBytes = 4 << 20
	compactRatio = 4
)

// trailLog is the log of a trail: its first line is a state, each further one a list of entries that were made durable
// together. A line is a CRC-32C in hexadecimal, a space, and JSON.
type trailLog struct {
	path string
	f    *os.File
	size int64 // what is durable
	base int64 // of the first line
	torn bool  // something may be behind size
}

// snapshot is the first line of a log.
type snapshot struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	State   *state `json:"state"`
}

// logName is the name of a trail's log.
func logName(arn string) string {
	sum := sha256.Sum256([]byte(arn))
	return hex.EncodeToString(sum[:16]) + ".log"
}

func line(v any) ([]byte, error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil { // ends with a newline
		return nil, err
	}
	return append(fmt.Appendf(nil, "%08x ", crc32.Checksum(text.Bytes(), castagnoli())), text.Bytes()...), nil
}

// unline gives the JSON of a line without its newline.
func unline(b []byte) ([]byte, bool) {
	if len(b) < sumLen+2 || b[sumLen] != ' ' {
		return nil, false
	}
	text := b[sumLen+1:]
	sum := crc32.Update(crc32.Checksum(text, castagnoli()), castagnoli(), []byte{'\n'})
	return text, fmt.Sprintf("%08x", sum) == string(b[:sumLen])
}

// replay reads a log. size is up to where it is whole: the last line may have been cut off by a crash.
func replay(b []byte) (st *state, version int, base, size int64, err error) {
	for rest := b; len(rest) > 0; {
		text, after, whole := bytes.Cut(rest, []byte{'\n'})
		text, good := unline(text)
		if !whole || !good {
			if st != nil && len(after) == 0 {
				break // was never durable
			}
			return nil, 0, 0, 0, fmt.Errorf("%w: the line at byte %d is not what was written", ErrDamaged, size)
		}
		if st == nil {
			doc := durable.Document{What: "the log of a trail", Format: logFormat, Version: logVersion, Damaged: ErrDamaged, Newer: ErrNewer}
			first := snapshot{State: newState("")}
			if err := doc.Decode(text, &first); err != nil {
				return nil, 0, 0, 0, err
			}
			st, version = first.State, first.Version
			if st == nil || first.Version < 1 {
				return nil, 0, 0, 0, fmt.Errorf("%w: it has no state", ErrDamaged)
			}
			st.index()
		} else {
			var list []entry
			dec := json.NewDecoder(bytes.NewReader(text))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&list); err != nil {
				return nil, 0, 0, 0, fmt.Errorf("%w: the line at byte %d: %w", ErrDamaged, size, err)
			}
			for i := range list {
				if err := st.apply(&list[i]); err != nil {
					return nil, 0, 0, 0, fmt.Errorf("%w: the line at byte %d: %w", ErrDamaged, size, err)
				}
			}
		}
		size += int64(len(rest) - len(after))
		if base == 0 {
			base = size
		}
		rest = after
	}
	if st == nil {
		return nil, 0, 0, 0, fmt.Errorf("%w: it is empty", ErrDamaged)
	}
	if err := st.check(); err != nil {
		return nil, 0, 0, 0, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return st, version, base, size, nil
}

// openLog opens a log that is there. One of an older version is written anew before anything is appended to it, so that older
// programs know that it is not for them.
func openLog(path string) (_ *trailLog, st *state, err error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, err
	}
	l := &trailLog{path: path, f: f}
	version := 0
	b, err := io.ReadAll(f)
	if err == nil {
		st, version, l.base, l.size, err = replay(b)
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("read the log of a trail %s: %w", path, err), f.Close())
	}
	if want := logName(st.Trail); want != filepath.Base(path) {
		return nil, nil, errors.Join(fmt.Errorf("%w: %s is the log of %s, which has the name %s", ErrDamaged, path, st.Trail, want), f.Close())
	}
	l.torn = l.size != int64(len(b))
	if version == logVersion {
		return l, st, nil
	}
	anew, err := newLog(filepath.Dir(path), st)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, nil, fmt.Errorf("write the log of a trail %s anew: %w", path, err)
	}
	return anew, st, nil
}

// newLog makes, or replaces, a log that begins with a state.
func newLog(dir string, st *state) (*trailLog, error) {
	b, err := line(snapshot{logFormat, logVersion, st})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, logName(st.Trail))
	if err := durable.WriteFile(path, b, 0o600); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	return &trailLog{path: path, f: f, size: int64(len(b)), base: int64(len(b))}, nil
}

// append makes entries durable, all or none.
func (l *trailLog) append(list []entry) error {
	b, err := line(list)
	if err != nil {
		return err
	}
	if l.torn {
		if err := l.f.Truncate(l.size); err != nil {
			return err
		}
	}
	l.torn = true
	if _, err := l.f.WriteAt(b, l.size); err != nil {
		return err
	}
	if err := l.f.Sync(); err != nil {
		return err
	}
	l.torn = false
	l.size += int64(len(b))
	return nil
}

// long says that the log should be written anew.
func (l *trailLog) long(from int64) bool { return l.size > from && l.size > compactRatio*l.base }

func (l *trailLog) close() error {
	if l == nil {
		return nil
	}
	return l.f.Close()
}
