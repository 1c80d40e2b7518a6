package gateway

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"spoor/internal/journal"
	"spoor/internal/recorder"
)

// benched is a proxy before the gateway of S3 whose records go to a journal on disk.
func benched(b *testing.B) string {
	b.Helper()
	j, err := journal.Open(b.Context(), journal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = j.Close() })
	rec, err := recorder.New(recorder.Options{Journal: j, Account: "111122223333", Region: "eu-west-1"})
	if err != nil {
		b.Fatal(err)
	}
	u, err := ParseUpstream("s3=" + store.URL)
	if err != nil {
		b.Fatal(err)
	}
	p, err := NewProxy(ProxyOptions{Upstreams: []Upstream{u}, Recorder: rec, Account: "111122223333", Region: "eu-west-1"})
	if err != nil {
		b.Fatal(err)
	}
	s := httptest.NewServer(p)
	b.Cleanup(s.Close)
	return s.URL
}

// signed sends a request that is signed without a digest of its body.
func signed(b *testing.B, c *http.Client, method, url string, body io.Reader, length int64) *http.Response {
	b.Helper()
	r, err := http.NewRequestWithContext(b.Context(), method, url, body)
	if err != nil {
		b.Fatal(err)
	}
	r.ContentLength = length
	r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	if err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(b.Context(), aws.Credentials{AccessKeyID: "tester", SecretAccessKey: "testersecret"}, r, "UNSIGNED-PAYLOAD", "s3", "us-east-1", time.Now()); err != nil {
		b.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(res.Body)
		b.Fatalf("%s %s: %s %s", method, url, res.Status, text)
	}
	return res
}

// BenchmarkSmall is one small request after the other, directly and through the recorder, each to a journal that syncs.
func BenchmarkSmall(b *testing.B) {
	bucket := store.Bucket(b)
	via := benched(b)
	c := &http.Client{Transport: NewTransport()}
	body := strings.Repeat("x", 1024)
	for _, method := range []string{"PUT", "GET"} {
		for _, way := range []struct{ name, url string }{{"direct", store.URL}, {"recorded", via}} {
			b.Run(method+"/"+way.name, func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					var in io.Reader
					n := int64(0)
					if method == "PUT" {
						in, n = strings.NewReader(body), int64(len(body))
					}
					start := time.Now()
					res := signed(b, c, method, way.url+"/"+bucket+"/key", in, n)
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-us")
				b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-us")
			})
		}
	}
}

// BenchmarkLarge is an object of a gigabyte.
func BenchmarkLarge(b *testing.B) {
	const size = 1 << 30
	bucket := store.Bucket(b)
	via := benched(b)
	c := &http.Client{Transport: NewTransport()}
	block := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, method := range []string{"PUT", "GET"} {
		for _, way := range []struct{ name, url string }{{"direct", store.URL}, {"recorded", via}} {
			b.Run(method+"/"+way.name, func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					var in io.Reader
					n := int64(0)
					if method == "PUT" {
						in, n = io.LimitReader(endless{block}, size), size
					}
					res := signed(b, c, method, way.url+"/"+bucket+"/large", in, n)
					got, err := io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					if err != nil || method == "GET" && got != size {
						b.Fatal(fmt.Errorf("%d bytes: %w", got, err))
					}
				}
			})
		}
	}
	k := "large"
	_, _ = client(store.URL, "tester", "testersecret").DeleteObject(b.Context(), &awss3.DeleteObjectInput{Bucket: &bucket, Key: &k})
}

type endless struct{ block []byte }

func (e endless) Read(p []byte) (int, error) { return copy(p, e.block), nil }
