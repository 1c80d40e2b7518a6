// Package cloudtraildata is CloudTrail Data of the AWS-compatible endpoint: events from outside, by channels.
package cloudtraildata

import (
	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtraildata"
)

// Options are the parts behind the operations.
type Options struct{}

// New makes the service.
func New(Options) *awsapi.Service {
	return awsapi.NewService(&cloudtraildata.Service, awsapi.ServiceOptions{})
}
