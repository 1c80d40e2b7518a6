package topic

import (
	"context"
	"crypto/hmac"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"spoor/internal/refusal"
)

// Protocols of subscriptions.
const (
	protocolHTTP      = "http"
	protocolHTTPS     = "https"
	protocolSQS       = "sqs"
	protocolEmail     = "email"
	protocolEmailJSON = "email-json"
	protocolNATS      = "nats" // of Spoor alone
	protocolSNS       = "sns"  // of topics that stand for one of AWS, alone
)

// Names of attributes of subscriptions that can be set.
const (
	attrRaw         = "RawMessageDelivery"
	attrFilter      = "FilterPolicy"
	attrFilterScope = "FilterPolicyScope"
	attrRedrive     = "RedrivePolicy"

	scopeAttributes = "MessageAttributes"
	scopeBody       = "MessageBody"
)

var subjectForm = regexp.MustCompile(`^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$`)

// checkEndpoint checks that an endpoint is one of its protocol, and of its topic.
func checkEndpoint(t *Topic, protocol, endpoint string) error {
	bad := func(why string) error { return invalid("Endpoint Reason: %s", why) }
	if len(endpoint) > 2048 || strings.ContainsFunc(endpoint, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return bad("it is longer than 2048 characters, or has some that are not printable ASCII")
	}
	if t.FIFO() && protocol != protocolSQS && protocol != protocolNATS {
		return invalid("Invalid protocol type: %.20s", protocol)
	}
	switch protocol {
	case protocolHTTP, protocolHTTPS:
		u, err := url.Parse(endpoint)
		switch {
		case err != nil || u.Scheme != protocol || u.Hostname() == "":
			return invalid("Endpoint must match the specified protocol")
		case u.User != nil:
			return bad("it has a user or a password, which would be shown in lists")
		case u.Fragment != "":
			return bad("it has a fragment")
		}
	case protocolSQS:
		m := queueForm.FindStringSubmatch(endpoint)
		if m == nil {
			return invalid("SQS endpoint ARN")
		}
		if strings.HasSuffix(m[4], fifoSuffix) && !t.FIFO() {
			return bad("FIFO SQS Queues can not be subscribed to standard SNS topics")
		}
	case protocolEmail, protocolEmailJSON:
		a, err := mail.ParseAddress(endpoint)
		if err != nil || a.Address != endpoint || len(endpoint) > 320 {
			return invalid("Email address")
		}
	case protocolNATS:
		u, err := url.Parse(endpoint)
		if err != nil || u.Scheme != "nats" && u.Scheme != "tls" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" ||
			!subjectForm.MatchString(strings.TrimPrefix(u.Path, "/")) {
			return bad("it has to be nats://HOST:PORT/SUBJECT, or tls://…, without user")
		}
	default:
		return invalid("Invalid protocol type: %.20s", protocol)
	}
	return nil
}

// checkSubscriptionAttribute checks the value of an attribute; the filter policy is checked by [checkFilter].
func checkSubscriptionAttribute(protocol, name, value string) error {
	if len(value) > maxPolicy {
		return invalid("%s Reason: it is larger than %d bytes", name, maxPolicy)
	}
	switch name {
	case attrRaw:
		if value != "true" && value != "false" {
			return invalid("Attributes Reason: RawMessageDelivery: Invalid value [%.20s]. Must be true or false.", value)
		}
		if value == "true" && (protocol == protocolEmail || protocol == protocolEmailJSON) {
			return invalid("Attributes Reason: Delivery protocol [%s] does not support raw message delivery.", protocol)
		}
	case attrFilter:
	case attrFilterScope:
		if value != scopeAttributes && value != scopeBody {
			return invalid("Attributes Reason: FilterPolicyScope: Invalid value [%.20s]. Please use either MessageBody or MessageAttributes", value)
		}
	case attrRedrive:
		if _, err := deadLetterQueue(value); err != nil {
			return err
		}
	case attrDelivery:
		if protocol != protocolHTTP && protocol != protocolHTTPS {
			return invalid("Attributes Reason: Delivery protocol [%s] does not support a delivery policy.", protocol)
		}
		if _, err := parseDelivery([]byte(value)); err != nil {
			return invalid("DeliveryPolicy: %s", err)
		}
	default:
		return invalid("AttributeName")
	}
	return nil
}

// deadLetterQueue is the ARN in a redrive policy; none where that is empty.
func deadLetterQueue(redrive string) (string, error) {
	if redrive == "" {
		return "", nil
	}
	var p struct {
		Target string `json:"deadLetterTargetArn"`
	}
	if err := strict([]byte(redrive), &p); err != nil {
		return "", invalid("RedrivePolicy: failed to parse JSON. %s", err)
	}
	if !queueForm.MatchString(p.Target) {
		return "", invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn")
	}
	return p.Target, nil
}

// checkFilter checks a filter policy with its scope.
func checkFilter(attributes map[string]string) error {
	if attributes[attrFilter] == "" {
		return nil
	}
	_, err := parseFilter(attributes[attrFilter], attributes[attrFilterScope] == scopeBody)
	return err
}

// set sets an attribute; what is as without it is left out.
func (u *Subscription) set(name, value string) error {
	if value == "" || name == attrRaw && value == "false" || name == attrFilterScope && value == scopeAttributes ||
		(name == attrFilter || name == attrRedrive) && strings.TrimSpace(value) == "{}" {
		delete(u.Attributes, name)
		return nil
	}
	if err := checkSubscriptionAttribute(u.Protocol, name, value); err != nil {
		return err
	}
	if u.Attributes == nil {
		u.Attributes = map[string]string{}
	}
	u.Attributes[name] = value
	return nil
}

// served says whether subscriptions of a protocol can be served with what was configured.
func (s *Service) served(protocol string) error {
	switch {
	case protocol == protocolSQS && s.o.SQS == nil:
		return invalid("Invalid protocol type: sqs: no queues are configured here")
	case (protocol == protocolEmail || protocol == protocolEmailJSON) && s.o.SMTP.Addr == "":
		return invalid("Invalid protocol type: %s: no mail server is configured here", protocol)
	}
	return nil
}

// Subscribe subscribes an endpoint to a topic for an account. A queue of the same account, and NATS, are confirmed at once; all
// other endpoints are asked. One that is subscribed already is given as it is, and asked again where it has not answered.
func (s *Service) Subscribe(ctx context.Context, arn, protocol, endpoint, owner string, attributes map[string]string) (subscriptionARN string, _ *Subscription, _ Undo, _ error) {
	t, err := s.topic(arn)
	if err != nil {
		return "", nil, nil, err
	}
	u := &Subscription{ID: uuid.NewString(), Protocol: protocol, Endpoint: endpoint, Owner: owner, Status: Pending, Since: s.now()}
	if err := checkEndpoint(t, protocol, endpoint); err != nil {
		return "", nil, nil, err
	}
	if err := s.served(protocol); err != nil {
		return "", nil, nil, err
	}
	for k, v := range attributes {
		if err := u.set(k, v); err != nil {
			return "", nil, nil, err
		}
	}
	if err := checkFilter(u.Attributes); err != nil {
		return "", nil, nil, err
	}
	if u.Attributes[attrRedrive] != "" && s.o.SQS == nil {
		return "", nil, nil, invalid("RedrivePolicy: no queues are configured here")
	}
	if protocol == protocolNATS || protocol == protocolSQS && queueForm.FindStringSubmatch(endpoint)[3] == t.Account && owner == t.Account {
		from, err := s.end(t)
		if err != nil {
			return "", nil, nil, err
		}
		u.confirm(from, u.Since)
		u.Authenticated = true
	}
	now := s.now()
	var made atomic.Pointer[Subscription] // what the change did first; it may be made again
	undo, err := s.change(on(t.ID, func(t *Topic) error {
		t.expire(now)
		n := 0
		for i, had := range t.Subscriptions {
			if had.Status != Left {
				n++
			}
			if had.Protocol != protocol || had.Endpoint != endpoint || had.Status == Left {
				continue
			}
			if len(attributes) > 0 && !maps.Equal(u.Attributes, had.Attributes) {
				return invalid("Attributes Reason: Subscription already exists with different attributes")
			}
			if had.Status == Pending {
				had = had.clone()
				had.Asked, had.Since = false, now
				had.Round++
				t.Subscriptions[i] = had
			}
			made.CompareAndSwap(nil, had)
			return nil
		}
		if n >= MaxSubscriptions {
			return refusal.Errorf(CodeSubscriptionLimit, "The topic has %d subscriptions already, and may have no more.", n)
		}
		made.CompareAndSwap(nil, u)
		t.Subscriptions = append(t.Subscriptions, u)
		return nil
	}))
	if err != nil {
		return "", nil, nil, err
	}
	return arn + ":" + made.Load().ID, made.Load(), undo, ctx.Err()
}

// end is the number that the next message of a topic gets.
func (s *Service) end(t *Topic) (uint64, error) {
	b := s.box(t.ID)
	if b == nil {
		return 0, ErrClosed
	}
	return b.log.end(), nil
}

// confirm makes a subscription get what is published from a number on.
func (u *Subscription) confirm(from uint64, now time.Time) {
	u.Status, u.Since, u.From = Confirmed, now, from
	u.Round++
}

// proof is what shows that a link or a token came from here.
func (s *Service) proof(purpose string, t *Topic, u *Subscription) string {
	h := hmac.New(newHash, s.keys.secret)
	fmt.Fprintf(h, "%s\x00%s\x00%s", purpose, t.ID, u.ID)
	return fmt.Sprintf("%x", h.Sum(nil))
}

// token is what confirms a subscription.
func (s *Service) token(t *Topic, u *Subscription) string {
	return strings.ReplaceAll(u.ID, "-", "") + s.proof("confirm", t, u)
}

// Confirm confirms the subscription that a token belongs to. With signed it then goes only by signed calls; authenticated says
// that the caller showed a key. Confirming again is no error.
func (s *Service) Confirm(ctx context.Context, arn, token string, authenticated, signed bool) (subscriptionARN string, _ *Subscription, _ Undo, _ error) {
	t, err := s.topic(arn)
	if err != nil {
		return "", nil, nil, err
	}
	_, u := t.subscription(s.tokenOf(t, token))
	now := s.now()
	switch {
	case u == nil || u.Status != Confirmed && now.Sub(u.Since) >= PendingFor:
		return "", nil, nil, invalid("Token")
	case u.Status == Confirmed:
		return arn + ":" + u.ID, u, func() error { return nil }, ctx.Err()
	}
	from, err := s.end(t)
	if err != nil {
		return "", nil, nil, err
	}
	undo, err := s.change(on(t.ID, func(t *Topic) error {
		i, u := t.subscription(u.ID)
		if u == nil {
			return invalid("Token")
		}
		if u.Status == Confirmed {
			return nil
		}
		if u.Status == Left {
			t.Deleted = max(t.Deleted-1, 0)
		}
		u = u.clone()
		u.Authenticated, u.Signed = authenticated, signed && authenticated
		u.confirm(from, now)
		t.Subscriptions[i] = u
		return nil
	}))
	if err != nil {
		return "", nil, nil, err
	}
	return arn + ":" + u.ID, u, undo, nil
}

// tokenOf is the id of the subscription of a token; empty when it is none.
func (s *Service) tokenOf(t *Topic, token string) string {
	for _, u := range t.Subscriptions {
		if len(token) > 32 && strings.ReplaceAll(u.ID, "-", "") == token[:32] && hmac.Equal([]byte(s.token(t, u)), []byte(token)) {
			return u.ID
		}
	}
	return ""
}

// subscribed finds a subscription with its topic.
func (s *Service) subscribed(arn string) (*Topic, *Subscription, error) {
	if err := checkARN(arn, "SubscriptionArn", true); err != nil {
		if arn == "PendingConfirmation" || arn == "pending confirmation" {
			return nil, nil, invalid("SubscriptionArn Reason: An ARN must have at least 6 elements, not 1")
		}
		return nil, nil, err
	}
	topicARN, id := topicOf(arn)
	t := s.byARN(topicARN)
	if t == nil || t.External != "" {
		return nil, nil, noSubscription()
	}
	if _, u := t.subscription(id); u != nil && u.Status != Left && (u.Status != Pending || s.now().Sub(u.Since) < PendingFor) {
		return t, u, nil
	}
	return nil, nil, noSubscription()
}

// Subscription gives a subscription.
func (s *Service) Subscription(arn string) (*Topic, *Subscription, error) { return s.subscribed(arn) }

// Subscriptions gives the subscriptions of a topic, in the order in which they were made.
func (s *Service) Subscriptions(arn string) ([]*Subscription, error) {
	t, err := s.topic(arn)
	if err != nil {
		return nil, err
	}
	return s.live(t), nil
}

func (s *Service) live(t *Topic) []*Subscription {
	now := s.now()
	return slices.DeleteFunc(slices.Clone(t.Subscriptions), func(u *Subscription) bool {
		return u.Status == Left || u.Status == Pending && now.Sub(u.Since) >= PendingFor
	})
}

// Owned gives the subscriptions that an account has in a Region, by their topics' ARNs.
func (s *Service) Owned(w Where) map[string][]*Subscription {
	m := map[string][]*Subscription{}
	for _, t := range s.state.Get().Topics {
		if t.Region != w.Region || t.External != "" {
			continue
		}
		for _, u := range s.live(t) {
			if u.Owner == w.Account {
				m[s.arn(t)] = append(m[s.arn(t)], u)
			}
		}
	}
	return m
}

// changeSubscription changes a subscription.
func (s *Service) changeSubscription(arn string, fn func(t *Topic, i int, u *Subscription) error) (Undo, error) {
	if _, _, err := s.subscribed(arn); err != nil {
		return nil, err
	}
	topicARN, id := topicOf(arn)
	return s.changeTopic(topicARN, func(t *Topic) error {
		i, u := t.subscription(id)
		if u == nil || u.Status == Left {
			return noSubscription()
		}
		u = u.clone()
		t.Subscriptions[i] = u
		return fn(t, i, u)
	})
}

// Unsubscribe ends a subscription. An endpoint of http or https is told, and can have it back within [PendingFor]. One that is
// not there is no error.
func (s *Service) Unsubscribe(arn string) (Undo, error) {
	now := s.now()
	undo, err := s.changeSubscription(arn, func(t *Topic, i int, u *Subscription) error {
		if u.Status == Confirmed {
			t.Deleted++
		}
		if u.Status == Confirmed && (u.Protocol == protocolHTTP || u.Protocol == protocolHTTPS) {
			u.Status, u.Since, u.Asked = Left, now, false
			u.Round++
			return nil
		}
		t.Subscriptions = slices.Delete(t.Subscriptions, i, i+1)
		return nil
	})
	if errors.Is(err, ErrNotFound) {
		return func() error { return nil }, nil
	}
	return undo, err
}

// UnsubscribeProof reports whether a proof is that of the subscription's link, and whether the link counts.
func (s *Service) UnsubscribeProof(arn, proof string) bool {
	t, u, err := s.subscribed(arn)
	return err == nil && !u.Signed && hmac.Equal([]byte(s.proof("unsubscribe", t, u)), []byte(proof))
}

// unsubscribeURL is the link by which whoever gets a message ends the subscription.
func (s *Service) unsubscribeURL(t *Topic, u *Subscription) string {
	return s.link(url.Values{"Action": {"Unsubscribe"}, "SubscriptionArn": {s.arn(t) + ":" + u.ID}, "Proof": {s.proof("unsubscribe", t, u)}})
}

func (s *Service) subscribeURL(t *Topic, u *Subscription) string {
	return s.link(url.Values{"Action": {"ConfirmSubscription"}, "TopicArn": {s.arn(t)}, "Token": {s.token(t, u)}})
}

// SubscriptionAttributes gives the attributes of a subscription, as GetSubscriptionAttributes does.
func (s *Service) SubscriptionAttributes(arn string) (map[string]string, error) {
	t, u, err := s.subscribed(arn)
	if err != nil {
		return nil, err
	}
	a := maps.Clone(u.Attributes)
	if a == nil {
		a = map[string]string{}
	}
	a["SubscriptionArn"], a["TopicArn"], a["Owner"], a["Protocol"], a["Endpoint"] = arn, s.arn(t), u.Owner, u.Protocol, u.Endpoint
	a["PendingConfirmation"] = strconv.FormatBool(u.Status == Pending)
	a["ConfirmationWasAuthenticated"] = strconv.FormatBool(u.Authenticated)
	a[attrRaw] = strconv.FormatBool(u.Attributes[attrRaw] == "true")
	a["SubscriptionPrincipal"] = "arn:" + s.o.Partition + ":iam::" + u.Owner + ":root"
	if u.Attributes[attrFilter] != "" && u.Attributes[attrFilterScope] == "" {
		a[attrFilterScope] = scopeAttributes
	}
	if u.Protocol == protocolHTTP || u.Protocol == protocolHTTPS {
		d, err := deliveryOf(t, u)
		if err != nil {
			return nil, err
		}
		text, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("write a delivery policy: %w", err)
		}
		a["EffectiveDeliveryPolicy"] = string(text)
	}
	return a, nil
}

// SetSubscriptionAttribute sets an attribute of a subscription; an empty value makes it as without it.
func (s *Service) SetSubscriptionAttribute(arn, name, value string) (Undo, error) {
	return s.changeSubscription(arn, func(_ *Topic, _ int, u *Subscription) error {
		switch name {
		case attrRaw, attrFilter, attrFilterScope, attrRedrive, attrDelivery:
		default:
			return invalid("AttributeName")
		}
		if name == attrRedrive && value != "" && s.o.SQS == nil {
			return invalid("RedrivePolicy: no queues are configured here")
		}
		if err := u.set(name, value); err != nil {
			return err
		}
		return checkFilter(u.Attributes)
	})
}

// IsMailToken reports whether a token is one that was sent in a mail to a person.
func (s *Service) IsMailToken(topicARN, token string) bool {
	t, err := s.topic(topicARN)
	if err != nil {
		return false
	}
	_, u := t.subscription(s.tokenOf(t, token))
	return u != nil && u.Protocol == protocolEmail
}

// Token is what confirms a subscription; empty where there is none.
func (s *Service) Token(subscriptionARN string) string {
	t, u, err := s.subscribed(subscriptionARN)
	if err != nil {
		return ""
	}
	return s.token(t, u)
}
