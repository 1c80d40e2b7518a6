// Package live is what the sources of a running service share: reading objects into records that are made durable, the
// ledger of a source, its figures, and its dead letters.
//
// A source runs until its context ends. What it reads goes through the decoder of package event to an [Acceptor], which
// returns when the records are durable; only then does the source forget where they came from. A source that is stopped at
// any moment, killed too, reads what it had not settled again: the same record may be accepted twice, and is told by its
// eventID further on.
//
// Settled is an object that was read, left out for a reason, or given up and laid to the dead letters. It is counted in the
// ledger once, when it is settled, so that the ledger of a running source balances at any moment.
package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"spoor/internal/durable"
	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/ledger"
)

// Acceptor takes records in. Accept returns nil when all of them are durable, and keeps nothing of them afterwards. Its errors
// are those of [journal.Journal.Append].
type Acceptor interface {
	Accept(ctx context.Context, records []journal.Record) error
}

// AcceptFunc is a function as an [Acceptor].
type AcceptFunc func(ctx context.Context, records []journal.Record) error

// Accept calls the function.
func (f AcceptFunc) Accept(ctx context.Context, records []journal.Record) error {
	return f(ctx, records)
}

// Into accepts into a journal.
func Into(j *journal.Journal) Acceptor {
	return AcceptFunc(func(ctx context.Context, records []journal.Record) error {
		_, err := j.Append(ctx, records)
		return err
	})
}

// Source is a live source. Its methods may be called at any time, while it runs too.
type Source interface {
	// Run reads until the context ends, and then returns nil when everything is in order. It is called once. An error is one
	// that trying again does not help; what may pass is counted, logged and tried again.
	Run(ctx context.Context) error
	Stats() Stats
	// Ledger is what was settled since a time, to the day: what was read on the day of since and later. The zero time is all.
	Ledger(since time.Time) (*ledger.Report, error)
	// Dead lists dead letters in the order of their ids, at most limit of those after an id.
	Dead(after string, limit int) ([]Letter, error)
	// Replay tries a dead letter again, and removes it when all of it is durable.
	Replay(ctx context.Context, id string) error
	// Discard removes a dead letter.
	Discard(id string) error
	// Close keeps what is to be kept. It is called once, after Run has returned or in its place.
	Close() error
}

// Stats are the figures of a source. Counters count from its opening.
type Stats struct {
	Name        string        `json:"name"`
	Kind        string        `json:"kind"` // sqs, s3, folder or push
	Running     bool          `json:"running"`
	Objects     int64         `json:"objects"`  // settled
	Failed      int64         `json:"failed"`   // of them, those given up
	Records     int64         `json:"records"`  // accepted; again when an object was read again
	Rejected    int64         `json:"rejected"` // malformed
	Bytes       int64         `json:"bytes"`    // of the accepted records
	Rate        float64       `json:"recordsPerSecond"`
	InFlight    int64         `json:"inFlight"` // objects, messages or requests being worked on
	Backlog     int64         `json:"backlog"`  // what is known to wait, -1 when that is not known
	Lag         time.Duration `json:"lagNanoseconds"`
	Retries     int64         `json:"retries"` // objects and messages that were left to be tried again
	Waits       int64         `json:"waits"`   // times that there was no room in the journal
	Errors      int64         `json:"errors"`
	LastError   string        `json:"lastError,omitempty"`
	LastErrorAt time.Time     `json:"lastErrorAt,omitzero"`
	LastSuccess time.Time     `json:"lastSuccess,omitzero"` // when an object was last settled well, or a look found nothing new
	DeadLetters int64         `json:"deadLetters"`
}

// Options are what all sources need.
type Options struct {
	Name   string // of the source: in origins, ledger and logs
	Kind   string // set by the source
	Dir    string // folder of what the source remembers; it is made when it is missing, and locked
	Accept Acceptor

	Accounts, Regions []string // only records of these; empty for all
	Workers           int      // objects that are read at once; default the number of processors
	Limits            event.Limits
	// BatchBytes is how much of an object is handed on at once, default 2 MiB; a larger record is a batch of its own.
	BatchBytes int
	// DeadMax is how many dead letters are kept. Default 100 000. Beyond, nothing is given up any more: it stays where it came
	// from, and is an error each time.
	DeadMax int
	// Checkpoint is how often the ledger is written. Default 10 s. A crash takes the counts since then with it, for sources
	// that read again what is not in their ledger nothing more.
	Checkpoint time.Duration

	Log *slog.Logger     // default discards
	Now func() time.Time // default [time.Now]; what figures, days of the ledger and letters go by
}

// Open opens what a source has in its folder.
func Open(o Options) (*Core, error) {
	if o.Name == "" || o.Dir == "" || o.Accept == nil {
		return nil, errors.New("a source needs a name, a folder and an acceptor")
	}
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.BatchBytes <= 0 {
		o.BatchBytes = 2 << 20
	}
	if o.DeadMax <= 0 {
		o.DeadMax = 100_000
	}
	if o.Checkpoint <= 0 {
		o.Checkpoint = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	o.Log = o.Log.With("source", o.Name)
	c := &Core{Options: o, decoders: make(chan *event.Decoder, o.Workers)}
	for range o.Workers {
		c.decoders <- nil // made when it is used
	}
	c.stats.Name, c.stats.Kind, c.stats.Backlog = o.Name, o.Kind, -1
	if err := c.openDir(); err != nil {
		return nil, fmt.Errorf("open source %s: %w", o.Name, err)
	}
	return c, nil
}

// ErrOpen is returned when another process has the folder of the source.
var ErrOpen = durable.ErrLocked

// failing gives its error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

var _ io.Reader = failing{}
