package validate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"

	"spoor/internal/blob"
)

// Buckets reads buckets over S3. A bucket of another Region is asked there.
type Buckets struct {
	config   aws.Config
	endpoint string
	payer    types.RequestPayer

	mu      sync.Mutex
	clients map[string]*awss3.Client // by Region
	regions map[string]string        // of buckets that are elsewhere
}

// NewBuckets reads with a configuration. endpoint is the URL of an S3-compatible store, empty for AWS and for what the environment
// names. It asks nobody yet.
func NewBuckets(config aws.Config, endpoint string, requesterPays bool) *Buckets {
	b := &Buckets{config: config, endpoint: endpoint, clients: map[string]*awss3.Client{}, regions: map[string]string{}}
	if requesterPays {
		b.payer = types.RequestPayerRequester
	}
	return b
}

func (b *Buckets) client(bucket string) *awss3.Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	region := b.regions[bucket]
	if region == "" {
		region = b.config.Region
	}
	c := b.clients[region]
	if c == nil {
		c = awss3.NewFromConfig(b.config, func(o *awss3.Options) {
			o.Region = region
			if b.endpoint != "" {
				o.BaseEndpoint = &b.endpoint
			}
			o.UsePathStyle = o.BaseEndpoint != nil
			o.DisableLogOutputChecksumValidationSkipped = true
		})
		b.clients[region] = c
	}
	return c
}

// elsewhere says whether an error is that the bucket is in another Region, which is known from then on.
func (b *Buckets) elsewhere(bucket string, err error) bool {
	var answer *awshttp.ResponseError
	if !errors.As(err, &answer) || answer.Response == nil {
		return false
	}
	region := answer.Response.Header.Get("X-Amz-Bucket-Region")
	if code := answer.HTTPStatusCode(); region == "" || code != 301 && code != 400 && code != 307 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if region == b.config.Region && b.regions[bucket] == "" || b.regions[bucket] == region {
		return false
	}
	b.regions[bucket] = region
	return true
}

// bucketError says what an error of S3 is.
func bucketError(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode() {
	case "NoSuchBucket":
		return fmt.Errorf("%w: %w", blob.ErrNoBucket, err)
	case "NoSuchKey", "NotFound":
		return fmt.Errorf("%w: %w", blob.ErrNoKey, err)
	case "AccessDenied", "Forbidden", "AllAccessDisabled":
		return fmt.Errorf("%w: %w", blob.ErrDenied, err)
	}
	return err
}

// List implements [Source].
func (b *Buckets) List(ctx context.Context, bucket, prefix, after string, most int) ([]blob.Object, bool, error) {
	in := &awss3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix, MaxKeys: aws.Int32(int32(min(most, pageSize))), RequestPayer: b.payer}
	if after != "" {
		in.StartAfter = &after
	}
	out, err := b.client(bucket).ListObjectsV2(ctx, in)
	if err != nil && b.elsewhere(bucket, err) {
		out, err = b.client(bucket).ListObjectsV2(ctx, in)
	}
	if err != nil {
		return nil, false, bucketError(err)
	}
	objects := make([]blob.Object, 0, len(out.Contents))
	for _, o := range out.Contents {
		objects = append(objects, blob.Object{Key: aws.ToString(o.Key), Size: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified), ETag: aws.ToString(o.ETag)})
	}
	return objects, aws.ToBool(out.IsTruncated), nil
}

// Get implements [Source].
func (b *Buckets) Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Object, error) {
	in := &awss3.GetObjectInput{Bucket: &bucket, Key: &key, RequestPayer: b.payer}
	out, err := b.client(bucket).GetObject(ctx, in)
	if err != nil && b.elsewhere(bucket, err) {
		out, err = b.client(bucket).GetObject(ctx, in)
	}
	if err != nil {
		return nil, blob.Object{}, bucketError(err)
	}
	return out.Body, blob.Object{Key: key, Size: aws.ToInt64(out.ContentLength), Modified: aws.ToTime(out.LastModified), Metadata: out.Metadata, VersionID: aws.ToString(out.VersionId), ETag: aws.ToString(out.ETag)}, nil
}
