package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// ReadOptions say what of a store is read.
type ReadOptions struct {
	Filter
	// Want, when set, says which events can matter, so that others need not be read.
	Want *segment.Rows
	// Beside is set when other inputs are read with the store: then [Source.Earlier] knows the store's events.
	Beside bool
}

// Source gives the records of a store as files of logs, so that everything that reads logs reads stores; [intake.Run]
// takes them without the way over text. Objects are stretches of data files. Events have the file and offset that they
// were read from first. What is not asked for is left out by file, by row group, and by row, and counted with a reason. A
// damaged file is an object that cannot be read, which the ledger of the reader names; the rest is still read. It is safe
// for concurrent use.
type Source struct {
	s    *Store
	opts ReadOptions
	rows int64 // of an object at most

	earlier  *dedup.Index
	mu       sync.Mutex // guards parts and releases
	parts    map[string]stretch
	releases []func() // of what was listed
}

// stretch is a part of a data file.
type stretch struct {
	file     table.File
	from, to int64
	want     *segment.Rows
	since    time.Time
	until    time.Time
	distinct bool
}

// partRows is how many rows an object has at most, to within a row group: enough to be worth opening a file, few enough
// that all processors find some.
const partRows = 1 << 17

// Read gives the records of a store. Close it.
func (s *Store) Read(opts ReadOptions) *Source {
	return &Source{s: s, opts: opts, rows: partRows, earlier: dedup.NewIndex(), parts: map[string]stretch{}}
}

// Source is [Store.Read] of everything that the filter asks for.
func (s *Store) Source(f Filter) *Source { return s.Read(ReadOptions{Filter: f}) }

// Close lets go of the files and of the index of events.
func (src *Source) Close() error {
	src.mu.Lock()
	defer src.mu.Unlock()
	for _, release := range src.releases {
		release()
	}
	src.releases = nil
	return src.earlier.Close()
}

// Earlier looks an event up among those that the source has listed as distinct, for [dedup.Options].
func (src *Source) Earlier(k dedup.Key, at int64) (dedup.Verdict, error) {
	return src.earlier.Find(k, at)
}

// List implements [source.Source].
func (src *Source) List(ctx context.Context, sel source.Selection, visit func(source.Object, string) error) error {
	want := table.Filter{Since: later(src.opts.Since, sel.Since), Until: earlier(src.opts.Until, sel.Until)}
	all := table.Filter{}
	if src.opts.Hold != "" {
		all.Tag = holdPrefix + src.opts.Hold
	}
	release := src.s.leases.take(src.s.opts.Now())
	src.mu.Lock()
	src.releases = append(src.releases, release)
	src.mu.Unlock()
	p, _, hot, err := src.s.now(ctx, all)
	if err != nil {
		return fmt.Errorf("list the files of %s: %w", src.s.dir, err)
	}
	for _, d := range hot.damage {
		obj := source.Object{Name: filepath.Join(src.s.dir, filepath.FromSlash(d.File)), Err: errors.New(d.What)}
		if err := visit(obj, ""); err != nil {
			return err
		}
	}
	p.Files = append(p.Files, hot.tables(src.s.dir, all)...)
	byTime(p.Files)
	rows := narrowed(src.opts.Want, sel.Accounts, sel.Regions)
	for _, file := range p.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		obj := source.Object{Name: file.Path, Size: file.Bytes, Records: file.Rows}
		if !want.Keeps(file) {
			if err := visit(obj, source.SkipTime); err != nil {
				return err
			}
			continue
		}
		if what := looks(file); what != "" {
			obj.Err = fmt.Errorf("damaged: %s; it held %d events of %s", what, file.Rows, dayName(file))
			if err := visit(obj, ""); err != nil {
				return err
			}
			continue
		}
		distinct := true
		if src.opts.Beside {
			if distinct, err = src.know(ctx, file); err != nil {
				return err
			}
		}
		for from := int64(0); from < max(1, file.Rows); from += src.rows {
			part := stretch{file, from, min(from+src.rows, file.Rows), rows, want.Since, want.Until, distinct}
			if file.Rows > src.rows {
				obj.Name = fmt.Sprintf("%s (from row %d)", file.Path, from)
				obj.Records = 0 // row groups decide where the stretch begins and ends
				obj.Size = file.Bytes * (part.to - from) / file.Rows
			}
			src.mu.Lock()
			src.parts[obj.Name] = part
			src.mu.Unlock()
			if err := visit(obj, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// know makes the events of a file known to other inputs. Of a file that is not as it was written nobody can say which
// events will come out of it, so those are remembered one by one as they come: it is not distinct.
func (src *Source) know(ctx context.Context, file table.File) (bool, error) {
	name := idsPath(src.s.dir, file.Name)
	ids, err := dedup.OpenIDs(name)
	if err != nil {
		return false, nil
	}
	want, whole := ids.Sum(), int64(ids.Len()) == file.Rows && ids.Verify() == nil
	first, last := ids.Times()
	if err := ids.Close(); err != nil {
		return false, err
	}
	if !whole {
		return false, nil
	}
	switch sum, err := fileSum(ctx, file.Path); {
	case ctx.Err() != nil:
		return false, ctx.Err()
	case err != nil || sum != want:
		return false, nil
	}
	switch {
	case isHot(file.Name):
		if last-first > mostDays*24*int64(time.Hour) {
			return false, nil // too many days to note it under each
		}
		src.earlier.Add(name, first, last)
	case file.MinTime.IsZero():
		src.earlier.Add(name, 0, 0)
	default:
		src.earlier.Add(name, file.MinTime.UnixNano(), file.MaxTime.UnixNano())
	}
	return true, nil
}

// mostDays is how many days a hot file may be spread over to be known as a whole.
const mostDays = 40_000

// narrowed adds accounts and Regions to what is wanted.
func narrowed(want *segment.Rows, accounts, regions []string) *segment.Rows {
	if len(accounts) == 0 && len(regions) == 0 {
		return want
	}
	out := &segment.Rows{}
	inner := func() func([][]byte) string { return func([][]byte) string { return "" } }
	if want != nil {
		out.Columns, out.OneOf = slices.Clone(want.Columns), want.OneOf
		inner = want.Keep
	}
	n := len(out.Columns)
	out.Columns = append(out.Columns, "account", "awsRegion")
	out.Keep = func() func([][]byte) string {
		rest := inner()
		return func(texts [][]byte) string {
			switch {
			case len(accounts) > 0 && !slices.Contains(accounts, string(texts[n])):
				return source.SkipAccount
			case len(regions) > 0 && !slices.Contains(regions, string(texts[n+1])):
				return source.SkipRegion
			}
			return rest(texts[:n])
		}
	}
	return out
}

// open opens the stretch that an object stands for.
func (src *Source) open(ctx context.Context, obj source.Object) (*segment.Reader, error) {
	if obj.Err != nil {
		return nil, obj.Err
	}
	src.mu.Lock()
	p, ok := src.parts[obj.Name]
	src.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("read %s: not listed by this store", obj.Name)
	}
	r, err := segment.OpenRows(ctx, p.file.Path, p.since, p.until, source.SkipTime, p.from, p.to, p.want)
	if err != nil {
		return nil, fmt.Errorf("damaged: %w", err)
	}
	if r.Rows() != p.file.Rows {
		return nil, closing(r, fmt.Errorf("damaged: its footer tells of %d events where %d were written", r.Rows(), p.file.Rows))
	}
	return r, nil
}

func closing(c io.Closer, err error) error {
	_ = c.Close() // was opened for reading
	return err
}

// Records implements [intake.Records].
func (src *Source) Records(ctx context.Context, obj source.Object, fn func(*event.Event) error) (did intake.RecordsRead, err error) {
	r, err := src.open(ctx, obj)
	if err != nil {
		return did, err
	}
	defer r.Close() // was opened for reading
	defer func() {
		for _, l := range r.Left() {
			did.Left = append(did.Left, ledger.ReasonCount{Reason: l.Reason, Count: l.Rows})
		}
	}()
	var ev event.Event
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return did, nil
		}
		if err == nil {
			err = rec.Event(&ev)
		}
		if err != nil {
			return did, fmt.Errorf("damaged: %w", err)
		}
		did.Given++
		did.Bytes += int64(len(ev.Raw))
		if err := fn(&ev); err != nil {
			return did, err
		}
	}
}

// Distinct implements [intake.Records].
func (src *Source) Distinct(obj source.Object) bool {
	src.mu.Lock()
	defer src.mu.Unlock()
	return src.parts[obj.Name].distinct
}

// Open implements [source.Source]: the records as the text of a log file.
func (src *Source) Open(ctx context.Context, obj source.Object, read func(source.Object, io.Reader) error) error {
	r, err := src.open(ctx, obj)
	if err != nil {
		return err
	}
	defer r.Close() // was opened for reading
	return read(obj, &logText{rows: r})
}

// Parallel implements [source.Source].
func (src *Source) Parallel() int { return 0 }
