package story

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// certificate writes a certificate for this machine, and its key, into the story's folder.
func (d *desk) certificate() (cert, key string) {
	d.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		d.t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &private.PublicKey, private)
	if err != nil {
		d.t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		d.t.Fatal(err)
	}
	d.write("cert.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	d.write("key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}))
	return d.path("cert.pem"), d.path("key.pem")
}

// planned is what spoor trail create --json says.
type planned struct {
	Bucket   string
	Verified bool
	Steps    []struct{ Step, Status, Reason string }
}

// of are the steps of a status.
func (p planned) of(status string) (out []string) {
	for _, s := range p.Steps {
		if s.Status == status {
			out = append(out, s.Step+" "+s.Reason)
		}
	}
	return out
}

// TestTrailBestPractice makes a trail with one command, over TLS; a second time nothing is left to do. The script that a dry run
// prints does the same with the AWS CLI.
func TestTrailBestPractice(t *testing.T) {
	t.Parallel()
	cli := awsCLI(t)
	d := newDesk(t)
	account := []string{"--set", "account=" + awsAccount, "--set", "region=" + awsRegion}
	d.spoor(append([]string{"iam", "user", "create", "ana", "--role", "admin"}, account...)...).exits(clean)
	var ana accessKey
	d.spoor(append([]string{"iam", "key", "create", "ana", "--json"}, account...)...).exits(clean).into(&ana)
	cert, key := d.certificate()
	s := d.serve("", append(account, "--tls-cert", cert, "--tls-key", key, "--set", "trails.interval=1s", "--set", "trails.digest_interval=3s")...)
	if !strings.HasPrefix(s.aws, "https://") {
		t.Fatalf("AWS's clients find it on %q", s.aws)
	}
	d.env = append(d.env, "AWS_CA_BUNDLE="+cert, "AWS_ACCESS_KEY_ID="+ana.ID, "AWS_SECRET_ACCESS_KEY="+ana.Secret, "AWS_DEFAULT_REGION="+awsRegion, "AWS_REGION="+awsRegion, "AWS_ENDPOINT_URL="+s.aws)
	create := func(code int, args ...string) planned {
		t.Helper()
		var p planned
		d.spoor(append([]string{"trail", "create", "--best-practice", "--json"}, args...)...).exits(code).into(&p)
		return p
	}
	if p := create(findings, "audit", "--data-events", "s3", "--dry-run"); len(p.of("would change")) < 10 {
		t.Errorf("a dry run says %+v", p)
	}
	first := create(clean, "audit", "--data-events", "s3")
	if !first.Verified || len(first.of("changed")) < 10 || len(first.of("failed")) > 0 {
		t.Errorf("the first run says %+v", first)
	}
	for _, step := range first.of("skipped") {
		if !strings.Contains(step, "log group") && !strings.Contains(step, "access log") {
			t.Errorf("skipped: %s", step)
		}
	}
	second := create(clean, "audit", "--data-events", "s3")
	if !second.Verified || len(second.of("changed")) > 0 {
		t.Errorf("the second run says %+v", second)
	}

	// The bucket is only for who speaks TLS, and holds its files.
	d.write("x.txt", []byte("x"))
	if o := s.cli(ana, "s3api", "get-bucket-policy", "--bucket", first.Bucket); o.code != clean || !strings.Contains(o.out, "aws:SecureTransport") {
		t.Errorf("%d %s %s", o.code, o.out, o.err)
	}
	s.cli(ana, "s3api", "create-bucket", "--bucket", "some-data", "--create-bucket-configuration", "LocationConstraint="+awsRegion).exits(clean)
	s.cli(ana, "s3", "cp", "x.txt", "s3://some-data/x.txt").exits(clean)
	d.eventually("there are files and two digests", func() bool {
		o := s.cli(ana, "s3api", "list-objects-v2", "--bucket", first.Bucket, "--query", "Contents[].Key").exits(clean)
		return strings.Contains(o.out, "/CloudTrail/") && strings.Count(o.out, "/CloudTrail-Digest/"+awsRegion+"/") >= 2
	})
	d.spoor("trail", "status", "audit").exits(clean).says("logs            yes", "encryption key  arn:aws:kms:")
	d.spoor("trail", "list").exits(clean).says("audit", "KMS")
	d.spoor("validate", "arn:aws:cloudtrail:"+awsRegion+":"+awsAccount+":trail/audit", "--quiet").exits(clean)

	// A script does the same with the AWS CLI: the command finds nothing left to do.
	script := d.spoor("trail", "create", "--best-practice", "second", "--dry-run").exits(findings).out
	sh := exec.CommandContext(t.Context(), "sh", "-eu")
	sh.Dir = d.dir
	sh.Env = append(d.awsEnv(s, ana), "PATH="+filepath.Dir(cli)+":/usr/bin:/bin")
	// What this endpoint does not have is in the script too: log groups and access logs are left out as the command leaves them out.
	var kept []string
	skip := false
	for line := range strings.Lines(script) {
		if strings.HasPrefix(line, "#") {
			skip = strings.Contains(line, "access log") || strings.Contains(line, "log group")
		}
		if !skip {
			kept = append(kept, line)
		}
	}
	sh.Stdin = strings.NewReader(strings.Join(kept, ""))
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("the script ends with %v\n%s\n%s", err, out, script)
	}
	third := create(clean, "second")
	for _, step := range third.of("changed") {
		if !strings.Contains(step, "access log") && !strings.Contains(step, "log group") {
			t.Errorf("after the script, changed: %s", step)
		}
	}
	d.spoor("trail", "stop", "second").exits(clean)
	d.spoor("trail", "status", "second").exits(findings).says("logs            no")
	d.spoor("trail", "delete", "second").exits(clean)
	d.spoor("trail", "status", "second").exits(usage).complains("TrailNotFoundException")
	s.end(syscall.SIGTERM, clean)
}

// eventually looks until it is true.
func (d *desk) eventually(what string, is func() bool) {
	d.t.Helper()
	(&service{d: d, errs: &safeBuffer{}}).eventually(what, is)
}

// TestTrailKilled kills the service again and again while events come and files go. Afterwards validation is clean, and files
// have what was accepted and selected, once.
func TestTrailKilled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	short := []string{"--set", "trails.interval=1s", "--set", "trails.digest_interval=2s", "--set", "store.flush_rows=1000"}
	s := d.serveAWS(short...)
	d.user("ana", "admin")
	ana := d.accessKey("ana")
	p := func(o outcome) { t.Helper(); o.exits(clean) }
	p(s.cli(ana, "s3api", "create-bucket", "--bucket", trailBucket, "--create-bucket-configuration", "LocationConstraint="+awsRegion))
	p(s.cli(ana, "s3api", "put-bucket-policy", "--bucket", trailBucket, "--policy", bucketPolicy(trailBucket, "")))
	p(s.cli(ana, "cloudtrail", "create-trail", "--name", "audit", "--s3-bucket-name", trailBucket, "--enable-log-file-validation", "--is-multi-region-trail"))
	p(s.cli(ana, "cloudtrail", "start-logging", "--name", "audit"))
	time.Sleep(1100 * time.Millisecond) // another second than that of the call
	var mu sync.Mutex
	next := 1
	push := func(ctx context.Context) bool {
		mu.Lock()
		from := next
		next += 40
		mu.Unlock()
		var b bytes.Buffer
		for n := from; n < from+40; n++ {
			switch n % 4 {
			case 0: // not selected
				b.WriteString(dataRecord(n, awsAccount, awsRegion, "s3.amazonaws.com", "GetObject", "AWS::S3::Object", "arn:aws:s3:::b/k"))
			case 1:
				b.WriteString(dataRecord(n, awsAccount, "us-east-1", "iam.amazonaws.com", "CreateUser", "", ""))
			default:
				b.WriteString(dataRecord(n, awsAccount, awsRegion, "ec2.amazonaws.com", fmt.Sprintf("Run%d", n%7), "", ""))
			}
			b.WriteByte('\n')
		}
		status, _, err := s.call(ctx, "POST", "/api/v1/events", b.String())
		return err == nil && status == http.StatusOK
	}
	for round := range 4 {
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for range 3 {
			clients.Go(func() {
				for ctx.Err() == nil && push(ctx) {
					time.Sleep(40 * time.Millisecond)
				}
			})
		}
		time.Sleep(time.Duration(900+round*730) * time.Millisecond) // somewhere in a delivery
		s.end(syscall.SIGKILL, -1)
		stop()
		clients.Wait()
		s = s.again(short...)
		d.env = append(d.env, "SPOOR_SERVER="+s.url)
	}
	s.eventually("it takes events again", func() bool { return push(t.Context()) })
	time.Sleep(1100 * time.Millisecond)
	p(s.cli(ana, "cloudtrail", "stop-logging", "--name", "audit"))
	before := -1
	s.eventually("the chain has ended", func() bool { // nothing comes for longer than a digest's time
		n := len(s.keys(ana, trailBucket, ""))
		if n == before {
			return true
		}
		before = n
		time.Sleep(4500 * time.Millisecond)
		return false
	})
	records, times, files := s.delivered(ana, trailBucket)
	var accepted map[string]map[string]any
	s.eventually("the end is in answers", func() bool {
		accepted = s.accepted()
		for _, rec := range accepted {
			if rec["eventName"] == "StopLogging" {
				return true
			}
		}
		return false
	})
	exactly(t, accepted, records, times, moment(t, accepted, "StartLogging"), moment(t, accepted, "StopLogging"), func(rec map[string]any) bool {
		return rec["eventCategory"] == "Management" && rec["recipientAccountId"] == awsAccount
	})
	if invalid, codes := s.spoorValidates(ana); len(invalid) > 0 || codes["log-valid"] != len(files) || len(files) < 5 || codes["log-unlisted"] > 0 {
		t.Errorf("spoor says %v, %v of %d files", invalid, codes, len(files))
	}
	s.end(syscall.SIGTERM, clean)
}
