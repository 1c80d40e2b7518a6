package segment

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/google/uuid"

	"spoor/internal/dedup"
)

// output writes rows, which come in the order of the files, as segments.
type output struct {
	opts    Options
	enc     *encoder
	segs    []Segment // finished, and begun
	folders map[string]bool
	cur     *segmentFile
	keys    []dedup.Key
}

// segmentFile is the segment being written.
type segmentFile struct {
	seg         Segment
	file        *os.File
	out         *buffered
	pq          *file.Writer
	first, last row      // of which only the time is looked at
	groups      []string // traits of the row groups
	untimed     bool     // some events have no time
}

// sameFile reports whether two rows may lie in one file: they are of one day, and both have a time or none.
func sameFile(a, b *row) bool {
	return a.day() == b.day() && (a.ev.Time == 0) == (b.ev.Time == 0)
}

// sameFile reports whether two rows may lie in one file.
func (o *Options) sameFile(a, b *row) bool { return o.Hot || sameFile(a, b) }

// sameGroup reports whether two rows may lie in one row group: those of one either have a time or have none.
func (o *Options) sameGroup(a, b *row) bool {
	return o.sameFile(a, b) && (a.ev.Time == 0) == (b.ev.Time == 0)
}

// room is how many rows the next row group may have, whose first is given.
func (o *output) room(first *row) int {
	n := o.opts.RowGroup
	if o.opts.MaxRows <= 0 {
		return n
	}
	n = min(n, o.opts.MaxRows)
	if o.cur != nil && o.opts.sameFile(&o.cur.first, first) && int(o.cur.seg.Rows) < o.opts.MaxRows {
		n = min(n, o.opts.MaxRows-int(o.cur.seg.Rows))
	}
	return n
}

// write writes rows as one row group. They may lie in one file.
func (o *output) write(ctx context.Context, rows []*row) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if o.cur != nil && (!o.opts.sameFile(&o.cur.first, rows[0]) || o.opts.MaxRows > 0 && int(o.cur.seg.Rows)+len(rows) > o.opts.MaxRows) {
		if err := o.finish(); err != nil {
			return err
		}
	}
	if o.cur == nil {
		if err := o.begin(rows[0], len(rows)); err != nil {
			return err
		}
	}
	c := o.cur
	o.enc.reset()
	size := int64(0)
	for _, r := range rows {
		o.enc.add(r)
		o.keys = append(o.keys, dedup.KeyOf(&r.ev))
		size += int64(len(r.ev.Raw)) + rowBytes
	}
	c.seg.Group = max(c.seg.Group, size)
	if err := o.enc.write(c.pq); err != nil {
		return fmt.Errorf("write %s: %w", c.seg.Path, err)
	}
	c.groups = append(c.groups, o.enc.traits.String())
	c.seg.Rows += int64(len(rows))
	c.last.ev.Time = rows[len(rows)-1].ev.Time
	c.untimed = c.untimed || rows[0].ev.Time == 0
	return nil
}

// begin makes the file. rows are about as many as a row group gets.
func (o *output) begin(first *row, rows int) error {
	name := uuid.NewString()
	c := &segmentFile{seg: Segment{Path: "hot/" + name + ".parquet", IDsPath: "hot/" + name + ".ids"}}
	if !o.opts.Hot {
		c.seg.Day = time.Unix(int64(first.day())*86400, 0).UTC()
		c.seg.Path = "data/eventDay=" + c.seg.Day.Format(time.DateOnly) + "/" + name + ".parquet"
		c.seg.IDsPath = "index/" + name + ".ids"
	}
	c.first.ev.Time = first.ev.Time
	for _, p := range [...]string{c.seg.Path, c.seg.IDsPath} {
		if err := o.folder(path.Dir(p)); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(o.path(c.seg.Path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return fmt.Errorf("begin a segment: %w", err)
	}
	c.file, c.out = f, &buffered{f: f}
	o.cur, o.keys = c, o.keys[:0]
	if c.pq, err = file.NewParquetWriterWithError(c.out, parquetSchema(), file.WithWriterProps(writerProperties(rows, o.opts.Hot))); err != nil {
		return fmt.Errorf("begin %s: %w", c.seg.Path, err)
	}
	return nil
}

func (o *output) path(rel string) string { return filepath.Join(o.opts.Dir, filepath.FromSlash(rel)) }

// folder makes a folder below the store's, and notes what must be synced.
func (o *output) folder(rel string) error {
	if o.folders[rel] {
		return nil
	}
	if err := os.MkdirAll(o.path(rel), 0o777); err != nil {
		return fmt.Errorf("make a folder for events: %w", err)
	}
	if o.folders == nil {
		o.folders = make(map[string]bool)
	}
	for ; rel != "."; rel = path.Dir(rel) {
		o.folders[rel] = true
	}
	o.folders["."] = true
	return nil
}

// finish completes the file being written.
func (o *output) finish() error {
	c := o.cur
	if c == nil {
		return nil
	}
	fail := func(err error) error { return fmt.Errorf("finish %s: %w", c.seg.Path, err) }
	if err := c.pq.AppendKeyValueMetadata(traitsKey, strings.Join(c.groups, ",")); err != nil {
		return fail(err)
	}
	if err := c.pq.Close(); err != nil {
		return fail(err)
	}
	if err := c.out.flush(); err != nil {
		return fail(err)
	}
	writeIDs := dedup.WriteIDs
	if o.opts.Hot {
		writeIDs = dedup.WriteIDsUnsynced
	} else if err := c.file.Sync(); err != nil {
		return fail(err)
	}
	if err := c.file.Close(); err != nil {
		return fail(err)
	}
	if err := writeIDs(o.path(c.seg.IDsPath), o.keys, c.first.ev.Time, c.last.ev.Time, c.out.sum); err != nil {
		return fail(err)
	}
	if !c.untimed {
		c.seg.MinTime = time.UnixMicro(c.first.micros()).UTC()
		c.seg.MaxTime = time.UnixMicro(c.last.micros()).UTC()
	}
	c.seg.Bytes, c.seg.Sum = c.out.n, c.out.sum
	o.segs, o.cur = append(o.segs, c.seg), nil
	return nil
}

// close completes everything and syncs the folders.
func (o *output) close() ([]Segment, error) {
	if err := o.finish(); err != nil {
		return nil, err
	}
	for f := range o.folders {
		if o.opts.Hot {
			break
		}
		if err := syncFolder(o.path(f)); err != nil {
			return nil, err
		}
	}
	return o.segs, nil
}

// abort removes what was written.
func (o *output) abort() error {
	var errs []error
	if c := o.cur; c != nil {
		_ = c.file.Close() // may be closed already, and goes away anyway
		o.segs = append(o.segs, c.seg)
	}
	for _, s := range o.segs {
		for _, p := range [...]string{s.Path, s.IDsPath} {
			if err := os.Remove(o.path(p)); err != nil && !errors.Is(err, os.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove an unfinished file: %w", err))
			}
		}
	}
	o.segs, o.cur = nil, nil
	return errors.Join(errs...)
}

// buffered gathers small writes, counts, and sums up.
type buffered struct {
	f   *os.File
	buf []byte
	n   int64
	sum uint32 // CRC-32C
}

func (b *buffered) Write(p []byte) (int, error) {
	b.n += int64(len(p))
	b.sum = crc32.Update(b.sum, crc32.MakeTable(crc32.Castagnoli), p)
	if len(b.buf)+len(p) > 1<<18 {
		if err := b.flush(); err != nil {
			return 0, err
		}
		if len(p) > 1<<18 {
			return b.f.Write(p)
		}
	}
	b.buf = append(b.buf, p...)
	return len(p), nil
}

func (b *buffered) flush() error {
	_, err := b.f.Write(b.buf)
	b.buf = b.buf[:0]
	return err
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync a folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder %s: %w", dir, err)
	}
	return nil
}
