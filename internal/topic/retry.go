package topic

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// Retries say when an attempt that failed is repeated, in the four phases of SNS's delivery policies: at once, before backing
// off, backing off from the least to the greatest delay, and after it. Delays are in seconds.
type Retries struct {
	MinDelay  int    `json:"minDelayTarget"`
	MaxDelay  int    `json:"maxDelayTarget"`
	Retries   int    `json:"numRetries"`         // of all phases
	MaxDelays int    `json:"numMaxDelayRetries"` // the last ones, after the greatest delay each
	NoDelays  int    `json:"numNoDelayRetries"`  // the first ones, at once
	MinDelays int    `json:"numMinDelayRetries"` // those behind them, after the least delay each
	Function  string `json:"backoffFunction"`    // arithmetic, exponential, geometric or linear
}

// How deliveries are repeated without a policy, as SNS's documentation has it. Of http and https one can say it oneself.
var (
	httpRetries  = Retries{MinDelay: 20, MaxDelay: 20, Retries: 3, Function: "linear"}
	queueRetries = Retries{MinDelay: 1, MaxDelay: 20, Retries: 100_015, NoDelays: 3, MinDelays: 2, MaxDelays: 100_000, Function: "exponential"}
	mailRetries  = Retries{MinDelay: 10, MaxDelay: 600, Retries: 50, MinDelays: 2, MaxDelays: 38, Function: "exponential"}
)

// delay is how long to wait before the n-th retry, from 1; false when there is none.
func (r Retries) delay(n int) (time.Duration, bool) {
	steps := r.Retries - r.NoDelays - r.MinDelays - r.MaxDelays
	low, high := float64(r.MinDelay), float64(r.MaxDelay)
	seconds := high
	switch k := n - r.NoDelays - r.MinDelays; {
	case n > r.Retries:
		return 0, false
	case n <= r.NoDelays:
		return 0, true
	case k <= 0:
		seconds = low
	case k < steps: // the last step is the greatest delay itself
		x, y := float64(k), float64(steps)
		switch r.Function {
		case "arithmetic": // each step is longer by the same
			seconds = low + (high-low)*x*(x+1)/(y*(y+1))
		case "exponential":
			seconds = low * math.Pow(high/low, x/y)
		case "geometric": // as exponential, but late
			seconds = low + (high-low)*(math.Pow(2, x)-1)/(math.Pow(2, y)-1)
		default:
			seconds = low + (high-low)*x/y
		}
	}
	return time.Duration(seconds * float64(time.Second)), true
}

func (r Retries) check() error {
	switch {
	case r.MinDelay < 1 || r.MinDelay > r.MaxDelay:
		return errors.New("healthyRetryPolicy.minDelayTarget must be at least 1, and not beyond maxDelayTarget")
	case r.MaxDelay > 3600:
		return errors.New("healthyRetryPolicy.maxDelayTarget must be at most 3600")
	case r.Retries < 0 || r.NoDelays < 0 || r.MinDelays < 0 || r.MaxDelays < 0:
		return errors.New("healthyRetryPolicy: a number of retries is negative")
	case r.NoDelays+r.MinDelays+r.MaxDelays > r.Retries:
		return errors.New("healthyRetryPolicy.numRetries must be at least the sum of numNoDelayRetries, numMinDelayRetries and numMaxDelayRetries")
	case r.Function != "arithmetic" && r.Function != "exponential" && r.Function != "geometric" && r.Function != "linear":
		return errors.New("healthyRetryPolicy.backoffFunction must be arithmetic, exponential, geometric or linear")
	}
	return nil
}

// UnmarshalJSON reads a retry policy, whose members have SNS's defaults.
func (r *Retries) UnmarshalJSON(b []byte) error {
	type plain Retries
	p := plain(httpRetries)
	p.MinDelay = 0
	if err := strict(b, &p); err != nil {
		return err
	}
	if p.MinDelay == 0 {
		p.MinDelay = min(httpRetries.MinDelay, p.MaxDelay)
	}
	if p.Function == "" {
		p.Function = httpRetries.Function
	}
	*r = Retries(p)
	if r.Retries > 100 {
		return errors.New("healthyRetryPolicy.numRetries must be at most 100")
	}
	return r.check()
}

// throttle bounds how often an endpoint is called.
type throttle struct {
	PerSecond int `json:"maxReceivesPerSecond"`
}

// request says how an endpoint is called.
type request struct {
	ContentType string `json:"headerContentType"`
}

// delivery is the delivery policy of a subscription.
type delivery struct {
	Retries  *Retries  `json:"healthyRetryPolicy,omitempty"`
	Sick     *Retries  `json:"sicklyRetryPolicy,omitempty"` // is there in SNS and does nothing
	Throttle *throttle `json:"throttlePolicy,omitempty"`
	Request  *request  `json:"requestPolicy,omitempty"`
	Promised bool      `json:"guaranteed"`
}

func (d *delivery) check() error {
	if d.Throttle != nil && d.Throttle.PerSecond < 1 {
		return errors.New("throttlePolicy.maxReceivesPerSecond must be at least 1")
	}
	if d.Request == nil || d.Request.ContentType == "" {
		return nil
	}
	if c := d.Request.ContentType; len(c) > 100 || strings.ContainsFunc(c, func(r rune) bool { return r < ' ' || r >= 0x7f }) || !strings.Contains(c, "/") {
		return errors.New("requestPolicy.headerContentType is no content type")
	}
	return nil
}

func parseDelivery(text []byte) (d delivery, err error) {
	if err := strict(text, &d); err != nil {
		return d, err
	}
	return d, d.check()
}

// topicDelivery is the delivery policy of a topic.
type topicDelivery struct {
	HTTP struct {
		Retries  *Retries  `json:"defaultHealthyRetryPolicy,omitempty"`
		Sick     *Retries  `json:"defaultSicklyRetryPolicy,omitempty"`
		Throttle *throttle `json:"defaultThrottlePolicy,omitempty"`
		Request  *request  `json:"defaultRequestPolicy,omitempty"`
		Fixed    bool      `json:"disableSubscriptionOverrides"`
	} `json:"http"`
}

func parseTopicDelivery(text string) (d topicDelivery, err error) {
	if text == "" {
		return d, nil
	}
	if err := strict([]byte(text), &d); err != nil {
		return d, err
	}
	return d, (&delivery{Throttle: d.HTTP.Throttle, Request: d.HTTP.Request}).check()
}

// effective is the policy with what counts without one.
func (d topicDelivery) effective() (string, error) {
	if d.HTTP.Retries == nil {
		r := httpRetries
		d.HTTP.Retries = &r
	}
	if d.HTTP.Request == nil {
		d.HTTP.Request = &request{ContentType: plainText}
	}
	b, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("write a delivery policy: %w", err)
	}
	return string(b), nil
}

// deliveryOf is the delivery policy that counts for a subscription of http or https.
func deliveryOf(t *Topic, u *Subscription) (delivery, error) {
	of, err := parseTopicDelivery(t.Attributes[attrDelivery])
	if err != nil {
		return delivery{}, fmt.Errorf("the delivery policy of the topic %s: %w", t.Name, err)
	}
	d := delivery{Retries: of.HTTP.Retries, Throttle: of.HTTP.Throttle, Request: of.HTTP.Request}
	if own := u.Attributes[attrDelivery]; own != "" && !of.HTTP.Fixed {
		o, err := parseDelivery([]byte(own))
		if err != nil {
			return delivery{}, fmt.Errorf("the delivery policy of the subscription %s: %w", u.ID, err)
		}
		if o.Retries != nil {
			d.Retries = o.Retries
		}
		if o.Throttle != nil {
			d.Throttle = o.Throttle
		}
		if o.Request != nil {
			d.Request = o.Request
		}
	}
	if d.Retries == nil {
		r := httpRetries
		d.Retries = &r
	}
	return d, nil
}

// retries are those that count for a subscription; dead says that it is about its queue of dead letters.
func (s *Service) retries(t *Topic, u *Subscription, dead bool) Retries {
	protocol := u.Protocol
	if dead {
		protocol = protocolSQS
	}
	own, replaced := s.o.Retries[protocol]
	switch protocol {
	case protocolHTTP, protocolHTTPS:
		d, err := deliveryOf(t, u) // which was checked when it was set
		if err == nil && (!replaced || *d.Retries != httpRetries) {
			return *d.Retries
		}
		if !replaced {
			return httpRetries
		}
	case protocolEmail, protocolEmailJSON:
		if !replaced {
			return mailRetries
		}
	default:
		if !replaced {
			return queueRetries
		}
	}
	return own
}

// strict decodes one JSON value without members that are not known.
func strict(b []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}
