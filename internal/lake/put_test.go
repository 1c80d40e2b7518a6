package lake

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/selector"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
)

// book is a journal in memory.
type book struct {
	mu      sync.Mutex
	err     error
	appends int
	records []journal.Record
}

func (b *book) Append(_ context.Context, records []journal.Record) (uint64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	b.appends++
	b.records = append(b.records, records...)
	return uint64(b.appends), nil
}

const goodData = `{"version":"1.0","userIdentity":{"type":"User","principalId":"ana","details":{"team":"x"}},"userAgent":"browser","eventSource":"wiki.example.com","eventName":"EditPage",` +
	`"eventTime":"2026-03-09T07:59:00","UID":"u-1","requestParameters":{"page":"Home"},"responseElements":null,"errorCode":"E","errorMessage":"m","sourceIPAddress":"192.0.2.1","recipientAccountId":"111122223333",` +
	`"additionalEventData":{"k":1},"more":"of their own"}`

func sum(data string) string {
	s := sha256.Sum256([]byte(data))
	return base64.StdEncoding.EncodeToString(s[:])
}

func TestPut(t *testing.T) {
	t.Parallel()
	c, b := newClock(), &book{}
	dir := t.TempDir()
	l := open(t, dir, c, func(o *Options) { o.Journal = b })
	s := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "aaa", Selectors: of("ActivityAuditLog")}))
	ch := channelOf(t, l, "wiki", Custom, s)
	arn := l.ChannelARN(ch)
	put := func(events ...AuditEvent) ([]Taken, []Failed, error) {
		return l.Put(t.Context(), PutCall{Where: home, Channel: arn, Events: events})
	}
	if got, err := l.Channel(home, arn); err != nil || got.Ingestion != (Ingestion{}) {
		t.Errorf("%+v %v", got, err)
	}
	c.add(1500 * time.Millisecond)
	taken, failed, err := put(AuditEvent{"one", goodData, sum(goodData)}, AuditEvent{"bad", "{", ""}, AuditEvent{"two", "\n " + goodData + " ", ""})
	if err != nil || len(taken) != 2 || len(failed) != 1 || failed[0].ID != "bad" || taken[0].ID != "one" || taken[1].ID != "two" || b.appends != 1 || len(b.records) != 2 {
		t.Fatalf("%v %v %v, %d appends", taken, failed, err, b.appends)
	}
	r := b.records[0]
	if want := `{"eventVersion":"1.11","eventCategory":"ActivityAuditLog","eventType":"ActivityLog","eventID":"` + taken[0].EventID + `","eventTime":"2026-03-09T07:59:00Z","awsRegion":"eu-west-1","recipientAccountId":"111122223333",` +
		`"metadata":{"ingestionTime":"2026-03-09T08:00:01.500Z","channelARN":"` + arn + `"},"eventData":` + goodData + `}`; string(r.Raw) != want {
		t.Errorf("%s\nwant %s", r.Raw, want)
	}
	if r.Origin.Source != "lake" || r.Origin.Object != "lake:channel/"+ch.ID+"/"+s.ID || !r.Origin.Received.Equal(c.now()) || b.records[1].Origin.Offset != 2 {
		t.Errorf("%+v", r.Origin)
	}
	for _, r := range b.records {
		e, err := event.Parse(r.Raw)
		if err != nil || e.Name() != "EditPage" || e.Actor().ID != "external:wiki.example.com/ana" || e.Category() != selector.ActivityAuditLog {
			t.Errorf("%v: %s", err, r.Raw)
		}
	}
	got, err := l.Channel(home, arn)
	if want := (Ingestion{Success: c.now(), SuccessID: taken[1].EventID, Attempt: c.now(), AttemptID: taken[1].EventID, ErrorCode: "InvalidData"}); err != nil || got.Ingestion != want {
		t.Errorf("%+v, want %+v", got.Ingestion, want)
	}
	// The same event has the same id, another one has not.
	again, _, err := put(AuditEvent{"one", goodData, ""}, AuditEvent{"other", goodData, ""}, AuditEvent{"three", strings.Replace(goodData, "Home", "Hame", 1), ""})
	if err != nil || again[0].EventID != taken[0].EventID || again[1].EventID == taken[0].EventID || again[2].EventID == again[1].EventID || !uuidForm.MatchString(again[0].EventID) || again[0].EventID[14] != '5' {
		t.Errorf("%v %v", again, err)
	}
	// What happened last is known after a restart.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, c, func(o *Options) { o.Journal = b })
	if after, err := l.Channel(home, arn); err != nil || after.Ingestion.AttemptID != again[2].EventID || after.Ingestion.ErrorCode != "" {
		t.Errorf("%+v %v", after.Ingestion, err)
	}
	// A journal that takes nothing fails the events, and not those that were wrong anyway.
	for text, err := range map[string]error{codeEventThrottling: &journal.FullError{Reason: "full"}, codeEventInternal: errors.New("a secret of the disk")} {
		b.err = err
		taken, failed, err := put(AuditEvent{"bad", "{", ""}, AuditEvent{"one", goodData, ""})
		if err != nil || len(taken) != 0 || len(failed) != 2 || failed[0].Code != codeInvalidData || failed[1].Code != text || strings.Contains(failed[1].Message, "secret") {
			t.Errorf("%v %v %v", taken, failed, err)
		}
	}
}

func TestPutCallRefused(t *testing.T) {
	t.Parallel()
	b := &book{}
	l := open(t, t.TempDir(), newClock(), func(o *Options) { o.Journal = b })
	s := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "aaa", Selectors: of("ActivityAuditLog")}))
	ch := channelOf(t, l, "wiki", Custom, s)
	arn := l.ChannelARN(ch)
	good := []AuditEvent{{"one", goodData, ""}}
	for i, x := range []struct {
		call PutCall
		code string
	}{
		{PutCall{home, "arn:x", "", good}, "InvalidChannelARN"},
		{PutCall{home, l.StoreARN(s), "", good}, "InvalidChannelARN"},
		{PutCall{home, strings.Replace(arn, "arn:aws:", "arn:aws-cn:", 1), "", good}, "InvalidChannelARN"},
		{PutCall{home, strings.Replace(arn, ch.ID, "x", 1), "", good}, "InvalidChannelARN"},
		{PutCall{home, strings.Replace(arn, ch.ID, "00000000-0000-4000-8000-000000000000", 1), "", good}, "ChannelNotFound"},
		{PutCall{Where{account, "us-east-1"}, arn, "", good}, "ChannelNotFound"},
		{PutCall{Where{member, region}, arn, "", good}, "ChannelInsufficientPermission"},
		{PutCall{home, arn, "", append(good, good...)}, "DuplicatedAuditEventId"},
		{PutCall{home, arn, "", []AuditEvent{{"one", strings.Repeat(" ", MaxCall) + goodData, ""}}}, CodeTooLarge},
	} {
		taken, failed, err := l.Put(t.Context(), x.call)
		if code(t, err) != x.code || taken != nil || failed != nil {
			t.Errorf("case %d: %v, want %s", i, err, x.code)
		}
	}
	if _, err := l.AddTags(home, arn, []Tag{{Key: ExternalIDTag, Value: "pass"}}); err != nil {
		t.Fatal(err)
	}
	for external, want := range map[string]string{"": "ChannelInsufficientPermission", "pas": "ChannelInsufficientPermission", "pass": ""} {
		if _, _, err := l.Put(t.Context(), PutCall{home, arn, external, good}); code(t, err) != want {
			t.Errorf("externalId %q: %v", external, err)
		}
	}
	if b.appends != 1 {
		t.Errorf("%d appends", b.appends)
	}
}

func TestCheckEvent(t *testing.T) {
	t.Parallel()
	long := func(n int) string { return strings.Repeat("é", n) }
	object := func(n int) string { return `{"k":"` + strings.Repeat("x", n-8) + `"}` }
	for i, c := range []struct{ old, new, code, says string }{
		{`"ana"`, `"ana"`, "", ""},
		{`"errorCode":"E"`, `"errorCode":null`, "", ""},
		{`"E"`, `"` + long(256) + `"`, "", ""},
		{`"E"`, `"` + long(257) + `"`, "FieldTooLong", "errorCode is longer than 256"},
		{`"m"`, `"` + long(257) + `"`, "FieldTooLong", "errorMessage"},
		{`"1.0"`, `"` + long(257) + `"`, "FieldTooLong", "version"},
		{`"User"`, `"` + long(129) + `"`, "FieldTooLong", "userIdentity.type is longer than 128"},
		{`"ana"`, `"` + long(1025) + `"`, "FieldTooLong", "userIdentity.principalId is longer than 1024"},
		{`"browser"`, `"` + long(1025) + `"`, "FieldTooLong", "userAgent"},
		{`"EditPage"`, `"` + long(1024) + `"`, "", ""},
		{`"EditPage"`, `"` + long(1025) + `"`, "FieldTooLong", "eventName"},
		{`{"page":"Home"}`, object(100 << 10), "", ""},
		{`{"page":"Home"}`, object(100<<10 + 1), "FieldTooLong", "requestParameters is longer than 102400 bytes"},
		{`"responseElements":null`, `"responseElements":` + object(100<<10+1), "FieldTooLong", "responseElements"},
		{`{"k":1}`, object(28<<10 + 1), "FieldTooLong", "additionalEventData"},
		{`{"page":"Home"}`, `"Home"`, "InvalidData", "requestParameters is not an object"},
		{`{"team":"x"}`, `[]`, "InvalidData", "userIdentity.details is not an object"},
		{`"E"`, `5`, "InvalidData", "errorCode is not a text"},
		{`"version":"1.0",`, ``, "FieldNotFound", "version"},
		{`"1.0"`, `""`, "FieldNotFound", "version is empty"},
		{`"1.0"`, `null`, "FieldNotFound", "version"},
		{`"userIdentity"`, `"identity"`, "FieldNotFound", "userIdentity"},
		{`"type":"User",`, ``, "FieldNotFound", "userIdentity.type"},
		{`"principalId"`, `"principal"`, "FieldNotFound", "userIdentity.principalId"},
		{`"eventSource"`, `"source"`, "FieldNotFound", "eventSource"},
		{`"eventName"`, `"EventName"`, "FieldNotFound", "eventName"},
		{`"eventTime"`, `"time"`, "FieldNotFound", "eventTime"},
		{`"UID"`, `"uid"`, "FieldNotFound", "UID"},
		{`"recipientAccountId"`, `"x"`, "FieldNotFound", "recipientAccountId"},
		{`"recipientAccountId":"111122223333"`, `"recipientAccountId":"444455556666"`, "InvalidRecipient", "111122223333"},
		{`wiki.example.com`, `iam.amazonaws.com`, "InvalidEventSource", "AWS's own"},
		{`wiki.example.com`, `IAM.AmazonAWS.com`, "InvalidEventSource", "AWS's own"},
		{`wiki.example.com`, `ec2.amazonaws.com.cn`, "InvalidEventSource", "AWS's own"},
		{`wiki.example.com`, `myamazonaws.com`, "", ""},
		{`T07:59:00`, `T07:59:00Z`, "", ""},
		{`T07:59:00`, `T07:59:00.123`, "", ""},
		{`T07:59:00`, ` 07:59:00`, "InvalidData", "eventTime"},
		{`T07:59:00`, `T27:59:00`, "InvalidData", "eventTime"},
		{`2026-`, `1926-`, "InvalidData", "eventTime"},
		{`{"type"`, `{"type":"A","type"`, "InvalidData", "userIdentity"},
		{`{"version"`, `{"version":"0","version"`, "InvalidData", "version\" is there twice"},
		{`{"version"`, `[{"version"`, "InvalidData", "not JSON"},
		{`{"version"`, ` `, "InvalidData", "not JSON"},
		{`"ana"`, "\"\xff\"", "InvalidData", "not JSON"},
		{`{"type":"User","principalId":"ana","details":{"team":"x"}}`, `"ana"`, "InvalidData", "userIdentity is not an object"},
	} {
		data := strings.Replace(goodData, c.old, c.new, 1)
		_, bad := check(AuditEvent{"x", data, ""}, account)
		if bad == nil {
			bad = &Failed{}
		}
		if bad.Code != c.code || !strings.Contains(bad.Message, c.says) || len(bad.Message) > 1024 {
			t.Errorf("case %d: %+v, want %s %s", i, *bad, c.code, c.says)
		}
	}
	for _, data := range []string{"[]", "null", `"x"`, "5", "", "{}"} {
		if _, bad := check(AuditEvent{"x", data, ""}, account); bad == nil || bad.Code != map[bool]string{true: "FieldNotFound", false: "InvalidData"}[data == "{}"] {
			t.Errorf("%s: %+v", data, bad)
		}
	}
	for _, sum := range []string{sum(goodData + " "), "x", "AAAA"} {
		if _, bad := check(AuditEvent{"x", goodData, sum}, account); bad == nil || bad.Code != "InvalidChecksum" {
			t.Errorf("%s: %+v", sum, bad)
		}
	}
	if _, bad := check(AuditEvent{"x", "{", sum("[")}, account); bad == nil || bad.Code != "InvalidChecksum" {
		t.Errorf("%+v", bad)
	}
}

// FuzzPut: whatever is taken is one record of the form that is promised, and found by what it says.
func FuzzPut(f *testing.F) {
	f.Add("one", goodData)
	f.Add("x", `{"version":"1"}`)
	c, b := newClock(), &book{}
	l, err := Open(f.Context(), f.TempDir(), Options{Account: account, Now: c.now, Journal: b})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	s, _, err := l.CreateStore(home, StoreSpec{Name: "aaa", Selectors: of("ActivityAuditLog")})
	if err != nil {
		f.Fatal(err)
	}
	ch := channelOf(f, l, "wiki", Custom, s)
	f.Fuzz(func(t *testing.T, id, data string) {
		b.mu.Lock()
		b.records = nil
		b.mu.Unlock()
		taken, failed, err := l.Put(t.Context(), PutCall{Where: home, Channel: l.ChannelARN(ch), Events: []AuditEvent{{id, data, ""}}})
		if err != nil && len(data) <= MaxCall || err == nil && len(taken)+len(failed) != 1 || len(taken) != len(b.records) {
			t.Fatal(taken, failed, err)
		}
		for _, r := range b.records {
			e, err := event.Parse(r.Raw)
			if err != nil || e.ID() != taken[0].EventID || e.Category() != selector.ActivityAuditLog || e.Account() != account || e.Time == 0 || e.Name() == "" ||
				e.First(event.ParsePath("metadata.channelARN")).Text() != l.ChannelARN(ch) || e.Get(event.IdentityARN).Exists() {
				t.Fatalf("%v: %s", err, r.Raw)
			}
		}
	})
}

// TestConditions: stores show what belongs to them, and nothing else.
func TestConditions(t *testing.T) {
	t.Parallel()
	c, b := newClock(), &book{}
	l := open(t, t.TempDir(), c, func(o *Options) { o.Journal, o.Management, o.Accounts = b, account, []string{account, member} })
	start := c.now()
	mk := func(name string, spec StoreSpec) EventDataStore {
		spec.Name = name
		return must[EventDataStore](t)(l.CreateStore(home, spec))
	}
	s3 := []selector.Advanced{{FieldSelectors: []selector.FieldSelector{{Field: "eventCategory", Equals: []string{"Data"}}, {Field: "resources.type", Equals: []string{"AWS::S3::Object"}}}}}
	stores := map[string]EventDataStore{
		"all":     mk("all", StoreSpec{}),
		"data":    mk("data", StoreSpec{Selectors: s3}),
		"here":    mk("here", StoreSpec{MultiRegion: no}),
		"org":     mk("org", StoreSpec{Organization: true}),
		"short":   mk("short", StoreSpec{Retention: 7}),
		"stopped": mk("stopped", StoreSpec{StartIngestion: no}),
		"paused":  mk("paused", StoreSpec{}),
		"first":   mk("first", StoreSpec{Selectors: of("ActivityAuditLog")}),
		"second":  mk("second", StoreSpec{Selectors: of("ActivityAuditLog")}),
	}
	channel := channelOf(t, l, "wiki", Custom, stores["first"])
	both := channelOf(t, l, "both", "Both", stores["first"], stores["second"])
	var records []journal.Record
	add := func(name string, at time.Time, account, region, more string) {
		text := fmt.Sprintf(`{"eventTime":%q,"eventSource":"x.amazonaws.com","eventName":%q,"recipientAccountId":%q,"awsRegion":%q%s}`, at.Format(time.RFC3339), name, account, region, more)
		records = append(records, journal.Record{Raw: []byte(text), Origin: journal.Origin{Object: "AWSLogs/" + name}})
	}
	management, data := `,"eventCategory":"Management"`, `,"eventCategory":"Data","resources":[{"type":"AWS::S3::Object"}]`
	put := func(name string, ch Channel) {
		if _, failed, err := l.Put(t.Context(), PutCall{Where: home, Channel: l.ChannelARN(ch), Events: []AuditEvent{{name, strings.Replace(goodData, "EditPage", name, 1), ""}}}); err != nil || failed != nil {
			t.Fatal(failed, err)
		}
	}
	add("before", start.Add(-time.Second), account, region, management)
	add("at once", start, account, region, management)
	add("elsewhere", start.Add(time.Hour), account, "us-east-1", management)
	add("member", start.Add(time.Hour), member, region, management)
	add("stranger", start.Add(time.Hour), "777788889999", region, management)
	add("object", start.Add(time.Hour), account, region, data)
	add("forged", start.Add(time.Hour), account, region, `,"eventCategory":"ActivityAuditLog","metadata":{"channelARN":"`+l.ChannelARN(channel)+`"}`)
	put("outside1", channel)
	put("outside2", both)
	must[Channel](t)(l.UpdateChannel(home, channel.ID, ChannelChange{Destinations: []string{stores["second"].ID}}))
	put("outside3", channel)
	if _, err := l.DeleteChannel(home, both.ID); err != nil {
		t.Fatal(err)
	}
	c.add(2 * time.Hour)
	must[EventDataStore](t)(l.SetIngestion(home, stores["paused"].ID, false))
	add("paused", start.Add(2*time.Hour), account, region, management)
	c.add(time.Hour)
	must[EventDataStore](t)(l.SetIngestion(home, stores["paused"].ID, true))
	add("resumed", start.Add(3*time.Hour), account, region, management)
	c.add(7*24*time.Hour - 3*time.Hour + time.Second)
	add("late", c.now(), account, region, management)

	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir, Hot: true})
	for _, r := range append(records, b.records...) {
		e, err := event.Parse(r.Raw)
		if err != nil {
			t.Fatal(err)
		}
		e.File = r.Origin.Object
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, s := range segs {
		files = append(files, filepath.Join(dir, filepath.FromSlash(s.Path)))
	}
	engine, err := duckdb.Open(t.Context(), duckdb.Options{TempDir: t.TempDir(), Dirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}()
	shown := func(account, id string) string {
		t.Helper()
		ds, err := l.DataStores(t.Context(), account, region, []string{strings.ToUpper(id)})
		if err != nil || len(ds) != 1 || ds[0].ID != id {
			t.Fatalf("%+v %v", ds, err)
		}
		where := ds[0].Where
		if where == "" {
			where = "true"
		}
		rows, err := engine.Query(t.Context(), "SELECT eventName FROM "+duckdb.Segments+" WHERE "+where, duckdb.QueryOptions{Own: true, Scope: &duckdb.Scope{Files: files}})
		if err != nil {
			t.Fatalf("%v\n%s", err, where)
		}
		defer func() {
			if err := rows.Close(); err != nil {
				t.Error(err)
			}
		}()
		var names []string
		for {
			values, ok, err := rows.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				slices.Sort(names)
				return strings.Join(names, ", ")
			}
			names = append(names, strings.Clone(values[0].Text))
		}
	}
	for name, want := range map[string]string{
		"all": "at once, elsewhere, late, paused, resumed", "data": "object", "here": "at once, late, paused, resumed", "org": "at once, elsewhere, late, member, paused, resumed",
		"short": "elsewhere, late, paused, resumed", "stopped": "", "paused": "at once, elsewhere, late, resumed", "first": "outside1, outside2", "second": "outside2, outside3",
	} {
		if got := shown(account, stores[name].ID); got != want {
			t.Errorf("%s shows %q, want %q", name, got, want)
		}
	}
	if got, want := strings.Count(shown(account, BuiltInID(account)), ",")+1, len(records)+3; got != want {
		t.Errorf("the built-in store shows %d events, want %d", got, want)
	}
	if got := shown(member, BuiltInID(member)); got != "member" {
		t.Errorf("that of the member shows %q", got)
	}
}
