package segment_test

import (
	"testing"

	"spoor/internal/event"
	"spoor/internal/store/segment"
	"spoor/internal/store/segment/segmenttest"
)

// BenchmarkWrite is the way of an event from Add to the synced file.
func BenchmarkWrite(b *testing.B) {
	var events []*event.Event
	segmenttest.Events(b, 60_000, func(e *event.Event) { events = append(events, e.Clone()) })
	dir := b.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir})
	b.ReportAllocs()
	before := cpu()
	var rows, bytes int64
	for b.Loop() {
		for _, e := range events {
			if err := w.Add(e, nil); err != nil {
				b.Fatal(err)
			}
		}
		segs, err := w.Flush(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, s := range segs {
			rows += s.Rows
			bytes += s.Bytes
		}
	}
	b.ReportMetric((cpu()-before).Seconds()*1e6/float64(rows), "cpu-us/event")
	b.ReportMetric(float64(bytes)/float64(rows), "B/event")
}
