package cloudtrail_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	client "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	orgclient "github.com/aws/aws-sdk-go-v2/service/organizations"
	stsclient "github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/cloudtrail"
	"spoor/internal/awsapi/cloudtraildata"
	"spoor/internal/awsapi/organizations"
	"spoor/internal/awsapi/sts"
	"spoor/internal/blob"
	"spoor/internal/iam"
	"spoor/internal/keyring"
	"spoor/internal/lake"
	"spoor/internal/policy"
	"spoor/internal/topic"
	"spoor/internal/trail"
	"spoor/internal/trail/digest"
)

const (
	bucketName = "trail-logs"
	orgID      = "o-exampleorgid"
	keyID      = "11111111-2222-4333-8444-555555555555"
	keyARN     = "arn:aws:kms:" + awsapitest.Region + ":" + awsapitest.Account + ":key/" + keyID
	topicARN   = "arn:aws:sns:" + awsapitest.Region + ":" + awsapitest.Account + ":notices"
	service    = `"Principal":{"Service":"cloudtrail.amazonaws.com"}`
)

// parts are buckets, keys, topics and deliveries of tests.
type parts struct {
	mu      sync.Mutex
	buckets map[string]blob.Bucket
	keyErr  error
	keyDoc  *policy.Document
	made    []map[string]string // encryption contexts of data keys
	topic   *policy.Document    // nil for none
	status  trail.Status
	asked   string // about whose status
	reach   error
}

func document(t testing.TB, service, text string) *policy.Document {
	t.Helper()
	d, err := policy.Parse(service, []byte(text))
	if err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return d
}

// bucketPolicy is the one of AWS's documentation, for a path below the bucket.
func bucketPolicy(bucket, path string) string {
	return `{"Version":"2012-10-17","Statement":[
 {"Sid":"AWSCloudTrailAclCheck20150319","Effect":"Allow",` + service + `,"Action":"s3:GetBucketAcl","Resource":"arn:aws:s3:::` + bucket + `","Condition":{"StringLike":{"aws:SourceArn":"arn:aws:cloudtrail:*:111122223333:trail/*"}}},
 {"Sid":"AWSCloudTrailWrite20150319","Effect":"Allow",` + service + `,"Action":"s3:PutObject","Resource":"arn:aws:s3:::` + bucket + `/` + path + `",
  "Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control"},"StringLike":{"aws:SourceArn":"arn:aws:cloudtrail:*:111122223333:trail/*"}}},
 {"Sid":"tls","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::` + bucket + `","arn:aws:s3:::` + bucket + `/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`
}

// keyPolicy is that of AWS's documentation.
const keyPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + service + `,"Action":"kms:GenerateDataKey*","Resource":"*",
 "Condition":{"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:111122223333:trail/*"}}}]}`

const topicPolicy = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow",` + service + `,"Action":"SNS:Publish","Resource":"` + topicARN + `","Condition":{"StringEquals":{"aws:SourceAccount":"111122223333"}}}]}`

func (p *parts) Bucket(_ context.Context, name string) (blob.Bucket, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.buckets[name]; ok {
		return b, nil
	}
	return blob.Bucket{}, blob.ErrNoBucket
}

func (p *parts) Reach(context.Context, string) error { return p.reach }

func (p *parts) Resolve(ref keyring.Ref, id string) (string, error) {
	switch id {
	case keyID, keyARN, "alias/trail", "arn:aws:kms:" + ref.Region + ":" + ref.Account + ":alias/trail":
		return keyARN, nil
	}
	if strings.HasPrefix(id, "arn:aws:kms:us-east-1:") {
		return id, nil
	}
	return "", keyring.ErrNotFound
}

func (p *parts) Allowed(key, action string, by policy.Principal, c map[string][]string) (policy.Effect, error) {
	if p.keyErr != nil {
		return policy.None, p.keyErr
	}
	e, _ := p.keyDoc.Evaluate(policy.Request{Principal: by, Action: action, Resource: key, Conditions: c})
	return e, nil
}

func (p *parts) GenerateDataKey(_ context.Context, key string, about map[string]string) (keyring.DataKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.made = append(p.made, about)
	return keyring.DataKey{KeyARN: key, Plaintext: make([]byte, 32)}, nil
}

func (p *parts) Status(arn, region string) trail.Status {
	p.asked = arn + " " + region
	return p.status
}

func (p *parts) Public(region string, start, end time.Time) []digest.PublicKey {
	return []digest.PublicKey{{DER: []byte(region), Fingerprint: "f", Start: start, End: end}}
}

// topics are apart: their methods have the names of those of keys.
type topics struct{ p *parts }

func (s topics) Resolve(w topic.Where, name string) (string, error) {
	switch {
	case strings.HasPrefix(name, "arn:"):
		return name, nil
	case strings.ContainsAny(name, " /"):
		return "", errors.New("no name")
	}
	return "arn:aws:sns:" + w.Region + ":" + w.Account + ":" + name, nil
}

func (s topics) Allowed(_ context.Context, arn, action string, by policy.Principal, c map[string][]string) error {
	if s.p.topic == nil || arn != topicARN {
		return topic.ErrNotFound
	}
	if e, _ := s.p.topic.Evaluate(policy.Request{Principal: by, Action: action, Resource: arn, Conditions: c}); e != policy.Allow {
		return topic.ErrDenied
	}
	return nil
}

// trailRig is an endpoint with trails, of an organisation.
type trailRig struct {
	*awsapitest.Rig
	*parts
	book *trail.Book
	lake *lake.Lake
}

func newTrailRig(t *testing.T, change ...func(*cloudtrail.Options)) trailRig {
	t.Helper()
	journal := &awsapitest.Book{}
	l, err := lake.Open(t.Context(), t.TempDir(), lake.Options{Account: awsapitest.Account, Journal: journal})
	if err != nil {
		t.Fatal(err)
	}
	r := trailRig{parts: &parts{}, lake: l}
	r.buckets = map[string]blob.Bucket{}
	for name, path := range map[string]string{bucketName: "AWSLogs/*", "prefixed": "p/AWSLogs/111122223333/*", "elsewhere": "other/*"} {
		r.buckets[name] = blob.Bucket{Name: name, Account: awsapitest.Account, Region: awsapitest.Region, Policy: document(t, "s3", bucketPolicy(name, path))}
	}
	r.buckets["bare"] = blob.Bucket{Name: "bare", Account: awsapitest.Account, Region: awsapitest.Region}
	pays := r.buckets[bucketName]
	pays.RequesterPays = true
	r.buckets["pays"] = pays
	r.keyDoc, r.topic = document(t, "kms", keyPolicy), document(t, "sns", topicPolicy)
	position := func(context.Context) (uint64, error) { return uint64(len(r.Book.Records())), nil }
	org := trail.Organization{ID: orgID, Management: awsapitest.Account, Accounts: []string{awsapitest.Account, awsapitest.Member}}
	r.book, err = trail.Open(t.Context(), t.TempDir(), trail.Options{Account: awsapitest.Account, Region: awsapitest.Region, Organization: org, Position: func(ctx context.Context) (uint64, error) { return position(ctx) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.book.Close(), l.Close()); err != nil {
			t.Error(err)
		}
	})
	var access *caller.Access
	r.Rig = awsapitest.New(t, func(i *iam.Service, _ *slog.Logger) []*awsapi.Service {
		access = &caller.Access{IAM: i}
		o := cloudtrail.Options{
			Lake: l, Trails: r.book, Buckets: r.parts, Keys: r.parts, Topics: topics{r.parts}, Deliveries: r.parts, PublicKeys: r.parts, Access: access,
		}
		for _, f := range change {
			f(&o)
		}
		if o.External != nil {
			o.External = r.parts
		}
		return []*awsapi.Service{
			cloudtrail.New(o), cloudtraildata.New(cloudtraildata.Options{Lake: l, Access: access, Policies: r.book}), sts.New(sts.Options{Access: i}),
			organizations.New(organizations.Options{
				ID: orgID, RootID: "r-exampl", Management: awsapitest.Account,
				Accounts: []organizations.Account{{ID: awsapitest.Account, Parent: "r-exampl"}, {ID: awsapitest.Member, Name: "shop", Parent: "r-exampl"}},
				Delegates: func() (out []organizations.Delegate) {
					for _, d := range r.book.Delegates() {
						out = append(out, organizations.Delegate(d))
					}
					return out
				},
			}),
		}
	}, func(o *awsapi.Options) { o.Regions = []string{"*"} })
	return r
}

// in is a client in a Region.
func (r trailRig) in(k awsapitest.Key, region string) *client.Client {
	return client.NewFromConfig(r.Config(k), func(o *client.Options) { o.Region = region })
}

// member is a key of a role in the other account.
func (r trailRig) member(t *testing.T, k awsapitest.Key, role iam.Role) awsapitest.Key {
	t.Helper()
	trust, err := iam.TrustOf("arn:aws:iam::" + awsapitest.Account + ":user/ann")
	if err != nil {
		t.Fatal(err)
	}
	a, err := r.Access.CreateAssumable(iam.AssumableSpec{Name: "far-" + string(role), Account: awsapitest.Member, Roles: []iam.Role{role}, Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	out, err := stsclient.NewFromConfig(r.Config(k)).AssumeRole(t.Context(), &stsclient.AssumeRoleInput{RoleArn: aws.String(a.ARN()), RoleSessionName: aws.String("work")})
	if err != nil {
		t.Fatal(err)
	}
	return awsapitest.Key{ID: *out.Credentials.AccessKeyId, Secret: *out.Credentials.SecretAccessKey, Token: *out.Credentials.SessionToken}
}

func errOf[T any](_ T, err error) error { return err }

// want looks at the code of an error, and that it says something.
func want(t *testing.T, err error, code string, says ...string) {
	t.Helper()
	got, message := awsapitest.Code(err)
	if got != code || code != "" && message == "" {
		t.Errorf("%s: %s; want %s", got, message, code)
	}
	for _, s := range says {
		if !strings.Contains(message, s) {
			t.Errorf("%s: %s; want %s", got, message, s)
		}
	}
}

// TestTrailFlow is the whole way of a trail with AWS's own client.
func TestTrailFlow(t *testing.T) {
	t.Parallel()
	r, ctx := newTrailRig(t), t.Context()
	key := r.User(t, "ann", iam.RoleAdmin)
	c, there := r.in(key, awsapitest.Region), r.in(key, "us-east-1")
	made, err := c.CreateTrail(ctx, &client.CreateTrailInput{
		Name: aws.String("audit"), S3BucketName: aws.String("prefixed"), S3KeyPrefix: aws.String("p"), SnsTopicName: aws.String("notices"), IsMultiRegionTrail: aws.Bool(true),
		EnableLogFileValidation: aws.Bool(true), KmsKeyId: aws.String("alias/trail"), TagsList: []types.Tag{{Key: aws.String("team"), Value: aws.String("x")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit"
	if *made.TrailARN != arn || *made.Name != "audit" || *made.S3BucketName != "prefixed" || *made.S3KeyPrefix != "p" || *made.SnsTopicARN != topicARN ||
		*made.KmsKeyId != keyARN || !*made.LogFileValidationEnabled || !*made.IncludeGlobalServiceEvents || !*made.IsMultiRegionTrail || *made.IsOrganizationTrail || made.CloudWatchLogsLogGroupArn != nil {
		t.Errorf("%+v", made)
	}
	if len(r.made) != 1 || r.made[0]["aws:cloudtrail:arn"] != arn || r.made[0]["aws:s3:arn"] != "arn:aws:s3:::prefixed/p/AWSLogs/111122223333/" {
		t.Errorf("%v", r.made)
	}
	rec := r.Book.Last(t)
	if rec["eventName"] != "CreateTrail" || rec["readOnly"] != false || fmt.Sprint(rec["resources"]) != "[map[ARN:"+arn+" accountId:111122223333 type:AWS::CloudTrail::Trail]]" ||
		rec["requestParameters"].(map[string]any)["s3BucketName"] != "prefixed" || rec["responseElements"].(map[string]any)["trailARN"] != arn {
		t.Errorf("%v", rec)
	}
	got, err := c.GetTrail(ctx, &client.GetTrailInput{Name: aws.String("audit")})
	if err != nil || *got.Trail.HomeRegion != awsapitest.Region || *got.Trail.HasCustomEventSelectors || *got.Trail.HasInsightSelectors || *got.Trail.KmsKeyId != keyARN {
		t.Errorf("%+v %v", got, err)
	}
	// It does not log before it is told to, and the epoch of that begins with the record of the call.
	logging := func(want bool) *client.GetTrailStatusOutput {
		t.Helper()
		s, err := c.GetTrailStatus(ctx, &client.GetTrailStatusInput{Name: aws.String("audit")})
		if err != nil || *s.IsLogging != want {
			t.Fatalf("%+v %v", s, err)
		}
		return s
	}
	if s := logging(false); s.StartLoggingTime != nil || *s.TimeLoggingStarted != "" || *s.LatestDeliveryAttemptTime != "" || s.LatestDeliveryTime != nil {
		t.Errorf("%+v", s)
	}
	for range 2 {
		want(t, errOf(c.StartLogging(ctx, &client.StartLoggingInput{Name: &arn})), "")
	}
	started := len(r.Book.Records()) - 1 // the second one changed nothing
	if ts, _ := r.book.Deliverable(); len(ts) != 1 || len(ts[0].Epochs) != 2 || ts[0].Epochs[1].After != uint64(started) || !ts[0].Epochs[1].Settings.Logging {
		t.Errorf("%d: %+v", started, ts)
	}
	at := time.Date(2026, 1, 10, 9, 15, 31, 0, time.UTC)
	r.status = trail.Status{
		LatestDelivery: at, LatestDeliveryAttempt: at, LatestDeliveryAttemptSucceeded: at, LatestDeliveryError: "NoSuchBucket", LatestNotification: at, LatestNotificationAttempt: at,
		LatestNotificationError: "x", LatestDigestDelivery: at, LatestDigestDeliveryError: "AccessDenied",
	}
	s := logging(true)
	if !s.LatestDeliveryTime.Equal(at) || *s.LatestDeliveryAttemptTime != "2026-01-10T09:15:31Z" || *s.LatestDeliveryAttemptSucceeded != "2026-01-10T09:15:31Z" || *s.LatestDeliveryError != "NoSuchBucket" ||
		!s.LatestNotificationTime.Equal(at) || *s.LatestNotificationAttemptSucceeded != "" || *s.LatestNotificationAttemptTime == "" || *s.LatestNotificationError != "x" || !s.LatestDigestDeliveryTime.Equal(at) ||
		*s.LatestDigestDeliveryError != "AccessDenied" || s.StartLoggingTime == nil || *s.TimeLoggingStarted != s.StartLoggingTime.Format(time.RFC3339) || s.StopLoggingTime != nil || *s.TimeLoggingStopped != "" {
		t.Errorf("%+v", s)
	}
	// A shadow trail has a status of its own, by its ARN, and is changed at home alone.
	if _, err := there.GetTrailStatus(ctx, &client.GetTrailStatusInput{Name: &arn}); err != nil || r.asked != arn+" us-east-1" {
		t.Error(r.asked, err)
	}
	want(t, errOf(there.GetTrailStatus(ctx, &client.GetTrailStatusInput{Name: aws.String("audit")})), "TrailNotFoundException", "Unknown trail: audit for the user: 111122223333")
	want(t, errOf(there.StopLogging(ctx, &client.StopLoggingInput{Name: aws.String("audit")})), "InvalidHomeRegionException", "eu-west-1")
	want(t, errOf(there.DeleteTrail(ctx, &client.DeleteTrailInput{Name: &arn})), "InvalidHomeRegionException")
	for shadows, n := range map[bool]int{true: 1, false: 0} {
		d, err := there.DescribeTrails(ctx, &client.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(shadows)})
		if err != nil || len(d.TrailList) != n {
			t.Errorf("%t: %+v %v", shadows, d, err)
		}
	}
	if d, err := there.DescribeTrails(ctx, &client.DescribeTrailsInput{TrailNameList: []string{"audit", "none"}}); err != nil || len(d.TrailList) != 0 {
		t.Errorf("%+v %v", d, err)
	}
	if d, err := there.DescribeTrails(ctx, &client.DescribeTrailsInput{TrailNameList: []string{arn}}); err != nil || len(d.TrailList) != 1 {
		t.Errorf("%+v %v", d, err)
	}
	if l, err := there.ListTrails(ctx, &client.ListTrailsInput{}); err != nil || len(l.Trails) != 1 || *l.Trails[0].HomeRegion != awsapitest.Region || *l.Trails[0].TrailARN != arn || l.NextToken != nil {
		t.Errorf("%+v %v", l, err)
	}

	// Given members change, and empty texts clear.
	u, err := c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(bucketName), S3KeyPrefix: aws.String(""), SnsTopicName: aws.String("")})
	if err != nil || *u.S3BucketName != bucketName || u.S3KeyPrefix != nil || u.SnsTopicARN != nil || *u.KmsKeyId != keyARN || !*u.LogFileValidationEnabled {
		t.Errorf("%+v %v", u, err)
	}
	if u, err = c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: &arn, KmsKeyId: aws.String(""), EnableLogFileValidation: aws.Bool(false), IsMultiRegionTrail: aws.Bool(false)}); err != nil ||
		u.KmsKeyId != nil || *u.LogFileValidationEnabled || *u.IncludeGlobalServiceEvents {
		t.Errorf("%+v %v", u, err)
	}

	// Selectors.
	g, err := c.GetEventSelectors(ctx, &client.GetEventSelectorsInput{TrailName: aws.String("audit")})
	if err != nil || len(g.EventSelectors) != 1 || g.EventSelectors[0].ReadWriteType != "All" || !*g.EventSelectors[0].IncludeManagementEvents || g.AdvancedEventSelectors != nil ||
		g.EventSelectors[0].DataResources == nil || g.EventSelectors[0].ExcludeManagementEventSources == nil {
		t.Errorf("%+v %v", g, err)
	}
	p, err := c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: aws.String("audit"), EventSelectors: []types.EventSelector{{
		ReadWriteType: "WriteOnly", DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3:::b/p"}}}, ExcludeManagementEventSources: []string{"kms.amazonaws.com"},
	}}})
	if err != nil || *p.TrailARN != arn || len(p.EventSelectors) != 1 || p.AdvancedEventSelectors != nil || p.EventSelectors[0].DataResources[0].Values[0] != "arn:aws:s3:::b/p" ||
		!*p.EventSelectors[0].IncludeManagementEvents || p.EventSelectors[0].ExcludeManagementEventSources[0] != "kms.amazonaws.com" {
		t.Errorf("%+v %v", p, err)
	}
	if got, err = c.GetTrail(ctx, &client.GetTrailInput{Name: &arn}); err != nil || !*got.Trail.HasCustomEventSelectors {
		t.Errorf("%+v %v", got, err)
	}

	// Insights and aggregation are kept.
	want(t, errOf(c.GetInsightSelectors(ctx, &client.GetInsightSelectorsInput{TrailName: aws.String("audit")})), "InsightNotEnabledException", "Trail "+arn+" does not have Insights enabled.")
	in, err := c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{TrailName: aws.String("audit"), InsightSelectors: []types.InsightSelector{
		{InsightType: "ApiCallRateInsight"}, {InsightType: "ApiErrorRateInsight", EventCategories: []types.SourceEventCategory{"Management", "Data"}},
	}})
	if err != nil || *in.TrailARN != arn || len(in.InsightSelectors) != 2 || len(in.InsightSelectors[1].EventCategories) != 2 {
		t.Errorf("%+v %v", in, err)
	}
	if out, err := c.GetInsightSelectors(ctx, &client.GetInsightSelectorsInput{TrailName: &arn}); err != nil || len(out.InsightSelectors) != 2 {
		t.Errorf("%+v %v", out, err)
	}
	if got, err = c.GetTrail(ctx, &client.GetTrailInput{Name: &arn}); err != nil || !*got.Trail.HasInsightSelectors {
		t.Errorf("%+v %v", got, err)
	}
	ev, err := c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{TrailName: &arn, AggregationConfigurations: []types.AggregationConfiguration{{EventCategory: "Data", Templates: []types.Template{"API_ACTIVITY"}}}})
	if err != nil || *ev.TrailARN != arn || len(ev.AggregationConfigurations) != 1 {
		t.Errorf("%+v %v", ev, err)
	}
	if rec := r.Book.Last(t); rec["additionalEventData"].(map[string]any)["aggregation"] == nil {
		t.Errorf("%v", rec)
	}
	if ev, err := c.GetEventConfiguration(ctx, &client.GetEventConfigurationInput{TrailName: aws.String("audit")}); err != nil || ev.AggregationConfigurations[0].Templates[0] != "API_ACTIVITY" || ev.MaxEventSize != "" {
		t.Errorf("%+v %v", ev, err)
	}
	want(t, errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{TrailName: &arn, InsightSelectors: []types.InsightSelector{}})), "")

	// Tags, beside those of the lake.
	want(t, errOf(c.AddTags(ctx, &client.AddTagsInput{ResourceId: &arn, TagsList: []types.Tag{{Key: aws.String("b")}}})), "")
	if rec := r.Book.Last(t); !strings.Contains(fmt.Sprint(rec["resources"]), "AWS::CloudTrail::Trail") {
		t.Errorf("%v", rec)
	}
	want(t, errOf(c.RemoveTags(ctx, &client.RemoveTagsInput{ResourceId: &arn, TagsList: []types.Tag{{Key: aws.String("team")}}})), "")
	tags, err := c.ListTags(ctx, &client.ListTagsInput{ResourceIdList: []string{arn}})
	if err != nil || len(tags.ResourceTagList[0].TagsList) != 1 || *tags.ResourceTagList[0].TagsList[0].Key != "b" {
		t.Errorf("%+v %v", tags, err)
	}

	want(t, errOf(c.StopLogging(ctx, &client.StopLoggingInput{Name: aws.String("audit")})), "")
	if s := logging(false); s.StopLoggingTime == nil || *s.TimeLoggingStopped == "" {
		t.Errorf("%+v", s)
	}
	want(t, errOf(c.DeleteTrail(ctx, &client.DeleteTrailInput{Name: aws.String("audit")})), "")
	want(t, errOf(c.GetTrail(ctx, &client.GetTrailInput{Name: &arn})), "TrailNotFoundException", "Unknown trail: "+arn+" for the user: 111122223333")
	if ts, _ := r.book.Deliverable(); len(ts) != 1 || !ts[0].Deleted || ts[0].Epochs[len(ts[0].Epochs)-1].After < uint64(len(r.Book.Records())-1) {
		t.Errorf("%+v", ts)
	}
}

// TestTrailRefusals: what is refused, with AWS's exceptions and texts.
func TestTrailRefusals(t *testing.T) {
	t.Parallel()
	r, ctx := newTrailRig(t), t.Context()
	key := r.User(t, "ann", iam.RoleAdmin)
	c := r.in(key, awsapitest.Region)
	create := func(f func(*client.CreateTrailInput)) error {
		in := &client.CreateTrailInput{Name: aws.String("audit"), S3BucketName: aws.String(bucketName)}
		f(in)
		_, err := c.CreateTrail(ctx, in)
		return err
	}
	group, role := "arn:aws:logs:eu-west-1:111122223333:log-group:x:*", "arn:aws:iam::111122223333:role/x"
	for _, x := range []struct {
		f    func(*client.CreateTrailInput)
		code string
		says string
	}{
		{func(in *client.CreateTrailInput) { in.Name = aws.String("a") }, "InvalidTrailNameException", "Trail name too short. Minimum allowed length: 3 characters. Specified name length: 1 characters."},
		{func(in *client.CreateTrailInput) { in.S3BucketName = aws.String("none-such") }, "S3BucketDoesNotExistException", "S3 bucket none-such does not exist!"},
		{func(in *client.CreateTrailInput) { in.S3BucketName = aws.String("Bad_Name") }, "InvalidS3BucketNameException", ""},
		{func(in *client.CreateTrailInput) { in.S3BucketName = aws.String("bare") }, "InsufficientS3BucketPolicyException", "Incorrect S3 bucket policy is detected for bucket: bare"},
		{func(in *client.CreateTrailInput) { in.S3BucketName = aws.String("elsewhere") }, "InsufficientS3BucketPolicyException", ""},
		{func(in *client.CreateTrailInput) { in.S3BucketName = aws.String("prefixed") }, "InsufficientS3BucketPolicyException", ""},
		{func(in *client.CreateTrailInput) { in.S3BucketName = aws.String("pays") }, "InsufficientS3BucketPolicyException", ""},
		{func(in *client.CreateTrailInput) { in.S3KeyPrefix = aws.String("p") }, "InsufficientS3BucketPolicyException", ""},
		{func(in *client.CreateTrailInput) { in.S3KeyPrefix = aws.String(strings.Repeat("x", 201)) }, "InvalidS3PrefixException", ""},
		{func(in *client.CreateTrailInput) { in.SnsTopicName = aws.String("none") }, "InsufficientSnsTopicPolicyException", "SNS Topic does not exist or the topic policy is incorrect!"},
		{func(in *client.CreateTrailInput) { in.SnsTopicName = aws.String("a b") }, "InvalidSnsTopicNameException", ""},
		{func(in *client.CreateTrailInput) { in.SnsTopicName = aws.String(strings.Repeat("x", 257)) }, "InvalidSnsTopicNameException", ""},
		{func(in *client.CreateTrailInput) { in.KmsKeyId = aws.String("a b") }, "InvalidKmsKeyIdException", ""},
		{func(in *client.CreateTrailInput) { in.KmsKeyId = aws.String("alias/none") }, "KmsKeyNotFoundException", ""},
		{func(in *client.CreateTrailInput) {
			in.KmsKeyId = aws.String(strings.Replace(keyARN, "eu-west-1", "us-east-1", 1))
		}, "KmsKeyNotFoundException", "same Region"},
		{func(in *client.CreateTrailInput) {
			in.IsMultiRegionTrail, in.IncludeGlobalServiceEvents = aws.Bool(true), aws.Bool(false)
		}, "InvalidParameterCombinationException", "Multi-Region trail must include global service events."},
		{func(in *client.CreateTrailInput) { in.CloudWatchLogsLogGroupArn = &group }, "InvalidParameterCombinationException", ""},
		{func(in *client.CreateTrailInput) { in.CloudWatchLogsRoleArn = &role }, "InvalidParameterCombinationException", ""},
		{func(in *client.CreateTrailInput) {
			in.CloudWatchLogsLogGroupArn, in.CloudWatchLogsRoleArn = &role, &role
		}, "InvalidCloudWatchLogsLogGroupArnException", ""},
		{func(in *client.CreateTrailInput) {
			in.CloudWatchLogsLogGroupArn, in.CloudWatchLogsRoleArn = &group, &group
		}, "InvalidCloudWatchLogsRoleArnException", ""},
		{func(in *client.CreateTrailInput) {
			in.CloudWatchLogsLogGroupArn, in.CloudWatchLogsRoleArn = &group, &role
		}, "CloudWatchLogsDeliveryUnavailableException", ""},
		{func(in *client.CreateTrailInput) { in.TagsList = []types.Tag{{Key: aws.String("")}} }, "InvalidTagParameterException", ""},
		{func(in *client.CreateTrailInput) { in.TagsList = []types.Tag{{Key: aws.String("aws:x")}} }, "InvalidTagParameterException", ""},
	} {
		err := create(x.f)
		want(t, err, x.code, x.says)
	}
	if all := r.book.All(awsapitest.Account); len(all) != 0 {
		t.Fatalf("%+v", all)
	}
	withKey := func(in *client.CreateTrailInput) { in.KmsKeyId = aws.String(keyID) }
	for err, code := range map[error]string{keyring.ErrDisabled: "KmsKeyDisabledException", keyring.ErrPending: "KmsException", keyring.ErrNotFound: "KmsKeyNotFoundException", keyring.ErrDenied: "InsufficientEncryptionPolicyException"} {
		r.keyErr = err
		want(t, create(withKey), code)
	}
	r.keyErr = nil
	r.keyDoc = document(t, "kms", strings.Replace(keyPolicy, ":trail/*", ":trail/other", 1))
	want(t, create(withKey), "InsufficientEncryptionPolicyException", bucketName)
	r.topic = document(t, "sns", strings.Replace(topicPolicy, `:"111122223333"`, `:"444455556666"`, 1))
	want(t, create(func(in *client.CreateTrailInput) { in.SnsTopicName = aws.String("notices") }), "InsufficientSnsTopicPolicyException")
	want(t, create(func(*client.CreateTrailInput) {}), "")
	want(t, create(func(*client.CreateTrailInput) {}), "TrailAlreadyExistsException", "Trail audit already exists for customer: 111122223333")
	for i := range 4 {
		want(t, create(func(in *client.CreateTrailInput) { in.Name = aws.String(fmt.Sprint("more-", i)) }), "")
	}
	want(t, create(func(in *client.CreateTrailInput) { in.Name = aws.String("more-4") }), "MaximumNumberOfTrailsExceededException", "User: 111122223333 already has 5 trails in eu-west-1.")

	name := aws.String("audit")
	var sixTypes []types.EventSelector
	for range 6 {
		sixTypes = append(sixTypes, types.EventSelector{ReadWriteType: "All"})
	}
	advanced := []types.AdvancedEventSelector{{FieldSelectors: []types.AdvancedFieldSelector{{Field: aws.String("eventCategory"), Equals: []string{"Management"}}}}}
	insight := func(k types.InsightType, cs ...types.SourceEventCategory) []types.InsightSelector {
		return []types.InsightSelector{{InsightType: k, EventCategories: cs}}
	}
	store, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: aws.String("plain"), TerminationProtectionEnabled: aws.Bool(false)})
	if err != nil {
		t.Fatal(err)
	}
	outside, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: aws.String("outside"), AdvancedEventSelectors: outsideSelectors()})
	if err != nil {
		t.Fatal(err)
	}
	eds := store.EventDataStoreArn
	stores, err := c.ListEventDataStores(ctx, &client.ListEventDataStoresInput{})
	if err != nil {
		t.Fatal(err)
	}
	builtIn := stores.EventDataStores[0].EventDataStoreArn
	trailARN := aws.String("arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit")
	contexts := []types.ContextKeySelector{{Type: "TagContext", Equals: []string{"team"}}}
	for i, x := range []struct {
		err  error
		code string
	}{
		{errOf(c.GetTrail(ctx, &client.GetTrailInput{Name: aws.String("arn:x")})), "CloudTrailARNInvalidException"},
		{errOf(c.GetTrail(ctx, &client.GetTrailInput{Name: aws.String("none")})), "TrailNotFoundException"},
		{errOf(c.DescribeTrails(ctx, &client.DescribeTrailsInput{TrailNameList: []string{"arn:x"}})), "CloudTrailARNInvalidException"},
		{errOf(c.ListTrails(ctx, &client.ListTrailsInput{NextToken: aws.String("x")})), "ValidationException"},
		{errOf(c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: name, S3BucketName: aws.String("none-such")})), "S3BucketDoesNotExistException"},
		{errOf(c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: name, S3KeyPrefix: aws.String("p")})), "InsufficientS3BucketPolicyException"},
		{errOf(c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: name, KmsKeyId: aws.String("alias/none")})), "KmsKeyNotFoundException"},
		{errOf(c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: name, SnsTopicName: aws.String("none")})), "InsufficientSnsTopicPolicyException"},
		{errOf(c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: name, CloudWatchLogsLogGroupArn: &group, CloudWatchLogsRoleArn: &role})), "CloudWatchLogsDeliveryUnavailableException"},
		{errOf(c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: name, CloudWatchLogsLogGroupArn: aws.String(""), CloudWatchLogsRoleArn: aws.String("")})), ""},
		{errOf(c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: name})), "InvalidEventSelectorsException"},
		{errOf(c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: name, EventSelectors: sixTypes})), "InvalidEventSelectorsException"},
		{errOf(c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: name, EventSelectors: sixTypes[:1], AdvancedEventSelectors: advanced})), "InvalidEventSelectorsException"},
		{errOf(c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: name, EventSelectors: []types.EventSelector{{ReadWriteType: "Some"}}})), "InvalidEventSelectorsException"},
		{errOf(c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: aws.String("none"), EventSelectors: sixTypes[:1]})), "TrailNotFoundException"},
		{errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{InsightSelectors: insight("ApiCallRateInsight")})), "InvalidParameterException"},
		{errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{TrailName: name, EventDataStore: eds, InsightSelectors: insight("ApiCallRateInsight")})), "InvalidParameterCombinationException"},
		{errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{TrailName: name, InsightsDestination: eds, InsightSelectors: insight("ApiCallRateInsight")})), "InvalidParameterCombinationException"},
		{errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{TrailName: name, InsightSelectors: insight("ApiCallRateInsight", "Data")})), "InvalidInsightSelectorsException"},
		{errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{TrailName: name, InsightSelectors: insight("Other")})), "InvalidInsightSelectorsException"},
		{errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{EventDataStore: eds, InsightSelectors: insight("ApiCallRateInsight")})), "InvalidParameterException"},
		{errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{EventDataStore: eds, InsightsDestination: outside.EventDataStoreArn, InsightSelectors: insight("ApiCallRateInsight")})), "InvalidParameterException"},
		{errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{EventDataStore: builtIn, InsightSelectors: insight("ApiCallRateInsight")})), "OperationNotPermittedException"},
		{errOf(c.GetInsightSelectors(ctx, &client.GetInsightSelectorsInput{})), "InvalidParameterException"},
		{errOf(c.GetInsightSelectors(ctx, &client.GetInsightSelectorsInput{EventDataStore: eds})), "InsightNotEnabledException"},
		{errOf(c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{})), "InvalidParameterException"},
		{errOf(c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{TrailName: name, MaxEventSize: "Large"})), "InvalidParameterCombinationException"},
		{errOf(c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{TrailName: name, AggregationConfigurations: []types.AggregationConfiguration{{EventCategory: "Data", Templates: []types.Template{"API_ACTIVITY"}}}})), "InvalidParameterCombinationException"},
		{errOf(c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{EventDataStore: eds, ContextKeySelectors: contexts})), "InvalidParameterCombinationException"},
		{errOf(c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{EventDataStore: outside.EventDataStoreArn, MaxEventSize: "Large"})), "InvalidEventDataStoreCategoryException"},
		{errOf(c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{EventDataStore: eds, MaxEventSize: "Large", ContextKeySelectors: contexts})), ""},
		{errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: trailARN, ResourcePolicy: aws.String("{}")})), "ResourceTypeNotSupportedException"},
		{errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: aws.String("nothing"), ResourcePolicy: aws.String("{}")})), "ResourceARNNotValidException"},
		{errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: eds, ResourcePolicy: aws.String("{}")})), "ResourcePolicyNotValidException"},
		{errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: eds, ResourcePolicy: aws.String(strings.Repeat(" ", 8193))})), "ResourcePolicyNotValidException"},
		{errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: builtIn, ResourcePolicy: aws.String("{}")})), "OperationNotPermittedException"},
		{errOf(c.GetResourcePolicy(ctx, &client.GetResourcePolicyInput{ResourceArn: eds})), "ResourcePolicyNotFoundException"},
		{errOf(c.DeleteResourcePolicy(ctx, &client.DeleteResourcePolicyInput{ResourceArn: eds})), "ResourcePolicyNotFoundException"},
		{errOf(c.GetResourcePolicy(ctx, &client.GetResourcePolicyInput{ResourceArn: aws.String((*eds)[:len(*eds)-12] + "000000000000")})), "ResourceNotFoundException"},
		{errOf(c.RegisterOrganizationDelegatedAdmin(ctx, &client.RegisterOrganizationDelegatedAdminInput{MemberAccountId: aws.String(awsapitest.Account)})), "CannotDelegateManagementAccountException"},
		{errOf(c.RegisterOrganizationDelegatedAdmin(ctx, &client.RegisterOrganizationDelegatedAdminInput{MemberAccountId: aws.String("x")})), "InvalidParameterException"},
		{errOf(c.AddTags(ctx, &client.AddTagsInput{ResourceId: aws.String(*trailARN + "-none"), TagsList: []types.Tag{{Key: aws.String("a")}}})), "ResourceNotFoundException"},
		{errOf(c.ListTags(ctx, &client.ListTagsInput{ResourceIdList: []string{*trailARN + "..x"}})), "CloudTrailARNInvalidException"},
		{errOf(c.ListPublicKeys(ctx, &client.ListPublicKeysInput{StartTime: aws.Time(time.Unix(20, 0)), EndTime: aws.Time(time.Unix(10, 0))})), "InvalidTimeRangeException"},
		{errOf(c.ListPublicKeys(ctx, &client.ListPublicKeysInput{NextToken: aws.String("x")})), "InvalidTokenException"},
	} {
		if code, message := awsapitest.Code(x.err); code != x.code || code != "" && message == "" {
			t.Errorf("case %d: %s: %s; want %s", i, code, message, x.code)
		}
	}
	keys, err := c.ListPublicKeys(ctx, &client.ListPublicKeysInput{StartTime: aws.Time(time.Unix(10, 0)), EndTime: aws.Time(time.Unix(20, 0))})
	if err != nil || len(keys.PublicKeyList) != 1 || string(keys.PublicKeyList[0].Value) != awsapitest.Region || !keys.PublicKeyList[0].ValidityEndTime.Equal(time.Unix(20, 0)) {
		t.Errorf("%+v %v", keys, err)
	}
	if got, err := c.GetEventConfiguration(ctx, &client.GetEventConfigurationInput{EventDataStore: eds}); err != nil || got.MaxEventSize != "Large" || got.ContextKeySelectors[0].Equals[0] != "team" {
		t.Errorf("%+v %v", got, err)
	}
	// Roles: an auditor sees trails and changes none; a recorder does neither.
	for role, may := range map[iam.Role]bool{iam.RoleAuditor: true, iam.RoleRecorder: false} {
		c := r.in(r.User(t, string(role), role), awsapitest.Region)
		for operation, x := range map[string]struct {
			err error
			may bool
		}{
			"get": {errOf(c.GetTrail(ctx, &client.GetTrailInput{Name: name})), may}, "describe": {errOf(c.DescribeTrails(ctx, &client.DescribeTrailsInput{})), may},
			"stop": {errOf(c.StopLogging(ctx, &client.StopLoggingInput{Name: name})), false},
		} {
			if code, _ := awsapitest.Code(x.err); (code == "") != x.may || code != "" && code != "AccessDeniedException" {
				t.Errorf("%s %s: %v", role, operation, x.err)
			}
		}
	}
}

// TestExternalBuckets: of buckets that somebody else runs it is known whether they can be reached.
func TestExternalBuckets(t *testing.T) {
	t.Parallel()
	r, ctx := newTrailRig(t, func(o *cloudtrail.Options) { o.External, o.Buckets = &parts{}, nil }), t.Context()
	c := r.in(r.User(t, "ann", iam.RoleAdmin), awsapitest.Region)
	create := func(name string) error {
		return errOf(c.CreateTrail(ctx, &client.CreateTrailInput{Name: &name, S3BucketName: aws.String("far-away")}))
	}
	for err, code := range map[error]string{nil: "", blob.ErrNoBucket: "S3BucketDoesNotExistException", blob.ErrDenied: "InsufficientS3BucketPolicyException", errors.New("x"): "InternalFailure"} {
		r.reach = err
		want(t, create("trail-"+strings.ToLower(code[:min(5, len(code))])+"x"), code)
	}
}

// TestOrganizationTrails: management account, member and delegated administrator.
func TestOrganizationTrails(t *testing.T) {
	t.Parallel()
	r, ctx := newTrailRig(t), t.Context()
	key := r.User(t, "ann", iam.RoleAdmin)
	c, m := r.in(key, awsapitest.Region), r.in(r.member(t, key, iam.RoleAdmin), awsapitest.Region)
	in := func(name string) *client.CreateTrailInput {
		return &client.CreateTrailInput{Name: &name, S3BucketName: aws.String(bucketName), IsOrganizationTrail: aws.Bool(true), IsMultiRegionTrail: aws.Bool(true)}
	}
	// The policy of the bucket has to let the folder of the organisation.
	b := r.buckets[bucketName]
	b.Policy = document(t, "s3", bucketPolicy(bucketName, "AWSLogs/111122223333/*"))
	r.mu.Lock()
	good := r.buckets[bucketName]
	r.buckets[bucketName] = b
	r.mu.Unlock()
	want(t, errOf(c.CreateTrail(ctx, in("all"))), "InsufficientS3BucketPolicyException")
	r.mu.Lock()
	r.buckets[bucketName] = good
	r.mu.Unlock()
	made, err := c.CreateTrail(ctx, in("all"))
	if err != nil || !*made.IsOrganizationTrail {
		t.Fatalf("%+v %v", made, err)
	}
	want(t, errOf(m.CreateTrail(ctx, in("theirs"))), "NotOrganizationMasterAccountException")
	if d, err := m.DescribeTrails(ctx, &client.DescribeTrailsInput{}); err != nil || len(d.TrailList) != 1 || *d.TrailList[0].TrailARN != *made.TrailARN {
		t.Errorf("%+v %v", d, err)
	}
	if d, err := m.DescribeTrails(ctx, &client.DescribeTrailsInput{IncludeShadowTrails: aws.Bool(false)}); err != nil || len(d.TrailList) != 0 {
		t.Errorf("%+v %v", d, err)
	}
	want(t, errOf(m.GetTrailStatus(ctx, &client.GetTrailStatusInput{Name: made.TrailARN})), "")
	want(t, errOf(m.GetEventSelectors(ctx, &client.GetEventSelectorsInput{TrailName: made.TrailARN})), "")
	want(t, errOf(m.StopLogging(ctx, &client.StopLoggingInput{Name: made.TrailARN})), "NotOrganizationMasterAccountException")
	want(t, errOf(m.DeleteTrail(ctx, &client.DeleteTrailInput{Name: made.TrailARN})), "NotOrganizationMasterAccountException")
	member := aws.String(awsapitest.Member)
	want(t, errOf(m.RegisterOrganizationDelegatedAdmin(ctx, &client.RegisterOrganizationDelegatedAdminInput{MemberAccountId: member})), "NotOrganizationManagementAccountException")
	want(t, errOf(c.RegisterOrganizationDelegatedAdmin(ctx, &client.RegisterOrganizationDelegatedAdminInput{MemberAccountId: member})), "")
	org := orgclient.NewFromConfig(r.Config(key))
	if d, err := org.ListDelegatedAdministrators(ctx, &orgclient.ListDelegatedAdministratorsInput{}); err != nil || len(d.DelegatedAdministrators) != 1 || *d.DelegatedAdministrators[0].Id != awsapitest.Member {
		t.Errorf("%+v %v", d, err)
	}
	want(t, errOf(m.StartLogging(ctx, &client.StartLoggingInput{Name: made.TrailARN})), "")
	theirs, err := m.CreateTrail(ctx, in("theirs"))
	if err != nil || *theirs.TrailARN != "arn:aws:cloudtrail:eu-west-1:111122223333:trail/theirs" {
		t.Errorf("%+v %v", theirs, err)
	}
	want(t, errOf(c.DeregisterOrganizationDelegatedAdmin(ctx, &client.DeregisterOrganizationDelegatedAdminInput{DelegatedAdminAccountId: member})), "")
	want(t, errOf(m.StopLogging(ctx, &client.StopLoggingInput{Name: made.TrailARN})), "NotOrganizationMasterAccountException")
}

// TestResourcePolicies: the policy of a channel lets another account in, and denies its own.
func TestResourcePolicies(t *testing.T) {
	t.Parallel()
	r, ctx := newTrailRig(t), t.Context()
	key := r.User(t, "ann", iam.RoleAdmin)
	far := r.member(t, key, iam.RoleAdmin)
	c := r.in(key, awsapitest.Region)
	store, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: aws.String("outside"), AdvancedEventSelectors: outsideSelectors()})
	if err != nil {
		t.Fatal(err)
	}
	ch, err := c.CreateChannel(ctx, &client.CreateChannelInput{
		Name: aws.String("wiki"), Source: aws.String("Custom"), Destinations: []types.Destination{{Type: types.DestinationTypeEventDataStore, Location: store.EventDataStoreArn}},
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	put := func(k awsapitest.Key, arn string) error {
		t.Helper()
		n++
		data := fmt.Sprintf(`{"version":"1","userIdentity":{"type":"x","principalId":"y"},"eventSource":"wiki.example.com","eventName":"Edit","eventTime":"2026-01-10T09:00:00","UID":"%d","recipientAccountId":"111122223333"}`, n)
		body, err := json.Marshal(map[string]any{"auditEvents": []map[string]string{{"id": "a", "eventData": data}}})
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL+"/PutAuditEvents?"+url.Values{"channelArn": {arn}}.Encode(), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		hash := sha256.Sum256(body)
		if err := v4.NewSigner().SignHTTP(ctx, aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token}, req, hex.EncodeToString(hash[:]), "cloudtrail-data", awsapitest.Region, time.Now()); err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		var answer struct {
			Successful []any
			Failed     []any
			Message    string
		}
		if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != http.StatusOK {
			return &smithy.GenericAPIError{Code: res.Header.Get("X-Amzn-Errortype"), Message: answer.Message}
		}
		if len(answer.Successful) != 1 {
			t.Errorf("%+v", answer.Failed)
		}
		return nil
	}
	arn := *ch.ChannelArn
	want(t, put(key, arn), "")
	want(t, put(far, arn), "ChannelInsufficientPermission")
	text := func(effect, who string) *string {
		return aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"` + effect + `","Principal":{"AWS":"` + who + `"},"Action":"cloudtrail-data:PutAuditEvents","Resource":"` + arn + `"}]}`)
	}
	allow := text("Allow", awsapitest.Member)
	p, err := c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: &arn, ResourcePolicy: allow})
	if err != nil || *p.ResourceArn != arn || *p.ResourcePolicy != *allow {
		t.Fatalf("%+v %v", p, err)
	}
	if rec := r.Book.Last(t); !strings.Contains(fmt.Sprint(rec["resources"]), "AWS::CloudTrail::Channel") {
		t.Errorf("%v", rec)
	}
	if g, err := c.GetResourcePolicy(ctx, &client.GetResourcePolicyInput{ResourceArn: &arn}); err != nil || *g.ResourcePolicy != *allow {
		t.Errorf("%+v %v", g, err)
	}
	want(t, put(far, arn), "")
	if rec := r.Book.Last(t); fmt.Sprint(rec["resources"]) != "[map[ARN:"+arn+" accountId:111122223333 type:AWS::CloudTrail::Channel]]" || rec["recipientAccountId"] != awsapitest.Member {
		t.Errorf("%v", rec)
	}
	// Whose principals may not by their own policies, may not; in the own account a policy is enough.
	auditor := r.User(t, "bob", iam.RoleAuditor)
	want(t, put(auditor, arn), "AccessDeniedException")
	want(t, put(r.member(t, key, iam.RoleAuditor), arn), "ChannelInsufficientPermission")
	want(t, errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: &arn, ResourcePolicy: text("Allow", "arn:aws:iam::111122223333:user/bob")})), "")
	want(t, put(auditor, arn), "")
	want(t, put(far, arn), "ChannelInsufficientPermission")
	// A denial counts for all, however the id is written.
	want(t, errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: &arn, ResourcePolicy: text("Deny", "*")})), "")
	want(t, put(key, arn), "AccessDeniedException")
	at := strings.LastIndexByte(arn, '/')
	want(t, put(key, arn[:at]+strings.ToUpper(arn[at:])), "AccessDeniedException")
	want(t, errOf(c.DeleteResourcePolicy(ctx, &client.DeleteResourcePolicyInput{ResourceArn: &arn})), "")
	want(t, put(key, arn), "")
	// What is kept for a channel goes with it.
	want(t, errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: &arn, ResourcePolicy: allow})), "")
	want(t, errOf(c.DeleteChannel(ctx, &client.DeleteChannelInput{Channel: &arn})), "")
	if r.book.Policy(arn) != nil {
		t.Error("the policy is still there")
	}
}

// TestTrailsUnrecorded: what cannot be recorded fails, and leaves the state as it was.
func TestTrailsUnrecorded(t *testing.T) {
	t.Parallel()
	r, ctx := newTrailRig(t), t.Context()
	c := r.in(r.User(t, "ann", iam.RoleAdmin), awsapitest.Region)
	for _, name := range []string{"one", "two"} {
		want(t, errOf(c.CreateTrail(ctx, &client.CreateTrailInput{Name: &name, S3BucketName: aws.String(bucketName), TagsList: []types.Tag{{Key: aws.String("a")}}})), "")
	}
	one, two := aws.String("one"), aws.String("two")
	want(t, errOf(c.StartLogging(ctx, &client.StartLoggingInput{Name: two})), "")
	objects := []types.EventSelector{{DataResources: []types.DataResource{{Type: aws.String("AWS::S3::Object"), Values: []string{"arn:aws:s3"}}}}}
	want(t, errOf(c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: two, EventSelectors: objects})), "")
	store, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: aws.String("plain")})
	if err != nil {
		t.Fatal(err)
	}
	allow := aws.String(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"444455556666"},"Action":"cloudtrail:StartQuery","Resource":"` + *store.EventDataStoreArn + `"}]}`)
	want(t, errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: store.EventDataStoreArn, ResourcePolicy: allow})), "")
	arn := "arn:aws:cloudtrail:eu-west-1:111122223333:trail/one"
	state := func() string {
		ts, _ := r.book.Deliverable()
		text, _ := r.book.PolicyText(*store.EventDataStoreArn)
		b, err := json.Marshal([]any{r.book.All(awsapitest.Account), ts, r.book.Delegates(), r.book.StoreEvents(*store.EventDataStoreArn), text})
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := state()
	r.Book.Fail(errors.New("the disk is full"))
	k := []types.Tag{{Key: aws.String("a"), Value: aws.String("changed")}}
	for name, call := range map[string]func() error{
		"CreateTrail": func() error {
			return errOf(c.CreateTrail(ctx, &client.CreateTrailInput{Name: aws.String("new"), S3BucketName: aws.String(bucketName)}))
		},
		"UpdateTrail": func() error {
			return errOf(c.UpdateTrail(ctx, &client.UpdateTrailInput{Name: one, EnableLogFileValidation: aws.Bool(true)}))
		},
		"DeleteTrail":  func() error { return errOf(c.DeleteTrail(ctx, &client.DeleteTrailInput{Name: two})) },
		"StartLogging": func() error { return errOf(c.StartLogging(ctx, &client.StartLoggingInput{Name: one})) },
		"StopLogging":  func() error { return errOf(c.StopLogging(ctx, &client.StopLoggingInput{Name: two})) },
		"PutEventSelectors": func() error {
			return errOf(c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: one, EventSelectors: objects}))
		},
		"PutInsightSelectors": func() error {
			return errOf(c.PutInsightSelectors(ctx, &client.PutInsightSelectorsInput{TrailName: one, InsightSelectors: []types.InsightSelector{{InsightType: "ApiCallRateInsight"}}}))
		},
		"PutEventConfiguration": func() error {
			return errOf(c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{TrailName: two, AggregationConfigurations: []types.AggregationConfiguration{{EventCategory: "Data", Templates: []types.Template{"API_ACTIVITY"}}}}))
		},
		"PutEventConfiguration of a store": func() error {
			return errOf(c.PutEventConfiguration(ctx, &client.PutEventConfigurationInput{EventDataStore: store.EventDataStoreArn, MaxEventSize: "Large"}))
		},
		"AddTags":    func() error { return errOf(c.AddTags(ctx, &client.AddTagsInput{ResourceId: &arn, TagsList: k})) },
		"RemoveTags": func() error { return errOf(c.RemoveTags(ctx, &client.RemoveTagsInput{ResourceId: &arn, TagsList: k})) },
		"PutResourcePolicy": func() error {
			return errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: store.EventDataStoreArn, ResourcePolicy: aws.String(*allow + " ")}))
		},
		"DeleteResourcePolicy": func() error {
			return errOf(c.DeleteResourcePolicy(ctx, &client.DeleteResourcePolicyInput{ResourceArn: store.EventDataStoreArn}))
		},
		"RegisterOrganizationDelegatedAdmin": func() error {
			return errOf(c.RegisterOrganizationDelegatedAdmin(ctx, &client.RegisterOrganizationDelegatedAdminInput{MemberAccountId: aws.String(awsapitest.Member)}))
		},
		"GetTrail": func() error { return errOf(c.GetTrail(ctx, &client.GetTrailInput{Name: one})) },
	} {
		if code, _ := awsapitest.Code(call()); code != "InternalFailure" || state() != before {
			t.Errorf("%s: %s, and then\n%s\nwant\n%s", name, code, state(), before)
		}
	}
	r.Book.Fail(nil)
	want(t, errOf(c.StartLogging(ctx, &client.StartLoggingInput{Name: one})), "")
	if state() == before {
		t.Error("nothing changed")
	}
}

// TestTrailCLI is the way of a trail with the AWS CLI.
func TestTrailCLI(t *testing.T) {
	t.Parallel()
	r := newTrailRig(t)
	cli := r.CLI(t, r.User(t, "ann", iam.RoleAdmin))
	run := func(args ...string) (out map[string]any) {
		t.Helper()
		text, err := cli(append([]string{"cloudtrail"}, args...)...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", args, err, text)
		}
		if text != "" {
			if err := json.Unmarshal([]byte(text), &out); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, text)
			}
		}
		return out
	}
	made := run("create-trail", "--name", "audit", "--s3-bucket-name", bucketName, "--is-multi-region-trail", "--enable-log-file-validation")
	awsapitest.Equal(t, made, `{"Name":"audit","S3BucketName":"trail-logs","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":true,"TrailARN":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit",
		"LogFileValidationEnabled":true,"IsOrganizationTrail":false}`)
	run("update-trail", "--name", "audit", "--kms-key-id", keyID, "--sns-topic-name", "notices", "--is-organization-trail")
	run("start-logging", "--name", "audit")
	run("put-event-selectors", "--trail-name", "audit", "--event-selectors", `[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::b/"]},{"Type":"AWS::Lambda::Function","Values":["arn:aws:lambda"]}]}]`)
	run("put-insight-selectors", "--trail-name", "audit", "--insight-selectors", `[{"InsightType":"ApiCallRateInsight"},{"InsightType":"ApiErrorRateInsight"}]`)
	got := run("get-trail", "--name", "audit")
	awsapitest.Equal(t, got, `{"Trail":{"Name":"audit","S3BucketName":"trail-logs","IncludeGlobalServiceEvents":true,"IsMultiRegionTrail":true,"HomeRegion":"eu-west-1","SnsTopicName":"notices","SnsTopicARN":"`+topicARN+`",
		"TrailARN":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit","LogFileValidationEnabled":true,"KmsKeyId":"`+keyARN+`","HasCustomEventSelectors":true,"HasInsightSelectors":true,"IsOrganizationTrail":true}}`)
	if s := run("get-trail-status", "--name", "audit"); s["IsLogging"] != true || s["LatestDeliveryAttemptTime"] != "" || s["TimeLoggingStarted"] == "" {
		t.Errorf("%v", s)
	}
	awsapitest.Equal(t, run("get-event-selectors", "--trail-name", "audit"), `{"TrailARN":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit","EventSelectors":[{"ReadWriteType":"All","IncludeManagementEvents":true,
		"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::b/"]},{"Type":"AWS::Lambda::Function","Values":["arn:aws:lambda"]}],"ExcludeManagementEventSources":[]}]}`)
	if l := run("describe-trails"); len(l["trailList"].([]any)) != 1 {
		t.Errorf("%v", l)
	}
	if out, err := cli("cloudtrail", "create-trail", "--name", "audit", "--s3-bucket-name", "none-such"); err == nil || !strings.Contains(out, "An error occurred (TrailAlreadyExistsException) when calling the CreateTrail operation: Trail audit already exists for customer: 111122223333") {
		t.Errorf("%v %s", err, out)
	}
	run("stop-logging", "--name", "audit")
	run("delete-trail", "--name", "audit")
	names := []string{}
	for _, rec := range r.Book.Records() {
		var e struct{ EventName, UserAgent string }
		if err := json.Unmarshal([]byte(rec), &e); err != nil || !strings.HasPrefix(e.UserAgent, "aws-cli/") {
			t.Errorf("%v %s", err, rec)
		}
		names = append(names, e.EventName)
	}
	if want := "CreateTrail UpdateTrail StartLogging PutEventSelectors PutInsightSelectors GetTrail GetTrailStatus GetEventSelectors DescribeTrails CreateTrail StopLogging DeleteTrail"; strings.Join(names, " ") != want {
		t.Errorf("%v", names)
	}
	if !slices.Contains(names, "DeleteTrail") || len(r.made) != 2 { // UpdateTrail, and PutInsightSelectors, tried the key
		t.Errorf("%v", r.made)
	}
}
