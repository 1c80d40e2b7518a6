// Package gateway is a recording proxy: it stands in front of a service that speaks a protocol of AWS, forwards requests as they
// are, and records each one.
//
// [Forwarder] carries one request, streaming in both directions, and lets it be recorded before its answer is whole: what
// cannot be recorded fails. [S3Table] finds out what a request means to S3, [S3Request.Record] makes the record of it. [Proxy]
// is the handler for services that somebody else runs; for buckets of its own the front in internal/awsapi/s3 uses the same
// parts, behind signatures and permissions.
package gateway

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds.
const (
	copyBuffer   = 256 << 10       // bytes that are read at a time
	largeBuffer  = 4 << 20         // likewise, of answers from this size on: fewer, longer reads take less of the processor
	largeBuffers = 16              // of those in use at a time; further answers make do with the other size
	writeSize    = 512 << 10       // bytes that are written at a time
	peekSize     = 64 << 10        // an answer up to this is whole before it is recorded
	afterGone    = 5 * time.Minute // that a change may take whose caller has gone
	writeStall   = 2 * time.Minute // that a caller may take to accept what is written at a time
)

// Answer is what became of a forwarded request.
type Answer struct {
	Status  int         // of the answer; 0 when there is none
	Header  http.Header // of the answer; nil when there is none
	In, Out int64       // bytes of the bodies: what the caller sent, and what it is sent
	Body    []byte      // the body of an answer that is small or tells of an error, bounded; valid while it is being recorded
	Whole   bool        // Body is all of it
	Err     error       // why there is no answer, or why it broke off
	// Gone says that it was the caller who broke off, Broken that it was the service, in the middle of its answer.
	Gone, Broken bool
}

// Forwarder carries requests to a service. It may be used by any number of goroutines; make it with [NewForwarder].
type Forwarder struct {
	transport http.RoundTripper
	buffers   sync.Pool
	large     sync.Pool
	largeFree chan struct{} // has an element for each large buffer that may still be taken
	peeks     sync.Pool
}

// NewForwarder forwards over a transport.
func NewForwarder(t http.RoundTripper) *Forwarder {
	of := func(size int) sync.Pool { return sync.Pool{New: func() any { b := make([]byte, size); return &b }} }
	f := &Forwarder{transport: t, buffers: of(copyBuffer), large: of(largeBuffer), peeks: of(peekSize), largeFree: make(chan struct{}, largeBuffers)}
	for range largeBuffers {
		f.largeFree <- struct{}{}
	}
	return f
}

// buffer is for reading an answer of a length, -1 for unknown; until it is given back.
func (f *Forwarder) buffer(length int64) (buf []byte, giveBack func()) {
	if length >= largeBuffer {
		select {
		case <-f.largeFree:
			b := f.large.Get().(*[]byte)
			return *b, func() {
				f.large.Put(b)
				f.largeFree <- struct{}{}
			}
		default:
		}
	}
	b := f.buffers.Get().(*[]byte)
	return *b, func() { f.buffers.Put(b) }
}

// Exchange is a request on its way.
type Exchange struct {
	// Out is the request to the service, without a body. Its context is replaced.
	Out *http.Request
	// Body is what the service gets; nil for none. Length is its length, -1 for unknown.
	Body   io.Reader
	Length int64
	// Changes says that a request goes on when its caller has gone and its body is complete, since it may have its effect.
	Changes bool
	// Admit looks at an answer of which nothing was sent yet; optional. Its error takes the answer's place, in Answer.Err. It may
	// change the headers.
	Admit func(*Answer) error
	// Settle makes the call durable. It is called once, always, before the answer is whole. Its error fails the call.
	Settle func(*Answer) error
	// Fail answers instead of the service: it did not answer, or the call could not be recorded, which unrecorded says.
	Fail func(w http.ResponseWriter, a *Answer, unrecorded error)
}

// counter counts what is read of a body, and remembers how it ended.
type counter struct {
	r     io.Reader
	n     atomic.Int64
	ended atomic.Bool // io.EOF was read
	err   atomic.Pointer[error]
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	switch {
	case errors.Is(err, io.EOF):
		c.ended.Store(true)
	case err != nil:
		c.err.Store(&err)
	}
	return n, err
}

func (c *counter) failure() error {
	if e := c.err.Load(); e != nil {
		return *e
	}
	return nil
}

// Forward carries an exchange for the caller r, and answers w. It panics with [http.ErrAbortHandler] to break off an answer
// that has begun and cannot be completed.
func (f *Forwarder) Forward(w http.ResponseWriter, r *http.Request, x *Exchange) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	defer cancel()
	in := &counter{}
	if x.Body != nil && x.Length != 0 {
		in.r = x.Body
	} else {
		in.ended.Store(true)
	}
	// The caller's end ends the exchange, unless its change may be under way already.
	stop := context.AfterFunc(r.Context(), func() {
		if x.Changes && (in.ended.Load() || x.Length >= 0 && in.n.Load() >= x.Length) {
			time.AfterFunc(afterGone, cancel)
			return
		}
		cancel()
	})
	defer stop()
	out := x.Out.WithContext(ctx)
	out.Body, out.ContentLength = http.NoBody, 0
	if in.r != nil {
		out.Body, out.ContentLength = io.NopCloser(in), x.Length
	}
	a := &Answer{}
	res, err := f.transport.RoundTrip(out)
	a.In = in.n.Load()
	if err != nil {
		a.Err = err
		if failure := in.failure(); failure != nil {
			a.Err = failure
		}
		a.Gone = r.Context().Err() != nil || in.failure() != nil
		settleUnanswered(w, x, a)
		return
	}
	defer res.Body.Close()
	a.Status, a.Header = res.StatusCode, res.Header
	f.answer(w, r, x, res, in, a)
}

// settleUnanswered records a call that the service did not answer.
func settleUnanswered(w http.ResponseWriter, x *Exchange, a *Answer) {
	x.Fail(w, a, x.Settle(a))
}

// answer passes the answer on. What is small is recorded when it is there as a whole, and then sent; of what is larger the end
// is held back until the call is recorded: the last bytes, or, where the length is not told, the mark of the end.
func (f *Forwarder) answer(w http.ResponseWriter, r *http.Request, x *Exchange, res *http.Response, in *counter, a *Answer) {
	peek := f.peeks.Get().(*[]byte)
	defer f.peeks.Put(peek)
	bodiless := r.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	n, err := 0, io.EOF
	if !bodiless {
		n, err = peekBody(res, *peek)
	}
	a.In = in.n.Load()
	a.Body, a.Out, a.Whole = (*peek)[:n], int64(n), errors.Is(err, io.EOF)
	hopByHop(res.Header)
	if x.Admit != nil && (err == nil || a.Whole) {
		if refused := x.Admit(a); refused != nil {
			a.Err, a.Out = refused, 0
			settleUnanswered(w, x, a)
			return
		}
	}
	switch {
	case a.Whole:
		if err := x.Settle(a); err != nil {
			x.Fail(w, a, err)
			return
		}
		sendHead(w, res, bodiless)
		// The caller may have gone; it is recorded as it was answered.
		_, _ = w.Write(a.Body)
		trailers(w, res)
		return
	case err != nil:
		a.Err, a.Broken, a.Gone = err, true, r.Context().Err() != nil
		a.Out = 0 // nothing was sent yet
		settleUnanswered(w, x, a)
		return
	}
	f.stream(w, r, x, res, in, a)
}

// PeekBody reads the beginning of a body, at most most bytes, and gives the whole of it again: what was read and what follows.
// whole says that nothing follows. An error of the body is given to whoever reads on.
func PeekBody(body io.Reader, most int) (start []byte, all io.Reader, whole bool) {
	start, err := io.ReadAll(io.LimitReader(body, int64(most)+1))
	switch {
	case err != nil:
		return start, io.MultiReader(bytes.NewReader(start), failing{err}), false
	case len(start) <= most:
		return start, bytes.NewReader(start), true
	}
	return start[:most], io.MultiReader(bytes.NewReader(start), body), false
}

// failing is a body that ends in an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// peekBody fills a buffer from an answer. io.EOF says that it is all; without an error there is more, or it does not come at
// once: an answer whose length is not told is passed on as it comes.
func peekBody(res *http.Response, buf []byte) (n int, err error) {
	if res.ContentLength > int64(len(buf)) {
		return 0, nil
	}
	for n < len(buf) {
		m, err := res.Body.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
		if res.ContentLength < 0 && eventStream(res.Header) {
			return n, nil
		}
	}
	if res.ContentLength == int64(n) {
		return n, io.EOF
	}
	return n, nil
}

// eventStream tells answers that are read while they are made.
func eventStream(h http.Header) bool {
	t := h.Get("Content-Type")
	return strings.HasPrefix(t, "text/event-stream") || strings.HasPrefix(t, "application/vnd.amazon.eventstream")
}

// stream passes a large answer on.
func (f *Forwarder) stream(w http.ResponseWriter, r *http.Request, x *Exchange, res *http.Response, in *counter, a *Answer) {
	buf, giveBack := f.buffer(res.ContentLength)
	defer giveBack()
	ctl := http.NewResponseController(w)
	sendHead(w, res, false)
	// What is written last is held back where that makes the answer whole. Where neither its length nor a mark of the end tells,
	// the end of the connection does, and anything may turn out to be the last.
	sized := res.ContentLength >= 0
	lag := !sized && !r.ProtoAtLeast(1, 1)
	write := func(p []byte) (n int, err error) {
		for n < len(p) && err == nil {
			_ = ctl.SetWriteDeadline(time.Now().Add(writeStall)) // not every connection has deadlines
			var m int
			m, err = w.Write(p[n:min(len(p), n+writeSize)])
			n += m
			if err == nil && !sized && !lag {
				err = ctl.Flush()
			}
		}
		return n, err
	}
	send := func(p []byte) error {
		n, err := write(p)
		a.Out += int64(n)
		return err
	}
	prefix := a.Body
	a.Out = 0
	var held, spare []byte // with lag they take turns, and with prefix
	if lag {
		b, back := f.buffer(-1)
		defer back()
		spare = b
	}
	pass := func(p []byte) error {
		switch {
		case lag:
			last := held
			held = p
			return send(last)
		case sized && a.Out+int64(len(p)) >= res.ContentLength:
			held = p
			return nil
		}
		return send(p)
	}
	err := pass(prefix)
	for err == nil && (lag || held == nil) {
		n, rerr := res.Body.Read(buf)
		if n > 0 {
			if err = pass(buf[:n]); err != nil {
				break
			}
			if lag {
				buf, spare = spare, buf
			}
		}
		if errors.Is(rerr, io.EOF) {
			break
		}
		if rerr != nil {
			a.Err, a.Broken = rerr, true
			break
		}
	}
	a.Body = prefix
	a.In = in.n.Load()
	if err != nil || r.Context().Err() != nil {
		a.Gone, a.Broken = true, false
		if a.Err = err; err == nil {
			a.Err = r.Context().Err()
		}
	}
	sent := a.Out
	if a.Err == nil {
		a.Out += int64(len(held))
	}
	serr := x.Settle(a)
	if serr != nil || a.Err != nil {
		a.Out = sent
		panic(http.ErrAbortHandler) // the caller sees that it is not whole
	}
	_, _ = write(held) // who has gone by now has all but this, and is recorded as if it had all
	trailers(w, res)
	_ = ctl.SetWriteDeadline(time.Time{})
}

// sendHead sends status and headers.
func sendHead(w http.ResponseWriter, res *http.Response, bodiless bool) {
	h := w.Header()
	for k, v := range res.Header {
		if strings.HasPrefix(k, "X-Amz-") { // as S3 writes them: some clients take names of metadata as they come
			k = strings.ToLower(k)
		}
		h[k] = v
	}
	if res.ContentLength >= 0 && h.Get("Content-Length") == "" && !bodiless {
		h.Set("Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	for k := range res.Trailer {
		h.Add("Trailer", k)
	}
	if _, ok := h["Date"]; !ok {
		h["Date"] = nil // the service sent none
	}
	w.WriteHeader(res.StatusCode)
}

func trailers(w http.ResponseWriter, res *http.Response) {
	for k, v := range res.Trailer {
		w.Header()[k] = v
	}
}

// hopByHop removes what is between two neighbours alone.
func hopByHop(h http.Header) {
	for _, list := range h["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			delete(h, textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)))
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade"} {
		delete(h, name)
	}
}

// Outgoing begins the request to a service: method and headers of the caller's, without what is between neighbours.
func Outgoing(r *http.Request) *http.Request {
	out := &http.Request{Method: r.Method, Header: r.Header.Clone(), Host: r.Host, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}
	hopByHop(out.Header)
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // or the transport names itself
	}
	return out
}
