package cloudtrail

import (
	"context"
	"errors"
	"strings"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/lake"
	"spoor/internal/policy"
)

// Access decides over what has a policy of its own. [caller.Access] is one.
type Access interface {
	AuthorizeResource(ctx context.Context, x awsapi.Access, g caller.Guarded) error
}

// Policies are those of event data stores and channels, nil for none. [spoor/internal/trail.Book] has them.
type Policies interface {
	Policy(arn string) *policy.Document
}

// Authorize decides whether a caller may do something to event data stores or channels, by policies of principals and those of the
// resources. The account in an ARN is the resource's. Without an ARN it is done to none of them, and policies of principals decide.
func Authorize(ctx context.Context, c *awsapi.Call, a Access, p Policies, action string, arns ...string) error {
	if len(arns) == 0 {
		return denied(a.AuthorizeResource(ctx, caller.AccessOf(c, action), caller.Guarded{}))
	}
	for _, arn := range arns {
		parts := strings.SplitN(arn, ":", 6)
		if len(parts) != 6 {
			return awsapi.Errorf(awsapi.AccessDenied, "%.256s is no ARN", arn)
		}
		arn = strings.Join(parts[:5], ":") + ":" + strings.ToLower(parts[5]) // ids are not told apart by case
		if err := denied(a.AuthorizeResource(ctx, caller.AccessOf(c, action, arn), caller.Guarded{Owner: parts[4], Policy: p.Policy(arn)})); err != nil {
			return err
		}
	}
	return nil
}

// denied is what the caller is told of a denial.
func denied(err error) error {
	if errors.Is(err, awsapi.ErrDenied) {
		return awsapi.Errorf(awsapi.AccessDenied, "%s", err)
	}
	return err
}

func registerPolicies(s *awsapi.Service, x trailService) {
	awsapi.Handle(s, "PutResourcePolicy", trailHandler(x, x.putPolicy), on("", func(in *cloudtrail.PutResourcePolicyRequest) []string { return []string{*in.ResourceArn} }))
	awsapi.Handle(s, "GetResourcePolicy", trailHandler(x, x.getPolicy), on("", func(in *cloudtrail.GetResourcePolicyRequest) []string { return []string{*in.ResourceArn} }))
	awsapi.Handle(s, "DeleteResourcePolicy", trailHandler(x, x.deletePolicy), on("", func(in *cloudtrail.DeleteResourcePolicyRequest) []string { return []string{*in.ResourceArn} }))
}

// withPolicy finds the event data store or channel that an ARN names, and gives the ARN as it is kept.
func (x trailService) withPolicy(c *awsapi.Call, arn string) (string, error) {
	if x.lake == nil {
		return "", errors.New("there is no lake")
	}
	kind, _, _ := strings.Cut(arn[strings.LastIndexByte(arn, ':')+1:], "/")
	if !lake.IsARN(arn) {
		return "", awsapi.Errorf("ResourceARNNotValidException", "%.256s is not the ARN of an event data store or a channel.", arn)
	}
	var err error
	switch kind {
	case "eventdatastore":
		var s lake.EventDataStore
		if s, arn, err = x.store(c, arn); err == nil {
			err = builtIn(s)
		}
	case "channel":
		var ch lake.Channel
		if ch, err = x.lake.Channel(where(c), arn); err == nil {
			arn = x.lake.ChannelARN(ch)
			lakeService{lake: x.lake}.aboutChannel(c, ch)
		}
	default:
		return "", awsapi.Errorf("ResourceTypeNotSupportedException", "Resources of the type %s have no policy here; event data stores and channels have.", kind)
	}
	if refused, ok := errors.AsType[*lake.Error](err); ok {
		if strings.HasSuffix(refused.Code, "ARNInvalidException") {
			return "", awsapi.Errorf("ResourceARNNotValidException", "%s", refused.Message)
		}
		return "", awsapi.Errorf("ResourceNotFoundException", "%s", refused.Message)
	}
	return arn, err
}

func (x trailService) putPolicy(_ context.Context, c *awsapi.Call, in *cloudtrail.PutResourcePolicyRequest) (*cloudtrail.PutResourcePolicyResponse, error) {
	arn, err := x.withPolicy(c, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	change, err := x.book.PutPolicy(arn, *in.ResourcePolicy)
	if err != nil {
		return nil, err
	}
	pend(c, change)
	return &cloudtrail.PutResourcePolicyResponse{ResourceArn: &arn, ResourcePolicy: in.ResourcePolicy}, nil
}

func (x trailService) getPolicy(_ context.Context, c *awsapi.Call, in *cloudtrail.GetResourcePolicyRequest) (*cloudtrail.GetResourcePolicyResponse, error) {
	arn, err := x.withPolicy(c, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	text, err := x.book.PolicyText(arn)
	if err != nil {
		return nil, err
	}
	return &cloudtrail.GetResourcePolicyResponse{ResourceArn: &arn, ResourcePolicy: &text}, nil
}

func (x trailService) deletePolicy(_ context.Context, c *awsapi.Call, in *cloudtrail.DeleteResourcePolicyRequest) (*cloudtrail.DeleteResourcePolicyResponse, error) {
	arn, err := x.withPolicy(c, *in.ResourceArn)
	if err != nil {
		return nil, err
	}
	change, err := x.book.DeletePolicy(arn)
	if err != nil {
		return nil, err
	}
	pend(c, change)
	return nil, nil
}

func registerDelegates(s *awsapi.Service, x trailService) {
	awsapi.Handle(s, "RegisterOrganizationDelegatedAdmin", trailHandler(x, x.register))
	awsapi.Handle(s, "DeregisterOrganizationDelegatedAdmin", trailHandler(x, x.deregister))
}

func (x trailService) register(_ context.Context, c *awsapi.Call, in *cloudtrail.RegisterOrganizationDelegatedAdminRequest) (*cloudtrail.RegisterOrganizationDelegatedAdminResponse, error) {
	change, err := x.book.Register(at(c), *in.MemberAccountId)
	if err != nil {
		return nil, err
	}
	pend(c, change)
	return nil, nil
}

func (x trailService) deregister(_ context.Context, c *awsapi.Call, in *cloudtrail.DeregisterOrganizationDelegatedAdminRequest) (*cloudtrail.DeregisterOrganizationDelegatedAdminResponse, error) {
	change, err := x.book.Deregister(at(c), *in.DelegatedAdminAccountId)
	if err != nil {
		return nil, err
	}
	pend(c, change)
	return nil, nil
}
