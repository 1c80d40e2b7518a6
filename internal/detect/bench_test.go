package detect

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/rules"
)

// benchEvents are ordinary calls by many sessions.
func benchEvents(b testing.TB, n int) []*event.Event {
	rng := rand.New(rand.NewPCG(1, 2))
	calls := [][2]string{{"DescribeInstances", "ec2"}, {"GetObject", "s3"}, {"AssumeRole", "sts"}, {"Decrypt", "kms"}, {"PutObject", "s3"}, {"DescribeVolumes", "ec2"},
		{"GetCallerIdentity", "sts"}, {"ListBuckets", "s3"}, {"GetObject", "s3"}, {"UpdateInstanceInformation", "ssm"}, {"PutMetricData", "monitoring"}}
	var recs []rec
	for i := range n {
		call := calls[rng.IntN(len(calls))]
		r := rec{at: time.Duration(i) * time.Second / 4, name: call[0], source: call[1] + ".amazonaws.com", user: fmt.Sprint("role", rng.IntN(200)), session: fmt.Sprint("s", rng.IntN(4)),
			ip: fmt.Sprint("10.0.0.", rng.IntN(200)), params: `{"bucketName":"bucket-7","key":"` + strings.Repeat("k", 60) + `"}`}
		recs = append(recs, r)
	}
	return events(b, recs)
}

func bench(b *testing.B, rs *Ruleset, evs []*event.Event) {
	batch := NewEngine(rs).NewBatch(BatchOptions{Shards: 1, TempDir: b.TempDir()})
	s, err := batch.Shard()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := s.Event(evs[i%len(evs)]); err != nil {
			b.Fatal(err)
		}
	}
	if err := batch.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkBatch is the cost of one event beyond decoding.
func BenchmarkBatch(b *testing.B) {
	pack := mustLoad(b, Options{Sources: []Source{{Name: "spoor", FS: rules.FS}}})
	evs := benchEvents(b, 20_000)
	b.Run("pack", func(b *testing.B) { bench(b, pack, evs) })
	one := rulesOf(b, rule("A", "A"))
	b.Run("no hit", func(b *testing.B) { bench(b, one, evs) })
	b.Run("every event hits", func(b *testing.B) { bench(b, rulesOf(b, rule("All", "'*'")), evs) })
	b.Run("every event feeds", func(b *testing.B) {
		bench(b, rulesOf(b, rule("All", "'*'")+correlationDoc("X", "event_count", "All", "  group-by: userIdentity.arn\n  condition: {gte: 1000}\n")), evs)
	})
}

// BenchmarkFinish is the cost of one base match when a batch ends.
func BenchmarkFinish(b *testing.B) {
	rs := rulesOf(b, rule("All", "'*'")+correlationDoc("X", "event_count", "All", "  group-by: userIdentity.arn\n  condition: {gte: 1000}\n"))
	evs := benchEvents(b, 100_000)
	for b.Loop() {
		batch := NewEngine(rs).NewBatch(BatchOptions{Shards: 1, TempDir: b.TempDir(), Memory: 8 << 20})
		s, err := batch.Shard()
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range evs {
			if err := s.Event(e); err != nil {
				b.Fatal(err)
			}
		}
		began := time.Now()
		if _, err := batch.Finish(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(len(evs)), "ns/match")
		if err := batch.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLive(b *testing.B) {
	pack := mustLoad(b, Options{Sources: []Source{{Name: "spoor", FS: rules.FS}}})
	evs := benchEvents(b, 20_000)
	l := NewEngine(pack).NewLive(LiveOptions{})
	w := l.Worker()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if err := w.Event(evs[i%len(evs)]); err != nil {
			b.Fatal(err)
		}
	}
}
