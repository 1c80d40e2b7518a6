// Package ledger counts what was listed, read, kept and failed, and checks that the counts agree.
//
// The two identities of a [Report] only mean something because their sides are counted by different hands. Whoever lists
// calls [Ledger.Listed] for each object, whoever reads settles it with [Ledger.Skip] or with [Ledger.Object] and
// [Object.Close]. The decoder's own count of the records that it met goes to [Tally.Seen], and what became of each record
// to [Tally.Record] or [Tally.Reject]. An object or a record that gets lost on the way leaves a report that does not balance.
//
// The format of reports is described in docs/formats/ledger.md.
package ledger

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"spoor/internal/source"
)

// Outcome is what became of a record.
type Outcome uint8

// The outcomes. Rejected records go to [Tally.Reject].
const (
	Kept Outcome = iota
	Duplicate
	Filtered
	Other
	rejected
	outcomes
)

// Bounds of what a ledger holds, whatever its input.
const (
	CellCap   = 250_000 // cells; records and objects of further ones are counted in one cell named [Rest]
	ReasonCap = 1_000   // different reasons, of each kind; further ones are counted as [Rest]
)

// Rest names the account and Region of the cell, and the reason, that count what is beyond a bound.
const Rest = "(other)"

const (
	idCap     = 64      // bytes of an account or Region
	reasonCap = 300     // bytes of a reason
	nameCap   = 4 << 10 // bytes of an object's name
	freeCap   = 64      // maps kept for further tallies
	localCap  = 1 << 12 // cells of a tally before they are added up
)

// Ledger is fed while logs are read. It is safe for concurrent use.
type Ledger struct {
	mu       sync.Mutex
	objects  Objects
	records  Records // Seen as the decoder counts; the rest is in the cells
	bytes    Bytes
	cells    map[cellKey]*cell
	cellCap  int
	skipped  reasons
	notes    reasons
	pruned   reasons
	failures bounded[Failure]
	rejects  bounded[Reject]
	rejected int64 // calls of Reject
	open     map[*Object]struct{}
	misuse   reasons
	free     []map[cellKey]*tallyCell // of tallies that are done
}

// New returns an empty ledger.
func New() *Ledger {
	return &Ledger{
		cells: map[cellKey]*cell{}, cellCap: CellCap, open: map[*Object]struct{}{},
		failures: bounded[Failure]{limit: FailureCap, compare: compareFailures},
		rejects:  bounded[Reject]{limit: RejectCap, compare: compareRejects},
	}
}

type cellKey struct {
	account, region string
	hour            int64 // hours since 1970, 0 for not known
}

type cell struct {
	objects Objects
	records [outcomes]int64
}

// Listed counts an object that a source listed, or a member that an archive turned out to hold, before anything else is
// done with it.
func (l *Ledger) Listed(obj source.Object) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects.Listed++
	l.cellOf(obj.Place).objects.Listed++
}

// Skip settles an object that is not read, for a reason.
func (l *Ledger) Skip(obj source.Object, reason string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.objects.Skipped++
	l.cellOf(obj.Place).objects.Skipped++
	l.skipped.add(reason, 1)
	if obj.Records > 0 {
		l.pruned.add(reason, obj.Records)
	}
}

// Object begins an object that is read; its Close settles it.
func (l *Ledger) Object(obj source.Object) *Object {
	o := &Object{l: l, name: clip(obj.Name, nameCap), place: obj.Place}
	o.place.Account, o.place.Region = strings.Clone(o.place.Account), strings.Clone(o.place.Region)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[o] = struct{}{}
	if obj.Archive == "" && obj.Size > 0 {
		l.bytes.Stored += obj.Size
	}
	o.Tally = l.tally(o)
	return o
}

// Object is one object being read. Its own Tally is for one goroutine; others that decode parts of it take one each with
// [Object.Part]. Close is called once, when everything of it has been counted.
type Object struct {
	*Tally
	l     *Ledger
	name  string
	place source.Place
	kept  int64 // in the tallies that are done; guarded by l.mu
	parts int   // not done; guarded by l.mu
}

// Part returns a further tally of the object, for one goroutine. It must be Done before the object is closed.
func (o *Object) Part() *Tally {
	o.l.mu.Lock()
	defer o.l.mu.Unlock()
	o.parts++
	return o.l.tally(o)
}

// Close settles the object: as read when err is nil, and as failed otherwise, with what was counted of it.
func (o *Object) Close(err error) {
	l := o.l
	l.mu.Lock()
	defer l.mu.Unlock()
	if o.obj != o {
		l.misuse.add("object closed twice: "+o.name, 1)
		return
	}
	t := o.Tally
	o.Tally = &Tally{l: l} // counts as misuse
	l.settle(t)
	delete(l.open, o)
	if o.parts != 0 {
		l.misuse.add(fmt.Sprintf("object closed while %d parts of it were counted: %s", o.parts, o.name), 1)
	}
	c := l.cellOf(o.place)
	if err == nil {
		l.objects.Read++
		c.objects.Read++
		return
	}
	l.objects.Failed++
	c.objects.Failed++
	l.failures.add(Failure{Object: o.name, Reason: clip(err.Error(), reasonCap), Kept: o.kept})
}

// Tally counts the records of an object, or of a part of it, for one goroutine. Strings given to it may point into
// buffers that are used again.
type Tally struct {
	l        *Ledger
	obj      *Object // nil when done
	last     *tallyCell
	recent   [16]*tallyCell // by recentSlot, for input in which accounts and Regions take turns
	cells    map[cellKey]*tallyCell
	seen     int64
	expanded int64
	notes    reasons
	pruned   reasons
}

// tallyCell is a cell of a tally.
type tallyCell struct {
	account, region string
	from            int64 // Unix nanoseconds at which the hour begins
	records         [outcomes]int64
}

const hour = int64(time.Hour)

// tally returns a tally for o; l.mu is held.
func (l *Ledger) tally(o *Object) *Tally {
	if n := len(l.free); n > 0 {
		cells := l.free[n-1]
		l.free = l.free[:n-1]
		return &Tally{l: l, obj: o, cells: cells}
	}
	return &Tally{l: l, obj: o, cells: map[cellKey]*tallyCell{}}
}

// Record counts a record by recipient account, Region and event time (Unix nanoseconds, 0 for not known).
func (t *Tally) Record(account, region string, at int64, out Outcome) {
	c := t.last
	if c == nil || uint64(at-c.from) >= uint64(hour) || c.account != account || c.region != region {
		c = t.find(account, region, at)
	}
	if out >= rejected {
		t.l.misused("record with an outcome that does not exist")
		return
	}
	c.records[out]++
}

// find returns the cell of a record and remembers it.
func (t *Tally) find(account, region string, at int64) *tallyCell {
	h := at / hour
	if at%hour < 0 {
		h--
	}
	slot := &t.recent[recentSlot(account, region, h)]
	if c := *slot; c != nil && c.from == h*hour && c.account == account && c.region == region {
		t.last = c
		return c
	}
	key := cellKey{account, region, h}
	c := t.cells[key]
	if c == nil {
		if t.obj == nil {
			t.l.misused("record counted after its object was closed")
			return &tallyCell{}
		}
		if len(t.cells) >= localCap {
			t.l.mu.Lock()
			t.l.flush(t)
			t.l.mu.Unlock()
		}
		key.account, key.region = strings.Clone(account), strings.Clone(region)
		c = &tallyCell{account: key.account, region: key.region, from: h * hour}
		t.cells[key] = c
	}
	*slot, t.last = c, c
	return c
}

// recentSlot mixes what differs between cells: the last digits of accounts, the letter and digit at the end of Regions,
// the hour.
func recentSlot(account, region string, h int64) uint {
	x := uint(h)
	if n := len(account); n >= 2 {
		x += uint(account[n-1]) + 5*uint(account[n-2])
	}
	if n := len(region); n >= 3 {
		x += 4*uint(region[n-1]) + 7*uint(region[n-3])
	}
	return x % 16
}

// Seen adds to the number of records that the decoder met, rejected ones included. It is counted where records are split
// from one another, independently of what becomes of them.
func (t *Tally) Seen(n int64) { t.seen += n }

// Expanded adds to the bytes that came out of decompression.
func (t *Tally) Expanded(n int64) { t.expanded += n }

// Note counts something odd about what was read all the same.
func (t *Tally) Note(reason string) { t.notes.add(reason, 1) }

// Pruned counts records of the object that were not read, for a reason.
func (t *Tally) Pruned(reason string, n int64) { t.pruned.add(reason, n) }

// Reject counts a record, or a stretch of a file, that could not be read: length bytes from offset in the decompressed
// object. It is placed by the object's key, as it tells nothing of its own.
func (t *Tally) Reject(offset, length int64, reason string) {
	l := t.l
	if t.obj == nil {
		l.misused("record rejected after its object was closed")
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rejected++
	l.cellOf(t.obj.place).records[rejected]++
	l.rejects.add(Reject{Object: t.obj.name, Offset: offset, Length: length, Reason: clip(reason, reasonCap)})
}

// Done ends a part.
func (t *Tally) Done() {
	l := t.l
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case t.obj == nil:
		l.misuse.add("part ended twice", 1)
	case t.obj.Tally == t:
		l.misuse.add("object ended as a part: "+t.obj.name, 1)
	default:
		t.obj.parts--
		l.settle(t)
	}
}

// settle adds up a tally and lets it be used again; l.mu is held.
func (l *Ledger) settle(t *Tally) {
	l.flush(t)
	l.records.Seen += t.seen
	l.bytes.Expanded += t.expanded
	for reason, n := range t.notes.n {
		l.notes.add(reason, n)
	}
	for reason, n := range t.pruned.n {
		l.pruned.add(reason, n)
	}
	if len(l.free) < freeCap { // only the map is used again: a tally kept by mistake must not count for another object
		l.free = append(l.free, t.cells)
	}
	*t = Tally{l: l}
}

// flush adds the cells of a tally to the ledger's and empties them; l.mu is held.
func (l *Ledger) flush(t *Tally) {
	for key, c := range t.cells {
		to := l.cell(key)
		for out, n := range c.records {
			to.records[out] += n
		}
		t.obj.kept += c.records[Kept]
	}
	clear(t.cells)
	t.last, t.recent = nil, [16]*tallyCell{}
}

var restKey = cellKey{account: Rest, region: Rest}

// cellOf returns the cell of an object; l.mu is held.
func (l *Ledger) cellOf(p source.Place) *cell {
	key := cellKey{account: p.Account, region: p.Region}
	if !p.Delivered.IsZero() {
		key.hour = p.Delivered.Unix() / 3600
	}
	return l.cell(key)
}

// cell returns a cell; l.mu is held.
func (l *Ledger) cell(key cellKey) *cell {
	if c := l.cells[key]; c != nil {
		return c
	}
	key.account, key.region = clip(key.account, idCap), clip(key.region, idCap)
	if c := l.cells[key]; c != nil {
		return c
	}
	if len(l.cells) >= l.cellCap {
		key = restKey
		if c := l.cells[key]; c != nil {
			return c
		}
	}
	c := &cell{}
	l.cells[key] = c
	return c
}

func (l *Ledger) misused(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.misuse.add(what, 1)
}

// clip makes text of hostile origin short and valid, and independent of the buffer that it points into.
func clip(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	return strings.Clone(strings.ToValidUTF8(s, "\uFFFD"))
}

// reasons counts reasons.
type reasons struct {
	n map[string]int64
}

func (r *reasons) add(reason string, n int64) {
	if _, ok := r.n[reason]; !ok {
		if r.n == nil {
			r.n = map[string]int64{}
		}
		if reason = clip(reason, reasonCap); len(r.n) >= ReasonCap {
			reason = Rest
		}
	}
	r.n[reason] += n
}
