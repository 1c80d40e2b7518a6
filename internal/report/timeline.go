package report

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"spoor/internal/detect"
	"spoor/internal/hunt"
	"spoor/internal/safetext"
)

// moment is a line of a timeline: one event, or a run of the same call.
type moment struct {
	hunt.TimelineEntry
	findings []*detect.Finding // that the event is evidence of, highest level first; nil in an actor's timeline
}

func (m *moment) level() detect.Level {
	l := detect.Informational
	for _, f := range m.findings {
		l = max(l, f.Level)
	}
	return l
}

// evidence gives the events behind findings in time order, each once.
func evidence(res *hunt.Result) []moment {
	index := map[string]int{}
	var out []moment
	for i := range res.Findings {
		f := &res.Findings[i]
		for j := range f.Events {
			e := &f.Events[j]
			key := e.ID
			if key == "" {
				key = e.File + "\x00" + strconv.FormatInt(e.Offset, 10)
			}
			if at, ok := index[key]; ok {
				if !slices.Contains(out[at].findings, f) {
					out[at].findings = append(out[at].findings, f)
				}
				continue
			}
			index[key] = len(out)
			out = append(out, moment{hunt.TimelineEntry{First: e.Time, Last: e.Time, Count: 1, Actor: e.Actor, Source: e.Source, Name: e.Name,
				Error: e.Error, Address: e.Address, Agent: e.Agent, Region: e.Region, Account: e.Account, Target: e.Target, EventID: e.ID},
				[]*detect.Finding{f}})
		}
	}
	slices.SortStableFunc(out, func(a, b moment) int {
		return cmp.Or(a.First.Compare(b.First), cmp.Compare(a.EventID, b.EventID))
	})
	return out
}

// fold joins neighbours that differ in time, target and event id only.
func fold(ms []moment) []moment {
	var out []moment
	for _, m := range ms {
		if len(out) > 0 {
			last := &out[len(out)-1]
			if last.Actor.ID == m.Actor.ID && last.Source == m.Source && last.Name == m.Name && last.Error == m.Error && last.Address == m.Address &&
				last.Region == m.Region && last.Account == m.Account && slices.Equal(last.findings, m.findings) {
				last.Last = m.Last
				last.Count += m.Count
				if last.Target != m.Target {
					last.Target = ""
				}
				continue
			}
		}
		out = append(out, m)
	}
	return out
}

// writeTimeline shows what the actor did that was asked for, or else the events that findings keep as evidence.
func writeTimeline(w io.Writer, res *hunt.Result, opts Options) error {
	p := newPrinter(w, opts)
	if len(res.Timeline) > 0 {
		p.entries(res.Timeline)
		if res.TimelineCut > 0 {
			p.blank()
			p.line(span{plural(res.TimelineCut, "later event") + " left out.", alert})
		}
	} else {
		ms := fold(evidence(res))
		p.line(span{"Timeline of the events behind the findings", bold}, span{fmt.Sprintf(" · times in UTC · a finding keeps at most %d events", detect.EventCap), dim})
		p.moments(ms)
		if len(ms) == 0 {
			p.line(span{"No finding, so no event to show.", none})
		}
	}
	text, st := completeness(res.Ledger)
	if st != whole {
		p.blank()
		p.wrap(span{}, 0, text, alert, 3)
	}
	return p.err
}

func (p *printer) entries(entries []hunt.TimelineEntry) {
	p.line(span{fmt.Sprintf("Timeline of %s", plural(len(entries), "entry")), bold}, span{" · times in UTC", dim})
	ms := make([]moment, len(entries))
	for i, e := range entries {
		ms[i] = moment{TimelineEntry: e}
	}
	p.moments(ms)
}

// Timeline writes entries, oldest first, as table, csv, json or jsonl. Runs of the same call must already be folded.
func Timeline(w io.Writer, format string, entries []hunt.TimelineEntry, opts Options) error {
	buf := bufio.NewWriterSize(w, 64<<10)
	err := timeline(buf, format, entries, opts)
	if err == nil {
		err = buf.Flush()
	}
	if err != nil {
		return fmt.Errorf("write the timeline: %w", err)
	}
	return nil
}

func timeline(w io.Writer, format string, entries []hunt.TimelineEntry, opts Options) error {
	switch format {
	case "table", "timeline":
		p := newPrinter(w, opts)
		p.entries(entries)
		return p.err
	case "csv":
		c := newCells(w)
		c.row("first", "last", "count", "actor", "actor_kind", "actor_id", "session", "source", "name", "error", "address", "user_agent", "region", "account", "target", "event_id")
		for _, e := range entries {
			c.row(rfc3339(e.First), rfc3339(e.Last), strconv.Itoa(e.Count), actorName(e.Actor), string(e.Actor.Kind), e.Actor.ID, e.Actor.Session,
				e.Source, e.Name, e.Error, e.Address, e.Agent, e.Region, e.Account, e.Target, e.EventID)
		}
		return c.done()
	case "json":
		if entries == nil {
			entries = []hunt.TimelineEntry{}
		}
		return encode(w, entries, "  ")
	case "jsonl":
		for i := range entries {
			if err := encode(w, &entries[i], ""); err != nil {
				return err
			}
		}
		return nil
	}
	return fmt.Errorf("unknown format %q: want table, csv, json or jsonl", format)
}

// moments prints one line each under a heading for every day, and below a line the findings that it belongs to when
// they change.
func (p *printer) moments(ms []moment) {
	actorCol, callCol := 0, 0
	for i := range ms {
		actorCol = max(actorCol, safetext.Width(safetext.Terminal(actorName(ms[i].Actor), 0)))
		callCol = max(callCol, safetext.Width(safetext.Terminal(call(ms[i].Source, ms[i].Name), 0)))
	}
	actorCol = min(actorCol, p.width/5)
	callCol = min(callCol, p.width/3)
	day, shown := "", ""
	for i := range ms {
		m := &ms[i]
		if d := dayOf(m.First); d != day {
			day, shown = d, ""
			p.blank()
			p.line(span{day, bold})
		}
		if len(m.findings) > 0 {
			var names []string
			for _, f := range m.findings {
				names = append(names, f.Rule.Title+" ["+f.ID+"]")
			}
			if text := list(names, 3); text != shown {
				shown = text
				level := m.level()
				p.line(span{"  ", none}, span{strings.ToUpper(level.String()), levelStyle(level)}, span{" " + text, none})
			}
		}
		clock := m.First.UTC().Format("15:04:05")
		if m.First.IsZero() {
			clock = "        "
		}
		until := ""
		if m.Count > 1 {
			until = "×" + number(m.Count)
			if !m.Last.Equal(m.First) {
				until += " to " + shortUntil(m.First, m.Last)
			}
		}
		rest := []string{m.Region, m.Address}
		if m.Target != "" {
			rest = append(rest, "→ "+safetext.Middle(m.Target, max(p.width/2, 40)))
		}
		if until != "" {
			rest = append([]string{until}, rest...)
		}
		rest = slices.DeleteFunc(rest, func(s string) bool { return s == "" })
		spans := []span{{"    " + clock + "  ", dim}, {pad(actorName(m.Actor), actorCol) + "  ", none}, {pad(call(m.Source, m.Name), callCol) + "  ", bold}}
		if m.Error != "" {
			spans = append(spans, span{safetext.Terminal(m.Error, 40) + "  ", red})
		}
		p.line(append(spans, span{strings.Join(rest, "  "), dim})...)
	}
}

func dayOf(t time.Time) string {
	if t.IsZero() {
		return "Time unknown"
	}
	return t.UTC().Format("Mon 2006-01-02")
}

func shortUntil(first, last time.Time) string {
	if dayOf(first) == dayOf(last) {
		return last.UTC().Format("15:04:05")
	}
	return last.UTC().Format(timeLayout)
}
