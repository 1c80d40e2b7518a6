package iam

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"spoor/internal/durable"
)

// The file of the master key is one line: the prefix, and 32 bytes in hex.
const (
	masterName   = "master.key"
	masterPrefix = "spoor-master-key-v1:"
	masterLen    = 32
)

// What is sealed is a byte of version, a salt, and what AES-256-GCM makes. Each salt has a key of its own, which seals once:
// so the nonce can be zero, and no number of seals is too large.
const (
	sealVersion = 1
	saltLen     = 16
	sealLabel   = "spoor iam v1 "
)

// errSeal says no more: whoever hands in what does not open learns nothing.
var errSeal = errors.New("it does not open")

// keyring seals with keys derived from a master key.
type keyring struct {
	id  string // names the master key, and tells nothing of it
	prk []byte
}

func newKeyring(master []byte) (*keyring, error) {
	prk, err := hkdf.Extract(sha256.New, master, nil)
	if err != nil {
		return nil, fmt.Errorf("derive keys: %w", err)
	}
	id, err := hkdf.Expand(sha256.New, prk, sealLabel+"id", 8)
	if err != nil {
		return nil, fmt.Errorf("derive keys: %w", err)
	}
	return &keyring{id: hex.EncodeToString(id), prk: prk}, nil
}

func (k *keyring) aead(purpose string, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, k.prk, sealLabel+purpose+"\x00"+string(salt), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal closes text that opens for the same purpose and beside the same data only.
func (k *keyring) seal(purpose, beside string, text []byte) ([]byte, error) {
	out := make([]byte, 1+saltLen, 1+saltLen+len(text)+16)
	out[0] = sealVersion
	_, _ = rand.Read(out[1:]) // never fails
	g, err := k.aead(purpose, out[1:])
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return g.Seal(out, make([]byte, g.NonceSize()), text, []byte(beside)), nil
}

func (k *keyring) open(purpose, beside string, sealed []byte) ([]byte, error) {
	if len(sealed) < 1+saltLen || sealed[0] != sealVersion {
		return nil, errSeal
	}
	g, err := k.aead(purpose, sealed[1:1+saltLen])
	if err != nil {
		return nil, fmt.Errorf("open what was sealed: %w", err)
	}
	text, err := g.Open(nil, make([]byte, g.NonceSize()), sealed[1+saltLen:], []byte(beside))
	if err != nil {
		return nil, errSeal
	}
	return text, nil
}

// readMaster reads the master key; nil when there is none yet.
func readMaster(path string) (*keyring, error) {
	in, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	b, err := io.ReadAll(io.LimitReader(in, 1024))
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	text, ok := strings.CutPrefix(strings.TrimSuffix(string(b), "\n"), masterPrefix)
	master, err := hex.DecodeString(text)
	if !ok || err != nil || len(master) != masterLen { // without the error, which can quote the key
		return nil, fmt.Errorf("read the master key %s: %w: want %s and %d bytes in hex", path, ErrDamaged, masterPrefix, masterLen)
	}
	return newKeyring(master)
}

// usable is the keyring with which secrets in a state were sealed, nil when it is not at hand.
func (s *Service) usable(f *file) *keyring {
	if k := s.ring.Load(); k != nil && k.id == f.MasterKey {
		return k
	}
	return nil
}

// needRing gives the keyring for what is to be sealed, and makes the master key when it is needed for the first time. While
// there are secrets that were sealed with another one, none is made: that one may come back. The caller holds mu, and makes f
// durable before what was sealed leaves.
func (s *Service) needRing(f *file) (*keyring, error) {
	if k := s.usable(f); k != nil {
		return k, nil
	}
	path := filepath.Join(s.dir, masterName)
	k := s.ring.Load()
	if slices.ContainsFunc(f.Credentials, func(c fileCredential) bool { return c.Type == typeAccessKey }) {
		what := "is not the one"
		if k == nil {
			what = "is missing"
		}
		return nil, fmt.Errorf("the master key %s %s with which secrets of access keys were sealed: %w: put it back, or delete those keys", path, what, ErrDamaged)
	}
	if k == nil {
		master := make([]byte, masterLen)
		_, _ = rand.Read(master) // never fails
		if err := durable.WriteFile(path, []byte(masterPrefix+hex.EncodeToString(master)+"\n"), 0o600); err != nil {
			return nil, fmt.Errorf("make the master key: %w", err)
		}
		var err error
		if k, err = newKeyring(master); err != nil {
			return nil, err
		}
		s.ring.Store(k)
	}
	f.MasterKey = k.id
	return k, nil
}

// sealer gives the keyring for sessions.
func (s *Service) sealer() (k *keyring, err error) {
	if k := s.usable(s.now().file); k != nil {
		return k, nil
	}
	err = s.change(false, func(f *file, _ time.Time) error {
		k, err = s.needRing(f)
		return err
	})
	return k, err
}
