package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// TestBeside is TestStorage with attributes beside the files.
func TestBeside(t *testing.T) {
	t.Parallel()
	d := beside(t)
	conform(t, d.Local, d.bucket("beside"))
}

// TestVersions keeps versions, hides and brings back what is deleted, and lists all of it in pages.
func TestVersions(t *testing.T) {
	t.Parallel()
	both(t, versions)
}

func versions(t *testing.T, d *desk) {
	ctx := t.Context()
	bucket := d.bucket("versions")
	c := d.client()
	d.put(bucket, "k/x", "null", PutOptions{Metadata: map[string]string{"v": "null"}})
	if _, err := c.PutBucketVersioning(ctx, &awss3.PutBucketVersioningInput{Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}}); err != nil {
		t.Fatal(err)
	}
	if v, err := c.GetBucketVersioning(ctx, &awss3.GetBucketVersioningInput{Bucket: &bucket}); err != nil || v.Status != types.BucketVersioningStatusEnabled {
		t.Errorf("%+v, %v", v, err)
	}
	var ids []string
	for i := range 3 {
		o := PutOptions{Metadata: map[string]string{"v": fmt.Sprint(i)}}
		if i == 1 {
			o.KMSKey = keyARN
		}
		d.put(bucket, "k/x", fmt.Sprintf("version %d", i), o)
		h, err := d.Head(ctx, bucket, "k/x")
		if err != nil || h.VersionID == "" || h.Metadata["v"] != fmt.Sprint(i) {
			t.Fatalf("%+v, %v", h, err)
		}
		ids = append(ids, h.VersionID)
	}
	for i, id := range append(slices.Clone(ids), "null") {
		got, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: aws.String("k/x"), VersionId: &id})
		if err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		b, err := io.ReadAll(got.Body)
		want := fmt.Sprintf("version %d", i)
		if id == "null" {
			want = "null"
		}
		if err != nil || string(b) != want || aws.ToString(got.VersionId) != id {
			t.Errorf("version %s: %q, %v, %+v", id, b, err, got)
		}
	}
	// A delete marker hides, and its removal brings back.
	del, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("k/x")})
	if err != nil || !aws.ToBool(del.DeleteMarker) || aws.ToString(del.VersionId) == "" {
		t.Fatalf("%+v, %v", del, err)
	}
	_, err = d.Head(ctx, bucket, "k/x")
	is(t, err, ErrNoKey, "NoSuchKey")
	_, _, err = d.Get(ctx, bucket, "k/x")
	is(t, err, ErrNoKey, "NoSuchKey")
	if list, _, err := d.List(ctx, bucket, "", "", 10); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	for i := range 3 {
		d.put(bucket, fmt.Sprintf("k/%d", i), "x", PutOptions{})
	}
	if del, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("never/was")}); err != nil || !aws.ToBool(del.DeleteMarker) {
		t.Errorf("%+v, %v", del, err)
	}
	want := []string{"k/0", "k/1", "k/2", "k/x!", "k/x", "k/x", "k/x", "k/x null", "never/was!"}
	for _, page := range []int32{1, 2, 3, 100} {
		var got []string
		in := &awss3.ListObjectVersionsInput{Bucket: &bucket, MaxKeys: &page}
		for {
			out, err := c.ListObjectVersions(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			type entry struct{ name, sort string }
			var list []entry
			for _, v := range out.Versions {
				name := *v.Key
				if *v.VersionId == "null" {
					name += " null"
				}
				list = append(list, entry{name, *v.Key})
				if *v.IsLatest != (*v.Key != "k/x") {
					t.Errorf("%+v", v)
				}
				if *v.Key == "k/x" && *v.VersionId != "null" && *v.Size != int64(len("version 0")) {
					t.Errorf("%s has %d bytes", *v.VersionId, *v.Size)
				}
			}
			for _, m := range out.DeleteMarkers {
				at := slices.IndexFunc(list, func(e entry) bool { return e.sort >= *m.Key })
				if at < 0 {
					at = len(list)
				}
				list = slices.Insert(list, at, entry{*m.Key + "!", *m.Key})
			}
			for _, e := range list {
				got = append(got, e.name)
			}
			if !aws.ToBool(out.IsTruncated) {
				break
			}
			in.KeyMarker, in.VersionIdMarker = out.NextKeyMarker, out.NextVersionIdMarker
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d: %q", page, got)
		}
	}
	if out, err := c.ListObjectVersions(ctx, &awss3.ListObjectVersionsInput{Bucket: &bucket, Delimiter: aws.String("/")}); err != nil || len(out.CommonPrefixes) != 2 || len(out.Versions) > 0 {
		t.Errorf("%+v, %v", out, err)
	}
	_, err = d.DeleteBucket(ctx, bucket)
	is(t, err, nil, "BucketNotEmpty")
	for _, step := range []struct{ remove, now string }{
		{*del.VersionId, "version 2"}, {ids[1], "version 2"}, {ids[2], "version 0"}, {ids[0], "null"}, {"null", ""},
	} {
		if err := d.Delete(ctx, bucket, "k/x", step.remove); err != nil {
			t.Fatal(err)
		}
		if step.now == "" {
			_, err := d.Head(ctx, bucket, "k/x")
			is(t, err, ErrNoKey, "NoSuchKey")
			continue
		}
		if got := d.get(bucket, "k/x"); got != step.now {
			t.Errorf("after the removal of %s it is %q", step.remove, got)
		}
		h, err := d.Head(ctx, bucket, "k/x")
		if want := strings.TrimPrefix(step.now, "version "); err != nil || h.Metadata["v"] != want {
			t.Errorf("%+v, %v", h, err)
		}
	}
	// Suspended: the null version is replaced, others stay.
	if _, err := d.SetVersioning(ctx, bucket, "Suspended"); err != nil {
		t.Fatal(err)
	}
	d.put(bucket, "k/0", "s1", PutOptions{})
	d.put(bucket, "k/0", "s2", PutOptions{})
	history := func(key string) (out []string) {
		dir, err := d.store.root(bucket)
		if err != nil {
			t.Fatal(err)
		}
		h, err := d.store.history(dir, bucket, key)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range h {
			s := fmt.Sprint(v.size)
			if v.place.version == nullVersion {
				s += "null"
			}
			if v.place.marker {
				s += "!"
			}
			out = append(out, s)
		}
		return out
	}
	if got := history("k/0"); !slices.Equal(got, []string{"2null", "1"}) {
		t.Errorf("%q", got)
	}
	if err := d.Delete(ctx, bucket, "k/0", ""); err != nil {
		t.Fatal(err)
	}
	if got := history("k/0"); !slices.Equal(got, []string{"0null!", "1"}) {
		t.Errorf("%q", got)
	}
	d.versioned(bucket)
	d.put(bucket, "k/0", "new", PutOptions{})
	if got := history("k/0"); !slices.Equal(got, []string{"3", "0null!", "1"}) {
		t.Errorf("%q", got)
	}
}

// TestCrashBetweenVersions leaves a version in both places, as a crash before the new object has its name does.
func TestCrashBetweenVersions(t *testing.T) {
	t.Parallel()
	d := open(t)
	bucket := d.bucket("crash")
	d.versioned(bucket)
	d.put(bucket, "k", "one", PutOptions{})
	h, err := d.Head(t.Context(), bucket, "k")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(d.dir, "buckets", bucket)
	if _, err := d.store.keep(dir, bucket, "k", h.VersionID); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, tmpName, "left"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d.restart()
	list, err := d.store.history(dir, bucket, "k")
	if err != nil || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := os.Stat(filepath.Join(dir, tmpName, "left")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what was being written is there still: %v", err)
	}
	d.put(bucket, "k", "two", PutOptions{})
	if list, err = d.store.history(dir, bucket, "k"); err != nil || len(list) != 2 || list[1].place.version != h.VersionID {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := d.store.keep(dir, bucket, "k", list[0].place.version); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(t.Context(), bucket, "k", list[0].place.version); err != nil {
		t.Fatal(err)
	}
	if got := d.get(bucket, "k"); got != "one" {
		t.Errorf("%q", got)
	}
}

// TestUploads puts objects together from parts, sealed and not.
func TestUploads(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, d *desk) {
		for _, sealed := range []bool{false, true} {
			uploads(t, d, d.bucket(fmt.Sprintf("uploads-%t", sealed)), sealed)
		}
	})
}

func uploads(t *testing.T, d *desk, bucket string, sealed bool) {
	ctx := t.Context()
	c := d.client()
	content := make([]byte, 5<<20+5<<20+12345)
	_, _ = rand.Read(content)
	key := "parts/of it"
	in := &awss3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key, Metadata: map[string]string{"a": "b"}}
	if sealed {
		in.ServerSideEncryption, in.SSEKMSKeyId = types.ServerSideEncryptionAwsKms, aws.String(keyARN)
	}
	up, err := c.CreateMultipartUpload(ctx, in)
	if err != nil {
		t.Fatal(err)
	}
	u, err := d.Upload(ctx, bucket, key, *up.UploadId)
	if err != nil || (u.KMSKey == keyARN) != sealed {
		t.Errorf("%+v, %v", u, err)
	}
	_, err = d.Upload(ctx, bucket, key, "../../x")
	is(t, err, nil, "NoSuchUpload")
	d.put(bucket, "source", string(content[10<<20:]), PutOptions{KMSKey: keyARN})
	var parts []types.CompletedPart
	for i := range 2 {
		part := content[i*5<<20 : (i+1)*5<<20]
		out, err := c.UploadPart(ctx, &awss3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(int32(i + 1)), Body: bytes.NewReader(part)})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := os.ReadFile(filepath.Join(d.dir, "buckets", bucket, uploadOf(key, *up.UploadId), fmt.Sprint(i+1)))
		if err != nil || bytes.Contains(raw, part[:64]) == sealed {
			t.Errorf("part %d lies in the clear: %t, %v", i+1, sealed, err)
		}
		parts = append(parts, types.CompletedPart{ETag: out.ETag, PartNumber: aws.Int32(int32(i + 1)), ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC64NVME: out.ChecksumCRC64NVME})
	}
	copied, err := c.UploadPartCopy(ctx, &awss3.UploadPartCopyInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(3), CopySource: aws.String(bucket + "/source"), CopySourceRange: aws.String("bytes=0-12344")})
	if err != nil {
		t.Fatal(err)
	}
	r := copied.CopyPartResult
	parts = append(parts, types.CompletedPart{ETag: r.ETag, PartNumber: aws.Int32(3), ChecksumCRC32: r.ChecksumCRC32, ChecksumCRC64NVME: r.ChecksumCRC64NVME})
	list, err := c.ListParts(ctx, &awss3.ListPartsInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId})
	if err != nil || len(list.Parts) != 3 || *list.Parts[0].Size != 5<<20 || *list.Parts[2].Size != 12345 {
		t.Errorf("%+v, %v", list, err)
	}
	if sealed { // a part that was changed ends nothing well
		path := filepath.Join(d.dir, "buckets", bucket, uploadOf(key, *up.UploadId), "2")
		flip := func() {
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			b := make([]byte, 1)
			_, err = f.ReadAt(b, 4000)
			b[0] ^= 4
			if _, werr := f.WriteAt(b, 4000); errors.Join(err, werr, f.Close()) != nil {
				t.Fatal(err, werr)
			}
		}
		flip()
		_, err := c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
		if err == nil {
			t.Fatal("a changed part was taken")
		}
		_, err = d.Head(ctx, bucket, key)
		is(t, err, ErrNoKey, "NoSuchKey")
		flip()
	}
	// A crash while it is completed leaves the upload.
	folder := filepath.Join(d.dir, "buckets", bucket, uploadOf(key, *up.UploadId))
	if err := os.Rename(folder, folder+".abc-3.inprogress"); err != nil {
		t.Fatal(err)
	}
	if err := d.store.sweep(); err != nil {
		t.Fatal(err)
	}
	done, err := c.CompleteMultipartUpload(ctx, &awss3.CompleteMultipartUploadInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	if err != nil || !strings.HasSuffix(aws.ToString(done.ETag), `-3"`) {
		t.Fatalf("%+v, %v", done, err)
	}
	if got := d.get(bucket, key); got != string(content) {
		t.Errorf("%d bytes are not those of the parts", len(got))
	}
	h, err := d.Head(ctx, bucket, key)
	if err != nil || (h.KMSKey == keyARN) != sealed || h.Metadata["a"] != "b" || h.Size != int64(len(content)) {
		t.Errorf("%+v, %v", h, err)
	}
	raw, err := os.ReadFile(filepath.Join(d.dir, "buckets", bucket, key))
	if err != nil || bytes.Contains(raw, content[:64]) == sealed {
		t.Errorf("it lies in the clear: %t, %v", sealed, err)
	}
	part, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &bucket, Key: &key, PartNumber: aws.Int32(3)})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(part.Body); err != nil || !bytes.Equal(b, content[10<<20:]) || aws.ToInt32(part.PartsCount) != 3 {
		t.Errorf("%d bytes, %v, %+v", len(b), err, part)
	}
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the upload is there still: %v", err)
	}
}

// TestLocks keeps locked versions from lifecycle rules and from callers.
func TestLocks(t *testing.T) {
	t.Parallel()
	now := &clock{t: time.Now()}
	d := open(t, func(o *LocalOptions) { o.Now = now.now })
	ctx := t.Context()
	if _, err := d.CreateBucket(ctx, BucketSpec{Name: "locks", ObjectLock: true}); err != nil {
		t.Fatal(err)
	}
	c := d.client()
	bucket := "locks"
	if _, err := c.PutObjectLockConfiguration(ctx, &awss3.PutObjectLockConfigurationInput{Bucket: &bucket, ObjectLockConfiguration: &types.ObjectLockConfiguration{
		ObjectLockEnabled: types.ObjectLockEnabledEnabled, Rule: &types.ObjectLockRule{DefaultRetention: &types.DefaultRetention{Mode: types.ObjectLockRetentionModeCompliance, Days: aws.Int32(10)}},
	}}); err != nil {
		t.Fatal(err)
	}
	d.put(bucket, "k", "one", PutOptions{})
	first, err := c.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &bucket, Key: aws.String("k")})
	if err != nil || first.ObjectLockMode != types.ObjectLockModeCompliance || first.ObjectLockRetainUntilDate.Before(now.now().AddDate(0, 0, 9)) {
		t.Fatalf("%+v, %v", first, err)
	}
	d.put(bucket, "k", "two", PutOptions{})
	second, err := d.Head(ctx, bucket, "k")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObjectLegalHold(ctx, &awss3.PutObjectLegalHoldInput{Bucket: &bucket, Key: aws.String("k"), VersionId: first.VersionId, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOn}}); err != nil {
		t.Fatal(err)
	}
	_, err = c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &bucket, Key: aws.String("k"), VersionId: &second.VersionID})
	if Code(err) != "AccessDenied" {
		t.Errorf("%v", err)
	}
	_, err = d.SetVersioning(ctx, bucket, "Suspended")
	if Code(err) == "" {
		t.Errorf("%v", err)
	}
	if _, err := d.SetLifecycle(ctx, bucket, &Lifecycle{[]LifecycleRule{{ID: "a", Enabled: true, NoncurrentIn: 1, Days: 5}}}); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		days int
		want Expirations
	}{
		{2, Expirations{Locked: 1}},             // the first, by retention
		{6, Expirations{Locked: 1, Objects: 1}}, // the second gets a marker
		{5, Expirations{Locked: 1, Versions: 1}},
		{0, Expirations{Locked: 1}}, // the first, by its hold
	}
	for i, s := range steps {
		now.add(time.Duration(s.days) * 24 * time.Hour)
		got, err := d.ApplyLifecycle(ctx)
		if err != nil || got != s.want {
			t.Errorf("step %d: %+v, %v", i, got, err)
		}
	}
	if err := func() error {
		_, err := c.PutObjectLegalHold(ctx, &awss3.PutObjectLegalHoldInput{Bucket: &bucket, Key: aws.String("k"), VersionId: first.VersionId, LegalHold: &types.ObjectLockLegalHold{Status: types.ObjectLockLegalHoldStatusOff}})
		return err
	}(); err != nil {
		t.Fatal(err)
	}
	if got, err := d.ApplyLifecycle(ctx); err != nil || got != (Expirations{Versions: 1, Markers: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := d.DeleteBucket(context.Background(), bucket); err != nil {
		t.Error(err)
	}
}
