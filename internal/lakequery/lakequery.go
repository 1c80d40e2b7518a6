// Package lakequery runs queries of CloudTrail Lake: each is started by one call, runs on its own, and its rows are kept in a
// file of a folder, from which any number of calls read them by pages.
//
// A query belongs to an account and a Region, and does not exist for others. It is QUEUED until the engine has room, RUNNING,
// and then FINISHED, FAILED, CANCELLED or TIMED_OUT for good. What [Manager.Start] has answered is durable: a query whose
// process ended before it did is found FAILED afterwards, and one that is FINISHED has all its rows. docs/formats/lake-queries.md
// says how the folder is read.
//
// The [Manager] owns its goroutines: one for each query that runs, and one that removes what is old. [Manager.Close] ends the
// queries and waits.
package lakequery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"spoor/internal/query"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// Defaults of [Options].
const (
	DefaultConcurrent = 10
	DefaultRunning    = 2
	DefaultTimeout    = time.Hour
	DefaultSize       = 4 << 30
	DefaultAge        = 7 * 24 * time.Hour
	DefaultMost       = 50_000
)

// Bounds of pages and statements, as AWS has them.
const (
	MaxPage      = 1000
	MaxStatement = 10_000 // characters
)

// Engine answers SQL. [Over] makes one of a [query.Engine].
type Engine interface {
	// Check tells whether a query can be asked, without asking it.
	Check(ctx context.Context, q query.SQL) error
	// SQL asks. When ctx ends, so does the question, at once.
	SQL(ctx context.Context, q query.SQL) (Rows, error)
}

// Rows is a result that is being read, by one goroutine. Close must be called.
type Rows interface {
	Columns() []duckdb.Column
	Next() (values []duckdb.Value, ok bool, err error) // as [duckdb.Rows.Next]
	Scanned() (events, bytes int64)                    // of the files that were looked at
	Damaged() []store.Damage                           // files that were left out
	Close() error
}

// Tables tells what event data stores hold: a [lake.Lake]. An id that is none is a [lake.NotFoundError], a store that cannot be
// queried [lake.ErrInactive]; other errors are handed on.
type Tables interface {
	DataStores(ctx context.Context, account, region string, ids []string) ([]duckdb.DataStore, error)
}

// Options of [Open].
type Options struct {
	Engine Engine
	Tables Tables
	// Concurrent is how many queries of an account may be queued or running.
	Concurrent int
	// Running is how many queries of all accounts run at once: fewer than the engine answers at once, so that there is room
	// for questions that somebody waits for.
	Running int
	// Timeout ends a query; what it waited for its turn does not count.
	Timeout time.Duration
	// Wait is how long [Manager.Results] waits for the end of a query, so that who asks has the rows as soon as they are there,
	// and asks less often.
	Wait time.Duration
	// Size is how many bytes the folder may take: for more, queries that have ended go before their time, the oldest of the
	// account that takes the most. QuerySize is how many the rows of one query may take there, compressed, a quarter of Size
	// when 0; a query that needs more fails.
	Size, QuerySize int64
	// Age is how long a query and its rows are kept, from its start on.
	Age time.Duration
	// Most is how many queries are kept; of more, those that ended go before their time, the oldest first.
	Most int
	Log  *slog.Logger // nothing is logged when nil
}

// Status is how far a query is.
type Status string

// The statuses.
const (
	Queued    Status = "QUEUED"
	Running   Status = "RUNNING"
	Finished  Status = "FINISHED"
	Failed    Status = "FAILED"
	Cancelled Status = "CANCELLED"
	TimedOut  Status = "TIMED_OUT"
)

// Ended reports whether nothing more will happen.
func (s Status) Ended() bool { return s != Queued && s != Running }

// Owner is whom a query belongs to.
type Owner struct{ Account, Region string }

// Spec is a query to start: a statement of the Lake dialect, or an alias.
type Spec struct {
	Owner     Owner
	By        string // ARN of who starts it
	Statement string
	// Alias is the name of a ready query (see [duckdb.ReadyQueries]), which sees the events of the account's built-in store;
	// Params are the values of its parameters in their order, each also as name=value.
	Alias  string
	Params []string
}

// Query is what is known of a query.
type Query struct {
	ID        string
	Owner     Owner
	By        string
	Statement string
	Alias     string
	Stores    []string // ids of the event data stores that it asks
	Status    Status
	// Error says why it failed; of one that finished, what its rows may lack.
	Error   string
	Created time.Time
	Took    time.Duration // from when it began to run until it ended, so far for one that runs
	Rows    int64         // of the result; 0 unless it finished
	Scanned int64         // events of the files that were looked at
	Bytes   int64         // of these files
}

// Page is a stretch of the rows of a query.
type Page struct {
	Query   Query // rows are there only when it finished
	Columns []string
	Rows    [][]duckdb.Value
	Next    string // token of the page after, "" for none
}

// Filter says which queries [Manager.List] gives.
type Filter struct {
	Owner Owner
	Store string // id of the event data store that they ask
	// Since and Until bound the start, both included; zero times are no bounds.
	Since, Until time.Time
	Status       Status // "" for all
	Limit        int    // of a page, MaxPage when 0
	Token        string // Next of the page before, with everything else the same
}

// Errors, by [errors.Is].
var (
	ErrNotFound = errors.New("there is no such query")
	ErrEnded    = errors.New("the query has ended")
	ErrToken    = errors.New("the token is not one for these parameters")
	ErrTooMany  = errors.New("too many queries are queued or running")
	ErrClosed   = errors.New("queries are not taken any more")
)

// StatementError says why a query is not run, and where in it the reason is.
type StatementError struct {
	Line, Column int // from 1 on, in characters; 0 when the place is not known
	Reason       string

	cause error // a store that is not there
}

// Unwrap gives the [lake.NotFoundError] of a statement that asks a store that is not there.
func (e *StatementError) Unwrap() error { return e.cause }

// Error implements error.
func (e *StatementError) Error() string {
	if e.Line == 0 {
		return e.Reason
	}
	return fmt.Sprintf("line %d:%d: %s", e.Line, e.Column, e.Reason)
}

// ParameterError says what of the parameters of an alias is wrong.
type ParameterError struct{ Reason string }

// Error implements error.
func (e *ParameterError) Error() string { return e.Reason }
