package app

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/config"
	"spoor/internal/console"
)

// output keeps what a server logs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// served is a server under test, with real parts, on a port of its own.
type served struct {
	*App
	t      *testing.T
	log    *output
	token  string
	client *http.Client
}

// loader reads a file, which may not exist, and settings beside it.
func loader(file string, set ...string) func() (*config.Loaded, error) {
	return func() (*config.Loaded, error) {
		o := config.Options{}
		if _, err := os.Stat(file); err == nil {
			o.File = file
		}
		for _, kv := range set {
			k, v, _ := strings.Cut(kv, "=")
			o.Flags = append(o.Flags, config.Override{Key: k, Value: v, From: "--set"})
		}
		return config.Load(o)
	}
}

// start starts a server in the data folder dir, with the file spoor.yaml beside it.
func start(t *testing.T, dir string, set ...string) *served {
	t.Helper()
	s := &served{t: t, log: &output{}, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}}
	set = append([]string{"data=" + dir, "http.listen=127.0.0.1:0", "aws.listen=127.0.0.1:0"}, set...)
	a, err := Open(t.Context(), Options{Load: loader(filepath.Join(filepath.Dir(dir), "spoor.yaml"), set...), Version: "v0", Commit: "c0", LogTo: s.log})
	if err != nil {
		t.Fatalf("start: %v\n%s", err, s.log)
	}
	s.App = a
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Errorf("stop: %v\n%s", err, s.log)
		}
	})
	secret, made, err := a.FirstCredential(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if made {
		s.token = secret
	}
	return s
}

// ask sends a request and gives the status and the body.
func (s *served) ask(method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL()+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// want is ask for an answer that must be 200.
func (s *served) want(method, path, body string) string {
	s.t.Helper()
	status, text := s.ask(method, path, body)
	if status != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s", method, path, status, text)
	}
	return text
}

// record is a record with an id of its own.
func record(n int) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","eventID":"6b1c1d7e-0000-4000-8000-%012d","eventTime":%q,"eventSource":"s3.amazonaws.com","eventName":"GetObject%d","awsRegion":"us-east-1","recipientAccountId":"111122223333","userIdentity":{"type":"Root"}}`,
		n, time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC).Add(time.Duration(n)*time.Second).Format(time.RFC3339), n)
}

func records(from, to int) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		b.WriteString(record(n) + "\n")
	}
	return b.String()
}

// eventually waits until what is true, and looks again and again.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	limit := time.Now().Add(30 * time.Second)
	for !is() {
		if time.Now().After(limit) {
			t.Fatalf("it did not come true: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func data(t *testing.T) string { return filepath.Join(t.TempDir(), "data") }

func TestStartPushStop(t *testing.T) {
	t.Parallel()
	dir := data(t)
	s := start(t, dir)
	var a struct{ Accepted int }
	if err := json.Unmarshal([]byte(s.want("POST", "/api/v1/events", records(0, 10))), &a); err != nil || a.Accepted != 10 {
		t.Fatalf("accepted %d: %v", a.Accepted, err)
	}
	if got := s.want("GET", "/metrics", ""); !strings.Contains(got, "spoor_source_records_total{source=\"push\",type=\"push\"} 10\n") || !strings.Contains(got, `spoor_build_info{commit="c0",version="v0"} 1`) {
		t.Errorf("figures: %s", got)
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		resp, err := s.client.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			t.Errorf("%s without a token: %d", path, resp.StatusCode)
		}
	}
	token := s.token
	s.token = ""
	if status, _ := s.ask("POST", "/api/v1/events", record(0)); status != http.StatusUnauthorized {
		t.Errorf("a push without a token: %d", status)
	}
	s.token = token
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("a second stop: %v", err)
	}
	again := start(t, dir)
	if again.token != "" {
		t.Error("root got a first token for the second time")
	}
	again.token = token
	again.want("POST", "/api/v1/events", record(11))
}

// TestStartsThatCannotBe wants errors that name the setting and where its value came from, and nothing left behind.
func TestStartsThatCannotBe(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	tmp := t.TempDir()
	file := filepath.Join(tmp, "file")
	write(t, file, "no folder, and no certificate either")
	cert, _ := certificate(t, tmp, "good")
	damaged := filepath.Join(tmp, "damaged")
	if err := os.MkdirAll(filepath.Join(damaged, "iam"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(damaged, "iam", "state.json"), "{")
	for _, c := range []struct {
		name string
		set  []string
		want []string
	}{
		{"a port in use", []string{"http.listen=" + taken.Addr().String()}, []string{"http.listen (--set)", "address already in use"}},
		{"no folder", []string{"data=" + filepath.Join(file, "data")}, []string{"data (--set)", file}},
		{"no journal", []string{"journal.dir=" + filepath.Join(file, "journal")}, []string{"journal.dir (--set)", "not a directory"}},
		{"nobody at the journal's address", []string{"journal.url=nats://127.0.0.1:1"}, []string{"journal.url (--set)"}},
		{"no certificate", []string{"http.tls_cert=" + file, "http.tls_key=" + file}, []string{"http.tls_cert", "--set", "PEM"}},
		{"a certificate that is not there", []string{"http.tls_cert=" + file + "x", "http.tls_key=" + file}, []string{"http.tls_cert", "no such file"}},
		{"the key of another certificate", []string{"http.tls_cert=" + cert, "http.tls_key=" + file}, []string{"http.tls_cert", "--set"}},
		{"policies that are none", []string{"iam.policies=" + file}, []string{"iam.policies (--set)", file}},
		{"access state that is damaged", []string{"data=" + damaged}, []string{"data (--set)", "damaged"}},
		{"an address for AWS's clients that is taken", []string{"aws.listen=" + taken.Addr().String()}, []string{"aws.listen (--set)", "address already in use"}},
		{"a value that does not fit", []string{"http.listen=nowhere"}, []string{"http.listen", "--set", "HOST:PORT"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := data(t)
			a, err := Open(t.Context(), Options{Load: loader("", append([]string{"data=" + dir, "http.listen=127.0.0.1:0", "aws.listen=127.0.0.1:0"}, c.set...)...)})
			if err == nil {
				a.Close()
				t.Fatal("it started")
			}
			for _, w := range c.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%q is not in: %v", w, err)
				}
			}
			if len(c.set) == 1 && strings.HasPrefix(c.set[0], "data=") {
				return
			}
			start(t, dir) // with what is wrong out of the way, it does
		})
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	t.Parallel()
	dir := data(t)
	first := start(t, dir)
	_, err := Open(t.Context(), Options{Load: loader("", "data="+dir, "http.listen=127.0.0.1:0", "aws.listen=127.0.0.1:0")})
	if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "data (--set)") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("a second server in the folder: %v", err)
	}
	first.want("POST", "/api/v1/events", record(1)) // the first one does not notice
}

func TestTLS(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	cert, key := filepath.Join(tmp, "tls.crt"), filepath.Join(tmp, "tls.key")
	use := func(name string) *x509.CertPool {
		c, k := certificate(t, tmp, name)
		text, err := os.ReadFile(c)
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		for from, to := range map[string]string{c: cert, k: key} {
			if err := os.Rename(from, to); err != nil {
				t.Fatal(err)
			}
		}
		return pool
	}
	trust := func(s *served, pool *x509.CertPool) {
		s.client = &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
	}
	first := use("first")
	s := start(t, filepath.Join(tmp, "data"), "http.tls_cert="+cert, "http.tls_key="+key, "http.tls_min_version=1.3")
	if !strings.HasPrefix(s.URL(), "https://") {
		t.Fatalf("URL: %s", s.URL())
	}
	trust(s, first)
	s.want("POST", "/api/v1/events", record(1))
	if !strings.HasPrefix(s.AWSURL(), "https://") {
		t.Errorf("AWS's clients find it at %s", s.AWSURL())
	}
	s.aws("GetCallerIdentity")
	if resp, err := http.Get(strings.Replace(s.URL(), "https:", "http:", 1) + "/healthz"); err == nil {
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			t.Error("it answers in the clear")
		}
	}
	old := &tls.Config{RootCAs: first, MaxVersion: tls.VersionTLS12}
	if c, err := tls.Dial("tcp", strings.TrimPrefix(s.URL(), "https://"), old); err == nil {
		c.Close()
		t.Error("it speaks TLS 1.2, and http.tls_min_version is 1.3")
	}

	// The same files with another content are a new certificate.
	second := use("second")
	if _, err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	trust(s, second)
	s.want("POST", "/api/v1/events", record(2))

	// Files that do not belong together change nothing.
	write(t, key, "none")
	if _, err := s.Reload(t.Context()); err == nil || !strings.Contains(err.Error(), "http.tls_cert") {
		t.Errorf("a reload with a key that is none: %v", err)
	}
	s.want("POST", "/api/v1/events", record(3))
}

func (s *served) states() map[string]string {
	out := map[string]string{}
	for _, st := range s.sources.List() {
		out[st.Name] = st.State
	}
	return out
}

func TestReload(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	drop := filepath.Join(tmp, "drop")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(tmp, "spoor.yaml")
	write(t, file, "log: {level: error}\n")
	s := start(t, filepath.Join(tmp, "data"))
	if got := fmt.Sprint(s.states()); got != "map[push:running]" {
		t.Fatalf("sources at the start: %s", got)
	}
	if s.log.String() != "" {
		t.Errorf("logged at the level error: %s", s.log)
	}

	write(t, file, fmt.Sprintf("log: {level: debug}\nshutdown_timeout: 7s\njournal: {linger: 7ms}\niam: {token_lifetime: 7d}\nsources:\n  - {name: drop, type: folder, path: %q, interval: 1s, settle: 0s}\n  - {name: gateway, type: push}\n", drop))
	r, err := s.Reload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Restart); got != "[journal.linger]" {
		t.Errorf("want a restart: %s", got)
	}
	for _, key := range []string{"log.level", "shutdown_timeout", "iam.token_lifetime", "sources.drop.path", "sources.gateway.type"} {
		if !strings.Contains(fmt.Sprint(r.Changed), key) {
			t.Errorf("%s is not among what was applied: %q", key, r.Changed)
		}
	}
	if got := fmt.Sprint(s.states()); got != "map[drop:running gateway:running push:running]" {
		t.Errorf("sources: %s", got)
	}
	if set := s.set.Load(); set.shutdown != 7*time.Second || set.lifetime != 7*24*time.Hour || set.journal.Linger != 0 {
		t.Errorf("in effect: shutdown_timeout %s, token_lifetime %s, journal.linger %s", set.shutdown, set.lifetime, set.journal.Linger)
	}
	if !strings.Contains(s.log.String(), "level=INFO") {
		t.Error("the level of the log has not changed")
	}
	s.want("POST", "/api/v1/events?source=gateway", records(0, 3))
	write(t, filepath.Join(drop, "one.jsonl"), records(3, 7))
	eventually(t, "the folder was read", func() bool {
		for _, st := range s.sources.List() {
			if st.Name == "drop" && st.Records == 4 {
				return true
			}
		}
		return false
	})

	// What is wrong changes nothing, whatever else is in the file.
	before := imprint(t, s.set.Load())
	for _, bad := range []string{"log: {level: info}\nsorces: []\n", "log: {level: info}\nsources: [{name: drop, type: folder, path: /nowhere/at/all}]\n", "log: {level: info}\niam: {policies: [none.cedar]}\n", "{"} {
		write(t, file, bad)
		if _, err := s.Reload(t.Context()); err == nil {
			t.Errorf("a reload with %q was taken", bad)
		}
		if after := imprint(t, s.set.Load()); after != before {
			t.Errorf("a reload with %q has changed something:\n%s\n%s", bad, before, after)
		}
	}
	if got := fmt.Sprint(s.states()); got != "map[drop:running gateway:running push:running]" {
		t.Errorf("sources after reloads that were refused: %s", got)
	}

	// A source that is gone is stopped, one that is disabled stays with its figures.
	write(t, file, fmt.Sprintf("sources:\n  - {name: drop, type: folder, path: %q, enabled: false}\n", drop))
	if _, err := s.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(s.states()); got != "map[drop:disabled push:running]" {
		t.Errorf("sources: %s", got)
	}
	if status, _ := s.ask("POST", "/api/v1/events?source=gateway", record(9)); status != http.StatusNotFound {
		t.Errorf("a push to a source that is gone: %d", status)
	}
	led, err := s.sources.Ledgers(time.Time{}, "drop")
	if err != nil || led["drop"].Records.Kept != 4 {
		t.Errorf("the ledger of a disabled source: %+v, %v", led["drop"], err)
	}
}

func TestPauseOutlivesRestart(t *testing.T) {
	t.Parallel()
	dir := data(t)
	s := start(t, dir)
	if err := s.sources.setPaused("push", true); err != nil {
		t.Fatal(err)
	}
	if status, _ := s.ask("POST", "/api/v1/events", record(1)); status != http.StatusServiceUnavailable {
		t.Errorf("a push to a paused source: %d", status)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	again := start(t, dir)
	again.token = s.token
	if got := fmt.Sprint(again.states()); got != "map[push:paused]" {
		t.Errorf("after a restart: %s", got)
	}
	if err := again.sources.setPaused("push", false); err != nil {
		t.Fatal(err)
	}
	again.want("POST", "/api/v1/events", record(1))
	if err := again.sources.setPaused("nobody", true); !errors.Is(err, console.ErrNotFound) {
		t.Errorf("a source that is not there: %v", err)
	}
}

// TestSourceThatFails is shown as failed, and the service goes on; when the trouble is over, the source runs.
func TestSourceThatFails(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	drop := filepath.Join(tmp, "drop")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tmp, "spoor.yaml"), fmt.Sprintf("sources: [{name: drop, type: folder, path: %q}]\n", drop))
	dir := filepath.Join(tmp, "data")
	if err := os.MkdirAll(filepath.Join(dir, "sources"), 0o700); err != nil {
		t.Fatal(err)
	}
	blocked := filepath.Join(dir, "sources", "drop")
	write(t, blocked, "a file where the source wants a folder")
	s := start(t, dir)
	if got := fmt.Sprint(s.states()); got != "map[drop:failed push:running]" {
		t.Errorf("sources: %s", got)
	}
	s.want("POST", "/api/v1/events", record(1))
	if why := s.reasons(t.Context()); len(why) > 0 {
		t.Errorf("a source that fails makes the service not ready: %q", why)
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the source runs", func() bool { return s.states()["drop"] == string(sourceRunning) })
}

// TestStopCutsOff holds a request open that does not end by itself.
func TestStopCutsOff(t *testing.T) {
	t.Parallel()
	s := start(t, data(t), "shutdown_timeout=1s")
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL(), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Length: 100000\r\n\r\n%s\n", s.token, record(1))
	eventually(t, "the request is under way", func() bool {
		for _, st := range s.sources.List() {
			if st.Name == "push" && st.InFlight == 1 {
				return true
			}
		}
		return false
	})
	began := time.Now()
	err = s.Close()
	if err == nil || !strings.Contains(err.Error(), "stop http: requests were cut off") {
		t.Errorf("the request was not named as cut off: %v", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the stop took %s, with a limit of 1s", took)
	}
}

// TestInterruptedStart does not begin with an ended context, and leaves the folder free.
func TestInterruptedStart(t *testing.T) {
	t.Parallel()
	dir := data(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a, err := Open(ctx, Options{Load: loader("", "data="+dir, "http.listen=127.0.0.1:0", "aws.listen=127.0.0.1:0")}); err == nil {
		a.Close()
		t.Fatal("it started")
	}
	start(t, dir)
}

// TestReloadByHTTP changes the configuration through the API: a mistake is told to the caller.
func TestReloadByHTTP(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	file := filepath.Join(tmp, "spoor.yaml")
	s := start(t, filepath.Join(tmp, "data"))
	write(t, file, "log: {level: debug}\nquery: {memory: 2GiB, timeout: 7s}\nstore: {flush_rows: 7777, compact_interval: 7m}\n")
	var r console.Reloaded
	if err := json.Unmarshal([]byte(s.want("POST", "/api/v1/configuration/reload", "")), &r); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(r.Changed, r.Restart); got != "[log.level query.timeout store.compact_interval store.flush_rows] [query.memory]" {
		t.Errorf("changed, and want a restart: %s", got)
	}
	write(t, file, "log: {level: loud}\n")
	status, text := s.ask("POST", "/api/v1/configuration/reload", "")
	if status != http.StatusUnprocessableEntity || !strings.Contains(text, "log.level") || !strings.Contains(text, "debug, info, warn or error") {
		t.Errorf("a reload with a mistake: %d %s", status, text)
	}
	if got := s.want("GET", "/api/v1/configuration", ""); !strings.Contains(got, `"key":"store.flush_rows","value":"7777"`) {
		t.Errorf("the configuration in effect: %s", got)
	}
}

// TestStopEndsTails stops while somebody follows: that does not hold the stop up, and is no failure.
func TestStopEndsTails(t *testing.T) {
	t.Parallel()
	s := start(t, data(t), "shutdown_timeout=1h")
	body := s.tail(t, "")
	s.want("POST", "/api/v1/events", record(7))
	readUntil(t, body, "GetObject7")
	if err := s.Close(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if _, err := io.Copy(io.Discard, body); err != nil {
		t.Errorf("the tail did not end in order: %v", err)
	}
}

// tail begins a live tail.
func (s *served) tail(t *testing.T, after string) io.Reader {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL()+"/api/v1/tail?after="+after, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	resp, err := s.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("tail: %d", resp.StatusCode)
	}
	return resp.Body
}

// readUntil reads until a text has come.
func readUntil(t *testing.T, r io.Reader, text string) {
	t.Helper()
	buf := make([]byte, 64<<10)
	var got string
	for !strings.Contains(got, text) {
		n, err := r.Read(buf)
		if err != nil {
			t.Fatalf("tail: %v after %q", err, got)
		}
		got += string(buf[:n])
	}
}

// TestTailBehindSearches: what was accepted before a tail began comes in the tail, unless a search that is asked after it
// finds it.
func TestTailBehindSearches(t *testing.T) {
	t.Parallel()
	s := start(t, data(t))
	for i := range 6 { // of which some are searchable by then, and most are not
		s.want("POST", "/api/v1/events", record(i))
		body := s.tail(t, console.TailSearchable)
		if name := fmt.Sprintf("GetObject%d", i); !strings.Contains(s.want("GET", "/api/v1/events?term=eventName%3D"+name, ""), name) {
			readUntil(t, body, name)
		}
	}
}

// TestPartThatFails ends the server with an error that names the part.
func TestPartThatFails(t *testing.T) {
	t.Parallel()
	s := start(t, data(t))
	s.background("example", func(context.Context) error { return errors.New("out of order") })
	if err := s.Run(t.Context()); err == nil || err.Error() != "example: out of order" {
		t.Errorf("run: %v", err)
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "stop example: out of order") {
		t.Errorf("stop: %v", err)
	}
}

// TestFigures wants every family that is declared in what a server gives, and nothing that fails to be read.
func TestFigures(t *testing.T) {
	t.Parallel()
	s := start(t, data(t))
	s.want("POST", "/api/v1/events", record(1))
	s.aws("GetCallerIdentity")
	got := s.want("GET", "/metrics", "")
	if want := `spoor_aws_calls_total{code="MissingAuthenticationToken",operation="other",service="other"} 1` + "\n"; !strings.Contains(got, want) {
		t.Errorf("%q is not in\n%s", want, got)
	}
	for _, f := range Metrics() {
		switch f.Name { // these come with what has not happened here
		case "spoor_source_backlog", "spoor_store_job_last_end_timestamp_seconds":
			continue
		}
		if strings.HasPrefix(f.Name, "spoor_trail_") { // there is no trail
			continue
		}
		if !strings.Contains(got, "# TYPE "+f.Name+" "+string(f.Kind)+"\n") {
			t.Errorf("%s is declared, and not given", f.Name)
		}
	}
	for l := range strings.Lines(got) {
		if strings.HasPrefix(l, "spoor_metrics_errors_total") && !strings.HasSuffix(l, " 0\n") {
			t.Errorf("figures could not be read: %s", l)
		}
		if strings.HasPrefix(l, "spoor_http_requests_total") && strings.Contains(l, "POST /api/v1/events") && !strings.HasSuffix(l, " 1\n") {
			t.Errorf("one push was counted so: %s", l)
		}
	}
}

// TestIcebergCatalogue finds the table by the REST catalogue.
func TestIcebergCatalogue(t *testing.T) {
	t.Parallel()
	s := start(t, data(t))
	if got := s.want("GET", "/iceberg/v1/config", ""); !strings.Contains(got, "defaults") {
		t.Errorf("the configuration of the catalogue: %s", got)
	}
	if got := s.want("GET", "/iceberg/v1/namespaces/spoor/tables", ""); !strings.Contains(got, `"events"`) {
		t.Errorf("tables: %s", got)
	}
	s.token = ""
	if status, _ := s.ask("GET", "/iceberg/v1/config", ""); status != http.StatusUnauthorized {
		t.Errorf("the catalogue without a token: %d", status)
	}
}
