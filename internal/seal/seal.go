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
	"path/filepath"
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
	text := strings.TrimSuffix(string(b), "\n")
	master, err := ParseMaster(text)
	if err == nil && !strings.HasPrefix(text, masterPrefix) {
		err = ErrMaster
	}
	if err != nil {
		return nil, fmt.Errorf("read the master key %s: %w", path, err)
	}
	return master, nil
}

// ParseMaster reads a master key as its file has it in its one line, or its digits alone. The error is [ErrMaster], and does not
// quote it.
func ParseMaster(text string) ([]byte, error) {
	master, err := hex.DecodeString(strings.TrimPrefix(text, masterPrefix))
	if err != nil || len(master) != MasterLen {
		return nil, fmt.Errorf("%w: want %d bytes in hex, which %s may precede", ErrMaster, MasterLen, masterPrefix)
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

// NextMaster is the file of a master key that is about to take the place of the one in path. Who replaces a master key writes it
// there, then what it seals, and then calls [SettleMaster]: after a crash [FindMaster] finds the one that fits.
func NextMaster(path string) string { return path + ".next" }

// FindMaster finds the master key with an id, of any when id is empty, in the file path or in [NextMaster] of it, and gives a key
// of it for a label, and the file that holds it. The key is nil when neither does.
func FindMaster(path, label, id string) (k *Key, from string, err error) {
	for _, from := range []string{path, NextMaster(path)} {
		master, err := ReadMaster(from)
		if err != nil {
			return nil, "", err
		}
		if master == nil {
			continue
		}
		k, err := New(master, label)
		if err != nil {
			return nil, "", err
		}
		if id == "" || k.ID() == id {
			return k, from, nil
		}
	}
	return nil, "", nil
}

// SettleMaster makes the master key in from, which is path or [NextMaster] of it, the one in path, and the only one.
func SettleMaster(path, from string) error {
	var err error
	if next := NextMaster(path); from == next {
		err = os.Rename(next, path)
	} else if err = os.Remove(next); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return fmt.Errorf("put the master key in its place: %w", err)
	}
	return nil
}
