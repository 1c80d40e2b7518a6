package segment

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/s2"
	"golang.org/x/sync/errgroup"

	"spoor/internal/event"
)

// Spill keeps events of many days apart from each other, on disk beyond some memory, until there are enough of a day for
// a file. [Writer.Settle] fills it, from any number of goroutines at once. Its temporary file has no name where the system
// allows that, so that it goes with the process.
type Spill struct {
	dir string

	mu     sync.Mutex // guards all
	file   *os.File   // nil until it is needed
	named  bool       // it has to be removed
	end    int64
	memory int64 // bytes of chunks that lie in memory
	rows   int64
	filed  int64 // rows that lie in the file
	days   map[spillDay][]chunk
}

// spillDay is what lies in one file.
type spillDay struct {
	day   int32
	timed bool
}

// chunk is events that were spilled together, compressed: for each its offset, and its file and record with their lengths.
type chunk struct {
	mem  []byte // nil when it is in the file
	at   int64
	size int
}

const (
	spillMemory = 4 << 20
	// A file has so many events, or bytes of records, if there are as many of a day.
	enoughRows  = 4096
	enoughBytes = 4 << 20
)

// NewSpill returns an empty spill, whose file goes into dir when it is needed.
func NewSpill(dir string) *Spill { return &Spill{dir: dir, days: make(map[spillDay][]chunk)} }

// Rows is how many events it has.
func (s *Spill) Rows() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rows
}

// Filed is how many of the events lie on disk.
func (s *Spill) Filed() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.filed
}

// Close removes the temporary file.
func (s *Spill) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.file.Close()
	if s.named {
		err = errors.Join(err, os.Remove(s.file.Name()))
	}
	s.file = nil
	return err
}

// spillScratch is memory for [Spill.add].
type spillScratch struct{ plain, packed []byte }

// add takes events that may lie in one file.
func (s *Spill) add(rows []*row, x *spillScratch) error {
	plain := x.plain[:0]
	for _, r := range rows {
		plain = binary.AppendVarint(plain, r.ev.Offset)
		plain = binary.AppendUvarint(plain, uint64(len(r.ev.File)))
		plain = append(plain, r.ev.File...)
		plain = binary.AppendUvarint(plain, uint64(len(r.ev.Raw)))
		plain = append(plain, r.ev.Raw...)
	}
	x.plain = plain
	x.packed = slices.Grow(x.packed[:0], s2.MaxEncodedLen(len(plain)))
	packed := s2.Encode(x.packed[:cap(x.packed)], plain)
	c := chunk{mem: packed, size: len(packed)}
	file, err := s.place(&c, len(rows), spillDay{rows[0].day(), rows[0].ev.Time != 0})
	if err != nil || file == nil {
		return err
	}
	if _, err := file.WriteAt(packed, c.at); err != nil {
		return fmt.Errorf("set events aside: %w", err)
	}
	return nil
}

// place finds room for a chunk: in the file that it returns, or in memory.
func (s *Spill) place(c *chunk, rows int, day spillDay) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	inMemory := s.memory+int64(c.size) <= spillMemory
	if !inMemory && s.file == nil {
		f, err := os.CreateTemp(s.dir, ".part-")
		if err != nil {
			return nil, fmt.Errorf("set events aside: %w", err)
		}
		s.file, s.named = f, os.Remove(f.Name()) != nil
	}
	s.rows += int64(rows)
	if inMemory {
		s.memory += int64(c.size)
		s.days[day] = append(s.days[day], chunk{mem: bytes.Clone(c.mem), size: c.size})
		return nil, nil
	}
	s.filed += int64(rows)
	c.at = s.end
	s.end += int64(c.size)
	s.days[day] = append(s.days[day], chunk{at: c.at, size: c.size})
	return s.file, nil
}

// Write writes everything as segments, a file for each day or several, and empties the spill. Each writer, which must be
// empty, is used by one goroutine, and holds about limit bytes. Nobody may add meanwhile. After an error nothing of it is
// left in the folder.
func (s *Spill) Write(ctx context.Context, writers []*Writer, limit int64) ([]Segment, error) {
	days := make([]spillDay, 0, len(s.days))
	for d := range s.days {
		days = append(days, d)
	}
	slices.SortFunc(days, func(a, b spillDay) int { return cmp.Compare(a.day, b.day) })
	var next atomic.Int64
	segs := make([][]Segment, len(writers))
	g, gctx := errgroup.WithContext(ctx)
	for i, w := range writers {
		g.Go(func() error {
			var r spillReader
			flush := func() error {
				out, err := w.Flush(gctx)
				segs[i] = append(segs[i], out...)
				return err
			}
			for {
				k := int(next.Add(1)) - 1
				if k >= len(days) {
					return flush()
				}
				for _, c := range s.days[days[k]] {
					if err := r.read(s.file, c, w); err != nil {
						return fmt.Errorf("take up events that were set aside: %w", err)
					}
					if w.Bytes() >= limit {
						if err := flush(); err != nil {
							return err
						}
					}
				}
			}
		})
	}
	err := g.Wait()
	all := slices.Concat(segs...)
	if err != nil {
		o := &output{segs: all}
		if len(writers) > 0 {
			o.opts = writers[0].opts
		}
		return nil, errors.Join(err, o.abort())
	}
	if s.file != nil {
		if err := s.file.Truncate(0); err != nil {
			return nil, fmt.Errorf("empty what was set aside: %w", err)
		}
	}
	clear(s.days)
	s.end, s.memory, s.rows, s.filed = 0, 0, 0, 0
	return all, nil
}

// spillReader has what reading chunks needs.
type spillReader struct {
	packed, plain []byte
	file          string
}

var errSpill = errors.New("the temporary file is not what was written")

// read gives the events of a chunk to a writer.
func (r *spillReader) read(f *os.File, c chunk, w *Writer) (err error) {
	packed := c.mem
	if packed == nil {
		r.packed = slices.Grow(r.packed[:0], c.size)[:c.size]
		if _, err := f.ReadAt(r.packed, c.at); err != nil {
			return err
		}
		packed = r.packed
	}
	if r.plain, err = s2.Decode(r.plain[:cap(r.plain)], packed); err != nil {
		return fmt.Errorf("%w: %w", errSpill, err)
	}
	rest := r.plain
	text := func() ([]byte, bool) {
		n, k := binary.Uvarint(rest)
		if k <= 0 || n > uint64(len(rest)-k) {
			return nil, false
		}
		out := rest[k:][:n]
		rest = rest[k:][n:]
		return out, true
	}
	var ev event.Event
	for len(rest) > 0 {
		offset, k := binary.Varint(rest)
		if k <= 0 {
			return errSpill
		}
		rest = rest[k:]
		name, ok := text()
		if !ok {
			return errSpill
		}
		raw, ok := text()
		if !ok {
			return errSpill
		}
		if err := ev.Reset(raw); err != nil {
			return fmt.Errorf("%w: %w", errSpill, err)
		}
		if string(name) != r.file {
			r.file = string(name)
		}
		ev.File, ev.Offset = r.file, offset
		if err := w.Add(&ev, nil); err != nil {
			return err
		}
	}
	return nil
}
