package iam

import (
	"time"
)

// AccessKey is what is known of an access key: all but its secret.
type AccessKey struct {
	ID          string    `json:"id"`   // AKIA and 16 characters
	User        string    `json:"user"` // name of its principal
	Active      bool      `json:"active"`
	Note        string    `json:"note,omitempty"`
	Created     time.Time `json:"created"`
	By          string    `json:"by"`
	LastUsed    time.Time `json:"lastUsed,omitzero"` // to the minute, after a crash older
	LastService string    `json:"lastService,omitempty"`
	LastRegion  string    `json:"lastRegion,omitempty"`
}

// KeySpec says what access key to make.
type KeySpec struct {
	User string
	Note string // what it is for, up to 200 bytes
	By   string // who makes it, empty for the command line
}

// CreateAccessKey makes an access key. This is the only time that anybody can have the secret. A principal has two at most:
// the error of a third is [ErrLimit].
func (s *Service) CreateAccessKey(spec KeySpec) (k AccessKey, secret string, err error) {
	return k, "", errNotBuilt
}

// SetAccessKey switches a key of a user off and on. Sessions that came of it are off as long as it is.
func (s *Service) SetAccessKey(user, id string, active bool) (AccessKey, error) {
	return AccessKey{}, errNotBuilt
}

// DeleteAccessKey deletes a key of a user, and ends the sessions that came of it, at once.
func (s *Service) DeleteAccessKey(user, id string) error { return errNotBuilt }

// AccessKeys lists access keys in the order in which they were made: those of a principal, or with an empty name all.
func (s *Service) AccessKeys(user string) []AccessKey { return nil }

// AccessKey gives an access key by id, or [ErrNotFound].
func (s *Service) AccessKey(id string) (AccessKey, error) { return AccessKey{}, errNotBuilt }

// UsedKey keeps when, for what service and in what Region a key was last used, temporary ones of a role for the role. It is
// cheap; what it keeps is written now and then.
func (s *Service) UsedKey(id, service, region string) {}
