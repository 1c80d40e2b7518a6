package story

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// service is a running spoor serve.
type service struct {
	d       *desk
	cmd     *exec.Cmd
	url     string
	aws     string // address for AWS's clients
	token   string
	welcome string
	errs    *safeBuffer
	done    chan struct{} // closed when it has ended
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

var (
	urlForm   = regexp.MustCompile(`serves on (https?://[^ ]+)`)
	awsForm   = regexp.MustCompile(`AWS's own clients find it on (https?://[^ ,]+), Region ([a-z0-9-]+)\.`)
	tokenForm = regexp.MustCompile(`spoor_[a-z2-7]{16}_[a-z2-7]{52}`)
)

// serve starts the service on a free port and waits for what it prints. A token that it prints is used from then on.
func (d *desk) serve(token string, args ...string) *service {
	d.t.Helper()
	s := &service{d: d, token: token, errs: &safeBuffer{}, done: make(chan struct{})}
	s.cmd = d.command(append([]string{"serve", "--listen", "127.0.0.1:0", "--aws-listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Stderr = s.errs
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	first := make(chan string, 1)
	go func() {
		defer close(s.done)
		buf := make([]byte, 16<<10)
		n, _ := out.Read(buf) // all of it is written at once
		first <- string(buf[:n])
		_, _ = io.Copy(io.Discard, out)
		_ = s.cmd.Wait() // its end is looked at by end
	}()
	select {
	case s.welcome = <-first:
	case <-time.After(patience):
		_ = s.cmd.Process.Kill()
		<-s.done
		d.t.Fatalf("the service does not start\n%s", tail(s.errs.String()))
	}
	m := urlForm.FindStringSubmatch(s.welcome)
	if m == nil {
		<-s.done
		d.t.Fatalf("the service prints %q\n%s", s.welcome, tail(s.errs.String()))
	}
	s.url = m[1]
	if m := awsForm.FindStringSubmatch(s.welcome); m != nil {
		s.aws = m[1]
	}
	if t := tokenForm.FindString(s.welcome); t != "" {
		s.token = t
	}
	d.t.Cleanup(func() {
		_ = s.cmd.Process.Kill() // it has ended, or the test has failed
		<-s.done
		if text := s.errs.String(); strings.Contains(text, "panic") || strings.Contains(text, "DATA RACE") {
			d.t.Errorf("the service:\n%s", tail(text))
		}
	})
	return s
}

// end sends a signal and waits; the exit code must be code, unless the signal ends the process itself.
func (s *service) end(sig syscall.Signal, code int) {
	s.d.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.d.t.Fatal(err)
	}
	select {
	case <-s.done:
	case <-time.After(patience):
		s.d.t.Fatalf("after %s it goes on\n%s", sig, tail(s.errs.String()))
	}
	if got := s.cmd.ProcessState.ExitCode(); got != code {
		s.d.t.Fatalf("after %s it ends with %d, want %d\n%s", sig, got, code, tail(s.errs.String()))
	}
}

// call sends a request.
func (s *service) call(ctx context.Context, method, path, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, errors.Join(err, resp.Body.Close())
}

// want is a call that must be answered with 200.
func (s *service) want(method, path, body string) []byte {
	s.d.t.Helper()
	status, text, err := s.call(s.d.t.Context(), method, path, body)
	if err != nil || status != http.StatusOK {
		s.d.t.Fatalf("%s %s: %d %v\n%s\n%s", method, path, status, err, tail(string(text)), tail(s.errs.String()))
	}
	return text
}

// ids gives the event ids of a search, page by page, and fails when one comes twice.
func (s *service) ids(term string) []string {
	s.d.t.Helper()
	var out []string
	seen := map[string]bool{}
	for cursor := ""; ; {
		q := url.Values{"limit": {"1000"}, "term": {term}}
		if cursor != "" {
			q.Set("cursor", cursor)
		}
		var page struct {
			Events []struct{ ID string }
			Next   string
		}
		if err := json.Unmarshal(s.want("GET", "/api/v1/events?"+q.Encode(), ""), &page); err != nil {
			s.d.t.Fatal(err)
		}
		for _, e := range page.Events {
			if seen[e.ID] {
				s.d.t.Errorf("event %s is there twice", e.ID)
			}
			seen[e.ID] = true
			out = append(out, e.ID)
		}
		if page.Next == "" {
			slices.Sort(out)
			return out
		}
		cursor = page.Next
	}
}

// eventually looks until it is true.
func (s *service) eventually(what string, is func() bool) {
	s.d.t.Helper()
	limit := time.Now().Add(patience)
	for !is() {
		if time.Now().After(limit) {
			s.d.t.Fatalf("it does not come true: %s\n%s", what, tail(s.errs.String()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// numbered makes records with their own ids.
func numbered(from, to int, name string) string {
	var b strings.Builder
	for n := from; n < to; n++ {
		b.WriteString(record(n, name) + "\n")
	}
	return b.String()
}

func numberedIDs(from, to int) []string {
	var out []string
	for n := from; n < to; n++ {
		out = append(out, eventID(n))
	}
	return out
}

// TestServeStory starts in an empty folder, takes events, finds them, stops and starts again.
func TestServeStory(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := d.serve("")
	if s.token == "" || strings.Count(s.welcome, s.token) < 1 {
		t.Fatalf("the first start prints no token:\n%s", s.welcome)
	}
	if strings.Contains(s.errs.String(), s.token) {
		t.Error("the token is in the log")
	}
	// The commands that it prints work as they are pasted.
	script := ""
	lines := 0
	installed := filepath.Join(checkout, "out", "awscli", "bin")
	_, missing := os.Stat(installed)
	for l := range strings.Lines(s.welcome) {
		if cmd, ok := strings.CutPrefix(l, "  "); ok && strings.TrimSpace(cmd) != s.token {
			if lines++; missing == nil || !strings.HasPrefix(cmd, "aws ") {
				script += cmd
			}
		}
	}
	if lines != 6 {
		t.Errorf("it prints %d commands, want 6:\n%s", lines, s.welcome)
	}
	bash := exec.CommandContext(t.Context(), "bash", "-e", "-o", "pipefail", "-c", script)
	bash.Dir = d.dir
	bash.Env = append(d.command().Env, "PATH="+workspace+"/bin:"+installed+":"+os.Getenv("PATH"), "AWS_PAGER=", "AWS_DEFAULT_OUTPUT=json")
	if out, err := bash.CombinedOutput(); err != nil {
		t.Errorf("what it prints does not work: %v\n%s\n%s", err, script, out)
	} else if !strings.Contains(string(out), `"accepted":1`) || !strings.Contains(string(out), "CreateToken") ||
		missing == nil && (!strings.Contains(string(out), `"Arn": "arn:aws:iam::000000000000:root"`) || !strings.Contains(string(out), `"Username": "root"`)) {
		t.Errorf("what it prints shows nothing:\n%s\n%s", script, out)
	}

	s.want("POST", "/api/v1/events", numbered(0, 50, "StoryOne"))
	s.eventually("what was pushed is found", func() bool { return slices.Equal(s.ids("eventName=StoryOne"), numberedIDs(0, 50)) })
	s.want("POST", "/api/v1/events", numbered(30, 60, "StoryOne")) // some of it again
	s.eventually("the rest is found", func() bool { return slices.Equal(s.ids("eventName=StoryOne"), numberedIDs(0, 60)) })

	// A second server and commands that would change the folder are told what to do.
	d.spoor("serve", "--listen", "127.0.0.1:0", "--aws-listen", "127.0.0.1:0").exits(4).complains("data (default)", "another server uses this folder", "--data")
	d.spoor("iam", "user", "create", "ann", "--role", "analyst").exits(usage).complains("the service runs: ask it with --server")
	d.spoor("iam", "user", "list").exits(clean).says("root")

	s.end(syscall.SIGTERM, clean)
	if !strings.Contains(s.errs.String(), "cut_off=0") {
		t.Errorf("the stop was not in order:\n%s", s.errs)
	}
	again := d.serve(s.token)
	if tokenForm.MatchString(again.welcome) {
		t.Errorf("the second start prints a token:\n%s", again.welcome)
	}
	if got := again.ids("eventName=StoryOne"); !slices.Equal(got, numberedIDs(0, 60)) {
		t.Errorf("after a restart there are %d events, want 60", len(got))
	}
	again.end(syscall.SIGINT, clean)
}

// TestServeKilled kills the service while clients push. Everything that was accepted is there once after the next start.
func TestServeKilled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := d.serve("", "--set", "store.flush_rows=1000", "--set", "store.flush_interval=1s")
	var mu sync.Mutex
	accepted := map[string]bool{}
	next := 0
	for round := range 3 {
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		begun := make(chan struct{}, 100)
		for range 4 {
			clients.Go(func() {
				for ctx.Err() == nil {
					mu.Lock()
					from := next
					next += 25
					mu.Unlock()
					status, _, err := s.call(ctx, "POST", "/api/v1/events", numbered(from, from+25, "Killed"))
					if err != nil || status != http.StatusOK {
						return // it was killed: not accepted, as far as the client knows
					}
					mu.Lock()
					for n := from; n < from+25; n++ {
						accepted[eventID(n)] = true
					}
					mu.Unlock()
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 40 * (round + 1) {
			<-begun
		}
		s.end(syscall.SIGKILL, -1)
		stop()
		clients.Wait()
		s = d.serve(s.token, "--set", "store.flush_rows=1000", "--set", "store.flush_interval=1s")
	}
	s.eventually("everything that was accepted is there", func() bool {
		there := map[string]bool{}
		for _, id := range s.ids("eventName=Killed") { // which tells what is there twice
			there[id] = true
		}
		for id := range accepted {
			if !there[id] {
				return false
			}
		}
		return true
	})
	s.end(syscall.SIGTERM, clean)
}

// TestServeStopsUnderLoad stops the service while clients push: each of them is told the truth about its events.
func TestServeStopsUnderLoad(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := d.serve("")
	var mu sync.Mutex
	var accepted []string
	next := 0
	var clients sync.WaitGroup
	begun := make(chan struct{}, 1000)
	for range 4 {
		clients.Go(func() {
			for {
				mu.Lock()
				from := next
				next += 10
				mu.Unlock()
				status, _, err := s.call(t.Context(), "POST", "/api/v1/events", numbered(from, from+10, "Loaded"))
				if err != nil || status != http.StatusOK {
					return
				}
				mu.Lock()
				accepted = append(accepted, numberedIDs(from, from+10)...)
				mu.Unlock()
				select {
				case begun <- struct{}{}:
				default:
				}
			}
		})
	}
	for range 50 {
		<-begun
	}
	s.end(syscall.SIGTERM, clean)
	clients.Wait()
	again := d.serve(s.token)
	again.eventually("everything that was accepted is there", func() bool {
		there := again.ids("eventName=Loaded")
		for _, id := range accepted {
			if _, ok := slices.BinarySearch(there, id); !ok {
				return false
			}
		}
		return true
	})
	again.end(syscall.SIGTERM, clean)
}

// TestServeReloads changes the configuration of a running service by a signal.
func TestServeReloads(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write("drop/.keep", nil)
	d.write("spoor.yaml", []byte("log: {level: info}\n"))
	s := d.serve("", "--config", "spoor.yaml")
	d.write("spoor.yaml", []byte("sources: [{name: drop, type: folder, path: drop, interval: 1s, settle: 0s}]\n"))
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	d.write("drop/one.jsonl", []byte(numbered(0, 5, "Dropped")))
	s.eventually("the new source is read", func() bool { return slices.Equal(s.ids("eventName=Dropped"), numberedIDs(0, 5)) })
	d.write("spoor.yaml", []byte("log: {level: info}\nsorces: []\n"))
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.eventually("what is wrong is told", func() bool { return strings.Contains(s.errs.String(), "sorces: unknown key; did you mean sources?") })
	d.write("drop/two.jsonl", []byte(numbered(5, 9, "Dropped")))
	s.eventually("the source goes on", func() bool { return slices.Equal(s.ids("eventName=Dropped"), numberedIDs(0, 9)) })
	s.end(syscall.SIGTERM, clean)
}

// TestServeSecondSignal holds a request open, so that the service cannot stop, and interrupts it twice.
func TestServeSecondSignal(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := d.serve("", "--set", "shutdown_timeout=1h")
	body, hold := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+"/api/v1/events", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	ended := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			err = resp.Body.Close()
		}
		ended <- err
	}()
	if _, err := io.WriteString(hold, record(1, "Held")+"\n"); err != nil {
		t.Fatal(err)
	}
	s.eventually("the request is under way", func() bool {
		return strings.Contains(string(s.want("GET", "/metrics", "")), `spoor_source_in_flight{source="push",type="push"} 1`)
	})
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	s.eventually("it begins to stop", func() bool { return strings.Contains(s.errs.String(), "a second interrupt ends at once") })
	s.end(syscall.SIGINT, -1)
	if err := hold.CloseWithError(io.ErrClosedPipe); err != nil {
		t.Error(err)
	}
	if err := <-ended; err == nil {
		t.Error("the request was answered")
	}
}

// TestServeUsage is what people meet who cannot start it.
func TestServeUsage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := d.serve("", "--data", "one")
	d.spoor("serve", "--data", "two", "--aws-listen", "127.0.0.1:0", "--listen", strings.TrimPrefix(s.url, "http://")).exits(4).complains("http.listen (--listen)", "address already in use")
	if slices.ContainsFunc(d.files(), func(name string) bool { return strings.HasPrefix(name, "two/iam") }) {
		t.Error("a start that failed has made a credential that nobody saw")
	}
	d.spoor("serve", "--data", "two", "--listen", "0.0.0.0:0").exits(usage).complains("http.listen", "tls_cert")
	d.spoor("serve", "--config", "none.yaml").exits(usage).complains("none.yaml")
	d.spoor("serve", "now").exits(usage).complains("takes no argument")
	s.end(syscall.SIGTERM, clean)
}
