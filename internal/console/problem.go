package console

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/livetail"
	"spoor/internal/query"
	"spoor/internal/recorder"
	"spoor/internal/safetext"
	"spoor/internal/source/live"
	"spoor/internal/store/duckdb"
)

// Errors that parts tell about a call. What wraps one of them is told to the caller with its text; other errors are logged, and
// told as an internal one without it.
var (
	ErrNotFound    = errors.New("not found")
	ErrInvalid     = errors.New("not valid")
	ErrConflict    = errors.New("not possible in this state")
	ErrUnavailable = errors.New("not available now")
)

// RetryError is an ErrUnavailable with the time after which to come again.
type RetryError struct {
	Reason string
	After  time.Duration
}

// Error is the reason.
func (e *RetryError) Error() string { return e.Reason }

// Is tells that it is [ErrUnavailable].
func (e *RetryError) Is(target error) bool { return target == ErrUnavailable }

// Problem is the body of every answer that is no success, a problem document of RFC 9457.
type Problem struct {
	Type      string         `json:"type" doc:"urn:spoor:problem:CODE" example:"urn:spoor:problem:denied"`
	Title     string         `json:"title" doc:"of the status"`
	Status    int            `json:"status" doc:"that of the answer"`
	Code      string         `json:"code" doc:"what a program goes by; it does not change" example:"denied"`
	Detail    string         `json:"detail" doc:"a sentence for people"`
	RequestID string         `json:"requestId" doc:"as in the header X-Request-Id, and in the event when the call was recorded"`
	Errors    []ProblemField `json:"errors,omitempty" doc:"what of the request is wrong"`
	// Push is what became of the records, where they were sent.
	Push json.RawMessage `json:"push,omitempty" doc:"what became of the records of a push: accepted, ignored, rejected, rejects"`

	retry  time.Duration
	header http.Header
}

// ProblemField is one thing that is wrong with a request.
type ProblemField struct {
	Where   string `json:"where" doc:"query.since, body.sql, path.name" example:"query.since"`
	Message string `json:"message"`
}

// Error is the sentence.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements [huma.StatusError].
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements [huma.HeadersError].
func (p *Problem) GetHeaders() http.Header {
	h := http.Header{}
	for k, v := range p.header {
		h[k] = v
	}
	if p.retry > 0 {
		h.Set("Retry-After", strconv.FormatInt(max(int64(math.Ceil(p.retry.Seconds())), 1), 10))
	}
	return h
}

// ContentType implements [huma.ContentTypeFilter].
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// The codes of problems. They are part of the API.
const (
	codeUnauthenticated = "unauthenticated"
	codeThrottled       = "throttled"
	codeDenied          = "denied"
	codeNotFound        = "not-found"
	codeMethod          = "method-not-allowed"
	codeInvalid         = "invalid"
	codeBody            = "invalid-body"
	codeQuery           = "refused-query"
	codeTooLarge        = "too-large"
	codeMedia           = "unsupported-media-type"
	codeConflict        = "conflict"
	codeExists          = "exists"
	codeLimit           = "limit"
	codeBusy            = "busy"
	codeFull            = "journal-full"
	codeNotRecorded     = "not-recorded"
	codeUnavailable     = "unavailable"
	codeTimeout         = "timeout"
	codeMemory          = "out-of-memory"
	codeTokenInURL      = "token-in-url"
	codeDamaged         = "damaged"
	codeInternal        = "internal"
)

// problem makes one. The detail ends up with the caller: nothing of a secret may be in it.
func problem(status int, code, detail string) *Problem {
	return &Problem{
		Type: "urn:spoor:problem:" + code, Title: http.StatusText(status), Status: status, Code: code,
		Detail: strings.ToValidUTF8(recorder.HideText(detail), "\uFFFD"),
	}
}

// invalid is a problem with one thing of the request.
func invalid(where, message string) *Problem {
	p := problem(http.StatusUnprocessableEntity, codeInvalid, where+": "+message)
	p.Errors = []ProblemField{{recorder.HideText(where), recorder.HideText(message)}}
	return p
}

// again says when a call that could not be answered now may come again.
func (p *Problem) again(after time.Duration) *Problem {
	p.retry = max(after, time.Second)
	return p
}

// problemOf says what a caller is told about an error.
func (c *Console) problemOf(ctx context.Context, err error) *Problem {
	if p := known(err); p != nil {
		return p
	}
	if ctx.Err() == nil { // else nobody is there to be told
		c.o.Log.ErrorContext(ctx, "a call failed", slog.String("request", requestID(ctx)), slog.String("error", recorder.HideText(err.Error())))
	}
	return problem(http.StatusInternalServerError, codeInternal, "something went wrong here; the log has it under the request id")
}

// known is the problem of an error whose text is for callers; nil of others.
func known(err error) *Problem {
	var (
		p       *Problem
		retry   *RetryError
		busy    *query.BusyError
		full    *journal.FullError
		auth    *iam.AuthError
		denied  *iam.DeniedError
		refused *duckdb.RefusedError
		damaged *duckdb.FileError
		large   *http.MaxBytesError
	)
	text := err.Error()
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &auth):
		return authProblem(auth)
	case errors.As(err, &denied):
		return problem(http.StatusForbidden, codeDenied, text)
	case errors.As(err, &full):
		return problem(http.StatusServiceUnavailable, codeFull, full.Reason).again(full.RetryAfter)
	case errors.As(err, &retry):
		return problem(http.StatusServiceUnavailable, codeBusy, retry.Reason).again(retry.After)
	case errors.As(err, &busy):
		return problem(http.StatusServiceUnavailable, codeBusy, busy.Error()).again(busy.RetryAfter)
	case errors.Is(err, livetail.ErrTooMany):
		return problem(http.StatusServiceUnavailable, codeBusy, text).again(10 * time.Second)
	case errors.Is(err, livetail.ErrClosed):
		return problem(http.StatusServiceUnavailable, codeUnavailable, text).again(5 * time.Second)
	case errors.As(err, &refused):
		return problem(http.StatusBadRequest, codeQuery, refused.Reason)
	case errors.As(err, &large):
		return problem(http.StatusRequestEntityTooLarge, codeTooLarge, "the request is too large")
	case errors.As(err, &damaged):
		return problem(http.StatusInternalServerError, codeDamaged, "a file of the store is damaged, and the answer would miss its events: "+filepath.Base(damaged.File))
	case errors.Is(err, duckdb.ErrTimeout):
		return problem(http.StatusGatewayTimeout, codeTimeout, duckdb.ErrTimeout.Error())
	case errors.Is(err, duckdb.ErrMemory):
		return problem(http.StatusUnprocessableEntity, codeMemory, duckdb.ErrMemory.Error())
	case errors.Is(err, iam.ErrNotFound), errors.Is(err, live.ErrNoLetter), errors.Is(err, query.ErrNotFound), errors.Is(err, ErrNotFound):
		return problem(http.StatusNotFound, codeNotFound, text)
	case errors.Is(err, iam.ErrExists):
		return problem(http.StatusConflict, codeExists, text)
	case errors.Is(err, iam.ErrLimit), errors.Is(err, live.ErrDeadFull):
		return problem(http.StatusConflict, codeLimit, text)
	case errors.Is(err, iam.ErrInvalid), errors.Is(err, query.ErrInvalid), errors.Is(err, query.ErrTooMany), errors.Is(err, ErrInvalid):
		return problem(http.StatusUnprocessableEntity, codeInvalid, text)
	case errors.Is(err, ErrConflict):
		return problem(http.StatusConflict, codeConflict, text)
	case errors.Is(err, ErrUnavailable):
		return problem(http.StatusServiceUnavailable, codeUnavailable, text).again(5 * time.Second)
	case errors.Is(err, context.DeadlineExceeded):
		return problem(http.StatusGatewayTimeout, codeTimeout, "the answer took too long")
	}
	return nil
}

// gone is for errors of writing an answer: its caller has gone, and nobody is there to be told.
func gone(error) error { return nil }

// authProblem is what a caller is told who did not prove who it is.
func authProblem(e *iam.AuthError) *Problem {
	if e.Wait > 0 {
		return problem(http.StatusTooManyRequests, codeThrottled, e.Public()).again(e.Wait)
	}
	p := problem(http.StatusUnauthorized, codeUnauthenticated, e.Public())
	challenge := `Bearer realm="spoor"`
	if e.Token != "" || e.Principal != nil || e.Reason != "there is no token" {
		challenge += `, error="invalid_token"`
	}
	p.header = http.Header{"Www-Authenticate": {challenge}}
	return p
}

// transform makes problems of what huma has to say about requests. The values that it would repeat are left out: they are the
// caller's, and may be secrets.
func transform(ctx huma.Context, _ string, v any) (any, error) {
	switch v := v.(type) {
	case *huma.ErrorModel:
		code := codeInvalid
		switch v.Status {
		case http.StatusBadRequest:
			code = codeBody
		case http.StatusRequestEntityTooLarge:
			code = codeTooLarge
		case http.StatusUnsupportedMediaType:
			code = codeMedia
		case http.StatusRequestTimeout:
			code = codeTimeout
		case http.StatusInternalServerError:
			code = codeInternal
		}
		p := problem(v.Status, code, v.Detail)
		for _, e := range v.Errors {
			message := e.Message
			if v.Status == http.StatusBadRequest { // an error of the JSON decoder may repeat what was sent
				message = "it is no valid JSON"
			}
			p.Errors = append(p.Errors, ProblemField{recorder.HideText(e.Location), recorder.HideText(message)})
		}
		if len(p.Errors) > 0 {
			p.Detail = p.Errors[0].Where + ": " + p.Errors[0].Message
		}
		p.RequestID = requestID(ctx.Context())
		return p, nil
	case *Problem:
		told := *v
		told.RequestID = requestID(ctx.Context())
		return &told, nil
	}
	return v, nil
}

// tell answers with a problem, outside of huma.
func tell(w http.ResponseWriter, r *http.Request, p *Problem) {
	told := *p
	told.RequestID = requestID(r.Context())
	h := w.Header()
	for k, v := range told.GetHeaders() {
		h[k] = v
	}
	h.Del("Content-Length")
	h.Del("Content-Encoding")
	var body any = &told
	h.Set("Content-Type", "application/problem+json")
	if strings.HasPrefix(r.URL.Path, catalogPath) { // its clients know the error model of the Iceberg specification alone
		h.Set("Content-Type", "application/json")
		body = map[string]any{"error": map[string]any{"message": told.Detail, "type": told.Code, "code": told.Status}}
	}
	text, err := marshal(body)
	if err != nil { // strings and numbers
		text = []byte("{}\n")
	}
	w.WriteHeader(told.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(safetext.JSON(text)) // the caller may have gone
	}
}
