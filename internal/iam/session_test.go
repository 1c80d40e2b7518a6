package iam

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// role makes a role that principals may assume.
func (s *Service) role(t *testing.T, spec AssumableSpec, principals ...string) Assumable {
	t.Helper()
	var err error
	if spec.Trust == nil {
		if spec.Trust, err = TrustOf(principals...); err != nil {
			t.Fatal(err)
		}
	}
	a, err := s.CreateAssumable(spec)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// assume assumes a role, and gives the caller who comes with its credentials.
func (s *Service) assume(t *testing.T, c Caller, role Assumable, session string) (Caller, Credential) {
	t.Helper()
	cred, err := s.AssumeRole(t.Context(), c, AssumeSpec{RoleARN: role.ARN(), SessionName: session})
	if err != nil {
		t.Fatal(err)
	}
	found, err := s.Credential(t.Context(), cred.ID, cred.Token)
	if err != nil || found.Secret != cred.Secret || !found.Expires.Equal(cred.Expires) {
		t.Fatalf("%+v, %v", found, err)
	}
	return s.CallerOf(found, home, true), cred
}

func TestAssumables(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	o := Options{Now: c.now, Account: "111122223333", Accounts: []string{"444455556666"}}
	s := open(t, dir, o)
	s.user(t, "ann", RoleAnalyst)
	trust := []byte("{ \"Version\": \"2012-10-17\",\n  \"Statement\": {\"Effect\": \"Allow\", \"Principal\": {\"AWS\": [\"arn:aws:iam::111122223333:user/ann\", \"444455556666\"]}, \"Action\": \"sts:AssumeRole\"} }")
	look := s.role(t, AssumableSpec{Name: "Look", Description: "reads", Roles: []Role{RoleAuditor, RoleAnalyst}, Trust: trust, By: "root"})
	if look.ARN() != "arn:aws:iam::111122223333:role/Look" || !assumableID.MatchString(look.ID) || look.MaxSession != time.Hour || look.By != "root" ||
		!slices.Equal(look.Roles, []Role{RoleAnalyst, RoleAuditor}) || string(look.Trust) != string(trust) || !look.Created.Equal(c.now()) {
		t.Errorf("%+v", look)
	}
	member := s.role(t, AssumableSpec{Name: "Look", Account: "444455556666", Path: "/ci/", MaxSession: 2 * time.Hour}, look.ARN(), "arn:aws:sts::111122223333:assumed-role/Look/x")
	if member.ARN() != "arn:aws:iam::444455556666:role/ci/Look" {
		t.Error(member.ARN())
	}
	ok, err := TrustOf("*")
	if err != nil {
		t.Fatal(err)
	}
	strange := func(p string) []byte {
		doc, err := TrustOf(p)
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	for _, bad := range []struct {
		spec AssumableSpec
		want error
	}{
		{AssumableSpec{Name: "look", Trust: ok}, ErrExists},
		{AssumableSpec{Name: "", Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "a/b", Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: strings.Repeat("a", 65), Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x", Path: "ci", Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x", Account: "777788889999", Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x", Roles: []Role{"boss"}, Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x", MaxSession: time.Minute, Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x", MaxSession: 13 * time.Hour, Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x", MaxSession: time.Hour + time.Millisecond, Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x", Description: strings.Repeat("é", 1001), Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x", Description: "\x1b[2J", Trust: ok}, ErrInvalid},
		{AssumableSpec{Name: "x"}, ErrInvalid},
		{AssumableSpec{Name: "x", Trust: []byte("{}")}, ErrInvalid},
		{AssumableSpec{Name: "x", Trust: strange("777788889999")}, ErrInvalid},
		{AssumableSpec{Name: "x", Trust: strange("arn:aws:iam::111122223333:user/none")}, ErrInvalid},
		{AssumableSpec{Name: "x", Trust: strange("arn:aws:iam::111122223333:user/ANN")}, ErrInvalid},
		{AssumableSpec{Name: "x", Trust: strange("arn:aws:iam::111122223333:user/path/ann")}, ErrInvalid},
		{AssumableSpec{Name: "x", Trust: strange("arn:aws:iam::444455556666:user/ann")}, ErrInvalid},
		{AssumableSpec{Name: "x", Trust: strange("arn:aws:iam::444455556666:role/Look")}, ErrInvalid}, // without its path
		{AssumableSpec{Name: "x", Trust: strange("arn:aws:iam::111122223333:user/root")}, ErrInvalid},
		{AssumableSpec{Name: "x", Trust: strange("arn:aws:iam::111122223333:role/x")}, ErrInvalid}, // not there yet
	} {
		if a, err := s.CreateAssumable(bad.spec); !errors.Is(err, bad.want) {
			t.Errorf("%+v: %+v, %v; want %v", bad.spec, a, err, bad.want)
		}
	}
	if n := len(s.Assumables()); n != 2 {
		t.Errorf("%d roles", n)
	}

	text, long := "another", 3*time.Hour
	roles := []Role{RoleRecorder}
	changed, err := s.UpdateAssumable("", "look", AssumableChange{Description: &text, Roles: &roles, MaxSession: &long, Trust: ok})
	if err != nil || changed.Description != text || !slices.Equal(changed.Roles, roles) || changed.MaxSession != long || string(changed.Trust) != string(ok) || changed.ID != look.ID {
		t.Errorf("%+v, %v", changed, err)
	}
	if again, err := s.UpdateAssumable("111122223333", "Look", AssumableChange{}); err != nil || fmt.Sprint(again) != fmt.Sprint(changed) {
		t.Errorf("%+v, %v", again, err)
	}
	short, boss, control := time.Second, []Role{"boss"}, "\x00"
	for _, ch := range []AssumableChange{{Description: &control}, {Roles: &boss}, {MaxSession: &short}, {Trust: []byte("{}")}, {Trust: strange("777788889999")}} {
		if _, err := s.UpdateAssumable("", "Look", ch); !errors.Is(err, ErrInvalid) {
			t.Errorf("%+v: %v", ch, err)
		}
	}
	for _, err := range []error{
		second(s.UpdateAssumable("", "none", AssumableChange{})), s.DeleteAssumable("", "none"), s.DeleteAssumable("777788889999", "Look"),
		second(s.RevokeSessions("", "none")), second(s.Assumable("", "none")), second(s.Assumable("777788889999", "Look")),
	} {
		if !errors.Is(err, ErrNotFound) {
			t.Errorf("%v", err)
		}
	}
	if got, err := s.Assumable("", "Look"); err != nil || fmt.Sprint(got) != fmt.Sprint(changed) {
		t.Errorf("%+v, %v", got, err)
	}

	// It is all there after a restart.
	before := fmt.Sprint(s.Assumables())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, o)
	if got := fmt.Sprint(s.Assumables()); got != before {
		t.Errorf("%s\nwas %s", got, before)
	}
	if err := s.DeleteAssumable("444455556666", "look"); err != nil {
		t.Fatal(err)
	}
	if n := len(s.Assumables()); n != 1 {
		t.Errorf("%d roles", n)
	}
	if _, err := Open(t.Context(), t.TempDir(), Options{Accounts: []string{"1"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("%v", err)
	}
}

func TestAssumeRole(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, t.TempDir(), Options{Now: c.now, Account: "111122223333", Accounts: []string{"444455556666"}})
	ann := s.user(t, "ann", RoleAdmin)
	bob := s.user(t, "bob")
	root, _ := s.mustKey(t, RootName)
	byToken, _ := s.must(t, "tom")
	annARN := ann.Principal.ARN()
	look := s.role(t, AssumableSpec{Name: "look", Roles: []Role{RoleAnalyst}, MaxSession: 2 * time.Hour}, annARN)
	member := s.role(t, AssumableSpec{Name: "member", Account: "444455556666", Path: "/x/", Roles: []Role{RoleAuditor}, MaxSession: 12 * time.Hour}, "111122223333")
	chained := s.role(t, AssumableSpec{Name: "chained", Roles: []Role{RoleRecorder}, MaxSession: 12 * time.Hour}, look.ARN(), "444455556666")
	guarded := s.role(t, AssumableSpec{Name: "guarded", Trust: []byte(statement(`{"Effect":"Allow","Principal":"*","Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"x-1"},"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}}`))})

	in, cred := s.assume(t, ann, look, "ci-42")
	if p := in.Principal; p.Kind != KindRole || p.ID != look.ID+":ci-42" || p.ARN() != "arn:aws:sts::111122223333:assumed-role/look/ci-42" || p.Account != "111122223333" || !slices.Equal(p.Roles, []Role{RoleAnalyst}) {
		t.Errorf("%+v", p)
	}
	if se := in.Session; se.User != "ann" || se.Name != "ci-42" || se.Role.ARN() != look.ARN() || !se.Issued.Equal(c.now()) || !se.Expires.Equal(c.now().Add(time.Hour)) || se.MFA || len(se.Tags) > 0 {
		t.Errorf("%+v", se)
	}
	if !sessionKeyID.MatchString(cred.ID) || len(cred.Secret) != 40 || strings.Contains(cred.Token, cred.Secret) {
		t.Errorf("%s", cred.ID)
	}
	there, _ := s.assume(t, bob, member, "bob")
	if there.Principal.Account != "444455556666" {
		t.Errorf("%+v", there.Principal)
	}
	inner, innerCred := s.assume(t, in, chained, "inner")
	if inner.Session.User != "ann" || innerCred.Expires.Sub(c.now()) != time.Hour {
		t.Errorf("%+v", inner.Session)
	}
	s.assume(t, there, chained, "by-account")
	s.assume(t, byToken, member, "by-token")
	temporary, err := s.SessionToken(t.Context(), ann, 0)
	if err != nil {
		t.Fatal(err)
	}
	s.assume(t, s.CallerOf(temporary, home, true), look, "by-session")

	away := ann
	away.Address = netip.MustParseAddr("203.0.113.9")
	tags := func(n, size int) map[string]string {
		out := map[string]string{}
		for i := range n {
			out[fmt.Sprint("tag", i)] = strings.Repeat("v", size)
		}
		return out
	}
	spec := func(role string, change func(*AssumeSpec)) AssumeSpec {
		sp := AssumeSpec{RoleARN: role, SessionName: "ci"}
		if change != nil {
			change(&sp)
		}
		return sp
	}
	guardedOf := func(id string) AssumeSpec {
		return spec(guarded.ARN(), func(s *AssumeSpec) { s.ExternalID = id })
	}
	for _, x := range []struct {
		what string
		c    Caller
		spec AssumeSpec
		want error
	}{
		{"as trusted", ann, spec(look.ARN(), nil), nil},
		{"as nobody who is trusted", bob, spec(look.ARN(), nil), ErrDenied},
		{"as root", root, spec(member.ARN(), nil), ErrDenied},
		{"as nobody", Caller{}, spec(member.ARN(), nil), ErrDenied},
		{"no such role", ann, spec(look.ARN()+"x", nil), ErrDenied},
		{"no such path", ann, spec("arn:aws:iam::444455556666:role/member", nil), ErrDenied},
		{"other case", ann, spec("arn:aws:iam::111122223333:role/LOOK", nil), ErrDenied},
		{"no role", ann, spec(annARN, nil), ErrDenied},
		{"a session", ann, spec("arn:aws:sts::111122223333:assumed-role/look/ci", nil), ErrDenied},
		{"no ARN", ann, spec("look", nil), ErrDenied},
		{"everything", ann, spec("*", nil), ErrDenied},
		{"external id", ann, guardedOf("x-1"), nil},
		{"no external id", ann, guardedOf(""), ErrDenied},
		{"another external id", ann, guardedOf("x-2"), ErrDenied},
		{"from elsewhere", away, guardedOf("x-1"), ErrDenied},
		{"tags where they are not allowed", ann, spec(guarded.ARN(), func(s *AssumeSpec) { s.ExternalID, s.Tags = "x-1", tags(1, 1) }), ErrDenied},
		{"source identity where it is not allowed", ann, spec(guarded.ARN(), func(s *AssumeSpec) { s.ExternalID, s.SourceIdentity = "x-1", "ann" }), ErrDenied},
		{"tags", ann, spec(look.ARN(), func(s *AssumeSpec) { s.Tags = tags(50, 5) }), nil},
		{"too many tags", ann, spec(look.ARN(), func(s *AssumeSpec) { s.Tags = tags(51, 5) }), ErrInvalid},
		{"too large tags", ann, spec(look.ARN(), func(s *AssumeSpec) { s.Tags = tags(50, 250) }), ErrLimit},
		{"bad tag", ann, spec(look.ARN(), func(s *AssumeSpec) { s.Tags = map[string]string{"a\n": ""} }), ErrInvalid},
		{"empty tag", ann, spec(look.ARN(), func(s *AssumeSpec) { s.Tags = map[string]string{"": "x"} }), ErrInvalid},
		{"short name", ann, spec(look.ARN(), func(s *AssumeSpec) { s.SessionName = "a" }), ErrInvalid},
		{"name with a slash", ann, spec(look.ARN(), func(s *AssumeSpec) { s.SessionName = "a/b" }), ErrInvalid},
		{"bad external id", ann, guardedOf("x 1"), ErrInvalid},
		{"bad source identity", ann, spec(look.ARN(), func(s *AssumeSpec) { s.SourceIdentity = "a b" }), ErrInvalid},
		{"too short", ann, spec(look.ARN(), func(s *AssumeSpec) { s.Duration = 14 * time.Minute }), ErrInvalid},
		{"as long as may be", ann, spec(look.ARN(), func(s *AssumeSpec) { s.Duration = 2 * time.Hour }), nil},
		{"too long", ann, spec(look.ARN(), func(s *AssumeSpec) { s.Duration = 2*time.Hour + time.Second }), ErrInvalid},
		{"from a role, an hour", in, spec(chained.ARN(), func(s *AssumeSpec) { s.Duration = time.Hour }), nil},
		{"from a role, longer", in, spec(chained.ARN(), func(s *AssumeSpec) { s.Duration = time.Hour + time.Second }), ErrInvalid},
		{"from a role, not trusted", inner, spec(look.ARN(), nil), ErrDenied},
	} {
		got, err := s.AssumeRole(t.Context(), x.c, x.spec)
		if !errors.Is(err, x.want) || (err == nil) != (x.want == nil) || err == nil && (got.Session.Name != x.spec.SessionName || len(got.Token) > maxTokenText) {
			t.Errorf("%s: %v; want %v", x.what, err, x.want)
		}
		if errors.Is(err, ErrDenied) && (strings.Contains(err.Error(), "trust") || strings.Contains(err.Error(), "there is no")) {
			t.Errorf("%s tells too much: %v", x.what, err)
		}
	}

	// A source identity stays, and has to be allowed by every role on the way.
	named, err := s.AssumeRole(t.Context(), ann, AssumeSpec{RoleARN: look.ARN(), SessionName: "ci", SourceIdentity: "ann@home"})
	if err != nil || named.Session.SourceIdentity != "ann@home" {
		t.Fatalf("%+v, %v", named, err)
	}
	namedCaller := s.CallerOf(named, home, true)
	if _, err := s.AssumeRole(t.Context(), namedCaller, AssumeSpec{RoleARN: chained.ARN(), SessionName: "ci", SourceIdentity: "bob"}); !errors.Is(err, ErrDenied) {
		t.Errorf("another source identity: %v", err)
	}
	if next, err := s.AssumeRole(t.Context(), namedCaller, AssumeSpec{RoleARN: chained.ARN(), SessionName: "ci"}); err != nil || next.Session.SourceIdentity != "ann@home" {
		t.Errorf("%+v, %v", next, err)
	}
	if _, err := s.AssumeRole(t.Context(), namedCaller, guardedOf("x-1")); !errors.Is(err, ErrDenied) {
		t.Errorf("a source identity that is not allowed: %v", err)
	}

	// Roles in a row are bounded.
	again := s.role(t, AssumableSpec{Name: "again"}, "*")
	at := ann
	for i := range maxChain + 1 {
		cred, err := s.AssumeRole(t.Context(), at, AssumeSpec{RoleARN: again.ARN(), SessionName: "ci"})
		if i < maxChain && err != nil || i == maxChain && !errors.Is(err, ErrInvalid) {
			t.Errorf("%d: %v", i, err)
		}
		at = s.CallerOf(cred, home, true)
	}

	// Another user of the same name is not trusted.
	if err := s.DeleteUser("ann"); err != nil {
		t.Fatal(err)
	}
	ann = s.user(t, "ann", RoleAdmin)
	if _, err := s.AssumeRole(t.Context(), ann, spec(look.ARN(), nil)); !errors.Is(err, ErrDenied) {
		t.Errorf("another ann: %v", err)
	}
	if _, err := s.UpdateAssumable("", "look", AssumableChange{Trust: look.Trust}); err != nil {
		t.Fatal(err)
	}
	s.assume(t, ann, look, "ann")

	// A policy can forbid what the trust document allows.
	extra, err := ParsePolicies(PolicyFile{"extra.cedar", `
@id("no-look") forbid (principal == Spoor::User::"ann", action == Spoor::Action::"sts:AssumeRole", resource == Spoor::Assumable::"arn:aws:iam::111122223333:role/look");`})
	if err != nil {
		t.Fatal(err)
	}
	s.SetPolicies(extra)
	if _, err := s.AssumeRole(t.Context(), ann, spec(look.ARN(), nil)); !errors.Is(err, ErrDenied) {
		t.Errorf("forbidden by a policy: %v", err)
	}
	s.assume(t, ann, member, "ann")
}

// TestSessionsEnd: whatever a session came of ends it, at once, and for callers who are under way.
func TestSessionsEnd(t *testing.T) {
	t.Parallel()
	type stage struct {
		s                *Service
		c                *clock
		ann              Caller
		user, in, inner  Caller
		userC, inC, insC Credential
	}
	outer := AssumableSpec{Name: "outer", Roles: []Role{RoleAdmin}, MaxSession: 12 * time.Hour}
	build := func(t *testing.T) *stage {
		st := &stage{c: newClock()}
		st.s = open(t, t.TempDir(), Options{Now: st.c.now, Account: "111122223333", Accounts: []string{"444455556666"}})
		st.ann = st.s.user(t, "ann", RoleAdmin)
		a := st.s.role(t, outer, "*")
		b := st.s.role(t, AssumableSpec{Name: "inner", Account: "444455556666", Roles: []Role{RoleAnalyst}}, "*")
		var err error
		if st.userC, err = st.s.SessionToken(t.Context(), st.ann, 0); err != nil {
			t.Fatal(err)
		}
		st.user = st.s.CallerOf(st.userC, home, true)
		st.in, st.inC = st.s.assume(t, st.user, a, "one")
		st.inner, st.insC = st.s.assume(t, st.in, b, "two")
		return st
	}
	must := func(t *testing.T, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []struct {
		what              string
		do                func(t *testing.T, st *stage)
		user, outer, inns bool // what still counts
	}{
		{"nothing", func(*testing.T, *stage) {}, true, true, true},
		{"key off", func(t *testing.T, st *stage) { must(t, second(st.s.SetAccessKey("ann", st.ann.AccessKey, false))) }, false, false, false},
		{"key off and on", func(t *testing.T, st *stage) {
			must(t, second(st.s.SetAccessKey("ann", st.ann.AccessKey, false)), second(st.s.SetAccessKey("ann", st.ann.AccessKey, true)))
		}, true, true, true},
		{"key deleted", func(t *testing.T, st *stage) { must(t, st.s.DeleteAccessKey("ann", st.ann.AccessKey)) }, false, false, false},
		{"key replaced", func(t *testing.T, st *stage) {
			st.s.mustKey(t, "ann")
			must(t, st.s.DeleteAccessKey("ann", st.ann.AccessKey))
		}, false, false, false},
		{"another key deleted", func(t *testing.T, st *stage) {
			_, k := st.s.mustKey(t, "ann")
			must(t, st.s.DeleteAccessKey("ann", k.ID))
		}, true, true, true},
		{"user deleted", func(t *testing.T, st *stage) { must(t, st.s.DeleteUser("ann")) }, false, false, false},
		{"user made again", func(t *testing.T, st *stage) {
			must(t, st.s.DeleteUser("ann"))
			st.s.user(t, "ann", RoleAdmin)
		}, false, false, false},
		{"outer role revoked", func(t *testing.T, st *stage) { must(t, second(st.s.RevokeSessions("", "outer"))) }, true, false, false},
		{"inner role revoked", func(t *testing.T, st *stage) { must(t, second(st.s.RevokeSessions("444455556666", "inner"))) }, true, true, false},
		{"outer role deleted", func(t *testing.T, st *stage) { must(t, st.s.DeleteAssumable("", "outer")) }, true, false, false},
		{"outer role made again", func(t *testing.T, st *stage) {
			must(t, st.s.DeleteAssumable("", "outer"))
			st.s.role(t, outer, "*")
		}, true, false, false},
		{"clock set back, then revoked", func(t *testing.T, st *stage) {
			st.c.add(-24 * time.Hour)
			must(t, second(st.s.RevokeSessions("", "outer")))
		}, true, false, false},
		{"trust taken away", func(t *testing.T, st *stage) { // it counts for those who come
			doc, err := TrustOf("444455556666")
			must(t, err, second(st.s.UpdateAssumable("", "outer", AssumableChange{Trust: doc})))
		}, true, true, true},
		{"an hour later", func(_ *testing.T, st *stage) { st.c.add(time.Hour) }, true, false, false},
		{"12 hours later", func(_ *testing.T, st *stage) { st.c.add(12 * time.Hour) }, false, false, false},
	} {
		t.Run(x.what, func(t *testing.T) {
			t.Parallel()
			st := build(t)
			x.do(t, st)
			for _, y := range []struct {
				name string
				c    Caller
				cred Credential
				want bool
			}{{"user", st.user, st.userC, x.user}, {"outer", st.in, st.inC, x.outer}, {"inner", st.inner, st.insC, x.inns}} {
				if got := st.s.Check(y.c); (got == nil) != y.want {
					t.Errorf("%s: %v", y.name, got)
				}
				if d := st.s.AuthorizeARN(t.Context(), y.c, "cloudtrail:LookupEvents"); d.Allowed != y.want {
					t.Errorf("%s: %+v", y.name, d)
				}
				found, err := st.s.Credential(t.Context(), y.cred.ID, y.cred.Token)
				expired := err == nil && !st.c.now().Before(found.Expires)
				if (err == nil && !expired) != y.want || err != nil && !errors.Is(err, ErrNotFound) {
					t.Errorf("%s: %+v, %v", y.name, found, err)
				}
				if _, err := st.s.AssumeRole(t.Context(), y.c, AssumeSpec{RoleARN: "arn:aws:iam::444455556666:role/inner", SessionName: "three"}); (err == nil) != y.want {
					t.Errorf("%s: a new session: %v", y.name, err)
				}
			}
		})
	}
}

// TestSessionToken: temporary credentials of users and root.
func TestSessionToken(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := open(t, t.TempDir(), Options{Now: c.now})
	ann := s.user(t, "ann", RoleAdmin)
	root, _ := s.mustKey(t, RootName)
	role := s.role(t, AssumableSpec{Name: "x", Roles: []Role{RoleAdmin}}, "*")
	in, _ := s.assume(t, ann, role, "in")
	for _, x := range []struct {
		c    Caller
		d    time.Duration
		want time.Duration
		err  error
	}{
		{ann, 0, 12 * time.Hour, nil}, {ann, 15 * time.Minute, 15 * time.Minute, nil}, {ann, 36 * time.Hour, 36 * time.Hour, nil},
		{ann, 36*time.Hour + 1, 0, ErrInvalid}, {ann, time.Minute, 0, ErrInvalid}, {ann, -time.Hour, 0, ErrInvalid},
		{root, 0, time.Hour, nil}, {root, 2 * time.Hour, 0, ErrInvalid}, {in, 0, 0, ErrDenied}, {Caller{}, 0, 0, ErrDenied},
	} {
		got, err := s.SessionToken(t.Context(), x.c, x.d)
		if !errors.Is(err, x.err) || err == nil && (got.Expires.Sub(c.now()) != x.want || got.Principal.ID != x.c.Principal.ID || got.Session.Role != nil || got.Session.User != x.c.Principal.Name) {
			t.Errorf("%s, %s: %+v, %v", x.c.Principal.Name, x.d, got, err)
		}
	}
	cred, err := s.SessionToken(t.Context(), ann, 0)
	if err != nil {
		t.Fatal(err)
	}
	temporary := s.CallerOf(cred, home, true)
	if _, err := s.SessionToken(t.Context(), temporary, 0); !errors.Is(err, ErrDenied) {
		t.Errorf("%v", err)
	}
	// They may do what the user may, but for iam and most of sts.
	for a, want := range map[Action]bool{
		"cloudtrail:LookupEvents": true, "cloudtrail:CreateChannel": true, STSAssumeRole: true, "sts:GetCallerIdentity": true,
		"sts:GetSessionToken": false, "sts:GetAccessKeyInfo": false, "iam:ListUsers": false, "iam:CreateUser": false, "iam:GetUser": false,
	} {
		if d := s.AuthorizeARN(t.Context(), temporary, a); d.Allowed != want {
			t.Errorf("%+v", d)
		}
		if d := s.AuthorizeARN(t.Context(), ann, a); !d.Allowed {
			t.Errorf("%+v", d)
		}
		if d := s.AuthorizeARN(t.Context(), in, a); !d.Allowed {
			t.Errorf("%+v", d)
		}
	}
	if _, err := s.SetRoles("ann", nil); err != nil {
		t.Fatal(err)
	}
	if d := s.AuthorizeARN(t.Context(), temporary, "cloudtrail:LookupEvents"); d.Allowed {
		t.Error("more rights than its user")
	}
	if d := s.AuthorizeARN(t.Context(), in, "cloudtrail:LookupEvents"); !d.Allowed {
		t.Errorf("a role has its own: %+v", d)
	}
	roles := []Role{}
	if _, err := s.UpdateAssumable("", "x", AssumableChange{Roles: &roles}); err != nil {
		t.Fatal(err)
	}
	if d := s.AuthorizeARN(t.Context(), in, "cloudtrail:LookupEvents"); d.Allowed {
		t.Error("rights that the role has no more")
	}
}

// TestTokensThatAreNot: tokens that were cut, changed, or are of another key open nothing, whether the right one is cached or not.
func TestTokensThatAreNot(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, dir, Options{})
	ann := s.user(t, "ann")
	a, err := s.SessionToken(t.Context(), ann, 0)
	if err != nil {
		t.Fatal(err)
	}
	b, err := s.SessionToken(t.Context(), ann, 0)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(a.Token)
	if err != nil {
		t.Fatal(err)
	}
	bad := []string{"", "x", a.Token[:len(a.Token)-1], a.Token + "A", a.Token + "=", " " + a.Token, a.Token + "\n", b.Token, strings.Repeat("A", maxTokenText), strings.Repeat("A", 1<<20)}
	for i := range raw {
		flipped := slices.Clone(raw)
		flipped[i] ^= 1
		bad = append(bad, base64.RawURLEncoding.EncodeToString(flipped), base64.RawURLEncoding.EncodeToString(raw[:i]))
	}
	try := func() {
		t.Helper()
		for _, token := range bad {
			if c, err := s.Credential(t.Context(), a.ID, token); !errors.Is(err, ErrNotFound) || c.Secret != "" {
				t.Errorf("%.50s: %v", token, err)
			}
		}
		for _, id := range []string{"ASIAABCDEFGHIJKLMNOP", "ASIA", strings.ToLower(a.ID), a.ID + "A", b.ID, ann.AccessKey} {
			if _, err := s.Credential(t.Context(), id, a.Token); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", id, err)
			}
		}
	}
	try()
	if s.sessions.get(a.ID) != nil {
		t.Error("cached before it was used")
	}
	for range 2 {
		if c, err := s.Credential(t.Context(), a.ID, a.Token); err != nil || c.Secret != a.Secret {
			t.Fatal(err)
		}
	}
	if s.sessions.get(a.ID) == nil {
		t.Error("not cached")
	}
	try()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{}) // they last over a restart
	if c, err := s.Credential(t.Context(), a.ID, a.Token); err != nil || c.Secret != a.Secret {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, Options{Account: "111122223333"}) // but not over a change of the account
	if _, err := s.Credential(t.Context(), a.ID, a.Token); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestSessionCache: it is bounded, and what it forgot is opened again.
func TestSessionCache(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	ann := s.user(t, "ann")
	cred, err := s.SessionToken(t.Context(), ann, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxCached {
		if i%1000 == 0 {
			if _, err := s.Credential(t.Context(), cred.ID, cred.Token); err != nil {
				t.Fatal(err)
			}
			if s.sessions.get(cred.ID) == nil {
				t.Error("used lately, and forgotten")
			}
		}
		s.sessions.put(fmt.Sprint(i), &sealedSession{})
		if n := len(s.sessions.young) + len(s.sessions.old); n > 2*maxCached {
			t.Fatalf("%d sessions", n)
		}
	}
	for i := range 2 * maxCached {
		s.sessions.put(fmt.Sprint(i), &sealedSession{})
	}
	if s.sessions.get(cred.ID) != nil {
		t.Error("kept for ever")
	}
	if _, err := s.Credential(t.Context(), cred.ID, cred.Token); err != nil {
		t.Error(err)
	}
}

func TestAuthorizeARN(t *testing.T) {
	t.Parallel()
	extra, err := ParsePolicies(PolicyFile{"extra.cedar", `
@id("no-admins") forbid (principal, action in Spoor::Action::"ManageAccess", resource) when { context has roles && context.roles.contains("admin") && !(principal is Spoor::Root) };
@id("one-channel") permit (principal == Spoor::Assumed::"arn:aws:iam::444455556666:role/ci", action == Spoor::Action::"cloudtrail-data:PutAuditEvents", resource is Spoor::Resource)
when { resource.service == "cloudtrail" && resource.kind == "channel" && resource.name == "c-1" && resource.account == principal.account && principal.role == "ci" && principal.session == "run" };
@id("stale") forbid (principal, action, resource) when { context has issued && context.time.durationSince(context.issued) > duration("2h") };
@id("old-key") forbid (principal, action == Spoor::Action::"cloudtrail:ListChannels", resource) when { context has accessKey && context.accessKey like "AKIA*" };`})
	if err != nil {
		t.Fatal(err)
	}
	c := newClock()
	s := open(t, t.TempDir(), Options{Now: c.now, Policies: extra, Account: "111122223333", Accounts: []string{"444455556666"}})
	ann := s.user(t, "ann", RoleAdmin)
	bob := s.user(t, "bob")
	root, rootKey := s.mustKey(t, RootName)
	ci := s.role(t, AssumableSpec{Name: "ci", Account: "444455556666", MaxSession: 12 * time.Hour}, "*")
	run, _ := s.assume(t, bob, ci, "run")
	other, _ := s.assume(t, bob, ci, "other")
	boss := s.role(t, AssumableSpec{Name: "boss", Roles: []Role{RoleAdmin}}, "*")
	admin, _ := s.assume(t, bob, boss, "bob")
	const (
		channel = "arn:aws:cloudtrail:eu-central-1:444455556666:channel/c-1"
		users   = "arn:aws:iam::111122223333:user/"
		policy  = "arn:aws:iam::aws:policy/Spoor"
	)
	put := Action("cloudtrail-data:PutAuditEvents")
	for _, x := range []struct {
		c    Caller
		a    Action
		arns []string
		want bool
		says string
	}{
		{ann, "iam:CreateUser", []string{users + "new"}, true, "user ann (admin) may iam:CreateUser on user new: permitted by admin"},
		{ann, "iam:AttachUserPolicy", []string{users + "bob", policy + "Analyst"}, true, "on resource arn:aws:iam::aws:policy/SpoorAnalyst: permitted by admin"},
		{ann, "iam:AttachUserPolicy", []string{users + "bob", policy + "Admin"}, false, "on user bob: forbidden by no-admins"},
		{root, "iam:AttachUserPolicy", []string{users + "bob", policy + "Admin"}, true, "permitted by root"},
		{ann, "iam:CreateAccessKey", []string{"arn:aws:iam::111122223333:root"}, false, "on user root: forbidden by root-is-its-own"},
		{ann, "iam:DeleteAccessKey", []string{"arn:aws:iam::111122223333:root"}, false, "forbidden by root-is-its-own"},
		{admin, "iam:DeleteAccessKey", []string{"arn:aws:iam::111122223333:root"}, false, "role boss, session bob (admin) may not iam:DeleteAccessKey on user root: forbidden by root-is-its-own"},
		{root, "iam:DeleteAccessKey", []string{"arn:aws:iam::111122223333:root"}, true, "permitted by root"},
		{admin, "iam:DeleteAccessKey", []string{users + "ann"}, true, "permitted by admin"},
		{bob, "iam:DeleteAccessKey", []string{users + "bob"}, true, "permitted by own-keys"},
		{bob, "iam:DeleteAccessKey", []string{users + "ann"}, false, "no policy permits it"},
		{bob, "iam:DeleteAccessKey", []string{users + "bob", users + "ann"}, false, "on user ann: no policy permits it"},
		{bob, "iam:DeleteAccessKey", []string{"arn:aws:iam::444455556666:user/bob"}, false, "no policy permits it"},
		{bob, "iam:DeleteAccessKey", nil, false, "no policy permits it"},
		{bob, "iam:CreateAccessKey", []string{users + "bob"}, false, "no policy permits it"},
		{bob, "iam:GetUser", []string{users + "bob"}, true, "permitted by own-keys"},
		{bob, "iam:GetRole", []string{ci.ARN()}, false, "on assumable " + ci.ARN() + ": no policy permits it"},
		{ann, "iam:GetRole", []string{ci.ARN()}, true, "permitted by admin"},
		{run, put, []string{channel}, true, "role ci, session run (no role) may cloudtrail-data:PutAuditEvents on resource " + channel + ": permitted by one-channel"},
		{run, put, []string{channel + "2"}, false, "no policy permits it"},
		{run, put, []string{channel, channel + "2"}, false, "no policy permits it"},
		{run, put, []string{strings.Replace(channel, "444455556666", "111122223333", 1)}, false, "no policy permits it"},
		{other, put, []string{channel}, false, "no policy permits it"},
		{run, "iam:GetUser", []string{users + "bob"}, false, "no policy permits it"}, // a session of a role is not who it came of
		{ann, "cloudtrail:ListChannels", nil, false, "forbidden by old-key"},
		{admin, "cloudtrail:ListChannels", nil, true, "permitted by admin"},
		{admin, "cloudtrail:ListChannels", []string{"*"}, true, "on the server: permitted by admin"},
		{admin, put, []string{"c-1"}, false, "it is no ARN"},
		{admin, put, []string{""}, false, "it is no ARN"},
		{admin, put, []string{"arn:aws:cloudtrail:eu-central-1:444455556666:"}, false, "it is no ARN"},
		{admin, put, []string{channel + strings.Repeat("x", maxARN)}, false, "it is no ARN"},
		{admin, "cloudtrail:Nothing", nil, false, "there is no such action"},
		{Caller{}, "sts:GetCallerIdentity", nil, false, "the principal is not there any more"},
		{Caller{Principal: ann.Principal, AccessKey: bob.AccessKey}, "sts:GetCallerIdentity", nil, false, "the access key is not there any more"},
		{Caller{Principal: ann.Principal, Token: ann.AccessKey}, "sts:GetCallerIdentity", nil, false, "the token is not there any more"},
		{Caller{Principal: admin.Principal, AccessKey: admin.AccessKey, Session: &Session{}}, "sts:GetCallerIdentity", nil, false, "the credential that the session came of is not there any more"},
		{Caller{Principal: admin.Principal, AccessKey: run.AccessKey, Session: run.Session}, "sts:GetCallerIdentity", nil, false, "the principal is not there any more"},
	} {
		d := s.AuthorizeARN(t.Context(), x.c, x.a, x.arns...)
		if d.Allowed != x.want || !strings.HasSuffix(d.Reason, x.says) || len(d.Errors) > 0 {
			t.Errorf("%s on %q: %v, %s\nwant %v, %s", x.a, x.arns, d.Allowed, d.Reason, x.want, x.says)
		}
	}
	// Keys of the own API.
	for _, x := range []struct {
		c    Caller
		a    Action
		id   string
		want bool
	}{
		{bob, UpdateAccessKey, bob.AccessKey, true}, {bob, DeleteAccessKey, bob.AccessKey, true}, {bob, DeleteAccessKey, ann.AccessKey, false}, {bob, DeleteAccessKey, "none", false},
		{ann, DeleteAccessKey, bob.AccessKey, true}, {ann, UpdateAccessKey, rootKey.ID, false}, {admin, DeleteAccessKey, rootKey.ID, false}, {root, DeleteAccessKey, rootKey.ID, true},
	} {
		if d := s.Authorize(t.Context(), x.c, x.a, Resource{Type: TypeAccessKey, ID: x.id}); d.Allowed != x.want {
			t.Errorf("%+v", d)
		}
	}
	// Roles may be named without account too.
	if d := s.Authorize(t.Context(), ann, GetRole, Resource{Type: TypeAssumable, ID: "BOSS"}); !d.Allowed {
		t.Errorf("%+v", d)
	}
	if d, err := s.Would(ci.ARN(), Caller{}, put, Resource{Type: TypeResource, ID: channel}); err != nil || d.Allowed || d.Principal.Kind != KindRole || !strings.HasPrefix(d.Reason, "role ci (no role) may not") {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := s.Would("arn:aws:iam::444455556666:role/none", Caller{}, put, Resource{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	c.add(3 * time.Hour)
	long, err := s.AssumeRole(t.Context(), bob, AssumeSpec{RoleARN: ci.ARN(), SessionName: "run", Duration: 12 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	c.add(2*time.Hour + time.Second)
	if d := s.AuthorizeARN(t.Context(), s.CallerOf(long, home, true), "sts:GetCallerIdentity"); d.Allowed || !strings.HasSuffix(d.Reason, "forbidden by stale") {
		t.Errorf("%+v", d)
	}
}

// TestKeysCannotWrite: what gives something is not in effect when it cannot be written, what takes something away is.
func TestKeysCannotWrite(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a folder in use cannot be moved here")
	}
	dir := filepath.Join(t.TempDir(), "iam")
	s := open(t, dir, Options{})
	ann := s.user(t, "ann", RoleAdmin)
	_, off := s.mustKey(t, "ann")
	bob := s.user(t, "bob")
	a := s.role(t, AssumableSpec{Name: "a", Roles: []Role{RoleAdmin, RoleAnalyst}}, "*")
	b := s.role(t, AssumableSpec{Name: "b"}, "*")
	inA, _ := s.assume(t, ann, a, "in")
	inB, _ := s.assume(t, ann, b, "in")
	if _, err := s.SetAccessKey("ann", off.ID, false); err != nil {
		t.Fatal(err)
	}
	aside := dir + ".aside"
	if err := os.Rename(dir, aside); err != nil {
		t.Fatal(err)
	}
	everybody, err := TrustOf("*")
	if err != nil {
		t.Fatal(err)
	}
	recorder, fewer := []Role{RoleRecorder}, []Role{RoleAnalyst}
	for what, err := range map[string]error{
		"a key":           third(s.CreateAccessKey(KeySpec{User: RootName})),
		"a key on again":  second(s.SetAccessKey("ann", off.ID, true)),
		"a role":          second(s.CreateAssumable(AssumableSpec{Name: "c", Trust: everybody})),
		"other rights":    second(s.UpdateAssumable("", "b", AssumableChange{Roles: &recorder})),
		"another trust":   second(s.UpdateAssumable("", "b", AssumableChange{Trust: everybody})),
		"what is nothing": s.DeleteAccessKey("ann", "none"),
	} {
		if err == nil || strings.Contains(err.Error(), "in effect") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := s.Credential(t.Context(), off.ID, ""); err == nil {
		t.Error("a key is on")
	}
	if n := len(s.AccessKeys(RootName)); n != 0 || len(s.Assumables()) != 2 {
		t.Error("something was made")
	}
	for what, err := range map[string]error{
		"fewer rights":  second(s.UpdateAssumable("", "a", AssumableChange{Roles: &fewer})),
		"a key off":     second(s.SetAccessKey("bob", bob.AccessKey, false)),
		"a role's end":  s.DeleteAssumable("", "b"),
		"a revocation":  second(s.RevokeSessions("", "a")),
		"a key deleted": s.DeleteAccessKey("ann", off.ID),
	} {
		if err == nil || !strings.Contains(err.Error(), "in effect, but not written yet") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s.Check(inA) == nil || s.Check(inB) == nil || s.Check(bob) == nil || len(s.AccessKeys("ann")) != 1 {
		t.Error("what was taken away is still there")
	}
	if err := s.Restore(b.ID); err == nil {
		t.Error("given back without being written")
	}
	if err := os.Rename(aside, dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	f, err := readState(filepath.Join(dir, stateName))
	if err != nil || len(f.Assumables) != 1 || f.Assumables[0].Revocations != 1 || !slices.Equal(f.Assumables[0].Roles, fewer) || len(f.Credentials) != 2 || !f.Credentials[1].Inactive {
		t.Errorf("%+v, %v", f, err)
	}
}

// TestRevokeWhileUsed: from the moment a revocation returns, nothing that was issued before counts. It is for the race detector.
func TestRevokeWhileUsed(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), Options{})
	ann := s.user(t, "ann", RoleAdmin)
	role := s.role(t, AssumableSpec{Name: "x", Roles: []Role{RoleAnalyst}}, "*")
	for range 20 {
		var issued sync.Map // ids of credentials that were there before the revocation returned
		var wg sync.WaitGroup
		stop := make(chan struct{})
		started := make(chan struct{}, 4)
		for i := range 4 {
			wg.Go(func() {
				for n := 0; ; n++ {
					cred, err := s.AssumeRole(t.Context(), ann, AssumeSpec{RoleARN: role.ARN(), SessionName: fmt.Sprint("ci", i)})
					if err != nil {
						t.Error(err)
						return
					}
					issued.Store(cred.ID, cred)
					if _, err := s.Credential(t.Context(), cred.ID, cred.Token); err != nil && !errors.Is(err, ErrNotFound) {
						t.Error(err)
					}
					s.UsedKey(cred.ID, "sts", "us-east-1")
					s.UsedKey(ann.AccessKey, "sts", "us-east-1")
					if n == 3 {
						started <- struct{}{}
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		for range 4 {
			<-started
		}
		var before []Credential
		issued.Range(func(_, v any) bool { before = append(before, v.(Credential)); return true })
		if _, err := s.RevokeSessions("", "x"); err != nil {
			t.Error(err)
		}
		for _, c := range before {
			if _, err := s.Credential(t.Context(), c.ID, c.Token); !errors.Is(err, ErrNotFound) {
				t.Errorf("still good: %v", err)
			}
			if d := s.AuthorizeARN(t.Context(), s.CallerOf(c, home, true), "cloudtrail:LookupEvents"); d.Allowed {
				t.Error("still allowed")
			}
		}
		close(stop)
		wg.Wait()
		s.assume(t, ann, role, "after")
	}
	if a, err := s.Assumable("", "x"); err != nil || a.LastUsed.IsZero() || a.RevokedBefore.IsZero() {
		t.Errorf("%+v, %v", a, err)
	}
}

// FuzzSessionToken: no text opens a session but its own token.
func FuzzSessionToken(f *testing.F) {
	s, err := Open(f.Context(), f.TempDir(), Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Close(); err != nil {
			f.Error(err)
		}
	})
	k, _, err := s.CreateAccessKey(KeySpec{User: RootName})
	if err != nil {
		f.Fatal(err)
	}
	root, err := s.Credential(f.Context(), k.ID, "")
	if err != nil {
		f.Fatal(err)
	}
	cred, err := s.SessionToken(f.Context(), s.CallerOf(root, home, true), 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(cred.ID, cred.Token)
	f.Add(cred.ID, cred.Token[:100])
	f.Add("ASIAABCDEFGHIJKLMNOP", cred.Token)
	f.Add(k.ID, "")
	f.Fuzz(func(t *testing.T, id, token string) {
		c, err := s.Credential(t.Context(), id, token)
		switch {
		case id == cred.ID && token == cred.Token, id == k.ID && token == "":
			if err != nil {
				t.Fatal(err)
			}
		case !errors.Is(err, ErrNotFound) || c.Secret != "":
			t.Fatalf("%q with %q: %+v, %v", id, token, c, err)
		}
	})
}

func benchmarkCredential(b *testing.B, temporary bool) {
	s, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	if _, err := s.CreateUser("ann", []Role{RoleAnalyst}, ""); err != nil {
		b.Fatal(err)
	}
	k, _, err := s.CreateAccessKey(KeySpec{User: "ann"})
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.Credential(b.Context(), k.ID, "")
	if err != nil {
		b.Fatal(err)
	}
	if temporary {
		trust, err := TrustOf("*")
		if err != nil {
			b.Fatal(err)
		}
		a, err := s.CreateAssumable(AssumableSpec{Name: "x", Roles: []Role{RoleAnalyst}, Trust: trust})
		if err != nil {
			b.Fatal(err)
		}
		if c, err = s.AssumeRole(b.Context(), s.CallerOf(c, home, true), AssumeSpec{RoleARN: a.ARN(), SessionName: "ci"}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		got, err := s.Credential(b.Context(), c.ID, c.Token)
		if err != nil {
			b.Fatal(err)
		}
		s.UsedKey(c.ID, "cloudtrail", "us-east-1")
		if !s.AuthorizeARN(b.Context(), s.CallerOf(got, home, true), "cloudtrail:LookupEvents").Allowed {
			b.Fatal("not allowed")
		}
	}
}

func BenchmarkAccessKeyCall(b *testing.B) { benchmarkCredential(b, false) }
func BenchmarkSessionCall(b *testing.B)   { benchmarkCredential(b, true) }

func BenchmarkOpenSession(b *testing.B) {
	s, err := Open(b.Context(), b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	k, _, err := s.CreateAccessKey(KeySpec{User: RootName})
	if err != nil {
		b.Fatal(err)
	}
	c, err := s.Credential(b.Context(), k.ID, "")
	if err != nil {
		b.Fatal(err)
	}
	if c, err = s.SessionToken(b.Context(), s.CallerOf(c, home, true), 0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.sessions.young = nil
		if _, err := s.openSession(c.ID, c.Token); err != nil {
			b.Fatal(err)
		}
	}
}
