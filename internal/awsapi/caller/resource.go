package caller

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/iam"
	"spoor/internal/policy"
)

// Guarded is a resource that has, or may have, a policy of its own.
type Guarded struct {
	Owner        string           // account of the resource; empty where it is that of the caller
	Policy       *policy.Document // nil for none
	MustDelegate bool             // as of keys: without the policy nobody may, also not of the account
	// Conditions are what the service knows of the request, such as s3:x-amz-acl. What is general is filled in.
	Conditions map[string][]string
}

// DeniedError is the error of a caller who may not do something to a resource. It is an [awsapi.ErrDenied], and its text is in
// AWS's words, for the caller.
type DeniedError struct {
	Access   awsapi.Access
	Resource string // ARN
	why      string // for the caller
	cause    error  // for the log alone
}

// Error is what the caller is told.
func (e *DeniedError) Error() string {
	who := e.Access.Principal.Identity.ARN
	if who == "" {
		who = "anonymous"
	}
	on := ""
	if e.Resource != "" {
		on = " on resource: " + e.Resource
	}
	return fmt.Sprintf("User: %s is not authorized to perform: %s%s %s", who, e.Access.Action, on, e.why)
}

// Unwrap makes it an [awsapi.ErrDenied]. What else is there is for the log alone.
func (e *DeniedError) Unwrap() []error {
	if e.cause == nil {
		return []error{awsapi.ErrDenied}
	}
	return []error{awsapi.ErrDenied, e.cause}
}

// AccessOf is what a call wants to do.
func AccessOf(c *awsapi.Call, action string, arns ...string) awsapi.Access {
	return awsapi.Access{Principal: c.Principal, Action: action, Resources: arns, Address: c.Address, TLS: c.TLS, UserAgent: c.UserAgent}
}

// AuthorizeResource decides whether a principal may do something to each of x.Resources, which the same policy guards: by what the
// policies of principals say and what that of the resource says. A denial of either refuses. In the account of the resource it is
// enough that one of them allows, unless the policy has to delegate; from another account both have to. Who has no credentials, and
// services that ask on their own, may what the policy of the resource allows them. The error is a [*DeniedError].
func (a Access) AuthorizeResource(ctx context.Context, x awsapi.Access, g Guarded) error {
	by := PolicyPrincipal(x.Principal)
	conditions := a.conditions(x, g)
	arns := x.Resources
	if len(arns) == 0 {
		arns = []string{""}
	}
	for _, arn := range arns {
		effect, statement := g.Policy.Evaluate(policy.Request{Principal: by, Action: x.Action, Resource: arn, Conditions: conditions})
		denied := func(cause error, format string, args ...any) error {
			return &DeniedError{Access: x, Resource: arn, why: fmt.Sprintf(format, args...), cause: cause}
		}
		if effect == policy.Deny {
			return denied(fmt.Errorf("denied by statement %s of the resource's policy", statement), "with an explicit deny in a resource-based policy")
		}
		if by.Anonymous || by.Service != "" {
			if effect != policy.Allow {
				return denied(nil, "because no resource-based policy allows the %s action", x.Action)
			}
			continue
		}
		c, err := Of(a.IAM, &awsapi.Call{Principal: x.Principal, Address: x.Address, TLS: x.TLS})
		if err != nil {
			return err
		}
		named := x.Resources
		if len(named) > 0 {
			named = []string{arn}
		}
		d := a.IAM.AuthorizeARN(ctx, c, iam.Action(x.Action), named...)
		if !d.Allowed && !d.Silent() {
			return denied(d.Err(), "with an explicit deny in an identity-based policy")
		}
		own := g.Owner == "" || g.Owner == by.Account
		switch given := effect == policy.Allow || effect == policy.Delegate; {
		case own && effect == policy.Allow:
		case (!own || g.MustDelegate) && !given:
			return denied(nil, "because no resource-based policy allows the %s action", x.Action)
		case !d.Allowed:
			return denied(d.Err(), "because no identity-based policy allows the %s action", x.Action)
		}
	}
	return nil
}

// conditions are what a request's conditions may ask, but for what [policy.Principal] tells.
func (a Access) conditions(x awsapi.Access, g Guarded) map[string][]string {
	out := make(map[string][]string, len(g.Conditions)+8)
	for k, v := range g.Conditions {
		out[k] = v
	}
	put := func(k, v string) {
		if v != "" {
			out[k] = []string{v}
		}
	}
	now := time.Now
	if a.Now != nil {
		now = a.Now
	}
	at := now().UTC()
	put("aws:SecureTransport", strconv.FormatBool(x.TLS))
	put("aws:CurrentTime", at.Format(time.RFC3339))
	put("aws:EpochTime", strconv.FormatInt(at.Unix(), 10))
	put("aws:UserAgent", x.UserAgent)
	put("aws:ResourceAccount", g.Owner)
	if addr := x.Address.Unmap().WithZone(""); addr.IsValid() {
		put("aws:SourceIp", addr.String())
	}
	key, ok := x.Principal.Subject.(iam.Credential)
	if !ok {
		return out
	}
	put("aws:PrincipalOrgID", a.Organization)
	put("aws:ViaAWSService", "false")
	if s := key.Session; s != nil {
		put("aws:MultiFactorAuthPresent", strconv.FormatBool(s.MFA))
		put("aws:TokenIssueTime", s.Issued.UTC().Format(time.RFC3339))
		put("aws:SourceIdentity", s.SourceIdentity)
		for k, v := range s.Tags {
			out["aws:PrincipalTag/"+k] = []string{v}
		}
	}
	return out
}

// PolicyPrincipal is who a principal is to policies of resources. One without credentials is anonymous; the subject of a service
// that asks on its own is its [policy.Principal].
func PolicyPrincipal(p awsapi.Principal) policy.Principal {
	switch by := p.Subject.(type) {
	case policy.Principal:
		return by
	case iam.Credential:
		out := policy.Principal{ARN: by.Principal.ARN(), Account: by.Principal.Account, UserID: by.Principal.ID}
		if by.Principal.Kind == iam.KindUser {
			out.UserName = by.Principal.Name
		}
		if by.Session != nil && by.Session.Role != nil {
			out.RoleARN = by.Session.Role.ARN()
		}
		return out
	}
	return policy.Principal{Anonymous: true}
}
