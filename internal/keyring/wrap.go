package keyring

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/google/uuid"

	"spoor/internal/durable"
	"spoor/internal/seal"
)

func syncDir(dir string) error { return durable.SyncDir(dir) }

// What a key of the ring wraps begins with blobMagic, the key's id and that of the material, and goes on with what package seal
// makes. What an external key wraps begins with externalMagic and the length of the key's ARN, and goes on with that and with what
// the external service made.
const (
	blobMagic     = "Spk\x01"
	externalMagic = "Spx\x01"
	blobHead      = len(blobMagic) + 16 + materialLen
	materialLen   = 32
	forData       = "data"
)

// MaxPlaintext is the most that a key encrypts itself, in bytes.
const MaxPlaintext = 4096

// MaxContext is how long an encryption context may be, in bytes of its keys and values.
const MaxContext = 8192

// blob is something wrapped, in its parts.
type blob struct {
	key      uuid.UUID
	material string // in hex
	head     []byte
	sealed   []byte
}

func parseBlob(b []byte) (blob, bool) {
	if len(b) < blobHead+seal.Overhead || string(b[:len(blobMagic)]) != blobMagic {
		return blob{}, false
	}
	out := blob{head: b[:blobHead], sealed: b[blobHead:]}
	at := len(blobMagic)
	copy(out.key[:], b[at:])
	out.material = hex.EncodeToString(b[at+16 : blobHead])
	return out, true
}

func appendExternal(b []byte, arn string, inner []byte) []byte {
	b = append(b, externalMagic...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(arn)))
	b = append(b, arn...)
	return append(b, inner...)
}

func cutExternal(b []byte) (arn string, inner []byte, ok bool) {
	head := len(externalMagic) + 2
	if len(b) < head || string(b[:len(externalMagic)]) != externalMagic {
		return "", nil, false
	}
	n := int(binary.BigEndian.Uint16(b[len(externalMagic):]))
	if len(b) <= head+n {
		return "", nil, false
	}
	arn = string(b[head : head+n])
	p, ok := parseARN(arn)
	return arn, b[head+n:], ok && p.kind == "key"
}

// beside is what a wrapped text is bound to: its head, so that it names no other key, and the encryption context in an order and
// form of which there is one.
func beside(head []byte, encryptionContext map[string]string) string {
	b := slices.Clone(head)
	for _, k := range slices.Sorted(maps.Keys(encryptionContext)) {
		for _, text := range []string{k, encryptionContext[k]} {
			b = binary.BigEndian.AppendUint32(b, uint32(len(text)))
			b = append(b, text...)
		}
	}
	return string(b)
}

func checkContext(encryptionContext map[string]string) error {
	n := 0
	for k, v := range encryptionContext {
		n += len(k) + len(v)
		if k == "" {
			return fmt.Errorf("encryption context: %w: a key is empty", ErrInvalid)
		}
	}
	if n > MaxContext {
		return fmt.Errorf("encryption context: %w: it has %d bytes, more than %d", ErrInvalid, n, MaxContext)
	}
	return nil
}

// besideMaterial is what the material of a key is bound to in the state.
func besideMaterial(k *fileKey, id string) string {
	return k.Account + "\x00" + k.Region + "\x00" + k.ID + "\x00" + id
}

// material gives the key of a material of a key in a state.
func (r *Ring) material(f *file, k *fileKey, id string) (*seal.Key, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if m := r.keys[id]; m != nil {
		return m, nil
	}
	for _, m := range k.Materials {
		if m.ID != id {
			continue
		}
		secret, err := f.root.Open(forMaterial, besideMaterial(k, id), m.Sealed)
		if err != nil {
			return nil, fmt.Errorf("open material %s: %w", id, err)
		}
		key, err := seal.New(secret, materialLabel)
		if err != nil {
			return nil, err
		}
		r.keys[id] = key
		return key, nil
	}
	return nil, ErrCiphertext
}

// Encrypt encrypts up to [MaxPlaintext] bytes under a key of the ring. Nobody's permission is asked.
func (r *Ring) Encrypt(ctx context.Context, keyARN string, text []byte, encryptionContext map[string]string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(text) > MaxPlaintext {
		return nil, fmt.Errorf("encrypt: %w: %d bytes are more than %d", ErrInvalid, len(text), MaxPlaintext)
	}
	if err := checkContext(encryptionContext); err != nil {
		return nil, err
	}
	f, k, err := r.usable(keyARN)
	if err != nil {
		return nil, err
	}
	id := k.Materials[len(k.Materials)-1].ID
	m, err := r.material(f, k, id)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	head := make([]byte, 0, blobHead+seal.Overhead+len(text))
	key, err := uuid.Parse(k.ID)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	head = append(head, blobMagic...)
	head = append(head, key[:]...)
	if head, err = hex.AppendDecode(head, []byte(id)); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	sealed, err := m.Seal(forData, beside(head, encryptionContext), text)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return append(head, sealed...), nil
}

// Decrypt opens what Encrypt made, and tells with which key. Nobody's permission is asked.
func (r *Ring) Decrypt(ctx context.Context, wrapped []byte, encryptionContext map[string]string) (text []byte, keyARN string, _ error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	b, ok := parseBlob(wrapped)
	if !ok {
		return nil, "", ErrCiphertext
	}
	keyARN, err := r.KeyOf(wrapped)
	if err != nil {
		return nil, "", err
	}
	f, k, err := r.usable(keyARN)
	if err != nil {
		return nil, "", err
	}
	m, err := r.material(f, k, b.material)
	if err != nil {
		return nil, "", err
	}
	text, err = m.Open(forData, beside(b.head, encryptionContext), b.sealed)
	if err != nil {
		return nil, "", ErrCiphertext
	}
	return text, keyARN, nil
}
