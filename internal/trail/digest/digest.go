// Package digest is the digest files of trails: their form, their chain, their signatures and the keys behind these. It is pure:
// bytes in, verdict out.
package digest

import (
	"crypto/rsa"
	"errors"
	"time"
)

// File is a log file as a digest lists it. Hash is of the uncompressed bytes, lower-case hex.
type File struct {
	Bucket, Object, Hash string
	Newest, Oldest       time.Time // of its events
}

// Link is what a digest tells of the one before it.
type Link struct{ Bucket, Object, Hash, Signature string }

// Spec is what a digest is made of.
type Spec struct {
	Account        string
	Start, End     time.Time // whole seconds
	Bucket, Object string    // where it will lie
	Previous       *Link     // nil for the first one of a chain
	Files          []File
	Backfill       bool
}

// Signed is a digest, ready to be put: the JSON text, what goes into its metadata, and what the next one links to.
type Signed struct {
	Text     []byte
	Metadata map[string]string
	Link     Link
}

// Sign makes a digest.
func Sign(s Spec, key *rsa.PrivateKey) (Signed, error) {
	return Signed{}, errors.New("not built yet")
}

// ObjectKey is where a digest lies. prefix and organization may be empty.
func ObjectKey(prefix, organization, account, region, trail, homeRegion string, end time.Time, backfill bool) string {
	return ""
}

// PublicKey is a key as ListPublicKeys gives it.
type PublicKey struct {
	DER         []byte // PKCS #1
	Fingerprint string
	Start, End  time.Time // of its validity
}
