package sqs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"spoor/internal/journal"
	"spoor/internal/source"
	"spoor/internal/source/live"
	"spoor/internal/source/live/livetest"
)

// queue is a queue with the semantics of SQS, in virtual time.
type queue struct {
	mu       sync.Mutex
	messages []*queued
	err      func(op string) error
	deleted  []string
	extended int
}

type queued struct {
	id, body string
	visible  time.Time
	received int
	handle   string
}

func (q *queue) send(id, body string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = append(q.messages, &queued{id: id, body: body, visible: time.Now()})
}

func (q *queue) fails(op string) error {
	if q.err != nil {
		return q.err(op)
	}
	return nil
}

func (q *queue) ReceiveMessage(ctx context.Context, in *awssqs.ReceiveMessageInput, _ ...func(*awssqs.Options)) (*awssqs.ReceiveMessageOutput, error) {
	if err := q.fails("receive"); err != nil {
		return nil, err
	}
	until := time.Now().Add(time.Duration(in.WaitTimeSeconds) * time.Second)
	for {
		q.mu.Lock()
		var out []types.Message
		for _, m := range q.messages {
			if len(out) < int(in.MaxNumberOfMessages) && !m.visible.After(time.Now()) {
				m.received++
				m.visible = time.Now().Add(time.Duration(in.VisibilityTimeout) * time.Second)
				m.handle = fmt.Sprintf("%s/%d", m.id, m.received)
				out = append(out, types.Message{MessageId: &m.id, Body: &m.body, ReceiptHandle: aws.String(m.handle), Attributes: map[string]string{
					"ApproximateReceiveCount": fmt.Sprint(m.received), "SentTimestamp": fmt.Sprint(time.Now().Add(-time.Minute).UnixMilli()),
				}})
			}
		}
		q.mu.Unlock()
		if len(out) > 0 || !time.Now().Before(until) {
			return &awssqs.ReceiveMessageOutput{Messages: out}, nil
		}
		if err := live.Pause(ctx, time.Second); err != nil {
			return nil, err
		}
	}
}

func (q *queue) DeleteMessage(_ context.Context, in *awssqs.DeleteMessageInput, _ ...func(*awssqs.Options)) (*awssqs.DeleteMessageOutput, error) {
	if err := q.fails("delete"); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.messages = slices.DeleteFunc(q.messages, func(m *queued) bool {
		if m.handle == *in.ReceiptHandle {
			q.deleted = append(q.deleted, m.id)
			return true
		}
		return false
	})
	return &awssqs.DeleteMessageOutput{}, nil
}

func (q *queue) ChangeMessageVisibility(_ context.Context, in *awssqs.ChangeMessageVisibilityInput, _ ...func(*awssqs.Options)) (*awssqs.ChangeMessageVisibilityOutput, error) {
	if err := q.fails("visibility"); err != nil {
		return nil, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.extended++
	for _, m := range q.messages {
		if m.handle == *in.ReceiptHandle {
			m.visible = time.Now().Add(time.Duration(in.VisibilityTimeout) * time.Second)
		}
	}
	return &awssqs.ChangeMessageVisibilityOutput{}, nil
}

func (q *queue) GetQueueAttributes(context.Context, *awssqs.GetQueueAttributesInput, ...func(*awssqs.Options)) (*awssqs.GetQueueAttributesOutput, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return &awssqs.GetQueueAttributesOutput{Attributes: map[string]string{"ApproximateNumberOfMessages": fmt.Sprint(len(q.messages))}}, nil
}

// prolonged is how often the visibility of messages was changed, and received how often one of them was received.
func (q *queue) prolonged() (changes, received int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, m := range q.messages {
		received = max(received, m.received)
	}
	return q.extended, received
}

// left is how many messages are in the queue.
func (q *queue) left() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.messages)
}

// objects is a bucket in memory.
type objects struct {
	mu   sync.Mutex
	data map[string][]byte
	fail func(name string) error
	open int
}

func (o *objects) List(context.Context, source.Selection, func(source.Object, string) error) error {
	return errors.New("not to be listed")
}
func (o *objects) Parallel() int { return 1 }
func (o *objects) Open(_ context.Context, obj source.Object, read func(source.Object, io.Reader) error) error {
	o.mu.Lock()
	data, ok := o.data[obj.Name]
	fail := o.fail
	o.open++
	o.mu.Unlock()
	if fail != nil {
		if err := fail(obj.Name); err != nil {
			return err
		}
	}
	if !ok {
		return errors.New("there is no such object")
	}
	return read(obj, strings.NewReader(string(data)))
}

// notification is what a bucket sends for an object.
func notification(bucket, key string, size int) string {
	return fmt.Sprintf(`{"Records":[{"eventVersion":"2.1","eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":%q},"object":{"key":%q,"size":%d,"eTag":"e-%s"}}}]}`,
		bucket, url.QueryEscape(key), size, key)
}

func begin(t *testing.T, q *queue, o *objects, kept *livetest.Kept, change func(*Options)) (s *Source, stop func()) {
	t.Helper()
	opts := Options{Options: live.Options{Name: "queue", Dir: t.TempDir(), Accept: kept, Workers: 4}}
	if change != nil {
		change(&opts)
	}
	s, err := open(opts, q)
	if err != nil {
		t.Fatal(err)
	}
	s.buckets = func(context.Context, string) (source.Source, error) { return o, nil }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return s, func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("run: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
}

// balanced returns the ledger, which must balance.
func balanced(t *testing.T, s live.Source) (objects, failed, skipped, kept int64) {
	t.Helper()
	r, err := s.Ledger(time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Balanced {
		t.Errorf("the ledger does not balance: %v", r.Problems)
	}
	return r.Objects.Listed, r.Objects.Failed, r.Objects.Skipped, r.Records.Kept
}

func TestMessages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := &queue{}
		digest := "AWSLogs/111122223333/CloudTrail-Digest/eu-central-1/2026/01/10/111122223333_CloudTrail-Digest_eu-central-1_t_eu-central-1_20260110T100000Z.json.gz"
		o := &objects{data: map[string][]byte{
			"s3://b/" + livetest.Key(10, "one"): livetest.Log("a", "b"), "s3://b/" + livetest.Key(10, "two"): livetest.Log("c"),
			"s3://b/a note.txt": []byte("hello"),
		}}
		q.send("test", `{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-01-10T10:00:00.000Z","Bucket":"b","RequestId":"x","HostId":"y"}`)
		q.send("two", notification("b", livetest.Key(10, "two"), 10)) // out of order
		q.send("one", notification("b", livetest.Key(10, "one"), 10))
		q.send("again", notification("b", livetest.Key(10, "one"), 10))
		q.send("digest", notification("b", digest, 10))
		q.send("note", notification("b", "a note.txt", 10))
		q.send("removed", strings.ReplaceAll(notification("b", "gone", 1), "ObjectCreated:Put", "ObjectRemoved:Delete"))
		q.send("direct", `{"version":"0","detail-type":"AWS API Call via CloudTrail","source":"aws.s3api","detail":`+livetest.Record("d")+`}`)
		kept := &livetest.Kept{}
		s, stop := begin(t, q, o, kept, func(o *Options) { o.Workers = 1 })
		time.Sleep(61 * time.Second)
		if got := fmt.Sprint(kept.IDs()); got != "[a b c d]" {
			t.Errorf("accepted %s", got)
		}
		if n := q.left(); n != 0 {
			t.Errorf("%d messages left", n)
		}
		st := s.Stats()
		if st.Lag != time.Minute || st.Backlog != 0 || !st.Running || st.LastSuccess.IsZero() || st.Errors != 0 || st.Records != 4 {
			t.Errorf("stats %+v", st)
		}
		stop()
		// Read: one, two, the message itself. Left out: one again, the digest, the note.
		if listed, failed, skipped, records := balanced(t, s); listed != 6 || failed != 0 || skipped != 3 || records != 4 {
			t.Errorf("ledger: %d listed, %d failed, %d skipped, %d records", listed, failed, skipped, records)
		}
		if o := kept.Records()[0].Origin; o.Source != "queue" || o.Object != "s3://b/"+livetest.Key(10, "two") {
			t.Errorf("origin %+v", o)
		}
	})
}

func TestPoison(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body string
		data []byte
		want string // in the reason
	}{
		"missing":   {notification("b", livetest.Key(10, "gone"), 1), nil, "no such object"},
		"truncated": {notification("b", livetest.Key(10, "x"), 1), livetest.Log("a", "b")[:60], "input broken"},
		"not logs":  {notification("b", livetest.Key(10, "x"), 1), []byte("hello"), "not CloudTrail logs"},
		"nonsense":  {"hello", nil, "neither a notification nor a record"},
		"no key":    {`{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:Put","s3":{"bucket":{"name":"b"},"object":{}}}]}`, nil, "without bucket or key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q := &queue{}
				o := &objects{data: map[string][]byte{}}
				if c.data != nil {
					o.data["s3://b/"+livetest.Key(10, "x")] = c.data
				}
				q.send("m", c.body)
				kept := &livetest.Kept{}
				s, stop := begin(t, q, o, kept, func(o *Options) { o.MaxReceives = 3; o.Retry = time.Minute })
				defer stop()
				time.Sleep(2*time.Minute + 59*time.Second) // tried at 0 and 1 min, and the third time at 3 min
				if n := q.left(); n != 1 {
					t.Fatalf("after two tries: %d messages", n)
				}
				time.Sleep(time.Minute)
				if n := q.left(); n != 0 {
					t.Fatalf("after three tries: %d messages", n)
				}
				letters, err := s.Dead("", 10)
				if err != nil || len(letters) != 1 || letters[0].Attempts != 3 || letters[0].Message != c.body || !strings.Contains(letters[0].Reason, c.want) {
					t.Fatalf("letters %+v, %v", letters, err)
				}
				if st := s.Stats(); st.DeadLetters != 1 || st.Errors != 3 || st.Retries != 2 {
					t.Errorf("stats %+v", st)
				}
				balanced(t, s)
				if err := s.Replay(t.Context(), letters[0].ID); err == nil {
					t.Error("replayed what is still wrong")
				}
				if name == "nonsense" || name == "no key" {
					return
				}
				for k := range map[string]bool{"gone": true, "x": true} {
					o.data["s3://b/"+livetest.Key(10, k)] = livetest.Log("a", "b")
				}
				if err := s.Replay(t.Context(), letters[0].ID); err != nil {
					t.Error(err)
				}
				if got := fmt.Sprint(kept.Distinct()); got != "[a b]" || s.Stats().DeadLetters != 0 {
					t.Errorf("replayed: %s, %d letters left", got, s.Stats().DeadLetters)
				}
			})
		})
	}
}

// What is not the fault of an object is tried for ever.
func TestTrouble(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]error{
		"503":         serverError{},
		"no room":     &journal.FullError{Reason: "disk", RetryAfter: time.Second},
		"not known":   journal.ErrUnknown,
		"the network": context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				q, kept := &queue{}, &livetest.Kept{}
				o := &objects{data: map[string][]byte{"s3://b/" + livetest.Key(10, "x"): livetest.Log("a")}}
				over := time.Now().Add(3 * time.Hour)
				trouble := func() error {
					if time.Now().Before(over) {
						return fmt.Errorf("trouble: %w", fail)
					}
					return nil
				}
				if errors.Is(fail, journal.ErrFull) || errors.Is(fail, journal.ErrUnknown) {
					kept.Fail = func(int) error { return trouble() }
				} else {
					o.fail = func(string) error { return trouble() }
				}
				q.send("m", notification("b", livetest.Key(10, "x"), 1))
				s, stop := begin(t, q, o, kept, func(o *Options) { o.MaxReceives = 1 })
				defer stop()
				time.Sleep(4 * time.Hour)
				if got := fmt.Sprint(kept.IDs()); got != "[a]" || q.left() != 0 || s.Stats().DeadLetters != 0 {
					t.Errorf("accepted %s, %d messages, %d letters; %+v", got, q.left(), s.Stats().DeadLetters, s.Stats())
				}
				if listed, failed, _, n := balanced(t, s); listed != 1 || failed != 0 || n != 1 {
					t.Errorf("ledger: %d listed, %d failed, %d records", listed, failed, n)
				}
			})
		})
	}
}

type serverError struct{}

func (serverError) Error() string        { return "SlowDown" }
func (serverError) HTTPStatusCode() int  { return 503 }
func (serverError) RetryableError() bool { return true }

// A message is hidden as long as it is worked on, and not deleted before its events are durable.
func TestVisibility(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, kept := &queue{}, &livetest.Kept{}
		o := &objects{data: map[string][]byte{"s3://b/" + livetest.Key(10, "x"): livetest.Log("a")}}
		kept.Fail = func(int) error { time.Sleep(20 * time.Minute); return nil }
		q.send("m", notification("b", livetest.Key(10, "x"), 1))
		_, stop := begin(t, q, o, kept, func(o *Options) { o.Visibility = time.Minute })
		defer stop()
		time.Sleep(19 * time.Minute)
		if _, received := q.prolonged(); q.left() != 1 || len(kept.IDs()) != 0 || received != 1 {
			t.Fatalf("before it is durable: %d messages, accepted %v", q.left(), kept.IDs())
		}
		time.Sleep(2 * time.Minute)
		if n, _ := q.prolonged(); fmt.Sprint(kept.IDs()) != "[a]" || q.left() != 0 || n < 50 {
			t.Errorf("accepted %v, %d messages left, prolonged %d times", kept.IDs(), q.left(), n)
		}
	})
}

// The process dies between durable and delete: the message comes again to the next one.
func TestKilled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, kept := &queue{}, &livetest.Kept{}
		o := &objects{data: map[string][]byte{"s3://b/" + livetest.Key(10, "x"): livetest.Log("a", "b")}}
		dead := errors.New("killed")
		q.err = func(op string) error {
			if op != "receive" {
				return dead
			}
			return nil
		}
		q.send("m", notification("b", livetest.Key(10, "x"), 1))
		_, stop := begin(t, q, o, kept, nil)
		time.Sleep(time.Minute)
		if got := fmt.Sprint(kept.IDs()); got != "[a b]" || q.left() != 1 {
			t.Fatalf("accepted %s, %d messages", got, q.left())
		}
		stop()
		q.err = nil
		_, stop = begin(t, q, o, kept, nil)
		defer stop()
		time.Sleep(10 * time.Minute)
		if got := fmt.Sprint(kept.IDs(), kept.Distinct()); got != "[a a b b] [a b]" || q.left() != 0 {
			t.Errorf("accepted %s, %d messages", got, q.left())
		}
	})
}

// The queue cannot be reached for a while; then everything goes on.
func TestQueueTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, kept := &queue{}, &livetest.Kept{}
		o := &objects{data: map[string][]byte{"s3://b/" + livetest.Key(10, "x"): livetest.Log("a")}}
		over := time.Now().Add(time.Hour)
		q.err = func(string) error {
			if time.Now().Before(over) {
				return errors.New("throttled")
			}
			return nil
		}
		q.send("m", notification("b", livetest.Key(10, "x"), 1))
		s, stop := begin(t, q, o, kept, nil)
		defer stop()
		time.Sleep(2 * time.Hour)
		st := s.Stats()
		if got := fmt.Sprint(kept.IDs()); got != "[a]" || q.left() != 0 || st.Errors < 60 || st.Errors > 80 || !strings.Contains(st.LastError, "throttled") {
			t.Errorf("accepted %s, %d messages; %+v", got, q.left(), st)
		}
	})
}

// More messages than workers wait in the queue, not in memory.
func TestBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q, kept := &queue{}, &livetest.Kept{}
		o := &objects{data: map[string][]byte{}}
		for i := range 100 {
			key := livetest.Key(10, fmt.Sprint(i))
			o.data["s3://b/"+key] = livetest.Log(fmt.Sprintf("%03d", i))
			q.send(fmt.Sprint(i), notification("b", key, 1))
		}
		kept.Fail = func(int) error { time.Sleep(time.Second); return nil }
		s, stop := begin(t, q, o, kept, func(o *Options) { o.Workers = 12 })
		defer stop()
		for range 8 {
			time.Sleep(500 * time.Millisecond)
			hidden := 0
			q.mu.Lock()
			for _, m := range q.messages {
				if m.received > 0 {
					hidden++
				}
			}
			q.mu.Unlock()
			if n := s.Stats().InFlight; hidden > 12 || n > 12 || n == 0 {
				t.Fatalf("%d messages taken, %d in flight", hidden, n)
			}
		}
		time.Sleep(time.Minute)
		if n := len(kept.Distinct()); n != 100 || q.left() != 0 {
			t.Errorf("%d accepted, %d messages left", n, q.left())
		}
	})
}
