// Package cloudtrail is CloudTrail of the AWS-compatible endpoint: trails, event history, event data stores
// and channels, and queries.
package cloudtrail

import (
	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/cloudtrail"
	"spoor/internal/awsapi/wire"
	"spoor/internal/trail"
)

// Options are the parts behind the operations.
type Options struct {
	History History
	Lake    Lake
	Queries Queries

	Trails     *trail.Book
	Buckets    Buckets    // of this installation
	External   External   // where trails deliver to somebody else's buckets; Buckets are not asked then
	Keys       Keys       // nil for none
	Topics     Topics     // nil for none
	Deliveries Deliveries // nil for none: nothing was ever delivered
	PublicKeys PublicKeys
	Access     Access // over event data stores with policies; without it, they count for nothing
}

// New makes the service. Operations whose part is nil fail.
func New(o Options) *awsapi.Service {
	s := awsapi.NewService(&cloudtrail.Service, awsapi.ServiceOptions{Invalid: invalid, EveryRegion: true}) // events and digests come from Regions that nobody configured
	registerHistory(s, o.History)
	registerLake(s, o.Lake, o.Trails)
	registerQueries(s, o)
	registerTrails(s, o)
	return s
}

// invalid is what violations of the model's constraints are answered with, where CloudTrail has an exception of its own.
func invalid(operation string, v []wire.Violation) *awsapi.Error {
	for _, f := range []func(string, []wire.Violation) *awsapi.Error{invalidHistory, invalidLake, invalidQuery, invalidTrail} {
		if err := f(operation, v); err != nil {
			return err
		}
	}
	return nil
}
