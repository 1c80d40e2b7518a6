package rig

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"

	"spoor/internal/event"
	"spoor/internal/sample"
)

// Feed makes batches of records: those of an organisation that does not exist, with ids and times of their own. A batch is
// made by copying text and writing over it, so that who sends it takes little from who is measured.
type Feed struct {
	size      int // records of a batch
	templates []template
}

// template is the text of a batch: {"Records":[…]}.
type template struct {
	text []byte
	ids  []int // where ids begin
	when []int // where times begin
}

const (
	idLen     = 36
	timeForm  = "2006-01-02T15:04:05Z"
	templates = 64
)

// NewFeed makes a feed of batches of so many records.
func NewFeed(ctx context.Context, size int) (*Feed, error) {
	var files memory
	if _, err := sample.Generate(ctx, sample.Options{Seed: 7, Events: size*templates + 500, Days: 1, Sink: &files, Plain: true, Duplicates: -1, Workers: 1}); err != nil {
		return nil, fmt.Errorf("make records: %w", err)
	}
	f := &Feed{size: size}
	var batch template
	sink := &collect{each: func(raw []byte) {
		id, when := bytes.Index(raw, []byte(`"eventID":"`)), bytes.Index(raw, []byte(`"eventTime":"`))
		if id < 0 || when < 0 || len(f.templates) == templates {
			return
		}
		if len(batch.ids) == 0 {
			batch.text = append(batch.text, `{"Records":[`...)
		} else {
			batch.text = append(batch.text, ',')
		}
		at := len(batch.text)
		batch.text = append(batch.text, raw...)
		batch.ids = append(batch.ids, at+id+len(`"eventID":"`))
		batch.when = append(batch.when, at+when+len(`"eventTime":"`))
		if len(batch.ids) == size {
			batch.text = append(batch.text, `]}`...)
			f.templates = append(f.templates, batch)
			batch = template{}
		}
	}}
	for _, text := range files.texts {
		dec := event.NewDecoder(event.Limits{})
		if err := dec.Decode(ctx, "sample", bytes.NewReader(text.Bytes()), sink); err != nil {
			return nil, fmt.Errorf("make records: %w", err)
		}
	}
	if len(f.templates) == 0 {
		return nil, errors.New("make records: there are too few")
	}
	return f, nil
}

// Size is how many records a batch has.
func (f *Feed) Size() int { return f.size }

// Bytes is how long a batch is, on average.
func (f *Feed) Bytes() int {
	n := 0
	for _, t := range f.templates {
		n += len(t.text)
	}
	return n / len(f.templates)
}

// Batch is a batch of a stream, in dst's memory where that suffices: {"Records":[…]}. Records of a batch have the same ids
// always, and times of the minutes before at: made with another at they are other events.
func (f *Feed) Batch(dst []byte, stream uint8, batch uint64, at time.Time) []byte {
	t := &f.templates[batch%uint64(len(f.templates))]
	dst = append(dst[:0], t.text...)
	var when [8][]byte
	for i := range when {
		when[i] = at.Add(-time.Duration(i)*13*time.Second).UTC().AppendFormat(nil, timeForm)
	}
	for i := range t.ids {
		putID(dst[t.ids[i]:t.ids[i]+idLen], number(stream, batch*uint64(f.size)+uint64(i)))
		copy(dst[t.when[i]:], when[i%len(when)])
	}
	return dst
}

// File is a batch as a log file.
func (f *Feed) File(stream uint8, batch uint64, at time.Time) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(f.Batch(nil, stream, batch, at)); err != nil {
		return nil, fmt.Errorf("make a log file: %w", err)
	}
	if err := z.Close(); err != nil {
		return nil, fmt.Errorf("make a log file: %w", err)
	}
	return out.Bytes(), nil
}

// Drop puts a batch as a log file where a folder source finds it. It appears whole, and from then on its records must be
// in the answer: book has them as acknowledged.
func Drop(f *Feed, book *Book, stream uint8, batch uint64, dir string) error {
	book.Offer(stream, batch)
	text, err := f.File(stream, batch, time.Now())
	if err != nil {
		return err
	}
	name := filepath.Join(dir, fmt.Sprintf("file-%06d.json.gz", batch))
	if err := os.WriteFile(name+".part", text, 0o600); err != nil {
		return fmt.Errorf("drop a log file: %w", err)
	}
	if err := os.Rename(name+".part", name); err != nil {
		return fmt.Errorf("drop a log file: %w", err)
	}
	book.Ack(stream, batch)
	return nil
}

// ID is the id of a record of a batch.
func (f *Feed) ID(stream uint8, batch uint64, record int) string {
	var id [idLen]byte
	putID(id[:], number(stream, batch*uint64(f.size)+uint64(record)))
	return string(id[:])
}

// number tells a record from all others.
func number(stream uint8, n uint64) uint64 { return uint64(stream)<<56 | n }

const (
	odd1 = 0xbf58476d1ce4e5b9
	odd2 = 0x94d049bb133111eb
)

// mix scatters numbers: no two have the same result, so that unmix tells the number.
func mix(x uint64) uint64 {
	x ^= x >> 32
	x *= odd1
	x ^= x >> 32
	x *= odd2
	return x ^ x>>32
}

// inverse of an odd number, modulo 2⁶⁴: each step doubles the bits that are right.
func inverse(odd uint64) uint64 {
	x := odd
	for range 6 {
		x *= 2 - odd*x
	}
	return x
}

func unmix(x uint64) uint64 {
	x ^= x >> 32
	x *= inverse(odd2)
	x ^= x >> 32
	x *= inverse(odd1)
	return x ^ x>>32
}

func putID(dst []byte, n uint64) {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], mix(n))
	binary.BigEndian.PutUint64(b[8:], mix(^n))
	hex.Encode(dst, b[:4])
	dst[8] = '-'
	hex.Encode(dst[9:], b[4:6])
	dst[13] = '-'
	hex.Encode(dst[14:], b[6:8])
	dst[18] = '-'
	hex.Encode(dst[19:], b[8:10])
	dst[23] = '-'
	hex.Encode(dst[24:], b[10:])
}

// numberOf is the number of an id that a feed has made.
func numberOf(id string) (n uint64, ours bool) {
	if len(id) != idLen || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return 0, false
	}
	var b [16]byte
	text := id[:8] + id[9:13] + id[14:18] + id[19:23] + id[24:]
	if _, err := hex.Decode(b[:], []byte(text)); err != nil {
		return 0, false
	}
	n = unmix(binary.BigEndian.Uint64(b[:8]))
	return n, mix(^n) == binary.BigEndian.Uint64(b[8:])
}

// memory is a sink of files.
type memory struct {
	mu    sync.Mutex
	texts []*bytes.Buffer
}

// Create implements [sample.Sink].
func (m *memory) Create(context.Context, string) (io.WriteCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := new(bytes.Buffer)
	m.texts = append(m.texts, b)
	return nopCloser{b}, nil
}

type nopCloser struct{ io.Writer }

// Close implements [io.Closer].
func (nopCloser) Close() error { return nil }

// collect is a sink of records.
type collect struct{ each func(raw []byte) }

// Event implements [event.Sink].
func (c *collect) Event(e *event.Event) error { c.each(e.Raw); return nil }

// Reject implements [event.Sink].
func (c *collect) Reject(r event.Reject) error {
	return fmt.Errorf("a record is malformed: %s", r.Reason)
}

// Note implements [event.Sink].
func (c *collect) Note(string) {}

// Digest implements [event.Sink].
func (c *collect) Digest([]byte) error { return errors.New("a digest") }
