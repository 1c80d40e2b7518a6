package cloudtrail

import (
	"context"
	"errors"
	"slices"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/lake"
	"spoor/internal/recorder"
	"spoor/internal/selector"
	"spoor/internal/trail"
)

func registerInsights(s *awsapi.Service, x trailService) {
	awsapi.Handle(s, "PutInsightSelectors", trailHandler(x, x.putInsights), onEither(func(in *cloudtrail.PutInsightSelectorsRequest) (trail, store *string) {
		return in.TrailName, in.EventDataStore
	}))
	awsapi.Handle(s, "GetInsightSelectors", trailHandler(x, x.getInsights), onEither(func(in *cloudtrail.GetInsightSelectorsRequest) (trail, store *string) {
		return in.TrailName, in.EventDataStore
	}))
	awsapi.Handle(s, "PutEventConfiguration", trailHandler(x, x.putEvents), onEither(func(in *cloudtrail.PutEventConfigurationRequest) (trail, store *string) {
		return in.TrailName, in.EventDataStore
	}))
	awsapi.Handle(s, "GetEventConfiguration", trailHandler(x, x.getEvents), onEither(func(in *cloudtrail.GetEventConfigurationRequest) (trail, store *string) {
		return in.TrailName, in.EventDataStore
	}))
}

// onEither names the trail or the event data store that a call needs a permission for.
func onEither[In any](of func(*In) (trail, store *string)) awsapi.Option {
	return awsapi.On(func(c *awsapi.Call, in *In) []string {
		t, s := of(in)
		switch {
		case t != nil && s == nil:
			return trailARNs(c, *t)
		case t == nil && s != nil:
			if arn := resourceARN(c, "eventdatastore", *s); lake.IsARN(arn) {
				return []string{arn}
			}
		}
		return nil
	})
}

// oneTarget refuses calls that name both, or neither, of a trail and an event data store.
func oneTarget(t, s *string) error {
	switch {
	case t != nil && s != nil:
		return awsapi.Errorf("InvalidParameterCombinationException", "TrailName and EventDataStore cannot be given together.")
	case t == nil && s == nil:
		return awsapi.Errorf("InvalidParameterException", "Either TrailName or EventDataStore is needed.")
	}
	return nil
}

// store finds an event data store and its ARN, and tells the record that the call is about it.
func (x trailService) store(c *awsapi.Call, ref string) (lake.EventDataStore, string, error) {
	if x.lake == nil {
		return lake.EventDataStore{}, "", errors.New("there is no lake")
	}
	s, err := x.lake.Store(where(c), ref)
	if err != nil {
		return s, "", err
	}
	arn := x.lake.StoreARN(s)
	c.Resource(recorder.Resource{ARN: arn, AccountID: s.Account, Type: "AWS::CloudTrail::EventDataStore"})
	return s, arn, nil
}

// builtIn refuses changes of the event data store that is always there.
func builtIn(s lake.EventDataStore) error {
	if s.ID == lake.BuiltInID(s.Account) {
		return awsapi.Errorf("OperationNotPermittedException", "The event data store %s is always there, and cannot be changed.", lake.BuiltIn)
	}
	return nil
}

func insightsOf(in []cloudtrail.InsightSelector) []trail.InsightSelector {
	var out []trail.InsightSelector
	for _, s := range in {
		out = append(out, trail.InsightSelector{Type: value(s.InsightType), Categories: s.EventCategories})
	}
	return out
}

func insights(in []trail.InsightSelector) []cloudtrail.InsightSelector {
	out := make([]cloudtrail.InsightSelector, len(in))
	for i, s := range in {
		out[i] = cloudtrail.InsightSelector{InsightType: &s.Type, EventCategories: s.Categories}
	}
	return out
}

func (x trailService) putInsights(ctx context.Context, c *awsapi.Call, in *cloudtrail.PutInsightSelectorsRequest) (*cloudtrail.PutInsightSelectorsResponse, error) {
	if err := oneTarget(in.TrailName, in.EventDataStore); err != nil {
		return nil, err
	}
	given := insightsOf(in.InsightSelectors)
	if in.TrailName != nil {
		if in.InsightsDestination != nil {
			return nil, awsapi.Errorf("InvalidParameterCombinationException", "InsightsDestination belongs to an EventDataStore.")
		}
		t, err := x.book.Trail(at(c), *in.TrailName)
		if err != nil {
			return nil, err
		}
		if t.Insights = given; len(given) > 0 { // Insight events go to a folder of their own
			if err := x.checkBucket(ctx, c.Time, t); err != nil {
				return nil, err
			}
			if err := x.checkKey(ctx, c.Time, t); err != nil {
				return nil, err
			}
		}
		t, change, err := x.book.PutInsights(at(c), *in.TrailName, given)
		if err != nil {
			return nil, err
		}
		changed(c, t, change)
		return &cloudtrail.PutInsightSelectorsResponse{TrailARN: &t.ARN, InsightSelectors: insights(t.Insights)}, nil
	}
	s, arn, err := x.store(c, *in.EventDataStore)
	if err != nil {
		return nil, err
	}
	if err := builtIn(s); err != nil {
		return nil, err
	}
	to := ""
	switch {
	case in.InsightsDestination != nil:
		d, toARN, err := x.store(c, *in.InsightsDestination)
		if err != nil {
			return nil, err
		}
		if !slices.Equal(selector.Categories(d.Selectors), []string{selector.Insight}) || d.Status == lake.PendingDeletion {
			return nil, awsapi.Errorf("InvalidParameterException", "The event data store %s is not one for the category Insight.", *in.InsightsDestination)
		}
		to = toARN
	case len(given) > 0:
		return nil, awsapi.Errorf("InvalidParameterException", "InsightsDestination is missing: the event data store that Insight events go to.")
	}
	change, err := x.book.PutStoreInsights(arn, to, given, trail.LogsOf(s.Selectors))
	if err != nil {
		return nil, err
	}
	pend(c, change)
	return &cloudtrail.PutInsightSelectorsResponse{EventDataStoreArn: &arn, InsightsDestination: some(to), InsightSelectors: insights(given)}, nil
}

func (x trailService) getInsights(_ context.Context, c *awsapi.Call, in *cloudtrail.GetInsightSelectorsRequest) (*cloudtrail.GetInsightSelectorsResponse, error) {
	if err := oneTarget(in.TrailName, in.EventDataStore); err != nil {
		return nil, err
	}
	if in.TrailName != nil {
		t, err := x.book.Trail(at(c), *in.TrailName)
		if err != nil {
			return nil, err
		}
		aboutTrail(c, t)
		if len(t.Insights) == 0 {
			return nil, awsapi.Errorf("InsightNotEnabledException", "Trail %s does not have Insights enabled. Edit the trail settings to enable Insights, and then try the operation again.", t.ARN)
		}
		return &cloudtrail.GetInsightSelectorsResponse{TrailARN: &t.ARN, InsightSelectors: insights(t.Insights)}, nil
	}
	_, arn, err := x.store(c, *in.EventDataStore)
	if err != nil {
		return nil, err
	}
	kept, to := x.book.StoreInsights(arn)
	if len(kept) == 0 {
		return nil, awsapi.Errorf("InsightNotEnabledException", "Event data store %s does not have Insights enabled. Edit the event data store settings to enable Insights, and then try the operation again.", arn)
	}
	return &cloudtrail.GetInsightSelectorsResponse{EventDataStoreArn: &arn, InsightsDestination: some(to), InsightSelectors: insights(kept)}, nil
}

// notDone is what the record of a configuration says that is kept alone.
const notDone = "kept; no event is changed or made by it"

func (x trailService) putEvents(ctx context.Context, c *awsapi.Call, in *cloudtrail.PutEventConfigurationRequest) (*cloudtrail.PutEventConfigurationResponse, error) {
	if err := oneTarget(in.TrailName, in.EventDataStore); err != nil {
		return nil, err
	}
	if in.TrailName != nil {
		if in.MaxEventSize != nil || in.ContextKeySelectors != nil {
			return nil, awsapi.Errorf("InvalidParameterCombinationException", "MaxEventSize and ContextKeySelectors belong to an EventDataStore.")
		}
		var all []trail.Aggregation
		for _, a := range in.AggregationConfigurations {
			all = append(all, trail.Aggregation{Category: value(a.EventCategory), Templates: a.Templates})
		}
		t, err := x.book.Trail(at(c), *in.TrailName)
		if err != nil {
			return nil, err
		}
		if t.Aggregations = all; len(all) > 0 {
			if err := x.checkBucket(ctx, c.Time, t); err != nil {
				return nil, err
			}
		}
		t, change, err := x.book.PutAggregations(at(c), *in.TrailName, all)
		if err != nil {
			return nil, err
		}
		changed(c, t, change)
		if len(all) > 0 {
			c.Annotate("aggregation", notDone)
		}
		return &cloudtrail.PutEventConfigurationResponse{TrailARN: &t.ARN, AggregationConfigurations: aggregations(t.Aggregations)}, nil
	}
	if in.AggregationConfigurations != nil {
		return nil, awsapi.Errorf("InvalidParameterCombinationException", "AggregationConfigurations belong to a trail.")
	}
	s, arn, err := x.store(c, *in.EventDataStore)
	if err != nil {
		return nil, err
	}
	if err := builtIn(s); err != nil {
		return nil, err
	}
	if err := forEvents(s, arn); err != nil {
		return nil, err
	}
	e := trail.StoreEvents{Large: value(in.MaxEventSize) == "Large"}
	for _, k := range in.ContextKeySelectors {
		e.Contexts = append(e.Contexts, trail.ContextKeys{Type: value(k.Type), Keys: k.Equals})
	}
	change, err := x.book.PutStoreEvents(arn, e)
	if err != nil {
		return nil, err
	}
	pend(c, change)
	if e.Large {
		c.Annotate("eventConfiguration", notDone)
	}
	out := &cloudtrail.PutEventConfigurationResponse{EventDataStoreArn: &arn}
	out.MaxEventSize, out.ContextKeySelectors = events(e)
	return out, nil
}

// forEvents refuses event data stores that have no events of trails, or are about to be deleted.
func forEvents(s lake.EventDataStore, arn string) error {
	if s.Status == lake.PendingDeletion {
		return awsapi.Errorf("InvalidEventDataStoreStatusException", "The deletion of the event data store %s is pending.", arn)
	}
	for _, c := range selector.Categories(s.Selectors) {
		if c != selector.Management && c != selector.Data {
			return awsapi.Errorf("InvalidEventDataStoreCategoryException", "The event data store %s has events of the category %s; an event configuration is for Management and Data.", arn, c)
		}
	}
	return nil
}

func aggregations(in []trail.Aggregation) []cloudtrail.AggregationConfiguration {
	out := make([]cloudtrail.AggregationConfiguration, len(in))
	for i, a := range in {
		out[i] = cloudtrail.AggregationConfiguration{EventCategory: &a.Category, Templates: a.Templates}
	}
	return out
}

// events is an event configuration in the words of the model.
func events(e trail.StoreEvents) (size *string, keys []cloudtrail.ContextKeySelector) {
	if size = new("Standard"); e.Large {
		size = new("Large")
	}
	keys = make([]cloudtrail.ContextKeySelector, len(e.Contexts))
	for i, k := range e.Contexts {
		keys[i] = cloudtrail.ContextKeySelector{Type: &k.Type, Equals: k.Keys}
	}
	return size, keys
}

func (x trailService) getEvents(_ context.Context, c *awsapi.Call, in *cloudtrail.GetEventConfigurationRequest) (*cloudtrail.GetEventConfigurationResponse, error) {
	if err := oneTarget(in.TrailName, in.EventDataStore); err != nil {
		return nil, err
	}
	if in.TrailName != nil {
		t, err := x.book.Trail(at(c), *in.TrailName)
		if err != nil {
			return nil, err
		}
		aboutTrail(c, t)
		return &cloudtrail.GetEventConfigurationResponse{TrailARN: &t.ARN, AggregationConfigurations: aggregations(t.Aggregations)}, nil
	}
	s, arn, err := x.store(c, *in.EventDataStore)
	if err != nil {
		return nil, err
	}
	if err := forEvents(s, arn); err != nil {
		return nil, err
	}
	out := &cloudtrail.GetEventConfigurationResponse{EventDataStoreArn: &arn}
	out.MaxEventSize, out.ContextKeySelectors = events(x.book.StoreEvents(arn))
	return out, nil
}
