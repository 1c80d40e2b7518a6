package iam

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
	"time"
)

// Token is what is known of a token: all but its secret.
type Token struct {
	ID       string    `json:"id"`
	User     string    `json:"user"` // name of its principal
	Note     string    `json:"note,omitempty"`
	Created  time.Time `json:"created"`
	By       string    `json:"by"`
	Expires  time.Time `json:"expires,omitzero"`  // zero: never
	LastUsed time.Time `json:"lastUsed,omitzero"` // to the minute, after a crash older
	Revoked  time.Time `json:"revoked,omitzero"`
	Status   Status    `json:"status"`
}

// Status says whether a token can be used.
type Status string

// The states of a token.
const (
	StatusActive  Status = "active"
	StatusExpired Status = "expired"
	StatusRevoked Status = "revoked"
	// StatusInactive is that of an access key that is switched off.
	StatusInactive Status = "switched off"
)

// A token reads spoor_<id>_<secret>: the prefix lets scanners find what was published by mistake.
const (
	tokenPrefix = "spoor_"
	idBytes     = 10 // 16 characters
	secretBytes = 32 // 52 characters
	idLen       = 16
	secretLen   = 52
	tokenLen    = len(tokenPrefix) + idLen + 1 + secretLen
)

// newToken makes the two halves of a token.
func newToken() (id, secret string) {
	return strings.ToLower(randomText(idBytes)), strings.ToLower(randomText(secretBytes))
}

func tokenText(id, secret string) string { return tokenPrefix + id + "_" + secret }

// splitToken takes a token apart. What it accepts has the form of a token, and may still be no token of ours.
func splitToken(text string) (id, secret string, ok bool) {
	if len(text) != tokenLen || !strings.HasPrefix(text, tokenPrefix) || text[len(tokenPrefix)+idLen] != '_' {
		return "", "", false
	}
	id, secret = text[len(tokenPrefix):len(tokenPrefix)+idLen], text[len(tokenPrefix)+idLen+1:]
	return id, secret, isBase32(id) && isBase32(secret)
}

// TokenID gives the id in a token; other text it gives as it is.
func TokenID(text string) string {
	if id, _, ok := splitToken(text); ok {
		return id
	}
	return text
}

func isBase32(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

// verifier is what is kept of a secret. A hash without stretching is enough: there is nothing to guess in 256 random bits.
type verifier [sha256.Size]byte

// verify computes the verifier of a secret. The id is part of it, so that verifiers cannot be exchanged.
func verify(id, secret string) verifier {
	return sha256.Sum256([]byte("spoor token v1\x00" + id + "\x00" + secret))
}

func (v verifier) equal(w verifier) bool { return subtle.ConstantTimeCompare(v[:], w[:]) == 1 }

const verifierPrefix = "sha256:"

func (v verifier) text() string { return verifierPrefix + hex.EncodeToString(v[:]) }

func parseVerifier(s string) (v verifier, ok bool) {
	rest, ok := strings.CutPrefix(s, verifierPrefix)
	if !ok || len(rest) != 2*len(v) || strings.ToLower(rest) != rest {
		return v, false
	}
	_, err := hex.Decode(v[:], []byte(rest))
	return v, err == nil
}
