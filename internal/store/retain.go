package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/apache/arrow-go/v18/parquet/file"

	"spoor/internal/event"
	"spoor/internal/store/table"
)

// Classes of events, as [event.Event.Category] gives them.
var classes = [...]string{"Management", "Data", "NetworkActivity", "Insight", "Aggregated"}

// Classes are the classes of events that can have an age of their own.
func Classes() []string { return slices.Clone(classes[:]) }

// RetainOptions say how long events are kept.
type RetainOptions struct {
	// Ages are how long events of a class are kept, counted from the end of their day; classes without an age are kept.
	Ages map[string]time.Duration
	// DryRun only tells what would be removed.
	DryRun bool
}

// DayRetained tells what became of a day.
type DayRetained struct {
	Day     string   `json:"day"`
	Rows    int64    `json:"rows"`
	Removed int64    `json:"removed"`
	Expired []string `json:"expired"` // classes
	Held    string   `json:"held,omitempty"`
}

// RetainResult tells what retention did.
type RetainResult struct {
	Days    []DayRetained `json:"days"` // that had something to remove, or would have but for a hold
	Removed int64         `json:"removed"`
	Damaged []Damage      `json:"damaged"` // files that could not be read to tell what they hold: they are kept
}

// Retain removes events that are older than their class is kept: whole days where every class has expired, otherwise the
// files of the day are written anew without them. Days that a hold covers stay whole. The removed files leave the disk
// with [Store.Expire].
func (s *Store) Retain(ctx context.Context, opts RetainOptions) (*RetainResult, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	for class, age := range opts.Ages {
		if !slices.Contains(classes[:], class) {
			return nil, fmt.Errorf("retention of %q: there is no such class of events", class)
		}
		if age <= 0 {
			return nil, fmt.Errorf("retention of %s events: an age must be positive", class)
		}
	}
	plan, err := s.table.Plan(ctx, table.Filter{})
	if err != nil {
		return nil, fmt.Errorf("retention: %w", err)
	}
	res := &RetainResult{Days: []DayRetained{}, Damaged: []Damage{}}
	days := map[string][]table.File{}
	var names []string
	for _, f := range plan.Files {
		if f.Day.IsZero() {
			continue // nobody knows how old they are
		}
		name := dayName(f)
		if days[name] == nil {
			names = append(names, name)
		}
		days[name] = append(days[name], f)
	}
	slices.Sort(names)
	for _, name := range names {
		files := days[name]
		day := files[0].Day
		age := s.opts.Now().Sub(day.Add(24 * time.Hour))
		var expired []string
		for _, class := range classes {
			if limit, ok := opts.Ages[class]; ok && age > limit {
				expired = append(expired, class)
			}
		}
		if len(expired) == 0 {
			continue
		}
		done := DayRetained{Day: name, Expired: expired}
		for _, f := range files {
			done.Rows += f.Rows
		}
		if hold, ok := s.st.Load().held(day); ok {
			done.Held = hold
			res.Days = append(res.Days, done)
			continue
		}
		done.Removed, err = s.retainDay(ctx, name, files, expired, opts.DryRun, res)
		if errors.Is(err, errHeld) {
			done.Held, _ = s.st.Load().held(day)
			res.Days = append(res.Days, done)
			res.Removed += done.Removed
			continue
		}
		if err != nil {
			return res, fmt.Errorf("retention of %s: %w", name, err)
		}
		if done.Removed > 0 {
			res.Days = append(res.Days, done)
			res.Removed += done.Removed
		}
	}
	return res, nil
}

// retainDay removes events of expired classes from files of a day.
func (s *Store) retainDay(ctx context.Context, day string, files []table.File, expired []string, dry bool, res *RetainResult) (removed int64, _ error) {
	if len(expired) == len(classes) {
		for _, f := range files {
			removed += f.Rows
		}
		if dry {
			return removed, nil
		}
		return removed, s.drop(ctx, files, removed)
	}
	keep := func(e *event.Event) bool { return !slices.Contains(expired, e.Category()) }
	for _, f := range files {
		n, err := s.count(ctx, f, expired)
		switch {
		case err != nil || n == 0 || dry:
		case n == f.Rows:
			err = s.drop(ctx, []table.File{f}, n)
		default:
			_, err = s.replace(ctx, []table.File{f}, keep)
		}
		var bad *fileError
		switch {
		case errors.As(err, &bad) && ctx.Err() == nil:
			res.Damaged = append(res.Damaged, Damage{File: f.Name, Day: day, Rows: f.Rows, What: bad.err.Error()})
			continue
		case err != nil:
			return removed, err
		}
		removed += n
	}
	return removed, nil
}

// errHeld says that a hold was placed on a day before a commit could remove events of it.
var errHeld = errors.New("a hold keeps the day")

// free fails when a hold keeps the day, at the moment of a commit.
func (st *state) free(day time.Time) error {
	if hold, ok := st.held(day); ok {
		return fmt.Errorf("%w: %s", errHeld, hold)
	}
	return nil
}

// drop takes files of a day out of the table, and counts their rows as removed.
func (s *Store) drop(ctx context.Context, files []table.File, rows int64) error {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = f.Name
	}
	_, err := s.commit(func(st *state) error {
		st.remove(map[string]int64{dayName(files[0]): rows})
		return st.free(files[0].Day)
	}, func(p table.Props) error { return s.table.Drop(ctx, names, p) })
	return err
}

// count tells how many events of a data file are of the classes given. Where the statistics of the file say that all are
// of one class, nothing else is read.
func (s *Store) count(ctx context.Context, f table.File, of []string) (n int64, err error) {
	if class, ok := onlyClass(f); ok {
		if slices.Contains(of, class) {
			return f.Rows, nil
		}
		return 0, nil
	}
	_, what, err := readRows(ctx, f, func(e *event.Event) {
		if slices.Contains(of, e.Category()) {
			n++
		}
	})
	if err == nil && what != "" {
		err = &fileError{f, errors.New(what)}
	}
	return n, err
}

// onlyClass gives the class of all events of a data file, if its statistics tell: every row has the same eventCategory.
func onlyClass(f table.File) (string, bool) {
	r, err := file.OpenParquetFile(f.Path, false)
	if err != nil {
		return "", false
	}
	defer r.Close() // was opened for reading
	meta := r.MetaData()
	at := meta.Schema.ColumnIndexByName("eventCategory")
	if at < 0 || r.NumRowGroups() == 0 {
		return "", false
	}
	class := ""
	for g := range r.NumRowGroups() {
		c, err := meta.RowGroup(g).ColumnChunk(at)
		if err != nil {
			return "", false
		}
		st, err := c.Statistics()
		if err != nil || st == nil || !st.HasMinMax() || !st.HasNullCount() || st.NullCount() != 0 {
			return "", false
		}
		low, high := string(st.EncodeMin()), string(st.EncodeMax())
		if low != high || g > 0 && low != class || !slices.Contains(classes[:], low) {
			return "", false
		}
		class = low
	}
	return class, true
}

// ExpireOptions say what leaves the disk.
type ExpireOptions struct {
	// Grace is how long files stay that compaction or retention replaced, so that queries which began before can end;
	// an hour by default, negative for not at all.
	Grace time.Duration
}

// ExpireResult tells what left the disk.
type ExpireResult struct {
	Snapshots int   `json:"snapshots"`
	Files     int   `json:"files"` // data files
	Bytes     int64 `json:"bytes"` // of them
	State     int   `json:"stateFiles"`
}

// Expire forgets the versions of the store that were replaced longer ago than the grace period, and deletes the files
// that only they had. What a hold refers to stays.
func (s *Store) Expire(ctx context.Context, opts ExpireOptions) (*ExpireResult, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	if opts.Grace == 0 {
		opts.Grace = time.Hour
	}
	if err := s.tagHolds(ctx); err != nil {
		return nil, err
	}
	done, err := s.table.Expire(ctx, max(0, opts.Grace), nil)
	if err != nil {
		return nil, fmt.Errorf("expire: %w", err)
	}
	res := &ExpireResult{Snapshots: done.Snapshots, Files: len(done.Files), Bytes: done.Bytes}
	for _, f := range done.Files {
		if err := os.Remove(idsPath(s.dir, f.Name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return res, fmt.Errorf("expire: %w", err)
		}
	}
	res.State, err = s.sweepState()
	return res, err
}
