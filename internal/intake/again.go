package intake

import (
	"context"
	"os"
	"sync"

	"spoor/internal/event"
	"spoor/internal/source"
)

// reopenMax is the largest file that is worth reading again for a few of its records.
const reopenMax = 4 << 20

// reopenable reports whether records of obj can be had from a [Rereader].
func reopenable(src source.Source, obj source.Object) bool {
	local, ok := src.(interface{ Local() bool })
	return ok && local.Local() && obj.Archive == "" && obj.Size >= 0 && obj.Size <= reopenMax
}

// Rereader reads records of local files a second time. It is safe for concurrent use.
type Rereader struct {
	decoders sync.Pool // of *event.Decoder
}

// NewRereader makes a Rereader with the limits that the first reading had.
func NewRereader(lim event.Limits) *Rereader {
	return &Rereader{decoders: sync.Pool{New: func() any { return event.NewDecoder(lim) }}}
}

// Read gives what stands where records of a file were whose event had Again set; at is rising. to gets the number of each
// and its text while it stands in a buffer: it is not looked at, and need not be the record any more. What the file does
// not reach is passed over, and so is a file that has become unreadable. The error is that of to or of the context.
func (r *Rereader) Read(ctx context.Context, file string, at []event.Stretch, to func(i int, text []byte) error) error {
	f, err := os.Open(file)
	if err != nil {
		return nil // it has gone since; the caller counts what it did not get
	}
	defer f.Close()
	d := r.decoders.Get().(*event.Decoder)
	defer r.decoders.Put(d)
	var stopped error
	_ = d.Stretches(ctx, f, at, func(i int, text []byte) error { // why it could not be read does not matter either
		stopped = to(i, text)
		return stopped
	})
	if stopped != nil {
		return stopped
	}
	return ctx.Err()
}
