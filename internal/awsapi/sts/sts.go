// Package sts is the Security Token Service of the AWS-compatible endpoint, one file for each action.
package sts

import (
	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/sts"
)

// Options are the parts behind the operations.
type Options struct{}

// New makes the service.
func New(Options) *awsapi.Service {
	s := awsapi.NewService(&sts.Service, awsapi.ServiceOptions{Global: true})
	awsapi.Handle(s, "GetCallerIdentity", getCallerIdentity, awsapi.AnyPrincipal())
	return s
}
