package report_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/report"
	"spoor/internal/safetext"
)

var update = flag.Bool("update", false, "write the golden files anew")

// render returns what Write gives.
func render(t testing.TB, format string, res *hunt.Result, opts report.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Write(&b, format, res, opts); err != nil {
		t.Fatalf("Write %s: %v", format, err)
	}
	return b.Bytes()
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run with -update and look at the difference. Got:\n%s", name, got)
	}
}

func TestGolden(t *testing.T) {
	t.Parallel()
	res := incident(t)
	for name, make := range map[string]func() []byte{
		"table.txt":       func() []byte { return render(t, "table", res, report.Options{}) },
		"table-color.txt": func() []byte { return render(t, "table", res, report.Options{Color: true, Width: 120}) },
		"table-narrow.txt": func() []byte {
			return render(t, "table", res, report.Options{Width: 70, Limit: 2, Command: "spoor hunt s3://bucket/prefix"})
		},
		"table-quiet.txt":  func() []byte { return render(t, "table", quiet(), report.Options{}) },
		"table-empty.txt":  func() []byte { return render(t, "table", &hunt.Result{}, report.Options{}) },
		"findings.csv":     func() []byte { return render(t, "csv", res, report.Options{}) },
		"timeline.txt":     func() []byte { return render(t, "timeline", res, report.Options{}) },
		"timeline-all.txt": func() []byte { return renderTimeline(t, "table", entries()) },
		"timeline.csv":     func() []byte { return renderTimeline(t, "csv", entries()) },
		"timeline.jsonl":   func() []byte { return renderTimeline(t, "jsonl", entries()) },
		"stats.txt":        func() []byte { return renderStats(t, "table", res) },
		"stats.csv":        func() []byte { return renderStats(t, "csv", res) },
		"explain.txt":      func() []byte { return renderExplain(t, &res.Findings[0], report.Options{}) },
		"explain-correlation.txt": func() []byte {
			return renderExplain(t, &res.Findings[1], report.Options{})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden(t, name, make())
		})
	}
}

func entries() []hunt.TimelineEntry {
	return []hunt.TimelineEntry{
		{First: start, Last: start.Add(90 * time.Second), Count: 37, Actor: ana, Source: "signin.amazonaws.com", Name: "ConsoleLogin", Error: "Failure", Address: "203.0.113.77", Region: "us-east-1", Account: "111122223333", EventID: "e1"},
		{First: start.Add(2 * time.Minute), Last: start.Add(2 * time.Minute), Count: 1, Actor: ana, Source: "signin.amazonaws.com", Name: "ConsoleLogin", Address: "203.0.113.77", Region: "us-east-1", Account: "111122223333", EventID: "e2"},
		{First: start.Add(30 * time.Hour), Last: start.Add(70 * time.Hour), Count: 2, Actor: ana, Source: "s3.amazonaws.com", Name: "GetObject", Address: "=1+1", Region: "us-east-1", Account: "111122223333", Target: "arn:aws:s3:::backups/\x1b[31m", EventID: "e3"},
	}
}

func renderTimeline(t testing.TB, format string, es []hunt.TimelineEntry) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Timeline(&b, format, es, report.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func renderStats(t testing.TB, format string, res *hunt.Result) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Stats(&b, format, res, report.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func renderExplain(t testing.TB, f *detect.Finding, opts report.Options) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := report.Explain(&b, f, opts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// On a terminal the table fits one screen when it can, and shows the worst three findings when it cannot.
func TestTableFitsTheScreen(t *testing.T) {
	t.Parallel()
	res := incident(t)
	many := *res
	for i := range 12 {
		f := res.Findings[0]
		f.Rule.ID = fmt.Sprint("rule ", i)
		many.Findings = append(many.Findings, f)
	}
	for _, c := range []struct{ height, findings int }{{0, 10}, {60, 5}, {20, 3}} {
		out := render(t, "table", &many, report.Options{Height: c.height})
		got := bytes.Count(out, []byte("\n          2026-")) // the line that says when
		if got != c.findings {
			t.Errorf("height %d: %d findings, want %d:\n%s", c.height, got, c.findings, out)
		}
		if lines := bytes.Count(out, []byte("\n")); c.height >= 60 && lines > c.height {
			t.Errorf("height %d: %d lines", c.height, lines)
		}
	}
}

// What one rule found of many actors takes one place in the table.
func TestTableGroupsByRule(t *testing.T) {
	t.Parallel()
	res := *incident(t)
	for i := range 30 {
		f := res.Findings[1]
		f.ID = fmt.Sprintf("%016x", i)
		f.Actor.Name = fmt.Sprint("user-", i)
		res.Findings = append(res.Findings, f)
	}
	out := string(render(t, "table", &res, report.Options{}))
	if n := strings.Count(out, "\nHIGH "); n != 1 {
		t.Errorf("%d places for one rule:\n%s", n, out)
	}
	if want := "30 more of it: user user-0 ×1 [0000000000000000]"; !strings.Contains(out, want) {
		t.Errorf("no %q in\n%s", want, out)
	}
}

// Nothing that log text can hold reaches a terminal as it is, and no line of a table is wider than the terminal.
func TestTerminalIsNotDriven(t *testing.T) {
	t.Parallel()
	res := poisoned(t)
	evidenceOnly := *res
	evidenceOnly.Timeline = nil
	outputs := map[string][]byte{
		"table":         render(t, "table", res, report.Options{Limit: -1, Width: 90}),
		"timeline":      render(t, "timeline", res, report.Options{Width: 90}),
		"evidence":      render(t, "timeline", &evidenceOnly, report.Options{Width: 90}),
		"stats":         renderStats(t, "table", res),
		"json":          render(t, "json", res, report.Options{}),
		"jsonl":         render(t, "jsonl", res, report.Options{}),
		"csv":           render(t, "csv", res, report.Options{}),
		"timeline csv":  renderTimeline(t, "csv", entries()),
		"timeline json": renderTimeline(t, "json", entries()),
		"stats json":    renderStats(t, "json", res),
		"stats csv":     renderStats(t, "csv", res),
	}
	for i := range res.Findings {
		outputs["explain"] = append(outputs["explain"], renderExplain(t, &res.Findings[i], report.Options{Limit: -1, Width: 90})...)
	}
	for name, out := range outputs {
		if !utf8.Valid(out) {
			t.Errorf("%s is not valid UTF-8", name)
		}
		for _, r := range string(out) {
			if r != '\n' && r != '\r' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Errorf("%s holds %U", name, r)
				break
			}
		}
	}
	for _, name := range []string{"table", "timeline", "evidence"} {
		for l := range strings.Lines(string(outputs[name])) {
			if w := safetext.Width(strings.TrimSuffix(l, "\n")); w > 90 {
				t.Errorf("%s has a line of %d columns: %s", name, w, l)
			}
		}
	}
}

func TestCSVIsFormulaSafe(t *testing.T) {
	t.Parallel()
	res := poisoned(t)
	for name, out := range map[string][]byte{"findings": render(t, "csv", res, report.Options{}), "stats": renderStats(t, "csv", res), "timeline": renderTimeline(t, "csv", entries())} {
		rows, err := csv.NewReader(bytes.NewReader(out)).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if bytes.Count(out, []byte("\n")) != len(rows) || bytes.Count(out, []byte("\r\n")) != len(rows) {
			t.Errorf("%s: a row does not end with CRLF, or a cell has more than one line", name)
		}
		for _, row := range rows {
			for _, cell := range row {
				if cell != "" && strings.ContainsRune("=+-@\t\r", rune(cell[0])) {
					t.Errorf("%s: the cell %.40q is a formula", name, cell)
				}
			}
		}
	}
	rows, err := csv.NewReader(bytes.NewReader(render(t, "csv", res, report.Options{}))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != len(res.Findings)+1 {
		t.Errorf("%d rows for %d findings", len(rows), len(res.Findings))
	}
}

func TestJSONRoundTrip(t *testing.T) {
	t.Parallel()
	for name, res := range map[string]*hunt.Result{"incident": incident(t), "quiet": quiet()} {
		var back hunt.Result
		if err := json.Unmarshal(render(t, "json", res, report.Options{}), &back); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range res.Findings {
			for j := range res.Findings[i].Events {
				res.Findings[i].Events[j].Raw = nil // not part of the JSON form
			}
		}
		if !reflect.DeepEqual(&back, res) {
			t.Errorf("%s changed on its way through JSON:\n got %+v\nwant %+v", name, &back, res)
		}
	}
}

func TestJSONL(t *testing.T) {
	t.Parallel()
	res := incident(t)
	lines := bytes.Split(bytes.TrimSuffix(render(t, "jsonl", res, report.Options{}), []byte("\n")), []byte("\n"))
	if len(lines) != len(res.Findings)+1 {
		t.Fatalf("%d lines for %d findings", len(lines), len(res.Findings))
	}
	for i, l := range lines {
		var v struct {
			Kind   string `json:"kind"`
			ID     string `json:"id"`
			Ledger *struct {
				Balanced bool `json:"balanced"`
			} `json:"ledger"`
		}
		if err := json.Unmarshal(l, &v); err != nil {
			t.Fatalf("line %d: %v", i, err)
		}
		switch {
		case i < len(res.Findings) && (v.Kind != "finding" || v.ID != res.Findings[i].ID):
			t.Errorf("line %d is %s %s", i, v.Kind, v.ID)
		case i == len(res.Findings) && (v.Kind != "ledger" || v.Ledger == nil || !v.Ledger.Balanced):
			t.Errorf("the last line is %s", l)
		}
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	res := incident(t)
	for level, want := range map[detect.Level]string{
		detect.Critical:      "1 critical finding: look here first.",
		detect.High:          "1 high finding: look here first.",
		detect.Medium:        "Nothing critical or high. 1 medium finding to look at.",
		detect.Low:           "Nothing above low. 1 low finding.",
		detect.Informational: "No rule found anything to alert on in 1,234,567 events.",
	} {
		one := *res
		one.Findings = []detect.Finding{res.Findings[0]}
		one.Findings[0].Level = level
		if out := string(render(t, "table", &one, report.Options{})); !strings.Contains(out, "\n"+want+"\n") {
			t.Errorf("%s: no %q in\n%s", level, want, out)
		}
	}
	broken := *res
	ledger := *res.Ledger
	ledger.Balanced, ledger.Problems = false, []string{"120 listed, 119 accounted for"}
	broken.Ledger = &ledger
	out := strings.Join(strings.Fields(string(render(t, "table", &broken, report.Options{}))), " ")
	for _, want := range []string{"The ledger does not balance", "120 listed, 119 accounted for", "NOT BALANCED"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	t.Parallel()
	if err := report.Write(&bytes.Buffer{}, "xml", quiet(), report.Options{}); err == nil || !strings.Contains(err.Error(), `unknown format "xml"`) {
		t.Errorf("Write: %v", err)
	}
	if err := report.Stats(&bytes.Buffer{}, "html", quiet(), report.Options{}); err == nil {
		t.Error("Stats took html")
	}
	if err := report.Timeline(&bytes.Buffer{}, "html", nil, report.Options{}); err == nil {
		t.Error("Timeline took html")
	}
}

var errDiskFull = errors.New("disk full")

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errDiskFull }

func TestWriteErrorsAreReported(t *testing.T) {
	t.Parallel()
	res := incident(t)
	for _, format := range report.Formats {
		if err := report.Write(fullDisk{}, format, res, report.Options{}); !errors.Is(err, errDiskFull) {
			t.Errorf("%s: %v", format, err)
		}
	}
	if err := report.Explain(fullDisk{}, &res.Findings[0], report.Options{}); !errors.Is(err, errDiskFull) {
		t.Errorf("Explain: %v", err)
	}
	if err := report.Timeline(fullDisk{}, "table", entries(), report.Options{}); !errors.Is(err, errDiskFull) {
		t.Errorf("Timeline: %v", err)
	}
	if err := report.Stats(fullDisk{}, "csv", res, report.Options{}); !errors.Is(err, errDiskFull) {
		t.Errorf("Stats: %v", err)
	}
}
