package store

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// fanIn is how many data files are read at once while they are merged: each takes some tens of megabytes.
const fanIn = 8

// rewriteRows is how many rows a file has at most that comes out of merging.
const rewriteRows = 1_000_000

// merge writes the rows of files, which lie in one day, into new files in the order of the rows, those rows only for
// which keep is true; a nil keep keeps all. The files are not committed. It holds a few batches of rows in memory.
func (s *Store) merge(ctx context.Context, files []table.File, keep func(*event.Event) bool) ([]segment.Segment, error) {
	return s.mergeInto(ctx, files, segment.Options{Dir: s.dir, MaxRows: rewriteRows}, keep)
}

// mergeInto is merge for files of any days, into files of the options.
func (s *Store) mergeInto(ctx context.Context, files []table.File, opts segment.Options, keep func(*event.Event) bool) (segs []segment.Segment, err error) {
	slices.SortFunc(files, byStart)
	out := segment.NewStream(opts)
	var open rowHeap
	defer func() {
		for _, c := range open {
			err = errors.Join(err, c.rows.Close())
		}
		if err != nil && ctx.Err() != nil { // a file that was not read to its end is not damaged
			err = ctx.Err()
		}
		if err != nil {
			err = errors.Join(err, out.Abort())
		}
	}()
	for len(files) > 0 || len(open) > 0 {
		// A file is opened when the rows before it have been written.
		for len(files) > 0 && (len(open) == 0 || files[0].MinTime.IsZero() || files[0].MinTime.UnixNano() <= open[0].ev.Time) {
			if err := s.unchanged(ctx, files[0]); err != nil {
				return nil, err
			}
			r, err := segment.Open(ctx, files[0].Path, time.Time{}, time.Time{})
			if err != nil {
				return nil, &fileError{files[0], err}
			}
			c := &cursor{rows: r, file: files[0]}
			files = files[1:]
			open = append(open, c) // closed with the others
			switch err := c.next(); {
			case err == io.EOF:
				open = open[:len(open)-1]
				if err := r.Close(); err != nil {
					return nil, err
				}
				continue
			case err != nil:
				return nil, err
			}
			heap.Init(&open)
		}
		if len(open) == 0 {
			continue
		}
		c := open[0]
		if keep == nil || keep(&c.ev) {
			if err := out.Add(ctx, &c.ev); err != nil {
				return nil, err
			}
		}
		switch err := c.next(); {
		case err == io.EOF:
			heap.Pop(&open)
			if err := c.rows.Close(); err != nil {
				return nil, err
			}
		case err != nil:
			return nil, err
		default:
			heap.Fix(&open, 0)
		}
	}
	return out.Close(ctx)
}

func byStart(a, b table.File) int {
	return cmp.Or(a.MinTime.Compare(b.MinTime), strings.Compare(a.Name, b.Name))
}

// unchanged holds a data file against its checksum: what changed must not be written anew as if it were what arrived.
func (s *Store) unchanged(ctx context.Context, f table.File) error {
	sum, err := fileSum(ctx, f.Path)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return &fileError{f, err}
	}
	ids, err := dedup.OpenIDs(idsPath(s.dir, f.Name))
	if err != nil { // the next ingestion makes it again
		s.opts.Log.Warn("store: a file without a checksum is written anew", "file", f.Name, "error", err)
		return nil
	}
	if ids.Sum() != sum {
		err = &fileError{f, errors.New(otherSum)}
	}
	return errors.Join(err, ids.Close())
}

// otherSum is what is wrong with a data file whose bytes changed, though it can be read.
const otherSum = "its checksum is not that of what was written"

// fileError names the data file that could not be read.
type fileError struct {
	file table.File
	err  error
}

func (e *fileError) Error() string { return fmt.Sprintf("%s is damaged: %v", e.file.Name, e.err) }
func (e *fileError) Unwrap() error { return e.err }

// cursor is a place in a data file.
type cursor struct {
	rows *segment.Reader
	file table.File
	ev   event.Event
}

// next goes to the next row, or gives io.EOF.
func (c *cursor) next() error {
	rec, err := c.rows.Next()
	if err == io.EOF {
		return err
	}
	if err == nil {
		err = rec.Event(&c.ev)
	}
	if err != nil {
		return &fileError{c.file, err}
	}
	return nil
}

// rowHeap has the cursor with the first row on top, in the order of rows in a file.
type rowHeap []*cursor

func (h rowHeap) Len() int { return len(h) }
func (h rowHeap) Less(i, k int) bool {
	a, b := &h[i].ev, &h[k].ev
	if a.Time != b.Time {
		return a.Time < b.Time
	}
	return cmp.Or(strings.Compare(a.ID(), b.ID()), bytes.Compare(a.Raw, b.Raw)) < 0
}
func (h rowHeap) Swap(i, k int) { h[i], h[k] = h[k], h[i] }
func (h *rowHeap) Push(x any)   { *h = append(*h, x.(*cursor)) }
func (h *rowHeap) Pop() any {
	c := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return c
}

// overlap is how many of files, at most, have rows of one moment.
func overlap(files []table.File) int {
	type edge struct {
		at  int64
		end bool
	}
	var edges []edge
	for _, f := range files {
		from, to := int64(0), int64(0)
		if !f.MinTime.IsZero() {
			from, to = f.MinTime.UnixNano(), f.MaxTime.UnixNano()
		}
		edges = append(edges, edge{from, false}, edge{to, true})
	}
	slices.SortFunc(edges, func(a, b edge) int {
		if a.at == b.at && a.end != b.end { // what ends now is still open
			if a.end {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.at, b.at)
	})
	n, most := 0, 0
	for _, e := range edges {
		if e.end {
			n--
			continue
		}
		n++
		most = max(most, n)
	}
	return most
}

// CompactOptions say what is compacted.
type CompactOptions struct {
	// Closed is how long after its end a day is left alone, as events of it still come, 3 hours by default. Negative
	// compacts every day.
	Closed time.Duration
	// TargetBytes is how large a data file is that needs no company; 128 MiB by default.
	TargetBytes int64
	// Often says that this is done again and again: then hours that are over are compacted in days that are not, and a
	// file is written anew only with others that together are half as large as it, so that late events do not have their
	// day written anew each time.
	Often bool
	// Progress, when set, is told each day that was compacted.
	Progress func(DayCompacted)
}

// DayCompacted tells what became of a day.
type DayCompacted struct {
	Day         string  `json:"day"`
	Rows        int64   `json:"rows"` // rewritten
	FilesBefore int     `json:"filesBefore"`
	FilesAfter  int     `json:"filesAfter"`
	BytesBefore int64   `json:"bytesBefore"`
	BytesAfter  int64   `json:"bytesAfter"`
	Seconds     float64 `json:"seconds"`
}

// CompactResult tells what compaction did.
type CompactResult struct {
	Days    []DayCompacted `json:"days"`
	Rows    int64          `json:"rows"`
	Damaged []Damage       `json:"damaged"` // files that could not be read: their days are as they were
	Redone  int            `json:"redone"`  // how often a day was begun anew, as other changes took away files of it
	Seconds float64        `json:"seconds"`
}

// redos is how often a change of a day is begun anew when other changes were faster, before it is left to the next time.
const redos = 5

// Compact merges small files of days that are over into large ones, a day a commit. The files that were merged stay
// until [Store.Expire]. A damaged file stays, and its day is left alone. Other changes of the store go on beside it: a day
// of which they took away files is begun anew.
func (s *Store) Compact(ctx context.Context, opts CompactOptions) (*CompactResult, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	if opts.Closed == 0 {
		opts.Closed = 3 * time.Hour
	}
	if opts.TargetBytes <= 0 {
		opts.TargetBytes = 128 << 20
	}
	began := s.opts.Now()
	plan, err := s.table.Plan(ctx, table.Filter{})
	if err != nil {
		return nil, fmt.Errorf("compact: %w", err)
	}
	res := &CompactResult{Days: []DayCompacted{}, Damaged: []Damage{}}
	defer func() { res.Seconds = s.opts.Now().Sub(began).Seconds() }()
	for _, day := range byDay(plan.Files) {
		if len(opts.groups(day, began)) == 0 {
			continue
		}
		for try := 1; ; try++ {
			done, err := s.compactDay(ctx, opts, day[0].Day, began)
			var bad *fileError
			switch {
			case errors.As(err, &bad) && ctx.Err() == nil:
				res.Damaged = append(res.Damaged, Damage{File: bad.file.Name, Day: done.Day, Rows: bad.file.Rows, What: bad.err.Error()})
				s.opts.Log.Warn("store: a day was not compacted", "day", done.Day, "error", err)
			case errors.Is(err, table.ErrConflict) && try < redos:
				res.Redone++
				s.opts.Log.Debug("store: a day is compacted anew, as files of it were replaced meanwhile", "day", done.Day)
				continue
			case err != nil:
				return res, fmt.Errorf("compact %s: %w", done.Day, err)
			case done.FilesBefore > 0:
				res.Days = append(res.Days, done)
				res.Rows += done.Rows
				if opts.Progress != nil {
					opts.Progress(done)
				}
			}
			break
		}
	}
	return res, nil
}

// byDay gives files by their day, the oldest day first; those of events without a time come first.
func byDay(files []table.File) [][]table.File {
	days := map[time.Time][]table.File{}
	for _, f := range files {
		days[f.Day] = append(days[f.Day], f)
	}
	out := make([][]table.File, 0, len(days))
	for _, day := range slices.SortedFunc(maps.Keys(days), time.Time.Compare) {
		out = append(out, days[day])
	}
	return out
}

// filesOfDay gives the files that the table has of a day now, and a lease of them.
func (s *Store) filesOfDay(ctx context.Context, day time.Time) (files []table.File, release func(), _ error) {
	f := table.Filter{Since: day, Until: day.Add(24 * time.Hour)}
	if day.IsZero() {
		f = table.Filter{}
	}
	plan, release, err := s.pin(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	return slices.DeleteFunc(plan.Files, func(f table.File) bool { return !f.Day.Equal(day) }), release, nil
}

// groups gives the files of a day that are to be merged, those of each group into one.
func (o *CompactOptions) groups(day []table.File, now time.Time) (out [][]table.File) {
	small := slices.DeleteFunc(slices.Clone(day), func(f table.File) bool { return f.Bytes >= o.TargetBytes/2 || f.Rows >= rewriteRows/2 })
	closed := o.Closed < 0 || day[0].Day.Add(24*time.Hour+o.Closed).Before(now)
	switch {
	case closed && !o.Often:
		if len(small) > 1 {
			out = append(out, small)
		}
	case closed:
		if worth := worthwhile(small, 2); worth != nil {
			out = append(out, worth)
		}
	case o.Often:
		// What is flushed while an hour goes on has its last event in it.
		hours := map[time.Time][]table.File{}
		for _, f := range small {
			if hour := f.MaxTime.Truncate(time.Hour); hour.Add(time.Hour + hourClosed).Before(now) {
				hours[hour] = append(hours[hour], f)
			}
		}
		for _, hour := range slices.SortedFunc(maps.Keys(hours), time.Time.Compare) {
			if worth := worthwhile(hours[hour], hourFiles); worth != nil {
				out = append(out, worth)
			}
		}
	}
	return out
}

const (
	hourClosed = 15 * time.Minute // how long after its end an hour is left alone: CloudTrail delivers most events by then
	hourFiles  = 4                // that an hour must have to be merged before its day is
)

// worthwhile gives the files that are worth being merged, at least so many: the largest of them is at most twice as large
// as the others together.
func worthwhile(files []table.File, least int) []table.File {
	slices.SortFunc(files, func(a, b table.File) int {
		return cmp.Or(cmp.Compare(a.Bytes, b.Bytes), strings.Compare(a.Name, b.Name))
	})
	var sum int64
	n := 0
	for i, f := range files {
		if i > 0 && f.Bytes <= 2*sum {
			n = i + 1
		}
		sum += f.Bytes
	}
	if n < least {
		return nil
	}
	return files[:n]
}

// compactDay merges files of a day, in several rounds when too many of them overlap in time.
func (s *Store) compactDay(ctx context.Context, opts CompactOptions, day, now time.Time) (DayCompacted, error) {
	began := s.opts.Now()
	done := DayCompacted{Day: dayName(table.File{Day: day})}
	all, release, err := s.filesOfDay(ctx, day)
	if err != nil {
		return done, err
	}
	defer release()
	if len(all) == 0 {
		return done, nil
	}
	for _, files := range opts.groups(all, now) {
		done.FilesBefore += len(files)
		for _, f := range files {
			done.BytesBefore += f.Bytes
			done.Rows += f.Rows
		}
		if files, err = s.mergeAll(ctx, files); err != nil {
			return done, err
		}
		done.FilesAfter += len(files)
		for _, f := range files {
			done.BytesAfter += f.Bytes
		}
	}
	done.Seconds = s.opts.Now().Sub(began).Seconds()
	return done, nil
}

// mergeAll merges files of a day, with a commit for each merge of as many as can be read at once.
func (s *Store) mergeAll(ctx context.Context, files []table.File) ([]table.File, error) {
	files = slices.SortedFunc(slices.Values(files), byStart)
	for {
		var next []table.File
		groups := [][]table.File{files}
		if overlap(files) > fanIn {
			groups = slices.Collect(slices.Chunk(files, fanIn))
		}
		for _, g := range groups {
			if len(g) == 1 {
				next = append(next, g...)
				continue
			}
			segs, err := s.replace(ctx, g, nil)
			if err != nil {
				return nil, err
			}
			for _, seg := range segs {
				next = append(next, s.file(seg))
			}
		}
		files = next
		if len(groups) == 1 {
			return files, nil
		}
	}
}

// file describes a segment as the table does.
func (s *Store) file(seg segment.Segment) table.File {
	return table.File{Path: filepath.Join(s.dir, filepath.FromSlash(seg.Path)), Name: seg.Path, Rows: seg.Rows, Bytes: seg.Bytes, Day: seg.Day, MinTime: seg.MinTime, MaxTime: seg.MaxTime}
}

// replace merges files of one day and commits the result in their place. Rows for which keep is false are counted as
// removed; with a nil keep none may be missing.
func (s *Store) replace(ctx context.Context, files []table.File, keep func(*event.Event) bool) ([]segment.Segment, error) {
	segs, err := s.merge(ctx, slices.Clone(files), keep)
	if err != nil {
		return nil, err
	}
	var before, after int64
	for _, f := range files {
		before += f.Rows
	}
	for _, g := range segs {
		after += g.Rows
	}
	if keep == nil && before != after || after > before {
		return nil, errors.Join(fmt.Errorf("%d events came out where %d went in", after, before), removeSegments(s.dir, segs))
	}
	_, err = s.exchange(ctx, files, segs, func(st *state) error {
		if after == before {
			return nil
		}
		st.remove(map[string]int64{dayName(files[0]): before - after})
		return st.free(files[0].Day)
	})
	if err != nil && !errors.Is(err, table.ErrUnknown) {
		err = errors.Join(err, removeSegments(s.dir, segs))
	}
	return segs, err
}
