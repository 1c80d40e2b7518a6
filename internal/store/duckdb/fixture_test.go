package duckdb

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/store/segment"
)

// records are the events that most tests ask about.
var records = []string{
	`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEANA","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","accessKeyId":"AKIAEXAMPLEANA","userName":"ana"},
"eventTime":"2026-01-05T09:12:41Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"us-east-1","sourceIPAddress":"198.51.100.7","userAgent":"aws-cli/2.36.7",
"requestParameters":{"bucketName":"payroll","key":"2026/january.csv","x-amz-acl":"private","Host":["a","b"]},"responseElements":null,"additionalEventData":{"bytesTransferredOut":1234,"SignatureVersion":"SigV4"},
"requestID":"R1","eventID":"00000000-0000-4000-8000-000000000001","readOnly":true,"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::payroll/2026/january.csv"},{"accountId":"111122223333","type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::payroll"}],
"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"111122223333","eventCategory":"Data","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"payroll.s3.amazonaws.com"}}`,
	`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE:ci-42","arn":"arn:aws:sts::111122223333:assumed-role/Deploy/ci-42","accountId":"111122223333","accessKeyId":"ASIAEXAMPLECI",
"sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::111122223333:role/Deploy","accountId":"111122223333","userName":"Deploy"},"attributes":{"creationDate":"2026-01-05T09:00:00Z","mfaAuthenticated":"false"},
"webIdFederationData":{"federatedProvider":"arn:aws:iam::111122223333:oidc-provider/ci.example","attributes":{"sub":"repo:x"}}}},
"eventTime":"2026-01-05T10:00:00Z","eventSource":"ec2.amazonaws.com","eventName":"AuthorizeSecurityGroupIngress","awsRegion":"eu-west-1","sourceIPAddress":"203.0.113.9","userAgent":"Terraform",
"requestParameters":{"groupId":"sg-1","ipPermissions":{"items":[{"ipProtocol":"tcp","fromPort":22,"toPort":22,"ipRanges":{"items":[{"cidrIp":"0.0.0.0/0"}]}}]}},"responseElements":{"_return":true,"requestId":"x"},
"requestID":"R2","eventID":"00000000-0000-4000-8000-000000000002","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
	`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","principalId":"AIDAEXAMPLEBOB","arn":"arn:aws:iam::444455556666:user/bob","accountId":"444455556666","accessKeyId":"AKIAEXAMPLEBOB","userName":"bob"},
"eventTime":"2026-01-06T11:00:00Z","eventSource":"iam.amazonaws.com","eventName":"CreateUser","awsRegion":"us-east-1","sourceIPAddress":"203.0.113.9","userAgent":"=cmd|'/c calc'!A1","errorCode":"AccessDenied","errorMessage":"User is not authorized\u001b[31m",
"requestParameters":null,"responseElements":null,"requestID":"R3","eventID":"00000000-0000-4000-8000-000000000003","readOnly":false,"eventType":"AwsApiCall","managementEvent":true,"recipientAccountId":"444455556666","eventCategory":"Management",
"addendum":{"reason":"UPDATED_DATA","updatedFields":"errorCode","originalRequestID":"R0","originalEventID":"E0"}}`,
	`{"eventVersion":"1.11","userIdentity":{"type":"Root","principalId":"111122223333","arn":"arn:aws:iam::111122223333:root","accountId":"111122223333","accessKeyId":""},
"eventTime":"2026-01-07T12:00:00Z","eventSource":"signin.amazonaws.com","eventName":"ConsoleLogin","awsRegion":"us-east-1","sourceIPAddress":"192.0.2.33","userAgent":"Mozilla/5.0",
"requestParameters":null,"responseElements":{"ConsoleLogin":"Failure"},"additionalEventData":{"LoginTo":"https://console.aws.amazon.com/","MobileVersion":"No","MFAUsed":"No"},"errorMessage":"Failed authentication",
"eventID":"00000000-0000-4000-8000-000000000004","readOnly":false,"eventType":"AwsConsoleSignIn","managementEvent":true,"recipientAccountId":"111122223333","eventCategory":"Management"}`,
}

// write makes segments of records and returns their paths.
func write(t testing.TB, records []string) []string {
	t.Helper()
	dir := t.TempDir()
	w := segment.NewWriter(segment.Options{Dir: dir})
	for i, r := range records {
		e, err := event.Parse([]byte(strings.ReplaceAll(r, "\n", "")))
		if err != nil {
			t.Fatalf("record %d: %v", i, err)
		}
		e.File = "logs/test.json"
		if err := w.Add(e, nil); err != nil {
			t.Fatal(err)
		}
	}
	segs, err := w.Flush(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, s := range segs {
		files = append(files, filepath.Join(dir, filepath.FromSlash(s.Path)))
	}
	return files
}

// open opens an engine that is closed with the test.
func open(t testing.TB, opts Options) *Engine {
	t.Helper()
	if opts.TempDir == "" {
		opts.TempDir = t.TempDir()
	}
	e, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// ask gives the rows of a query, cells joined by " | ", NULL as ∅.
func ask(t testing.TB, e *Engine, sql string, params ...Param) ([]string, error) {
	t.Helper()
	return askScope(t, e, nil, sql, params...)
}

// askScope is ask of other files than the engine's own.
func askScope(t testing.TB, e *Engine, scope *Scope, sql string, params ...Param) ([]string, error) {
	t.Helper()
	rows, err := e.Query(t.Context(), sql, QueryOptions{Params: params, Scope: scope})
	if err != nil {
		return nil, err
	}
	return read(t, rows)
}

// read gives the rows of a result, cells joined by " | ", NULL as ∅, and closes it.
func read(t testing.TB, rows *Rows) ([]string, error) {
	t.Helper()
	defer func() {
		if err := rows.Close(); err != nil {
			t.Error(err)
		}
	}()
	var out []string
	for {
		values, ok, err := rows.Next()
		if err != nil {
			return nil, err
		}
		if !ok {
			return out, nil
		}
		var cells []string
		for _, v := range values {
			if v.Null {
				cells = append(cells, "∅")
			} else {
				cells = append(cells, v.Text)
			}
		}
		out = append(out, strings.Join(cells, " | "))
	}
}

func must(t testing.TB, e *Engine, sql string, params ...Param) []string {
	t.Helper()
	rows, err := ask(t, e, sql, params...)
	if err != nil {
		t.Fatalf("%s\n%v", sql, err)
	}
	return rows
}

func mustTime(s string) time.Time {
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		panic(err)
	}
	return at
}
