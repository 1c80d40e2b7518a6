package iam

import (
	"context"
	"errors"

	"spoor/internal/awsapi"
	model "spoor/internal/awsapi/model/iam"
	"spoor/internal/iam"
)

// userPath is the path of all users.
const userPath = "/"

func noUser(name string) string { return "The user with name " + name + " cannot be found." }

// user finds the user of a name; of none, the caller. Root is one here, by the name root.
func (s *service) user(c *awsapi.Call, name *string) (iam.Principal, error) {
	who, err := s.who(c)
	if err != nil {
		return iam.Principal{}, err
	}
	if name == nil {
		if who.Principal.Kind == iam.KindRole {
			return iam.Principal{}, awsapi.Errorf(awsapi.Validation, "Must specify userName when calling with non-User credentials")
		}
		name = &who.Principal.Name
	}
	if c.Account != s.o.Access.Account() { // where there are no users
		return iam.Principal{}, awsapi.Errorf(noSuchEntity, "%s", noUser(*name))
	}
	p, err := s.o.Access.User(*name)
	return p, refuse(err, noUser(*name))
}

// plainUser is user without root, who has neither policies nor an end.
func (s *service) plainUser(c *awsapi.Call, name string) (iam.Principal, error) {
	p, err := s.user(c, &name)
	if err == nil && p.Kind == iam.KindRoot {
		return p, awsapi.Errorf(noSuchEntity, "%s", noUser(name))
	}
	return p, err
}

// tellUser is a user as answers have it. Root has no name and no path.
func tellUser(p iam.Principal) *model.User {
	u := &model.User{UserId: &p.ID, Arn: new(p.ARN()), CreateDate: moment(p.Created)}
	if p.Kind != iam.KindRoot {
		u.UserName, u.Path = &p.Name, new(userPath)
	}
	return u
}

func (s *service) createUser(_ context.Context, c *awsapi.Call, in *model.CreateUserRequest) (*model.CreateUserResponse, error) {
	if err := unsupported(in.PermissionsBoundary, in.Tags); err != nil {
		return nil, err
	}
	who, err := s.who(c)
	switch {
	case err != nil:
		return nil, err
	case in.Path != nil && *in.Path != userPath:
		return nil, awsapi.Errorf(invalidInput, "All users have the path / here: leave out Path")
	case c.Account != s.o.Access.Account():
		return nil, awsapi.Errorf(invalidInput, "Users belong to the account %s here, and you are in %s", s.o.Access.Account(), c.Account)
	}
	p, err := s.o.Access.CreateUser(*in.UserName, nil, who.Principal.Name)
	switch {
	case errors.Is(err, iam.ErrExists):
		return nil, awsapi.Errorf(alreadyExists, "User with name %s already exists.", *in.UserName)
	case err != nil:
		return nil, refuse(err, "")
	}
	s.takeBack(c, "CreateUser "+p.Name, func() error { return s.o.Access.DeleteUser(p.Name) })
	return &model.CreateUserResponse{User: tellUser(p)}, nil
}

func (s *service) getUser(_ context.Context, c *awsapi.Call, in *model.GetUserRequest) (*model.GetUserResponse, error) {
	p, err := s.user(c, in.UserName)
	if err != nil {
		return nil, err
	}
	return &model.GetUserResponse{User: tellUser(p)}, nil
}

func (s *service) listUsers(_ context.Context, c *awsapi.Call, in *model.ListUsersRequest) (*model.ListUsersResponse, error) {
	if _, err := s.who(c); err != nil {
		return nil, err
	}
	users := []model.User{}
	if c.Account == s.o.Access.Account() && under(userPath, in.PathPrefix) {
		for _, p := range s.o.Access.Users() {
			if p.Kind == iam.KindUser {
				users = append(users, *tellUser(p))
			}
		}
	}
	users, truncated, next, err := paged(users, func(u model.User) string { return *u.UserName }, in.Marker, in.MaxItems, c.Operation, c.Account, text(in.PathPrefix))
	if err != nil {
		return nil, err
	}
	return &model.ListUsersResponse{Users: users, IsTruncated: truncated, Marker: next}, nil
}

func (s *service) deleteUser(_ context.Context, c *awsapi.Call, in *model.DeleteUserRequest) (*struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.plainUser(c, *in.UserName)
	switch {
	case err != nil:
		return nil, err
	case len(s.o.Access.AccessKeys(p.Name)) > 0:
		return nil, awsapi.Errorf(deleteConflict, "Cannot delete entity, must delete access keys first.")
	case len(p.Roles) > 0:
		return nil, awsapi.Errorf(deleteConflict, "Cannot delete entity, must detach all policies first.")
	}
	if err := s.o.Access.DeleteUser(p.Name); err != nil {
		return nil, refuse(err, noUser(p.Name))
	}
	s.takeBack(c, "DeleteUser "+p.Name, func() error { return s.o.Access.Restore(p.ID) })
	return nil, nil
}

// attachUser gives a user a role, or takes it away.
func (s *service) attachUser(c *awsapi.Call, name, arn string, give bool) error {
	p, err := s.plainUser(c, name)
	if err != nil {
		return err
	}
	return refuse(s.attach(c, p.Name, arn, give, func() ([]iam.Role, error) {
		now, err := s.o.Access.User(p.Name)
		if err == nil && now.ID != p.ID { // another one of the same name
			err = iam.ErrNotFound
		}
		return now.Roles, err
	}, func(roles []iam.Role) error {
		_, err := s.o.Access.SetRoles(p.Name, roles)
		return err
	}), noUser(p.Name))
}

func (s *service) attachUserPolicy(_ context.Context, c *awsapi.Call, in *model.AttachUserPolicyRequest) (*struct{}, error) {
	return nil, s.attachUser(c, *in.UserName, *in.PolicyArn, true)
}

func (s *service) detachUserPolicy(_ context.Context, c *awsapi.Call, in *model.DetachUserPolicyRequest) (*struct{}, error) {
	return nil, s.attachUser(c, *in.UserName, *in.PolicyArn, false)
}

func (s *service) listAttachedUserPolicies(_ context.Context, c *awsapi.Call, in *model.ListAttachedUserPoliciesRequest) (*model.ListAttachedUserPoliciesResponse, error) {
	p, err := s.plainUser(c, *in.UserName)
	if err != nil {
		return nil, err
	}
	list, truncated, next, err := attached(c, p.Roles, in.PathPrefix, in.Marker, in.MaxItems, p.ID)
	return &model.ListAttachedUserPoliciesResponse{AttachedPolicies: list, IsTruncated: truncated, Marker: next}, err
}
