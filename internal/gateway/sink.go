package gateway

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"spoor/internal/durable"
	"spoor/internal/journal"
)

// Bounds of a batch.
const (
	batchRecords = 1000
	batchBytes   = 4 << 20
)

// ErrClosed is returned by a [Batch] that was closed.
var ErrClosed = errors.New("the recorder is closed")

// Batch puts records of concurrent callers together, for a sink that makes many durable at the cost of one. It is a
// [spoor/internal/recorder.Appender].
type Batch struct {
	sink  func(ctx context.Context, records [][]byte) error
	queue chan *batched
	done  chan struct{}
	mu    sync.RWMutex
	ended bool // guarded by mu
}

type batched struct {
	records [][]byte
	size    int
	result  chan error
}

// NewBatch hands records to sink, from one goroutine: what it returned nil for is durable. It must be closed.
func NewBatch(sink func(ctx context.Context, records [][]byte) error) *Batch {
	b := &Batch{sink: sink, queue: make(chan *batched, batchRecords), done: make(chan struct{})}
	go b.run()
	return b
}

// Append implements [spoor/internal/recorder.Appender]. There are no sequences: it is always 0.
func (b *Batch) Append(ctx context.Context, records []journal.Record) (uint64, error) {
	p := &batched{result: make(chan error, 1)}
	for _, r := range records {
		p.records = append(p.records, r.Raw)
		p.size += len(r.Raw)
	}
	b.mu.RLock()
	if b.ended {
		b.mu.RUnlock()
		return 0, ErrClosed
	}
	select {
	case b.queue <- p:
		b.mu.RUnlock()
	case <-ctx.Done():
		b.mu.RUnlock()
		return 0, ctx.Err()
	}
	select {
	case err := <-p.result:
		return 0, err
	case <-ctx.Done():
		return 0, fmt.Errorf("it is not known whether the record was kept: %w", ctx.Err())
	}
}

func (b *Batch) run() {
	defer close(b.done)
	var next *batched
	for {
		first := next
		if next = nil; first == nil {
			var ok bool
			if first, ok = <-b.queue; !ok {
				return
			}
		}
		group := []*batched{first}
		records, size := first.records, first.size
	gather:
		for len(records) < batchRecords {
			select {
			case p, ok := <-b.queue:
				if !ok {
					break gather
				}
				if size+p.size > batchBytes {
					next = p
					break gather
				}
				group = append(group, p)
				records, size = append(records, p.records...), size+p.size
			default:
				break gather
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), recordTime)
		err := b.sink(ctx, records)
		cancel()
		for _, p := range group {
			p.result <- err
		}
	}
}

// Close hands over what is waiting, and ends.
func (b *Batch) Close() error {
	b.mu.Lock()
	if !b.ended {
		b.ended = true
		close(b.queue)
	}
	b.mu.Unlock()
	<-b.done
	return nil
}

// Bounds of a file of records.
const (
	fileBytes = 64 << 20
	fileAge   = time.Hour
)

// Files is a sink that writes records as JSON Lines into a folder: one file after the other, each of an hour or 64 MiB at most,
// synced for each batch. It must be used by one goroutine at a time.
type Files struct {
	dir  string
	now  func() time.Time
	f    *os.File
	size int64
	born time.Time
}

// NewFiles makes the folder, where it is not there.
func NewFiles(dir string, now func() time.Time) (*Files, error) {
	if now == nil {
		now = time.Now
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder of records: %w", err)
	}
	return &Files{dir: dir, now: now}, nil
}

// Write makes a batch durable, or takes it back.
func (s *Files) Write(_ context.Context, records [][]byte) error {
	now := s.now().UTC()
	if s.f != nil && (s.size >= fileBytes || now.Sub(s.born) >= fileAge) {
		if err := s.Close(); err != nil {
			return err
		}
	}
	if s.f == nil {
		name := filepath.Join(s.dir, "spoor-record_"+now.Format("20060102T150405Z")+"_"+uuid.NewString()[:8]+".jsonl")
		f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("make a file of records: %w", err)
		}
		if err := durable.SyncDir(s.dir); err != nil {
			return errors.Join(fmt.Errorf("make the name of a file of records durable: %w", err), f.Close())
		}
		s.f, s.size, s.born = f, 0, now
	}
	var text []byte
	for _, r := range records {
		text = append(append(text, r...), '\n')
	}
	_, err := s.f.WriteAt(text, s.size)
	if err == nil {
		err = s.f.Sync()
	}
	if err != nil {
		// Nobody knows what is there now: it is cut off, and the next batch begins another file.
		err = errors.Join(fmt.Errorf("write records to %s: %w", s.f.Name(), err), s.f.Truncate(s.size), s.f.Close())
		s.f = nil
		return err
	}
	s.size += int64(len(text))
	return nil
}

// Close closes the file.
func (s *Files) Close() error {
	if s.f == nil {
		return nil
	}
	f := s.f
	s.f = nil
	if err := f.Close(); err != nil {
		return fmt.Errorf("close a file of records: %w", err)
	}
	return nil
}
