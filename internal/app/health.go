package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"spoor/internal/config"
	"spoor/internal/durable"
)

// Health says whether the server can do what it is there for.
type Health struct {
	Ready  bool    `json:"ready"`
	State  string  `json:"state"` // running, starting or stopping
	Checks []Check `json:"checks"`
}

// Check is one condition of being ready.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Reason string `json:"reason,omitempty"`
}

// healthTime is how long a check may take.
const healthTime = 5 * time.Second

// Health looks at the server.
func (a *App) Health(ctx context.Context) Health {
	h := Health{State: *a.state.Load()}
	if h.State != "" { // parts may not be there
		h.Checks = []Check{{Name: "service", Reason: "it is " + h.State}}
		return h
	}
	h.State = "running"
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	check := func(name string, err error) {
		c := Check{Name: name, OK: err == nil}
		if err != nil {
			c.Reason = err.Error()
		}
		h.Checks = append(h.Checks, c)
	}
	s, err := a.journal.Stats(ctx)
	if err == nil && s.Err != nil {
		err = fmt.Errorf("the last write failed: %w", s.Err)
	}
	check("journal", err)
	check("disk", a.room())
	h.Ready = true
	for _, c := range h.Checks {
		h.Ready = h.Ready && c.OK
	}
	return h
}

// room says whether the disk of the data folder has some.
func (a *App) room() error {
	set := a.set.Load()
	free, err := durable.Free(set.data)
	if err != nil {
		return fmt.Errorf("look at the disk of %s: %w", set.data, err)
	}
	if int64(min(free, 1<<62)) < set.journal.MinFree {
		return fmt.Errorf("there is %s of room where %s is, and journal.min_free is %s", config.FormatSize(int64(free)), set.data, config.FormatSize(set.journal.MinFree))
	}
	return nil
}

// operations answers what needs no credential, and hands over the rest.
func (a *App) operations(rest http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "up"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		h := a.Health(r.Context())
		status := http.StatusOK
		if !h.Ready {
			status = http.StatusServiceUnavailable
			w.Header().Set("Retry-After", "1")
		}
		writeJSON(w, status, h)
	})
	mux.Handle("/", rest)
	return mux
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked may have gone
}
