//go:build linux

package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// scripted is a service that writes what a test tells it: to the n-th request of all, on the c-th connection.
type scripted struct {
	url   string
	conns atomic.Int64
}

func newScripted(t testing.TB, answer func(c net.Conn, r *http.Request, conn, n int64) (keep bool)) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scripted{url: "http://" + l.Addr().String()}
	var requests atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conn := s.conns.Add(1)
			stop := context.AfterFunc(t.Context(), func() { _ = c.Close() })
			go func() {
				defer stop()
				defer c.Close()
				br := bufio.NewReader(c)
				for {
					r, err := http.ReadRequest(br)
					if err != nil || !answer(c, r, conn, requests.Add(1)) {
						return
					}
				}
			}()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return s
}

func newTestDirect(t testing.TB) *direct {
	t.Helper()
	tr := NewTransport()
	tr.Proxy = nil
	t.Cleanup(tr.CloseIdleConnections)
	d := newDirect(tr)
	t.Cleanup(func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, lines := range d.idle {
			for _, l := range slices.Clone(lines) {
				d.forget(l)
				_ = l.conn.Close()
			}
		}
	})
	return d
}

// outcome is what a transport makes of an answer.
type outcome struct {
	Status  int
	Body    string
	Header  string
	Trailer string
	Err     bool // instead of an answer
	Broken  bool // in the body
}

func outcomeOf(t testing.TB, rt http.RoundTripper, url string) outcome {
	t.Helper()
	res, err := rt.RoundTrip(request(t, "GET", url+"/b/k", nil))
	if err != nil {
		return outcome{Err: true}
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return outcome{Status: res.StatusCode, Body: string(body), Header: fmt.Sprint(res.Header), Trailer: fmt.Sprint(res.Trailer), Broken: err != nil}
}

// TestDirectAnswers: answers of all kinds mean the same as to http.Transport, and a connection is used again only where nothing
// of one answer can be taken for another.
func TestDirectAnswers(t *testing.T) {
	t.Parallel()
	const ok = "HTTP/1.1 200 OK\r\n"
	for _, tt := range []struct {
		name, answer string
		closes       bool // the service closes the connection behind it
		again        bool // the connection is used for a second request
	}{
		{"sized", ok + "Content-Length: 3\r\n\r\nabc", false, true},
		{"empty", ok + "Content-Length: 0\r\n\r\n", false, true},
		{"chunked with a trailer", ok + "Trailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-T: v\r\n\r\n", false, true},
		{"until the end", ok + "\r\nabc", true, false},
		{"HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc", false, false},
		{"to be closed", ok + "Connection: close\r\nContent-Length: 3\r\n\r\nabc", false, false},
		{"interim answers", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "Content-Length: 3\r\n\r\nabc", false, true},
		{"no content", "HTTP/1.1 204 No Content\r\n\r\n", false, true},
		{"not modified", "HTTP/1.1 304 Not Modified\r\nEtag: x\r\nContent-Length: 3\r\n\r\n", false, true},
		{"both framings", ok + "Content-Length: 30\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false, true},
		{"two lengths", ok + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", false, false},
		{"the same length twice", ok + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", false, true},
		{"a negative length", ok + "Content-Length: -3\r\n\r\nabc", false, false},
		{"a length that is none", ok + "Content-Length: +3\r\n\r\nabc", false, false},
		{"a length too large", ok + "Content-Length: 99999999999999999999\r\n\r\nabc", false, false},
		{"an unknown encoding", ok + "Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", false, false},
		{"a bad chunk", ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", false, false},
		{"cut in the body", ok + "Content-Length: 5\r\n\r\nabc", true, false},
		{"cut in a chunk", ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc", true, false},
		{"cut in the head", ok + "Content-Le", true, false},
		{"nothing", "", true, false},
		{"no HTTP", "SSH-2.0-x\r\n\r\n", true, false},
		{"a name with a space", ok + "A b: c\r\nContent-Length: 0\r\n\r\n", false, true},
		{"a head without end", ok + strings.Repeat("X-A: "+strings.Repeat("a", 1000)+"\r\n", 11<<10), true, false},
		{"interim answers without end", strings.Repeat("HTTP/1.1 102 Processing\r\nX: "+strings.Repeat("a", 1000)+"\r\n\r\n", 11<<10), true, false},
		{"a second answer behind it", ok + "Content-Length: 3\r\n\r\nabc" + ok + "Content-Length: 6\r\n\r\nforged", false, false},
		{"a body where there is none", "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc", false, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			answer := func(c net.Conn, _ *http.Request, _, _ int64) bool {
				_, err := io.WriteString(c, tt.answer)
				return err == nil && !tt.closes
			}
			plain := NewTransport()
			t.Cleanup(plain.CloseIdleConnections)
			want := outcomeOf(t, plain, newScripted(t, answer).url)
			s, d := newScripted(t, answer), newTestDirect(t)
			for i := range 2 {
				if got := outcomeOf(t, d, s.url); got != want {
					t.Errorf("request %d: %+v, http.Transport has %+v", i+1, got, want)
				}
			}
			if n := s.conns.Load(); (n == 1) != tt.again {
				t.Errorf("two requests over %d connections", n)
			}
		})
	}
}

// TestDirectSwitching: nobody asked to speak something else.
func TestDirectSwitching(t *testing.T) {
	t.Parallel()
	s := newScripted(t, func(c net.Conn, _ *http.Request, _, _ int64) bool {
		_, err := io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
		return err == nil
	})
	if _, err := newTestDirect(t).RoundTrip(request(t, "GET", s.url+"/", nil)); !errors.Is(err, errStatus) {
		t.Errorf("%v", err)
	}
}

// TestDirectStale: a kept connection that the service closes, at once or when the next request comes, does not fail a request; one
// that answers nothing on a fresh one does, and is asked no further.
func TestDirectStale(t *testing.T) {
	t.Parallel()
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc"
	for _, tt := range []struct {
		name   string
		answer func(c net.Conn, conn, n int64) bool
		ok     []bool
		conns  int64
	}{
		{"closed behind the answer", func(c net.Conn, _, _ int64) bool { _, _ = io.WriteString(c, answer); return false }, []bool{true, true, true}, 3},
		{"closed at the second request", func(c net.Conn, conn, n int64) bool {
			if conn == 1 && n > 1 {
				return false
			}
			_, _ = io.WriteString(c, answer)
			return true
		}, []bool{true, true, true}, 2},
		{"never again", func(c net.Conn, conn, n int64) bool {
			if n > 1 {
				return false
			}
			_, _ = io.WriteString(c, answer)
			return true
		}, []bool{true, false}, 2},
		{"in the middle of the second head", func(c net.Conn, conn, n int64) bool {
			if n == 2 {
				_, _ = io.WriteString(c, answer[:20])
				return false
			}
			_, _ = io.WriteString(c, answer)
			return true
		}, []bool{true, false, true}, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScripted(t, func(c net.Conn, _ *http.Request, conn, n int64) bool { return tt.answer(c, conn, n) })
			d := newTestDirect(t)
			for i, want := range tt.ok {
				if got := outcomeOf(t, d, s.url); got.Err == want || want && got.Body != "abc" {
					t.Errorf("request %d: %+v", i+1, got)
				}
			}
			if n := s.conns.Load(); n != tt.conns {
				t.Errorf("%d connections, want %d", n, tt.conns)
			}
		})
	}
}

// TestDirectCancelled: the end of a request closes its connection, while the head is waited for and in the body.
func TestDirectCancelled(t *testing.T) {
	t.Parallel()
	for _, head := range []string{"", "HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\nabc"} {
		asked, closed := make(chan struct{}), make(chan struct{})
		s := newScripted(t, func(c net.Conn, _ *http.Request, _, _ int64) bool {
			_, _ = io.WriteString(c, head)
			close(asked)
			_, _ = c.Read(make([]byte, 1))
			close(closed)
			return false
		})
		ctx, cancel := context.WithCancel(t.Context())
		if head == "" {
			go func() { <-asked; cancel() }()
		}
		res, err := newTestDirect(t).RoundTrip(request(t, "GET", s.url+"/", nil).WithContext(ctx))
		if head == "" {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("waiting for the head: %v", err)
			}
		} else {
			if err != nil {
				t.Fatal(err)
			}
			cancel()
			if body, err := io.ReadAll(res.Body); err == nil {
				t.Errorf("a whole body: %q", body)
			}
			_ = res.Body.Close()
		}
		<-closed
		cancel()
	}
}

// TestDirectUnread: a connection with the rest of a body is not used again.
func TestDirectUnread(t *testing.T) {
	t.Parallel()
	s := newScripted(t, func(c net.Conn, _ *http.Request, _, _ int64) bool {
		_, err := io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc")
		return err == nil
	})
	d := newTestDirect(t)
	for range 2 {
		res, err := d.RoundTrip(request(t, "GET", s.url+"/", nil))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := res.Body.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if _, err := res.Body.Read(make([]byte, 1)); !errors.Is(err, http.ErrBodyReadAfterClose) {
			t.Errorf("read after it was closed: %v", err)
		}
	}
	if n := s.conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
}

// TestDirectExpires: idle connections are closed in time, and no more are kept than is wanted.
func TestDirectExpires(t *testing.T) {
	t.Parallel()
	gone := make(chan struct{})
	s := newScripted(t, func(c net.Conn, _ *http.Request, _, _ int64) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		_, _ = c.Read(make([]byte, 1))
		close(gone)
		return false
	})
	tr := NewTransport()
	tr.Proxy, tr.IdleConnTimeout = nil, time.Millisecond
	if got := outcomeOf(t, newDirect(tr), s.url); got.Status != 200 {
		t.Fatalf("%+v", got)
	}
	<-gone
}

// TestDirectTakes: what goes another way.
func TestDirectTakes(t *testing.T) {
	t.Parallel()
	d := newTestDirect(t)
	for _, tt := range []struct {
		name   string
		change func(*http.Request)
		want   bool
	}{
		{"a read", func(*http.Request) {}, true},
		{"a write", func(r *http.Request) { r.Method = "PUT" }, false},
		{"HEAD", func(r *http.Request) { r.Method = "HEAD" }, false},
		{"TLS", func(r *http.Request) { r.URL.Scheme = "https" }, false},
		{"Expect", func(r *http.Request) { r.Header.Set("Expect", "100-continue") }, false},
		{"trailers", func(r *http.Request) { r.Trailer = http.Header{"A": nil} }, false},
		{"a name that has to be encoded", func(r *http.Request) { r.URL.Host = "bücher.example" }, false},
		{"no host", func(r *http.Request) { r.URL.Host = "" }, false},
	} {
		r := request(t, "GET", "http://s3.example/b/k", nil)
		tt.change(r)
		if got := d.takes(r); got != tt.want {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
	var none *direct
	if none.takes(request(t, "GET", "http://s3.example/b/k", nil)) {
		t.Error("no transport takes a request")
	}
}

// TestDirectRequest: a request is written as http.Transport writes it.
func TestDirectRequest(t *testing.T) {
	t.Parallel()
	var texts []string
	for _, own := range []bool{false, true} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		text := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				text <- err.Error()
				return
			}
			defer c.Close()
			var b bytes.Buffer
			_, _ = http.ReadRequest(bufio.NewReader(io.TeeReader(c, &b)))
			text <- b.String()
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}()
		r := request(t, "GET", "http://"+l.Addr().String()+"/b/k%2F%20x?versionId=1", nil)
		r.Host, r.URL.Opaque, r.Body = "s3.example:8080", "/b/k%2F%20x", http.NoBody
		r.Header = http.Header{"Range": {"bytes=0-9"}, "Authorization": {"AWS4-HMAC-SHA256 x"}, "User-Agent": {""}, "X-Amz-Meta-A": {"1", "2"}}
		var rt http.RoundTripper = newTestDirect(t)
		if !own {
			tr := NewTransport()
			t.Cleanup(tr.CloseIdleConnections)
			rt = tr
		}
		res, err := rt.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		texts = append(texts, <-text)
	}
	if texts[0] != texts[1] || !strings.HasPrefix(texts[1], "GET /b/k%2F%20x?versionId=1 HTTP/1.1\r\nHost: s3.example:8080\r\n") {
		t.Errorf("http.Transport writes\n%q\nnot\n%q", texts[0], texts[1])
	}
}

// TestRelayed: large answers arrive as they were sent, over TCP and over a Unix socket, and are recorded to the byte, whether the
// service sends them whole, breaks off, or the caller does.
func TestRelayed(t *testing.T) {
	t.Parallel()
	content := make([]byte, 5<<20+12345)
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range content {
		content[i] = byte(rnd.Uint32())
	}
	head := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", len(content))
	cut := 3 << 20
	for _, tt := range []struct {
		name   string
		answer func(c net.Conn) bool
		whole  bool
	}{
		{"whole", func(c net.Conn) bool { _, err := c.Write(append([]byte(head), content...)); return err == nil }, true},
		{"in pieces", func(c net.Conn) bool {
			_, _ = io.WriteString(c, head)
			for p := range slices.Chunk(content, 77_777) {
				_, _ = c.Write(p)
			}
			return true
		}, true},
		{"cut", func(c net.Conn) bool { _, _ = c.Write(append([]byte(head), content[:cut]...)); return false }, false},
		{"cut in the tail", func(c net.Conn) bool {
			_, _ = c.Write(append([]byte(head), content[:len(content)-1000]...))
			return false
		}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newScripted(t, func(c net.Conn, _ *http.Request, _, _ int64) bool { return tt.answer(c) })
			g := newRig(t, "s3="+s.url)
			for range 2 {
				res, body, err := ask(t, request(t, "GET", g.URL+"/b/k", nil))
				switch {
				case tt.whole && (err != nil || sha256.Sum256(body) != sha256.Sum256(content)):
					t.Errorf("%v: %d bytes, %v", res, len(body), err)
				case !tt.whole && (err == nil || !bytes.HasPrefix(content, body)):
					t.Errorf("an answer that was cut: %d bytes, %v", len(body), err)
				}
				list := rows(t, g.book.Records())
				got := list[len(list)-1]
				if tt.whole && got != (row{Name: "GetObject", Key: "k", Out: int64(len(content))}) {
					t.Errorf("recorded %+v", got)
				}
				if !tt.whole && (got.Error != "InternalError" && got.Error != "InternalFailure" || got.Out != int64(len(body))) {
					t.Errorf("recorded %+v of %d bytes", got, len(body))
				}
			}
			if n := s.conns.Load(); tt.whole && n != 1 || !tt.whole && n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestRelayedGone: a caller who goes away ends the service's answer as well, and is recorded as gone.
func TestRelayedGone(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	s := newScripted(t, func(c net.Conn, _ *http.Request, _, _ int64) bool {
		defer close(ended)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n")
		block := make([]byte, 1<<20)
		for {
			if _, err := c.Write(block); err != nil {
				return false
			}
		}
	})
	g := newRig(t, "s3="+s.url)
	res, err := http.DefaultTransport.RoundTrip(request(t, "GET", g.URL+"/b/k", nil))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, res.Body, 10<<20); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	<-ended
	g.Close()
	records := g.book.Records()
	if got := rows(t, records); len(got) != 1 || got[0].Name != "GetObject" || got[0].Out < 10<<20 || !strings.Contains(records[0], `"transferAborted":"client"`) {
		t.Errorf("recorded %s", records)
	}
}

// TestRelayedUnix: from a Unix socket.
func TestRelayedUnix(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789abcdef"), 3<<16)
	path := t.TempDir() + "/s"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	g := newRig(t, "s3=http://gateway", func(o *ProxyOptions) {
		tr := NewTransport()
		tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
		o.Transport = tr
	})
	_, body, err := ask(t, request(t, "GET", g.URL+"/b/k", nil))
	if err != nil || sha256.Sum256(body) != sha256.Sum256(content) {
		t.Errorf("%d bytes: %v", len(body), err)
	}
	if got := rows(t, g.book.Records()); len(got) != 1 || got[0].Out != int64(len(content)) {
		t.Errorf("recorded %+v", got)
	}
}
