// Package push takes records that others send by HTTP: an [http.Handler] that answers when they are durable.
//
// A request is a POST of records in any shape that the decoder knows: JSON, JSON Lines, arrays, {"Records": […]}, EventBridge
// envelopes, CloudWatch Logs subscription payloads, plain, gzip or zstd. All records of a request are accepted together, or
// none. Malformed ones among good ones are told by their index, and the good ones are accepted.
//
// Who may send is not the handler's business: whoever mounts it asks.
package push

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"context"

	"github.com/google/uuid"

	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/source"
	"spoor/internal/source/live"
)

// Options are the limits. Zero members are the defaults.
type Options struct {
	live.Options // Workers is how many requests are decoded at once; more wait
	// MaxBody is the largest request, and what it may grow to when it is decompressed. Default 64 MiB.
	MaxBody int64
	// MaxMemory is how many bytes of records all requests may hold together before further ones are told to come again
	// later. Default 256 MiB, at least MaxBody.
	MaxMemory int64
	// MaxRequests is how many requests may be under way; further ones are told to come again later. Default 256.
	MaxRequests int64
	// Format is what is taken. Default FormatAuto.
	Format Format
}

// Source takes requests. It implements [live.Source] and [http.Handler].
type Source struct {
	*live.Core
	opts     Options
	held     atomic.Int64 // bytes of records
	requests atomic.Int64
}

// Open opens the source.
func Open(o Options) (*Source, error) {
	o.Kind = "push"
	if o.MaxBody <= 0 {
		o.MaxBody = 64 << 20
	}
	if o.MaxMemory <= 0 {
		o.MaxMemory = 256 << 20
	}
	o.MaxMemory = max(o.MaxMemory, o.MaxBody)
	if o.MaxRequests <= 0 {
		o.MaxRequests = 256
	}
	o.Limits.MaxExpanded = o.MaxBody
	if o.Limits.MaxRecord == 0 || int64(o.Limits.MaxRecord) > o.MaxBody {
		o.Limits.MaxRecord = int(min(o.MaxBody, event.MaxRecordBytes))
	}
	core, err := live.Open(o.Options)
	if err != nil {
		return nil, err
	}
	o.Options = core.Options
	return &Source{Core: core, opts: o}, nil
}

// Run implements [live.Source]: it keeps the ledger. Requests are answered whether it runs or not.
func (s *Source) Run(ctx context.Context) error {
	return s.Work(ctx, func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
}

// Answer is the body of every answer.
type Answer struct {
	RequestID string `json:"requestId"` // in the origin of its records, as push/ID
	Accepted  int64  `json:"accepted"`  // records that are durable
	Ignored   int64  `json:"ignored"`   // records of accounts and Regions that are not wanted, and digests
	// Rejected is how many records are malformed, and Rejects are the first 1000 of them. They are not accepted.
	Rejected int64    `json:"rejected"`
	Rejects  []Reject `json:"rejects,omitempty"`
	Error    string   `json:"error,omitempty"` // why nothing was accepted
}

// Reject is a record that was not accepted.
type Reject struct {
	// Index is its place among the records of the request, from 0; -1 where only Offset tells.
	Index  int64  `json:"index"`
	Offset int64  `json:"offset"` // in the decompressed body
	Reason string `json:"reason"`
}

type requestIDKey struct{}

// WithRequestID gives a request the id under which its records and its answer are known; without it, it gets one.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

func requestID(ctx context.Context) string {
	if id, ok := ctx.Value(requestIDKey{}).(string); ok && id != "" {
		return id
	}
	return uuid.NewString()
}

var (
	errBusy  = errors.New("too much is being taken in at the moment")
	errLarge = errors.New("the request is too large")
)

// limited reads at most n bytes; more are an error.
type limited struct {
	r    io.Reader
	n    int64
	over bool
}

func (l *limited) Read(p []byte) (int, error) {
	if l.n <= 0 {
		var one [1]byte
		n, err := l.r.Read(one[:])
		if n > 0 {
			l.over = true
			return 0, errLarge
		}
		return 0, err
	}
	n, err := l.r.Read(p[:min(int64(len(p)), l.n)])
	l.n -= int64(n)
	return n, err
}

// ServeHTTP implements [http.Handler]. It answers
//
//	200  what was accepted is durable; rejects are listed
//	400  the body cannot be read to its end, or holds no good record
//	405  not a POST
//	413  larger than MaxBody, as it is or decompressed
//	415  a type or an encoding that is not understood
//	503  not now: Retry-After says when. Some records may have been accepted; they can be sent again
func (s *Source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := Answer{RequestID: requestID(r.Context())}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		s.answer(w, http.StatusMethodNotAllowed, a, "records are sent with POST")
		return
	}
	if why := unsupported(r.Header); why != "" {
		w.Header().Set("Accept-Encoding", "gzip, zstd, identity")
		s.answer(w, http.StatusUnsupportedMediaType, a, why)
		return
	}
	if r.ContentLength > s.opts.MaxBody {
		w.Header().Set("Connection", "close")
		s.answer(w, http.StatusRequestEntityTooLarge, a, s.tooLarge())
		return
	}
	defer s.requests.Add(-1)
	if s.requests.Add(1) > s.opts.MaxRequests {
		s.later(w, a, errBusy)
		return
	}
	s.Note(func(st *live.Stats) { st.InFlight++ })
	defer s.Note(func(st *live.Stats) { st.InFlight-- })
	s.take(w, r, a)
}

func (s *Source) tooLarge() string {
	return fmt.Sprintf("the request is larger than %d bytes, as it is or decompressed", s.opts.MaxBody)
}

// take reads a request.
func (s *Source) take(w http.ResponseWriter, r *http.Request, a Answer) {
	var mine int64
	defer func() { s.held.Add(-mine) }()
	keep := func(n int) error {
		mine += int64(n)
		if s.held.Add(int64(n)) > s.opts.MaxMemory {
			return errBusy
		}
		return nil
	}
	body := &limited{r: r.Body, n: s.opts.MaxBody}
	obj := source.Object{Name: "push/" + a.RequestID, Size: r.ContentLength}
	text, why := s.opts.Format.check(body)
	if why != "" {
		s.Note(func(st *live.Stats) { st.Errors++; st.LastError, st.LastErrorAt = why, s.Now() })
		s.answer(w, http.StatusBadRequest, a, why)
		return
	}
	read, err := s.Hold(r.Context(), obj, text, keep)
	a.Ignored, a.Rejected = read.Filtered+read.Other, read.Rejected()
	if err == nil && read.Met() == 0 {
		err = event.ErrNoRecords
	}
	switch {
	case errors.Is(err, errBusy):
		s.later(w, a, err)
		return
	case body.over || errors.Is(err, event.ErrTooExpanded):
		w.Header().Set("Connection", "close")
		s.answer(w, http.StatusRequestEntityTooLarge, a, s.tooLarge())
		return
	case err != nil && live.Passing(err):
		return // the sender has gone
	case err != nil:
		a.Rejects = rejects(read)
		s.Settle(read.None(), err, nil)
		s.answer(w, http.StatusBadRequest, a, err.Error())
		return
	}
	if err := read.HandOn(r.Context()); err != nil {
		if r.Context().Err() == nil {
			s.Failed(err)
		}
		s.later(w, a, err)
		return
	}
	a.Accepted, a.Rejected, a.Rejects = read.Kept, read.Rejected(), rejects(read)
	s.Settle(read, nil, nil)
	s.Note(func(st *live.Stats) { st.Lag = 0 })
	if a.Accepted+a.Ignored == 0 {
		s.answer(w, http.StatusBadRequest, a, "no record of it is well-formed")
		return
	}
	s.answer(w, http.StatusOK, a, "")
}

// later answers that there is no room now.
func (s *Source) later(w http.ResponseWriter, a Answer, err error) {
	after, why := time.Second, "the records could not be made durable; send them again"
	var full *journal.FullError
	switch {
	case errors.As(err, &full):
		after, why = full.RetryAfter, full.Reason
	case errors.Is(err, errBusy):
		why = err.Error()
	}
	w.Header().Set("Retry-After", strconv.FormatInt(max(int64(math.Ceil(after.Seconds())), 1), 10))
	s.Note(func(st *live.Stats) { st.Waits++ })
	s.answer(w, http.StatusServiceUnavailable, a, why)
}

func (s *Source) answer(w http.ResponseWriter, status int, a Answer, why string) {
	a.Error = strings.ToValidUTF8(why, "\uFFFD")
	text, err := json.Marshal(a)
	if err != nil {
		s.Log.Error("encode an answer", slog.Any("error", err)) // of numbers and strings
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the sender may have gone; what is durable stays so
}

func rejects(r *live.Reading) []Reject {
	var out []Reject
	for _, e := range r.Rejects {
		out = append(out, Reject{Index: e.Index, Offset: e.Offset, Reason: strings.ToValidUTF8(e.Reason, "\uFFFD")})
	}
	return out
}

// unsupported says what of a request is not understood. The content itself tells shape and compression; the headers must not
// contradict what can be.
func unsupported(h http.Header) string {
	for _, e := range strings.Split(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		switch strings.ToLower(strings.TrimSpace(e)) {
		case "", "identity", "gzip", "x-gzip", "zstd":
		default:
			return fmt.Sprintf("content encoding %.40q: known are gzip and zstd", e)
		}
	}
	text := h.Get("Content-Type")
	if text == "" {
		return ""
	}
	t, _, err := mime.ParseMediaType(text)
	if err != nil {
		return fmt.Sprintf("content type %.80q cannot be read", text)
	}
	switch t {
	case "application/json", "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/jsonlines",
		"application/x-amz-json-1.0", "application/x-amz-json-1.1", "application/gzip", "application/x-gzip", "application/zstd",
		"application/octet-stream", "text/plain", "application/x-www-form-urlencoded": // the last is what curl says of itself
		return ""
	}
	if strings.HasSuffix(t, "+json") {
		return ""
	}
	return fmt.Sprintf("content type %.80q: send application/json or application/x-ndjson", t)
}

// Replay implements [live.Source]. Senders are told what is wrong at once, and there are no dead letters.
func (s *Source) Replay(context.Context, string) error { return live.ErrNoLetter }

var (
	_ live.Source  = (*Source)(nil)
	_ http.Handler = (*Source)(nil)
)
