package story

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
)

// The credentials of the bucket's server.
const (
	keyID  = "AKIASTORYEXAMPLE"
	secret = "storysecret"
)

// serve starts an S3 endpoint over the folder root. There can be one per process, which it moves to that folder.
func serve(t *testing.T, root string) string {
	t.Helper()
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0") // a free port
	if err != nil {
		t.Fatal(err)
	}
	addr := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	be, err := posix.New(root, meta.XattrMeta{}, posix.PosixOpts{DefaultEtag: "none", CopyObjectThreshold: 5 << 30})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- embedgw.RunVersityGW(ctx, be, &embedgw.Config{
			RootUserAccess: keyID, RootUserSecret: secret, Ports: []string{addr}, Quiet: true,
			MaxConnections: 1000, MaxRequests: 1000, MultipartMaxParts: 10000, HealthPath: "/health",
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, os.Chdir(before)); err != nil {
			t.Error(err)
		}
	})
	url := "http://" + addr
	for {
		res, err := http.Get(url + "/health")
		if err == nil {
			if err := res.Body.Close(); err != nil {
				t.Fatal(err)
			}
			return url
		}
		select {
		case err := <-done:
			done <- err
			t.Fatalf("the server ended: %v", err)
		default:
		}
	}
}

// answer is what must be the same of a bucket and of a folder with the same logs.
func (r *result) answer() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s, %+v, %+v\n", r.First, r.Last, r.Ledger.Objects, r.Ledger.Records)
	for _, c := range r.Ledger.Cells {
		fmt.Fprintf(&b, "%s %s %s %+v %+v\n", c.Account, c.Region, c.Hour, c.Objects, c.Records)
	}
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s %s %d %s %s", f.ID, f.Rule.ID, f.Count, f.First, f.Last)
		for _, e := range f.Events {
			fmt.Fprintf(&b, " %s %d", e.ID, e.Offset)
		}
		fmt.Fprintln(&b)
	}
	return b.String()
}

// TestBucket reads an organisation's logs out of a bucket. The answers are those of the same logs in a folder.
func TestBucket(t *testing.T) { // not in parallel with others: the server moves the process to its folder
	d := newDesk(t)
	d.spoor("sample", "--out", "logs", "--events", "1500", "--accounts", "4", "--seed", "11").exits(clean)
	root := filepath.Join(t.TempDir(), "buckets")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	url := serve(t, root)
	client := awss3.New(awss3.Options{BaseEndpoint: &url, Region: "us-east-1", UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(keyID, secret, "")})
	if _, err := client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: aws.String("trail")}); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(root, "trail", "org"), os.DirFS(d.path("logs"))); err != nil { // its objects are files
		t.Fatal(err)
	}
	d.env = []string{"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=" + secret, "AWS_REGION=us-east-1"}
	bucket := func(args ...string) []string {
		return append([]string{"hunt", "s3://trail/org/", "--endpoint-url", url, "--format", "json"}, args...)
	}
	folder := func(args ...string) []string { return append([]string{"hunt", "logs", "--format", "json"}, args...) }

	all := d.spoor(bucket()...).exits(clean).quiet().result()
	if n := len(all.Findings); n < 20 || all.Ledger.Records.Kept != 1500 {
		t.Fatalf("%d findings in %+v", n, all.Ledger.Records)
	}
	if f := all.Findings[0]; !strings.HasPrefix(f.Events[0].File, "s3://trail/org/AWSLogs/o-") {
		t.Errorf("the evidence lies in %s", f.Events[0].File)
	}
	for _, filters := range [][]string{
		nil,
		{"--region", "eu-west-1"},
		{"--account", "444455556666,123456789012"},
		{"--since", "2026-03-06", "--until", "2026-03-07"},
		{"--since", "2026-03-06T01:20:00Z", "--until", "2026-03-06T03:00:00Z", "--account", "444455556666", "--account", "111122223333", "--region", "us-east-1"},
	} {
		t.Run(strings.Join(filters, " "), func(t *testing.T) {
			e := *d
			e.t = t
			remote, local := e.spoor(bucket(filters...)...).exits(clean).quiet().result(), e.spoor(folder(filters...)...).exits(clean).quiet().result()
			if a, b := remote.answer(), local.answer(); a != b {
				t.Errorf("the bucket's answer\n%s\nis not the folder's\n%s", tail(a), tail(b))
			}
			l := remote.Ledger
			if l.Records.Kept == 0 || filters != nil && (l.Records.Kept >= all.Ledger.Records.Kept || l.Objects.Read >= all.Ledger.Objects.Read/2) {
				t.Errorf("%+v %+v: nothing was left unread", l.Objects, l.Records)
			}
			// The same events as of everything, filtered afterwards.
			if len(filters) == 0 {
				return
			}
			whole := e.spoor("search", "eventName=*", "logs", "--count").exits(clean).out
			some := e.spoor(append([]string{"search", "eventName=*", "logs", "--count"}, filters...)...).exits(clean).out
			if some != fmt.Sprintln(l.Records.Kept) || whole != fmt.Sprintln(all.Ledger.Records.Kept) {
				t.Errorf("%d events kept; search finds %s of %s", l.Records.Kept, some, whole)
			}
			var n int64
			for _, c := range all.Ledger.Cells {
				if wanted(filters, c.Account, c.Region, c.Hour.Format("2006-01-02")) {
					n += c.Records.Kept
				}
			}
			if !slices.Contains(filters, "2026-03-06T01:20:00Z") && n != l.Records.Kept { // whose bounds are no whole days
				t.Errorf("%d events kept, %d of everything are wanted", l.Records.Kept, n)
			}
		})
	}

	// Other commands read buckets too.
	if got := d.spoor("search", "eventName=StopLogging", "s3://trail/org", "--endpoint-url", url, "--count").exits(clean).quiet(); got.out != "2\n" {
		t.Errorf("search in the bucket finds %q", got.out)
	}
	d.spoor("tail", "s3://trail/org/", "--endpoint-url", url, "-n", "3").exits(clean).quiet()

	// What goes wrong is told.
	d.spoor("hunt", "s3://nosuchbucket/", "--endpoint-url", url).exits(4).complains("nosuchbucket")
	d.spoor("hunt", "s3://trail/nosuchfolder/", "--endpoint-url", url).exits(4).complains("s3://trail/nosuchfolder/: file does not exist")
	d.env = []string{"AWS_ACCESS_KEY_ID=" + keyID, "AWS_SECRET_ACCESS_KEY=notthesecret", "AWS_REGION=us-east-1"}
	wrong := d.spoor(bucket()...).exits(4)
	if strings.Contains(wrong.err, "notthesecret") || !strings.Contains(wrong.err, "trail") {
		t.Errorf("wrong credentials: %s", wrong.err)
	}
}

// wanted applies whole-day filters to a cell.
func wanted(filters []string, account, region, day string) bool {
	for i := 0; i < len(filters); i += 2 {
		v := filters[i+1]
		switch filters[i] {
		case "--region":
			if region != v {
				return false
			}
		case "--account":
			if !slices.Contains(strings.Split(v, ","), account) {
				return false
			}
		case "--since":
			if day < v {
				return false
			}
		case "--until":
			if day >= v {
				return false
			}
		}
	}
	return true
}
