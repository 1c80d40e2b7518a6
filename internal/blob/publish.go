package blob

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3api/middlewares"
	"github.com/versity/versitygw/s3api/utils"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"spoor/internal/durable"
	"spoor/internal/refusal"
)

// maxCopy is how large what one call copies may be.
const maxCopy = 5 << 30

// sealing says how an object is sealed. A nil one says that it is not.
type sealing struct {
	key     string // ARN
	context map[string]string
}

// metaSealing is the metadata that a request on its way through the gateway has instead of key and encryption context, which may
// be larger than metadata may be.
const metaSealing = "spoor-sealing"

// objectARN is the name of an object in encryption contexts.
func objectARN(bucket, key string) string { return "arn:aws:s3:::" + bucket + "/" + key }

// sealingOf takes what says how an object is sealed out of its metadata; without it the bucket says so.
func (s *store) sealingOf(bucket, key string, metadata map[string]string) (*sealing, map[string]string, error) {
	if token, ok := metadata[metaSealing]; ok {
		clean := make(map[string]string, len(metadata)-1)
		for k, v := range metadata {
			if k != metaSealing {
				clean[k] = v
			}
		}
		v, ok := s.sealings.Load(token)
		if !ok {
			return nil, nil, refused("InvalidArgument", http.StatusBadRequest, "Metadata %s is reserved", metaSealing)
		}
		how := v.(*sealing)
		if how.key == "" {
			return nil, clean, nil
		}
		return s.complete(*how, bucket, key), clean, nil
	}
	return s.ofBucket(bucket, key), metadata, nil
}

// ofBucket is how a bucket seals its objects by default.
func (s *store) ofBucket(bucket, key string) *sealing {
	e := s.local.config(bucket).Encryption
	if e == nil || e.KMSKey == "" {
		return nil
	}
	if e.BucketKey {
		return &sealing{e.KMSKey, map[string]string{contextARN: "arn:aws:s3:::" + bucket}}
	}
	return s.complete(sealing{key: e.KMSKey}, bucket, key)
}

// contextARN is the member of encryption contexts that S3 fills in.
const contextARN = "aws:s3:arn"

func (s *store) complete(how sealing, bucket, key string) *sealing {
	if len(how.context) == 0 {
		how.context = map[string]string{contextARN: objectARN(bucket, key)}
	}
	return &how
}

// seal makes the sealer of a new object.
func (s *store) seal(ctx context.Context, how *sealing) (*sealer, error) {
	if s.keys == nil {
		return nil, refused("KMS.NotFoundException", http.StatusBadRequest, "There is no key ring")
	}
	key, err := s.keys.GenerateDataKey(ctx, how.key, how.context)
	if err != nil {
		return nil, ofKeys(err)
	}
	defer clear(key.Plaintext)
	return newSealer(key, how.context)
}

// ofKeys makes of an error of the key ring what S3 answers.
func ofKeys(err error) error {
	for _, k := range keyErrors() {
		if errors.Is(err, k.is) {
			status := http.StatusBadRequest
			if k.code == "AccessDenied" {
				status = http.StatusForbidden
			}
			return &storageError{code: k.code, err: fmt.Errorf("%w: %w", err, s3err.APIError{Code: k.code, Description: k.is.Error(), HTTPStatusCode: status})}
		}
	}
	return err
}

// forGateway makes errors such that the gateway answers them. What it has no answer for is logged here.
func (s *store) forGateway(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[s3err.S3Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*refusal.Error](err); ok {
		return refused(e.Code, http.StatusBadRequest, "%s", e.Message)
	}
	if !errors.Is(err, context.Canceled) {
		s.local.o.Log.Error("a request to a bucket failed", slog.Any("error", err))
	}
	if errors.Is(err, ErrTampered) { // asking again does not help
		return refused(CodeTampered, http.StatusBadRequest, "The object was changed after it was encrypted, and does not open")
	}
	return s3err.GetAPIError(s3err.ErrInternalError)
}

// publication is an object on its way from a temporary file to its name. The backend tells its attributes; with the last of them
// the object is checked, completed and synced, with the lock of its key held until it has its name.
type publication struct {
	s                    *store
	dir, bucket, key     string
	last                 string // attribute
	ifMatch, ifNoneMatch *string
	finish               func(attrs map[string][]byte) error // changes and adds attributes; it may be nil

	attrs    map[string][]byte
	unlock   func()
	version  string // of the new object; empty in a bucket without versions
	kept     string // path of the version that the new object replaces
	null     string // path of the version that goes when the object was published
	finished bool
}

// collect takes an attribute from the backend.
func (p *publication) collect(f *os.File, name string, value []byte) error {
	if p.attrs == nil {
		p.attrs = map[string][]byte{}
	}
	p.attrs[name] = value
	if name != p.last {
		return nil
	}
	return p.publish(f)
}

func (p *publication) publish(f *os.File) error {
	s := p.s
	p.unlock = s.lock(p.bucket, p.key)
	old, marker, err := s.look(p.dir, p.key)
	exists := err == nil && !marker
	if err != nil && !isAbsent(err) {
		return err
	}
	if p.ifMatch != nil || p.ifNoneMatch != nil {
		etag, err := s.attrs.get(nil, p.dir, p.key, attrETag)
		if err != nil {
			return err
		}
		if err := backend.EvaluateObjectPutPreconditions(string(etag), p.ifMatch, p.ifNoneMatch, exists); err != nil {
			return err
		}
	}
	if p.finish != nil {
		if err := p.finish(p.attrs); err != nil {
			return err
		}
	}
	if p.attrs[attrRetention] == nil {
		b, err := s.defaultRetention(p.dir, s.local.o.Now())
		if err != nil {
			return err
		}
		if b != nil {
			p.attrs[attrRetention] = b
		}
	}
	if err := p.succeed(old); err != nil {
		return err
	}
	if p.version != "" && p.version != nullVersion {
		p.attrs[attrVersion] = []byte(p.version)
	}
	if s.attrs.beside != "" { // those of the old object have the same place
		if err := s.attrs.DeleteAttributes(p.dir, p.key); err != nil {
			return err
		}
	}
	for name, value := range p.attrs {
		if err := s.attrs.store(f, p.dir, p.key, name, value); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	p.finished = true
	return nil
}

// succeed keeps the object that is there, of a version or empty for none, as the bucket wants it, and names the new one's version.
func (p *publication) succeed(old string) error {
	s := p.s
	status := s.versioning(p.bucket)
	if status == "" {
		return nil
	}
	p.version = nullVersion
	if status == types.BucketVersioningStatusEnabled {
		p.version = s.local.newVersion()
	}
	if p.version == nullVersion {
		dir, object := s.archived(p.bucket, p.key)
		p.null = filepath.Join(dir, object, nullVersion)
	}
	if old == "" || old == p.version { // nothing, or what the new one replaces
		return nil
	}
	var err error
	p.kept, err = s.keep(p.dir, p.bucket, p.key, old)
	return err
}

// keep gives the current version of a key its place among the others too. Until something else has the key, it has both.
func (s *store) keep(dir, bucket, key, version string) (string, error) {
	to, object := s.archived(bucket, key)
	object = filepath.Join(object, version)
	path := filepath.Join(to, object)
	since := s.generation()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	live := filepath.Join(dir, key)
	err := os.Link(live, path)
	if errors.Is(err, os.ErrExist) { // left by a crash
		if err = os.Remove(path); err == nil {
			err = os.Link(live, path)
		}
	}
	if err == nil {
		err = s.attrs.move(dir, key, to, object, true)
	}
	if err == nil {
		err = s.settle(path, since)
	}
	if err != nil {
		return "", fmt.Errorf("keep a version: %w", err)
	}
	return path, nil
}

// end is called when the backend is done with the object.
func (p *publication) end(since uint64, err error) error {
	s := p.s
	if p.unlock != nil {
		defer p.unlock()
	}
	live := filepath.Join(p.dir, p.key)
	if err != nil {
		if p.kept != "" && sameFile(live, p.kept) { // it was not replaced
			return errors.Join(err, os.Remove(p.kept))
		}
		return err
	}
	if !p.finished {
		return nil // what was asked for was done before, by a call like this
	}
	if p.null != "" {
		if err := s.drop(p.null); err != nil {
			return err
		}
	}
	return s.settle(live, since)
}

// drop removes a version that is not the current one, if it is there.
func (s *store) drop(path string) error {
	if err := os.Remove(path); err != nil {
		if isAbsent(err) {
			return nil
		}
		return err
	}
	if s.attrs.beside != "" {
		if err := s.attrs.DeleteAttributes(filepath.Dir(path), filepath.Base(path)); err != nil {
			return err
		}
	}
	s.prune(filepath.Dir(path), s.archive)
	return s.settleGone(path)
}

// prune removes folders that are empty, up to one that stays.
func (s *store) prune(dir, stay string) {
	s.forget(dir)
	for len(dir) > len(stay) && os.Remove(dir) == nil {
		dir = filepath.Dir(dir)
	}
}

func sameFile(a, b string) bool {
	x, err := os.Lstat(a)
	if err != nil {
		return false
	}
	y, err := os.Lstat(b)
	return err == nil && os.SameFile(x, y)
}

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

// DeleteObject implements backend.Backend.
func (s *store) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput) (*s3.DeleteObjectOutput, error) {
	bucket, key, version := text(in.Bucket), text(in.Key), text(in.VersionId)
	dir, err := s.root(bucket)
	if err != nil {
		return nil, err
	}
	if version != "" && !goodVersion(version) {
		return nil, s3err.GetInvalidArgumentErr(s3err.InvalidArgVersionId, version)
	}
	if !goodKey(key) {
		return &s3.DeleteObjectOutput{}, nil // nothing has such a key
	}
	status := s.versioning(bucket)
	if strings.HasSuffix(key, "/") {
		defer s.lock(bucket, key)()
		return s.removeFolder(dir, key)
	}
	if status == "" && version == "" {
		return s.remove(ctx, in, dir)
	}
	defer s.lock(bucket, key)()
	if err := s.mayDelete(in, dir, key); err != nil {
		return nil, err
	}
	if version != "" {
		marker, err := s.removeVersion(dir, bucket, key, version)
		if err != nil {
			return nil, err
		}
		return &s3.DeleteObjectOutput{VersionId: &version, DeleteMarker: marker}, nil
	}
	id, err := s.putMarker(dir, bucket, key, status)
	if err != nil {
		return nil, err
	}
	return &s3.DeleteObjectOutput{VersionId: &id, DeleteMarker: ptr(true)}, nil
}

// remove removes an object of a bucket without versions.
func (s *store) remove(ctx context.Context, in *s3.DeleteObjectInput, dir string) (*s3.DeleteObjectOutput, error) {
	key := text(in.Key)
	defer s.lock(text(in.Bucket), key)()
	c := *in
	c.Bucket, c.VersionId = &dir, nil
	path := filepath.Join(dir, key)
	s.forget(filepath.Dir(path))
	out, err := s.Posix.DeleteObject(ctx, &c)
	if err != nil {
		return nil, err
	}
	return out, s.settleGone(path)
}

// removeFolder removes an object whose key ends with a slash, whose lock the caller holds.
func (s *store) removeFolder(dir, key string) (*s3.DeleteObjectOutput, error) {
	path := filepath.Join(dir, key)
	s.forget(path)
	out, err := s.Posix.DeleteObject(context.Background(), &s3.DeleteObjectInput{Bucket: &dir, Key: &key})
	if err != nil {
		return nil, err
	}
	if err := syncFile(path); err != nil && !isAbsent(err) {
		return nil, err
	}
	return out, s.settleGone(path)
}

// mayDelete checks the conditions of a request.
func (s *store) mayDelete(in *s3.DeleteObjectInput, dir, key string) error {
	if in.IfMatch == nil && in.IfMatchLastModifiedTime == nil && in.IfMatchSize == nil {
		return nil
	}
	info, err := os.Lstat(filepath.Join(dir, key))
	if isAbsent(err) {
		return nil
	}
	if err != nil {
		return err
	}
	etag, err := s.attrs.get(nil, dir, key, attrETag)
	if err != nil {
		return err
	}
	size := info.Size()
	if m, err := s.mark(nil, dir, key); err != nil {
		return err
	} else if m != nil {
		if size, err = m.size(size); err != nil {
			return err
		}
	}
	return backend.EvaluateObjectDeletePreconditions(string(etag), info.ModTime(), size, backend.ObjectDeletePreconditions{
		IfMatch: in.IfMatch, IfMatchLastModTime: in.IfMatchLastModifiedTime, IfMatchSize: in.IfMatchSize,
	})
}

// putMarker makes a delete marker the current version of a key, whose lock the caller holds.
func (s *store) putMarker(dir, bucket, key string, status types.BucketVersioningStatus) (string, error) {
	live := filepath.Join(dir, key)
	if info, err := os.Lstat(live); err == nil && info.IsDir() {
		return nullVersion, nil // keys below it are there; one of this name cannot be
	}
	since := s.generation()
	p := &publication{s: s, dir: dir, bucket: bucket, key: key}
	old, _, err := s.look(dir, key)
	if err != nil && !isAbsent(err) {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(live), 0o700); err != nil {
		return nullVersion, nil // a part of its path is an object: no such key can be
	}
	if err := os.MkdirAll(filepath.Join(dir, tmpName), 0o700); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(filepath.Join(dir, tmpName), "marker.")
	if err != nil {
		return "", err
	}
	renamed := false
	defer func() {
		if !renamed {
			_ = os.Remove(f.Name()) // sweep finds it otherwise
		}
	}()
	err = p.succeed(old)
	if err == nil && s.attrs.beside != "" {
		err = s.attrs.DeleteAttributes(dir, key)
	}
	if err == nil {
		err = s.attrs.store(f, dir, key, attrMarker, []byte{})
	}
	if err == nil && p.version != nullVersion {
		err = s.attrs.store(f, dir, key, attrVersion, []byte(p.version))
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), live)
		renamed = err == nil
	}
	p.finished = true
	return p.version, p.end(since, err)
}

// removeVersion removes a version of a key, whose lock the caller holds. It tells whether that was a delete marker; nil when
// there was none.
func (s *store) removeVersion(dir, bucket, key, version string) (*bool, error) {
	live := filepath.Join(dir, key)
	current, marker, err := s.look(dir, key)
	if err != nil && !isAbsent(err) {
		return nil, err
	}
	to, object := s.archived(bucket, key)
	path := filepath.Join(to, object, version)
	if current != version {
		_, marker, err := s.look(filepath.Join(to, object), version)
		if isAbsent(err) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &marker, s.drop(path)
	}
	if err := s.drop(path); err != nil { // a crash may have left it there too
		return nil, err
	}
	others, err := s.versions(bucket, key)
	if err != nil {
		return nil, err
	}
	if len(others) == 0 {
		s.forget(filepath.Dir(live))
		if err := os.Remove(live); err != nil {
			return nil, err
		}
		if s.attrs.beside != "" {
			if err := s.attrs.DeleteAttributes(dir, key); err != nil {
				return nil, err
			}
		}
		s.pruneKeys(dir, key)
		return &marker, s.settleGone(live)
	}
	// The newest of the others takes its place in one step, and its attributes go with it.
	next := filepath.Join(to, object, others[0])
	if s.attrs.beside != "" {
		if err := s.attrs.DeleteAttributes(dir, key); err != nil {
			return nil, err
		}
		if err := s.attrs.move(to, filepath.Join(object, others[0]), dir, key, false); err != nil {
			return nil, err
		}
	}
	if err := os.Rename(next, live); err != nil {
		return nil, err
	}
	s.prune(filepath.Dir(next), s.archive)
	return &marker, errors.Join(durable.SyncDir(filepath.Dir(live)), s.settleGone(next))
}

// pruneKeys removes folders that only led to a key.
func (s *store) pruneKeys(dir, key string) {
	for at := filepath.Dir(key); at != "."; at = filepath.Dir(at) {
		if etag, err := s.attrs.get(nil, dir, at, attrETag); err != nil || etag != nil {
			return // it is an object itself
		}
		if os.Remove(filepath.Join(dir, at)) != nil {
			return
		}
	}
}

// DeleteObjects implements backend.Backend.
func (s *store) DeleteObjects(ctx context.Context, in *s3.DeleteObjectsInput) (res s3response.DeleteResult, err error) {
	if _, err := s.root(text(in.Bucket)); err != nil {
		return res, err
	}
	for _, o := range in.Delete.Objects {
		out, err := s.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: in.Bucket, Key: o.Key, VersionId: o.VersionId, IfMatch: o.ETag, IfMatchSize: o.Size, IfMatchLastModifiedTime: o.LastModifiedTime})
		if err != nil {
			res.Error = append(res.Error, s3err.ObjectDeleteError(o.Key, o.VersionId, err))
			continue
		}
		d := types.DeletedObject{Key: o.Key, VersionId: o.VersionId, DeleteMarker: out.DeleteMarker}
		if out.DeleteMarker != nil && *out.DeleteMarker {
			d.DeleteMarkerVersionId = out.VersionId
		}
		res.Deleted = append(res.Deleted, d)
	}
	return res, nil
}

// CopyObject implements backend.Backend.
func (s *store) CopyObject(ctx context.Context, in s3response.CopyObjectInput) (out s3response.CopyObjectOutput, err error) {
	fromBucket, fromKey, fromVersion, err := backend.ParseCopySource(text(in.CopySource))
	if err != nil {
		return out, err
	}
	if in.ExpectedSourceBucketOwner != nil && *in.ExpectedSourceBucketOwner != "" && *in.ExpectedSourceBucketOwner != s.local.config(fromBucket).Account {
		return out, s3err.GetAPIError(s3err.ErrAccessDenied)
	}
	bucket, key := text(in.Bucket), text(in.Key)
	_, resealed := in.Metadata[metaSealing]
	if fromBucket == bucket && fromKey == key && fromVersion == "" && in.MetadataDirective != types.MetadataDirectiveReplace && !resealed {
		return out, s3err.GetAPIError(s3err.ErrInvalidCopyDest)
	}
	how, metadata, err := s.sealingOf(bucket, key, in.Metadata)
	if err != nil {
		return out, err
	}
	src, err := s.get(ctx, &s3.GetObjectInput{Bucket: &fromBucket, Key: &fromKey, VersionId: &fromVersion, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return out, s.forGateway(err)
	}
	defer func() {
		if src.Body != nil {
			err = errors.Join(err, src.Body.Close())
		}
	}()
	if *src.ContentLength > maxCopy {
		return out, s3err.GetCopySourceObjectTooLargeErr(maxCopy)
	}
	if err := backend.EvaluatePreconditions(text(src.ETag), *src.LastModified, backend.PreConditions{
		IfMatch: in.CopySourceIfMatch, IfNoneMatch: in.CopySourceIfNoneMatch, IfModSince: in.CopySourceIfModifiedSince, IfUnmodeSince: in.CopySourceIfUnmodifiedSince,
	}); err != nil {
		return out, err
	}
	to := s3response.PutObjectInput{
		Bucket: &bucket, Key: &key, ContentLength: src.ContentLength, ChecksumAlgorithm: in.ChecksumAlgorithm,
		ContentType: in.ContentType, ContentEncoding: in.ContentEncoding, ContentDisposition: in.ContentDisposition, ContentLanguage: in.ContentLanguage,
		CacheControl: in.CacheControl, Expires: in.Expires, WebsiteRedirectLocation: in.WebsiteRedirectLocation, Metadata: metadata,
		ObjectLockRetainUntilDate: in.ObjectLockRetainUntilDate, ObjectLockMode: in.ObjectLockMode, ObjectLockLegalHoldStatus: in.ObjectLockLegalHoldStatus,
	}
	if src.Body != nil {
		to.Body = src.Body
	}
	if to.ChecksumAlgorithm == "" {
		to.ChecksumAlgorithm = algorithmOf(src)
	}
	if in.MetadataDirective != types.MetadataDirectiveReplace {
		to.ContentType, to.ContentEncoding, to.ContentDisposition, to.ContentLanguage = src.ContentType, src.ContentEncoding, src.ContentDisposition, src.ContentLanguage
		to.CacheControl, to.Expires, to.Metadata = src.CacheControl, src.ExpiresString, src.Metadata
	}
	if in.TaggingDirective == types.TaggingDirectiveReplace {
		to.Tagging = in.Tagging
	} else if tags, err := s.GetObjectTagging(ctx, fromBucket, fromKey, fromVersion); err == nil {
		to.Tagging = ptr(encodeTags(tags))
	} else {
		return out, s.forGateway(err)
	}
	res, err := s.put(ctx, to, how)
	if err != nil {
		return out, s.forGateway(err)
	}
	info, err := os.Stat(filepath.Join(s.buckets, bucket, key))
	made := s.local.o.Now()
	if err == nil {
		made = info.ModTime()
	}
	return s3response.CopyObjectOutput{
		VersionId: &res.VersionID, CopySourceVersionId: src.VersionId,
		CopyObjectResult: &s3response.CopyObjectResult{
			ETag: &res.ETag, LastModified: &made, ChecksumType: res.ChecksumType,
			ChecksumCRC32: res.ChecksumCRC32, ChecksumCRC32C: res.ChecksumCRC32C, ChecksumSHA1: res.ChecksumSHA1, ChecksumSHA256: res.ChecksumSHA256,
			ChecksumCRC64NVME: res.ChecksumCRC64NVME, ChecksumSHA512: res.ChecksumSHA512, ChecksumMD5: res.ChecksumMD5,
			ChecksumXXHASH64: res.ChecksumXXHASH64, ChecksumXXHASH3: res.ChecksumXXHASH3, ChecksumXXHASH128: res.ChecksumXXHASH128,
		},
	}, nil
}

// algorithmOf is that of the checksum of an object, or empty.
func algorithmOf(o *s3.GetObjectOutput) types.ChecksumAlgorithm {
	a, _ := theChecksum(s3response.Checksum{
		CRC32: o.ChecksumCRC32, CRC32C: o.ChecksumCRC32C, SHA1: o.ChecksumSHA1, SHA256: o.ChecksumSHA256, CRC64NVME: o.ChecksumCRC64NVME,
		SHA512: o.ChecksumSHA512, MD5: o.ChecksumMD5, XXHASH64: o.ChecksumXXHASH64, XXHASH3: o.ChecksumXXHASH3, XXHASH128: o.ChecksumXXHASH128,
	})
	return a
}
