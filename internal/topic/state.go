package topic

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spoor/internal/durable"
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
}

// Topic is a topic. What is got from a [Service] is not to be changed.
type Topic struct {
	ID            string            `json:"id"` // names its folder
	Account       string            `json:"account"`
	Region        string            `json:"region"`
	Name          string            `json:"name"`
	External      string            `json:"external,omitempty"` // ARN of a topic of AWS that this one stands for
	Created       time.Time         `json:"created"`
	Attributes    map[string]string `json:"attributes,omitempty"` // as they were set
	Tags          map[string]string `json:"tags,omitempty"`
	Subscriptions []*Subscription   `json:"subscriptions,omitempty"` // in the order in which they were made
	Deleted       int               `json:"deleted,omitempty"`       // subscriptions that went
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
	c.Attributes, c.Tags, c.Subscriptions = maps.Clone(t.Attributes), maps.Clone(t.Tags), slices.Clone(t.Subscriptions)
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

// readState reads the state file; nil when there is none.
func readState(path string) (f *file, err error) {
	_, err = document().Read(path, func(b []byte) (err error) {
		f, err = decodeState(b)
		return err
	})
	return f, err
}

func decodeState(b []byte) (*file, error) {
	f := &file{}
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
		for name, value := range t.Attributes {
			if err := checkTopicAttribute(t, name, value); err != nil {
				return fmt.Errorf("topic %s: %w", t.ID, err)
			}
		}
		if err := checkTags(t.Tags); err != nil {
			return fmt.Errorf("topic %s: %w", t.ID, err)
		}
		for _, u := range t.Subscriptions {
			if u == nil || !idForm.MatchString(u.ID) || ids[u.ID] || !accountForm.MatchString(u.Owner) {
				return fmt.Errorf("topic %s: a subscription's id or owner: %.300v", t.ID, u)
			}
			ids[u.ID] = true
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
	}
	return nil
}

// write makes a state durable.
func (s *Service) write(f *file) error {
	out := *f
	out.Format, out.Version, out.Written = stateFormat, stateVersion, s.now()
	b, err := json.MarshalIndent(out, "", " ")
	if err == nil {
		err = durable.WriteFile(filepath.Join(s.dir, stateName), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("write the state of the topics: %w", err)
	}
	return nil
}

// show makes a state the one that everybody sees.
func (s *Service) show(f *file) {
	st := &state{file: f, byARN: map[string]*Topic{}, byID: map[string]*Topic{}}
	for _, t := range f.Topics {
		st.byARN[s.arn(t)], st.byID[t.ID] = t, t
	}
	s.snap.Store(st)
	signal(s.changed)
}

// signal tells once what may be told often.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Undo takes a change back, as far as nobody changed the same since. It holds in memory at once also when it cannot be written;
// then the error says so, and it is written with the next change or by [Service.Close].
type Undo func() error

// with is the state in which one topic is another; nil for none, where there is none or none is to be.
func (f *file) with(id string, t *Topic) *file {
	out := *f
	out.Topics = slices.Clone(f.Topics)
	i := slices.IndexFunc(out.Topics, func(t *Topic) bool { return t.ID == id })
	switch {
	case i >= 0 && t != nil:
		out.Topics[i] = t
	case i >= 0:
		out.Topics = slices.Delete(out.Topics, i, i+1)
	case t != nil:
		out.Topics = append(out.Topics, t)
	}
	return &out
}

// replace makes a change of one topic durable, and then shows it. mu is held.
func (s *Service) replace(before, after *Topic) (Undo, error) {
	if s.lock == nil {
		return nil, ErrClosed
	}
	id := ""
	if after != nil {
		id = after.ID
	} else {
		id = before.ID
	}
	f := s.snap.Load().with(id, after)
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("change the topics: %w", err)
	}
	if after != nil && s.boxes[id] == nil {
		b, err := s.openBox(after)
		if err != nil {
			return nil, err
		}
		s.boxes[id] = b
	}
	if err := s.write(f); err != nil {
		return nil, err
	}
	s.dirty = false
	s.follow(id, after)
	s.show(f)
	return func() error { return s.undo(id, before, after) }, nil
}

// follow notes when a topic went, so that its folder can go after a while.
func (s *Service) follow(id string, now *Topic) {
	if now == nil {
		s.went[id] = s.now()
	} else {
		delete(s.went, id)
	}
}

func (s *Service) undo(id string, before, after *Topic) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.snap.Load().file
	now := s.snap.Load().byID[id]
	var to *Topic
	switch {
	case before != nil && now != nil && after != nil:
		to = revert(now, before, after)
	case before != nil && now == nil && after == nil: // it was deleted
		if s.snap.Load().byARN[s.arn(before)] != nil {
			s.o.Log.Error("a topic that was deleted cannot be put back: there is a new one of its name", slog.String("topic", s.arn(before)))
			return fmt.Errorf("put back the topic %s: %w", s.arn(before), ErrNotFound)
		}
		to = before
	case before == nil: // it was made
	default:
		return nil // it went since
	}
	f = f.with(id, to)
	s.follow(id, to)
	s.show(f)
	s.dirty = true
	if s.lock == nil {
		return ErrClosed
	}
	if err := s.write(f); err != nil {
		s.o.Log.Error("a change of the topics was taken back, but not on disk yet", slog.Any("error", err))
		return err
	}
	s.dirty = false
	return nil
}

// revert is a topic without one change, which made after of before.
func revert(now, before, after *Topic) *Topic {
	to := now.clone()
	to.Attributes = revertMap(to.Attributes, before.Attributes, after.Attributes)
	to.Tags = revertMap(to.Tags, before.Tags, after.Tags)
	to.Deleted += before.Deleted - after.Deleted
	for _, had := range before.Subscriptions {
		_, got := after.subscription(had.ID)
		i, is := now.subscription(had.ID)
		switch {
		case got == had:
		case got == nil && is == nil: // it went
			to.Subscriptions = append(to.Subscriptions, had)
		case got != nil && is != nil:
			c := *had
			if is != got { // it changed further
				c = *is
			}
			c.Attributes = revertMap(maps.Clone(is.Attributes), had.Attributes, got.Attributes)
			to.Subscriptions[i] = &c
		}
	}
	to.Subscriptions = slices.DeleteFunc(to.Subscriptions, func(u *Subscription) bool {
		_, had := before.subscription(u.ID)
		_, got := after.subscription(u.ID)
		return had == nil && got != nil
	})
	return to
}

func revertMap(now, before, after map[string]string) map[string]string {
	for k, v := range after {
		if had, ok := before[k]; now[k] == v && (!ok || had != v) {
			if delete(now, k); ok {
				now[k] = had
			}
		}
	}
	for k, v := range before {
		if _, got := after[k]; !got {
			if _, is := now[k]; !is {
				if now == nil {
					now = map[string]string{}
				}
				now[k] = v
			}
		}
	}
	return now
}

// topic finds a topic. mu need not be held.
func (s *Service) topic(arn string) (*Topic, error) {
	if err := checkARN(arn, "TopicArn", false); err != nil {
		return nil, err
	}
	t := s.snap.Load().byARN[arn]
	if t == nil || t.External != "" {
		return nil, noTopic()
	}
	return t, nil
}

// change changes a topic.
func (s *Service) change(arn string, fn func(t *Topic) error) (Undo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, err := s.topic(arn)
	if err != nil {
		return nil, err
	}
	after := before.clone()
	after.expire(s.now())
	if err := fn(after); err != nil {
		return nil, err
	}
	return s.replace(before, after)
}

// link is a URL of the endpoint.
func (s *Service) link(values url.Values) string { return s.o.PublicURL + "/?" + values.Encode() }
