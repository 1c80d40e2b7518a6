package cloudtrail_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	client "github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"spoor/internal/awsapi/awsapitest"
	"spoor/internal/awsapi/cloudtrail"
	"spoor/internal/event"
	"spoor/internal/iam"
	"spoor/internal/lakequery"
	"spoor/internal/match"
)

// record is an event: its category, and members as JSON.
func record(category, members string) string {
	return `{"eventVersion":"1.11","eventID":"x","eventTime":"2026-01-10T09:00:00Z","eventCategory":"` + category + `",` + members + `}`
}

func object(arn, more string) string {
	return record("Data", `"eventSource":"s3.amazonaws.com","eventName":"GetObject","readOnly":true,"resources":[{"type":"AWS::S3::Object","ARN":"`+arn+`"},{"type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::b"}]`+more)
}

func call(source, name string, readOnly bool) string {
	return record("Management", fmt.Sprintf(`"eventSource":%q,"eventName":%q,"readOnly":%t`, source, name, readOnly))
}

func denied(source, endpoint string) string {
	return record("NetworkActivity", fmt.Sprintf(`"eventSource":%q,"eventName":"Decrypt","errorCode":"VpceAccessDenied","vpcEndpointId":%q`, source, endpoint))
}

// TestSelectorsTable puts selectors through PutEventSelectors, reads them back, and looks at what deliveries take by them: every
// operator, field and category, with the examples that AWS documents.
func TestSelectorsTable(t *testing.T) {
	t.Parallel()
	r, ctx := newTrailRig(t), t.Context()
	c := r.in(r.User(t, "ann", iam.RoleAdmin), awsapitest.Region)
	name := aws.String("audit")
	want(t, errOf(c.CreateTrail(ctx, &client.CreateTrailInput{Name: name, S3BucketName: aws.String(bucketName)})), "")
	const fn, table = "arn:aws:lambda:eu-west-1:111122223333:function:helloworld", "arn:aws:dynamodb:eu-west-1:111122223333:table/t"
	lambda := func(arn string) string {
		return record("Data", `"eventSource":"lambda.amazonaws.com","eventName":"Invoke","readOnly":false,"resources":[{"type":"AWS::Lambda::Function","ARN":"`+arn+`"}]`)
	}
	stream := record("Data", `"eventSource":"dynamodb.amazonaws.com","eventName":"GetRecords","readOnly":true,"resources":[{"type":"AWS::DynamoDB::Table","ARN":"`+table+`"},{"type":"AWS::DynamoDB::Stream","ARN":"`+table+`/stream/1"}]`)
	data := `{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3::Object"]}`
	network := `{"Field":"eventCategory","Equals":["NetworkActivity"]},{"Field":"eventSource","Equals":["kms.amazonaws.com"]}`
	kms, run := call("kms.amazonaws.com", "Decrypt", true), call("ec2.amazonaws.com", "RunInstances", false)
	for i, x := range []struct {
		basic, advanced string // JSON
		takes, leaves   []string
	}{
		// Basic selectors.
		{basic: `{}`, takes: []string{kms, run}, leaves: []string{object("arn:aws:s3:::b/k", ""), denied("kms.amazonaws.com", "vpce-1")}},
		{basic: `{"ReadWriteType":"ReadOnly"}`, takes: []string{kms}, leaves: []string{run}},
		{basic: `{"ReadWriteType":"WriteOnly"}`, takes: []string{run}, leaves: []string{kms}},
		{basic: `{"ExcludeManagementEventSources":["kms.amazonaws.com","rdsdata.amazonaws.com"]}`, takes: []string{run}, leaves: []string{kms, call("rdsdata.amazonaws.com", "ExecuteStatement", false)}},
		{basic: `{"IncludeManagementEvents":false,"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3"]}]}`, takes: []string{object("arn:aws:s3:::any/k", "")}, leaves: []string{run, lambda(fn)}},
		{basic: `{"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::"]}]}`, takes: []string{object("arn:aws:s3:::any/k", ""), run}},
		{basic: `{"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::b/"]}]}`, takes: []string{object("arn:aws:s3:::b/k", "")}, leaves: []string{object("arn:aws:s3:::bb/k", "")}},
		{basic: `{"DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::b/pre"]}]}`, takes: []string{object("arn:aws:s3:::b/prefix", "")}, leaves: []string{object("arn:aws:s3:::b/k", "")}},
		{basic: `{"ReadWriteType":"WriteOnly","DataResources":[{"Type":"AWS::S3::Object","Values":["arn:aws:s3:::b/"]}]}`, leaves: []string{object("arn:aws:s3:::b/k", "")}},
		{basic: `{"DataResources":[{"Type":"AWS::Lambda::Function","Values":["` + fn + `"]}]}`, takes: []string{lambda(fn)}, leaves: []string{lambda(fn + "2")}},
		{basic: `{"DataResources":[{"Type":"AWS::Lambda::Function","Values":["arn:aws:lambda"]}]}`, takes: []string{lambda(fn), lambda(fn + "2")}},
		{basic: `{"DataResources":[{"Type":"AWS::DynamoDB::Table","Values":["` + table + `"]}]}`, takes: []string{stream}},
		{basic: `{"DataResources":[{"Type":"AWS::DynamoDB::Table","Values":["arn:aws:dynamodb"]}]}`, takes: []string{stream}},
		// The three selectors of the documentation's example.
		{advanced: `{"Name":"mgmt without kms","FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"eventSource","NotEquals":["kms.amazonaws.com","rdsdata.amazonaws.com"]}]},
			{"Name":"s3 writes, one bucket less","FieldSelectors":[` + data + `,{"Field":"readOnly","Equals":["false"]},{"Field":"resources.ARN","NotStartsWith":["arn:aws:s3:::trail-bucket/"]}]},
			{"Name":"denied by endpoint policy","FieldSelectors":[` + network + `,{"Field":"errorCode","Equals":["VpceAccessDenied"]}]}`,
			takes:  []string{run, strings.Replace(object("arn:aws:s3:::b/k", ""), `"readOnly":true`, `"readOnly":false`, 1), denied("kms.amazonaws.com", "vpce-1")},
			leaves: []string{kms, object("arn:aws:s3:::b/k", ""), strings.Replace(object("arn:aws:s3:::trail-bucket/k", ""), `"readOnly":true`, `"readOnly":false`, 1), denied("s3.amazonaws.com", "vpce-1")}},
		// The worked example of operators that are mixed.
		{advanced: `{"FieldSelectors":[` + data + `,{"Field":"resources.ARN","Equals":["arn:aws:s3:::b/object1"],"StartsWith":["arn:aws:s3:::b/"],"EndsWith":["object3"],
			"NotStartsWith":["arn:aws:s3:::b/deselect"],"NotEndsWith":["object5"],"NotEquals":["arn:aws:s3:::b/object6"]}]}`,
			takes:  []string{object("arn:aws:s3:::b/object1", ""), object("arn:aws:s3:::b/object2", ""), object("arn:aws:s3:::other/object3", "")},
			leaves: []string{object("arn:aws:s3:::b/deselectObject4", ""), object("arn:aws:s3:::b/object5", ""), object("arn:aws:s3:::b/object6", ""), object("arn:aws:s3:::other/object2", "")}},
		// Fields of data events, with every operator.
		{advanced: `{"FieldSelectors":[` + data + `,{"Field":"eventName","StartsWith":["Get"],"NotEndsWith":["Acl"]}]}`, takes: []string{object("arn:aws:s3:::b/k", "")},
			leaves: []string{strings.Replace(object("arn:aws:s3:::b/k", ""), "GetObject", "GetObjectAcl", 1), strings.Replace(object("arn:aws:s3:::b/k", ""), "GetObject", "PutObject", 1)}},
		{advanced: `{"FieldSelectors":[` + data + `,{"Field":"eventSource","EndsWith":["3.amazonaws.com"]},{"Field":"eventType","NotEquals":["AwsServiceEvent"]}]}`,
			takes: []string{object("arn:aws:s3:::b/k", `,"eventType":"AwsApiCall"`)}, leaves: []string{object("arn:aws:s3:::b/k", `,"eventType":"AwsServiceEvent"`)}},
		{advanced: `{"FieldSelectors":[` + data + `,{"Field":"userIdentity.arn","NotStartsWith":["arn:aws:sts::111122223333:assumed-role/backup/"]}]}`,
			takes:  []string{object("arn:aws:s3:::b/k", `,"userIdentity":{"arn":"arn:aws:iam::111122223333:user/ann"}`)},
			leaves: []string{object("arn:aws:s3:::b/k", `,"userIdentity":{"arn":"arn:aws:sts::111122223333:assumed-role/backup/x"}`)}},
		{advanced: `{"FieldSelectors":[` + data + `,{"Field":"sessionCredentialFromConsole","Equals":["true"]}]}`,
			takes: []string{object("arn:aws:s3:::b/k", `,"sessionCredentialFromConsole":"true"`)}, leaves: []string{object("arn:aws:s3:::b/k", "")}},
		{advanced: `{"FieldSelectors":[` + data + `,{"Field":"sessionCredentialFromConsole","NotEquals":["true"]}]}`,
			takes: []string{object("arn:aws:s3:::b/k", "")}, leaves: []string{object("arn:aws:s3:::b/k", `,"sessionCredentialFromConsole":"true"`)}},
		{advanced: `{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["true","false"]}]}`, takes: []string{kms, run}},
		{advanced: `{"FieldSelectors":[{"Field":"eventCategory","Equals":["Management"]},{"Field":"readOnly","Equals":["true"]}]}`, takes: []string{kms}, leaves: []string{run}},
		{advanced: `{"FieldSelectors":[{"Field":"eventCategory","Equals":["Data"]},{"Field":"resources.type","Equals":["AWS::S3Tables::Table"]}]}`, leaves: []string{object("arn:aws:s3:::b/k", "")},
			takes: []string{record("Data", `"eventSource":"s3tables.amazonaws.com","eventName":"GetTableData","resources":[{"type":"AWS::S3Tables::Table","ARN":"arn:aws:s3tables:eu-west-1:111122223333:bucket/b"}]`)}},
		// A * is no wildcard.
		{advanced: `{"FieldSelectors":[` + data + `,{"Field":"resources.ARN","Equals":["arn:aws:s3:::b/*"]}]}`, takes: []string{object("arn:aws:s3:::b/*", "")}, leaves: []string{object("arn:aws:s3:::b/k", "")}},
		// Network activity.
		{advanced: `{"FieldSelectors":[` + network + `,{"Field":"vpcEndpointId","StartsWith":["vpce-1"]}]}`, takes: []string{denied("kms.amazonaws.com", "vpce-12")}, leaves: []string{denied("kms.amazonaws.com", "vpce-2"), kms}},
		{advanced: `{"FieldSelectors":[` + network + `,{"Field":"eventName","NotEquals":["Decrypt"]}]}`, leaves: []string{denied("kms.amazonaws.com", "vpce-1")}},
	} {
		in := &client.PutEventSelectorsInput{TrailName: name}
		into := func(text string, v any) {
			t.Helper()
			if err := json.Unmarshal([]byte(text), v); err != nil {
				t.Fatalf("case %d: %v", i, err)
			}
		}
		if x.basic != "" {
			into("["+x.basic+"]", &in.EventSelectors)
		} else {
			into("["+x.advanced+"]", &in.AdvancedEventSelectors)
		}
		put, err := c.PutEventSelectors(ctx, in)
		if err != nil {
			t.Errorf("case %d: %v", i, err)
			continue
		}
		got, err := c.GetEventSelectors(ctx, &client.GetEventSelectorsInput{TrailName: name})
		if err != nil || fmt.Sprint(answerOf(t, got.EventSelectors, got.AdvancedEventSelectors)) != fmt.Sprint(answerOf(t, put.EventSelectors, put.AdvancedEventSelectors)) ||
			(got.EventSelectors == nil) == (x.basic != "") || (got.AdvancedEventSelectors == nil) == (x.advanced != "") {
			t.Errorf("case %d: %+v %v", i, got, err)
		}
		ts, _ := r.book.Deliverable()
		set, err := ts[0].Compile(ts[0].Epochs[len(ts[0].Epochs)-1].Settings)
		if err != nil {
			t.Fatalf("case %d: %v", i, err)
		}
		for k, records := range [][]string{x.leaves, x.takes} {
			for _, text := range records {
				e, err := event.Parse([]byte(text))
				if err != nil {
					t.Fatal(err)
				}
				var m match.Context
				if m.Reset(e); m.Match(set.Match()) != (k == 1) {
					t.Errorf("case %d: taken is %t: %s", i, k == 0, text)
				}
			}
		}
	}
	// What is refused leaves those in force.
	before, err := c.GetEventSelectors(ctx, &client.GetEventSelectorsInput{TrailName: name})
	if err != nil {
		t.Fatal(err)
	}
	field := func(field string, f ...func(*types.AdvancedFieldSelector)) types.AdvancedFieldSelector {
		out := types.AdvancedFieldSelector{Field: &field}
		for _, f := range f {
			f(&out)
		}
		return out
	}
	eq := func(v ...string) func(*types.AdvancedFieldSelector) {
		return func(f *types.AdvancedFieldSelector) { f.Equals = v }
	}
	ne := func(v ...string) func(*types.AdvancedFieldSelector) {
		return func(f *types.AdvancedFieldSelector) { f.NotEquals = v }
	}
	many := make([]string, 501)
	for i := range many {
		many[i] = fmt.Sprintf("arn:aws:s3:::b/%d", i)
	}
	management, ofData, s3 := field("eventCategory", eq("Management")), field("eventCategory", eq("Data")), field("resources.type", eq("AWS::S3::Object"))
	for i, x := range [][]types.AdvancedFieldSelector{
		{field("readOnly", eq("true"))},
		{field("eventCategory", ne("Data"))},
		{field("eventCategory", eq("Management", "Data"))},
		{field("eventCategory", eq("ActivityAuditLog"))},
		{field("eventCategory")},
		{management, field("eventName", eq("x"))},
		{management, field("eventSource", eq("kms.amazonaws.com"))},
		{management, field("eventSource", ne("s3.amazonaws.com"))},
		{management, field("readOnly", ne("true"))},
		{management, management},
		{management, field("userIdentity.arn", eq("x"))},
		{ofData},
		{ofData, field("resources.type", eq("AWS::S3::Object", "AWS::Lambda::Function"))},
		{ofData, field("resources.type", eq("S3"))},
		{ofData, s3, field("errorCode", eq("VpceAccessDenied"))},
		{ofData, s3, field("nothing", eq("x"))},
		{ofData, s3, field("resources.ARN", eq(many...))},
		{ofData, s3, field("resources.ARN", eq(""))},
		{field("eventCategory", eq("NetworkActivity"))},
		{field("eventCategory", eq("NetworkActivity")), field("eventSource", eq("kms.amazonaws.com", "s3.amazonaws.com"))},
		{field("eventCategory", eq("NetworkActivity")), field("eventSource", eq("kms.amazonaws.com")), field("errorCode", eq("AccessDenied"))},
	} {
		_, err := c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: name, AdvancedEventSelectors: []types.AdvancedEventSelector{{FieldSelectors: x}}})
		if code, message := awsapitest.Code(err); code != "InvalidEventSelectorsException" || message == "" {
			t.Errorf("case %d: %s: %s", i, code, message)
		}
	}
	values := make([]string, 251)
	for i := range values {
		values[i] = fmt.Sprintf("arn:aws:s3:::b/%d", i)
	}
	resource := func(kind string, v ...string) types.EventSelector {
		return types.EventSelector{DataResources: []types.DataResource{{Type: &kind, Values: v}}}
	}
	for i, x := range []types.EventSelector{
		resource("AWS::SNS::Topic", "arn:aws:sns"), resource("AWS::S3::Object", values...), resource("AWS::S3::Object", "bucket"), resource("AWS::S3::Object"),
		{ExcludeManagementEventSources: []string{"s3.amazonaws.com"}}, {IncludeManagementEvents: aws.Bool(false), ExcludeManagementEventSources: []string{"kms.amazonaws.com"}},
	} {
		_, err := c.PutEventSelectors(ctx, &client.PutEventSelectorsInput{TrailName: name, EventSelectors: []types.EventSelector{x}})
		if code, message := awsapitest.Code(err); code != "InvalidEventSelectorsException" || message == "" {
			t.Errorf("basic case %d: %s: %s", i, code, message)
		}
	}
	after, err := c.GetEventSelectors(ctx, &client.GetEventSelectorsInput{TrailName: name})
	if err != nil || answerOf(t, after.AdvancedEventSelectors) != answerOf(t, before.AdvancedEventSelectors) {
		t.Errorf("%+v %v", after, err)
	}
}

func answerOf(t *testing.T, v ...any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// asked are queries that were asked for, and answer nothing.
type asked struct {
	cloudtrail.Queries
	specs  []lakequery.Spec
	stores map[string][]string // of queries, by owner and id
}

func (a *asked) Start(_ context.Context, s lakequery.Spec) (lakequery.Query, error) {
	a.specs = append(a.specs, s)
	return lakequery.Query{ID: "q-1", Owner: s.Owner}, nil
}

func (a *asked) Stores(o lakequery.Owner, id string) []string { return a.stores[o.Account+" "+id] }

func (a *asked) Describe(_ context.Context, o lakequery.Owner, id string) (lakequery.Query, error) {
	return lakequery.Query{ID: id, Owner: o, Stores: a.Stores(o, id), Status: lakequery.Finished}, nil
}

// TestQueriesOfOthers: the policy of an event data store lets another account query it, and nothing else of that account.
func TestQueriesOfOthers(t *testing.T) {
	t.Parallel()
	q := &asked{stores: map[string][]string{}}
	r, ctx := newTrailRig(t, func(o *cloudtrail.Options) { o.Queries = q }), t.Context()
	key := r.User(t, "ann", iam.RoleAdmin)
	c, far := r.in(key, awsapitest.Region), r.in(r.member(t, key, iam.RoleAdmin), awsapitest.Region)
	var arns, ids []string
	for _, name := range []string{"shared", "private"} {
		s, err := c.CreateEventDataStore(ctx, &client.CreateEventDataStoreInput{Name: &name})
		if err != nil {
			t.Fatal(err)
		}
		arns = append(arns, *s.EventDataStoreArn)
		ids = append(ids, (*s.EventDataStoreArn)[strings.LastIndexByte(*s.EventDataStoreArn, '/')+1:])
	}
	q.stores[awsapitest.Account+" 11111111-2222-4333-8444-555555555555"] = ids[:1]
	q.stores[awsapitest.Account+" 21111111-2222-4333-8444-555555555555"] = ids
	owner := aws.String(awsapitest.Account)
	start := func(c *client.Client, owner *string, from ...string) error {
		return errOf(c.StartQuery(ctx, &client.StartQueryInput{QueryStatement: aws.String("SELECT eventName FROM " + strings.Join(from, ", ")), EventDataStoreOwnerAccountId: owner}))
	}
	describe := func(id string) error {
		return errOf(far.DescribeQuery(ctx, &client.DescribeQueryInput{QueryId: aws.String(id + "1111111-2222-4333-8444-555555555555"), EventDataStoreOwnerAccountId: owner}))
	}
	want(t, start(c, nil, ids[0]), "")
	want(t, start(far, owner, ids[0]), "AccessDeniedException")
	allow := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":["cloudtrail:StartQuery","cloudtrail:DescribeQuery"],"Resource":"` + arns[0] + `"}]}`
	want(t, errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: &arns[0], ResourcePolicy: &allow})), "")
	want(t, start(far, owner, ids[0]), "")
	if s := q.specs[len(q.specs)-1]; s.Owner.Account != awsapitest.Account || len(q.specs) != 2 {
		t.Errorf("%+v", q.specs)
	}
	want(t, start(far, owner, ids[0], ids[1]), "AccessDeniedException")
	want(t, start(far, owner, strings.ToUpper(ids[0])), "")
	want(t, describe("1"), "")
	want(t, describe("2"), "AccessDeniedException")
	want(t, describe("3"), "OperationNotPermittedException")
	want(t, errOf(far.StartQuery(ctx, &client.StartQueryInput{QueryAlias: aws.String("top"), EventDataStoreOwnerAccountId: owner})), "OperationNotPermittedException")
	want(t, errOf(far.DescribeQuery(ctx, &client.DescribeQueryInput{QueryAlias: aws.String("top"), EventDataStoreOwnerAccountId: owner})), "OperationNotPermittedException")
	want(t, errOf(far.GetQueryResults(ctx, &client.GetQueryResultsInput{QueryId: aws.String("11111111-2222-4333-8444-555555555555"), EventDataStoreOwnerAccountId: owner})), "AccessDeniedException")
	// In its own account a policy is enough, and its denial too.
	bob := r.in(r.User(t, "bob", iam.RoleRecorder), awsapitest.Region)
	want(t, start(bob, nil, ids[0]), "AccessDeniedException")
	policy := strings.Replace(allow, "arn:aws:iam::444455556666:root", "arn:aws:iam::111122223333:user/bob", 1)
	want(t, errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: &arns[0], ResourcePolicy: &policy})), "")
	want(t, start(bob, nil, ids[0]), "")
	policy = strings.Replace(strings.Replace(allow, `"arn:aws:iam::444455556666:root"`, `"*"`, 1), "Allow", "Deny", 1)
	want(t, errOf(c.PutResourcePolicy(ctx, &client.PutResourcePolicyInput{ResourceArn: &arns[0], ResourcePolicy: &policy})), "")
	want(t, start(c, nil, strings.ToUpper(ids[0])), "AccessDeniedException")
}
