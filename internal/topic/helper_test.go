package topic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
)

const (
	account = "111122223333"
	region  = "eu-west-1"
)

var here = Where{account, region}

// got is what an endpoint got.
type got struct {
	url, kind string
	header    http.Header
	body      string
}

// world is what endpoints there are.
type world struct {
	mu     sync.Mutex
	calls  []got
	answer func(g got) (int, error) // default 200
	sent   []*sqs.SendMessageInput
	queue  func(in *sqs.SendMessageInput) error
	tries  int
}

func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	g := got{url: r.URL.String(), kind: r.Header.Get("x-amz-sns-message-type"), header: r.Header, body: string(body)}
	w.mu.Lock()
	answer := w.answer
	w.mu.Unlock()
	status := 200
	if answer != nil {
		if status, err = answer(g); err != nil {
			return nil, err
		}
	}
	if status == 200 {
		w.mu.Lock()
		w.calls = append(w.calls, g)
		w.mu.Unlock()
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader("")), Request: r}, nil
}

func (w *world) GetQueueUrl(_ context.Context, in *sqs.GetQueueUrlInput, _ ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error) {
	url := "https://sqs/" + *in.QueueOwnerAWSAccountId + "/" + *in.QueueName
	return &sqs.GetQueueUrlOutput{QueueUrl: &url}, nil
}

func (w *world) SendMessage(_ context.Context, in *sqs.SendMessageInput, _ ...func(*sqs.Options)) (*sqs.SendMessageOutput, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tries++
	if w.queue != nil {
		if err := w.queue(in); err != nil {
			return nil, err
		}
	}
	w.sent = append(w.sent, in)
	return &sqs.SendMessageOutput{}, nil
}

func (w *world) set(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
}

// bodies are the messages that an endpoint got, by the text in them.
func (w *world) bodies(url string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, g := range w.calls {
		if g.url == url && g.kind == typeNotification {
			out = append(out, messageIn(g.body))
		}
	}
	return out
}

// all are the calls that were taken, and inQueues the messages that were.
func (w *world) all() []got {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}

func (w *world) inQueues() []*sqs.SendMessageInput {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent)
}

func (w *world) queued() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []string
	for _, in := range w.sent {
		out = append(out, *in.QueueUrl+" "+messageIn(*in.MessageBody))
	}
	return out
}

// messageIn is the member Message of an envelope, or the text itself.
func messageIn(body string) string {
	var v struct{ Message *string }
	if err := jsonUnmarshal(body, &v); err != nil || v.Message == nil {
		return body
	}
	return *v.Message
}

// apiError is an error of AWS.
func apiError(code string) error { return &smithy.GenericAPIError{Code: code, Message: "no"} }

var errDown = errors.New("connection refused")

// options are those of tests.
func options(w *world) Options {
	return Options{
		Account: account, Region: region, PublicURL: "https://spoor.test", Transport: w, Log: slog.New(slog.DiscardHandler),
		SQS: func(context.Context, string) (SQS, error) { return w, nil },
	}
}

// begin opens a folder and delivers from it, until the test ends or stop is called.
func begin(t testing.TB, dir string, o Options) (s *Service, stop func()) {
	t.Helper()
	s, err := Open(context.Background(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := errors.Join(<-done, s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(stop)
	return s, stop
}

func create(t testing.TB, s *Service, name string, attributes map[string]string) string {
	t.Helper()
	arn, _, err := s.Create(here, name, attributes, nil)
	if err != nil {
		t.Fatal(err)
	}
	return arn
}

// subscribe subscribes, and confirms what has to be.
func subscribe(t testing.TB, s *Service, arn, protocol, endpoint string, attributes map[string]string) string {
	t.Helper()
	sub, u, _, err := s.Subscribe(t.Context(), arn, protocol, endpoint, account, attributes)
	if err != nil {
		t.Fatal(err)
	}
	if u.Status == Pending {
		topic, _ := s.topic(arn)
		if _, _, _, err := s.Confirm(t.Context(), arn, s.token(topic, u), true, false); err != nil {
			t.Fatal(err)
		}
	}
	return sub
}

func publish(t testing.TB, s *Service, arn string, bodies ...string) {
	t.Helper()
	for _, b := range bodies {
		if _, err := s.Publish(t.Context(), arn, Message{Body: b}); err != nil {
			t.Fatal(err)
		}
	}
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	got, want = slices.Clone(got), slices.Clone(want)
	slices.Sort(got)
	slices.Sort(want)
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func virtual(t *testing.T, fn func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, fn)
}
