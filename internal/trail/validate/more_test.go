package validate_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"spoor/internal/blob"
	"spoor/internal/ledger"
	"spoor/internal/trail/digest"
	"spoor/internal/trail/validate"
	"spoor/internal/trail/validate/validatetest"
)

// folder makes the rig one over a copy of its bucket in a folder, below sub.
func (r *rig) folder(t testing.TB, strip string) {
	t.Helper()
	dir := t.TempDir()
	put := validatetest.Folder(dir)
	for _, k := range r.Keys("trail-bucket") {
		body, _, _ := r.Object("trail-bucket", k)
		must(t, put("", strings.TrimPrefix(k, strip), body, nil))
	}
	f, err := validate.OpenFolder(t.Context(), dir, "")
	must(t, err)
	t.Cleanup(func() { must(t, f.Close()) })
	r.o.Source, r.o.NoMetadata, r.o.Expect = f, true, time.Time{}
	r.o.Roots = nil
	for _, root := range f.Roots() {
		r.o.Roots = append(r.o.Roots, validate.Root{Bucket: root.Bucket})
	}
}

// sidecar gives the rig the signatures of all digests.
func (r *rig) sidecar() {
	r.o.Signatures = validate.Signatures{}
	for _, d := range r.made.Digests {
		r.o.Signatures[[2]string{"trail-bucket", d.Key}] = d.Metadata
	}
}

// A copy in a folder has no metadata: each digest is verified by what the next one tells, and the newest one is not, but for a file
// of signatures.
func TestFolder(t *testing.T) {
	t.Parallel()
	newest := []string{"digest-unverifiable d5", "log-unvouched l5.0", "log-unvouched l5.1", "end-open d5"}
	for name, c := range map[string]struct {
		options validatetest.Options
		strip   string
		change  func(t *testing.T, r *rig)
		want    []string
		sidecar []string // what is left with a file of signatures
	}{
		"clean":            {want: newest, sidecar: []string{"end-open d5"}},
		"copy of a prefix": {options: validatetest.Options{Prefix: "a/b"}, strip: "a/b/", want: newest, sidecar: []string{"end-open d5"}},
		"copy of less":     {strip: "AWSLogs/111122223333/", want: newest, sidecar: []string{"end-open d5"}},
		"digest changed": {change: func(t *testing.T, r *rig) {
			r.digest(t, 2, replace(r.made.Digests[2].Files[0].Hash, strings.Repeat("0", 64)))
		},
			want: append([]string{"digest-modified d2"}, newest...), sidecar: []string{"digest-modified d2", "end-open d5"}},
		"link of a digest changed": {change: func(t *testing.T, r *rig) {
			r.digest(t, 3, replace(r.made.Digests[2].Link.Signature, strings.Repeat("0", 512)))
		},
			want:    append([]string{"digest-unverifiable d2", "log-unvouched l2.0", "log-unvouched l2.1", "digest-modified d3"}, newest...),
			sidecar: []string{"digest-modified d3", "end-open d5"}},
		"digest removed": {change: func(t *testing.T, r *rig) { r.Delete("trail-bucket", r.made.Digests[2].Key) },
			want:    append([]string{"digest-unverifiable d1", "log-unvouched l1.0", "log-unvouched l1.1", "digest-missing d2"}, newest...),
			sidecar: []string{"digest-missing d2", "end-open d5"}},
		"newest digest changed": {change: func(t *testing.T, r *rig) {
			r.digest(t, 5, replace(r.made.Digests[4].Link.Hash, strings.Repeat("0", 64)))
		},
			want: append([]string{"chain-hash d5"}, newest...), sidecar: []string{"digest-modified d5", "end-open d5"}},
		"log removed": {change: func(t *testing.T, r *rig) { r.Delete("trail-bucket", r.made.Digests[5].Files[0].Object) },
			want: []string{"digest-unverifiable d5", "log-missing l5.0", "log-unvouched l5.1", "end-open d5"}, sidecar: []string{"log-missing l5.0", "end-open d5"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := c.options
			o.Hours, o.PerHour = 6, 2
			r := newRig(t, o)
			if c.change != nil {
				c.change(t, r)
			}
			r.folder(t, c.strip)
			got, _, all := r.run(t)
			if !slices.Equal(got, c.want) {
				t.Errorf("verdicts\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
			chained := slices.ContainsFunc(all, func(f validate.Finding) bool {
				return strings.Contains(f.Reason, "its link to the digest before it is right")
			})
			if want := !slices.Contains(c.want, "chain-hash d5"); chained != want {
				t.Errorf("the newest digest is told to be linked rightly: %t", chained)
			}
			r.sidecar()
			if got, _, _ := r.run(t); !slices.Equal(got, c.sidecar) {
				t.Errorf("with signatures\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(c.sidecar, "\n"))
			}
		})
	}
}

// Folders of several buckets side by side are told apart, and what digests name outside of the folder is not read.
func TestFolderRoots(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, bucket := range []string{"one-bucket", "two-bucket"} {
		_, err := validatetest.Make(validatetest.Options{Bucket: bucket, Hours: 2, PerHour: 1, Records: 1, Prefix: "p", Key: testKey(t)}, func(bucket, key string, body []byte, meta map[string]string) error {
			return validatetest.Folder(filepath.Join(dir, "copies", bucket))(bucket, key, body, meta)
		})
		must(t, err)
	}
	must(t, os.WriteFile(filepath.Join(dir, "secret"), nil, 0o600))
	f, err := validate.OpenFolder(t.Context(), filepath.Join(dir, "copies"), "")
	must(t, err)
	defer func() { must(t, f.Close()) }()
	want := []validate.FolderRoot{{Dir: "one-bucket", Bucket: "one-bucket"}, {Dir: "two-bucket", Bucket: "two-bucket"}}
	if got := f.Roots(); !slices.Equal(got, want) {
		t.Errorf("%+v", got)
	}
	for key, want := range map[string]error{"../../secret": blob.ErrNoKey, "": blob.ErrNoKey, "p": blob.ErrNoKey, "p/AWSLogs/none": blob.ErrNoKey} {
		if _, _, err := f.Get(t.Context(), "one-bucket", key); !errors.Is(err, want) {
			t.Errorf("%q: %v", key, err)
		}
	}
	if _, _, err := f.Get(t.Context(), "three", "p"); !errors.Is(err, blob.ErrNoBucket) {
		t.Error(err)
	}
	if _, _, err := f.List(t.Context(), "three", "", "", 1); !errors.Is(err, blob.ErrNoBucket) {
		t.Error(err)
	}
}

// A folder lists as a bucket does.
func TestFolderList(t *testing.T) {
	t.Parallel()
	m := validatetest.NewMemory()
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(3, 3))
	for range 300 {
		var parts []string
		for range 1 + r.IntN(4) {
			parts = append(parts, []string{"a", "a-", "a.b", "ab", "b", "AWSLogs", "0"}[r.IntN(7)])
		}
		key := strings.Join(parts, "/") + fmt.Sprintf("-%d", r.IntN(40))
		must(t, m.Add("b", key, nil, nil))
		must(t, validatetest.Folder(dir)("b", key, nil, nil))
	}
	f, err := validate.OpenFolder(t.Context(), dir, "b")
	must(t, err)
	defer func() { must(t, f.Close()) }()
	for _, prefix := range []string{"", "a", "a/", "a-", "AWSLogs/a", "none", "b/b"} {
		for _, most := range []int{1, 7, 1000} {
			for after := ""; ; {
				want, wantMore, err := m.List(t.Context(), "b", prefix, after, most)
				must(t, err)
				got, more, err := f.List(t.Context(), "b", prefix, after, most)
				must(t, err)
				if !slices.EqualFunc(got, want, func(a, b blob.Object) bool { return a.Key == b.Key }) || more != wantMore {
					t.Fatalf("%q after %q: %v %t, want %v %t", prefix, after, got, more, want, wantMore)
				}
				if !more {
					break
				}
				after = got[len(got)-1].Key
			}
		}
	}
}

// A trail whose bucket changes goes on in the new one; its old part is found by the link.
func TestBucketChanges(t *testing.T) {
	t.Parallel()
	build := func(t *testing.T) (*rig, *validatetest.Made) {
		r := newRig(t, validatetest.Options{Hours: 3, PerHour: 2})
		next, err := validatetest.Make(validatetest.Options{
			Bucket: "new-bucket", Prefix: "new", Hours: 3, PerHour: 2, Records: 1, Key: testKey(t), Start: r.made.End, Previous: &r.made.Digests[2].Link, Seed: 5,
		}, r.Add)
		must(t, err)
		r.o.Roots = []validate.Root{{Bucket: "new-bucket"}}
		r.o.End, r.o.Expect = next.End, next.End
		return r, next
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, r *rig, next *validatetest.Made)
		want   []string
		digests,
		logs int64
	}{
		"clean": {want: []string{"chain-moved at 13:00"}, digests: 6, logs: 12},
		"both": {change: func(t *testing.T, r *rig, _ *validatetest.Made) {
			r.o.Roots = append(r.o.Roots, validate.Root{Bucket: "trail-bucket"})
		}, want: []string{"chain-moved at 13:00"}, digests: 6, logs: 12},
		"log of the old one": {change: func(t *testing.T, r *rig, _ *validatetest.Made) {
			r.Delete("trail-bucket", r.made.Digests[1].Files[0].Object)
		},
			want: []string{"log-missing l1.0", "chain-moved at 13:00"}, digests: 6, logs: 11},
		"last digest of the old one": {change: func(t *testing.T, r *rig, _ *validatetest.Made) { r.Delete("trail-bucket", r.made.Digests[2].Key) },
			want: []string{"digest-missing d2"}, digests: 5, logs: 10},
		"old one not there": {change: func(t *testing.T, r *rig, _ *validatetest.Made) {
			for _, k := range r.Keys("trail-bucket") {
				r.Delete("trail-bucket", k)
			}
		}, want: []string{"chain-elsewhere at 13:00"}, digests: 3, logs: 6},
		"before the range": {change: func(t *testing.T, r *rig, _ *validatetest.Made) { r.o.Start = r.made.End.Add(time.Minute) }, want: []string{"chain-moved at 13:00"}, digests: 3, logs: 6},
		"other content": {change: func(t *testing.T, r *rig, _ *validatetest.Made) {
			r.resign(t, 2, testKey(t), func(s *digest.Spec) { s.Files = s.Files[:1]; s.Previous = &r.made.Digests[1].Link })
		}, want: []string{"digest-valid"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, next := build(t)
			if c.change != nil {
				c.change(t, r, next)
			}
			got, s, _ := r.run(t)
			if name == "other content" {
				c.want, c.digests, c.logs = []string{"chain-hash at 13:00"}, 6, 11
			}
			if !slices.Equal(got, c.want) || s.Digests.Valid != c.digests || s.Logs.Valid != c.logs {
				t.Errorf("verdicts %q, want %q; %+v", got, c.want, s)
			}
		})
	}
}

// Backfill digests are a chain of their own.
func TestBackfill(t *testing.T) {
	t.Parallel()
	build := func(t *testing.T) (*rig, []validatetest.Digest) {
		r := newRig(t, validatetest.Options{Hours: 3, PerHour: 2})
		o := r.made.Options
		var out []validatetest.Digest
		var previous *digest.Link
		for i := range 3 {
			end := r.made.Digests[i].End
			at := end.Add(-10 * time.Minute)
			f := digest.File{Bucket: "trail-bucket", Object: o.LogKey(at, fmt.Sprintf("late%012d", i))}
			text := []byte(fmt.Sprintf(`{"Records":[%d]}`, i))
			f.Hash = digest.Hash(text)
			must(t, r.Add(f.Bucket, f.Object, validatetest.Gzip(text, 6), nil))
			d := validatetest.Digest{Key: digest.ObjectKey(o.Prefix, "", o.Account, o.Region, o.Trail, o.Home, end, true), Start: end.Add(-time.Hour), End: end, Files: []digest.File{f}}
			var err error
			d.Signed, err = digest.Sign(digest.Spec{
				Account: o.Account, Start: d.Start, End: end, Bucket: "trail-bucket", Object: d.Key, Previous: previous, Files: d.Files, Backfill: true, Generated: end.Add(5 * time.Hour),
			}, testKey(t))
			must(t, err)
			must(t, r.Add("trail-bucket", d.Key, validatetest.Gzip(d.Text, 6), d.Metadata))
			previous = &d.Link
			out = append(out, d)
		}
		return r, out
	}
	for name, c := range map[string]struct {
		change func(t *testing.T, r *rig, late []validatetest.Digest)
		want   []string
		valid  int64
	}{
		"clean":   {valid: 3},
		"removed": {change: func(t *testing.T, r *rig, late []validatetest.Digest) { r.Delete("trail-bucket", late[1].Key) }, want: []string{"digest-missing at 11:00", "log-unlisted"}, valid: 2},
		"changed": {change: func(t *testing.T, r *rig, late []validatetest.Digest) {
			must(t, r.Add("trail-bucket", late[1].Key, validatetest.Gzip(bytes.Replace(late[1].Text, []byte("awsAccountId"), []byte("awsaccountId"), 1), 6), late[1].Metadata))
		}, want: []string{"digest-modified at 11:00"}, valid: 2},
		"time of making removed": {change: func(t *testing.T, r *rig, late []validatetest.Digest) {
			meta := map[string]string{digest.MetaSignature: late[1].Link.Signature, digest.MetaAlgorithm: digest.SignatureAlgorithm}
			must(t, r.Add("trail-bucket", late[1].Key, validatetest.Gzip(late[1].Text, 6), meta))
		}, want: []string{"digest-format at 11:00"}, valid: 2},
		"log removed": {change: func(t *testing.T, r *rig, late []validatetest.Digest) {
			r.Delete("trail-bucket", late[1].Files[0].Object)
		}, want: []string{"log-missing"}, valid: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, late := build(t)
			if c.change != nil {
				c.change(t, r, late)
			}
			got, s, _ := r.run(t)
			for i := range got {
				got[i], _, _ = strings.Cut(got[i], " 111122223333_")
			}
			if !slices.Equal(got, c.want) || s.Backfill.Valid != c.valid || s.Digests.Valid != 3 {
				t.Errorf("verdicts %q, want %q; %+v", got, c.want, s)
			}
		})
	}
}

// Whatever one thing is done to a bucket is told.
func TestAnyTampering(t *testing.T) {
	t.Parallel()
	base := newRig(t, validatetest.Options{Hours: 8, PerHour: 3, Late: []int{2, 3, 5}})
	if got, s, _ := base.run(t); len(got) != 0 || s.Problem || s.Gaps {
		t.Fatalf("clean: %q", got)
	}
	r := rand.New(rand.NewPCG(1, 2))
	keys := base.Keys("trail-bucket")
	for i := range 200 {
		m := validatetest.NewMemory()
		for _, k := range keys {
			body, meta, _ := base.Object("trail-bucket", k)
			must(t, m.Add("trail-bucket", k, body, meta))
		}
		key := keys[r.IntN(len(keys))]
		body, meta, _ := base.Object("trail-bucket", key)
		text := gunzip(t, body)
		what := ""
		switch kind := r.IntN(6); kind {
		case 0:
			what = "removed"
			m.Delete("trail-bucket", key)
		case 1:
			what = "bit of the content"
			text[r.IntN(len(text))] ^= 1 << r.IntN(8)
			must(t, m.Add("trail-bucket", key, validatetest.Gzip(text, 6), meta))
		case 2:
			what = "cut"
			must(t, m.Add("trail-bucket", key, body[:r.IntN(len(body))], meta))
		case 3:
			what = "something behind it"
			must(t, m.Add("trail-bucket", key, append(bytes.Clone(body), byte(r.IntN(256))), meta))
		case 4:
			what = "another object in its place"
			other := keys[r.IntN(len(keys))]
			if other == key {
				continue
			}
			b, om, _ := base.Object("trail-bucket", other)
			must(t, m.Add("trail-bucket", key, b, om))
		case 5:
			what = "planted"
			d := base.made.Digests[r.IntN(len(base.made.Digests))]
			key = base.made.Options.LogKey(d.Start.Add(time.Minute+time.Duration(r.IntN(55))*time.Minute), fmt.Sprintf("planted%09d", i))
			must(t, m.Add("trail-bucket", key, body, nil))
		}
		x := *base
		x.o.Source, x.Memory, x.o.Expect = m, m, base.made.End.Add(2*time.Hour-time.Second)
		x.o.End = base.made.End
		_, s, all := x.run(t)
		named := slices.ContainsFunc(all, func(f validate.Finding) bool { return f.Level == validate.Invalid && f.Key == key })
		if !s.Problem || !named {
			t.Errorf("%s, %s: not told; %+v", what, base.short(key), s)
		}
	}
}

// generated is a source with years of digests that nobody holds in memory.
type generated struct {
	validate.Source
	open, most atomic.Int64
}

func (g *generated) Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Object, error) {
	n := g.open.Add(1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
	}
	in, o, err := g.Source.Get(ctx, bucket, key)
	if err != nil {
		g.open.Add(-1)
		return nil, o, err
	}
	return closing{in, func() { g.open.Add(-1) }}, o, nil
}

type closing struct {
	io.ReadCloser
	done func()
}

func (c closing) Close() error {
	defer c.done()
	return c.ReadCloser.Close()
}

// A long chain takes no more memory than a short one, and no more objects are open than was asked for.
func TestBounded(t *testing.T) {
	t.Parallel()
	hours := 800
	if testing.Short() {
		hours = 300
	}
	dir := t.TempDir()
	made, err := validatetest.Make(validatetest.Options{Hours: hours, PerHour: 2, Records: 1, Level: 1, Key: testKey(t)}, validatetest.Folder(dir))
	must(t, err)
	folder, err := validate.OpenFolder(t.Context(), dir, "")
	must(t, err)
	defer func() { must(t, folder.Close()) }()
	src := &generated{Source: folder}
	var keys validate.KeySet
	keys.Add("", made.Public)
	var before, most uint64
	var m runtime.MemStats
	n := 0
	s, err := validate.Run(t.Context(), validate.Options{
		Source: src, Roots: []validate.Root{{Bucket: "trail-bucket"}}, Keys: keys.Keys, NoMetadata: true, Fetch: 6, Now: made.End,
		Each: func(validate.Finding) error {
			if n++; n%1000 == 0 {
				runtime.GC()
				runtime.ReadMemStats(&m)
				if before == 0 {
					before = m.HeapAlloc
				}
				most = max(most, m.HeapAlloc)
			}
			return nil
		},
	})
	must(t, err)
	if want := int64(hours - 1); s.Digests.Valid != want || s.Logs.Valid != 2*want || s.Digests.Unchecked != 1 || s.Problem {
		t.Errorf("%+v", s)
	}
	if src.most.Load() > 6 || src.open.Load() != 0 {
		t.Errorf("%d objects open at once, %d left open", src.most.Load(), src.open.Load())
	}
	if most > before+(24<<20) {
		t.Errorf("heap grew from %d to %d", before, most)
	}
}

// A run that is given up ends at once, and leaves nothing running or open.
func TestInterrupt(t *testing.T) {
	t.Parallel()
	r := newRig(t, validatetest.Options{Hours: 40, PerHour: 3})
	for _, after := range []int{0, 1, 30, 100} {
		ctx, cancel := context.WithCancel(t.Context())
		src := &generated{Source: r.Memory}
		o := r.o
		o.Source = src
		n := 0
		o.Each = func(validate.Finding) error {
			if n++; n > after {
				cancel()
			}
			return nil
		}
		if _, err := validate.Run(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("after %d: %v", after, err)
		}
		if src.open.Load() != 0 {
			t.Errorf("%d objects are open", src.open.Load())
		}
		cancel()
	}
	stop := errors.New("enough")
	o := r.o
	o.Each = func(validate.Finding) error { return stop }
	if _, err := validate.Run(t.Context(), o); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

// failing refuses what it is told to.
type failing struct {
	validate.Source
	get, list func(key string) error
}

func (f failing) Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Object, error) {
	if f.get != nil {
		if err := f.get(key); err != nil {
			return nil, blob.Object{}, err
		}
	}
	return f.Source.Get(ctx, bucket, key)
}

func (f failing) List(ctx context.Context, bucket, prefix, after string, most int) ([]blob.Object, bool, error) {
	if f.list != nil {
		if err := f.list(prefix); err != nil {
			return nil, false, err
		}
	}
	return f.Source.List(ctx, bucket, prefix, after, most)
}

func TestUnreadable(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		get, list string
		want      []string
		fails     bool
	}{
		"log":       {get: "l2.1", want: []string{"log-not-read l2.1"}},
		"digest":    {get: "d2", want: []string{"digest-not-read d2"}},
		"log files": {list: "/CloudTrail/", want: []string{"list-failed"}},
		"digests":   {list: "/CloudTrail-Digest/us-east-1/", want: []string{"list-failed"}},
		"bucket":    {list: "", fails: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, validatetest.Options{Hours: 6, PerHour: 2})
			f := failing{Source: r.Memory}
			if c.get != "" {
				f.get = func(key string) error {
					if r.short(key) == c.get {
						return blob.ErrDenied
					}
					return nil
				}
			} else {
				f.list = func(prefix string) error {
					if strings.Contains(prefix, c.list) {
						return blob.ErrDenied
					}
					return nil
				}
			}
			r.o.Source = f
			if c.fails {
				if _, err := validate.Run(t.Context(), r.o); !errors.Is(err, blob.ErrDenied) {
					t.Errorf("%v", err)
				}
				return
			}
			got, s, _ := r.run(t)
			if !slices.Equal(got, c.want) || !s.Gaps || s.Problem {
				t.Errorf("%q, want %q; %+v", got, c.want, s)
			}
		})
	}
}

// TestSealBroken: what its bucket encrypts and what does not open was changed, whether the bucket is read here or by S3.
func TestSealBroken(t *testing.T) {
	t.Parallel()
	for name, err := range map[string]error{
		"here":  fmt.Errorf("its end: %w: message authentication failed", blob.ErrTampered),
		"by S3": &smithy.GenericAPIError{Code: blob.CodeTampered, Message: "it does not open"},
	} {
		for key, want := range map[string]string{"l2.1": "log-modified l2.1", "d2": "digest-modified d2"} {
			t.Run(name+" "+key, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, validatetest.Options{Hours: 6, PerHour: 2})
				r.o.Source = failing{Source: r.Memory, get: func(at string) error {
					if r.short(at) == key {
						return err
					}
					return nil
				}}
				if got, s, _ := r.run(t); !slices.Contains(got, want) || !s.Problem {
					t.Errorf("%q, want %q; %+v", got, want, s)
				}
			})
		}
	}
}

func TestLedger(t *testing.T) {
	t.Parallel()
	r := newRig(t, validatetest.Options{Hours: 4, PerHour: 3})
	l := &ledger.Report{Failures: []ledger.Failure{{Object: "copy/" + filepath.Base(r.made.Digests[0].Files[0].Object), Reason: "cut short"}}}
	hours := map[time.Time]int64{}
	for _, d := range r.made.Digests {
		for _, f := range d.Files {
			at, err := time.Parse("20060102T1504Z", strings.Split(f.Object, "_")[3])
			must(t, err)
			hours[at.Truncate(time.Hour)]++
		}
	}
	for h, n := range hours {
		l.Cells = append(l.Cells, ledger.Cell{Account: "111122223333", Region: "us-east-1", Hour: h, Objects: ledger.Objects{Listed: n, Read: n}})
	}
	r.o.Ledger = l
	if got, _, _ := r.run(t); !slices.Equal(got, []string{"ledger-failed l0.0"}) {
		t.Errorf("%q", got)
	}
	for i := range l.Cells {
		switch l.Cells[i].Hour.Hour() {
		case 10:
			l.Cells[i].Objects.Read--
		case 11:
			l.Cells[i].Region = "eu-west-1"
		}
	}
	l.Failures = nil
	got, s, all := r.run(t)
	last := all[len(all)-1]
	if !slices.Equal(got, []string{"ledger-unread"}) || last.Files != 4 || last.Start.Hour() != 10 || last.End.Hour() != 12 || !s.Problem {
		t.Errorf("%q %+v", got, last)
	}
}

func TestBundle(t *testing.T) {
	t.Parallel()
	r := newRig(t, validatetest.Options{Hours: 4, PerHour: 2})
	r.digest(t, 1, replace(r.made.Digests[1].Files[0].Hash, strings.Repeat("0", 64)))
	dir := t.TempDir()
	file, err := os.Create(filepath.Join(dir, "bundle.zip"))
	must(t, err)
	defer func() { must(t, file.Close()) }()
	b, err := validate.NewBundle(file, dir, func() time.Time { return r.made.End })
	must(t, err)
	b.Log(validate.Custody{Event: "started", By: "ana"})
	o := r.o
	o.Stored, o.Evidence, o.Each, o.Keys = true, b.Digest, b.Each, b.Keys(o.Keys)
	_, err = validate.Run(t.Context(), o)
	must(t, err)
	key, err := validate.NewBundleKey()
	must(t, err)
	must(t, b.Finish(t.Context(), []byte(`{"summary":{"invalid":true}}`), key, stamper{}))
	must(t, b.Discard())
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	content, err := os.ReadFile(file.Name())
	must(t, err)
	public := key.Public().(ed25519.PublicKey)
	c, err := validate.CheckBundle(bytes.NewReader(content), int64(len(content)), public)
	must(t, err)
	if !c.Trusted || c.Digests != 3 || c.Failing != 1 || len(c.Custody) != 1 || !c.Summary.Problem || len(c.Manifest.Members) != 9 || !slices.Equal(c.Manifest.Proofs, []string{"test"}) {
		t.Errorf("%+v", c)
	}
	if c, err := validate.CheckBundle(bytes.NewReader(content), int64(len(content)), nil); err != nil || c.Trusted {
		t.Errorf("%+v, %v", c, err)
	}
	other, err := validate.NewBundleKey()
	must(t, err)
	if _, err := validate.CheckBundle(bytes.NewReader(content), int64(len(content)), other.Public().(ed25519.PublicKey)); !errors.Is(err, validate.ErrBundle) {
		t.Errorf("another key: %v", err)
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		bad := bytes.Clone(content)
		at := rnd.IntN(len(bad))
		bad[at] ^= 1 << rnd.IntN(8)
		// Times, sizes and names in the folder of the archive do not change what its members hold.
		if c, err := validate.CheckBundle(bytes.NewReader(bad), int64(len(bad)), public); err == nil && (c.Digests != 3 || c.Failing != 1 || len(c.Manifest.Members) != 9) || err != nil && !errors.Is(err, validate.ErrBundle) {
			t.Errorf("bit of byte %d: %+v, %v", at, c, err)
		}
	}
	if _, err := validate.CheckBundle(bytes.NewReader(content[:len(content)/2]), int64(len(content)/2), nil); !errors.Is(err, validate.ErrBundle) {
		t.Errorf("half of it: %v", err)
	}
}

type stamper struct{}

func (stamper) Kind() string { return "test" }
func (stamper) Prove(_ context.Context, manifest []byte) ([]byte, error) {
	return []byte(digest.Hash(manifest)), nil
}

func TestKeySet(t *testing.T) {
	t.Parallel()
	r := newRig(t, validatetest.Options{Hours: 1, PerHour: 1})
	k := r.made.Public
	var text bytes.Buffer
	must(t, validate.WriteKeys(&text, map[string][]digest.PublicKey{"us-east-1": {k}}))
	text.Write(validatetest.KeysJSON(k))
	var s validate.KeySet
	must(t, s.Read(&text))
	if s.Len() != 2 {
		t.Fatalf("%d keys", s.Len())
	}
	for region, want := range map[string]int{"us-east-1": 2, "eu-west-1": 1} {
		got, err := s.Keys(t.Context(), region, k.Start, k.Start)
		if err != nil || len(got) != want || !got[0].Start.Equal(k.Start) || !got[0].End.Equal(k.End) || !bytes.Equal(got[0].DER, k.DER) {
			t.Errorf("%s: %+v, %v", region, got, err)
		}
	}
	if got, _ := s.Keys(t.Context(), "us-east-1", k.End.Add(1), k.End.Add(2)); len(got) != 0 {
		t.Errorf("%d keys after their time", len(got))
	}
	good := string(validatetest.KeysJSON(k))
	for name, bad := range map[string]string{
		"empty": "", "no list": "{}", "list": "[]", "fingerprint": strings.Replace(good, k.Fingerprint, strings.Repeat("0", 32), 1), "base64": strings.Replace(good, "MIIB", "!IIB", 1),
		"key": strings.Replace(good, "MIIB", "MIIC", 1), "time": strings.Replace(good, `StartTime":1`, `StartTime":"1"+1`, 1), "tail": good + "x",
	} {
		if err := new(validate.KeySet).Read(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

// Whatever is read as keys, signatures or a bundle makes an error, or is one.
func FuzzRead(f *testing.F) {
	f.Add(validatetest.Gzip([]byte("x"), 6))
	f.Add([]byte(`{"PublicKeyList":[{"Value":"MAA="}]}`))
	f.Add([]byte(`{"bucket":"b","key":"k","metadata":{"signature":"00"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := validate.ReadSignatures(bytes.NewReader(body)); err == nil && len(body) > 0 && body[0] == 0x1f {
			t.Error("gzip is no file of signatures")
		}
		_ = new(validate.KeySet).Read(bytes.NewReader(body)) // must not panic
		_, err := validate.CheckBundle(bytes.NewReader(body), int64(len(body)), nil)
		if err == nil || !errors.Is(err, validate.ErrBundle) {
			t.Errorf("%v", err)
		}
	})
}
