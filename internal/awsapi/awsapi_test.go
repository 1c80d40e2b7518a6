package awsapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cloudwatchtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"github.com/aws/smithy-go"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/model"
	trailmodel "spoor/internal/awsapi/model/cloudtrail"
	datamodel "spoor/internal/awsapi/model/cloudtraildata"
	metricmodel "spoor/internal/awsapi/model/monitoring"
	snsmodel "spoor/internal/awsapi/model/sns"
	stsmodel "spoor/internal/awsapi/model/sts"
	"spoor/internal/awsapi/services"
	stsservice "spoor/internal/awsapi/sts"
	"spoor/internal/recorder"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
	keyID   = "AKIAIOSFODNN7EXAMPLE"
	secret  = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	session = "ASIAIOSFODNN7EXAMPLE"
	token   = "a/session+token=="
)

var ana = recorder.Identity{Type: "IAMUser", PrincipalID: "AIDAEXAMPLEID", ARN: "arn:aws:iam::111122223333:user/ana", AccountID: account, UserName: "ana"}

// keys is a Credentials.
type keys map[string]awsapi.Credential

func (k keys) Lookup(_ context.Context, id, _ string) (awsapi.Credential, error) {
	switch c, ok := k[id]; {
	case id == "AKIABROKENBROKENBROK":
		return c, errors.New("the store of keys is broken")
	case !ok:
		return c, awsapi.ErrUnknownKey
	default:
		return c, nil
	}
}

// allow is an Authorizer that allows all but what is named.
type allow struct {
	mu     sync.Mutex
	denied map[string]bool
	asked  []awsapi.Access
}

func (a *allow) Authorize(_ context.Context, x awsapi.Access) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, x)
	if a.denied[x.Action] {
		return fmt.Errorf("a policy: %w", awsapi.ErrDenied)
	}
	return nil
}

// rig is an endpoint under test.
type rig struct {
	url  string
	book *awsapitest.Book
	auth *allow
	undo *[]string
	log  *awsapitest.Buffer
}

var creationDate = "2026-01-10T09:00:00Z"

func newRig(t testing.TB, change ...func(*awsapi.Options)) *rig {
	t.Helper()
	b, auth, log := &awsapitest.Book{}, &allow{denied: map[string]bool{}}, &awsapitest.Buffer{}
	rec, err := recorder.New(recorder.Options{Journal: b, Account: account, Region: region})
	if err != nil {
		t.Fatal(err)
	}
	deploy := recorder.Identity{
		Type: "AssumedRole", PrincipalID: "AROAEXAMPLEID:ci", ARN: "arn:aws:sts::111122223333:assumed-role/Deploy/ci", AccountID: account,
		SessionContext: &recorder.SessionContext{
			SessionIssuer: &recorder.SessionIssuer{Type: "Role", PrincipalID: "AROAEXAMPLEID", ARN: "arn:aws:iam::111122223333:role/Deploy", AccountID: account, UserName: "Deploy"},
			Attributes:    recorder.SessionAttributes{CreationDate: creationDate, MFAAuthenticated: "false"},
		},
	}
	r := &rig{book: b, auth: auth, log: log, undo: &[]string{}}
	o := awsapi.Options{
		Services: r.services(), Credentials: keys{
			keyID:                  {Secret: secret, Principal: awsapi.Principal{Identity: ana, Subject: "ana"}},
			session:                {Secret: secret, Token: token, Expires: time.Now().Add(time.Hour), Principal: awsapi.Principal{Identity: deploy}},
			"ASIAEXPIREDEXPIRED00": {Secret: secret, Token: token, Expires: time.Now().Add(-time.Second), Principal: awsapi.Principal{Identity: deploy}},
		},
		Authorizer: auth, Recorder: rec, Account: account, Region: region, MaxBody: 1 << 20, Log: slog.New(slog.NewTextHandler(log, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	e, err := awsapi.New(o)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(e)
	t.Cleanup(srv.Close)
	r.url = srv.URL
	return r
}

// services are all services, with handlers for operations of each protocol that say back what they got.
func (r *rig) services() []*awsapi.Service {
	trail := awsapi.NewService(&trailmodel.Service, awsapi.ServiceOptions{})
	awsapi.Handle(trail, "LookupEvents", func(_ context.Context, _ *awsapi.Call, in *trailmodel.LookupEventsRequest) (*trailmodel.LookupEventsResponse, error) {
		out := &trailmodel.LookupEventsResponse{NextToken: in.NextToken}
		for _, a := range in.LookupAttributes {
			out.Events = append(out.Events, trailmodel.Event{EventName: a.AttributeKey, EventId: a.AttributeValue, EventTime: in.StartTime})
		}
		return out, nil
	})
	awsapi.Handle(trail, "GetTrail", func(_ context.Context, _ *awsapi.Call, in *trailmodel.GetTrailRequest) (*trailmodel.GetTrailResponse, error) {
		switch *in.Name {
		case "panics":
			panic("a secret of the code")
		case "fails":
			return nil, errors.New("a secret of the store")
		case "unknown-code":
			return nil, awsapi.Errorf("NoSuchCodeException", "x")
		}
		return nil, awsapi.Errorf("TrailNotFoundException", "Unknown trail: %s for the user: %s", *in.Name, account)
	}, awsapi.On(func(c *awsapi.Call, in *trailmodel.GetTrailRequest) []string {
		return []string{fmt.Sprintf("arn:%s:cloudtrail:%s:%s:trail/%s", c.Partition, c.Region, c.Account, *in.Name)}
	}))
	awsapi.Handle(trail, "AddTags", func(_ context.Context, c *awsapi.Call, in *trailmodel.AddTagsRequest) (*trailmodel.AddTagsResponse, error) {
		for _, what := range []string{"first", "second"} {
			c.OnUnrecorded(func(context.Context) { *r.undo = append(*r.undo, what) })
		}
		c.Resource(recorder.Resource{ARN: *in.ResourceId, AccountID: account, Type: "AWS::CloudTrail::Trail"})
		c.Annotate("tags", len(in.TagsList))
		return &trailmodel.AddTagsResponse{}, nil
	})

	data := awsapi.NewService(&datamodel.Service, awsapi.ServiceOptions{})
	awsapi.Handle(data, "PutAuditEvents", func(_ context.Context, _ *awsapi.Call, in *datamodel.PutAuditEventsRequest) (*datamodel.PutAuditEventsResponse, error) {
		out := &datamodel.PutAuditEventsResponse{Failed: []datamodel.ResultErrorEntry{}, Successful: []datamodel.AuditEventResultEntry{}}
		for _, e := range in.AuditEvents {
			out.Successful = append(out.Successful, datamodel.AuditEventResultEntry{Id: e.Id, EventID: in.ExternalId})
		}
		return out, nil
	}, awsapi.DataEvent())

	metrics := awsapi.NewService(&metricmodel.Service, awsapi.ServiceOptions{ActionPrefix: "cloudwatch"})
	awsapi.Handle(metrics, "PutMetricAlarm", func(_ context.Context, _ *awsapi.Call, in *metricmodel.PutMetricAlarmInput) (*struct{}, error) {
		if *in.AlarmName == "conflict" {
			return nil, awsapi.Errorf("LimitExceededFault", "Too many alarms")
		}
		return nil, nil
	})
	awsapi.Handle(metrics, "GetMetricStatistics", func(_ context.Context, _ *awsapi.Call, in *metricmodel.GetMetricStatisticsInput) (*metricmodel.GetMetricStatisticsOutput, error) {
		half := 0.5
		return &metricmodel.GetMetricStatisticsOutput{Label: in.MetricName, Datapoints: []metricmodel.Datapoint{{
			Timestamp: in.StartTime, Average: &half, ExtendedStatistics: map[string]float64{"p99": 2},
		}}}, nil
	})
	awsapi.Handle(metrics, "PutMetricData", func(_ context.Context, _ *awsapi.Call, in *metricmodel.PutMetricDataInput) (*struct{}, error) {
		if len(in.MetricData) != 900 || *in.MetricData[899].Value != 899 {
			return nil, awsapi.Errorf("InvalidParameterValueException", "%d values", len(in.MetricData))
		}
		return nil, nil
	})

	topics := awsapi.NewService(&snsmodel.Service, awsapi.ServiceOptions{})
	awsapi.Handle(topics, "Publish", func(_ context.Context, _ *awsapi.Call, in *snsmodel.PublishInput) (*snsmodel.PublishResponse, error) {
		id := *in.Message + "/" + *in.MessageAttributes["a"].StringValue + "/" + string(in.MessageAttributes["b"].BinaryValue)
		return &snsmodel.PublishResponse{MessageId: &id}, nil
	})

	who := awsapi.NewService(&stsmodel.Service, awsapi.ServiceOptions{Global: true})
	awsapi.Handle(who, "GetCallerIdentity", func(_ context.Context, c *awsapi.Call, _ *stsmodel.GetCallerIdentityRequest) (*stsmodel.GetCallerIdentityResponse, error) {
		who := c.Principal.Identity
		return &stsmodel.GetCallerIdentityResponse{Account: &who.AccountID, Arn: &who.ARN, UserId: &who.PrincipalID}, nil
	}, awsapi.AnyPrincipal())
	awsapi.Handle(who, "AssumeRole", func(_ context.Context, _ *awsapi.Call, in *stsmodel.AssumeRoleRequest) (*stsmodel.AssumeRoleResponse, error) {
		if *in.RoleArn == "arn:aws:iam::111122223333:role/TooMuch" {
			return nil, awsapi.Errorf("PackedPolicyTooLargeException", "Packed <size>")
		}
		at := time.Date(2026, 1, 10, 15, 4, 5, 0, time.UTC)
		id, key, tok := "ASIA1", "the secret key", "the token"
		return &stsmodel.AssumeRoleResponse{Credentials: &stsmodel.Credentials{AccessKeyId: &id, SecretAccessKey: &key, SessionToken: &tok, Expiration: &at}, SourceIdentity: in.SourceIdentity}, nil
	})
	awsapi.Handle(who, "AssumeRoleWithWebIdentity", func(_ context.Context, _ *awsapi.Call, in *stsmodel.AssumeRoleWithWebIdentityRequest) (*stsmodel.AssumeRoleWithWebIdentityResponse, error) {
		return &stsmodel.AssumeRoleWithWebIdentityResponse{Provider: in.ProviderId}, nil
	})
	all := []*awsapi.Service{who, trail, data, metrics, topics}
	for _, s := range services.All(services.Parts{}) {
		known := false
		for _, mine := range all {
			known = known || mine.Model() == s.Model()
		}
		if !known {
			all = append(all, s)
		}
	}
	return all
}

func creds(id, tok string) aws.CredentialsProvider {
	return aws.NewCredentialsCache(credentials.NewStaticCredentialsProvider(id, secret, tok))
}

func (r *rig) config() aws.Config {
	return aws.Config{Region: region, BaseEndpoint: &r.url, Credentials: creds(keyID, ""), RetryMaxAttempts: 1}
}

// code is the code that a client of the SDK made of an error.
func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

func TestGetCallerIdentity(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	out, err := sts.NewFromConfig(r.config()).GetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	if *out.Account != account || *out.Arn != ana.ARN || *out.UserId != ana.PrincipalID {
		t.Errorf("got %s %s %s", *out.Account, *out.Arn, *out.UserId)
	}
	got := r.book.Last(t)
	for _, varies := range []string{"eventTime", "requestID", "eventID", "userAgent"} {
		if got[varies] == nil || got[varies] == "" {
			t.Errorf("the record has no %s", varies)
		}
		delete(got, varies)
	}
	awsapitest.Equal(t, got, `{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEID","arn":"arn:aws:iam::111122223333:user/ana",
		"accountId":"111122223333","accessKeyId":"AKIAIOSFODNN7EXAMPLE","userName":"ana"},"eventSource":"sts.amazonaws.com","eventName":"GetCallerIdentity",
		"awsRegion":"eu-west-1","sourceIPAddress":"127.0.0.1","requestParameters":null,"responseElements":null,"readOnly":true,"eventType":"AwsApiCall",
		"apiVersion":"2011-06-15","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`)
	if len(r.auth.asked) != 0 {
		t.Error("a permission was asked for")
	}

	// Of a session, the global endpoint's Region, and its signature in the URL, again and again.
	c := r.config()
	c.Credentials, c.Region = creds(session, token), "us-east-1"
	signed, err := sts.NewPresignClient(sts.NewFromConfig(c)).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[any]bool{}
	for range 2 {
		status, body, _ := r.send(t, must(http.NewRequest(signed.Method, signed.URL, nil)))
		if status != 200 || !strings.Contains(body, "<Arn>arn:aws:sts::111122223333:assumed-role/Deploy/ci</Arn><UserId>AROAEXAMPLEID:ci</UserId>") {
			t.Errorf("%d %s", status, body)
		}
		awsapitest.Equal(t, r.book.Last(t)["additionalEventData"], `{"AuthenticationMethod":"QueryString"}`)
		ids[r.book.Last(t)["requestID"]] = true
	}
	if len(ids) != 2 {
		t.Errorf("two uses of a URL are recorded as %v", ids)
	}
	awsapitest.Equal(t, r.book.Last(t)["userIdentity"], `{"type":"AssumedRole","principalId":"AROAEXAMPLEID:ci","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/ci",
		"accountId":"111122223333","accessKeyId":"ASIAIOSFODNN7EXAMPLE","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEID",
		"arn":"arn:aws:iam::111122223333:role/Deploy","accountId":"111122223333","userName":"Deploy"},"attributes":{"creationDate":"2026-01-10T09:00:00Z","mfaAuthenticated":"false"}}}`)
	if len(r.book.Records()) != 3 {
		t.Errorf("%d calls were recorded", len(r.book.Records()))
	}
}

// TestPresignedExpires: a URL counts until it expires, whoever sends it, and not after. Every use is recorded.
func TestPresignedExpires(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRig(t, func(o *awsapi.Options) { o.Now = func() time.Time { return now } })
	signed, err := sts.NewPresignClient(sts.NewFromConfig(r.config())).PresignGetCallerIdentity(t.Context(), &sts.GetCallerIdentityInput{})
	if err != nil {
		t.Fatal(err)
	}
	began := now
	for _, c := range []struct {
		after  time.Duration
		status int
		code   any
	}{{0, 200, nil}, {14 * time.Minute, 200, nil}, {15*time.Minute + 2*time.Second, 403, "SignatureDoesNotMatch"}, {-6 * time.Minute, 403, "SignatureDoesNotMatch"}, {time.Minute, 200, nil}} {
		now = began.Add(c.after)
		status, body, _ := r.send(t, must(http.NewRequest(signed.Method, signed.URL, nil)))
		last := r.book.Last(t)
		if status != c.status || last["errorCode"] != c.code {
			t.Errorf("after %v: %d %s, recorded %v", c.after, status, body, last)
		}
		want := `{"AuthenticationMethod":"QueryString"}`
		if c.status != 200 {
			want = `{"AuthenticationMethod":"QueryString","claimedAccessKeyId":"AKIAIOSFODNN7EXAMPLE"}`
		}
		if c.after >= 0 { // alike refusals of a minute are counted together
			awsapitest.Equal(t, last["additionalEventData"], want)
		}
	}
}

// attempts is an Attempts that lets so many fail for each address and key.
type attempts struct {
	mu     sync.Mutex
	most   int
	failed map[string]int
}

func (a *attempts) Wait(from netip.Addr, id string) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failed[from.String()+id] >= a.most {
		return time.Minute
	}
	return 0
}

func (a *attempts) Failed(from netip.Addr, id string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed[from.String()+id]++
}

// TestAttempts: guesses are bounded, mistakes are no guesses, and whoever has guessed too often is refused unseen.
func TestAttempts(t *testing.T) {
	t.Parallel()
	a := &attempts{most: 3, failed: map[string]int{}}
	r := newRig(t, func(o *awsapi.Options) { o.Attempts = a })
	call := func(id, secret, token string, skew time.Duration) string {
		t.Helper()
		req := request("POST", r.url, "application/x-www-form-urlencoded", "Action=GetCallerIdentity")
		if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: id, SecretAccessKey: secret, SessionToken: token}, req, sum("Action=GetCallerIdentity"), "sts", region, time.Now().Add(skew)); err != nil {
			t.Fatal(err)
		}
		status, body, _ := r.send(t, req)
		_, code, _ := strings.Cut(body, "<Code>")
		code, _, _ = strings.Cut(code, "</Code>")
		return fmt.Sprint(status, code)
	}
	for i, c := range []struct {
		id, secret, token string
		skew              time.Duration
		want              string
	}{
		{keyID, secret, "", time.Hour, "403SignatureDoesNotMatch"}, // no guess
		{keyID, "wrong", "", 0, "403SignatureDoesNotMatch"},
		{keyID, secret, "a token", 0, "403InvalidClientTokenId"},
		{keyID, secret, "", 0, "200"},
		{keyID, "wrong", "", 0, "403SignatureDoesNotMatch"},
		{keyID, "wrong", "", 0, "403SignatureDoesNotMatch"},
		{keyID, secret, "", 0, "400Throttling"},
		{session, secret, token, 0, "200"}, // another key
		{"AKIAUNKNOWNUNKNOWN00", secret, "", 0, "403InvalidClientTokenId"},
		{"AKIAUNKNOWNUNKNOWN01", secret, "", 0, "403InvalidClientTokenId"},
		{"AKIAUNKNOWNUNKNOWN02", secret, "", 0, "400Throttling"},
		{session, secret, "another", 0, "400Throttling"},
		{session, secret, token, 0, "200"},
	} {
		if got := call(c.id, c.secret, c.token, c.skew); got != c.want {
			t.Errorf("%d: %s, want %s", i, got, c.want)
		}
	}
	if got := fmt.Sprint(a.failed); got != "map[127.0.0.1:3 127.0.0.1AKIAIOSFODNN7EXAMPLE:3]" {
		t.Error(got)
	}
}

// TestSlowBody: who does not send the body that it promised is not waited for, and holds no slot.
func TestSlowBody(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *awsapi.Options) { o.BodyTime, o.InFlight = 50*time.Millisecond, 1 })
	body := "Action=GetCallerIdentity"
	req := r.sign(t, request("POST", r.url, "application/x-www-form-urlencoded", body), body, "sts")
	var text bytes.Buffer
	if err := req.Write(&text); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write(bytes.TrimSuffix(text.Bytes(), []byte("Identity"))); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 400") || !strings.Contains(string(answer), "<Code>MalformedInput</Code>") {
		t.Errorf("%v %s", err, answer)
	}
	if status, text, _ := r.send(t, r.sign(t, request("POST", r.url, "application/x-www-form-urlencoded", body), body, "sts")); status != 200 {
		t.Errorf("after it: %d %s", status, text)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (r *rig) send(t testing.TB, req *http.Request) (status int, body string, h http.Header) {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text), resp.Header
}

// TestClients speaks each protocol with AWS's SDK.
func TestClients(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	at := time.Date(2026, 1, 10, 9, 12, 41, 500e6, time.UTC)

	t.Run("json", func(t *testing.T) {
		client := cloudtrail.NewFromConfig(r.config())
		out, err := client.LookupEvents(t.Context(), &cloudtrail.LookupEventsInput{StartTime: &at, NextToken: aws.String("é\"<"), LookupAttributes: []cloudtrailtypes.LookupAttribute{
			{AttributeKey: cloudtrailtypes.LookupAttributeKeyEventName, AttributeValue: aws.String("StopLogging")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Events) != 1 || *out.Events[0].EventName != "EventName" || *out.Events[0].EventId != "StopLogging" || !out.Events[0].EventTime.Equal(at) || *out.NextToken != "é\"<" {
			t.Errorf("%+v", out)
		}
		awsapitest.Equal(t, r.book.Last(t)["requestParameters"], `{"startTime":"Jan 10, 2026, 9:12:41 AM","nextToken":"é\"<","lookupAttributes":[{"attributeKey":"EventName","attributeValue":"StopLogging"}]}`)

		_, err = client.GetTrail(t.Context(), &cloudtrail.GetTrailInput{Name: aws.String("audit")})
		var notFound *cloudtrailtypes.TrailNotFoundException
		if !errors.As(err, &notFound) || notFound.ErrorMessage() != "Unknown trail: audit for the user: 111122223333" {
			t.Errorf("got %v", err)
		}
		last := r.book.Last(t)
		if last["errorCode"] != "TrailNotFoundException" || last["errorMessage"] != "Unknown trail: audit for the user: 111122223333" {
			t.Errorf("recorded %v", last)
		}
		_, err = client.ListDashboards(t.Context(), &cloudtrail.ListDashboardsInput{})
		if code(err) != "UnknownOperationException" {
			t.Errorf("got %v", err)
		}
		last = r.book.Last(t)
		if last["eventName"] != "ListDashboards" || last["errorCode"] != "UnknownOperationException" || last["userIdentity"].(map[string]any)["userName"] != "ana" {
			t.Errorf("recorded %v", last)
		}
		if _, err = client.AddTags(t.Context(), &cloudtrail.AddTagsInput{ResourceId: aws.String("arn:aws:cloudtrail:eu-west-1:111122223333:trail/a"), TagsList: []cloudtrailtypes.Tag{{Key: aws.String("k")}}}); err != nil {
			t.Fatal(err)
		}
		last = r.book.Last(t)
		awsapitest.Equal(t, []any{last["requestParameters"], last["responseElements"], last["resources"], last["additionalEventData"], last["readOnly"]}, `[
			{"resourceId":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/a","tagsList":[{"key":"k"}]},null,
			[{"ARN":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/a","accountId":"111122223333","type":"AWS::CloudTrail::Trail"}],{"tags":1},false]`)
	})

	t.Run("query", func(t *testing.T) {
		out, err := sts.NewFromConfig(r.config()).AssumeRole(t.Context(), &sts.AssumeRoleInput{
			RoleArn: aws.String("arn:aws:iam::111122223333:role/Deploy"), RoleSessionName: aws.String("s1"), SourceIdentity: aws.String("someone"), TokenCode: aws.String("123456"),
		})
		if err != nil {
			t.Fatal(err)
		}
		if *out.Credentials.SecretAccessKey != "the secret key" || *out.SourceIdentity != "someone" || !out.Credentials.Expiration.Equal(time.Date(2026, 1, 10, 15, 4, 5, 0, time.UTC)) {
			t.Errorf("%+v", out)
		}
		last := r.book.Last(t)
		awsapitest.Equal(t, []any{last["requestParameters"], last["responseElements"]}, `[
			{"roleArn":"arn:aws:iam::111122223333:role/Deploy","roleSessionName":"s1","sourceIdentity":"someone","tokenCode":"HIDDEN_DUE_TO_SECURITY_REASONS"},
			{"credentials":{"accessKeyId":"ASIA1","expiration":"Jan 10, 2026, 3:04:05 PM","secretAccessKey":"HIDDEN_DUE_TO_SECURITY_REASONS","sessionToken":"HIDDEN_DUE_TO_SECURITY_REASONS"},"sourceIdentity":"someone"}]`)
		_, err = sts.NewFromConfig(r.config()).AssumeRole(t.Context(), &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::111122223333:role/TooMuch"), RoleSessionName: aws.String("s1")})
		if code(err) != "PackedPolicyTooLarge" || !strings.Contains(err.Error(), "Packed <size>") {
			t.Errorf("got %v", err)
		}
		if last := r.book.Last(t); last["errorCode"] != "PackedPolicyTooLargeException" { // as CloudTrail writes it
			t.Errorf("recorded %v", last["errorCode"])
		}

		published, err := sns.NewFromConfig(r.config()).Publish(t.Context(), &sns.PublishInput{TopicArn: aws.String("arn:aws:sns:eu-west-1:111122223333:t"), Message: aws.String("secret & <message>"),
			MessageAttributes: map[string]snstypes.MessageAttributeValue{
				"a": {DataType: aws.String("String"), StringValue: aws.String("one")}, "b": {DataType: aws.String("Binary"), BinaryValue: []byte{'t', 'w', 'o'}},
			}})
		if err != nil {
			t.Fatal(err)
		}
		if *published.MessageId != "secret & <message>/one/two" {
			t.Errorf("got %s", *published.MessageId)
		}
		awsapitest.Equal(t, r.book.Last(t)["requestParameters"], `{"topicArn":"arn:aws:sns:eu-west-1:111122223333:t","message":"HIDDEN_DUE_TO_SECURITY_REASONS","messageAttributes":"HIDDEN_DUE_TO_SECURITY_REASONS"}`)
		for _, text := range r.book.Records() {
			if strings.Contains(text, "the secret key") || strings.Contains(text, "the token") || strings.Contains(text, "<message>\"") || strings.Contains(text, secret) {
				t.Errorf("a secret was recorded: %s", text)
			}
		}
	})

	t.Run("cbor", func(t *testing.T) {
		client := cloudwatch.NewFromConfig(r.config())
		out, err := client.GetMetricStatistics(t.Context(), &cloudwatch.GetMetricStatisticsInput{
			MetricName: aws.String("m"), Namespace: aws.String("n"), StartTime: &at, EndTime: aws.Time(at.Add(time.Minute)), Period: aws.Int32(60), Statistics: []cloudwatchtypes.Statistic{"Average"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(out.Datapoints) != 1 || *out.Datapoints[0].Average != 0.5 || out.Datapoints[0].ExtendedStatistics["p99"] != 2 || !out.Datapoints[0].Timestamp.Equal(at) {
			t.Errorf("%+v", out)
		}
		alarm := &cloudwatch.PutMetricAlarmInput{AlarmName: aws.String("a"), ComparisonOperator: "GreaterThanThreshold", EvaluationPeriods: aws.Int32(1), Threshold: aws.Float64(1.25)}
		if _, err := client.PutMetricAlarm(t.Context(), alarm); err != nil {
			t.Error(err)
		}
		awsapitest.Equal(t, r.book.Last(t)["requestParameters"], `{"alarmName":"a","comparisonOperator":"GreaterThanThreshold","evaluationPeriods":1,"threshold":1.25}`)
		alarm.AlarmName = aws.String("conflict")
		_, err = client.PutMetricAlarm(t.Context(), alarm)
		var full *cloudwatchtypes.LimitExceededFault
		if !errors.As(err, &full) || full.ErrorMessage() != "Too many alarms" {
			t.Errorf("got %v", err)
		}
		data := &cloudwatch.PutMetricDataInput{Namespace: aws.String("n")}
		for i := range 900 { // so many that the client compresses them
			data.MetricData = append(data.MetricData, cloudwatchtypes.MetricDatum{MetricName: aws.String("m"), Value: aws.Float64(float64(i)), Timestamp: &at})
		}
		if _, err := client.PutMetricData(t.Context(), data); err != nil {
			t.Error(err)
		}
		if _, err := client.ListMetrics(t.Context(), &cloudwatch.ListMetricsInput{}); code(err) != "InvalidAction" { // which the client takes from the query protocol
			t.Errorf("got %v", err)
		}
	})
}

// sign makes a signed request.
func (r *rig) sign(t testing.TB, req *http.Request, body, service string, change ...func(*signing)) *http.Request {
	t.Helper()
	s := signing{key: keyID, secret: secret, region: region, service: service, at: time.Now()}
	for _, c := range change {
		c(&s)
	}
	err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: s.key, SecretAccessKey: s.secret, SessionToken: s.token}, req, sum(body), s.service, s.region, s.at)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

type signing struct {
	key, secret, token, region, service string
	at                                  time.Time
}

// wireProtocol makes requests of a protocol, and reads the code of an error.
type wireProtocol struct {
	name, service string
	request       func(url, op, body string) *http.Request
	code          func(t *testing.T, body string, h http.Header) string
	json          bool // names of codes
}

func jsonCode(t *testing.T, body string, h http.Header) string {
	var e struct {
		Type    string `json:"__type"`
		Message string
	}
	if err := json.Unmarshal([]byte(body), &e); err != nil || e.Message == "" {
		t.Errorf("%s: %v", body, err)
	}
	if e.Type != "" && e.Type != h.Get("X-Amzn-Errortype") {
		t.Errorf("%s is not %s", e.Type, h.Get("X-Amzn-Errortype"))
	}
	return h.Get("X-Amzn-Errortype")
}

func xmlCode(t *testing.T, body string, h http.Header) string {
	_, rest, ok := strings.Cut(body, "<Code>")
	c, _, _ := strings.Cut(rest, "</Code>")
	if !ok || !strings.HasPrefix(body, "<ErrorResponse xmlns=") || !strings.Contains(body, "<Type>Sender</Type>") && !strings.Contains(body, "<Type>Receiver</Type>") {
		t.Errorf("%s", body)
	}
	return c
}

func request(method, url, media, body string, headers ...string) *http.Request {
	r := must(http.NewRequest(method, url, strings.NewReader(body)))
	if media != "" {
		r.Header.Set("Content-Type", media)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return r
}

var protocols = []wireProtocol{
	{"json", "cloudtrail", func(url, op, body string) *http.Request {
		return request("POST", url+"/", "application/x-amz-json-1.1", body, "X-Amz-Target", "CloudTrail_20131101."+op)
	}, jsonCode, true},
	{"query", "sts", func(url, op, body string) *http.Request {
		return request("POST", url+"/", "application/x-www-form-urlencoded; charset=utf-8", body)
	}, xmlCode, false},
	{"cbor", "monitoring", func(url, op, body string) *http.Request {
		return request("POST", url+"/service/GraniteServiceVersion20100801/operation/"+op, "application/cbor", body, "Smithy-Protocol", "rpc-v2-cbor")
	}, func(t *testing.T, body string, h http.Header) string {
		if h.Get("Smithy-Protocol") != "rpc-v2-cbor" || h.Get("Content-Type") != "application/cbor" || !strings.Contains(body, h.Get("X-Amzn-Errortype")) {
			t.Errorf("%q %v", body, h)
		}
		return h.Get("X-Amzn-Errortype")
	}, true},
	{"rest", "cloudtrail-data", func(url, op, body string) *http.Request {
		return request("POST", url+"/PutAuditEvents?channelArn=arn:x", "application/json", body)
	}, jsonCode, true},
}

// call is an operation of each protocol, with a body that is fine.
var fine = map[string][2]string{
	"json":  {"LookupEvents", `{}`},
	"query": {"", "Action=GetCallerIdentity&Version=2011-06-15"},
	"cbor":  {"PutMetricAlarm", "\xa3\x69AlarmName\x61a\x72ComparisonOperator\x74GreaterThanThreshold\x71EvaluationPeriods\x01"},
	"rest":  {"", `{"auditEvents":[{"id":"1","eventData":"{}"}]}`},
}

// TestRefusals holds AWS's codes of refused signatures, in each protocol, and that nothing is let in.
func TestRefusals(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, c := range map[string]struct {
		sign        func(*signing)
		change      func(*http.Request)
		json, query string
		status      int
	}{
		"no signature":    {change: func(r *http.Request) { r.Header.Del("Authorization") }, json: "MissingAuthenticationTokenException", query: "MissingAuthenticationToken"},
		"malformed":       {change: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256 x") }, json: "IncompleteSignatureException", query: "IncompleteSignature"},
		"unknown key":     {sign: func(s *signing) { s.key = "AKIAUNKNOWNUNKNOWN00" }, json: "UnrecognizedClientException", query: "InvalidClientTokenId"},
		"wrong secret":    {sign: func(s *signing) { s.secret = "x" }, json: "InvalidSignatureException", query: "SignatureDoesNotMatch"},
		"old":             {sign: func(s *signing) { s.at = s.at.Add(-16 * time.Minute) }, json: "InvalidSignatureException", query: "SignatureDoesNotMatch"},
		"future":          {sign: func(s *signing) { s.at = s.at.Add(16 * time.Minute) }, json: "InvalidSignatureException", query: "SignatureDoesNotMatch"},
		"other region":    {sign: func(s *signing) { s.region = "eu-west-2" }, json: "InvalidSignatureException", query: "SignatureDoesNotMatch"},
		"expired session": {sign: func(s *signing) { s.key, s.token = "ASIAEXPIREDEXPIRED00", token }, json: "ExpiredTokenException", query: "ExpiredToken"},
		"other token":     {sign: func(s *signing) { s.key, s.token = session, "other" }, json: "UnrecognizedClientException", query: "InvalidClientTokenId"},
		"no token":        {sign: func(s *signing) { s.key = session }, json: "UnrecognizedClientException", query: "InvalidClientTokenId"},
		"token of no key": {sign: func(s *signing) { s.token = token }, json: "UnrecognizedClientException", query: "InvalidClientTokenId"},
		"changed body": {change: func(r *http.Request) {
			r.Body = io.NopCloser(strings.NewReader(strings.Repeat(" ", int(r.ContentLength))))
		}, json: "InvalidSignatureException", query: "SignatureDoesNotMatch"},
		"broken key lookup": {sign: func(s *signing) { s.key = "AKIABROKENBROKENBROK" }, json: "InternalFailure", query: "InternalFailure", status: 500},
		"huge": {change: func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(strings.Repeat(" ", 1<<20+1))), 1<<20+1
		}, json: "RequestEntityTooLargeException", query: "RequestEntityTooLarge", status: 413},
	} {
		for _, p := range protocols {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				call := fine[p.name]
				req := p.request(r.url, call[0], call[1])
				if c.sign == nil {
					c.sign = func(*signing) {}
				}
				r.sign(t, req, call[1], p.service, c.sign)
				if c.change != nil {
					c.change(req)
				}
				status, body, h := r.send(t, req)
				want, wantStatus := c.query, 403
				if p.json {
					want = c.json
				}
				if c.status != 0 {
					wantStatus = c.status
				}
				if got := p.code(t, body, h); got != want || status != wantStatus || h.Get("X-Amzn-Requestid") == "" {
					t.Errorf("%d %s, want %d %s: %s", status, got, wantStatus, want, body)
				}
			})
		}
	}
	for _, text := range r.book.Records() {
		if !strings.Contains(text, `"ANONYMOUS_PRINCIPAL"`) || !strings.Contains(text, `"errorCode"`) || strings.Contains(text, secret) || strings.Contains(text, `"requestParameters":{`) {
			t.Errorf("recorded: %s", text)
		}
	}
	if n := len(r.book.Records()); n < 20 {
		t.Errorf("%d refusals were recorded", n)
	}
	// And what is right is let in.
	for _, p := range protocols {
		call := fine[p.name]
		if status, body, _ := r.send(t, r.sign(t, p.request(r.url, call[0], call[1]), call[1], p.service)); status != 200 {
			t.Errorf("%s: %d %s", p.name, status, body)
		}
	}
}

// TestTargets holds both spellings of X-Amz-Target, and what names nothing.
func TestTargets(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for target, want := range map[string]string{
		"CloudTrail_20131101.LookupEvents":                                    "",
		"com.amazonaws.cloudtrail.v20131101.CloudTrail_20131101.LookupEvents": "",
		"CloudTrail_20131101.NoSuch":                                          "UnknownOperationException",
		"CloudTrail_20131101.CreateTrail":                                     "UnknownOperationException",
		"Other.LookupEvents":                                                  "UnknownOperationException",
		"LookupEvents":                                                        "UnknownOperationException",
		"CloudTrail_20131101.":                                                "UnknownOperationException",
		"CloudTrail_20131101.<script>":                                        "UnknownOperationException",
		"GraniteServiceVersion20100801.ListMetrics":                           "InvalidSignatureException", // signed for another service
	} {
		for _, version := range []string{"1.0", "1.1"} {
			req := r.sign(t, request("POST", r.url, "application/x-amz-json-"+version, "{}", "X-Amz-Target", target), "{}", "cloudtrail")
			status, body, h := r.send(t, req)
			if want == "" {
				if status != 200 || body != "{}" || h.Get("Content-Type") != "application/x-amz-json-"+version {
					t.Errorf("%s: %d %s %v", target, status, body, h)
				}
			} else if got := jsonCode(t, body, h); got != want {
				t.Errorf("%s: %s, want %s", target, got, want)
			}
		}
	}
	for _, req := range []*http.Request{
		request("GET", r.url+"/robots.txt", "", ""), request("PUT", r.url, "text/plain", "x"), request("POST", r.url, "text/xml", "<a/>"), request("POST", r.url, "application/json", "{}"),
		request("POST", r.url+"/service/x/operation/y", "application/cbor", "", "Smithy-Protocol", "rpc-v2-cbor"),
		request("POST", r.url+"/service/GraniteServiceVersion20100801/operation/ListMetrics", "application/json", "", "Smithy-Protocol", "rpc-v2-json"),
		request("POST", r.url, "application/json", "{}", "X-Amz-Target", "CloudTrail_20131101.LookupEvents"),
		request("GET", r.url, "", "", "X-Amz-Target", "CloudTrail_20131101.LookupEvents"),
	} {
		status, body, h := r.send(t, r.sign(t, req, "", "cloudtrail"))
		if status < 400 || status >= 500 || h.Get("X-Amzn-Errortype") != "UnknownOperationException" {
			t.Errorf("%s %s: %d %s", req.Method, req.URL.Path, status, body)
		}
	}
}

// TestBodies holds what malformed, invalid and forbidden input is answered with.
func TestBodies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.auth.denied["cloudtrail:GetTrail"] = true
	deep := strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)
	for name, c := range map[string]struct {
		protocol, op, body string
		code, message      string
		status             int
	}{
		"no JSON":       {"json", "LookupEvents", `{"a"`, "SerializationException", "The request body is not valid JSON", 400},
		"a list":        {"json", "LookupEvents", `[]`, "SerializationException", "Start of list found where not expected", 400},
		"two":           {"json", "LookupEvents", `{} {}`, "SerializationException", "Something follows the end of the JSON object", 400},
		"twice":         {"json", "LookupEvents", `{"MaxResults":1,"MaxResults":2}`, "SerializationException", "The request has a member twice", 400},
		"deep":          {"json", "LookupEvents", deep, "SerializationException", "The request is nested too deeply", 400},
		"not UTF-8":     {"json", "LookupEvents", "{\"NextToken\":\"\xff\"}", "SerializationException", "The request is not valid UTF-8", 400},
		"number":        {"json", "LookupEvents", `{"MaxResults":"5"}`, "SerializationException", "STRING_VALUE can not be converted to an Integer", 400},
		"string":        {"json", "LookupEvents", `{"NextToken":5}`, "SerializationException", "NUMBER_VALUE can not be converted to a String", 400},
		"overflow":      {"json", "LookupEvents", `{"MaxResults":4294967297}`, "SerializationException", "NUMBER_VALUE can not be converted to an Integer", 400},
		"structure":     {"json", "LookupEvents", `{"NextToken":{}}`, "SerializationException", "Start of structure or map found where not expected.", 400},
		"null in list":  {"json", "LookupEvents", `{"LookupAttributes":[null]}`, "SerializationException", "NULL_VALUE can not be converted to a Structure", 400},
		"far time":      {"json", "LookupEvents", `{"StartTime":1e300}`, "SerializationException", "NUMBER_VALUE can not be converted to a Timestamp", 400},
		"unknown":       {"json", "LookupEvents", `{"Other":[1,{"x":null}]}`, "", "", 200},
		"empty":         {"json", "LookupEvents", ``, "", "", 200},
		"range":         {"json", "LookupEvents", `{"MaxResults":51}`, "ValidationException", "1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 50", 400},
		"required deep": {"json", "LookupEvents", `{"LookupAttributes":[{"AttributeKey":"EventName"}]}`, "ValidationException", "1 validation error detected: Value null at 'lookupAttributes.1.member.attributeValue' failed to satisfy constraint: Member must not be null", 400},
		"two errors": {"json", "LookupEvents", `{"MaxResults":0,"EventCategory":"x"}`, "ValidationException",
			"2 validation errors detected: Value 'x' at 'eventCategory' failed to satisfy constraint: Member must satisfy enum value set: [insight]; Value '0' at 'maxResults' failed to satisfy constraint: Member must have value greater than or equal to 1", 400},
		"required": {"json", "GetTrail", `{}`, "ValidationException", "1 validation error detected: Value null at 'name' failed to satisfy constraint: Member must not be null", 400},
		"denied": {"json", "GetTrail", `{"Name":"a"}`, "AccessDeniedException",
			"User: arn:aws:iam::111122223333:user/ana is not authorized to perform: cloudtrail:GetTrail on resource: arn:aws:cloudtrail:eu-west-1:111122223333:trail/a because no identity-based policy allows the cloudtrail:GetTrail action", 403},
		"query required": {"query", "", "Action=AssumeRole&Version=2011-06-15&RoleSessionName=ab", "ValidationError", "1 validation error detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null", 400},
		"query pattern": {"query", "", "Action=AssumeRole&RoleArn=arn:aws:iam::111122223333:role/a&RoleSessionName=%C3%A9%20a", "ValidationError",
			`1 validation error detected: Value 'é a' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*`, 400},
		"query length": {"query", "", "Action=AssumeRole&RoleArn=arn:aws:iam::111122223333:role/a&RoleSessionName=a&TransitiveTagKeys.member.1=%21", "ValidationError",
			`2 validation errors detected: Value 'a' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2; Value '[!]' at 'transitiveTagKeys' failed to satisfy constraint: Member must satisfy constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1, Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+]`, 400},
		"query number":   {"query", "", "Action=AssumeRole&DurationSeconds=x", "MalformedInput", "STRING_VALUE can not be converted to an Integer", 400},
		"query list":     {"query", "", "Action=AssumeRole&TransitiveTagKeys.member.x=1", "MalformedInput", `Key "x" is not a positive number`, 400},
		"query no list":  {"query", "", "Action=AssumeRole&TransitiveTagKeys=1", "MalformedInput", "A list consists of members that are numbered", 400},
		"query no text":  {"query", "", "Action=AssumeRole&RoleArn.x=1", "MalformedInput", "Unexpected complex element termination", 400},
		"query twice":    {"query", "", "Action=AssumeRole&RoleArn=1&RoleArn=2", "MalformedInput", "The request has a parameter twice", 400},
		"query broken":   {"query", "", "Action=AssumeRole&RoleArn=%zz", "MalformedInput", "The query string of the request is malformed", 400},
		"query unknown":  {"query", "", "Action=NoSuch&Version=2011-06-15", "InvalidAction", "Could not find operation NoSuch for version 2011-06-15", 400},
		"query unserved": {"query", "", "Action=GetSessionTokens", "InvalidAction", "Could not find operation GetSessionTokens for version NO_VERSION_SPECIFIED", 400},
		"query version":  {"query", "", "Action=GetCallerIdentity&Version=2012-01-01", "InvalidAction", "Could not find operation GetCallerIdentity for version 2012-01-01", 400},
		"query nothing":  {"query", "", "Version=2011-06-15", "MissingAction", "The request must contain the parameter Action", 400},
		"cbor broken":    {"cbor", "PutMetricAlarm", "\xa1", "SerializationException", "The request body is not a valid CBOR map", 400},
		"cbor twice":     {"cbor", "PutMetricAlarm", "\xa2\x61a\x01\x61a\x01", "SerializationException", "The request body is not a valid CBOR map", 400},
		"cbor list":      {"cbor", "PutMetricAlarm", "\x80", "SerializationException", "Start of list found where not expected", 400},
		"cbor unserved":  {"cbor", "ListMetrics", "\xa0", "UnknownOperationException", "The operation ListMetrics is not served here", 404},
		"rest number":    {"rest", "", `{"auditEvents":[{"id":"!","eventData":"{}"}]}`, "ValidationException", `1 validation error detected: Value '!' at 'auditEvents.1.member.id' failed to satisfy constraint: Member must satisfy regular expression pattern: ^[-_A-Za-z0-9]+$`, 400},
		"rest empty":     {"rest", "", `{"auditEvents":[]}`, "ValidationException", `1 validation error detected: Value '[]' at 'auditEvents' failed to satisfy constraint: Member must have length greater than or equal to 1`, 400},
	} {
		t.Run(name, func(t *testing.T) {
			for _, p := range protocols {
				if p.name != c.protocol {
					continue
				}
				before := len(r.book.Records())
				status, body, h := r.send(t, r.sign(t, p.request(r.url, c.op, c.body), c.body, p.service))
				if status != c.status {
					t.Errorf("%d, want %d: %s", status, c.status, body)
				}
				if len(r.book.Records()) != before+1 {
					t.Fatalf("%d records of one call", len(r.book.Records())-before)
				}
				last := r.book.Last(t)
				if c.code == "" {
					return
				}
				got := p.code(t, body, h)
				recorded := strings.NewReplacer("AccessDeniedException", "AccessDenied", "ValidationError", "ValidationException").Replace(c.code)
				if got != c.code || last["errorCode"] != recorded {
					t.Errorf("%s, recorded %v, want %s", got, last["errorCode"], c.code)
				}
				if last["errorMessage"] != c.message {
					t.Errorf("recorded %q\nwant     %q", last["errorMessage"], c.message)
				}
				if last["userIdentity"].(map[string]any)["userName"] != "ana" {
					t.Errorf("recorded %v", last["userIdentity"])
				}
			}
		})
	}
	huge := strings.Repeat(" ", 1<<20+1)
	status, body, h := r.send(t, r.sign(t, protocols[0].request(r.url, "LookupEvents", huge), huge, "cloudtrail"))
	if status != 413 || jsonCode(t, body, h) != "RequestEntityTooLargeException" {
		t.Errorf("%d %s", status, body)
	}
}

// TestFailures holds that callers are told nothing of what went wrong inside, and that the log is.
func TestFailures(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, inside := range map[string]string{"panics": "a secret of the code", "fails": "a secret of the store", "unknown-code": "NoSuchCodeException"} {
		body := `{"Name":"` + name + `"}`
		status, text, h := r.send(t, r.sign(t, protocols[0].request(r.url, "GetTrail", body), body, "cloudtrail"))
		if status != 500 || jsonCode(t, text, h) != "InternalFailure" || strings.Contains(text, inside) {
			t.Errorf("%s: %d %s", name, status, text)
		}
		if !strings.Contains(r.log.String(), inside) {
			t.Errorf("%s: logged %s", name, r.log)
		}
		if last := r.book.Last(t); last["errorCode"] != "InternalFailure" || strings.Contains(fmt.Sprint(last), inside) {
			t.Errorf("recorded %v", last)
		}
	}
}

// TestUnrecorded holds that a call that cannot be recorded fails, and is taken back.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.book.Fail(errors.New("the journal is full"))
	body := `{"ResourceId":"arn:aws:x","TagsList":[]}`
	status, text, h := r.send(t, r.sign(t, protocols[0].request(r.url, "AddTags", body), body, "cloudtrail"))
	if status != 500 || jsonCode(t, text, h) != "InternalFailure" || strings.Contains(text, "journal") {
		t.Errorf("%d %s", status, text)
	}
	if fmt.Sprint(*r.undo) != "[second first]" {
		t.Errorf("taken back: %v", *r.undo)
	}
	for _, p := range protocols {
		call := fine[p.name]
		if status, text, _ := r.send(t, r.sign(t, p.request(r.url, call[0], call[1]), call[1], p.service)); status != 500 {
			t.Errorf("%s: %d %s", p.name, status, text)
		}
	}
}

// TestUnsigned holds which calls need no signature.
func TestUnsigned(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for body, want := range map[string]string{
		"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/a&RoleSessionName=ab&WebIdentityToken=abcdefg&ProviderId=p.com": "<Provider>p.com</Provider>",
		"Action=AssumeRoleWithWebIdentity&RoleArn=arn:aws:iam::111122223333:role/a":                                                                                 "<Code>MissingAuthenticationToken</Code>",
		"Action=AssumeRoleWithSAML&Version=2011-06-15":                                                                                                              "<Code>MissingAuthenticationToken</Code>",
		"Action=GetCallerIdentity&Version=2011-06-15":                                                                                                               "<Code>MissingAuthenticationToken</Code>",
		"Action=AssumeRole&Version=2011-06-15":                                                                                                                      "<Code>MissingAuthenticationToken</Code>",
		"Version=2011-06-15":                                                                                                                                        "<Code>MissingAuthenticationToken</Code>",
		strings.Repeat("x", 70<<10):                                                                                                                                 "<Code>RequestEntityTooLarge</Code>",
	} {
		_, text, _ := r.send(t, request("POST", r.url, "application/x-www-form-urlencoded", body))
		if !strings.Contains(text, want) {
			t.Errorf("%.60s: %s", body, text)
		}
	}
	before := len(r.book.Records())
	for range 50 { // whoever knows no secret does not fill the journal
		r.send(t, request("POST", r.url, "application/x-www-form-urlencoded", "Action=AssumeRoleWithWebIdentity&Version=2011-06-15"))
	}
	if n := len(r.book.Records()) - before; n != 1 {
		t.Errorf("%d records of refusals that are alike", n)
	}
	seen := false
	for _, text := range r.book.Records() {
		if strings.Contains(text, "abcdefg") {
			t.Errorf("recorded %s", text)
		}
		seen = seen || strings.Contains(text, `"webIdentityToken":"HIDDEN_DUE_TO_SECURITY_REASONS"`)
	}
	if !seen {
		t.Errorf("recorded %v", r.book.Records())
	}
}

// TestSlots holds that callers wait for those before them, and that those without a key do not make others wait.
func TestSlots(t *testing.T) {
	t.Parallel()
	entered, leave := make(chan struct{}), make(chan struct{})
	slow := awsapi.NewService(&trailmodel.Service, awsapi.ServiceOptions{})
	awsapi.Handle(slow, "ListTrails", func(ctx context.Context, _ *awsapi.Call, _ *trailmodel.ListTrailsRequest) (*trailmodel.ListTrailsResponse, error) {
		entered <- struct{}{}
		<-leave
		return nil, nil
	})
	r := newRig(t, func(o *awsapi.Options) {
		o.Services, o.InFlight = []*awsapi.Service{slow, stsservice.New(stsservice.Options{})}, 1
	})
	list := func() *http.Request {
		return r.sign(t, protocols[0].request(r.url, "ListTrails", "{}"), "{}", "cloudtrail")
	}
	done := make(chan int, 2)
	for range 2 {
		req := list()
		go func() {
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				done <- 0
				return
			}
			resp.Body.Close()
			done <- resp.StatusCode
		}()
	}
	<-entered
	if status, body, _ := r.send(t, request("POST", r.url, "application/x-www-form-urlencoded", "Action=GetCallerIdentity")); status != 403 {
		t.Errorf("%d %s", status, body)
	}
	select {
	case <-entered:
		t.Error("two calls are served at a time")
	case status := <-done:
		t.Errorf("a call was answered with %d", status)
	default:
	}
	leave <- struct{}{}
	<-entered
	leave <- struct{}{}
	for range 2 {
		if status := <-done; status != 200 {
			t.Errorf("%d", status)
		}
	}
}

// TestCLI speaks with the AWS CLI.
func TestCLI(t *testing.T) {
	t.Parallel()
	cli, err := exec.LookPath("aws")
	for _, installed := range []string{"../../out/awscli/bin/aws"} { // by make awscli
		if abs, err2 := filepath.Abs(installed); err2 == nil {
			if _, err2 := os.Stat(abs); err2 == nil {
				cli, err = abs, nil
			}
		}
	}
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("the AWS CLI is not installed: run make awscli")
		}
		t.Skip("the AWS CLI is not installed: make awscli installs it")
	}
	r := newRig(t)
	home := t.TempDir()
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), cli, append(args, "--endpoint-url", r.url, "--output", "json", "--region", region)...)
		cmd.Env = append(os.Environ(), "HOME="+home, "AWS_CONFIG_FILE="+home+"/config", "AWS_SHARED_CREDENTIALS_FILE="+home+"/credentials",
			"AWS_ACCESS_KEY_ID="+keyID, "AWS_SECRET_ACCESS_KEY="+secret, "AWS_SESSION_TOKEN=", "AWS_PAGER=", "AWS_EC2_METADATA_DISABLED=true", "AWS_MAX_ATTEMPTS=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("sts", "get-caller-identity")
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var got any
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	awsapitest.Equal(t, got, `{"UserId":"AIDAEXAMPLEID","Account":"111122223333","Arn":"arn:aws:iam::111122223333:user/ana"}`)
	if last := r.book.Last(t); !strings.HasPrefix(last["userAgent"].(string), "aws-cli/") || last["eventName"] != "GetCallerIdentity" {
		t.Errorf("recorded %v", last)
	}
	out, err = run("cloudtrail", "lookup-events", "--lookup-attributes", "AttributeKey=EventName,AttributeValue=StopLogging", "--start-time", "2026-01-10T00:00:00Z")
	if err != nil || !strings.Contains(out, `"EventId": "StopLogging"`) {
		t.Errorf("%v: %s", err, out)
	}
	// CloudWatch, for which the CLI chooses among three protocols.
	if out, err := run("cloudwatch", "put-metric-alarm", "--alarm-name", "a", "--comparison-operator", "GreaterThanThreshold", "--evaluation-periods", "1", "--threshold", "1.5"); err != nil || out != "" {
		t.Errorf("%v: %s", err, out)
	}
	awsapitest.Equal(t, r.book.Last(t)["requestParameters"], `{"alarmName":"a","comparisonOperator":"GreaterThanThreshold","evaluationPeriods":1,"threshold":1.5}`)
	for want, args := range map[string][]string{
		"An error occurred (UnknownOperationException) when calling the ListDashboards operation":                                         {"cloudtrail", "list-dashboards"},
		"An error occurred (TrailNotFoundException) when calling the GetTrail operation: Unknown trail: audit for the user: 111122223333": {"cloudtrail", "get-trail", "--name", "audit"},
		"An error occurred (InvalidAction) when calling the GetSessionToken operation":                                                    {"sts", "get-session-token"},
	} {
		if out, err := run(args...); err == nil || !strings.Contains(out, want) {
			t.Errorf("%q: %v %s", args, err, out)
		}
	}
}

// TestNew holds that mistakes of the code are found at start.
func TestNew(t *testing.T) {
	t.Parallel()
	rec := must(recorder.New(recorder.Options{Journal: &awsapitest.Book{}, Account: account, Region: region}))
	fine := awsapi.Options{Credentials: keys{}, Authorizer: &allow{}, Recorder: rec, Account: account, Region: region}
	if _, err := awsapi.New(fine); err != nil {
		t.Fatal(err)
	}
	service := func(m *model.Service, set func(*awsapi.Service)) *awsapi.Service {
		s := awsapi.NewService(m, awsapi.ServiceOptions{})
		set(s)
		return s
	}
	none := func(context.Context, *awsapi.Call, *struct{}) (*struct{}, error) { return nil, nil }
	for want, change := range map[string]func(*awsapi.Options){
		"needs credentials": func(o *awsapi.Options) { o.Credentials = nil },
		"an authorizer":     func(o *awsapi.Options) { o.Authorizer = nil },
		"a recorder":        func(o *awsapi.Options) { o.Recorder = nil },
		"an account":        func(o *awsapi.Options) { o.Account = "" },
		"there twice": func(o *awsapi.Options) {
			o.Services = []*awsapi.Service{stsservice.New(stsservice.Options{}), stsservice.New(stsservice.Options{})}
		},
		"no operation": func(o *awsapi.Options) {
			o.Services = []*awsapi.Service{service(&stsmodel.Service, func(s *awsapi.Service) { awsapi.Handle(s, "NoSuch", none) })}
		},
		"no field": func(o *awsapi.Options) {
			o.Services = []*awsapi.Service{service(&stsmodel.Service, func(s *awsapi.Service) { awsapi.Handle(s, "AssumeRole", none) })}
		},
		"served twice": func(o *awsapi.Options) {
			s := stsservice.New(stsservice.Options{})
			awsapi.Handle(s, "GetCallerIdentity", none)
			o.Services = []*awsapi.Service{s}
		},
	} {
		o := fine
		change(&o)
		if _, err := awsapi.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
}
