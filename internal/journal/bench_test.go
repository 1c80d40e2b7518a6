package journal

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// BenchmarkSync is why appends are grouped: one synced message for each record, for each append, and for each group.
func BenchmarkSync(b *testing.B) {
	for _, way := range []struct {
		name         string
		clients, per int
	}{{"one-record-alone", 1, 1}, {"one-record-of-64", 64, 1}, {"hundred-alone", 1, 100}, {"hundred-of-16", 16, 100}} {
		b.Run(way.name, func(b *testing.B) { push(b, Options{Dir: b.TempDir()}, way.clients, way.per, 0) })
	}
	b.Run("message-each", func(b *testing.B) { // without this package: what a synced message costs, many waiting at once
		j := open(b, Options{Dir: b.TempDir()})
		list := records(1, 64)
		began := time.Now()
		for i := 0; b.Loop(); i++ {
			var acks [64]jetstream.PubAckFuture
			for k := range acks {
				var err error
				if acks[k], err = j.js.PublishAsync(j.subject(), list[k].Raw); err != nil {
					b.Fatal(err)
				}
			}
			for _, a := range acks {
				select {
				case <-a.Ok():
				case err := <-a.Err():
					b.Fatal(err)
				}
			}
		}
		b.ReportMetric(float64(b.N*64)/time.Since(began).Seconds(), "records/s")
	})
}

// BenchmarkAppend is 16 clients with 100 records each: as fast as they can, and at 15 000 records a second.
func BenchmarkAppend(b *testing.B) {
	for _, linger := range []time.Duration{0, time.Millisecond, 3 * time.Millisecond} {
		b.Run(fmt.Sprintf("full/linger=%v", linger), func(b *testing.B) { push(b, Options{Dir: b.TempDir(), Linger: linger}, 16, 100, 0) })
		b.Run(fmt.Sprintf("half/linger=%v", linger), func(b *testing.B) { push(b, Options{Dir: b.TempDir(), Linger: linger}, 16, 100, 15000) })
	}
}

// push has clients append batches, b.N together, at rate records a second if it is not 0.
func push(b *testing.B, o Options, clients, per, rate int) {
	j := open(b, o)
	batches := make([][]Record, clients)
	for i := range batches {
		batches[i] = records(uint64(i), per)
	}
	b.ResetTimer()
	var all sync.WaitGroup
	var mu sync.Mutex
	var took []time.Duration
	began := time.Now()
	for c := range clients {
		all.Go(func() {
			var mine []time.Duration
			for i := c; i < b.N; i += clients {
				due := time.Now()
				if rate > 0 {
					due = began.Add(time.Duration(i*per) * time.Second / time.Duration(rate))
					time.Sleep(time.Until(due))
				}
				if _, err := j.Append(context.Background(), batches[c]); err != nil {
					b.Error(err)
				}
				mine = append(mine, time.Since(due))
			}
			mu.Lock()
			took = append(took, mine...)
			mu.Unlock()
		})
	}
	all.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(b.N*per)/time.Since(began).Seconds(), "records/s")
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	s := stats(b, j)
	b.ReportMetric(float64(s.Appends)/float64(s.Writes), "appends/write")
	b.ReportMetric(float64(s.RecordBytes)/float64(s.StoredBytes), "compression")
}

// BenchmarkFollow reads entries that are there.
func BenchmarkFollow(b *testing.B) {
	j := open(b, Options{Dir: b.TempDir()})
	for i := range uint64(32) {
		appendAll(b, j, records(i, 1000))
	}
	b.ResetTimer()
	began, n := time.Now(), 0
	for b.Loop() {
		list, _, _ := drain(b, follow(b, j, "", After(0)))
		n += len(list)
	}
	b.ReportMetric(float64(n)/time.Since(began).Seconds(), "records/s")
}

// BenchmarkEncode is the compression of an append of 100 records, and back.
func BenchmarkEncode(b *testing.B) {
	c, err := newCodec(64 << 20)
	if err != nil {
		b.Fatal(err)
	}
	defer c.close()
	list := records(1, 100)
	var s section
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			if s, err = c.encode(appendID{}, list); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(s.plain))
	})
	b.Run("decode", func(b *testing.B) {
		for b.Loop() {
			if _, err := c.decode(nil, s); err != nil {
				b.Fatal(err)
			}
		}
		b.SetBytes(int64(s.plain))
	})
}

// BenchmarkOpen opens a journal of a million records that a crash left, none of them acknowledged.
func BenchmarkOpen(b *testing.B) {
	o := Options{Dir: b.TempDir(), Followers: []string{"store"}}
	j := open(b, o)
	list := records(1, 1000)
	for range 1000 {
		appendAll(b, j, list)
	}
	closeIt(b, j)
	for b.Loop() {
		if err := os.Remove(filepath.Join(blockDir(o.Dir, "SPOOR"), "index.db")); err != nil {
			b.Fatal(err)
		}
		j := open(b, o)
		b.StopTimer()
		closeIt(b, j)
		b.StartTimer()
	}
}
