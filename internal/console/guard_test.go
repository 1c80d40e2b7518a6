package console

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
)

// TestClient finds out where calls come from.
func TestClient(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		remote, forwarded, proto string
		want                     string
		tls                      bool
	}{
		{"192.0.2.7:1", "", "", "192.0.2.7", false},
		{"192.0.2.7:1", "198.51.100.1", "https", "192.0.2.7", false}, // whoever says so
		{"10.0.0.1:1", "", "", "10.0.0.1", false},
		{"10.0.0.1:1", "198.51.100.1", "https", "198.51.100.1", true},
		{"10.0.0.1:1", "203.0.113.9, 198.51.100.1", "http", "198.51.100.1", false}, // the first is what the caller claims
		{"10.0.0.1:1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "https, http", "198.51.100.1", false},
		{"10.0.0.1:1", "10.0.0.3, 10.0.0.2", "http, https", "10.0.0.3", true},
		{"10.0.0.1:1", "198.51.100.1:4711", "", "198.51.100.1", false},
		{"10.0.0.1:1", "2001:db8::1", "", "2001:db8::1", false},
		{"10.0.0.1:1", "[2001:db8::1]:4711", "", "2001:db8::1", false},
		{"10.0.0.1:1", "[2001:db8::1]", "", "2001:db8::1", false},
		{"[fd00::1%eth0]:1", "198.51.100.1", "", "198.51.100.1", false},
		{"[::ffff:10.0.0.1]:1", "::ffff:198.51.100.1", "", "198.51.100.1", false},
		{"10.0.0.1:1", "198.51.100.1, unknown", "", "10.0.0.1", false},
		{"10.0.0.1:1", "198.51.100.1, , 10.0.0.2", "", "10.0.0.2", false},
		{"@", "198.51.100.1", "", "invalid IP", false},
	} {
		r := &http.Request{RemoteAddr: c.remote, Header: http.Header{}}
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if c.proto != "" {
			r.Header.Set("X-Forwarded-Proto", c.proto)
		}
		if addr, tls := client(r, proxies); addr.String() != c.want || tls != c.tls {
			t.Errorf("%+v: %s, TLS %t", c, addr, tls)
		}
	}
}

// TestBearer reads tokens out of headers alone.
func TestBearer(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	good := s.secrets["root"]
	for name, c := range map[string]struct {
		header []string
		status int
	}{
		"good":         {[]string{"Bearer " + good}, 200},
		"lower case":   {[]string{"bearer " + good}, 200},
		"none":         {nil, 401},
		"empty":        {[]string{""}, 401},
		"bare":         {[]string{good}, 401},
		"scheme alone": {[]string{"Bearer"}, 401},
		"basic":        {[]string{"Basic " + good}, 401},
		"twice":        {[]string{"Bearer " + good, "Bearer " + good}, 401},
		"a list":       {[]string{"Bearer " + good + ", Bearer x"}, 401},
		"long":         {[]string{"Bearer " + strings.Repeat("x", 1<<16)}, 401},
	} {
		r := s.request("GET", apiPath+"/identity", "", "")
		r.Header["Authorization"] = c.header
		r.AddCookie(&http.Cookie{Name: "token", Value: good})
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	for _, target := range []string{"/events?term=" + good, "/events/" + good, "/events?term=" + strings.ReplaceAll(good, "_", "%5f"), "/events?%zz&" + good, "/tokens/" + good, "/identity?access_token=" + good} {
		w := s.do("GET", apiPath+target, "root", "")
		if p := problemIn(t, w); w.Code != 400 || p.Code != codeTokenInURL || strings.Contains(w.Body.String(), good) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	if got := s.parts.calls(); len(got) != 0 {
		t.Errorf("reached %q", got)
	}
}

// TestSecrets puts tokens wherever a caller can, and looks for them in the log, in recorded events and in answers.
func TestSecrets(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	var answers strings.Builder
	call := func(method, target, secret, body string) {
		r := s.request(method, "/", secret, body)
		path, query, _ := strings.Cut(target, "?")
		r.URL = &url.URL{Path: path, RawQuery: query}
		r.Header.Set("User-Agent", "curl "+s.secrets["admin"])
		r.Host = s.secrets["admin"] + ".example"
		r.Header.Set("X-Request-Id", s.secrets["admin"])
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		answers.WriteString(w.Body.String())
		for name, values := range w.Header() {
			answers.WriteString(name + strings.Join(values, " "))
		}
	}
	root, admin := s.secrets["root"], s.secrets["admin"]
	for _, secret := range []string{"", root, s.secrets["nobody"], admin + "x", "spoor_" + admin} {
		call("GET", apiPath+"/events?term="+admin, secret, "")
		call("GET", apiPath+"/sources/"+admin, secret, "")
		call("GET", "/"+admin, secret, "")
		call(admin, "/", secret, "")
		call("POST", apiPath+"/users", secret, `{"name":"`+admin+`","roles":["`+admin+`"]}`)
		call("POST", apiPath+"/users", secret, `{"name":"`+admin+`","`+admin+`":1,"roles":[]}`)
		call("POST", apiPath+"/users", secret, admin)
		call("POST", apiPath+"/users/target/tokens", secret, `{"note":"`+admin+`","expires":"`+admin+`"}`)
		call("PUT", apiPath+"/holds/x", secret, `{"reason":"`+admin+`"}`)
		call("POST", apiPath+"/query", secret, `{"sql":"`+admin+`","format":"`+admin+`"}`)
		call("POST", apiPath+"/events", secret, admin)
	}
	if err := s.rec.Flush(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	events := s.journal.all()
	if len(events) < 8 {
		t.Errorf("only %d events were recorded", len(events))
	}
	secretOf := func(token string) string { return token[strings.LastIndexByte(token, '_')+1:] }
	for where, text := range map[string]string{"the log": s.logged(), "the journal": strings.Join(events, "\n"), "answers": answers.String()} {
		for _, token := range []string{root, admin, s.secrets["nobody"]} {
			if i := strings.Index(text, secretOf(token)); i >= 0 {
				t.Errorf("%s: …%s…", where, text[max(0, i-300):min(len(text), i+80)])
			}
		}
	}
}

// TestRefusalsAreBounded fails often, and expects few events that tell how often.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for i := range 1000 {
		w := s.do("GET", apiPath+"/users", "", "")
		if i == 0 && w.Code != 401 {
			t.Fatalf("%d", w.Code)
		}
	}
	s.secrets["bad"] = "spoor_aaaaaaaaaaaaaaaa_" + strings.Repeat("b", 52)
	throttled := 0
	for range 100 {
		w := s.do("GET", apiPath+"/users", "bad", "")
		if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") != "" && problemIn(t, w).Code == codeThrottled {
			throttled++
		}
	}
	if throttled != 80 {
		t.Errorf("%d of 100 attempts were throttled", throttled)
	}
	for range 50 {
		s.do("GET", apiPath+"/users", "nobody", "")
		s.do("POST", apiPath+"/store/compact", "nobody", "")
	}
	if got := s.journal.events(t); len(got) != 3 {
		t.Errorf("%d events at once: %+v", len(got), got)
	}
	if err := s.rec.Flush(context.WithoutCancel(t.Context()), true); err != nil {
		t.Fatal(err)
	}
	events := s.journal.events(t)
	total := 0.0
	for _, e := range events {
		n := 1.0
		if more, ok := e.AdditionalEventData["refusals"].(float64); ok {
			n = more
		}
		total += n
	}
	if len(events) != 6 || total != 1200 {
		t.Errorf("%d events for %v refusals", len(events), total)
	}
	if st := s.rec.Stats(); st.Recorded != 6 || st.Waiting != 0 || st.Counted != 1197 {
		t.Errorf("%+v", st)
	}
	// A journal that is full changes no refusal.
	s.journal.setFull(true)
	if w := s.do("GET", apiPath+"/users", "analyst", ""); w.Code != 403 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestPanic lets a part panic.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := serve(t, func(o *Options) {
		o.Metrics = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom " + "spoor_abcdefghijklmnop_secretsecret") })
	})
	w := s.do("GET", "/metrics", "root", "")
	if p := problemIn(t, w); w.Code != 500 || p.Code != codeInternal {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if log := s.logged(); !strings.Contains(log, "boom") || strings.Contains(log, "secretsecret") {
		t.Errorf("logged %s", log)
	}
}

// TestObserve is told of calls by route, never by path.
func TestObserve(t *testing.T) {
	t.Parallel()
	var got []Call
	s := serve(t, func(o *Options) { o.Observe = func(c Call) { got = append(got, c) } })
	s.do("GET", apiPath+"/users/admin", "root", "")
	s.do("GET", apiPath+"/users/admin", "", "")
	s.do("GET", "/nothing", "root", "")
	if len(got) != 3 || got[0].Route != "GET /api/v1/users/{name}" || got[0].Status != 200 || got[0].Bytes == 0 || got[1].Status != 401 || got[2].Route != "" || got[2].Status != 404 {
		t.Errorf("%+v", got)
	}
	if log := s.logged(); strings.Contains(log, "/users/admin") || strings.Contains(log, "/nothing") {
		t.Errorf("logged %s", log)
	}
}

// FuzzQuery asks with any query: it is understood, or refused as a whole.
func FuzzQuery(f *testing.F) {
	for _, seed := range []string{"", "term=a&term=b", "since=1h&until=2026-01-01", "limit=9&order=oldest", "%74erm=%00", "account=1&account=", "cursor=%ff", "since=99999w", "a=b;c=d", "field=a&limit=1", "since=2026-01-01+00:00:00+%2b0000+UTC", "interval=1h", "raw=yes"} {
		f.Add(seed)
	}
	s := serve(f, nil)
	close(s.parts.tail)
	f.Fuzz(func(t *testing.T, raw string) {
		s.parts.forget()
		for _, path := range []string{"/events", "/events/e-1", "/histogram", "/top", "/ledger", "/tail", "/sources/push/dead-letters", "/users"} {
			r := s.request("GET", "/", s.secrets["root"], "")
			r.URL = &url.URL{Path: apiPath + path, RawQuery: raw}
			before := len(s.parts.calls())
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			asked := len(s.parts.calls()) - before
			switch w.Code {
			case 200:
				if asked != 1 && path != "/users" {
					t.Errorf("%s?%s: %d, asked %q", path, raw, w.Code, s.parts.calls()[before:])
				}
				values, err := url.ParseQuery(raw)
				if err != nil {
					t.Errorf("%s?%s: answered, but %v", path, raw, err)
				}
				for _, v := range values["term"] { // what was asked for was not left out
					if got := s.parts.calls()[before]; (path == "/events" || path == "/tail") && !strings.Contains(got, quoted(v)) {
						t.Errorf("%s?%s: asked %q without %q", path, raw, got, v)
					}
				}
			case 400, 404, 422:
				if problemIn(t, w); asked != 0 {
					t.Errorf("%s?%s: %d, asked %q", path, raw, w.Code, s.parts.calls()[before:])
				}
			default:
				t.Errorf("%s?%s: %d %s", path, raw, w.Code, w.Body)
			}
		}
	})
}

func quoted(s string) string { return fmt.Sprintf("%q", s) }

func fixed() time.Time { return start }

// FuzzWhen reads times.
func FuzzWhen(f *testing.F) {
	for _, seed := range []string{"2026-01-10", "2026-01-10T09:00:00Z", "36h", "7d", "1w2d3h", "9999-01-01", "0s", "-1h", " 2026-01-10", "20260110"} {
		f.Add(seed)
	}
	c := &Console{o: Options{Now: fixed}}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := c.when("x", s)
		if err != nil || s == "" {
			return
		}
		if y := at.Year(); y < 1000 || y > 2262 || at.Location().String() != "UTC" {
			t.Errorf("%q is %s", s, at)
		}
		if n, ok := event.ParseTime(s); ok && at.UnixNano() != n && at.After(start) {
			t.Errorf("%q is %s", s, at)
		}
	})
}

// FuzzForwarded reads X-Forwarded-For: a caller that is no trusted proxy has no say, and behind one no trusted address comes
// out unless all are.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{"", "198.51.100.1", "a, 198.51.100.1, 10.0.0.1", "[2001:db8::1]:1", "10.0.0.1,,"} {
		f.Add(seed)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, s string) {
		r := &http.Request{RemoteAddr: "192.0.2.7:1", Header: http.Header{"X-Forwarded-For": {s}}}
		if addr, _ := client(r, proxies); addr.String() != "192.0.2.7" {
			t.Errorf("%q made it %s", s, addr)
		}
		r.RemoteAddr = "10.0.0.1:1"
		if addr, _ := client(r, proxies); !addr.IsValid() {
			t.Errorf("%q made it %s", s, addr)
		}
	})
}

// FuzzBody decodes bodies as the gate does before it asks who may do this: as huma does afterwards.
func FuzzBody(f *testing.F) {
	f.Add([]byte(`{"name":"a","roles":["admin"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var u NewUser
		if err := json.Unmarshal(body, &u); err != nil {
			return
		}
		got := aboutNewUser(nil, body)
		if got.ID != u.Name || len(got.Roles) != len(u.Roles) {
			t.Errorf("%q: %+v", body, got)
		}
	})
}

// TestDeadline uses a connection again, long after the time of the call before.
func TestDeadline(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequestWithContext(t.Context(), "GET", apiPath+"/identity", nil)
	s := serve(t, nil)
	for _, secret := range []string{"", s.secrets["root"]} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		if secret != "" {
			r.Header.Set("Authorization", "Bearer "+secret)
		}
		s.ServeHTTP(w, r)
		if len(w.write) < 2 || w.writes != w.inTime {
			t.Errorf("%d deadlines, %d of %d writes with one", len(w.write), w.inTime, w.writes)
		}
	}
}

// TestReadDeadline: a call has a time for its body to arrive, and none for anything else: the server would take it for a caller
// who has gone.
func TestReadDeadline(t *testing.T) {
	t.Parallel()
	s := serve(t, nil)
	for _, c := range []struct {
		method, path, body string
		want               bool // a deadline while the body is read
	}{
		{"GET", "/identity", "", false},
		{"POST", "/store/compact", "", false},
		{"POST", "/query", `{"sql":"SELECT 1"}`, true},
		{"POST", "/users", `{"name":"zoe","roles":["analyst"]}`, true},
	} {
		var body io.Reader
		if c.body != "" {
			body = strings.NewReader(c.body)
		}
		r := httptest.NewRequestWithContext(t.Context(), c.method, apiPath+c.path, body)
		r.Header.Set("Authorization", "Bearer "+s.secrets["root"])
		r.Header.Set("Content-Type", "application/json")
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		s.ServeHTTP(w, r)
		if (len(w.read) > 0) != c.want {
			t.Errorf("%s %s: deadlines %v", c.method, c.path, w.read)
		}
		if c.path == "/users" && len(w.read) > 0 && !w.read[len(w.read)-1].IsZero() {
			t.Errorf("%s %s: a deadline when the body was read", c.method, c.path)
		}
	}
}

// deadlines notes whether each write has a deadline of its own.
type deadlines struct {
	*httptest.ResponseRecorder
	read, write    []time.Time
	writes, inTime int
	set            bool
}

func (d *deadlines) SetReadDeadline(at time.Time) error {
	d.read = append(d.read, at)
	return nil
}
func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.write, d.set = append(d.write, at), true
	return nil
}
func (d *deadlines) note() {
	d.writes++
	if d.set && time.Until(d.write[len(d.write)-1]) > writeTime-10*time.Second {
		d.inTime++
	}
	d.set = false
}
func (d *deadlines) WriteHeader(status int) {
	d.note()
	d.ResponseRecorder.WriteHeader(status)
}
func (d *deadlines) Write(p []byte) (int, error) {
	d.note()
	return d.ResponseRecorder.Write(p)
}

// BenchmarkCall is what a call costs before its part: token, policies, parameters, answer.
func BenchmarkCall(b *testing.B) {
	s := serve(b, func(o *Options) { o.Log = nil })
	for b.Loop() {
		if w := s.do("GET", apiPath+"/sources", "analyst", ""); w.Code != 200 {
			b.Fatal(w.Code)
		}
	}
}
