package lineage

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"spoor/internal/safetext"
)

// fewNodes is how many nodes get a block of lines each; in larger trees, those at the ends get one line.
const fewNodes = 12

// Text writes the report as trees for a terminal of that many columns, 0 for one of 150. Everything out of logs is made
// safe to show.
func (r *Report) Text(w io.Writer, width int) error {
	if width <= 0 {
		width = 150
	}
	p := &printer{w: bufio.NewWriter(w), width: max(width, 60)}
	for _, n := range r.Roots {
		p.count(n)
	}
	p.head(r)
	for _, n := range r.Roots {
		p.line("", "")
		p.node(n, "", "", true)
	}
	p.line("", "")
	for _, c := range r.Accounts {
		p.line("", fmt.Sprintf("data of account %s: %s to %s, %s", name(c.Account, 20), clock(c.First), clock(c.Last), plural(int(c.Events), "event")))
	}
	if r.Left > 0 {
		p.line("", fmt.Sprintf("%d more credentials of it are not shown; --limit shows more", r.Left))
	}
	if err := p.w.Flush(); err != nil {
		return fmt.Errorf("write the lineage: %w", err)
	}
	return nil
}

type printer struct {
	w       *bufio.Writer
	width   int
	nodes   int
	targets []*Node
}

func (p *printer) count(n *Node) {
	p.nodes++
	if n.Target {
		p.targets = append(p.targets, n)
	}
	for _, c := range n.Minted {
		p.count(c)
	}
}

// line writes a line that is made safe already, cut to the width.
func (p *printer) line(indent, text string) {
	s := indent + text
	if safetext.Width(s) > p.width {
		s = safetext.Terminal(s, p.width)
	}
	p.w.WriteString(strings.TrimRight(s, " ") + "\n") //nolint:errcheck // Flush tells
}

func (p *printer) head(r *Report) {
	what := map[string]string{"key": "access key ", "event": "event ", "arn": "", "name": ""}[r.As]
	p.line("", "Lineage of "+what+name(r.Asked, 120))
	if e := r.Event; e != nil {
		p.line("  ", eventText(e))
	}
	if len(p.targets) > 1 {
		p.line("  ", fmt.Sprintf("%s, marked ◀", plural(len(p.targets), "credential")))
	}
	shown := map[string]bool{}
	for _, n := range p.targets {
		c := chain(n)
		if shown[c] {
			continue
		}
		shown[c] = true
		if len(shown) == 6 {
			p.line("  ", "…")
			break
		}
		p.wrap("  ", "    ", c)
	}
}

// wrap writes text in as many lines as it takes, broken at blanks.
func (p *printer) wrap(indent, further, text string) {
	for {
		room := p.width - safetext.Width(indent)
		if safetext.Width(text) <= room {
			p.line(indent, text)
			return
		}
		cut, columns := 0, 0
		for i, r := range text {
			if r == ' ' {
				cut = i
			}
			if columns += safetext.Width(string(r)); columns > room && cut > 0 {
				break
			}
		}
		if cut == 0 {
			p.line(indent, text)
			return
		}
		p.line(indent, text[:cut])
		text, indent = text[cut+1:], further
	}
}

// chain tells the way from the beginning to n on one line.
func chain(n *Node) string {
	step := title(n, false)
	switch {
	case n.parent != nil:
		mark := " → "
		if n.Origin.Certainty == Matched {
			mark = " ⇢ "
		}
		return chain(n.parent) + mark + name(n.Origin.Event.Name, 60) + mark + step
	case n.Origin.Certainty == Beginning:
		return step
	case n.Kind == LongTerm:
		return step
	case n.Origin.Certainty == Ambiguous:
		return fmt.Sprintf("(%d candidates) → %s", len(n.Origin.Candidates)+n.Origin.More, step)
	}
	return "(unknown) → " + step
}

// title names a node.
func title(n *Node, account bool) string {
	kind, who := n.ActorKind, n.Actor
	switch {
	case n.Type == "AssumedRole" && n.role != "":
		kind, who = "role", last(n.role)
	case n.Type == "AWSService":
		kind = "service"
	case n.Type == "AWSAccount" && kind == "account":
		kind = ""
	}
	if n.ActorKind == "service" && n.Type == "AssumedRole" {
		kind = "service role"
	}
	s := name(who, 80)
	if kind != "" && kind != "unknown" && kind != who {
		s = kind + " " + s
	}
	if n.Name != "" && n.Name != who {
		s += "/" + name(n.Name, 70)
	}
	if n.ActorKind == "person" && n.Type == "AssumedRole" && n.Actor != n.Name {
		s += " (" + name(n.Actor, 60) + ")"
	}
	if account && n.Account != "" {
		s += " in " + name(n.Account, 20)
	}
	return cmp.Or(s, "unknown identity")
}

func (p *printer) node(n *Node, lead, indent string, root bool) {
	mark := ""
	if n.Target {
		mark = "  ◀"
		if len(p.targets) == 1 {
			mark = "  ◀ asked for"
		}
	}
	head := ""
	if e := n.Origin.Event; e != nil && !root {
		head = clock(e.Time) + "  " + name(e.Name, 60) + "  "
	}
	head += title(n, true)
	if n.Key != "" {
		head += "  " + name(n.Key, 60)
	}
	if p.nodes > fewNodes && n.plain() {
		if !root && n.Uses != nil {
			head += "  " + n.Uses.short()
		} else if n.Uses != nil {
			head += "  " + clock(n.began()) + "  " + n.Uses.short() + "  (origin unknown: " + string(n.Origin.Reason) + ")"
		}
		p.line(lead, head+mark)
		return
	}
	p.line(lead, head+mark)
	more := len(n.Minted)+len(n.Groups) > 0 || n.Hidden > 0
	bar := indent + "  "
	if more {
		bar = indent + "│ "
	}
	p.facts(n, bar)
	type child struct {
		at time.Time
		n  *Node
		g  *Group
	}
	var children []child
	for _, c := range n.Minted {
		children = append(children, child{c.began(), c, nil})
	}
	for i := range n.Groups {
		children = append(children, child{n.Groups[i].First, nil, &n.Groups[i]})
	}
	slices.SortStableFunc(children, func(a, b child) int { return a.at.Compare(b.at) })
	for i, c := range children {
		lead, next := "├─ ", "│  "
		if i == len(children)-1 && n.Hidden == 0 {
			lead, next = "└─ ", "   "
		}
		if p.nodes <= fewNodes {
			p.line(indent, "│")
		}
		if c.n != nil {
			p.node(c.n, indent+lead, indent+next, false)
		} else {
			p.group(c.g, indent+lead, indent+next)
		}
	}
	if n.Hidden > 0 {
		more := ""
		if len(children) > 0 {
			more = " more"
		}
		text := "minted " + plural(int(n.Hidden), "other session")
		if more != "" {
			text = "minted " + fmt.Sprint(n.Hidden) + " more"
		}
		if !n.Target && !n.expanded {
			text += ", which are not about this; ask for " + name(n.Key, 60) + " to see them"
		}
		p.line(indent, "└─ "+text)
	}
}

// plain reports whether n can be told in a line.
func (n *Node) plain() bool {
	return len(n.Minted)+len(n.Groups)+len(n.Notes) == 0 && n.Hidden == 0 && n.Key != "" && (n.Origin.Certainty == Proven || n.parent == nil && n.Origin.Certainty == Unknown && n.Kind != LongTerm)
}

// facts are the lines below the title of a node.
func (p *printer) facts(n *Node, bar string) {
	fact := func(label, text string) {
		if text != "" {
			p.wrap(bar+fmt.Sprintf("%-8s ", label), bar+"         ", text)
		}
	}
	o := n.Origin
	if e := o.Event; e != nil {
		text := ""
		if n.parent == nil {
			text = "by " + clock(e.Time) + " " + name(e.Name, 60) + " "
		}
		switch o.Certainty {
		case Proven:
			text += "proven"
		case Matched:
			text += "MATCHED, not proven"
		default:
			text += "UNKNOWN"
		}
		text += ": " + cmp.Or(o.Text, o.Evidence) + "; event " + name(e.ID, 60) + " from " + name(e.Address, 50)
		for i, c := range o.Copies {
			if i == 3 {
				text += fmt.Sprintf(" and %d more", len(o.Copies)-i)
				break
			}
			text += ", also " + name(c.Name, 40) + " " + name(c.ID, 60) + " in " + name(c.Account, 20)
		}
		fact("made by", text)
	} else {
		switch o.Certainty {
		case Beginning:
			fact("begins", o.Text)
		case Ambiguous:
			fact("origin", "SEVERAL CANDIDATES: "+safetext.Terminal(o.Text, 300))
			for _, c := range o.Candidates {
				who := &Node{Who: c.Who, Key: c.Key}
				text := "? " + clock(c.Event.Time) + " " + name(c.Event.Name, 60) + " by " + title(who, true)
				if c.Key != "" {
					text += " with " + name(c.Key, 60)
				}
				fact("", text+", from "+name(c.Event.Address, 50)+": "+c.Evidence+"; event "+name(c.Event.ID, 60))
			}
			if o.More > 0 {
				fact("", fmt.Sprintf("and %d more", o.More))
			}
		default:
			fact("origin", "UNKNOWN ("+string(o.Reason)+"): "+safetext.Terminal(o.Text, 400))
		}
	}
	for _, note := range n.Notes {
		text := name(note.Text, 200)
		if note.Event != nil {
			text += ", " + clock(note.Event.Time) + ", event " + name(note.Event.ID, 60)
		}
		if note.Key != "" {
			text += ", with " + name(note.Key, 60)
		}
		fact("note", text)
	}
	var about []string
	if n.SourceIdentity != "" {
		about = append(about, "source identity "+name(n.SourceIdentity, 80))
	}
	if n.MFA == "true" {
		about = append(about, "with MFA")
	}
	if n.Console {
		about = append(about, "in the console")
	}
	if n.Source != "" && n.Source != n.Actor && n.ActorKind != "service" {
		about = append(about, "for "+safetext.Middle(n.Source, 90))
	}
	fact("session", strings.Join(about, ", "))
	if n.Uses != nil {
		p.uses(n.Uses, fact)
	}
}

func (p *printer) uses(u *Uses, fact func(label, text string)) {
	if u.Calls == 0 {
		fact("used", "never, as far as the data go")
		return
	}
	fact("used", u.short())
	fact("from", counts(u.Addresses, 5, 50))
	if len(u.Agents) > 0 {
		fact("with", counts(u.Agents, 2, 60))
	}
	var writes, reads []Count
	for _, c := range u.Names {
		if c.Writes {
			writes = append(writes, c)
		} else {
			reads = append(reads, c)
		}
	}
	total := int64(0)
	if len(u.Names) > 0 {
		total = u.Names[0].Distinct - int64(len(u.Names))
	}
	fact("changed", counts(writes, 14, 60))
	text := counts(reads, 8, 60)
	if total > 0 && len(reads) <= 8 {
		text += fmt.Sprintf(", and %d more", total)
	}
	fact("read", text)
	fact("errors", counts(u.Errors, 6, 60))
}

// short tells how much and when on one line.
func (u *Uses) short() string {
	if u.Calls == 0 {
		return "never used"
	}
	s := plural(int(u.Calls), "call")
	if u.Failed > 0 {
		s += fmt.Sprintf(" (%d failed)", u.Failed)
	}
	if u.First.Equal(u.Last) {
		return s + " at " + clock(u.First)
	}
	to := clock(u.Last)
	if u.First.Format(time.DateOnly) == u.Last.Format(time.DateOnly) {
		to = u.Last.UTC().Format("15:04:05Z")
	}
	return s + ", " + clock(u.First) + " to " + to
}

// counts lists values and how often they came, most first.
func counts(list []Count, most, limit int) string {
	var b strings.Builder
	for i, c := range list {
		if i == most {
			fmt.Fprintf(&b, ", and %d more", max(int64(len(list)), list[0].Distinct)-int64(i))
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name(c.Value, limit))
		if c.Calls > 1 {
			fmt.Fprintf(&b, " ×%d", c.Calls)
		}
		if c.Failed > 0 && c.Failed == c.Calls && c.Source != "" {
			b.WriteString(" (failed)")
		} else if c.Failed > 0 && c.Source != "" {
			fmt.Fprintf(&b, " (%d failed)", c.Failed)
		}
	}
	return b.String()
}

func (p *printer) group(g *Group, lead, indent string) {
	to := clock(g.Last)
	p.line(lead, fmt.Sprintf("%s to %s  %s  %d sessions of %s", clock(g.First), to, name(g.Call, 60), g.Sessions, safetext.Middle(g.Target, 90)))
	if g.Uses != nil {
		bar := indent + "  "
		p.uses(g.Uses, func(label, text string) {
			if text == "" {
				return
			}
			if label == "used" && g.Partial {
				text += fmt.Sprintf(" (of the first %d)", groupKeys)
			}
			p.wrap(bar+fmt.Sprintf("%-8s ", label), bar+"         ", text)
		})
	}
}

func eventText(e *Event) string {
	s := clock(e.Time) + "  " + name(e.Name, 60) + " (" + name(e.Source, 60) + ")"
	if e.Target != "" {
		s += " " + safetext.Middle(e.Target, 90)
	}
	if e.Error != "" {
		s += " [" + name(e.Error, 80) + "]"
	}
	return s + " from " + name(e.Address, 50) + " in " + name(e.Account, 20) + " " + name(e.Region, 20)
}

// name makes a text out of a log safe to show.
func name(s string, limit int) string { return safetext.Terminal(s, limit) }
