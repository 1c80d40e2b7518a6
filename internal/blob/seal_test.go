package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"spoor/internal/keyring"
)

// sealedFile is a file with sealed content of n bytes.
func sealedFile(t testing.TB, keys Keys, c map[string]string, content []byte) []byte {
	t.Helper()
	key, err := keys.GenerateDataKey(context.Background(), keyARN, c)
	if err != nil {
		t.Fatal(err)
	}
	s, err := newSealer(key, c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.reader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.size(int64(len(content))); err != nil || n != int64(len(b)) {
		t.Fatalf("%d bytes, foretold %d, %v", len(b), n, err)
	}
	if n, err := s.mark.size(int64(len(b))); err != nil || n != int64(len(content)) {
		t.Fatalf("%d bytes, not %d, %v", n, len(content), err)
	}
	return b
}

func unseal(keys Keys, file []byte) ([]byte, error) {
	o, err := openSealed(context.Background(), keys, bytes.NewReader(file), int64(len(file)))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(o.read(0, o.size))
}

func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(1, uint64(n)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// TestSeal reads sealed content of many sizes, whole and in ranges.
func TestSeal(t *testing.T) {
	t.Parallel()
	keys := newKeys()
	for _, n := range []int{0, 1, 1000, 65535, 65536, 65537, 131072, 200_001} {
		content := noise(n)
		file := sealedFile(t, keys, map[string]string{"a": "b"}, content)
		got, err := unseal(keys, file)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%d bytes: %d, %v", n, len(got), err)
		}
		o, err := openSealed(t.Context(), keys, bytes.NewReader(file), int64(len(file)))
		if err != nil || o.head.Key != keyARN || o.head.Context["a"] != "b" {
			t.Fatalf("%+v, %v", o, err)
		}
		r := rand.New(rand.NewPCG(2, uint64(n)))
		for range 50 {
			from := r.IntN(n + 1)
			size := r.IntN(n - from + 1)
			got, err := io.ReadAll(o.read(int64(from), int64(size)))
			if err != nil || !bytes.Equal(got, content[from:from+size]) {
				t.Fatalf("%d bytes, from %d %d: %d, %v", n, from, size, len(got), err)
			}
		}
	}
}

// TestTampered changes sealed content in every way. Nobody ever reads other bytes than were sealed.
func TestTampered(t *testing.T) {
	t.Parallel()
	keys := newKeys()
	content := noise(3*65536 + 1000)
	file := sealedFile(t, keys, map[string]string{"a": "b"}, content)
	other := sealedFile(t, keys, map[string]string{"a": "b"}, noise(3*65536+1000))
	_, head, err := readHead(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	const segment = 16 + 65536 + 16
	h := len(head)
	swapped := bytes.Clone(file)
	copy(swapped[h:], file[h+segment:h+2*segment])
	copy(swapped[h+segment:], file[h:h+segment])
	foreign := bytes.Clone(file)
	copy(foreign[h+segment:], other[len(other)-(len(file)-h)+segment:][:segment])
	cases := map[string][]byte{
		"cut by one": file[:len(file)-1], "cut in a segment": file[:h+segment+100], "cut at a segment": file[:h+2*segment], "cut before the last": file[:h+3*segment],
		"nothing but the head": file[:h], "in the head": file[:h-1], "no head": file[h:], "empty": {}, "short": file[:5],
		"appended": append(bytes.Clone(file), 1), "a segment appended": append(bytes.Clone(file), file[h:h+segment]...),
		"swapped": swapped, "foreign segment": foreign, "another's head": append(bytes.Clone(other[:len(other)-(len(file)-h)]), file[h:]...),
		"repeated": append(append(bytes.Clone(file[:h+segment]), file[h:h+segment]...), file[h+2*segment:]...),
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		at := r.IntN(len(file))
		c := bytes.Clone(file)
		c[at] ^= 1 << r.IntN(8)
		cases[fmt.Sprintf("bit at %d", at)] = c
	}
	for at := range h {
		c := bytes.Clone(file)
		c[at] ^= 1
		cases[fmt.Sprintf("bit in the head at %d", at)] = c
	}
	for name, c := range cases {
		got, err := unseal(keys, c)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if !errors.Is(err, ErrTampered) && !errors.Is(err, keyring.ErrCiphertext) {
			t.Errorf("%s: %v", name, err)
		}
		if !bytes.HasPrefix(content, got) {
			t.Errorf("%s: other bytes", name)
		}
	}
}

// TestSealedObject reads sealed objects whose key is gone, whose file was changed, and whose file was exchanged with another one.
func TestSealedObject(t *testing.T) {
	t.Parallel()
	d := open(t)
	bucket := d.bucket("sealed")
	o := PutOptions{KMSKey: keyARN}
	d.put(bucket, "a", "content of a", o)
	d.put(bucket, "b", "content of b", PutOptions{KMSKey: keyARN, EncryptionContext: map[string]string{"x": "y"}})
	h, err := d.Head(t.Context(), bucket, "a")
	if err != nil || h.EncryptionContext["aws:s3:arn"] != "arn:aws:s3:::sealed/a" || len(h.EncryptionContext) != 1 {
		t.Errorf("%+v, %v", h, err)
	}
	for code, kind := range map[string]error{"KMS.DisabledException": keyring.ErrDisabled, "KMS.KMSInvalidStateException": keyring.ErrPending, "AccessDenied": keyring.ErrDenied} {
		d.keys.fail(kind)
		_, _, err := d.Get(t.Context(), bucket, "a")
		is(t, err, kind, code)
		is(t, d.Put(t.Context(), bucket, "c", nil, o), kind, code)
		if _, err := d.Head(t.Context(), bucket, "a"); err != nil {
			t.Errorf("%s: %v", code, err)
		}
	}
	d.keys.fail(nil)
	path := filepath.Join(d.dir, "buckets", bucket, "a")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(b, []byte("content of a")) {
		t.Error("it lies in the clear")
	}
	b[len(b)-1] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err = d.Get(t.Context(), bucket, "a")
	is(t, err, ErrTampered, "")
	long := strings.Repeat("0123456789", 20_000)
	d.put(bucket, "long", long, o)
	path = filepath.Join(d.dir, "buckets", bucket, "long")
	if b, err = os.ReadFile(path); err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	r, _, err := d.Get(t.Context(), bucket, "long")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); !errors.Is(err, ErrTampered) || !strings.HasPrefix(long, string(got)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	got, err := d.client().GetObject(t.Context(), &awss3.GetObjectInput{Bucket: &bucket, Key: aws.String("long")})
	if err == nil {
		var b []byte
		if b, err = io.ReadAll(got.Body); !strings.HasPrefix(long, string(b)) {
			t.Error("other bytes")
		}
	}
	if err == nil {
		t.Error("the gateway gives a changed object")
	}
	// By default as the bucket wants it.
	if _, err := d.SetEncryption(t.Context(), bucket, &Encryption{KMSKey: keyARN2, BucketKey: true}); err != nil {
		t.Fatal(err)
	}
	d.put(bucket, "default", "x", PutOptions{})
	if h, err = d.Head(t.Context(), bucket, "default"); err != nil || h.KMSKey != keyARN2 || h.EncryptionContext["aws:s3:arn"] != "arn:aws:s3:::sealed" {
		t.Errorf("%+v, %v", h, err)
	}
	_, err = d.SetEncryption(t.Context(), bucket, &Encryption{KMSKey: "alias/x"})
	is(t, err, nil, "InvalidArgument")
}

func FuzzSealed(f *testing.F) {
	keys := newKeys()
	content := noise(70_000)
	file := sealedFile(f, keys, nil, content)
	f.Add(file)
	f.Add(file[:200])
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := unseal(keys, b)
		if err == nil && !bytes.Equal(got, content) || !bytes.HasPrefix(content, got) {
			t.Fatalf("other bytes: %d, %v", len(got), err)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	content := noise(64 << 20)
	keys := newKeys()
	key, err := keys.GenerateDataKey(context.Background(), keyARN, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("seal", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			s, err := newSealer(key, nil)
			if err != nil {
				b.Fatal(err)
			}
			r, err := s.reader(bytes.NewReader(content))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				b.Fatal(err)
			}
		}
	})
	file := sealedFile(b, keys, nil, content)
	b.Run("open", func(b *testing.B) {
		b.SetBytes(int64(len(content)))
		for b.Loop() {
			o, err := openSealed(context.Background(), keys, bytes.NewReader(file), int64(len(file)))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, o.read(0, o.size)); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkPut(b *testing.B) {
	content := noise(4 << 10)
	for _, key := range []string{"", keyARN} {
		b.Run(map[bool]string{true: "sealed", false: "plain"}[key != ""], func(b *testing.B) {
			d := open(b)
			bucket := d.bucket("puts")
			n := 0
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					d.mu.Lock()
					n++
					name := fmt.Sprintf("AWSLogs/111122223333/CloudTrail/eu-west-1/2026/11/20/%d.json.gz", n)
					d.mu.Unlock()
					if err := d.Put(context.Background(), bucket, name, content, PutOptions{KMSKey: key}); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
