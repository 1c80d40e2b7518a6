package cloudtrail

import (
	"context"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/wire"
	"spoor/internal/lakequery"
)

// Queries are the queries of CloudTrail Lake. [lakequery.Manager] is one.
type Queries interface {
	Start(ctx context.Context, s lakequery.Spec) (lakequery.Query, error)
	Withdraw(ctx context.Context, id string) error
	Describe(ctx context.Context, o lakequery.Owner, id string) (lakequery.Query, error)
	Latest(ctx context.Context, o lakequery.Owner, alias string) (lakequery.Query, error)
	Results(ctx context.Context, o lakequery.Owner, id string, limit int, token string) (lakequery.Page, error)
	List(ctx context.Context, f lakequery.Filter) ([]lakequery.Query, string, error)
	Cancel(ctx context.Context, o lakequery.Owner, id string) (lakequery.Query, error)
	Again(ctx context.Context, id string) error
}

func registerQueries(*awsapi.Service, Queries) {}

func invalidQuery(string, []wire.Violation) *awsapi.Error { return nil }
