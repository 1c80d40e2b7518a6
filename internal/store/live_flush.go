package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"spoor/internal/ledger"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// flushAll flushes when it is due or asked for, and removes what is not needed any more.
func (l *Live) flushAll(ctx context.Context) error {
	tick := time.NewTicker(min(max(l.o.Publish, 5*time.Millisecond), time.Second))
	defer tick.Stop()
	var retry backoff
	for {
		var answer chan error
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		case <-l.wakeFlush:
		case answer = <-l.flushNow:
		}
		if answer != nil || retry.ready() && l.flushDue() {
			err := l.flush(ctx)
			var bad *rebuildError
			switch {
			case err == nil:
				retry = backoff{}
			case errors.As(err, &bad) || ctx.Err() != nil:
			default:
				retry.failed()
				l.failed("hot rows could not be written to data files; again", err)
			}
			if answer != nil {
				answer <- err
			}
			if bad != nil {
				return bad
			}
		}
		l.removeRetired()
	}
}

// flushDue reports whether there is enough to be flushed, or something has waited long enough.
func (l *Live) flushDue() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if len(l.files) == 0 {
		return false
	}
	var rows int64
	days := 0
	for _, f := range l.files {
		rows += f.Rows
		days = max(days, f.Days)
	}
	if l.stats.Full || rows >= min(l.o.MaxHotRows/2, max(l.o.FlushRows, int64(days)*dayRows)) {
		return true
	}
	wait := l.o.FlushInterval
	if days > fewDays && rows < int64(days)*fewRows {
		wait *= longer
	}
	return l.o.Now().Sub(l.files[0].Published) >= wait
}

// flush writes the hot rows of this moment to data files and commits them. Hot rows that come meanwhile stay.
func (l *Live) flush(ctx context.Context) error {
	began := time.Now()
	l.merging.Lock() // waits for a merge, as its files must not be taken from under it
	l.mu.Lock()
	files := slices.Clone(l.files)
	l.claimed = len(files)
	l.mu.Unlock()
	l.merging.Unlock()
	defer func() {
		l.mu.Lock()
		l.claimed = 0
		l.mu.Unlock()
	}()
	if len(files) == 0 {
		return nil
	}
	plain := make([]hotFile, len(files))
	for i, f := range files {
		plain[i] = f.hotFile
	}
	to := plain[len(plain)-1].To
	segs, rows, err := l.commitFiles(ctx, l.id, plain)
	if err != nil {
		return err
	}
	if err := l.step("flush committed"); err != nil {
		return err
	}
	l.mu.Lock()
	l.files = slices.Clone(l.files[len(files):])
	l.claimed = 0
	l.committed = to
	l.leaving = append(l.leaving, files...)
	l.closing = append(l.closing, files...)
	l.stats.Flushes++
	l.stats.FlushedRows += uint64(rows)
	l.stats.FlushedFiles += uint64(len(segs))
	l.stats.LastFlush = l.o.Now()
	l.stats.FlushTime = time.Since(began)
	l.stats.FlushTimeAll += l.stats.FlushTime
	l.stats.LastError = ""
	l.notify()
	l.mu.Unlock()
	l.dirty.Store(true)
	if err := l.name(); err != nil { // until it is written, the old one names files that mean nothing any more
		l.failed("the list of hot files could not be written; again", err)
	}
	if err := l.step("flush ack"); err != nil {
		return err
	}
	if err := l.follower.Ack(ctx, to); err != nil && ctx.Err() == nil {
		// The next flush acknowledges this one, too.
		l.failed("the journal did not take the acknowledgement of what is committed", err)
	}
	l.o.Log.Info("store: hot rows are in data files", "rows", rows, "files", len(segs), "sequence", to, "seconds", time.Since(began).Seconds())
	return nil
}

// commitFiles writes the rows of hot files, which follow each other, to data files and commits them with the sequence of
// the journal that they reach to.
func (l *Live) commitFiles(ctx context.Context, id string, files []hotFile) (segs []segment.Segment, rows int64, err error) {
	if err := l.step("flush merge"); err != nil {
		return nil, 0, err
	}
	reports := make([]*ledger.Report, len(files))
	for i := range files {
		if reports[i], err = readHotLedger(l.s.dir, &files[i]); err != nil {
			return nil, 0, l.damaged(fmt.Errorf("%s: %w", files[i].ledger(), err))
		}
	}
	report := ledger.Merge(reports...)
	if !report.Balanced {
		return nil, 0, fmt.Errorf("the ledger of what was taken does not balance: %s", report.Problems[0])
	}
	segs, err = l.writeDays(ctx, files)
	if err != nil {
		return nil, 0, err
	}
	for _, g := range segs {
		rows += g.Rows
	}
	if rows != report.Records.Kept {
		return nil, 0, errors.Join(fmt.Errorf("%d events were written where the ledger kept %d", rows, report.Records.Kept), removeSegments(l.s.dir, segs))
	}
	if err := l.step("flush commit"); err != nil {
		return nil, 0, errors.Join(err, removeSegments(l.s.dir, segs))
	}
	more, err := l.s.prepare(report, nil)
	if err != nil {
		return nil, 0, errors.Join(err, removeSegments(l.s.dir, segs))
	}
	defer more.done()
	run := l.run
	run.Ended = l.o.Now().UTC()
	run.Objects, run.Records = addObjects(run.Objects, report.Objects), addRecords(run.Records, report.Records)
	_, err = l.s.append(ctx, segs, func(st *state) error {
		more.apply(st)
		st.Journal = &journalMark{ID: id, Seq: files[len(files)-1].To}
		st.Runs = slices.DeleteFunc(st.Runs, func(r Run) bool { return r.Began.Equal(run.Began) && slices.Equal(r.Inputs, run.Inputs) })
		st.Runs = append(st.Runs, run)
		st.Runs = st.Runs[max(0, len(st.Runs)-runsKept):]
		return nil
	})
	if err != nil {
		if !errors.Is(err, table.ErrUnknown) {
			err = errors.Join(err, removeSegments(l.s.dir, segs))
		}
		return nil, 0, err
	}
	l.run = run
	return segs, rows, nil
}

func addObjects(a, b ledger.Objects) ledger.Objects {
	return ledger.Merge(&ledger.Report{Objects: a}, &ledger.Report{Objects: b}).Objects
}

func addRecords(a, b ledger.Records) ledger.Records {
	return ledger.Merge(&ledger.Report{Records: a}, &ledger.Report{Records: b}).Records
}

// writeDays writes the rows of hot files to data files, one or more for each day.
func (l *Live) writeDays(ctx context.Context, files []hotFile) (_ []segment.Segment, err error) {
	files = slices.DeleteFunc(slices.Clone(files), func(f hotFile) bool { return f.Rows == 0 })
	if len(files) == 0 {
		return nil, nil
	}
	var between []hotFile
	defer func() {
		for i := range between {
			if rerr := removeHot(l.s.dir, &between[i]); rerr != nil {
				l.o.Log.Warn("store: a temporary file stays until the next start", "error", rerr)
			}
		}
	}()
	// Of more than can be read side by side, the smallest ones are merged before.
	slices.SortStableFunc(files, func(a, b hotFile) int { return cmp.Compare(a.Rows, b.Rows) })
	for len(files) > 2 && cost(files...) > hotMemory {
		n := 2
		for n < len(files) && cost(files[:n+1]...) <= hotMemory && cost(files[n-1:]...) > hotMemory {
			n++
		}
		f, err := l.mergeFiles(ctx, files[:n])
		if err != nil {
			return nil, err
		}
		between = append(between, f)
		files = append(slices.Clone(files[n:]), f)
	}
	segs, err := l.s.mergeInto(ctx, l.tables(files), segment.Options{Dir: l.s.dir, MaxRows: rewriteRows}, nil)
	return segs, l.rebuild(ctx, err)
}

// rebuild tells damage of hot files from other errors.
func (l *Live) rebuild(ctx context.Context, err error) error {
	var bad *fileError
	if ctx.Err() == nil && errors.As(err, &bad) {
		return l.damaged(err)
	}
	return err
}

// damaged notes that hot files are damaged, and gives the error that has them made again.
func (l *Live) damaged(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.published = true, l.committed
	return &rebuildError{err}
}

// cost is about how much memory reading files side by side takes: of each, the compressed columns of a row group, and a
// page of each column.
func cost(files ...hotFile) (n int64) {
	const page, own = 2 << 20, 1 << 20
	for _, f := range files {
		n += f.Group/3 + own
		if f.Group > hotBigGroup {
			n += f.Group // a record that is larger than a page is a page
		} else {
			n += min(f.Group, page)
		}
	}
	return n
}

// hotBigGroup is how large the row groups of hot files are at most, but for those of single large records.
const hotBigGroup = 12 << 20

func (l *Live) tables(files []hotFile) []table.File {
	out := make([]table.File, 0, len(files))
	for i := range files {
		if files[i].Rows > 0 {
			out = append(out, files[i].table(l.s.dir))
		}
	}
	return out
}

// mergeFiles writes the rows of hot files, of which some have rows, as one.
func (l *Live) mergeFiles(ctx context.Context, files []hotFile) (hotFile, error) {
	tables := l.tables(files)
	var rows int64
	for _, f := range tables {
		rows += f.Rows
	}
	segs, err := l.s.mergeInto(ctx, tables, segment.Options{Dir: l.s.dir, Hot: true, MaxRows: int(rows)}, nil)
	if err != nil {
		return hotFile{}, l.rebuild(ctx, err)
	}
	if len(segs) != 1 || segs[0].Rows != rows {
		return hotFile{}, errors.Join(fmt.Errorf("merging %d hot rows gave %d files", rows, len(segs)), removeSegments(l.s.dir, segs))
	}
	return hotOf(segs[0]), nil
}

// mergeAllHot merges hot files when there are many.
func (l *Live) mergeAllHot(ctx context.Context) error {
	var retry backoff
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.wakeMerge:
		}
		if !retry.ready() {
			continue // the next publication wakes it again
		}
		err := l.mergeHot(ctx)
		var bad *rebuildError
		switch {
		case err == nil:
			retry = backoff{}
		case ctx.Err() != nil:
		case errors.As(err, &bad):
			return bad
		default:
			retry.failed()
			l.failed("hot files could not be merged; again", err)
		}
	}
}

// mergeHot merges hot files that no flush works on, when there are many.
func (l *Live) mergeHot(ctx context.Context) error {
	l.merging.Lock()
	defer l.merging.Unlock()
	l.mu.RLock()
	free := slices.Clone(l.files[l.claimed:])
	l.mu.RUnlock()
	from, to := mergeable(free)
	if to-from < 2 {
		return nil
	}
	part := free[from:to]
	if err := l.step("hot merge"); err != nil {
		return err
	}
	plain := make([]hotFile, len(part))
	reports := make([]*ledger.Report, len(part))
	f := hotFile{Name: uuid.NewString()}
	var err error
	for i, p := range part {
		plain[i] = p.hotFile
		if reports[i], err = readHotLedger(l.s.dir, &plain[i]); err != nil {
			return l.damaged(fmt.Errorf("%s: %w", plain[i].ledger(), err))
		}
		f.Days = max(f.Days, p.Days)
	}
	if len(l.tables(plain)) > 0 {
		days := f.Days
		if f, err = l.mergeFiles(ctx, plain); err != nil {
			return err
		}
		f.Days = days
	}
	f.From, f.To, f.Published = plain[0].From, plain[len(plain)-1].To, plain[0].Published
	err = l.writeHotLedger(&f, ledger.Merge(reports...))
	var live *liveFile
	if err == nil {
		live, err = l.open(f)
	}
	if err != nil {
		return errors.Join(err, removeHot(l.s.dir, &f))
	}
	l.mu.Lock()
	at := slices.Index(l.files, part[0]) // a flush may have ended meanwhile, of files before them
	l.files = slices.Replace(slices.Clone(l.files), at, at+len(part), live)
	l.leaving = append(l.leaving, part...)
	l.closing = append(l.closing, part...)
	l.stats.Merges++
	l.mu.Unlock()
	l.dirty.Store(true)
	return l.name()
}

// mergeable picks files that follow each other, none when there are not many: the last ones that together are no smaller
// than half of the one before, so that a row is written anew a few times only, as far as memory allows.
func mergeable(files []*liveFile) (from, to int) {
	if len(files) <= hotFilesMost {
		return 0, 0
	}
	from = len(files) - 1
	sum := files[from].Rows + 1
	for from > 0 && (files[from-1].Rows <= 2*sum || from > len(files)-hotFilesMost/2) {
		from--
		sum += files[from].Rows + 1
	}
	var all int64
	for to = from; to < len(files); to++ {
		if all += cost(files[to].hotFile); all > hotMemory/2 && to-from >= 2 {
			break
		}
	}
	return from, to
}

// adopt commits hot rows of a journal that is not followed any more, which nothing else has.
func (l *Live) adopt(ctx context.Context, id string, files []hotFile) error {
	var whole []hotFile
	for i := range files {
		what, err := checkHot(ctx, l.s.dir, &files[i])
		if err != nil {
			return err
		}
		if what != "" {
			l.o.Log.Error("store: a hot file is damaged, and its journal is not the one that is followed: its events are lost", "file", files[i].parquet(), "events", files[i].Rows, "what", what, "journal", id)
			l.count(func(st *LiveStats) { st.Orphaned += uint64(files[i].Rows) })
			continue
		}
		whole = append(whole, files[i])
	}
	if len(whole) == 0 {
		return nil
	}
	l.o.Log.Warn("store: hot rows of a journal that is not followed any more are committed", "journal", id, "files", len(whole))
	_, _, err := l.commitFiles(ctx, id, whole)
	return err
}
