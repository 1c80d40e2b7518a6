package console

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"spoor/internal/config"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/source/live"
	"spoor/internal/store"
)

// missing is the problem of a part that this process does not have.
func missing(what string) *Problem {
	return problem(http.StatusServiceUnavailable, codeUnavailable, "this process has no "+what+": another one with that role has it, or it is not configured")
}

// SourceLedger is the ledger of a source.
type SourceLedger struct {
	Source string         `json:"source"`
	Ledger *ledger.Report `json:"ledger"`
}

// JournalState is how the journal is doing.
type JournalState struct {
	First       uint64          `json:"first" doc:"oldest sequence that is there"`
	Last        uint64          `json:"last" doc:"newest; first-1 when there is none"`
	Bytes       int64           `json:"bytes"`
	Error       string          `json:"error,omitempty" doc:"of the last write"`
	Appends     uint64          `json:"appends"`
	Duplicates  uint64          `json:"duplicates"`
	Records     uint64          `json:"records"`
	RecordBytes uint64          `json:"recordBytes"`
	StoredBytes uint64          `json:"storedBytes"`
	Writes      uint64          `json:"writes"`
	Refused     uint64          `json:"refused" doc:"appends that were not accepted for want of room"`
	Removed     uint64          `json:"removed" doc:"sequences, by retention"`
	Dropped     uint64          `json:"dropped" doc:"of them, those that a follower had not acknowledged"`
	Damaged     uint64          `json:"damagedFiles"`
	LostAtEnd   uint64          `json:"lostAtEnd"`
	Followers   []FollowerState `json:"followers" nullable:"false"`
}

// FollowerState is how a follower of the journal is doing.
type FollowerState struct {
	Name       string  `json:"name"`
	Active     bool    `json:"active"`
	Cursor     uint64  `json:"cursor" doc:"acknowledged"`
	Delivered  uint64  `json:"delivered"`
	Lag        uint64  `json:"lag" doc:"sequences that are not acknowledged"`
	AgeSeconds float64 `json:"ageSeconds" doc:"of the oldest entry that is not acknowledged"`
	Lost       uint64  `json:"lost" doc:"sequences that could not be read"`
}

func journalState(s journal.Stats) JournalState {
	out := JournalState{
		First: s.First, Last: s.Last, Bytes: s.Bytes, Appends: s.Appends, Duplicates: s.Duplicates, Records: s.Records, RecordBytes: s.RecordBytes,
		StoredBytes: s.StoredBytes, Writes: s.Writes, Refused: s.Refused, Removed: s.Removed, Dropped: s.Dropped, Damaged: s.DamagedFiles, LostAtEnd: s.LostAtEnd,
		Followers: []FollowerState{},
	}
	if s.Err != nil {
		out.Error = s.Err.Error()
	}
	for _, f := range s.Followers {
		out.Followers = append(out.Followers, FollowerState{f.Name, f.Active, f.Cursor, f.Delivered, f.Lag, f.Age.Seconds(), f.Lost})
	}
	return out
}

type items[T any] struct {
	Items []T `json:"items" nullable:"false"`
}

func itemsOf[T any](list []T) *body[items[T]] {
	if list == nil {
		list = []T{}
	}
	return &body[items[T]]{items[T]{list}}
}

// SourcePath names a source in a path; see [UserPath].
type SourcePath struct {
	Name string `path:"name" maxLength:"128" doc:"name of the source"`
}

func aboutSource(r *http.Request, _ []byte) iam.Resource {
	return iam.Resource{Type: iam.TypeSource, ID: r.PathValue("name")}
}

func (c *Console) sources() (Sources, error) {
	if c.o.Sources == nil {
		return nil, missing("sources")
	}
	return c.o.Sources, nil
}

func (c *Console) source(name string) (live.Source, error) {
	s, err := c.sources()
	if err != nil {
		return nil, err
	}
	return s.Source(name)
}

func (c *Console) registerSources() {
	register(c, spec{method: "GET", path: apiPath + "/sources", action: iam.ListSources, tag: "sources", summary: "Sources, with lag, rate and errors"},
		func(context.Context, *none) (*body[items[SourceStatus]], error) {
			s, err := c.sources()
			if err != nil {
				return nil, err
			}
			return itemsOf(s.List()), nil
		})
	register(c, spec{method: "GET", path: apiPath + "/sources/{name}", action: iam.GetSource, tag: "sources", summary: "One source", about: aboutSource},
		func(_ context.Context, in *SourcePath) (*body[SourceStatus], error) {
			s, err := c.sources()
			if err != nil {
				return nil, err
			}
			st, err := s.Get(in.Name)
			return &body[SourceStatus]{st}, err
		})
	for _, op := range []struct {
		verb, summary string
		action        iam.Action
		do            func(Sources, context.Context, string) error
	}{
		{"pause", "Stop reading from a source", iam.PauseSource, Sources.Pause},
		{"resume", "Read from it again", iam.ResumeSource, Sources.Resume},
	} {
		register(c, spec{method: "POST", path: apiPath + "/sources/{name}/" + op.verb, action: op.action, tag: "sources", summary: op.summary, about: aboutSource},
			func(ctx context.Context, in *SourcePath) (*body[SourceStatus], error) {
				s, err := c.sources()
				if err != nil {
					return nil, err
				}
				err = c.apply(ctx, change{
					action: op.action, params: map[string]any{"source": in.Name},
					check: func() error { _, err := s.Get(in.Name); return err },
					do:    func(ctx context.Context) (map[string]any, error) { return nil, op.do(s, ctx, in.Name) },
				})
				if err != nil {
					return nil, err
				}
				st, err := s.Get(in.Name)
				return &body[SourceStatus]{st}, err
			})
	}
	type letters struct {
		SourcePath
		After string `query:"after" maxLength:"256" doc:"id of the last letter of the page before"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	}
	type letterPage struct {
		Items []live.Letter `json:"items" nullable:"false"`
		Next  string        `json:"next,omitempty" doc:"to be given as after for the next page; missing when there is none"`
	}
	register(c, spec{method: "GET", path: apiPath + "/sources/{name}/dead-letters", action: iam.ListDeadLetters, tag: "sources", summary: "What could not be read", about: aboutSource},
		func(_ context.Context, in *letters) (*body[letterPage], error) {
			src, err := c.source(in.Name)
			if err != nil {
				return nil, err
			}
			list, err := src.Dead(in.After, in.Limit)
			if err != nil {
				return nil, err
			}
			page := letterPage{Items: append([]live.Letter{}, list...)}
			if len(list) == in.Limit {
				page.Next = list[len(list)-1].ID
			}
			return &body[letterPage]{page}, nil
		})
	type letterPath struct {
		SourcePath
		ID string `path:"id" maxLength:"256" doc:"id of the dead letter"`
	}
	letter := func(src live.Source, id string) func() error {
		one, ok := src.(interface {
			Letter(id string) (live.Letter, error)
		})
		if !ok {
			return nil
		}
		return func() error { _, err := one.Letter(id); return err }
	}
	register(c, spec{method: "POST", path: apiPath + "/sources/{name}/dead-letters/{id}/replay", action: iam.ReplayDeadLetters, tag: "sources", summary: "Try a dead letter again",
		doc: "It is removed when all of it is durable.", about: aboutSource},
		func(ctx context.Context, in *letterPath) (*none, error) {
			src, err := c.source(in.Name)
			if err != nil {
				return nil, err
			}
			return nil, c.apply(ctx, change{
				action: iam.ReplayDeadLetters, params: map[string]any{"source": in.Name, "id": in.ID}, check: letter(src, in.ID),
				do: func(ctx context.Context) (map[string]any, error) {
					err := src.Replay(ctx, in.ID)
					if err != nil && known(err) == nil { // why it cannot be read is what the caller wants to know
						err = fmt.Errorf("%w: the dead letter still cannot be read: %w", ErrConflict, err)
					}
					return nil, err
				},
			})
		})
	register(c, spec{method: "DELETE", path: apiPath + "/sources/{name}/dead-letters/{id}", action: iam.DeleteDeadLetters, tag: "sources", summary: "Give a dead letter up", about: aboutSource},
		func(ctx context.Context, in *letterPath) (*none, error) {
			src, err := c.source(in.Name)
			if err != nil {
				return nil, err
			}
			return nil, c.apply(ctx, change{
				action: iam.DeleteDeadLetters, params: map[string]any{"source": in.Name, "id": in.ID}, check: letter(src, in.ID),
				do: func(context.Context) (map[string]any, error) { return nil, src.Discard(in.ID) },
			})
		})
	type ledgers struct {
		Since  string `query:"since" maxLength:"64" doc:"what was read on the day of this time and later: 2026-01-10, 2026-01-10T09:00:00Z, or 36h or 7d ago"`
		Source string `query:"source" maxLength:"128" doc:"of this source alone"`
	}
	register(c, spec{method: "GET", path: apiPath + "/ledger", action: iam.GetLedger, tag: "sources", summary: "What was listed, read, kept and failed, by source, account, Region and hour"},
		func(_ context.Context, in *ledgers) (*body[items[SourceLedger]], error) {
			s, err := c.sources()
			if err != nil {
				return nil, err
			}
			since, err := c.when("query.since", in.Since)
			if err != nil {
				return nil, err
			}
			all, err := s.Ledgers(since, in.Source)
			if err != nil {
				return nil, err
			}
			return itemsOf(sortedLedgers(all)), nil
		})
}

func (c *Console) store() (StoreKeeper, error) {
	if c.o.Store == nil {
		return nil, missing("store")
	}
	return c.o.Store, nil
}

// StoreState is what the store holds.
type StoreState struct {
	*store.Status
	Live any `json:"live,omitempty" doc:"what is not committed yet"`
}

// NewHold is a hold to be placed.
type NewHold struct {
	Reason string    `json:"reason,omitempty" maxLength:"1000"`
	Since  time.Time `json:"since,omitzero" required:"false" doc:"first event day that is held; without it, all days up to until"`
	Until  time.Time `json:"until,omitzero" required:"false" doc:"not included; without it, all days from since on, and those to come"`
}

// HoldPath names a hold in a path; see [UserPath].
type HoldPath struct {
	Name string `path:"name" maxLength:"128" doc:"name of the hold"`
}

func (c *Console) registerStore() {
	register(c, spec{method: "GET", path: apiPath + "/store", action: iam.GetStore, tag: "store", summary: "What the store holds, by day"},
		func(ctx context.Context, _ *none) (*body[StoreState], error) {
			k, err := c.store()
			if err != nil {
				return nil, err
			}
			st, err := k.Status(ctx)
			if err != nil {
				return nil, err
			}
			l, err := k.Live(ctx)
			return &body[StoreState]{StoreState{st, l}}, err
		})
	register(c, spec{method: "POST", path: apiPath + "/store/compact", action: iam.CompactStore, tag: "store", summary: "Put small files of days that are over together, now", stream: true},
		func(ctx context.Context, _ *none) (*body[store.CompactResult], error) {
			k, err := c.store()
			if err != nil {
				return nil, err
			}
			var did *store.CompactResult
			err = c.apply(ctx, change{action: iam.CompactStore, do: func(ctx context.Context) (_ map[string]any, err error) {
				did, err = k.Compact(ctx)
				return nil, err
			}})
			if err != nil {
				return nil, err
			}
			return &body[store.CompactResult]{*did}, nil
		})
	register(c, spec{method: "POST", path: apiPath + "/store/expire", action: iam.ExpireStore, tag: "store", summary: "Remove what is too old, and files that were replaced, now", stream: true},
		func(ctx context.Context, _ *none) (*body[Expired], error) {
			k, err := c.store()
			if err != nil {
				return nil, err
			}
			var did *Expired
			err = c.apply(ctx, change{action: iam.ExpireStore, do: func(ctx context.Context) (_ map[string]any, err error) {
				did, err = k.Expire(ctx)
				return nil, err
			}})
			if err != nil {
				return nil, err
			}
			return &body[Expired]{*did}, nil
		})
	register(c, spec{method: "GET", path: apiPath + "/holds", action: iam.ListHolds, tag: "store", summary: "What retention must not touch"},
		func(ctx context.Context, _ *none) (*body[items[store.Hold]], error) {
			k, err := c.store()
			if err != nil {
				return nil, err
			}
			list, err := k.Holds(ctx)
			if err != nil {
				return nil, err
			}
			return itemsOf(list), nil
		})
	held := func(ctx context.Context, k StoreKeeper, name string) (bool, error) {
		list, err := k.Holds(ctx)
		for _, h := range list {
			if h.Name == name {
				return true, nil
			}
		}
		return false, err
	}
	type putHold struct {
		HoldPath
		Body NewHold
	}
	register(c, spec{method: "PUT", path: apiPath + "/holds/{name}", action: iam.PutHold, tag: "store", summary: "Keep retention from removing anything", status: http.StatusNoContent},
		func(ctx context.Context, in *putHold) (*none, error) {
			k, err := c.store()
			if err != nil {
				return nil, err
			}
			h := store.Hold{Name: in.Name, Reason: in.Body.Reason, Since: in.Body.Since, Until: in.Body.Until, Placed: c.o.Now().UTC()}
			params := map[string]any{"name": h.Name, "reason": h.Reason}
			for name, t := range map[string]time.Time{"since": h.Since, "until": h.Until} {
				if !t.IsZero() {
					params[name] = t.UTC().Format(time.RFC3339)
				}
			}
			return nil, c.apply(ctx, change{
				action: iam.PutHold, params: params,
				check: func() error {
					if !h.Since.IsZero() && !h.Until.IsZero() && !h.Since.Before(h.Until) {
						return invalid("body.until", "it is not after since")
					}
					is, err := held(ctx, k, h.Name)
					if is {
						return problem(http.StatusConflict, codeExists, "there is a hold of this name; delete it first")
					}
					return err
				},
				do: func(ctx context.Context) (map[string]any, error) { return nil, k.Hold(ctx, h) },
			})
		})
	register(c, spec{method: "DELETE", path: apiPath + "/holds/{name}", action: iam.DeleteHold, tag: "store", summary: "Let retention go on"},
		func(ctx context.Context, in *HoldPath) (*none, error) {
			k, err := c.store()
			if err != nil {
				return nil, err
			}
			return nil, c.apply(ctx, change{
				action: iam.DeleteHold, params: map[string]any{"name": in.Name},
				check: func() error {
					is, err := held(ctx, k, in.Name)
					if !is && err == nil {
						return fmt.Errorf("%w: there is no hold of this name", ErrNotFound)
					}
					return err
				},
				do: func(ctx context.Context) (map[string]any, error) { return nil, k.Release(ctx, in.Name) },
			})
		})
}

func (c *Console) registerService() {
	type health struct {
		Body struct {
			Status string `json:"status" enum:"ok"`
		}
	}
	register(c, spec{method: "GET", path: "/healthz", public: true, tag: "service", summary: "The process answers"},
		func(context.Context, *none) (*health, error) {
			out := &health{}
			out.Body.Status = "ok"
			return out, nil
		})
	type ready struct {
		Status int
		Body   struct {
			Ready   bool     `json:"ready"`
			Reasons []string `json:"reasons" nullable:"false" doc:"why it is not"`
		}
	}
	register(c, spec{method: "GET", path: "/readyz", public: true, tag: "service", summary: "The service can do its work", doc: "200 when it is ready, 503 with the reasons when it is not."},
		func(ctx context.Context, _ *none) (*ready, error) {
			out := &ready{Status: http.StatusOK}
			out.Body.Reasons = append([]string{}, c.reasons(ctx)...)
			if out.Body.Ready = len(out.Body.Reasons) == 0; !out.Body.Ready {
				out.Status = http.StatusServiceUnavailable
			}
			return out, nil
		})
	register(c, spec{method: "GET", path: "/metrics", action: iam.GetMetrics, tag: "service", summary: "Metrics for Prometheus", produces: map[string]string{"text/plain": "metrics in the text format of Prometheus"}},
		func(context.Context, *none) (*streamed, error) {
			if c.o.Metrics == nil {
				return nil, missing("metrics")
			}
			return stream(func(w http.ResponseWriter, r *http.Request) error {
				c.o.Metrics.ServeHTTP(w, r)
				return nil
			}, c), nil
		})
	register(c, spec{method: "GET", path: specPath, action: iam.GetCallerIdentity, tag: "service", summary: "This description", produces: map[string]string{"application/openapi+json": "OpenAPI 3.1"}},
		func(context.Context, *none) (*streamed, error) {
			return stream(func(w http.ResponseWriter, _ *http.Request) error {
				text, err := c.spec()
				if err != nil {
					return err
				}
				w.Header().Set("Content-Type", "application/openapi+json")
				_, err = w.Write(text)
				return gone(err)
			}, c), nil
		})
	register(c, spec{method: "GET", path: apiPath + "/status", action: iam.GetStatus, tag: "service", summary: "How the service is doing"},
		func(ctx context.Context, _ *none) (*body[Status], error) {
			s := Status{Version: c.o.Version, Started: c.started.UTC(), Roles: append([]string{}, c.o.Roles...), Parts: []PartState{}}
			s.Reasons = c.reasons(ctx)
			s.Ready = len(s.Reasons) == 0
			if c.o.Status != nil {
				s.Parts = append(s.Parts, c.o.Status(ctx)...)
			}
			return &body[Status]{s}, nil
		})
	register(c, spec{method: "GET", path: apiPath + "/journal", action: iam.GetJournal, tag: "service", summary: "The journal and its followers"},
		func(ctx context.Context, _ *none) (*body[JournalState], error) {
			if c.o.Journal == nil {
				return nil, missing("journal")
			}
			s, err := c.o.Journal.Stats(ctx)
			return &body[JournalState]{journalState(s)}, err
		})
	register(c, spec{method: "GET", path: apiPath + "/configuration", action: iam.GetConfiguration, tag: "service", summary: "The configuration in effect, secrets masked"},
		func(context.Context, *none) (*body[items[config.Effective]], error) {
			if c.o.Configuration == nil {
				return nil, missing("configuration")
			}
			return itemsOf(c.o.Configuration.Effective()), nil
		})
	register(c, spec{method: "POST", path: apiPath + "/configuration/reload", action: iam.ReloadConfiguration, tag: "service", summary: "Read the configuration again"},
		func(ctx context.Context, _ *none) (*body[Reloaded], error) {
			if c.o.Configuration == nil {
				return nil, missing("configuration")
			}
			var did Reloaded
			err := c.apply(ctx, change{action: iam.ReloadConfiguration, do: func(ctx context.Context) (_ map[string]any, err error) {
				did, err = c.o.Configuration.Reload(ctx)
				return nil, err
			}})
			did.Changed, did.Restart = append([]string{}, did.Changed...), append([]string{}, did.Restart...)
			return &body[Reloaded]{did}, err
		})
}

func (c *Console) reasons(ctx context.Context) []string {
	if c.o.Ready == nil {
		return nil
	}
	return c.o.Ready(ctx)
}
