package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// Query asks in SQL.
type Query struct {
	SQL    string            `json:"sql,omitempty"`
	Ready  string            `json:"ready,omitempty"`  // name of a ready query, in place of SQL
	Params map[string]string `json:"params,omitempty"` // values of $name
	// Since and Until bound the event time of what the tables have, as in [Search].
	Since    string   `json:"since,omitempty"`
	Until    string   `json:"until,omitempty"`
	Accounts []string `json:"accounts,omitempty"`
	Regions  []string `json:"regions,omitempty"`
	Limit    int64    `json:"limit,omitempty"`  // most rows; 0: what the server gives at most
	Format   string   `json:"format,omitempty"` // json, jsonl, csv or table
	Width    int      `json:"width,omitempty"`  // columns of the terminal that a table is for
}

// Answer is what a server tells about a result when it is whole.
type Answer struct {
	Rows    int64
	More    bool     // there were more rows than Query.Limit, or than the server gives
	Damaged []Damage // files that could not be read; the answer may miss their events
	// Told says that the server told all this. What stands between may have left it out.
	Told bool
}

// Query asks in SQL, and writes the result to w as it comes, in the format that was asked for. After an error what was written
// is not whole. The server's own limit ends a query that takes too long.
func (c *Client) Query(ctx context.Context, q Query, w io.Writer) (Answer, error) {
	var a Answer
	res, err := c.do(ctx, call{method: http.MethodPost, path: "/query", body: q, asks: true})
	if err != nil {
		return a, err
	}
	defer res.Body.Close() //nolint:errcheck // it was for reading
	out := &output{w: w}
	if _, err := io.Copy(out, res.Body); err != nil {
		if out.err != nil {
			return a, out.err
		}
		return a, broken(ctx, err)
	}
	rows := res.Trailer.Get("Spoor-Rows")
	if rows == "" {
		return a, nil
	}
	a.Told = true
	if a.Rows, err = strconv.ParseInt(rows, 10, 64); err != nil {
		return a, fmt.Errorf("%w: how many rows it has cannot be read", ErrBroken)
	}
	a.More = res.Trailer.Get("Spoor-More") == "true"
	if text := res.Trailer.Get("Spoor-Damaged"); text != "" {
		if err := json.Unmarshal([]byte(text), &a.Damaged); err != nil {
			return a, fmt.Errorf("%w: which files are damaged cannot be read", ErrBroken)
		}
	}
	return a, nil
}

// output tells errors of writing from those of reading.
type output struct {
	w   io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	o.err = err
	return n, err
}
