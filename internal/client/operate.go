package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"spoor/internal/ledger"
	"spoor/internal/source/live"
)

// Source is a source of the server, and how it is doing.
type Source struct {
	live.Stats
	State string    `json:"state"`           // running, paused, disabled, failed, or elsewhere: run by another process
	Error string    `json:"error,omitempty"` // why it failed
	Retry time.Time `json:"retryAt,omitzero"`
}

// SourceLedger is the ledger of a source.
type SourceLedger struct {
	Source string         `json:"source"`
	Ledger *ledger.Report `json:"ledger"`
}

// Journal is how the journal of the server is doing.
type Journal struct {
	First     uint64 `json:"first"`
	Last      uint64 `json:"last"`
	Error     string `json:"error,omitempty"` // of the last write
	Dropped   uint64 `json:"dropped"`         // sequences that were removed before a follower had acknowledged them
	LostAtEnd uint64 `json:"lostAtEnd"`
	Followers []struct {
		Name       string  `json:"name"`
		Active     bool    `json:"active"`
		Lag        uint64  `json:"lag"`
		AgeSeconds float64 `json:"ageSeconds"` // of the oldest entry that is not acknowledged
		Lost       uint64  `json:"lost"`       // sequences that could not be read
	} `json:"followers"`
}

type items[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next"`
}

// Sources lists the sources.
func (c *Client) Sources(ctx context.Context) ([]Source, error) {
	var out items[Source]
	err := c.get(ctx, "/sources", nil, &out)
	return out.Items, err
}

// Source is one source.
func (c *Client) Source(ctx context.Context, name string) (Source, error) {
	var out Source
	err := c.get(ctx, "/sources/"+url.PathEscape(name), nil, &out)
	return out, err
}

// Pause stops reading from a source, until it is resumed.
func (c *Client) Pause(ctx context.Context, name string) (Source, error) {
	return c.change(ctx, name, "pause")
}

// Resume reads from a source again.
func (c *Client) Resume(ctx context.Context, name string) (Source, error) {
	return c.change(ctx, name, "resume")
}

func (c *Client) change(ctx context.Context, name, verb string) (Source, error) {
	var out Source
	err := c.whole(ctx, call{method: http.MethodPost, path: "/sources/" + url.PathEscape(name) + "/" + verb}, &out)
	return out, err
}

// DeadLetters lists dead letters of a source in the order of their ids, at most limit (1000) of those after an id.
func (c *Client) DeadLetters(ctx context.Context, source, after string, limit int) (letters []live.Letter, next string, err error) {
	q := url.Values{"limit": {strconv.Itoa(limit)}}
	if after != "" {
		q.Set("after", after)
	}
	var out items[live.Letter]
	err = c.get(ctx, "/sources/"+url.PathEscape(source)+"/dead-letters", q, &out)
	return out.Items, out.Next, err
}

// Replay tries a dead letter again. When it returns nil the letter is gone, and all of it is durable.
func (c *Client) Replay(ctx context.Context, source, id string) error {
	return c.whole(ctx, call{method: http.MethodPost, path: letterPath(source, id) + "/replay"}, nil)
}

// Discard gives a dead letter up.
func (c *Client) Discard(ctx context.Context, source, id string) error {
	return c.whole(ctx, call{method: http.MethodDelete, path: letterPath(source, id)}, nil)
}

func letterPath(source, id string) string {
	return "/sources/" + url.PathEscape(source) + "/dead-letters/" + url.PathEscape(id)
}

// Ledgers are those of all sources, or of one, of what was read on the day of since and later. The zero time is all.
func (c *Client) Ledgers(ctx context.Context, since time.Time, source string) ([]SourceLedger, error) {
	q := url.Values{}
	if !since.IsZero() {
		q.Set("since", since.UTC().Format(time.RFC3339))
	}
	if source != "" {
		q.Set("source", source)
	}
	var out items[SourceLedger]
	err := c.get(ctx, "/ledger", q, &out)
	return out.Items, err
}

// Journal is how the journal is doing.
func (c *Client) Journal(ctx context.Context) (*Journal, error) {
	out := &Journal{}
	err := c.get(ctx, "/journal", nil, out)
	return out, err
}
