package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/smithy-go"
)

// planned runs trail create and decodes what it says.
func (f *fakeAWS) planned(t *testing.T, want int, args ...string) planResult {
	t.Helper()
	code, out, errs := f.spoor(t, append([]string{"trail", "create", "--json"}, args...)...)
	if code != want {
		t.Fatalf("%q ends with %d, want %d\n%s%s", args, code, want, out, errs)
	}
	var r planResult
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return r
}

// with gives the steps of a status.
func (r planResult) with(status string) []string {
	var out []string
	for _, s := range r.Steps {
		if s.Status == status {
			out = append(out, s.Step)
		}
	}
	return out
}

func TestTrailBestPractice(t *testing.T) {
	f := newFakeAWS(t)
	dry := f.planned(t, ExitFindings, "--best-practice", "audit", "--dry-run")
	if len(f.writes) > 0 || dry.Verified || dry.Key != "" {
		t.Fatalf("a dry run changed %q, and says %+v", f.writes, dry)
	}
	made := f.planned(t, ExitClean, "--best-practice", "audit")
	if !made.Verified || len(made.with(stepFailed)) > 0 || made.Bucket != "audit-"+fakeAccount+"-"+fakeRegion || made.Key != f.keyARN("00000000-0000-4000-8000-000000000001") {
		t.Errorf("%+v", made)
	}
	want := []string{"CreateKey", "CreateAlias", "EnableKeyRotation", "CreateBucket", "PutPublicAccessBlock", "PutBucketEncryption", "PutBucketPolicy", "PutObjectLockConfiguration",
		"CreateBucket", "PutPublicAccessBlock", "PutBucketVersioning", "PutBucketEncryption", "PutBucketPolicy", "PutBucketLogging", "CreateTrail", "StartLogging",
		"CreateLogGroup", "CreateRole", "PutRolePolicy", "UpdateTrail"}
	if !slices.Equal(f.writes, want) {
		t.Errorf("it did\n%q, want\n%q", f.writes, want)
	}
	// The dry run had said so.
	said := func(r planResult) (out []string) {
		for _, s := range r.Steps {
			out = append(out, s.Commands...)
		}
		return out
	}
	first := strings.Join(said(dry), "\n")
	first = strings.ReplaceAll(strings.ReplaceAll(first, `"$KEY"`, "''"+made.Key+"''"), "''", "")
	first = strings.ReplaceAll(strings.Replace(first, `KEY="$(`, "", 1), ` --query KeyMetadata.Arn --output text)"`, "")
	if got := strings.ReplaceAll(strings.Join(said(made), "\n"), "''", ""); strings.ReplaceAll(got, "'", "") != strings.ReplaceAll(first, "'", "") {
		t.Errorf("it did\n%s\nhaving said\n%s", got, first)
	}

	f.writes = nil
	again := f.planned(t, ExitClean, "--best-practice", "audit")
	if len(f.writes) > 0 || !again.Verified || len(again.with(stepChanged)) > 0 || len(again.with(stepOK)) == 0 {
		t.Errorf("the second run did %q: %+v", f.writes, again)
	}
	f.planned(t, ExitClean, "--best-practice", "audit", "--dry-run")

	// What was changed since is put right, and nothing else.
	f.trails["audit"]["LogFileValidationEnabled"], f.trails["audit"]["logging"] = false, false
	f.buckets[made.Bucket]["versioning"] = "<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"
	repaired := f.planned(t, ExitClean, "--best-practice", "audit")
	if got, want := repaired.with(stepChanged), []string{"log bucket: versioning", "trail", "trail: logging"}; !slices.Equal(got, want) || !repaired.Verified {
		t.Errorf("changed %q, want %q", got, want)
	}
	if got := f.trails["audit"]; got["LogFileValidationEnabled"] != true || got["S3BucketName"] != made.Bucket {
		t.Errorf("%v", got)
	}
}

// TestTrailInterrupted fails at each write in turn. The next run finishes, with one key.
func TestTrailInterrupted(t *testing.T) {
	f := newFakeAWS(t)
	for n := 1; ; n++ {
		*f = fakeAWS{Server: f.Server, buckets: map[string]map[string]string{}, keys: map[string]map[string]any{}, aliases: map[string]string{}, trails: map[string]map[string]any{}, groups: map[string]bool{},
			roles: map[string]string{}, rolePol: map[string]map[string]string{}, fail: map[string]string{}, failFrom: n}
		code, out, errs := f.spoor(t, "trail", "create", "--best-practice", "audit", "--json")
		if code == ExitClean {
			if n < 15 {
				t.Errorf("only %d writes", n)
			}
			break
		}
		var r planResult
		if err := json.Unmarshal([]byte(out), &r); err != nil || code != ExitFailure || r.Verified || len(r.with(stepFailed)) != 1 || !strings.Contains(errs, "ExpiredToken") || !strings.Contains(errs, "the same command goes on") {
			t.Fatalf("write %d: %d %v\n%s%s", n, code, err, out, errs)
		}
		f.failFrom = 0
		if r := f.planned(t, ExitClean, "--best-practice", "audit"); !r.Verified || len(f.keys) != 1 || len(f.buckets) != 2 {
			t.Fatalf("after write %d failed: %d keys, %d buckets, %+v", n, len(f.keys), len(f.buckets), r)
		}
		if r := f.planned(t, ExitClean, "--best-practice", "audit"); len(r.with(stepChanged)) > 0 {
			t.Errorf("after write %d failed, a third run changes %q", n, r.with(stepChanged))
		}
	}
}

// TestTrailLeaves: what is stricter, or somebody else's, stays.
func TestTrailLeaves(t *testing.T) {
	f := newFakeAWS(t)
	const bucket = "my-logs"
	const theirs = `{"Sid":"Theirs","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::444455556666:root"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::my-logs/*"}`
	f.buckets[bucket] = map[string]string{
		"versioning":  "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
		"object-lock": "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled><Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Years>7</Years></DefaultRetention></Rule></ObjectLockConfiguration>",
		"policy":      `{"Version":"2012-10-17","Statement":` + theirs + `}`,
		"logging":     "<BucketLoggingStatus><LoggingEnabled><TargetBucket>central</TargetBucket><TargetPrefix>x/</TargetPrefix></LoggingEnabled></BucketLoggingStatus>",
	}
	f.trails["audit"] = map[string]any{"Name": "audit", "TrailARN": "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit", "S3BucketName": bucket, "S3KeyPrefix": "all", "IsMultiRegionTrail": true,
		"CloudWatchLogsLogGroupArn": "arn:aws:logs:eu-west-1:111122223333:log-group:old:*",
		"EventSelectors": []any{map[string]any{"ReadWriteType": "WriteOnly", "IncludeManagementEvents": true, "ExcludeManagementEventSources": []any{"kms.amazonaws.com"},
			"DataResources": []any{map[string]any{"Type": "AWS::S3::Object", "Values": []any{"arn:aws:s3:::mine/"}}, map[string]any{"Type": "AWS::Lambda::Function", "Values": []any{"arn:aws:lambda"}}}}}}
	r := f.planned(t, ExitClean, "--best-practice", "audit", "--data-events", "lambda")
	if len(f.buckets) != 1 || r.Bucket != bucket || !r.Verified {
		t.Errorf("%d buckets, %+v", len(f.buckets), r)
	}
	for _, s := range []string{"log bucket: object lock, governance, 365 days", "log bucket: access log", "trail: log group", "log bucket: versioning"} {
		if !slices.Contains(r.with(stepOK), s) {
			t.Errorf("%s was not left: %q", s, r.with(stepChanged))
		}
	}
	policy := f.buckets[bucket]["policy"]
	if !strings.Contains(policy, theirs) || !strings.Contains(policy, `"arn:aws:s3:::my-logs/all/AWSLogs/111122223333/*"`) || strings.Contains(policy, "SecureTransport") {
		t.Errorf("the policy is %s", policy)
	}
	got, err := json.Marshal(f.trails["audit"]["AdvancedEventSelectors"])
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"FieldSelectors":[{"Equals":["Management"],"Field":"eventCategory"},{"Field":"eventSource","NotEquals":["kms.amazonaws.com"]},{"Equals":["false"],"Field":"readOnly"}]},` +
		`{"FieldSelectors":[{"Equals":["Data"],"Field":"eventCategory"},{"Equals":["AWS::S3::Object"],"Field":"resources.type"},{"Field":"resources.ARN","StartsWith":["arn:aws:s3:::mine/"]},{"Equals":["false"],"Field":"readOnly"}]},` +
		`{"FieldSelectors":[{"Equals":["Data"],"Field":"eventCategory"},{"Equals":["AWS::Lambda::Function"],"Field":"resources.type"},{"Equals":["false"],"Field":"readOnly"}]},` +
		`{"FieldSelectors":[{"Equals":["Management"],"Field":"eventCategory"}],"Name":"Management events"},` +
		`{"FieldSelectors":[{"Equals":["Data"],"Field":"eventCategory"},{"Equals":["AWS::Lambda::Function"],"Field":"resources.type"}],"Name":"Data events of AWS::Lambda::Function"}]`
	if string(got) != want {
		t.Errorf("the selectors are\n%s\nwant\n%s", got, want)
	}
	f.planned(t, ExitClean, "--best-practice", "audit", "--data-events", "lambda", "--dry-run")
	// A longer lock is what is asked for now.
	r = f.planned(t, ExitClean, "--best-practice", "audit", "--data-events", "lambda", "--retain", "3000")
	if text := f.buckets[bucket]["object-lock"]; !strings.Contains(text, "COMPLIANCE") || !strings.Contains(text, "<Days>3000</Days>") {
		t.Errorf("the lock is %s: %+v", text, r)
	}
}

// TestTrailSkips is an endpoint that has not everything.
func TestTrailSkips(t *testing.T) {
	for name, c := range map[string]struct {
		fail    map[string]string
		code    int
		skipped []string
	}{
		"TLS alone": {nil, ExitClean, nil},
		"no access log, no log groups": {map[string]string{"GetBucketLogging": "NotImplemented", "DescribeLogGroups": "UnknownOperationException"}, ExitClean,
			[]string{"access log bucket", "access log bucket: no public access", "access log bucket: owned by the account, without ACLs", "access log bucket: versioning", "access log bucket: encryption",
				"access log bucket: policy", "access log bucket: TLS alone", "log bucket: access log", "log group", "log group: role that writes to it", "log group: what that role may", "trail: log group"}},
		"no delivery to log groups": {map[string]string{"UpdateTrail": "CloudWatchLogsDeliveryUnavailableException"}, ExitClean, []string{"access log bucket: TLS alone", "trail: log group"}},
		"no access log to be set":   {map[string]string{"PutBucketLogging": "NotImplemented"}, ExitClean, []string{"access log bucket: TLS alone", "log bucket: access log"}},
		"no lock":                   {map[string]string{"PutObjectLockConfiguration": "NotImplemented"}, ExitIncomplete, []string{"access log bucket: TLS alone", "log bucket: object lock, governance, 365 days"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeAWS(t)
			for operation, code := range c.fail {
				f.fail[operation] = code
			}
			r := f.planned(t, c.code, "--best-practice", "audit")
			want := append([]string{"log bucket: TLS alone"}, c.skipped...)
			if c.skipped == nil {
				want = append(want, "access log bucket: TLS alone")
			}
			got := r.with(stepSkipped)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || !r.Verified {
				t.Errorf("skipped %q, want %q", got, want)
			}
			for _, s := range r.Steps {
				if s.Status == stepSkipped && (s.Reason == "" || len(s.Commands) > 0) {
					t.Errorf("%+v", s)
				}
			}
			for _, o := range []string{"GetBucketLogging"} {
				if c.fail[o] != "" && len(f.buckets) != 1 {
					t.Errorf("a bucket was made for no access log: %d", len(f.buckets))
				}
			}
		})
	}
}

// TestTrailReadsBack: an endpoint that says yes and does nothing is found out.
func TestTrailReadsBack(t *testing.T) {
	for operation, step := range map[string]string{"PutBucketPolicy": "log bucket: policy", "PutObjectLockConfiguration": "log bucket: object lock, governance, 365 days", "StartLogging": "trail: logging", "EnableKeyRotation": "encryption key: rotation every year"} {
		t.Run(operation, func(t *testing.T) {
			f := newFakeAWS(t)
			f.forget = operation
			r := f.planned(t, ExitIncomplete, "--best-practice", "audit")
			if r.Verified || !slices.Contains(r.Differs, step) {
				t.Errorf("it differs in %q, want %s", r.Differs, step)
			}
			f.planned(t, ExitFindings, "--best-practice", "audit", "--dry-run")
		})
	}
}

func TestTrailOrganization(t *testing.T) {
	f := newFakeAWS(t)
	r := f.planned(t, ExitClean, "--best-practice", "audit", "--organization", "--prefix", "org", "--data-events", "s3,AWS::SQS::Queue", "--expire", "400", "--log-group", "-", "--access-bucket", "-",
		"--reader", "arn:aws:iam::111122223333:role/Audit")
	if policy := f.buckets[r.Bucket]["policy"]; !strings.Contains(policy, `arn:aws:s3:::`+r.Bucket+`/org/AWSLogs/o-exampleorgid/*`) {
		t.Errorf("the policy is %s", policy)
	}
	if got := f.trails["audit"]; got["IsOrganizationTrail"] != true || got["S3KeyPrefix"] != "org" || len(f.groups) > 0 || len(f.buckets) != 1 {
		t.Errorf("%v", got)
	}
	if text := f.buckets[r.Bucket]["lifecycle"]; !strings.Contains(text, "<Days>400</Days>") {
		t.Errorf("the lifecycle is %s", text)
	}
	_, key := f.key("alias/trail/audit")
	if policy := fmt.Sprint(key["policy"]); !strings.Contains(policy, `{"AWS":["arn:aws:iam::111122223333:role/Audit"]}`) {
		t.Errorf("the key's policy is %s", policy)
	}
	selectors, err := json.Marshal(f.trails["audit"]["AdvancedEventSelectors"])
	if err != nil || !strings.Contains(string(selectors), `"NotStartsWith":["arn:aws:s3:::`+r.Bucket+`/"]`) || !strings.Contains(string(selectors), "AWS::SQS::Queue") {
		t.Errorf("the selectors are %s", selectors)
	}
	again := f.planned(t, ExitClean, "--best-practice", "audit", "--prefix", "org", "--log-group", "-", "--access-bucket", "-")
	if len(again.with(stepChanged)) > 0 {
		t.Errorf("fewer flags changed %q", again.with(stepChanged))
	}
}

func TestTrailPlain(t *testing.T) {
	f := newFakeAWS(t)
	r := f.planned(t, ExitClean, "plain", "--bucket", "b-b", "--validation", "--sns-topic-name", "files", "--start=false")
	if got := f.trails["plain"]; !slices.Equal(f.writes, []string{"CreateTrail"}) || got["logging"] == true || got["LogFileValidationEnabled"] != true || got["IsMultiRegionTrail"] == true || !r.Verified {
		t.Errorf("%q %v", f.writes, got)
	}
	r = f.planned(t, ExitClean, "plain", "--bucket", "b-b", "--sns-topic-name", "files")
	if got := r.with(stepChanged); !slices.Equal(got, []string{"trail: logging"}) {
		t.Errorf("changed %q", got)
	}

	code, out, _ := f.spoor(t, "trail", "list")
	if code != ExitClean || !strings.Contains(out, "plain  eu-west-1  no           no            yes         S3          b-b") {
		t.Errorf("%d\n%s", code, out)
	}
	code, out, _ = f.spoor(t, "trail", "status", "plain")
	if code != ExitClean || !strings.Contains(out, "logs            yes\n") || !strings.Contains(out, "log files       never\n") {
		t.Errorf("%d\n%s", code, out)
	}
	f.trails["plain"]["error"] = "AccessDenied"
	code, out, _ = f.spoor(t, "trail", "status", "plain")
	if code != ExitFindings || !strings.Contains(out, "log files       never  last error: AccessDenied\n") {
		t.Errorf("%d\n%s", code, out)
	}
	delete(f.trails["plain"], "error")
	global := " --endpoint-url " + f.URL + " --region " + fakeRegion
	for _, c := range []struct{ args, want string }{
		{"stop plain", "aws cloudtrail stop-logging --name plain" + global + "\n# plain logs no more\n"},
		{"start plain --dry-run", "aws cloudtrail start-logging --name plain" + global + "\n"},
	} {
		code, out, errs := f.spoor(t, append([]string{"trail"}, strings.Fields(c.args)...)...)
		if code != ExitClean || out != c.want {
			t.Errorf("%s: %d %q, want %q\n%s", c.args, code, out, c.want, errs)
		}
	}
	if code, out, _ = f.spoor(t, "trail", "status", "plain", "--json"); code != ExitFindings || !strings.Contains(out, `"logging": false`) {
		t.Errorf("%d\n%s", code, out)
	}
	if code, _, _ = f.spoor(t, "trail", "delete", "plain"); code != ExitClean || len(f.trails) > 0 {
		t.Errorf("%d, %v", code, f.trails)
	}
	code, _, errs := f.spoor(t, "trail", "status", "plain")
	if code != ExitUsage || !strings.Contains(errs, "TrailNotFoundException") {
		t.Errorf("%d %s", code, errs)
	}
	if code, out, _ = f.spoor(t, "trail", "list"); code != ExitClean || out != "There are no trails.\n" {
		t.Errorf("%d %s", code, out)
	}
	for args, want := range map[string]string{
		"create x --bucket b":                               "no name of a trail",
		"create a..b --bucket b":                            "no name of a trail",
		"create audit":                                      "wants --bucket, or --best-practice",
		"create audit --bucket b --retain 5":                "--retain goes with --best-practice",
		"create audit --best-practice --validation":         "--best-practice means",
		"create audit --best-practice --retain 0":           "1 to 36500",
		"create audit --best-practice --expire 3":           "at least as many days as --retain",
		"create audit --best-practice --lock forever":       "governance, compliance or none",
		"create audit --best-practice --data-events floppy": "want s3, lambda",
		"create audit --best-practice --reader ana":         "want the ARN",
		"create":         "wants the name of the trail",
		"status":         "the name or the ARN",
		"start a b":      "the name or the ARN",
		"list something": "takes no argument",
		"frobnicate":     "unknown command",
	} {
		code, _, errs := spoor(t, "", append([]string{"trail"}, strings.Fields(args)...)...)
		if code != ExitUsage || !strings.Contains(errs, want) {
			t.Errorf("%s: %d %s, want %q", args, code, errs, want)
		}
	}
}

// TestTrailWaits: what was made a moment ago is not known everywhere at once.
func TestTrailWaits(t *testing.T) {
	refusal := &smithy.GenericAPIError{Code: "InsufficientEncryptionPolicyException"}
	for _, c := range []struct {
		changed         bool
		refusals, calls int
		fails           bool
	}{{true, 2, 3, false}, {true, 100, 5, true}, {false, 1, 1, true}} {
		waits, calls := 0, 0
		p := &trailPlan{changed: c.changed, pause: func(context.Context, time.Duration) error { waits++; return nil }}
		err := p.send(t.Context(), awsCall{send: func(context.Context) error {
			if calls++; calls <= c.refusals {
				return refusal
			}
			return nil
		}})
		if calls != c.calls || waits != calls-1 || c.fails != errors.Is(err, refusal) {
			t.Errorf("%+v: %d calls, %d waits, %v", c, calls, waits, err)
		}
	}
}

// argv runs a line in a shell with a stand-in for the AWS CLI, and gives the arguments that it got.
func argv(t *testing.T, line string) []string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte("#!/bin/sh\nprintf '%s\\0' \"$@\"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
}

func TestTrailCommand(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no shell")
	}
	nasty := "it's \"$HOME\" `id` $(id) \\ ! *?[a]{b,c} ~ #x;&|<>(1)\ttab\nline ä"
	client := cloudtrail.NewFromConfig(aws.Config{})
	selectors := []cttypes.AdvancedEventSelector{{Name: &nasty, FieldSelectors: []cttypes.AdvancedFieldSelector{field("eventCategory", "Data", nasty)}}}
	for _, c := range []struct {
		call awsCall
		want []string
	}{
		{callOf("cloudtrail", client.CreateTrail, &cloudtrail.CreateTrailInput{Name: &nasty, S3BucketName: aws.String(""), IsMultiRegionTrail: aws.Bool(true), EnableLogFileValidation: aws.Bool(false),
			KmsKeyId: aws.String("alias/x"), SnsTopicName: aws.String("t")}, nil),
			[]string{"cloudtrail", "create-trail", "--name", nasty, "--s3-bucket-name", "", "--no-enable-log-file-validation", "--is-multi-region-trail", "--kms-key-id", "alias/x", "--sns-topic-name", "t"}},
		{callOf("cloudtrail", client.PutEventSelectors, &cloudtrail.PutEventSelectorsInput{TrailName: aws.String("audit"), AdvancedEventSelectors: selectors}, nil),
			[]string{"cloudtrail", "put-event-selectors", "--trail-name", "audit", "--advanced-event-selectors", ""}},
	} {
		line, err := c.call.command([]string{"--endpoint-url", "http://127.0.0.1:1/?a=b&c=d", "--profile", nasty}, false)
		if err != nil {
			t.Fatal(err)
		}
		got := argv(t, line)
		want := append(c.want, "--endpoint-url", "http://127.0.0.1:1/?a=b&c=d", "--profile", nasty)
		if i := slices.Index(got, "--advanced-event-selectors"); i >= 0 {
			var back []cttypes.AdvancedEventSelector
			if err := json.Unmarshal([]byte(got[i+1]), &back); err != nil || len(back) != 1 || *back[0].Name != nasty || !slices.Equal(back[0].FieldSelectors[0].Equals, []string{"Data", nasty}) {
				t.Errorf("%v\n%s", err, got[i+1])
			}
			got[i+1] = ""
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s\ngives %q, want %q", line, got, want)
		}
	}
	// A key that a script makes goes into its later commands.
	keys := kms.NewFromConfig(aws.Config{})
	policy := `{"a":"` + madeKey + `'s"}`
	create := callOf("kms", keys.CreateKey, &kms.CreateKeyInput{Policy: aws.String("p")}, nil)
	create.saves = "KeyMetadata.Arn"
	first, err := create.command(nil, true)
	if err != nil || first != `KEY="$(aws kms create-key --policy p --query KeyMetadata.Arn --output text)"` {
		t.Errorf("%s, %v", first, err)
	}
	second, err := callOf("kms", keys.PutKeyPolicy, &kms.PutKeyPolicyInput{KeyId: aws.String(madeKey), Policy: &policy}, nil).command(nil, true)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := argv(t, "KEY='a b'\n"+second), []string{"kms", "put-key-policy", "--key-id", "a b", "--policy", `{"a":"a b's"}`}; !slices.Equal(got, want) {
		t.Errorf("%s gives %q, want %q", second, got, want)
	}
	for name, want := range map[string]string{"S3BucketName": "s3-bucket-name", "CloudWatchLogsLogGroupArn": "cloud-watch-logs-log-group-arn", "PutBucketVersioning": "put-bucket-versioning", "SSEAlgorithm": "sse-algorithm",
		"KmsKeyId": "kms-key-id", "ObjectLockEnabledForBucket": "object-lock-enabled-for-bucket", "ACL": "acl"} {
		if got := cliName(name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// TestTrailScript: what a dry run prints is a script; a shell makes of it the calls that a run makes.
func TestTrailScript(t *testing.T) {
	f := newFakeAWS(t)
	code, script, errs := f.spoor(t, "trail", "create", "--best-practice", "audit", "--data-events", "s3", "--dry-run")
	if code != ExitFindings {
		t.Fatalf("%d %s", code, errs)
	}
	dir := t.TempDir()
	stand := "#!/bin/sh\nfor a; do printf '%s\\0' \"$a\"; done >> " + dir + "/calls\necho >> " + dir + "/calls\necho arn:of:the:key\n"
	if err := os.WriteFile(filepath.Join(dir, "aws"), []byte(stand), 0o700); err != nil {
		t.Fatal(err)
	}
	sh := exec.CommandContext(t.Context(), "sh", "-eu")
	sh.Stdin, sh.Env = strings.NewReader(script), []string{"PATH=" + dir + ":/usr/bin:/bin"}
	if out, err := sh.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, script)
	}
	text, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	calls := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	f.planned(t, ExitClean, "--best-practice", "audit", "--data-events", "s3")
	if len(calls) != len(f.writes) {
		t.Errorf("%d calls, a run makes %d", len(calls), len(f.writes))
	}
	for i, c := range calls {
		args := strings.Split(c, "\x00")
		if i < len(f.writes) && args[1] != cliName(f.writes[i]) {
			t.Errorf("call %d is %s, want %s", i, args[1], cliName(f.writes[i]))
		}
		for _, a := range args {
			if strings.HasPrefix(a, "{") && !json.Valid([]byte(a)) || strings.Contains(a, "$KEY") {
				t.Errorf("call %d has %s", i, a)
			}
		}
	}
	if !strings.Contains(string(text), `"KMSMasterKeyID":"arn:of:the:key"`) || !strings.Contains(string(text), "--kms-key-id\x00arn:of:the:key") {
		t.Errorf("the key is not in the calls:\n%q", text)
	}
}

func TestMergePolicy(t *testing.T) {
	t.Parallel()
	mine := grant{Sid: "Mine", Effect: "Allow", Principal: map[string]any{"Service": "cloudtrail.amazonaws.com"}, Action: []string{"s3:A", "s3:B"}, Resource: "arn:r",
		Condition: map[string]map[string]any{"StringEquals": {"aws:SourceArn": "arn:t"}}}
	const text = `{"Sid":"Mine","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":["s3:A","s3:B"],"Resource":"arn:r","Condition":{"StringEquals":{"aws:SourceArn":"arn:t"}}}`
	const other = `{"Sid":"Other","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":"arn:r"}`
	doc := func(statements string) string { return `{"Version":"2012-10-17","Statement":[` + statements + `]}` }
	for _, c := range []struct{ name, there, want string }{
		{"nothing", "", doc(text)},
		{"the same", doc(text), ""},
		{"the same, written otherwise", doc(`{"Effect":"Allow","Principal":{"Service":["cloudtrail.amazonaws.com"]},"Action":["s3:B","s3:A"],"Resource":["arn:r"],"Condition":{"StringEquals":{"aws:SourceArn":["arn:t"]}}}`), ""},
		{"a single one", `{"Version":"2012-10-17","Id":"x","Statement":` + other + `}`, `{"Version":"2012-10-17","Id":"x","Statement":[` + other + `,` + text + `]}`},
		{"others stay", doc(other), doc(other + "," + text)},
		{"the same Sid", doc(`{"Sid":"Mine","Effect":"Allow","Principal":"*","Action":"s3:*","Resource":"arn:r"},` + other), doc(text + "," + other)},
		{"a further principal", doc(strings.Replace(text, `"cloudtrail.amazonaws.com"`, `["cloudtrail.amazonaws.com","x.amazonaws.com"]`, 1)), doc(text)},
		{"without the condition", doc(strings.Replace(text, `,"Condition":{"StringEquals":{"aws:SourceArn":"arn:t"}}`, "", 1)), doc(text)},
	} {
		got, err := mergePolicy(c.there, []grant{mine})
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
		}
		if got != "" {
			if again, err := mergePolicy(got, []grant{mine}); err != nil || again != "" {
				t.Errorf("%s: a second time gives %s, %v", c.name, again, err)
			}
		}
	}
	mine.unlessSid = true
	if got, err := mergePolicy(doc(`{"Sid":"Mine","Effect":"Allow","Principal":"*","Action":"s3:C","Resource":"arn:r"}`), []grant{mine}); err != nil || got != "" {
		t.Errorf("what may stay gives %s, %v", got, err)
	}
	for _, bad := range []string{"{", "[]", `{"Statement":[3]}`, `{"More":1}`} {
		if got, err := mergePolicy(bad, []grant{mine}); err == nil {
			t.Errorf("%s gives %s", bad, got)
		}
	}
}
