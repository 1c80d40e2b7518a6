package blob

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// checksum wraps the body of a request such that its checksum is computed and checked.
func checksum(in *s3response.PutObjectInput, body *counter) (sum func() string, algorithm types.ChecksumAlgorithm, err error) {
	if r, ok := in.Body.(middlewares.ChecksumReader); ok && r.Algorithm() != "" { // checks what follows the body
		return r.Checksum, types.ChecksumAlgorithm(strings.ToUpper(r.Algorithm())), nil
	}
	algorithm = in.ChecksumAlgorithm
	given, want := theChecksum(s3response.Checksum{
		CRC32: in.ChecksumCRC32, CRC32C: in.ChecksumCRC32C, SHA1: in.ChecksumSHA1, SHA256: in.ChecksumSHA256, CRC64NVME: in.ChecksumCRC64NVME,
		SHA512: in.ChecksumSHA512, MD5: in.ChecksumMD5, XXHASH64: in.ChecksumXXHASH64, XXHASH3: in.ChecksumXXHASH3, XXHASH128: in.ChecksumXXHASH128,
	})
	if given != "" {
		algorithm = given
	}
	if algorithm == "" {
		algorithm = types.ChecksumAlgorithmCrc64nvme
	}
	if checksumField(&s3response.Checksum{}, algorithm) == nil {
		return nil, "", s3err.GetAPIError(s3err.ErrInvalidChecksumAlgorithm)
	}
	r := body.r
	if r == nil {
		r = strings.NewReader("")
	}
	hashed, err := utils.NewHashReader(r, want, utils.HashType(strings.ToLower(string(algorithm))))
	if err != nil {
		return nil, "", err
	}
	body.r = hashed
	return hashed.Sum, algorithm, nil
}

// theChecksum is the one that is there, with its algorithm; both are empty where none is.
func theChecksum(c s3response.Checksum) (types.ChecksumAlgorithm, string) {
	for _, a := range types.ChecksumAlgorithm("").Values() {
		if field := checksumField(&c, a); field != nil && *field != nil {
			return a, **field
		}
	}
	return "", ""
}

// checksumField is where a checksum of an algorithm is, or nil.
func checksumField(c *s3response.Checksum, a types.ChecksumAlgorithm) **string {
	switch a {
	case types.ChecksumAlgorithmCrc32:
		return &c.CRC32
	case types.ChecksumAlgorithmCrc32c:
		return &c.CRC32C
	case types.ChecksumAlgorithmSha1:
		return &c.SHA1
	case types.ChecksumAlgorithmSha256:
		return &c.SHA256
	case types.ChecksumAlgorithmCrc64nvme:
		return &c.CRC64NVME
	case types.ChecksumAlgorithmSha512:
		return &c.SHA512
	case types.ChecksumAlgorithmMd5:
		return &c.MD5
	case types.ChecksumAlgorithmXxhash64:
		return &c.XXHASH64
	case types.ChecksumAlgorithmXxhash3:
		return &c.XXHASH3
	case types.ChecksumAlgorithmXxhash128:
		return &c.XXHASH128
	}
	return nil
}

// algorithmOf is that of the checksum of an object, or empty.
func algorithmOf(o *s3.GetObjectOutput) types.ChecksumAlgorithm {
	a, _ := theChecksum(s3response.Checksum{
		CRC32: o.ChecksumCRC32, CRC32C: o.ChecksumCRC32C, SHA1: o.ChecksumSHA1, SHA256: o.ChecksumSHA256, CRC64NVME: o.ChecksumCRC64NVME,
		SHA512: o.ChecksumSHA512, MD5: o.ChecksumMD5, XXHASH64: o.ChecksumXXHASH64, XXHASH3: o.ChecksumXXHASH3, XXHASH128: o.ChecksumXXHASH128,
	})
	return a
}

// checksums gives those that are kept of an object or an upload, and whether there are any.
func (s *store) checksums(dir, object string) (c s3response.Checksum, kept bool, err error) {
	b, err := s.attrs.get(nil, dir, object, attrChecksums)
	if err != nil || b == nil {
		return c, false, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, false, fmt.Errorf("read the checksums of an object or an upload: %w", err)
	}
	return c, true, nil
}

// hashed is the body of a part with its checksum of an algorithm.
func hashed(part *s3.UploadPartInput, of types.ChecksumAlgorithm) (io.Reader, error) {
	algorithm := strings.ToLower(string(of))
	body := part.Body
	if body == nil {
		body = strings.NewReader("")
	}
	r, err := utils.NewHashReader(body, "", utils.HashType(algorithm))
	return hashedBody{r, algorithm}, err
}

// hashedBody looks like a body whose checksum follows it.
type hashedBody struct {
	*utils.HashReader
	algorithm string
}

// Algorithm is that of the checksum.
func (b hashedBody) Algorithm() string { return b.algorithm }

// Checksum is that of what was read.
func (b hashedBody) Checksum() string { return b.Sum() }
