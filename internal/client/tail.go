package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Tail says what is followed.
type Tail struct {
	Terms []string // as of [Search]
	After string   // position behind which to begin; "" begins with what is accepted from now on
	// Searchable begins behind what a search finds that is asked once the tail has begun, instead.
	Searchable bool
	// Idle is how long the server may say nothing before the connection counts as lost; default 1 min. Servers say something
	// every 15 s.
	Idle time.Duration
	// Began is told each time that the server follows; nil tells nobody.
	Began func()
	// Lost is told when the connection is lost, and how long the next try waits; nil tells nobody.
	Lost func(err error, wait time.Duration)
}

// TailMessage is an event, or that something is missing, or both; what is missing comes before the event.
type TailMessage struct {
	Event    *Event
	Position string // to go on behind it; "" when the server gave none
	Dropped  uint64 // events that the server left out, as this client was too slow
	Gap      string // why events may be missing that nobody counted
}

// errIdle ends a connection that says nothing.
var errIdle = errors.New("the server said nothing for too long")

// Tail follows events as the server accepts them, and calls fn for each message, until the context ends, fn fails, or the
// server refuses. A connection that is lost is made again, behind the last position that was received; a server that cannot
// be reached is an error at the first time only. It returns the position that was reached, and why it ended, never nil.
func (c *Client) Tail(ctx context.Context, t Tail, fn func(TailMessage) error) (position string, err error) {
	if t.Idle <= 0 {
		t.Idle = time.Minute
	}
	s := &tailing{c: c, t: t, position: t.After, fn: fn, again: c.o.Backoff}
	wait := c.o.Backoff
	for {
		began := s.met
		err := s.connect(ctx)
		var told *Error
		switch {
		case ctx.Err() != nil:
			return s.position, context.Cause(ctx)
		case s.failed != nil:
			return s.position, s.failed
		case errors.As(err, &told) && !told.passing() && told.Status != http.StatusGatewayTimeout && told.Status != http.StatusInternalServerError:
			return s.position, err
		case !s.reached:
			return s.position, err
		}
		if s.met > began {
			wait = s.again
		}
		next := min(wait, mostBackoff*c.o.Backoff)
		if told != nil {
			next = max(next, told.RetryAfter)
		}
		if t.Lost != nil {
			t.Lost(err, next)
		}
		if err := pause(ctx, next); err != nil {
			return s.position, err
		}
		wait *= 2
	}
}

// tailing is a tail over its connections.
type tailing struct {
	c        *Client
	t        Tail
	fn       func(TailMessage) error
	position string
	reached  bool          // the server has answered once
	met      int           // blocks of all connections
	again    time.Duration // that the server wants between connections
	failed   error         // of fn
}

// connect follows one connection to its end. It always returns an error.
func (s *tailing) connect(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	idle := time.AfterFunc(s.t.Idle, func() { cancel(errIdle) })
	defer idle.Stop()
	q := call{method: http.MethodGet, path: "/tail", query: url.Values{}, header: http.Header{"Accept": {"text/event-stream"}}}
	if len(s.t.Terms) > 0 {
		q.query["term"] = s.t.Terms
	}
	switch {
	case s.position != "":
		q.header.Set("Last-Event-Id", s.position)
	case s.t.Searchable && !s.reached:
		q.query.Set("after", "searchable")
	}
	res, err := s.c.once(ctx, q)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // it was for reading
	if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return &Error{Status: res.StatusCode, Detail: fmt.Sprintf("what answers there is no live tail but %.80q", kind)}
	}
	if s.reached && s.position == "" {
		// Nothing says where the last connection ended.
		if s.failed = s.fn(TailMessage{Gap: "the connection was lost before the server had told a position"}); s.failed != nil {
			return s.failed
		}
	}
	s.reached = true
	if s.t.Began != nil {
		s.t.Began()
	}
	r := newEventReader(res.Body)
	for {
		b, err := r.next(func() { idle.Reset(s.t.Idle) })
		if err != nil {
			if errors.Is(err, io.EOF) {
				return fmt.Errorf("%w: the server ended it", ErrBroken)
			}
			return broken(ctx, err)
		}
		if b.retry >= 0 {
			s.again = max(s.c.o.Backoff, min(b.retry, mostBackoff*s.c.o.Backoff))
		}
		s.met++
		if err := s.block(b); err != nil {
			return err
		}
	}
}

// block handles a block of the stream.
func (s *tailing) block(b block) error {
	m := TailMessage{Position: b.id}
	switch {
	case b.data == nil: // a position alone
	case b.event == "error":
		e := &Error{}
		if err := json.Unmarshal(b.data, e); err != nil || e.Status == 0 {
			return fmt.Errorf("%w: the live tail ended with an error", ErrBroken)
		}
		return e
	case b.event == "event":
		m.Event = &Event{}
		if err := json.Unmarshal(b.data, m.Event); err != nil {
			return fmt.Errorf("%w: an event of the live tail cannot be read: %w", ErrBroken, err)
		}
	case b.event == "missing":
		var missing struct {
			Dropped uint64 `json:"dropped"`
			Gap     string `json:"gap"`
		}
		if err := json.Unmarshal(b.data, &missing); err != nil {
			return fmt.Errorf("%w: a message of the live tail cannot be read: %w", ErrBroken, err)
		}
		m.Dropped, m.Gap = missing.Dropped, missing.Gap
	}
	if m.Event != nil || m.Dropped > 0 || m.Gap != "" {
		if s.failed = s.fn(m); s.failed != nil {
			return s.failed
		}
	}
	if b.id != "" {
		s.position = b.id
	}
	return nil
}

// maxLine is the most bytes of a line of a live tail: a record of the largest size, and what is told beside it.
const maxLine = 300 << 20

// block is a block of server-sent events.
type block struct {
	id, event string
	data      []byte // nil when there is none
	retry     time.Duration
}

// eventReader reads server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html, but that lines end
// with LF or CRLF alone.
type eventReader struct{ r *bufio.Reader }

func newEventReader(r io.Reader) *eventReader { return &eventReader{bufio.NewReaderSize(r, 64<<10)} }

// next reads a block that holds anything. alive is called for each line, comments too. What stands before the end of the
// stream without the empty line that ends a block is not whole, and left out.
func (e *eventReader) next(alive func()) (block, error) {
	b := block{retry: -1}
	some := false // anything but comments
	for {
		line, err := e.line()
		if err != nil {
			if errors.Is(err, io.EOF) && some {
				err = io.ErrUnexpectedEOF
			}
			return b, err
		}
		alive()
		if len(line) == 0 {
			if some {
				return b, nil
			}
			continue
		}
		if line[0] == ':' {
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			if bytes.IndexByte(value, 0) < 0 {
				b.id, some = string(value), true
			}
		case "event":
			b.event = string(value)
		case "data":
			if b.data != nil {
				b.data = append(b.data, '\n')
			}
			if len(b.data)+len(value) > maxLine {
				return b, errors.New("a message of the server is too long")
			}
			b.data, some = append(b.data, value...), true
			if b.data == nil {
				b.data = []byte{}
			}
		case "retry":
			if n, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				b.retry, some = time.Duration(n)*time.Millisecond, true
			}
		}
	}
}

// line reads a line without its end. A last line without one is an error.
func (e *eventReader) line() ([]byte, error) {
	var line []byte
	for {
		part, err := e.r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			if line = append(line, part...); len(line) > maxLine {
				return nil, errors.New("a line of the server is too long")
			}
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) && len(line)+len(part) > 0 {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		part = part[:len(part)-1]
		if line != nil {
			part = append(line, part...)
		}
		return bytes.TrimSuffix(part, []byte("\r")), nil
	}
}
