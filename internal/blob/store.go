package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"spoor/internal/durable"
)

const (
	nullVersion = "null"
	maxKey      = 1024
	maxName     = 255 // of a file
	stripes     = 256
	tmpName     = posix.MetaTmpDir // folder in a bucket, of what is being written
	maxKnown    = 1 << 16
)

// bucketForm is what names of buckets look like; see also [goodBucket].
var bucketForm = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)

func goodBucket(name string) bool {
	return bucketForm.MatchString(name) && !strings.Contains(name, "..")
}

// store is the gateway's backend: the one over folders that it brings along, which is given the whole path of a bucket's folder
// for its name, so that it does not depend on where the process is. What that backend does in more than one step, or does not
// sync, is done here: publishing, versions, deletion, attributes of locked and tagged objects, and sealing.
type store struct {
	*posix.Posix
	plain *posix.Posix // that does not hash what it stores, for sealed objects

	files
	local *Local

	locks [stripes]sync.Mutex // of keys: who publishes or removes one holds its lock

	mu    sync.Mutex          // guards what follows
	known map[string]struct{} // folders whose names are durable
	gone  uint64              // how often some were forgotten

	sealings sync.Map // token to *sealing, of requests on their way through the gateway
}

func newStore(l *Local, dir string) (*store, error) {
	s := &store{files: filesOf(dir, l.o.Keys, l.config), local: l, known: map[string]struct{}{}}
	for _, d := range []string{s.buckets, s.archive} {
		if err := durable.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	var err error
	if s.attrs, err = openAttributes(dir, s.buckets, s.archive); err != nil {
		return nil, err
	}
	o := posix.PosixOpts{DefaultEtag: "none", CopyObjectThreshold: maxCopy, ForceNoTmpFile: true, ForceNoObjLockFile: true, IOBufferSize: 256 << 10}
	o.SetNewDirPerm(0o700)
	o.SetNewFilePerm(0o600)
	// Of the folder that is named here it only wants to make it the process's; it is that already.
	if s.Posix, err = posix.New(".", s.attrs, o); err != nil {
		return nil, err
	}
	o.DataIntegrityEtag = true
	if s.plain, err = posix.New(".", s.attrs, o); err != nil {
		return nil, err
	}
	return s, s.sweep()
}

// sweep removes what a crash left of objects that were being written.
func (s *store) sweep() error {
	names, err := os.ReadDir(s.buckets)
	if err != nil {
		return err
	}
	for _, n := range names {
		tmp := filepath.Join(s.buckets, n.Name(), tmpName)
		uploads := filepath.Join(s.buckets, n.Name(), posix.MetaTmpMultipartDir)
		keys, err := filepath.Glob(filepath.Join(globbed(uploads), "*"))
		if err != nil {
			return err
		}
		for _, dir := range append(keys, tmp) { // parts that were being received lie beside the folders of their uploads
			if err := removeFiles(dir); err != nil {
				return err
			}
		}
		if err := resume(uploads); err != nil {
			return err
		}
	}
	return nil
}

// removeFiles removes the files of a folder, and leaves the folders in it.
func removeFiles(dir string) error {
	left, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, f := range left {
		if f.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// resume gives uploads their names back that were being completed.
func resume(dir string) error {
	busy, err := filepath.Glob(filepath.Join(globbed(dir), "*", "*.inprogress"))
	if err != nil {
		return err
	}
	for _, path := range busy {
		id, _, _ := strings.Cut(filepath.Base(path), ".")
		if err := os.Rename(path, filepath.Join(filepath.Dir(path), id)); err != nil {
			return err
		}
	}
	return nil
}

// globbed is a path as a pattern that matches itself.
func globbed(path string) string {
	return strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]").Replace(path)
}

// Shutdown implements backend.Backend. The store ends with [Local.Close].
func (s *store) Shutdown() {}

func (s *store) close() {
	s.Posix.Shutdown()
	s.plain.Shutdown()
}

func ptr[T any](v T) *T { return &v }

func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

func refused(code string, status int, format string, a ...any) error {
	return s3err.APIError{Code: code, Description: fmt.Sprintf(format, a...), HTTPStatusCode: status}
}

func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// goodKey reports whether a key is one of an object that can be here: a file with that path.
func goodKey(key string) bool {
	if key == "" || len(key) > maxKey || !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return false
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(key, "/"), "/") {
		if part == "" || part == "." || part == ".." || part == tmpName || len(part) > maxName || filepath.Separator != '/' && strings.ContainsAny(part, `\:`) {
			return false
		}
	}
	return true
}

func checkKey(key string) error {
	if len(key) > maxKey {
		return s3err.GetKeyTooLongErr(int64(len(key)), maxKey)
	}
	if !goodKey(key) {
		return refused("InvalidArgument", http.StatusBadRequest, "Keys of this storage are paths: names of up to %d bytes between single slashes, none of them . or .. or %s", maxName, tmpName)
	}
	return nil
}

// lock waits for the right to publish or remove a key.
func (s *store) lock(bucket, key string) (unlock func()) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(bucket + "/" + key)) // never fails
	m := &s.locks[h.Sum32()%stripes]
	m.Lock()
	return m.Unlock
}

// generation is a point in time for [store.settle].
func (s *store) generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.gone
}

// settle makes the name of a file durable, and those of the folders above it that are not known to be.
func (s *store) settle(path string, since uint64) error {
	dir := filepath.Dir(path)
	if err := durable.SyncDir(dir); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // somebody removed it again
		}
		return err
	}
	top := filepath.Dir(s.buckets)
	for at := dir; len(at) > len(top); at = filepath.Dir(at) {
		s.mu.Lock()
		_, ok := s.known[at]
		s.mu.Unlock()
		if ok {
			break
		}
		if err := durable.SyncDir(filepath.Dir(at)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone != since {
		return nil // one of them may have been made anew meanwhile
	}
	if len(s.known) > maxKnown {
		clear(s.known)
	}
	for at := dir; len(at) > len(top); at = filepath.Dir(at) {
		if _, ok := s.known[at]; ok {
			break
		}
		s.known[at] = struct{}{}
	}
	return nil
}

// forget is called before folders may vanish, and after.
func (s *store) forget(dir string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone++
	top := filepath.Dir(s.buckets)
	for ; len(dir) > len(top); dir = filepath.Dir(dir) {
		delete(s.known, dir)
	}
}

// settleGone makes it durable that the file path is gone, and folders above it that became empty.
func (s *store) settleGone(path string) error {
	dir := filepath.Dir(path)
	s.forget(dir)
	for {
		err := durable.SyncDir(dir)
		if !isAbsent(err) || len(dir) <= len(s.buckets) {
			return err
		}
		dir = filepath.Dir(dir)
	}
}

// syncAttributes makes changed attributes of a file or folder durable.
func (s *store) syncAttributes(path string) error {
	if s.attrs.beside != "" {
		return nil // they are
	}
	return syncFile(path)
}

// bucket runs fn on the folder of a bucket, whose attributes it changes.
func (s *store) bucket(bucket string, change bool, fn func(dir string) error) error {
	dir, err := s.root(bucket)
	if err != nil {
		return err
	}
	if err := fn(dir); err != nil || !change {
		return err
	}
	return s.syncAttributes(dir)
}

// String implements backend.Backend.
func (s *store) String() string { return "spoor" }

// NormalizeObjectKey implements backend.Backend.
func (s *store) NormalizeObjectKey(_, object string) string { return object }

// HeadBucket implements backend.Backend.
func (s *store) HeadBucket(_ context.Context, in *s3.HeadBucketInput) (*s3.HeadBucketOutput, error) {
	_, err := s.root(text(in.Bucket))
	return &s3.HeadBucketOutput{}, err
}

// ListBuckets implements backend.Backend.
func (s *store) ListBuckets(ctx context.Context, in s3response.ListBucketsInput) (s3response.ListAllMyBucketsResult, error) {
	all, err := s.local.Buckets(ctx, "")
	if err != nil {
		return s3response.ListAllMyBucketsResult{}, err
	}
	res := s3response.ListAllMyBucketsResult{Owner: s3response.CanonicalUser{ID: in.Owner}, Prefix: in.Prefix}
	for _, b := range all {
		if !strings.HasPrefix(b.Name, in.Prefix) || b.Name <= in.ContinuationToken {
			continue
		}
		if in.MaxBuckets > 0 && len(res.Buckets.Bucket) == int(in.MaxBuckets) {
			res.ContinuationToken = res.Buckets.Bucket[len(res.Buckets.Bucket)-1].Name
			break
		}
		res.Buckets.Bucket = append(res.Buckets.Bucket, s3response.ListAllMyBucketsEntry{Name: b.Name, CreationDate: b.Created})
	}
	return res, nil
}

// ListBucketsAndOwners implements backend.Backend.
func (s *store) ListBucketsAndOwners(ctx context.Context) (list []s3response.Bucket, err error) {
	all, err := s.local.Buckets(ctx, "")
	for _, b := range all {
		list = append(list, s3response.Bucket{Name: b.Name, Owner: b.Account})
	}
	return list, err
}

// ChangeBucketOwner implements backend.Backend.
func (s *store) ChangeBucketOwner(context.Context, string, string) error {
	return s3err.GetAPIError(s3err.ErrNotImplemented)
}

// CreateBucket implements backend.Backend.
func (s *store) CreateBucket(ctx context.Context, in *s3.CreateBucketInput, _ []byte) error {
	_, err := s.local.CreateBucket(ctx, BucketSpec{
		Name: text(in.Bucket), Ownership: string(in.ObjectOwnership), ObjectLock: in.ObjectLockEnabledForBucket != nil && *in.ObjectLockEnabledForBucket,
	})
	return s.forGateway(err)
}

// DeleteBucket implements backend.Backend.
func (s *store) DeleteBucket(ctx context.Context, bucket string) error {
	_, err := s.local.DeleteBucket(ctx, bucket)
	return s.forGateway(err)
}

// make makes the folder of a bucket.
func (s *store) make(ctx context.Context, spec BucketSpec) error {
	acl, err := json.Marshal(ownerACL(spec.Account))
	if err != nil {
		return err
	}
	dir := filepath.Join(s.buckets, spec.Name)
	err = s.Posix.CreateBucket(ctx, &s3.CreateBucketInput{
		Bucket: &dir, ObjectOwnership: types.ObjectOwnership(spec.Ownership), ObjectLockEnabledForBucket: &spec.ObjectLock, CreateBucketConfiguration: &types.CreateBucketConfiguration{},
	}, acl)
	if err != nil {
		return err
	}
	if err := s.syncAttributes(dir); err != nil {
		return err
	}
	return durable.SyncDir(s.buckets)
}

// empty reports whether a bucket has no objects and no versions.
func (s *store) empty(bucket string) (bool, error) {
	for _, dir := range []string{filepath.Join(s.buckets, bucket), filepath.Join(s.archive, bucket)} {
		names, err := os.ReadDir(dir)
		if err != nil && !isAbsent(err) {
			return false, err
		}
		for _, n := range names {
			if n.Name() != tmpName {
				return false, nil
			}
		}
	}
	return true, nil
}

// PutBucketVersioning implements backend.Backend.
func (s *store) PutBucketVersioning(ctx context.Context, bucket string, status types.BucketVersioningStatus) error {
	_, err := s.local.SetVersioning(ctx, bucket, string(status))
	return s.forGateway(err)
}

// GetBucketVersioning implements backend.Backend.
func (s *store) GetBucketVersioning(_ context.Context, bucket string) (out s3response.GetBucketVersioningOutput, err error) {
	err = s.bucket(bucket, false, func(string) error {
		if v := s.versioning(bucket); v != "" {
			out.Status = &v
		}
		return nil
	})
	return out, err
}

func (s *store) versioning(bucket string) types.BucketVersioningStatus {
	return types.BucketVersioningStatus(s.local.config(bucket).Versioning)
}

// GetBucketPolicy implements backend.Backend. Who may what is decided in front of the gateway.
func (s *store) GetBucketPolicy(context.Context, string) ([]byte, error) {
	return nil, s3err.GetAPIError(s3err.ErrNoSuchBucketPolicy)
}

// PutBucketPolicy implements backend.Backend.
func (s *store) PutBucketPolicy(context.Context, string, []byte) error {
	return s3err.GetAPIError(s3err.ErrNotImplemented)
}

// DeleteBucketPolicy implements backend.Backend.
func (s *store) DeleteBucketPolicy(context.Context, string) error {
	return s3err.GetAPIError(s3err.ErrNotImplemented)
}

// GetBucketAcl implements backend.Backend.
func (s *store) GetBucketAcl(ctx context.Context, in *s3.GetBucketAclInput) (b []byte, err error) {
	err = s.bucket(text(in.Bucket), false, func(dir string) (err error) {
		b, err = s.Posix.GetBucketAcl(ctx, &s3.GetBucketAclInput{Bucket: &dir})
		if err != nil || len(b) > 0 {
			return err
		}
		b, err = json.Marshal(ownerACL(s.local.config(*in.Bucket).Account)) // a folder that somebody else made
		return err
	})
	return b, err
}

// PutBucketAcl implements backend.Backend.
func (s *store) PutBucketAcl(ctx context.Context, bucket string, data []byte) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.PutBucketAcl(ctx, dir, data) })
}

// PutBucketOwnershipControls implements backend.Backend.
func (s *store) PutBucketOwnershipControls(ctx context.Context, bucket string, o types.ObjectOwnership) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.PutBucketOwnershipControls(ctx, dir, o) })
}

// GetBucketOwnershipControls implements backend.Backend.
func (s *store) GetBucketOwnershipControls(ctx context.Context, bucket string) (o types.ObjectOwnership, err error) {
	err = s.bucket(bucket, false, func(dir string) (err error) {
		o, err = s.Posix.GetBucketOwnershipControls(ctx, dir)
		return err
	})
	return o, err
}

// DeleteBucketOwnershipControls implements backend.Backend.
func (s *store) DeleteBucketOwnershipControls(ctx context.Context, bucket string) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.DeleteBucketOwnershipControls(ctx, dir) })
}

// PutBucketCors implements backend.Backend.
func (s *store) PutBucketCors(ctx context.Context, bucket string, cors []byte) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.PutBucketCors(ctx, dir, cors) })
}

// GetBucketCors implements backend.Backend.
func (s *store) GetBucketCors(ctx context.Context, bucket string) (b []byte, err error) {
	err = s.bucket(bucket, false, func(dir string) (err error) {
		b, err = s.Posix.GetBucketCors(ctx, dir)
		return err
	})
	return b, err
}

// DeleteBucketCors implements backend.Backend.
func (s *store) DeleteBucketCors(ctx context.Context, bucket string) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.DeleteBucketCors(ctx, dir) })
}

// PutBucketWebsite implements backend.Backend.
func (s *store) PutBucketWebsite(ctx context.Context, bucket string, website []byte) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.PutBucketWebsite(ctx, dir, website) })
}

// GetBucketWebsite implements backend.Backend.
func (s *store) GetBucketWebsite(ctx context.Context, bucket string) (b []byte, err error) {
	err = s.bucket(bucket, false, func(dir string) (err error) {
		b, err = s.Posix.GetBucketWebsite(ctx, dir)
		return err
	})
	return b, err
}

// DeleteBucketWebsite implements backend.Backend.
func (s *store) DeleteBucketWebsite(ctx context.Context, bucket string) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.DeleteBucketWebsite(ctx, dir) })
}

// PutBucketTagging implements backend.Backend.
func (s *store) PutBucketTagging(ctx context.Context, bucket string, tags map[string]string) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.PutBucketTagging(ctx, dir, tags) })
}

// GetBucketTagging implements backend.Backend.
func (s *store) GetBucketTagging(ctx context.Context, bucket string) (tags map[string]string, err error) {
	err = s.bucket(bucket, false, func(dir string) (err error) {
		tags, err = s.Posix.GetBucketTagging(ctx, dir)
		return err
	})
	return tags, err
}

// DeleteBucketTagging implements backend.Backend.
func (s *store) DeleteBucketTagging(ctx context.Context, bucket string) error {
	return s.bucket(bucket, true, func(dir string) error { return s.Posix.DeleteBucketTagging(ctx, dir) })
}

// PutObjectLockConfiguration implements backend.Backend.
func (s *store) PutObjectLockConfiguration(_ context.Context, bucket string, config []byte) error {
	return s.bucket(bucket, true, func(dir string) error {
		if s.versioning(bucket) != types.BucketVersioningStatusEnabled {
			return refused("InvalidBucketState", http.StatusConflict, "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
		}
		return s.attrs.store(nil, dir, "", attrLock, config)
	})
}

// GetObjectLockConfiguration implements backend.Backend.
func (s *store) GetObjectLockConfiguration(_ context.Context, bucket string) (b []byte, err error) {
	err = s.bucket(bucket, false, func(dir string) error {
		c, err := s.lockConfig(dir)
		if err != nil {
			return err
		}
		if c == nil {
			return s3err.GetAPIError(s3err.ErrObjectLockConfigurationNotFound)
		}
		c.CreatedAt = nil // the default retention counts from when an object was put, and is its own
		b, err = json.Marshal(c)
		return err
	})
	return b, err
}

// lockConfig is the object lock configuration of the bucket in a folder, or nil.
func (s *store) lockConfig(dir string) (*auth.BucketLockConfig, error) {
	b, err := s.attrs.get(nil, dir, "", attrLock)
	if err != nil || b == nil {
		return nil, err
	}
	c := &auth.BucketLockConfig{}
	if err := json.Unmarshal(b, c); err != nil {
		return nil, fmt.Errorf("read the object lock configuration: %w", err)
	}
	return c, nil
}

// defaultRetention is what a new object of a bucket gets, or nil.
func (s *store) defaultRetention(dir string, now time.Time) ([]byte, error) {
	c, err := s.lockConfig(dir)
	if err != nil || c == nil || c.DefaultRetention == nil {
		return nil, err
	}
	until := now
	if d := c.DefaultRetention.Days; d != nil {
		until = until.AddDate(0, 0, int(*d))
	}
	if y := c.DefaultRetention.Years; y != nil {
		until = until.AddDate(int(*y), 0, 0)
	}
	return json.Marshal(types.ObjectLockRetention{Mode: c.DefaultRetention.Mode, RetainUntilDate: &until})
}

// object runs fn on a version of an object, with its key locked when fn changes its attributes.
func (s *store) object(bucket, key, version string, change bool, fn func(place) error) error {
	if change {
		defer s.lock(bucket, key)()
	}
	p, err := s.locate(bucket, key, version)
	if err != nil {
		return err
	}
	if p.marker {
		if version == "" {
			return s3err.GetAPIError(s3err.ErrNoSuchKey)
		}
		return s3err.GetAPIError(s3err.ErrMethodNotAllowed)
	}
	if _, err := os.Stat(p.path()); isAbsent(err) {
		return s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	if err := fn(p); err != nil || !change {
		return err
	}
	return s.syncAttributes(p.path())
}

// GetObjectTagging implements backend.Backend.
func (s *store) GetObjectTagging(_ context.Context, bucket, key, version string) (tags map[string]string, err error) {
	err = s.object(bucket, key, version, false, func(p place) error {
		b, err := s.attrs.get(nil, p.dir, p.object, attrTags)
		if err != nil || b == nil {
			return err
		}
		return json.Unmarshal(b, &tags)
	})
	return tags, err
}

// PutObjectTagging implements backend.Backend.
func (s *store) PutObjectTagging(_ context.Context, bucket, key, version string, tags map[string]string) error {
	return s.object(bucket, key, version, true, func(p place) error {
		if tags == nil {
			err := s.attrs.DeleteAttribute(p.dir, p.object, attrTags)
			if errors.Is(err, meta.ErrNoSuchKey) {
				return nil
			}
			return err
		}
		b, err := json.Marshal(tags)
		if err != nil {
			return err
		}
		return s.attrs.store(nil, p.dir, p.object, attrTags, b)
	})
}

// DeleteObjectTagging implements backend.Backend.
func (s *store) DeleteObjectTagging(ctx context.Context, bucket, key, version string) error {
	return s.PutObjectTagging(ctx, bucket, key, version, nil)
}

// lockable refuses what concerns locks in a bucket that has none.
func (s *store) lockable(bucket string) error {
	dir, err := s.root(bucket)
	if err != nil {
		return err
	}
	c, err := s.lockConfig(dir)
	if err == nil && (c == nil || !c.Enabled) {
		return s3err.GetAPIError(s3err.ErrMissingObjectLockConfiguration)
	}
	return err
}

// PutObjectRetention implements backend.Backend.
func (s *store) PutObjectRetention(_ context.Context, bucket, key, version string, retention []byte) error {
	if err := s.lockable(bucket); err != nil {
		return err
	}
	return s.object(bucket, key, version, true, func(p place) error {
		return s.attrs.store(nil, p.dir, p.object, attrRetention, retention)
	})
}

// GetObjectRetention implements backend.Backend.
func (s *store) GetObjectRetention(_ context.Context, bucket, key, version string) (b []byte, err error) {
	if err := s.lockable(bucket); err != nil {
		return nil, err
	}
	err = s.object(bucket, key, version, false, func(p place) (err error) {
		b, err = s.attrs.get(nil, p.dir, p.object, attrRetention)
		if err == nil && b == nil {
			return s3err.GetAPIError(s3err.ErrNoSuchObjectLockConfiguration)
		}
		return err
	})
	return b, err
}

// PutObjectLegalHold implements backend.Backend.
func (s *store) PutObjectLegalHold(_ context.Context, bucket, key, version string, on bool) error {
	if err := s.lockable(bucket); err != nil {
		return err
	}
	return s.object(bucket, key, version, true, func(p place) error {
		return s.attrs.store(nil, p.dir, p.object, attrHold, holdValue(on))
	})
}

func holdValue(on bool) []byte {
	if on {
		return []byte{1}
	}
	return []byte{0}
}

// GetObjectLegalHold implements backend.Backend.
func (s *store) GetObjectLegalHold(_ context.Context, bucket, key, version string) (on *bool, err error) {
	if err := s.lockable(bucket); err != nil {
		return nil, err
	}
	err = s.object(bucket, key, version, false, func(p place) error {
		b, err := s.attrs.get(nil, p.dir, p.object, attrHold)
		if err != nil {
			return err
		}
		if len(b) == 0 {
			return s3err.GetAPIError(s3err.ErrNoSuchObjectLockConfiguration)
		}
		on = ptr(b[0] == 1)
		return nil
	})
	return on, err
}

// locks of a version: those that have not ended.
func (s *store) locked(p place, now time.Time) (bool, error) {
	hold, err := s.attrs.get(nil, p.dir, p.object, attrHold)
	if err != nil || len(hold) > 0 && hold[0] == 1 {
		return true, err
	}
	b, err := s.attrs.get(nil, p.dir, p.object, attrRetention)
	if err != nil || b == nil {
		return err != nil, err
	}
	var r types.ObjectLockRetention
	if err := json.Unmarshal(b, &r); err != nil {
		return true, fmt.Errorf("read the retention of an object: %w", err)
	}
	return r.RetainUntilDate != nil && r.RetainUntilDate.After(now), nil
}

var _ backend.Backend = (*store)(nil)
