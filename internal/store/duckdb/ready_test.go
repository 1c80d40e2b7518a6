package duckdb

import (
	"slices"
	"strings"
	"testing"
)

// TestReady asks every ready query; each must find what the records hold for it.
func TestReady(t *testing.T) {
	t.Parallel()
	more := slices.Concat(records, []string{
		`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEANA","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","accessKeyId":"AKIAEXAMPLEANA","userName":"ana"},
"eventTime":"2026-01-08T08:00:00Z","eventSource":"sts.amazonaws.com","eventName":"AssumeRole","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userAgent":"aws-cli",
"requestParameters":{"roleArn":"arn:aws:iam::111122223333:role/Admin","roleSessionName":"ana"},"responseElements":{"credentials":{"accessKeyId":"ASIAEXAMPLENEW"}},"requestID":"R5","eventID":"00000000-0000-4000-8000-000000000005","readOnly":true,
"resources":[{"accountId":"111122223333","type":"AWS::IAM::Role","ARN":"arn:aws:iam::111122223333:role/Admin"}],"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
		`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEEVE","arn":"arn:aws:iam::111122223333:user/eve","accountId":"111122223333","accessKeyId":"AKIAEXAMPLEEVE","userName":"eve"},
"eventTime":"2026-01-09T08:00:00Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","awsRegion":"us-east-1","sourceIPAddress":"2001:db8::1","userAgent":"aws-cli",
"requestParameters":{"name":"audit"},"responseElements":null,"requestID":"R6","eventID":"00000000-0000-4000-8000-000000000006","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
		`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEEVE","arn":"arn:aws:iam::111122223333:user/eve","accountId":"111122223333","accessKeyId":"AKIAEXAMPLEEVE","userName":"eve"},
"eventTime":"2026-01-09T09:00:00Z","eventSource":"iam.amazonaws.com","eventName":"AttachUserPolicy","awsRegion":"us-east-1","sourceIPAddress":"2001:db8::1","userAgent":"aws-cli",
"requestParameters":{"userName":"eve","policyArn":"arn:aws:iam::aws:policy/AdministratorAccess"},"responseElements":null,"requestID":"R7","eventID":"00000000-0000-4000-8000-000000000007","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
	})
	e := open(t, Options{Files: write(t, more)})
	tests := map[string]struct {
		params map[string]string
		rows   int
		first  string // beginning of the first row
	}{
		"key":            {map[string]string{"key": "AKIAEXAMPLEEVE"}, 2, "eve | 2001:db8::1 | cloudtrail.amazonaws.com | StopLogging | 1 | 0 | 2026-01-09T08:00:00Z"},
		"key-origin":     {map[string]string{"key": "ASIAEXAMPLENEW"}, 1, "2026-01-08T08:00:00Z | ana | AKIAEXAMPLEANA | AssumeRole | arn:aws:iam::111122223333:role/Admin"},
		"arn":            {map[string]string{"arn": "arn:aws:s3:::payroll"}, 1, "ana | s3.amazonaws.com | GetObject | 1 | 0"},
		"actor":          {map[string]string{"actor": "eve"}, 2, "2026-01-09T09:00:00Z | iam.amazonaws.com | AttachUserPolicy"},
		"address":        {map[string]string{"address": "203.0.113.0/24"}, 2, "203.0.113.9 | Deploy"},
		"addresses":      {nil, 5, "Deploy | 203.0.113.9 | 1"},
		"refused":        {nil, 1, "bob | 444455556666 | iam.amazonaws.com | CreateUser | AccessDenied | 1 | 1"},
		"new-principals": {map[string]string{"since": "2026-01-07"}, 2, "arn:aws:iam::111122223333:root | root | root | 2026-01-07T12:00:00Z"},
		"new-calls":      {map[string]string{"since": "2026-01-08"}, 3, "ana | sts.amazonaws.com | AssumeRole"},
		"new-addresses":  {map[string]string{"since": "2026-01-07"}, 2, "192.0.2.33 | 2026-01-07T12:00:00Z | 2026-01-07T12:00:00Z | 1 | 1 | root"},
		"seen":           {map[string]string{"value": "198.51.100.7"}, 1, "address | 198.51.100.7 | 2026-01-05T09:12:41Z | 2026-01-08T08:00:00Z | 2 | 0"},
		"console":        {nil, 1, "2026-01-07T12:00:00Z | root | root | 111122223333 | Failed authentication | No | 192.0.2.33"},
		"root":           {nil, 1, "2026-01-07T12:00:00Z | 111122223333 | signin.amazonaws.com | ConsoleLogin"},
		"roles":          {nil, 1, "arn:aws:iam::111122223333:role/Admin | ana | user | 198.51.100.7 | 1"},
		"access-granted": {nil, 2, "2026-01-06T11:00:00Z | bob | CreateUser"},
		"trails":         {nil, 1, `2026-01-09T08:00:00Z | eve | cloudtrail.amazonaws.com | StopLogging | {"name":"audit"}`},
		"failures":       {nil, 1, "AccessDenied | iam.amazonaws.com | CreateUser | 1 | 1"},
		"hours":          {nil, 7, "2026-01-05T09:00:00Z | 1 | 0 | 1 | 1"},
		"regions":        {nil, 3, "111122223333 | us-east-1 | 5 | 3 | 3"},
	}
	for _, r := range ReadyQueries() {
		t.Run(r.Name, func(t *testing.T) {
			test, ok := tests[r.Name]
			if !ok {
				t.Fatal("no test")
			}
			params, err := r.Bind(test.params)
			if err != nil {
				t.Fatal(err)
			}
			got := must(t, e, r.SQL, params...)
			if len(got) != test.rows || !strings.HasPrefix(got[0], test.first) {
				t.Errorf("got %d rows:\n%s\nwant %d, the first %s…", len(got), strings.Join(got, "\n"), test.rows, test.first)
			}
			if len(r.Params) > 0 {
				if _, err := r.Bind(nil); err == nil {
					t.Error("parameters may be left out")
				}
			}
			if _, err := r.Bind(map[string]string{"nonsense": "x"}); err == nil {
				t.Error("any parameter is taken")
			}
			// A value is text, whatever it holds.
			var hostile []Param
			for _, p := range r.Params {
				if p.Name != "since" {
					hostile = append(hostile, Param{p.Name, `' OR '1'='1`})
				}
			}
			if len(hostile) > 0 {
				got, err := ask(t, e, r.SQL, hostile...)
				if r.Name == "address" {
					if err == nil || !strings.Contains(err.Error(), "is not a network") {
						t.Errorf("got %q, %v", got, err)
					}
				} else if err != nil || len(got) != 0 {
					t.Errorf("got %q, %v", got, err)
				}
			}
		})
	}
	var rows []string
	for _, r := range ReadyQueries() {
		var params []string
		for _, p := range r.Params {
			params = append(params, "`"+p.Name+"`")
		}
		rows = append(rows, "| `"+r.Name+"` | "+r.Question+" | "+strings.Join(params, ", ")+" |")
	}
	checkDoc(t, "../../../docs/sql.md", "ready", "| name | question | parameters |\n|---|---|---|\n"+strings.Join(rows, "\n"))
}
