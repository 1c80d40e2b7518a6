package blob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/versity/versitygw/backend"
	"github.com/versity/versitygw/s3err"
	"github.com/versity/versitygw/s3response"
)

// files is the folder of local buckets as it is read. It writes nothing, and objects may appear and vanish beneath it.
type files struct {
	buckets, archive string // folders
	attrs            *attributes
	keys             Keys
	config           func(bucket string) bucketConfig
}

func filesOf(dir string, keys Keys, config func(string) bucketConfig) files {
	return files{buckets: filepath.Join(dir, "buckets"), archive: filepath.Join(dir, "versions"), keys: keys, config: config}
}

// root is the folder of a bucket.
func (s *files) root(bucket string) (string, error) {
	if !goodBucket(bucket) {
		return "", s3err.GetBucketErr(s3err.ErrNoSuchBucket, bucket)
	}
	dir := filepath.Join(s.buckets, bucket)
	if info, err := os.Stat(dir); isAbsent(err) || err == nil && !info.IsDir() {
		return "", s3err.GetBucketErr(s3err.ErrNoSuchBucket, bucket)
	} else if err != nil {
		return "", err
	}
	return dir, nil
}

// archived is the folder of the versions of a key that are not the current one, as bucket and object of the backend.
func (s *files) archived(bucket, key string) (dir, object string) {
	return filepath.Join(s.archive, bucket), versionsOf(key)
}

// place is a version of an object.
type place struct {
	dir, object string // bucket and object of the backend
	version     string // [nullVersion] for one that was made without versions
	marker      bool
}

func (p place) path() string { return filepath.Join(p.dir, p.object) }

// locate finds a version of an object, the current one when version is empty.
func (s *files) locate(bucket, key, version string) (place, error) {
	dir, err := s.root(bucket)
	if err != nil {
		return place{}, err
	}
	absent := s3err.S3Error(s3err.GetAPIError(s3err.ErrNoSuchKey))
	if version != "" {
		if !goodVersion(version) {
			return place{}, s3err.GetInvalidArgumentErr(s3err.InvalidArgVersionId, version)
		}
		absent = s3err.GetNoSuchVersionErr(key, version)
	}
	if !goodKey(key) {
		return place{}, absent
	}
	p := place{dir: dir, object: key}
	if strings.HasSuffix(key, "/") { // is no file, and has no versions
		p.version = nullVersion
		return p, nil
	}
	if p.version, p.marker, err = s.look(dir, key); err == nil && (version == "" || version == p.version) {
		return p, nil
	}
	if err != nil && !isAbsent(err) {
		return place{}, err
	}
	if version == "" {
		return place{}, absent
	}
	p.dir, p.object = s.archived(bucket, key)
	p.object = filepath.Join(p.object, version)
	_, p.marker, err = s.look(p.dir, p.object)
	if isAbsent(err) {
		return place{}, absent
	}
	p.version = version
	return p, err
}

// look tells the version that a file is.
func (s *files) look(dir, object string) (version string, marker bool, err error) {
	info, err := os.Lstat(filepath.Join(dir, object))
	if err != nil {
		return "", false, err
	}
	if !info.Mode().IsRegular() {
		return "", false, fs.ErrNotExist
	}
	id, err := s.attrs.get(nil, dir, object, attrVersion)
	if err != nil {
		return "", false, err
	}
	m, err := s.attrs.get(nil, dir, object, attrMarker)
	if err != nil {
		return "", false, err
	}
	version = string(id)
	if version == "" {
		version = nullVersion
	}
	return version, m != nil, nil
}

// mark reads whether a file is sealed; nil says that it is not.
func (s *files) mark(f *os.File, dir, object string) (*sealMark, error) {
	b, err := s.attrs.get(f, dir, object, attrSealed)
	if err != nil || b == nil {
		return nil, err
	}
	m := &sealMark{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, fmt.Errorf("%w: its mark: %w", ErrTampered, err)
	}
	return m, nil
}

// shown is the version id that answers have: none in a bucket that never had versions.
func (s *files) shown(bucket, version string) *string {
	if s.config(bucket).Versioning == "" {
		return ptr("")
	}
	return &version
}

// list is [Storage.List].
func (s *files) list(ctx context.Context, bucket, prefix, after string, most int) ([]Object, bool, error) {
	if most < 1 || most > maxList {
		most = maxList
	}
	dir, err := s.root(bucket)
	if err != nil {
		return nil, false, named(err, "list", bucket, prefix)
	}
	found := make([]Object, 0, min(most, 64))
	w, err := backend.Walk(ctx, os.DirFS(dir), prefix, "", after, int32(most), func(path string, d fs.DirEntry) (s3response.Object, error) {
		o, err := s.entry(dir, path, d)
		if err != nil {
			return s3response.Object{}, err
		}
		found = append(found, o)
		return s3response.Object{}, nil
	}, []string{tmpName})
	if err != nil {
		return nil, false, named(err, "list", bucket, prefix)
	}
	if len(found) > len(w.Objects) {
		found = found[:len(w.Objects)]
	}
	return found, w.Truncated, nil
}

// entry is what a list tells of an object.
func (s *files) entry(dir, path string, d fs.DirEntry) (Object, error) {
	etag, err := s.attrs.get(nil, dir, path, attrETag)
	if err != nil {
		return Object{}, err
	}
	if d.IsDir() && etag == nil || !d.IsDir() && !d.Type().IsRegular() {
		return Object{}, backend.ErrSkipObj
	}
	marker, err := s.attrs.get(nil, dir, path, attrMarker)
	if err != nil {
		return Object{}, err
	}
	if marker != nil {
		return Object{}, backend.ErrSkipObj
	}
	info, err := d.Info()
	if isAbsent(err) {
		return Object{}, backend.ErrSkipObj
	}
	if err != nil {
		return Object{}, err
	}
	o := Object{Key: path, ETag: strings.Trim(string(etag), `"`), Modified: info.ModTime()}
	if d.IsDir() {
		return o, nil
	}
	o.Size = info.Size()
	m, err := s.mark(nil, dir, path)
	if err != nil {
		return Object{}, fmt.Errorf("object %q: %w", path, err)
	}
	if m != nil {
		o.KMSKey = m.Key
		if o.Size, err = m.size(o.Size); err != nil {
			return Object{}, fmt.Errorf("object %q: %w", path, err)
		}
	}
	return o, nil
}

// noETag is the entity tag of a file that somebody put there by hand.
const noETag = "none"

// found is an object that was opened.
type found struct {
	Object
	file *os.File  // nil for a key that ends with a slash
	mark *sealMark // nil when it is not sealed
}

func (f *found) close() error {
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// lookAgain is how long an object is waited for that is being replaced.
const lookAgain = 10 * time.Millisecond

// open opens a version of an object, the current one when it is empty. Of a delete marker the error is [ErrNoKey].
func (s *files) open(bucket, key, version string) (*found, error) {
	for looks := 1; ; looks++ {
		p, err := s.locate(bucket, key, version)
		if err != nil {
			return nil, err
		}
		f, err := s.openPlace(p, version)
		if err != nil {
			return nil, err
		}
		f.Key, f.VersionID = key, *s.shown(bucket, p.version)
		if s.attrs.beside == "" || f.file == nil || looks >= s.worth(p, f) {
			return f, nil
		}
		// Attributes beside the file are replaced before the file is: what was read may be of two objects.
		if err := f.close(); err != nil {
			return nil, err
		}
		time.Sleep(lookAgain)
	}
}

// worth is how many looks an object is worth whose attributes lie beside its file: one when they fit it. Those of an object that is
// being replaced are sealed where it is not, or the other way round, or not there; so are those of a file that somebody put there by
// hand. What they say of metadata may also be that of the object that is about to replace it.
func (s *files) worth(p place, f *found) int {
	before, err := f.file.Stat()
	after, err2 := os.Stat(p.path())
	begin := make([]byte, len(sealMagic))
	n, _ := f.file.ReadAt(begin, 0) // who reads it meets the error
	switch {
	case err != nil || err2 != nil || !os.SameFile(before, after) || (f.mark != nil) != (string(begin[:n]) == sealMagic):
		return 100
	case f.ETag == noETag:
		return 5
	}
	return 1
}

// openPlace opens the file of a version that was asked for, and reads what is known of it.
func (s *files) openPlace(p place, asked string) (_ *found, err error) {
	if p.marker {
		return nil, &gone{ofMarker(asked)}
	}
	f := &found{}
	if strings.HasSuffix(p.object, "/") {
		info, err := os.Stat(p.path())
		if isAbsent(err) || err == nil && !info.IsDir() {
			return nil, s3err.GetAPIError(s3err.ErrNoSuchKey)
		}
		if err != nil {
			return nil, err
		}
		etag, err := s.attrs.get(nil, p.dir, p.object, attrETag)
		if err == nil && etag == nil { // a folder that is there for what is in it
			err = s3err.GetAPIError(s3err.ErrNoSuchKey)
		}
		if err != nil {
			return nil, err
		}
		f.Modified, f.ContentType = info.ModTime(), "application/x-directory"
		return f, s.describe(p, f)
	}
	f.file, err = os.Open(p.path())
	if isAbsent(err) {
		return nil, s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.file.Close())
		}
	}()
	info, err := f.file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, s3err.GetAPIError(s3err.ErrNoSuchKey)
	}
	f.Size, f.Modified = info.Size(), info.ModTime()
	if s.attrs.beside == "" { // what was opened may be newer than what was looked at
		if m, err := s.attrs.get(f.file, p.dir, p.object, attrMarker); err != nil {
			return nil, err
		} else if m != nil {
			return nil, &gone{ofMarker(asked)}
		}
	}
	if f.mark, err = s.mark(f.file, p.dir, p.object); err != nil {
		return nil, err
	}
	if f.mark != nil {
		f.KMSKey = f.mark.Key
	}
	return f, s.describe(p, f)
}

// gone is a delete marker, whatever S3 calls it.
type gone struct{ error }

func (g *gone) Unwrap() []error { return []error{g.error, ErrNoKey} }

// describe reads the attributes of an object that its readers see.
func (s *files) describe(p place, f *found) error {
	f.ETag = noETag
	for name, set := range map[string]*string{attrETag: &f.ETag, attrContentType: &f.ContentType, attrEncoding: &f.ContentEncoding} {
		b, err := s.attrs.get(f.file, p.dir, p.object, name)
		if err != nil {
			return err
		}
		if len(b) > 0 {
			*set = string(b)
		}
	}
	f.ETag = strings.Trim(f.ETag, `"`)
	b, err := s.attrs.get(f.file, p.dir, p.object, attrMetadata)
	if err != nil || b == nil {
		return err
	}
	if err := json.Unmarshal(b, &f.Metadata); err != nil {
		return fmt.Errorf("read the metadata of an object: %w", err)
	}
	return nil
}

// read is [Storage.Get].
func (s *files) read(ctx context.Context, bucket, key string) (_ io.ReadCloser, _ Object, err error) {
	defer func() { err = named(err, "get", bucket, key) }()
	f, err := s.open(bucket, key, "")
	if err != nil {
		return nil, Object{}, err
	}
	switch {
	case f.file == nil:
		return http.NoBody, f.Object, nil
	case f.mark == nil:
		return f.file, f.Object, nil
	}
	clear, err := openSealed(ctx, s.keys, f.file, f.Size)
	if err != nil {
		return nil, Object{}, errors.Join(ofKeys(err), f.close())
	}
	f.Size, f.KMSKey, f.EncryptionContext = clear.size, clear.head.Key, clear.head.Context
	return body{clear.read(0, clear.size), f.file}, f.Object, nil
}

// tell is [Storage.Head] of a version.
func (s *files) tell(bucket, key, version string) (_ Object, err error) {
	defer func() { err = named(err, "look at", bucket, key) }()
	f, err := s.open(bucket, key, version)
	if err != nil {
		return Object{}, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if f.mark == nil {
		return f.Object, nil
	}
	if f.Size, err = f.mark.size(f.Size); err != nil {
		return Object{}, err
	}
	h, _, err := readHead(f.file)
	if err != nil {
		return Object{}, err
	}
	f.EncryptionContext = h.Context
	return f.Object, nil
}

func unquote(etag *string) string { return strings.Trim(text(etag), `"`) }
