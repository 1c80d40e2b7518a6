package cli

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// output is what was written to it, by any number of goroutines, and who waits for it.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{}
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	n, err := o.b.Write(p)
	select {
	case o.more <- struct{}{}:
	default:
	}
	return n, err
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

var recordingOn = regexp.MustCompile(`recording on (http://[0-9.:]+) into`)

// recording runs spoor record until stop, which gives the exit code.
func recording(t *testing.T, args ...string) (url string, stop func() int, stderr *output) {
	t.Helper()
	stderr = &output{more: make(chan struct{}, 1)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan int, 1)
	go func() {
		done <- Run(ctx, append([]string{"record", "--listen", "127.0.0.1:0"}, args...), strings.NewReader(""), io.Discard, stderr)
	}()
	for {
		if m := recordingOn.FindStringSubmatch(stderr.String()); m != nil {
			return m[1], func() int { cancel(); return <-done }, stderr
		}
		select {
		case <-stderr.more:
		case code := <-done:
			t.Fatalf("it ended with %d: %s", code, stderr)
		}
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "content") }))
	t.Cleanup(service.Close)
	get := func(url string) {
		t.Helper()
		res, err := http.Get(url + "/bucket/key")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if text, err := io.ReadAll(res.Body); err != nil || string(text) != "content" {
			t.Fatalf("%s %v", text, err)
		}
	}
	t.Run("files", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "records")
		url, stop, stderr := recording(t, "--upstream", "s3="+service.URL, "--out", dir, "--account", "111122223333", "--region", "eu-west-1")
		get(url)
		if code := stop(); code != 0 || !strings.Contains(stderr.String(), "1 call, 0 not recorded") {
			t.Errorf("ended with %d: %s", code, stderr)
		}
		files, err := filepath.Glob(filepath.Join(dir, "*.jsonl"))
		if err != nil || len(files) != 1 {
			t.Fatalf("files %v %v", files, err)
		}
		if text, err := os.ReadFile(files[0]); err != nil || !bytes.Contains(text, []byte(`"eventName":"GetObject"`)) || !bytes.Contains(text, []byte(`"recipientAccountId":"111122223333"`)) {
			t.Errorf("%s %v", text, err)
		}
		var out bytes.Buffer
		if code := Run(t.Context(), []string{"search", "eventName=GetObject", dir}, strings.NewReader(""), &out, io.Discard); code != 0 || !strings.Contains(out.String(), "GetObject") {
			t.Errorf("what was recorded is not found: %d %s", code, out.String())
		}
	})
	t.Run("journal", func(t *testing.T) {
		t.Parallel()
		data := t.TempDir()
		url, stop, stderr := recording(t, "--upstream", "s3="+service.URL, "--data", data)
		get(url)
		// The folder is taken.
		var out bytes.Buffer
		if code := Run(t.Context(), []string{"record", "--listen", "127.0.0.1:0", "--upstream", "s3=" + service.URL, "--data", data}, strings.NewReader(""), &out, &out); code != ExitUsage || !strings.Contains(out.String(), "in use") {
			t.Errorf("a second one: %d %s", code, out.String())
		}
		if code := stop(); code != 0 {
			t.Errorf("ended with %d: %s", code, stderr)
		}
	})
	t.Run("server", func(t *testing.T) {
		t.Parallel()
		var got output
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/api/v1/events" || r.Header.Get("Authorization") != "Bearer token" || r.URL.Query().Get("source") != "other" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.Copy(&got, r.Body)
			_, _ = io.WriteString(w, `{"accepted":1}`)
		}))
		t.Cleanup(server.Close)
		token := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(token, []byte("token\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		url, stop, stderr := recording(t, "--upstream", "s3="+service.URL, "--server", server.URL, "--token-file", token, "--source", "other")
		get(url)
		if code := stop(); code != 0 || !strings.Contains(got.String(), `"eventName":"GetObject"`) {
			t.Errorf("ended with %d: %s; the server got %s", code, stderr, got.String())
		}
	})
}

func TestRecordUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{}, {"--upstream", "s3"}, {"--upstream", "s3=http://x", "--tls-cert", "x"}, {"--upstream", "s3=http://x", "--profile", "x"},
		{"--upstream", "s3=http://x", "--out", "x", "--server", "http://127.0.0.1:1"}, {"--upstream", "s3=http://x", "--account", "1"},
		{"--upstream", "s3=http://x", "--upstream", "s3=http://y", "--out", t.TempDir()}, {"extra"},
	} {
		var out bytes.Buffer
		if code := Run(t.Context(), append([]string{"record"}, args...), strings.NewReader(""), &out, &out); code != ExitUsage {
			t.Errorf("%v: %d %s", args, code, out.String())
		}
	}
}
