package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// PutObject implements backend.Backend.
func (s *store) PutObject(ctx context.Context, in s3response.PutObjectInput) (s3response.PutObjectOutput, error) {
	how, metadata, err := s.sealingOf(text(in.Bucket), text(in.Key), in.Metadata)
	if err != nil {
		return s3response.PutObjectOutput{}, err
	}
	in.Metadata, in.Body = metadata, whole(in.Body, in.ContentLength)
	out, err := s.put(ctx, in, how)
	return out, s.forGateway(err)
}

// put stores an object, sealed unless how is nil.
func (s *store) put(ctx context.Context, in s3response.PutObjectInput, how *sealing) (out s3response.PutObjectOutput, err error) {
	bucket, key := text(in.Bucket), text(in.Key)
	if err := checkKey(key); err != nil {
		return out, err
	}
	dir, err := s.root(bucket)
	if err != nil {
		return out, err
	}
	in.Bucket = &dir
	since := s.generation()
	if strings.HasSuffix(key, "/") {
		if out, err = s.Posix.PutObject(ctx, in); err != nil {
			return out, err
		}
		path := filepath.Join(dir, key)
		return out, errors.Join(s.syncAttributes(path), s.settle(path, since))
	}

	more := map[string][]byte{}
	if err := s.headers(in, dir, more); err != nil {
		return out, err
	}
	p := &publication{s: s, dir: dir, bucket: bucket, key: key, last: attrETag, ifMatch: in.IfMatch, ifNoneMatch: in.IfNoneMatch}
	in.ContentType, in.ContentEncoding, in.ContentDisposition, in.ContentLanguage, in.CacheControl, in.Expires, in.WebsiteRedirectLocation = nil, nil, nil, nil, nil, nil, nil
	in.Metadata, in.Tagging, in.ObjectLockMode, in.ObjectLockRetainUntilDate, in.ObjectLockLegalHoldStatus = nil, nil, "", nil, ""
	p.finish = func(attrs map[string][]byte) error {
		for k, v := range more {
			attrs[k] = v
		}
		return nil
	}
	via := s.Posix
	done := func() {}
	if how != nil {
		via = s.plain
		if done, err = s.putSealed(ctx, &in, p, how, more, &out); err != nil {
			return out, err
		}
	}
	var f *os.File
	res, err := via.PutObjectWithPostFunc(ctx, in, func(tmp *os.File) error {
		f = tmp
		s.attrs.watch(f, p)
		return nil
	})
	if f != nil {
		s.attrs.unwatch(f)
	}
	if err = p.end(since, err); err != nil {
		return s3response.PutObjectOutput{}, err
	}
	if how == nil {
		out = res
	}
	done()
	out.VersionID = p.version
	if p.version == nullVersion {
		out.VersionID = ""
	}
	return out, nil
}

// headers makes attributes of what a request says of an object.
func (s *store) headers(in s3response.PutObjectInput, dir string, attrs map[string][]byte) error {
	for name, v := range map[string]*string{
		attrContentType: in.ContentType, attrEncoding: in.ContentEncoding, "content-disposition": in.ContentDisposition, "content-language": in.ContentLanguage,
		"cache-control": in.CacheControl, "expires": in.Expires, "website-redirect-location": in.WebsiteRedirectLocation,
	} {
		if text(v) != "" {
			attrs[name] = []byte(*v)
		}
	}
	tags, err := backend.ParseObjectTags(text(in.Tagging))
	if err != nil {
		return err
	}
	if in.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn || in.ObjectLockMode != "" {
		c, err := s.lockConfig(dir)
		if err != nil {
			return err
		}
		if c == nil || !c.Enabled {
			return s3err.GetAPIError(s3err.ErrMissingObjectLockConfigurationNoSpaces)
		}
	}
	if in.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOn {
		attrs[attrHold] = holdValue(true)
	}
	for _, v := range []struct {
		name string
		set  bool
		v    any
	}{
		{attrMetadata, len(in.Metadata) > 0, in.Metadata},
		{attrTags, len(tags) > 0, tags},
		{attrRetention, in.ObjectLockMode != "", types.ObjectLockRetention{Mode: types.ObjectLockRetentionMode(in.ObjectLockMode), RetainUntilDate: in.ObjectLockRetainUntilDate}},
	} {
		if v.set {
			if attrs[v.name], err = json.Marshal(v.v); err != nil {
				return err
			}
		}
	}
	return nil
}

// putSealed changes a request such that the backend stores the sealed form of its content. Checksums are those of the content.
func (s *store) putSealed(ctx context.Context, in *s3response.PutObjectInput, p *publication, how *sealing, more map[string][]byte, out *s3response.PutObjectOutput) (func(), error) {
	se, err := s.seal(ctx, how)
	if err != nil {
		return nil, err
	}
	var length int64
	if in.ContentLength != nil {
		length = *in.ContentLength
	}
	body := &counter{r: in.Body}
	sum, algorithm, err := checksum(in, body)
	if err != nil {
		return nil, err
	}
	sealed, err := se.reader(body)
	if err != nil {
		return nil, err
	}
	size, err := se.size(length)
	if err != nil {
		return nil, err
	}
	in.Body, in.ContentLength, in.ChecksumAlgorithm = sealed, &size, types.ChecksumAlgorithmCrc32c
	in.ChecksumCRC32, in.ChecksumCRC32C, in.ChecksumSHA1, in.ChecksumSHA256, in.ChecksumCRC64NVME = nil, nil, nil, nil, nil
	in.ChecksumSHA512, in.ChecksumMD5, in.ChecksumXXHASH64, in.ChecksumXXHASH3, in.ChecksumXXHASH128, in.ContentMD5 = nil, nil, nil, nil, nil, nil
	if more[attrSealed], err = json.Marshal(se.mark); err != nil {
		return nil, err
	}
	out.ETag = newETag()
	finish := p.finish
	p.finish = func(attrs map[string][]byte) error {
		if body.n != length {
			return s3err.GetAPIError(s3err.ErrIncompleteBody)
		}
		more[attrETag] = []byte(out.ETag)
		c := s3response.Checksum{Algorithm: algorithm, Type: types.ChecksumTypeFullObject}
		v := sum()
		*checksumField(&c, algorithm) = &v
		b, err := json.Marshal(c)
		if err != nil {
			return err
		}
		more[attrChecksums] = b
		out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumSHA1, out.ChecksumSHA256, out.ChecksumCRC64NVME = c.CRC32, c.CRC32C, c.SHA1, c.SHA256, c.CRC64NVME
		out.ChecksumSHA512, out.ChecksumMD5, out.ChecksumXXHASH64, out.ChecksumXXHASH3, out.ChecksumXXHASH128 = c.SHA512, c.MD5, c.XXHASH64, c.XXHASH3, c.XXHASH128
		out.ChecksumType = c.Type
		return finish(attrs)
	}
	return func() { out.Size = &body.n }, nil
}

// newETag is one that tells nothing of the content.
func newETag() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return `"` + hex.EncodeToString(b) + `"`
}

// counter counts what is read through it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	if c.r == nil {
		return 0, io.EOF
	}
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}
