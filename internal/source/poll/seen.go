package poll

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"spoor/internal/durable"
)

// id is the identity of an object: a hash of its key and of what tells its content.
type id [16]byte

// seen is the set of settled objects: files of ids, each file for the objects of a day of delivery, of which those that are
// asked for lie in memory too. Files only grow. What counts of a file is its mark, which is durable together with the ledger:
// bytes behind it are of a moment that never was.
type seen struct {
	dir string
	max int // ids in memory, beyond which parts that are not used leave it

	mu     sync.Mutex // guards what follows
	marks  map[string]int64
	shards map[string]*shard
	loaded int
	turn   int64
}

// shard is a file in memory.
type shard struct {
	old     []id // sorted
	fresh   map[id]struct{}
	unsaved []id // of fresh
	used    int64
}

func openSeen(dir string, marks map[string]int64, most int) (*seen, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &seen{dir: dir, max: most, marks: maps.Clone(marks), shards: map[string]*shard{}}
	if s.marks == nil {
		s.marks = map[string]int64{}
	}
	return s, nil
}

func (s *seen) path(name string) string { return filepath.Join(s.dir, name) }

// shard returns a shard, read from its file when it is not in memory; s.mu is held.
func (s *seen) shard(name string) (*shard, error) {
	s.turn++
	if sh := s.shards[name]; sh != nil {
		sh.used = s.turn
		return sh, nil
	}
	sh := &shard{fresh: map[id]struct{}{}, used: s.turn}
	if n := s.marks[name]; n > 0 {
		f, err := os.Open(s.path(name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("read settled objects: %w", err)
		}
		if err == nil { // what is missing is read again
			defer f.Close()
			text := make([]byte, n)
			got, err := io.ReadFull(f, text)
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return nil, fmt.Errorf("read settled objects: %w", err)
			}
			sh.old = make([]id, got/len(id{}))
			for i := range sh.old {
				copy(sh.old[i][:], text[i*len(id{}):])
			}
			slices.SortFunc(sh.old, compare)
		}
	}
	s.loaded += len(sh.old)
	s.shards[name] = sh
	for s.loaded > s.max && s.evict(name) {
	}
	return sh, nil
}

// evict lets the shard that was not used for the longest time leave memory, but not keep.
func (s *seen) evict(keep string) bool {
	oldest := ""
	for name, sh := range s.shards {
		if name != keep && len(sh.unsaved) == 0 && (oldest == "" || sh.used < s.shards[oldest].used) {
			oldest = name
		}
	}
	if oldest == "" {
		return false
	}
	s.loaded -= len(s.shards[oldest].old) + len(s.shards[oldest].fresh)
	delete(s.shards, oldest)
	return true
}

func compare(a, b id) int { return bytes.Compare(a[:], b[:]) }

func (s *seen) has(name string, i id) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh, err := s.shard(name)
	if err != nil {
		return false, err
	}
	if _, ok := sh.fresh[i]; ok {
		return true, nil
	}
	_, ok := slices.BinarySearchFunc(sh.old, i, compare)
	return ok, nil
}

// add settles an object. What it cannot find out about is added all the same.
func (s *seen) add(name string, i id) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sh, err := s.shard(name)
	if err != nil {
		sh = &shard{fresh: map[id]struct{}{}, used: s.turn}
		s.shards[name] = sh
	}
	if _, ok := sh.fresh[i]; ok {
		return
	}
	sh.fresh[i] = struct{}{}
	sh.unsaved = append(sh.unsaved, i)
	s.loaded++
}

// save makes what was added durable, and returns the marks.
func (s *seen) save() (map[string]int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	made := false
	for name, sh := range s.shards {
		if len(sh.unsaved) == 0 {
			continue
		}
		made = made || s.marks[name] == 0
		if err := s.write(name, sh); err != nil {
			return nil, fmt.Errorf("keep settled objects: %w", err)
		}
		if len(sh.fresh) > 4096 {
			for i := range sh.fresh {
				sh.old = append(sh.old, i)
			}
			slices.SortFunc(sh.old, compare)
			sh.fresh = map[id]struct{}{}
		}
	}
	if made {
		if err := durable.SyncDir(s.dir); err != nil {
			return nil, fmt.Errorf("keep settled objects: %w", err)
		}
	}
	for s.loaded > s.max && s.evict("") {
	}
	return maps.Clone(s.marks), nil
}

func (s *seen) write(name string, sh *shard) (err error) {
	f, err := os.OpenFile(s.path(name), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	at := s.marks[name]
	if info, err := f.Stat(); err != nil {
		return err
	} else if info.Size() < at { // damaged: what is there stays
		at = info.Size() / int64(len(id{})) * int64(len(id{}))
	}
	text := make([]byte, 0, len(sh.unsaved)*len(id{}))
	for _, i := range sh.unsaved {
		text = append(text, i[:]...)
	}
	if _, err := f.WriteAt(text, at); err != nil {
		return err
	}
	if err := f.Truncate(at + int64(len(text))); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	s.marks[name] = at + int64(len(text))
	sh.unsaved = sh.unsaved[:0]
	return nil
}
