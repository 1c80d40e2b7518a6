// Package sqs reads the objects that notifications in a queue name: of Amazon S3 directly, through SNS or through
// EventBridge, and those of CloudTrail itself. A message that holds records itself is read too.
//
// A message is deleted when everything that it names is durable, or kept as a dead letter. Until then it stays hidden from
// others, and when the process dies it comes back. What cannot be read is tried Options.MaxReceives times; what fails because
// a service is in trouble is tried for as long as the queue keeps it.
package sqs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"spoor/internal/source"
	"spoor/internal/source/live"
	"spoor/internal/source/s3"
)

// Options say which queue is read. QueueURL is required; zero members are the defaults.
type Options struct {
	live.Options
	QueueURL string
	// AWS is how the queue is reached, and S3 how the buckets are. The Region of the queue is that of its address when none
	// is given, and so is the endpoint when it is not one of Amazon's.
	AWS, S3 s3.Options
	// Buckets are those that notifications may name; empty for all that the credentials can read.
	Buckets []string

	Wait        time.Duration // that a request waits for messages; default 20 s, negative for none
	Visibility  time.Duration // that a message is hidden for; prolonged while it is worked on; default 5 min
	MaxReceives int           // default 5
	// Retry is how long a message that failed is left alone, doubled each time up to 15 min. Default 30 s; negative for none.
	Retry time.Duration
}

// client is what is used of SQS.
type client interface {
	ReceiveMessage(context.Context, *awssqs.ReceiveMessageInput, ...func(*awssqs.Options)) (*awssqs.ReceiveMessageOutput, error)
	DeleteMessage(context.Context, *awssqs.DeleteMessageInput, ...func(*awssqs.Options)) (*awssqs.DeleteMessageOutput, error)
	ChangeMessageVisibility(context.Context, *awssqs.ChangeMessageVisibilityInput, ...func(*awssqs.Options)) (*awssqs.ChangeMessageVisibilityOutput, error)
	GetQueueAttributes(context.Context, *awssqs.GetQueueAttributesInput, ...func(*awssqs.Options)) (*awssqs.GetQueueAttributesOutput, error)
}

// Source reads a queue. It implements [live.Source].
type Source struct {
	*live.Core
	opts    Options
	client  client
	buckets func(ctx context.Context, name string) (source.Source, error)

	mu      sync.Mutex // guards what follows
	opened  map[string]source.Source
	settled map[[3]string]struct{}
	order   [][3]string // of settled, a ring
	next    int
}

const (
	maxBuckets   = 256
	maxSettled   = 20_000
	maxRetry     = 15 * time.Minute
	finishWithin = 10 * time.Second // for what is done after the context has ended
	batch        = 10               // messages of a request, the most that SQS gives
)

// Open opens the source of a queue. It reads configuration files, and asks nobody yet.
func Open(ctx context.Context, o Options) (*Source, error) {
	at, err := url.Parse(o.QueueURL)
	if err != nil || at.Host == "" {
		return nil, fmt.Errorf("%q is no address of a queue", o.QueueURL)
	}
	amazon := strings.HasSuffix(at.Hostname(), ".amazonaws.com") || strings.HasSuffix(at.Hostname(), ".amazonaws.com.cn")
	if parts := strings.Split(at.Hostname(), "."); o.AWS.Region == "" && amazon && parts[0] == "sqs" {
		o.AWS.Region = parts[1]
	}
	if o.AWS.EndpointURL == "" && !amazon {
		o.AWS.EndpointURL = at.Scheme + "://" + at.Host
	}
	cfg, err := s3.Config(ctx, o.AWS)
	if err != nil {
		return nil, err
	}
	return open(o, awssqs.NewFromConfig(cfg, func(q *awssqs.Options) {
		if o.AWS.EndpointURL != "" {
			q.BaseEndpoint = &o.AWS.EndpointURL
		}
	}))
}

func open(o Options, c client) (*Source, error) {
	o.Kind = "sqs"
	o.Wait = max(cmp.Or(o.Wait, 20*time.Second), 0)
	o.Visibility = cmp.Or(o.Visibility, 5*time.Minute)
	o.MaxReceives = cmp.Or(o.MaxReceives, 5)
	o.Retry = max(cmp.Or(o.Retry, 30*time.Second), 0)
	core, err := live.Open(o.Options)
	if err != nil {
		return nil, err
	}
	o.Options = core.Options
	s := &Source{Core: core, opts: o, client: c, opened: map[string]source.Source{}, settled: map[[3]string]struct{}{}}
	s.buckets = func(ctx context.Context, name string) (source.Source, error) { return s3.New(ctx, name, "", o.S3) }
	return s, nil
}

// Run implements [live.Source]. As many messages are in flight as there are workers.
func (s *Source) Run(ctx context.Context) error {
	return s.Work(ctx, func(ctx context.Context) error {
		var under sync.WaitGroup
		defer under.Wait()
		under.Go(func() { s.measure(ctx) })
		slots := make(chan struct{}, s.opts.Workers)
		for failures := 0; ; {
			n, err := take(ctx, slots)
			if err != nil {
				return nil
			}
			messages, err := s.receive(ctx, n)
			for range n - len(messages) {
				<-slots
			}
			for _, m := range messages {
				under.Go(func() {
					defer func() { <-slots }()
					s.Note(func(st *live.Stats) { st.InFlight++ })
					defer s.Note(func(st *live.Stats) { st.InFlight-- })
					s.message(ctx, m)
				})
			}
			if ctx.Err() != nil {
				return nil
			}
			if err == nil {
				failures = 0
				s.Succeeded()
				continue
			}
			failures++
			s.Failed(fmt.Errorf("receive messages: %w", err))
			if live.Pause(ctx, live.Backoff(time.Second, time.Minute, failures)) != nil {
				return nil
			}
		}
	})
}

// take waits for a slot, and takes as many as one request can fill.
func take(ctx context.Context, slots chan struct{}) (int, error) {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	for n := 1; ; n++ {
		if n == batch {
			return n, nil
		}
		select {
		case slots <- struct{}{}:
		default:
			return n, nil
		}
	}
}

func (s *Source) receive(ctx context.Context, n int) ([]types.Message, error) {
	out, err := s.client.ReceiveMessage(ctx, &awssqs.ReceiveMessageInput{
		QueueUrl: &s.opts.QueueURL, MaxNumberOfMessages: int32(n),
		WaitTimeSeconds: seconds(s.opts.Wait), VisibilityTimeout: seconds(s.opts.Visibility),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{
			types.MessageSystemAttributeNameApproximateReceiveCount, types.MessageSystemAttributeNameSentTimestamp,
		},
	})
	if err != nil {
		return nil, err
	}
	return out.Messages[:min(len(out.Messages), n)], nil
}

// seconds rounds up.
func seconds(d time.Duration) int32 { return int32((d + time.Second - 1) / time.Second) }

// message deals with one message, to its end or to the next time.
func (s *Source) message(ctx context.Context, m types.Message) {
	id := aws.ToString(m.MessageId)
	received, _ := strconv.Atoi(m.Attributes["ApproximateReceiveCount"])
	received = max(received, 1)
	sent, _ := strconv.ParseInt(m.Attributes["SentTimestamp"], 10, 64)

	readings, err := s.holding(ctx, m, func(ctx context.Context) ([]reading, error) { return s.work(ctx, id, aws.ToString(m.Body)) })
	if err != nil {
		passing := live.Passing(err) || ctx.Err() != nil
		if ctx.Err() == nil {
			s.Failed(fmt.Errorf("message %s, received %d times: %w", id, received, err))
		}
		if !passing && received >= s.opts.MaxReceives {
			if err := s.Bury(live.Letter{Object: letterName(id, readings), Message: aws.ToString(m.Body), Reason: err.Error(), Attempts: received}); err != nil {
				s.Failed(err)
				s.release(ctx, m, received)
				return
			}
		} else {
			s.release(ctx, m, received)
			return
		}
	}
	s.settle(readings)
	if sent > 0 {
		s.Note(func(st *live.Stats) { st.Lag = max(s.Now().Sub(time.UnixMilli(sent)), 0) })
	}
	s.delete(ctx, m)
}

// holding keeps a message hidden while work goes on.
func (s *Source) holding(ctx context.Context, m types.Message, work func(ctx context.Context) ([]reading, error)) ([]reading, error) {
	done := make(chan struct{})
	var keeper sync.WaitGroup
	keeper.Go(func() {
		tick := time.NewTicker(s.opts.Visibility / 3)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-ctx.Done():
				return
			case <-tick.C:
				if err := s.visibility(ctx, m, s.opts.Visibility); err != nil && ctx.Err() == nil {
					s.Failed(fmt.Errorf("keep message %s hidden: %w", aws.ToString(m.MessageId), err))
				}
			}
		}
	})
	readings, err := work(ctx)
	close(done)
	keeper.Wait()
	return readings, err
}

func (s *Source) visibility(ctx context.Context, m types.Message, d time.Duration) error {
	_, err := s.client.ChangeMessageVisibility(ctx, &awssqs.ChangeMessageVisibilityInput{
		QueueUrl: &s.opts.QueueURL, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds(d),
	})
	return err
}

// release gives a message back, to be received again after a while; at once when the source stops.
func (s *Source) release(ctx context.Context, m types.Message, received int) {
	after := live.Backoff(s.opts.Retry, maxRetry, received)
	if ctx.Err() != nil {
		after = 0
	}
	s.Note(func(st *live.Stats) { st.Retries++ })
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer cancel()
	if err := s.visibility(ctx, m, after); err != nil {
		s.Failed(fmt.Errorf("give message %s back: %w", aws.ToString(m.MessageId), err)) // it comes back when its time is over
	}
}

// delete removes a message that is dealt with; when the source stops too, since what it names is durable.
func (s *Source) delete(ctx context.Context, m types.Message) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishWithin)
	defer cancel()
	_, err := s.client.DeleteMessage(ctx, &awssqs.DeleteMessageInput{QueueUrl: &s.opts.QueueURL, ReceiptHandle: m.ReceiptHandle})
	if err != nil {
		s.Failed(fmt.Errorf("delete message %s: %w", aws.ToString(m.MessageId), err)) // it comes again, and is read again
	}
}

// reading is what became of an object that a message names.
type reading struct {
	obj  source.Object
	id   [3]string // of the object, zero when it is not known well enough
	read *live.Reading
	skip string
	err  error
}

// repeated is the reason for objects that several notifications name.
const repeated = "read before"

// work reads everything that a message names, also after one could not be read. The error is the first one; one that is
// passing goes before others.
func (s *Source) work(ctx context.Context, id, body string) ([]reading, error) {
	c, err := parse(body)
	if err != nil {
		return nil, err
	}
	if c.other {
		obj := source.Object{Name: "message " + id, Size: int64(len(body))}
		r, err := s.Read(ctx, obj, strings.NewReader(body))
		if r.Else(err) || err == nil && r.Met() == 0 {
			return nil, errors.New("neither a notification nor a record")
		}
		return []reading{{obj: obj, read: r, err: err}}, err
	}
	if len(c.notices) == 0 {
		s.Log.Debug("message ignored", "message", id, "reason", c.ignored)
		return nil, nil
	}
	var out []reading
	var failed error
	for _, n := range c.notices {
		r := s.object(ctx, n)
		out = append(out, r)
		if r.err == nil {
			continue
		}
		if failed == nil || live.Passing(r.err) && !live.Passing(failed) {
			failed = fmt.Errorf("%s: %w", r.obj.Name, r.err)
		}
		if live.Passing(r.err) {
			break
		}
	}
	return out, failed
}

func (s *Source) object(ctx context.Context, n notice) reading {
	r := reading{obj: source.Object{Name: "s3://" + n.bucket + "/" + n.key, Size: n.size, ETag: n.etag, Place: source.ParseKey(n.key)}}
	if n.etag != "" {
		r.id = [3]string{n.bucket, n.key, n.etag}
		if s.known(r.id) {
			r.skip = repeated
			return r
		}
	}
	switch {
	case len(s.opts.Buckets) > 0 && !slices.Contains(s.opts.Buckets, n.bucket):
		r.err = fmt.Errorf("bucket %q is not one of those that may be read", n.bucket)
	case n.size == 0:
		r.skip = source.SkipEmpty
	case strings.HasSuffix(n.key, "/"):
		r.skip = "folder"
	case source.SystemFile(n.key):
		r.skip = source.SkipSystem
	default:
		r.skip = s.Wanted(r.obj.Place)
	}
	if r.skip != "" || r.err != nil {
		return r
	}
	src, err := s.bucket(ctx, n.bucket)
	if err != nil {
		r.err = err
		return r
	}
	if r.read, r.err = s.From(ctx, src, r.obj); r.read.Else(r.err) {
		r.skip, r.err = r.err.Error(), nil
	}
	return r
}

// bucket returns the source of a bucket.
func (s *Source) bucket(ctx context.Context, name string) (source.Source, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if src := s.opened[name]; src != nil {
		return src, nil
	}
	src, err := s.buckets(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", name, err)
	}
	if len(s.opened) >= maxBuckets {
		clear(s.opened)
	}
	s.opened[name] = src
	return src, nil
}

func (s *Source) known(id [3]string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.settled[id]
	return ok
}

// settle counts what a message named, and remembers it, as queues deliver some messages twice.
func (s *Source) settle(readings []reading) {
	for _, r := range readings {
		if r.skip != "" {
			s.Skip(r.obj, r.skip, nil)
		} else {
			read := r.read
			if read == nil {
				read = s.Unread(r.obj)
			}
			s.Settle(read, r.err, nil)
		}
		if r.err != nil || r.id[0] == "" || r.skip == repeated {
			continue
		}
		s.mu.Lock()
		if _, ok := s.settled[r.id]; !ok {
			if len(s.order) < maxSettled {
				s.order = append(s.order, r.id)
			} else {
				delete(s.settled, s.order[s.next])
				s.order[s.next] = r.id
				s.next = (s.next + 1) % maxSettled
			}
			s.settled[r.id] = struct{}{}
		}
		s.mu.Unlock()
	}
}

// letterName tells people what a letter is about.
func letterName(id string, readings []reading) string {
	for _, r := range readings {
		if r.err != nil {
			return r.obj.Name
		}
	}
	return "message " + id
}

// Replay implements [live.Source].
func (s *Source) Replay(ctx context.Context, id string) error {
	l, err := s.Letter(id)
	if err != nil {
		return err
	}
	readings, err := s.work(ctx, "replayed "+id, l.Message)
	if err != nil {
		return fmt.Errorf("replay %s: %w", id, err)
	}
	for _, r := range readings {
		if r.read != nil {
			r.read.Note(live.Replayed)
			break
		}
	}
	s.settle(readings)
	return s.Discard(id)
}

// measureEvery is how often the queue is asked how much waits.
const measureEvery = time.Minute

// measure keeps the backlog up to date, where the credentials allow to ask.
func (s *Source) measure(ctx context.Context) {
	for {
		backlog := int64(-1)
		out, err := s.client.GetQueueAttributes(ctx, &awssqs.GetQueueAttributesInput{
			QueueUrl: &s.opts.QueueURL, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages},
		})
		if err == nil {
			if n, err := strconv.ParseInt(out.Attributes[string(types.QueueAttributeNameApproximateNumberOfMessages)], 10, 64); err == nil {
				backlog = n
			}
		}
		s.Note(func(st *live.Stats) { st.Backlog = backlog })
		if live.Pause(ctx, measureEvery) != nil {
			return
		}
	}
}

var _ live.Source = (*Source)(nil)
