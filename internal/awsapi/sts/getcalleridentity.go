package sts

import (
	"context"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/sts"
)

// getCallerIdentity says who calls. It needs no permission, as on AWS.
func getCallerIdentity(_ context.Context, c *awsapi.Call, _ *sts.GetCallerIdentityRequest) (*sts.GetCallerIdentityResponse, error) {
	who := c.Principal.Identity
	return &sts.GetCallerIdentityResponse{Account: &who.AccountID, Arn: &who.ARN, UserId: &who.PrincipalID}, nil
}
