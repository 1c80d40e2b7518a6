// Package iam knows who may do what: principals, their credentials, the roles they can assume, and the policies that decide.
//
// A principal is the root of the installation or a user. Users have roles; what a role may do is written as Cedar policies
// (https://www.cedarpolicy.com), which are part of the package, and policies of the operator can be added. A token is the
// credential of a principal: 256 random bits, of which only a hash is kept. An access key is one for AWS's clients, whose secret
// is kept sealed with a master key. An [Assumable] is what AWS calls a role: its trust document says who may have temporary
// credentials of it. Those are stored nowhere: their session token is all of them, sealed, and every use of it looks at the
// state, so that what takes a right away counts at once.
//
// The state is one file in a folder, replaced as a whole and synced before a change is acknowledged; docs/formats/iam.md
// describes it. One process at a time may change it. A [Service] may be used by any number of goroutines.
package iam

import (
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Errors of changes. Their text is for the caller who made a mistake.
var (
	ErrNotFound = errors.New("not found")
	ErrExists   = errors.New("exists already")
	ErrInvalid  = errors.New("not valid")
	ErrLimit    = errors.New("too many")
	ErrLocked   = errors.New("the access state is in use")
	ErrNewer    = errors.New("written by a newer program")
	ErrDamaged  = errors.New("damaged")
	ErrReadOnly = errors.New("opened for reading only")
	ErrDenied   = errors.New("not permitted")
	// ErrTrust is the [ErrInvalid] of trust documents.
	ErrTrust = fmt.Errorf("trust document: %w", ErrInvalid)
)

// Kind says what sort of principal it is.
type Kind string

// The kinds.
const (
	KindRoot Kind = "root" // of the installation; there is one, and it cannot be deleted
	KindUser Kind = "user"
	KindRole Kind = "role" // a session of a role that was assumed
)

// RootName is the name of the root principal. No user has it.
const RootName = "root"

// Role is a set of permissions with a name.
type Role string

// The ready roles.
const (
	RoleAdmin    Role = "admin"
	RoleAnalyst  Role = "analyst"
	RoleAuditor  Role = "auditor"
	RoleRecorder Role = "recorder"
	RoleStorage  Role = "storage"
)

// RoleInfo tells about a role.
type RoleInfo struct {
	Role Role   `json:"role"`
	Doc  string `json:"doc"`
}

// Roles lists the ready roles.
func Roles() []RoleInfo {
	return []RoleInfo{
		{RoleAdmin, "everything, but for what belongs to root itself"},
		{RoleAnalyst, "reads and queries events, reads objects, and sees how the service is doing"},
		{RoleAuditor, "reads everything, also configuration and who has access; changes nothing"},
		{RoleRecorder, "puts events in, and reads none"},
		{RoleStorage, "an application's: reads and writes objects of buckets, and uses keys"},
	}
}

// policyPrefix is what the roles are to AWS's clients: managed policies.
const policyPrefix = "arn:aws:iam::aws:policy/Spoor"

// PolicyARN is the managed policy that the role is to AWS's clients: arn:aws:iam::aws:policy/SpoorAdmin.
func (r Role) PolicyARN() string {
	if r == "" {
		return ""
	}
	return policyPrefix + strings.ToUpper(string(r[:1])) + string(r[1:])
}

// RoleOfPolicy gives the role that is a managed policy to AWS's clients.
func RoleOfPolicy(arn string) (Role, bool) {
	for _, i := range Roles() {
		if i.Role.PolicyARN() == arn {
			return i.Role, true
		}
	}
	return "", false
}

func knownRole(r Role) bool {
	return slices.ContainsFunc(Roles(), func(i RoleInfo) bool { return i.Role == r })
}

// Principal is who acts.
type Principal struct {
	// ID is never used again, also when the name is. Root's is the account, that of a session of a role ROLE-ID:SESSION.
	ID      string    `json:"id"`
	Kind    Kind      `json:"kind"`
	Name    string    `json:"name"`    // of a session of a role ROLE/SESSION, which is no name of a user
	Account string    `json:"account"` // of the installation, of roles their own; 12 digits
	Roles   []Role    `json:"roles"`   // sorted; root has none and needs none
	Created time.Time `json:"created"`
	By      string    `json:"by"` // who made it: a principal's name, or "command line"
}

// ARN is the principal's name as AWS writes it.
func (p Principal) ARN() string {
	switch p.Kind {
	case KindRoot:
		return "arn:aws:iam::" + p.Account + ":root"
	case KindRole:
		return "arn:aws:sts::" + p.Account + ":assumed-role/" + p.Name
	}
	return "arn:aws:iam::" + p.Account + ":user/" + p.Name
}

// userName is what AWS allows in the name of a user. It has no character that needs care anywhere.
var userName = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,64}$`)

// CheckName checks the name of a new user.
func CheckName(name string) error {
	if !userName.MatchString(name) {
		return fmt.Errorf("user name %.80q: %w: want 1 to 64 letters, digits or +=,.@_-", name, ErrInvalid)
	}
	if strings.EqualFold(name, RootName) {
		return fmt.Errorf("user name %q: %w: it belongs to the root principal", name, ErrInvalid)
	}
	return nil
}

// checkRoles gives roles sorted and once each.
func checkRoles(roles []Role) ([]Role, error) {
	out := slices.Clone(roles)
	slices.Sort(out)
	out = slices.Compact(out)
	for _, r := range out {
		if !knownRole(r) {
			return nil, fmt.Errorf("role %.80q: %w: want %s", r, ErrInvalid, roleNames())
		}
	}
	if out == nil {
		out = []Role{}
	}
	return out, nil
}

func roleNames() string {
	var names []string
	for _, r := range Roles() {
		names = append(names, string(r.Role))
	}
	return strings.Join(names[:len(names)-1], ", ") + " or " + names[len(names)-1]
}

// base32Text is the alphabet of ids and secrets: no character that a double click, a URL or a shell would stumble over.
var base32Text = base32.StdEncoding.WithPadding(base32.NoPadding)

// randomText is n random bytes as text.
func randomText(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return base32Text.EncodeToString(b)
}
