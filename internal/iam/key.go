package iam

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AccessKey is what is known of an access key: all but its secret.
type AccessKey struct {
	ID          string    `json:"id"`   // AKIA and 16 characters
	User        string    `json:"user"` // name of its principal
	Active      bool      `json:"active"`
	Note        string    `json:"note,omitempty"`
	Created     time.Time `json:"created"`
	By          string    `json:"by"`
	LastUsed    time.Time `json:"lastUsed,omitzero"` // to the minute, after a crash older
	LastService string    `json:"lastService,omitempty"`
	LastRegion  string    `json:"lastRegion,omitempty"`
}

const (
	keyPrefix     = "AKIA"
	sessionPrefix = "ASIA"
	maxKeys       = 2 // of a principal, so that one can be replaced by another
	keySecret     = 30
	sealSecret    = "secret"
)

// newAWSID is as AWS makes them: a prefix that says what it is, and 16 characters.
func newAWSID(prefix string) string { return prefix + randomText(idBytes) }

// newKeySecret makes a secret of 40 characters of base 64, as AWS's are.
func newKeySecret() string {
	b := make([]byte, keySecret)
	_, _ = rand.Read(b) // never fails
	return base64.StdEncoding.EncodeToString(b)
}

// KeySpec says what access key to make.
type KeySpec struct {
	User string
	Note string // what it is for, up to 200 bytes
	By   string // who makes it, empty for the command line
}

func (c *credential) accessKey() AccessKey {
	where := c.place.Load()
	return AccessKey{ID: c.ID, User: c.User, Active: !c.Inactive, Note: c.Note, Created: c.Created, By: c.By, LastUsed: c.last(), LastService: where.service, LastRegion: where.region}
}

// CreateAccessKey makes an access key. This is the only time that anybody can have the secret. A principal has two at most:
// the error of a third is [ErrLimit].
func (s *Service) CreateAccessKey(spec KeySpec) (k AccessKey, secret string, err error) {
	if err := checkNote(spec.Note); err != nil {
		return k, "", err
	}
	id, secret := newAWSID(keyPrefix), newKeySecret()
	err = s.change(false, func(f *file, now time.Time) error {
		if spec.User != RootName {
			if _, err := f.user(spec.User); err != nil {
				return err
			}
		}
		if err := f.roomForKey(spec.User); err != nil {
			return err
		}
		ring, err := s.needRing(f)
		if err != nil {
			return err
		}
		sealed, err := ring.Seal(sealSecret, besideSecret(id, spec.User), []byte(secret))
		if err != nil {
			return err
		}
		f.Credentials = append(f.Credentials, fileCredential{ID: id, Type: typeAccessKey, User: spec.User, Sealed: sealed, Note: spec.Note, Created: now, By: actor(spec.By)})
		return nil
	})
	if err != nil {
		return k, "", err
	}
	return s.now().credentials[id].accessKey(), secret, nil
}

func (f *file) roomForKey(user string) error {
	n := 0
	for _, c := range f.Credentials {
		if c.Type == typeAccessKey && c.User == user {
			n++
		}
	}
	if n >= maxKeys {
		return fmt.Errorf("access key for %s: %w: there are %d, the most that one can have; delete one that is not in use", user, ErrLimit, maxKeys)
	}
	if len(f.Credentials) >= maxCredentials {
		return fmt.Errorf("access key for %s: %w: there are %d credentials", user, ErrLimit, maxCredentials)
	}
	return nil
}

// accessKey finds a key of a principal.
func (f *file) accessKey(user, id string) (int, error) {
	i := slices.IndexFunc(f.Credentials, func(c fileCredential) bool { return c.ID == id && c.Type == typeAccessKey && c.User == user })
	if i < 0 {
		return 0, fmt.Errorf("access key %.80q of %.80q: %w", id, user, ErrNotFound)
	}
	return i, nil
}

// SetAccessKey switches a key of a principal off and on. Sessions that came of it are off as long as it is.
func (s *Service) SetAccessKey(user, id string, active bool) (AccessKey, error) {
	err := s.change(!active, func(f *file, _ time.Time) error {
		i, err := f.accessKey(user, id)
		if err != nil {
			return err
		}
		f.Credentials[i].Inactive = !active
		return nil
	})
	if err != nil {
		return AccessKey{}, err
	}
	return s.AccessKey(id)
}

// DeleteAccessKey deletes a key of a principal, and ends the sessions that came of it, at once.
func (s *Service) DeleteAccessKey(user, id string) error {
	return s.change(true, func(f *file, now time.Time) error {
		i, err := f.accessKey(user, id)
		if err != nil {
			return err
		}
		sn, c := s.now(), f.Credentials[i]
		sn.credentials[id].fill(&c)
		s.bury(grave{at: now, id: id, owner: sn.principals[user].ID, credentials: []fileCredential{c}})
		f.Credentials = slices.Delete(f.Credentials, i, i+1)
		return nil
	})
}

// AccessKeys lists access keys in the order in which they were made: those of a principal, or with an empty name all.
func (s *Service) AccessKeys(user string) []AccessKey {
	sn := s.now()
	out := []AccessKey{}
	for _, c := range sn.file.Credentials {
		if c.Type == typeAccessKey && (user == "" || c.User == user) {
			out = append(out, sn.credentials[c.ID].accessKey())
		}
	}
	return out
}

// AccessKey gives an access key by id, or [ErrNotFound].
func (s *Service) AccessKey(id string) (AccessKey, error) {
	c, ok := s.now().credentials[id]
	if !ok || c.Type != typeAccessKey {
		return AccessKey{}, fmt.Errorf("access key %.80q: %w", id, ErrNotFound)
	}
	return c.accessKey(), nil
}

// UsedKey keeps when, for what service and in what Region a key was last used, temporary ones of a role for the role. It is
// cheap; what it keeps is written now and then.
func (s *Service) UsedKey(id, service, region string) {
	sn := s.now()
	if strings.HasPrefix(id, sessionPrefix) {
		if o := s.sessions.get(id); o != nil && len(o.Chain) > 0 {
			if a := sn.assumables[o.Chain[len(o.Chain)-1].ID]; a != nil {
				a.touch(s.clock())
			}
		}
		return
	}
	c := sn.credentials[id]
	if c == nil || c.Type != typeAccessKey || !usedPlace.MatchString(service) || !usedPlace.MatchString(region) {
		return
	}
	c.touch(s.clock())
	if where := c.place.Load(); where.service != service || where.region != region {
		c.place.Store(&place{service, region})
	}
}

// Bounds of what can be restored.
const (
	keepGraves = 5 * time.Minute
	maxGraves  = 256
)

// grave is something that was deleted lately.
type grave struct {
	at          time.Time
	id          string
	user        *fileUser
	credentials []fileCredential
	owner       string // id of the principal of an access key
	assumable   *fileAssumable
}

// bury keeps what is being deleted for a while. The caller holds mu.
func (s *Service) bury(g grave) {
	s.graves = slices.DeleteFunc(s.graves, func(o grave) bool { return g.at.Sub(o.at).Abs() > keepGraves })
	if len(s.graves) >= maxGraves {
		s.graves = slices.Delete(s.graves, 0, 1)
	}
	s.graves = append(s.graves, g)
}

// Restore takes back the deletion of a user with its credentials, of an access key or of a role, by its id, when this process
// deleted it a moment ago: for changes that turn out not to be recordable. Else the error is [ErrNotFound], or [ErrExists] when
// its name was given to another.
func (s *Service) Restore(id string) error {
	return s.change(false, func(f *file, now time.Time) error {
		i := slices.IndexFunc(s.graves, func(g grave) bool { return g.id == id && now.Sub(g.at).Abs() <= keepGraves })
		if i < 0 {
			return fmt.Errorf("what was deleted as %.80q: %w", id, ErrNotFound)
		}
		g := s.graves[i]
		switch {
		case g.user != nil:
			if slices.ContainsFunc(f.Users, func(u fileUser) bool { return u.ID == id }) {
				return nil
			}
			if err := f.addUser(*g.user); err != nil {
				return err
			}
			f.addCredentials(g.credentials...)
			if len(f.Credentials) > maxCredentials {
				return fmt.Errorf("credentials of user %s: %w: there are %d", g.user.Name, ErrLimit, maxCredentials)
			}
		case g.assumable != nil:
			if slices.ContainsFunc(f.Assumables, func(a fileAssumable) bool { return a.ID == id }) {
				return nil
			}
			return f.addAssumable(*g.assumable)
		default:
			c := g.credentials[0]
			if s.now().principals[c.User].ID != g.owner {
				return fmt.Errorf("user %.80q of access key %s: %w", c.User, id, ErrNotFound)
			}
			if slices.ContainsFunc(f.Credentials, func(o fileCredential) bool { return o.ID == id }) {
				return nil
			}
			if err := f.roomForKey(c.User); err != nil {
				return err
			}
			f.addCredentials(c)
		}
		return nil
	})
}

// addCredentials puts credentials back in the order in which they were made.
func (f *file) addCredentials(list ...fileCredential) {
	f.Credentials = append(f.Credentials, list...)
	slices.SortStableFunc(f.Credentials, func(a, b fileCredential) int { return a.Created.Compare(b.Created) })
}
