package validate

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"

	"spoor/internal/blob"
	"spoor/internal/trail/digest"
)

// Source is where objects are read from: a [blob.Storage], or a [Folder]. Errors wrap [blob.ErrNoBucket], [blob.ErrNoKey] and
// [blob.ErrDenied]. Its methods are called concurrently.
type Source interface {
	List(ctx context.Context, bucket, prefix, after string, most int) (objects []blob.Object, more bool, err error)
	Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Object, error)
}

// Folder reads files that lie as they lay in a bucket, or in several, each in its own folder. Metadata is not kept by files.
type Folder struct {
	root  *os.Root
	roots []folderRoot

	mu   sync.Mutex
	last map[string][]entry // folders that were read lately, by name
}

// folderRoot is a part of the folder that holds a part of a bucket.
type folderRoot struct {
	dir    string // below the folder, "." for itself
	bucket string
	base   string // what keys have before the path of a file, empty or with a slash at its end
}

type entry struct {
	name string // with a slash after it for a folder
	size int64
}

// FolderRoot tells what bucket a part of a folder stands for.
type FolderRoot struct{ Dir, Bucket, Base string }

const (
	keptFolders = 16
	askedEach   = 5   // digests that are asked, for each layout below a folder
	askedMost   = 200 // and in all
)

// OpenFolder opens a folder, and asks some of its digests in which bucket they lay, and where. An empty bucket is whatever they say;
// otherwise it is the bucket of everything in the folder.
func OpenFolder(ctx context.Context, dir, bucket string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder: %w", err)
	}
	f := &Folder{root: root, last: map[string][]entry{}}
	if err := f.ask(ctx, bucket); err != nil {
		return nil, errors.Join(fmt.Errorf("look through folder %s: %w", dir, err), root.Close())
	}
	return f, nil
}

// Close closes the folder.
func (f *Folder) Close() error { return f.root.Close() }

// Roots tells which buckets were found.
func (f *Folder) Roots() []FolderRoot {
	out := make([]FolderRoot, len(f.roots))
	for i, r := range f.roots {
		out[i] = FolderRoot{r.dir, r.bucket, r.base}
	}
	return out
}

// ask finds the roots: where a digest says that it lay, less where it lies, is what stands for the bucket. The majority decides.
func (f *Folder) ask(ctx context.Context, bucket string) error {
	votes := map[string]map[folderRoot]int{}
	asked, each := 0, map[string]int{}
	err := fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		dir, file := path.Split(name)
		if d.IsDir() {
			// Log files are many, and tell nothing.
			if d.Name() != "CloudTrail-Digest" && strings.HasPrefix(d.Name(), "CloudTrail") && name != "." {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.Contains(file, "_CloudTrail-Digest_") || !strings.HasSuffix(file, ".json.gz") {
			return nil
		}
		layout, _, _ := strings.Cut(dir, "CloudTrail-Digest/")
		if each[layout] >= askedEach || asked >= askedMost {
			return fs.SkipDir
		}
		each[layout]++
		asked++
		d2 := f.digest(name)
		if d2 == nil {
			return nil
		}
		r := folderRoot{dir: ".", bucket: cmp.Or(bucket, d2.Bucket)}
		if base, ok := strings.CutSuffix(d2.Object, name); ok && (base == "" || strings.HasSuffix(base, "/")) {
			r.base = base
		} else if sub, ok := strings.CutSuffix(name, "/"+d2.Object); ok {
			r.dir = sub
		} else {
			return nil
		}
		if votes[r.dir] == nil {
			votes[r.dir] = map[folderRoot]int{}
		}
		votes[r.dir][r]++
		return nil
	})
	if err != nil {
		return err
	}
	for _, found := range votes {
		var best folderRoot
		most := 0
		for r, n := range found {
			if n > most || n == most && cmp.Or(cmp.Compare(r.bucket, best.bucket), cmp.Compare(r.base, best.base)) < 0 {
				best, most = r, n
			}
		}
		f.roots = append(f.roots, best)
	}
	if len(f.roots) == 0 {
		f.roots = []folderRoot{{dir: ".", bucket: bucket}}
	}
	slices.SortFunc(f.roots, func(a, b folderRoot) int { return cmp.Compare(a.dir, b.dir) })
	return nil
}

// digest reads a digest as it is, nil when it is none.
func (f *Folder) digest(name string) *digest.Digest {
	in, err := f.root.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = in.Close() }() // read only
	var held, text bytes.Buffer
	if _, err := held.ReadFrom(io.LimitReader(in, mostHeld)); err != nil {
		return nil
	}
	e := newExpander().(*expander)
	e.in.Reset(held.Bytes())
	if _, err := e.expand(&e.in, &text, mostDigest); err != nil {
		return nil
	}
	d, err := digest.Parse(text.Bytes())
	if err != nil {
		return nil
	}
	return d
}

// where finds the file of a key; ok is false when the folder has nothing of the bucket.
func (f *Folder) where(bucket, key string) (name string, found, ok bool) {
	for _, r := range f.roots {
		if r.bucket != bucket {
			continue
		}
		ok = true
		if rel, has := strings.CutPrefix(key, r.base); has && rel != "" && fs.ValidPath(rel) {
			return path.Join(r.dir, rel), true, true
		}
	}
	return "", false, ok
}

// Get implements [Source].
func (f *Folder) Get(_ context.Context, bucket, key string) (io.ReadCloser, blob.Object, error) {
	name, found, ok := f.where(bucket, key)
	if !ok {
		return nil, blob.Object{}, blob.ErrNoBucket
	}
	if !found {
		return nil, blob.Object{}, blob.ErrNoKey
	}
	in, err := f.root.Open(name)
	if err != nil {
		return nil, blob.Object{}, fileError(err)
	}
	info, err := in.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = blob.ErrNoKey
	}
	if err != nil {
		return nil, blob.Object{}, errors.Join(fileError(err), in.Close())
	}
	return in, blob.Object{Key: key, Size: info.Size(), Modified: info.ModTime()}, nil
}

func fileError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: %w", blob.ErrNoKey, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: %w", blob.ErrDenied, err)
	}
	return err
}

// List implements [Source].
func (f *Folder) List(ctx context.Context, bucket, prefix, after string, most int) ([]blob.Object, bool, error) {
	l := folderList{f: f, ctx: ctx, prefix: prefix, after: after, most: most}
	known := false
	for _, r := range f.roots {
		if r.bucket != bucket {
			continue
		}
		known = true
		dir, above := r.dir, r.base
		if err := l.walk(dir, above); err != nil {
			return nil, false, err
		}
	}
	if !known {
		return nil, false, blob.ErrNoBucket
	}
	if len(f.roots) > 1 { // parts of one bucket in several folders
		slices.SortFunc(l.out, func(a, b blob.Object) int { return cmp.Compare(a.Key, b.Key) })
	}
	if len(l.out) > most {
		return l.out[:most], true, nil
	}
	return l.out, false, nil
}

type folderList struct {
	f             *Folder
	ctx           context.Context
	prefix, after string
	most          int
	out           []blob.Object
	from          int // where in out the present root began
}

// walk adds what lies in a folder whose keys begin with base, in the order of keys, until one more than asked for is there.
func (l *folderList) walk(dir, base string) error {
	l.from = len(l.out)
	return l.below(dir, base)
}

func (l *folderList) below(dir, base string) error {
	if err := l.ctx.Err(); err != nil {
		return err
	}
	entries, err := l.f.read(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if len(l.out)-l.from > l.most {
			return nil
		}
		key := base + e.name
		if name, isDir := strings.CutSuffix(e.name, "/"); isDir {
			// Below it keys begin with key: all before after, or none with the prefix?
			if l.after >= key && !strings.HasPrefix(l.after, key) || !strings.HasPrefix(key, l.prefix) && !strings.HasPrefix(l.prefix, key) {
				continue
			}
			if err := l.below(path.Join(dir, name), key); err != nil {
				return err
			}
			continue
		}
		if key > l.after && strings.HasPrefix(key, l.prefix) {
			l.out = append(l.out, blob.Object{Key: key, Size: e.size})
		}
	}
	return nil
}

// read lists a folder in the order of keys.
func (f *Folder) read(dir string) ([]entry, error) {
	f.mu.Lock()
	kept, ok := f.last[dir]
	f.mu.Unlock()
	if ok {
		return kept, nil
	}
	in, err := f.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // removed meanwhile
	}
	if err != nil {
		return nil, fileError(err)
	}
	found, err := in.ReadDir(-1)
	if err = errors.Join(err, in.Close()); err != nil {
		return nil, fileError(err)
	}
	out := make([]entry, 0, len(found))
	for _, d := range found {
		switch {
		case d.IsDir():
			out = append(out, entry{name: d.Name() + "/"})
		case d.Type().IsRegular():
			e := entry{name: d.Name()}
			if info, err := d.Info(); err == nil {
				e.size = info.Size()
			}
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.last) >= keptFolders {
		clear(f.last)
	}
	f.last[dir] = out
	return out, nil
}

// Signature is what the metadata of a digest says, kept beside it: files lose their metadata. In a file of signatures each is one
// line of JSON.
type Signature struct {
	Bucket   string            `json:"bucket"`
	Key      string            `json:"key"`
	Metadata map[string]string `json:"metadata"` // those of the names in package digest
}

// SignatureOf makes the line of a digest.
func SignatureOf(bucket, key string, metadata map[string]string) Signature {
	s := Signature{bucket, key, map[string]string{}}
	for _, name := range []string{digest.MetaSignature, digest.MetaAlgorithm, digest.MetaBackfill} {
		if v, ok := metadata[name]; ok {
			s.Metadata[name] = v
		}
	}
	return s
}

// Signatures are those of a file, by bucket and key.
type Signatures map[[2]string]map[string]string

// ReadSignatures reads a file of signatures.
func ReadSignatures(r io.Reader) (Signatures, error) {
	out := Signatures{}
	dec := json.NewDecoder(r)
	for {
		var s Signature
		if err := dec.Decode(&s); errors.Is(err, io.EOF) {
			return out, nil
		} else if err != nil {
			return nil, fmt.Errorf("signature %d: %w", len(out)+1, err)
		}
		if s.Bucket == "" || s.Key == "" || s.Metadata[digest.MetaSignature] == "" {
			return nil, fmt.Errorf("signature %d: bucket, key or signature is missing", len(out)+1)
		}
		out[[2]string{s.Bucket, s.Key}] = s.Metadata
	}
}
