package sqs

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
	"spoor/internal/source/s3"
)

// until waits for something that other processes bring about.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !is() {
		if live.Pause(deadline, 20*time.Millisecond) != nil {
			t.Fatalf("%s: not within 30 s", what)
		}
	}
}

// TestPeers reads a bucket of a real S3 gateway by the notifications of that gateway, through queues and topics of a real
// server of SQS and SNS, with a role of its STS.
func TestPeers(t *testing.T) {
	moto := livetest.StartMoto(t)
	t.Setenv("AWS_ENDPOINT_URL_STS", moto.URL)
	ctx := t.Context()
	cfg, err := s3.Config(ctx, s3.Options{Region: "eu-central-1"})
	if err != nil {
		t.Fatal(err)
	}
	queues := awssqs.NewFromConfig(cfg, func(o *awssqs.Options) { o.BaseEndpoint = &moto.URL })
	topics := sns.NewFromConfig(cfg, func(o *sns.Options) { o.BaseEndpoint = &moto.URL })
	made, err := queues.CreateQueue(ctx, &awssqs.CreateQueueInput{QueueName: aws.String("logs")})
	if err != nil {
		t.Fatal(err)
	}
	attrs, err := queues.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	if err != nil {
		t.Fatal(err)
	}
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("logs")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(attrs.Attributes["QueueArn"])}); err != nil {
		t.Fatal(err)
	}
	send := func(body string) {
		t.Helper()
		if _, err := queues.SendMessage(ctx, &awssqs.SendMessageInput{QueueUrl: made.QueueUrl, MessageBody: &body}); err != nil {
			t.Error(err)
		}
	}
	// The gateway notifies one address: what it says goes into the queue, the topic, or both.
	bucket := gateway.Bucket(t)
	notices := make(chan string, 16)
	gateway.Notify(func(body []byte) {
		if strings.Contains(string(body), bucket) {
			notices <- string(body)
		}
	})
	defer gateway.Notify(nil)
	put := func(key string, data []byte) (notice string) {
		t.Helper()
		gateway.Put(t, bucket, key, data)
		select {
		case notice = <-notices:
			return notice
		case <-time.After(30 * time.Second):
			t.Fatalf("the gateway did not tell of %s", key)
			return ""
		}
	}

	kept := &livetest.Kept{}
	keys := s3.Options{Region: "eu-central-1", AccessKeyID: "AKIAIOSFODNN7EXAMPLE", SecretKey: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}
	role := keys
	role.RoleARN, role.ExternalID = "arn:aws:iam::123456789012:role/reader", "spoor-1"
	s, err := Open(ctx, Options{
		Options:  live.Options{Name: "queue", Dir: t.TempDir(), Accept: kept, Workers: 4},
		QueueURL: *made.QueueUrl, AWS: role, S3: s3.Options{EndpointURL: gateway.URL},
		Wait: time.Second, MaxReceives: 2, Retry: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()

	send(`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"` + bucket + `"}`)
	one := put(livetest.Key(10, "one"), livetest.Log("a", "b"))
	send(one)
	send(one)
	two := put(livetest.Key(9, "two"), livetest.Log("c"))
	if _, err := topics.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: &two}); err != nil {
		t.Fatal(err)
	}
	put(livetest.Key(8, "three"), livetest.Log("d"))
	bridge, err := json.Marshal(map[string]any{"version": "0", "source": "aws.s3", "detail-type": "Object Created", "detail": map[string]any{
		"bucket": map[string]any{"name": bucket}, "object": map[string]any{"key": livetest.Key(8, "three"), "size": 100}}})
	if err != nil {
		t.Fatal(err)
	}
	send(string(bridge))
	send(strings.ReplaceAll(one, "_one.", "_gone."))
	send(put(livetest.Key(7, "cut"), livetest.Log("e", "f")[:70]))

	until(t, "records and letters", func() bool { return len(kept.Distinct()) == 4 && s.Stats().DeadLetters == 2 })
	until(t, "an empty queue", func() bool {
		out, err := queues.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{QueueUrl: made.QueueUrl, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err != nil {
			t.Fatal(err)
		}
		return out.Attributes["ApproximateNumberOfMessages"] == "0" && out.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
	})
	if got := fmt.Sprint(kept.Distinct()); got != "[a b c d]" {
		t.Errorf("accepted %s", got)
	}
	letters, err := s.Dead("", 10)
	if err != nil || len(letters) != 2 || letters[0].Attempts != 2 {
		t.Fatalf("letters %+v, %v", letters, err)
	}
	gateway.Put(t, bucket, livetest.Key(7, "cut"), livetest.Log("e", "f"))
	replayed := 0
	for _, l := range letters {
		if s.Replay(ctx, l.ID) == nil {
			replayed++
		}
	}
	if got := fmt.Sprint(kept.Distinct()); got != "[a b c d e f]" || replayed != 1 {
		t.Errorf("accepted %s, %d replayed", got, replayed)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("run: %v", err)
	}
	balanced(t, s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}

	// The queue was read in the role.
	res, err := http.Get(moto.URL + "/moto-api/data.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err != nil || !strings.Contains(string(data), "role/reader") || !strings.Contains(string(data), "spoor-1") {
		t.Errorf("no role was assumed: %v, %d bytes", err, len(data))
	}
}
