package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"spoor/internal/config"
	"spoor/internal/console"
	"spoor/internal/durable"
)

// healthTime is how long looking at the parts may take.
const healthTime = 5 * time.Second

// reasons are why the service is not ready; none when it is.
func (a *App) reasons(ctx context.Context) []string {
	var out []string
	for _, p := range a.partStates(ctx) {
		if !p.OK {
			out = append(out, p.Name+": "+p.Detail)
		}
	}
	return out
}

// partStates looks at the parts.
func (a *App) partStates(ctx context.Context) []console.PartState {
	if s := *a.state.Load(); s != "" { // parts may not be there
		return []console.PartState{{Name: "service", Detail: "it is " + s}}
	}
	ctx, cancel := context.WithTimeout(ctx, healthTime)
	defer cancel()
	var out []console.PartState
	check := func(name, detail string, err error) {
		if err != nil {
			detail = err.Error()
		}
		out = append(out, console.PartState{Name: name, OK: err == nil, Detail: detail})
	}
	s, err := a.journal.Stats(ctx)
	if err == nil && s.Err != nil {
		err = fmt.Errorf("the last write failed: %w", s.Err)
	}
	check("journal", fmt.Sprintf("sequence %d, %s", s.Last, roundSize(s.Bytes)), err)
	if a.live != nil {
		detail, err := a.storeState()
		check("store", detail, err)
	}
	if a.trails.delivery != nil {
		detail, err := a.trailState(a.opts.Now())
		check("trails", detail, err)
	}
	free, err := a.room()
	check("disk", roundSize(free)+" free", err)
	return out
}

// room says whether the disk of the data folder has some.
func (a *App) room() (int64, error) {
	set := a.set.Load()
	free, err := durable.Free(set.data)
	if err != nil {
		return 0, fmt.Errorf("look at the disk of %s: %w", set.data, err)
	}
	n := int64(min(free, 1<<62))
	if n < set.journal.MinFree {
		return n, fmt.Errorf("there is %s of room where %s is, and journal.min_free is %s", roundSize(n), set.data, config.FormatSize(set.journal.MinFree))
	}
	return n, nil
}

// starting answers until the parts are there.
func starting() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "reasons": []string{"service: it is starting"}})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		w.Header().Set("Content-Type", "application/problem+json")
		writeJSON(w, http.StatusServiceUnavailable, console.Problem{Type: "urn:spoor:problem:unavailable", Title: http.StatusText(http.StatusServiceUnavailable),
			Status: http.StatusServiceUnavailable, Code: "unavailable", Detail: "the service is starting"})
	})
	return mux
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	h := w.Header()
	if h.Get("Content-Type") == "" {
		h.Set("Content-Type", "application/json")
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who asked may have gone
}

// roundSize writes a number of bytes for people.
func roundSize(n int64) string {
	unit, f := 0, float64(n)
	for f >= 1024 && unit < 5 {
		f /= 1024
		unit++
	}
	return fmt.Sprintf("%.3g %s", f, [...]string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"}[unit])
}
