package sts

import (
	"context"
	"errors"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	"spoor/internal/awsapi/model/sts"
	"spoor/internal/iam"
)

// getAccessKeyInfo tells the account of an access key. Of temporary ones, which are not kept, only the caller's own is known.
func (s *service) getAccessKeyInfo(_ context.Context, c *awsapi.Call, in *sts.GetAccessKeyInfoRequest) (*sts.GetAccessKeyInfoResponse, error) {
	if *in.AccessKeyId == c.AccessKey {
		return &sts.GetAccessKeyInfoResponse{Account: &c.Account}, nil
	}
	if _, err := caller.Of(s.o.Access, c); err != nil {
		return nil, err
	}
	_, err := s.o.Access.AccessKey(*in.AccessKeyId)
	switch {
	case errors.Is(err, iam.ErrNotFound):
		return nil, awsapi.Errorf(awsapi.Validation, "The account of the access key %s is not known", *in.AccessKeyId)
	case err != nil:
		return nil, err
	}
	return &sts.GetAccessKeyInfoResponse{Account: new(s.o.Access.Account())}, nil
}
