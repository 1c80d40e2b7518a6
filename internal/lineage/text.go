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

// Text writes the report as trees for a terminal of that many columns, 0 for one of 100. Everything out of logs is made
// safe to show.
func (r *Report) Text(w io.Writer, width int) error {
	if width <= 0 {
		width = 100
	}
	p := &printer{w: bufio.NewWriter(w), width: max(width, 60)}
	for _, n := range r.Roots {
		p.count(n)
	}
	if len(r.Roots) == 0 {
		p.line("", "Nothing of "+name(r.Asked, 120)+" in the data.")
	} else {
		p.head(r)
	}
	p.roots(r.Roots)
	p.line("", "")
	for i, c := range r.Accounts {
		if i == 12 {
			p.line("", fmt.Sprintf("and data of %d more accounts", len(r.Accounts)-i))
			break
		}
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

// roots writes the trees. Of many credentials, those that stand alone come last, by the reason why nothing is before them.
func (p *printer) roots(roots []*Node) {
	alone := map[Reason][]*Node{}
	var reasons []Reason
	for _, n := range roots {
		if p.nodes > fewNodes && n.plain() {
			if alone[n.Origin.Reason] == nil {
				reasons = append(reasons, n.Origin.Reason)
			}
			alone[n.Origin.Reason] = append(alone[n.Origin.Reason], n)
			continue
		}
		p.line("", "")
		p.node(n, "", "", true)
	}
	for _, why := range reasons {
		list := alone[why]
		p.line("", "")
		p.line("", fmt.Sprintf("origin UNKNOWN (%s) of %s; the first: ", why, plural(len(list), "credential")))
		p.wrap("  ", "  ", safetext.Terminal(list[0].Origin.Text, 400))
		for i, n := range list {
			lead := "├─ "
			if i == len(list)-1 {
				lead = "└─ "
			}
			p.node(n, lead, "", true)
		}
	}
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
	s := indent + strings.ReplaceAll(text, "\u00a0", " ")
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

// wrap writes text in as many lines as it takes, broken at blanks where there are some.
func (p *printer) wrap(indent, further, text string) {
	for {
		room := max(20, p.width-safetext.Width(indent))
		if safetext.Width(text) <= room {
			p.line(indent, text)
			return
		}
		cut, next, columns := 0, 0, 0
		for i, r := range text {
			if columns += safetext.Width(string(r)); columns > room {
				if cut == 0 {
					cut, next = i, i
				}
				break
			}
			if r == ' ' && i > 0 {
				cut, next = i, i+1
			}
		}
		p.line(indent, text[:cut])
		text, indent = strings.TrimLeft(text[next:], " "), further
	}
}

// unbroken keeps a text on one line, as far as there is room. line takes the marks out again.
func unbroken(s string) string { return strings.ReplaceAll(s, " ", "\u00a0") }

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

// permissionSet is the permission set of Identity Center that a role stands for, or "".
func permissionSet(role string) string {
	set, ok := strings.CutPrefix(last(role), "AWSReservedSSO_")
	if i := strings.LastIndexByte(set, '_'); ok && i > 0 {
		return set[:i]
	}
	return ""
}

// title names a node.
func title(n *Node, account bool) string {
	kind, who := n.ActorKind, n.Actor
	switch {
	case n.Type == "AssumedRole" && n.role != "":
		kind, who = "role", last(n.role)
		if set := permissionSet(n.role); set != "" {
			kind, who = "permission set", set
		}
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
	call := ""
	if e := n.Origin.Event; e != nil && !root {
		call = clock(e.Time) + "  " + name(e.Name, 60) + " from " + name(e.Address, 50) + "  →  "
	}
	who, key := title(n, true), ""
	if n.Key != "" {
		key = "  " + name(n.Key, 60)
	}
	if p.nodes > fewNodes && n.plain() {
		p.line(lead, n.short(root)+mark)
		return
	}
	bar := indent + "  "
	if len(n.Minted)+len(n.Groups) > 0 || n.Hidden > 0 {
		bar = indent + "│ "
	}
	if head := call + who + key + mark; call == "" || safetext.Width(lead+head) <= p.width {
		p.wrap(lead, bar+"    ", head)
	} else {
		p.wrap(lead, bar+"    ", call+strings.TrimSpace(key)+mark)
		p.wrap(bar, bar+"    ", who)
	}
	p.facts(n, bar)
	type child struct {
		at time.Time
		n  *Node
		g  *Group
	}
	var children []child
	var unused []*Node // that would hide the others
	for _, c := range n.Minted {
		if p.nodes > fewNodes && c.plain() && c.Uses.unused() {
			unused = append(unused, c)
			continue
		}
		children = append(children, child{c.began(), c, nil})
	}
	rest := n.Hidden > 0 || len(unused) > 0
	for i := range n.Groups {
		children = append(children, child{n.Groups[i].First, nil, &n.Groups[i]})
	}
	slices.SortStableFunc(children, func(a, b child) int { return a.at.Compare(b.at) })
	for i, c := range children {
		lead, next := "├─ ", "│  "
		if i == len(children)-1 && !rest {
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
	if len(unused) > 0 {
		lead := "└─ "
		if n.Hidden > 0 {
			lead = "├─ "
		}
		p.line(indent, lead+fmt.Sprintf("%s that were never used, %s to %s", plural(len(unused), "session"), clock(unused[0].began()), clock(unused[len(unused)-1].began())))
	}
	if n.Hidden > 0 {
		more := ""
		if len(children) > 0 {
			more = " more"
		}
		text := fmt.Sprintf("minted %d%s, not shown", n.Hidden, more)
		if !n.expanded {
			text += ": spoor lineage " + name(n.Key, 60)
		}
		p.line(indent, "└─ "+text)
	}
}

// short tells about a node in one line, what tells apart first.
func (n *Node) short(root bool) string {
	s := fmt.Sprintf("%s  %-20s %s  %s", clock(n.began()), name(n.Key, 40), n.Uses.brief(), name(n.Account, 20))
	if n.parent == nil || n.Name != n.parent.Actor {
		s += " " + title(n, false)
	} else {
		of := *n
		of.Name = "" // as of the parent
		s += " " + title(&of, false)
	}
	if e := n.Origin.Event; e != nil && !root {
		s += ", " + name(e.Name, 60) + " from " + name(e.Address, 50)
	}
	return s
}

// brief tells how much on a few columns.
func (u *Uses) brief() string {
	if u.unused() {
		return fmt.Sprintf("%-16s", "never used")
	}
	s := fmt.Sprintf("%4d calls", u.Calls)
	if u.Calls == 1 {
		s = "   1 call "
	}
	if u.Failed > 0 {
		return s + fmt.Sprintf(" %4d ✗", u.Failed)
	}
	return s + "       "
}

func (u *Uses) unused() bool { return u == nil || u.Calls == 0 }

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
		text, label := "", "proof"
		switch o.Certainty {
		case Proven:
		case Matched:
			label, text = "match", "NOT PROVEN: "
		default:
			label, text = "origin", "UNKNOWN ("+string(o.Reason)+"): "
		}
		text += cmp.Or(o.Text, o.Evidence) + "; event " + name(e.ID, 60)
		if n.parent == nil {
			text += ", " + clock(e.Time) + " " + name(e.Name, 60) + " from " + name(e.Address, 50)
		}
		for i, c := range o.Copies {
			if i == 3 {
				text += fmt.Sprintf(" and %d more", len(o.Copies)-i)
				break
			}
			text += ", in " + name(c.Account, 20) + " as " + name(c.ID, 60)
			if c.Name != e.Name {
				text += " (" + name(c.Name, 40) + ")"
			}
		}
		fact(label, text)
	} else {
		switch o.Certainty {
		case Beginning:
			if n.Source != "" {
				fact("begins", o.Text+": "+safetext.Middle(n.Source, 90))
			} else {
				fact("begins", o.Text)
			}
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
	if n.Source != "" && n.Source != n.Actor && n.Kind != Identity && n.ActorKind != "service" {
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
	fact("from", addresses(u))
	with := counts(products(u.Agents), 5, 40)
	if len(u.Agents) > 0 && u.Agents[0].Distinct > int64(len(u.Agents)) {
		with += ", and others"
	}
	fact("with", with)
	var mints, writes, reads []Count
	for _, c := range u.Names {
		if minting(c.Value) {
			mints = append(mints, c)
		} else if c.Writes {
			writes = append(writes, c)
		} else {
			reads = append(reads, c)
		}
	}
	var beyond int64 // kinds of calls that are not in Names: all of them read, or there are more that change than are shown
	if len(u.Names) > 0 {
		beyond = u.Names[0].Distinct - int64(len(u.Names))
	}
	fact("minted", sequence(mints, u.sameDay()))
	fact("changed", sequence(writes, u.sameDay()))
	const shown = 8
	text := counts(reads[:min(len(reads), shown)], shown, 60)
	if more := beyond + int64(max(0, len(reads)-shown)); more > 0 && text != "" {
		text += fmt.Sprintf(", and %d more kinds of calls", more)
	}
	fact("read", text)
	fact("errors", counts(u.Errors, 6, 60))
}

// addresses lists where calls came from; when there are several addresses, with the times, by which a stranger shows.
func addresses(u *Uses) string {
	const shown = 4
	if len(u.Addresses) < 2 {
		return counts(u.Addresses, shown, 60)
	}
	var parts []string
	for i, c := range u.Addresses {
		if i == shown {
			parts = append(parts, fmt.Sprintf("and %d more", u.Addresses[0].Distinct-int64(i)))
			break
		}
		parts = append(parts, unbroken(fmt.Sprintf("%s ×%d (%s)", name(c.Value, 60), c.Calls, period(c.First, c.Last, u.sameDay()))))
	}
	return strings.Join(parts, ", ")
}

// products adds up user agents by the name and version at their beginning.
func products(agents []Count) []Count {
	var out []Count
	for _, a := range agents {
		product, _, _ := strings.Cut(strings.Trim(a.Value, "[]"), " ")
		product = strings.TrimRight(product, ",;")
		at := slices.IndexFunc(out, func(c Count) bool { return c.Value == product })
		if at < 0 {
			at, out = len(out), append(out, Count{Value: product})
		}
		out[at].Calls += a.Calls
	}
	slices.SortStableFunc(out, func(a, b Count) int { return cmp.Compare(b.Calls, a.Calls) })
	return out
}

// sequence tells calls in the order in which each came first, with the times.
func sequence(list []Count, sameDay bool) string {
	const shown = 24
	list = slices.Clone(list)
	more := 0
	if len(list) > shown { // what was done rarely tells more than what was done all the time
		slices.SortStableFunc(list, func(a, b Count) int { return cmp.Compare(a.Calls, b.Calls) })
		more = len(list) - shown
		list = list[:shown]
	}
	slices.SortStableFunc(list, func(a, b Count) int { return a.First.Compare(b.First) })
	var parts []string
	for _, c := range list {
		s := period(c.First, c.Last, sameDay) + " " + name(c.Value, 60)
		if c.Calls > 1 {
			s += fmt.Sprintf(" ×%d", c.Calls)
		}
		parts = append(parts, unbroken(s+failures(c)))
	}
	if more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more kinds of calls", more))
	}
	return strings.Join(parts, " · ")
}

func (u *Uses) sameDay() bool { return u.First.Format(time.DateOnly) == u.Last.Format(time.DateOnly) }

// period tells from when to when, without the day where that is known.
func period(from, to time.Time, sameDay bool) string {
	layout := "01-02 15:04"
	if sameDay {
		layout = "15:04"
	}
	a, b := from.UTC().Format(layout), to.UTC().Format(layout)
	switch {
	case a == b:
		return a
	case !sameDay && from.UTC().Format(time.DateOnly) == to.UTC().Format(time.DateOnly):
		b = to.UTC().Format("15:04")
	}
	return a + "–" + b
}

func failures(c Count) string {
	switch {
	case c.Failed == 0:
		return ""
	case c.Failed == c.Calls:
		return " (failed)"
	}
	return fmt.Sprintf(" (%d failed)", c.Failed)
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
		item := name(c.Value, limit)
		if c.Calls > 1 {
			item += fmt.Sprintf(" ×%d", c.Calls)
		}
		if c.Source != "" {
			item += failures(c)
		}
		b.WriteString(unbroken(item))
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
