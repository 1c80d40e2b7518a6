package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"spoor/internal/journal"
	"spoor/internal/source"
	"spoor/internal/source/live"
)

// service is a server that answers paths below the API with texts; "STATUS text" is a problem.
func service(t *testing.T, answers map[string]string) (flags []string, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		path := r.Method + " " + strings.TrimPrefix(r.RequestURI, "/api/v1")
		*asked = append(*asked, strings.TrimSpace(path+" "+string(body)))
		text, ok := answers[path]
		if !ok {
			bare, _, _ := strings.Cut(path, "?")
			if text, ok = answers[bare]; !ok {
				text = "404 there is nothing at " + path
			}
		}
		var status int
		if n, _ := fmt.Sscanf(text, "%3d ", &status); n == 1 && status >= 400 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"status":%d,"code":"code","detail":%q}`, status, text[4:])
			return
		}
		if rest, ok := strings.CutPrefix(text, "tail "); ok {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, rest)
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		if rest, ok := strings.CutPrefix(text, "broken "); ok {
			fmt.Fprint(w, rest)
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		text, trailers, told := strings.Cut(text, " trailers ")
		if told {
			w.Header().Set("Trailer", "Spoor-Rows, Spoor-More, Spoor-Damaged")
		}
		fmt.Fprint(w, text)
		for line := range strings.SplitSeq(trailers, "|") {
			if name, value, ok := strings.Cut(line, "="); ok {
				w.Header().Set(name, value)
			}
		}
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("spoor_secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--server", s.URL, "--token-file", token}, asked
}

// ran is what a command did.
type ran struct {
	code     int
	out, err string
}

func spoorAt(t *testing.T, flags []string, args ...string) ran {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	code := Run(ctx, append(args, flags...), strings.NewReader(""), &out, &errs)
	return ran{code, out.String(), errs.String()}
}

// wants checks the exit code, and that texts stand in the output, in their order.
func (r ran) wants(t *testing.T, code int, out ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.out, r.err)
	}
	text := r.out + r.err
	for _, want := range out {
		_, after, ok := strings.Cut(text, want)
		if !ok {
			t.Errorf("no %q, in its place, in\n%s%s", want, r.out, r.err)
			return
		}
		text = after
	}
	if strings.Contains(r.out+r.err, "spoor_secret") || strings.Contains(r.out+r.err, "\x1b") {
		t.Errorf("a secret or an escape sequence in\n%s%s", r.out, r.err)
	}
}

// readSource makes the folder of a source that read, and could not read, objects. It stays open until the test ends.
func readSource(t *testing.T, data, name string, bad bool) {
	t.Helper()
	c, err := live.Open(live.Options{Name: name, Dir: filepath.Join(data, "sources", name), Accept: live.AcceptFunc(func(context.Context, []journal.Record) error { return nil })})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now().UTC().Truncate(time.Hour)
	for h := 12; h > 0; h-- {
		if h == 5 || h == 4 {
			continue
		}
		at := now.Add(-time.Duration(h) * time.Hour)
		key := "AWSLogs/111122223333/CloudTrail/eu-central-1/" + at.Format("2006/01/02") + "/111122223333_CloudTrail_eu-central-1_" + at.Format("20060102T1504Z") + "_abcdefghijklmnop.json"
		obj := source.Object{Name: "bucket/" + key, Place: source.ParseKey(key)}
		text := fmt.Sprintf(`{"Records":[{"eventVersion":"1.08","eventSource":"iam.amazonaws.com","eventName":"GetUser","eventID":"e%d","eventTime":%q,"awsRegion":"eu-central-1","recipientAccountId":"111122223333"}]}`, h, at.Format(time.RFC3339))
		r, err := c.Read(t.Context(), obj, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		c.Settle(r, nil, nil)
	}
	if bad {
		c.Settle(c.Unread(source.Object{Name: "bucket/\x1b[2Jbad.json.gz"}), errors.New("gzip: invalid header"), nil)
		if err := c.Bury(live.Letter{Object: "bucket/\x1b[2Jbad.json.gz", Reason: "gzip: invalid header", Attempts: 5}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Save(); err != nil {
		t.Fatal(err)
	}
}

// TestCoverageOfFolder reads ledgers while their sources have them open.
func TestCoverageOfFolder(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	flags := []string{"--data", data}
	spoorAt(t, flags, "coverage").wants(t, ExitIncomplete, "NOT WHOLE: there is no source.\n")
	readSource(t, data, "good", false)
	got := spoorAt(t, flags, "coverage")
	got.wants(t, ExitClean, "WHOLE: everything that 1 source took up since ", " was read: 10 objects, 10 records.\n", "without asking a server",
		"Silent hours", "good  111122223333 eu-central-1  ", ", 2 hours\n", "SOURCE", "good    111122223333  eu-central-1  ", "10 of 12")
	if strings.Contains(got.out, "Missing") {
		t.Error(got.out)
	}
	readSource(t, data, "trail", true)
	spoorAt(t, flags, "coverage").wants(t, ExitIncomplete, "NOT WHOLE: 1 object could not be read.\n", "\nMissing\n  trail\n", "1 object could not be read: 1 wait as dead letters, 0 were given up",
		"bad.json.gz: gzip: invalid header", "spoor sources replay trail ", "SOURCE")
	spoorAt(t, flags, "coverage", "--source", "good", "--hours", "--since", "all").wants(t, ExitClean, "WHOLE: everything that 1 source took up ever was read", "HOUR", "good    111122223333  eu-central-1  ")
	spoorAt(t, flags, "coverage", "--source", "none").wants(t, ExitUsage, `there is no source "none"`)
	spoorAt(t, flags, "coverage", "--json").wants(t, ExitIncomplete, `"whole": false`, `"missingObjects": 1`, `"cells": [`)
	if err := os.WriteFile(filepath.Join(data, "sources", "good", "ledger-2099-01-01.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	spoorAt(t, flags, "coverage").wants(t, ExitIncomplete, "NOT WHOLE: 1 object could not be read, the ledger of 1 source cannot be trusted.\n", "its ledger cannot be read: ", "ledger-2099-01-01.json")
	spoorAt(t, []string{"--data", filepath.Join(data, "none")}, "coverage").wants(t, ExitUsage, "no data folder")
	spoorAt(t, append(flags, "--server", "http://127.0.0.1:1"), "coverage").wants(t, ExitUsage, "either --server, or a data folder")
	spoorAt(t, flags, "coverage", "--since", "soon").wants(t, ExitUsage, "--since")
}

const ledgerText = `{"objects":{"listed":2,"read":2,"skipped":0,"failed":0},"records":{"seen":4,"kept":4,"duplicate":0,"filtered":0,"rejected":0,"other":0},"bytes":{},
"skippedReasons":[],"failures":[],"rejects":[],"notes":[],"cells":[],"balanced":true}`

func TestCoverageOfServer(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"GET /sources": `{"items":[{"name":"trail","kind":"sqs","state":"running","deadLetters":0,"backlog":7}]}`,
		"GET /ledger":  `{"items":[{"source":"trail","ledger":` + ledgerText + `},{"source":"gone","ledger":` + ledgerText + `}]}`,
		"GET /journal": `{"followers":[{"name":"store","lost":0,"ageSeconds":1}]}`,
	}
	flags, asked := service(t, answers)
	spoorAt(t, flags, "coverage", "--since", "2026-01-10").wants(t, ExitClean, "WHOLE so far: everything that 2 sources took up since 2026-01-10 was read: 4 objects, 8 records; 7 to read.\nAsked http://127.0.0.1:",
		"Notes\n  gone: it is disabled in the configuration\n  trail: 7 wait to be read\n")
	if want := "GET /ledger?since=2026-01-10T00%3A00%3A00Z"; (*asked)[1] != want {
		t.Errorf("asked %q", *asked)
	}
	answers["GET /journal"] = "403 you may not"
	spoorAt(t, flags, "coverage").wants(t, ExitClean, "WHOLE", "the journal was not asked")
	answers["GET /journal"] = `{"lostAtEnd":1,"followers":[{"name":"store","lost":12,"ageSeconds":7200}]}`
	spoorAt(t, flags, "coverage").wants(t, ExitIncomplete, "NOT WHOLE: the journal lost 1 entry at its end", "12 entries of the journal could not be read by its follower store", "Notes\n  the follower store of the journal is 2h0m0s behind")
	answers["GET /sources"] = `{"items":[{"name":"trail","kind":"sqs","state":"failed","error":"no such\u001b queue","deadLetters":2},{"name":"push","state":"paused"}]}`
	answers["GET /sources/trail/dead-letters"] = `{"items":[{"id":"0f","object":"o1","reason":"broken","at":"2099-01-01T00:00:00Z"},{"id":"1f","object":"o2","reason":"cut","at":"2099-01-01T00:00:00Z"}]}`
	spoorAt(t, flags, "coverage").wants(t, ExitIncomplete, "NOT WHOLE: 2 objects could not be read, 2 sources not reading, the journal lost", "Missing\n", "  push\n", "paused", "spoor sources resume push", "  trail\n",
		"it does not read: no such", "o1: broken\n        spoor sources replay trail 0f\n", "o2: cut")
	answers["GET /ledger"] = "503 starting"
	answers["GET /sources"] = "401 the token has expired"
	spoorAt(t, flags, "coverage").wants(t, ExitFailure, "does not take the token: the token has expired")
}

func TestSources(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"GET /sources":                           `{"items":[{"name":"a","kind":"s3","state":"running","recordsPerSecond":1.5,"backlog":-1},{"name":"b","kind":"sqs","state":"failed","error":"no such queue","deadLetters":1200}]}`,
		"GET /sources/b":                         `{"name":"b","kind":"sqs","state":"failed","error":"no such queue","deadLetters":3,"records":12345}`,
		"GET /sources/b/dead-letters":            `{"items":[{"id":"0f","object":"o1\u001b","reason":"broken","attempts":5,"at":"2026-01-10T00:00:00Z"},{"id":"1f","object":"o2"}]}`,
		"GET /sources/a/dead-letters":            `{"items":[]}`,
		"POST /sources/b/dead-letters/0f/replay": ``,
		"POST /sources/b/dead-letters/1f/replay": `409 the dead letter still cannot be read: cut`,
		"DELETE /sources/b/dead-letters/0f":      ``,
		"POST /sources/b/pause":                  `{"name":"b","state":"paused"}`,
		"POST /sources/b/resume":                 `403 ann may not ResumeSource`,
	}
	flags, asked := service(t, answers)
	spoorAt(t, flags, "sources").wants(t, ExitIncomplete, "NAME", "a     s3    running  1.5        ?", "b     sqs   FAILED", "1 200", "b: failed: no such queue", "spoor sources dead-letters b")
	spoorAt(t, flags, "sources", "b").wants(t, ExitIncomplete, "b: sqs, failed\n", "12 345 accepted", "no such queue")
	spoorAt(t, flags, "sources", "c").wants(t, ExitUsage, "there is nothing at GET /sources/c")
	spoorAt(t, flags, "sources", "--json").wants(t, ExitIncomplete, `"state": "running"`)
	spoorAt(t, flags, "sources", "dead-letters", "a").wants(t, ExitClean, "There is none")
	spoorAt(t, flags, "sources", "dead-letters", "a", "--json").wants(t, ExitClean, "[]")
	spoorAt(t, flags, "sources", "dead-letters", "b").wants(t, ExitIncomplete, "ID", "0f  2026-01-10T00:00:00Z  5      o1", "broken")
	spoorAt(t, flags, "sources", "replay", "b", "0f").wants(t, ExitClean, "1 dead letter replayed.\n")
	spoorAt(t, flags, "sources", "replay", "b", "--all").wants(t, ExitIncomplete, "1 dead letter replayed, 1 not.\n", "1f: the dead letter still cannot be read: cut")
	spoorAt(t, flags, "sources", "discard", "b", "0f").wants(t, ExitClean, "1 dead letter discarded.\n")
	spoorAt(t, flags, "sources", "replay", "b").wants(t, ExitUsage, "or --all")
	spoorAt(t, flags, "sources", "replay", "b", "0f", "--all").wants(t, ExitUsage, "or --all")
	spoorAt(t, flags, "sources", "discard", "b", "zz").wants(t, ExitUsage, "0 dead letters discarded", "there is nothing at DELETE")
	spoorAt(t, flags, "sources", "pause", "b").wants(t, ExitClean, "b is paused.\n")
	spoorAt(t, flags, "sources", "resume", "b").wants(t, ExitFailure, "ann may not ResumeSource")
	if strings.Count(strings.Join(*asked, "\n"), "replay") != 3 {
		t.Errorf("asked %q", *asked)
	}
}

const eventText = `{"id":%q,"record":{"eventTime":"2026-01-10T09:00:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","eventID":%[1]q}}`

func page(next string, ids ...string) string {
	var events []string
	for _, id := range ids {
		events = append(events, fmt.Sprintf(eventText, id))
	}
	return `{"events":[` + strings.Join(events, ",") + `],"next":"` + next + `"}`
}

func TestSearchServer(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"GET /events?limit=1000&order=oldest&term=eventName%3DCreate%2A":                         page("c1", "e1", "e2"),
		"GET /events?cursor=c1&limit=998&order=oldest&term=eventName%3DCreate%2A":                page("", "e3"),
		"GET /events?limit=2&order=oldest&term=eventName%3DCreate%2A":                            page("c1", "e1", "e2"),
		"GET /events?account=1&limit=1000&order=oldest&since=2026-01-10T00%3A00%3A00Z&term=none": page(""),
		"GET /events?limit=1000&order=oldest&term=damaged":                                       `{"events":[],"damaged":[{"file":"x.parquet","what":"cut off"}]}`,
		"GET /events?limit=1000&order=oldest&term=%21":                                           "422 cannot search for that",
		"GET /histogram": `{"total":42}`,
	}
	flags, _ := service(t, answers)
	got := spoorAt(t, flags, "search", "eventName=Create*")
	got.wants(t, ExitClean, "2026-01-10T09:00:00Z", "iam:CreateUser", "e1\n", "e2\n", "e3\n")
	if strings.Count(got.out, "\n") != 3 {
		t.Error(got.out)
	}
	spoorAt(t, flags, "search", "eventName=Create*", "--limit", "2", "--format", "raw").wants(t, ExitClean, `{"eventTime":"2026-01-10T09:00:00Z"`, `"e1"}`+"\n", `"e2"}`+"\n", "there are more matches")
	spoorAt(t, flags, "search", "none", "--since", "2026-01-10", "--account", "1").wants(t, ExitFindings)
	spoorAt(t, flags, "search", "damaged").wants(t, ExitIncomplete, "damaged, left out: x.parquet: cut off")
	spoorAt(t, flags, "search", "!").wants(t, ExitUsage, "cannot search for that")
	spoorAt(t, flags, "search", "x", "--count").wants(t, ExitClean, "42\n")
	spoorAt(t, flags, "search", "x", "--temp-dir", "/tmp").wants(t, ExitUsage, "--temp-dir: a server has no use for it")
}

func TestQueryServer(t *testing.T) {
	t.Parallel()
	answers := map[string]string{"POST /query": "a\n─\n1\x1b\n trailers Spoor-Rows=1|Spoor-More=false"}
	flags, asked := service(t, answers)
	sql := "SELECT 1 AS a"
	r := spoorAt(t, flags, "query", sql, "--since", "2026-01-10", "--region", "us-east-1", "--param", "k=v")
	if r.code != ExitClean || r.out != "a\n─\n1\x1b\n" || r.err != "" { // what is no terminal gets what was sent
		t.Errorf("%+v", r)
	}
	if want := `POST /query {"sql":"SELECT 1 AS a","params":{"k":"v"},"since":"2026-01-10T00:00:00Z","regions":["us-east-1"],"limit":1000,"format":"table"}`; (*asked)[0] != want {
		t.Errorf("asked %s", (*asked)[0])
	}
	for _, c := range []struct {
		answer string
		code   int
		want   string
	}{
		{"a\n1\n trailers Spoor-Rows=1|Spoor-More=true", ExitIncomplete, "only the first 1 rows: the server gives no more"},
		{"a\n1\n trailers Spoor-Rows=1000|Spoor-More=true", ExitClean, "only the first 1000 rows; --limit -1 shows all"},
		{`a trailers Spoor-Rows=0|Spoor-Damaged=[{"file":"x.parquet","what":"cut off"}]`, ExitIncomplete, "x.parquet: cut off"},
		{"a\n1\n", ExitIncomplete, "did not tell whether the answer is whole"},
		{"broken a\n", ExitFailure, "not the whole answer: the answer broke off"},
		{"400 no such column", ExitUsage, "no such column"},
		{"403 you may not", ExitFailure, "you may not"},
	} {
		answers["POST /query"] = c.answer
		spoorAt(t, flags, "query", sql).wants(t, c.code, c.want)
	}
	out := filepath.Join(t.TempDir(), "out.csv")
	answers["POST /query"] = "broken a\n"
	spoorAt(t, flags, "query", sql, "--format", "csv", "--out", out).wants(t, ExitFailure, "the answer broke off")
	if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half an answer is kept: %v", err)
	}
	answers["POST /query"] = "a\n trailers Spoor-Rows=0"
	spoorAt(t, flags, "query", sql, "--format", "csv", "--out", out).wants(t, ExitClean)
	if text, err := os.ReadFile(out); err != nil || string(text) != "a\n" {
		t.Errorf("%q, %v", text, err)
	}
	spoorAt(t, flags, "query", sql, "--format", "parquet", "--out", out).wants(t, ExitUsage, "a server gives table, csv, json, jsonl")
	spoorAt(t, flags, "query", sql, "--hold", "x").wants(t, ExitUsage, "--hold: a server has no use for it")
	spoorAt(t, flags, "query", sql, ".").wants(t, ExitUsage, "either --server or paths")
	spoorAt(t, flags, "query", "--ready", "root", "--show").wants(t, ExitClean, "root")
}

func TestTailServer(t *testing.T) {
	t.Parallel()
	events := func(ids ...string) string {
		var b strings.Builder
		for _, id := range ids {
			fmt.Fprintf(&b, "event: event\nid: p%s\ndata: "+eventText+"\n\n", id, id)
		}
		return b.String()
	}
	answers := map[string]string{
		"GET /events?limit=2&order=newest&term=x": page("c", "e2", "e1"),
		"GET /tail?after=searchable&term=x":       "tail id: p0\n\n" + events("e2", "e3") + "event: missing\ndata: {\"dropped\":7}\n\n" + events("e4"),
		"GET /tail?after=searchable&term=gap":     "tail id: p0\n\nevent: missing\nid: p1\ndata: {\"gap\":\"too old\\u001b\"}\n\n" + events("e4"),
		"GET /tail?after=searchable&term=no":      "403 you may not",
	}
	flags, _ := service(t, answers)
	spoorAt(t, flags, "tail", "x", "-n", "2").wants(t, ExitClean, "e1  << low: IAM user created\n", "e2  <<")
	spoorAt(t, flags, "tail", "-f", "no").wants(t, ExitFailure, "you may not")
	spoorAt(t, flags, "tail", "-f", "x", "--since", "1h").wants(t, ExitUsage, "with -f give terms")
	spoorAt(t, flags, "tail", "x", "--every", "1s").wants(t, ExitUsage, "--every: a server has no use for it")
	for _, c := range []struct {
		args []string
		out  string
		errs string
	}{
		{[]string{"tail", "-f", "x", "-n", "2"}, "e1 e2 e3 e4", "7 events left out here"},
		{[]string{"tail", "-f", "gap", "-n", "0", "--format", "raw"}, "e4", "events may be missing here: too old"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		out := &until{text: "e4", then: cancel}
		var errs bytes.Buffer
		code := Run(ctx, append(c.args, flags...), strings.NewReader(""), out, &errs)
		cancel()
		if code != ExitIncomplete || !strings.Contains(errs.String(), c.errs) || strings.Contains(errs.String(), "\x1b") {
			t.Errorf("%q: exit code %d, %s", c.args, code, errs.String())
		}
		if got := strings.Join(regexp.MustCompile(`e\d\b`).FindAllString(out.String(), -1), " "); got != c.out {
			t.Errorf("%q: %s\n%s", c.args, got, out.String())
		}
	}
}

// until is a writer that does something when a text was written.
type until struct {
	bytes.Buffer
	text string
	then func()
}

// WriteString is Write.
func (u *until) WriteString(s string) (int, error) { return u.Write([]byte(s)) }

func (u *until) Write(p []byte) (int, error) {
	n, err := u.Buffer.Write(p)
	if strings.Contains(string(p), u.text) {
		u.then()
	}
	return n, err
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	text := "a\x1b[31m\tb\x7f ─ é \u0085\u00a0\x00\n"
	for size := range len(text) {
		var out strings.Builder
		h := &harmless{w: &out}
		for _, part := range []string{text[:size], text[size:]} {
			if n, err := io.WriteString(h, part); err != nil || n != len(part) {
				t.Fatal(n, err)
			}
		}
		if want := "a?[31m?b? ─ é ¿\u00a0?\n"; out.String() != want {
			t.Errorf("%q, want %q", out.String(), want)
		}
	}
}

func TestServerFlags(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	for path, text := range map[string]string{empty: "", filepath.Join(dir, "token"): "t"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"sources", "--server", "https://x", "--token-file", filepath.Join(dir, "none")}, "read the token"},
		{[]string{"sources", "--server", "https://x", "--token-file", empty}, "want one token"},
		{[]string{"sources", "--server", "http://spoor.example.com", "--token-file", filepath.Join(dir, "token")}, "in the clear"},
		{[]string{"sources", "--server", "https://x", "--token-file", filepath.Join(dir, "token"), "--ca", filepath.Join(dir, "token")}, "no certificate"},
		{[]string{"sources", "--server", "https://x", "--token-file", filepath.Join(dir, "token"), "--ca", filepath.Join(dir, "none")}, "read the certificates"},
	} {
		spoorAt(t, nil, c.args...).wants(t, ExitUsage, c.want)
	}
	spoorAt(t, nil, "sources", "--server", "http://127.0.0.1:1", "--token-file", filepath.Join(dir, "token")).wants(t, ExitFailure, "cannot be reached", "is it running? spoor serve starts one")
}
