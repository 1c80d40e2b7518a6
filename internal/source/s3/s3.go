// Package s3 lists and reads logs in buckets of Amazon S3 and of stores that speak its protocol.
//
// Buckets of an AWSLogs layout are listed folder by folder, several at once, so that only the accounts, Regions and days
// of the selection are asked for; others are listed from end to end. A listing that fails, repeats itself or is out of
// order is an error and never a short answer; an object that ends early is read on from where it broke, and is an error
// when that does not help.
package s3

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go/logging"

	"spoor/internal/source"
	"spoor/internal/source/archive"
)

// Options say how to reach a bucket. The zero value is the default credential chain: environment, profile, web identity,
// container, instance role.
type Options struct {
	Profile       string // of the shared configuration
	Region        string // of the bucket; found out when it is another
	EndpointURL   string // of another store than Amazon S3; the bucket goes into the path
	RoleARN       string // to assume with the credentials found
	ExternalID    string // for assuming RoleARN
	RequesterPays bool
	// AccessKeyID, SecretKey and SessionToken are credentials to use in place of the default chain, when the first is set.
	AccessKeyID, SecretKey, SessionToken string
	Anonymous                            bool // no credentials, for public buckets
	// Unordered accepts listings that are out of order, from a store that has them so by design. Directory buckets do.
	Unordered bool
	// Parallel is how many objects are read at once, 0 for DefaultParallel.
	Parallel int
	// Token asks for the code of an MFA device, when the profile names one.
	Token  func() (string, error)
	Limits archive.Limits

	tweak func(*awss3.Options) // for tests
	stall time.Duration        // for tests
}

// DefaultParallel is how many objects are read at once: small ones wait for the network most of the time.
const DefaultParallel = 16

// attempts is how often a request is tried; resumes how often the rest of an object is asked for again.
const (
	attempts = 6
	resumes  = 3
)

// stall is how long an object may send nothing before the connection is given up.
const stall = time.Minute

// Source is a bucket, or what lies in it below a prefix.
type Source struct {
	bucket, prefix string
	opts           Options
	opener         *archive.Opener

	mu     sync.Mutex // guards what follows
	config aws.Config
	client *awss3.Client
	ready  bool // credentials and Region were looked at
}

// ParseURL reads s3://BUCKET/PREFIX. The bucket may be the ARN of an access point.
func ParseURL(url string) (bucket, prefix string, err error) {
	rest, ok := strings.CutPrefix(url, "s3://")
	if !ok {
		return "", "", fmt.Errorf("%s is not an s3:// address", url)
	}
	cut := 0
	if strings.HasPrefix(rest, "arn:") {
		if i := strings.Index(rest, "accesspoint/"); i >= 0 {
			cut = i + len("accesspoint/")
		}
	}
	bucket = rest
	if i := strings.IndexByte(rest[cut:], '/'); i >= 0 {
		bucket, prefix = rest[:cut+i], rest[cut+i+1:]
	}
	if bucket == "" {
		return "", "", fmt.Errorf("%s names no bucket", url)
	}
	return bucket, prefix, nil
}

// Config is the configuration of clients of AWS that opts ask for: Region, credentials, retries. It reads configuration files,
// and asks nobody yet.
func Config(ctx context.Context, opts Options) (aws.Config, error) {
	client := awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
		t.MaxIdleConns, t.MaxIdleConnsPerHost = 128, 64
		t.ResponseHeaderTimeout = stall
	})
	load := []func(*config.LoadOptions) error{config.WithHTTPClient(client), config.WithRetryMaxAttempts(attempts), config.WithLogger(logging.Nop{})}
	if opts.Profile != "" {
		load = append(load, config.WithSharedConfigProfile(opts.Profile))
	}
	if opts.Region != "" {
		load = append(load, config.WithRegion(opts.Region))
	}
	if opts.Anonymous {
		load = append(load, config.WithCredentialsProvider(aws.AnonymousCredentials{}))
	}
	if opts.AccessKeyID != "" {
		load = append(load, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(opts.AccessKeyID, opts.SecretKey, opts.SessionToken)))
	}
	if opts.Token != nil {
		load = append(load, config.WithAssumeRoleCredentialOptions(func(o *stscreds.AssumeRoleOptions) { o.TokenProvider = opts.Token }))
	}
	cfg, err := config.LoadDefaultConfig(ctx, load...)
	if err != nil {
		return aws.Config{}, fmt.Errorf("read AWS configuration: %w", err)
	}
	if cfg.Region == "" {
		cfg.Region = "us-east-1"
	}
	if opts.RoleARN != "" {
		role := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(cfg), opts.RoleARN, func(o *stscreds.AssumeRoleOptions) {
			o.RoleSessionName = "spoor"
			if opts.ExternalID != "" {
				o.ExternalID = &opts.ExternalID
			}
		})
		cfg.Credentials = aws.NewCredentialsCache(role)
	}
	return cfg, nil
}

// New returns the source of a bucket. It reads configuration files, and asks nobody yet.
//
// A prefix that ends with a slash is a folder. Any other one is the object of that name and the folder of that name, or when
// there is neither, everything whose key begins with it.
func New(ctx context.Context, bucket, prefix string, opts Options) (*Source, error) {
	cfg, err := Config(ctx, opts)
	if err != nil {
		return nil, err
	}
	s := &Source{bucket: bucket, prefix: prefix, opts: opts, opener: archive.New(opts.Limits), config: cfg}
	s.client = s.newClient()
	return s, nil
}

func (s *Source) newClient() *awss3.Client {
	return awss3.NewFromConfig(s.config, func(o *awss3.Options) {
		if s.opts.EndpointURL != "" {
			o.BaseEndpoint = &s.opts.EndpointURL
		}
		o.UsePathStyle = o.BaseEndpoint != nil // also one of the environment or the profile
		o.DisableLogOutputChecksumValidationSkipped = true
		if s.opts.tweak != nil {
			s.opts.tweak(o)
		}
	})
}

// Parallel is how many objects are worth reading at once.
func (s *Source) Parallel() int {
	if s.opts.Parallel > 0 {
		return s.opts.Parallel
	}
	return DefaultParallel
}

// name is how an object or folder of the bucket is shown.
func (s *Source) name(key string) string { return "s3://" + s.bucket + "/" + key }

func (s *Source) payer() types.RequestPayer {
	if s.opts.RequesterPays {
		return types.RequestPayerRequester
	}
	return ""
}

// ErrCredentials is what errors are for which there are no credentials, or none that can be had at the moment.
var ErrCredentials = errors.New("no usable AWS credentials")

// credentialsError is an ErrCredentials that says more.
type credentialsError string

func (e credentialsError) Error() string { return string(e) }

// Is tells what it is.
func (e credentialsError) Is(target error) bool { return target == ErrCredentials }

// connect returns a client with credentials for the bucket's Region.
func (s *Source) connect(ctx context.Context) (*awss3.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ready {
		return s.client, nil
	}
	if !s.opts.Anonymous {
		if s.config.Credentials == nil {
			return nil, credentialsError("no AWS credentials: name a profile, set them in the environment, or ask anonymously for a public bucket")
		}
		if _, err := s.config.Credentials.Retrieve(ctx); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			what := "no usable AWS credentials (environment, profile, web identity, container, instance role)"
			if s.opts.RoleARN != "" {
				what = "assume role " + s.opts.RoleARN
			}
			return nil, fmt.Errorf("%w: %w", credentialsError(what), err)
		}
	}
	if s.client.Options().BaseEndpoint == nil && !strings.HasPrefix(s.bucket, "arn:") {
		if region := s.region(ctx); region != "" && region != s.config.Region {
			s.config.Region = region
			s.client = s.newClient()
		}
	}
	s.ready = ctx.Err() == nil
	return s.client, ctx.Err()
}

// region asks for the Region of the bucket. The answer names it also when it is an error.
func (s *Source) region(ctx context.Context) string {
	out, err := s.client.HeadBucket(ctx, &awss3.HeadBucketInput{Bucket: &s.bucket})
	if err == nil {
		return aws.ToString(out.BucketRegion)
	}
	var res *awshttp.ResponseError
	if errors.As(err, &res) && res.Response != nil {
		return res.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return "" // listing will say what is wrong
}

// Open reads an object, or the members of an archive.
func (s *Source) Open(ctx context.Context, obj source.Object, read func(obj source.Object, r io.Reader) error) error {
	if obj.Err != nil {
		return obj.Err
	}
	key, ok := strings.CutPrefix(obj.Name, "s3://"+s.bucket+"/")
	if !ok {
		return fmt.Errorf("open %s: not an object of s3://%s", obj.Name, s.bucket)
	}
	client, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("open %s: %w", obj.Name, err)
	}
	b := &body{ctx: ctx, client: client, name: obj.Name, in: awss3.GetObjectInput{Bucket: &s.bucket, Key: &key, RequestPayer: s.payer()}, size: obj.Size, stall: cmp.Or(s.opts.stall, stall)}
	if err := b.open(); err != nil {
		return fmt.Errorf("open %s: %w", obj.Name, explain(err))
	}
	defer b.close()
	return s.opener.Read(ctx, obj, b, read)
}

// body is the contents of an object. It asks for the rest again when the connection breaks, for the same version only.
type body struct {
	ctx    context.Context
	client *awss3.Client
	name   string
	in     awss3.GetObjectInput
	size   int64 // as the store says, -1 when it does not
	stall  time.Duration
	at     int64
	tries  int

	rc     io.ReadCloser
	cancel context.CancelFunc // ends the request of rc
	broken error
}

// open asks for what comes from at.
func (b *body) open() error {
	ctx, cancel := context.WithCancel(b.ctx)
	out, err := b.client.GetObject(ctx, &b.in)
	if err != nil {
		cancel()
		return err
	}
	b.rc, b.cancel = out.Body, cancel
	if b.at > 0 {
		// A store that ignores the range would give the beginning again.
		if from := fmt.Sprintf("bytes %d-", b.at); !strings.HasPrefix(aws.ToString(out.ContentRange), from) {
			b.close()
			return fmt.Errorf("asked for bytes from %d, got %q", b.at, aws.ToString(out.ContentRange))
		}
		return nil
	}
	if out.ContentLength != nil {
		b.size = *out.ContentLength
	}
	b.in.IfMatch = out.ETag
	return nil
}

func (b *body) close() {
	if b.rc != nil {
		b.cancel()
		b.rc.Close()
		b.rc = nil
	}
}

func (b *body) Read(p []byte) (int, error) {
	for {
		if b.broken != nil {
			return 0, b.broken
		}
		idle := time.AfterFunc(b.stall, b.cancel)
		n, err := b.rc.Read(p)
		idle.Stop()
		b.at += int64(n)
		if err == io.EOF && (b.size < 0 || b.at == b.size) {
			b.broken = io.EOF
			return n, io.EOF
		}
		if err != nil {
			b.resume(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}

// resume goes on after an error, or keeps it in broken.
func (b *body) resume(err error) {
	b.close()
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.broken = fmt.Errorf("read %s: %d of %d bytes: %w", b.name, b.at, b.size, err)
	if b.ctx.Err() != nil || b.tries >= resumes || b.in.IfMatch == nil || b.size >= 0 && b.at >= b.size {
		return
	}
	b.tries++
	b.in.Range = aws.String(fmt.Sprintf("bytes=%d-", b.at))
	if again := b.open(); again != nil {
		b.broken = errors.Join(b.broken, explain(again))
		return
	}
	b.broken = nil
}
