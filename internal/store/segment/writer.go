package segment

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/google/uuid"

	"spoor/internal/dedup"
	"spoor/internal/event"
)

// Options of a [Writer].
type Options struct {
	// Dir is the folder of the store; files go into data and index below it.
	Dir string
	// RowGroup is how many rows a row group has at most, 20 480 when 0. A reader unpacks whole row groups, and Bloom
	// filters are made for about so many rows.
	RowGroup int
	// MaxRows is how many rows a file has at most, without limit when 0. A day with more gets several files.
	MaxRows int
}

const defaultRowGroup = 20480

// Segment is a file that was written.
type Segment struct {
	Path    string    // Parquet file, relative to the store's folder, with slashes
	IDsPath string    // the .ids file beside it
	Day     time.Time // its eventDay, midnight UTC
	Rows    int64
	Bytes   int64 // of the Parquet file
	// MinTime and MaxTime are the first and last eventTime, to the microsecond as in the file. Events without a time have a
	// file of their own, where both are zero.
	MinTime, MaxTime time.Time
}

// Writer collects events in memory and writes them as segments. It is not safe for concurrent use; several writers may
// write into one folder at once.
type Writer struct {
	opts   Options
	blocks [][]row // each of blockRows
	n      int
	arena  arena
	bytes  int64
	file   string
	actors event.ActorCache
	enc    *encoder
	keys   []dedup.Key
}

const blockRows = 1024

// NewWriter returns a writer without events.
func NewWriter(opts Options) *Writer {
	if opts.RowGroup <= 0 {
		opts.RowGroup = defaultRowGroup
	}
	return &Writer{opts: opts}
}

// Add takes an event. Nothing of e is kept: it is copied. actor may be nil, and is derived then; its strings are kept.
func (w *Writer) Add(e *event.Event, actor *event.Actor) error {
	if actor == nil {
		actor = w.actors.Of(e)
	}
	if w.n == len(w.blocks)*blockRows {
		w.blocks = append(w.blocks, make([]row, blockRows))
	}
	r := &w.blocks[w.n/blockRows][w.n%blockRows]
	w.n++
	r.ev = *e
	r.ev.Raw = w.arena.copy(e.Raw)
	if e.File != w.file {
		w.file = strings.Clone(e.File)
	}
	r.ev.File = w.file
	r.actor = *actor
	w.bytes += int64(len(e.Raw)) + rowBytes
	return nil
}

// rowBytes is about what a row takes beside its record.
const rowBytes = 720

// Rows is how many events wait to be written.
func (w *Writer) Rows() int { return w.n }

// Bytes is about how much memory the events that wait take.
func (w *Writer) Bytes() int64 { return w.bytes }

// Reset forgets the events that wait.
func (w *Writer) Reset() {
	for i := range w.blocks {
		clear(w.blocks[i])
	}
	w.n, w.bytes = 0, 0
	w.arena.reset()
}

// Flush writes the events that wait, one file or more for each day, and syncs files and folders. After an error nothing
// of it is left in the folder, and the events still wait.
func (w *Writer) Flush(ctx context.Context) ([]Segment, error) {
	if w.enc == nil {
		w.enc = newEncoder()
	}
	segs, err := w.flush(ctx)
	w.enc.reset()
	if err != nil {
		for _, s := range segs {
			err = errors.Join(err, removeSegment(w.opts.Dir, s))
		}
		return nil, err
	}
	w.Reset()
	return segs, nil
}

func removeSegment(dir string, s Segment) error {
	var errs []error
	for _, p := range [...]string{s.Path, s.IDsPath} {
		if err := os.Remove(filepath.Join(dir, filepath.FromSlash(p))); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove an unfinished file: %w", err))
		}
	}
	return errors.Join(errs...)
}

func (w *Writer) flush(ctx context.Context) ([]Segment, error) {
	order := w.sorted()
	var out []Segment
	folders := map[string]bool{}
	for len(order) > 0 {
		day, timeless := order[0].row.day(), order[0].time == 0
		n := 1
		for n < len(order) && order[n].row.day() == day && (order[n].time == 0) == timeless && (w.opts.MaxRows <= 0 || n < w.opts.MaxRows) {
			n++
		}
		seg, err := w.segment(ctx, day, order[:n], folders)
		out = append(out, seg)
		if err != nil {
			return out, err
		}
		order = order[n:]
	}
	for f := range folders {
		if err := syncFolder(f); err != nil {
			return out, err
		}
	}
	return out, nil
}

// place is a row with the beginning of what it is sorted by.
type place struct {
	time int64
	id   uint64
	row  *row
}

// sorted gives the rows in the order of (eventTime, eventID).
func (w *Writer) sorted() []place {
	out := make([]place, 0, w.n)
	for i := range w.n {
		r := &w.blocks[i/blockRows][i%blockRows]
		var head [8]byte
		copy(head[:], r.ev.ID())
		out = append(out, place{r.ev.Time, binary.BigEndian.Uint64(head[:]), r})
	}
	slices.SortFunc(out, func(a, b place) int {
		if c := cmp.Compare(a.time, b.time); c != 0 {
			return c
		}
		if c := cmp.Compare(a.id, b.id); c != 0 {
			return c
		}
		if c := strings.Compare(a.row.ev.ID(), b.row.ev.ID()); c != 0 {
			return c
		}
		return bytes.Compare(a.row.ev.Raw, b.row.ev.Raw)
	})
	return out
}

// segment writes one file. The segment that it returns names what was begun, also with an error.
func (w *Writer) segment(ctx context.Context, day int32, rows []place, folders map[string]bool) (Segment, error) {
	name := uuid.NewString()
	seg := Segment{Day: time.Unix(int64(day)*86400, 0).UTC(), Rows: int64(len(rows)), IDsPath: "index/" + name + ".ids"}
	seg.Path = "data/eventDay=" + seg.Day.Format(time.DateOnly) + "/" + name + ".parquet"
	if rows[0].time != 0 {
		seg.MinTime = time.UnixMicro(rows[0].row.micros()).UTC()
		seg.MaxTime = time.UnixMicro(rows[len(rows)-1].row.micros()).UTC()
	}
	for _, p := range [...]string{seg.Path, seg.IDsPath} {
		if err := w.folder(path.Dir(p), folders); err != nil {
			return seg, err
		}
	}
	size, err := w.parquet(ctx, filepath.Join(w.opts.Dir, filepath.FromSlash(seg.Path)), rows)
	if err != nil {
		return seg, fmt.Errorf("write %s: %w", seg.Path, err)
	}
	seg.Bytes = size
	w.keys = w.keys[:0]
	for _, r := range rows {
		w.keys = append(w.keys, dedup.KeyOf(&r.row.ev))
	}
	if err := dedup.WriteIDs(filepath.Join(w.opts.Dir, filepath.FromSlash(seg.IDsPath)), w.keys, rows[0].time, rows[len(rows)-1].time); err != nil {
		return seg, err
	}
	return seg, nil
}

// folder makes a folder below the store's, and notes which folders must be synced.
func (w *Writer) folder(rel string, folders map[string]bool) error {
	dir := filepath.Join(w.opts.Dir, filepath.FromSlash(rel))
	if folders[dir] {
		return nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return fmt.Errorf("make a folder for events: %w", err)
	}
	for d := rel; ; d = path.Dir(d) {
		folders[filepath.Join(w.opts.Dir, filepath.FromSlash(d))] = true
		if d == "." {
			return nil
		}
	}
}

func (w *Writer) parquet(ctx context.Context, name string, rows []place) (int64, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return 0, err
	}
	defer f.Close() // again after the Close that counts
	out := &buffered{f: f}
	pw, err := file.NewParquetWriterWithError(out, parquetSchema(), file.WithWriterProps(writerProperties(min(len(rows), w.opts.RowGroup))))
	if err != nil {
		return 0, err
	}
	for len(rows) > 0 {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		n := min(len(rows), w.opts.RowGroup)
		w.enc.reset()
		for _, r := range rows[:n] {
			w.enc.add(r.row)
		}
		if err := w.enc.write(pw); err != nil {
			return 0, err
		}
		rows = rows[n:]
	}
	if err := pw.Close(); err != nil {
		return 0, err
	}
	if err := out.flush(); err != nil {
		return 0, err
	}
	if err := f.Sync(); err != nil {
		return 0, err
	}
	return out.n, f.Close()
}

// writerProperties says how the columns lie in a file whose row groups have so many rows.
func writerProperties(rows int) *parquet.WriterProperties {
	const pageBytes = 1 << 20
	props := []parquet.WriterProperty{
		parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithDataPageVersion(parquet.DataPageV1),
		parquet.WithCreatedBy("spoor"),
		parquet.WithRootName("spoor"),
		parquet.WithCompression(compress.Codecs.Zstd),
		parquet.WithCompressionLevel(3),
		parquet.WithDataPageSize(pageBytes),
		parquet.WithBatchSize(256),
		parquet.WithDictionaryDefault(true),
		parquet.WithDictionaryPageSizeLimit(1 << 20),
		parquet.WithMaxStatsSize(128),
		parquet.WithMaxBloomFilterBytes(64 << 10),
	}
	var each func(path string, cols []Column)
	each = func(path string, cols []Column) {
		for _, c := range cols {
			p := path + c.Name
			switch c.Type {
			case Struct:
				each(p+".", c.Fields)
				continue
			case List:
				each(p+".list.", c.Fields)
				continue
			}
			switch c.like {
			case unique:
				props = append(props, parquet.WithDictionaryFor(p, false))
			case bulky:
				props = append(props, parquet.WithDictionaryFor(p, false), parquet.WithStatsFor(p, false))
			case ascending:
				props = append(props, parquet.WithDictionaryFor(p, false), parquet.WithEncodingFor(p, parquet.Encodings.DeltaBinaryPacked))
			}
			if c.Needle {
				props = append(props, parquet.WithBloomFilterEnabledFor(p, true), parquet.WithBloomFilterFPPFor(p, 0.01))
				if c.like == unique {
					props = append(props, parquet.WithBloomFilterNDVFor(p, int64(rows)))
				} else {
					props = append(props, parquet.WithAdaptiveBloomFilterEnabledFor(p, true), parquet.WithBloomFilterCandidatesFor(p, 6))
				}
			}
		}
	}
	each("", Columns())
	return parquet.NewWriterProperties(props...)
}

// buffered gathers small writes, and counts.
type buffered struct {
	f   *os.File
	buf []byte
	n   int64
}

func (b *buffered) Write(p []byte) (int, error) {
	b.n += int64(len(p))
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

// arena keeps copies of records.
type arena struct {
	blocks [][]byte // each of arenaBlock; blocks[:used] hold something
	used   int
	free   []byte // rest of the newest block
}

const arenaBlock = 1 << 20

func (a *arena) copy(b []byte) []byte {
	if len(b) > arenaBlock/4 {
		return bytes.Clone(b)
	}
	if len(b) > len(a.free) {
		if a.used == len(a.blocks) {
			a.blocks = append(a.blocks, make([]byte, arenaBlock))
		}
		a.free = a.blocks[a.used]
		a.used++
	}
	n := copy(a.free, b)
	out := a.free[:n:n]
	a.free = a.free[n:]
	return out
}

func (a *arena) reset() { a.used, a.free = 0, nil }
