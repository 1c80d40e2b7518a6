package s3

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"

	"spoor/internal/source"
	"spoor/internal/source/archive"
	"spoor/internal/source/sourcetest"
)

// gateway is an S3 endpoint over a folder. There can be one per process, so all tests share it, each with buckets of its own.
type gateway struct {
	once    sync.Once
	url     string
	err     error
	buckets atomic.Int64
	stop    func() error
}

var shared gateway

// TestMain ends the gateway, and keeps the machine's own AWS configuration out of the tests.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "spoor-s3-*")
	if err != nil {
		panic(err)
	}
	for k, v := range map[string]string{
		"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "testersecret", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_CONFIG_FILE": filepath.Join(dir, "none"), "AWS_SHARED_CREDENTIALS_FILE": filepath.Join(dir, "none"), "SPOOR_TEST_ROOT": dir,
	} {
		if err := os.Setenv(k, v); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if shared.stop != nil {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "gateway:", err)
			code = 1
		}
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func (g *gateway) start(t testing.TB) {
	g.once.Do(func() {
		root := filepath.Join(os.Getenv("SPOOR_TEST_ROOT"), "buckets")
		if g.err = os.Mkdir(root, 0o700); g.err != nil {
			return
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
		if err != nil {
			g.err = err
			return
		}
		addr := listener.Addr().String()
		if g.err = listener.Close(); g.err != nil {
			return
		}
		be, err := posix.New(root, meta.XattrMeta{}, posix.PosixOpts{DefaultEtag: "none", CopyObjectThreshold: 5 << 30})
		if err != nil {
			g.err = err
			return
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			done <- embedgw.RunVersityGW(ctx, be, &embedgw.Config{
				RootUserAccess: "tester", RootUserSecret: "testersecret", Ports: []string{addr}, Quiet: true,
				MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10000, HealthPath: "/health",
			})
		}()
		g.stop = func() error { cancel(); return <-done }
		g.url = "http://" + addr
		for {
			res, err := http.Get(g.url + "/health")
			if err == nil {
				g.err = res.Body.Close()
				return
			}
			select {
			case g.err = <-done:
				done <- g.err
				return
			default:
			}
		}
	})
	if g.err != nil {
		t.Fatalf("start the gateway: %v", g.err)
	}
}

// bucket makes a bucket with a tree in it.
func (g *gateway) bucket(t testing.TB, tree map[string][]byte) string {
	t.Helper()
	g.start(t)
	name := fmt.Sprintf("bucket-%d", g.buckets.Add(1))
	src, err := New(t.Context(), name, "", Options{EndpointURL: g.url})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	if len(tree) > 200 { // objects are files, which are faster to make
		for key, data := range tree {
			path := filepath.Join(os.Getenv("SPOOR_TEST_ROOT"), "buckets", name, filepath.FromSlash(key))
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return name
	}
	var wg sync.WaitGroup
	sem := make(chan struct{}, 8)
	for key, data := range tree {
		sem <- struct{}{}
		wg.Go(func() {
			defer func() { <-sem }()
			_, err := src.client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &name, Key: &key, Body: strings.NewReader(string(data)), ContentEncoding: encoding(key)})
			if err != nil {
				t.Errorf("put %s: %v", key, err)
			}
		})
	}
	wg.Wait()
	return name
}

// encoding is the header that CloudTrail sets; clients that heed it would decompress.
func encoding(key string) *string {
	if strings.HasSuffix(key, ".gz") {
		return aws.String("gzip")
	}
	return nil
}

func TestConform(t *testing.T) {
	t.Parallel()
	for name, prefix := range map[string]string{"bucket": "", "folder": "some/where/"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sourcetest.Conform(t, func(t *testing.T, tree map[string][]byte) sourcetest.Place {
				moved := map[string][]byte{}
				for path, data := range tree {
					moved[prefix+path] = data
				}
				if prefix != "" {
					moved["some/where-else/x.json"] = []byte("{}")
				}
				bucket := shared.bucket(t, moved)
				src, err := New(t.Context(), bucket, prefix, Options{EndpointURL: shared.url, RequesterPays: true, Limits: archive.Limits{}})
				if err != nil {
					t.Fatal(err)
				}
				return sourcetest.Place{Source: src, Name: func(path string) string { return "s3://" + bucket + "/" + prefix + path }}
			})
		})
	}
}

func TestPrefixes(t *testing.T) {
	t.Parallel()
	tree := map[string][]byte{}
	for _, key := range []string{"logs/a.json", "logs/b/c.json", "logs-old/a.json", "logs.json", "2026/01/x.json", "2026/02/x.json", "2025/x.json"} {
		tree[key] = []byte("{}")
	}
	bucket := shared.bucket(t, tree)
	for prefix, want := range map[string][]string{
		"logs/":      {"logs/a.json", "logs/b/c.json"},
		"logs":       {"logs/a.json", "logs/b/c.json"},
		"logs.json":  {"logs.json"},
		"log":        {"logs/a.json", "logs/b/c.json", "logs-old/a.json", "logs.json"},
		"logs/b":     {"logs/b/c.json"},
		"logs-":      {"logs-old/a.json"},
		"202":        {"2026/01/x.json", "2026/02/x.json", "2025/x.json"},
		"2026/0":     {"2026/01/x.json", "2026/02/x.json"},
		"2026/01/x.": {"2026/01/x.json"},
	} {
		src, err := New(t.Context(), bucket, prefix, Options{EndpointURL: shared.url})
		if err != nil {
			t.Fatal(err)
		}
		got := sourcetest.List(t, src, source.Selection{})
		for _, key := range want {
			if _, ok := got["s3://"+bucket+"/"+key]; !ok {
				t.Errorf("%s: %s is not listed", prefix, key)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%s: %v", prefix, got)
		}
	}
}
