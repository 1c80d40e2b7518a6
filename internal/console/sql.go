package console

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"

	"spoor/internal/iam"
	"spoor/internal/query"
)

// QueryRequest asks in SQL.
type QueryRequest struct {
	SQL      string            `json:"sql,omitempty" maxLength:"500000" doc:"a query, as docs/sql.md describes them" example:"SELECT eventName, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC LIMIT 10"`
	Ready    string            `json:"ready,omitempty" maxLength:"128" doc:"name of a ready query, in place of sql"`
	Params   map[string]string `json:"params,omitempty" doc:"values of $name in the query"`
	Since    string            `json:"since,omitempty" maxLength:"64" doc:"earliest event time that the tables have: 2026-01-10, 2026-01-10T09:00:00Z, or 36h or 7d ago"`
	Until    string            `json:"until,omitempty" maxLength:"64" doc:"latest event time, itself not included"`
	Accounts []string          `json:"accounts,omitempty" maxItems:"1000" doc:"the tables have events of these accounts alone"`
	Regions  []string          `json:"regions,omitempty" maxItems:"100" doc:"the tables have events of these Regions alone"`
	Limit    int64             `json:"limit,omitempty" minimum:"1" maximum:"100000000" doc:"most rows; default and maximum: query.max_rows"`
	Format   string            `json:"format,omitempty" enum:"json,jsonl,csv,table" default:"json" doc:"json: an array of objects; jsonl: an object a line; csv; table: text for people"`
	Width    int               `json:"width,omitempty" minimum:"0" maximum:"1000" doc:"columns of the terminal that a table is for"`
}

// The trailers of a result.
const (
	trailerRows    = "Spoor-Rows"
	trailerMore    = "Spoor-More"
	trailerDamaged = "Spoor-Damaged"
)

var mediaTypes = map[string]string{
	"json": "application/json", "jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8", "table": "text/plain; charset=utf-8",
}

func (c *Console) registerQuery() {
	register(c, spec{method: "POST", path: apiPath + "/query", action: iam.RunQuery, tag: "events", summary: "Ask in SQL", stream: true,
		doc: "The result is streamed. Its trailers say how many rows it has (Spoor-Rows), whether there were more than limit (Spoor-More: true), and which files could not be read (Spoor-Damaged, a JSON array; " +
			"the answer may miss their events). A query that fails before its first rows is a problem; one that fails later ends the connection without the end of the answer, and without trailers.",
		produces: map[string]string{"application/json": "an array of objects", "application/x-ndjson": "an object a line", "text/csv": "with a header", "text/plain": "a table"}},
		func(ctx context.Context, in *body[QueryRequest]) (*streamed, error) {
			a, err := c.ask()
			if err != nil {
				return nil, err
			}
			q := in.Body
			if (q.SQL == "") == (q.Ready == "") {
				return nil, invalid("body.sql", "give one of sql and ready")
			}
			ask := query.SQL{Query: q.SQL, Ready: q.Ready, Params: q.Params, Accounts: q.Accounts, Regions: q.Regions, Limit: q.Limit}
			if ask.Since, ask.Until, err = c.span("body.", q.Since, q.Until); err != nil {
				return nil, err
			}
			format := q.Format
			if format == "" {
				format = "json"
			}
			return stream(func(w http.ResponseWriter, r *http.Request) error {
				rows, err := a.SQL(r.Context(), ask)
				if err != nil {
					return err
				}
				defer rows.Close() //nolint:errcheck // Write told
				return writeRows(w, rows, format, q.Width)
			}, c), nil
		})
}

// writeRows streams a result.
func writeRows(w http.ResponseWriter, rows Rows, format string, width int) error {
	out := &rowsWriter{w: w, media: mediaTypes[format]}
	did, err := rows.Write(out, format, width)
	if err != nil {
		if !out.begun {
			return err
		}
		panic(http.ErrAbortHandler) // the answer must not look whole
	}
	if err := out.begin(); err != nil {
		return gone(err)
	}
	h := w.Header()
	h.Set(trailerRows, strconv.FormatInt(did.Rows, 10))
	h.Set(trailerMore, strconv.FormatBool(did.More))
	if damaged := rows.Damaged(); len(damaged) > 0 {
		if text, err := json.Marshal(damaged); err == nil { // strings and numbers
			h.Set(trailerDamaged, ascii(text))
		}
	}
	return nil
}

// ascii is JSON as a header can have it.
func ascii(doc []byte) string {
	var b strings.Builder
	for _, r := range string(doc) {
		if r < 0x7f {
			b.WriteByte(byte(r))
			continue
		}
		for _, u := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, "\\u%04x", u)
		}
	}
	return b.String()
}

// rowsWriter holds the beginning of a result back, so that a query that fails at once is a problem and not half an answer.
type rowsWriter struct {
	w     http.ResponseWriter
	media string
	held  bytes.Buffer
	begun bool
}

// holdBack is how much is held back.
const holdBack = 128 << 10

func (o *rowsWriter) Write(p []byte) (int, error) {
	if !o.begun {
		if o.held.Len()+len(p) <= holdBack {
			return o.held.Write(p)
		}
		if err := o.begin(); err != nil {
			return 0, err
		}
	}
	return o.w.Write(p)
}

// begin sends the head and what was held back.
func (o *rowsWriter) begin() error {
	if o.begun {
		return nil
	}
	o.begun = true
	h := o.w.Header()
	h.Set("Content-Type", o.media)
	h.Set("Trailer", trailerRows+", "+trailerMore+", "+trailerDamaged)
	o.w.WriteHeader(http.StatusOK)
	_, err := o.w.Write(o.held.Bytes())
	o.held = bytes.Buffer{}
	return err
}
