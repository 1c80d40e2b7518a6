package cloudtrail

import (
	"context"
	"errors"
	"strings"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/awsapi/page"
	"spoor/internal/awsapi/wire"
	"spoor/internal/recorder"
	"spoor/internal/refusal"
	"spoor/internal/selector"
	"spoor/internal/trail"
	"spoor/internal/trail/digest"
)

// Deliveries tell how a trail's deliveries from a Region are doing.
type Deliveries interface {
	Status(trailARN, region string) trail.Status
}

// PublicKeys tell the keys of a Region that digests of a time verify with. [spoor/internal/trail/signing.Keys] is one.
type PublicKeys interface {
	Public(region string, start, end time.Time) []digest.PublicKey
}

// trailService are the handlers of trails.
type trailService struct {
	book       *trail.Book
	lake       Lake
	buckets    Buckets
	external   External
	keys       Keys
	topics     Topics
	deliveries Deliveries
	public     PublicKeys
}

func registerTrails(s *awsapi.Service, o Options) {
	x := trailService{o.Trails, o.Lake, o.Buckets, o.External, o.Keys, o.Topics, o.Deliveries, o.PublicKeys}
	awsapi.Handle(s, "CreateTrail", trailHandler(x, x.create), onTrail(func(in *cloudtrail.CreateTrailRequest) *string { return in.Name }))
	awsapi.Handle(s, "UpdateTrail", trailHandler(x, x.update), onTrail(func(in *cloudtrail.UpdateTrailRequest) *string { return in.Name }))
	awsapi.Handle(s, "DeleteTrail", trailHandler(x, x.remove), onTrail(func(in *cloudtrail.DeleteTrailRequest) *string { return in.Name }))
	awsapi.Handle(s, "GetTrail", trailHandler(x, x.get), onTrail(func(in *cloudtrail.GetTrailRequest) *string { return in.Name }))
	awsapi.Handle(s, "DescribeTrails", trailHandler(x, x.describe))
	awsapi.Handle(s, "ListTrails", trailHandler(x, x.list))
	awsapi.Handle(s, "GetTrailStatus", trailHandler(x, x.status), onTrail(func(in *cloudtrail.GetTrailStatusRequest) *string { return in.Name }))
	awsapi.Handle(s, "StartLogging", trailHandler(x, x.start), onTrail(func(in *cloudtrail.StartLoggingRequest) *string { return in.Name }))
	awsapi.Handle(s, "StopLogging", trailHandler(x, x.stop), onTrail(func(in *cloudtrail.StopLoggingRequest) *string { return in.Name }))
	awsapi.Handle(s, "PutEventSelectors", trailHandler(x, x.putSelectors), onTrail(func(in *cloudtrail.PutEventSelectorsRequest) *string { return in.TrailName }))
	awsapi.Handle(s, "GetEventSelectors", trailHandler(x, x.getSelectors), onTrail(func(in *cloudtrail.GetEventSelectorsRequest) *string { return in.TrailName }))
	awsapi.Handle(s, "ListPublicKeys", x.listKeys)
	registerInsights(s, x)
	registerPolicies(s, x)
	registerDelegates(s, x)
	registerTags(s, x)
}

// told makes a refusal of a part what the caller is told.
func told(err error) error {
	if refused, ok := errors.AsType[*refusal.Error](err); ok {
		return awsapi.Errorf(refused.Code, "%s", refused.Message)
	}
	return err
}

// trailHandler is a handler whose refusals are those of packages trail and lake.
func trailHandler[In, Out any](x trailService, h func(context.Context, *awsapi.Call, *In) (*Out, error)) func(context.Context, *awsapi.Call, *In) (*Out, error) {
	return func(ctx context.Context, c *awsapi.Call, in *In) (*Out, error) {
		if x.book == nil {
			return nil, errors.New("there are no trails")
		}
		out, err := h(ctx, c, in)
		return out, told(err)
	}
}

// onTrail names the trail that a call needs a permission for. What has not the form of one is refused by the handler; until then
// the permission for all is needed.
func onTrail[In any](of func(*In) *string) awsapi.Option {
	return awsapi.On(func(c *awsapi.Call, in *In) []string { return trailARNs(c, value(of(in))) })
}

func trailARNs(c *awsapi.Call, ref string) []string {
	if !strings.Contains(ref, ":") {
		ref = trail.ARN{Partition: c.Partition, Region: c.Region, Account: c.Account, Name: ref}.String()
	}
	if _, err := trail.ParseARN(ref); err != nil {
		return nil
	}
	return []string{ref}
}

func at(c *awsapi.Call) trail.Where { return trail.Where{Account: c.Account, Region: c.Region} }

// pend registers both ends of a change of the book, which logs what goes wrong with them.
func pend(c *awsapi.Call, change *trail.Change) {
	c.OnUnrecorded(func(context.Context) { _ = change.Undo() })
	c.OnRecorded(func(ctx context.Context) { _ = change.Recorded(ctx) })
}

// aboutTrail tells the record which trail a call is about.
func aboutTrail(c *awsapi.Call, t trail.Info) {
	c.Resource(recorder.Resource{ARN: t.ARN, AccountID: t.Account, Type: "AWS::CloudTrail::Trail"})
}

// changed tells of a change of a trail.
func changed(c *awsapi.Call, t trail.Info, change *trail.Change) {
	pend(c, change)
	aboutTrail(c, t)
}

// invalidTrail names the exceptions for what the model does not allow.
func invalidTrail(operation string, v []wire.Violation) *awsapi.Error {
	code := ""
	switch m := v[0].Member; operation {
	case "CreateTrail":
		if m == "TagsList" {
			code = "InvalidTagParameterException"
		}
	case "PutEventSelectors":
		if m == "EventSelectors" || m == "AdvancedEventSelectors" {
			code = "InvalidEventSelectorsException"
		}
	case "PutInsightSelectors", "GetInsightSelectors":
		if code = "InvalidParameterException"; m == "InsightSelectors" {
			code = "InvalidInsightSelectorsException"
		}
	case "PutEventConfiguration", "GetEventConfiguration", "RegisterOrganizationDelegatedAdmin", "DeregisterOrganizationDelegatedAdmin":
		code = "InvalidParameterException"
	case "PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy":
		if code = "ResourceARNNotValidException"; m == "ResourcePolicy" {
			code = "ResourcePolicyNotValidException"
		}
	}
	if code == "" {
		return nil
	}
	return awsapi.Errorf(code, "%s", wire.Message(v))
}

func (x trailService) create(ctx context.Context, c *awsapi.Call, in *cloudtrail.CreateTrailRequest) (*cloudtrail.CreateTrailResponse, error) {
	if err := checkLogs(in.CloudWatchLogsLogGroupArn, in.CloudWatchLogsRoleArn); err != nil {
		return nil, err
	}
	spec := trail.Spec{
		Name: *in.Name, Bucket: *in.S3BucketName, Prefix: value(in.S3KeyPrefix), GlobalServiceEvents: in.IncludeGlobalServiceEvents,
		MultiRegion: value(in.IsMultiRegionTrail), Validation: value(in.EnableLogFileValidation), Organization: value(in.IsOrganizationTrail), Tags: tagsOf(in.TagsList),
	}
	var err error
	if spec.KMSKey, err = x.key(c, value(in.KmsKeyId)); err != nil {
		return nil, err
	}
	if spec.Topic, err = x.topic(c, value(in.SnsTopicName)); err != nil {
		return nil, err
	}
	t, change, err := x.book.Create(ctx, at(c), spec, x.check(c.Time))
	if err != nil {
		return nil, err
	}
	changed(c, t, change)
	m := model(t)
	return &cloudtrail.CreateTrailResponse{
		IncludeGlobalServiceEvents: m.IncludeGlobalServiceEvents, IsMultiRegionTrail: m.IsMultiRegionTrail, IsOrganizationTrail: m.IsOrganizationTrail, KmsKeyId: m.KmsKeyId,
		LogFileValidationEnabled: m.LogFileValidationEnabled, Name: m.Name, S3BucketName: m.S3BucketName, S3KeyPrefix: m.S3KeyPrefix, SnsTopicARN: m.SnsTopicARN,
		SnsTopicName: m.SnsTopicName, TrailARN: m.TrailARN,
	}, nil
}

// model is a trail in the words of the model.
func model(t trail.Info) *cloudtrail.Trail {
	s := t.Settings
	out := &cloudtrail.Trail{
		HasCustomEventSelectors: &t.CustomSelectors, HasInsightSelectors: new(len(t.Insights) > 0), HomeRegion: &t.HomeRegion, IncludeGlobalServiceEvents: &s.GlobalServiceEvents,
		IsMultiRegionTrail: &s.MultiRegion, IsOrganizationTrail: &s.Organization, KmsKeyId: some(s.KMSKey), LogFileValidationEnabled: &s.Validation, Name: &t.Name,
		S3BucketName: &s.Bucket, S3KeyPrefix: some(s.Prefix), SnsTopicARN: some(s.Topic), TrailARN: &t.ARN,
	}
	if s.Topic != "" {
		out.SnsTopicName = new(s.Topic[strings.LastIndexByte(s.Topic, ':')+1:])
	}
	return out
}

func (x trailService) update(ctx context.Context, c *awsapi.Call, in *cloudtrail.UpdateTrailRequest) (*cloudtrail.UpdateTrailResponse, error) {
	if err := checkLogs(in.CloudWatchLogsLogGroupArn, in.CloudWatchLogsRoleArn); err != nil {
		return nil, err
	}
	u := trail.Update{
		Bucket: in.S3BucketName, Prefix: in.S3KeyPrefix, GlobalServiceEvents: in.IncludeGlobalServiceEvents, MultiRegion: in.IsMultiRegionTrail,
		Validation: in.EnableLogFileValidation, Organization: in.IsOrganizationTrail,
	}
	if in.KmsKeyId != nil {
		arn, err := x.key(c, *in.KmsKeyId)
		if err != nil {
			return nil, err
		}
		u.KMSKey = &arn
	}
	if in.SnsTopicName != nil {
		arn, err := x.topic(c, *in.SnsTopicName)
		if err != nil {
			return nil, err
		}
		u.Topic = &arn
	}
	t, change, err := x.book.Update(ctx, at(c), *in.Name, u, x.check(c.Time))
	if err != nil {
		return nil, err
	}
	changed(c, t, change)
	m := model(t)
	return &cloudtrail.UpdateTrailResponse{
		IncludeGlobalServiceEvents: m.IncludeGlobalServiceEvents, IsMultiRegionTrail: m.IsMultiRegionTrail, IsOrganizationTrail: m.IsOrganizationTrail, KmsKeyId: m.KmsKeyId,
		LogFileValidationEnabled: m.LogFileValidationEnabled, Name: m.Name, S3BucketName: m.S3BucketName, S3KeyPrefix: m.S3KeyPrefix, SnsTopicARN: m.SnsTopicARN,
		SnsTopicName: m.SnsTopicName, TrailARN: m.TrailARN,
	}, nil
}

func (x trailService) remove(_ context.Context, c *awsapi.Call, in *cloudtrail.DeleteTrailRequest) (*cloudtrail.DeleteTrailResponse, error) {
	t, change, err := x.book.Delete(at(c), *in.Name)
	if err != nil {
		return nil, err
	}
	changed(c, t, change)
	return nil, nil
}

func (x trailService) get(_ context.Context, c *awsapi.Call, in *cloudtrail.GetTrailRequest) (*cloudtrail.GetTrailResponse, error) {
	t, err := x.book.Trail(at(c), value(in.Name))
	if err != nil {
		return nil, err
	}
	aboutTrail(c, t)
	return &cloudtrail.GetTrailResponse{Trail: model(t)}, nil
}

func (x trailService) describe(_ context.Context, c *awsapi.Call, in *cloudtrail.DescribeTrailsRequest) (*cloudtrail.DescribeTrailsResponse, error) {
	shadows := in.IncludeShadowTrails == nil || *in.IncludeShadowTrails
	ts, err := x.book.Trails(at(c), in.TrailNameList, shadows)
	if err != nil {
		return nil, err
	}
	out := &cloudtrail.DescribeTrailsResponse{TrailList: make([]cloudtrail.Trail, 0, len(ts))}
	for _, t := range ts {
		out.TrailList = append(out.TrailList, *model(t))
	}
	return out, nil
}

// pageSize is how many trails ListTrails answers at once.
const pageSize = 100

func (x trailService) list(_ context.Context, c *awsapi.Call, in *cloudtrail.ListTrailsRequest) (*cloudtrail.ListTrailsResponse, error) {
	ts, next, err := page.Cut(x.book.All(c.Account), func(t trail.Info) string { return t.ARN }, in.NextToken, pageSize, "ListTrails", c.Account)
	if err != nil {
		return nil, awsapi.Errorf(awsapi.Validation, "The token is not one of this list.")
	}
	out := &cloudtrail.ListTrailsResponse{Trails: make([]cloudtrail.TrailInfo, 0, len(ts)), NextToken: next}
	for _, t := range ts {
		out.Trails = append(out.Trails, cloudtrail.TrailInfo{HomeRegion: &t.HomeRegion, Name: &t.Name, TrailARN: &t.ARN})
	}
	return out, nil
}

// legacy is a time as the members have it that are there for old clients.
func legacy(t time.Time) *string {
	if t.IsZero() {
		return new("")
	}
	return new(t.UTC().Format(time.RFC3339))
}

func (x trailService) status(_ context.Context, c *awsapi.Call, in *cloudtrail.GetTrailStatusRequest) (*cloudtrail.GetTrailStatusResponse, error) {
	t, err := x.book.Trail(at(c), *in.Name)
	if err != nil {
		return nil, err
	}
	aboutTrail(c, t)
	var s trail.Status
	if x.deliveries != nil {
		s = x.deliveries.Status(t.ARN, c.Region)
	}
	return &cloudtrail.GetTrailStatusResponse{
		IsLogging: &t.Settings.Logging, LatestDeliveryTime: when(s.LatestDelivery), LatestDeliveryError: some(s.LatestDeliveryError),
		LatestNotificationTime: when(s.LatestNotification), LatestNotificationError: some(s.LatestNotificationError),
		LatestDigestDeliveryTime: when(s.LatestDigestDelivery), LatestDigestDeliveryError: some(s.LatestDigestDeliveryError),
		StartLoggingTime: when(t.Started), StopLoggingTime: when(t.Stopped),
		LatestDeliveryAttemptTime: legacy(s.LatestDeliveryAttempt), LatestDeliveryAttemptSucceeded: legacy(s.LatestDeliveryAttemptSucceeded),
		LatestNotificationAttemptTime: legacy(s.LatestNotificationAttempt), LatestNotificationAttemptSucceeded: legacy(s.LatestNotificationAttemptSucceeded),
		TimeLoggingStarted: legacy(t.Started), TimeLoggingStopped: legacy(t.Stopped),
	}, nil
}

func (x trailService) setLogging(c *awsapi.Call, ref string, on bool) error {
	t, change, err := x.book.SetLogging(at(c), ref, on)
	if err != nil {
		return err
	}
	changed(c, t, change)
	return nil
}

func (x trailService) start(_ context.Context, c *awsapi.Call, in *cloudtrail.StartLoggingRequest) (*cloudtrail.StartLoggingResponse, error) {
	return nil, x.setLogging(c, *in.Name, true)
}

func (x trailService) stop(_ context.Context, c *awsapi.Call, in *cloudtrail.StopLoggingRequest) (*cloudtrail.StopLoggingResponse, error) {
	return nil, x.setLogging(c, *in.Name, false)
}

// basicOf are basic event selectors with their defaults.
func basicOf(in []cloudtrail.EventSelector) []selector.Basic {
	var out []selector.Basic
	for _, s := range in {
		b := selector.Basic{ReadWriteType: value(s.ReadWriteType), IncludeManagementEvents: s.IncludeManagementEvents == nil || *s.IncludeManagementEvents, ExcludeManagementEventSources: s.ExcludeManagementEventSources}
		if b.ReadWriteType == "" {
			b.ReadWriteType = "All"
		}
		for _, r := range s.DataResources {
			b.DataResources = append(b.DataResources, selector.DataResource{Type: value(r.Type), Values: r.Values})
		}
		out = append(out, b)
	}
	return out
}

func basic(in []selector.Basic) []cloudtrail.EventSelector {
	out := make([]cloudtrail.EventSelector, len(in))
	for i, s := range in {
		out[i] = cloudtrail.EventSelector{
			ReadWriteType: &s.ReadWriteType, IncludeManagementEvents: &s.IncludeManagementEvents, DataResources: []cloudtrail.DataResource{},
			ExcludeManagementEventSources: append([]string{}, s.ExcludeManagementEventSources...),
		}
		for _, r := range s.DataResources {
			out[i].DataResources = append(out[i].DataResources, cloudtrail.DataResource{Type: &r.Type, Values: r.Values})
		}
	}
	return out
}

// selected are the event selectors of a trail: those of one kind.
func selected(t trail.Info) (b []cloudtrail.EventSelector, advanced []cloudtrail.AdvancedEventSelector) {
	switch s := t.Settings; {
	case s.Advanced != nil:
		return nil, selectors(s.Advanced)
	case s.Basic != nil:
		return basic(s.Basic), nil
	}
	return basic(trail.DefaultSelectors()), nil
}

func (x trailService) putSelectors(_ context.Context, c *awsapi.Call, in *cloudtrail.PutEventSelectorsRequest) (*cloudtrail.PutEventSelectorsResponse, error) {
	t, change, err := x.book.PutSelectors(at(c), *in.TrailName, basicOf(in.EventSelectors), selectorsOf(in.AdvancedEventSelectors))
	if err != nil {
		return nil, err
	}
	changed(c, t, change)
	out := &cloudtrail.PutEventSelectorsResponse{TrailARN: &t.ARN}
	out.EventSelectors, out.AdvancedEventSelectors = selected(t)
	return out, nil
}

func (x trailService) getSelectors(_ context.Context, c *awsapi.Call, in *cloudtrail.GetEventSelectorsRequest) (*cloudtrail.GetEventSelectorsResponse, error) {
	t, err := x.book.Trail(at(c), *in.TrailName)
	if err != nil {
		return nil, err
	}
	aboutTrail(c, t)
	out := &cloudtrail.GetEventSelectorsResponse{TrailARN: &t.ARN}
	out.EventSelectors, out.AdvancedEventSelectors = selected(t)
	return out, nil
}

// listKeys gives the keys that digests of a time range verify with, in one page.
func (x trailService) listKeys(_ context.Context, c *awsapi.Call, in *cloudtrail.ListPublicKeysRequest) (*cloudtrail.ListPublicKeysResponse, error) {
	if x.public == nil {
		return nil, errors.New("there are no keys of digests")
	}
	if in.NextToken != nil {
		return nil, awsapi.Errorf("InvalidTokenException", "The token is not one of this list, which has one page.")
	}
	start, end := c.Time, c.Time
	if in.EndTime != nil {
		end = *in.EndTime
	}
	switch {
	case in.StartTime != nil:
		start = *in.StartTime
	case in.EndTime != nil && end.Before(start):
		start = end
	}
	if start.After(end) {
		return nil, awsapi.Errorf("InvalidTimeRangeException", "The start time, %s, is after the end time, %s.", start.UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339))
	}
	out := &cloudtrail.ListPublicKeysResponse{PublicKeyList: []cloudtrail.PublicKey{}}
	for _, k := range x.public.Public(c.Region, start, end) {
		out.PublicKeyList = append(out.PublicKeyList, cloudtrail.PublicKey{Fingerprint: &k.Fingerprint, ValidityStartTime: &k.Start, ValidityEndTime: &k.End, Value: k.DER})
	}
	return out, nil
}
