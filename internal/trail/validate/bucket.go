package validate

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"spoor/internal/blob"
)

// Buckets reads buckets over S3, each in the Region where it is.
type Buckets struct {
	config   aws.Config
	endpoint string
	paths    bool // buckets are in the path, as stores other than AWS have them

	mu      sync.Mutex
	stores  map[string]*blob.S3 // by Region
	regions map[string]string   // of buckets that are elsewhere
}

// NewBuckets reads with a configuration. endpoint is the URL of a store that speaks S3's protocol, empty for AWS and for what the
// environment names. It asks nobody yet.
func NewBuckets(config aws.Config, endpoint string, requesterPays bool) *Buckets {
	if requesterPays {
		config = config.Copy()
		config.APIOptions = append(slices.Clone(config.APIOptions), smithyhttp.AddHeaderValue("X-Amz-Request-Payer", "requester"))
	}
	paths := endpoint != ""
	awss3.NewFromConfig(config, func(o *awss3.Options) { paths = paths || o.BaseEndpoint != nil }) // one of the environment or the profile
	return &Buckets{config: config, endpoint: endpoint, paths: paths, stores: map[string]*blob.S3{}, regions: map[string]string{}}
}

func (b *Buckets) store(bucket string) *blob.S3 {
	b.mu.Lock()
	defer b.mu.Unlock()
	region := b.regions[bucket]
	if region == "" {
		region = b.config.Region
	}
	s := b.stores[region]
	if s == nil {
		c := b.config.Copy()
		c.Region = region
		s = blob.NewS3(blob.S3Options{Config: c, Endpoint: b.endpoint, PathStyle: b.paths})
		b.stores[region] = s
	}
	return s
}

// elsewhere says whether an error is that the bucket is in another Region, which is known from then on.
func (b *Buckets) elsewhere(bucket string, err error) bool {
	answer, ok := errors.AsType[*awshttp.ResponseError](err)
	if !ok || answer.Response == nil {
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

// List implements [Source].
func (b *Buckets) List(ctx context.Context, bucket, prefix, after string, most int) ([]blob.Object, bool, error) {
	objects, more, err := b.store(bucket).List(ctx, bucket, prefix, after, most)
	if err != nil && b.elsewhere(bucket, err) {
		return b.store(bucket).List(ctx, bucket, prefix, after, most)
	}
	return objects, more, err
}

// Get implements [Source].
func (b *Buckets) Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Object, error) {
	body, o, err := b.store(bucket).Get(ctx, bucket, key)
	if err != nil && b.elsewhere(bucket, err) {
		return b.store(bucket).Get(ctx, bucket, key)
	}
	return body, o, err
}
