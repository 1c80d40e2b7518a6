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

// findMaster finds the master key of a state: when none is the one, what the file holds; nil when there is none yet. With
// settle, what a [Service.ReplaceMaster] that was cut short left is put in order.
func findMaster(path, id string, settle bool) (*seal.Key, error) {
	k, from, err := seal.FindMaster(path, sealLabel, id)
	if k == nil && err == nil {
		k, from, err = seal.FindMaster(path, sealLabel, "")
		settle = false
	}
	if errors.Is(err, seal.ErrMaster) {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err == nil && k != nil && settle {
		err = seal.SettleMaster(path, from)
	}
	return k, err
}

// ReplaceMaster replaces the master key, and seals the secrets of access keys with the new one; all sessions end. It gives the number
// of access keys. Nobody else may use the service meanwhile. After an error or a crash the old one counts, or, when all but the
// last step was done, the new one: the file has the one that fits when the service is opened again.
func (s *Service) ReplaceMaster() (keys int, err error) {
	master := seal.Random()
	next, err := seal.New(master, sealLabel)
	if err != nil {
		return 0, err
	}
	path := filepath.Join(s.dir, masterName)
	err = s.change(false, func(f *file, _ time.Time) error {
		old, err := s.needRing(f)
		if err != nil {
			return err
		}
		for i := range f.Credentials {
			c := &f.Credentials[i]
			if c.Type != typeAccessKey {
				continue
			}
			secret, err := old.Open(sealSecret, besideSecret(c.ID, c.User), c.Sealed)
			if err != nil {
				return fmt.Errorf("the secret of access key %s of %s: %w: delete that key: %w", c.ID, c.User, ErrDamaged, err)
			}
			if c.Sealed, err = next.Seal(sealSecret, besideSecret(c.ID, c.User), secret); err != nil {
				return err
			}
			keys++
		}
		f.MasterKey = next.ID()
		return seal.WriteMaster(seal.NextMaster(path), master)
	})
	if err != nil {
		return 0, fmt.Errorf("replace the master key: %w", err)
	}
	s.ring.Store(next)
	return keys, seal.SettleMaster(path, seal.NextMaster(path))
}

// besideSecret binds the secret of an access key to its user.
func besideSecret(id, user string) string { return id + "\x00" + user }

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
