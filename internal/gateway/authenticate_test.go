package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/caller"
	"spoor/internal/iam"
)

// known makes a rig verify who calls, and call S3 as the gateway's only user.
func known(t testing.TB, a *iam.Service) func(*ProxyOptions) {
	once := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	access := caller.Access{IAM: a}
	return func(o *ProxyOptions) {
		o.Verifier = &Verifier{Credentials: access, Attempts: access, Default: awsapitest.Region, Region: func(r string) bool { return r == "us-east-1" }}
		o.Signer = func(ctx context.Context, r *http.Request, service, region, digest string) error {
			return once.SignHTTP(ctx, aws.Credentials{AccessKeyID: "tester", SecretAccessKey: "testersecret"}, r, digest, service, region, time.Now())
		}
	}
}

// TestAuthenticate: callers have keys of their own, of which the service knows nothing.
func TestAuthenticate(t *testing.T) {
	t.Parallel()
	a, err := iam.Open(t.Context(), t.TempDir(), iam.Options{Account: awsapitest.Account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	if _, err := a.CreateUser("ana", nil, ""); err != nil {
		t.Fatal(err)
	}
	k, secret, err := a.CreateAccessKey(iam.KeySpec{User: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	g := newRig(t, "s3="+store.URL, known(t, a))
	c := client(g.URL, k.ID, secret)
	bucket, key := store.Bucket(t), "a key/with +ü%2F and more"
	body := bytes.Repeat([]byte("content "), 100_000)
	identity := func(name, errorCode string) {
		t.Helper()
		e := g.book.Last(t)
		id := e["userIdentity"].(map[string]any)
		if e["eventName"] != name || fmt.Sprint(e["errorCode"]) != errorCode || errorCode == "<nil>" && (id["userName"] != "ana" || id["accessKeyId"] != k.ID || id["accountId"] != awsapitest.Account) {
			t.Errorf("recorded %v", e)
		}
	}
	if _, err := c.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
	identity("PutObject", "<nil>")
	out, err := c.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(out.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	identity("GetObject", "<nil>")
	// Presigned URLs count as often as they are used.
	url, err := awss3.NewPresignClient(c).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if res, got, err := ask(t, request(t, "GET", url.URL, nil)); err != nil || res.StatusCode != 200 || !bytes.Equal(got, body) {
			t.Errorf("a presigned URL: %v, %d bytes, %v", res, len(got), err)
		}
		identity("GetObject", "<nil>")
		if e := g.book.Last(t)["additionalEventData"].(map[string]any); e["AuthenticationMethod"] != "QueryString" {
			t.Errorf("recorded %v", e)
		}
		if p := fmt.Sprint(g.book.Last(t)["requestParameters"]); strings.Contains(p, "Signature:") || strings.Contains(p, k.ID) {
			t.Errorf("recorded %s", p)
		}
	}
	if res, _, err := ask(t, request(t, "GET", strings.Replace(url.URL, "X-Amz-Expires=900", "X-Amz-Expires=9000", 1), nil)); err != nil || res.StatusCode != 403 {
		t.Errorf("a changed URL: %v %v", res, err)
	}
	identity("GetObject", "SignatureDoesNotMatch")
	if _, err := client(g.URL, "tester", "testersecret").ListBuckets(t.Context(), nil); code(err) != "InvalidAccessKeyId" {
		t.Errorf("with the key of the service: %v", err)
	}
	identity("ListBuckets", "InvalidAccessKeyId")
	if res, _, err := ask(t, request(t, "GET", g.URL+"/"+bucket, nil)); err != nil || res.StatusCode != 403 {
		t.Errorf("without a signature: %v %v", res, err)
	}
	identity("ListObjects", "AccessDenied")
	// A body that is not what was signed is refused by the service, and is not there.
	r := request(t, "PUT", g.URL+"/"+bucket+"/forged", strings.NewReader("forged"))
	digest := strings.Repeat("0", 64)
	r.Header.Set("X-Amz-Content-Sha256", digest)
	if err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(t.Context(), aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: secret}, r, digest, "s3", "us-east-1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if res, body, err := ask(t, r); err != nil || res.StatusCode != 400 || !bytes.Contains(body, []byte("XAmzContentSHA256Mismatch")) {
		t.Errorf("another body: %v %s %v", res, body, err)
	}
	identity("PutObject", "XAmzContentSHA256Mismatch")
	forged := "forged"
	if _, err := c.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: &bucket, Key: &forged}); code(err) != "NotFound" {
		t.Errorf("what was forged: %v", err)
	}
}
