package watch

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"spoor/internal/durable"
)

// file is what is known of a file.
type file struct {
	Path string `json:"path"`
	ID   string `json:"id,omitempty"`   // whatever its name is
	Size int64  `json:"size,omitempty"` // when it was last settled
	Time int64  `json:"time,omitempty"` // and its modification, Unix nanoseconds
	Read int64  `json:"read,omitempty"` // bytes that are settled
	Tail string `json:"tail,omitempty"` // hash of what lies before Read
	Gone bool   `json:"gone,omitempty"` // the file is no more, or has another name

	trial *trial // of the goroutine that reads it; not kept
}

// trial is what is known of a file while the process lives.
type trial struct {
	size  int64 // as last looked at, since when it has not changed
	time  int64
	since time.Time
	tries int
	next  time.Time // before which it is not tried again
}

// state is the files that are known, and a log of their changes, which is written anew when it is mostly of the past. What
// counts of the log are the bytes up to a mark, which is durable together with the ledger.
type state struct {
	dir     string
	files   map[string]*file
	changed []file
	log     int64 // number of the file of the log
	length  int64 // of it
	entries int64 // in it
}

const (
	markLog    = "log"
	markLength = "length"
	logPrefix  = "files-"
)

func (s *state) path(n int64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s%d.jsonl", logPrefix, n))
}

func openState(dir string, marks map[string]int64) (*state, error) {
	s := &state{dir: dir, files: map[string]*file{}, log: marks[markLog], length: marks[markLength]}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries { // of a change of logs that did not come to its end, or that did
		if name := filepath.Join(dir, e.Name()); strings.HasPrefix(e.Name(), logPrefix) && (s.length == 0 || name != s.path(s.log)) {
			if err := os.Remove(name); err != nil {
				return nil, err
			}
		}
	}
	if s.length == 0 {
		return s, nil
	}
	text, err := os.ReadFile(s.path(s.log))
	if errors.Is(err, fs.ErrNotExist) {
		s.length = 0
		return s, nil // read again
	}
	if err != nil {
		return nil, err
	}
	lines := bufio.NewReader(bytes.NewReader(text[:min(int64(len(text)), s.length)]))
	for {
		line, err := lines.ReadBytes('\n')
		if err == io.EOF {
			return s, nil
		}
		var f file
		if err := json.Unmarshal(line, &f); err != nil {
			return nil, fmt.Errorf("read %s: %w", s.path(s.log), err)
		}
		s.entries++
		if f.Gone {
			delete(s.files, f.Path)
		} else {
			f.trial = &trial{}
			s.files[f.Path] = &f
		}
	}
}

// note keeps a change for the next save.
func (s *state) note(f *file) { s.changed = append(s.changed, *f) }

// save makes the changes durable.
func (s *state) save() (map[string]int64, error) {
	n, at := s.log, s.length
	write := s.changed
	anew := at == 0 || s.entries > 10_000 && s.entries > 4*int64(len(s.files))
	if anew {
		n, at = n+1, 0
		write = make([]file, 0, len(s.files))
		for _, f := range s.files {
			write = append(write, *f)
		}
	}
	if len(write) > 0 || anew {
		length, err := s.append(n, at, write)
		if err != nil {
			return nil, fmt.Errorf("keep what is known of files: %w", err)
		}
		if anew {
			if err := durable.SyncDir(s.dir); err != nil {
				return nil, fmt.Errorf("keep what is known of files: %w", err)
			}
			s.entries = 0
		}
		s.log, s.length, s.entries, s.changed = n, length, s.entries+int64(len(write)), nil
	}
	return map[string]int64{markLog: s.log, markLength: s.length}, nil
}

// append writes behind at, and returns where it ends.
func (s *state) append(n, at int64, files []file) (_ int64, err error) {
	var text bytes.Buffer
	for _, f := range files {
		line, err := json.Marshal(f)
		if err != nil {
			return 0, err
		}
		text.Write(append(line, '\n'))
	}
	if at == 0 && text.Len() == 0 {
		return 0, nil
	}
	f, err := os.OpenFile(s.path(n), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.WriteAt(text.Bytes(), at); err != nil {
		return 0, err
	}
	if err := f.Truncate(at + int64(text.Len())); err != nil {
		return 0, err
	}
	return at + int64(text.Len()), f.Sync()
}
