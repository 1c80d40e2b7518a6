package blob

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/backend"
)

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

func sameFile(a, b string) bool {
	x, err := os.Lstat(a)
	if err != nil {
		return false
	}
	y, err := os.Lstat(b)
	return err == nil && os.SameFile(x, y)
}
