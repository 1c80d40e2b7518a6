package topic

import (
	"strings"
	"testing"
	"time"
)

// BenchmarkPublish publishes notices of the size of CloudTrail's: one after the other, and by many at once, who share syncs.
func BenchmarkPublish(b *testing.B) {
	body := strings.Repeat("x", 300)
	for name, parallel := range map[string]int{"one": 0, "many": 32} {
		b.Run(name, func(b *testing.B) {
			s, stop := begin(b, b.TempDir(), options(&world{}))
			defer stop()
			arn := create(b, s, "t", nil)
			b.ResetTimer()
			if parallel == 0 {
				for range b.N {
					publish(b, s, arn, body)
				}
				return
			}
			b.SetParallelism(parallel)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if _, err := s.Publish(b.Context(), arn, Message{Body: body}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkDeliver delivers what is published by many, signed, to one endpoint that answers at once.
func BenchmarkDeliver(b *testing.B) {
	w := &world{}
	s, stop := begin(b, b.TempDir(), options(w))
	defer stop()
	arn := create(b, s, "t", nil)
	sub := subscribe(b, s, arn, "https", "https://a.test/", nil)
	b.ResetTimer()
	b.SetParallelism(32)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.Publish(b.Context(), arn, Message{Body: "x"}); err != nil {
				b.Error(err)
			}
		}
	})
	for {
		f, err := s.Figures(sub)
		if err != nil {
			b.Fatal(err)
		}
		if f.Delivered == uint64(b.N) {
			return
		}
		time.Sleep(time.Millisecond)
	}
}
