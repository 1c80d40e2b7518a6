// Package sns is Amazon Simple Notification Service over the topics of package topic: topics, subscriptions, permissions, tags,
// and publishing. Mobile push, text messages and data protection are not served.
//
// Who may what is decided by the policies of principals together with that of the topic. What a call changed is taken back when
// it turns out that the call cannot be recorded; what it published is delivered only when it is.
package sns

import (
	"context"
	"errors"
	"log/slog"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	model "spoor/internal/awsapi/model/sns"
	"spoor/internal/awsapi/page"
	"spoor/internal/awsapi/wire"
	"spoor/internal/recorder"
	"spoor/internal/refusal"
	"spoor/internal/topic"
)

// Authorizer asks the policies of principals and of a resource. [caller.Access] is one.
type Authorizer interface {
	AuthorizeResource(ctx context.Context, x awsapi.Access, g caller.Guarded) error
}

// Options are the parts behind the operations.
type Options struct {
	Topics *topic.Service
	Access Authorizer
	Log    *slog.Logger // default discards
}

const (
	pageSize = 100 // of SNS
	prefix   = "sns:"

	codeAuthorization = "AuthorizationErrorException"
	codeInvalid       = topic.CodeInvalid
)

// New makes the service.
func New(o Options) *awsapi.Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := awsapi.NewService(&model.Service, awsapi.ServiceOptions{Secrets: []string{"ConfirmSubscriptionInput.Token"}, Invalid: invalid})
	x := &service{o}
	awsapi.Handle(s, "CreateTopic", handler(x, x.createTopic), awsapi.AnyPrincipal())
	awsapi.Handle(s, "DeleteTopic", handler(x, x.deleteTopic), awsapi.AnyPrincipal())
	awsapi.Handle(s, "ListTopics", handler(x, x.listTopics), awsapi.AnyPrincipal())
	awsapi.Handle(s, "GetTopicAttributes", handler(x, x.getTopicAttributes), awsapi.AnyPrincipal())
	awsapi.Handle(s, "SetTopicAttributes", handler(x, x.setTopicAttributes), awsapi.AnyPrincipal())
	awsapi.Handle(s, "AddPermission", handler(x, x.addPermission), awsapi.AnyPrincipal())
	awsapi.Handle(s, "RemovePermission", handler(x, x.removePermission), awsapi.AnyPrincipal())
	awsapi.Handle(s, "TagResource", handler(x, x.tagResource), awsapi.AnyPrincipal())
	awsapi.Handle(s, "UntagResource", handler(x, x.untagResource), awsapi.AnyPrincipal())
	awsapi.Handle(s, "ListTagsForResource", handler(x, x.listTags), awsapi.AnyPrincipal())
	awsapi.Handle(s, "Subscribe", handler(x, x.subscribe), awsapi.AnyPrincipal())
	awsapi.Handle(s, "ConfirmSubscription", handler(x, x.confirmSubscription), awsapi.AnyPrincipal())
	awsapi.Handle(s, "Unsubscribe", handler(x, x.unsubscribe), awsapi.AnyPrincipal())
	awsapi.Handle(s, "ListSubscriptions", handler(x, x.listSubscriptions), awsapi.AnyPrincipal())
	awsapi.Handle(s, "ListSubscriptionsByTopic", handler(x, x.listSubscriptionsByTopic), awsapi.AnyPrincipal())
	awsapi.Handle(s, "GetSubscriptionAttributes", handler(x, x.getSubscriptionAttributes), awsapi.AnyPrincipal())
	awsapi.Handle(s, "SetSubscriptionAttributes", handler(x, x.setSubscriptionAttributes), awsapi.AnyPrincipal())
	awsapi.Handle(s, "Publish", handler(x, x.publish), awsapi.AnyPrincipal(), awsapi.DataEvent())
	awsapi.Handle(s, "PublishBatch", handler(x, x.publishBatch), awsapi.AnyPrincipal(), awsapi.DataEvent())
	return s
}

// service asks for permissions itself, since the policies of topics count too.
type service struct{ o Options }

// handler puts the refusals of package topic into the words of the model.
func handler[In, Out any](x *service, h func(context.Context, *awsapi.Call, *In) (*Out, error)) func(context.Context, *awsapi.Call, *In) (*Out, error) {
	return func(ctx context.Context, c *awsapi.Call, in *In) (*Out, error) {
		if x.o.Topics == nil || x.o.Access == nil {
			return nil, errors.New("there are no topics")
		}
		out, err := h(ctx, c, in)
		return out, told(err)
	}
}

func told(err error) error {
	if r, ok := errors.AsType[*refusal.Error](err); ok {
		return awsapi.Errorf(r.Code, "%s", r.Message)
	}
	return err
}

// invalid is SNS's error for what the constraints of the model do not allow.
func invalid(_ string, v []wire.Violation) *awsapi.Error {
	return awsapi.Errorf(codeInvalid, "Invalid parameter: %s Reason: %s", v[0].Member, wire.Message(v))
}

func bad(format string, a ...any) error {
	return awsapi.Errorf(codeInvalid, "Invalid parameter: "+format, a...)
}

// permit asks whether the caller may do something to a topic, which need not be there. conditions are those of SNS.
func (x *service) permit(ctx context.Context, c *awsapi.Call, action, arn string, conditions map[string][]string) error {
	g := caller.Guarded{Owner: c.Account, Conditions: conditions}
	if arn != "" {
		d, owner, err := x.o.Topics.Policy(arn)
		switch {
		case err == nil:
			g.Policy, g.Owner = d, owner
		case !errors.Is(err, topic.ErrNotFound):
			return err
		}
	}
	return x.ask(ctx, c, action, arn, g)
}

// ask asks for one permission.
func (x *service) ask(ctx context.Context, c *awsapi.Call, action, arn string, g caller.Guarded) error {
	var arns []string
	if arn != "" {
		arns = []string{arn}
	}
	err := x.o.Access.AuthorizeResource(ctx, caller.AccessOf(c, prefix+action, arns...), g)
	if errors.Is(err, awsapi.ErrDenied) {
		text := "User: " + c.Principal.Identity.ARN + " is not authorized to perform: " + prefix + action
		if d, ok := errors.AsType[*caller.DeniedError](err); ok {
			text = d.Error()
		}
		return awsapi.Errorf(codeAuthorization, "%s", strings.ReplaceAll(text, prefix+action, "SNS:"+action))
	}
	return err
}

// own checks that an ARN is one of the Region of the call, and may be used.
func (x *service) own(ctx context.Context, c *awsapi.Call, action, arn, member string, conditions map[string][]string) error {
	if err := x.place(c, arn, member); err != nil {
		return err
	}
	return x.permit(ctx, c, action, arn, conditions)
}

func (x *service) place(c *awsapi.Call, arn, member string) error {
	if n := strings.Count(arn, ":") + 1; n < 6 {
		return bad("%s Reason: An ARN must have at least 6 elements, not %d", member, n)
	}
	if part := strings.Split(arn, ":"); !topic.IsARN(arn) || part[1] != c.Partition || part[3] != c.Region {
		return bad("%s", member)
	}
	return nil
}

// about tells the record which topic a call is about.
func about(c *awsapi.Call, arn string) {
	part := strings.Split(arn, ":")
	c.Resource(recorder.Resource{ARN: arn, AccountID: part[4], Type: "AWS::SNS::Topic"})
}

// takeBack tells how a change is taken back, when the call that made it cannot be recorded.
func (x *service) takeBack(c *awsapi.Call, undo topic.Undo) {
	c.OnUnrecorded(func(context.Context) {
		if err := undo(); err != nil {
			x.o.Log.Error("a change of topics that was not recorded could not be taken back",
				slog.String("change", c.Operation), slog.String("request", c.RequestID), slog.Any("error", err))
		}
	})
}

// paged is a page of a list.
func paged[T any](items []T, key func(T) string, token *string, list ...string) ([]T, *string, error) {
	cut, next, err := page.Cut(items, key, token, pageSize, list...)
	if err != nil {
		return nil, nil, bad("NextToken Reason: Invalid token")
	}
	return cut, next, nil
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
