// Package organizations is the part of Organizations that clients read: the organisation of the configuration.
package organizations

import (
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/model/organizations"
)

// Options are the organisation. One without an ID is none: operations answer as for an account that is in no organisation.
type Options struct {
	ID         string // o- and 10 to 32 small letters and digits
	RootID     string // r- and 4 to 32
	Management string // account, 12 digits
	Units      []Unit
	Accounts   []Account // Management is among them
}

// Unit is an organisational unit.
type Unit struct {
	ID, Name string
	Parent   string // id of a unit or the root
}

// Account is a member of the organisation.
type Account struct {
	ID, Name, Email string
	Parent          string // id of a unit, or the root
	Joined          time.Time
}

// New makes the service.
func New(Options) *awsapi.Service {
	return awsapi.NewService(&organizations.Service, awsapi.ServiceOptions{Global: true})
}
