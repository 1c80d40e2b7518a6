package iam

import (
	"context"
	"net/netip"
	"time"
)

// Session is what temporary credentials stand for.
type Session struct {
	Role           *Assumable        // as it is now; nil for a session of a user or root
	User           string            // name of the user or root from whom it came, through however many roles
	Name           string            // of the session of a role
	SourceIdentity string            // that was set when the first role was assumed, and stays
	Issued         time.Time         // to the second
	Expires        time.Time         // to the second
	Tags           map[string]string // of the session
	MFA            bool              // never set: there is none
}

// Credential is an access key with its secret, and who it belongs to. It counts for one call: the next one asks again.
type Credential struct {
	ID        string
	Secret    string
	Token     string    // session token, of temporary ones
	Expires   time.Time // of temporary ones; may be over
	Principal Principal // of [KindRoot], [KindUser] or [KindRole]
	Session   *Session  // of temporary ones
}

// Credential finds an access key. The error is [ErrNotFound] for one that is unknown, switched off, deleted or revoked, and
// for a session token that does not belong to it; one that has merely expired is found.
func (s *Service) Credential(ctx context.Context, accessKeyID, sessionToken string) (Credential, error) {
	return Credential{}, errNotBuilt
}

// CallerOf is the caller who came with a credential.
func (s *Service) CallerOf(c Credential, address netip.Addr, tls bool) Caller {
	return Caller{Principal: c.Principal, AccessKey: c.ID, Session: c.Session, Address: address, TLS: tls}
}

// AssumeSpec says what role to assume.
type AssumeSpec struct {
	RoleARN        string
	SessionName    string
	ExternalID     string
	SourceIdentity string
	Duration       time.Duration // 15 minutes to the longest of the role, 1 hour for who is in a role already; 0 for 1 hour
	Tags           map[string]string
}

// AssumeRole makes temporary credentials of a role. The error is [ErrDenied] when the role's trust document or a policy does not
// permit it, or when there is no such role, and [ErrInvalid] for what cannot be.
func (s *Service) AssumeRole(ctx context.Context, c Caller, spec AssumeSpec) (Credential, error) {
	return Credential{}, errNotBuilt
}

// SessionToken makes temporary credentials of the caller: of a user for 15 minutes to 36 hours, 12 hours by default, of root for
// 1 hour at most. The error is [ErrDenied] for callers who have temporary ones themselves.
func (s *Service) SessionToken(ctx context.Context, c Caller, d time.Duration) (Credential, error) {
	return Credential{}, errNotBuilt
}

// AuthorizeARN decides whether a caller may do something to resources that have ARNs: the first one that is refused decides.
// Without an ARN it is done to the server. Managed policies among the ARNs are the roles that policies find in context.roles.
func (s *Service) AuthorizeARN(ctx context.Context, c Caller, a Action, arns ...string) Decision {
	return decision(c.Principal, a, Resource{}).deny("not built yet")
}
