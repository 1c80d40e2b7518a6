package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"spoor/internal/event"
)

// Event is an event with what the server tells of it beside the record. Its texts are as they came.
type Event struct {
	ID           string      `json:"id"`
	Time         time.Time   `json:"time,omitzero"`
	Source       string      `json:"eventSource"`
	Name         string      `json:"eventName"`
	Account      string      `json:"account"`
	Region       string      `json:"region"`
	Category     string      `json:"category"`
	Actor        event.Actor `json:"actor"`
	Target       string      `json:"target,omitempty"`
	Address      string      `json:"sourceIPAddress,omitempty"`
	UserAgent    string      `json:"userAgent,omitempty"`
	AccessKey    string      `json:"accessKeyId,omitempty"`
	ReadOnly     *bool       `json:"readOnly,omitempty"`
	ErrorCode    string      `json:"errorCode,omitempty"`
	ErrorMessage string      `json:"errorMessage,omitempty"`
	Failed       bool        `json:"failed"`
	// Record is the record; white space in it may differ from what arrived. A record that is not strictly JSON is a string.
	Record json.RawMessage `json:"record"`
}

// Damage is a file of the store that could not be read: an answer may miss its events.
type Damage struct {
	File string `json:"file"`
	Rows int64  `json:"rows"`
	What string `json:"what"`
}

// Search asks for events.
type Search struct {
	Terms []string // all must hold: text anywhere in the event, or field=value and the like
	// Since and Until bound the event time, Until not included: 2026-01-10, 2026-01-10T09:00:00Z, or 36h or 7d ago.
	Since, Until      string
	Accounts, Regions []string
	Oldest            bool   // first; else the newest
	Limit             int    // of the page, at most 1000
	Cursor            string // Page.Next of the page before, with everything else the same
}

// Page is a part of the events that were searched for.
type Page struct {
	Events  []Event  `json:"events"`
	Next    string   `json:"next"`    // cursor of the next page, "" at the end
	Damaged []Damage `json:"damaged"` // files that could not be read; the answer may miss their events
}

// Search gives a page of events.
func (c *Client) Search(ctx context.Context, s Search) (*Page, error) {
	q := selection(s.Terms, s.Since, s.Until, s.Accounts, s.Regions)
	q.Set("order", "newest")
	if s.Oldest {
		q.Set("order", "oldest")
	}
	if s.Limit > 0 {
		q.Set("limit", strconv.Itoa(s.Limit))
	}
	if s.Cursor != "" {
		q.Set("cursor", s.Cursor)
	}
	out := &Page{}
	err := c.get(ctx, "/events", q, out)
	return out, err
}

func selection(terms []string, since, until string, accounts, regions []string) url.Values {
	q := url.Values{}
	for name, list := range map[string][]string{"term": terms, "account": accounts, "region": regions} {
		if len(list) > 0 {
			q[name] = list
		}
	}
	if since != "" {
		q.Set("since", since)
	}
	if until != "" {
		q.Set("until", until)
	}
	return q
}

// Event is one event. One that is not there is an [*Error] of status 404.
func (c *Client) Event(ctx context.Context, id string) (*Event, error) {
	out := &Event{}
	err := c.get(ctx, "/events/"+url.PathEscape(id), nil, out)
	return out, err
}

// Bucket is the events of a stretch of time.
type Bucket struct {
	From  time.Time `json:"from"`
	Count int64     `json:"count"`
}

// Counts are events over time.
type Counts struct {
	Interval string   `json:"interval"`
	Buckets  []Bucket `json:"buckets"`
	Total    int64    `json:"total"` // Untimed among them
	Untimed  int64    `json:"untimed"`
	Damaged  []Damage `json:"damaged"`
}

// Count counts the events that a search finds, its order, limit and cursor aside.
func (c *Client) Count(ctx context.Context, s Search) (*Counts, error) {
	q := selection(s.Terms, s.Since, s.Until, s.Accounts, s.Regions)
	q.Set("buckets", "1")
	out := &Counts{}
	err := c.get(ctx, "/histogram", q, out)
	return out, err
}

// Push puts records into a source of type push, all or none, and returns when they are durable. Since they carry ids it is
// tried again like a question: what was taken twice counts once.
func (c *Client) Push(ctx context.Context, source string, records [][]byte) error {
	var taken struct{ Accepted, Ignored, Rejected int64 }
	lines := append(bytes.Join(records, []byte("\n")), '\n')
	q := url.Values{}
	if source != "" {
		q.Set("source", source)
	}
	if err := c.whole(ctx, call{method: http.MethodPost, path: "/events", query: q, lines: lines, asks: true}, &taken); err != nil {
		return err
	}
	if taken.Accepted != int64(len(records)) {
		return fmt.Errorf("of %d records the server took %d, left out %d and refused %d", len(records), taken.Accepted, taken.Ignored, taken.Rejected)
	}
	return nil
}
