package policy

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
)

var (
	ann     = Principal{ARN: "arn:aws:iam::111122223333:user/ann", Account: "111122223333", UserID: "AIDAANNANNANNANN", UserName: "ann"}
	bob     = Principal{ARN: "arn:aws:iam::111122223333:user/bob", Account: "111122223333", UserID: "AIDABOBBOBBOBBOB", UserName: "bob"}
	root    = Principal{ARN: "arn:aws:iam::111122223333:root", Account: "111122223333", UserID: "111122223333"}
	session = Principal{ARN: "arn:aws:sts::444455556666:assumed-role/build/x", RoleARN: "arn:aws:iam::444455556666:role/ci/build", Account: "444455556666", UserID: "AROABUILDBUILDBUILD:x"}
	trail   = Principal{Service: "cloudtrail.amazonaws.com"}
	nobody  = Principal{Anonymous: true}
)

// statements puts some into a document.
func statements(text string) string {
	return `{"Version":"2012-10-17","Statement":` + text + `}`
}

func mustParse(t testing.TB, service, text string) *Document {
	t.Helper()
	d, err := Parse(service, []byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return d
}

// trailBucket is the policy that CloudTrail asks for.
const trailBucket = `{"Version":"2012-10-17","Statement":[
 {"Sid":"AWSCloudTrailAclCheck20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:GetBucketAcl","Resource":"arn:aws:s3:::logs",
  "Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:eu-central-1:111122223333:trail/main"}}},
 {"Sid":"AWSCloudTrailWrite20150319","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"arn:aws:s3:::logs/pre/AWSLogs/111122223333/*",
  "Condition":{"StringEquals":{"s3:x-amz-acl":"bucket-owner-full-control","aws:SourceArn":"arn:aws:cloudtrail:eu-central-1:111122223333:trail/main"}}}]}`

const tlsOnly = `{"Version":"2012-10-17","Statement":[{"Sid":"tls","Effect":"Deny","Principal":"*","Action":"s3:*","Resource":["arn:aws:s3:::logs","arn:aws:s3:::logs/*"],
 "Condition":{"Bool":{"aws:SecureTransport":"false"}}},{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::logs/*"}]}`

const trailKey = `{"Version":"2012-10-17","Id":"key","Statement":[
 {"Sid":"account","Effect":"Allow","Principal":{"AWS":["arn:aws:iam::111122223333:root","arn:aws:iam::111122223333:user/ann"]},"Action":"kms:*","Resource":"*"},
 {"Sid":"encrypt","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:GenerateDataKey*","Resource":"*","Condition":{
  "StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:eu-central-1:111122223333:trail/main"},"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:111122223333:trail/*"}}},
 {"Sid":"describe","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"kms:DescribeKey","Resource":"*"},
 {"Sid":"read","Effect":"Allow","Principal":{"AWS":"*"},"Action":["kms:Decrypt","kms:ReEncryptFrom"],"Resource":"*","Condition":{
  "StringEquals":{"kms:CallerAccount":"444455556666"},"StringLike":{"kms:EncryptionContext:aws:cloudtrail:arn":"arn:aws:cloudtrail:*:111122223333:trail/*"}}}]}`

const trailTopic = `{"Version":"2012-10-17","Statement":[{"Sid":"AWSCloudTrailSNSPolicy20131101","Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},
 "Action":"SNS:Publish","Resource":"arn:aws:sns:eu-central-1:111122223333:trails","Condition":{"StringEquals":{"aws:SourceArn":"arn:aws:cloudtrail:eu-central-1:111122223333:trail/main"}}}]}`

type conditions = map[string][]string

// TestEvaluate asks whole documents, as AWS gives them for trails, and about principals.
func TestEvaluate(t *testing.T) {
	t.Parallel()
	main := conditions{"aws:SourceArn": {"arn:aws:cloudtrail:eu-central-1:111122223333:trail/main"}, "s3:x-amz-acl": {"bucket-owner-full-control"}}
	other := conditions{"aws:SourceArn": {"arn:aws:cloudtrail:eu-central-1:111122223333:trail/other"}, "s3:x-amz-acl": {"bucket-owner-full-control"}}
	context := conditions{"AWS:sourcearn": main["aws:SourceArn"], "kms:EncryptionContext:aws:cloudtrail:arn": main["aws:SourceArn"], "kms:CallerAccount": {"444455556666"}}
	tls := func(v string) conditions { return conditions{"aws:SecureTransport": {v}} }
	one := func(effect, who string) string {
		return statements(`{"Sid":"s","Effect":"` + effect + `",` + who + `,"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}`)
	}
	const key, get = "arn:aws:kms:eu-central-1:111122223333:key/0", "s3:GetObject"
	for _, c := range []struct {
		service, text string
		by            Principal
		action, on    string
		with          conditions
		want          Effect
		name          string
	}{
		{"s3", trailBucket, trail, "s3:GetBucketAcl", "arn:aws:s3:::logs", main, Allow, "AWSCloudTrailAclCheck20150319"},
		{"s3", trailBucket, trail, "s3:GetBucketAcl", "arn:aws:s3:::logs", other, None, ""},
		{"s3", trailBucket, trail, "s3:GetBucketAcl", "arn:aws:s3:::logs", nil, None, ""},
		{"s3", trailBucket, trail, "s3:PutObject", "arn:aws:s3:::logs/pre/AWSLogs/111122223333/CloudTrail/x", main, Allow, "AWSCloudTrailWrite20150319"},
		{"s3", trailBucket, trail, "s3:PutObject", "arn:aws:s3:::logs/AWSLogs/111122223333/CloudTrail/x", main, None, ""},
		{"s3", trailBucket, trail, "s3:PutObject", "arn:aws:s3:::logs/pre/AWSLogs/111122223333/x", conditions{"aws:SourceArn": main["aws:SourceArn"]}, None, ""},
		{"s3", trailBucket, root, "s3:PutObject", "arn:aws:s3:::logs/pre/AWSLogs/111122223333/x", main, None, ""},
		{"s3", trailBucket, Principal{Service: "config.amazonaws.com"}, "s3:GetBucketAcl", "arn:aws:s3:::logs", main, None, ""},
		{"s3", tlsOnly, ann, get, "arn:aws:s3:::logs/x", tls("false"), Deny, "tls"},
		{"s3", tlsOnly, ann, get, "arn:aws:s3:::logs/x", tls("true"), Delegate, "2"},
		{"s3", tlsOnly, root, get, "arn:aws:s3:::logs/x", tls("true"), Allow, "2"},
		{"s3", tlsOnly, session, get, "arn:aws:s3:::logs/x", tls("true"), None, ""},
		{"s3", tlsOnly, nobody, get, "arn:aws:s3:::logs/x", tls("False"), Deny, "tls"},
		{"s3", tlsOnly, trail, "s3:GetBucketAcl", "arn:aws:s3:::logs", tls("false"), Deny, "tls"},
		{"s3", tlsOnly, ann, get, "arn:aws:s3:::others/x", tls("false"), None, ""},
		{"kms", trailKey, ann, "kms:ScheduleKeyDeletion", key, nil, Allow, "account"},
		{"kms", trailKey, bob, "kms:Decrypt", key, nil, Delegate, "account"},
		{"kms", trailKey, trail, "kms:GenerateDataKey", key, context, Allow, "encrypt"},
		{"kms", trailKey, trail, "kms:GenerateDataKeyWithoutPlaintext", key, context, Allow, "encrypt"},
		{"kms", trailKey, trail, "kms:GenerateDataKey", key, main, None, ""},
		{"kms", trailKey, trail, "kms:DescribeKey", key, nil, Allow, "describe"},
		{"kms", trailKey, session, "kms:Decrypt", key, context, Allow, "read"},
		{"kms", trailKey, session, "kms:Decrypt", key, nil, None, ""},
		{"sns", trailTopic, trail, "sns:Publish", "arn:aws:sns:eu-central-1:111122223333:trails", main, Allow, "AWSCloudTrailSNSPolicy20131101"},
		{"sns", trailTopic, trail, "SNS:Publish", "arn:aws:sns:eu-central-1:111122223333:trails", other, None, ""},

		{"s3", one("Allow", `"Principal":"*"`), nobody, get, "arn:aws:s3:::b/k", nil, Allow, "s"},
		{"s3", one("Allow", `"Principal":{"AWS":"*"}`), nobody, get, "arn:aws:s3:::b/k", nil, Allow, "s"},
		{"s3", one("Allow", `"Principal":{"AWS":"111122223333"}`), nobody, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Allow", `"Principal":{"AWS":"arn:aws:iam::444455556666:role/ci/build"}`), session, get, "arn:aws:s3:::b/k", nil, Allow, "s"},
		{"s3", one("Allow", `"Principal":{"AWS":"arn:aws:iam::444455556666:role/build"}`), session, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Allow", `"Principal":{"AWS":"arn:aws:sts::444455556666:assumed-role/build/x"}`), session, get, "arn:aws:s3:::b/k", nil, Allow, "s"},
		{"s3", one("Allow", `"Principal":{"AWS":"arn:aws:sts::444455556666:assumed-role/build/y"}`), session, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Allow", `"Principal":{"AWS":"AROABUILDBUILDBUILD"}`), session, get, "arn:aws:s3:::b/k", nil, Allow, "s"},
		{"s3", one("Allow", `"Principal":{"AWS":["AIDAANNANNANNANN","444455556666"]}`), session, get, "arn:aws:s3:::b/k", nil, Delegate, "s"},
		{"s3", one("Allow", `"Principal":{"CanonicalUser":"`+strings.Repeat("a1", 32)+`"}`), ann, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Deny", `"Principal":{"AWS":"444455556666"}`), session, get, "arn:aws:s3:::b/k", nil, Deny, "s"},
		{"s3", one("Deny", `"Principal":{"AWS":"arn:aws:iam::444455556666:role/ci/build"}`), session, get, "arn:aws:s3:::b/k", nil, Deny, "s"},
		{"s3", one("Deny", `"Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"}`), bob, get, "arn:aws:s3:::b/k", nil, None, ""},
		// AWS's page of NotPrincipal: all but Bob are denied, also others of his account; a session has to be named itself.
		{"s3", one("Deny", `"NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/bob","arn:aws:iam::111122223333:root"]}`), bob, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Deny", `"NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/bob","arn:aws:iam::111122223333:root"]}`), root, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Deny", `"NotPrincipal":{"AWS":["arn:aws:iam::111122223333:user/bob","arn:aws:iam::111122223333:root"]}`), ann, get, "arn:aws:s3:::b/k", nil, Deny, "s"},
		{"s3", one("Deny", `"NotPrincipal":{"AWS":"arn:aws:iam::444455556666:role/ci/build"}`), session, get, "arn:aws:s3:::b/k", nil, Deny, "s"},
		{"s3", one("Deny", `"NotPrincipal":{"AWS":"arn:aws:sts::444455556666:assumed-role/build/x"}`), session, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Deny", `"NotPrincipal":{"AWS":"111122223333"}`), nobody, get, "arn:aws:s3:::b/k", nil, Deny, "s"},
		{"s3", one("Deny", `"NotPrincipal":{"Service":"cloudtrail.amazonaws.com"}`), trail, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Allow", `"NotPrincipal":{"AWS":"111122223333"}`), ann, get, "arn:aws:s3:::b/k", nil, None, ""},
		{"s3", one("Allow", `"NotPrincipal":{"AWS":"111122223333"}`), session, get, "arn:aws:s3:::b/k", nil, Allow, "s"},
	} {
		got, name := mustParse(t, c.service, c.text).Evaluate(Request{Principal: c.by, Action: c.action, Resource: c.on, Conditions: c.with})
		if got != c.want || name != c.name {
			t.Errorf("%s\n%+v %s %s %v: %v by %q; want %v by %q", c.text, c.by, c.action, c.on, c.with, got, name, c.want, c.name)
		}
	}
	var none *Document
	if got, name := none.Evaluate(Request{Principal: root, Action: get, Resource: "arn:aws:s3:::b/k"}); got != None || name != "" {
		t.Errorf("no document says %v by %q", got, name)
	}
}

// TestOrder: a Deny counts before an Allow, and that before a Delegate, wherever they stand.
func TestOrder(t *testing.T) {
	t.Parallel()
	parts := map[Effect]string{
		Deny:     `{"Sid":"deny","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"}`,
		Allow:    `{"Sid":"allow","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/ann"},"Action":"*","Resource":"*"}`,
		Delegate: `{"Sid":"delegate","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"*","Resource":"*"}`,
	}
	for _, order := range [][]Effect{{Deny, Allow, Delegate}, {Delegate, Allow, Deny}, {Allow, Deny}, {Allow, Delegate}, {Delegate, Allow}, {Delegate}} {
		var list []string
		for _, e := range order {
			list = append(list, parts[e])
		}
		want := Delegate
		if slices.Contains(order, Allow) {
			want = Allow
		}
		if slices.Contains(order, Deny) {
			want = Deny
		}
		got, name := mustParse(t, "kms", statements("["+strings.Join(list, ",")+"]")).Evaluate(Request{Principal: ann, Action: "kms:Decrypt", Resource: "arn:aws:kms:r:1:key/x"})
		if got != want || name != want.String() {
			t.Errorf("%v: %v by %s; want %v", order, got, name, want)
		}
	}
}

// TestMatching: actions and resources with wildcards, what is left out, and variables.
func TestMatching(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version, parts string
		by             Principal
		action, on     string
		want           bool
	}{
		{"", `"Action":"s3:getobject","Resource":"arn:aws:s3:::b/*"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{"", `"Action":"S3:Get*","Resource":"*"`, ann, "s3:GetObjectTagging", "arn:aws:s3:::b/k", true},
		{"", `"Action":"s3:Get?bject","Resource":"*"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{"", `"Action":"s3:Get?","Resource":"*"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{"", `"Action":["s3:PutObject","s3:GetObject"],"Resource":"*"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{"", `"NotAction":"s3:Delete*","Resource":"*"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{"", `"NotAction":"s3:Get*","Resource":"*"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{"", `"Action":"*","Resource":"arn:aws:s3:::B/*"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/a?c/*.txt"`, ann, "s3:GetObject", "arn:aws:s3:::b/a/c/d/e.txt", true},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/*"`, ann, "s3:GetObject", "arn:aws:s3:::b/with:colon", true},
		{"", `"Action":"*","Resource":"arn:aws:s3:*:b/k"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", false}, // borders are borders
		{"", `"Action":"*","Resource":"arn:aws:s3"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{"", `"Action":"*","Resource":"arn:aws:sns"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{"", `"Action":"*","NotResource":"arn:aws:s3:::b/secret/*"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", true},
		{"", `"Action":"*","NotResource":"arn:aws:s3:::b/secret/*"`, ann, "s3:GetObject", "arn:aws:s3:::b/secret/k", false},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/${aws:username}/*"`, ann, "s3:GetObject", "arn:aws:s3:::b/ann/k", true},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/${AWS:UserName}/*"`, bob, "s3:GetObject", "arn:aws:s3:::b/ann/k", false},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/${aws:username}/*"`, session, "s3:GetObject", "arn:aws:s3:::b//k", false},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/${aws:username, 'guests'}/*"`, session, "s3:GetObject", "arn:aws:s3:::b/guests/k", true},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/${aws:username}/*"`, Principal{ARN: "x", UserName: "*"}, "s3:GetObject", "arn:aws:s3:::b/ann/k", false},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/${*}${?}${$}"`, ann, "s3:GetObject", "arn:aws:s3:::b/*?$", true},
		{"", `"Action":"*","Resource":"arn:aws:s3:::b/${*}"`, ann, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{"", `"Action":"*","NotResource":"arn:aws:s3:::b/${aws:username}/*"`, session, "s3:GetObject", "arn:aws:s3:::b/k", false},
		{"2008-10-17", `"Action":"*","Resource":"arn:aws:s3:::b/${aws:username}/*"`, ann, "s3:GetObject", "arn:aws:s3:::b/ann/k", false},
		{"2008-10-17", `"Action":"*","Resource":"arn:aws:s3:::b/${aws:username}/*"`, ann, "s3:GetObject", "arn:aws:s3:::b/${aws:username}/k", true},
	} {
		version := c.version
		if version == "" {
			version = "2012-10-17"
		}
		text := `{"Version":"` + version + `","Statement":{"Effect":"Allow","Principal":"*",` + c.parts + `}}`
		got, _ := mustParse(t, "s3", text).Evaluate(Request{Principal: c.by, Action: c.action, Resource: c.on})
		if (got == Allow) != c.want {
			t.Errorf("%s %s: %v", text, c.on, got)
		}
	}
	unversioned := mustParse(t, "s3", `{"Statement":{"Effect":"Allow","Principal":"*","Action":"*","Resource":"arn:aws:s3:::${aws:username}"}}`)
	if got, _ := unversioned.Evaluate(Request{Principal: ann, Action: "s3:ListBucket", Resource: "arn:aws:s3:::ann"}); got != None {
		t.Errorf("a document without a version has variables: %v", got)
	}
}

// TestConditions: every operator, with the key there, missing, and with several values.
func TestConditions(t *testing.T) {
	t.Parallel()
	k := func(v ...string) conditions { return conditions{"aws:Key": v} }
	var none conditions
	for _, c := range []struct {
		when  string
		with  conditions
		allow bool
		deny  bool // where a statement denies: the same but for what cannot be told
	}{
		{`{"StringEquals":{"aws:Key":"a"}}`, k("a"), true, true},
		{`{"StringEquals":{"AWS:KEY":["x","a"]}}`, k("a"), true, true},
		{`{"StringEquals":{"aws:Key":"a"}}`, k("A"), false, false},
		{`{"StringEquals":{"aws:Key":"a*"}}`, k("ab"), false, false},
		{`{"StringEquals":{"aws:Key":"a"}}`, none, false, false},
		{`{"StringEquals":{"aws:Key":"a"}}`, k(), false, false},
		{`{"StringEqualsIfExists":{"aws:Key":"a"}}`, none, true, true},
		{`{"StringEqualsIfExists":{"aws:Key":"a"}}`, k("b"), false, false},
		{`{"StringNotEquals":{"aws:Key":["a","b"]}}`, k("c"), true, true},
		{`{"StringNotEquals":{"aws:Key":["a","b"]}}`, k("b"), false, false},
		{`{"StringNotEquals":{"aws:Key":"a"}}`, none, true, true},
		{`{"StringNotEqualsIfExists":{"aws:Key":"a"}}`, none, true, true},
		{`{"StringEqualsIgnoreCase":{"aws:Key":"a"}}`, k("A"), true, true},
		{`{"StringNotEqualsIgnoreCase":{"aws:Key":"a"}}`, k("A"), false, false},
		{`{"StringLike":{"aws:Key":["x","a*?"]}}`, k("abc"), true, true},
		{`{"StringLike":{"aws:Key":"a?"}}`, k("abc"), false, false},
		{`{"StringNotLike":{"aws:Key":"a*"}}`, k("abc"), false, false},
		{`{"StringNotLike":{"aws:Key":"a*"}}`, none, true, true},
		{`{"StringLike":{"aws:Key":"${aws:username}/*"}}`, k("ann/x"), true, true},
		{`{"StringEquals":{"aws:Key":"${aws:PrincipalArn}"}}`, k("arn:aws:iam::111122223333:user/ann"), true, true},
		{`{"StringLike":{"aws:Key":"${aws:Missing}*"}}`, k("x"), false, false},
		{`{"StringNotLike":{"aws:Key":"${aws:Missing}*"}}`, k("x"), false, true},
		{`{"StringEquals":{"aws:Key":"${aws:Missing, 'x'}"}}`, k("x"), true, true},
		{`{"NumericEquals":{"aws:Key":10}}`, k("10.0"), true, true},
		{`{"NumericNotEquals":{"aws:Key":"10"}}`, k("10"), false, false},
		{`{"NumericLessThan":{"aws:Key":"10"}}`, k("9"), true, true},
		{`{"NumericLessThan":{"aws:Key":"10"}}`, k("10"), false, false},
		{`{"NumericLessThanEquals":{"aws:Key":"10"}}`, k("10"), true, true},
		{`{"NumericGreaterThan":{"aws:Key":"-1.5"}}`, k("-1.4"), true, true},
		{`{"NumericGreaterThanEquals":{"aws:Key":"10"}}`, k("9.99999999999999999999"), false, false},
		{`{"NumericEquals":{"aws:Key":"10"}}`, k("ten"), false, false},
		{`{"NumericLessThanIfExists":{"aws:Key":"10"}}`, none, true, true},
		{`{"DateEquals":{"aws:Key":"2026-03-09T08:00:00Z"}}`, k("2026-03-09T09:00:00+01:00"), true, true},
		{`{"DateNotEquals":{"aws:Key":"2026-03-09T08:00Z"}}`, k("2026-03-09T08:00:00Z"), false, false},
		{`{"DateLessThan":{"aws:Key":"2026-03-09"}}`, k("2026-03-08T23:59:59.9Z"), true, true},
		{`{"DateLessThanEquals":{"aws:Key":1773043200}}`, k("2026-03-09T08:00:00Z"), true, true},
		{`{"DateGreaterThan":{"aws:Key":"2026-03-09T08:00:00Z"}}`, k("1773043201"), true, true},
		{`{"DateGreaterThanEquals":{"aws:Key":"2026-03-09T08:00:00Z"}}`, k("2026-03-09T07:59:59Z"), false, false},
		{`{"Bool":{"aws:Key":true}}`, k("true"), true, true},
		{`{"Bool":{"aws:Key":"FALSE"}}`, k("false"), true, true},
		{`{"Bool":{"aws:Key":"true"}}`, k("false"), false, false},
		{`{"Bool":{"aws:Key":"false"}}`, none, false, false},
		{`{"BoolIfExists":{"aws:Key":"false"}}`, none, true, true},
		{`{"BinaryEquals":{"aws:Key":"QmluYXJ5"}}`, k("QmluYXJ5"), true, true},
		{`{"BinaryEquals":{"aws:Key":"QmluYXJ5"}}`, k("qmluYXJ5"), false, false},
		{`{"IpAddress":{"aws:Key":["192.0.2.0/24","2001:db8::/32"]}}`, k("192.0.2.7"), true, true},
		{`{"IpAddress":{"aws:Key":["192.0.2.0/24","2001:db8::/32"]}}`, k("2001:db8::7"), true, true},
		{`{"IpAddress":{"aws:Key":"192.0.2.0/24"}}`, k("::ffff:192.0.2.7"), true, true},
		{`{"IpAddress":{"aws:Key":"192.0.2.7"}}`, k("192.0.2.8"), false, false},
		{`{"NotIpAddress":{"aws:Key":"192.0.2.0/24"}}`, k("192.0.2.8"), false, false},
		{`{"NotIpAddress":{"aws:Key":"192.0.2.0/24"}}`, none, true, true},
		{`{"ArnEquals":{"aws:Key":"arn:aws:s3:::b*"}}`, k("arn:aws:s3:::bucket"), true, true},
		{`{"ArnLike":{"aws:Key":"arn:aws:*:*:1111*:trail/*"}}`, k("arn:aws:cloudtrail:eu-central-1:111122223333:trail/x"), true, true},
		{`{"ArnLike":{"aws:Key":"arn:aws:sns:*:x:y:z"}}`, k("arn:aws:sns:r:1:x:y:z"), false, false},
		{`{"ArnLike":{"aws:Key":"*"}}`, k("no ARN"), true, true},
		{`{"ArnNotEquals":{"aws:Key":"arn:aws:s3:::b"}}`, k("arn:aws:s3:::c"), true, true},
		{`{"ArnNotLike":{"aws:Key":"arn:aws:s3:::*"}}`, k("arn:aws:s3:::c"), false, false},
		{`{"Null":{"aws:Key":"true"}}`, none, true, true},
		{`{"Null":{"aws:Key":true}}`, k("a"), false, false},
		{`{"Null":{"aws:Key":"false"}}`, k("a"), true, true},
		{`{"Null":{"aws:Key":"false"}}`, none, false, false},
		{`{"ForAllValues:StringEquals":{"aws:Key":["a","b"]}}`, k("a", "b"), true, true},
		{`{"ForAllValues:StringEquals":{"aws:Key":["a","b"]}}`, k("a", "c"), false, false},
		{`{"ForAllValues:StringEquals":{"aws:Key":["a","b"]}}`, none, true, true},
		{`{"ForAllValues:StringNotEquals":{"aws:Key":["a","b"]}}`, k("c", "d"), true, true},
		{`{"ForAllValues:StringNotEquals":{"aws:Key":["a","b"]}}`, k("c", "a"), false, false},
		{`{"ForAnyValue:StringLike":{"aws:Key":["a*","b"]}}`, k("c", "abc"), true, true},
		{`{"ForAnyValue:StringLike":{"aws:Key":["a*","b"]}}`, k("c", "d"), false, false},
		{`{"ForAnyValue:StringEquals":{"aws:Key":["a"]}}`, none, false, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:Key":["a"]}}`, none, false, false},
		{`{"ForAnyValue:StringNotEquals":{"aws:Key":["a"]}}`, k("a", "b"), true, true},
		{`{"ForAnyValue:StringEqualsIfExists":{"aws:Key":["a"]}}`, none, true, true},
		{`{"StringEquals":{"aws:Key":"a"}}`, k("a", "b"), false, true},
		{`{"StringEquals":{"aws:Key":"a","aws:Other":"b"}}`, k("a"), false, false},
		{`{"StringEquals":{"aws:Key":"a"},"StringNotEquals":{"aws:Other":"b"}}`, k("a"), true, true},
		{`{"StringEquals":{"aws:PrincipalAccount":"111122223333","aws:userid":"AIDAANNANNANNANN","aws:PrincipalType":"User"},"Bool":{"aws:PrincipalIsAWSService":"false"}}`, none, true, true},
		{`{}`, none, true, true},
	} {
		for _, effect := range []string{"Allow", "Deny"} {
			d := mustParse(t, "s3", statements(`{"Effect":"`+effect+`","Principal":"*","Action":"*","Resource":"*","Condition":`+c.when+`}`))
			got, _ := d.Evaluate(Request{Principal: ann, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Conditions: c.with})
			want := c.allow
			if effect == "Deny" {
				want = c.deny
			}
			if (got != None) != want {
				t.Errorf("%s %s with %v: %v", effect, c.when, c.with, got)
			}
		}
	}
	// What the principal is, no front can say otherwise.
	d := mustParse(t, "s3", statements(`{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":"444455556666"}}}`))
	if got, _ := d.Evaluate(Request{Principal: ann, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/k", Conditions: conditions{"aws:principalaccount": {"444455556666"}}}); got != None {
		t.Errorf("a request says whose account it is: %v", got)
	}
}

// TestRefuses: what is not understood is refused, with place and reason.
func TestRefuses(t *testing.T) {
	t.Parallel()
	const good = `{"Version":"2012-10-17","Statement":[{"Sid":"a","Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*","Condition":{"StringEquals":{"aws:x":"x"}}}]}`
	with := func(old, new string) string {
		if !strings.Contains(good, old) {
			t.Fatalf("%s is not there", old)
		}
		return strings.Replace(good, old, new, 1)
	}
	d := mustParse(t, "s3", good)
	if string(d.Text()) != good || !slices.Equal(d.Resources(), []string{"arn:aws:s3:::b/*"}) {
		t.Errorf("%s, %q", d.Text(), d.Resources())
	}
	for _, c := range []struct{ text, want string }{
		{"", "not JSON"}, {"null", "want an object"}, {`{"Statement":[]}`, "it has no Statement"}, {`{"Statement":[1]}`, "Statement[0]: want an object"},
		{`{"Statement":{}}`, "Statement: it has no Effect"},
		{with("2012-10-17", "2012-10-18"), "Version: want 2012-10-17"},
		{with(`"Version"`, `"version"`), "version: want Version, Id or Statement"},
		{with(`{"Version"`, `{"Id":1,"Version"`), "Id: want text"},
		{good + "x", "something follows"},
		{with(`"Sid":"a"`, `"Sid":{}`), "Statement[0].Sid: want text"},
		{with(`"Effect":"Allow",`, ``), "Statement[0]: it has no Effect"},
		{with(`"Allow"`, `"allow"`), "Statement[0].Effect: want Allow or Deny"},
		{with(`"Effect":"Allow"`, `"Effect":"Deny","\u0045ffect":"Allow"`), `Statement[0]: "Effect" is there twice`},
		{with(`"Principal":{"AWS":"111122223333"},`, ``), "Statement[0]: it has no Principal"},
		{with(`"Principal"`, `"NotPrincipal":"*","Principal"`), "Statement[0].Principal: Principal and NotPrincipal exclude"},
		{with(`"Action"`, `"NotAction":"*","Action"`), "Statement[0].Action: Action and NotAction exclude"},
		{with(`"Resource"`, `"NotResource":"*","Resource"`), "Statement[0].Resource: Resource and NotResource exclude"},
		{with(`{"AWS":"111122223333"}`, `null`), `Statement[0].Principal: want "*"`},
		{with(`{"AWS":"111122223333"}`, `{}`), "Statement[0].Principal: want"},
		{with(`"111122223333"`, `[]`), "Statement[0].Principal.AWS: the list is empty"},
		{with(`"111122223333"`, `"ann"`), `Statement[0].Principal.AWS: "ann": want`},
		{with(`"111122223333"`, `"arn:aws:iam::111122223333:user/*"`), "without wildcards"},
		{with(`"111122223333"`, `"arn:aws:iam::111122223333:group/x"`), "Statement[0].Principal.AWS"},
		{with(`{"AWS":"111122223333"}`, `{"Service":"*"}`), "Statement[0].Principal.Service: \"*\": want a service"},
		{with(`{"AWS":"111122223333"}`, `{"Service":"cloudtrail"}`), "want a service"},
		{with(`{"AWS":"111122223333"}`, `{"CanonicalUser":"x"}`), "not of the form"},
		{with(`"Allow","Principal":{"AWS":"111122223333"}`, `"Deny","Principal":{"CanonicalUser":"`+strings.Repeat("a", 64)+`"}`), "nobody is known by that here"},
		{with(`"Principal":{"AWS":"111122223333"}`, `"NotPrincipal":{"Federated":"saml"}`), "nobody is known by that here"},
		{with(`"AWS"`, `"Group"`), "Statement[0].Principal.Group: want AWS"},
		{with(`"s3:GetObject"`, `"kms:Decrypt"`), `Statement[0].Action: "kms:Decrypt": want an action of s3`},
		{with(`"s3:GetObject"`, `"s3"`), "want an action"},
		{with(`"s3:GetObject"`, `"s3:Get Object"`), "want an action"},
		{with(`"s3:GetObject"`, `[]`), "Statement[0].Action: the list is empty"},
		{with(`,"Resource":"arn:aws:s3:::b/*"`, ``), "Statement[0]: it has no Resource"},
		{with(`"arn:aws:s3:::b/*"`, `"b/*"`), "Statement[0].Resource: \"b/*\": want an ARN"},
		{with(`b/*"`, `b/${aws:username"`), "want a variable"},
		{with(`b/*"`, `b/${username}"`), "want a variable"},
		{with(`b/*"`, `b/${aws:username, x}"`), "want a variable"},
		{with(`b/*"`, `b/\u0001"`), "control characters"},
		{with(`"Condition"`, `"Conditions"`), "Statement[0].Conditions: want Sid"},
		{with(`{"StringEquals":{"aws:x":"x"}}`, `[]`), "Statement[0].Condition: want an object"},
		{with("StringEquals", "stringEquals"), "Statement[0].Condition.stringEquals: not an operator"},
		{with("StringEquals", "StringMatches"), "not an operator"},
		{with("StringEquals", "ForSomeValues:StringEquals"), "not an operator"},
		{with("StringEquals", "ForAllValues:Null"), "not an operator"},
		{with("StringEquals", "NullIfExists"), "not an operator"},
		{with("StringEquals", "NumericEquals"), `Statement[0].Condition.NumericEquals.aws:x: "x": want a number`},
		{with("StringEquals", "DateEquals"), "want a time"},
		{with("StringEquals", "Bool"), "want true or false"},
		{with("StringEquals", "Null"), "want true or false"},
		{with("StringEquals", "BinaryEquals"), "want base64"},
		{with("StringEquals", "IpAddress"), "want an address or a network"},
		{with("StringEquals", "ArnLike"), "want an ARN"},
		{with(`"aws:x":"x"`, `"aws:x":"${aws:x"`), "want a variable"},
		{with("aws:x", "x"), "not the name of a key"},
		{with("aws:x", "kms:x"), "not a key of aws or of s3"},
		{with(`{"aws:x":"x"}`, `{}`), "want an object with keys"},
		{with(`{"aws:x":"x"}`, `{"aws:x":null}`), "want text"},
		{with(`{"aws:x":"x"}`, `{"aws:x":"x","aws:x":"y"}`), "is there twice"},
		{with(`[{"Sid"`, `[{"Sid":"a","Effect":"Deny","Principal":"*","Action":"*","Resource":"*"},{"Sid"`), `Statement[1].Sid: "a" is there twice`},
		{with(`"x"}`, `"`+strings.Repeat("x", 20<<10)+`"}`), "bytes are more than 20480"},
		{with(`"x"}`, "\"\xff\"}"), "not UTF-8"},
		{strings.Repeat("[", 1000), "nested deeper than 6"},
	} {
		_, err := Parse("s3", []byte(c.text))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.300s: %v; want %s", c.text, err, c.want)
		}
	}
	if _, err := Parse("sqs", []byte(good)); err == nil || !strings.Contains(err.Error(), `"sqs"`) {
		t.Errorf("a service that has none: %v", err)
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	when := func(c string) string {
		return `{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*","Condition":` + c + `}`
	}
	for _, c := range []struct {
		text string
		want bool
	}{
		{`{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}`, true},
		{`{"Effect":"Allow","Principal":{"AWS":["111122223333","*"]},"Action":"s3:GetObject","Resource":"*"}`, true},
		{`{"Effect":"Allow","NotPrincipal":{"AWS":"111122223333"},"Action":"s3:GetObject","Resource":"*"}`, true},
		{`{"Effect":"Allow","Principal":{"AWS":"111122223333"},"Action":"s3:GetObject","Resource":"*"}`, false},
		{`{"Effect":"Allow","Principal":{"Service":"cloudtrail.amazonaws.com"},"Action":"s3:PutObject","Resource":"*"}`, false},
		{`{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"*"}`, false},
		{`[{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*"},{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}]`, true},
		{when(`{"Bool":{"aws:SecureTransport":"true"}}`), true},
		{when(`{"IpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), false},
		{when(`{"IpAddress":{"aws:SourceIp":["192.0.2.0/24","0.0.0.0/1"]}}`), true},
		{when(`{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}`), false},
		{when(`{"IpAddress":{"aws:SourceIp":"fd00::/8"}}`), false},
		{when(`{"IpAddress":{"aws:SourceIp":"2000::/3"}}`), true},
		{when(`{"NotIpAddress":{"aws:SourceIp":"192.0.2.0/24"}}`), true},
		{when(`{"IpAddressIfExists":{"aws:SourceIp":"192.0.2.0/24"}}`), true},
		{when(`{"StringEquals":{"aws:SourceVpc":"vpc-91237329"}}`), false},
		{when(`{"StringLike":{"aws:SourceVpc":"vpc-*"}}`), true},
		{when(`{"StringLike":{"aws:SourceVpc":"vpc-1"}}`), false},
		{when(`{"StringEquals":{"aws:PrincipalOrgID":"o-1"}}`), false},
		{when(`{"StringEquals":{"aws:PrincipalOrgID":["o-1","${aws:userid}"]}}`), true},
		{when(`{"ForAllValues:StringEquals":{"aws:PrincipalOrgID":"o-1"}}`), true},
		{when(`{"ForAnyValue:StringEquals":{"aws:PrincipalOrgID":"o-1"}}`), false},
		{when(`{"StringLike":{"aws:userid":"AROAEXAMPLE:*"}}`), false},
		{when(`{"StringLike":{"aws:userid":"AROA*"}}`), true},
		{when(`{"ArnLike":{"aws:SourceArn":"arn:aws:sns:r:1:t"}}`), false},
		{when(`{"ArnLike":{"aws:SourceArn":"arn:aws:sns:r:1:*"}}`), true},
		{when(`{"ArnLike":{"s3:DataAccessPointArn":"arn:aws:s3:r:111122223333:accesspoint/*"}}`), false},
		{when(`{"StringEquals":{"s3:prefix":"home/"}}`), true},
	} {
		if got := Public(mustParse(t, "s3", statements(c.text))); got != c.want {
			t.Errorf("%s: %v", c.text, got)
		}
	}
	if Public(nil) {
		t.Error("no document is public")
	}
}

func TestLike(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "abc", true}, {"?", "", false}, {"?", "é", true}, {"??", "é", false},
		{"a*c", "abbc", true}, {"a*c", "abbd", false}, {"*b*", "abc", true}, {"*bc", "abcbc", true}, {"a**", "a", true}, {"a*?", "a", false},
		{"*é?", "xéé", true}, {"[a]", "a", false}, {strings.Repeat("*a", 30) + "b", strings.Repeat("a", 3000), false},
	} {
		if got := Like(c.pattern, c.text); got != c.want {
			t.Errorf("%q, %.20q: %v", c.pattern, c.text, got)
		}
	}
}

// FuzzParse: no text makes the reader panic; what it accepts says the same when it is written again by the standard library,
// which would drop members that are there twice; and nobody is allowed anything by a text without an Allow.
func FuzzParse(f *testing.F) {
	for _, text := range []string{trailBucket, tlsOnly, trailKey, trailTopic} {
		f.Add(text)
	}
	f.Add(statements(`{"Effect":"Allow","NotPrincipal":{"AWS":["*"]},"NotAction":"s3:?","NotResource":"arn:aws:s3:::${aws:username,'x'}${*}","Condition":{"ForAnyValue:DateLessThanIfExists":{"aws:CurrentTime":1e9},"Null":{"aws:x":true}}}`))
	f.Fuzz(func(t *testing.T, text string) {
		for _, service := range []string{"s3", "kms", "sns", "cloudtrail"} {
			a, err := Parse(service, []byte(text))
			if err != nil {
				if e := new(*Error); !errors.As(err, e) {
					t.Fatal(err)
				}
				continue
			}
			var v any
			if err := json.Unmarshal([]byte(text), &v); err != nil {
				t.Fatalf("%q is no JSON: %v", text, err)
			}
			again, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			b, err := Parse(service, again)
			if err != nil && !strings.Contains(err.Error(), "want a") && !strings.Contains(err.Error(), "bytes are more") { // a number was written in another form
				t.Fatalf("%q becomes %q: %v", text, again, err)
			}
			_ = Public(a)
			for _, by := range []Principal{ann, root, session, trail, nobody} {
				r := Request{Principal: by, Action: service + ":Get", Resource: "arn:aws:s3:::b/k", Conditions: conditions{"aws:SourceIp": {"192.0.2.1"}, "aws:x": {"a", "b"}}}
				one, _ := a.Evaluate(r)
				if (one == Allow || one == Delegate) && !strings.Contains(text, "llow") && !strings.Contains(text, `\u`) {
					t.Fatalf("%q allows", text)
				}
				if err == nil {
					if two, _ := b.Evaluate(r); two != one && !strings.ContainsAny(text, "0123456789") {
						t.Fatalf("%q says %v, and written again %v", text, one, two)
					}
				}
			}
		}
	})
}
