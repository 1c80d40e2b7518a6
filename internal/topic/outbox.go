package topic

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"spoor/internal/durable"
	"spoor/internal/refusal"
)

const (
	logSuffix   = ".log"
	seenSuffix  = ".seen"
	segmentSize = 4 << 20 // bytes
	// maxLine bounds a line: a message as JSON, whose escapes can make six bytes of one.
	maxLine = 8 << 20
	// maxKeys bounds the names of messages that are remembered, of a topic.
	maxKeys = 1 << 20
)

// entry is a line of the outbox: a message, or the withdrawal of one.
type entry struct {
	Seq        uint64               `json:"seq"`
	Withdraw   uint64               `json:"withdraw,omitempty"` // this message is not to be delivered any more
	ID         string               `json:"id,omitempty"`
	Time       time.Time            `json:"time,omitzero"`
	Subject    string               `json:"subject,omitempty"`
	Body       string               `json:"body,omitempty"`
	Bodies     map[string]string    `json:"bodies,omitempty"` // by protocol, instead of Body
	Attributes map[string]Attribute `json:"attributes,omitempty"`
	Group      string               `json:"group,omitempty"`
	Dedup      string               `json:"dedup,omitempty"` // deduplication id that queues get
	Key        string               `json:"key,omitempty"`   // hash of what names the message
	Until      time.Time            `json:"until,omitzero"`  // the name counts
}

// place is where a line begins.
type place struct {
	Segment uint64 `json:"segment"` // the number of its first line
	Offset  int64  `json:"offset"`
}

// segment is a file of the outbox.
type segment struct {
	first uint64
	size  int64 // that is synced
}

// seen is a message whose name counts.
type seen struct {
	seq   uint64
	id    uuid.UUID
	until time.Time
}

type key [sha256.Size / 2]byte

func keyOf(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:len(key{})])
}

// outbox is the log of a topic: lines in files, which are synced before anybody learns of them. One caller at a time writes what
// all who wait have brought, with one sync.
type outbox struct {
	dir  string
	most int64 // when a segment is followed by a new one, in bytes
	at   func(string)
	log  *slog.Logger

	turn  sync.Mutex // guards queue and busy
	queue []*pending
	busy  bool

	// Whoever writes owns these.
	f      *os.File
	broken bool // the last segment is not to be written to
	next   uint64
	keys   map[key]seen
	stop   bool

	mu        sync.Mutex // guards what follows, of which readers get copies
	segments  []segment
	withdrawn map[uint64]bool
	held      map[uint64]bool // what is not to be delivered yet
	last      uint64          // the number that the next line gets
}

// pending is a request to append.
type pending struct {
	entries []*entry
	now     time.Time
	ids     []Receipt
	err     error
	done    chan bool // true: write for yourself and those behind you
}

func segmentPath(dir string, first uint64, suffix string) string {
	return filepath.Join(dir, fmt.Sprintf("%020d", first)+suffix)
}

// openOutbox opens the log in a folder. What a crash left of a line at its end is cut off. least is the least number that the
// next line can have, most when a segment is followed by a new one.
func openOutbox(dir string, least uint64, most int64, now time.Time, at func(string), log *slog.Logger) (*outbox, error) {
	b := &outbox{dir: dir, most: most, at: at, log: log, keys: map[key]seen{}, withdrawn: map[uint64]bool{}, held: map[uint64]bool{}, next: max(least, 1)}
	fail := func(err error) (*outbox, error) { return nil, fmt.Errorf("open the outbox %s: %w", dir, err) }
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	if err := durable.RemoveParts(dir); err != nil {
		return fail(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fail(err)
	}
	for _, e := range entries {
		name, isSeen := strings.CutSuffix(e.Name(), seenSuffix)
		name, isLog := strings.CutSuffix(name, logSuffix)
		first, err := strconv.ParseUint(name, 10, 64)
		if err != nil || len(name) != 20 || isSeen == isLog {
			continue
		}
		if isLog {
			b.segments = append(b.segments, segment{first: first})
		} else if err := b.scan(segmentPath(dir, first, seenSuffix), now, nil, math.MaxUint64); err != nil {
			return fail(err)
		}
	}
	slices.SortFunc(b.segments, func(x, y segment) int { return cmp.Compare(x.first, y.first) })
	for i := range b.segments {
		g := &b.segments[i]
		b.next = max(b.next, g.first)
		path := segmentPath(dir, g.first, logSuffix)
		until := uint64(math.MaxUint64)
		if i < len(b.segments)-1 {
			until = b.segments[i+1].first
		}
		if err := b.scan(path, now, g, until); err != nil {
			return fail(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			return fail(err)
		}
		if info.Size() > g.size && i == len(b.segments)-1 {
			if err := os.Truncate(path, g.size); err != nil {
				return fail(err)
			}
		}
	}
	b.last = b.next
	return b, nil
}

// scan reads a file from its beginning, for what has to be known of it. g gets the length of its whole lines, up to the first one
// with the number until: those behind it are of a write that failed, and were written again.
func (b *outbox) scan(path string, now time.Time, g *segment, until uint64) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // was only read
	r := bufio.NewReaderSize(f, 64<<10)
	var offset int64
	for {
		line, err := readLine(r)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if line.entry != nil && line.entry.Seq >= until {
			break
		}
		offset += int64(len(line.raw))
		if line.entry == nil {
			if g != nil { // readers meet it again, and count it
				b.log.Error("a line of an outbox is damaged", slog.String("file", path), slog.Int64("offset", offset-int64(len(line.raw))))
			}
			continue
		}
		e := line.entry
		b.next = max(b.next, e.Seq+1)
		if e.Withdraw != 0 {
			b.withdraw(e.Withdraw)
			continue
		}
		b.remember(e, now)
	}
	if g != nil {
		g.size = offset
	}
	return nil
}

// remember notes the name of a message.
func (b *outbox) remember(e *entry, now time.Time) {
	if e.Key == "" || !now.Before(e.Until) {
		return
	}
	raw, err := hex.DecodeString(e.Key)
	if err != nil || len(raw) != len(key{}) {
		return
	}
	id, _ := uuid.Parse(e.ID)
	b.keys[key(raw)] = seen{seq: e.Seq, id: id, until: e.Until}
}

// withdraw notes that a message is not to be delivered, and forgets its name.
func (b *outbox) withdraw(seq uint64) {
	b.mu.Lock()
	b.withdrawn[seq] = true
	b.mu.Unlock()
	for k, s := range b.keys {
		if s.seq == seq {
			delete(b.keys, k)
		}
	}
}

// line is a line of a file; entry is nil for one that is damaged.
type line struct {
	raw   []byte
	entry *entry
}

// readLine reads a line with its end. Of what has none, the error is [io.EOF].
func readLine(r *bufio.Reader) (line, error) {
	raw, err := readRaw(r)
	if err != nil {
		return line{}, err
	}
	e, err := decodeLine(raw)
	if err != nil {
		e = nil
	}
	return line{raw, e}, nil
}

// readRaw reads the bytes of a line with its end.
func readRaw(r *bufio.Reader) ([]byte, error) {
	var raw []byte
	for {
		part, err := r.ReadSlice('\n')
		raw = append(raw, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return raw, err
		}
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// errLine says that a line is not what was written.
var errLine = errors.New("the line is damaged")

// decodeLine decodes a line of an outbox.
func decodeLine(raw []byte) (*entry, error) {
	body, err := checkLine(raw)
	if err != nil {
		return nil, err
	}
	e := &entry{}
	if err := strict(body, e); err != nil || e.Seq == 0 {
		return nil, errLine
	}
	return e, nil
}

func appendLine(b []byte, v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(body, castagnoli))
	return append(append(b, body...), '\n'), nil
}

// append makes entries durable: all or, with an error, none. Messages are held until they are released. Those whose name counts already get the receipt of the first.
func (b *outbox) append(now time.Time, entries ...*entry) ([]Receipt, error) {
	a := &pending{entries: entries, now: now, done: make(chan bool, 1)}
	b.turn.Lock()
	b.queue = append(b.queue, a)
	mine := !b.busy
	b.busy = true
	b.turn.Unlock()
	if !mine && !<-a.done {
		return a.ids, a.err
	}
	b.turn.Lock()
	batch := b.queue
	b.queue = nil
	b.turn.Unlock()
	b.write(batch)
	for _, other := range batch {
		if other != a {
			other.done <- false
		}
	}
	b.turn.Lock()
	if b.busy = len(b.queue) > 0; b.busy {
		b.queue[0].done <- true
	}
	b.turn.Unlock()
	return a.ids, a.err
}

// write writes what callers brought.
func (b *outbox) write(batch []*pending) {
	var text []byte
	fresh := map[key]seen{}
	var taken []*entry
	next := b.next
	var full error
	for _, a := range batch {
		for _, e := range a.entries {
			if e.Withdraw == 0 {
				if r, known := b.known(e, a.now, fresh); known {
					a.ids = append(a.ids, r)
					continue
				}
				if e.Key != "" && len(b.keys)+len(fresh) >= maxKeys && !b.forget(a.now) {
					full = refusal.Errorf(CodeThrottled, "Rate exceeded: the names of %d messages count already", maxKeys)
					break
				}
			}
			e.Seq = next
			next++
			var err error
			if text, err = appendLine(text, e); err != nil {
				full = fmt.Errorf("write a message: %w", err)
				break
			}
			taken = append(taken, e)
			if e.Key != "" {
				raw, _ := hex.DecodeString(e.Key)
				fresh[key(raw)] = seen{seq: e.Seq, id: uuid.MustParse(e.ID), until: e.Until}
			}
			a.ids = append(a.ids, Receipt{ID: e.ID, Sequence: sequenceNumber(e.Seq)})
		}
	}
	err := full
	if err == nil && len(text) > 0 {
		b.at("append")
		err = b.put(text)
		b.at("appended")
	}
	if err != nil {
		for _, a := range batch {
			a.ids, a.err = nil, err
		}
		return
	}
	b.next = next
	for k, s := range fresh {
		b.keys[k] = s
	}
	for _, e := range taken {
		if e.Withdraw != 0 {
			b.withdraw(e.Withdraw)
		}
	}
	if len(text) == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range taken {
		if e.Withdraw == 0 {
			b.held[e.Seq] = true
		}
	}
	b.segments[len(b.segments)-1].size += int64(len(text))
	b.last = next
}

// release lets messages be delivered.
func (b *outbox) release(entries []*entry) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range entries {
		delete(b.held, e.Seq)
	}
}

// holds reports whether a message is not to be delivered yet.
func (b *outbox) holds(seq uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held[seq]
}

// known finds the receipt of a message whose name counts.
func (b *outbox) known(e *entry, now time.Time, fresh map[key]seen) (Receipt, bool) {
	if e.Key == "" {
		return Receipt{}, false
	}
	raw, _ := hex.DecodeString(e.Key)
	s, ok := fresh[key(raw)]
	if !ok {
		if s, ok = b.keys[key(raw)]; ok && !now.Before(s.until) {
			delete(b.keys, key(raw))
			ok = false
		}
	}
	return Receipt{ID: s.id.String(), Sequence: sequenceNumber(s.seq), Duplicate: true}, ok
}

// forget forgets names that do not count any more; false when all do.
func (b *outbox) forget(now time.Time) bool {
	for k, s := range b.keys {
		if !now.Before(s.until) {
			delete(b.keys, k)
		}
	}
	return len(b.keys) < maxKeys
}

func sequenceNumber(seq uint64) string { return fmt.Sprintf("1%019d", seq) }

// put appends text to the last segment and syncs it. After an error nothing of it counts.
func (b *outbox) put(text []byte) (err error) {
	if b.stop {
		return ErrClosed
	}
	b.mu.Lock()
	n := len(b.segments)
	var last segment
	if n > 0 {
		last = b.segments[n-1]
	}
	b.mu.Unlock()
	if n == 0 || b.broken || last.size >= b.most && last.first < b.next {
		if b.f != nil {
			_ = b.f.Close() // all of it that counts is synced
			b.f = nil
		}
		last = segment{first: b.next}
		if err := b.begin(last, n > 0); err != nil {
			return err
		}
	}
	if b.f == nil {
		if b.f, err = os.OpenFile(segmentPath(b.dir, last.first, logSuffix), os.O_WRONLY, 0); err != nil {
			return fmt.Errorf("open an outbox: %w", err)
		}
	}
	_, err = b.f.WriteAt(text, last.size)
	b.at("written")
	if err == nil {
		err = b.f.Sync()
	}
	if err != nil {
		err = fmt.Errorf("write an outbox: %w", err)
		// What a failed sync left on the disk nobody knows: the segment ends here, whether it can be cut or not.
		err = errors.Join(err, b.f.Truncate(last.size), b.f.Close())
		b.f, b.broken = nil, true
		return err
	}
	return nil
}

// begin makes a new segment. One of the same name is one without lines, whose write failed.
func (b *outbox) begin(g segment, follows bool) error {
	path := segmentPath(b.dir, g.first, logSuffix)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("begin a segment of an outbox: %w", err)
	}
	if err := errors.Join(f.Sync(), durable.SyncDir(b.dir)); err != nil {
		return fmt.Errorf("begin a segment of an outbox: %w", errors.Join(err, f.Close()))
	}
	b.at("begun")
	b.f, b.broken = f, false
	b.mu.Lock()
	defer b.mu.Unlock()
	if follows && b.segments[len(b.segments)-1].first == g.first {
		b.segments[len(b.segments)-1] = g
		return nil
	}
	b.segments = append(b.segments, g)
	return nil
}

// end is the number that the next line gets.
func (b *outbox) end() uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last
}

// size is how large the segments are together.
func (b *outbox) size() (n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.segments {
		n += g.size
	}
	return n
}

// segment finds the segment of a place, or else the next one; false behind the last.
func (b *outbox) segment(at place) (g segment, is, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, is := slices.BinarySearchFunc(b.segments, at.Segment, func(g segment, n uint64) int { return cmp.Compare(g.first, n) })
	if i == len(b.segments) {
		return segment{}, false, false
	}
	return b.segments[i], is, true
}

// gone reports whether a message was withdrawn.
func (b *outbox) gone(seq uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.withdrawn[seq]
}

// find gives the place of the first line with this number or a greater one.
func (b *outbox) find(seq uint64) place {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, is := slices.BinarySearchFunc(b.segments, seq, func(g segment, n uint64) int { return cmp.Compare(g.first, n) })
	if !is && i > 0 {
		i--
	}
	if i == len(b.segments) {
		return place{Segment: seq}
	}
	return place{Segment: b.segments[i].first}
}

// reader reads lines in order. It belongs to one goroutine.
type reader struct {
	b    *outbox
	f    *os.File
	open uint64 // the segment that f is
	at   place  // of the next line
}

// next gives the next line with its place; ok is false at the end. A line that is damaged has no entry.
func (r *reader) next() (l line, at place, ok bool, err error) {
	for {
		g, is, there := r.b.segment(r.at)
		switch {
		case !there:
			return l, at, false, nil
		case !is: // the segment went, with nothing in it for this one
			r.at = place{Segment: g.first}
			continue
		case r.at.Offset >= g.size:
			following, _, more := r.b.segment(place{Segment: g.first + 1})
			if !more {
				return l, at, false, nil
			}
			r.at = place{Segment: following.first}
			continue
		}
		if r.f == nil || r.open != g.first {
			r.close()
			if r.f, err = os.Open(segmentPath(r.b.dir, g.first, logSuffix)); err != nil {
				r.f = nil
				if _, still, _ := r.b.segment(r.at); errors.Is(err, fs.ErrNotExist) && !still {
					continue
				}
				return l, at, false, fmt.Errorf("read an outbox: %w", err)
			}
			r.open = g.first
		}
		// No further than what is synced: whoever writes may be about to take back what is behind it.
		l, err := readLine(bufio.NewReader(io.NewSectionReader(r.f, r.at.Offset, g.size-r.at.Offset)))
		if errors.Is(err, io.EOF) { // bytes without an end, where all have one
			l, err = line{raw: make([]byte, g.size-r.at.Offset)}, nil
		}
		if err != nil {
			return l, at, false, fmt.Errorf("read an outbox: %w", err)
		}
		at = r.at
		r.at.Offset += int64(len(l.raw))
		return l, at, true, nil
	}
}

func (r *reader) close() {
	if r.f != nil {
		_ = r.f.Close() // was only read
		r.f = nil
	}
}

// read reads one line.
func (b *outbox) read(at place) (*entry, error) {
	r := &reader{b: b, at: at}
	defer r.close()
	l, got, ok, err := r.next()
	switch {
	case err != nil:
		return nil, err
	case !ok || got != at || l.entry == nil:
		return nil, errLine
	}
	return l.entry, nil
}

// clean removes the segments that needed does not keep. Names of theirs that still count are kept in a small file each.
func (b *outbox) clean(now time.Time, needed func(g segment, last uint64) bool) error {
	b.mu.Lock()
	segments := slices.Clone(b.segments)
	b.mu.Unlock()
	for i, g := range segments {
		if i == len(segments)-1 || needed(g, segments[i+1].first-1) {
			continue
		}
		if err := b.strip(g, now); err != nil {
			return err
		}
		b.mu.Lock()
		b.segments = slices.DeleteFunc(b.segments, func(o segment) bool { return o.first == g.first })
		for seq := range b.withdrawn {
			if seq >= g.first && seq < segments[i+1].first {
				delete(b.withdrawn, seq)
			}
		}
		b.mu.Unlock()
		b.at("strip")
		if err := os.Remove(segmentPath(b.dir, g.first, logSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove a segment of an outbox: %w", err)
		}
		b.at("stripped")
	}
	return b.cleanSeen(now)
}

// strip writes the names of a segment that still count.
func (b *outbox) strip(g segment, now time.Time) error {
	var text []byte
	r := &reader{b: b, at: place{Segment: g.first}}
	defer r.close()
	for r.at.Offset < g.size {
		l, at, ok, err := r.next()
		if err != nil || !ok || at.Segment != g.first {
			return errors.Join(errors.New("strip a segment of an outbox: it ends too early"), err)
		}
		if e := l.entry; e != nil && e.Key != "" && now.Before(e.Until) && !b.gone(e.Seq) {
			if text, err = appendLine(text, entry{Seq: e.Seq, ID: e.ID, Key: e.Key, Until: e.Until}); err != nil {
				return fmt.Errorf("strip a segment of an outbox: %w", err)
			}
		}
	}
	if len(text) == 0 {
		return nil
	}
	if err := durable.WriteFile(segmentPath(b.dir, g.first, seenSuffix), text, 0o600); err != nil {
		return fmt.Errorf("strip a segment of an outbox: %w", err)
	}
	return nil
}

// cleanSeen removes files of names of which none counts any more.
func (b *outbox) cleanSeen(now time.Time) error {
	files, err := filepath.Glob(filepath.Join(b.dir, "*"+seenSuffix))
	if err != nil {
		return err
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("read names of an outbox: %w", err)
		}
		live := false
		for raw := range bytes.Lines(text) {
			e, err := decodeLine(raw)
			live = live || err == nil && now.Before(e.Until)
		}
		if !live {
			if err := os.Remove(path); err != nil {
				return fmt.Errorf("remove names of an outbox: %w", err)
			}
		}
	}
	return nil
}

// close ends the log. Nobody appends any more.
func (b *outbox) close() error {
	b.turn.Lock()
	defer b.turn.Unlock()
	b.stop = true
	if b.f == nil {
		return nil
	}
	err := b.f.Close()
	b.f = nil
	return err
}
