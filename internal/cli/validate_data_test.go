package cli

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/blob"
	"spoor/internal/keyring"
	"spoor/internal/report"
	"spoor/internal/seal"
	"spoor/internal/trail"
	"spoor/internal/trail/signing"
	"spoor/internal/trail/validate"
	"spoor/internal/trail/validate/validatetest"
)

// dataDir is a data folder with everything that a running service has open of trails.
type dataDir struct {
	testing.TB
	dir     string
	ring    *keyring.Ring
	buckets *blob.Local
	book    *trail.Book
	signing *signing.Keys
	key     string // ARN
	close   func()
}

func openData(t testing.TB, dir string) *dataDir {
	t.Helper()
	const account, region = "111122223333", "us-east-1"
	ctx := context.Background()
	i := &dataDir{TB: t, dir: dir}
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	i.ring, err = keyring.Open(ctx, filepath.Join(dir, "keys"), keyring.Options{Account: account, Region: region})
	check(err)
	i.buckets, err = blob.OpenLocal(ctx, filepath.Join(dir, "buckets"), blob.LocalOptions{Account: account, Region: region, Keys: i.ring})
	check(err)
	i.book, err = trail.Open(ctx, filepath.Join(dir, "trails", "book"), trail.Options{Account: account, Region: region})
	check(err)
	i.signing, err = signing.Open(filepath.Join(dir, "trails", "digest-keys"), i.ring, nil)
	check(err)
	k, _, err := i.ring.Create(keyring.Ref{Account: account, Region: region}, keyring.Spec{})
	check(err)
	i.key = k.ARN
	closed := false
	i.close = func() {
		if closed {
			return
		}
		closed = true
		if err := errors.Join(i.book.Close(), i.buckets.Close(), i.ring.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(i.close)
	return i
}

// trail makes a trail that logs, and what it delivered in the hours up to now, sealed or not.
func (i *dataDir) trail(name, bucket, prefix string, hours int, sealed bool) *validatetest.Made {
	i.Helper()
	ctx := context.Background()
	w := trail.Where{Account: "111122223333", Region: "us-east-1"}
	if _, err := i.buckets.Bucket(ctx, bucket); errors.Is(err, blob.ErrNoBucket) {
		if _, err := i.buckets.CreateBucket(ctx, blob.BucketSpec{Name: bucket}); err != nil {
			i.Fatal(err)
		}
	}
	_, c, err := i.book.Create(ctx, w, trail.Spec{Name: name, Bucket: bucket, Prefix: prefix, Validation: true}, nil)
	if err == nil {
		err = c.Recorded(ctx)
	}
	if err == nil {
		_, c, err = i.book.SetLogging(w, name, true)
	}
	if err == nil {
		err = c.Recorded(ctx)
	}
	if err != nil {
		i.Fatal(err)
	}
	if hours == 0 {
		return nil
	}
	start := time.Now().UTC().Truncate(time.Hour).Add(-time.Duration(hours) * time.Hour)
	key, err := i.signing.Signing(ctx, "us-east-1", start.Add(time.Hour))
	if err != nil {
		i.Fatal(err)
	}
	made, err := validatetest.Make(validatetest.Options{Bucket: bucket, Prefix: prefix, Trail: name, Hours: hours, PerHour: 2, Records: 1, Start: start, Key: key}, func(bucket, key string, body []byte, metadata map[string]string) error {
		o := blob.PutOptions{Metadata: metadata, ContentEncoding: "gzip"}
		if sealed {
			o.KMSKey, o.EncryptionContext = i.key, map[string]string{"aws:s3:arn": "arn:aws:s3:::" + bucket + "/" + key}
		}
		return i.buckets.Put(ctx, bucket, key, body, o)
	})
	if err != nil {
		i.Fatal(err)
	}
	return made
}

// says checks that an output has texts, in whatever lines.
func says(t testing.TB, out string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(bare(out), bare(want)) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
}

// bare is a text without blanks and ends of lines.
func bare(text string) string { return strings.Join(strings.Fields(text), "") }

func TestValidateData(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	i := openData(t, dir)
	audit := i.trail("audit", "audit-bucket", "", 4, false)
	i.trail("sealed", "sealed-bucket", "some/prefix", 3, true)
	arn := audit.TrailARN()
	all := []string{"validate", "--data", dir}
	look := func(when string) {
		t.Helper()
		out, _ := run(t, ExitClean, all...)
		says(t, out, "VALID: 7 digests and 14 log files are as they were delivered", "4/4 digests · 8/8 log files", "3/3 digests · 6/6 log files")
		out, _ = run(t, ExitClean, append(all, "audit")...)
		says(t, out, "VALID: 4 digests and 8 log files")
		out, _ = run(t, ExitClean, append(all, arn, "--since", "7d", "--format", "json")...)
		if v := decode[report.Validation](t, out); v.Summary.Digests.Valid != 4 || len(v.Summary.Chains) != 1 || v.Targets[0] != arn {
			t.Errorf("%s: %+v", when, v)
		}
		out, _ = run(t, ExitClean, append(all, "s3://sealed-bucket/some/prefix")...)
		says(t, out, "VALID: 3 digests and 6 log files")
	}
	look("while it runs")

	// A bundle of evidence, keys and signatures as from a bucket, which a copy is validated with.
	saved, signatures, zip := filepath.Join(t.TempDir(), "keys.json"), filepath.Join(t.TempDir(), "signatures.jsonl"), filepath.Join(t.TempDir(), "evidence.zip")
	run(t, ExitClean, append(all, "audit", "--save-keys", saved, "--save-signatures", signatures, "--bundle", zip)...)
	out, _ := run(t, ExitClean, "validate", filepath.Join(dir, "buckets", "buckets", "audit-bucket"), "--public-keys", saved, "--signatures", signatures, "--s3-bucket", "audit-bucket")
	says(t, out, "VALID: 4 digests and 8 log files")
	run(t, ExitClean, "validate", "--check-bundle", zip)

	// What is not there, and flags that do not go together.
	for _, c := range []struct {
		args []string
		want string
	}{
		{append(all, "none"), `there is no trail "none"`}, {append(all, "audit", "sealed"), "at most one"}, {append(all, "audit", "--endpoint-url", "http://127.0.0.1:1"), "--endpoint-url is for buckets"},
		{append(all, "--s3-bucket", "b"), "want a trail"}, {append(all, "s3://b", "--s3-bucket", "b"), "either s3://"}, {append(all, "s3://b/p", "--s3-prefix", "q"), "given twice"},
		{append(all, "audit", "--trail", "other"), "--trail other is not"}, {append(all, "--set", "buckets.external=http://127.0.0.1:1"), "--endpoint-url http://127.0.0.1:1"},
		{[]string{"validate", "s3://b", "--master-key-file", saved}, "wants --data"}, {[]string{"validate", "--data", t.TempDir()}, "there is no trail in"},
		{[]string{"validate", "--data", t.TempDir(), "audit"}, "spoor serve makes its folder"},
		{append(all, "--master-key-file", filepath.Join(dir, "none")), "read the master key"}, {[]string{"validate", "--data", t.TempDir(), "s3://b"}, "there are no local buckets"},
	} {
		_, errs := run(t, ExitUsage, c.args...)
		says(t, errs, c.want)
	}
	if _, errs := run(t, ExitFailure, append(all, "s3://another-bucket")...); !strings.Contains(errs, "bucket does not exist") {
		t.Error(errs)
	}

	i.close()
	look("after it stopped")

	// Folders may lie elsewhere, as the configuration says.
	moved := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Rename(filepath.Join(dir, "buckets"), moved); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "spoor.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, "data: %s\nbuckets:\n  dir: %s\n", dir, moved), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ = run(t, ExitClean, "validate", "--config", file)
	says(t, out, "VALID: 7 digests and 14 log files")

	// What was changed is found.
	gone := filepath.Join(moved, "buckets", "audit-bucket", filepath.FromSlash(audit.Digests[1].Files[0].Object))
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	out, _ = run(t, ExitFindings, "validate", "--config", file)
	says(t, out, "log-missing", audit.Digests[1].Files[0].Object)
}

// TestValidateDataMaster validates sealed objects with a master key from each place, and without any.
func TestValidateDataMaster(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	i := openData(t, dir)
	i.trail("audit", "audit-bucket", "", 2, false)
	i.trail("sealed", "sealed-bucket", "", 2, true)
	path, moved := filepath.Join(dir, "keys", keyring.MasterFile), filepath.Join(t.TempDir(), "master.key")
	if err := os.Rename(path, moved); err != nil {
		t.Fatal(err)
	}
	out, _ := run(t, ExitClean, "validate", "--data", dir, "--master-key-file", moved)
	says(t, out, "VALID: 4 digests and 8 log files")
	out, _ = run(t, ExitIncomplete, "validate", "--data", dir)
	says(t, out, "digest-not-read", "the master key is not the one of the key ring", "SPOOR_KEYS_MASTER_KEY", "2/2 digests · 4/4 log files")
	out, _ = run(t, ExitClean, "validate", "--data", dir, "audit")
	says(t, out, "VALID: 2 digests and 4 log files")
	text, err := os.ReadFile(moved)
	if err != nil {
		t.Fatal(err)
	}
	master, err := seal.ParseMaster(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	out, _ = run(t, ExitClean, "validate", "--data", dir, "--set", "keys.master_key="+hex.EncodeToString(master))
	says(t, out, "VALID: 4 digests and 8 log files")
	out, _ = run(t, ExitIncomplete, "validate", "--data", dir, "sealed", "--set", "keys.master_key="+hex.EncodeToString(seal.Random()))
	says(t, out, "digest-not-read", "the master key is not the one")
	if err := os.Rename(moved, path); err != nil {
		t.Fatal(err)
	}
}

// TestValidateDataTrails tells of trails by what the book says of them.
func TestValidateDataTrails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	i := openData(t, dir)
	i.trail("audit", "audit-bucket", "", 2, false)
	i.trail("fresh", "fresh-bucket", "", 0, false) // its first digest is not due yet
	out, _ := run(t, ExitClean, "validate", "--data", dir)
	says(t, out, "VALID: 2 digests and 4 log files")
	w := trail.Where{Account: "111122223333", Region: "us-east-1"}
	if _, _, err := i.book.SetLogging(w, "audit", false); err != nil {
		t.Fatal(err)
	}
	out, _ = run(t, ExitClean, "validate", "--data", dir)
	says(t, out, "trail/audit has not been logging since ")
	if _, err := i.buckets.DeleteBucket(t.Context(), "fresh-bucket"); err != nil {
		t.Fatal(err)
	}
	out, _ = run(t, ExitIncomplete, "validate", "--data", dir, "--format", "json")
	v := decode[report.Validation](t, out)
	if len(v.Findings) != 2 || v.Findings[0].Code != validate.ListFailed || v.Findings[0].Bucket != "fresh-bucket" || v.Summary.Digests.Valid != 2 {
		t.Errorf("%+v", v)
	}
}
