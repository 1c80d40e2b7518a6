// Package cloudtraildata is CloudTrail Data of the AWS-compatible endpoint: events from outside, by channels.
package cloudtraildata

import (
	"context"
	"errors"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/cloudtrail"
	model "spoor/internal/awsapi/model/cloudtraildata"
	"spoor/internal/lake"
	"spoor/internal/recorder"
)

// Lake takes events in: a [lake.Lake].
type Lake interface {
	Put(context.Context, lake.PutCall) ([]lake.Taken, []lake.Failed, error)
}

// Options are the parts behind the operations. Those whose part is nil fail.
type Options struct {
	Lake Lake
	// Access and Policies let other accounts put events through channels whose policies allow it. Without them, channels are for
	// their own accounts.
	Access   cloudtrail.Access
	Policies cloudtrail.Policies
}

// New makes the service. Calls are recorded as data events without the events in them, which have records of their own.
func New(o Options) *awsapi.Service {
	s := awsapi.NewService(&model.Service, awsapi.ServiceOptions{
		Secrets: []string{"AuditEvent.eventData", "PutAuditEventsRequest.externalId"},
	})
	if o.Access != nil && o.Policies != nil {
		awsapi.Handle(s, "PutAuditEvents", putter{o.Lake, o.Access, o.Policies}.put, awsapi.DataEvent(), awsapi.AnyPrincipal()) // the handler asks
		return s
	}
	awsapi.Handle(s, "PutAuditEvents", putter{lake: o.Lake}.put, awsapi.DataEvent(),
		awsapi.On(func(_ *awsapi.Call, in *model.PutAuditEventsRequest) []string {
			if !lake.IsARN(*in.ChannelArn) {
				return nil // the handler refuses it
			}
			return []string{*in.ChannelArn}
		}))
	return s
}

type putter struct {
	lake     Lake
	access   cloudtrail.Access // nil where the endpoint has decided
	policies cloudtrail.Policies
}

// authorize decides whether the caller may use a channel, and gives where the channel is: the account in its ARN is its own.
func (p putter) authorize(ctx context.Context, c *awsapi.Call, channel string) (lake.Where, error) {
	own := lake.Where{Account: c.Account, Region: c.Region}
	if p.access == nil {
		return own, nil
	}
	var arns []string
	if lake.IsARN(channel) { // else it is refused, to those who may
		arns = []string{channel}
		own.Account = strings.Split(channel, ":")[4]
	}
	err := cloudtrail.Authorize(ctx, c, p.access, p.policies, "cloudtrail-data:PutAuditEvents", arns...)
	if e, ok := errors.AsType[*awsapi.Error](err); ok && e.Code == awsapi.AccessDenied && own.Account != c.Account {
		err = awsapi.Errorf("ChannelInsufficientPermission", "%s", e.Message)
	}
	return own, err
}

// put takes events in. It has no way back: what was stored stays when the call cannot be recorded, and counts once when the
// caller sends it again.
func (p putter) put(ctx context.Context, c *awsapi.Call, in *model.PutAuditEventsRequest) (*model.PutAuditEventsResponse, error) {
	if p.lake == nil {
		return nil, errors.New("there is no lake")
	}
	at, err := p.authorize(ctx, c, *in.ChannelArn)
	if err != nil {
		return nil, err
	}
	call := lake.PutCall{Where: at, Channel: *in.ChannelArn, Events: make([]lake.AuditEvent, len(in.AuditEvents))}
	if in.ExternalId != nil {
		call.ExternalID = *in.ExternalId
	}
	for i, e := range in.AuditEvents {
		call.Events[i] = lake.AuditEvent{ID: *e.Id, Data: *e.EventData}
		if e.EventDataChecksum != nil {
			call.Events[i].Checksum = *e.EventDataChecksum
		}
	}
	taken, failed, err := p.lake.Put(ctx, call)
	if refused, ok := errors.AsType[*lake.Error](err); ok {
		return nil, awsapi.Errorf(refused.Code, "%s", refused.Message)
	}
	if err != nil {
		return nil, err
	}
	c.Resource(recorder.Resource{ARN: *in.ChannelArn, AccountID: at.Account, Type: "AWS::CloudTrail::Channel"})
	out := &model.PutAuditEventsResponse{Failed: []model.ResultErrorEntry{}, Successful: []model.AuditEventResultEntry{}}
	for _, t := range taken {
		out.Successful = append(out.Successful, model.AuditEventResultEntry{EventID: &t.EventID, Id: &t.ID})
	}
	for _, f := range failed {
		out.Failed = append(out.Failed, model.ResultErrorEntry{ErrorCode: &f.Code, ErrorMessage: &f.Message, Id: &f.ID})
	}
	return out, nil
}
