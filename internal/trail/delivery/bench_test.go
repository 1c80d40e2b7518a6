package delivery_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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

// sealed is a folder of objects, encrypted and synced as those of local buckets are.
type sealed struct {
	dir   string
	n     atomic.Int64
	bytes atomic.Int64
}

func (s *sealed) Put(_ context.Context, _, _ string, body []byte, _ blob.PutOptions) error {
	key := make([]byte, 32+12)
	_, _ = rand.Read(key)
	block, err := aes.NewCipher(key[:32])
	if err != nil {
		return err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(s.dir, fmt.Sprint(s.n.Add(1))))
	if err != nil {
		return err
	}
	_, err = f.Write(gcm.Seal(nil, key[32:], body, nil))
	s.bytes.Add(int64(len(body)))
	return errors.Join(err, f.Sync(), f.Close())
}

type fixedBook struct{ trails []trail.Trail }

func (b fixedBook) Deliverable() ([]trail.Trail, <-chan struct{}) { return b.trails, nil }
func (b fixedBook) Delivered(uint64) error                        { return nil }

type oneKey struct{ key *rsa.PrivateKey }

func (k oneKey) Signing(context.Context, string, time.Time) (*rsa.PrivateKey, error) {
	return k.key, nil
}

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

// BenchmarkDelivery delivers b.N events, from the journal until they are in an encrypted folder and the journal is acknowledged.
func BenchmarkDelivery(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
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
			bucket := &sealed{dir: b.TempDir()}
			feed := deliverytest.NewFeed("bench")
			d, err := delivery.New(b.Context(), delivery.Options{Dir: b.TempDir(), Feed: feed, Book: fixedBook{trailsOf(n)}, Storage: bucket, Signer: oneKey{key},
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
