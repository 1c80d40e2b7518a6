package history

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"spoor/internal/durable"
	"spoor/internal/store"
	"spoor/internal/store/table"
)

var zeroTime time.Time

// indexSuffix is that of the files with indexes, beside the name of the data file.
const indexSuffix = ".hix"

// indexes has the indexes of data files in a folder. They are not synced: what is not whole, by its checksum, is made again.
// It is safe for concurrent use.
type indexes struct {
	dir   string
	now   func() time.Time
	slots chan struct{} // for building

	mu    sync.Mutex
	files map[string]*indexFile // by name
}

// indexFile is an index that is there, or being made.
type indexFile struct {
	done   chan struct{} // closed when header and err count
	header header
	err    error
	again  time.Time // when a data file that is damaged is looked at again
	gone   time.Time // since when no plan has its data file; zero for those that have one
}

func nameOfIndex(f table.File) string {
	return strings.TrimSuffix(path.Base(f.Name), path.Ext(f.Name)) + indexSuffix
}

func (x *indexes) path(name string) string { return filepath.Join(x.dir, name) }

// open gives the index of a data file, made if need be. Close it.
func (x *indexes) open(ctx context.Context, f table.File) (*openIndex, error) {
	for attempt := 0; ; attempt++ {
		i, err := x.ready(ctx, f)
		if err != nil {
			return nil, err
		}
		file, err := os.Open(x.path(nameOfIndex(f)))
		if err == nil {
			return &openIndex{index: index{header: i.header, r: file, block: -1}, file: file}, nil
		}
		if !errors.Is(err, fs.ErrNotExist) || attempt > 2 {
			return nil, fmt.Errorf("open an index: %w", err)
		}
		x.forget(f, i)
	}
}

// openIndex is an index that can be read.
type openIndex struct {
	index
	file *os.File
}

func (x *openIndex) Close() error {
	if x.file == nil {
		return nil
	}
	return x.file.Close()
}

// forget makes the index be looked for again.
func (x *indexes) forget(f table.File, i *indexFile) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.files[nameOfIndex(f)] == i {
		delete(x.files, nameOfIndex(f))
	}
}

// drop makes the index of a data file be made again.
func (x *indexes) drop(f table.File) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.files, nameOfIndex(f))
}

// ready waits until the index of a data file is there. Who comes first makes it.
func (x *indexes) ready(ctx context.Context, f table.File) (*indexFile, error) {
	name := nameOfIndex(f)
	for {
		x.mu.Lock()
		i := x.files[name]
		mine := i == nil || i.over(x.now())
		if mine {
			i = &indexFile{done: make(chan struct{})}
			x.files[name] = i
		}
		x.mu.Unlock()
		if mine {
			i.err = x.make(ctx, f, i)
			switch {
			case damaged(i.err):
				i.again = x.now().Add(lookAgain)
			case i.err != nil:
				x.forget(f, i)
			}
			close(i.done)
			return i, i.err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-i.done:
		}
		if i.err == nil {
			return i, nil
		}
		// Whoever made it may have gone away; what is wrong with the file shows again.
		if !errors.Is(i.err, context.Canceled) && !errors.Is(i.err, context.DeadlineExceeded) {
			return nil, i.err
		}
	}
}

// lookAgain is how long a damaged data file is left alone.
const lookAgain = time.Minute

// over reports whether it is known long enough that the data file is damaged.
func (i *indexFile) over(now time.Time) bool {
	select {
	case <-i.done:
		return i.err != nil && now.After(i.again)
	default:
		return false
	}
}

// has reports whether the index of a data file need not be made.
func (x *indexes) has(f table.File) bool {
	now := x.now()
	x.mu.Lock()
	defer x.mu.Unlock()
	i := x.files[nameOfIndex(f)]
	if i == nil || i.over(now) {
		return false
	}
	select {
	case <-i.done:
		return true
	default:
		return false
	}
}

// allReady makes the indexes of data files that are not there, several at a time. Errors are those of [indexes.open] later.
func (x *indexes) allReady(ctx context.Context, files []table.File) error {
	var group errgroup.Group
	group.SetLimit(cap(x.slots))
	for _, f := range files {
		if ctx.Err() != nil {
			break
		}
		if !x.has(f) {
			group.Go(func() error {
				_, _ = x.ready(ctx, f) // comes again
				return nil
			})
		}
	}
	_ = group.Wait() // none gives one
	return ctx.Err()
}

// make reads the index, or builds it.
func (x *indexes) make(ctx context.Context, f table.File, i *indexFile) error {
	select {
	case x.slots <- struct{}{}:
		defer func() { <-x.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	name := x.path(nameOfIndex(f))
	h, err := checkIndex(name, f)
	if err == nil {
		i.header = h
		return nil
	}
	b, err := buildIndex(ctx, f)
	if err != nil {
		return err
	}
	if i.header, _, err = parseHeader(b[:headerBytes]); err != nil {
		return err
	}
	if err := writeUnsynced(name, b); err != nil {
		return fmt.Errorf("write an index: %w", err)
	}
	return nil
}

// checkIndex reads an index through, and gives its header if it is whole and that of the data file.
func checkIndex(name string, of table.File) (header, error) {
	f, err := os.Open(name)
	if err != nil {
		return header{}, err
	}
	defer f.Close() // was opened for reading
	var head [headerBytes]byte
	if _, err := io.ReadFull(f, head[:]); err != nil {
		return header{}, errIndex
	}
	h, want, err := parseHeader(head[:])
	if err != nil {
		return header{}, err
	}
	sum := crc32.New(castagnoli)
	n, err := io.Copy(sum, f)
	if err != nil {
		return header{}, err
	}
	if sum.Sum32() != want || uint64(n)+headerBytes != h.end || h.rows != uint64(of.Rows) || h.bytes != uint64(of.Bytes) {
		return header{}, errIndex
	}
	return h, nil
}

// writeUnsynced puts a file into its place as a whole.
func writeUnsynced(name string, b []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), durable.PartPrefix)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// keep is how long the index of a data file stays that no plan has any more: lookups may still read older plans.
const keep = 5 * time.Minute

// sweep removes indexes of data files that are gone.
func (x *indexes) sweep(plan *store.Plan) error {
	there := make(map[string]bool, len(plan.Files))
	for _, f := range plan.Files {
		there[nameOfIndex(f)] = true
	}
	for _, d := range plan.Damaged {
		there[nameOfIndex(table.File{Name: d.File})] = true
	}
	list, err := os.ReadDir(x.dir)
	if err != nil {
		return fmt.Errorf("list indexes: %w", err)
	}
	now := x.now()
	var errs []error
	x.mu.Lock()
	defer x.mu.Unlock()
	for name, i := range x.files {
		switch {
		case there[name]:
			i.gone = time.Time{}
		case i.gone.IsZero():
			i.gone = now
		case now.Sub(i.gone) > keep:
			delete(x.files, name)
		}
	}
	for _, e := range list {
		name := e.Name()
		if !strings.HasSuffix(name, indexSuffix) || there[name] || x.files[name] != nil {
			continue
		}
		info, err := e.Info()
		if err == nil && now.Sub(info.ModTime()) > keep {
			err = os.Remove(x.path(name))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
