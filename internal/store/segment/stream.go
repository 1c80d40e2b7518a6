package segment

import (
	"context"
	"errors"
	"fmt"
	"math"

	"spoor/internal/event"
)

// groupBytes is about how much memory the rows of a row group take at most.
const groupBytes = 48 << 20

// Stream writes events that come in the order of the files already, as when segments are merged: by day, then by
// eventTime and eventID. It holds one row group in memory. It is not safe for concurrent use.
type Stream struct {
	w    *Writer
	out  *output
	last int64
	most int64 // bytes of the row group in memory
	room int   // rows that the row group in memory may have
}

// NewStream returns a stream. Without Options.MaxRows, a file has at most 4 million rows.
func NewStream(opts Options) *Stream {
	w := NewWriter(opts)
	w.enc = newEncoder()
	if w.opts.MaxRows <= 0 {
		w.opts.MaxRows = 4_000_000
	}
	s := &Stream{w: w, out: &output{opts: w.opts, enc: w.enc}, last: math.MinInt64, most: groupBytes}
	if opts.Hot {
		s.most = hotGroupBytes
	}
	return s
}

// Add takes the next event. Nothing of e is kept. After an error only Abort may be called.
func (s *Stream) Add(ctx context.Context, e *event.Event) error {
	if e.Time < s.last {
		return fmt.Errorf("write events in order: %s follows a later one", e.When())
	}
	if n := s.w.n; n > 0 && (n == s.room || s.w.bytes >= s.most || !s.w.opts.sameGroup(&s.w.blocks[0][0], &row{ev: event.Event{Time: e.Time}})) {
		if err := s.group(ctx); err != nil {
			return err
		}
	}
	if s.w.n == 0 {
		s.room = s.out.room(&row{ev: event.Event{Time: e.Time}})
	}
	s.last = e.Time
	return s.w.Add(e, nil)
}

// group writes the rows that wait.
func (s *Stream) group(ctx context.Context) error {
	if s.w.n == 0 {
		return nil
	}
	s.w.group = s.w.group[:0]
	for i := range s.w.n {
		s.w.group = append(s.w.group, &s.w.blocks[i/blockRows][i%blockRows])
	}
	if err := s.out.write(ctx, s.w.group); err != nil {
		return err
	}
	s.w.Reset()
	return nil
}

// Close writes the rest, syncs files and folders, and returns what was written. After an error nothing is left.
func (s *Stream) Close(ctx context.Context) ([]Segment, error) {
	err := s.group(ctx)
	if err == nil {
		var segs []Segment
		if segs, err = s.out.close(); err == nil {
			return segs, nil
		}
	}
	return nil, errors.Join(err, s.out.abort())
}

// Abort removes what was written. It may follow an error of Add or Close.
func (s *Stream) Abort() error { return s.out.abort() }
