package blob

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/versity/versitygw/backend/meta"

	"spoor/internal/durable"
)

// Attributes of files, as the gateway's backend names them.
const (
	attrETag        = "etag"
	attrChecksums   = "checksums"
	attrVersion     = "version-id"
	attrMarker      = "delete-marker"
	attrTags        = "X-Amz-Tagging"
	attrRetention   = "object-retention"
	attrHold        = "object-legal-hold"
	attrLock        = "bucket-lock"
	attrParts       = "mp-metadata"
	attrACL         = "acl"
	attrOwnership   = "ownership"
	attrContentType = "content-type"
	attrEncoding    = "content-encoding"
	attrMetadata    = "metadata"
	attrUploadKey   = "objname"

	attrSealed = "spoor-sealed" // sealMark
	attrPart   = "spoor-part"   // partSeal
)

// attributes keeps attributes of files: in the files' own extended attributes, or beside them in a folder where the file system
// has none. A file that is being written may be watched, and then its attributes are collected for its publisher.
type attributes struct {
	meta.MetadataStorer
	beside  string // the folder, or empty
	buckets string // folder of the buckets
	archive string // folder of the versions

	mu      sync.Mutex
	watched map[*os.File]*publication
}

// openAttributes finds out what the file system of a folder has. A folder that began with attributes beside its files goes on so.
func openAttributes(dir, buckets, archive string) (*attributes, error) {
	a := &attributes{buckets: buckets, archive: archive, watched: map[*os.File]*publication{}}
	beside := besideOf(dir)
	if _, err := os.Stat(beside); errors.Is(err, fs.ErrNotExist) {
		works, err := hasAttributes(dir)
		if err != nil {
			return nil, err
		}
		if works {
			a.MetadataStorer = meta.XattrMeta{}
			return a, nil
		}
		if err := durable.MkdirAll(beside, 0o700); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	s, err := meta.NewSideCar(beside)
	if err != nil {
		return nil, err
	}
	a.MetadataStorer, a.beside = s, beside
	return a, nil
}

// besideOf is where attributes lie beside the files of a folder.
func besideOf(dir string) string { return filepath.Join(dir, "attributes") }

// hasAttributes tries whether files can have attributes, one as large as those of objects with much metadata.
func hasAttributes(dir string) (works bool, err error) {
	f, err := os.CreateTemp(dir, durable.PartPrefix)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close(), os.Remove(f.Name())) }()
	return meta.XattrMeta{}.StoreAttribute(f, dir, filepath.Base(f.Name()), "spoor-test", make([]byte, 2048)) == nil, nil
}

// place is where the attributes of a bucket's or a version's file are kept beside it.
func (a *attributes) place(bucket string) string {
	if a.beside == "" {
		return bucket
	}
	for _, from := range []struct{ dir, name string }{{a.buckets, "buckets"}, {a.archive, "versions"}} {
		if rest, ok := strings.CutPrefix(bucket, from.dir+string(filepath.Separator)); ok {
			return filepath.Join(from.name, rest)
		}
	}
	return bucket
}

// RetrieveAttribute implements [meta.MetadataStorer].
func (a *attributes) RetrieveAttribute(f *os.File, bucket, object, name string) ([]byte, error) {
	return a.MetadataStorer.RetrieveAttribute(f, a.place(bucket), object, name)
}

// StoreAttribute implements [meta.MetadataStorer].
func (a *attributes) StoreAttribute(f *os.File, bucket, object, name string, value []byte) error {
	if f != nil {
		a.mu.Lock()
		p := a.watched[f]
		a.mu.Unlock()
		if p != nil {
			return p.collect(f, name, value)
		}
	}
	return a.store(f, bucket, object, name, value)
}

// store keeps an attribute. Beside the file it is durable at once, otherwise when the file is synced.
func (a *attributes) store(f *os.File, bucket, object, name string, value []byte) error {
	if err := a.MetadataStorer.StoreAttribute(f, a.place(bucket), object, name, value); err != nil {
		return fmt.Errorf("store attribute %s: %w", name, err)
	}
	if a.beside == "" {
		return nil
	}
	dir := filepath.Join(a.beside, a.place(bucket), object, "meta")
	if err := syncFile(filepath.Join(dir, name)); err != nil {
		return err
	}
	for ; len(dir) >= len(a.beside); dir = filepath.Dir(dir) {
		if err := durable.SyncDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// DeleteAttribute implements [meta.MetadataStorer].
func (a *attributes) DeleteAttribute(bucket, object, name string) error {
	return a.MetadataStorer.DeleteAttribute(a.place(bucket), object, name)
}

// DeleteAttributes implements [meta.MetadataStorer].
func (a *attributes) DeleteAttributes(bucket, object string) error {
	return a.MetadataStorer.DeleteAttributes(a.place(bucket), object)
}

// ListAttributes implements [meta.MetadataStorer].
func (a *attributes) ListAttributes(bucket, object string) ([]string, error) {
	return a.MetadataStorer.ListAttributes(a.place(bucket), object)
}

// RenameObject implements [meta.MetadataStorer].
func (a *attributes) RenameObject(bucket, from, to string) error {
	return a.MetadataStorer.RenameObject(a.place(bucket), from, to)
}

// get gives an attribute, or nil when there is none, or no file.
func (a *attributes) get(f *os.File, bucket, object, name string) ([]byte, error) {
	b, err := a.RetrieveAttribute(f, bucket, object, name)
	if errors.Is(err, meta.ErrNoSuchKey) || isAbsent(err) {
		return nil, nil
	}
	if err == nil && b == nil {
		b = []byte{}
	}
	return b, err
}

// move takes attributes along that do not go with their file.
func (a *attributes) move(bucket, object, toBucket, toObject string, keep bool) error {
	if a.beside == "" {
		return nil
	}
	names, err := a.ListAttributes(bucket, object)
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := a.RetrieveAttribute(nil, bucket, object, name)
		if err == nil {
			err = a.store(nil, toBucket, toObject, name, b)
		}
		if err != nil {
			return err
		}
	}
	if keep {
		return nil
	}
	return a.DeleteAttributes(bucket, object)
}

// watch collects the attributes of a file for its publisher until unwatch.
func (a *attributes) watch(f *os.File, p *publication) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.watched[f] = p
}

func (a *attributes) unwatch(f *os.File) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.watched, f)
}

func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
