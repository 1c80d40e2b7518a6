package cloudtrail

import (
	"spoor/internal/awsapi"
	"spoor/internal/awsapi/wire"
)

// History is the part behind the operations of this file.
type History interface{}

func registerHistory(*awsapi.Service, History) {}

func invalidHistory(string, []wire.Violation) *awsapi.Error { return nil }
