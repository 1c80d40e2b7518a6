// Package cloudtraildata is CloudTrail Data of the AWS-compatible endpoint: events from outside, by channels.
package cloudtraildata

import (
	"context"
	"errors"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtraildata"
	"spoor/internal/lake"
	"spoor/internal/recorder"
)

// Lake takes events in: a [lake.Lake].
type Lake interface {
	Put(context.Context, lake.PutCall) ([]lake.Taken, []lake.Failed, error)
}

// Options are the parts behind the operations. Those whose part is nil fail.
type Options struct{ Lake Lake }

// New makes the service. Calls are recorded as data events without the events in them, which have records of their own.
func New(o Options) *awsapi.Service {
	s := awsapi.NewService(&cloudtraildata.Service, awsapi.ServiceOptions{
		Secrets: []string{"AuditEvent.eventData", "PutAuditEventsRequest.externalId"},
	})
	awsapi.Handle(s, "PutAuditEvents", putter{o.Lake}.put, awsapi.DataEvent(),
		awsapi.On(func(_ *awsapi.Call, in *cloudtraildata.PutAuditEventsRequest) []string {
			if !lake.IsARN(*in.ChannelArn) {
				return nil // the handler refuses it
			}
			return []string{*in.ChannelArn}
		}))
	return s
}

type putter struct{ lake Lake }

// put takes events in. It has no way back: what was stored stays when the call cannot be recorded, and counts once when the
// caller sends it again.
func (p putter) put(ctx context.Context, c *awsapi.Call, in *cloudtraildata.PutAuditEventsRequest) (*cloudtraildata.PutAuditEventsResponse, error) {
	if p.lake == nil {
		return nil, errors.New("there is no lake")
	}
	call := lake.PutCall{Where: lake.Where{Account: c.Account, Region: c.Region}, Channel: *in.ChannelArn, Events: make([]lake.AuditEvent, len(in.AuditEvents))}
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
	c.Resource(recorder.Resource{ARN: *in.ChannelArn, AccountID: c.Account, Type: "AWS::CloudTrail::Channel"})
	out := &cloudtraildata.PutAuditEventsResponse{Failed: []cloudtraildata.ResultErrorEntry{}, Successful: []cloudtraildata.AuditEventResultEntry{}}
	for _, t := range taken {
		out.Successful = append(out.Successful, cloudtraildata.AuditEventResultEntry{EventID: &t.EventID, Id: &t.ID})
	}
	for _, f := range failed {
		out.Failed = append(out.Failed, cloudtraildata.ResultErrorEntry{ErrorCode: &f.Code, ErrorMessage: &f.Message, Id: &f.ID})
	}
	return out, nil
}
