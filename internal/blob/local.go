package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/oklog/ulid/v2"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"

	"spoor/internal/durable"
	"spoor/internal/statefile"
)

// LocalOptions of OpenLocal.
type LocalOptions struct {
	Account, Region string           // of buckets that nothing is known of
	Keys            Keys             // nil for none: nothing can be sealed, and nothing sealed be read
	Now             func() time.Time // default [time.Now]
	Log             *slog.Logger     // default discards
	Wait            time.Duration    // how long the folder is waited for when another process has it

	LifecycleInterval time.Duration // default a day
	// Expired is told of each object, version, delete marker and upload that lifecycle rules removed. It may be nil.
	Expired func(bucket, key, version string)
}

// Local is buckets over a folder. It is a [Storage]. Its methods may be called concurrently.
type Local struct {
	dir     string
	o       LocalOptions
	store   *store
	gateway *gateway
	state   *statefile.File[state]

	making sync.Mutex // buckets

	mu       sync.Mutex // guards what follows
	last     uint64     // time of the last version
	entropy  *ulid.MonotonicEntropy
	policies map[string]parsedPolicy
}

var _ Storage = (*Local)(nil)

// OpenLocal opens the buckets of a folder, which is made when it is missing, and belongs to this process until [Local.Close].
func OpenLocal(ctx context.Context, dir string, o LocalOptions) (_ *Local, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.LifecycleInterval <= 0 {
		o.LifecycleInterval = 24 * time.Hour
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	l := &Local{dir: dir, o: o, entropy: ulid.Monotonic(rand.Reader, 0), policies: map[string]parsedPolicy{}}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open the buckets: %w", err)
	}
	if l.state, err = openState(ctx, filepath.Join(dir, "state"), o); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := errors.Join(os.RemoveAll(filepath.Join(dir, deletedName)), durable.RemoveParts(dir)); err != nil {
		return nil, fmt.Errorf("open the buckets: %w", err)
	}
	if l.store, err = newStore(l, dir); err != nil {
		return nil, fmt.Errorf("open the buckets in %s: %w", dir, err)
	}
	if err := l.reconcile(); err != nil {
		return nil, fmt.Errorf("open the buckets in %s: %w", dir, err)
	}
	if l.gateway, err = openGateway(ctx, dir, l.store); err != nil {
		return nil, fmt.Errorf("open the buckets in %s: %w", dir, err)
	}
	return l, nil
}

// Close ends the gateway and gives the folder back.
func (l *Local) Close() error {
	var err error
	if l.gateway != nil {
		err = l.gateway.close()
		l.gateway = nil
	}
	if l.store != nil {
		l.store.close()
		l.store = nil
		err = errors.Join(err, os.RemoveAll(filepath.Join(l.dir, deletedName)))
	}
	return errors.Join(err, l.state.Close(nil))
}

// Transport carries requests in S3's protocol to the gateway, and signs them as its only user. The host of the URL does not
// matter; the bucket is in the path. Bodies stream both ways. x-amz-content-sha256 stays as it is: a hash, UNSIGNED-PAYLOAD, or
// STREAMING-UNSIGNED-PAYLOAD-TRAILER; forms that are signed piece by piece are refused. Requests need a ContentLength.
func (l *Local) Transport() http.RoundTripper { return l.gateway }

// newVersion is an id that sorts behind all before it.
func (l *Local) newVersion() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = max(l.last, ulid.Timestamp(l.o.Now()))
	id, err := ulid.New(l.last, l.entropy)
	for err != nil { // the random part is used up
		l.last++
		id, err = ulid.New(l.last, l.entropy)
	}
	return id.String()
}

// named makes an error of the store one of a storage.
func named(err error, doing, bucket, key string) error {
	if err == nil {
		return nil
	}
	code := Code(err)
	at := "s3://" + bucket
	if key != "" {
		at += "/" + key
	}
	cause := err
	if e, ok := errors.AsType[s3err.S3Error](err); ok { // whose text is XML
		cause = said{err, e.BaseError().Description}
	}
	return &storageError{kind: kindOf(code), code: code, err: fmt.Errorf("%s %s: %w", doing, at, cause)}
}

// said is an error of S3 in words.
type said struct {
	error
	text string
}

func (e said) Error() string { return e.text }

func (e said) Unwrap() error { return e.error }

// Put implements [Storage].
func (l *Local) Put(ctx context.Context, bucket, key string, content []byte, o PutOptions) error {
	size := int64(len(content))
	in := s3response.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(content), ContentLength: &size, Metadata: lower(o.Metadata)}
	if o.ContentType != "" {
		in.ContentType = &o.ContentType
	}
	if o.ContentEncoding != "" {
		in.ContentEncoding = &o.ContentEncoding
	}
	how := l.store.ofBucket(bucket, key)
	if o.KMSKey != "" {
		how = l.store.complete(sealing{o.KMSKey, maps.Clone(o.EncryptionContext)}, bucket, key)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	_, err := l.store.put(ctx, in, how)
	return named(err, "put", bucket, key)
}

func lower(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	c := make(map[string]string, len(m))
	for k, v := range m {
		c[strings.ToLower(k)] = v
	}
	return c
}

// Get implements [Storage].
func (l *Local) Get(ctx context.Context, bucket, key string) (io.ReadCloser, Object, error) {
	return l.store.read(ctx, bucket, key)
}

// Head implements [Storage].
func (l *Local) Head(ctx context.Context, bucket, key string) (Object, error) {
	return l.HeadVersion(ctx, bucket, key, "")
}

// HeadVersion is Head of a version, the current one when it is empty. A delete marker is [ErrNoKey].
func (l *Local) HeadVersion(_ context.Context, bucket, key, version string) (Object, error) {
	return l.store.tell(bucket, key, version)
}

// List implements [Storage].
func (l *Local) List(ctx context.Context, bucket, prefix, after string, most int) ([]Object, bool, error) {
	return l.store.list(ctx, bucket, prefix, after, most)
}

// Upload is what is known of an upload that was begun: the key that seals it, empty for none, and its encryption context.
type Upload struct {
	KMSKey            string
	EncryptionContext map[string]string
}

// Upload tells of an upload in parts. Where there is none of that id the error's code is NoSuchUpload.
func (l *Local) Upload(_ context.Context, bucket, key, id string) (Upload, error) {
	dir, object, err := l.store.upload(&bucket, &key, &id)
	if err != nil {
		return Upload{}, named(err, "look at an upload to", bucket, key)
	}
	folder := filepath.Join(dir, object)
	if _, err := os.Stat(folder); isAbsent(err) {
		return Upload{}, named(s3err.GetNoSuchUploadErr(id), "look at an upload to", bucket, key)
	}
	k, err := uploadKeyOf(folder)
	if err != nil || k == nil {
		return Upload{}, named(err, "look at an upload to", bucket, key)
	}
	return Upload{k.Key, k.Context}, nil
}

// Delete removes an object, or a version of it. In a bucket with versions an object without version gets a delete marker. Locks of
// objects are not looked at.
func (l *Local) Delete(ctx context.Context, bucket, key, version string) error {
	_, err := l.store.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &key, VersionId: &version})
	return named(err, "delete", bucket, key)
}

// deletedName is the folder of buckets that were deleted and may come back.
const deletedName = "deleted"

// reconcile makes folders and state agree: what a crash kept from being made is forgotten.
func (l *Local) reconcile() error {
	gone := map[string]bool{}
	for name := range l.state.Get().Buckets {
		if info, err := os.Stat(filepath.Join(l.store.buckets, name)); isAbsent(err) || err == nil && !info.IsDir() {
			gone[name] = true
		} else if err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		for _, name := range slices.Sorted(maps.Keys(gone)) {
			l.o.Log.Warn("a bucket has no folder, and is forgotten", slog.String("bucket", name))
			if err := os.RemoveAll(filepath.Join(l.store.archive, name)); err != nil {
				return err
			}
		}
		if err := l.state.Amend(func(s *state) bool {
			maps.DeleteFunc(s.Buckets, func(name string, _ *bucketConfig) bool { return gone[name] })
			return true
		}); err != nil {
			return err
		}
	}
	// A bucket whose making was interrupted has a folder, but not what says whose it is.
	names, err := os.ReadDir(l.store.buckets)
	if err != nil {
		return err
	}
	for _, n := range names {
		if _, ok := l.state.Get().Buckets[n.Name()]; !ok || !n.IsDir() {
			continue
		}
		dir := filepath.Join(l.store.buckets, n.Name())
		acl, err := l.store.attrs.get(nil, dir, "", attrACL)
		if err != nil {
			return err
		}
		if acl == nil {
			b, err := json.Marshal(ownerACL(l.state.Get().Buckets[n.Name()].Account))
			if err != nil {
				return err
			}
			if err := errors.Join(l.store.attrs.store(nil, dir, "", attrACL, b), l.store.syncAttributes(dir)); err != nil {
				return err
			}
		}
	}
	return nil
}
