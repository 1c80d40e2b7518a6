package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/google/uuid"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"spoor/internal/durable"
)

// sealedUpload is the file in the folder of an upload that says how its parts are sealed.
const sealedUpload = "sealed.json"

// uploadKey is its content.
type uploadKey struct {
	Key     string            `json:"key"`
	Context map[string]string `json:"context"`
	Wrapped []byte            `json:"wrapped"`
}

// uploadOf is the folder of an upload, as object of the backend.
func uploadOf(key, id string) string {
	sum := sha256.Sum256([]byte(key))
	return filepath.Join(posix.MetaTmpMultipartDir, hex.EncodeToString(sum[:]), id)
}

// upload finds an upload.
func (s *store) upload(bucket, key, id *string) (dir, object string, err error) {
	if dir, err = s.root(text(bucket)); err != nil {
		return "", "", err
	}
	if u, err := uuid.Parse(text(id)); err != nil || u.String() != text(id) {
		return "", "", s3err.GetNoSuchUploadErr(text(id))
	}
	return dir, uploadOf(text(key), text(id)), nil
}

// uploadKeyOf reads how the parts of an upload are sealed; nil says that they are not.
func uploadKeyOf(folder string) (*uploadKey, error) {
	b, err := os.ReadFile(filepath.Join(folder, sealedUpload))
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	k := &uploadKey{}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, fmt.Errorf("read how an upload is sealed: %w", err)
	}
	return k, nil
}

// CreateMultipartUpload implements backend.Backend.
func (s *store) CreateMultipartUpload(ctx context.Context, in s3response.CreateMultipartUploadInput) (out s3response.InitiateMultipartUploadResult, err error) {
	bucket, key := text(in.Bucket), text(in.Key)
	if err := checkKey(key); err != nil {
		return out, err
	}
	dir, err := s.root(bucket)
	if err != nil {
		return out, err
	}
	how, metadata, err := s.sealingOf(bucket, key, in.Metadata)
	if err != nil {
		return out, err
	}
	var sealed []byte
	if how != nil {
		if s.keys == nil {
			_, err := s.seal(ctx, how)
			return out, s.forGateway(err)
		}
		k, err := s.keys.GenerateDataKey(ctx, how.key, how.context)
		if err != nil {
			return out, s.forGateway(ofKeys(err))
		}
		clear(k.Plaintext)
		if sealed, err = json.Marshal(uploadKey{k.KeyARN, how.context, k.Wrapped}); err != nil {
			return out, err
		}
	}
	since := s.generation()
	in.Bucket, in.Metadata = &dir, metadata
	if out, err = s.Posix.CreateMultipartUpload(ctx, in); err != nil {
		return out, err
	}
	out.Bucket = bucket
	folder := filepath.Join(dir, uploadOf(key, out.UploadId))
	if sealed != nil {
		if err := durable.WriteFile(filepath.Join(folder, sealedUpload), sealed, 0o600); err != nil {
			return out, err
		}
	}
	return out, errors.Join(s.syncAttributes(folder), s.syncAttributes(filepath.Dir(folder)), s.settle(folder, since))
}

// UploadPart implements backend.Backend.
func (s *store) UploadPart(ctx context.Context, in *s3.UploadPartInput) (*s3.UploadPartOutput, error) {
	dir, object, err := s.upload(in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return nil, err
	}
	folder := filepath.Join(dir, object)
	k, err := uploadKeyOf(folder)
	if err != nil {
		return nil, err
	}
	var dataKey []byte
	if k != nil {
		data, err := unwrap(ctx, s.keys, k.Wrapped, k.Context)
		if err != nil {
			return nil, s.forGateway(ofKeys(err))
		}
		dataKey = data.Plaintext
		defer clear(dataKey)
	}
	c := *in
	c.Bucket, c.Body = &dir, whole(in.Body, in.ContentLength)
	var part *sealedPart
	if dataKey != nil {
		if part, err = s.sealedPart(&c, dir, object, dataKey); err != nil {
			return nil, s.forGateway(err)
		}
		c.Body = part
	}
	out, err := s.Posix.UploadPartWithPostFunc(ctx, &c, func(f *os.File) error {
		if part != nil {
			b, err := json.Marshal(part.seal())
			if err != nil {
				return err
			}
			if err := s.attrs.store(f, dir, filepath.Join(object, strconv.Itoa(int(*in.PartNumber))), attrPart, b); err != nil {
				return err
			}
		}
		return f.Sync()
	})
	if err != nil {
		return nil, err
	}
	if part != nil {
		part.tell(out)
	}
	return out, durable.SyncDir(folder)
}

// UploadPartCopy implements backend.Backend.
func (s *store) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput) (out s3response.CopyPartResult, err error) {
	bucket, key, version, err := backend.ParseCopySource(text(in.CopySource))
	if err != nil {
		return out, err
	}
	if _, _, err := s.upload(in.Bucket, in.Key, in.UploadId); err != nil {
		return out, err
	}
	h, err := s.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: &key, VersionId: &version})
	if err != nil {
		return out, err
	}
	if _, _, err := backend.ParseCopySourceRange(*h.ContentLength, text(in.CopySourceRange)); err != nil {
		return out, err
	}
	src, err := s.get(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key, VersionId: &version, Range: in.CopySourceRange})
	if err != nil {
		return out, s.forGateway(err)
	}
	part := &s3.UploadPartInput{Bucket: in.Bucket, Key: in.Key, UploadId: in.UploadId, PartNumber: in.PartNumber, ContentLength: src.ContentLength}
	if src.Body != nil {
		defer func() { err = errors.Join(err, src.Body.Close()) }()
		part.Body = src.Body
	}
	if err := backend.EvaluatePreconditions(text(src.ETag), *src.LastModified, backend.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch, IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	}); err != nil {
		return out, err
	}
	if *src.ContentLength > maxCopy {
		return out, s3err.GetCopySourceObjectTooLargeErr(maxCopy)
	}
	// The part's checksum is of the algorithm of its upload, which an upload's parts must have been sent with otherwise.
	dir, object, err := s.upload(in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return out, err
	}
	if of, kept, err := s.checksums(dir, object); err != nil {
		return out, err
	} else if kept {
		if part.Body, err = hashed(part, of.Algorithm); err != nil {
			return out, err
		}
	}
	res, err := s.UploadPart(ctx, part)
	if err != nil {
		return out, err
	}
	return s3response.CopyPartResult{
		ETag: res.ETag, LastModified: s.local.o.Now(), CopySourceVersionId: text(src.VersionId),
		ChecksumCRC32: res.ChecksumCRC32, ChecksumCRC32C: res.ChecksumCRC32C, ChecksumSHA1: res.ChecksumSHA1, ChecksumSHA256: res.ChecksumSHA256,
		ChecksumCRC64NVME: res.ChecksumCRC64NVME, ChecksumSHA512: res.ChecksumSHA512, ChecksumMD5: res.ChecksumMD5,
		ChecksumXXHASH64: res.ChecksumXXHASH64, ChecksumXXHASH3: res.ChecksumXXHASH3, ChecksumXXHASH128: res.ChecksumXXHASH128,
	}, nil
}

// CompleteMultipartUpload implements backend.Backend.
func (s *store) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput) (res s3response.CompleteMultipartUploadResult, version string, err error) {
	bucket, key := text(in.Bucket), text(in.Key)
	if err := checkKey(key); err != nil {
		return res, "", err
	}
	dir, object, err := s.upload(in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return res, "", err
	}
	k, err := uploadKeyOf(filepath.Join(dir, object))
	if err != nil {
		return res, "", err
	}
	since := s.generation()
	p := &publication{s: s, dir: dir, bucket: bucket, key: key, last: attrParts, ifMatch: in.IfMatch, ifNoneMatch: in.IfNoneMatch}
	a := &assembly{s: s, dir: dir}
	defer a.forget()
	if k != nil {
		if err := a.open(ctx, k); err != nil {
			return res, "", s.forGateway(ofKeys(err))
		}
		p.finish = a.finish
	}
	var f *os.File
	c := *in
	c.Bucket = &dir
	res, _, err = s.CompleteMultipartUploadWithCopy(ctx, &c, func(from, to *os.File) (bool, error) {
		if f == nil {
			f = to
			s.attrs.watch(f, p)
		}
		a.add(from, to)
		return true, nil // an error would make the backend copy the part as it lies there; finish tells it
	})
	if p.finish == nil && a.err != nil && err == nil {
		err = a.err
	}
	if f != nil {
		s.attrs.unwatch(f)
	}
	if err = p.end(since, err); err != nil {
		if a.err != nil {
			err = a.err
		}
		return s3response.CompleteMultipartUploadResult{}, "", s.forGateway(err)
	}
	res.Bucket = in.Bucket
	if version = p.version; version == nullVersion {
		version = ""
	}
	return res, version, durable.SyncDir(filepath.Join(dir, posix.MetaTmpMultipartDir))
}

// assembly puts the parts of an upload together.
type assembly struct {
	s       *store
	dir     string
	dataKey []byte
	seal    *sealer
	to      io.WriteCloser
	err     error
}

func (a *assembly) open(ctx context.Context, k *uploadKey) error {
	data, err := unwrap(ctx, a.s.keys, k.Wrapped, k.Context)
	if err != nil {
		return err
	}
	a.dataKey = data.Plaintext
	data.Wrapped, data.KeyARN = k.Wrapped, k.Key
	a.seal, err = newSealer(data, k.Context)
	return err
}

func (a *assembly) forget() { clear(a.dataKey) }

// add adds a part. The first error stays.
func (a *assembly) add(from, to *os.File) {
	if a.err != nil {
		return
	}
	if a.seal == nil {
		_, a.err = io.Copy(to, from)
		return
	}
	a.err = a.addSealed(from, to)
}

func (a *assembly) addSealed(from, to *os.File) error {
	if a.to == nil {
		w, err := a.seal.writer(to)
		if err != nil {
			return err
		}
		a.to = w
	}
	object, err := filepath.Rel(a.dir, from.Name())
	if err != nil {
		return err
	}
	number, err := strconv.ParseInt(filepath.Base(object), 10, 32)
	if err != nil {
		return err
	}
	b, err := a.s.attrs.get(from, a.dir, object, attrPart)
	if err != nil {
		return err
	}
	var p partSeal
	if err := json.Unmarshal(b, &p); err != nil {
		return fmt.Errorf("%w: part %d of its upload: %w", ErrTampered, number, err)
	}
	return openPart(a.to, from, a.dataKey, int32(number), p)
}

// finish ends the sealed form.
func (a *assembly) finish(attrs map[string][]byte) error {
	if a.err != nil {
		return a.err
	}
	if a.to != nil {
		if a.err = a.to.Close(); a.err != nil {
			return a.err
		}
	}
	b, err := json.Marshal(a.seal.mark)
	attrs[attrSealed] = b
	return err
}

// AbortMultipartUpload implements backend.Backend.
func (s *store) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput) error {
	dir, object, err := s.upload(in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return err
	}
	c := *in
	c.Bucket = &dir
	s.forget(filepath.Join(dir, object))
	if err := s.Posix.AbortMultipartUpload(ctx, &c); err != nil {
		return err
	}
	return s.settleGone(filepath.Join(dir, object))
}

// ListParts implements backend.Backend.
func (s *store) ListParts(ctx context.Context, in *s3.ListPartsInput) (s3response.ListPartsResult, error) {
	dir, _, err := s.upload(in.Bucket, in.Key, in.UploadId)
	if err != nil {
		return s3response.ListPartsResult{}, err
	}
	c := *in
	c.Bucket = &dir
	res, err := s.Posix.ListParts(ctx, &c)
	res.Bucket = text(in.Bucket)
	return res, err
}

// ListMultipartUploads implements backend.Backend.
func (s *store) ListMultipartUploads(ctx context.Context, in *s3.ListMultipartUploadsInput) (s3response.ListMultipartUploadsResult, error) {
	dir, err := s.root(text(in.Bucket))
	if err != nil {
		return s3response.ListMultipartUploadsResult{}, err
	}
	c := *in
	c.Bucket = &dir
	res, err := s.Posix.ListMultipartUploads(ctx, &c)
	res.Bucket = text(in.Bucket)
	return res, err
}
