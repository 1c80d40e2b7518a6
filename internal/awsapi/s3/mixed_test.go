package s3_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"spoor/internal/awsapi/awsapitest"
)

// TestMixed: many principals at once, and of each request one record, with who asked, what for, and how it ended.
func TestMixed(t *testing.T) {
	t.Parallel()
	const workers, rounds = 12, 40
	g := newRig(t)
	root := g.client(g.root)
	b := g.bucket(root, "mixed")
	type row struct{ Name, Key, User, Error string }
	var mu sync.Mutex
	wanted := map[row]int{{Name: "CreateBucket"}: 1, {Name: "PutBucketPolicy"}: 1}
	var statements []string
	keys := map[string]awsapitest.Key{}
	for w := range workers {
		name := fmt.Sprintf("user%d", w)
		keys[name] = g.key(name)
		statements = append(statements, fmt.Sprintf(`{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::111122223333:user/%s"},"Action":["s3:GetObject","s3:PutObject","s3:DeleteObject"],"Resource":"arn:aws:s3:::mixed/%s/*"}`, name, name))
	}
	if _, err := root.PutBucketPolicy(t.Context(), &awss3.PutBucketPolicyInput{Bucket: &b, Policy: aws.String(`{"Version":"2012-10-17","Statement":[` + strings.Join(statements, ",") + `]}`)}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for w := range workers {
		name := fmt.Sprintf("user%d", w)
		c := g.client(keys[name])
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(7, uint64(w)))
			ctx := t.Context()
			for i := range rounds {
				key := fmt.Sprintf("%s/object %d+ü", name, i)
				body := make([]byte, rnd.IntN(300_000))
				for j := range body {
					body[j] = byte(rnd.Uint32())
				}
				note := func(op, key, errorCode string) {
					mu.Lock()
					wanted[row{op, key, name, errorCode}]++
					mu.Unlock()
				}
				if _, err := c.PutObject(ctx, &awss3.PutObjectInput{Bucket: &b, Key: &key, Body: bytes.NewReader(body)}); err != nil {
					t.Errorf("put: %v", err)
					return
				}
				note("PutObject", key, "")
				out, err := c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &key})
				if err != nil {
					t.Errorf("get: %v", err)
					return
				}
				if got, err := io.ReadAll(out.Body); err != nil || sha256.Sum256(got) != sha256.Sum256(body) {
					t.Errorf("get %s: %d bytes, want %d: %v", key, len(got), len(body), err)
				}
				note("GetObject", key, "")
				theirs := fmt.Sprintf("user%d/object %d+ü", (w+1)%workers, i)
				_, err = c.GetObject(ctx, &awss3.GetObjectInput{Bucket: &b, Key: &theirs})
				want(t, "what is another's", err, "AccessDenied")
				note("GetObject", theirs, "AccessDenied")
				if _, err := c.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &b, Key: &key}); err != nil {
					t.Errorf("delete: %v", err)
				}
				note("DeleteObject", key, "")
			}
		})
	}
	wg.Wait()
	got := map[row]int{}
	ids := map[string]bool{}
	for _, text := range g.book.Records() {
		var e struct {
			EventName, ErrorCode, RequestID string
			UserIdentity                    struct{ UserName, AccessKeyID string }
			RequestParameters               struct{ Key string }
		}
		if err := json.Unmarshal([]byte(text), &e); err != nil {
			t.Fatal(err)
		}
		if ids[e.RequestID] {
			t.Errorf("request %s is there twice", e.RequestID)
		}
		ids[e.RequestID] = true
		if name := e.UserIdentity.UserName; name != "" && keys[name].ID != e.UserIdentity.AccessKeyID {
			t.Errorf("%s with the key %s", name, e.UserIdentity.AccessKeyID)
		}
		got[row{e.EventName, e.RequestParameters.Key, e.UserIdentity.UserName, e.ErrorCode}]++
	}
	for r, n := range wanted {
		if got[r] != n {
			t.Errorf("%+v: %d records, want %d", r, got[r], n)
		}
		delete(got, r)
	}
	for r, n := range got {
		t.Errorf("%+v: %d records of no request", r, n)
	}
}

// TestAborts: an upload whose sender goes away is not there, and is recorded as that.
func TestAborts(t *testing.T) {
	t.Parallel()
	g := newRig(t)
	root := g.client(g.root)
	g.bucket(root, "torn")
	for i := range 20 {
		key := fmt.Sprintf("k%d", i)
		u, err := awss3.NewPresignClient(root).PresignPutObject(t.Context(), &awss3.PutObjectInput{Bucket: aws.String("torn"), Key: &key})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URL, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		n := len(g.book.Records())
		_, _ = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: 200000\r\n\r\n%s", strings.TrimPrefix(u.URL, g.URL), strings.TrimPrefix(g.URL, "http://"), strings.Repeat("x", 190_000))
		_ = conn.Close()
		for len(g.book.Records()) == n {
			select {
			case <-t.Context().Done():
				t.Fatal("it was not recorded")
			case <-time.After(time.Millisecond): // it is recorded when the abort is seen
			}
		}
		e := g.recorded("PutObject", "IncompleteBody")
		if e["additionalEventData"].(map[string]any)["transferAborted"] != "client" {
			t.Errorf("recorded %v", e)
		}
		_, err = root.HeadObject(t.Context(), &awss3.HeadObjectInput{Bucket: aws.String("torn"), Key: &key})
		want(t, "what was torn", err, "NotFound")
	}
}
