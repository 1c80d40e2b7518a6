package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatchlogs"
	"github.com/aws/aws-sdk-go-v2/service/iam"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	kmstypes "github.com/aws/aws-sdk-go-v2/service/kms/types"
	"github.com/aws/aws-sdk-go-v2/service/organizations"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	s3types "github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// trailPlan is the way to a trail, in steps, with what they learn.
type trailPlan struct {
	o     *trailOptions
	steps []trailStep
	pause func(context.Context, time.Duration) error

	account, partition, region string
	organization               string // id, of a trail of an organisation
	trailARN                   string
	bucket, accessBucket       string
	keyARN                     string // [madeKey] for one that a dry run would make
	insecure                   bool   // the endpoint of buckets has no TLS
	newBuckets                 map[string]bool
	changed                    bool // by this run

	trails *cloudtrail.Client
	s3     *s3.Client
	kms    *kms.Client
	logs   *cloudwatchlogs.Client
	iam    *iam.Client
}

// newTrailPlan finds out who asks and what trail is there, and makes the steps.
func newTrailPlan(ctx context.Context, cfg aws.Config, o *trailOptions) (*trailPlan, error) {
	endpoint := cfg.BaseEndpoint
	if o.aws.endpoint == "" { // then that of the environment and the profile for each service
		endpoint = nil
	}
	at := func(base **string) {
		if endpoint != nil {
			*base = endpoint
		}
	}
	p := &trailPlan{o: o, pause: pauseFor, region: cfg.Region, newBuckets: map[string]bool{},
		trails: cloudtrail.NewFromConfig(cfg, func(o *cloudtrail.Options) { at(&o.BaseEndpoint) }),
		s3: s3.NewFromConfig(cfg, func(o *s3.Options) {
			at(&o.BaseEndpoint)
			o.UsePathStyle = o.BaseEndpoint != nil
		}),
		kms:  kms.NewFromConfig(cfg, func(o *kms.Options) { at(&o.BaseEndpoint) }),
		logs: cloudwatchlogs.NewFromConfig(cfg, func(o *cloudwatchlogs.Options) { at(&o.BaseEndpoint) }),
		iam:  iam.NewFromConfig(cfg, func(o *iam.Options) { at(&o.BaseEndpoint) }),
	}
	if base := p.s3.Options().BaseEndpoint; base != nil {
		u, err := url.Parse(*base)
		if err != nil {
			return nil, usagef("the endpoint %q is no URL", *base)
		}
		p.insecure = u.Scheme == "http"
	}
	who, err := sts.NewFromConfig(cfg, func(o *sts.Options) { at(&o.BaseEndpoint) }).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
	if err != nil {
		return nil, fmt.Errorf("find out who asks: %w", err)
	}
	me, err := arn.Parse(aws.ToString(who.Arn))
	if err != nil {
		return nil, fmt.Errorf("find out who asks: %w", err)
	}
	p.account, p.partition = aws.ToString(who.Account), me.Partition
	p.trailARN = p.arn("cloudtrail", p.region, p.account, "trail/"+o.name)
	there, err := p.trail(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for the trail: %w", trailError(err))
	}
	if there == nil {
		there = &cttypes.Trail{}
	}
	if o.organization = o.organization || aws.ToBool(there.IsOrganizationTrail); o.organization {
		org, err := organizations.NewFromConfig(cfg, func(o *organizations.Options) { at(&o.BaseEndpoint) }).DescribeOrganization(ctx, &organizations.DescribeOrganizationInput{})
		if err != nil {
			return nil, fmt.Errorf("look for the organisation: %w", trailError(err))
		}
		p.organization = aws.ToString(org.Organization.Id)
	}
	if !o.given("prefix") {
		o.prefix = aws.ToString(there.S3KeyPrefix)
	}
	if p.bucket = o.bucket; p.bucket == "" {
		if p.bucket = aws.ToString(there.S3BucketName); p.bucket == "" {
			p.bucket = bucketName(o.name, p.account, p.region)
		}
	}
	if !o.bestPractice {
		p.keyARN = o.kmsKey
		p.steps = p.trailSteps()
		return p, nil
	}
	if p.accessBucket = o.accessBucket; p.accessBucket == "" {
		p.accessBucket = p.bucket[:min(len(p.bucket), 56)] + "-access"
	}
	key := o.kmsKey
	if key == "" {
		key = aws.ToString(there.KmsKeyId)
	}
	p.steps = slices.Concat(p.keySteps(key), p.bucketSteps(), p.accessSteps(), p.trailSteps(), p.logGroupSteps())
	return p, nil
}

func (p *trailPlan) arn(service, region, account, resource string) string {
	return arn.ARN{Partition: p.partition, Service: service, Region: region, AccountID: account, Resource: resource}.String()
}

// bucketName is a name that a bucket may have. Buckets have one space of names for all, so account and Region are in it.
func bucketName(trail, account, region string) string {
	tail := "-" + account + "-" + region
	name := strings.Map(func(r rune) rune {
		if r == '.' || r == '_' {
			return '-'
		}
		return r
	}, strings.ToLower(trail))
	return strings.TrimRight(name[:min(len(name), 63-len(tail))], "-") + tail
}

// trail gives the trail, nil when there is none.
func (p *trailPlan) trail(ctx context.Context) (*cttypes.Trail, error) {
	out, err := p.trails.GetTrail(ctx, &cloudtrail.GetTrailInput{Name: &p.trailARN})
	if refused(err, "TrailNotFoundException") {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return out.Trail, nil
}

// alias is the name of the trail's key.
func (p *trailPlan) alias() string { return "alias/trail/" + strings.ReplaceAll(p.o.name, ".", "_") }

// keySteps are those of the encryption key: one that is named, or else one of the trail's own.
func (p *trailPlan) keySteps(named string) []trailStep {
	description := "Encrypts the log files of " + p.trailARN
	find := func(ctx context.Context, id string) (*kmstypes.KeyMetadata, error) {
		out, err := p.kms.DescribeKey(ctx, &kms.DescribeKeyInput{KeyId: &id})
		if err != nil {
			return nil, err
		}
		return out.KeyMetadata, nil
	}
	steps := []trailStep{{"encryption key", true, func(ctx context.Context) ([]awsCall, error) {
		id := named
		if id == "" {
			id = p.alias()
		}
		key, err := find(ctx, id)
		if named == "" && refused(err, "NotFoundException") {
			// One that an earlier run made, and was stopped before it named it.
			key, err = p.namelessKey(ctx, description, find)
			if err == nil && key == nil {
				policy, err := mergePolicy("", p.keyGrants())
				p.keyARN = madeKey
				c := callOf("kms", p.kms.CreateKey, &kms.CreateKeyInput{Description: &description, Policy: &policy},
					func(out *kms.CreateKeyOutput) { p.keyARN = aws.ToString(out.KeyMetadata.Arn) })
				c.saves = "KeyMetadata.Arn"
				return []awsCall{c}, err
			}
		}
		if err != nil {
			return nil, err
		}
		p.keyARN = aws.ToString(key.Arn)
		if !key.Enabled {
			return nil, fmt.Errorf("the key %s is %s", p.keyARN, strings.ToLower(string(key.KeyState)))
		}
		return nil, nil
	}}}
	if named == "" {
		steps = append(steps, trailStep{"encryption key: alias", true, func(ctx context.Context) ([]awsCall, error) {
			_, err := find(ctx, p.alias())
			if !refused(err, "NotFoundException") {
				return nil, err
			}
			return []awsCall{callOf("kms", p.kms.CreateAlias, &kms.CreateAliasInput{AliasName: aws.String(p.alias()), TargetKeyId: &p.keyARN}, nil)}, nil
		}})
	}
	if p.o.kmsKey != "" { // its owner knows
		return steps
	}
	return append(steps,
		trailStep{"encryption key: policy", true, func(ctx context.Context) ([]awsCall, error) {
			if p.keyARN == madeKey { // with its policy
				return nil, nil
			}
			policyName := "default"
			there, err := p.kms.GetKeyPolicy(ctx, &kms.GetKeyPolicyInput{KeyId: &p.keyARN, PolicyName: &policyName})
			if err != nil {
				return nil, err
			}
			text, err := mergePolicy(aws.ToString(there.Policy), p.keyGrants())
			if err != nil || text == "" {
				return nil, err
			}
			return []awsCall{callOf("kms", p.kms.PutKeyPolicy, &kms.PutKeyPolicyInput{KeyId: &p.keyARN, PolicyName: &policyName, Policy: &text}, nil)}, nil
		}},
		trailStep{"encryption key: rotation every year", true, func(ctx context.Context) ([]awsCall, error) {
			if p.keyARN != madeKey {
				out, err := p.kms.GetKeyRotationStatus(ctx, &kms.GetKeyRotationStatusInput{KeyId: &p.keyARN})
				if err != nil || out.KeyRotationEnabled {
					return nil, err
				}
			}
			return []awsCall{callOf("kms", p.kms.EnableKeyRotation, &kms.EnableKeyRotationInput{KeyId: &p.keyARN}, nil)}, nil
		}})
}

// namelessKey looks for a key by its description.
func (p *trailPlan) namelessKey(ctx context.Context, description string, find func(context.Context, string) (*kmstypes.KeyMetadata, error)) (*kmstypes.KeyMetadata, error) {
	pages := kms.NewListKeysPaginator(p.kms, &kms.ListKeysInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if refused(err, "AccessDeniedException") || lacking(err) != "" {
			return nil, nil // who may not list keys may make one
		}
		if err != nil {
			return nil, err
		}
		for _, k := range page.Keys {
			key, err := find(ctx, aws.ToString(k.KeyArn))
			if refused(err, "AccessDeniedException", "NotFoundException") {
				continue
			}
			if err != nil {
				return nil, err
			}
			if key.Enabled && aws.ToString(key.Description) == description && key.KeyManager == kmstypes.KeyManagerTypeCustomer && key.Origin == kmstypes.OriginTypeAwsKms {
				return key, nil
			}
		}
	}
	return nil, nil
}

// administration is what the account's administrators do with a key: all but using it.
var administration = []string{"kms:Create*", "kms:Describe*", "kms:Enable*", "kms:List*", "kms:Put*", "kms:Update*", "kms:Revoke*", "kms:Disable*", "kms:Get*", "kms:Delete*",
	"kms:TagResource", "kms:UntagResource", "kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:RotateKeyOnDemand"}

// keyGrants are who may do what with the key: CloudTrail encrypts, for this trail alone; the account administers; readers
// decrypt what CloudTrail encrypted, and nothing else.
func (p *trailPlan) keyGrants() []grant {
	root := p.arn("iam", "", p.account, "root")
	service := map[string]any{"Service": "cloudtrail.amazonaws.com"}
	trails := p.arn("cloudtrail", "*", p.account, "trail/*")
	readers := any(root)
	if len(p.o.readers) > 0 {
		readers = p.o.readers
	}
	return []grant{
		{Sid: "AccountAdministers", Effect: "Allow", Principal: map[string]any{"AWS": root}, Action: administration, Resource: "*"},
		{Sid: "CloudTrailEncrypts", Effect: "Allow", Principal: service, Action: "kms:GenerateDataKey*", Resource: "*", Condition: map[string]map[string]any{
			"StringEquals": {"aws:SourceArn": p.trailARN}, "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": trails}}},
		{Sid: "CloudTrailDescribes", Effect: "Allow", Principal: service, Action: "kms:DescribeKey", Resource: "*", Condition: map[string]map[string]any{"StringEquals": {"aws:SourceArn": p.trailARN}}},
		{Sid: "ReadersDecrypt", Effect: "Allow", Principal: map[string]any{"AWS": readers}, Action: []string{"kms:Decrypt", "kms:ReEncryptFrom"}, Resource: "*", Condition: map[string]map[string]any{
			"StringEquals": {"kms:CallerAccount": p.account}, "StringLike": {"kms:EncryptionContext:aws:cloudtrail:arn": trails}}, unlessSid: len(p.o.readers) == 0},
	}
}

// notThere reports whether a bucket is not there, or has nothing of the kind.
func notThere(err error, codes ...string) bool {
	if refused(err, append(codes, "NoSuchBucket", "NotFound")...) {
		return true
	}
	var response *awshttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() == http.StatusNotFound
}

// oneBucket are the steps that every bucket of a trail has.
func (p *trailPlan) oneBucket(label, name string, lock, essential bool, encryption func() s3types.ServerSideEncryptionByDefault, grants func() []grant) []trailStep {
	bucket := &name
	steps := []trailStep{
		{label, essential, func(ctx context.Context) ([]awsCall, error) {
			_, err := p.s3.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: bucket})
			if !notThere(err) {
				return nil, err
			}
			p.newBuckets[name] = true
			in := &s3.CreateBucketInput{Bucket: bucket, ObjectOwnership: s3types.ObjectOwnershipBucketOwnerEnforced}
			if lock {
				in.ObjectLockEnabledForBucket = aws.Bool(true)
			}
			if p.region != "us-east-1" {
				in.CreateBucketConfiguration = &s3types.CreateBucketConfiguration{LocationConstraint: s3types.BucketLocationConstraint(p.region)}
			}
			return []awsCall{callOf("s3api", p.s3.CreateBucket, in, nil)}, nil
		}},
		{label + ": no public access", essential, func(ctx context.Context) ([]awsCall, error) {
			out, err := p.s3.GetPublicAccessBlock(ctx, &s3.GetPublicAccessBlockInput{Bucket: bucket})
			if err != nil && !notThere(err, "NoSuchPublicAccessBlockConfiguration") {
				return nil, err
			}
			if err == nil {
				if c := out.PublicAccessBlockConfiguration; c != nil && aws.ToBool(c.BlockPublicAcls) && aws.ToBool(c.IgnorePublicAcls) && aws.ToBool(c.BlockPublicPolicy) && aws.ToBool(c.RestrictPublicBuckets) {
					return nil, nil
				}
			}
			yes := aws.Bool(true)
			return []awsCall{callOf("s3api", p.s3.PutPublicAccessBlock, &s3.PutPublicAccessBlockInput{Bucket: bucket, PublicAccessBlockConfiguration: &s3types.PublicAccessBlockConfiguration{
				BlockPublicAcls: yes, IgnorePublicAcls: yes, BlockPublicPolicy: yes, RestrictPublicBuckets: yes}}, nil)}, nil
		}},
		{label + ": owned by the account, without ACLs", false, func(ctx context.Context) ([]awsCall, error) {
			out, err := p.s3.GetBucketOwnershipControls(ctx, &s3.GetBucketOwnershipControlsInput{Bucket: bucket})
			if err != nil && !notThere(err, "OwnershipControlsNotFoundError") {
				return nil, err
			}
			if err == nil && out.OwnershipControls != nil && len(out.OwnershipControls.Rules) == 1 && out.OwnershipControls.Rules[0].ObjectOwnership == s3types.ObjectOwnershipBucketOwnerEnforced || p.new(name) {
				return nil, nil
			}
			return []awsCall{callOf("s3api", p.s3.PutBucketOwnershipControls, &s3.PutBucketOwnershipControlsInput{Bucket: bucket, OwnershipControls: &s3types.OwnershipControls{
				Rules: []s3types.OwnershipControlsRule{{ObjectOwnership: s3types.ObjectOwnershipBucketOwnerEnforced}}}}, nil)}, nil
		}},
		{label + ": versioning", essential, func(ctx context.Context) ([]awsCall, error) {
			out, err := p.s3.GetBucketVersioning(ctx, &s3.GetBucketVersioningInput{Bucket: bucket})
			if err != nil && !notThere(err) {
				return nil, err
			}
			if err == nil && out.Status == s3types.BucketVersioningStatusEnabled || lock && p.new(name) { // the lock brings it
				return nil, nil
			}
			return []awsCall{callOf("s3api", p.s3.PutBucketVersioning, &s3.PutBucketVersioningInput{Bucket: bucket,
				VersioningConfiguration: &s3types.VersioningConfiguration{Status: s3types.BucketVersioningStatusEnabled}}, nil)}, nil
		}},
		{label + ": encryption", essential, func(ctx context.Context) ([]awsCall, error) {
			want := encryption()
			out, err := p.s3.GetBucketEncryption(ctx, &s3.GetBucketEncryptionInput{Bucket: bucket})
			if err != nil && !notThere(err, "ServerSideEncryptionConfigurationNotFoundError") {
				return nil, err
			}
			if err == nil && out.ServerSideEncryptionConfiguration != nil {
				for _, r := range out.ServerSideEncryptionConfiguration.Rules {
					if d := r.ApplyServerSideEncryptionByDefault; d != nil && d.SSEAlgorithm == want.SSEAlgorithm && aws.ToString(d.KMSMasterKeyID) == aws.ToString(want.KMSMasterKeyID) {
						return nil, nil
					}
				}
			}
			return []awsCall{callOf("s3api", p.s3.PutBucketEncryption, &s3.PutBucketEncryptionInput{Bucket: bucket, ServerSideEncryptionConfiguration: &s3types.ServerSideEncryptionConfiguration{
				Rules: []s3types.ServerSideEncryptionRule{{ApplyServerSideEncryptionByDefault: &want}}}}, nil)}, nil
		}},
		{label + ": policy", essential, func(ctx context.Context) ([]awsCall, error) {
			out, err := p.s3.GetBucketPolicy(ctx, &s3.GetBucketPolicyInput{Bucket: bucket})
			if err != nil && !notThere(err, "NoSuchBucketPolicy") {
				return nil, err
			}
			there := ""
			if err == nil {
				there = aws.ToString(out.Policy)
			}
			wanted := grants()
			if !p.insecure {
				wanted = append(wanted, p.tlsOnly(name))
			}
			text, err := mergePolicy(there, wanted)
			if err != nil || text == "" {
				return nil, err
			}
			return []awsCall{callOf("s3api", p.s3.PutBucketPolicy, &s3.PutBucketPolicyInput{Bucket: bucket, Policy: &text}, nil)}, nil
		}},
	}
	if p.insecure {
		steps = append(steps, trailStep{label + ": TLS alone", false, func(context.Context) ([]awsCall, error) {
			return nil, skipError("the endpoint speaks HTTP without TLS, and nobody could read the bucket there")
		}})
	}
	return steps
}

// new reports whether a dry run would make the bucket.
func (p *trailPlan) new(bucket string) bool { return p.o.dryRun && p.newBuckets[bucket] }

func (p *trailPlan) bucketARN(name, key string) string { return p.arn("s3", "", "", name) + key }

func (p *trailPlan) tlsOnly(bucket string) grant {
	return grant{Sid: "DenyInsecureTransport", Effect: "Deny", Principal: "*", Action: "s3:*", Resource: []string{p.bucketARN(bucket, ""), p.bucketARN(bucket, "/*")},
		Condition: map[string]map[string]any{"Bool": {"aws:SecureTransport": "false"}}}
}

// bucketGrants let CloudTrail write the files of this trail, and nothing else.
func (p *trailPlan) bucketGrants() []grant {
	service := map[string]any{"Service": "cloudtrail.amazonaws.com"}
	suffix := strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || r == '-' {
			return -1
		}
		return r
	}, p.o.name)
	at := "/"
	if p.o.prefix != "" {
		at += p.o.prefix + "/"
	}
	write := func(sid, whose string) grant {
		return grant{Sid: sid + suffix, Effect: "Allow", Principal: service, Action: "s3:PutObject", Resource: p.bucketARN(p.bucket, at+"AWSLogs/"+whose+"/*"),
			Condition: map[string]map[string]any{"StringEquals": {"aws:SourceArn": p.trailARN, "s3:x-amz-acl": "bucket-owner-full-control"}}}
	}
	out := []grant{
		{Sid: "CloudTrailAclCheck" + suffix, Effect: "Allow", Principal: service, Action: "s3:GetBucketAcl", Resource: p.bucketARN(p.bucket, ""),
			Condition: map[string]map[string]any{"StringEquals": {"aws:SourceArn": p.trailARN}}},
		write("CloudTrailWrite", p.account),
	}
	if p.organization != "" {
		out = append(out, write("CloudTrailOrganizationWrite", p.organization))
	}
	return out
}

// bucketSteps are those of the bucket of log files.
func (p *trailPlan) bucketSteps() []trailStep {
	const label = "log bucket"
	lock := p.o.lock != "none"
	steps := p.oneBucket(label, p.bucket, lock, true, func() s3types.ServerSideEncryptionByDefault {
		return s3types.ServerSideEncryptionByDefault{SSEAlgorithm: s3types.ServerSideEncryptionAwsKms, KMSMasterKeyID: &p.keyARN}
	}, p.bucketGrants)
	if lock {
		steps = append(steps, trailStep{fmt.Sprintf("%s: object lock, %s, %d days", label, p.o.lock, p.o.retain), true, p.lookLock})
	}
	if p.o.expire > 0 {
		steps = append(steps, trailStep{fmt.Sprintf("%s: files are deleted after %d days", label, p.o.expire), false, p.lookExpiry})
	}
	return steps
}

// lookLock leaves a lock that is as strict as the one that is wanted.
func (p *trailPlan) lookLock(ctx context.Context) ([]awsCall, error) {
	out, err := p.s3.GetObjectLockConfiguration(ctx, &s3.GetObjectLockConfigurationInput{Bucket: &p.bucket})
	if err != nil && !notThere(err, "ObjectLockConfigurationNotFoundError") {
		return nil, err
	}
	mode, days := s3types.ObjectLockRetentionMode(strings.ToUpper(p.o.lock)), int32(p.o.retain)
	if err == nil && out.ObjectLockConfiguration != nil && out.ObjectLockConfiguration.Rule != nil && out.ObjectLockConfiguration.Rule.DefaultRetention != nil {
		r := out.ObjectLockConfiguration.Rule.DefaultRetention
		has := max(aws.ToInt32(r.Days), 365*aws.ToInt32(r.Years))
		stricter := r.Mode == s3types.ObjectLockRetentionModeCompliance
		if has >= days && (stricter || r.Mode == mode) {
			return nil, nil
		}
		if days = max(days, has); stricter {
			mode = r.Mode
		}
	}
	return []awsCall{callOf("s3api", p.s3.PutObjectLockConfiguration, &s3.PutObjectLockConfigurationInput{Bucket: &p.bucket, ObjectLockConfiguration: &s3types.ObjectLockConfiguration{
		ObjectLockEnabled: s3types.ObjectLockEnabledEnabled, Rule: &s3types.ObjectLockRule{DefaultRetention: &s3types.DefaultRetention{Mode: mode, Days: &days}}}}, nil)}, nil
}

func (p *trailPlan) lookExpiry(ctx context.Context) ([]awsCall, error) {
	id, days := "trail-"+p.o.name, int32(p.o.expire)
	out, err := p.s3.GetBucketLifecycleConfiguration(ctx, &s3.GetBucketLifecycleConfigurationInput{Bucket: &p.bucket})
	if err != nil && !notThere(err, "NoSuchLifecycleConfiguration") {
		return nil, err
	}
	var rules []s3types.LifecycleRule
	if err == nil {
		for _, r := range out.Rules {
			if aws.ToString(r.ID) != id {
				rules = append(rules, r)
			} else if r.Status == s3types.ExpirationStatusEnabled && r.Expiration != nil && aws.ToInt32(r.Expiration.Days) == days {
				return nil, nil
			}
		}
	}
	rules = append(rules, s3types.LifecycleRule{ID: &id, Status: s3types.ExpirationStatusEnabled, Filter: &s3types.LifecycleRuleFilter{Prefix: aws.String("")},
		Expiration: &s3types.LifecycleExpiration{Days: &days}, NoncurrentVersionExpiration: &s3types.NoncurrentVersionExpiration{NoncurrentDays: aws.Int32(30)}})
	return []awsCall{callOf("s3api", p.s3.PutBucketLifecycleConfiguration, &s3.PutBucketLifecycleConfigurationInput{Bucket: &p.bucket,
		LifecycleConfiguration: &s3types.BucketLifecycleConfiguration{Rules: rules}}, nil)}, nil
}

// accessSteps are those of the access log. Where the endpoint writes none, they are all skipped, and no bucket is made for it.
func (p *trailPlan) accessSteps() []trailStep {
	if p.o.accessBucket == "-" {
		return nil
	}
	// look asks first whether there is access logging, and whether it is ours.
	look := func(then func(ctx context.Context, target string) ([]awsCall, error)) func(context.Context) ([]awsCall, error) {
		return func(ctx context.Context) ([]awsCall, error) {
			out, err := p.s3.GetBucketLogging(ctx, &s3.GetBucketLoggingInput{Bucket: &p.bucket})
			if err != nil && !notThere(err) {
				return nil, err
			}
			target := ""
			if err == nil && out.LoggingEnabled != nil {
				target = aws.ToString(out.LoggingEnabled.TargetBucket)
			}
			if target != "" && target != p.accessBucket && p.o.accessBucket == "" { // somebody else's, who looks after it
				return nil, nil
			}
			return then(ctx, target)
		}
	}
	steps := p.oneBucket("access log bucket", p.accessBucket, false, false, func() s3types.ServerSideEncryptionByDefault {
		return s3types.ServerSideEncryptionByDefault{SSEAlgorithm: s3types.ServerSideEncryptionAes256}
	}, func() []grant {
		return []grant{{Sid: "S3WritesAccessLog", Effect: "Allow", Principal: map[string]any{"Service": "logging.s3.amazonaws.com"}, Action: "s3:PutObject", Resource: p.bucketARN(p.accessBucket, "/*"), Condition: map[string]map[string]any{
			"ArnLike": {"aws:SourceArn": p.bucketARN(p.bucket, "")}, "StringEquals": {"aws:SourceAccount": p.account}}}}
	})
	for i, s := range steps {
		steps[i].look = look(func(ctx context.Context, _ string) ([]awsCall, error) { return s.look(ctx) })
	}
	return append(steps, trailStep{"log bucket: access log", false, look(func(_ context.Context, target string) ([]awsCall, error) {
		if target == p.accessBucket {
			return nil, nil
		}
		return []awsCall{callOf("s3api", p.s3.PutBucketLogging, &s3.PutBucketLoggingInput{Bucket: &p.bucket, BucketLoggingStatus: &s3types.BucketLoggingStatus{
			LoggingEnabled: &s3types.LoggingEnabled{TargetBucket: &p.accessBucket, TargetPrefix: aws.String(p.bucket + "/")}}}, nil)}, nil
	})})
}

// trailSteps are those of the trail itself.
func (p *trailPlan) trailSteps() []trailStep {
	steps := []trailStep{{"trail", true, p.lookTrail}}
	if p.o.bestPractice || len(p.o.dataEvents) > 0 {
		steps = append(steps, trailStep{"trail: event selectors", true, p.lookSelectors})
	}
	if p.o.start {
		steps = append(steps, trailStep{"trail: logging", true, func(ctx context.Context) ([]awsCall, error) {
			out, err := p.trails.GetTrailStatus(ctx, &cloudtrail.GetTrailStatusInput{Name: &p.trailARN})
			if err != nil && !refused(err, "TrailNotFoundException") || err == nil && aws.ToBool(out.IsLogging) {
				return nil, err
			}
			return []awsCall{callOf("cloudtrail", p.trails.StartLogging, &cloudtrail.StartLoggingInput{Name: &p.o.name}, nil)}, nil
		}})
	}
	return steps
}

// lookTrail makes the trail, or changes of it what is less than what is wanted.
func (p *trailPlan) lookTrail(ctx context.Context) ([]awsCall, error) {
	there, err := p.trail(ctx)
	if err != nil {
		return nil, err
	}
	yes := aws.Bool(true)
	if there == nil {
		in := &cloudtrail.CreateTrailInput{Name: &p.o.name, S3BucketName: &p.bucket}
		if p.o.multiRegion {
			in.IsMultiRegionTrail = yes
		}
		if p.o.validation {
			in.EnableLogFileValidation = yes
		}
		if p.o.organization {
			in.IsOrganizationTrail = yes
		}
		for _, text := range []struct {
			to    **string
			value string
		}{{&in.KmsKeyId, p.keyARN}, {&in.S3KeyPrefix, p.o.prefix}, {&in.SnsTopicName, p.o.topic}} {
			if text.value != "" {
				*text.to = aws.String(text.value)
			}
		}
		return []awsCall{callOf("cloudtrail", p.trails.CreateTrail, in, nil)}, nil
	}
	in := &cloudtrail.UpdateTrailInput{Name: &p.o.name}
	differs := false
	for _, flag := range []struct {
		to     **bool
		is     *bool
		wanted bool
	}{{&in.IsMultiRegionTrail, there.IsMultiRegionTrail, p.o.multiRegion}, {&in.EnableLogFileValidation, there.LogFileValidationEnabled, p.o.validation},
		{&in.IsOrganizationTrail, there.IsOrganizationTrail, p.o.organization}, {&in.IncludeGlobalServiceEvents, there.IncludeGlobalServiceEvents, p.o.bestPractice}} {
		if flag.wanted && !aws.ToBool(flag.is) {
			*flag.to, differs = yes, true
		}
	}
	for _, text := range []struct {
		to     **string
		wanted string
		is     []string // names of the same thing
	}{{&in.S3BucketName, p.bucket, []string{aws.ToString(there.S3BucketName)}}, {&in.S3KeyPrefix, p.o.prefix, []string{aws.ToString(there.S3KeyPrefix)}},
		{&in.KmsKeyId, p.keyARN, []string{aws.ToString(there.KmsKeyId), afterSlash(aws.ToString(there.KmsKeyId))}},
		{&in.SnsTopicName, p.o.topic, []string{aws.ToString(there.SnsTopicARN), afterColon(aws.ToString(there.SnsTopicARN))}}} {
		if text.wanted != "" && !slices.Contains(text.is, text.wanted) {
			*text.to, differs = aws.String(text.wanted), true
		}
	}
	if !differs {
		return nil, nil
	}
	return []awsCall{callOf("cloudtrail", p.trails.UpdateTrail, in, nil)}, nil
}

func afterSlash(s string) string { return s[strings.LastIndexByte(s, '/')+1:] }
func afterColon(s string) string { return s[strings.LastIndexByte(s, ':')+1:] }

// logGroupSteps are those of the log group that events go to, too: the group, a role that may write there, and the link.
func (p *trailPlan) logGroupSteps() []trailStep {
	if p.o.logGroup == "-" {
		return nil
	}
	group := p.o.logGroup
	if group == "" {
		group = "CloudTrail/" + p.o.name
	}
	role := "CloudTrail-" + p.o.name[:min(len(p.o.name), 48)] + "-logs"
	groupARN, roleARN := p.arn("logs", p.region, p.account, "log-group:"+group+":*"), p.arn("iam", "", p.account, "role/"+role)
	streams := func(whose string) string {
		return p.arn("logs", p.region, p.account, "log-group:"+group+":log-stream:"+whose+"*")
	}
	resources := []string{streams(p.account + "_CloudTrail_" + p.region)}
	if p.organization != "" {
		resources = append(resources, streams(p.organization+"_"))
	}
	trust := []grant{{Sid: "CloudTrailAssumes", Effect: "Allow", Principal: map[string]any{"Service": "cloudtrail.amazonaws.com"}, Action: "sts:AssumeRole",
		Condition: map[string]map[string]any{"StringEquals": {"aws:SourceArn": p.trailARN}}}}
	write := []grant{{Sid: "CloudTrailWritesLogs", Effect: "Allow", Action: []string{"logs:CreateLogStream", "logs:PutLogEvents"}, Resource: resources}}
	// look asks first whether there are log groups at all, and whether the trail has one.
	look := func(then func(ctx context.Context, has bool) ([]awsCall, error)) func(context.Context) ([]awsCall, error) {
		return func(ctx context.Context) ([]awsCall, error) {
			out, err := p.logs.DescribeLogGroups(ctx, &cloudwatchlogs.DescribeLogGroupsInput{LogGroupNamePrefix: &group})
			if err != nil {
				return nil, err
			}
			there, err := p.trail(ctx)
			if err != nil || there != nil && aws.ToString(there.CloudWatchLogsLogGroupArn) != "" && (p.o.logGroup == "" || strings.TrimSuffix(*there.CloudWatchLogsLogGroupArn, ":*") == strings.TrimSuffix(groupARN, ":*")) {
				return nil, err
			}
			for _, g := range out.LogGroups {
				if aws.ToString(g.LogGroupName) == group {
					return then(ctx, true)
				}
			}
			return then(ctx, false)
		}
	}
	const policyName = "write-logs"
	return []trailStep{
		{"log group", false, look(func(_ context.Context, has bool) ([]awsCall, error) {
			if has {
				return nil, nil
			}
			return []awsCall{callOf("logs", p.logs.CreateLogGroup, &cloudwatchlogs.CreateLogGroupInput{LogGroupName: &group}, nil)}, nil
		})},
		{"log group: role that writes to it", false, look(func(ctx context.Context, _ bool) ([]awsCall, error) {
			if _, err := p.iam.GetRole(ctx, &iam.GetRoleInput{RoleName: &role}); !refused(err, "NoSuchEntity") {
				return nil, err
			}
			text, err := mergePolicy("", trust)
			if err != nil {
				return nil, err
			}
			return []awsCall{callOf("iam", p.iam.CreateRole, &iam.CreateRoleInput{RoleName: &role, AssumeRolePolicyDocument: &text}, nil)}, nil
		})},
		{"log group: what that role may", false, look(func(ctx context.Context, _ bool) ([]awsCall, error) {
			out, err := p.iam.GetRolePolicy(ctx, &iam.GetRolePolicyInput{RoleName: &role, PolicyName: aws.String(policyName)})
			there := ""
			switch {
			case err == nil:
				if there, err = url.QueryUnescape(aws.ToString(out.PolicyDocument)); err != nil {
					return nil, fmt.Errorf("read the policy of role %s: %w", role, err)
				}
			case !refused(err, "NoSuchEntity"):
				return nil, err
			}
			text, err := mergePolicy(there, write)
			if err != nil || text == "" {
				return nil, err
			}
			return []awsCall{callOf("iam", p.iam.PutRolePolicy, &iam.PutRolePolicyInput{RoleName: &role, PolicyName: aws.String(policyName), PolicyDocument: &text}, nil)}, nil
		})},
		{"trail: log group", false, look(func(context.Context, bool) ([]awsCall, error) {
			return []awsCall{callOf("cloudtrail", p.trails.UpdateTrail, &cloudtrail.UpdateTrailInput{Name: &p.o.name, CloudWatchLogsLogGroupArn: &groupARN, CloudWatchLogsRoleArn: &roleARN}, nil)}, nil
		})},
	}
}

// lookSelectors adds selectors to those that are there, which stay.
func (p *trailPlan) lookSelectors(ctx context.Context) ([]awsCall, error) {
	out, err := p.trails.GetEventSelectors(ctx, &cloudtrail.GetEventSelectorsInput{TrailName: &p.trailARN})
	var there []cttypes.AdvancedEventSelector
	fresh := refused(err, "TrailNotFoundException") // a dry run, before the trail is there
	switch {
	case fresh:
	case err != nil:
		return nil, err
	case len(out.AdvancedEventSelectors) > 0:
		there = out.AdvancedEventSelectors
	default:
		there = advancedOf(out.EventSelectors)
	}
	wanted := p.selectors()
	if len(there) == 0 || fresh { // what a trail takes that was told nothing
		there = wanted[:1]
	}
	all := slices.Clone(there)
	for _, w := range wanted {
		if !slices.ContainsFunc(there, func(s cttypes.AdvancedEventSelector) bool { return covers(s, w) }) {
			all = append(all, w)
		}
	}
	if len(all) == len(there) {
		return nil, nil
	}
	return []awsCall{callOf("cloudtrail", p.trails.PutEventSelectors, &cloudtrail.PutEventSelectorsInput{TrailName: &p.o.name, AdvancedEventSelectors: all}, nil)}, nil
}

func field(name string, values ...string) cttypes.AdvancedFieldSelector {
	return cttypes.AdvancedFieldSelector{Field: &name, Equals: values}
}

// selectors are what the trail is to take at least: management events first, then data events of each type.
func (p *trailPlan) selectors() []cttypes.AdvancedEventSelector {
	out := []cttypes.AdvancedEventSelector{{Name: aws.String("Management events"), FieldSelectors: []cttypes.AdvancedFieldSelector{field("eventCategory", "Management")}}}
	for _, t := range p.o.dataEvents {
		s := cttypes.AdvancedEventSelector{Name: aws.String("Data events of " + t), FieldSelectors: []cttypes.AdvancedFieldSelector{field("eventCategory", "Data"), field("resources.type", t)}}
		if t == s3Objects { // who reads the log files makes no further ones by it
			except := []string{p.bucketARN(p.bucket, "/")}
			if p.accessBucket != "" && p.accessBucket != "-" {
				except = append(except, p.bucketARN(p.accessBucket, "/"))
			}
			s.FieldSelectors = append(s.FieldSelectors, cttypes.AdvancedFieldSelector{Field: aws.String("resources.ARN"), NotStartsWith: except})
		}
		out = append(out, s)
	}
	return out
}

// covers reports whether s takes all that w takes, as far as it says the same on the same fields or nothing.
func covers(s, w cttypes.AdvancedEventSelector) bool {
	return !slices.ContainsFunc(s.FieldSelectors, func(f cttypes.AdvancedFieldSelector) bool {
		return !slices.ContainsFunc(w.FieldSelectors, func(g cttypes.AdvancedFieldSelector) bool { return sameField(f, g) })
	})
}

func sameField(f, g cttypes.AdvancedFieldSelector) bool {
	same := func(a, b []string) bool {
		return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
	}
	return aws.ToString(f.Field) == aws.ToString(g.Field) && same(f.Equals, g.Equals) && same(f.StartsWith, g.StartsWith) && same(f.EndsWith, g.EndsWith) &&
		same(f.NotEquals, g.NotEquals) && same(f.NotStartsWith, g.NotStartsWith) && same(f.NotEndsWith, g.NotEndsWith)
}

// advancedOf are basic selectors in the advanced form, which takes the same events.
func advancedOf(basic []cttypes.EventSelector) []cttypes.AdvancedEventSelector {
	var out []cttypes.AdvancedEventSelector
	for _, b := range basic {
		add := func(fields ...cttypes.AdvancedFieldSelector) {
			switch b.ReadWriteType {
			case cttypes.ReadWriteTypeReadOnly:
				fields = append(fields, field("readOnly", "true"))
			case cttypes.ReadWriteTypeWriteOnly:
				fields = append(fields, field("readOnly", "false"))
			}
			out = append(out, cttypes.AdvancedEventSelector{FieldSelectors: fields})
		}
		if b.IncludeManagementEvents == nil || *b.IncludeManagementEvents {
			fields := []cttypes.AdvancedFieldSelector{field("eventCategory", "Management")}
			if len(b.ExcludeManagementEventSources) > 0 {
				fields = append(fields, cttypes.AdvancedFieldSelector{Field: aws.String("eventSource"), NotEquals: b.ExcludeManagementEventSources})
			}
			add(fields...)
		}
		for _, d := range b.DataResources {
			fields := []cttypes.AdvancedFieldSelector{field("eventCategory", "Data"), field("resources.type", aws.ToString(d.Type))}
			all := slices.ContainsFunc(d.Values, func(v string) bool {
				a, err := arn.Parse(v)
				return err != nil && strings.Count(v, ":") == 2 || err == nil && a.Resource == ""
			})
			switch {
			case len(d.Values) == 0:
				continue
			case all:
			case aws.ToString(d.Type) == s3Objects:
				fields = append(fields, cttypes.AdvancedFieldSelector{Field: aws.String("resources.ARN"), StartsWith: d.Values})
			default:
				fields = append(fields, field("resources.ARN", d.Values...))
			}
			add(fields...)
		}
	}
	return out
}
