package cloudtrail

import (
	"context"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/wire"
	"spoor/internal/history"
)

// History is the part behind LookupEvents: a [history.History].
type History interface {
	Lookup(ctx context.Context, q history.Query) (history.Page, error)
}

func registerHistory(*awsapi.Service, History) {}

func invalidHistory(string, []wire.Violation) *awsapi.Error { return nil }
