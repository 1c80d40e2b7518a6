package story

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awssqs "github.com/aws/aws-sdk-go-v2/service/sqs"

	"spoor/internal/source/live/livetest"
	"spoor/internal/source/s3"
)

// ask sets what a command needs to ask the service.
func (s *service) ask() { s.d.env = []string{"SPOOR_SERVER=" + s.url, "SPOOR_TOKEN=" + s.token} }

// TestService is what a person does who has logs and an empty folder: the service takes the real logs in from several
// clients, is killed in the middle, and answers by search, SQL, live tail and ledger as a store of the same files does.
func TestService(t *testing.T) {
	t.Parallel()
	logs := realLogs(t)
	d := newDesk(t)
	var bodies [][]byte
	for _, folder := range []string{"s3-layout", "stratus-red-team", "traildiscover", "aws-docs", "console-sessions", "cloud-custodian"} {
		if err := filepath.WalkDir(filepath.Join(logs, folder), func(path string, e fs.DirEntry, err error) error {
			if err != nil || e.IsDir() {
				return err
			}
			if !strings.HasSuffix(path, ".json") && !strings.HasSuffix(path, ".jsonl") && !strings.HasSuffix(path, ".json.gz") {
				return nil
			}
			body, err := os.ReadFile(path)
			bodies = append(bodies, body)
			d.write("logs/"+folder+strings.ReplaceAll(strings.TrimPrefix(path, filepath.Join(logs, folder)), string(filepath.Separator), "_"), body)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	d.spoor("store", "ingest", "logs", "--into", "oracle", "--quiet") // some of the files are no logs

	s := d.serve("", "--set", "store.flush_rows=1000", "--set", "store.flush_interval=1s")
	// Nobody without a token gets anything.
	for _, path := range []string{"/api/v1/events", "/api/v1/ledger", "/metrics", "/openapi.json", "/iceberg/v1/config"} {
		res, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusUnauthorized {
			t.Errorf("without a token %s answers %d", path, res.StatusCode)
		}
	}
	s.ask()
	follow := d.command("tail", "-f", "-n", "0", "--format", "raw", "--quiet")
	var tailed, complaints safeBuffer
	follow.Stdout, follow.Stderr = &tailed, &complaints
	if err := follow.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = follow.Process.Kill()
		_ = follow.Wait() // killed
	})
	s.eventually("the tail has begun", func() bool {
		return strings.Contains(string(s.want("GET", "/metrics", "")), "spoor_tail_subscribers 1\n")
	})

	push := func(bodies [][]byte) {
		t.Helper()
		var clients sync.WaitGroup
		for c := range 4 {
			clients.Go(func() {
				for i := c; i < len(bodies); i += 4 {
					status, text, err := s.call(t.Context(), "POST", "/api/v1/events", string(bodies[i]))
					if err != nil || status != http.StatusOK && status != http.StatusBadRequest {
						t.Errorf("push: %d %v %s", status, err, text)
					}
				}
			})
		}
		clients.Wait()
	}
	push(bodies[:len(bodies)/2])
	s.end(syscall.SIGKILL, -1)
	s = d.serve(s.token, "--set", "store.flush_rows=1000", "--set", "store.flush_interval=1s", "--listen", strings.TrimPrefix(s.url, "http://"))
	push(bodies[len(bodies)/3:]) // some of it again

	const sql = "SELECT eventID, eventSource, eventName, awsRegion, recipientAccountId FROM events WHERE eventSource <> 'spoor.amazonaws.com' ORDER BY ALL"
	want := d.spoor("query", "--store", "oracle", sql, "--format", "csv").exits(clean).out
	if n := strings.Count(want, "\n"); n < 3000 {
		t.Fatalf("the store of the same files has %d lines", n)
	}
	var got string
	s.eventually("all events are in the answer", func() bool {
		got = d.spoor("query", "--server", s.url, sql, "--format", "csv").exits(clean).out
		return got == want
	})
	if got != want {
		t.Errorf("SQL: %d lines, a store of the same files gives %d", strings.Count(got, "\n"), strings.Count(want, "\n"))
	}
	for _, terms := range [][]string{{"errorCode=AccessDenied"}, {"eventName=Create*", "userIdentity.type=AssumedRole"}, {"sourceIPAddress|cidr=10.0.0.0/8"}, {"ssm"}} {
		sorted := func(o outcome) []string { return slices.Sorted(slices.Values(o.lines())) }
		here := sorted(d.spoor(append(append([]string{"search"}, terms...), "--server", s.url, "--format", "raw", "--quiet")...).exits(clean))
		there := sorted(d.spoor(append(append([]string{"search"}, terms...), "--store", "oracle", "--format", "raw", "--quiet")...).exits(clean))
		here = slices.DeleteFunc(here, func(l string) bool { return strings.Contains(l, "spoor.amazonaws.com") })
		if !slices.Equal(here, there) {
			t.Errorf("search %q: %d events, in a store of the same files %d", terms, len(here), len(there))
		}
	}
	// The tail has gone on through the restart. What it may have missed it tells.
	s.eventually("the tail shows what was pushed after the restart", func() bool {
		return strings.Count(tailed.String(), "\n") > 1000 || strings.Contains(complaints.String(), "panic")
	})
	for line := range strings.Lines(tailed.String()) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		if !json.Valid([]byte(line)) {
			t.Fatalf("the tail shows %.300q", line)
		}
	}
	d.spoor("sources", "--server", s.url).exits(clean).says("push")
	cover := d.spoor("coverage", "--server", s.url, "--since", "all", "--json")
	var covered struct {
		Sources []struct {
			Name   string `json:"name"`
			Ledger struct {
				Balanced bool `json:"balanced"`
			} `json:"ledger"`
		} `json:"sources"`
	}
	if err := json.Unmarshal([]byte(cover.out), &covered); err != nil || len(covered.Sources) != 1 || covered.Sources[0].Name != "push" {
		t.Errorf("coverage: %v %s", err, tail(cover.out))
	}
	s.end(syscall.SIGTERM, clean)
	d.spoor("store", "verify", "spoor-data/store").exits(clean)
	d.env = nil
	after := d.spoor("query", "--store", "spoor-data/store", sql, "--format", "csv").exits(clean).out
	if after != want {
		t.Errorf("the store that it leaves has %d lines, want %d", strings.Count(after, "\n"), strings.Count(want, "\n"))
	}
}

// TestServiceQueue reads a bucket by the notifications that the bucket puts into a queue. The service is killed in the middle.
func TestServiceQueue(t *testing.T) { // not in parallel with others: the gateway moves the process to its folder
	for k, v := range map[string]string{"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "testersecret", "AWS_EC2_METADATA_DISABLED": "true"} {
		t.Setenv(k, v)
	}
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	d := newDesk(t)
	moto := livetest.StartMoto(t)
	gateway, err := livetest.StartGateway(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := gateway.Stop(); err != nil {
			t.Error(err)
		}
		if err := os.Chdir(before); err != nil {
			t.Error(err)
		}
	})
	cfg, err := s3.Config(t.Context(), s3.Options{Region: "us-east-1"})
	if err != nil {
		t.Fatal(err)
	}
	queues := awssqs.NewFromConfig(cfg, func(o *awssqs.Options) { o.BaseEndpoint = &moto.URL })
	made, err := queues.CreateQueue(t.Context(), &awssqs.CreateQueueInput{QueueName: aws.String("logs")})
	if err != nil {
		t.Fatal(err)
	}
	bucket := gateway.Bucket(t)
	gateway.Notify(func(body []byte) {
		text := string(bytes.Clone(body))
		if !strings.Contains(text, bucket) {
			return
		}
		if _, err := queues.SendMessage(t.Context(), &awssqs.SendMessageInput{QueueUrl: made.QueueUrl, MessageBody: &text}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { gateway.Notify(nil) })
	d.write("spoor.yaml", []byte(`sources:
  - name: trail
    type: sqs
    queue: `+*made.QueueUrl+`
    wait: 1s
    visibility: 10s
    aws: {region: us-east-1, s3_endpoint: "`+gateway.URL+`", access_key_id: tester, secret_access_key: testersecret}
`))
	s := d.serve("", "--config", "spoor.yaml")
	var want []string
	put := func(day int, name string, ids ...string) {
		t.Helper()
		gateway.Put(t, bucket, livetest.Key(day, name), livetest.Log(ids...))
		want = append(want, ids...)
		slices.Sort(want)
	}
	put(10, "one", "q-01", "q-02")
	put(9, "two", "q-03")
	s.eventually("what the bucket has is found", func() bool { return slices.Equal(s.ids("eventName=GetObject"), want) })
	put(11, "three", "q-04", "q-05", "q-06")
	s.end(syscall.SIGKILL, -1)
	put(12, "four", "q-07")
	s = d.serve(s.token, "--config", "spoor.yaml")
	put(13, "five", "q-08")
	s.eventually("what came before, during and after a kill is found once", func() bool { return slices.Equal(s.ids("eventName=GetObject"), want) })
	s.ask()
	d.spoor("coverage", "--since", "all", "--server", s.url, "--source", "trail").exits(clean).says("trail")
	d.spoor("sources", "--server", s.url).exits(clean).says("trail")
	s.end(syscall.SIGTERM, clean)
}
