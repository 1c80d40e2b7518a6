// Package client asks a Spoor server over its HTTP API.
//
// A [Client] speaks to one server with one token, which it reads anew for every call. Calls that only ask are tried again a few
// times when the server is busy, restarts or cannot be reached; calls that change something are not. Answers that are no
// success are [*Error], whose code says what a program can do about it; a server that does not answer is [ErrUnreachable], an
// answer that ends before its end [ErrBroken].
//
// What a server sends is not trusted: sizes are bounded, redirects are not followed, and texts are as they came.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Options say which server, and how it is reached.
type Options struct {
	// Server is its address: https://host:port, or http:// for this machine, with a path when a proxy serves it below one.
	Server string
	// Token gives the bearer token. It is called for every call, so that a token that was replaced is found.
	Token func() (string, error)
	// CA are certificates in PEM that sign the server's, in place of those of the system.
	CA []byte
	// Plain lets the token travel in the clear to another machine.
	Plain bool

	UserAgent string
	Timeout   time.Duration // of a call that is answered at once; default 1 min
	Retries   int           // of a call that asks; default 3, negative for none
	Backoff   time.Duration // before the first retry, doubled for each further one up to 30 times; default 500 ms
}

var (
	// ErrUnreachable is what errors are when the server does not answer.
	ErrUnreachable = errors.New("the server cannot be reached")
	// ErrBroken is what errors are when an answer broke off: it is not whole.
	ErrBroken = errors.New("the answer broke off")
)

// Error is an answer that is no success: a problem document of RFC 9457.
type Error struct {
	Status     int           `json:"status"`
	Code       string        `json:"code"`   // what a program goes by; "" when something else than Spoor answered
	Detail     string        `json:"detail"` // a sentence
	RequestID  string        `json:"requestId"`
	Errors     []Field       `json:"errors"`
	RetryAfter time.Duration `json:"-"`
}

// Field is something of a request that is wrong.
type Field struct {
	Where   string `json:"where"`
	Message string `json:"message"`
}

// Error is the sentence, with what helps to find the call in the server's log.
func (e *Error) Error() string {
	var b strings.Builder
	switch {
	case e.Detail != "":
		b.WriteString(e.Detail)
	default:
		fmt.Fprintf(&b, "the server answers %d %s", e.Status, http.StatusText(e.Status))
	}
	for _, f := range e.Errors {
		if text := f.Where + ": " + f.Message; text != e.Detail {
			b.WriteString("; " + text)
		}
	}
	if e.Code == "" {
		fmt.Fprintf(&b, " (status %d)", e.Status)
	} else if e.RequestID != "" {
		fmt.Fprintf(&b, " (%s, request %s)", e.Code, e.RequestID)
	} else {
		fmt.Fprintf(&b, " (%s)", e.Code)
	}
	return b.String()
}

// Mine reports whether the caller can put it right by asking something else.
func (e *Error) Mine() bool {
	switch e.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusConflict, http.StatusUnprocessableEntity, http.StatusRequestEntityTooLarge:
		return e.Code != "" && e.Code != "out-of-memory"
	}
	return false
}

// passing reports whether it may be over in a while.
func (e *Error) passing() bool {
	switch e.Status {
	case http.StatusServiceUnavailable, http.StatusBadGateway, http.StatusTooManyRequests:
		return true
	case http.StatusGatewayTimeout:
		return e.Code == "" // of a proxy; a query that took too long takes too long again
	}
	return false
}

// Client asks one server. Its methods may be called concurrently.
type Client struct {
	o    Options
	base *url.URL
	http *http.Client
}

const (
	apiPath     = "/api/v1"
	maxAnswer   = 512 << 20 // bytes of an answer that is read whole
	maxProblem  = 1 << 20
	mostBackoff = 30 // times Options.Backoff
)

// New makes a client. It does not reach out.
func New(o Options) (*Client, error) {
	if o.Timeout <= 0 {
		o.Timeout = time.Minute
	}
	if o.Retries == 0 {
		o.Retries = 3
	}
	if o.Backoff <= 0 {
		o.Backoff = 500 * time.Millisecond
	}
	if o.UserAgent == "" {
		o.UserAgent = "spoor"
	}
	base, err := url.Parse(o.Server)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return nil, fmt.Errorf("%q is no address of a server: want one such as https://spoor.example.com:8484", o.Server)
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, errors.New("the address of a server has neither user nor query; tokens do not belong into it")
	}
	if base.Scheme == "http" && !o.Plain && !local(base.Hostname()) {
		return nil, fmt.Errorf("%s: the token would travel in the clear; use https://, or --plain where the network is trusted", base.Redacted())
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	tr := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout:     30 * time.Second,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:   true,
	}
	if len(o.CA) > 0 {
		tr.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !tr.TLSClientConfig.RootCAs.AppendCertsFromPEM(o.CA) {
			return nil, errors.New("there is no certificate in PEM among those that sign the server's")
		}
	}
	return &Client{o: o, base: base, http: &http.Client{
		Transport:     tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// local reports whether a host is this machine.
func local(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// Server is the address of the server.
func (c *Client) Server() string { return c.base.String() }

// Close gives connections back that nothing uses.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// call is a request.
type call struct {
	method, path string // below the API
	query        url.Values
	body         any    // as JSON; nil for none
	lines        []byte // JSON Lines, in place of body
	header       http.Header
	asks         bool // changes nothing
}

// get asks, and reads the answer into out.
func (c *Client) get(ctx context.Context, path string, query url.Values, out any) error {
	return c.whole(ctx, call{method: http.MethodGet, path: path, query: query, asks: true}, out)
}

// whole makes a call and reads the whole answer into out, which may be nil.
func (c *Client) whole(ctx context.Context, q call, out any) error {
	ctx, cancel := context.WithTimeoutCause(ctx, c.o.Timeout, fmt.Errorf("%w: no answer within %s", ErrUnreachable, c.o.Timeout))
	defer cancel()
	res, err := c.do(ctx, q)
	if err != nil {
		return err
	}
	defer drop(res)
	if out == nil {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return broken(ctx, err)
	}
	if len(text) > maxAnswer {
		return fmt.Errorf("the answer of the server has more than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s: the answer is not what this client understands: %w", c.base.Host, err)
	}
	return nil
}

// drop reads what is left of an answer, a little, so that the connection can be used again.
func drop(res *http.Response) {
	_, _ = io.CopyN(io.Discard, res.Body, 64<<10) // nothing of it matters
	_ = res.Body.Close()
}

func broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", ErrBroken, plain(err))
}

// do makes a call until it is answered with a success. The body of the answer is the caller's to close.
func (c *Client) do(ctx context.Context, q call) (*http.Response, error) {
	wait := c.o.Backoff
	for try := 0; ; try++ {
		res, err := c.once(ctx, q)
		if err == nil || !q.asks || try >= c.o.Retries || ctx.Err() != nil {
			return res, err
		}
		var told *Error
		switch {
		case errors.As(err, &told):
			if !told.passing() {
				return nil, err
			}
			wait = max(wait, told.RetryAfter)
		case !errors.Is(err, ErrUnreachable) || refused(err) && try == 0: // later, it may be starting again
			return nil, err
		}
		if wait > mostBackoff*c.o.Backoff {
			return nil, err // it wants to be left alone for longer than anybody waits here
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// once makes a call once.
func (c *Client) once(ctx context.Context, q call) (*http.Response, error) {
	u := *c.base
	path := apiPath + q.path
	u.RawPath = c.base.EscapedPath() + path
	unescaped, err := url.PathUnescape(path)
	if err != nil {
		return nil, err
	}
	u.Path += unescaped
	u.RawQuery = q.query.Encode()
	var body io.Reader
	if q.body != nil {
		text, err := json.Marshal(q.body)
		if err != nil {
			return nil, fmt.Errorf("write the request: %w", err)
		}
		body = bytes.NewReader(text)
	} else if q.lines != nil {
		body = bytes.NewReader(q.lines)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, u.String(), body)
	if err != nil {
		return nil, err
	}
	for name, values := range q.header {
		req.Header[name] = values
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if q.lines != nil {
		req.Header.Set("Content-Type", "application/x-ndjson")
	}
	req.Header.Set("User-Agent", c.o.UserAgent)
	token, err := c.o.Token()
	if err != nil {
		return nil, err
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, c.base.Redacted(), plain(err))
	}
	if res.StatusCode >= 200 && res.StatusCode < 300 {
		return res, nil
	}
	defer drop(res)
	return nil, problem(res)
}

// plain leaves out what package http says about a request: method and URL.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// refused reports whether nothing listens there.
func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// problem reads an answer that is no success.
func problem(res *http.Response) error {
	e := &Error{}
	text, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || kind != "application/problem+json" || json.Unmarshal(text, e) != nil {
		*e = Error{}
		if to := res.Header.Get("Location"); to != "" && res.StatusCode < 400 {
			e.Detail = fmt.Sprintf("the server sends us on to %.200q, where the token is not taken", to)
		} else {
			e.Detail = fmt.Sprintf("what answers there is no Spoor server: %d %s", res.StatusCode, http.StatusText(res.StatusCode))
		}
	}
	e.Status = res.StatusCode
	if after := res.Header.Get("Retry-After"); after != "" {
		if n, err := strconv.Atoi(after); err == nil && n >= 0 && n < 1<<20 {
			e.RetryAfter = time.Duration(n) * time.Second
		} else if at, err := http.ParseTime(after); err == nil {
			e.RetryAfter = max(0, time.Until(at))
		}
	}
	return e
}
