package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"spoor/internal/detect"
	"spoor/internal/sample"
	"spoor/test/kit"
)

// part is a set of logs without an attack.
type part struct {
	name, about string
	path        string
}

// The names of the parts.
const (
	sampleLogs = "sample"
	layout     = "s3-layout"
	sessions   = "console-sessions"
	custodian  = "cloud-custodian"
	panther    = "panther"
)

// prepare makes the sample in dir and finds the real logs in shared, which may be "".
func prepare(ctx context.Context, dir, shared string, events int, seed uint64) ([]part, error) {
	made := filepath.Join(dir, "sample")
	if _, err := sample.Generate(ctx, sample.Options{Out: made, Events: events, Seed: seed, OneFile: true, Level: 1}); err != nil {
		return nil, err
	}
	parts := []part{{sampleLogs, "a made-up organisation, no attack", made}}
	if shared == "" {
		return parts, nil
	}
	data := filepath.Join(shared, "data", "cloudtrail")
	quiet := filepath.Join(dir, "panther.jsonl")
	if err := quietCases(filepath.Join(data, "panther-rule-tests", "tests.jsonl"), quiet); err != nil {
		return nil, err
	}
	// The logs of TrailDiscover are no such part: each call in them is there because attackers use it.
	return append(parts,
		part{layout, "log files of two quiet accounts", filepath.Join(data, layout)},
		part{sessions, "people clicking through consoles", filepath.Join(data, sessions)},
		part{custodian, "changes that a policy engine reacts to", filepath.Join(data, custodian)},
		part{panther, "events that others' rules must not match, many of them near misses", quiet},
	), nil
}

// quietCases writes the events that their rule must not match.
func quietCases(from, to string) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var c struct {
			Expected bool            `json:"expected"`
			Event    json.RawMessage `json:"event"`
		}
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return fmt.Errorf("read %s: %w", from, err)
		}
		if !c.Expected {
			out.Write(c.Event)
			out.WriteByte('\n')
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read %s: %w", from, err)
	}
	return os.WriteFile(to, out.Bytes(), 0o600)
}

// measured is the noise in one part.
type measured struct {
	part
	events int64
	rules  []ruleNoise
}

// ruleNoise is the noise of one rule at one level.
type ruleNoise struct {
	file, title string
	level       detect.Level
	findings    int // after grouping by actor and account
	hits        int // matching events, or times that a correlation fired
}

// alerts counts the findings at low or above.
func (m *measured) alerts() (n int) {
	for _, r := range m.rules {
		if r.level > detect.Informational {
			n += r.findings
		}
	}
	return n
}

// hits counts the matches of informational rules.
func (m *measured) hits() (n int) {
	for _, r := range m.rules {
		if r.level == detect.Informational {
			n += r.hits
		}
	}
	return n
}

// measure hunts in a part.
func measure(ctx context.Context, p part, set *detect.Ruleset, tempDir string) (measured, error) {
	res, err := kit.Hunt(ctx, kit.Job{Paths: []string{p.path}, Rules: set, TempDir: tempDir})
	if err != nil {
		return measured{}, err
	}
	if !res.Ledger.Complete() {
		return measured{}, fmt.Errorf("%d objects failed, %d records rejected", res.Ledger.Objects.Failed, res.Ledger.Records.Rejected)
	}
	m := measured{part: p, events: res.Stats.Events}
	at := map[string]int{}
	for _, f := range res.Findings {
		key := f.Rule.ID + f.Level.String()
		i, ok := at[key]
		if !ok {
			i = len(m.rules)
			at[key] = i
			m.rules = append(m.rules, ruleNoise{file: strings.TrimSuffix(filepath.ToSlash(f.Rule.File), ".yml"), title: f.Rule.Title, level: f.Level})
		}
		m.rules[i].findings++
		m.rules[i].hits += f.Count
	}
	sortRules(m.rules)
	return m, nil
}
