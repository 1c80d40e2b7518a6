package intake

import (
	"context"
	"fmt"

	"spoor/internal/event"
	"spoor/internal/ledger"
	"spoor/internal/source"
)

// Records is a source whose objects hold records ready to be used, such as the segments of a store, in place of text to
// be decoded. Implementations are safe for concurrent use.
type Records interface {
	source.Source
	// Records calls fn with each record of obj that may be wanted, and tells what it did also when it fails. The event is
	// valid until fn returns; an error of fn is returned as it is.
	Records(ctx context.Context, obj source.Object, fn func(*event.Event) error) (RecordsRead, error)
	// Distinct reports whether no event of obj is in another object of the source, so that none need be remembered; events of
	// other sources that are the same must be known to [Options.Seen] then.
	Distinct(obj source.Object) bool
}

// RecordsRead is what became of the records of an object.
type RecordsRead struct {
	Given int64 // as counted where they are read
	Bytes int64 // of them
	Left  []ledger.ReasonCount
}

// records is read for a source of records.
func (r *run) records(ctx context.Context, src Records, obj source.Object, led *ledger.Ledger) (whole bool, _ error) {
	s := <-r.slots
	defer func() { r.slots <- s }()
	k := &sink{slot: s, obj: obj, led: led, distinct: src.Distinct(obj)}
	t := k.begin()
	did, err := src.Records(ctx, obj, func(e *event.Event) error {
		if e.Time == 0 {
			t.Note(event.NoteNoTime)
		}
		return k.Event(e)
	})
	k.flush()
	r.opts.Progress.Expanded.Add(did.Bytes)
	switch {
	case k.fatal != nil:
		return false, k.fatal
	case err != nil && ctx.Err() != nil:
		return false, ctx.Err()
	}
	t.Seen(did.Given)
	t.Expanded(did.Bytes)
	left := int64(0)
	for _, l := range did.Left {
		t.Pruned(l.Reason, l.Count)
		left += l.Count
	}
	if n := did.Given + left; err == nil && obj.Records > 0 && n != obj.Records {
		err = fmt.Errorf("damaged: %d records where %d are listed", n, obj.Records)
	}
	k.open.Close(err)
	return err == nil && !k.filtered && left == 0, nil
}
