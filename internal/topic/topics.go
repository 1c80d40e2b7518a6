package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"

	"spoor/internal/policy"
	"spoor/internal/refusal"
	"spoor/internal/tag"
)

// Names of attributes of topics that can be set.
const (
	attrPolicy    = "Policy"
	attrDisplay   = "DisplayName"
	attrDelivery  = "DeliveryPolicy"
	attrSignature = "SignatureVersion"
	attrFIFO      = "FifoTopic"
	attrContent   = "ContentBasedDeduplication"
	attrKey       = "KmsMasterKeyId"
	attrTracing   = "TracingConfig"

	maxPolicy  = 30 << 10
	maxDisplay = 100
)

// checkTopicAttribute checks the value of an attribute, in SNS's words.
func checkTopicAttribute(t *Topic, name, value string) error {
	bad := func(why string) error { return invalid("Attributes Reason: %s: %s", name, why) }
	if !utf8.ValidString(value) {
		return bad("it is not UTF-8")
	}
	switch name {
	case attrPolicy:
		if len(value) > maxPolicy {
			return bad(fmt.Sprintf("it is larger than %d bytes", maxPolicy))
		}
		if _, err := policy.Parse("sns", []byte(value)); err != nil {
			return invalid("Policy Error: %s", err)
		}
	case attrDisplay:
		if utf8.RuneCountInString(value) > maxDisplay || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return bad(fmt.Sprintf("it has more than %d characters, or a control character", maxDisplay))
		}
	case attrDelivery:
		if _, err := parseTopicDelivery(value); err != nil {
			return invalid("DeliveryPolicy: %s", err)
		}
	case attrSignature:
		if value != "1" && value != "2" {
			return bad("it is 1 or 2")
		}
	case attrFIFO:
		if value != strconv.FormatBool(t.FIFO()) {
			return bad("the name of a FIFO topic ends with " + fifoSuffix + ", and no other")
		}
	case attrContent:
		if value != "true" && value != "false" || value == "true" && !t.FIFO() {
			return bad("it is true or false, and true for FIFO topics alone")
		}
	case attrKey:
		if value != "" {
			return bad("messages are not encrypted with keys here, so that there is none to be named")
		}
	case attrTracing:
		if value != "PassThrough" {
			return bad("nothing is traced here; PassThrough is served")
		}
	default:
		return invalid("AttributeName")
	}
	return nil
}

// tagsOf checks tags, in the words of SNS, and sorts them.
func tagsOf(tags []tag.Tag) ([]tag.Tag, error) {
	tags = tag.Sorted(tags)
	if len(tags) > tag.Max {
		return nil, refusal.Errorf(CodeTagLimit, "Could not complete request: tag quota of per resource exceeded")
	}
	if err := tag.Check(tags); err != nil {
		return nil, invalid("Tags Reason: %s", refusal.Sentence(err.Error()))
	}
	return tags, nil
}

// Create makes a topic, or gives the one that is there with the same attributes and tags.
func (s *Service) Create(w Where, name string, attributes map[string]string, tags []tag.Tag) (arn string, _ Undo, err error) {
	if err := checkName(name); err != nil {
		return "", nil, err
	}
	t := &Topic{ID: uuid.NewString(), Account: w.Account, Region: w.Region, Name: name, Created: s.now(), Attributes: map[string]string{}}
	if t.FIFO() != (attributes[attrFIFO] == "true") {
		if t.FIFO() {
			return "", nil, invalid("Topic Name") // as SNS has it for a name that is not one without the attribute
		}
		return "", nil, invalid("Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long.")
	}
	for k, v := range attributes {
		if err := checkTopicAttribute(t, k, v); err != nil {
			return "", nil, err
		}
		t.set(k, v)
	}
	if t.Tags, err = tagsOf(tags); err != nil {
		return "", nil, err
	}
	arn = s.arn(t)
	if s.external(arn) {
		return "", nil, invalid("Topic Name Reason: %s is a topic of AWS by the configuration", arn)
	}
	if had := s.byARN(arn); had != nil {
		return arn, func() error { return nil }, t.alike(had, attributes)
	}
	undo, err := s.make(t, func(f *file) error {
		n := 0
		for _, o := range f.Topics {
			if o.Account == t.Account && o.Region == t.Region && o.External == "" {
				if n++; o.Name == t.Name {
					return errExists
				}
			}
		}
		if n >= MaxTopics {
			return refusal.Errorf(CodeTopicLimit, "The account %s has %d topics in %s already, and may have no more.", w.Account, n, w.Region)
		}
		return nil
	})
	if errors.Is(err, errExists) { // somebody was faster
		if had := s.byARN(arn); had != nil {
			return arn, func() error { return nil }, t.alike(had, attributes)
		}
	}
	return arn, undo, err
}

var errExists = errors.New("the topic is there already")

// alike refuses a topic that is to be made again as another one.
func (t *Topic) alike(had *Topic, attributes map[string]string) error {
	for k := range attributes {
		if t.Attributes[k] != had.Attributes[k] {
			return invalid("Attributes Reason: Topic already exists with different attributes")
		}
	}
	if len(t.Tags) > 0 && !slices.Equal(t.Tags, had.Tags) {
		return invalid("Tags Reason: Topic already exists with different tags")
	}
	return nil
}

// set sets an attribute; what is as without it is left out.
func (t *Topic) set(name, value string) {
	if value == "" || name == attrContent && value == "false" || name == attrFIFO && value == "false" {
		delete(t.Attributes, name)
		return
	}
	if t.Attributes == nil {
		t.Attributes = map[string]string{}
	}
	t.Attributes[name] = value
}

// Delete deletes a topic with its subscriptions, and what was not delivered yet. One that is not there is no error, as in SNS.
func (s *Service) Delete(arn string) (Undo, error) {
	t, err := s.topic(arn)
	if errors.Is(err, ErrNotFound) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	return s.change(func(f *file) error {
		f.Topics = slices.DeleteFunc(f.Topics, func(o *Topic) bool { return o.ID == t.ID })
		return nil
	})
}

// Topics gives the ARNs of the topics of an account in a Region, sorted.
func (s *Service) Topics(w Where) []string {
	var arns []string
	for _, t := range s.state.Get().Topics {
		if t.Account == w.Account && t.Region == w.Region && t.External == "" {
			arns = append(arns, s.arn(t))
		}
	}
	slices.Sort(arns)
	return arns
}

// Topic gives a topic.
func (s *Service) Topic(arn string) (*Topic, error) { return s.topic(arn) }

// Attributes gives the attributes of a topic, as GetTopicAttributes does.
func (s *Service) Attributes(arn string) (map[string]string, error) {
	t, err := s.topic(arn)
	if err != nil {
		return nil, err
	}
	a := maps.Clone(t.Attributes)
	if a == nil {
		a = map[string]string{}
	}
	counts := map[Status]int{}
	now := s.now()
	for _, u := range t.Subscriptions {
		if u.Status != Pending || now.Sub(u.Since) < PendingFor {
			counts[u.Status]++
		}
	}
	a["TopicArn"], a["Owner"], a[attrDisplay] = arn, t.Account, t.Attributes[attrDisplay]
	a["SubscriptionsConfirmed"], a["SubscriptionsPending"] = strconv.Itoa(counts[Confirmed]), strconv.Itoa(counts[Pending])
	a["SubscriptionsDeleted"] = strconv.Itoa(t.Deleted)
	a[attrPolicy] = string(s.policy(t))
	d, err := parseTopicDelivery(t.Attributes[attrDelivery])
	if err != nil {
		return nil, fmt.Errorf("the delivery policy of %s: %w", arn, err)
	}
	if a["EffectiveDeliveryPolicy"], err = d.effective(); err != nil {
		return nil, err
	}
	if t.FIFO() {
		a[attrFIFO], a[attrContent] = "true", strconv.FormatBool(t.Attributes[attrContent] == "true")
	}
	return a, nil
}

// SetAttribute sets an attribute of a topic; an empty value makes it as without it.
func (s *Service) SetAttribute(arn, name, value string) (Undo, error) {
	return s.changeTopic(arn, func(t *Topic) error {
		switch name {
		case attrFIFO:
			return invalid("AttributeName")
		case attrPolicy, attrDelivery:
			if value == "" {
				t.set(name, value)
				return nil
			}
		}
		if err := checkTopicAttribute(t, name, value); err != nil {
			return err
		}
		t.set(name, value)
		return nil
	})
}

// Tags gives the tags of a topic.
func (s *Service) Tags(arn string) ([]tag.Tag, error) {
	t, err := s.tagged(arn)
	if err != nil {
		return nil, err
	}
	return t.Tags, nil
}

// tagged finds a topic in the words that operations of tags have for one that is not there.
func (s *Service) tagged(arn string) (*Topic, error) {
	t, err := s.topic(arn)
	if errors.Is(err, ErrNotFound) {
		return nil, notFound{refusal.Errorf(CodeResourceNotFound, "Resource does not exist")}
	}
	if err != nil {
		return nil, invalid("ResourceArn")
	}
	return t, nil
}

// SetTags gives a topic tags, and takes those with other keys away.
func (s *Service) SetTags(arn string, set []tag.Tag, remove []string) (Undo, error) {
	if _, err := s.tagged(arn); err != nil {
		return nil, err
	}
	set, err := tagsOf(set)
	if err != nil {
		return nil, err
	}
	return s.changeTopic(arn, func(t *Topic) (err error) {
		t.Tags, err = tagsOf(tag.Without(tag.Add(t.Tags, set), remove))
		return err
	})
}

// policy is the policy of a topic, which is SNS's default where none was set.
func (s *Service) policy(t *Topic) []byte {
	if p := t.Attributes[attrPolicy]; p != "" {
		return []byte(p)
	}
	return fmt.Appendf(nil, `{"Version":"2008-10-17","Id":"__default_policy_ID","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},`+
		`"Action":["SNS:GetTopicAttributes","SNS:SetTopicAttributes","SNS:AddPermission","SNS:RemovePermission","SNS:DeleteTopic","SNS:Subscribe",`+
		`"SNS:ListSubscriptionsByTopic","SNS:Publish"],"Resource":"%s","Condition":{"StringEquals":{"AWS:SourceOwner":"%s"}}}]}`, s.arn(t), t.Account)
}

// Policy gives the policy of a topic, and the account that owns it.
func (s *Service) Policy(arn string) (d *policy.Document, owner string, err error) {
	t, err := s.topic(arn)
	if err != nil {
		return nil, "", err
	}
	if d, err = policy.Parse("sns", s.policy(t)); err != nil {
		return nil, "", fmt.Errorf("the policy of %s: %w", arn, err)
	}
	return d, t.Account, nil
}

// Allowed asks whether the topic is there, and whether its policy lets a service do something to it, such as SNS:Publish:
// [ErrNotFound], [ErrDenied]. Of a topic of AWS nobody knows here.
func (s *Service) Allowed(_ context.Context, topicARN, action string, by policy.Principal, conditions map[string][]string) error {
	if s.external(topicARN) {
		return nil
	}
	d, _, err := s.Policy(topicARN)
	if err != nil {
		return err
	}
	effect, why := d.Evaluate(policy.Request{Principal: by, Action: action, Resource: topicARN, Conditions: conditions})
	switch {
	case effect == policy.Allow:
		return nil
	case effect == policy.Deny:
		return fmt.Errorf("%w: %s of %s is denied by the statement %s", ErrDenied, action, topicARN, why)
	}
	return fmt.Errorf("%w: %s of %s is in no statement", ErrDenied, action, topicARN)
}

func (s *Service) external(arn string) bool {
	return s.o.External != nil && s.o.External(arn) && checkARN(arn, "TopicArn", false) == nil
}

// permissions are the actions that AddPermission takes.
var permissions = []string{
	"AddPermission", "DeleteTopic", "GetTopicAttributes", "ListSubscriptionsByTopic", "ListTagsForResource", "Publish", "RemovePermission",
	"SetTopicAttributes", "Subscribe",
}

// statements are the statements of a policy, and all members of it.
func statements(text []byte) (all map[string]json.RawMessage, list []json.RawMessage, err error) {
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, nil, err
	}
	if s := all["Statement"]; len(s) > 0 && s[0] == '{' {
		return all, []json.RawMessage{s}, nil
	}
	return all, list, json.Unmarshal(all["Statement"], &list)
}

func sid(statement json.RawMessage) string {
	var s struct{ Sid string }
	_ = json.Unmarshal(statement, &s) // one of a policy that was parsed
	return s.Sid
}

// AddPermission adds a statement to the policy of a topic that lets accounts do something.
func (s *Service) AddPermission(arn, label string, accounts, actions []string) (Undo, error) {
	if label == "" || len(label) > 80 || strings.Trim(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return nil, invalid("Label")
	}
	type principal struct{ AWS []string }
	st := struct {
		Sid       string
		Effect    string
		Principal principal
		Action    []string
		Resource  string
	}{Sid: label, Effect: "Allow", Resource: arn}
	for _, a := range accounts {
		if !accountForm.MatchString(a) {
			return nil, invalid("AWSAccountId")
		}
		st.Principal.AWS = append(st.Principal.AWS, "arn:"+s.o.Partition+":iam::"+a+":root")
	}
	for _, a := range actions {
		if !slices.Contains(permissions, a) {
			return nil, invalid("Policy statement action out of service scope!")
		}
		st.Action = append(st.Action, "SNS:"+a)
	}
	if len(accounts) == 0 || len(actions) == 0 {
		return nil, invalid("a permission names accounts and actions")
	}
	text, err := json.Marshal(st)
	if err != nil {
		return nil, fmt.Errorf("write a statement: %w", err)
	}
	return s.changePolicy(arn, func(list []json.RawMessage) ([]json.RawMessage, error) {
		if slices.ContainsFunc(list, func(st json.RawMessage) bool { return sid(st) == label }) {
			return nil, invalid("Statement already exists")
		}
		return append(list, text), nil
	})
}

// RemovePermission removes the statement of a label from the policy of a topic.
func (s *Service) RemovePermission(arn, label string) (Undo, error) {
	return s.changePolicy(arn, func(list []json.RawMessage) ([]json.RawMessage, error) {
		left := slices.DeleteFunc(list, func(st json.RawMessage) bool { return sid(st) == label })
		if len(left) == len(list) {
			return nil, invalid("Label Reason: there is no statement %.80s", label)
		}
		return left, nil
	})
}

func (s *Service) changePolicy(arn string, fn func([]json.RawMessage) ([]json.RawMessage, error)) (Undo, error) {
	return s.changeTopic(arn, func(t *Topic) error {
		all, list, err := statements(s.policy(t))
		if err != nil {
			return fmt.Errorf("read the policy of %s: %w", arn, err)
		}
		n := len(list)
		if list, err = fn(list); err != nil {
			return err
		}
		if len(list) == 0 && n > 0 { // a policy has a statement; without one, the default one counts
			t.set(attrPolicy, "")
			return nil
		}
		if all["Statement"], err = json.Marshal(list); err != nil {
			return fmt.Errorf("write the policy of %s: %w", arn, err)
		}
		text, err := json.Marshal(all)
		if err != nil {
			return fmt.Errorf("write the policy of %s: %w", arn, err)
		}
		if err := checkTopicAttribute(t, attrPolicy, string(text)); err != nil {
			return err
		}
		t.set(attrPolicy, string(text))
		return nil
	})
}
