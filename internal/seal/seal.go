// Package seal closes secrets that have to lie in files with keys that are derived from a master key.
//
// What is sealed is a byte of version, a salt of 16 bytes, and what AES-256-GCM makes of the text. Each salt has a key of its own,
// which seals once: so the nonce can be zero, and no number of seals is too large.
package seal

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
	"strings"

	"spoor/internal/durable"
)

// MasterLen is the length of master keys, in bytes.
const MasterLen = 32

const (
	version      = 1
	saltLen      = 16
	masterPrefix = "spoor-master-key-v1:"
)

// Overhead is by how many bytes what is sealed is longer than the text.
const Overhead = 1 + saltLen + 16

var (
	// ErrSealed says no more: whoever hands in what does not open learns nothing.
	ErrSealed = errors.New("it does not open")
	// ErrMaster is returned for a file that holds no master key.
	ErrMaster = errors.New("not a master key")
)

// Key seals with keys derived from one secret. It may be used by any number of goroutines.
type Key struct {
	id    string
	label string
	prk   []byte
}

// New makes a key of a secret of [MasterLen] bytes. Labels separate uses of the same secret from one another.
func New(secret []byte, label string) (*Key, error) {
	if len(secret) != MasterLen {
		return nil, fmt.Errorf("derive keys: the secret has %d bytes, not %d", len(secret), MasterLen)
	}
	prk, err := hkdf.Extract(sha256.New, secret, nil)
	if err != nil {
		return nil, fmt.Errorf("derive keys: %w", err)
	}
	id, err := hkdf.Expand(sha256.New, prk, label+"id", 8)
	if err != nil {
		return nil, fmt.Errorf("derive keys: %w", err)
	}
	return &Key{id: hex.EncodeToString(id), label: label, prk: prk}, nil
}

// ID names the secret, and tells nothing of it: 16 digits in hex.
func (k *Key) ID() string { return k.id }

func (k *Key) aead(purpose string, salt []byte) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, k.prk, k.label+purpose+"\x00"+string(salt), 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Seal closes text that opens for the same purpose and beside the same data only. A purpose has no zero byte.
func (k *Key) Seal(purpose, beside string, text []byte) ([]byte, error) {
	out := make([]byte, 1+saltLen, Overhead+len(text))
	out[0] = version
	_, _ = rand.Read(out[1:]) // never fails
	g, err := k.aead(purpose, out[1:])
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return g.Seal(out, make([]byte, g.NonceSize()), text, []byte(beside)), nil
}

// Open gives back what was sealed. The error is [ErrSealed] for what does not open.
func (k *Key) Open(purpose, beside string, sealed []byte) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != version {
		return nil, ErrSealed
	}
	g, err := k.aead(purpose, sealed[1:1+saltLen])
	if err != nil {
		return nil, fmt.Errorf("open what was sealed: %w", err)
	}
	text, err := g.Open(nil, make([]byte, g.NonceSize()), sealed[1+saltLen:], []byte(beside))
	if err != nil {
		return nil, ErrSealed
	}
	return text, nil
}

// Random makes a new master key.
func Random() []byte {
	master := make([]byte, MasterLen)
	_, _ = rand.Read(master) // never fails
	return master
}

// ReadMaster reads the file of a master key; nil when there is none. The error never quotes the key; it is [ErrMaster] for content
// that is none.
func ReadMaster(path string) ([]byte, error) {
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
	master, err := ParseMaster(strings.TrimSuffix(string(b), "\n"))
	if err != nil {
		return nil, fmt.Errorf("read the master key %s: %w", path, err)
	}
	return master, nil
}

// ParseMaster reads a master key as its file has it in its one line. The error is [ErrMaster], and does not quote it.
func ParseMaster(text string) ([]byte, error) {
	text, ok := strings.CutPrefix(text, masterPrefix)
	master, err := hex.DecodeString(text)
	if !ok || err != nil || len(master) != MasterLen {
		return nil, fmt.Errorf("%w: want %s and %d bytes in hex", ErrMaster, masterPrefix, MasterLen)
	}
	return master, nil
}

// WriteMaster makes the file of a master key durable, with mode 0600.
func WriteMaster(path string, master []byte) error {
	if err := durable.WriteFile(path, []byte(masterPrefix+hex.EncodeToString(master)+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the master key: %w", err)
	}
	return nil
}
