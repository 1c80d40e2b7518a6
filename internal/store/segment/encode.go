package segment

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"

	"spoor/internal/event"
)

// row is an event that waits to be written. ev.Raw and the strings lie in memory that the writer owns.
type row struct {
	ev    event.Event
	actor event.Actor
}

// micros is eventTime as the column has it.
func (r *row) micros() int64 { return floorDiv(r.ev.Time, int64(time.Microsecond)) }

// day is eventDay as the column has it.
func (r *row) day() int32 { return dayOf(r.ev.Time) }

func dayOf(nanos int64) int32 { return int32(floorDiv(nanos, int64(24*time.Hour))) }

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// node is a column with the places of its leaves in the file.
type node struct {
	*Column
	children    []node
	first, last int   // leaves [first, last)
	def         int16 // definition level of a value that is there
}

// leaf holds the values of one leaf column of a row group, in the form in which Parquet takes them.
type leaf struct {
	def, rep []int16
	bytes    []parquet.ByteArray
	longs    []int64
	days     []int32
	bools    []bool
	dict     *dictionary // in place of bytes, where values repeat
	page     int         // how large its pages become, 0 for as large as those of others
	repeats  bool        // it is in a list; rep is only for these
}

func (l *leaf) put(b []byte) {
	if l.dict != nil {
		l.dict.add(b)
		return
	}
	l.bytes = append(l.bytes, b)
}

// encoder turns rows into the leaves of a row group.
type encoder struct {
	nodes  []node
	leaves []leaf

	row   *row
	valid bool // the record is UTF-8
	// head and tail are the parts of the record that no other column has, nil when it must be kept whole.
	head, tail []byte
	// What readers may rely on when they leave rows of the group out by their columns.
	traits traits

	// What member collects of one JSON object: the values of its fields with from == fromMember.
	want    []node
	members []event.Value
	exact   []bool
	collect func(key string, v event.Value) bool
}

func newEncoder() *encoder {
	useCodec()
	x := &encoder{}
	var leaves int
	x.nodes, leaves = nodesOf(Columns(), 0, 0)
	x.leaves = make([]leaf, leaves)
	x.kinds(x.nodes, maphash.MakeSeed(), false)
	x.members = make([]event.Value, 8)
	x.exact = make([]bool, 8)
	x.collect = x.member
	return x
}

// kinds says how each leaf is kept. Dictionaries are not for lists, which have more values than rows.
func (x *encoder) kinds(nodes []node, seed maphash.Seed, inList bool) {
	for i := range nodes {
		n := &nodes[i]
		for k := n.first; k < n.last; k++ {
			x.leaves[k].repeats = x.leaves[k].repeats || inList || n.Type == List
		}
		switch {
		case n.Type == Struct || n.Type == List:
			x.kinds(n.children, seed, inList || n.Type == List)
		case n.like == bulky:
			x.leaves[n.first].page = pageBytes
		case n.like == unique && !inList:
			x.leaves[n.first].page = uniqueBytes
		case n.like == repeating && n.Type == Text && !inList:
			x.leaves[n.first].dict = newDictionary(seed)
		}
	}
}

func nodesOf(cols []Column, first int, def int16) ([]node, int) {
	out := make([]node, len(cols))
	for i := range cols {
		c := &cols[i]
		n := node{Column: c, first: first, def: def + 1}
		switch c.Type {
		case Struct:
			n.children, n.last = nodesOf(c.Fields, first, n.def)
		case List: // the list may be null, and it may be empty: two levels
			n.children, n.last = nodesOf(c.Fields, first, n.def+1)
		default:
			n.last = first + 1
		}
		first = n.last
		out[i] = n
	}
	return out, first
}

// reset empties the leaves, and lets go of the rows.
func (x *encoder) reset() {
	for i := range x.leaves {
		l := &x.leaves[i]
		clear(l.bytes)
		if l.dict != nil {
			l.dict.reset()
		}
		l.def, l.rep, l.bytes, l.longs, l.days, l.bools = l.def[:0], l.rep[:0], l.bytes[:0], l.longs[:0], l.days[:0], l.bools[:0]
	}
	x.row, x.traits = nil, allTraits
}

// add appends a row. The leaves point into it until reset.
func (x *encoder) add(r *row) {
	x.row, x.valid = r, utf8.Valid(r.ev.Raw)
	x.head, x.tail = nil, nil
	if x.valid {
		x.head, x.tail = split(&r.ev)
	}
	x.traits &= traitsOf(&r.ev, x.valid)
	for i := range x.nodes {
		x.node(&x.nodes[i], event.Value{}, 0)
	}
}

// node appends the value of a column, given that the structs around it are there. v is the value of a column with
// fromMember.
func (x *encoder) node(n *node, v event.Value, rep int16) {
	e := &x.row.ev
	switch n.from {
	case fromField:
		v = e.Get(n.field)
	case fromTime:
		if e.Time == 0 {
			x.null(n, n.def-1, rep)
			return
		}
		l := x.there(n, rep)
		l.longs = append(l.longs, x.row.micros())
		return
	case fromDay:
		l := x.there(n, rep)
		l.days = append(l.days, x.row.day())
		return
	case fromOffset:
		l := x.there(n, rep)
		l.longs = append(l.longs, e.Offset)
		return
	case fromFile:
		x.text(n, e.File, rep, utf8.ValidString(e.File))
		return
	case fromAccount:
		x.text(n, e.Account(), rep, x.valid)
		return
	case fromActor:
		for i := range n.children {
			x.node(&n.children[i], event.Value{}, rep)
		}
		return
	case fromActorKind:
		x.text(n, string(x.row.actor.Kind), rep, x.valid)
		return
	case fromActorID:
		x.text(n, x.row.actor.ID, rep, x.valid)
		return
	case fromActorName:
		x.text(n, x.row.actor.Name, rep, x.valid)
		return
	case fromActorAccount:
		x.text(n, x.row.actor.Account, rep, x.valid)
		return
	case fromActorSession:
		x.text(n, x.row.actor.Session, rep, x.valid)
		return
	case fromRawHead:
		x.part(n, x.head, rep)
		return
	case fromRawTail:
		x.part(n, x.tail, rep)
		return
	case fromRaw:
		if x.head != nil {
			x.null(n, n.def-1, rep)
			return
		}
		x.bytes(n, e.Raw, rep, x.valid)
		return
	case fromRawBytes:
		if x.valid {
			x.null(n, n.def-1, rep)
			return
		}
		l := x.there(n, rep)
		l.put(e.Raw)
		return
	}
	switch n.Type {
	case Text:
		if k := v.Kind(); n.from == fromField && (k == event.Number || k >= event.Object) {
			x.traits &^= plainTexts
		}
		switch v.Kind() {
		case event.String, event.Number, event.True, event.False:
			x.bytes(n, bytesOf(v.Text()), rep, x.valid)
		default:
			x.null(n, n.def-1, rep)
		}
	case JSON:
		if v.IsNull() {
			x.null(n, n.def-1, rep)
			return
		}
		x.bytes(n, v.Raw(), rep, x.valid)
	case Bool:
		b, ok := boolOf(v)
		if !ok {
			x.null(n, n.def-1, rep)
			return
		}
		l := x.there(n, rep)
		l.bools = append(l.bools, b)
	case Struct:
		x.object(n, v, rep)
	case List:
		x.list(n, v, rep)
	}
}

// object appends a struct. It is there when its JSON object is, and also when one of its fields was found although the
// object was not: under a key with dots in it.
func (x *encoder) object(n *node, v event.Value, rep int16) {
	if v.Kind() != event.Object && !x.hasFields(n) {
		x.null(n, n.def-1, rep)
		return
	}
	collected := false
	for i := range n.children {
		c := &n.children[i]
		var m event.Value
		if c.from == fromMember {
			if !collected {
				x.collectMembers(n, v)
				collected = true
			}
			m = x.members[i]
		}
		x.node(c, m, rep)
	}
}

func (x *encoder) hasFields(n *node) bool {
	for i := range n.children {
		c := &n.children[i]
		if c.from != fromField {
			continue
		}
		if k := x.row.ev.Get(c.field).Kind(); k == event.Object || k != event.Missing && c.Type != Struct || c.Type == Struct && x.hasFields(c) {
			return true
		}
	}
	return false
}

// collectMembers finds the members of v that are columns. The name must be the same; where none is, case does not matter.
func (x *encoder) collectMembers(n *node, v event.Value) {
	x.want = n.children
	clear(x.members)
	clear(x.exact)
	v.Members(x.collect)
}

func (x *encoder) member(key string, v event.Value) bool {
	for i := range x.want {
		c := &x.want[i]
		if c.from != fromMember {
			continue
		}
		if key == c.Name {
			x.members[i], x.exact[i] = v, true
			return true
		}
	}
	for i := range x.want {
		c := &x.want[i]
		if c.from == fromMember && !x.exact[i] && len(key) == len(c.Name) && strings.EqualFold(key, c.Name) {
			x.members[i] = v
			return true
		}
	}
	return true
}

func (x *encoder) list(n *node, v event.Value, rep int16) {
	if v.Kind() != event.Array {
		x.null(n, n.def-1, rep)
		return
	}
	some := false
	el := &n.children[0]
	v.Elements(func(item event.Value) bool {
		if item.Kind() == event.Object {
			x.object(el, item, rep)
		} else {
			x.null(el, el.def-1, rep)
		}
		some, rep = true, 1
		return true
	})
	if !some {
		x.null(n, n.def, rep)
	}
}

// there says that a leaf has a value here, which the caller appends.
func (x *encoder) there(n *node, rep int16) *leaf {
	l := &x.leaves[n.first]
	l.def = append(l.def, n.def)
	if l.repeats {
		l.rep = append(l.rep, rep)
	}
	return l
}

// null says that the column, or something around it, is null: def counts what is there.
func (x *encoder) null(n *node, def, rep int16) {
	for i := n.first; i < n.last; i++ {
		l := &x.leaves[i]
		l.def = append(l.def, def)
		if l.repeats {
			l.rep = append(l.rep, rep)
		}
	}
}

// text appends s, or null when it is empty.
func (x *encoder) text(n *node, s string, rep int16, valid bool) {
	if s == "" {
		x.null(n, n.def-1, rep)
		return
	}
	x.bytes(n, bytesOf(s), rep, valid)
}

// part appends b, or null when it is nil.
func (x *encoder) part(n *node, b []byte, rep int16) {
	if b == nil {
		x.null(n, n.def-1, rep)
		return
	}
	x.there(n, rep).put(b)
}

func (x *encoder) bytes(n *node, b []byte, rep int16, valid bool) {
	if !valid {
		b = bytes.ToValidUTF8(b, replacement)
	}
	x.there(n, rep).put(b)
}

var replacement = []byte("\uFFFD")

func boolOf(v event.Value) (val, ok bool) {
	switch v.Kind() {
	case event.True, event.False:
		return v.Kind() == event.True, true
	case event.String:
		switch s := v.Text(); {
		case strings.EqualFold(s, "true"):
			return true, true
		case strings.EqualFold(s, "false"):
			return false, true
		}
	}
	return false, false
}

// bytesOf gives the bytes of s without copying them. They are only read.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// writePages writes a column in pages of its own size.
func (l *leaf) writePages(col *file.ByteArrayColumnChunkWriter) error {
	there := col.Descr().MaxDefinitionLevel()
	from, val := 0, 0
	size, vals := 0, 0
	for i, def := range l.def {
		if def == there {
			size += 4 + len(l.bytes[val+vals])
			vals++
		}
		if size < l.page && i+1 < len(l.def) {
			continue
		}
		if _, err := col.WriteBatch(l.bytes[val:val+vals], l.def[from:i+1], nil); err != nil {
			return err
		}
		if size < dataPageBytes { // of that size it has been cut already
			if err := col.FlushCurrentPage(); err != nil {
				return err
			}
		}
		from, val, size, vals = i+1, val+vals, 0, 0
	}
	return nil
}

// write writes the leaves as one row group.
func (x *encoder) write(w *file.Writer) error {
	rg, err := w.AppendRowGroupChecked()
	if err != nil {
		return err
	}
	for i := range x.leaves {
		l := &x.leaves[i]
		col, err := rg.NextColumn()
		if err != nil {
			return err
		}
		rep := l.rep
		if !l.repeats {
			rep = nil
		}
		switch col := col.(type) {
		case *file.ByteArrayColumnChunkWriter:
			switch {
			case l.dict != nil:
				err = l.dict.write(col, l.def)
			case l.page > 0:
				err = l.writePages(col)
			default:
				_, err = col.WriteBatch(l.bytes, l.def, rep)
			}
		case *file.Int64ColumnChunkWriter:
			_, err = col.WriteBatch(l.longs, l.def, rep)
		case *file.Int32ColumnChunkWriter:
			_, err = col.WriteBatch(l.days, l.def, rep)
		case *file.BooleanColumnChunkWriter:
			_, err = col.WriteBatch(l.bools, l.def, rep)
		default:
			err = fmt.Errorf("no writer for %s", col.Descr().Path())
		}
		if err != nil {
			return fmt.Errorf("write column %s: %w", col.Descr().Path(), err)
		}
	}
	return rg.Close()
}
