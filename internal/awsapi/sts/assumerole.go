package sts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/model/sts"
	"spoor/internal/iam"
	"spoor/internal/recorder"
)

// assumeRole gives temporary credentials of a role.
func (s *service) assumeRole(ctx context.Context, c *awsapi.Call, in *sts.AssumeRoleRequest) (*sts.AssumeRoleResponse, error) {
	switch {
	case in.Policy != nil || len(in.PolicyArns) > 0:
		return nil, unsupported("Session policies are not supported here: leave out Policy and PolicyArns")
	case len(in.ProvidedContexts) > 0:
		return nil, unsupported("Context assertions are not supported here: leave out ProvidedContexts")
	case len(in.TransitiveTagKeys) > 0:
		return nil, unsupported("Session tags do not pass on to further roles here: leave out TransitiveTagKeys")
	}
	if err := noMFA(in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	who, err := caller.Of(s.o.Access, c)
	if err != nil {
		return nil, err
	}
	spec := iam.AssumeSpec{RoleARN: *in.RoleArn, SessionName: *in.RoleSessionName, Duration: lifetime(in.DurationSeconds)}
	if in.ExternalId != nil {
		spec.ExternalID = *in.ExternalId
	}
	if in.SourceIdentity != nil {
		spec.SourceIdentity = *in.SourceIdentity
	}
	for _, t := range in.Tags {
		if _, twice := spec.Tags[*t.Key]; twice {
			return nil, awsapi.Errorf(awsapi.Validation, "Duplicate tag keys found: %s", *t.Key)
		}
		if spec.Tags == nil {
			spec.Tags = map[string]string{}
		}
		spec.Tags[*t.Key] = *t.Value
	}
	key, err := s.o.Access.AssumeRole(ctx, who, spec)
	if err != nil {
		return nil, s.notAssumed(err, c, who, spec)
	}
	role := key.Session.Role
	c.Resource(recorder.Resource{ARN: role.ARN(), AccountID: role.Account, Type: "AWS::IAM::Role"})
	out := &sts.AssumeRoleResponse{
		Credentials:     credentials(key),
		AssumedRoleUser: &sts.AssumedRoleUser{Arn: new(key.Principal.ARN()), AssumedRoleId: &key.Principal.ID},
	}
	if key.Session.SourceIdentity != "" {
		out.SourceIdentity = &key.Session.SourceIdentity
	}
	return out, nil
}

// notAssumed says in AWS's words why a role was not assumed. What is invalid is told to those alone who may assume it.
func (s *service) notAssumed(err error, c *awsapi.Call, who iam.Caller, spec iam.AssumeSpec) error {
	switch {
	case errors.Is(err, iam.ErrDenied) && who.Principal.Kind == iam.KindRoot:
		return awsapi.Errorf(awsapi.AccessDenied, "Roles may not be assumed by root accounts.")
	case errors.Is(err, iam.ErrLimit):
		return awsapi.Errorf("PackedPolicyTooLargeException", "%s", err)
	case errors.Is(err, iam.ErrInvalid) && spec.Duration > time.Hour && who.Session != nil && who.Session.Role != nil:
		return awsapi.Errorf(awsapi.Validation, "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining")
	case errors.Is(err, iam.ErrInvalid) && spec.Duration > time.Hour:
		return awsapi.Errorf(awsapi.Validation, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.")
	}
	return refusal(err, fmt.Sprintf("User: %s is not authorized to perform: sts:AssumeRole on resource: %s", c.Principal.Identity.ARN, spec.RoleARN))
}
