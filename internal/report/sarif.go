package report

import (
	"fmt"
	"io"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
)

// The form is the Static Analysis Results Interchange Format (SARIF) Version 2.1.0 with errata 01. One run holds one
// rule for every rule that fired, one result for every finding with the records behind it as locations, and one
// invocation with what could not be read as notifications.

type sarifLog struct {
	Schema  string     `json:"$schema"`
	Version string     `json:"version"`
	Runs    []sarifRun `json:"runs"`
}

type sarifRun struct {
	Tool        sarifTool         `json:"tool"`
	Automation  sarifAutomation   `json:"automationDetails"`
	Invocations []sarifInvocation `json:"invocations"`
	Results     []sarifResult     `json:"results"`
	ColumnKind  string            `json:"columnKind"`
}

type sarifTool struct {
	Driver sarifDriver `json:"driver"`
}

type sarifDriver struct {
	Name    string      `json:"name"`
	Version string      `json:"version,omitempty"`
	Rules   []sarifRule `json:"rules"`
}

type sarifAutomation struct {
	ID string `json:"id"`
}

type sarifText struct {
	Text     string `json:"text"`
	Markdown string `json:"markdown,omitempty"`
}

type sarifRule struct {
	ID      string         `json:"id"`
	Name    string         `json:"name,omitempty"`
	Short   sarifText      `json:"shortDescription"`
	Full    *sarifText     `json:"fullDescription,omitempty"`
	Help    sarifText      `json:"help"`
	HelpURI string         `json:"helpUri,omitempty"`
	Default sarifLevel     `json:"defaultConfiguration"`
	Props   map[string]any `json:"properties"`
}

type sarifLevel struct {
	Level string `json:"level"`
}

type sarifResult struct {
	RuleID       string            `json:"ruleId"`
	RuleIndex    int               `json:"ruleIndex"`
	Kind         string            `json:"kind"`
	Level        string            `json:"level"`
	Message      sarifText         `json:"message"`
	Locations    []sarifLocation   `json:"locations,omitempty"`
	Fingerprints map[string]string `json:"partialFingerprints"`
	Occurrences  int               `json:"occurrenceCount,omitempty"`
	Props        map[string]any    `json:"properties"`
}

type sarifLocation struct {
	Physical *sarifPhysical `json:"physicalLocation,omitempty"`
	Logical  []sarifLogical `json:"logicalLocations,omitempty"`
	Message  *sarifText     `json:"message,omitempty"`
}

type sarifPhysical struct {
	Artifact sarifArtifact `json:"artifactLocation"`
	Region   *sarifRegion  `json:"region,omitempty"`
}

type sarifArtifact struct {
	URI string `json:"uri"`
}

type sarifRegion struct {
	StartLine  int   `json:"startLine"`
	ByteOffset int64 `json:"byteOffset"`
	ByteLength int   `json:"byteLength"`
}

type sarifLogical struct {
	Name string `json:"name,omitempty"`
	Full string `json:"fullyQualifiedName,omitempty"`
	Kind string `json:"kind"`
}

type sarifInvocation struct {
	Successful     bool                `json:"executionSuccessful"`
	ExitCode       int                 `json:"exitCode"`
	ExitMeaning    string              `json:"exitCodeDescription"`
	Start          string              `json:"startTimeUtc,omitempty"`
	End            string              `json:"endTimeUtc,omitempty"`
	Execution      []sarifNotification `json:"toolExecutionNotifications,omitempty"`
	Configuration  []sarifNotification `json:"toolConfigurationNotifications,omitempty"`
	PropertyLedger map[string]any      `json:"properties"`
}

type sarifNotification struct {
	Level     string          `json:"level"`
	Message   sarifText       `json:"message"`
	Locations []sarifLocation `json:"locations,omitempty"`
}

// sarifLevels gives level and kind, and the score by which GitHub code scanning ranks a rule.
var sarifLevels = [len(detect.Levels)]struct{ level, kind, score string }{
	detect.Informational: {"none", "informational", "0.0"},
	detect.Low:           {"note", "fail", "3.0"},
	detect.Medium:        {"warning", "fail", "5.5"},
	detect.High:          {"error", "fail", "8.0"},
	detect.Critical:      {"error", "fail", "9.5"},
}

func writeSARIF(w io.Writer, res *hunt.Result, opts Options) error {
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "Spoor", Version: safetext.Terminal(res.Version, 80), Rules: []sarifRule{}}},
		Automation: sarifAutomation{"spoor/hunt/"}, Invocations: []sarifInvocation{invocation(res, opts)},
		Results: []sarifResult{}, ColumnKind: "unicodeCodePoints",
	}
	index := map[string]int{}
	for i := range res.Findings {
		f := &res.Findings[i]
		id := ruleID(&f.Rule)
		at, ok := index[id]
		if !ok {
			at = len(run.Tool.Driver.Rules)
			index[id] = at
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, newSARIFRule(id, &f.Rule))
		}
		run.Results = append(run.Results, newSARIFResult(id, at, f))
	}
	return encode(w, sarifLog{"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run}}, "  ")
}

func ruleID(r *detect.Rule) string {
	for _, s := range [...]string{r.ID, r.Title} {
		if s != "" {
			return safetext.Terminal(s, 200)
		}
	}
	return "unnamed"
}

func newSARIFRule(id string, r *detect.Rule) sarifRule {
	out := sarifRule{ID: id, Name: safetext.Terminal(r.Title, 200), Short: sarifText{Text: sarifPlain(safetext.Terminal(r.Title, 200))},
		Default: sarifLevel{sarifLevels[r.Level].level}}
	if out.Short.Text == "" {
		out.Short.Text = id
	}
	if r.Description != "" {
		out.Full = &sarifText{Text: sarifPlain(safetext.Lines(r.Description))}
	}
	var text, md strings.Builder
	section := func(title string, items []string, mark string) {
		if len(items) == 0 {
			return
		}
		fmt.Fprintf(&text, "%s:\n", title)
		fmt.Fprintf(&md, "**%s**\n\n", title)
		for _, item := range items {
			item = safetext.Terminal(strings.TrimSpace(item), 2000)
			fmt.Fprintf(&text, "- %s\n", sarifPlain(item))
			fmt.Fprintf(&md, "%s %s\n", mark, markdown(item))
		}
		text.WriteString("\n")
		md.WriteString("\n")
	}
	if r.Description != "" {
		fmt.Fprintf(&text, "%s\n\n", out.Full.Text)
		fmt.Fprintf(&md, "%s\n\n", markdown(safetext.Lines(r.Description)))
	}
	section("Check first", r.Check, "1.")
	section("Known benign causes", r.FalsePositives, "-")
	var techniques []string
	for i := range r.Techniques {
		techniques = append(techniques, techniqueText(&r.Techniques[i]))
	}
	section("ATT&CK", techniques, "-")
	section("Controls", r.Controls, "-")
	section("References", r.References, "-")
	out.Help = sarifText{strings.TrimSpace(text.String()), strings.TrimSpace(md.String())}
	if out.Help.Text == "" {
		out.Help = sarifText{Text: out.Short.Text}
	}
	for _, ref := range r.References {
		if u, ok := webURL(ref); ok {
			out.HelpURI = u
			break
		}
	}
	tags := []string{"security", "cloudtrail"}
	for _, t := range append(techniqueIDs(r), r.Tags...) {
		tags = appendNew(tags, safetext.Terminal(t, 100))
	}
	out.Props = map[string]any{"tags": tags, "security-severity": sarifLevels[r.Level].score, "severity": r.Level.String()}
	return out
}

func newSARIFResult(id string, index int, f *detect.Finding) sarifResult {
	level := sarifLevels[f.Level]
	out := sarifResult{RuleID: id, RuleIndex: index, Kind: level.kind, Level: level.level,
		Message: sarifText{Text: sarifPlain(what(f) + ". " + where(f) + ".")},
		// GitHub keys an alert by primaryLocationLineHash; without it a finding would be a new alert whenever its first record
		// moves to another file.
		Fingerprints: map[string]string{"spoorFinding/v1": f.ID, "primaryLocationLineHash": f.ID + ":1"},
		Occurrences:  max(f.Count, 1),
	}
	props := map[string]any{"severity": f.Level.String(), "actor": f.Actor, "account": f.Account, "count": f.Count, "failed": f.Denied,
		"names": nonNil(f.Names), "regions": nonNil(f.Regions), "addresses": nonNil(f.Addresses)}
	if !f.First.IsZero() {
		props["first"], props["last"] = rfc3339(f.First), rfc3339(f.Last)
	}
	if f.Observed != "" {
		props["observed"] = f.Observed
	}
	if len(f.Group) > 0 {
		props["group"] = f.Group
	}
	out.Props = props
	for i := range f.Events {
		e := &f.Events[i]
		loc := sarifLocation{Message: &sarifText{Text: sarifPlain(safetext.Terminal(strings.Join(nonEmpty(rfc3339(e.Time), call(e.Source, e.Name), e.Error, "event "+e.ID), " "), 400))}}
		if e.File != "" {
			// A log file as CloudTrail delivers it is one line. Offsets count in the decompressed file; consumers that know
			// lines only, GitHub among them, want the line.
			loc.Physical = &sarifPhysical{sarifArtifact{fileURI(e.File)}, &sarifRegion{1, e.Offset, len(e.Raw)}}
		}
		loc.Logical = append(loc.Logical, sarifLogical{actorName(e.Actor), e.Actor.ID, "actor"})
		if e.Target != "" {
			loc.Logical = append(loc.Logical, sarifLogical{"", e.Target, "resource"})
		}
		out.Locations = append(out.Locations, loc)
	}
	return out
}

func nonNil(t []detect.Tally) []detect.Tally {
	if t == nil {
		return []detect.Tally{}
	}
	return t
}

func invocation(res *hunt.Result, opts Options) sarifInvocation {
	meanings := [...]string{"no finding at or above the level that fails", "findings at or above the level that fails", "wrong usage", "the input is incomplete", "failure"}
	out := sarifInvocation{ExitCode: opts.ExitCode, ExitMeaning: "unknown exit code"}
	if opts.ExitCode >= 0 && opts.ExitCode < len(meanings) {
		out.ExitMeaning = meanings[opts.ExitCode]
	}
	if !res.Started.IsZero() {
		out.Start = res.Started.UTC().Format(time.RFC3339)
		out.End = res.Started.Add(res.Elapsed).UTC().Format(time.RFC3339)
	}
	for _, p := range res.Rules.Problems {
		out.Configuration = append(out.Configuration, sarifNotification{Level: "warning", Message: sarifText{Text: "Rule not run: " + sarifPlain(safetext.Terminal(p, 2000))}})
	}
	for _, n := range res.Notes {
		out.Execution = append(out.Execution, sarifNotification{Level: "warning", Message: sarifText{Text: "Not judged: " + sarifPlain(safetext.Terminal(n, 2000))}})
	}
	text, st := completeness(res.Ledger)
	out.Successful = st == whole
	out.PropertyLedger = map[string]any{"completeness": text}
	l := res.Ledger
	if l == nil {
		return out
	}
	out.PropertyLedger["balanced"], out.PropertyLedger["objects"], out.PropertyLedger["records"], out.PropertyLedger["bytes"] = l.Balanced, l.Objects, l.Records, l.Bytes
	for _, p := range l.Problems {
		out.Execution = append(out.Execution, sarifNotification{Level: "error", Message: sarifText{Text: "The ledger does not balance: " + sarifPlain(safetext.Terminal(p, 2000))}})
	}
	for i := range l.Failures {
		out.Execution = append(out.Execution, failure(&l.Failures[i]))
	}
	for _, r := range l.Rejects {
		out.Execution = append(out.Execution, sarifNotification{Level: "error", Message: sarifText{Text: "Record could not be read: " + sarifPlain(safetext.Terminal(r.Reason, 2000))},
			Locations: []sarifLocation{{Physical: &sarifPhysical{sarifArtifact{fileURI(r.Object)}, &sarifRegion{1, r.Offset, int(r.Length)}}}}})
	}
	return out
}

func failure(f *ledger.Failure) sarifNotification {
	return sarifNotification{Level: "error",
		Message:   sarifText{Text: fmt.Sprintf("Could not be read whole, %s kept: %s", plural(f.Kept, "record"), sarifPlain(safetext.Terminal(f.Reason, 2000)))},
		Locations: []sarifLocation{{Physical: &sarifPhysical{Artifact: sarifArtifact{fileURI(f.Object)}}}}}
}

// sarifPlain escapes what has a meaning in a plain text message: braces (3.11.5) and the brackets of links (3.11.6).
func sarifPlain(s string) string {
	return strings.NewReplacer(`\`, `\\`, "[", `\[`, "]", `\]`, "{", "{{", "}", "}}").Replace(s)
}

// markdown makes every character of s stand for itself.
func markdown(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_{}[]()<>#+-!|~&$^=:@", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}

// fileURI makes a URI reference of the name of a file or of a bucket object.
func fileURI(name string) string {
	if rest, ok := strings.CutPrefix(name, "s3://"); ok {
		bucket, key, _ := strings.Cut(rest, "/")
		return "s3://" + url.PathEscape(bucket) + (&url.URL{Path: "/" + key}).EscapedPath()
	}
	u := url.URL{Path: filepath.ToSlash(name)}
	if strings.HasPrefix(u.Path, "/") {
		u.Scheme = "file"
	}
	return u.String()
}

// webURL reports whether s is an address that a browser may open, and returns it.
func webURL(s string) (string, bool) {
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || len(s) > 2000 {
		return "", false
	}
	return u.String(), true
}
