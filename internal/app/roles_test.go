package app

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// found gives the ids of the events that a term finds, sorted; nil when the question is not answered.
func (s *served) found(term string) []string {
	s.t.Helper()
	status, text := s.ask("GET", "/api/v1/events?limit=1000&term="+term, "")
	if status != http.StatusOK {
		return nil
	}
	var page struct {
		Events []struct{ ID string }
		Next   string
	}
	if err := json.Unmarshal([]byte(text), &page); err != nil || page.Next != "" {
		s.t.Fatalf("%v: %s", err, text)
	}
	ids := []string{}
	for _, e := range page.Events {
		ids = append(ids, e.ID)
	}
	slices.Sort(ids)
	return ids
}

func ids(from, to int) []string {
	out := []string{}
	for n := from; n < to; n++ {
		out = append(out, fmt.Sprintf("6b1c1d7e-0000-4000-8000-%012d", n))
	}
	return out
}

// TestRolesApart runs each role in a server of its own, over one NATS system: what one accepts is in the answers of another.
func TestRolesApart(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	nats, err := server.NewServer(&server.Options{ServerName: "outside", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: filepath.Join(tmp, "nats"), NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	nats.Start()
	t.Cleanup(func() { nats.Shutdown(); nats.WaitForShutdown() })
	if !nats.ReadyForConnections(20 * time.Second) {
		t.Fatal("the NATS server does not start")
	}
	drop := filepath.Join(tmp, "drop")
	if err := os.Mkdir(drop, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(tmp, "spoor.yaml"), fmt.Sprintf("sources: [{name: drop, type: folder, path: %q, interval: 1s, settle: 0s}]\n", drop))
	kept := filepath.Join(tmp, "kept")
	one := func(role string) *served {
		return start(t, filepath.Join(tmp, "data-"+role), "roles="+role, "journal.url="+nats.ClientURL(), "store.dir="+kept)
	}
	// What comes before there is a store waits for it.
	api := one("api")
	api.want("POST", "/api/v1/events", records(0, 5))
	if got := api.found("eventName=GetObject*"); got != nil {
		t.Errorf("without a store %d events were found", len(got))
	}
	reading := one("sources")
	write(t, filepath.Join(drop, "one.jsonl"), records(5, 9))
	keeping := one("store")
	eventually(t, "the events of both are found", func() bool { return slices.Equal(api.found("eventName=GetObject*"), ids(0, 9)) })

	if api.AWSURL() == "" || reading.AWSURL() != "" || keeping.AWSURL() != "" {
		t.Errorf("AWS's clients are answered on %q, %q and %q; want the role api alone to", api.AWSURL(), reading.AWSURL(), keeping.AWSURL())
	}
	if got := fmt.Sprint(api.states(), reading.states(), keeping.states()); got != "map[drop:elsewhere push:running] map[drop:running] map[drop:elsewhere]" {
		t.Errorf("sources of the three: %s", got)
	}
	for name, s := range map[string]*served{"api": api, "sources": reading, "store": keeping} {
		if why := s.reasons(t.Context()); len(why) > 0 {
			t.Errorf("%s is not ready: %q", name, why)
		}
		s.want("GET", "/metrics", "")
	}
	// What a process does not have, it says.
	for _, c := range []struct {
		s            *served
		method, path string
	}{{api, "POST", "/api/v1/store/compact"}, {api, "GET", "/api/v1/ledger?source=drop"}, {keeping, "GET", "/api/v1/events"}, {reading, "GET", "/api/v1/events"}, {reading, "PUT", "/api/v1/holds/case-1"}} {
		body := ""
		if c.method == "PUT" {
			body = `{"reason":"a case"}`
		}
		if status, text := c.s.ask(c.method, c.path, body); status != http.StatusServiceUnavailable || !strings.Contains(text, `"detail":`) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	// A store that comes back goes on where it was.
	if err := keeping.Close(); err != nil {
		t.Fatal(err)
	}
	api.want("POST", "/api/v1/events", records(9, 12))
	again := one("store")
	eventually(t, "what came meanwhile is found", func() bool { return slices.Equal(api.found("eventName=GetObject*"), ids(0, 12)) })
	if st, err := (keeper{again.App}).Status(t.Context()); err != nil || st.Ledger == nil {
		t.Errorf("status of the store: %v", err)
	}
}
