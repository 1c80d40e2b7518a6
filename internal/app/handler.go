package app

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"spoor/internal/config"
	"spoor/internal/console"
	"spoor/internal/store/restcatalog"
)

// handler is what answers once everything is there.
func (a *App) handler() (http.Handler, error) {
	set := a.set.Load()
	var searchable func() uint64
	if a.live != nil {
		searchable = func() uint64 { return a.live.Stats().Published }
	}
	o := console.Options{
		Access: a.iam, Recorder: a.recorder, Tail: console.Tails(a.tail, searchable), Sources: a.sources, Journal: a.journal, Configuration: configuration{a},
		Metrics: a.registry.Handler(), Ready: a.reasons, Status: a.partStates, Roles: a.loaded.Config.Roles, Version: a.opts.Version,
		TrustedProxies: set.http.proxies, MaxTails: set.http.tails,
		TokenLifetime: func() time.Duration { return a.set.Load().lifetime },
		Observe: func(c console.Call) {
			a.registry.Observe(c.Route, c.Status, c.Took, strings.HasSuffix(c.Route, "/tail"))
		},
		Log: a.log.With("part", "http"), Now: a.opts.Now,
		Store:   keeper{a},
		Catalog: restcatalog.New(restcatalog.Options{Store: keeper{a}, Log: a.log.With("part", "catalog")}),
	}
	if a.query != nil {
		o.Ask = asker{a.query}
	}
	c, err := console.New(o)
	if err != nil {
		return nil, err
	}
	a.front.server.RegisterOnShutdown(c.Shutdown)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer a.registry.Begin()()
		c.ServeHTTP(w, r)
	}), nil
}

// configuration is the App as [console.Configuration].
type configuration struct{ a *App }

// Effective implements [console.Configuration].
func (c configuration) Effective() []config.Effective {
	c.a.change.Lock()
	defer c.a.change.Unlock()
	return c.a.loaded.Effective()
}

// Reload implements [console.Configuration].
func (c configuration) Reload(ctx context.Context) (console.Reloaded, error) {
	r, err := c.a.Reload(ctx)
	if err != nil && !errors.Is(err, errStopping) {
		err = errors.Join(console.ErrInvalid, err) // the text is for callers: it names settings, and never holds their secrets
	}
	return r, err
}
