package iam

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Assumable is a role that principals can assume: what AWS calls a role.
type Assumable struct {
	ID            string          `json:"id"` // AROA and 16 characters, never used again
	Name          string          `json:"name"`
	Account       string          `json:"account"`
	Path          string          `json:"path"` // begins and ends with a slash
	Description   string          `json:"description,omitempty"`
	Roles         []Role          `json:"roles"`      // what its sessions may do, sorted
	Trust         json.RawMessage `json:"trust"`      // AWS trust policy document, as given: who may assume it
	MaxSession    time.Duration   `json:"maxSession"` // in nanoseconds
	Created       time.Time       `json:"created"`
	By            string          `json:"by"`
	RevokedBefore time.Time       `json:"revokedBefore,omitzero"` // sessions issued until then are ended
	LastUsed      time.Time       `json:"lastUsed,omitzero"`      // to the minute, after a crash older
}

// ARN is the role's name as AWS writes it.
func (a Assumable) ARN() string { return "arn:aws:iam::" + a.Account + ":role" + a.Path + a.Name }

// AssumableSpec says what role to make.
type AssumableSpec struct {
	Name        string
	Account     string // empty for that of the installation
	Path        string // empty for /
	Description string // up to 1000 characters
	Roles       []Role
	Trust       json.RawMessage
	MaxSession  time.Duration // 1 to 12 hours; 0 for 1 hour
	By          string        // who makes it, empty for the command line
}

// AssumableChange says what to change of a role. What is nil stays as it is.
type AssumableChange struct {
	Description *string
	Roles       *[]Role
	Trust       json.RawMessage
	MaxSession  *time.Duration
}

// Bounds of roles.
const (
	maxDescription = 1000 // characters
	minMaxSession  = time.Hour
	maxMaxSession  = 12 * time.Hour
)

// assumable is a role as the service uses it. But for the last use it is never changed.
type assumable struct {
	Assumable
	trust       *trust
	trusted     map[string]string
	revocations int64
	*usage
}

func (s *Service) assumable(fa fileAssumable, was *assumable) *assumable {
	a := &assumable{Assumable: Assumable{
		ID: fa.ID, Name: fa.Name, Account: fa.Account, Path: fa.Path, Description: fa.Description, Roles: fa.Roles, Trust: json.RawMessage(fa.Trust),
		MaxSession: time.Duration(fa.MaxSession) * time.Second, Created: fa.Created, By: fa.By, RevokedBefore: fa.Revoked,
	}, trusted: fa.Trusted, revocations: fa.Revocations}
	if was != nil {
		a.usage = was.usage
	} else {
		a.usage = newUsage(fa.LastUsed, place{})
	}
	if was != nil && string(was.Trust) == fa.Trust {
		a.trust = was.trust
	} else if t, err := parseTrust([]byte(fa.Trust)); err == nil { // checked when it was read or made
		a.trust = t
	} else {
		a.trust = &trust{} // which lets nobody
	}
	return a
}

// public is what others get: a copy, with the last use.
func (a *assumable) public() Assumable {
	out := a.Assumable
	out.Roles, out.Trust, out.LastUsed = slices.Clone(a.Roles), slices.Clone(a.Trust), a.last()
	return out
}

// principal is a session of the role.
func (a *assumable) principal(session string) Principal {
	return Principal{ID: a.ID + ":" + session, Kind: KindRole, Name: a.Name + "/" + session, Account: a.Account, Roles: a.Roles, Created: a.Created, By: a.By}
}

func assumableKey(account, name string) string { return account + "/" + strings.ToLower(name) }

// account gives an account that roles can be in; empty is that of the installation.
func (s *Service) account(account string) (string, error) {
	switch {
	case account == "":
		return s.opts.Account, nil
	case s.has(account):
		return account, nil
	}
	return "", fmt.Errorf("account %.40q: %w: it is no account of the organisation", account, ErrInvalid)
}

// has reports whether an account is one of the installation.
func (s *Service) has(account string) bool {
	return account == s.opts.Account || slices.Contains(s.opts.Accounts, account)
}

func checkAssumable(name, path, description string, longest time.Duration) error {
	switch {
	case !userName.MatchString(name):
		return fmt.Errorf("role name %.80q: %w: want 1 to 64 letters, digits or +=,.@_-", name, ErrInvalid)
	case !assumePath.MatchString(path):
		return fmt.Errorf("path %.80q: %w: want up to 512 characters that begin and end with /", path, ErrInvalid)
	case utf8.RuneCountInString(description) > maxDescription || !utf8.ValidString(description) ||
		strings.ContainsFunc(description, func(r rune) bool { return unicode.IsControl(r) && !strings.ContainsRune("\t\n\r", r) }):
		return fmt.Errorf("description: %w: want up to %d characters of text", ErrInvalid, maxDescription)
	case longest < minMaxSession || longest > maxMaxSession || longest%time.Second != 0:
		return fmt.Errorf("longest session %s: %w: want 1 to 12 hours, in seconds", longest, ErrInvalid)
	}
	return nil
}

// CreateAssumable makes a role. Its trust document is understood in every detail, or refused with [ErrInvalid]; the users and
// roles that it names must be there, and others who get their names later are not trusted.
func (s *Service) CreateAssumable(spec AssumableSpec) (Assumable, error) {
	account, err := s.account(spec.Account)
	if err != nil {
		return Assumable{}, err
	}
	roles, err := checkRoles(spec.Roles)
	if err != nil {
		return Assumable{}, err
	}
	made := fileAssumable{
		ID: newAWSID("AROA"), Name: spec.Name, Account: account, Path: cmp.Or(spec.Path, "/"), Description: spec.Description, Roles: roles,
		Trust: string(spec.Trust), By: actor(spec.By),
	}
	longest := cmp.Or(spec.MaxSession, minMaxSession)
	if err := checkAssumable(made.Name, made.Path, made.Description, longest); err != nil {
		return Assumable{}, err
	}
	made.MaxSession = int64(longest / time.Second)
	t, err := parseTrust(spec.Trust)
	if err != nil {
		return Assumable{}, err
	}
	err = s.change(false, func(f *file, now time.Time) (err error) {
		made.Created = now
		if made.Trusted, err = s.resolve(s.now(), t); err != nil {
			return err
		}
		return f.addAssumable(made)
	})
	if err != nil {
		return Assumable{}, err
	}
	return s.Assumable(account, spec.Name)
}

func (f *file) addAssumable(a fileAssumable) error {
	i, there := slices.BinarySearchFunc(f.Assumables, a, compareAssumables)
	if there {
		return fmt.Errorf("role %q: %w", a.Name, ErrExists)
	}
	if len(f.Assumables) >= maxAssumables {
		return fmt.Errorf("role %q: %w: there are %d", a.Name, ErrLimit, maxAssumables)
	}
	f.Assumables = slices.Insert(f.Assumables, i, a)
	return nil
}

// resolve finds those whom a trust document names, and gives their ids by ARN.
func (s *Service) resolve(sn *snapshot, t *trust) (map[string]string, error) {
	for _, account := range t.accounts() {
		if !s.has(account) {
			return nil, fmt.Errorf("%w: %s is no account of the organisation", ErrTrust, account)
		}
	}
	out := map[string]string{}
	for _, arn := range t.names() {
		id := sn.idOf(arn)
		if id == "" {
			return nil, fmt.Errorf("%w: there is no %s", ErrTrust, arn)
		}
		out[arn] = id
	}
	return out, nil
}

// idOf gives the id of the user, the role, or the role of the session that an ARN names, empty when it is not there.
func (sn *snapshot) idOf(arn string) string {
	a, ok := parseARN(arn)
	if !ok {
		return ""
	}
	switch {
	case a.service == "iam" && a.kind == "user":
		if p, ok := sn.principals[a.name]; ok && p.Kind == KindUser && p.ARN() == arn {
			return p.ID
		}
	case a.service == "iam" && a.kind == "role":
		if r := sn.named[assumableKey(a.account, a.last())]; r != nil && r.ARN() == arn {
			return r.ID
		}
	case a.service == "sts" && a.kind == "assumed-role":
		role, _, _ := strings.Cut(a.name, "/")
		if r := sn.named[assumableKey(a.account, role)]; r != nil && r.Name == role {
			return r.ID
		}
	}
	return ""
}

// find finds a role that can be changed.
func (s *Service) find(f *file, account, name string) (int, error) {
	account = cmp.Or(account, s.opts.Account)
	i, there := slices.BinarySearchFunc(f.Assumables, fileAssumable{Account: account, Name: name}, compareAssumables)
	if !there {
		return 0, fmt.Errorf("role %.80q of %.20s: %w", name, account, ErrNotFound)
	}
	return i, nil
}

// UpdateAssumable changes a role. Rights count at once, also for sessions that there are; who may assume it counts for those
// to come. An empty account is that of the installation.
func (s *Service) UpdateAssumable(account, name string, ch AssumableChange) (Assumable, error) {
	var roles []Role
	takes := false
	if ch.Roles != nil {
		var err error
		if roles, err = checkRoles(*ch.Roles); err != nil {
			return Assumable{}, err
		}
		if a, err := s.Assumable(account, name); err == nil && ch.Trust == nil {
			takes = !slices.ContainsFunc(roles, func(r Role) bool { return !slices.Contains(a.Roles, r) })
		}
	}
	var t *trust
	if ch.Trust != nil {
		var err error
		if t, err = parseTrust(ch.Trust); err != nil {
			return Assumable{}, err
		}
	}
	err := s.change(takes, func(f *file, _ time.Time) error {
		i, err := s.find(f, account, name)
		if err != nil {
			return err
		}
		a := f.Assumables[i]
		if ch.Description != nil {
			a.Description = *ch.Description
		}
		if ch.Roles != nil {
			a.Roles = roles
		}
		longest := time.Duration(a.MaxSession) * time.Second
		if ch.MaxSession != nil {
			longest = *ch.MaxSession
		}
		if err := checkAssumable(a.Name, a.Path, a.Description, longest); err != nil {
			return err
		}
		a.MaxSession = int64(longest / time.Second)
		if t != nil {
			if a.Trusted, err = s.resolve(s.now(), t); err != nil {
				return err
			}
			a.Trust = string(ch.Trust)
		}
		f.Assumables[i] = a
		return nil
	})
	if err != nil {
		return Assumable{}, err
	}
	return s.Assumable(account, name)
}

// DeleteAssumable deletes a role, and ends its sessions, at once.
func (s *Service) DeleteAssumable(account, name string) error {
	return s.change(true, func(f *file, now time.Time) error {
		i, err := s.find(f, account, name)
		if err != nil {
			return err
		}
		a := f.Assumables[i]
		a.LastUsed = s.now().assumables[a.ID].last()
		s.bury(grave{at: now, id: a.ID, assumable: &a})
		f.Assumables = slices.Delete(f.Assumables, i, i+1)
		return nil
	})
}

// RevokeSessions ends all sessions of a role that were issued until now, and those that came of them.
func (s *Service) RevokeSessions(account, name string) (Assumable, error) {
	err := s.change(true, func(f *file, now time.Time) error {
		i, err := s.find(f, account, name)
		if err != nil {
			return err
		}
		f.Assumables[i].Revocations++ // sessions have the number: a clock that jumps lets none of them live on
		f.Assumables[i].Revoked = now
		return nil
	})
	if err != nil {
		return Assumable{}, err
	}
	return s.Assumable(account, name)
}

// Assumables lists the roles, by account and name.
func (s *Service) Assumables() []Assumable {
	sn := s.now()
	out := make([]Assumable, len(sn.file.Assumables))
	for i, a := range sn.file.Assumables {
		out[i] = sn.assumables[a.ID].public()
	}
	return out
}

// Assumable gives a role, or [ErrNotFound]. An empty account is that of the installation; case of the name does not count.
func (s *Service) Assumable(account, name string) (Assumable, error) {
	a := s.now().named[assumableKey(cmp.Or(account, s.opts.Account), name)]
	if a == nil {
		return Assumable{}, fmt.Errorf("role %.80q of %.20s: %w", name, cmp.Or(account, s.opts.Account), ErrNotFound)
	}
	return a.public(), nil
}
