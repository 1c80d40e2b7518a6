package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// seen knows the events of a store and those of the running ingestion. Commits tell it which files came and went.
type seen struct {
	*dedup.Set
	s       *Store
	earlier *dedup.Index

	mu   sync.Mutex
	gone map[string]bool // ids files that went before they were opened, while the index is being made; guarded by mu
}

// newSeen opens the ids of all data files. Ids that are missing or damaged are made again from the data file.
func (s *Store) newSeen(ctx context.Context, tempDir string) (*seen, error) {
	x := dedup.NewIndex()
	sn := &seen{s: s, earlier: x, gone: map[string]bool{}}
	s.mu.Lock()
	s.seen[sn] = true
	s.mu.Unlock()
	sn.Set = dedup.New(dedup.Options{Dir: tempDir, Earlier: x.Find})
	if err := sn.open(ctx); err != nil {
		return nil, errors.Join(err, sn.close())
	}
	return sn, nil
}

// open makes the events of all data files known.
func (sn *seen) open(ctx context.Context) error {
	s := sn.s
	plan, release, err := s.pin(ctx, table.Filter{})
	if err != nil {
		return err
	}
	defer release()
	for _, f := range plan.Files {
		name := idsPath(s.dir, f.Name)
		err := s.ensureIDs(ctx, f, name)
		var bad *fileError
		if errors.As(err, &bad) {
			// Neither the events nor their ids are there any more, so they may be added again.
			s.opts.Log.Warn("store: events are lost and no longer known", "file", f.Name, "events", f.Rows, "error", err)
			continue
		}
		if err != nil {
			return err
		}
		sn.mu.Lock()
		if !sn.gone[name] {
			sn.add(name, f.MinTime, f.MaxTime)
		}
		sn.mu.Unlock()
	}
	sn.mu.Lock()
	defer sn.mu.Unlock()
	sn.gone = nil
	return nil
}

// reopen makes the events of all data files known that are there now, and again what is missing for that.
func (sn *seen) reopen(ctx context.Context) error {
	sn.mu.Lock()
	sn.gone = map[string]bool{}
	sn.mu.Unlock()
	return sn.open(ctx)
}

func (sn *seen) add(ids string, from, to time.Time) { addTo(sn.earlier, ids, from, to) }

// addTo makes the events of a data file known.
func addTo(x *dedup.Index, ids string, from, to time.Time) {
	var first, last int64
	if !from.IsZero() {
		first, last = from.UnixNano(), to.UnixNano()
	}
	x.Add(ids, first, last)
}

// exchanged makes the events of files known that a commit added, before those of files are forgotten that it took away.
func (sn *seen) exchanged(old []string, add []segment.Segment) {
	for _, f := range add {
		sn.add(idsPath(sn.s.dir, f.Path), f.MinTime, f.MaxTime)
	}
	sn.mu.Lock()
	defer sn.mu.Unlock()
	for _, name := range old {
		ids := idsPath(sn.s.dir, name)
		if sn.gone != nil {
			sn.gone[ids] = true
		}
		if err := sn.earlier.Remove(ids); err != nil {
			sn.s.opts.Log.Warn("store: a file of event ids was not closed", "file", ids, "error", err)
		}
	}
}

// committed says that everything that was seen lies in files of the store now. It must not be offered events meanwhile.
func (sn *seen) committed() error { return sn.Reset() }

func (sn *seen) close() error {
	sn.s.mu.Lock()
	delete(sn.s.seen, sn)
	sn.s.mu.Unlock()
	return errors.Join(sn.Set.Close(), sn.earlier.Close())
}

// ensureIDs looks whether an ids file can be opened and fits, and makes it again if not.
func (s *Store) ensureIDs(ctx context.Context, f table.File, name string) error {
	ids, err := dedup.OpenIDs(name)
	if err == nil {
		n := ids.Len()
		if err := ids.Close(); err != nil {
			return err
		}
		if int64(n) == f.Rows {
			return nil
		}
		err = fmt.Errorf("%w: %s: %d events where the data file has %d", dedup.ErrDamaged, name, n, f.Rows)
	}
	if !errors.Is(err, dedup.ErrDamaged) && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.opts.Log.Warn("store: event ids are made again", "file", f.Name, "error", err)
	keys := make([]dedup.Key, 0, f.Rows)
	var first, last int64
	_, what, rerr := readRows(ctx, f, func(e *event.Event) {
		if len(keys) == 0 {
			first = e.Time
		}
		last = e.Time
		keys = append(keys, dedup.KeyOf(e))
	})
	switch {
	case rerr != nil:
		return rerr
	case what != "":
		return &fileError{f, errors.New(what)}
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	sum, rerr := fileSum(ctx, f.Path)
	if rerr != nil {
		return rerr
	}
	return dedup.WriteIDs(name, keys, first, last, sum)
}

// fileSum is the CRC-32C of a file.
func fileSum(ctx context.Context, path string) (uint32, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close() // was opened for reading
	sum := crc32.New(castagnoli())
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		_, _ = sum.Write(buf[:n]) // never fails
		if err == io.EOF {
			return sum.Sum32(), nil
		}
		if err = cmp.Or(err, ctx.Err()); err != nil {
			return 0, err
		}
	}
}

// haveAll reports whether the ids file has the events whose keys are given, and no others.
func haveAll(ids *dedup.IDs, keys []dedup.Key) bool {
	return ids.Len() == len(keys) && !slices.ContainsFunc(keys, func(k dedup.Key) bool { return ids.Find(k) != dedup.Duplicate })
}

// countTwice counts the events that ids files have more than once, within one or among them.
func countTwice(ctx context.Context, names []string) (n int64, err error) {
	var open []*dedup.IDs
	defer func() {
		for _, ids := range open {
			err = errors.Join(err, ids.Close())
		}
	}()
	for _, name := range names {
		ids, err := dedup.OpenIDs(name)
		if err != nil {
			return 0, err
		}
		open = append(open, ids)
	}
	return dedup.Twice(ctx, open)
}
