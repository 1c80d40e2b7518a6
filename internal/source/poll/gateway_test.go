package poll

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
	"spoor/internal/source/s3"
)

var gateway *livetest.Gateway

// TestMain starts the gateway of the tests, and keeps the machine's own AWS configuration out of them.
func TestMain(m *testing.M) { os.Exit(livetest.Main(m, &gateway)) }

// TestGateway reads a bucket of a real S3 gateway, which answers one request in five with an error of its own.
func TestGateway(t *testing.T) {
	t.Parallel()
	name := gateway.Bucket(t)
	put := func(day int, id string) { gateway.Put(t, name, livetest.Key(day, id), livetest.Log(id)) }
	put(1, "a")
	put(today, "b")
	to, err := url.Parse(gateway.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host // it is signed
	}}
	var requests, broken atomic.Int64
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%5 == 0 {
			broken.Add(1)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	defer front.Close()

	kept := &livetest.Kept{}
	src, err := Open(t.Context(), Options{
		Options: live.Options{Name: "bucket", Dir: t.TempDir(), Accept: kept, Now: func() time.Time { return time.Date(2026, 1, today, 12, 0, 0, 0, time.UTC) }},
		Bucket:  name, S3: s3.Options{EndpointURL: front.URL}, Interval: 50 * time.Millisecond, RecentEvery: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- src.Run(ctx) }()
	limit, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for want, add := range []func(){func() {}, func() {}, func() { put(today, "c") }, func() { put(today-1, "0-early") }} {
		add()
		for len(kept.Distinct()) < want+1 && want > 0 {
			if live.Pause(limit, 10*time.Millisecond) != nil {
				t.Fatalf("accepted %v; %+v", kept.IDs(), src.Stats())
			}
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(kept.IDs()); got != "[0-early a b c]" || broken.Load() == 0 {
		t.Errorf("accepted %s, %d requests broken", got, broken.Load())
	}
	if r, err := src.Ledger(time.Time{}); err != nil || !r.Balanced || r.Objects.Read != 4 {
		t.Errorf("ledger %+v %v, %v", r.Objects, r.Problems, err)
	}
	if err := src.Close(); err != nil {
		t.Error(err)
	}
}
