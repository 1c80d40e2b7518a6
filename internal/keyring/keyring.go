// Package keyring keeps keys: those of customers as AWS KMS has them, under which data keys are wrapped, and what other parts
// seal with the master key. Keys never leave it in the clear but as data keys.
package keyring

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"spoor/internal/policy"
)

var (
	// ErrNotFound is returned for a key or an alias that is not there, ErrDisabled for a key that is switched off, ErrPending for
	// one that is about to be deleted, ErrDenied where the key's policy does not let the principal, ErrCiphertext for what this
	// ring did not wrap, or wrapped with another encryption context.
	ErrNotFound   = errors.New("the key is not there")
	ErrDisabled   = errors.New("the key is disabled")
	ErrPending    = errors.New("the key is about to be deleted")
	ErrDenied     = errors.New("the key's policy does not allow it")
	ErrCiphertext = errors.New("it was not encrypted with a key of this ring in this encryption context")
)

// Options of Open.
type Options struct {
	Account, Region, Partition string
	Master                     []byte           // 32 bytes; without it a file beside the ring holds them, made when it is missing
	Now                        func() time.Time // default [time.Now]
	Log                        *slog.Logger     // default discards
}

// Ring is an open key ring. Its methods may be called concurrently.
type Ring struct{}

// Open opens the ring in a folder, and makes it when it is not there.
func Open(ctx context.Context, dir string, o Options) (*Ring, error) {
	return nil, errors.New("not built yet")
}

// Close ends the ring.
func (r *Ring) Close() error { return nil }

// Ref is where a key is referred to: an account in a Region.
type Ref struct{ Account, Region string }

// Resolve gives the ARN of the key that id means: a key id, a key's ARN, alias/NAME, or an alias's ARN.
func (r *Ring) Resolve(ref Ref, id string) (arn string, err error) {
	return "", errors.New("not built yet")
}

// DataKey is a key for data. Who has the plaintext forgets it after use.
type DataKey struct {
	KeyARN    string
	Plaintext []byte // 32 bytes
	Wrapped   []byte
}

// Allowed asks the policy of a key alone.
func (r *Ring) Allowed(keyARN, action string, by policy.Principal, conditions map[string][]string) (policy.Effect, error) {
	return policy.None, errors.New("not built yet")
}

// GenerateDataKey makes a data key under a key, bound to an encryption context. Nobody's permission is asked.
func (r *Ring) GenerateDataKey(ctx context.Context, keyARN string, encryptionContext map[string]string) (DataKey, error) {
	return DataKey{}, errors.New("not built yet")
}

// Unwrap gives back a data key. Nobody's permission is asked.
func (r *Ring) Unwrap(ctx context.Context, wrapped []byte, encryptionContext map[string]string) (DataKey, error) {
	return DataKey{}, errors.New("not built yet")
}

// Seal makes of a secret of another part what that part may keep in a file; purpose separates uses from one another.
func (r *Ring) Seal(purpose string, secret []byte) ([]byte, error) {
	return nil, errors.New("not built yet")
}

// Unseal gives back what Seal made for the same purpose.
func (r *Ring) Unseal(purpose string, sealed []byte) ([]byte, error) {
	return nil, errors.New("not built yet")
}
