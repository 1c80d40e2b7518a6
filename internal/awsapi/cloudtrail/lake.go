package cloudtrail

import (
	"context"
	"errors"
	"strings"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/awsapi/wire"
	"spoor/internal/lake"
	"spoor/internal/recorder"
	"spoor/internal/selector"
	"spoor/internal/trail"
)

// Lake is the part behind the operations of this file: a [lake.Lake].
type Lake interface {
	CreateStore(lake.Where, lake.StoreSpec) (lake.EventDataStore, lake.Undo, error)
	Store(w lake.Where, ref string) (lake.EventDataStore, error)
	Stores(w lake.Where, token string, most int) ([]lake.EventDataStore, string, error)
	UpdateStore(w lake.Where, ref string, c lake.StoreChange) (lake.EventDataStore, lake.Undo, error)
	DeleteStore(w lake.Where, ref string) (lake.EventDataStore, lake.Undo, error)
	RestoreStore(w lake.Where, ref string) (lake.EventDataStore, lake.Undo, error)
	SetIngestion(w lake.Where, ref string, on bool) (lake.EventDataStore, lake.Undo, error)
	StoreARN(lake.EventDataStore) string

	CreateChannel(lake.Where, lake.ChannelSpec) (lake.Channel, lake.Undo, error)
	Channel(w lake.Where, ref string) (lake.Channel, error)
	Channels(w lake.Where, token string, most int) ([]lake.Channel, string, error)
	UpdateChannel(w lake.Where, ref string, c lake.ChannelChange) (lake.Channel, lake.Undo, error)
	DeleteChannel(w lake.Where, ref string) (lake.Undo, error)
	ChannelARN(lake.Channel) string

	AddTags(w lake.Where, resource string, tags []lake.Tag) (lake.Undo, error)
	RemoveTags(w lake.Where, resource string, keys []string) (lake.Undo, error)
	Tags(w lake.Where, resource string) ([]lake.Tag, error)
}

// lakeService are the handlers of event data stores and channels.
type lakeService struct {
	lake Lake
	book *trail.Book // of which it needs only that what is kept for a channel goes with it; may be nil
}

func registerLake(s *awsapi.Service, l Lake, b *trail.Book) {
	x := lakeService{l, b}
	awsapi.Handle(s, "CreateEventDataStore", lakeHandler(x, x.createStore))
	awsapi.Handle(s, "GetEventDataStore", lakeHandler(x, x.getStore), onStore(func(in *cloudtrail.GetEventDataStoreRequest) *string { return in.EventDataStore }))
	awsapi.Handle(s, "ListEventDataStores", lakeHandler(x, x.listStores))
	awsapi.Handle(s, "UpdateEventDataStore", lakeHandler(x, x.updateStore), onStore(func(in *cloudtrail.UpdateEventDataStoreRequest) *string { return in.EventDataStore }))
	awsapi.Handle(s, "DeleteEventDataStore", lakeHandler(x, x.deleteStore), onStore(func(in *cloudtrail.DeleteEventDataStoreRequest) *string { return in.EventDataStore }))
	awsapi.Handle(s, "RestoreEventDataStore", lakeHandler(x, x.restoreStore), onStore(func(in *cloudtrail.RestoreEventDataStoreRequest) *string { return in.EventDataStore }))
	awsapi.Handle(s, "StartEventDataStoreIngestion", lakeHandler(x, x.startIngestion), onStore(func(in *cloudtrail.StartEventDataStoreIngestionRequest) *string { return in.EventDataStore }))
	awsapi.Handle(s, "StopEventDataStoreIngestion", lakeHandler(x, x.stopIngestion), onStore(func(in *cloudtrail.StopEventDataStoreIngestionRequest) *string { return in.EventDataStore }))
	awsapi.Handle(s, "CreateChannel", lakeHandler(x, x.createChannel))
	awsapi.Handle(s, "GetChannel", lakeHandler(x, x.getChannel), onChannel(func(in *cloudtrail.GetChannelRequest) *string { return in.Channel }))
	awsapi.Handle(s, "ListChannels", lakeHandler(x, x.listChannels))
	awsapi.Handle(s, "UpdateChannel", lakeHandler(x, x.updateChannel), onChannel(func(in *cloudtrail.UpdateChannelRequest) *string { return in.Channel }))
	awsapi.Handle(s, "DeleteChannel", lakeHandler(x, x.deleteChannel), onChannel(func(in *cloudtrail.DeleteChannelRequest) *string { return in.Channel }))
}

// lakeHandler is a handler whose refusals are those of package lake.
func lakeHandler[In, Out any](x lakeService, h func(context.Context, *awsapi.Call, *In) (*Out, error)) func(context.Context, *awsapi.Call, *In) (*Out, error) {
	return func(ctx context.Context, c *awsapi.Call, in *In) (*Out, error) {
		if x.lake == nil {
			return nil, errors.New("there is no lake")
		}
		out, err := h(ctx, c, in)
		return out, told(err)
	}
}

// resourceARN completes an id to the ARN that it stands for.
func resourceARN(c *awsapi.Call, kind, ref string) string {
	if strings.Contains(ref, ":") {
		return ref
	}
	return "arn:" + c.Partition + ":cloudtrail:" + c.Region + ":" + c.Account + ":" + kind + "/" + ref
}

// on names the resources that a call needs a permission for. What has not the form of one is refused by the handler; until
// then the permission for all resources is needed.
func on[In any](kind string, of func(*In) []string) awsapi.Option {
	return awsapi.On(func(c *awsapi.Call, in *In) []string {
		arns := of(in)
		for i, ref := range arns {
			if kind != "" {
				arns[i] = resourceARN(c, kind, ref)
			}
			if !lake.IsARN(arns[i]) {
				return nil
			}
		}
		return arns
	})
}

func onStore[In any](of func(*In) *string) awsapi.Option {
	return on("eventdatastore", func(in *In) []string { return []string{*of(in)} })
}

func onChannel[In any](of func(*In) *string) awsapi.Option {
	return on("channel", func(in *In) []string { return []string{*of(in)} })
}

func where(c *awsapi.Call) lake.Where { return lake.Where{Account: c.Account, Region: c.Region} }

// takeBack registers the way back of a change.
func takeBack(c *awsapi.Call, undo lake.Undo) {
	c.OnUnrecorded(func(context.Context) { _ = undo() }) // the lake logs what could not be written
}

// aboutStore tells the record which store a call is about.
func (x lakeService) aboutStore(c *awsapi.Call, s lake.EventDataStore) {
	c.Resource(recorder.Resource{ARN: x.lake.StoreARN(s), AccountID: s.Account, Type: "AWS::CloudTrail::EventDataStore"})
}

func (x lakeService) aboutChannel(c *awsapi.Call, ch lake.Channel) {
	c.Resource(recorder.Resource{ARN: x.lake.ChannelARN(ch), AccountID: ch.Account, Type: "AWS::CloudTrail::Channel"})
}

// invalidLake names the exceptions for what the model does not allow.
func invalidLake(operation string, v []wire.Violation) *awsapi.Error {
	code := ""
	switch m := v[0].Member; operation {
	case "CreateEventDataStore", "UpdateEventDataStore", "GetEventDataStore", "DeleteEventDataStore", "RestoreEventDataStore", "StartEventDataStoreIngestion", "StopEventDataStoreIngestion":
		switch m {
		case "EventDataStore":
			code = "EventDataStoreARNInvalidException"
		case "AdvancedEventSelectors":
			code = "InvalidEventSelectorsException"
		case "TagsList":
			code = "InvalidTagParameterException"
		default:
			code = "InvalidParameterException"
		}
	case "ListEventDataStores", "ListChannels":
		switch {
		case m == "NextToken":
			code = "InvalidNextTokenException"
		case operation == "ListEventDataStores":
			code = "InvalidMaxResultsException"
		}
	case "CreateChannel", "UpdateChannel", "GetChannel", "DeleteChannel":
		switch m {
		case "Channel":
			code = "ChannelARNInvalidException"
		case "Source":
			code = "InvalidSourceException"
		case "Tags":
			code = "InvalidTagParameterException"
		default:
			code = "InvalidParameterException"
		}
	case "AddTags", "RemoveTags":
		if m == "TagsList" {
			code = "InvalidTagParameterException"
		}
	}
	if code == "" {
		return nil
	}
	return awsapi.Errorf(code, "%s", wire.Message(v))
}

func (x lakeService) createStore(_ context.Context, c *awsapi.Call, in *cloudtrail.CreateEventDataStoreRequest) (*cloudtrail.CreateEventDataStoreResponse, error) {
	spec := lake.StoreSpec{
		Name: *in.Name, Selectors: selectorsOf(in.AdvancedEventSelectors), MultiRegion: in.MultiRegionEnabled, Organization: value(in.OrganizationEnabled),
		Retention: int(value(in.RetentionPeriod)), Protected: in.TerminationProtectionEnabled, Tags: tagsOf(in.TagsList), KMSKeyID: value(in.KmsKeyId),
		StartIngestion: in.StartIngestion, Billing: lake.BillingMode(value(in.BillingMode)),
	}
	s, undo, err := x.lake.CreateStore(where(c), spec)
	if err != nil {
		return nil, err
	}
	takeBack(c, undo)
	x.aboutStore(c, s)
	m := x.store(s)
	return &cloudtrail.CreateEventDataStoreResponse{
		AdvancedEventSelectors: m.AdvancedEventSelectors, BillingMode: m.BillingMode, CreatedTimestamp: m.CreatedTimestamp, EventDataStoreArn: m.EventDataStoreArn, KmsKeyId: m.KmsKeyId,
		MultiRegionEnabled: m.MultiRegionEnabled, Name: m.Name, OrganizationEnabled: m.OrganizationEnabled, RetentionPeriod: m.RetentionPeriod, Status: m.Status, TagsList: tags(s.Tags),
		TerminationProtectionEnabled: m.TerminationProtectionEnabled, UpdatedTimestamp: m.UpdatedTimestamp,
	}, nil
}

// store is a store in the words of the model.
func (x lakeService) store(s lake.EventDataStore) *cloudtrail.GetEventDataStoreResponse {
	out := &cloudtrail.GetEventDataStoreResponse{
		AdvancedEventSelectors: selectors(s.Selectors), BillingMode: new(string(s.Billing)), CreatedTimestamp: &s.Created, EventDataStoreArn: new(x.lake.StoreARN(s)),
		FederationStatus: new("DISABLED"), MultiRegionEnabled: &s.MultiRegion, Name: &s.Name, OrganizationEnabled: &s.Organization, RetentionPeriod: new(int32(s.Retention)),
		Status: new(string(s.Status)), TerminationProtectionEnabled: &s.Protected, UpdatedTimestamp: &s.Updated,
	}
	if s.KMSKeyID != "" {
		out.KmsKeyId = &s.KMSKeyID
	}
	return out
}

func (x lakeService) getStore(_ context.Context, c *awsapi.Call, in *cloudtrail.GetEventDataStoreRequest) (*cloudtrail.GetEventDataStoreResponse, error) {
	s, err := x.lake.Store(where(c), *in.EventDataStore)
	if err != nil {
		return nil, err
	}
	x.aboutStore(c, s)
	return x.store(s), nil
}

// listStores gives names and ARNs alone, as AWS does since the other members of its answer are deprecated.
func (x lakeService) listStores(_ context.Context, c *awsapi.Call, in *cloudtrail.ListEventDataStoresRequest) (*cloudtrail.ListEventDataStoresResponse, error) {
	page, next, err := x.lake.Stores(where(c), value(in.NextToken), int(value(in.MaxResults)))
	if err != nil {
		return nil, err
	}
	out := &cloudtrail.ListEventDataStoresResponse{EventDataStores: make([]cloudtrail.EventDataStore, 0, len(page)), NextToken: some(next)}
	for _, s := range page {
		out.EventDataStores = append(out.EventDataStores, cloudtrail.EventDataStore{EventDataStoreArn: new(x.lake.StoreARN(s)), Name: &s.Name})
	}
	return out, nil
}

func (x lakeService) updateStore(_ context.Context, c *awsapi.Call, in *cloudtrail.UpdateEventDataStoreRequest) (*cloudtrail.UpdateEventDataStoreResponse, error) {
	change := lake.StoreChange{
		Name: in.Name, Selectors: selectorsOf(in.AdvancedEventSelectors), MultiRegion: in.MultiRegionEnabled, Organization: in.OrganizationEnabled,
		Protected: in.TerminationProtectionEnabled, KMSKeyID: in.KmsKeyId, Billing: (*lake.BillingMode)(in.BillingMode),
	}
	if in.RetentionPeriod != nil {
		change.Retention = new(int(*in.RetentionPeriod))
	}
	s, undo, err := x.lake.UpdateStore(where(c), *in.EventDataStore, change)
	if err != nil {
		return nil, err
	}
	takeBack(c, undo)
	x.aboutStore(c, s)
	m := x.store(s)
	return &cloudtrail.UpdateEventDataStoreResponse{
		AdvancedEventSelectors: m.AdvancedEventSelectors, BillingMode: m.BillingMode, CreatedTimestamp: m.CreatedTimestamp, EventDataStoreArn: m.EventDataStoreArn,
		FederationStatus: m.FederationStatus, KmsKeyId: m.KmsKeyId, MultiRegionEnabled: m.MultiRegionEnabled, Name: m.Name, OrganizationEnabled: m.OrganizationEnabled,
		RetentionPeriod: m.RetentionPeriod, Status: m.Status, TerminationProtectionEnabled: m.TerminationProtectionEnabled, UpdatedTimestamp: m.UpdatedTimestamp,
	}, nil
}

func (x lakeService) deleteStore(_ context.Context, c *awsapi.Call, in *cloudtrail.DeleteEventDataStoreRequest) (*cloudtrail.DeleteEventDataStoreResponse, error) {
	s, undo, err := x.lake.DeleteStore(where(c), *in.EventDataStore)
	if err != nil {
		return nil, err
	}
	takeBack(c, undo)
	x.aboutStore(c, s)
	return nil, nil
}

func (x lakeService) restoreStore(_ context.Context, c *awsapi.Call, in *cloudtrail.RestoreEventDataStoreRequest) (*cloudtrail.RestoreEventDataStoreResponse, error) {
	s, undo, err := x.lake.RestoreStore(where(c), *in.EventDataStore)
	if err != nil {
		return nil, err
	}
	takeBack(c, undo)
	x.aboutStore(c, s)
	m := x.store(s)
	return &cloudtrail.RestoreEventDataStoreResponse{
		AdvancedEventSelectors: m.AdvancedEventSelectors, BillingMode: m.BillingMode, CreatedTimestamp: m.CreatedTimestamp, EventDataStoreArn: m.EventDataStoreArn,
		KmsKeyId: m.KmsKeyId, MultiRegionEnabled: m.MultiRegionEnabled, Name: m.Name, OrganizationEnabled: m.OrganizationEnabled, RetentionPeriod: m.RetentionPeriod,
		Status: m.Status, TerminationProtectionEnabled: m.TerminationProtectionEnabled, UpdatedTimestamp: m.UpdatedTimestamp,
	}, nil
}

func (x lakeService) setIngestion(c *awsapi.Call, ref string, on bool) error {
	s, undo, err := x.lake.SetIngestion(where(c), ref, on)
	if err != nil {
		return err
	}
	takeBack(c, undo)
	x.aboutStore(c, s)
	return nil
}

func (x lakeService) startIngestion(_ context.Context, c *awsapi.Call, in *cloudtrail.StartEventDataStoreIngestionRequest) (*cloudtrail.StartEventDataStoreIngestionResponse, error) {
	return nil, x.setIngestion(c, *in.EventDataStore, true)
}

func (x lakeService) stopIngestion(_ context.Context, c *awsapi.Call, in *cloudtrail.StopEventDataStoreIngestionRequest) (*cloudtrail.StopEventDataStoreIngestionResponse, error) {
	return nil, x.setIngestion(c, *in.EventDataStore, false)
}

// locations gives the stores that destinations name.
func locations(ds []cloudtrail.Destination) ([]string, error) {
	var out []string
	for _, d := range ds {
		if *d.Type != "EVENT_DATA_STORE" {
			return nil, awsapi.Errorf("InvalidParameterException", "A destination of the type %s is not served here; EVENT_DATA_STORE is.", *d.Type)
		}
		out = append(out, *d.Location)
	}
	return out, nil
}

func (x lakeService) destinations(ch lake.Channel) []cloudtrail.Destination {
	out := make([]cloudtrail.Destination, len(ch.Destinations))
	for i, id := range ch.Destinations {
		s := lake.EventDataStore{ID: id, Account: ch.Account, Region: ch.Region}
		out[i] = cloudtrail.Destination{Location: new(x.lake.StoreARN(s)), Type: new("EVENT_DATA_STORE")}
	}
	return out
}

func (x lakeService) createChannel(_ context.Context, c *awsapi.Call, in *cloudtrail.CreateChannelRequest) (*cloudtrail.CreateChannelResponse, error) {
	to, err := locations(in.Destinations)
	if err != nil {
		return nil, err
	}
	ch, undo, err := x.lake.CreateChannel(where(c), lake.ChannelSpec{Name: *in.Name, Source: *in.Source, Destinations: to, Tags: tagsOf(in.Tags)})
	if err != nil {
		return nil, err
	}
	takeBack(c, undo)
	x.aboutChannel(c, ch)
	return &cloudtrail.CreateChannelResponse{ChannelArn: new(x.lake.ChannelARN(ch)), Destinations: x.destinations(ch), Name: &ch.Name, Source: &ch.Source, Tags: tags(ch.Tags)}, nil
}

func (x lakeService) getChannel(_ context.Context, c *awsapi.Call, in *cloudtrail.GetChannelRequest) (*cloudtrail.GetChannelResponse, error) {
	ch, err := x.lake.Channel(where(c), *in.Channel)
	if err != nil {
		return nil, err
	}
	x.aboutChannel(c, ch)
	out := &cloudtrail.GetChannelResponse{ChannelArn: new(x.lake.ChannelARN(ch)), Destinations: x.destinations(ch), Name: &ch.Name, Source: &ch.Source}
	if i := ch.Ingestion; !i.Attempt.IsZero() {
		out.IngestionStatus = &cloudtrail.IngestionStatus{
			LatestIngestionAttemptEventID: some(i.AttemptID), LatestIngestionAttemptTime: &i.Attempt, LatestIngestionErrorCode: some(i.ErrorCode),
			LatestIngestionSuccessEventID: some(i.SuccessID), LatestIngestionSuccessTime: when(i.Success),
		}
	}
	return out, nil
}

func when(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func (x lakeService) listChannels(_ context.Context, c *awsapi.Call, in *cloudtrail.ListChannelsRequest) (*cloudtrail.ListChannelsResponse, error) {
	page, next, err := x.lake.Channels(where(c), value(in.NextToken), int(value(in.MaxResults)))
	if err != nil {
		return nil, err
	}
	out := &cloudtrail.ListChannelsResponse{Channels: make([]cloudtrail.Channel, 0, len(page)), NextToken: some(next)}
	for _, ch := range page {
		out.Channels = append(out.Channels, cloudtrail.Channel{ChannelArn: new(x.lake.ChannelARN(ch)), Name: &ch.Name})
	}
	return out, nil
}

func (x lakeService) updateChannel(_ context.Context, c *awsapi.Call, in *cloudtrail.UpdateChannelRequest) (*cloudtrail.UpdateChannelResponse, error) {
	to, err := locations(in.Destinations)
	if err != nil {
		return nil, err
	}
	ch, undo, err := x.lake.UpdateChannel(where(c), *in.Channel, lake.ChannelChange{Name: in.Name, Destinations: to})
	if err != nil {
		return nil, err
	}
	takeBack(c, undo)
	x.aboutChannel(c, ch)
	return &cloudtrail.UpdateChannelResponse{ChannelArn: new(x.lake.ChannelARN(ch)), Destinations: x.destinations(ch), Name: &ch.Name, Source: &ch.Source}, nil
}

func (x lakeService) deleteChannel(_ context.Context, c *awsapi.Call, in *cloudtrail.DeleteChannelRequest) (*cloudtrail.DeleteChannelResponse, error) {
	ch, err := x.lake.Channel(where(c), *in.Channel)
	if err != nil {
		return nil, err
	}
	undo, err := x.lake.DeleteChannel(where(c), *in.Channel)
	if err != nil {
		return nil, err
	}
	takeBack(c, undo)
	x.aboutChannel(c, ch)
	if x.book != nil {
		change, err := x.book.Forget(x.lake.ChannelARN(ch))
		if err != nil {
			return nil, errors.Join(err, undo())
		}
		pend(c, change)
	}
	return nil, nil
}

// value is what p points to, or the zero value.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// some is nil for no text.
func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func selectorsOf(in []cloudtrail.AdvancedEventSelector) []selector.Advanced {
	var out []selector.Advanced
	for _, s := range in {
		a := selector.Advanced{Name: value(s.Name)}
		for _, f := range s.FieldSelectors {
			a.FieldSelectors = append(a.FieldSelectors, selector.FieldSelector{
				Field: *f.Field, Equals: f.Equals, StartsWith: f.StartsWith, EndsWith: f.EndsWith, NotEquals: f.NotEquals, NotStartsWith: f.NotStartsWith, NotEndsWith: f.NotEndsWith,
			})
		}
		out = append(out, a)
	}
	return out
}

func selectors(in []selector.Advanced) []cloudtrail.AdvancedEventSelector {
	out := make([]cloudtrail.AdvancedEventSelector, len(in))
	for i, s := range in {
		out[i].Name = some(s.Name)
		for _, f := range s.FieldSelectors {
			out[i].FieldSelectors = append(out[i].FieldSelectors, cloudtrail.AdvancedFieldSelector{
				Field: &f.Field, Equals: f.Equals, StartsWith: f.StartsWith, EndsWith: f.EndsWith, NotEquals: f.NotEquals, NotStartsWith: f.NotStartsWith, NotEndsWith: f.NotEndsWith,
			})
		}
	}
	return out
}
