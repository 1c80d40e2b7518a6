package segment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"spoor/internal/event"
)

// ErrDamaged says that a segment is not what was written.
var ErrDamaged = errors.New("damaged segment")

// Record is a row as it was read.
type Record struct {
	// Raw is the record, byte for byte as it arrived.
	Raw []byte
	// File and Offset say where it was read.
	File   string
	Offset int64
}

// Event reads the record into e, which then points into it.
func (r *Record) Event(e *event.Event) error {
	if err := e.Reset(r.Raw); err != nil {
		return err
	}
	e.File, e.Offset = r.File, r.Offset
	return nil
}

// Reader gives the records of a segment, in the order of the file.
type Reader struct {
	ctx          context.Context
	name         string
	pq           *file.Reader
	since, until int64 // microseconds; until is not included, both 0 for no bound

	rows  int64
	group int   // the next row group
	left  int64 // rows left in the current one

	rec                                             Record
	buf                                             []byte
	head, params, response, additional, request, id texts
	tail, raw, rawBytes, object                     texts
	times, offsets                                  longs
	columns                                         []column

	sel   *selection        // nil for everything
	names map[string]string // of objects, each once
}

// column is a cursor over one leaf of a row group.
type column interface {
	open(rg *file.RowGroupReader) error
	next() error
	close() error
}

// Open opens a segment by the path of its Parquet file, for the events from since on and before until; zero times are no
// bound. Events without a time are always among them. Row groups outside are not read.
func Open(ctx context.Context, name string, since, until time.Time) (r *Reader, err error) {
	defer damaged(name, &err)
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	useCodec()
	pq, err := file.NewParquetReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrDamaged, err), f.Close())
	}
	r = &Reader{ctx: ctx, name: name, pq: pq, rows: pq.NumRows()}
	if !since.IsZero() {
		r.since = since.UnixMicro()
	}
	if !until.IsZero() {
		r.until = until.UnixMicro()
		if until.Nanosecond()%1000 != 0 {
			r.until++
		}
	}
	leaves := map[int32]int{}
	for i := range pq.MetaData().Schema.NumColumns() {
		leaves[pq.MetaData().Schema.Column(i).SchemaNode().FieldID()] = i
	}
	for _, c := range Columns() {
		leaf, ok := leaves[int32(c.ID)]
		if !ok {
			leaf = -1
		}
		switch {
		case c.from == fromTime:
			r.times.leaf = leaf
			r.columns = append(r.columns, &r.times)
		case c.from == fromOffset:
			r.offsets.leaf = leaf
			r.columns = append(r.columns, &r.offsets)
		default:
			if t := r.texts(&c); t != nil {
				t.leaf = leaf
				r.columns = append(r.columns, t)
			}
		}
	}
	return r, nil
}

func (r *Reader) texts(c *Column) *texts {
	switch c.from {
	case fromRawHead:
		return &r.head
	case fromRawTail:
		return &r.tail
	case fromRaw:
		return &r.raw
	case fromRawBytes:
		return &r.rawBytes
	case fromFile:
		return &r.object
	case fromField:
		switch c.field {
		case event.RequestParameters:
			return &r.params
		case event.ResponseElements:
			return &r.response
		case event.AdditionalEventData:
			return &r.additional
		case event.RequestID:
			return &r.request
		case event.EventID:
			return &r.id
		}
	}
	return nil
}

// Rows is how many rows the file has.
func (r *Reader) Rows() int64 { return r.rows }

// Next returns the next record, which is valid until the next call, or io.EOF.
func (r *Reader) Next() (rec *Record, err error) {
	defer damaged(r.name, &err)
	for {
		for r.left == 0 {
			if r.group == r.pq.NumRowGroups() {
				return nil, io.EOF
			}
			if err := r.ctx.Err(); err != nil {
				return nil, err
			}
			if err := r.openGroup(); err != nil {
				return nil, err
			}
		}
		r.left--
		for _, c := range r.columns {
			if err := c.next(); err != nil {
				return nil, err
			}
		}
		if r.sel != nil && !r.sel.wanted(r) {
			continue
		}
		if r.outside(&r.times) {
			if r.sel != nil {
				r.sel.left[r.sel.outside]++
			}
			continue
		}
		return r.record()
	}
}

func (r *Reader) record() (*Record, error) {
	whole := r.raw.val
	if r.rawBytes.val != nil {
		whole = r.rawBytes.val
	}
	if whole == nil && (r.head.val == nil || r.id.val == nil) {
		return nil, fmt.Errorf("%w: a row without its record", ErrDamaged)
	}
	r.buf = join(r.buf[:0], &parts{head: r.head.val, params: r.params.val, response: r.response.val, additional: r.additional.val,
		requestID: r.request.val, eventID: r.id.val, tail: r.tail.val, raw: whole})
	r.rec.Raw = r.buf
	r.rec.Offset = r.offsets.val
	if string(r.object.val) != r.rec.File {
		r.rec.File = r.nameOf(r.object.val)
	}
	return &r.rec, nil
}

// namesKept is how many names of objects are remembered: rows are in the order of time, so that the same ones come again
// and again.
const namesKept = 4096

func (r *Reader) nameOf(b []byte) string {
	name, ok := r.names[string(b)]
	if !ok {
		if r.names == nil || len(r.names) >= namesKept {
			r.names = make(map[string]string)
		}
		name = string(b)
		r.names[name] = name
	}
	return name
}

// openGroup goes to the next row group that may have events of the time asked for.
func (r *Reader) openGroup() error {
	i := r.group
	r.group++
	rg := r.pq.RowGroup(i)
	if r.sel != nil && !r.sel.within(rg.NumRows()) {
		return nil
	}
	if r.times.leaf >= 0 && (r.since != 0 || r.until != 0) {
		// A row group either has only events with a time, or none.
		if low, high, ok := timeBounds(rg.MetaData(), r.times.leaf); ok && (r.since != 0 && high < r.since || r.until != 0 && low >= r.until) {
			if r.sel != nil {
				r.sel.left[r.sel.outside] += rg.NumRows()
			}
			return nil
		}
	}
	if r.sel != nil {
		if some, err := r.pick(i, rg); err != nil || !some {
			return err
		}
	}
	for _, c := range r.columns {
		if err := c.open(rg); err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	r.left = rg.NumRows()
	return nil
}

// Close closes the file.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range r.columns {
		errs = append(errs, c.close())
	}
	if r.sel != nil {
		for _, c := range r.sel.columns {
			errs = append(errs, c.close())
		}
		errs = append(errs, r.sel.times.close())
	}
	return errors.Join(append(errs, r.pq.Close())...)
}

// damaged names the file in an error, and makes a panic of the Parquet library, which some damage brings about, an error.
func damaged(name string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: %v", ErrDamaged, p)
	}
	if *err != nil && *err != io.EOF {
		*err = fmt.Errorf("read %s: %w", name, *err)
	}
}

// batch is how many values a cursor takes at once, all of one page, whose memory they lie in.
const batch = 256

// cursor is what the cursors have in common.
type cursor struct {
	leaf int // -1 when the file does not have the column, which then is null
	rdr  file.ColumnChunkReader
	def  [batch]int16
	max  int16
	n, i int // levels in def, the next one
	v    int // the next value
}

func (c *cursor) close() error {
	if c.rdr == nil {
		return nil
	}
	err := c.rdr.Close()
	c.rdr = nil
	return err
}

func (c *cursor) open(rg *file.RowGroupReader) error {
	c.n, c.i, c.v = 0, 0, 0
	if c.leaf < 0 {
		return nil
	}
	if err := c.close(); err != nil {
		return err
	}
	rdr, err := rg.Column(c.leaf)
	if err != nil {
		return err
	}
	c.rdr, c.max = rdr, rdr.Descriptor().MaxDefinitionLevel()
	return nil
}

// step goes to the next row and says which of the batch's values it has, -1 for null. fill reads a batch.
func (c *cursor) step(fill func() (int64, error)) (int, error) {
	if c.leaf < 0 {
		return -1, nil
	}
	if c.i == c.n {
		if !c.rdr.HasNext() {
			return 0, fmt.Errorf("%w: column %s: %w", ErrDamaged, c.rdr.Descriptor().Path(), cmp.Or(c.rdr.Err(), io.ErrUnexpectedEOF))
		}
		n, err := fill()
		if err != nil || n == 0 {
			return 0, fmt.Errorf("%w: column %s: %w", ErrDamaged, c.rdr.Descriptor().Path(), cmp.Or(err, io.ErrUnexpectedEOF))
		}
		c.n, c.i, c.v = int(n), 0, 0
	}
	def := c.def[c.i]
	c.i++
	if def < c.max {
		return -1, nil
	}
	c.v++
	return c.v - 1, nil
}

// texts is a cursor over a column of texts or bytes. val is nil for null.
type texts struct {
	cursor
	vals [batch]parquet.ByteArray
	val  []byte
}

func (t *texts) next() error {
	i, err := t.step(func() (int64, error) {
		rdr, ok := t.rdr.(*file.ByteArrayColumnChunkReader)
		if !ok {
			return 0, errors.New("not of bytes")
		}
		n, _, err := rdr.ReadBatchInPage(batch, t.vals[:], t.def[:], nil)
		return n, err
	})
	if err != nil {
		return err
	}
	t.val = nil
	if i >= 0 {
		if t.val = t.vals[i]; t.val == nil {
			t.val = []byte{}
		}
	}
	return nil
}

// longs is a cursor over a column of 64-bit numbers.
type longs struct {
	cursor
	vals [batch]int64
	val  int64
	ok   bool
}

func (l *longs) next() error {
	i, err := l.step(func() (int64, error) {
		rdr, ok := l.rdr.(*file.Int64ColumnChunkReader)
		if !ok {
			return 0, errors.New("not of numbers")
		}
		n, _, err := rdr.ReadBatchInPage(batch, l.vals[:], l.def[:], nil)
		return n, err
	})
	if err != nil {
		return err
	}
	l.val, l.ok = 0, i >= 0
	if l.ok {
		l.val = l.vals[i]
	}
	return nil
}
