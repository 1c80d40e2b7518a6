package blob

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

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
