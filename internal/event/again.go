package event

import (
	"context"
	"fmt"
	"io"
)

// Stretch is a part of an input's text after decompression, such as [Event.Offset] and the length of [Event.Raw] name.
type Stretch struct {
	Offset int64
	Length int
}

// Stretches gives parts of one input, which rise and do not overlap, and looks at nothing that lies between them. to gets
// the number of each and its bytes, as they stand there now, valid until it returns; its error ends the reading. What lies
// behind the end of the input is not given. It is a fraction of the work of [Decoder.Decode].
func (d *Decoder) Stretches(ctx context.Context, r io.Reader, at []Stretch, to func(i int, text []byte) error) error {
	d.reset(ctx, "", nothing{})
	d.split, d.swap = nil, nil
	if err := d.open(r); err != nil {
		return fmt.Errorf("%w: %w", ErrInput, err)
	}
	for i, s := range at {
		if s.Offset < d.base || s.Length < 0 || s.Length > d.lim.MaxRecord {
			continue
		}
		for s.Offset-d.base+int64(s.Length) > int64(d.end) {
			if d.eof {
				break
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			d.forward(s)
		}
		switch from := s.Offset - d.base; {
		case from+int64(s.Length) <= int64(d.end):
			if err := to(i, d.buf[from:from+int64(s.Length)]); err != nil {
				return err
			}
		case d.rerr != nil:
			return fmt.Errorf("%w: %w", ErrInput, d.rerr)
		default:
			return nil
		}
	}
	return nil
}

// forward reads on towards s and lets go of what lies before it.
func (d *Decoder) forward(s Stretch) {
	if d.flat.streamed != nil {
		d.exposeAll()
		return
	}
	gone := int(min(s.Offset-d.base, int64(d.end)))
	kept := copy(d.buf, d.buf[gone:d.end])
	poison(d.buf[kept:d.end])
	if s.Length > len(d.buf) {
		grown := make([]byte, max(s.Length, 2*len(d.buf)))
		copy(grown, d.buf[:kept])
		d.buf = grown
	}
	d.base += int64(gone)
	n, err := d.text.Read(d.buf[kept:])
	d.end = kept + n
	if err != nil {
		d.eof = true
		if err != io.EOF {
			d.rerr = err
		}
	}
}

// nothing is a sink for inputs of which no records are read.
type nothing struct{}

func (nothing) Event(*Event) error  { return nil }
func (nothing) Reject(Reject) error { return nil }
func (nothing) Note(string)         {}
func (nothing) Digest([]byte) error { return nil }
