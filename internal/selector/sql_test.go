package selector

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
)

// hoard keeps the events of a decoder.
type hoard struct{ events []*event.Event }

func (h *hoard) Event(e *event.Event) error { h.events = append(h.events, e.Clone()); return nil }
func (*hoard) Reject(event.Reject) error    { return nil }
func (*hoard) Note(string)                  {}
func (*hoard) Digest([]byte) error          { return nil }

// realEvents are those of the shared logs, none where they are not there.
func realEvents(t *testing.T) []*event.Event {
	h := &hoard{}
	root := filepath.Join("..", "..", "..", "shared", "data", "cloudtrail")
	if _, err := os.Stat(root); err != nil {
		t.Logf("no shared logs: %v; generated events alone", err)
		return nil
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		_ = event.NewDecoder(event.Limits{}).Decode(context.Background(), path, f, h) // some files are no logs
		return f.Close()
	})
	if err != nil || len(h.events) < 1000 {
		t.Fatalf("%d events, %v", len(h.events), err)
	}
	return h.events
}

// madeEvents are events in which what selectors ask for varies, and is missing, null and odd.
func madeEvents(r *rand.Rand, n int) []*event.Event {
	pick := func(texts ...string) string { return texts[r.IntN(len(texts))] }
	member := func(name string, values ...string) string {
		switch r.IntN(6) {
		case 0:
			return ""
		case 1:
			return `"` + name + `":null,`
		}
		return `"` + name + `":` + pick(values...) + `,`
	}
	var out []*event.Event
	for len(out) < n {
		entry := func() string {
			if r.IntN(8) == 0 {
				return pick(`null`, `"x"`, `{}`, `5`)
			}
			return `{` + member("type", `"AWS::S3::Object"`, `"AWS::S3::Bucket"`, `"aws::s3::object"`, `"AWS::Lambda::Function"`) +
				member("ARN", `"arn:aws:s3:::b/a"`, `"arn:aws:s3:::b/it's"`, `"arn:aws:s3:::b/%"`, `"arn:aws:lambda:us-east-1:1:function:f"`, `""`, `7`, `{"a":"arn:aws:s3:::b/a"}`) +
				pick(`"z":1`, `"arn":"arn:aws:s3:::b/a"`) + `}`
		}
		resources := `null`
		switch r.IntN(4) {
		case 0:
			resources = pick(`{}`, `[]`, `"x"`)
		case 1, 2:
			resources = `[` + entry() + `,` + entry() + `]`
		}
		text := `{` + member("eventCategory", `"Management"`, `"Data"`, `"NetworkActivity"`, `"Insight"`, `""`, `"management"`) +
			member("eventSource", `"kms.amazonaws.com"`, `"s3.amazonaws.com"`, `"it's"`, `"KMS.amazonaws.com"`) + member("eventName", `"GetObject"`, `"PutObject"`, `"Get_Object"`, `"\u0047etObject"`, `"é"`) +
			member("eventType", `"AwsApiCall"`, `"AwsVpceEvent"`, `"AwsCloudTrailInsight"`, `"AwsConsoleSignIn"`) + member("readOnly", `true`, `false`, `"true"`, `"False"`, `"maybe"`) +
			member("managementEvent", `true`, `false`) + member("userIdentity", `{"arn":"arn:aws:iam::1:user/a"}`, `{"arn":"arn:aws:iam::1:user/b"}`, `{"type":"Root"}`, `{"arn":null}`) +
			member("sessionCredentialFromConsole", `"true"`, `true`, `"false"`) + member("errorCode", `"VpceAccessDenied"`, `"AccessDenied"`) + member("vpcEndpointId", `"vpce-1"`, `"vpce-2"`) +
			`"resources":` + resources + `}`
		e, err := event.Parse([]byte(text))
		if err != nil {
			panic(text + ": " + err.Error())
		}
		out = append(out, e)
	}
	return out
}

// madeSets are selectors with values from events.
func madeSets(t *testing.T, r *rand.Rand, events []*event.Event, n int) []*Set {
	value := func(f event.Field, none string) string {
		for range 20 {
			if v := events[r.IntN(len(events))].Text(f); v != "" && len(v) < maxValue && !strings.ContainsAny(v, "\x00\n") {
				return v
			}
		}
		return none
	}
	arn := func() string {
		for range 20 {
			got := ""
			events[r.IntN(len(events))].Find(event.ParsePath("resources.ARN"), func(v event.Value) bool { got = v.Text(); return false })
			if got != "" && len(got) < maxValue {
				return got
			}
		}
		return "arn:aws:s3:::b/a"
	}
	list := func(of func() string) []string {
		if r.IntN(3) > 0 {
			return nil
		}
		out := make([]string, 1+r.IntN(3))
		for i := range out {
			out[i] = of()
		}
		return out
	}
	cut := func(v string, start bool) string {
		at := 1 + r.IntN(len(v))
		for at < len(v) && v[at]&0xc0 == 0x80 {
			at++
		}
		if start || at == len(v) {
			return v[:at]
		}
		return v[at:]
	}
	operators := func(name string, of func() string) FieldSelector {
		start, end := func() string { return cut(of(), true) }, func() string { return cut(of(), false) }
		for {
			f := field(name, list(of), list(start), list(end), list(of), list(start), list(end))
			if len(f.clauses()) > 0 {
				return f
			}
		}
	}
	types := []string{"AWS::S3::Object", "AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::KMS::Key", "AWS::DynamoDB::Table"}
	var out []*Set
	for len(out) < n {
		var sel []Advanced
		for range 1 + r.IntN(2) {
			category := []string{Management, Data, NetworkActivity}[r.IntN(3)]
			var fs []FieldSelector
			maybe := func(f FieldSelector) {
				if r.IntN(3) == 0 {
					fs = append(fs, f)
				}
			}
			maybe(operators("eventName", func() string { return value(event.EventName, "GetObject") }))
			if category == NetworkActivity {
				fs = append(fs, field("eventSource", []string{"kms.amazonaws.com"}))
				maybe(field("errorCode", []string{"VpceAccessDenied"}))
				maybe(operators("vpcEndpointId", func() string { return value(event.VPCEndpointID, "vpce-1") }))
			} else {
				maybe(operators("eventSource", func() string { return value(event.EventSource, "s3.amazonaws.com") }))
				maybe(operators("userIdentity.arn", func() string { return value(event.IdentityARN, "arn:aws:iam::1:user/a") }))
				maybe(operators("eventType", func() string { return value(event.EventType, "AwsApiCall") }))
				maybe(field("readOnly", []string{[]string{"true", "false"}[r.IntN(2)]}))
				if r.IntN(2) == 0 {
					maybe(field("sessionCredentialFromConsole", []string{"true"}))
				} else {
					maybe(field("sessionCredentialFromConsole", nil, nil, nil, []string{"true"}))
				}
			}
			if category == Data {
				fs = append(fs, field("resources.type", []string{types[r.IntN(len(types))]}))
				if r.IntN(2) == 0 {
					fs = append(fs, operators("resources.ARN", arn))
				}
			}
			sel = append(sel, of(category, fs...))
		}
		s, err := CompileAdvanced(DataStore, sel)
		if err != nil {
			t.Fatalf("%+v: %v", sel, err)
		}
		out = append(out, s)
	}
	for i := range n / 4 {
		s, err := CompileBasic([]Basic{{
			ReadWriteType: []string{"All", "ReadOnly", "WriteOnly"}[i%3], IncludeManagementEvents: i%2 == 0,
			DataResources: [][]DataResource{nil, {{"AWS::S3::Object", []string{"arn:aws:s3"}}}, {{"AWS::S3::Object", []string{"arn:aws:s3:::b/", "arn:aws:s3:::c/x"}}, {"AWS::Lambda::Function", []string{"arn:aws:lambda"}}}}[r.IntN(3)],
		}})
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	for _, sel := range [][]Advanced{{of(Insight)}, {of(ActivityAuditLog)}, {of(Management)}, {of(Evidence)}} {
		s, err := CompileAdvanced(DataStore, sel)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, s)
	}
	return out
}

// TestSQL: the predicate and the SQL of a set take the same events.
func TestSQL(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	events := append(madeEvents(r, 3000), realEvents(t)...)
	sets := madeSets(t, r, events, 150)
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir, Hot: true})
	for i, e := range events {
		e.Offset = int64(i)
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
	taken, checked := 0, 0
	for at := 0; at < len(sets); at += 20 {
		part := sets[at:min(at+20, len(sets))]
		var cols []string
		for _, s := range part {
			cols = append(cols, "CAST("+s.SQL()+" AS INTEGER)")
		}
		rows, err := engine.Query(t.Context(), "SELECT sourceOffset, "+strings.Join(cols, ", ")+" FROM "+duckdb.Segments, duckdb.QueryOptions{Own: true, Scope: &duckdb.Scope{Files: files}})
		if err != nil {
			t.Fatalf("%v\n%s", err, strings.Join(cols, "\n"))
		}
		n := 0
		var c match.Context
		for {
			values, ok, err := rows.Next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			n++
			var i int
			if _, err := fmt.Sscan(values[0].Text, &i); err != nil {
				t.Fatal(err)
			}
			c.Reset(events[i])
			for k, s := range part {
				checked++
				got := values[k+1].Text
				if want := map[bool]string{true: "1", false: "0"}[c.Match(s.Match())]; got != want {
					t.Fatalf("SQL says %q, the predicate %s\n%s\n%s", got, want, s.SQL(), events[i].Raw)
				}
				if got == "1" {
					taken++
				}
			}
		}
		if err := rows.Close(); err != nil {
			t.Fatal(err)
		}
		if n != len(events) {
			t.Fatalf("%d of %d events", n, len(events))
		}
	}
	if taken < checked/200 {
		t.Errorf("only %d of %d are taken", taken, checked)
	}
	t.Logf("%d events, %d sets, %d taken", len(events), len(sets), taken)
}
