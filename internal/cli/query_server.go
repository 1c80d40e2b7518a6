package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"spoor/internal/client"
	"spoor/internal/store/duckdb"
)

// queryServer asks a server in SQL, or opens the shell over it.
func (e *env) queryServer(ctx context.Context, f *queryFlags, args []string) error {
	q, inputs, done, err := e.whatIsAsked(f, args)
	switch {
	case err != nil || done:
		return err
	case len(inputs) > 0:
		return usagef("either --server or paths to read, not both: %q", inputs)
	case f.format == "parquet":
		return usagef("--format parquet: a server gives %s; spoor query --store writes Parquet", strings.Join(duckdb.Formats[:], ", "))
	case !slices.Contains(duckdb.Formats[:], f.format):
		return usagef("--format %q: want one of %s", f.format, strings.Join(duckdb.Formats[:], ", "))
	}
	if f.timeoutGiven && f.timeout != "0" {
		d, ok := span(f.timeout)
		if !ok {
			return usagef("--timeout %q: want a span such as 30s or 10m, or 0", f.timeout)
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, d, duckdb.ErrTimeout)
		defer cancel()
	}
	c, err := f.server.client(f.server.named())
	if err != nil {
		return err
	}
	defer c.Close()
	answer := func(ctx context.Context, f *queryFlags, q *question) error {
		return remote(c, e.answerServer(ctx, f, c, q))
	}
	if q != nil {
		return answer(ctx, f, q)
	}
	columns := func(ctx context.Context, table string) ([]string, error) {
		var text bytes.Buffer
		if _, err := c.Query(ctx, client.Query{SQL: "SELECT column_name FROM (DESCRIBE " + table + ")", Format: "json"}, &text); err != nil {
			return nil, remote(c, err)
		}
		var rows []struct {
			Name string `json:"column_name"`
		}
		if err := json.Unmarshal(text.Bytes(), &rows); err != nil {
			return nil, fmt.Errorf("columns of %s: %w", table, err)
		}
		names := make([]string, len(rows))
		for i, r := range rows {
			names[i] = r.Name
		}
		return names, nil
	}
	return e.shell(ctx, f, columns, answer)
}

// answerServer asks one question and writes the result.
func (e *env) answerServer(ctx context.Context, f *queryFlags, c *client.Client, q *question) error {
	limit := f.limit
	if !f.limitGiven && f.format == "table" {
		limit = shownRows
	}
	ask := client.Query{SQL: q.sql, Accounts: f.in.accounts, Regions: f.in.regions, Limit: max(limit, 0), Format: f.format, Params: map[string]string{}}
	for _, p := range q.params {
		ask.Params[p.Name] = p.Value
	}
	var err error
	if ask.Since, ask.Until, err = serverTimes(f.in.since, f.in.until); err != nil {
		return err
	}
	shown := f.out == "" || f.out == "-"
	if shown {
		ask.Width, _, _ = terminal(e.stdout)
		ask.Width = min(ask.Width, 1000)
	}
	var a client.Answer
	err = e.write(f.out, func(w io.Writer) (err error) {
		if ask.Width > 0 {
			w = &harmless{w: w}
		}
		a, err = c.Query(ctx, ask, w)
		return err
	})
	if errors.Is(err, client.ErrBroken) && shown {
		return fmt.Errorf("what stands above is not the whole answer: %w", err)
	}
	if err != nil {
		return err
	}
	e.damagedThere(a.Damaged)
	switch {
	case !a.Told:
		e.exit = ExitIncomplete
		fmt.Fprintln(e.stderr, "spoor: the server did not tell whether the answer is whole; a proxy in between may leave out what ends it")
	case a.More && limit > 0 && a.Rows == limit:
		fmt.Fprintf(e.stderr, "spoor: only the first %d rows; --limit -1 shows all\n", a.Rows)
	case a.More:
		e.exit = ExitIncomplete
		fmt.Fprintf(e.stderr, "spoor: only the first %d rows: the server gives no more (query.max_rows)\n", a.Rows)
	case f.format == "table" && f.out == "" && a.Rows == 0:
		fmt.Fprintln(e.stderr, "spoor: no rows")
	}
	return nil
}

// harmless keeps what could act on a terminal from it: control characters other than the ends of lines.
type harmless struct {
	w    io.Writer
	lead bool // the last byte begins the two of a character from U+0080 to U+00BF
}

func (h *harmless) Write(p []byte) (int, error) {
	out := make([]byte, len(p))
	for i, b := range p {
		if b < ' ' && b != '\n' || b == 0x7f || h.lead && b < 0xa0 && b >= 0x80 {
			if h.lead {
				b = 0xbf // of an inverted question mark
			} else {
				b = '?'
			}
		}
		out[i], h.lead = b, b == 0xc2
	}
	if _, err := h.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}
