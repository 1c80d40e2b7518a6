package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/oklog/ulid/v2"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// versionsOf is the object of the backend below which the versions of a key lie that are not the current one.
func versionsOf(key string) string {
	sum := sha256.Sum256([]byte(key))
	h := hex.EncodeToString(sum[:])
	return filepath.Join(h[:2], h[2:4], h)
}

func goodVersion(id string) bool {
	_, err := ulid.ParseStrict(id)
	return id == nullVersion || err == nil
}

// encodeTags gives tags as a header has them.
func encodeTags(tags map[string]string) string {
	v := url.Values{}
	for k, t := range tags {
		v.Set(k, t)
	}
	return v.Encode()
}

// versions are the ids of the versions of a key that are not the current one, newest first. The folder may have the current one
// too, after a crash.
func (s *store) versions(bucket, key string) ([]string, error) {
	dir, object := s.archived(bucket, key)
	names, err := os.ReadDir(filepath.Join(dir, object))
	if isAbsent(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	type version struct {
		id   string
		made time.Time
	}
	var list []version
	for _, n := range names {
		if !goodVersion(n.Name()) {
			continue
		}
		v := version{id: n.Name()}
		if id, err := ulid.ParseStrict(v.id); err == nil {
			v.made = ulid.Time(id.Time())
		} else if info, err := n.Info(); err == nil {
			v.made = info.ModTime()
		} else {
			continue
		}
		list = append(list, v)
	}
	slices.SortFunc(list, func(a, b version) int {
		if c := b.made.Compare(a.made); c != 0 {
			return c
		}
		return strings.Compare(b.id, a.id)
	})
	ids := make([]string, len(list))
	for i, v := range list {
		ids[i] = v.id
	}
	return ids, nil
}

// GetObject implements backend.Backend.
func (s *store) GetObject(ctx context.Context, in *s3.GetObjectInput) (*s3.GetObjectOutput, error) {
	out, err := s.get(ctx, in)
	return out, s.forGateway(err)
}

func (s *store) get(ctx context.Context, in *s3.GetObjectInput) (_ *s3.GetObjectOutput, err error) {
	bucket, key, version := text(in.Bucket), text(in.Key), text(in.VersionId)
	p, err := s.locate(bucket, key, version)
	if err != nil {
		return nil, err
	}
	if p.marker {
		return &s3.GetObjectOutput{DeleteMarker: ptr(true), VersionId: s.shown(bucket, p.version)}, ofMarker(version)
	}
	c := *in
	c.Bucket, c.Key, c.VersionId, c.Range, c.PartNumber = &p.dir, &p.object, nil, ptr(""), nil
	out, err := s.Posix.GetObject(ctx, &c)
	if err != nil {
		if out != nil && out.Body != nil {
			err = errors.Join(err, out.Body.Close())
		}
		return nil, err
	}
	out.VersionId = s.shown(bucket, p.version)
	f, ok := out.Body.(*os.File)
	if !ok {
		return out, nil // a folder
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	// What was opened may be newer than what was looked at.
	if etag, err := s.attrs.get(f, p.dir, p.object, attrETag); err != nil {
		return nil, err
	} else if len(etag) > 0 {
		out.ETag = ptr(string(etag))
	}
	if s.attrs.beside == "" {
		if m, err := s.attrs.get(f, p.dir, p.object, attrMarker); err != nil {
			return nil, err
		} else if m != nil {
			return nil, ofMarker(version)
		}
	}
	size := *out.ContentLength
	mark, err := s.mark(f, p.dir, p.object)
	if err != nil {
		return nil, err
	}
	var clear *opened
	if mark != nil {
		if clear, err = openSealed(ctx, s.keys, f, size); err != nil {
			return nil, ofKeys(err)
		}
		size = clear.size
	}
	r, err := s.span(f, p, size, text(in.Range), in.PartNumber)
	if err != nil {
		return nil, err
	}
	out.ContentLength, out.ContentRange, out.PartsCount = &r.n, r.header, r.parts
	if r.n != size {
		out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumSHA1, out.ChecksumSHA256, out.ChecksumCRC64NVME = nil, nil, nil, nil, nil
		out.ChecksumSHA512, out.ChecksumMD5, out.ChecksumXXHASH64, out.ChecksumXXHASH3, out.ChecksumXXHASH128, out.ChecksumType = nil, nil, nil, nil, nil, ""
	}
	switch {
	case clear != nil:
		out.Body = body{clear.read(r.from, r.n), f}
		out.SSEKMSKeyId = &clear.head.Key
	case r.n != size:
		out.Body = body{io.NewSectionReader(f, r.from, r.n), f}
	}
	return out, nil
}

// body is what is read of a file.
type body struct {
	io.Reader
	io.Closer
}

// ofMarker is what is answered instead of a delete marker's content.
func ofMarker(version string) error {
	if version == "" {
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	return s3err.GetAPIError(s3err.ErrMethodNotAllowed)
}

// extent is a part of an object's content.
type extent struct {
	from, n int64
	header  *string // Content-Range
	parts   *int32
}

// span finds what a range, or the number of a part, means.
func (s *store) span(f *os.File, p place, size int64, ranges string, part *int32) (e extent, err error) {
	if part == nil {
		from, n, ok, err := backend.ParseObjectRange(size, ranges)
		if err != nil {
			return e, err
		}
		e.from, e.n = from, n
		if ok {
			e.header = ptr(fmt.Sprintf("bytes %d-%d/%d", from, from+n-1, size))
		}
		return e, nil
	}
	e.n = size
	b, err := s.attrs.get(f, p.dir, p.object, attrParts)
	if err != nil {
		return e, err
	}
	ends := []int64{size}
	if b != nil {
		m, err := backend.UnmarshalMpUploadMetadata(b, false)
		if err != nil {
			return e, err
		}
		ends = m.Parts
		e.parts = ptr(int32(len(ends)))
	}
	if *part < 1 || int(*part) > len(ends) {
		return e, s3err.GetInvalidPartNumberRangeErr(int32(len(ends)), *part)
	}
	if *part > 1 {
		e.from = ends[*part-2]
	}
	e.n = ends[*part-1] - e.from
	if e.from < 0 || e.n < 0 || e.from+e.n > size {
		return e, fmt.Errorf("the parts of an object do not fit its size of %d bytes", size)
	}
	if size > 0 {
		e.header = ptr(fmt.Sprintf("bytes %d-%d/%d", e.from, e.from+e.n-1, size))
	}
	return e, nil
}

// HeadObject implements backend.Backend.
func (s *store) HeadObject(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, error) {
	out, _, err := s.head(ctx, in)
	return out, s.forGateway(err)
}

// head tells of an object, and where it is.
func (s *store) head(ctx context.Context, in *s3.HeadObjectInput) (*s3.HeadObjectOutput, place, error) {
	bucket, key, version := text(in.Bucket), text(in.Key), text(in.VersionId)
	p, err := s.locate(bucket, key, version)
	if err != nil {
		return nil, p, err
	}
	if p.marker {
		return &s3.HeadObjectOutput{DeleteMarker: ptr(true), VersionId: s.shown(bucket, p.version)}, p, ofMarker(version)
	}
	c := *in
	c.Bucket, c.Key, c.VersionId, c.Range, c.PartNumber = &p.dir, &p.object, nil, nil, nil
	out, err := s.Posix.HeadObject(ctx, &c)
	if err != nil {
		return nil, p, err
	}
	out.VersionId = s.shown(bucket, p.version)
	size := *out.ContentLength
	mark, err := s.mark(nil, p.dir, p.object)
	if err != nil {
		return nil, p, err
	}
	if mark != nil {
		if size, err = mark.size(size); err != nil {
			return nil, p, err
		}
		out.SSEKMSKeyId = &mark.Key
	}
	r, err := s.span(nil, p, size, text(in.Range), in.PartNumber)
	if err != nil {
		return nil, p, err
	}
	out.ContentLength, out.ContentRange, out.PartsCount = &r.n, r.header, r.parts
	if r.n != size {
		out.ChecksumCRC32, out.ChecksumCRC32C, out.ChecksumSHA1, out.ChecksumSHA256, out.ChecksumCRC64NVME = nil, nil, nil, nil, nil
		out.ChecksumSHA512, out.ChecksumMD5, out.ChecksumXXHASH64, out.ChecksumXXHASH3, out.ChecksumXXHASH128, out.ChecksumType = nil, nil, nil, nil, nil, ""
	}
	hold, err := s.attrs.get(nil, p.dir, p.object, attrHold)
	if err != nil {
		return nil, p, err
	}
	if len(hold) > 0 {
		out.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOff
		if hold[0] == 1 {
			out.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOn
		}
	}
	b, err := s.attrs.get(nil, p.dir, p.object, attrRetention)
	if err != nil {
		return nil, p, err
	}
	if b != nil {
		var ret types.ObjectLockRetention
		if err := json.Unmarshal(b, &ret); err != nil {
			return nil, p, fmt.Errorf("read the retention of an object: %w", err)
		}
		out.ObjectLockMode, out.ObjectLockRetainUntilDate = types.ObjectLockMode(ret.Mode), ret.RetainUntilDate
	}
	return out, p, nil
}

// GetObjectAttributes implements backend.Backend.
func (s *store) GetObjectAttributes(ctx context.Context, in *s3.GetObjectAttributesInput) (s3response.GetObjectAttributesResponse, error) {
	h, err := s.HeadObject(ctx, &s3.HeadObjectInput{Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		if h != nil {
			return s3response.GetObjectAttributesResponse{DeleteMarker: h.DeleteMarker, VersionId: h.VersionId}, s3err.GetAPIError(s3err.ErrNoSuchKey)
		}
		return s3response.GetObjectAttributesResponse{}, err
	}
	return s3response.GetObjectAttributesResponse{
		ETag: backend.TrimEtag(h.ETag), ObjectSize: h.ContentLength, StorageClass: h.StorageClass, LastModified: h.LastModified, VersionId: h.VersionId,
		Checksum: &types.Checksum{
			ChecksumCRC32: h.ChecksumCRC32, ChecksumCRC32C: h.ChecksumCRC32C, ChecksumSHA1: h.ChecksumSHA1, ChecksumSHA256: h.ChecksumSHA256,
			ChecksumCRC64NVME: h.ChecksumCRC64NVME, ChecksumSHA512: h.ChecksumSHA512, ChecksumMD5: h.ChecksumMD5,
			ChecksumXXHASH64: h.ChecksumXXHASH64, ChecksumXXHASH3: h.ChecksumXXHASH3, ChecksumXXHASH128: h.ChecksumXXHASH128, ChecksumType: h.ChecksumType,
		},
	}, nil
}

// GetObjectAcl implements backend.Backend. Objects have none of their own.
func (s *store) GetObjectAcl(context.Context, *s3.GetObjectAclInput) (*s3.GetObjectAclOutput, error) {
	return nil, s3err.GetAPIError(s3err.ErrNotImplemented)
}

// entries gives the objects of a list, with the sizes of their content.
func (s *store) entries(dir string, owner bool) backend.GetObjFunc {
	of := s.Posix.FileToObj(dir, owner)
	return func(path string, d fs.DirEntry) (s3response.Object, error) {
		if !d.IsDir() && !d.Type().IsRegular() {
			return s3response.Object{}, backend.ErrSkipObj
		}
		o, err := of(path, d)
		if err != nil || d.IsDir() {
			return o, err
		}
		m, err := s.mark(nil, dir, path)
		if err != nil {
			return o, err
		}
		if m != nil {
			size, err := m.size(*o.Size)
			if err != nil {
				return o, fmt.Errorf("object %q: %w", path, err)
			}
			o.Size = &size
		}
		return o, nil
	}
}

// ListObjects implements backend.Backend.
func (s *store) ListObjects(ctx context.Context, in *s3.ListObjectsInput) (s3response.ListObjectsResult, error) {
	dir, err := s.root(text(in.Bucket))
	if err != nil {
		return s3response.ListObjectsResult{}, err
	}
	c := *in
	c.Bucket = &dir
	res, err := s.ListObjectsParametrized(ctx, &c, s.entries)
	res.Name = in.Bucket
	return res, err
}

// ListObjectsV2 implements backend.Backend.
func (s *store) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input) (s3response.ListObjectsV2Result, error) {
	dir, err := s.root(text(in.Bucket))
	if err != nil {
		return s3response.ListObjectsV2Result{}, err
	}
	c := *in
	c.Bucket = &dir
	if c.StartAfter == nil {
		c.StartAfter = ptr("")
	}
	if c.ContinuationToken == nil {
		c.ContinuationToken = ptr("")
	}
	res, err := s.ListObjectsV2Parametrized(ctx, &c, s.entries)
	res.Name = in.Bucket
	return res, err
}

// ListObjectVersions implements backend.Backend.
func (s *store) ListObjectVersions(ctx context.Context, in *s3.ListObjectVersionsInput) (res s3response.ListVersionsResult, err error) {
	bucket := text(in.Bucket)
	dir, err := s.root(bucket)
	if err != nil {
		return res, err
	}
	most := maxList
	if in.MaxKeys != nil {
		most = int(*in.MaxKeys)
	}
	res = s3response.ListVersionsResult{
		Delimiter: ptr(text(in.Delimiter)), KeyMarker: ptr(text(in.KeyMarker)), MaxKeys: ptr(int32(most)), Name: in.Bucket, Prefix: ptr(text(in.Prefix)),
		VersionIdMarker: ptr(text(in.VersionIdMarker)), IsTruncated: ptr(false), NextKeyMarker: ptr(""), NextVersionIdMarker: ptr(""),
	}
	if most <= 0 {
		return res, nil
	}
	// Keys come from the same walk as those of objects; of each key all versions are looked at.
	l := &versionList{store: s, bucket: bucket, most: most, res: &res, afterKey: text(in.KeyMarker), afterVersion: text(in.VersionIdMarker)}
	marker := l.afterKey
	if l.afterVersion != "" && marker != "" {
		marker = before(marker)
	}
	for {
		w, err := backend.Walk(ctx, os.DirFS(dir), text(in.Prefix), text(in.Delimiter), marker, maxList, keysOf(s, dir), []string{tmpName})
		if err != nil {
			return res, fmt.Errorf("list versions: %w", err)
		}
		if done, err := l.add(dir, w); done || err != nil {
			return res, err
		}
		if !w.Truncated {
			return res, nil
		}
		marker = w.NextMarker
	}
}

// before is a text that sorts before key, and after everything of the form of a key that does.
func before(key string) string {
	last := len(key) - 1
	return key[:last] + string([]byte{key[last] - 1, 0xff})
}

// keysOf gives the keys that have versions, also those whose current one is a delete marker.
func keysOf(s *store, dir string) backend.GetObjFunc {
	return func(path string, d fs.DirEntry) (s3response.Object, error) {
		if d.IsDir() {
			etag, err := s.attrs.get(nil, dir, path, attrETag)
			if err != nil {
				return s3response.Object{}, err
			}
			if etag == nil {
				return s3response.Object{}, backend.ErrSkipObj
			}
			return s3response.Object{Key: &path, ETag: ptr(string(etag))}, nil
		}
		if !d.Type().IsRegular() {
			return s3response.Object{}, backend.ErrSkipObj
		}
		return s3response.Object{Key: &path}, nil
	}
}

// versionList is a list of versions that is being made.
type versionList struct {
	store                  *store
	bucket                 string
	most                   int
	res                    *s3response.ListVersionsResult
	afterKey, afterVersion string
	lastKey, lastVersion   string
}

func (l *versionList) full() bool {
	if len(l.res.Versions)+len(l.res.DeleteMarkers)+len(l.res.CommonPrefixes) < l.most {
		return false
	}
	l.res.IsTruncated, l.res.NextKeyMarker, l.res.NextVersionIdMarker = ptr(true), &l.lastKey, &l.lastVersion
	return true
}

// add adds keys and common prefixes in their order; done says that the list is full.
func (l *versionList) add(dir string, w backend.WalkResults) (done bool, err error) {
	prefixes := w.CommonPrefixes
	for _, o := range w.Objects {
		for len(prefixes) > 0 && *prefixes[0].Prefix < *o.Key {
			if l.prefix(prefixes[0]) {
				return true, nil
			}
			prefixes = prefixes[1:]
		}
		if done, err := l.key(dir, o); done || err != nil {
			return done, err
		}
	}
	for _, p := range prefixes {
		if l.prefix(p) {
			return true, nil
		}
	}
	return false, nil
}

func (l *versionList) prefix(p types.CommonPrefix) (done bool) {
	if *p.Prefix <= l.afterKey {
		return false
	}
	if l.full() {
		return true
	}
	l.res.CommonPrefixes = append(l.res.CommonPrefixes, p)
	l.lastKey, l.lastVersion = *p.Prefix, ""
	return false
}

// key adds the versions of a key.
func (l *versionList) key(dir string, o s3response.Object) (done bool, err error) {
	key := *o.Key
	if key < l.afterKey || key == l.afterKey && l.afterVersion == "" {
		return false, nil
	}
	all, err := l.store.history(dir, l.bucket, key)
	if err != nil {
		return false, err
	}
	skip := key == l.afterKey
	for i, v := range all {
		if skip {
			skip = v.place.version != l.afterVersion
			continue
		}
		if l.full() {
			return true, nil
		}
		l.lastKey, l.lastVersion = key, v.place.version
		if v.place.marker {
			l.res.DeleteMarkers = append(l.res.DeleteMarkers, types.DeleteMarkerEntry{Key: &key, VersionId: &v.place.version, LastModified: &v.made, IsLatest: ptr(i == 0)})
			continue
		}
		checks := []types.ChecksumAlgorithm{}
		if v.sum.Algorithm != "" {
			checks = append(checks, v.sum.Algorithm)
		}
		l.res.Versions = append(l.res.Versions, s3response.ObjectVersion{
			Key: &key, VersionId: &v.place.version, LastModified: &v.made, IsLatest: ptr(i == 0), Size: &v.size, ETag: &v.etag,
			StorageClass: types.ObjectVersionStorageClassStandard, ChecksumAlgorithm: checks, ChecksumType: v.sum.Type,
		})
	}
	return false, nil
}

// versionInfo is what is known of a version.
type versionInfo struct {
	place place
	made  time.Time
	size  int64
	etag  string
	sum   s3response.Checksum
}

// history is the versions of a key, newest first. The first is the current one.
func (s *store) history(dir, bucket, key string) ([]versionInfo, error) {
	if strings.HasSuffix(key, "/") {
		info, err := os.Stat(filepath.Join(dir, key))
		if err != nil {
			return nil, nilIf(isAbsent, err)
		}
		etag, err := s.attrs.get(nil, dir, key, attrETag)
		return []versionInfo{{place: place{dir: dir, object: key, version: nullVersion}, made: info.ModTime(), etag: string(etag)}}, err
	}
	version, marker, err := s.look(dir, key)
	if err != nil {
		return nil, nilIf(isAbsent, err)
	}
	places := []place{{dir, key, version, marker}}
	others, err := s.versions(bucket, key)
	if err != nil {
		return nil, err
	}
	to, object := s.archived(bucket, key)
	for _, id := range others {
		if id == version {
			continue
		}
		at := filepath.Join(object, id)
		_, marker, err := s.look(to, at)
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		places = append(places, place{to, at, id, marker})
	}
	var list []versionInfo
	for _, p := range places {
		v, err := s.info(p)
		if isAbsent(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

func nilIf(is func(error) bool, err error) error {
	if is(err) {
		return nil
	}
	return err
}

// info reads what is known of a version.
func (s *store) info(p place) (v versionInfo, err error) {
	v.place = p
	info, err := os.Stat(p.path())
	if err != nil {
		return v, err
	}
	v.made, v.size = info.ModTime(), info.Size()
	etag, err := s.attrs.get(nil, p.dir, p.object, attrETag)
	if err != nil {
		return v, err
	}
	v.etag = string(etag)
	m, err := s.mark(nil, p.dir, p.object)
	if err != nil {
		return v, err
	}
	if m != nil {
		if v.size, err = m.size(v.size); err != nil {
			return v, err
		}
	}
	v.sum, _, err = s.checksums(p.dir, p.object)
	return v, err
}
