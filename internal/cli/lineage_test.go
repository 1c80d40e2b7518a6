package cli

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"spoor/internal/lineage"
	"spoor/internal/sample"
)

// TestLineageOfTheAttack asks about the last event of the attack in the sample, and compares with the truth: logs and a
// store, before and after compaction and reading again, must give the same.
func TestLineageOfTheAttack(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	logs, dir := filepath.Join(tmp, "logs"), filepath.Join(tmp, "store")
	truth, err := sample.Generate(t.Context(), sample.Options{Seed: 3, Events: 4000, Days: 4, Out: logs, Story: true})
	if err != nil {
		t.Fatal(err)
	}
	steps := map[string]sample.Step{}
	for _, s := range truth.Steps {
		steps[s.ID] = s
	}
	run(t, ExitClean, "store", "ingest", logs, "--into", dir)
	note := steps["ransom-note"].EventIDs[0]
	fromLogs, _ := run(t, ExitClean, "lineage", note, logs, "--json", "-q")
	fromStore, _ := run(t, ExitClean, "lineage", note, "--store", dir, "--json")
	if fromLogs != fromStore {
		t.Errorf("the store tells\n%s\nlogs tell\n%s", fromStore, fromLogs)
	}

	r := decode[lineage.Report](t, fromStore)
	if r.As != "event" || r.Event == nil || r.Event.ID != note || len(r.Roots) != 1 {
		t.Fatalf("%s", fromStore)
	}
	root := r.Roots[0]
	if root.ARN != steps["leaked-key"].Actor || root.Kind != lineage.LongTerm || root.Origin.Reason != lineage.ReasonBeforeData {
		t.Errorf("the beginning is %s %s %+v, not %s", root.Kind, root.ARN, root.Origin, steps["leaked-key"].Actor)
	}
	if len(root.Minted) != 1 || root.Hidden != 1 || len(root.Minted[0].Minted) != 1 {
		t.Fatalf("not the chain of the attack:\n%s", fromStore)
	}
	made, taken := root.Minted[0], root.Minted[0].Minted[0]
	if ids := steps["create-user"].EventIDs; made.ARN != steps["assume-role"].Actor || !slices.Contains(ids, made.Origin.Event.ID) || made.Origin.Certainty != lineage.Proven {
		t.Errorf("the second key: %+v %+v", made.Who, made.Origin)
	}
	ids := steps["assume-role"].EventIDs
	if !taken.Target || taken.ARN != steps["ransom-note"].Actor || taken.Origin.Event.ID != ids[0] || len(taken.Origin.Copies) != 1 || taken.Origin.Copies[0].ID != ids[1] {
		t.Errorf("the session: %+v %+v", taken.Who, taken.Origin)
	}
	var calls, failed int
	for _, s := range truth.Steps {
		if s.Actor == taken.ARN {
			calls, failed = calls+len(s.EventIDs), failed+s.Failed
			for _, name := range s.EventNames {
				if !slices.ContainsFunc(taken.Uses.Names, func(c lineage.Count) bool { return c.Value == name }) {
					t.Errorf("nothing is said about %s", name)
				}
			}
		}
	}
	if u := taken.Uses; u.Calls != int64(calls) || u.Failed != int64(failed) || !u.First.Equal(steps["stop-logging"].First) || !u.Last.Equal(steps["ransom-note"].Last) {
		t.Errorf("used %+v, want %d calls, %d failed", taken.Uses, calls, failed)
	}
	text, _ := run(t, ExitClean, "lineage", taken.Key, "--store", dir)
	words := strings.Join(strings.Fields(strings.ReplaceAll(text, "│", " ")), " ") // long lines are wrapped
	for _, want := range []string{
		"user ci-deploy → CreateAccessKey → user support-automation → AssumeRole → role OrganizationAccountAccessRole/support user ci-deploy in 444455556666",
		taken.Key + " ◀ asked for role OrganizationAccountAccessRole/support in 111122223333 proof ",
		fmt.Sprintf("%d calls (%d failed)", calls, failed), "DeleteFlowLogs · ", "DeleteObject ×120",
	} {
		if !strings.Contains(words, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}

	signedIn, _ := run(t, ExitClean, "lineage", steps["backdoor-role"].EventIDs[0], "--store", dir, "--json")
	s := decode[lineage.Report](t, signedIn).Roots[0]
	if s.Origin.Certainty != lineage.Beginning || len(s.Minted) != 1 || s.Minted[0].Origin.Certainty != lineage.Matched || s.Minted[0].Origin.Event.ID != steps["console-success"].EventIDs[0] ||
		len(s.Minted[0].Notes) != 1 || !strings.HasPrefix(s.Minted[0].Notes[0].Text, "29 failed sign-ins") {
		t.Errorf("the sign-in:\n%s", signedIn)
	}

	// What was seen first and last must not change when files do, and means what is left after retention.
	const seen = `SELECT (SELECT count(*) FROM seen_actors) AS actors, events, firstSeen, lastSeen FROM seen_addresses WHERE sourceIPAddress = '192.0.2.91'`
	before, _ := run(t, ExitClean, "query", seen, "--store", dir, "--format", "csv")
	run(t, ExitClean, "store", "ingest", logs, "--into", dir)
	run(t, ExitClean, "store", "compact", dir, "--all")
	if after, _ := run(t, ExitClean, "query", seen, "--store", dir, "--format", "csv"); after != before || !strings.Contains(after, steps["assume-role"].First.Format("2006-01-02T15:04:05Z")) {
		t.Errorf("before %s\nafter compaction and reading again %s", before, after)
	}
	if again, _ := run(t, ExitClean, "lineage", note, "--store", dir, "--json"); again != fromStore {
		t.Errorf("after compaction: %s", again)
	}
	run(t, ExitClean, "store", "expire", dir, "--management", "1d", "--data", "1d", "--network-activity", "1d", "--insight", "1d", "--aggregated", "1d", "--activity-audit-log", "1d")
	if after, _ := run(t, ExitClean, "query", "SELECT count(*) AS n FROM seen_actors", "--store", dir, "--format", "csv"); after != "n\n0\n" {
		t.Errorf("after retention of everything: %s", after)
	}
	run(t, ExitFindings, "lineage", note, "--store", dir)
}

func TestLineageUsage(t *testing.T) {
	t.Parallel()
	logs := queryLogs(t)
	if out, _ := run(t, ExitClean, "lineage", "bob", logs, "-q"); !strings.Contains(out, "CreateUser (failed)") {
		t.Error(out)
	}
	if out, _ := run(t, ExitFindings, "lineage", "AKIANOTINTHEDATA", logs, "-q"); !strings.Contains(out, "Nothing of AKIANOTINTHEDATA in the data.") || !strings.Contains(out, "data of account 111122223333") {
		t.Error(out)
	}
	if out, _ := run(t, ExitFindings, "lineage", "AKIANOTINTHEDATA", logs, "-q", "--json"); len(decode[lineage.Report](t, out).Roots) != 0 {
		t.Error(out)
	}
	for _, args := range [][]string{{}, {"x"}, {"", logs}, {"x", logs, "--store", "s"}, {"x", logs, "--hold", "h"}, {"x", logs, "--limit", "-1"}, {"x", logs, "--timeout", "soon"}} {
		run(t, ExitUsage, append([]string{"lineage"}, args...)...)
	}
	if _, errs := run(t, ExitIncomplete, "lineage", "x", t.TempDir(), "-q"); !strings.Contains(errs, "input incomplete") {
		t.Error(errs)
	}
}
