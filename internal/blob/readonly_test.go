package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
)

// readHalf is a storage that writes with one and reads with another.
type readHalf struct {
	Storage
	to Storage
}

func (h readHalf) Put(ctx context.Context, bucket, key string, content []byte, o PutOptions) error {
	return h.to.Put(ctx, bucket, key, content, o)
}

// TestReadOnly holds the reading half to what [Storage] promises, while the buckets are open.
func TestReadOnly(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d *desk) {
		conform(t, readHalf{d.readOnly(d.keys), d.Local}, d.bucket("bucket"))
	})
}

// tree is every file below a folder, with its size and time of change.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err == nil {
			out[path] = fmt.Sprint(info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestReadOnlyLikeLocal compares all that is read of buckets with and without versions, before and after they are closed.
func TestReadOnlyLikeLocal(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		plain, versions := d.bucket("plain"), d.bucket("versions")
		sealed := PutOptions{KMSKey: keyARN, EncryptionContext: map[string]string{"a": "b"}, ContentType: "application/json", Metadata: map[string]string{"signature": "abc"}}
		d.put(versions, "k/old", "before versions", PutOptions{})
		d.versioned(versions)
		for _, bucket := range []string{plain, versions} {
			for i := range 3 {
				d.put(bucket, "k/old", fmt.Sprint("version ", i), PutOptions{ContentEncoding: "gzip"})
				d.put(bucket, "k/sealed", strings.Repeat("s", 70_000+i), sealed)
				d.put(bucket, "deleted", "x", PutOptions{})
			}
			d.put(bucket, "folder/", "", PutOptions{})
			d.put(bucket, "k/empty", "", sealed)
			if err := d.Delete(ctx, bucket, "deleted", ""); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.WriteFile(filepath.Join(d.dir, "buckets", plain, "by-hand"), []byte("hello"), 0o600); err != nil {
			t.Fatal(err)
		}
		type seen struct {
			Listed  []Object
			Heads   []Object
			Gets    []Object
			Content []string
			Errors  []string
		}
		look := func(s Storage) (all []seen) {
			for _, bucket := range []string{plain, versions, "none"} {
				var v seen
				objects, more, err := s.List(ctx, bucket, "", "", 1000)
				if more {
					t.Error("there is more")
				}
				v.Listed, v.Errors = objects, append(v.Errors, fmt.Sprint(err), Code(err))
				for _, key := range []string{"k/old", "k/sealed", "k/empty", "k", "k/", "folder/", "folder", "by-hand", "deleted", "none", "../x", ""} {
					h, err := s.Head(ctx, bucket, key)
					v.Heads, v.Errors = append(v.Heads, h), append(v.Errors, fmt.Sprint(err), Code(err), fmt.Sprint(errors.Is(err, ErrNoKey), errors.Is(err, ErrNoBucket)))
					_, g, err := s.Get(ctx, bucket, key)
					v.Gets, v.Errors = append(v.Gets, g), append(v.Errors, fmt.Sprint(err), Code(err))
					if err == nil {
						v.Content = append(v.Content, read(t, s, bucket, key))
					}
				}
				all = append(all, v)
			}
			return all
		}
		r := d.readOnly(d.keys)
		before := tree(t, d.dir)
		want, got := look(d.Local), look(r)
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%+v\nis not\n%+v", got, want)
		}
		if n := len(want[0].Content); n != 5 || len(want[1].Content) != 4 || want[1].Heads[0].VersionID == "" || len(want[1].Listed) != 4 {
			t.Errorf("what was compared: %+v", want)
		}
		if after := tree(t, d.dir); !reflect.DeepEqual(before, after) {
			t.Error("reading changed the folder")
		}
		if err := r.Put(ctx, plain, "new", nil, PutOptions{}); !errors.Is(err, ErrReadOnly) || !errors.Is(err, ErrDenied) {
			t.Errorf("put: %v", err)
		}
		// Without keys sealed objects are listed and described, but not opened.
		closed := d.readOnly(nil)
		if o, err := closed.Head(ctx, plain, "k/sealed"); err != nil || o.Size != 70_002 || o.KMSKey != keyARN {
			t.Errorf("%+v, %v", o, err)
		}
		if _, _, err := closed.Get(ctx, plain, "k/sealed"); Code(err) != "KMS.NotFoundException" || errors.Is(err, ErrNoKey) {
			t.Errorf("without keys: %v", err)
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if got := look(r); !reflect.DeepEqual(want, got) {
			t.Errorf("after they were closed: %+v", got)
		}
		d.reopen()
	})
}

// TestReadOnlyWhileWritten reads an object that is replaced all the time: whole, with its own metadata, sealed or not.
func TestReadOnlyWhileWritten(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d *desk) {
		ctx := t.Context()
		bucket := d.bucket("bucket")
		r := d.readOnly(d.keys)
		put := func(i int) {
			o := PutOptions{Metadata: map[string]string{"n": fmt.Sprint(i)}}
			if i%2 == 1 {
				o.KMSKey = keyARN
			}
			if err := d.Put(ctx, bucket, "k/x", []byte(strings.Repeat(fmt.Sprint(i%10), 1000+i)), o); err != nil {
				t.Error(err)
			}
		}
		put(0)
		done := make(chan struct{})
		var writer sync.WaitGroup
		writer.Go(func() {
			defer close(done)
			for i := range 60 {
				put(i)
				if err := errors.Join(d.Put(ctx, bucket, "k/gone", []byte("x"), PutOptions{}), d.Delete(ctx, bucket, "k/gone", "")); err != nil {
					t.Error(err)
				}
			}
		})
		defer writer.Wait()
		for ended := false; !ended; {
			select {
			case <-done:
				ended = true
			default:
			}
			text := read(t, r, bucket, "k/x")
			if n := len(text) - 1000; n < 0 || strings.Trim(text, fmt.Sprint(n%10)) != "" {
				t.Fatalf("%d bytes of %.20q", len(text), text)
			}
			if d.store.attrs.beside == "" {
				o, err := r.Head(ctx, bucket, "k/x")
				if err != nil || o.Metadata["n"] != fmt.Sprint(o.Size-1000) {
					t.Fatalf("%+v, %v", o, err)
				}
			}
			objects, _, err := r.List(ctx, bucket, "", "", 10)
			if err != nil || !slices.ContainsFunc(objects, func(o Object) bool { return o.Key == "k/x" }) {
				t.Fatalf("%+v, %v", objects, err)
			}
		}
	})
}

func TestReadOnlyRefuses(t *testing.T) {
	t.Parallel()
	if _, err := OpenReadOnly(t.TempDir(), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing there: %v", err)
	}
	d := open(t)
	if ok, err := d.readOnly(nil).Has("none"); ok || err != nil {
		t.Error(ok, err)
	}
	if ok, err := d.readOnly(nil).Has(d.bucket("there")); !ok || err != nil {
		t.Error(ok, err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "state", "state.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenReadOnly(dir, nil); !errors.Is(err, ErrDamaged) {
		t.Errorf("a damaged state: %v", err)
	}
}

// BenchmarkReadOnly reads an object of 10 KB and its metadata.
func BenchmarkReadOnly(b *testing.B) {
	d := open(b)
	bucket := d.bucket("bucket")
	d.put(bucket, "a/b/c/d/e", string(noise(10_000)), PutOptions{ContentType: "application/json", ContentEncoding: "gzip", Metadata: map[string]string{"signature": strings.Repeat("a", 512)}})
	r := d.readOnly(nil)
	for b.Loop() {
		if read(b, r, bucket, "a/b/c/d/e") == "" {
			b.Fatal("nothing")
		}
	}
}

// BenchmarkReadOnlyList lists a folder of 300 objects.
func BenchmarkReadOnlyList(b *testing.B) {
	d := open(b)
	bucket := d.bucket("bucket")
	for i := range 300 {
		d.put(bucket, fmt.Sprintf("a/b/c/d/%03d", i), "x", PutOptions{})
	}
	r := d.readOnly(nil)
	for b.Loop() {
		if l, _, err := r.List(b.Context(), bucket, "a/b/c/d/", "", 1000); err != nil || len(l) != 300 {
			b.Fatal(len(l), err)
		}
	}
}
