package story

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/html"
)

// hostile are texts that a record may hold, in whatever member its author can set.
var hostile = []string{
	"\x1b[2J\x1b]0;owned\x07\x1b[31mred",
	"=cmd|' /C calc'!A0",
	"+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", " \uff1d1",
	`<script>alert(1)</script><img src=x onerror=alert(1)>`,
	`"><svg/onload=alert(1)>`, `'); DROP TABLE x;--`,
	"right\u202eleft\u2066iso\u2069\u200f",
	"c1\u009b31m\u0085next\u2028line\ufeff",
	"two\nlines\r\nand\x00nul\x7f",
	`{{.Secret}} ${jndi:ldap://x} %s%n \u001b[31m`,
}

// hostileRecords make rules fire, with hostile texts in every place that a report shows. Invalid UTF-8 is in one of them.
func hostileRecords(t *testing.T) []byte {
	t.Helper()
	quote := func(s string) string {
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	var b strings.Builder
	for i, h := range hostile {
		fmt.Fprintf(&b, `{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":%[1]s,"arn":%[2]s,"accountId":"111122223333","accessKeyId":%[1]s,"userName":%[1]s},"eventTime":"2026-01-10T09:%02[3]d:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":%[1]s,"sourceIPAddress":%[1]s,"userAgent":%[1]s,"errorCode":%[1]s,"errorMessage":%[1]s,"requestParameters":{"userName":%[1]s,%[1]s:%[1]s},"responseElements":{"user":{"arn":%[2]s}},"eventID":%[1]s,"eventType":"AwsApiCall","recipientAccountId":%[1]s,"resources":[{"ARN":%[2]s,"type":%[1]s}]}`+"\n",
			quote(h), quote("arn:aws:iam::111122223333:user/"+h), i)
		fmt.Fprintf(&b, `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","arn":%[2]s,"principalId":%[1]s,"sessionContext":{"sessionIssuer":{"type":"Role","arn":%[2]s,"userName":%[1]s}}},"eventTime":"2026-01-10T10:%02[3]d:00Z","eventSource":%[1]s,"eventName":%[1]s,"awsRegion":"eu-central-1","sourceIPAddress":"203.0.113.9","userAgent":"TruffleHog","eventID":"%[4]s","recipientAccountId":"111122223333","requestParameters":{"a":%[1]s}}`+"\n",
			quote(h), quote("arn:aws:sts::111122223333:assumed-role/"+h+"/"+h), i, eventID(i))
	}
	b.WriteString(strings.Replace(record(50, "CreateUser", `"x":"raw`+"\x80\xff\x1b"+`"`), "s3.amazonaws.com", "iam.amazonaws.com", 1) + "\n")
	b.WriteString(strings.NewReplacer("s3.amazonaws.com", "iam.amazonaws.com", "aws-cli/2.0", "latin\xe9\x9b").Replace(record(51, "CreateUser")) + "\n")
	return []byte(b.String())
}

// TestHostile shows hostile records in every way. Nothing of them reaches a terminal, a spreadsheet or a page as more than
// text.
func TestHostile(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	name := "logs/\x1b[31m\u202e<b>=1.jsonl"
	d.write(name, hostileRecords(t))
	d.write("logs/\x1b[2Jcut.json.gz", gzipped(t, logFile(record(1, "First")))[:60])

	table := d.spoor("hunt", "logs", "--limit", "-1").exits(incomplete)
	table.says("IAM user created", "Call by an attack or secret-hunting tool")
	tame(t, "stderr", table.err)
	for _, format := range []string{"table", "json", "jsonl", "csv", "sarif", "html", "ocsf", "timeline"} {
		out := d.spoor("hunt", "logs", "--format", format, "--limit", "-1").exits(incomplete).out
		tame(t, format, out)
		switch format {
		case "csv":
			cells(t, out)
		case "html":
			markup(t, out)
		}
	}
	res := d.spoor("hunt", "logs", "--format", "json").exits(incomplete).result()
	if n := len(res.Findings); n < 2*len(hostile) {
		t.Errorf("%d findings", n)
	}
	for _, f := range res.Findings {
		if f.alerts() && (f.Rule.File == "persistence/iam-user-created.yml" || f.Rule.File == "initial-access/attack-tool.yml") {
			tame(t, "the explanation of "+f.ID, d.spoor("hunt", "logs", "--explain", f.ID).exits(incomplete).says(f.Rule.Title).out)
		}
	}
	for _, args := range [][]string{
		{"hunt", "logs", "--actor", "ana"}, {"hunt", "logs", "--actor", hostile[0]}, {"hunt", "logs", "--actor", "ana", "--format", "csv"},
		{"stats", "logs", "--limit", "-1"}, {"stats", "logs", "--format", "json"}, {"stats", "logs", "--format", "csv", "--limit", "-1"},
		{"search", "eventName=*", "logs"}, {"search", "eventName=*", "logs", "--format", "raw"}, {"search", "no\x1bsuch\u202e", "logs"},
		{"tail", "logs", "-n", "100"}, {"hunt", "logs", "--explain", "\x1b[31m"}, {"hunt", "\x1b[31mnowhere"}, {"\x1b[31m"}, {"hunt", "logs", "--\x1b[31m"},
	} {
		got := d.spoor(args...)
		tame(t, fmt.Sprintf("spoor %q", args), got.out)
		tame(t, fmt.Sprintf("the complaint of spoor %q", args), got.err)
		if slices.Contains(args, "csv") {
			cells(t, got.out)
		}
	}
	if n := len(d.spoor("search", "eventName=*", "logs").lines()); n < 2*len(hostile) {
		t.Errorf("%d lines for %d records: one record is one line", n, 2*len(hostile)+2)
	}
	for l := range strings.Lines(d.spoor("search", "eventName=*", "logs", "--format", "raw").out) {
		if !json.Valid([]byte(l)) {
			t.Errorf("not JSON: %q", l)
		}
	}

	// A rule's file is not to be trusted either.
	d.write("rules/x.yml", []byte("title: \"\\e[31mred\\u202e\"\nlogsource: {product: aws}\ndetection:\n    a: {eventName: First}\n    condition: a\nlevel: high\n"))
	d.write("rules/\x1b[31m.yml", []byte("title: broken\n"))
	for _, args := range [][]string{{"rules", "list", "--rules", "rules", "--no-builtin"}, {"rules", "check", "rules"}, {"rules", "show", "red", "--rules", "rules", "--no-builtin"}, {"hunt", "logs", "--rules", "rules"}} {
		got := d.spoor(args...)
		tame(t, fmt.Sprintf("spoor %q", args), got.out)
		tame(t, fmt.Sprintf("the complaint of spoor %q", args), got.err)
	}
	if _, err := os.Stat(d.path("logs")); err != nil {
		t.Error(err)
	}
}

// cells fails the test when a cell of text as CSV could be taken for a formula, or is more than one line.
func cells(t *testing.T, text string) {
	t.Helper()
	rows, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	quoted := 0
	for _, row := range rows {
		for _, cell := range row {
			first, _ := utf8.DecodeRuneInString(strings.TrimLeft(cell, " \u00a0"))
			if strings.ContainsRune("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20", first) || strings.ContainsAny(cell, "\n\r\t") {
				t.Errorf("a cell is %q", cell)
			}
			if strings.HasPrefix(cell, "'") {
				quoted++
			}
		}
	}
	if len(rows) < 2 || strings.Contains(text, "cmd|") && quoted == 0 {
		t.Errorf("%d rows, %d cells neutralised", len(rows), quoted)
	}
}

// markup fails the test when the page holds elements or attributes that came from a record.
func markup(t *testing.T, page string) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	scripts, said := 0, false
	for n := range doc.Descendants() {
		if n.Type == html.TextNode && strings.Contains(n.Data, "alert(1)") && n.Parent.Data != "script" {
			said = true
		}
		if n.Type != html.ElementNode {
			continue
		}
		if n.Data == "script" {
			scripts++
			if n.FirstChild != nil && strings.Contains(n.FirstChild.Data, "alert(1)") {
				t.Error("a record's text is in a script")
			}
		}
		if n.Data == "img" || n.Data == "iframe" || n.Data == "object" || n.Data == "link" {
			t.Errorf("<%s> on the page", n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || strings.Contains(a.Val, "javascript:") {
				t.Errorf("<%s %s=%q>", n.Data, a.Key, a.Val)
			}
		}
	}
	if scripts > 1 || !said {
		t.Errorf("%d scripts; the record's text is shown: %v", scripts, said)
	}
}
