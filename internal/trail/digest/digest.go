// Package digest is the digest files of trails: their form, their chain, their signatures and the keys behind these. It is pure:
// bytes in, verdict out. The form is that of AWS CloudTrail's digest files, byte for byte where validators look.
package digest

import (
	"bytes"
	"crypto"
	"crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What digests say of how they were made, and the metadata of their objects.
const (
	SignatureAlgorithm = "SHA256withRSA" // RSASSA-PKCS1-v1_5
	HashAlgorithm      = "SHA-256"

	MetaSignature = "signature"                     // lower-case hex
	MetaAlgorithm = "signature-algorithm"           // [SignatureAlgorithm]
	MetaBackfill  = "backfill-generation-timestamp" // of backfill digests: when they were made, which tells the keys to ask for
)

const (
	timeForm     = "2006-01-02T15:04:05Z"
	backfillForm = "2006-01-02T15:04:05.000Z"
)

// File is a log file as a digest lists it. Hash is of the uncompressed bytes, lower-case hex.
type File struct {
	Bucket, Object, Hash string
	Newest, Oldest       time.Time // of its events; zero for none
	Algorithm            string    // of Hash, as [Parse] found it; [Sign] writes [HashAlgorithm]
}

// Link is what a digest tells of the one before it.
type Link struct {
	Bucket, Object, Hash, Signature string
	Algorithm                       string // of Hash, as [Parse] found it; [Sign] writes [HashAlgorithm]
}

// Spec is what a digest is made of.
type Spec struct {
	Account        string
	Start, End     time.Time // whole seconds
	Bucket, Object string    // where it will lie
	Previous       *Link     // nil for the first one of a chain
	Files          []File
	Backfill       bool
	Generated      time.Time // with Backfill: when the digest is made, while its key is valid; zero for End
}

// Signed is a digest, ready to be put: the JSON text, what goes into its metadata, and what the next one links to.
type Signed struct {
	Text     []byte
	Metadata map[string]string
	Link     Link
}

// form is the text of a digest. The order of members is AWS's, and what is not there is null.
type form struct {
	Account       string     `json:"awsAccountId"`
	Start         string     `json:"digestStartTime"`
	End           string     `json:"digestEndTime"`
	Bucket        string     `json:"digestS3Bucket"`
	Object        string     `json:"digestS3Object"`
	Fingerprint   string     `json:"digestPublicKeyFingerprint"`
	Algorithm     string     `json:"digestSignatureAlgorithm"`
	Newest        *string    `json:"newestEventTime"`
	Oldest        *string    `json:"oldestEventTime"`
	PrevBucket    *string    `json:"previousDigestS3Bucket"`
	PrevObject    *string    `json:"previousDigestS3Object"`
	PrevHash      *string    `json:"previousDigestHashValue"`
	PrevHashBy    *string    `json:"previousDigestHashAlgorithm"`
	PrevSignature *string    `json:"previousDigestSignature"`
	Files         []fileForm `json:"logFiles"`
}

type fileForm struct {
	Bucket string  `json:"s3Bucket"`
	Object string  `json:"s3Object"`
	Hash   string  `json:"hashValue"`
	HashBy string  `json:"hashAlgorithm"`
	Newest *string `json:"newestEventTime"`
	Oldest *string `json:"oldestEventTime"`
}

// Sign makes a digest. The same spec and key give the same bytes.
func Sign(s Spec, key *rsa.PrivateKey) (Signed, error) {
	if err := s.check(); err != nil {
		return Signed{}, fmt.Errorf("make a digest: %w", err)
	}
	f := form{
		Account: s.Account, Start: s.Start.UTC().Format(timeForm), End: s.End.UTC().Format(timeForm), Bucket: s.Bucket, Object: s.Object,
		Fingerprint: Fingerprint(x509.MarshalPKCS1PublicKey(&key.PublicKey)), Algorithm: SignatureAlgorithm, Files: make([]fileForm, len(s.Files)),
	}
	var newest, oldest time.Time
	for i, l := range s.Files {
		f.Files[i] = fileForm{l.Bucket, l.Object, l.Hash, HashAlgorithm, timeText(l.Newest), timeText(l.Oldest)}
		if l.Newest.After(newest) {
			newest = l.Newest
		}
		if !l.Oldest.IsZero() && (oldest.IsZero() || l.Oldest.Before(oldest)) {
			oldest = l.Oldest
		}
	}
	f.Newest, f.Oldest = timeText(newest), timeText(oldest)
	previous := ""
	if p := s.Previous; p != nil {
		by := HashAlgorithm
		f.PrevBucket, f.PrevObject, f.PrevHash, f.PrevHashBy, f.PrevSignature = &p.Bucket, &p.Object, &p.Hash, &by, &p.Signature
		previous = p.Signature
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(f); err != nil {
		return Signed{}, fmt.Errorf("make a digest: %w", err)
	}
	out := Signed{Text: bytes.TrimSuffix(text.Bytes(), []byte{'\n'})}
	sum := sha256.Sum256(out.Text)
	hash := hex.EncodeToString(sum[:])
	signed := sha256.Sum256([]byte(ToSign(f.End, s.Bucket, s.Object, hash, previous)))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, signed[:])
	if err != nil {
		return Signed{}, fmt.Errorf("sign a digest: %w", err)
	}
	out.Link = Link{Bucket: s.Bucket, Object: s.Object, Hash: hash, Signature: hex.EncodeToString(sig), Algorithm: HashAlgorithm}
	out.Metadata = map[string]string{MetaSignature: out.Link.Signature, MetaAlgorithm: SignatureAlgorithm}
	if s.Backfill {
		made := s.Generated
		if made.IsZero() {
			made = s.End
		}
		out.Metadata[MetaBackfill] = made.UTC().Format(backfillForm)
	}
	return out, nil
}

func (s *Spec) check() error {
	switch {
	case s.Account == "" || s.Bucket == "" || s.Object == "":
		return errors.New("account, bucket or key is missing")
	case !s.Start.Before(s.End) || s.Start.Nanosecond() != 0 || s.End.Nanosecond() != 0:
		return fmt.Errorf("it cannot be from %s to %s", s.Start, s.End)
	case s.Previous != nil && (s.Previous.Bucket == "" || s.Previous.Object == "" || !isHash(s.Previous.Hash) || s.Previous.Signature == ""):
		return errors.New("what it tells of the one before it is not complete")
	}
	for _, f := range s.Files {
		if f.Bucket == "" || f.Object == "" || !isHash(f.Hash) {
			return fmt.Errorf("log file %q in bucket %q with hash %q", f.Object, f.Bucket, f.Hash)
		}
	}
	return nil
}

// ToSign is the text that a signature is over. end is the time as the digest has it; without a previous signature the text ends
// with the word null.
func ToSign(end, bucket, object, hash, previousSignature string) string {
	if previousSignature == "" {
		previousSignature = "null"
	}
	return end + "\n" + bucket + "/" + object + "\n" + hash + "\n" + previousSignature
}

// Fingerprint names a public key: the MD5 of its PKCS #1 form.
func Fingerprint(der []byte) string {
	sum := md5.Sum(der)
	return hex.EncodeToString(sum[:])
}

// PublicKey is a key as ListPublicKeys gives it.
type PublicKey struct {
	DER         []byte // PKCS #1
	Fingerprint string
	Start, End  time.Time // of its validity
}

// isHash says whether text is a SHA-256 in lower-case hex.
func isHash(text string) bool {
	return len(text) == 2*sha256.Size && strings.Trim(text, "0123456789abcdef") == ""
}

func timeText(t time.Time) *string {
	if t.IsZero() {
		return nil
	}
	text := t.UTC().Format(timeForm)
	return &text
}
