package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cloudtrailtypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/sts"
)

// auditEvent is an event of a system of one's own, as PutAuditEvents takes it.
func auditEvent(uid, name string, when time.Time) string {
	return fmt.Sprintf(`{"version":"1.0","userIdentity":{"type":"person","principalId":"bea@example.com","details":{"team":"sales"}},"eventSource":"shop.example.com","eventName":%q,`+
		`"eventTime":%q,"UID":%q,"requestParameters":{"order":"o-1"},"recipientAccountId":%q}`, name, when.UTC().Format("2006-01-02T15:04:05Z"), uid, awsAccount)
}

// auditSelectors are those of an event data store for such events.
const auditSelectors = `[{"Name":"outside events","FieldSelectors":[{"Field":"eventCategory","Equals":["ActivityAuditLog"]}]}]`

// TestAWSLake makes an event data store and a channel with the AWS CLI, sends events through it, asks, and cancels.
func TestAWSLake(t *testing.T) {
	t.Parallel()
	awsCLI(t)
	d := newDesk(t)
	s := d.serveAWS()
	d.user("olga", "admin")
	d.user("ana", "analyst")
	d.user("rita", "recorder")
	olga, ana, rita := d.accessKey("olga"), d.accessKey("ana"), d.accessKey("rita")

	var store struct{ EventDataStoreArn, Name, Status string }
	s.cli(ana, "cloudtrail", "create-event-data-store", "--name", "outside").fails("AccessDeniedException")
	s.cli(olga, "cloudtrail", "create-event-data-store", "--name", "outside", "--advanced-event-selectors", auditSelectors, "--no-termination-protection-enabled").exits(clean).into(&store)
	if store.Name != "outside" || !strings.HasPrefix(store.EventDataStoreArn, "arn:aws:cloudtrail:"+awsRegion+":"+awsAccount+":eventdatastore/") {
		t.Fatalf("the store is %+v", store)
	}
	id := store.EventDataStoreArn[strings.LastIndexByte(store.EventDataStoreArn, '/')+1:]
	var channel struct{ ChannelArn, Name string }
	s.cli(olga, "cloudtrail", "create-channel", "--name", "shop", "--source", "Custom", "--destinations", "Type=EVENT_DATA_STORE,Location="+store.EventDataStoreArn).exits(clean).into(&channel)

	type audit struct {
		ID        string `json:"id"`
		EventData string `json:"eventData"`
	}
	now := time.Now()
	events := []audit{{"a", auditEvent("uid-1", "PlaceOrder", now)}, {"b", auditEvent("uid-2", "PlaceOrder", now)}, {"c", auditEvent("uid-3", "CancelOrder", now)}, {"d", `{"version":"1.0"}`}}
	text, err := json.Marshal(events)
	if err != nil {
		t.Fatal(err)
	}
	var put struct {
		Successful []struct{ ID, EventID string }
		Failed     []struct{ ID, ErrorCode string }
	}
	args := []string{"cloudtrail-data", "put-audit-events", "--channel-arn", channel.ChannelArn, "--audit-events", string(text)}
	s.cli(ana, args...).fails("AccessDeniedException")
	s.cli(rita, args...).exits(clean).into(&put)
	if len(put.Successful) != 3 || len(put.Failed) != 1 || put.Failed[0].ID != "d" {
		t.Fatalf("put: %+v", put)
	}
	first := put.Successful[0].EventID
	s.cli(rita, args...).exits(clean).into(&put) // sent again, they count once
	if put.Successful[0].EventID != first {
		t.Errorf("sent again, the event is %s and not %s", put.Successful[0].EventID, first)
	}

	statement := "SELECT eventData.eventName AS what, count(*) AS n FROM " + id + " GROUP BY eventData.eventName ORDER BY n DESC"
	type cell map[string]string
	var results struct {
		QueryStatus     string
		QueryResultRows [][]cell
		QueryStatistics struct{ ResultsCount, TotalResultsCount int }
		ErrorMessage    string
	}
	var query struct{ QueryId string }
	ask := func(statement string) string {
		t.Helper()
		query.QueryId = ""
		s.cli(ana, "cloudtrail", "start-query", "--query-statement", statement).exits(clean).into(&query)
		s.eventually("the query has ended", func() bool {
			results.QueryResultRows = nil
			s.cli(ana, "cloudtrail", "get-query-results", "--query-id", query.QueryId).exits(clean).into(&results)
			return results.QueryStatus != "QUEUED" && results.QueryStatus != "RUNNING"
		})
		return fmt.Sprint(results.QueryStatus, results.ErrorMessage, results.QueryResultRows)
	}
	s.eventually("what was put is in answers", func() bool {
		return strings.Contains(ask(statement), "[[map[what:PlaceOrder] map[n:2]] [map[what:CancelOrder] map[n:1]]]")
	})
	answered := query.QueryId
	if results.QueryStatistics.TotalResultsCount != 2 {
		t.Errorf("%+v", results.QueryStatistics)
	}
	s.cli(ana, "cloudtrail", "describe-query", "--query-id", answered).exits(clean).says("FINISHED", id)
	s.cli(ana, "cloudtrail", "list-queries", "--event-data-store", id).exits(clean).says(answered)
	s.cli(ana, "cloudtrail", "cancel-query", "--query-id", answered).fails("InactiveQueryException")
	s.cli(ana, "cloudtrail", "start-query", "--query-statement", "SELECT nothing FROM "+id).fails("InvalidQueryStatementException")
	s.cli(ana, "cloudtrail", "start-query", "--query-statement", "SELECT * FROM read_csv('/etc/passwd')").fails("InvalidQueryStatementException")
	s.cli(ana, "cloudtrail", "get-query-results", "--query-id", "00000000-0000-4000-8000-000000000000").fails("QueryIdNotFoundException")
	// One that would run for long is cancelled.
	var slow struct{ QueryId string }
	const long = "SELECT count(*) AS n FROM %[1]s a, %[1]s b, (SELECT * FROM unnest(sequence(1, 10000)) AS t(x)) c, (SELECT * FROM unnest(sequence(1, 10000)) AS t(y)) d, (SELECT * FROM unnest(sequence(1, 10000)) AS t(z)) e WHERE c.x * d.y * e.z %% 7 = 3"
	s.cli(ana, "cloudtrail", "start-query", "--query-statement", fmt.Sprintf(long, id)).exits(clean).into(&slow)
	s.cli(ana, "cloudtrail", "cancel-query", "--query-id", slow.QueryId).exits(clean).says(slow.QueryId, "CANCELLED")
	s.cli(olga, "cloudtrail", "update-event-data-store", "--event-data-store", id, "--retention-period", "30").exits(clean).says(`"RetentionPeriod": 30`)
	s.cli(olga, "cloudtrail", "delete-event-data-store", "--event-data-store", id).fails("ChannelExistsForEDSException")
	s.cli(olga, "cloudtrail", "delete-channel", "--channel", channel.ChannelArn).exits(clean)
	s.cli(olga, "cloudtrail", "delete-event-data-store", "--event-data-store", id).exits(clean)
	s.cli(olga, "cloudtrail", "get-event-data-store", "--event-data-store", id).exits(clean).says("PENDING_DELETION")
	s.cli(olga, "cloudtrail", "restore-event-data-store", "--event-data-store", id).exits(clean).says("ENABLED")
	s.cli(olga, "cloudtrail", "list-event-data-stores").exits(clean).says(id, `"spoor"`)
	s.cli(rita, args...).fails("ChannelNotFound")

	// Each of these calls is found by a look-up, with who, what and how it ended.
	by := func(user, path string, value any) func(map[string]any) bool {
		return func(r map[string]any) bool { return at(r, "userIdentity.userName") == user && at(r, path) == value }
	}
	has(t, s.recorded(ana, "CreateEventDataStore", "olga's", by("olga", "errorCode", nil)), map[string]any{
		"requestParameters.name": "outside", "requestParameters.terminationProtectionEnabled": false, "responseElements.eventDataStoreArn": store.EventDataStoreArn, "readOnly": false, "userIdentity.accessKeyId": olga.ID,
	})
	has(t, s.recorded(ana, "CreateEventDataStore", "ana's", by("ana", "errorCode", "AccessDenied")), map[string]any{"responseElements": nil, "requestParameters.name": "outside"})
	has(t, s.recorded(ana, "CreateChannel", "olga's", by("olga", "errorCode", nil)), map[string]any{"responseElements.channelArn": channel.ChannelArn, "requestParameters.source": "Custom"})
	has(t, s.recorded(ana, "StartQuery", "the one that was answered", by("ana", "responseElements.queryId", answered)), map[string]any{"requestParameters.queryStatement": statement})
	has(t, s.recorded(ana, "StartQuery", "the one that was refused", by("ana", "errorCode", "InvalidQueryStatementException")), map[string]any{"responseElements": nil})
	has(t, s.recorded(ana, "GetQueryResults", "of the query", by("ana", "requestParameters.queryId", answered)), map[string]any{"readOnly": true, "responseElements": nil})
	has(t, s.recorded(ana, "CancelQuery", "of the long one", by("ana", "requestParameters.queryId", slow.QueryId)), map[string]any{"errorCode": nil})
	has(t, s.recorded(ana, "CancelQuery", "of the other", by("ana", "requestParameters.queryId", answered)), map[string]any{"errorCode": "InactiveQueryException"})
	has(t, s.recorded(ana, "DeleteChannel", "olga's", by("olga", "errorCode", nil)), map[string]any{"requestParameters.channel": channel.ChannelArn})
	has(t, s.recorded(ana, "RestoreEventDataStore", "olga's", by("olga", "errorCode", nil)), nil)
	// PutAuditEvents is a data event: it is in the store that has all, and in no event history.
	s.eventually("the puts are recorded", func() bool {
		out := d.spoor("query", "SELECT userIdentity.userName AS who, coalesce(errorCode, 'none') AS code, eventCategory, count(*) AS n FROM events WHERE eventName = 'PutAuditEvents' GROUP BY ALL ORDER BY ALL", "--format", "csv").exits(clean).out
		return strings.Contains(out, "ana,AccessDenied,Data,1\n") && strings.Contains(out, "rita,ChannelNotFound,Data,1\n") && strings.Contains(out, "rita,none,Data,2\n")
	})
	s.end(syscall.SIGTERM, clean)

	// What was asked and made is there after a restart.
	s = s.again()
	results.QueryResultRows = nil
	s.cli(ana, "cloudtrail", "get-query-results", "--query-id", answered).exits(clean).into(&results)
	if results.QueryStatus != "FINISHED" || len(results.QueryResultRows) != 2 {
		t.Errorf("after a restart: %+v", results)
	}
	s.cli(ana, "cloudtrail", "get-event-data-store", "--event-data-store", id).exits(clean).says("outside", `"RetentionPeriod": 30`)
	s.end(syscall.SIGTERM, clean)
}

// TestAWSSDK is the same with AWS's SDK for Go.
func TestAWSSDK(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := newDesk(t)
	s := d.serveAWS("--set", "aws.lookup_extended=true")
	d.user("olga", "admin")
	olga := d.accessKey("olga")
	d.spoor("iam", "role", "create", "Ask", "--role", "analyst", "--trust", "olga").exits(clean)
	out, err := sts.NewFromConfig(s.config(olga)).AssumeRole(ctx, &sts.AssumeRoleInput{RoleArn: aws.String("arn:aws:iam::" + awsAccount + ":role/Ask"), RoleSessionName: aws.String("sdk"),
		SourceIdentity: aws.String("olga"), DurationSeconds: aws.Int32(900)})
	if err != nil {
		t.Fatal(err)
	}
	ask := accessKey{*out.Credentials.AccessKeyId, *out.Credentials.SecretAccessKey, *out.Credentials.SessionToken}
	if got := s.whoAmI(ask); got != "arn:aws:sts::"+awsAccount+":assumed-role/Ask/sdk" {
		t.Fatalf("the session is %s", got)
	}
	admin, client := cloudtrail.NewFromConfig(s.config(olga)), cloudtrail.NewFromConfig(s.config(ask))
	made, err := admin.CreateEventDataStore(ctx, &cloudtrail.CreateEventDataStoreInput{Name: aws.String("outside"), AdvancedEventSelectors: []cloudtrailtypes.AdvancedEventSelector{
		{FieldSelectors: []cloudtrailtypes.AdvancedFieldSelector{{Field: aws.String("eventCategory"), Equals: []string{"ActivityAuditLog"}}}}}})
	if err != nil {
		t.Fatal(err)
	}
	id := (*made.EventDataStoreArn)[strings.LastIndexByte(*made.EventDataStoreArn, '/')+1:]
	channel, err := admin.CreateChannel(ctx, &cloudtrail.CreateChannelInput{Name: aws.String("shop"), Source: aws.String("Custom"),
		Destinations: []cloudtrailtypes.Destination{{Type: cloudtrailtypes.DestinationTypeEventDataStore, Location: made.EventDataStoreArn}}})
	if err != nil {
		t.Fatal(err)
	}
	if status, code := s.putAudit(olga, *channel.ChannelArn, auditEvent("uid-9", "ShipOrder", time.Now())); status != http.StatusOK {
		t.Fatalf("put: %d %s", status, code)
	}
	var rows [][]map[string]string
	var query string
	s.eventually("a query finds what was put", func() bool {
		started, err := client.StartQuery(ctx, &cloudtrail.StartQueryInput{QueryStatement: aws.String("SELECT eventData.eventName AS what FROM " + id)})
		if err != nil {
			t.Fatal(err)
		}
		query = *started.QueryId
		for {
			got, err := client.GetQueryResults(ctx, &cloudtrail.GetQueryResultsInput{QueryId: started.QueryId})
			if err != nil {
				t.Fatal(err)
			}
			switch got.QueryStatus {
			case cloudtrailtypes.QueryStatusQueued, cloudtrailtypes.QueryStatusRunning:
				time.Sleep(20 * time.Millisecond)
				continue
			case cloudtrailtypes.QueryStatusFinished:
			default:
				t.Fatalf("the query is %s: %s", got.QueryStatus, aws.ToString(got.ErrorMessage))
			}
			rows = got.QueryResultRows
			return len(rows) > 0
		}
	})
	if fmt.Sprint(rows) != "[[map[what:ShipOrder]]]" {
		t.Errorf("rows: %v", rows)
	}
	_, err = client.CancelQuery(ctx, &cloudtrail.CancelQueryInput{QueryId: &query})
	var inactive *cloudtrailtypes.InactiveQueryException
	if !errors.As(err, &inactive) {
		t.Errorf("cancelled after its end: %v", err)
	}
	_, err = client.DeleteChannel(ctx, &cloudtrail.DeleteChannelInput{Channel: channel.ChannelArn})
	if errorCode(err) != "AccessDeniedException" {
		t.Errorf("who may only ask deletes a channel: %v", err)
	}
	for _, c := range []struct {
		name, code string
		want       map[string]any
	}{
		{"CancelQuery", "InactiveQueryException", map[string]any{"userIdentity.type": "AssumedRole", "userIdentity.sessionContext.sourceIdentity": "olga", "requestParameters.queryId": query}},
		{"DeleteChannel", "AccessDenied", map[string]any{"userIdentity.arn": "arn:aws:sts::" + awsAccount + ":assumed-role/Ask/sdk", "requestParameters.channel": *channel.ChannelArn}},
	} {
		has(t, s.recorded(ask, c.name, c.code, func(r map[string]any) bool { return r["errorCode"] == c.code }), c.want)
	}
	pages := cloudtrail.NewLookupEventsPaginator(client, &cloudtrail.LookupEventsInput{MaxResults: aws.Int32(2), LookupAttributes: []cloudtrailtypes.LookupAttribute{
		{AttributeKey: cloudtrailtypes.LookupAttributeKeyUsername, AttributeValue: aws.String("olga")}}})
	n, seen := 0, map[string]bool{}
	for ; pages.HasMorePages(); n++ {
		page, err := pages.NextPage(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			if seen[*e.EventId] || *e.Username != "olga" {
				t.Errorf("event %s of %s comes again, or is of another", *e.EventId, *e.Username)
			}
			seen[*e.EventId] = true
		}
	}
	if n < 2 || len(seen) < 3 { // AssumeRole, CreateEventDataStore, CreateChannel
		t.Errorf("%d pages, %d events", n, len(seen))
	}
	s.end(syscall.SIGTERM, clean)
}

// putAudit sends an event of a system of one's own.
func (s *service) putAudit(k accessKey, channel, event string) (status int, code string) {
	s.d.t.Helper()
	body, err := json.Marshal(map[string]any{"auditEvents": []map[string]string{{"id": "x", "eventData": event}}})
	if err != nil {
		s.d.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(s.d.t.Context(), "POST", s.aws+"/PutAuditEvents?channelArn="+strings.ReplaceAll(channel, ":", "%3A"), strings.NewReader(string(body)))
	if err != nil {
		s.d.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if err := v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret}, req, digest(string(body)), "cloudtrail-data", awsRegion, time.Now()); err != nil {
		s.d.t.Fatal(err)
	}
	return s.answer(req)
}

// TestAWSJavaScript is the same with AWS's SDK for JavaScript, which speaks other variants of the protocols: short targets, CBOR.
func TestAWSJavaScript(t *testing.T) {
	t.Parallel()
	modules := filepath.Join(checkout, "out", "awsjs", "node_modules") // by make awsjs
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(modules); err != nil || missing != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("AWS's SDK for JavaScript is not installed: run make awsjs, which needs node and npm")
		}
		t.Skip("AWS's SDK for JavaScript is not installed: make awsjs installs it, where node and npm are")
	}
	d := newDesk(t)
	d.write("spoor.yaml", []byte("organization:\n  id: o-abcdefghij\n  root: r-abcd\n  management: '"+awsAccount+"'\n  accounts: [{id: '"+awsAccount+"', name: Main, email: main@example.com}]\n"))
	s := d.serveAWS("--config", "spoor.yaml", "--set", "aws.lookup_extended=true")
	d.user("olga", "admin")
	olga := d.accessKey("olga")
	d.spoor("iam", "role", "create", "Ask", "--role", "analyst", "--trust", "olga").exits(clean)
	if err := os.Symlink(modules, d.path("node_modules")); err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile(filepath.Join(checkout, "test", "story", "awsjs", "story.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	d.write("story.mjs", script)
	cmd := exec.CommandContext(t.Context(), node, "story.mjs")
	cmd.Dir, cmd.Env = d.dir, append(d.awsEnv(s, olga), "AWS_REGION="+awsRegion, "NODE_NO_WARNINGS=1")
	text, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	var told struct {
		Session, Query, Channel string
		Steps                   []string
	}
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want := []string{"arn:aws:iam::" + awsAccount + ":user/olga", "arn:aws:sts::" + awsAccount + ":assumed-role/Ask/js", "o-abcdefghij", "olga", "PlaceOrder", "AccessDeniedException", "InactiveQueryException",
		"InvalidLookupAttributesException is not", "InvalidAction", "2 pages or more"} // the code of the query protocol, which its client of CloudWatch prefers
	if !slices.Equal(told.Steps, want) {
		t.Errorf("got  %q\nwant %q", told.Steps, want)
	}
	has(t, s.recorded(olga, "GetCallerIdentity", "of the session", func(r map[string]any) bool { return at(r, "userIdentity.accessKeyId") == told.Session }), map[string]any{"userIdentity.type": "AssumedRole"})
	has(t, s.recorded(olga, "StartQuery", "by JavaScript", func(r map[string]any) bool { return at(r, "responseElements.queryId") == told.Query }), map[string]any{"userIdentity.arn": want[1]})
	rec := s.recorded(olga, "CreateChannel", "by JavaScript", func(r map[string]any) bool { return at(r, "responseElements.channelArn") == told.Channel })
	if agent := fmt.Sprint(rec["userAgent"]); !strings.HasPrefix(agent, "aws-sdk-js/3.") {
		t.Errorf("the user agent is %s", agent)
	}
	has(t, s.recorded(olga, "ListMetrics", "which is not served", nil), map[string]any{"errorCode": "UnknownOperationException", "eventSource": "monitoring.amazonaws.com", "userIdentity.userName": "olga"})
	s.end(syscall.SIGTERM, clean)
}

// TestAWSKilled kills the service while clients call. Every call that was answered is recorded, and what it changed is there.
func TestAWSKilled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	s := d.serveAWS()
	root := d.accessKey("root")
	var mu sync.Mutex
	answered := map[string]string{} // request ids with what was called
	users := map[string]bool{}
	next := 0
	for round := range 3 {
		begun := make(chan struct{}, 1000)
		var clients sync.WaitGroup
		for c := range 4 {
			clients.Go(func() {
				for {
					mu.Lock()
					next++
					n := next
					mu.Unlock()
					form, user := "Action=GetCallerIdentity&Version=2011-06-15", ""
					service := "sts"
					if c == 0 {
						user = fmt.Sprintf("user-%d", n)
						form, service = "Action=CreateUser&Version=2010-05-08&UserName="+user, "iam"
					}
					resp, err := http.DefaultClient.Do(s.signed(root, time.Now(), service, "", form))
					if err != nil {
						return // it was killed
					}
					id := resp.Header.Get("X-Amzn-Requestid")
					if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
						if resp.StatusCode != http.StatusOK {
							t.Errorf("%s: %d", form, resp.StatusCode)
						}
						return
					}
					mu.Lock()
					answered[id] = form
					if user != "" {
						users[user] = true
					}
					mu.Unlock()
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		for range 50 * (round + 1) {
			<-begun
		}
		s.end(syscall.SIGKILL, -1)
		clients.Wait()
		s = s.again()
	}
	s.eventually("every call that was answered is recorded", func() bool {
		found := map[string]bool{}
		for line := range strings.Lines(d.spoor("query", "SELECT requestID FROM events WHERE eventName IN ('GetCallerIdentity', 'CreateUser') AND eventSource <> 'spoor.amazonaws.com'", "--format", "csv").exits(clean).out) {
			found[strings.TrimSpace(line)] = true
		}
		for id := range answered {
			if !found[id] {
				return false
			}
		}
		return true
	})
	list := d.spoor("iam", "user", "list", "--json").exits(clean).out
	for name := range users {
		if !strings.Contains(list, `"`+name+`"`) {
			t.Errorf("user %s was answered for, and is not there", name)
		}
	}
	s.end(syscall.SIGTERM, clean)
}
