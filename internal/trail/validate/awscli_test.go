package validate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/trail/digest"
	"spoor/internal/trail/validate"
	"spoor/internal/trail/validate/validatetest"
)

// awsCLI is the AWS CLI that make awscli installs.
func awsCLI(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../../out/awscli/bin/aws")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if os.Getenv("CI") != "" {
			t.Fatal("the AWS CLI is not installed: run make awscli")
		}
		t.Skip("the AWS CLI is not there; make awscli installs it")
	}
	return path
}

// ServeHTTP answers what aws cloudtrail validate-logs asks of CloudTrail and of S3.
func (r *rig) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if target := q.Header.Get("X-Amz-Target"); target != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		_, call, _ := strings.Cut(target, "CloudTrail_20131101.")
		switch call {
		case "DescribeTrails":
			_ = json.NewEncoder(w).Encode(map[string]any{"trailList": []any{map[string]any{
				"Name": r.made.Options.Trail, "TrailARN": r.made.TrailARN(), "S3BucketName": "trail-bucket", "HomeRegion": "us-east-1", "IsOrganizationTrail": false,
			}}})
		case "ListPublicKeys":
			keys, _ := r.keys.Keys(q.Context(), "us-east-1", time.Time{}, r.made.End.AddDate(1, 0, 0))
			_, _ = w.Write(validatetest.KeysJSON(keys...))
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
		return
	}
	r.ServeS3(w, q)
}

// ask runs aws cloudtrail validate-logs, and gives what it finds invalid, with short keys, and its last lines.
func (r *rig) ask(t *testing.T, cli string) (invalid []string, tail string) {
	t.Helper()
	server := httptest.NewServer(r)
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, cli, "cloudtrail", "validate-logs", "--region", "us-east-1", "--trail-arn", r.made.TrailARN(),
		"--start-time", r.o.Start.Format(time.RFC3339), "--end-time", r.o.End.Format(time.RFC3339))
	home := t.TempDir()
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "AWS_CONFIG_FILE=" + filepath.Join(home, "none"), "AWS_ENDPOINT_URL=" + server.URL,
		"AWS_ACCESS_KEY_ID=AKIAEXAMPLEEXAMPLE00", "AWS_SECRET_ACCESS_KEY=secret", "AWS_MAX_ATTEMPTS=1", "NO_PROXY=*",
	}
	out, err := cmd.CombinedOutput()
	code := cmd.ProcessState.ExitCode()
	for line := range strings.Lines(string(out)) {
		parts := strings.Split(strings.TrimSpace(line), "\t")
		if len(parts) == 3 && strings.HasPrefix(parts[2], "INVALID: ") {
			invalid = append(invalid, strings.TrimPrefix(parts[2], "INVALID: ")+" "+r.short(strings.TrimPrefix(parts[1], "s3://trail-bucket/")))
		}
	}
	slices.Sort(invalid)
	if want := min(len(invalid), 1); code != want {
		t.Fatalf("the AWS CLI ended with %d (%v):\n%s", code, err, out)
	}
	return invalid, string(out)
}

// The AWS CLI and Spoor have the same verdicts, where the AWS CLI has any.
func TestAWSCLI(t *testing.T) {
	t.Parallel()
	cli := awsCLI(t)
	const b = "trail-bucket"
	for name, c := range map[string]struct {
		change func(t *testing.T, r *rig)
		aws    []string
		ours   []string
		late   []int
	}{
		"clean":          {},
		"clean, outages": {late: []int{1, 2, 4}},
		"backfill digests changed, and removed": {late: []int{1, 2, 4}, change: func(t *testing.T, r *rig) {
			r.digest(t, 4, replace("awsAccountId", "awsAccountid"))
			r.Delete(b, r.made.Digests[2].Key)
		}, aws: []string{"signature verification failed d4"}, ours: []string{"digest-missing d2", "digest-modified d4"}},
		"all backfill digests removed": {late: []int{1, 2, 4}, change: func(t *testing.T, r *rig) {
			for _, i := range []int{1, 2, 4} {
				r.Delete(b, r.made.Digests[i].Key)
			}
		}, ours: []string{"digest-missing d1", "digest-missing d2", "digest-missing d4"}},
		"compressed anew, and another trail": {change: func(t *testing.T, r *rig) {
			for _, k := range r.Keys(b) {
				body, meta, _ := r.Object(b, k)
				must(t, r.Add(b, k, validatetest.Gzip(gunzip(t, body), 1), meta))
			}
			_, err := validatetest.Make(validatetest.Options{Trail: "audit2", Hours: 6, PerHour: 2, Records: 1, Seed: 7, Key: testKey(t)}, r.Add)
			must(t, err)
			r.o.Trail = "audit"
		}},
		"log files, and a digest removed": {change: func(t *testing.T, r *rig) {
			d := r.made.Digests[4]
			body, _, _ := r.Object(b, d.Files[0].Object)
			must(t, r.Add(b, d.Files[0].Object, validatetest.Gzip([]byte("{}"), 6), nil))
			r.Delete(b, d.Files[1].Object)
			must(t, r.Add(b, r.made.Digests[3].Files[0].Object, []byte("no gzip"), nil))
			must(t, r.Add(b, r.made.Digests[3].Files[1].Object, append(slices.Clone(body), 1), nil))
			r.Delete(b, r.made.Digests[1].Key)
		}, aws: []string{"hash value doesn't match l4.0", "invalid format l3.0", "not found d1", "not found l4.1", "unexpected data after end of compressed stream l3.1"},
			ours: []string{"digest-missing d1", "log-missing l4.1", "log-modified l4.0", "log-unreadable l3.0", "log-unreadable l3.1"}},
		"digests changed, signed by another, and unsigned": {change: func(t *testing.T, r *rig) {
			r.digest(t, 5, replace("awsAccountId", "awsAccountid"))
			r.resign(t, 3, anotherKey(t), func(*digest.Spec) {})
			r.meta(t, 2, nil)
			r.digest(t, 1, func(string) string { return "{" })
			must(t, r.Add(b, r.made.Digests[0].Key, validatetest.Gzip(r.made.Digests[4].Text, 6), r.made.Digests[4].Metadata))
		}, aws: []string{"has been moved from its original location d0", "invalid format d1", "public key not found in region us-east-1 for fingerprint K d3",
			"signature verification failed d2", "signature verification failed d5"},
			ours: []string{"digest-forged d3", "digest-format d1", "digest-modified d5", "digest-moved d0", "digest-unsigned d2"}},
		"two digests removed in a row": {change: func(t *testing.T, r *rig) { r.Delete(b, r.made.Digests[2].Key); r.Delete(b, r.made.Digests[3].Key) },
			aws: []string{"not found d3"}, ours: []string{"digest-missing d2", "digest-missing d3"}},
		"what the AWS CLI does not look at": {change: func(t *testing.T, r *rig) {
			r.Delete(b, r.made.Digests[5].Key)
			r.resign(t, 4, testKey(t), func(s *digest.Spec) { l := *s.Previous; l.Hash = strings.Repeat("0", 64); s.Previous = &l })
			must(t, r.Add(b, r.made.Options.LogKey(r.made.Digests[2].Start.Add(20*time.Minute), "planted000000000"), []byte("x"), nil))
		}, ours: []string{"chain-hash d4", "gap-end d5", "log-unlisted 111122223333_CloudTrail_us-east-1_20260110T1120Z_planted000000000.json.gz"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, validatetest.Options{Hours: 6, PerHour: 2, Late: c.late})
			r.o.Expect = r.made.End.Add(time.Hour)
			if c.change != nil {
				c.change(t, r)
			}
			aws, out := r.ask(t, cli)
			for i := range aws {
				aws[i] = strings.ReplaceAll(aws[i], digestFingerprint(anotherKey(t)), "K")
			}
			if !slices.Equal(aws, c.aws) {
				t.Errorf("the AWS CLI says %q, want %q\n%s", aws, c.aws, out)
			}
			_, s, all := r.run(t)
			var ours []string
			for _, f := range all {
				if f.Level == validate.Invalid && (f.Code != validate.LogUnlisted || strings.Contains(f.Key, "planted")) { // not those of digests that are gone
					ours = append(ours, string(f.Code)+" "+r.short(f.Key))
				}
			}
			slices.Sort(ours)
			if !slices.Equal(ours, c.ours) {
				t.Errorf("Spoor says %q, want %q", ours, c.ours)
			}
			// Both looked at the same log files. The digest without a signature is vouched for by the next one; the AWS CLI leaves it out.
			if want := fmt.Sprintf("%d/%d log files valid", s.Logs.Valid, s.Logs.Total()); strings.HasPrefix(name, "clean") && !strings.Contains(out, want) {
				t.Errorf("%s, the AWS CLI says\n%s", want, out)
			}
			if want := fmt.Sprintf("%d/%d backfill digest files valid", len(c.late), len(c.late)); name == "clean, outages" && !strings.Contains(out, want) {
				t.Errorf("%s, the AWS CLI says\n%s", want, out)
			}
		})
	}
}
