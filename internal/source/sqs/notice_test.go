package sqs

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// wrapped is a message as SNS delivers it.
func wrapped(t *testing.T, message string) string {
	t.Helper()
	text, err := json.Marshal(map[string]string{"Type": "Notification", "TopicArn": "arn:aws:sns:eu-central-1:111122223333:t", "Message": message})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestParse(t *testing.T) {
	t.Parallel()
	direct := `{"Records":[{"eventSource":"aws:s3","eventName":"ObjectCreated:CompleteMultipartUpload","s3":{"bucket":{"name":"b"},"object":{"key":"a+b%2Fc%C3%A9.json","size":7,"eTag":"e","sequencer":"s"}}}]}`
	bridge := `{"version":"0","source":"aws.s3","detail-type":"Object Created","detail":{"bucket":{"name":"b"},"object":{"key":"a+b/c%20.json","size":7,"etag":"\"e\"","sequencer":"s"}}}`
	deep := direct
	for range maxNesting + 1 {
		deep = wrapped(t, deep)
	}
	for name, c := range map[string]struct{ body, want string }{
		"direct":         {direct, `[{b a b/cé.json 7 e s}]`},
		"through SNS":    {wrapped(t, direct), `[{b a b/cé.json 7 e s}]`},
		"bridge":         {bridge, `[{b a+b/c%20.json 7 e s}]`},
		"bridge and SNS": {wrapped(t, bridge), `[{b a+b/c%20.json 7 e s}]`},
		"trail":          {wrapped(t, `{"s3Bucket":"b","s3ObjectKey":["x","y%20"]}`), `[{b x -1  } {b y%20 -1  }]`},
		"validation":     {wrapped(t, "CloudTrail validation message."), "ignored"},
		"test event":     {`{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`, "ignored"},
		"test and SNS":   {wrapped(t, `{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"b"}`), "ignored"},
		"confirmation":   {`{"Type":"SubscriptionConfirmation","Message":"visit","SubscribeURL":"https://192.0.2.1/"}`, "ignored"},
		"removed":        {strings.Replace(direct, "ObjectCreated:CompleteMultipartUpload", "ObjectRemoved:Delete", 1), "ignored"},
		"tagged":         {strings.Replace(bridge, "Object Created", "Object Tags Added", 1), "ignored"},
		"none":           {`{"Records":[]}`, "ignored"},
		"restored":       {strings.Replace(direct, "ObjectCreated:CompleteMultipartUpload", "ObjectRestore:Completed", 1), `[{b a b/cé.json 7 e s}]`},
		"with s3:":       {strings.Replace(direct, "ObjectCreated:Comp", "s3:ObjectCreated:Comp", 1), `[{b a b/cé.json 7 e s}]`},
		"records":        {`{"Records":[{"eventSource":"s3.amazonaws.com","eventName":"GetObject"}]}`, "other"},
		"other JSON":     {`{"x":1}`, "other"},
		"no JSON":        {`hello`, "other"},
		"empty":          {``, "other"},
		"too deep":       {deep, "error"},
		"no bucket":      {strings.Replace(direct, `"b"`, `""`, 1), "error"},
		"odd bucket":     {strings.Replace(direct, `"b"`, `"../b"`, 1), "error"},
		"bad key":        {strings.Replace(direct, "a+b", "%zz", 1), "error"},
		"long key":       {strings.Replace(direct, "a+b", strings.Repeat("x", 1025), 1), "error"},
	} {
		got, err := parse(c.body)
		text := fmt.Sprint(got.notices)
		switch {
		case err != nil:
			text = "error"
		case got.other:
			text = "other"
		case len(got.notices) == 0 && got.ignored != "":
			text = "ignored"
		}
		if text != c.want {
			t.Errorf("%s: %s, want %s (%v)", name, text, c.want, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(`{"Records":[{"s3":{"bucket":{"name":"b"},"object":{"key":"k"}},"eventName":"ObjectCreated:Put"}]}`)
	f.Add(`{"Type":"Notification","Message":"{}"}`)
	f.Fuzz(func(t *testing.T, body string) {
		c, err := parse(body)
		for _, n := range c.notices {
			if err == nil && (n.bucket == "" || n.key == "" || len(n.key) > 1024 || strings.Contains(n.bucket, "/")) {
				t.Errorf("%q gives %+v", body, n)
			}
		}
	})
}
