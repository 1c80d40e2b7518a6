// Package cloudtrail is CloudTrail of the AWS-compatible endpoint: event history, event data stores and channels, and queries.
package cloudtrail

import (
	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/awsapi/wire"
)

// Options are the parts behind the operations.
type Options struct {
	History History
	Lake    Lake
	Queries Queries
}

// New makes the service. Operations whose part is nil fail.
func New(o Options) *awsapi.Service {
	s := awsapi.NewService(&cloudtrail.Service, awsapi.ServiceOptions{Invalid: invalid})
	registerHistory(s, o.History)
	registerLake(s, o.Lake)
	registerQueries(s, o.Queries, o.Lake)
	return s
}

// invalid is what violations of the model's constraints are answered with, where CloudTrail has an exception of its own.
func invalid(operation string, v []wire.Violation) *awsapi.Error {
	for _, f := range []func(string, []wire.Violation) *awsapi.Error{invalidHistory, invalidLake, invalidQuery} {
		if err := f(operation, v); err != nil {
			return err
		}
	}
	return nil
}
