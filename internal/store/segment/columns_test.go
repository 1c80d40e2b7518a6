package segment_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"

	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/segment/segmenttest"
)

// TestSchemas holds the schemas that are made from the table against each other.
func TestSchemas(t *testing.T) {
	t.Parallel()
	seen := map[int]string{}
	last := 0
	var walk func(prefix string, cols []segment.Column)
	walk = func(prefix string, cols []segment.Column) {
		for _, c := range cols {
			if seen[c.ID] != "" || c.ID == 0 || c.Doc == "" {
				t.Errorf("%s%s: id %d, also of %q; %q", prefix, c.Name, c.ID, seen[c.ID], c.Doc)
			}
			seen[c.ID] = prefix + c.Name
			last = max(last, c.ID)
			walk(prefix+c.Name+".", c.Fields)
		}
	}
	walk("", segment.Columns())
	if last != len(seen) {
		t.Errorf("%d ids up to %d", len(seen), last)
	}
	// A catalog that gives ids anew gives the same ones.
	fresh, err := iceberg.AssignFreshSchemaIDs(segment.IcebergSchema(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if !fresh.Equals(segment.IcebergSchema()) {
		t.Errorf("other ids:\n%s\n%s", fresh, segment.IcebergSchema())
	}
	arrow, err := segment.ArrowSchema()
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range segment.Columns() {
		f := arrow.Field(i)
		if id, _ := f.Metadata.GetValue("PARQUET:field_id"); f.Name != c.Name || id != fmt.Sprint(c.ID) {
			t.Errorf("Arrow field %s with id %s, want %s, %d", f.Name, id, c.Name, c.ID)
		}
	}

	dir := t.TempDir()
	segs := segmenttest.WriteSample(t, dir, 10)
	pq, err := file.OpenParquetFile(filepath.Join(dir, segs[0].Path), false)
	if err != nil {
		t.Fatal(err)
	}
	defer pq.Close()
	for i := range pq.MetaData().Schema.NumColumns() {
		col := pq.MetaData().Schema.Column(i)
		path := strings.ReplaceAll(col.Path(), ".list.", ".")
		if seen[int(col.SchemaNode().FieldID())] != path {
			t.Errorf("%s has id %d", path, col.SchemaNode().FieldID())
		}
	}
}

// TestPublishedIDs pins the ids that files have: none may ever change.
func TestPublishedIDs(t *testing.T) {
	t.Parallel()
	want := map[string]int{"eventVersion": 1, "userIdentity": 2, "eventTime": 39, "requestParameters": 47, "eventID": 51, "resources": 53,
		"tlsDetails": 71, "actor": 79, "account": 85, "accessKeyId": 86, "actorId": 87, "eventDay": 88, "rawBytes": 94}
	for _, c := range segment.Columns() {
		if id, ok := want[c.Name]; ok && id != c.ID {
			t.Errorf("%s has id %d, had %d", c.Name, c.ID, id)
		}
		delete(want, c.Name)
	}
	if len(want) != 0 {
		t.Errorf("gone: %v", want)
	}
}

// typical are records with every field that has a column.
var typical = []string{
	`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLEID:ci-42","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/ci-42","accountId":"111122223333","accessKeyId":"ASIAEXAMPLEKEY","userName":"x",
	"invokedBy":"a.amazonaws.com","identityProvider":"idp","credentialId":"cred","onBehalfOf":{"userId":"u","identityStoreArn":"arn:store"},"inScopeOf":{"sourceArn":"arn:src","sourceAccount":"444455556666","issuerType":"AWS::Lambda::Function","credentialsIssuedTo":"arn:fn"},
	"invokedByDelegate":{"accountId":"777788889999"},
	"sessionContext":{"attributes":{"creationDate":"2026-01-10T09:00:00Z","mfaAuthenticated":"false"},"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEID","arn":"arn:aws:iam::111122223333:role/Deploy","accountId":"111122223333","userName":"Deploy"},
	"sourceIdentity":"ana","ec2RoleDelivery":"2.0","assumedRoot":"true","signInSessionArn":"arn:aws:signin:::session/1","webIdFederationData":{"federatedProvider":"prov","attributes":{"aud": "x"}}}},
	"eventTime":"2026-01-10T09:12:41.25Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.10","userAgent":"aws \"cli\" \u00e4","errorCode":"AccessDenied","errorMessage":"no",
	"requestParameters":{"name":"audit"},"responseElements":[1, 2],"additionalEventData":"text","requestID":"7c0a3e1e-0000-4000-8000-000000000001","eventID":"4b8f9c7a-0000-4000-8000-000000000002","readOnly":false,
	"resources":[{"ARN":"arn:r","accountId":"111122223333","type":"AWS::S3::Object"},{"ARNPrefix":"arn:p"},null,{}],"eventType":"AwsApiCall","apiVersion":"2013-11-01","managementEvent":true,"recipientAccountId":"111122223333","sharedEventID":"s",
	"serviceEventDetails":{"keyId":"1"},"vpcEndpointId":"vpce-1","vpcEndpointAccountId":"111122223333","eventCategory":"Management","addendum":{"reason":"DELIVERY_DELAY"},"sessionCredentialFromConsole":"true","edgeDeviceDetails":{"a":1},
	"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"h","keyExchange":"x25519"},"insightDetails":{"state":"Start"},"eventContext":{"a":{}},"annotation":"note"}`,
	`{"userIdentity":{"type":"AWSService","invokedBy":"x.amazonaws.com"},"eventTime":"2026-01-10T10:00:00Z","eventName":"A","requestParameters":null,"responseElements":null,"tlsDetails":{},"resources":[]}`,
	`{"userIdentity":{"accountId":111122223333,"sessionContext":{"sessionIssuer":{},"attributes":null}},"eventTime":"2026-01-10T11:00:00Z","eventName":true,"errorCode":{"a":1},"readOnly":"TRUE","managementEvent":0,"tlsDetails":5,"apiVersion":1.5}`,
}

// TestColumns holds every column of every row against what encoding/json makes of the record.
func TestColumns(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir, RowGroup: 500})
	for i, raw := range typical {
		e := parse(t, raw)
		e.File, e.Offset = "some/file", int64(i+1)
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	segmenttest.Events(t, 600, func(e *event.Event) {
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	})
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	rows := 0
	filled := map[string]bool{}
	for _, s := range segs {
		records := readAll(t, dir, []segment.Segment{s}, time.Time{}, time.Time{})
		for i, got := range arrowRows(t, filepath.Join(dir, s.Path)) {
			want := expected(t, &records[i])
			compare(t, string(records[i].Raw), "", segment.Columns(), got, want, filled)
			rows++
		}
	}
	if rows != len(typical)+600 {
		t.Errorf("%d rows", rows)
	}
	var walk func(prefix string, cols []segment.Column)
	walk = func(prefix string, cols []segment.Column) {
		for _, c := range cols {
			if path := prefix + c.Name; !filled[path] && path != "rawBytes" {
				t.Errorf("%s is null in every row: nothing was tested", path)
			}
			walk(prefix+c.Name+".", c.Fields)
		}
	}
	walk("", segment.Columns())
}

// arrowRows reads a file with the Arrow reader, which knows nothing of this package, as JSON values.
func arrowRows(t *testing.T, name string) []map[string]any {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tab, err := pqarrow.ReadTable(t.Context(), f, nil, pqarrow.ArrowReadProperties{BatchSize: 1 << 20}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	defer tab.Release()
	var out []map[string]any
	r := array.NewTableReader(tab, 1<<20)
	defer r.Release()
	for r.Next() {
		text, err := r.RecordBatch().MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var rows []map[string]any
		if err := json.Unmarshal(text, &rows); err != nil {
			t.Fatal(err)
		}
		out = append(out, rows...)
	}
	return out
}

// expected makes the row of a record without package segment: from its JSON by encoding/json, and the actor.
func expected(t *testing.T, rec *segment.Record) map[string]any {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(rec.Raw, &all); err != nil {
		t.Fatal(err)
	}
	out := fields(t, segment.Columns(), all)
	e := parse(t, string(rec.Raw))
	a := e.Actor()
	var plain struct {
		EventTime          time.Time
		RecipientAccountID string
		UserIdentity       struct {
			AccountID   any
			AccessKeyID string
		}
	}
	if err := json.Unmarshal(rec.Raw, &plain); err != nil {
		t.Fatal(err)
	}
	out["eventTime"] = plain.EventTime.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
	out["eventDay"] = plain.EventTime.UTC().Format(time.DateOnly)
	out["actor"] = map[string]any{"kind": string(a.Kind), "id": a.ID, "name": a.Name, "account": orNil(a.Account), "session": orNil(a.Session)}
	out["actorId"] = a.ID
	out["accessKeyId"] = orNil(plain.UserIdentity.AccessKeyID)
	out["account"] = orNil(plain.RecipientAccountID)
	if s, ok := plain.UserIdentity.AccountID.(string); ok && plain.RecipientAccountID == "" {
		out["account"] = s
	} else if n, ok := plain.UserIdentity.AccountID.(float64); ok {
		out["account"] = fmt.Sprint(int64(n))
	}
	out["sourceObject"], out["sourceOffset"] = rec.File, float64(rec.Offset)
	out["rawBytes"] = nil
	// The record: whole, or the two parts around the columns.
	if !strings.Contains(string(rec.Raw), `,"responseElements":`) || !strings.Contains(string(rec.Raw), `,"eventID":"`) {
		out["raw"], out["rawHead"], out["rawTail"] = string(rec.Raw), nil, nil
		return out
	}
	raw := string(rec.Raw)
	params := strings.Index(raw, `"requestParameters":`) + len(`"requestParameters":`)
	tail := strings.Index(raw, `,"eventID":"`) + len(`,"eventID":"`)
	tail += strings.IndexByte(raw[tail:], '"')
	out["raw"], out["rawHead"], out["rawTail"] = nil, raw[:params], raw[tail:]
	return out
}

func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// fields converts the members of an object to the types of columns.
func fields(t *testing.T, cols []segment.Column, members map[string]json.RawMessage) map[string]any {
	t.Helper()
	out := map[string]any{}
	for _, c := range cols {
		raw, ok := members[c.Name]
		if !ok || string(raw) == "null" {
			out[c.Name] = nil
			continue
		}
		var v any
		d := json.NewDecoder(strings.NewReader(string(raw)))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			t.Fatal(err)
		}
		out[c.Name] = nil
		switch c.Type {
		case segment.JSON:
			out[c.Name] = string(raw)
		case segment.Text:
			switch v := v.(type) {
			case string:
				out[c.Name] = v
			case json.Number, bool:
				out[c.Name] = fmt.Sprint(v)
			}
		case segment.Bool:
			switch v := v.(type) {
			case bool:
				out[c.Name] = v
			case string:
				if s := strings.ToLower(v); s == "true" || s == "false" {
					out[c.Name] = s == "true"
				}
			}
		case segment.Struct:
			if _, ok := v.(map[string]any); ok {
				var inner map[string]json.RawMessage
				if err := json.Unmarshal(raw, &inner); err != nil {
					t.Fatal(err)
				}
				out[c.Name] = fields(t, c.Fields, inner)
			}
		case segment.List:
			var items []json.RawMessage
			if err := json.Unmarshal(raw, &items); err != nil {
				continue
			}
			list := []any{}
			for _, item := range items {
				list = append(list, fields(t, c.Fields, map[string]json.RawMessage{"element": item})["element"])
			}
			out[c.Name] = list
		}
	}
	return out
}

// compare reports what differs, and notes the columns that are not null.
func compare(t *testing.T, raw, prefix string, cols []segment.Column, got, want map[string]any, filled map[string]bool) {
	t.Helper()
	for _, c := range cols {
		g, w := got[c.Name], want[c.Name]
		if g != nil {
			filled[prefix+c.Name] = true
		}
		gm, gok := g.(map[string]any)
		wm, wok := w.(map[string]any)
		if gok && wok {
			compare(t, raw, prefix+c.Name+".", c.Fields, gm, wm, filled)
			continue
		}
		gl, gok := g.([]any)
		wl, wok := w.([]any)
		if gok && wok && len(gl) == len(wl) {
			for i := range gl {
				compare(t, raw, prefix+c.Name+".", c.Fields, map[string]any{"element": gl[i]}, map[string]any{"element": wl[i]}, filled)
			}
			continue
		}
		if s, ok := g.(string); ok && c.Type == segment.Time {
			at, err := time.Parse(time.RFC3339Nano, s)
			if err != nil {
				t.Fatal(err)
			}
			g = at.UTC().Format(time.RFC3339Nano)
		}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s%s is %#v, want %#v, in %.2000s", prefix, c.Name, g, w, raw)
		}
	}
}

// TestOtherForms checks rows of records whose keys are not as CloudTrail writes them, or that are not text.
func TestOtherForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		raw  string
		want map[string]any
	}{
		{`{"EVENTNAME":"A","Resources":[{"arn":"x","ARN":"y"},{"arn":"z"}]}`, map[string]any{"eventName": "A",
			"resources": []any{map[string]any{"ARN": "y", "ARNPrefix": nil, "accountId": nil, "type": nil}, map[string]any{"ARN": "z", "ARNPrefix": nil, "accountId": nil, "type": nil}}}},
		{`{"eventName":"A","eventName":"B"}`, map[string]any{"eventName": "B"}},
		{"{\"eventName\":\"A\xffB\"}", map[string]any{"eventName": "A\uFFFDB", "raw": "{\"eventName\":\"A\uFFFDB\"}", "rawBytes": "eyJldmVudE5hbWUiOiJB/0IifQ=="}},
		{`{"eventName":"\ud800"}`, map[string]any{"eventName": "\uFFFD", "rawBytes": nil}},
		{`{"eventName":""}`, map[string]any{"eventName": "", "account": nil, "eventTime": nil, "eventDay": "1970-01-01"}},
		{`{"eventTime":"1969-12-31T23:59:59.9999999Z"}`, map[string]any{"eventDay": "1969-12-31", "eventTime": "1969-12-31T23:59:59.999999Z"}},
		{`{"userIdentity.arn":"dotted"}`, map[string]any{"accessKeyId": nil}},
	} {
		dir := t.TempDir()
		w := segment.NewWriter(segment.Options{Dir: dir})
		if err := w.Add(parse(t, c.raw), nil); err != nil {
			t.Fatal(err)
		}
		segs, err := w.Flush(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		row := arrowRows(t, filepath.Join(dir, segs[0].Path))[0]
		for col, want := range c.want {
			if got := row[col]; !reflect.DeepEqual(got, want) {
				t.Errorf("%q: %s is %#v, want %#v", c.raw, col, got, want)
			}
		}
		if strings.Contains(c.raw, "dotted") {
			if id, ok := row["userIdentity"].(map[string]any); !ok || id["arn"] != "dotted" || id["sessionContext"] != nil {
				t.Errorf("%q: userIdentity is %#v", c.raw, row["userIdentity"])
			}
		}
	}
}

var update = flag.Bool("update", false, "write the table of columns into docs/formats/store.md")

// TestMarkdown keeps the documentation in step with the table.
func TestMarkdown(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- columns: written by go test ./internal/store/segment -run Markdown -update -->\n\n", "\n<!-- end of columns -->"
	name := filepath.Join("..", "..", "..", "docs", "formats", "store.md")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	table, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the columns", name)
	}
	if want := segment.Markdown(); table != want {
		if !*update {
			t.Fatalf("%s is behind the table of columns: run this test with -update", name)
		}
		if err := os.WriteFile(name, []byte(before+begin+want+end+after), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if squeeze := strings.NewReplacer(" ", "", "\n", ""); !strings.Contains(squeeze.Replace(string(text)), "```sql"+squeeze.Replace(segment.RawSQL)+"```") {
		t.Errorf("%s has another expression for the record than %s", name, segment.RawSQL)
	}
	for line := range strings.Lines(segment.Markdown()) {
		if strings.Count(line, "|") != 6 {
			t.Errorf("a bar in a description: %s", line)
		}
	}
}
