package cli

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/sample"
	"spoor/internal/store"
)

// run runs a command line, and fails the test when it ends with another code than want.
func run(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := Run(t.Context(), args, strings.NewReader(""), &out, &errs); code != want {
		t.Fatalf("spoor %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, out.Bytes(), errs.Bytes())
	}
	return out.String(), errs.String()
}

// decode reads JSON that a command printed.
func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return v
}

func TestStoreCommands(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	logs, dir := filepath.Join(tmp, "logs"), filepath.Join(tmp, "store")
	if _, err := sample.Generate(t.Context(), sample.Options{Seed: 1, Events: 2000, Days: 3, Out: logs}); err != nil {
		t.Fatal(err)
	}

	out, _ := run(t, ExitClean, "store", "ingest", logs, "--into", dir, "--json")
	first := decode[store.IngestResult](t, out)
	if first.Added != 2000 || first.Rows != 2000 || !first.Ledger.Balanced || first.Ledger.Records.Kept != 2000 {
		t.Fatalf("%+v", first)
	}
	if out, _ := run(t, ExitClean, "store", "ingest", logs, "--into", dir); !strings.Contains(out, "Added 0 events") || !strings.Contains(out, "it has 2 000 now") {
		t.Error(out)
	}
	status := decode[store.Status](t, first2(run(t, ExitClean, "store", "status", dir, "--json", "--columns")))
	if status.Rows != 2000 || len(status.Days) != 3 || status.Ledger.Records.Kept != 2000 || len(status.Columns) == 0 || len(status.Runs) != 1 {
		t.Errorf("%+v", status)
	}
	if out, _ := run(t, ExitClean, "store", "status", dir, "--columns"); !strings.Contains(out, "2 000 events from 2026-03-02") || !strings.Contains(out, "requestParameters") {
		t.Error(out)
	}
	if out, _ := run(t, ExitClean, "store", "verify", dir, "--deep"); !strings.Contains(out, "is whole: 2 000 events") {
		t.Error(out)
	}

	run(t, ExitClean, "store", "hold", dir, "--name", "case", "--since", "2026-03-03", "--reason", "a letter\x1b[2J")
	if out, _ := run(t, ExitClean, "store", "hold", dir); !strings.HasPrefix(out, "case since ") || strings.Contains(out, "\x1b") {
		t.Errorf("%q", out)
	}
	if out, _ := run(t, ExitClean, "store", "expire", dir, "--management", "1d", "--data", "1d", "--network-activity", "1d", "--insight", "1d", "--aggregated", "1d", "--activity-audit-log", "1d"); !strings.Contains(out, "HELD by case") {
		t.Error(out)
	}
	run(t, ExitClean, "store", "hold", dir, "--release", "case")
	kept := decode[store.Verification](t, first2(run(t, ExitClean, "store", "verify", dir, "--json")))
	if kept.Rows != 2000-status.Days[0].Rows || kept.Removed != status.Days[0].Rows || !kept.OK() {
		t.Errorf("%+v", kept)
	}

	exported := filepath.Join(tmp, "out")
	run(t, ExitClean, "store", "export", dir, "--out", exported)
	other := decode[store.IngestResult](t, first2(run(t, ExitClean, "store", "ingest", exported, "--into", filepath.Join(tmp, "other"), "--json")))
	if other.Added != kept.Rows || other.Ledger.Records.Seen != kept.Rows {
		t.Errorf("%+v", other)
	}
	lines, told := run(t, ExitClean, "store", "export", dir, "--format", "jsonl")
	if int64(strings.Count(lines, "\n")) != kept.Rows || !strings.Contains(told, "Exported ") {
		t.Errorf("%d lines, %s", strings.Count(lines, "\n"), told)
	}
	run(t, ExitClean, "store", "compact", dir)
	run(t, ExitClean, "store", "compact", dir, "--all", "--json")
	run(t, ExitClean, "store", "expire", dir, "--grace", "0s", "--json")

	// Damage: exit code 3, and the file is named.
	var hit string
	if err := filepath.WalkDir(filepath.Join(dir, "data"), func(p string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			hit = p
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(hit, 1000); err != nil {
		t.Fatal(err)
	}
	for _, command := range []string{"verify", "status"} {
		if out, _ := run(t, ExitIncomplete, "store", command, dir); !strings.Contains(out, filepath.Base(hit)) || !strings.Contains(out, "DAMAGED") {
			t.Errorf("%s: %s", command, out)
		}
	}
	if _, told := run(t, ExitIncomplete, "store", "export", dir, "--format", "jsonl"); !strings.Contains(told, filepath.Base(hit)) {
		t.Error(told)
	}
}

func first2(a, _ string) string { return a }

func TestStoreUsage(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	dir := filepath.Join(tmp, "store")
	logs := filepath.Join(tmp, "a.json")
	if err := os.WriteFile(logs, []byte(`{"Records":[{"eventTime":"2026-01-10T10:00:00Z","eventName":"X","eventID":"x"},{"eventTime"`), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		want int
		say  string
		args []string
	}{
		{ExitUsage, "--into", []string{"store", "ingest", logs}},
		{ExitUsage, "wants a file", []string{"store", "ingest", "--into", dir}},
		{ExitUsage, "every event once", []string{"store", "ingest", logs, "--into", dir, "--keep-duplicates"}},
		{ExitUsage, "--wait", []string{"store", "ingest", logs, "--into", dir, "--wait", "soon"}},
		{ExitUsage, "not a store", []string{"store", "status", tmp}},
		{ExitUsage, "not a store", []string{"store", "compact", tmp}},
		{ExitUsage, "one argument", []string{"store", "verify"}},
		{ExitUsage, "unknown command", []string{"store", "nonsense"}},
		{ExitIncomplete, "Could not be read whole", []string{"store", "ingest", logs, "--into", dir}},
		{ExitUsage, "no such hold", []string{"store", "hold", dir, "--release", "x"}},
		{ExitUsage, "--name", []string{"store", "hold", dir, "--reason", "x"}},
		{ExitUsage, "--data", []string{"store", "expire", dir, "--data", "long"}},
		{ExitUsage, "--out", []string{"store", "export", dir}},
		{ExitUsage, "--format", []string{"store", "export", dir, "--format", "xml"}},
		{ExitClean, "Nothing to merge", []string{"store", "compact", dir}},
		{ExitClean, "No holds", []string{"store", "hold", dir}},
		{ExitClean, "Would remove 1 events", []string{"store", "expire", dir, "--data", "1d", "--management", "1d", "--dry-run"}},
	} {
		out, errs := run(t, tt.want, tt.args...)
		if !strings.Contains(out+errs, tt.say) {
			t.Errorf("%v: no %q in\n%s%s", tt.args, tt.say, out, errs)
		}
	}
}
