package iam

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// mustKey makes an access key, and gives the caller who comes with it.
func (s *Service) mustKey(t *testing.T, user string) (Caller, AccessKey) {
	t.Helper()
	k, secret, err := s.CreateAccessKey(KeySpec{User: user, Note: "of " + user})
	if err != nil {
		t.Fatal(err)
	}
	if !accessKeyID.MatchString(k.ID) || !k.Active || k.User != user || !regexp.MustCompile(`^[A-Za-z0-9+/]{40}$`).MatchString(secret) {
		t.Fatalf("%+v, secret of %d characters", k, len(secret))
	}
	c, err := s.Credential(t.Context(), k.ID, "")
	if err != nil || c.Secret != secret || c.Token != "" || c.Session != nil || c.Principal.Name != user {
		t.Fatalf("%+v, %v", c, err)
	}
	return s.CallerOf(c, home, true), k
}

// user makes a user, and gives the caller who comes with an access key of it.
func (s *Service) user(t *testing.T, name string, roles ...Role) Caller {
	t.Helper()
	if _, err := s.CreateUser(name, roles, ""); err != nil {
		t.Fatal(err)
	}
	c, _ := s.mustKey(t, name)
	return c
}

func TestAccessKeys(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	o := Options{Now: c.now, Account: "111122223333"}
	s := open(t, dir, o)
	ann := s.user(t, "ann", RoleAnalyst)
	bob := s.user(t, "bob", RoleAdmin)
	root, _ := s.mustKey(t, RootName)
	if root.Principal.Kind != KindRoot || root.Principal.ID != "111122223333" {
		t.Errorf("%+v", root)
	}
	_, second := s.mustKey(t, "ann")
	for _, bad := range []struct {
		spec KeySpec
		want error
	}{
		{KeySpec{User: "ann"}, ErrLimit}, {KeySpec{User: "none"}, ErrNotFound}, {KeySpec{}, ErrNotFound}, {KeySpec{User: "bob", Note: "a\nb"}, ErrInvalid}, {KeySpec{User: "bob", Note: "\xff"}, ErrInvalid},
	} {
		if _, secret, err := s.CreateAccessKey(bad.spec); !errors.Is(err, bad.want) || secret != "" {
			t.Errorf("%+v: %v; want %v", bad.spec, err, bad.want)
		}
	}
	gone := func(id, why string) {
		t.Helper()
		if _, err := s.Credential(t.Context(), id, ""); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v; want %s", id, err, why)
		}
	}
	gone("", "there is none")
	gone("AKIAABCDEFGHIJKLMNOP", "there is none")
	gone(strings.ToLower(second.ID), "there is none")
	if _, err := s.Credential(t.Context(), second.ID, "token"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a lasting key with a session token: %v", err)
	}
	tok, _, err := s.CreateToken(TokenSpec{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	gone(tok.ID, "there is none") // tokens are no access keys, and the other way round
	if _, err := s.Token(second.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := s.RevokeToken(second.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if _, err := s.AccessKey(tok.ID); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if n, m := len(s.Tokens("")), len(s.AccessKeys("")); n != 1 || m != 4 || len(s.AccessKeys("ann")) != 2 || len(s.AccessKeys("none")) != 0 {
		t.Errorf("%d tokens, %d access keys", n, m)
	}

	// Off and on again, by its owner's name only.
	if _, err := s.SetAccessKey("bob", second.ID, false); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if k, err := s.SetAccessKey("ann", second.ID, false); err != nil || k.Active {
		t.Errorf("%+v, %v", k, err)
	}
	gone(second.ID, "switched off")
	if k, err := s.SetAccessKey("ann", second.ID, true); err != nil || !k.Active {
		t.Errorf("%+v, %v", k, err)
	}
	if _, err := s.Credential(t.Context(), second.ID, ""); err != nil {
		t.Error(err)
	}

	// Use is kept, and survives a restart with what else there is.
	c.add(time.Hour)
	s.UsedKey(ann.AccessKey, "cloudtrail", "eu-central-1")
	s.UsedKey(bob.AccessKey, "Cloud\nTrail", "x")
	s.UsedKey("AKIAABCDEFGHIJKLMNOP", "sts", "x")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, stateName))
	if err != nil {
		t.Fatal(err)
	}
	cred, err := s.Credential(t.Context(), ann.AccessKey, "")
	if err != nil || strings.Contains(string(text), cred.Secret) {
		t.Errorf("the secret is in the state, or %v", err)
	}
	s = open(t, dir, o)
	again, err := s.Credential(t.Context(), ann.AccessKey, "")
	if err != nil || again.Secret != cred.Secret {
		t.Errorf("after a restart: %v", err)
	}
	k, err := s.AccessKey(ann.AccessKey)
	if err != nil || !k.LastUsed.Equal(c.now()) || k.LastService != "cloudtrail" || k.LastRegion != "eu-central-1" || k.Note != "of ann" {
		t.Errorf("%+v, %v", k, err)
	}
	if k, err := s.AccessKey(bob.AccessKey); err != nil || !k.LastUsed.IsZero() || k.LastService != "" {
		t.Errorf("%+v, %v", k, err)
	}

	// Deleted is deleted at once, for a caller who is under way too.
	if err := s.DeleteAccessKey("bob", ann.AccessKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if err := s.Check(ann); err != nil {
		t.Error(err)
	}
	if err := s.DeleteAccessKey("ann", ann.AccessKey); err != nil {
		t.Fatal(err)
	}
	gone(ann.AccessKey, "there is none")
	if err := s.Check(ann); err == nil || !strings.Contains(err.Error(), "the access key is not there any more") {
		t.Errorf("%v", err)
	}
	if err := s.DeleteUser("bob"); err != nil {
		t.Fatal(err)
	}
	gone(bob.AccessKey, "there is none")
	if d := s.AuthorizeARN(t.Context(), bob, "iam:ListUsers"); d.Allowed {
		t.Errorf("%+v", d)
	}
}

func TestRestore(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, t.TempDir(), Options{Now: c.now})
	ann := s.user(t, "ann", RoleAnalyst)
	_, text, err := s.CreateToken(TokenSpec{User: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	role := s.role(t, AssumableSpec{Name: "look", Roles: []Role{RoleAuditor}}, "*")
	cred, err := s.AssumeRole(t.Context(), ann, AssumeSpec{RoleARN: role.ARN(), SessionName: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	inside := s.CallerOf(cred, home, true)
	s.UsedKey(ann.AccessKey, "sts", "us-east-1")

	// An access key.
	if err := s.DeleteAccessKey("ann", ann.AccessKey); err != nil {
		t.Fatal(err)
	}
	if s.Check(inside) == nil {
		t.Error("the session of a key that was deleted")
	}
	if err := s.Restore(ann.AccessKey); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Check(ann), s.Check(inside), s.Restore(ann.AccessKey)); err != nil {
		t.Error(err)
	}
	if k, err := s.AccessKey(ann.AccessKey); err != nil || k.LastService != "sts" || k.LastUsed.IsZero() || k.Note != "of ann" {
		t.Errorf("%+v, %v", k, err)
	}

	// A role.
	if err := s.DeleteAssumable("", "look"); err != nil {
		t.Fatal(err)
	}
	if s.Check(inside) == nil {
		t.Error("the session of a role that was deleted")
	}
	if err := s.Restore(role.ID); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Check(inside), s.Restore(role.ID)); err != nil {
		t.Error(err)
	}

	// A user, with all credentials.
	if err := s.DeleteUser("ann"); err != nil {
		t.Fatal(err)
	}
	if err := s.Restore(ann.Principal.ID); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(s.Check(ann), s.Check(inside), s.Restore(ann.Principal.ID)); err != nil {
		t.Error(err)
	}
	if _, err := s.Authenticate(t.Context(), text, home); err != nil {
		t.Error(err)
	}

	// Others have the name by now, or it is too late, or there never was such a thing.
	if err := s.DeleteAccessKey("ann", ann.AccessKey); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteUser("ann"); err != nil {
		t.Fatal(err)
	}
	s.user(t, "Ann", RoleAdmin)
	if err := s.Restore(ann.Principal.ID); !errors.Is(err, ErrExists) {
		t.Errorf("%v", err)
	}
	if err := s.DeleteUser("Ann"); err != nil {
		t.Fatal(err)
	}
	s.user(t, "ann", RoleAdmin)
	if err := s.Restore(ann.AccessKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("a key for another user of the same name: %v", err)
	}
	if err := s.DeleteAssumable("", "look"); err != nil {
		t.Fatal(err)
	}
	c.add(keepGraves + time.Second)
	for _, id := range []string{role.ID, "", "AROAABCDEFGHIJKLMNOP"} {
		if err := s.Restore(id); !errors.Is(err, ErrNotFound) {
			t.Errorf("%q: %v", id, err)
		}
	}
	for i := range maxGraves + 10 {
		s.bury(grave{at: c.now(), id: fmt.Sprint(i)})
	}
	if len(s.graves) != maxGraves {
		t.Errorf("%d graves", len(s.graves))
	}
}

// TestMasterKey: without the right master key access keys are useless, tokens are not, and nothing is sealed with another.
func TestMasterKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, masterName)
	s := open(t, dir, Options{})
	_, text := s.must(t, "ann", RoleAdmin)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a master key that nobody needs: %v", err)
	}
	ann, key := s.mustKey(t, "ann")
	if runtime.GOOS != "windows" {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	master, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	session, err := s.SessionToken(t.Context(), ann, 0)
	if err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	foreign := open(t, other, Options{})
	foreign.user(t, "ann", RoleAdmin)
	if _, err := foreign.Credential(t.Context(), session.ID, session.Token); !errors.Is(err, ErrNotFound) {
		t.Errorf("a session of another installation: %v", err)
	}
	if _, err := foreign.Credential(t.Context(), ann.AccessKey, ""); !errors.Is(err, ErrNotFound) {
		t.Errorf("a key of another installation: %v", err)
	}
	strange, err := os.ReadFile(filepath.Join(other, masterName))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		content []byte // nil for none
		works   bool
		opens   bool
	}{
		{"the right one", master, true, true},
		{"none", nil, false, true},
		{"another one", strange, false, true},
		{"cut", master[:len(master)-3], false, false},
		{"longer", append([]byte("x"), master...), false, false},
		{"empty", []byte{}, false, false},
		{"the right one again", master, true, true},
	} {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		err := os.Remove(path)
		if c.content != nil {
			err = os.WriteFile(path, c.content, 0o600)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		opened, err := Open(t.Context(), dir, Options{})
		if !c.opens {
			if !errors.Is(err, ErrDamaged) || strings.Contains(err.Error(), string(master[len("spoor-master-key-v1:"):len(master)-10])) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		s = opened
		if _, err := s.Authenticate(t.Context(), text, home); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		_, keyErr := s.Credential(t.Context(), key.ID, "")
		_, sessionErr := s.Credential(t.Context(), session.ID, session.Token)
		if (keyErr == nil) != c.works || (sessionErr == nil) != c.works {
			t.Errorf("%s: %v, %v", c.name, keyErr, sessionErr)
		}
		if k, err := s.AccessKey(key.ID); err != nil || k.User != "ann" {
			t.Errorf("%s: %+v, %v", c.name, k, err)
		}
		if _, _, err := s.CreateAccessKey(KeySpec{User: RootName}); errors.Is(err, ErrDamaged) == c.works {
			t.Errorf("%s: %v", c.name, err)
		}
		if !c.works {
			if _, err := os.Stat(path); c.content == nil && !errors.Is(err, os.ErrNotExist) {
				t.Errorf("%s: made anew: %v", c.name, err)
			}
		}
	}
	// When nothing is left that the lost one opens, there is a new one.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	for _, k := range s.AccessKeys("") {
		if err := s.DeleteAccessKey(k.User, k.ID); err != nil {
			t.Fatal(err)
		}
	}
	s.mustKey(t, "ann")
	if _, err := s.Credential(t.Context(), session.ID, session.Token); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestReplaceMaster: access keys and tokens outlive the master key, sessions do not, and a crash at any moment leaves a state whose
// access keys work.
func TestReplaceMaster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, state := filepath.Join(dir, masterName), filepath.Join(dir, stateName)
	next := path + ".next"
	s := open(t, dir, Options{})
	_, text := s.must(t, "ann", RoleAdmin)
	if n, err := s.ReplaceMaster(); n != 0 || err != nil {
		t.Fatalf("without access keys: %d, %v", n, err)
	}
	ann, key := s.mustKey(t, "ann")
	was, err := s.Credential(t.Context(), key.ID, "")
	if err != nil {
		t.Fatal(err)
	}
	session, err := s.SessionToken(t.Context(), ann, 0)
	if err != nil {
		t.Fatal(err)
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	works := func(what string, s *Service, sessions bool) {
		t.Helper()
		if got, err := s.Credential(t.Context(), key.ID, ""); err != nil || got.Secret != was.Secret {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := s.Authenticate(t.Context(), text, home); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := s.Credential(t.Context(), session.ID, session.Token); (err == nil) != sessions {
			t.Errorf("%s: a session: %v", what, err)
		}
	}
	works("before", s, true)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	oldMaster, oldState := read(path), read(state)
	if n, err := s.ReplaceMaster(); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	works("replaced", s, false)
	if _, err := s.SessionToken(t.Context(), ann, 0); err != nil {
		t.Errorf("a new session: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	newMaster, newState := read(path), read(state)
	if slices.Equal(oldMaster, newMaster) {
		t.Error("the master key is the same")
	}
	for _, c := range []struct {
		name                string
		master, next, state []byte
		old                 bool
	}{
		{"with the next one", oldMaster, newMaster, oldState, true},
		{"with the new state", oldMaster, newMaster, newState, false},
		{"at the end", newMaster, nil, newState, false},
	} {
		for _, readOnly := range []bool{true, false} {
			for path, b := range map[string][]byte{path: c.master, next: c.next, state: c.state} {
				err := os.RemoveAll(path)
				if b != nil {
					err = os.WriteFile(path, b, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			s, err := Open(t.Context(), dir, Options{ReadOnly: readOnly})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			works(c.name, s, c.old)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, err = os.Stat(next)
			if left := err == nil; left != (readOnly && c.next != nil) {
				t.Errorf("%s: read only %v: %s is there: %v", c.name, readOnly, next, left)
			}
		}
	}
	// Without the master key nothing is replaced.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{})
	if _, err := s.ReplaceMaster(); !errors.Is(err, ErrDamaged) {
		t.Errorf("%v", err)
	}
}
