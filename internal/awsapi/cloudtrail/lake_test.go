package cloudtrail_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/cloudtrail"
	"spoor/internal/iam"
	"spoor/internal/lake"
)

// lakeRig is an endpoint with a lake.
type lakeRig struct {
	*awsapitest.Rig
	lake *lake.Lake
}

func newLakeRig(t *testing.T) lakeRig {
	t.Helper()
	l, err := lake.Open(t.Context(), t.TempDir(), lake.Options{Account: awsapitest.Account})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	r := awsapitest.New(t, func(*iam.Service, *slog.Logger) []*awsapi.Service {
		return []*awsapi.Service{cloudtrail.New(cloudtrail.Options{Lake: l})}
	})
	return lakeRig{r, l}
}

func (r lakeRig) client(t *testing.T, name string, role iam.Role) *client.Client {
	t.Helper()
	return client.NewFromConfig(r.Config(r.User(t, name, role)))
}

func outsideSelectors() []types.AdvancedEventSelector {
	return []types.AdvancedEventSelector{{Name: aws.String("outside"), FieldSelectors: []types.AdvancedFieldSelector{{Field: aws.String("eventCategory"), Equals: []string{"ActivityAuditLog"}}}}}
}

// TestLakeOperations calls every operation with AWS's own client, and looks at what was recorded.
func TestLakeOperations(t *testing.T) {
	t.Parallel()
	r, ctx := newLakeRig(t), t.Context()
	c := r.client(t, "ann", iam.RoleAdmin)
	made, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{
		Name: aws.String("outside"), AdvancedEventSelectors: outsideSelectors(), TerminationProtectionEnabled: aws.Bool(false), RetentionPeriod: aws.Int32(90),
		TagsList: []types.Tag{{Key: aws.String("team"), Value: aws.String("x")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	arn := *made.EventDataStoreArn
	if made.Status != types.EventDataStoreStatusCreated || *made.RetentionPeriod != 90 || !*made.MultiRegionEnabled || *made.TagsList[0].Value != "x" || made.BillingMode != "EXTENDABLE_RETENTION_PRICING" ||
		made.AdvancedEventSelectors[0].FieldSelectors[0].Equals[0] != "ActivityAuditLog" || made.CreatedTimestamp.IsZero() {
		t.Errorf("%+v", made)
	}
	rec := r.Book.Last(t)
	if rec["eventName"] != "CreateEventDataStore" || rec["readOnly"] != false || fmt.Sprint(rec["resources"]) != "[map[ARN:"+arn+" accountId:"+awsapitest.Account+" type:AWS::CloudTrail::EventDataStore]]" ||
		rec["responseElements"].(map[string]any)["eventDataStoreArn"] != arn || rec["requestParameters"].(map[string]any)["name"] != "outside" {
		t.Errorf("%v", rec)
	}
	got, err := c.GetEventDataStore(ctx, &client.GetEventDataStoreInput{EventDataStore: aws.String(arn[strings.LastIndex(arn, "/")+1:])})
	if err != nil || got.Status != types.EventDataStoreStatusEnabled || *got.EventDataStoreArn != arn || got.FederationStatus != types.FederationStatusDisabled || *got.TerminationProtectionEnabled || got.KmsKeyId != nil {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := c.UpdateEventDataStore(ctx, &client.UpdateEventDataStoreInput{EventDataStore: &arn, Name: aws.String("renamed"), RetentionPeriod: aws.Int32(30)}); err != nil {
		t.Error(err)
	}
	var names []string
	pages := client.NewListEventDataStoresPaginator(c, &client.ListEventDataStoresInput{MaxResults: aws.Int32(1)})
	for pages.HasMorePages() {
		p, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range p.EventDataStores {
			names = append(names, *s.Name)
		}
	}
	if fmt.Sprint(names) != "[spoor renamed]" {
		t.Errorf("%v", names)
	}
	plain, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: aws.String("plain"), TerminationProtectionEnabled: aws.Bool(false), StartIngestion: aws.Bool(false)})
	if err != nil {
		t.Fatal(err)
	}
	status := func(want types.EventDataStoreStatus, err error) {
		t.Helper()
		got, gerr := c.GetEventDataStore(ctx, &client.GetEventDataStoreInput{EventDataStore: plain.EventDataStoreArn})
		if err != nil || gerr != nil || got.Status != want {
			t.Errorf("%v %v %v, want %s", err, gerr, got, want)
		}
	}
	status("STOPPED_INGESTION", nil)
	_, err = c.StartEventDataStoreIngestion(ctx, &client.StartEventDataStoreIngestionInput{EventDataStore: plain.EventDataStoreArn})
	status("ENABLED", err)
	_, err = c.StopEventDataStoreIngestion(ctx, &client.StopEventDataStoreIngestionInput{EventDataStore: plain.EventDataStoreArn})
	status("STOPPED_INGESTION", err)
	_, err = c.DeleteEventDataStore(ctx, &client.DeleteEventDataStoreInput{EventDataStore: plain.EventDataStoreArn})
	status("PENDING_DELETION", err)
	restored, err := c.RestoreEventDataStore(ctx, &client.RestoreEventDataStoreInput{EventDataStore: plain.EventDataStoreArn})
	status("STOPPED_INGESTION", err)
	if restored == nil || restored.Status != "STOPPED_INGESTION" {
		t.Errorf("%+v", restored)
	}

	ch, err := c.CreateChannel(ctx, &client.CreateChannelInput{
		Name: aws.String("wiki"), Source: aws.String("Custom"), Destinations: []types.Destination{{Type: types.DestinationTypeEventDataStore, Location: &arn}}, Tags: []types.Tag{{Key: aws.String("a")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if *ch.Destinations[0].Location != arn || *ch.Source != "Custom" || len(ch.Tags) != 1 || ch.Tags[0].Value != nil {
		t.Errorf("%+v", ch)
	}
	if _, err := c.UpdateChannel(ctx, &client.UpdateChannelInput{Channel: ch.ChannelArn, Name: aws.String("wiki2")}); err != nil {
		t.Error(err)
	}
	if rec := r.Book.Last(t); fmt.Sprint(rec["resources"]) != "[map[ARN:"+*ch.ChannelArn+" accountId:"+awsapitest.Account+" type:AWS::CloudTrail::Channel]]" {
		t.Errorf("%v", rec)
	}
	if got, err := c.GetChannel(ctx, &client.GetChannelInput{Channel: ch.ChannelArn}); err != nil || *got.Name != "wiki2" || got.IngestionStatus != nil {
		t.Errorf("%+v %v", got, err)
	}
	if got, err := c.ListChannels(ctx, &client.ListChannelsInput{MaxResults: aws.Int32(1)}); err != nil || len(got.Channels) != 1 || *got.Channels[0].ChannelArn != *ch.ChannelArn || got.NextToken != nil {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := c.AddTags(ctx, &client.AddTagsInput{ResourceId: ch.ChannelArn, TagsList: []types.Tag{{Key: aws.String("b"), Value: aws.String("2")}}}); err != nil {
		t.Error(err)
	}
	if _, err := c.RemoveTags(ctx, &client.RemoveTagsInput{ResourceId: ch.ChannelArn, TagsList: []types.Tag{{Key: aws.String("a")}}}); err != nil {
		t.Error(err)
	}
	tags, err := c.ListTags(ctx, &client.ListTagsInput{ResourceIdList: []string{*ch.ChannelArn, arn}})
	if err != nil || len(tags.ResourceTagList) != 2 || *tags.ResourceTagList[0].TagsList[0].Key != "b" || *tags.ResourceTagList[1].ResourceId != arn || *tags.ResourceTagList[1].TagsList[0].Key != "team" {
		t.Errorf("%+v %v", tags, err)
	}
	if _, err := c.DeleteChannel(ctx, &client.DeleteChannelInput{Channel: ch.ChannelArn}); err != nil {
		t.Error(err)
	}
	if _, err := c.GetChannel(ctx, &client.GetChannelInput{Channel: ch.ChannelArn}); !errors.As(err, new(*types.ChannelNotFoundException)) {
		t.Error(err)
	}
}

// TestLakeRefusals: refusals are AWS's exceptions, and nothing changes.
func TestLakeRefusals(t *testing.T) {
	t.Parallel()
	r, ctx := newLakeRig(t), t.Context()
	c := r.client(t, "ann", iam.RoleAdmin)
	s, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: aws.String("outside"), AdvancedEventSelectors: outsideSelectors()})
	if err != nil {
		t.Fatal(err)
	}
	arn := s.EventDataStoreArn
	missing := aws.String(strings.Replace(*arn, (*arn)[len(*arn)-12:], "000000000000", 1))
	builtIn, err := c.ListEventDataStores(ctx, &client.ListEventDataStoresInput{})
	if err != nil {
		t.Fatal(err)
	}
	create := func(change func(*client.CreateEventDataStoreInput)) error {
		in := &client.CreateEventDataStoreInput{Name: aws.String("new")}
		change(in)
		_, err := c.CreateEventDataStore(ctx, in)
		return err
	}
	err1 := func(_ any, err error) error { return err }
	for i, x := range []struct {
		err  error
		code string
	}{
		{create(func(in *client.CreateEventDataStoreInput) { in.Name = aws.String("outside") }), "EventDataStoreAlreadyExistsException"},
		{create(func(in *client.CreateEventDataStoreInput) { in.Name = aws.String("a b") }), "InvalidParameterException"},
		{create(func(in *client.CreateEventDataStoreInput) { in.RetentionPeriod = aws.Int32(6) }), "InvalidParameterException"},
		{create(func(in *client.CreateEventDataStoreInput) {
			in.RetentionPeriod, in.BillingMode = aws.Int32(3000), types.BillingModeFixedRetentionPricing
		}), "InvalidParameterException"},
		{create(func(in *client.CreateEventDataStoreInput) { in.KmsKeyId = aws.String("alias/x") }), "KmsException"},
		{create(func(in *client.CreateEventDataStoreInput) { in.OrganizationEnabled = aws.Bool(true) }), "OrganizationsNotInUseException"},
		{create(func(in *client.CreateEventDataStoreInput) {
			in.AdvancedEventSelectors = []types.AdvancedEventSelector{{FieldSelectors: []types.AdvancedFieldSelector{{Field: aws.String("x"), Equals: []string{"x"}}}}}
		}), "InvalidEventSelectorsException"},
		{create(func(in *client.CreateEventDataStoreInput) {
			in.AdvancedEventSelectors = []types.AdvancedEventSelector{{FieldSelectors: []types.AdvancedFieldSelector{{Field: aws.String(""), Equals: []string{"x"}}}}}
		}), "InvalidEventSelectorsException"},
		{create(func(in *client.CreateEventDataStoreInput) { in.TagsList = []types.Tag{{Key: aws.String("")}} }), "InvalidTagParameterException"},
		{err1(c.GetEventDataStore(ctx, &client.GetEventDataStoreInput{EventDataStore: aws.String("x y")})), "EventDataStoreARNInvalidException"},
		{err1(c.GetEventDataStore(ctx, &client.GetEventDataStoreInput{EventDataStore: aws.String("nothing")})), "EventDataStoreARNInvalidException"},
		{err1(c.GetEventDataStore(ctx, &client.GetEventDataStoreInput{EventDataStore: missing})), "EventDataStoreNotFoundException"},
		{err1(c.UpdateEventDataStore(ctx, &client.UpdateEventDataStoreInput{EventDataStore: arn})), "InvalidParameterException"},
		{err1(c.DeleteEventDataStore(ctx, &client.DeleteEventDataStoreInput{EventDataStore: arn})), "EventDataStoreTerminationProtectedException"},
		{err1(c.DeleteEventDataStore(ctx, &client.DeleteEventDataStoreInput{EventDataStore: builtIn.EventDataStores[0].EventDataStoreArn})), "OperationNotPermittedException"},
		{err1(c.RestoreEventDataStore(ctx, &client.RestoreEventDataStoreInput{EventDataStore: arn})), "InvalidEventDataStoreStatusException"},
		{err1(c.StopEventDataStoreIngestion(ctx, &client.StopEventDataStoreIngestionInput{EventDataStore: arn})), "InvalidEventDataStoreCategoryException"},
		{err1(c.ListEventDataStores(ctx, &client.ListEventDataStoresInput{NextToken: aws.String("abcd")})), "InvalidNextTokenException"},
		{err1(c.ListEventDataStores(ctx, &client.ListEventDataStoresInput{NextToken: aws.String("a")})), "InvalidNextTokenException"},
		{err1(c.ListEventDataStores(ctx, &client.ListEventDataStoresInput{MaxResults: aws.Int32(1001)})), "InvalidMaxResultsException"},
		{err1(c.ListChannels(ctx, &client.ListChannelsInput{MaxResults: aws.Int32(0)})), "ValidationException"},
		{err1(c.ListChannels(ctx, &client.ListChannelsInput{NextToken: aws.String("abcd")})), "InvalidNextTokenException"},
		{err1(c.GetChannel(ctx, &client.GetChannelInput{Channel: arn})), "ChannelARNInvalidException"},
		{err1(c.CreateChannel(ctx, &client.CreateChannelInput{Name: aws.String("wiki"), Source: aws.String("aws-x"), Destinations: []types.Destination{{Type: "EVENT_DATA_STORE", Location: arn}}})), "InvalidSourceException"},
		{err1(c.CreateChannel(ctx, &client.CreateChannelInput{Name: aws.String("wiki"), Source: aws.String("Custom"), Destinations: []types.Destination{{Type: "AWS_SERVICE", Location: arn}}})), "InvalidParameterException"},
		{err1(c.CreateChannel(ctx, &client.CreateChannelInput{Name: aws.String("wiki"), Source: aws.String("Custom"), Destinations: []types.Destination{{Type: "EVENT_DATA_STORE", Location: missing}}})), "EventDataStoreNotFoundException"},
		{err1(c.ListTags(ctx, &client.ListTagsInput{ResourceIdList: []string{*arn}, NextToken: aws.String("x")})), "InvalidTokenException"},
		{err1(c.ListTags(ctx, &client.ListTagsInput{ResourceIdList: strings.Split(strings.Repeat(*arn+" ", 21), " ")[:21]})), "ValidationException"},
		{err1(c.AddTags(ctx, &client.AddTagsInput{ResourceId: aws.String("x"), TagsList: []types.Tag{{Key: aws.String("k")}}})), "CloudTrailARNInvalidException"},
	} {
		if code, message := awsapitest.Code(x.err); code != x.code || message == "" {
			t.Errorf("case %d: %s: %s; want %s", i, code, message, x.code)
		}
	}
	if rec := r.Book.Last(t); rec["errorCode"] != "CloudTrailARNInvalidException" || rec["responseElements"] != nil {
		t.Errorf("%v", rec)
	}
	// Roles: an analyst sees stores and changes none, an auditor sees channels too, a recorder none of it.
	for name, role := range map[string]iam.Role{"an": iam.RoleAnalyst, "au": iam.RoleAuditor, "re": iam.RoleRecorder} {
		c := r.client(t, name, role)
		for operation, x := range map[string]struct {
			err error
			may bool
		}{
			"get":      {err1(c.GetEventDataStore(ctx, &client.GetEventDataStoreInput{EventDataStore: arn})), role != iam.RoleRecorder},
			"channels": {err1(c.ListChannels(ctx, &client.ListChannelsInput{})), role == iam.RoleAuditor},
			"update":   {err1(c.UpdateEventDataStore(ctx, &client.UpdateEventDataStoreInput{EventDataStore: arn, Name: aws.String("mine")})), false},
		} {
			if code, _ := awsapitest.Code(x.err); (code == "") != x.may || code != "" && code != "AccessDeniedException" {
				t.Errorf("%s %s: %v", role, operation, x.err)
			}
		}
	}
}

// TestLakeUnrecorded: what cannot be recorded fails, and leaves the state as it was.
func TestLakeUnrecorded(t *testing.T) {
	t.Parallel()
	r, ctx := newLakeRig(t), t.Context()
	c := r.client(t, "ann", iam.RoleAdmin)
	w := lake.Where{Account: awsapitest.Account, Region: awsapitest.Region}
	outside, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: aws.String("outside"), AdvancedEventSelectors: outsideSelectors(), TerminationProtectionEnabled: aws.Bool(false)})
	if err != nil {
		t.Fatal(err)
	}
	to := []types.Destination{{Type: "EVENT_DATA_STORE", Location: outside.EventDataStoreArn}}
	store := func(name string, start, gone bool) *string {
		s, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: &name, StartIngestion: &start, TerminationProtectionEnabled: aws.Bool(false)})
		if err != nil {
			t.Fatal(err)
		}
		if gone {
			if _, err := c.DeleteEventDataStore(ctx, &client.DeleteEventDataStoreInput{EventDataStore: s.EventDataStoreArn}); err != nil {
				t.Fatal(err)
			}
		}
		return s.EventDataStoreArn
	}
	running, stopped, gone := store("running", true, false), store("stopped", false, false), store("gone", true, true)
	ch, err := c.CreateChannel(ctx, &client.CreateChannelInput{Name: aws.String("wiki"), Source: aws.String("Custom"), Destinations: to, Tags: []types.Tag{{Key: aws.String("a")}}})
	if err != nil {
		t.Fatal(err)
	}
	state := func() string {
		stores, _, err := r.lake.Stores(w, "", 0)
		channels, _, err2 := r.lake.Channels(w, "", 0)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%+v %+v", stores, channels)
	}
	before, records := state(), len(r.Book.Records())
	r.Book.Fail(errors.New("the disk is full"))
	k := []types.Tag{{Key: aws.String("a"), Value: aws.String("changed")}}
	err1 := func(_ any, err error) error { return err }
	for name, call := range map[string]func() error{
		"CreateEventDataStore": func() error {
			return err1(c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: aws.String("new")}))
		},
		"UpdateEventDataStore": func() error {
			return err1(c.UpdateEventDataStore(ctx, &client.UpdateEventDataStoreInput{EventDataStore: running, Name: aws.String("other")}))
		},
		"DeleteEventDataStore": func() error {
			return err1(c.DeleteEventDataStore(ctx, &client.DeleteEventDataStoreInput{EventDataStore: running}))
		},
		"RestoreEventDataStore": func() error {
			return err1(c.RestoreEventDataStore(ctx, &client.RestoreEventDataStoreInput{EventDataStore: gone}))
		},
		"StartEventDataStoreIngestion": func() error {
			return err1(c.StartEventDataStoreIngestion(ctx, &client.StartEventDataStoreIngestionInput{EventDataStore: stopped}))
		},
		"StopEventDataStoreIngestion": func() error {
			return err1(c.StopEventDataStoreIngestion(ctx, &client.StopEventDataStoreIngestionInput{EventDataStore: running}))
		},
		"CreateChannel": func() error {
			return err1(c.CreateChannel(ctx, &client.CreateChannelInput{Name: aws.String("new"), Source: aws.String("New"), Destinations: to}))
		},
		"UpdateChannel": func() error {
			return err1(c.UpdateChannel(ctx, &client.UpdateChannelInput{Channel: ch.ChannelArn, Name: aws.String("other")}))
		},
		"DeleteChannel": func() error { return err1(c.DeleteChannel(ctx, &client.DeleteChannelInput{Channel: ch.ChannelArn})) },
		"AddTags":       func() error { return err1(c.AddTags(ctx, &client.AddTagsInput{ResourceId: running, TagsList: k})) },
		"RemoveTags": func() error {
			return err1(c.RemoveTags(ctx, &client.RemoveTagsInput{ResourceId: ch.ChannelArn, TagsList: k}))
		},
		"GetChannel": func() error { return err1(c.GetChannel(ctx, &client.GetChannelInput{Channel: ch.ChannelArn})) },
	} {
		if code, _ := awsapitest.Code(call()); code != "InternalFailure" || state() != before {
			t.Errorf("%s: %s, and then\n%s\nwant\n%s", name, code, state(), before)
		}
	}
	if n := len(r.Book.Records()); n != records {
		t.Errorf("%d records, want %d", n, records)
	}
	r.Book.Fail(nil)
	if _, err := c.UpdateEventDataStore(ctx, &client.UpdateEventDataStoreInput{EventDataStore: running, Name: aws.String("other")}); err != nil || state() == before {
		t.Errorf("%v", err)
	}
}
