package report

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"spoor/internal/hunt"
)

// dimension is one list of the statistics.
type dimension struct {
	key   string // as in hunt.Stats.Distinct
	title string
	rows  []hunt.Seen
	show  func(string) string // how to show a value; nil as it is
}

func dimensions(st *hunt.Stats) []dimension {
	return []dimension{
		{"accounts", "Accounts", st.Accounts, nil},
		{"regions", "Regions", st.Regions, nil},
		{"sources", "Services", st.Sources, func(s string) string { return strings.TrimSuffix(s, ".amazonaws.com") }},
		{"names", "Calls", st.Names, callOf},
		{"errors", "Errors", st.Errors, nil},
		{"addresses", "Addresses", st.Addresses, nil},
		{"agents", "User agents", st.Agents, nil},
		{"keys", "Access keys", st.Keys, nil},
	}
}

// Stats writes who did what, from where, first and last, as table, json or csv. The table shows Options.Limit rows of
// each list, the others all that res holds.
func Stats(w io.Writer, format string, res *hunt.Result, opts Options) error {
	buf := bufio.NewWriterSize(w, 64<<10)
	var err error
	switch format {
	case "table":
		err = statsTable(buf, res, opts)
	case "json":
		err = encode(buf, &res.Stats, "  ")
	case "csv":
		err = statsCSV(buf, &res.Stats)
	default:
		return fmt.Errorf("unknown format %q: want table, json or csv", format)
	}
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		return fmt.Errorf("write the statistics as %s: %w", format, err)
	}
	return nil
}

func statsCSV(w io.Writer, st *hunt.Stats) error {
	c := newCells(w)
	c.row("dimension", "value", "name", "kind", "account", "count", "failed", "first", "last", "calls", "addresses")
	for _, a := range st.Actors {
		c.row("actors", a.Actor.ID, actorName(a.Actor), string(a.Actor.Kind), a.Actor.Account, whole64(a.Count), whole64(a.Failed), rfc3339(a.First), rfc3339(a.Last),
			whole64(a.Names), whole64(a.Addresses))
	}
	for _, d := range dimensions(st) {
		for _, s := range d.rows {
			c.row(d.key, s.Value, "", "", "", whole64(s.Count), whole64(s.Failed), rfc3339(s.First), rfc3339(s.Last), "", "")
		}
	}
	for _, h := range st.Hours {
		c.row("hours", rfc3339(h.Hour), "", "", "", whole64(h.Count), whole64(h.Failed), "", "", "", "")
	}
	return c.done()
}

func whole64(n int64) string { return strconv.FormatInt(n, 10) }

const (
	countCol  = 11
	failedCol = 9
	minutes   = "2006-01-02 15:04"
	timesCol  = 2 * (len(minutes) + 2)
)

// seenSpan is the columns for the first and the last event.
func seenSpan(first, last time.Time) span {
	text := ""
	for _, t := range [...]time.Time{first, last} {
		if t.IsZero() {
			text += strings.Repeat(" ", len(minutes)+2)
			continue
		}
		text += "  " + t.UTC().Format(minutes)
	}
	return span{text, dim}
}

func seenHead() string { return "  " + pad("first", len(minutes)) + "  last" }

func statsTable(w io.Writer, res *hunt.Result, opts Options) error {
	p := newPrinter(w, opts)
	st := &res.Stats
	p.line(span{plural(st.Events, "event"), bold}, span{fmt.Sprintf(" · %s failed (%s) · %s read-only (%s)", number(st.Failed), percent(st.Failed, st.Events),
		number(st.ReadOnly), percent(st.ReadOnly, st.Events)) + insights(st), none})
	if st.Events > 0 {
		p.line(span{period(res.First, res.Last) + " UTC (" + duration(res.Last.Sub(res.First)) + ")", none})
	}
	text, state := completeness(res.Ledger)
	if state == whole {
		p.wrap(span{}, 0, text, good, 3)
	} else {
		p.wrap(span{}, 0, text, alert, 3)
	}
	p.actors(st, opts)
	for _, d := range dimensions(st) {
		p.seen(d, st, opts)
	}
	return p.err
}

// section prints a heading with how many rows there are in all.
func (p *printer) section(st *hunt.Stats, key, title string, rows, shown int) {
	p.blank()
	note := ""
	if total := distinct(st, key, rows); total > int64(shown) {
		note = fmt.Sprintf("  %s of %s%s", number(shown), atLeast(st, key), number(total))
	}
	p.line(span{title, bold}, span{note, dim})
}

func (p *printer) actors(st *hunt.Stats, opts Options) {
	n := opts.limit(len(st.Actors))
	if n == 0 {
		return
	}
	p.section(st, "actors", "Actors", len(st.Actors), n)
	room := max(p.width-2-10-countCol-failedCol-2*6-timesCol, 12)
	p.line(span{"  " + pad("", room) + pad(" kind", 10) + padLeft("events", countCol) + padLeft("failed", failedCol) + padLeft("calls", 6) + padLeft("from", 6) + seenHead(), dim})
	for _, a := range st.Actors[:n] {
		p.line(span{"  " + pad(actorName(a.Actor), room), none}, span{" " + pad(string(a.Actor.Kind), 9), dim}, span{padLeft(number(a.Count), countCol), none},
			failed(a.Failed), span{padLeft(number(a.Names), 6) + padLeft(number(a.Addresses), 6), none}, seenSpan(a.First, a.Last))
	}
}

func (p *printer) seen(d dimension, st *hunt.Stats, opts Options) {
	n := opts.limit(len(d.rows))
	if n == 0 {
		return
	}
	p.section(st, d.key, d.title, len(d.rows), n)
	room := max(p.width-2-countCol-failedCol-timesCol, 12)
	p.line(span{"  " + pad("", room) + padLeft("events", countCol) + padLeft("failed", failedCol) + seenHead(), dim})
	for _, s := range d.rows[:n] {
		v := s.Value
		if d.show != nil {
			v = d.show(v)
		}
		if v == "" {
			v = "(none)"
		}
		p.line(span{"  " + pad(v, room), none}, span{padLeft(number(s.Count), countCol), none}, failed(s.Failed), seenSpan(s.First, s.Last))
	}
}

func failed(n int64) span {
	text := padLeft(number(n), failedCol)
	if n == 0 {
		return span{text, dim}
	}
	return span{text, red}
}
