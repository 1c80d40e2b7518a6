package blob

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
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
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

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

func open(t testing.TB, change ...func(*LocalOptions)) *desk {
	t.Helper()
	d := &desk{t: t, dir: t.TempDir(), keys: newKeys()}
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

// TestStorage holds both implementations to what [Storage] promises.
func TestStorage(t *testing.T) {
	t.Parallel()
	d := open(t)
	remote := NewS3(S3Options{Config: config(), Endpoint: d.front(), PathStyle: true})
	for name, s := range map[string]Storage{"local": d.Local, "remote": remote} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform(t, s, d.bucket("bucket-"+name))
		})
	}
}

func conform(t *testing.T, s Storage, bucket string) {
	ctx := t.Context()
	sealed := PutOptions{
		ContentType: "application/json", ContentEncoding: "gzip", Metadata: map[string]string{"Backfill-Generated-By": "x", "signature": "abc"},
		KMSKey: keyARN, EncryptionContext: map[string]string{"aws:s3:arn": "arn:aws:s3:::x/y", "more": strings.Repeat("m", 3000)},
	}
	large := make([]byte, 300_000)
	_, _ = rand.Read(large)
	for _, c := range []struct {
		key     string
		content []byte
		o       PutOptions
	}{
		{"plain", []byte("hello"), PutOptions{ContentType: "text/plain"}},
		{"empty", nil, PutOptions{}},
		{"a/b/sealed", []byte("secret"), sealed},
		{"a/b/nothing", nil, sealed},
		{"a/b/large", large, sealed},
		{"a/b/segment", large[:65536], sealed},
		{"a/b c+d&e=f/ü-☃.gz", []byte("names"), sealed},
	} {
		for range 2 { // the second time changes nothing
			if err := s.Put(ctx, bucket, c.key, c.content, c.o); err != nil {
				t.Fatalf("%s: %v", c.key, err)
			}
		}
		if got := read(t, s, bucket, c.key); got != string(c.content) {
			t.Errorf("%s: %d bytes are not those of %d that were put", c.key, len(got), len(c.content))
		}
		o, err := s.Head(ctx, bucket, c.key)
		if err != nil {
			t.Fatal(err)
		}
		if o.Key != c.key || o.Size != int64(len(c.content)) || o.KMSKey != c.o.KMSKey || o.ContentEncoding != c.o.ContentEncoding || o.ETag == "" || strings.Contains(o.ETag, `"`) {
			t.Errorf("%s: %+v", c.key, o)
		}
		if c.o.ContentType != "" && o.ContentType != c.o.ContentType {
			t.Errorf("%s: type %q", c.key, o.ContentType)
		}
		if age := time.Since(o.Modified); age < -time.Minute || age > time.Minute {
			t.Errorf("%s: modified %s ago", c.key, age)
		}
		if want := lower(c.o.Metadata); fmt.Sprint(o.Metadata) != fmt.Sprint(want) && len(want)+len(o.Metadata) > 0 {
			t.Errorf("%s: metadata %v", c.key, o.Metadata)
		}
	}

	// Lists are complete and in order, in pages of any size.
	want := []string{"l/a", "l/a-b", "l/a.b", "l/a/b", "l/a/c/d", "l/a0", "l/z", "l/é", "l/日本/語", "l/\U0001F600"}
	for _, i := range []int{5, 1, 9, 0, 2, 7, 3, 8, 4, 6} {
		if want[i] == "l/a" {
			continue // the name of a file and of a folder
		}
		if err := s.Put(ctx, bucket, want[i], []byte(want[i]), PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	want = want[1:]
	if !slices.IsSorted(want) {
		t.Fatal("not in order")
	}
	for _, page := range []int{0, 1, 2, 3, 9, 10, 5000} {
		var got []string
		after := ""
		for {
			list, more, err := s.List(ctx, bucket, "l/", after, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range list {
				got = append(got, o.Key)
				if o.Size != int64(len(o.Key)) || o.ETag == "" || o.Modified.IsZero() {
					t.Errorf("%+v", o)
				}
			}
			if !more {
				break
			}
			if page > 0 && page < 1000 && len(list) != page || len(list) == 0 {
				t.Fatalf("a page of %d has %d", page, len(list))
			}
			after = list[len(list)-1].Key
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q", page, got)
		}
	}
	list, more, err := s.List(ctx, bucket, "a/b/", "a/b/nothing", 10)
	if err != nil || more || len(list) != 2 || list[0].Key != "a/b/sealed" || list[0].Size != 6 || list[1].Size != 65536 {
		t.Errorf("%+v, %t, %v", list, more, err)
	}
	if list, more, err := s.List(ctx, bucket, "none/", "", 10); err != nil || more || len(list) != 0 {
		t.Errorf("%v, %t, %v", list, more, err)
	}

	// What is not there.
	_, _, err = s.Get(ctx, bucket, "none")
	is(t, err, ErrNoKey, "NoSuchKey")
	_, err = s.Head(ctx, bucket, "none/none")
	is(t, err, ErrNoKey, "NoSuchKey")
	_, err = s.Head(ctx, "no-such-bucket", "none")
	is(t, err, ErrNoBucket, "NoSuchBucket")
	_, _, err = s.Get(ctx, "no-such-bucket", "none")
	is(t, err, ErrNoBucket, "NoSuchBucket")
	_, _, err = s.List(ctx, "no-such-bucket", "", "", 10)
	is(t, err, ErrNoBucket, "NoSuchBucket")
	is(t, s.Put(ctx, "no-such-bucket", "x", nil, PutOptions{}), ErrNoBucket, "NoSuchBucket")
	err = s.Put(ctx, bucket, "x", nil, PutOptions{KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/none"})
	is(t, err, nil, "KMS.NotFoundException")
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

// TestGateway drives what the AWS SDK knows of objects through the gateway.
func TestGateway(t *testing.T) {
	t.Parallel()
	d := open(t)
	bucket := d.bucket("gateway")
	c := d.client()
	ctx := t.Context()
	content := bytes.Repeat([]byte("0123456789abcdef"), 20_000)
	for _, sealed := range []bool{false, true} {
		key := fmt.Sprintf("object-%t", sealed)
		in := &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content), Metadata: map[string]string{"a": "b"}, Tagging: aws.String("x=1&y=2"), ChecksumAlgorithm: types.ChecksumAlgorithmSha256}
		if sealed {
			in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, aws.String(keyARN)
		}
		put, err := c.PutObject(ctx, in)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(content)
		if aws.ToString(put.ChecksumSHA256) == "" || aws.ToString(put.ETag) == "" {
			t.Errorf("%+v", put)
		}
		for _, r := range []struct {
			header   string
			from, to int
		}{{"bytes=0-9", 0, 10}, {"bytes=65530-65545", 65530, 65546}, {"bytes=-5", len(content) - 5, len(content)}, {"bytes=131072-", 131072, len(content)}} {
			got, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &key, Range: &r.header})
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(got.Body)
			if err != nil || !bytes.Equal(b, content[r.from:r.to]) || aws.ToString(got.ContentRange) != fmt.Sprintf("bytes %d-%d/%d", r.from, r.to-1, len(content)) {
				t.Errorf("%s %s: %d bytes, %s, %v", key, r.header, len(b), aws.ToString(got.ContentRange), err)
			}
		}
		got, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(got.Body)
		if err != nil || !bytes.Equal(b, content) || sha256.Sum256(b) != sum || aws.ToString(got.ChecksumSHA256) != aws.ToString(put.ChecksumSHA256) || len(got.Metadata) != 1 || aws.ToInt32(got.TagCount) != 2 {
			t.Errorf("%d bytes, %v, %+v", len(b), err, got)
		}
		attrs, err := c.GetObjectAttributes(ctx, &awss3.GetObjectAttributesInput{Bucket: &bucket, Key: &key, ObjectAttributes: []types.ObjectAttributes{types.ObjectAttributesObjectSize}})
		if err != nil || aws.ToInt64(attrs.ObjectSize) != int64(len(content)) {
			t.Errorf("%+v, %v", attrs, err)
		}
		// A copy is sealed as it is asked, whatever its source is.
		for _, again := range []bool{false, true} {
			to := fmt.Sprintf("%s-copy-%t", key, again)
			in := &awss3.CopyObjectInput{Bucket: &bucket, Key: &to, CopySource: aws.String(bucket + "/" + key)}
			if again {
				in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, aws.String(keyARN2)
			}
			if _, err := c.CopyObject(ctx, in); err != nil {
				t.Fatal(err)
			}
			if d.get(bucket, to) != string(content) {
				t.Errorf("%s is not its source", to)
			}
			o, err := d.Head(ctx, bucket, to)
			if err != nil || (o.KMSKey == keyARN2) != again || o.Metadata["a"] != "b" {
				t.Errorf("%+v, %v", o, err)
			}
			tags, err := c.GetObjectTagging(ctx, &awss3.GetObjectTaggingInput{Bucket: &bucket, Key: &to})
			if err != nil || len(tags.TagSet) != 2 {
				t.Errorf("%+v, %v", tags, err)
			}
			raw, err := os.ReadFile(filepath.Join(d.dir, "buckets", bucket, to))
			if err != nil || bytes.Contains(raw, content[:64]) == again {
				t.Errorf("%s lies in the clear: %t, %v", to, !again, err)
			}
		}
	}
	for _, list := range []func() (int64, error){
		func() (n int64, err error) {
			out, err := c.ListObjects(ctx, &awss3.ListObjectsInput{Bucket: &bucket})
			for _, o := range out.Contents {
				n += aws.ToInt64(o.Size)
			}
			return n, err
		},
		func() (n int64, err error) {
			out, err := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &bucket})
			for _, o := range out.Contents {
				n += aws.ToInt64(o.Size)
			}
			return n, err
		},
		func() (n int64, err error) {
			out, err := c.ListObjectVersions(ctx, &awss3.ListObjectVersionsInput{Bucket: &bucket})
			for _, o := range out.Versions {
				n += aws.ToInt64(o.Size)
			}
			return n, err
		},
	} {
		if n, err := list(); err != nil || n != int64(6*len(content)) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	// Precondition, checksum that does not fit.
	_, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: aws.String("object-true"), Body: strings.NewReader("x"), IfNoneMatch: aws.String("*")})
	if Code(err) != "PreconditionFailed" {
		t.Error(err)
	}
	_, err = c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &bucket, Key: aws.String("wrong"), Body: strings.NewReader("x"), ChecksumSHA256: aws.String("47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="), ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String(keyARN)})
	if Code(err) == "" {
		t.Error(err)
	}
	_, err = d.Head(ctx, bucket, "wrong")
	is(t, err, ErrNoKey, "NoSuchKey")
	if _, err := c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: &bucket, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("object-true")}, {Key: aws.String("none")}}}}); err != nil {
		t.Fatal(err)
	}
	_, err = d.Head(ctx, bucket, "object-true")
	is(t, err, ErrNoKey, "NoSuchKey")
}
