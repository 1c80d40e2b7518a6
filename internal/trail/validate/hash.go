package validate

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
)

var (
	errTrailing = errors.New("something follows the end of the compressed content")
	errLarge    = errors.New("its content is larger than a log file can be")
)

const (
	// mostContent bounds what one object may expand to: CloudTrail's log files end at 50 MB.
	mostContent = 4 << 30
	mostDigest  = 256 << 20
	// mostHeld is how many bytes of an object are read before they are expanded; larger ones are expanded as they come.
	mostHeld = 4 << 20
)

// expander takes gzip apart. It is used by one goroutine at a time.
type expander struct {
	zip  gzip.Reader
	body bytes.Buffer
	in   bytes.Reader
	sum  hash.Hash
	raw  hash.Hash
	out  limited
}

func newExpander() any { return &expander{sum: sha256.New(), raw: sha256.New()} }

// limited passes on a number of bytes.
type limited struct {
	w    io.Writer
	left int64
}

func (l *limited) Write(p []byte) (int, error) {
	if l.left -= int64(len(p)); l.left < 0 {
		return 0, errLarge
	}
	return l.w.Write(p)
}

// content is an object after it was read: its two sizes, and hashes as far as they were asked for.
type content struct {
	stored, size  int64
	hash, rawHash string
}

// byter is what gzip reads byte by byte, so that it takes nothing behind its end.
type byter interface {
	io.Reader
	io.ByteReader
}

// expand takes exactly one gzip member out of in and writes its content to w.
func (e *expander) expand(in byter, w io.Writer, most int64) (int64, error) {
	if err := e.zip.Reset(in); err != nil {
		return 0, err
	}
	e.zip.Multistream(false)
	e.out = limited{w, most}
	n, err := e.zip.WriteTo(&e.out)
	if err != nil {
		return n, err
	}
	switch _, err := in.ReadByte(); {
	case err == nil:
		return n, errTrailing
	case !errors.Is(err, io.EOF):
		return n, err
	}
	return n, nil
}

// formatError is an error of what an object holds, in contrast to one of reading it.
type formatError struct{ err error }

func (e formatError) Error() string { return e.err.Error() }
func (e formatError) Unwrap() error { return e.err }

// counted counts what is read, hashes it if it should, and keeps the error of the reader apart from that of the content.
type counted struct {
	r   io.Reader
	n   int64
	sum hash.Hash // or nil
	err error
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.sum != nil {
		_, _ = c.sum.Write(p[:n]) // never fails
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.err = err
	}
	return n, err
}

// pools are what all places of a run share: how much is fetched at a time, and how much is computed.
type pools struct {
	fetch   chan struct{} // one for each object that is open
	compute chan struct{} // one for each processor
	expand  sync.Pool
	raw     bool // hashes of stored bytes are wanted too
}

func newPools(fetch, compute int, raw bool) *pools {
	return &pools{fetch: make(chan struct{}, fetch), compute: make(chan struct{}, compute), expand: sync.Pool{New: newExpander}, raw: raw}
}

// take waits for a place.
func take(ctx context.Context, c chan struct{}) error {
	select {
	case c <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read reads an object and writes its content to w, or hashes it when w is nil. Errors of the content are a formatError.
func (p *pools) read(ctx context.Context, src Source, bucket, key string, w io.Writer, most int64) (c content, meta map[string]string, err error) {
	if err := take(ctx, p.fetch); err != nil {
		return c, nil, err
	}
	defer func() { <-p.fetch }()
	body, info, err := src.Get(ctx, bucket, key)
	if err != nil {
		return c, nil, err
	}
	defer func() {
		// What was read whole is right, whatever closing says.
		_ = body.Close()
	}()
	e := p.expand.Get().(*expander)
	defer p.expand.Put(e)
	in := &counted{r: body}
	e.sum.Reset()
	if p.raw {
		e.raw.Reset()
		in.sum = e.raw
	}
	hashed := w == nil
	if hashed {
		w = e.sum
	}
	e.body.Reset()
	if info.Size > 0 && info.Size <= mostHeld {
		e.body.Grow(int(info.Size) + bytes.MinRead)
	}
	n, err := e.body.ReadFrom(io.LimitReader(in, mostHeld))
	if err != nil {
		return c, nil, fmt.Errorf("read it: %w", err)
	}
	e.in.Reset(e.body.Bytes())
	var from byter = &e.in
	if n == mostHeld { // the rest as it comes
		from = &rest{head: &e.in, tail: in, buf: make([]byte, 0, 256<<10)}
	}
	if err := take(ctx, p.compute); err != nil {
		return c, nil, err
	}
	c.size, err = e.expand(from, w, most)
	if hashed && err == nil {
		var sum [sha256.Size]byte
		c.hash = hex.EncodeToString(e.sum.Sum(sum[:0]))
	}
	<-p.compute
	if in.err != nil {
		return c, nil, fmt.Errorf("read it: %w", in.err)
	}
	if err != nil {
		if ctx.Err() != nil {
			return c, nil, ctx.Err()
		}
		// So that size and hash are of the whole object.
		if _, rerr := io.Copy(io.Discard, in); rerr != nil {
			return c, nil, fmt.Errorf("read it: %w", rerr)
		}
		err = formatError{err}
	}
	c.stored = in.n
	if p.raw {
		c.rawHash = hex.EncodeToString(e.raw.Sum(nil))
	}
	return c, info.Metadata, err
}

// rest reads what is held and then what follows it.
type rest struct {
	head *bytes.Reader
	tail io.Reader
	buf  []byte
	at   int
}

func (r *rest) fill() error {
	n, err := io.ReadFull(r.tail, r.buf[:cap(r.buf)])
	r.buf, r.at = r.buf[:n], 0
	if n > 0 {
		return nil
	}
	return err
}

func (r *rest) Read(p []byte) (int, error) {
	if r.head.Len() > 0 {
		return r.head.Read(p)
	}
	if r.at == len(r.buf) {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.buf[r.at:])
	r.at += n
	return n, nil
}

func (r *rest) ReadByte() (byte, error) {
	if r.head.Len() > 0 {
		return r.head.ReadByte()
	}
	if r.at == len(r.buf) {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	r.at++
	return r.buf[r.at-1], nil
}
