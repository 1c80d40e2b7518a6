package topic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/nats-io/nats.go"
)

// sender sends to an endpoint. A message that is nil stands for the one about the subscription's status. Errors are
// [permanent], or another attempt may help.
type sender interface {
	send(ctx context.Context, t *Topic, u *Subscription, e *entry, b *box) error
	close()
}

func (s *Service) sender(protocol string) sender {
	switch protocol {
	case protocolHTTP, protocolHTTPS:
		return httpSender{s}
	case protocolSQS:
		return &queueSender{s: s}
	case protocolEmail, protocolEmailJSON:
		return mailSender{s}
	case protocolNATS:
		return &natsSender{s: s}
	}
	return &topicSender{s: s}
}

const (
	userAgent = "Spoor Notification Service Agent"
	plainText = "text/plain; charset=UTF-8"
	maxAnswer = 64 << 10 // that is read of an answer, so that its connection can be used again
)

// httpSender sends by http and https.
type httpSender struct{ s *Service }

func (httpSender) close() {}

func (h httpSender) send(ctx context.Context, t *Topic, u *Subscription, e *entry, b *box) error {
	v := h.s.envelope(t, u, e)
	text, raw, err := h.s.payload(b, t, u, e, v)
	if err != nil {
		return err
	}
	d, err := deliveryOf(t, u)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, h.s.o.HTTPTimeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, u.Endpoint, bytes.NewReader(text))
	if err != nil {
		return permanent{fmt.Errorf("call the endpoint: %w", err)}
	}
	r.Header = http.Header{
		"Content-Type": {plainText}, "User-Agent": {userAgent}, "X-Amz-Sns-Message-Type": {v.Type}, "X-Amz-Sns-Message-Id": {v.ID}, "X-Amz-Sns-Topic-Arn": {v.Topic},
	}
	if d.Request != nil && d.Request.ContentType != "" {
		r.Header.Set("Content-Type", d.Request.ContentType)
	}
	if e != nil || u.Status == Left {
		r.Header.Set("X-Amz-Sns-Subscription-Arn", v.Topic+":"+u.ID)
	}
	if raw {
		r.Header.Set("X-Amz-Sns-Rawdelivery", "true")
	}
	answer, err := h.s.http.RoundTrip(r) // which follows no redirects
	if err != nil {
		return fmt.Errorf("call the endpoint: %w", err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAnswer)) // the status is what counts
	_ = answer.Body.Close()
	switch c := answer.StatusCode; {
	case c >= 200 && c < 300:
		return nil
	case c >= 500, c == http.StatusTooManyRequests, c < 200:
		return fmt.Errorf("the endpoint answered %d", c)
	default:
		return permanent{fmt.Errorf("the endpoint answered %d", c)}
	}
}

// queue is a queue in a Region.
type queue struct {
	client SQS
	url    string
}

// findQueue finds the queue of an ARN.
func (s *Service) findQueue(ctx context.Context, arn string) (q queue, err error) {
	m := queueForm.FindStringSubmatch(arn)
	if m == nil {
		return q, permanent{fmt.Errorf("%.200s is no queue", arn)}
	}
	if s.o.SQS == nil {
		return q, errors.New("no queues are configured")
	}
	if q.client, err = s.o.SQS(ctx, m[2]); err != nil {
		return q, fmt.Errorf("make a client of SQS: %w", err)
	}
	out, err := q.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &m[4], QueueOwnerAWSAccountId: &m[3]})
	if err != nil {
		return q, queueError("find the queue", err)
	}
	q.url = aws.ToString(out.QueueUrl)
	return q, nil
}

// finalQueue are errors of SQS that stay. What is not allowed, or not known for now, can be mended.
var finalQueue = []string{
	"AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist", "InvalidMessageContents", "InvalidParameterValue", "MissingParameter",
	"AWS.SimpleQueueService.UnsupportedOperation", "UnsupportedOperation", "InvalidAttributeValue",
}

func queueError(what string, err error) error {
	var api smithy.APIError
	if errors.As(err, &api) && slices.Contains(finalQueue, api.ErrorCode()) {
		return permanent{fmt.Errorf("%s: %w", what, err)}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// put sends a message to a queue. FIFO queues get group and deduplication id; without a group, the topic is one.
func (q queue) put(ctx context.Context, t *Topic, arn, body string, raw bool, e *entry) error {
	in := &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: &body}
	switch {
	case strings.HasSuffix(arn, fifoSuffix) && e != nil:
		group, id := e.Group, e.Dedup
		if group == "" {
			group = t.Name
		}
		if id == "" {
			id = e.ID
		}
		in.MessageGroupId, in.MessageDeduplicationId = &group, &id
	case e != nil && e.Group != "":
		in.MessageGroupId = &e.Group
	}
	if raw && e != nil && len(e.Attributes) > 0 {
		if len(e.Attributes) > 10 {
			return permanent{fmt.Errorf("the message has %d attributes, and a message of SQS at most 10", len(e.Attributes))}
		}
		in.MessageAttributes = map[string]sqstypes.MessageAttributeValue{}
		for name, a := range e.Attributes {
			v := sqstypes.MessageAttributeValue{DataType: &a.Type}
			if a.Binary != nil {
				v.BinaryValue = a.Binary
			} else {
				v.StringValue = &a.Text
			}
			in.MessageAttributes[name] = v
		}
	}
	if _, err := q.client.SendMessage(ctx, in); err != nil {
		return queueError("send to the queue", err)
	}
	return nil
}

// queueSender sends to a queue.
type queueSender struct {
	s  *Service
	mu sync.Mutex
	q  queue // once it was found
}

func (*queueSender) close() {}

func (x *queueSender) find(ctx context.Context, arn string) (queue, error) {
	x.mu.Lock()
	q := x.q
	x.mu.Unlock()
	if q.client != nil {
		return q, nil
	}
	q, err := x.s.findQueue(ctx, arn)
	if err == nil {
		x.mu.Lock()
		x.q = q
		x.mu.Unlock()
	}
	return q, err
}

func (x *queueSender) send(ctx context.Context, t *Topic, u *Subscription, e *entry, b *box) error {
	q, err := x.find(ctx, u.Endpoint)
	if err != nil {
		return err
	}
	text, raw, err := x.s.payload(b, t, u, e, x.s.envelope(t, u, e))
	if err != nil {
		return err
	}
	return q.put(ctx, t, u.Endpoint, string(text), raw, e)
}

// redrive sends a message to the queue of a redrive policy, as it would have been sent to its endpoint.
func (s *Service) redrive(ctx context.Context, t *Topic, u *Subscription, e *entry, o open, b *box) error {
	arn, err := deadLetterQueue(u.Attributes[attrRedrive])
	if err != nil || arn == "" {
		return permanent{errors.New(o.Why)} // the policy went meanwhile: it is kept here
	}
	q, err := s.findQueue(ctx, arn)
	if err != nil {
		return err
	}
	text, raw, err := s.payload(b, t, u, e, s.envelope(t, u, e))
	if err != nil {
		return err
	}
	return q.put(ctx, t, arn, string(text), raw, e)
}

// natsSender publishes to NATS. Its connection is made with the first message.
type natsSender struct {
	s  *Service
	mu sync.Mutex
	nc *nats.Conn
}

func (x *natsSender) close() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.nc != nil {
		x.nc.Close()
		x.nc = nil
	}
}

// natsDialer connects only to where messages may go.
type natsDialer struct {
	*net.Dialer
}

func (x *natsSender) conn(u *url.URL) (*nats.Conn, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.nc != nil && !x.nc.IsClosed() {
		return x.nc, nil
	}
	server := url.URL{Scheme: u.Scheme, Host: u.Host}
	o := append(slices.Clone(x.s.o.NATS), nats.Name("spoor topics"), nats.Timeout(attemptTime/3), nats.NoReconnect(),
		nats.SetCustomDialer(natsDialer{x.s.guard.dialer(attemptTime / 3)}))
	nc, err := nats.Connect(server.String(), o...)
	x.nc = nc
	return nc, err
}

func (x *natsSender) send(ctx context.Context, t *Topic, u *Subscription, e *entry, b *box) error {
	v := x.s.envelope(t, u, e)
	text, _, err := x.s.payload(b, t, u, e, v)
	if err != nil {
		return err
	}
	at, err := url.Parse(u.Endpoint)
	if err != nil {
		return permanent{fmt.Errorf("publish to NATS: %w", err)}
	}
	nc, err := x.conn(at)
	if err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	m := nats.NewMsg(strings.TrimPrefix(at.Path, "/"))
	m.Data = text
	m.Header.Set(nats.MsgIdHdr, v.ID) // a stream behind the subject takes it once
	m.Header.Set("x-amz-sns-message-type", v.Type)
	m.Header.Set("x-amz-sns-topic-arn", v.Topic)
	if err := nc.PublishMsg(m); err != nil {
		if errors.Is(err, nats.ErrMaxPayload) {
			return permanent{fmt.Errorf("publish to NATS: %w", err)}
		}
		return fmt.Errorf("publish to NATS: %w", err)
	}
	if err := nc.FlushWithContext(ctx); err != nil {
		return fmt.Errorf("publish to NATS: %w", err)
	}
	return nil
}

// topicSender publishes to a topic of AWS.
type topicSender struct {
	s      *Service
	mu     sync.Mutex
	client SNS
}

func (*topicSender) close() {}

// finalTopic are errors of SNS that stay. A topic that is not there may be made again, and what is not allowed be allowed.
var finalTopic = []string{"InvalidParameter", "InvalidParameterException", "ParameterValueInvalid", "InvalidParameterValueException"}

func (x *topicSender) send(ctx context.Context, t *Topic, _ *Subscription, e *entry, _ *box) error {
	x.mu.Lock()
	if x.client == nil {
		client, err := x.s.o.SNS(ctx, t.Region)
		if err != nil {
			x.mu.Unlock()
			return fmt.Errorf("make a client of SNS: %w", err)
		}
		x.client = client
	}
	client := x.client
	x.mu.Unlock()
	in := &awssns.PublishInput{TopicArn: &t.External}
	set := func(to **string, text string) {
		if text != "" {
			*to = &text
		}
	}
	set(&in.Subject, e.Subject)
	set(&in.Message, e.Body)
	set(&in.MessageGroupId, e.Group)
	set(&in.MessageDeduplicationId, e.Dedup)
	if t.FIFO() && e.Dedup == "" {
		in.MessageDeduplicationId = &e.ID
	}
	if e.Bodies != nil {
		text, err := bodiesText(e.Bodies)
		if err != nil {
			return permanent{err}
		}
		in.Message, in.MessageStructure = &text, aws.String("json")
	}
	if len(e.Attributes) > 0 {
		in.MessageAttributes = map[string]snstypes.MessageAttributeValue{}
		for name, a := range e.Attributes {
			v := snstypes.MessageAttributeValue{DataType: &a.Type}
			if a.Binary != nil {
				v.BinaryValue = a.Binary
			} else {
				v.StringValue = &a.Text
			}
			in.MessageAttributes[name] = v
		}
	}
	if _, err := client.Publish(ctx, in); err != nil {
		var api smithy.APIError
		if errors.As(err, &api) && slices.Contains(finalTopic, api.ErrorCode()) {
			return permanent{fmt.Errorf("publish to %s: %w", t.External, err)}
		}
		return fmt.Errorf("publish to %s: %w", t.External, err)
	}
	return nil
}
