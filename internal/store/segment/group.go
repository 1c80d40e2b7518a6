package segment

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"spoor/internal/event"
)

// Group is where the records of a row group lie in the file: the pages of the columns that they are joined from. With it a
// single record is read by unpacking one page of each, without the footer of the file, whose reading costs more than that.
type Group struct {
	First, Rows int64 // number of the first row in the file, and how many there are

	codec compress.Compression
	pages [recordColumns][]page
}

// page is a data page: its first row within the row group, where its bytes are, and their size before and after unpacking.
type page struct {
	first       uint32
	at          int64
	size, whole uint32
}

// The columns that a record is joined from.
const (
	colHead = iota
	colParams
	colResponse
	colAdditional
	colRequestID
	colEventID
	colTail
	colRaw
	colRawBytes
	recordColumns
)

// recordColumn is the place of a column among those of records, -1 for others.
func recordColumn(c *Column) int {
	switch c.from {
	case fromRawHead:
		return colHead
	case fromRawTail:
		return colTail
	case fromRaw:
		return colRaw
	case fromRawBytes:
		return colRawBytes
	case fromField:
		switch c.field {
		case event.RequestParameters:
			return colParams
		case event.ResponseElements:
			return colResponse
		case event.AdditionalEventData:
			return colAdditional
		case event.RequestID:
			return colRequestID
		case event.EventID:
			return colEventID
		}
	}
	return -1
}

// Groups reads where the records of a segment lie, by the path of its Parquet file.
func Groups(name string) (out []Group, err error) {
	defer damaged(name, &err)
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	pq, err := file.NewParquetReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrDamaged, err), f.Close())
	}
	defer pq.Close() // opened for reading
	var leaves [recordColumns]int
	for i := range leaves {
		leaves[i] = -1
	}
	schema := pq.MetaData().Schema
	for _, c := range Columns() {
		k := recordColumn(&c)
		for i := range schema.NumColumns() {
			if k >= 0 && schema.Column(i).SchemaNode().FieldID() == int32(c.ID) {
				if d := schema.Column(i); d.MaxRepetitionLevel() != 0 || d.MaxDefinitionLevel() != 1 || d.PhysicalType() != parquet.Types.ByteArray {
					return nil, fmt.Errorf("%w: column %s has another form", ErrDamaged, c.Name)
				}
				leaves[k] = i
			}
		}
	}
	first := int64(0)
	for i := range pq.NumRowGroups() {
		rg := pq.MetaData().RowGroup(i)
		g := Group{First: first, Rows: rg.NumRows()}
		first += g.Rows
		if g.Rows < 0 || g.Rows > math.MaxInt32 {
			return nil, fmt.Errorf("%w: a row group of %d rows", ErrDamaged, g.Rows)
		}
		for k, leaf := range leaves {
			if leaf < 0 {
				continue
			}
			chunk, err := rg.ColumnChunk(leaf)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if chunk.HasDictionaryPage() {
				return nil, fmt.Errorf("%w: column %s has a dictionary", ErrDamaged, chunk.PathInSchema())
			}
			g.codec = chunk.Compression()
			if g.pages[k], err = pagesOf(f, chunk.DataPageOffset(), chunk.TotalCompressedSize(), g.Rows); err != nil {
				return nil, fmt.Errorf("%w: column %s: %w", ErrDamaged, chunk.PathInSchema(), err)
			}
		}
		out = append(out, g)
	}
	return out, nil
}

// pagesOf goes over the headers of a column's pages.
func pagesOf(r io.ReaderAt, at, size, rows int64) (out []page, err error) {
	end := at + size
	seen := int64(0)
	for seen < rows {
		if at >= end {
			return nil, io.ErrUnexpectedEOF
		}
		h, err := headerAt(r, at, end)
		if err != nil {
			return nil, err
		}
		at += int64(h.length)
		if h.kind != 0 || h.encoding != int32(parquet.Encodings.Plain) || h.levels != int32(parquet.Encodings.RLE) {
			return nil, fmt.Errorf("a page of kind %d in encoding %d", h.kind, h.encoding)
		}
		if h.values < 0 || h.size < 0 || h.whole < 0 || int64(h.size) > end-at {
			return nil, errors.New("a page that reaches beyond its column")
		}
		out = append(out, page{first: uint32(seen), at: at, size: uint32(h.size), whole: uint32(h.whole)})
		at += int64(h.size)
		seen += int64(h.values)
	}
	if seen != rows {
		return nil, fmt.Errorf("%d values of %d rows", seen, rows)
	}
	return out, nil
}

// pageHeader is what matters of a page's header.
type pageHeader struct {
	length                                      int // of the header itself
	kind, whole, size, values, encoding, levels int32
}

// headerAt reads the header of a page. It has at most the texts of statistics beside its numbers.
func headerAt(r io.ReaderAt, at, end int64) (h pageHeader, err error) {
	for _, most := range [...]int64{256, 64 << 10} {
		buf := make([]byte, min(most, end-at))
		if _, err := r.ReadAt(buf, at); err != nil {
			return h, err
		}
		t := thrift{b: buf}
		if h = t.pageHeader(); !t.bad {
			h.length = t.at
			return h, nil
		}
	}
	return h, errors.New("a page without a readable header")
}

// thrift reads Thrift's compact form, as far as headers of pages go. After a mistake or the end, bad is set.
type thrift struct {
	b   []byte
	at  int
	bad bool
}

func (t *thrift) byte() byte {
	if t.at >= len(t.b) {
		t.bad = true
		return 0
	}
	t.at++
	return t.b[t.at-1]
}

func (t *thrift) uvarint() uint64 {
	v, n := binary.Uvarint(t.b[t.at:])
	if n <= 0 {
		t.bad = true
		return 0
	}
	t.at += n
	return v
}

func (t *thrift) int() int32 {
	v := t.uvarint()
	return int32(v>>1) ^ -int32(v&1)
}

// fields calls fn for each field of a struct, which must take the value.
func (t *thrift) fields(fn func(id int16, typ byte)) {
	id := int16(0)
	for !t.bad {
		b := t.byte()
		if b == 0 {
			return
		}
		if b>>4 != 0 {
			id += int16(b >> 4)
		} else {
			id = int16(t.int())
		}
		fn(id, b&15)
	}
}

// skip leaves a value out. Headers of pages have no lists, sets or maps.
func (t *thrift) skip(typ byte) {
	switch typ {
	case 1, 2: // booleans, in the type
	case 3:
		t.byte()
	case 4, 5, 6:
		t.uvarint()
	case 8:
		n := t.uvarint()
		if n > uint64(len(t.b)-t.at) {
			t.bad = true
			return
		}
		t.at += int(n)
	case 12:
		if t.at == len(t.b) {
			t.bad = true
			return
		}
		t.fields(func(_ int16, typ byte) { t.skip(typ) })
	default:
		t.bad = true
	}
}

func (t *thrift) pageHeader() (h pageHeader) {
	h.kind = -1
	t.fields(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == 5:
			h.kind = t.int()
		case id == 2 && typ == 5:
			h.whole = t.int()
		case id == 3 && typ == 5:
			h.size = t.int()
		case id == 5 && typ == 12:
			t.fields(func(id int16, typ byte) {
				switch {
				case id == 1 && typ == 5:
					h.values = t.int()
				case id == 2 && typ == 5:
					h.encoding = t.int()
				case id == 3 && typ == 5:
					h.levels = t.int()
				default:
					t.skip(typ)
				}
			})
		default:
			t.skip(typ)
		}
	})
	return h
}

// AppendBinary appends the group in the form that [ParseGroup] reads.
func (g *Group) AppendBinary(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(g.First))
	b = binary.AppendUvarint(b, uint64(g.Rows))
	b = binary.AppendUvarint(b, uint64(g.codec))
	for _, pages := range g.pages {
		b = binary.AppendUvarint(b, uint64(len(pages)))
		var last page
		for _, p := range pages {
			b = binary.AppendUvarint(b, uint64(p.first-last.first))
			b = binary.AppendUvarint(b, uint64(p.at-last.at))
			b = binary.AppendUvarint(b, uint64(p.size))
			b = binary.AppendUvarint(b, uint64(p.whole))
			last = p
		}
	}
	return b
}

// ParseGroup reads what [Group.AppendBinary] wrote.
func ParseGroup(b []byte) (g Group, err error) {
	bad := false
	next := func(most uint64) uint64 {
		v, n := binary.Uvarint(b)
		if n <= 0 || v > most {
			bad = true
			return 0
		}
		b = b[n:]
		return v
	}
	g.First, g.Rows, g.codec = int64(next(math.MaxInt64)), int64(next(math.MaxInt32)), compress.Compression(next(100))
	for k := range g.pages {
		n := next(uint64(len(b)) / 4)
		if n == 0 || bad {
			continue
		}
		pages := make([]page, 0, n)
		var last page
		for range n {
			p := page{first: last.first + uint32(next(math.MaxInt32)), at: last.at + int64(next(math.MaxInt64>>1)), size: uint32(next(math.MaxInt32)), whole: uint32(next(math.MaxInt32))}
			if bad || p.at < last.at || int64(p.first) >= g.Rows || len(pages) > 0 && p.first <= last.first || len(pages) == 0 && p.first != 0 {
				return Group{}, errors.New("read where records lie: not what was written")
			}
			pages = append(pages, p)
			last = p
		}
		g.pages[k] = pages
	}
	if bad || len(b) != 0 {
		return Group{}, errors.New("read where records lie: not what was written")
	}
	return g, nil
}

// Records reads single records of segments. It keeps the page that it has unpacked last of each column, so that rows
// beside each other cost little. It is not safe for concurrent use. The zero value is ready for Reset.
type Records struct {
	name  string
	r     io.ReaderAt
	group *Group
	cols  [recordColumns]unpacked
	comp  []byte
	buf   []byte
}

// unpacked is a page.
type unpacked struct {
	page  int // -1 for none
	mem   []byte
	data  []byte   // the values in mem
	at    []uint32 // the end of each row's value in data; its beginning is behind its length
	there []bool
}

// Reset makes it read a row group of a file, of the name for errors. r must be the file that the group is of.
func (x *Records) Reset(name string, r io.ReaderAt, g *Group) {
	x.name, x.r, x.group = name, r, g
	for i := range x.cols {
		x.cols[i].page = -1
	}
}

// Record gives the record of a row of the group, by its number in the file. It is valid until the next call.
func (x *Records) Record(row int64) (raw []byte, err error) {
	defer damaged(x.name, &err)
	var p parts
	for k, to := range [recordColumns]*[]byte{&p.head, &p.params, &p.response, &p.additional, &p.requestID, &p.eventID, &p.tail, &p.raw, &p.raw} {
		val, err := x.value(k, row)
		if err != nil {
			return nil, err
		}
		if val != nil {
			*to = val // rawBytes, the last, goes before raw
		}
	}
	if p.raw == nil && (p.head == nil || p.eventID == nil) {
		return nil, fmt.Errorf("%w: a row without its record", ErrDamaged)
	}
	x.buf = join(x.buf[:0], &p)
	return x.buf, nil
}

// ID gives the eventID of a row, "" for none. It is false where only the record tells: it is not UTF-8.
func (x *Records) ID(row int64) (id string, ok bool, err error) {
	defer damaged(x.name, &err)
	if val, err := x.value(colRawBytes, row); val != nil || err != nil {
		return "", false, err
	}
	val, err := x.value(colEventID, row)
	return string(val), err == nil, err
}

// value gives the value of a column, nil for none.
func (x *Records) value(k int, row int64) ([]byte, error) {
	pages := x.group.pages[k]
	if len(pages) == 0 {
		return nil, nil
	}
	at := row - x.group.First
	if at < 0 || at >= x.group.Rows {
		return nil, fmt.Errorf("no row %d in a row group from %d", row, x.group.First)
	}
	i, n := 0, len(pages) // the last page that begins at or before the row
	for n-i > 1 {
		if mid := (i + n) / 2; int64(pages[mid].first) <= at {
			i = mid
		} else {
			n = mid
		}
	}
	u := &x.cols[k]
	if u.page != i {
		u.page = -1
		rows := x.group.Rows
		if i+1 < len(pages) {
			rows = int64(pages[i+1].first)
		}
		if err := x.unpack(u, pages[i], int(rows-int64(pages[i].first))); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		u.page = i
	}
	j := int(at) - int(pages[i].first)
	if !u.there[j] {
		return nil, nil
	}
	size := 0
	if j > 0 {
		size = int(u.at[j-1])
	}
	return u.data[size+4 : u.at[j] : u.at[j]], nil
}

// mostPage bounds what a page may unpack to: one of a single record of the largest kind.
const mostPage = event.MaxRecordBytes + 1<<20

// unpack reads a page of so many rows.
func (x *Records) unpack(u *unpacked, p page, rows int) error {
	if p.whole > mostPage || p.size > mostPage {
		return fmt.Errorf("a page of %d bytes", p.whole)
	}
	if cap(x.comp) < int(p.size) {
		x.comp = make([]byte, p.size)
	}
	comp := x.comp[:p.size]
	if _, err := x.r.ReadAt(comp, p.at); err != nil {
		return err
	}
	if cap(u.mem) < int(p.whole) {
		u.mem = make([]byte, 0, p.whole)
	}
	var err error
	switch x.group.codec {
	case compress.Codecs.Uncompressed:
		u.mem = append(u.mem[:0], comp...)
	case compress.Codecs.Zstd:
		u.mem, err = unzstd().DecodeAll(comp, u.mem[:0])
	case compress.Codecs.Snappy:
		if n, lenErr := s2.DecodedLen(comp); lenErr != nil || n != int(p.whole) {
			return fmt.Errorf("a page of %d bytes in place of %d", n, p.whole)
		}
		u.mem, err = s2.Decode(u.mem[:cap(u.mem)], comp)
	default:
		err = fmt.Errorf("compressed as %s", strings.ToLower(x.group.codec.String()))
	}
	switch {
	case err != nil:
		return err
	case len(u.mem) != int(p.whole) || len(u.mem) < 4:
		return fmt.Errorf("a page of %d bytes in place of %d", len(u.mem), p.whole)
	}
	levels := binary.LittleEndian.Uint32(u.mem)
	if uint64(levels) > uint64(len(u.mem)-4) {
		return errors.New("levels that reach beyond their page")
	}
	if u.there, err = definitions(u.there[:0], u.mem[4:4+levels], rows); err != nil {
		return err
	}
	u.at = u.at[:0]
	u.data = u.mem[4+levels:]
	at := 0
	for _, there := range u.there {
		if there {
			if len(u.data)-at < 4 {
				return io.ErrUnexpectedEOF
			}
			n := binary.LittleEndian.Uint32(u.data[at:])
			if uint64(n) > uint64(len(u.data)-at-4) {
				return errors.New("a value that reaches beyond its page")
			}
			at += 4 + int(n)
		}
		u.at = append(u.at, uint32(at))
	}
	if at != len(u.data) {
		return errors.New("bytes behind the last value of a page")
	}
	return nil
}

// definitions reads definition levels of at most 1, in runs and in bits.
func definitions(out []bool, b []byte, rows int) ([]bool, error) {
	for len(out) < rows {
		head, n := binary.Uvarint(b)
		if n <= 0 {
			return out, errors.New("levels that end too soon")
		}
		b = b[n:]
		if head&1 == 0 { // a run
			count := head >> 1
			if len(b) == 0 || count == 0 || count > uint64(rows-len(out)) {
				return out, errors.New("a run of levels of another length")
			}
			for range count {
				out = append(out, b[0]&1 != 0)
			}
			b = b[1:]
			continue
		}
		groups := head >> 1 // of eight
		if groups == 0 || groups > uint64(len(b)) {
			return out, errors.New("levels that end too soon")
		}
		for _, bits := range b[:groups] {
			for i := range 8 {
				if len(out) < rows {
					out = append(out, bits>>i&1 != 0)
				}
			}
		}
		b = b[groups:]
	}
	return out, nil
}

// unzstd decompresses; it may be used by many at a time.
var unzstd = sync.OnceValue(func() *zstd.Decoder {
	return must(zstd.NewReader(nil, zstd.WithDecoderMaxMemory(mostPage), zstd.WithDecoderConcurrency(0)))
})
