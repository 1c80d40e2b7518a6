package event

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"unicode/utf8"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// Limits bound what one input may cost. The zero value takes the defaults.
type Limits struct {
	// MaxRecord is the largest record, or wrapper of records that cannot be streamed, in bytes. Default 32 MiB.
	MaxRecord int
	// MaxExpanded is the most bytes that one input may expand to. Default: no limit but MaxRatio.
	MaxExpanded int64
	// MaxRatio is the most an input may expand, judged once it has given 128 MiB. Default 400; real logs stay below 30.
	MaxRatio int64
}

const (
	defaultMaxRecord = 32 << 20
	defaultMaxRatio  = 400
	ratioFloor       = 128 << 20
	initialBuffer    = 256 << 10
)

func (l Limits) withDefaults() Limits {
	if l.MaxRecord <= 0 || l.MaxRecord > MaxRecordBytes {
		l.MaxRecord = defaultMaxRecord
	}
	if l.MaxRatio <= 0 {
		l.MaxRatio = defaultMaxRatio
	}
	return l
}

// Sink receives what a [Decoder] reads. An error stops the decoding and is returned as it is.
type Sink interface {
	// Event gets a record. e and everything it gives are valid until Event returns.
	Event(e *Event) error
	// Reject gets what could not be read as a record.
	Reject(r Reject) error
	// Note gets a remark about something odd that was read all the same: one of the Note constants.
	Note(remark string)
	// Digest gets a digest file's object, valid until Digest returns.
	Digest(raw []byte) error
}

// Reject is a stretch of input that is not a record.
type Reject struct {
	File   string
	Offset int64  // of the stretch in the decompressed input
	Length int64  // of the stretch
	Reason string // with the byte offset of the very place, for malformed JSON
	Raw    []byte // the stretch, or its first MaxRejectRaw bytes; valid until the call returns
}

// MaxRejectRaw is the most bytes of a rejected stretch that are handed on.
const MaxRejectRaw = 1 << 20

// Remarks that a [Sink] may get.
const (
	NoteInvalidUTF8  = "record with invalid UTF-8: read with replacement characters"
	NoteNoTime       = "record without a readable eventTime"
	NoteLayers       = "compressed more than once"
	NoteControl      = "CloudWatch Logs control message"
	NotePadding      = "zero bytes behind the compressed data"
	NoteTranscoded   = "UTF-16 text read as UTF-8"
	NoteNotARecord   = "JSON beside the records that is not a record"
	maxWrapperDepth  = 8
	maxHeldRejects   = 1000
	maxDecompressors = 3
)

// Errors that [Decoder.Decode] wraps. ErrNotLogs and ErrNoRecords mean that the input was read and is something else
// than logs; ErrInput means that it could not be read to its end, and what came before was handed on.
var (
	ErrNotLogs   = errors.New("not CloudTrail logs")
	ErrNoRecords = errors.New("no CloudTrail records in it")
	ErrInput     = errors.New("input broken")
	// ErrTooExpanded is why an input was not read to its end when that is a limit on what it may expand to.
	ErrTooExpanded = errors.New("expands beyond the limit")
)

// tooExpanded is an ErrTooExpanded that tells the limit.
type tooExpanded string

func (e tooExpanded) Error() string { return string(e) }

// Is tells what it is.
func (e tooExpanded) Is(target error) bool { return target == ErrTooExpanded }

// Decoder reads inputs one after the other. It keeps its buffers between them; one goroutine uses it at a time.
type Decoder struct {
	// Reopen says that inputs can be opened again by name. It is set before Decode, and shows in Event.Again.
	Reopen bool

	lim Limits

	raw    counter // what the input gave
	packed []byte
	mem    bytes.Reader // over packed
	gz     *gzip.Reader
	zs     *zstd.Decoder
	flat   flat
	text   io.Reader
	read   int64 // bytes taken from text

	buf      []byte
	pos, end int   // buf[pos:end] is the window; pos is where the current item starts
	base     int64 // offset of buf[0] in the text
	eof      bool
	rerr     error // why the text ended, nil for a clean end

	// marks are the scanner's marks for buf[:end] when marked; ascii says that the window holds nothing else.
	marks  []uint64
	marked bool
	ascii  bool

	s     scanner
	known habits
	ev    Event
	inner []*Event // one for each depth of wrapping
	tmp   [][]byte // unescaped strings, one for each depth

	ctx      context.Context
	name     string
	sink     Sink
	stop     error // from the sink or the context
	records  int64 // 0 until the input proves to hold logs
	met      int64
	held     []Reject // not records, kept back until the input proves to hold records
	heldMore int64
	firstKey []byte // first key of the last good record, for finding the next one behind a broken one

	// split, when set, takes whole items in place of the typed read, and swap gives a fresh buffer at each refill.
	split func(start, end int) error
	swap  func(keep []byte, size int) []byte
}

// NewDecoder returns a decoder with the given limits.
func NewDecoder(lim Limits) *Decoder {
	return &Decoder{lim: lim.withDefaults(), flat: flat{most: mostFlat}}
}

// Met is how many records the last input held: those handed on, rejected stretches and digests. It is counted where
// they are found, apart from what a [Sink] does with them.
func (d *Decoder) Met() int64 { return d.met }

// Expanded is how many bytes the last input gave after decompression.
func (d *Decoder) Expanded() int64 { return d.read }

// Decode reads one input: log files, JSON Lines, arrays, single records, EventBridge envelopes, CloudWatch Logs exports
// and subscription payloads, LookupEvents output, and export rows (JSON or CSV) with the record in a field; plain, gzip
// (several members too) or zstd, all found by content. Memory stays bounded by the limits. The name goes into events
// and errors.
func (d *Decoder) Decode(ctx context.Context, name string, r io.Reader, sink Sink) error {
	d.reset(ctx, name, sink)
	d.split, d.swap = nil, nil
	return d.run(r)
}

func (d *Decoder) reset(ctx context.Context, name string, sink Sink) {
	d.ctx, d.name, d.sink = ctx, name, sink
	d.stop, d.rerr, d.eof = nil, nil, false
	d.pos, d.end, d.base, d.read = 0, 0, 0, 0
	d.records, d.met, d.heldMore = 0, 0, 0
	d.held = d.held[:0]
	d.firstKey = append(d.firstKey[:0], "eventVersion"...)
	d.leaveFlat()
	if d.buf == nil {
		d.buf = make([]byte, initialBuffer)
	}
}

func (d *Decoder) run(r io.Reader) error {
	if err := d.open(r); err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	return d.verdict(d.body())
}

// verdict turns what stopped the reading into the error that Decode promises.
func (d *Decoder) verdict(err error) error {
	switch {
	case d.stop != nil:
		return d.stop
	case d.rerr != nil:
		return fmt.Errorf("%w: %w", ErrInput, d.rerr)
	case err != nil:
		return err
	case d.records == 0 && (len(d.held) > 0 || d.heldMore > 0):
		return ErrNoRecords
	}
	return nil
}

// counter counts what passes.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// byteSource is what decompressors read without a buffer of their own.
type byteSource interface {
	io.Reader
	io.ByteReader
}

// wholeInput is the largest input that is held whole in its stored form: decompression is faster out of memory.
const wholeInput = 4 << 20

// stored gives the stored bytes and the first of them.
func (d *Decoder) stored(r io.Reader) (in byteSource, head []byte, err error) {
	d.raw.r = r
	d.raw.n.Store(0)
	if d.packed == nil {
		d.packed = make([]byte, 64<<10)
	}
	n := 0
	for {
		k, err := d.raw.Read(d.packed[n:])
		n += k
		if err == io.EOF {
			d.mem.Reset(d.packed[:n])
			return &d.mem, d.packed[:min(n, 4)], nil
		}
		if err != nil && n < 4 {
			return nil, nil, err
		}
		if err != nil || n == wholeInput {
			rest := io.Reader(&d.raw)
			if err != nil {
				rest = errReader{err}
			}
			return bufio.NewReaderSize(io.MultiReader(bytes.NewReader(d.packed[:n]), rest), 64<<10), d.packed[:4], nil
		}
		if n == len(d.packed) {
			d.packed = append(d.packed, make([]byte, min(len(d.packed), wholeInput-len(d.packed)))...)
		}
	}
}

// errReader gives its error.
type errReader struct{ err error }

func (e errReader) Read([]byte) (int, error) { return 0, e.err }

// open finds the compression by content and sets text.
func (d *Decoder) open(r io.Reader) error {
	in, head, err := d.stored(r)
	if err != nil {
		return err
	}
	for layer := 0; ; layer++ {
		var next io.Reader
		switch {
		case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
			if layer == 0 && in == &d.mem && d.inflateWhole() {
				d.more()
				return nil
			}
			gz := d.gz
			if layer > 0 || gz == nil {
				gz = new(gzip.Reader)
			}
			if err := gz.Reset(in); err != nil {
				return fmt.Errorf("gzip header: %w", noEOF(err))
			}
			if layer == 0 {
				d.gz = gz
			}
			next = &gzipText{r: gz, in: in, d: d}
		case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
			zs := d.zs
			if layer > 0 || zs == nil {
				if zs, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderLowmem(true)); err != nil {
					return err
				}
			}
			if err := zs.Reset(in); err != nil {
				return fmt.Errorf("zstd header: %w", err)
			}
			if layer == 0 {
				d.zs = zs
			}
			next = zs
		case bytes.HasPrefix(head, []byte{0xff, 0xfe}) || bytes.HasPrefix(head, []byte{0xfe, 0xff}):
			d.sink.Note(NoteTranscoded)
			d.text = transform.NewReader(in, unicode.UTF16(unicode.LittleEndian, unicode.UseBOM).NewDecoder())
			return nil
		default:
			d.text = in
			return nil
		}
		if layer == maxDecompressors {
			return errors.New("compressed too many times")
		}
		if layer == 0 {
			d.text = next
			// Almost every input is compressed once: read the text without another buffer, and look at its head there.
			d.more()
			if !compressed(d.buf[:d.end]) {
				return nil
			}
			next = io.MultiReader(bytes.NewReader(bytes.Clone(d.buf[:d.end])), next)
			d.end, d.eof, d.rerr, d.read = 0, false, nil, 0
		}
		d.sink.Note(NoteLayers)
		br := bufio.NewReader(next)
		if head, err = br.Peek(4); err != nil && err != io.EOF {
			return err
		}
		in = br
	}
}

// compressed reports whether text starts as compressed data do.
func compressed(text []byte) bool {
	return bytes.HasPrefix(text, []byte{0x1f, 0x8b}) || bytes.HasPrefix(text, []byte{0x28, 0xb5, 0x2f, 0xfd})
}

// gzipText reads gzip members up to the end of the input and lets zero padding behind the last one pass.
type gzipText struct {
	r  *gzip.Reader
	in io.ByteReader
	d  *Decoder
}

func (g *gzipText) Read(p []byte) (int, error) {
	n, err := g.r.Read(p)
	if err == gzip.ErrHeader {
		// Behind a whole member stands something that is no member. The reader has taken up to ten bytes of it.
		if g.onlyZeros() {
			g.d.sink.Note(NotePadding)
			return n, io.EOF
		}
		return n, errors.New("bytes behind the gzip data that are not gzip")
	}
	if err != nil && err != io.EOF {
		err = fmt.Errorf("gzip: %w", noEOF(err))
	}
	return n, err
}

func (g *gzipText) onlyZeros() bool {
	for {
		c, err := g.in.ReadByte()
		if err != nil {
			return err == io.EOF
		}
		if c != 0 {
			return false
		}
	}
}

func noEOF(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("truncated")
	}
	return err
}

// more reads on, keeping buf[pos:end], which it may move to the start of the buffer. It reports whether there is
// anything new. The buffer grows up to the record limit.
func (d *Decoder) more() bool {
	if d.eof || d.stop != nil {
		return false
	}
	if err := d.ctx.Err(); err != nil {
		d.stop = err
		return false
	}
	keep := d.end - d.pos
	if keep > d.lim.MaxRecord {
		return false
	}
	if d.flat.streamed != nil {
		d.slide(keep)
	} else {
		d.refill(keep)
	}
	d.mark()
	if d.lim.MaxExpanded > 0 && d.read > d.lim.MaxExpanded {
		d.eof, d.rerr = true, tooExpanded(fmt.Sprintf("expands beyond the limit of %d bytes", d.lim.MaxExpanded))
	}
	if d.read > ratioFloor && d.read > d.lim.MaxRatio*max(d.raw.n.Load(), 1) {
		d.eof, d.rerr = true, tooExpanded(fmt.Sprintf("expands more than %d times: a decompression bomb", d.lim.MaxRatio))
	}
	return d.end-d.pos > keep
}

// refill reads the text behind buf[pos:end], of that length, which it moves to the start of the buffer.
func (d *Decoder) refill(keep int) {
	size := windowFor(keep, len(d.buf))
	switch {
	case d.swap != nil:
		d.buf = d.swap(d.buf[d.pos:d.end], size)
	case size > len(d.buf):
		grown := make([]byte, size)
		copy(grown, d.buf[d.pos:d.end])
		d.buf = grown
	default:
		poison(d.buf[:d.pos])
		copy(d.buf, d.buf[d.pos:d.end])
	}
	d.base += int64(d.pos)
	d.s.at -= d.pos
	d.pos, d.end = 0, keep
	for d.end < len(d.buf) {
		n, err := d.text.Read(d.buf[d.end:])
		d.end += n
		d.read += int64(n)
		if err != nil {
			d.eof = true
			if err != io.EOF {
				d.rerr = err
			}
			break
		}
	}
}

// windowFor is how large a window of size must become to keep so much.
func windowFor(keep, size int) int {
	for keep > size/2 {
		size *= 2
	}
	return size
}

// scan sets the scanner on the window up to end.
func (d *Decoder) scan(end int) {
	d.s.b, d.s.reason, d.s.marks = d.buf[:end], "", nil
	d.s.high = 0
	d.s.known = &d.known
	if d.marked {
		d.s.marks = d.marks[:(end+63)/64]
		if !d.ascii {
			d.s.high = highs
		}
	}
}

// mark prepares the marks of the window.
func (d *Decoder) mark() {
	padded := (d.end + 63) &^ 63
	if d.marked = padded <= len(d.buf) && padded > 0; !d.marked {
		return
	}
	if len(d.marks) < padded/64 {
		d.marks = make([]uint64, max(len(d.buf), initialBuffer)/64+1)
	}
	d.ascii, d.marked = markStops(d.buf[:padded], d.marks)
}

// next skips white space and gives the byte at pos, or false at the end.
func (d *Decoder) next() (byte, bool) {
	for {
		d.pos = skipSpace(d.buf[:d.end], d.pos)
		if d.pos < d.end {
			return d.buf[d.pos], true
		}
		if !d.more() {
			return 0, false
		}
	}
}

// body reads the text.
func (d *Decoder) body() error {
	c, ok := d.next()
	if ok && c == 0xef { // byte order mark
		if d.end-d.pos < 3 {
			d.more()
		}
		if bytes.HasPrefix(d.buf[d.pos:d.end], []byte("\xef\xbb\xbf")) {
			d.pos += 3
			c, ok = d.next()
		}
	}
	if !ok {
		return nil
	}
	if c != '{' && c != '[' {
		return d.lines()
	}
	for ok && d.stop == nil {
		switch c {
		case '[':
			d.array()
		case '{':
			d.topObject()
		default:
			d.rejectTo(d.resyncLine, "expected an object or array")
		}
		c, ok = d.next()
	}
	return nil
}

// array reads the elements of the array that opens at pos, as items.
func (d *Decoder) array() {
	d.pos++
	for first := true; d.stop == nil; first = false {
		c, ok := d.next()
		if !ok {
			d.truncated()
			return
		}
		if c == ']' {
			if !first {
				d.reject(Reject{Offset: d.base + int64(d.pos), Length: 1, Reason: "trailing comma before ']'", Raw: d.buf[d.pos : d.pos+1]})
			}
			d.pos++
			return
		}
		if !d.item() {
			if d.stop != nil || d.atEnd() {
				return
			}
			continue // at the start of the next record
		}
		for {
			c, ok = d.next()
			if !ok {
				d.truncated()
				return
			}
			if c == ',' {
				d.pos++
				break
			}
			if c == ']' {
				d.pos++
				return
			}
			if !d.rejectTo(d.resyncRecord, "expected ',' or ']' after an element") {
				return
			}
			if !d.item() && (d.stop != nil || d.atEnd()) {
				return
			}
		}
	}
}

func (d *Decoder) atEnd() bool {
	_, ok := d.next()
	return !ok
}

// truncated records that the text ended inside an array or object that was being streamed.
func (d *Decoder) truncated() {
	if d.stop == nil && d.rerr == nil {
		d.rerr = fmt.Errorf("truncated: the JSON ends at byte %d before its end", d.base+int64(d.end))
	}
}

// item reads the value at pos and hands it on. When it is malformed it is rejected, pos is at the next thing that looks
// like a record or at the end, and item returns false.
func (d *Decoder) item() bool {
	for {
		d.scan(d.end)
		var end int
		object := d.buf[d.pos] == '{'
		if object && d.split == nil {
			end = d.ev.read(&d.s, d.pos)
		} else {
			end = d.s.value(d.pos)
		}
		if end >= 0 {
			if end == d.end && !object && !d.eof && d.buf[end-1] != '"' && d.buf[end-1] != ']' && d.more() {
				continue // a number may go on
			}
			d.accept(end, object)
			d.pos = end
			return d.stop == nil
		}
		if d.s.needMore() {
			if d.more() {
				continue
			}
			if d.stop != nil {
				return false
			}
			if d.eof {
				d.truncated()
			} else {
				d.s.reason = fmt.Sprintf("record larger than the limit of %d bytes", d.lim.MaxRecord)
				d.s.at = d.pos
			}
		}
		at := d.base + int64(d.s.at)
		d.rejectTo(d.resyncRecord, fmt.Sprintf("%s at byte %d", d.s.reason, at))
		return false
	}
}

// accept hands on the item buf[pos:end].
func (d *Decoder) accept(end int, object bool) {
	if d.split != nil {
		d.stop = d.split(d.pos, end)
		return
	}
	offset := d.base + int64(d.pos)
	invalid := d.s.high&highs != 0 && !utf8.Valid(d.buf[d.pos:end])
	if object && d.ev.isRecord() {
		// Wrappers such as LookupEvents repeat some fields of the record in another case.
		if d.ev.irregular && d.unwrap(d.ev.Root(), offset, invalid, 0) > 0 {
			return
		}
		d.rememberKey()
		d.emit(&d.ev, offset, invalid)
		return
	}
	d.unwrapItem(valueAt(d.buf, d.pos, end), offset, invalid)
}

// unwrapItem hands on the records inside an item that is not a record itself.
func (d *Decoder) unwrapItem(v Value, offset int64, invalid bool) {
	switch n := d.unwrap(v, offset, invalid, 0); {
	case d.stop != nil || n > 0:
	case isDigest(v):
		d.records++
		d.met++
		d.stop = d.sink.Digest(v.Raw())
	case n < 0: // recognised, holds nothing
	default:
		d.hold(Reject{Offset: offset, Length: int64(len(v.Raw())), Reason: "not a CloudTrail record", Raw: v.Raw()})
	}
}

func (d *Decoder) emit(e *Event, offset int64, invalid bool) {
	if len(e.Raw) > d.lim.MaxRecord { // the buffer happened to hold it whole
		d.reject(Reject{Offset: offset, Length: int64(len(e.Raw)), Raw: e.Raw,
			Reason: fmt.Sprintf("record larger than the limit of %d bytes", d.lim.MaxRecord)})
		return
	}
	if d.records == 0 {
		d.records++
		d.flushHeld()
	} else {
		d.records++
	}
	d.met++
	e.File, e.Offset = d.name, offset
	e.Again = d.Reopen && e == &d.ev
	if invalid {
		d.sink.Note(NoteInvalidUTF8)
	}
	if e.Time == 0 {
		d.sink.Note(NoteNoTime)
	}
	if d.stop == nil {
		d.stop = d.sink.Event(e)
	}
}

func (d *Decoder) reject(r Reject) {
	if d.stop != nil {
		return
	}
	r.File = d.name
	if len(r.Raw) > MaxRejectRaw {
		r.Raw = r.Raw[:MaxRejectRaw]
	}
	d.records++ // a broken record shows that the input meant to be logs
	d.met++
	d.flushHeld()
	if d.stop == nil {
		d.stop = d.sink.Reject(r)
	}
}

// hold keeps back a reject that only counts when the input holds records at all.
func (d *Decoder) hold(r Reject) {
	if d.records > 0 {
		d.reject(r)
		return
	}
	if len(d.held) == maxHeldRejects {
		d.heldMore++
		return
	}
	r.Raw = bytes.Clone(r.Raw[:min(len(r.Raw), 4096)])
	d.held = append(d.held, r)
}

func (d *Decoder) flushHeld() {
	held, more := d.held, d.heldMore
	d.met += int64(len(held)) + more
	d.held, d.heldMore = d.held[:0], 0
	for _, r := range held {
		r.File = d.name
		if d.stop == nil {
			d.stop = d.sink.Reject(r)
		}
	}
	for range more {
		if d.stop == nil {
			d.stop = d.sink.Reject(Reject{File: d.name, Reason: "not a CloudTrail record (one of many)"})
		}
	}
}

// rejectTo rejects from pos up to where find says that reading can go on, and moves there. It returns false when there
// is no such place and everything left was rejected.
func (d *Decoder) rejectTo(find func(from int) int, reason string) bool {
	r := Reject{Offset: d.base + int64(d.pos), Reason: reason}
	var kept []byte
	take := func(b []byte) {
		r.Length += int64(len(b))
		if n := MaxRejectRaw - len(kept); n > 0 {
			kept = append(kept, b[:min(n, len(b))]...)
		}
	}
	from := d.pos + 1
	for {
		at := find(from)
		if at >= 0 {
			take(d.buf[d.pos:at])
			d.pos = at
			r.Raw = kept
			d.reject(r)
			return true
		}
		// Keep a tail in which a match may just have begun.
		tail := max(d.pos, d.end-256)
		take(d.buf[d.pos:tail])
		d.pos = tail
		if !d.more() {
			if d.stop == nil && !d.eof { // the window is full: cannot be, as the tail is short
				d.eof = true
			}
			take(d.buf[d.pos:d.end])
			d.pos = d.end
			r.Raw = kept
			d.reject(r)
			return false
		}
		from = d.pos
	}
}

// resyncRecord finds the next object that starts with the first key of a record and stands behind a comma, in
// buf[from:end]. In valid JSON that sequence cannot stand inside a string, whose quotes are escaped.
func (d *Decoder) resyncRecord(from int) int {
	b := d.buf[:d.end]
	key := make([]byte, 0, 64)
	key = append(append(append(key, '"'), d.firstKey...), '"')
	for {
		i := bytes.Index(b[from:], key)
		if i < 0 {
			return -1
		}
		i += from
		k := i - 1
		for k > d.pos && isSpace(b[k]) {
			k--
		}
		if k > d.pos && b[k] == '{' {
			j := k - 1
			for j > d.pos && isSpace(b[j]) {
				j--
			}
			if b[j] == ',' || b[j] == '}' || b[j] == ']' || b[j] == '\n' {
				return k
			}
			if nl := bytes.LastIndexByte(b[j:k], '\n'); nl >= 0 {
				return k
			}
		}
		from = i + len(key)
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

// resyncLine finds the next line that starts with an opening brace.
func (d *Decoder) resyncLine(from int) int {
	i := bytes.Index(d.buf[from:d.end], []byte("\n{"))
	if i < 0 {
		return -1
	}
	return from + i + 1
}

// topObject reads the object at pos: a record, a wrapper, or a holder of arrays that is streamed.
func (d *Decoder) topObject() {
	if d.holdsRecords() {
		d.stream()
		return
	}
	for {
		d.scan(d.end)
		var end int
		if d.split != nil {
			end = d.s.value(d.pos)
		} else {
			end = d.ev.read(&d.s, d.pos)
		}
		if end >= 0 {
			d.accept(end, true)
			d.pos = end
			return
		}
		if d.s.needMore() {
			if d.more() {
				continue
			}
			if d.stop != nil {
				return
			}
			if !d.eof { // longer than a record may be: perhaps an array inside is what makes it long
				d.stream()
				return
			}
			d.truncated()
		}
		d.rejectTo(d.resyncLine, fmt.Sprintf("%s at byte %d", d.s.reason, d.base+int64(d.s.at)))
		return
	}
}

// holdsRecords reports whether the object at pos opens with the key of an array of records.
func (d *Decoder) holdsRecords() bool {
	for d.end-d.pos < 64 && d.more() {
	}
	b := d.buf[:d.end]
	i := skipSpace(b, d.pos+1)
	if i >= len(b) || b[i] != '"' {
		return false
	}
	n := bytes.IndexByte(b[i+1:], '"')
	if n < 0 || !isStreamed(b[i:i+n+2]) {
		return false
	}
	j := skipSpace(b, i+n+2)
	if j >= len(b) || b[j] != ':' {
		return false
	}
	j = skipSpace(b, j+1)
	return j < len(b) && b[j] == '['
}

// isStreamed names the keys whose arrays are read element by element, however long.
func isStreamed(quoted []byte) bool {
	switch string(quoted) {
	case `"Records"`, `"records"`, `"Events"`, `"events"`, `"logEvents"`:
		return true
	}
	return false
}

// stream reads the members of the object at pos, and the elements of arrays under well-known keys as items.
func (d *Decoder) stream() {
	start := d.base + int64(d.pos)
	d.pos++
	fail := func(reason string) {
		if _, ok := d.next(); !ok {
			d.truncated()
			return
		}
		d.rejectTo(d.resyncLine, fmt.Sprintf("%s at byte %d, in the object at byte %d", reason, d.base+int64(d.pos), start))
	}
	for first := true; d.stop == nil; first = false {
		c, ok := d.next()
		if ok && c == '}' && first {
			d.pos++
			return
		}
		if !ok || c != '"' {
			fail("expected a member name in quotes")
			return
		}
		kend := d.whole()
		if kend < 0 {
			return
		}
		isList := isStreamed(d.buf[d.pos:kend])
		d.pos = kend
		if c, ok = d.next(); !ok || c != ':' {
			fail("expected ':' after a member name")
			return
		}
		d.pos++
		c, ok = d.next()
		switch {
		case !ok:
			d.truncated()
			return
		case isList && c == '[':
			d.array()
			if d.stop != nil || d.rerr != nil {
				return
			}
		default:
			end := d.whole()
			if end < 0 {
				return
			}
			d.pos = end
		}
		c, ok = d.next()
		switch {
		case ok && c == ',':
			d.pos++
		case ok && c == '}':
			d.pos++
			return
		default:
			fail("expected ',' or '}' after a member")
			return
		}
	}
}

// whole gives the end of the value at pos, reading on as needed; on failure it rejects and returns -1.
func (d *Decoder) whole() int {
	for {
		d.scan(d.end)
		end := d.s.value(d.pos)
		if end >= 0 && (end < d.end || d.eof) {
			return end
		}
		if end >= 0 || d.s.needMore() {
			if d.more() {
				continue
			}
			if end >= 0 {
				return end
			}
			if d.eof {
				d.truncated()
			} else {
				d.s.reason, d.s.at = fmt.Sprintf("value larger than the limit of %d bytes", d.lim.MaxRecord), d.pos
			}
		}
		if d.stop == nil {
			d.rejectTo(d.resyncLine, fmt.Sprintf("%s at byte %d", d.s.reason, d.base+int64(d.s.at)))
		}
		return -1
	}
}
