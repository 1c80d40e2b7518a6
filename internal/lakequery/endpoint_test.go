package lakequery_test

//lint:file-ignore SA1019 clients still send EventDataStore where it is not needed any more

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
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/smithy-go"

	"spoor/internal/awsapi"
	cloudtrailapi "spoor/internal/awsapi/cloudtrail"
	cloudtraildataapi "spoor/internal/awsapi/cloudtraildata"
	"spoor/internal/awsapi/services"
	"spoor/internal/journal"
	"spoor/internal/lake"
	"spoor/internal/lakequery"
	"spoor/internal/query"
	"spoor/internal/recorder"
	"spoor/internal/store"
)

const (
	others  = "444455556666"
	anaKey  = "AKIAIOSFODNN7EXAMPLE"
	eveKey  = "AKIAI44QH8DHBEXAMPLE"
	secret  = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
	waiting = 30 * time.Second
)

// installation is what stands behind an address for AWS's clients: journal, store, engine, lake and queries.
type installation struct {
	url     string
	journal *journal.Journal
	live    *store.Live
	lake    *lake.Lake
	engine  *query.Engine
	queries *lakequery.Manager
	asked   sync.Map // ARNs that a permission was asked for, by action
	broken  atomic.Bool
	seq     atomic.Uint64
}

// Append is the journal, which remembers how far it is.
func (i *installation) Append(ctx context.Context, records []journal.Record) (uint64, error) {
	if i.broken.Load() {
		return 0, errors.New("the disk is full")
	}
	seq, err := i.journal.Append(ctx, records)
	if err == nil {
		i.seq.Store(max(seq, i.seq.Load()))
	}
	return seq, err
}

func (i *installation) Lookup(_ context.Context, id, _ string) (awsapi.Credential, error) {
	who := map[string]recorder.Identity{
		anaKey: {Type: "IAMUser", PrincipalID: "AIDAANA", ARN: "arn:aws:iam::" + account + ":user/ana", AccountID: account, UserName: "ana"},
		eveKey: {Type: "IAMUser", PrincipalID: "AIDAEVE", ARN: "arn:aws:iam::" + others + ":user/eve", AccountID: others, UserName: "eve"},
	}[id]
	if who.ARN == "" {
		return awsapi.Credential{}, awsapi.ErrUnknownKey
	}
	return awsapi.Credential{Secret: secret, Principal: awsapi.Principal{Identity: who}}, nil
}

func (i *installation) Authorize(_ context.Context, a awsapi.Access) error {
	i.asked.Store(a.Action, a.Resources)
	return nil
}

func install(t *testing.T) *installation {
	t.Helper()
	i, dir := &installation{}, t.TempDir()
	var ends []func() error
	t.Cleanup(func() {
		for _, end := range slices.Backward(ends) {
			if err := end(); err != nil {
				t.Error(err)
			}
		}
	})
	must := func(err error, end func() error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if end != nil {
			ends = append(ends, end)
		}
	}
	var err error
	i.journal, err = journal.Open(t.Context(), journal.Options{Dir: filepath.Join(dir, "journal"), Followers: []string{store.FollowerName}})
	must(err, func() error { return i.journal.Close() })
	s, err := store.Create(t.Context(), filepath.Join(dir, "store"), store.Options{})
	must(err, func() error { return s.Close() })
	i.live, err = s.Follow(t.Context(), store.JournalFeed(i.journal), store.LiveOptions{})
	must(err, func() error { return i.live.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	followed := make(chan error, 1)
	go func() { followed <- i.live.Run(ctx) }()
	ends = append(ends, func() error { cancel(); return <-followed })
	i.engine, err = query.Open(t.Context(), query.Options{Store: s, Dir: filepath.Join(dir, "store"), TempDir: t.TempDir()})
	must(err, i.engine.Close)
	i.lake, err = lake.Open(t.Context(), filepath.Join(dir, "lake"), lake.Options{Account: account, Journal: i})
	must(err, i.lake.Close)
	i.queries, err = lakequery.Open(t.Context(), filepath.Join(dir, "lake", "queries"), lakequery.Options{Engine: lakequery.Over(i.engine), Tables: i.lake})
	must(err, func() error { return i.queries.Close(context.Background()) })
	rec, err := recorder.New(recorder.Options{Journal: i, Account: account, Region: region})
	must(err, nil)
	e, err := awsapi.New(awsapi.Options{
		Services: services.All(services.Parts{
			CloudTrail:     cloudtrailapi.Options{Lake: i.lake, Queries: i.queries},
			CloudTrailData: cloudtraildataapi.Options{Lake: i.lake},
		}),
		Credentials: i, Authorizer: i, Recorder: rec, Account: account, Region: region, Regions: []string{"us-east-1"},
	})
	must(err, nil)
	srv := httptest.NewServer(e)
	ends = append(ends, func() error { srv.Close(); return nil })
	i.url = srv.URL
	return i
}

// client is AWS's client for Go.
func (i *installation) client(key, region string) *cloudtrail.Client {
	return cloudtrail.New(cloudtrail.Options{
		Region: region, BaseEndpoint: &i.url, Credentials: credentials.NewStaticCredentialsProvider(key, secret, ""), RetryMaxAttempts: 1,
	})
}

// put sends events from outside, for which no client of AWS's is at hand.
func (i *installation) put(t *testing.T, channel string, n int) {
	t.Helper()
	type event struct {
		ID   string `json:"id"`
		Data string `json:"eventData"`
	}
	var in struct {
		Events []event `json:"auditEvents"`
	}
	for k := range n {
		in.Events = append(in.Events, event{fmt.Sprintf("id-%d", k), fmt.Sprintf(`{"version":"1","userIdentity":{"type":"User","principalId":"u%d"},"eventSource":"portal.example.com",`+
			`"eventName":"Export","eventTime":"%s","UID":"uid-%03d","recipientAccountId":"%s"%s}`, k%3, time.Now().UTC().Format("2006-01-02T15:04:05"), k, account,
			map[bool]string{true: `,"errorCode":"Denied"`}[k%5 == 0])})
	}
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), "POST", i.url+"/PutAuditEvents?channelArn="+url.QueryEscape(channel), bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(t.Context(), aws.Credentials{AccessKeyID: anaKey, SecretAccessKey: secret}, req, hex.EncodeToString(sum[:]), "cloudtrail-data", region, time.Now()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		t.Fatal(err)
	}
	var out struct{ Failed, Successful []any }
	if err := json.Unmarshal(answer, &out); err != nil || resp.StatusCode != 200 || len(out.Successful) != n || len(out.Failed) > 0 {
		t.Fatalf("%d %s, %v", resp.StatusCode, answer, err)
	}
	i.settle(t)
}

// settle waits until what was appended can be queried.
func (i *installation) settle(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waiting)
	defer cancel()
	if err := i.live.Wait(ctx, i.seq.Load()); err != nil {
		t.Fatal(err)
	}
}

func ended(t *testing.T, c *cloudtrail.Client, id *string) *cloudtrail.DescribeQueryOutput {
	t.Helper()
	for began := time.Now(); time.Since(began) < waiting; time.Sleep(2 * time.Millisecond) {
		d, err := c.DescribeQuery(t.Context(), &cloudtrail.DescribeQueryInput{QueryId: id})
		if err != nil {
			t.Fatal(err)
		}
		if d.QueryStatus != types.QueryStatusQueued && d.QueryStatus != types.QueryStatusRunning {
			return d
		}
	}
	t.Fatal("the query does not end")
	return nil
}

// endless is a query that takes for ever, of a store that has an event, and no more memory with time.
func endless(id string) string {
	return "SELECT count(*) FROM " + id + " AS e CROSS JOIN UNNEST(sequence(1, 10000)) AS t(x) CROSS JOIN UNNEST(sequence(1, 10000)) AS u(y) CROSS JOIN UNNEST(sequence(1, 10000)) AS v(z) WHERE x + y <> z + 30000"
}

func code(err error) string {
	var e smithy.APIError
	if errors.As(err, &e) {
		return e.ErrorCode()
	}
	return fmt.Sprint(err)
}

// TestEndpoint is the life of an event data store, as AWS's client sees it.
func TestEndpoint(t *testing.T) {
	t.Parallel()
	i := install(t)
	ctx, c := t.Context(), i.client(anaKey, region)
	made, err := c.CreateEventDataStore(ctx, &cloudtrail.CreateEventDataStoreInput{Name: aws.String("portal"), TerminationProtectionEnabled: aws.Bool(false), AdvancedEventSelectors: []types.AdvancedEventSelector{{
		FieldSelectors: []types.AdvancedFieldSelector{{Field: aws.String("eventCategory"), Equals: []string{"ActivityAuditLog"}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	arn := made.EventDataStoreArn
	id := (*arn)[strings.LastIndexByte(*arn, '/')+1:]
	channel, err := c.CreateChannel(ctx, &cloudtrail.CreateChannelInput{Name: aws.String("portal"), Source: aws.String("Custom"), Destinations: []types.Destination{{Type: types.DestinationTypeEventDataStore, Location: arn}}})
	if err != nil {
		t.Fatal(err)
	}
	i.put(t, *channel.ChannelArn, 25)

	statement := "SELECT eventData.UID AS uid, eventData.userIdentity.principalId AS who, eventData.errorCode AS error FROM " + id + " ORDER BY uid"
	started, err := c.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryStatement: &statement})
	if err != nil {
		t.Fatal(err)
	}
	d := ended(t, c, started.QueryId)
	if d.QueryStatus != types.QueryStatusFinished || *d.QueryString != statement || d.ErrorMessage != nil || *d.QueryStatistics.EventsMatched != 25 || *d.QueryStatistics.EventsScanned < 25 ||
		*d.QueryStatistics.BytesScanned < 1000 || time.Since(*d.QueryStatistics.CreationTime) > waiting || *d.QueryStatistics.ExecutionTimeInMillis > 30_000 {
		t.Errorf("%+v %+v", d, d.QueryStatistics)
	}
	var rows [][]map[string]string
	pages := 0
	for p := cloudtrail.NewGetQueryResultsPaginator(c, &cloudtrail.GetQueryResultsInput{QueryId: started.QueryId, EventDataStore: arn, MaxQueryResults: aws.Int32(10)}); p.HasMorePages(); pages++ {
		page, err := p.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if page.QueryStatus != types.QueryStatusFinished || *page.QueryStatistics.ResultsCount != int32(len(page.QueryResultRows)) || *page.QueryStatistics.TotalResultsCount != 25 || *page.QueryStatistics.BytesScanned != *d.QueryStatistics.BytesScanned {
			t.Errorf("%+v %+v", page, page.QueryStatistics)
		}
		rows = append(rows, page.QueryResultRows...)
	}
	if pages != 3 || len(rows) != 25 {
		t.Fatalf("%d pages, %d rows", pages, len(rows))
	}
	for k, r := range rows {
		want := []map[string]string{{"uid": fmt.Sprintf("uid-%03d", k)}, {"who": fmt.Sprintf("u%d", k%3)}, {"error": map[bool]string{true: "Denied"}[k%5 == 0]}}
		if fmt.Sprint(r) != fmt.Sprint(want) {
			t.Errorf("row %d: %v", k, r)
		}
	}
	for action, want := range map[string][]string{"cloudtrail:StartQuery": {*arn}, "cloudtrail:DescribeQuery": {*arn}, "cloudtrail:GetQueryResults": {*arn}} {
		if got, _ := i.asked.Load(action); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s on %v, want %v", action, got, want)
		}
	}

	// One that takes for ever, cancelled.
	builtIn := lake.BuiltInID(account)
	long, err := c.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryStatement: aws.String(endless(id))})
	if err != nil {
		t.Fatal(err)
	}
	i.broken.Store(true) // a call that cannot be recorded did not happen
	if _, err := c.CancelQuery(ctx, &cloudtrail.CancelQueryInput{QueryId: long.QueryId}); code(err) != "InternalFailure" {
		t.Errorf("cancel, without a record: %v", err)
	}
	if _, err := c.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryStatement: &statement}); code(err) != "InternalFailure" {
		t.Errorf("start, without a record: %v", err)
	}
	i.broken.Store(false)
	if r, err := c.GetQueryResults(ctx, &cloudtrail.GetQueryResultsInput{QueryId: long.QueryId}); err != nil || r.QueryStatus != types.QueryStatusRunning && r.QueryStatus != types.QueryStatusQueued || len(r.QueryResultRows) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
	cancelled, err := c.CancelQuery(ctx, &cloudtrail.CancelQueryInput{QueryId: long.QueryId, EventDataStore: &id})
	if err != nil || cancelled.QueryStatus != types.QueryStatusCancelled || *cancelled.QueryId != *long.QueryId {
		t.Errorf("%+v, %v", cancelled, err)
	}
	if _, err := c.CancelQuery(ctx, &cloudtrail.CancelQueryInput{QueryId: long.QueryId}); code(err) != "InactiveQueryException" {
		t.Errorf("cancel twice: %v", err)
	}

	// By alias, and the lists.
	byAlias, err := c.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryAlias: aws.String("key"), QueryParameters: []string{anaKey}})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, c, byAlias.QueryId)
	if d, err := c.DescribeQuery(ctx, &cloudtrail.DescribeQueryInput{QueryAlias: aws.String("key")}); err != nil || *d.QueryId != *byAlias.QueryId || d.QueryStatus != types.QueryStatusFinished || *d.QueryStatistics.EventsMatched == 0 {
		t.Errorf("%+v, %v", d, err)
	}
	for _, l := range []struct {
		in   cloudtrail.ListQueriesInput
		want []*string
	}{
		{cloudtrail.ListQueriesInput{EventDataStore: arn}, []*string{long.QueryId, started.QueryId}},
		{cloudtrail.ListQueriesInput{EventDataStore: &id, MaxResults: aws.Int32(1)}, []*string{long.QueryId, started.QueryId}},
		{cloudtrail.ListQueriesInput{EventDataStore: &id, QueryStatus: types.QueryStatusCancelled}, []*string{long.QueryId}},
		{cloudtrail.ListQueriesInput{EventDataStore: &id, StartTime: aws.Time(time.Now().Add(time.Hour)), EndTime: aws.Time(time.Now().Add(2 * time.Hour))}, nil},
		{cloudtrail.ListQueriesInput{EventDataStore: &builtIn}, []*string{byAlias.QueryId}},
	} {
		var got []string
		for p := cloudtrail.NewListQueriesPaginator(c, &l.in); p.HasMorePages(); {
			page, err := p.NextPage(ctx)
			if err != nil {
				t.Fatal(err)
			}
			for _, q := range page.Queries {
				got = append(got, *q.QueryId)
			}
		}
		if want := aws.ToStringSlice(l.want); !slices.Equal(got, want) {
			t.Errorf("%+v: %v, want %v", l.in, got, want)
		}
	}
	samples, err := c.SearchSampleQueries(ctx, &cloudtrail.SearchSampleQueriesInput{SearchPhrase: aws.String("access key"), MaxResults: aws.Int32(2)})
	if err != nil || len(samples.SearchResults) != 2 || samples.SearchResults[0].Relevance != 1 || !strings.Contains(*samples.SearchResults[0].Description, "QueryAlias key, with the QueryParameters key=") || samples.NextToken == nil {
		t.Errorf("%+v, %v", samples, err)
	}

	// To others nothing of it is there.
	for _, o := range []*cloudtrail.Client{i.client(eveKey, region), i.client(anaKey, "us-east-1")} {
		_, err1 := o.DescribeQuery(ctx, &cloudtrail.DescribeQueryInput{QueryId: started.QueryId})
		_, err2 := o.GetQueryResults(ctx, &cloudtrail.GetQueryResultsInput{QueryId: started.QueryId})
		_, err3 := o.CancelQuery(ctx, &cloudtrail.CancelQueryInput{QueryId: started.QueryId})
		_, err4 := o.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryStatement: &statement})
		_, err5 := o.ListQueries(ctx, &cloudtrail.ListQueriesInput{EventDataStore: &id})
		if got := []string{code(err1), code(err2), code(err3), code(err4), code(err5)}; !slices.Equal(got, []string{"QueryIdNotFoundException", "QueryIdNotFoundException", "QueryIdNotFoundException", "EventDataStoreNotFoundException", "EventDataStoreNotFoundException"}) {
			t.Errorf("%v", got)
		}
	}

	// The calls are events.
	i.settle(t)
	recorded, err := c.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryStatement: aws.String("SELECT eventName, count(*) AS n, count(errorCode) AS failed FROM " + builtIn + " WHERE userIdentity.userName = 'ana' AND eventName IN ('StartQuery', 'CancelQuery') AND awsRegion = '" + region + "' GROUP BY eventName ORDER BY eventName")})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, c, recorded.QueryId)
	r, err := c.GetQueryResults(ctx, &cloudtrail.GetQueryResultsInput{QueryId: recorded.QueryId})
	if err != nil || fmt.Sprint(r.QueryResultRows) != "[[map[eventName:CancelQuery] map[n:2] map[failed:1]] [map[eventName:StartQuery] map[n:3] map[failed:0]]]" {
		t.Errorf("%v, %v", r.QueryResultRows, err)
	}
}

// TestEndpointRefuses asks for what is not there, or not allowed.
func TestEndpointRefuses(t *testing.T) {
	t.Parallel()
	i := install(t)
	ctx, c := t.Context(), i.client(anaKey, region)
	id := lake.BuiltInID(account)
	missing := "0b0a5f0e-8a53-4b2e-9b8c-0a4c6b9b2f11"
	one, err := c.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryStatement: aws.String("SELECT 1 AS x FROM " + id + " UNION ALL SELECT 2")})
	if err != nil {
		t.Fatal(err)
	}
	if d := ended(t, c, one.QueryId); d.QueryStatus != types.QueryStatusFinished {
		t.Fatalf("%+v", d)
	}
	start := func(in cloudtrail.StartQueryInput) error { _, err := c.StartQuery(ctx, &in); return err }
	results := func(in cloudtrail.GetQueryResultsInput) error { _, err := c.GetQueryResults(ctx, &in); return err }
	list := func(in cloudtrail.ListQueriesInput) error { _, err := c.ListQueries(ctx, &in); return err }
	describe := func(in cloudtrail.DescribeQueryInput) error { _, err := c.DescribeQuery(ctx, &in); return err }
	cancel := func(in cloudtrail.CancelQueryInput) error { _, err := c.CancelQuery(ctx, &in); return err }
	search := func(in cloudtrail.SearchSampleQueriesInput) error {
		_, err := c.SearchSampleQueries(ctx, &in)
		return err
	}
	good := "SELECT 1 FROM " + id
	now := time.Now()
	for k, x := range []struct {
		err        error
		code, text string
	}{
		{start(cloudtrail.StartQueryInput{}), "InvalidParameterException", "Either QueryStatement or QueryAlias"},
		{start(cloudtrail.StartQueryInput{QueryStatement: &good, QueryAlias: aws.String("key")}), "InvalidParameterException", "Either QueryStatement or QueryAlias"},
		{start(cloudtrail.StartQueryInput{QueryStatement: &good, QueryParameters: []string{"x"}}), "InvalidParameterException", "QueryParameters belong to a QueryAlias"},
		{start(cloudtrail.StartQueryInput{QueryStatement: &good, DeliveryS3Uri: aws.String("s3://bucket/prefix")}), "UnsupportedOperationException", "not delivered to buckets"},
		{start(cloudtrail.StartQueryInput{QueryStatement: &good, EventDataStoreOwnerAccountId: aws.String(others)}), "OperationNotPermittedException", others},
		{start(cloudtrail.StartQueryInput{QueryStatement: aws.String("SELECT 1 FROM " + missing)}), "EventDataStoreNotFoundException", "line 1:15: there is no event data store " + missing},
		{start(cloudtrail.StartQueryInput{QueryStatement: aws.String("DELETE FROM " + id)}), "InvalidQueryStatementException", "line 1:1: "},
		{start(cloudtrail.StartQueryInput{QueryStatement: aws.String("SELECT eventName,\n  nothing FROM " + id)}), "InvalidQueryStatementException", "line 2:3: "},
		{start(cloudtrail.StartQueryInput{QueryStatement: aws.String("SELECT 1 FROM events")}), "InvalidQueryStatementException", "line 1:15: "},
		{start(cloudtrail.StartQueryInput{QueryStatement: aws.String(strings.Repeat("x", 10_001))}), "InvalidQueryStatementException", "Member must have length less than or equal to 10000"},
		{start(cloudtrail.StartQueryInput{QueryAlias: aws.String("nothing")}), "InvalidParameterException", "there is no query with the alias nothing"},
		{start(cloudtrail.StartQueryInput{QueryAlias: aws.String("key")}), "InvalidParameterException", "needs the parameter key"},
		{describe(cloudtrail.DescribeQueryInput{}), "InvalidParameterException", "Either QueryId or QueryAlias"},
		{describe(cloudtrail.DescribeQueryInput{QueryId: &missing}), "QueryIdNotFoundException", missing},
		{describe(cloudtrail.DescribeQueryInput{QueryAlias: aws.String("key")}), "QueryIdNotFoundException", "key"},
		{describe(cloudtrail.DescribeQueryInput{QueryAlias: aws.String("key"), RefreshId: aws.String("1234567890")}), "InvalidParameterException", "no dashboards"},
		{describe(cloudtrail.DescribeQueryInput{QueryId: aws.String("short")}), "InvalidParameterException", "Member must have length greater than or equal to 36"},
		{results(cloudtrail.GetQueryResultsInput{QueryId: &missing}), "QueryIdNotFoundException", missing},
		{results(cloudtrail.GetQueryResultsInput{QueryId: one.QueryId, MaxQueryResults: aws.Int32(0)}), "InvalidMaxResultsException", "greater than or equal to 1"},
		{results(cloudtrail.GetQueryResultsInput{QueryId: one.QueryId, MaxQueryResults: aws.Int32(1001)}), "InvalidMaxResultsException", "less than or equal to 1000"},
		{results(cloudtrail.GetQueryResultsInput{QueryId: one.QueryId, NextToken: aws.String("abc")}), "InvalidNextTokenException", "Member must have length"},
		{results(cloudtrail.GetQueryResultsInput{QueryId: one.QueryId, NextToken: aws.String("abcdefgh")}), "InvalidNextTokenException", "not one that was given"},
		{results(cloudtrail.GetQueryResultsInput{QueryId: one.QueryId, EventDataStore: aws.String("arn:x")}), "EventDataStoreARNInvalidException", ""},
		{results(cloudtrail.GetQueryResultsInput{QueryId: one.QueryId, EventDataStore: &missing}), "EventDataStoreNotFoundException", ""},
		{results(cloudtrail.GetQueryResultsInput{QueryId: one.QueryId, EventDataStore: aws.String("!")}), "EventDataStoreARNInvalidException", ""},
		{cancel(cloudtrail.CancelQueryInput{QueryId: one.QueryId}), "InactiveQueryException", "has ended"},
		{cancel(cloudtrail.CancelQueryInput{QueryId: &missing}), "QueryIdNotFoundException", missing},
		{list(cloudtrail.ListQueriesInput{EventDataStore: &missing}), "EventDataStoreNotFoundException", ""},
		{list(cloudtrail.ListQueriesInput{EventDataStore: aws.String("spoor")}), "EventDataStoreARNInvalidException", ""},
		{list(cloudtrail.ListQueriesInput{EventDataStore: &id, StartTime: &now, EndTime: &now}), "InvalidDateRangeException", "must be before"},
		{list(cloudtrail.ListQueriesInput{EventDataStore: &id, QueryStatus: "DONE"}), "InvalidQueryStatusException", "enum value set"},
		{list(cloudtrail.ListQueriesInput{EventDataStore: &id, MaxResults: aws.Int32(1001)}), "InvalidMaxResultsException", ""},
		{list(cloudtrail.ListQueriesInput{EventDataStore: &id, NextToken: aws.String("abcdefgh")}), "InvalidNextTokenException", ""},
		{search(cloudtrail.SearchSampleQueriesInput{SearchPhrase: aws.String("access key"), NextToken: aws.String("abcdefgh")}), "InvalidParameterException", "token"},
		{search(cloudtrail.SearchSampleQueriesInput{SearchPhrase: aws.String("x")}), "InvalidParameterException", ""},
	} {
		if code(x.err) != x.code || !strings.Contains(fmt.Sprint(x.err), x.text) {
			t.Errorf("%d: %v\nwant %s %s", k, x.err, x.code, x.text)
		}
	}
	// A store that is being deleted.
	made, err := c.CreateEventDataStore(ctx, &cloudtrail.CreateEventDataStoreInput{Name: aws.String("gone"), TerminationProtectionEnabled: aws.Bool(false)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.DeleteEventDataStore(ctx, &cloudtrail.DeleteEventDataStoreInput{EventDataStore: made.EventDataStoreArn}); err != nil {
		t.Fatal(err)
	}
	gone := (*made.EventDataStoreArn)[strings.LastIndexByte(*made.EventDataStoreArn, '/')+1:]
	if err := start(cloudtrail.StartQueryInput{QueryStatement: aws.String("SELECT 1 FROM " + gone)}); code(err) != "InactiveEventDataStoreException" {
		t.Errorf("%v", err)
	}
	if err := list(cloudtrail.ListQueriesInput{EventDataStore: &gone}); code(err) != "InactiveEventDataStoreException" {
		t.Errorf("%v", err)
	}
	// Ten at once.
	i.settle(t)
	long := endless(id)
	var ids []*string
	for range lakequery.DefaultConcurrent {
		q, err := c.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryStatement: &long})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, q.QueryId)
	}
	if err := start(cloudtrail.StartQueryInput{QueryStatement: &long}); code(err) != "MaxConcurrentQueriesException" {
		t.Errorf("%v", err)
	}
	for _, id := range ids {
		if err := cancel(cloudtrail.CancelQueryInput{QueryId: id}); err != nil {
			t.Error(err)
		}
	}
}
