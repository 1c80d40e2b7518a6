package topic

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/durable"
	"spoor/internal/statefile"
	"spoor/internal/tag"
)

const (
	stateFormat  = "spoor-topics"
	stateVersion = 1
	maxState     = 256 << 20
	fifoSuffix   = ".fifo"
)

// file is the content of the state file. Topics and subscriptions in it are never changed, but replaced.
type file struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Written time.Time `json:"written"`
	Topics  []*Topic  `json:"topics"` // in the order in which they were made

	index *index
}

// index finds topics by name. It is made when it is first asked for.
type index struct {
	once        sync.Once
	byARN, byID map[string]*Topic
}

// Topic is a topic. What is got from a [Service] is not to be changed.
type Topic struct {
	ID            string            `json:"id"` // names its folder
	Account       string            `json:"account"`
	Region        string            `json:"region"`
	Name          string            `json:"name"`
	External      string            `json:"external,omitempty"` // ARN of a topic of AWS that this one stands for
	Created       time.Time         `json:"created"`
	Attributes    map[string]string `json:"attributes,omitempty"`    // as they were set
	Tags          []tag.Tag         `json:"tags,omitempty"`          // by key
	Subscriptions []*Subscription   `json:"subscriptions,omitempty"` // in the order in which they were made
	Deleted       int               `json:"deleted,omitempty"`       // subscriptions that went

	checked bool // by [file.check]
}

// FIFO says that the topic keeps the order within groups.
func (t *Topic) FIFO() bool { return strings.HasSuffix(t.Name, fifoSuffix) }

// Status is where a subscription is in its life.
type Status string

// The statuses.
const (
	Pending   Status = "pending" // its endpoint has not confirmed it yet
	Confirmed Status = "confirmed"
	Left      Status = "left" // it went, and its endpoint can have it back for a while
)

// Subscription is a subscription.
type Subscription struct {
	ID            string            `json:"id"`
	Protocol      string            `json:"protocol"`
	Endpoint      string            `json:"endpoint"`
	Owner         string            `json:"owner"` // account
	Status        Status            `json:"status"`
	Since         time.Time         `json:"since"` // of the status
	Round         int               `json:"round,omitempty"`
	Asked         bool              `json:"asked,omitempty"`         // the endpoint got the message about the status
	From          uint64            `json:"from,omitempty"`          // first message that is for it
	Authenticated bool              `json:"authenticated,omitempty"` // whoever confirmed it showed a key
	Signed        bool              `json:"signed,omitempty"`        // it goes only by signed calls
	Attributes    map[string]string `json:"attributes,omitempty"`
}

func (t *Topic) clone() *Topic {
	c := *t
	c.Attributes, c.Tags, c.Subscriptions = maps.Clone(t.Attributes), slices.Clone(t.Tags), slices.Clone(t.Subscriptions)
	c.checked = false
	return &c
}

func (u *Subscription) clone() *Subscription {
	c := *u
	c.Attributes = maps.Clone(u.Attributes)
	return &c
}

// subscription finds a subscription by its id.
func (t *Topic) subscription(id string) (int, *Subscription) {
	i := slices.IndexFunc(t.Subscriptions, func(u *Subscription) bool { return u.ID == id })
	if i < 0 {
		return -1, nil
	}
	return i, t.Subscriptions[i]
}

// expire removes what was not confirmed in time; false when there is nothing.
func (t *Topic) expire(now time.Time) bool {
	n := len(t.Subscriptions)
	t.Subscriptions = slices.DeleteFunc(t.Subscriptions, func(u *Subscription) bool {
		return u.Status != Confirmed && now.Sub(u.Since) >= PendingFor
	})
	return len(t.Subscriptions) < n
}

func document() durable.Document {
	return durable.Document{What: "the topics", Format: stateFormat, Version: stateVersion, Most: maxState, Damaged: ErrDamaged, Newer: ErrNewer}
}

// stateOptions is how the state is kept.
func (s *Service) stateOptions() statefile.Options[file] {
	return statefile.Options[file]{
		What: "the topics", Document: document(), Decode: decodeState, Check: (*file).check, Locked: ErrLocked, Closed: ErrClosed, Wait: s.o.Wait, Log: s.o.Log,
		New:   func() *file { return &file{Topics: []*Topic{}, index: &index{}} },
		Clone: func(f *file) *file { return &file{Topics: slices.Clone(f.Topics), index: &index{}} },
		Encode: func(f *file) ([]byte, error) {
			out := file{Format: stateFormat, Version: stateVersion, Written: s.now(), Topics: f.Topics}
			b, err := json.MarshalIndent(out, "", " ")
			return append(b, '\n'), err
		},
	}
}

func decodeState(b []byte) (*file, error) {
	f := &file{index: &index{}}
	if err := document().Decode(b, f); err != nil {
		return nil, err
	}
	if f.Version < 1 {
		return nil, fmt.Errorf("%w: version %d", ErrDamaged, f.Version)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f, nil
}

// check holds what every state has in common.
func (f *file) check() error {
	ids, names := map[string]bool{}, map[string]bool{}
	for _, t := range f.Topics {
		if t == nil || !idForm.MatchString(t.ID) || ids[t.ID] || !accountForm.MatchString(t.Account) || !regionForm.MatchString(t.Region) || checkName(t.Name) != nil {
			return fmt.Errorf("a topic's id, account, Region or name: %.300v", t)
		}
		name := t.Region + ":" + t.Account + ":" + t.Name
		if t.External != "" {
			if checkARN(t.External, "TopicArn", false) != nil {
				return fmt.Errorf("topic %s: stands for %.300q", t.ID, t.External)
			}
			name = t.External
		}
		if names[name] {
			return fmt.Errorf("topic %s: there are two of the name %s", t.ID, name)
		}
		ids[t.ID], names[name] = true, true
		for _, u := range t.Subscriptions {
			if u == nil || !idForm.MatchString(u.ID) || ids[u.ID] || !accountForm.MatchString(u.Owner) {
				return fmt.Errorf("topic %s: a subscription's id or owner: %.300v", t.ID, u)
			}
			ids[u.ID] = true
		}
		if err := t.check(); err != nil {
			return err
		}
		t.checked = true
	}
	return nil
}

// check holds what every topic has by itself. What was checked does not change.
func (t *Topic) check() error {
	if t.checked {
		return nil
	}
	for name, value := range t.Attributes {
		if err := checkTopicAttribute(t, name, value); err != nil {
			return fmt.Errorf("topic %s: %w", t.ID, err)
		}
	}
	if err := tag.Check(t.Tags); err != nil {
		return fmt.Errorf("topic %s: %w", t.ID, err)
	}
	for _, u := range t.Subscriptions {
		if u.Status != Pending && u.Status != Confirmed && u.Status != Left {
			return fmt.Errorf("subscription %s: status %.40q", u.ID, u.Status)
		}
		if u.Protocol != protocolSNS || t.External == "" {
			if err := checkEndpoint(t, u.Protocol, u.Endpoint); err != nil {
				return fmt.Errorf("subscription %s: %w", u.ID, err)
			}
		}
		for name, value := range u.Attributes {
			if err := checkSubscriptionAttribute(u.Protocol, name, value); err != nil {
				return fmt.Errorf("subscription %s: %w", u.ID, err)
			}
		}
		if err := checkFilter(u.Attributes); err != nil {
			return fmt.Errorf("subscription %s: %w", u.ID, err)
		}
	}
	return nil
}

// signal tells once what may be told often.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Undo takes a change back, as [statefile.Undo] does.
type Undo = statefile.Undo

// found is the state as it is now, with its index.
func (s *Service) found() *index {
	f := s.state.Get()
	f.index.once.Do(func() {
		f.index.byARN, f.index.byID = make(map[string]*Topic, len(f.Topics)), make(map[string]*Topic, len(f.Topics))
		for _, t := range f.Topics {
			f.index.byARN[s.arn(t)], f.index.byID[t.ID] = t, t
		}
	})
	return f.index
}

func (s *Service) byARN(arn string) *Topic { return s.found().byARN[arn] }
func (s *Service) byID(id string) *Topic   { return s.found().byID[id] }

// topic finds a topic.
func (s *Service) topic(arn string) (*Topic, error) {
	if err := checkARN(arn, "TopicArn", false); err != nil {
		return nil, err
	}
	t := s.byARN(arn)
	if t == nil || t.External != "" {
		return nil, noTopic()
	}
	return t, nil
}

// make makes a topic. fresh says in the state that it then meets whether there is room for it.
func (s *Service) make(t *Topic, fresh func(*file) error) (_ Undo, err error) {
	b, err := s.openBox(t) // of a folder that nobody knows until the state has the topic
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.boxes[t.ID] = b
	s.mu.Unlock()
	return s.change(func(f *file) error {
		if err := fresh(f); err != nil {
			return err
		}
		f.Topics = append(f.Topics, t)
		return nil
	})
}

// change changes the state; workers follow. fn may be called again, on other states, and must do the same then.
func (s *Service) change(fn func(f *file) error) (Undo, error) {
	undo, err := s.state.Change(fn)
	signal(s.changed)
	if err != nil {
		return nil, err
	}
	return func() error {
		defer signal(s.changed)
		return undo()
	}, nil
}

// on makes a change of the state of one of a topic.
func on(id string, fn func(t *Topic) error) func(f *file) error {
	return func(f *file) error {
		i := slices.IndexFunc(f.Topics, func(t *Topic) bool { return t.ID == id })
		if i < 0 {
			return noTopic()
		}
		t := f.Topics[i].clone()
		if err := fn(t); err != nil {
			return err
		}
		f.Topics[i] = t
		return nil
	}
}

// changeTopic changes a topic.
func (s *Service) changeTopic(arn string, fn func(t *Topic) error) (Undo, error) {
	t, err := s.topic(arn)
	if err != nil {
		return nil, err
	}
	return s.change(on(t.ID, fn))
}

// link is a URL of the endpoint.
func (s *Service) link(values url.Values) string { return s.o.PublicURL + "/?" + values.Encode() }
