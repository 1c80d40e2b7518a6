package console

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"spoor/internal/config"
	"spoor/internal/event"
	"spoor/internal/iam"
	"spoor/internal/query"
	"spoor/internal/store"
	"spoor/internal/store/duckdb"
)

// Event is an event with what is told of it beside the record.
type Event struct {
	ID           string          `json:"id" doc:"eventID"`
	Time         time.Time       `json:"time,omitzero" doc:"eventTime"`
	Source       string          `json:"eventSource"`
	Name         string          `json:"eventName"`
	Account      string          `json:"account" doc:"that the event belongs to"`
	Region       string          `json:"region"`
	Category     string          `json:"category" doc:"Management, Data, NetworkActivity, Insight, Aggregated or ActivityAuditLog"`
	Actor        event.Actor     `json:"actor"`
	Target       string          `json:"target,omitempty" doc:"what the call was about, as far as the record tells"`
	Address      string          `json:"sourceIPAddress,omitempty"`
	UserAgent    string          `json:"userAgent,omitempty"`
	AccessKey    string          `json:"accessKeyId,omitempty"`
	ReadOnly     *bool           `json:"readOnly,omitempty"`
	ErrorCode    string          `json:"errorCode,omitempty"`
	ErrorMessage string          `json:"errorMessage,omitempty"`
	Failed       bool            `json:"failed"`
	Record       json.RawMessage `json:"record" doc:"the record; white space in it may differ from what arrived"`
}

func eventOf(e *query.Event) Event {
	return Event{
		ID: e.ID, Time: e.Time, Source: e.Source, Name: e.Name, Account: e.Account, Region: e.Region, Category: e.Category, Actor: e.Actor, Target: e.Target,
		Address: e.Address, UserAgent: e.UserAgent, AccessKey: e.AccessKey, ReadOnly: e.ReadOnly, ErrorCode: e.ErrorCode, ErrorMessage: e.ErrorMessage,
		Failed: e.Failed, Record: record(e.Raw),
	}
}

// Page is a part of the events that were searched for.
type Page struct {
	Events  []Event        `json:"events" nullable:"false"`
	Next    string         `json:"next,omitempty" doc:"cursor of the next page; missing when there is none"`
	Damaged []store.Damage `json:"damaged,omitempty" doc:"files that could not be read; the answer may miss their events"`
}

// Count is a value of a field and how many events have it.
type Count struct {
	Value string `json:"value"`
	Count int64  `json:"count"`
}

// Counts are events over time.
type Counts struct {
	Interval string         `json:"interval" doc:"length of a bucket" example:"1h"`
	Buckets  []Bucket       `json:"buckets" nullable:"false" doc:"in the order of time; those without events are not listed"`
	Values   []Count        `json:"values,omitempty" doc:"the values that buckets are divided by, most frequent first"`
	Total    int64          `json:"total"`
	Untimed  int64          `json:"untimed" doc:"of them, those without a time, which are in no bucket"`
	Damaged  []store.Damage `json:"damaged,omitempty" doc:"files that could not be read; the answer may miss their events"`
}

// Bucket is the events of a stretch of time.
type Bucket struct {
	From   time.Time `json:"from"`
	Count  int64     `json:"count"`
	By     []int64   `json:"by,omitempty" doc:"of each of values"`
	Others int64     `json:"others,omitempty" doc:"of count, those with other values, or none"`
}

// TopValues are the most frequent values of a field.
type TopValues struct {
	Field   string         `json:"field"`
	Values  []Count        `json:"values" nullable:"false"`
	Total   int64          `json:"total" doc:"events"`
	Missing int64          `json:"missing" doc:"of them, those without the field"`
	Others  int64          `json:"others" doc:"values of events that are not listed"`
	Damaged []store.Damage `json:"damaged,omitempty" doc:"files that could not be read; the answer may miss their events"`
}

// FieldInfo is a field that can be asked for by name.
type FieldInfo struct {
	Path      string `json:"path"`
	Type      string `json:"type" doc:"string, boolean, object or array"`
	Doc       string `json:"doc,omitempty"`
	Countable bool   `json:"countable" doc:"top and histogram count it at the cost of a column"`
}

// ReadyQuery is a query that is kept ready.
type ReadyQuery struct {
	Name     string       `json:"name"`
	Question string       `json:"question"`
	SQL      string       `json:"sql"`
	Params   []ReadyParam `json:"params" nullable:"false"`
}

// ReadyParam is a parameter of a ready query.
type ReadyParam struct {
	Name    string `json:"name"`
	Doc     string `json:"doc"`
	Default string `json:"default,omitempty" doc:"missing when a value must be given"`
}

func counts(list []query.Value) []Count {
	out := make([]Count, len(list))
	for i, v := range list {
		out[i] = Count{v.Value, v.Count}
	}
	return out
}

func (c *Console) ask() (Asker, error) {
	if c.o.Ask == nil {
		return nil, missing("store")
	}
	return c.o.Ask, nil
}

// pushedSource is the source that a push is for.
func pushedSource(r *http.Request) string {
	if name := r.URL.Query().Get("source"); name != "" {
		return name
	}
	return "push"
}

func (c *Console) registerEvents() {
	type pushed struct {
		Source string `query:"source" maxLength:"128" default:"push" doc:"name of the source of type push that takes them"`
	}
	register(c, spec{method: "POST", path: apiPath + "/events", action: iam.PutEvents, tag: "events", summary: "Put events in", push: true,
		doc: "The body is records in any shape that Spoor reads: JSON, JSON Lines, arrays, {\"Records\": […]}, EventBridge envelopes, CloudWatch Logs subscription payloads; plain, gzip or zstd. " +
			"All records of a request are accepted together, or none. They are durable when the answer is 200.",
		produces: map[string]string{"application/json": "accepted, ignored, rejected, rejects, requestId"},
		about: func(r *http.Request, _ []byte) iam.Resource {
			return iam.Resource{Type: iam.TypeSource, ID: pushedSource(r)}
		}},
		func(_ context.Context, in *pushed) (*streamed, error) {
			s, err := c.sources()
			if err != nil {
				return nil, err
			}
			h, err := s.PushTo(in.Source)
			if err != nil {
				return nil, err
			}
			return stream(func(w http.ResponseWriter, r *http.Request) error { return servePush(w, r, h) }, c), nil
		})
	type search struct {
		Selecting
		Order  string `query:"order" enum:"newest,oldest" default:"newest" doc:"which come first"`
		Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"50" doc:"most events of a page"`
		Cursor string `query:"cursor" maxLength:"4096" doc:"next of the page before, with everything else the same"`
	}
	register(c, spec{method: "GET", path: apiPath + "/events", action: iam.SearchEvents, tag: "events", summary: "Find events"},
		func(ctx context.Context, in *search) (*body[Page], error) {
			a, err := c.ask()
			if err != nil {
				return nil, err
			}
			f, err := c.filter(in.Selecting)
			if err != nil {
				return nil, err
			}
			p, err := a.Search(ctx, query.Search{Filter: f, Order: query.Order(in.Order), Limit: in.Limit, Cursor: in.Cursor})
			if err != nil {
				return nil, err
			}
			page := Page{Events: make([]Event, len(p.Events)), Next: p.Next, Damaged: p.Damaged}
			for i := range p.Events {
				page.Events[i] = eventOf(&p.Events[i])
			}
			return &body[Page]{page}, nil
		})
	type one struct {
		ID  string `path:"id" maxLength:"256" doc:"eventID"`
		Raw bool   `query:"raw" doc:"the record alone, byte for byte as it arrived"`
	}
	register(c, spec{method: "GET", path: apiPath + "/events/{id}", action: iam.GetEvent, tag: "events", summary: "One event, with its record"},
		func(ctx context.Context, in *one) (*eventOrRecord, error) {
			a, err := c.ask()
			if err != nil {
				return nil, err
			}
			e, damaged, err := a.Event(ctx, in.ID)
			if errors.Is(err, query.ErrNotFound) && len(damaged) > 0 {
				return nil, problem(http.StatusNotFound, codeNotFound, fmt.Sprintf("there is no such event in what can be read; %d damaged files may have it", len(damaged)))
			}
			if err != nil {
				return nil, err
			}
			if in.Raw {
				return &eventOrRecord{Type: "application/json", Body: []byte(e.Raw)}, nil
			}
			return &eventOrRecord{Type: "application/json", Body: eventOf(&e)}, nil
		})
	type histogram struct {
		Selecting
		Interval string `query:"interval" maxLength:"32" doc:"length of a bucket, such as 5m or 1d: whole seconds"`
		Buckets  int    `query:"buckets" minimum:"1" maximum:"10000" doc:"how many buckets are wanted, in place of interval; default 60"`
		By       string `query:"by" maxLength:"256" doc:"a field by whose values to divide, such as eventSource"`
	}
	register(c, spec{method: "GET", path: apiPath + "/histogram", action: iam.GetHistogram, tag: "events", summary: "Events over time"},
		func(ctx context.Context, in *histogram) (*body[Counts], error) {
			a, err := c.ask()
			if err != nil {
				return nil, err
			}
			q := query.Histogram{Buckets: in.Buckets, By: in.By}
			if q.Filter, err = c.filter(in.Selecting); err != nil {
				return nil, err
			}
			if in.Interval != "" {
				if q.Interval, err = config.ParseSpan(in.Interval); err != nil || q.Interval < time.Second || q.Interval%time.Second != 0 {
					return nil, invalid("query.interval", "it is no length of time in whole seconds, such as 5m or 1d")
				}
				if in.Buckets != 0 {
					return nil, invalid("query.buckets", "give interval or buckets, not both")
				}
			}
			r, err := a.Histogram(ctx, q)
			if err != nil {
				return nil, err
			}
			out := Counts{Interval: config.FormatSpan(r.Interval), Buckets: make([]Bucket, len(r.Buckets)), Values: counts(r.Values), Total: r.Total, Untimed: r.Untimed, Damaged: r.Damaged}
			for i, b := range r.Buckets {
				out.Buckets[i] = Bucket(b)
			}
			return &body[Counts]{out}, nil
		})
	type top struct {
		Selecting
		Field string `query:"field" required:"true" maxLength:"256" doc:"a path of the record, such as eventName or requestParameters.bucketName, or one of /fields"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"10" doc:"most values"`
	}
	register(c, spec{method: "GET", path: apiPath + "/top", action: iam.GetTop, tag: "events", summary: "The most frequent values of a field"},
		func(ctx context.Context, in *top) (*body[TopValues], error) {
			a, err := c.ask()
			if err != nil {
				return nil, err
			}
			f, err := c.filter(in.Selecting)
			if err != nil {
				return nil, err
			}
			r, err := a.Top(ctx, query.Top{Filter: f, Field: in.Field, Limit: in.Limit})
			if err != nil {
				return nil, err
			}
			return &body[TopValues]{TopValues{in.Field, counts(r.Values), r.Total, r.Missing, r.Others, r.Damaged}}, nil
		})
	register(c, spec{method: "GET", path: apiPath + "/fields", action: iam.SearchEvents, tag: "events", summary: "Fields that terms, histograms and top lists can name"},
		func(ctx context.Context, _ *none) (*body[items[FieldInfo]], error) {
			a, err := c.ask()
			if err != nil {
				return nil, err
			}
			list, err := a.Fields(ctx)
			if err != nil {
				return nil, err
			}
			out := make([]FieldInfo, len(list))
			for i, f := range list {
				out[i] = FieldInfo(f)
			}
			return itemsOf(out), nil
		})
	register(c, spec{method: "GET", path: apiPath + "/queries", action: iam.RunQuery, tag: "events", summary: "Queries that are kept ready"},
		func(context.Context, *none) (*body[items[ReadyQuery]], error) {
			var out []ReadyQuery
			for _, q := range duckdb.ReadyQueries() {
				r := ReadyQuery{q.Name, q.Question, q.SQL, []ReadyParam{}}
				for _, p := range q.Params {
					r.Params = append(r.Params, ReadyParam(p))
				}
				out = append(out, r)
			}
			return itemsOf(out), nil
		})
}

// eventOrRecord is an event, or the bytes of its record.
type eventOrRecord struct {
	Type string `header:"Content-Type"`
	Body any
}
