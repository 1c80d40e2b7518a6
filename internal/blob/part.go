package blob

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// Parts of uploads are sealed so that they keep their size, which the gateway checks: AES-256-CTR, and HMAC-SHA256 over number,
// nonce and sealed content. They are read once, from end to end, when the upload is completed.

// partSeal is the attribute of a sealed part.
type partSeal struct {
	Nonce []byte `json:"nonce"`
	MAC   []byte `json:"mac"`
}

// partCipher is how a part is sealed and opened.
func partCipher(dataKey, nonce []byte, number int32) (cipher.Stream, hash.Hash, error) {
	if len(nonce) != saltLen {
		return nil, nil, fmt.Errorf("%w: the nonce of a part has %d bytes", ErrTampered, len(nonce))
	}
	keys, err := hkdf.Key(sha256.New, dataKey, nonce, fmt.Sprint(partInfo, number), 64)
	if err != nil {
		return nil, nil, err
	}
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		return nil, nil, err
	}
	mac := hmac.New(sha256.New, keys[32:]) // number and nonce are in the key
	return cipher.NewCTR(block, make([]byte, aes.BlockSize)), mac, nil
}

// partSealer gives the sealed form of a part that is read through it.
type partSealer struct {
	r      io.Reader
	nonce  []byte
	stream cipher.Stream
	mac    hash.Hash
}

func newPartSealer(r io.Reader, dataKey []byte, number int32) (*partSealer, error) {
	nonce := make([]byte, saltLen)
	_, _ = rand.Read(nonce) // never fails
	stream, mac, err := partCipher(dataKey, nonce, number)
	if err != nil {
		return nil, fmt.Errorf("seal a part: %w", err)
	}
	return &partSealer{r, nonce, stream, mac}, nil
}

func (s *partSealer) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.stream.XORKeyStream(p[:n], p[:n])
	s.mac.Write(p[:n])
	return n, err
}

// seal is what opens what was read.
func (s *partSealer) seal() partSeal { return partSeal{s.nonce, s.mac.Sum(nil)} }

// openPart writes the content of a sealed part. What was written counts only when it returns nil.
func openPart(w io.Writer, f io.Reader, dataKey []byte, number int32, s partSeal) error {
	stream, mac, err := partCipher(dataKey, s.Nonce, number)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for {
		n, err := f.Read(buf)
		mac.Write(buf[:n])
		stream.XORKeyStream(buf[:n], buf[:n])
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	if !hmac.Equal(mac.Sum(nil), s.MAC) {
		return fmt.Errorf("%w: part %d of its upload", ErrTampered, number)
	}
	return nil
}

// sealedPart is the sealed form of a part, for a backend that takes it for a body whose checksum follows it: the checksum is
// that of the content, which the backend does not see. The part's entity tag is of the sealed form, and tells nothing of it.
type sealedPart struct {
	*partSealer
	algorithm types.ChecksumAlgorithm // that the backend wants
	sum       func() string           // of the content
	given     types.ChecksumAlgorithm // of the checksum that the sender gave; empty for none
	givenSum  func() string
	internal  bool // the upload has no algorithm: the backend wants one for itself
}

// Algorithm implements [middlewares.ChecksumReader].
func (p *sealedPart) Algorithm() string { return strings.ToLower(string(p.algorithm)) }

// Checksum implements [middlewares.ChecksumReader].
func (p *sealedPart) Checksum() string { return p.sum() }

// sealedPart prepares the body of a part. As in the backend, a checksum has to be of the upload's algorithm, where that has one,
// and one that the sender gave is compared.
func (s *store) sealedPart(in *s3.UploadPartInput, dir, upload string, dataKey []byte) (*sealedPart, error) {
	of, _, err := s.checksums(dir, upload)
	if err != nil {
		return nil, err
	}
	body := in.Body
	if body == nil {
		body = strings.NewReader("")
	}
	p := &sealedPart{algorithm: of.Algorithm, internal: of.Type == ""}
	if p.internal {
		p.algorithm = types.ChecksumAlgorithmCrc64nvme
	}
	var want string
	if r, ok := body.(middlewares.ChecksumReader); ok && r.Algorithm() != "" { // compares what follows the body
		p.given, p.givenSum = types.ChecksumAlgorithm(strings.ToUpper(r.Algorithm())), r.Checksum
	} else {
		p.given, want = theChecksum(s3response.Checksum{
			CRC32: in.ChecksumCRC32, CRC32C: in.ChecksumCRC32C, SHA1: in.ChecksumSHA1, SHA256: in.ChecksumSHA256, CRC64NVME: in.ChecksumCRC64NVME,
			SHA512: in.ChecksumSHA512, MD5: in.ChecksumMD5, XXHASH64: in.ChecksumXXHASH64, XXHASH3: in.ChecksumXXHASH3, XXHASH128: in.ChecksumXXHASH128,
		})
	}
	switch {
	case p.given == "" && of.Type == types.ChecksumTypeComposite:
		return nil, s3err.GetChecksumTypeMismatchErr(of.Algorithm, "null")
	case p.given != "" && !p.internal && p.given != p.algorithm:
		return nil, s3err.GetChecksumTypeMismatchErr(of.Algorithm, p.given)
	}
	hashed := func(a types.ChecksumAlgorithm, want string) (func() string, error) {
		r, err := utils.NewHashReader(body, want, utils.HashType(strings.ToLower(string(a))))
		if err != nil {
			return nil, fmt.Errorf("compute the checksum of a part: %w", err)
		}
		body = r
		return r.Sum, nil
	}
	if p.given != "" && p.givenSum == nil {
		if p.givenSum, err = hashed(p.given, want); err != nil {
			return nil, err
		}
	}
	if p.sum = p.givenSum; p.given != p.algorithm {
		if p.sum, err = hashed(p.algorithm, ""); err != nil {
			return nil, err
		}
	}
	p.partSealer, err = newPartSealer(body, dataKey, *in.PartNumber)
	return p, err
}

// tell puts the checksum that the sender gave, or none, into an answer in place of the one that only the backend wanted.
func (p *sealedPart) tell(out *s3.UploadPartOutput) {
	if !p.internal || p.given == p.algorithm {
		return
	}
	var c s3response.Checksum
	if p.given != "" {
		v := p.givenSum()
		*checksumField(&c, p.given) = &v // the hash was found, so the field is
	}
	out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumSHA1, out.ChecksumSHA256, out.ChecksumCRC64NVME = c.CRC32, c.CRC32C, c.SHA1, c.SHA256, c.CRC64NVME
	out.ChecksumSHA512, out.ChecksumMD5, out.ChecksumXXHASH64, out.ChecksumXXHASH3, out.ChecksumXXHASH128 = c.SHA512, c.MD5, c.XXHASH64, c.XXHASH3, c.XXHASH128
}
