// Package files lists and reads logs in files, folders and standard input, and in archives found among them.
//
// Folders are listed recursively and nothing in them is passed over silently: empty files and what file managers leave
// behind are visited with a reason, a folder that cannot be read is an object that cannot be opened. Links are followed,
// each folder is listed once. Folders of an AWSLogs layout outside of the selection are not entered.
package files

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"spoor/internal/source"
	"spoor/internal/source/archive"
)

// Source is a file or a folder.
type Source struct {
	root   string // as given
	abs    string // with slashes, for places
	info   fs.FileInfo
	opener *archive.Opener

	buffers sync.Pool // of *[]byte, for small files

	once   sync.Once // opens zip
	zip    *archive.Zip
	zipErr error
}

// New returns the source of a file or folder. It must exist.
func New(path string, lim archive.Limits) (*Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err // names what and which
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", path, err)
	}
	return &Source{root: filepath.Clean(path), abs: filepath.ToSlash(abs), info: info, opener: archive.New(lim)}, nil
}

// Parallel is 0: as many files as there are processors.
func (s *Source) Parallel() int { return 0 }

// List visits the file, or every file below the folder. Of a zip archive given by its own name it also visits the
// members, so that they can be read at the same time; other archives show theirs when they are opened.
func (s *Source) List(ctx context.Context, sel source.Selection, visit func(obj source.Object, skip string) error) error {
	return s.list(ctx, sel, false, visit)
}

// ListNames is List without asking for the sizes of files in folders: see [source.Namer].
func (s *Source) ListNames(ctx context.Context, sel source.Selection, visit func(obj source.Object, skip string) error) error {
	return s.list(ctx, sel, true, visit)
}

// Look asks for what ListNames did not.
func (s *Source) Look(obj source.Object) source.Object {
	if info, err := os.Stat(obj.Name); err == nil {
		obj.Size, obj.Modified = info.Size(), info.ModTime()
	}
	return obj
}

func (s *Source) list(ctx context.Context, sel source.Selection, names bool, visit func(obj source.Object, skip string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.info.IsDir() {
		return s.listFile(ctx, &sel, visit)
	}
	w := walk{ctx: ctx, sel: &sel, names: names, visit: visit, seen: map[string]bool{}}
	real, err := filepath.EvalSymlinks(s.root)
	if err == nil {
		real, err = filepath.Abs(real)
	}
	if err != nil {
		return fmt.Errorf("list %s: %w", s.root, err)
	}
	if err := w.folder(folder{path: s.root, key: s.abs, real: real}); err != nil {
		return err
	}
	for len(w.links) > 0 { // after everything that is not linked to, so that files go by their own names
		l := w.links[0]
		w.links = w.links[1:]
		if err := w.folder(l); err != nil {
			return err
		}
	}
	return nil
}

func (s *Source) listFile(ctx context.Context, sel *source.Selection, visit func(obj source.Object, skip string) error) error {
	obj := source.Object{Name: s.root, Size: -1, Modified: s.info.ModTime(), Place: source.ParseKey(s.abs), Within: sel}
	if !s.info.Mode().IsRegular() { // a pipe
		return visit(obj, "")
	}
	obj.Size = s.info.Size()
	if skip := reason(sel, obj); skip != "" {
		return visit(obj, skip)
	}
	z, err := s.openZip()
	obj.Err = err
	if err := visit(obj, ""); err != nil || z == nil {
		return err
	}
	return z.List(ctx, sel, visit)
}

// openZip returns the archive that the source is, if it is one. The file stays open as long as the source is in use.
func (s *Source) openZip() (*archive.Zip, error) {
	s.once.Do(func() {
		f, err := os.Open(s.root)
		if err != nil {
			s.zipErr = err
			return
		}
		s.zip, s.zipErr = s.opener.OpenZip(source.Object{Name: s.root, Size: s.info.Size()}, f)
		if s.zip == nil {
			s.zipErr = errors.Join(s.zipErr, f.Close())
		}
	})
	return s.zip, s.zipErr
}

// Open reads a file, or the members of an archive.
func (s *Source) Open(ctx context.Context, obj source.Object, read func(obj source.Object, r io.Reader) error) error {
	if obj.Err != nil {
		return obj.Err
	}
	if !s.info.IsDir() && s.info.Mode().IsRegular() && (obj.Name == s.root || obj.Archive == s.root) {
		switch z, err := s.openZip(); {
		case err != nil:
			return err
		case z != nil && obj.Archive == s.root:
			return z.Open(ctx, obj, read)
		case z != nil:
			return nil // the members are objects of the listing
		}
	}
	unsized := obj.Size < 0 && s.info.IsDir() // by ListNames
	if unsized || obj.Size > 0 && obj.Size <= smallFile {
		buf, _ := s.buffers.Get().(*[]byte)
		if buf == nil {
			buf = new([]byte)
		}
		defer s.buffers.Put(buf)
		got, err := readWhole(obj.Name, obj.Size, *buf)
		*buf = got.text[:cap(got.text)]
		if err != nil {
			return err // "open NAME: …"
		}
		if unsized {
			if obj.Size = got.size; obj.Size < 0 {
				obj = s.Look(obj)
			}
			switch {
			case got.special:
				obj.Skip = source.SkipSpecial
			case obj.Size == 0:
				obj.Skip = source.SkipEmpty
			}
			if obj.Skip != "" {
				return read(obj, strings.NewReader(""))
			}
		}
		if got.whole {
			return s.opener.Read(ctx, obj, bytes.NewReader(got.text), read)
		}
	}
	f, err := os.Open(obj.Name)
	if err != nil {
		return err // "open NAME: …"
	}
	defer f.Close()
	return s.opener.Read(ctx, obj, f, read)
}

// smallFile is the size up to which a file is read at once.
const smallFile = 1 << 20

// reading is what [readWhole] came to.
type reading struct {
	text    []byte
	size    int64 // of the file when it was opened, or as it was given; -1 when not known
	whole   bool  // text is the file
	special bool  // it is no regular file
}

// reason is why a regular file is not read.
func reason(sel *source.Selection, obj source.Object) string {
	switch {
	case obj.Size == 0:
		return source.SkipEmpty
	case source.SystemFile(filepath.ToSlash(obj.Name)):
		return source.SkipSystem
	}
	return sel.Skip(obj.Place)
}

// walk is one listing of a folder.
type walk struct {
	ctx   context.Context
	sel   *source.Selection
	names bool // sizes are not wanted
	visit func(obj source.Object, skip string) error
	seen  map[string]bool // real paths of the folders listed
	links []folder
}

type folder struct {
	path string // as shown and opened
	key  string // absolute, with slashes
	real string // without links
}

// below is what lies in a folder under a name.
func (f folder) below(name string) folder {
	return folder{path: join(f.path, name), key: f.key + "/" + name, real: join(f.real, name)}
}

// join is filepath.Join for a clean path and a plain name.
func join(dir, name string) string {
	if strings.HasSuffix(dir, string(filepath.Separator)) {
		return dir + name
	}
	return dir + string(filepath.Separator) + name
}

// batch bounds the entries of a folder held at once.
const batch = 4096

func (w *walk) folder(f folder) error {
	if w.seen[f.real] {
		return w.visit(source.Object{Name: f.path + "/", Size: -1}, source.SkipLoop)
	}
	w.seen[f.real] = true
	d, err := os.Open(f.path)
	if err != nil {
		return w.unlisted(f, err)
	}
	var folders []string
	at := source.ParseFolder(f.key)
	for {
		entries, readErr := d.ReadDir(batch)
		slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
		for _, e := range entries {
			if err := w.ctx.Err(); err != nil {
				return errors.Join(err, d.Close())
			}
			if e.IsDir() {
				folders = append(folders, e.Name())
				continue
			}
			if err := w.entry(f, &at, e); err != nil {
				d.Close()
				return err
			}
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			if err := w.unlisted(f, readErr); err != nil {
				d.Close()
				return err
			}
			break
		}
	}
	if err := d.Close(); err != nil {
		return fmt.Errorf("list %s: %w", f.path, err)
	}
	slices.Sort(folders)
	for _, name := range folders {
		if err := w.subfolder(f.below(name)); err != nil {
			return err
		}
	}
	return nil
}

// subfolder lists a folder unless the selection leaves it out.
func (w *walk) subfolder(f folder) error {
	at := source.ParseFolder(f.key)
	skip := w.sel.SkipFolder(at)
	switch {
	case skip == "":
		return w.folder(f)
	case source.Counts(skip):
		return w.visit(source.Object{Name: f.path + "/", Size: -1, Place: at.Place}, skip)
	}
	return nil
}

// unlisted visits a folder that cannot be listed, or not to its end, as an object that fails.
func (w *walk) unlisted(f folder, err error) error {
	return w.visit(source.Object{Name: f.path + "/", Size: -1, Place: source.ParseFolder(f.key).Place, Err: fmt.Errorf("list folder: %w", err)}, "")
}

// entry visits what is not a folder; at is what the path of f tells.
func (w *walk) entry(f folder, at *source.Folder, e fs.DirEntry) error {
	name := e.Name()
	obj := source.Object{Name: join(f.path, name), Size: -1, Place: at.Holds(name), Within: w.sel}
	var info fs.FileInfo
	var err error
	switch {
	case e.Type()&fs.ModeSymlink != 0:
		info, err = os.Stat(obj.Name)
		if err == nil && info.IsDir() {
			to := f.below(name)
			if to.real, err = filepath.EvalSymlinks(to.path); err == nil {
				if to.real, err = filepath.Abs(to.real); err == nil {
					if skip := w.sel.SkipFolder(source.ParseFolder(to.key)); skip == "" {
						w.links = append(w.links, to)
						return nil
					}
					return w.subfolder(to)
				}
			}
		}
	case w.names && e.Type().IsRegular() && reason(w.sel, obj) == "":
		return w.visit(obj, "")
	default:
		info, err = e.Info()
	}
	if err != nil {
		obj.Err = err
		return w.visit(obj, "")
	}
	obj.Modified = info.ModTime()
	if !info.Mode().IsRegular() {
		return w.visit(obj, source.SkipSpecial)
	}
	obj.Size = info.Size()
	return w.visit(obj, reason(w.sel, obj))
}
