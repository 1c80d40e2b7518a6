// Package segmenttest makes events and segments for tests.
package segmenttest

import (
	"bytes"
	"context"
	"io"
	"testing"

	"spoor/internal/event"
	"spoor/internal/sample"
	"spoor/internal/store/segment"
)

// WriteSample writes n events of the sample organisation over two days as segments below dir, and returns them. The
// events are the same in every run.
func WriteSample(t testing.TB, dir string, n int) []segment.Segment {
	t.Helper()
	w := segment.NewWriter(segment.Options{Dir: dir})
	var out []segment.Segment
	flush := func() {
		segs, err := w.Flush(t.Context())
		if err != nil {
			t.Fatalf("write segments of the sample: %v", err)
		}
		out = append(out, segs...)
	}
	Events(t, n, func(e *event.Event) {
		if err := w.Add(e, nil); err != nil {
			t.Fatalf("add an event of the sample: %v", err)
		}
		if w.Rows() == 100_000 {
			flush()
		}
	})
	flush()
	return out
}

// Events calls fn with n events of the sample organisation. They are valid until fn returns.
func Events(t testing.TB, n int, fn func(e *event.Event)) {
	t.Helper()
	sink := &sampleSink{dec: event.NewDecoder(event.Limits{}), fn: fn}
	_, err := sample.Generate(t.Context(), sample.Options{Seed: 1, Events: n, Days: 2, Sink: sink, Plain: true, Workers: 1, Duplicates: -1})
	if err != nil {
		t.Fatalf("make the sample: %v", err)
	}
}

// sampleSink decodes files as they are closed, one after the other.
type sampleSink struct {
	dec *event.Decoder
	fn  func(*event.Event)
}

// Create implements [sample.Sink].
func (s *sampleSink) Create(ctx context.Context, key string) (io.WriteCloser, error) {
	return &sampleFile{sink: s, ctx: ctx, key: key}, nil
}

type sampleFile struct {
	bytes.Buffer
	sink *sampleSink
	ctx  context.Context
	key  string
}

// Close decodes what was written.
func (f *sampleFile) Close() error { return f.sink.dec.Decode(f.ctx, f.key, &f.Buffer, f.sink) }

// Event implements [event.Sink].
func (s *sampleSink) Event(e *event.Event) error { s.fn(e); return nil }

// Reject implements [event.Sink].
func (s *sampleSink) Reject(event.Reject) error { return nil }

// Note implements [event.Sink].
func (s *sampleSink) Note(string) {}

// Digest implements [event.Sink].
func (s *sampleSink) Digest([]byte) error { return nil }
