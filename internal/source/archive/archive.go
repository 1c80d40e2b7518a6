// Package archive reads the members of zip and tar archives, which it knows by their content, and passes on everything else
// as it is. Tar archives may be compressed with gzip or zstd. Archives inside of an archive are read too, one level deep.
//
// What an archive holds is hostile: the number of members, the bytes they expand to, and what a nested zip archive may
// take of temporary storage are limited ([Limits]). Names of members are names only; nothing is ever written to them.
package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"spoor/internal/source"
)

// Limits bound what one archive may ask for, with everything nested in it. Zero members stand for the defaults.
type Limits struct {
	Members  int64 // members
	Expanded int64 // bytes of all members
	Ratio    int64 // bytes of all members for each byte of the archive, looked at beyond 1 GiB
	Spill    int64 // bytes of a zip archive that does not lie in a file, and needs a temporary one
}

// The defaults of [Limits].
const (
	DefaultMembers  = 10_000_000
	DefaultExpanded = 4 << 40
	DefaultRatio    = 2000
	DefaultSpill    = 8 << 30
)

// LimitError says that an archive is larger than the limits allow; what lies behind is not read.
type LimitError struct {
	What  string
	Limit int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the archive has more than %d %s", e.Limit, e.What)
}

// Opener reads archives within limits. It is safe for concurrent use.
type Opener struct {
	lim       Limits
	ratioFrom int64 // bytes beyond which the ratio counts: small archives expand as they like

	heads sync.Pool // *[headSize]byte
	gzips sync.Pool // *gzip.Reader
	flate sync.Pool // *inflater
}

// New returns an Opener.
func New(lim Limits) *Opener {
	if lim.Members <= 0 {
		lim.Members = DefaultMembers
	}
	if lim.Expanded <= 0 {
		lim.Expanded = DefaultExpanded
	}
	if lim.Ratio <= 0 {
		lim.Ratio = DefaultRatio
	}
	if lim.Spill <= 0 {
		lim.Spill = DefaultSpill
	}
	return &Opener{lim: lim, ratioFrom: 1 << 30}
}

// Reader is what a [source.Source]'s Open calls for each object.
type Reader = func(obj source.Object, r io.Reader) error

// Read calls read with obj and all of r, or, when r is an archive, with each of its members: see [source.Source]. An
// *os.File of a zip archive is read in place.
func (o *Opener) Read(ctx context.Context, obj source.Object, r io.Reader, read Reader) error {
	x := o.expand(obj, &totals{stored: obj.Size}, read)
	return x.result(obj, x.object(ctx, obj, r, 0))
}

// result is the error of a whole archive for the caller.
func (x *expansion) result(obj source.Object, err error) error {
	if x.stopped != nil {
		return x.stopped
	}
	if err != nil {
		return fmt.Errorf("read archive %s: %w", obj.Name, err)
	}
	return nil
}

// expansion is one archive being read, with everything nested in it.
type expansion struct {
	*Opener
	*totals
	read    Reader
	within  source.Selection
	stopped error // what read returned: it ends everything
}

// totals are what the limits are about. Members of one archive may be read at the same time.
type totals struct {
	stored   int64 // bytes of the outermost archive, -1 when not known
	members  atomic.Int64
	expanded atomic.Int64
}

func (o *Opener) expand(obj source.Object, t *totals, read Reader) *expansion {
	x := &expansion{Opener: o, totals: t, read: read}
	if obj.Within != nil {
		x.within = *obj.Within
	}
	return x
}

// errStop is returned up the stack for stopped.
var errStop = errors.New("stopped")

// give calls read.
func (x *expansion) give(obj source.Object, r io.Reader) error {
	if err := x.read(obj, r); err != nil {
		x.stopped = err
		return errStop
	}
	return nil
}

// fails gives an object that cannot be read.
func (x *expansion) fails(obj source.Object, err error) error {
	return x.give(obj, failing{err})
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

const headSize = 32 << 10

// object gives a log, or the members of an archive. Depth is the number of archives around it. An error is one of the
// archive itself, errStop, or a *LimitError; those of logs are in their readers.
func (x *expansion) object(ctx context.Context, obj source.Object, r io.Reader, depth int) error {
	head, _ := x.heads.Get().(*[headSize]byte)
	if head == nil {
		head = new([headSize]byte)
	}
	defer x.heads.Put(head)
	rest := &replay{ctx: ctx, r: r}
	n := 0
	for n < blockSize && rest.err == nil {
		var k int
		k, rest.err = r.Read(head[n:])
		n += k
	}
	rest.head = head[:n]

	form := x.sniff(obj.Name, rest.head)
	if form == plain {
		return x.give(obj, rest)
	}
	if depth > 1 {
		return x.fails(obj, errors.New("archive inside of an archive inside of an archive"))
	}
	var err error
	switch form {
	case zipped:
		err = x.zip(ctx, obj, r, rest, depth)
	case tarred:
		err = x.tar(ctx, obj, rest, depth)
	case gzipTar:
		var z *gzip.Reader
		if z, err = gzip.NewReader(rest); err == nil {
			err = x.tar(ctx, obj, z, depth)
		}
	case zstdTar:
		var z *zstd.Decoder
		if z, err = newZstd(rest); err == nil {
			err = x.tar(ctx, obj, z, depth)
			z.Close()
		}
	}
	var over *LimitError
	if err == nil || depth == 0 || errors.Is(err, errStop) || errors.As(err, &over) || ctx.Err() != nil {
		return err
	}
	return x.fails(obj, fmt.Errorf("read archive: %w", err)) // a broken archive does not break the one around it
}

// entry is a member of an archive as its directory or header tells it.
type entry struct {
	name     string
	size     int64 // -1 when not known
	modified time.Time
	skip     string // a reason for which it is not read
	open     func() (io.ReadCloser, error)
}

// object makes the object of a member of an archive.
func (e *entry) object(of source.Object, sel *source.Selection) source.Object {
	name := strings.ToValidUTF8(e.name, "\uFFFD")
	key := name
	if !strings.Contains(key, "/") {
		key = strings.ReplaceAll(key, `\`, "/") // some programs write Windows paths
	}
	obj := source.Object{
		Name: of.Name + "!" + name, Size: e.size, Modified: e.modified, Place: source.ParseKey(key), Archive: of.Name, Within: of.Within,
		Skip: e.skip,
	}
	switch {
	case obj.Skip != "":
	case obj.Size == 0:
		obj.Skip = source.SkipEmpty
	case source.SystemFile(key):
		obj.Skip = source.SkipSystem
	default:
		obj.Skip = sel.Skip(obj.Place)
	}
	return obj
}

// member gives one member of an archive, or what is in it.
func (x *expansion) member(ctx context.Context, of source.Object, e entry, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if x.members.Add(1) > x.lim.Members {
		return &LimitError{"members", x.lim.Members}
	}
	obj := e.object(of, &x.within)
	if obj.Skip != "" {
		return x.give(obj, strings.NewReader(""))
	}
	r, err := e.open()
	if err != nil {
		return x.fails(obj, err)
	}
	defer r.Close()
	m := &meter{r: r, x: x}
	if err := x.object(ctx, obj, m, depth+1); err != nil {
		return err
	}
	return m.over
}

// meter counts what members expand to, and ends them at the limit.
type meter struct {
	r    io.Reader
	x    *expansion
	over error
}

func (m *meter) Read(p []byte) (int, error) {
	if m.over != nil {
		return 0, m.over
	}
	n, err := m.r.Read(p)
	total := m.x.expanded.Add(int64(n))
	switch lim := m.x.lim; {
	case total > lim.Expanded:
		m.over = &LimitError{"bytes inside", lim.Expanded}
	case total > m.x.ratioFrom && m.x.stored >= 0 && total/lim.Ratio > m.x.stored:
		m.over = &LimitError{"times its own size inside", lim.Ratio}
	default:
		return n, err
	}
	return 0, m.over
}

// replay reads the head again and then what follows it.
type replay struct {
	ctx  context.Context
	head []byte
	r    io.Reader
	err  error // instead of what follows
}

func (p *replay) Read(b []byte) (int, error) {
	if err := p.ctx.Err(); err != nil {
		return 0, err
	}
	if len(p.head) > 0 {
		n := copy(b, p.head)
		p.head = p.head[n:]
		return n, nil
	}
	if p.err != nil {
		return 0, p.err
	}
	return p.r.Read(b)
}

func newZstd(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
}

// form is what the first bytes of an object say that it is.
type form uint8

const (
	plain form = iota // not an archive
	zipped
	tarred
	gzipTar
	zstdTar
)

func (o *Opener) sniff(name string, head []byte) form {
	if len(head) < 4 {
		return plain
	}
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")), bytes.HasPrefix(head, []byte("PK\x07\x08PK\x03\x04")):
		return zipped
	case isTar(head):
		return tarred
	case head[0] == 0x1f && head[1] == 0x8b && !saysLog(name):
		if o.tarInside(head, true) {
			return gzipTar
		}
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}) && !saysLog(name):
		if o.tarInside(head, false) {
			return zstdTar
		}
	}
	return plain
}

// tarInside reports whether a compressed stream starts with the header of a tar archive.
func (o *Opener) tarInside(head []byte, gz bool) bool {
	var block [blockSize]byte
	if !gz {
		z, err := newZstd(bytes.NewReader(head))
		if err != nil {
			return false
		}
		defer z.Close()
		_, err = io.ReadFull(z, block[:])
		return err == nil && isTar(block[:])
	}
	z, _ := o.gzips.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer o.gzips.Put(z)
	if z.Reset(bytes.NewReader(head)) != nil {
		return false
	}
	_, err := io.ReadFull(z, block[:])
	return err == nil && isTar(block[:])
}

// saysLog reports whether a compressed file's name says that it is text: then nothing is decompressed to find out whether
// it is an archive, which would cost as much as reading a small log.
func saysLog(name string) bool {
	dot := strings.LastIndexByte(name, '.')
	if dot < 0 || !oneOf(name[dot+1:], packings[:]) {
		return false
	}
	name = name[:dot]
	return oneOf(name[strings.LastIndexByte(name, '.')+1:], texts[:])
}

var (
	packings = [...]string{"gz", "zst", "zstd"}
	texts    = [...]string{"json", "jsonl", "ndjson", "log", "txt", "csv", "tsv"}
)

// oneOf reports whether s is one of names, in any case of letters.
func oneOf(s string, names []string) bool {
	for _, name := range names {
		if len(s) == len(name) && strings.EqualFold(s, name) {
			return true
		}
	}
	return false
}
