// Package console is the HTTP API of the service: one [http.Handler] over the parts of a process.
//
// Every call but those of /healthz and /readyz comes with a bearer token. A call passes one gate: its token is looked at before
// anything else of it is, then its route is found, then the one action of the route is authorised for what it is about, and only
// then is its body read and its handler called. Refusals and changes are recorded as CloudTrail events before they are
// answered. docs/api/openapi.json describes the routes; it is generated from them, and docs/api/README.md says the rest.
//
// The parts are interfaces that are declared here. One that is missing answers that this process does not have it.
package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"spoor/internal/iam"
	"spoor/internal/recorder"
	"spoor/internal/safetext"
)

const (
	apiPath     = "/api/v1"
	catalogPath = "/iceberg/"
	// maxBody bounds the bodies of all calls but pushes, whose bound is that of their source.
	maxBody = 1 << 20
	// readTime is how long such a body may take to arrive, pushTime how long that of a push.
	readTime = 30 * time.Second
	pushTime = 10 * time.Minute
	// writeTime is how long one write of an answer may be held up by its reader.
	writeTime = 30 * time.Second
	// changeTime is how long a change may take that goes on when its caller has gone.
	changeTime = 5 * time.Minute
)

// Options of New. Access and Recorder are needed; the other parts may be missing.
type Options struct {
	Access        Access
	Recorder      Recorder
	Ask           Asker
	Tail          Tailer
	Sources       Sources
	Store         StoreKeeper
	Journal       Journal
	Configuration Configuration
	Catalog       http.Handler // of Iceberg; it sees paths that begin with /v1/
	Metrics       http.Handler // of Prometheus

	// Ready gives the reasons why the service is not ready; none when it is. Anybody may read them. nil is always ready.
	Ready func(ctx context.Context) []string
	// Status is how the service is doing, in detail; nil leaves parts out of the answer.
	Status func(ctx context.Context) []PartState
	Roles  []string

	Version        string
	TrustedProxies []netip.Prefix
	MaxTails       int           // default 64
	Heartbeat      time.Duration // of tails; default 15 s
	// TokenLifetime is how long tokens last when their maker does not say; nil and 0 for iam's default, negative for ever.
	TokenLifetime func() time.Duration
	// Observe is told of every call when it is over. Route is the pattern that it matched, or empty.
	Observe func(Call)

	Log *slog.Logger     // default discards
	Now func() time.Time // default [time.Now]
}

// Call is what Options.Observe is told.
type Call struct {
	Route  string // such as GET /api/v1/events
	Status int
	Took   time.Duration
	Bytes  int64 // of the answer's body
}

// Console answers the HTTP API.
type Console struct {
	o       Options
	mux     *http.ServeMux
	api     huma.API
	routes  map[string]*route // by pattern
	problem []error           // with the routes
	started time.Time
	tails   atomic.Int64
	spec    func() ([]byte, error)

	done   chan struct{} // closed by Shutdown
	closed sync.Once
}

// route is one operation.
type route struct {
	pattern string
	action  iam.Action
	public  bool
	push    bool // reads its body itself
	stream  bool // may take as long as its caller wants
	// about says what the call is about; nil for the server.
	about func(r *http.Request, body []byte) iam.Resource
	// body says that about needs the body.
	body bool
	// many are the query parameters that may come more than once; those of once may not.
	many, once map[string]bool
}

type ctxKey int

const keyCall ctxKey = iota

// call is what is known of a call while it is answered.
type call struct {
	id      string
	caller  iam.Caller
	address netip.Addr
	tls     bool
	route   *route
	request *http.Request
}

// requestOf is the request of a call, for its headers.
func requestOf(ctx context.Context) *http.Request { return callOf(ctx).request }

func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(keyCall).(*call)
	if c == nil {
		c = &call{}
	}
	return c
}

func requestID(ctx context.Context) string { return callOf(ctx).id }

// New makes the handler.
func New(o Options) (*Console, error) {
	if o.Access == nil || o.Recorder == nil {
		return nil, errors.New("the HTTP API needs access and a recorder")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.MaxTails <= 0 {
		o.MaxTails = 64
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = 15 * time.Second
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	c := &Console{o: o, mux: http.NewServeMux(), routes: map[string]*route{}, started: o.Now(), done: make(chan struct{})}
	config := huma.DefaultConfig("Spoor", "1")
	config.OpenAPIPath, config.DocsPath, config.SchemasPath = "", "", ""
	config.CreateHooks = nil
	config.RejectUnknownQueryParameters = true
	config.Transformers = []huma.Transformer{transform}
	// Texts out of logs do nothing to a terminal.
	safe := huma.Format{Unmarshal: json.Unmarshal, Marshal: func(w io.Writer, v any) error {
		text, err := marshal(v)
		if err != nil {
			return err
		}
		_, err = w.Write(safetext.JSON(text))
		return err
	}}
	config.Formats = map[string]huma.Format{"application/json": safe, "json": safe}
	describe(config.OpenAPI)
	c.api = humago.New(gated{c}, config)
	c.register()
	if err := errors.Join(c.problem...); err != nil {
		return nil, err
	}
	c.spec = sync.OnceValues(func() ([]byte, error) { return document(c.api.OpenAPI()) })
	if _, err := c.spec(); err != nil {
		return nil, fmt.Errorf("describe the HTTP API: %w", err)
	}
	return c, nil
}

// Shutdown ends the answers that would go on for as long as their callers want. It does not wait for them:
// [http.Server.Shutdown], of which it is a part, does.
func (c *Console) Shutdown() { c.closed.Do(func() { close(c.done) }) }

// gated is the mux that huma registers its operations with: what it puts there stands behind the gate.
type gated struct{ c *Console }

// HandleFunc implements [humago.Mux].
func (g gated) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	g.c.handle(pattern, http.HandlerFunc(h))
}

// ServeHTTP implements [humago.Mux].
func (g gated) ServeHTTP(w http.ResponseWriter, r *http.Request) { g.c.ServeHTTP(w, r) }

// handle puts a handler behind the gate.
func (c *Console) handle(pattern string, h http.Handler) {
	rt := c.routes[pattern]
	if rt == nil || !rt.public && rt.action == "" {
		c.problem = append(c.problem, fmt.Errorf("route %s has no action", pattern))
		return
	}
	c.mux.Handle(pattern, c.gate(rt, h))
}

// writer notes what was answered. Its reader may hold up each write for so long and no longer; the time of a call before does
// not count on a connection that is used again.
type writer struct {
	http.ResponseWriter
	ctl    *http.ResponseController
	status int
	bytes  int64
}

func (w *writer) hurry() {
	_ = w.ctl.SetWriteDeadline(time.Now().Add(writeTime)) // not every connection has deadlines
}

func (w *writer) WriteHeader(status int) {
	w.hurry()
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.hurry()
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap serves [http.ResponseController].
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP implements [http.Handler].
func (c *Console) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	began := c.o.Now()
	w := &writer{ResponseWriter: out, ctl: http.NewResponseController(out)}
	cl := &call{id: uuid.NewString()}
	cl.address, cl.tls = client(r, c.o.TrustedProxies)
	r = r.WithContext(context.WithValue(r.Context(), keyCall, cl))
	cl.request = r
	h := w.Header()
	h.Set("X-Request-Id", cl.id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	if cl.tls {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	defer func() {
		if e := recover(); e != nil {
			if e == http.ErrAbortHandler {
				c.over(r, w, cl, began)
				panic(e) // ends the connection, so that the caller sees that the answer is not whole
			}
			c.o.Log.Error("a call panicked", slog.String("request", cl.id), slog.String("panic", recorder.HideText(fmt.Sprint(e))), slog.String("stack", string(debug.Stack())))
			if w.status == 0 {
				tell(w, r, problem(http.StatusInternalServerError, codeInternal, "something went wrong here; the log has it under the request id"))
			} else {
				c.over(r, w, cl, began)
				panic(http.ErrAbortHandler)
			}
		}
		c.over(r, w, cl, began)
	}()
	c.enter(w, r, cl)
}

// over tells that a call has been answered. Neither the query nor the path of the call is logged, only its route.
func (c *Console) over(r *http.Request, w *writer, cl *call, began time.Time) {
	took := c.o.Now().Sub(began)
	var name, pattern string
	if cl.route != nil {
		pattern = cl.route.pattern
	}
	if cl.caller.Principal.Name != "" {
		name = cl.caller.Principal.Name
	}
	c.o.Log.Debug("call", slog.String("request", cl.id), slog.String("method", knownMethod(r.Method)), slog.String("route", pattern), slog.Int("status", w.status),
		slog.Duration("took", took), slog.String("principal", name), slog.String("address", cl.address.String()))
	if c.o.Observe != nil {
		c.o.Observe(Call{Route: pattern, Status: w.status, Took: took, Bytes: w.bytes})
	}
}

func knownMethod(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete, http.MethodPatch, http.MethodOptions:
		return m
	}
	return "other"
}

// enter lets in who says who it is. Until then nothing is told: not even whether a path is there.
func (c *Console) enter(w *writer, r *http.Request, cl *call) {
	_, pattern := c.mux.Handler(r)
	cl.route = c.routes[pattern]
	if !tidy(r.URL.Path) || r.Method == http.MethodConnect {
		cl.route, pattern = nil, "" // the mux would redirect it
	}
	if cl.route != nil && cl.route.public {
		c.mux.ServeHTTP(w, r)
		return
	}
	token, ok := bearer(r.Header)
	if !ok {
		token = "-" // counts as an attempt
	}
	caller, err := c.o.Access.Authenticate(r.Context(), token, cl.address)
	if err != nil {
		c.unauthenticated(w, r, cl, err)
		return
	}
	caller.TLS = cl.tls
	cl.caller = caller
	if hasToken(r.URL) {
		tell(w, r, problem(http.StatusBadRequest, codeTokenInURL, "a token stands in the URL, where logs of others may have kept it: revoke it, and send tokens in the header Authorization"))
		return
	}
	if pattern == "" || cl.route == nil {
		c.unknown(w, r)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// tokenText is a token of Spoor.
var tokenText = regexp.MustCompile(`(?i)spoor_[a-z2-7]{16}_[a-z2-7]{16}`)

// hasToken says whether a token stands in a URL.
func hasToken(u *url.URL) bool {
	query, err := url.QueryUnescape(u.RawQuery)
	if err != nil {
		query = u.RawQuery
	}
	return tokenText.MatchString(u.Path) || tokenText.MatchString(query)
}

// tidy says whether a path is written as those of routes are.
func tidy(p string) bool {
	return p == "/" || p != "" && p != strings.TrimSuffix(catalogPath, "/") && path.Clean(p) == strings.TrimSuffix(p, "/")
}

// unknown answers calls of paths and methods that are not there.
func (c *Console) unknown(w http.ResponseWriter, r *http.Request) {
	var allow []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = m
		if _, pattern := c.mux.Handler(probe); pattern != "" && tidy(r.URL.Path) {
			allow = append(allow, m)
		}
	}
	if len(allow) == 0 {
		tell(w, r, problem(http.StatusNotFound, codeNotFound, "there is nothing at this path"))
		return
	}
	p := problem(http.StatusMethodNotAllowed, codeMethod, "this path takes "+strings.Join(allow, ", "))
	p.header = http.Header{"Allow": {strings.Join(allow, ", ")}}
	tell(w, r, p)
}

// gate authorises calls of a route, and looks at what handlers cannot.
func (c *Console) gate(rt *route, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if rt.public {
			next.ServeHTTP(w, r)
			return
		}
		// Without a body the server reads on already, to see whether the caller goes away: a deadline would look like that, and
		// end the call and those that come after it on the connection.
		if ctl := http.NewResponseController(w); r.Body != http.NoBody {
			limit := readTime
			if rt.push {
				limit = pushTime
			}
			_ = ctl.SetReadDeadline(time.Now().Add(limit)) // not every connection has deadlines
		}
		if !rt.push {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody+1) // a byte more than huma reads, which tells it as what it is
		}
		var body []byte
		if rt.body {
			var p *Problem
			if body, p = buffer(r); p != nil {
				// Who may not do this is told so whatever the body is.
				if !c.refused(w, r, rt, nil) {
					tell(w, r, p)
				}
				return
			}
		}
		if c.refused(w, r, rt, body) {
			return
		}
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			tell(w, r, invalid("query", "it cannot be read: percent signs and semicolons are to be escaped"))
			return
		}
		for name, v := range values {
			switch {
			case len(v) > 1 && rt.once[name]:
				tell(w, r, invalid("query."+name, "it is given more than once"))
				return
			case rt.many[name] && slices.Contains(v, ""): // of a list with an empty first value, huma would see nothing
				tell(w, r, invalid("query."+name, "it is empty"))
				return
			}
		}
		// One way of writing a query, so that nobody reads it in another way than it was looked at here.
		r.URL.RawQuery = values.Encode()
		next.ServeHTTP(w, r)
	})
}
