package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/source/s3"
)

// notAccepted is an error of the acceptor: the object is not to blame.
type notAccepted struct{ error }

func (e notAccepted) Unwrap() error { return e.error }

// Passing says whether an error is not the fault of the object: there was no room for its records, the caller stops, or the
// network or the service is in trouble. Such an object is tried again and never given up.
func Passing(err error) bool {
	if err == nil {
		return false
	}
	var na notAccepted
	if errors.As(err, &na) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, s3.ErrCredentials) {
		return true
	}
	if retry.IsErrorRetryables(retry.DefaultRetryables).IsErrorRetryable(err).Bool() ||
		retry.IsErrorThrottles(retry.DefaultThrottles).IsErrorThrottle(err).Bool() {
		return true
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "ExpiredToken", "ExpiredTokenException", "RequestTimeTooSkewed", "InvalidAccessKeyId", "SignatureDoesNotMatch", "InternalError", "SlowDown", "ServiceUnavailable":
			return true // of ours, and in time over
		}
		return api.ErrorFault() == smithy.FaultServer
	}
	var op *net.OpError
	var dns *net.DNSError
	return errors.As(err, &op) || errors.As(err, &dns)
}

const (
	cellMax   = 1 << 12 // cells of an object; the records of further ones are counted together
	rejectMax = 1000    // malformed stretches of an object that are named
	nameMax   = 64      // bytes of an account or Region in a cell
)

// Reject is a malformed record.
type Reject struct {
	Index  int64 // among everything that was met in the object
	Offset int64 // in the decompressed object
	Length int64
	Reason string
}

type cellKey struct {
	account, region string
	hour            int64
}

type cell struct {
	key cellKey // does not point into buffers
	n   [ledger.Other + 1]int64
}

// Reading is what was read of an object.
type Reading struct {
	Kept, Duplicate, Filtered, Other int64
	Rejects                          []Reject // the first ones

	core     *Core
	ctx      context.Context
	obj      source.Object
	skip     string
	err      error // of a member
	broken   error // the first one of a member
	members  []*Reading
	cells    map[cellKey]*cell
	last     *cell
	notes    []string
	met      int64
	expanded int64
	rejected int64
	undone   int64
	index    int64

	base     int64 // of offsets
	received time.Time
	hold     func(n int) error // called before the bytes of a record are kept; then nothing is handed on before the end
	limit    int
	batch    []journal.Record
	bytes    int64
	free     []byte // what of the current chunk is not used
	chunk    []byte
	fatal    error
}

// Read decodes one object, and hands its records on while it reads; where there is no room for them, it waits. The error is
// that of the object, or one that is [Passing]. The reading is never nil.
func (c *Core) Read(ctx context.Context, obj source.Object, text io.Reader) (*Reading, error) {
	return c.read(ctx, obj, text, &Reading{limit: c.BatchBytes})
}

// ReadAt is Read for a part of an object that begins at an offset in it.
func (c *Core) ReadAt(ctx context.Context, obj source.Object, text io.Reader, offset int64) (*Reading, error) {
	return c.read(ctx, obj, text, &Reading{limit: c.BatchBytes, base: offset})
}

// Hold is Read for callers that hand on all records of an object or none: they are kept until [Reading.HandOn]. keep is
// called with the size of each before it is kept; its error ends the reading.
func (c *Core) Hold(ctx context.Context, obj source.Object, text io.Reader, keep func(n int) error) (*Reading, error) {
	return c.read(ctx, obj, text, &Reading{hold: keep})
}

func (c *Core) read(ctx context.Context, obj source.Object, text io.Reader, r *Reading) (*Reading, error) {
	r.core, r.ctx, r.obj, r.received = c, ctx, obj, c.Now().UTC()
	var dec *event.Decoder
	select {
	case dec = <-c.decoders:
	case <-ctx.Done():
		return r, notAccepted{context.Cause(ctx)}
	}
	if dec == nil {
		dec = event.NewDecoder(c.Limits)
	}
	defer func() { c.decoders <- dec }()
	err := dec.Decode(ctx, obj.Name, text, r)
	r.met, r.expanded = dec.Met(), dec.Expanded()
	if r.fatal != nil {
		return r, r.fatal
	}
	if r.hold == nil {
		// What came before a break is good, and handed on too.
		if flushed := r.HandOn(ctx); flushed != nil {
			return r, flushed
		}
	}
	if err != nil && ctx.Err() != nil {
		return r, notAccepted{context.Cause(ctx)}
	}
	return r, err
}

// skipped is the reason why the object counts as left out: it is something else than logs, and never said to be any.
func (r *Reading) skipped(err error) string {
	if r.skip != "" || r.index > 0 || r.obj.Place.Kind != source.Unknown {
		return r.skip
	}
	if errors.Is(err, event.ErrNoRecords) || errors.Is(err, event.ErrNotLogs) && !intake.JSONName(r.obj.Name) {
		return err.Error()
	}
	return ""
}

// None is the reading when nothing of it was handed on: what was kept of it counts as malformed.
func (r *Reading) None() *Reading {
	for _, c := range r.cells {
		r.undone += c.n[ledger.Kept]
		c.n[ledger.Kept] = 0
	}
	r.Kept = 0
	return r
}

// Else says whether the object with this error is just something else than logs, which is no failure.
func (r *Reading) Else(err error) bool { return err != nil && r.skipped(err) != "" }

// Met is how many records, malformed stretches and digests the object held.
func (r *Reading) Met() int64 { return r.index }

// Rejected is how many stretches were malformed.
func (r *Reading) Rejected() int64 { return r.rejected }

// Event implements [event.Sink].
func (r *Reading) Event(e *event.Event) error {
	r.index++
	account, region := e.Account(), e.Region()
	c := r.core
	if !selected(c.Accounts, account) || !selected(c.Regions, region) {
		r.cell(account, region, e.Time)[ledger.Filtered]++
		r.Filtered++
		return nil
	}
	r.cell(account, region, e.Time)[ledger.Kept]++
	r.Kept++
	if r.hold != nil {
		if err := r.hold(len(e.Raw)); err != nil {
			r.fatal = err
			return err
		}
	} else if len(r.batch) > 0 && r.bytes+int64(len(e.Raw)) > int64(r.limit) {
		if err := r.HandOn(r.ctx); err != nil {
			r.fatal = err
			return err
		}
	}
	r.batch = append(r.batch, journal.Record{Raw: r.copy(e.Raw), Origin: journal.Origin{
		Source: c.Name, Object: r.obj.Name, Offset: r.base + e.Offset, Received: r.received,
	}})
	r.bytes += int64(len(e.Raw))
	return nil
}

func selected(want []string, s string) bool {
	for _, w := range want {
		if w == s {
			return true
		}
	}
	return len(want) == 0
}

const chunkSize = 256 << 10

// copy keeps the bytes of a record in chunks, so that many share an allocation.
func (r *Reading) copy(raw []byte) []byte {
	if len(raw) > len(r.free) {
		if len(raw) > chunkSize/4 {
			return append([]byte(nil), raw...)
		}
		r.chunk = make([]byte, chunkSize)
		r.free = r.chunk
	}
	n := copy(r.free, raw)
	out := r.free[:n:n]
	r.free = r.free[n:]
	return out
}

// HandOn gives what was kept to the acceptor, and waits while there is no room. Errors are [Passing].
func (r *Reading) HandOn(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	if err := r.core.accept(ctx, r, r.batch, r.hold == nil); err != nil {
		return err
	}
	clear(r.batch)
	r.batch, r.bytes, r.free = r.batch[:0], 0, r.chunk
	return nil
}

// accept hands records on. wait says whether to wait for room.
func (c *Core) accept(ctx context.Context, r *Reading, records []journal.Record, wait bool) error {
	for failures := 0; ; {
		err := c.Accept.Accept(ctx, records)
		if err == nil {
			var n int64
			for i := range records {
				n += int64(len(records[i].Raw))
			}
			c.accepted(len(records), n)
			return nil
		}
		if ctx.Err() != nil {
			return notAccepted{context.Cause(ctx)}
		}
		var full *journal.FullError
		switch {
		case errors.Is(err, journal.ErrTooLarge) && len(records) > 1:
			half := len(records) / 2
			if err := c.accept(ctx, r, records[:half], wait); err != nil {
				return err
			}
			return c.accept(ctx, r, records[half:], wait)
		case errors.Is(err, journal.ErrTooLarge):
			r.tooLarge(records[0])
			return nil
		case errors.Is(err, journal.ErrClosed) || !wait:
			return notAccepted{err}
		case errors.As(err, &full):
			c.Note(func(s *Stats) { s.Waits++ })
			if err := Pause(ctx, max(full.RetryAfter, 10*time.Millisecond)); err != nil {
				return notAccepted{err}
			}
		default: // not known to be durable: offered again, and told by its id further on
			failures++
			c.Failed(fmt.Errorf("make records durable: %w", err))
			if failures == 5 {
				return notAccepted{err}
			}
			if err := Pause(ctx, Backoff(100*time.Millisecond, 5*time.Second, failures)); err != nil {
				return notAccepted{err}
			}
		}
	}
}

// tooLarge turns a record that was counted as kept into a rejected one.
func (r *Reading) tooLarge(rec journal.Record) {
	var e event.Event
	if e.Reset(rec.Raw) == nil {
		r.cell(e.Account(), e.Region(), e.Time)[ledger.Kept]--
	}
	r.Kept--
	r.reject(Reject{Index: -1, Offset: rec.Origin.Offset, Length: int64(len(rec.Raw)), Reason: "larger than the journal takes"})
}

// Reject implements [event.Sink].
func (r *Reading) Reject(e event.Reject) error {
	r.index++
	r.reject(Reject{Index: r.index - 1, Offset: r.base + e.Offset, Length: e.Length, Reason: strings.Clone(e.Reason)})
	return nil
}

func (r *Reading) reject(e Reject) {
	r.rejected++
	if len(r.Rejects) < rejectMax {
		r.Rejects = append(r.Rejects, e)
	}
}

// Note implements [event.Sink].
func (r *Reading) Note(remark string) {
	if len(r.notes) < rejectMax {
		r.notes = append(r.notes, remark)
	}
}

// Digest implements [event.Sink].
func (r *Reading) Digest([]byte) error {
	r.index++
	r.Other++
	r.cell("", "", 0)[ledger.Other]++
	return nil
}

// cell counts for an account, Region and hour.
func (r *Reading) cell(account, region string, at int64) *[ledger.Other + 1]int64 {
	key := cellKey{account, region, at / int64(time.Hour)}
	if at%int64(time.Hour) < 0 {
		key.hour--
	}
	if r.last != nil && key == r.last.key {
		return &r.last.n
	}
	c := r.cells[key]
	if c == nil {
		key.account, key.region = clip(account), clip(region)
		if len(r.cells) >= cellMax {
			key = cellKey{account: ledger.Rest, region: ledger.Rest}
		}
		if c = r.cells[key]; c == nil {
			if r.cells == nil {
				r.cells = map[cellKey]*cell{}
			}
			c = &cell{key: key}
			r.cells[key] = c
		}
	}
	r.last = c
	return &c.n
}

// clip makes a copy of bounded size: text of an event is valid for a short time only.
func clip(s string) string {
	if len(s) > nameMax {
		s = s[:nameMax]
	}
	return strings.Clone(s)
}

// count adds what was read to the ledger.
func (r *Reading) count(o *ledger.Object) {
	for key, c := range r.cells {
		for out, k := range c.n {
			for range k {
				o.Record(key.account, key.region, key.hour*int64(time.Hour), ledger.Outcome(out))
			}
		}
	}
	for _, e := range r.Rejects {
		o.Reject(e.Offset, e.Length, e.Reason)
	}
	for range r.rejected - int64(len(r.Rejects)) {
		o.Reject(0, 0, "one of many malformed stretches")
	}
	for range r.undone {
		o.Reject(0, 0, "not accepted, as the request was broken")
	}
	for _, n := range r.notes {
		o.Note(n)
	}
	o.Seen(r.met)
	o.Expanded(r.expanded)
}

// short is an error as it is shown: bounded.
func short(err error) string {
	const most = 600
	s := err.Error()
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + " …"
	}
	return s
}
