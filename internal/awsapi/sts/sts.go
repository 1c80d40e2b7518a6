// Package sts is the Security Token Service of the AWS-compatible endpoint, one file for each action.
package sts

import (
	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/sts"
	"spoor/internal/iam"
)

// Options are the parts behind the operations. GetCallerIdentity needs none.
type Options struct {
	Access *iam.Service
	Caller func(*awsapi.Call) (iam.Caller, error) // who makes a call
}

// New makes the service.
func New(Options) *awsapi.Service {
	s := awsapi.NewService(&sts.Service, awsapi.ServiceOptions{Global: true})
	awsapi.Handle(s, "GetCallerIdentity", getCallerIdentity, awsapi.AnyPrincipal())
	return s
}
