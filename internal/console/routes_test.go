package console

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"

	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/livetail"
	"spoor/internal/query"
	"spoor/internal/source/live"
	"spoor/internal/store/duckdb"
)

// TestQuestions asks with parameters, and looks at what the asker gets, or what the caller is told of them.
func TestQuestions(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	now := "2026-03-09T08:00"
	for target, want := range map[string]string{
		"/events": `search [] 0001-01-01T00:00:00Z 0001-01-01T00:00:00Z [] [] newest 50 `,
		"/events?term=a,b&term=eventName%3DX%26Y&since=2026-01-10&until=2026-02-10T09:00:00Z&account=111122223333&account=222233334444&region=us-east-1&order=oldest&limit=7&cursor=c1": `search ["a,b" "eventName=X&Y"] 2026-01-10T00:00:00Z 2026-02-10T09:00:00Z ["111122223333" "222233334444"] ["us-east-1"] oldest 7 c1`,
		"/events?%74erm=x":                             `search ["x"] `,
		"/events?since=1h":                             `search [] 2026-03-09T07:00`,
		"/events?until=0s":                             `search [] 0001-01-01T00:00:00Z ` + now,
		"/events?term=a+b":                             `search ["a b"]`,
		"/events/e-1":                                  `event e-1`,
		"/histogram?interval=5m":                       `histogram 5m0s 0 `,
		"/histogram?buckets=9&by=eventName":            `histogram 0s 9 eventName`,
		"/top?field=eventName":                         `top eventName 10`,
		"/top?field=a.b&limit=1000":                    `top a.b 1000`,
		"/ledger?since=2026-01-10&source=push":         `ledger 2026-01-10T00:00:00Z push`,
		"/sources/push/dead-letters?after=l-0&limit=5": `dead l-0 5`,
	} {
		before := len(s.parts.calls())
		w := s.do("GET", apiPath+target, "root", "")
		got := s.parts.calls()[before:]
		if w.Code != 200 || len(got) != 1 || !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: %d, asked %q, want %q: %s", target, w.Code, got, want, w.Body)
		}
	}
	for target, where := range map[string]string{
		"/events?limit=0": "query.limit", "/events?limit=1001": "query.limit", "/events?limit=x": "query.limit", "/events?limit=1&limit=2": "query.limit",
		"/events?order=random": "query.order", "/events?since=yesterday": "query.since", "/events?until=9999-01-01": "query.until", "/events?since=0001-01-01": "query.since",
		"/events?since=2026-02-01&until=2026-01-01": "query.until", "/events?since=-1h": "query.since", "/events?nothing=1": "query.nothing", "/events?Term=a": "query.Term",
		"/events?term=&term=a": "query.term", "/events?account=": "query.account", "/events?a=%zz": "query", "/events?a;b": "query", "/events?since=1h&%73ince=2h": "query.since",
		"/events?term=" + strings.Repeat("a&term=", 100) + "a": "query.term",
		"/histogram?interval=0.5s":                             "query.interval", "/histogram?interval=x": "query.interval", "/histogram?interval=1h&buckets=3": "query.buckets",
		"/top": "query.field", "/ledger?since=x": "query.since", "/identity?token=x": "query.token", "/sources?x=1": "query.x",
	} {
		before := s.parts.calls()
		w := s.do("GET", apiPath+target, "root", "")
		p := problemIn(t, w)
		if w.Code != 422 || p.Code != codeInvalid || len(p.Errors) == 0 || p.Errors[0].Where != where {
			t.Errorf("%s: %d %+v, want %s", target, w.Code, p, where)
		}
		if got := s.parts.calls(); !slices.Equal(got, before) {
			t.Errorf("%s: asked %q", target, got)
		}
	}
}

// TestAnswers looks at the answers of questions.
func TestAnswers(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for target, want := range map[string]string{
		"/events?term=x":       `{"events":[{"id":"e-1","time":"2026-03-09T08:00:00Z","eventSource":"","eventName":"CreateUser",`,
		"/histogram":           `{"interval":"1h","buckets":[{"from":"2026-03-09T08:00:00Z","count":3,"by":[2],"others":1}],"values":[{"value":"x","count":2}],"total":3,"untimed":0}`,
		"/top?field=a":         `{"field":"a","values":[{"value":"x","count":2}],"total":3,"missing":0,"others":1}`,
		"/fields":              `{"items":[{"path":"eventName","type":"string","countable":true}]}`,
		"/events/e-1?raw=true": rawEvent,
		"/journal":             `{"first":1,"last":9,`,
		"/sources":             `{"items":[{"name":"push",`,
		"/holds":               `{"items":[]}`,
		"/store":               `{"dir":"store",`,
		"/configuration":       `{"items":[{"key":"data",`,
	} {
		w := s.do("GET", apiPath+target, "auditor", "")
		if w.Code != 200 || !strings.HasPrefix(w.Body.String(), want) || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("%s: %d %s: %s", target, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		for name, value := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY"} {
			if w.Header().Get(name) != value {
				t.Errorf("%s: header %s %q", target, name, w.Header().Get(name))
			}
		}
	}
	var page Page
	if err := json.Unmarshal(s.do("GET", apiPath+"/events", "analyst", "").Body.Bytes(), &page); err != nil || page.Next != "next" || len(page.Events) != 1 {
		t.Fatalf("%+v: %v", page, err)
	}
	if _, err := event.Parse(page.Events[0].Record); err != nil {
		t.Error(err)
	}
	w := s.do("GET", apiPath+"/queries", "analyst", "")
	if ready := duckdb.ReadyQueries(); w.Code != 200 || strings.Count(w.Body.String(), `"question"`) != len(ready) {
		t.Errorf("%d of %d ready queries: %s", w.Code, len(ready), w.Body)
	}
	if w := s.do("GET", "/iceberg/v1/config", "analyst", ""); w.Body.String() != "catalogue /v1/config" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/iceberg/v1/config", "", ""); w.Code != 401 || w.Body.String() != `{"error":{"code":401,"message":"the token is missing or not valid","type":"unauthenticated"}}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/metrics", "analyst", ""); w.Body.String() != "up 1\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.do("GET", apiPath+"/status", "analyst", ""); w.Code != 200 || !strings.Contains(w.Body.String(), `"ready":true`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestErrors lets parts fail, and looks at what callers are told: nothing of what they need not know.
func TestErrors(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, c := range []struct {
		err    error
		status int
		code   string
		retry  string
	}{
		{errTest, 500, codeInternal, ""},
		{fmt.Errorf("open /var/lib/x: %w", errTest), 500, codeInternal, ""},
		{fmt.Errorf("%w: term 1", query.ErrInvalid), 422, codeInvalid, ""},
		{query.ErrTooMany, 422, codeInvalid, ""},
		{query.ErrNotFound, 404, codeNotFound, ""},
		{&query.BusyError{RetryAfter: 1500 * time.Millisecond}, 503, codeBusy, "2"},
		{&RetryError{Reason: "later", After: time.Minute}, 503, codeBusy, "60"},
		{fmt.Errorf("append: %w", &journal.FullError{Reason: "no room", RetryAfter: time.Second}), 503, codeFull, "1"},
		{livetail.ErrTooMany, 503, codeBusy, "10"},
		{duckdb.ErrTimeout, 504, codeTimeout, ""},
		{duckdb.ErrMemory, 422, codeMemory, ""},
		{&duckdb.RefusedError{Reason: "no"}, 400, codeQuery, ""},
		{&duckdb.FileError{File: "/var/lib/x/a.parquet", Err: errTest}, 500, codeDamaged, ""},
		{ErrConflict, 409, codeConflict, ""},
		{ErrUnavailable, 503, codeUnavailable, "5"},
		{live.ErrNoLetter, 404, codeNotFound, ""},
		{iam.ErrLimit, 409, codeLimit, ""},
		{&iam.AuthError{Reason: "the token is revoked"}, 401, codeUnauthenticated, ""},
	} {
		s.parts.fail(c.err)
		for _, target := range []string{"/events", "/top?field=x", "/journal", "/tail"} {
			w := s.do("GET", apiPath+target, "root", "")
			p := problemIn(t, w)
			if w.Code != c.status || p.Code != c.code || w.Header().Get("Retry-After") != c.retry {
				t.Errorf("%v at %s: %d, Retry-After %q: %+v", c.err, target, w.Code, w.Header().Get("Retry-After"), p)
			}
			if strings.Contains(w.Body.String(), "spoor_") || strings.Contains(w.Body.String(), "/var/lib") {
				t.Errorf("told %s", w.Body)
			}
		}
	}
	if log := s.logged(); strings.Contains(log, "_secret") || !strings.Contains(log, "/var/lib/x") {
		t.Errorf("logged %s", log)
	}
	if s := serve(t, func(o *Options) {
		o.Ask, o.Tail, o.Sources, o.Store, o.Journal, o.Configuration, o.Catalog, o.Metrics = nil, nil, nil, nil, nil, nil, nil, nil
	}); s != nil {
		for pattern, e := range matrix {
			method, path, _ := strings.Cut(pattern, " ")
			if strings.Contains(path, "/users") || strings.Contains(path, "/tokens") || strings.Contains(path, "/access-keys") || strings.Contains(path, "/roles") || slices.Contains([]string{"/healthz", "/readyz", "/openapi.json", apiPath + "/identity", apiPath + "/policies", apiPath + "/status", apiPath + "/queries", ""}, path) {
				continue
			}
			if e.path != "" {
				path = e.path
			}
			if e.raw != "" {
				path += "?" + e.raw
			}
			if w := s.do(method, path, "root", e.body); w.Code != 503 || problemIn(t, w).Code != codeUnavailable {
				t.Errorf("%s without its part: %d %s", pattern, w.Code, w.Body)
			}
		}
	}
}

// TestPush puts events in.
func TestPush(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(`{"Records":[` + rawEvent + `]}`))
	_ = z.Close()
	for name, body := range map[string]string{"plain": rawEvent, "gzip": packed.String()} {
		w := s.do("POST", apiPath+"/events", "recorder", body)
		var a struct {
			Accepted  int
			RequestID string
		}
		if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil || w.Code != 200 || a.Accepted != 1 || a.RequestID != w.Header().Get("X-Request-Id") {
			t.Errorf("%s: %d %s: %v", name, w.Code, w.Body, err)
		}
	}
	if got := s.journal.all(); len(got) != 2 || got[0] != rawEvent {
		t.Errorf("accepted %q", got)
	}
	w := s.do("POST", apiPath+"/events", "recorder", `{"a":1}`)
	if p := problemIn(t, w); w.Code != 400 || p.Code != codeBody || !strings.Contains(string(p.Push), `"accepted":0`) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r := s.request("POST", apiPath+"/events", s.secrets["recorder"], rawEvent)
	r.Header.Set("Content-Type", "image/png")
	w = httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if p := problemIn(t, w); w.Code != 415 || p.Code != codeMedia {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.do("POST", apiPath+"/events?source=other", "recorder", rawEvent); w.Code != 404 || problemIn(t, w).Code != codeNotFound {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.do("POST", apiPath+"/events?source=push&source=other", "recorder", rawEvent); w.Code != 422 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	s.journal.setFull(true)
	w = s.do("POST", apiPath+"/events", "recorder", rawEvent)
	if p := problemIn(t, w); w.Code != 503 || w.Header().Get("Retry-After") != "7" || p.Code != codeBusy || p.Detail != "no room on the disk" {
		t.Errorf("%d %s: %s", w.Code, w.Header().Get("Retry-After"), w.Body)
	}
	// The source that is asked for is the one that is authorised.
	p, err := iam.ParsePolicies(iam.PolicyFile{Name: "p.cedar", Text: `@id("not-push") forbid (principal, action == Spoor::Action::"PutEvents", resource == Spoor::Source::"push");`})
	if err != nil {
		t.Fatal(err)
	}
	s.access.SetPolicies(p)
	for _, target := range []string{"/events", "/events?source=push", "/events?source=", "/events?%73ource=push"} {
		if w := s.do("POST", apiPath+target, "recorder", rawEvent); w.Code != 403 {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
}

// listen serves over a connection.
func (s *service) listen() *httptest.Server {
	srv := httptest.NewServer(s)
	s.t.Cleanup(srv.Close)
	return srv
}

func (s *service) get(srv *httptest.Server, method, target, who, body string, header ...string) *http.Response {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), method, srv.URL+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.secrets[who])
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := srv.Client().Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// TestQuery asks in SQL over a connection.
func TestQuery(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	srv := s.listen()
	ask := func(body string) (*http.Response, string, error) {
		res := s.get(srv, "POST", apiPath+"/query", "analyst", body)
		text, err := io.ReadAll(res.Body)
		return res, string(text), err
	}
	s.parts.rows = &fakeRows{text: "[{\"n\":1}]\n", more: true}
	res, text, err := ask(`{"sql":"SELECT $a","params":{"a":"1"},"limit":3,"format":"json"}`)
	if err != nil || res.StatusCode != 200 || text != "[{\"n\":1}]\n" || res.Header.Get("Content-Type") != "application/json" ||
		res.Trailer.Get("Spoor-Rows") != "1" || res.Trailer.Get("Spoor-More") != "true" || res.Trailer.Get("Spoor-Damaged") != `[{"file":"\u00e9.parquet","rows":3,"what":"cut"}]` {
		t.Errorf("%d %q %v: %v", res.StatusCode, text, res.Trailer, err)
	}
	if got := s.parts.calls(); !slices.Equal(got, []string{"sql SELECT $a map[a:1] 3"}) {
		t.Errorf("asked %q", got)
	}
	for format, media := range map[string]string{"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8", "table": "text/plain; charset=utf-8"} {
		if res, _, err := ask(`{"ready":"first","format":"` + format + `"}`); err != nil || res.Header.Get("Content-Type") != media {
			t.Errorf("%s: %d %s: %v", format, res.StatusCode, res.Header.Get("Content-Type"), err)
		}
	}
	s.parts.rows = &fakeRows{text: strings.Repeat("x", 1<<10), repeat: 1000}
	if res, text, err := ask(`{"sql":"SELECT 1"}`); err != nil || len(text) != 1000<<10 || res.Trailer.Get("Spoor-Rows") != "1000" {
		t.Errorf("%d %d %v: %v", res.StatusCode, len(text), res.Trailer, err)
	}
	s.parts.rows = &fakeRows{text: "[", err: duckdb.ErrTimeout}
	if res, text, err := ask(`{"sql":"SELECT 1"}`); err != nil || res.StatusCode != 504 || !strings.Contains(text, `"code":"timeout"`) {
		t.Errorf("%d %q: %v", res.StatusCode, text, err)
	}
	s.parts.rows = &fakeRows{text: strings.Repeat("x", 1<<10), repeat: 1000, err: errTest}
	if res, text, err := ask(`{"sql":"SELECT 1"}`); err == nil {
		t.Errorf("a query that failed in the middle looks whole: %d, %d bytes", res.StatusCode, len(text))
	}
	for body, status := range map[string]int{
		`{}`: 422, `{"sql":"SELECT 1","ready":"x"}`: 422, `{"sql":"SELECT 1","format":"xml"}`: 422, `{"sql":"SELECT 1","since":"x"}`: 422, `{"sql":1}`: 422,
		`{"sql":"SELECT 1","limit":-1}`: 422, `{"sql":"SELECT 1","other":1}`: 422, `{`: 400, ``: 400, `{"sql":"` + strings.Repeat("x", 1<<20) + `"}`: 413,
	} {
		if res, text, err := ask(body); err != nil || res.StatusCode != status || res.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%.60s: %d %s: %v", body, res.StatusCode, text, err)
		}
	}
	s.parts.fail(&duckdb.RefusedError{Reason: "COPY is not allowed"})
	if res, text, _ := ask(`{"sql":"COPY x"}`); res.StatusCode != 400 || !strings.Contains(text, "COPY is not allowed") {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

// block reads a block of server-sent events.
func block(t *testing.T, r *bufio.Reader) map[string]string {
	t.Helper()
	out := map[string]string{}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			out["end"] = err.Error()
			return out
		}
		if line = strings.TrimSuffix(line, "\n"); line == "" {
			return out
		}
		name, value, _ := strings.Cut(line, ": ")
		out[name] = value
	}
}

// TestTail follows over a connection.
func TestTail(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *Options) { o.Heartbeat, o.MaxTails = 20*time.Millisecond, 1 })
	srv := s.listen()
	res := s.get(srv, "GET", apiPath+"/tail?term=CreateUser&after=p.1", "analyst", "", "Last-Event-ID", "p.2")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %s", res.StatusCode, res.Header)
	}
	if got := s.parts.calls(); !slices.Equal(got, []string{`tail ["CreateUser"] p.2`}) {
		t.Errorf("asked %q", got)
	}
	r := bufio.NewReader(res.Body)
	for range 3 { // what shows that it lives
		if b := block(t, r); len(b) != 1 || b["id"] != "p.0" {
			t.Fatalf("block %v", b)
		}
	}
	next := func() map[string]string {
		for {
			if b := block(t, r); b["event"] != "" || b["end"] != "" {
				return b
			}
		}
	}
	e, err := event.Parse([]byte(strings.Replace(rawEvent, `"CreateUser"`, "\n\"Create\u202eUser\"", 1)))
	if err != nil {
		t.Fatal(err)
	}
	s.parts.tail <- livetail.Message{Event: e, Position: "p.3", Dropped: 4, Gap: "pruned"}
	if b := next(); b["event"] != "missing" || b["data"] != `{"dropped":4,"gap":"pruned"}` || b["id"] != "" {
		t.Errorf("block %v", b)
	}
	b := next()
	var got Event
	if err := json.Unmarshal([]byte(b["data"]), &got); err != nil || b["event"] != "event" || b["id"] != "p.3" || got.ID != "e-1" || got.Name != "Create\u202eUser" || got.Actor.Kind != event.ActorRoot || *got.ReadOnly || strings.Contains(b["data"], "\u202e") {
		t.Errorf("block %v: %v", b, err)
	}
	if res := s.get(srv, "GET", apiPath+"/tail", "analyst", ""); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("a tail too many: %d", res.StatusCode)
	}
	if res := s.get(srv, "HEAD", apiPath+"/tail", "analyst", ""); res.StatusCode != 503 {
		t.Errorf("a tail too many: %d", res.StatusCode)
	}
	if _, err := s.access.RevokeToken(s.access.Tokens("analyst")[0].ID); err != nil {
		t.Fatal(err)
	}
	if b := next(); b["event"] != "error" || !strings.Contains(b["data"], `"code":"denied"`) {
		t.Errorf("block %v", b)
	}
	if b := next(); b["end"] != "EOF" {
		t.Errorf("block %v", b)
	}
	// The place is free again, and a shutdown ends what would go on.
	var second *http.Response
	for second = s.get(srv, "GET", apiPath+"/tail", "auditor", ""); second.StatusCode == 503; second = s.get(srv, "GET", apiPath+"/tail", "auditor", "") {
	}
	r = bufio.NewReader(second.Body)
	s.Shutdown()
	s.Shutdown()
	if b := next(); b["event"] != "error" || !strings.Contains(b["data"], `"code":"unavailable"`) {
		t.Errorf("block %v", b)
	}
}

// TestReady is what anybody may know.
func TestReady(t *testing.T) {
	t.Parallel()
	reasons := []string{"the store is behind"}
	s := serve(t, func(o *Options) { o.Ready = func(context.Context) []string { return reasons } })
	if w := s.do("GET", "/readyz", "", ""); w.Code != 503 || w.Body.String() != `{"ready":false,"reasons":["the store is behind"]}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	reasons = nil
	if w := s.do("GET", "/readyz", "", ""); w.Code != 200 || w.Body.String() != `{"ready":true,"reasons":[]}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := s.do("GET", "/healthz", "", ""); w.Code != 200 || w.Body.String() != `{"status":"ok"}`+"\n" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
