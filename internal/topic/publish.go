package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// Message is what is published.
type Message struct {
	Subject, Body string
	Once          string // names the message: published again under the same name within a day, it counts once; empty for none

	Attributes  map[string]Attribute
	PerProtocol bool // Body is a JSON object with a text for each protocol, and one for default

	Group         string // of FIFO topics; in others, it goes along to FIFO queues
	Deduplication string // of FIFO topics: names the message for five minutes
}

// Attribute is an attribute of a message.
type Attribute struct {
	Type   string `json:"type"` // String, String.Array, Number or Binary, with a label of one's own behind a dot
	Text   string `json:"text,omitempty"`
	Binary []byte `json:"binary,omitempty"`
}

const typeArray = "String.Array"

// Receipt is what one has of a message that was published.
type Receipt struct {
	ID        string // a UUID
	Sequence  string // its place in the topic, of 20 digits
	Duplicate bool   // it was published before, and counts once
}

var (
	attributeName = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,256}$`)
	attributeType = regexp.MustCompile(`^(String|Number|Binary)(\.[A-Za-z0-9_.-]+)?$`)
	groupForm     = regexp.MustCompile("^[A-Za-z0-9!\"#$%&'()*+,./:;<=>?@\\[\\\\\\]^_`{|}~-]{1,128}$")
)

// Publish makes a message durable for all subscriptions of a topic. Nobody's permission is asked.
func (s *Service) Publish(ctx context.Context, topicARN string, m Message) (messageID string, err error) {
	r, release, _, err := s.PublishHeld(ctx, topicARN, []Message{m})
	if err != nil {
		return "", err
	}
	release()
	return r[0].ID, nil
}

// PublishHeld makes messages durable for all subscriptions of a topic, all of them or none. They are delivered when release is
// called, or after the next start; with the [Undo] instead, nobody gets them. One of both has to be called. Nobody's permission
// is asked.
func (s *Service) PublishHeld(ctx context.Context, topicARN string, ms []Message) (_ []Receipt, release func(), _ Undo, _ error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, nil, err
	}
	t, err := s.destination(topicARN)
	if err != nil {
		return nil, nil, nil, err
	}
	now := s.now()
	entries := make([]*entry, len(ms))
	for i, m := range ms {
		if entries[i], err = m.entry(t, now); err != nil {
			return nil, nil, nil, err
		}
	}
	b := s.box(t.ID)
	if b == nil {
		return nil, nil, nil, ErrClosed
	}
	receipts, err := b.log.append(now, entries...)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("publish to %s: %w", topicARN, err)
	}
	release = func() {
		b.log.release(entries)
		b.moved.Store(true)
		signal(s.moved)
		b.wake()
	}
	return receipts, release, func() error {
		defer release()
		var back []*entry
		for i, r := range receipts {
			if !r.Duplicate {
				back = append(back, &entry{Withdraw: entries[i].Seq})
			}
		}
		if len(back) == 0 {
			return nil
		}
		if _, err := b.log.append(s.now(), back...); err != nil {
			return fmt.Errorf("withdraw a message: %w", err)
		}
		return nil
	}, nil
}

// destination finds the topic that is published to, and makes the one that stands for a topic of AWS.
func (s *Service) destination(arn string) (*Topic, error) {
	if !s.external(arn) {
		return s.topic(arn)
	}
	if s.o.SNS == nil {
		return nil, errors.New("publish to a topic of AWS: there is no client for it")
	}
	if t := s.byARN(arn); t != nil {
		return t, nil
	}
	m := arnForm.FindStringSubmatch(arn)
	t := &Topic{ID: uuid.NewString(), Account: m[3], Region: m[2], Name: m[4], External: arn, Created: s.now()}
	t.Subscriptions = []*Subscription{{ID: uuid.NewString(), Protocol: protocolSNS, Endpoint: arn, Owner: t.Account, Status: Confirmed, Since: s.now(), Authenticated: true}}
	_, err := s.make(t, func(f *file) error {
		if slices.ContainsFunc(f.Topics, func(o *Topic) bool { return o.External == arn }) {
			return errExists
		}
		return nil
	})
	if had := s.byARN(arn); errors.Is(err, errExists) && had != nil { // somebody was faster
		return had, nil
	}
	return t, err
}

// entry checks a message as SNS does.
func (m Message) entry(t *Topic, now time.Time) (*entry, error) {
	e := &entry{ID: uuid.NewString(), Time: now, Subject: m.Subject, Body: m.Body, Attributes: m.Attributes, Group: m.Group}
	size := len(m.Body)
	switch {
	case m.Body == "":
		return nil, invalid("Empty message")
	case !utf8.ValidString(m.Body):
		return nil, invalid("Message Reason: it is not UTF-8")
	case utf8.RuneCountInString(m.Subject) > 100 || !utf8.ValidString(m.Subject) || strings.ContainsFunc(m.Subject, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 }):
		return nil, invalid("Subject")
	}
	for name, a := range m.Attributes {
		if err := a.check(name); err != nil {
			return nil, err
		}
		size += len(name) + len(a.Type) + len(a.Text) + len(a.Binary)
	}
	if size > MaxMessage {
		return nil, invalid("Message too long")
	}
	if m.PerProtocol {
		if err := json.Unmarshal([]byte(m.Body), &e.Bodies); err != nil {
			return nil, invalid("Message Structure - JSON message body failed to parse")
		}
		if _, ok := e.Bodies["default"]; !ok {
			return nil, invalid("Message Structure - No default entry in JSON message body")
		}
		e.Body = ""
	}
	if m.Group != "" && !groupForm.MatchString(m.Group) {
		return nil, invalid("MessageGroupId Reason: it can contain up to 128 alphanumeric or punctuation characters")
	}
	if m.Deduplication != "" && !groupForm.MatchString(m.Deduplication) {
		return nil, invalid("MessageDeduplicationId Reason: it can contain up to 128 alphanumeric or punctuation characters")
	}
	switch {
	case t.FIFO():
		e.Dedup = m.Deduplication
		switch {
		case m.Group == "":
			return nil, invalid("The MessageGroupId parameter is required for FIFO topics")
		case e.Dedup == "" && t.Attributes[attrContent] != "true" && t.External == "":
			return nil, invalid("The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
		case e.Dedup == "" && t.External == "":
			e.Dedup = contentID(m.Body)
		}
		if e.Dedup != "" {
			e.Key, e.Until = keyOf("fifo", e.Dedup), now.Add(fifoFor)
		}
	case m.Deduplication != "":
		return nil, invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	}
	if m.Once != "" {
		e.Key, e.Until = keyOf("once", m.Once), now.Add(OnceFor)
	}
	return e, nil
}

func (a Attribute) check(name string) error {
	bad := func(format string, x ...any) error {
		return invalid("MessageAttributes Reason: The message attribute '"+name+"' "+format, x...)
	}
	lower := strings.ToLower(name)
	if !attributeName.MatchString(name) || strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") || strings.Contains(name, "..") ||
		strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") {
		name = strings.ToValidUTF8(name[:min(len(name), 80)], "")
		return invalid("MessageAttributes Reason: the name %q is not valid", name)
	}
	if !attributeType.MatchString(a.Type) || len(a.Type) > 256 {
		return bad("has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String.")
	}
	switch kind, _, _ := strings.Cut(a.Type, "."); {
	case kind == "Binary":
		if len(a.Binary) == 0 || a.Text != "" {
			return bad("must contain non-empty message attribute value for message attribute type '%s'.", a.Type)
		}
		return nil
	case a.Text == "" || len(a.Binary) > 0:
		return bad("must contain non-empty message attribute value for message attribute type '%s'.", a.Type)
	case !utf8.ValidString(a.Text):
		return bad("is not UTF-8.")
	case kind == "Number":
		if _, err := strconv.ParseFloat(strings.TrimSpace(a.Text), 64); err != nil && !errors.Is(err, strconv.ErrRange) {
			return bad("must contain a number as its value.")
		}
		if !json.Valid([]byte(strings.TrimSpace(a.Text))) {
			return bad("must contain a number as its value.")
		}
	case a.Type == typeArray:
		var list []any
		if err := json.Unmarshal([]byte(a.Text), &list); err != nil {
			return bad("must contain an array as its value.")
		}
	}
	return nil
}

// body is the text that a protocol gets.
func (e *entry) body(protocol string) string {
	if e.Bodies == nil {
		return e.Body
	}
	if text, ok := e.Bodies[protocol]; ok {
		return text
	}
	return e.Bodies["default"]
}

// Check says whether a message could be published to a topic.
func (s *Service) Check(topicARN string, m Message) error {
	t, err := s.topic(topicARN)
	if err != nil {
		return err
	}
	_, err = m.entry(t, s.now())
	return err
}
