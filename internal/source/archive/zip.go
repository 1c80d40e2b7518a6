package archive

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/zstd"

	"spoor/internal/source"
)

// Zip is a zip archive in a file, whose members are listed and opened one by one, also at the same time.
type Zip struct {
	opener *Opener
	totals *totals
	obj    source.Object
	file   *os.File
	names  map[string]*zip.File
	order  []string
}

// OpenZip opens a zip archive for [Zip.List] and [Zip.Open]. It returns nil when f is none. The caller closes f.
func (o *Opener) OpenZip(obj source.Object, f *os.File) (*Zip, error) {
	var head [8]byte
	n, err := f.ReadAt(head[:], 0)
	if n < 4 || err != nil && err != io.EOF || o.sniff(obj.Name, head[:n]) != zipped {
		return nil, nil // what cannot be read here is reported when it is opened
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	zr, err := o.newZip(f, info.Size())
	if err != nil {
		return nil, fmt.Errorf("read archive %s: %w", obj.Name, err)
	}
	z := &Zip{opener: o, totals: &totals{stored: info.Size()}, obj: obj, file: f, names: make(map[string]*zip.File, len(zr.File))}
	for _, f := range zr.File {
		if isFolder(f) {
			continue
		}
		e := zipEntry(f)
		name := e.object(obj, &source.Selection{}).Name
		for n := 2; z.names[name] != nil; n++ {
			name = fmt.Sprintf("%s (%d)", e.object(obj, &source.Selection{}).Name, n)
		}
		z.names[name] = f
		z.order = append(z.order, name)
	}
	return z, nil
}

// List visits every member: see [source.Source].
func (z *Zip) List(ctx context.Context, sel *source.Selection, visit func(obj source.Object, skip string) error) error {
	of := z.obj
	of.Within = sel
	for _, name := range z.order {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := zipEntry(z.names[name])
		obj := e.object(of, sel)
		obj.Name = name
		skip := obj.Skip
		obj.Skip = ""
		if err := visit(obj, skip); err != nil {
			return err
		}
	}
	return nil
}

// Open reads a member that List visited: see [source.Source].
func (z *Zip) Open(ctx context.Context, obj source.Object, read Reader) error {
	f := z.names[obj.Name]
	if f == nil {
		return fmt.Errorf("open %s: %w", obj.Name, fs.ErrNotExist)
	}
	if z.totals.members.Add(1) > z.opener.lim.Members {
		return fmt.Errorf("open %s: %w", obj.Name, &LimitError{"members", z.opener.lim.Members})
	}
	r, err := openMember(f)
	if err != nil {
		return fmt.Errorf("open %s: %w", obj.Name, err)
	}
	defer r.Close()
	x := z.opener.expand(obj, z.totals, read)
	return x.result(obj, x.object(ctx, obj, &meter{r: r, x: x}, 1))
}

// inMemory is the size up to which a nested zip archive is not copied into a file.
const inMemory = 4 << 20

// zip gives the members of a zip archive. r is what rest replays.
func (x *expansion) zip(ctx context.Context, obj source.Object, r io.Reader, rest io.Reader, depth int) error {
	ra, size, err := x.whole(r, rest)
	if err != nil {
		return err
	}
	if t, ok := ra.(*temporary); ok {
		defer t.Close()
	}
	zr, err := x.newZip(ra, size)
	if err != nil {
		return err
	}
	for _, f := range zr.File {
		if isFolder(f) {
			continue
		}
		if err := x.member(ctx, obj, zipEntry(f), depth); err != nil {
			return err
		}
	}
	return nil
}

// whole makes an archive readable at any offset: a file as it is, a small one in memory, another one in a temporary file,
// which is gone when it is closed.
func (x *expansion) whole(r io.Reader, rest io.Reader) (io.ReaderAt, int64, error) {
	if f, ok := r.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			return f, info.Size(), nil
		}
	}
	var b bytes.Buffer
	n, err := io.CopyN(&b, rest, inMemory)
	if err == io.EOF {
		return bytes.NewReader(b.Bytes()), n, nil
	}
	if err != nil {
		return nil, 0, err
	}
	f, err := os.CreateTemp("", "spoor-*.zip")
	if err != nil {
		return nil, 0, fmt.Errorf("copy the archive: %w", err)
	}
	t := &temporary{f}
	if n, err = io.Copy(f, io.LimitReader(io.MultiReader(&b, rest), x.lim.Spill+1)); err == nil && n > x.lim.Spill {
		err = &LimitError{"bytes, which is too large to be copied into a temporary file: unpack it first,", x.lim.Spill}
	}
	if err != nil {
		return nil, 0, errors.Join(err, t.Close())
	}
	return t, n, nil
}

type temporary struct{ *os.File }

func (t *temporary) Close() error { return errors.Join(t.File.Close(), os.Remove(t.Name())) }

func isFolder(f *zip.File) bool {
	return strings.HasSuffix(f.Name, "/") && f.UncompressedSize64 == 0
}

func zipEntry(f *zip.File) entry {
	e := entry{name: f.Name, size: -1, modified: f.Modified, open: func() (io.ReadCloser, error) { return openMember(f) }}
	// A directory that lies about a size must not make a member look empty: nothing takes up to 5 bytes when deflated.
	if f.UncompressedSize64 <= math.MaxInt64 && (f.UncompressedSize64 > 0 || f.CompressedSize64 <= 5) {
		e.size = int64(f.UncompressedSize64)
	}
	switch mode := f.Mode(); {
	case mode&fs.ModeSymlink != 0:
		e.skip = source.SkipLink
	case mode.Type()&^fs.ModeDir != 0:
		e.skip = source.SkipSpecial
	}
	return e
}

func openMember(f *zip.File) (io.ReadCloser, error) {
	if f.Flags&1 != 0 {
		return nil, errors.New("the member is encrypted")
	}
	return f.Open()
}

const zstdMethod = 93 // APPNOTE.TXT 6.3.10, section 4.4.5

func (o *Opener) newZip(r io.ReaderAt, size int64) (*zip.Reader, error) {
	zr, err := zip.NewReader(r, size)
	if err != nil {
		return nil, err
	}
	zr.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser {
		if f, ok := o.flate.Get().(*inflater); ok {
			if f.r.(flate.Resetter).Reset(r, nil) == nil {
				return f
			}
		}
		return &inflater{r: flate.NewReader(r), pool: &o.flate}
	})
	zr.RegisterDecompressor(zstdMethod, zstd.ZipDecompressor(zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20)))
	return zr, nil
}

// inflater goes back into its pool when it is closed.
type inflater struct {
	r    io.ReadCloser
	pool *sync.Pool
}

func (f *inflater) Read(p []byte) (int, error) { return f.r.Read(p) }

func (f *inflater) Close() error {
	err := f.r.Close()
	f.pool.Put(f)
	return err
}
