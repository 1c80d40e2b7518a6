package cli

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"spoor/internal/store/duckdb"
)

const queryRecords = `{"Records":[
{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","accessKeyId":"AKIAEXAMPLEANA","userName":"ana"},"eventTime":"2026-01-05T09:12:41Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userAgent":"=1+1","requestParameters":{"bucketName":"payroll"},"responseElements":null,"requestID":"R1","eventID":"00000000-0000-4000-8000-000000000001","readOnly":true,"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"111122223333","eventCategory":"Data"},
{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/bob","accountId":"111122223333","accessKeyId":"AKIAEXAMPLEBOB","userName":"bob"},"eventTime":"2026-01-06T09:12:41Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.8","userAgent":"aws-cli","errorCode":"AccessDenied","errorMessage":"no","requestParameters":null,"responseElements":null,"requestID":"R2","eventID":"00000000-0000-4000-8000-000000000002","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}
]}`

// spoorIn runs a command line with a temporary folder of its own, which must be empty afterwards.
func spoorIn(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	temp := t.TempDir()
	var out, errs bytes.Buffer
	code = Run(t.Context(), append(args, "--temp-dir", temp), strings.NewReader(stdin), &out, &errs)
	left, err := os.ReadDir(temp)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%q left %v", args, left)
	}
	return code, out.String(), errs.String()
}

func queryLogs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a.json"), []byte(queryRecords), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestQuery(t *testing.T) {
	t.Parallel()
	logs := queryLogs(t)
	broken := queryLogs(t)
	if err := os.WriteFile(filepath.Join(broken, "b.json"), []byte(`{"Records":[{"eventVersion":`), 0o600); err != nil {
		t.Fatal(err)
	}
	sqlFile := filepath.Join(t.TempDir(), "q.sql")
	if err := os.WriteFile(sqlFile, []byte("SELECT eventName FROM events ORDER BY eventTime DESC;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, stdin string
		args        []string
		code        int
		out, err    string // what stdout is, and what stderr has
	}{
		{name: "published", args: []string{`SELECT eventname, json_extract(requestparameters, '$.bucketName') AS bucket FROM "default"."cloudtrail_logs" WHERE eventsource = 's3.amazonaws.com' AND errorcode IS NULL LIMIT 10`, logs, "--format", "csv"},
			out: "eventname,bucket\nGetObject,\"\"\"payroll\"\"\"\n"},
		{name: "table", args: []string{"SELECT eventName, failed FROM events ORDER BY eventTime", logs}, out: "eventName   failed\n──────────  ──────\nGetObject   false\nCreateUser  true\n"},
		{name: "json", args: []string{"SELECT count(*) AS n FROM events", logs, "--format", "json"}, out: "[\n{\"n\":2}\n]\n"},
		{name: "since", args: []string{"SELECT count(*) AS n FROM events", logs, "--format", "jsonl", "--since", "2026-01-06"}, out: "{\"n\":1}\n"},
		{name: "limit", args: []string{"SELECT eventID FROM events ORDER BY 1", logs, "--format", "csv", "--limit", "1"}, out: "eventID\n00000000-0000-4000-8000-000000000001\n", err: "only the first 1 rows"},
		{name: "no rows", args: []string{"SELECT eventID FROM events WHERE false", logs}, out: "eventID\n───────\n", err: "no rows"},
		{name: "file", args: []string{"--file", sqlFile, logs, "--format", "csv"}, out: "eventName\nCreateUser\nGetObject\n"},
		{name: "standard input", stdin: "SELECT 1 AS x", args: []string{logs, "--format", "csv"}, out: "x\n1\n"},
		{name: "logs from standard input", stdin: queryRecords, args: []string{"SELECT count(*) AS n FROM events", "-", "--format", "csv"}, out: "n\n2\n"},
		{name: "parameter", args: []string{"SELECT eventName FROM events WHERE accessKeyId = $key", logs, "--param", "key=AKIAEXAMPLEBOB", "--format", "csv"}, out: "eventName\nCreateUser\n"},
		{name: "ready", args: []string{"--ready", "refused", logs, "--format", "csv"}, out: "actor,account,eventSource,eventName,errorCode,refusals,addresses,first,last\nbob,111122223333,iam.amazonaws.com,CreateUser,AccessDenied,1,1,2026-01-06T09:12:41Z,2026-01-06T09:12:41Z\n"},
		{name: "table name", args: []string{"SELECT count(*) AS n FROM mydb.trail", logs, "--table-name", "mydb.trail", "--format", "csv"}, out: "n\n2\n"},
		{name: "formula", args: []string{"SELECT userAgent FROM events WHERE eventName = 'GetObject'", logs, "--format", "csv"}, out: "userAgent\n'=1+1\n"},
		{name: "incomplete", args: []string{"SELECT count(*) AS n FROM events", broken, "--format", "csv"}, code: ExitIncomplete, out: "n\n2\n", err: "input incomplete"},
		{name: "nothing there", args: []string{"SELECT count(*) AS n FROM events", t.TempDir(), "--format", "csv"}, code: ExitIncomplete, out: "n\n0\n", err: "input incomplete"},
		{name: "wrong SQL", args: []string{"SELEC 1 FROM x", logs}, code: ExitUsage, err: "not SQL"},
		{name: "no such column", args: []string{"SELECT nothing FROM events", logs}, code: ExitUsage, err: "nothing"},
		{name: "refused", args: []string{"COPY (SELECT 1) TO '/tmp/x'", logs}, code: ExitUsage, err: "query refused"},
		{name: "no file", args: []string{"SELECT * FROM read_text('/etc/passwd')", logs}, code: ExitUsage, err: "query refused"},
		{name: "no input", args: []string{"SELECT 1 "}, code: ExitUsage, err: "nothing to ask"},
		{name: "no query", args: []string{logs}, code: ExitUsage, err: "no query"},
		{name: "format", args: []string{"SELECT 1 ", logs, "--format", "xml"}, code: ExitUsage, err: "--format"},
		{name: "parquet without file", args: []string{"SELECT 1 ", logs, "--format", "parquet"}, code: ExitUsage, err: "--out"},
		{name: "ready without parameter", args: []string{"--ready", "key", logs}, code: ExitUsage, err: "--param key="},
		{name: "unknown ready", args: []string{"--ready", "nonsense", logs}, code: ExitUsage, err: "--list"},
		{name: "no store", args: []string{"SELECT 1 ", "--store", t.TempDir()}, code: ExitUsage, err: "not a store"},
		{name: "memory", args: []string{"SELECT 1 ", logs, "--memory", "1KB"}, code: ExitUsage, err: "--memory"},
		{name: "timeout", args: []string{"SELECT count(*) FROM range(100000000) a, range(100000000) b WHERE a.range % 7 = b.range % 5", logs, "--timeout", "200ms"}, code: ExitFailure, err: "time limit of 200ms"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := spoorIn(t, test.stdin, append([]string{"query"}, test.args...)...)
			if code != test.code || out != test.out || !strings.Contains(errs, test.err) || test.err == "" && errs != "" {
				t.Errorf("exit code %d, want %d\nstdout %q\nwant   %q\nstderr %q\nwant   %q", code, test.code, out, test.out, errs, test.err)
			}
		})
	}
}

func TestQueryOut(t *testing.T) {
	t.Parallel()
	logs := queryLogs(t)
	dir := t.TempDir()
	for _, format := range []string{"csv", "parquet"} {
		code, out, errs := spoorIn(t, "", "query", "SELECT eventID, userIdentity FROM events", logs, "--format", format, "--out", filepath.Join(dir, "out."+format))
		if code != 0 || out != "" || errs != "" {
			t.Errorf("%s: exit code %d, %q, %q", format, code, out, errs)
		}
	}
	if code, _, errs := spoorIn(t, "", "query", "SELECT cast(eventID AS bigint) FROM events", logs, "--format", "parquet", "--out", filepath.Join(dir, "bad.parquet")); code == 0 {
		t.Errorf("a query that fails: exit code %d, %q", code, errs)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if !slices.Equal(names, []string{"out.csv", "out.parquet"}) {
		t.Errorf("written: %q", names)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "out.parquet"))
	if err != nil || !bytes.HasSuffix(whole, []byte("PAR1")) {
		t.Errorf("no Parquet file: %v", err)
	}
}

func TestQueryStore(t *testing.T) {
	t.Parallel()
	logs := queryLogs(t)
	dir := filepath.Join(t.TempDir(), "store")
	if code, _, errs := spoorIn(t, "", "store", "ingest", logs, "--into", dir, "--quiet"); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	code, out, errs := spoorIn(t, "", "query", "SELECT eventName FROM events ORDER BY eventTime", "--store", dir, "--format", "csv")
	if code != 0 || out != "eventName\nGetObject\nCreateUser\n" || errs != "" {
		t.Errorf("exit code %d, %q, %q", code, out, errs)
	}
	code, out, _ = spoorIn(t, "", "query", "SELECT count(*) AS n FROM events", "--store", dir, "--format", "csv", "--since", "2026-01-05T10:00:00Z")
	if code != 0 || out != "n\n1\n" {
		t.Errorf("since: exit code %d, %q", code, out)
	}
	if code, _, errs := spoorIn(t, "", "query", "SELECT nothing FROM events", "--store", dir); code != ExitUsage || !strings.Contains(errs, "nothing") {
		t.Errorf("no such column: exit code %d, %q", code, errs)
	}
	// A damaged segment is named; the rest still answers.
	files, err := filepath.Glob(filepath.Join(dir, "data", "eventDay=2026-01-05", "*.parquet"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	if err := os.Truncate(files[0], 100); err != nil {
		t.Fatal(err)
	}
	code, out, errs = spoorIn(t, "", "query", "SELECT eventName FROM events", "--store", dir, "--format", "csv")
	if code != ExitIncomplete || out != "eventName\nCreateUser\n" || !strings.Contains(errs, filepath.Base(files[0])) {
		t.Errorf("damaged: exit code %d, %q, %q", code, out, errs)
	}
}

func TestQueryList(t *testing.T) {
	t.Parallel()
	code, out, _ := spoorIn(t, "", "query", "--list")
	for _, r := range duckdb.ReadyQueries() {
		if code != 0 || !strings.Contains(out, r.Name) || !strings.Contains(out, r.Question) {
			t.Errorf("exit code %d: %s is not listed", code, r.Name)
		}
		if code, sql, _ := spoorIn(t, "", "query", "--ready", r.Name, "--show"); code != 0 || strings.TrimSpace(sql) != r.SQL {
			t.Errorf("%s: exit code %d, %q", r.Name, code, sql)
		}
	}
}

// typed gives lines as if somebody typed them.
type typed struct {
	lines   []string
	prompts []string
	history []string
}

func (s *typed) ReadLine() (string, error) {
	if len(s.lines) == 0 {
		return "", io.EOF
	}
	line := s.lines[0]
	s.lines = s.lines[1:]
	return line, nil
}
func (s *typed) SetPrompt(p string)           { s.prompts = append(s.prompts, p) }
func (s *typed) SaveToHistory(l string) error { s.history = append(s.history, l); return nil }
func (s *typed) has(prompt string, n int) bool {
	return strings.Count(strings.Join(s.prompts, ""), prompt) == n
}

func TestShell(t *testing.T) {
	t.Parallel()
	engine, err := duckdb.Open(t.Context(), duckdb.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}()
	var out, errs bytes.Buffer
	in := &typed{lines: []string{
		"", ".format csv", "SELECT 1 AS a,", "  2 AS b -- ;", ";", "SELECT ';' AS c;", ".tables", ".schema", ".ready", ".show root", ".ready key", ".ready key key=AKIA", ".ready root",
		"SELEC;", "DROP VIEW events;", ".format xml", ".nonsense", ".help", "SELECT (1;", ".quit", "SELECT 'after' AS z;",
	}}
	e := &env{stdout: &out, stderr: &errs}
	s := &shell{e: e, f: queryFlags{format: "table"}, lines: in, answer: func(ctx context.Context, f *queryFlags, q *question) error { return e.answer(ctx, f, engine, q) }}
	if err := s.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, want := range []string{"a,b\n1,2\n", "c\n;\n", "name\ncloudtrail_logs\nevent_data_store\nevents\n", "eventTime,TIMESTAMP WITH TIME ZONE\n", "key-origin", "WHERE actor.kind = 'root'", "eventTime,account,eventSource,eventName", "actor,sourceIPAddress,eventSource", ".quit"} {
		if !strings.Contains(got, want) {
			t.Errorf("stdout lacks %q: %s", want, got)
		}
	}
	for _, want := range []string{"needs key=", "syntax error", "query refused", "want .format", "there is no .nonsense", "a ( is not closed"} {
		if !strings.Contains(errs.String(), want) {
			t.Errorf("stderr lacks %q: %s", want, errs.String())
		}
	}
	if strings.Contains(got, "after") {
		t.Error("it went on after .quit")
	}
	if !in.has("   ..> ", 2) {
		t.Errorf("prompts: %q", in.prompts)
	}
	if want := "SELECT 1 AS a, 2 AS b ;"; !slices.Contains(in.history, want) {
		t.Errorf("history: %q, want one to be %q", in.history, want)
	}
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	engine, err := duckdb.Open(t.Context(), duckdb.Options{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	}()
	words, err := shellColumns(t.Context(), engine.ColumnNames)
	if err != nil {
		t.Fatal(err)
	}
	c := completer(words)
	for typed, want := range map[string]string{
		"select eventsou":                                        "rce",
		"SELECT userIdentity.sessionContext.at":                  "tributes",
		"SELECT userIdentity.sessionContext.sessionIssuer.userN": "ame",
		".for": "mat", ".ready new-pr": "incipals", "SELECT cloudtrail": "_logs",
	} {
		rest, n := c.Do([]rune(typed), len([]rune(typed)))
		var got []string
		for _, r := range rest {
			got = append(got, string(r))
		}
		if !slices.ContainsFunc(got, func(g string) bool { return strings.EqualFold(g, want) }) || n == 0 {
			t.Errorf("%s: got %q, %d", typed, got, n)
		}
	}
	if rest, _ := c.Do([]rune("SELECT "), 7); rest != nil {
		t.Errorf("of nothing: %q", rest)
	}
}
