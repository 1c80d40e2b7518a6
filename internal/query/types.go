package query

import (
	"encoding/json"
	"errors"
	"time"

	"spoor/internal/event"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// Filter says which events a question is about. The zero value is all of them.
type Filter struct {
	// Terms all hold. They are written as those of spoor search: text that stands anywhere in the event, or field=value,
	// field!=value, field|modifier=value, field~expression.
	Terms []string
	// Since and Until bound the event time, Until not included; zero times are no bounds. Events without a time are always
	// asked about.
	Since, Until time.Time
	// Accounts and Regions are the only ones asked about; none are all.
	Accounts, Regions []string
}

// Order is the order of the events of a [Page].
type Order string

// The orders. Events without a time come last in both.
const (
	Newest Order = "newest" // first; also when Order is empty
	Oldest Order = "oldest" // first
)

// Search asks for events, a page at a time.
type Search struct {
	Filter
	Order Order
	// Limit is the most events of a page, 50 when 0, at most [MaxPage].
	Limit int
	// Cursor is [Page.Next] of the page before, with everything else the same; empty for the first page.
	Cursor string
}

// MaxPage is the most events that a page can have.
const MaxPage = 1000

// Page is a stretch of the events that were asked for.
type Page struct {
	Events []Event
	// Next is the cursor of the next page, empty when there are no more events. A cursor stays good while events arrive and
	// files are merged: it is a place in the order of time, so no event comes twice, and none is left out that was there
	// when the first page was asked for.
	Next    string
	Damaged []store.Damage // files that were left out; the answer may miss their events
}

// Event is an event and what people want to know of it first. Its texts are as they came: whoever shows them neutralises
// them.
type Event struct {
	ID      string
	Time    time.Time // zero when it has none
	Source  string    // such as iam.amazonaws.com
	Name    string
	Region  string
	Account string
	Actor   event.Actor
	// Target is the resource that the call was about, as far as that can be told.
	Target       string
	Address      string // sourceIPAddress
	UserAgent    string
	AccessKey    string
	Category     string // Management, Data, NetworkActivity, Insight, Aggregated or ActivityAuditLog
	ReadOnly     *bool  // nil when the record does not tell
	ErrorCode    string
	ErrorMessage string
	Failed       bool
	// Raw is the record, byte for byte as it arrived.
	Raw json.RawMessage
}

// Histogram asks how many events there are over time.
type Histogram struct {
	Filter
	// Interval is the length of a bucket: whole seconds, counted from midnight UTC of 1970-01-01. When 0, Buckets is the
	// count of buckets wanted, 60 when 0 too, and the interval is the next longer usual one (1s … 1m, 5m … 1h … 1d … 7d).
	Interval time.Duration
	Buckets  int
	// By is a field by whose values the counts are told apart, such as eventSource; empty for none. The By.. most frequent
	// values are told, [MaxSeries] at most, the others together.
	By string
}

// MaxBuckets is the most buckets of a histogram; MaxSeries the most values of a field that it tells apart.
const (
	MaxBuckets = 10_000
	MaxSeries  = 20
)

// HistogramResult is how many events there were in each interval. Buckets without events are not listed.
type HistogramResult struct {
	Interval time.Duration
	Buckets  []Bucket // in the order of time
	// Values are the values of By, most frequent first; Bucket.By has the same order.
	Values  []Value
	Untimed int64 // events without a time, in no bucket
	Total   int64 // of all buckets, and Untimed
	Damaged []store.Damage
}

// Bucket is the events from From on, for an interval.
type Bucket struct {
	From   time.Time
	Count  int64
	By     []int64 // of each of HistogramResult.Values
	Others int64   // of Count, those with other values of By, or none
}

// Top asks for the most frequent values of a field.
type Top struct {
	Filter
	// Field is a path of the record, such as eventName or requestParameters.bucketName, or one of [Fields]. Of an array
	// every element counts, each value once for an event.
	Field string
	// Limit is the most values, 10 when 0, at most [MaxTop].
	Limit int
}

// MaxTop is the most values of a [Top].
const MaxTop = 1000

// TopResult is the most frequent values of a field, most frequent first, equal ones by value.
type TopResult struct {
	Values  []Value
	Total   int64 // events
	Missing int64 // of them, those without a value
	Others  int64 // values of events that are not among Values
	Damaged []store.Damage
}

// Value is a value of a field, and how many events have it.
type Value struct {
	Value string
	Count int64
}

// SQL asks in SQL, in the sandbox of package duckdb.
type SQL struct {
	// Query is the SQL; Ready, in its place, the name of a ready query ([duckdb.ReadyQueries]).
	Query, Ready string
	// Params are the values of $name in the query, or of the ready query's parameters.
	Params map[string]string
	// Since, Until, Accounts and Regions bound what the tables have; see [Filter].
	Since, Until      time.Time
	Accounts, Regions []string
	// Limit is the most rows to give, Options.MaxRows when 0 or more than that. Whole gives all rows, however many.
	Limit int64
	Whole bool
	// Timeout ends the question in place of Options.Timeout, when not 0.
	Timeout time.Duration
	// DataStores, when not nil, are the only tables that are there, and Query is in the Lake dialect.
	DataStores []duckdb.DataStore
	// Accepted, when not nil, is called, once or more often, when it is known that the question may be asked, before it is.
	Accepted func()
}

// Field is something by which events can be counted and looked for.
type Field struct {
	Path string
	Type string // string, boolean, object, array
	Doc  string
	// Countable fields can be asked by [Top] and Histogram.By at the cost of a column; others are read from the records.
	Countable bool
}

// Errors that tell the caller apart what went wrong.
var (
	// ErrInvalid is in errors of questions that cannot be asked: the caller's mistake.
	ErrInvalid = errors.New("invalid question")
	// ErrNotFound says that there is no such event.
	ErrNotFound = errors.New("no such event")
	// ErrTooMany says that a field has too many different values to be counted.
	ErrTooMany = errors.New("too many different values")
)

// BusyError says that too many questions are being answered. Nothing was asked; try again later.
type BusyError struct {
	// RetryAfter is when there is likely to be room.
	RetryAfter time.Duration
}

func (e *BusyError) Error() string { return "too many questions are being answered at once" }

// Errors of questions that came to an end before their answer, by [errors.Is] and [errors.As].
var (
	ErrTimeout = duckdb.ErrTimeout
	ErrMemory  = duckdb.ErrMemory
)

// RefusedError says why SQL is not run.
type RefusedError = duckdb.RefusedError
