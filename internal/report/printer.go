package report

import (
	"fmt"
	"io"
	"strings"

	"spoor/internal/detect"
	"spoor/internal/safetext"
)

// style is the parameter of an ANSI SGR sequence.
type style string

const (
	none    style = ""
	bold    style = "1"
	dim     style = "2"
	red     style = "31"
	alert   style = "1;31"
	good    style = "32"
	caution style = "33"
	accent  style = "36"
	badge   style = "1;97;41"
)

func levelStyle(l detect.Level) style {
	return [...]style{detect.Informational: dim, detect.Low: accent, detect.Medium: caution, detect.High: alert, detect.Critical: badge}[l]
}

// span is a piece of a line.
type span struct {
	text  string
	style style
}

// printer writes lines to a terminal. It makes every text that it is given safe and cuts lines at the width, so callers
// pass log text as it is. The first error stays.
type printer struct {
	w     io.Writer
	width int
	color bool
	lines int // written so far
	err   error
}

func newPrinter(w io.Writer, opts Options) *printer {
	return &printer{w: w, width: opts.width(), color: opts.Color}
}

// line writes one line, cut at the width.
func (p *printer) line(spans ...span) {
	var b strings.Builder
	left := p.width
	for _, s := range spans {
		if left <= 0 {
			break
		}
		text := safetext.Terminal(s.text, left)
		left -= safetext.Width(text)
		p.style(&b, text, s.style)
	}
	p.write(strings.TrimRight(b.String(), " ") + "\n")
}

// wrap writes text as a paragraph with every line indented, at most maxLines of them when that is above 0. lead stands
// before the first line in place of the indent.
func (p *printer) wrap(lead span, indent int, text string, s style, maxLines int) {
	room := max(p.width-indent, 20)
	lines := wrapText(safetext.Terminal(text, 0), room)
	if maxLines > 0 && len(lines) > maxLines {
		last := strings.Join(lines[maxLines-1:], " ")
		lines = append(lines[:maxLines-1], safetext.Terminal(last, room))
	}
	pad := strings.Repeat(" ", indent)
	for i, l := range lines {
		if i == 0 && lead.text != "" {
			gap := indent - safetext.Width(safetext.Terminal(lead.text, 0))
			p.line(lead, span{strings.Repeat(" ", max(gap, 1)), none}, span{l, s})
			continue
		}
		p.line(span{pad, none}, span{l, s})
	}
}

func (p *printer) blank() { p.write("\n") }

func (p *printer) style(b *strings.Builder, text string, s style) {
	if !p.color || s == none || text == "" {
		b.WriteString(text)
		return
	}
	fmt.Fprintf(b, "\x1b[%sm%s\x1b[0m", s, text)
}

// capture returns what fn prints in place of writing it.
func (p *printer) capture(fn func()) string {
	var b strings.Builder
	w, lines := p.w, p.lines
	p.w = &b
	fn()
	p.w, p.lines = w, lines
	return b.String()
}

func (p *printer) write(s string) {
	p.lines += strings.Count(s, "\n")
	if p.err == nil {
		_, p.err = io.WriteString(p.w, s)
	}
}

// wrapText breaks safe text into lines of at most room columns, at spaces where it can.
func wrapText(text string, room int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if safetext.Width(word) > room {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			start, cols := 0, 0
			for i, r := range word {
				w := safetext.Width(string(r))
				if cols+w > room {
					lines = append(lines, word[start:i])
					start, cols = i, 0
				}
				cols += w
			}
			word = word[start:]
		}
		switch {
		case word == "":
		case line == "":
			line = word
		case safetext.Width(line)+1+safetext.Width(word) <= room:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// pad makes text exactly n columns wide, cut in the middle when it is longer.
func pad(text string, n int) string {
	text = safetext.Middle(text, n)
	return text + strings.Repeat(" ", max(n-safetext.Width(text), 0))
}

// padLeft is pad for numbers.
func padLeft(text string, n int) string {
	text = safetext.Terminal(text, n)
	return strings.Repeat(" ", max(n-safetext.Width(text), 0)) + text
}
