package blob

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

// S3Options say how a store is reached that speaks S3's protocol.
type S3Options struct {
	Config    aws.Config // Region, credentials, HTTP client and retries
	Endpoint  string     // of another store than Amazon S3
	PathStyle bool       // the bucket is in the path, as other stores want it
}

// S3 is a [Storage] of somebody else: Amazon S3, or a store that speaks its protocol.
type S3 struct{ client *awss3.Client }

var _ Storage = (*S3)(nil)

// NewS3 makes a client. It asks nobody yet.
func NewS3(o S3Options) *S3 {
	return &S3{awss3.NewFromConfig(o.Config, func(c *awss3.Options) {
		c.UsePathStyle = o.PathStyle
		if o.Endpoint != "" {
			c.BaseEndpoint = &o.Endpoint
			// Other stores may not know checksums that nobody asked for.
			c.RequestChecksumCalculation, c.ResponseChecksumValidation = aws.RequestChecksumCalculationWhenRequired, aws.ResponseChecksumValidationWhenRequired
		}
	})}
}

// failed makes an error of the store one of a storage.
func failed(err error, doing, bucket, key string) error {
	if err == nil {
		return nil
	}
	code := ""
	if e, ok := errors.AsType[smithy.APIError](err); ok {
		code = e.ErrorCode()
	}
	if e, ok := errors.AsType[*awshttp.ResponseError](err); ok && (code == "" || code == "NotFound" || code == "Forbidden" || code == "BadRequest" || code == "UnknownError") {
		switch e.HTTPStatusCode() { // answers to HEAD have no body that tells the code
		case 404:
			if code = "NoSuchKey"; key == "" {
				code = "NoSuchBucket"
			}
		case 403:
			code = "AccessDenied"
		}
	}
	at := "s3://" + bucket
	if key != "" {
		at += "/" + key
	}
	return &storageError{kind: kindOf(code), code: code, err: fmt.Errorf("%s %s: %w", doing, at, err)}
}

// Put implements [Storage]. Without a key the store encrypts with its own (AES256).
func (s *S3) Put(ctx context.Context, bucket, key string, content []byte, o PutOptions) error {
	size := int64(len(content))
	in := &awss3.PutObjectInput{
		Bucket: &bucket, Key: &key, Body: bytes.NewReader(content), ContentLength: &size, Metadata: lower(o.Metadata),
		ServerSideEncryption: types.ServerSideEncryptionAes256, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32c,
	}
	if o.ContentType != "" {
		in.ContentType = &o.ContentType
	}
	if o.ContentEncoding != "" {
		in.ContentEncoding = &o.ContentEncoding
	}
	if o.ACL != "" {
		in.ACL = types.ObjectCannedACL(o.ACL)
	}
	if o.KMSKey != "" {
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, &o.KMSKey
		if len(o.EncryptionContext) > 0 {
			b, err := json.Marshal(o.EncryptionContext)
			if err != nil {
				return err
			}
			in.SSEKMSEncryptionContext = aws.String(base64.StdEncoding.EncodeToString(b))
		}
	}
	_, err := s.client.PutObject(ctx, in)
	return failed(err, "put", bucket, key)
}

// Get implements [Storage].
func (s *S3) Get(ctx context.Context, bucket, key string) (io.ReadCloser, Object, error) {
	out, err := s.client.GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, Object{}, failed(err, "get", bucket, key)
	}
	return &wholeAnswer{out.Body, aws.ToInt64(out.ContentLength)}, Object{
		Key: key, VersionID: aws.ToString(out.VersionId), ETag: unquote(out.ETag), Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified),
		ContentType: aws.ToString(out.ContentType), ContentEncoding: aws.ToString(out.ContentEncoding), Metadata: lower(out.Metadata), KMSKey: aws.ToString(out.SSEKMSKeyId),
	}, nil
}

// wholeAnswer makes an error of a body that ends early.
type wholeAnswer struct {
	io.ReadCloser
	left int64
}

func (w *wholeAnswer) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	w.left -= int64(n)
	if errors.Is(err, io.EOF) && w.left > 0 {
		return n, io.ErrUnexpectedEOF
	}
	return n, err
}

// Head implements [Storage].
func (s *S3) Head(ctx context.Context, bucket, key string) (Object, error) {
	out, err := s.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		err = failed(err, "look at", bucket, key)
		if errors.Is(err, ErrNoKey) { // the answer is the same where there is no bucket
			if berr := s.HeadBucket(ctx, bucket); errors.Is(berr, ErrNoBucket) {
				err = berr
			}
		}
		return Object{}, err
	}
	return Object{
		Key: key, VersionID: aws.ToString(out.VersionId), ETag: unquote(out.ETag), Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified),
		ContentType: aws.ToString(out.ContentType), ContentEncoding: aws.ToString(out.ContentEncoding), Metadata: lower(out.Metadata), KMSKey: aws.ToString(out.SSEKMSKeyId),
	}, nil
}

// HeadBucket asks whether a bucket is there and may be used.
func (s *S3) HeadBucket(ctx context.Context, bucket string) error {
	_, err := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &bucket})
	return failed(err, "look at", bucket, "")
}

// List implements [Storage].
func (s *S3) List(ctx context.Context, bucket, prefix, after string, most int) ([]Object, bool, error) {
	if most < 1 || most > maxList {
		most = maxList
	}
	in := &awss3.ListObjectsV2Input{Bucket: &bucket, MaxKeys: aws.Int32(int32(most))}
	if prefix != "" {
		in.Prefix = &prefix
	}
	if after != "" {
		in.StartAfter = &after
	}
	out, err := s.client.ListObjectsV2(ctx, in)
	if err != nil {
		return nil, false, failed(err, "list", bucket, "")
	}
	list := make([]Object, 0, len(out.Contents))
	last := after
	for _, o := range out.Contents {
		key := aws.ToString(o.Key)
		if key <= last && last != "" || !strings.HasPrefix(key, prefix) {
			return nil, false, fmt.Errorf("list s3://%s: the store tells %q after %q, which is out of order", bucket, key, last)
		}
		last = key
		list = append(list, Object{Key: key, ETag: unquote(o.ETag), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)})
	}
	more := aws.ToBool(out.IsTruncated)
	if more && len(list) == 0 {
		return nil, false, fmt.Errorf("list s3://%s: the store says that there is more, and tells nothing", bucket)
	}
	return list, more, nil
}
