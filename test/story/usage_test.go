package story

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestUsage gets everything wrong: each mistake ends with code 2 and a text that helps, and prints nothing else.
func TestUsage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.write("logs/1.json", logFile(record(1, "First")))
	for _, c := range []struct{ line, says string }{
		{"hunt", "spoor hunt ./logs"},
		{"stats", "spoor stats ./logs"},
		{"search", "spoor search eventName=StopLogging ./logs"},
		{"tail", "spoor tail -f ./logs"},
		{"sample", "--out"},
		{"nosuch", "spoor help"},
		{"hunt logs --nosuch", "spoor hunt --help"},
		{"hunt nosuch", "nosuch: no such file or directory"},
		{"hunt http://example.com/x", "not http://"},
		{"hunt s3://", "s3://"},
		{"hunt logs --format nosuch", "want one of table, json, jsonl, csv, sarif, html, ocsf, timeline"},
		{"hunt logs --color nosuch", "want auto, always or never"},
		{"hunt logs --fail-on nosuch", "informational"},
		{"hunt logs --min-level nosuch", "informational"},
		{"hunt logs --since nosuch", `--since: "nosuch" is neither a time`},
		{"hunt logs --since 2026-02-01 --until 2026-01-01", "--since 2026-02-01 is not before --until 2026-01-01"},
		{"hunt logs --workers x", "spoor hunt --help"},
		{"hunt logs --placeholder x", "want name=value,value"},
		{"rules nosuch", "takes no argument"},
		{"rules show", "spoor rules show"},
		{"rules show nosuch-rule-anywhere", "spoor rules list"},
		{"rules test nosuch", "nosuch"},
		{"rules list --level nosuch", "informational"},
		{"rules coverage --format nosuch", "navigator"},
		{"sample --out x --size big", "500MB"},
		{"sample --out x --start yesterday", "2026-03-02"},
		{"version x", "takes no argument"},
	} {
		got := d.spoor(strings.Fields(c.line)...)
		if got.code != usage || got.out != "" || !strings.HasPrefix(got.err, "spoor: ") || !strings.Contains(got.err, c.says) || strings.Count(got.err, "\n") > 3 {
			t.Errorf("spoor %s: code %d, want %d; says %q, want %q; prints %.200q", c.line, got.code, usage, got.err, c.says, got.out)
		}
	}
	if got := d.files(); len(got) != 1 {
		t.Errorf("wrong usage left files: %q", got)
	}
}

// TestHelp reads what the program says of itself.
func TestHelp(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, line := range []string{"help", "--help", "help hunt", "hunt --help", "stats --help", "search --help", "tail --help", "rules --help", "rules list --help", "rules show --help", "rules check --help", "rules test --help", "rules coverage --help", "sample --help"} {
		got := d.spoor(strings.Fields(line)...).exits(clean).quiet().says("Usage:")
		if strings.Contains(line, " ") || line == "help" {
			if !strings.HasPrefix(line, "rules --help") {
				got.says("Exit status:", "3  input incomplete", "spoor ")
			}
		}
	}
	d.spoor("help").says("hunt", "search", "stats", "tail", "rules", "sample", "version")

	got := d.spoor("version").exits(clean).quiet().says("spoor v0.0.0-story\n", "commit 0123abc\n")
	if len(got.lines()) < 4 {
		t.Errorf("version says %q", got.out)
	}
	var v struct {
		Version, Commit, Go, OS, Arch string
		Engines                       map[string]string
	}
	if err := json.Unmarshal([]byte(d.spoor("version", "--json").exits(clean).quiet().out), &v); err != nil {
		t.Fatal(err)
	}
	if v.Version != "v0.0.0-story" || v.Commit != "0123abc" || v.Go == "" || v.OS == "" || v.Arch == "" || v.Engines["github.com/klauspost/compress"] == "" {
		t.Errorf("version is %+v", v)
	}
	for shell, sign := range map[string]string{"bash": "complete ", "zsh": "#compdef spoor", "fish": "complete -c spoor", "powershell": "Register-ArgumentCompleter"} {
		d.spoor("completion", shell).exits(clean).quiet().says(sign, "spoor")
	}
	d.spoor("__complete", "hunt", "--format", "").exits(clean).says("sarif\n", "timeline\n")
}
