// Package recorder writes the calls that are made to Spoor itself as CloudTrail events into the journal, so that they are
// searched, matched and kept as all others are.
//
// What is recorded is durable when [Recorder.Record] returns; a front answers afterwards. A change is recorded before it takes
// effect, or, where its result is part of the event, before its result is told and with a way back.
//
// Refusals can be provoked by anybody, so that their number is bounded: [Recorder.Refused] records the first of a kind at once,
// and counts further ones of a minute into one event. Nothing is dropped: what is not told apart is counted together.
//
// Secrets do not reach the journal: members whose names say that they hold one, and whatever has the form of a token of Spoor
// or of credentials in a header, are replaced before the event is encoded.
//
// The form is that of the record contents pages of the CloudTrail user guide; docs/api/README.md says which events there are.
// A Recorder may be used by any number of goroutines.
package recorder

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"spoor/internal/journal"
)

// Service is the eventSource of calls to Spoor's own API.
const Service = "spoor.amazonaws.com"

// DefaultSource is the origin of the records in the journal, unless Options say another.
const DefaultSource = "spoor"

// Hidden stands in an event in place of a secret.
const Hidden = "HIDDEN_DUE_TO_SECURITY_REASONS"

// Bounds of refusals. Each group of alike refusals makes at most two events in a window.
const (
	window    = time.Minute
	maxGroups = 512 // groups that are told apart; refusals of further ones count in one
)

// Appender is where events go. [journal.Journal] is one. What it accepted is durable.
type Appender interface {
	Append(ctx context.Context, records []journal.Record) (uint64, error)
}

// Options of New.
type Options struct {
	Journal Appender
	Account string           // recipientAccountId, 12 digits
	Region  string           // awsRegion
	Source  string           // origin of the records in the journal; default [DefaultSource]
	Log     *slog.Logger     // default discards
	Now     func() time.Time // default [time.Now]
}

// Identity is who called, as userIdentity has it.
type Identity struct {
	Type         string `json:"type"`
	PrincipalID  string `json:"principalId"`
	ARN          string `json:"arn,omitempty"`
	AccountID    string `json:"accountId,omitempty"`
	AccessKeyID  string `json:"accessKeyId,omitempty"`
	UserName     string `json:"userName,omitempty"`
	CredentialID string `json:"credentialId,omitempty"` // id of a bearer token

	SessionContext *SessionContext `json:"sessionContext,omitempty"` // of temporary credentials
}

// SessionContext says where temporary credentials come from.
type SessionContext struct {
	SessionIssuer  *SessionIssuer    `json:"sessionIssuer,omitempty"`
	Attributes     SessionAttributes `json:"attributes"`
	SourceIdentity string            `json:"sourceIdentity,omitempty"`
}

// SessionIssuer is what a session was made from.
type SessionIssuer struct {
	Type        string `json:"type"`
	PrincipalID string `json:"principalId"`
	ARN         string `json:"arn"`
	AccountID   string `json:"accountId"`
	UserName    string `json:"userName,omitempty"`
}

// SessionAttributes are those of a session.
type SessionAttributes struct {
	CreationDate     string `json:"creationDate"`     // RFC 3339, UTC
	MFAAuthenticated string `json:"mfaAuthenticated"` // "true" or "false"
}

// Anonymous is the identity of a caller who did not prove who it is.
func Anonymous() Identity { return Identity{Type: "AWSAccount", AccountID: "ANONYMOUS_PRINCIPAL"} }

// Resource is something that a call is about.
type Resource struct {
	ARN       string `json:"ARN,omitempty"`
	ARNPrefix string `json:"ARNPrefix,omitempty"` // in place of ARN: all whose ARNs begin so
	AccountID string `json:"accountId,omitempty"`
	Type      string `json:"type,omitempty"` // AWS::SERVICE::TYPE
}

// Call is a call as it is recorded. Zero members are left out, or are the defaults named here.
type Call struct {
	EventID      string // default a new one
	RequestID    string
	Time         time.Time // default now
	Source       string    // eventSource; default [Service]
	Name         string    // eventName
	Region       string    // default Options.Region
	Recipient    string    // recipientAccountId; default Options.Account
	APIVersion   string
	Category     string // default Management
	Identity     Identity
	Address      netip.Addr // of the caller
	UserAgent    string
	ReadOnly     bool
	Request      any // requestParameters: an object, nil for null
	Response     any // responseElements: an object, nil for null
	Additional   map[string]any
	ErrorCode    string // of a call that failed or was refused
	ErrorMessage string
	Resources    []Resource
	TLS          *tls.ConnectionState
	Host         string // that the caller named
}

// Stats are figures since the start.
type Stats struct {
	Recorded uint64 // events that are durable
	Failed   uint64 // events that could not be recorded
	Counted  uint64 // refusals that were counted into an event with others
	Waiting  int    // counted refusals whose event is yet to be written
}

// Recorder records calls.
type Recorder struct {
	o                Options
	recorded, failed atomic.Uint64
	counted          atomic.Uint64
	mu               sync.Mutex
	groups           map[string]*group // guarded by mu
	flushing         sync.Mutex        // one flush at a time
}

// group are refusals that are alike.
type group struct {
	began time.Time // of the window
	first time.Time // of those counted
	last  time.Time
	count int64 // not recorded yet
	call  Call  // the last one
}

// New makes a recorder.
func New(o Options) (*Recorder, error) {
	if o.Journal == nil {
		return nil, errors.New("a recorder needs a journal")
	}
	if o.Account == "" || o.Region == "" {
		return nil, errors.New("a recorder needs an account and a Region")
	}
	if o.Source == "" {
		o.Source = DefaultSource
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Recorder{o: o, groups: map[string]*group{}}, nil
}

// Record makes a call durable as an event, and returns the event's id. Errors are those of the journal.
func (r *Recorder) Record(ctx context.Context, c Call) (eventID string, err error) {
	if c.EventID == "" {
		c.EventID = uuid.NewString()
	}
	text, err := r.encode(c)
	if err == nil {
		object := "calls/" + c.EventID
		if c.RequestID != "" {
			object = "request/" + c.RequestID
		}
		_, err = r.o.Journal.Append(ctx, []journal.Record{{Raw: text, Origin: journal.Origin{Source: r.o.Source, Object: object, Received: r.o.Now()}}})
	}
	if err != nil {
		r.failed.Add(1)
		r.o.Log.Error("a call could not be recorded", slog.String("call", c.Name), slog.String("request", c.RequestID), slog.Any("error", err))
		return "", fmt.Errorf("record the call %s: %w", c.Name, err)
	}
	r.recorded.Add(1)
	return c.EventID, nil
}

// Refused records a refusal. Refusals of the same kind, which is the caller's to define, are bounded: the first is recorded
// when it comes, and those of the minute after it are counted into one event, whose additionalEventData has refusals, first
// and last. That event is written by Run, and may be lost when the process is killed; what it counts is in the metrics before.
// An error says that the refusal could not be recorded; it stands all the same.
func (r *Recorder) Refused(ctx context.Context, kind string, c Call) error {
	now := r.o.Now()
	r.mu.Lock()
	if r.groups[kind] == nil && len(r.groups) >= maxGroups {
		kind = "" // all others
		c.Additional = with(c.Additional, "others", true)
	}
	g := r.groups[kind]
	if g == nil {
		r.groups[kind] = &group{began: now}
		r.mu.Unlock()
		_, err := r.Record(ctx, c)
		return err
	}
	if g.count == 0 {
		g.first = now
	}
	g.count++
	g.last, g.call = now, c
	r.mu.Unlock()
	r.counted.Add(1)
	return nil
}

// Run writes the events of counted refusals when their time has come, and the rest of them when ctx ends.
func (r *Recorder) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_ = r.Flush(ctx, false) // it is logged and counted, and tried again
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			return r.Flush(last, true)
		}
	}
}

// Flush writes the events of counted refusals whose minute is over, or of all. What cannot be written stays.
func (r *Recorder) Flush(ctx context.Context, all bool) error {
	r.flushing.Lock()
	defer r.flushing.Unlock()
	now := r.o.Now()
	type item struct {
		kind string
		group
	}
	var due []item
	r.mu.Lock()
	for kind, g := range r.groups {
		switch {
		case !all && now.Sub(g.began) < window:
		case g.count == 0:
			delete(r.groups, kind)
		default:
			due = append(due, item{kind, *g})
			g.count, g.began = 0, now
		}
	}
	r.mu.Unlock()
	var errs []error
	for _, d := range due {
		c := d.call
		c.Time = d.last
		c.Additional = with(c.Additional, "refusals", d.count)
		c.Additional["first"], c.Additional["last"] = stamp(d.first), stamp(d.last)
		if _, err := r.Record(ctx, c); err != nil {
			errs = append(errs, err)
			r.mu.Lock()
			g := r.groups[d.kind]
			if g == nil {
				g = &group{began: now, last: d.last, call: d.call}
				r.groups[d.kind] = g
			}
			if g.count == 0 {
				g.last, g.call = d.last, d.call
			}
			g.count += d.count
			g.first = d.first
			r.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// Stats are the figures of now.
func (r *Recorder) Stats() Stats {
	s := Stats{Recorded: r.recorded.Load(), Failed: r.failed.Load(), Counted: r.counted.Load()}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.groups {
		s.Waiting += int(g.count)
	}
	return s
}

func with(m map[string]any, key string, value any) map[string]any {
	out := make(map[string]any, len(m)+3)
	for k, v := range m {
		out[k] = v
	}
	out[key] = value
	return out
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// record is the event, with its members in the order of CloudTrail's files.
type record struct {
	EventVersion        string          `json:"eventVersion"`
	UserIdentity        Identity        `json:"userIdentity"`
	EventTime           string          `json:"eventTime"`
	EventSource         string          `json:"eventSource"`
	EventName           string          `json:"eventName"`
	AWSRegion           string          `json:"awsRegion"`
	SourceIPAddress     string          `json:"sourceIPAddress"`
	UserAgent           string          `json:"userAgent,omitempty"`
	ErrorCode           string          `json:"errorCode,omitempty"`
	ErrorMessage        string          `json:"errorMessage,omitempty"`
	RequestParameters   json.RawMessage `json:"requestParameters"`
	ResponseElements    json.RawMessage `json:"responseElements"`
	AdditionalEventData json.RawMessage `json:"additionalEventData,omitempty"`
	RequestID           string          `json:"requestID,omitempty"`
	EventID             string          `json:"eventID"`
	ReadOnly            bool            `json:"readOnly"`
	Resources           []Resource      `json:"resources,omitempty"`
	EventType           string          `json:"eventType"`
	APIVersion          string          `json:"apiVersion,omitempty"`
	ManagementEvent     bool            `json:"managementEvent"`
	RecipientAccountID  string          `json:"recipientAccountId"`
	EventCategory       string          `json:"eventCategory"`
	TLSDetails          *tlsDetails     `json:"tlsDetails,omitempty"`
}

type tlsDetails struct {
	TLSVersion               string `json:"tlsVersion,omitempty"`
	CipherSuite              string `json:"cipherSuite,omitempty"`
	ClientProvidedHostHeader string `json:"clientProvidedHostHeader,omitempty"`
}

// Sizes of CloudTrail's records.
const (
	maxText       = 1 << 10
	maxAdditional = 28 << 10
	maxElements   = 100 << 10
)

// encode writes the event. Everything in it that a caller chose goes through the redaction.
func (r *Recorder) encode(c Call) ([]byte, error) {
	if c.Time.IsZero() {
		c.Time = r.o.Now()
	}
	pick := func(given, otherwise string) string {
		if given != "" {
			return given
		}
		return otherwise
	}
	rec := record{
		EventVersion: "1.11", UserIdentity: c.Identity, EventTime: stamp(c.Time),
		EventSource: pick(c.Source, Service), EventName: c.Name, AWSRegion: pick(c.Region, r.o.Region),
		UserAgent: line(c.UserAgent), ErrorCode: line(c.ErrorCode), ErrorMessage: line(c.ErrorMessage),
		RequestID: line(c.RequestID), EventID: c.EventID, ReadOnly: c.ReadOnly, Resources: c.Resources, EventType: "AwsApiCall",
		APIVersion: c.APIVersion, RecipientAccountID: pick(c.Recipient, r.o.Account), EventCategory: pick(c.Category, "Management"),
	}
	rec.ManagementEvent = rec.EventCategory == "Management"
	rec.UserIdentity.UserName = line(rec.UserIdentity.UserName)
	if c.Address.IsValid() {
		rec.SourceIPAddress = c.Address.Unmap().WithZone("").String()
	}
	var err error
	if rec.RequestParameters, err = elements(c.Request, maxElements); err != nil {
		return nil, fmt.Errorf("encode the parameters of %s: %w", c.Name, err)
	}
	if rec.ResponseElements, err = elements(c.Response, maxElements); err != nil {
		return nil, fmt.Errorf("encode the response of %s: %w", c.Name, err)
	}
	if len(c.Additional) > 0 {
		if rec.AdditionalEventData, err = elements(c.Additional, maxAdditional); err != nil {
			return nil, fmt.Errorf("encode what else is told of %s: %w", c.Name, err)
		}
	}
	if c.TLS != nil {
		rec.TLSDetails = &tlsDetails{
			TLSVersion: tlsVersion(c.TLS.Version), CipherSuite: tls.CipherSuiteName(c.TLS.CipherSuite), ClientProvidedHostHeader: line(c.Host),
		}
	}
	return marshal(rec)
}

// tlsVersion writes a version as CloudTrail does.
func tlsVersion(v uint16) string {
	switch v {
	case tls.VersionTLS12:
		return "TLSv1.2"
	case tls.VersionTLS13:
		return "TLSv1.3"
	}
	return ""
}
