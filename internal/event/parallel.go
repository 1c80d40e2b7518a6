package event

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
)

// DecodeParallel reads one input like [Decoder.Decode], with decompression, splitting and reading of records each in
// goroutines of their own, so that one huge input keeps all processors busy. Every sink of workers is used by one
// goroutine at a time; main gets what is found while splitting: malformed stretches and remarks. The order of records
// is not kept. It returns when all goroutines have ended.
func (d *Decoder) DecodeParallel(ctx context.Context, name string, r io.Reader, main Sink, workers []Sink) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p := &parallel{d: d, free: make(chan []byte, len(workers)+3), full: make(chan batch, len(workers)+2)}
	for range len(workers) + 2 {
		p.free <- make([]byte, batchBytes)
	}
	d.reset(ctx, name, main)
	d.buf = make([]byte, batchBytes)
	d.split, d.swap = p.item, p.swap
	defer func() { d.split, d.swap = nil, nil }()

	var wg sync.WaitGroup
	readers := make([]*Decoder, len(workers))
	for i, sink := range workers {
		w := NewDecoder(d.lim)
		w.reset(ctx, name, sink)
		w.Reopen = d.Reopen
		readers[i] = w
		wg.Go(func() {
			for b := range p.full {
				if w.stop == nil {
					if w.stop = w.batch(b); w.stop != nil {
						cancel(w.stop)
					}
				}
				if len(b.buf) == batchBytes {
					p.free <- b.buf
				}
			}
		})
	}

	err := d.runAhead(ctx, r, &wg)
	p.dispatch()
	close(p.full)
	cancelled := context.Cause(ctx)
	cancel(nil) // ends the reading ahead
	wg.Wait()

	records := d.records
	held := len(d.held) > 0
	for _, w := range readers {
		records += w.records
		held = held || len(w.held) > 0
	}
	if cancelled != nil {
		return cancelled
	}
	if records == 0 {
		if held && err == nil {
			return ErrNoRecords
		}
		return err
	}
	for _, w := range append(readers, d) {
		w.flushHeld()
		if w != d {
			d.met += w.met
		}
		if w.stop != nil {
			return w.stop
		}
	}
	if err == ErrNoRecords || err == ErrNotLogs { // the splitting alone saw none
		return nil
	}
	return err
}

// batchBytes is the size of the buffers that travel between the goroutines.
const batchBytes = 1 << 20

// batch is a buffer with whole items in it.
type batch struct {
	buf   []byte
	base  int64
	items []itemSpan
}

type itemSpan struct{ start, end int }

// parallel is the splitting side.
type parallel struct {
	d     *Decoder
	items []itemSpan
	free  chan []byte
	full  chan batch
}

func (p *parallel) item(start, end int) error {
	if len(p.items) == 0 {
		p.d.rememberKeyOf(p.d.buf[start:end])
	}
	p.items = append(p.items, itemSpan{start, end})
	return nil
}

// swap sends the items of the buffer on their way and continues in another buffer that starts with keep.
func (p *parallel) swap(keep []byte, size int) []byte {
	var next []byte
	if size > batchBytes {
		next = make([]byte, size)
	} else {
		next = <-p.free
	}
	copy(next, keep)
	old := p.d.buf
	if len(p.items) == 0 {
		if len(old) == batchBytes && size <= batchBytes {
			p.free <- old
		}
		return next
	}
	p.dispatch()
	return next
}

func (p *parallel) dispatch() {
	if len(p.items) == 0 {
		return
	}
	p.full <- batch{buf: p.d.buf, base: p.d.base, items: p.items}
	p.items = make([]itemSpan, 0, len(p.items)+16)
}

// batch reads the items of b.
func (d *Decoder) batch(b batch) error {
	d.buf, d.base, d.end = b.buf, b.base, b.items[len(b.items)-1].end
	d.mark()
	for _, it := range b.items {
		d.pos, d.end = it.start, it.end
		d.scan(d.end)
		object := d.buf[d.pos] == '{'
		if object && d.ev.read(&d.s, d.pos) < 0 {
			return fmt.Errorf("read a record at byte %d that had been split off: %s", d.base+int64(d.pos), d.s.reason)
		}
		d.accept(it.end, object)
		if d.stop != nil {
			return d.stop
		}
	}
	poison(b.buf)
	return nil
}

func (d *Decoder) rememberKeyOf(item []byte) {
	if item[0] != '{' {
		return
	}
	if i := skipSpace(item, 1); i < len(item) && item[i] == '"' {
		d.firstKey = append(d.firstKey[:0], item[i+1:stringEnd(item, i)-1]...)
	}
}

// runAhead is run with the decompression in a goroutine of its own.
func (d *Decoder) runAhead(ctx context.Context, r io.Reader, wg *sync.WaitGroup) error {
	if err := d.open(r); err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	ahead := &readAhead{ctx: ctx, free: make(chan []byte, 4), full: make(chan chunk, 4)}
	for range 4 {
		ahead.free <- make([]byte, 256<<10)
	}
	text := d.text
	wg.Go(func() { ahead.run(text) })
	d.text = ahead
	return d.verdict(d.body())
}

// readAhead reads text in another goroutine, a few chunks ahead.
type readAhead struct {
	ctx  context.Context
	free chan []byte
	full chan chunk
	cur  chunk
	at   int
}

type chunk struct {
	buf []byte
	n   int
	err error
}

func (a *readAhead) run(text io.Reader) {
	for {
		var c chunk
		select {
		case c.buf = <-a.free:
		case <-a.ctx.Done():
			return
		}
		c.n, c.err = io.ReadFull(text, c.buf)
		if c.err == io.ErrUnexpectedEOF {
			c.err = io.EOF
		}
		select {
		case a.full <- c:
		case <-a.ctx.Done():
			return
		}
		if c.err != nil {
			return
		}
	}
}

func (a *readAhead) Read(p []byte) (int, error) {
	for a.at == a.cur.n {
		if a.cur.err != nil {
			return 0, a.cur.err
		}
		if a.cur.buf != nil {
			a.free <- a.cur.buf
		}
		a.at = 0
		select {
		case a.cur = <-a.full:
		case <-a.ctx.Done():
			a.cur = chunk{err: a.ctx.Err()}
		}
	}
	n := copy(p, a.cur.buf[a.at:a.cur.n])
	a.at += n
	return n, nil
}

// Split finds the records of one input without reading their fields, and calls item with each; the bytes are valid
// until it returns. It is the floor that reading is measured against.
func (d *Decoder) Split(ctx context.Context, name string, r io.Reader, sink Sink, item func(raw []byte) error) error {
	d.reset(ctx, name, sink)
	d.split = func(start, end int) error { return item(d.buf[start:end]) }
	defer func() { d.split = nil }()
	return d.run(r)
}

// rememberKey keeps the first key of the current record.
func (d *Decoder) rememberKey() {
	i := skipSpace(d.ev.Raw, 1)
	k := d.ev.Raw[i+1:]
	if bytes.HasPrefix(k, d.firstKey) && len(k) > len(d.firstKey) && k[len(d.firstKey)] == '"' {
		return
	}
	d.rememberKeyOf(d.ev.Raw)
}
