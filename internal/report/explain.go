package report

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"spoor/internal/detect"
	"spoor/internal/safetext"
)

// Explain writes all that is known of one finding: the rule, why it matters, what to check, what was seen, and the
// events with the fields that matched marked in the record. Of a correlation it shows one record of every rule that took
// part, else the first; with a Limit below 0 every record that the finding keeps.
func Explain(w io.Writer, f *detect.Finding, opts Options) error {
	buf := bufio.NewWriterSize(w, 64<<10)
	p := newPrinter(buf, opts)
	p.explain(f, opts.Limit < 0)
	if p.err == nil {
		p.err = buf.Flush()
	}
	if p.err != nil {
		return fmt.Errorf("explain finding %s: %w", f.ID, p.err)
	}
	return nil
}

func (p *printer) explain(f *detect.Finding, all bool) {
	const label = 14
	r := &f.Rule
	p.finding(f)
	para := func(title, text string) {
		if strings.TrimSpace(text) == "" {
			return
		}
		p.blank()
		p.line(span{title, bold})
		for paragraph := range strings.SplitSeq(strings.ReplaceAll(text, "\r", ""), "\n\n") {
			p.wrap(span{}, 2, paragraph, none, 0)
		}
	}
	bullets := func(title string, items []string, numbered bool) {
		if len(items) == 0 {
			return
		}
		p.blank()
		p.line(span{title, bold})
		for i, item := range items {
			lead := "  -"
			if numbered {
				lead = fmt.Sprintf("%3d.", i+1)
			}
			p.wrap(span{lead, dim}, 5, item, none, 0)
		}
	}
	field := func(name, text string) {
		if text != "" {
			p.wrap(span{"  " + name, dim}, label, text, none, 0)
		}
	}
	para("Why it matters", r.Description)
	bullets("Check first", r.Check, true)
	bullets("Known benign causes", r.FalsePositives, false)

	p.blank()
	p.line(span{"What was seen", bold})
	field("Actor", actorPhrase(f.Actor)+", "+f.Actor.ID)
	if f.Actor.From != "" {
		field("", "identified by "+f.Actor.From)
	}
	field("Session", f.Actor.Session)
	field("Account", f.Account)
	field("Group", groupText(f.Group))
	field("Observed", f.Observed)
	field("When", period(f.First, f.Last)+" UTC")
	field("Count", fmt.Sprintf("%s, %s failed", number(f.Count), number(f.Denied)))
	field("Calls", tallies(f.Names))
	field("Regions", tallies(f.Regions))
	field("Addresses", tallies(f.Addresses))
	field("User agents", tallies(f.Agents))
	field("Errors", tallies(f.Errors))
	field("Access keys", tallies(f.Keys))
	field("Targets", tallies(f.Targets))

	p.blank()
	p.line(span{"Rule", bold})
	field("Id", strings.TrimSpace(r.ID+"  "+r.Status))
	field("Level", r.Level.String())
	if f.Level != r.Level {
		field("", "shown as "+f.Level.String()+", because every attempt was denied")
	}
	field("From", strings.Join(nonEmpty(r.Suite, r.File), ", "))
	field("Author", strings.Join(nonEmpty(r.Author, r.License), ", "))
	for i, t := range r.Techniques {
		name := ""
		if i == 0 {
			name = "ATT&CK"
		}
		field(name, techniqueText(&t))
	}
	field("Controls", strings.Join(r.Controls, "; "))
	for i, ref := range r.References {
		name := ""
		if i == 0 {
			name = "References"
		}
		field(name, ref)
	}

	p.blank()
	kept := ""
	if len(f.Events) < f.Count && !r.Correlation {
		kept = fmt.Sprintf("  the first %s of %s", number(len(f.Events)), number(f.Count))
	}
	p.line(span{"Events", bold}, span{kept, dim})
	shown := map[string]bool{}
	for i := range f.Events {
		e := &f.Events[i]
		p.evidence(i, e, all || !shown[e.RuleID])
		shown[e.RuleID] = true
	}
}

// evidence prints an event and, if asked for, its record.
func (p *printer) evidence(i int, e *detect.Evidence, record bool) {
	spans := []span{{fmt.Sprintf("%3d. ", i+1), dim}, {stamp(e.Time) + "  ", none}, {call(e.Source, e.Name) + "  ", bold}}
	if e.Error != "" {
		spans = append(spans, span{e.Error + "  ", red})
	}
	p.line(append(spans, span{strings.Join(nonEmpty(e.Region, e.Address, e.Target), "  "), none})...)
	p.long(span{"     " + safetext.Terminal(e.File, recordLineCap/2) + ", byte " + number(e.Offset), dim})
	p.line(span{"     event " + e.ID, dim})
	if e.RuleID != "" {
		p.line(span{"     by rule " + e.RuleID, dim})
	}
	for _, m := range e.Matched {
		if m.Path == "" {
			p.line(span{"     matched ", dim}, span{m.Value, accent})
			continue
		}
		p.line(span{"     matched ", dim}, span{m.Path, accent}, span{" = " + m.Value, none})
	}
	if !record || len(e.Raw) == 0 {
		return
	}
	p.blank()
	for _, l := range recordLines(e.Raw, e.Matched) {
		if l.Mark {
			p.long(span{"   ▶ ", caution}, span{l.Text, caution})
			continue
		}
		p.long(span{"     ", none}, span{l.Text, none})
	}
	p.blank()
}

// long writes a line that may be wider than the terminal: records are to be copied whole.
func (p *printer) long(spans ...span) {
	width := p.width
	p.width = recordLineCap + 8
	p.line(spans...)
	p.width = width
}

func techniqueText(t *detect.Technique) string {
	text := strings.TrimSpace(t.ID + " " + t.Name)
	if t.Old != "" && t.Old != t.ID {
		text += " (before ATT&CK 19: " + t.Old + ")"
	}
	if t.Tactic != "" {
		text += ", " + t.Tactic
	}
	return text
}

func nonEmpty(in ...string) []string {
	var out []string
	for _, s := range in {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}
