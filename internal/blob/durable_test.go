package blob

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const durableEnv = "SPOOR_BLOB_DURABLE"

// TestDurable watches the system calls of puts and deletions: content and attributes are synced before an object has its name,
// and its folders before the answer.
func TestDurable(t *testing.T) {
	t.Parallel()
	if dir := os.Getenv(durableEnv); dir != "" {
		durableCalls(t, dir)
		return
	}
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("there is no strace, with which this test looks at system calls")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	cmd := exec.CommandContext(t.Context(), strace, "-f", "-y", "-qq", "-e", "signal=none", "-e", "trace=fsync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,fsetxattr", "-o", trace, os.Args[0], "-test.run=^TestDurable$")
	cmd.Env = append(os.Environ(), durableEnv+"="+filepath.Join(dir, "data"))
	if out, err := cmd.CombinedOutput(); err != nil {
		if b, _ := os.ReadFile(trace); len(b) == 0 {
			t.Skipf("strace may not watch processes here: %s", out)
		}
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	steps := strings.Split(strings.ReplaceAll(string(b), dir+"/data", "D"), "/answered-")
	if len(steps) != 7 {
		t.Fatalf("%d steps:\n%s", len(steps), b)
	}
	const tmp, version = `D/buckets/durable/\.sgwtmp/[^>"]*`, `D/versions/durable/[^>"]*`
	for i, want := range [][]string{
		{}, // until the bucket is there
		{`fsetxattr.*` + tmp, `fsync\(\d+<` + tmp, `rename.*` + tmp + `.*"D/buckets/durable/a/b/one"`, `fsync\(\d+<D/buckets/durable/a/b>`, `fsync\(\d+<D/buckets/durable/a>`, `fsync\(\d+<D/buckets/durable>`},
		{`fsetxattr.*` + tmp, `fsync\(\d+<` + tmp, `rename.*` + tmp + `.*"D/buckets/durable/a/b/two"`, `fsync\(\d+<D/buckets/durable/a/b>`},
		{`fsync\(\d+<` + `D/state/`, `link.*"D/buckets/durable/a/b/two".*"` + version, `fsync\(\d+<` + version, `fsync\(\d+<` + tmp, `rename.*` + tmp + `.*"D/buckets/durable/a/b/two"`, `fsync\(\d+<D/buckets/durable/a/b>`},
		{`link.*"D/buckets/durable/a/b/two".*"` + version, `fsync\(\d+<` + version, `fsync\(\d+<` + tmp, `rename.*` + tmp + `.*"D/buckets/durable/a/b/two"`, `fsync\(\d+<D/buckets/durable/a/b>`},
		{`rename.*"` + version + `.*"D/buckets/durable/a/b/two"`, `fsync\(\d+<D/buckets/durable/a/b>`, `fsync\(\d+<` + `D/versions/durable`},
	} {
		rest := steps[i]
		for _, w := range want {
			at := regexp.MustCompile(w).FindStringIndex(rest)
			if at == nil {
				t.Errorf("step %d lacks %s, or has it too early:\n%s", i, w, steps[i])
				break
			}
			rest = rest[at[1]:]
		}
	}
}

// durableCalls runs under strace. A folder that is made marks each answer.
func durableCalls(t *testing.T, dir string) {
	ctx := context.Background()
	l, err := OpenLocal(ctx, dir, LocalOptions{Account: account, Region: region, Keys: newKeys()})
	if err != nil {
		t.Fatal(err)
	}
	const bucket, two = "durable", "a/b/two"
	for i, step := range []func() error{
		func() error { _, err := l.CreateBucket(ctx, BucketSpec{Name: bucket}); return err },
		func() error { return l.Put(ctx, bucket, "a/b/one", []byte("1"), PutOptions{}) },
		func() error { return l.Put(ctx, bucket, two, []byte("2"), PutOptions{KMSKey: keyARN}) },
		func() error {
			if _, err := l.SetVersioning(ctx, bucket, "Enabled"); err != nil {
				return err
			}
			return l.Put(ctx, bucket, two, []byte("3"), PutOptions{KMSKey: keyARN})
		},
		func() error { return l.Delete(ctx, bucket, two, "") },
		func() error {
			out, err := l.store.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: ptr(bucket), Prefix: ptr(two)})
			if err != nil {
				return err
			}
			return l.Delete(ctx, bucket, two, *out.DeleteMarkers[0].VersionId)
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(fmt.Sprintf("%s/answered-%d", dir, i), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
