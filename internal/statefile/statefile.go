// Package statefile keeps the state of a part of the service in one file of a folder, which one process has at a time. Changes
// are durable before anybody sees them, and come with a way back ([Undo]), for callers who find out afterwards that they must
// not have been.
package statefile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/durable"
)

const (
	// Name is the name of the file, and LockName of the one that is locked beside it.
	Name     = "state.json"
	LockName = "lock"

	maxUndo = 256 // changes that can be taken back
)

// Undo takes a change back, as if it had never been: changes after it are made again without it. It holds in memory at once
// also when it cannot be written; then the error says so, and it is written with the next change or by [File.Close].
type Undo func() error

// Options of [Open]. All members but Wait and Log are needed.
type Options[S any] struct {
	What           string // in errors and the log, such as "the lake"
	Document       durable.Document
	Decode         func([]byte) (*S, error) // with Document.Decode, and checks what came of it
	New            func() *S                // the state of a new folder
	Clone          func(*S) *S              // copies what changes change
	Check          func(*S) error           // holds what every state has in common
	Encode         func(*S) ([]byte, error) // the content of the file
	Locked, Closed error                    // wrapped by Open when another process has the folder, and returned by changes after Close
	Wait           time.Duration            // how long a lock is waited for that another process has
	Log            *slog.Logger
}

// File is an open state. Its methods may be called concurrently.
type File[S any] struct {
	dir  string
	o    Options[S]
	snap atomic.Pointer[S] // replaced under mu, never changed

	mu    sync.Mutex    // guards what follows, and the file
	lock  *durable.Lock // nil when closed
	dirty bool          // the file lacks a change that was taken back
	done  []change[S]   // the last changes, oldest first
	next  uint64        // number of the next change
}

// change is a change of the state, which can be made again on another one.
type change[S any] struct {
	number uint64
	before *S
	make   func(*S) error
}

// Open opens the state in a folder, which is made when it is missing and locked until [File.Close].
func Open[S any](ctx context.Context, dir string, o Options[S]) (_ *File[S], err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	f := &File[S]{dir: dir, o: o}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.What, err)
	}
	f.lock, err = durable.Acquire(ctx, filepath.Join(dir, LockName), 0o600, o.Wait)
	if errors.Is(err, durable.ErrLocked) {
		return nil, fmt.Errorf("open %s in %s: %w: %w", o.What, dir, o.Locked, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", o.What, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.lock.Release())
		}
	}()
	if err := durable.RemoveParts(dir); err != nil {
		return nil, fmt.Errorf("open %s: %w", o.What, err)
	}
	s, err := read(dir, o)
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = o.New()
		if err := f.write(s); err != nil {
			return nil, err
		}
	}
	f.snap.Store(s)
	return f, nil
}

// Look reads the state in a folder as it is, whole, without its lock: another process may have it. Changes of it are refused, as after
// Close. Of the options, those of a lock are not needed. The error is [fs.ErrNotExist] where there is no state.
func Look[S any](dir string, o Options[S]) (*File[S], error) {
	s, err := read(dir, o)
	if err == nil && s == nil {
		err = fmt.Errorf("%s: there is none in %s: %w", o.What, dir, fs.ErrNotExist)
	}
	if err != nil {
		return nil, err
	}
	f := &File[S]{dir: dir, o: o}
	f.snap.Store(s)
	return f, nil
}

// read reads the file of a state; nil when there is none. The file is replaced as a whole, so that one is never read in part.
func read[S any](dir string, o Options[S]) (s *S, err error) {
	_, err = o.Document.Read(filepath.Join(dir, Name), func(b []byte) (err error) {
		s, err = o.Decode(b)
		return err
	})
	return s, err
}

// Get is the state as it is now. It must not be changed.
func (f *File[S]) Get() *S { return f.snap.Load() }

// Close writes what is not written yet, or what stale says that it is, and gives the folder back. stale may be nil.
func (f *File[S]) Close(stale func(*S) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lock == nil {
		return nil
	}
	var err error
	if s := f.snap.Load(); f.dirty || stale != nil && stale(s) {
		err = f.write(s)
	}
	lock := f.lock
	f.lock = nil
	return errors.Join(err, lock.Release())
}

// write makes a state durable.
func (f *File[S]) write(s *S) error {
	b, err := f.o.Encode(s)
	if err == nil {
		err = durable.WriteFile(filepath.Join(f.dir, Name), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the state of %s: %w", f.o.What, err)
	}
	return nil
}

// Change applies fn to a copy of the state and makes it durable before anybody sees it. fn may be called again, on other
// states, and must do the same then. Its error is returned as it is, and changes nothing.
func (f *File[S]) Change(fn func(*S) error) (Undo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lock == nil {
		return nil, f.o.Closed
	}
	before := f.snap.Load()
	s := f.o.Clone(before)
	if err := fn(s); err != nil {
		return nil, err
	}
	if err := f.keep(s); err != nil {
		return nil, err
	}
	number := f.next
	f.next++
	if f.done = append(f.done, change[S]{number, before, fn}); len(f.done) > maxUndo {
		f.done = slices.Delete(f.done, 0, 1)
	}
	return func() error { return f.undo(number) }, nil
}

// keep makes a state durable, and then the one that is seen.
func (f *File[S]) keep(s *S) error {
	if err := f.o.Check(s); err != nil {
		return fmt.Errorf("change %s: %w", f.o.What, err)
	}
	if err := f.write(s); err != nil {
		return err
	}
	f.dirty = false
	f.snap.Store(s)
	return nil
}

// Amend is a change that has no way back, and that stays whatever is taken back: fn is applied to the state, and to all that it
// may go back to. fn reports whether it changed anything, and cannot fail.
func (f *File[S]) Amend(fn func(*S) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lock == nil {
		return f.o.Closed
	}
	s := f.o.Clone(f.snap.Load())
	if fn(s) {
		if err := f.keep(s); err != nil {
			return err
		}
	}
	for i := range f.done {
		before := f.o.Clone(f.done[i].before)
		if fn(before) {
			f.done[i].before = before
		}
	}
	return nil
}

// undo takes a change back.
func (f *File[S]) undo(number uint64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := slices.IndexFunc(f.done, func(c change[S]) bool { return c.number == number })
	if at < 0 {
		err := fmt.Errorf("take back a change of %s: it was taken back already, or is too long ago", f.o.What)
		f.o.Log.Error(err.Error())
		return err
	}
	s := f.done[at].before
	f.done = slices.Delete(f.done, at, at+1)
	for i := at; i < len(f.done); {
		after := f.o.Clone(s)
		if err := f.done[i].make(after); err != nil { // it stood on what never was
			f.o.Log.Error("a change of "+f.o.What+" went with another one that was taken back", slog.Any("error", err))
			f.done = slices.Delete(f.done, i, i+1)
			continue
		}
		f.done[i].before = s
		s, i = after, i+1
	}
	f.snap.Store(s)
	f.dirty = true
	if f.lock == nil {
		f.o.Log.Error("a change of " + f.o.What + " was taken back, but not on disk: it is closed")
		return f.o.Closed
	}
	if err := f.write(s); err != nil {
		f.o.Log.Error("a change of "+f.o.What+" was taken back, but not on disk yet", slog.Any("error", err))
		return err
	}
	f.dirty = false
	return nil
}
