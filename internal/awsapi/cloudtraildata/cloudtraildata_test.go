package cloudtraildata_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"spoor/internal/awsapi"
	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/cloudtraildata"
	"spoor/internal/iam"
	"spoor/internal/journal"
	"spoor/internal/lake"
	"spoor/internal/recorder"
	"spoor/internal/selector"
)

const eventData = `{"version":"1.0","userIdentity":{"type":"User","principalId":"ana"},"eventSource":"wiki.example.com","eventName":"EditPage","eventTime":"2026-03-09T07:59:00","UID":"u-1",` +
	`"requestParameters":{"page":"the secret page"},"recipientAccountId":"111122223333"}`

// rig is an endpoint with a lake that has a channel.
type rig struct {
	*awsapitest.Rig
	key awsapitest.Key
	arn string
}

func newRig(t testing.TB, j lake.Journal, change ...func(*awsapi.Options)) rig {
	t.Helper()
	var r rig
	deferred := &later{}
	if j == nil {
		j = deferred
	}
	l, err := lake.Open(t.Context(), t.TempDir(), lake.Options{Account: awsapitest.Account, Journal: j})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	w := lake.Where{Account: awsapitest.Account, Region: awsapitest.Region}
	s, _, err := l.CreateStore(w, lake.StoreSpec{Name: "outside", Selectors: []selector.Advanced{{FieldSelectors: []selector.FieldSelector{{Field: "eventCategory", Equals: []string{"ActivityAuditLog"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	ch, _, err := l.CreateChannel(w, lake.ChannelSpec{Name: "wiki", Source: lake.Custom, Destinations: []string{s.ID}})
	if err != nil {
		t.Fatal(err)
	}
	r.arn = l.ChannelARN(ch)
	r.Rig = awsapitest.New(t, func(*iam.Service, *slog.Logger) []*awsapi.Service {
		return []*awsapi.Service{cloudtraildata.New(cloudtraildata.Options{Lake: l})}
	}, change...)
	deferred.Journal = r.Book
	r.key = r.User(t, "rec", iam.RoleRecorder)
	return r
}

// later is a journal that is made after the lake.
type later struct{ lake.Journal }

// signed is a request of PutAuditEvents.
func (r rig) signed(t testing.TB, k awsapitest.Key, arn, external, body string) *http.Request {
	t.Helper()
	q := url.Values{"channelArn": {arn}}
	if external != "" {
		q.Set("externalId", external)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"/PutAuditEvents?"+q.Encode(), strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	hash := sha256.Sum256([]byte(body))
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret}, req, hex.EncodeToString(hash[:]), "cloudtrail-data", awsapitest.Region, time.Now()); err != nil {
		t.Fatal(err)
	}
	return req
}

type answer struct {
	Successful []struct{ ID, EventID string }
	Failed     []struct{ ID, ErrorCode, ErrorMessage string }
	Message    string
	status     int
	code       string
}

func (r rig) put(t *testing.T, k awsapitest.Key, arn, external string, events ...map[string]string) (a answer) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"auditEvents": events})
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r.signed(t, k, arn, external, string(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		t.Fatal(err)
	}
	a.status, a.code = res.StatusCode, res.Header.Get("X-Amzn-Errortype")
	return a
}

func offered(id, data string) map[string]string {
	return map[string]string{"id": id, "eventData": data}
}

func TestPutAuditEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	a := r.put(t, r.key, r.arn, "pass+phrase", offered("one", eventData), offered("bad", "{"), offered("two", eventData))
	if a.status != 200 || len(a.Successful) != 2 || len(a.Failed) != 1 || a.Successful[0].ID != "one" || a.Failed[0].ID != "bad" || a.Failed[0].ErrorCode != "InvalidData" || a.Failed[0].ErrorMessage == "" {
		t.Fatalf("%+v", a)
	}
	records := r.Book.Records()
	if len(records) != 3 || !strings.Contains(records[0], `"eventID":"`+a.Successful[0].EventID+`"`) || !strings.Contains(records[0], `"eventData":`+eventData) {
		t.Fatalf("%q", records)
	}
	// The call is a data event on the channel; the events have records of their own.
	rec := r.Book.Last(t)
	if rec["eventName"] != "PutAuditEvents" || rec["eventSource"] != "cloudtrail-data.amazonaws.com" || rec["eventCategory"] != "Data" || rec["managementEvent"] != false || rec["readOnly"] != false ||
		fmt.Sprint(rec["resources"]) != "[map[ARN:"+r.arn+" accountId:"+awsapitest.Account+" type:AWS::CloudTrail::Channel]]" {
		t.Errorf("%v", rec)
	}
	if params := rec["requestParameters"].(map[string]any); params["channelArn"] != r.arn || params["auditEvents"].([]any)[0].(map[string]any)["id"] != "one" {
		t.Errorf("%v", params)
	}
	for _, secret := range []string{"secret page", "pass+phrase"} {
		if strings.Contains(records[2], secret) {
			t.Errorf("the call is recorded with %q: %s", secret, records[2])
		}
	}
	if res := rec["responseElements"].(map[string]any); len(res["successful"].([]any)) != 2 || len(res["failed"].([]any)) != 1 {
		t.Errorf("%v", res)
	}
}

func TestPutAuditEventsRefused(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	analyst := r.User(t, "ana", iam.RoleAnalyst)
	missing := r.arn[:len(r.arn)-12] + "000000000000"
	var many []map[string]string
	for i := range 101 {
		many = append(many, offered(strconv.Itoa(i), eventData))
	}
	for i, c := range []struct {
		key    awsapitest.Key
		arn    string
		events []map[string]string
		status int
		code   string
	}{
		{analyst, r.arn, many[:1], 403, "AccessDeniedException"},
		{r.key, missing, many[:1], 400, "ChannelNotFound"},
		{r.key, "arn:x", many[:1], 400, "InvalidChannelARN"},
		{r.key, "x", many[:1], 400, "ValidationException"},
		{r.key, strings.Replace(r.arn, awsapitest.Account, awsapitest.Member, 1), many[:1], 400, "ChannelInsufficientPermission"},
		{r.key, r.arn, []map[string]string{many[0], many[0]}, 400, "DuplicatedAuditEventId"},
		{r.key, r.arn, many, 400, "ValidationException"},
		{r.key, r.arn, nil, 400, "ValidationException"},
		{r.key, r.arn, []map[string]string{offered("a/b", eventData)}, 400, "ValidationException"},
		{r.key, r.arn, []map[string]string{offered("big", eventData+strings.Repeat(" ", 1<<20))}, 413, "RequestEntityTooLargeException"},
	} {
		before := len(r.Book.Records())
		a := r.put(t, c.key, c.arn, "", c.events...)
		if a.status != c.status || a.code != c.code || a.Message == "" {
			t.Errorf("case %d: %+v, want %d %s", i, a, c.status, c.code)
		}
		if n := len(r.Book.Records()) - before; n != 1 {
			t.Errorf("case %d: %d records", i, n)
		}
	}
	// A journal that takes nothing: the call fails, since it cannot be recorded either.
	r.Book.Fail(errors.New("the disk is full"))
	if a := r.put(t, r.key, r.arn, "", many[:1]...); a.status != 500 || a.code != "InternalFailure" || len(a.Successful) > 0 {
		t.Errorf("%+v", a)
	}
	r.Book.Fail(nil)
	if a := r.put(t, r.key, r.arn, "", many[:1]...); a.status != 200 || len(a.Successful) != 1 {
		t.Errorf("%+v", a)
	}
}

// TestCLI puts events with AWS's own client.
func TestCLI(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	run := r.CLI(t, r.key)
	file := filepath.Join(t.TempDir(), "events.json")
	text, err := json.Marshal([]map[string]string{offered("one", eventData), offered("bad", "[]")})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := run("cloudtrail-data", "put-audit-events", "--channel-arn", r.arn, "--audit-events", "file://"+file)
	if err != nil || !strings.Contains(out, `"errorCode": "InvalidData"`) || !strings.Contains(out, `"eventID"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

// BenchmarkPutAuditEvents is calls with one event of 64 clients, synced and recorded in a journal on disk. Each call is another
// event.
func BenchmarkPutAuditEvents(b *testing.B) {
	const clients = 64
	j, err := journal.Open(b.Context(), journal.Options{Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	rec, err := recorder.New(recorder.Options{Journal: j, Account: awsapitest.Account, Region: awsapitest.Region})
	if err != nil {
		b.Fatal(err)
	}
	r := newRig(b, j, func(o *awsapi.Options) { o.Recorder = rec })
	tr := &http.Transport{MaxIdleConnsPerHost: clients}
	defer tr.CloseIdleConnections()
	var next, failed atomic.Int64
	times := make([][]time.Duration, clients)
	// Requests are signed before: it is the server that is measured.
	reqs := make([]*http.Request, b.N)
	for i := range reqs {
		data, err := json.Marshal(strings.Replace(eventData, "u-1", "u-"+strconv.Itoa(i), 1))
		if err != nil {
			b.Fatal(err)
		}
		reqs[i] = r.signed(b, r.key, r.arn, "", `{"auditEvents":[{"id":"e`+strconv.Itoa(i)+`","eventData":`+string(data)+`}]}`)
	}
	b.ResetTimer()
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			for {
				i := next.Add(1) - 1
				if i >= int64(len(reqs)) {
					return
				}
				start := time.Now()
				res, err := tr.RoundTrip(reqs[i])
				if err != nil {
					failed.Add(1)
					continue
				}
				body, err := io.ReadAll(res.Body)
				if err := errors.Join(err, res.Body.Close()); err != nil || res.StatusCode != 200 || !strings.Contains(string(body), `"failed":[]`) {
					failed.Add(1)
				}
				times[n] = append(times[n], time.Since(start))
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	if n := failed.Load(); n > 0 {
		b.Fatalf("%d calls failed", n)
	}
	var all []time.Duration
	for _, t := range times {
		all = append(all, t...)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
	b.ReportMetric(float64(percentile(all, 99).Microseconds())/1000, "p99-ms")
	if err := j.Close(); err != nil {
		b.Error(err)
	}
}

func percentile(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[(len(all)-1)*p/100]
}
