package docs_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"golang.org/x/sync/errgroup"
)

// The keys of the bucket store.
const (
	storeKey    = "tester"
	storeSecret = "testersecret"
)

// store is the bucket store that s3:// commands of the documentation meet, and the token service that gives roles.
type store struct {
	url, sts string
	stop     func() error
}

var running *store

func stopGateway() error {
	if running == nil {
		return nil
	}
	return running.stop()
}

// gateway starts the store once, with the logs in a bucket named trail-bucket. There can be one gateway in a process.
var gateway = sync.OnceValues(func() (*store, error) {
	logs, err := recentLogs()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(workspace, "buckets")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		return nil, err
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return nil, err
	}
	be, err := posix.New(dir, meta.XattrMeta{}, posix.PosixOpts{DefaultEtag: "none", CopyObjectThreshold: 5 << 30})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- embedgw.RunVersityGW(ctx, be, &embedgw.Config{
			RootUserAccess: storeKey, RootUserSecret: storeSecret, Ports: []string{addr}, Quiet: true,
			MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10000, HealthPath: "/health",
		})
	}()
	token := httptest.NewServer(http.HandlerFunc(assumeRole))
	running = &store{url: "http://" + addr, sts: token.URL, stop: func() error {
		token.Close()
		cancel()
		return <-done
	}}
	for begun := time.Now(); ; {
		res, err := http.Get(running.url + "/health")
		if err == nil {
			if err := res.Body.Close(); err != nil {
				return nil, err
			}
			break
		}
		select {
		case err := <-done:
			done <- err
			return nil, err
		default:
		}
		if time.Since(begun) > time.Minute {
			return nil, fmt.Errorf("the bucket store does not answer: %w", err)
		}
	}
	return running, upload(ctx, running.url, logs)
})

func upload(ctx context.Context, url, dir string) error {
	client := s3.New(s3.Options{BaseEndpoint: &url, UsePathStyle: true, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider(storeKey, storeSecret, "")})
	bucket := aws.String("trail-bucket")
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	files := os.DirFS(dir)
	err := fs.WalkDir(files, "AWSLogs", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		group.Go(func() error {
			text, err := fs.ReadFile(files, name)
			if err != nil {
				return err
			}
			_, err = client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &name, Body: bytes.NewReader(text)})
			return err
		})
		return nil
	})
	if werr := group.Wait(); werr != nil {
		return werr
	}
	return err
}

// assumeRole answers sts:AssumeRole with the store's own keys.
func assumeRole(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil || r.Form.Get("Action") != "AssumeRole" || r.Form.Get("RoleArn") == "" {
		http.Error(w, "not an AssumeRole request", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
		`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>%s</SecretAccessKey><SessionToken></SessionToken><Expiration>%s</Expiration>`+
		`</Credentials></AssumeRoleResult></AssumeRoleResponse>`, storeKey, storeSecret, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// copyFile copies a file, or the first n bytes of it when n is not negative.
func copyFile(from, to string, n int64) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	var text io.Reader = in
	if n >= 0 {
		text = io.LimitReader(in, n)
	}
	if _, err := io.Copy(out, text); err != nil {
		out.Close()
		return err
	}
	return out.Close()
}
