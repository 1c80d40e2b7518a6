package blob

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/minio/sio"

	"spoor/internal/keyring"
)

// The form of sealed objects: magic, length of the head, head, and the content and one byte more in segments of DARE 2.0, which
// number them and mark the last. The byte is there so that there is always a last one. The key of the segments is derived from
// the data key and all that stands before them, so that no byte of it can be changed.
const (
	sealMagic   = "spoorkms"
	sealFixed   = len(sealMagic) + 4
	maxSealHead = 64 << 10
	sealInfo    = "spoor sealed object 1"
	partInfo    = "spoor part of an upload 1 "
	saltLen     = 32

	segmentSize   = 64 << 10           // of content
	segmentSealed = segmentSize + 2*16 // with what DARE adds
	endMark       = 1                  // the byte behind the content
)

// sealHead stands before the segments.
type sealHead struct {
	Version int               `json:"version"`
	Key     string            `json:"key"`     // ARN
	Context map[string]string `json:"context"` // of the encryption
	Wrapped []byte            `json:"wrapped"` // data key
	Salt    []byte            `json:"salt"`
}

// sealMark is the attribute of a sealed file, for those who only want to know its size and key.
type sealMark struct {
	Key  string `json:"key"`
	Head int64  `json:"head"` // bytes before the segments
}

// size is that of the content of a sealed file.
func (m sealMark) size(file int64) (int64, error) {
	if file < m.Head {
		return 0, fmt.Errorf("%w: it is shorter than its head", ErrTampered)
	}
	n, err := sio.DecryptedSize(uint64(file - m.Head))
	if err != nil || n == 0 {
		return 0, fmt.Errorf("%w: its length fits no content", ErrTampered)
	}
	return int64(n) - 1, nil
}

// sealer is how one object is sealed.
type sealer struct {
	mark sealMark
	head []byte // as it is written
	conf sio.Config
}

// newSealer makes a sealer with a data key.
func newSealer(key keyring.DataKey, encryptionContext map[string]string) (*sealer, error) {
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails
	text, err := json.Marshal(sealHead{Version: 1, Key: key.KeyARN, Context: encryptionContext, Wrapped: key.Wrapped, Salt: salt})
	if err != nil {
		return nil, err
	}
	if len(text) > maxSealHead {
		return nil, fmt.Errorf("seal an object: encryption context and wrapped key have more than %d bytes", maxSealHead)
	}
	head := append([]byte(sealMagic), 0, 0, 0, 0)
	binary.BigEndian.PutUint32(head[len(sealMagic):], uint32(len(text)))
	head = append(head, text...)
	conf, err := segments(key.Plaintext, salt, head)
	if err != nil {
		return nil, err
	}
	return &sealer{sealMark{key.KeyARN, int64(len(head))}, head, conf}, nil
}

// segments is how those behind a head are sealed and opened.
func segments(dataKey, salt, head []byte) (sio.Config, error) {
	sum := sha256.Sum256(head)
	key, err := hkdf.Key(sha256.New, dataKey, salt, sealInfo+string(sum[:]), 32)
	if err != nil {
		return sio.Config{}, fmt.Errorf("derive the key of an object: %w", err)
	}
	return sio.Config{MinVersion: sio.Version20, MaxVersion: sio.Version20, CipherSuites: []byte{sio.AES_256_GCM}, Key: key}, nil
}

// size is that of the sealed form of content of n bytes.
func (s *sealer) size(n int64) (int64, error) {
	m, err := sio.EncryptedSize(uint64(max(n, 0)) + 1)
	if err != nil {
		return 0, fmt.Errorf("seal an object: %w", err)
	}
	return s.mark.Head + int64(m), nil
}

// reader gives the sealed form of what r gives.
func (s *sealer) reader(r io.Reader) (io.Reader, error) {
	sealed, err := sio.EncryptReader(io.MultiReader(r, bytes.NewReader([]byte{endMark})), s.conf)
	if err != nil {
		return nil, fmt.Errorf("seal an object: %w", err)
	}
	return io.MultiReader(bytes.NewReader(s.head), sealed), nil
}

// writer writes the sealed form of what is written to it. It is whole when it was closed.
func (s *sealer) writer(w io.Writer) (io.WriteCloser, error) {
	if _, err := w.Write(s.head); err != nil {
		return nil, err
	}
	sealed, err := sio.EncryptWriter(onlyWriter{w}, s.conf)
	if err != nil {
		return nil, fmt.Errorf("seal an object: %w", err)
	}
	return sealWriter{sealed}, nil
}

// sealWriter ends the content.
type sealWriter struct{ io.WriteCloser }

func (w sealWriter) Close() error {
	_, err := w.Write([]byte{endMark})
	return errors.Join(err, w.WriteCloser.Close())
}

// onlyWriter hides that a file can be closed.
type onlyWriter struct{ io.Writer }

// readHead reads what stands before the segments.
func readHead(f io.ReaderAt) (h sealHead, head []byte, err error) {
	head = make([]byte, sealFixed)
	if _, err := f.ReadAt(head, 0); err != nil || string(head[:len(sealMagic)]) != sealMagic {
		if err != nil && !errors.Is(err, io.EOF) {
			return h, nil, err
		}
		return h, nil, fmt.Errorf("%w: it does not begin as one", ErrTampered)
	}
	n := binary.BigEndian.Uint32(head[len(sealMagic):])
	if n > maxSealHead {
		return h, nil, fmt.Errorf("%w: its head says that it has %d bytes", ErrTampered, n)
	}
	head = append(head, make([]byte, n)...)
	if _, err := f.ReadAt(head[sealFixed:], int64(sealFixed)); err != nil {
		if !errors.Is(err, io.EOF) {
			return h, nil, err
		}
		return h, nil, fmt.Errorf("%w: it ends in its head", ErrTampered)
	}
	dec := json.NewDecoder(bytes.NewReader(head[sealFixed:]))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&h); err != nil {
		return h, nil, fmt.Errorf("%w: its head: %w", ErrTampered, err)
	}
	if h.Version != 1 || len(h.Salt) != saltLen || h.Key == "" {
		return h, nil, fmt.Errorf("%w: its head has version %d, key %.40q and a salt of %d bytes", ErrTampered, h.Version, h.Key, len(h.Salt))
	}
	return h, head, nil
}

// opened is a sealed file, read in the clear.
type opened struct {
	head   sealHead
	size   int64
	sealed *io.SectionReader // the segments
	conf   sio.Config
}

// openSealed unwraps the data key of a sealed file of a size.
func openSealed(ctx context.Context, keys Keys, f io.ReaderAt, size int64) (*opened, error) {
	h, head, err := readHead(f)
	if err != nil {
		return nil, err
	}
	n, err := sealMark{h.Key, int64(len(head))}.size(size)
	if err != nil {
		return nil, err
	}
	key, err := unwrap(ctx, keys, h.Wrapped, h.Context)
	if err != nil {
		return nil, err
	}
	defer clear(key.Plaintext)
	conf, err := segments(key.Plaintext, h.Salt, head)
	if err != nil {
		return nil, err
	}
	sealed := io.NewSectionReader(f, int64(len(head)), size-int64(len(head)))
	if err := checkEnd(sealed, conf, n); err != nil {
		return nil, err
	}
	return &opened{h, n, sealed, conf}, nil
}

// segment reads the content from the beginning of a segment on.
func segment(sealed *io.SectionReader, conf sio.Config, number int64) (io.Reader, error) {
	conf.SequenceNumber = uint32(number)
	return sio.DecryptReader(io.NewSectionReader(sealed, number*segmentSealed, sealed.Size()-number*segmentSealed), conf)
}

// checkEnd opens the last segment of content of n bytes: that it is the last one is what says that nothing was cut off.
func checkEnd(sealed *io.SectionReader, conf sio.Config, n int64) error {
	r, err := segment(sealed, conf, n/segmentSize)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("its end: %w", changed(err))
	}
	if int64(len(b)) != n%segmentSize+1 || b[len(b)-1] != endMark {
		return fmt.Errorf("%w: it has no end", ErrTampered)
	}
	return nil
}

// changed tells errors of segments from those of the disk.
func changed(err error) error {
	if _, ok := errors.AsType[sio.Error](err); ok || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrTampered, err)
	}
	return err
}

// read gives a range of the content. A segment that was changed is an error in its place, and nothing of it is given.
func (o *opened) read(from, n int64) io.Reader {
	r, err := segment(o.sealed, o.conf, from/segmentSize)
	return &sealedReader{r: r, skip: from % segmentSize, left: n, err: err}
}

// sealedReader reads a range from the beginning of its first segment on.
type sealedReader struct {
	r          io.Reader
	skip, left int64
	err        error
}

func (r *sealedReader) Read(p []byte) (n int, err error) {
	if r.err == nil && r.skip > 0 && r.left > 0 {
		_, r.err = io.CopyN(io.Discard, r.r, r.skip)
		r.skip = 0
	}
	if r.err == nil && r.left <= 0 {
		r.err = io.EOF
	}
	if r.err == nil {
		n, r.err = r.r.Read(p[:min(int64(len(p)), r.left)])
		r.left -= int64(n)
	}
	if r.err != nil && r.left > 0 && errors.Is(r.err, io.EOF) {
		r.err = fmt.Errorf("%w: it ends early", ErrTampered)
	}
	if r.err != nil && !errors.Is(r.err, ErrTampered) {
		r.err = changed(r.err)
	}
	if n > 0 {
		return n, nil // an error comes with the next call
	}
	return 0, r.err
}

func unwrap(ctx context.Context, keys Keys, wrapped []byte, encryptionContext map[string]string) (keyring.DataKey, error) {
	if keys == nil {
		return keyring.DataKey{}, fmt.Errorf("open a sealed object: there is no key ring: %w", keyring.ErrNotFound)
	}
	key, err := keys.Unwrap(ctx, wrapped, encryptionContext)
	if err != nil {
		return keyring.DataKey{}, fmt.Errorf("open a sealed object: %w", err)
	}
	return key, nil
}
