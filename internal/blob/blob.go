// Package blob is object storage: buckets over a local folder, served as S3 by an embedded gateway, and buckets of an S3 that
// somebody else runs.
package blob

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"spoor/internal/keyring"
	"spoor/internal/policy"
)

var (
	// ErrNoBucket, ErrNoKey: there is none of that name. ErrDenied: the storage refuses.
	ErrNoBucket = errors.New("the bucket does not exist")
	ErrNoKey    = errors.New("the key does not exist")
	ErrDenied   = errors.New("the storage refuses access")
)

// Object is what is known of an object without its content.
type Object struct {
	Key, VersionID, ETag string
	Size                 int64 // of the content as readers see it
	Modified             time.Time
	ContentType          string
	ContentEncoding      string
	Metadata             map[string]string // x-amz-meta-*, without the prefix, lower case
	KMSKey               string            // ARN of the key that encrypts it; empty for none
}

// PutOptions say how an object is stored.
type PutOptions struct {
	ContentType, ContentEncoding string
	ACL                          string // canned ACL, such as bucket-owner-full-control
	Metadata                     map[string]string
	KMSKey                       string            // ARN; empty for the bucket's own encryption
	EncryptionContext            map[string]string // with KMSKey
}

// Storage is what deliveries and validations need of buckets, wherever they are.
type Storage interface {
	// Put stores an object whole or not at all. When it returns, the object is there after a crash too. Putting the same again
	// changes nothing that readers see.
	Put(ctx context.Context, bucket, key string, body []byte, o PutOptions) error
	Get(ctx context.Context, bucket, key string) (io.ReadCloser, Object, error)
	Head(ctx context.Context, bucket, key string) (Object, error)
	// List gives objects in the order of their keys, those after a key.
	List(ctx context.Context, bucket, prefix, after string, most int) (objects []Object, more bool, err error)
}

// Bucket is a local bucket.
type Bucket struct {
	Name, Account, Region string
	Created               time.Time
	Policy                *policy.Document // nil for none
	PolicyText            []byte
	RequesterPays         bool
}

// LocalOptions of OpenLocal.
type LocalOptions struct {
	Account, Region string
	Keys            *keyring.Ring
	Now             func() time.Time
}

// Local is buckets over a folder. It is a [Storage].
type Local struct{}

// OpenLocal opens the buckets of a folder. Only one can be open in a process.
func OpenLocal(ctx context.Context, dir string, o LocalOptions) (*Local, error) {
	return nil, errors.New("not built yet")
}

// Close ends the gateway.
func (l *Local) Close() error { return nil }

// Bucket gives a bucket, or [ErrNoBucket].
func (l *Local) Bucket(ctx context.Context, name string) (Bucket, error) {
	return Bucket{}, ErrNoBucket
}

// Transport carries requests in S3's protocol to the gateway, and signs them as its only user. The host of the URL does not matter.
func (l *Local) Transport() http.RoundTripper { return nil }

// Put implements [Storage].
func (l *Local) Put(ctx context.Context, bucket, key string, body []byte, o PutOptions) error {
	return errors.New("not built yet")
}

// Get implements [Storage].
func (l *Local) Get(ctx context.Context, bucket, key string) (io.ReadCloser, Object, error) {
	return nil, Object{}, errors.New("not built yet")
}

// Head implements [Storage].
func (l *Local) Head(ctx context.Context, bucket, key string) (Object, error) {
	return Object{}, errors.New("not built yet")
}

// List implements [Storage].
func (l *Local) List(ctx context.Context, bucket, prefix, after string, most int) ([]Object, bool, error) {
	return nil, false, errors.New("not built yet")
}
