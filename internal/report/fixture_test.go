package report_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/ledger"
)

var (
	start = time.Date(2026, 1, 10, 2, 0, 5, 0, time.UTC)
	ana   = event.Actor{Kind: event.ActorUser, ID: "arn:aws:iam::111122223333:user/ana", Name: "ana", Account: "111122223333", From: "arn"}
	role  = event.Actor{Kind: event.ActorRole, ID: "arn:aws:iam::111122223333:role/Deploy", Name: "Deploy", Account: "111122223333", Session: "ci-42", From: "sessionIssuer.arn"}
	root  = event.Actor{Kind: event.ActorRoot, ID: "arn:aws:iam::444455556666:root", Name: "root", Account: "444455556666", From: "type"}
)

// hostile texts, as a caller of AWS could put them into a record.
var hostile = []string{
	`<script>alert(1)</script>`,
	`"><img src=x onerror=alert(1)>`,
	`' onmouseover='alert(1)`,
	`</script><script>alert(2)</script>`,
	`</style><svg onload=alert(3)>`,
	`</title></details></body></html><iframe src=//evil.example>`,
	`javascript:alert(4)`,
	`data:text/html,<script>alert(5)</script>`,
	`{{.Secret}}{{template "x"}}${7*7}<%= 1 %>`,
	`--><!--<base href=//evil.example/>`,
	`]]><![CDATA[<meta http-equiv=refresh content=0>`,
	"`${alert(6)}`\\u003cscript\\u003e",
	"\x1b[2J\x1b[31mred\x1b]0;title\a",
	"\u009b31m",
	"moc.live\u202egro.doog\u2066x\u2069",
	"ad\u200bmin\ufeff\u00ad",
	"a\r\nb\tc\x00d",
	"\xff\xfe invalid",
	"e" + strings.Repeat("\u0301", 40),
	"=cmd|' /C calc'!A0",
	"@SUM(1+1)*cmd|' /C calc'!A0",
	"+1+1", "-1+1", "\t=1", "\r=1",
	"漢字 ＝1+1",
	strings.Repeat("A", 20000),
	strings.Repeat("<b>", 5000),
}

// record makes the JSON of a record.
func record(t testing.TB, id string, at time.Time, source, name, address, agent string, params map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{
		"eventVersion": "1.11",
		"userIdentity": map[string]any{"type": "IAMUser", "arn": ana.ID, "accountId": "111122223333", "accessKeyId": "AKIAEXAMPLEKEY", "userName": "ana"},
		"eventTime":    at.Format(time.RFC3339), "eventSource": source, "eventName": name, "awsRegion": "us-east-1", "sourceIPAddress": address,
		"userAgent": agent, "requestParameters": params, "responseElements": nil, "requestID": "req-" + id, "eventID": id, "readOnly": false,
		"eventType": "AwsApiCall", "apiVersion": "2013-11-01", "managementEvent": true, "recipientAccountId": "111122223333", "eventCategory": "Management",
		"resources": []any{map[string]any{"ARN": "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit", "accountId": "111122223333", "type": "AWS::CloudTrail::Trail"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func ev(t testing.TB, n int, a event.Actor, source, name, region, address, errorCode, target string) detect.Evidence {
	t.Helper()
	at := start.Add(time.Duration(n) * 7 * time.Minute)
	id := fmt.Sprintf("00000000-0000-4000-8000-%012d", n)
	agent := "aws-cli/2.36.7 md/awscrt#0.28 ua/2.1 os/linux"
	return detect.Evidence{
		ID: id, Time: at, Source: source, Name: name, Region: region, Account: a.Account, Actor: a, Address: address, Agent: agent, Error: errorCode,
		Key: "AKIAEXAMPLEKEY", Target: target,
		Matched: []detect.FieldMatch{{Path: "eventSource", Value: source}, {Path: "eventName", Value: name}},
		File:    "logs/AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/10/111122223333_CloudTrail_us-east-1_20260110T0200Z_abcd.json.gz", Offset: int64(1000 * n),
		Raw: record(t, id, at, source, name, address, agent, map[string]any{"name": "audit", "policies": []any{"read", "AdministratorAccess"}}),
	}
}

func tally(pairs ...any) []detect.Tally {
	var out []detect.Tally
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, detect.Tally{Value: pairs[i].(string), Count: pairs[i+1].(int)})
	}
	return out
}

func seen(n int, value string, count, failed int64) hunt.Seen {
	return hunt.Seen{Value: value, Count: count, Failed: failed, First: start.Add(time.Duration(n) * time.Minute), Last: start.Add(time.Duration(n)*time.Minute + 30*time.Hour)}
}

// incident is the result of a hunt in an account that was broken into, without hostile text.
func incident(t testing.TB) *hunt.Result {
	t.Helper()
	stop := detect.Rule{
		ID: "5c9a6a5e-0b1e-4c0c-9a52-0d4f3a0b1c01", Title: "CloudTrail logging was stopped or its trail deleted", Level: detect.Critical, Status: "stable",
		Description: "Somebody switched off the record of what happens in this account. Everything after this moment may be invisible.\n\nAttackers do this early, before the noisy part.",
		Author:      "Spoor", License: "Apache-2.0", Suite: "spoor", File: "rules/cloudtrail/stopped.yml",
		References:     []string{"https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_StopLogging.html", "ticket SEC-12"},
		Tags:           []string{"attack.defense-impairment", "attack.t1685.002"},
		FalsePositives: []string{"A trail that is replaced by another one in the same change."},
		Check:          []string{"Is the trail logging now? Start it again.", "Who holds the access key, and what else did it do in the same hour?", "Was there a change ticket for this trail?"},
		Controls:       []string{"CIS 4.5"},
		Techniques:     []detect.Technique{{ID: "T1685.002", Old: "T1562.008", Name: "Disable or Modify Cloud Logs", Tactic: "defense-impairment"}},
	}
	brute := detect.Rule{
		ID: "8f1e6c2a-7777-4b8b-8a7c-000000000002", Title: "Failed sign-ins, then one that worked", Level: detect.High, Status: "test", Suite: "spoor", Correlation: true,
		Description: "Many failed console sign-ins from one address were followed by a successful one.", Check: []string{"Ask the person whether it was them."},
		Techniques: []detect.Technique{{ID: "T1110", Name: "Brute Force", Tactic: "credential-access"}, {ID: "T1078.004", Name: "Cloud Accounts", Tactic: "initial-access"}},
	}
	key := detect.Rule{ID: "rule-key", Title: "Access key created for another user", Level: detect.Medium, Suite: "spoor",
		Techniques: []detect.Technique{{ID: "T1098.001", Name: "Additional Cloud Credentials", Tactic: "persistence"}}}
	bucket := detect.Rule{ID: "rule-bucket", Title: "Bucket policy changed", Level: detect.Low, Suite: "spoor", Controls: []string{"CIS 4.8"}}
	info := detect.Rule{ID: "rule-info", Title: "Security group changed", Level: detect.Informational, Suite: "spoor"}

	stopEvents := []detect.Evidence{
		ev(t, 62, ana, "cloudtrail.amazonaws.com", "StopLogging", "us-east-1", "192.0.2.10", "", "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit"),
		ev(t, 63, ana, "cloudtrail.amazonaws.com", "DeleteTrail", "us-east-1", "192.0.2.10", "AccessDenied", "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit"),
		ev(t, 64, ana, "cloudtrail.amazonaws.com", "DeleteTrail", "us-east-1", "192.0.2.10", "AccessDenied", "arn:aws:cloudtrail:us-east-1:111122223333:trail/audit"),
	}
	stopEvents[0].Matched = append(stopEvents[0].Matched, detect.FieldMatch{Path: "requestParameters.policies", Value: "AdministratorAccess"})
	login := []detect.Evidence{
		ev(t, 1, ana, "signin.amazonaws.com", "ConsoleLogin", "us-east-1", "203.0.113.77", "Failure", ""),
		ev(t, 2, ana, "signin.amazonaws.com", "ConsoleLogin", "us-east-1", "203.0.113.77", "", ""),
	}
	login[0].RuleID, login[1].RuleID = "signin-failed", "signin-worked"
	res := &hunt.Result{
		Version: "0.1.0", Started: start.Add(100 * time.Hour), Elapsed: 3200 * time.Millisecond, Inputs: []string{"./logs"}, First: start, Last: start.Add(69*time.Hour + 58*time.Minute),
		Rules: hunt.RuleCounts{Loaded: 214, Correlations: 12, Off: 3, Broken: 1, Fired: 5, Problems: []string{"rules/own.yml document 2: condition: unknown selection \"sel\""}},
		Findings: []detect.Finding{
			{ID: "a1b2c3d4e5f60718", Rule: stop, Level: detect.Critical, Actor: ana, Account: "111122223333", Count: 3, Denied: 2, First: stopEvents[0].Time, Last: stopEvents[2].Time,
				Names:   tally("cloudtrail.amazonaws.com:DeleteTrail", 2, "cloudtrail.amazonaws.com:StopLogging", 1),
				Regions: tally("us-east-1", 3), Addresses: tally("192.0.2.10", 3), Agents: tally("aws-cli/2.36.7", 3), Errors: tally("AccessDenied", 2), Keys: tally("AKIAEXAMPLEKEY", 3),
				Targets: tally("arn:aws:cloudtrail:us-east-1:111122223333:trail/audit", 3), Events: stopEvents},
			{ID: "0f1e2d3c4b5a6978", Rule: brute, Level: detect.High, Actor: ana, Account: "111122223333", Group: map[string]string{"sourceIPAddress": "203.0.113.77", "awsRegion": "us-east-1"}, Count: 1, First: login[0].Time, Last: login[1].Time,
				Observed: "37 failed sign-ins by 1 source in 4m, then a sign-in", Names: tally("signin.amazonaws.com:ConsoleLogin", 38),
				Regions: tally("us-east-1", 38), Addresses: tally("203.0.113.77", 38), Events: login},
			{ID: "1111222233334444", Rule: key, Level: detect.Medium, Actor: role, Account: "111122223333", Count: 1200, Denied: 1200, First: start.Add(time.Hour), Last: start.Add(40 * time.Hour),
				Names:   tally("iam.amazonaws.com:CreateAccessKey", 700, "iam.amazonaws.com:CreateLoginProfile", 300, "iam.amazonaws.com:UpdateLoginProfile", 150, "iam.amazonaws.com:CreateUser", 50),
				Regions: tally("us-east-1", 600, "eu-central-1", 600), Addresses: tally("198.51.100.7", 800, "198.51.100.8", 300, "2001:db8::1", 100), Errors: tally("AccessDenied", 1200),
				Events: []detect.Evidence{ev(t, 9, role, "iam.amazonaws.com", "CreateAccessKey", "us-east-1", "198.51.100.7", "AccessDenied", "arn:aws:iam::111122223333:user/boss")}},
			{ID: "5555666677778888", Rule: bucket, Level: detect.Low, Actor: root, Account: "444455556666", Count: 1, First: start.Add(20 * time.Hour), Last: start.Add(20 * time.Hour),
				Names: tally("s3.amazonaws.com:PutBucketPolicy", 1), Regions: tally("eu-central-1", 1), Addresses: tally("192.0.2.99", 1), Targets: tally("arn:aws:s3:::backups", 1),
				Events: []detect.Evidence{ev(t, 170, root, "s3.amazonaws.com", "PutBucketPolicy", "eu-central-1", "192.0.2.99", "", "arn:aws:s3:::backups")}},
			{ID: "9999000011112222", Rule: info, Level: detect.Informational, Actor: role, Account: "111122223333", Count: 4, First: start.Add(2 * time.Hour), Last: start.Add(3 * time.Hour),
				Names:  tally("ec2.amazonaws.com:AuthorizeSecurityGroupIngress", 4),
				Events: []detect.Evidence{ev(t, 18, role, "ec2.amazonaws.com", "AuthorizeSecurityGroupIngress", "eu-central-1", "198.51.100.7", "", "sg-0abc")}},
		},
		Stats: hunt.Stats{
			Events: 1234567, Failed: 12345, ReadOnly: 1000000, Distinct: map[string]int64{"actors": 87, "accounts": 2, "regions": 3, "names": 900, "addresses": 412, "agents": 60, "errors": 9, "keys": 33},
			Accounts: []hunt.Seen{seen(0, "111122223333", 1200000, 12000), seen(5, "444455556666", 34567, 345)},
			Regions:  []hunt.Seen{seen(0, "us-east-1", 1000000, 10000), seen(1, "eu-central-1", 234000, 2345), seen(2, "", 567, 0)},
			Sources:  []hunt.Seen{seen(0, "s3.amazonaws.com", 900000, 100), seen(1, "iam.amazonaws.com", 334567, 12245)},
			Names:    []hunt.Seen{seen(0, "s3.amazonaws.com:GetObject", 800000, 50), seen(1, "iam.amazonaws.com:CreateAccessKey", 700, 700)},
			Actors: []hunt.ActorSeen{
				{Actor: role, Seen: seen(0, role.ID, 1000000, 12000), Names: 120, Addresses: 12},
				{Actor: ana, Seen: seen(3, ana.ID, 2345, 40), Names: 34, Addresses: 2},
				{Actor: root, Seen: seen(9, root.ID, 12, 0), Names: 3, Addresses: 1},
			},
			Addresses: []hunt.Seen{seen(0, "198.51.100.7", 999000, 800), seen(0, "203.0.113.77", 38, 37), seen(2, "2001:db8::1", 100, 100)},
			Agents:    []hunt.Seen{seen(0, "aws-sdk-go-v2/1.30.3 os/linux lang/go#1.26.0 md/GOOS#linux md/GOARCH#amd64 api/s3#1.58.2", 990000, 0)},
			Errors:    []hunt.Seen{seen(0, "AccessDenied", 12000, 12000), seen(0, "NoSuchBucket", 345, 345)},
			Keys:      []hunt.Seen{seen(0, "AKIAEXAMPLEKEY", 2345, 40)},
		},
		Ledger: &ledger.Report{
			Objects: ledger.Objects{Listed: 120, Read: 117, Skipped: 1, Failed: 2},
			Records: ledger.Records{Seen: 1240013, Kept: 1234567, Duplicate: 5000, Filtered: 433, Rejected: 13},
			Bytes:   ledger.Bytes{Stored: 98_000_000, Expanded: 1_900_000_000},
			Skipped: []ledger.ReasonCount{{Reason: "digest file", Count: 1}},
			Failures: []ledger.Failure{
				{Object: "logs/AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/10/broken.json.gz", Reason: "gzip: unexpected end of file", Kept: 812},
				{Object: "logs/secret.json.gz", Reason: "permission denied"},
			},
			Rejects:  []ledger.Reject{{Object: "logs/odd.json", Offset: 4711, Length: 98, Reason: "expected ',' or '}' after a member"}},
			Notes:    []ledger.ReasonCount{{Reason: "invalid UTF-8 replaced", Count: 3}},
			Balanced: true,
		},
	}
	for h := range 70 {
		n := int64(9000 + (h*7919)%16000)
		res.Stats.Hours = append(res.Stats.Hours, hunt.HourCount{Hour: start.Truncate(time.Hour).Add(time.Duration(h) * time.Hour), Count: n, Failed: n / 80})
	}
	return res
}

// poisoned is the incident with a hostile text in every place that a log or a rule can reach.
func poisoned(t testing.TB) *hunt.Result {
	t.Helper()
	res := incident(t)
	next := 0
	bad := func() string {
		next++
		return hostile[next%len(hostile)]
	}
	poison := func(ts []detect.Tally) {
		for i := range ts {
			ts[i].Value = bad()
		}
	}
	template := res.Findings[0]
	for i := range 2 * len(hostile) {
		f := template
		h := hostile[i%len(hostile)]
		f.ID = h
		if i < len(hostile) {
			f.ID = fmt.Sprintf("%016x", i)
		}
		f.Level = detect.Level(i % len(detect.Levels))
		f.Actor = event.Actor{Kind: event.ActorKind(h), ID: h, Name: h, Account: h, Session: h, From: h}
		f.Account, f.Observed = h, bad()
		f.Group = map[string]string{h: h}
		f.Rule.Title, f.Rule.ID, f.Rule.Description, f.Rule.Author, f.Rule.License, f.Rule.Suite, f.Rule.File, f.Rule.Status = h, h, h, h, h, h, h, h
		f.Rule.References, f.Rule.Tags, f.Rule.FalsePositives, f.Rule.Check, f.Rule.Controls = hostile[:12], []string{h}, []string{h}, []string{h}, []string{h}
		f.Rule.Techniques = []detect.Technique{{ID: h, Old: bad(), Name: h, Tactic: h}}
		for _, ts := range []*[]detect.Tally{&f.Names, &f.Regions, &f.Addresses, &f.Agents, &f.Errors, &f.Keys, &f.Targets} {
			*ts = tally("x", 1, "y", 2)
			poison(*ts)
		}
		e := ev(t, 500+i, f.Actor, h, h, h, h, h, h)
		e.ID, e.Account, e.Agent, e.Key, e.RuleID, e.File = h, h, h, h, h, h
		e.Matched = []detect.FieldMatch{{Path: "requestParameters.h", Value: h}, {Path: h, Value: h}}
		e.Raw = record(t, h, e.Time, h, h, h, h, map[string]any{"h": h, h: h})
		if i%5 == 0 {
			e.Raw = []byte(h) // not even JSON
		}
		f.Events = []detect.Evidence{e}
		res.Findings = append(res.Findings, f)
	}
	for i, h := range hostile {
		s := seen(i, h, 5, 5)
		res.Stats.Accounts, res.Stats.Regions, res.Stats.Sources = append(res.Stats.Accounts, s), append(res.Stats.Regions, s), append(res.Stats.Sources, s)
		res.Stats.Names, res.Stats.Addresses, res.Stats.Agents = append(res.Stats.Names, s), append(res.Stats.Addresses, s), append(res.Stats.Agents, s)
		res.Stats.Errors, res.Stats.Keys = append(res.Stats.Errors, s), append(res.Stats.Keys, s)
		res.Stats.Actors = append(res.Stats.Actors, hunt.ActorSeen{Actor: event.Actor{Kind: event.ActorKind(h), ID: h, Name: h, Account: h}, Seen: s})
		res.Ledger.Failures = append(res.Ledger.Failures, ledger.Failure{Object: h, Reason: h})
		res.Ledger.Rejects = append(res.Ledger.Rejects, ledger.Reject{Object: h, Reason: h})
		res.Ledger.Skipped = append(res.Ledger.Skipped, ledger.ReasonCount{Reason: h, Count: 1})
		res.Ledger.Notes = append(res.Ledger.Notes, ledger.ReasonCount{Reason: h, Count: 1})
		res.Rules.Problems = append(res.Rules.Problems, h)
		res.Inputs = append(res.Inputs, h)
		res.Notes = append(res.Notes, h)
		res.Timeline = append(res.Timeline, hunt.TimelineEntry{First: start, Last: start.Add(time.Duration(i) * time.Hour), Count: i, Actor: event.Actor{Kind: "user", ID: h, Name: h},
			Source: h, Name: h, Error: h, Address: h, Agent: h, Region: h, Account: h, Target: h, EventID: h})
	}
	res.TimelineCut = 7
	res.Stats.Bounded = []string{"actors", "addresses"}
	res.Ledger.Balanced = false
	res.Ledger.Problems = hostile
	res.Version = hostile[0]
	return res
}

// quiet is the result of a hunt that found nothing and read everything.
func quiet() *hunt.Result {
	return &hunt.Result{
		Version: "0.1.0", Started: start, Elapsed: 40 * time.Millisecond, Inputs: []string{"my logs"}, First: start, Last: start.Add(time.Hour),
		Rules:    hunt.RuleCounts{Loaded: 214, Correlations: 12},
		Findings: []detect.Finding{},
		Stats: hunt.Stats{Events: 10, Distinct: map[string]int64{"actors": 1, "addresses": 1}, Accounts: []hunt.Seen{seen(0, "111122223333", 10, 0)},
			Regions: []hunt.Seen{seen(0, "us-east-1", 10, 0)}},
		Ledger: &ledger.Report{Objects: ledger.Objects{Listed: 1, Read: 1}, Records: ledger.Records{Seen: 10, Kept: 10}, Balanced: true},
	}
}
