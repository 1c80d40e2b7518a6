package app

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"

	"golang.org/x/net/netutil"
)

// front is the address that answers: bound first, so that a port that is taken ends a start before anything has changed, and
// serving what it was given last. Until that is the service, it says that it is starting.
type front struct {
	set         httpSettings
	listener    net.Listener
	server      *http.Server
	handler     atomic.Pointer[http.Handler]
	certificate atomic.Pointer[tls.Certificate]
	done        chan struct{} // closed when serving has ended
	err         error         // why, once done is closed
}

// listen binds the address.
func listen(ctx context.Context, set httpSettings, starting http.Handler, log *slog.Logger) (*front, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", set.listen)
	if err != nil {
		return nil, err
	}
	f := &front{set: set, listener: netutil.LimitListener(l, set.connections), done: make(chan struct{})}
	f.handler.Store(&starting)
	f.server = &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { (*f.handler.Load()).ServeHTTP(w, r) }),
		ReadHeaderTimeout: set.header,
		IdleTimeout:       set.idle,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.With("part", "http").Handler(), slog.LevelDebug),
	}
	if set.certificate != nil {
		f.certificate.Store(set.certificate)
		f.listener = tls.NewListener(f.listener, &tls.Config{
			MinVersion: set.tlsMin,
			NextProtos: []string{"h2", "http/1.1"},
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
				return f.certificate.Load(), nil
			},
		})
	}
	return f, nil
}

// serve begins to answer. failed is told when that ends before stop.
func (f *front) serve(failed func(error)) {
	go func() {
		defer close(f.done)
		if err := f.server.Serve(f.listener); !errors.Is(err, http.ErrServerClosed) {
			f.err = err
			failed(fmt.Errorf("answer on %s: %w", f.address(), err))
		}
	}()
}

// hand makes h answer from now on.
func (f *front) hand(h http.Handler) { f.handler.Store(&h) }

func (f *front) address() string { return f.listener.Addr().String() }

// url is how callers on this machine reach it.
func (f *front) url() string {
	scheme := "http"
	if f.set.certificate != nil {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(f.address())
	if err != nil {
		return scheme + "://" + f.address()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip.To4() == nil {
			host = "::1"
		}
	}
	if named, _, err := net.SplitHostPort(f.set.listen); err == nil && named == "localhost" {
		host = named
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}

// stop takes no more connections, and waits for what is under way until the context ends; then it is cut off, which is the
// error.
func (f *front) stop(ctx context.Context) error {
	err := f.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests were cut off: %w", err), f.server.Close())
	}
	<-f.done
	return err
}
