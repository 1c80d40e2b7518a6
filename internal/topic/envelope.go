package topic

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // SignatureVersion 1 of SNS is made with it
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"time"

	"spoor/internal/durable"
)

// Types of messages.
const (
	typeNotification = "Notification"
	typeSubscribe    = "SubscriptionConfirmation"
	typeUnsubscribe  = "UnsubscribeConfirmation"
)

func newHash() hash.Hash { return sha256.New() }

// contentID names a message by its content.
func contentID(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

const (
	keysFormat  = "spoor-topic-keys"
	keysVersion = 1
	maxKeysFile = 1 << 20
	keyPurpose  = "topics: signing key"
	secretLen   = 32
	// A certificate counts for certFor; one with less than certLeft is followed by a new one at the next start.
	certFor  = 10 * 365 * 24 * time.Hour
	certLeft = 90 * 24 * time.Hour
	// CertificatePrefix begins the path of the URL of a certificate, as on AWS.
	CertificatePrefix = "/SimpleNotificationService-"
	certificateSuffix = ".pem"
)

// keysFile is the file of the signing keys.
type keysFile struct {
	Format  string    `json:"format"`
	Version int       `json:"version"`
	Written time.Time `json:"written"`
	Sealed  bool      `json:"sealed"`
	Secrets []byte    `json:"secrets"` // sealed, where there is a sealer: the newest key, and the secret of links
	Certs   [][]byte  `json:"certificates"`
}

// secrets are what is sealed.
type secrets struct {
	Key    []byte `json:"key"` // PKCS #8
	Secret []byte `json:"secret"`
}

// keys are what messages are signed with.
type keys struct {
	key    *rsa.PrivateKey
	secret []byte
	certs  map[string][]byte // PEM, by path
	path   string            // of the certificate of key
}

func keysDocument() durable.Document {
	return durable.Document{What: "the keys of the topics", Format: keysFormat, Version: keysVersion, Most: maxKeysFile, Damaged: ErrDamaged, Newer: ErrNewer}
}

// openKeys reads the keys, and makes them when they are missing or about to end.
func openKeys(path string, o Options) (*keys, error) {
	var f keysFile
	found, err := keysDocument().Read(path, func(b []byte) error { return keysDocument().Decode(b, &f) })
	if err != nil {
		return nil, err
	}
	var sec secrets
	now := o.Now().UTC()
	if found {
		plain := f.Secrets
		if f.Sealed {
			if o.Sealer == nil {
				return nil, errors.New("open the keys of the topics: they are sealed, and there is no key ring")
			}
			if plain, err = o.Sealer.Unseal(keyPurpose, f.Secrets); err != nil {
				return nil, fmt.Errorf("open the keys of the topics: %w", err)
			}
		}
		if err := strict(plain, &sec); err != nil || len(sec.Secret) != secretLen || len(f.Certs) == 0 {
			return nil, fmt.Errorf("open the keys of the topics: %w", ErrDamaged)
		}
		last, err := x509.ParseCertificate(f.Certs[len(f.Certs)-1])
		if err != nil {
			return nil, fmt.Errorf("open the keys of the topics: %w: %w", ErrDamaged, err)
		}
		if now.Add(certLeft).Before(last.NotAfter) && f.Sealed == (o.Sealer != nil) {
			return loadKeys(f, sec)
		}
		if !now.Add(certLeft).Before(last.NotAfter) {
			sec.Key = nil
		}
	}
	if sec.Secret == nil {
		sec.Secret = make([]byte, secretLen)
		_, _ = rand.Read(sec.Secret) // never fails
	}
	if sec.Key == nil {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			return nil, fmt.Errorf("make a signing key: %w", err)
		}
		if sec.Key, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
			return nil, fmt.Errorf("make a signing key: %w", err)
		}
		cert, err := certify(key, o.PublicURL, now)
		if err != nil {
			return nil, err
		}
		f.Certs = append(f.Certs, cert)
	}
	f.Format, f.Version, f.Written, f.Sealed = keysFormat, keysVersion, now, o.Sealer != nil
	plain, err := json.Marshal(sec)
	if err == nil && f.Sealed {
		plain, err = o.Sealer.Seal(keyPurpose, plain)
	}
	f.Secrets = plain
	var text []byte
	if err == nil {
		text, err = json.MarshalIndent(f, "", " ")
	}
	if err == nil {
		err = durable.WriteFile(path, append(text, '\n'), 0o600)
	}
	if err != nil {
		return nil, fmt.Errorf("write the keys of the topics: %w", err)
	}
	return loadKeys(f, sec)
}

// certify makes a certificate of a key for the host of the endpoint, by that key.
func certify(key *rsa.PrivateKey, publicURL string, now time.Time) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	name := "spoor"
	if u, err := url.Parse(publicURL); err == nil && u.Hostname() != "" {
		name = u.Hostname()
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Spoor notifications"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certFor), KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("make a certificate: %w", err)
	}
	return cert, nil
}

func loadKeys(f keysFile, sec secrets) (*keys, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(sec.Key)
	if err != nil {
		return nil, fmt.Errorf("open the keys of the topics: %w: %w", ErrDamaged, err)
	}
	key, ok := parsed.(*rsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("open the keys of the topics: %w: it is a %T", ErrDamaged, parsed)
	}
	k := &keys{key: key, secret: sec.Secret, certs: map[string][]byte{}}
	for _, der := range f.Certs {
		sum := sha256.Sum256(der)
		k.path = CertificatePrefix + hex.EncodeToString(sum[:16]) + certificateSuffix
		k.certs[k.path] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	last, err := x509.ParseCertificate(f.Certs[len(f.Certs)-1])
	if err != nil {
		return nil, fmt.Errorf("open the keys of the topics: %w: %w", ErrDamaged, err)
	}
	if public, ok := last.PublicKey.(*rsa.PublicKey); !ok || !public.Equal(&key.PublicKey) {
		return nil, fmt.Errorf("open the keys of the topics: %w: the newest certificate is of another key", ErrDamaged)
	}
	return k, nil
}

// Certificate gives the certificate at a path of the endpoint, in PEM; false where there is none.
func (s *Service) Certificate(path string) ([]byte, bool) {
	c, ok := s.keys.certs[path]
	return c, ok
}

// envelope is a message as endpoints get it.
type envelope struct {
	Type, ID, Sequence, Token, Topic, Subject, Body string
	SubscribeURL, UnsubscribeURL                    string
	Time                                            time.Time
	Attributes                                      map[string]Attribute
}

const timeForm = "2006-01-02T15:04:05.000Z"

// toSign is the text that is signed, as the SNS developer guide has it ("Verifying the signatures of Amazon SNS messages"):
// names and values in the order of names, each followed by a line feed.
func (v *envelope) toSign() []byte {
	var b bytes.Buffer
	add := func(name, value string) { b.WriteString(name + "\n" + value + "\n") }
	add("Message", v.Body)
	add("MessageId", v.ID)
	if v.Type == typeNotification {
		if v.Subject != "" {
			add("Subject", v.Subject)
		}
	} else {
		add("SubscribeURL", v.SubscribeURL)
	}
	add("Timestamp", v.Time.UTC().Format(timeForm))
	if v.Type != typeNotification {
		add("Token", v.Token)
	}
	add("TopicArn", v.Topic)
	add("Type", v.Type)
	return b.Bytes()
}

// sign signs a text; b keeps the last signatures, since a message is the same for many, and is tried again.
func (s *Service) sign(b *box, text []byte, version string) (string, error) {
	of := sha256.Sum256(append([]byte(version+"\n"), text...))
	b.sigMu.Lock()
	had, ok := b.sigs[of]
	b.sigMu.Unlock()
	if ok {
		return had, nil
	}
	var raw []byte
	var err error
	if version == "2" {
		sum := sha256.Sum256(text)
		raw, err = rsa.SignPKCS1v15(rand.Reader, s.keys.key, crypto.SHA256, sum[:])
	} else {
		sum := sha1.Sum(text) //nolint:gosec // see above
		raw, err = rsa.SignPKCS1v15(rand.Reader, s.keys.key, crypto.SHA1, sum[:])
	}
	if err != nil {
		return "", fmt.Errorf("sign a message: %w", err)
	}
	made := base64.StdEncoding.EncodeToString(raw)
	b.sigMu.Lock()
	defer b.sigMu.Unlock()
	if b.sigs == nil {
		b.sigs = map[[sha256.Size]byte]string{}
	}
	if _, ok := b.sigs[of]; !ok {
		delete(b.sigs, b.sigOrder[b.sigAt])
		b.sigs[of], b.sigOrder[b.sigAt] = made, of
		b.sigAt = (b.sigAt + 1) % len(b.sigOrder)
	}
	return made, nil
}

// quote writes a text as JSON, with no more escapes than needed.
func quote(text string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // a text can always be written
	return strings.TrimSuffix(b.String(), "\n")
}

// envelope is a message for a subscription, or with e nil the one about its status.
func (s *Service) envelope(t *Topic, u *Subscription, e *entry) *envelope {
	v := &envelope{Topic: s.arn(t)}
	if e == nil {
		v.Type, v.ID, v.Token, v.Time = typeSubscribe, messageIDOf(u), s.token(t, u), u.Since
		v.SubscribeURL = s.subscribeURL(t, u)
		v.Body = "You have chosen to subscribe to the topic " + v.Topic + ".\nTo confirm the subscription, visit the SubscribeURL included in this message."
		if u.Status == Left {
			v.Type = typeUnsubscribe
			v.Body = "You have chosen to deactivate subscription " + v.Topic + ":" + u.ID + ".\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message."
		}
	} else {
		v.Type, v.ID, v.Subject, v.Body, v.Time, v.Attributes = typeNotification, e.ID, e.Subject, e.body(u.Protocol), e.Time, e.Attributes
		v.UnsubscribeURL = s.unsubscribeURL(t, u)
		if t.FIFO() {
			v.Sequence = sequenceNumber(e.Seq)
		}
	}
	return v
}

// payload is what an endpoint gets: the message alone, where the subscription wants it raw, or else the envelope, signed and in
// the form in which SNS writes it.
func (s *Service) payload(b *box, t *Topic, u *Subscription, e *entry, v *envelope) (body []byte, raw bool, err error) {
	if e != nil && u.Attributes[attrRaw] == "true" {
		return []byte(v.Body), true, nil
	}
	version := t.Attributes[attrSignature]
	if version == "" {
		version = "1"
	}
	signature, err := s.sign(b, v.toSign(), version)
	if err != nil {
		return nil, false, err
	}
	out := []byte("{")
	add := func(name, value string) {
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, "\n  %q : %s", name, value)
	}
	some := func(name, value string) {
		if value != "" {
			add(name, quote(value))
		}
	}
	some("Type", v.Type)
	some("MessageId", v.ID)
	some("SequenceNumber", v.Sequence)
	some("Token", v.Token)
	some("TopicArn", v.Topic)
	some("Subject", v.Subject)
	add("Message", quote(v.Body))
	some("SubscribeURL", v.SubscribeURL)
	some("Timestamp", v.Time.UTC().Format(timeForm))
	some("SignatureVersion", version)
	some("Signature", signature)
	some("SigningCertURL", s.o.PublicURL+s.keys.path)
	some("UnsubscribeURL", v.UnsubscribeURL)
	if len(v.Attributes) > 0 {
		inner := []byte("{")
		for i, name := range slices.Sorted(maps.Keys(v.Attributes)) {
			a := v.Attributes[name]
			value := a.Text
			if strings.HasPrefix(a.Type, "Binary") {
				value = base64.StdEncoding.EncodeToString(a.Binary)
			}
			if i > 0 {
				inner = append(inner, ',')
			}
			inner = fmt.Appendf(inner, "\n    %s : {\"Type\":%s,\"Value\":%s}", quote(name), quote(a.Type), quote(value))
		}
		add("MessageAttributes", string(inner)+"\n  }")
	}
	return append(out, "\n}"...), false, nil
}

// messageIDOf names the message about a subscription's status: each attempt is one of the same message.
func messageIDOf(u *Subscription) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", u.ID, u.Status, u.Round))
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
