package sigma

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shared is the folder of data beside the project, or skips the test.
func shared(t testing.TB, path string) string {
	t.Helper()
	if dir := os.Getenv("SPOOR_SHARED"); dir != "" {
		return filepath.Join(dir, path)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		at := filepath.Join(dir, "shared")
		if _, err := os.Stat(filepath.Join(at, "DESIGN.md")); err == nil {
			return filepath.Join(at, path)
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skip("no folder shared/ with DESIGN.md above the test; set SPOOR_SHARED")
		}
		dir = up
	}
}

// TestPublishedRules loads published rules as they are.
func TestPublishedRules(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(shared(t, "rules/sigma/*/*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != 40 {
		t.Fatalf("%d files, want 40", len(files))
	}
	var docs Documents
	reasons := map[string]string{}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d, problems := Parse(f, data, Options{})
		docs.Append(d)
		for _, p := range problems {
			reasons[filepath.Base(p.File)] = p.Reason
		}
		if strings.Contains(f, "placeholder") {
			d, problems = Parse(f, data, Options{Placeholders: map[string][]string{"Legitimate_Countries": {"DE"}, "Legitimate_IP_Ranges": {"10.*"}}})
			if len(problems) != 0 || len(d.Rules) != 1 {
				t.Fatalf("with its placeholders: %+v", problems)
			}
			x := d.Rules[0].Expr
			for address, want := range map[string]bool{"10.1.1.1": false, "11.1.1.1": true} {
				if got := holds(t, x, `{"eventName":"ConsoleLogin","responseElements":{"ConsoleLogin":"Success"},"sourceIPAddress":"`+address+`"}`); got != want {
					t.Errorf("%s: sign-in from %s: %v, want %v", f, address, got, want)
				}
			}
		}
	}
	want := map[string]string{
		"aws_cloudtrail_console_login_success_from_susp_locations.yml": "selection filter_main_country: src_country|expand: the placeholder %Legitimate_Countries% is not configured",
		"aws_lambda_function_created_or_invoked.yml":                   "no timeframe: one hour is taken",
	}
	if len(docs.Rules) != 34 || len(docs.Correlations) != 5 || !maps.Equal(reasons, want) {
		t.Errorf("%d rules, %d correlations, want 34 and 5; remarks %q, want %q", len(docs.Rules), len(docs.Correlations), reasons, want)
	}
	for _, r := range docs.Rules {
		if !r.LogSource.Applies() {
			t.Errorf("%s does not apply to CloudTrail", r.Title)
		}
	}
	for title, records := range map[string]map[string]bool{
		"AWS GuardDuty Detector Deleted Or Updated": {
			`{"eventSource":"guardduty.amazonaws.com","eventName":"UpdateDetector","requestParameters":{"enable":false}}`: true,
			`{"eventSource":"guardduty.amazonaws.com","eventName":"UpdateDetector","requestParameters":{"enable":true}}`:  false,
			`{"eventSource":"guardduty.amazonaws.com","eventName":"DeleteDetector","errorCode":"AccessDenied"}`:           false,
			`{"eventSource":"guardduty.amazonaws.com","eventName":"DeleteDetector","requestParameters":null}`:             true,
		},
		"SES Identity Has Been Deleted": {`{"eventSource":"ses.amazonaws.com","eventName":"DeleteIdentity"}`: true},
		"AWS SAML Provider Deletion Activity": {
			`{"eventSource":"iam.amazonaws.com","eventName":"DeleteSAMLProvider"}`: false, // tests a status that CloudTrail lacks
		},
		"Malicious Usage Of IMDS Credentials Outside Of AWS Infrastructure": {
			`{"eventSource":"s3.amazonaws.com","eventName":"ListBuckets","sourceIPAddress":"1.2.3.4","userIdentity":{"arn":"arn:aws:sts::1:assumed-role/aws:ec2-instance/i-1"}}`:      true,
			`{"eventSource":"ssm.amazonaws.com","eventName":"ListBuckets","sourceIPAddress":"1.2.3.4","userIdentity":{"arn":"arn:aws:sts::1:assumed-role/aws:ec2-instance/i-1"}}`:     false,
			`{"eventSource":"s3.amazonaws.com","eventName":"ListBuckets","sourceIPAddress":"AWS Internal","userIdentity":{"arn":"arn:aws:sts::1:assumed-role/aws:ec2-instance/i-1"}}`: false,
		},
	} {
		i := slices.IndexFunc(docs.Rules, func(r *Rule) bool { return r.Title == title })
		if i < 0 {
			t.Errorf("no rule %q", title)
			continue
		}
		for record, want := range records {
			if got := holds(t, docs.Rules[i].Expr, record); got != want {
				t.Errorf("%s on %s: %v, want %v", title, record, got, want)
			}
		}
	}
}

// TestSpecificationExamples: the documents of the specification load, but for filters of other log sources nothing is
// to be said of them.
func TestSpecificationExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(shared(t, "rules/sigma/spec/examples/*/*.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var docs Documents
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		d, problems := Parse(f, data, Options{})
		docs.Append(d)
		for _, p := range problems {
			t.Errorf("%s: %s", filepath.Base(f), p.Reason)
		}
	}
	if len(docs.Rules) != 2 || len(docs.Correlations) != 8 || len(docs.Filters) != 2 {
		t.Errorf("%d rules, %d correlations, %d filters, want 2, 8 and 2", len(docs.Rules), len(docs.Correlations), len(docs.Filters))
	}
}
