package push

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"spoor/internal/journal"
	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
)

// BenchmarkPush is 16 clients that push batches of 100 records over HTTP into a journal that syncs.
func BenchmarkPush(b *testing.B) {
	j, err := journal.Open(b.Context(), journal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	s, err := Open(Options{Options: live.Options{Name: "push", Dir: b.TempDir(), Accept: live.Into(j)}})
	if err != nil {
		b.Fatal(err)
	}
	front := httptest.NewServer(s)
	front.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 16
	var id atomic.Int64
	b.SetParallelism(8) // of two processors
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			var body strings.Builder
			for range 100 {
				body.WriteString(livetest.Record(fmt.Sprint(id.Add(1))) + "\n")
			}
			res, err := front.Client().Post(front.URL, "application/x-ndjson", strings.NewReader(body.String()))
			if err != nil || res.StatusCode != http.StatusOK {
				b.Errorf("%v, %v", res, err)
				return
			}
			if err := res.Body.Close(); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(id.Load())/b.Elapsed().Seconds(), "events/s")
	front.Close()
	if err := s.Close(); err != nil {
		b.Error(err)
	}
	if err := j.Close(); err != nil {
		b.Error(err)
	}
}
