package detect

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sync/errgroup"

	"spoor/internal/event"
	"spoor/internal/match"
)

// handle addresses a record in a [payloadLog]: shard, block and offset packed. 0 stands for none.
type handle uint64

const (
	payloadBlock = 256 << 10 // bytes before compression; a record may reach beyond

	handleOffsetBits = 24
	handleBlockBits  = 32
	noHandle         = handle(0)
)

func makeHandle(shard, block, offset int) handle {
	return handle(shard+1)<<(handleOffsetBits+handleBlockBits) | handle(block)<<handleOffsetBits | handle(offset)
}

func (h handle) shard() int  { return int(h>>(handleOffsetBits+handleBlockBits)) - 1 }
func (h handle) block() int  { return int(h >> handleOffsetBits & (1<<handleBlockBits - 1)) }
func (h handle) offset() int { return int(h & (1<<handleOffsetBits - 1)) }

// maxShards is what the bits of a handle leave room for.
const maxShards = 254

// payloadLog keeps the bytes of matching records until it is known which of them are wanted. Records are appended to
// blocks that are compressed when full; beyond a limit the blocks go to a temporary file, or, where there is none, the
// oldest are let go. It belongs to one goroutine until it is sealed.
type payloadLog struct {
	shard    int
	limit    int64  // bytes of compressed blocks in memory
	dir      string // where to spill; used when spill is set
	spill    bool
	cur      []byte
	packed   []byte // scratch for compression
	blocks   []payloadRef
	first    int // index of blocks[0]; earlier ones were let go
	mem      int64
	file     *os.File
	fileSize int64
	lastName string // of the input file last written
	nameAt   int    // where it stands in cur
}

type payloadRef struct {
	data []byte // compressed; nil when in the file
	off  int64
	size int
}

// append keeps a record and returns where. Of a record that is only located, what is kept is where it was read and how
// long it is.
func (l *payloadLog) append(e *event.Event, located bool) (handle, error) {
	if len(l.cur) >= payloadBlock {
		if err := l.seal(); err != nil {
			return noHandle, err
		}
	}
	h := makeHandle(l.shard, l.first+len(l.blocks), len(l.cur))
	if len(l.cur) > 0 && e.File == l.lastName {
		l.cur = binary.AppendUvarint(l.cur, uint64(l.nameAt)) // not 0: a block does not begin with a name
	} else {
		if e.File != l.lastName {
			l.lastName = strings.Clone(e.File)
		}
		l.cur = append(l.cur, 0)
		l.nameAt = len(l.cur)
		l.cur = appendText(l.cur, l.lastName)
	}
	l.cur = binary.AppendVarint(l.cur, e.Offset)
	if located {
		l.cur = append(l.cur, 0) // no record is empty
		l.cur = binary.AppendUvarint(l.cur, uint64(len(e.Raw)))
		return h, nil
	}
	l.cur = binary.AppendUvarint(l.cur, uint64(len(e.Raw)))
	l.cur = append(l.cur, e.Raw...)
	return h, nil
}

// seal closes the current block.
func (l *payloadLog) seal() error {
	if len(l.cur) == 0 {
		return nil
	}
	if need := s2.MaxEncodedLen(len(l.cur)); cap(l.packed) < need {
		l.packed = make([]byte, need+need/4)
	}
	l.packed = s2.Encode(l.packed[:cap(l.packed)], l.cur)
	data := bytes.Clone(l.packed)
	if cap(l.cur) > 4*payloadBlock {
		l.cur, l.packed = nil, nil
	}
	l.cur = l.cur[:0]
	l.blocks = append(l.blocks, payloadRef{data: data, size: len(data)})
	l.mem += int64(len(data))
	if l.mem <= l.limit {
		return nil
	}
	if !l.spill {
		for l.mem > l.limit && len(l.blocks) > 1 {
			l.mem -= int64(l.blocks[0].size)
			l.blocks[0].data = nil
			l.blocks = l.blocks[1:]
			l.first++
		}
		return nil
	}
	return l.spillBlocks()
}

func (l *payloadLog) spillBlocks() error {
	if l.file == nil {
		f, err := os.CreateTemp(l.dir, "spoor-records-*")
		if err != nil {
			return fmt.Errorf("open a temporary file for matching records: %w", err)
		}
		l.file = f
	}
	for i := range l.blocks {
		b := &l.blocks[i]
		if b.data == nil {
			continue
		}
		if _, err := l.file.WriteAt(b.data, l.fileSize); err != nil {
			return fmt.Errorf("keep matching records aside: %w", err)
		}
		b.off = l.fileSize
		l.fileSize += int64(b.size)
		b.data = nil
	}
	l.mem = 0
	return nil
}

// block returns the text of a block, or nil when it was let go.
func (l *payloadLog) block(n int, buf []byte) ([]byte, error) {
	if n == l.first+len(l.blocks) {
		return l.cur, nil
	}
	if n < l.first {
		return nil, nil
	}
	if n > l.first+len(l.blocks) {
		return nil, fmt.Errorf("read matching records: no block %d", n)
	}
	ref := l.blocks[n-l.first]
	data := ref.data
	if data == nil {
		data = make([]byte, ref.size)
		if _, err := l.file.ReadAt(data, ref.off); err != nil {
			return nil, fmt.Errorf("read matching records back: %w", err)
		}
	}
	out, err := s2.Decode(buf, data)
	if err != nil {
		return nil, fmt.Errorf("read matching records back: %w", err)
	}
	return out, nil
}

// stored is a record of a payloadLog.
type stored struct {
	file string
	at   event.Stretch
	raw  []byte // nil for one that was only located
}

// record reads the record at offset of a block's text. raw points into the text.
func (l *payloadLog) record(text []byte, offset int) (r stored, err error) {
	ok := offset <= len(text)
	uvarint := func(from int) (uint64, int) {
		if !ok || from > len(text) {
			ok = false
			return 0, 0
		}
		v, n := binary.Uvarint(text[from:])
		ok = n > 0
		return v, from + max(n, 0)
	}
	part := func(from int) ([]byte, int) {
		size, from := uvarint(from)
		if !ok || size > uint64(len(text)-from) {
			ok = false
			return nil, 0
		}
		return text[from : from+int(size)], from + int(size)
	}
	nameAt, next := uvarint(offset)
	var name []byte
	if nameAt == 0 {
		name, next = part(next)
	} else {
		name, _ = part(int(min(nameAt, uint64(len(text)))))
	}
	if ok {
		var n int
		r.at.Offset, n = binary.Varint(text[next:])
		next += n
		ok = n > 0
	}
	raw, next := part(next)
	if r.at.Length = len(raw); ok && len(raw) > 0 {
		r.raw = raw
	} else {
		var size uint64
		size, _ = uvarint(next)
		ok = ok && size <= event.MaxRecordBytes
		r.at.Length = int(size)
	}
	if !ok {
		return stored{}, fmt.Errorf("read matching records back: no record at %d", offset)
	}
	r.file = string(name)
	return r, nil
}

// close removes the temporary file.
func (l *payloadLog) close() error {
	if l.file == nil {
		return nil
	}
	name := l.file.Name()
	err := l.file.Close()
	if rerr := os.Remove(name); err == nil {
		err = rerr
	}
	l.file = nil
	if err != nil {
		return fmt.Errorf("remove a temporary file: %w", err)
	}
	return nil
}

// reading is what one goroutine needs to read records back, one at a time.
type reading struct {
	event event.Event
	match match.Context
}

// want is a record that is asked for and what to do with it. to may be called from any goroutine, also at once with the
// to of others. The event is valid until it returns.
type want struct {
	h  handle
	to func(r *reading)
}

// Again reads parts of a file a second time: it calls to with the number and the text of each, in order, while they last.
// The text is valid until to returns. What is not there any more is passed over. It is called from several goroutines.
type Again func(file string, at []event.Stretch, to func(i int, text []byte) error) error

// located is a wanted record that was not kept.
type located struct {
	at event.Stretch
	to func(r *reading)
}

// fetch reads the wanted records, each block and each file once, several at a time. Records that were let go are passed
// over. It returns how many records could not be read again.
func fetch(logs []*payloadLog, wants []want, again Again) (lost int, err error) {
	slices.SortStableFunc(wants, func(a, b want) int { return cmp.Compare(a.h, b.h) })
	var mu sync.Mutex // guards files and lost
	files := map[string][]located{}
	procs := runtime.GOMAXPROCS(0)
	free := make(chan *reading, procs)
	for range procs {
		free <- new(reading)
	}
	var g errgroup.Group
	g.SetLimit(procs)
	for len(wants) > 0 {
		n := 1
		for n < len(wants) && wants[n].h.shard() == wants[0].h.shard() && wants[n].h.block() == wants[0].h.block() {
			n++
		}
		some := wants[:n]
		wants = wants[n:]
		if some[0].h == noHandle {
			continue
		}
		g.Go(func() error {
			r := <-free
			defer func() { free <- r }()
			return fetchBlock(r, logs[some[0].h.shard()], some, func(file string, l located) {
				mu.Lock()
				defer mu.Unlock()
				files[file] = append(files[file], l)
			})
		})
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	for name, records := range files {
		g.Go(func() error {
			r := <-free
			defer func() { free <- r }()
			n, err := fetchFile(r, name, records, again)
			mu.Lock()
			defer mu.Unlock()
			lost += n
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return lost, fmt.Errorf("read the records behind findings again: %w", err)
	}
	return lost, nil
}

// fetchBlock reads wanted records of one block, and tells where those are that were only located.
func fetchBlock(r *reading, l *payloadLog, wants []want, elsewhere func(file string, l located)) error {
	text, err := l.block(wants[0].h.block(), nil)
	if err != nil || text == nil {
		return err
	}
	var rec stored
	last := noHandle
	for _, w := range wants {
		if w.h != last {
			last = w.h
			if rec, err = l.record(text, w.h.offset()); err != nil {
				return err
			}
			if rec.raw != nil {
				if err := r.event.Reset(rec.raw); err != nil {
					return fmt.Errorf("read matching records back: %w", err)
				}
				r.event.File, r.event.Offset = rec.file, rec.at.Offset
			}
		}
		if rec.raw == nil {
			elsewhere(rec.file, located{rec.at, w.to})
			continue
		}
		w.to(r)
	}
	return nil
}

// fetchFile reads wanted records of one file again and returns how many of them are not there any more.
func fetchFile(r *reading, name string, records []located, again Again) (lost int, err error) {
	slices.SortStableFunc(records, func(a, b located) int { return cmp.Compare(a.at.Offset, b.at.Offset) })
	var at []event.Stretch
	var first []int // of records, by place
	for i, l := range records {
		if i == 0 || l.at.Offset != records[i-1].at.Offset {
			at, first = append(at, l.at), append(first, i)
		}
	}
	first = append(first, len(records))
	if again == nil {
		return len(at), nil
	}
	lost = len(at)
	err = again(name, at, func(i int, text []byte) error {
		if r.event.Reset(text) != nil {
			return nil // the file has changed
		}
		r.event.File, r.event.Offset = name, at[i].Offset
		for _, l := range records[first[i]:first[i+1]] {
			l.to(r)
		}
		lost--
		return nil
	})
	return lost, err
}
