package delivery_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"spoor/internal/blob"
	"spoor/internal/journal"
	"spoor/internal/selector"
	"spoor/internal/trail"
	"spoor/internal/trail/delivery"
	"spoor/internal/trail/delivery/deliverytest"
)

// counted is a storage that counts.
type counted struct {
	delivery.Storage
	bytes atomic.Int64
}

func (s *counted) Put(ctx context.Context, bucket, key string, body []byte, o blob.PutOptions) error {
	s.bytes.Add(int64(len(body)))
	return s.Storage.Put(ctx, bucket, key, body, o)
}

type fixedBook struct{ trails []trail.Trail }

func (b fixedBook) Deliverable() ([]trail.Trail, <-chan struct{}) { return b.trails, nil }
func (b fixedBook) Delivered(uint64) error                        { return nil }

// trailsOf makes trails with different selectors.
func trailsOf(n int) []trail.Trail {
	advanced := func(category string, more ...selector.FieldSelector) []selector.Advanced {
		return []selector.Advanced{{FieldSelectors: append([]selector.FieldSelector{{Field: "eventCategory", Equals: []string{category}}}, more...)}}
	}
	s3 := selector.FieldSelector{Field: "resources.type", Equals: []string{"AWS::S3::Object"}}
	selectors := []trail.Settings{
		{Advanced: append(advanced("Management", selector.FieldSelector{Field: "eventSource", NotEquals: []string{"kms.amazonaws.com", "rdsdata.amazonaws.com"}}), advanced("Data", s3)...)},
		{Basic: []selector.Basic{{ReadWriteType: "WriteOnly", IncludeManagementEvents: true}}},
		{Basic: []selector.Basic{{ReadWriteType: "All", IncludeManagementEvents: true, DataResources: []selector.DataResource{{Type: "AWS::S3::Object", Values: []string{"arn:aws:s3"}}}}}},
		{Advanced: advanced("Data", s3, selector.FieldSelector{Field: "resources.ARN", NotEndsWith: []string{"7.parquet"}}, selector.FieldSelector{Field: "readOnly", Equals: []string{"false"}})},
		{Advanced: advanced("Management", selector.FieldSelector{Field: "readOnly", Equals: []string{"true"}})},
	}
	var out []trail.Trail
	for i := range n {
		s := selectors[i%len(selectors)]
		s.Logging, s.Bucket, s.Prefix, s.MultiRegion, s.GlobalServiceEvents, s.Validation = true, "bucket", fmt.Sprint("t", i), true, true, true
		s.KMSKey = "arn:aws:kms:eu-central-1:111122223333:key/k"
		name := fmt.Sprint("trail-", i)
		out = append(out, trail.Trail{ARN: "arn:aws:cloudtrail:eu-central-1:111122223333:trail/" + name, Name: name, Account: "111122223333", HomeRegion: "eu-central-1",
			Accounts: []string{"111122223333"}, Epochs: []trail.Epoch{{At: time.Now(), Settings: s}}})
	}
	return out
}

// BenchmarkDelivery delivers b.N events, from the journal until they are in an encrypted bucket and the journal is acknowledged.
func BenchmarkDelivery(b *testing.B) {
	const per = 500
	entries := make([][]journal.Record, 64)
	size := 0
	for i := range entries {
		entries[i] = deliverytest.Events(uint64(i), per, "111122223333", "eu-central-1", "us-east-1", "eu-west-1")
		for _, r := range entries[i] {
			size += len(r.Raw)
		}
	}
	for _, n := range []int{1, 5, 10} {
		b.Run(fmt.Sprintf("trails=%d", n), func(b *testing.B) {
			p := newParts(b, b.TempDir())
			bucket := &counted{Storage: p.buckets}
			trails := trailsOf(n)
			for i := range trails {
				trails[i].Epochs[0].Settings.KMSKey = p.kmsKey
			}
			feed := deliverytest.NewFeed("bench")
			d, err := delivery.New(b.Context(), delivery.Options{Dir: b.TempDir(), Feed: feed, Book: fixedBook{trails}, Storage: bucket, Signer: p.keys,
				Account: "111122223333", Region: "eu-central-1", Interval: 2 * time.Second})
			if err != nil {
				b.Fatal(err)
			}
			ctx, stop := context.WithCancel(b.Context())
			done := make(chan error, 1)
			go func() { done <- d.Run(ctx) }()
			b.SetBytes(int64(size / len(entries) / per))
			b.ResetTimer()
			for i := range b.N/per + 1 {
				feed.Append(entries[i%len(entries)])
			}
			left := func() int {
				files := 0
				for _, t := range d.Stats().Trails {
					files += t.PendingFiles
				}
				return feed.Waiting() + files
			}
			var peak uint64
			for left() > 0 {
				time.Sleep(5 * time.Millisecond)
				var m runtime.MemStats
				if runtime.ReadMemStats(&m); m.HeapInuse > peak {
					peak = m.HeapInuse
				}
			}
			b.StopTimer()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(float64(peak)/(1<<20), "heap-MiB")
			b.ReportMetric(float64(bucket.bytes.Load())/float64(b.N), "stored-B/event")
			stop()
			if err := errors.Join(<-done, d.Close()); err != nil {
				b.Error(err)
			}
		})
	}
}
