package blob

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"spoor/internal/durable"
)

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
