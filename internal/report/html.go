package report

import (
	"crypto/sha256"
	_ "embed" // for the assets
	"encoding/base64"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/hunt"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
)

// The page, its style and its script. They are the only markup: values reach the page as plain strings, which
// html/template escapes for the place where they stand, after package safetext made them visible and short.
var (
	//go:embed assets/report.html
	pageHTML string
	//go:embed assets/report.css
	pageCSS string
	//go:embed assets/report.js
	pageJS string
)

// Bounds of the page.
const (
	htmlFindings  = 500       // findings
	htmlMarks     = 400       // findings drawn in the timeline
	htmlRows      = 25        // rows of a statistic
	htmlMoments   = 500       // lines of an actor's timeline
	htmlLedger    = 100       // failures, and rejected records
	htmlRecord    = 64 << 10  // bytes of a raw record; longer ones are cut
	htmlRecords   = 4 << 20   // bytes of all raw records; what comes later is left out
	htmlText      = 300       // columns of a short text
	htmlParagraph = 4000      // columns of a paragraph
	htmlItems     = 20        // items of a list
	htmlPage      = 700 << 10 // bytes of text in the details of all findings; later findings keep their first lines only
)

type htmlPageData struct {
	CSP  string
	CSS  template.CSS // the embedded asset
	JS   template.JS  // the embedded asset
	Name string

	Version, Inputs, Period, Length, Made, Took string
	Verdict, VerdictLevel                       string
	Complete, State                             string
	Levels                                      []htmlLevel
	Numbers                                     []htmlNumber
	Chart                                       *chart
	Tactics                                     []htmlTactic
	Findings                                    []htmlFinding
	MoreFindings                                string
	Actors                                      []string // to filter by
	ActorRows                                   []htmlActor
	ActorTotal                                  string
	Lists                                       []htmlList
	Ledger                                      *htmlLedgerData
	Rules                                       string
	RuleProblems, Notes                         []string
	Timeline                                    []htmlMoment
	TimelineNote                                string
}

type htmlLevel struct {
	Name  string
	Count string
	Any   bool
}

type htmlNumber struct{ Value, Label, Note string }

type htmlTactic struct {
	Name, Level, Count, Note string
	Any                      bool
}

// htmlMoment is a line of an actor's timeline.
type htmlMoment struct{ Time, Count, Actor, Call, Error, Region, Address, Target string }

type htmlFinding struct {
	Anchor, ID, Level, Title, What, Where, When, Count string
	Actor, Techniques                                  string
	Full                                               bool // has the details
	Paragraphs, Check, Benign                          []string
	Facts                                              []htmlFact
	Tallies                                            []htmlTallies
	Rule                                               []htmlFact
	References                                         []htmlLink
	Events                                             []htmlEvent
	EventNote                                          string
}

type htmlFact struct{ Name, Value string }

type htmlLink struct{ Text, URL string }

type htmlTallies struct {
	Name   string
	Values []htmlTally
}

type htmlTally struct{ Value, Count string }

type htmlEvent struct {
	Time, Call, Error, Region, Address, Target, File, ID, Rule string
	Matched                                                    []htmlFact
	Lines                                                      []recordLine
	Note                                                       string
}

type htmlActor struct {
	Name, Kind, ID, Account, Events, Failed, Calls, Addresses, First, Last string
	Findings                                                               string
	Level                                                                  string // of the worst finding
	Width                                                                  int    // of the bar, in hundredths
}

type htmlList struct {
	Title, Total string
	Rows         []htmlSeen
}

type htmlSeen struct {
	Value, Count, Failed, First, Last string
	Width                             int
}

type htmlLedgerData struct {
	Balanced               bool
	Files, Records         []htmlTerm
	Bytes                  string
	Skipped, Notes         []htmlTally
	Failures               []htmlProblem
	Rejects                []htmlProblem
	MoreFailed, MoreReject string
	Problems               []string
}

// htmlTerm is a summand of an equation of the ledger.
type htmlTerm struct {
	Name, Count string
	Bad         bool
	Width       float64 // of its part of the bar, in hundredths of the sum
	X           float64
}

type htmlProblem struct{ Object, Where, Reason string }

func writeHTML(w io.Writer, res *hunt.Result, _ Options) error {
	t, err := template.New("report").Parse(pageHTML)
	if err != nil {
		return fmt.Errorf("parse the page: %w", err)
	}
	return t.Execute(w, newPage(res))
}

// policy lets the page load nothing and run nothing but its own style and script.
func policy() string {
	hash := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}
	return "default-src 'none'; style-src " + hash(pageCSS) + "; script-src " + hash(pageJS) + "; base-uri 'none'; form-action 'none'"
}

func short(s string) string { return safetext.Middle(s, htmlText) }

func paragraph(s string) string { return safetext.Terminal(strings.TrimSpace(s), htmlParagraph) }

func newPage(res *hunt.Result) *htmlPageData {
	st := &res.Stats
	text, level := verdict(res)
	complete, state := completeness(res.Ledger)
	p := &htmlPageData{
		CSP: policy(), CSS: template.CSS(pageCSS), JS: template.JS(pageJS),
		Version: short(res.Version), Inputs: list(capped(res.Inputs, 80), 3), Took: duration(res.Elapsed), Made: stamp(res.Started.Add(res.Elapsed)),
		Verdict: text, VerdictLevel: level.String(), Complete: safetext.Terminal(complete, htmlParagraph),
		State:     [...]string{whole: "whole", incomplete: "incomplete", unbalanced: "unbalanced"}[state],
		Chart:     newChart(res),
		Tactics:   tactics(res),
		Rules:     rulesLine(res.Rules),
		ActorRows: actorRows(res), ActorTotal: ofTotal(st, "actors", len(st.Actors), min(len(st.Actors), htmlRows)),
		Lists: lists(st),
	}
	if res.Started.IsZero() {
		p.Made = ""
	}
	if st.Events > 0 {
		p.Period, p.Length = period(res.First, res.Last)+" UTC", duration(res.Last.Sub(res.First))
	}
	p.Name = "Spoor: " + strings.TrimSuffix(text, ".")
	for i, problem := range res.Rules.Problems {
		if i == htmlItems {
			p.RuleProblems = append(p.RuleProblems, fmt.Sprintf("and %s more", number(len(res.Rules.Problems)-i)))
			break
		}
		p.RuleProblems = append(p.RuleProblems, paragraph(problem))
	}
	p.Notes = items(res.Notes)
	p.timeline(res)
	n := levelCounts(res.Findings)
	for l := len(n) - 1; l >= 0; l-- {
		p.Levels = append(p.Levels, htmlLevel{detect.Level(l).String(), number(n[l]), n[l] > 0})
	}
	p.Numbers = []htmlNumber{
		{number(st.Events), "events", ""},
		{number(st.Failed), "failed calls", percent(st.Failed, st.Events)},
		{number(distinct(st, "actors", len(st.Actors))), "actors", ""},
		{number(distinct(st, "addresses", len(st.Addresses))), "addresses", ""},
		{number(distinct(st, "accounts", len(st.Accounts))), "accounts", ""},
		{number(distinct(st, "regions", len(st.Regions))), "Regions", ""},
	}
	if res.Ledger != nil {
		p.Ledger = ledgerData(res.Ledger)
		p.Numbers = append(p.Numbers, htmlNumber{number(res.Ledger.Objects.Read), "files read", size(res.Ledger.Bytes.Stored)})
	}
	p.findings(res)
	return p
}

func ofTotal(st *hunt.Stats, key string, rows, shown int) string {
	total := distinct(st, key, rows)
	if total > int64(shown) {
		return number(shown) + " of " + atLeast(st, key) + number(total)
	}
	return number(total)
}

// timeline fills what the actor did that was asked for.
func (p *htmlPageData) timeline(res *hunt.Result) {
	shown := min(len(res.Timeline), htmlMoments)
	for i := range res.Timeline[:shown] {
		e := &res.Timeline[i]
		m := htmlMoment{stamp(e.First), "", short(actorName(e.Actor)), short(call(e.Source, e.Name)), short(e.Error), short(e.Region), short(e.Address), short(e.Target)}
		if e.Count > 1 {
			m.Count = "×" + number(e.Count) + " to " + shortUntil(e.First, e.Last)
		}
		p.Timeline = append(p.Timeline, m)
	}
	if more := int64(len(res.Timeline)-shown) + res.TimelineCut; more > 0 {
		p.TimelineNote = number(more) + " later events are not on this page."
	}
}

// findings fills the list, with the details of the first ones as far as the page's size allows.
func (p *htmlPageData) findings(res *hunt.Result) {
	if more := len(res.Findings) - htmlFindings; more > 0 {
		p.MoreFindings = fmt.Sprintf("%s more findings are not on this page: --format json or csv has them all.", number(more))
	}
	records, text := htmlRecords, htmlPage
	for i := range res.Findings[:min(len(res.Findings), htmlFindings)] {
		f := &res.Findings[i]
		h := htmlFinding{
			Anchor: fmt.Sprintf("f%d", i+1), ID: short(f.ID), Level: f.Level.String(), Title: short(f.Rule.Title), What: what(f) + ".", Where: where(f),
			When: period(f.First, f.Last), Count: number(f.Count), Actor: short(actorName(f.Actor)), Techniques: short(strings.Join(techniqueIDs(&f.Rule), " ")),
		}
		if h.Title == "" {
			h.Title = "Rule " + short(f.Rule.ID)
		}
		if text > 0 {
			text -= h.details(f, &records)
		}
		p.Findings = append(p.Findings, h)
		p.Actors = appendNew(p.Actors, h.Actor)
	}
	slices.Sort(p.Actors)
}

// details fills what a finding shows when it is opened, takes the raw records out of the budget, and returns how many
// bytes of other text it took.
func (h *htmlFinding) details(f *detect.Finding, records *int) int {
	h.Full = true
	r := &f.Rule
	for para := range strings.SplitSeq(strings.ReplaceAll(r.Description, "\r", ""), "\n\n") {
		if s := paragraph(strings.Join(strings.Fields(para), " ")); s != "" && len(h.Paragraphs) < htmlItems {
			h.Paragraphs = append(h.Paragraphs, s)
		}
	}
	h.Check, h.Benign = items(r.Check), items(r.FalsePositives)
	fact := func(to *[]htmlFact, name, value string) {
		if value = strings.TrimSpace(value); value != "" {
			*to = append(*to, htmlFact{name, short(value)})
		}
	}
	fact(&h.Facts, "Actor", actorPhrase(f.Actor))
	fact(&h.Facts, "Identity", f.Actor.ID)
	fact(&h.Facts, "Session", f.Actor.Session)
	fact(&h.Facts, "Account", f.Account)
	fact(&h.Facts, "Group", groupText(f.Group))
	fact(&h.Facts, "Observed", f.Observed)
	fact(&h.Facts, "When", period(f.First, f.Last)+" UTC")
	fact(&h.Facts, "Count", fmt.Sprintf("%s, %s failed", number(f.Count), number(f.Denied)))
	for _, t := range [...]struct {
		name   string
		values []detect.Tally
		show   func(string) string
	}{{"Calls", f.Names, callOf}, {"Targets", f.Targets, nil}, {"Addresses", f.Addresses, nil}, {"Access keys", f.Keys, nil}, {"Errors", f.Errors, nil}, {"Regions", f.Regions, nil}, {"User agents", f.Agents, nil}} {
		var out []htmlTally
		for _, v := range t.values {
			if v.Value == "" || len(out) == htmlItems {
				continue
			}
			value := v.Value
			if t.show != nil {
				value = t.show(value)
			}
			out = append(out, htmlTally{safetext.Middle(value, 160), number(v.Count)})
		}
		if len(out) > 0 {
			h.Tallies = append(h.Tallies, htmlTallies{t.name, out})
		}
	}
	fact(&h.Rule, "Rule", strings.Join(nonEmpty(r.ID, r.Status), ", "))
	fact(&h.Rule, "From", strings.Join(nonEmpty(r.Suite, r.File, r.Author, r.License), ", "))
	for i := range r.Techniques[:min(len(r.Techniques), htmlItems)] {
		fact(&h.Rule, "ATT&CK", techniqueText(&r.Techniques[i]))
	}
	fact(&h.Rule, "Controls", strings.Join(r.Controls, "; "))
	for _, ref := range r.References[:min(len(r.References), htmlItems)] {
		u, _ := webURL(ref)
		h.References = append(h.References, htmlLink{short(ref), u})
	}
	if len(f.Events) < f.Count && !r.Correlation {
		h.EventNote = fmt.Sprintf("the first %s of %s", number(len(f.Events)), number(f.Count))
	}
	for i := range f.Events[:min(len(f.Events), detect.EventCap)] {
		h.Events = append(h.Events, newHTMLEvent(&f.Events[i], records))
	}
	n := 600
	for _, list := range [][]string{h.Paragraphs, h.Check, h.Benign} {
		for _, s := range list {
			n += len(s)
		}
	}
	for _, e := range h.Events {
		n += 300 + len(e.Target) + len(e.File) + len(e.Error)
	}
	return n
}

func items(in []string) []string {
	var out []string
	for _, s := range in[:min(len(in), htmlItems)] {
		out = append(out, paragraph(s))
	}
	return out
}

func newHTMLEvent(e *detect.Evidence, records *int) htmlEvent {
	out := htmlEvent{Time: stamp(e.Time), Call: short(call(e.Source, e.Name)), Error: short(e.Error), Region: short(e.Region), Address: short(e.Address), Target: short(e.Target),
		ID: short(e.ID), Rule: short(e.RuleID)}
	if e.File != "" {
		out.File = safetext.Middle(e.File, htmlText) + ", byte " + number(e.Offset)
	}
	for _, m := range e.Matched[:min(len(e.Matched), htmlItems)] {
		out.Matched = append(out.Matched, htmlFact{short(m.Path), short(m.Value)})
	}
	switch {
	case len(e.Raw) == 0:
	case *records < len(e.Raw):
		out.Note = "The record is left out to keep this page small: --explain shows it."
	case len(e.Raw) > htmlRecord:
		*records -= htmlRecord
		out.Note = fmt.Sprintf("The record has %s; only its start is here, unformatted.", plural(len(e.Raw), "byte"))
		out.Lines = []recordLine{{Text: safetext.Terminal(string(e.Raw[:htmlRecord]), htmlRecord)}}
	default:
		*records -= len(e.Raw)
		out.Lines = recordLines(e.Raw, e.Matched)
	}
	return out
}

// tactics counts findings by ATT&CK tactic, in the order of an attack.
func tactics(res *hunt.Result) []htmlTactic {
	order := [...]string{"reconnaissance", "resource-development", "initial-access", "execution", "persistence", "privilege-escalation", "stealth", "defense-impairment", "defense-evasion",
		"credential-access", "discovery", "lateral-movement", "collection", "command-and-control", "exfiltration", "impact"}
	var out []htmlTactic
	for i, name := range order {
		count, level := 0, detect.Informational
		var ids []string
		for j := range res.Findings {
			f := &res.Findings[j]
			here := false
			for _, t := range f.Rule.Techniques {
				if t.Tactic == name {
					here = true
					if len(ids) < htmlItems {
						ids = appendNew(ids, safetext.Terminal(strings.TrimSpace(t.ID+" "+t.Name), 80))
					}
				}
			}
			if here {
				count++
				level = max(level, f.Level)
			}
		}
		// What comes before an attack leaves no trace here, and defense-evasion is a name of ATT&CK before 19: shown only when
		// a rule names them.
		if count == 0 && (i < 2 || name == "defense-evasion") {
			continue
		}
		text := strings.ReplaceAll(name, "-", " ")
		out = append(out, htmlTactic{strings.ToUpper(text[:1]) + text[1:], level.String(), number(count), strings.Join(ids, ", "), count > 0})
	}
	return out
}

func actorRows(res *hunt.Result) []htmlActor {
	type worst struct {
		n     int
		level detect.Level
	}
	by := map[string]*worst{}
	for i := range res.Findings {
		f := &res.Findings[i]
		if by[f.Actor.ID] == nil {
			by[f.Actor.ID] = &worst{}
		}
		by[f.Actor.ID].n++
		by[f.Actor.ID].level = max(by[f.Actor.ID].level, f.Level)
	}
	var out []htmlActor
	top := int64(0)
	for _, a := range res.Stats.Actors[:min(len(res.Stats.Actors), htmlRows)] {
		top = max(top, a.Count)
	}
	for _, a := range res.Stats.Actors[:min(len(res.Stats.Actors), htmlRows)] {
		row := htmlActor{short(actorName(a.Actor)), kindName(a.Actor.Kind), short(a.Actor.ID), short(a.Actor.Account), number(a.Count), number(a.Failed), number(a.Names), number(a.Addresses),
			minute(a.First), minute(a.Last), "", "", share(a.Count, top)}
		if w := by[a.Actor.ID]; w != nil {
			row.Findings, row.Level = number(w.n), w.level.String()
		}
		out = append(out, row)
	}
	return out
}

func kindName(k event.ActorKind) string { return safetext.Terminal(string(k), 20) }

func minute(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(minutes)
}

func share(n, of int64) int {
	if of <= 0 || n <= 0 {
		return 0
	}
	return int(max(100*n/of, 1))
}

func lists(st *hunt.Stats) []htmlList {
	var out []htmlList
	for _, d := range dimensions(st) {
		n := min(len(d.rows), htmlRows/2)
		if n == 0 {
			continue
		}
		l := htmlList{Title: d.title, Total: ofTotal(st, d.key, len(d.rows), n)}
		top := int64(0)
		for _, s := range d.rows[:n] {
			top = max(top, s.Count)
		}
		for _, s := range d.rows[:n] {
			v := s.Value
			if d.show != nil {
				v = d.show(v)
			}
			if v == "" {
				v = "(none)"
			}
			row := htmlSeen{safetext.Middle(v, 120), number(s.Count), "", minute(s.First), minute(s.Last), share(s.Count, top)}
			if s.Failed > 0 {
				row.Failed = number(s.Failed)
			}
			l.Rows = append(l.Rows, row)
		}
		out = append(out, l)
	}
	return out
}

func ledgerData(l *ledger.Report) *htmlLedgerData {
	o, r := l.Objects, l.Records
	out := &htmlLedgerData{Balanced: l.Balanced, Bytes: size(l.Bytes.Stored) + " stored, " + size(l.Bytes.Expanded) + " expanded", Problems: items(l.Problems)}
	out.Files = terms(o.Listed, "listed", term{"read", o.Read, false}, term{"skipped", o.Skipped, false}, term{"failed", o.Failed, true})
	out.Records = terms(r.Seen, "seen", term{"kept", r.Kept, false}, term{"duplicate", r.Duplicate, false}, term{"filtered", r.Filtered, false}, term{"rejected", r.Rejected, true})
	if r.Other > 0 {
		out.Records = terms(r.Seen, "seen", term{"kept", r.Kept, false}, term{"duplicate", r.Duplicate, false}, term{"filtered", r.Filtered, false}, term{"rejected", r.Rejected, true}, term{"other", r.Other, false})
	}
	for _, s := range l.Skipped[:min(len(l.Skipped), htmlItems)] {
		out.Skipped = append(out.Skipped, htmlTally{short(s.Reason), number(s.Count)})
	}
	for _, s := range l.Notes[:min(len(l.Notes), htmlItems)] {
		out.Notes = append(out.Notes, htmlTally{short(s.Reason), number(s.Count)})
	}
	for _, f := range l.Failures[:min(len(l.Failures), htmlLedger)] {
		out.Failures = append(out.Failures, htmlProblem{short(f.Object), plural(f.Kept, "record") + " kept", short(f.Reason)})
	}
	for _, f := range l.Rejects[:min(len(l.Rejects), htmlLedger)] {
		out.Rejects = append(out.Rejects, htmlProblem{short(f.Object), "byte " + number(f.Offset), short(f.Reason)})
	}
	if more := o.Failed - int64(len(out.Failures)); more > 0 {
		out.MoreFailed = number(more) + " more are not on this page."
	}
	if more := r.Rejected - int64(len(out.Rejects)); more > 0 {
		out.MoreReject = number(more) + " more are not on this page."
	}
	return out
}

type term struct {
	name  string
	count int64
	bad   bool
}

// terms makes the equation total = a + b + … and the parts of its bar. A part that is there is at least half a hundredth
// wide, so that one failed file among a million shows.
func terms(total int64, name string, parts ...term) []htmlTerm {
	out := []htmlTerm{{Name: name, Count: number(total)}}
	sum := 0.0
	for _, p := range parts {
		if p.count > 0 {
			sum += max(float64(p.count)/float64(max(total, 1)), 0.005)
		}
	}
	x := 0.0
	for _, p := range parts {
		t := htmlTerm{Name: p.name, Count: number(p.count), Bad: p.bad && p.count > 0, X: round(x)}
		if p.count > 0 {
			t.Width = round(100 * max(float64(p.count)/float64(max(total, 1)), 0.005) / sum)
		}
		x += t.Width
		out = append(out, t)
	}
	return out
}
