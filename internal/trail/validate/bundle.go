package validate

import (
	"archive/zip"
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/trail/digest"
)

// The members of a bundle.
const (
	bundleFormat  = "spoor-evidence"
	bundleVersion = 1

	manifestName  = "manifest.json"
	signatureName = "manifest.sig"
	verdictsName  = "verdicts.json"
	filesName     = "files.jsonl"
	digestsName   = "digests.jsonl"
	keysName      = "keys.json"
	custodyName   = "custody.jsonl"
	digestFolder  = "digests/"
	proofFolder   = "proofs/"
)

// ErrBundle is wrapped by errors of a bundle that is not what was signed.
var ErrBundle = errors.New("the bundle is not as it was made")

// Custody is a line of the log of what was done to come by the evidence.
type Custody struct {
	Time    time.Time `json:"time"`
	Event   string    `json:"event"`
	By      string    `json:"by,omitempty"`   // who did it
	Host    string    `json:"host,omitempty"` // where
	Command []string  `json:"command,omitempty"`
	Version string    `json:"version,omitempty"`
	Binary  string    `json:"binarySha256,omitempty"`
}

// Member is a file of a bundle.
type Member struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Manifest lists what a bundle holds. It is what is signed.
type Manifest struct {
	Format    string    `json:"format"`
	Version   int       `json:"version"`
	Created   time.Time `json:"created"`
	PublicKey string    `json:"publicKey"` // Ed25519, base64
	Members   []Member  `json:"members"`   // by name
	Proofs    []string  `json:"proofs"`    // kinds of proofs over the manifest, in the folder proofs
}

// Prover proves something of a manifest to others, such as that it was there at a time. None is built in.
type Prover interface {
	// Kind names the proof, and its file in the bundle: letters, digits and dashes.
	Kind() string
	// Prove proves a manifest.
	Prove(ctx context.Context, manifest []byte) ([]byte, error)
}

// digestLine is a line of digests.jsonl.
type digestLine struct {
	Bucket   string            `json:"bucket"`
	Key      string            `json:"key"`
	Member   string            `json:"member"`
	Metadata map[string]string `json:"metadata"`
}

// Bundle writes evidence. Its methods may be called concurrently.
type Bundle struct {
	mu      sync.Mutex
	out     *os.File
	zip     *zip.Writer
	members []Member
	files   *spool // lines of files.jsonl
	digests *spool
	custody []Custody
	keys    map[string][]digest.PublicKey
	now     func() time.Time
	count   int
}

// spool is lines in a temporary file.
type spool struct {
	f   *os.File
	enc *json.Encoder
}

func newSpool(dir string) (*spool, error) {
	f, err := os.CreateTemp(dir, ".spoor-bundle-")
	if err != nil {
		return nil, err
	}
	return &spool{f, json.NewEncoder(f)}, nil
}

func (s *spool) remove() error {
	if s == nil {
		return nil
	}
	return errors.Join(s.f.Close(), os.Remove(s.f.Name()))
}

// NewBundle begins a bundle in a file that the caller made and closes. Lines are collected in temporary files in dir.
func NewBundle(out *os.File, dir string, now func() time.Time) (*Bundle, error) {
	if now == nil {
		now = time.Now
	}
	b := &Bundle{out: out, zip: zip.NewWriter(out), keys: map[string][]digest.PublicKey{}, now: now}
	var err error
	if b.files, err = newSpool(dir); err == nil {
		b.digests, err = newSpool(dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin a bundle: %w", err), b.Discard())
	}
	return b, nil
}

// Discard removes what is temporary. It is called after [Bundle.Finish] too.
func (b *Bundle) Discard() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := errors.Join(b.files.remove(), b.digests.remove())
	b.files, b.digests = nil, nil
	return err
}

// Log adds a line to the custody log.
func (b *Bundle) Log(c Custody) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.Time.IsZero() {
		c.Time = b.now().UTC()
	}
	b.custody = append(b.custody, c)
}

// Keys wraps keys, and keeps those that are given out.
func (b *Bundle) Keys(keys Keys) Keys {
	return func(ctx context.Context, region string, start, end time.Time) ([]digest.PublicKey, error) {
		out, err := keys(ctx, region, start, end)
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, k := range out {
			if !slices.ContainsFunc(b.keys[region], func(o digest.PublicKey) bool { return bytes.Equal(o.DER, k.DER) }) {
				b.keys[region] = append(b.keys[region], k)
			}
		}
		return out, err
	}
}

// Digest adds a digest: it is an [Options.Evidence].
func (b *Bundle) Digest(bucket, key string, text []byte, metadata map[string]string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count++
	name := fmt.Sprintf("%s%08d.json", digestFolder, b.count)
	if err := b.member(name, bytes.NewReader(text)); err != nil {
		return err
	}
	return b.digests.enc.Encode(digestLine{bucket, key, name, SignatureOf(bucket, key, metadata).Metadata})
}

// Each adds a verdict: hashes and sizes of every object that was seen.
func (b *Bundle) Each(f Finding) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.files.enc.Encode(f)
}

// member adds a file. The caller holds the lock.
func (b *Bundle) member(name string, r io.Reader) error {
	w, err := b.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.now().UTC()})
	if err != nil {
		return fmt.Errorf("write %s into the bundle: %w", name, err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, sum), r)
	if err != nil {
		return fmt.Errorf("write %s into the bundle: %w", name, err)
	}
	b.members = append(b.members, Member{name, n, hexOf(sum)})
	return nil
}

func hexOf(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }

// Finish writes the rest and signs. verdicts is the report as JSON.
func (b *Bundle) Finish(ctx context.Context, verdicts []byte, key ed25519.PrivateKey, provers ...Prover) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	var keys, custody bytes.Buffer
	if err := WriteKeys(&keys, b.keys); err != nil {
		return err
	}
	enc := json.NewEncoder(&custody)
	for _, c := range b.custody {
		if err := enc.Encode(c); err != nil {
			return err
		}
	}
	for _, s := range []*spool{b.files, b.digests} {
		if _, err := s.f.Seek(0, io.SeekStart); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		name string
		r    io.Reader
	}{{verdictsName, bytes.NewReader(verdicts)}, {filesName, b.files.f}, {digestsName, b.digests.f}, {keysName, &keys}, {custodyName, &custody}} {
		if err := b.member(m.name, m.r); err != nil {
			return err
		}
	}
	slices.SortFunc(b.members, func(a, c Member) int { return cmp.Compare(a.Name, c.Name) })
	m := Manifest{
		Format: bundleFormat, Version: bundleVersion, Created: b.now().UTC(), Members: b.members, Proofs: []string{},
		PublicKey: base64.StdEncoding.EncodeToString(key.Public().(ed25519.PublicKey)),
	}
	for _, p := range provers {
		m.Proofs = append(m.Proofs, p.Kind())
	}
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	last := []struct {
		name string
		b    []byte
	}{{manifestName, text}, {signatureName, []byte(hex.EncodeToString(ed25519.Sign(key, text)) + "\n")}}
	for _, p := range provers {
		proof, err := p.Prove(ctx, text)
		if err != nil {
			return fmt.Errorf("prove the manifest by %s: %w", p.Kind(), err)
		}
		last = append(last, struct {
			name string
			b    []byte
		}{proofFolder + p.Kind(), proof})
	}
	for _, l := range last {
		if err := b.member(l.name, bytes.NewReader(l.b)); err != nil {
			return err
		}
	}
	if err := b.zip.Close(); err != nil {
		return fmt.Errorf("end the bundle: %w", err)
	}
	return nil
}

// NewBundleKey makes a key for one bundle.
func NewBundleKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return key, err
}

// ReadBundleKey reads an Ed25519 private key in PEM (PKCS #8).
func ReadBundleKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is not in PEM form")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	if k, ok := key.(ed25519.PrivateKey); ok {
		return k, nil
	}
	return nil, fmt.Errorf("it is a %T, not an Ed25519 private key", key)
}

// ReadBundlePublicKey reads an Ed25519 public key in PEM (SubjectPublicKeyInfo), or as base64 or its bytes.
func ReadBundlePublicKey(text []byte) (ed25519.PublicKey, error) {
	if block, _ := pem.Decode(text); block != nil {
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		if k, ok := key.(ed25519.PublicKey); ok {
			return k, nil
		}
		return nil, fmt.Errorf("it is a %T, not an Ed25519 public key", key)
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errors.New("it is neither PEM nor the base64 of 32 bytes")
	}
	return raw, nil
}

// BundleCheck is what came of [CheckBundle].
type BundleCheck struct {
	Manifest Manifest  `json:"manifest"`
	Trusted  bool      `json:"trusted"` // signed with the key that was asked for
	Digests  int       `json:"digests"` // whose signatures were verified again
	Failing  int       `json:"failing"` // whose signatures are not right, as the verdicts say too
	Custody  []Custody `json:"custody"`
	Summary  *Summary  `json:"summary"`
}

const (
	mostManifest = 1 << 30
	mostMember   = 16 << 30
)

// CheckBundle verifies a bundle: the signature of its manifest, every member, that there is nothing else, and the signatures of its
// digests. Without a key it says with which one it is signed. An error that wraps [ErrBundle] is of a bundle that was changed.
func CheckBundle(r io.ReaderAt, size int64, key ed25519.PublicKey) (*BundleCheck, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	c := &bundleCheck{members: map[string]*zip.File{}, out: &BundleCheck{}}
	for _, f := range z.File {
		if c.members[f.Name] != nil {
			return nil, fmt.Errorf("%w: %.200q is there twice", ErrBundle, f.Name)
		}
		c.members[f.Name] = f
	}
	if err := c.manifest(key); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if err := c.all(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	if err := c.content(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return c.out, nil
}

type bundleCheck struct {
	members map[string]*zip.File
	out     *BundleCheck
}

func (c *bundleCheck) open(name string) (io.ReadCloser, error) {
	f := c.members[name]
	if f == nil {
		return nil, fmt.Errorf("%.200q is missing", name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("read %.200q: %w", name, err)
	}
	return r, nil
}

func (c *bundleCheck) read(name string, most int64) ([]byte, error) {
	r, err := c.open(name)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err = errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %.200q: %w", name, err)
	}
	if int64(len(b)) > most {
		return nil, fmt.Errorf("%.200q is larger than %d bytes", name, most)
	}
	return b, nil
}

func (c *bundleCheck) manifest(key ed25519.PublicKey) error {
	text, err := c.read(manifestName, mostManifest)
	if err != nil {
		return err
	}
	sigText, err := c.read(signatureName, 1024)
	if err != nil {
		return err
	}
	m := &c.out.Manifest
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(m); err != nil {
		return fmt.Errorf("its manifest: %w", err)
	}
	if m.Format != bundleFormat || m.Version != bundleVersion {
		return fmt.Errorf("its format is %.40q, version %d", m.Format, m.Version)
	}
	own, err := base64.StdEncoding.DecodeString(m.PublicKey)
	if err != nil || len(own) != ed25519.PublicKeySize {
		return errors.New("its manifest has no public key")
	}
	if key == nil {
		key = own
	} else {
		c.out.Trusted = true
	}
	sig, err := hex.DecodeString(strings.TrimSpace(string(sigText)))
	if err != nil || !ed25519.Verify(key, text, sig) {
		return errors.New("the signature of its manifest is not right")
	}
	if !bytes.Equal(key, own) {
		return errors.New("its manifest names another public key")
	}
	return nil
}

// all compares the members with the manifest.
func (c *bundleCheck) all() error {
	known := map[string]bool{manifestName: true, signatureName: true}
	for _, p := range c.out.Manifest.Proofs {
		known[proofFolder+p] = true
		if c.members[proofFolder+p] == nil {
			return fmt.Errorf("the proof %.40q is missing", p)
		}
	}
	for _, m := range c.out.Manifest.Members {
		known[m.Name] = true
		r, err := c.open(m.Name)
		if err != nil {
			return err
		}
		sum := sha256.New()
		n, err := io.Copy(sum, io.LimitReader(r, min(m.Size, mostMember)+1))
		if err = errors.Join(err, r.Close()); err != nil {
			return fmt.Errorf("read %.200q: %w", m.Name, err)
		}
		if n != m.Size || hexOf(sum) != m.SHA256 {
			return fmt.Errorf("%.200q was changed", m.Name)
		}
	}
	for name := range c.members {
		if !known[name] {
			return fmt.Errorf("%.200q is not in the manifest", name)
		}
	}
	return nil
}

// content reads what the members say, and verifies the digests again.
func (c *bundleCheck) content() error {
	text, err := c.read(verdictsName, mostManifest)
	if err != nil {
		return err
	}
	var verdicts struct {
		Summary *Summary `json:"summary"`
	}
	if err := json.Unmarshal(text, &verdicts); err != nil {
		return fmt.Errorf("%s: %w", verdictsName, err)
	}
	c.out.Summary = verdicts.Summary
	if err := c.lines(custodyName, func(dec *json.Decoder) error {
		var l Custody
		err := dec.Decode(&l)
		if err == nil {
			c.out.Custody = append(c.out.Custody, l)
		}
		return err
	}); err != nil {
		return err
	}
	told := map[[2]string]Code{}
	if err := c.lines(filesName, func(dec *json.Decoder) error {
		var f Finding
		err := dec.Decode(&f)
		if err == nil && f.Code.subject() == "digest" && f.Size > 0 {
			told[[2]string{f.Bucket, f.Key}] = f.Code
		}
		return err
	}); err != nil {
		return err
	}
	text, err = c.read(keysName, mostManifest)
	if err != nil {
		return err
	}
	var set KeySet
	if err := set.Read(bytes.NewReader(text)); err != nil {
		return err
	}
	byRegion := map[string]*verifiers{}
	for _, k := range set.keys {
		if byRegion[k.region] == nil {
			byRegion[k.region] = newVerifiers(nil)
		}
		byRegion[k.region].add([]digest.PublicKey{k.PublicKey})
	}
	return c.lines(digestsName, func(dec *json.Decoder) error {
		var l digestLine
		if err := dec.Decode(&l); err != nil {
			return err
		}
		text, err := c.read(l.Member, mostDigest)
		if err != nil {
			return err
		}
		n, _ := digest.SplitKey(l.Key)
		keys := byRegion[n.Region]
		if keys == nil {
			keys = newVerifiers(nil)
		}
		got := digest.Verify(text, l.Metadata, digest.Location{Bucket: l.Bucket, Object: l.Key}, keys.find)
		if got.Verdict == digest.Valid {
			c.out.Digests++
		} else {
			c.out.Failing++
		}
		if told[[2]string{l.Bucket, l.Key}] == DigestValid && got.Verdict != digest.Valid {
			return fmt.Errorf("digest s3://%s/%s is told to be valid, and is not: %s", l.Bucket, l.Key, got.Reason)
		}
		return nil
	})
}

// lines reads a member of JSON Lines.
func (c *bundleCheck) lines(name string, each func(*json.Decoder) error) error {
	r, err := c.open(name)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(r)
	for err == nil {
		err = each(dec)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
