package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// Bounds of plain connections to services.
const (
	headMost    = 10 << 20 // bytes of the head of an answer, with those of the interim answers before it
	idlePerHost = 2        // connections that are kept, where the transport does not say
	relayTail   = 64 << 10 // of an answer that are not relayed, so that its end can be held back
	relayLeast  = 1 << 20  // an answer up to this is not worth it
	relaySlow   = copyBuffer
	relayFast   = 1 << 20 // bytes that are relayed at a time, to callers who took the last ones within relayQuick
	relayQuick  = time.Second
)

var (
	errHead     = errors.New("the head of the service's answer is too large")
	errStatus   = errors.New("the service's answer has a status that was not asked for")
	errCutShort = fmt.Errorf("the service closed the connection in the middle of its answer: %w", io.ErrUnexpectedEOF)
)

// direct is a transport for requests without a body to services that speak HTTP/1.1 without TLS. Unlike http.Transport it lets
// the body of an answer go from connection to connection without passing through here: see [sizedBody]. It dials as the
// http.Transport that it stands beside does, and keeps its bounds. Without goroutines of its own, it finds out that a connection
// was closed meanwhile when it is wanted again.
type direct struct {
	t    *http.Transport
	mu   sync.Mutex
	idle map[string][]*line // by address, the last used one last; guarded by mu
}

// newDirect is nil where connections cannot be used in this way.
func newDirect(t *http.Transport) *direct {
	if !canRelay || t.DialContext == nil || t.DisableKeepAlives || !t.DisableCompression || t.MaxConnsPerHost != 0 || t.MaxIdleConns != 0 ||
		t.Protocols != nil && (t.Protocols.UnencryptedHTTP2() || !t.Protocols.HTTP1()) {
		return nil
	}
	return &direct{t: t, idle: map[string][]*line{}}
}

// takes says whether a request, of which it is known that it has no body, can go this way.
func (d *direct) takes(r *http.Request) bool {
	if d == nil || r.Method != http.MethodGet || r.URL.Scheme != "http" || r.Close || len(r.Trailer) > 0 || r.Header["Expect"] != nil || r.URL.Hostname() == "" {
		return false
	}
	for i := range len(r.URL.Host) {
		if r.URL.Host[i] >= 0x80 { // http.Transport knows how such names are written
			return false
		}
	}
	if d.t.Proxy == nil {
		return true
	}
	proxy, err := d.t.Proxy(r)
	return proxy == nil && err == nil
}

// line is a connection to a service. It has one user at a time, or none, while it is idle.
type line struct {
	d       *direct
	address string
	conn    net.Conn
	raw     syscall.RawConn // nil where the connection has none: nothing is relayed, and it is not kept
	r       *bufio.Reader
	w       *bufio.Writer
	left    int64       // that may be read from the connection
	expiry  *time.Timer // nil for none; guarded by direct.mu
}

// Read reads from the connection, for the buffer.
func (l *line) Read(p []byte) (int, error) {
	if l.left <= 0 {
		return 0, errHead
	}
	n, err := l.conn.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// RoundTrip implements http.RoundTripper.
func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	port := r.URL.Port()
	if port == "" {
		port = "80"
	}
	address := net.JoinHostPort(r.URL.Hostname(), port)
	if l := d.take(address); l != nil {
		res, began, err := l.exchange(r)
		if err == nil || began || r.Context().Err() != nil {
			return res, err
		}
		// The service closed it while nobody used it, or as the request came: without a byte of an answer, what only reads may be
		// asked again.
	}
	conn, err := d.t.DialContext(r.Context(), "tcp", address)
	if err != nil {
		return nil, err
	}
	l := &line{d: d, address: address, conn: conn, w: bufio.NewWriter(conn)}
	switch c := conn.(type) {
	case *net.TCPConn:
		l.raw, err = c.SyscallConn()
	case *net.UnixConn:
		l.raw, err = c.SyscallConn()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("use a connection to %s: %w", address, err), conn.Close())
	}
	l.r = bufio.NewReaderSize(l, max(d.t.ReadBufferSize, 4<<10))
	res, _, err := l.exchange(r)
	return res, err
}

// take gives an idle connection on which nothing came.
func (d *direct) take(address string) *line {
	for {
		d.mu.Lock()
		lines := d.idle[address]
		if len(lines) == 0 {
			d.mu.Unlock()
			return nil
		}
		l := lines[len(lines)-1]
		d.forget(l)
		d.mu.Unlock()
		if state(l.raw) == stateQuiet {
			return l
		}
		_ = l.conn.Close() // closed by the service, or it says what nobody asked for
	}
}

// forget removes an idle connection; false if it is not there any more. The caller holds mu.
func (d *direct) forget(l *line) bool {
	lines := d.idle[l.address]
	for i := range lines {
		if lines[i] != l {
			continue
		}
		copy(lines[i:], lines[i+1:])
		lines[len(lines)-1] = nil
		if d.idle[l.address] = lines[:len(lines)-1]; len(lines) == 1 {
			delete(d.idle, l.address)
		}
		if l.expiry != nil {
			l.expiry.Stop()
			l.expiry = nil
		}
		return true
	}
	return false
}

// keep makes a connection idle whose answer was read to its end, unless there are enough or there is more on it.
func (l *line) keep() {
	d := l.d
	most := d.t.MaxIdleConnsPerHost
	if most == 0 {
		most = idlePerHost
	}
	d.mu.Lock()
	if l.raw == nil || l.r.Buffered() > 0 || len(d.idle[l.address]) >= most {
		d.mu.Unlock()
		_ = l.conn.Close() // all that was wanted of it is here
		return
	}
	d.idle[l.address] = append(d.idle[l.address], l)
	if d.t.IdleConnTimeout > 0 {
		l.expiry = time.AfterFunc(d.t.IdleConnTimeout, func() {
			d.mu.Lock()
			there := d.forget(l)
			d.mu.Unlock()
			if there {
				_ = l.conn.Close()
			}
		})
	}
	d.mu.Unlock()
}

// exchange sends a request and reads the head of its answer. began says that there was something of an answer. With an error
// the connection is closed; otherwise the body of the answer owns it.
func (l *line) exchange(r *http.Request) (res *http.Response, began bool, err error) {
	ctx := r.Context()
	stop := context.AfterFunc(ctx, func() { _ = l.conn.Close() })
	fail := func(began bool, err error) (*http.Response, bool, error) {
		stop()
		_ = l.conn.Close() // err says more
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, began, err
	}
	l.left = headMost
	if most := l.d.t.MaxResponseHeaderBytes; most > 0 {
		l.left = most
	}
	if err = r.Write(l.w); err == nil {
		err = l.w.Flush()
	}
	if err != nil {
		return fail(false, fmt.Errorf("send a request to %s: %w", l.address, err))
	}
	if d := l.d.t.ResponseHeaderTimeout; d > 0 {
		if err := l.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
			return fail(false, err)
		}
	}
	if _, err := l.r.Peek(1); err != nil {
		return fail(false, fmt.Errorf("wait for the answer of %s: %w", l.address, err))
	}
	for {
		if res, err = http.ReadResponse(l.r, r); err != nil {
			return fail(true, fmt.Errorf("read the answer of %s: %w", l.address, err))
		}
		if res.StatusCode < 100 || res.StatusCode == http.StatusSwitchingProtocols {
			return fail(true, fmt.Errorf("read the answer of %s: %w", l.address, errStatus))
		}
		if res.StatusCode >= 200 {
			break
		}
	}
	l.left = math.MaxInt64
	if l.d.t.ResponseHeaderTimeout > 0 {
		if err := l.conn.SetReadDeadline(time.Time{}); err != nil {
			return fail(true, err)
		}
	}
	u := use{line: l, stop: stop, close: res.Close}
	switch {
	case res.Body == http.NoBody:
		u.done(true)
	case res.ContentLength > 0:
		res.Body = &sizedBody{use: u, left: res.ContentLength}
	default:
		res.Body = &openBody{use: u, r: res.Body}
	}
	return res, true, nil
}

// use is a connection in the hands of the body of an answer.
type use struct {
	line  *line // nil when it is given back
	stop  func() bool
	close bool // the service closes it after this answer
}

// done gives the connection back, to be used again only if the answer was read to its end.
func (u *use) done(whole bool) {
	l := u.line
	if l == nil {
		return
	}
	u.line = nil
	if quiet := u.stop(); !quiet || !whole || u.close {
		_ = l.conn.Close() // nothing more is wanted of it
		return
	}
	l.keep()
}

// openBody is a body whose end is found by reading it.
type openBody struct {
	use
	r   io.Reader
	err error
}

func (b *openBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.line == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.r.Read(p)
	if b.err = err; err != nil {
		b.done(errors.Is(err, io.EOF))
	}
	return n, err
}

// Close gives up what was not read.
func (b *openBody) Close() error {
	b.done(false)
	return nil
}

// sizedBody is a body whose length is known: what is buffered, and then what comes on the connection.
type sizedBody struct {
	use
	left int64
	err  error
}

func (b *sizedBody) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if b.line == nil {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.line.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	switch {
	case b.left == 0:
		err = io.EOF
	case errors.Is(err, io.EOF):
		err = errCutShort
	}
	if b.err = err; err != nil {
		b.done(b.left == 0)
	}
	return n, err
}

// Close gives up what was not read.
func (b *sizedBody) Close() error {
	b.done(false)
	return nil
}

// relay waits until the service sent more, calls ready, and moves what is there to a connection: at most most bytes, which must be
// less than what is left, and without waiting for the service once ready was called. Nothing of the body may be buffered. An
// error is of the service if the second result is one, and of the receiver if the third is.
func (b *sizedBody) relay(to io.ReaderFrom, most int64, ready func()) (n int64, service, receiver error) {
	there, err := await(b.line.raw)
	if err != nil {
		return 0, err, nil
	}
	most = min(most, int64(there))
	ready()
	n, err = to.ReadFrom(&io.LimitedReader{R: b.line.conn, N: most})
	b.left -= n
	switch {
	case n == most && err == nil:
		return n, nil, nil
	case err == nil, state(b.line.raw) == stateClosed:
		b.err = errCutShort
		return n, b.err, nil
	}
	b.err = err // some of it may be on its way
	return n, nil, err
}

// relays says whether the rest of this answer may be relayed.
func (b *sizedBody) relays() bool {
	return b.err == nil && b.line != nil && b.line.raw != nil && b.left > relayLeast
}

// buffered is how much has to be read before something can be relayed.
func (b *sizedBody) buffered() int { return b.line.r.Buffered() }
