// Package iam is the part of AWS Identity and Access Management that principals of Spoor have: users, their access keys, roles
// that can be assumed, and managed policies, which are Spoor's ready roles. What has no counterpart is refused, not ignored.
package iam

import (
	"spoor/internal/awsapi"
	model "spoor/internal/awsapi/model/iam"
	"spoor/internal/iam"
)

// Options are the parts behind the operations.
type Options struct {
	Access *iam.Service
}

// New makes the service.
func New(Options) *awsapi.Service {
	return awsapi.NewService(&model.Service, awsapi.ServiceOptions{Global: true})
}
