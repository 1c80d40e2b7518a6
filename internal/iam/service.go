package iam

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cedar-policy/cedar-go"

	"spoor/internal/durable"
	"spoor/internal/seal"
)

const (
	stateName = "state.json"
	lockName  = "lock"
	// useEvery is how often the times of last use are written, and how precise they are.
	useEvery = time.Minute
	// keepDead is how long tokens are listed that were revoked or have expired.
	keepDead = 90 * 24 * time.Hour
	// DefaultLifetime is how long a token lasts of which nobody says so.
	DefaultLifetime = 90 * 24 * time.Hour
	// commandLine is who did what was done by a command on the folder.
	commandLine = "command line"
)

// Options of [Open]. The zero value is useful.
type Options struct {
	Account  string           // of the installation, 12 digits; empty for 000000000000
	Accounts []string         // further accounts that roles can be in: those of the organisation
	Policies *Policies        // nil for those of the ready roles alone
	Throttle Throttle         // of failed attempts
	ReadOnly bool             // look only: nothing is locked or made, and what another process changes later is not seen
	Wait     time.Duration    // how long a lock is waited for that another process has
	Now      func() time.Time // nil for the system's clock
	Log      *slog.Logger     // nil for none
}

// Service holds the principals and their credentials.
type Service struct {
	dir      string
	opts     Options
	clock    func() time.Time
	log      *slog.Logger
	fixed    cedar.EntityMap // never changed
	throttle *throttle
	policies atomic.Pointer[Policies]
	actions  map[Action]ActionInfo    // never changed
	snap     atomic.Pointer[snapshot] // replaced under mu, never changed
	ring     atomic.Pointer[seal.Key] // of the master key; nil while there is none
	sessions sessionCache

	mu     sync.Mutex // guards what follows, and the state file
	lock   *durable.Lock
	dirty  bool          // the file lacks something that snap has, other than times of last use
	graves []grave       // what was deleted lately
	stop   chan struct{} // closed by Close
	done   chan struct{} // closed when the writer of times of last use has ended
}

// snapshot is the state at one moment. Only the times of last use in it change.
type snapshot struct {
	file        *file
	principals  map[string]Principal
	credentials map[string]*credential
	assumables  map[string]*assumable // by id
	named       map[string]*assumable // by account, a slash and the name in small letters
}

type credential struct {
	fileCredential
	verifier verifier // of a token
	secret   string   // of an access key; empty when it cannot be opened
	*usage
}

// usage is when and for what a credential or a role was last used. All snapshots share it.
type usage struct {
	used    atomic.Int64 // Unix seconds, 0 for never
	written atomic.Int64 // used, as the file has it
	place   atomic.Pointer[place]
}

type place struct{ service, region string }

func newUsage(at time.Time, where place) *usage {
	u := &usage{}
	if !at.IsZero() {
		u.used.Store(at.Unix())
		u.written.Store(at.Unix())
	}
	u.place.Store(&where)
	return u
}

// touch keeps that it is used now. Times are kept to the minute, so that most calls write nothing.
func (u *usage) touch(now time.Time) {
	if at := now.Truncate(useEvery).Unix(); at > u.used.Load() {
		u.used.Store(at)
	}
}

func (u *usage) last() time.Time {
	if used := u.used.Load(); used > 0 {
		return time.Unix(used, 0).UTC()
	}
	return time.Time{}
}

func (c *credential) status(now time.Time) Status {
	switch {
	case !c.Revoked.IsZero():
		return StatusRevoked
	case c.Inactive:
		return StatusInactive
	case !c.Expires.IsZero() && !now.Before(c.Expires):
		return StatusExpired
	}
	return StatusActive
}

func (c *credential) token(now time.Time) Token {
	return Token{ID: c.ID, User: c.User, Note: c.Note, Created: c.Created, By: c.By, Expires: c.Expires, LastUsed: c.last(), Revoked: c.Revoked, Status: c.status(now)}
}

func (s *Service) now() *snapshot { return s.snap.Load() }

// Open opens the state in the folder dir, which is made when it is missing. Without [Options.ReadOnly] it is locked until
// [Service.Close]; when another process has it, the error is [ErrLocked]. A state that cannot be read in every detail is an
// error, [ErrDamaged] or [ErrNewer]: nobody is let in by guessing.
func Open(ctx context.Context, dir string, o Options) (s *Service, err error) {
	if o.Account == "" {
		o.Account = "000000000000"
	}
	for _, a := range append([]string{o.Account}, o.Accounts...) {
		if !accountID.MatchString(a) {
			return nil, fmt.Errorf("open access state: account %.40q: %w: want 12 digits", a, ErrInvalid)
		}
	}
	s = &Service{dir: dir, opts: o, clock: o.Now, log: o.Log, fixed: fixedEntities(), throttle: newThrottle(o.Throttle), actions: map[Action]ActionInfo{}}
	for _, a := range actions {
		s.actions[a.Action] = a
	}
	if s.clock == nil {
		s.clock = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if o.Policies == nil {
		if o.Policies, err = ParsePolicies(); err != nil {
			return nil, err
		}
	}
	s.policies.Store(o.Policies)
	if !o.ReadOnly {
		if err := durable.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open access state: %w", err)
		}
		s.lock, err = durable.Acquire(ctx, filepath.Join(dir, lockName), 0o600, o.Wait)
		if errors.Is(err, durable.ErrLocked) {
			return nil, fmt.Errorf("open access state in %s: %w: %w", dir, ErrLocked, err)
		}
		if err != nil {
			return nil, fmt.Errorf("open access state: %w", err)
		}
		lock := s.lock
		defer func() {
			if err != nil {
				err = errors.Join(err, lock.Release())
			}
		}()
		if err := durable.RemoveParts(dir); err != nil {
			return nil, fmt.Errorf("open access state: %w", err)
		}
	}
	f, err := readState(filepath.Join(dir, stateName))
	if err != nil {
		return nil, err
	}
	ring, err := findMaster(filepath.Join(dir, masterName), f.MasterKey, !o.ReadOnly)
	if err != nil {
		return nil, err
	}
	s.ring.Store(ring)
	if f.MasterKey != "" && s.usable(f) == nil {
		s.log.Error("the master key is missing or another one: access keys cannot be used", "file", filepath.Join(dir, masterName))
	}
	s.snap.Store(s.snapshot(f, nil))
	if !o.ReadOnly {
		s.stop, s.done = make(chan struct{}), make(chan struct{})
		go s.writeUses(s.stop, s.done)
	}
	return s, nil
}

// readState reads the state file; one that is missing is empty.
func readState(path string) (f *file, err error) {
	found, err := document().Read(path, func(b []byte) (err error) {
		f, err = decodeState(b)
		return err
	})
	if err == nil && !found {
		f = &file{Format: stateFormat, Version: stateVersion}
	}
	return f, err
}

// snapshot indexes a state. What was opened and parsed, and times of last use, are taken over from old.
func (s *Service) snapshot(f *file, old *snapshot) *snapshot {
	if old == nil {
		old = &snapshot{}
	}
	sn := &snapshot{
		file: f, principals: make(map[string]Principal, len(f.Users)+1), credentials: make(map[string]*credential, len(f.Credentials)),
		assumables: make(map[string]*assumable, len(f.Assumables)), named: make(map[string]*assumable, len(f.Assumables)),
	}
	sn.principals[RootName] = Principal{ID: s.opts.Account, Kind: KindRoot, Name: RootName, Account: s.opts.Account, Roles: []Role{}, Created: f.RootMade, By: commandLine}
	for _, u := range f.Users {
		sn.principals[u.Name] = Principal{ID: u.ID, Kind: KindUser, Name: u.Name, Account: s.opts.Account, Roles: u.Roles, Created: u.Created, By: u.By}
	}
	for _, fc := range f.Credentials {
		c := &credential{fileCredential: fc}
		if was := old.credentials[fc.ID]; was != nil {
			c.verifier, c.secret, c.usage = was.verifier, was.secret, was.usage
		} else {
			c.usage = newUsage(fc.LastUsed, place{fc.LastService, fc.LastRegion})
			if fc.Type == typeToken {
				c.verifier, _ = parseVerifier(fc.Verifier) // checked when it was read or made
			} else if k := s.usable(f); k != nil {
				secret, err := k.Open(sealSecret, besideSecret(fc.ID, fc.User), fc.Sealed)
				if err != nil {
					s.log.Error("an access key cannot be used", "key", fc.ID, "user", fc.User, "error", err)
				}
				c.secret = string(secret)
			}
		}
		sn.credentials[fc.ID] = c
	}
	for _, fa := range f.Assumables {
		a := s.assumable(fa, old.assumables[fa.ID])
		sn.assumables[fa.ID], sn.named[assumableKey(fa.Account, fa.Name)] = a, a
	}
	return sn
}

// Close writes what is not written yet and gives the folder back. The service answers on, from what it knows.
func (s *Service) Close() error {
	s.mu.Lock()
	stop, done := s.stop, s.done
	s.stop = nil
	s.mu.Unlock()
	if stop == nil {
		return nil
	}
	close(stop)
	<-done
	err := s.Flush()
	s.mu.Lock()
	defer s.mu.Unlock()
	lock := s.lock
	s.lock = nil
	return errors.Join(err, lock.Release())
}

// writeUses writes the times of last use now and then, and tries again what could not be written.
func (s *Service) writeUses(stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	tick := time.NewTicker(useEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if err := s.Flush(); err != nil {
			s.log.Error("access state not written; trying again", "dir", s.dir, "error", err)
		}
	}
}

// Flush writes what is not written yet: times of last use, and revocations that found the disk full.
func (s *Service) Flush() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return nil
	}
	due := s.dirty
	for u := range s.now().usages() {
		due = due || u.used.Load() != u.written.Load()
	}
	if !due {
		return nil
	}
	return s.write(s.now())
}

// write makes a snapshot durable. The caller holds mu.
func (s *Service) write(sn *snapshot) error {
	f := *sn.file
	f.Format, f.Version, f.Written = stateFormat, stateVersion, s.clock().UTC().Truncate(time.Second)
	f.Credentials, f.Assumables = slices.Clone(f.Credentials), slices.Clone(f.Assumables)
	for i := range f.Credentials {
		sn.credentials[f.Credentials[i].ID].fill(&f.Credentials[i])
	}
	for i := range f.Assumables {
		f.Assumables[i].LastUsed = sn.assumables[f.Assumables[i].ID].last()
	}
	b, err := f.encode()
	if err == nil {
		err = durable.WriteFile(filepath.Join(s.dir, stateName), b, 0o600)
	}
	if err != nil {
		return fmt.Errorf("write access state: %w", err)
	}
	for _, c := range f.Credentials {
		if !c.LastUsed.IsZero() {
			sn.credentials[c.ID].written.Store(c.LastUsed.Unix())
		}
	}
	for _, a := range f.Assumables {
		if !a.LastUsed.IsZero() {
			sn.assumables[a.ID].written.Store(a.LastUsed.Unix())
		}
	}
	s.dirty = false
	return nil
}

// usages goes over all there are.
func (sn *snapshot) usages() iter.Seq[*usage] {
	return func(yield func(*usage) bool) {
		for _, c := range sn.credentials {
			if !yield(c.usage) {
				return
			}
		}
		for _, a := range sn.assumables {
			if !yield(a.usage) {
				return
			}
		}
	}
}

// fill puts the last use into what is written.
func (u *usage) fill(c *fileCredential) {
	c.LastUsed = u.last()
	if where := u.place.Load(); c.Type == typeAccessKey {
		c.LastService, c.LastRegion = where.service, where.region
	}
}

// change applies fn to a copy of the state, and makes it durable before anybody sees it. A change that takes something away
// holds even when it cannot be written: then the error says so, and writing is tried again.
func (s *Service) change(takes bool, fn func(f *file, now time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lock == nil {
		return ErrReadOnly
	}
	old := s.now()
	now := s.clock().UTC().Truncate(time.Second)
	f := *old.file
	f.Users, f.Credentials, f.Assumables = slices.Clone(f.Users), slices.Clone(f.Credentials), slices.Clone(f.Assumables)
	if err := fn(&f, now); err != nil {
		return err
	}
	f.Credentials = slices.DeleteFunc(f.Credentials, func(c fileCredential) bool {
		end := c.Revoked
		if end.IsZero() {
			end = c.Expires
		}
		return !end.IsZero() && now.Sub(end) > keepDead
	})
	sn := s.snapshot(&f, old)
	err := s.write(sn)
	switch {
	case err == nil:
		s.snap.Store(sn)
		return nil
	case takes:
		s.snap.Store(sn)
		s.dirty = true
		return fmt.Errorf("in effect, but not written yet, and lost when the process ends before it is: %w", err)
	}
	return err
}

// Account is the account of the installation.
func (s *Service) Account() string { return s.opts.Account }

// Users lists all principals: root, and the users by name.
func (s *Service) Users() []Principal {
	sn := s.now()
	out := []Principal{sn.principals[RootName]}
	for _, u := range sn.file.Users {
		out = append(out, sn.principals[u.Name])
	}
	return out
}

// User gives a principal by name, or [ErrNotFound].
func (s *Service) User(name string) (Principal, error) {
	p, ok := s.now().principals[name]
	if !ok {
		return p, fmt.Errorf("user %.80q: %w", name, ErrNotFound)
	}
	return p, nil
}

// CreateUser makes a user. By is who does so, empty for the command line.
func (s *Service) CreateUser(name string, roles []Role, by string) (Principal, error) {
	if err := CheckName(name); err != nil {
		return Principal{}, err
	}
	roles, err := checkRoles(roles)
	if err != nil {
		return Principal{}, err
	}
	err = s.change(false, func(f *file, now time.Time) error {
		return f.addUser(fileUser{ID: newAWSID("AIDA"), Name: name, Roles: roles, Created: now, By: actor(by)})
	})
	if err != nil {
		return Principal{}, err
	}
	return s.User(name)
}

func (f *file) addUser(u fileUser) error {
	if slices.ContainsFunc(f.Users, func(o fileUser) bool { return strings.EqualFold(o.Name, u.Name) }) {
		return fmt.Errorf("user %q: %w", u.Name, ErrExists)
	}
	if len(f.Users) >= maxUsers {
		return fmt.Errorf("user %q: %w: there are %d", u.Name, ErrLimit, maxUsers)
	}
	f.Users = append(f.Users, u)
	slices.SortFunc(f.Users, func(a, b fileUser) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func actor(by string) string {
	if by == "" {
		return commandLine
	}
	return by
}

// SetRoles gives a user other roles, in place of those it has, at once.
func (s *Service) SetRoles(name string, roles []Role) (Principal, error) {
	roles, err := checkRoles(roles)
	if err != nil {
		return Principal{}, err
	}
	takes := false
	if p, err := s.User(name); err == nil {
		takes = !slices.ContainsFunc(roles, func(r Role) bool { return !slices.Contains(p.Roles, r) })
	}
	err = s.change(takes, func(f *file, _ time.Time) error {
		i, err := f.user(name)
		if err != nil {
			return err
		}
		f.Users[i].Roles = roles
		return nil
	})
	if err != nil {
		return Principal{}, err
	}
	return s.User(name)
}

// user finds a user who can be changed.
func (f *file) user(name string) (int, error) {
	if name == RootName {
		return 0, fmt.Errorf("user %q: %w: root is always there, and may do everything", name, ErrInvalid)
	}
	i := slices.IndexFunc(f.Users, func(u fileUser) bool { return u.Name == name })
	if i < 0 {
		return 0, fmt.Errorf("user %.80q: %w", name, ErrNotFound)
	}
	return i, nil
}

// DeleteUser deletes a user with its tokens and access keys, and ends the sessions that came of them, at once.
func (s *Service) DeleteUser(name string) error {
	return s.change(true, func(f *file, now time.Time) error {
		i, err := f.user(name)
		if err != nil {
			return err
		}
		user := f.Users[i]
		g := grave{at: now, id: user.ID, user: &user}
		f.Credentials = slices.DeleteFunc(f.Credentials, func(c fileCredential) bool {
			if c.User == name {
				s.now().credentials[c.ID].fill(&c)
				g.credentials = append(g.credentials, c)
			}
			return c.User == name
		})
		s.bury(g)
		f.Users = slices.Delete(f.Users, i, i+1)
		return nil
	})
}

// TokenSpec says what token to make.
type TokenSpec struct {
	User     string
	Note     string        // what it is for, up to 200 bytes
	Lifetime time.Duration // 0 for [DefaultLifetime], negative for ever
	By       string        // who makes it, empty for the command line
}

func checkNote(note string) error {
	if len(note) > maxNote || strings.ContainsFunc(note, unicode.IsControl) || !utf8.ValidString(note) {
		return fmt.Errorf("note: %w: want up to %d bytes of text on one line", ErrInvalid, maxNote)
	}
	return nil
}

// CreateToken makes a token. The secret is the whole credential; this is the only time that anybody can have it.
func (s *Service) CreateToken(spec TokenSpec) (t Token, secret string, err error) {
	if err := checkNote(spec.Note); err != nil {
		return t, "", err
	}
	var id string
	err = s.change(false, func(f *file, now time.Time) error {
		if spec.User != RootName {
			if _, err := f.user(spec.User); err != nil {
				return err
			}
		}
		id, secret = f.addToken(spec, now)
		if len(f.Credentials) > maxCredentials {
			return fmt.Errorf("token for %s: %w: there are %d", spec.User, ErrLimit, maxCredentials)
		}
		return nil
	})
	if err != nil {
		return t, "", err
	}
	return s.now().credentials[id].token(s.clock()), secret, nil
}

func (f *file) addToken(spec TokenSpec, now time.Time) (id, text string) {
	id, secret := newToken()
	c := fileCredential{ID: id, Type: typeToken, User: spec.User, Verifier: verify(id, secret).text(), Note: spec.Note, Created: now, By: actor(spec.By)}
	if spec.Lifetime >= 0 {
		if spec.Lifetime == 0 {
			spec.Lifetime = DefaultLifetime
		}
		c.Expires = now.Add(spec.Lifetime)
	}
	if spec.User == RootName && f.RootMade.IsZero() {
		f.RootMade = now
	}
	f.Credentials = append(f.Credentials, c)
	return id, tokenText(id, secret)
}

// FirstRoot makes the first credential of root, which does not expire. It is made once in the life of the state; made is false
// when that was before. A root credential that is lost is replaced by a command on the folder.
func (s *Service) FirstRoot() (secret string, made bool, err error) {
	if !s.now().file.RootMade.IsZero() {
		return "", false, nil
	}
	err = s.change(false, func(f *file, now time.Time) error {
		if !f.RootMade.IsZero() {
			return nil
		}
		_, secret = f.addToken(TokenSpec{User: RootName, Note: "made at first start", Lifetime: -1}, now)
		return nil
	})
	if err != nil {
		return "", false, err
	}
	return secret, secret != "", nil
}

// Tokens lists tokens in the order in which they were made: those of a user, or with an empty name all.
func (s *Service) Tokens(user string) []Token {
	sn, now := s.now(), s.clock()
	out := []Token{}
	for _, c := range sn.file.Credentials {
		if c.Type == typeToken && (user == "" || c.User == user) {
			out = append(out, sn.credentials[c.ID].token(now))
		}
	}
	return out
}

// Token gives a token by id, or [ErrNotFound].
func (s *Service) Token(id string) (Token, error) {
	c, ok := s.now().credentials[id]
	if !ok || c.Type != typeToken {
		return Token{}, fmt.Errorf("token %.80q: %w", id, ErrNotFound)
	}
	return c.token(s.clock()), nil
}

// RevokeToken makes a token useless, at once and for ever. One that is revoked already stays as it is.
func (s *Service) RevokeToken(id string) (Token, error) {
	err := s.change(true, func(f *file, now time.Time) error {
		i := slices.IndexFunc(f.Credentials, func(c fileCredential) bool { return c.ID == id && c.Type == typeToken })
		if i < 0 {
			return fmt.Errorf("token %.80q: %w", id, ErrNotFound)
		}
		if f.Credentials[i].Revoked.IsZero() {
			f.Credentials[i].Revoked = now
		}
		return nil
	})
	if err != nil {
		return Token{}, err
	}
	return s.Token(id)
}

// Policies are those in effect.
func (s *Service) Policies() *Policies { return s.policies.Load() }

// SetPolicies puts other policies into effect, at once.
func (s *Service) SetPolicies(p *Policies) { s.policies.Store(p) }
