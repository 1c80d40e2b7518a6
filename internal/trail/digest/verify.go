package digest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
)

// Verdict is what [Verify] finds.
type Verdict string

// The verdicts, in the order in which they are looked for.
const (
	InvalidFormat Verdict = "invalid-format" // no digest
	Moved         Verdict = "moved"          // it says that it lies elsewhere
	Unsigned      Verdict = "unsigned"       // there is no signature
	BadAlgorithm  Verdict = "algorithm"      // signature or hashes are of another kind than this package knows
	KeyUnknown    Verdict = "key-unknown"    // signed with a key that is not among the public keys
	BadKey        Verdict = "key-unreadable" // the public key is none
	Forged        Verdict = "forged"         // the signature is wrong: the digest, its place or its link was changed
	Valid         Verdict = "valid"
)

// Location is where an object was found. An empty bucket is not compared.
type Location struct{ Bucket, Object string }

// Verified is what came of a verification.
type Verified struct {
	Verdict   Verdict
	Reason    string  // a sentence without its end; empty for [Valid]
	Digest    *Digest // nil for [InvalidFormat]
	Hash      string  // of the text, lower-case hex
	Signature string  // as the metadata has it
}

// Verify looks whether a digest is what was signed. text is uncompressed, metadata that of its object without x-amz-meta-, and keys
// finds a public key by its fingerprint, nil when there is none.
func Verify(text []byte, metadata map[string]string, at Location, keys func(fingerprint string) (*Verifier, error)) Verified {
	v := Verified{Hash: Hash(text), Signature: metadata[MetaSignature]}
	d, err := Parse(text)
	if err != nil {
		v.Verdict, v.Reason = InvalidFormat, err.Error()
		return v
	}
	v.Digest = d
	v.Verdict, v.Reason = d.Verify(v.Hash, metadata, at, keys)
	return v
}

// Hash is the hash of a text as digests give hashes.
func Hash(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Verify is [Verify] for a digest that was parsed. hash is the [Hash] of its text; reason is a sentence without its end, empty for
// [Valid].
func (d *Digest) Verify(hash string, metadata map[string]string, at Location, keys func(fingerprint string) (*Verifier, error)) (v Verdict, reason string) {
	if d.Object != at.Object || at.Bucket != "" && d.Bucket != at.Bucket {
		return Moved, fmt.Sprintf("it was made for s3://%s/%s", d.Bucket, d.Object)
	}
	signature := metadata[MetaSignature]
	if signature == "" {
		return Unsigned, "its metadata has no signature"
	}
	if by := metadata[MetaAlgorithm]; by != SignatureAlgorithm || d.Algorithm != SignatureAlgorithm {
		return BadAlgorithm, fmt.Sprintf("its signature algorithm is %q, and in its metadata %q, not %s", d.Algorithm, by, SignatureAlgorithm)
	}
	key, err := keys(d.Fingerprint)
	if err != nil {
		return BadKey, err.Error()
	}
	if key == nil {
		return KeyUnknown, fmt.Sprintf("its key %.64s is not among the public keys", d.Fingerprint)
	}
	return key.check(d, hash, signature)
}

// Verifier is a public key that is ready to verify.
type Verifier struct{ key *rsa.PublicKey }

// Verifier reads the key.
func (k PublicKey) Verifier() (*Verifier, error) {
	key, err := x509.ParsePKCS1PublicKey(k.DER)
	if err != nil {
		return nil, fmt.Errorf("public key %.64s is not in PKCS #1 form: %w", k.Fingerprint, err)
	}
	if got := Fingerprint(k.DER); got != k.Fingerprint {
		return nil, fmt.Errorf("public key %.64s has the fingerprint %s", k.Fingerprint, got)
	}
	return &Verifier{key}, nil
}

func (k *Verifier) check(d *Digest, hash, signature string) (Verdict, string) {
	sig, err := hex.DecodeString(signature)
	if err != nil {
		return Forged, "its signature is not hexadecimal"
	}
	sum := sha256.Sum256([]byte(ToSign(d.EndText, d.Bucket, d.Object, hash, d.PreviousSigning)))
	if rsa.VerifyPKCS1v15(k.key, crypto.SHA256, sum[:], sig) != nil {
		return Forged, "its signature is not that of its content by the key " + d.Fingerprint
	}
	return Valid, ""
}
