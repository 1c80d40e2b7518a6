package cloudtrail

import (
	"context"
	"errors"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/awsapi/wire"
	"spoor/internal/history"
)

// History is the part behind LookupEvents: a [history.History].
type History interface {
	Lookup(ctx context.Context, q history.Query) (history.Page, error)
}

// Exceptions of LookupEvents.
const (
	invalidAttributes = "InvalidLookupAttributesException"
	invalidMaxResults = "InvalidMaxResultsException"
	invalidTimeRange  = "InvalidTimeRangeException"
	invalidToken      = "InvalidNextTokenException"
	invalidCategory   = "InvalidEventCategoryException"
)

func registerHistory(s *awsapi.Service, h History) {
	awsapi.Handle(s, "LookupEvents", func(ctx context.Context, c *awsapi.Call, in *cloudtrail.LookupEventsRequest) (*cloudtrail.LookupEventsResponse, error) {
		if h == nil {
			return nil, errors.New("there is no event history")
		}
		return lookupEvents(ctx, c, h, in)
	})
}

// lookupEvents gives the management or Insight events of the caller's account and Region.
func lookupEvents(ctx context.Context, c *awsapi.Call, h History, in *cloudtrail.LookupEventsRequest) (*cloudtrail.LookupEventsResponse, error) {
	q := history.Query{Account: c.Account, Region: c.Region, Insight: in.EventCategory != nil, Token: value(in.NextToken), Start: value(in.StartTime), End: value(in.EndTime)}
	if in.MaxResults != nil {
		q.MaxResults = int(*in.MaxResults)
	}
	if in.NextToken != nil && *in.NextToken == "" {
		return nil, awsapi.Errorf(invalidToken, "Invalid NextToken: it is empty.")
	}
	for _, a := range in.LookupAttributes {
		q.Attributes = append(q.Attributes, history.Attribute{Key: history.Key(value(a.AttributeKey)), Value: value(a.AttributeValue)})
	}
	page, err := h.Lookup(ctx, q)
	if err != nil {
		return nil, historyError(err)
	}
	if n := len(page.Damaged); n > 0 {
		c.Annotate("damagedFiles", n) // the answer may miss their events
	}
	out := &cloudtrail.LookupEventsResponse{Events: make([]cloudtrail.Event, 0, len(page.Events)), NextToken: filled(page.Next)}
	for i := range page.Events {
		out.Events = append(out.Events, entry(&page.Events[i]))
	}
	return out, nil
}

// historyError is what the caller is told of an error.
func historyError(err error) error {
	for _, known := range [...]struct {
		is   error
		code string
	}{
		{history.ErrAttributes, invalidAttributes}, {history.ErrMaxResults, invalidMaxResults}, {history.ErrTimeRange, invalidTimeRange},
		{history.ErrToken, invalidToken},
	} {
		if errors.Is(err, known.is) {
			return awsapi.Errorf(known.code, "%v.", err)
		}
	}
	if errors.Is(err, history.ErrThrottled) {
		return awsapi.Errorf(awsapi.Throttling, "Rate exceeded")
	}
	return err
}

// entry is an event of the answer.
func entry(e *history.Event) cloudtrail.Event {
	at, raw := e.Time, string(e.Raw)
	out := cloudtrail.Event{
		EventId: filled(e.ID), EventName: filled(e.Name), ReadOnly: filled(e.ReadOnly), AccessKeyId: filled(e.AccessKeyID), EventTime: &at,
		EventSource: filled(e.Source), Username: filled(e.Username), CloudTrailEvent: &raw, Resources: make([]cloudtrail.Resource, 0, len(e.Resources)),
	}
	for _, r := range e.Resources {
		out.Resources = append(out.Resources, cloudtrail.Resource{ResourceType: filled(r.Type), ResourceName: filled(r.Name)})
	}
	return out
}

// filled is a text, nil for none.
func filled(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// invalidHistory is what violations of LookupEvents are answered with.
func invalidHistory(operation string, v []wire.Violation) *awsapi.Error {
	if operation != "LookupEvents" || len(v) == 0 {
		return nil
	}
	code := ""
	switch v[0].Member {
	case "LookupAttributes":
		code = invalidAttributes
	case "MaxResults":
		code = invalidMaxResults
	case "EventCategory":
		code = invalidCategory
	default:
		return nil
	}
	return awsapi.Errorf(code, "%s", wire.Message(v))
}
