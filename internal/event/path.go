package event

import (
	"bytes"
	"strconv"
	"strings"
)

// Path is a compiled field path such as userIdentity.sessionContext.sessionIssuer.type. It is immutable.
type Path struct {
	text  string
	field Field    // typed field that the path starts with, or noField
	segs  []string // all segments
	rest  int      // index in segs of the first segment behind the typed field
	// joined[n] lists the keys that may stand for the first segments from n on: segs[n], segs[n]+"."+segs[n+1], …
	joined [][]string
	index  []int // the array index that each segment is, -1 for those that are none
	probes []probe
}

// ParsePath compiles a dotted path. Every text is a path; an empty one finds nothing.
//
// A path is walked by these rules (rules/ENGINE.md 2.2): in an object the key equal to the segment is taken, or else
// the one equal without regard to case; a key that itself holds dots is preferred, the longest first; in an array a
// number is an index, and any other segment is applied to every element. The result is a set of values.
func ParsePath(text string) *Path {
	p := &Path{text: text, field: noField, segs: strings.Split(text, ".")}
	p.rest = 0
	for f := range Field(NumFields) {
		n := strings.Count(Fields[f].Path, ".") + 1
		if n > p.rest && n <= len(p.segs) && strings.EqualFold(Fields[f].Path, strings.Join(p.segs[:n], ".")) {
			p.field, p.rest = f, n
		}
	}
	p.joined = make([][]string, len(p.segs))
	for i, seg := range p.segs {
		at, err := strconv.Atoi(seg)
		if err != nil || at < 0 {
			at = -1
		}
		p.index = append(p.index, at)
		p.probes = append(p.probes, makeProbe(seg))
		for n := i + 1; n <= len(p.segs); n++ {
			p.joined[i] = append(p.joined[i], strings.Join(p.segs[i:n], "."))
		}
	}
	return p
}

// String returns the path as it was written.
func (p *Path) String() string { return p.text }

// Field returns the typed field that the path names exactly, if it does.
func (p *Path) Field() (Field, bool) {
	return p.field, p.field != noField && p.rest == len(p.segs)
}

// Find calls fn for every value at path until fn returns false, and reports whether there was any value, null
// included. A path that ends at an array gives the array itself.
func (e *Event) Find(p *Path, fn func(Value) bool) bool {
	found := false
	if p.field == noField || e.userIdentityIsArray() {
		walk(e.Root(), p, 0, fn, &found)
	} else {
		walk(e.Get(p.field), p, p.rest, fn, &found)
	}
	return found
}

// userIdentityIsArray marks the records whose typed fields below userIdentity cannot be single values.
func (e *Event) userIdentityIsArray() bool {
	return Kind(e.spans[UserIdentity].bits&7) == Array
}

// First returns the first value at path, Missing if there is none.
func (e *Event) First(p *Path) Value {
	var out Value
	e.Find(p, func(v Value) bool { out = v; return false })
	return out
}

// walk returns false when fn wants no more.
func walk(v Value, p *Path, n int, fn func(Value) bool, found *bool) bool {
	if v.kind == Missing {
		return true
	}
	if n == len(p.segs) {
		*found = true
		return fn(v)
	}
	switch v.kind {
	case Object:
		if len(v.raw) > probeFrom && !p.probes[n].mayStandIn(v.raw) {
			return true
		}
		val, used := member(v, p.joined[n])
		if used == 0 {
			return true
		}
		return walk(val, p, n+used, fn, found)
	case Array:
		index := p.index[n]
		at, more := 0, true
		v.Elements(func(el Value) bool {
			switch {
			case index < 0:
				more = walk(el, p, n, fn, found)
			case at == index:
				more = walk(el, p, n+1, fn, found)
				return false
			}
			at++
			return more
		})
		return more
	}
	return true
}

// member finds the best key of an object among names, which get longer by one segment each, and returns its value and
// how many segments it stands for, 0 when there is none. An exact key beats one that differs in case, then the longer
// beats the shorter, then the last in the text beats earlier ones.
func member(v Value, names []string) (Value, int) {
	b := v.raw
	best, rank := Value{}, 0
	i := skipSpace(b, 1)
	for b[i] != '}' {
		kend := stringEnd(b, i)
		key := b[i+1 : kend-1]
		i = skipSpace(b, kend)
		i = skipSpace(b, i+1)
		end := valueEnd(b, i)
		if r := keyRank(key, names); r > 0 && r >= rank {
			best, rank = valueAt(b, i, end), r
		}
		i = skipSpace(b, end)
		if b[i] == ',' {
			i = skipSpace(b, i+1)
		}
	}
	if rank > len(names) {
		rank -= len(names)
	}
	return best, rank
}

// probe looks for a segment in the text of an object before its members are walked: most objects do not have what a rule
// asks for.
type probe struct {
	name   string // lower case; "" when the segment cannot be looked for
	lo, up byte   // its rarest letter in both cases
	at     int    // where in name
	folds  bool   // it has a k or s, which have folds outside ASCII
}

// probeFrom is the length from which objects are probed.
const probeFrom = 48

// byRarity lists letters, those that are rare in JSON first.
const byRarity = "jqxkzhywbgfvplmudoicnrtsae"

// makeProbe takes segments of ASCII letters, digits, hyphens and underscores.
func makeProbe(seg string) probe {
	name := strings.ToLower(seg)
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return probe{}
		}
	}
	for i := range len(byRarity) {
		if at := strings.IndexByte(name, byRarity[i]); at >= 0 {
			return probe{name: name, lo: byRarity[i], up: byRarity[i] - 'a' + 'A', at: at, folds: strings.ContainsAny(name, "ks")}
		}
	}
	return probe{}
}

// mayStandIn reports whether b may hold a key that is or begins with the segment. It only errs by saying yes.
func (p *probe) mayStandIn(b []byte) bool {
	if p.name == "" {
		return true
	}
	// Of the escapes only this can stand for a letter, digit, hyphen or underscore.
	if at := bytes.IndexByte(b, '\\'); at >= 0 && bytes.Contains(b[at:], []byte(`\u`)) {
		return true
	}
	if p.folds && (bytes.IndexByte(b, 0xc5) >= 0 || bytes.IndexByte(b, 0xe2) >= 0) { // the first bytes of ſ and K
		return true
	}
	return p.find(b, p.lo) || p.find(b, p.up)
}

func (p *probe) find(b []byte, c byte) bool {
	for from := 0; ; {
		i := bytes.IndexByte(b[from:], c)
		if i < 0 {
			return false
		}
		i += from
		if start := i - p.at; start > 0 && b[start-1] == '"' && start+len(p.name) < len(b) {
			held := true
			for k := range len(p.name) {
				if b[start+k] != p.name[k] && b[start+k]|0x20 != p.name[k] {
					held = false
					break
				}
			}
			if held {
				return true
			}
		}
		from = i + 1
	}
}

// keyRank is n for a key that equals names[n-1] but for case, len(names)+n for an exact one, 0 for neither.
func keyRank(key []byte, names []string) int {
	text := view(key)
	for _, c := range key {
		if c == '\\' {
			text = view(appendUnescaped(nil, key))
			break
		}
	}
	for n := len(names); n > 0; n-- {
		if name := names[n-1]; text == name {
			return len(names) + n
		}
	}
	for n := len(names); n > 0; n-- {
		if name := names[n-1]; strings.EqualFold(text, name) {
			return n
		}
	}
	return 0
}
