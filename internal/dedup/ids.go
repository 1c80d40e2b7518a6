package dedup

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/bits"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// An .ids file holds the keys of the events of one segment, for [Index]. All numbers are little-endian:
//
//	header, 64 bytes:
//	  0  magic "SPOORIDS"
//	  8  u32 version, 1
//	 12  u32 0
//	 16  u64 number of entries
//	 24  u64 number of Bloom blocks
//	 32  i64 least, 40 i64 greatest eventTime of the events, Unix nanoseconds; 0 for an event without
//	 48  u32 CRC-32C of the data file, 52 u32 0
//	 56  u32 CRC-32C of everything behind the header
//	 60  u32 CRC-32C of bytes 0 to 59
//	Bloom filter: blocks of 512 bits
//	entries, in ascending order, 12 bytes each: u64 first word of the key, u32 essence
//
// The first word of a key already mixes all 128 bits of the eventID. With the essence, which mixes eventTime, eventSource
// and eventName, 96 bits tell two events of one file apart.
const (
	idsMagic   = "SPOORIDS"
	idsVersion = 1
	idsHeader  = 64
	idsBlock   = 64
	idsEntry   = 12

	bloomBitsPerKey = 10
	bloomProbes     = 6
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// WriteIDs writes keys as a new file and syncs it; the caller syncs the folder. It sorts keys. first and last are the
// least and greatest eventTime in Unix nanoseconds, sum is the CRC-32C of the data file.
func WriteIDs(name string, keys []Key, first, last int64, sum uint32) error {
	return writeIDs(name, keys, first, last, sum, true)
}

// WriteIDsUnsynced is [WriteIDs] for a file that may be lost with the system, and can be made again.
func WriteIDsUnsynced(name string, keys []Key, first, last int64, sum uint32) error {
	return writeIDs(name, keys, first, last, sum, false)
}

func writeIDs(name string, keys []Key, first, last int64, sum uint32, durable bool) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("write event ids: %w", err)
		}
	}()
	slices.SortFunc(keys, compareIDs)
	blocks := len(keys)*bloomBitsPerKey/(8*idsBlock) + 1
	buf := make([]byte, idsHeader+blocks*idsBlock+len(keys)*idsEntry)
	copy(buf, idsMagic)
	binary.LittleEndian.PutUint32(buf[8:], idsVersion)
	binary.LittleEndian.PutUint64(buf[16:], uint64(len(keys)))
	binary.LittleEndian.PutUint64(buf[24:], uint64(blocks))
	binary.LittleEndian.PutUint64(buf[32:], uint64(first))
	binary.LittleEndian.PutUint64(buf[40:], uint64(last))
	binary.LittleEndian.PutUint32(buf[48:], sum)
	bloom, entries := buf[idsHeader:][:blocks*idsBlock], buf[idsHeader+blocks*idsBlock:]
	for i, k := range keys {
		block, h := bloomPlace(k, uint64(blocks))
		for range bloomProbes {
			bloom[block*idsBlock+h>>3&(idsBlock-1)] |= 1 << (h & 7)
			h >>= 9
		}
		binary.LittleEndian.PutUint64(entries[i*idsEntry:], k.hi)
		binary.LittleEndian.PutUint32(entries[i*idsEntry+8:], k.essence)
	}
	binary.LittleEndian.PutUint32(buf[56:], crc32.Checksum(buf[idsHeader:], castagnoli))
	binary.LittleEndian.PutUint32(buf[60:], crc32.Checksum(buf[:60], castagnoli))
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	if _, err := f.Write(buf); err != nil {
		return errors.Join(err, f.Close())
	}
	if durable {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// compareIDs is the order of the file.
func compareIDs(a, b Key) int {
	if a.hi != b.hi {
		return cmpUint(a.hi, b.hi)
	}
	return cmpUint(uint64(a.essence), uint64(b.essence))
}

// bloomPlace gives the block of a key, and six times nine bits for the places in it.
func bloomPlace(k Key, blocks uint64) (block, places uint64) {
	block, _ = bits.Mul64(k.hi, blocks)
	h := k.hi * hashFactor
	return block, h ^ h>>29
}

// ErrDamaged says that an .ids file is not what was written.
var ErrDamaged = errors.New("damaged file of event ids")

// IDs is an open .ids file. It is safe for concurrent use.
type IDs struct {
	name           string
	data           []byte // the file, mapped
	bloom, entries []byte
	n, blocks      uint64
	first, last    int64
	unmap          func() error
}

// OpenIDs opens the file and checks its header. What lies behind is checked by [IDs.Verify].
func OpenIDs(name string) (*IDs, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open event ids: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open event ids: %w", err)
	}
	var head [idsHeader]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return nil, fmt.Errorf("%w: %s: too short", ErrDamaged, name)
	}
	d := &IDs{name: name, n: binary.LittleEndian.Uint64(head[16:]), blocks: binary.LittleEndian.Uint64(head[24:]),
		first: int64(binary.LittleEndian.Uint64(head[32:])), last: int64(binary.LittleEndian.Uint64(head[40:]))}
	switch {
	case string(head[:8]) != idsMagic:
		return nil, fmt.Errorf("%w: %s: not such a file", ErrDamaged, name)
	case binary.LittleEndian.Uint32(head[60:]) != crc32.Checksum(head[:60], castagnoli):
		return nil, fmt.Errorf("%w: %s: its header has another checksum", ErrDamaged, name)
	case binary.LittleEndian.Uint32(head[8:]) != idsVersion:
		return nil, fmt.Errorf("open event ids: %s has version %d, this program knows %d", name, binary.LittleEndian.Uint32(head[8:]), idsVersion)
	case d.blocks == 0 || d.n > 1<<40 || d.blocks > 1<<40 || uint64(st.Size()) != idsHeader+d.blocks*idsBlock+d.n*idsEntry:
		return nil, fmt.Errorf("%w: %s: %d bytes are not what its header says", ErrDamaged, name, st.Size())
	}
	if d.data, d.unmap, err = mapFile(f, int(st.Size())); err != nil {
		return nil, fmt.Errorf("open event ids: %s: %w", name, err)
	}
	d.bloom, d.entries = d.data[idsHeader:][:d.blocks*idsBlock], d.data[idsHeader+d.blocks*idsBlock:]
	return d, nil
}

// Close lets go of the file.
func (d *IDs) Close() error { return d.unmap() }

// Len is the number of events.
func (d *IDs) Len() int { return int(d.n) }

// Times are the least and the greatest eventTime, in Unix nanoseconds.
func (d *IDs) Times() (first, last int64) { return d.first, d.last }

// Sum is the CRC-32C of the data file that the events lie in.
func (d *IDs) Sum() uint32 { return binary.LittleEndian.Uint32(d.data[48:]) }

// Verify reads everything and holds it against the checksum.
func (d *IDs) Verify() error {
	if crc32.Checksum(d.data[idsHeader:], castagnoli) != binary.LittleEndian.Uint32(d.data[56:]) {
		return fmt.Errorf("%w: %s: it has another checksum", ErrDamaged, d.name)
	}
	return nil
}

// Find says whether the event, or another one with its eventID, is among those of the file.
func (d *IDs) Find(k Key) Verdict {
	block, h := bloomPlace(k, d.blocks)
	for range bloomProbes {
		if d.bloom[block*idsBlock+h>>3&(idsBlock-1)]&(1<<(h&7)) == 0 {
			return First
		}
		h >>= 9
	}
	v := First
	for i := d.search(k.hi); i < d.n && d.word(i) == k.hi; i++ {
		if binary.LittleEndian.Uint32(d.entries[i*idsEntry+8:]) == k.essence {
			return Duplicate
		}
		v = Conflict
	}
	return v
}

func (d *IDs) word(i uint64) uint64 { return binary.LittleEndian.Uint64(d.entries[i*idsEntry:]) }

// search gives the first entry that is not less than hi. Words are spread evenly, so that it begins near the right place.
func (d *IDs) search(hi uint64) uint64 {
	guess, _ := bits.Mul64(hi, d.n)
	var low, high uint64
	for step := uint64(16); ; step *= 4 {
		low, high = guess-min(guess, step), min(guess+step, d.n)
		if (low == 0 || d.word(low-1) < hi) && (high == d.n || d.word(high) >= hi) {
			break
		}
	}
	for low < high {
		if mid := (low + high) / 2; d.word(mid) < hi {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// Index knows the events of many .ids files. Files are opened when they are first needed, and read where an event may be
// in them, so that memory does not grow with the events: what was touched is let go of again. It is safe for concurrent
// use.
type Index struct {
	mu   sync.RWMutex // guards days and all
	days map[int64][]*indexed
	all  map[string]*indexed

	touched atomic.Int64 // bytes of the files that were read since the last forget
	looks   atomic.Int64 // how often
}

type indexed struct {
	name    string
	mu      sync.Mutex // guards ids while it is being opened
	ids     atomic.Pointer[IDs]
	touched atomic.Bool
}

const (
	// indexResident is about how much of the files may lie in memory, and aroundPage how much the system maps for a byte.
	indexResident = 32 << 20
	aroundPage    = 64 << 10
)

// forget lets go of the memory of files that were read; the next look takes it again, from the system's cache.
func (x *Index) forget() error {
	x.touched.Store(0)
	x.looks.Store(0)
	for _, f := range x.all {
		if ids := f.ids.Load(); ids != nil && f.touched.Swap(false) {
			if err := forget(ids.data); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *indexed) open() (*IDs, error) {
	if ids := f.ids.Load(); ids != nil {
		return ids, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if ids := f.ids.Load(); ids != nil {
		return ids, nil
	}
	ids, err := OpenIDs(f.name)
	if err != nil {
		return nil, err
	}
	f.ids.Store(ids)
	return ids, nil
}

// NewIndex returns an index of no files.
func NewIndex() *Index {
	return &Index{days: make(map[int64][]*indexed), all: make(map[string]*indexed)}
}

const dayNanos = 24 * 60 * 60 * 1e9

// Add makes the events of a file known, which lie between first and last, Unix nanoseconds, to within a day. Events are
// looked for only in the files of their day.
func (x *Index) Add(name string, first, last int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.all[name] != nil {
		return
	}
	f := &indexed{name: name}
	x.all[name] = f
	for d := floorDay(first); d <= floorDay(last); d++ {
		x.days[d] = append(x.days[d], f)
	}
}

func floorDay(t int64) int64 {
	d := t / dayNanos
	if t%dayNanos < 0 {
		d--
	}
	return d
}

// Find looks for an event by its key and eventTime, 0 for one without.
func (x *Index) Find(k Key, time int64) (Verdict, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	v := First
	for _, f := range x.days[floorDay(time)] {
		ids, err := f.open()
		if err != nil {
			return First, err
		}
		if first, last := ids.Times(); time < first || time > last {
			continue
		}
		if !f.touched.Load() && f.touched.CompareAndSwap(false, true) {
			x.touched.Add(int64(len(ids.data)))
		}
		if n := x.looks.Add(1); n*aroundPage > indexResident && x.touched.Load() > indexResident {
			if err := x.forget(); err != nil {
				return First, err
			}
		}
		switch ids.Find(k) {
		case Duplicate:
			return Duplicate, nil
		case Conflict:
			v = Conflict
		}
	}
	return v, nil
}

// Close closes the files. The index must not be used any more.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var errs []error
	for _, f := range x.all {
		if ids := f.ids.Load(); ids != nil {
			errs = append(errs, ids.Close())
		}
	}
	clear(x.all)
	clear(x.days)
	return errors.Join(errs...)
}
