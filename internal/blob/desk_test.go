package blob

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"spoor/internal/keyring"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	keyARN  = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	keyARN2 = "arn:aws:kms:eu-west-1:111122223333:key/00000000-12ab-34cd-56ef-1234567890ab"
)

// fakeKeys wraps keys by hiding them behind a MAC of the context.
type fakeKeys struct {
	secret []byte
	mu     sync.Mutex
	fails  error
}

func newKeys() *fakeKeys { return &fakeKeys{secret: []byte("a secret of these tests")} }

func (k *fakeKeys) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.fails = err
}

func (k *fakeKeys) mac(nonce []byte, c map[string]string) []byte {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	m := hmac.New(sha256.New, k.secret)
	m.Write(append(b, nonce...))
	return m.Sum(nil)
}

func (k *fakeKeys) err() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.fails
}

func (k *fakeKeys) GenerateDataKey(_ context.Context, arn string, c map[string]string) (keyring.DataKey, error) {
	if err := k.err(); err != nil {
		return keyring.DataKey{}, err
	}
	if arn != keyARN && arn != keyARN2 {
		return keyring.DataKey{}, keyring.ErrNotFound
	}
	nonce := make([]byte, 16)
	_, _ = rand.Read(nonce)
	wrapped := append(nonce, k.mac(append(nonce, 1), c)...)
	return keyring.DataKey{KeyARN: arn, Plaintext: k.mac(append(nonce, 0), c), Wrapped: wrapped}, nil
}

func (k *fakeKeys) Unwrap(_ context.Context, wrapped []byte, c map[string]string) (keyring.DataKey, error) {
	if err := k.err(); err != nil {
		return keyring.DataKey{}, err
	}
	if len(wrapped) != 48 || !hmac.Equal(wrapped[16:], k.mac(append(slices.Clone(wrapped[:16]), 1), c)) {
		return keyring.DataKey{}, keyring.ErrCiphertext
	}
	return keyring.DataKey{Plaintext: k.mac(append(slices.Clone(wrapped[:16]), 0), c)}, nil
}

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// desk is buckets in a test.
type desk struct {
	*Local
	t    testing.TB
	dir  string
	keys *fakeKeys
	o    LocalOptions
}

// open makes buckets in a new folder.
func open(t testing.TB, change ...func(*LocalOptions)) *desk {
	t.Helper()
	return openIn(t, t.TempDir(), change...)
}

// beside makes buckets of a folder whose file system has no attributes.
func beside(t testing.TB) *desk {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "attributes"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := openIn(t, dir)
	if d.store.attrs.beside == "" {
		t.Fatal("the attributes are not beside the files")
	}
	return d
}

// both runs a test with attributes of files, and with attributes beside them.
func both(t *testing.T, test func(t *testing.T, d *desk)) {
	for name, d := range map[string]*desk{"xattr": open(t), "beside": beside(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, d)
		})
	}
}

func openIn(t testing.TB, dir string, change ...func(*LocalOptions)) *desk {
	t.Helper()
	d := &desk{t: t, dir: dir, keys: newKeys()}
	d.o = LocalOptions{Account: account, Region: region, Keys: d.keys}
	for _, fn := range change {
		fn(&d.o)
	}
	d.reopen()
	t.Cleanup(func() {
		if err := d.Local.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// reopen opens the folder, after it was closed.
func (d *desk) reopen() {
	d.t.Helper()
	l, err := OpenLocal(context.Background(), d.dir, d.o)
	if err != nil {
		d.t.Fatal(err)
	}
	d.Local = l
}

// restart closes the folder and opens it again.
func (d *desk) restart() {
	d.t.Helper()
	if err := d.Local.Close(); err != nil {
		d.t.Fatal(err)
	}
	d.reopen()
}

// versioned makes a bucket keep versions from now on.
func (d *desk) versioned(bucket string) {
	d.t.Helper()
	if _, err := d.SetVersioning(context.Background(), bucket, "Enabled"); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) bucket(name string) string {
	d.t.Helper()
	if _, err := d.CreateBucket(context.Background(), BucketSpec{Name: name}); err != nil {
		d.t.Fatal(err)
	}
	return name
}

func (d *desk) put(bucket, key, content string, o PutOptions) {
	d.t.Helper()
	if err := d.Put(context.Background(), bucket, key, []byte(content), o); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) get(bucket, key string) string {
	d.t.Helper()
	return read(d.t, d.Local, bucket, key)
}

func read(t testing.TB, s Storage, bucket, key string) string {
	t.Helper()
	r, o, err := s.Get(context.Background(), bucket, key)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if int64(len(b)) != o.Size {
		t.Fatalf("%s has %d bytes, not %d", key, len(b), o.Size)
	}
	return string(b)
}

// front serves the gateway over TCP, with what is in front of it reduced to headers of encryption.
func (d *desk) front() string {
	d.t.Helper()
	proxy := &httputil.ReverseProxy{
		Transport: d.Transport(),
		Rewrite: func(r *httputil.ProxyRequest) {
			h := r.Out.Header
			if h.Get("X-Amz-Server-Side-Encryption") == "aws:kms" {
				h.Set(HeaderKMSKey, h.Get("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id"))
				h.Set(HeaderKMSContext, h.Get("X-Amz-Server-Side-Encryption-Context"))
			}
			for name := range h {
				if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption") {
					h.Del(name)
				}
			}
		},
		ModifyResponse: func(res *http.Response) error {
			bucket, key, ok := strings.Cut(strings.TrimPrefix(res.Request.URL.Path, "/"), "/")
			if m := res.Request.Method; ok && key != "" && res.StatusCode < 300 && (m == http.MethodGet || m == http.MethodHead) {
				if o, err := d.HeadVersion(res.Request.Context(), bucket, key, res.Request.URL.Query().Get("versionId")); err == nil && o.KMSKey != "" {
					res.Header.Set("X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id", o.KMSKey)
				}
			}
			return nil
		},
	}
	srv := httptest.NewServer(proxy)
	d.t.Cleanup(srv.Close)
	return srv.URL
}

func config() aws.Config {
	return aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""), RetryMaxAttempts: 1}
}

func (d *desk) client() *awss3.Client {
	url := d.front()
	return awss3.NewFromConfig(config(), func(o *awss3.Options) { o.BaseEndpoint, o.UsePathStyle = &url, true })
}

// is holds an error to kind and code.
func is(t testing.TB, err, kind error, code string) {
	t.Helper()
	if err == nil || kind != nil && !errors.Is(err, kind) || Code(err) != code {
		t.Errorf("%v (%s), want %v (%s)", err, Code(err), kind, code)
	}
	if _, ok := errors.AsType[*storageError](err); ok && strings.Contains(err.Error(), "<") {
		t.Errorf("%v is no sentence", err)
	}
}

func (d *desk) readOnly(keys Keys) *ReadOnly {
	d.t.Helper()
	r, err := OpenReadOnly(d.dir, keys)
	if err != nil {
		d.t.Fatal(err)
	}
	return r
}
