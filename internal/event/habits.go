package event

import (
	"bytes"
	"encoding/binary"
	"hash/maphash"
)

// habits is what a decoder remembers of records to read the next ones faster. It changes nothing in what is read.
//
// It knows where the typed fields lie in the userIdentity objects that were read last, as a session writes the same
// object, byte for byte, into each of its records; and which key came last behind another.
type habits struct {
	followers [typedPlaces][NumFields + 1]follower // by the field before, the last one for none

	seed  maphash.Seed
	slots []identity
	// Whether looking pays is judged over many objects: where identities do not repeat, it is left for a while.
	asked, hits, rest int
}

// identity is one object. spans count from its first byte.
type identity struct {
	raw       []byte
	hash      uint64
	spans     [lastIdentity - firstIdentity + 1]span
	irregular bool
}

const (
	firstIdentity = UserIdentity + 1
	lastIdentity  = SignInSessionARN

	identitySlots  = 1 << 9
	identityLeast  = 96      // bytes of an object that is remembered
	identityMost   = 4 << 10 // bytes
	identityJudged = 1 << 10 // objects after which the hits are counted; a quarter is enough
	identityRest   = 1 << 14 // objects that are not looked for when it was less
)

// follower is a key as it stands in the text, with its quotes and colon.
type follower struct {
	text  [39]byte
	n     uint8
	field Field
}

func (f *follower) set(text []byte, field Field) {
	if len(text) <= len(f.text) {
		f.n, f.field = uint8(copy(f.text[:], text)), field
	}
}

// expected returns the index behind the key at b[i] if it is the one that came last behind the field, or 0.
func expected(followers *[NumFields + 1]follower, last Field, b []byte, i int) int {
	if followers == nil {
		return 0
	}
	f := &followers[min(last, NumFields)]
	if end := i + int(f.n); f.n > 0 && end <= len(b) && string(b[i:end]) == string(f.text[:f.n]) {
		return end
	}
	return 0
}

// slot is where the object that begins with b is kept if it is; nil when b is too short to tell or it is not looked for.
func (c *habits) slot(b []byte) *identity {
	if len(b) < identityLeast {
		return nil
	}
	if c.rest > 0 {
		c.rest--
		return nil
	}
	if c.slots == nil {
		c.slots, c.seed = make([]identity, identitySlots), maphash.MakeSeed()
	}
	if c.asked++; c.asked == identityJudged {
		if c.hits < identityJudged/4 {
			c.rest = identityRest
		}
		c.asked, c.hits = 0, 0
	}
	// Behind the type: the principal and the session's name.
	h := uint64(0)
	for i := 32; i < identityLeast; i += 8 {
		h = (h ^ binary.LittleEndian.Uint64(b[i:])) * 0x9e3779b97f4a7c15
		h ^= h >> 29
	}
	return &c.slots[h>>20%identitySlots]
}

// take gives e the fields of the identity if b begins with it, which lies at off in the record, and returns its length,
// or 0.
func (id *identity) take(c *habits, e *Event, b []byte, off int) int {
	if len(id.raw) == 0 || !bytes.HasPrefix(b, id.raw) {
		return 0
	}
	c.hits++
	for i, s := range id.spans {
		if s.bits != 0 {
			s.off += uint32(off)
		}
		e.spans[int(firstIdentity)+i] = s
	}
	e.irregular = e.irregular || id.irregular
	e.identity = id.hash
	return len(id.raw)
}

// keep remembers the object raw, which was read into e and lies at off in the record; irregular is about it alone.
func (id *identity) keep(c *habits, e *Event, raw []byte, off int, irregular bool) {
	if len(raw) > identityMost || len(raw) < identityLeast {
		return
	}
	id.raw = append(id.raw[:0], raw...)
	id.hash = maphash.Bytes(c.seed, raw) | 1
	e.identity = id.hash
	id.irregular = irregular
	for i := range id.spans {
		s := e.spans[int(firstIdentity)+i]
		if s.bits != 0 {
			s.off -= uint32(off)
		}
		id.spans[i] = s
	}
}
