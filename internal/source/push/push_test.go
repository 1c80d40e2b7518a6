package push

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/journal"
	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
)

func open(t *testing.T, kept live.Acceptor, change func(*Options)) *Source {
	t.Helper()
	o := Options{Options: live.Options{Name: "push", Dir: t.TempDir(), Accept: kept, Workers: 2}}
	if change != nil {
		change(&o)
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// post sends a body.
func post(t *testing.T, s *Source, body string, header ...string) (*httptest.ResponseRecorder, Answer) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/push", strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	var a Answer
	if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
		t.Fatalf("answer %q: %v", w.Body, err)
	}
	return w, a
}

func TestShapes(t *testing.T) {
	t.Parallel()
	one, two := livetest.Record("a"), livetest.Record("b")
	logs, err := json.Marshal(map[string]any{
		"messageType": "DATA_MESSAGE", "owner": "111122223333", "logGroup": "g", "logStream": "s", "subscriptionFilters": []string{"f"},
		"logEvents": []any{map[string]any{"id": "1", "timestamp": 1, "message": one}, map[string]any{"id": "2", "timestamp": 2, "message": two}},
	})
	if err != nil {
		t.Fatal(err)
	}
	packed := livetest.Gzip(string(logs))
	for name, body := range map[string]string{
		"records":              `{"Records":[` + one + `,` + two + `]}`,
		"array":                `[` + one + `,` + two + `]`,
		"lines":                one + "\n" + two,
		"lines ended":          one + "\r\n" + two + "\r\n",
		"gzip":                 string(livetest.Log("a", "b")),
		"subscription":         string(logs),
		"subscription gzip":    string(packed),
		"subscription wrapped": `{"awslogs":{"data":"` + base64.StdEncoding.EncodeToString(packed) + `"}}`,
		"bridge": `[{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.s3","detail":` + one + `},` +
			`{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.s3","detail":` + two + `}]`,
		"bridge lines": `{"detail-type":"AWS API Call via CloudTrail","source":"aws.s3","detail":` + one + "}\n" +
			`{"detail-type":"AWS API Call via CloudTrail","source":"aws.s3","detail":` + two + `}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := &livetest.Kept{}
			s := open(t, kept, nil)
			w, a := post(t, s, body, "Content-Type", "application/json; charset=utf-8")
			if w.Code != http.StatusOK || a.Accepted != 2 || a.Rejected != 0 || fmt.Sprint(kept.IDs()) != "[a b]" {
				t.Errorf("%d %s, kept %v", w.Code, w.Body, kept.IDs())
			}
			for _, r := range kept.Records() {
				if r.Origin.Source != "push" || r.Origin.Object != "push/"+a.RequestID || r.Origin.Received.IsZero() {
					t.Errorf("origin %+v", r.Origin)
				}
				if raw := string(r.Raw); raw != one && raw != two {
					t.Errorf("bytes changed: %s", raw)
				}
			}
			r, err := s.Ledger(time.Time{})
			if err != nil || !r.Balanced || r.Records.Kept != 2 || r.Objects.Read != 1 {
				t.Errorf("ledger %+v %+v %v, %v", r.Objects, r.Records, r.Problems, err)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	good := livetest.Record("a")
	big := strings.Repeat(" ", 3000)
	for name, c := range map[string]struct {
		body   string
		header []string
		status int
		kept   string
		why    string
	}{
		"partial":       {good + "\n{broken\n" + livetest.Record("b"), nil, 200, "[a b]", ""},
		"no good one":   {"{broken}\n{broken too}\n", nil, 400, "[]", ""},
		"nothing":       {"", nil, 400, "[]", "no CloudTrail records"},
		"empty list":    {`{"Records":[]}`, nil, 400, "[]", "no CloudTrail records"},
		"not logs":      {"hello", nil, 400, "[]", "not CloudTrail logs"},
		"other JSON":    {`{"hello":"world"}`, nil, 400, "[]", "no CloudTrail records"},
		"cut gzip":      {string(livetest.Log("a", "b")[:80]), nil, 400, "[]", "input broken"},
		"large":         {good + big, nil, 413, "[]", "larger than 2000"},
		"large chunked": {good + big, []string{"chunked"}, 413, "[]", "larger than 2000"},
		"bomb":          {string(livetest.Gzip(good + big)), nil, 413, "[]", "decompressed"},
		"encoding":      {good, []string{"Content-Encoding", "br"}, 415, "[]", `"br"`},
		"type":          {good, []string{"Content-Type", "image/png"}, 415, "[]", "image/png"},
		"bad type":      {good, []string{"Content-Type", "/;"}, 415, "[]", "cannot be read"},
		"other account": {strings.ReplaceAll(good, "111122223333", "999999999999"), nil, 200, "[]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := &livetest.Kept{}
			s := open(t, kept, func(o *Options) { o.MaxBody = 2000; o.Accounts = []string{"111122223333"} })
			var w *httptest.ResponseRecorder
			var a Answer
			if len(c.header) == 1 {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/push", io.MultiReader(strings.NewReader(c.body)))
				r.ContentLength = -1
				w = httptest.NewRecorder()
				s.ServeHTTP(w, r)
				if err := json.Unmarshal(w.Body.Bytes(), &a); err != nil {
					t.Fatal(err)
				}
			} else {
				w, a = post(t, s, c.body, c.header...)
			}
			if w.Code != c.status || fmt.Sprint(kept.IDs()) != c.kept || !strings.Contains(a.Error, c.why) || (c.status == 200) != (a.Error == "") {
				t.Errorf("%d %s, kept %v; want %d %s", w.Code, w.Body, kept.IDs(), c.status, c.kept)
			}
			switch name {
			case "partial":
				if a.Accepted != 2 || a.Rejected != 1 || len(a.Rejects) != 1 || a.Rejects[0].Index != 1 || a.Rejects[0].Reason == "" || a.Rejects[0].Offset != int64(len(good))+1 {
					t.Errorf("answer %+v", a)
				}
			case "other account":
				if a.Ignored != 1 || a.Accepted != 0 {
					t.Errorf("answer %+v", a)
				}
			}
			if r, err := s.Ledger(time.Time{}); err != nil || !r.Balanced {
				t.Errorf("ledger: %v, %v", r.Problems, err)
			}
			if s.held.Load() != 0 || s.requests.Load() != 0 {
				t.Errorf("%d bytes and %d requests still counted", s.held.Load(), s.requests.Load())
			}
		})
	}
	s := open(t, &livetest.Kept{}, nil)
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/push", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
}

func TestNotNow(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err   error
		after string
	}{
		"full":     {&journal.FullError{Reason: "the disk is full", RetryAfter: 2500 * time.Millisecond}, "3"},
		"unknown":  {journal.ErrUnknown, "1"},
		"closed":   {journal.ErrClosed, "1"},
		"whatever": {errors.New("trouble"), "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kept := &livetest.Kept{Fail: func(int) error { return c.err }}
			s := open(t, kept, nil)
			w, a := post(t, s, livetest.Record("a"))
			if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != c.after || a.Accepted != 0 || a.Error == "" {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if r, err := s.Ledger(time.Time{}); err != nil || !r.Balanced || r.Objects.Listed != 0 {
				t.Errorf("ledger %+v, %v", r.Objects, err) // it will come again
			}
		})
	}
}

// A batch that the journal finds too large is offered in parts, and a record that is too large is a reject.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	kept := &livetest.Kept{}
	var sizes []int
	huge := strings.Replace(livetest.Record("huge"), "GetObject", strings.Repeat("x", 500), 1)
	s := open(t, live.AcceptFunc(func(ctx context.Context, records []journal.Record) error {
		n := 0
		for _, r := range records {
			n += len(r.Raw)
		}
		sizes = append(sizes, len(records))
		if n > 800 {
			return fmt.Errorf("%d bytes: %w", n, journal.ErrTooLarge)
		}
		return kept.Accept(ctx, records)
	}), nil)
	w, a := post(t, s, livetest.Record("a")+"\n"+huge+"\n"+livetest.Record("b")+"\n"+livetest.Record("c"))
	if w.Code != http.StatusOK || a.Accepted != 3 || a.Rejected != 1 || a.Rejects[0].Index != -1 || fmt.Sprint(kept.IDs()) != "[a b c]" {
		t.Errorf("%d %s, kept %v in %v", w.Code, w.Body, kept.IDs(), sizes)
	}
	if r, err := s.Ledger(time.Time{}); err != nil || !r.Balanced || r.Records.Kept != 3 || r.Records.Rejected != 1 {
		t.Errorf("ledger %+v %v, %v", r.Records, r.Problems, err)
	}
}

// Memory is bounded over all requests: who finds no room is told to come again.
func TestMemory(t *testing.T) {
	t.Parallel()
	kept := &livetest.Kept{}
	release, inside := make(chan struct{}), make(chan struct{}, 16)
	kept.Fail = func(int) error { inside <- struct{}{}; <-release; return nil }
	size := int64(len(livetest.Record("a")))
	s := open(t, kept, func(o *Options) { o.MaxBody = 2 * size; o.MaxMemory = 3 * size })
	var wg sync.WaitGroup
	for _, id := range []string{"a", "b", "c"} {
		wg.Go(func() {
			if w, _ := post(t, s, livetest.Record(id)); w.Code != http.StatusOK {
				t.Errorf("%s: %d", id, w.Code)
			}
		})
		<-inside
	}
	if w, _ := post(t, s, livetest.Record("d")); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
		t.Errorf("the fourth: %d", w.Code)
	}
	close(release)
	wg.Wait()
	if w, _ := post(t, s, livetest.Record("d")); w.Code != http.StatusOK {
		t.Errorf("the fourth again: %d", w.Code)
	}
	if !slices.Equal(kept.IDs(), []string{"a", "b", "c", "d"}) {
		t.Errorf("kept %v", kept.IDs())
	}
}

// The ledger is kept over restarts, and read by days.
func TestLedgerKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 1, 10, 23, 0, 0, 0, time.UTC)
	for day := range 3 {
		s, err := Open(Options{Options: live.Options{Name: "push", Dir: dir, Accept: &livetest.Kept{}, Now: func() time.Time { return now.AddDate(0, 0, day) }}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Open(Options{Options: live.Options{Name: "push", Dir: dir, Accept: &livetest.Kept{}}}); !errors.Is(err, live.ErrOpen) {
			t.Errorf("opened twice: %v", err)
		}
		post(t, s, livetest.Record("a")+"\n"+livetest.Record("b"))
		for since, want := range map[time.Time]int{{}: day + 1, now.AddDate(0, 0, day): 1, now.AddDate(0, 0, max(day-1, 0)): min(day, 1) + 1} {
			r, err := s.Ledger(since)
			if err != nil || !r.Balanced || r.Records.Kept != int64(2*want) || r.Objects.Listed != int64(want) {
				t.Errorf("day %d since %v: %+v %+v, want %d; %v %v", day, since, r.Objects, r.Records, want, r.Problems, err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
