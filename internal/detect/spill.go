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
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sync/errgroup"

	"spoor/internal/event"
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

// sorter takes occurrences in any order and gives them back by time and id. When it and those that it shares a budget with
// hold too much, it writes a sorted run to a temporary file, so its memory does not grow with the input. It belongs to one
// goroutine while it is filled.
type sorter struct {
	budget *budget
	dir    string
	rows   rows
	told   int64     // bytes of rows that the budget knows of
	order  []sortKey // of the rows, once sorted
	file   *os.File
	size   int64
	runs   []run
}

type sortKey struct {
	time int64
	row  uint32
}

// run is a sorted, compressed stretch of the file.
type run struct{ off, size int64 }

const (
	maxRun   = 1 << 30  // bytes of one occurrence in a run, more than there can be
	runBlock = 64 << 10 // of a run, before compression
)

func newSorter(b *budget, dir string) *sorter {
	b.sorters.Add(1)
	return &sorter{budget: b, dir: dir}
}

func (s *sorter) add(o *occurrence) error {
	s.rows.add(o)
	if s.rows.used-s.told < s.budget.step() && s.rows.texts.n < maxChunks/2 {
		return nil
	}
	s.budget.held.Add(s.rows.used - s.told)
	s.told = s.rows.used
	if s.budget.over(s.told) || s.rows.texts.n >= maxChunks/2 {
		return s.spill()
	}
	return nil
}

// sort puts rows in order: those of groups to keep, and those without a time, which are counted.
func (s *sorter) sort(keep []bool) {
	r := &s.rows
	s.order = s.order[:0]
	for i := range r.n {
		if at := r.at(i); keep == nil || keep[at.group] || at.time == 0 {
			s.order = append(s.order, sortKey{at.time, uint32(i)})
		}
	}
	slices.SortFunc(s.order, func(a, b sortKey) int {
		if a.time != b.time {
			return cmp.Compare(a.time, b.time)
		}
		// The rows of an event stay together, as its inputs were.
		if x, y := r.at(int(a.row)).id, r.at(int(b.row)).id; x != y {
			if c := r.texts.compareIDs(x, y); c != 0 {
				return c
			}
		}
		return cmp.Compare(a.row, b.row)
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
	s.sort(nil)
	out := io.NewOffsetWriter(s.file, s.size)
	counted := &countingWriter{w: out}
	w := s2.NewWriter(counted, s2.WriterBlockSize(runBlock), s2.WriterConcurrency(1))
	var head, text []byte
	var o occurrence
	for m := (memoryStream{s: s}); m.next(&o) == nil; {
		text = o.encode(text[:0])
		head = binary.AppendUvarint(head[:0], uint64(len(text)))
		_, err := w.Write(head)
		if err == nil {
			_, err = w.Write(text)
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
	s.rows.reset()
	s.budget.held.Add(-s.told)
	s.told = 0
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

// memoryStream gives what a sorted sorter holds. The texts lie in the sorter.
type memoryStream struct {
	s    *sorter
	at   int
	strs []string // for lists of values, which are not used again
	ids  []byte   // for ids, of which none is used again
}

func (m *memoryStream) next(o *occurrence) error {
	if m.at == len(m.s.order) {
		return io.EOF
	}
	r := &m.s.rows
	first := r.at(int(m.s.order[m.at].row))
	if cap(m.ids)-len(m.ids) < event.GUIDLen {
		m.ids = make([]byte, 0, 256*event.GUIDLen)
	}
	o.id, m.ids = r.texts.getID(first.id, m.ids)
	o.time, o.account, o.failed, o.record = first.time, r.texts.get(r.values[first.account]), first.failed, first.record
	o.inputs = o.inputs[:0]
	for ; m.at < len(m.s.order); m.at++ {
		one := r.at(int(m.s.order[m.at].row))
		if one.id != first.id {
			break
		}
		g := &r.groups[one.group]
		in := input{corr: g.corr, refs: one.refs, key: r.texts.get(g.key)}
		switch {
		case one.value == 0:
		case one.many:
			l := &r.lists[one.value-1]
			in.numbers = l.numbers
			for _, v := range l.values {
				in.values = append(in.values, r.texts.get(r.values[v]))
			}
		default:
			if len(m.strs) == 0 {
				m.strs = make([]string, 256)
			}
			in.values, m.strs = m.strs[:1:1], m.strs[1:]
			in.values[0] = r.texts.get(r.values[one.value-1])
		}
		o.inputs = append(o.inputs, in)
	}
	return nil
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
	if n > maxRun {
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

// merged gives the occurrences of all sorters by time and id, but for groups in which nothing can come of them.
func merged(rs *Ruleset, sorters []*sorter, visit func(*occurrence) error) error {
	keep := idle(rs, sorters)
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
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, s := range sorters {
		g.Go(func() error { s.sort(keep[i]); return nil })
	}
	_ = g.Wait() // none fails
	for _, s := range sorters {
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
func inOrder(ctx context.Context, rs *Ruleset, sorters []*sorter, take func(*occurrence)) error {
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
		err := merged(rs, sorters, func(o *occurrence) error {
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
