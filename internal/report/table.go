package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/ledger"
	"spoor/internal/safetext"
)

// labelWidth is the column where values of the header start.
const labelWidth = 11

func writeTable(w io.Writer, res *hunt.Result, opts Options) error {
	p := newPrinter(w, opts)
	p.header(res)
	p.findings(res, opts)
	p.hints(res, opts)
	return p.err
}

// header says how bad it is, whether all was read, and what was examined.
func (p *printer) header(res *hunt.Result) {
	inputs := list(capped(res.Inputs, 60), 3)
	if inputs == "" {
		inputs = "no input"
	}
	p.line(span{"Spoor " + res.Version, bold}, span{" · " + inputs + " · " + duration(res.Elapsed), dim})
	p.blank()
	text, level := verdict(res)
	s := good
	if level > detect.Informational {
		s = levelStyle(level)
	}
	p.wrap(span{}, 0, text, s, 2)
	text, state := completeness(res.Ledger)
	s = [...]style{whole: good, incomplete: alert, unbalanced: badge}[state]
	p.wrap(span{}, 0, text, s, 4)
	p.blank()

	st := &res.Stats
	if st.Events > 0 {
		p.field("Period", period(res.First, res.Last)+" UTC ("+duration(res.Last.Sub(res.First))+")")
		p.field("Accounts", seenList(st.Accounts, distinct(st, "accounts", len(st.Accounts)), 4))
		p.field("Regions", seenList(st.Regions, distinct(st, "regions", len(st.Regions)), 5))
		p.field("Events", fmt.Sprintf("%s · %s failed (%s) · %s%s · %s%s", number(st.Events), number(st.Failed), percent(st.Failed, st.Events),
			atLeast(st, "actors"), plural(distinct(st, "actors", len(st.Actors)), "actor"), atLeast(st, "addresses"), plural(distinct(st, "addresses", len(st.Addresses)), "address"))+insights(st))
	}
	p.field("Rules", rulesLine(res.Rules))
	for i, problem := range res.Rules.Problems {
		if i == 2 {
			p.line(span{strings.Repeat(" ", labelWidth), none}, span{fmt.Sprintf("and %s more", number(len(res.Rules.Problems)-i)), dim})
			break
		}
		p.line(span{strings.Repeat(" ", labelWidth), none}, span{"broken: ", caution}, span{problem, none})
	}
	for i, note := range res.Notes {
		if i == 3 {
			p.line(span{strings.Repeat(" ", labelWidth), none}, span{fmt.Sprintf("and %s more", number(len(res.Notes)-i)), dim})
			break
		}
		p.wrap(span{"Not judged", caution}, labelWidth, note, none, 2)
	}
	if res.Ledger != nil {
		p.ledger(res.Ledger)
	}
}

// row prints a label and what belongs to it, over several lines without their styles when one is too narrow.
func (p *printer) row(spans ...span) {
	text := ""
	for _, s := range spans[1:] {
		text += s.text
	}
	if labelWidth+safetext.Width(strings.TrimSpace(text)) > p.width {
		p.wrap(span{strings.TrimRight(spans[0].text, " "), spans[0].style}, labelWidth, text, none, 0)
		return
	}
	p.line(spans...)
}

func (p *printer) field(label, text string) {
	p.wrap(span{label, dim}, labelWidth, text, none, 2)
}

// distinct returns how many values a dimension had, not less than the number that are listed.
func distinct(st *hunt.Stats, dimension string, listed int) int64 {
	return max(st.Distinct[dimension], int64(listed))
}

// atLeast stands before a number of distinct values that is a lower bound.
func atLeast(st *hunt.Stats, dimension string) string {
	if slices.Contains(st.Bounded, dimension) {
		return "at least "
	}
	return ""
}

func insights(st *hunt.Stats) string {
	if st.Insights == 0 {
		return ""
	}
	return " · " + plural(st.Insights, "Insight or aggregated event")
}

func percent(part, of int64) string {
	if of == 0 {
		return "0 %"
	}
	f := 100 * float64(part) / float64(of)
	if f > 0 && f < 0.1 {
		return "< 0.1 %"
	}
	return fmt.Sprintf("%.1f %%", f)
}

// seenList shows the most frequent values with their counts.
func seenList(seen []hunt.Seen, total int64, show int) string {
	var parts []string
	for i, s := range seen {
		if i == show {
			break
		}
		name := s.Value
		if name == "" {
			name = "unknown"
		}
		parts = append(parts, safetext.Terminal(name, 40)+" ("+number(s.Count)+")")
	}
	text := number(total) + ": " + strings.Join(parts, ", ")
	if more := total - int64(len(parts)); more > 0 {
		text += ", and " + number(more) + " more"
	}
	return text
}

func rulesLine(r hunt.RuleCounts) string {
	text := fmt.Sprintf("%s and %s, %s fired", plural(r.Loaded, "rule"), plural(r.Correlations, "correlation"), number(r.Fired))
	if r.Off > 0 {
		text += fmt.Sprintf(" · %s off", number(r.Off))
	}
	if r.Broken > 0 {
		text += fmt.Sprintf(" · %s BROKEN and not run", number(r.Broken))
	}
	return text
}

// ledger prints the sums as the equations that they are.
func (p *printer) ledger(l *ledger.Report) {
	o, r := l.Objects, l.Records
	bad := func(n int64) style {
		if n > 0 {
			return alert
		}
		return none
	}
	p.row(span{pad("Files", labelWidth), dim},
		span{fmt.Sprintf("%s listed = %s read + %s skipped + ", number(o.Listed), number(o.Read), number(o.Skipped)), none},
		span{number(o.Failed) + " failed", bad(o.Failed)},
		span{" · " + size(l.Bytes.Stored) + ", " + size(l.Bytes.Expanded) + " expanded", dim})
	spans := []span{{pad("Records", labelWidth), dim}}
	if !l.Balanced {
		spans = append(spans, span{"NOT BALANCED", badge}, span{" ", none})
	}
	spans = append(spans,
		span{fmt.Sprintf("%s seen = %s kept + %s duplicate + %s filtered + ", number(r.Seen), number(r.Kept), number(r.Duplicate), number(r.Filtered)), none},
		span{number(r.Rejected) + " rejected", bad(r.Rejected)})
	if r.Other > 0 {
		spans = append(spans, span{fmt.Sprintf(" + %s other", number(r.Other)), none})
	}
	if l.Balanced {
		spans = append(spans, span{" · balanced", good})
	}
	p.row(spans...)
	if len(l.Skipped) > 0 {
		p.field("Skipped", reasons(l.Skipped, 3))
	}
	if len(l.Pruned) > 0 {
		p.field("Not read", plural(total(l.Pruned), "record")+" of the store: "+reasons(l.Pruned, 3))
	}
	const show = 3
	for i, f := range l.Failures {
		if i == show {
			break
		}
		kept := ""
		if f.Kept > 0 {
			kept = ", " + plural(f.Kept, "record") + " kept"
		}
		p.line(span{pad("Failed", labelWidth), alert}, span{pad(f.Object, p.width*2/5) + "  ", none}, span{f.Reason + kept, none})
	}
	for i, f := range l.Rejects {
		if i == show {
			break
		}
		p.line(span{pad("Rejected", labelWidth), alert}, span{pad(f.Object, p.width*2/5) + "  ", none}, span{fmt.Sprintf("byte %s: %s", number(f.Offset), f.Reason), none})
	}
	if n := max(len(l.Failures)-show, 0) + max(len(l.Rejects)-show, 0); n > 0 {
		p.line(span{strings.Repeat(" ", labelWidth), none}, span{fmt.Sprintf("and %s more: ledger.failures and ledger.rejects of --format json", number(n)), dim})
	}
	if len(l.Notes) > 0 {
		p.field("Notes", reasons(l.Notes, 3))
	}
}

func reasons(rs []ledger.ReasonCount, show int) string {
	var parts []string
	for i, r := range rs {
		if i == show {
			parts = append(parts, fmt.Sprintf("and %s more reasons", number(len(rs)-show)))
			break
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", safetext.Terminal(r.Reason, 80), number(r.Count)))
	}
	return strings.Join(parts, ", ")
}

// byRule puts together what the same rule found at the same level, so that one busy rule does not push the others off
// the screen. Groups stand where their first finding does.
func byRule(fs []*detect.Finding) [][]*detect.Finding {
	type key struct {
		rule, title string
		level       detect.Level
	}
	index := map[key]int{}
	var out [][]*detect.Finding
	for _, f := range fs {
		k := key{f.Rule.ID, f.Rule.Title, f.Level}
		at, ok := index[k]
		if !ok {
			at = len(out)
			index[k] = at
			out = append(out, nil)
		}
		out[at] = append(out[at], f)
	}
	return out
}

// also names the further findings of a rule, with what to pass to --explain.
func (p *printer) also(fs []*detect.Finding) {
	if len(fs) == 0 {
		return
	}
	parts := make([]string, len(fs))
	for i, f := range fs {
		parts[i] = fmt.Sprintf("%s ×%s [%s]", safetext.Middle(actorPhrase(f.Actor), 40), number(f.Count), safetext.Terminal(f.ID, 16))
	}
	p.wrap(span{}, 10, fmt.Sprintf("%s more of it: %s", number(len(fs)), list(parts, 3)), dim, 3)
}

// findings prints the first findings with a few lines each, then what is left in one.
func (p *printer) findings(res *hunt.Result, opts Options) {
	p.blank()
	n := levelCounts(res.Findings)
	var counts []span
	for l := len(n) - 1; l >= 0; l-- {
		level := detect.Level(l)
		s := levelStyle(level)
		if n[l] == 0 || level == detect.Informational {
			s = dim
		}
		text := fmt.Sprintf("%s %s", number(n[l]), level)
		if s == badge {
			text = " " + text + " "
		}
		counts = append(counts, span{text, s}, span{"   ", none})
	}
	p.row(append([]span{{"Findings   ", bold}}, counts...)...)
	var loud, quiet []*detect.Finding
	for i := range res.Findings {
		f := &res.Findings[i]
		if f.Level > detect.Informational || opts.Limit < 0 {
			loud = append(loud, f)
		} else {
			quiet = append(quiet, f)
		}
	}
	groups := byRule(loud)
	show := 0
	for _, g := range groups[:opts.limit(len(groups))] {
		text := p.capture(func() {
			p.blank()
			p.finding(g[0])
			p.also(g[1:])
		})
		// Below the findings there are up to twelve lines; on a small screen the worst three are shown even so.
		if opts.Height > 0 && show >= 3 && p.lines+strings.Count(text, "\n")+12 > opts.Height {
			break
		}
		p.write(text)
		show++
	}
	if left := slices.Concat(groups[show:]...); len(left) > 0 {
		p.blank()
		p.wrap(span{}, 0, fmt.Sprintf("%s more, not shown: %s", number(len(left)), titles(left, 4)), dim, 2)
	}
	if len(quiet) > 0 {
		p.blank()
		p.wrap(span{}, 0, fmt.Sprintf("%s informational (context, not alerts): %s", number(len(quiet)), titles(quiet, 5)), dim, 2)
	}
}

// finding prints what happened, when and where.
func (p *printer) finding(f *detect.Finding) {
	const indent = 10
	ids := strings.Join(techniqueIDs(&f.Rule), " ")
	ids = safetext.Terminal(ids, 24)
	tail := 16 + 2
	if ids != "" {
		tail += safetext.Width(ids) + 2
	}
	level := strings.ToUpper(f.Level.String())
	if f.Level == detect.Informational {
		level = "INFO"
	}
	title := f.Rule.Title
	if title == "" {
		title = "rule " + f.Rule.ID
	}
	title = safetext.Terminal(title, p.width-indent-tail)
	title += strings.Repeat(" ", p.width-indent-tail-safetext.Width(title))
	p.line(span{level, levelStyle(f.Level)}, span{strings.Repeat(" ", indent-len(level)), none}, span{title, bold},
		span{"  " + ids, accent}, span{strings.Repeat(" ", min(len(ids), 2)) + f.ID, dim})
	p.wrap(span{}, indent, what(f)+".", none, 2)
	p.wrap(span{}, indent, where(f), dim, 2)
}

// titles counts the rules of findings, in their order.
func titles(fs []*detect.Finding, show int) string {
	count := map[string]int{}
	var order []string
	for _, f := range fs {
		if count[f.Rule.Title]++; count[f.Rule.Title] == 1 {
			order = append(order, f.Rule.Title)
		}
	}
	for i, t := range order {
		order[i] = safetext.Terminal(t, 48)
		if n := count[t]; n > 1 {
			order[i] += fmt.Sprintf(" (%s)", number(n))
		}
	}
	return list(order, show)
}

// hints says what to type next.
func (p *printer) hints(res *hunt.Result, opts Options) {
	command := commandLine(res, opts)
	hint := func(option, meaning string) {
		text := "  " + safetext.Terminal(command, 400) + " " + option
		if gap := max(58-safetext.Width(text), 1); safetext.Width(text)+gap+2+len(meaning) <= p.width {
			p.line(span{text, none}, span{strings.Repeat(" ", gap) + "# " + meaning, dim})
			return
		}
		p.line(span{"  # " + meaning, dim})
		p.long(span{text, none}) // whole, to be copied
	}
	p.blank()
	p.line(span{"Next", bold})
	if len(res.Findings) > 0 {
		hint("--explain "+res.Findings[0].ID, "the rule, the fields, the record")
		hint("--format html --out report.html", "everything, as one page")
		hint("--format timeline", "the events behind it, in order")
	} else {
		hint("--format html --out report.html", "the numbers, as one page")
	}
	if res.Ledger != nil && !res.Ledger.Complete() {
		if res.Ledger.Records.Rejected > 0 {
			hint("--rejects rejects.jsonl", "keep what could not be read")
		}
		hint("--format json --out report.json", "every failure, in its ledger")
	}
}

// commandLine is the command to repeat, quoted for a shell.
func commandLine(res *hunt.Result, opts Options) string {
	if opts.Command != "" {
		return opts.Command
	}
	words := []string{"spoor", "hunt"}
	for i, in := range res.Inputs {
		if i == 2 {
			words = append(words, "…")
			break
		}
		words = append(words, shellQuote(in))
	}
	return strings.Join(words, " ")
}

func shellQuote(s string) string {
	safe := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:=@%+,", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !safe(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
