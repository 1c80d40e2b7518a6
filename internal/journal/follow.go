package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Batch is an entry: the records of the appends that were written together.
type Batch struct {
	Seq         uint64    // to acknowledge; rises from batch to batch, with gaps
	First       uint64    // where the entry begins: After(First-1) gives it again; Seq when there is no entry
	Accepted    time.Time // when it was written
	Records     []Record  // in the order of the appends; theirs is memory that nobody else has
	Redelivered bool      // this follower was given it before, as far as is known
	// Lost are sequences before this batch that could not be read: damaged, or removed by Options.DropUnread. Each is
	// told once. A batch without records tells of them only, and can be acknowledged.
	Lost []Lost
}

// Lost is a range of sequences.
type Lost struct{ First, Last uint64 }

// Start is where a follower begins.
type Start struct {
	kind int
	seq  uint64
	keep *uint64 // nil for seq
}

const (
	startCursor = iota
	startAfter
	startNew
)

// FromCursor begins behind what the follower has acknowledged; at the oldest entry when it never did.
func FromCursor() Start { return Start{} }

// After begins behind a sequence that the follower has itself made durable, whatever its cursor says. 0 is the oldest entry.
func After(seq uint64) Start { return Start{kind: startAfter, seq: seq} }

// Keeping is the start of a follower that has what it begins behind, but only up to seq durably: everything behind seq is
// kept until it is acknowledged, so that [After] that sequence gives it again.
func (s Start) Keeping(seq uint64) Start {
	s.keep = &seq
	return s
}

// FromNew begins behind what is there now.
func FromNew() Start { return Start{kind: startNew} }

// cursor is what the journal keeps of a follower.
type cursor struct {
	seq         uint64 // everything up to it is acknowledged
	delivered   uint64 // the last that it was given
	active      bool   // somebody follows
	redelivered uint64
	lost        uint64
	abandoned   uint64
}

// cursorValue is a cursor in the bucket.
type cursorValue struct {
	Version int    `json:"version"`
	Seq     uint64 `json:"seq"`
}

// newCursor is that of a follower which is new: it begins at the oldest entry.
func (j *Journal) newCursor() *cursor {
	seq := max(j.first, 1) - 1
	return &cursor{seq: seq, delivered: seq}
}

func checkName(name string) error {
	if ok, err := regexp.MatchString(`^[a-z0-9][a-z0-9_.-]{0,63}$`, name); err != nil || !ok {
		return fmt.Errorf("follower %q: a name has letters a-z, digits, hyphens, dots and underscores", name)
	}
	return nil
}

// loadCursors reads all cursors. Where the file of the state knows a later one the bucket was damaged.
func (j *Journal) loadCursors(ctx context.Context, st state) error {
	keys, err := j.kv.Keys(ctx)
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		return fmt.Errorf("read cursors: %w", err)
	}
	for _, name := range keys {
		e, err := j.kv.Get(ctx, name)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read cursor %s: %w", name, err)
		}
		var v cursorValue
		if err := json.Unmarshal(e.Value(), &v); err != nil || v.Version > 1 {
			return fmt.Errorf("read cursor %s: %q (%w)", name, e.Value(), ErrVersion)
		}
		j.followers[name] = &cursor{seq: v.Seq, delivered: v.Seq}
	}
	for name, f := range st.Followers {
		c := j.followers[name]
		if c == nil {
			c = &cursor{}
			j.followers[name] = c
		}
		if f.Cursor > c.seq {
			j.o.Log.Error("a cursor was lost; the state file has it", "follower", name, "cursor", f.Cursor)
			c.seq = f.Cursor
		}
		c.delivered = max(c.seq, f.Delivered)
	}
	for _, name := range j.o.Followers {
		if j.followers[name] == nil {
			j.followers[name] = j.newCursor()
		}
	}
	return nil
}

// Follower reads a journal. One goroutine may call Next, others Ack and Close at the same time.
type Follower struct {
	j      *Journal
	name   string // empty for one without a cursor
	ctx    context.Context
	cancel context.CancelFunc

	c    *cursor // j.mu
	had  uint64  // where it began
	next uint64
	lost []Lost
	a    assembler
	// within says that next may be within an entry, whose beginning it has no claim to.
	within bool
}

// Follow begins to follow under a name, which has one cursor; from then on nothing behind it is removed. With an empty name
// there is no cursor: nothing is kept for the follower, and it cannot acknowledge. The context is for the call only.
func (j *Journal) Follow(ctx context.Context, name string, from Start) (*Follower, error) {
	if name != "" {
		if err := checkName(name); err != nil {
			return nil, err
		}
	}
	if j.eng == nil {
		if err := j.refresh(ctx); err != nil {
			return nil, fmt.Errorf("follow the journal: %w", err)
		}
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil, ErrClosed
	}
	c := j.newCursor()
	if name != "" {
		if had := j.followers[name]; had != nil {
			c = had
		}
		if c.active {
			j.mu.Unlock()
			return nil, fmt.Errorf("follow the journal as %s: %w", name, ErrFollowed)
		}
		j.followers[name] = c
	}
	c.active = true
	f := &Follower{j: j, name: name, c: c, next: c.seq + 1}
	switch from.kind {
	case startAfter:
		f.next = from.seq + 1
		c.seq = from.seq // it knows better; this may also be less than it had acknowledged
		if from.keep != nil {
			c.seq = min(c.seq, *from.keep)
		}
	case startNew:
		f.next = j.last + 1
		f.within = true
	}
	f.had = f.next - 1
	last := j.last
	j.mu.Unlock()
	f.ctx, f.cancel = context.WithCancel(j.ctx)
	if from.kind == startAfter && from.seq > last {
		j.o.Log.Error("a follower is ahead of the journal", "follower", name, "has", from.seq, "last", last)
		if err := j.fillTo(ctx, last, from.seq); err != nil {
			f.Close()
			return nil, err
		}
	}
	return f, nil
}

// Start is the sequence behind which the follower began.
func (f *Follower) Start() uint64 { return f.had }

// Next waits for the next entry. Errors: the context's, [ErrClosed], and [ErrVersion], which the next call meets again.
func (f *Follower) Next(ctx context.Context) (Batch, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(f.ctx, func() { cancel(ErrClosed) })()
	b, err := f.read(ctx)
	if err != nil && errors.Is(context.Cause(ctx), ErrClosed) {
		err = ErrClosed
	}
	if err != nil {
		return Batch{}, err
	}
	b.Lost, f.lost = f.lost, nil
	f.j.mu.Lock()
	defer f.j.mu.Unlock()
	for _, l := range b.Lost {
		f.c.lost += l.Last - l.First + 1
	}
	if b.Redelivered = b.Seq <= f.c.delivered; b.Redelivered {
		f.c.redelivered++
	} else {
		f.c.delivered = b.Seq
	}
	return b, nil
}

func (f *Follower) read(ctx context.Context) (Batch, error) {
	j := f.j
	for {
		last, changed := j.reach()
		if f.next > last {
			if len(f.lost) > 0 && f.a.empty() {
				return Batch{Seq: f.next - 1, First: f.next - 1}, nil
			}
			select {
			case <-ctx.Done():
				return Batch{}, ctx.Err()
			case <-changed:
			}
			continue
		}
		seq := f.next
		m, err := j.get(ctx, seq)
		if errors.Is(err, errMissing) {
			if err := f.missing(ctx, seq); err != nil {
				return Batch{}, err
			}
			continue
		}
		if err != nil {
			return Batch{}, err
		}
		broken := f.a.first
		e, err := f.a.add(seq, m.Data)
		if errors.Is(err, ErrVersion) {
			return Batch{}, fmt.Errorf("entry %d: %w", seq, err)
		}
		if err != nil {
			if !f.within || !errors.Is(err, errNoBeginning) {
				f.within = false
				f.damaged(firstOf(broken, seq), seq, err)
			}
			f.next = seq + 1
			continue
		}
		f.within = false
		if f.a.dropped {
			j.mu.Lock()
			f.c.abandoned++
			j.mu.Unlock()
		}
		if f.a.filler {
			f.damaged(seq, seq, errMissing)
		}
		if e == nil {
			f.next = seq + 1
			continue
		}
		records, err := f.decode(e)
		if errors.Is(err, ErrVersion) {
			return Batch{}, fmt.Errorf("entry %d: %w", seq, err)
		}
		f.next = seq + 1
		if err != nil {
			f.damaged(e.first, seq, err)
			continue
		}
		return Batch{Seq: seq, First: e.first, Accepted: e.accepted, Records: records}, nil
	}
}

func firstOf(first, seq uint64) uint64 {
	if first != 0 {
		return first
	}
	return seq
}

func (f *Follower) decode(e *entry) ([]Record, error) {
	sections, err := f.j.codec.parseSections(e.body)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, s := range sections {
		n += s.records
	}
	records := make([]Record, 0, n)
	for _, s := range sections {
		if records, err = f.j.codec.decode(records, s); err != nil {
			return nil, err
		}
	}
	return records, nil
}

// missing passes over a sequence that cannot be read, or all that were removed.
func (f *Follower) missing(ctx context.Context, seq uint64) error {
	if err := f.j.refresh(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return nil // asked again
	}
	f.j.mu.Lock()
	first, last := f.j.first, f.j.last
	f.j.mu.Unlock()
	if seq > last {
		return nil
	}
	begin := firstOf(f.a.first, seq)
	f.a.reset()
	if seq >= first {
		f.damaged(begin, seq, errMissing)
		f.next = seq + 1
		return nil
	}
	f.damaged(begin, first-1, errors.New("removed before it was read"))
	f.next, f.within = first, true
	return nil
}

// damaged notes that sequences are lost.
func (f *Follower) damaged(first, last uint64, why error) {
	if n := len(f.lost); n > 0 && f.lost[n-1].Last+1 >= first {
		f.lost[n-1].Last = last
	} else {
		f.lost = append(f.lost, Lost{first, last})
		f.j.o.Log.Error("the journal cannot be read here; what follows is", "stream", f.j.o.Stream, "follower", f.name, "sequence", first, "error", why)
	}
}

// Ack makes durable that the follower has everything up to seq, which must be the sequence of a batch that it was given.
// A sequence that is already acknowledged changes nothing.
func (f *Follower) Ack(ctx context.Context, seq uint64) error {
	j := f.j
	if f.name == "" {
		return errors.New("acknowledge: the follower has no name")
	}
	if f.ctx.Err() != nil {
		return ErrClosed
	}
	j.mu.Lock()
	had, given := f.c.seq, max(f.c.delivered, f.had)
	j.mu.Unlock()
	if seq <= had {
		return nil
	}
	if seq > given {
		return fmt.Errorf("follower %s acknowledges %d, but was given %d", f.name, seq, given)
	}
	value, err := json.Marshal(cursorValue{1, seq})
	if err != nil {
		return err
	}
	if err := j.put(ctx, f.name, value); err != nil {
		return fmt.Errorf("keep cursor %d of follower %s: %w", seq, f.name, err)
	}
	j.mu.Lock()
	f.c.seq = max(f.c.seq, seq)
	j.mu.Unlock()
	return nil
}

// put keeps a cursor. While the server is away it waits for it, a while.
func (j *Journal) put(ctx context.Context, name string, value []byte) error {
	ctx, cancel := context.WithTimeout(ctx, stallTime)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		try, cancel := j.try(ctx)
		_, err := j.kv.Put(try, name, value)
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-j.ctx.Done():
			return ErrClosed
		case <-time.After(wait):
		}
	}
}

// Close ends following; a call of Next returns [ErrClosed]. The cursor stays. It may be called more than once.
func (f *Follower) Close() {
	f.cancel()
	f.j.mu.Lock()
	f.c.active = false
	f.j.mu.Unlock()
}

// RemoveFollower forgets a follower that will not come back, so that nothing is kept for it any more.
func (j *Journal) RemoveFollower(ctx context.Context, name string) error {
	j.mu.Lock()
	c := j.followers[name]
	j.mu.Unlock()
	if c == nil {
		return fmt.Errorf("there is no follower %q", name)
	}
	if c.active {
		return fmt.Errorf("remove follower %s: %w", name, ErrFollowed)
	}
	if err := j.kv.Purge(ctx, name); err != nil {
		return fmt.Errorf("remove follower %s: %w", name, err)
	}
	j.mu.Lock()
	delete(j.followers, name)
	j.mu.Unlock()
	return j.writeState()
}

// floor is the sequence that all followers have acknowledged.
func (j *Journal) floor() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	floor := j.last
	for _, c := range j.followers {
		floor = min(floor, c.seq)
	}
	return floor
}

func (j *Journal) followerNames() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Sorted(maps.Keys(j.followers))
}

// entry is what the pieces of an entry make.
type entry struct {
	first    uint64 // sequence of its first piece
	accepted time.Time
	writer   [16]byte
	number   uint64
	body     []byte
}

var errNoBeginning = fmt.Errorf("%w: the beginning of an entry is missing", errDamaged)

// assembler puts entries together of pieces that follow each other.
type assembler struct {
	first   uint64 // sequence of the first piece; 0 when there is none
	head    pieceInfo
	body    []byte
	dropped bool // the last call found that an entry was never finished
	filler  bool // the last call was given a piece that is none
}

func (a *assembler) reset()      { *a = assembler{} }
func (a *assembler) empty() bool { return a.first == 0 }

// add takes the next piece. The entry is there with its last one. After an error nothing is left of the entry.
func (a *assembler) add(seq uint64, msg []byte) (*entry, error) {
	a.dropped, a.filler = false, false
	p, body, err := parsePiece(msg)
	if err != nil {
		if !errors.Is(err, ErrVersion) {
			a.reset()
		}
		return nil, err
	}
	same := a.first != 0 && p.writer == a.head.writer && p.number == a.head.number && p.of == a.head.of && p.index == a.head.index+1
	if !same {
		dropped := a.first != 0
		a.reset()
		a.dropped = dropped
		if a.filler = p.of == 0; a.filler {
			return nil, nil
		}
		if p.index != 0 {
			return nil, errNoBeginning
		}
		a.first = seq
	}
	a.head = p
	if p.of == 1 {
		a.body = body
	} else {
		a.body = append(a.body, body...)
	}
	if p.index+1 < p.of {
		return nil, nil
	}
	e := &entry{first: a.first, accepted: p.accepted, writer: p.writer, number: p.number, body: a.body}
	dropped := a.dropped
	a.reset()
	a.dropped = dropped
	return e, nil
}
