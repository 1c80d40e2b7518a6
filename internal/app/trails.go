package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"spoor/internal/blob"
	"spoor/internal/config"
	"spoor/internal/keyring"
	"spoor/internal/keyring/awskms"
	"spoor/internal/policy"
	"spoor/internal/seal"
	"spoor/internal/source/s3"
	"spoor/internal/topic"
	"spoor/internal/trail"
	"spoor/internal/trail/delivery"
	"spoor/internal/trail/signing"
)

// trailParts are what stands behind trails, where AWS's clients are answered.
type trailParts struct {
	keys     *keyring.Ring
	buckets  *blob.Local
	outside  *blob.S3 // of somebody else, to which trails deliver
	topics   *topic.Service
	book     *trail.Book
	signing  *signing.Keys
	delivery *delivery.Delivery
}

// openKeys opens the key ring.
func (a *App) openKeys(ctx context.Context) error {
	if a.aws == nil {
		return nil
	}
	set := a.set.Load()
	o := keyring.Options{Account: set.iam.Account, Region: set.region, Now: a.opts.Now, Log: a.log.With("part", "keys")}
	if set.keys.master != "" {
		master, err := seal.ParseMaster(set.keys.master)
		if err != nil {
			return a.blame(set.keys.from, err)
		}
		o.Master = master
	}
	if set.keys.external {
		cfg, err := s3.Config(ctx, s3.Options{Region: set.region})
		if err != nil {
			return a.blame("keys.external", err)
		}
		o.External = awskms.New(cfg)
	}
	ring, err := keyring.Open(ctx, set.keys.dir, o)
	if errors.Is(err, keyring.ErrMaster) {
		return a.blame(set.keys.from, fmt.Errorf("%w; the one that it was made with, or that replaced it, has to be given", err))
	}
	if err != nil {
		return a.blame("keys.dir", err)
	}
	a.trails.keys = ring
	a.started("keys", func(context.Context) error { return ring.Close() })
	return nil
}

// openBuckets opens the local buckets, and the way to those of somebody else.
func (a *App) openBuckets(ctx context.Context) error {
	if a.aws == nil {
		return nil
	}
	set := a.set.Load()
	local, err := blob.OpenLocal(ctx, set.buckets.dir, blob.LocalOptions{
		Account: set.iam.Account, Region: set.region, Keys: a.trails.keys, LifecycleInterval: set.buckets.every, Now: a.opts.Now, Log: a.log.With("part", "buckets"),
	})
	if err != nil {
		return a.blame("buckets.dir", err)
	}
	a.trails.buckets = local
	a.started("buckets", func(context.Context) error { return local.Close() })
	if set.buckets.every > 0 {
		a.background("lifecycle of buckets", local.RunLifecycle)
	}
	if set.buckets.external == "" {
		return nil
	}
	cfg, err := s3.Config(ctx, set.buckets.s3)
	if err != nil {
		return a.blame("buckets.external", err)
	}
	endpoint := set.buckets.external
	if endpoint == config.AmazonS3 {
		endpoint = ""
	}
	a.trails.outside = blob.NewS3(blob.S3Options{Config: cfg, Endpoint: endpoint, PathStyle: set.buckets.pathStyle || endpoint != "" && !named(endpoint)})
	return nil
}

// named reports whether the host of an endpoint is a name, below which buckets can have names.
func named(endpoint string) bool {
	u, err := url.Parse(endpoint)
	if err != nil || u.Hostname() == "localhost" {
		return false
	}
	_, err = netip.ParseAddr(u.Hostname())
	return err != nil
}

// reach asks whether a bucket of somebody else is there.
type reach struct{ *blob.S3 }

// Reach implements [cloudtrail.External].
func (r reach) Reach(ctx context.Context, bucket string) error {
	_, _, err := r.List(ctx, bucket, "", "", 1)
	return err
}

// openTopics opens the topics, and begins to deliver what is published to them.
func (a *App) openTopics(ctx context.Context) error {
	if a.aws == nil {
		return nil
	}
	set := a.set.Load()
	o := topic.Options{Account: set.iam.Account, Region: set.region, PublicURL: set.topics.url, Sealer: a.trails.keys, SMTP: set.topics.smtp, Allow: set.topics.allow, Deny: set.topics.deny, Now: a.opts.Now, Log: a.log.With("part", "topics")}
	if o.PublicURL == "" {
		o.PublicURL = a.AWSURL()
	}
	o.SQS = func(ctx context.Context, region string) (topic.SQS, error) {
		cfg, err := s3.Config(ctx, s3.Options{Region: region})
		if err != nil {
			return nil, err
		}
		return sqs.NewFromConfig(cfg), nil
	}
	if set.topics.external {
		own := append([]string{set.iam.Account}, set.iam.Accounts...)
		o.External = func(arn string) bool {
			parts := strings.Split(arn, ":")
			return len(parts) == 6 && !slices.Contains(own, parts[4])
		}
		o.SNS = func(ctx context.Context, region string) (topic.SNS, error) {
			cfg, err := s3.Config(ctx, s3.Options{Region: region})
			if err != nil {
				return nil, err
			}
			return sns.NewFromConfig(cfg), nil
		}
	}
	t, err := topic.Open(ctx, set.topics.dir, o)
	if err != nil {
		return a.blame("topics.dir", err)
	}
	a.trails.topics = t
	a.started("topics", func(context.Context) error { return t.Close() })
	a.background("deliveries of topics", t.Run)
	return nil
}

// openTrails opens the trails, and begins to deliver for them.
func (a *App) openTrails(ctx context.Context) error {
	set := a.set.Load()
	if a.aws == nil {
		return nil
	}
	org := trail.Organization{ID: set.org.ID, Management: set.org.Management}
	for _, m := range set.org.Accounts {
		org.Accounts = append(org.Accounts, m.ID)
	}
	book, err := trail.Open(ctx, filepath.Join(set.trails.dir, "book"), trail.Options{
		Account: set.iam.Account, Region: set.region, Organization: org, Now: a.opts.Now, Log: a.log.With("part", "trails"),
		Position: func(ctx context.Context) (uint64, error) {
			s, err := a.journal.Stats(ctx)
			return s.Last, err
		},
	})
	if err != nil {
		return a.blame("trails.dir", err)
	}
	a.trails.book = book
	a.started("trails", func(context.Context) error { return book.Close() })
	if a.trails.signing, err = signing.Open(filepath.Join(set.trails.dir, "digest-keys"), a.trails.keys, a.opts.Now); err != nil {
		return a.blame("trails.dir", err)
	}
	o := delivery.Options{
		Dir: filepath.Join(set.trails.dir, "delivery"), Feed: delivery.JournalFeed(a.journal), Book: book, Storage: a.trails.buckets, Signer: a.trails.signing, Topics: a.trails.topics,
		Account: set.iam.Account, Region: set.region, Regions: slices.DeleteFunc(slices.Clone(set.aws.regions), func(r string) bool { return r == "*" }),
		Sources: func(source string) bool {
			return slices.Contains(set.trails.sources, "*") || slices.Contains(set.trails.sources, source)
		},
		MaxHeld:  set.journal.MaxBytes / 4, // or a small journal would be full before the interval is over
		Interval: set.trails.interval, DigestInterval: set.trails.digest, MaxFile: set.trails.maxFile, MaxSpool: set.trails.spool,
		Log: a.log.With("part", "deliveries"), Now: a.opts.Now,
	}
	if a.trails.outside != nil {
		o.Storage = a.trails.outside
	} else {
		o.Authorize = a.mayDeliver
	}
	d, err := delivery.New(ctx, o)
	if err != nil {
		return a.blame("trails.dir", err)
	}
	a.trails.delivery = d
	a.started("deliveries' state", func(context.Context) error { return d.Close() })
	a.background("deliveries of trails", d.Run)
	return nil
}

// mayDeliver asks the policy of a bucket whether the service may put a file there for a trail.
func (a *App) mayDeliver(ctx context.Context, trailARN, bucket, key, kmsKey string) error {
	b, err := a.trails.buckets.Bucket(ctx, bucket)
	if err != nil {
		return err
	}
	account := ""
	if parts := strings.SplitN(trailARN, ":", 6); len(parts) == 6 {
		account = parts[4]
	}
	conditions := map[string][]string{
		"aws:SourceArn": {trailARN}, "aws:SourceAccount": {account}, "aws:SecureTransport": {"true"}, "aws:PrincipalIsAWSService": {"true"},
		"s3:x-amz-acl": {"bucket-owner-full-control"}, "s3:x-amz-server-side-encryption": {"AES256"},
	}
	if kmsKey != "" {
		conditions["s3:x-amz-server-side-encryption"], conditions["s3:x-amz-server-side-encryption-aws-kms-key-id"] = []string{"aws:kms"}, []string{kmsKey}
	}
	var effect policy.Effect
	if b.Policy != nil {
		effect, _ = b.Policy.Evaluate(policy.Request{Principal: policy.Principal{Service: "cloudtrail.amazonaws.com"}, Action: "s3:PutObject", Resource: "arn:aws:s3:::" + bucket + "/" + key, Conditions: conditions})
	}
	if effect != policy.Allow {
		return fmt.Errorf("the policy of the bucket %s does not let trails write %s: %w", bucket, key, blob.ErrDenied)
	}
	return nil
}
