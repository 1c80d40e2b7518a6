package gateway

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"spoor/internal/recorder"
)

// TestOperations makes a request for each line of the table, and wants this line, in both styles of naming a bucket.
func TestOperations(t *testing.T) {
	t.Parallel()
	table := NewS3Table("s3.example.com")
	for _, o := range table.Operations() {
		key := map[Level]string{OfService: "", OfBucket: "", OfObject: "a/b c"}[o.Level]
		bucket := "my-bucket"
		if o.Level == OfService {
			bucket = ""
		}
		q := url.Values{}
		for _, p := range []string{o.Sub, o.With} {
			if p != "" {
				q.Set(p, "")
			}
		}
		for _, hosted := range []bool{false, true} {
			r := httptest.NewRequest(o.Method, "http://s3.example.com"+(&url.URL{Path: "/" + strings.TrimSuffix(bucket+"/"+key, "/")}).EscapedPath()+"?"+q.Encode(), nil)
			if hosted {
				if o.Level == OfService {
					continue
				}
				r = httptest.NewRequest(o.Method, "http://my-bucket.s3.example.com:4599"+(&url.URL{Path: "/" + key}).EscapedPath()+"?"+q.Encode(), nil)
			}
			if o.Copies {
				r.Header.Set("X-Amz-Copy-Source", "/from/a%20key?versionId=v1")
			}
			got := table.Parse(r)
			if got.Operation == nil || *got.Operation != o {
				t.Errorf("%s %s (hosted %v): %+v, want %+v", o.Method, r.URL, hosted, got.Operation, o)
				continue
			}
			if got.Bucket != bucket || got.Key != key || got.Level() != o.Level || got.Hosted != hosted || got.Twice || got.BadQuery {
				t.Errorf("%s %s: %+v", o.Method, r.URL, got)
			}
			if o.Copies && got.Copy != (Copy{Bucket: "from", Key: "a key", Version: "v1"}) {
				t.Errorf("%s: copies %+v", o.Name, got.Copy)
			}
			if o.Action != "" && got.Action() != "s3:"+o.Action {
				t.Errorf("%s: action %s", o.Name, got.Action())
			}
			r.URL.RawQuery += "&versionId=v2"
			if got := table.Parse(r); o.Version != "" && o.Level == OfObject && got.Action() != "s3:"+o.Version {
				t.Errorf("%s of a version: action %s", o.Name, got.Action())
			}
			var c recorder.Call
			got.Record(&c, r, S3Owner{Partition: "aws", Account: "111122223333"}, nil, nil)
			if c.Name != o.Name || c.ReadOnly != o.ReadOnly || (c.Category == "Data") != o.Data || c.Source != "s3.amazonaws.com" {
				t.Errorf("%s: recorded as %+v", o.Name, c)
			}
			if reads := o.Method == http.MethodGet || o.Method == http.MethodHead || o.Name == "SelectObjectContent" || o.Method == http.MethodOptions; reads != o.ReadOnly {
				t.Errorf("%s: read-only is %v for a %s", o.Name, o.ReadOnly, o.Method)
			}
			if objects := o.Level == OfObject || strings.HasPrefix(o.Name, "ListObject") || o.Name == "HeadBucket" || o.Name == "DeleteObjects" || o.Name == "PostObject" || o.Name == "CreateSession" || o.Name == "PreflightOptions"; objects != o.Data {
				t.Errorf("%s: a data event: %v", o.Name, o.Data)
			}
		}
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		method, host, target string
		header               string
		name, bucket, key    string
		twice, bad           bool
	}{
		{method: "GET", target: "/b/a%2Fb", name: "GetObject", bucket: "b", key: "a/b"},
		{method: "GET", target: "/b/a%252Fb", name: "GetObject", bucket: "b", key: "a%2Fb"},
		{method: "GET", target: "/b/..%2f..%2fetc", name: "GetObject", bucket: "b", key: "../../etc"},
		{method: "GET", target: "/b//x", name: "GetObject", bucket: "b", key: "/x"},
		{method: "GET", target: "/b/%00", name: "GetObject", bucket: "b", key: "\x00"},
		{method: "GET", target: "/b/", name: "ListObjects", bucket: "b"},
		{method: "GET", target: "/b?list-type=2&prefix=a%20b", name: "ListObjects", bucket: "b"},
		{method: "GET", target: "/b?policy&acl", name: "GetBucketAcl", bucket: "b", twice: true},
		{method: "GET", target: "/b/k?acl&tagging", name: "GetObjectAcl", bucket: "b", key: "k", twice: true},
		{method: "GET", target: "/b/k?policy", name: "GetObject", bucket: "b", key: "k"},
		{method: "PATCH", target: "/b/k", name: "UnknownOperation", bucket: "b", key: "k"},
		{method: "PUT", target: "/b?location", name: "UnknownOperation", bucket: "b"},
		{method: "GET", target: "/b?a;acl", name: "ListObjects", bucket: "b", bad: true},
		{method: "PUT", target: "/b/k?partNumber=1&uploadId=u", name: "UploadPart", bucket: "b", key: "k"},
		{method: "PUT", target: "/b/k?partNumber=1&uploadId=u", header: "a/b", name: "UploadPartCopy", bucket: "b", key: "k"},
		{method: "PUT", target: "/b/k", header: "a/b", name: "CopyObject", bucket: "b", key: "k"},
		{method: "GET", host: "b.s3.example.com", target: "/x/y", name: "GetObject", bucket: "b", key: "x/y"},
		{method: "GET", host: "a.b.s3.example.com", target: "/", name: "ListObjects", bucket: "a.b"},
		{method: "GET", host: "b.eu.s3.example.com", target: "/", name: "ListObjects", bucket: "b"},
		{method: "GET", host: "S3.EXAMPLE.COM:80", target: "/", name: "ListBuckets"},
		{method: "GET", host: "192.0.2.1", target: "/b", name: "ListObjects", bucket: "b"},
		{method: "POST", target: "/", name: "UnknownOperation"},
	} {
		r := httptest.NewRequest(tt.method, tt.target, nil)
		if tt.host != "" {
			r.Host = tt.host
		}
		if tt.header != "" {
			r.Header.Set("X-Amz-Copy-Source", tt.header)
		}
		q := NewS3Table("s3.example.com", "eu.s3.example.com").Parse(r)
		if q.Name() != tt.name || q.Bucket != tt.bucket || q.Key != tt.key || q.Twice != tt.twice || q.BadQuery != tt.bad {
			t.Errorf("%s %s%s: %s %q %q twice %v bad %v", tt.method, tt.host, tt.target, q.Name(), q.Bucket, q.Key, q.Twice, q.BadQuery)
		}
	}
}

func TestCopySource(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Copy{
		"b/k": {Bucket: "b", Key: "k"}, "/b/k/l": {Bucket: "b", Key: "k/l"}, "b%2Fk": {Bucket: "b", Key: "k"},
		"b/%252e": {Bucket: "b", Key: "%2e"}, "b/k?versionId=a%2Bb": {Bucket: "b", Key: "k", Version: "a+b"},
		"": {Malformed: true}, "b": {Malformed: true}, "b/": {Malformed: true}, "/": {Malformed: true}, "b/%zz": {Malformed: true},
		"arn:aws:s3:us-east-1:1:accesspoint/a/object/k": {Malformed: true}, "b/%ff": {Malformed: true},
	} {
		if got := parseCopy([]string{text}); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// TestRecordOfRequest: parameters, resources and what else S3 records; and what it does not.
func TestRecordOfRequest(t *testing.T) {
	t.Parallel()
	table := NewS3Table()
	r := httptest.NewRequest("PUT", "/b/a%20key?x-id=PutObject&X-Amz-Signature=abc&X-Amz-Credential=AKIA%2Fx&X-Amz-Security-Token=tok&X-Amz-Date=20260110T000000Z", nil)
	r.Host = "s3.example.com"
	r.TLS = &tls.ConnectionState{CipherSuite: tls.TLS_AES_128_GCM_SHA256, Version: tls.VersionTLS13}
	for k, v := range map[string]string{
		"X-Amz-Acl": "private", "X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Customer-Key": "c2VjcmV0",
		"X-Amz-Security-Token": "tok", "X-Amz-Meta-Who": "ana", "X-Amz-Content-Sha256": "abc", "Content-Type": "text/plain", "X-Amz-Tagging": "a=b",
	} {
		r.Header.Set(k, v)
	}
	var c recorder.Call
	table.Parse(r).Record(&c, r, S3Owner{Partition: "aws", Account: "111122223333"}, nil, &Answer{Status: 200, In: 7, Header: http.Header{
		"X-Amz-Id-2": {"two"}, "X-Amz-Version-Id": {"v"}, "X-Amz-Server-Side-Encryption": {"aws:kms"}, "Etag": {"e"},
	}})
	same(t, c.Request, `{"Host":"s3.example.com","X-Amz-Date":"20260110T000000Z","bucketName":"b","key":"a key","x-amz-acl":"private","x-amz-server-side-encryption":"aws:kms","x-id":"PutObject"}`)
	same(t, c.Response, `{"x-amz-server-side-encryption":"aws:kms","x-amz-version-id":"v"}`)
	same(t, c.Resources, `[{"ARN":"arn:aws:s3:::b/a key","type":"AWS::S3::Object"},{"ARN":"arn:aws:s3:::b","accountId":"111122223333","type":"AWS::S3::Bucket"}]`)
	same(t, c.Additional, `{"AuthenticationMethod":"QueryString","CipherSuite":"TLS_AES_128_GCM_SHA256","SSEApplied":"SSE_KMS","SignatureVersion":"SigV4","bytesTransferredIn":7,"bytesTransferredOut":0,"x-amz-id-2":"two"}`)

	record := func(method, target, body string) recorder.Call {
		r := httptest.NewRequest(method, target, nil)
		r.Host = "h"
		var c recorder.Call
		table.Parse(r).Record(&c, r, S3Owner{Partition: "aws"}, []byte(body), nil)
		return c
	}
	c = record("PUT", "/b?versioning", `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Status>Suspended</Status></VersioningConfiguration>`)
	same(t, c.Request, `{"Host":"h","VersioningConfiguration":{"Status":"Suspended","xmlns":"http://s3.amazonaws.com/doc/2006-03-01/"},"bucketName":"b","versioning":""}`)
	c = record("PUT", "/b?policy", `{"Version":"2012-10-17","Statement":[]}`)
	same(t, c.Request, `{"Host":"h","bucketName":"b","bucketPolicy":{"Statement":[],"Version":"2012-10-17"},"policy":""}`)
	c = record("GET", "/b?list-type=2&prefix=a/", "")
	same(t, c.Resources, `[{"ARNPrefix":"arn:aws:s3:::b/a/","type":"AWS::S3::Object"},{"ARN":"arn:aws:s3:::b","type":"AWS::S3::Bucket"}]`)
	c = record("POST", "/b?delete", `<Delete><Object><Key>x</Key></Object><Object><Key>y</Key><VersionId>1</VersionId></Object></Delete>`)
	same(t, c.Resources, `[{"ARN":"arn:aws:s3:::b/x","type":"AWS::S3::Object"},{"ARN":"arn:aws:s3:::b/y","type":"AWS::S3::Object"},{"ARN":"arn:aws:s3:::b","type":"AWS::S3::Bucket"}]`)
	c = record("POST", "/b?delete", "<Delete>"+strings.Repeat("<Object><Key>"+strings.Repeat("k", 1000)+"</Key></Object>", 900)+"</Delete>")
	same(t, c.Resources, `[{"ARNPrefix":"arn:aws:s3:::b/","type":"AWS::S3::Object"},{"ARN":"arn:aws:s3:::b","type":"AWS::S3::Bucket"}]`)
}

func same(t *testing.T, got any, want string) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a             Answer
		method        string
		code, message string
	}{
		{Answer{Status: 404, Body: []byte(`<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>gone</Message></Error>`)}, "GET", "NoSuchKey", "gone"},
		{Answer{Status: 200, Body: []byte(`<?xml version="1.0"?>` + "\n " + `<Error><Code>InternalError</Code><Message>late</Message></Error>`)}, "POST", "InternalError", "late"},
		{Answer{Status: 200, Body: []byte(`<Error><Code>InternalError</Code></Error>`)}, "GET", "", ""}, // an object
		{Answer{Status: 404}, "HEAD", "NoSuchKey", "The specified key does not exist."},
		{Answer{Status: 304}, "GET", "", ""},
		{Answer{Status: 418, Body: []byte("no XML")}, "GET", "UnknownError", "I'm a teapot"},
		{Answer{Status: 403, Body: []byte(`<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>m</Message></Error></ErrorResponse>`)}, "POST", "AccessDenied", "m"},
		{Answer{Status: 500, Body: []byte(`<Error><Code>Int`)}, "GET", "InternalError", "Internal Server Error"},
		{Answer{Err: http.ErrAbortHandler}, "GET", "ServiceUnavailable", "The service did not answer"},
		{Answer{Err: http.ErrAbortHandler, Gone: true}, "PUT", "IncompleteBody", "The caller broke off before the request was complete"},
		{Answer{Err: http.ErrAbortHandler, Gone: true, Status: 200}, "GET", "", ""},
		{Answer{Err: http.ErrAbortHandler, Broken: true, Status: 200}, "GET", "InternalError", "The service broke off its answer"},
	} {
		if code, message := tt.a.S3Error(tt.method); code != tt.code || message != tt.message {
			t.Errorf("%+v: %q %q, want %q %q", tt.a, code, message, tt.code, tt.message)
		}
	}
}

// TestRealRecords: the names, parameters and kinds of events of AWS are those of the table.
func TestRealRecords(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../../shared/data/cloudtrail/traildiscover/*.json")
	if err != nil || len(files) == 0 {
		t.Skip("the collection of records is not beside this repository")
	}
	names := map[string]S3Operation{}
	for _, o := range s3Operations() {
		names[o.Name] = o
	}
	seen := 0
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var records []struct {
			EventSource, EventName, EventCategory string
			ReadOnly                              bool
			RequestParameters                     map[string]any
			AdditionalEventData                   map[string]any
		}
		if json.Unmarshal(text, &records) != nil {
			continue
		}
		for _, r := range records {
			if r.EventSource != "s3.amazonaws.com" {
				continue
			}
			seen++
			o, ok := names[r.EventName]
			if !ok || o.ReadOnly != r.ReadOnly || (r.EventCategory == "Data") != o.Data {
				t.Errorf("%s: %+v, in the table %+v", r.EventName, r, o)
				continue
			}
			target := "/"
			if b, ok := r.RequestParameters["bucketName"].(string); ok {
				target += b
			}
			if o.Sub != "" {
				target += "?" + o.Sub
			}
			req := httptest.NewRequest(o.Method, target, nil)
			req.Host = fmt.Sprint(r.RequestParameters["Host"])
			req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x")
			req.TLS = &tls.ConnectionState{CipherSuite: tls.TLS_AES_128_GCM_SHA256}
			var c recorder.Call
			NewS3Table().Parse(req).Record(&c, req, S3Owner{Partition: "aws"}, []byte(`{}`), &Answer{Status: 200, Header: http.Header{"X-Amz-Id-2": {"x"}}})
			if !reflect.DeepEqual(c.Request, any(r.RequestParameters)) {
				t.Errorf("%s: parameters %v, AWS has %v", r.EventName, c.Request, r.RequestParameters)
			}
			for k := range r.AdditionalEventData {
				if _, ok := c.Additional[k]; !ok {
					t.Errorf("%s: nothing in additionalEventData for %s", r.EventName, k)
				}
			}
		}
	}
	if seen < 5 {
		t.Errorf("%d records of S3 among %d files", seen, len(files))
	}
}

func FuzzParse(f *testing.F) {
	f.Add("GET", "/b/k?acl", "b.s3.example.com", "a/b?versionId=c", "<Delete><Object><Key>x</Key></Object></Delete>")
	f.Add("POST", "/b?delete&uploads", "h:1", "", `{"Statement":[]}`)
	f.Add("PUT", "/%2e%2e/%00?%zz", "[::1]:80", "/", "<a><b/><b c='d'>e</b></a>")
	table := NewS3Table("s3.example.com")
	f.Fuzz(func(t *testing.T, method, target, host, source, body string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return
		}
		r := &http.Request{Method: method, URL: u, Host: host, Header: http.Header{"X-Amz-Copy-Source": {source}, "Authorization": {"AWS4-HMAC-SHA256 x"}}}
		q := table.Parse(r)
		if q.Level() == OfObject != (q.Key != "") {
			t.Fatalf("%+v", q)
		}
		var c recorder.Call
		q.Record(&c, r, S3Owner{Partition: "aws", Account: "1"}, []byte(body), &Answer{Status: 400, Body: []byte(body)})
		if _, err := json.Marshal(c.Request); err != nil {
			t.Fatal(err)
		}
		if q.Bucket != "" && len(c.Resources) == 0 {
			t.Fatal("nothing about a bucket")
		}
		s := ParseService("sns", r, []byte(body), true)
		s.Record(&c, &Answer{Status: 400, Body: []byte(body), Whole: true})
		s.Record(&c, &Answer{Status: 200, Body: []byte(body), Whole: true})
		if _, err := json.Marshal([]any{c.Request, c.Response}); err != nil {
			t.Fatal(err)
		}
	})
}
