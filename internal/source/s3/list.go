package s3

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"spoor/internal/source"
)

const (
	listers = 16 // listings at once
	// Outside of the layout folders are looked into one by one to find it, as long as there are few: probeFan in a folder,
	// probeDepth deep, probeMax in all. Otherwise a folder is listed from end to end with everything below it.
	probeFan   = 200
	probeDepth = 6
	probeMax   = 1000
)

// List visits every object of the source. Nothing below a prefix that is not empty is an error.
func (s *Source) List(ctx context.Context, sel source.Selection, visit func(obj source.Object, skip string) error) error {
	client, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("list %s: %w", s.name(s.prefix), err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &listing{Source: s, client: client, sel: &sel, visit: visit, cancel: cancel}
	start, err := l.start(ctx)
	if err != nil {
		return err
	}
	for _, t := range start {
		l.add(t)
	}
	return l.run(ctx)
}

// run does all tasks.
func (l *listing) run(ctx context.Context) error {
	l.more.L = &l.mu
	var workers sync.WaitGroup
	for range listers {
		workers.Go(func() { l.work(ctx) })
	}
	workers.Wait()
	return l.err
}

// ListFolders is [Source.List] for some prefixes of the bucket, wherever they lie, each with everything below it: one request
// for a thousand objects, and one for a prefix with none, which is no error.
func (s *Source) ListFolders(ctx context.Context, prefixes []string, sel source.Selection, visit func(obj source.Object, skip string) error) error {
	client, err := s.connect(ctx)
	if err != nil {
		return fmt.Errorf("list %s: %w", s.name(s.prefix), err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := &listing{Source: s, client: client, sel: &sel, visit: visit, cancel: cancel}
	for _, p := range prefixes {
		l.tasks = append(l.tasks, task{prefix: p, flat: true})
	}
	return l.run(ctx)
}

// task is a prefix to be listed.
type task struct {
	prefix string
	flat   bool // with everything below it, else its folders become tasks
	depth  int  // of folders outside of the layout
}

// listing is one run of List.
type listing struct {
	*Source
	client *awss3.Client
	sel    *source.Selection
	cancel context.CancelFunc

	visiting sync.Mutex
	visit    func(obj source.Object, skip string) error

	mu     sync.Mutex // guards what follows
	more   sync.Cond
	tasks  []task // the last one is next, which keeps them few
	active int    // tasks being worked on
	probes int
	err    error // the first one
}

func (l *listing) add(t task) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tasks = append(l.tasks, t)
	l.more.Signal()
}

// work does tasks until there are none and none can come.
func (l *listing) work(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for {
		for len(l.tasks) == 0 && l.active > 0 && l.err == nil {
			l.more.Wait()
		}
		if len(l.tasks) == 0 || l.err != nil {
			l.more.Broadcast()
			return
		}
		t := l.tasks[len(l.tasks)-1]
		l.tasks = l.tasks[:len(l.tasks)-1]
		l.active++
		l.mu.Unlock()
		err := l.do(ctx, t)
		l.mu.Lock()
		l.active--
		if err != nil && l.err == nil {
			l.err = err
			l.cancel()
		}
	}
}

// start finds what the prefix names.
func (l *listing) start(ctx context.Context) ([]task, error) {
	if l.prefix == "" {
		return []task{l.folder("", 0)}, nil
	}
	first, err := l.first(ctx, l.prefix)
	if err != nil {
		return nil, err
	}
	if first == nil {
		return nil, fmt.Errorf("list %s: %w", l.name(l.prefix), fs.ErrNotExist)
	}
	if strings.HasSuffix(l.prefix, "/") {
		return l.wanted(l.prefix, 0)
	}
	exact := first.Key != nil && *first.Key == l.prefix
	if exact {
		if err := l.object(*first); err != nil {
			return nil, err
		}
	}
	inside, err := l.first(ctx, l.prefix+"/")
	switch {
	case err != nil:
		return nil, err
	case inside != nil:
		return l.wanted(l.prefix+"/", 0)
	case exact:
		return nil, nil
	}
	return []task{{prefix: l.prefix}}, nil
}

// first returns the first object below a prefix, nil when there is none.
func (l *listing) first(ctx context.Context, prefix string) (*types.Object, error) {
	out, err := l.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{
		Bucket: &l.bucket, Prefix: &prefix, MaxKeys: aws.Int32(1), RequestPayer: l.payer(), EncodingType: types.EncodingTypeUrl,
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", l.name(prefix), explain(err))
	}
	if len(out.Contents) == 0 {
		return nil, nil
	}
	first := out.Contents[0]
	key, err := decode(aws.ToString(first.Key), out.EncodingType)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", l.name(prefix), err)
	}
	first.Key = &key
	return &first, nil
}

// do lists one prefix.
func (l *listing) do(ctx context.Context, t task) error {
	in := &awss3.ListObjectsV2Input{Bucket: &l.bucket, Prefix: &t.prefix, RequestPayer: l.payer(), EncodingType: types.EncodingTypeUrl}
	if !t.flat {
		in.Delimiter = aws.String("/")
	}
	probe := !t.flat && source.ParseFolder(t.prefix).Level == source.LevelNone && (t.prefix == "" || strings.HasSuffix(t.prefix, "/"))
	var lastKey, lastFolder order
	for page := 0; ; page++ {
		out, err := l.client.ListObjectsV2(ctx, in)
		if err != nil {
			return fmt.Errorf("list %s: %w", l.name(t.prefix), explain(err))
		}
		more := aws.ToBool(out.IsTruncated)
		if probe && page == 0 && !l.mayProbe(out) {
			l.add(task{prefix: t.prefix, flat: true})
			return nil
		}
		for i := range out.Contents {
			o := out.Contents[i]
			key, err := l.key(o.Key, out.EncodingType, t.prefix, &lastKey)
			if err != nil {
				return fmt.Errorf("list %s: %w", l.name(t.prefix), err)
			}
			o.Key = &key
			if err := l.object(o); err != nil {
				return err
			}
		}
		for _, p := range out.CommonPrefixes {
			folder, err := l.key(p.Prefix, out.EncodingType, t.prefix, &lastFolder)
			if err != nil {
				return fmt.Errorf("list %s: %w", l.name(t.prefix), err)
			}
			next, err := l.wanted(folder, t.depth+1)
			if err != nil {
				return err
			}
			for _, n := range next {
				l.add(n)
			}
		}
		if !more {
			return nil
		}
		token := aws.ToString(out.NextContinuationToken)
		if token == "" || token == aws.ToString(in.ContinuationToken) {
			return fmt.Errorf("list %s: the store says that there is more, but not how to get it", l.name(t.prefix))
		}
		in.ContinuationToken = &token
	}
}

// mayProbe decides whether the folders of a folder outside of the layout are looked into.
func (l *listing) mayProbe(out *awss3.ListObjectsV2Output) bool {
	for _, p := range out.CommonPrefixes {
		if source.ParseFolder(aws.ToString(p.Prefix)).Level != source.LevelNone {
			return true // here is the layout
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.probes += len(out.CommonPrefixes)
	return !aws.ToBool(out.IsTruncated) && len(out.CommonPrefixes) <= probeFan && l.probes <= probeMax
}

// order checks that keys come in order.
type order struct {
	last string
	any  bool
}

// key decodes a key of a listing and checks that it belongs there.
func (l *listing) key(raw *string, enc types.EncodingType, prefix string, o *order) (string, error) {
	key, err := decode(aws.ToString(raw), enc)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(key, prefix) {
		return "", fmt.Errorf("the store lists %q, which is elsewhere", key)
	}
	if o.any && key <= o.last && !l.opts.Unordered && !strings.HasSuffix(l.bucket, "--x-s3") {
		return "", fmt.Errorf("the store lists %q after %q: a listing out of order may leave objects out", key, o.last)
	}
	o.last, o.any = key, true
	return key, nil
}

// decode undoes the encoding that was asked for, as XML cannot hold every key.
func decode(key string, enc types.EncodingType) (string, error) {
	if enc != types.EncodingTypeUrl {
		return key, nil
	}
	plain, err := url.QueryUnescape(key)
	if err != nil {
		return "", fmt.Errorf("key of a listing: %w", err)
	}
	return plain, nil
}

// object visits an object of a listing.
func (l *listing) object(o types.Object) error {
	key := aws.ToString(o.Key)
	obj := source.Object{Name: l.name(key), Size: -1, Place: source.ParseKey(key), Within: l.sel}
	if o.Size != nil {
		obj.Size = *o.Size
	}
	if o.LastModified != nil {
		obj.Modified = *o.LastModified
	}
	obj.ETag = aws.ToString(o.ETag)
	skip := ""
	switch {
	case obj.Size == 0:
		skip = source.SkipEmpty
	case source.SystemFile(key):
		skip = source.SkipSystem
	default:
		skip = l.sel.Skip(obj.Place)
	}
	return l.give(obj, skip)
}

var errStopped = errors.New("listing stopped")

func (l *listing) give(obj source.Object, skip string) error {
	l.visiting.Lock()
	defer l.visiting.Unlock()
	if l.visit == nil {
		return errStopped // another one has failed
	}
	err := l.visit(obj, skip)
	if err != nil {
		l.visit = nil
		l.fail(err) // before the requests that it ends fail too
	}
	return err
}

func (l *listing) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = err
		l.cancel()
	}
}

// wanted returns how to list a folder: not at all when the selection leaves it out.
func (l *listing) wanted(prefix string, depth int) ([]task, error) {
	f := source.ParseFolder(prefix)
	switch skip := l.sel.SkipFolder(f); {
	case skip == "":
		return []task{l.folder(prefix, depth)}, nil
	case source.Counts(skip):
		return nil, l.give(source.Object{Name: l.name(prefix), Size: -1, Place: f.Place}, skip)
	}
	return nil, nil
}

// folder decides how a folder is listed.
func (l *listing) folder(prefix string, depth int) task {
	f := source.ParseFolder(prefix)
	switch f.Level {
	case source.LevelNone:
		return task{prefix: prefix, depth: depth, flat: depth > probeDepth}
	case source.LevelMonth: // by day only where the selection begins or ends
		day := func(at time.Time) string {
			d := f
			d.From, d.To, d.Level = at, at.AddDate(0, 0, 1), source.LevelDay
			return l.sel.SkipFolder(d)
		}
		return task{prefix: prefix, flat: day(f.From) == "" && day(f.To.AddDate(0, 0, -1)) == ""}
	case source.LevelDay, source.LevelBelow:
		return task{prefix: prefix, flat: true}
	}
	return task{prefix: prefix}
}
