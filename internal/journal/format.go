package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"

	"github.com/klauspost/compress/zstd"
)

// Record is one event as it arrived.
type Record struct {
	Raw    []byte // byte-exact; not looked at
	Origin Origin
}

// Origin says where a record was read.
type Origin struct {
	Source   string    // name of the source
	Object   string    // object, file, message or request within the source
	Offset   int64     // place of the record in the object; what it counts is the source's
	Received time.Time // when it arrived, to the nanosecond; between the years 1678 and 2262, or zero
}

// The pieces of entries, which are the messages of the stream.
const (
	pieceMagic   = "SPJ"
	pieceVersion = 1
	pieceHeader  = 52
)

// codecs of a section.
const (
	codecNone = 0
	codecZstd = 1
)

// minCompress is the size below which a section is stored as it is: the frame of the compressor eats what it saves.
const minCompress = 256

// ErrVersion is returned for an entry that a newer version wrote. It is not skipped.
var ErrVersion = errors.New("the journal was written by a newer version")

// errDamaged is a piece or an entry that is not what was written.
var errDamaged = errors.New("damaged")

// pieceInfo is the header of a piece. A piece of 0 is a filler: it holds nothing but its place.
type pieceInfo struct {
	writer   [16]byte
	number   uint64 // of the entry, by its writer
	accepted time.Time
	index    uint32
	of       uint32
}

func appendPiece(dst []byte, p pieceInfo, body []byte) []byte {
	at := len(dst)
	dst = append(dst, pieceMagic...)
	dst = append(dst, pieceVersion, 0, 0, 0, 0)
	dst = append(dst, p.writer[:]...)
	dst = binary.LittleEndian.AppendUint64(dst, p.number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(p.accepted.UnixNano()))
	dst = binary.LittleEndian.AppendUint32(dst, p.index)
	dst = binary.LittleEndian.AppendUint32(dst, p.of)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(body)))
	dst = append(dst, body...)
	binary.LittleEndian.PutUint32(dst[at+4:], crc32.Checksum(dst[at+8:], castagnoli()))
	return dst
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// parsePiece reads the piece that msg begins with; body points into msg. What follows it is not looked at.
func parsePiece(msg []byte) (p pieceInfo, body []byte, err error) {
	if len(msg) < 4 || string(msg[:3]) != pieceMagic {
		return p, nil, fmt.Errorf("%w: not a piece of an entry", errDamaged)
	}
	if msg[3] > pieceVersion {
		return p, nil, fmt.Errorf("%w: %d", ErrVersion, msg[3])
	}
	if len(msg) < pieceHeader {
		return p, nil, fmt.Errorf("%w: piece of %d bytes", errDamaged, len(msg))
	}
	size := binary.LittleEndian.Uint32(msg[48:])
	if int64(size) > int64(len(msg)-pieceHeader) {
		return p, nil, fmt.Errorf("%w: piece of %d bytes, not %d", errDamaged, len(msg), size)
	}
	end := pieceHeader + int(size)
	if binary.LittleEndian.Uint32(msg[4:]) != crc32.Checksum(msg[8:end], castagnoli()) {
		return p, nil, fmt.Errorf("%w: checksum does not match", errDamaged)
	}
	copy(p.writer[:], msg[8:])
	p.number = binary.LittleEndian.Uint64(msg[24:])
	p.accepted = time.Unix(0, int64(binary.LittleEndian.Uint64(msg[32:]))).UTC()
	p.index = binary.LittleEndian.Uint32(msg[40:])
	p.of = binary.LittleEndian.Uint32(msg[44:])
	if p.index >= p.of && p.of != 0 {
		return p, nil, fmt.Errorf("%w: piece %d of %d", errDamaged, p.index, p.of)
	}
	return p, msg[pieceHeader:end:end], nil
}

// appendID is what is kept of an id that a caller gave; zero is none.
type appendID [16]byte

func idOf(id string) (a appendID) {
	if id != "" {
		sum := sha256.Sum256([]byte(id))
		copy(a[:], sum[:])
	}
	return a
}

// section is the records of one append, as they are stored.
type section struct {
	id      appendID
	codec   byte
	records int
	plain   int // size when it is not compressed
	stored  []byte
}

// codec compresses and expands sections. It is safe for concurrent use.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
	max int // largest section, not compressed
}

func newCodec(limit int) (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("make a compressor: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(uint64(limit)))
	if err != nil {
		return nil, fmt.Errorf("make a decompressor: %w", err)
	}
	return &codec{enc, dec, limit}, nil
}

func (c *codec) close() {
	c.dec.Close()
	_ = c.enc.Close() // writes to nothing
}

// The flags of a record in a section.
const (
	sameSource = 1 << iota
	sameObject
	noTime
)

// encode makes the section of an append. It fails with [ErrTooLarge] before it has copied anything.
func (c *codec) encode(id appendID, records []Record) (section, error) {
	size := 0
	for i := range records {
		r := &records[i]
		size += len(r.Raw) + 32
		if i == 0 || r.Origin.Source != records[i-1].Origin.Source {
			size += len(r.Origin.Source)
		}
		if i == 0 || r.Origin.Object != records[i-1].Origin.Object {
			size += len(r.Origin.Object)
		}
	}
	if size > c.max {
		return section{}, fmt.Errorf("%w: %d records, %d bytes; the limit is %d bytes", ErrTooLarge, len(records), size, c.max)
	}
	plain := make([]byte, 0, size)
	var offset, received int64
	for i := range records {
		o := &records[i].Origin
		var flags byte
		if i > 0 && o.Source == records[i-1].Origin.Source {
			flags |= sameSource
		}
		if i > 0 && o.Object == records[i-1].Origin.Object {
			flags |= sameObject
		}
		at := o.Received.UnixNano()
		if o.Received.IsZero() {
			flags |= noTime
		} else if !time.Unix(0, at).Equal(o.Received) {
			return section{}, fmt.Errorf("record %d was received at %v: not a time that can be kept", i, o.Received)
		}
		plain = append(plain, flags)
		if flags&sameSource == 0 {
			plain = binary.AppendUvarint(plain, uint64(len(o.Source)))
			plain = append(plain, o.Source...)
		}
		if flags&sameObject == 0 {
			plain = binary.AppendUvarint(plain, uint64(len(o.Object)))
			plain = append(plain, o.Object...)
		}
		plain = binary.AppendVarint(plain, o.Offset-offset)
		offset = o.Offset
		if flags&noTime == 0 {
			plain = binary.AppendVarint(plain, at-received)
			received = at
		}
		plain = binary.AppendUvarint(plain, uint64(len(records[i].Raw)))
	}
	for i := range records {
		plain = append(plain, records[i].Raw...)
	}
	s := section{id: id, records: len(records), plain: len(plain), stored: plain}
	if len(plain) >= minCompress {
		if z := c.enc.EncodeAll(plain, make([]byte, 0, len(plain)/4)); len(z) < len(plain)-len(plain)/8 {
			s.codec, s.stored = codecZstd, z
		}
	}
	return s, nil
}

// decode appends the records of s to dst. They point into memory that nobody else has, or into s.
func (c *codec) decode(dst []Record, s section) ([]Record, error) {
	plain := s.stored
	switch s.codec {
	case codecNone:
	case codecZstd:
		var err error
		if plain, err = c.dec.DecodeAll(s.stored, make([]byte, 0, s.plain)); err != nil {
			return dst, fmt.Errorf("%w: %w", errDamaged, err)
		}
	default:
		return dst, fmt.Errorf("%w: codec %d", ErrVersion, s.codec)
	}
	if len(plain) != s.plain {
		return dst, fmt.Errorf("%w: section of %d bytes, not %d", errDamaged, len(plain), s.plain)
	}
	r := reader{buf: plain}
	from := len(dst)
	sizes := make([]int, 0, s.records)
	var prev Origin
	var received int64
	total := 0
	for range s.records {
		flags := r.byte()
		o := Origin{Source: prev.Source, Object: prev.Object}
		if flags&sameSource == 0 {
			o.Source = string(r.bytes(r.size()))
		}
		if flags&sameObject == 0 {
			o.Object = string(r.bytes(r.size()))
		}
		o.Offset = prev.Offset + r.varint()
		if flags&noTime == 0 {
			received += r.varint()
			o.Received = time.Unix(0, received).UTC()
		}
		n := r.size()
		sizes = append(sizes, n)
		total += n
		if r.bad || total > len(plain) {
			return dst[:from], fmt.Errorf("%w: record %d", errDamaged, len(sizes)-1)
		}
		dst = append(dst, Record{Origin: o})
		prev = o
	}
	for i, n := range sizes {
		dst[from+i].Raw = r.bytes(n)
	}
	if r.bad || len(r.buf) != 0 {
		return dst[:from], fmt.Errorf("%w: records of a section do not fill it", errDamaged)
	}
	return dst, nil
}

// appendSections makes the body of an entry.
func appendSections(dst []byte, sections []section) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(sections)))
	for _, s := range sections {
		dst = append(dst, s.codec)
		dst = append(dst, s.id[:]...)
		dst = binary.AppendUvarint(dst, uint64(s.records))
		dst = binary.AppendUvarint(dst, uint64(s.plain))
		dst = binary.AppendUvarint(dst, uint64(len(s.stored)))
		dst = append(dst, s.stored...)
	}
	return dst
}

// parseSections reads the body of an entry; the sections point into body.
func (c *codec) parseSections(body []byte) ([]section, error) {
	r := reader{buf: body}
	n := r.size()
	var list []section
	for range n {
		var s section
		s.codec = r.byte()
		copy(s.id[:], r.bytes(len(s.id)))
		s.records, s.plain = r.int(), r.int()
		s.stored = r.bytes(r.size())
		if r.bad || s.plain > c.max || s.records > s.plain/3 {
			return nil, fmt.Errorf("%w: section %d of %d", errDamaged, len(list), n)
		}
		list = append(list, s)
	}
	if r.bad || len(r.buf) != 0 {
		return nil, fmt.Errorf("%w: sections do not fill the entry", errDamaged)
	}
	return list, nil
}

// reader takes values off a buffer. After the first that is not there it is bad, and gives zeros.
type reader struct {
	buf []byte
	bad bool
}

func (r *reader) byte() byte {
	if b := r.bytes(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bytes(n int) []byte {
	if r.bad || n < 0 || n > len(r.buf) {
		r.bad = true
		return nil
	}
	b := r.buf[:n:n]
	r.buf = r.buf[n:]
	return b
}

// size is the length of something that follows, so it cannot be more than what is left.
func (r *reader) size() int {
	n := r.int()
	if n > len(r.buf) {
		r.bad = true
		return 0
	}
	return n
}

func (r *reader) int() int {
	v, n := binary.Uvarint(r.buf)
	if r.bad || n <= 0 || v > math.MaxInt32 {
		r.bad = true
		return 0
	}
	r.buf = r.buf[n:]
	return int(v)
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.buf)
	if r.bad || n <= 0 {
		r.bad = true
		return 0
	}
	r.buf = r.buf[n:]
	return v
}

// found is a piece within other bytes.
type found struct {
	at    int
	piece pieceInfo
	body  []byte
}

// findPieces looks for pieces in bytes of which nothing else is known.
func findPieces(buf []byte) []found {
	var list []found
	for at := 0; ; {
		i := bytes.Index(buf[at:], []byte(pieceMagic))
		if i < 0 {
			return list
		}
		at += i
		if p, body, err := parsePiece(buf[at:]); err == nil {
			list = append(list, found{at, p, body})
			at += pieceHeader + len(body)
		} else {
			at++
		}
	}
}
