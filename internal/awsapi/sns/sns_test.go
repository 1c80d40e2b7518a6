package sns_test

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/caller"
	snsapi "spoor/internal/awsapi/sns"
	"spoor/internal/iam"
	"spoor/internal/recorder"
	"spoor/internal/topic"
)

const newsARN = "arn:aws:sns:eu-west-1:111122223333:news"

// rig is an endpoint with topics, and with an endpoint of http that gets messages.
type rig struct {
	*awsapitest.Rig
	topics *topic.Service
	links  *httptest.Server
	inbox  chan *http.Request
	url    string // of the endpoint that gets messages
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{inbox: make(chan *http.Request, 100)}
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		q.Body = io.NopCloser(strings.NewReader(string(body)))
		r.inbox <- q
	}))
	t.Cleanup(endpoint.Close)
	r.url = endpoint.URL
	var links *snsapi.Links
	r.links = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !links.Takes(q) {
			http.Error(w, "not for the links", http.StatusTeapot)
			return
		}
		links.ServeHTTP(w, q)
	}))
	t.Cleanup(r.links.Close)
	var err error
	o := topic.Options{Account: awsapitest.Account, Region: awsapitest.Region, PublicURL: r.links.URL}
	o.SMTP = topic.SMTP{Addr: "127.0.0.1:1", From: "spoor@test.example", TLS: topic.NoTLS}
	if r.topics, err = topic.Open(t.Context(), t.TempDir(), o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.topics.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, r.topics.Close()); err != nil {
			t.Error(err)
		}
	})
	r.Rig = awsapitest.New(t, func(access *iam.Service, log *slog.Logger) []*awsapi.Service {
		return []*awsapi.Service{snsapi.New(snsapi.Options{Topics: r.topics, Access: caller.Access{IAM: access}, Log: log})}
	})
	rec, err := recorder.New(recorder.Options{Journal: r.Book, Account: awsapitest.Account, Region: awsapitest.Region})
	if err != nil {
		t.Fatal(err)
	}
	links = snsapi.NewLinks(snsapi.LinksOptions{Topics: r.topics, Recorder: rec, Account: awsapitest.Account})
	return r
}

func (r *rig) next(t *testing.T) (*http.Request, map[string]string) {
	t.Helper()
	select {
	case q := <-r.inbox:
		body, err := io.ReadAll(q.Body)
		if err != nil {
			t.Fatal(err)
		}
		var v map[string]any
		if err := json.Unmarshal(body, &v); err != nil {
			t.Fatalf("%v: %s", err, body)
		}
		m := map[string]string{}
		for k, x := range v {
			if text, ok := x.(string); ok {
				m[k] = text
			}
		}
		return q, m
	case <-time.After(20 * time.Second):
		t.Fatal("nothing came")
	}
	return nil, nil
}

func told(_ any, err error) string {
	code, message := awsapitest.Code(err)
	return strings.TrimSuffix(code+": "+message, ": ")
}

func pick(m map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for _, n := range names {
		out[n] = m[n]
	}
	return out
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	a, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(a.Body)
	if err = errors.Join(err, a.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return a.StatusCode, string(body)
}

func TestFromTopicToEndpoint(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	made, err := c.CreateTopic(ctx, &client.CreateTopicInput{Name: aws.String("news"), Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("ops")}}})
	if err != nil || *made.TopicArn != newsARN {
		t.Fatal(made, err)
	}
	awsapitest.Equal(t, pick(r.Book.Last(t), "eventSource", "eventName", "readOnly", "managementEvent", "eventCategory", "requestParameters", "responseElements", "resources", "errorCode"), `{
		"eventSource":"sns.amazonaws.com","eventName":"CreateTopic","readOnly":false,"managementEvent":true,"eventCategory":"Management","errorCode":null,
		"requestParameters":{"name":"news","tags":[{"key":"team","value":"ops"}]},"responseElements":{"topicArn":"`+newsARN+`"},
		"resources":[{"ARN":"`+newsARN+`","accountId":"111122223333","type":"AWS::SNS::Topic"}]}`)
	sub, err := c.Subscribe(ctx, &client.SubscribeInput{TopicArn: aws.String(newsARN), Protocol: aws.String("http"), Endpoint: aws.String(r.url + "/in")})
	if err != nil || *sub.SubscriptionArn != "pending confirmation" {
		t.Fatal(sub, err)
	}
	q, m := r.next(t)
	if m["Type"] != "SubscriptionConfirmation" || q.Header.Get("X-Amz-Sns-Message-Type") != "SubscriptionConfirmation" {
		t.Fatalf("%v", m)
	}
	list, err := c.ListSubscriptionsByTopic(ctx, &client.ListSubscriptionsByTopicInput{TopicArn: aws.String(newsARN)})
	if err != nil || len(list.Subscriptions) != 1 || *list.Subscriptions[0].SubscriptionArn != "PendingConfirmation" || *list.Subscriptions[0].Endpoint != r.url+"/in" {
		t.Errorf("%+v %v", list, err)
	}
	// By the link, without a key, as an endpoint does it.
	status, body := get(t, m["SubscribeURL"])
	if status != 200 || !strings.HasPrefix(body, `<ConfirmSubscriptionResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ConfirmSubscriptionResult><SubscriptionArn>`+newsARN+":") {
		t.Fatalf("%d %s", status, body)
	}
	rec := r.Book.Last(t)
	awsapitest.Equal(t, pick(rec, "eventName", "requestParameters", "errorCode", "awsRegion", "recipientAccountId"), `{"eventName":"ConfirmSubscription","errorCode":null,"awsRegion":"eu-west-1",
		"recipientAccountId":"111122223333","requestParameters":{"topicArn":"`+newsARN+`","token":"HIDDEN_DUE_TO_SECURITY_REASONS"}}`)
	if who := rec["userIdentity"].(map[string]any); who["accountId"] != "ANONYMOUS_PRINCIPAL" {
		t.Errorf("%v", who)
	}
	all, err := c.ListSubscriptions(ctx, &client.ListSubscriptionsInput{})
	if err != nil || len(all.Subscriptions) != 1 {
		t.Fatal(all, err)
	}
	arn := *all.Subscriptions[0].SubscriptionArn
	attributes, err := c.GetSubscriptionAttributes(ctx, &client.GetSubscriptionAttributesInput{SubscriptionArn: &arn})
	if a := attributes.Attributes; err != nil || a["PendingConfirmation"] != "false" || a["ConfirmationWasAuthenticated"] != "false" || a["Protocol"] != "http" || a["Owner"] != awsapitest.Account {
		t.Errorf("%v %v", attributes, err)
	}
	published, err := c.Publish(ctx, &client.PublishInput{TopicArn: aws.String(newsARN), Subject: aws.String("Hi"), Message: aws.String("secret & <message>"),
		MessageAttributes: map[string]types.MessageAttributeValue{"k": {DataType: aws.String("String"), StringValue: aws.String("v")}}})
	if err != nil {
		t.Fatal(err)
	}
	awsapitest.Equal(t, pick(r.Book.Last(t), "eventName", "managementEvent", "eventCategory", "requestParameters", "responseElements", "resources"), `{"eventName":"Publish","managementEvent":false,"eventCategory":"Data",
		"requestParameters":{"topicArn":"`+newsARN+`","subject":"HIDDEN_DUE_TO_SECURITY_REASONS","message":"HIDDEN_DUE_TO_SECURITY_REASONS","messageAttributes":"HIDDEN_DUE_TO_SECURITY_REASONS"},
		"responseElements":{"messageId":"`+*published.MessageId+`"},"resources":[{"ARN":"`+newsARN+`","accountId":"111122223333","type":"AWS::SNS::Topic"}]}`)
	q, m = r.next(t)
	if m["Message"] != "secret & <message>" || m["MessageId"] != *published.MessageId || q.Header.Get("X-Amz-Sns-Subscription-Arn") != arn || q.URL.Path != "/in" {
		t.Errorf("%v %v", m, q.Header)
	}
	// Whoever gets it can verify it with what is served.
	status, text := get(t, m["SigningCertURL"])
	block, _ := pem.Decode([]byte(text))
	if status != 200 || block == nil {
		t.Fatalf("%d %s", status, text)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha1.Sum([]byte("Message\n" + m["Message"] + "\nMessageId\n" + m["MessageId"] + "\nSubject\nHi\nTimestamp\n" + m["Timestamp"] + "\nTopicArn\n" + newsARN + "\nType\nNotification\n"))
	signature, err := base64.StdEncoding.DecodeString(m["Signature"])
	if err != nil || rsa.VerifyPKCS1v15(cert.PublicKey.(*rsa.PublicKey), crypto.SHA1, sum[:], signature) != nil {
		t.Errorf("the signature of %v", m)
	}
	// And end it.
	link := m["UnsubscribeURL"]
	forged := strings.Replace(link, "Proof=", "Proof=0", 1)
	if status, body := get(t, forged); status != 403 || !strings.Contains(body, "<Code>AuthorizationError</Code>") {
		t.Errorf("%d %s", status, body)
	}
	r.Book.Fail(errors.New("disk full"))
	if status, _ := get(t, link); status != 500 {
		t.Error(status)
	}
	if _, err := r.topics.SubscriptionAttributes(arn); err != nil {
		t.Errorf("a call that was not recorded ended it: %v", err)
	}
	r.Book.Fail(nil)
	for range 2 {
		if status, body := get(t, link); status != 200 || !strings.HasPrefix(body, "<UnsubscribeResponse ") {
			t.Errorf("%d %s", status, body)
		}
	}
	if got := told(c.GetSubscriptionAttributes(ctx, &client.GetSubscriptionAttributesInput{SubscriptionArn: &arn})); got != "NotFound: Subscription does not exist" {
		t.Error(got)
	}
	// What is neither is for the endpoint.
	for _, path := range []string{"/", "/?Action=Unsubscribe", "/?Action=Publish&Message=x", "/?Action=ConfirmSubscription&TopicArn=a&Token=b&X-Amz-Signature=c", "/x"} {
		if status, _ := get(t, r.links.URL+path); status != http.StatusTeapot {
			t.Errorf("%s: %d", path, status)
		}
	}
	if status, _ := get(t, r.links.URL+topic.CertificatePrefix+"00.pem"); status != 404 {
		t.Error(status)
	}
}

// The link of a mail is opened by programs too: it asks first.
func TestMailLink(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	arn, _, err := r.topics.Create(topic.Where{Account: awsapitest.Account, Region: awsapitest.Region}, "news", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	subARN, _, _, err := r.topics.Subscribe(t.Context(), arn, "email", "ann@test.example", awsapitest.Account, nil)
	if err != nil {
		t.Fatal(err)
	}
	link := r.links.URL + "/?" + url.Values{"Action": {"ConfirmSubscription"}, "TopicArn": {arn}, "Token": {r.topics.Token(subARN)}}.Encode()
	pending := func() string {
		t.Helper()
		a, err := r.topics.SubscriptionAttributes(subARN)
		if err != nil {
			t.Fatal(err)
		}
		return a["PendingConfirmation"]
	}
	if status, body := get(t, link); status != 200 || !strings.Contains(body, `<form method="post">`) || pending() != "true" {
		t.Errorf("%d %s", status, body)
	}
	a, err := http.PostForm(link, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Body.Close(); err != nil || a.StatusCode != 200 || pending() != "false" {
		t.Errorf("%d %v", a.StatusCode, err)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	reader := client.NewFromConfig(r.Config(r.User(t, "ann", iam.RoleAuditor)))
	if _, err := c.CreateTopic(ctx, &client.CreateTopicInput{Name: aws.String("news")}); err != nil {
		t.Fatal(err)
	}
	s := aws.String
	for _, x := range []struct{ got, want string }{
		{told(c.CreateTopic(ctx, &client.CreateTopicInput{Name: s("a b")})), "InvalidParameter: Invalid parameter: Topic Name"},
		{told(c.CreateTopic(ctx, &client.CreateTopicInput{Name: s("k"), Attributes: map[string]string{"KmsMasterKeyId": "x"}})),
			"InvalidParameter: Invalid parameter: Attributes Reason: KmsMasterKeyId: messages are not encrypted with keys here, so that there is none to be named"},
		{told(c.GetTopicAttributes(ctx, &client.GetTopicAttributesInput{TopicArn: s(newsARN + "x")})), "NotFound: Topic does not exist"},
		{told(c.GetTopicAttributes(ctx, &client.GetTopicAttributesInput{TopicArn: s("x")})), "InvalidParameter: Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"},
		{told(c.GetTopicAttributes(ctx, &client.GetTopicAttributesInput{TopicArn: s(strings.Replace(newsARN, "eu-west-1", "eu-west-2", 1))})), "InvalidParameter: Invalid parameter: TopicArn"},
		{told(c.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN + "x"), Message: s("m")})), "NotFound: Topic does not exist"},
		{told(c.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN), Message: s("")})), "InvalidParameter: Invalid parameter: Empty message"},
		{told(c.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN), Message: s(strings.Repeat("x", topic.MaxMessage+1))})), "InvalidParameter: Invalid parameter: Message too long"},
		{told(c.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN), Message: s("m"), Subject: s("a\nb")})), "InvalidParameter: Invalid parameter: Subject"},
		{told(c.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN), Message: s("m"), MessageStructure: s("json")})), "InvalidParameter: Invalid parameter: Message Structure - JSON message body failed to parse"},
		{told(c.Publish(ctx, &client.PublishInput{PhoneNumber: s("+491"), Message: s("m")})), "InvalidParameter: Invalid parameter: PhoneNumber Reason: text messages are not served here"},
		{told(c.Subscribe(ctx, &client.SubscribeInput{TopicArn: s(newsARN), Protocol: s("sqs"), Endpoint: s("arn:aws:sqs:eu-west-1:111122223333:q")})), "InvalidParameter: Invalid parameter: Invalid protocol type: sqs: no queues are configured here"},
		{told(c.ConfirmSubscription(ctx, &client.ConfirmSubscriptionInput{TopicArn: s(newsARN), Token: s("x")})), "InvalidParameter: Invalid parameter: Token"},
		{told(c.ListTagsForResource(ctx, &client.ListTagsForResourceInput{ResourceArn: s(newsARN + "x")})), "ResourceNotFound: Resource does not exist"},
		{told(c.ListTopics(ctx, &client.ListTopicsInput{NextToken: s("x")})), "InvalidParameter: Invalid parameter: NextToken Reason: Invalid token"},
		{told(c.SetTopicAttributes(ctx, &client.SetTopicAttributesInput{TopicArn: s(newsARN), AttributeName: s("Nonsense"), AttributeValue: s("x")})), "InvalidParameter: Invalid parameter: AttributeName"},
		{told(c.DeleteTopic(ctx, &client.DeleteTopicInput{TopicArn: s(newsARN + "x")})), ""},
		{told(c.PublishBatch(ctx, &client.PublishBatchInput{TopicArn: s(newsARN), PublishBatchRequestEntries: []types.PublishBatchRequestEntry{{Id: s("a"), Message: s("1")}, {Id: s("a"), Message: s("2")}}})),
			"BatchEntryIdsNotDistinct: Two or more batch entries in the request have the same Id."},
		{told(reader.ListTopics(ctx, &client.ListTopicsInput{})), ""},
		{told(reader.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN), Message: s("m")})),
			"AuthorizationError: User: arn:aws:iam::111122223333:user/ann is not authorized to perform: SNS:Publish on resource: " + newsARN + " because no identity-based policy allows the SNS:Publish action"},
		{told(reader.CreateTopic(ctx, &client.CreateTopicInput{Name: s("mine")})),
			"AuthorizationError: User: arn:aws:iam::111122223333:user/ann is not authorized to perform: SNS:CreateTopic on resource: arn:aws:sns:eu-west-1:111122223333:mine because no identity-based policy allows the SNS:CreateTopic action"},
	} {
		if x.got != x.want {
			t.Errorf("got  %s\nwant %s", x.got, x.want)
		}
	}
	// The policy of a topic lets who has no policy, and keeps out who has.
	policy := func(effect string) string {
		return `{"Version":"2012-10-17","Statement":[{"Sid":"x","Effect":"` + effect + `","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":["SNS:Publish","SNS:GetTopicAttributes"],"Resource":"` + newsARN + `"}]}`
	}
	set := func(effect string) {
		t.Helper()
		if _, err := c.SetTopicAttributes(ctx, &client.SetTopicAttributesInput{TopicArn: s(newsARN), AttributeName: s("Policy"), AttributeValue: s(policy(effect))}); err != nil {
			t.Fatal(err)
		}
	}
	set("Allow")
	if got := told(reader.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN), Message: s("m")})); got != "" {
		t.Error(got)
	}
	set("Deny")
	if got := told(reader.GetTopicAttributes(ctx, &client.GetTopicAttributesInput{TopicArn: s(newsARN)})); !strings.HasSuffix(got, "with an explicit deny in a resource-based policy") {
		t.Error(got)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	made, err := c.CreateTopic(ctx, &client.CreateTopicInput{Name: aws.String("n.fifo"), Attributes: map[string]string{"FifoTopic": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	entry := func(id, group, dedup string) types.PublishBatchRequestEntry {
		e := types.PublishBatchRequestEntry{Id: &id, Message: aws.String("m")}
		if group != "" {
			e.MessageGroupId = &group
		}
		if dedup != "" {
			e.MessageDeduplicationId = &dedup
		}
		return e
	}
	out, err := c.PublishBatch(ctx, &client.PublishBatchInput{TopicArn: made.TopicArn, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
		entry("a", "g", "1"), entry("b", "", "2"), entry("c", "g", "1"), entry("d", "g", "3"),
	}})
	if err != nil || len(out.Successful) != 3 || len(out.Failed) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	if f := out.Failed[0]; *f.Id != "b" || *f.Code != "InvalidParameter" || !f.SenderFault {
		t.Errorf("%+v", f)
	}
	if s := out.Successful; *s[0].MessageId != *s[1].MessageId || *s[0].MessageId == *s[2].MessageId || *s[0].SequenceNumber != *s[1].SequenceNumber || len(*s[0].SequenceNumber) != 20 || *s[2].SequenceNumber <= *s[0].SequenceNumber {
		t.Errorf("%+v", s)
	}
}

// What cannot be recorded did not happen, and what it published reaches nobody.
func TestUnrecorded(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	ctx := t.Context()
	c := client.NewFromConfig(r.Config(r.User(t, "boss", iam.RoleAdmin)))
	s := aws.String
	if _, err := c.CreateTopic(ctx, &client.CreateTopicInput{Name: s("news")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe(ctx, &client.SubscribeInput{TopicArn: s(newsARN), Protocol: s("http"), Endpoint: s(r.url), Attributes: map[string]string{"FilterPolicy": `{"k":[{"exists":false}]}`}}); err != nil {
		t.Fatal(err)
	}
	_, m := r.next(t)
	confirmed, err := c.ConfirmSubscription(ctx, &client.ConfirmSubscriptionInput{TopicArn: s(newsARN), Token: s(m["Token"]), AuthenticateOnUnsubscribe: s("true")})
	if err != nil {
		t.Fatal(err)
	}
	if rec := r.Book.Last(t)["requestParameters"].(map[string]any); rec["token"] != recorder.Hidden {
		t.Errorf("%v", rec)
	}
	sub := confirmed.SubscriptionArn
	state := func() string {
		t.Helper()
		a, err := r.topics.Attributes(newsARN)
		if err != nil {
			t.Fatal(err)
		}
		u, err := r.topics.SubscriptionAttributes(*sub)
		if err != nil {
			t.Fatal(err)
		}
		tags, err := r.topics.Tags(newsARN)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(r.topics.Topics(topic.Where{Account: awsapitest.Account, Region: awsapitest.Region}), a, u, tags)
	}
	before := state()
	r.Book.Fail(errors.New("disk full"))
	for name, err := range map[string]error{
		"create":      last(c.CreateTopic(ctx, &client.CreateTopicInput{Name: s("other")})),
		"delete":      last(c.DeleteTopic(ctx, &client.DeleteTopicInput{TopicArn: s(newsARN)})),
		"set":         last(c.SetTopicAttributes(ctx, &client.SetTopicAttributesInput{TopicArn: s(newsARN), AttributeName: s("DisplayName"), AttributeValue: s("x")})),
		"permit":      last(c.AddPermission(ctx, &client.AddPermissionInput{TopicArn: s(newsARN), Label: s("l"), AWSAccountId: []string{"444455556666"}, ActionName: []string{"Publish"}})),
		"tag":         last(c.TagResource(ctx, &client.TagResourceInput{ResourceArn: s(newsARN), Tags: []types.Tag{{Key: s("k"), Value: s("v")}}})),
		"subscribe":   last(c.Subscribe(ctx, &client.SubscribeInput{TopicArn: s(newsARN), Protocol: s("nats"), Endpoint: s("nats://127.0.0.1:1/x")})),
		"unsubscribe": last(c.Unsubscribe(ctx, &client.UnsubscribeInput{SubscriptionArn: sub})),
		"attribute":   last(c.SetSubscriptionAttributes(ctx, &client.SetSubscriptionAttributesInput{SubscriptionArn: sub, AttributeName: s("RawMessageDelivery"), AttributeValue: s("true")})),
		"publish":     last(c.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN), Message: s("never")})),
	} {
		if code, _ := awsapitest.Code(err); code != "InternalFailure" {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.Book.Fail(nil)
	if after := state(); after != before {
		t.Errorf("before %s\nafter  %s", before, after)
	}
	if _, err := c.Publish(ctx, &client.PublishInput{TopicArn: s(newsARN), Message: s("at last")}); err != nil {
		t.Fatal(err)
	}
	for { // that it was unsubscribed for a moment may have been told
		if _, m := r.next(t); m["Type"] == "Notification" {
			if m["Message"] != "at last" {
				t.Errorf("%v", m)
			}
			status, _ := get(t, m["UnsubscribeURL"]) // which does not count for a subscription that goes by signed calls alone
			if status != 403 {
				t.Error(status)
			}
			break
		}
	}
}

func last[T any](_ T, err error) error { return err }

func TestCLI(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	run := r.CLI(t, r.User(t, "boss", iam.RoleAdmin))
	must := func(args ...string) string {
		t.Helper()
		out, err := run(append([]string{"sns"}, args...)...)
		if err != nil {
			t.Fatalf("%s: %v\n%s", args, err, out)
		}
		return out
	}
	must("create-topic", "--name", "news", "--attributes", `{"DisplayName":"News"}`, "--tags", "Key=a,Value=b")
	must("subscribe", "--topic-arn", newsARN, "--protocol", "http", "--notification-endpoint", r.url)
	_, m := r.next(t)
	must("confirm-subscription", "--topic-arn", newsARN, "--token", m["Token"])
	out := must("publish", "--topic-arn", newsARN, "--message", `{"default":"x","http":"for http"}`, "--message-structure", "json")
	if !strings.Contains(out, `"MessageId": "`) {
		t.Error(out)
	}
	if _, m := r.next(t); m["Message"] != "for http" {
		t.Errorf("%v", m)
	}
	must("add-permission", "--topic-arn", newsARN, "--label", "them", "--aws-account-id", "444455556666", "--action-name", "Publish")
	if out := must("get-topic-attributes", "--topic-arn", newsARN); !strings.Contains(out, `"SubscriptionsConfirmed": "1"`) || !strings.Contains(out, `\"Sid\":\"them\"`) {
		t.Error(out)
	}
	must("remove-permission", "--topic-arn", newsARN, "--label", "them")
	if out := must("list-tags-for-resource", "--resource-arn", newsARN); !strings.Contains(out, `"Key": "a"`) {
		t.Error(out)
	}
	if out, err := run("sns", "publish", "--topic-arn", newsARN+"x", "--message", "m"); err == nil || !strings.Contains(out, "An error occurred (NotFound) when calling the Publish operation: Topic does not exist") {
		t.Error(out)
	}
	must("delete-topic", "--topic-arn", newsARN)
	if out := must("list-topics"); strings.Contains(out, newsARN) {
		t.Error(out)
	}
}
