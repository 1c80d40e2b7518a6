package story

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"spoor/internal/source/live/livetest"
)

// storeVariable makes this program an S3 gateway over the folder that it names, until its standard input ends: the gateway moves
// its process to another folder, which stories share.
const storeVariable = "SPOOR_STORY_STORE"

// storeSays stands before its address in the line that it prints.
const storeSays = "answers at "

func storeMain(dir string) int {
	g, err := livetest.StartGateway(dir)
	if err == nil {
		fmt.Println(storeSays + g.URL)
		_, err = io.Copy(io.Discard, os.Stdin)
		err = errors.Join(err, g.Stop())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "story:", err)
		return 1
	}
	return 0
}

// storeKey is the one that the gateway knows.
var storeKey = accessKey{ID: "tester", Secret: "testersecret"}

// store starts an S3 gateway of somebody else, and gives its address.
func (d *desk) store() string {
	d.t.Helper()
	self, err := os.Executable()
	if err != nil {
		d.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), storeVariable+"="+d.t.TempDir(), "AWS_ACCESS_KEY_ID="+storeKey.ID, "AWS_SECRET_ACCESS_KEY="+storeKey.Secret)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() {
		_ = in.Close() // then it ends
		_ = cmd.Wait() // how is of no matter
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() { // the gateway talks before it
		if url, ok := strings.CutPrefix(lines.Text(), storeSays); ok {
			return url
		}
	}
	d.t.Fatalf("the S3 gateway does not start: %v\n%s", lines.Err(), errs.String())
	return ""
}

// freeAddress is one that nobody answers on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// recorder is a running spoor record.
type recorder struct {
	d    *desk
	cmd  *exec.Cmd
	url  string
	errs *safeBuffer
	done chan struct{}
}

// record starts spoor record, and waits until it answers.
func (d *desk) record(args ...string) *recorder {
	d.t.Helper()
	address := freeAddress(d.t)
	r := &recorder{d: d, url: "http://" + address, errs: &safeBuffer{}, done: make(chan struct{})}
	r.cmd = d.command(append([]string{"record", "--listen", address}, args...)...)
	r.cmd.Stdout, r.cmd.Stderr = r.errs, r.errs
	if err := r.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait() // its end is looked at by end
	}()
	d.t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it has ended, or the test has failed
		<-r.done
		if text := r.errs.String(); strings.Contains(text, "panic") || strings.Contains(text, "DATA RACE") {
			d.t.Errorf("the recorder:\n%s", tail(text))
		}
	})
	for limit := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			_ = c.Close() // it was there
			return r
		}
		select {
		case <-r.done:
			d.t.Fatalf("the recorder ends:\n%s", tail(r.errs.String()))
		default:
		}
		if time.Now().After(limit) {
			d.t.Fatalf("the recorder does not answer:\n%s", tail(r.errs.String()))
		}
	}
}

// end interrupts it; it must end well.
func (r *recorder) end() {
	r.d.t.Helper()
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		r.d.t.Fatal(err)
	}
	select {
	case <-r.done:
	case <-time.After(patience):
		r.d.t.Fatalf("the recorder goes on\n%s", tail(r.errs.String()))
	}
	if code := r.cmd.ProcessState.ExitCode(); code != clean {
		r.d.t.Fatalf("the recorder ends with %d\n%s", code, tail(r.errs.String()))
	}
}

// recorded reads the records in the files of a folder.
func (d *desk) recorded(folder string) []map[string]any {
	d.t.Helper()
	var out []map[string]any
	err := filepath.WalkDir(d.path(folder), func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		for dec.More() {
			var rec map[string]any
			if err := dec.Decode(&rec); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
			out = append(out, rec)
		}
		return nil
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return out
}

// TestTrailRecord puts the recorder in front of somebody else's S3: the AWS CLI and the SDK work through it, bytes are the same,
// and there is one record of each request.
func TestTrailRecord(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	upstream := d.store()
	r := d.record("--upstream", "s3="+upstream, "--out", "records", "--account", awsAccount, "--region", "us-east-1")
	s := &service{d: d, aws: r.url, errs: r.errs}
	client := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &r.url, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(storeKey.ID, storeKey.Secret, ""), RetryMaxAttempts: 1})
	bucket := aws.String("recorded")
	if _, err := client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatal(err)
	}
	want := map[string]int{"CreateBucket": 1}

	// Many clients at once, with bodies of every size.
	const clients, each = 8, 40
	var wait sync.WaitGroup
	for c := range clients {
		wait.Go(func() {
			for i := range each {
				body := bytes.Repeat([]byte{byte(c), byte(i), 7}, 1+i*i*40)
				key := aws.String(fmt.Sprintf("c%d/ä %d+.bin", c, i))
				if _, err := client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: key, Body: bytes.NewReader(body)}); err != nil {
					t.Errorf("put %s: %v", *key, err)
					continue
				}
				out, err := client.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: bucket, Key: key})
				if err != nil {
					t.Errorf("get %s: %v", *key, err)
					continue
				}
				back, err := io.ReadAll(out.Body)
				if err = errors.Join(err, out.Body.Close()); err != nil || sha256.Sum256(back) != sha256.Sum256(body) {
					t.Errorf("get %s: %d bytes, %d were put: %v", *key, len(back), len(body), err)
				}
				if _, err := client.GetObject(t.Context(), &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("no such key")}); errorCode(err) != "NoSuchKey" {
					t.Errorf("no such key: %v", err)
				}
			}
		})
	}
	wait.Wait()
	want["PutObject"], want["GetObject"] = clients*each, 2*clients*each
	bad := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &r.url, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider("AKIANOBODYKNOWSTHIS0", "x", ""), RetryMaxAttempts: 1})
	_, err := bad.ListBuckets(t.Context(), &awss3.ListBucketsInput{})
	refusal := errorCode(err) // the gateway has one of its own
	if refusal == "" {
		t.Error("a key that nobody knows lists buckets")
	}
	want["ListBuckets"] = 1

	// The AWS CLI, with a multipart upload.
	cli := true
	if _, err := os.Stat(filepath.Join(checkout, "out", "awscli", "bin", "aws")); err != nil {
		if _, err := exec.LookPath("aws"); err != nil {
			cli = false
		}
	}
	if cli {
		large := make([]byte, 20<<20)
		for i := range large {
			large[i] = byte(i * i >> 9)
		}
		d.write("large.bin", large)
		s.cli(storeKey, "s3", "cp", "large.bin", "s3://recorded/large.bin", "--region", "us-east-1").exits(clean)
		s.cli(storeKey, "s3api", "get-object", "--bucket", "recorded", "--key", "large.bin", "back.bin", "--region", "us-east-1").exits(clean)
		if sha256.Sum256(d.read("back.bin")) != sha256.Sum256(large) {
			t.Error("20 MB came back otherwise")
		}
		want["CreateMultipartUpload"], want["UploadPart"], want["CompleteMultipartUpload"] = 1, 3, 1
		want["GetObject"]++
	}
	r.end()

	records := d.recorded("records")
	got, ids := map[string]int{}, map[string]bool{}
	for _, rec := range records {
		name := fmt.Sprint(rec["eventName"])
		got[name]++
		ids[fmt.Sprint(rec["eventID"])] = true
		if rec["eventSource"] != "s3.amazonaws.com" || rec["recipientAccountId"] != awsAccount || rec["awsRegion"] != "us-east-1" {
			t.Errorf("%v", rec)
		}
		if name != "ListBuckets" {
			has(t, rec, map[string]any{"userIdentity.accessKeyId": storeKey.ID, "requestParameters.bucketName": "recorded"})
		}
		switch {
		case name == "ListBuckets":
			has(t, rec, map[string]any{"errorCode": refusal, "userIdentity.accessKeyId": "AKIANOBODYKNOWSTHIS0", "managementEvent": true})
		case name == "GetObject" && at(rec, "requestParameters.key") == "no such key":
			has(t, rec, map[string]any{"errorCode": "NoSuchKey", "managementEvent": false, "eventCategory": "Data"})
		case name == "PutObject", name == "GetObject", name == "UploadPart":
			if rec["errorCode"] != nil || !concerns(rec, "AWS::S3::Object", "arn:aws:s3:::recorded/") || !concerns(rec, "AWS::S3::Bucket", "arn:aws:s3:::recorded") {
				t.Errorf("%v", rec)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) || len(ids) != len(records) {
		t.Errorf("there are records of %v, want %v; %d ids of %d", got, want, len(ids), len(records))
	}
	var moved float64
	for _, rec := range records {
		if rec["eventName"] == "PutObject" {
			n, _ := at(rec, "additionalEventData.bytesTransferredIn").(float64)
			moved += n
		}
	}
	sum := 0
	for i := range each {
		sum += clients * 3 * (1 + i*i*40)
	}
	if moved < float64(sum) { // some SDKs send checksums behind the body
		t.Errorf("%.0f bytes went in by the records, %d were put", moved, sum)
	}
	if text := fmt.Sprint(records); strings.Contains(text, storeKey.Secret) || strings.Contains(text, "Signature=") {
		t.Error("the records have secrets")
	}
	d.spoor("search", "errorCode=NoSuchKey", "records", "--limit", "3").exits(clean)
	if o := d.spoor("hunt", "records", "--format", "json"); o.code != clean && o.code != findings {
		t.Errorf("hunt ends with %d: %s", o.code, o.err)
	}
}

// TestTrailRecordServer records into a running service; with --authenticate callers have keys of Spoor, and the requests are
// signed anew.
func TestTrailRecordServer(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	upstream := d.store()
	s := d.serveAWS()
	d.user("ana", "admin")
	ana := d.accessKey("ana")
	d.env = append(d.env, "AWS_ACCESS_KEY_ID="+storeKey.ID, "AWS_SECRET_ACCESS_KEY="+storeKey.Secret)
	r := d.record("--upstream", "s3="+upstream, "--set", "account="+awsAccount, "--set", "region=us-east-1", "--authenticate")
	client := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &r.url, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(ana.ID, ana.Secret, ""), RetryMaxAttempts: 1})
	bucket, body := aws.String("through"), []byte("through the recorder")
	if _, err := client.CreateBucket(t.Context(), &awss3.CreateBucketInput{Bucket: bucket}); err != nil {
		t.Fatalf("%v\n%s", err, tail(r.errs.String()))
	}
	if _, err := client.PutObject(t.Context(), &awss3.PutObjectInput{Bucket: bucket, Key: aws.String("k"), Body: bytes.NewReader(body)}); err != nil {
		t.Fatal(err)
	}
	presigned, err := awss3.NewPresignClient(client).PresignGetObject(t.Context(), &awss3.GetObjectInput{Bucket: bucket, Key: aws.String("k")})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(presigned.URL)
	if err != nil {
		t.Fatal(err)
	}
	back, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil || !bytes.Equal(back, body) {
		t.Errorf("the presigned address gives %d %q %v", resp.StatusCode, back, err)
	}
	stranger := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &r.url, UsePathStyle: true, Credentials: credentials.NewStaticCredentialsProvider(storeKey.ID, storeKey.Secret, ""), RetryMaxAttempts: 1})
	if _, err := stranger.ListBuckets(t.Context(), &awss3.ListBucketsInput{}); errorCode(err) != "InvalidAccessKeyId" {
		t.Errorf("the key of the gateway itself: %v", err)
	}
	r.end()
	var found []map[string]any
	s.eventually("what was recorded is in answers", func() bool {
		found = found[:0]
		for _, rec := range s.accepted() {
			if rec["eventSource"] == "s3.amazonaws.com" {
				found = append(found, rec)
			}
		}
		return len(found) >= 4
	})
	slices.SortFunc(found, func(a, b map[string]any) int {
		return strings.Compare(fmt.Sprint(a["eventName"]), fmt.Sprint(b["eventName"]))
	})
	var names []string
	for _, rec := range found {
		names = append(names, fmt.Sprint(rec["eventName"]))
		if rec["eventName"] != "ListBuckets" {
			has(t, rec, map[string]any{"userIdentity.arn": "arn:aws:iam::" + awsAccount + ":user/ana", "userIdentity.type": "IAMUser", "userIdentity.accessKeyId": ana.ID, "errorCode": nil})
		}
	}
	if !slices.Equal(names, []string{"CreateBucket", "GetObject", "ListBuckets", "PutObject"}) {
		t.Errorf("there are records of %q", names)
	}
	s.end(syscall.SIGTERM, clean)
}
