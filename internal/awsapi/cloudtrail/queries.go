package cloudtrail

import (
	"spoor/internal/awsapi"
	"spoor/internal/awsapi/wire"
)

// Queries is the part behind the operations of this file.
type Queries interface{}

func registerQueries(*awsapi.Service, Queries) {}

func invalidQuery(string, []wire.Violation) *awsapi.Error { return nil }
