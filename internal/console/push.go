package console

import (
	"bytes"
	"encoding/json"
	"net/http"
	"time"

	"spoor/internal/source/push"
)

// servePush hands a request on to the source that takes it, under the id of the call, and makes problems of its refusals.
func servePush(w http.ResponseWriter, r *http.Request, h http.Handler) error {
	out := &pushWriter{ResponseWriter: w}
	h.ServeHTTP(out, r.WithContext(push.WithRequestID(r.Context(), requestID(r.Context()))))
	if out.status < http.StatusBadRequest {
		return nil
	}
	var a push.Answer
	if err := json.Unmarshal(out.held.Bytes(), &a); err != nil {
		return err
	}
	code := codeBody
	switch out.status {
	case http.StatusRequestEntityTooLarge:
		code = codeTooLarge
	case http.StatusUnsupportedMediaType:
		code = codeMedia
	case http.StatusServiceUnavailable:
		code = codeBusy
	}
	p := problem(out.status, code, a.Error)
	if after, err := time.ParseDuration(w.Header().Get("Retry-After") + "s"); err == nil {
		p.retry = after
	}
	var err error
	a.Error = ""
	if p.Push, err = json.Marshal(a); err != nil {
		return err
	}
	return p
}

// pushWriter lets good answers through, and keeps the others.
type pushWriter struct {
	http.ResponseWriter
	status int
	held   bytes.Buffer
}

func (w *pushWriter) WriteHeader(status int) {
	w.status = status
	if status < http.StatusBadRequest {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *pushWriter) Write(p []byte) (int, error) {
	if w.status >= http.StatusBadRequest {
		return w.held.Write(p)
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap serves [http.ResponseController].
func (w *pushWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
