package gateway

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/journal"
	"spoor/internal/recorder"
	"spoor/internal/source/live/livetest"
)

var store *livetest.Gateway

func TestMain(m *testing.M) { os.Exit(livetest.MainQuiet(m, &store)) }

// rig is a proxy over a service, with a journal in memory.
type rig struct {
	*httptest.Server
	book  *awsapitest.Book
	proxy *Proxy
}

func newRig(t testing.TB, upstream string, change ...func(*ProxyOptions)) *rig {
	t.Helper()
	u, err := ParseUpstream(upstream)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{book: &awsapitest.Book{}}
	rec, err := recorder.New(recorder.Options{Journal: r.book, Account: awsapitest.Account, Region: awsapitest.Region})
	if err != nil {
		t.Fatal(err)
	}
	tr := NewTransport()
	t.Cleanup(tr.CloseIdleConnections)
	o := ProxyOptions{Upstreams: []Upstream{u}, Recorder: rec, Account: awsapitest.Account, Region: awsapitest.Region, Transport: tr}
	for _, c := range change {
		c(&o)
	}
	if r.proxy, err = NewProxy(o); err != nil {
		t.Fatal(err)
	}
	r.Server = httptest.NewUnstartedServer(r.proxy)
	r.Config.ErrorLog = nil
	r.Start()
	t.Cleanup(r.Close)
	return r
}

func client(endpoint, key, secret string) *awss3.Client {
	return awss3.New(awss3.Options{
		BaseEndpoint: &endpoint, UsePathStyle: true, Region: "us-east-1", RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""),
	})
}

// row is what a test wants to know of a record.
type row struct {
	Name, Key, Access, Error string
	In, Out                  int64
}

func rows(t testing.TB, records []string) (list []row) {
	t.Helper()
	ids := map[string]bool{}
	for _, text := range records {
		var r struct {
			EventID, EventName, ErrorCode, EventCategory string
			UserIdentity                                 struct{ AccessKeyID string }
			RequestParameters                            struct{ Key string }
			AdditionalEventData                          struct{ BytesTransferredIn, BytesTransferredOut int64 }
			Resources                                    []recorder.Resource
		}
		if err := json.Unmarshal([]byte(text), &r); err != nil {
			t.Fatal(err)
		}
		if ids[r.EventID] {
			t.Errorf("event %s is there twice", r.EventID)
		}
		ids[r.EventID] = true
		if key := r.RequestParameters.Key; key != "" && (len(r.Resources) != 2 || !strings.HasSuffix(r.Resources[0].ARN, "/"+key)) {
			t.Errorf("%s %s is about %v", r.EventName, key, r.Resources)
		}
		list = append(list, row{r.EventName, r.RequestParameters.Key, r.UserIdentity.AccessKeyID, r.ErrorCode, r.AdditionalEventData.BytesTransferredIn, r.AdditionalEventData.BytesTransferredOut})
	}
	return list
}

// TestMixed: ten thousand requests of many clients through the proxy, and one right record of each.
func TestMixed(t *testing.T) {
	total := 10_000
	if raceEnabled {
		total = 1_000
	}
	g := newRig(t, "s3="+store.URL)
	root := client(g.URL, "tester", "testersecret")
	bucket := "mixed"
	if _, err := root.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	stranger := client(g.URL, "AKIASTRANGER00000000", "x")
	const workers = 16
	var mu sync.Mutex
	want := map[row]int{{Name: "CreateBucket", Access: "tester"}: 1}
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			for i := 0; i < total/workers/5; i++ {
				key := fmt.Sprintf("w%d/an object %d+ü", w, i)
				body := make([]byte, rnd.IntN(20_000))
				if i%50 == 0 {
					body = make([]byte, 300_000+rnd.IntN(300_000)) // streamed
				}
				for j := range body {
					body[j] = byte(rnd.Uint32())
				}
				note := func(r row) {
					mu.Lock()
					want[r]++
					mu.Unlock()
				}
				if _, err := root.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
					t.Errorf("put: %v", err)
					return
				}
				note(row{Name: "PutObject", Key: key, Access: "tester", In: int64(len(body))})
				out, err := root.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
				if err != nil {
					t.Errorf("get: %v", err)
					return
				}
				got, err := io.ReadAll(out.Body)
				if err != nil || sha256.Sum256(got) != sha256.Sum256(body) {
					t.Errorf("get %s: %d bytes, want %d: %v", key, len(got), len(body), err)
				}
				note(row{Name: "GetObject", Key: key, Access: "tester", Out: int64(len(body))})
				if head, err := root.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: &bucket, Key: &key}); err != nil || *head.ContentLength != int64(len(body)) {
					t.Errorf("head: %v", err)
				}
				note(row{Name: "HeadObject", Key: key, Access: "tester"})
				switch i % 3 {
				case 0:
					_, err := stranger.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
					if err == nil {
						t.Error("a stranger was let in")
					}
					note(row{Name: "GetObject", Key: key, Access: "AKIASTRANGER00000000", Error: code(err), Out: -1})
				case 1:
					gone := key + "-gone"
					if _, err := root.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &gone}); code(err) != "NoSuchKey" {
						t.Errorf("a key that is not there: %v", err)
					}
					note(row{Name: "GetObject", Key: gone, Access: "tester", Error: "NoSuchKey", Out: -1})
				case 2:
					copied := key + "-copy"
					if _, err := root.CopyObject(t.Context(), &awss3.CopyObjectInput{Bucket: &bucket, Key: &copied, CopySource: aws.String(EscapePath(bucket + "/" + key))}); err != nil {
						t.Errorf("copy: %v", err)
					}
					note(row{Name: "CopyObject", Key: copied, Access: "tester", Out: -1})
				}
				if _, err := root.DeleteObject(t.Context(), &awss3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
					t.Errorf("delete: %v", err)
				}
				note(row{Name: "DeleteObject", Key: key, Access: "tester"})
			}
		})
	}
	wg.Wait()
	got := map[row]int{}
	for _, r := range rows(t, g.book.Records()) {
		if want[r] == 0 && r.Out > 0 {
			r.Out = -1 // an answer in XML, of whatever size
		}
		if want[r] == 0 && r.Name == "PutObject" { // with chunks and checksum around it
			for frames := range int64(200) {
				if plain := r; want[row{plain.Name, plain.Key, plain.Access, plain.Error, plain.In - frames, plain.Out}] > 0 {
					r.In -= frames
					break
				}
			}
		}
		got[r]++
	}
	sum := 0
	for r, n := range want {
		sum += n
		if got[r] != n {
			t.Errorf("%+v: %d records, want %d", r, got[r], n)
		}
		delete(got, r)
	}
	for r, n := range got {
		t.Errorf("%+v: %d records of no request", r, n)
	}
	if s := g.proxy.Stats(); s.Calls != uint64(sum) || s.Unrecorded != 0 {
		t.Errorf("%d requests, figures %+v", sum, s)
	}
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

// TestMultipart: parts, and what S3 tells in the body of a success.
func TestMultipart(t *testing.T) {
	t.Parallel()
	g := newRig(t, "s3="+store.URL)
	c := client(g.URL, "tester", "testersecret")
	bucket, key := store.Bucket(t), "big"
	up, err := c.CreateMultipartUpload(t.Context(), &awss3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 6<<16)
	var parts []types.CompletedPart
	for i, part := range [][]byte{body[:5<<20], body[5<<20:]} {
		n := int32(i + 1)
		out, err := c.UploadPart(t.Context(), &awss3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(part)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: &n, ChecksumCRC32: out.ChecksumCRC32})
	}
	if _, err := c.CompleteMultipartUpload(t.Context(), &awss3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
		t.Fatal(err)
	}
	out, err := c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key, Range: aws.String("bytes=5242870-5242889")})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(out.Body); err != nil || !bytes.Equal(got, body[5242870:5242890]) {
		t.Errorf("a range: %q %v", got, err)
	}
	var names []string
	for _, r := range rows(t, g.book.Records()) {
		names = append(names, r.Name)
	}
	if want := []string{"CreateMultipartUpload", "UploadPart", "UploadPart", "CompleteMultipartUpload", "GetObject"}; !slices.Equal(names, want) {
		t.Errorf("recorded %v", names)
	}
}

// fake starts a service.
func fake(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func ask(t testing.TB, r *http.Request) (*http.Response, []byte, error) {
	t.Helper()
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res, body, err
}

func request(t testing.TB, method, url string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestUnrecorded: what cannot be recorded fails, whether its answer is small or streamed; after it nothing reaches the service
// until it can be recorded again, and a call that was kept out is recorded as that.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("x"), 1<<20)
	for _, tt := range []struct {
		name string
		h    http.HandlerFunc
	}{
		{"small", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }},
		{"with a length", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(large)))
			_, _ = w.Write(large)
		}},
		{"without a length", func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(large)
			w.(http.Flusher).Flush()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int64
			g := newRig(t, "s3="+fake(t, func(w http.ResponseWriter, r *http.Request) { asked.Add(1); tt.h(w, r) }))
			g.book.Fail(errors.New("full"))
			if res, body, err := ask(t, request(t, "GET", g.URL+"/b/k", nil)); err == nil && res.StatusCode != 500 {
				t.Fatalf("answered %d with %d bytes", res.StatusCode, len(body))
			}
			for range 2 {
				res, body, err := ask(t, request(t, "PUT", g.URL+"/b/k", strings.NewReader("new")))
				if err != nil || res.StatusCode != 503 || !bytes.Contains(body, []byte("<Code>SlowDown</Code>")) {
					t.Fatalf("while it cannot be recorded: %v %s", err, body)
				}
			}
			g.book.Fail(nil)
			if res, _, err := ask(t, request(t, "PUT", g.URL+"/b/k", strings.NewReader("new"))); err != nil || res.StatusCode != 503 {
				t.Fatalf("the call that opens the gate: %v %v", res, err)
			}
			res, body, err := ask(t, request(t, "GET", g.URL+"/b/k", nil))
			if err != nil || res.StatusCode != 200 {
				t.Fatalf("afterwards: %v %v", res, err)
			}
			if n := asked.Load(); n != 2 {
				t.Errorf("the service was asked %d times", n)
			}
			got := rows(t, g.book.Records())
			if want := []row{{Name: "PutObject", Key: "k", Error: "SlowDown"}, {Name: "GetObject", Key: "k", Out: int64(len(body))}}; !slices.Equal(got, want) {
				t.Errorf("recorded %+v", got)
			}
			if s := g.proxy.Stats(); s.Unrecorded != 3 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestHeldBack: the end of a streamed answer goes out after its record, not before: its last bytes, or the mark of its end.
func TestHeldBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, proto string
		sized       bool
		size        int
	}{
		{"with a length, in small pieces", "HTTP/1.1", true, largeBuffer - 1},
		{"with a length, in large ones", "HTTP/1.1", true, 3*largeBuffer + 1},
		{"with a mark", "HTTP/1.1", false, 3 << 20},
		{"with neither", "HTTP/1.0", false, 3 << 20},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			large := make([]byte, tt.size)
			_, _ = rand.NewChaCha8([32]byte{1}).Read(large)
			hold, at := make(chan struct{}), make(chan struct{})
			g := newRig(t, "s3="+fake(t, func(w http.ResponseWriter, _ *http.Request) {
				if tt.sized {
					w.Header().Set("Content-Length", fmt.Sprint(len(large)))
				}
				_, _ = w.Write(large)
			}), func(o *ProxyOptions) { o.Recorder = waiting{hold: hold, at: at, r: o.Recorder} })
			conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_, _ = fmt.Fprintf(conn, "GET /b/k %s\r\nHost: h\r\nConnection: close\r\n\r\n", tt.proto)
			var got bytes.Buffer
			var mu sync.Mutex // guards got
			ended := make(chan error, 1)
			go func() {
				buf := make([]byte, 64<<10)
				for {
					n, err := conn.Read(buf)
					mu.Lock()
					got.Write(buf[:n])
					mu.Unlock()
					if err != nil {
						ended <- err
						return
					}
				}
			}()
			body := func() ([]byte, error) {
				mu.Lock()
				defer mu.Unlock()
				res, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(got.Bytes())), nil)
				if err != nil {
					return nil, err
				}
				return io.ReadAll(res.Body)
			}
			<-at
			// Everything that goes out before the record is on its way by now.
			for quiet, before := 0, -1; quiet < 5; time.Sleep(5 * time.Millisecond) {
				mu.Lock()
				n := got.Len()
				mu.Unlock()
				if quiet++; n != before {
					quiet, before = 0, n
				}
			}
			if b, err := body(); err == nil && len(b) == len(large) {
				t.Error("the answer was whole before its record")
			} else if len(b) < len(large)-largeBuffer {
				t.Errorf("%d of %d bytes came before the record", len(b), len(large))
			}
			close(hold)
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Error(err)
			}
			if b, err := body(); err != nil || !bytes.Equal(b, large) {
				t.Errorf("%d of %d bytes came, or others: %v", len(b), len(large), err)
			}
			if r := g.book.Last(t); r["additionalEventData"].(map[string]any)["bytesTransferredOut"] != float64(len(large)) {
				t.Errorf("recorded %v", r)
			}
		})
	}
}

// TestBuffers: answers of great length are read in large pieces while few are, and further ones in small pieces.
func TestBuffers(t *testing.T) {
	t.Parallel()
	f := NewForwarder(NewTransport())
	var given []func()
	for i := range largeBuffers + 1 {
		want := largeBuffer
		if i == largeBuffers {
			want = copyBuffer
		}
		b, giveBack := f.buffer(largeBuffer)
		if len(b) != want {
			t.Errorf("answer %d is read %d bytes at a time", i, len(b))
		}
		given = append(given, giveBack)
	}
	for _, giveBack := range given {
		giveBack()
	}
	for length, want := range map[int64]int{-1: copyBuffer, largeBuffer - 1: copyBuffer, largeBuffer: largeBuffer} {
		b, giveBack := f.buffer(length)
		if len(b) != want {
			t.Errorf("an answer of %d bytes is read %d at a time", length, len(b))
		}
		giveBack()
	}
}

// waiting records when it is let to.
type waiting struct {
	hold, at chan struct{}
	r        interface {
		Record(context.Context, recorder.Call) (string, error)
		Refused(context.Context, string, recorder.Call) error
	}
}

func (w waiting) Record(ctx context.Context, c recorder.Call) (string, error) {
	close(w.at)
	<-w.hold
	return w.r.Record(ctx, c)
}

func (w waiting) Refused(ctx context.Context, kind string, c recorder.Call) error {
	return w.r.Refused(ctx, kind, c)
}

// TestAborts: who breaks off is told apart, and what was not whole is not whole for the caller either.
func TestAborts(t *testing.T) {
	t.Parallel()
	large := bytes.Repeat([]byte("x"), 8<<20)
	last := func(g *rig) map[string]any {
		for len(g.book.Records()) == 0 {
			select {
			case <-t.Context().Done():
				t.Fatal("nothing was recorded")
			case <-time.After(time.Millisecond): // it is recorded when the abort is seen
			}
		}
		return g.book.Last(t)
	}
	t.Run("the service, in its answer", func(t *testing.T) {
		t.Parallel()
		for _, size := range []int{10, 1 << 20} {
			g := newRig(t, "s3="+fake(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(size+1))
				_, _ = w.Write(large[:size])
				w.(http.Flusher).Flush()
				panic(http.ErrAbortHandler)
			}))
			res, body, err := ask(t, request(t, "GET", g.URL+"/b/k", nil))
			if err == nil && res.StatusCode < 500 {
				t.Errorf("answered %d, %d bytes", res.StatusCode, len(body))
			}
			if r := last(g); r["errorCode"] != "InternalError" || r["additionalEventData"].(map[string]any)["transferAborted"] != "service" {
				t.Errorf("recorded %v", r)
			}
		}
	})
	t.Run("the service, before it", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, "s3="+fake(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
		res, body, err := ask(t, request(t, "PUT", g.URL+"/b/k", bytes.NewReader(large)))
		if err == nil && (res.StatusCode != 503 || !bytes.Contains(body, []byte("ServiceUnavailable"))) {
			t.Errorf("answered %v %s", res.Status, body)
		}
		if r := last(g); r["errorCode"] != "ServiceUnavailable" {
			t.Errorf("recorded %v", r)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, "s3=http://127.0.0.1:1")
		if res, _, err := ask(t, request(t, "GET", g.URL+"/b/k", nil)); err != nil || res.StatusCode != 503 {
			t.Errorf("answered %v %v", res, err)
		}
		if r := last(g); r["errorCode"] != "ServiceUnavailable" {
			t.Errorf("recorded %v", r)
		}
	})
	t.Run("the caller, in its body", func(t *testing.T) {
		t.Parallel()
		var got atomic.Int64
		torn := make(chan error, 1)
		g := newRig(t, "s3="+fake(t, func(_ http.ResponseWriter, r *http.Request) {
			n, err := io.Copy(io.Discard, r.Body)
			got.Store(n)
			torn <- err
		}))
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(conn, "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\nhalf of it")
		_ = conn.Close()
		if err := <-torn; err == nil {
			t.Error("the service saw a whole body")
		}
		if r := last(g); r["errorCode"] != "IncompleteBody" || r["additionalEventData"].(map[string]any)["transferAborted"] != "client" {
			t.Errorf("recorded %v", r)
		}
	})
	t.Run("the caller, in the answer", func(t *testing.T) {
		t.Parallel()
		g := newRig(t, "s3="+fake(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(100*len(large)))
			for range 100 {
				if _, err := w.Write(large); err != nil {
					return
				}
			}
		}))
		ctx, cancel := context.WithCancel(t.Context())
		res, err := http.DefaultTransport.RoundTrip(request(t, "GET", g.URL+"/b/k", nil).WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.CopyN(io.Discard, res.Body, 1<<20)
		cancel()
		_ = res.Body.Close()
		r := last(g)
		extra := r["additionalEventData"].(map[string]any)
		if out := extra["bytesTransferredOut"].(float64); r["errorCode"] != nil || extra["transferAborted"] != "client" || out < 1<<20 || out >= float64(100*len(large)) {
			t.Errorf("recorded %v", r)
		}
	})
	t.Run("the caller, after its change", func(t *testing.T) {
		t.Parallel()
		here, goOn := make(chan struct{}), make(chan struct{})
		g := newRig(t, "s3="+fake(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			close(here)
			<-goOn
			w.Header().Set("X-Amz-Version-Id", "v1")
		}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if res, err := http.DefaultTransport.RoundTrip(request(t, "PUT", g.URL+"/b/k", strings.NewReader("x")).WithContext(ctx)); err == nil {
				_ = res.Body.Close()
			}
		}()
		<-here
		cancel()
		<-done
		close(goOn)
		if r := last(g); r["errorCode"] != nil || fmt.Sprint(r["responseElements"]) != "map[x-amz-version-id:v1]" {
			t.Errorf("recorded %v", r)
		}
	})
}

// TestUnchanged: the service gets what the caller sent, and the caller what the service answered.
func TestUnchanged(t *testing.T) {
	t.Parallel()
	type seen struct {
		uri, host, body string
		header, trailer http.Header
	}
	got := make(chan seen, 1)
	g := newRig(t, "s3="+fake(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- seen{r.RequestURI, r.Host, string(body), r.Header, r.Trailer}
		w.Header().Set("X-Custom", "1")
		w.Header()["Date"] = []string{"Sat, 10 Jan 2026 00:00:00 GMT"}
		w.Header().Set("Trailer", "X-Sum")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "an answer")
		w.Header().Set("X-Sum", "abc")
	}))
	r := request(t, "PUT", g.URL+"/x", io.NopCloser(strings.NewReader("a body")))
	r.URL.Opaque = `/b/a%2fb%20"c"/../d//e`
	r.URL.RawQuery = "b=2&a=%2f&c"
	r.Host = "bucket.example.com"
	r.Header = http.Header{"X-Amz-Acl": {"private"}, "X-Two": {"a", "b"}, "Connection": {"X-Hop"}, "X-Hop": {"1"}, "User-Agent": {""}}
	r.Trailer = http.Header{"X-Amz-Checksum-Crc32": {"AAAA"}}
	r.ContentLength = -1
	res, body, err := ask(t, r)
	if err != nil {
		t.Fatal(err)
	}
	s := <-got
	if s.uri != `/b/a%2fb%20"c"/../d//e?b=2&a=%2f&c` || s.host != "bucket.example.com" || s.body != "a body" {
		t.Errorf("the service got %+v", s)
	}
	same(t, s.header, `{"Accept-Encoding":["gzip"],"X-Amz-Acl":["private"],"X-Two":["a","b"]}`)
	same(t, s.trailer, `{"X-Amz-Checksum-Crc32":["AAAA"]}`)
	if res.StatusCode != http.StatusAccepted || string(body) != "an answer" || res.Header.Get("X-Custom") != "1" || res.Trailer.Get("X-Sum") != "abc" || res.Header.Get("Date") != "Sat, 10 Jan 2026 00:00:00 GMT" {
		t.Errorf("the caller got %v %q %v", res, body, res.Trailer)
	}
}

// TestMetadataNames: names of metadata have small letters, whatever the service makes of them.
func TestMetadataNames(t *testing.T) {
	t.Parallel()
	g := newRig(t, "s3="+fake(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-Amz-Meta-Who", "ana") }))
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "GET /b/k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
	if text, err := io.ReadAll(conn); err != nil || !bytes.Contains(text, []byte("\r\nx-amz-meta-who: ana\r\n")) {
		t.Errorf("%s %v", text, err)
	}
}

// TestContinue: a body that the service does not want is not asked for.
func TestContinue(t *testing.T) {
	t.Parallel()
	for _, wanted := range []bool{true, false} {
		g := newRig(t, "s3="+fake(t, func(w http.ResponseWriter, r *http.Request) {
			if !wanted {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
		}))
		read := false
		r := request(t, "PUT", g.URL+"/b/k", readerFunc(func(p []byte) (int, error) {
			if read {
				return 0, io.EOF
			}
			read = true
			return copy(p, "x"), nil
		}))
		r.ContentLength = 1
		r.Header.Set("Expect", "100-continue")
		tr := &http.Transport{ExpectContinueTimeout: time.Minute}
		res, err := tr.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		tr.CloseIdleConnections()
		if read != wanted {
			t.Errorf("the body was read: %v, want %v", read, wanted)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestServices: what other services are asked, and what they answer.
func TestServices(t *testing.T) {
	t.Parallel()
	answer := func(contentType string, status int, body string, h ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("Content-Type", contentType)
			for i := 0; i < len(h); i += 2 {
				w.Header().Set(h[i], h[i+1])
			}
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	for _, tt := range []struct {
		service, method, target string
		header                  http.Header
		body                    string
		answer                  http.HandlerFunc
		want                    string // name, error, request, response
	}{
		{"cloudtrail", "POST", "/", http.Header{"X-Amz-Target": {"CloudTrail_20131101.StopLogging"}}, `{"Name":"t","KMSKeyId":"k"}`, answer("application/x-amz-json-1.1", 200, `{"TrailARN":"a"}`),
			`StopLogging 2013-11-01 <nil> map[KMSKeyId:k name:t] map[trailARN:a] false`},
		{"dynamodb", "POST", "/", http.Header{"X-Amz-Target": {"DynamoDB_20120810.PutItem"}}, `{"TableName":"t","Item":{"a":{"S":"secret"}}}`, answer("application/x-amz-json-1.0", 200, `{"Attributes":{"a":1}}`),
			`PutItem 2012-08-10 <nil> map[item:HIDDEN_DUE_TO_SECURITY_REASONS tableName:t] map[attributes:HIDDEN_DUE_TO_SECURITY_REASONS] false`},
		{"cloudtrail", "POST", "/", http.Header{"X-Amz-Target": {"CloudTrail_20131101.GetTrail"}}, `{}`, answer("application/x-amz-json-1.1", 400, `{"__type":"com.amazonaws#TrailNotFoundException","Message":"no"}`),
			`GetTrail 2013-11-01 TrailNotFoundException <nil> <nil> true`},
		{"sns", "POST", "/", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, "Action=Publish&Version=2010-03-31&Message=private&TopicArn=a", answer("text/xml", 200, `<PublishResponse xmlns="x"><PublishResult><MessageId>m</MessageId></PublishResult><ResponseMetadata><RequestId>r</RequestId></ResponseMetadata></PublishResponse>`),
			`Publish 2010-03-31 <nil> map[message:HIDDEN_DUE_TO_SECURITY_REASONS topicArn:a] map[messageId:m] false`},
		{"iam", "GET", "/?Action=ListUsers&Version=2010-05-08", nil, "", answer("text/xml", 403, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>m</Message></Error></ErrorResponse>`),
			`ListUsers 2010-05-08 AccessDenied <nil> <nil> true`},
		{"monitoring", "POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", http.Header{"Smithy-Protocol": {"rpc-v2-cbor"}}, "\xa1\x69Namespace\x61n", answer("application/cbor", 200, "\xa0"),
			`PutMetricData <nil> <nil> map[namespace:n] <nil> false`},
		{"lambda", "POST", "/2015-03-31/functions/f/invocations?Qualifier=1", nil, `{"a":"private"}`, answer("application/json", 404, `{"message":"no"}`, "X-Amzn-Errortype", "ResourceNotFoundException:http://x"),
			`POST <nil> ResourceNotFoundException map[httpMethod:POST path:/2015-03-31/functions/f/invocations qualifier:1] <nil> false`},
		{"sqs", "POST", "/", http.Header{"X-Amz-Target": {"AmazonSQS.<script>"}}, `{`, answer("text/plain", 502, `?`),
			`UnknownOperation <nil> BadGateway <nil> <nil> false`},
	} {
		g := newRig(t, tt.service+"="+fake(t, tt.answer))
		r := request(t, tt.method, g.URL+tt.target, strings.NewReader(tt.body))
		if tt.header != nil {
			r.Header = tt.header
		}
		r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260110/eu-west-3/"+tt.service+"/aws4_request, SignedHeaders=host, Signature="+strings.Repeat("0", 64))
		r.Header.Set("X-Amz-Date", "20260110T000000Z")
		if _, _, err := ask(t, r); err != nil {
			t.Fatal(err)
		}
		e := g.book.Last(t)
		if got := fmt.Sprint(e["eventName"], " ", e["apiVersion"], " ", e["errorCode"], " ", e["requestParameters"], " ", e["responseElements"], " ", e["readOnly"]); got != tt.want {
			t.Errorf("%s %s: recorded\n%s, want\n%s", tt.service, tt.target, got, tt.want)
		}
		id := e["userIdentity"].(map[string]any)
		if e["eventSource"] != tt.service+".amazonaws.com" || e["awsRegion"] != "eu-west-3" || id["accessKeyId"] != "AKIAIOSFODNN7EXAMPLE" || id["type"] != "Unknown" || e["additionalEventData"].(map[string]any)["identityVerified"] != false {
			t.Errorf("%s: recorded %v", tt.service, e)
		}
	}
}

// TestRouting: several services behind one address.
func TestRouting(t *testing.T) {
	t.Parallel()
	name := func(n string) string {
		return fake(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, n) })
	}
	sqs, err := ParseUpstream("sqs=" + name("sqs"))
	if err != nil {
		t.Fatal(err)
	}
	g := newRig(t, "s3="+name("s3"), func(o *ProxyOptions) { o.Upstreams = append(o.Upstreams, sqs) })
	for scope, want := range map[string]string{"s3": "s3", "sqs": "sqs", "": "s3", "sns": `"__type":"UnknownService"`} {
		r := request(t, "GET", g.URL+"/", nil)
		if scope != "" {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260110/eu-west-3/"+scope+"/aws4_request, SignedHeaders=host, Signature=0")
		}
		if _, body, err := ask(t, r); err != nil || !strings.Contains(string(body), want) {
			t.Errorf("%q: %s %v", scope, body, err)
		}
	}
	if n := len(g.book.Records()); n != 4 {
		t.Errorf("%d records", n)
	}
	for _, bad := range []string{"", "s3", "s3=", "s3=ftp://x", "s3=http://x/path", "S3=http://x", "s3=http://u:p@x", "s3=http://x?q"} {
		if _, err := ParseUpstream(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestBatch: records of many callers reach the sink once each, and its error all of its batch.
func TestBatch(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var got []string
	calls := 0
	b := NewBatch(func(_ context.Context, records [][]byte) error {
		mu.Lock()
		defer mu.Unlock()
		calls++
		for _, r := range records {
			if string(r) == "bad" {
				return errors.New("bad")
			}
		}
		for _, r := range records {
			got = append(got, string(r))
		}
		return nil
	})
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			if _, err := b.Append(t.Context(), []journal.Record{{Raw: fmt.Appendf(nil, "%03d", i)}}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, err := b.Append(t.Context(), []journal.Record{{Raw: []byte("bad")}}); err == nil || err.Error() != "bad" {
		t.Errorf("the sink's error: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Append(t.Context(), []journal.Record{{Raw: []byte("late")}}); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != 500 {
		t.Errorf("%d records in %d calls", len(got), calls)
	}
}

func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Date(2026, 1, 10, 9, 0, 0, 0, time.UTC)
	f, err := NewFiles(dir, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"a", "b"} {
		if err := f.Write(t.Context(), [][]byte{[]byte(text), []byte(text + text)}); err != nil {
			t.Fatal(err)
		}
	}
	now = now.Add(time.Hour)
	if err := f.Write(t.Context(), [][]byte{[]byte("c")}); err != nil {
		t.Fatal(err)
	}
	// A batch that fails leaves nothing of it, and the next one begins another file.
	_ = f.f.Close()
	if err := f.Write(t.Context(), [][]byte{[]byte("lost")}); err == nil {
		t.Error("a closed file was written")
	}
	now = now.Add(time.Second)
	if err := f.Write(t.Context(), [][]byte{[]byte("d")}); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		text, err := os.ReadFile(dir + "/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(text))
	}
	if want := []string{"a\naa\nb\nbb\n", "c\n", "d\n"}; !slices.Equal(got, want) {
		t.Errorf("files %q", got)
	}
}
