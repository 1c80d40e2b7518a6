// Package signing keeps the key pairs that sign digests, one after the other for each Region.
//
// A pair signs for 20 days and its public key is valid for 30, so that neighbours overlap; the next one is made a day before it
// signs. Public keys are kept for ever: digests live as long as anybody keeps them.
package signing

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"spoor/internal/durable"
	"spoor/internal/trail/digest"
)

const (
	bits     = 2048
	signs    = 20 * 24 * time.Hour // a pair, before the next one does
	valid    = 30 * 24 * time.Hour
	ahead    = 24 * time.Hour // the next pair is made before it signs
	lead     = time.Hour      // the first pair is valid before its first digest ends: since that starts
	fileName = "digest-keys.json"
)

var (
	// ErrDamaged: the file of keys is not what this package writes. ErrNewer: a newer version wrote it.
	ErrDamaged = errors.New("the keys of digests are damaged")
	ErrNewer   = errors.New("the keys of digests are of a newer version")
)

// Sealer keeps private keys secret. [spoor/internal/keyring.Ring] is one.
type Sealer interface {
	Seal(purpose string, secret []byte) ([]byte, error)
	Unseal(purpose string, sealed []byte) ([]byte, error)
}

// Keys are the key pairs of Regions, in a file. Its methods may be called concurrently. The folder belongs to it alone.
type Keys struct {
	path string
	seal Sealer
	now  func() time.Time

	making sync.Mutex // held while a pair is made
	mu     sync.RWMutex
	pairs  []pair                     // by Region and start
	open   map[string]*rsa.PrivateKey // by fingerprint
}

// pair is a key pair as the file has it.
type pair struct {
	Region      string    `json:"region"`
	Fingerprint string    `json:"fingerprint"`
	Public      []byte    `json:"public"` // PKCS #1
	Sealed      []byte    `json:"sealed"` // the private key, PKCS #1
	Made        time.Time `json:"made"`
	Start       time.Time `json:"start"` // signs and is valid from here
	End         time.Time `json:"end"`   // is valid before
}

type file struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Keys    []pair `json:"keys"`
}

func document() durable.Document {
	return durable.Document{
		What: "the keys of digests", Format: "spoor-digest-keys", Version: 1, Most: 64 << 20, Damaged: ErrDamaged, Newer: ErrNewer,
	}
}

var regionForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)

// Open opens the keys of a folder, which is made when it is missing. now is the clock, nil for [time.Now].
func Open(dir string, s Sealer, now func() time.Time) (*Keys, error) {
	if now == nil {
		now = time.Now
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the keys of digests: %w", err)
	}
	k := &Keys{path: filepath.Join(dir, fileName), seal: s, now: now, open: map[string]*rsa.PrivateKey{}}
	return k, k.read()
}

// OpenReadOnly opens the keys of a folder for their public halves alone, those that are there now. Another process may have the
// folder, and nothing is written to it. Where there are none, there is no error.
func OpenReadOnly(dir string) (*Keys, error) {
	k := &Keys{path: filepath.Join(dir, fileName), seal: publicOnly{}, now: time.Now, open: map[string]*rsa.PrivateKey{}}
	return k, k.read()
}

// publicOnly is the sealer of who has no private keys.
type publicOnly struct{}

var errPublicOnly = errors.New("the keys of digests were opened for reading")

func (publicOnly) Seal(string, []byte) ([]byte, error)   { return nil, errPublicOnly }
func (publicOnly) Unseal(string, []byte) ([]byte, error) { return nil, errPublicOnly }

// read reads the file, which is replaced as a whole.
func (k *Keys) read() error {
	_, err := document().Read(k.path, func(b []byte) (err error) {
		k.pairs, err = decode(b)
		return err
	})
	return err
}

func decode(b []byte) ([]pair, error) {
	var f file
	if err := document().Decode(b, &f); err != nil {
		return nil, err
	}
	if f.Version < 1 {
		return nil, fmt.Errorf("%w: version %d", ErrDamaged, f.Version)
	}
	seen := map[string]bool{}
	for i, p := range f.Keys {
		_, err := x509.ParsePKCS1PublicKey(p.Public)
		switch {
		case !regionForm.MatchString(p.Region):
			err = fmt.Errorf("the Region %.40q", p.Region)
		case err != nil:
		case digest.Fingerprint(p.Public) != p.Fingerprint || seen[p.Fingerprint]:
			err = errors.New("its fingerprint is not its own")
		case !p.Start.Before(p.End) || len(p.Sealed) == 0:
			err = errors.New("times or private key")
		case i > 0 && byStart(f.Keys[i-1], p) > 0:
			err = errors.New("not in order")
		}
		if err != nil {
			return nil, fmt.Errorf("%w: key %.40q: %w", ErrDamaged, p.Fingerprint, err)
		}
		seen[p.Fingerprint] = true
	}
	return f.Keys, nil
}

func byStart(a, b pair) int {
	return cmp.Or(cmp.Compare(a.Region, b.Region), a.Start.Compare(b.Start))
}

func purpose(p pair) string { return "digest-key/" + p.Region + "/" + p.Fingerprint }

// Signing is the key that signs in a Region at a time; one is made, and is durable, when there is none. at is the end of the
// digest, or when it is made, of a backfill digest: its key has to be valid then.
func (k *Keys) Signing(ctx context.Context, region string, at time.Time) (*rsa.PrivateKey, error) {
	if !regionForm.MatchString(region) {
		return nil, fmt.Errorf("key that signs digests: Region %.40q", region)
	}
	p, ok := k.at(region, at)
	if !ok || k.old(region, p, at) {
		var err error
		if p, err = k.make(ctx, region, at); err != nil {
			return nil, fmt.Errorf("make a key that signs digests of %s: %w", region, err)
		}
	}
	return k.private(p)
}

// at is the pair that signs at a time: the youngest that is valid.
func (k *Keys) at(region string, at time.Time) (pair, bool) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, p := range slices.Backward(k.pairs) {
		if p.Region == region && !p.Start.After(at) && at.Before(p.End) {
			return p, true
		}
	}
	return pair{}, false
}

// old says whether the pair after p has to be made.
func (k *Keys) old(region string, p pair, at time.Time) bool {
	if at.Before(p.Start.Add(signs - ahead)) {
		return false
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	return !slices.ContainsFunc(k.pairs, func(o pair) bool { return o.Region == region && o.Start.After(p.Start) && o.Start.Before(p.End) })
}

// make makes the pairs that are missing, and gives the one that signs at a time.
func (k *Keys) make(ctx context.Context, region string, at time.Time) (pair, error) {
	k.making.Lock()
	defer k.making.Unlock()
	for {
		p, ok := k.at(region, at)
		if ok && !k.old(region, p, at) {
			return p, nil
		}
		if err := ctx.Err(); err != nil {
			return pair{}, err
		}
		start := at.Add(-lead)
		if ok {
			start = p.Start.Add(signs)
		}
		if err := k.add(region, start.UTC().Truncate(time.Second)); err != nil {
			return pair{}, err
		}
	}
}

// add makes a pair, and returns when it is durable.
func (k *Keys) add(region string, start time.Time) error {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return err
	}
	p := pair{Region: region, Public: x509.MarshalPKCS1PublicKey(&key.PublicKey), Made: k.now().UTC().Truncate(time.Second), Start: start, End: start.Add(valid)}
	p.Fingerprint = digest.Fingerprint(p.Public)
	if p.Sealed, err = k.seal.Seal(purpose(p), x509.MarshalPKCS1PrivateKey(key)); err != nil {
		return fmt.Errorf("seal the private key: %w", err)
	}
	k.mu.RLock()
	pairs := append(slices.Clone(k.pairs), p)
	k.mu.RUnlock()
	slices.SortStableFunc(pairs, byStart)
	d := document()
	text, err := json.MarshalIndent(file{Format: d.Format, Version: d.Version, Keys: pairs}, "", " ")
	if err != nil {
		return err
	}
	if err := durable.WriteFile(k.path, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", k.path, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pairs = pairs
	k.open[p.Fingerprint] = key
	return nil
}

// private opens the private key of a pair.
func (k *Keys) private(p pair) (*rsa.PrivateKey, error) {
	k.mu.RLock()
	key := k.open[p.Fingerprint]
	k.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	der, err := k.seal.Unseal(purpose(p), p.Sealed)
	if err != nil {
		return nil, fmt.Errorf("open key %s that signs digests: %w", p.Fingerprint, err)
	}
	key, err = x509.ParsePKCS1PrivateKey(der)
	clear(der)
	if err == nil && !bytes.Equal(x509.MarshalPKCS1PublicKey(&key.PublicKey), p.Public) {
		err = errors.New("its halves do not belong together")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: key %s: %w", ErrDamaged, p.Fingerprint, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.open[p.Fingerprint] = key
	return key, nil
}

// Public lists the keys of a Region that were valid at some time of a range, both ends included, oldest first.
func (k *Keys) Public(region string, start, end time.Time) []digest.PublicKey {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var out []digest.PublicKey
	for _, p := range k.pairs {
		if p.Region == region && !p.Start.After(end) && !p.End.Before(start) {
			out = append(out, digest.PublicKey{DER: bytes.Clone(p.Public), Fingerprint: p.Fingerprint, Start: p.Start, End: p.End})
		}
	}
	return out
}
