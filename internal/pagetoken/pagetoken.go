// Package pagetoken makes the tokens of pages that nobody else can make.
//
// A token is what a page begins behind, with a proof over that and over the question that it belongs to: HMAC-SHA256, cut to 16
// bytes, in base64 of the URL's alphabet without padding. It tells its holder the place, which is no secret, and counts for the
// same question alone.
package pagetoken

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"spoor/internal/durable"
)

// KeySize is how many bytes a [Key] has.
const KeySize = 32

const (
	proofSize = 16
	maxToken  = 8 << 10
)

// Err is the error of a token that was not made for the question.
var Err = errors.New("the token is not one that was given for these parameters")

// strict takes one form of a token alone.
var strict = base64.RawURLEncoding.Strict()

// Key is what tokens are proven with: [KeySize] random bytes.
type Key []byte

// NewKey makes a key.
func NewKey() Key {
	k := make(Key, KeySize)
	_, _ = rand.Read(k) // never fails
	return k
}

// OpenKey reads the key in a file, which is made when it is missing: pages go on after a restart.
func OpenKey(path string) (Key, error) {
	k, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		k = NewKey()
		if err := durable.WriteFile(path, k, 0o600); err != nil {
			return nil, fmt.Errorf("keep the key of page tokens: %w", err)
		}
	case err != nil:
		return nil, fmt.Errorf("read the key of page tokens: %w", err)
	case len(k) != KeySize:
		return nil, fmt.Errorf("%s, the key of page tokens, has %d bytes in place of %d; without it, the tokens that are out do not count any more", path, len(k), KeySize)
	}
	return k, nil
}

// Seal makes a token of a place, for the question that the texts of binding name.
func (k Key) Seal(place []byte, binding ...string) string {
	return strict.EncodeToString(append(k.proof(place, binding), place...))
}

// Open gives the place in a token that Seal made with the same binding. The error is [Err].
func (k Key) Open(token string, binding ...string) (place []byte, err error) {
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // which the decoder passes over
		return nil, Err
	}
	b, err := strict.DecodeString(token)
	if err != nil || len(b) < proofSize || !hmac.Equal(b[:proofSize], k.proof(b[proofSize:], binding)) {
		return nil, Err
	}
	return b[proofSize:], nil
}

// proof is over the place and the binding, each behind its length.
func (k Key) proof(place []byte, binding []string) []byte {
	h := hmac.New(sha256.New, k)
	for _, s := range binding {
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		h.Write([]byte(s))
	}
	h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(place))))
	h.Write(place)
	return h.Sum(nil)[:proofSize]
}
