package store

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/journal"
	"spoor/internal/store/segment/segmenttest"
)

// endless is a feed of batches that are made as they are asked for: copies of some records with other ids.
type endless struct {
	records [][]byte
	at      []int // where the id begins
	days    int   // that the events are spread over, when more than 0

	mu   sync.Mutex
	left int
	next int
	seq  uint64
}

func (e *endless) ID() string { return "endless" }

func (e *endless) Follow(context.Context, uint64, uint64) (Follower, error) { return e, nil }

func (e *endless) Next(ctx context.Context) (journal.Batch, error) {
	const per = 650 // about a megabyte
	e.mu.Lock()
	defer e.mu.Unlock()
	for e.left <= 0 {
		e.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
		e.mu.Lock()
		if ctx.Err() != nil {
			return journal.Batch{}, ctx.Err()
		}
	}
	n := min(per, e.left)
	e.left -= n
	e.seq++
	b := journal.Batch{Seq: e.seq, Accepted: time.Now(), Records: make([]journal.Record, 0, n)}
	for range n {
		i := e.next % len(e.records)
		raw := append([]byte(nil), e.records[i]...)
		hex.Encode(raw[e.at[i]:], fmt.Appendf(nil, "%04x", uint16(e.next>>16)))
		hex.Encode(raw[e.at[i]+28:], fmt.Appendf(nil, "%04x", uint16(e.next)))
		if e.days > 0 {
			day := time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, e.next*7919%e.days).Format(time.DateOnly)
			copy(raw[strings.Index(string(raw), `"eventTime":"`)+13:], day)
		}
		b.Records = append(b.Records, journal.Record{Raw: raw, Origin: journal.Origin{Source: "push", Object: "request-17", Offset: int64(i)}})
		e.next++
	}
	return b, nil
}

func (e *endless) Ack(context.Context, uint64) error { return nil }
func (e *endless) Close()                            {}

func (e *endless) give(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.left += n
}

func newEndless(b testing.TB, days int) *endless {
	e := &endless{days: days}
	segmenttest.Events(b, 40_000, func(ev *event.Event) {
		raw := append([]byte(nil), ev.Raw...)
		at := strings.Index(string(raw), `"eventID":"`)
		if at < 0 {
			b.Fatalf("no id: %s", raw)
		}
		e.records, e.at = append(e.records, raw), append(e.at, at+len(`"eventID":"`))
	})
	return e
}

// BenchmarkLive is all that becomes of an event behind the journal: taken, hot, and flushed into files of its day.
// SPOOR_LIVE_RATE paces it, in events a second.
func BenchmarkLive(b *testing.B) {
	for _, days := range []int{0, 365} {
		b.Run(fmt.Sprintf("days=%d", max(days, 2)), func(b *testing.B) {
			feed := newEndless(b, days)
			dir := filepath.Join(b.TempDir(), "store")
			runtime.GC()
			feedOnly := -cpuTime()
			made := feedCopy(feed)
			made.give(20_000)
			for made.left > 0 {
				if _, err := made.Next(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			feedOnly = (feedOnly + cpuTime()) / 20_000
			r := follow(b, dir, feed, LiveOptions{})
			var peak uint64
			stop := make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					case <-time.After(50 * time.Millisecond):
						var m runtime.MemStats
						runtime.ReadMemStats(&m)
						peak = max(peak, m.HeapInuse+m.StackInuse)
					}
				}
			})
			b.ResetTimer()
			before := cpuTime()
			var rate int
			_, _ = fmt.Sscan(os.Getenv("SPOOR_LIVE_RATE"), &rate) // 0 when it says nothing
			if rate > 0 {
				tick := time.NewTicker(50 * time.Millisecond)
				for n := b.N; n > 0; n -= rate / 20 {
					<-tick.C
					feed.give(min(n, rate/20))
				}
				tick.Stop()
			} else {
				feed.give(b.N)
			}
			for r.l.Stats().Records < uint64(b.N) {
				time.Sleep(5 * time.Millisecond)
			}
			live := b.Elapsed()
			if err := r.l.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			cpu := cpuTime() - before - feedOnly*time.Duration(b.N)
			close(stop)
			wg.Wait()
			st := r.l.Stats()
			if st.Kept != uint64(b.N) || st.HotRows != 0 {
				b.Errorf("%+v", st)
			}
			b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/event")
			b.ReportMetric(float64(b.N)/live.Seconds(), "events/s")
			b.ReportMetric(float64(peak>>20), "MB-peak")
			b.ReportMetric(float64(st.FlushedFiles), "files")
			b.ReportMetric(float64(st.Flushes), "flushes")
			b.ReportMetric(float64(st.Merges), "merges")
			b.ReportMetric(float64(st.Publications), "publications")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func feedCopy(e *endless) *endless { return &endless{records: e.records, at: e.at, days: e.days} }

func cpuTime() time.Duration {
	var r syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
