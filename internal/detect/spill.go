package detect

import (
	"bufio"
	"cmp"
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sync/errgroup"
)

// occurrence is one event as correlations see it: what it matched, in which groups, with which values.
type occurrence struct {
	time    int64
	id      string
	account string
	failed  bool
	record  handle
	inputs  []input
}

// input is what an occurrence gives to one correlation in one group.
type input struct {
	corr    int
	refs    uint64
	key     string
	values  []string
	numbers []float64
}

// compare orders occurrences by time, then id.
func (o *occurrence) compare(p *occurrence) int {
	return cmp.Or(cmp.Compare(o.time, p.time), strings.Compare(o.id, p.id))
}

func (o *occurrence) encode(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(o.time))
	b = appendText(b, o.id)
	b = appendText(b, o.account)
	failed := byte(0)
	if o.failed {
		failed = 1
	}
	b = append(b, failed)
	b = binary.AppendUvarint(b, uint64(o.record))
	b = binary.AppendUvarint(b, uint64(len(o.inputs)))
	for i := range o.inputs {
		in := &o.inputs[i]
		b = binary.AppendUvarint(b, uint64(in.corr))
		b = binary.AppendUvarint(b, in.refs)
		b = appendText(b, in.key)
		b = binary.AppendUvarint(b, uint64(len(in.values)))
		for _, v := range in.values {
			b = appendText(b, v)
		}
		b = binary.AppendUvarint(b, uint64(len(in.numbers)))
		for _, v := range in.numbers {
			b = binary.BigEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	return b
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errBadRun = errors.New("a run of base matches is damaged")

// decode reads what encode wrote. Its strings share one copy of b; o.inputs is used again, the lists in it are not.
func (o *occurrence) decode(b []byte) error {
	d := decoder{text: string(b)}
	o.time = int64(d.fixed())
	o.id = d.string()
	o.account = d.string()
	o.failed = d.byte() == 1
	o.record = handle(d.uvarint())
	n := d.count()
	o.inputs = o.inputs[:0]
	for range n {
		in := input{corr: int(d.uvarint()), refs: d.uvarint(), key: d.string()}
		if n := d.count(); n > 0 {
			in.values = make([]string, n)
			for j := range in.values {
				in.values[j] = d.string()
			}
		}
		if n := d.count(); n > 0 {
			in.numbers = make([]float64, n)
			for j := range in.numbers {
				in.numbers[j] = math.Float64frombits(d.fixed())
			}
		}
		o.inputs = append(o.inputs, in)
	}
	if d.bad {
		return errBadRun
	}
	return nil
}

type decoder struct {
	text string
	at   int
	bad  bool
}

func (d *decoder) take(n int) string {
	if n < 0 || n > len(d.text)-d.at {
		d.bad, d.at = true, len(d.text)
		return ""
	}
	d.at += n
	return d.text[d.at-n : d.at]
}

func (d *decoder) uvarint() uint64 {
	var v uint64
	for shift := 0; shift < 64; shift += 7 {
		c := d.byte()
		v |= uint64(c&0x7f) << shift
		if c < 0x80 {
			return v
		}
	}
	d.bad = true
	return 0
}

// count reads the number of things that follow, each of at least a byte.
func (d *decoder) count() int {
	n := d.uvarint()
	if n > uint64(len(d.text)-d.at) {
		d.bad, d.at = true, len(d.text)
		return 0
	}
	return int(n)
}

func (d *decoder) fixed() uint64 {
	var v uint64
	for _, c := range []byte(d.take(8)) {
		v = v<<8 | uint64(c)
	}
	return v
}

func (d *decoder) byte() byte {
	b := d.take(1)
	if b == "" {
		return 0
	}
	return b[0]
}

func (d *decoder) string() string { return d.take(d.count()) }

// sorter takes occurrences in any order and gives them back by time and id. Beyond its limit it writes sorted runs to a
// temporary file, so its memory does not grow with the input. It belongs to one goroutine while it is filled.
type sorter struct {
	limit int64
	dir   string
	arena []byte
	index []sortKey
	file  *os.File
	size  int64
	runs  []run
	count int64
}

type sortKey struct {
	time     int64
	off, end uint32
	id, idTo uint32 // of the id, within the arena
}

// run is a sorted, compressed stretch of the file.
type run struct{ off, size int64 }

const (
	sortKeyBytes = 24
	maxArena     = 1 << 31
	runBlock     = 64 << 10 // of a run, before compression
)

func (s *sorter) add(o *occurrence) error {
	if n := int64(len(s.arena)) + int64(len(s.index))*sortKeyBytes; n >= s.limit && len(s.index) > 0 || len(s.arena) > maxArena {
		if err := s.spill(); err != nil {
			return err
		}
	}
	off := len(s.arena)
	s.arena = o.encode(s.arena)
	idAt := off + 8 + uvarintLen(uint64(len(o.id)))
	s.index = append(s.index, sortKey{o.time, uint32(off), uint32(len(s.arena)), uint32(idAt), uint32(idAt + len(o.id))})
	s.count++
	return nil
}

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

func (s *sorter) sort() {
	slices.SortFunc(s.index, func(a, b sortKey) int {
		if a.time != b.time {
			return cmp.Compare(a.time, b.time)
		}
		return strings.Compare(view(s.arena[a.id:a.idTo]), view(s.arena[b.id:b.idTo]))
	})
}

// spill writes what is held as a run.
func (s *sorter) spill() error {
	if s.file == nil {
		f, err := os.CreateTemp(s.dir, "spoor-matches-*")
		if err != nil {
			return fmt.Errorf("open a temporary file for base matches: %w", err)
		}
		s.file = f
	}
	s.sort()
	out := io.NewOffsetWriter(s.file, s.size)
	counted := &countingWriter{w: out}
	w := s2.NewWriter(counted, s2.WriterBlockSize(runBlock), s2.WriterConcurrency(1))
	var head []byte
	for _, k := range s.index {
		head = binary.AppendUvarint(head[:0], uint64(k.end-k.off))
		_, err := w.Write(head)
		if err == nil {
			_, err = w.Write(s.arena[k.off:k.end])
		}
		if err != nil {
			return fmt.Errorf("keep base matches aside: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return fmt.Errorf("keep base matches aside: %w", err)
	}
	s.runs = append(s.runs, run{s.size, counted.n})
	s.size += counted.n
	s.arena, s.index = s.arena[:0], s.index[:0]
	return nil
}

type countingWriter struct {
	w io.Writer
	n int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}

func (s *sorter) close() error {
	if s.file == nil {
		return nil
	}
	name := s.file.Name()
	err := s.file.Close()
	if rerr := os.Remove(name); err == nil {
		err = rerr
	}
	s.file = nil
	if err != nil {
		return fmt.Errorf("remove a temporary file: %w", err)
	}
	return nil
}

// stream gives occurrences in order.
type stream interface {
	// next reads into o, and returns io.EOF after the last.
	next(o *occurrence) error
}

type memoryStream struct {
	s  *sorter
	at int
}

func (m *memoryStream) next(o *occurrence) error {
	if m.at == len(m.s.index) {
		return io.EOF
	}
	k := m.s.index[m.at]
	m.at++
	return o.decode(m.s.arena[k.off:k.end])
}

type runStream struct {
	r   *bufio.Reader
	buf []byte
}

func (r *runStream) next(o *occurrence) error {
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		if errors.Is(err, io.EOF) {
			return io.EOF
		}
		return fmt.Errorf("read base matches back: %w", err)
	}
	if n > maxArena {
		return errBadRun
	}
	if uint64(cap(r.buf)) < n {
		r.buf = make([]byte, n)
	}
	r.buf = r.buf[:n]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		return fmt.Errorf("read base matches back: %w", err)
	}
	return o.decode(r.buf)
}

// merged gives the occurrences of all sorters by time and id.
func merged(sorters []*sorter, visit func(*occurrence) error) error {
	var m merger
	add := func(st stream) error {
		c := &cursor{stream: st, order: len(m)}
		switch err := st.next(&c.o); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		m = append(m, c)
		return nil
	}
	for _, s := range sorters {
		s.sort()
		if err := add(&memoryStream{s: s}); err != nil {
			return err
		}
		for _, r := range s.runs {
			rd := s2.NewReader(io.NewSectionReader(s.file, r.off, r.size), s2.ReaderMaxBlockSize(runBlock), s2.ReaderAllocBlock(runBlock))
			if err := add(&runStream{r: bufio.NewReaderSize(rd, 4096)}); err != nil {
				return err
			}
		}
	}
	heap.Init(&m)
	for len(m) > 0 {
		c := m[0]
		if err := visit(&c.o); err != nil {
			return err
		}
		switch err := c.stream.next(&c.o); {
		case errors.Is(err, io.EOF):
			heap.Pop(&m)
		case err != nil:
			return err
		default:
			heap.Fix(&m, 0)
		}
	}
	return nil
}

// aheadBatch is how many occurrences are read and put in order while others are taken.
const aheadBatch = 512

// inOrder calls take with the occurrences of all sorters in order, while the next ones are read in another goroutine.
func inOrder(ctx context.Context, sorters []*sorter, take func(*occurrence)) error {
	g, ctx := errgroup.WithContext(ctx)
	full, free := make(chan []occurrence, 2), make(chan []occurrence, 4)
	for range 4 {
		free <- make([]occurrence, 0, aheadBatch)
	}
	g.Go(func() error {
		defer close(full)
		var batch []occurrence
		send := func() error {
			select {
			case full <- batch:
				batch = nil
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		err := merged(sorters, func(o *occurrence) error {
			if batch == nil {
				select {
				case batch = <-free:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			n := len(batch)
			batch = batch[:n+1]
			inputs := append(batch[n].inputs[:0], o.inputs...) // the lists in them are not used again, this one is
			batch[n] = *o
			batch[n].inputs = inputs
			if len(batch) == aheadBatch {
				return send()
			}
			return nil
		})
		if err == nil && len(batch) > 0 {
			err = send()
		}
		return err
	})
	g.Go(func() error {
		for batch := range full {
			for i := range batch {
				take(&batch[i])
			}
			free <- batch[:0]
		}
		return nil
	})
	return g.Wait()
}

type cursor struct {
	stream stream
	o      occurrence
	order  int
}

type merger []*cursor

func (m merger) Len() int { return len(m) }
func (m merger) Less(i, j int) bool {
	if c := m[i].o.compare(&m[j].o); c != 0 {
		return c < 0
	}
	return m[i].order < m[j].order
}
func (m merger) Swap(i, j int) { m[i], m[j] = m[j], m[i] }
func (m *merger) Push(x any)   { *m = append(*m, x.(*cursor)) }
func (m *merger) Pop() any {
	old := *m
	c := old[len(old)-1]
	*m = old[:len(old)-1]
	return c
}
