package cloudtrail_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	client "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/cloudtrail"
	"spoor/internal/history"
	"spoor/internal/iam"
	"spoor/internal/store"
)

// told is a history that answers as it is told, and remembers what it was asked.
type told struct {
	page  history.Page
	err   error
	asked history.Query
}

func (f *told) Lookup(_ context.Context, q history.Query) (history.Page, error) {
	f.asked = q
	return f.page, f.err
}

func historyClient(t *testing.T, h cloudtrail.History) (*client.Client, *awsapitest.Rig) {
	t.Helper()
	r := awsapitest.New(t, func(*iam.Service, *slog.Logger) []*awsapi.Service {
		return []*awsapi.Service{cloudtrail.New(cloudtrail.Options{History: h})}
	})
	return client.NewFromConfig(r.Config(r.User(t, "ann", iam.RoleAnalyst)), func(o *client.Options) { o.RetryMaxAttempts = 1 }), r
}

func TestLookupEvents(t *testing.T) {
	t.Parallel()
	raw := `{"eventVersion":"1.11", "x":"é\u0041 <&>"}`
	h := &told{page: history.Page{Next: "more", Damaged: []store.Damage{{}}, Events: []history.Event{
		{ID: "1", Name: "StopLogging", Source: "cloudtrail.amazonaws.com", Username: "ana", AccessKeyID: "AKIA1", ReadOnly: "false",
			Time: time.Unix(1768036361, 0).UTC(), Resources: []history.Resource{{Type: "AWS::CloudTrail::Trail", Name: "audit"}, {Name: "unknown"}}, Raw: []byte(raw)},
		{Time: time.Unix(1768036360, 0).UTC(), Raw: []byte(`{}`)},
	}}}
	c, r := historyClient(t, h)
	start, end := time.Unix(1760000000, 0).UTC(), time.Unix(1770000000, 0).UTC()
	out, err := c.LookupEvents(t.Context(), &client.LookupEventsInput{
		LookupAttributes: []types.LookupAttribute{{AttributeKey: types.LookupAttributeKeyUsername, AttributeValue: aws.String("ana")}},
		StartTime:        &start, EndTime: &end, MaxResults: aws.Int32(7), NextToken: aws.String("token"), EventCategory: types.EventCategoryInsight,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := history.Query{Account: awsapitest.Account, Region: h.asked.Region, Attributes: []history.Attribute{{Key: history.Username, Value: "ana"}}, Start: start, End: end, MaxResults: 7, Token: "token", Insight: true}
	h.asked.Start, h.asked.End = h.asked.Start.UTC(), h.asked.End.UTC()
	if !reflect.DeepEqual(h.asked, want) || h.asked.Region == "" {
		t.Errorf("asked %+v, want %+v", h.asked, want)
	}
	e := out.Events[0]
	if *out.NextToken != "more" || len(out.Events) != 2 || *e.EventId != "1" || *e.EventName != "StopLogging" || *e.EventSource != "cloudtrail.amazonaws.com" || *e.Username != "ana" ||
		*e.AccessKeyId != "AKIA1" || *e.ReadOnly != "false" || e.EventTime.Unix() != 1768036361 || *e.CloudTrailEvent != raw || len(e.Resources) != 2 ||
		*e.Resources[0].ResourceType != "AWS::CloudTrail::Trail" || *e.Resources[0].ResourceName != "audit" || e.Resources[1].ResourceType != nil {
		t.Errorf("%+v", e)
	}
	if e := out.Events[1]; e.EventId != nil || e.Username != nil || e.ReadOnly != nil || e.AccessKeyId != nil || e.Resources == nil || len(e.Resources) != 0 {
		t.Errorf("%+v", e)
	}
	rec := r.Book.Last(t)
	if rec["eventName"] != "LookupEvents" || rec["readOnly"] != true || !strings.Contains(fmt.Sprint(rec["additionalEventData"]), "damagedFiles:1") {
		t.Errorf("%v", rec)
	}
	h.page = history.Page{}
	if out, err = c.LookupEvents(t.Context(), &client.LookupEventsInput{}); err != nil || out.Events == nil || len(out.Events) != 0 || out.NextToken != nil {
		t.Errorf("%+v, %v", out, err)
	}
	if !reflect.DeepEqual(h.asked, history.Query{Account: awsapitest.Account, Region: want.Region}) {
		t.Errorf("asked %+v", h.asked)
	}
}

func TestLookupEventsErrors(t *testing.T) {
	t.Parallel()
	h := &told{}
	c, _ := historyClient(t, h)
	key := func(k, v string) []types.LookupAttribute {
		return []types.LookupAttribute{{AttributeKey: types.LookupAttributeKey(k), AttributeValue: &v}}
	}
	for name, x := range map[string]struct {
		in     client.LookupEventsInput
		told   error
		code   string
		status int
	}{
		"unknown key": {client.LookupEventsInput{LookupAttributes: key("eventName", "x")}, nil, "InvalidLookupAttributesException", 400},
		"no value":    {client.LookupEventsInput{LookupAttributes: key("EventName", "")}, nil, "InvalidLookupAttributesException", 400},
		"long value":  {client.LookupEventsInput{LookupAttributes: key("EventName", strings.Repeat("x", 2001))}, nil, "InvalidLookupAttributesException", 400},
		"0 results":   {client.LookupEventsInput{MaxResults: aws.Int32(0)}, nil, "InvalidMaxResultsException", 400},
		"51 results":  {client.LookupEventsInput{MaxResults: aws.Int32(51)}, nil, "InvalidMaxResultsException", 400},
		"category":    {client.LookupEventsInput{EventCategory: "management"}, nil, "InvalidEventCategoryException", 400},
		"empty token": {client.LookupEventsInput{NextToken: aws.String("")}, nil, "InvalidNextTokenException", 400},
		"attributes":  {client.LookupEventsInput{}, history.ErrAttributes, "InvalidLookupAttributesException", 400},
		"results":     {client.LookupEventsInput{}, history.ErrMaxResults, "InvalidMaxResultsException", 400},
		"times":       {client.LookupEventsInput{}, history.ErrTimeRange, "InvalidTimeRangeException", 400},
		"token":       {client.LookupEventsInput{}, history.ErrToken, "InvalidNextTokenException", 400},
		"rate":        {client.LookupEventsInput{}, history.ErrThrottled, "ThrottlingException", http.StatusTooManyRequests},
		"failure":     {client.LookupEventsInput{}, errors.New("the disk is gone"), "InternalFailure", 500},
	} {
		h.err = nil
		if x.told != nil {
			h.err = fmt.Errorf("wrapped: %w", x.told)
		}
		_, err := c.LookupEvents(t.Context(), &x.in)
		var api smithy.APIError
		var answer *awshttp.ResponseError
		if !errors.As(err, &api) || api.ErrorCode() != x.code || !errors.As(err, &answer) || answer.HTTPStatusCode() != x.status {
			t.Errorf("%s: %v, want %s with %d", name, err, x.code, x.status)
		}
		if err != nil && strings.Contains(err.Error(), "disk") {
			t.Errorf("%s tells of the inside: %v", name, err)
		}
	}
}
