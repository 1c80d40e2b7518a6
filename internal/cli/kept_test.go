package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"spoor/internal/hunt"
	"spoor/internal/sample"
	"spoor/internal/source/sourcetest"
)

// findings gives what a hunt found as JSON, but for what depends on the run, and its ledger.
func findings(t *testing.T, want int, args ...string) (map[string]any, *hunt.Result) {
	t.Helper()
	out, _ := run(t, want, append([]string{"hunt", "--format", "json"}, args...)...)
	all := decode[map[string]any](t, out)
	res := decode[hunt.Result](t, out)
	for _, k := range []string{"started", "elapsedNanoseconds", "inputs", "ledger"} {
		delete(all, k)
	}
	return all, &res
}

// same fails when a command gives something else for a store than for the files that it was filled from.
func same(t *testing.T, logs, dir string, args ...string) {
	t.Helper()
	var out [2]strings.Builder
	var code [2]int
	for i, in := range [][]string{{logs}, {"--store", dir}} {
		code[i] = Run(t.Context(), append(args, in...), strings.NewReader(""), &out[i], io.Discard)
	}
	if code[0] != code[1] || code[0] > ExitFindings || out[0].String() != out[1].String() {
		t.Errorf("%q: exit codes %d\nfiles: %.2000s\nstore: %.2000s", args, code, out[0].String(), out[1].String())
	}
}

func differ(a, b map[string]any) string {
	for k := range a {
		if !reflect.DeepEqual(a[k], b[k]) {
			x, _ := json.Marshal(a[k])
			y, _ := json.Marshal(b[k])
			for i := range x {
				if i >= len(y) || x[i] != y[i] {
					from := max(0, i-300)
					return fmt.Sprintf("%s\nfiles: …%.600s\nstore: …%.600s", k, x[from:], y[min(from, len(y)):])
				}
			}
		}
	}
	return ""
}

// oddRecords are what columns cannot say all of: fields of other types, other cases, no text, no time.
const oddRecords = `{"eventVersion":"1.08","eventTime":"2026-03-03T10:00:00Z","eventSource":"iam.amazonaws.com","eventName":["CreateUser","StopLogging"],"awsRegion":"us-east-1","recipientAccountId":"111122223333","eventID":"0A0A0A0A-0000-4000-8000-000000000001"}
{"eventVersion":"1.08","eventTime":"2026-03-03T10:00:01Z","eventSource":"cloudtrail.amazonaws.com","eventname":"StopLogging","awsRegion":"us-east-1","recipientAccountId":"111122223333","eventID":"00000000-0000-4000-8000-000000000002","userIdentity":[{"accessKeyId":"AKIAIOSFODNN7EXAMPLE"},{"accessKeyId":"akiaiosfodnn7example"}]}
{"eventVersion":"1.08","eventTime":"2026-03-03T10:00:02Z","eventSource":"cloudtrail.amazonaws.com","eventName":"STOPLOGGING","awsRegion":5,"recipientAccountId":"111122223333","eventID":"00000000-0000-4000-8000-000000000003"}
{"eventVersion":"1.08","eventTime":"not a time","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging` + "\xff" + `","awsRegion":"us-east-1","recipientAccountId":111122223333,"eventID":"00000000-0000-4000-8000-000000000004"}
{"eventVersion":"1.08","eventTime":"2026-03-03T10:00:04Z","eventSource":"cloudtrail.amazonaws.com","eventName":null,"errorCode":{"a":"AccessDenied"},"awsRegion":"us-east-1","eventID":"00000000-0000-4000-8000-000000000005"}
`

func sampleLogs(t *testing.T, events int) (logs, dir string) {
	t.Helper()
	tmp := t.TempDir()
	logs, dir = filepath.Join(tmp, "logs"), filepath.Join(tmp, "store")
	if _, err := sample.Generate(t.Context(), sample.Options{Seed: 7, Events: events, Days: 4, Out: logs}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(logs, "odd.jsonl"), []byte(oddRecords), 0o644); err != nil {
		t.Fatal(err)
	}
	return logs, dir
}

// TestStoreAsFiles: what is asked of a store is answered as of the files that it was filled from. The odd records lie in a day
// of their own, so that days whose columns tell all are among them.
func TestStoreAsFiles(t *testing.T) {
	t.Parallel()
	logs, dir := sampleLogs(t, 1000)
	run(t, ExitClean, "store", "ingest", logs, "--into", dir, "--until", "2026-03-03T12:00:00Z")
	run(t, ExitClean, "store", "ingest", logs, "--into", dir)
	for _, sel := range [][]string{
		nil,
		{"--since", "2026-03-03T06:00:00Z", "--until", "2026-03-04T06:30:00Z"},
		{"--account", "111122223333,444455556666", "--region", "us-east-1"},
	} {
		files, _ := findings(t, ExitClean, append(sel, logs)...)
		stored, res := findings(t, ExitClean, append(sel, "--store", dir)...)
		if d := differ(files, stored); d != "" {
			t.Errorf("%q: %s", sel, d)
		}
		if pruned := len(res.Ledger.Pruned) > 0; !res.Ledger.Balanced || pruned != (sel != nil) {
			t.Errorf("%q: balanced %v, pruned %v", sel, res.Ledger.Balanced, res.Ledger.Pruned)
		}
	}
	all, res := findings(t, ExitClean, "--store", dir)
	if len(res.Findings) < 4 || all["stats"] == nil || !strings.HasPrefix(res.Findings[0].Events[0].File, logs) {
		t.Fatalf("%d findings, %+v", len(res.Findings), res.Findings[:1])
	}
	same(t, logs, dir, "hunt", "--explain", res.Findings[0].ID)
	same(t, logs, dir, "stats", "--format", "csv")
	same(t, logs, dir, "hunt", "--no-builtin", "--actor", "ci-deploy", "--format", "csv")

	ev := res.Findings[0].Events[0]
	for _, terms := range [][]string{
		{"eventID=" + ev.ID}, {"eventID=" + strings.ToUpper(ev.ID)}, {"eventID=0a0a0a0a-0000-4000-8000-000000000001"},
		{"eventName=stoplogging"}, {"eventName=Stop*", "awsRegion!=us-east-1"}, {"eventName~^(Create|Delete)User$"},
		{"accessKeyId=akiaiosfodnn7example"}, {"userIdentity.accessKeyId=AKIAIOSFODNN7EXAMPLE"}, {"errorCode=AccessDenied"}, {"errorCode|contains=denied"},
		{"sourceIPAddress|cidr=192.0.2.0/24"}, {"userIdentity.arn|endswith=/ana"}, {"eventName!=GetObject", "eventSource=s3.amazonaws.com"},
		{"awsRegion=5"}, {ev.Address}, {"requestParameters.userName~.", "eventSource=iam*"}, {"eventName=NoSuchCall"}, {"resources.ARN|contains=example"},
	} {
		same(t, logs, dir, append(append([]string{"search"}, terms...), "--format", "raw", "--limit", "-1")...)
	}
	if out, _ := run(t, ExitClean, "search", "eventID="+strings.ToUpper(ev.ID), "--store", dir, "--count", "-q"); out != "1\n" {
		t.Errorf("%q events with one id", out)
	}
	// A store that has nothing of what is looked for was read; there is no match.
	run(t, ExitFindings, "search", "eventName=GetObject", "--since", "2030-01-01", "--store", dir)

	// Without the files, everything is there still.
	if err := os.RemoveAll(logs); err != nil {
		t.Fatal(err)
	}
	if again, _ := findings(t, ExitClean, "--store", dir); differ(all, again) != "" {
		t.Error("something was read from the files: " + differ(all, again))
	}
}

// TestStoreBeside: files that are read with a store count only with what the store has not, whatever state it is in.
func TestStoreBeside(t *testing.T) {
	t.Parallel()
	logs, dir := sampleLogs(t, 1000)
	run(t, ExitClean, "store", "ingest", logs, "--into", dir, "--until", "2026-03-04")
	files, only := findings(t, ExitClean, logs)
	_, part := findings(t, ExitClean, "--store", dir)
	both, res := findings(t, ExitClean, "--store", dir, logs)
	if d := differ(files, both); d != "" {
		t.Error(d)
	}
	k := only.Ledger.Records
	if r := res.Ledger.Records; r.Kept != k.Kept || r.Duplicate != k.Duplicate+part.Ledger.Records.Kept || !res.Ledger.Balanced || part.Ledger.Records.Kept == 0 {
		t.Errorf("%+v, of files %+v, of the store %+v", r, k, part.Ledger.Records)
	}
	if _, stderr := run(t, ExitUsage, "hunt"); !strings.Contains(stderr, "--store") {
		t.Error(stderr)
	}
	run(t, ExitUsage, "hunt", logs, "--hold", "x")
	run(t, ExitUsage, "hunt", "--store", logs)

	// Of a damaged segment what is lost comes from the files; it is named, and the rest is read.
	segments, err := filepath.Glob(filepath.Join(dir, "data", "eventDay=2026-03-0*", "*.parquet"))
	if err != nil || len(segments) < 2 {
		t.Fatal(segments, err)
	}
	text, err := os.ReadFile(segments[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := len(text) / 4; i < len(text)/2; i++ {
		text[i] ^= 0x5a
	}
	if err := os.WriteFile(segments[0], text, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, cut := range []bool{false, true} {
		if cut {
			if err := os.WriteFile(segments[0], text[:len(text)-1], 0o644); err != nil {
				t.Fatal(err)
			}
		}
		_, res := findings(t, ExitIncomplete, "--store", dir)
		if l := res.Ledger; l.Objects.Failed != 1 || l.Failures[0].Object != segments[0] || !l.Balanced || l.Records.Kept == 0 || l.Records.Kept >= part.Ledger.Records.Kept {
			t.Errorf("cut %v: %+v %+v", cut, l.Failures, l.Records)
		}
		if both, res := findings(t, ExitIncomplete, "--store", dir, logs); differ(files, both) != "" || res.Ledger.Records.Kept != k.Kept {
			t.Errorf("cut %v: %+v, want %+v; %s", cut, res.Ledger.Records, k, differ(files, both))
		}
		run(t, ExitIncomplete, "search", "anywhere", "--store", dir)
	}
	run(t, ExitIncomplete, "search", "eventName=NoSuchCall", "--store", dir)
}

// TestStoreAsSharedFiles is TestStoreAsFiles over real logs.
func TestStoreAsSharedFiles(t *testing.T) {
	t.Parallel()
	data := filepath.Join(sourcetest.Shared(t), "data")
	dir := filepath.Join(t.TempDir(), "store")
	code := Run(t.Context(), []string{"store", "ingest", data, "--into", dir, "--workers", "1"}, strings.NewReader(""), new(strings.Builder), new(strings.Builder))
	if code != ExitClean && code != ExitIncomplete {
		t.Fatal(code)
	}
	files, a := findings(t, code, data, "--workers", "1")
	stored, b := findings(t, ExitClean, "--store", dir)
	if d := differ(files, stored); d != "" || len(b.Findings) == 0 || a.Ledger.Records.Kept != b.Ledger.Records.Kept {
		t.Errorf("%d findings, %d of %d events; %s", len(b.Findings), b.Ledger.Records.Kept, a.Ledger.Records.Kept, d)
	}
}

func TestBacktest(t *testing.T) {
	t.Parallel()
	logs, dir := sampleLogs(t, 1000)
	run(t, ExitClean, "store", "ingest", logs, "--into", dir)
	mine := filepath.Join(t.TempDir(), "mine")
	if err := os.Mkdir(mine, 0o755); err != nil {
		t.Fatal(err)
	}
	rule := func(name, detection string) string {
		path := filepath.Join(mine, name+".yml")
		text := "title: " + name + "\nid: 11111111-1111-4111-8111-1111111111" + fmt.Sprintf("%02d", len(name)) + "\nstatus: test\nlevel: low\nlogsource: {product: aws, service: cloudtrail}\ndetection: " + detection + "\n"
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	reads := rule("Reads", `{sel: {eventSource: s3.amazonaws.com, eventName|startswith: Get}, condition: sel}`)
	rule("Denied", `{sel: {errorCode|contains: Denied}, condition: sel}`)
	rule("Nothing", `{sel: {eventName: NoSuchCall}, condition: sel}`)
	test := func(want int, args ...string) hunt.BacktestResult {
		t.Helper()
		out, _ := run(t, want, append([]string{"rules", "backtest", "--json"}, args...)...)
		return decode[hunt.BacktestResult](t, out)
	}
	const critical = "Logging switched off, then sensitive activity"
	for _, args := range [][]string{{mine}, {reads}, {critical, "Root signed in to the console"}, {mine, "--account", "111122223333", "--since", "2026-03-03T01:00:00Z", "--until", "2026-03-05"}} {
		files, stored := test(ExitClean, append(args, logs)...), test(ExitClean, append(args, "--store", dir)...)
		if !reflect.DeepEqual(files.Rules, stored.Rules) || files.Events != stored.Events || files.Events == 0 || len(files.Rules) == 0 {
			t.Errorf("%q: %d and %d events\nfiles %+v\nstore %+v", args, files.Events, stored.Events, files.Rules, stored.Rules)
		}
		if stored.Ledger.Records.Kept >= files.Ledger.Records.Kept {
			t.Errorf("%q: all of the store was read: %+v", args, stored.Ledger.Records)
		}
	}
	got := test(ExitClean, mine, "--store", dir, "--samples", "2")
	if got.Rules[0].Rule.Title != "Reads" || got.Rules[2].Matches != 0 || got.Rules[2].Rule.Title != "Nothing" || len(got.Rules[2].Samples) != 0 {
		t.Fatalf("%+v", got.Rules)
	}
	top := got.Rules[0]
	count, _ := run(t, ExitClean, "search", "eventSource=s3.amazonaws.com", "eventName=Get*", "--count", logs)
	if fmt.Sprintln(top.Matches) != count || top.Per10000 != float64(top.Matches)*1e4/float64(got.Events) || top.Actors < 2 || len(top.Samples) != 2 ||
		!top.First.Before(top.Last) || top.Samples[0].Time.Before(top.First) || top.Samples[0].File == "" {
		t.Errorf("%+v, want %s matches", top, count)
	}
	test(ExitFindings, mine, "--store", dir, "--fail-above", "1")
	test(ExitClean, mine, "--store", dir, "--fail-above", "10000")
	if out, _ := run(t, ExitClean, "rules", "backtest", critical, "--store", dir); !strings.Contains(out, "no rule can match") || !strings.Contains(out, critical) {
		t.Error(out)
	}
	run(t, ExitUsage, "rules", "backtest", mine)
	run(t, ExitUsage, "rules", "backtest", "no such rule", logs)
	run(t, ExitUsage, "rules", "backtest", filepath.Join(mine, "none.yml"), logs)
	rule("Broken!!", `{condition: sel}`)
	test(ExitFindings, mine, "--store", dir)
}
