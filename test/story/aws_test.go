package story

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"
)

// Where stories with AWS's clients take place.
const (
	awsAccount = "111122223333"
	awsRegion  = "eu-west-1"
)

// serveAWS starts a service in that account and Region, that its commands ask.
func (d *desk) serveAWS(args ...string) *service {
	d.t.Helper()
	s := d.serve("", append([]string{"--set", "account=" + awsAccount, "--set", "region=" + awsRegion}, args...)...)
	if s.aws == "" {
		d.t.Fatalf("it does not say where AWS's clients find it:\n%s", s.welcome)
	}
	d.env = append(d.env, "SPOOR_SERVER="+s.url, "SPOOR_TOKEN="+s.token)
	return s
}

// again starts the service in the same folder again, at the same addresses.
func (s *service) again(args ...string) *service {
	s.d.t.Helper()
	return s.d.serve(s.token, append([]string{"--set", "account=" + awsAccount, "--set", "region=" + awsRegion,
		"--listen", strings.TrimPrefix(s.url, "http://"), "--aws-listen", strings.TrimPrefix(s.aws, "http://")}, args...)...)
}

// accessKey is a credential of AWS's clients.
type accessKey struct {
	ID     string `json:"id"`
	Secret string `json:"secret"`
	Token  string `json:"-"`
}

// user makes a user with a role.
func (d *desk) user(name, role string) {
	d.t.Helper()
	d.spoor("iam", "user", "create", name, "--role", role).exits(clean)
}

// accessKey makes an access key of a user.
func (d *desk) accessKey(user string) accessKey {
	d.t.Helper()
	var k accessKey
	d.spoor("iam", "key", "create", user, "--json").exits(clean).into(&k)
	if len(k.ID) != 20 || len(k.Secret) != 40 {
		d.t.Fatalf("access key %q, a secret of %d characters", k.ID, len(k.Secret))
	}
	return k
}

// into decodes standard output.
func (o outcome) into(v any) {
	o.t.Helper()
	if err := json.Unmarshal([]byte(o.out), v); err != nil {
		o.t.Fatalf("spoor %q prints %s: %v", o.args, tail(o.out), err)
	}
}

// awsCLI is the AWS CLI, or the test is skipped.
func awsCLI(t *testing.T) string {
	t.Helper()
	cli := filepath.Join(checkout, "out", "awscli", "bin", "aws") // by make awscli
	if _, err := os.Stat(cli); err == nil {
		return cli
	}
	cli, err := exec.LookPath("aws")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the AWS CLI is not installed: run make awscli")
		}
		t.Skip("the AWS CLI is not installed: make awscli installs it")
	}
	return cli
}

// awsEnv is the environment of AWS's clients on a desk: a home of their own.
func (d *desk) awsEnv(s *service, k accessKey) []string {
	home := d.path("aws")
	env := append(d.command().Env, "HOME="+home, "AWS_CONFIG_FILE="+filepath.Join(home, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(home, "credentials"),
		"AWS_PAGER=", "AWS_MAX_ATTEMPTS=6", "AWS_RETRY_MODE=standard", "PATH="+os.Getenv("PATH"))
	if k.ID != "" {
		env = append(env, "AWS_ACCESS_KEY_ID="+k.ID, "AWS_SECRET_ACCESS_KEY="+k.Secret, "AWS_DEFAULT_REGION="+awsRegion, "AWS_ENDPOINT_URL="+s.aws)
	}
	if k.Token != "" {
		env = append(env, "AWS_SESSION_TOKEN="+k.Token)
	}
	return env
}

// aws runs the AWS CLI to its end, with a key or, without one, with what was configured.
func (s *service) cli(k accessKey, args ...string) outcome {
	d := s.d
	d.t.Helper()
	if err := os.MkdirAll(d.path("aws"), 0o700); err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.CommandContext(d.t.Context(), awsCLI(d.t), append(slices.Clone(args), "--output", "json")...)
	cmd.Dir, cmd.Env = d.dir, d.awsEnv(s, k)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		d.t.Fatalf("aws %q: %v", args, err)
	}
	return outcome{t: d.t, args: append([]string{"(the AWS CLI)"}, args...), code: cmd.ProcessState.ExitCode(), out: out.String(), err: errs.String()}
}

// awsFailed is the exit code of the AWS CLI for an error of the service.
const awsFailed = 254

// fails fails the test unless the AWS CLI ended with an error of the service, with this code.
func (o outcome) fails(code string) outcome {
	o.t.Helper()
	if o.code != awsFailed && o.code != 255 || !strings.Contains(o.err, "An error occurred ("+code+")") {
		o.t.Errorf("%q ended with %d, want the error %s:\n%s\n%s", o.args, o.code, code, tail(o.out), tail(o.err))
	}
	return o
}

// config is that of AWS's SDK for Go.
func (s *service) config(k accessKey) aws.Config {
	return aws.Config{Region: awsRegion, BaseEndpoint: &s.aws, Credentials: credentials.NewStaticCredentialsProvider(k.ID, k.Secret, k.Token), RetryMaxAttempts: 1}
}

// errorCode is that of an error of AWS's SDK.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// whoAmI is the ARN that a key has, or the code of the error.
func (s *service) whoAmI(k accessKey) string {
	out, err := sts.NewFromConfig(s.config(k)).GetCallerIdentity(s.d.t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		return errorCode(err)
	}
	return *out.Arn
}

// recorded waits until a look-up by name finds the record of a call, and gives it. With k, a key of who may look up.
func (s *service) recorded(k accessKey, name, what string, is func(record map[string]any) bool) map[string]any {
	s.d.t.Helper()
	client := cloudtrail.NewFromConfig(s.config(k))
	last := ""
	for limit := time.Now().Add(patience); time.Now().Before(limit); time.Sleep(500 * time.Millisecond) { // AWS's rate is 2 a second
		out, err := client.LookupEvents(s.d.t.Context(), &cloudtrail.LookupEventsInput{LookupAttributes: []cloudtrailtypes.LookupAttribute{
			{AttributeKey: cloudtrailtypes.LookupAttributeKeyEventName, AttributeValue: &name}}})
		if errorCode(err) == "ThrottlingException" {
			continue
		}
		if err != nil {
			s.d.t.Fatalf("look up %s: %v", name, err)
		}
		for _, e := range out.Events {
			var rec map[string]any
			if err := json.Unmarshal([]byte(*e.CloudTrailEvent), &rec); err != nil {
				s.d.t.Fatal(err)
			}
			if rec["eventName"] != name || rec["eventID"] != *e.EventId {
				s.d.t.Fatalf("a look-up of %s gives %s", name, *e.CloudTrailEvent)
			}
			if is == nil || is(rec) {
				return rec
			}
			last = *e.CloudTrailEvent
		}
	}
	s.d.t.Fatalf("no %s is found: %s\nthe last one is %s\n%s", name, what, last, tail(s.errs.String()))
	return nil
}

// at gives what lies at a path of a record, with dots between names.
func at(v any, path string) any {
	for name := range strings.SplitSeq(path, ".") {
		m, ok := v.(map[string]any)
		if !ok {
			return nil
		}
		v = m[name]
	}
	return v
}

// has fails the test unless a record has these values at these paths.
func has(t *testing.T, rec map[string]any, want map[string]any) {
	t.Helper()
	for path, w := range want {
		got, err := json.Marshal(at(rec, path))
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := json.Marshal(w)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != string(wanted) {
			t.Errorf("the record of %v has %s in %s, want %s", rec["eventName"], got, path, wanted)
		}
	}
}

// TestAWSStory is what a person does who has the AWS CLI: keys, a profile, who am I, a role, and who did what.
func TestAWSStory(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	d := newDesk(t)
	s := d.serveAWS()
	d.user("ana", "analyst")
	d.user("rita", "recorder")
	d.spoor("iam", "role", "create", "Audit", "--role", "auditor", "--trust", "ana").exits(clean)

	// Configured once: the key goes from one program into the files of the other.
	files := []string{"AWS_CONFIG_FILE=" + d.path("aws", "config"), "AWS_SHARED_CREDENTIALS_FILE=" + d.path("aws", "credentials")}
	d.env = append(d.env, files...)
	d.spoor("iam", "key", "create", "ana", "--write-profile", "ana", "--endpoint-url", s.aws).exits(clean)
	for _, set := range [][2]string{{"role_arn", "arn:aws:iam::" + awsAccount + ":role/Audit"}, {"source_profile", "ana"}, {"role_session_name", "review"}, {"region", awsRegion}, {"endpoint_url", s.aws}} {
		s.cli(accessKey{}, "configure", "set", set[0], set[1], "--profile", "audit").exits(clean)
	}
	s.cli(accessKey{}, "--profile", "ana", "configure", "get", "region").exits(clean).says(awsRegion)
	ana := "arn:aws:iam::" + awsAccount + ":user/ana"
	var who struct{ UserId, Account, Arn string }
	s.cli(accessKey{}, "--profile", "ana", "sts", "get-caller-identity").exits(clean).into(&who)
	if who.Arn != ana || who.Account != awsAccount || !strings.HasPrefix(who.UserId, "AIDA") {
		t.Errorf("ana is %+v", who)
	}
	s.cli(accessKey{}, "--profile", "audit", "sts", "get-caller-identity").exits(clean).says("arn:aws:sts::" + awsAccount + ":assumed-role/Audit/review")
	var assumed struct {
		Credentials struct{ AccessKeyId, SecretAccessKey, SessionToken, Expiration string }
	}
	s.cli(accessKey{}, "--profile", "ana", "sts", "assume-role", "--role-arn", "arn:aws:iam::"+awsAccount+":role/Audit", "--role-session-name", "second").exits(clean).into(&assumed)
	session := accessKey{assumed.Credentials.AccessKeyId, assumed.Credentials.SecretAccessKey, assumed.Credentials.SessionToken}
	if got := s.whoAmI(session); got != "arn:aws:sts::"+awsAccount+":assumed-role/Audit/second" {
		t.Errorf("the session is %s", got)
	}
	rita := d.accessKey("rita")
	s.cli(rita, "sts", "assume-role", "--role-arn", "arn:aws:iam::"+awsAccount+":role/Audit", "--role-session-name", "no").fails("AccessDenied")
	s.cli(rita, "cloudtrail", "lookup-events").fails("AccessDeniedException")

	// Every one of these calls is in the event history, with who, what and how it ended, and without its secrets.
	assume := s.recorded(session, "AssumeRole", "the one named second", func(r map[string]any) bool { return at(r, "requestParameters.roleSessionName") == "second" })
	has(t, assume, map[string]any{
		"userIdentity.type": "IAMUser", "userIdentity.arn": ana, "userIdentity.userName": "ana", "userIdentity.principalId": who.UserId, "eventSource": "sts.amazonaws.com",
		"requestParameters.roleArn": "arn:aws:iam::" + awsAccount + ":role/Audit", "responseElements.credentials.accessKeyId": session.ID,
		"responseElements.credentials.sessionToken": "HIDDEN_DUE_TO_SECURITY_REASONS", "recipientAccountId": awsAccount, "awsRegion": awsRegion, "sourceIPAddress": "127.0.0.1", "errorCode": nil,
	})
	if agent, _ := assume["userAgent"].(string); !strings.HasPrefix(agent, "aws-cli/") {
		t.Errorf("the user agent is %q", agent)
	}
	has(t, s.recorded(session, "AssumeRole", "rita's", func(r map[string]any) bool { return at(r, "userIdentity.userName") == "rita" }), map[string]any{
		"errorCode": "AccessDenied", "requestParameters.roleSessionName": "no", "responseElements": nil, "userIdentity.accessKeyId": rita.ID,
	})
	has(t, s.recorded(session, "GetCallerIdentity", "that of the session", func(r map[string]any) bool { return at(r, "userIdentity.accessKeyId") == session.ID }), map[string]any{
		"userIdentity.type": "AssumedRole", "userIdentity.arn": "arn:aws:sts::" + awsAccount + ":assumed-role/Audit/second",
		"userIdentity.sessionContext.sessionIssuer.type": "Role", "userIdentity.sessionContext.sessionIssuer.userName": "Audit",
		"userIdentity.sessionContext.attributes.mfaAuthenticated": "false", "readOnly": true, "requestParameters": nil, "responseElements": nil,
	})
	has(t, s.recorded(session, "LookupEvents", "rita's", func(r map[string]any) bool { return at(r, "userIdentity.userName") == "rita" }), map[string]any{
		"errorCode": "AccessDenied", "eventSource": "cloudtrail.amazonaws.com", "eventCategory": "Management",
	})
	for _, secret := range []string{session.Secret, session.Token, rita.Secret} {
		if out := d.spoor("query", "SELECT count(*) AS n FROM events WHERE contains(raw, '"+secret+"')", "--format", "csv").exits(clean).out; !strings.HasSuffix(out, "0\n") {
			t.Errorf("a secret is in the events: %s", out)
		}
		if strings.Contains(s.errs.String(), secret) {
			t.Error("a secret is in the log")
		}
	}
	s.end(15, clean)
}

// historyRecord is a record of the account and Region of these stories.
func historyRecord(n int, when time.Time) string {
	return fmt.Sprintf(`{"eventVersion":"1.11","eventID":"%s","eventTime":%q,"eventSource":"s3.amazonaws.com","eventName":"CreateBucket","awsRegion":%q,"sourceIPAddress":"192.0.2.7",`+
		`"userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEID","arn":"arn:aws:iam::%s:user/bea","accountId":"%s","accessKeyId":"AKIAEXAMPLEKEYOFBEA0","userName":"bea"},`+
		`"requestParameters":{"bucketName":"bucket-%d"},"responseElements":null,"readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"%s","eventCategory":"Management"}`,
		eventID(n), when.UTC().Format(time.RFC3339), awsRegion, awsAccount, awsAccount, n, awsAccount)
}

// TestAWSHistory looks events up with the AWS CLI by each attribute, by pages and by time.
func TestAWSHistory(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	d := newDesk(t)
	s := d.serveAWS()
	d.user("ana", "analyst")
	ana := d.accessKey("ana")
	now := time.Now().Truncate(time.Second)
	var body strings.Builder
	const many = 120
	for n := range many { // a minute apart, the first the oldest
		body.WriteString(historyRecord(n, now.Add(time.Duration(n-many-60)*time.Minute)) + "\n")
	}
	body.WriteString(strings.Replace(historyRecord(900, now.Add(-time.Hour)), awsRegion, "us-west-2", 1) + "\n")                                   // another Region
	body.WriteString(strings.Replace(historyRecord(901, now.Add(-time.Hour)), `"eventCategory":"Management"`, `"eventCategory":"Data"`, 1) + "\n") // no management event
	body.WriteString(historyRecord(902, now.Add(-91*24*time.Hour)) + "\n")                                                                         // too long ago
	s.want("POST", "/api/v1/events", body.String())
	s.eventually("what was pushed is in answers", func() bool { return len(s.ids("eventName=CreateBucket")) == many+3 })

	type event struct {
		EventId, EventName, ReadOnly, AccessKeyId, EventSource, Username, CloudTrailEvent string
		EventTime                                                                         any
		Resources                                                                         []struct{ ResourceType, ResourceName string }
	}
	lookup := func(args ...string) []event {
		t.Helper()
		var page struct{ Events []event }
		s.cli(ana, append([]string{"cloudtrail", "lookup-events"}, args...)...).exits(clean).into(&page)
		return page.Events
	}
	by := func(key, value string) []string {
		return []string{"--lookup-attributes", "AttributeKey=" + key + ",AttributeValue=" + value}
	}
	ids := func(events []event) []string {
		var out []string
		for _, e := range events {
			out = append(out, e.EventId)
		}
		return out
	}
	var newestFirst []string
	for n := many - 1; n >= 0; n-- {
		newestFirst = append(newestFirst, eventID(n))
	}
	// The CLI asks for page after page by itself.
	for _, c := range []struct {
		what string
		args []string
		want []string
	}{
		{"EventName", by("EventName", "CreateBucket"), newestFirst},
		{"Username", by("Username", "bea"), newestFirst},
		{"EventSource", append(by("EventSource", "s3.amazonaws.com"), "--max-items", "7"), newestFirst[:7]},
		{"AccessKeyId", append(by("AccessKeyId", "AKIAEXAMPLEKEYOFBEA0"), "--max-items", "3"), newestFirst[:3]},
		{"EventId", by("EventId", eventID(17)), []string{eventID(17)}},
		{"ResourceName", by("ResourceName", "bucket-33"), []string{eventID(33)}},
		{"ResourceType", append(by("ResourceType", "AWS::S3::Bucket"), "--page-size", "10", "--max-items", "25"), newestFirst[:25]},
		{"a span of time, both ends included", append(by("EventName", "CreateBucket"), "--start-time", now.Add(-70*time.Minute).UTC().Format(time.RFC3339), "--end-time", now.Add(-65*time.Minute).UTC().Format(time.RFC3339)), newestFirst[4:10]},
		{"what is not there", by("EventName", "CreateBuckets"), nil},
	} {
		if got := ids(lookup(c.args...)); !slices.Equal(got, c.want) {
			t.Errorf("%s: %d events, want %d\n%q\n%q", c.what, len(got), len(c.want), got, c.want)
		}
	}
	one := lookup(by("EventId", eventID(5))...)
	if len(one) != 1 || one[0].EventName != "CreateBucket" || one[0].ReadOnly != "false" || one[0].AccessKeyId != "AKIAEXAMPLEKEYOFBEA0" || one[0].Username != "bea" ||
		fmt.Sprint(one[0].Resources) != "[{AWS::S3::Bucket bucket-5}]" || !json.Valid([]byte(one[0].CloudTrailEvent)) {
		t.Errorf("an event is %+v", one)
	}
	for _, e := range lookup(append(by("ReadOnly", "true"), "--max-items", "5")...) {
		if e.ReadOnly != "true" || e.EventName == "CreateBucket" {
			t.Errorf("of those that read: %+v", e)
		}
	}
	s.cli(ana, "cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=a", "AttributeKey=EventId,AttributeValue=b").fails("InvalidLookupAttributesException")
	s.cli(ana, "cloudtrail", "lookup-events", "--start-time", "2026-01-02", "--end-time", "2026-01-01").fails("InvalidTimeRangeException")
	s.cli(ana, "cloudtrail", "lookup-events", "--next-token", "no such").fails("InvalidNextTokenException")

	// The look-ups are events too, with what they asked for.
	for what, want := range map[string]map[string]any{
		"InvalidLookupAttributesException": {"userIdentity.userName": "ana", "readOnly": true, "responseElements": nil, "apiVersion": "2013-11-01"},
		"InvalidTimeRangeException":        {"userIdentity.accessKeyId": ana.ID, "requestParameters.startTime": "Jan 2, 2026, 12:00:00 AM"},
		"InvalidNextTokenException":        {"requestParameters.nextToken": "no such"},
	} {
		has(t, s.recorded(ana, "LookupEvents", what, func(r map[string]any) bool { return r["errorCode"] == what }), want)
	}
	has(t, s.recorded(ana, "LookupEvents", "by resource", func(r map[string]any) bool {
		return strings.Contains(fmt.Sprint(r["requestParameters"]), "bucket-33")
	}), map[string]any{"requestParameters.lookupAttributes": []map[string]any{{"attributeKey": "ResourceName", "attributeValue": "bucket-33"}}, "errorCode": nil})
	s.end(15, clean)
}

// signed makes a request of a protocol, signed for a service.
func (s *service) signed(k accessKey, when time.Time, service, target, body string) *http.Request {
	s.d.t.Helper()
	req, err := http.NewRequestWithContext(s.d.t.Context(), "POST", s.aws, strings.NewReader(body))
	if err != nil {
		s.d.t.Fatal(err)
	}
	if target != "" {
		req.Header.Set("X-Amz-Target", target)
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	} else {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Token}, req, digest(body), service, awsRegion, when); err != nil {
		s.d.t.Fatal(err)
	}
	return req
}

// digest is that of a body, as signatures have it.
func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// answer sends a request, and gives the status and the code of the error.
func (s *service) answer(req *http.Request) (status int, code string) {
	s.d.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.d.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.d.t.Fatal(err)
	}
	if resp.Header.Get("X-Amzn-Requestid") == "" {
		s.d.t.Errorf("an answer without a request id: %d %s", resp.StatusCode, text)
	}
	if code := resp.Header.Get("X-Amzn-Errortype"); code != "" {
		return resp.StatusCode, code
	}
	_, code, _ = strings.Cut(string(text), "<Code>")
	code, _, _ = strings.Cut(code, "</Code>")
	return resp.StatusCode, code
}

// TestAWSRefusals is what callers meet who are not to come in: AWS's codes, nothing done, and an event that tells of it.
func TestAWSRefusals(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := d.serveAWS("--set", "aws.max_body=64KiB")
	d.user("ana", "analyst")
	root, ana := d.accessKey("root"), d.accessKey("ana")
	const trail = "com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101."
	const makeUser = "Action=CreateUser&Version=2010-05-08&UserName=mallory"
	now := time.Now()
	wrong := accessKey{root.ID, strings.Repeat("x", 40), ""}
	unsigned := s.signed(root, now, "iam", "", makeUser)
	unsigned.Header.Del("Authorization")
	changed := s.signed(root, now, "iam", "", makeUser)
	changed.Body, changed.ContentLength = io.NopCloser(strings.NewReader(makeUser+"2")), int64(len(makeUser)+1)
	elsewhere := s.signed(root, now, "sts", "", makeUser)
	for _, c := range []struct {
		what   string
		req    *http.Request
		status int
		code   string
		name   string // of the event
	}{
		{"no signature", unsigned, 403, "MissingAuthenticationToken", ""},
		{"a bad signature", s.signed(wrong, now, "iam", "", makeUser), 403, "SignatureDoesNotMatch", ""},
		{"another body than was signed", changed, 403, "SignatureDoesNotMatch", ""},
		{"a clock that is late", s.signed(root, now.Add(-6*time.Minute), "iam", "", makeUser), 403, "SignatureDoesNotMatch", ""},
		{"a clock that is early", s.signed(root, now.Add(6*time.Minute), "iam", "", makeUser), 403, "SignatureDoesNotMatch", ""},
		{"an unknown key", s.signed(accessKey{"AKIAAAAAAAAAAAAAAAAA", root.Secret, ""}, now, "iam", "", makeUser), 403, "InvalidClientTokenId", ""},
		{"a session token that is none", s.signed(accessKey{root.ID, root.Secret, "token"}, now, "iam", "", makeUser), 403, "InvalidClientTokenId", ""},
		{"signed for another service", elsewhere, 400, "InvalidAction", "CreateUser"},
		{"no permission", s.signed(ana, now, "iam", "", makeUser), 403, "AccessDenied", "CreateUser"},
		{"no permission, in JSON", s.signed(ana, now, "cloudtrail", trail+"CreateEventDataStore", `{"Name":"mine"}`), 403, "AccessDeniedException", "CreateEventDataStore"},
		{"a malformed body", s.signed(root, now, "cloudtrail", trail+"LookupEvents", `{"MaxResults":`), 400, "SerializationException", "LookupEvents"},
		{"a body against the model", s.signed(root, now, "cloudtrail", trail+"StartQuery", `{"QueryStatement":""}`), 400, "InvalidParameterException", "StartQuery"},
		{"a huge body", s.signed(root, now, "cloudtrail", trail+"LookupEvents", `{"NextToken":"`+strings.Repeat("x", 100<<10)+`"}`), 413, "RequestEntityTooLargeException", "LookupEvents"},
		{"an operation that is not there", s.signed(root, now, "cloudtrail", trail+"DropEverything", `{}`), 400, "UnknownOperationException", "DropEverything"},
	} {
		if status, code := s.answer(c.req); status != c.status || code != c.code && !(c.code == "InvalidParameterException" && strings.HasPrefix(code, "Invalid")) {
			t.Errorf("%s: %d %s, want %d %s", c.what, status, code, c.status, c.code)
		}
	}
	// A URL that was signed works again until it expires, as AWS's do, and each use of it is recorded.
	link := func(when time.Time) string {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.aws+"/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Expires=60", nil)
		if err != nil {
			t.Fatal(err)
		}
		url, _, err := v4.NewSigner().PresignHTTP(t.Context(), aws.Credentials{AccessKeyID: ana.ID, SecretAccessKey: ana.Secret}, req, digest(""), "sts", awsRegion, when)
		if err != nil {
			t.Fatal(err)
		}
		return url
	}
	get := func(url string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), "GET", url, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s.answer(req)
	}
	fresh, over := link(time.Now()), link(time.Now().Add(-61*time.Second))
	for _, c := range []struct {
		url    string
		status int
		code   string
	}{{fresh, 200, ""}, {fresh, 200, ""}, {over, 403, "SignatureDoesNotMatch"}} {
		if status, code := get(c.url); status != c.status || code != c.code {
			t.Errorf("a presigned URL: %d %s, want %d %s", status, code, c.status, c.code)
		}
	}

	rows := func(sql string) string {
		return d.spoor("query", sql, "--format", "csv").exits(clean).out
	}
	s.eventually("the refusals are found", func() bool {
		return strings.Contains(rows("SELECT eventName FROM events WHERE errorCode = 'UnknownOperationException'"), "DropEverything") &&
			strings.Count(rows("SELECT requestID FROM events WHERE eventName = 'GetCallerIdentity' AND errorCode IS NULL AND contains(raw, 'QueryString')"), "\n") == 3
	})
	recorded := rows("SELECT eventName, errorCode, coalesce(userIdentity.userName, userIdentity.type, userIdentity.accountId) AS who FROM events WHERE errorCode IS NOT NULL ORDER BY ALL")
	for _, want := range []string{
		"UnknownOperation,MissingAuthenticationToken,AWSAccount\n", "SignatureDoesNotMatch,AWSAccount\n", "InvalidClientTokenId,AWSAccount\n",
		"CreateUser,AccessDenied,ana\n", "CreateEventDataStore,AccessDenied,ana\n", "LookupEvents,SerializationException,Root\n", "LookupEvents,RequestEntityTooLargeException,AWSAccount\n",
		"DropEverything,UnknownOperationException,Root\n", "StartQuery,Invalid",
	} {
		if !strings.Contains(recorded, want) {
			t.Errorf("%q is not recorded among\n%s", want, recorded)
		}
	}
	d.spoor("iam", "user", "list").exits(clean).says("ana", "root")
	if out := d.spoor("iam", "user", "list").out; strings.Contains(out, "mallory") {
		t.Errorf("a refused call made a user:\n%s", out)
	}
	if strings.Contains(s.errs.String(), "panic") {
		t.Error(s.errs.String())
	}
	s.end(15, clean)
}

// TestAWSKeysTakenAway switches keys off, rotates them, and takes roles and users away: the next call is refused.
func TestAWSKeysTakenAway(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := d.serveAWS()
	d.user("ana", "analyst")
	ana := "arn:aws:iam::" + awsAccount + ":user/ana"
	first := d.accessKey("ana")
	d.spoor("iam", "role", "create", "Read", "--role", "auditor", "--trust", "ana").exits(clean)
	assume := func(k accessKey) accessKey {
		t.Helper()
		out, err := sts.NewFromConfig(s.config(k)).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + awsAccount + ":role/Read"), RoleSessionName: aws.String("now")})
		if err != nil {
			t.Fatal(err)
		}
		return accessKey{*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken}
	}
	role := "arn:aws:sts::" + awsAccount + ":assumed-role/Read/now"
	session := assume(first)
	check := func(what string, want map[accessKey]string) {
		t.Helper()
		for k, w := range want {
			if got := s.whoAmI(k); got != w {
				t.Errorf("%s: the key %s is %s, want %s", what, k.ID, got, w)
			}
		}
	}
	const gone = "InvalidClientTokenId"
	check("at first", map[accessKey]string{first: ana, session: role, {session.ID, session.Secret, ""}: gone, {session.ID, session.Secret, first.ID}: gone})
	d.spoor("iam", "key", "update", first.ID, "--status", "inactive").exits(clean)
	check("switched off", map[accessKey]string{first: gone, session: gone})
	d.spoor("iam", "key", "update", first.ID, "--status", "active").exits(clean)
	check("switched on", map[accessKey]string{first: ana, session: role})

	var second accessKey
	d.spoor("iam", "key", "rotate", "ana", "--json").exits(clean).into(&second)
	check("rotated", map[accessKey]string{first: ana, second: ana})
	d.spoor("iam", "key", "delete", first.ID).exits(clean)
	check("deleted", map[accessKey]string{first: gone, second: ana, session: gone})

	session = assume(second)
	check("another session", map[accessKey]string{session: role})
	time.Sleep(1100 * time.Millisecond) // sessions are issued to the second
	d.spoor("iam", "role", "revoke-sessions", "Read").exits(clean)
	check("sessions revoked", map[accessKey]string{session: gone, second: ana})
	time.Sleep(1100 * time.Millisecond)
	session = assume(second)
	check("assumed again", map[accessKey]string{session: role})
	d.spoor("iam", "role", "delete", "Read").exits(clean)
	check("role deleted", map[accessKey]string{session: gone, second: ana})
	d.spoor("iam", "user", "delete", "ana").exits(clean)
	check("user deleted", map[accessKey]string{second: gone})
	s.end(15, clean)
}
