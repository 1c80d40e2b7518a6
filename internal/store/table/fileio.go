package table

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	iceio "github.com/apache/iceberg-go/io"

	"spoor/internal/durable"
)

// disk maps the table's logical locations to a folder and syncs what it writes. It gives iceberg-go its file system, and
// is where tests make the file system fail.
type disk struct {
	dir      string // absolute
	location string // logical prefix, without a slash at its end
	log      *slog.Logger
	// fault, if set, may refuse an operation ("create", "write", "sync", "syncdir", "link", "rename", "remove", "open").
	fault func(op, path string) error
}

var (
	_ iceio.WriteFileIO = (*disk)(nil)
	_ iceio.ReadFileIO  = (*disk)(nil)
)

func (d *disk) check(op, path string) error {
	if d.fault == nil {
		return nil
	}
	if err := d.fault(op, path); err != nil {
		return &fs.PathError{Op: op, Path: path, Err: err}
	}
	return nil
}

// name gives the name below the folder for a logical location. What would leave the folder is refused: the metadata may
// come from anywhere.
func (d *disk) name(location string) (string, error) {
	name, ok := strings.CutPrefix(location, d.location+"/")
	if !ok || !filepath.IsLocal(filepath.FromSlash(name)) {
		return "", fmt.Errorf("location %q is not below %s", location, d.location)
	}
	return name, nil
}

func (d *disk) path(location string) (string, error) {
	name, err := d.name(location)
	if err != nil {
		return "", err
	}
	return filepath.Join(d.dir, filepath.FromSlash(name)), nil
}

// Open opens a file for reading by its logical location.
func (d *disk) Open(location string) (iceio.File, error) {
	path, err := d.path(location)
	if err != nil {
		return nil, err
	}
	if err := d.check("open", path); err != nil {
		return nil, err
	}
	return os.Open(path)
}

// ReadFile reads a whole file by its logical location.
func (d *disk) ReadFile(location string) ([]byte, error) {
	path, err := d.path(location)
	if err != nil {
		return nil, err
	}
	if err := d.check("open", path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
}

// Remove removes a file; one that is gone already is as good as removed. iceberg-go only removes what nothing refers to
// any more and reports trouble through the standard logger, so trouble is logged here instead: what stays is an orphan.
func (d *disk) Remove(location string) error {
	path, err := d.path(location)
	if err != nil {
		return err
	}
	if err := d.remove(path); err != nil {
		d.log.Warn("table: a file that is no longer needed stays", "path", path, "error", err)
	}
	return nil
}

func (d *disk) remove(path string) error {
	if err := d.check("remove", path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Create gives a writer whose Close returns nil only when the content is synced. The folder is synced at the commit.
func (d *disk) Create(location string) (iceio.FileWriter, error) {
	path, err := d.path(location)
	if err != nil {
		return nil, err
	}
	return d.create(path)
}

// WriteFile writes and syncs a file by its logical location.
func (d *disk) WriteFile(location string, p []byte) error {
	path, err := d.path(location)
	if err != nil {
		return err
	}
	return d.writeFile(path, p)
}

func (d *disk) writeFile(path string, p []byte) error {
	w, err := d.create(path)
	if err != nil {
		return err
	}
	_, err = w.Write(p)
	return errors.Join(err, w.Close())
}

func (d *disk) create(path string) (*syncedFile, error) {
	if err := d.check("create", path); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, err
	}
	s := &syncedFile{disk: d, f: f}
	s.buf = bufio.NewWriterSize(unbuffered{s}, 64<<10)
	return s, nil
}

// syncedFile is a file being written. A file that could not be written whole is removed at Close.
type syncedFile struct {
	disk *disk
	f    *os.File
	buf  *bufio.Writer
	err  error
}

// unbuffered is the file below the buffer.
type unbuffered struct{ s *syncedFile }

func (u unbuffered) Write(p []byte) (int, error) {
	if err := u.s.disk.check("write", u.s.f.Name()); err != nil {
		return 0, err
	}
	return u.s.f.Write(p)
}

func (s *syncedFile) Write(p []byte) (int, error) {
	n, err := s.buf.Write(p)
	s.err = errors.Join(s.err, err)
	return n, err
}

func (s *syncedFile) ReadFrom(r io.Reader) (int64, error) {
	n, err := s.buf.ReadFrom(r)
	s.err = errors.Join(s.err, err)
	return n, err
}

func (s *syncedFile) Close() error {
	if s.f == nil {
		return nil
	}
	path := s.f.Name()
	err := s.err
	if err == nil {
		err = s.buf.Flush()
	}
	if err == nil {
		err = s.disk.check("sync", path)
	}
	if err == nil {
		err = s.f.Sync()
	}
	err = errors.Join(err, s.f.Close())
	s.f = nil
	if err != nil {
		if rerr := os.Remove(path); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			s.disk.log.Warn("table: a half-written file stays", "path", path, "error", rerr)
		}
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// link publishes oldpath as newpath and fails with [fs.ErrExist] if there is one. Where the file system has no hard
// links, a look and a rename stand in for it; the caller's lock keeps other writers out there.
func (d *disk) link(oldpath, newpath string) error {
	err := d.check("link", newpath)
	if err == nil {
		err = os.Link(oldpath, newpath)
	}
	if err == nil || errors.Is(err, fs.ErrExist) {
		return err
	}
	if !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if _, serr := os.Lstat(newpath); serr == nil {
		return &fs.PathError{Op: "link", Path: newpath, Err: fs.ErrExist}
	} else if !errors.Is(serr, fs.ErrNotExist) {
		return errors.Join(err, serr)
	}
	return d.rename(oldpath, newpath)
}

func (d *disk) rename(oldpath, newpath string) error {
	if err := d.check("rename", newpath); err != nil {
		return err
	}
	return os.Rename(oldpath, newpath)
}

// syncDir makes the entries of a folder durable.
func (d *disk) syncDir(path string) error {
	if err := d.check("syncdir", path); err != nil {
		return err
	}
	if err := durable.SyncDir(path); err != nil {
		return fmt.Errorf("sync folder %s: %w", path, err)
	}
	return nil
}

// sync makes files durable, and the folders on the way to them from the table's folder.
func (d *disk) sync(paths []string) error {
	dirs := make(map[string]bool)
	for _, path := range paths {
		if err := d.check("sync", path); err != nil {
			return err
		}
		// Opened for writing: some systems do not sync a file that is open for reading only.
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return fmt.Errorf("sync %s: %w", path, err)
		}
		for dir := filepath.Dir(path); strings.HasPrefix(dir, d.dir) && !dirs[dir]; dir = filepath.Dir(dir) {
			dirs[dir] = true
			if err := d.syncDir(dir); err != nil {
				return err
			}
		}
	}
	return nil
}
