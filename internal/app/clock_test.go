package app

import (
	"encoding/json"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

// TestClockJumps sets the machine's clock forwards and backwards by hours, days and a year while the service runs and between
// two of its lives: what it accepted is in the answer, once, and it goes on accepting.
func TestClockJumps(t *testing.T) {
	t.Parallel()
	var offset atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
	dir := data(t)
	token := ""
	open := func() *served {
		s := &served{t: t, log: &output{}, token: token, client: &http.Client{Timeout: time.Minute, Transport: &http.Transport{DisableKeepAlives: true}}}
		a, err := Open(t.Context(), Options{Load: loader("", "data="+dir, "http.listen=127.0.0.1:0", "aws.listen=127.0.0.1:0", "store.flush_rows=1000", "store.flush_interval=1s"), LogTo: s.log, Now: now})
		if err != nil {
			t.Fatalf("start: %v\n%s", err, s.log)
		}
		s.App = a
		t.Cleanup(func() { _ = a.Close() }) // what it says is looked at below
		if secret, made, err := a.FirstCredential(t.Context()); err != nil {
			t.Fatal(err)
		} else if made {
			s.token, token = secret, secret
		}
		return s
	}
	pushed := 0
	push := func(s *served) {
		t.Helper()
		s.want("POST", "/api/v1/events", records(pushed, pushed+40))
		pushed += 40
		s.want("POST", "/api/v1/events", records(pushed-10, pushed)) // some of it again
		var got []struct{ N, D int }
		eventually(t, "what was pushed is in the answer once", func() bool {
			text := s.want("POST", "/api/v1/query", `{"sql":"SELECT count(*) AS n, count(DISTINCT eventID) AS d FROM events WHERE eventSource <> 'spoor.amazonaws.com'"}`)
			if err := json.Unmarshal([]byte(text), &got); err != nil || len(got) != 1 {
				t.Fatalf("%v %s", err, text)
			}
			if got[0].N > pushed || got[0].N != got[0].D {
				t.Fatalf("%+v, %d were pushed\n%s", got[0], pushed, s.log)
			}
			return got[0].N == pushed
		})
	}
	s := open()
	for _, jump := range []time.Duration{0, 25 * time.Hour, -48 * time.Hour, time.Minute, -time.Minute, 60 * 24 * time.Hour, -365 * 24 * time.Hour, 365 * 24 * time.Hour, -37 * 24 * time.Hour} {
		offset.Add(int64(jump))
		push(s)
		s.want("POST", "/api/v1/store/compact", "")
		s.want("POST", "/api/v1/store/expire", "")
	}
	for _, jump := range []time.Duration{-48 * time.Hour, 72 * time.Hour} {
		if err := s.Close(); err != nil {
			t.Fatalf("stop: %v\n%s", err, s.log)
		}
		offset.Add(int64(jump))
		s = open()
		push(s)
	}
	if h := s.reasons(t.Context()); len(h) > 0 {
		t.Errorf("it is not ready: %q", h)
	}
	if err := s.Close(); err != nil {
		t.Errorf("stop: %v\n%s", err, s.log)
	}
}
