package s3_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/s3"
	"spoor/internal/blob"
	"spoor/internal/iam"
	"spoor/internal/keyring"
	"spoor/internal/recorder"
)

// rig is a front over real buckets, principals and keys, with a journal in memory.
type rig struct {
	*httptest.Server
	t      testing.TB
	book   *awsapitest.Book
	access *iam.Service
	ring   *keyring.Ring
	local  *blob.Local
	log    *awsapitest.Buffer
	now    atomic.Int64 // offset of the clock
	root   awsapitest.Key
	front  *s3.Front
}

func newRig(t testing.TB, change ...func(*s3.Options)) *rig {
	t.Helper()
	g := &rig{t: t, book: &awsapitest.Book{}, log: &awsapitest.Buffer{}}
	fail := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	g.access, err = iam.Open(t.Context(), t.TempDir(), iam.Options{Account: awsapitest.Account, Accounts: []string{awsapitest.Member}})
	fail(err)
	g.ring, err = keyring.Open(t.Context(), t.TempDir(), keyring.Options{Account: awsapitest.Account, Region: awsapitest.Region, Partition: "aws"})
	fail(err)
	g.local, err = blob.OpenLocal(t.Context(), t.TempDir(), blob.LocalOptions{Account: awsapitest.Account, Region: awsapitest.Region, Keys: g.ring})
	fail(err)
	rec, err := recorder.New(recorder.Options{Journal: g.book, Account: awsapitest.Account, Region: awsapitest.Region})
	fail(err)
	access := caller.Access{IAM: g.access}
	o := s3.Options{
		Credentials: access, Access: access, Attempts: access, Recorder: rec, Buckets: g.local, Keys: g.ring, Account: awsapitest.Account, Region: awsapitest.Region,
		Regions: []string{"us-east-1"}, Log: slog.New(slog.NewTextHandler(g.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Now: func() time.Time { return time.Now().Add(time.Duration(g.now.Load())) },
	}
	for _, c := range change {
		c(&o)
	}
	f, err := s3.New(o)
	fail(err)
	g.front, g.Server = f, httptest.NewServer(f)
	t.Cleanup(func() {
		g.Close()
		for _, err := range []error{g.local.Close(), g.ring.Close(), g.access.Close()} {
			if err != nil {
				t.Error(err)
			}
		}
		if strings.Contains(g.log.String(), "level=ERROR") && !strings.Contains(g.log.String(), "could not be recorded") {
			t.Errorf("logged %s", g.log)
		}
	})
	g.root = g.key("root")
	return g
}

func (g *rig) key(name string, roles ...iam.Role) awsapitest.Key {
	g.t.Helper()
	if name != iam.RootName {
		if _, err := g.access.CreateUser(name, roles, ""); err != nil {
			g.t.Fatal(err)
		}
	}
	k, secret, err := g.access.CreateAccessKey(iam.KeySpec{User: name})
	if err != nil {
		g.t.Fatal(err)
	}
	return awsapitest.Key{ID: k.ID, Secret: secret}
}

func (g *rig) client(k awsapitest.Key, change ...func(*awss3.Options)) *awss3.Client {
	return awss3.New(awss3.Options{
		BaseEndpoint: &g.URL, UsePathStyle: true, Region: awsapitest.Region, RetryMaxAttempts: 1,
		Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token),
	}, change...)
}

func (g *rig) bucket(c *awss3.Client, name string) string {
	g.t.Helper()
	if _, err := c.CreateBucket(g.t.Context(), &awss3.CreateBucketInput{Bucket: &name, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awsapitest.Region}}); err != nil {
		g.t.Fatal(err)
	}
	return name
}

func code(err error) string {
	c, m := awsapitest.Code(err)
	if c == "no answer" {
		return m
	}
	return c
}

// want compares the code of an error.
func want(t testing.TB, what string, err error, wanted string) {
	t.Helper()
	if got := code(err); got != wanted {
		t.Errorf("%s: %q (%v), want %q", what, got, err, wanted)
	}
}

// recorded checks the last record.
func (g *rig) recorded(name, errorCode string) map[string]any {
	g.t.Helper()
	e := g.book.Last(g.t)
	got, _ := e["errorCode"].(string)
	if e["eventName"] != name || got != errorCode || e["eventSource"] != "s3.amazonaws.com" {
		text, _ := json.Marshal(e)
		g.t.Errorf("recorded %s, want %s %q", text, name, errorCode)
	}
	return e
}

func (g *rig) names() (names []string) {
	for _, r := range g.book.Records() {
		var e struct{ EventName string }
		if err := json.Unmarshal([]byte(r), &e); err != nil {
			g.t.Fatal(err)
		}
		names = append(names, e.EventName)
	}
	return names
}

func read(t testing.TB, r io.ReadCloser) string {
	t.Helper()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Error(err)
	}
	_ = r.Close()
	return string(text)
}

// TestObjects is the life of a bucket and its objects.
func TestObjects(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx, c := t.Context(), g.client(g.root)
	b := g.bucket(c, "first-bucket")
	e := g.recorded("CreateBucket", "")
	awsapitest.Equal(t, e["requestParameters"].(map[string]any)["CreateBucketConfiguration"].(map[string]any)["LocationConstraint"], `"eu-west-1"`)
	awsapitest.Equal(t, e["resources"], `[{"ARN":"arn:aws:s3:::first-bucket","accountId":"111122223333","type":"AWS::S3::Bucket"}]`)
	if e["managementEvent"] != true || e["readOnly"] != false || e["userIdentity"].(map[string]any)["type"] != "Root" {
		t.Errorf("recorded %v", e)
	}
	list, err := c.ListBuckets(ctx, nil)
	if err != nil || len(list.Buckets) != 1 || *list.Buckets[0].Name != b || *list.Buckets[0].BucketRegion != awsapitest.Region {
		t.Errorf("buckets: %+v %v", list, err)
	}
	key := "a folder/an object +ü%2F"
	body := strings.Repeat("content ", 50_000)
	put, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader(body), ContentType: aws.String("text/plain"), Metadata: map[string]string{"who": "ana"}})
	if err != nil || put.ServerSideEncryption != types.ServerSideEncryptionAes256 {
		t.Fatalf("put: %+v %v", put, err)
	}
	e = g.recorded("PutObject", "")
	extra := e["additionalEventData"].(map[string]any)
	if extra["bytesTransferredIn"] != float64(len(body)) || extra["SSEApplied"] != "Default_SSE_S3" || extra["SignatureVersion"] != "SigV4" || extra["AuthenticationMethod"] != "AuthHeader" || extra["x-amz-id-2"] == "" {
		t.Errorf("recorded %v", extra)
	}
	awsapitest.Equal(t, e["resources"], `[{"ARN":"arn:aws:s3:::first-bucket/a folder/an object +ü%2F","type":"AWS::S3::Object"},{"ARN":"arn:aws:s3:::first-bucket","accountId":"111122223333","type":"AWS::S3::Bucket"}]`)
	got, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	if read(t, got.Body) != body || got.Metadata["who"] != "ana" || *got.ContentType != "text/plain" {
		t.Errorf("got %+v", got)
	}
	if e := g.recorded("GetObject", ""); e["additionalEventData"].(map[string]any)["bytesTransferredOut"] != float64(len(body)) || e["eventCategory"] != "Data" {
		t.Errorf("recorded %v", e)
	}
	part, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key, Range: aws.String("bytes=8-14")})
	if err != nil || read(t, part.Body) != "content" {
		t.Errorf("a range: %v", err)
	}
	head, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &b, Key: &key})
	if err != nil || *head.ContentLength != int64(len(body)) {
		t.Errorf("head: %+v %v", head, err)
	}
	g.recorded("HeadObject", "")
	copied := "copied"
	if _, err := c.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &b, Key: &copied, CopySource: aws.String(b + "/a%20folder/an%20object%20%2B%C3%BC%252F")}); err != nil {
		t.Errorf("copy: %v", err)
	}
	g.recorded("CopyObject", "")
	objects, err := c.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &b, Prefix: aws.String("a ")})
	if err != nil || len(objects.Contents) != 1 || *objects.Contents[0].Key != key {
		t.Errorf("list: %+v %v", objects, err)
	}
	awsapitest.Equal(t, g.recorded("ListObjects", "")["resources"], `[{"ARNPrefix":"arn:aws:s3:::first-bucket/a ","type":"AWS::S3::Object"},{"ARN":"arn:aws:s3:::first-bucket","accountId":"111122223333","type":"AWS::S3::Bucket"}]`)
	_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: aws.String("nothing")})
	want(t, "no object", err, "NoSuchKey")
	g.recorded("GetObject", "NoSuchKey")
	_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: aws.String("nowhere"), Key: &key})
	want(t, "no bucket", err, "NoSuchBucket")
	g.recorded("GetObject", "NoSuchBucket")
	_, err = c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: &b})
	want(t, "a bucket with objects", err, "BucketNotEmpty")
	gone, err := c.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: &b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: &key}, {Key: &copied}}}})
	if err != nil || len(gone.Deleted) != 2 || len(gone.Errors) != 0 {
		t.Errorf("delete: %+v %v", gone, err)
	}
	if r := g.recorded("DeleteObjects", "")["resources"].([]any); len(r) != 3 {
		t.Errorf("recorded %v", r)
	}
	if _, err := c.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: &b}); err != nil {
		t.Error(err)
	}
	g.recorded("DeleteBucket", "")
	_, err = c.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &b})
	want(t, "a bucket that was deleted", err, "NotFound")
	if n := len(g.book.Records()); n != 14 {
		t.Errorf("%d records of 14 requests: %v", n, g.names())
	}
}

func TestMultipart(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx, c := t.Context(), g.client(g.root)
	b, key := g.bucket(c, "parts"), "big"
	up, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &b, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 6<<16)
	var parts []types.CompletedPart
	for i, p := range [][]byte{body[:5<<20], body[5<<20:]} {
		n := int32(i + 1)
		out, err := c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: &b, Key: &key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(p)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: &n, ChecksumCRC32: out.ChecksumCRC32})
	}
	if l, err := c.ListParts(ctx, &awss3.ListPartsInput{Bucket: &b, Key: &key, UploadId: up.UploadId}); err != nil || len(l.Parts) != 2 {
		t.Errorf("parts: %+v %v", l, err)
	}
	if _, err := c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: &b, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}}); err != nil {
		t.Fatal(err)
	}
	got, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key})
	if err != nil || read(t, got.Body) != string(body) {
		t.Errorf("got: %v", err)
	}
	up, err = c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &b, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &b, Key: &key, UploadId: up.UploadId}); err != nil {
		t.Error(err)
	}
	wanted := []string{"CreateBucket", "CreateMultipartUpload", "UploadPart", "UploadPart", "ListParts", "CompleteMultipartUpload", "GetObject", "CreateMultipartUpload", "AbortMultipartUpload"}
	if !slices.Equal(g.names(), wanted) {
		t.Errorf("recorded %v", g.names())
	}
}

// TestConfigurations goes through what a bucket can be set to.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx, c := t.Context(), g.client(g.root)
	b := g.bucket(c, "settings")
	block, err := c.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: &b})
	if err != nil || !*block.PublicAccessBlockConfiguration.BlockPublicPolicy || !*block.PublicAccessBlockConfiguration.RestrictPublicBuckets {
		t.Errorf("a new bucket: %+v %v", block, err)
	}
	g.recorded("GetBucketPublicAccessBlock", "")
	public := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::settings/*"}]}`
	_, err = c.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &b, Policy: &public})
	want(t, "a public policy", err, "AccessDenied")
	if _, err := c.DeletePublicAccessBlock(ctx, &awss3.DeletePublicAccessBlockInput{Bucket: &b}); err != nil {
		t.Error(err)
	}
	_, err = c.GetPublicAccessBlock(ctx, &awss3.GetPublicAccessBlockInput{Bucket: &b})
	want(t, "without a block", err, "NoSuchPublicAccessBlockConfiguration")
	if _, err := c.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &b, Policy: &public}); err != nil {
		t.Error(err)
	}
	p := g.recorded("PutBucketPolicy", "")["requestParameters"].(map[string]any)
	awsapitest.Equal(t, p["bucketPolicy"], public)
	if s, err := c.GetBucketPolicyStatus(ctx, &awss3.GetBucketPolicyStatusInput{Bucket: &b}); err != nil || !*s.PolicyStatus.IsPublic {
		t.Errorf("status: %+v %v", s, err)
	}
	if got, err := c.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: &b}); err != nil || *got.Policy != public {
		t.Errorf("policy: %+v %v", got, err)
	}
	_, err = c.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &b, Policy: aws.String(`{"Statement":[{"Effect":"Maybe"}]}`)})
	want(t, "no policy", err, "MalformedPolicy")
	_, err = c.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &b, Policy: aws.String(strings.ReplaceAll(public, "settings", "other"))})
	want(t, "a policy for another bucket", err, "MalformedPolicy")
	if _, err := c.DeleteBucketPolicy(ctx, &awss3.DeleteBucketPolicyInput{Bucket: &b}); err != nil {
		t.Error(err)
	}
	_, err = c.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: &b})
	want(t, "without a policy", err, "NoSuchBucketPolicy")
	if l, err := c.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: &b}); err != nil || string(l.LocationConstraint) != awsapitest.Region {
		t.Errorf("location: %+v %v", l, err)
	}
	if e, err := c.GetBucketEncryption(ctx, &awss3.GetBucketEncryptionInput{Bucket: &b}); err != nil || e.ServerSideEncryptionConfiguration.Rules[0].ApplyServerSideEncryptionByDefault.SSEAlgorithm != types.ServerSideEncryptionAes256 {
		t.Errorf("encryption: %+v %v", e, err)
	}
	if _, err := c.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: &b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Error(err)
	}
	awsapitest.Equal(t, g.recorded("PutBucketVersioning", "")["requestParameters"].(map[string]any)["VersioningConfiguration"], `{"Status":"Enabled","xmlns":"http://s3.amazonaws.com/doc/2006-03-01/"}`)
	if v, err := c.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: &b}); err != nil || v.Status != types.BucketVersioningStatusEnabled {
		t.Errorf("versioning: %+v %v", v, err)
	}
	if _, err := c.PutBucketRequestPayment(ctx, &awss3.PutBucketRequestPaymentInput{Bucket: &b, RequestPaymentConfiguration: &types.RequestPaymentConfiguration{Payer: types.PayerRequester}}); err != nil {
		t.Error(err)
	}
	if p, err := c.GetBucketRequestPayment(ctx, &awss3.GetBucketRequestPaymentInput{Bucket: &b}); err != nil || p.Payer != types.PayerRequester {
		t.Errorf("payer: %+v %v", p, err)
	}
	rule := types.LifecycleRule{ID: aws.String("old"), Status: types.ExpirationStatusEnabled, Filter: &types.LifecycleRuleFilter{Prefix: aws.String("x/")}, Expiration: &types.LifecycleExpiration{Days: aws.Int32(3)}}
	if _, err := c.PutBucketLifecycleConfiguration(ctx, &awss3.PutBucketLifecycleConfigurationInput{Bucket: &b, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{rule}}}); err != nil {
		t.Error(err)
	}
	g.recorded("PutBucketLifecycle", "")
	if l, err := c.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: &b}); err != nil || len(l.Rules) != 1 || *l.Rules[0].ID != "old" || *l.Rules[0].Expiration.Days != 3 {
		t.Errorf("lifecycle: %+v %v", l, err)
	}
	rule.Transitions = []types.Transition{{Days: aws.Int32(30), StorageClass: types.TransitionStorageClassGlacier}}
	if _, err := c.PutBucketLifecycleConfiguration(ctx, &awss3.PutBucketLifecycleConfigurationInput{Bucket: &b, LifecycleConfiguration: &types.BucketLifecycleConfiguration{Rules: []types.LifecycleRule{rule}}}); err == nil {
		t.Error("a transition was taken")
	}
	if _, err := c.DeleteBucketLifecycle(ctx, &awss3.DeleteBucketLifecycleInput{Bucket: &b}); err != nil {
		t.Error(err)
	}
	_, err = c.GetBucketLifecycleConfiguration(ctx, &awss3.GetBucketLifecycleConfigurationInput{Bucket: &b})
	want(t, "without rules", err, "NoSuchLifecycleConfiguration")
	if _, err := c.PutBucketTagging(ctx, &awss3.PutBucketTaggingInput{Bucket: &b, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}}); err != nil {
		t.Error(err)
	}
	awsapitest.Equal(t, g.recorded("PutBucketTagging", "")["requestParameters"].(map[string]any)["Tagging"].(map[string]any)["TagSet"], `{"Tag":{"Key":"a","Value":"b"}}`)
	if tags, err := c.GetBucketTagging(ctx, &awss3.GetBucketTaggingInput{Bucket: &b}); err != nil || len(tags.TagSet) != 1 {
		t.Errorf("tags: %+v %v", tags, err)
	}
	acl, err := c.GetBucketAcl(ctx, &awss3.GetBucketAclInput{Bucket: &b})
	if err != nil || *acl.Owner.ID != awsapitest.Account || len(acl.Grants) != 1 || acl.Grants[0].Permission != types.PermissionFullControl {
		t.Errorf("access list: %+v %v", acl, err)
	}
	_, err = c.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: &b, ACL: types.BucketCannedACLPublicRead})
	want(t, "a public list", err, "AccessControlListNotSupported")
	if _, err = c.PutBucketAcl(ctx, &awss3.PutBucketAclInput{Bucket: &b, ACL: types.BucketCannedACLPrivate}); err != nil {
		t.Error(err)
	}
	if o, err := c.GetBucketOwnershipControls(ctx, &awss3.GetBucketOwnershipControlsInput{Bucket: &b}); err != nil || o.OwnershipControls.Rules[0].ObjectOwnership != types.ObjectOwnershipBucketOwnerEnforced {
		t.Errorf("ownership: %+v %v", o, err)
	}
	if n, err := c.GetBucketNotificationConfiguration(ctx, &awss3.GetBucketNotificationConfigurationInput{Bucket: &b}); err != nil || len(n.QueueConfigurations) != 0 {
		t.Errorf("notifications: %+v %v", n, err)
	}
	_, err = c.GetBucketWebsite(ctx, &awss3.GetBucketWebsiteInput{Bucket: &b})
	want(t, "a website", err, "NoSuchWebsiteConfiguration")
	_, err = c.PutBucketAccelerateConfiguration(ctx, &awss3.PutBucketAccelerateConfigurationInput{Bucket: &b, AccelerateConfiguration: &types.AccelerateConfiguration{Status: types.BucketAccelerateStatusEnabled}})
	want(t, "what nobody has", err, "NotImplemented")
	g.recorded("PutAccelerateConfiguration", "NotImplemented")
	_, err = c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: &b, CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awsapitest.Region}})
	want(t, "the same bucket", err, "BucketAlreadyOwnedByYou")
	_, err = c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("Wrong_Name"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awsapitest.Region}})
	want(t, "a bad name", err, "InvalidBucketName")
	_, err = c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("elsewhere"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: "ap-south-1"}})
	want(t, "another Region", err, "InvalidLocationConstraint")
	_, err = c.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("elsewhere")})
	want(t, "no Region", err, "IllegalLocationConstraintException")
	us := g.client(g.root, func(o *awss3.Options) { o.Region = "us-east-1" })
	if _, err = us.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("in-the-east")}); err != nil {
		t.Error(err)
	}
	if l, err := us.GetBucketLocation(ctx, &awss3.GetBucketLocationInput{Bucket: aws.String("in-the-east")}); err != nil || l.LocationConstraint != "" {
		t.Errorf("location: %+v %v", l, err)
	}
	if e := g.recorded("GetBucketLocation", ""); e["awsRegion"] != "us-east-1" {
		t.Errorf("recorded %v", e)
	}
}

// TestPermissions: what policies of principals and of buckets say.
func TestPermissions(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx, root := t.Context(), g.client(g.root)
	b, key := g.bucket(root, "guarded"), "docs/a"
	if _, err := root.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader("text")}); err != nil {
		t.Fatal(err)
	}
	ana := g.client(g.key("ana"))
	get := func(c *awss3.Client) error {
		out, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key})
		if err == nil {
			_ = out.Body.Close()
		}
		return err
	}
	policy := func(statements string) {
		t.Helper()
		if _, err := root.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &b, Policy: aws.String(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)}); err != nil {
			t.Fatal(err)
		}
	}
	const anas = `"Principal":{"AWS":"arn:aws:iam::111122223333:user/ana"}`
	want(t, "without a permission", get(ana), "AccessDenied")
	if e := g.recorded("GetObject", "AccessDenied"); e["userIdentity"].(map[string]any)["userName"] != "ana" || !strings.Contains(e["errorMessage"].(string), "s3:GetObject") {
		t.Errorf("recorded %v", e)
	}
	policy(`{"Effect":"Allow",` + anas + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::guarded/docs/*"}`)
	want(t, "allowed by the bucket", get(ana), "")
	_, err := ana.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: aws.String("docs/nothing")})
	want(t, "nothing, for somebody who may not list", err, "AccessDenied")
	_, err = ana.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader("x")})
	want(t, "another action", err, "AccessDenied")
	_, err = ana.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &b, Key: aws.String("docs/b"), CopySource: aws.String("guarded/docs/a")})
	want(t, "a copy, without a permission to write", err, "AccessDenied")
	policy(`{"Effect":"Allow",` + anas + `,"Action":"s3:PutObject","Resource":"arn:aws:s3:::guarded/*"}`)
	_, err = ana.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &b, Key: aws.String("docs/b"), CopySource: aws.String("guarded/docs/a")})
	want(t, "a copy, without one to read", err, "AccessDenied")
	policy(`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::guarded/*"}`)
	want(t, "denied to root", get(root), "AccessDenied")
	policy(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::guarded","arn:aws:s3:::guarded/*"]}`)
	_, err = root.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &b})
	want(t, "all is denied", err, "AccessDenied")
	// Root can take away what keeps everybody out.
	if _, err := root.DeleteBucketPolicy(ctx, &awss3.DeleteBucketPolicyInput{Bucket: &b}); err != nil {
		t.Error(err)
	}
	policy(`{"Effect":"Allow",` + anas + `,"Action":"s3:ListBucket","Resource":"arn:aws:s3:::guarded","Condition":{"StringLike":{"s3:prefix":"docs/*"}}}`)
	_, err = ana.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &b, Prefix: aws.String("docs/")})
	want(t, "with the prefix", err, "")
	_, err = ana.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &b})
	want(t, "without it", err, "AccessDenied")
	policy(`{"Effect":"Allow",` + anas + `,"Action":"s3:PutObject","Resource":"arn:aws:s3:::guarded/*","Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}}`)
	_, err = ana.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: aws.String("in"), Body: strings.NewReader("x"), ACL: types.ObjectCannedACLBucketOwnerFullControl})
	want(t, "with the list of access", err, "")
	_, err = ana.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: aws.String("in"), Body: strings.NewReader("x")})
	want(t, "without it", err, "AccessDenied")
	policy(`{"Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:aws:s3:::guarded/*","Condition":{"Bool":{"aws:SecureTransport":"false"}}}`)
	want(t, "in the clear", get(root), "AccessDenied")
	// Of a list, those objects are deleted that the caller may delete.
	policy(`{"Effect":"Allow",` + anas + `,"Action":"s3:DeleteObject","Resource":"arn:aws:s3:::guarded/in"}`)
	out, err := ana.DeleteObjects(ctx, &awss3.DeleteObjectsInput{Bucket: &b, Delete: &types.Delete{Objects: []types.ObjectIdentifier{{Key: aws.String("in")}, {Key: &key}}}})
	if err != nil || len(out.Deleted) != 1 || *out.Deleted[0].Key != "in" || len(out.Errors) != 1 || *out.Errors[0].Key != key || *out.Errors[0].Code != "AccessDenied" {
		t.Errorf("a list: %+v %v", out, err)
	}
	policy(`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::guarded/*","Condition":{"StringEquals":{"s3:ExistingObjectTag/class":"secret"}}}`)
	want(t, "not tagged", get(root), "")
	if _, err := root.PutObjectTagging(ctx, &awss3.PutObjectTaggingInput{Bucket: &b, Key: &key, Tagging: &types.Tagging{TagSet: []types.Tag{{Key: aws.String("class"), Value: aws.String("secret")}}}}); err != nil {
		t.Fatal(err)
	}
	want(t, "tagged", get(root), "AccessDenied")
	_, err = root.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key, ExpectedBucketOwner: aws.String(awsapitest.Member)})
	want(t, "another owner", err, "AccessDenied")
}

// TestAnonymous: who has no signature may what the bucket's policy gives to everybody, where that is not blocked.
func TestAnonymous(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx, root := t.Context(), g.client(g.root)
	b, key := g.bucket(root, "open"), "page.html"
	if _, err := root.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader("hello")}); err != nil {
		t.Fatal(err)
	}
	ask := func(path string) (int, string) {
		t.Helper()
		res, err := http.Get(g.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, read(t, res.Body)
	}
	if status, text := ask("/open/page.html"); status != 403 || !strings.Contains(text, "<Code>AccessDenied</Code>") || !strings.Contains(text, "<RequestId>") || !strings.Contains(text, "<HostId>") || !strings.Contains(text, "<Resource>/open/page.html</Resource>") {
		t.Errorf("%d %s", status, text)
	}
	if e := g.recorded("GetObject", "AccessDenied"); e["userIdentity"].(map[string]any)["accountId"] != "ANONYMOUS_PRINCIPAL" {
		t.Errorf("recorded %v", e)
	}
	if _, err := root.DeletePublicAccessBlock(ctx, &awss3.DeletePublicAccessBlockInput{Bucket: &b}); err != nil {
		t.Fatal(err)
	}
	if _, err := root.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &b, Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::open/*"}]}`)}); err != nil {
		t.Fatal(err)
	}
	if status, text := ask("/open/page.html"); status != 200 || text != "hello" {
		t.Errorf("%d %s", status, text)
	}
	g.recorded("GetObject", "")
	if status, _ := ask("/open/nothing"); status != 403 {
		t.Errorf("nothing: %d", status)
	}
	if status, _ := ask("/open/page.html?response-content-type=text/html"); status != 400 {
		t.Errorf("a header of choice: %d", status)
	}
	if status, _ := ask("/open"); status != 403 {
		t.Errorf("a list: %d", status)
	}
	if _, err := root.PutPublicAccessBlock(ctx, &awss3.PutPublicAccessBlockInput{Bucket: &b, PublicAccessBlockConfiguration: &types.PublicAccessBlockConfiguration{RestrictPublicBuckets: aws.Bool(true)}}); err != nil {
		t.Fatal(err)
	}
	if status, _ := ask("/open/page.html"); status != 403 {
		t.Errorf("restricted: %d", status)
	}
}

// TestHostileKeys: what would name another file is refused, however it is written.
func TestHostileKeys(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	root := g.client(g.root)
	g.bucket(root, "one")
	g.bucket(root, "two")
	if _, err := root.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("two"), Key: aws.String("secret"), Body: strings.NewReader("secret")}); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"../two/secret", "a/../../two/secret", "./x", "a//b", "/a", "a/./b", "..", ".", ".sgwtmp/x", "a/..", "\x00", "a/\x00b", strings.Repeat("k", 1025), strings.Repeat("k", 256), "\xff"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "HEAD"} {
			res := g.signed(t, method, "/one/"+strings.NewReplacer("%2F", "/", "+", "%20").Replace(url.QueryEscape(key)), nil, "x", "", nil)
			if body := read(t, res.Body); res.StatusCode != 400 {
				t.Errorf("%s %.40q: %d %s", method, key, res.StatusCode, body)
			}
		}
	}
	for _, target := range []string{"/one?acl&policy", "/one/k?tagging&acl", "/one/k?versionId=1&versionId=2", "/one?%zz", "/one?a;acl", "/one/k?partNumber=0&uploadId=x"} {
		if res := g.signed(t, "PUT", target, nil, "", "", nil); res.StatusCode != 400 && res.StatusCode != 403 {
			t.Errorf("%s: %d", target, res.StatusCode)
		}
	}
	if res := g.signed(t, "PATCH", "/one/k", nil, "", "", nil); res.StatusCode != 405 {
		t.Errorf("PATCH: %d", res.StatusCode)
	}
	if res := g.signed(t, "PUT", "/one/k", http.Header{"X-Amz-Meta-Spoor-Kms-Key": {"x"}}, "", "", nil); res.StatusCode != 400 {
		t.Errorf("a name of the store's own: %d", res.StatusCode)
	}
}

// signed sends a request signed by root. digest is its payload value, by default that of the body.
func (g *rig) signed(t testing.TB, method, target string, h http.Header, body, digest string, change func(*http.Request)) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.URL, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	path, query, _ := strings.Cut(target, "?")
	r.URL.RawQuery = query
	if r.URL.Path, err = url.PathUnescape(path); err != nil {
		t.Fatal(err)
	}
	r.URL.RawPath = path
	for k, v := range h {
		r.Header[k] = v
	}
	if digest == "" {
		sum := sha256.Sum256([]byte(body))
		digest = hex.EncodeToString(sum[:])
	}
	r.Header.Set("X-Amz-Content-Sha256", digest)
	length := r.ContentLength
	if change != nil {
		r.ContentLength = 0 // what is not signed can be changed
	}
	if err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).SignHTTP(t.Context(), aws.Credentials{AccessKeyID: g.root.ID, SecretAccessKey: g.root.Secret}, r, digest, "s3", awsapitest.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	if r.ContentLength = length; change != nil {
		change(r)
	}
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

// chunks packs a body into signed chunks.
func chunks(r *http.Request, secret string, body string, trailer string) string {
	auth := r.Header.Get("Authorization")
	_, scope, _ := strings.Cut(auth, "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	_, scope, _ = strings.Cut(scope, "/")
	_, seed, _ := strings.Cut(auth, "Signature=")
	parts := strings.Split(scope, "/")
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	key := []byte("AWS4" + secret)
	for _, p := range parts {
		key = mac(key, p)
	}
	hash := func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
	head := func(kind string) string {
		return kind + "\n" + r.Header.Get("X-Amz-Date") + "\n" + scope + "\n" + seed + "\n"
	}
	var out strings.Builder
	for more := true; more; {
		chunk := body[:min(len(body), 64<<10)]
		body = body[len(chunk):]
		more = chunk != ""
		seed = hex.EncodeToString(mac(key, head("AWS4-HMAC-SHA256-PAYLOAD")+hash("")+"\n"+hash(chunk)))
		fmt.Fprintf(&out, "%x;chunk-signature=%s\r\n%s", len(chunk), seed, chunk)
		if more {
			out.WriteString("\r\n")
		}
	}
	if trailer != "" {
		seed = hex.EncodeToString(mac(key, head("AWS4-HMAC-SHA256-TRAILER")+hash(trailer+"\n")))
		out.WriteString(trailer + "\r\nx-amz-trailer-signature:" + seed + "\r\n")
	}
	out.WriteString("\r\n")
	return out.String()
}

// TestPayloads: every way in which a body can be signed, and each way in which it can be wrong.
func TestPayloads(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	root := g.client(g.root)
	b := g.bucket(root, "payloads")
	body := strings.Repeat("0123456789", 20_000)
	const crc = "x-amz-checksum-crc32:jeulXg==" // of the body
	stream := func(trailer string, spoil func(string) string) func(*http.Request) {
		return func(r *http.Request) {
			text := chunks(r, g.root.Secret, body, trailer)
			if spoil != nil {
				text = spoil(text)
			}
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
		}
	}
	size := fmt.Sprint(len(body))
	plain := http.Header{"X-Amz-Decoded-Content-Length": {size}, "Content-Encoding": {"aws-chunked"}}
	trailing := http.Header{"X-Amz-Decoded-Content-Length": {size}, "Content-Encoding": {"gzip,aws-chunked"}, "X-Amz-Trailer": {"x-amz-checksum-crc32"}}
	unsigned := func(r *http.Request) {
		text := fmt.Sprintf("%x\r\n%s\r\n0\r\n%s\r\n\r\n", len(body), body, crc)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
	}
	for _, tt := range []struct {
		name, digest string
		header       http.Header
		change       func(*http.Request)
		code         string
	}{
		{"hash", "", nil, nil, ""},
		{"another-hash", strings.Repeat("0", 64), nil, nil, "XAmzContentSHA256Mismatch"},
		{"unsigned", "UNSIGNED-PAYLOAD", nil, nil, ""},
		{"nonsense", "nonsense", nil, nil, "InvalidArgument"},
		{"chunks", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", plain, stream("", nil), ""},
		{"spoilt-chunks", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", plain, stream("", func(s string) string { return strings.Replace(s, "0123456789", "0123456780", 1) }), "SignatureDoesNotMatch"},
		{"spoilt-last-chunk", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", plain, stream("", func(s string) string { i := strings.LastIndex(s, "56789"); return s[:i] + "56780" + s[i+5:] }), "SignatureDoesNotMatch"},
		{"cut-chunks", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", plain, stream("", func(s string) string { return s[:strings.LastIndex(s, "0;chunk")] }), "IncompleteBody"},
		{"chunks-and-trailer", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", trailing, stream(crc, nil), ""},
		{"spoilt-trailer", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", trailing, stream(crc, func(s string) string { return strings.Replace(s, "jeulXg", "AeulXg", 1) }), "SignatureDoesNotMatch"},
		{"wrong-trailer", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", trailing, stream(strings.Replace(crc, "jeulXg", "AeulXg", 1), nil), "BadDigest"},
		{"trailer", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", trailing, unsigned, ""},
		{"no-length", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", http.Header{"X-Amz-Trailer": {"x-amz-checksum-crc32"}}, unsigned, "MissingContentLength"},
		{"wrong-signature", "UNSIGNED-PAYLOAD", nil, func(r *http.Request) {
			r.Header.Set("Authorization", r.Header.Get("Authorization")[:len(r.Header.Get("Authorization"))-4]+"0000")
		}, "SignatureDoesNotMatch"},
		{"more-headers", "UNSIGNED-PAYLOAD", nil, func(r *http.Request) { r.Header.Set("X-Amz-Acl", "private") }, "AccessDenied"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			res := g.signed(t, "PUT", "/payloads/"+tt.name, tt.header, body, tt.digest, tt.change)
			answer := read(t, res.Body)
			if tt.code != "" {
				if !strings.Contains(answer, "<Code>"+tt.code+"</Code>") {
					t.Errorf("answered %d %s", res.StatusCode, answer)
				}
				g.recorded("PutObject", tt.code)
				_, err := root.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: &b, Key: &tt.name})
				want(t, "what was refused", err, "NotFound")
				return
			}
			if res.StatusCode != 200 {
				t.Fatalf("answered %d %s", res.StatusCode, answer)
			}
			if e := g.recorded("PutObject", ""); e["additionalEventData"].(map[string]any)["bytesTransferredIn"] != float64(len(body)) {
				t.Errorf("recorded %v", e)
			}
			out, err := root.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &b, Key: &tt.name, ChecksumMode: types.ChecksumModeEnabled})
			if err != nil {
				t.Fatal(err)
			}
			if read(t, out.Body) != body {
				t.Error("another body is there")
			}
			if strings.Contains(tt.name, "trailer") && (aws.ToString(out.ChecksumCRC32) != "jeulXg==" || aws.ToString(out.ContentEncoding) != "gzip") {
				t.Errorf("of the trailer there is %q, encoding %q", aws.ToString(out.ChecksumCRC32), aws.ToString(out.ContentEncoding))
			}
		})
	}
}

// TestPresigned: a URL counts until it is over, as often as it is used, and no longer than a week.
func TestPresigned(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	root := g.client(g.root)
	b, key := g.bucket(root, "signed"), "k"
	if _, err := root.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader("text")}); err != nil {
		t.Fatal(err)
	}
	u, err := awss3.NewPresignClient(root).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: &b, Key: &key}, awss3.WithPresignExpires(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	get := func(u string) string {
		t.Helper()
		res, err := http.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		text := read(t, res.Body)
		if _, after, ok := strings.Cut(text, "<Code>"); ok {
			text, _, _ = strings.Cut(after, "<")
		}
		return text
	}
	for range 3 {
		if got := get(u.URL); got != "text" {
			t.Errorf("got %s", got)
		}
	}
	g.now.Store(int64(59 * time.Minute))
	if got := get(u.URL); got != "text" {
		t.Errorf("within its time: %s", got)
	}
	g.now.Store(int64(61 * time.Minute))
	if got := get(u.URL); got != "AccessDenied" {
		t.Errorf("after its time: %s", got)
	}
	g.recorded("GetObject", "AccessDenied")
	if got := get(strings.Replace(u.URL, "X-Amz-Expires=3600", "X-Amz-Expires=604801", 1)); got != "AuthorizationQueryParametersError" {
		t.Errorf("more than a week: %s", got)
	}
	plain, _, _ := strings.Cut(u.URL, "?")
	if got := get(plain + "?AWSAccessKeyId=" + g.root.ID + "&Signature=eA%3D%3D&Expires=4102444800"); got != "InvalidRequest" {
		t.Errorf("signed by version 2: %s", got)
	}
	_, err = root.ListBuckets(t.Context(), nil)
	want(t, "a clock that is off", err, "RequestTimeTooSkewed")
	g.now.Store(int64(14 * time.Minute))
	_, err = root.ListBuckets(t.Context(), nil)
	want(t, "a clock that is off a little", err, "")
	g.now.Store(0)
	_, err = g.client(awsapitest.Key{ID: "AKIAIOSFODNN7EXAMPLE", Secret: "x"}).ListBuckets(t.Context(), nil)
	want(t, "a key that is not there", err, "InvalidAccessKeyId")
	_, err = g.client(awsapitest.Key{ID: g.root.ID, Secret: g.root.Secret, Token: "x"}).ListBuckets(t.Context(), nil)
	want(t, "a token that is none", err, "InvalidToken")
	_, err = g.client(g.root, func(o *awss3.Options) { o.Region = "ap-south-1" }).ListBuckets(t.Context(), nil)
	want(t, "another Region", err, "AuthorizationHeaderMalformed")
}

// TestUnrecorded: what cannot be recorded fails, and is taken back.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx, root := t.Context(), g.client(g.root)
	b, old := g.bucket(root, "undone"), "old"
	g.bucket(root, "empty")
	if _, err := root.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &old, Body: strings.NewReader("text")}); err != nil {
		t.Fatal(err)
	}
	policy := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"s3:*","Resource":"arn:aws:s3:::undone"}]}`)
	fails := func(what string, call func() error) {
		t.Helper()
		// The gate is open: the call before was recorded.
		if _, err := root.ListBuckets(ctx, nil); err != nil {
			if _, err = root.ListBuckets(ctx, nil); err != nil {
				t.Fatal(err)
			}
		}
		n := len(g.book.Records())
		g.book.Fail(errors.New("the disk is full"))
		want(t, what, call(), "InternalError")
		want(t, what+", again", call(), "SlowDown")
		g.book.Fail(nil)
		if got := len(g.book.Records()); got != n {
			t.Errorf("%s: %d records more", what, got-n)
		}
	}
	fails("a bucket", func() error {
		_, err := root.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String("new-one"), CreateBucketConfiguration: &types.CreateBucketConfiguration{LocationConstraint: awsapitest.Region}})
		return err
	})
	fails("the end of a bucket", func() error {
		_, err := root.DeleteBucket(ctx, &awss3.DeleteBucketInput{Bucket: aws.String("empty")})
		return err
	})
	fails("a policy", func() error {
		_, err := root.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &b, Policy: policy})
		return err
	})
	fails("an object", func() error {
		_, err := root.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: aws.String("new"), Body: strings.NewReader("new")})
		return err
	})
	fails("a copy", func() error {
		_, err := root.CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &b, Key: aws.String("copy"), CopySource: aws.String("undone/old")})
		return err
	})
	fails("reading", func() error {
		out, err := root.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &old})
		if err == nil {
			_ = out.Body.Close()
		}
		return err
	})
	fails("an upload", func() error {
		_, err := root.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &b, Key: aws.String("parts")})
		return err
	})
	if _, err := root.ListBuckets(ctx, nil); err == nil {
		t.Error("the call that opens the gate was carried out")
	}
	if _, err := root.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: &b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	fails("another version", func() error {
		_, err := root.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &old, Body: strings.NewReader("new")})
		return err
	})
	fails("a delete marker", func() error {
		_, err := root.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &b, Key: &old})
		return err
	})
	_, _ = root.ListBuckets(ctx, nil)
	buckets, err := root.ListBuckets(ctx, nil)
	if err != nil || len(buckets.Buckets) != 2 {
		t.Errorf("buckets: %+v %v", buckets, err)
	}
	_, err = root.GetBucketPolicy(ctx, &awss3.GetBucketPolicyInput{Bucket: &b})
	want(t, "the policy", err, "NoSuchBucketPolicy")
	objects, err := root.ListObjectVersions(ctx, &awss3.ListObjectVersionsInput{Bucket: &b})
	if err != nil || len(objects.Versions) != 1 || len(objects.DeleteMarkers) != 0 || *objects.Versions[0].Key != old {
		t.Errorf("objects: %+v %v", objects, err)
	}
	if out, err := root.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &old}); err != nil || read(t, out.Body) != "text" {
		t.Errorf("the object: %v", err)
	}
	if l, err := root.ListMultipartUploads(ctx, &awss3.ListMultipartUploadsInput{Bucket: &b}); err != nil || len(l.Uploads) != 0 {
		t.Errorf("uploads: %+v %v", l, err)
	}
}

// TestKeys: objects that a key encrypts are for those who may use it.
func TestKeys(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx, root := t.Context(), g.client(g.root)
	b, key := g.bucket(root, "sealed"), "k"
	arn := g.newKey(`{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:root"},"Action":"kms:*","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/ana"},"Action":"kms:GenerateDataKey","Resource":"*"},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/eve"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::sealed/other"}}},
		{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/bob"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringEquals":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::sealed/k","kms:ViaService":"s3.eu-west-1.amazonaws.com"}}}]}`)
	if _, err := root.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &b, Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:user/ana","arn:aws:iam::111122223333:user/bob","arn:aws:iam::111122223333:user/eve","arn:aws:iam::111122223333:user/joe"]},"Action":["s3:GetObject","s3:PutObject","s3:ListBucket"],"Resource":["arn:aws:s3:::sealed","arn:aws:s3:::sealed/*"]}]}`)}); err != nil {
		t.Fatal(err)
	}
	clients := map[string]*awss3.Client{"root": root}
	for _, name := range []string{"ana", "bob", "eve", "joe"} {
		clients[name] = g.client(g.key(name))
	}
	body := strings.Repeat("sealed content ", 20_000)
	put := func(c *awss3.Client) (*awss3.PutObjectOutput, error) {
		return c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader(body), ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: &arn})
	}
	_, err := put(clients["joe"])
	want(t, "writing without the key", err, "AccessDenied")
	if e := g.recorded("PutObject", "AccessDenied"); !strings.Contains(e["errorMessage"].(string), "kms:GenerateDataKey") {
		t.Errorf("recorded %v", e)
	}
	out, err := put(clients["ana"])
	if err != nil || out.ServerSideEncryption != types.ServerSideEncryptionAwsKms || aws.ToString(out.SSEKMSKeyId) != arn {
		t.Fatalf("put: %+v %v", out, err)
	}
	if e := g.recorded("PutObject", "")["additionalEventData"].(map[string]any); e["SSEApplied"] != "SSE_KMS" {
		t.Errorf("recorded %v", e)
	}
	for name, code := range map[string]string{"root": "", "bob": "", "ana": "AccessDenied", "eve": "AccessDenied", "joe": "AccessDenied"} {
		out, err := clients[name].GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key})
		want(t, name+" reads", err, code)
		if err == nil && (read(t, out.Body) != body || *out.SSEKMSKeyId != arn) {
			t.Errorf("%s gets something else: %+v", name, out)
		}
		if _, err := clients[name].HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &b, Key: &key}); (err == nil) != (code == "") {
			t.Errorf("%s looks: %v", name, err)
		}
		if code != "" {
			_, err = clients[name].CopyObject(ctx, &awss3.CopyObjectInput{Bucket: &b, Key: aws.String("mine"), CopySource: aws.String("sealed/k")})
			want(t, name+" copies", err, code)
		}
	}
	if out, err := clients["bob"].GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key, Range: aws.String("bytes=7-13")}); err != nil || read(t, out.Body) != "content" {
		t.Errorf("a range: %v", err)
	}
	_, err = root.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader(body), ServerSideEncryption: types.ServerSideEncryptionAwsKms, SSEKMSKeyId: aws.String("11111111-2222-3333-4444-555555555555")})
	want(t, "a key that is not there", err, "KMS.NotFoundException")
	// What the bucket says of objects that say nothing.
	if _, err := root.PutBucketEncryption(ctx, &awss3.PutBucketEncryptionInput{Bucket: &b, ServerSideEncryptionConfiguration: &types.ServerSideEncryptionConfiguration{Rules: []types.ServerSideEncryptionRule{{
		ApplyServerSideEncryptionByDefault: &types.ServerSideEncryptionByDefault{SSEAlgorithm: types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &arn}}}}}); err != nil {
		t.Fatal(err)
	}
	other := "other"
	_, err = clients["joe"].PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &other, Body: strings.NewReader(body)})
	want(t, "writing without the key of the bucket", err, "AccessDenied")
	if out, err := clients["ana"].PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &other, Body: strings.NewReader(body)}); err != nil || aws.ToString(out.SSEKMSKeyId) != arn {
		t.Errorf("by the bucket's key: %+v %v", out, err)
	}
	if o, err := clients["eve"].GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &other}); err != nil || read(t, o.Body) != body {
		t.Errorf("eve's object: %v", err)
	}
	up, err := clients["ana"].CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &b, Key: &key})
	if err != nil || aws.ToString(up.SSEKMSKeyId) != arn {
		t.Fatalf("an upload: %+v %v", up, err)
	}
	n := int32(1)
	_, err = clients["joe"].UploadPart(ctx, &awss3.UploadPartInput{Bucket: &b, Key: &key, UploadId: up.UploadId, PartNumber: &n, Body: strings.NewReader(body)})
	want(t, "a part without the key", err, "AccessDenied")
	part, err := clients["ana"].UploadPart(ctx, &awss3.UploadPartInput{Bucket: &b, Key: &key, UploadId: up.UploadId, PartNumber: &n, Body: strings.NewReader(body)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := clients["ana"].CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: &b, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: &n, ChecksumCRC32: part.ChecksumCRC32}}}}); err != nil {
		t.Error(err)
	}
	_, err = clients["joe"].GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key})
	want(t, "reading what came in parts", err, "AccessDenied")
}

func (g *rig) newKey(policy string) string {
	g.t.Helper()
	k, _, err := g.ring.Create(keyring.Ref{Account: awsapitest.Account, Region: awsapitest.Region}, keyring.Spec{Policy: []byte(policy)})
	if err != nil {
		g.t.Fatal(err)
	}
	return k.ARN
}

// TestAccessLogs: access to a bucket is logged into another one, where its policy lets the service that writes logs.
func TestAccessLogs(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	ctx, root := t.Context(), g.client(g.root)
	b, to := g.bucket(root, "logged"), g.bucket(root, "its-logs")
	set := func(target string) error {
		_, err := root.PutBucketLogging(ctx, &awss3.PutBucketLoggingInput{Bucket: &b, BucketLoggingStatus: &types.BucketLoggingStatus{LoggingEnabled: &types.LoggingEnabled{
			TargetBucket: &target, TargetPrefix: aws.String("logs/"), TargetObjectKeyFormat: &types.TargetObjectKeyFormat{PartitionedPrefix: &types.PartitionedPrefix{PartitionDateSource: types.PartitionDateSourceEventTime}}}}})
		return err
	}
	want(t, "a target that is not there", set("nowhere"), "InvalidTargetBucketForLogging")
	want(t, "a target", set(to), "")
	if l, err := root.GetBucketLogging(ctx, &awss3.GetBucketLoggingInput{Bucket: &b}); err != nil || *l.LoggingEnabled.TargetBucket != to || l.LoggingEnabled.TargetObjectKeyFormat.PartitionedPrefix.PartitionDateSource != types.PartitionDateSourceEventTime {
		t.Errorf("logging: %+v %v", l, err)
	}
	access := func() string {
		t.Helper()
		_, err := root.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: aws.String("no thing")})
		want(t, "nothing", err, "NoSuchKey")
		g.front.WriteLogs(ctx)
		list, err := root.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &to})
		if err != nil {
			t.Fatal(err)
		}
		if len(list.Contents) == 0 {
			return ""
		}
		key := *list.Contents[len(list.Contents)-1].Key
		if prefix := "logs/111122223333/eu-west-1/logged/" + time.Now().UTC().Format("2006/"); !strings.HasPrefix(key, prefix) {
			t.Errorf("key %s", key)
		}
		o, err := root.GetObject(ctx, &awss3.GetObjectInput{Bucket: &to, Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		return read(t, o.Body)
	}
	if text := access(); text != "" {
		t.Errorf("without a permission: %s", text)
	}
	if _, err := root.PutBucketPolicy(ctx, &awss3.PutBucketPolicyInput{Bucket: &to, Policy: aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"logging.s3.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::its-logs/logs/*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::logged"},"StringEquals":{"aws:SourceAccount":"111122223333"}}}]}`)}); err != nil {
		t.Fatal(err)
	}
	text := access()
	form := regexp.MustCompile(`^111122223333 logged \[[^]]+\] 127\.0\.0\.1 111122223333 [0-9A-Z]{16} REST\.GET\.OBJECT no%20thing "GET /logged/no%20thing\?x-id=GetObject HTTP/1\.1" 404 NoSuchKey [0-9]+ - [0-9]+ - - "aws-sdk-go[^"]*" - [^ ]{64} SigV4 - AuthHeader 127\.0\.0\.1:[0-9]+ - - -\n$`)
	if !form.MatchString(text) {
		t.Errorf("logged %q", text)
	}
}

// TestClaims: which requests are S3's.
func TestClaims(t *testing.T) {
	t.Parallel()
	const scope = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260110/eu-west-1/%s/aws4_request, SignedHeaders=host, Signature=0"
	for _, tt := range []struct {
		method, target string
		header         map[string]string
		want           bool
	}{
		{"GET", "/b/k", nil, true},
		{"GET", "/b?list-type=2", nil, true},
		{"GET", "/", nil, false},
		{"GET", "/", map[string]string{"Authorization": fmt.Sprintf(scope, "s3")}, true},
		{"POST", "/", map[string]string{"Authorization": fmt.Sprintf(scope, "sts")}, false},
		{"PUT", "/b", map[string]string{"Authorization": fmt.Sprintf(scope, "cloudtrail-data")}, false},
		{"GET", "/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=A%2F20260110%2Feu-west-1%2Fs3%2Faws4_request", nil, true},
		{"GET", "/?Action=GetCallerIdentity&X-Amz-Credential=A%2F20260110%2Feu-west-1%2Fsts%2Faws4_request", nil, false},
		{"POST", "/", map[string]string{"X-Amz-Target": "CloudTrail_20131101.ListTrails"}, false},
		{"POST", "/service/x/operation/y", map[string]string{"Smithy-Protocol": "rpc-v2-cbor"}, false},
		{"POST", "/", map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, false},
		{"OPTIONS", "/b/k", nil, true},
	} {
		r := httptest.NewRequest(tt.method, tt.target, nil)
		for k, v := range tt.header {
			r.Header.Set(k, v)
		}
		if got := s3.Claims(r); got != tt.want {
			t.Errorf("%s %s %v: %v", tt.method, tt.target, tt.header, got)
		}
	}
}
