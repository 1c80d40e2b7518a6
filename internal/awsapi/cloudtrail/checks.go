package cloudtrail

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/blob"
	"spoor/internal/keyring"
	"spoor/internal/policy"
	"spoor/internal/topic"
	"spoor/internal/trail"
)

// Buckets tell of the buckets of this installation. [blob.Local] is one.
type Buckets interface {
	Bucket(ctx context.Context, name string) (blob.Bucket, error)
}

// External tells of buckets that somebody else runs: whether files can be put there. Errors are those of [blob.Storage].
type External interface {
	Reach(ctx context.Context, bucket string) error
}

// Keys tell of keys. [keyring.Ring] is one.
type Keys interface {
	Resolve(ref keyring.Ref, id string) (arn string, err error)
	Allowed(keyARN, action string, by policy.Principal, conditions map[string][]string) (policy.Effect, error)
	GenerateDataKey(ctx context.Context, keyARN string, encryptionContext map[string]string) (keyring.DataKey, error)
}

// Topics tell of topics. [topic.Service] is one.
type Topics interface {
	Resolve(w topic.Where, nameOrARN string) (arn string, err error)
	Allowed(ctx context.Context, topicARN, action string, by policy.Principal, conditions map[string][]string) error
}

// servicePrincipal is who delivers.
const servicePrincipal = "cloudtrail.amazonaws.com"

// bucketACL is what deliveries ask for.
const bucketACL = "bucket-owner-full-control"

// conditions are what requests of deliveries for a trail give to policies.
func conditions(at time.Time, t trail.Info) map[string][]string {
	c := map[string][]string{
		"aws:SourceArn": {t.ARN}, "aws:SourceAccount": {t.Account}, "aws:SecureTransport": {"true"}, "aws:PrincipalIsAWSService": {"true"},
		"aws:PrincipalServiceName": {servicePrincipal}, "aws:CurrentTime": {at.UTC().Format(time.RFC3339)},
	}
	if t.OrganizationID != "" {
		c["aws:SourceOrgID"] = []string{t.OrganizationID}
	}
	return c
}

// folders are those of the bucket that files of a trail go to.
func folders(t trail.Info) (out []string) {
	root := t.Settings.Prefix
	if root != "" {
		root += "/"
	}
	root += "AWSLogs/"
	accounts := []string{root + t.Account + "/"}
	if t.OrganizationID != "" {
		accounts = append(accounts, root+t.OrganizationID+"/"+t.Account+"/")
	}
	for _, a := range accounts {
		out = append(out, a+"CloudTrail/")
		if t.Settings.Validation {
			out = append(out, a+"CloudTrail-Digest/")
		}
		if len(t.Insights) > 0 {
			out = append(out, a+"CloudTrail-Insight/")
		}
		if len(t.Aggregations) > 0 {
			out = append(out, a+"CloudTrail-Aggregated/")
		}
	}
	return out
}

// check looks at the bucket, the key and the topic that a trail will have.
func (x trailService) check(at time.Time) trail.Check {
	return func(ctx context.Context, t trail.Info) error {
		for _, check := range []func(context.Context, time.Time, trail.Info) error{x.checkBucket, x.checkKey, x.checkTopic} {
			if err := check(ctx, at, t); err != nil {
				return err
			}
		}
		return nil
	}
}

func noBucket(name string) error {
	return awsapi.Errorf("S3BucketDoesNotExistException", "S3 bucket %s does not exist!", name)
}

// checkBucket asks whether the bucket is there, and whether deliveries may put there what they will put.
func (x trailService) checkBucket(ctx context.Context, at time.Time, t trail.Info) error {
	name := t.Settings.Bucket
	insufficient := awsapi.Errorf("InsufficientS3BucketPolicyException", "Incorrect S3 bucket policy is detected for bucket: %s", name)
	if x.external != nil {
		err := x.external.Reach(ctx, name)
		switch {
		case errors.Is(err, blob.ErrNoBucket):
			return noBucket(name)
		case errors.Is(err, blob.ErrDenied):
			return insufficient
		}
		return err
	}
	if x.buckets == nil {
		return errors.New("there are no buckets")
	}
	b, err := x.buckets.Bucket(ctx, name)
	if errors.Is(err, blob.ErrNoBucket) {
		return noBucket(name)
	}
	if err != nil {
		return err
	}
	if b.RequesterPays {
		return insufficient
	}
	allowed := func(action, resource string, c map[string][]string) bool {
		effect, _ := b.Policy.Evaluate(policy.Request{Principal: policy.Principal{Service: servicePrincipal}, Action: action, Resource: resource, Conditions: c})
		return effect == policy.Allow
	}
	c := conditions(at, t)
	bucket := "arn:" + x.partition(t) + ":s3:::" + name
	if b.Policy == nil || !allowed("s3:GetBucketAcl", bucket, c) {
		return insufficient
	}
	c["s3:x-amz-acl"] = []string{bucketACL}
	c["s3:x-amz-server-side-encryption"] = []string{"AES256"}
	if key := t.Settings.KMSKey; key != "" {
		c["s3:x-amz-server-side-encryption"], c["s3:x-amz-server-side-encryption-aws-kms-key-id"] = []string{"aws:kms"}, []string{key}
	}
	for _, folder := range folders(t) {
		if !allowed("s3:PutObject", bucket+"/"+folder, c) {
			return insufficient
		}
	}
	return nil
}

// partition is that of a trail.
func (x trailService) partition(t trail.Info) string {
	a, err := trail.ParseARN(t.ARN)
	if err != nil {
		return "aws"
	}
	return a.Partition
}

// keyForm is the form of what names a key.
var keyForm = regexp.MustCompile(`^(arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:(key|alias)/[a-zA-Z0-9/_-]+|alias/[a-zA-Z0-9/_-]+|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|mrk-[0-9a-f]{32})$`)

// key completes what names a key to its ARN; nothing stays nothing.
func (x trailService) key(c *awsapi.Call, id string) (string, error) {
	switch {
	case id == "":
		return "", nil
	case !keyForm.MatchString(id):
		return "", awsapi.Errorf("InvalidKmsKeyIdException", "KmsKeyId %.256q is neither the id or ARN of a key, nor an alias or its ARN.", id)
	case x.keys == nil:
		return "", awsapi.Errorf("KmsException", "There is no key service here.")
	}
	arn, err := x.keys.Resolve(keyring.Ref{Account: c.Account, Region: c.Region}, id)
	return arn, keyError(id, err)
}

// keyError puts what the key ring says into AWS's words.
func keyError(id string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, keyring.ErrNotFound), errors.Is(err, keyring.ErrInvalid):
		return awsapi.Errorf("KmsKeyNotFoundException", "KMS key not found: %s", id)
	case errors.Is(err, keyring.ErrDisabled):
		return awsapi.Errorf("KmsKeyDisabledException", "The KMS key %s is disabled.", id)
	case errors.Is(err, keyring.ErrPending), errors.Is(err, keyring.ErrState):
		return awsapi.Errorf("KmsException", "The KMS key %s cannot be used: %v.", id, err)
	case errors.Is(err, keyring.ErrDenied):
		return awsapi.Errorf("InsufficientEncryptionPolicyException", "Insufficient permissions to access KMS key %s", id)
	}
	return err
}

// checkKey asks whether the policy of the key lets deliveries, and makes one data key to see that it works.
func (x trailService) checkKey(ctx context.Context, at time.Time, t trail.Info) error {
	key := t.Settings.KMSKey
	if key == "" {
		return nil
	}
	if x.keys == nil {
		return awsapi.Errorf("KmsException", "There is no key service here.")
	}
	if x.external == nil && x.buckets != nil {
		if b, err := x.buckets.Bucket(ctx, t.Settings.Bucket); err == nil && b.Region != "" && !strings.Contains(key, ":kms:"+b.Region+":") {
			return awsapi.Errorf("KmsKeyNotFoundException", "The KMS key %s and the S3 bucket %s are not in the same Region.", key, b.Name)
		}
	}
	s3 := "arn:" + x.partition(t) + ":s3:::" + t.Settings.Bucket + "/" + strings.TrimSuffix(folders(t)[0], "CloudTrail/")
	about := map[string]string{"aws:cloudtrail:arn": t.ARN, "aws:s3:arn": s3}
	c := conditions(at, t)
	for k, v := range about {
		c["kms:EncryptionContext:"+k] = []string{v}
		c["kms:EncryptionContextKeys"] = append(c["kms:EncryptionContextKeys"], k)
	}
	c["kms:CallerAccount"] = []string{t.Account}
	effect, err := x.keys.Allowed(key, "kms:GenerateDataKey", policy.Principal{Service: servicePrincipal}, c)
	if err != nil {
		return keyError(key, err)
	}
	if effect != policy.Allow {
		return awsapi.Errorf("InsufficientEncryptionPolicyException", "Insufficient permissions to access S3 bucket %s or KMS key %s.", t.Settings.Bucket, key)
	}
	data, err := x.keys.GenerateDataKey(ctx, key, about)
	clear(data.Plaintext)
	return keyError(key, err)
}

const maxTopic = 256 // characters of a name or an ARN

// topic completes the name of a topic to its ARN; nothing stays nothing.
func (x trailService) topic(c *awsapi.Call, name string) (string, error) {
	switch {
	case name == "":
		return "", nil
	case len(name) > maxTopic:
		return "", awsapi.Errorf("InvalidSnsTopicNameException", "The name of the SNS topic is longer than %d characters.", maxTopic)
	case x.topics == nil:
		return "", noTopic()
	}
	arn, err := x.topics.Resolve(topic.Where{Account: c.Account, Region: c.Region}, name)
	if err != nil {
		return "", awsapi.Errorf("InvalidSnsTopicNameException", "%.256q is neither the name nor the ARN of an SNS topic.", name)
	}
	return arn, nil
}

func noTopic() error {
	return awsapi.Errorf("InsufficientSnsTopicPolicyException", "SNS Topic does not exist or the topic policy is incorrect!")
}

// checkTopic asks whether the topic is there, and its policy lets deliveries publish.
func (x trailService) checkTopic(ctx context.Context, at time.Time, t trail.Info) error {
	if t.Settings.Topic == "" {
		return nil
	}
	if x.topics == nil {
		return noTopic()
	}
	err := x.topics.Allowed(ctx, t.Settings.Topic, "SNS:Publish", policy.Principal{Service: servicePrincipal}, conditions(at, t))
	if errors.Is(err, topic.ErrNotFound) || errors.Is(err, topic.ErrDenied) {
		return noTopic()
	}
	return err
}

var (
	groupForm = regexp.MustCompile(`^arn:aws[a-z-]*:logs:[a-z0-9-]+:[0-9]{12}:log-group:[a-zA-Z0-9_/.#-]{1,512}(:\*)?$`)
	roleForm  = regexp.MustCompile(`^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\x21-\x7e]{1,512}$`)
)

// checkLogs refuses CloudWatch Logs, which nothing is delivered to. Empty texts ask for none.
func checkLogs(group, role *string) error {
	g, r := value(group), value(role)
	switch {
	case g == "" && r == "":
		return nil
	case g == "" || r == "":
		return awsapi.Errorf("InvalidParameterCombinationException", "You must specify both a log group ARN and a role ARN.")
	case !groupForm.MatchString(g):
		return awsapi.Errorf("InvalidCloudWatchLogsLogGroupArnException", "%.256q is not the ARN of a log group.", g)
	case !roleForm.MatchString(r):
		return awsapi.Errorf("InvalidCloudWatchLogsRoleArnException", "%.256q is not the ARN of a role.", r)
	}
	return awsapi.Errorf("CloudWatchLogsDeliveryUnavailableException", "Nothing is delivered to CloudWatch Logs here: leave CloudWatchLogsLogGroupArn and CloudWatchLogsRoleArn out.")
}
