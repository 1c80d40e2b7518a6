package main

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"spoor/internal/detect"
	"spoor/internal/sample"
	"spoor/test/kit"
)

// budget is what the pack may raise in a part at low or above.
type budget struct {
	events  int64 // what the part holds, so that a part cannot become quiet by not being read
	total   int
	perRule int
	// only, when it is not nil, names the rules that may raise anything, with the reason why they are right to.
	only map[string]string
	// informational is the most annotations per 10 000 events; 0 stands for any.
	informational float64
}

// sampleBudget is for a smaller sample under the race detector, which tests other things and takes ten times as long.
func sampleBudget() (events int, b budget) {
	if raceDetector {
		return 20_000, budget{events: 20_000, total: 4, perRule: 1, informational: 100}
	}
	return 100_000, budget{events: 100_000, total: 9, perRule: 2, informational: 100}
}

var budgets = map[string]budget{
	layout: {events: 93, only: map[string]string{}},
	sessions: {events: 3307, total: 5, perRule: 1, only: map[string]string{
		"defense-impairment/cloudtrail-logging-stopped": "the session stops a trail",
		"defense-impairment/cloudtrail-trail-deleted":   "the session deletes a trail",
		"defense-impairment/serial-console-enabled":     "the session enables the serial console of the account",
		"impact/s3-bucket-deleted":                      "the session deletes a bucket",
		"lateral-movement/ec2-ssh-key-pushed":           "the session connects to an instance",
	}},
	custodian: {events: 23, total: 2, perRule: 2, only: map[string]string{
		"initial-access/root-used": "two of the events were made as root, in two accounts",
	}},
	// Near misses of others' rules: many are what other rules are for. test/pack compares them one by one.
	panther: {events: 113, total: 15, perRule: 2},
}

// TestBudget holds the pack to its noise budget.
func TestBudget(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	set, err := kit.Pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, r := range set.Rules() {
		known[strings.TrimSuffix(r.File, ".yml")] = true
	}
	shared, err := kit.Shared()
	if err != nil {
		t.Logf("without the real logs: %v", err)
		shared = ""
	}
	events, ofSample := sampleBudget()
	parts, err := prepare(t.Context(), dir, shared, events, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			b := ofSample
			if p.name != sampleLogs {
				var ok bool
				if b, ok = budgets[p.name]; !ok {
					t.Fatal("no budget")
				}
			}
			m, err := measure(t.Context(), p, set, dir)
			if err != nil {
				t.Fatal(err)
			}
			if m.events != b.events {
				t.Errorf("%d events, want %d", m.events, b.events)
			}
			if n := m.alerts(); n > b.total {
				t.Errorf("%d findings at low or above, the budget is %d", n, b.total)
			}
			for _, r := range m.rules {
				if r.level == detect.Informational {
					continue
				}
				if r.findings > b.perRule {
					t.Errorf("%s (%s): %d findings, the budget of a rule is %d", r.title, r.level, r.findings, b.perRule)
				}
				if b.only != nil && b.only[r.file] == "" {
					t.Errorf("%s (%s): %d findings, want none", r.title, r.level, r.findings)
				}
			}
			for _, file := range slices.Sorted(maps.Keys(b.only)) {
				if !known[file] {
					t.Errorf("the pack has no rule file %s", file)
				}
			}
			if per := float64(m.hits()) * 10_000 / float64(m.events); b.informational > 0 && per > b.informational {
				t.Errorf("%.1f annotations per 10 000 events, the budget is %.1f", per, b.informational)
			}
		})
	}
}

// TestAlarm shows that the measure rises when there is something to hear.
func TestAlarm(t *testing.T) {
	t.Parallel()
	set, err := kit.Pack(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	path := attackSample(t)
	m, err := measure(t.Context(), part{name: "attack", path: path}, set, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if n := m.alerts(); n < 20 {
		t.Errorf("%d findings at low or above in logs with an attack, want 20 or more", n)
	}
	var out strings.Builder
	if err := table(&out, []measured{m}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "| attack | high | CloudTrail logging stopped | 1 | 5.00 | 2 |\n") {
		t.Errorf("the table does not show it:\n%s", out.String())
	}
}

// attackSample makes 2 000 events with the attack in them.
func attackSample(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if _, err := sample.Generate(t.Context(), sample.Options{Out: dir, Events: 2000, Story: true, OneFile: true, Level: 1}); err != nil {
		t.Fatal(err)
	}
	return dir
}
