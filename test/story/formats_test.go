package story

import (
	"encoding/csv"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// TestFormats writes the same hunt in every format. Each must hold every finding, and be what it says it is.
func TestFormats(t *testing.T) {
	t.Parallel()
	org := theSample(t)
	d := newDesk(t)
	hunt := func(t *testing.T, format string) string {
		t.Helper()
		e := *d
		e.t = t
		out := e.spoor("hunt", org.dir, "--format", format).exits(clean).quiet().out
		tame(t, format, out)
		e.spoor("hunt", org.dir, "--format", format, "--out", "report."+format).exits(clean).quiet()
		if written := string(e.read("report." + format)); len(written) < len(out)*9/10 || len(out) < 1000 {
			t.Errorf("%d bytes on standard output, %d in the file", len(out), len(written))
		}
		return out
	}
	want := d.spoor("hunt", org.dir, "--format", "json").exits(clean).result().Findings
	if len(want) < 20 {
		t.Fatalf("%d findings", len(want))
	}
	id := func(i int) string { return want[i].ID }
	t.Run("json", func(t *testing.T) { hunt(t, "json") })
	t.Run("table", func(t *testing.T) { hunt(t, "table") })
	t.Run("jsonl", func(t *testing.T) {
		lines := strings.Split(strings.TrimSuffix(hunt(t, "jsonl"), "\n"), "\n")
		if len(lines) != len(want)+1 {
			t.Fatalf("%d lines for %d findings", len(lines), len(want))
		}
		for i, l := range lines {
			var line struct{ Kind, ID string }
			if err := json.Unmarshal([]byte(l), &line); err != nil {
				t.Fatalf("line %d: %v", i+1, err)
			}
			if i < len(want) && (line.Kind != "finding" || line.ID != id(i)) || i == len(want) && line.Kind != "ledger" {
				t.Errorf("line %d is %+v", i+1, line)
			}
		}
	})
	t.Run("csv", func(t *testing.T) {
		rows, err := csv.NewReader(strings.NewReader(hunt(t, "csv"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if len(rows) != len(want)+1 {
			t.Fatalf("%d rows for %d findings", len(rows), len(want))
		}
		at := slices.Index(rows[0], "finding")
		for i, row := range rows[1:] {
			if row[at] != id(i) {
				t.Errorf("row %d is %q, want %s", i+1, row[at], id(i))
			}
		}
	})
	t.Run("sarif", func(t *testing.T) {
		var log struct {
			Version string
			Runs    []struct {
				Tool struct {
					Driver struct {
						Rules []struct{ ID string }
					}
				}
				Results []struct {
					RuleID              string
					RuleIndex           int
					PartialFingerprints map[string]string
					Message             struct{ Text string }
				}
			}
		}
		if err := json.Unmarshal([]byte(hunt(t, "sarif")), &log); err != nil {
			t.Fatal(err)
		}
		if log.Version != "2.1.0" || len(log.Runs) != 1 || len(log.Runs[0].Results) != len(want) {
			t.Fatalf("version %s, %d runs", log.Version, len(log.Runs))
		}
		rules := log.Runs[0].Tool.Driver.Rules
		for i, r := range log.Runs[0].Results {
			if !slices.Contains(slices.Collect(values(r.PartialFingerprints)), id(i)) || r.Message.Text == "" || r.RuleIndex >= len(rules) || rules[r.RuleIndex].ID != r.RuleID || r.RuleID != want[i].Rule.ID {
				t.Errorf("result %d: %+v", i, r)
			}
		}
	})
	t.Run("ocsf", func(t *testing.T) {
		classes := map[int]int{}
		for l := range strings.Lines(hunt(t, "ocsf")) {
			var e struct {
				ClassUID int `json:"class_uid"`
				Metadata struct{ Version string }
				Time     int64
			}
			if err := json.Unmarshal([]byte(l), &e); err != nil {
				t.Fatal(err)
			}
			if e.Metadata.Version != "1.6.0" || e.Time == 0 {
				t.Errorf("%.200s", l)
			}
			classes[e.ClassUID]++
		}
		if classes[2004] != len(want) || classes[6003] == 0 || len(classes) != 2 {
			t.Errorf("classes %v for %d findings", classes, len(want))
		}
	})
	t.Run("timeline", func(t *testing.T) {
		text := hunt(t, "timeline")
		if !strings.Contains(text, "CRITICAL New administrator made and armed ["+id(0)+"]") {
			t.Errorf("the worst finding is not in the timeline")
		}
		at := 0
		for _, call := range []string{"sts:GetCallerIdentity", "iam:CreateUser", "iam:AttachUserPolicy", "sts:AssumeRole", "cloudtrail:StopLogging", "guardduty:DeleteDetector", "s3:PutBucketVersioning", "iam:UpdateAssumeRolePolicy"} {
			next := strings.Index(text[at:], call)
			if next < 0 {
				t.Errorf("%s is not in its place", call)
			}
			at += max(0, next)
		}
	})
	t.Run("html", func(t *testing.T) {
		page := hunt(t, "html")
		doc, err := html.Parse(strings.NewReader(page))
		if err != nil {
			t.Fatal(err)
		}
		count := map[string]int{}
		for n := range doc.Descendants() {
			if n.Type != html.ElementNode {
				continue
			}
			count[n.Data]++
			for _, a := range n.Attr {
				if n.Data != "a" && (a.Key == "src" || a.Key == "href" || a.Key == "srcset" || strings.HasPrefix(a.Key, "on")) {
					t.Errorf("<%s %s=%q> loads or runs something", n.Data, a.Key, a.Val)
				}
			}
		}
		if count["script"] > 1 || count["style"] != 1 || count["svg"] == 0 || count["link"]+count["img"]+count["iframe"]+count["object"] > 0 {
			t.Errorf("elements %v", count)
		}
		for i := range want {
			if !strings.Contains(page, id(i)) {
				t.Errorf("finding %s is not on the page", id(i))
			}
		}
	})
}

func values(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range m {
			if !yield(v) {
				return
			}
		}
	}
}
