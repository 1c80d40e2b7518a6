package lineage

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
)

const (
	home   = "111122223333"
	other  = "444455556666"
	abroad = "999988887777" // of which no data are there
)

type obj = map[string]any

// at is a time of the day of the tests.
func at(clock string) string { return "2026-01-10T" + clock + "Z" }

// logs builds records.
type logs struct {
	n       int
	records []obj
}

// add adds a record with what is usual; fields override it. The id of the event is returned.
func (l *logs) add(account, when, source, call string, identity obj, fields obj) string {
	l.n++
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", l.n)
	r := obj{
		"eventVersion": "1.11", "userIdentity": identity, "eventTime": when, "eventSource": source, "eventName": call, "awsRegion": "us-east-1",
		"sourceIPAddress": "192.0.2.10", "userAgent": "aws-cli/2.36.7", "requestID": "R-" + id, "eventID": id, "readOnly": strings.HasPrefix(call, "Get") || strings.HasPrefix(call, "List"),
		"eventType": "AwsApiCall", "managementEvent": true, "recipientAccountId": account, "eventCategory": "Management",
	}
	for k, v := range fields {
		r[k] = v
	}
	l.records = append(l.records, r)
	return id
}

// begin adds records that say that the data of the accounts begin at midnight.
func (l *logs) begin(accounts ...string) {
	for _, a := range accounts {
		l.add(a, at("00:00:00"), "kms.amazonaws.com", "RotateKey", obj{"type": "AWSService", "invokedBy": "kms.amazonaws.com", "accountId": a}, nil)
	}
}

func user(account, name, key string) obj {
	return obj{"type": "IAMUser", "principalId": "AIDA" + strings.ToUpper(name), "arn": "arn:aws:iam::" + account + ":user/" + name, "accountId": account, "accessKeyId": key, "userName": name}
}

func role(account, name, session, key, began string) obj {
	return obj{
		"type": "AssumedRole", "principalId": "AROA" + strings.ToUpper(name) + ":" + session, "arn": "arn:aws:sts::" + account + ":assumed-role/" + name + "/" + session, "accountId": account, "accessKeyId": key,
		"sessionContext": obj{
			"sessionIssuer": obj{"type": "Role", "principalId": "AROA" + strings.ToUpper(name), "arn": "arn:aws:iam::" + account + ":role/" + name, "accountId": account, "userName": name},
			"attributes":    obj{"creationDate": began, "mfaAuthenticated": "false"},
		},
	}
}

// session gives an identity with a session of its own, such as of GetSessionToken or the console.
func session(identity obj, began string) obj {
	identity["sessionContext"] = obj{"attributes": obj{"creationDate": began, "mfaAuthenticated": "true"}}
	return identity
}

// taken are the request and the answer of a call that gives a session of a role.
func taken(account, name, session, key string) obj {
	answer := obj{"assumedRoleUser": obj{"assumedRoleId": "AROA" + strings.ToUpper(name) + ":" + session, "arn": "arn:aws:sts::" + account + ":assumed-role/" + name + "/" + session}}
	if key != "" {
		answer["credentials"] = obj{"accessKeyId": key, "sessionToken": "T", "expiration": "Jan 10, 2026, 12:00:00 PM"}
	}
	return obj{"requestParameters": obj{"roleArn": "arn:aws:iam::" + account + ":role/" + name, "roleSessionName": session}, "responseElements": answer, "readOnly": true}
}

// made are the request and the answer of CreateAccessKey.
func made(user, key string) obj {
	return obj{"requestParameters": obj{"userName": user}, "responseElements": obj{"accessKey": obj{"userName": user, "accessKeyId": key, "status": "Active"}}, "readOnly": false}
}

func with(fields obj, more ...any) obj {
	out := obj{}
	for k, v := range fields {
		out[k] = v
	}
	for i := 0; i < len(more); i += 2 {
		out[more[i].(string)] = more[i+1]
	}
	return out
}

// engine writes the records as segments, and opens an engine over them.
func (l *logs) engine(t testing.TB) *duckdb.Engine {
	t.Helper()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir})
	for i, r := range l.records {
		raw, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		e, err := event.Parse(raw)
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		e.File = "test.json"
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	return openEngine(t, dir, w)
}

// openEngine opens an engine over what was added to w.
func openEngine(t testing.TB, dir string, w *segment.Writer) *duckdb.Engine {
	t.Helper()
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, s := range segs {
		files = append(files, filepath.Join(dir, filepath.FromSlash(s.Path)))
	}
	e, err := duckdb.Open(t.Context(), duckdb.Options{Files: files, TempDir: t.TempDir(), Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// trace asks, and checks what holds for every report.
func (l *logs) trace(t testing.TB, asked string, opts Options) *Report {
	t.Helper()
	return ask(t, l.engine(t), asked, opts)
}

func ask(t testing.TB, e *duckdb.Engine, asked string, opts Options) *Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	r, err := Trace(ctx, e, asked, opts)
	if err != nil {
		t.Fatal(err)
	}
	check(t, r)
	return r
}

// check sees that the trees of a report are trees, that every origin is explained, and that it can be written.
func check(t testing.TB, r *Report) {
	t.Helper()
	seen := map[*Node]bool{}
	var walk func(n *Node)
	walk = func(n *Node) {
		if seen[n] {
			t.Fatalf("%s is twice in the trees", n.Key)
		}
		seen[n] = true
		if n.Origin.Certainty == "" {
			t.Errorf("nothing is said about the origin of %s %s", n.Kind, n.Key)
		}
		if (n.Origin.Certainty == Unknown || n.Origin.Certainty == Ambiguous) && (n.Origin.Reason == "" || n.Origin.Text == "") {
			t.Errorf("no reason why the origin of %s is not known", n.Key)
		}
		for _, c := range n.Minted {
			walk(c)
		}
	}
	for _, n := range r.Roots {
		walk(n)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
	var b strings.Builder
	if err := r.Text(&b, 120); err != nil {
		t.Error(err)
	}
}

// shape writes trees in short: what minted, how sure, and of whom.
func shape(r *Report) string {
	var b strings.Builder
	var walk func(n *Node, depth int)
	walk = func(n *Node, depth int) {
		b.WriteString(strings.Repeat("  ", depth))
		if n.Origin.Event != nil {
			b.WriteString(n.Origin.Event.Name + " ")
		}
		b.WriteString(string(n.Origin.Certainty))
		if n.Origin.Reason != "" {
			b.WriteString(" " + string(n.Origin.Reason))
		}
		b.WriteString(": " + title(n, false))
		if n.Key != "" {
			b.WriteString(" " + n.Key)
		}
		if n.Target {
			b.WriteString(" <")
		}
		b.WriteString("\n")
		for _, c := range n.Minted {
			walk(c, depth+1)
		}
		for _, g := range n.Groups {
			fmt.Fprintf(&b, "%s%d of %s by %s\n", strings.Repeat("  ", depth+1), g.Sessions, g.Target, g.Call)
		}
		if n.Hidden > 0 {
			fmt.Fprintf(&b, "%s%d more\n", strings.Repeat("  ", depth+1), n.Hidden)
		}
	}
	for _, n := range r.Roots {
		walk(n, 0)
	}
	return b.String()
}
