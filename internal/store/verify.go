package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"golang.org/x/sync/errgroup"

	"spoor/internal/dedup"
	"spoor/internal/event"
	"spoor/internal/ledger"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// VerifyOptions say how much is proven.
type VerifyOptions struct {
	// Deep reads every column of every file too, not only the records.
	Deep bool
	// Workers is how many files are read at once, as many as there are processors when 0.
	Workers int
	// Progress, when set, is called with the files and rows that were read so far, from several goroutines.
	Progress func(files, of int, rows int64)
}

// Verification is what [Store.Verify] found. The store is as it was written when Damaged and Problems are empty.
type Verification struct {
	Files   int      `json:"files"`
	Rows    int64    `json:"rows"` // that the data files hold and that could be read
	Kept    int64    `json:"kept"` // by the ledger
	Removed int64    `json:"removed"`
	Lost    int64    `json:"lost"`  // rows that the ledger counts and that could not be read
	Twice   int64    `json:"twice"` // rows whose event is there more than once
	Damaged []Damage `json:"damaged"`
	// Days are the event days that miss something, with how much by the ledger, where it tells.
	Days     []DayLoss `json:"days"`
	Problems []string  `json:"problems"` // of the store as a whole
	// HotFiles and HotRows are what was taken from a journal and is not in data files yet; Rows and Kept do not count it.
	HotFiles int     `json:"hotFiles"`
	HotRows  int64   `json:"hotRows"`
	Deep     bool    `json:"deep"`
	Seconds  float64 `json:"seconds"`
}

// DayLoss is a day whose rows are not those that the ledger counts.
type DayLoss struct {
	Day      string `json:"day"`
	Expected int64  `json:"expected"`
	Read     int64  `json:"read"`
}

// OK reports whether nothing was found.
func (v *Verification) OK() bool {
	return len(v.Damaged) == 0 && len(v.Problems) == 0 && len(v.Days) == 0
}

// Verify reads everything again and holds it against what was written: every data file with its length and footer, every
// record, the order of rows, the ids files, the ledger, the objects that were read; and that no event is there twice.
func (s *Store) Verify(ctx context.Context, opts VerifyOptions) (*Verification, error) {
	began := s.opts.Now()
	if opts.Workers <= 0 {
		opts.Workers = runtime.GOMAXPROCS(0)
	}
	defer s.leases.take(began)()
	plan, st, hot, err := s.now(ctx, table.Filter{})
	if err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	v := &Verification{Files: len(plan.Files), Kept: st.Kept, Removed: st.removedRows(), Deep: opts.Deep, Damaged: []Damage{}, Days: []DayLoss{}, Problems: []string{}}
	read := map[string]int64{} // rows by day
	var mu sync.Mutex          // guards v and read
	done := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(opts.Workers)
	for _, f := range plan.Files {
		g.Go(func() error {
			rows, damage, err := s.verifyFile(gctx, f, opts.Deep)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			v.Rows += rows
			read[dayName(f)] += rows
			v.Damaged = append(v.Damaged, damage...)
			done++
			if opts.Progress != nil {
				opts.Progress(done, len(plan.Files), v.Rows)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	if err := s.verifyHot(ctx, plan.Files, hot, opts.Deep, v); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	slices.SortFunc(v.Damaged, func(a, b Damage) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.File, b.File)) })
	if err := s.verifyTwice(ctx, plan.Files, v); err != nil {
		return nil, fmt.Errorf("verify: %w", err)
	}
	s.verifyState(st, read, v)
	v.Seconds = s.opts.Now().Sub(began).Seconds()
	return v, nil
}

// verifyFile reads a data file and its ids file, which also has the checksum of the data file.
func (s *Store) verifyFile(ctx context.Context, f table.File, deep bool) (rows int64, damage []Damage, _ error) {
	bad := func(name string, rows int64, what string) {
		damage = append(damage, Damage{File: name, Day: dayName(f), Rows: rows, What: what})
	}
	idsName := relative(s.dir, idsPath(s.dir, f.Name))
	ids, err := dedup.OpenIDs(idsPath(s.dir, f.Name))
	if err == nil {
		defer ids.Close() // was opened for reading
		err = ids.Verify()
	}
	if err != nil {
		bad(idsName, 0, plain(err))
		ids = nil
	}
	what := looks(f)
	if what == "" {
		what = footer(f)
	}
	if what != "" {
		bad(f.Name, f.Rows, what)
		return 0, damage, nil
	}
	keys := make([]dedup.Key, 0, min(f.Rows, 2*rewriteRows))
	rows, what, err = readRows(ctx, f, func(e *event.Event) { keys = append(keys, dedup.KeyOf(e)) })
	if err != nil {
		return 0, nil, err
	}
	if what == "" && deep {
		what = readColumns(ctx, f)
	}
	if what == "" && ids != nil {
		sum, err := fileSum(ctx, f.Path)
		switch {
		case ctx.Err() != nil:
			return 0, nil, ctx.Err()
		case err != nil:
			what = plain(err)
		case sum != ids.Sum():
			what = otherSum + "; all of its events can be read, but may have changed"
		}
	}
	if what != "" {
		bad(f.Name, f.Rows-rows, what)
		return rows, damage, ctx.Err()
	}
	if ids != nil && !haveAll(ids, keys) {
		bad(idsName, 0, "does not have the ids of the events in the data file")
	}
	return rows, damage, ctx.Err()
}

// readRows reads the records of a data file and tells what is wrong with them.
func readRows(ctx context.Context, f table.File, each func(*event.Event)) (rows int64, what string, _ error) {
	r, err := segment.Open(ctx, f.Path, time.Time{}, time.Time{})
	if err != nil {
		return 0, plain(err), ctx.Err()
	}
	var ev event.Event
	var last int64
	first := true
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = rec.Event(&ev)
		}
		switch {
		case ctx.Err() != nil:
			return rows, "", errors.Join(ctx.Err(), r.Close())
		case err != nil:
			return rows, plain(err), r.Close()
		case !first && ev.Time < last:
			return rows, fmt.Sprintf("row %d is out of order", rows+1), r.Close()
		case !isHot(f.Name) && time.Unix(0, ev.Time).UTC().Format(time.DateOnly) != dayName(f):
			return rows, fmt.Sprintf("row %d is of another day", rows+1), r.Close()
		}
		last, first = ev.Time, false
		each(&ev)
		rows++
	}
	if rows != f.Rows {
		what = fmt.Sprintf("has %d events where %d were written", rows, f.Rows)
	}
	return rows, what, r.Close()
}

// readColumns reads every column to its end.
func readColumns(ctx context.Context, f table.File) (what string) {
	defer func() {
		if p := recover(); p != nil { // by which the Parquet library answers some damage
			what = fmt.Sprint(p)
		}
	}()
	r, err := file.OpenParquetFile(f.Path, false)
	if err != nil {
		return plain(err)
	}
	defer r.Close() // was opened for reading
	for g := range r.NumRowGroups() {
		rg := r.RowGroup(g)
		for i := range rg.NumColumns() {
			if ctx.Err() != nil {
				return ""
			}
			col, err := rg.Column(i)
			var n int64
			if err == nil {
				n, err = drain(col)
			}
			if err == nil && n < rg.NumRows() {
				err = fmt.Errorf("%d values for %d rows", n, rg.NumRows())
			}
			if err != nil {
				return fmt.Sprintf("column %s: %v", r.MetaData().Schema.Column(i).Path(), err)
			}
		}
	}
	return ""
}

// drain decodes all pages of a column and counts its values, nulls included.
func drain(col file.ColumnChunkReader) (int64, error) {
	const batch = 1024
	levels := make([]int16, 2*batch)
	def, rep := levels[:batch], levels[batch:]
	var total int64
	for col.HasNext() {
		var n int64
		var err error
		switch col := col.(type) {
		case *file.ByteArrayColumnChunkReader:
			n, _, err = col.ReadBatch(batch, make([]parquet.ByteArray, batch), def, rep)
		case *file.Int64ColumnChunkReader:
			n, _, err = col.ReadBatch(batch, make([]int64, batch), def, rep)
		case *file.Int32ColumnChunkReader:
			n, _, err = col.ReadBatch(batch, make([]int32, batch), def, rep)
		case *file.BooleanColumnChunkReader:
			n, _, err = col.ReadBatch(batch, make([]bool, batch), def, rep)
		default:
			return 0, errors.New("of a type that no column has")
		}
		if err != nil {
			return total, err
		}
		if n == 0 {
			break
		}
		total += n
	}
	return total, col.Err()
}

// verifyTwice looks for events that are there more than once. Two rows of one event have one time, so they lie in files
// of one day.
func (s *Store) verifyTwice(ctx context.Context, files []table.File, v *Verification) error {
	days := map[string][]string{}
	for _, f := range files {
		days[dayName(f)] = append(days[dayName(f)], idsPath(s.dir, f.Name))
	}
	for _, day := range slices.Sorted(maps.Keys(days)) {
		n, err := countTwice(ctx, days[day])
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			v.Problems = append(v.Problems, fmt.Sprintf("%s: whether events are there twice could not be told: %v", day, err))
			continue
		}
		if n > 0 {
			v.Twice += n
			v.Problems = append(v.Problems, fmt.Sprintf("%s: %d events are there more than once", day, n))
		}
	}
	return nil
}

// verifyHot reads the hot files, and looks for events of theirs that are there more than once.
func (s *Store) verifyHot(ctx context.Context, files []table.File, hot hotView, deep bool, v *Verification) (err error) {
	v.Damaged = append(v.Damaged, hot.damage...)
	if len(hot.files) == 0 {
		return nil
	}
	x := dedup.NewIndex()
	defer func() { err = errors.Join(err, x.Close()) }()
	for _, f := range files {
		addTo(x, idsPath(s.dir, f.Name), f.MinTime, f.MaxTime)
	}
	var twice int64
	var unknown error
	has := func(k dedup.Key, at int64) {
		verdict, err := x.Find(k, at)
		if err != nil {
			unknown = err
		} else if verdict == dedup.Duplicate {
			twice++
		}
	}
	var names []string
	for i := range hot.files {
		f := &hot.files[i]
		rows, what, err := verifyHot(ctx, s.dir, f, deep, has)
		if err != nil {
			return err
		}
		v.HotFiles++
		v.HotRows += rows
		switch {
		case what != "":
			v.Damaged = append(v.Damaged, Damage{File: f.parquet(), Day: dayName(f.table(s.dir)), Rows: f.Rows - rows, What: what})
		case f.Rows > 0:
			names = append(names, idsPath(s.dir, f.parquet()))
		}
	}
	n, err := countTwice(ctx, names)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		unknown = err
	}
	if twice += n; twice > 0 {
		v.Twice += twice
		v.Problems = append(v.Problems, fmt.Sprintf("%d events that are not in data files yet are there more than once", twice))
	}
	if unknown != nil {
		v.Problems = append(v.Problems, fmt.Sprintf("whether events that are not in data files yet are there twice could not be told: %v", unknown))
	}
	return nil
}

// verifyState holds the rows against the ledger.
func (s *Store) verifyState(st *state, read map[string]int64, v *Verification) {
	problem := func(format string, args ...any) { v.Problems = append(v.Problems, fmt.Sprintf(format, args...)) }
	v.Lost = max(0, st.Rows-v.Rows)
	if st.Rows != st.Kept-v.Removed {
		problem("state: %d rows, but %d were kept and %d removed", st.Rows, st.Kept, v.Removed)
	}
	if v.Rows != st.Rows {
		problem("ledger: %d events should be there (%d kept, %d removed), %d could be read", st.Rows, st.Kept, v.Removed, v.Rows)
	}
	for _, p := range st.Objects {
		o, err := openPart(s.dir, p)
		if err == nil {
			err = errors.Join(o.check(), o.close())
		}
		if err != nil {
			problem("objects that were read: %s: %v", p.Name, plain(err))
		}
	}
	l, err := st.ledger(s.dir)
	if err != nil {
		problem("ledger: %v", err)
		return
	}
	if !l.Balanced {
		problem("ledger: %s", l.Problems[0])
	}
	if l.Records.Kept != st.Kept {
		problem("ledger: it kept %d events, the state says %d", l.Records.Kept, st.Kept)
	}
	expected, ok := keptByDay(l)
	if !ok {
		return
	}
	for _, r := range st.Removed {
		expected[r.Day] -= r.Rows
	}
	for _, day := range slices.Sorted(maps.Keys(expected)) {
		if n := expected[day]; n != read[day] {
			v.Days = append(v.Days, DayLoss{Day: day, Expected: n, Read: read[day]})
		}
		delete(read, day)
	}
	for _, day := range slices.Sorted(maps.Keys(read)) {
		v.Days = append(v.Days, DayLoss{Day: day, Read: read[day]})
	}
}

// keptByDay adds up what a ledger kept by event day, and false when it does not tell: cells beyond its bound, or by month.
func keptByDay(l *ledger.Report) (map[string]int64, bool) {
	out := map[string]int64{}
	months := true
	for _, c := range l.Cells {
		if c.Account == ledger.Rest && c.Region == ledger.Rest && c.Records.Kept > 0 {
			return nil, false
		}
		if c.Hour.Day() != 1 && !c.Hour.IsZero() {
			months = false
		}
		if c.Records.Kept == 0 {
			continue
		}
		day := c.Hour.UTC().Format(time.DateOnly)
		if c.Hour.IsZero() {
			day = time.Unix(0, 0).UTC().Format(time.DateOnly)
		}
		out[day] += c.Records.Kept
	}
	return out, !months || len(l.Cells) < cellsMax/31
}
