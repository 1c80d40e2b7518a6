package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"spoor/internal/event"
	"spoor/internal/store/table"
)

// Classes of events, as [event.Event.Category] gives them.
var classes = [...]string{"Management", "Data", "NetworkActivity", "Insight", "Aggregated", "ActivityAuditLog"}

// Classes are the classes of events that can have an age of their own.
func Classes() []string { return slices.Clone(classes[:]) }

// RetainOptions say how long events are kept, and how many.
type RetainOptions struct {
	// Ages are how long events of a class are kept, counted from the end of their day; classes without an age are kept.
	Ages map[string]time.Duration
	// Sizes are how many bytes events of a class may take: where they take more, those of the oldest days go. A file with
	// events of several classes counts for each by its share of them.
	Sizes map[string]int64
	// MaxBytes is how many bytes the data files and their index files may take, 0 for any number: where they take more,
	// the oldest days go as a whole. Files that were replaced and wait for [Store.Expire] do not count.
	MaxBytes int64
	// DryRun only tells what would be removed.
	DryRun bool
}

func (o *RetainOptions) check() error {
	for class, age := range o.Ages {
		if !slices.Contains(classes[:], class) {
			return fmt.Errorf("retention of %q: there is no such class of events", class)
		}
		if age <= 0 {
			return fmt.Errorf("retention of %s events: an age must be positive", class)
		}
	}
	for class, size := range o.Sizes {
		if !slices.Contains(classes[:], class) {
			return fmt.Errorf("retention of %q: there is no such class of events", class)
		}
		if size <= 0 {
			return fmt.Errorf("retention of %s events: a size must be positive", class)
		}
	}
	if o.MaxBytes < 0 {
		return errors.New("retention: a size must be positive")
	}
	return nil
}

// DayRetained tells what became of a day.
type DayRetained struct {
	Day     string   `json:"day"`
	Rows    int64    `json:"rows"`
	Removed int64    `json:"removed"`
	Expired []string `json:"expired"` // classes
	// Oversize are those of them that are young enough, and go because of their size or that of the store.
	Oversize []string `json:"oversize,omitempty"`
	Held     string   `json:"held,omitempty"`
}

// RetainResult tells what retention did.
type RetainResult struct {
	Days    []DayRetained `json:"days"` // that had something to remove, or would have but for a hold
	Removed int64         `json:"removed"`
	// RemovedForSize are those of them that were of days of which something went because of a size.
	RemovedForSize int64    `json:"removedForSize"`
	Damaged        []Damage `json:"damaged"` // files that could not be read to tell what they hold: they are kept
	// Bytes are what is left, as MaxBytes counts; Over is by how much that is more than MaxBytes, since what is left is on
	// hold, of today or later, or has no time.
	Bytes int64 `json:"bytes"`
	Over  int64 `json:"over"`
	// OverBy is by how much classes have more than their size, for the same reasons.
	OverBy map[string]int64 `json:"overBy,omitempty"`
	Redone int              `json:"redone"` // how often a day was begun anew, as other changes took away files of it
}

// Retain removes events that are older than their class is kept: whole days where every class has expired, otherwise the
// files of the day are written anew without them. Then it removes what is too much, from the oldest day on. Days that a
// hold covers stay whole, and today and what comes after it is never removed for its size. The removed files leave the
// disk with [Store.Expire]. Other changes of the store go on beside it: a day of which they took away files is begun anew.
func (s *Store) Retain(ctx context.Context, opts RetainOptions) (*RetainResult, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	if err := opts.check(); err != nil {
		return nil, err
	}
	plan, release, err := s.pin(ctx, table.Filter{})
	if err != nil {
		return nil, fmt.Errorf("retention: %w", err)
	}
	defer release()
	res := &RetainResult{Days: []DayRetained{}, Damaged: []Damage{}, OverBy: map[string]int64{}}
	s.counts.keep(plan.Files)
	days, err := s.expiring(ctx, plan.Files, opts, res)
	if err != nil {
		return res, fmt.Errorf("retention: %w", err)
	}
	// What is decided by age and class does not change when more arrives; a day takes its own lease.
	release()
	for _, d := range days {
		if len(d.expired) == 0 {
			continue
		}
		if err := s.retain(ctx, d, opts.DryRun, res); err != nil {
			return res, err
		}
	}
	return res, nil
}

// dayToRetain is a day, and what of it is to be removed.
type dayToRetain struct {
	day      time.Time
	files    []table.File
	held     bool
	old      bool     // is over
	expired  []string // classes
	oversize []string // those of them that go for size
}

func (d *dayToRetain) expire(class string, size bool) {
	if slices.Contains(d.expired, class) {
		return
	}
	d.expired = append(d.expired, class)
	if size {
		d.oversize = append(d.oversize, class)
	}
}

// expiring decides what is to be removed, the oldest day first.
func (s *Store) expiring(ctx context.Context, files []table.File, opts RetainOptions, res *RetainResult) ([]*dayToRetain, error) {
	now, st := s.opts.Now(), s.st.Load()
	var days []*dayToRetain
	var untimed []table.File // nobody knows how old they are
	for _, files := range byDay(files) {
		day := files[0].Day
		if day.IsZero() {
			untimed = files
			continue
		}
		d := &dayToRetain{day: day, files: files, old: !day.Add(24 * time.Hour).After(now)}
		_, d.held = st.held(day)
		for _, class := range classes {
			if limit, ok := opts.Ages[class]; ok && now.Sub(day.Add(24*time.Hour)) > limit {
				d.expire(class, false)
			}
		}
		days = append(days, d)
	}
	for _, class := range classes {
		limit, ok := opts.Sizes[class]
		if !ok {
			continue
		}
		var total int64
		sizes := make([]int64, len(days))
		for i, d := range days {
			if slices.Contains(d.expired, class) && !d.held {
				continue
			}
			for _, f := range d.files {
				n, err := s.classBytes(ctx, f, class, res)
				if err != nil {
					return nil, err
				}
				sizes[i] += n
			}
			total += sizes[i]
		}
		for i, d := range days {
			if total <= limit {
				break
			}
			if d.old && !d.held && sizes[i] > 0 {
				d.expire(class, true)
				total -= sizes[i]
			}
		}
		if total > limit {
			res.OverBy[class] = total - limit
			s.opts.Log.Error("store: events of a class take more than they may, and none of them may go: they are of today, or on hold",
				"class", class, "bytes", total, "limit", limit)
		}
	}
	// What the files of a day will take without the expired classes is estimated by their share.
	left := make([]int64, len(days))
	for _, f := range untimed {
		res.Bytes += s.bytes(f)
	}
	for i, d := range days {
		for _, f := range d.files {
			size := s.bytes(f)
			switch {
			case d.held:
			case len(d.expired) == len(classes):
				size = 0
			default:
				for _, class := range d.expired {
					n, err := s.classBytes(ctx, f, class, res)
					if err != nil {
						return nil, err
					}
					size -= n
				}
			}
			left[i] += max(0, size)
		}
		res.Bytes += left[i]
	}
	if opts.MaxBytes == 0 {
		return days, nil
	}
	for i, d := range days {
		if res.Bytes <= opts.MaxBytes {
			break
		}
		if !d.old || d.held {
			continue
		}
		for _, class := range classes {
			d.expire(class, true)
		}
		res.Bytes -= left[i]
	}
	if res.Over = max(0, res.Bytes-opts.MaxBytes); res.Over > 0 {
		s.opts.Log.Error("store: it is larger than it may be, and nothing of it may go: what is left is of today, on hold, or without a time",
			"bytes", res.Bytes, "limit", opts.MaxBytes)
	}
	return days, nil
}

// bytes is what a data file and its index file take.
func (s *Store) bytes(f table.File) int64 {
	n := f.Bytes
	if info, err := os.Stat(idsPath(s.dir, f.Name)); err == nil { // it is made again when it is missing
		n += info.Size()
	}
	return n
}

// classBytes is the share of a class in what a file takes. A damaged file is kept, so nothing can be had from it.
func (s *Store) classBytes(ctx context.Context, f table.File, class string, res *RetainResult) (int64, error) {
	counts, err := s.countClasses(ctx, f)
	var bad *fileError
	switch {
	case errors.As(err, &bad) && ctx.Err() == nil:
		res.damaged(bad)
		return 0, nil
	case err != nil || f.Rows == 0:
		return 0, err
	}
	return int64(float64(s.bytes(f)) * float64(counts[class]) / float64(f.Rows)), nil
}

// damaged notes a file that could not be read, once.
func (r *RetainResult) damaged(bad *fileError) {
	if !slices.ContainsFunc(r.Damaged, func(d Damage) bool { return d.File == bad.file.Name }) {
		r.Damaged = append(r.Damaged, Damage{File: bad.file.Name, Day: dayName(bad.file), Rows: bad.file.Rows, What: bad.err.Error()})
	}
}

// retain removes from a day what was decided. Where other changes take away files meanwhile, it goes on with those that
// are there now.
func (s *Store) retain(ctx context.Context, d *dayToRetain, dry bool, res *RetainResult) error {
	done := DayRetained{Day: dayName(d.files[0]), Expired: d.expired, Oversize: d.oversize}
	for _, f := range d.files {
		done.Rows += f.Rows
	}
	add := func() {
		if done.Removed > 0 || done.Held != "" {
			res.Days = append(res.Days, done)
			res.Removed += done.Removed
		}
		if n := done.Removed; n > 0 && len(d.oversize) > 0 {
			res.RemovedForSize += n
			if !dry {
				s.opts.Log.Warn("store: a day was removed as there is too much", "day", done.Day, "events", n, "classes", d.oversize)
			}
		}
	}
	for try := 1; ; try++ {
		if hold, ok := s.st.Load().held(d.day); ok {
			done.Held = hold
			add()
			return nil
		}
		files, release, err := s.filesOfDay(ctx, d.day)
		if err != nil {
			return fmt.Errorf("retention of %s: %w", done.Day, err)
		}
		removed, err := s.retainDay(ctx, files, d.expired, dry, res)
		release()
		done.Removed += removed
		switch {
		case errors.Is(err, errHeld): // since just now
			continue
		case errors.Is(err, table.ErrConflict) && try < redos:
			res.Redone++
			s.opts.Log.Debug("store: retention of a day is begun anew, as files of it were replaced meanwhile", "day", done.Day)
			continue
		}
		add()
		if err != nil {
			return fmt.Errorf("retention of %s: %w", done.Day, err)
		}
		return nil
	}
}

// retainDay removes events of expired classes from files of a day.
func (s *Store) retainDay(ctx context.Context, files []table.File, expired []string, dry bool, res *RetainResult) (removed int64, _ error) {
	if len(files) == 0 {
		return 0, nil
	}
	if len(expired) == len(classes) {
		for _, f := range files {
			removed += f.Rows
		}
		if dry {
			return removed, nil
		}
		if err := s.drop(ctx, files, removed); err != nil {
			return 0, err
		}
		return removed, nil
	}
	keep := func(e *event.Event) bool { return !slices.Contains(expired, e.Category()) }
	for _, f := range files {
		counts, err := s.countClasses(ctx, f)
		var n int64
		for _, class := range expired {
			n += counts[class]
		}
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
			res.damaged(bad)
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
	_, err := s.exchange(ctx, files, nil, func(st *state) error {
		st.remove(map[string]int64{dayName(files[0]): rows})
		return st.free(files[0].Day)
	})
	return err
}

// classCounts remembers how many events of each class data files have, as these never change. The zero value is ready.
type classCounts struct {
	mu sync.Mutex
	of map[string]map[string]int64 // by file
}

func (c *classCounts) get(file string) (map[string]int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n, ok := c.of[file]
	return n, ok
}

func (c *classCounts) set(file string, n map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.of == nil {
		c.of = map[string]map[string]int64{}
	}
	c.of[file] = n
}

// keep forgets files that are not there any more.
func (c *classCounts) keep(files []table.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.of
	c.of = make(map[string]map[string]int64, len(was))
	for _, f := range files {
		if n, ok := was[f.Name]; ok {
			c.of[f.Name] = n
		}
	}
}

// countClasses tells how many events of each class a data file has. Where the statistics of the file say that all are of
// one class, nothing else is read, and where its column of classes tells it, only that. Do not change what it returns.
func (s *Store) countClasses(ctx context.Context, f table.File) (map[string]int64, error) {
	if n, ok := s.counts.get(f.Name); ok {
		return n, nil
	}
	if class, ok := onlyClass(f); ok {
		n := map[string]int64{class: f.Rows}
		s.counts.set(f.Name, n)
		return n, nil
	}
	n := columnClasses(ctx, f)
	if n == nil {
		n = map[string]int64{}
		_, what, err := readRows(ctx, f, func(e *event.Event) { n[strings.Clone(e.Category())]++ })
		if err == nil && what != "" {
			err = &fileError{f, errors.New(what)}
		}
		if err != nil {
			return nil, err
		}
	}
	s.counts.set(f.Name, n)
	return n, nil
}

// columnClasses counts the values of eventCategory, or gives nil where they do not tell the classes of all rows.
func columnClasses(ctx context.Context, f table.File) (counts map[string]int64) {
	defer func() {
		if recover() != nil { // by which the Parquet library answers some damage
			counts = nil
		}
	}()
	r, err := file.OpenParquetFile(f.Path, false)
	if err != nil {
		return nil
	}
	defer r.Close() // was opened for reading
	at := r.MetaData().Schema.ColumnIndexByName("eventCategory")
	if at < 0 {
		return nil
	}
	counts = map[string]int64{}
	values := make([]parquet.ByteArray, 4096)
	levels := make([]int16, 2*len(values))
	var rows int64
	for g := range r.NumRowGroups() {
		col, err := r.RowGroup(g).Column(at)
		if err != nil {
			return nil
		}
		texts, ok := col.(*file.ByteArrayColumnChunkReader)
		for ok && texts.HasNext() {
			n, got, err := texts.ReadBatch(int64(len(values)), values, levels[:len(values)], levels[len(values):])
			if err != nil || n == 0 || int64(got) != n || ctx.Err() != nil {
				return nil
			}
			for _, v := range values[:got] {
				if len(v) == 0 {
					return nil
				}
				counts[string(v)]++
			}
			rows += n
		}
		if !ok || texts.Err() != nil {
			return nil
		}
	}
	if rows != f.Rows {
		return nil
	}
	return counts
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

// forgetLeft forgets when snapshots were replaced that nobody can ask for any more.
func (s *Store) forgetLeft(snapshots []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range snapshots {
		delete(s.left, id)
	}
}

// Expire forgets the versions of the store that were replaced longer ago than the grace period, and deletes the files
// that only they had. What a hold refers to stays, and what a plan of this process may refer to that was not released.
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
	done, err := s.table.Expire(ctx, max(0, opts.Grace), s.leased)
	s.forgetLeft(done.Gone)
	res := &ExpireResult{Snapshots: done.Snapshots, Files: len(done.Files), Bytes: done.Bytes}
	for _, f := range done.Files {
		if rerr := os.Remove(idsPath(s.dir, f.Name)); rerr != nil && !errors.Is(rerr, os.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	if err != nil {
		return res, fmt.Errorf("expire: %w", err)
	}
	res.State, err = s.sweepState()
	return res, err
}
