// Package signing keeps the key pairs that sign digests, one after the other for each Region.
package signing

import (
	"context"
	"crypto/rsa"
	"errors"
	"time"

	"spoor/internal/trail/digest"
)

// Sealer keeps private keys secret. [spoor/internal/keyring.Ring] is one.
type Sealer interface {
	Seal(purpose string, secret []byte) ([]byte, error)
	Unseal(purpose string, sealed []byte) ([]byte, error)
}

// Keys are the key pairs of Regions, in a file. Its methods may be called concurrently.
type Keys struct{}

// Open opens the keys of a folder. now is the clock, nil for [time.Now].
func Open(dir string, s Sealer, now func() time.Time) (*Keys, error) {
	return nil, errors.New("not built yet")
}

// Signing is the key that signs in a Region at a time; one is made, and is durable, when there is none.
func (k *Keys) Signing(ctx context.Context, region string, at time.Time) (*rsa.PrivateKey, error) {
	return nil, errors.New("not built yet")
}

// Public lists the keys of a Region that were valid at some time of a range, both ends included.
func (k *Keys) Public(region string, start, end time.Time) []digest.PublicKey { return nil }
