package iam

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"spoor/internal/seal"
)

const (
	masterName = "master.key"
	sealLabel  = "spoor iam v1 "
)

// readMaster reads the master key; nil when there is none yet.
func readMaster(path string) (*seal.Key, error) {
	master, err := seal.ReadMaster(path)
	if errors.Is(err, seal.ErrMaster) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil || master == nil {
		return nil, err
	}
	return seal.New(master, sealLabel)
}

// usable is the key with which secrets in a state were sealed, nil when it is not at hand.
func (s *Service) usable(f *file) *seal.Key {
	if k := s.ring.Load(); k != nil && k.ID() == f.MasterKey {
		return k
	}
	return nil
}

// needRing gives the key for what is to be sealed, and makes the master key when it is needed for the first time. While
// there are secrets that were sealed with another one, none is made: that one may come back. The caller holds mu, and makes f
// durable before what was sealed leaves.
func (s *Service) needRing(f *file) (*seal.Key, error) {
	if k := s.usable(f); k != nil {
		return k, nil
	}
	path := filepath.Join(s.dir, masterName)
	k := s.ring.Load()
	if slices.ContainsFunc(f.Credentials, func(c fileCredential) bool { return c.Type == typeAccessKey }) {
		what := "is not the one"
		if k == nil {
			what = "is missing"
		}
		return nil, fmt.Errorf("the master key %s %s with which secrets of access keys were sealed: %w: put it back, or delete those keys", path, what, ErrDamaged)
	}
	if k == nil {
		master := seal.Random()
		if err := seal.WriteMaster(path, master); err != nil {
			return nil, err
		}
		var err error
		if k, err = seal.New(master, sealLabel); err != nil {
			return nil, err
		}
		s.ring.Store(k)
	}
	f.MasterKey = k.ID()
	return k, nil
}

// sealer gives the key for sessions.
func (s *Service) sealer() (k *seal.Key, err error) {
	if k := s.usable(s.now().file); k != nil {
		return k, nil
	}
	err = s.change(false, func(f *file, _ time.Time) error {
		k, err = s.needRing(f)
		return err
	})
	return k, err
}
