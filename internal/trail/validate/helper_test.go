package validate_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strings"
	"sync"
	"testing"

	"spoor/internal/trail/digest"
	"spoor/internal/trail/validate/validatetest"
)

func onceKey() func() (*rsa.PrivateKey, error) { return sync.OnceValues(validatetest.NewKey) }

func anotherKey(t testing.TB) *rsa.PrivateKey {
	t.Helper()
	key, err := otherKey()
	must(t, err)
	return key
}

func digestFingerprint(key *rsa.PrivateKey) string {
	return digest.Fingerprint(x509.MarshalPKCS1PublicKey(&key.PublicKey))
}

// signText signs a text that [digest.Sign] would not write.
func (r *rig) signText(t testing.TB, i int, text string, key *rsa.PrivateKey) {
	t.Helper()
	d := r.made.Digests[i]
	parsed, err := digest.Parse([]byte(text))
	must(t, err)
	sum := sha256.Sum256([]byte(digest.ToSign(parsed.EndText, parsed.Bucket, parsed.Object, digest.Hash([]byte(text)), parsed.PreviousSigning)))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	must(t, err)
	must(t, r.Add(parsed.Bucket, d.Key, validatetest.Gzip([]byte(text), 6), map[string]string{
		digest.MetaSignature: strings.ToLower(hex.EncodeToString(sig)), digest.MetaAlgorithm: digest.SignatureAlgorithm,
	}))
}
