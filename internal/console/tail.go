package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/iam"
	"spoor/internal/livetail"
	"spoor/internal/query"
	"spoor/internal/safetext"
	"spoor/internal/search"
)

// TailSearchable asks for a tail that begins behind what searches find already, so that who asks for both, the tail first,
// misses nothing.
const TailSearchable = "searchable"

// Tails are the tails of a [livetail.Tail]. searchable tells the sequence of its journal up to which searches find what was
// accepted; nil where there are no searches.
func Tails(t *livetail.Tail, searchable func() uint64) Tailer { return tailer{t, searchable} }

type tailer struct {
	t          *livetail.Tail
	searchable func() uint64
}

func (t tailer) Tail(ctx context.Context, terms []string, after string) (Tail, error) {
	q, err := compile(terms)
	if err != nil {
		return nil, err
	}
	if after == TailSearchable {
		if after = ""; t.searchable != nil {
			after = t.t.Position(t.searchable())
		}
	}
	q.After = after
	s, err := t.t.Subscribe(ctx, q)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func compile(terms []string) (livetail.Request, error) {
	if len(terms) == 0 {
		return livetail.Request{}, nil
	}
	q, err := search.Parse(terms)
	if err != nil {
		return livetail.Request{}, fmt.Errorf("%w: %w", query.ErrInvalid, err)
	}
	return livetail.Request{Expr: q.Expr()}, nil
}

// summary is an event of the tail.
func summary(e *event.Event) Event {
	out := Event{
		ID: e.ID(), Source: e.Source(), Name: e.Name(), Account: e.Account(), Region: e.Region(), Category: e.Category(), Actor: e.Actor(),
		Target: detect.Target(e), Address: e.Text(event.SourceIPAddress), UserAgent: e.Text(event.UserAgent), AccessKey: e.Text(event.AccessKeyID),
		ErrorCode: e.Text(event.ErrorCode), ErrorMessage: e.Text(event.ErrorMessage), Failed: e.Failed(), Record: record(e.Raw),
	}
	if e.Time != 0 {
		out.Time = e.When().UTC()
	}
	switch e.Text(event.ReadOnly) {
	case "true":
		out.ReadOnly = new(true)
	case "false":
		out.ReadOnly = new(false)
	}
	return out
}

// record is a record as part of an answer. The decoder of events takes more than strict JSON allows; what is none is given as
// a text.
func record(raw []byte) json.RawMessage {
	if json.Valid(raw) {
		return raw
	}
	text, err := json.Marshal(strings.ToValidUTF8(string(raw), "\uFFFD"))
	if err != nil { // a string can be encoded
		return json.RawMessage("null")
	}
	return text
}

// TailMissing is the data of the event missing of a tail.
type TailMissing struct {
	Dropped uint64 `json:"dropped,omitempty" doc:"events that were left out because the reader is too slow"`
	Gap     string `json:"gap,omitempty" doc:"why events may be missing that nobody counted"`
}

func (c *Console) registerTail() {
	type tail struct {
		Term  []string `query:"term,explode" maxItems:"100" doc:"as in a search; all must hold"`
		After string   `query:"after" maxLength:"512" doc:"position behind which to begin, an id of a tail before; the header Last-Event-ID counts first. searchable: behind what searches find already. Default: what is accepted from now on"`
		Last  string   `header:"Last-Event-ID" maxLength:"512" doc:"the same, as browsers send it when they connect again"`
	}
	register(c, spec{method: "GET", path: apiPath + "/tail", action: iam.TailEvents, tag: "events", summary: "Follow events as they are accepted", stream: true,
		doc: "Server-sent events: `event` with an event as in a search; `missing` with how many events the reader was too slow for (dropped) or why others may be missing (gap); " +
			"`error` with a problem when it ends. Each has an id, the position to go on behind. At least every 15 s a block with an id alone, or a comment, shows that the connection lives.",
		produces: map[string]string{"text/event-stream": "server-sent events"}},
		func(ctx context.Context, in *tail) (*streamed, error) {
			if c.o.Tail == nil {
				return nil, missing("live tail")
			}
			after := in.Last
			if after == "" {
				after = in.After
			}
			if c.tails.Add(1) > int64(c.o.MaxTails) {
				c.tails.Add(-1)
				return nil, livetail.ErrTooMany
			}
			s, err := c.o.Tail.Tail(ctx, in.Term, after)
			if err != nil {
				c.tails.Add(-1)
				return nil, err
			}
			return &streamed{Body: func(hc huma.Context) {
				defer c.tails.Add(-1)
				defer s.Close()
				stream(func(w http.ResponseWriter, r *http.Request) error {
					c.follow(w, r, s)
					return nil
				}, c).Body(hc)
			}}, nil
		})
}

// follow writes the messages of a tail until its reader goes, it ends, or the caller may not read it any more.
func (c *Console) follow(w http.ResponseWriter, r *http.Request, s Tail) {
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() { // ends with the call
		select {
		case <-c.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // for proxies that would hold it back
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	out := &sse{w: w, ctl: http.NewResponseController(w)}
	if !out.block("", s.Position(), nil) {
		return
	}
	checked := c.o.Now()
	for {
		wait, done := context.WithTimeout(ctx, c.o.Heartbeat)
		m, err := s.Next(wait)
		done()
		if c.o.Now().Sub(checked) >= time.Second || err != nil { // whose token was revoked reads no further
			checked = c.o.Now()
			if d := c.o.Access.Authorize(context.WithoutCancel(ctx), callOf(ctx).caller, iam.TailEvents, iam.Resource{}); !d.Allowed {
				c.end(ctx, out, d.Err())
				return
			}
		}
		switch {
		case err == nil:
			if !out.message(m) {
				return
			}
		case ctx.Err() != nil:
			if r.Context().Err() == nil {
				c.end(ctx, out, livetail.ErrClosed)
			}
			return
		case errors.Is(err, context.DeadlineExceeded):
			if !out.block("", s.Position(), nil) {
				return
			}
		default:
			c.end(ctx, out, err)
			return
		}
	}
}

// end tells why a tail ends.
func (c *Console) end(ctx context.Context, out *sse, err error) {
	p := *c.problemOf(ctx, err)
	p.RequestID = requestID(ctx)
	out.block("error", "", p)
}

// sse writes server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html.
type sse struct {
	w   http.ResponseWriter
	ctl *http.ResponseController
	buf bytes.Buffer
}

// message writes a message of a tail. It returns false when the reader has gone.
func (s *sse) message(m livetail.Message) bool {
	if m.Dropped > 0 || m.Gap != "" {
		position := m.Position
		if m.Event != nil {
			position = "" // the event is yet to be given
		}
		if !s.block("missing", position, TailMissing{m.Dropped, m.Gap}) {
			return false
		}
	}
	if m.Event == nil {
		return true
	}
	return s.block("event", m.Position, summary(m.Event))
}

// block writes a block and sends it.
func (s *sse) block(name, id string, data any) bool {
	s.buf.Reset()
	if name != "" {
		s.buf.WriteString("event: " + name + "\n")
	}
	if id != "" {
		s.buf.WriteString("id: " + id + "\n")
	}
	switch {
	case data != nil:
		text, err := marshal(data) // a line
		if err != nil {
			return false
		}
		s.buf.WriteString("data: ")
		s.buf.Write(text)
	case id == "":
		s.buf.WriteString(":\n")
	}
	s.buf.WriteByte('\n')
	if _, err := s.w.Write(safetext.JSON(s.buf.Bytes())); err != nil {
		return false
	}
	return s.ctl.Flush() == nil
}
