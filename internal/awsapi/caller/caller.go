// Package caller tells who makes a call to the AWS-compatible endpoint, in the words of package iam.
package caller

import (
	"errors"
	"fmt"

	"spoor/internal/awsapi"
	"spoor/internal/iam"
)

// Of returns who makes a call. The subject of its principal is the [iam.Credential] that it was signed with.
func Of(access *iam.Service, c *awsapi.Call) (iam.Caller, error) {
	if access == nil {
		return iam.Caller{}, errors.New("the endpoint was made without principals")
	}
	key, ok := c.Principal.Subject.(iam.Credential)
	if !ok {
		return iam.Caller{}, fmt.Errorf("the caller is a %T, not an access key of this installation", c.Principal.Subject)
	}
	return access.CallerOf(key, c.Address, c.TLS), nil
}
