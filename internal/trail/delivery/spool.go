package delivery

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/klauspost/compress/flate"

	"spoor/internal/durable"
)

// A log file is one gzip member, which is put together of parts that end on a byte: blocks that hold the text between the
// records as it is, and stretches of records, each compressed on its own.
const (
	fileHead = `{"Records":[`
	fileTail = `]}`

	chunkBytes = 256 << 10 // of a stretch before compression
	maxPacks   = 64        // of a cut; what comes later shares one
)

// gzipHead is a header without name and time, so that the same records give the same bytes.
var gzipHead = [...]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// stored appends a block of deflate that holds a text as it is.
func stored(dst []byte, text string, final bool) []byte {
	n, kind := uint16(len(text)), byte(0)
	if final {
		kind = 1
	}
	dst = append(dst, kind)
	dst = binary.LittleEndian.AppendUint16(dst, n)
	dst = binary.LittleEndian.AppendUint16(dst, ^n)
	return append(dst, text...)
}

// press compresses stretches, for one goroutine.
type press struct {
	z   *flate.Writer
	out bytes.Buffer
}

func newPress() *press {
	z, _ := flate.NewWriter(nil, flate.BestSpeed) // the level is one
	return &press{z: z}
}

// squeeze gives the compressed form of a stretch, which refers to nothing before it, ends on a byte, and does not end the
// stream. It lives until the next call.
func (p *press) squeeze(text []byte) ([]byte, error) {
	p.out.Reset()
	p.z.Reset(&p.out)
	if _, err := p.z.Write(text); err != nil {
		return nil, err
	}
	if err := p.z.Flush(); err != nil {
		return nil, err
	}
	return p.out.Bytes(), nil
}

// stretch is records of one route that the same targets take, with commas between them, which are not compressed yet.
type stretch struct {
	class          string
	pack           *openPack
	outs           []*series
	raw            []byte
	n              int64
	oldest, newest int64
	listed         bool // in spool.waiting
}

// series is the files of a cut that go to one target and are filed at one place; the last of them is open.
type series struct {
	target int
	filed  filed
	parts  []*output
}

// output is a log file in the making.
type output struct {
	sum            hash.Hash
	crc            uint32
	size           int64
	events         int64
	oldest, newest int64
	chunks         []chunk
}

func newOutput() *output {
	o := &output{sum: sha256.New()}
	o.text([]byte(fileHead))
	return o
}

func (o *output) text(b []byte) {
	_, _ = o.sum.Write(b) // never fails
	o.crc = crc32.Update(o.crc, crc32.IEEETable, b)
	o.size += int64(len(b))
}

// openPack is a pack that is being written.
type openPack struct {
	number int
	name   string
	f      *os.File
	w      *bufio.Writer
	size   int64
}

// spool is a cut in the making.
type spool struct {
	d       *Delivery
	number  uint64
	targets []target
	packs   []*openPack
	byClass map[string]*openPack
	series  map[seriesKey]*series
	waiting []*stretch // those with records in memory
	free    [][]byte   // buffers of stretches that were full
	held    int64      // bytes of all buffers
	raw     int64      // bytes of records taken
	files   int
}

type seriesKey struct {
	target int
	filed  filed
}

func (d *Delivery) newSpool(targets []target) *spool {
	return &spool{d: d, number: d.number + 1, targets: targets, byClass: map[string]*openPack{}, series: map[seriesKey]*series{}}
}

// stretch makes the stretch of a route for a class of targets.
func (s *spool) stretch(r *route, class string, hits []int) (*stretch, error) {
	p := s.byClass[class]
	if p == nil {
		var err error
		if len(s.packs) == maxPacks {
			p = s.packs[maxPacks-1]
		} else if p, err = s.newPack(); err != nil {
			return nil, err
		}
		s.byClass[class] = p
	}
	st := &stretch{class: class, pack: p}
	for _, i := range hits {
		k := seriesKey{i, r.filed}
		ser := s.series[k]
		if ser == nil {
			ser = &series{target: i, filed: r.filed, parts: []*output{newOutput()}}
			s.series[k] = ser
			s.files++
		}
		st.outs = append(st.outs, ser)
	}
	r.stretch[class] = st
	return st, nil
}

func (s *spool) newPack() (*openPack, error) {
	p := &openPack{number: len(s.packs)}
	p.name = fmt.Sprintf("%020d-%d.pack", s.number, p.number)
	if err := s.d.o.fault("pack create"); err != nil {
		return nil, err
	}
	var err error
	if p.f, err = os.OpenFile(filepath.Join(s.d.o.Dir, packsDir, p.name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600); err != nil {
		return nil, err
	}
	p.w = bufio.NewWriterSize(p.f, 64<<10)
	s.packs = append(s.packs, p)
	return p, nil
}

// add takes a record. at is its time in Unix nanoseconds.
func (s *spool) add(st *stretch, raw []byte, at int64) error {
	limit := int(min(chunkBytes, s.d.o.MaxFile/4+1))
	if len(st.raw) > 0 && len(st.raw)+len(raw)+1 > limit {
		if err := s.flush(st); err != nil {
			return err
		}
	}
	if st.raw == nil && len(s.free) > 0 {
		st.raw, s.free = s.free[len(s.free)-1], s.free[:len(s.free)-1]
	}
	had := cap(st.raw)
	if st.n > 0 {
		st.raw = append(st.raw, ',')
	}
	st.raw = append(st.raw, raw...)
	s.held += int64(cap(st.raw) - had)
	s.raw += int64(len(raw))
	if st.n == 0 || at < st.oldest {
		st.oldest = at
	}
	if st.n == 0 || at > st.newest {
		st.newest = at
	}
	st.n++
	if !st.listed {
		st.listed = true
		s.waiting = append(s.waiting, st)
	}
	if s.held > s.d.o.MaxBuffer {
		return s.flushAll()
	}
	return nil
}

// flushAll compresses everything that is in memory.
func (s *spool) flushAll() error {
	for _, st := range s.waiting {
		st.listed = false
		if st.n == 0 {
			continue
		}
		if err := s.flush(st); err != nil {
			return err
		}
	}
	clear(s.waiting)
	s.waiting, s.free, s.held = s.waiting[:0], nil, 0
	return nil
}

// flush compresses a stretch, and adds it to the files of its targets.
func (s *spool) flush(st *stretch) error {
	z, err := s.d.press.squeeze(st.raw)
	if err != nil {
		return fmt.Errorf("compress records: %w", err)
	}
	c := chunk{st.pack.number, st.pack.size, int64(len(z)), crc32.Checksum(z, castagnoli())}
	if err := s.d.o.fault("pack write"); err != nil {
		return err
	}
	s.d.spooled.Add(c.size)
	st.pack.size += c.size
	if _, err := st.pack.w.Write(z); err != nil {
		return fmt.Errorf("write to the spool: %w", err)
	}
	for _, ser := range st.outs {
		o := ser.parts[len(ser.parts)-1]
		if o.events > 0 && o.size+int64(len(st.raw)+1+len(fileTail)) > s.d.o.MaxFile {
			o.text([]byte(fileTail))
			o = newOutput()
			ser.parts = append(ser.parts, o)
			s.files++
		}
		if o.events > 0 {
			o.text([]byte{','})
		} else {
			o.oldest, o.newest = st.oldest, st.newest
		}
		o.text(st.raw)
		o.events += st.n
		o.oldest, o.newest = min(o.oldest, st.oldest), max(o.newest, st.newest)
		o.chunks = append(o.chunks, c)
	}
	st.n = 0
	if cap(st.raw) <= 2*chunkBytes && len(s.free) < 16 {
		s.free = append(s.free, st.raw[:0])
	} else {
		s.held -= int64(cap(st.raw))
	}
	st.raw = nil
	return nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// finish ends all files and syncs the packs; nothing is added afterwards.
func (s *spool) finish(from, to uint64, at time.Time) (*manifest, error) {
	if err := s.flushAll(); err != nil {
		return nil, err
	}
	m := &manifest{Format: manifestFormat, Version: manifestVersion, Number: s.number, Journal: s.d.id, From: from, To: to, At: at}
	for _, p := range s.packs {
		if err := p.w.Flush(); err != nil {
			return nil, fmt.Errorf("write to the spool: %w", err)
		}
		if err := s.d.o.fault("pack sync"); err != nil {
			return nil, err
		}
		if err := p.f.Sync(); err != nil {
			return nil, fmt.Errorf("sync the spool: %w", err)
		}
		err := p.f.Close()
		p.f = nil
		if err != nil {
			return nil, fmt.Errorf("close the spool: %w", err)
		}
		m.Packs = append(m.Packs, pack{p.name, p.size})
	}
	if err := durable.SyncDir(filepath.Join(s.d.o.Dir, packsDir)); err != nil {
		return nil, fmt.Errorf("sync the spool: %w", err)
	}
	for i := range s.targets {
		m.Places = append(m.Places, s.targets[i].place)
	}
	keys := slices.SortedFunc(maps.Keys(s.series), func(a, b seriesKey) int {
		if a.target != b.target {
			return compare(a.target, b.target)
		}
		if a.filed.account != b.filed.account {
			return compare(a.filed.account, b.filed.account)
		}
		return compare(a.filed.region+" "+a.filed.kind, b.filed.region+" "+b.filed.kind)
	})
	for _, k := range keys {
		ser := s.series[k]
		p := &m.Places[k.target]
		for part, o := range ser.parts {
			if part == len(ser.parts)-1 {
				o.text([]byte(fileTail))
			}
			m.Files = append(m.Files, file{
				Place: k.target, Account: k.filed.account, Region: k.filed.region, Kind: k.filed.kind,
				Key:    fileKey(p, k.filed, at, unique(s.d.id, p.Trail, k.filed, from, to, part)),
				Events: o.events, Size: o.size, CRC: o.crc, Hash: hex.EncodeToString(o.sum.Sum(nil)),
				Oldest: time.Unix(0, o.oldest).UTC(), Newest: time.Unix(0, o.newest).UTC(), Chunks: o.chunks,
			})
		}
	}
	return m, nil
}

// discard throws the cut away.
func (s *spool) discard() {
	for _, p := range s.packs {
		if p.f != nil {
			_ = p.f.Close() // it is thrown away
		}
		if err := os.Remove(filepath.Join(s.d.o.Dir, packsDir, p.name)); err != nil {
			s.d.o.Log.Warn("a file of the spool cannot be removed; the next start tries again", "error", err)
		}
		s.d.spooled.Add(-p.size)
	}
}

// fileKey is the key of a log file.
func fileKey(p *place, f filed, at time.Time, unique string) string {
	at = at.UTC()
	key := ""
	if p.Prefix != "" {
		key = p.Prefix + "/"
	}
	key += "AWSLogs/"
	if p.Organization != "" {
		key += p.Organization + "/"
	}
	return key + f.account + "/" + f.kind + "/" + f.region + at.Format("/2006/01/02/") +
		f.account + "_" + f.kind + "_" + f.region + at.Format("_20060102T1504Z_") + unique + ".json.gz"
}

// unique is the part of a key that tells files apart: it follows from what is in the file.
func unique(journal, trail string, f filed, from, to uint64, part int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	h := sha256.New()
	for _, text := range []string{journal, trail, f.account, f.region, f.kind, strconv.FormatUint(from, 10), strconv.FormatUint(to, 10), strconv.Itoa(part)} {
		_, _ = io.WriteString(h, text+"\x00")
	}
	sum := h.Sum(nil)
	out := make([]byte, 16)
	for i := range out {
		out[i] = letters[binary.BigEndian.Uint16(sum[2*i:])%uint16(len(letters))]
	}
	return string(out)
}

// packed is the size of a file as it is put.
func (f *file) packed() int64 {
	n := int64(len(gzipHead) + 5 + len(fileHead) + 5 + len(fileTail) + 8)
	for i, c := range f.Chunks {
		if n += c.size; i > 0 {
			n += 6
		}
	}
	return n
}

var errPack = errors.New("a file of the spool is not what was written")

// assemble gives the content of a log file.
func assemble(dir string, f *file, packs []pack) (_ []byte, err error) {
	out := append(make([]byte, 0, f.packed()), gzipHead[:]...)
	out = stored(out, fileHead, false)
	files := map[int]*os.File{}
	defer func() {
		for _, in := range files {
			err = errors.Join(err, in.Close())
		}
	}()
	for i, c := range f.Chunks {
		in := files[c.pack]
		if in == nil {
			if in, err = os.Open(filepath.Join(dir, packsDir, packs[c.pack].Name)); err != nil {
				return nil, fmt.Errorf("read the spool: %w", err)
			}
			files[c.pack] = in
		}
		if i > 0 {
			out = stored(out, ",", false)
		}
		at := len(out)
		out = slices.Grow(out, int(c.size))[:at+int(c.size)]
		if _, err := in.ReadAt(out[at:], c.off); err != nil {
			return nil, fmt.Errorf("read the spool: %s: %w", packs[c.pack].Name, err)
		}
		if crc32.Checksum(out[at:], castagnoli()) != c.sum {
			return nil, fmt.Errorf("%w: %s, %d bytes at %d", errPack, packs[c.pack].Name, c.size, c.off)
		}
	}
	out = stored(out, fileTail, true)
	out = binary.LittleEndian.AppendUint32(out, f.CRC)
	return binary.LittleEndian.AppendUint32(out, uint32(f.Size)), nil
}
