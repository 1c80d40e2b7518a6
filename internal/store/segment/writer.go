package segment

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"

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
	// Hot makes files of rows that wait for their final place, and that can be made again: with the events of all days, in
	// the folder hot, cheaply compressed, without Bloom filters, in small row groups, of which a merge holds one a file, and
	// not synced.
	Hot bool
}

const (
	defaultRowGroup = 20480
	hotRowGroup     = 8192
	// hotGroupBytes is about how much memory the rows of a row group of a hot file take at most.
	hotGroupBytes = 12 << 20
)

// Segment is a file that was written.
type Segment struct {
	Path    string    // Parquet file, relative to the store's folder, with slashes
	IDsPath string    // the .ids file beside it
	Day     time.Time // its eventDay, midnight UTC; zero for a hot one
	Rows    int64
	Bytes   int64 // of the Parquet file
	// MinTime and MaxTime are the first and last eventTime, to the microsecond as in the file. Events without a time have a
	// file of their own, where both are zero, as they are for a hot file with such events.
	MinTime, MaxTime time.Time
	Sum              uint32 // CRC-32C of the Parquet file
	Group            int64  // about the most memory that the rows of one of its row groups take
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
	group  []*row
}

const blockRows = 1024

// NewWriter returns a writer without events.
func NewWriter(opts Options) *Writer {
	if opts.RowGroup <= 0 {
		opts.RowGroup = defaultRowGroup
		if opts.Hot {
			opts.RowGroup = hotRowGroup
		}
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
func (w *Writer) Flush(ctx context.Context) ([]Segment, error) { return w.flush(ctx, nil) }

// Settle is [Writer.Flush] for days of which there are enough events for a file; the events of other days go to aside.
// After an error neither the writer nor aside may be used any more.
func (w *Writer) Settle(ctx context.Context, aside *Spill) ([]Segment, error) {
	return w.flush(ctx, aside)
}

func (w *Writer) flush(ctx context.Context, aside *Spill) ([]Segment, error) {
	if w.enc == nil {
		w.enc = newEncoder()
	}
	out := &output{opts: w.opts, enc: w.enc}
	defer w.enc.reset()
	order := w.sorted()
	var scratch spillScratch
	for len(order) > 0 {
		n, size := 1, len(order[0].row.ev.Raw)
		for n < len(order) && w.opts.sameGroup(order[0].row, order[n].row) {
			size += len(order[n].row.ev.Raw)
			n++
		}
		day := order[:n]
		order = order[n:]
		if aside != nil && n < enoughRows && size < enoughBytes {
			if err := aside.add(w.rows(day), &scratch); err != nil {
				return nil, errors.Join(err, out.abort())
			}
			continue
		}
		for len(day) > 0 {
			n := w.opts.within(day[:min(len(day), out.room(day[0].row))])
			if err := out.write(ctx, w.rows(day[:n])); err != nil {
				return nil, errors.Join(err, out.abort())
			}
			day = day[n:]
		}
	}
	segs, err := out.close()
	if err != nil {
		return nil, errors.Join(err, out.abort())
	}
	w.Reset()
	return segs, nil
}

// within is how many of the rows may lie in one row group by their size, one at least.
func (o *Options) within(rows []place) int {
	if !o.Hot {
		return len(rows)
	}
	size := 0
	for i, p := range rows {
		if size += len(p.row.ev.Raw) + rowBytes; size > hotGroupBytes && i > 0 {
			return i
		}
	}
	return len(rows)
}

// rows gives the rows of places, until it is called again.
func (w *Writer) rows(of []place) []*row {
	w.group = w.group[:0]
	for _, p := range of {
		w.group = append(w.group, p.row)
	}
	return w.group
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

// Single records are read by unpacking a page of each column that they are joined from. So pages are small: with pages of
// 1 MiB, files would be an eighth smaller, and a record would take ten times as long.
const (
	pageBytes   = 128 << 10 // how large a page becomes before it is compressed
	uniqueBytes = 16 << 10  // the same of ids, which compress no better together
)

// dataPageBytes is the same of the other columns.
const dataPageBytes = 1 << 20

// writerProperties says how the columns lie in a file whose row groups have so many rows.
func writerProperties(rows int, hot bool) *parquet.WriterProperties {
	codec := compress.Codecs.Zstd
	if hot {
		codec = compress.Codecs.Snappy
	}
	props := []parquet.WriterProperty{
		parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithDataPageVersion(parquet.DataPageV1),
		parquet.WithCreatedBy("spoor"),
		parquet.WithRootName("spoor"),
		parquet.WithCompression(codec),
		parquet.WithDataPageSize(dataPageBytes),
		parquet.WithBatchSize(1 << 20),
		parquet.WithDictionaryDefault(true),
		parquet.WithDictionaryPageSizeLimit(2 * dictionaryBytes),
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
			if c.Needle && !hot {
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
