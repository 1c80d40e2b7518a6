// Package interop lets engines of others read what Spoor wrote.
package interop

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/sample"
	"spoor/internal/source/open"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
	"spoor/internal/store/segment"
	"spoor/test/kit"
)

// installed finds the ClickHouse engine that `make chdb` installs, and a node that it runs in. Without them the test
// skips; where CI is set, it fails.
func installed(t *testing.T) (node, dir string) {
	t.Helper()
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") != "" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	root, err := kit.Root()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(root, "out", "chdb")
	want, err := os.ReadFile(filepath.Join(root, "test", "interop", "chdb", "package.json"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "installed.json")); err != nil || !bytes.Equal(got, want) {
		missing("the ClickHouse engine is not in %s; `make chdb` installs it there, and needs node, npm and npm's registry", dir)
	}
	if node, err = exec.LookPath("node"); err != nil {
		missing("there is no node to run the ClickHouse engine in: %v", err)
	}
	version, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil {
		t.Fatalf("ask node for its version: %v", err)
	}
	major, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimSpace(string(version)), "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < 18 {
		missing("the ClickHouse engine wants node 18 or newer, not %s", version)
	}
	return node, dir
}

// clickHouse asks the engine, in the folder where the store lies, and gives the rows of each answer, cells joined by " | ".
func clickHouse(t *testing.T, folder string, questions []string) [][]string {
	t.Helper()
	node, dir := installed(t)
	root, err := kit.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	// The engine reads files below its working directory only.
	cmd := exec.CommandContext(t.Context(), node, filepath.Join(root, "test", "interop", "chdb", "ask.js"), dir, t.TempDir())
	cmd.Dir, cmd.Stdin = folder, bytes.NewReader(text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("ask ClickHouse: %v: %s", err, stderr.String())
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n"))
	if len(lines) != len(questions) {
		t.Fatalf("%d answers to %d questions: %s", len(lines), len(questions), stderr.String())
	}
	all := make([][]string, len(lines))
	for i, line := range lines {
		var answer struct {
			Rows  [][]*string
			Error string
		}
		if err := json.Unmarshal(line, &answer); err != nil {
			t.Fatalf("%s\nanswer %.300s: %v", questions[i], line, err)
		}
		if answer.Error != "" {
			t.Fatalf("%s\n%s", questions[i], answer.Error)
		}
		for _, row := range answer.Rows {
			cells := make([]string, len(row))
			for k, c := range row {
				cells[k] = "∅"
				if c != nil {
					cells[k] = *c
				}
			}
			all[i] = append(all[i], strings.Join(cells, " | "))
		}
	}
	return all
}

// duckDB asks as `spoor query` does.
func duckDB(t *testing.T, e *duckdb.Engine, sql string) (out []string) {
	t.Helper()
	rows, err := e.Query(t.Context(), sql, duckdb.QueryOptions{})
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	defer func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}()
	for {
		values, ok, err := rows.Next()
		if err != nil {
			t.Fatalf("%s\n%v", sql, err)
		}
		if !ok {
			return out
		}
		cells := make([]string, len(values))
		for i, v := range values {
			cells[i] = v.Text
			if v.Null {
				cells[i] = "∅"
			}
		}
		out = append(out, strings.Join(cells, " | "))
	}
}

// odd are records in forms of which the sample has none.
var odd = []string{
	`{"eventVersion":"1.08","userIdentity":{"type":"IAMUser","userName":"zo` + "\xeb" + `","arn":"arn:aws:iam::111122223333:user/zo` + "\xeb" + `"},"eventTime":"2026-03-02T05:00:00Z","eventSource":"iam.amazonaws.com","eventName":"GetUser","requestParameters":{"userName":"zo` + "\xeb" + `"},"responseElements":null,"requestID":"r-1","eventID":"odd-1"}`,
	`{"eventID":"odd-2","eventTime":"2026-03-02T05:00:01.123456Z","readOnly":"TRUE","eventName":"Überprüfen","eventSource":"x.amazonaws.com","requestParameters":[1,{"a":"\u00e9\ud83d\ude00"}],"resources":[null,"text",{"ARN":"arn:aws:s3:::b"},{"ARN":null,"type":"T"}],"userIdentity":"nobody"}`,
	`{"eventVersion":"1.08","userIdentity":{"type":"Root","sessionContext":{"sessionIssuer":{},"attributes":null}},"eventTime":"never","eventSource":"s3.amazonaws.com","eventName":"","requestParameters":"","responseElements":{},"additionalEventData":{"a":"😀"},"eventID":"odd-3","resources":[],"tlsDetails":{"tlsVersion":"TLSv1.3"}}`,
	`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","inScopeOf":{"sourceArn":"arn:aws:lambda:eu-west-1:111122223333:function:f","sourceAccount":"111122223333"},"invokedByDelegate":{"accountId":"444455556666"},"sessionContext":{"sourceIdentity":"ana","assumedRoot":"true","signInSessionArn":"arn:aws:signin:eu-west-1:111122223333:session/x"}},"eventTime":"2026-03-03T05:00:00Z","eventSource":"s3.amazonaws.com","eventName":"PutObject","requestParameters":null,"responseElements":null,"eventID":"odd-4","resources":[{"ARNPrefix":"arn:aws:s3:::b/"}],"addendum":{"reason":"DELIVERY_DELAY"},"edgeDeviceDetails":{"type":"snow"},"insightDetails":{"state":"Start"},"eventContext":{"requestContext":{}},"annotation":"a note"}`,
}

// tracker is an [intake.Worker] that notes the records by hash.
type tracker struct{ of map[string]string }

func (h tracker) Event(e *event.Event) error {
	sum := md5.Sum(e.Raw)
	h.of[hex.EncodeToString(sum[:])] = strings.Clone(e.Get(event.EventID).Text())
	return nil
}

// makeStore fills a store in several commits, with compaction between them, and gives it with the hashes of the records
// that were put in, as they were in the logs, and the ids of their events.
func makeStore(t *testing.T, dir string) (*store.Store, map[string]string) {
	t.Helper()
	tmp := t.TempDir()
	s, err := store.Create(t.Context(), dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	oddFile := filepath.Join(tmp, "odd.json")
	if err := os.WriteFile(oddFile, []byte(`{"Records":[`+strings.Join(odd, ",")+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	inputs := []string{oddFile}
	for seed := range 2 {
		logs := filepath.Join(tmp, strconv.Itoa(seed))
		if _, err := sample.Generate(t.Context(), sample.Options{Seed: uint64(seed), Events: 4000, Days: 2, Story: seed == 0, Duplicates: -1, Out: logs}); err != nil {
			t.Fatal(err)
		}
		inputs = append(inputs, logs)
	}
	hashes := tracker{map[string]string{}}
	for i, in := range inputs {
		opts := intake.Options{Named: []string{in}, Workers: 1}
		src, err := open.Resolve(t.Context(), in, open.Options{})
		if err != nil {
			t.Fatal(err)
		}
		opts.Sources = append(opts.Sources, src)
		if _, err := s.Ingest(t.Context(), store.IngestOptions{Intake: opts}); err != nil {
			t.Fatal(err)
		}
		if i == 1 {
			if _, err := s.Compact(t.Context(), store.CompactOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		opts.Ledger = ledger.New()
		if err := intake.Run(t.Context(), opts, func() (intake.Worker, error) { return hashes, nil }); err != nil {
			t.Fatal(err)
		}
	}
	return s, hashes.of
}

// rawClickHouse is the record in ClickHouse's SQL, as docs/formats/store.md has it.
const rawClickHouse = `coalesce(rawBytes, raw, concat(rawHead, coalesce(requestParameters, 'null'),
  ',"responseElements":', coalesce(responseElements, 'null'),
  coalesce(concat(',"additionalEventData":', additionalEventData), ''),
  coalesce(concat(',"requestID":"', requestID, '"'), ''), ',"eventID":"', eventID, rawTail))`

// question is one question in two dialects. STORE stands for ClickHouse's table.
type question struct{ name, duck, click string }

// columnQuestions ask about every column that is a value: how many there are, and the sum of a hash over them.
func columnQuestions() (out []question) {
	hashes := func(name, duckFrom, clickFrom, duck, click string) {
		out = append(out, question{name,
			fmt.Sprintf(`SELECT count(%[1]s)::varchar, sum(('0x' || substr(md5(%[1]s), 1, 12))::ubigint)::varchar FROM %s`, duck, duckFrom),
			fmt.Sprintf(`SELECT toString(count(%[1]s)), toString(sumOrNull(reinterpretAsUInt64(reverse(substring(MD5(%[1]s), 1, 6))))) FROM %s`, click, clickFrom)})
	}
	var walk func(prefix string, c segment.Column)
	walk = func(prefix string, c segment.Column) {
		path := prefix + c.Name
		switch c.Type {
		case segment.Struct:
			for _, f := range c.Fields {
				walk(path+".", f)
			}
		case segment.List:
			for _, f := range c.Fields[0].Fields {
				hashes(path+"[]."+f.Name, "(SELECT unnest("+path+")."+f.Name+" AS x FROM events)", "(SELECT arrayJoin("+path+")."+f.Name+" AS x FROM STORE)", "x", "x")
			}
		case segment.Time:
			hashes(path, "events", "STORE", "epoch_us("+path+")::varchar", "toString(toUnixTimestamp64Micro("+path+"))")
		case segment.Bool:
			hashes(path, "events", "STORE", path+"::integer::varchar", "toString(toUInt8("+path+"))")
		case segment.Long, segment.Day:
			hashes(path, "events", "STORE", path+"::varchar", "toString("+path+")")
		case segment.JSON:
			hashes(path, "events", "STORE", path+"::varchar", path)
		default:
			if path != "raw" && path != "rawHead" && path != "rawTail" { // raw of events is rebuilt from these
				hashes(path, "events", "STORE", path, path)
			}
		}
	}
	for _, c := range segment.Columns() {
		walk("", c)
	}
	return out
}

func questions() []question {
	return append(columnQuestions(),
		question{"all", `SELECT count(*)::varchar, count(DISTINCT eventID)::varchar, min(eventDay)::varchar, max(eventDay)::varchar, sum(len(resources))::varchar FROM events`,
			`SELECT toString(count()), toString(uniqExact(eventID)), toString(min(eventDay)), toString(max(eventDay)), toString(sum(length(resources))) FROM STORE`},
		question{"who", `SELECT userIdentity.arn, userIdentity.sessionContext.sessionIssuer.arn, count(*)::varchar FROM events GROUP BY ALL ORDER BY ALL`,
			`SELECT userIdentity.arn AS a, userIdentity.sessionContext.sessionIssuer.arn AS b, toString(count()) AS n FROM STORE GROUP BY a, b ORDER BY a ASC NULLS LAST, b ASC NULLS LAST, n`},
		question{"resources", `SELECT ARN, count(*)::varchar FROM (SELECT unnest(resources).ARN AS ARN FROM events) GROUP BY ALL ORDER BY ALL LIMIT 500`,
			`SELECT ARN, toString(count()) FROM (SELECT arrayJoin(resources).ARN AS ARN FROM STORE) GROUP BY ARN ORDER BY ARN ASC NULLS LAST LIMIT 500`},
		question{"in a list", `SELECT count(*)::varchar FROM events WHERE list_contains(resourceARNs, 'arn:aws:s3:::b')`,
			`SELECT toString(count()) FROM STORE WHERE arrayExists(r -> r.ARN = 'arn:aws:s3:::b', resources)`},
		question{"in JSON", `SELECT json_extract_scalar(requestParameters, '$.bucketName') AS bucket, count(*)::varchar FROM events GROUP BY 1 HAVING bucket IS NOT NULL ORDER BY 1`,
			`SELECT JSONExtractString(requestParameters, 'bucketName') AS bucket, toString(count()) FROM STORE GROUP BY bucket HAVING bucket <> '' ORDER BY bucket`},
		question{"hours", `SELECT strftime(eventTime::timestamp, '%Y-%m-%d %H') AS hour, count(*)::varchar FROM events WHERE errorCode IS NOT NULL GROUP BY 1 ORDER BY 1`,
			`SELECT formatDateTime(eventTime, '%Y-%m-%d %H', 'UTC') AS hour, toString(count()) FROM STORE WHERE errorCode IS NOT NULL GROUP BY hour ORDER BY hour`},
		question{"a day", `SELECT count(*)::varchar FROM events WHERE eventTime >= '2026-03-03T00:00:00Z'::timestamptz AND eventTime < '2026-03-03T06:00:00Z'::timestamptz`,
			`SELECT toString(count()) FROM STORE WHERE eventTime >= toDateTime64('2026-03-03 00:00:00', 6, 'UTC') AND eventTime < toDateTime64('2026-03-03 06:00:00', 6, 'UTC')`},
		question{"the record", `SELECT coalesce(md5(rawBytes), md5(raw)) AS h, eventID FROM events ORDER BY 1`,
			`SELECT lower(hex(MD5(` + rawClickHouse + `))) AS h, eventID FROM STORE ORDER BY h`})
}

// TestClickHouse reads a store, as it is, with an engine that knows nothing of Spoor: the table, the plain files, and a
// copy of the folder in another place. It must see what `spoor query` sees, and the records byte for byte.
func TestClickHouse(t *testing.T) {
	t.Parallel()
	installed(t)
	folder := t.TempDir()
	dir := filepath.Join(folder, "store")
	s, hashes := makeStore(t, dir)
	ctx := t.Context()
	p, err := s.Plan(ctx, store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	var files []string
	for _, f := range p.Files {
		files = append(files, f.Path)
	}
	if len(files) < 5 || len(p.Damaged) > 0 {
		t.Fatalf("%d files, damaged %v", len(files), p.Damaged)
	}
	engine, err := duckdb.Open(ctx, duckdb.Options{Files: files, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	qs := questions()
	want := make([][]string, len(qs))
	for i, q := range qs {
		want[i] = duckDB(t, engine, q.duck)
		if len(want[i]) == 0 || want[i][0] == "0 | ∅" {
			t.Errorf("%s: DuckDB finds nothing, so nothing is compared", q.name)
		}
	}

	compare := func(what, dir, table string, qs []question, want [][]string) {
		t.Helper()
		var ask []string
		for _, q := range qs {
			ask = append(ask, strings.ReplaceAll(q.click, "STORE", table))
		}
		for i, got := range clickHouse(t, dir, ask) {
			if !slices.Equal(got, want[i]) {
				t.Errorf("%s, %s:\nClickHouse %d rows %.600q\nDuckDB     %d rows %.600q\n%s", what, qs[i].name, len(got), got, len(want[i]), want[i], ask[i])
			}
		}
	}
	compare("the table", folder, "icebergLocal('"+dir+"')", qs, want)

	// The last question is about the records: both engines give those that were put in.
	last := len(qs) - 1
	var in []string
	for _, h := range slices.Sorted(maps.Keys(hashes)) {
		in = append(in, h+" | "+hashes[h])
	}
	if !slices.Equal(in, want[last]) {
		t.Errorf("%d records were put in, %d came out; the first %.200q, %.200q", len(in), len(want[last]), in, want[last])
	}

	// Only what the table names counts as long as replaced files wait for their removal.
	if _, err := s.Expire(ctx, store.ExpireOptions{Grace: 1}); err != nil {
		t.Fatal(err)
	}
	if err := onlyPlanned(dir, files); err != nil {
		t.Fatal(err)
	}
	compare("plain files", folder, "file('"+dir+"/data/*/*.parquet', Parquet)", qs[last:], want[last:])

	moved := t.TempDir()
	if err := os.CopyFS(filepath.Join(moved, "elsewhere"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	compare("a copy of the folder", moved, "icebergLocal('"+filepath.Join(moved, "elsewhere")+"')", qs[last:], want[last:])
}

// onlyPlanned reports files of data below dir that are not among files.
func onlyPlanned(dir string, files []string) error {
	return filepath.WalkDir(filepath.Join(dir, "data"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !slices.Contains(files, path) {
			return errors.New(path + " is not planned and still there")
		}
		return err
	})
}

// TestRawInDocs keeps the expression in the documentation the one that is tested.
func TestRawInDocs(t *testing.T) {
	t.Parallel()
	root, err := kit.Root()
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "formats", "store.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), rawClickHouse) {
		t.Errorf("docs/formats/store.md does not have the record in ClickHouse's SQL:\n%s", rawClickHouse)
	}
}
