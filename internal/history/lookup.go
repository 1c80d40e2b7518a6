package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"spoor/internal/event"
	"spoor/internal/store"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// lookup answers one ask over the files of a plan. Indexes say which rows can be asked for, and when their events happened;
// the newest of them are read, and judged by their records.
type lookup struct {
	h       *History
	ask     *ask
	files   []table.File
	damaged []store.Damage
}

// found is an event of a page.
type found struct {
	place
	Event
}

// candidate is a row whose record is to be read.
type candidate struct {
	file table.File
	row  uint32
	time int64
}

// candidates are rows of a file.
type candidates struct {
	table.File
	index *index
	set   rowset
}

// damaged reports whether an error is the data file's.
func damaged(err error) bool { return errors.Is(err, segment.ErrDamaged) || errors.Is(err, errOrder) }

// fileError is what is wrong with a data file.
type fileError struct {
	file table.File
	err  error
}

func (e *fileError) Error() string { return e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

// page gives the first events, as many as are wanted. It answers again without the files that turn out to be damaged.
func (l *lookup) page(ctx context.Context, want int) ([]found, error) {
	l.files = slices.Clone(l.files)
	slices.SortStableFunc(l.files, func(a, b table.File) int { return cmp.Compare(latest(b), latest(a)) })
	for {
		out, err := l.try(ctx, want)
		var bad *fileError
		switch {
		case err == nil:
			return out, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case !errors.As(err, &bad) || !damaged(err):
			return nil, err
		}
		l.h.opts.Log.Error("a damaged file was left out of an answer", "file", bad.file.Path, "error", bad.err)
		day := ""
		if !bad.file.Day.IsZero() {
			day = bad.file.Day.Format(time.DateOnly)
		}
		l.damaged = append(l.damaged, store.Damage{File: bad.file.Name, Day: day, Rows: bad.file.Rows, What: bad.err.Error()})
		l.files = slices.DeleteFunc(l.files, func(f table.File) bool { return f.Name == bad.file.Name })
	}
}

// latest is a time that no event of a file is after. Files of which that is not known may have some of any.
func latest(f table.File) int64 {
	if f.MaxTime.IsZero() {
		return math.MaxInt64
	}
	return f.MaxTime.UnixNano() + 999
}

func (l *lookup) try(ctx context.Context, want int) (out []found, err error) {
	after := l.ask.after
	for len(out) < want {
		missing := want - len(out)
		read, err := l.next(ctx, after, missing)
		if err != nil {
			return nil, err
		}
		for _, f := range read[:min(len(read), missing)] {
			if f.Raw != nil {
				out = append(out, f)
			}
		}
		if len(read) < missing {
			break
		}
		after = &read[missing-1].place
	}
	return out, nil
}

// next gives the first candidates behind a place, in order: as many as are wanted, or more, or all that there are. Those that
// are not asked for after all have no record.
func (l *lookup) next(ctx context.Context, after *place, want int) ([]found, error) {
	var rows []candidate
	var times []int64 // of rows that count, newest first, as many as are wanted at most
	oldest := func() int64 {
		if len(times) < want {
			return math.MinInt64
		}
		return times[want-1]
	}
	made := 0
	for i, f := range l.files {
		if latest(f) < oldest() {
			break
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if i >= made && !l.h.indexes.has(f) {
			made = min(len(l.files), i+cap(l.h.indexes.slots))
			if err := l.h.indexes.allReady(ctx, l.files[i:made]); err != nil {
				return nil, err
			}
		}
		err := l.candidates(ctx, f, after, want, oldest, func(r candidate, counts bool) {
			rows = append(rows, r)
			if counts {
				at, _ := slices.BinarySearchFunc(times, r.time, func(a, b int64) int { return cmp.Compare(b, a) })
				times = slices.Insert(times, at, r.time)
				times = times[:min(len(times), want)]
			}
		})
		if err != nil {
			return nil, l.of(f, err)
		}
	}
	least := oldest()
	rows = slices.DeleteFunc(rows, func(r candidate) bool { return r.time < least })
	out, err := l.read(ctx, rows)
	if err != nil {
		return nil, err
	}
	if after != nil {
		out = slices.DeleteFunc(out, func(f found) bool { return f.place.compare(after) <= 0 })
	}
	slices.SortFunc(out, func(a, b found) int { return a.place.compare(&b.place) })
	return out, nil
}

// of says which file an error is of. An index that cannot be read is made again for the next lookup.
func (l *lookup) of(f table.File, err error) error {
	if errors.Is(err, errIndex) {
		l.h.indexes.drop(f)
	}
	return &fileError{f, err}
}

// candidates finds the rows of a file that may be asked for; see [lookup.rows].
func (l *lookup) candidates(ctx context.Context, f table.File, after *place, want int, oldest func() int64, fn func(r candidate, counts bool)) (err error) {
	x, err := l.h.indexes.open(ctx, f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	c := &candidates{File: f, index: &x.index}
	if c.set, err = l.set(c.index); err != nil || c.set.empty() {
		return err
	}
	return l.rows(c, after, want, oldest, fn)
}

func (l *lookup) set(x *index) (set rowset, err error) {
	if x.last < l.ask.since || x.first > l.ask.until {
		return rowset{}, nil
	}
	for i, a := range l.ask.attributes {
		var s rowset
		if a.Key == EventID {
			s, err = x.rowsOfID(a.Value)
		} else {
			s, err = x.rowsOf(term(a.Key, a.Value))
		}
		if err != nil || s.empty() {
			return rowset{}, err
		}
		if i > 0 {
			s = set.and(s)
		}
		set = s
	}
	s, err := x.rowsOf(scopeTerm(l.ask.kind, l.ask.account, l.ask.region))
	if err != nil || s.empty() || len(l.ask.attributes) == 0 {
		return s, err
	}
	return set.and(s), nil
}

// rows calls fn with rows of a file, newest first: with as many that count as are wanted at most. Rows with the id of the place
// that they come behind do not count, as only their records tell whether they do; and rows that have time and id of the last
// one come, too. It ends at rows that are older than those that are wanted.
func (l *lookup) rows(c *candidates, after *place, want int, oldest func() int64, fn func(r candidate, counts bool)) error {
	x := c.index
	next := uint32(x.rows)
	if l.ask.until < x.last {
		var err error
		if next, err = x.from(l.ask.until + 1); err != nil {
			return err
		}
	}
	ids := idReader{l: l, c: c}
	defer ids.close()
	if after != nil && after.time <= x.last {
		from, err := x.from(after.time)
		if err != nil {
			return err
		}
		to := uint32(x.rows)
		if after.time < x.last {
			if to, err = x.from(after.time + 1); err != nil {
				return err
			}
		}
		next = min(next, to)
		same := c.set.between(from, next)
		// Those of one time are in the order of ids.
		i, n := 0, len(same)
		for i < n {
			mid := (i + n) / 2
			id, err := ids.of(same[mid])
			if err != nil {
				return err
			}
			if id > after.id {
				n = mid
			} else {
				i = mid + 1
			}
		}
		if i < len(same) {
			next = same[i]
		}
		for ; i > 0; i-- {
			id, err := ids.of(same[i-1])
			if err != nil {
				return err
			}
			if id != after.id {
				break
			}
			next = same[i-1]
			fn(candidate{c.File, next, after.time}, false)
		}
	}
	var last candidate
	for n := 0; ; n++ {
		row, ok := c.set.below(next)
		if !ok {
			return nil
		}
		t, err := x.timeOf(row)
		if err != nil {
			return err
		}
		if t < l.ask.since || t < oldest() {
			return nil
		}
		if n >= want {
			if t != last.time {
				return nil
			}
			a, err := ids.of(last.row)
			if err != nil {
				return err
			}
			b, err := ids.of(row)
			if err != nil || a != b {
				return err
			}
		}
		last = candidate{c.File, row, t}
		fn(last, n < want)
		next = row
	}
}

// idReader reads the beginnings of ids of a file's rows.
type idReader struct {
	l    *lookup
	c    *candidates
	file *os.File
	g    *segment.Group
	rec  segment.Records
	e    event.Event
}

func (r *idReader) of(row uint32) (_ string, err error) {
	if r.file == nil {
		if r.file, err = os.Open(r.c.Path); err != nil {
			return "", err
		}
	}
	if r.g == nil || int64(row) < r.g.First || int64(row) >= r.g.First+r.g.Rows {
		if r.g, err = r.c.index.group(row); err != nil {
			return "", err
		}
		r.rec.Reset(r.c.Path, r.file, r.g)
	}
	id, ok, err := r.rec.ID(int64(row))
	if ok || err != nil {
		return begin(id), err
	}
	raw, err := r.rec.Record(int64(row))
	if err != nil {
		return "", err
	}
	if err := r.e.Reset(raw); err != nil {
		return "", fmt.Errorf("%w: row %d: %w", segment.ErrDamaged, row, err)
	}
	return begin(r.e.ID()), nil
}

func (r *idReader) close() {
	if r.file != nil {
		_ = r.file.Close() // was opened for reading
	}
}

// read reads the records of rows, in any order, several at a time.
func (l *lookup) read(ctx context.Context, rows []candidate) ([]found, error) {
	slices.SortFunc(rows, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.file.Name, b.file.Name), cmp.Compare(a.row, b.row))
	})
	var (
		mu  sync.Mutex
		out = make([]found, 0, len(rows))
	)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for len(rows) > 0 {
		n := 1
		for n < len(rows) && rows[n].file.Name == rows[0].file.Name {
			n++
		}
		parts, err := l.groups(ctx, rows[:n])
		if err != nil {
			return nil, errors.Join(l.of(rows[0].file, err), group.Wait())
		}
		rows = rows[n:]
		for _, p := range parts {
			group.Go(func() error {
				if err := ctx.Err(); err != nil {
					return err
				}
				read, err := l.records(p)
				if err != nil {
					return l.of(p.rows[0].file, err)
				}
				mu.Lock()
				defer mu.Unlock()
				out = append(out, read...)
				return nil
			})
		}
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return out, nil
}

// part is rows of a row group.
type part struct {
	group *segment.Group
	rows  []candidate
}

// groups divides rows of a file, which are in order, by row groups.
func (l *lookup) groups(ctx context.Context, rows []candidate) (out []part, err error) {
	x, err := l.h.indexes.open(ctx, rows[0].file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, x.Close()) }()
	for len(rows) > 0 {
		g, err := x.group(rows[0].row)
		if err != nil {
			return nil, err
		}
		n := 1
		for n < len(rows) && int64(rows[n].row) < g.First+g.Rows {
			n++
		}
		out = append(out, part{g, rows[:n]})
		rows = rows[n:]
	}
	return out, nil
}

// records reads rows of a row group.
func (l *lookup) records(p part) (out []found, err error) {
	name := p.rows[0].file.Path
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // was opened for reading
	rec, _ := l.h.readers.Get().(*segment.Records)
	if rec == nil {
		rec = &segment.Records{}
	}
	defer l.h.readers.Put(rec)
	rec.Reset(name, f, p.group)
	var e event.Event
	for _, row := range p.rows {
		raw, err := rec.Record(int64(row.row))
		if err == nil {
			err = e.Reset(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: row %d: %w", segment.ErrDamaged, row.row, err)
		}
		one := found{place: placeOf(&e)}
		if l.ask.asks(&e) {
			one.Event = eventOf(&e, l.ask.kind)
		}
		out = append(out, one)
	}
	return out, nil
}
