package detect

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync/atomic"

	"spoor/internal/event"
)

// row is what one event gives to one group of one correlation. It has a fixed size and no pointers, so that a great many
// cost the garbage collector nothing.
type row struct {
	time    int64
	record  handle
	refs    uint64
	id      textRef // of the event, see texts.addID
	account uint32  // place in rows.values
	group   uint32  // place in rows.groups
	value   uint32  // 1 + place in rows.values, or in rows.lists when many is set; 0 for none
	failed  bool
	many    bool
}

// rowGroup is one group of one correlation.
type rowGroup struct {
	corr int
	key  textRef
	rows int
	refs uint64 // of all of them
	many bool   // some row has more than one value, or numbers
}

// rowValues are the measured values of a row that has more than one, or numbers.
type rowValues struct {
	values  []uint32 // places in rows.values
	numbers []float64
}

// rows keeps occurrences in memory: group keys, accounts and measured values once each. It belongs to one goroutine.
type rows struct {
	chunks []*[rowChunk]row
	n      int
	texts  texts
	groups []rowGroup
	byKey  []map[string]uint32 // by correlation, groups by key
	values []textRef           // each once
	known  map[string]uint32   // places in values
	lists  []rowValues
	used   int64 // bytes, about
}

const (
	rowChunk   = 1024
	rowBytes   = 48
	entryBytes = 64 // of a map entry, and what it leads to
)

func (r *rows) at(i int) *row { return &r.chunks[i/rowChunk][i%rowChunk] }

// add copies an occurrence.
func (r *rows) add(o *occurrence) {
	id, account := r.id(o.id), r.value(o.account)
	for i := range o.inputs {
		in := &o.inputs[i]
		if r.n == len(r.chunks)*rowChunk {
			r.chunks = append(r.chunks, new([rowChunk]row))
		}
		to := r.at(r.n)
		r.n++
		r.used += rowBytes
		*to = row{time: o.time, record: o.record, refs: in.refs, id: id, account: account, group: r.group(in.corr, in.key), failed: o.failed}
		g := &r.groups[to.group]
		g.rows++
		g.refs |= in.refs
		switch {
		case len(in.values) == 0 && len(in.numbers) == 0:
		case len(in.values) == 1 && len(in.numbers) == 0:
			to.value = r.value(in.values[0]) + 1
		default:
			l := rowValues{numbers: append([]float64(nil), in.numbers...)}
			for _, v := range in.values {
				l.values = append(l.values, r.value(v))
			}
			r.lists = append(r.lists, l)
			r.used += int64(entryBytes + 4*len(l.values) + 8*len(l.numbers))
			to.value, to.many = uint32(len(r.lists)), true
			g.many = true
		}
	}
}

func (r *rows) text(s string) textRef {
	before := r.texts.size
	ref := r.texts.add(s)
	r.used += r.texts.size - before
	return ref
}

func (r *rows) id(s string) textRef {
	before := r.texts.size
	ref := r.texts.addID(s)
	r.used += r.texts.size - before
	return ref
}

func (r *rows) group(corr int, key string) uint32 {
	for corr >= len(r.byKey) {
		r.byKey = append(r.byKey, nil)
	}
	g, ok := r.byKey[corr][key]
	if !ok {
		g = uint32(len(r.groups))
		ref := r.text(key)
		r.groups = append(r.groups, rowGroup{corr: corr, key: ref})
		if r.byKey[corr] == nil {
			r.byKey[corr] = map[string]uint32{}
		}
		r.byKey[corr][r.texts.get(ref)] = g
		r.used += entryBytes
	}
	return g
}

func (r *rows) value(text string) uint32 {
	v, ok := r.known[text]
	if !ok {
		v = uint32(len(r.values))
		ref := r.text(text)
		r.values = append(r.values, ref)
		if r.known == nil {
			r.known = map[string]uint32{}
		}
		r.known[r.texts.get(ref)] = v
		r.used += entryBytes
	}
	return v
}

// reset forgets everything but the memory.
func (r *rows) reset() {
	r.texts.reset()
	for _, m := range r.byKey {
		clear(m)
	}
	clear(r.known)
	clear(r.lists)
	r.n, r.used = 0, 0
	r.groups, r.values, r.lists = r.groups[:0], r.values[:0], r.lists[:0]
}

// texts keeps strings in chunks that do not move.
type texts struct {
	chunks [][]byte // those behind n are empty, to be used again
	n      int
	size   int64 // bytes in chunks
}

// textRef is a place in texts: chunk and offset.
type textRef uint32

const (
	textChunk  = 1 << textOffset // bytes; a longer text has a chunk of its own
	textOffset = 16
	maxChunks  = 1 << (32 - textOffset)
)

func (t *texts) add(s string) textRef {
	ref, c := t.room(binary.MaxVarintLen32 + len(s))
	before := len(*c)
	*c = appendText(*c, s)
	t.size += int64(len(*c) - before)
	return ref
}

// addID adds an id, for getID: a GUID takes half of its text. Empty texts are no ids.
func (t *texts) addID(s string) textRef {
	hi, lo, ok := event.ParseGUID(s)
	if !ok {
		return t.add(s)
	}
	ref, c := t.room(packedGUID)
	*c = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(append(*c, 0), hi), lo)
	t.size += packedGUID
	return ref
}

// packedGUID is the size of a GUID in a chunk: a zero, where a text has its length, and the number.
const packedGUID = 17

// room gives the place of the next text, and the chunk to append it to, which has room for it.
func (t *texts) room(need int) (textRef, *[]byte) {
	if t.n == 0 || cap(t.chunks[t.n-1])-len(t.chunks[t.n-1]) < need || len(t.chunks[t.n-1]) >= textChunk {
		if t.n < len(t.chunks) && cap(t.chunks[t.n]) < need {
			t.chunks[t.n] = make([]byte, 0, need)
		}
		if t.n == len(t.chunks) {
			t.chunks = append(t.chunks, make([]byte, 0, max(textChunk, need)))
		}
		t.n++
	}
	c := &t.chunks[t.n-1]
	return textRef(t.n-1)<<textOffset | textRef(len(*c)), c
}

// get gives a text. It lies in its chunk, and is valid until reset.
func (t *texts) get(ref textRef) string {
	c := t.at(ref)
	n, w := binary.Uvarint(c)
	return view(c[w : w+int(n)])
}

// getID gives an id, appended to b when it is not kept as a text.
func (t *texts) getID(ref textRef, b []byte) (id string, _ []byte) {
	c := t.at(ref)
	if c[0] != 0 {
		return t.get(ref), b
	}
	from := len(b)
	b = event.AppendGUID(b, binary.BigEndian.Uint64(c[1:]), binary.BigEndian.Uint64(c[9:]))
	return view(b[from:]), b
}

// compareIDs orders ids by their texts.
func (t *texts) compareIDs(x, y textRef) int {
	cx, cy := t.at(x), t.at(y)
	if cx[0] == 0 && cy[0] == 0 {
		return bytes.Compare(cx[:packedGUID], cy[:packedGUID])
	}
	var bx, by [event.GUIDLen]byte
	a, _ := t.getID(x, bx[:0])
	b, _ := t.getID(y, by[:0])
	return strings.Compare(a, b)
}

// at gives what lies at a place, and what follows it.
func (t *texts) at(ref textRef) []byte { return t.chunks[ref>>textOffset][ref%textChunk:] }

func (t *texts) reset() {
	for i := range t.chunks {
		t.chunks[i] = t.chunks[i][:0]
	}
	t.n, t.size = 0, 0
}

// budget is memory that several sorters share. Each tells what it holds; one that holds more than its part makes room when
// together they hold too much, so that they hold no more than half as much again.
type budget struct {
	limit   int64
	held    atomic.Int64
	sorters atomic.Int64
}

// step is how much a sorter may hold untold.
func (b *budget) step() int64 { return min(b.limit/64, 16<<10) }

// over reports whether one that holds so much has to make room.
func (b *budget) over(held int64) bool {
	return b.held.Load() >= b.limit && held >= b.limit/(2*max(b.sorters.Load(), 1))
}
