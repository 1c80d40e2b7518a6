// Package topic keeps topics and their subscriptions as SNS has them, and delivers what is published to them.
//
// A message is durable in the outbox of its topic when [Service.Publish] returns. From there every subscription is served by a
// worker of its own, with a cursor of its own: one that is slow or dead holds up no other. An attempt that fails is repeated by
// the subscription's delivery policy; what is given up goes to the queue of its redrive policy, or is kept as a dead letter.
// Delivery is at least once: after a crash, what was delivered within the last seconds is delivered again.
//
// Messages are signed as SNS does it, with a key and a certificate of this installation ([Service.Certificate]).
//
// docs/formats/topics.md describes the folder, docs/sns.md the behaviour.
package topic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	awssns "github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/nats-io/nats.go"

	"spoor/internal/durable"
	"spoor/internal/refusal"
	"spoor/internal/statefile"
)

// Limits, those of SNS but for the first two, which are ours.
const (
	MaxTopics        = 1000 // of an account in a Region
	MaxSubscriptions = 1000 // of a topic
	MaxMessage       = 256 << 10
	MaxBatch         = 10
	// PendingFor is how long a subscription can be confirmed.
	PendingFor = 48 * time.Hour
	// OnceFor is how long [Message.Once] counts, and fifoFor how long deduplication of FIFO topics does.
	OnceFor = 24 * time.Hour
	fifoFor = 5 * time.Minute
)

var (
	// ErrNotFound: there is no such topic. ErrDenied: its policy does not let the principal.
	ErrNotFound = errors.New("the topic does not exist")
	ErrDenied   = errors.New("the topic's policy does not allow it")
	// ErrLocked says that another process has the folder.
	ErrLocked = errors.New("another process has the topics")
	// ErrDamaged says that a file is not what was written, ErrNewer that a newer version wrote it.
	ErrDamaged = errors.New("the state of the topics is damaged")
	ErrNewer   = errors.New("the state of the topics was written by a newer version")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the topics are closed")
)

// Names of SNS's exceptions, as [Error] has them.
const (
	CodeInvalid           = "InvalidParameterException"
	CodeNotFound          = "NotFoundException"
	CodeResourceNotFound  = "ResourceNotFoundException"
	CodeTopicLimit        = "TopicLimitExceededException"
	CodeSubscriptionLimit = "SubscriptionLimitExceededException"
	CodeFilterLimit       = "FilterPolicyLimitExceededException"
	CodeTagLimit          = "TagLimitExceededException"
	CodeThrottled         = "ThrottledException"
)

// notFound is a refusal that is [ErrNotFound].
type notFound struct{ error }

// Unwrap gives the refusal, and what it is.
func (e notFound) Unwrap() []error { return []error{e.error, ErrNotFound} }

// invalid is a refusal as SNS words most of them.
func invalid(format string, a ...any) error {
	return refusal.Errorf(CodeInvalid, "Invalid parameter: "+format, a...)
}

func noTopic() error { return notFound{refusal.Errorf(CodeNotFound, "Topic does not exist")} }
func noSubscription() error {
	return notFound{refusal.Errorf(CodeNotFound, "Subscription does not exist")}
}

// Where is an account in a Region.
type Where struct{ Account, Region string }

// Sealer makes of a secret what may be kept in a file; purpose separates uses from one another. [keyring.Ring] is one.
type Sealer interface {
	Seal(purpose string, secret []byte) ([]byte, error)
	Unseal(purpose string, sealed []byte) ([]byte, error)
}

// SQS is what queues are sent to with. A client of AWS's SDK is one.
type SQS interface {
	GetQueueUrl(ctx context.Context, in *sqs.GetQueueUrlInput, o ...func(*sqs.Options)) (*sqs.GetQueueUrlOutput, error)
	SendMessage(ctx context.Context, in *sqs.SendMessageInput, o ...func(*sqs.Options)) (*sqs.SendMessageOutput, error)
}

// SNS is what topics of AWS are published to with. A client of AWS's SDK is one.
type SNS interface {
	Publish(ctx context.Context, in *awssns.PublishInput, o ...func(*awssns.Options)) (*awssns.PublishOutput, error)
}

// Options of Open.
type Options struct {
	Account, Region, Partition string // of the installation; the partition is aws by default

	// PublicURL is where clients reach the endpoint, such as https://spoor.example.com: links in messages begin with it.
	PublicURL string
	// Sealer seals the signing key. Without it the key lies in its file as it is, with mode 0600.
	Sealer Sealer

	// SQS makes the client for the queues of a Region. Without it, there are no subscriptions of queues.
	SQS func(ctx context.Context, region string) (SQS, error)
	// External says which topics are AWS's: what is published to them goes there, through the client that SNS makes for a Region.
	External func(topicARN string) bool
	SNS      func(ctx context.Context, region string) (SNS, error)
	SMTP     SMTP          // without Addr there are no subscriptions by mail
	NATS     []nats.Option // of connections to NATS, such as credentials; their dialer is ours

	// Deny are addresses that http, https and nats do not go to, Allow those that they do go to although they are denied by
	// default (link-local ones, where clouds have their metadata, among them).
	Allow, Deny []netip.Prefix
	Transport   http.RoundTripper // of http and https, instead of ours with its rule for addresses
	HTTPTimeout time.Duration     // of an attempt; default 15 s

	// MaxOutbox bounds the outbox of a topic, in bytes; beyond it, what waits longest is given up. Default 1 GiB.
	MaxOutbox int64
	// Retries replaces the retries of a protocol, unless a delivery policy says otherwise, which only http and https have.
	Retries map[string]Retries

	Wait time.Duration    // how long a lock is waited for that another process has
	Now  func() time.Time // default [time.Now]
	Log  *slog.Logger     // default discards

	at      func(point string) // where a test looks at the folder
	window  int                // default window
	segment int64              // default segmentSize
}

// Service holds topics. Its methods may be called concurrently.
type Service struct {
	dir   string
	o     Options
	keys  *keys
	guard guard
	http  http.RoundTripper
	state *statefile.File[file]

	mu     sync.Mutex           // guards what follows
	boxes  map[string]*box      // by topic id, also of topics that went
	went   map[string]time.Time // when a topic was found to have gone
	closed bool

	changed chan struct{} // the state changed: workers have to come or go
	moved   chan struct{} // a cursor moved
	running atomic.Bool
}

const (
	keysName   = "keys.json"
	topicsName = "topics"
)

// Open opens the topics of a folder, which is made when it is missing and locked until [Service.Close].
func Open(ctx context.Context, dir string, o Options) (_ *Service, err error) {
	if !accountForm.MatchString(o.Account) {
		return nil, fmt.Errorf("open the topics: %.40q is no account", o.Account)
	}
	if o.Partition == "" {
		o.Partition = "aws"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.HTTPTimeout <= 0 {
		o.HTTPTimeout = 15 * time.Second
	}
	if o.MaxOutbox <= 0 {
		o.MaxOutbox = 1 << 30
	}
	if o.at == nil {
		o.at = func(string) {}
	}
	if o.window == 0 {
		o.window = window
	}
	if o.segment == 0 {
		o.segment = segmentSize
	}
	for protocol, r := range o.Retries {
		if err := r.check(); err != nil {
			return nil, fmt.Errorf("open the topics: retries of %s: %w", protocol, err)
		}
	}
	o.PublicURL = strings.TrimRight(o.PublicURL, "/")
	s := &Service{
		dir: dir, o: o, guard: guard{allow: o.Allow, deny: o.Deny}, boxes: map[string]*box{}, went: map[string]time.Time{},
		changed: make(chan struct{}, 1), moved: make(chan struct{}, 1),
	}
	s.http = o.Transport
	if s.http == nil {
		s.http = s.guard.transport(o.HTTPTimeout)
	}
	if s.state, err = statefile.Open(ctx, dir, s.stateOptions()); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.shut())
		}
	}()
	if s.keys, err = openKeys(filepath.Join(dir, keysName), o); err != nil {
		return nil, err
	}
	if err := durable.MkdirAll(filepath.Join(dir, topicsName), 0o700); err != nil {
		return nil, fmt.Errorf("open the topics: %w", err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, topicsName))
	if err != nil {
		return nil, fmt.Errorf("open the topics: %w", err)
	}
	for _, e := range entries {
		if idForm.MatchString(e.Name()) && s.byID(e.Name()) == nil { // of a topic that was deleted, or never made
			if err := os.RemoveAll(filepath.Join(dir, topicsName, e.Name())); err != nil {
				return nil, fmt.Errorf("open the topics: %w", err)
			}
		}
	}
	for _, t := range s.state.Get().Topics {
		if s.boxes[t.ID], err = s.openBox(t); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// shut gives files and lock back.
func (s *Service) shut() error {
	s.closed = true
	var err error
	for _, b := range s.boxes {
		if b != nil {
			err = errors.Join(err, b.log.close())
		}
	}
	return errors.Join(err, s.state.Close(nil))
}

// Close ends the service, after [Service.Run] has returned. What was not delivered is delivered after the next start.
func (s *Service) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.shut()
}

// box is what a topic has to deliver; nil when it is not there any more.
func (s *Service) box(id string) *box {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	return s.boxes[id]
}

// now is the time of changes, in whole milliseconds as messages have it.
func (s *Service) now() time.Time { return s.o.Now().UTC().Truncate(time.Millisecond) }

// arn names a topic.
func (s *Service) arn(t *Topic) string {
	if t.External != "" {
		return t.External
	}
	return "arn:" + s.o.Partition + ":sns:" + t.Region + ":" + t.Account + ":" + t.Name
}

var (
	accountForm = regexp.MustCompile(`^[0-9]{12}$`)
	regionForm  = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)
	idForm      = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)
	arnForm     = regexp.MustCompile(`^arn:(aws[a-z-]*):sns:([a-z0-9-]{1,40}):([0-9]{12}):([A-Za-z0-9_-]{1,256}(?:\.fifo)?)(?::([0-9a-f-]{36}))?$`)
	queueForm   = regexp.MustCompile(`^arn:(aws[a-z-]*):sqs:([a-z0-9-]{1,40}):([0-9]{12}):([A-Za-z0-9_-]{1,80}(?:\.fifo)?)$`)
)

// checkName checks the name of a topic.
func checkName(name string) error {
	if len(name) > 256 || !nameForm.MatchString(strings.TrimSuffix(name, fifoSuffix)) {
		return invalid("Topic Name")
	}
	return nil
}

// IsARN reports whether a text has the form of a topic's or a subscription's ARN.
func IsARN(text string) bool { return arnForm.MatchString(text) }

// checkARN checks the ARN of a topic, or with subscription of a subscription.
func checkARN(text, member string, subscription bool) error {
	if n := strings.Count(text, ":") + 1; n < 6 {
		return invalid("%s Reason: An ARN must have at least 6 elements, not %d", member, n)
	}
	if m := arnForm.FindStringSubmatch(text); m == nil || (m[5] != "") != subscription || checkName(m[4]) != nil {
		return invalid("%s", member)
	}
	return nil
}

// topicOf is the ARN of the topic of a subscription.
func topicOf(subscriptionARN string) (topic, id string) {
	i := strings.LastIndexByte(subscriptionARN, ':')
	return subscriptionARN[:i], subscriptionARN[i+1:]
}

// Resolve gives the ARN that the name or the ARN of a topic stands for. Whether there is one, it does not say.
func (s *Service) Resolve(w Where, nameOrARN string) (arn string, err error) {
	if strings.Contains(nameOrARN, ":") {
		return nameOrARN, checkARN(nameOrARN, "TopicArn", false)
	}
	if err := checkName(nameOrARN); err != nil {
		return "", err
	}
	return "arn:" + s.o.Partition + ":sns:" + w.Region + ":" + w.Account + ":" + nameOrARN, nil
}
