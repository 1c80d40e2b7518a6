package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"spoor/internal/durable"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// Options say how a store is opened.
type Options struct {
	// ReadOnly takes no lock and changes nothing.
	ReadOnly bool
	// Wait is how long to wait for another writer to end; negative waits without end.
	Wait time.Duration
	Log  *slog.Logger     // nil: nothing is logged
	Now  func() time.Time // nil: time.Now
}

// Store is an open store. Its methods may be called concurrently, but for Close and for two runs of Ingest: what takes
// time is prepared beside one another, and commits happen one after the other.
type Store struct {
	dir    string
	opts   Options
	format formatFile
	table  *table.Table
	lock   *durable.Lock // nil when read-only
	leases leases        // of plans in this process
	counts classCounts

	// st is the state of the current version, when writing. What it points to never changes.
	st atomic.Pointer[state]

	// mu makes commits happen one after the other. It is held for no longer than one takes.
	mu      sync.Mutex
	retired map[string]time.Time // files of the state by when a commit replaced them, until they are removed; guarded by mu
	left    map[int64]uint64     // snapshots that this process replaced, by the mark of leases of then; guarded by mu
	seen    map[*seen]bool       // that are told of each commit; guarded by mu

	following atomic.Bool // a journal
	before    atomic.Pointer[func(context.Context, []table.File)]

	// laying is held shared while files of the state lie there that no commit names yet, and alone while files are removed
	// that none names any more. It is taken before mu.
	laying sync.RWMutex

	tagging sync.Mutex // one at a time brings holds and tags together; taken before mu
}

// Create makes an empty store in dir, which is made when it does not exist and must be empty when it does, and opens it.
func Create(ctx context.Context, dir string, opts Options) (*Store, error) {
	if opts.ReadOnly {
		return nil, fmt.Errorf("make a store: %w", ErrReadOnly)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a store: %w", err)
	}
	l, err := lock(ctx, dir, opts.Wait)
	if err != nil {
		return nil, err
	}
	err = layOut(ctx, dir, opts)
	if err = errors.Join(err, l.Release()); err != nil {
		return nil, fmt.Errorf("make a store in %s: %w", dir, err)
	}
	return Open(ctx, dir, opts)
}

// layOut lays out the folder; its format file comes last, so that what is half made is no store and is made anew.
func layOut(ctx context.Context, dir string, opts Options) error {
	if _, err := os.Stat(filepath.Join(dir, formatName)); err == nil {
		return nil // another process was faster
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	ours := map[string]bool{lockName: true, dataDir: true, indexDir: true, stateDir: true, "metadata": true}
	for _, e := range entries {
		if !ours[e.Name()] && !strings.HasPrefix(e.Name(), durable.PartPrefix) {
			return fmt.Errorf("the folder has other things in it, such as %q", e.Name())
		}
	}
	if _, err := os.Stat(filepath.Join(dir, dataDir)); errors.Is(err, fs.ErrNotExist) {
		for _, d := range []string{dataDir, indexDir, stateDir} {
			if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
				return err
			}
		}
	}
	t, err := table.Create(ctx, dir, tableSchema(), table.Options{Logger: opts.Log, Now: opts.Now})
	if errors.Is(err, table.ErrExists) {
		t, err = table.Open(ctx, dir, table.Options{Logger: opts.Log, Now: opts.Now})
	}
	if err != nil {
		return err
	}
	if plan, err := t.Plan(ctx, table.Filter{}); err != nil || plan.Snapshot != 0 {
		return errors.Join(err, errors.New("the folder has another table in it"))
	}
	now := time.Now
	if opts.Now != nil {
		now = opts.Now
	}
	b, err := json.Marshal(formatFile{Format: "spoor-store", Version: FormatVersion, Created: now().UTC()})
	if err != nil {
		return err
	}
	return durable.WriteFile(filepath.Join(dir, formatName), append(b, '\n'), 0o644)
}

// Open opens the store in dir. Opening for writing takes the lock and removes what a writer that was killed left behind.
func Open(ctx context.Context, dir string, opts Options) (_ *Store, err error) {
	s := &Store{opts: opts, retired: map[string]time.Time{}, left: map[int64]uint64{}, seen: map[*seen]bool{}}
	if s.opts.Now == nil {
		s.opts.Now = time.Now
	}
	if s.opts.Log == nil {
		s.opts.Log = slog.New(slog.DiscardHandler)
	}
	if s.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if s.format, err = readFormat(s.dir); err != nil {
		return nil, err
	}
	if !opts.ReadOnly {
		if s.lock, err = lock(ctx, s.dir, opts.Wait); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, s.lock.Release())
			}
		}()
	}
	s.table, err = table.Open(ctx, s.dir, table.Options{ReadOnly: opts.ReadOnly, Logger: opts.Log, Now: opts.Now})
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", s.dir, err)
	}
	if opts.ReadOnly {
		return s, nil
	}
	if err := s.table.Evolve(ctx, tableSchema()); err != nil {
		return nil, fmt.Errorf("open store %s: %w", s.dir, err)
	}
	st, err := s.stateOf(s.table.Props())
	if err != nil {
		return nil, err
	}
	s.st.Store(st)
	if err := s.sweep(ctx); err != nil {
		return nil, err
	}
	if err := s.tagHolds(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// Close gives the lock back.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	err := s.lock.Release()
	s.lock = nil
	return err
}

// Dir is the store's folder, absolute.
func (s *Store) Dir() string { return s.dir }

func (s *Store) writable() error {
	if s.lock == nil {
		return ErrReadOnly
	}
	return nil
}

// stateOf reads the state that belongs to a version of the table.
func (s *Store) stateOf(p table.Props) (*state, error) {
	name, ok := p[propState]
	if !ok {
		return newState(), nil
	}
	st, err := readState(s.dir, name)
	if err != nil {
		return nil, err
	}
	if want := p[propSeq]; strconv.FormatInt(st.Seq, 10) != want {
		return nil, fmt.Errorf("read the store's state: %s has number %d, the table says %s", name, st.Seq, want)
	}
	return st, nil
}

// view gives files and state of one moment.
func (s *Store) view(ctx context.Context, f table.Filter) (table.Plan, *state, error) {
	for attempt := 0; ; attempt++ {
		plan, err := s.table.Plan(ctx, f)
		if err != nil {
			return table.Plan{}, nil, err
		}
		if f.Tag != "" {
			return plan, nil, nil
		}
		st, err := s.stateOf(plan.Props)
		if err == nil {
			return plan, st, nil
		}
		// The writer may have taken the next step meanwhile and removed the state of the one before.
		if !errors.Is(err, fs.ErrNotExist) || attempt == 3 {
			return table.Plan{}, nil, err
		}
	}
}

// commit makes a change of the store: mutate changes a copy of the state that is current at this moment, and publish
// commits the table's part of it with the properties that make the new state valid. The caller holds mu, so what takes
// time is prepared before. An error of mutate is returned as it is, and nothing was changed. After an error that is
// [table.ErrUnknown] the change may have happened, after any other one it has not.
func (s *Store) commit(mutate func(*state) error, publish func(table.Props) error) (*state, error) {
	defer func(snapshot int64) {
		if snapshot != s.table.Snapshot() {
			s.left[snapshot] = s.leases.mark()
		}
	}(s.table.Snapshot())
	was := s.st.Load()
	st := was.clone()
	if err := mutate(st); err != nil {
		return nil, err
	}
	st.Seq = was.Seq + 1
	st.Written = s.opts.Now().UTC()
	name, err := writeState(s.dir, st)
	if err != nil {
		return nil, err
	}
	for _, d := range []string{stateDir, indexDir} {
		if err := durable.SyncDir(filepath.Join(s.dir, d)); err != nil {
			return nil, fmt.Errorf("sync folder %s: %w", d, err)
		}
	}
	before := s.table.Props()[propState]
	err = publish(table.Props{propState: name, propSeq: strconv.FormatInt(st.Seq, 10)})
	if errors.Is(err, table.ErrUnknown) {
		if rerr := s.table.Refresh(context.Background()); rerr != nil {
			return nil, errors.Join(err, rerr)
		}
		if s.table.Props()[propState] == name {
			err = nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("commit to the store: %w", err)
	}
	s.st.Store(st)
	s.retire(st, append(was.files(), before))
	return st, nil
}

// retire notes which files of the state the commit of st replaced, so that they stay a while for readers who just found
// their names. The caller holds mu.
func (s *Store) retire(st *state, files []string) {
	now := s.opts.Now()
	keep := st.files()
	for _, name := range files {
		if name != "" && !slices.Contains(keep, name) {
			s.retired[name] = now
		}
	}
}

// append commits new data files with the change of the state that counts them.
func (s *Store) append(ctx context.Context, files []segment.Segment, mutate func(*state) error) (*state, error) {
	return s.exchange(ctx, nil, files, mutate)
}

// BeforeCommit has f told of data files that are written and about to be part of the store, so that what is kept of each file
// can be there before anybody reads it. The commit waits for f, which may be told of files that then are not committed. Nil ends it.
func (s *Store) BeforeCommit(f func(ctx context.Context, files []table.File)) { s.before.Store(&f) }

// exchange commits new data files in the place of old ones, with the change of the state that goes with it. It fails with
// [table.ErrConflict] when one of the old ones is not in the table any more.
func (s *Store) exchange(ctx context.Context, old []table.File, add []segment.Segment, mutate func(*state) error) (*state, error) {
	oldNames, addNames := make([]string, len(old)), make([]string, len(add))
	for i, f := range old {
		oldNames[i] = f.Name
	}
	for i, f := range add {
		addNames[i] = f.Path
	}
	if f := s.before.Load(); f != nil && *f != nil && len(add) > 0 {
		files := make([]table.File, len(add))
		for i, g := range add {
			files[i] = s.file(g)
		}
		(*f)(ctx, files)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st, err := s.commit(mutate, func(p table.Props) error { return s.table.Replace(ctx, oldNames, addNames, p) })
	if err != nil {
		return nil, err
	}
	for sn := range s.seen {
		sn.exchanged(oldNames, add)
	}
	return st, nil
}

// leased reports whether a plan of this process may be of a snapshot that was replaced.
func (s *Store) leased(snapshot int64) bool {
	s.mu.Lock()
	mark, ok := s.left[snapshot]
	s.mu.Unlock()
	return ok && s.leases.before(mark)
}

// pin is what the table has, leased.
func (s *Store) pin(ctx context.Context, f table.Filter) (_ table.Plan, release func(), _ error) {
	release = s.leases.take(s.opts.Now())
	plan, err := s.table.Plan(ctx, f)
	if err != nil {
		release()
		return table.Plan{}, nil, err
	}
	return plan, release, nil
}

// removeSegments removes files that are no part of the store.
func removeSegments(dir string, segs []segment.Segment) error {
	var errs []error
	for _, g := range segs {
		for _, name := range [...]string{g.Path, g.IDsPath} {
			if err := os.Remove(filepath.Join(dir, filepath.FromSlash(name))); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove a file that was not committed: %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

// sweep removes what nothing refers to. The caller has the lock and has nothing uncommitted.
func (s *Store) sweep(ctx context.Context) error {
	gone, err := s.table.RemoveOrphans(ctx, time.Time{})
	if err != nil {
		return fmt.Errorf("remove what an interrupted write left: %w", err)
	}
	files, err := s.table.Files(ctx)
	if err != nil {
		return fmt.Errorf("remove what an interrupted write left: %w", err)
	}
	keep := map[string]bool{}
	for _, f := range files {
		keep[filepath.Base(idsPath(s.dir, f.Name))] = true
	}
	entries, err := os.ReadDir(filepath.Join(s.dir, indexDir))
	if err != nil {
		return fmt.Errorf("remove what an interrupted write left: %w", err)
	}
	n := len(gone)
	for _, e := range entries {
		if keep[e.Name()] || e.IsDir() {
			continue
		}
		if err := os.Remove(filepath.Join(s.dir, indexDir, e.Name())); err != nil {
			return fmt.Errorf("remove what an interrupted write left: %w", err)
		}
		n++
	}
	k, err := s.sweepState()
	if err != nil {
		return err
	}
	if n += k; n > 0 {
		s.opts.Log.Debug("store: removed what nothing refers to", "files", n)
	}
	return nil
}

// sweepState removes files of the state that no commit names. A reader may be between the table and the state that it
// names, so they stay for [stateGrace] after they were written and after they were replaced.
func (s *Store) sweepState() (int, error) {
	s.laying.Lock()
	defer s.laying.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.opts.Now().Add(-stateGrace)
	keep := map[string]bool{s.table.Props()[propState]: true}
	for _, name := range s.st.Load().files() {
		keep[name] = true
	}
	for name, at := range s.retired {
		if at.Before(before) {
			delete(s.retired, name)
		} else {
			keep[name] = true
		}
	}
	return sweepState(s.dir, keep, before)
}

// stateGrace is how long state files stay that a newer commit has replaced.
const stateGrace = 10 * time.Minute

// idsPath gives the ids file that belongs to a data file or a hot file, by its name.
func idsPath(dir, data string) string {
	base, folder := filepath.Base(filepath.FromSlash(data)), indexDir
	if isHot(data) {
		folder = hotDir
	}
	return filepath.Join(dir, folder, strings.TrimSuffix(base, filepath.Ext(base))+".ids")
}

// tableSchema is the table of columns as the table wants it.
func tableSchema() table.Schema {
	return table.Schema{Columns: tableColumns(segment.Columns()), Time: "eventTime", Bounds: []string{"eventSource", "eventName", "account"}}
}

func tableColumns(cols []segment.Column) []table.Column {
	out := make([]table.Column, len(cols))
	for i, c := range cols {
		out[i] = table.Column{ID: c.ID, Name: c.Name, Doc: c.Doc, Fields: tableColumns(c.Fields)}
		switch c.Type {
		case segment.Bytes:
			out[i].Type = "binary"
		case segment.Bool:
			out[i].Type = "boolean"
		case segment.Long:
			out[i].Type = "long"
		case segment.Time:
			out[i].Type = "timestamptz"
		case segment.Day:
			out[i].Type = "date"
		case segment.Struct:
			out[i].Type = "struct"
		case segment.List:
			out[i].Type = "list"
		default:
			out[i].Type = "string"
		}
	}
	return out
}
