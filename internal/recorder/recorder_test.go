package recorder

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"spoor/internal/event"
	"spoor/internal/journal"
)

var start = time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)

type kept struct {
	mu      sync.Mutex
	records []journal.Record
	err     error
}

func (k *kept) Append(_ context.Context, records []journal.Record) (uint64, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return 0, k.err
	}
	k.records = append(k.records, records...)
	return uint64(len(k.records)), nil
}

func (k *kept) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.err = err
}

// texts are the events, each of which the decoder takes.
func (k *kept) texts(t *testing.T) []map[string]any {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []map[string]any
	for _, r := range k.records {
		if _, err := event.Parse(r.Raw); err != nil {
			t.Fatalf("%v: %s", err, r.Raw)
		}
		var m map[string]any
		if err := json.Unmarshal(r.Raw, &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

func open(t *testing.T, now func() time.Time) (*Recorder, *kept) {
	t.Helper()
	k := &kept{}
	if now == nil {
		now = func() time.Time { return start }
	}
	r, err := New(Options{Journal: k, Account: "111122223333", Region: "eu-west-1", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	return r, k
}

// TestRecord writes an event, byte for byte.
func TestRecord(t *testing.T) {
	t.Parallel()
	r, k := open(t, nil)
	id, err := r.Record(t.Context(), Call{
		EventID: "11111111-2222-3333-4444-555555555555", RequestID: "req-1", Name: "CreateUser", APIVersion: "v1",
		Identity:  Identity{Type: "IAMUser", PrincipalID: "AIDA1", ARN: "arn:aws:iam::111122223333:user/ann", AccountID: "111122223333", UserName: "ann", CredentialID: "tok"},
		Address:   netip.MustParseAddr("::ffff:192.0.2.7"),
		UserAgent: "curl/8", Request: map[string]any{"userName": "bob", "roles": []string{"<&>"}}, Response: map[string]any{"userId": "AIDA2"},
		Resources: []Resource{{ARN: "arn:aws:iam::111122223333:user/bob", AccountID: "111122223333", Type: "AWS::IAM::User"}},
		TLS:       &tls.ConnectionState{Version: tls.VersionTLS13, CipherSuite: tls.TLS_AES_128_GCM_SHA256}, Host: "spoor.example",
	})
	const want = `{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDA1","arn":"arn:aws:iam::111122223333:user/ann","accountId":"111122223333","userName":"ann","credentialId":"tok"},` +
		`"eventTime":"2026-03-09T08:00:00Z","eventSource":"spoor.amazonaws.com","eventName":"CreateUser","awsRegion":"eu-west-1","sourceIPAddress":"192.0.2.7","userAgent":"curl/8",` +
		`"requestParameters":{"roles":["<&>"],"userName":"bob"},"responseElements":{"userId":"AIDA2"},"requestID":"req-1","eventID":"11111111-2222-3333-4444-555555555555","readOnly":false,` +
		`"resources":[{"ARN":"arn:aws:iam::111122223333:user/bob","accountId":"111122223333","type":"AWS::IAM::User"}],"eventType":"AwsApiCall","apiVersion":"v1","managementEvent":true,` +
		`"recipientAccountId":"111122223333","eventCategory":"Management","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"spoor.example"}}`
	if err != nil || id != "11111111-2222-3333-4444-555555555555" || len(k.records) != 1 || string(k.records[0].Raw) != want {
		t.Fatalf("%s, %v:\n%s\nwant\n%s", id, err, fmt.Sprint(k.texts(t)), want)
	}
	if o := k.records[0].Origin; o.Source != "spoor" || o.Object != "request/req-1" || !o.Received.Equal(start) {
		t.Errorf("origin %+v", o)
	}
	e, err := event.Parse(k.records[0].Raw)
	if err != nil {
		t.Fatal(err)
	}
	if a := e.Actor(); a.Kind != event.ActorUser || a.Name != "ann" || e.Category() != "Management" || e.Account() != "111122223333" {
		t.Errorf("actor %+v", a)
	}
	// An anonymous caller is one.
	if _, err := r.Record(t.Context(), Call{Name: "X", Identity: Anonymous(), Category: "Data", ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	if e, err = event.Parse(k.records[1].Raw); err != nil || e.Actor().Kind != event.ActorAnonymous || e.Category() != "Data" {
		t.Errorf("%s: %v", k.records[1].Raw, err)
	}
	if m := k.texts(t)[1]; m["requestParameters"] != nil || m["responseElements"] != nil || m["managementEvent"] != false || m["readOnly"] != true || len(m["eventID"].(string)) != 36 {
		t.Errorf("%v", m)
	}
	if st := r.Stats(); st != (Stats{Recorded: 2}) {
		t.Errorf("%+v", st)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Journal: &kept{}}, {Journal: &kept{}, Account: "1"}, {Account: "1", Region: "r"}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}

// TestSecrets hides what is secret, and nothing else.
func TestSecrets(t *testing.T) {
	t.Parallel()
	token := "spoor_abcdefghijklmnop_" + strings.Repeat("q", 52)
	r, k := open(t, nil)
	_, err := r.Record(t.Context(), Call{
		Name: "X", UserAgent: "a " + token, ErrorCode: token, ErrorMessage: "Authorization: Bearer " + strings.Repeat("q", 40), RequestID: token, Host: token, TLS: &tls.ConnectionState{},
		Identity: Identity{UserName: token},
		Request: map[string]any{
			"password": "qqqqqqqqqqqqqqqq", "newPassword": "qqqqqqqqqqqqqqqq", "SecretAccessKey": "qqqqqqqqqqqqqqqq", "web_identity-token": []string{"qqqqqqqqqqqqqqqq"},
			"nested": map[string]any{"list": []any{map[string]any{"privateKey": map[string]any{"a": "qqqqqqqqqqqqqqqq"}}, "x " + token}}, token: token,
			"tokenId": "abc", "nextToken": "n", "secretId": "name", "n": json.Number("12345678901234567890"), "empty": nil, "basic": "basic plan",
		},
		Response: map[string]any{"token": "qqqqqqqqqqqqqqqq"}, Additional: map[string]any{"apiKey": "qqqqqqqqqqqqqqqq"},
	})
	if err != nil {
		t.Fatal(err)
	}
	text := string(k.records[0].Raw)
	if strings.Contains(text, "qqqq") {
		t.Errorf("secrets in %s", text)
	}
	for _, want := range []string{`"tokenId":"abc"`, `"nextToken":"n"`, `"secretId":"name"`, `"n":12345678901234567890`, `"empty":null`, `"basic":"basic plan"`, `"password":"HIDDEN_DUE_TO_SECURITY_REASONS"`} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	k.texts(t)
}

// TestSizes bounds what callers send.
func TestSizes(t *testing.T) {
	t.Parallel()
	r, k := open(t, nil)
	long := strings.Repeat("é", 60<<10)
	if _, err := r.Record(t.Context(), Call{Name: "X", UserAgent: long, ErrorCode: long, ErrorMessage: "\xff" + long, Request: map[string]any{"a": long}, Response: map[string]any{"a": long}, Additional: map[string]any{"a": long}}); err != nil {
		t.Fatal(err)
	}
	m := k.texts(t)[0]
	for _, name := range []string{"userAgent", "errorCode", "errorMessage"} {
		if s := m[name].(string); len(s) > 1024 || len(s) < 1020 {
			t.Errorf("%s has %d bytes", name, len(s))
		}
	}
	for _, name := range []string{"requestParameters", "responseElements", "additionalEventData"} {
		if o := m[name].(map[string]any); o["omitted"] != true || o["originalSize"].(float64) < 120<<10 {
			t.Errorf("%s is %v", name, o)
		}
	}
	if len(k.records[0].Raw) > 256<<10 {
		t.Errorf("%d bytes", len(k.records[0].Raw))
	}
	if _, err := r.Record(t.Context(), Call{Name: "X", Request: func() {}}); err == nil || r.Stats().Failed != 1 {
		t.Errorf("%v", err)
	}
}

// TestFull is a journal that takes nothing.
func TestFull(t *testing.T) {
	t.Parallel()
	r, k := open(t, nil)
	k.fail(&journal.FullError{Reason: "full", RetryAfter: time.Second})
	var full *journal.FullError
	if id, err := r.Record(t.Context(), Call{Name: "X"}); id != "" || !errors.As(err, &full) {
		t.Errorf("%q, %v", id, err)
	}
	if err := r.Refused(t.Context(), "a", Call{Name: "X"}); !errors.As(err, &full) {
		t.Error(err)
	}
	// What is counted is kept until it can be written.
	for range 5 {
		if err := r.Refused(t.Context(), "a", Call{Name: "X"}); err != nil {
			t.Error(err)
		}
	}
	if err := r.Flush(t.Context(), true); !errors.As(err, &full) || r.Stats().Waiting != 5 {
		t.Errorf("%v, %+v", err, r.Stats())
	}
	k.fail(nil)
	if err := r.Refused(t.Context(), "a", Call{Name: "X"}); err != nil {
		t.Error(err)
	}
	if err := r.Flush(t.Context(), true); err != nil || r.Stats() != (Stats{Recorded: 1, Failed: 3, Counted: 6}) {
		t.Errorf("%v, %+v", err, r.Stats())
	}
	if m := k.texts(t); len(m) != 1 || m[0]["additionalEventData"].(map[string]any)["refusals"] != 6.0 {
		t.Errorf("%v", m)
	}
}

// TestRefused runs for hours of refusals.
func TestRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r, k := open(t, time.Now)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Run(ctx) }()
		total := 0
		for range 60 * 60 { // an hour, four refusals of two kinds a second
			for _, kind := range []string{"a", "a", "a", "b"} {
				if err := r.Refused(ctx, kind, Call{Name: kind}); err != nil {
					t.Error(err)
				}
				total++
			}
			time.Sleep(time.Second)
		}
		time.Sleep(3 * time.Minute) // kinds that have ended are forgotten
		r.mu.Lock()
		if n := len(r.groups); n != 0 {
			t.Errorf("%d kinds are known", n)
		}
		r.mu.Unlock()
		if err := r.Refused(ctx, "a", Call{Name: "a"}); err != nil {
			t.Error(err)
		}
		if err := r.Refused(ctx, "a", Call{Name: "a"}); err != nil {
			t.Error(err)
		}
		total += 2
		cancel()
		if err := <-done; err != nil { // what was counted is written at the end
			t.Error(err)
		}
		got, events := 0, k.texts(t)
		for _, m := range events {
			n := 1
			if more, ok := m["additionalEventData"].(map[string]any); ok {
				n = int(more["refusals"].(float64))
				first, err := time.Parse(time.RFC3339, more["first"].(string))
				last, err2 := time.Parse(time.RFC3339, more["last"].(string))
				if err != nil || err2 != nil || last.Before(first) || last.Sub(first) > 62*time.Second || m["eventTime"] != more["last"] {
					t.Errorf("%v", m)
				}
			}
			got += n
		}
		if got != total || len(events) > 2*62+2 {
			t.Errorf("%d events for %d refusals, told are %d", len(events), total, got)
		}
	})
}

// TestManyKinds comes with more kinds than are told apart.
func TestManyKinds(t *testing.T) {
	t.Parallel()
	r, k := open(t, nil)
	for i := range 10 * maxGroups {
		if err := r.Refused(t.Context(), fmt.Sprint("kind ", i), Call{Name: "X"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.texts(t)); n != maxGroups+1 {
		t.Errorf("%d events at once", n)
	}
	if err := r.Flush(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	m := k.texts(t)
	last, _ := m[len(m)-1]["additionalEventData"].(map[string]any)
	if len(m) != maxGroups+2 || last["refusals"] != float64(9*maxGroups-1) || last["others"] != true {
		t.Errorf("%d events, the last %v", len(m), last)
	}
}

// TestConcurrent refuses from many goroutines while events are flushed.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r, k := open(t, time.Now)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				if err := r.Refused(t.Context(), fmt.Sprint(g%3), Call{Name: "X"}); err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					if err := r.Flush(t.Context(), true); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	if err := r.Flush(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, m := range k.texts(t) {
		n := 1
		if more, ok := m["additionalEventData"].(map[string]any); ok {
			n = int(more["refusals"].(float64))
		}
		total += n
	}
	if total != 8*500 {
		t.Errorf("%d of %d refusals are told", total, 8*500)
	}
}

// FuzzRecord records whatever a caller sends: the event can be read, and has no token in it.
func FuzzRecord(f *testing.F) {
	token := "spoor_abcdefghijklmnop_" + strings.Repeat("q", 52)
	f.Add("agent", "message", `{"a":{"password":"x"}}`)
	f.Add(token, "x"+token+"\x00\xff", `["`+token+`"]`)
	f.Add("\ud7ff", "Bearer "+token, `"`+token+token+`"`)
	f.Fuzz(func(t *testing.T, agent, message, params string) {
		r, k := open(t, nil)
		c := Call{Name: "X", UserAgent: agent, ErrorMessage: message, RequestID: agent, Host: message, TLS: &tls.ConnectionState{}}
		if json.Valid([]byte(params)) {
			c.Request = json.RawMessage(params)
		} else {
			c.Request = params
		}
		if _, err := r.Record(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		k.texts(t)
		if strings.Contains(string(k.records[0].Raw), strings.Repeat("q", 52)) && strings.Contains(agent+message+params, token) && !strings.Contains(strings.ReplaceAll(agent+message+params, token, ""), "qq") {
			t.Errorf("%s", k.records[0].Raw)
		}
	})
}
