package history

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"math/bits"
	"slices"
	"sort"

	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/table"
)

// An index tells which rows of a data file may have an attribute, when their events happened, and where their records
// lie. docs/formats/history.md describes the file.
const (
	indexMagic   = "SPOORHIX"
	indexVersion = 1
	headerBytes  = 124
	timeBlock    = 128 // rows
	blockBytes   = 12
	groupBytes   = 16
	termBytes    = 16
	idBytes      = 8
	// fill is about how many entries of a table share a place in its directory.
	fill = 64
	// mostRows bounds the rows of a file.
	mostRows = math.MaxUint32
)

var (
	le = binary.LittleEndian
	// errIndex says that an index is not of the file, or not what was written: it is made again.
	errIndex = errors.New("not an index of the file")
	// errOrder says that a data file is not what was written.
	errOrder = errors.New("its rows are not in the order of time")
)

// term is what an attribute is looked up by: FNV-1a, mixed. Different ones may have the same term.
func term(key Key, value string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	h *= 1099511628211 // a zero byte
	for i := range len(value) {
		h = (h ^ uint64(value[i])) * 1099511628211
	}
	return mix(h)
}

// scopeTerm is that of the events of a kind, of an account and Region or, when both are empty, of all.
func scopeTerm(k kind, account, region string) uint64 {
	return term("", string(rune(k))+account+"\x00"+region)
}

// mix spreads a hash over all its bits: the high ones choose the place in a table.
func mix(h uint64) uint64 {
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

// builder collects what goes into an index.
type builder struct {
	times []int64
	ids   []uint64 // half a hash of eventID, and the row
	terms map[uint64]int32
	lists []list
	last  struct {
		time    int64
		id, raw []byte
	}
}

// list is rows, in order.
type list struct {
	first, last, n uint32
	more           []byte // the differences of those behind the first
}

func (b *builder) put(term uint64, row uint32) {
	i, ok := b.terms[term]
	if !ok {
		i = int32(len(b.lists))
		b.terms[term] = i
		b.lists = append(b.lists, list{first: row, last: row, n: 1})
		return
	}
	l := &b.lists[i]
	if l.last == row {
		return
	}
	l.more = binary.AppendUvarint(l.more, uint64(row-l.last))
	l.last = row
	l.n++
}

// add takes the next row.
func (b *builder) add(e *event.Event) error {
	row := uint32(len(b.times))
	if len(b.times) >= mostRows {
		return fmt.Errorf("more than %d rows", uint32(mostRows))
	}
	at := e.Time
	if row > 0 {
		if at == 0 {
			at = max(0, b.times[row-1]) // untimed rows are in no list
		}
		if at < b.times[row-1] || e.Time == b.last.time && (e.ID() < string(b.last.id) || e.ID() == string(b.last.id) && bytes.Compare(e.Raw, b.last.raw) < 0) {
			return errOrder
		}
	}
	b.last.time, b.last.id, b.last.raw = e.Time, append(b.last.id[:0], e.ID()...), append(b.last.raw[:0], e.Raw...)
	b.times = append(b.times, at)
	k := kindOf(e)
	if k == noKind {
		return nil
	}
	b.put(scopeTerm(k, "", ""), row)
	b.put(scopeTerm(k, e.Account(), e.Region()), row)
	attributes(e, k, func(key Key, value string) {
		t := term(key, value)
		if key == EventID {
			b.ids = append(b.ids, t>>32<<32|uint64(row))
			return
		}
		b.put(t, row)
	})
	return nil
}

// buildIndex makes the index of a data file.
func buildIndex(ctx context.Context, f table.File) (_ []byte, err error) {
	groups, err := segment.Groups(f.Path)
	if err != nil {
		return nil, err
	}
	r, err := segment.Open(ctx, f.Path, zeroTime, zeroTime)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	b := builder{terms: map[uint64]int32{}}
	b.times = make([]int64, 0, min(r.Rows(), 1<<22))
	var e event.Event
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = rec.Event(&e)
		}
		if err == nil {
			err = b.add(&e)
		}
		if err != nil {
			return nil, fmt.Errorf("index %s: %w", f.Name, err)
		}
	}
	if int64(len(b.times)) != f.Rows {
		return nil, fmt.Errorf("index %s: %w: %d rows of %d", f.Name, segment.ErrDamaged, len(b.times), f.Rows)
	}
	return b.encode(f, groups), nil
}

// header is the beginning of an index.
type header struct {
	rows, bytes                                      uint64 // of the data file
	unit, first, last                                int64  // of times: of what all are multiples, the least and the greatest
	times, groups, ids, terms, postings, end         uint64 // where sections begin
	blocks, ngroups, nids, nterms, idsBits, termBits uint32
}

func (h *header) fields() []any {
	return []any{&h.rows, &h.bytes, &h.unit, &h.first, &h.last, &h.times, &h.groups, &h.ids, &h.terms, &h.postings, &h.end, &h.nids, &h.nterms}
}

func (h *header) encode(sum uint32) []byte {
	b := make([]byte, 0, headerBytes)
	b = append(b, indexMagic...)
	b = le.AppendUint32(b, indexVersion)
	b = le.AppendUint32(b, rules())
	for _, f := range h.fields() {
		switch f := f.(type) {
		case *uint64:
			b = le.AppendUint64(b, *f)
		case *int64:
			b = le.AppendUint64(b, uint64(*f))
		case *uint32:
			b = le.AppendUint32(b, *f)
		}
	}
	b = le.AppendUint32(b, h.ngroups)
	b = le.AppendUint32(b, sum)
	return le.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// parseHeader reads a header and the sum of what is behind it.
func parseHeader(b []byte) (h header, sum uint32, err error) {
	if len(b) != headerBytes || string(b[:8]) != indexMagic || le.Uint32(b[headerBytes-4:]) != crc32.Checksum(b[:headerBytes-4], castagnoli) ||
		le.Uint32(b[8:]) != indexVersion || le.Uint32(b[12:]) != rules() {
		return h, 0, errIndex
	}
	at := 16
	for _, f := range h.fields() {
		switch f := f.(type) {
		case *uint64:
			*f = le.Uint64(b[at:])
			at += 8
		case *int64:
			*f = int64(le.Uint64(b[at:]))
			at += 8
		case *uint32:
			*f = le.Uint32(b[at:])
			at += 4
		}
	}
	h.ngroups, sum = le.Uint32(b[at:]), le.Uint32(b[at+4:])
	h.blocks = uint32((h.rows + timeBlock - 1) / timeBlock)
	h.idsBits, h.termBits = directoryBits(uint64(h.nids)), directoryBits(uint64(h.nterms))
	return h, sum, nil
}

// directoryBits is how many high bits of a key choose among the places of a table's directory.
func directoryBits(n uint64) uint32 { return uint32(bits.Len64(n / fill)) }

// appendDirectory appends where the entries with each of the high bits begin, of keys in order, and where the last ones end.
func appendDirectory(b []byte, n int, bits uint32, key func(i int) uint64) []byte {
	i := 0
	for place := range uint64(1) << bits {
		for i < n && key(i)>>(63-bits)>>1 < place {
			i++
		}
		b = le.AppendUint32(b, uint32(i))
	}
	return le.AppendUint32(b, uint32(n))
}

func (b *builder) encode(f table.File, groups []segment.Group) []byte {
	h := header{rows: uint64(len(b.times)), bytes: uint64(f.Bytes), unit: 1e9, ngroups: uint32(len(groups)), nids: uint32(len(b.ids)), nterms: uint32(len(b.lists))}
	timed := false
	for _, t := range b.times {
		for h.unit > 1 && t%h.unit != 0 {
			h.unit /= 1000
		}
		if t != 0 {
			if !timed {
				h.first, timed = t, true
			}
			h.last = t
		}
	}
	h.blocks = (uint32(h.rows) + timeBlock - 1) / timeBlock
	out := make([]byte, headerBytes, headerBytes+len(b.times)*2+len(b.ids)*idBytes+len(b.lists)*2*termBytes)

	h.times = uint64(len(out))
	out = append(out, make([]byte, int(h.blocks)*blockBytes)...)
	for i, t := range b.times {
		if i%timeBlock == 0 {
			head := out[h.times+uint64(i/timeBlock*blockBytes):]
			le.PutUint64(head, uint64(t))
			le.PutUint32(head[8:], uint32(uint64(len(out))-h.times))
			continue
		}
		out = binary.AppendUvarint(out, uint64(t-b.times[i-1])/uint64(h.unit))
	}

	h.groups = uint64(len(out))
	out = append(out, make([]byte, len(groups)*groupBytes)...)
	for i := range groups {
		begin := len(out)
		out = groups[i].AppendBinary(out)
		head := out[h.groups+uint64(i*groupBytes):]
		le.PutUint64(head, uint64(groups[i].First))
		le.PutUint32(head[8:], uint32(uint64(begin)-h.groups))
		le.PutUint32(head[12:], uint32(len(out)-begin))
	}

	h.ids = uint64(len(out))
	slices.Sort(b.ids)
	h.idsBits = directoryBits(uint64(len(b.ids)))
	out = appendDirectory(out, len(b.ids), h.idsBits, func(i int) uint64 { return b.ids[i] })
	for _, id := range b.ids {
		out = le.AppendUint64(out, id)
	}

	h.terms = uint64(len(out))
	keys := make([]uint64, 0, len(b.terms))
	for k := range b.terms {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	h.termBits = directoryBits(uint64(len(keys)))
	out = appendDirectory(out, len(keys), h.termBits, func(i int) uint64 { return keys[i] })
	entries := len(out)
	out = append(out, make([]byte, len(keys)*termBytes)...)
	h.postings = uint64(len(out))
	for i, k := range keys {
		l := &b.lists[b.terms[k]]
		at := l.first
		if l.n > 1 {
			at = uint32(uint64(len(out)) - h.postings)
			if dense(uint64(l.n), h.rows) {
				out = l.appendBits(out, h.rows)
			} else {
				out = binary.AppendUvarint(out, uint64(l.first))
				out = append(out, l.more...)
			}
		}
		e := out[entries+i*termBytes:]
		le.PutUint64(e, k)
		le.PutUint32(e[8:], l.n)
		le.PutUint32(e[12:], at)
	}
	h.end = uint64(len(out))
	copy(out, h.encode(crc32.Checksum(out[headerBytes:], castagnoli)))
	return out
}

// dense reports whether so many rows are written as bits, one for each row of the file.
func dense(n, rows uint64) bool { return n > 1 && n > rows/8 }

func (l *list) appendBits(out []byte, rows uint64) []byte {
	begin := len(out)
	out = append(out, make([]byte, (rows+7)/8)...)
	set := func(row uint32) { out[begin+int(row/8)] |= 1 << (row % 8) }
	row := l.first
	set(row)
	for more := l.more; len(more) > 0; {
		d, n := binary.Uvarint(more)
		more = more[n:]
		row += uint32(d)
		set(row)
	}
	return out
}

// index reads an index. r is as long as the header says, and its sum was checked; what it says of places is still not
// believed beyond that.
type index struct {
	header
	r io.ReaderAt

	block int64 // whose times these are, -1 for none
	at    []int64
}

func (x *index) read(at, n uint64) ([]byte, error) {
	if at > x.end || n > x.end-at {
		return nil, errIndex
	}
	b := make([]byte, n)
	_, err := x.r.ReadAt(b, int64(at))
	return b, err
}

// entries gives the entries of a table that may have a key, which lies behind its directory.
func (x *index) entries(at uint64, bits, n uint32, key, size uint64) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	b, err := x.read(at+key>>(63-bits)>>1*4, 8)
	if err != nil {
		return nil, err
	}
	from, to := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:]))
	if from > to || to > uint64(n) {
		return nil, errIndex
	}
	return x.read(at+(1<<bits+1)*4+from*size, (to-from)*size)
}

// rowsOf gives the rows that may have a term.
func (x *index) rowsOf(t uint64) (rowset, error) {
	b, err := x.entries(x.terms, x.termBits, x.nterms, t, termBytes)
	if err != nil {
		return rowset{}, err
	}
	i, ok := sort.Find(len(b)/termBytes, func(i int) int {
		switch k := le.Uint64(b[i*termBytes:]); {
		case t < k:
			return -1
		case t > k:
			return 1
		}
		return 0
	})
	if !ok {
		return rowset{}, nil
	}
	n, at := uint64(le.Uint32(b[i*termBytes+8:])), le.Uint32(b[i*termBytes+12:])
	switch {
	case n == 1 && uint64(at) >= x.rows:
		return rowset{}, errIndex
	case n == 1:
		return rowset{list: []uint32{at}}, nil
	case n > x.rows:
		return rowset{}, errIndex
	case dense(n, x.rows):
		set, err := x.read(x.postings+uint64(at), (x.rows+7)/8)
		return rowset{bits: set}, err
	}
	// A difference takes five bytes at most.
	end := min(x.end, x.postings+uint64(at)+5*n)
	if b, err = x.read(x.postings+uint64(at), end-min(end, x.postings+uint64(at))); err != nil {
		return rowset{}, err
	}
	out := make([]uint32, 0, n)
	row := uint64(0)
	for range n {
		d, k := binary.Uvarint(b)
		if row += d; k <= 0 || row >= x.rows {
			return rowset{}, errIndex
		}
		b = b[k:]
		out = append(out, uint32(row))
	}
	return rowset{list: out}, nil
}

// rowsOfID gives the rows that may have an eventID.
func (x *index) rowsOfID(id string) (rowset, error) {
	t := term(EventID, id)
	b, err := x.entries(x.ids, x.idsBits, x.nids, t, idBytes)
	var out []uint32
	for ; err == nil && len(b) > 0; b = b[idBytes:] {
		if k := le.Uint64(b); k>>32 == t>>32 {
			if k&math.MaxUint32 >= x.rows {
				return rowset{}, errIndex
			}
			out = append(out, uint32(k))
		}
	}
	return rowset{list: out}, err
}

// timeOf gives the time of a row, in Unix nanoseconds.
func (x *index) timeOf(row uint32) (int64, error) {
	if err := x.load(int64(row / timeBlock)); err != nil {
		return 0, err
	}
	return x.at[row%timeBlock], nil
}

// base gives the first time of a block, and where the rest of its times are.
func (x *index) base(block int64) (t int64, at uint32, err error) {
	b, err := x.read(x.times+uint64(block)*blockBytes, blockBytes)
	if err != nil {
		return 0, 0, err
	}
	return int64(le.Uint64(b)), le.Uint32(b[8:]), nil
}

func (x *index) load(block int64) error {
	if x.at != nil && x.block == block {
		return nil
	}
	t, at, err := x.base(block)
	if err != nil {
		return err
	}
	n := min(timeBlock, int64(x.rows)-block*timeBlock)
	from := x.times + uint64(at)
	to := min(x.groups, from+uint64(n)*binary.MaxVarintLen64)
	if n <= 0 || from > to {
		return errIndex
	}
	b, err := x.read(from, to-from)
	if err != nil {
		return err
	}
	x.at = append(x.at[:0], t)
	for range n - 1 {
		d, k := binary.Uvarint(b)
		if k <= 0 {
			x.at = nil
			return errIndex
		}
		b = b[k:]
		t += int64(d) * x.unit
		x.at = append(x.at, t)
	}
	x.block = block
	return nil
}

// from gives the first row at or after a time, the number of rows when there is none.
func (x *index) from(t int64) (uint32, error) {
	if x.rows == 0 || t <= x.first && x.first != 0 {
		return 0, nil
	}
	if t > x.last {
		return uint32(x.rows), nil
	}
	var err error
	// The last block that begins before the time has it, or the one behind begins with it.
	block := int64(sort.Search(int(x.blocks), func(i int) bool {
		base, _, e := x.base(int64(i))
		err = errors.Join(err, e)
		return base >= t
	})) - 1
	if err != nil || block < 0 {
		return 0, err
	}
	if err := x.load(block); err != nil {
		return 0, err
	}
	i, _ := slices.BinarySearch(x.at, t)
	return uint32(block*timeBlock) + uint32(i), nil
}

// group gives where the records of a row's row group lie.
func (x *index) group(row uint32) (*segment.Group, error) {
	var err error
	entry := func(i int) []byte {
		b, e := x.read(x.groups+uint64(i*groupBytes), groupBytes)
		if e != nil {
			err = errors.Join(err, e)
			return make([]byte, groupBytes)
		}
		return b
	}
	i := sort.Search(int(x.ngroups), func(i int) bool { return le.Uint64(entry(i)) > uint64(row) }) - 1
	if err != nil {
		return nil, err
	}
	if i < 0 {
		return nil, errIndex
	}
	e := entry(i)
	b, err := x.read(x.groups+uint64(le.Uint32(e[8:])), uint64(le.Uint32(e[12:])))
	if err != nil {
		return nil, err
	}
	g, err := segment.ParseGroup(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errIndex, err)
	}
	return &g, nil
}

// rowset is rows of a file: a list in order, or bits.
type rowset struct {
	list []uint32
	bits []byte
}

func (s rowset) empty() bool { return s.bits == nil && len(s.list) == 0 }

func (s rowset) has(row uint32) bool {
	if s.bits != nil {
		return s.bits[row/8]>>(row%8)&1 != 0
	}
	_, ok := slices.BinarySearch(s.list, row)
	return ok
}

// and gives the rows that are in both. It may change s and o.
func (s rowset) and(o rowset) rowset {
	switch {
	case s.bits != nil && o.bits != nil:
		for i := range s.bits {
			s.bits[i] &= o.bits[i]
		}
		return s
	case s.bits != nil || o.bits == nil && len(o.list) < len(s.list):
		s, o = o, s
	}
	out := s.list[:0]
	if o.bits != nil || len(o.list)/16 > len(s.list) {
		for _, row := range s.list {
			if o.has(row) {
				out = append(out, row)
			}
		}
		return rowset{list: out}
	}
	rest := o.list
	for _, row := range s.list {
		for len(rest) > 0 && rest[0] < row {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0] == row {
			out = append(out, row)
		}
	}
	return rowset{list: out}
}

// below gives the greatest row less than a row.
func (s rowset) below(row uint32) (uint32, bool) {
	if s.bits == nil {
		i, _ := slices.BinarySearch(s.list, row)
		if i == 0 {
			return 0, false
		}
		return s.list[i-1], true
	}
	for row > 0 {
		row--
		b := s.bits[row/8] & (0xff >> (7 - row%8))
		if b != 0 {
			return row/8*8 + uint32(bits.Len8(b)) - 1, true
		}
		row = row / 8 * 8
	}
	return 0, false
}

// between gives the rows of [from, to).
func (s rowset) between(from, to uint32) (out []uint32) {
	if s.bits == nil {
		i, _ := slices.BinarySearch(s.list, from)
		j, _ := slices.BinarySearch(s.list, to)
		return s.list[i:max(i, j)]
	}
	for row := from; row < to; row++ {
		if s.has(row) {
			out = append(out, row)
		}
	}
	return out
}
