// Package dedup remembers which events were seen, so that an event that is offered twice counts once: by the second
// trail that records it, by a queue that delivers again, by a copy of a file.
//
// An event is known by its eventID. Two records with one eventID that differ in eventTime, eventSource or eventName are
// not the same event: both count, and the conflict is told. Records without an eventID are known by their bytes.
//
// The set is exact. Its newest part lies in memory; beyond the bound it moves to sorted temporary files, behind Bloom
// filters, so memory grows by about 1.4 bytes an event. What earlier runs saw is known to an [Index] of .ids files.
package dedup

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"spoor/internal/event"
)

// Verdict is what the set knows of an event that is offered.
type Verdict uint8

// The verdicts of [Set.Add].
const (
	First     Verdict = iota // not seen before; it is remembered now
	Duplicate                // seen before
	Conflict                 // another event with this eventID was seen; this one is remembered now too
)

// Options of a [Set].
type Options struct {
	// Dir is where temporary files go, made when needed; the system's temporary folder when empty.
	Dir string
	// InMemory is how many events are kept in memory, 3 million when 0 (64 MB).
	InMemory int
	// Earlier, when set, is asked about every event that the set does not have, by key and eventTime in nanoseconds:
	// [Index.Find] of what was seen before. It is called concurrently.
	Earlier func(k Key, time int64) (Verdict, error)
}

const shards = 64

// Set remembers events. It is safe for concurrent use. Close removes its files.
type Set struct {
	opts   Options
	shards [shards]shard
	dirMu  sync.Mutex
	dir    string
}

// New returns an empty set.
func New(opts Options) *Set {
	if opts.InMemory <= 0 {
		opts.InMemory = shards * 49152
	}
	return &Set{opts: opts}
}

// KeyOf returns the key of an event.
func KeyOf(e *event.Event) Key {
	id := e.ID()
	if id == "" {
		return hashed(e.Raw)
	}
	k := KeyOfID(id)
	k.essence = essence(e.Name(), e.Source(), e.Time)
	return k
}

// KeyOfID returns a key by which [IDs.Find] tells whether there is an event with an eventID: its answer is not First.
func KeyOfID(id string) Key {
	if hi, lo, ok := event.ParseGUID(id); ok {
		return spread(hi, lo)
	}
	return hashed([]byte(id))
}

// essence hashes what must be the same in two records of one event.
func essence(name, source string, time int64) uint32 {
	h := uint64(time)*hashFactor ^ uint64(len(name))
	for _, s := range [...]string{name, source} {
		for len(s) >= 8 {
			w := binary.LittleEndian.Uint64([]byte(s[:8]))
			h = (h ^ w) * hashFactor
			h ^= h >> 32
			s = s[8:]
		}
		w := uint64(len(s))
		for i := range len(s) {
			w = w<<8 | uint64(s[i])
		}
		h = (h ^ w) * hashFactor
		h ^= h >> 32
	}
	return uint32(h * 0xff51afd7ed558ccd >> 32)
}

const hashFactor = 0x9e3779b97f4a7c15

// Ahead says that k will be offered soon. Looking for a key costs little but waiting for memory, and other work can be
// done meanwhile.
func (s *Set) Ahead(k Key) {
	if t := s.shards[k.hi>>58].near.Load(); t != nil {
		prefetch(&(*t)[k.hi&uint64(len(*t)-1)])
	}
}

// Add offers an event by its key and eventTime in nanoseconds.
func (s *Set) Add(k Key, time int64) (Verdict, error) {
	sh := &s.shards[k.hi>>58]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	v := sh.find(k)
	if v == Duplicate {
		return v, nil
	}
	for _, r := range sh.runs {
		rv, err := r.find(k)
		if err != nil {
			return First, err
		}
		if rv == Duplicate {
			return rv, nil
		}
		v = max(v, rv)
	}
	if s.opts.Earlier != nil {
		ev, err := s.opts.Earlier(k, time)
		if err != nil {
			return First, err
		}
		if ev == Duplicate {
			return ev, nil
		}
		v = max(v, ev)
	}
	most := max(1, s.opts.InMemory/shards)
	sh.insert(k, most)
	if sh.n >= most {
		if err := s.spill(sh); err != nil {
			return v, err
		}
	}
	return v, nil
}

// Reset forgets all events, but keeps the memory. Nobody may add meanwhile.
func (s *Set) Reset() error {
	var errs []error
	for i := range s.shards {
		sh := &s.shards[i]
		for _, r := range sh.runs {
			errs = append(errs, r.file.Close(), os.Remove(r.file.Name()))
		}
		sh.runs, sh.n = nil, 0
		clear(sh.table)
	}
	return errors.Join(errs...)
}

// Close removes the temporary files.
func (s *Set) Close() error {
	var errs []error
	for i := range s.shards {
		for _, r := range s.shards[i].runs {
			errs = append(errs, r.file.Close())
		}
		s.shards[i].runs = nil
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// Key is by what an event is known: 96 bits that mix all of its eventID, and a hash of what else makes the event. It is
// the same in every process.
type Key struct {
	hi      uint64 // not 0
	lo      uint32
	essence uint32
}

// spread makes made-up GUIDs with many equal digits use the whole table.
func spread(hi, lo uint64) Key {
	hi ^= lo * 0x9e3779b97f4a7c15
	hi *= 0xff51afd7ed558ccd
	hi ^= hi >> 32
	return Key{hi: max(hi, 1), lo: uint32(lo ^ lo>>32)}
}

func hashed(b []byte) Key {
	sum := sha256.Sum256(b)
	return spread(binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:]))
}

// shard is an open-addressing table and the runs that were spilled from it.
type shard struct {
	mu    sync.Mutex // guards all
	table []Key      // those with hi 0 are free
	n     int
	runs  []*run
	extra []Key                 // unused between spills; scratch for sorting
	near  atomic.Pointer[[]Key] // the table, for who does not hold mu
	_     [152]byte             // keeps shards apart in the cache
}

func (s *shard) find(k Key) Verdict {
	if len(s.table) == 0 {
		return First
	}
	v := First
	mask := uint64(len(s.table) - 1)
	for i := k.hi & mask; ; i = (i + 1) & mask {
		switch e := &s.table[i&mask]; {
		case e.hi == 0:
			return v
		case e.hi == k.hi && e.lo == k.lo:
			if e.essence == k.essence {
				return Duplicate
			}
			v = Conflict
		}
	}
}

// insert adds a key to a table that will hold most keys at last.
func (s *shard) insert(k Key, most int) {
	if s.n*4 >= len(s.table)*3 {
		s.grow(most)
	}
	s.put(k)
}

func (s *shard) put(k Key) {
	mask := uint64(len(s.table) - 1)
	i := k.hi & mask
	for s.table[i&mask].hi != 0 {
		i = (i + 1) & mask
	}
	s.table[i] = k
	s.n++
}

// pageKeys is how many keys a page of memory holds.
const pageKeys = 4096 / 16

// grow makes the table larger, not beyond what it needs for most keys.
func (s *shard) grow(most int) {
	old := s.table
	size := max(1024, 2*len(old))
	if last := 1 << bits.Len(uint(most*4/3)); len(old) < last {
		size = min(size, last)
	}
	table := make([]Key, size)
	// Each page is written before it is read: a page that is read first costs a second fault when it is written, and an
	// interrupt of the other processors.
	for i := 0; i < size; i += pageKeys {
		table[i] = Key{}
	}
	s.table, s.n = table, 0
	s.near.Store(&table)
	for _, k := range old {
		if k.hi != 0 {
			s.put(k)
		}
	}
}

// spill moves the table to a sorted file.
func (s *Set) spill(sh *shard) error {
	dir, err := s.tempDir()
	if err != nil {
		return err
	}
	keys := sh.extra[:0]
	for _, e := range sh.table {
		if e.hi != 0 {
			keys = append(keys, e)
		}
	}
	slices.SortFunc(keys, compare)
	r, err := writeRun(dir, keys)
	if err != nil {
		return fmt.Errorf("move event ids out of memory: %w", err)
	}
	sh.runs = append(sh.runs, r)
	sh.extra = keys[:0]
	clear(sh.table)
	sh.n = 0
	return nil
}

func (s *Set) tempDir() (string, error) {
	s.dirMu.Lock()
	defer s.dirMu.Unlock()
	if s.dir != "" {
		return s.dir, nil
	}
	dir, err := os.MkdirTemp(s.opts.Dir, "spoor-seen-")
	if err != nil {
		return "", fmt.Errorf("make a folder for event ids: %w", err)
	}
	s.dir = dir
	return dir, nil
}

func compare(a, b Key) int {
	switch {
	case a.hi != b.hi:
		return cmpUint(a.hi, b.hi)
	case a.lo != b.lo:
		return cmpUint(uint64(a.lo), uint64(b.lo))
	}
	return cmpUint(uint64(a.essence), uint64(b.essence))
}

func cmpUint(a, b uint64) int {
	if a < b {
		return -1
	} else if a > b {
		return 1
	}
	return 0
}

// run is a sorted file of entries: hi, lo, essence, little-endian, 16 bytes each.
type run struct {
	file  *os.File
	n     int
	index []Key    // first entry of each block
	bloom []uint64 // 10 bits an entry, 6 probes
}

const (
	entryBytes = 16
	blockSize  = 128
)

func writeRun(dir string, keys []Key) (*run, error) {
	f, err := os.CreateTemp(dir, "run-")
	if err != nil {
		return nil, err
	}
	r := &run{file: f, n: len(keys), bloom: make([]uint64, len(keys)*10/64+1)}
	var buf bytes.Buffer
	buf.Grow(len(keys) * entryBytes)
	var e [entryBytes]byte
	for i, k := range keys {
		if i%blockSize == 0 {
			r.index = append(r.index, k)
		}
		r.probes(k, func(w int, bit uint64) bool { r.bloom[w] |= bit; return true })
		binary.LittleEndian.PutUint64(e[:], k.hi)
		binary.LittleEndian.PutUint32(e[8:], k.lo)
		binary.LittleEndian.PutUint32(e[12:], k.essence)
		buf.Write(e[:])
	}
	if _, err := f.Write(buf.Bytes()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

func (r *run) probes(k Key, fn func(word int, bit uint64) bool) bool {
	h, step := k.hi*0x9e3779b97f4a7c15, k.hi>>32|uint64(k.lo)<<32|1
	size := uint64(len(r.bloom)) * 64
	for range 6 {
		i := h % size
		if !fn(int(i/64), 1<<(i%64)) {
			return false
		}
		h += step
	}
	return true
}

func (r *run) find(k Key) (Verdict, error) {
	if !r.probes(k, func(w int, bit uint64) bool { return r.bloom[w]&bit != 0 }) {
		return First, nil
	}
	// The first block that may hold the id starts at or before it; entries of one id may run over a block's end.
	low := Key{k.hi, k.lo, 0}
	b, _ := slices.BinarySearchFunc(r.index, low, compare)
	b = max(0, b-1)
	v := First
	var buf [blockSize * entryBytes]byte
	for ; b < len(r.index); b++ {
		n := min(blockSize, r.n-b*blockSize)
		if _, err := r.file.ReadAt(buf[:n*entryBytes], int64(b*blockSize*entryBytes)); err != nil {
			return First, fmt.Errorf("read event ids that had been moved out of memory: %w", err)
		}
		for i := range n {
			e := buf[i*entryBytes:]
			hi, lo := binary.LittleEndian.Uint64(e), binary.LittleEndian.Uint32(e[8:])
			switch {
			case hi > k.hi || hi == k.hi && lo > k.lo:
				return v, nil
			case hi == k.hi && lo == k.lo:
				if binary.LittleEndian.Uint32(e[12:]) == k.essence {
					return Duplicate, nil
				}
				v = Conflict
			}
		}
	}
	return v, nil
}
