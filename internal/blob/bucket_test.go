package blob

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/s3response"

	"spoor/internal/durable"
)

const trailPolicy = `{"Version":"2012-10-17","Statement":[
{"Sid":"AWSCloudTrailAclCheck20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:GetBucketAcl","Resource":"arn:aws:s3:::BUCKET","Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/t"}}},
{"Sid":"AWSCloudTrailWrite20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::BUCKET/AWSLogs/111122223333/*","Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control"}}}]}`

// TestBucket makes buckets, changes what is known of them, takes it back, and finds it again after they were opened anew.
func TestBucket(t *testing.T) {
	t.Parallel()
	d := open(t)
	ctx := t.Context()
	_, err := d.Bucket(ctx, "none")
	is(t, err, ErrNoBucket, "NoSuchBucket")
	for _, name := range []string{"", "a", "A-bucket", "../x", "a..b", "1.2.3.4", "x/y", strings.Repeat("a", 64), ".sgwtmp"} {
		_, err := d.CreateBucket(ctx, BucketSpec{Name: name})
		is(t, err, nil, "InvalidBucketName")
		_, err = d.Bucket(ctx, name)
		is(t, err, ErrNoBucket, "NoSuchBucket")
	}
	const other = "444455556666"
	undo, err := d.CreateBucket(ctx, BucketSpec{Name: "trail", Account: other, Region: "us-west-2"})
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.Bucket(ctx, "trail")
	if err != nil || b.Account != other || b.Region != "us-west-2" || b.Created.IsZero() || b.PublicAccess == nil || !b.PublicAccess.BlockPublicPolicy {
		t.Errorf("%+v, %v", b, err)
	}
	_, err = d.CreateBucket(ctx, BucketSpec{Name: "trail"})
	is(t, err, nil, "BucketAlreadyExists")
	_, err = d.CreateBucket(ctx, BucketSpec{Name: "trail", Account: other})
	is(t, err, nil, "BucketAlreadyOwnedByYou")
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	_, err = d.Bucket(ctx, "trail")
	is(t, err, ErrNoBucket, "NoSuchBucket")

	d.bucket("trail")
	d.bucket("logs")
	policy := []byte(strings.ReplaceAll(trailPolicy, "BUCKET", "trail"))
	lifecycle := &Lifecycle{[]LifecycleRule{{ID: "a", Enabled: true, Days: 3}}}
	for _, change := range []func() (Undo, error){
		func() (Undo, error) { return d.SetPolicy(ctx, "trail", policy) },
		func() (Undo, error) {
			return d.SetEncryption(ctx, "trail", &Encryption{KMSKey: keyARN, BucketKey: true})
		},
		func() (Undo, error) { return d.SetPublicAccess(ctx, "trail", nil) },
		func() (Undo, error) { return d.SetLifecycle(ctx, "trail", lifecycle) },
		func() (Undo, error) { return d.SetLogging(ctx, "trail", &Logging{Bucket: "logs", Prefix: "x/"}) },
		func() (Undo, error) { return d.SetRequestPayment(ctx, "trail", true) },
		func() (Undo, error) { return d.SetVersioning(ctx, "trail", "Enabled") },
	} {
		if _, err := change(); err != nil {
			t.Fatal(err)
		}
	}
	check := func() {
		t.Helper()
		b, err := d.Bucket(ctx, "trail")
		if err != nil || b.Policy == nil || string(b.PolicyText) != string(policy) || b.Encryption.KMSKey != keyARN || b.PublicAccess != nil ||
			!reflect.DeepEqual(b.Lifecycle, lifecycle) || b.Logging.Bucket != "logs" || !b.RequesterPays || b.Versioning != "Enabled" {
			t.Errorf("%+v, %v", b, err)
		}
	}
	check()
	d.restart()
	check()
	d.restart()
	u, err := d.SetPolicy(ctx, "trail", nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := d.Bucket(ctx, "trail"); err != nil || b.Policy != nil {
		t.Errorf("%+v, %v", b, err)
	}
	if err := u(); err != nil {
		t.Fatal(err)
	}
	check()
	if all, err := d.Buckets(ctx, account); err != nil || len(all) != 2 || all[0].Name != "logs" {
		t.Errorf("%+v, %v", all, err)
	}
	if all, err := d.Buckets(ctx, other); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}

	// Deleted and brought back, with what is known of it.
	d.put("trail", "x", "y", PutOptions{})
	_, err = d.DeleteBucket(ctx, "trail")
	is(t, err, nil, "BucketNotEmpty")
	if h, err := d.Head(ctx, "trail", "x"); err != nil {
		t.Fatal(err)
	} else if err := d.Delete(ctx, "trail", "x", h.VersionID); err != nil {
		t.Fatal(err)
	}
	u, err = d.DeleteBucket(ctx, "trail")
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Bucket(ctx, "trail")
	is(t, err, ErrNoBucket, "NoSuchBucket")
	if err := u(); err != nil {
		t.Fatal(err)
	}
	check()
}

// TestRefusedSettings refuses what a bucket must not have.
func TestRefusedSettings(t *testing.T) {
	t.Parallel()
	d := open(t)
	ctx := t.Context()
	d.bucket("one")
	if _, err := d.CreateBucket(ctx, BucketSpec{Name: "far", Region: "us-west-2"}); err != nil {
		t.Fatal(err)
	}
	st := func(principal, condition string) string {
		if condition != "" {
			condition = `,"Condition":` + condition
		}
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":` + principal + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::one/*"` + condition + `}]}`
	}
	for _, c := range []struct{ policy, code string }{
		{`{`, "MalformedPolicy"},
		{strings.ReplaceAll(trailPolicy, "BUCKET", "two"), "MalformedPolicy"},
		{strings.ReplaceAll(trailPolicy, "BUCKET", "one*"), "MalformedPolicy"},
		{st(`"*"`, ""), "AccessDenied"},
		{st(`{"AWS":"*"}`, ""), "AccessDenied"},
		{st(`{"AWS":["arn:aws:iam::111122223333:root","*"]}`, ""), "AccessDenied"},
		{st(`"*"`, `{"StringEquals":{"aws:UserAgent":"x"}}`), "AccessDenied"},
		{st(`"*"`, `{"StringNotEquals":{"aws:SourceAccount":"111122223333"}}`), "AccessDenied"},
		{st(`"*"`, `{"StringEqualsIfExists":{"aws:SourceAccount":"111122223333"}}`), "AccessDenied"},
		{st(`"*"`, `{"IpAddress":{"aws:SourceIp":["10.0.0.0/8","0.0.0.0/0"]}}`), "AccessDenied"},
		{st(`"*"`, `{"ArnLike":{"aws:SourceArn":"arn:aws:cloudtrail:*:*:trail/*"}}`), "AccessDenied"},
		{st(`"*"`, `{"StringLike":{"aws:SourceAccount":"*"}}`), "AccessDenied"},
		{st(`"*"`, `{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), ""},
		{st(`"*"`, `{"StringEquals":{"aws:PrincipalOrgID":"o-1234567890"}}`), ""},
		{st(`"*"`, `{"ArnLike":{"aws:SourceArn":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/t"}}`), ""},
		{st(`{"AWS":"arn:aws:iam::444455556666:root"}`, ""), ""},
		{strings.ReplaceAll(st(`"*"`, `{"Bool":{"aws:SecureTransport":"false"}}`), "Allow", "Deny"), ""},
	} {
		_, err := d.SetPolicy(ctx, "one", []byte(c.policy))
		if Code(err) != c.code || (err == nil) != (c.code == "") {
			t.Errorf("%s: %v (%s), want %s", c.policy, err, Code(err), c.code)
		}
	}
	if _, err := d.SetPublicAccess(ctx, "one", &PublicAccessBlock{}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.SetPolicy(ctx, "one", []byte(st(`"*"`, ""))); err != nil {
		t.Error(err)
	}
	for _, target := range []string{"none", "far", "Not a bucket"} {
		_, err := d.SetLogging(ctx, "one", &Logging{Bucket: target})
		is(t, err, nil, "InvalidTargetBucketForLogging")
	}
	_, err := d.SetPolicy(ctx, "none", nil)
	is(t, err, ErrNoBucket, "NoSuchBucket")
	for _, key := range []string{"", "a//b", "/a", "a/../b", ".", "a/./b", ".sgwtmp/x", "a/.sgwtmp/b", strings.Repeat("k", 256), "a\x00b", "\xff", "a/" + strings.Repeat("k", 1023)} {
		if err := d.Put(ctx, "one", key, nil, PutOptions{}); Code(err) != "InvalidArgument" && Code(err) != "KeyTooLongError" {
			t.Errorf("key %q: %v", key, err)
		}
		_, err := d.Head(ctx, "one", key)
		is(t, err, ErrNoKey, "NoSuchKey")
		if err := d.Delete(ctx, "one", key, ""); err != nil {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

// TestCrashBetweenStateAndFolder opens what a crash leaves when a bucket is made or deleted, and folders that others made.
func TestCrashBetweenStateAndFolder(t *testing.T) {
	t.Parallel()
	d := open(t)
	d.bucket("stays")
	if _, err := d.CreateBucket(t.Context(), BucketSpec{Name: "half", Account: "444455556666"}); err != nil {
		t.Fatal(err)
	}
	d.bucket("gone")
	d.put("stays", "a/b", "c", PutOptions{})
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	buckets := filepath.Join(d.dir, "buckets")
	for _, step := range []func() error{
		func() error { return os.RemoveAll(filepath.Join(buckets, "gone")) },               // its state was written, its folder not yet
		func() error { return os.RemoveAll(filepath.Join(buckets, "half")) },               // its folder was made,
		func() error { return os.Mkdir(filepath.Join(buckets, "half"), 0o700) },            // but has no attributes yet
		func() error { return os.MkdirAll(filepath.Join(buckets, "found", "a"), 0o700) },   // nobody knows of it
		func() error { return os.MkdirAll(filepath.Join(d.dir, "deleted", "x.1"), 0o700) }, // a deletion
		func() error { return os.WriteFile(filepath.Join(buckets, "found", "a", "f"), []byte("file"), 0o600) },
		func() error {
			return os.WriteFile(filepath.Join(d.dir, "state", durable.PartPrefix+"1"), []byte("{"), 0o600)
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	d.reopen()
	all, err := d.Buckets(t.Context(), "")
	if err != nil || len(all) != 3 || all[0].Name != "found" || all[0].Account != account || all[1].Account != "444455556666" || all[2].Name != "stays" {
		t.Fatalf("%+v, %v", all, err)
	}
	d.bucket("gone")
	for bucket, want := range map[string]string{"stays": "c", "found": "file"} {
		list, _, err := d.List(t.Context(), bucket, "", "", 10)
		if err != nil || len(list) != 1 || d.get(bucket, list[0].Key) != want {
			t.Errorf("%+v, %v", list, err)
		}
	}
	if _, err := os.Stat(filepath.Join(d.dir, "deleted")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was deleted is there still: %v", err)
	}
	if _, err := OpenLocal(context.Background(), d.dir, d.o); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
}

// TestTorn refuses bodies that end before their length.
func TestTorn(t *testing.T) {
	t.Parallel()
	d := open(t)
	bucket := d.bucket("torn")
	for _, key := range []string{"", keyARN} {
		if _, err := d.SetEncryption(t.Context(), bucket, &Encryption{KMSKey: key}); err != nil {
			t.Fatal(err)
		}
		_, err := d.store.PutObject(t.Context(), s3response.PutObjectInput{Bucket: &bucket, Key: ptr("k"), Body: strings.NewReader("short"), ContentLength: ptr(int64(6))})
		is(t, err, nil, "IncompleteBody")
		_, err = d.Head(t.Context(), bucket, "k")
		is(t, err, ErrNoKey, "NoSuchKey")
		up, err := d.store.CreateMultipartUpload(t.Context(), s3response.CreateMultipartUploadInput{Bucket: &bucket, Key: ptr("k")})
		if err != nil {
			t.Fatal(err)
		}
		_, err = d.store.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &bucket, Key: ptr("k"), UploadId: &up.UploadId, PartNumber: ptr(int32(1)), Body: strings.NewReader("short"), ContentLength: ptr(int64(6))})
		is(t, err, nil, "IncompleteBody")
		if parts, err := d.store.ListParts(t.Context(), &s3.ListPartsInput{Bucket: &bucket, Key: ptr("k"), UploadId: &up.UploadId, MaxParts: ptr(int32(10))}); err != nil || len(parts.Parts) != 0 {
			t.Errorf("%+v, %v", parts, err)
		}
	}
}

// TestLongPath puts the socket elsewhere when the folder's path is too long for one.
func TestLongPath(t *testing.T) {
	t.Parallel()
	d := &desk{t: t, dir: filepath.Join(t.TempDir(), strings.Repeat("long", 40)), o: LocalOptions{Account: account, Region: region}}
	d.reopen()
	temp := d.gateway.temp
	if info, err := os.Stat(temp); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	if info, err := os.Stat(d.gateway.socket); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(temp); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

func FuzzState(f *testing.F) {
	s := &state{Format: stateFormat, Version: 1, Buckets: map[string]*bucketConfig{"trail": {
		Account: account, Region: region, Policy: strings.ReplaceAll(trailPolicy, "BUCKET", "trail"), Encryption: &Encryption{KMSKey: keyARN},
		Lifecycle: &Lifecycle{[]LifecycleRule{{ID: "a", Enabled: true, Days: 3}}}, Logging: &Logging{Bucket: "logs"}, Versioning: "Enabled", PublicAccess: &PublicAccessBlock{},
	}}}
	b, err := json.Marshal(s)
	if err != nil {
		f.Fatal(err)
	}
	if _, err := decodeState(b); err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"spoor-buckets","version":2}`))
	f.Add([]byte(`{"format":"spoor-buckets","version":1,"buckets":{"a":null}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		again, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := decodeState(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
	})
}
