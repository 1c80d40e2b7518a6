package iam

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"spoor/internal/awsapi"
	model "spoor/internal/awsapi/model/iam"
	"spoor/internal/iam"
)

func noRole(name string) string { return "The role with name " + name + " cannot be found." }

// role finds a role of the caller's account.
func (s *service) role(c *awsapi.Call, name string) (iam.Assumable, error) {
	if _, err := s.who(c); err != nil {
		return iam.Assumable{}, err
	}
	a, err := s.o.Access.Assumable(c.Account, name)
	return a, refuse(err, noRole(name))
}

// tellRole is a role as lists have it.
func tellRole(a iam.Assumable) model.Role {
	r := model.Role{
		Path: &a.Path, RoleName: &a.Name, RoleId: &a.ID, Arn: new(a.ARN()), CreateDate: moment(a.Created),
		AssumeRolePolicyDocument: document(a.Trust), MaxSessionDuration: new(int32(a.MaxSession / time.Second)),
	}
	if a.Description != "" {
		r.Description = &a.Description
	}
	return r
}

func (s *service) createRole(_ context.Context, c *awsapi.Call, in *model.CreateRoleRequest) (*model.CreateRoleResponse, error) {
	if err := unsupported(in.PermissionsBoundary, in.Tags); err != nil {
		return nil, err
	}
	who, err := s.who(c)
	if err != nil {
		return nil, err
	}
	spec := iam.AssumableSpec{
		Name: *in.RoleName, Account: c.Account, Path: text(in.Path), Description: text(in.Description),
		Trust: json.RawMessage(*in.AssumeRolePolicyDocument), By: who.Principal.Name,
	}
	if in.MaxSessionDuration != nil {
		spec.MaxSession = time.Duration(*in.MaxSessionDuration) * time.Second
	}
	a, err := s.o.Access.CreateAssumable(spec)
	switch {
	case errors.Is(err, iam.ErrExists):
		return nil, awsapi.Errorf(alreadyExists, "Role with name %s already exists.", *in.RoleName)
	case err != nil:
		return nil, refuse(err, "")
	}
	s.takeBack(c, "CreateRole "+a.ARN(), func() error { return s.o.Access.DeleteAssumable(a.Account, a.Name) })
	return &model.CreateRoleResponse{Role: new(tellRole(a))}, nil
}

func (s *service) getRole(_ context.Context, c *awsapi.Call, in *model.GetRoleRequest) (*model.GetRoleResponse, error) {
	a, err := s.role(c, *in.RoleName)
	if err != nil {
		return nil, err
	}
	r := tellRole(a)
	r.RoleLastUsed = &model.RoleLastUsed{LastUsedDate: moment(a.LastUsed)}
	return &model.GetRoleResponse{Role: &r}, nil
}

func (s *service) listRoles(_ context.Context, c *awsapi.Call, in *model.ListRolesRequest) (*model.ListRolesResponse, error) {
	if _, err := s.who(c); err != nil {
		return nil, err
	}
	roles := []model.Role{}
	for _, a := range s.o.Access.Assumables() {
		if a.Account == c.Account && under(a.Path, in.PathPrefix) {
			roles = append(roles, tellRole(a))
		}
	}
	roles, truncated, next, err := paged(roles, func(r model.Role) string { return *r.RoleName }, in.Marker, in.MaxItems, c.Operation, c.Account, text(in.PathPrefix))
	if err != nil {
		return nil, err
	}
	return &model.ListRolesResponse{Roles: roles, IsTruncated: truncated, Marker: next}, nil
}

// change changes a role, and takes that back by what it was before.
func (s *service) change(c *awsapi.Call, a iam.Assumable, there, back iam.AssumableChange) error {
	if _, err := s.o.Access.UpdateAssumable(a.Account, a.Name, there); err != nil {
		return refuse(err, noRole(a.Name))
	}
	s.takeBack(c, c.Operation+" "+a.ARN(), func() error {
		_, err := s.o.Access.UpdateAssumable(a.Account, a.Name, back)
		return err
	})
	return nil
}

func (s *service) updateRole(_ context.Context, c *awsapi.Call, in *model.UpdateRoleRequest) (*model.UpdateRoleResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.role(c, *in.RoleName)
	if err != nil {
		return nil, err
	}
	var there, back iam.AssumableChange
	if in.Description != nil {
		there.Description, back.Description = in.Description, &a.Description
	}
	if in.MaxSessionDuration != nil {
		there.MaxSession, back.MaxSession = new(time.Duration(*in.MaxSessionDuration)*time.Second), &a.MaxSession
	}
	if err := s.change(c, a, there, back); err != nil {
		return nil, err
	}
	return &model.UpdateRoleResponse{}, nil
}

func (s *service) updateAssumeRolePolicy(_ context.Context, c *awsapi.Call, in *model.UpdateAssumeRolePolicyRequest) (*struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.role(c, *in.RoleName)
	if err != nil {
		return nil, err
	}
	return nil, s.change(c, a, iam.AssumableChange{Trust: json.RawMessage(*in.PolicyDocument)}, iam.AssumableChange{Trust: a.Trust})
}

func (s *service) deleteRole(_ context.Context, c *awsapi.Call, in *model.DeleteRoleRequest) (*struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, err := s.role(c, *in.RoleName)
	switch {
	case err != nil:
		return nil, err
	case len(a.Roles) > 0:
		return nil, awsapi.Errorf(deleteConflict, "Cannot delete entity, must detach all policies first.")
	}
	if err := s.o.Access.DeleteAssumable(a.Account, a.Name); err != nil {
		return nil, refuse(err, noRole(a.Name))
	}
	s.takeBack(c, "DeleteRole "+a.ARN(), func() error { return s.o.Access.Restore(a.ID) })
	return nil, nil
}

// attachRole gives a role one of the ready roles, or takes it away.
func (s *service) attachRole(c *awsapi.Call, name, arn string, give bool) error {
	a, err := s.role(c, name)
	if err != nil {
		return err
	}
	return refuse(s.attach(c, a.ARN(), arn, give, func() ([]iam.Role, error) {
		now, err := s.o.Access.Assumable(a.Account, a.Name)
		if err == nil && now.ID != a.ID {
			err = iam.ErrNotFound
		}
		return now.Roles, err
	}, func(roles []iam.Role) error {
		_, err := s.o.Access.UpdateAssumable(a.Account, a.Name, iam.AssumableChange{Roles: &roles})
		return err
	}), noRole(a.Name))
}

func (s *service) attachRolePolicy(_ context.Context, c *awsapi.Call, in *model.AttachRolePolicyRequest) (*struct{}, error) {
	return nil, s.attachRole(c, *in.RoleName, *in.PolicyArn, true)
}

func (s *service) detachRolePolicy(_ context.Context, c *awsapi.Call, in *model.DetachRolePolicyRequest) (*struct{}, error) {
	return nil, s.attachRole(c, *in.RoleName, *in.PolicyArn, false)
}

func (s *service) listAttachedRolePolicies(_ context.Context, c *awsapi.Call, in *model.ListAttachedRolePoliciesRequest) (*model.ListAttachedRolePoliciesResponse, error) {
	a, err := s.role(c, *in.RoleName)
	if err != nil {
		return nil, err
	}
	list, truncated, next, err := attached(c, a.Roles, in.PathPrefix, in.Marker, in.MaxItems, a.ID)
	return &model.ListAttachedRolePoliciesResponse{AttachedPolicies: list, IsTruncated: truncated, Marker: next}, err
}
