// Package iam is the part of AWS Identity and Access Management that principals of Spoor have: users, their access keys, roles
// that can be assumed, and managed policies, which are Spoor's ready roles. What has no counterpart is refused, not ignored.
//
// Callers see the account that they are in. Users belong to the account of the installation; roles can belong to others too.
// What a call changed is taken back when it turns out that the call cannot be recorded.
package iam

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/caller"
	model "spoor/internal/awsapi/model/iam"
	"spoor/internal/awsapi/page"
	"spoor/internal/iam"
)

// Options are the parts behind the operations.
type Options struct {
	Access *iam.Service
	Log    *slog.Logger // default discards
}

// pageSize is how many items a page has when nobody asks for another number.
const pageSize = 100

// New makes the service.
func New(o Options) *awsapi.Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := awsapi.NewService(&model.Service, awsapi.ServiceOptions{Global: true})
	x := &service{o: o}

	awsapi.Handle(s, "CreateUser", x.createUser, onUser(func(in *model.CreateUserRequest) *string { return in.UserName }))
	awsapi.Handle(s, "GetUser", x.getUser, onUser(func(in *model.GetUserRequest) *string { return in.UserName }))
	awsapi.Handle(s, "ListUsers", x.listUsers)
	awsapi.Handle(s, "DeleteUser", x.deleteUser, onUser(func(in *model.DeleteUserRequest) *string { return in.UserName }))

	awsapi.Handle(s, "CreateAccessKey", x.createAccessKey, onUser(func(in *model.CreateAccessKeyRequest) *string { return in.UserName }))
	awsapi.Handle(s, "UpdateAccessKey", x.updateAccessKey, onUser(func(in *model.UpdateAccessKeyRequest) *string { return in.UserName }))
	awsapi.Handle(s, "DeleteAccessKey", x.deleteAccessKey, onUser(func(in *model.DeleteAccessKeyRequest) *string { return in.UserName }))
	awsapi.Handle(s, "ListAccessKeys", x.listAccessKeys, onUser(func(in *model.ListAccessKeysRequest) *string { return in.UserName }))
	awsapi.Handle(s, "GetAccessKeyLastUsed", x.getAccessKeyLastUsed, awsapi.On(x.keyOwner))

	awsapi.Handle(s, "CreateRole", x.createRole, awsapi.On(func(c *awsapi.Call, in *model.CreateRoleRequest) []string {
		path := "/"
		if in.Path != nil {
			path = *in.Path
		}
		return []string{"arn:" + c.Partition + ":iam::" + c.Account + ":role" + path + *in.RoleName}
	}))
	awsapi.Handle(s, "GetRole", x.getRole, onRole(x, func(in *model.GetRoleRequest) *string { return in.RoleName }))
	awsapi.Handle(s, "ListRoles", x.listRoles)
	awsapi.Handle(s, "UpdateRole", x.updateRole, onRole(x, func(in *model.UpdateRoleRequest) *string { return in.RoleName }))
	awsapi.Handle(s, "DeleteRole", x.deleteRole, onRole(x, func(in *model.DeleteRoleRequest) *string { return in.RoleName }))
	awsapi.Handle(s, "UpdateAssumeRolePolicy", x.updateAssumeRolePolicy, onRole(x, func(in *model.UpdateAssumeRolePolicyRequest) *string { return in.RoleName }))

	awsapi.Handle(s, "AttachUserPolicy", x.attachUserPolicy, awsapi.On(func(c *awsapi.Call, in *model.AttachUserPolicyRequest) []string {
		return append(userARN(c, in.UserName), *in.PolicyArn)
	}))
	awsapi.Handle(s, "DetachUserPolicy", x.detachUserPolicy, awsapi.On(func(c *awsapi.Call, in *model.DetachUserPolicyRequest) []string {
		return append(userARN(c, in.UserName), *in.PolicyArn)
	}))
	awsapi.Handle(s, "ListAttachedUserPolicies", x.listAttachedUserPolicies, onUser(func(in *model.ListAttachedUserPoliciesRequest) *string { return in.UserName }))
	awsapi.Handle(s, "AttachRolePolicy", x.attachRolePolicy, awsapi.On(func(c *awsapi.Call, in *model.AttachRolePolicyRequest) []string {
		return append(x.roleARN(c, *in.RoleName), *in.PolicyArn)
	}))
	awsapi.Handle(s, "DetachRolePolicy", x.detachRolePolicy, awsapi.On(func(c *awsapi.Call, in *model.DetachRolePolicyRequest) []string {
		return append(x.roleARN(c, *in.RoleName), *in.PolicyArn)
	}))
	awsapi.Handle(s, "ListAttachedRolePolicies", x.listAttachedRolePolicies, onRole(x, func(in *model.ListAttachedRolePoliciesRequest) *string { return in.RoleName }))

	awsapi.Handle(s, "ListPolicies", x.listPolicies)
	awsapi.Handle(s, "GetPolicy", x.getPolicy)
	awsapi.Handle(s, "GetPolicyVersion", x.getPolicyVersion)
	awsapi.Handle(s, "GetAccountSummary", x.getAccountSummary)
	awsapi.Handle(s, "ListAccountAliases", x.listAccountAliases)
	return s
}

type service struct {
	o Options
	// mu is held while something is changed by what it was before. Others who change it at the same moment, in the console,
	// do not hold it.
	mu sync.Mutex
}

// onUser names the user that a call is about: the caller, where it names none.
func onUser[In any](name func(*In) *string) awsapi.Option {
	return awsapi.On(func(c *awsapi.Call, in *In) []string { return userARN(c, name(in)) })
}

func userARN(c *awsapi.Call, name *string) []string {
	switch {
	case name == nil && c.Principal.Identity.Type == "AssumedRole":
		return nil // which no user is; the handler says so
	case name == nil:
		return []string{c.Principal.Identity.ARN}
	case *name == iam.RootName:
		return []string{"arn:" + c.Partition + ":iam::" + c.Account + ":root"}
	}
	return []string{"arn:" + c.Partition + ":iam::" + c.Account + ":user/" + *name}
}

// onRole names the role that a call is about.
func onRole[In any](s *service, name func(*In) *string) awsapi.Option {
	return awsapi.On(func(c *awsapi.Call, in *In) []string { return s.roleARN(c, *name(in)) })
}

// roleARN names a role, with its path where it is there.
func (s *service) roleARN(c *awsapi.Call, name string) []string {
	if s.o.Access != nil {
		if a, err := s.o.Access.Assumable(c.Account, name); err == nil {
			return []string{a.ARN()}
		}
	}
	return []string{"arn:" + c.Partition + ":iam::" + c.Account + ":role/" + name}
}

// who is who makes a call.
func (s *service) who(c *awsapi.Call) (iam.Caller, error) { return caller.Of(s.o.Access, c) }

// takeBack tells how a change is taken back, when the call that made it cannot be recorded.
func (s *service) takeBack(c *awsapi.Call, what string, undo func() error) {
	c.OnUnrecorded(func(context.Context) {
		if err := undo(); err != nil {
			s.o.Log.Error("a change of access that was not recorded could not be taken back",
				slog.String("change", what), slog.String("request", c.RequestID), slog.Any("error", err))
		}
	})
}

// Errors of the model.
const (
	noSuchEntity   = "NoSuchEntityException"
	alreadyExists  = "EntityAlreadyExistsException"
	limitExceeded  = "LimitExceededException"
	deleteConflict = "DeleteConflictException"
	malformed      = "MalformedPolicyDocumentException"
	invalidInput   = "InvalidInputException"
)

// refuse puts an error of package iam into AWS's words. missing is said of what is not there.
func refuse(err error, missing string) error {
	switch {
	case errors.Is(err, iam.ErrNotFound):
		return awsapi.Errorf(noSuchEntity, "%s", missing)
	case errors.Is(err, iam.ErrLimit):
		return awsapi.Errorf(limitExceeded, "%s", err)
	case errors.Is(err, iam.ErrTrust):
		return awsapi.Errorf(malformed, "%s", err)
	case errors.Is(err, iam.ErrInvalid):
		return awsapi.Errorf(awsapi.Validation, "%s", err)
	}
	return err
}

// unsupported refuses parameters that would mean something, if they were heeded.
func unsupported(boundary *string, tags []model.Tag) error {
	switch {
	case boundary != nil:
		return awsapi.Errorf(invalidInput, "Permissions boundaries are not supported here: leave out PermissionsBoundary")
	case len(tags) > 0:
		return awsapi.Errorf(invalidInput, "Users and roles have no tags here: leave out Tags")
	}
	return nil
}

// paged is a page of a list, in the members that answers have for it.
func paged[T any](items []T, key func(T) string, marker *string, most *int32, list ...string) (cut []T, truncated *bool, next *string, err error) {
	n := pageSize
	if most != nil {
		n = int(*most)
	}
	cut, next, err = page.Cut(items, key, marker, n, list...)
	if err != nil {
		return nil, nil, nil, awsapi.Errorf(awsapi.Validation, "Invalid Marker: %s", *marker)
	}
	return cut, new(next != nil), next, nil
}

// under reports whether a path begins as it was asked for.
func under(path string, prefix *string) bool {
	return prefix == nil || strings.HasPrefix(path, *prefix)
}

// document is a policy document as answers have it: with the escapes of a URL.
func document(text []byte) *string {
	return new(strings.ReplaceAll(url.QueryEscape(string(text)), "+", "%20"))
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
