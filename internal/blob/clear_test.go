package blob

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/versity/versitygw/s3response"
)

const needle = "what nobody shall find in any file;"

// looker looks into every file of a folder while something is stored in it.
type looker struct {
	t       *testing.T
	dir     string
	armed   atomic.Bool
	looks   int   // how often it looked
	written int64 // bytes of the largest temporary file that it saw, without those that are zero
	found   []string
}

// now is the time, and what the store asks for when an object is written, and does not have its name yet.
func (l *looker) now() time.Time {
	if l.armed.Load() {
		l.look()
	}
	return time.Now()
}

func (l *looker) look() {
	l.looks++
	err := filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if strings.Contains(path, tmpName) {
			l.written = max(l.written, int64(len(b)-bytes.Count(b, []byte{0})))
		}
		if bytes.Contains(b, []byte(needle)) {
			l.found = append(l.found, path)
		}
		return nil
	})
	if err != nil {
		l.t.Error(err)
	}
}

// stalled is a body that looks when it was read so far.
type stalled struct {
	io.Reader
	left int
	l    *looker
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		s.l.look()
	}
	n, err := s.Reader.Read(p[:min(len(p), max(s.left, 1))])
	s.left -= n
	return n, err
}

// TestNeverInTheClear: at no time is a byte of an object that is to be encrypted in any file as it is. Without encryption it is,
// which proves the looking.
func TestNeverInTheClear(t *testing.T) {
	t.Parallel()
	for _, sealed := range []bool{true, false} {
		t.Run(fmt.Sprintf("sealed %t", sealed), func(t *testing.T) {
			t.Parallel()
			neverInTheClear(t, sealed)
		})
	}
}

func neverInTheClear(t *testing.T, sealed bool) {
	ctx := t.Context()
	l := &looker{t: t}
	d := open(t, func(o *LocalOptions) { o.Now = l.now })
	l.dir = d.dir
	bucket := d.bucket("clear")
	if sealed {
		if _, err := d.SetEncryption(ctx, bucket, &Encryption{KMSKey: keyARN}); err != nil {
			t.Fatal(err)
		}
	}
	content := strings.Repeat(needle, 6<<20/len(needle)+1)
	size := int64(len(content))
	body := func() io.Reader { return &stalled{strings.NewReader(content), len(content) - 1000, l} }
	var upload s3response.InitiateMultipartUploadResult
	var parts []types.CompletedPart
	part := func(number int32, etag *string) {
		parts = append(parts, types.CompletedPart{PartNumber: &number, ETag: etag})
	}
	for _, step := range []struct {
		name    string
		written int64 // that it has to have seen in a temporary file
		do      func() error
	}{
		{"PutObject", size * 9 / 10, func() error {
			_, err := d.store.PutObject(ctx, s3response.PutObjectInput{Bucket: &bucket, Key: ptr("put"), Body: body(), ContentLength: &size})
			return err
		}},
		{"CopyObject", size * 9 / 10, func() error {
			_, err := d.store.CopyObject(ctx, s3response.CopyObjectInput{Bucket: &bucket, Key: ptr("copy"), CopySource: ptr(bucket + "/put")})
			return err
		}},
		{"CreateMultipartUpload", 0, func() (err error) {
			upload, err = d.store.CreateMultipartUpload(ctx, s3response.CreateMultipartUploadInput{Bucket: &bucket, Key: ptr("parts")})
			return err
		}},
		{"UploadPart", size * 9 / 10, func() error {
			out, err := d.store.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: ptr("parts"), UploadId: &upload.UploadId, PartNumber: ptr(int32(1)), Body: body(), ContentLength: &size})
			if err == nil {
				part(1, out.ETag)
			}
			return err
		}},
		{"UploadPartCopy", size * 9 / 10, func() error {
			out, err := d.store.UploadPartCopy(ctx, &s3.UploadPartCopyInput{Bucket: &bucket, Key: ptr("parts"), UploadId: &upload.UploadId, PartNumber: ptr(int32(2)), CopySource: ptr(bucket + "/put")})
			if err == nil {
				part(2, out.ETag)
			}
			return err
		}},
		{"UploadPart that breaks off", size / 2, func() error {
			torn := io.MultiReader(&stalled{strings.NewReader(content[:size*2/3]), int(size*2/3) - 1000, l})
			if _, err := d.store.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: ptr("parts"), UploadId: &upload.UploadId, PartNumber: ptr(int32(1)), Body: torn, ContentLength: &size}); err == nil {
				return errors.New("half a part was taken")
			}
			return nil
		}},
		{"a start", 0, func() error {
			d.restart()
			return nil
		}},
		{"CompleteMultipartUpload", 2 * size * 9 / 10, func() error {
			_, _, err := d.store.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: ptr("parts"), UploadId: &upload.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
			return err
		}},
	} {
		l.looks, l.written, l.found = 0, 0, nil
		l.armed.Store(true)
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		l.armed.Store(false)
		l.look()
		if l.written < step.written || step.written > 0 && l.looks < 2 {
			t.Errorf("%s: %d bytes were seen of a temporary file, in %d looks", step.name, l.written, l.looks)
		}
		if sealed && l.found != nil || !sealed && l.found == nil {
			t.Errorf("%s: found in %v", step.name, l.found)
		}
	}
	if got := d.get(bucket, "copy"); got != content {
		t.Errorf("a copy has %d bytes, or others", len(got))
	}
	if got := d.get(bucket, "parts"); got != content+content {
		t.Errorf("what came in parts has %d bytes, or others", len(got))
	}
}

// TestPartsLeft: what a crash leaves of parts that were being received goes at the next start, and parts stay.
func TestPartsLeft(t *testing.T) {
	t.Parallel()
	d := open(t)
	bucket := d.bucket("left")
	up, err := d.store.CreateMultipartUpload(t.Context(), s3response.CreateMultipartUploadInput{Bucket: &bucket, Key: ptr("k")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.UploadPart(t.Context(), &s3.UploadPartInput{Bucket: &bucket, Key: ptr("k"), UploadId: &up.UploadId, PartNumber: ptr(int32(1)), Body: strings.NewReader("part"), ContentLength: ptr(int64(4))}); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(d.dir, "buckets", bucket, uploadOf("k", up.UploadId))
	left := filepath.Join(filepath.Dir(folder), "0123.456")
	if err := os.WriteFile(left, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	d.restart()
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
	if _, err := os.Stat(filepath.Join(folder, "1")); err != nil {
		t.Error(err)
	}
}

// trailing is a body whose checksum follows it.
type trailing struct {
	io.Reader
	algorithm, sum string
}

func (r trailing) Algorithm() string { return r.algorithm }
func (r trailing) Checksum() string  { return r.sum }

// TestPartChecksums: parts that are sealed are taken, refused and answered as those that are not, and so is what comes of them.
func TestPartChecksums(t *testing.T) {
	t.Parallel()
	const content, crc32, crc32c, crc64, wrong = "123456789", "y/Q5Jg==", "4waSgw==", "rosUhgp5mIg=", "AAAAAA=="
	d := open(t)
	none := func() *s3.UploadPartInput { return &s3.UploadPartInput{} }
	given32 := func() *s3.UploadPartInput { return &s3.UploadPartInput{ChecksumCRC32: ptr(crc32)} }
	for i, tt := range []struct {
		name      string
		algorithm types.ChecksumAlgorithm // of the upload
		kind      types.ChecksumType
		part      func() *s3.UploadPartInput
		code      string // of the error; empty for none
		sum       string // of the whole
	}{
		{"none", "", "", none, "", crc64},
		{"given", "", "", given32, "", crc64},
		{"given, of the default's algorithm", "", "", func() *s3.UploadPartInput { return &s3.UploadPartInput{ChecksumCRC64NVME: ptr(crc64)} }, "", crc64},
		{"wrong", "", "", func() *s3.UploadPartInput { return &s3.UploadPartInput{ChecksumCRC32: ptr(wrong)} }, "BadDigest", ""},
		{"following", "", "", func() *s3.UploadPartInput {
			return &s3.UploadPartInput{Body: trailing{strings.NewReader(content), "crc32c", crc32c}}
		}, "", crc64},
		{"none, of a whole", "CRC32", "FULL_OBJECT", none, "", crc32},
		{"given, of a whole", "CRC32", "FULL_OBJECT", given32, "", crc32},
		{"following, of a whole", "CRC32C", "FULL_OBJECT", func() *s3.UploadPartInput {
			return &s3.UploadPartInput{Body: trailing{strings.NewReader(content), "crc32c", crc32c}}
		}, "", crc32c},
		{"another, of a whole", "CRC32C", "FULL_OBJECT", given32, "InvalidRequest", ""},
		{"given, of parts", "CRC32", "COMPOSITE", given32, "", ""},
		{"none, of parts", "CRC32", "COMPOSITE", none, "InvalidRequest", ""},
		{"wrong, of parts", "CRC32", "COMPOSITE", func() *s3.UploadPartInput { return &s3.UploadPartInput{ChecksumCRC32: ptr(wrong)} }, "BadDigest", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			type result struct {
				part  s3.UploadPartOutput
				text  string // of the error
				whole s3response.CompleteMultipartUploadResult
			}
			var got [2]result
			for j, key := range []string{NoKMSKey, keyARN} {
				bucket := d.bucket(fmt.Sprintf("sums-%d-%d", i, j))
				if key != NoKMSKey {
					if _, err := d.SetEncryption(t.Context(), bucket, &Encryption{KMSKey: key}); err != nil {
						t.Fatal(err)
					}
				}
				up, err := d.store.CreateMultipartUpload(t.Context(), s3response.CreateMultipartUploadInput{Bucket: &bucket, Key: ptr("k"), ChecksumAlgorithm: tt.algorithm, ChecksumType: tt.kind})
				if err != nil {
					t.Fatal(err)
				}
				in := tt.part()
				in.Bucket, in.Key, in.UploadId, in.PartNumber, in.ContentLength = &bucket, ptr("k"), &up.UploadId, ptr(int32(1)), ptr(int64(len(content)))
				if in.Body == nil {
					in.Body = strings.NewReader(content)
				}
				out, err := d.store.UploadPart(t.Context(), in)
				if code := Code(err); code != tt.code || (err == nil) != (tt.code == "") {
					t.Fatalf("%s: %v (%s)", key, err, code)
				}
				if err != nil {
					got[j].text = err.Error()
					continue
				}
				list, err := d.store.ListParts(t.Context(), &s3.ListPartsInput{Bucket: &bucket, Key: ptr("k"), UploadId: &up.UploadId, MaxParts: ptr(int32(10)), PartNumberMarker: ptr("")})
				if err != nil || len(list.Parts) != 1 || list.Parts[0].Size != int64(len(content)) || list.Parts[0].ETag != *out.ETag {
					t.Errorf("%s: %+v, %v", key, list, err)
				}
				done := types.CompletedPart{PartNumber: ptr(int32(1)), ETag: out.ETag}
				if tt.kind != "" {
					done.ChecksumCRC32, done.ChecksumCRC32C = out.ChecksumCRC32, out.ChecksumCRC32C
				}
				whole, _, err := d.store.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{Bucket: &bucket, Key: ptr("k"), UploadId: &up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{done}}})
				if err != nil {
					t.Fatalf("%s: %v", key, err)
				}
				if tt.sum != "" {
					for _, v := range []*string{whole.ChecksumCRC32, whole.ChecksumCRC32C, whole.ChecksumCRC64NVME} {
						if v != nil && *v != tt.sum {
							t.Errorf("%s: %+v", key, whole)
						}
					}
				}
				out.ETag, whole.ETag, whole.Bucket = nil, nil, nil
				got[j].part, got[j].whole = *out, whole
				if text := read(t, d.Local, bucket, "k"); text != content {
					t.Errorf("%s: %q came back", key, text)
				}
			}
			if !reflect.DeepEqual(got[0], got[1]) {
				t.Errorf("not sealed: %+v\nsealed: %+v", got[0], got[1])
			}
		})
	}
}
