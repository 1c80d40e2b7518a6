package rig

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

// StatusError is an answer other than 200.
type StatusError struct {
	Status     int
	RetryAfter time.Duration // 0 when it does not say
	Body       string        // the beginning
}

func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// Do asks the server with root's token. The body of the answer is to be closed; an answer other than 2xx is a [StatusError].
func (s *Server) Do(ctx context.Context, method, path string, body io.Reader) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, body)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+s.Token())
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	if res.StatusCode/100 == 2 {
		return res, nil
	}
	defer res.Body.Close() //nolint:errcheck // what it says is enough
	text, err := io.ReadAll(io.LimitReader(res.Body, 4<<10))
	if err != nil {
		return nil, fmt.Errorf("ask the server: %w", err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	e := &StatusError{Status: res.StatusCode, Body: strings.TrimSpace(string(text))}
	if n, err := strconv.Atoi(res.Header.Get("Retry-After")); err == nil {
		e.RetryAfter = time.Duration(n) * time.Second
	}
	return nil, e
}

// whole reads an answer.
func whole(res *http.Response, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("read the server's answer: %w", err)
	}
	return text, nil
}

// Get asks for a path, and decodes the answer, when into is not nil.
func (s *Server) Get(ctx context.Context, path string, into any) error {
	text, err := whole(s.Do(ctx, http.MethodGet, path, nil))
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("get %s: %w", path, err)
	}
	return nil
}

// Post sends a body, which may be nil, and decodes the answer, when into is not nil.
func (s *Server) Post(ctx context.Context, path string, body []byte, into any) error {
	text, err := whole(s.Do(ctx, http.MethodPost, path, bytes.NewReader(body)))
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("post %s: %w", path, err)
	}
	return nil
}

// Push sends records. When it returns nil all of them are acknowledged.
func (s *Server) Push(ctx context.Context, body []byte, records int) error {
	var answer struct {
		Accepted int `json:"accepted"`
	}
	if err := s.Post(ctx, "/api/v1/events", body, &answer); err != nil {
		return err
	}
	if answer.Accepted != records {
		return fmt.Errorf("push: %d of %d records were accepted", answer.Accepted, records)
	}
	return nil
}

// Found says whether the event with an id is in the answer.
func (s *Server) Found(ctx context.Context, id string) (bool, error) {
	var e struct {
		ID string `json:"id"`
	}
	err := s.Get(ctx, "/api/v1/events/"+url.PathEscape(id), &e)
	var status *StatusError
	if errors.As(err, &status) && status.Status == http.StatusNotFound {
		return false, nil
	}
	if err == nil && e.ID != id {
		err = fmt.Errorf("asked for %s, got %s", id, e.ID)
	}
	return err == nil, err
}

// SQL asks, and calls row for each line of the answer, a JSON object.
func (s *Server) SQL(ctx context.Context, query string, row func(line []byte) error) error {
	ask, err := json.Marshal(map[string]any{"sql": query, "format": "jsonl"})
	if err != nil {
		return fmt.Errorf("ask in SQL: %w", err)
	}
	res, err := s.Do(ctx, http.MethodPost, "/api/v1/query", bytes.NewReader(ask))
	if err != nil {
		return fmt.Errorf("ask in SQL: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 16<<20)
	n := 0
	for lines.Scan() {
		n++
		if err := row(lines.Bytes()); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("ask in SQL: %w", err)
	}
	if got := res.Trailer.Get("Spoor-Rows"); got != strconv.Itoa(n) {
		return fmt.Errorf("ask in SQL: %d rows came, the answer has %q", n, got)
	}
	if more, damaged := res.Trailer.Get("Spoor-More"), res.Trailer.Get("Spoor-Damaged"); more == "true" || damaged != "" {
		return fmt.Errorf("ask in SQL: the answer is not whole: more %q, damaged %q", more, damaged)
	}
	return nil
}

// Count asks for one number.
func (s *Server) Count(ctx context.Context, query string) (n int64, err error) {
	err = s.SQL(ctx, query, func(line []byte) error {
		var row map[string]json.Number
		if err := json.Unmarshal(line, &row); err != nil {
			return fmt.Errorf("a number is wanted: %s: %w", line, err)
		}
		for _, v := range row {
			n, err = strconv.ParseInt(string(v), 10, 64)
		}
		return err
	})
	return n, err
}

// Metrics are the figures of /metrics: those of a family with several labels are added up.
type Metrics map[string]float64

// Metrics asks for the figures.
func (s *Server) Metrics(ctx context.Context) (Metrics, error) {
	text, err := whole(s.Do(ctx, http.MethodGet, "/metrics", nil))
	if err != nil {
		return nil, fmt.Errorf("ask for figures: %w", err)
	}
	m := Metrics{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "#") {
			continue
		}
		at := strings.LastIndexByte(line, ' ')
		if at < 0 {
			continue
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("figure %q: %w", line, err)
		}
		name, _, labelled := strings.Cut(line[:at], "{")
		m[name] += v
		if labelled {
			m[line[:at]] = v
		}
	}
	return m, nil
}

// TailEvent is what a live tail gives.
type TailEvent struct {
	Kind string // event, missing or error
	Data []byte
}

// Tail follows events until the context ends or fn fails. began is called when the server has begun to answer.
func (s *Server) Tail(ctx context.Context, terms url.Values, began func(), fn func(TailEvent) error) error {
	res, err := s.Do(ctx, http.MethodGet, "/api/v1/tail?"+terms.Encode(), nil)
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // it ends by the caller's will
	if began != nil {
		began()
	}
	return Events(res.Body, fn)
}

// Events reads server-sent events until the text ends or fn fails.
func Events(from io.Reader, fn func(TailEvent) error) error {
	in := bufio.NewReaderSize(from, 64<<10)
	var e TailEvent
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return fmt.Errorf("tail: %w", err)
		}
		line = bytes.TrimRight(line, "\r\n")
		switch name, value, _ := bytes.Cut(line, []byte(":")); {
		case len(line) == 0:
			if e.Kind != "" || e.Data != nil {
				if err := fn(e); err != nil {
					return err
				}
			}
			e = TailEvent{}
		case string(name) == "event":
			e.Kind = string(bytes.TrimSpace(value))
		case string(name) == "data":
			e.Data = append(e.Data, bytes.TrimSpace(value)...)
		}
	}
}
