package sts

import (
	"context"
	"fmt"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/model/sts"
)

// getSessionToken gives temporary credentials of a user or root.
func (s *service) getSessionToken(ctx context.Context, c *awsapi.Call, in *sts.GetSessionTokenRequest) (*sts.GetSessionTokenResponse, error) {
	if err := noMFA(in.SerialNumber, in.TokenCode); err != nil {
		return nil, err
	}
	who, err := caller.Of(s.o.Access, c)
	if err != nil {
		return nil, err
	}
	if who.Session != nil { // whom policies would forbid it too, in other words than AWS's
		return nil, awsapi.Errorf(awsapi.AccessDenied, "Cannot call GetSessionToken with session credentials")
	}
	const action = "sts:GetSessionToken"
	denied := fmt.Sprintf("User: %s is not authorized to perform: %s because no identity-based policy allows the %s action", c.Principal.Identity.ARN, action, action)
	if !s.o.Access.AuthorizeARN(ctx, who, action).Allowed {
		return nil, awsapi.Errorf(awsapi.AccessDenied, "%s", denied)
	}
	key, err := s.o.Access.SessionToken(ctx, who, lifetime(in.DurationSeconds))
	if err != nil {
		return nil, refusal(err, denied)
	}
	return &sts.GetSessionTokenResponse{Credentials: credentials(key)}, nil
}
