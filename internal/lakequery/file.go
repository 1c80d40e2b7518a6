package lakequery

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/compress/zstd"

	"spoor/internal/durable"
	"spoor/internal/store/duckdb"
)

// A query is one file, that only grows: a head, what it is; its rows; an end, what became of it. docs/formats/lake-queries.md
// describes it. The head is synced before the start is answered, and what ends the file is written, in one piece, after all that
// it tells of. So a file that does not end has a query that nothing came of.
const (
	fileMagic    = "spoorq01"
	trailerMagic = "qend"
	trailerSize  = 8 + 4 + len(trailerMagic)
	frameHead    = 1 + 4 + 4
	suffix       = ".query"

	headFrame  = 'H'
	rowsFrame  = 'R'
	indexFrame = 'I'
	endFrame   = 'E'

	blockSize  = 256 << 10 // bytes of rows that are compressed together, at least, but for the last ones
	maxRow     = 32 << 20  // bytes
	maxPayload = 64 << 20  // bytes of a frame, and of rows that are compressed together
	maxColumns = 1 << 14
	smallBody  = 1 << 20 // bytes between head and end that are synced with the end, and so verified with it
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli) // never changed

// head is what a query is.
type head struct {
	ID        string    `json:"id"`
	Account   string    `json:"account"`
	Region    string    `json:"region"`
	By        string    `json:"by,omitempty"`
	Statement string    `json:"statement"`
	Alias     string    `json:"alias,omitempty"`
	Params    []string  `json:"params,omitempty"`
	Stores    []string  `json:"stores,omitempty"`
	Created   time.Time `json:"created"`
}

// end is what became of a query.
type end struct {
	Status  Status    `json:"status"`
	Error   string    `json:"error,omitempty"`
	Ended   time.Time `json:"ended"`
	Millis  int64     `json:"millis"`
	Columns []string  `json:"columns,omitempty"`
	Rows    int64     `json:"rows,omitempty"`
	Scanned int64     `json:"scanned,omitempty"`
	Bytes   int64     `json:"bytes,omitempty"`
	Index   int64     `json:"index,omitempty"` // where the frame of the index begins, 0 when there are no rows
	Sum     *uint32   `json:"sum,omitempty"`   // CRC-32C of what stands between head and end, where that was synced with the end
}

// block is where rows lie.
type block struct {
	rows int64 // how many
	size int64 // of its frame
}

// codec compresses blocks. It is safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(maxPayload), zstd.WithDecoderConcurrency(2))
	if err != nil {
		return nil, err
	}
	return &codec{enc, dec}, nil
}

func (c *codec) close() {
	c.dec.Close()
	_ = c.enc.Close() // has nothing to write
}

// frame appends a frame to b.
func frame(b []byte, typ byte, payload []byte) []byte {
	at := len(b)
	b = append(b, typ)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	sum := crc32.Update(crc32.Checksum(b[at:], castagnoli), castagnoli, payload)
	b = binary.LittleEndian.AppendUint32(b, sum)
	return append(b, payload...)
}

// writer writes the file of a query. It is for one goroutine.
type writer struct {
	f      *os.File
	codec  *codec
	room   func(n int64) error // asked before the file grows by n bytes
	start  int64               // where rows begin
	size   int64
	raw    []byte // rows that are not yet written
	rows   int64  // of raw
	blocks []block
	total  int64 // rows
}

// createFile begins the file of a query. It is durable when createFile returns.
func createFile(dir string, h head, c *codec, room func(int64) error) (_ *writer, err error) {
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	b := frame([]byte(fileMagic), headFrame, text)
	if err := room(int64(len(b))); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, h.ID+suffix), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	w := &writer{f: f, codec: c, room: room, start: int64(len(b)), size: int64(len(b))}
	if _, err = f.Write(b); err == nil {
		if err = f.Sync(); err == nil {
			err = durable.SyncDir(dir)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(f.Name()))
	}
	return w, nil
}

// reopenFile takes what follows the head off a file, so that it can be written once more. Where that is to count, the caller
// syncs, or ends the file.
func reopenFile(path string, start int64, c *codec, room func(int64) error) (*writer, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	w := &writer{f: f, codec: c, room: room, start: start, size: start}
	if err := w.discard(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// row adds a row.
func (w *writer) row(values []duckdb.Value) error {
	before := len(w.raw)
	for _, v := range values {
		if v.Null {
			w.raw = append(w.raw, 0)
			continue
		}
		w.raw = append(binary.AppendUvarint(w.raw, uint64(len(v.Text))+1), v.Text...)
	}
	if len(w.raw)-before > maxRow {
		return fmt.Errorf("a row of the result is larger than %d MiB", maxRow>>20)
	}
	w.rows++
	if len(w.raw) >= blockSize {
		return w.flush()
	}
	return nil
}

// pack gives the frame of the rows that are not yet written.
func (w *writer) pack() []byte {
	if w.rows == 0 {
		return nil
	}
	b := frame(nil, rowsFrame, w.codec.enc.EncodeAll(w.raw, nil))
	w.blocks = append(w.blocks, block{w.rows, int64(len(b))})
	w.total += w.rows
	w.raw, w.rows = w.raw[:0], 0
	return b
}

func (w *writer) flush() error { return w.append(w.pack()) }

func (w *writer) append(b []byte) error {
	if err := w.room(int64(len(b))); err != nil {
		return err
	}
	n, err := w.f.Write(b)
	w.size += int64(n)
	return err
}

// discard takes all rows back.
func (w *writer) discard() error {
	if err := w.f.Truncate(w.start); err != nil {
		return err
	}
	if _, err := w.f.Seek(w.start, io.SeekStart); err != nil {
		return err
	}
	w.size, w.raw, w.rows, w.blocks, w.total = w.start, nil, 0, nil, 0
	return nil
}

// finish ends the file, and makes it durable. What ends a query that did not finish needs no room.
func (w *writer) finish(e end) error {
	body := w.pack()
	e.Rows = w.total
	if w.total > 0 {
		e.Index = w.size + int64(len(body))
		var index []byte
		for _, bl := range w.blocks {
			index = binary.AppendUvarint(binary.AppendUvarint(index, uint64(bl.rows)), uint64(bl.size))
		}
		body = frame(body, indexFrame, index)
		if w.size == w.start && len(body) <= smallBody {
			sum := crc32.Checksum(body, castagnoli)
			e.Sum = &sum
		} else {
			if err := w.append(body); err != nil {
				return err
			}
			if err := w.f.Sync(); err != nil { // before there is an end that tells of it
				return err
			}
			body = nil
		}
	}
	at := w.size + int64(len(body))
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	b := frame(body, endFrame, text)
	trailer := binary.LittleEndian.AppendUint64(nil, uint64(at))
	trailer = binary.LittleEndian.AppendUint32(trailer, crc32.Checksum(trailer, castagnoli))
	b = append(append(b, trailer...), trailerMagic...)
	if e.Status == Finished {
		if err := w.room(int64(len(b))); err != nil {
			return err
		}
	}
	n, err := w.f.Write(b)
	w.size += int64(n)
	if err != nil {
		return err
	}
	return w.f.Sync()
}

func (w *writer) close() error { return w.f.Close() }

// damage is a file that is not as it was written; torn when it is the beginning of one.
type damage struct {
	what string
	torn bool
}

func (d *damage) Error() string { return d.what }

// reader reads the file of a query. It holds nothing of it; Close closes what it reads from.
type reader struct {
	r     io.ReaderAt
	size  int64
	head  head
	start int64 // where the head ends
	end   *end  // nil when the file does not end
	at    int64 // where the frame of the end begins
}

// openReader reads head and end.
func openReader(r io.ReaderAt, size int64) (*reader, error) {
	f := &reader{r: r, size: size}
	magic := make([]byte, min(size, int64(len(fileMagic))))
	if err := readAt(r, magic, 0); err != nil {
		return nil, err
	}
	if bytes.HasPrefix(magic, []byte(fileMagic[:6])) && !bytes.HasPrefix([]byte(fileMagic), magic) {
		return nil, &damage{"it was written by a newer version", false}
	}
	if !bytes.HasPrefix([]byte(fileMagic), magic) {
		return nil, &damage{"it is no file of a query", false}
	}
	if len(magic) < len(fileMagic) {
		return nil, &damage{"it is cut off", true}
	}
	text, next, err := f.frame(headFrame, int64(len(fileMagic)), size)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &f.head); err != nil {
		return nil, &damage{"its head cannot be read", false}
	}
	f.start = next
	f.end, f.at = f.readEnd()
	return f, nil
}

// readEnd gives the end of a file that has one.
func (f *reader) readEnd() (*end, int64) {
	if f.size < f.start+frameHead+int64(trailerSize) {
		return nil, 0
	}
	trailer := make([]byte, trailerSize)
	limit := f.size - int64(trailerSize)
	if err := readAt(f.r, trailer, limit); err != nil || string(trailer[12:]) != trailerMagic ||
		binary.LittleEndian.Uint32(trailer[8:]) != crc32.Checksum(trailer[:8], castagnoli) {
		return nil, 0
	}
	at := binary.LittleEndian.Uint64(trailer)
	if at < uint64(f.start) || at > uint64(limit) {
		return nil, 0
	}
	text, next, err := f.frame(endFrame, int64(at), limit)
	if err != nil || next != limit {
		return nil, 0
	}
	var e end
	if err := json.Unmarshal(text, &e); err != nil || !e.Status.Ended() || e.Rows < 0 || len(e.Columns) > maxColumns ||
		e.Rows > 0 && (len(e.Columns) == 0 || e.Index < f.start || e.Index > int64(at)) {
		return nil, 0
	}
	if e.Sum != nil {
		if int64(at)-f.start > smallBody {
			return nil, 0
		}
		body := make([]byte, int64(at)-f.start)
		if readAt(f.r, body, f.start) != nil || crc32.Checksum(body, castagnoli) != *e.Sum {
			return nil, 0
		}
	}
	return &e, int64(at)
}

// frame reads the payload of a frame that ends before limit, and gives where it ends.
func (f *reader) frame(typ byte, at, limit int64) ([]byte, int64, error) {
	var h [frameHead]byte
	if limit-at < frameHead {
		return nil, 0, &damage{"it is cut off", true}
	}
	if err := readAt(f.r, h[:], at); err != nil {
		return nil, 0, err
	}
	n := int64(binary.LittleEndian.Uint32(h[1:]))
	if h[0] != typ || n > maxPayload {
		return nil, 0, &damage{fmt.Sprintf("what begins at byte %d is damaged", at), false}
	}
	if limit-at-frameHead < n {
		return nil, 0, &damage{"it is cut off", true}
	}
	payload := make([]byte, n)
	if err := readAt(f.r, payload, at+frameHead); err != nil {
		return nil, 0, err
	}
	if crc32.Update(crc32.Checksum(h[:5], castagnoli), castagnoli, payload) != binary.LittleEndian.Uint32(h[5:]) {
		return nil, 0, &damage{fmt.Sprintf("what begins at byte %d is damaged", at), false}
	}
	return payload, at + frameHead + n, nil
}

// rows reads at most limit rows from the given one on, and no more than bytes of values, but one row.
func (f *reader) rows(c *codec, from int64, limit int, most int64) (out [][]duckdb.Value, err error) {
	if f.end == nil || from < 0 || from >= f.end.Rows {
		return nil, nil
	}
	index, next, err := f.frame(indexFrame, f.end.Index, f.at)
	if err != nil {
		return nil, fmt.Errorf("read the index: %w", err)
	}
	if next != f.at {
		return nil, &damage{"its index is damaged", false}
	}
	at, first := f.start, int64(0)
	for len(index) > 0 && len(out) < limit && most > 0 {
		var b block
		if b, index, err = nextBlock(index); err != nil {
			return nil, err
		}
		if b.size > f.end.Index-at || b.rows > f.end.Rows-first {
			return nil, &damage{"its index is damaged", false}
		}
		if from < first+b.rows {
			if out, most, err = f.block(c, out, at, b, max(from-first, 0), limit, most); err != nil {
				return nil, err
			}
		}
		at, first = at+b.size, first+b.rows
	}
	if len(out) == 0 {
		return nil, &damage{"its index is damaged", false}
	}
	return out, nil
}

func nextBlock(index []byte) (b block, rest []byte, err error) {
	rows, n := binary.Uvarint(index)
	if n <= 0 || rows == 0 || rows > math.MaxInt64 {
		return b, nil, &damage{"its index is damaged", false}
	}
	size, m := binary.Uvarint(index[n:])
	if m <= 0 || size < frameHead || size > maxPayload+frameHead {
		return b, nil, &damage{"its index is damaged", false}
	}
	return block{int64(rows), int64(size)}, index[n+m:], nil
}

// block adds rows of a block to out, and gives how many bytes may still come.
func (f *reader) block(c *codec, out [][]duckdb.Value, at int64, b block, skip int64, limit int, most int64) (_ [][]duckdb.Value, left int64, _ error) {
	bad := func() ([][]duckdb.Value, int64, error) {
		return nil, 0, &damage{fmt.Sprintf("the rows at byte %d are damaged", at), false}
	}
	packed, _, err := f.frame(rowsFrame, at, at+b.size)
	if err != nil {
		return nil, 0, err
	}
	raw, err := c.dec.DecodeAll(packed, nil)
	if err != nil {
		return bad()
	}
	for i := range b.rows {
		if len(out) >= limit || most <= 0 {
			break
		}
		var row []duckdb.Value
		if i >= skip {
			row = make([]duckdb.Value, 0, len(f.end.Columns))
		}
		for range f.end.Columns {
			n, m := binary.Uvarint(raw)
			if m <= 0 || n > uint64(len(raw)-m)+1 {
				return bad()
			}
			v := duckdb.Value{Null: n == 0}
			raw = raw[m:]
			if n > 0 {
				if i >= skip {
					v.Text = string(raw[:n-1])
				}
				raw = raw[n-1:]
			}
			if i >= skip {
				row = append(row, v)
				most -= int64(len(v.Text)) + 1
			}
		}
		if i >= skip {
			if most < 0 && len(out) > 0 {
				return out, 0, nil // the page is full without it
			}
			out = append(out, row)
		}
	}
	return out, most, nil
}

// readAt fills b.
func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return &damage{"it is cut off", true}
	}
	return err
}
