package cloudtrail

import (
	"spoor/internal/awsapi"
	"spoor/internal/awsapi/wire"
)

// Lake is the part behind the operations of this file.
type Lake interface{}

func registerLake(*awsapi.Service, Lake) {}

func invalidLake(string, []wire.Violation) *awsapi.Error { return nil }
