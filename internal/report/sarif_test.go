package report_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	_ "github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif" // carries the schema of OASIS in its source
	"github.com/santhosh-tekuri/jsonschema/v6"

	"spoor/internal/hunt"
	"spoor/internal/report"
)

// sarifSchema reads the official schema out of the source of the go-sarif module.
func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/owenrumney/go-sarif/v3").Output()
	if err != nil {
		t.Fatalf("find the go-sarif module: %v", err)
	}
	path := filepath.Join(strings.TrimSpace(string(dir)), "pkg", "report", "v210", "sarif", "schema.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var text string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok && spec.Names[0].Name == "schema" {
			if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
				text, err = strconv.Unquote(lit.Value)
			}
		}
		return true
	})
	if err != nil || !strings.Contains(text, "sarif-schema-2.1.0.json") {
		t.Fatalf("no SARIF schema in %s (%v)", path, err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("mem:///sarif.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("mem:///sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestSARIFSchema(t *testing.T) {
	t.Parallel()
	schema := sarifSchema(t)
	for name, res := range map[string]*hunt.Result{"incident": incident(t), "poisoned": poisoned(t), "quiet": quiet(), "empty": {}} {
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(render(t, "sarif", res, report.Options{ExitCode: 3})))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := schema.Validate(doc); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad, err := jsonschema.UnmarshalJSON(strings.NewReader(`{"version":"2.1.0","runs":[{"tool":{"driver":{}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if schema.Validate(bad) == nil {
		t.Error("the schema takes a driver without a name")
	}
}

func TestSARIFContent(t *testing.T) {
	t.Parallel()
	res := incident(t)
	var log struct {
		Runs []struct {
			Tool struct {
				Driver struct {
					Rules []struct {
						ID   string `json:"id"`
						Help struct {
							Text string `json:"text"`
						} `json:"help"`
					} `json:"rules"`
				} `json:"driver"`
			} `json:"tool"`
			Invocations []struct {
				Successful bool  `json:"executionSuccessful"`
				ExitCode   int   `json:"exitCode"`
				Execution  []any `json:"toolExecutionNotifications"`
				Config     []any `json:"toolConfigurationNotifications"`
			} `json:"invocations"`
			Results []struct {
				RuleID       string            `json:"ruleId"`
				RuleIndex    int               `json:"ruleIndex"`
				Level        string            `json:"level"`
				Kind         string            `json:"kind"`
				Fingerprints map[string]string `json:"partialFingerprints"`
				Locations    []struct {
					Physical struct {
						Artifact struct {
							URI string `json:"uri"`
						} `json:"artifactLocation"`
						Region struct {
							Offset int64 `json:"byteOffset"`
							Length int   `json:"byteLength"`
						} `json:"region"`
					} `json:"physicalLocation"`
				} `json:"locations"`
			} `json:"results"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(render(t, "sarif", res, report.Options{ExitCode: 3}), &log); err != nil {
		t.Fatal(err)
	}
	run := log.Runs[0]
	if len(run.Results) != len(res.Findings) {
		t.Fatalf("%d results for %d findings", len(run.Results), len(res.Findings))
	}
	wantLevels := []string{"error fail", "error fail", "warning fail", "note fail", "none informational"}
	for i, r := range run.Results {
		f := &res.Findings[i]
		if got := r.Level + " " + r.Kind; got != wantLevels[i] {
			t.Errorf("result %d is %q, want %q", i, got, wantLevels[i])
		}
		if r.Fingerprints["spoorFinding/v1"] != f.ID {
			t.Errorf("result %d has the fingerprint %v", i, r.Fingerprints)
		}
		rule := run.Tool.Driver.Rules[r.RuleIndex]
		if rule.ID != r.RuleID || rule.ID != f.Rule.ID || rule.Help.Text == "" {
			t.Errorf("result %d names rule %q, at its index is %+v", i, r.RuleID, rule)
		}
		if len(r.Locations) != len(f.Events) {
			t.Fatalf("result %d has %d locations", i, len(r.Locations))
		}
		for j, l := range r.Locations {
			e := &f.Events[j]
			if l.Physical.Artifact.URI != e.File || l.Physical.Region.Offset != e.Offset || l.Physical.Region.Length != len(e.Raw) {
				t.Errorf("location %d of result %d is %+v", j, i, l)
			}
		}
	}
	inv := run.Invocations[0]
	if inv.Successful || inv.ExitCode != 3 || len(inv.Execution) != 3 || len(inv.Config) != 1 {
		t.Errorf("the invocation is %+v", inv)
	}
}

func TestSARIFURIs(t *testing.T) {
	t.Parallel()
	res := quiet()
	template := incident(t).Findings[0]
	for name, want := range map[string]string{
		"logs/a.json.gz":               "logs/a.json.gz",
		"/var/log/a b.json":            "file:///var/log/a%20b.json",
		"s3://bucket/AWSLogs/x y.json": "s3://bucket/AWSLogs/x%20y.json",
		"javascript:alert(1)":          "./javascript:alert%281%29",
		"//evil.example/x":             "file:////evil.example/x",
		"50%.json":                     "50%25.json",
		"a\x00\xff":                    "a%00%FF",
	} {
		f := template
		f.Events = f.Events[:1:1]
		f.Events[0].File = name
		res.Findings = append(res.Findings[:0], f)
		var log struct {
			Runs []struct {
				Results []struct {
					Locations []struct {
						Physical struct {
							Artifact struct {
								URI string `json:"uri"`
							} `json:"artifactLocation"`
						} `json:"physicalLocation"`
					} `json:"locations"`
				} `json:"results"`
			} `json:"runs"`
		}
		if err := json.Unmarshal(render(t, "sarif", res, report.Options{}), &log); err != nil {
			t.Fatal(err)
		}
		got := log.Runs[0].Results[0].Locations[0].Physical.Artifact.URI
		u, err := url.Parse(got)
		if err != nil || got != want {
			t.Errorf("%q became %q, want %q (%v)", name, got, want, err)
		} else if u.Scheme != "" && u.Scheme != "file" && u.Scheme != "s3" {
			t.Errorf("%q has the scheme %q", got, u.Scheme)
		}
	}
}
