package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/config"
	"spoor/internal/event"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/livetail"
	"spoor/internal/query"
	"spoor/internal/recorder"
	"spoor/internal/source/live"
	"spoor/internal/source/push"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// start is the time of the tests.
var start = time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)

// kept is a journal in memory, which can be full.
type kept struct {
	mu      sync.Mutex
	records []string
	full    bool
	before  func() // called for each append, before it
}

func (k *kept) Append(_ context.Context, records []journal.Record) (uint64, error) {
	if k.before != nil {
		k.before()
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full {
		return 0, &journal.FullError{Reason: "no room on the disk", RetryAfter: 7 * time.Second}
	}
	for _, r := range records {
		k.records = append(k.records, string(r.Raw))
	}
	return uint64(len(k.records)), nil
}

func (k *kept) Accept(ctx context.Context, records []journal.Record) error {
	_, err := k.Append(ctx, records)
	return err
}

func (k *kept) setFull(full bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.full = full
}

func (k *kept) all() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.records)
}

// recorded is an event of the recorder, as far as tests look at it.
type recorded struct {
	EventName, EventSource, EventTime, ErrorCode, ErrorMessage, SourceIPAddress, UserAgent, RequestID, EventID, RecipientAccountID, EventCategory string
	ReadOnly, ManagementEvent                                                                                                                     bool
	UserIdentity                                                                                                                                  recorder.Identity
	RequestParameters, ResponseElements, AdditionalEventData                                                                                      map[string]any
}

// events are those that were recorded.
func (k *kept) events(t *testing.T) []recorded {
	t.Helper()
	var out []recorded
	for _, text := range k.all() {
		if _, err := event.Parse([]byte(text)); err != nil {
			t.Fatalf("a recorded event is none: %v\n%s", err, text)
		}
		var r recorded
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if r.EventSource == recorder.Service {
			out = append(out, r)
		}
	}
	return out
}

// parts are all parts, as fakes that note what they were asked.
type parts struct {
	mu    sync.Mutex
	asked []string
	err   error // of the next calls
	push  *push.Source
	rows  *fakeRows
	tail  chan livetail.Message
	holds []store.Hold
}

func (p *parts) note(format string, args ...any) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = append(p.asked, fmt.Sprintf(format, args...))
	return p.err
}

func (p *parts) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.err = err
}

func (p *parts) calls() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

func (p *parts) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.asked = nil
}

const rawEvent = `{"eventVersion":"1.11", "eventID":"e-1","eventName":"CreateUser","eventSource":"iam.amazonaws.com","eventTime":"2026-03-09T07:00:00Z","awsRegion":"us-east-1","userIdentity":{"type":"Root","accountId":"111122223333"},"readOnly":false}`

func (p *parts) Search(_ context.Context, q query.Search) (query.Page, error) {
	err := p.note("search %q %s %s %q %q %s %d %s", q.Terms, q.Since.Format(time.RFC3339), q.Until.Format(time.RFC3339), q.Accounts, q.Regions, q.Order, q.Limit, q.Cursor)
	return query.Page{Events: []query.Event{{ID: "e-1", Name: "CreateUser", Time: start, Raw: json.RawMessage(rawEvent)}}, Next: "next"}, err
}

func (p *parts) Event(_ context.Context, id string) (query.Event, []store.Damage, error) {
	if err := p.note("event %s", id); err != nil {
		return query.Event{}, nil, err
	}
	if id != "e-1" {
		return query.Event{}, nil, query.ErrNotFound
	}
	return query.Event{ID: "e-1", Raw: json.RawMessage(rawEvent)}, nil, nil
}

func (p *parts) Histogram(_ context.Context, q query.Histogram) (query.HistogramResult, error) {
	err := p.note("histogram %s %d %s", q.Interval, q.Buckets, q.By)
	return query.HistogramResult{Interval: time.Hour, Buckets: []query.Bucket{{From: start, Count: 3, By: []int64{2}, Others: 1}}, Values: []query.Value{{Value: "x", Count: 2}}, Total: 3}, err
}

func (p *parts) Top(_ context.Context, q query.Top) (query.TopResult, error) {
	err := p.note("top %s %d", q.Field, q.Limit)
	return query.TopResult{Values: []query.Value{{Value: "x", Count: 2}}, Total: 3, Others: 1}, err
}

func (p *parts) SQL(_ context.Context, q query.SQL) (Rows, error) {
	if err := p.note("sql %s%s %v %d", q.Query, q.Ready, q.Params, q.Limit); err != nil {
		return nil, err
	}
	return p.rows, nil
}

func (p *parts) Fields(context.Context) ([]query.Field, error) {
	return []query.Field{{Path: "eventName", Type: "string", Countable: true}}, p.note("fields")
}

type fakeRows struct {
	text   string
	repeat int
	err    error
	more   bool
}

func (r *fakeRows) Write(w io.Writer, format string, width int) (duckdb.Written, error) {
	n := int64(0)
	for range max(r.repeat, 1) {
		if _, err := io.WriteString(w, r.text); err != nil {
			return duckdb.Written{Rows: n}, err
		}
		n++
	}
	return duckdb.Written{Rows: n, More: r.more}, r.err
}
func (r *fakeRows) Damaged() []store.Damage {
	if r.more {
		return []store.Damage{{File: "é.parquet", Rows: 3, What: "cut"}}
	}
	return nil
}
func (r *fakeRows) Close() error { return nil }

func (p *parts) Tail(_ context.Context, terms []string, after string) (Tail, error) {
	if err := p.note("tail %q %s", terms, after); err != nil {
		return nil, err
	}
	return fakeTail{p.tail}, nil
}

type fakeTail struct{ c chan livetail.Message }

func (f fakeTail) Next(ctx context.Context) (livetail.Message, error) {
	select {
	case m, ok := <-f.c:
		if !ok {
			return m, livetail.ErrClosed
		}
		return m, nil
	case <-ctx.Done():
		return livetail.Message{}, ctx.Err()
	}
}
func (fakeTail) Position() string { return "p.0" }
func (fakeTail) Close()           {}

func (p *parts) List() []SourceStatus {
	_ = p.note("sources")
	return []SourceStatus{{Stats: live.Stats{Name: "push", Kind: "push"}, State: "running"}}
}

func (p *parts) Get(name string) (SourceStatus, error) {
	if name != "push" {
		return SourceStatus{}, fmt.Errorf("%w: there is no source %s", ErrNotFound, name)
	}
	return SourceStatus{Stats: live.Stats{Name: name}, State: "running"}, p.note("source %s", name)
}

func (p *parts) Source(name string) (live.Source, error) {
	if name != "push" {
		return nil, ErrNotFound
	}
	return fakeSource{p.push, p}, nil
}

type fakeSource struct {
	live.Source
	p *parts
}

func (f fakeSource) Letter(id string) (live.Letter, error) {
	if id != "l-1" {
		return live.Letter{}, live.ErrNoLetter
	}
	return live.Letter{ID: id}, nil
}
func (f fakeSource) Dead(after string, limit int) ([]live.Letter, error) {
	return []live.Letter{{ID: "l-1"}}, f.p.note("dead %s %d", after, limit)
}
func (f fakeSource) Replay(_ context.Context, id string) error { return f.p.note("replay %s", id) }
func (f fakeSource) Discard(id string) error                   { return f.p.note("discard %s", id) }

func (p *parts) Pause(_ context.Context, name string) error  { return p.note("pause %s", name) }
func (p *parts) Resume(_ context.Context, name string) error { return p.note("resume %s", name) }
func (p *parts) PushTo(name string) (http.Handler, error) {
	if name != "push" {
		return nil, fmt.Errorf("%w: there is no source %s", ErrNotFound, name)
	}
	return p.push, nil
}
func (p *parts) Ledgers(since time.Time, name string) (map[string]*ledger.Report, error) {
	return map[string]*ledger.Report{"push": ledger.New().Report()}, p.note("ledger %s %s", since.Format(time.RFC3339), name)
}

// keeper is the store; its method names are those of other parts, too.
type keeper struct{ p *parts }

func (k keeper) Status(context.Context) (*store.Status, error) {
	return &store.Status{Dir: "store", Rows: 3}, k.p.note("store")
}
func (k keeper) Live(context.Context) (any, error) { return map[string]int{"rows": 1}, nil }
func (k keeper) Compact(context.Context) (*store.CompactResult, error) {
	return &store.CompactResult{Rows: 3}, k.p.note("compact")
}
func (k keeper) Expire(context.Context) (*Expired, error) {
	return &Expired{Expired: &store.ExpireResult{Files: 1}}, k.p.note("expire")
}
func (k keeper) Holds(context.Context) ([]store.Hold, error) {
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	return slices.Clone(k.p.holds), nil
}
func (k keeper) Hold(_ context.Context, h store.Hold) error {
	if err := k.p.note("hold %s", h.Name); err != nil {
		return err
	}
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	k.p.holds = append(k.p.holds, h)
	return nil
}
func (k keeper) Release(_ context.Context, name string) error { return k.p.note("release %s", name) }

func (p *parts) Stats(context.Context) (journal.Stats, error) {
	return journal.Stats{First: 1, Last: 9, Followers: []journal.FollowerStats{{Name: "store", Age: time.Second}}}, p.note("journal")
}
func (p *parts) Effective() []config.Effective {
	_ = p.note("configuration")
	return []config.Effective{{Key: "data", Value: "spoor-data"}}
}
func (p *parts) Reload(context.Context) (Reloaded, error) {
	return Reloaded{Changed: []string{"log.level"}}, p.note("reload")
}

// service is a console with fakes behind it, real access, and a real recorder over a journal in memory.
type service struct {
	*Console
	t       testing.TB
	parts   *parts
	journal *kept
	rec     *recorder.Recorder
	access  *iam.Service
	log     *bytes.Buffer
	logMu   *sync.Mutex
	now     func() time.Time
	secrets map[string]string // by who
}

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

func (s *service) logged() string {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	return s.log.String()
}

// trustAll lets everybody of the account of the tests assume a role.
const trustAll = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"sts:AssumeRole"}]}`

// serve makes a service with a user of each role: admin, analyst, auditor, recorder, and nobody and target, who have none.
// Target and root have an access key each, and the role reader can be assumed.
func serve(t testing.TB, change func(*Options)) *service {
	t.Helper()
	var mu sync.Mutex
	now := start
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(time.Millisecond)
		return now
	}
	s := &service{t: t, journal: &kept{}, parts: &parts{rows: &fakeRows{text: "[{\"n\":1}]\n"}, tail: make(chan livetail.Message, 16)}, log: &bytes.Buffer{}, logMu: &sync.Mutex{}, now: clock, secrets: map[string]string{}}
	log := slog.New(slog.NewTextHandler(lockedWriter{s.logMu, s.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if s.access, err = iam.Open(t.Context(), t.TempDir(), iam.Options{Account: "111122223333", Now: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.access.Close() })
	if s.secrets["root"], _, err = s.access.FirstRoot(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"admin", "analyst", "auditor", "recorder", "nobody", "target"} {
		roles := []iam.Role{iam.Role(name)}
		if name == "nobody" || name == "target" {
			roles = []iam.Role{}
		}
		if _, err := s.access.CreateUser(name, roles, ""); err != nil {
			t.Fatal(err)
		}
		if _, s.secrets[name], err = s.access.CreateToken(iam.TokenSpec{User: name}); err != nil {
			t.Fatal(err)
		}
	}
	for _, user := range []string{"target", "root"} {
		if _, s.secrets["key of "+user], err = s.access.CreateAccessKey(iam.KeySpec{User: user}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.access.CreateAssumable(iam.AssumableSpec{Name: "reader", Roles: []iam.Role{iam.RoleAuditor}, Trust: json.RawMessage(trustAll)}); err != nil {
		t.Fatal(err)
	}
	if s.rec, err = recorder.New(recorder.Options{Journal: s.journal, Account: "111122223333", Region: "us-east-1", Now: clock, Log: log}); err != nil {
		t.Fatal(err)
	}
	if s.parts.push, err = push.Open(push.Options{Options: live.Options{Name: "push", Dir: t.TempDir(), Accept: s.journal, Now: clock}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.parts.push.Close() })
	o := Options{
		Access: s.access, Recorder: s.rec, Ask: s.parts, Tail: s.parts, Sources: s.parts, Store: keeper{s.parts}, Journal: s.parts, Configuration: s.parts,
		Catalog: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "catalogue %s", r.URL.Path) }),
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "up 1\n") }),
		Version: "test", Log: log, Now: clock,
	}
	if change != nil {
		change(&o)
	}
	if s.Console, err = New(o); err != nil {
		t.Fatal(err)
	}
	return s
}

// request makes a request from an address.
func (s *service) request(method, target, secret, body string) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), method, target, strings.NewReader(body))
	r.RemoteAddr = "192.0.2.7:4711"
	r.Header.Set("User-Agent", "test/1")
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

// do makes a call as somebody; "" is nobody at all.
func (s *service) do(method, target, who, body string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, s.request(method, target, s.secrets[who], body))
	return w
}

// problemIn reads a problem document.
func problemIn(t *testing.T, w *httptest.ResponseRecorder) Problem {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("status %d with content type %q: %s", w.Code, got, w.Body)
	}
	var p Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Fatalf("%v: %s", err, w.Body)
	}
	if p.Status != w.Code || p.Code == "" || p.Detail == "" || p.Type != "urn:spoor:problem:"+p.Code || p.RequestID == "" || p.RequestID != w.Header().Get("X-Request-Id") {
		t.Errorf("status %d, request %s: problem %+v", w.Code, w.Header().Get("X-Request-Id"), p)
	}
	return p
}

var errTest = errors.New("a part failed with the token spoor_abcdefghijklmnop_secret")

func holdsOf(names ...string) []store.Hold {
	var out []store.Hold
	for _, n := range names {
		out = append(out, store.Hold{Name: n})
	}
	return out
}
