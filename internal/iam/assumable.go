package iam

import (
	"encoding/json"
	"errors"
	"time"
)

var errNotBuilt = errors.New("not built yet")

// Assumable is a role that principals can assume: what AWS calls a role.
type Assumable struct {
	ID            string          `json:"id"` // AROA and 16 characters, never used again
	Name          string          `json:"name"`
	Account       string          `json:"account"`
	Path          string          `json:"path"` // begins and ends with a slash
	Description   string          `json:"description,omitempty"`
	Roles         []Role          `json:"roles"`      // what its sessions may do, sorted
	Trust         json.RawMessage `json:"trust"`      // AWS trust policy document, as given: who may assume it
	MaxSession    time.Duration   `json:"maxSession"` // in nanoseconds
	Created       time.Time       `json:"created"`
	By            string          `json:"by"`
	RevokedBefore time.Time       `json:"revokedBefore,omitzero"` // sessions issued until then are ended
	LastUsed      time.Time       `json:"lastUsed,omitzero"`      // to the minute, after a crash older
}

// ARN is the role's name as AWS writes it.
func (a Assumable) ARN() string { return "arn:aws:iam::" + a.Account + ":role" + a.Path + a.Name }

// AssumableSpec says what role to make.
type AssumableSpec struct {
	Name        string
	Account     string // empty for that of the installation
	Path        string // empty for /
	Description string // up to 1000 characters
	Roles       []Role
	Trust       json.RawMessage
	MaxSession  time.Duration // 1 to 12 hours; 0 for 1 hour
	By          string        // who makes it, empty for the command line
}

// AssumableChange says what to change of a role. What is nil stays as it is.
type AssumableChange struct {
	Description *string
	Roles       *[]Role
	Trust       json.RawMessage
	MaxSession  *time.Duration
}

// CreateAssumable makes a role. Its trust document is understood in every detail, or refused with [ErrInvalid]; the users and
// roles that it names must be there.
func (s *Service) CreateAssumable(spec AssumableSpec) (Assumable, error) {
	return Assumable{}, errNotBuilt
}

// UpdateAssumable changes a role. Rights count at once, also for sessions that there are. An empty account is that of the
// installation.
func (s *Service) UpdateAssumable(account, name string, ch AssumableChange) (Assumable, error) {
	return Assumable{}, errNotBuilt
}

// DeleteAssumable deletes a role, and ends its sessions, at once.
func (s *Service) DeleteAssumable(account, name string) error { return errNotBuilt }

// RevokeSessions ends all sessions of a role that were issued until now, and those that came of them.
func (s *Service) RevokeSessions(account, name string) (Assumable, error) {
	return Assumable{}, errNotBuilt
}

// Assumables lists the roles, by account and name.
func (s *Service) Assumables() []Assumable { return nil }

// Assumable gives a role, or [ErrNotFound]. An empty account is that of the installation; case of the name does not count.
func (s *Service) Assumable(account, name string) (Assumable, error) {
	return Assumable{}, errNotBuilt
}

// Restore takes back the deletion of a user with its credentials, of an access key or of a role, by its id, when this process
// deleted it a moment ago: for changes that turn out not to be recordable. Else the error is [ErrNotFound].
func (s *Service) Restore(id string) error { return errNotBuilt }

// TrustOf makes a trust document that lets principals assume a role: ARNs of users, roles and accounts, or "*" for everybody
// of the installation.
func TrustOf(principals ...string) (json.RawMessage, error) { return nil, errNotBuilt }

// CheckTrust checks the form of a trust document. The error is [ErrInvalid], with place and reason.
func CheckTrust(trust json.RawMessage) error { return errNotBuilt }
