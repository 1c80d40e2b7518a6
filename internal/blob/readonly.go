package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/versity/versitygw/backend/meta"

	"spoor/internal/statefile"
)

// ErrReadOnly is returned for what would change buckets that were opened for reading.
var ErrReadOnly = errors.New("the buckets were opened for reading")

// ReadOnly is the buckets of a folder as they lie there, while another process may have the folder. It is a [Storage] without
// Put. It locks and writes nothing and needs no end; who may read is for the file system to say. Its methods may be called
// concurrently.
type ReadOnly struct{ files files }

var _ Storage = (*ReadOnly)(nil)

// OpenReadOnly opens the local buckets of a folder for reading. keys open sealed objects; without any, those are errors. The error
// is [fs.ErrNotExist] where the folder has no local buckets.
func OpenReadOnly(dir string, keys Keys) (*ReadOnly, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	state, err := statefile.Look(filepath.Join(dir, "state"), stateOptions(LocalOptions{}))
	if err != nil {
		return nil, fmt.Errorf("open the buckets in %s for reading: %w", dir, err)
	}
	r := &ReadOnly{filesOf(dir, keys, func(bucket string) bucketConfig { return state.Get().config(bucket, LocalOptions{}) })}
	if info, err := os.Stat(r.files.buckets); err != nil {
		return nil, fmt.Errorf("open the buckets in %s for reading: %w", dir, err)
	} else if !info.IsDir() {
		return nil, fmt.Errorf("open the buckets in %s for reading: %w", dir, fs.ErrNotExist)
	}
	r.files.attrs = &attributes{MetadataStorer: meta.XattrMeta{}, buckets: r.files.buckets, archive: r.files.archive}
	if beside := besideOf(dir); isFolder(beside) {
		s, err := meta.NewSideCar(beside)
		if err != nil {
			return nil, fmt.Errorf("open the buckets in %s for reading: %w", dir, err)
		}
		r.files.attrs.MetadataStorer, r.files.attrs.beside = s, beside
	}
	return r, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// Has reports whether there is a bucket.
func (r *ReadOnly) Has(bucket string) (bool, error) {
	_, err := r.files.root(bucket)
	if err = named(err, "look at", bucket, ""); errors.Is(err, ErrNoBucket) {
		return false, nil
	}
	return err == nil, err
}

// Put implements [Storage]. The error is [ErrReadOnly].
func (r *ReadOnly) Put(_ context.Context, bucket, key string, _ []byte, _ PutOptions) error {
	return &storageError{kind: ErrDenied, code: "AccessDenied", err: fmt.Errorf("put s3://%s/%s: %w", bucket, key, ErrReadOnly)}
}

// Get implements [Storage].
func (r *ReadOnly) Get(ctx context.Context, bucket, key string) (io.ReadCloser, Object, error) {
	return r.files.read(ctx, bucket, key)
}

// Head implements [Storage].
func (r *ReadOnly) Head(_ context.Context, bucket, key string) (Object, error) {
	return r.files.tell(bucket, key, "")
}

// List implements [Storage].
func (r *ReadOnly) List(ctx context.Context, bucket, prefix, after string, most int) ([]Object, bool, error) {
	return r.files.list(ctx, bucket, prefix, after, most)
}
