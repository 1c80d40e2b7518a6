package story

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// steps names, for each step of the attack, the rules that must alert on an event of it.
var steps = map[string][]string{
	"leaked-key":           {"initial-access/pentest-distribution"},
	"enumeration":          {"correlations/denied-call-burst", "correlations/enumeration-burst"},
	"key-for-another-user": {"persistence/iam-access-key-created-for-other"},
	"create-user":          {"persistence/iam-user-created", "persistence/iam-login-profile-created", "correlations/new-admin-user"},
	"admin-policy":         {"privilege-escalation/admin-policy-attached-to-user", "correlations/enumeration-escalation-key"},
	"assume-role":          {"correlations/new-user-takes-role"},
	"stop-logging":         {"defense-impairment/cloudtrail-logging-stopped", "defense-impairment/vpc-flow-logs-deleted", "correlations/logging-stopped-then-activity"},
	"disable-guardduty":    {"defense-impairment/guardduty-disabled"},
	"open-security-group":  {"network/security-group-admin-port-public"},
	"share-snapshot":       {"exfiltration/ebs-snapshot-shared"},
	"read-secrets":         {"correlations/secrets-sweep"},
	"bulk-read":            {"correlations/bulk-read-then-delete"},
	"versioning-off":       {"impact/s3-versioning-suspended"},
	"bulk-delete":          {"correlations/bulk-read-then-delete"},
	"ransom-note":          {"impact/ransom-note-uploaded"},
	"console-brute-force":  {"correlations/password-guessing"},
	"console-success":      {"correlations/brute-force-then-success", "initial-access/console-login-without-mfa"},
	"backdoor-role":        {"persistence/role-trust-foreign-account"},
}

// lookAlikes are the harmless neighbours of the attack that may raise a finding at high or above, with the reason.
var lookAlikes = map[string]string{
	"root-task": "root signs in: rare, and always worth asking the holder",
}

func severe(f finding) bool { return f.Level == "high" || f.Level == "critical" }

// TestSession is the first thing that anybody does: make the sample, hunt in it.
func TestSession(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	org := theSample(t)
	if want := fmt.Sprintf("Wrote %d records in %d files", org.truth.Records, org.truth.Files); !strings.Contains(org.said, want) {
		t.Errorf("spoor sample said %q, want %q", org.said, want)
	}

	table := d.spoor("hunt", org.dir).exits(clean).quiet()
	table.says("critical and", "high findings: look at these first.", "Everything that was listed was read:", "balanced", "CRITICAL  New administrator made and armed", "spoor hunt "+org.dir+" --explain ")
	tame(t, "the table", table.out)
	if n := len(table.lines()); n > 100 {
		t.Errorf("the report has %d lines", n)
	}
	for _, l := range table.lines() {
		if n := utf8.RuneCountInString(l); n > 100 && !strings.Contains(l, org.dir) { // commands to paste are not cut
			t.Errorf("a line of %d columns: %s", n, l)
		}
	}

	d.spoor("hunt", org.dir, "--fail-on", "high", "--quiet").exits(findings)
	d.spoor("hunt", org.dir, "--fail-on", "critical").exits(findings)

	res := d.spoor("hunt", org.dir, "--format", "json").exits(clean).quiet().result()
	l, truth := res.Ledger, org.truth
	if l.Records.Seen != truth.Records || l.Records.Kept != truth.Events || l.Records.Duplicate != truth.Duplicates || truth.Duplicates == 0 {
		t.Errorf("records %+v, the truth is %d, %d, %d", l.Records, truth.Records, truth.Events, truth.Duplicates)
	}
	if l.Objects.Read != truth.Files || l.Objects.Skipped != 1 || l.Objects.Failed != 0 { // truth.json is no log
		t.Errorf("objects %+v, the truth is %d", l.Objects, truth.Files)
	}
	if res.First.Before(truth.Start) || !res.Last.Before(truth.End) || res.Last.Sub(res.First) < 6*24*time.Hour {
		t.Errorf("from %s to %s, the truth is %s to %s", res.First, res.Last, truth.Start, truth.End)
	}
	type place struct{ account, region string }
	got, want := map[place]int64{}, map[place]int64{}
	for _, c := range l.Cells {
		if n := c.Records.Kept + c.Records.Duplicate; n > 0 {
			got[place{c.Account, c.Region}] += n
		}
	}
	for _, a := range truth.Accounts {
		for _, r := range a.Regions {
			want[place{a.ID, r.Region}] += r.Records
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("records by account and Region\n  %v, the truth is\n  %v", got, want)
	}

	if len(truth.Steps) != len(steps) {
		t.Errorf("%d steps, %d in the table", len(truth.Steps), len(steps))
	}
	var attack []string
	for _, s := range truth.Steps {
		attack = append(attack, s.EventIDs...)
		for _, file := range steps[s.ID] {
			if !slices.ContainsFunc(res.Findings, func(f finding) bool {
				return f.alerts() && f.Rule.File == file+".yml" && f.about(s.EventIDs) && !f.First.After(s.Last) && !f.Last.Before(s.First)
			}) {
				t.Errorf("step %s: no finding of %s about it", s.ID, file)
			}
		}
		if len(steps[s.ID]) == 0 {
			t.Errorf("step %s is not in the table", s.ID)
		}
	}
	var harmless []string
	for _, s := range truth.Benign {
		for _, f := range res.Findings {
			if severe(f) && f.about(s.EventIDs) && lookAlikes[s.ID] == "" {
				t.Errorf("%s (%s) is taken for %s: %s", s.ID, s.Title, f.Level, f.Rule.Title)
			}
		}
		if lookAlikes[s.ID] != "" {
			harmless = append(harmless, s.EventIDs...)
		}
	}
	for _, f := range res.Findings {
		if severe(f) && !f.about(attack) && !f.about(harmless) {
			t.Errorf("%s without cause: %s by %s", f.Level, f.Rule.Title, f.Actor.Name)
		}
	}
}

// TestQuiet hunts in an organisation where nothing happens.
func TestQuiet(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.spoor("sample", "--out", "quiet", "--events", "3000", "--no-attack", "--seed", "5", "--one-file").exits(clean)
	d.spoor("hunt", "quiet", "--fail-on", "medium").exits(clean).quiet().says("Everything that was listed was read:", "0 critical   0 high   0 medium")
}

// TestExplain goes from the report to one finding, and to one actor.
func TestExplain(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	org := theSample(t)
	res := d.spoor("hunt", org.dir, "--format", "json", "--account", "444455556666").exits(clean).result()
	i := slices.IndexFunc(res.Findings, func(f finding) bool {
		return f.Rule.File == "privilege-escalation/admin-policy-attached-to-user.yml"
	})
	if i < 0 {
		t.Fatal("nobody became administrator")
	}
	f := res.Findings[i]
	for _, id := range []string{f.ID, f.ID[:8], strings.ToUpper(f.ID)} {
		d.spoor("hunt", org.dir, "--account", "444455556666", "--explain", id).exits(clean).quiet().
			says(f.Rule.Title, f.Rule.ID, f.ID, "arn:aws:iam::aws:policy/AdministratorAccess", `"eventName": "AttachUserPolicy"`, f.Events[0].ID, f.Events[0].File)
	}
	d.spoor("hunt", org.dir, "--account", "444455556666", "--explain", "ffffffffffffffff").exits(usage).complains("no finding has the id ffffffffffffffff")

	timeline := d.spoor("hunt", org.dir, "--account", "444455556666", "--actor", "CI-Deploy").exits(clean).quiet()
	tame(t, "the timeline", timeline.out)
	at := -1
	for _, call := range []string{"sts:GetCallerIdentity", "iam:CreateUser", "iam:CreateLoginProfile", "iam:AttachUserPolicy"} {
		next := strings.LastIndex(timeline.out, call)
		if next <= at {
			t.Errorf("%s is not in its place:\n%s", call, tail(timeline.out))
		}
		at = next
	}
	if strings.Contains(timeline.out, "github-terraform") {
		t.Error("the timeline shows another actor")
	}
}

// TestStats asks who did what.
func TestStats(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	org := theSample(t)
	d.spoor("stats", org.dir, "--limit", "5").exits(clean).quiet().says("us-east-1", "111122223333", "first", "last")
	res := d.spoor("stats", org.dir, "--format", "json").exits(clean).quiet()
	res.says(`"AccessDenied"`, "prod", `"addresses"`)
	var rows int
	for _, l := range d.spoor("stats", org.dir, "--format", "csv", "--limit", "-1").exits(clean).lines() {
		if strings.Contains(l, "arn:aws:iam::444455556666:user/ci-deploy") {
			rows++
		}
	}
	if rows != 1 {
		t.Errorf("ci-deploy is on %d rows", rows)
	}
}
