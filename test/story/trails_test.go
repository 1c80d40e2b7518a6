package story

import (
	"bytes"
	"compress/gzip"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

// Where stories of trails take place.
const (
	trailBucket  = "trail-bucket"
	trailARN     = "arn:aws:cloudtrail:" + awsRegion + ":" + awsAccount + ":trail/audit"
	memberID     = "444455556666"
	organization = "o-exampleorg1"
)

// organizationFile is a configuration with an organisation of two accounts.
const organizationFile = `organization:
  id: ` + organization + `
  root: r-abcd
  management: '` + awsAccount + `'
  accounts:
    - {id: '` + awsAccount + `', name: Management}
    - {id: '` + memberID + `', name: Member}
`

// s3 is a client of AWS's SDK.
func (s *service) s3(k accessKey) *awss3.Client {
	return awss3.NewFromConfig(s.config(k), func(o *awss3.Options) { o.UsePathStyle = true })
}

// object is an object of a bucket as the SDK reads it.
type object struct {
	body                           []byte
	metadata                       map[string]string
	contentType, encoding, encrypt string
}

func (s *service) keys(k accessKey, bucket, prefix string) []string {
	s.d.t.Helper()
	var out []string
	pages := awss3.NewListObjectsV2Paginator(s.s3(k), &awss3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(s.d.t.Context())
		if err != nil {
			s.d.t.Fatalf("list %s: %v\n%s", bucket, err, tail(s.errs.String()))
		}
		for _, o := range page.Contents {
			out = append(out, aws.ToString(o.Key))
		}
	}
	return out
}

func (s *service) get(k accessKey, bucket, key string) object {
	s.d.t.Helper()
	out, err := s.s3(k).GetObject(s.d.t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		s.d.t.Fatalf("get %s: %v\n%s", key, err, tail(s.errs.String()))
	}
	body, err := io.ReadAll(out.Body)
	if err = errors.Join(err, out.Body.Close()); err != nil {
		s.d.t.Fatalf("get %s: %v", key, err)
	}
	return object{body, out.Metadata, aws.ToString(out.ContentType), aws.ToString(out.ContentEncoding), string(out.ServerSideEncryption)}
}

func (s *service) put(k accessKey, bucket, key string, o object) {
	s.d.t.Helper()
	if _, err := s.s3(k).PutObject(s.d.t.Context(), &awss3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(o.body), Metadata: o.metadata,
		ContentType: &o.contentType, ContentEncoding: &o.encoding}); err != nil {
		s.d.t.Fatalf("put %s: %v", key, err)
	}
}

func (s *service) remove(k accessKey, bucket, key string) {
	s.d.t.Helper()
	if _, err := s.s3(k).DeleteObject(s.d.t.Context(), &awss3.DeleteObjectInput{Bucket: &bucket, Key: &key}); err != nil {
		s.d.t.Fatalf("delete %s: %v", key, err)
	}
}

func gunzipped(t *testing.T, b []byte) []byte {
	t.Helper()
	zr, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	zr.Multistream(false)
	text, err := io.ReadAll(zr)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// logKeyForm is the key of a log file.
var logKeyForm = regexp.MustCompile(`^(?:[^/]+/)?AWSLogs/(?:o-[a-z0-9]+/)?([0-9]{12})/CloudTrail/([a-z0-9-]+)/[0-9]{4}/[0-9]{2}/[0-9]{2}/([0-9]{12})_CloudTrail_([a-z0-9-]+)_[0-9]{8}T[0-9]{4}Z_[A-Za-z0-9]{16}\.json\.gz$`)

// delivered reads the log files of a bucket: the records by event id, and how often each is there. Files lie where they belong.
func (s *service) delivered(k accessKey, bucket string) (records map[string]map[string]any, times map[string]int, files []string) {
	s.d.t.Helper()
	records, times = map[string]map[string]any{}, map[string]int{}
	for _, key := range s.keys(k, bucket, "") {
		if strings.Contains(key, "/CloudTrail-Digest/") {
			continue
		}
		m := logKeyForm.FindStringSubmatch(key)
		if m == nil || m[1] != m[3] || m[2] != m[4] {
			s.d.t.Errorf("the bucket has %s", key)
			continue
		}
		files = append(files, key)
		var file struct{ Records []map[string]any }
		if err := json.Unmarshal(gunzipped(s.d.t, s.get(k, bucket, key).body), &file); err != nil {
			s.d.t.Fatalf("%s: %v", key, err)
		}
		for _, r := range file.Records {
			if r["recipientAccountId"] != m[1] || r["awsRegion"] != m[2] {
				s.d.t.Errorf("%s has an event of %v in %v", key, r["recipientAccountId"], r["awsRegion"])
			}
			id := fmt.Sprint(r["eventID"])
			records[id] = r
			times[id]++
		}
	}
	return records, times, files
}

// accepted are all events that the service has, by id.
func (s *service) accepted() map[string]map[string]any {
	s.d.t.Helper()
	rows, err := csv.NewReader(strings.NewReader(s.d.spoor("query", "SELECT eventID, raw FROM events", "--format", "csv", "--limit", "-1").exits(clean).out)).ReadAll()
	if err != nil {
		s.d.t.Fatal(err)
	}
	out := map[string]map[string]any{}
	for _, row := range rows[1:] {
		var rec map[string]any
		if err := json.Unmarshal([]byte(row[1]), &rec); err != nil {
			s.d.t.Fatalf("%s: %v", row[1], err)
		}
		if out[row[0]] != nil {
			s.d.t.Errorf("event %s is in the answer twice", row[0])
		}
		out[row[0]] = rec
	}
	return out
}

// resources tells whether a record has a resource of a type, with such a beginning of its ARN.
func concerns(rec map[string]any, kind, arn string) bool {
	list, _ := rec["resources"].([]any)
	return slices.ContainsFunc(list, func(r any) bool {
		m, _ := r.(map[string]any)
		got, _ := m["ARN"].(string)
		return m["type"] == kind && strings.HasPrefix(got, arn)
	})
}

// exactly holds what was delivered against what was accepted: of what happened between two moments of records, everything that
// is selected is in files once, and nothing else is. In the seconds of the two themselves it may be either way.
func exactly(t *testing.T, accepted, records map[string]map[string]any, times map[string]int, from, to string, selected func(map[string]any) bool) {
	t.Helper()
	must, wrong := 0, 0
	tell := func(format string, a ...any) {
		if wrong++; wrong <= 10 {
			t.Errorf(format, a...)
		}
	}
	for id, rec := range accepted {
		at := fmt.Sprint(rec["eventTime"])
		n := times[id]
		switch {
		case !selected(rec) || at < from || at > to:
			if n > 0 {
				tell("%s %v of %s is in files, and was not to be", id, rec["eventName"], at)
			}
		case at > from && at < to:
			if must++; n != 1 {
				tell("%s %v of %s is in files %d times", id, rec["eventName"], at, n)
			}
		case n > 1:
			tell("%s %v of %s is in files %d times", id, rec["eventName"], at, n)
		}
	}
	for id, rec := range records {
		if accepted[id] == nil {
			tell("%s %v is in files, and was not accepted", id, rec["eventName"])
			continue
		}
		a, _ := json.Marshal(accepted[id])
		b, _ := json.Marshal(rec)
		if !bytes.Equal(a, b) {
			tell("%s was accepted as\n%s, and is in files as\n%s", id, a, b)
		}
	}
	if must < 10 {
		t.Errorf("only %d events had to be in files", must)
	}
	if wrong > 10 {
		t.Errorf("and %d more", wrong-10)
	}
}

// moment is the time of the only record of a call.
func moment(t *testing.T, accepted map[string]map[string]any, name string) string {
	t.Helper()
	at := ""
	for _, rec := range accepted {
		if rec["eventName"] == name && rec["errorCode"] == nil {
			if at != "" {
				t.Fatalf("there are two records of %s", name)
			}
			at = fmt.Sprint(rec["eventTime"])
		}
	}
	if at == "" {
		t.Fatalf("there is no record of %s", name)
	}
	return at
}

// bucketPolicy is what CloudTrail needs of a bucket, for the trail and an organisation or none.
func bucketPolicy(bucket, organization string) string {
	write := func(sid, whose string) string {
		return `{"Sid":"` + sid + `","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::` + bucket + `/AWSLogs/` + whose + `/*",` +
			`"Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control","aws:SourceArn":"` + trailARN + `"}}}`
	}
	text := `{"Version":"2012-10-17","Statement":[{"Sid":"AWSCloudTrailAclCheck20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:GetBucketAcl",` +
		`"Resource":"arn:aws:s3:::` + bucket + `","Condition":{"StringEquals":{"aws:SourceArn":"` + trailARN + `"}}},` + write("AWSCloudTrailWrite20150319", awsAccount)
	if organization != "" {
		text += "," + write("AWSCloudTrailOrganizationWrite20150319", organization)
	}
	return text + "]}"
}

// keyPolicy lets the account's policies decide, CloudTrail encrypt for trails of the account, and readers decrypt.
func keyPolicy(readers ...string) string {
	text := `{"Version":"2012-10-17","Statement":[{"Sid":"Account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + awsAccount + `:root"},"Action":"kms:*","Resource":"*"},` +
		`{"Sid":"Encrypt","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*","Condition":{` +
		`"StringEquals":{"aws:SourceArn":"` + trailARN + `"},"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:` + awsAccount + `:trail/*"}}},` +
		`{"Sid":"Describe","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:DescribeKey","Resource":"*"}`
	for i, r := range readers {
		text += fmt.Sprintf(`,{"Sid":"Reader%d","Effect":"Allow","Principal":{"AWS":"%s"},"Action":"kms:Decrypt","Resource":"*","Condition":{"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:%s:trail/*"}}}`, i, r, awsAccount)
	}
	return text + "]}"
}

// subscriber is an HTTP endpoint that confirms a subscription, and keeps what it is told.
type subscriber struct {
	*httptest.Server
	mu    sync.Mutex
	files map[string]int // keys that were told of
	odd   []string
}

func newSubscriber(t *testing.T) *subscriber {
	s := &subscriber{files: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct{ Type, Message, SubscribeURL, TopicArn string }
		err := json.NewDecoder(r.Body).Decode(&m)
		s.mu.Lock()
		defer s.mu.Unlock()
		switch {
		case err != nil:
			s.odd = append(s.odd, err.Error())
		case m.Type == "SubscriptionConfirmation":
			go func() {
				if resp, err := http.Get(m.SubscribeURL); err == nil {
					_ = resp.Body.Close() // the confirmation shows in what comes
				}
			}()
		case m.Type == "Notification":
			var notice struct {
				S3Bucket    string
				S3ObjectKey []string
			}
			if err := json.Unmarshal([]byte(m.Message), &notice); err != nil || notice.S3Bucket != trailBucket || len(notice.S3ObjectKey) == 0 {
				s.odd = append(s.odd, m.Message)
			}
			for _, k := range notice.S3ObjectKey {
				s.files[k]++
			}
		default:
			s.odd = append(s.odd, m.Type)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// told are the keys that it was told of, in order.
func (s *subscriber) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.files))
}

// validated is what aws cloudtrail validate-logs says: what is invalid by key, with the reason, and its sums.
type validated struct {
	invalid map[string]string
	valid   map[string]bool
	text    string
}

var verdictForm = regexp.MustCompile(`(?m)^(?:\(backfill\) )?(Digest|Log) file\ts3://[^/]+/(\S+)\t(valid|INVALID: (.*))$`)

// awsValidates runs the AWS CLI's validation.
func (s *service) awsValidates(k accessKey, args ...string) validated {
	s.d.t.Helper()
	start := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	o := s.cli(k, append([]string{"cloudtrail", "validate-logs", "--trail-arn", trailARN, "--start-time", start, "--verbose"}, args...)...)
	v := validated{map[string]string{}, map[string]bool{}, o.out + o.err}
	for _, m := range verdictForm.FindAllStringSubmatch(v.text, -1) {
		if m[3] == "valid" {
			v.valid[m[2]] = true
		} else {
			v.invalid[m[2]] = m[4]
		}
	}
	if want := map[bool]int{true: clean, false: 1}[len(v.invalid) == 0]; o.code != want || len(v.valid)+len(v.invalid) == 0 {
		s.d.t.Fatalf("the AWS CLI ends with %d:\n%s\n%s", o.code, tail(o.out), tail(o.err))
	}
	return v
}

// finding is a verdict of spoor validate.
type trailFinding struct{ Code, Level, Key, Reason string }

// spoorValidates runs our own validation: codes of what is invalid, by key.
func (s *service) spoorValidates(k accessKey, args ...string) (map[string]string, map[string]int) {
	s.d.t.Helper()
	d := *s.d
	d.env = append(slices.Clone(d.env), "AWS_ACCESS_KEY_ID="+k.ID, "AWS_SECRET_ACCESS_KEY="+k.Secret, "AWS_DEFAULT_REGION="+awsRegion, "AWS_ENDPOINT_URL="+s.aws)
	o := d.spoor(append([]string{"validate", trailARN, "--format", "json", "--verbose", "--quiet"}, args...)...)
	var report struct{ Findings []trailFinding }
	o.into(&report)
	invalid, codes := map[string]string{}, map[string]int{}
	for _, f := range report.Findings {
		codes[f.Code]++
		if f.Level == "invalid" {
			invalid[f.Key] = f.Code
		}
	}
	if want := map[bool]int{true: clean, false: findings}[len(invalid) == 0]; o.code != want {
		s.d.t.Fatalf("spoor validate ends with %d, and finds %v:\n%s\n%s", o.code, invalid, tail(o.out), tail(o.err))
	}
	return invalid, codes
}

// trailStatus is GetTrailStatus.
func (s *service) trailStatus(k accessKey) *cloudtrail.GetTrailStatusOutput {
	s.d.t.Helper()
	out, err := cloudtrail.NewFromConfig(s.config(k)).GetTrailStatus(s.d.t.Context(), &cloudtrail.GetTrailStatusInput{Name: aws.String("audit")})
	if err != nil {
		s.d.t.Fatal(err)
	}
	return out
}

// dataRecord is an event of another service that was pushed.
func dataRecord(n int, account, region, source, name, kind, arn string) string {
	category, management := "Data", "false"
	resources := `"resources":[{"ARN":"` + arn + `","accountId":"` + account + `","type":"` + kind + `"}],`
	if kind == "" {
		category, management, resources = "Management", "true", ""
	}
	return fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEID","arn":"arn:aws:iam::%[1]s:user/bea","accountId":"%[1]s","accessKeyId":"AKIAEXAMPLEKEYOFBEA0","userName":"bea"},`+
		`"eventTime":"%[2]s","eventSource":"%[3]s","eventName":"%[4]s","awsRegion":"%[5]s","sourceIPAddress":"192.0.2.7","userAgent":"x","requestParameters":null,"responseElements":null,"eventID":"%[6]s",`+
		`"readOnly":false,%[7]s"eventType":"AwsApiCall","managementEvent":%[8]s,"recipientAccountId":"%[1]s","eventCategory":"%[9]s"}`,
		account, time.Now().UTC().Format(time.RFC3339), source, name, region, eventID(n), resources, management, category)
}

// TestTrailStory goes from an empty folder to a verified trail with the AWS CLI, and then tampers with it.
func TestTrailStory(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	d := newDesk(t)
	d.write("spoor.yaml", []byte(organizationFile))
	s := d.serveAWS("--config", "spoor.yaml", "--set", "trails.interval=1s", "--set", "trails.digest_interval=3s")
	d.user("ana", "admin")
	d.user("rita", "recorder")
	ana, rita := d.accessKey("ana"), d.accessKey("rita")
	ritaARN := "arn:aws:iam::" + awsAccount + ":user/rita"
	run := func(args ...string) outcome { t.Helper(); return s.cli(ana, args...) }

	// Buckets, and what a trail needs of one.
	for _, b := range []string{trailBucket, "data-bucket", "tls-bucket"} {
		run("s3api", "create-bucket", "--bucket", b, "--create-bucket-configuration", "LocationConstraint="+awsRegion).exits(clean)
	}
	create := []string{"cloudtrail", "create-trail", "--name", "audit", "--s3-bucket-name", trailBucket, "--is-multi-region-trail", "--enable-log-file-validation"}
	run(create...).fails("InsufficientS3BucketPolicyException")
	policy := strings.TrimSuffix(bucketPolicy(trailBucket, organization), "]}") + `,{"Sid":"Rita","Effect":"Allow","Principal":{"AWS":"` + ritaARN + `"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::` + trailBucket + `/*"}]}`
	run("s3api", "put-bucket-policy", "--bucket", trailBucket, "--policy", policy).exits(clean)
	run("s3api", "put-bucket-policy", "--bucket", "tls-bucket", "--policy", `{"Version":"2012-10-17","Statement":[{"Sid":"TLS","Effect":"Deny","Principal":"*","Action":"s3:*Object",`+
		`"Resource":["arn:aws:s3:::tls-bucket","arn:aws:s3:::tls-bucket/*"],"Condition":{"Bool":{"aws:SecureTransport":"false"}}}]}`).exits(clean)
	var made struct {
		TrailARN, HomeRegion                          string
		IsMultiRegionTrail, LogFileValidationEnabled  bool
		IncludeGlobalServiceEvents, HasCustomSelector bool
	}
	run(create...).exits(clean).into(&made)
	if made.TrailARN != trailARN || !made.IsMultiRegionTrail || !made.LogFileValidationEnabled || !made.IncludeGlobalServiceEvents {
		t.Errorf("the trail is %+v", made)
	}

	// A key, for which CloudTrail needs leave.
	var key struct{ KeyMetadata struct{ KeyId, Arn string } }
	run("kms", "create-key", "--description", "log files").exits(clean).into(&key)
	run("kms", "create-alias", "--alias-name", "alias/logs", "--target-key-id", key.KeyMetadata.KeyId).exits(clean)
	update := func(args ...string) outcome {
		t.Helper()
		return run(append([]string{"cloudtrail", "update-trail", "--name", "audit"}, args...)...)
	}
	update("--kms-key-id", "alias/logs").fails("InsufficientEncryptionPolicyException")
	run("kms", "put-key-policy", "--key-id", key.KeyMetadata.KeyId, "--policy", keyPolicy()).exits(clean)
	var updated struct {
		KmsKeyId, SnsTopicARN string
		IsOrganizationTrail   bool
	}
	if update("--kms-key-id", "alias/logs").exits(clean).into(&updated); updated.KmsKeyId != key.KeyMetadata.Arn {
		t.Errorf("the trail's key is %s, want %s", updated.KmsKeyId, key.KeyMetadata.Arn)
	}
	if update("--is-organization-trail").exits(clean).into(&updated); !updated.IsOrganizationTrail {
		t.Error("the trail is not one of the organisation")
	}

	// A topic that is told of files, and somebody who listens.
	var topic struct{ TopicArn string }
	run("sns", "create-topic", "--name", "files").exits(clean).into(&topic)
	update("--sns-topic-name", "files").fails("InsufficientSnsTopicPolicyException")
	run("sns", "set-topic-attributes", "--topic-arn", topic.TopicArn, "--attribute-name", "Policy", "--attribute-value", `{"Version":"2012-10-17","Statement":[{"Sid":"CloudTrail","Effect":"Allow",`+
		`"Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"SNS:Publish","Resource":"`+topic.TopicArn+`","Condition":{"StringEquals":{"aws:SourceArn":"`+trailARN+`"}}}]}`).exits(clean)
	listener := newSubscriber(t)
	run("sns", "subscribe", "--topic-arn", topic.TopicArn, "--protocol", "http", "--notification-endpoint", listener.URL).exits(clean)
	if update("--sns-topic-name", "files").exits(clean).into(&updated); updated.SnsTopicARN != topic.TopicArn {
		t.Errorf("the trail's topic is %s, want %s", updated.SnsTopicARN, topic.TopicArn)
	}
	s.eventually("the subscription is confirmed", func() bool {
		var list struct {
			Subscriptions []struct{ SubscriptionArn string }
		}
		run("sns", "list-subscriptions-by-topic", "--topic-arn", topic.TopicArn).exits(clean).into(&list)
		return len(list.Subscriptions) == 1 && strings.HasPrefix(list.Subscriptions[0].SubscriptionArn, topic.TopicArn)
	})

	// It logs, with selectors.
	run("cloudtrail", "start-logging", "--name", "audit").exits(clean)
	run("cloudtrail", "put-event-selectors", "--trail-name", "audit", "--event-selectors",
		`[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::data-bucket/"]},{"Type":"AWS::Lambda::Function","Values":["arn:aws:lambda"]}]}]`).exits(clean)
	run("cloudtrail", "put-insight-selectors", "--trail-name", "audit", "--insight-selectors", `[{"InsightType":"ApiCallRateInsight"},{"InsightType":"ApiErrorRateInsight"}]`).exits(clean)
	if !run("cloudtrail", "get-trail-status", "--name", "audit").exits(clean).has(`"IsLogging": true`) {
		t.Error("the trail does not log")
	}

	// Traffic: through S3, and what others push.
	small, large := []byte("a small object\n"), make([]byte, 20<<20)
	for i := range large {
		large[i] = byte(i * i >> 7)
	}
	d.write("small.txt", small)
	d.write("large.bin", large)
	run("s3", "cp", "small.txt", "s3://data-bucket/small.txt").exits(clean)
	run("s3", "cp", "large.bin", "s3://data-bucket/large.bin").exits(clean)
	run("s3", "cp", "s3://data-bucket/large.bin", "back.bin").exits(clean)
	if !bytes.Equal(d.read("back.bin"), large) {
		t.Error("20 MB came back otherwise")
	}
	run("configure", "set", "default.s3.signature_version", "s3v4").exits(clean) // its default is older in some Regions
	presigned := strings.TrimSpace(run("s3", "presign", "s3://data-bucket/small.txt").exits(clean).out)
	resp, err := http.Get(presigned)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK || !bytes.Equal(body, small) {
		t.Errorf("the presigned address %s gives %d %.200q %v", presigned, resp.StatusCode, body, err)
	}
	if o := run("s3", "cp", "small.txt", "s3://tls-bucket/small.txt"); o.code == clean || !strings.Contains(o.err, "AccessDenied") {
		t.Errorf("a bucket that wants TLS takes an object without: %d\n%s", o.code, o.err)
	}
	run("s3", "rm", "s3://data-bucket/small.txt").exits(clean)
	lambda := "arn:aws:lambda:" + awsRegion + ":" + memberID + ":function:f"
	s.want("POST", "/api/v1/events", strings.Join([]string{
		dataRecord(1, memberID, awsRegion, "lambda.amazonaws.com", "Invoke", "AWS::Lambda::Function", lambda),
		dataRecord(2, memberID, "us-east-1", "iam.amazonaws.com", "CreateUser", "", ""),
		dataRecord(3, memberID, awsRegion, "dynamodb.amazonaws.com", "PutItem", "AWS::DynamoDB::Table", "arn:aws:dynamodb:eu-west-1:444455556666:table/t"),
		dataRecord(4, "777788889999", awsRegion, "iam.amazonaws.com", "CreateUser", "", ""), // of no account of the organisation
	}, "\n")+"\n")

	// Files come, and digests; for the member in its folder.
	const logs = "AWSLogs/" + organization + "/"
	digests := func(account string) []string {
		return s.keys(ana, trailBucket, logs+account+"/CloudTrail-Digest/"+awsRegion+"/")
	}
	s.eventually("seven digests are there, for the member too", func() bool { return len(digests(awsAccount)) >= 7 && len(digests(memberID)) >= 3 })
	status := s.trailStatus(ana)
	if status.LatestDeliveryTime == nil || status.LatestDigestDeliveryTime == nil || status.LatestNotificationTime == nil || aws.ToString(status.LatestDeliveryError)+aws.ToString(status.LatestDigestDeliveryError)+aws.ToString(status.LatestNotificationError) != "" {
		t.Errorf("the status is %+v", status)
	}
	run("cloudtrail", "stop-logging", "--name", "audit").exits(clean)
	stopped := len(digests(awsAccount))
	s.eventually("a last digest ends the chain", func() bool { return len(digests(awsAccount)) > stopped })
	time.Sleep(3500 * time.Millisecond) // more than a digest's time, in which nothing must come
	records, times, files := s.delivered(ana, trailBucket)

	// Every event in files is one that was accepted and selected; none is missing, none is there twice.
	var accepted map[string]map[string]any
	s.eventually("the end is in answers", func() bool {
		accepted = s.accepted()
		for _, rec := range accepted {
			if rec["eventName"] == "StopLogging" {
				return true
			}
		}
		return false
	})
	exactly(t, accepted, records, times, moment(t, accepted, "StartLogging"), moment(t, accepted, "StopLogging"), func(rec map[string]any) bool {
		if account := rec["recipientAccountId"]; account != awsAccount && account != memberID {
			return false
		}
		return rec["eventCategory"] == "Management" || rec["eventCategory"] == "Data" &&
			(concerns(rec, "AWS::S3::Object", "arn:aws:s3:::data-bucket/") || concerns(rec, "AWS::Lambda::Function", "arn:aws:lambda"))
	})
	counts := map[string]int{}
	for _, rec := range records {
		counts[fmt.Sprint(rec["eventName"])]++
	}
	for name, want := range map[string]int{"UploadPart": 3, "CreateMultipartUpload": 1, "CompleteMultipartUpload": 1, "DeleteObject": 1, "Invoke": 1, "CreateUser": 1, "PutItem": 0} {
		if name == "UploadPart" && counts[name] >= want { // the CLI's parts are of 8 MB
			continue
		}
		if counts[name] != want {
			t.Errorf("%s is in files %d times, want %d: %v", name, counts[name], want, counts)
		}
	}
	for _, rec := range records {
		if rec["eventName"] == "PutObject" && at(rec, "requestParameters.bucketName") == "data-bucket" {
			has(t, rec, map[string]any{"requestParameters.key": "small.txt", "userIdentity.userName": "ana", "eventSource": "s3.amazonaws.com", "readOnly": false, "errorCode": nil,
				"additionalEventData.bytesTransferredIn": len(small), "managementEvent": false})
		}
	}
	for _, rec := range accepted {
		if rec["eventName"] == "PutObject" && at(rec, "requestParameters.bucketName") == "tls-bucket" {
			has(t, rec, map[string]any{"errorCode": "AccessDenied", "userIdentity.userName": "ana"})
		}
	}
	s.eventually("the topic was told of every file", func() bool { return slices.Equal(listener.told(), files) })
	if len(listener.odd) > 0 {
		t.Errorf("the topic also said %q", listener.odd)
	}

	// Files are encrypted with the key: who may not decrypt does not read them.
	if o := s.get(ana, trailBucket, files[0]); o.encrypt != "aws:kms" {
		t.Errorf("%s is encrypted with %q", files[0], o.encrypt)
	}
	s.cli(rita, "s3api", "get-object", "--bucket", trailBucket, "--key", files[0], "denied.gz").fails("AccessDenied")
	run("kms", "put-key-policy", "--key-id", key.KeyMetadata.KeyId, "--policy", keyPolicy(ritaARN)).exits(clean)
	s.cli(rita, "s3api", "get-object", "--bucket", trailBucket, "--key", files[0], "read.gz").exits(clean)
	if text := gunzipped(t, d.read("read.gz")); !bytes.HasPrefix(text, []byte(`{"Records":[`)) {
		t.Errorf("rita reads %.100q", text)
	}

	// Both validations find everything good, of both accounts.
	for account, least := range map[string]int{awsAccount: 8, memberID: 3} {
		v := s.awsValidates(ana, "--account-id", account)
		own := func(key string) bool { return strings.HasPrefix(key, logs+account+"/") }
		for _, key := range append(slices.DeleteFunc(slices.Clone(files), func(f string) bool { return !own(f) || !strings.Contains(f, "/"+awsRegion+"/") }), digests(account)...) {
			if !v.valid[key] {
				t.Errorf("the AWS CLI does not say that %s is valid", key)
			}
		}
		if n := len(digests(account)); len(v.invalid) > 0 || n < least || !strings.Contains(v.text, fmt.Sprintf("%d/%d digest files valid", n, n)) {
			t.Errorf("the AWS CLI says of %s:\n%s", account, tail(v.text))
		}
	}
	if invalid, codes := s.spoorValidates(ana); len(invalid) > 0 || codes["log-valid"] != len(files) || codes["digest-valid"] < 11 {
		t.Errorf("spoor says %v, %v", invalid, codes)
	}
	s.tamper(ana, files, digests(awsAccount))
	s.end(15, clean)
}

// has reports whether standard output has a text.
func (o outcome) has(text string) bool { return strings.Contains(o.out, text) }

// digestText is what tampering needs of a digest.
type digestText struct {
	DigestEndTime, DigestS3Bucket, DigestS3Object string
	PreviousDigestSignature                       *string
	LogFiles                                      []struct{ S3Object string }
}

// tamper changes the bucket in every way, and holds both validations against it. files and digests are all keys, in order.
func (s *service) tamper(ana accessKey, files, digests []string) {
	t := s.d.t
	t.Helper()
	listed := map[string][]string{} // log files by their digest
	var with []string               // digests that list some
	for _, key := range digests {
		var dt digestText
		if err := json.Unmarshal(gunzipped(t, s.get(ana, trailBucket, key).body), &dt); err != nil {
			t.Fatal(err)
		}
		for _, f := range dt.LogFiles {
			listed[key] = append(listed[key], f.S3Object)
		}
		if len(listed[key]) > 0 {
			with = append(with, key)
		}
	}
	if len(with) < 3 || len(digests) < 8 {
		t.Fatalf("%d digests of %d list files", len(with), len(digests))
	}
	kept := map[string]object{}
	keep := func(key string) object {
		o := s.get(ana, trailBucket, key)
		kept[key] = o
		return o
	}
	back := func() {
		for key, o := range kept {
			s.put(ana, trailBucket, key, o)
		}
		clear(kept)
	}

	// A log file is changed, another one removed, and a digest is signed by somebody else.
	changed, removed, forged := listed[with[0]][0], listed[with[1]][0], with[2]
	o := keep(changed)
	o.body = gzipped(t, bytes.Replace(gunzipped(t, o.body), []byte(`"eventName"`), []byte(`"eventname"`), 1))
	s.put(ana, trailBucket, changed, o)
	keep(removed)
	s.remove(ana, trailBucket, removed)
	o = keep(forged)
	text := gunzipped(t, o.body)
	text = bytes.Replace(text, []byte(listed[forged][0]), []byte(changed), 1)
	var dt digestText
	if err := json.Unmarshal(text, &dt); err != nil {
		t.Fatal(err)
	}
	previous := "null"
	if dt.PreviousDigestSignature != nil {
		previous = *dt.PreviousDigestSignature
	}
	sum := sha256.Sum256(text)
	signed := sha256.Sum256([]byte(dt.DigestEndTime + "\n" + dt.DigestS3Bucket + "/" + dt.DigestS3Object + "\n" + hex.EncodeToString(sum[:]) + "\n" + previous))
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := rsa.SignPKCS1v15(nil, other, crypto.SHA256, signed[:])
	if err != nil {
		t.Fatal(err)
	}
	o.body, o.metadata = gzipped(t, text), map[string]string{"signature": hex.EncodeToString(signature), "signature-algorithm": "SHA256withRSA"}
	s.put(ana, trailBucket, forged, o)

	v := s.awsValidates(ana, "--account-id", awsAccount)
	if want := map[string]string{changed: "hash value doesn't match", removed: "not found", forged: "signature verification failed"}; !maps.Equal(v.invalid, want) {
		t.Errorf("the AWS CLI finds %v, want %v", v.invalid, want)
	}
	invalid, _ := s.spoorValidates(ana)
	for key, codes := range map[string][]string{changed: {"log-modified"}, removed: {"log-missing"}, forged: {"digest-forged", "digest-modified"}} {
		if !slices.Contains(codes, invalid[key]) {
			t.Errorf("spoor says of %s %q, want %q", key, invalid[key], codes)
		}
	}
	back()

	// One digest is removed, and two in a row: of these, the AWS CLI misses the one to which nothing links any more.
	one, two := digests[1], digests[3:5]
	for _, key := range append([]string{one}, two...) {
		keep(key)
		s.remove(ana, trailBucket, key)
	}
	v = s.awsValidates(ana, "--account-id", awsAccount)
	if v.invalid[one] != "not found" || v.invalid[two[1]] != "not found" {
		t.Errorf("the AWS CLI finds %v, of %s and %s removed", v.invalid, one, two)
	}
	if v.invalid[two[0]] != "" {
		t.Errorf("the AWS CLI has become better, and finds %v", v.invalid)
	}
	invalid, _ = s.spoorValidates(ana)
	for _, key := range append([]string{one}, two...) {
		if invalid[key] != "digest-missing" {
			t.Errorf("spoor says of %s %q, want digest-missing", key, invalid[key])
		}
	}
	back()
	if invalid, _ := s.spoorValidates(ana); len(invalid) > 0 {
		t.Errorf("with everything back, spoor finds %v", invalid)
	}
}
