package event

import (
	"strings"
	"testing"
)

const outsideRecord = `{"eventVersion":"1.11","eventCategory":"ActivityAuditLog","eventType":"ActivityLog","eventID":"4b8f9c7a-0000-5000-8000-000000000002",` +
	`"eventTime":"2026-01-10T09:12:41Z","awsRegion":"eu-west-1","recipientAccountId":"111122223333","addendum":null,` +
	`"metadata":{"ingestionTime":"2026-01-10T09:13:00Z","channelARN":"arn:aws:cloudtrail:eu-west-1:111122223333:channel/x","eventName":"no"},` +
	`"eventData":{"version":"1.0","userIdentity":{"type":"Root","principalId":"ana","arn":"arn:aws:iam::111122223333:root","details":{"type":"x"}},` +
	`"userAgent":"agent","eventSource":"wiki.example.com","eventName":"Edit\u0050age","eventTime":"2025-01-01T00:00:00","UID":"u1","requestParameters":{"page":"a"},` +
	`"responseElements":null,"errorCode":"Denied","errorMessage":"no","sourceIPAddress":"192.0.2.1","recipientAccountId":"999999999999","readOnly":true,` +
	`"resources":[],"eventID":"other","additionalEventData":{"k":1}}}`

func TestOutside(t *testing.T) {
	t.Parallel()
	e, err := Parse([]byte(outsideRecord))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"eventName": "EditPage", "eventSource": "wiki.example.com", "userAgent": "agent", "errorCode": "Denied", "errorMessage": "no",
		"sourceIPAddress": "192.0.2.1", "userIdentity.type": "Root", "userIdentity.principalId": "ana", "requestParameters.page": "a",
		"additionalEventData.k": "1", "userIdentity.details.type": "x", "eventData.eventName": "EditPage", "eventData.UID": "u1",
		// What the record itself has counts.
		"eventTime": "2026-01-10T09:12:41Z", "recipientAccountId": "111122223333", "eventID": "4b8f9c7a-0000-5000-8000-000000000002",
		// And nobody from outside passes for an identity of AWS, or for what AWS knows.
		"userIdentity.arn": "-", "userIdentity.accountId": "-", "readOnly": "-", "resources": "-",
	} {
		got := "-"
		e.Find(ParsePath(path), func(v Value) bool { got = v.Text(); return false })
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if e.Get(ResponseElements).Kind() != Null || e.Category() != OutsideCategory || !e.Failed() || e.When().Year() != 2026 || e.Account() != "111122223333" {
		t.Errorf("%v %s %v %v", e.Get(ResponseElements).Kind(), e.Category(), e.Failed(), e.When())
	}
	want := Actor{Kind: ActorExternal, ID: "external:wiki.example.com/ana", Name: "ana", From: "principalId"}
	var cache ActorCache
	if got := e.Actor(); got != want || *cache.Of(e) != want {
		t.Errorf("actor %+v, %+v", got, cache.Of(e))
	}
	// Reset forgets it, and other categories have their own fields alone.
	other := strings.Replace(outsideRecord, `"ActivityAuditLog"`, `"ActivityAuditLob"`, 1)
	if err := e.Reset([]byte(other)); err != nil || e.Name() != "" || e.Get(UserIdentity).Exists() || e.Actor().Kind != ActorUnknown {
		t.Errorf("%v %q %v", err, e.Name(), e.Actor())
	}
	for _, text := range []string{
		`{"eventCategory":"ActivityAuditLog"}`, `{"eventCategory":"ActivityAuditLog","eventData":null}`, `{"eventCategory":"ActivityAuditLog","eventData":"x"}`,
		`{"eventCategory":"ActivityAuditLog","eventData":[{"eventName":"x"}]}`, `{"eventCategory":"ActivityAuditLog","eventData":{"userIdentity":[]}}`,
	} {
		if err := e.Reset([]byte(text)); err != nil || e.Name() != "" || e.Actor().Kind != ActorUnknown {
			t.Errorf("%s: %v %q %v", text, err, e.Name(), e.Actor())
		}
	}
}

// TestOutsideDecoded: what a decoder has learned of other records changes nothing.
func TestOutsideDecoded(t *testing.T) {
	t.Parallel()
	c := &collect{}
	text := `{"Records":[` + record("a") + `,` + outsideRecord + `,` + record("b") + `,` + outsideRecord + `]}`
	if err := NewDecoder(Limits{}).Decode(t.Context(), "x", strings.NewReader(text), c); err != nil || len(c.events) != 4 || len(c.rejects) != 0 {
		t.Fatalf("%v, %d events", err, len(c.events))
	}
	for i, e := range c.events {
		if again, err := Parse(e.Raw); err != nil || again.Name() != e.Name() || again.Actor() != e.Actor() || (i%2 == 1) != (e.Name() == "EditPage") {
			t.Errorf("event %d: %v, %s, %+v", i, err, e.Name(), e.Actor())
		}
	}
}

// BenchmarkReset is the cost of a record from outside beside that of the same without its category.
func BenchmarkReset(b *testing.B) {
	for name, text := range map[string]string{"outside": outsideRecord, "other": strings.Replace(outsideRecord, "ActivityAuditLog", "ActivityAuditLob", 1)} {
		raw := []byte(text)
		b.Run(name, func(b *testing.B) {
			var e Event
			for b.Loop() {
				if err := e.Reset(raw); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
