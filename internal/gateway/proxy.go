package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/sigv4"
	"spoor/internal/recorder"
)

// recordTime bounds how long a call waits for its record.
const recordTime = 10 * time.Second

// Gate records calls, and keeps further ones out while that fails: a call that was carried out already when it turns out that
// it cannot be recorded is answered as failed, and those after it are not carried out. They try to record that they were
// refused; when that is possible again, the gate opens. The zero value is not usable: Recorder has to be set.
type Gate struct {
	Recorder awsapi.Recorder
	closed   atomic.Bool
	failed   atomic.Uint64
}

// Closed reports whether nothing could be recorded of late.
func (g *Gate) Closed() bool { return g.closed.Load() }

// Failed is how many calls could not be recorded.
func (g *Gate) Failed() uint64 { return g.failed.Load() }

// Record makes a call durable. That its caller has gone does not matter.
func (g *Gate) Record(ctx context.Context, c recorder.Call) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	_, err := g.Recorder.Record(ctx, c)
	if g.closed.Load() != (err != nil) {
		g.closed.Store(err != nil)
	}
	if err != nil {
		g.failed.Add(1)
	}
	return err
}

// Refused records a refusal of a caller who has proven nothing. It stands also when it cannot be recorded.
func (g *Gate) Refused(ctx context.Context, kind string, c recorder.Call) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTime)
	defer cancel()
	_ = g.Recorder.Refused(ctx, kind, c) // the recorder tells of it
}

// Upstream is a service that is recorded.
type Upstream struct {
	Name string   // signing name, such as s3
	URL  *url.URL // scheme and host
}

// ParseUpstream reads NAME=URL.
func ParseUpstream(s string) (Upstream, error) {
	name, address, ok := strings.Cut(s, "=")
	u, err := url.Parse(address)
	switch {
	case !ok || name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return Upstream{}, fmt.Errorf("%q is no upstream: want NAME=URL, such as s3=https://s3.example.com", s)
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return Upstream{}, fmt.Errorf("upstream %s: %q is no address: want http:// or https://, and a host", name, address)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return Upstream{}, fmt.Errorf("upstream %s: %q has more than a host: paths are those of the requests", name, u.Redacted())
	}
	u.Path = ""
	return Upstream{Name: name, URL: u}, nil
}

// Signer signs a request anew. digest is the value of x-amz-content-sha256.
type Signer func(ctx context.Context, r *http.Request, service, region, digest string) error

// ProxyOptions of NewProxy.
type ProxyOptions struct {
	Upstreams []Upstream
	Recorder  awsapi.Recorder
	Account   string // of records
	Region    string // where requests do not name one
	Partition string // default aws
	// Domains are hosts below which names are buckets of S3: NAME.DOMAIN.
	Domains []string
	// ReplaceHost sends the upstream's host instead of the one that the caller named, which its signature covers.
	ReplaceHost bool
	// Verifier and Signer, together: callers have to be known here, and requests are signed anew. Without them signatures are
	// passed on, and who calls is what requests claim.
	Verifier  *Verifier
	Signer    Signer
	Transport http.RoundTripper                      // default [NewTransport]
	Client    func(*http.Request) (netip.Addr, bool) // default the connection's
	Log       *slog.Logger                           // default discards
	Now       func() time.Time                       // default [time.Now]
	NewID     func() string                          // default random UUIDs
}

// Proxy records what services of others are asked. It may be used by any number of goroutines.
type Proxy struct {
	o         ProxyOptions
	s3        *S3Table
	forwarder *Forwarder
	gate      Gate
	calls     atomic.Uint64
}

// NewProxy makes the handler.
func NewProxy(o ProxyOptions) (*Proxy, error) {
	if len(o.Upstreams) == 0 || o.Recorder == nil || o.Account == "" || o.Region == "" {
		return nil, errors.New("a recording proxy needs an upstream, a recorder, an account and a Region")
	}
	if (o.Verifier == nil) != (o.Signer == nil) {
		return nil, errors.New("who verifies signatures has to sign anew, and who does not cannot")
	}
	seen := map[string]bool{}
	for _, u := range o.Upstreams {
		if seen[u.Name] {
			return nil, fmt.Errorf("there are two upstreams %s", u.Name)
		}
		seen[u.Name] = true
	}
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if o.Transport == nil {
		o.Transport = NewTransport()
	}
	if o.Client == nil {
		o.Client = Peer
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NewID == nil {
		o.NewID = uuid.NewString
	}
	return &Proxy{o: o, s3: NewS3Table(o.Domains...), forwarder: NewForwarder(o.Transport), gate: Gate{Recorder: o.Recorder}}, nil
}

// NewTransport is for services over a network: connections are kept, bytes are not touched.
func NewTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}
	buffers := &sync.Pool{New: func() any { b := make([]byte, copyBuffer); return &b }}
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &conn{Conn: c, buffers: buffers}, nil
		},
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       90 * time.Second,
		DisableCompression:    true,
		WriteBufferSize:       64 << 10,
		ReadBufferSize:        64 << 10,
	}
}

// conn takes bodies in large pieces: a connection's own way with them is pieces of 32 KiB.
type conn struct {
	net.Conn
	buffers *sync.Pool // of *[]byte
}

// ReadFrom implements [io.ReaderFrom].
func (c *conn) ReadFrom(r io.Reader) (int64, error) {
	b := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(b)
	return io.CopyBuffer(struct{ io.Writer }{c.Conn}, r, *b)
}

// Peer is who the connection comes from, and whether over TLS.
func Peer(r *http.Request) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}, r.TLS != nil
	}
	return ap.Addr(), r.TLS != nil
}

// Stats are figures since the start.
type Stats struct {
	Calls      uint64 // requests that came
	Unrecorded uint64 // that failed since they could not be recorded
}

// Stats are the figures of now.
func (p *Proxy) Stats() Stats { return Stats{Calls: p.calls.Load(), Unrecorded: p.gate.Failed()} }

// passage is a request on its way through the proxy.
type passage struct {
	p     *Proxy
	r     *http.Request
	up    *Upstream
	s3    *S3Request      // of S3
	other *ServiceRequest // of all others
	call  recorder.Call
	own   string // request id, where the service gives none
	body  []byte // of the request, as far as it is recorded
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.calls.Add(1)
	x := &passage{p: p, r: r, own: p.o.NewID()}
	address, _ := p.o.Client(r)
	x.call = recorder.Call{
		Time: p.o.Now(), Region: p.o.Region, Recipient: p.o.Account, Address: address, UserAgent: r.UserAgent(), TLS: r.TLS, Host: r.Host,
		Identity: recorder.Anonymous(), RequestID: x.own,
	}
	service, signed := sigv4.Find(r)
	x.up = p.upstream(service, signed)
	if x.up == nil {
		x.other = ParseService("unknown", r, nil, false)
		if plainName(strings.ReplaceAll(service, "-", "")) {
			x.other.Service = service
		}
		x.refuse(w, Refuse(http.StatusBadRequest, "UnknownService", "No service that is signed for as this one is behind this recorder."))
		return
	}
	var proof *Proof
	if p.o.Verifier != nil {
		var err error
		if proof, err = p.o.Verifier.Verify(r.Context(), r, x.up.Name, address, x.call.Time); err != nil {
			x.parse(nil, false)
			x.refuse(w, asRefusal(err))
			return
		}
		x.call.Region = proof.Signature.Region
		x.call.Identity = proof.Credential.Principal.Identity
		x.call.Identity.AccessKeyID = proof.Signature.AccessKey
		if account := x.call.Identity.AccountID; account != "" {
			x.call.Recipient = account
		}
	} else {
		x.claimed()
	}
	if p.gate.Closed() {
		x.parse(nil, false)
		x.shut(w)
		return
	}
	out, body, length, err := x.outgoing(proof)
	if err != nil {
		x.refuse(w, asRefusal(err))
		return
	}
	p.forwarder.Forward(w, r, &Exchange{
		Out: out, Body: body, Length: length, Changes: !x.readOnly(),
		Settle: func(a *Answer) error { return x.settle(a, body) },
		Fail:   x.fail,
	})
}

func asRefusal(err error) *Refusal {
	var e *Refusal
	if errors.As(err, &e) {
		return e
	}
	return Internal(err)
}

// upstream finds the service that a request is for: the one of its signature's scope, and where that says nothing the only one.
func (p *Proxy) upstream(service string, signed bool) *Upstream {
	for i := range p.o.Upstreams {
		if u := &p.o.Upstreams[i]; signed && u.Name == service {
			return u
		}
	}
	if len(p.o.Upstreams) == 1 && !signed {
		return &p.o.Upstreams[0]
	}
	if !signed { // S3 alone is asked without a signature
		for i := range p.o.Upstreams {
			if p.o.Upstreams[i].Name == "s3" {
				return &p.o.Upstreams[i]
			}
		}
	}
	return nil
}

// claimed takes from a request who it says that it is from.
func (x *passage) claimed() {
	x.call.Additional = map[string]any{"identityVerified": false}
	sig, err := sigv4.Parse(x.r)
	if err != nil {
		return
	}
	if key := sig.AccessKey; plainKey(key) {
		x.call.Identity = recorder.Identity{Type: "Unknown", PrincipalID: key, AccessKeyID: key}
	}
	if plainKey(strings.ReplaceAll(sig.Region, "-", "")) {
		x.call.Region = sig.Region
	}
}

func plainKey(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// parse finds out what is wanted.
func (x *passage) parse(start []byte, whole bool) {
	if x.up.Name == "s3" {
		x.s3 = x.p.s3.Parse(x.r)
		return
	}
	x.other = ParseService(x.up.Name, x.r, start, whole)
}

func (x *passage) readOnly() bool {
	if x.s3 != nil {
		return x.s3.Operation != nil && x.s3.Operation.ReadOnly
	}
	return x.other.ReadOnly()
}

// recordedBody is how much of the body is held to be recorded, 0 for nothing.
func (x *passage) recordedBody() int {
	switch {
	case x.up.Name != "s3":
		return MaxParameters
	case x.s3.Operation == nil:
		return 0
	case x.s3.Operation.Name == "DeleteObjects":
		return MaxDeleteBody
	case x.s3.Operation.Body != "":
		return MaxRecordedBody
	}
	return 0
}

// outgoing makes the request to the service.
func (x *passage) outgoing(proof *Proof) (out *http.Request, body io.Reader, length int64, err error) {
	r, u := x.r, x.up.URL
	if x.up.Name == "s3" {
		x.parse(nil, false)
	}
	out = Outgoing(r)
	out.Trailer = r.Trailer
	body, length = r.Body, r.ContentLength
	if proof != nil {
		body, length = proof.Body.Onward(out.Header)
	}
	if most := x.recordedBody(); most > 0 && r.Body != nil && r.Body != http.NoBody && length != 0 {
		inner := body
		if proof != nil && len(proof.Body.Trailer) > 0 { // what is recorded is the content, not its chunks
			inner = proof.Body.Reader
		}
		out.Header.Del("Expect") // it is here
		start, all, whole := PeekBody(inner, most)
		x.body = start
		if !whole {
			x.body = nil
		}
		if proof != nil && len(proof.Body.Trailer) > 0 {
			proof.Body.Reader = all
			body, length = proof.Body.Onward(out.Header)
		} else {
			body = all
		}
		if x.s3 == nil {
			x.parse(start, whole)
		}
	} else if x.s3 == nil {
		x.parse(nil, length == 0)
	}
	out.URL = &url.URL{Scheme: u.Scheme, Host: u.Host, Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery}
	if x.p.o.ReplaceHost || proof != nil {
		out.Host = u.Host
	}
	if proof == nil {
		// The path as it was written: signatures cover it.
		if path, _, _ := strings.Cut(r.RequestURI, "?"); strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "//") {
			out.URL.Opaque = path
		}
		return out, body, length, nil
	}
	if x.s3 != nil && x.s3.Hosted {
		out.URL.Path, out.URL.RawPath = "/"+x.s3.Bucket+r.URL.Path, "" // the upstream's host names no bucket
	}
	for _, name := range []string{"Authorization", "X-Amz-Date", "X-Amz-Security-Token", "Date"} {
		out.Header.Del(name)
	}
	query := r.URL.Query()
	for name := range query {
		if l := strings.ToLower(name); strings.HasPrefix(l, "x-amz-") && (hiddenParameter(name) || l == "x-amz-algorithm" || l == "x-amz-date" || l == "x-amz-expires" || l == "x-amz-signedheaders" || l == "x-amz-content-sha256") {
			query.Del(name)
		}
	}
	out.URL.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	if x.up.Name == "s3" {
		out.URL.RawPath = EscapePath(out.URL.Path)
	}
	digest := out.Header.Get("X-Amz-Content-Sha256")
	if x.up.Name != "s3" {
		out.Header.Del("X-Amz-Content-Sha256")
	}
	out.ContentLength = length
	if err := x.p.o.Signer(r.Context(), out, x.up.Name, proof.Signature.Region, digest); err != nil {
		return nil, nil, 0, Internal(fmt.Errorf("sign a request to %s: %w", x.up.Name, err))
	}
	return out, body, length, nil
}

// EscapePath writes a path as signatures of S3 have it: all but unreserved characters and slashes encoded.
func EscapePath(path string) string {
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(path))
	for i := range len(path) {
		c := path[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~', c == '/':
			b.WriteByte(c)
		default:
			b.Write([]byte{'%', digits[c>>4], digits[c&15]})
		}
	}
	return b.String()
}

// settle records a call whose answer is known.
func (x *passage) settle(a *Answer, body io.Reader) error {
	c := x.call
	var refused *Refusal
	if a.Err != nil && errors.As(a.Err, &refused) { // the body was not what its sender signed
		a.Gone = false
	}
	for _, name := range []string{"X-Amz-Request-Id", "X-Amzn-Requestid"} {
		if id := a.Header.Get(name); id != "" {
			c.RequestID = id
		}
	}
	x.fill(&c, a)
	return x.p.gate.Record(x.r.Context(), c)
}

func (x *passage) fill(c *recorder.Call, a *Answer) {
	if x.s3 != nil {
		x.s3.Record(c, x.r, S3Owner{Partition: x.p.o.Partition}, x.body, a)
		return
	}
	x.other.Record(c, a)
}

// fail answers in place of the service.
func (x *passage) fail(w http.ResponseWriter, a *Answer, unrecorded error) {
	var refused *Refusal
	switch {
	case unrecorded != nil:
		x.write(w, Refuse(http.StatusInternalServerError, "InternalError", "The call could not be recorded."))
	case errors.As(a.Err, &refused):
		x.write(w, refused)
	default:
		if !a.Gone {
			x.p.o.Log.Error("a service did not answer", slog.String("service", x.up.Name), slog.Any("error", a.Err))
		}
		x.write(w, Refuse(http.StatusServiceUnavailable, "ServiceUnavailable", "The service behind this recorder did not answer."))
	}
}

// refuse records a request that is not forwarded, and answers it.
func (x *passage) refuse(w http.ResponseWriter, e *Refusal) {
	if e.cause != nil && e.Status >= 500 {
		x.p.o.Log.Error("a call failed", slog.String("request", x.own), slog.Any("error", e.cause))
	}
	c := x.call
	x.fill(&c, nil)
	c.ErrorCode, c.ErrorMessage = e.Code, e.Message
	if plainKey(e.AccessKey) {
		if c.Additional == nil {
			c.Additional = map[string]any{}
		}
		c.Additional["claimedAccessKeyId"] = e.AccessKey
	}
	x.p.gate.Refused(x.r.Context(), "record "+e.Code+" "+c.Source+" "+c.Address.String(), c)
	x.write(w, e)
}

// shut answers while nothing can be recorded, and looks whether it can again.
func (x *passage) shut(w http.ResponseWriter) {
	e := Refuse(http.StatusServiceUnavailable, "SlowDown", "Calls cannot be recorded at the moment, and are not carried out. Please try again.")
	c := x.call
	x.fill(&c, nil)
	c.ErrorCode, c.ErrorMessage = e.Code, e.Message
	_ = x.p.gate.Record(x.r.Context(), c) // it opens the gate, or not
	w.Header().Set("Retry-After", "1")
	x.write(w, e)
}

func (x *passage) write(w http.ResponseWriter, e *Refusal) {
	if x.s3 != nil {
		w.Header().Set("X-Amz-Request-Id", x.own)
		S3Failure{Status: e.Status, Code: e.Code, Message: e.Message, Resource: x.r.URL.Path, RequestID: x.own}.Write(w, x.r.Method)
		return
	}
	x.other.Write(w, x.r, e.Status, e.Code, e.Message, x.own)
}
