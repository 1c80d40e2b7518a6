package sns

import (
	"context"
	"errors"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	model "spoor/internal/awsapi/model/sns"
	"spoor/internal/topic"
)

// What SNS writes in place of the ARN of a subscription that is not confirmed.
const (
	pendingAnswer = "pending confirmation"
	pendingList   = "PendingConfirmation"
)

func (x *service) subscribe(ctx context.Context, c *awsapi.Call, in *model.SubscribeInput) (*model.SubscribeResponse, error) {
	arn := *in.TopicArn
	conditions := map[string][]string{"sns:Protocol": {*in.Protocol}, "sns:Endpoint": {value(in.Endpoint)}}
	if err := x.own(ctx, c, "Subscribe", arn, "TopicArn", conditions); err != nil {
		return nil, err
	}
	about(c, arn)
	made, u, undo, err := x.o.Topics.Subscribe(ctx, arn, *in.Protocol, value(in.Endpoint), c.Account, in.Attributes)
	if err != nil {
		return nil, err
	}
	x.takeBack(c, undo)
	if u.Status == topic.Pending && !value(in.ReturnSubscriptionArn) {
		made = pendingAnswer
	}
	return &model.SubscribeResponse{SubscriptionArn: &made}, nil
}

func (x *service) confirmSubscription(ctx context.Context, c *awsapi.Call, in *model.ConfirmSubscriptionInput) (*model.ConfirmSubscriptionResponse, error) {
	if err := x.own(ctx, c, "ConfirmSubscription", *in.TopicArn, "TopicArn", nil); err != nil {
		return nil, err
	}
	about(c, *in.TopicArn)
	arn, _, undo, err := x.o.Topics.Confirm(ctx, *in.TopicArn, *in.Token, true, strings.EqualFold(value(in.AuthenticateOnUnsubscribe), "true"))
	if err != nil {
		return nil, err
	}
	x.takeBack(c, undo)
	return &model.ConfirmSubscriptionResponse{SubscriptionArn: &arn}, nil
}

// subscription finds a subscription that the caller may do something with: what is the caller's own by its own policies, and what
// others have by that of the topic too.
func (x *service) subscription(ctx context.Context, c *awsapi.Call, action, arn string) (*topic.Subscription, error) {
	if err := x.place(c, arn, "SubscriptionArn"); err != nil {
		return nil, err
	}
	topicARN := strings.Join(strings.Split(arn, ":")[:6], ":")
	_, u, err := x.o.Topics.Subscription(arn)
	if err == nil && u.Owner == c.Account {
		if err := x.ask(ctx, c, action, topicARN, caller.Guarded{Owner: c.Account}); err != nil {
			return nil, err
		}
	} else if err := x.permit(ctx, c, action, topicARN, nil); err != nil {
		return nil, err
	}
	about(c, topicARN)
	return u, err
}

func (x *service) unsubscribe(ctx context.Context, c *awsapi.Call, in *model.UnsubscribeInput) (*struct{}, error) {
	if _, err := x.subscription(ctx, c, "Unsubscribe", *in.SubscriptionArn); err != nil && !errors.Is(err, topic.ErrNotFound) {
		return nil, err
	}
	undo, err := x.o.Topics.Unsubscribe(*in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	x.takeBack(c, undo)
	return nil, nil
}

func (x *service) getSubscriptionAttributes(ctx context.Context, c *awsapi.Call, in *model.GetSubscriptionAttributesInput) (*model.GetSubscriptionAttributesResponse, error) {
	if _, err := x.subscription(ctx, c, "GetSubscriptionAttributes", *in.SubscriptionArn); err != nil {
		return nil, err
	}
	a, err := x.o.Topics.SubscriptionAttributes(*in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	return &model.GetSubscriptionAttributesResponse{Attributes: a}, nil
}

func (x *service) setSubscriptionAttributes(ctx context.Context, c *awsapi.Call, in *model.SetSubscriptionAttributesInput) (*struct{}, error) {
	if _, err := x.subscription(ctx, c, "SetSubscriptionAttributes", *in.SubscriptionArn); err != nil {
		return nil, err
	}
	undo, err := x.o.Topics.SetSubscriptionAttribute(*in.SubscriptionArn, *in.AttributeName, value(in.AttributeValue))
	if err != nil {
		return nil, err
	}
	x.takeBack(c, undo)
	return nil, nil
}

// listed is a subscription of a list, by its ARN.
type listed struct {
	arn, topic string
	u          *topic.Subscription
}

func pageOf(list []listed, token *string, names ...string) ([]model.Subscription, *string, error) {
	cut, next, err := paged(list, func(l listed) string { return l.arn }, token, names...)
	if err != nil {
		return nil, nil, err
	}
	out := []model.Subscription{}
	for _, l := range cut {
		arn := l.arn
		if l.u.Status == topic.Pending {
			arn = pendingList
		}
		out = append(out, model.Subscription{SubscriptionArn: &arn, TopicArn: &l.topic, Owner: &l.u.Owner, Protocol: &l.u.Protocol, Endpoint: &l.u.Endpoint})
	}
	return out, next, nil
}

func (x *service) listSubscriptions(ctx context.Context, c *awsapi.Call, in *model.ListSubscriptionsInput) (*model.ListSubscriptionsResponse, error) {
	if err := x.permit(ctx, c, "ListSubscriptions", "", nil); err != nil {
		return nil, err
	}
	var list []listed
	for arn, us := range x.o.Topics.Owned(topic.Where{Account: c.Account, Region: c.Region}) {
		for _, u := range us {
			list = append(list, listed{arn + ":" + u.ID, arn, u})
		}
	}
	out, next, err := pageOf(list, in.NextToken, c.Operation, c.Account, c.Region)
	if err != nil {
		return nil, err
	}
	return &model.ListSubscriptionsResponse{Subscriptions: out, NextToken: next}, nil
}

func (x *service) listSubscriptionsByTopic(ctx context.Context, c *awsapi.Call, in *model.ListSubscriptionsByTopicInput) (*model.ListSubscriptionsByTopicResponse, error) {
	if err := x.own(ctx, c, "ListSubscriptionsByTopic", *in.TopicArn, "TopicArn", nil); err != nil {
		return nil, err
	}
	us, err := x.o.Topics.Subscriptions(*in.TopicArn)
	if err != nil {
		return nil, err
	}
	about(c, *in.TopicArn)
	var list []listed
	for _, u := range us {
		list = append(list, listed{*in.TopicArn + ":" + u.ID, *in.TopicArn, u})
	}
	out, next, err := pageOf(list, in.NextToken, c.Operation, *in.TopicArn)
	if err != nil {
		return nil, err
	}
	return &model.ListSubscriptionsByTopicResponse{Subscriptions: out, NextToken: next}, nil
}
