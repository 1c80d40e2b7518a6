// Package watch reads the files that appear in a folder and below it, by looking at it again and again: that works on every
// file system, those of other machines too.
//
// A file is read when it has not changed for Options.Settle. JSON Lines are read as they grow, up to the last whole line, and
// a last line without an end when it is whole JSON and has not changed for that time. A file that is renamed is not read
// again, nor is what was read of a file that grew; one that was written anew is read from its beginning. Names that begin
// with a dot or end in .tmp, .part or .partial are of files that are being written, and left alone.
//
// What is known of files and the ledger are written together: after a crash both are of the same moment, and what was read
// since then is read again.
package watch

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/source"
	"spoor/internal/source/archive"
	"spoor/internal/source/live"
)

// Options say which folder is read. Path is required; zero members are the defaults.
type Options struct {
	live.Options
	Path     string
	Interval time.Duration // default 1 min
	Settle   time.Duration // default 2 s, negative for none
	MaxTries int           // how often a file that is broken is tried before it goes to the dead letters. Default 5
	Archives archive.Limits
}

// Source reads a folder. It implements [live.Source].
type Source struct {
	*live.Core
	opts   Options
	opener *archive.Opener
	known  *state // changed by Update and Settle only, and by the goroutine that looks
}

// Open opens the source of a folder.
func Open(o Options) (*Source, error) {
	o.Kind = "folder"
	o.Interval = cmp.Or(o.Interval, time.Minute)
	o.Settle = max(cmp.Or(o.Settle, 2*time.Second), 0)
	o.MaxTries = cmp.Or(o.MaxTries, 5)
	core, err := live.Open(o.Options)
	if err != nil {
		return nil, err
	}
	o.Options = core.Options
	known, err := openState(o.Dir, core.Marks())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open source %s: %w", o.Name, err), core.Close())
	}
	core.Remember(known.save)
	return &Source{Core: core, opts: o, opener: archive.New(o.Archives), known: known}, nil
}

// Run implements [live.Source].
func (s *Source) Run(ctx context.Context) error {
	return s.Work(ctx, func(ctx context.Context) error {
		for {
			s.look(ctx)
			if live.Pause(ctx, s.opts.Interval) != nil {
				return nil
			}
		}
	})
}

// entry is a file as it lies there now.
type entry struct {
	path, id string
	size     int64
	time     int64
}

// look reads what is new.
func (s *Source) look(ctx context.Context) {
	entries, err := s.scan(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		s.Failed(fmt.Errorf("look into %s: %w", s.opts.Path, err))
	}
	s.Update(func() bool { return s.recognise(entries, err == nil) })

	jobs := make(chan entry)
	var workers sync.WaitGroup
	var mu sync.Mutex // guards waiting
	var waiting int64
	for range min(s.opts.Workers, len(entries)) {
		workers.Go(func() {
			for e := range jobs {
				s.Note(func(st *live.Stats) { st.InFlight++ })
				done := s.file(ctx, e)
				s.Note(func(st *live.Stats) { st.InFlight-- })
				if !done {
					mu.Lock()
					waiting++
					mu.Unlock()
				}
			}
		})
	}
	for _, e := range entries {
		if ctx.Err() != nil {
			break
		}
		if f := s.known.files[e.path]; f.Read == e.size && f.Size == e.size && f.Time == e.time {
			continue
		}
		jobs <- e
	}
	close(jobs)
	workers.Wait()
	s.Note(func(st *live.Stats) { st.Backlog = waiting })
	if err == nil && ctx.Err() == nil {
		s.Succeeded()
	}
}

// scan lists the files in the order of their names. With an error it lists those that it could.
func (s *Source) scan(ctx context.Context) ([]entry, error) {
	var out []entry
	var failed error
	err := filepath.WalkDir(s.opts.Path, func(path string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) && path != s.opts.Path {
				return nil // it has gone
			}
			failed = cmp.Or(failed, err)
			if d != nil && d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if path != s.opts.Path && unfinished(d.Name()) || source.SystemFile(filepath.ToSlash(path)) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		info, err := os.Stat(path) // links too, to files
		if err != nil || !info.Mode().IsRegular() {
			return nil
		}
		out = append(out, entry{path: path, id: fileID(info), size: info.Size(), time: info.ModTime().UnixNano()})
		return nil
	})
	return out, cmp.Or(failed, err)
}

// unfinished tells names of files that are being written.
func unfinished(name string) bool {
	for _, end := range [...]string{".tmp", ".part", ".partial"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return strings.HasPrefix(name, ".")
}

// recognise brings what is known in line with what is there: files that are new, were renamed or have gone. all says that
// entries are all files.
func (s *Source) recognise(entries []entry, all bool) (changed bool) {
	here := make(map[string]string, len(entries))
	for _, e := range entries {
		here[e.path] = e.id
	}
	lost := map[string]*file{} // by id: known files that have another name now, if any
	for path, f := range s.known.files {
		if id, ok := here[path]; (ok || all) && (!ok || id != f.ID) {
			delete(s.known.files, path)
			s.known.note(&file{Path: path, Gone: true})
			if f.ID != "" {
				lost[f.ID] = f
			}
			changed = true
		}
	}
	for _, e := range entries {
		if s.known.files[e.path] != nil {
			continue
		}
		f := &file{Path: e.path, ID: e.id, trial: &trial{}}
		if old := lost[e.id]; old != nil && e.id != "" {
			delete(lost, e.id)
			moved := *old
			moved.Path = e.path
			f = &moved
		}
		s.known.files[e.path] = f
		s.known.note(f)
		changed = true
	}
	return changed
}

// file reads what is new in a file. done says that nothing of it is left to be read.
func (s *Source) file(ctx context.Context, e entry) (done bool) {
	f := s.known.files[e.path]
	now := s.Now()
	t := f.trial
	if t.since.IsZero() || t.size != e.size || t.time != e.time {
		*t = trial{size: e.size, time: e.time, since: now}
		if changed := time.Unix(0, e.time); changed.Before(now) { // else clocks differ, and it is looked at twice
			t.since = changed
		}
	}
	settled := now.Sub(t.since) >= s.opts.Settle
	if now.Before(t.next) {
		return false
	}
	err := s.advance(ctx, f, e, settled)
	switch {
	case err == nil:
		t.tries = 0
		return f.Read == e.size
	case ctx.Err() != nil || errors.Is(err, fs.ErrNotExist):
		return false
	}
	s.Failed(fmt.Errorf("read %s: %w", e.path, err))
	s.Note(func(st *live.Stats) { st.Retries++ })
	t.next = now.Add(live.Backoff(s.opts.Interval, time.Hour, t.tries))
	return false
}

// advance reads on in a file, as far as it is whole.
func (s *Source) advance(ctx context.Context, f *file, e entry, settled bool) error {
	r, err := os.Open(e.path)
	if err != nil {
		return err
	}
	defer r.Close()
	from := f.Read
	if from > 0 {
		tail, err := tailOf(r, from)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if from > e.size || tail != f.Tail {
			from = 0 // written anew
		} else if from == e.size { // renamed, or touched
			s.Update(func() bool { f.Size, f.Time = e.size, e.time; s.known.note(f); return true })
			return nil
		}
	}
	lines, end, err := shape(r, e.path, from, e.size, settled)
	if err != nil {
		return err
	}
	if !lines {
		if !settled {
			return nil
		}
		from, end = 0, e.size
	}
	if from >= end {
		if e.size == 0 && settled && f.Time != e.time {
			obj := source.Object{Name: e.path, Place: source.ParseKey(filepath.ToSlash(e.path))}
			s.Skip(obj, source.SkipEmpty, func() { f.Size, f.Time, f.Read, f.Tail = 0, e.time, 0, ""; s.known.note(f) })
		}
		return nil
	}
	obj := source.Object{Name: e.path, Size: end - from, Modified: time.Unix(0, e.time), Place: source.ParseKey(filepath.ToSlash(e.path))}
	tail, err := tailOf(r, end)
	if err != nil {
		return err
	}
	return s.read(ctx, f, e, obj, r, from, end, lines, tail)
}

// read reads a stretch of a file and settles it.
func (s *Source) read(ctx context.Context, f *file, e entry, obj source.Object, r *os.File, from, end int64, lines bool, tail string) error {
	var got *live.Reading
	var err error
	if skip := s.Wanted(obj.Place); skip != "" {
		s.Skip(obj, skip, func() { s.advanceTo(f, e, end, tail) })
		return nil
	}
	if lines {
		got, err = s.ReadAt(ctx, obj, io.NewSectionReader(r, from, end-from), from)
	} else {
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			return err
		}
		got, err = s.From(ctx, &opened{s.opener, r}, obj)
	}
	if err != nil && !got.Else(err) {
		if ctx.Err() != nil || live.Passing(err) {
			return err
		}
		if f.trial.tries++; f.trial.tries < s.opts.MaxTries {
			return err
		}
		s.Failed(fmt.Errorf("read %s: %w", e.path, err))
		if err := s.Bury(live.Letter{Object: e.path, Reason: err.Error(), Attempts: f.trial.tries}); err != nil {
			return err
		}
	}
	s.Settle(got, err, func() { s.advanceTo(f, e, end, tail) })
	s.Note(func(st *live.Stats) { st.Lag = max(s.Now().Sub(obj.Modified), 0) })
	return nil
}

func (s *Source) advanceTo(f *file, e entry, end int64, tail string) {
	f.ID, f.Size, f.Time, f.Read, f.Tail = e.id, e.size, e.time, end, tail
	s.known.note(f)
}

// opened is an open file as a source.
type opened struct {
	opener *archive.Opener
	file   *os.File
}

func (*opened) List(context.Context, source.Selection, func(source.Object, string) error) error {
	return nil
}
func (*opened) Parallel() int { return 0 }
func (o *opened) Open(ctx context.Context, obj source.Object, read func(source.Object, io.Reader) error) error {
	return o.opener.Read(ctx, obj, o.file, read)
}

const (
	tailSize = 1 << 10
	lineMax  = 32 << 20 // a longer line is none
)

// tailOf is a hash of the end of the first n bytes.
func tailOf(r io.ReaderAt, n int64) (string, error) {
	buf := make([]byte, min(n, tailSize))
	if _, err := r.ReadAt(buf, n-int64(len(buf))); err != nil {
		return "", err
	}
	sum := sha256.Sum256(buf)
	return hex.EncodeToString(sum[:8]), nil
}

// shape says whether a file holds JSON Lines, and if so where its last whole line ends. Compressed files and documents of
// several lines are none: their lines are not JSON objects.
func shape(r io.ReaderAt, name string, from, size int64, settled bool) (lines bool, end int64, err error) {
	first, err := line(r, 0, size)
	if err != nil {
		return false, 0, err
	}
	if len(first) == 0 || first[0] != '{' || !json.Valid(first) && !linesName(name) {
		return false, 0, nil
	}
	if end, err = lastLine(r, from, size); err != nil {
		return false, 0, err
	}
	if end < size && settled && size-end <= lineMax { // whole, though nothing ends it
		rest := make([]byte, size-end)
		if _, err := r.ReadAt(rest, end); err != nil {
			return false, 0, err
		}
		if json.Valid(rest) {
			end = size
		}
	}
	return true, end, nil
}

// linesName tells names that promise JSON Lines: their first line may still be unfinished.
func linesName(name string) bool {
	ext := strings.ToLower(filepath.Ext(name))
	return ext == ".jsonl" || ext == ".ndjson"
}

// line is the line at an offset, as much as there is of it, nil when it is longer than lineMax.
func line(r io.ReaderAt, at, size int64) ([]byte, error) {
	var out []byte
	chunk := make([]byte, 64<<10)
	for at < size && len(out) < lineMax {
		n, err := r.ReadAt(chunk[:min(int64(len(chunk)), size-at)], at)
		if i := bytes.IndexByte(chunk[:n], '\n'); i >= 0 {
			return append(out, chunk[:i]...), nil
		}
		out = append(out, chunk[:n]...)
		if len(out) > 0 && out[0] != '{' {
			return out[:1], nil // no need to read on
		}
		if err != nil {
			return nil, err
		}
		at += int64(n)
	}
	if len(out) >= lineMax {
		return nil, nil
	}
	return out, nil
}

// lastLine is where the last line that ends between from and size does, or from.
func lastLine(r io.ReaderAt, from, size int64) (int64, error) {
	chunk := make([]byte, 64<<10)
	for at := size; at > from; {
		n := min(int64(len(chunk)), at-from)
		if _, err := r.ReadAt(chunk[:n], at-n); err != nil {
			return 0, err
		}
		if i := bytes.LastIndexByte(chunk[:n], '\n'); i >= 0 {
			return at - n + int64(i) + 1, nil
		}
		at -= n
	}
	return from, nil
}

// Replay implements [live.Source].
func (s *Source) Replay(ctx context.Context, letter string) error {
	l, err := s.Letter(letter)
	if err != nil {
		return err
	}
	r, err := os.Open(l.Object)
	if err != nil {
		return fmt.Errorf("replay %s: %w", letter, err)
	}
	defer r.Close()
	obj := source.Object{Name: l.Object, Size: -1, Place: source.ParseKey(filepath.ToSlash(l.Object))}
	got, err := s.From(ctx, &opened{s.opener, r}, obj)
	if err != nil {
		return fmt.Errorf("replay %s: %w", letter, err)
	}
	got.Note(live.Replayed)
	s.Settle(got, nil, nil)
	return s.Discard(letter)
}

// Files are the files that are known, in order, for tests and people.
func (s *Source) Files() []string {
	var out []string
	s.Update(func() bool {
		for path := range s.known.files {
			out = append(out, path)
		}
		return false
	})
	slices.Sort(out)
	return out
}

var _ live.Source = (*Source)(nil)
