//go:build unix

package awsapi_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"spoor/internal/awsapi"
	"spoor/internal/recorder"
)

// unrecorded is a Recorder that keeps nothing, so that the endpoint is measured alone.
type unrecorded struct{}

func (unrecorded) Record(context.Context, recorder.Call) (string, error) { return "", nil }
func (unrecorded) Refused(context.Context, string, recorder.Call) error  { return nil }

// BenchmarkGetCallerIdentity is signature check, decoding and answer over the network with 64 clients, whose own work of
// sending is a part of it. Every client has one connection and sends the
// same signed bytes again and again, as it is the server that is measured.
func BenchmarkGetCallerIdentity(b *testing.B) {
	r := newRig(b, func(o *awsapi.Options) { o.Recorder = unrecorded{} })
	const clients, body = 64, "Action=GetCallerIdentity&Version=2011-06-15"
	host := strings.TrimPrefix(r.url, "http://")
	req, err := http.NewRequest(http.MethodPost, r.url+"/", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
	if err := v4.NewSigner().SignHTTP(b.Context(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, req, sum(body), "sts", region, time.Now()); err != nil {
		b.Fatal(err)
	}
	var raw strings.Builder
	if err := req.Write(&raw); err != nil {
		b.Fatal(err)
	}
	text := raw.String()
	var length int
	{ // the answer is of the same length each time
		c, err := net.Dial("tcp", host)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.WriteString(c, text); err != nil {
			b.Fatal(err)
		}
		buf := make([]byte, 8<<10)
		n, err := c.Read(buf)
		if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 200 OK\r\n") || !strings.HasSuffix(string(buf[:n]), "</GetCallerIdentityResponse>") {
			b.Fatalf("%s, %v", buf[:n], err)
		}
		length = n
		c.Close()
	}
	before := cpu(b)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	work := make(chan struct{}, clients)
	for range clients {
		wg.Go(func() {
			c, err := net.Dial("tcp", host)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			buf := make([]byte, length)
			for range work {
				if _, err := io.WriteString(c, text); err != nil {
					b.Error(err)
					return
				}
				if _, err := io.ReadFull(c, buf); err != nil || string(buf[9:12]) != "200" {
					b.Errorf("%s, %v", buf, err)
					return
				}
			}
		})
	}
	for range b.N {
		work <- struct{}{}
	}
	close(work)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// cpu is what the process has used so far, clients and all.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
