package intake

import (
	"context"
	"errors"
	"os"
	"slices"

	"spoor/internal/event"
	"spoor/internal/source"
)

// reopenMax is the largest file that is worth reading again for a few of its records.
const reopenMax = 4 << 20

// reopenable reports whether records of obj can be had from [Again].
func reopenable(src source.Source, obj source.Object) bool {
	local, ok := src.(interface{ Local() bool })
	return ok && local.Local() && obj.Archive == "" && obj.Size >= 0 && obj.Size <= reopenMax
}

// Again reads records of a local file a second time: those whose event had Again set, by their offsets, which rise. to
// gets each while it stands in the decoder's buffer. Records that are not there any more are passed over, and so is a
// file that has become unreadable.
func Again(ctx context.Context, lim event.Limits, file string, offsets []int64, to func(offset int64, raw []byte) error) error {
	f, err := os.Open(file)
	if err != nil {
		return nil // it has gone since; the caller counts what it did not get
	}
	defer f.Close()
	a := &again{offsets: offsets, to: to}
	err = event.NewDecoder(lim).Decode(ctx, file, f, a)
	switch {
	case a.err != nil:
		return a.err
	case errors.Is(err, errDone):
		return nil
	}
	return ctx.Err()
}

// errDone ends a decoding that has given all that was asked for.
var errDone = errors.New("done")

// again is the sink of Again.
type again struct {
	offsets []int64
	to      func(offset int64, raw []byte) error
	err     error
}

func (a *again) Event(e *event.Event) error {
	i, found := slices.BinarySearch(a.offsets, e.Offset)
	if !found {
		return nil
	}
	a.offsets = slices.Delete(a.offsets, i, i+1)
	if a.err = a.to(e.Offset, e.Raw); a.err != nil {
		return a.err
	}
	if len(a.offsets) == 0 {
		return errDone
	}
	return nil
}

func (a *again) Reject(event.Reject) error { return nil }
func (a *again) Note(string)               {}
func (a *again) Digest([]byte) error       { return nil }
