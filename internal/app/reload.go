package app

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"spoor/internal/console"
)

// errStopping is returned when the server is being stopped.
var errStopping = fmt.Errorf("%w: the service is stopping", console.ErrUnavailable)

// Reload reads the configuration again, with the files that it names, and puts what can be changed into effect. When anything
// is wrong with it, nothing changes, and the error tells all of it.
func (a *App) Reload(ctx context.Context) (console.Reloaded, error) {
	a.change.Lock()
	defer a.change.Unlock()
	if a.stopped {
		return console.Reloaded{}, errStopping
	}
	l, set, err := a.read()
	if err != nil {
		a.refused.Add(1)
		a.log.Error("the configuration was read again, and is not valid: nothing has changed", slog.Any("error", err))
		return console.Reloaded{}, err
	}
	old := a.set.Load()
	live, restart := a.loaded.Changed(l)
	r := console.Reloaded{Changed: []string{}, Warnings: l.Warnings, Restart: append([]string{}, restart...)}
	// An address that speaks TLS cannot cease to, nor begin to, while it is open.
	tls := (old.http.certificate == nil) != (set.http.certificate == nil)
	for _, key := range live {
		if tls && (key == "http.tls_cert" || key == "http.tls_key") {
			r.Restart = append(r.Restart, key)
			continue
		}
		r.Changed = append(r.Changed, key)
	}
	slices.Sort(r.Restart)
	next := *old
	next.shutdown, next.log.level, next.lifetime = set.shutdown, set.log.level, set.lifetime
	next.iam.Policies, next.sources = set.iam.Policies, set.sources
	next.maintain = set.maintain
	next.live.FlushRows, next.live.FlushInterval = set.live.FlushRows, set.live.FlushInterval
	next.query.Timeout, next.query.MaxRows = set.query.Timeout, set.query.MaxRows
	if a.maintenance != nil {
		if err := a.maintenance.Configure(next.maintain); err != nil { // it looks before it changes anything
			a.refused.Add(1)
			return console.Reloaded{}, err
		}
	}
	if a.live != nil {
		a.live.Configure(next.live.FlushRows, next.live.FlushInterval)
	}
	if a.query != nil {
		a.query.Configure(next.query.Timeout, next.query.MaxRows)
	}
	next.aws.regions, next.aws.skew, next.aws.maxBody, next.aws.inFlight = set.aws.regions, set.aws.skew, set.aws.maxBody, set.aws.inFlight
	next.buckets.domains, next.trails.sources = set.buckets.domains, set.trails.sources
	if a.aws != nil {
		e, buckets, err := a.endpoint(&next)
		if err != nil {
			a.refused.Add(1)
			return console.Reloaded{}, err
		}
		if err := a.answerAWS(e, buckets); err != nil {
			a.log.Error("logs of access could not be written", slog.Any("error", err))
		}
	}
	a.level.Set(next.log.level)
	a.iam.SetPolicies(next.iam.Policies)
	if !tls {
		next.http.certificate = set.http.certificate
		if set.http.certificate != nil {
			a.front.certificate.Store(set.http.certificate)
			if a.aws != nil {
				a.aws.certificate.Store(set.http.certificate)
			}
		}
	}
	a.set.Store(&next)
	a.loaded = l
	a.sources.apply(withDefault(next.sources, &next))
	a.reloads.Add(1)
	a.log.Info("the configuration was read again", slog.Any("applied", r.Changed), slog.Any("want_restart", r.Restart))
	return r, nil
}
