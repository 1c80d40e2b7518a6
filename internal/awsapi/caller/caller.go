// Package caller makes package iam what the AWS-compatible endpoint asks: who calls, and whether they may.
package caller

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/iam"
	"spoor/internal/recorder"
)

// Of returns who makes a call. The subject of its principal is the [iam.Credential] that it was signed with.
func Of(access *iam.Service, c *awsapi.Call) (iam.Caller, error) {
	if access == nil {
		return iam.Caller{}, errors.New("the endpoint was made without principals")
	}
	key, ok := c.Principal.Subject.(iam.Credential)
	if !ok {
		return iam.Caller{}, fmt.Errorf("the caller is a %T, not an access key of this installation", c.Principal.Subject)
	}
	return access.CallerOf(key, c.Address, c.TLS), nil
}

// Access is package iam as the endpoint's [awsapi.Credentials], [awsapi.Authorizer] and [awsapi.Attempts].
type Access struct {
	IAM          *iam.Service
	Organization string           // id of that of the installation, of which all principals are; empty for none
	Now          func() time.Time // that policies of resources are told; default [time.Now]
}

// Lookup implements [awsapi.Credentials].
func (a Access) Lookup(ctx context.Context, id, token string) (awsapi.Credential, error) {
	c, err := a.IAM.Credential(ctx, id, token)
	if errors.Is(err, iam.ErrNotFound) {
		return awsapi.Credential{}, awsapi.ErrUnknownKey
	}
	if err != nil {
		return awsapi.Credential{}, err
	}
	return awsapi.Credential{Secret: c.Secret, Token: c.Token, Expires: c.Expires, Principal: awsapi.Principal{Identity: Identity(c), Subject: c}}, nil
}

// Authorize implements [awsapi.Authorizer]. Why it is denied is for the log alone: callers learn who may not do what.
func (a Access) Authorize(ctx context.Context, x awsapi.Access) error {
	c, err := Of(a.IAM, &awsapi.Call{Principal: x.Principal, Address: x.Address, TLS: x.TLS})
	if err != nil {
		return err
	}
	if err := a.IAM.AuthorizeARN(ctx, c, iam.Action(x.Action), x.Resources...).Err(); err != nil {
		return fmt.Errorf("%w: %w", awsapi.ErrDenied, err)
	}
	return nil
}

// Wait implements [awsapi.Attempts].
func (a Access) Wait(from netip.Addr, id string) time.Duration { return a.IAM.KeyWait(from, id) }

// Failed implements [awsapi.Attempts].
func (a Access) Failed(from netip.Addr, id string) { a.IAM.KeyFailed(from, id) }

// Identity is who a credential belongs to, as records have it. The endpoint adds the key.
func Identity(c iam.Credential) recorder.Identity {
	p := c.Principal
	id := recorder.Identity{PrincipalID: p.ID, ARN: p.ARN(), AccountID: p.Account}
	switch p.Kind {
	case iam.KindRoot:
		id.Type = "Root"
	case iam.KindRole:
		id.Type = "AssumedRole"
	default:
		id.Type, id.UserName = "IAMUser", p.Name
	}
	if c.Session == nil {
		return id
	}
	id.SessionContext = &recorder.SessionContext{
		Attributes:     recorder.SessionAttributes{CreationDate: c.Session.Issued.UTC().Format(time.RFC3339), MFAAuthenticated: fmt.Sprint(c.Session.MFA)},
		SourceIdentity: c.Session.SourceIdentity,
	}
	if r := c.Session.Role; r != nil {
		id.SessionContext.SessionIssuer = &recorder.SessionIssuer{Type: "Role", PrincipalID: r.ID, ARN: r.ARN(), AccountID: r.Account, UserName: r.Name}
	}
	return id
}
