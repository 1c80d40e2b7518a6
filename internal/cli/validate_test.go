package cli

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"encoding/xml"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"spoor/internal/report"
	"spoor/internal/trail/validate"
	"spoor/internal/trail/validate/validatetest"
)

// copied is a copy of a bucket in a folder, and files of keys and signatures beside it.
type copied struct {
	dir, logs, keys, signatures string
	made                        *validatetest.Made
}

func copyTrail(t *testing.T) copied {
	t.Helper()
	c := copied{dir: t.TempDir()}
	c.logs, c.keys, c.signatures = filepath.Join(c.dir, "logs"), filepath.Join(c.dir, "keys.json"), filepath.Join(c.dir, "signatures.jsonl")
	var lines strings.Builder
	enc := json.NewEncoder(&lines)
	put := validatetest.Folder(c.logs)
	made, err := validatetest.Make(validatetest.Options{Hours: 4, PerHour: 2, Records: 1}, func(bucket, key string, body []byte, metadata map[string]string) error {
		if metadata != nil {
			if err := enc.Encode(validate.SignatureOf(bucket, key, metadata)); err != nil {
				return err
			}
		}
		return put(bucket, key, body, metadata)
	})
	if err != nil {
		t.Fatal(err)
	}
	c.made = made
	c.write(t, c.signatures, lines.String())
	c.write(t, c.keys, string(validatetest.KeysJSON(made.Public)))
	return c
}

func (c copied) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestValidate(t *testing.T) {
	t.Parallel()
	c := copyTrail(t)
	all := []string{"validate", c.logs, "--public-keys", c.keys, "--signatures", c.signatures}
	out, _ := run(t, ExitClean, all...)
	for _, want := range []string{"VALID: 4 digests and 8 log files are as they were delivered", "folder . is taken for s3://trail-bucket/", "4/4 digests · 8/8 log files", "end-open"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "digest-valid") {
		t.Errorf("valid ones are shown:\n%s", out)
	}
	if out, _ := run(t, ExitClean, append(all, "--verbose")...); strings.Count(out, "log-valid") != 8 || strings.Count(out, "digest-valid") != 4 {
		t.Errorf("--verbose:\n%s", out)
	}
	out, _ = run(t, ExitIncomplete, "validate", c.logs, "--public-keys", c.keys)
	if !strings.Contains(out, "NOT PROVED") || !strings.Contains(out, "digest-unverifiable") {
		t.Errorf("without signatures:\n%s", out)
	}
	// A range: what is due in it and not there is missing.
	out, _ = run(t, ExitFindings, append(all, "--start-time", "2026-01-10T11:30:00Z", "--end-time", "2026-01-10T15:30:00Z")...)
	if !strings.Contains(out, "INVALID: 3 digests") || strings.Count(out, "gap-end") != 3 || !strings.Contains(out, "2 valid · 3 INVALID or missing") {
		t.Errorf("a range:\n%s", out)
	}
	if err := os.Remove(filepath.Join(c.logs, filepath.FromSlash(c.made.Digests[1].Files[0].Object))); err != nil {
		t.Fatal(err)
	}
	out, _ = run(t, ExitFindings, append(all, "--format", "json")...)
	v := decode[report.Validation](t, out)
	if v.Summary.Logs.Invalid != 1 || len(v.Findings) != 3 || v.Findings[1].Code != validate.LogMissing || v.Findings[1].Key != c.made.Digests[1].Files[0].Object {
		t.Errorf("%+v", v)
	}
	out, _ = run(t, ExitFindings, append(all, "--format", "junit")...)
	var suites struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Class   string `xml:"classname,attr"`
				Failure *struct {
					Type string `xml:"type,attr"`
				} `xml:"failure"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal([]byte(out), &suites); err != nil {
		t.Fatal(err)
	}
	if suites.Tests != 5 || suites.Failures != 2 || len(suites.Suites) != 1 || suites.Suites[0].Name != "111122223333 us-east-1 audit" || suites.Suites[0].Cases[3].Failure.Type != "log-missing" {
		t.Errorf("%+v", suites)
	}
	if out, _ = run(t, ExitFindings, append(all, "--format", "sarif")...); !strings.Contains(out, `"ruleId": "log-missing"`) {
		t.Errorf("SARIF:\n%s", out)
	}
}

func TestValidateUsage(t *testing.T) {
	t.Parallel()
	c := copyTrail(t)
	for _, args := range [][]string{
		{}, {c.logs, c.logs}, {filepath.Join(c.dir, "none")}, {c.keys}, {"arn:aws:cloudtrail:us-east-1:1:trail/x"}, {"s3://"}, {c.logs, "--format", "xml"},
		{c.logs, "--since", "1d", "--start-time", "2d"}, {c.logs, "--since", "x"}, {c.logs, "--since", "1d", "--until", "2d"}, {"s3://b/p", "--s3-prefix", "q"},
		{"s3://b", "--s3-bucket", "c"}, {c.logs, "--check-bundle", "x"}, {c.logs, "--public-keys", c.keys, "--bundle-by", "ana"},
		{"arn:aws:cloudtrail:us-east-1:111122223333:trail/audit", "--trail", "other", "--s3-bucket", "b", "--public-keys", c.keys},
	} {
		run(t, ExitUsage, append([]string{"validate"}, args...)...)
	}
	if out, _ := run(t, ExitIncomplete, "validate", t.TempDir()); !strings.Contains(strings.Join(strings.Fields(out), " "), "no digest was found in the folder, at PREFIX/AWSLogs/") {
		t.Errorf("a folder of something else:\n%s", out)
	}
	run(t, ExitFailure, "validate", c.logs, "--public-keys", filepath.Join(c.dir, "none"))
	run(t, ExitFailure, "validate", c.logs, "--public-keys", c.signatures)
	run(t, ExitFailure, "validate", c.logs, "--public-keys", c.keys, "--signatures", c.keys)
	run(t, ExitFailure, "validate", c.logs, "--public-keys", c.keys, "--ledger", c.signatures)
}

func TestValidateBundle(t *testing.T) {
	t.Parallel()
	c := copyTrail(t)
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, pub, zip := filepath.Join(c.dir, "key.pem"), filepath.Join(c.dir, "pub.pem"), filepath.Join(c.dir, "evidence.zip")
	c.write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	if der, err = x509.MarshalPKIXPublicKey(public); err != nil {
		t.Fatal(err)
	}
	c.write(t, pub, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
	saved := filepath.Join(c.dir, "saved.json")
	again := filepath.Join(c.dir, "saved.jsonl")
	out, _ := run(t, ExitClean, "validate", c.logs, "--public-keys", c.keys, "--signatures", c.signatures, "--bundle", zip, "--bundle-key", key, "--bundle-by", "ana", "--save-keys", saved, "--save-signatures", again)
	if !strings.Contains(out, "Evidence") {
		t.Errorf("%s", out)
	}
	// What was saved does as well.
	run(t, ExitClean, "validate", c.logs, "--public-keys", saved, "--signatures", again)
	out, _ = run(t, ExitClean, "validate", "--check-bundle", zip, "--bundle-public-key", pub)
	for _, want := range []string{"signed with the key that you gave", "4 with a right signature, 0 without", "ana validation started", "It says: everything is valid"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	run(t, ExitClean, "validate", "--check-bundle", zip, "--format", "json")
	// A fresh key is told, and checks.
	fresh := filepath.Join(c.dir, "fresh.zip")
	_, told := run(t, ExitIncomplete, "validate", c.logs, "--public-keys", c.keys, "--bundle", fresh)
	lines := strings.Split(strings.TrimSpace(told), "\n")
	c.write(t, pub, lines[len(lines)-1])
	run(t, ExitClean, "validate", "--check-bundle", fresh, "--bundle-public-key", pub)
	if out, _ := run(t, ExitFindings, "validate", "--check-bundle", zip, "--bundle-public-key", pub); !strings.Contains(out, "INVALID") {
		t.Errorf("%s", out)
	}
	run(t, ExitFailure, "validate", c.logs, "--public-keys", c.keys, "--bundle", zip, "--bundle-key", pub)
	run(t, ExitFailure, "validate", "--check-bundle", filepath.Join(c.dir, "none"))
	left, err := filepath.Glob(filepath.Join(c.dir, ".spoor-*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// A trail is asked for at the service: where it delivers, whether it logs, and its keys.
func TestValidateTrail(t *testing.T) {
	m := validatetest.NewMemory()
	made, err := validatetest.Make(validatetest.Options{Hours: 3, PerHour: 2, Records: 1, Prefix: "logs"}, m.Add)
	if err != nil {
		t.Fatal(err)
	}
	stopped := false
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, call, ours := strings.Cut(r.Header.Get("X-Amz-Target"), "CloudTrail_20131101.")
		if !ours {
			m.ServeS3(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-amz-json-1.1")
		switch call {
		case "DescribeTrails":
			_ = json.NewEncoder(w).Encode(map[string]any{"trailList": []any{map[string]any{"TrailARN": made.TrailARN(), "S3BucketName": "trail-bucket", "S3KeyPrefix": "logs"}}})
		case "GetTrailStatus":
			status := map[string]any{"IsLogging": !stopped}
			if stopped {
				status["StopLoggingTime"] = made.End.Unix()
			}
			_ = json.NewEncoder(w).Encode(status)
		case "ListPublicKeys":
			asked++
			_, _ = w.Write(validatetest.KeysJSON(made.Public))
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer server.Close()
	for name, value := range map[string]string{"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE00", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1", "AWS_CONFIG_FILE": filepath.Join(t.TempDir(), "none")} {
		t.Setenv(name, value)
	}
	// It logs, and nothing came since: the newest digests are missing.
	out, _ := run(t, ExitFindings, "validate", made.TrailARN(), "--endpoint-url", server.URL, "--end-time", "2026-01-10T13:30:00Z")
	if !strings.Contains(out, "gap-end") || !strings.Contains(out, "6/6 log files") || asked != 1 {
		t.Errorf("asked %d times\n%s", asked, out)
	}
	stopped = true
	if out, _ = run(t, ExitClean, "validate", made.TrailARN(), "--endpoint-url", server.URL); !strings.Contains(out, "the trail has not been logging since 2026-01-10T12:00:31Z") {
		t.Errorf("%s", out)
	}
	run(t, ExitClean, "validate", "s3://trail-bucket/logs", "--endpoint-url", server.URL, "--start-time", "2026-01-10T10:30:00Z", "--end-time", "2026-01-10T11:45:00Z")
	run(t, ExitFailure, "validate", strings.Replace(made.TrailARN(), "audit", "other", 1), "--endpoint-url", server.URL)
	run(t, ExitIncomplete, "validate", "s3://trail-bucket/none", "--endpoint-url", server.URL)
}
