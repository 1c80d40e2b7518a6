package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

const (
	keyID  = "AKIAIOSFODNN7EXAMPLE"
	secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
)

var noon = time.Date(2026, 1, 10, 12, 0, 0, 0, time.UTC)

func digest(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

func place(service string) Place {
	return Place{Service: service, Region: func(r string) bool { return r == "us-east-1" }, Skew: 15 * time.Minute}
}

// vector is the request of the published vector: its canonical request and its signature are known from another implementation.
func vector() *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://127.0.0.1:4599/", strings.NewReader("{}"))
	r.Header.Set("Content-Type", "application/x-amz-json-1.1")
	r.Header.Set("X-Amz-Date", "20260110T120000Z")
	r.Header.Set("X-Amz-Target", "CloudTrail_20131101.DescribeTrails")
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+keyID+"/20260110/us-east-1/cloudtrail/aws4_request, "+
		"SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=01830d6a89c3772801acd82dab19db530327cd06c24708f409fe891b6548a2de")
	return r
}

func TestVector(t *testing.T) {
	t.Parallel()
	r := vector()
	s, err := Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Check(r, noon, place("cloudtrail")); err != nil {
		t.Fatal(err)
	}
	canonical, err := s.canonical(r, digest("{}"), true)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := digest(canonical), "4d5bd5e731b94a4c2dc07e65c26546dfe5bf77da1df900b8d6831f5d195233a6"; got != want {
		t.Errorf("canonical request hashes to %s, want %s:\n%s", got, want, canonical)
	}
	if err := s.Verify(r, secret, digest("{}"), true); err != nil {
		t.Error(err)
	}
}

// TestRefusals changes one thing of the vector at a time.
func TestRefusals(t *testing.T) {
	t.Parallel()
	auth := func(old, new string) func(r *http.Request) {
		return func(r *http.Request) {
			h := r.Header.Get("Authorization")
			if !strings.Contains(h, old) {
				panic(old)
			}
			r.Header.Set("Authorization", strings.Replace(h, old, new, 1))
		}
	}
	header := func(name, value string) func(r *http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		change func(r *http.Request)
		now    time.Time
		body   string
		kind   Kind
	}{
		"none":      {change: func(r *http.Request) { r.Header.Del("Authorization") }, kind: Missing},
		"basic":     {change: header("Authorization", "Basic YTpi"), kind: Missing},
		"version 2": {change: header("Authorization", "AWS AKIDEXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg="), kind: Retired},
		"version 3": {change: header("Authorization", "AWS3-HTTPS AWSAccessKeyId=AKIDEXAMPLE,Algorithm=HmacSHA256,Signature=eA=="), kind: Retired},
		"version 2, query": {change: func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "AWSAccessKeyId=AKIDEXAMPLE&Signature=vjbyPxybdZaNmGa%2ByT272YEAiv4%3D&Expires=1175139620"
		}, kind: Retired},
		"version 2, a service's": {change: func(r *http.Request) {
			r.Header.Del("Authorization")
			r.URL.RawQuery = "Action=GetUser&SignatureVersion=2&SignatureMethod=HmacSHA256&Signature=eA%3D%3D"
		}, kind: Retired},
		"sigv4a":               {change: auth("AWS4-HMAC", "AWS4-ECDSA-P256"), kind: Incomplete},
		"two":                  {change: func(r *http.Request) { r.Header.Add("Authorization", "x") }, kind: Incomplete},
		"header and query":     {change: func(r *http.Request) { r.URL.RawQuery = "X-Amz-Algorithm=AWS4-HMAC-SHA256" }, kind: Incomplete},
		"long":                 {change: header("Authorization", "AWS4-HMAC-SHA256 "+strings.Repeat("a=b,", 4000)), kind: Incomplete},
		"no pairs":             {change: header("Authorization", "AWS4-HMAC-SHA256 nothing"), kind: Incomplete},
		"no signature":         {change: auth(", Signature=", ", Other="), kind: Incomplete},
		"no credential":        {change: auth("Credential=", "Other="), kind: Incomplete},
		"no headers":           {change: auth("SignedHeaders=", "Other="), kind: Incomplete},
		"twice":                {change: auth("SignedHeaders=", "Credential=x, SignedHeaders="), kind: Incomplete},
		"no date":              {change: func(r *http.Request) { r.Header.Del("X-Amz-Date") }, kind: Incomplete},
		"bad date":             {change: header("X-Amz-Date", "2026-01-10T12:00:00Z"), kind: Incomplete},
		"short credential":     {change: auth("/us-east-1", ""), kind: Incomplete},
		"no key":               {change: auth(keyID, ""), kind: Incomplete},
		"short signature":      {change: auth("Signature=01", "Signature="), kind: Incomplete},
		"upper signature":      {change: auth("Signature=01830d", "Signature=01830D"), kind: Incomplete},
		"upper headers":        {change: auth("content-type;", "Content-Type;"), kind: Incomplete},
		"header twice":         {change: auth("host;", "host;host;"), kind: Incomplete},
		"empty header":         {change: auth("host;", "host;;"), kind: Incomplete},
		"terminator":           {change: auth("aws4_request", "aws4"), kind: Scope},
		"service":              {change: auth("/cloudtrail/", "/sts/"), kind: Scope},
		"region":               {change: auth("us-east-1", "eu-west-1"), kind: Scope},
		"day":                  {change: auth("20260110", "20260109"), kind: Scope},
		"old":                  {now: noon.Add(15*time.Minute + time.Second), kind: Skewed},
		"future":               {now: noon.Add(-15*time.Minute - time.Second), kind: Skewed},
		"host unsigned":        {change: auth("host;", ""), kind: Unsigned},
		"date unsigned":        {change: auth("x-amz-date;", ""), kind: Unsigned},
		"target unsigned":      {change: auth(";x-amz-target", ""), kind: Unsigned},
		"token unsigned":       {change: header("X-Amz-Security-Token", "t"), kind: Unsigned},
		"digest unsigned":      {change: header("X-Amz-Content-Sha256", digest("{}")), kind: Unsigned},
		"target twice":         {change: func(r *http.Request) { r.Header.Add("X-Amz-Target", "x.y") }, kind: Unsigned},
		"other key":            {change: auth(keyID, "AKIAOTHER"), body: "{}", kind: 0}, // whose secret is the caller's to find
		"wrong":                {change: auth("Signature=0", "Signature=1"), kind: Mismatch},
		"body":                 {body: "{ }", kind: Mismatch},
		"target":               {change: header("X-Amz-Target", "CloudTrail_20131101.DeleteTrail"), kind: Mismatch},
		"host":                 {change: func(r *http.Request) { r.Host = "elsewhere" }, kind: Mismatch},
		"content type":         {change: header("Content-Type", "application/x-amz-json-1.0"), kind: Mismatch},
		"method":               {change: func(r *http.Request) { r.Method = http.MethodPut }, kind: Mismatch},
		"path":                 {change: func(r *http.Request) { r.URL.Path = "/x" }, kind: Mismatch},
		"query":                {change: func(r *http.Request) { r.URL.RawQuery = "a=b" }, kind: Mismatch},
		"malformed query":      {change: func(r *http.Request) { r.URL.RawQuery = "a=%zz" }, kind: BadQuery},
		"late, within bounds":  {now: noon.Add(15 * time.Minute)},
		"early, within bounds": {now: noon.Add(-15 * time.Minute)},
		"inner spaces":         {change: header("Content-Type", "  application/x-amz-json-1.1  ")},
		"unsigned other":       {change: header("X-Amzn-Trace-Id", "Root=1")},
		"of a proxy":           {change: header("X-Amz-Cf-Id", "1")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := vector()
			if c.change != nil {
				c.change(r)
			}
			now, body := noon, "{}"
			if !c.now.IsZero() {
				now = c.now
			}
			if c.body != "" {
				body = c.body
			}
			wantKind(t, verify(r, now, body, true), c.kind)
		})
	}
}

func verify(r *http.Request, now time.Time, body string, twice bool) error {
	s, err := Parse(r)
	if err != nil {
		return err
	}
	service := "cloudtrail"
	if !twice {
		service = "s3"
	}
	if err := s.Check(r, now, place(service)); err != nil {
		return err
	}
	payload := digest(body)
	if s.Payload != "" {
		payload = s.Payload
	} else if !twice {
		payload = UnsignedPayload
	}
	return s.Verify(r, secret, payload, twice)
}

func wantKind(t *testing.T, err error, want Kind) {
	t.Helper()
	var e *Error
	switch {
	case want == 0 && err != nil:
		t.Errorf("refused: %v", err)
	case want != 0 && (!errors.As(err, &e) || e.Kind != want):
		t.Errorf("got %v, want kind %d", err, want)
	case want != 0 && (e.Text == "" || strings.Contains(e.Text, secret)):
		t.Errorf("the text is %q", e.Text)
	}
}

// TestTexts holds what callers are told of times and scopes.
func TestTexts(t *testing.T) {
	t.Parallel()
	for want, now := range map[string]time.Time{
		"Signature expired: 20260110T120000Z is now earlier than 20260110T120500Z (20260110T122000Z - 15 min.)":         noon.Add(20 * time.Minute),
		"Signature not yet current: 20260110T120000Z is still later than 20260110T115500Z (20260110T114000Z + 15 min.)": noon.Add(-20 * time.Minute),
	} {
		if err := verify(vector(), now, "{}", true); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestPeer verifies what the signer of AWS's SDK makes.
func TestPeer(t *testing.T) {
	t.Parallel()
	signer := v4.NewSigner()
	s3 := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	creds := aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}
	session := creds
	session.SessionToken = "a/token+with=signs"
	for _, target := range []string{
		"http://host/", "http://host:8080/", "http://host/a/b?b=2&a=1&a=0", "http://host/a%20b/%C3%A9?x=%20y&z", "http://host/a%2Fb/c+d/~e?q=a%2Bb*c", "http://host/a;b=c,d?x=1%26y", "http://host/a%2Bb%3B/c",
	} {
		for _, c := range []struct {
			signer *v4.Signer
			creds  aws.Credentials
			twice  bool
		}{{signer, creds, true}, {signer, session, true}, {s3, creds, false}, {s3, session, false}} {
			service := "cloudtrail"
			if !c.twice {
				service = "s3"
			}
			if !c.twice && strings.ContainsAny(target, "+;") {
				continue // clients of S3 encode all but unreserved characters
			}
			name := fmt.Sprintf("%s %s %t", target, service, c.creds.SessionToken != "")
			out, err := http.NewRequest(http.MethodPost, target, strings.NewReader("hello"))
			if err != nil {
				t.Fatal(err)
			}
			out.Header.Set("Content-Type", "text/plain;  charset=x")
			out.Header.Add("X-Amz-Meta-A", "  1   2 ")
			if !c.twice {
				out.Header.Set("X-Amz-Content-Sha256", digest("hello"))
			}
			if err := c.signer.SignHTTP(context.Background(), c.creds, out, digest("hello"), service, "us-east-1", noon); err != nil {
				t.Fatal(err)
			}
			in := received(t, out)
			if err := verify(in, noon, "hello", c.twice); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got, err := Parse(in); err != nil || got.Token != c.creds.SessionToken || got.AccessKey != keyID {
				t.Errorf("%s: %+v, %v", name, got, err)
			}

			out, _ = http.NewRequest(http.MethodGet, target, nil)
			q := out.URL.Query()
			q.Set("X-Amz-Expires", "60")
			out.URL.RawQuery = q.Encode()
			payload := digest("")
			if !c.twice {
				payload = UnsignedPayload
			}
			presigned, _, err := c.signer.PresignHTTP(context.Background(), c.creds, out, payload, service, "us-east-1", noon)
			if err != nil {
				t.Fatal(err)
			}
			for _, at := range []struct {
				after time.Duration
				kind  Kind
			}{{0, 0}, {60 * time.Second, 0}, {61 * time.Second, Expired}, {-16 * time.Minute, Skewed}} { // until it expires it counts again and again
				get, _ := http.NewRequest(http.MethodGet, presigned, nil)
				in := received(t, get)
				wantKind(t, verify(in, noon.Add(at.after), "", c.twice), at.kind)
			}
			get, _ := http.NewRequest(http.MethodGet, presigned+"&more=1", nil)
			wantKind(t, verify(received(t, get), noon, "", c.twice), Mismatch)
		}
	}
}

// received is a request as a server sees it.
func received(t *testing.T, out *http.Request) *http.Request {
	t.Helper()
	var got *http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r }))
	defer srv.Close()
	host := out.URL.Host
	u, _ := url.Parse(srv.URL)
	out.URL.Host, out.Host = u.Host, host
	resp, err := srv.Client().Do(out)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return got
}

func TestPresignedRefusals(t *testing.T) {
	t.Parallel()
	get, _ := http.NewRequest(http.MethodGet, "http://host/?X-Amz-Expires=60", nil)
	presigned, _, err := v4.NewSigner().PresignHTTP(context.Background(), aws.Credentials{AccessKeyID: keyID, SecretAccessKey: secret}, get, digest(""), "cloudtrail", "us-east-1", noon)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(q url.Values)
		kind   Kind
	}{
		"as it is":          {func(url.Values) {}, 0},
		"algorithm":         {func(q url.Values) { q.Set("X-Amz-Algorithm", "AWS3") }, BadQuery},
		"no credential":     {func(q url.Values) { q.Del("X-Amz-Credential") }, BadQuery},
		"no date":           {func(q url.Values) { q.Del("X-Amz-Date") }, BadQuery},
		"no headers":        {func(q url.Values) { q.Del("X-Amz-SignedHeaders") }, BadQuery},
		"no signature":      {func(q url.Values) { q.Del("X-Amz-Signature") }, BadQuery},
		"two signatures":    {func(q url.Values) { q.Add("X-Amz-Signature", "x") }, BadQuery},
		"two tokens":        {func(q url.Values) { q["X-Amz-Security-Token"] = []string{"a", "b"} }, BadQuery},
		"expires not":       {func(q url.Values) { q.Set("X-Amz-Expires", "x") }, BadQuery},
		"expires before":    {func(q url.Values) { q.Set("X-Amz-Expires", "-1") }, BadQuery},
		"expires late":      {func(q url.Values) { q.Set("X-Amz-Expires", "604801") }, BadQuery},
		"longer than meant": {func(q url.Values) { q.Set("X-Amz-Expires", "604800") }, Mismatch},
		"without expiry":    {func(q url.Values) { q.Del("X-Amz-Expires") }, Mismatch},
		"scope":             {func(q url.Values) { q.Set("X-Amz-Credential", keyID+"/20260110/us-east-1/sts/aws4_request") }, Scope},
		"host unsigned":     {func(q url.Values) { q.Set("X-Amz-SignedHeaders", "date") }, Unsigned},
	} {
		u, _ := url.Parse(presigned)
		q := u.Query()
		c.change(q)
		u.RawQuery = q.Encode()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wantKind(t, verify(httptest.NewRequest(http.MethodGet, u.String(), nil), noon, "", true), c.kind)
		})
	}
}

// stream is the example of a chunked upload of the S3 documentation: 66560 letters in three chunks.
func stream() (*Signature, string) {
	s := &Signature{
		AccessKey: keyID, Day: "20130524", Region: "us-east-1", Service: "s3", stamp: "20130524T000000Z",
		signature: "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
	}
	return s, "10000;chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n"
}

func TestChunks(t *testing.T) {
	t.Parallel()
	s, body := stream()
	if got, err := io.ReadAll(NewChunkReader(strings.NewReader(body), s, secret, StreamingPayload, nil)); err != nil || string(got) != strings.Repeat("a", 66560) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	// The blank line after the last chunk may be missing.
	if _, err := io.ReadAll(NewChunkReader(strings.NewReader(strings.TrimSuffix(body, "\r\n")), s, secret, StreamingPayload, nil)); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]struct {
		old, new string
		kind     Kind // 0 for a malformed body
		data     int  // bytes handed out before
	}{
		"data":             {"aa\r\n400", "ab\r\n400", Mismatch, 0},
		"signature":        {"=0055", "=1055", Mismatch, 65536},
		"last signature":   {"=b6c6", "=c6c6", Mismatch, 66560},
		"order":            {"400;chunk-signature=0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497\r\n" + strings.Repeat("a", 1024) + "\r\n", "", Mismatch, 65536},
		"no signature":     {";chunk-signature=0055", ";x=0055", 0, 65536},
		"no number":        {"400;", "4z0;", 0, 65536},
		"negative":         {"400;", "-400;", 0, 65536},
		"too large":        {"400;", "fffffffff;", 0, 65536},
		"beyond 64 bits":   {"400;", "fffffffffffffffff;", 0, 65536},
		"long line":        {"400;", strings.Repeat("0", 600) + "400;", 0, 65536},
		"size":             {"400;", "3ff;", Mismatch, 65536},
		"ends early":       {"0;chunk-signature=b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9\r\n\r\n", "", 0, 66560},
		"something after":  {"9df9\r\n\r\n", "9df9\r\n\r\nx", 0, 66560},
		"no end of a line": {"aa\r\n400", "aaxx400", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, body := stream()
			if strings.Count(body, c.old) != 1 {
				t.Fatalf("%q is there %d times", c.old, strings.Count(body, c.old))
			}
			got, err := io.ReadAll(NewChunkReader(strings.NewReader(strings.Replace(body, c.old, c.new, 1)), s, secret, StreamingPayload, nil))
			if c.kind != 0 {
				wantKind(t, err, c.kind)
			} else if !errors.Is(err, ErrChunk) {
				t.Errorf("got %v", err)
			}
			if len(got) != c.data {
				t.Errorf("%d bytes were handed out, want %d", len(got), c.data)
			}
		})
	}
}

// trailed is the example of the S3 documentation with a checksum after the body.
func trailed() (*Signature, string) {
	s := &Signature{
		AccessKey: keyID, Day: "20130524", Region: "us-east-1", Service: "s3", stamp: "20130524T000000Z",
		signature: "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
	}
	return s, "10000;chunk-signature=b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2\r\n" + strings.Repeat("a", 65536) + "\r\n" +
		"400;chunk-signature=1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7\r\n" + strings.Repeat("a", 1024) + "\r\n" +
		"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n" +
		"x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n"
}

func TestTrailers(t *testing.T) {
	t.Parallel()
	s, body := trailed()
	names := []string{"x-amz-checksum-crc32c"}
	c := NewChunkReader(strings.NewReader(body), s, secret, StreamingPayloadTrailer, names)
	if got, err := io.ReadAll(c); err != nil || len(got) != 66560 || c.Trailer().Get("X-Amz-Checksum-Crc32c") != "sOO8/Q==" {
		t.Errorf("%d bytes, %v, %v", len(got), c.Trailer(), err)
	}
	for name, change := range map[string][2]string{
		"value":        {"sOO8", "sOO9"},
		"unannounced":  {"crc32c:", "crc32:"},
		"no signature": {"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n", ""},
		"no header":    {"crc32c:", "crc32c "},
		"cut":          {"2e435\r\n\r\n", "2e435\r\n"},
	} {
		c := NewChunkReader(strings.NewReader(strings.Replace(body, change[0], change[1], 1)), s, secret, StreamingPayloadTrailer, names)
		if _, err := io.ReadAll(c); err == nil {
			t.Errorf("%s: was taken", name)
		}
	}
	plain := "5\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32c:AAAAAA==\r\n\r\n"
	c = NewChunkReader(strings.NewReader(plain), s, secret, StreamingUnsignedTrailer, names)
	if got, err := io.ReadAll(c); err != nil || string(got) != "hello world" || c.Trailer().Get("X-Amz-Checksum-Crc32c") != "AAAAAA==" {
		t.Errorf("%q, %v, %v", got, c.Trailer(), err)
	}
	for _, bad := range []string{"5\r\nhel", "5\r\nhelloworld\r\n", "5;chunk-signature=x\r\nhello\r\n0\r\n\r\n", "0\r\n", "", plain + plain, "0\r\nx-amz-meta:1\r\n\r\n"} {
		if _, err := io.ReadAll(NewChunkReader(strings.NewReader(bad), s, secret, StreamingUnsignedTrailer, names)); !errors.Is(err, ErrChunk) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	r := vector()
	f.Add(r.Header.Get("Authorization"), "20260110T120000Z", "")
	f.Add("", "", "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a/b/c/d/aws4_request&X-Amz-Date=20260110T120000Z&X-Amz-Expires=1&X-Amz-SignedHeaders=host&X-Amz-Signature="+digest(""))
	f.Fuzz(func(t *testing.T, auth, date, query string) {
		r := vector()
		r.URL.RawQuery = query
		r.Header["X-Amz-Date"] = []string{date}
		if auth == "" {
			r.Header.Del("Authorization")
		} else {
			r.Header["Authorization"] = []string{auth}
		}
		s, err := Parse(r)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%T", err)
			}
			return
		}
		// The seed is the only text with the right signature.
		if s.Verify(r, secret, digest("{}"), true) == nil && !strings.Contains(auth, "01830d6a89c3772801acd82dab19db530327cd06c24708f409fe891b6548a2de") {
			t.Fatalf("%q %q %q is right", auth, date, query)
		}
	})
}

func FuzzChunks(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\nx-amz-checksum-crc32c:AAAAAA==\r\n\r\n"), byte(0))
	_, body := stream()
	f.Add([]byte(body), byte(1))
	_, body = trailed()
	f.Add([]byte(body), byte(2))
	f.Fuzz(func(t *testing.T, body []byte, kind byte) {
		s, _ := stream()
		payload := []string{StreamingUnsignedTrailer, StreamingPayload, StreamingPayloadTrailer}[kind%3]
		got, err := io.ReadAll(NewChunkReader(bytes.NewReader(body), s, secret, payload, []string{"x-amz-checksum-crc32c"}))
		if len(got) > len(body) {
			t.Fatalf("%d bytes of %d", len(got), len(body))
		}
		if payload != StreamingUnsignedTrailer && len(got) > 0 && !bytes.Contains(body, []byte("ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648")) {
			t.Fatalf("unsigned data was handed out: %q, %v", got, err)
		}
	})
}
