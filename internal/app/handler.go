package app

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"

	"spoor/internal/iam"
)

// handler is what answers once everything is there.
func (a *App) handler() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", a.allowed(iam.GetMetrics, nil, a.registry.Handler()))
	mux.Handle("POST /api/v1/events", a.allowed(iam.PutEvents, func(r *http.Request) iam.Resource {
		name := r.URL.Query().Get("source")
		if name == "" {
			name = defaultPush
		}
		return iam.Resource{Type: iam.TypeSource, ID: name}
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, err := a.sources.pushTo(r.URL.Query().Get("source"))
		switch {
		case errors.Is(err, errNoSource):
			writeJSON(w, http.StatusNotFound, map[string]string{"detail": err.Error()})
		case err != nil:
			w.Header().Set("Retry-After", "5")
			writeJSON(w, http.StatusServiceUnavailable, map[string]string{"detail": err.Error()})
		default:
			h.ServeHTTP(w, r)
		}
	})))
	return a.operations(mux), nil
}

func (a *App) allowed(action iam.Action, on func(*http.Request) iam.Resource, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var from netip.Addr
		if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
			from = ap.Addr().Unmap()
		}
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		caller, err := a.iam.Authenticate(r.Context(), token, from)
		if err != nil {
			w.Header().Set("WWW-Authenticate", "Bearer")
			writeJSON(w, http.StatusUnauthorized, map[string]string{"detail": "a token is wanted"})
			return
		}
		caller.TLS = r.TLS != nil
		var res iam.Resource
		if on != nil {
			res = on(r)
		}
		if d := a.iam.Authorize(r.Context(), caller, action, res); !d.Allowed {
			writeJSON(w, http.StatusForbidden, map[string]string{"detail": d.Reason})
			return
		}
		next.ServeHTTP(w, r)
	})
}
