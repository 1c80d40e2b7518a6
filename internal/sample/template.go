package sample

import (
	"fmt"
	"strconv"
	"strings"
)

// template is JSON text with places to fill, compiled. Text between < and > names what to put there:
//
//	<uuid> <hex:N> <b64:N> <up:N> <an:N> <int:LO:HI> <one:a|b|c>   drawn anew each time
//	<id>                                                           17 hex digits, the same within one event
//	<instance> <bucket> <role> …                                   a resource of the slot, the same within one event
//	<another:KIND>                                                 a resource, drawn anew
//	<account> <region> <caller> <session> <key> <reqid> …          about the event, see fillers
//	<rep:LO:HI>…</rep>                                             LO to HI times, with commas
type template []piece

type piece struct {
	lit  string
	fill filler   // appended after lit, if any
	rep  template // or repeated
	lo   int
	hi   int
}

type filler func(g *gen, b []byte) []byte

func (t template) append(g *gen, b []byte) []byte {
	for i := range t {
		p := &t[i]
		b = append(b, p.lit...)
		switch {
		case p.fill != nil:
			b = p.fill(g, b)
		case p.rep != nil:
			for n := g.between(p.lo, p.hi); n > 0; n-- {
				b = p.rep.append(g, b)
				if n > 1 {
					b = append(b, ',')
				}
			}
		}
	}
	return b
}

// compile makes a template of text.
func compile(text string) (template, error) {
	t, rest, err := compileUntil(text, "")
	if err == nil && rest != "" {
		err = fmt.Errorf("stray </rep>")
	}
	if err != nil {
		return nil, fmt.Errorf("template %.60q: %w", text, err)
	}
	return t, nil
}

func compileUntil(text, closing string) (template, string, error) {
	var t template
	for {
		open := strings.IndexByte(text, '<')
		if open < 0 {
			if closing != "" {
				return nil, "", fmt.Errorf("no %s", closing)
			}
			if text != "" {
				t = append(t, piece{lit: text})
			}
			return t, "", nil
		}
		lit := text[:open]
		end := strings.IndexByte(text[open:], '>')
		if end < 0 {
			return nil, "", fmt.Errorf("no > after %.20q", text[open:])
		}
		tag := text[open+1 : open+end]
		text = text[open+end+1:]
		if tag == "/rep" {
			if closing == "" {
				return nil, "", fmt.Errorf("stray </rep>")
			}
			return append(t, piece{lit: lit}), text, nil
		}
		p := piece{lit: lit}
		word, args, _ := strings.Cut(tag, ":")
		if word == "rep" {
			var err error
			if p.lo, p.hi, err = bounds(args); err != nil {
				return nil, "", err
			}
			if p.rep, text, err = compileUntil(text, "</rep>"); err != nil {
				return nil, "", err
			}
		} else {
			fill, err := newFiller(word, args)
			if err != nil {
				return nil, "", err
			}
			p.fill = fill
		}
		t = append(t, p)
	}
}

func bounds(args string) (lo, hi int, err error) {
	a, b, _ := strings.Cut(args, ":")
	if lo, err = strconv.Atoi(a); err != nil {
		return 0, 0, fmt.Errorf("bounds %q: %w", args, err)
	}
	if hi, err = strconv.Atoi(b); err != nil {
		return 0, 0, fmt.Errorf("bounds %q: %w", args, err)
	}
	if lo > hi {
		return 0, 0, fmt.Errorf("bounds %q: the first is larger", args)
	}
	return lo, hi, nil
}

func newFiller(word, args string) (filler, error) {
	count := 0
	switch word {
	case "hex", "b64", "up", "an":
		var err error
		if count, err = strconv.Atoi(args); err != nil {
			return nil, fmt.Errorf("<%s:%s>: %w", word, args, err)
		}
	}
	switch word {
	case "hex":
		return func(g *gen, b []byte) []byte { return g.chars(b, digitsHex, count) }, nil
	case "b64":
		return func(g *gen, b []byte) []byte { return g.chars(b, digitsBase64, count) }, nil
	case "up":
		return func(g *gen, b []byte) []byte { return g.charsOf(b, digitsUpper, count) }, nil
	case "an":
		return func(g *gen, b []byte) []byte { return g.charsOf(b, digitsLower, count) }, nil
	case "int":
		lo, hi, err := bounds(args)
		if err != nil {
			return nil, err
		}
		return func(g *gen, b []byte) []byte { return strconv.AppendInt(b, int64(g.between(lo, hi)), 10) }, nil
	case "one":
		choices := strings.Split(args, "|")
		return func(g *gen, b []byte) []byte { return append(b, choices[g.below(len(choices))]...) }, nil
	case "another":
		for k := range numKinds {
			if kindNames[k] == args {
				return func(g *gen, b []byte) []byte {
					pool := g.place.pools[k]
					return append(b, pool[g.below(len(pool))]...)
				}, nil
			}
		}
		return nil, fmt.Errorf("<another:%s>: no such kind", args)
	}
	for k := range numKinds {
		if kindNames[k] == word {
			return func(g *gen, b []byte) []byte { return append(b, g.pick(k)...) }, nil
		}
	}
	if f := plainFiller(word); f != nil && args == "" {
		return f, nil
	}
	return nil, fmt.Errorf("<%s> is not known", word)
}

// plainFiller gives the fillers that take no argument.
func plainFiller(word string) filler {
	switch word {
	case "uuid":
		return func(g *gen, b []byte) []byte { return g.uuid(b) }
	case "id":
		return func(g *gen, b []byte) []byte { return appendHex(append(b, '0'), g.eventHash, 16) }
	case "account":
		return func(g *gen, b []byte) []byte { return append(b, g.place.account.id...) }
	case "region":
		return func(g *gen, b []byte) []byte { return append(b, g.place.region...) }
	case "env":
		return func(g *gen, b []byte) []byte { return append(b, g.place.account.name...) }
	case "other":
		return func(g *gen, b []byte) []byte { return append(b, g.w.accounts[g.below(len(g.w.accounts))].id...) }
	case "caller":
		return func(g *gen, b []byte) []byte { return g.appendCallerARN(b) }
	case "session":
		return func(g *gen, b []byte) []byte { return append(b, g.actor.session(g.inst)...) }
	case "key":
		return func(g *gen, b []byte) []byte { return append(b, g.objectKey()...) }
	case "reqid":
		return func(g *gen, b []byte) []byte { return append(b, g.requestID...) }
	case "service":
		return func(g *gen, b []byte) []byte { return append(b, g.call.service...) }
	case "action":
		return func(g *gen, b []byte) []byte { return append(b, g.call.name...) }
	case "privateip":
		return func(g *gen, b []byte) []byte {
			b = append(b, "10."...)
			b = strconv.AppendInt(b, int64(g.place.account.no%200+8), 10)
			b = append(b, '.')
			b = strconv.AppendInt(b, int64(g.below(64)), 10)
			b = append(b, '.')
			return strconv.AppendInt(b, int64(4+g.below(250)), 10)
		}
	case "iso":
		return func(g *gen, b []byte) []byte { return appendTime(b, g.now) }
	case "isoago":
		return func(g *gen, b []byte) []byte { return appendTime(b, g.now-int64(300*(1+g.below(24)))) }
	case "day":
		return func(g *gen, b []byte) []byte { return appendDay(b, g.now, '-') }
	case "dayago":
		return func(g *gen, b []byte) []byte { return appendDay(b, g.now-30*86400, '-') }
	case "dayslash":
		return func(g *gen, b []byte) []byte { return appendDay(b, g.now, '/') }
	case "date":
		return func(g *gen, b []byte) []byte { return appendLongTime(b, g.now) }
	case "ms":
		return func(g *gen, b []byte) []byte { return strconv.AppendInt(b, g.now*1000+int64(g.below(1000)), 10) }
	}
	return nil
}
