package iam

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// AuthError is the error of a caller who did not prove who it is. Error tells what a log may say; a caller is told
// [AuthError.Public].
type AuthError struct {
	Reason string        // what was wrong
	Wait   time.Duration // more than 0: too many attempts failed; how long to stay away
	Token  string        // id that was tried, if it had the form of one
	// Principal is whose token it was, when the secret was right: the token was revoked or had expired.
	Principal *Principal
}

// Error tells what was wrong.
func (e *AuthError) Error() string {
	if e.Wait > 0 {
		return fmt.Sprintf("not authenticated: %s; try again in %s", e.Reason, e.Wait.Round(time.Second))
	}
	return "not authenticated: " + e.Reason
}

// Public is what the caller may know: no more than it has proved to know.
func (e *AuthError) Public() string {
	switch {
	case e.Wait > 0:
		return fmt.Sprintf("too many failed attempts; try again in %d s", int64(e.Wait.Seconds())+1)
	case e.Principal != nil:
		return e.Reason
	}
	return "the token is missing or not valid"
}

// Authenticate finds out who comes with a token from an address. The error is an [*AuthError] or the context's. From an
// address that failed too often, attempts are refused unseen, with the time after which to try again.
func (s *Service) Authenticate(ctx context.Context, token string, from netip.Addr) (Caller, error) {
	if err := ctx.Err(); err != nil {
		return Caller{}, err
	}
	now := s.clock()
	sn := s.now()
	id, secret, ok := splitToken(token)
	cred := sn.credentials[id]
	if token == "" { // nothing was tried
		return Caller{}, &AuthError{Reason: "there is no token"}
	}
	key := throttleKey{from: source(from)}
	if cred != nil {
		key.id = id
	}
	if wait := s.throttle.wait(key, now); wait > 0 {
		return Caller{}, &AuthError{Reason: "too many failed attempts", Wait: wait, Token: id}
	}
	fail := func(e *AuthError) (Caller, error) {
		s.throttle.fail(key, now)
		e.Token = id
		return Caller{}, e
	}
	if !ok {
		id = ""
		return fail(&AuthError{Reason: "it is no token of Spoor"})
	}
	// An id that is not there takes as long as one that is.
	want := verifier{}
	if cred != nil {
		want = cred.verifier
	}
	same := verify(id, secret).equal(want)
	switch {
	case cred == nil:
		return fail(&AuthError{Reason: "there is no such token"})
	case !same:
		return fail(&AuthError{Reason: "the secret of the token is wrong"})
	}
	p := sn.principals[cred.User]
	if st := cred.status(now); st != StatusActive {
		return fail(&AuthError{Reason: "the token is " + string(st), Principal: &p})
	}
	cred.touch(now)
	return Caller{Principal: p, Token: id, Address: from}, nil
}

// Check says whether a caller is still one: nil, or an [*AuthError] when the token was revoked, has expired or its principal
// was deleted. Long answers ask it between their parts.
func (s *Service) Check(c Caller) error {
	if _, why := s.current(s.now(), c, s.clock()); why != "" {
		return &AuthError{Reason: why, Token: c.Token, Principal: &c.Principal}
	}
	return nil
}
