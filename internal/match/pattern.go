package match

import (
	"strings"
	"unicode/utf8"
)

// PartKind is the kind of a [Part].
type PartKind uint8

// The kinds of parts of a pattern.
const (
	Literal PartKind = iota
	Star             // any run of characters, also none, line breaks included
	One              // exactly one character
)

// Part is a piece of a pattern.
type Part struct {
	Kind PartKind
	Text string // of a Literal
}

// Pattern matches whole texts. It is immutable.
type Pattern struct {
	segs       []segment // what stands between the stars
	head, tail bool      // the first segment stands at the start, the last at the end
	cased      bool
	wide       bool // characters outside ASCII occur
	broken     bool // bytes that are not UTF-8 occur; they match only what is not UTF-8 either
	holes      bool // One occurs
	letters    bool // not cased, and k or s occurs: both have folds outside ASCII
}

// hole stands for One among the runes of a segment.
const hole rune = -1

// segment is a run of literal characters and holes.
type segment struct {
	text  string // its bytes, folded unless cased; a hole is one byte
	runes []rune // the same in characters
	holes []bool // per byte, nil without holes
}

// NewPattern makes a pattern of parts; cased compares with case, otherwise by folding.
func NewPattern(parts []Part, cased bool) *Pattern {
	p := &Pattern{head: true, tail: true, cased: cased}
	var cur segment
	open := false // a segment has begun
	flush := func() {
		if open {
			p.segs = append(p.segs, cur)
		}
		cur, open = segment{}, false
	}
	for i, part := range parts {
		switch part.Kind {
		case Star:
			if i == 0 {
				p.head = false
			}
			if i == len(parts)-1 {
				p.tail = false
			}
			flush()
		case One:
			open = true
			p.holes = true
			for len(cur.holes) < len(cur.text) {
				cur.holes = append(cur.holes, false)
			}
			cur.text += "?"
			cur.holes = append(cur.holes, true)
			cur.runes = append(cur.runes, hole)
		default:
			if part.Text == "" {
				continue
			}
			open = true
			text := part.Text
			if !cased {
				text = Fold(text)
			}
			cur.text += text
			for s := text; s != ""; {
				r, n := decode(s)
				cur.runes = append(cur.runes, r)
				s = s[n:]
			}
		}
	}
	flush()
	for i := range p.segs {
		s := &p.segs[i]
		for s.holes != nil && len(s.holes) < len(s.text) {
			s.holes = append(s.holes, false)
		}
		p.classify(s.text)
	}
	return p
}

func (p *Pattern) classify(text string) {
	p.wide = p.wide || !isASCII(text)
	p.broken = p.broken || !utf8.ValidString(text)
	if !p.cased && strings.ContainsAny(text, "ks") {
		p.letters = true
	}
}

// Exact returns the text that the pattern matches alone, folded unless cased; false when it has wildcards.
func (p *Pattern) Exact() (string, bool) {
	switch {
	case !p.head || !p.tail || p.holes || len(p.segs) > 1:
		return "", false
	case len(p.segs) == 0:
		return "", true
	}
	return p.segs[0].text, true
}

// All reports whether the pattern matches every text.
func (p *Pattern) All() bool { return len(p.segs) == 0 && !(p.head && p.tail) }

// Match reports whether the whole text matches.
func (p *Pattern) Match(text string) bool {
	if p.wide || p.holes {
		switch {
		case p.wide && !p.cased || p.broken:
			if isASCII(text) {
				return false
			}
			return p.match(text, true)
		case p.holes && !isASCII(text):
			return p.match(text, true)
		}
		return p.match(text, false)
	}
	// Bytes decide, but for the few characters outside ASCII that fold to k and s.
	if p.match(text, false) {
		return true
	}
	return p.letters && !isASCII(text) && p.match(text, true)
}

// match compares characters when wide, else bytes. Between stars the leftmost place is always as good as any other.
func (p *Pattern) match(text string, wide bool) bool {
	segs := p.segs
	if len(segs) == 0 {
		return !p.head || !p.tail || text == ""
	}
	at := 0
	if p.head {
		at = p.at(&segs[0], text, 0, wide)
		if at < 0 {
			return false
		}
		if len(segs) == 1 {
			return !p.tail || at == len(text)
		}
		segs = segs[1:]
	}
	last := len(segs)
	if p.tail {
		last--
	}
	for i := range segs[:last] {
		if at = p.find(&segs[i], text, at, wide); at < 0 {
			return false
		}
	}
	if !p.tail {
		return true
	}
	end := &segs[last]
	start := len(text) - len(end.text)
	if wide {
		start = len(text)
		for range end.runes {
			if start <= at {
				return false
			}
			_, n := utf8.DecodeLastRuneInString(text[:start])
			start -= n
		}
	}
	return start >= at && p.at(end, text, start, wide) == len(text)
}

// at returns the index behind s in text when it stands at i, else -1.
func (p *Pattern) at(s *segment, text string, i int, wide bool) int {
	if wide {
		for _, want := range s.runes {
			if i >= len(text) {
				return -1
			}
			r, n := decode(text[i:])
			if want != hole && r != want && (p.cased || foldRune(r) != want) {
				return -1
			}
			i += n
		}
		return i
	}
	if len(text)-i < len(s.text) {
		return -1
	}
	text = text[i : i+len(s.text)]
	switch {
	case s.holes != nil:
		for j := range len(text) {
			if !s.holes[j] && text[j] != s.text[j] && (p.cased || lower[text[j]] != s.text[j]) {
				return -1
			}
		}
	case p.cased:
		if text != s.text {
			return -1
		}
	case !equalFolded(text, s.text):
		return -1
	}
	return i + len(s.text)
}

// equalFolded compares text with folded, which has its length, by the folding of ASCII.
func equalFolded(text, folded string) bool {
	for i := range len(folded) {
		if lower[text[i]] != folded[i] {
			return false
		}
	}
	return true
}

// find returns the index behind the leftmost s in text from i on, or -1.
func (p *Pattern) find(s *segment, text string, i int, wide bool) int {
	switch {
	case wide:
		for {
			if end := p.at(s, text, i, true); end >= 0 {
				return end
			}
			if i >= len(text) {
				return -1
			}
			_, n := utf8.DecodeRuneInString(text[i:])
			i += n
		}
	case s.holes != nil:
		for ; len(text)-i >= len(s.text); i++ {
			if end := p.at(s, text, i, false); end >= 0 {
				return end
			}
		}
		return -1
	case p.cased:
		at := strings.Index(text[i:], s.text)
		if at < 0 {
			return -1
		}
		return i + at + len(s.text)
	}
	first, rest := s.text[0], s.text[1:]
	for last := len(text) - len(s.text); i <= last; i++ {
		if lower[text[i]] == first && equalFolded(text[i+1:i+1+len(rest)], rest) {
			return i + len(s.text)
		}
	}
	return -1
}

// runs returns the literal runs of the pattern, folded, which every matching text contains when it is folded.
func (p *Pattern) runs() []string {
	var out []string
	for _, s := range p.segs {
		run := s.text
		if p.cased {
			if !isASCII(run) {
				continue
			}
			run = Fold(run)
		}
		if s.holes == nil {
			out = append(out, run)
			continue
		}
		from := 0
		for i := range s.text {
			if i < len(s.holes) && s.holes[i] {
				if i > from {
					out = append(out, run[from:i])
				}
				from = i + 1
			}
		}
		if from < len(run) {
			out = append(out, run[from:])
		}
	}
	return out
}
