package report

import (
	"slices"
	"strconv"
	"strings"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/safetext"
)

// Bounds of a record that is shown.
const (
	recordLineCap  = 4 << 10 // columns of one line
	recordLinesCap = 4000
)

// recordLine is one line of a pretty-printed record.
type recordLine struct {
	Text string // safe to show
	Mark bool   // the line holds a value that made the rule match
}

// recordLines pretty-prints a record with the matched fields marked. Members stay in their order and values keep their
// text. What is not JSON is shown as it is.
func recordLines(raw []byte, matched []detect.FieldMatch) []recordLine {
	v, err := event.NewValue(raw)
	if err != nil {
		var out []recordLine
		for l := range strings.Lines(string(raw)) {
			if len(out) == recordLinesCap {
				break
			}
			out = append(out, recordLine{Text: safetext.Terminal(strings.TrimRight(l, "\r\n"), recordLineCap)})
		}
		return out
	}
	p := recordPrinter{matched: matched}
	p.value("", v, "", false)
	if len(p.lines) > recordLinesCap {
		p.lines = append(p.lines[:recordLinesCap], recordLine{Text: "… cut here"})
	}
	return p.lines
}

type recordPrinter struct {
	matched []detect.FieldMatch
	path    []string // keys from the top
	index   []string // the same with the numbers of array elements
	depth   int
	lines   []recordLine
}

// value appends the lines of v. lead is the key before it, end a comma or nothing.
func (p *recordPrinter) value(lead string, v event.Value, end string, inArray bool) {
	if len(p.lines) > recordLinesCap {
		return
	}
	switch v.Kind() {
	case event.Object:
		n := 0
		v.Members(func(string, event.Value) bool { n++; return true })
		if n == 0 {
			p.add(lead+"{}"+end, p.isMatch(v, inArray))
			return
		}
		p.add(lead+"{", p.isMatch(v, inArray))
		p.depth++
		i := 0
		v.Members(func(key string, m event.Value) bool {
			i++
			p.path, p.index = append(p.path, key), append(p.index, key)
			p.value(strconv.Quote(key)+": ", m, comma(i, n), false)
			p.path, p.index = p.path[:len(p.path)-1], p.index[:len(p.index)-1]
			return len(p.lines) <= recordLinesCap
		})
		p.depth--
		p.add("}"+end, false)
	case event.Array:
		n := 0
		v.Elements(func(event.Value) bool { n++; return true })
		if n == 0 {
			p.add(lead+"[]"+end, p.isMatch(v, inArray))
			return
		}
		p.add(lead+"[", false)
		p.depth++
		i := 0
		v.Elements(func(m event.Value) bool {
			p.index = append(p.index, strconv.Itoa(i))
			i++
			p.value("", m, comma(i, n), true)
			p.index = p.index[:len(p.index)-1]
			return len(p.lines) <= recordLinesCap
		})
		p.depth--
		p.add("]"+end, false)
	default:
		p.add(lead+string(v.Raw())+end, p.isMatch(v, inArray))
	}
}

func comma(i, n int) string {
	if i < n {
		return ","
	}
	return ""
}

func (p *recordPrinter) add(text string, mark bool) {
	p.lines = append(p.lines, recordLine{strings.Repeat("  ", p.depth) + safetext.Terminal(text, recordLineCap), mark})
}

// isMatch reports whether the value at the current path is one that a matched field names. Of the elements of an array
// those count that have the value.
func (p *recordPrinter) isMatch(v event.Value, inArray bool) bool {
	return slices.ContainsFunc(p.matched, func(m detect.FieldMatch) bool {
		if m.Path == "" {
			return false
		}
		if strings.EqualFold(m.Path, strings.Join(p.index, ".")) {
			return true
		}
		return strings.EqualFold(m.Path, strings.Join(p.path, ".")) && (!inArray || m.Value == "" || m.Value == v.Text())
	})
}
