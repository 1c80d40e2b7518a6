package client

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// server answers with a handler, and counts.
type server struct {
	*httptest.Server
	hits atomic.Int64
}

func serve(t *testing.T, h func(n int, w http.ResponseWriter, r *http.Request)) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h(int(s.hits.Add(1)), w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

func dial(t *testing.T, url string, change ...func(*Options)) *Client {
	t.Helper()
	o := Options{Server: url, Token: func() (string, error) { return "secret", nil }, Backoff: 2 * time.Millisecond, Timeout: 20 * time.Second}
	for _, c := range change {
		c(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func tellProblem(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	fmt.Fprintf(w, `{"type":"urn:spoor:problem:%s","status":%d,"code":%q,"detail":%q,"requestId":"r-1","errors":[{"where":"query.since","message":"bad"}]}`, code, status, code, detail)
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for server, want := range map[string]string{
		"http://127.0.0.1:8484": "", "http://[::1]:8484": "", "http://localhost": "", "https://spoor.example.com/below/": "",
		"http://spoor.example.com":   "in the clear",
		"http://10.1.2.3:8484":       "in the clear",
		"https://u:p@spoor.example":  "neither user nor query",
		"https://spoor.example?t=x":  "neither user nor query",
		"spoor.example.com:8484":     "no address of a server",
		"":                           "no address of a server",
		"ftp://spoor.example.com":    "no address of a server",
		"http://127.0.0.1.evil.test": "in the clear",
	} {
		_, err := New(Options{Server: server})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", server, err, want)
		}
	}
	if _, err := New(Options{Server: "http://10.1.2.3", Plain: true}); err != nil {
		t.Errorf("plain: %v", err)
	}
	if _, err := New(Options{Server: "https://10.1.2.3", CA: []byte("none")}); err == nil {
		t.Error("certificates that are none are taken")
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	var got []string
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Method+" "+r.RequestURI)
		if r.Header.Get("Authorization") != "Bearer secret" || r.Header.Get("User-Agent") != "spoor" {
			t.Errorf("headers %v", r.Header)
		}
		io.WriteString(w, `{"items":[{"id":"x","name":"a/b"}],"next":"y","events":[{"id":"e","record":{"eventID":"e"}}],"total":7}`) //nolint:errcheck // a test server
	})
	c := dial(t, s.URL+"/below/")
	ctx := t.Context()
	letters, next, err := c.DeadLetters(ctx, "a/b c", "z", 10)
	if err != nil || len(letters) != 1 || letters[0].ID != "x" || next != "y" {
		t.Errorf("letters %+v %q %v", letters, next, err)
	}
	page, err := c.Search(ctx, Search{Terms: []string{"a=b&c", "d"}, Since: "2026-01-10T00:00:00Z", Accounts: []string{"1", "2"}, Oldest: true, Limit: 5, Cursor: "c+"})
	if err != nil || len(page.Events) != 1 || string(page.Events[0].Record) != `{"eventID":"e"}` || page.Next != "y" {
		t.Errorf("page %+v %v", page, err)
	}
	n, err := c.Count(ctx, Search{Terms: []string{"x"}})
	if err != nil || n.Total != 7 {
		t.Errorf("count %+v %v", n, err)
	}
	list, err := c.Sources(ctx)
	if err != nil || len(list) != 1 || list[0].Name != "a/b" {
		t.Errorf("sources %+v %v", list, err)
	}
	for _, do := range []func() error{
		func() error { return c.Replay(ctx, "s", "id") }, func() error { return c.Discard(ctx, "s", "id") },
		func() error { _, err := c.Pause(ctx, "s"); return err }, func() error { _, err := c.Resume(ctx, "s"); return err },
		func() error { _, err := c.Source(ctx, ".."); return err }, func() error { _, err := c.Event(ctx, "e/1"); return err },
		func() error {
			_, err := c.Ledgers(ctx, time.Date(2026, 1, 10, 1, 0, 0, 0, time.FixedZone("x", 3600)), "s")
			return err
		},
	} {
		if err := do(); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"GET /below/api/v1/sources/a%2Fb%20c/dead-letters?after=z&limit=10",
		"GET /below/api/v1/events?account=1&account=2&cursor=c%2B&limit=5&order=oldest&since=2026-01-10T00%3A00%3A00Z&term=a%3Db%26c&term=d",
		"GET /below/api/v1/histogram?buckets=1&term=x",
		"GET /below/api/v1/sources",
		"POST /below/api/v1/sources/s/dead-letters/id/replay", "DELETE /below/api/v1/sources/s/dead-letters/id",
		"POST /below/api/v1/sources/s/pause", "POST /below/api/v1/sources/s/resume",
		"GET /below/api/v1/sources/..", "GET /below/api/v1/events/e%2F1",
		"GET /below/api/v1/ledger?since=2026-01-10T00%3A00%3A00Z&source=s",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("requests\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		h    func(w http.ResponseWriter)
		text string
		mine bool
		hits int64
	}{
		{"denied", func(w http.ResponseWriter) { tellProblem(w, 403, "denied", "ann may not do this") }, "ann may not do this; query.since: bad (denied, request r-1)", false, 1},
		{"invalid", func(w http.ResponseWriter) { tellProblem(w, 422, "invalid", "query.since: bad") }, "query.since: bad (invalid, request r-1)", true, 1},
		{"no token", func(w http.ResponseWriter) { tellProblem(w, 401, "unauthenticated", "the token has expired") }, "the token has expired", false, 1},
		{"memory", func(w http.ResponseWriter) { tellProblem(w, 422, "out-of-memory", "too much") }, "too much", false, 1},
		{"timeout", func(w http.ResponseWriter) { tellProblem(w, 504, "timeout", "took too long") }, "took too long", false, 1},
		{"busy", func(w http.ResponseWriter) { tellProblem(w, 503, "busy", "try later") }, "try later", false, 4},
		{"busy for long", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "3600")
			tellProblem(w, 503, "busy", "try later")
		}, "try later", false, 1},
		{"a proxy", func(w http.ResponseWriter) { w.WriteHeader(502); fmt.Fprint(w, "<html>\x1b[31m") }, "no Spoor server: 502 Bad Gateway (status 502)", false, 4},
		{"another service", func(w http.ResponseWriter) { w.WriteHeader(404) }, "no Spoor server: 404 Not Found", false, 1},
		{"a broken problem", func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(400)
			fmt.Fprint(w, `{"code":`)
		}, "no Spoor server: 400", false, 1},
		{"no JSON", func(w http.ResponseWriter) { fmt.Fprint(w, "hello") }, "not what this client understands", false, 1},
		{"an end too early", func(w http.ResponseWriter) { w.Header().Set("Content-Length", "100"); fmt.Fprint(w, `{"items":[`) }, "the answer broke off", false, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) { c.h(w) })
			_, err := dial(t, s.URL).Sources(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\x1b") {
				t.Fatalf("%v, want %q", err, c.text)
			}
			var told *Error
			if errors.As(err, &told) && told.Mine() != c.mine || told == nil && c.mine {
				t.Errorf("%+v: mine is not %t", told, c.mine)
			}
			if n := s.hits.Load(); n != c.hits {
				t.Errorf("%d requests, want %d", n, c.hits)
			}
		})
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	s := serve(t, func(n int, w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodGet || n == 1:
			w.Header().Set("Retry-After", "0")
			tellProblem(w, 503, "busy", "later")
		case n == 2:
			panic(http.ErrAbortHandler) // the connection ends without an answer
		default:
			fmt.Fprint(w, `{"items":[{"name":"a"}]}`)
		}
	})
	c := dial(t, s.URL)
	if list, err := c.Sources(t.Context()); err != nil || len(list) != 1 || s.hits.Load() != 3 {
		t.Errorf("%v, %v after %d requests", list, err, s.hits.Load())
	}
	s.hits.Store(0)
	if err := c.Replay(t.Context(), "a", "b"); err == nil || s.hits.Load() != 1 {
		t.Errorf("a change: %v after %d requests, want an error after one", err, s.hits.Load())
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Sources(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	s.Close()
	began := s.hits.Load()
	_, err := c.Sources(t.Context())
	if !errors.Is(err, ErrUnreachable) || s.hits.Load() != began || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("nobody there: %v", err)
	}
	if strings.Contains(fmt.Sprint(err), "secret") {
		t.Errorf("the token is in %v", err)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	s := serve(t, func(_ int, _ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(ended)
	})
	_, err := dial(t, s.URL, func(o *Options) { o.Timeout = 20 * time.Millisecond }).Sources(t.Context())
	if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("%v", err)
	}
	<-ended
}

func TestTokenStaysHere(t *testing.T) {
	t.Parallel()
	other := serve(t, func(_ int, _ http.ResponseWriter, r *http.Request) { t.Errorf("the other server got %v", r.Header) })
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.RequestURI, http.StatusTemporaryRedirect)
	})
	if _, err := dial(t, s.URL).Sources(t.Context()); err == nil || !strings.Contains(err.Error(), "where the token is not taken") {
		t.Errorf("%v", err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	var got []string
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		fmt.Fprint(w, `{}`)
	})
	tokens := []string{"one", "two", ""}
	c := dial(t, s.URL, func(o *Options) {
		o.Token = func() (string, error) {
			if len(tokens) == 0 {
				return "", errors.New("no file")
			}
			token := tokens[0]
			tokens = tokens[1:]
			return token, nil
		}
	})
	for range 3 {
		if _, err := c.Sources(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Sources(t.Context()); err == nil || err.Error() != "no file" {
		t.Errorf("%v", err)
	}
	if want := []string{"Bearer one", "Bearer two", ""}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q", got)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{}`) }))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = nil
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if _, err := dial(t, s.URL, func(o *Options) { o.CA = ca }).Sources(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := dial(t, s.URL, func(o *Options) { o.Retries = -1 }).Sources(t.Context()); !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody knows: %v", err)
	}
}

// TestQuery streams a result.
func TestQuery(t *testing.T) {
	t.Parallel()
	first := make(chan struct{})
	s := serve(t, func(_ int, w http.ResponseWriter, r *http.Request) {
		var q Query
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || q.SQL != "SELECT 1" || q.Format != "csv" || q.Params["a"] != "b" {
			t.Errorf("%+v, %v", q, err)
		}
		w.Header().Set("Trailer", "Spoor-Rows, Spoor-More, Spoor-Damaged")
		fmt.Fprint(w, "a\n")
		w.(http.Flusher).Flush()
		<-first // the client has it before the rest is there
		fmt.Fprint(w, "1\n")
		w.Header().Set("Spoor-Rows", "1")
		w.Header().Set("Spoor-More", "true")
		w.Header().Set("Spoor-Damaged", `[{"file":"x\u00e9.parquet","rows":3,"what":"cut"}]`)
	})
	var out lateWriter
	out.first = first
	a, err := dial(t, s.URL).Query(t.Context(), Query{SQL: "SELECT 1", Format: "csv", Params: map[string]string{"a": "b"}}, &out)
	if err != nil || out.String() != "a\n1\n" || a.Rows != 1 || !a.More || !a.Told || len(a.Damaged) != 1 || a.Damaged[0] != (Damage{"xé.parquet", 3, "cut"}) {
		t.Errorf("%+v, %v, %q", a, err, out.String())
	}
}

// lateWriter tells when it is first written to.
type lateWriter struct {
	strings.Builder
	first chan struct{}
	once  sync.Once
}

func (l *lateWriter) Write(p []byte) (int, error) {
	l.once.Do(func() { close(l.first) })
	return l.Builder.Write(p)
}

// TestQueryThatEndsEarly: what is not whole is an error, and what nobody began to answer is asked again.
func TestQueryThatEndsEarly(t *testing.T) {
	t.Parallel()
	whole := func(w http.ResponseWriter) {
		w.Header().Set("Trailer", "Spoor-Rows")
		fmt.Fprint(w, "a\n1\n")
		w.Header().Set("Spoor-Rows", "1")
	}
	for _, c := range []struct {
		name string
		h    func(n int, w http.ResponseWriter)
		out  string
		err  error
		told bool
		hits int64
	}{
		{"restarted before the answer", func(n int, w http.ResponseWriter) {
			if n == 1 {
				panic(http.ErrAbortHandler)
			}
			whole(w)
		}, "a\n1\n", nil, true, 2},
		{"restarting", func(n int, w http.ResponseWriter) {
			if n < 3 {
				tellProblem(w, 503, "unavailable", "starting")
				return
			}
			whole(w)
		}, "a\n1\n", nil, true, 3},
		{"restarted within the answer", func(_ int, w http.ResponseWriter) {
			fmt.Fprint(w, "a\n")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "a\n", ErrBroken, false, 1},
		{"a proxy without trailers", func(_ int, w http.ResponseWriter) { fmt.Fprint(w, "a\n1\n") }, "a\n1\n", nil, false, 1},
		{"a number that is none", func(_ int, w http.ResponseWriter) {
			w.Header().Set("Trailer", "Spoor-Rows")
			fmt.Fprint(w, "a\n")
			w.Header().Set("Spoor-Rows", "many")
		}, "a\n", ErrBroken, true, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, func(n int, w http.ResponseWriter, _ *http.Request) { c.h(n, w) })
			var out strings.Builder
			a, err := dial(t, s.URL).Query(t.Context(), Query{SQL: "x"}, &out)
			if !errors.Is(err, c.err) || out.String() != c.out || a.Told != c.told || s.hits.Load() != c.hits {
				t.Errorf("%+v, %v, %q after %d requests", a, err, out.String(), s.hits.Load())
			}
		})
	}
}

func TestQueryWriterFails(t *testing.T) {
	t.Parallel()
	s := serve(t, func(_ int, w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, strings.Repeat("x", 1<<20)) })
	full := errors.New("the disk is full")
	_, err := dial(t, s.URL).Query(t.Context(), Query{SQL: "x"}, failing{full})
	if !errors.Is(err, full) || errors.Is(err, ErrBroken) {
		t.Errorf("%v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }
