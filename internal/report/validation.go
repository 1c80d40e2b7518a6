package report

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"spoor/internal/safetext"
	"spoor/internal/trail/validate"
)

// ValidationFormats lists the names that [WriteValidation] takes.
var ValidationFormats = [...]string{"table", "json", "sarif", "junit"}

// mostListed is how many verdicts of a kind the table has, unless it is told.
const mostListed = 25

// Validation is what a validation of trails found.
type Validation struct {
	Version  string             `json:"version"`
	Started  time.Time          `json:"started"`
	Elapsed  time.Duration      `json:"elapsedNanoseconds"`
	Targets  []string           `json:"targets"`
	Start    time.Time          `json:"start,omitzero"` // of the range that was asked for
	End      time.Time          `json:"end,omitzero"`
	Summary  *validate.Summary  `json:"summary"`
	Findings []validate.Finding `json:"findings"`         // what is not valid, and what is when that was asked for
	LeftOut  int64              `json:"findingsLeftOut"`  // beyond what is kept
	Notes    []string           `json:"notes,omitempty"`  // how it was done
	Bundle   string             `json:"bundle,omitempty"` // file of the evidence
	Key      string             `json:"signer,omitempty"` // public key of the evidence
}

// WriteValidation writes v to w in one of [ValidationFormats].
func WriteValidation(w io.Writer, format string, v *Validation, opts Options) error {
	var write func(io.Writer, *Validation, Options) error
	switch format {
	case "table":
		write = validationTable
	case "json":
		write = func(w io.Writer, v *Validation, _ Options) error { return encode(w, v, "  ") }
	case "sarif":
		write = validationSARIF
	case "junit":
		write = validationJUnit
	default:
		return fmt.Errorf("unknown format %q: want one of %s", format, strings.Join(ValidationFormats[:], ", "))
	}
	buf := bufio.NewWriterSize(w, 64<<10)
	if err := write(buf, v, opts); err != nil {
		return fmt.Errorf("write the verdicts as %s: %w", format, err)
	}
	if err := buf.Flush(); err != nil {
		return fmt.Errorf("write the verdicts as %s: %w", format, err)
	}
	return nil
}

// validationVerdict is the outcome in one sentence.
func validationVerdict(s *validate.Summary) (string, style) {
	switch {
	case s.Problem:
		return "INVALID: " + invalidWords(s), alert
	case s.Gaps:
		return "NOT PROVED: nothing that was checked is wrong, and something could not be checked", caution
	}
	return fmt.Sprintf("VALID: %s and %s are as they were delivered", plural(s.Digests.Valid+s.Backfill.Valid, "digest"), plural(s.Logs.Valid, "log file")), good
}

func invalidWords(s *validate.Summary) string {
	var parts []string
	if n := s.Digests.Invalid + s.Backfill.Invalid; n > 0 {
		parts = append(parts, plural(n, "digest"))
	}
	if s.Logs.Invalid > 0 {
		parts = append(parts, plural(s.Logs.Invalid, "log file"))
	}
	other := int64(0)
	for _, m := range validate.Codes() {
		if m.Level == validate.Invalid && (strings.HasPrefix(string(m.Code), "chain-") || strings.HasPrefix(string(m.Code), "ledger-")) {
			other += s.Codes[m.Code]
		}
	}
	if other > 0 {
		parts = append(parts, plural(other, "other problem"))
	}
	return strings.Join(parts, ", ")
}

func counts(c validate.Counts) string {
	if c.Total() == 0 {
		return "none"
	}
	text := number(c.Valid) + " valid"
	if c.Invalid > 0 {
		text += " · " + number(c.Invalid) + " INVALID or missing"
	}
	if c.Unchecked > 0 {
		text += " · " + number(c.Unchecked) + " not checked"
	}
	return text
}

func validationTable(w io.Writer, v *Validation, opts Options) error {
	p := newPrinter(w, opts)
	s := v.Summary
	p.line(span{"Spoor " + v.Version, bold}, span{" · validate " + list(v.Targets, 3) + " · " + duration(v.Elapsed), dim})
	p.blank()
	text, st := validationVerdict(s)
	p.wrap(span{}, 0, text, st, 0)
	p.blank()
	if !v.Start.IsZero() || !v.End.IsZero() {
		p.field("Asked", asked(v.Start, v.End))
	}
	if !s.Start.IsZero() {
		p.field("Proved", period(s.Start, s.End)+" UTC ("+duration(s.End.Sub(s.Start))+")")
	}
	p.field("Digests", counts(s.Digests))
	if s.Backfill.Total() > 0 {
		p.field("Backfill", counts(s.Backfill))
	}
	text = counts(s.Logs)
	if s.Expanded > 0 {
		text += " · " + size(s.Stored) + ", " + size(s.Expanded) + " expanded"
	}
	p.field("Log files", text)
	for _, n := range v.Notes {
		p.field("Note", n)
	}
	if v.Bundle != "" {
		p.field("Evidence", v.Bundle+", signed with "+v.Key)
	}
	if len(s.Chains) > 0 {
		p.blank()
		p.line(span{"Chains", bold})
		for i, c := range s.Chains {
			if i == opts.limit(len(s.Chains)) {
				p.line(span{fmt.Sprintf("  and %s more", number(len(s.Chains)-i)), dim})
				break
			}
			st := none
			if c.Digests.Invalid+c.Logs.Invalid > 0 {
				st = alert
			} else if c.Digests.Unchecked+c.Logs.Unchecked > 0 {
				st = caution
			}
			name := c.Trail
			if c.Backfill {
				name += " (backfill)"
			}
			when := "nothing proved"
			if !c.Start.IsZero() {
				when = period(c.Start, c.End)
			}
			p.wrap(span{"  " + pad(c.Account+" "+c.Region+" "+name, 42), st}, 46, fmt.Sprintf("%s/%s digests · %s/%s log files · %s", number(c.Digests.Valid),
				number(c.Digests.Total()), number(c.Logs.Valid), number(c.Logs.Total()), when), none, 2)
		}
	}
	for _, part := range []struct {
		level validate.Level
		title string
		style style
	}{{validate.Invalid, "Wrong", alert}, {validate.Unchecked, "Not checked", caution}, {validate.Notice, "To know", accent}, {validate.OK, "Valid", good}} {
		n := 0
		var last *validate.Finding
		for i := range v.Findings {
			f := &v.Findings[i]
			if f.Level != part.level {
				continue
			}
			if n == 0 {
				p.blank()
				p.line(span{part.title, bold})
			}
			if n++; opts.Limit >= 0 && n > cmp.Or(opts.Limit, mostListed) {
				continue
			}
			p.wrap(span{"  " + string(f.Code), part.style}, 26, findingWhere(f), none, 0)
			if same := last != nil && last.Code == f.Code && last.Reason == f.Reason; f.Reason != "" && !same {
				p.wrap(span{}, 26, f.Reason, dim, 0)
			}
			last = f
		}
		if most := cmp.Or(opts.Limit, mostListed); most > 0 && n > most {
			p.line(span{"  and " + number(n-most) + " more; --limit -1 shows all", dim})
		}
	}
	if v.LeftOut > 0 {
		p.blank()
		p.line(span{"and " + number(v.LeftOut) + " more, which are counted above", caution})
	}
	return p.err
}

func asked(start, end time.Time) string {
	switch {
	case start.IsZero():
		return "until " + stamp(end) + " UTC"
	case end.IsZero():
		return "from " + stamp(start) + " UTC on"
	}
	return period(start, end) + " UTC"
}

// findingWhere names what a verdict is about.
func findingWhere(f *validate.Finding) string {
	if f.Key != "" {
		return "s3://" + f.Bucket + "/" + f.Key
	}
	text := strings.Join(nonEmpty(f.Account, f.Region, f.Trail), " ")
	if text == "" {
		text = f.Bucket
	}
	if !f.Start.IsZero() {
		text += " " + period(f.Start, f.End)
	}
	return text
}

var validationLevels = map[validate.Level]struct{ level, kind string }{
	validate.OK: {"none", "pass"}, validate.Notice: {"note", "informational"}, validate.Unchecked: {"warning", "open"}, validate.Invalid: {"error", "fail"},
}

func validationSARIF(w io.Writer, v *Validation, opts Options) error {
	meanings := [...]string{"everything is valid", "something is invalid or missing", "wrong usage", "something could not be checked", "failure"}
	inv := sarifInvocation{Successful: !v.Summary.Gaps, ExitCode: opts.ExitCode, ExitMeaning: "unknown exit code", PropertyLedger: map[string]any{"summary": v.Summary}}
	if opts.ExitCode >= 0 && opts.ExitCode < len(meanings) {
		inv.ExitMeaning = meanings[opts.ExitCode]
	}
	if !v.Started.IsZero() {
		inv.Start, inv.End = v.Started.UTC().Format(time.RFC3339), v.Started.Add(v.Elapsed).UTC().Format(time.RFC3339)
	}
	if v.LeftOut > 0 {
		inv.Execution = append(inv.Execution, sarifNotification{Level: "warning", Message: sarifText{Text: number(v.LeftOut) + " more verdicts are left out"}})
	}
	run := sarifRun{
		Tool:       sarifTool{sarifDriver{Name: "Spoor", Version: safetext.Terminal(v.Version, 80), Rules: []sarifRule{}}},
		Automation: sarifAutomation{"spoor/validate/"}, Invocations: []sarifInvocation{inv}, Results: []sarifResult{}, ColumnKind: "unicodeCodePoints",
	}
	meaning := map[validate.Code]validate.Meaning{}
	for _, m := range validate.Codes() {
		meaning[m.Code] = m
	}
	index := map[validate.Code]int{}
	for i := range v.Findings {
		f := &v.Findings[i]
		at, ok := index[f.Code]
		if !ok {
			at = len(run.Tool.Driver.Rules)
			index[f.Code] = at
			text := upperFirst(meaning[f.Code].Text)
			run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, sarifRule{ID: string(f.Code), Short: sarifText{Text: text}, Help: sarifText{Text: text},
				Default: sarifLevel{defaultSARIF(meaning[f.Code].Level)}, Props: map[string]any{"tags": []string{"security", "cloudtrail", "integrity"}}})
		}
		level := validationLevels[f.Level]
		if level.kind != "fail" {
			level.level = "none" // by the standard, only failures have a level
		}
		message := upperFirst(meaning[f.Code].Text)
		if f.Reason != "" {
			message += ": " + f.Reason
		}
		where := findingWhere(f)
		r := sarifResult{RuleID: string(f.Code), RuleIndex: at, Kind: level.kind, Level: level.level,
			Message:      sarifText{Text: sarifPlain(safetext.Terminal(message, 0)) + "."},
			Fingerprints: map[string]string{"spoorVerdict/v1": safetext.Terminal(string(f.Code)+" "+where, 0)},
			Props:        map[string]any{"account": f.Account, "region": f.Region, "trail": safetext.Terminal(f.Trail, 200)}}
		if !f.End.IsZero() {
			r.Props["end"] = rfc3339(f.End)
		}
		if f.Hash != "" {
			r.Props["sha256"] = f.Hash
		}
		if f.Key != "" {
			r.Locations = []sarifLocation{{Physical: &sarifPhysical{Artifact: sarifArtifact{fileURI(where)}}}}
		}
		run.Results = append(run.Results, r)
	}
	return encode(w, sarifLog{"https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json", "2.1.0", []sarifRun{run}}, "  ")
}

func defaultSARIF(l validate.Level) string { return validationLevels[l].level }

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name      string      `xml:"name,attr"`
	Tests     int         `xml:"tests,attr"`
	Failures  int         `xml:"failures,attr"`
	Skipped   int         `xml:"skipped,attr"`
	Timestamp string      `xml:"timestamp,attr,omitempty"`
	Cases     []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string      `xml:"classname,attr"`
	Name    string      `xml:"name,attr"`
	Failure *junitWrong `xml:"failure,omitempty"`
	Skipped *junitWrong `xml:"skipped,omitempty"`
	Out     string      `xml:"system-out,omitempty"`
}

type junitWrong struct {
	Type    string `xml:"type,attr,omitempty"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// validationJUnit writes one suite for each chain: a case for its digests and one for its log files, which pass when all are valid,
// and one for each verdict.
func validationJUnit(w io.Writer, v *Validation, _ Options) error {
	type suiteOf struct {
		account, region, trail string
		backfill               bool
	}
	index := map[suiteOf]int{}
	all := junitSuites{Name: "spoor validate", Time: fmt.Sprintf("%.3f", v.Elapsed.Seconds())}
	suite := func(of suiteOf) *junitSuite {
		i, ok := index[of]
		if !ok {
			i = len(all.Suites)
			index[of] = i
			name := strings.Join(nonEmpty(of.account, of.region, of.trail), " ")
			if of.backfill {
				name += " backfill"
			}
			if name == "" {
				name = "trails"
			}
			s := junitSuite{Name: safetext.Terminal(name, 0)}
			if !v.Started.IsZero() {
				s.Timestamp = v.Started.UTC().Format("2006-01-02T15:04:05")
			}
			all.Suites = append(all.Suites, s)
		}
		return &all.Suites[i]
	}
	add := func(s *junitSuite, c junitCase) {
		c.Class = "spoor.validate." + c.Class
		s.Tests++
		all.Tests++
		if c.Failure != nil {
			s.Failures++
			all.Failures++
		}
		if c.Skipped != nil {
			s.Skipped++
			all.Skipped++
		}
		s.Cases = append(s.Cases, c)
	}
	for _, c := range v.Summary.Chains {
		s := suite(suiteOf{c.Account, c.Region, c.Trail, c.Backfill})
		for _, part := range []struct {
			name string
			n    validate.Counts
		}{{"digests", c.Digests}, {"log files", c.Logs}} {
			tc := junitCase{Class: "chain", Name: part.name, Out: counts(part.n)}
			if part.n.Invalid > 0 {
				tc.Failure = &junitWrong{Type: "invalid", Message: counts(part.n)}
			} else if part.n.Unchecked > 0 {
				tc.Skipped = &junitWrong{Message: counts(part.n)}
			}
			add(s, tc)
		}
	}
	for i := range v.Findings {
		f := &v.Findings[i]
		tc := junitCase{Class: string(f.Code), Name: safetext.Terminal(findingWhere(f), 0)}
		reason := safetext.Terminal(f.Reason, 0)
		switch f.Level {
		case validate.Invalid:
			tc.Failure = &junitWrong{Type: string(f.Code), Message: reason}
		case validate.Unchecked:
			tc.Skipped = &junitWrong{Message: reason}
		default:
			tc.Out = reason
		}
		add(suite(suiteOf{f.Account, f.Region, f.Trail, f.Backfill}), tc)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
