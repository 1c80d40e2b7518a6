package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"spoor/internal/sample"
	"spoor/test/rig"
)

// What is asked for of the endpoint of AWS's clients.
const (
	lookupMost   = 100 * time.Millisecond // p99 of a page
	lookupEvents = 10_000                 // events/s; AWS gives 100
	auditRate    = 2000                   // calls/s, one event each
	auditMost    = 100 * time.Millisecond
	whoRate      = 3000 // calls/s
	lakeMore     = 20 * time.Millisecond
	awsClients   = 64
	lookupRuns   = 200 // pages by each value
	lakeRuns     = 61  // of queries of seconds, each differs from the next by more than what is wanted
)

// The account and Region of most events of the sample.
const (
	awsAccount = "111122223333"
	awsRegion  = "us-east-1"
)

// aws is what the endpoint of AWS's clients must be quick at: the event history, calls of many clients, and queries.
func (b *bench) aws(ctx context.Context) error {
	days := daysFor(b.many)
	d, err := b.dataset(ctx, "many", sample.Options{Events: b.many, Days: days, Story: true}, fmt.Sprintf("--events %d --days %d", b.many, days))
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n## The AWS-compatible endpoint\n")
	b.describe(d)
	dir := filepath.Join(b.dir, "aws")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	b.say("filling the store")
	if _, err := process(ctx, []int{0}, b.spoor, "store", "ingest", d.logs(), "--into", filepath.Join(dir, "store"), "--quiet", "--temp-dir", b.dir); err != nil {
		return err
	}
	if _, err := process(ctx, []int{0}, b.spoor, "store", "compact", filepath.Join(dir, "store")); err != nil { // or the service does it meanwhile
		return err
	}
	s, _, err := b.start(ctx, rig.Options{Data: dir, Args: []string{"--set", "account=" + awsAccount, "--set", "region=" + awsRegion, "--set", "aws.lookup_extended=true"}})
	if err != nil {
		return err
	}
	defer s.Kill()
	c, err := newAWSClient(ctx, s)
	if err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n`spoor serve` with its defaults, but for `aws.lookup_extended`, which takes events of any age at any rate. Calls are signed HTTP with keep-alive; the clients run on the same %d cores.\n", cores)
	for _, part := range []struct {
		name string
		run  func(context.Context, *rig.Server, *awsClient) error
	}{{"LookupEvents", b.lookups}, {"Lake", b.lakeQueries}, {"GetCallerIdentity", b.whoAmI}, {"PutAuditEvents", b.audit}} {
		if b.awsParts != "" && !slices.Contains(strings.Split(b.awsParts, ","), part.name) {
			continue
		}
		if err := part.run(ctx, s, c); err != nil {
			return fmt.Errorf("%s: %w\n%s", part.name, err, s.Complaints())
		}
	}
	if err := s.Stop(ctx); err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

// awsClient makes calls that are signed.
type awsClient struct {
	url    string
	key    aws.Credentials
	signer *v4.Signer
	http   *http.Client
}

// newAWSClient makes an administrator with an access key.
func newAWSClient(ctx context.Context, s *rig.Server) (*awsClient, error) {
	if err := s.Post(ctx, "/api/v1/users", []byte(`{"name":"bench","roles":["admin"]}`), nil); err != nil {
		return nil, err
	}
	var made struct{ ID, Secret string }
	if err := s.Post(ctx, "/api/v1/users/bench/access-keys", []byte(`{}`), &made); err != nil {
		return nil, err
	}
	return &awsClient{url: s.AWS, key: aws.Credentials{AccessKeyID: made.ID, SecretAccessKey: made.Secret}, signer: v4.NewSigner(),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: awsClients}}}, nil
}

// call calls a service: at a path, with the target of awsJson, or with a form.
func (c *awsClient) call(ctx context.Context, service, path, target string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	switch {
	case target != "":
		req.Header.Set("X-Amz-Target", target)
		req.Header.Set("Content-Type", "application/x-amz-json-1.1")
	case path != "/":
		req.Header.Set("Content-Type", "application/json")
	default:
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	sum := sha256.Sum256(body)
	if err := c.signer.SignHTTP(ctx, c.key, req, hex.EncodeToString(sum[:]), service, awsRegion, time.Now()); err != nil {
		return nil, err
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	text, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %.500s", res.StatusCode, text)
	}
	return text, err
}

// cloudTrail calls an operation of CloudTrail.
func (c *awsClient) cloudTrail(ctx context.Context, operation string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	text, err := c.call(ctx, "cloudtrail", "/", "CloudTrail_20131101."+operation, body)
	if err == nil && out != nil {
		err = json.Unmarshal(text, out)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// attribute is a value that events are looked up by.
type attribute struct{ AttributeKey, AttributeValue string }

// lookupPage is a page of LookupEvents.
type lookupPage struct {
	Events []struct {
		EventID     string `json:"EventId"`
		EventName   string
		EventSource string
		ReadOnly    string
		AccessKeyID string `json:"AccessKeyId"`
		Username    string
		EventTime   float64
		Resources   []struct{ ResourceType, ResourceName string }
	}
	NextToken string
}

func (c *awsClient) lookup(ctx context.Context, by attribute, end int64, token string) (p lookupPage, took time.Duration, _ error) {
	in := map[string]any{}
	if by.AttributeKey != "" {
		in["LookupAttributes"] = []attribute{by}
	}
	if end != 0 {
		in["EndTime"] = end
	}
	if token != "" {
		in["NextToken"] = token
	}
	began := time.Now()
	err := c.cloudTrail(ctx, "LookupEvents", in, &p)
	return p, time.Since(began), err
}

// lookups is LookupEvents by each attribute.
func (b *bench) lookups(ctx context.Context, _ *rig.Server, c *awsClient) error {
	began := time.Now()
	for { // until there is an index of every file
		p, took, err := c.lookup(ctx, attribute{"EventName", "NoSuchThing"}, 0, "")
		if err == nil && len(p.Events) == 0 && took < time.Second {
			break
		}
		if ctx.Err() != nil || time.Since(began) > time.Hour {
			return errors.Join(errors.New("the history is not ready"), ctx.Err(), err)
		}
	}
	indexed := time.Since(began)
	counts := map[attribute]int{}
	first, _, err := c.lookup(ctx, attribute{}, 0, "")
	if err != nil || len(first.Events) == 0 {
		return errors.Join(errors.New("there are no events"), err)
	}
	newest, days := int64(first.Events[0].EventTime), int64(daysFor(b.many))
	for i := range int64(60) { // values from all over the time
		p, _, err := c.lookup(ctx, attribute{}, newest-i*days*86400/61, "")
		if err != nil {
			return err
		}
		for _, e := range p.Events {
			for _, a := range []attribute{{"AccessKeyId", e.AccessKeyID}, {"EventId", e.EventID}, {"EventName", e.EventName}, {"EventSource", e.EventSource}, {"ReadOnly", e.ReadOnly}, {"Username", e.Username}} {
				counts[a]++
			}
			for _, r := range e.Resources {
				counts[attribute{"ResourceName", r.ResourceName}]++
				counts[attribute{"ResourceType", r.ResourceType}]++
			}
		}
	}
	fmt.Fprintf(b.page, "\n### LookupEvents\n\nPages of 50 events: of each value the first page and those behind it, %d calls. Frequent and rare are what 60 pages from all over the time have most and least of. The indexes of all files were there %.0f s after the start.\n", lookupRuns, indexed.Seconds())
	fmt.Fprintf(b.page, "\n| attribute | value | events a page | p50, ms | p99, ms | longest, ms |\n|---|---|--:|--:|--:|--:|\n")
	var worst time.Duration
	run := func(what string, a attribute) error {
		var times []time.Duration
		events, token := 0, ""
		for range lookupRuns {
			p, took, err := c.lookup(ctx, a, 0, token)
			if err != nil {
				return err
			}
			times = append(times, took)
			events += len(p.Events)
			token = p.NextToken
		}
		slices.Sort(times)
		p99 := rig.Percentile(times, 99)
		worst = max(worst, p99)
		name := a.AttributeKey
		if name == "" {
			name = "none"
		}
		fmt.Fprintf(b.page, "| %s | %s | %.1f | %s | %s | %s |\n", name, what, float64(events)/lookupRuns, millis(rig.Percentile(times, 50)), millis(p99), millis(times[len(times)-1]))
		return nil
	}
	if err := run("all events", attribute{}); err != nil {
		return err
	}
	for _, key := range []string{"AccessKeyId", "EventId", "EventName", "EventSource", "ReadOnly", "ResourceName", "ResourceType", "Username"} {
		var most, least attribute
		for a, n := range counts {
			if a.AttributeKey != key || a.AttributeValue == "" {
				continue
			}
			if most.AttributeKey == "" || n > counts[most] || n == counts[most] && a.AttributeValue < most.AttributeValue {
				most = a
			}
			if least.AttributeKey == "" || n < counts[least] || n == counts[least] && a.AttributeValue < least.AttributeValue {
				least = a
			}
		}
		if most.AttributeKey == "" {
			return fmt.Errorf("no event has %s", key)
		}
		if key != "EventId" { // each is there once
			if err := run("frequent", most); err != nil {
				return err
			}
		}
		if err := run("rare", least); err != nil {
			return err
		}
		if err := run("absent", attribute{key, "no such value"}); err != nil {
			return err
		}
	}
	var events atomic.Int64
	tokens := make([]string, 8)
	f := flood(ctx, len(tokens), b.pushed, func(ctx context.Context, client, _ int) error {
		p, _, err := c.lookup(ctx, attribute{}, newest-int64(client)*days*86400/8, tokens[client])
		events.Add(int64(len(p.Events)))
		tokens[client] = p.NextToken
		return err
	})
	if f.err != nil {
		return f.err
	}
	rate := float64(events.Load()) / f.took.Seconds()
	fmt.Fprintf(b.page, "\n- LookupEvents over %s events: the worst p99 of a page is %s ms, wanted ≤ %s: %s\n- LookupEvents by %d clients: %s events/s (p99 of a page %s ms), wanted ≥ %s: %s\n", thousands(float64(b.many)), millis(worst), millis(lookupMost), sayReached(worst <= lookupMost),
		len(tokens), thousands(rate), millis(f.percentile(99)), thousands(lookupEvents), sayReached(rate >= lookupEvents))
	b.say("LookupEvents: worst p99 %s, %.0f events/s", worst, rate)
	return nil
}

// flooded is what many clients did.
type flooded struct {
	times []time.Duration // in order
	took  time.Duration
	err   error
}

func (f *flooded) rate() float64                      { return float64(len(f.times)) / f.took.Seconds() }
func (f *flooded) percentile(n float64) time.Duration { return rig.Percentile(f.times, n) }

// flood lets clients call, each with one call under way, for a while. The number of a call is one of its own.
func flood(ctx context.Context, clients int, how time.Duration, call func(ctx context.Context, client, n int) error) *flooded {
	var wait sync.WaitGroup
	times, errs := make([][]time.Duration, clients), make([]error, clients)
	began := time.Now()
	var next atomic.Int64
	for i := range clients {
		wait.Go(func() {
			for ctx.Err() == nil && time.Since(began) < how {
				at := time.Now()
				if errs[i] = call(ctx, i, int(next.Add(1))); errs[i] != nil {
					return
				}
				times[i] = append(times[i], time.Since(at))
			}
		})
	}
	wait.Wait()
	f := &flooded{times: slices.Concat(times...), took: time.Since(began), err: errors.Join(append(errs, ctx.Err())...)}
	slices.Sort(f.times)
	return f
}

// counted waits until the answer has as many events as were called for, and says so if it has others.
func counted(ctx context.Context, s *rig.Server, what, where string, want int64) error {
	began := time.Now()
	for {
		n, err := s.Count(ctx, "SELECT count(*) AS n FROM events WHERE "+where)
		switch {
		case err == nil && n == want:
			return nil
		case err == nil && n > want, time.Since(began) > time.Minute, ctx.Err() != nil:
			return errors.Join(fmt.Errorf("%d events of %s are recorded, %d calls were answered", n, what, want), err, ctx.Err())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// whoAmI is the least that a call can be: signature, decoding, record, answer.
func (b *bench) whoAmI(ctx context.Context, s *rig.Server, c *awsClient) error {
	body := []byte("Action=GetCallerIdentity&Version=2011-06-15")
	call := func(ctx context.Context, _, _ int) error {
		_, err := c.call(ctx, "sts", "/", "", body)
		return err
	}
	warm := flood(ctx, awsClients, min(time.Second, b.pushed), call)
	clock, err := newClock(s)
	if err != nil {
		return err
	}
	f := flood(ctx, awsClients, b.pushed, call)
	if err := errors.Join(warm.err, f.err); err != nil {
		return err
	}
	theirs, own, err := clock.cores(s)
	if err != nil {
		return err
	}
	if err := counted(ctx, s, "GetCallerIdentity", "eventName = 'GetCallerIdentity' AND userIdentity.userName = 'bench'", int64(len(f.times)+len(warm.times))); err != nil {
		return err
	}
	fmt.Fprintf(b.page, "\n### Calls of %d clients\n\nEach with one call under way, for %s. The server took %.2f cores for GetCallerIdentity, the clients %.2f. Afterwards the events of both were counted: there is one for each answer.\n", awsClients, b.pushed, theirs, own)
	fmt.Fprintf(b.page, "\n- GetCallerIdentity: %s calls/s (p50 %s ms, p99 %s ms), each synced as an event before its answer, wanted ≥ %s: %s\n", thousands(f.rate()), millis(f.percentile(50)), millis(f.percentile(99)), thousands(whoRate), sayReached(f.rate() >= whoRate))
	b.say("GetCallerIdentity: %.0f calls/s, p99 %s", f.rate(), f.percentile(99))
	return nil
}

// audit is PutAuditEvents with one event a call.
func (b *bench) audit(ctx context.Context, s *rig.Server, c *awsClient) error {
	var store struct{ EventDataStoreArn string }
	if err := c.cloudTrail(ctx, "CreateEventDataStore", map[string]any{"Name": "bench", "TerminationProtectionEnabled": false,
		"AdvancedEventSelectors": []any{map[string]any{"FieldSelectors": []any{map[string]any{"Field": "eventCategory", "Equals": []string{"ActivityAuditLog"}}}}}}, &store); err != nil {
		return err
	}
	var channel struct{ ChannelArn string }
	if err := c.cloudTrail(ctx, "CreateChannel", map[string]any{"Name": "bench", "Source": "Custom", "Destinations": []any{map[string]string{"Type": "EVENT_DATA_STORE", "Location": store.EventDataStoreArn}}}, &channel); err != nil {
		return err
	}
	path := "/PutAuditEvents?channelArn=" + url.QueryEscape(channel.ChannelArn)
	call := func(ctx context.Context, client, n int) error {
		at := time.Now().UTC()
		data := fmt.Sprintf(`{"version":"1.0","userIdentity":{"type":"person","principalId":"user-%d@example.com","details":{"team":"sales"}},"userAgent":"shop/2.1","eventSource":"shop.example.com","eventName":"PlaceOrder","eventTime":"%s","UID":"%d-%d","requestParameters":{"order":"o-%d","items":[{"sku":"A-17","count":2},{"sku":"B-2","count":1}],"total":"43.20"},"responseElements":{"state":"accepted"},"sourceIPAddress":"192.0.2.%d","recipientAccountId":"%s"}`,
			client, at.Format("2006-01-02T15:04:05Z"), at.UnixNano(), n, n, client, awsAccount)
		body, err := json.Marshal(map[string]any{"auditEvents": []map[string]string{{"id": fmt.Sprintf("%d-%d", at.UnixNano(), n), "eventData": data}}})
		if err != nil {
			return err
		}
		text, err := c.call(ctx, "cloudtrail-data", path, "", body)
		if err != nil {
			return err
		}
		var out struct{ Successful, Failed []json.RawMessage }
		if err := json.Unmarshal(text, &out); err != nil || len(out.Successful) != 1 || len(out.Failed) != 0 {
			return fmt.Errorf("not accepted: %s", text)
		}
		return nil
	}
	warm := flood(ctx, awsClients, min(time.Second, b.pushed), call)
	f := flood(ctx, awsClients, b.pushed, call)
	if err := errors.Join(warm.err, f.err); err != nil {
		return err
	}
	if err := counted(ctx, s, "PutAuditEvents", "eventCategory = 'ActivityAuditLog'", int64(len(f.times)+len(warm.times))); err != nil {
		return err
	}
	p99 := f.percentile(99)
	fmt.Fprintf(b.page, "- PutAuditEvents, one event a call: %s calls/s, wanted ≥ %s: %s; p50 %s ms, p99 %s ms, wanted ≤ %s: %s\n", thousands(f.rate()), thousands(auditRate), sayReached(f.rate() >= auditRate),
		millis(f.percentile(50)), millis(p99), millis(auditMost), sayReached(p99 <= auditMost))
	b.say("PutAuditEvents: %.0f calls/s, p99 %s", f.rate(), p99)
	return nil
}

// lakeQueries is what a query of an event data store takes more than the same SQL that the store is asked directly.
func (b *bench) lakeQueries(ctx context.Context, s *rig.Server, c *awsClient) error {
	var stores struct {
		EventDataStores []struct{ EventDataStoreArn, Name string }
	}
	if err := c.cloudTrail(ctx, "ListEventDataStores", map[string]any{}, &stores); err != nil {
		return err
	}
	id := ""
	for _, st := range stores.EventDataStores {
		if st.Name == "spoor" {
			id = st.EventDataStoreArn[strings.LastIndexByte(st.EventDataStoreArn, '/')+1:]
		}
	}
	if id == "" {
		return errors.New("there is no event data store spoor")
	}
	fmt.Fprintf(b.page, "\n### Lake\n\nFrom StartQuery until GetQueryResults has the rows, which is asked at once and again at each answer that there are none yet (each asking is a call that is recorded, and waits for up to a second), beside the same SQL on the table `events` by `POST /api/v1/query`, in turns of which either is the first as often: medians of %d, what is more of the differences in each turn.\n", lakeRuns)
	fmt.Fprintf(b.page, "\n| SQL | rows | directly, ms | Lake, ms | more, ms |\n|---|--:|--:|--:|--:|\n")
	worst := time.Duration(-1 << 62)
	for _, q := range []string{
		"SELECT eventName, count(*) AS n FROM %s WHERE eventSource = 'iam.amazonaws.com' GROUP BY eventName ORDER BY n DESC",
		"SELECT eventTime, eventName, sourceIPAddress FROM %s WHERE userIdentity.type = 'Root' ORDER BY eventTime DESC LIMIT 50",
		"SELECT count(*) AS n FROM %s",
	} {
		var direct, lake []time.Duration
		rows, of := 0, 0
		directly := func() (time.Duration, error) {
			began := time.Now()
			of = 0
			err := s.SQL(ctx, fmt.Sprintf(q, "events"), func([]byte) error { of++; return nil })
			return time.Since(began), err
		}
		byLake := func() (time.Duration, error) {
			began := time.Now()
			var started struct {
				QueryID string `json:"QueryId"`
			}
			if err := c.cloudTrail(ctx, "StartQuery", map[string]string{"QueryStatement": fmt.Sprintf(q, id)}, &started); err != nil {
				return 0, err
			}
			for {
				var out struct {
					QueryStatus, ErrorMessage string
					QueryResultRows           []json.RawMessage
				}
				if err := c.cloudTrail(ctx, "GetQueryResults", map[string]any{"QueryId": started.QueryID, "MaxQueryResults": 1000}, &out); err != nil {
					return 0, err
				}
				if out.QueryStatus == "FINISHED" {
					rows = len(out.QueryResultRows)
					return time.Since(began), nil
				}
				if out.QueryStatus != "QUEUED" && out.QueryStatus != "RUNNING" {
					return 0, fmt.Errorf("a query is %s: %s", out.QueryStatus, out.ErrorMessage)
				}
			}
		}
		for n := range lakeRuns {
			var took [2]time.Duration // directly, by the lake
			for i, ask := range [2]func() (time.Duration, error){directly, byLake} {
				if n%2 == 1 { // who is first takes turns, too
					i, ask = 1-i, [2]func() (time.Duration, error){byLake, directly}[i]
				}
				t, err := ask()
				if err != nil {
					return err
				}
				took[i] = t
			}
			direct, lake = append(direct, took[0]), append(lake, took[1]-took[0])
		}
		if rows != of {
			return fmt.Errorf("%d rows by Lake, %d directly: %s", rows, of, q)
		}
		slices.Sort(direct)
		slices.Sort(lake)
		more := rig.Percentile(lake, 50)
		worst = max(worst, more)
		fmt.Fprintf(b.page, "| `%s` | %d | %s | %s | %s |\n", fmt.Sprintf(q, "…"), rows, millis(rig.Percentile(direct, 50)), millis(rig.Percentile(direct, 50)+more), millis(more))
	}
	fmt.Fprintf(b.page, "\n- a Lake query takes %s ms more than the same SQL directly, wanted ≤ %s: %s\n", millis(worst), millis(lakeMore), sayReached(worst <= lakeMore))
	b.say("Lake: %s more", worst)
	return nil
}
