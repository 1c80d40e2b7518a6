package event

import (
	"bytes"
	"encoding/binary"
	"strings"
	"sync"
	"time"
)

// Event is one CloudTrail record. See the package comment for how long it lives.
type Event struct {
	// Raw is the record, byte for byte as it arrived.
	Raw []byte
	// Time is eventTime in Unix nanoseconds, 0 when it is missing or cannot be read.
	Time int64
	// File and Offset say where the record was read: the name of the input and the byte offset of the record in it,
	// after decompression. A record that was unwrapped from a string or an export row has the offset of its wrapper.
	File   string
	Offset int64
	// Again says that File can be opened again under that name, and that the record alone stands at Offset.
	Again bool

	spans     [NumFields]span
	identity  uint64 // a hash of userIdentity that its decoder took, 0 for none
	irregular bool   // some key stands for a typed field but is not written as in Fields
}

// span is where a typed value lies in Raw: offset, then length, kind and escape flag packed.
type span struct {
	off  uint32
	bits uint32 // length<<4 | escape<<3 | kind
}

func makeSpan(off, end int, kind Kind, esc bool) span {
	bits := uint32(end-off)<<4 | uint32(kind)
	if esc {
		bits |= 8
	}
	return span{uint32(off), bits}
}

// MaxRecordBytes is the largest record that can be addressed; [Limits] may set less.
const MaxRecordBytes = 1<<28 - 1

// Get returns a typed field. A key that differs from the table only in case counts where the exact one is missing.
func (e *Event) Get(f Field) Value {
	s := e.spans[f]
	kind := Kind(s.bits & 7)
	if kind == Missing {
		return Value{}
	}
	end := s.off + s.bits>>4
	return Value{raw: e.Raw[s.off:end:end], kind: kind, esc: s.bits&8 != 0}
}

// Text returns a typed field as text, "" when it is missing, null or not a scalar.
func (e *Event) Text(f Field) string { return e.Get(f).Text() }

// Name is eventName.
func (e *Event) Name() string { return e.Text(EventName) }

// Source is eventSource.
func (e *Event) Source() string { return e.Text(EventSource) }

// ID is eventID.
func (e *Event) ID() string { return e.Text(EventID) }

// Region is awsRegion.
func (e *Event) Region() string { return e.Text(AWSRegion) }

// Account is the account that the record belongs to: recipientAccountId, or else the caller's account.
func (e *Event) Account() string {
	if a := e.Text(RecipientAccountID); a != "" {
		return a
	}
	return e.Text(IdentityAccountID)
}

// When is eventTime in UTC, the zero time when unknown.
func (e *Event) When() time.Time {
	if e.Time == 0 {
		return time.Time{}
	}
	return time.Unix(0, e.Time).UTC()
}

// CallHash mixes the lengths, beginnings and ends of an eventSource and an eventName. It is cheap, for tables of what was met
// lately; other calls may have the same.
func CallHash(source, name string) uint64 {
	word := func(s string) uint64 { return binary.LittleEndian.Uint64([]byte(s)) }
	h := uint64(len(source))<<32 ^ uint64(len(name))
	if n := len(name); n >= 8 {
		h ^= word(name[:8])*0x9e3779b97f4a7c15 ^ word(name[n-8:])*0xff51afd7ed558ccd
	}
	if len(source) >= 8 {
		h ^= word(source[:8]) * 0xc4ceb9fe1a85ec53
	}
	h ^= h >> 32
	return h ^ h>>16
}

// Failed reports whether the call failed: an errorCode or errorMessage, or a console sign-in that was refused.
func (e *Event) Failed() bool {
	if e.has(ErrorCode) || e.has(ErrorMessage) {
		return true
	}
	if e.Name() != "ConsoleLogin" {
		return false
	}
	failed := false
	e.Get(ResponseElements).Members(func(k string, v Value) bool {
		failed = k == "ConsoleLogin" && v.Text() == "Failure"
		return !failed
	})
	return failed
}

// has reports whether a field holds anything: not missing, null or "".
func (e *Event) has(f Field) bool {
	s := e.spans[f]
	return Kind(s.bits&7) > Null && s.bits>>4 > 2
}

// Root returns the whole record as a value.
func (e *Event) Root() Value { return Value{raw: e.Raw, kind: Object} }

// Clone copies the event so that it outlives its buffer.
func (e *Event) Clone() *Event {
	c := *e
	c.Raw = bytes.Clone(e.Raw)
	c.File = strings.Clone(e.File)
	return &c
}

// Parse reads raw, one JSON object, as a record. The event points into raw.
func Parse(raw []byte) (*Event, error) {
	e := new(Event)
	if err := e.Reset(raw); err != nil {
		return nil, err
	}
	return e, nil
}

// Reset makes e the record in raw, one JSON object with no more than white space around it.
func (e *Event) Reset(raw []byte) error {
	s := scanner{b: raw}
	start := s.space(0)
	end := e.read(&s, start)
	if end < 0 {
		return s.error(0)
	}
	if rest := s.space(end); rest != len(raw) {
		return &SyntaxError{Offset: int64(rest), Reason: "more text after the record"}
	}
	return nil
}

// read takes the record that starts at s.b[start] into e and returns the index after it, or -1.
func (e *Event) read(s *scanner, start int) int {
	e.spans = [NumFields]span{}
	e.irregular = false
	e.identity = 0
	e.Time = 0
	if start >= len(s.b) {
		return s.fail(start, reasonEnd)
	}
	if s.b[start] != '{' {
		return s.fail(start, "expected an object")
	}
	r := reader{s: s, e: e, base: start}
	end := r.object(start, inTop)
	if end < 0 {
		return -1
	}
	if end-start > MaxRecordBytes {
		return s.fail(start, "record too large")
	}
	e.Raw = s.b[start:end:end]
	if e.irregular {
		e.repair()
	}
	if e.outside() {
		e.adopt()
	}
	e.Time = parseTime(e.Get(EventTime))
	return end
}

// repair finds typed fields under keys that differ in case or hold dots, as [ParsePath] describes.
func (e *Event) repair() {
	paths := typedPaths()
	for f := range Field(NumFields) {
		if e.spans[f].bits != 0 {
			continue
		}
		found := false
		walk(e.Root(), paths[f], 0, func(v Value) bool {
			e.lay(f, v)
			return false
		}, &found)
	}
}

// reader lays the typed fields of one record.
type reader struct {
	s    *scanner
	e    *Event
	base int
}

// place is the object being read; each has its own table of keys.
type place uint8

const (
	inTop place = iota
	inIdentity
	inOnBehalfOf
	inScope
	inSession
	inIssuer
	inFederation
	inAttributes
	inOther
)

const typedPlaces = int(inOther)

func fieldAt(p place, key []byte) Field {
	switch p {
	case inTop:
		return topField(key)
	case inIdentity:
		return identityField(key)
	case inOnBehalfOf:
		return onBehalfOfField(key)
	case inScope:
		return inScopeOfField(key)
	case inSession:
		return sessionField(key)
	case inIssuer:
		return issuerField(key)
	case inFederation:
		return federationField(key)
	case inAttributes:
		return attributeField(key)
	}
	return noField
}

// inside gives the key table of a typed object.
func inside(f Field) place {
	switch f {
	case UserIdentity:
		return inIdentity
	case OnBehalfOf:
		return inOnBehalfOf
	case InScopeOf:
		return inScope
	case SessionContext:
		return inSession
	case SessionIssuer:
		return inIssuer
	case WebIDFederationData:
		return inFederation
	case SessionAttributes:
		return inAttributes
	}
	return inOther
}

// object reads the members of the object that opens at i. A key that occurs twice counts with its last value.
func (r *reader) object(i int, p place) int {
	s := r.s
	b := s.b
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	var followers *[NumFields + 1]follower
	if s.known != nil && p != inOther {
		followers = &s.known.followers[p]
	}
	last := noField
	for {
		f := noField
		if end := expected(followers, last, b, i); end > 0 {
			f = followers[min(last, NumFields)].field
			i = end
		} else {
			if i >= len(b) || b[i] != '"' {
				return s.fail(i, "expected a member name in quotes")
			}
			start := i
			kend, esc := s.quick(i), false
			if kend == 0 {
				if kend, esc = s.str(i); kend < 0 {
					return -1
				}
			}
			key := b[i+1 : kend-1]
			f = fieldAt(p, key)
			odd := f == noField && (esc || irregularKey(p, key))
			if odd {
				r.e.irregular = true
			}
			i = kend
			if i >= len(b) || b[i] != ':' {
				i = skipSpace(b, i)
				if i >= len(b) || b[i] != ':' {
					return s.fail(i, "expected ':' after a member name")
				}
			}
			i++
			if followers != nil && !odd {
				followers[min(last, NumFields)].set(b[start:i], f)
			}
		}
		last = f
		if i < len(b) && b[i] <= ' ' {
			i = skipSpace(b, i)
		}
		if i >= len(b) {
			return s.fail(i, reasonEnd)
		}
		if f != noField && r.e.spans[f].bits != 0 {
			r.forget(f)
		}
		start := i
		var kind Kind
		vesc := false
		switch b[i] {
		case '"':
			kind = String
			if end := s.quick(i); end > 0 {
				i = end
			} else {
				i, vesc = s.str(i)
			}
		case '{':
			kind = Object
			if f == UserIdentity && s.known != nil && s.marks != nil {
				i = r.identity(i)
			} else if in := inside(f); in != inOther {
				i = r.object(i, in)
			} else {
				i = s.container(i)
			}
		case '[':
			kind = Array
			i = s.container(i)
		default:
			switch b[i] {
			case 'n':
				kind = Null
			case 't':
				kind = True
			case 'f':
				kind = False
			default:
				kind = Number
			}
			i = s.scalar(i)
		}
		if i < 0 {
			return -1
		}
		if f != noField {
			r.e.spans[f] = makeSpan(start-r.base, i-r.base, kind, vesc)
		}
		if i < len(b) && b[i] <= ' ' {
			i = skipSpace(b, i)
		}
		if i >= len(b) {
			return s.fail(i, reasonEnd)
		}
		switch b[i] {
		case ',':
			i++
			if i < len(b) && b[i] <= ' ' {
				i = skipSpace(b, i)
			}
		case '}':
			return i + 1
		default:
			return s.fail(i, "expected ',' or '}' after a member")
		}
	}
}

// identity is object for userIdentity, by what is known of earlier ones.
func (r *reader) identity(i int) int {
	s, e := r.s, r.e
	slot := s.known.slot(s.b[i:])
	if slot == nil {
		return r.object(i, inIdentity)
	}
	if n := slot.take(s.known, e, s.b[i:], i-r.base); n > 0 {
		return i + n
	}
	before := e.irregular
	e.irregular = false
	end := r.object(i, inIdentity)
	if end > 0 {
		slot.keep(s.known, e, s.b[i:end], i-r.base, e.irregular)
	}
	e.irregular = e.irregular || before
	return end
}

// forget clears what was read inside a typed object, because its key occurs again.
func (r *reader) forget(f Field) {
	r.e.identity = 0
	prefix := Fields[f].Path + "."
	for g := range Field(NumFields) {
		if strings.HasPrefix(Fields[g].Path, prefix) {
			r.e.spans[g] = span{}
		}
	}
}

// irregularKey reports whether a key that is not typed could still stand for a typed one: alike but for case, or a path
// in one key.
func irregularKey(p place, key []byte) bool {
	if p == inOther {
		return false
	}
	if bytes.IndexByte(key, '.') >= 0 {
		return true
	}
	parent := placePaths[p]
	for g := range Field(NumFields) {
		path := Fields[g].Path
		if len(path) == len(parent)+len(key) && strings.EqualFold(path[len(parent):], view(key)) && path[:len(parent)] == parent {
			return true
		}
	}
	return false
}

// placePaths are the paths of the typed objects, each with a dot behind it.
var placePaths = [...]string{
	inTop:        "",
	inIdentity:   "userIdentity.",
	inOnBehalfOf: "userIdentity.onBehalfOf.",
	inScope:      "userIdentity.inScopeOf.",
	inSession:    "userIdentity.sessionContext.",
	inIssuer:     "userIdentity.sessionContext.sessionIssuer.",
	inFederation: "userIdentity.sessionContext.webIdFederationData.",
	inAttributes: "userIdentity.sessionContext.attributes.",
}

// typedPaths are the compiled paths of Fields.
var typedPaths = sync.OnceValue(func() *[NumFields]*Path {
	var out [NumFields]*Path
	for f := range Fields {
		out[f] = ParsePath(Fields[f].Path)
	}
	return &out
})
