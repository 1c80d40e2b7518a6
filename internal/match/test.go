package match

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"spoor/internal/event"
)

// Test is a test of one value. It is immutable.
type Test interface {
	// value is asked for everything but missing values and arrays; of an array its elements are asked.
	value(c *Context, v event.Value) bool
	// missing is the answer when there is no value.
	missing() bool
	cost() int
}

// leaf tests the values at a place.
type leaf struct {
	place      *Place
	test       Test
	n          int
	remembered bool // answers for texts of the field are worth remembering
}

// Field holds when some value at place passes test; elements of arrays, at any depth, count as values.
func Field(place *Place, test Test) Expr {
	n := test.cost()
	switch {
	case !place.typed:
		n += 200
	case event.Fields[place.field].Type == "object" || event.Fields[place.field].Type == "array":
		n += 400
	}
	l := &leaf{place: place, test: test, n: n}
	l.remembered = place.typed && place.otherwise == nil && test.cost() >= rememberFrom
	return l
}

func (l *leaf) cost() int { return l.n }

func (l *leaf) eval(c *Context) bool {
	if l.place.direct(c) {
		if v := c.e.Get(l.place.field); v.Kind() != event.Missing {
			if l.remembered && v.Kind() == event.String && len(v.Raw()) <= rememberText {
				return c.remember(l, v)
			}
			return holds(c, l.test, v)
		}
	}
	held := false
	found := l.place.find(c, func(v event.Value) bool {
		held = holds(c, l.test, v)
		return !held
	})
	return held || !found && l.test.missing()
}

func holds(c *Context, t Test, v event.Value) bool {
	if v.Kind() != event.Array {
		return t.value(c, v)
	}
	held := false
	v.Elements(func(el event.Value) bool {
		held = holds(c, t, el)
		return !held
	})
	return held
}

// onPair reports whether eventSource and eventName decide the test.
func (l *leaf) onPair() bool {
	return l.place.typed && l.place.otherwise == nil && (l.place.field == event.EventSource || l.place.field == event.EventName)
}

func (l *leaf) trace(c *Context, t *Trace) bool {
	p := l.place.source(c)
	held := false
	found := p.find(c, func(v event.Value) bool {
		held = noteHeld(c, t, l.test, p, v)
		return !held
	})
	if !found && l.test.missing() {
		t.note(l.place.name, "", true)
		return true
	}
	return held
}

// noteHeld is holds, and notes the value.
func noteHeld(c *Context, t *Trace, test Test, p *Place, v event.Value) bool {
	switch v.Kind() {
	case event.Array:
		held := false
		v.Elements(func(el event.Value) bool {
			held = noteHeld(c, t, test, p, el)
			return !held
		})
		return held
	case event.Object:
		if !test.value(c, v) {
			return false
		}
		if anyLeaf(v, func(el event.Value) bool {
			if !test.value(c, el) {
				return false
			}
			t.note(p.name, el.Text(), false)
			return true
		}) {
			return true
		}
		json, _ := c.objectTexts(v)
		t.note(p.name, json, false)
		return true
	}
	if !test.value(c, v) {
		return false
	}
	t.note(p.name, v.Text(), false)
	return true
}

// texter is a test of texts.
type texter interface {
	Test
	text(c *Context, s string) bool
}

// scalarText is the value method of a texter: it holds when the text of a scalar passes, or any of the texts that
// stand for an object: its scalar leaves, its compact JSON, and that JSON with \" turned into ".
func scalarText(c *Context, t texter, v event.Value) bool {
	switch v.Kind() {
	case event.String:
		return t.text(c, c.valueText(v))
	case event.Number:
		return t.text(c, v.Text())
	case event.True:
		return t.text(c, "true")
	case event.False:
		return t.text(c, "false")
	case event.Object:
		if anyLeaf(v, func(el event.Value) bool { return t.value(c, el) }) {
			return true
		}
		json, plain := c.objectTexts(v)
		return t.text(c, json) || plain != "" && t.text(c, plain)
	}
	return false
}

// values holds when a text matches one of several patterns.
type values struct {
	all     bool // some pattern matches every text
	few     []string
	many    map[string]struct{} // like few, for long lists
	wide    int                 // the most bytes of a text outside ASCII that may equal one of few, 0 if none can
	cased   map[string]struct{}
	globs   []*Pattern
	numbers []float64
}

// manyValues is the length of a list from which hashing beats comparing.
const manyValues = 6

// Values holds when the text of a scalar matches any of the patterns, or a JSON number equals any of the numbers.
// Numbers are tested as their shortest decimal text, booleans as true and false. An object is tested by each of its
// scalar leaves, by its compact JSON, and by that JSON with \" turned into ". Null and missing do not pass.
func Values(patterns []*Pattern, numbers ...float64) Test {
	t := &values{numbers: numbers}
	for _, p := range patterns {
		text, exact := p.Exact()
		switch {
		case p.All():
			t.all = true
		case exact && p.cased:
			if t.cased == nil {
				t.cased = map[string]struct{}{}
			}
			t.cased[text] = struct{}{}
		case exact:
			t.few = append(t.few, text)
		default:
			t.globs = append(t.globs, p)
		}
	}
	slices.Sort(t.few)
	t.few = slices.Compact(t.few)
	for _, s := range t.few {
		if !isASCII(s) || strings.ContainsAny(s, "ks") {
			t.wide = max(t.wide, utf8.UTFMax*len(s))
		}
	}
	if len(t.few) >= manyValues {
		t.many = make(map[string]struct{}, len(t.few))
		for _, s := range t.few {
			t.many[s] = struct{}{}
		}
	}
	return t
}

func (t *values) missing() bool { return false }

func (t *values) cost() int {
	return 5 + min(len(t.few), manyValues) + 20*len(t.globs) + 5*len(t.numbers)
}

func (t *values) value(c *Context, v event.Value) bool {
	if len(t.numbers) > 0 && v.Kind() == event.Number {
		if f, ok := v.Float(); ok && slices.Contains(t.numbers, f) {
			return true
		}
	}
	return scalarText(c, t, v)
}

func (t *values) text(c *Context, s string) bool {
	if t.all {
		return true
	}
	if t.many != nil {
		c.fold = appendFold(c.fold[:0], s)
		if _, ok := t.many[string(c.fold)]; ok {
			return true
		}
	} else {
		for _, want := range t.few {
			if len(s) == len(want) && equalFolded(s, want) {
				return true
			}
		}
		if t.wide > 0 && len(s) <= t.wide && !isASCII(s) {
			c.fold = appendFold(c.fold[:0], s)
			if slices.Contains(t.few, view(c.fold)) {
				return true
			}
		}
	}
	if t.cased != nil {
		if _, ok := t.cased[s]; ok {
			return true
		}
	}
	for _, p := range t.globs {
		if p.Match(s) {
			return true
		}
	}
	return false
}

type null struct{}

// NullOrMissing holds for null, and where there is no value.
func NullOrMissing() Test { return null{} }

func (null) value(_ *Context, v event.Value) bool { return v.Kind() == event.Null }
func (null) missing() bool                        { return true }
func (null) cost() int                            { return 1 }

type exists struct {
	place *Place
}

// Exists holds when there is a value at place, null included.
func Exists(place *Place) Expr { return &exists{place} }

func (x *exists) cost() int {
	if x.place.typed {
		return 2
	}
	return 200
}

func (x *exists) eval(c *Context) bool {
	if x.place.direct(c) && c.e.Get(x.place.field).Exists() {
		return true
	}
	return x.place.find(c, func(event.Value) bool { return false })
}

func (x *exists) trace(c *Context, t *Trace) bool {
	p := x.place.source(c)
	return p.find(c, func(v event.Value) bool {
		text := v.Text()
		if v.Kind() >= event.Object {
			text, _ = c.objectTexts(v)
		}
		t.note(p.name, text, false)
		return false
	})
}

// Span is a range of numbers.
type Span struct {
	Min, Max         float64 // infinite for an end that is open
	OpenMin, OpenMax bool    // the end itself is outside
}

func (r *Span) holds(f float64) bool {
	return (f > r.Min || f == r.Min && !r.OpenMin) && (f < r.Max || f == r.Max && !r.OpenMax)
}

type numbers struct{ spans []Span }

// Numbers holds for a number, or a string that is a number, inside any of the spans.
func Numbers(spans ...Span) Test { return &numbers{spans} }

func (t *numbers) missing() bool { return false }
func (t *numbers) cost() int     { return 30 }

func (t *numbers) value(_ *Context, v event.Value) bool {
	f, ok := v.Float()
	return ok && t.number(f)
}

func (t *numbers) number(f float64) bool {
	for i := range t.spans {
		if t.spans[i].holds(f) {
			return true
		}
	}
	return false
}

// TimePart is a part of a point in time, in UTC.
type TimePart uint8

// The parts of a point in time.
const (
	Minute TimePart = iota
	Hour
	Day  // of the month
	Week // ISO 8601
	Month
	Year
)

type timePart struct {
	part TimePart
	in   numbers
}

// TimeParts holds for a value that reads as a point in time whose part is inside any of the spans. RFC 3339 and ISO 8601 without a
// zone (taken as UTC), the long form of some responses (Jan 2, 2006 3:04:05 PM), and Unix times in seconds, or in
// milliseconds from 1e11 on, are read.
func TimeParts(part TimePart, spans ...Span) Test { return &timePart{part, numbers{spans}} }

func (t *timePart) missing() bool { return false }
func (t *timePart) cost() int     { return 100 }

var timeLayouts = [...]string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02", "Jan 2, 2006 3:04:05 PM", "Jan 2, 2006, 3:04:05 PM"}

func (t *timePart) value(c *Context, v event.Value) bool {
	var at time.Time
	switch v.Kind() {
	case event.String:
		at = parseTime(strings.TrimSpace(c.valueText(v)))
	case event.Number:
		f, ok := v.Float()
		if !ok || f < 0 || f > 1e15 {
			return false
		}
		if f >= 1e11 {
			at = time.UnixMilli(int64(f))
		} else {
			at = time.Unix(int64(f), 0)
		}
	}
	if at.IsZero() {
		return false
	}
	at = at.UTC()
	n := 0
	switch t.part {
	case Minute:
		n = at.Minute()
	case Hour:
		n = at.Hour()
	case Day:
		n = at.Day()
	case Week:
		_, n = at.ISOWeek()
	case Month:
		n = int(at.Month())
	case Year:
		n = at.Year()
	}
	return t.in.number(float64(n))
}

// parseTime gives the zero time when s is none.
func parseTime(s string) time.Time {
	if len(s) < 10 || len(s) > 40 {
		return time.Time{}
	}
	for _, layout := range timeLayouts {
		if at, err := time.Parse(layout, s); err == nil {
			return at
		}
	}
	return time.Time{}
}

type cidr struct{ nets []netip.Prefix }

// CIDR holds for a string that is an IP address in any of the networks. IPv4-mapped IPv6 counts as IPv4, in addresses
// and networks.
func CIDR(nets ...netip.Prefix) Test {
	t := &cidr{}
	for _, n := range nets {
		if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
		}
		t.nets = append(t.nets, n.Masked())
	}
	return t
}

func (t *cidr) missing() bool { return false }
func (t *cidr) cost() int     { return 40 + 3*len(t.nets) }

func (t *cidr) value(c *Context, v event.Value) bool {
	if v.Kind() != event.String {
		return false
	}
	s := c.valueText(v)
	if len(s) < 2 || len(s) > 64 || strings.IndexByte("0123456789abcdefABCDEF:", s[0]) < 0 {
		return false
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return false
	}
	a = a.Unmap().WithZone("")
	for _, n := range t.nets {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Bounds of regular expressions.
const (
	MaxRegexp        = 10 << 10 // bytes of a pattern
	MaxRegexpSubject = 1 << 20  // bytes of a text that are searched; what follows is not looked at
)

type re struct {
	re      *regexp.Regexp
	clauses [][]*Pattern // of each, every matching text matches at least one
	lits    []string     // the literals of the first clause that has just one, folded
}

// Regexp holds when expr, in the syntax of RE2, is found in the text of a scalar, or in one of the texts of an object
// as for [Values]. Look-around and back-references, which RE2 lacks, are refused by name.
func Regexp(expr string) (Test, error) {
	if len(expr) > MaxRegexp {
		return nil, fmt.Errorf("regular expression has %d bytes, the limit is %d", len(expr), MaxRegexp)
	}
	if what := foreign(expr); what != "" {
		return nil, fmt.Errorf("regular expression uses %s, which Sigma does not allow", what)
	}
	compiled, err := regexp.Compile(expr)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	t := &re{re: compiled}
	for _, clause := range required(expr) {
		var needles []*Pattern
		for _, l := range clause {
			needles = append(needles, NewPattern([]Part{{Kind: Star}, {Text: l.text}, {Kind: Star}}, !l.folded))
		}
		t.clauses = append(t.clauses, needles)
		if len(needles) == 1 && t.lits == nil {
			t.lits = needles[0].runs()
		}
	}
	return t, nil
}

func (t *re) missing() bool { return false }
func (t *re) cost() int {
	if t.clauses != nil {
		return 60
	}
	return 300
}

func (t *re) value(c *Context, v event.Value) bool { return scalarText(c, t, v) }

func (t *re) text(_ *Context, s string) bool {
	s = s[:min(len(s), MaxRegexpSubject)]
	for _, clause := range t.clauses {
		if !slices.ContainsFunc(clause, func(p *Pattern) bool { return p.Match(s) }) {
			return false
		}
	}
	return t.re.MatchString(s)
}

// Relation is how two texts relate.
type Relation uint8

// The relations of [FieldRef]: the first text equals, contains, begins with or ends with the second.
const (
	Equal Relation = iota
	Contains
	StartsWith
	EndsWith
)

type fieldRef struct {
	place, other *Place
	rel          Relation
	cased        bool
}

// FieldRef holds when any value at place relates to any scalar at other. Wildcards in the event's texts are plain
// characters. Missing or null on either side does not hold.
func FieldRef(place, other *Place, rel Relation, cased bool) Expr {
	return &fieldRef{place, other, rel, cased}
}

func (f *fieldRef) cost() int { return 250 }

func (f *fieldRef) eval(c *Context) bool { return f.trace(c, nil) }

func (f *fieldRef) trace(c *Context, t *Trace) bool {
	held := false
	f.other.find(c, func(v event.Value) bool {
		held = f.against(c, t, v)
		return !held
	})
	return held
}

// against tests the place's values with one value of the other field.
func (f *fieldRef) against(c *Context, t *Trace, other event.Value) bool {
	held := false
	if other.Kind() == event.Array {
		other.Elements(func(el event.Value) bool {
			held = f.against(c, t, el)
			return !held
		})
		return held
	}
	if other.IsNull() || other.Kind() == event.Object {
		return false
	}
	test := &c.rel
	*test = relationTest{head: f.rel == Equal || f.rel == StartsWith, tail: f.rel == Equal || f.rel == EndsWith}
	if other.Kind() == event.Number && f.rel == Equal {
		test.number, test.isNumber = other.Float()
	}
	test.set(c, other, f.cased)
	p := f.place
	if t != nil {
		p = p.source(c)
	}
	p.find(c, func(v event.Value) bool {
		if t != nil {
			held = noteHeld(c, t, test, p, v)
		} else {
			held = holds(c, test, v)
		}
		return !held
	})
	return held
}

// relationTest compares with a text of the event.
type relationTest struct {
	pattern    Pattern
	head, tail bool
	number     float64
	isNumber   bool
}

func (t *relationTest) set(c *Context, other event.Value, cased bool) {
	c.ref = other.AppendText(c.ref[:0])
	if !cased {
		n := len(c.ref)
		c.ref = appendFold(c.ref, view(c.ref[:n]))
		c.ref = append(c.ref[:0], c.ref[n:]...)
	}
	t.pattern = Pattern{head: t.head, tail: t.tail, cased: cased}
	if len(c.ref) == 0 {
		return
	}
	text := view(c.ref)
	seg := &c.piece[0]
	seg.text, seg.runes = text, seg.runes[:0]
	for s := text; s != ""; {
		r, n := decode(s)
		seg.runes = append(seg.runes, r)
		s = s[n:]
	}
	t.pattern.segs = c.piece[:]
	t.pattern.classify(text)
}

func (t *relationTest) missing() bool { return false }
func (t *relationTest) cost() int     { return 20 }

func (t *relationTest) value(c *Context, v event.Value) bool {
	if t.isNumber && v.Kind() == event.Number {
		if f, ok := v.Float(); ok && f == t.number {
			return true
		}
	}
	return scalarText(c, t, v)
}

func (t *relationTest) text(_ *Context, s string) bool { return t.pattern.Match(s) }

type anywhere struct {
	test texter
	json bool
}

// Anywhere holds when test passes for some scalar of the event, whatever its key, or, with json, for the texts that
// stand for the whole event (see [Values]), in which a pattern may reach from one value into the next. test must be
// made by [Values] or [Regexp].
func Anywhere(test Test, json bool) Expr {
	t, ok := test.(texter)
	if !ok {
		return Const(false)
	}
	return &anywhere{t, json}
}

func (a *anywhere) cost() int { return 2000 }

func (a *anywhere) eval(c *Context) bool {
	root := c.e.Root()
	if anyLeaf(root, func(v event.Value) bool { return a.test.value(c, v) }) {
		return true
	}
	return a.json && a.whole(c, root)
}

func (a *anywhere) whole(c *Context, root event.Value) bool {
	json, plain := c.objectTexts(root)
	return a.test.text(c, json) || plain != "" && a.test.text(c, plain)
}

func (a *anywhere) trace(c *Context, t *Trace) bool {
	root := c.e.Root()
	if anyLeaf(root, func(v event.Value) bool {
		if !a.test.value(c, v) {
			return false
		}
		t.note("", v.Text(), false)
		return true
	}) {
		return true
	}
	if !a.json || !a.whole(c, root) {
		return false
	}
	json, _ := c.objectTexts(root)
	t.note("", json, false)
	return true
}
