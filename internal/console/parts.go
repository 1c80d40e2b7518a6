package console

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"time"

	"spoor/internal/config"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/livetail"
	"spoor/internal/query"
	"spoor/internal/recorder"
	"spoor/internal/source/live"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// Access knows who may do what; [iam.Service] is one.
type Access interface {
	Authenticate(ctx context.Context, token string, from netip.Addr) (iam.Caller, error)
	Authorize(ctx context.Context, c iam.Caller, a iam.Action, r iam.Resource) iam.Decision
	Check(c iam.Caller) error
	Account() string
	Users() []iam.Principal
	User(name string) (iam.Principal, error)
	CreateUser(name string, roles []iam.Role, by string) (iam.Principal, error)
	SetRoles(name string, roles []iam.Role) (iam.Principal, error)
	DeleteUser(name string) error
	Tokens(user string) []iam.Token
	Token(id string) (iam.Token, error)
	CreateToken(spec iam.TokenSpec) (t iam.Token, secret string, err error)
	RevokeToken(id string) (iam.Token, error)
	AccessKeys(user string) []iam.AccessKey
	AccessKey(id string) (iam.AccessKey, error)
	CreateAccessKey(spec iam.KeySpec) (k iam.AccessKey, secret string, err error)
	SetAccessKey(user, id string, active bool) (iam.AccessKey, error)
	DeleteAccessKey(user, id string) error
	Assumables() []iam.Assumable
	Assumable(account, name string) (iam.Assumable, error)
	CreateAssumable(spec iam.AssumableSpec) (iam.Assumable, error)
	UpdateAssumable(account, name string, ch iam.AssumableChange) (iam.Assumable, error)
	DeleteAssumable(account, name string) error
	RevokeSessions(account, name string) (iam.Assumable, error)
	Policies() *iam.Policies
}

// Recorder makes calls durable as events; [recorder.Recorder] is one.
type Recorder interface {
	Record(ctx context.Context, c recorder.Call) (eventID string, err error)
	Refused(ctx context.Context, kind string, c recorder.Call) error
}

// Asker answers questions about events; package query has one. Errors are those of package query.
type Asker interface {
	Search(ctx context.Context, q query.Search) (query.Page, error)
	// Event gives one event, and the files that could not be read and may have it when it is not found.
	Event(ctx context.Context, id string) (query.Event, []store.Damage, error)
	Histogram(ctx context.Context, q query.Histogram) (query.HistogramResult, error)
	Top(ctx context.Context, q query.Top) (query.TopResult, error)
	SQL(ctx context.Context, q query.SQL) (Rows, error)
	Fields(ctx context.Context) ([]query.Field, error)
}

// Rows is the result of a query that is being read, by one goroutine; [duckdb.Rows] writes one.
type Rows interface {
	// Write writes the rows in one of [duckdb.Formats]. Width is that of the terminal that a table is for, 0 for none.
	Write(w io.Writer, format string, width int) (duckdb.Written, error)
	Damaged() []store.Damage // files that were left out
	Close() error
}

// Tailer gives events as they are accepted.
type Tailer interface {
	// Tail begins behind a position, or with what comes when it is empty. Terms that cannot be understood are
	// query.ErrInvalid, and one tail too many is livetail.ErrTooMany.
	Tail(ctx context.Context, terms []string, after string) (Tail, error)
}

// Tail is one reader's; [livetail.Subscription] is one.
type Tail interface {
	// Next waits for the next message.
	Next(ctx context.Context) (livetail.Message, error)
	// Position is that behind everything that was given, and behind what was read and is not for the reader.
	Position() string
	Close()
}

// SourceStatus is a source with its figures.
type SourceStatus struct {
	live.Stats
	State string    `json:"state" doc:"running, paused, disabled, failed, or elsewhere: run by another process"`
	Error string    `json:"error,omitempty" doc:"why it failed"`
	Retry time.Time `json:"retryAt,omitzero" doc:"when it is tried again"`
}

// Sources are where events come from. A name that is not there is ErrNotFound.
type Sources interface {
	List() []SourceStatus
	Get(name string) (SourceStatus, error)
	Source(name string) (live.Source, error) // for its ledger and dead letters
	Pause(ctx context.Context, name string) error
	Resume(ctx context.Context, name string) error
	// PushTo is the handler that takes what is sent to a source.
	PushTo(name string) (http.Handler, error)
	// Ledgers are those of all sources, or of one, of what was read on the day of since and later.
	Ledgers(since time.Time, name string) (map[string]*ledger.Report, error)
}

// StoreKeeper is the store's upkeep.
type StoreKeeper interface {
	Status(ctx context.Context) (*store.Status, error)
	Live(ctx context.Context) (any, error) // figures of what is not committed yet; nil for none
	Compact(ctx context.Context) (*store.CompactResult, error)
	Expire(ctx context.Context) (*Expired, error)
	Holds(ctx context.Context) ([]store.Hold, error)
	Hold(ctx context.Context, h store.Hold) error
	Release(ctx context.Context, name string) error
}

// Expired is what retention and expiry removed.
type Expired struct {
	Retained *store.RetainResult `json:"retained,omitempty" doc:"events that were too old"`
	Expired  *store.ExpireResult `json:"expired,omitempty" doc:"files that left the disk"`
}

// Journal gives the figures of the journal; [journal.Journal] is one.
type Journal interface {
	Stats(ctx context.Context) (journal.Stats, error)
}

// Configuration is the configuration in effect.
type Configuration interface {
	Effective() []config.Effective
	// Reload reads it again, and says which settings changed, and which of them want a restart.
	Reload(ctx context.Context) (Reloaded, error)
}

// Reloaded is what a reload did.
type Reloaded struct {
	Changed  []string `json:"changed" doc:"settings that are in effect now"`
	Restart  []string `json:"restart" doc:"settings that differ and want a restart"`
	Warnings []string `json:"warnings,omitempty"`
}

// Status is how the service is doing.
type Status struct {
	Version string      `json:"version"`
	Started time.Time   `json:"started"`
	Ready   bool        `json:"ready"`
	Reasons []string    `json:"reasons,omitempty" doc:"why it is not ready"`
	Roles   []string    `json:"roles" doc:"what this process does"`
	Parts   []PartState `json:"parts"`
}

// PartState is how a part of the service is doing.
type PartState struct {
	Name   string `json:"name" example:"store"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
}
