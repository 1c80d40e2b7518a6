package validate_test

import (
	"bytes"
	"crypto/sha256"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/klauspost/compress/gzip"

	"spoor/internal/trail/validate"
	"spoor/internal/trail/validate/validatetest"
)

// benchFolder is a folder with log files of about 100 KB, as busy accounts have them.
func benchFolder(b *testing.B) (string, *validatetest.Made) {
	b.Helper()
	dir := b.TempDir()
	made, err := validatetest.Make(validatetest.Options{Logs: 1000, PerHour: 40, Records: 100, Key: testKey(b)}, validatetest.Folder(dir))
	must(b, err)
	return dir, made
}

// BenchmarkFolder validates a folder, on all processors.
//
//	go test -run - -bench 'Folder|Floor' ./internal/trail/validate
func BenchmarkFolder(b *testing.B) {
	dir, made := benchFolder(b)
	var keys validate.KeySet
	keys.Add("", made.Public)
	b.SetBytes(made.Expanded)
	for b.Loop() {
		f, err := validate.OpenFolder(b.Context(), dir, "")
		must(b, err)
		s, err := validate.Run(b.Context(), validate.Options{Source: f, Roots: []validate.Root{{Bucket: "trail-bucket"}}, Keys: keys.Keys, NoMetadata: true, Now: made.End})
		must(b, err)
		if s.Logs.Total() != 1000 || s.Problem {
			b.Fatalf("%+v", s)
		}
		must(b, f.Close())
	}
}

// BenchmarkFloor is what nobody can do without: the same files read, expanded and hashed, on all processors.
func BenchmarkFloor(b *testing.B) {
	dir, made := benchFolder(b)
	var names []string
	must(b, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.Contains(path, "Digest") {
			names = append(names, path)
		}
		return err
	}))
	b.SetBytes(made.Expanded)
	for b.Loop() {
		var wg sync.WaitGroup
		next := make(chan string)
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				var z gzip.Reader
				var body bytes.Buffer
				sum := sha256.New()
				for name := range next {
					in, err := os.Open(name)
					must(b, err)
					body.Reset()
					_, err = body.ReadFrom(in)
					must(b, err)
					must(b, in.Close())
					must(b, z.Reset(bytes.NewReader(body.Bytes())))
					sum.Reset()
					_, err = io.Copy(sum, &z)
					must(b, err)
				}
			})
		}
		for _, name := range names {
			next <- name
		}
		close(next)
		wg.Wait()
	}
}
