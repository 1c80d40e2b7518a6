package iam

import (
	"context"

	"spoor/internal/awsapi"
	model "spoor/internal/awsapi/model/iam"
	"spoor/internal/iam"
)

// keysPerUser is how many access keys package iam gives a user.
const keysPerUser = 2

func (s *service) getAccountSummary(_ context.Context, c *awsapi.Call, _ *struct{}) (*model.GetAccountSummaryResponse, error) {
	if _, err := s.who(c); err != nil {
		return nil, err
	}
	policies := int32(len(iam.Roles()))
	m := map[string]int32{
		"AccessKeysPerUserQuota": keysPerUser, "AttachedPoliciesPerUserQuota": policies, "AttachedPoliciesPerRoleQuota": policies,
		"AccountMFAEnabled": 0, "AccountPasswordPresent": 0, "MFADevices": 0, "MFADevicesInUse": 0, "Groups": 0, "Policies": 0,
		"Users": 0, "Roles": 0, "AccountAccessKeysPresent": 0,
	}
	if c.Account == s.o.Access.Account() {
		for _, p := range s.o.Access.Users() {
			if p.Kind == iam.KindUser {
				m["Users"]++
			}
		}
		if len(s.o.Access.AccessKeys(iam.RootName)) > 0 {
			m["AccountAccessKeysPresent"] = 1
		}
	}
	for _, a := range s.o.Access.Assumables() {
		if a.Account == c.Account {
			m["Roles"]++
		}
	}
	return &model.GetAccountSummaryResponse{SummaryMap: m}, nil
}

func (s *service) listAccountAliases(_ context.Context, c *awsapi.Call, in *model.ListAccountAliasesRequest) (*model.ListAccountAliasesResponse, error) {
	none, truncated, next, err := paged([]string{}, func(a string) string { return a }, in.Marker, in.MaxItems, c.Operation, c.Account)
	if err != nil {
		return nil, err
	}
	return &model.ListAccountAliasesResponse{AccountAliases: none, IsTruncated: truncated, Marker: next}, nil
}
