package iam

import (
	"context"
	"errors"

	"spoor/internal/awsapi"
	model "spoor/internal/awsapi/model/iam"
	"spoor/internal/iam"
)

// The states of access keys.
const (
	active   = "Active"
	inactive = "Inactive"
)

// never stands in place of a service and a Region for a key that was not used yet.
const never = "N/A"

func noKey(id string) string { return "The Access Key with id " + id + " cannot be found." }

func status(k iam.AccessKey) *string {
	if k.Active {
		return new(active)
	}
	return new(inactive)
}

func (s *service) createAccessKey(_ context.Context, c *awsapi.Call, in *model.CreateAccessKeyRequest) (*model.CreateAccessKeyResponse, error) {
	s.mu.Lock() // a user who is being deleted gets no key
	defer s.mu.Unlock()
	p, err := s.user(c, in.UserName)
	if err != nil {
		return nil, err
	}
	who, err := s.who(c)
	if err != nil {
		return nil, err
	}
	k, secret, err := s.o.Access.CreateAccessKey(iam.KeySpec{User: p.Name, By: who.Principal.Name})
	switch {
	case errors.Is(err, iam.ErrLimit):
		return nil, awsapi.Errorf(limitExceeded, "Cannot exceed quota for AccessKeysPerUser: %d", keysPerUser)
	case err != nil:
		return nil, refuse(err, noUser(p.Name))
	}
	s.takeBack(c, "CreateAccessKey "+k.ID, func() error { return s.o.Access.DeleteAccessKey(k.User, k.ID) })
	return &model.CreateAccessKeyResponse{AccessKey: &model.AccessKey{
		UserName: &k.User, AccessKeyId: &k.ID, SecretAccessKey: &secret, Status: status(k), CreateDate: moment(k.Created),
	}}, nil
}

// key finds an access key of a user; without a name, of the caller.
func (s *service) key(c *awsapi.Call, name *string, id string) (iam.AccessKey, error) {
	p, err := s.user(c, name)
	if err != nil {
		return iam.AccessKey{}, err
	}
	k, err := s.o.Access.AccessKey(id)
	if err == nil && k.User != p.Name {
		err = iam.ErrNotFound
	}
	return k, refuse(err, noKey(id))
}

func (s *service) updateAccessKey(_ context.Context, c *awsapi.Call, in *model.UpdateAccessKeyRequest) (*struct{}, error) {
	if *in.Status != active && *in.Status != inactive {
		return nil, awsapi.Errorf(invalidInput, "An access key can be made %s or %s", active, inactive)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k, err := s.key(c, in.UserName, *in.AccessKeyId)
	if err != nil || *status(k) == *in.Status {
		return nil, err
	}
	if _, err := s.o.Access.SetAccessKey(k.User, k.ID, !k.Active); err != nil {
		return nil, refuse(err, noKey(k.ID))
	}
	s.takeBack(c, "UpdateAccessKey "+k.ID, func() error {
		_, err := s.o.Access.SetAccessKey(k.User, k.ID, k.Active)
		return err
	})
	return nil, nil
}

func (s *service) deleteAccessKey(_ context.Context, c *awsapi.Call, in *model.DeleteAccessKeyRequest) (*struct{}, error) {
	k, err := s.key(c, in.UserName, *in.AccessKeyId)
	if err != nil {
		return nil, err
	}
	if err := s.o.Access.DeleteAccessKey(k.User, k.ID); err != nil {
		return nil, refuse(err, noKey(k.ID))
	}
	s.takeBack(c, "DeleteAccessKey "+k.ID, func() error { return s.o.Access.Restore(k.ID) })
	return nil, nil
}

func (s *service) listAccessKeys(_ context.Context, c *awsapi.Call, in *model.ListAccessKeysRequest) (*model.ListAccessKeysResponse, error) {
	p, err := s.user(c, in.UserName)
	if err != nil {
		return nil, err
	}
	keys := []model.AccessKeyMetadata{}
	for _, k := range s.o.Access.AccessKeys(p.Name) {
		keys = append(keys, model.AccessKeyMetadata{UserName: &k.User, AccessKeyId: &k.ID, Status: status(k), CreateDate: moment(k.Created)})
	}
	keys, truncated, next, err := paged(keys, func(k model.AccessKeyMetadata) string { return *k.AccessKeyId }, in.Marker, in.MaxItems, c.Operation, p.ID)
	if err != nil {
		return nil, err
	}
	return &model.ListAccessKeysResponse{AccessKeyMetadata: keys, IsTruncated: truncated, Marker: next}, nil
}

// keyOwner names the user that a key belongs to, which is who may be asked about.
func (s *service) keyOwner(c *awsapi.Call, in *model.GetAccessKeyLastUsedRequest) []string {
	if s.o.Access == nil {
		return nil
	}
	k, err := s.o.Access.AccessKey(*in.AccessKeyId)
	if err != nil {
		return nil
	}
	return userARN(c, &k.User)
}

func (s *service) getAccessKeyLastUsed(_ context.Context, c *awsapi.Call, in *model.GetAccessKeyLastUsedRequest) (*model.GetAccessKeyLastUsedResponse, error) {
	if _, err := s.who(c); err != nil {
		return nil, err
	}
	k, err := s.o.Access.AccessKey(*in.AccessKeyId)
	if err != nil || c.Account != s.o.Access.Account() {
		return nil, refuse(errors.Join(err, iam.ErrNotFound), noKey(*in.AccessKeyId))
	}
	used := &model.AccessKeyLastUsed{ServiceName: new(never), Region: new(never), LastUsedDate: moment(k.LastUsed)}
	if k.LastService != "" {
		used.ServiceName, used.Region = &k.LastService, &k.LastRegion
	}
	return &model.GetAccessKeyLastUsedResponse{UserName: &k.User, AccessKeyLastUsed: used}, nil
}
