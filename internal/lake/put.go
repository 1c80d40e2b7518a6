package lake

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"spoor/internal/event"
	"spoor/internal/journal"
)

const (
	// MaxCall is how many bytes the eventData of a call may have together.
	MaxCall = 1 << 20
	// ExternalIDTag is the tag of a channel whose callers have to say its value as externalId.
	ExternalIDTag = "spoor:externalId"

	eventVersion = "1.11"
	// originSource and objectPrefix say in the store where an event came from: the object is the prefix, the channel's id, and
	// the ids of the stores that were its destinations.
	originSource = "lake"
	objectPrefix = "lake:channel/"
)

// AuditEvent is an event as it is offered.
type AuditEvent struct {
	ID       string // the caller's
	Data     string // eventData: JSON
	Checksum string // SHA-256 of Data in Base64, or empty
}

// PutCall is a call of PutAuditEvents.
type PutCall struct {
	Where      Where
	Channel    string // ARN
	ExternalID string
	Events     []AuditEvent
}

// Taken is an event that is durable: the caller's id, and the eventID of its record. The same event through the same channel
// has the same eventID each time.
type Taken struct{ ID, EventID string }

// Failed is an event that was not taken. Code is one of those that PutAuditEvents has for events.
type Failed struct{ ID, Code, Message string }

// Codes of PutAuditEvents: of the call, and of an event.
const (
	CodeTooLarge          = "RequestEntityTooLargeException" // the only one that is not in the service's model
	codePutNotFound       = "ChannelNotFound"
	codePutARN            = "InvalidChannelARN"
	codePutPermission     = "ChannelInsufficientPermission"
	codePutSchema         = "ChannelUnsupportedSchema"
	codePutDuplicate      = "DuplicatedAuditEventId"
	codeFieldTooLong      = "FieldTooLong"
	codeFieldNotFound     = "FieldNotFound"
	codeInvalidChecksum   = "InvalidChecksum"
	codeInvalidData       = "InvalidData"
	codeInvalidRecipient  = "InvalidRecipient"
	codeInvalidSource     = "InvalidEventSource"
	codeEventThrottling   = "Throttling"
	codeEventInternal     = "InternalFailure"
	maxFailureMessage     = 1000
	maxShortText          = 256
	maxType               = 128
	maxText               = 1024
	maxParameters         = 100 << 10
	maxAdditional         = 28 << 10
	awsSource             = "amazonaws.com"
	eventTimeForm         = "2006-01-02T15:04:05"
	ingestionTimeForm     = "2006-01-02T15:04:05.000Z"
	externalIDMissingText = "The externalId of the channel is missing or wrong."
)

// Put takes events in: those that are valid are durable when it returns, as one append; the others are told with a reason.
// The error is one of the whole call, of which then nothing was taken.
func (l *Lake) Put(ctx context.Context, call PutCall) (taken []Taken, failed []Failed, err error) {
	c, err := l.channelOf(call)
	if err != nil {
		return nil, nil, err
	}
	ids, size := make(map[string]bool, len(call.Events)), 0
	for _, e := range call.Events {
		if ids[e.ID] {
			return nil, nil, refuse(codePutDuplicate, "Two or more entries of the request have the id %s.", e.ID)
		}
		ids[e.ID] = true
		size += len(e.Data)
	}
	if size > MaxCall {
		return nil, nil, refuse(CodeTooLarge, "The events of the request have %d bytes together; at most %d are taken.", size, MaxCall)
	}
	now := l.o.Now().UTC()
	head := `{"eventVersion":"` + eventVersion + `","eventCategory":"` + event.OutsideCategory + `","eventType":"ActivityLog","eventID":"`
	channel := l.ChannelARN(c)
	where := `","awsRegion":"` + c.Region + `","recipientAccountId":"` + c.Account + `","metadata":{"ingestionTime":"` + now.Format(ingestionTimeForm) + `","channelARN":"` + channel + `"},"eventData":`
	object := objectPrefix + c.ID + "/" + strings.Join(c.Destinations, "+")
	records := make([]journal.Record, 0, len(call.Events))
	for i, e := range call.Events {
		at, bad := check(e, c.Account)
		if bad != nil {
			bad.ID = e.ID
			failed = append(failed, *bad)
			continue
		}
		id := eventID(channel, e)
		raw := make([]byte, 0, len(head)+len(id)+len(where)+len(e.Data)+64)
		raw = append(append(append(raw, head...), id...), `","eventTime":"`...)
		raw = append(at.AppendFormat(raw, time.RFC3339Nano), where...)
		raw = append(append(raw, e.Data...), '}')
		records = append(records, journal.Record{Raw: raw, Origin: journal.Origin{Source: originSource, Object: object, Offset: int64(i), Received: now}})
		taken = append(taken, Taken{e.ID, id})
	}
	if len(records) > 0 {
		if err := l.append(ctx, records); err != nil {
			code, text := codeEventInternal, "The event could not be stored."
			if errors.Is(err, journal.ErrFull) {
				code, text = codeEventThrottling, "No event can be stored now; try again later."
			}
			l.o.Log.Error("events from outside could not be stored", slog.String("channel", c.ID), slog.Int("events", len(records)), slog.Any("error", err))
			for _, t := range taken {
				failed = append(failed, Failed{t.ID, code, text})
			}
			taken = nil
		}
	}
	l.note(c.ID, now, channel, call.Events, taken, failed)
	return taken, failed, nil
}

func (l *Lake) append(ctx context.Context, records []journal.Record) error {
	if l.o.Journal == nil {
		return errors.New("the lake has no journal")
	}
	_, err := l.o.Journal.Append(ctx, records)
	return err
}

// channelOf finds the channel of a call, and whether the caller may use it.
func (l *Lake) channelOf(call PutCall) (Channel, error) {
	a, ok := parseARN(call.Channel)
	id := strings.ToLower(a.id)
	switch {
	case !ok || a.kind != channelKind || !uuidForm.MatchString(id) || a.partition != l.o.Partition:
		return Channel{}, refuse(codePutARN, "%.256s is not the ARN of a channel.", call.Channel)
	case a.account != call.Where.Account:
		return Channel{}, refuse(codePutPermission, "The channel does not belong to the account %s, and its owner has let nobody else use it.", call.Where.Account)
	case a.region != call.Where.Region:
		return Channel{}, refuse(codePutNotFound, "The channel %s was not found in %s.", call.Channel, call.Where.Region)
	}
	f := l.file.Get()
	i, err := f.channel(call.Where, id)
	if err != nil {
		return Channel{}, refuse(codePutNotFound, "The channel %s was not found.", call.Channel)
	}
	c := f.Channels[i]
	for _, t := range c.Tags {
		if t.Key == ExternalIDTag && subtle.ConstantTimeCompare([]byte(t.Value), []byte(call.ExternalID)) != 1 {
			return Channel{}, refuse(codePutPermission, externalIDMissingText)
		}
	}
	for _, d := range c.Destinations {
		if i, err := f.store(call.Where, d); err != nil || !f.Stores[i].Audit() {
			return Channel{}, refuse(codePutSchema, "The event data store %s does not take events from outside.", d)
		}
	}
	return c, nil
}

// note remembers how a call went.
func (l *Lake) note(channel string, now time.Time, arn string, events []AuditEvent, taken []Taken, failed []Failed) {
	st := l.status(channel)
	st.mu.Lock()
	defer st.mu.Unlock()
	if n := len(events); n > 0 {
		st.is.Attempt, st.is.AttemptID, st.is.ErrorCode = now, eventID(arn, events[n-1]), ""
	}
	if n := len(taken); n > 0 {
		st.is.Success, st.is.SuccessID = now, taken[n-1].EventID
	}
	if n := len(failed); n > 0 {
		st.is.ErrorCode = failed[n-1].Code
	}
}

// eventID names an event by its channel, the caller's id and its data: what is sent again is the same event.
func eventID(channel string, e AuditEvent) string {
	sum := sha256.Sum256([]byte(e.Data))
	name := make([]byte, 0, len(channel)+len(e.ID)+len(sum)+2)
	name = append(append(append(append(append(name, channel...), 0), e.ID...), 0), sum[:]...)
	return uuid.NewSHA1(uuid.NameSpaceURL, name).String()
}

// text is a field of eventData that is a text.
type text struct {
	name     string
	required bool
	most     int // characters
}

// texts are the fields that are texts; those of userIdentity follow.
var (
	texts = []text{
		{"version", true, maxShortText}, {"userAgent", false, maxText}, {"eventSource", true, maxText}, {"eventName", true, maxText}, {"eventTime", true, maxText},
		{"UID", true, maxText}, {"errorCode", false, maxShortText}, {"errorMessage", false, maxShortText}, {"sourceIPAddress", false, maxText}, {"recipientAccountId", true, maxText},
	}
	identityTexts = []text{{"type", true, maxType}, {"principalId", true, maxText}}
)

// object is a field of eventData that is an object or null.
type object struct {
	name string
	most int // bytes
}

var (
	objects         = []object{{"requestParameters", maxParameters}, {"responseElements", maxParameters}, {"additionalEventData", maxAdditional}}
	identityObjects = []object{{"details", maxAdditional}}
)

// check checks an event, and gives its time.
func check(e AuditEvent, account string) (at time.Time, _ *Failed) {
	bad := func(code, format string, a ...any) (time.Time, *Failed) {
		text := fmt.Sprintf(format, a...)
		if len(text) > maxFailureMessage {
			text = strings.ToValidUTF8(text[:maxFailureMessage], "")
		}
		return at, &Failed{Code: code, Message: text}
	}
	if e.Checksum != "" {
		want, err := base64.StdEncoding.DecodeString(e.Checksum)
		if sum := sha256.Sum256([]byte(e.Data)); err != nil || subtle.ConstantTimeCompare(want, sum[:]) != 1 {
			return bad(codeInvalidChecksum, "The checksum is not the SHA-256 of eventData in Base64.")
		}
	}
	if !utf8.ValidString(e.Data) || !json.Valid([]byte(e.Data)) {
		return bad(codeInvalidData, "eventData is not JSON.")
	}
	record, err := event.Parse([]byte(e.Data))
	if err != nil {
		return bad(codeInvalidData, "eventData is not a JSON object.")
	}
	data, twice := members(record.Root())
	if twice != "" {
		return bad(codeInvalidData, "The field %.80q is there twice.", twice)
	}
	identity, twice := members(data["userIdentity"])
	switch {
	case twice != "":
		return bad(codeInvalidData, "The field userIdentity.%.80q is there twice.", twice)
	case data["userIdentity"].IsNull():
		return bad(codeFieldNotFound, "The required field userIdentity was not found.")
	case data["userIdentity"].Kind() != event.Object:
		return bad(codeInvalidData, "The field userIdentity is not an object.")
	}
	for _, part := range []struct {
		prefix  string
		of      map[string]event.Value
		texts   []text
		objects []object
	}{{"", data, texts, objects}, {"userIdentity.", identity, identityTexts, identityObjects}} {
		for _, f := range part.texts {
			v := part.of[f.name]
			switch {
			case v.IsNull() && f.required:
				return bad(codeFieldNotFound, "The required field %s%s was not found.", part.prefix, f.name)
			case v.IsNull():
			case v.Kind() != event.String:
				return bad(codeInvalidData, "The field %s%s is not a text.", part.prefix, f.name)
			case v.Text() == "" && f.required:
				return bad(codeFieldNotFound, "The required field %s%s is empty.", part.prefix, f.name)
			case utf8.RuneCountInString(v.Text()) > f.most:
				return bad(codeFieldTooLong, "The field %s%s is longer than %d characters.", part.prefix, f.name, f.most)
			}
		}
		for _, f := range part.objects {
			switch v := part.of[f.name]; {
			case v.IsNull():
			case v.Kind() != event.Object:
				return bad(codeInvalidData, "The field %s%s is not an object.", part.prefix, f.name)
			case len(v.Raw()) > f.most:
				return bad(codeFieldTooLong, "The field %s%s is longer than %d bytes.", part.prefix, f.name, f.most)
			}
		}
	}
	if source := strings.ToLower(data["eventSource"].Text()); source == awsSource || strings.HasSuffix(source, "."+awsSource) || strings.HasSuffix(source, "."+awsSource+".cn") {
		return bad(codeInvalidSource, "The eventSource %.80s is one of AWS's own.", data["eventSource"].Text())
	}
	if data["recipientAccountId"].Text() != account {
		return bad(codeInvalidRecipient, "The recipientAccountId is not %s, the account of the channel.", account)
	}
	at, err = time.Parse(eventTimeForm, strings.TrimSuffix(data["eventTime"].Text(), "Z"))
	if err != nil || at.Year() < 1970 || at.Year() > 2261 {
		return bad(codeInvalidData, "The eventTime is not of the form yyyy-MM-ddTHH:mm:ss.")
	}
	return at.UTC(), nil
}

// members are those of an object, and the name of one that is there twice.
func members(v event.Value) (out map[string]event.Value, twice string) {
	out = map[string]event.Value{}
	v.Members(func(k string, m event.Value) bool {
		if _, ok := out[k]; ok {
			twice = k
			return false
		}
		out[strings.Clone(k)] = m
		return true
	})
	return out, twice
}
