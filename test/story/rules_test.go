package story

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const ownRule = `title: Bucket with a forbidden name
id: 3a6e6a0c-6a53-4f0a-9a55-0d6a3c1f2b10
status: stable
description: Somebody made a bucket with a name that is not to be used.
logsource:
    product: aws
    service: cloudtrail
detection:
    made:
        eventSource: s3.amazonaws.com
        eventName: CreateBucket
        requestParameters.bucketName|contains: forbidden
    condition: made
level: high
tags:
    - attack.t1530
`

const ownTest = `fire:
  - name: forbidden
    event: {eventSource: s3.amazonaws.com, eventName: CreateBucket, requestParameters: {bucketName: a-forbidden-name}}
quiet:
  - name: fine
    event: {eventSource: s3.amazonaws.com, eventName: CreateBucket, requestParameters: {bucketName: a-fine-name}}
`

// TestRules looks at the built-in rules, and adds some.
func TestRules(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	list := d.spoor("rules", "list").exits(clean)
	var rules []struct{ ID, Title, Level string }
	if err := json.Unmarshal([]byte(d.spoor("rules", "list", "--json").exits(clean).out), &rules); err != nil {
		t.Fatal(err)
	}
	counts := regexp.MustCompile(`^(\d+) shown; (\d+) rules and (\d+) correlations run`).FindStringSubmatch(list.err)
	if counts == nil {
		t.Fatalf("spoor rules list tells no counts: %q", list.err)
	}
	if n := len(list.lines()); n < 200 || n != len(rules) || strconv.Itoa(n) != counts[1] {
		t.Errorf("%d lines, %d rules as JSON, %s told", n, len(rules), counts[1])
	}
	for i, l := range list.lines() {
		if !strings.HasPrefix(l, rules[i].Level) || !strings.Contains(l, rules[i].ID) {
			t.Errorf("line %d is %q, want %+v", i+1, l, rules[i])
		}
	}
	high := d.spoor("rules", "list", "--level", "high").exits(clean).lines()
	if len(high) == 0 || len(high) >= len(rules) || slices.ContainsFunc(high, func(l string) bool { return !strings.HasPrefix(l, "high ") && !strings.HasPrefix(l, "critical ") }) {
		t.Errorf("%d of %d rules at high or above", len(high), len(rules))
	}

	for _, name := range []string{"CloudTrail logging stopped", "cloudtrail logging stop"} {
		d.spoor("rules", "show", name).exits(clean).quiet().says("title        CloudTrail logging stopped", "why ", "check ", "benign ", "    detection:")
	}
	d.spoor("rules", "show", rules[0].ID).exits(clean).says(rules[0].Title)
	d.spoor("rules", "check").exits(clean).complains("0 cannot be loaded")
	if got := d.spoor("rules", "test").exits(clean).quiet(); !regexp.MustCompile(`(?m)^\d{3,} cases, 0 failed$`).MatchString(got.out) {
		t.Errorf("spoor rules test says %q", tail(got.out))
	}

	d.spoor("rules", "coverage").exits(clean).quiet().says("T1685.002", "Disable or Modify", "techniques")
	var layer struct {
		Domain     string
		Techniques []struct{ TechniqueID string }
	}
	d.spoor("rules", "coverage", "--format", "navigator", "--out", "layer.json").exits(clean).quiet()
	if err := json.Unmarshal(d.read("layer.json"), &layer); err != nil {
		t.Fatal(err)
	}
	if layer.Domain != "enterprise-attack" || len(layer.Techniques) < 50 {
		t.Errorf("domain %q, %d techniques", layer.Domain, len(layer.Techniques))
	}

	// One's own rule, its test, and one that is broken.
	d.write("rules/forbidden.yml", []byte(ownRule))
	d.write("rules/forbidden.test.yml", []byte(ownTest))
	d.spoor("rules", "check", "rules").exits(clean).quietBut("1 rule and 0 correlations run")
	d.spoor("rules", "test", "rules", "--verbose").exits(clean).says("forbidden", "2 cases, 0 failed")
	d.write("logs/1.json", logFile(record(1, "CreateBucket"), strings.Replace(record(2, "CreateBucket"), `"requestParameters":null`, `"requestParameters":{"bucketName":"my-FORBIDDEN-bucket"}`, 1)))
	hunt := d.spoor("hunt", "logs", "--rules", "rules", "--fail-on", "high").exits(findings).quiet()
	hunt.says("HIGH      Bucket with a forbidden name", "User ana called s3:CreateBucket once.")
	d.spoor("hunt", "logs", "--rules", "rules", "--fail-on", "high", "--disable", "Bucket with a forbidden name").exits(clean)
	d.spoor("hunt", "logs", "--rules", "rules/forbidden.yml", "--no-builtin").exits(clean).says("Rules      1 rule")

	d.write("wrong/forbidden.yml", []byte(ownRule))
	d.write("wrong/forbidden.test.yml", []byte(strings.Replace(ownTest, "a-fine-name", "a-forbidden-name", 1)))
	d.spoor("rules", "test", "wrong").exits(findings).says(`quiet "fine"`, "2 cases, 1 failed")

	d.write("rules/broken.yml", []byte("title: Broken\nlogsource: {product: aws}\ndetection:\n    a: {eventName|nosuch: x}\n    condition: a\n"))
	d.write("rules/worse.yml", []byte("title: [\n"))
	check := d.spoor("rules", "check", "rules").exits(findings).complains("2 cannot be loaded")
	check.says("error: rules/broken.yml", "nosuch", "error: rules/worse.yml")
	d.spoor("hunt", "logs", "--rules", "rules").exits(clean).complains("rule left out: rules/broken.yml", "rule left out: rules/worse.yml").
		says("HIGH      Bucket with a forbidden name")
	if got := d.spoor("hunt", "logs", "--rules", "rules", "--strict"); got.code == clean || got.out != "" || !strings.Contains(got.err, "rules could not be loaded") {
		t.Errorf("--strict with a broken rule: code %d, %q", got.code, got.err)
	}
}

// quietBut fails the test unless standard error holds text and nothing that complains.
func (o outcome) quietBut(text string) outcome {
	o.t.Helper()
	if !strings.Contains(o.err, text) || strings.Contains(o.err, "spoor:") {
		o.t.Errorf("spoor %q says %q, want %q alone", o.args, o.err, text)
	}
	return o
}
