package sts

import (
	"context"

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
	key, err := s.o.Access.SessionToken(ctx, who, lifetime(in.DurationSeconds))
	if err != nil {
		return nil, refusal(err, "Cannot call GetSessionToken with session credentials")
	}
	return &sts.GetSessionTokenResponse{Credentials: credentials(key)}, nil
}
