package s3

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"spoor/internal/source"
	"spoor/internal/source/sourcetest"
)

// fake is an S3 endpoint that misbehaves as its functions say.
type fake struct {
	url string

	mu       sync.Mutex
	requests []*http.Request
}

// serve starts an endpoint. list answers listings, get objects; n counts the requests of that kind from 1.
func serve(t testing.TB, list func(w http.ResponseWriter, q url.Values, n int), get func(w http.ResponseWriter, r *http.Request, n int)) *fake {
	t.Helper()
	f := &fake{}
	lists, gets := 0, 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.requests = append(f.requests, r.Clone(context.WithoutCancel(r.Context())))
		isList := r.URL.Query().Has("list-type")
		n := &gets
		if isList {
			n = &lists
		}
		*n++
		k := *n
		f.mu.Unlock()
		if isList {
			list(w, r.URL.Query(), k)
		} else {
			get(w, r, k)
		}
	}))
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

// seen returns the requests so far.
func (f *fake) seen() []*http.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.requests
}

// impatient tries again without waiting.
func impatient(o *awss3.Options) {
	o.Retryer = retry.NewStandard(func(so *retry.StandardOptions) {
		so.MaxAttempts = attempts
		so.RateLimiter = noLimit{}
		so.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
	})
}

type noLimit struct{}

func (noLimit) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (noLimit) AddTokens(uint) error { return nil }

func (f *fake) source(t testing.TB, bucket, prefix string, opts Options) *Source {
	t.Helper()
	opts.EndpointURL = f.url
	if opts.tweak == nil {
		opts.tweak = impatient
	}
	src, err := New(t.Context(), bucket, prefix, opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

type page struct {
	XMLName  xml.Name `xml:"ListBucketResult"`
	Next     string   `xml:"NextContinuationToken,omitempty"`
	More     bool     `xml:"IsTruncated"`
	Contents []entry
	Prefixes []folder `xml:"CommonPrefixes"`
}

type entry struct {
	Key          string
	Size         int
	LastModified string
}

type folder struct{ Prefix string }

func (p page) send(w io.Writer) {
	if err := xml.NewEncoder(w).Encode(p); err != nil {
		panic(err)
	}
}

func keys(names ...string) []entry {
	out := make([]entry, len(names))
	for i, n := range names {
		out[i] = entry{n, 2, "2026-01-10T09:15:00Z"}
	}
	return out
}

func fails(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>told so</Message></Error>", code)
}

func noGets(w http.ResponseWriter, _ *http.Request, _ int) { fails(w, 500, "InternalError") }

func TestListFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		list  func(w http.ResponseWriter, q url.Values, n int)
		opts  Options
		bukt  string
		want  []string // in the error, none for success
		count int      // objects listed before it
	}{
		"busy, then well": {list: func(w http.ResponseWriter, _ url.Values, n int) {
			if n < attempts {
				fails(w, 503, "SlowDown")
				return
			}
			page{Contents: keys("a", "b")}.send(w)
		}, count: 2},
		"busy for ever":  {list: func(w http.ResponseWriter, _ url.Values, _ int) { fails(w, 503, "SlowDown") }, want: []string{"SlowDown"}},
		"access denied":  {list: func(w http.ResponseWriter, _ url.Values, _ int) { fails(w, 403, "AccessDenied") }, want: []string{"s3:ListBucket", "AccessDenied"}},
		"no such bucket": {list: func(w http.ResponseWriter, _ url.Values, _ int) { fails(w, 404, "NoSuchBucket") }, want: []string{"there is no such bucket"}},
		"fails on the second page": {list: func(w http.ResponseWriter, q url.Values, _ int) {
			if q.Get("continuation-token") == "" {
				page{Contents: keys("a", "b"), More: true, Next: "x"}.send(w)
				return
			}
			fails(w, 403, "AccessDenied")
		}, want: []string{"access denied"}, count: 2},
		"ends on the second page": {list: func(w http.ResponseWriter, q url.Values, _ int) {
			if q.Get("continuation-token") == "" {
				page{Contents: keys("a", "b"), More: true, Next: "x"}.send(w)
				return
			}
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, "<ListBucketResult><Contents><Key>c</Key>")
		}, want: []string{"EOF"}, count: 2},
		"more, but no token": {list: func(w http.ResponseWriter, _ url.Values, _ int) { page{Contents: keys("a"), More: true}.send(w) }, want: []string{"not how to get it"}, count: 1},
		"the same token again": {list: func(w http.ResponseWriter, _ url.Values, n int) {
			page{Contents: keys(fmt.Sprintf("%03d", n)), More: true, Next: "x"}.send(w)
		}, want: []string{"not how to get it"}, count: 2},
		"the first page again": {list: func(w http.ResponseWriter, _ url.Values, n int) {
			page{Contents: keys("a", "b"), More: true, Next: strconv.Itoa(n)}.send(w)
		}, want: []string{"out of order", `"a" after "b"`}, count: 2},
		"out of order":  {list: func(w http.ResponseWriter, _ url.Values, _ int) { page{Contents: keys("b", "a")}.send(w) }, want: []string{"out of order"}, count: 1},
		"folders twice": {list: func(w http.ResponseWriter, _ url.Values, _ int) { page{Prefixes: []folder{{"b/"}, {"b/"}}}.send(w) }, want: []string{"out of order"}},
		"out of order, as told": {list: func(w http.ResponseWriter, _ url.Values, _ int) { page{Contents: keys("b", "a")}.send(w) },
			opts: Options{Unordered: true}, count: 2},
		"out of order in a directory bucket": {list: func(w http.ResponseWriter, _ url.Values, _ int) { page{Contents: keys("b", "a")}.send(w) },
			bukt: "bucket--use1-az4--x-s3", count: 2},
		"no XML": {list: func(w http.ResponseWriter, _ url.Values, _ int) { _, _ = io.WriteString(w, "<html>welcome") }, want: []string{"list s3://"}},
		"a deep folder fails": {list: func(w http.ResponseWriter, q url.Values, _ int) {
			switch q.Get("prefix") {
			case "":
				page{Contents: keys("z"), Prefixes: []folder{{"AWSLogs/"}}}.send(w)
			case "AWSLogs/":
				page{Prefixes: []folder{{"AWSLogs/111122223333/"}, {"AWSLogs/444455556666/"}}}.send(w)
			case "AWSLogs/444455556666/":
				fails(w, 403, "AccessDenied")
			default:
				page{}.send(w)
			}
		}, want: []string{"list s3://bucket/AWSLogs/444455556666/: access denied"}, count: 1},
		"a key from elsewhere": {list: func(w http.ResponseWriter, q url.Values, _ int) {
			if q.Get("prefix") == "" {
				page{Prefixes: []folder{{"a/"}}}.send(w)
				return
			}
			page{Contents: keys("b/c")}.send(w)
		}, want: []string{"list s3://bucket/a/", "elsewhere"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.bukt == "" {
				c.bukt = "bucket"
			}
			if c.bukt != "bucket" {
				c.opts.tweak = func(o *awss3.Options) { impatient(o); off := true; o.DisableS3ExpressSessionAuth = &off }
			}
			count := 0
			f := serve(t, c.list, noGets)
			err := f.source(t, c.bukt, "", c.opts).List(t.Context(), source.Selection{}, func(source.Object, string) error { count++; return nil })
			if (err == nil) != (len(c.want) == 0) || count != c.count {
				t.Errorf("error %v, %d objects, want %q, %d", err, count, c.want, c.count)
			}
			for _, w := range append(c.want, "s3://"+c.bukt) {
				if err != nil && !strings.Contains(err.Error(), w) {
					t.Errorf("error %v, want %q", err, w)
				}
			}
		})
	}
}

func TestNothingThere(t *testing.T) {
	t.Parallel()
	f := serve(t, func(w http.ResponseWriter, _ url.Values, _ int) { page{}.send(w) }, noGets)
	none := func(source.Object, string) error { return nil }
	if err := f.source(t, "bucket", "no/such", Options{}).List(t.Context(), source.Selection{}, none); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "s3://bucket/no/such") {
		t.Errorf("a prefix of nothing: %v", err)
	}
	if err := f.source(t, "bucket", "", Options{}).List(t.Context(), source.Selection{}, none); err != nil {
		t.Errorf("an empty bucket: %v", err)
	}
}

const content = "0123456789abcdefghijklmnopqrstuvwxyz"

// object answers as a good store does, from the byte that is asked for up to one at which the connection ends.
func object(w http.ResponseWriter, r *http.Request, upTo int) {
	from := 0
	w.Header().Set("ETag", `"tag"`)
	if g := r.Header.Get("Range"); g != "" {
		if _, err := fmt.Sscanf(g, "bytes=%d-", &from); err != nil {
			panic(err)
		}
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = io.WriteString(w, content[from:max(from, min(upTo, len(content)))])
}

func TestReadFailures(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		get   func(w http.ResponseWriter, r *http.Request, n int)
		want  []string // in the error, none for success
		read  int      // bytes read before it
		calls int      // requests
	}{
		"good": {get: func(w http.ResponseWriter, r *http.Request, _ int) { object(w, r, len(content)) }, read: len(content), calls: 1},
		"busy, then well": {get: func(w http.ResponseWriter, r *http.Request, n int) {
			if n < 3 {
				fails(w, 503, "SlowDown")
				return
			}
			object(w, r, len(content))
		}, read: len(content), calls: 3},
		"breaks twice":   {get: func(w http.ResponseWriter, r *http.Request, n int) { object(w, r, n*15) }, read: len(content), calls: 3},
		"always breaks":  {get: func(w http.ResponseWriter, r *http.Request, n int) { object(w, r, 10+n) }, want: []string{"14 of 36 bytes", "EOF"}, read: 14, calls: 1 + resumes},
		"access denied":  {get: func(w http.ResponseWriter, _ *http.Request, _ int) { fails(w, 403, "AccessDenied") }, want: []string{"kms:Decrypt", "AccessDenied"}, calls: 1},
		"archived":       {get: func(w http.ResponseWriter, _ *http.Request, _ int) { fails(w, 403, "InvalidObjectState") }, want: []string{"restore it first"}, calls: 1},
		"deleted before": {get: func(w http.ResponseWriter, _ *http.Request, _ int) { fails(w, 404, "NoSuchKey") }, want: []string{"no such object"}, calls: 1},
		"breaks, then is replaced": {get: func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				object(w, r, 10)
				return
			}
			if r.Header.Get("If-Match") != `"tag"` {
				panic("the version is not asked for")
			}
			fails(w, 412, "PreconditionFailed")
		}, want: []string{"10 of 36 bytes", "replaced while it was read"}, read: 10, calls: 2},
		"breaks, then starts again": {get: func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 2 {
				r.Header.Del("Range")
			}
			object(w, r, 10)
		}, want: []string{"10 of 36 bytes", "asked for bytes from 10"}, read: 10, calls: 2},
		"shorter than listed, of unknown length": {get: func(w http.ResponseWriter, _ *http.Request, _ int) {
			_, _ = io.WriteString(w, content[:20])
			w.(http.Flusher).Flush()
		}, want: []string{"20 of 36 bytes", "EOF"}, read: 20, calls: 1},
		"stalls": {get: func(w http.ResponseWriter, r *http.Request, n int) {
			if n == 1 {
				object(w, r, 5)
				w.(http.Flusher).Flush()
				<-r.Context().Done()
				return
			}
			object(w, r, len(content))
		}, read: len(content), calls: 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, nil, c.get)
			opts := Options{}
			if name == "stalls" {
				opts.stall = 300 * time.Millisecond
			}
			src := f.source(t, "bucket", "", opts)
			var got strings.Builder
			err := src.Open(t.Context(), source.Object{Name: "s3://bucket/some/key.json", Size: int64(len(content))}, func(_ source.Object, r io.Reader) error {
				_, err := io.Copy(&got, r)
				return err
			})
			if (err == nil) != (len(c.want) == 0) || got.String() != content[:c.read] {
				t.Errorf("error %v, %q read, want %q, %q", err, got.String(), c.want, content[:c.read])
			}
			for _, w := range append(c.want, "s3://bucket/some/key.json") {
				if err != nil && !strings.Contains(err.Error(), w) {
					t.Errorf("error %v, want %q", err, w)
				}
			}
			if n := len(f.seen()); n != c.calls {
				t.Errorf("%d requests, want %d", n, c.calls)
			}
		})
	}
}

// What CloudTrail stores with Content-Encoding: gzip must arrive compressed.
func TestHeaders(t *testing.T) {
	t.Parallel()
	stored := string(sourcetest.Gzip("{}"))
	f := serve(t, func(w http.ResponseWriter, _ url.Values, _ int) { page{Contents: keys("a.json.gz")}.send(w) }, func(w http.ResponseWriter, _ *http.Request, _ int) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, stored)
	})
	sourcetest.Same(t, sourcetest.ReadAll(t, f.source(t, "bucket", "", Options{RequesterPays: true, Region: "eu-north-1"}), source.Selection{}),
		map[string]string{"s3://bucket/a.json.gz": stored})
	for _, r := range f.seen() {
		if r.Header.Get("X-Amz-Request-Payer") != "requester" || !strings.Contains(r.Header.Get("Authorization"), "Credential=tester/") ||
			!strings.Contains(r.Header.Get("Authorization"), "/eu-north-1/s3/") || !strings.HasPrefix(r.URL.Path, "/bucket") || r.Header.Get("Accept-Encoding") == "gzip" {
			t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
		}
	}
	before := len(f.seen())
	sourcetest.ReadAll(t, f.source(t, "bucket", "", Options{Anonymous: true}), source.Selection{})
	for _, r := range f.seen()[before:] {
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Amz-Request-Payer") != "" {
			t.Errorf("%s %s: %v", r.Method, r.URL, r.Header)
		}
	}
	if len(f.seen()) != before+2 {
		t.Errorf("%d requests, want %d", len(f.seen()), before+2)
	}
}

// Only the folders of the selection are asked for, and days only where it begins or ends.
func TestListingIsPruned(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	asked := map[string]bool{}
	const base = "AWSLogs/111122223333/CloudTrail/us-east-1/"
	tree := map[string][]folder{
		"":                                 {{"AWSLogs/"}},
		"AWSLogs/":                         {{"AWSLogs/111122223333/"}, {"AWSLogs/444455556666/"}},
		"AWSLogs/111122223333/":            {{"AWSLogs/111122223333/CloudTrail/"}, {"AWSLogs/111122223333/Config/"}},
		"AWSLogs/111122223333/CloudTrail/": {{"AWSLogs/111122223333/CloudTrail/eu-west-1/"}, {base}},
		base:                               {{base + "2025/"}, {base + "2026/"}, {base + "2027/"}},
		base + "2026/":                     {{base + "2026/01/"}, {base + "2026/02/"}, {base + "2026/03/"}, {base + "2026/04/"}},
		base + "2026/01/":                  {{base + "2026/01/30/"}, {base + "2026/01/31/"}},
		base + "2026/03/":                  {{base + "2026/03/01/"}, {base + "2026/03/02/"}, {base + "2026/03/03/"}},
	}
	f := serve(t, func(w http.ResponseWriter, q url.Values, _ int) {
		mu.Lock()
		defer mu.Unlock()
		asked[q.Get("prefix")] = q.Get("delimiter") == ""
		if q.Get("delimiter") == "/" {
			page{Prefixes: tree[q.Get("prefix")]}.send(w)
			return
		}
		page{}.send(w)
	}, noGets)
	err := f.source(t, "bucket", "", Options{}).List(t.Context(), source.Selection{
		Since: time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC), Until: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Accounts: []string{"111122223333"}, Regions: []string{"us-east-1"}, Kinds: source.LogKinds(),
	}, func(obj source.Object, skip string) error {
		if obj.Name != "s3://bucket/AWSLogs/111122223333/Config/" || skip != "log of another service: Config" {
			t.Errorf("%s is visited: %q", obj.Name, skip)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]bool{ // whether from end to end
		"": false, "AWSLogs/": false, "AWSLogs/111122223333/": false, "AWSLogs/111122223333/CloudTrail/": false, base: false, base + "2026/": false,
		base + "2026/01/": false, base + "2026/01/31/": true, base + "2026/02/": true, base + "2026/03/": false, base + "2026/03/01/": true, base + "2026/03/02/": true,
	}
	for prefix, flat := range want {
		if got, ok := asked[prefix]; !ok || got != flat {
			t.Errorf("%s: asked for %v, flat %v, want %v", prefix, ok, got, flat)
		}
		delete(asked, prefix)
	}
	if len(asked) != 0 {
		t.Errorf("asked for %v", asked)
	}
}

// Folders outside of the layout are not looked into one by one without end, and the layout is found among many.
func TestProbesAreBounded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fan  int    // folders in every folder
		also string // in the first one
		most int    // requests
	}{
		"a few folders in each":    {fan: 9, most: 2 * probeMax},
		"many folders":             {fan: probeFan + 1, most: 2},
		"many folders, and layout": {fan: probeFan + 1, also: "AWSLogs/", most: 4*probeFan + 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := serve(t, func(w http.ResponseWriter, q url.Values, _ int) {
				prefix := q.Get("prefix")
				if q.Get("delimiter") == "" {
					page{Contents: keys(prefix + "x")}.send(w)
					return
				}
				p := page{}
				if prefix == "" && c.also != "" {
					p.Prefixes = append(p.Prefixes, folder{c.also})
				}
				for i := range c.fan {
					p.Prefixes = append(p.Prefixes, folder{fmt.Sprintf("%sf%04d/", prefix, i)})
				}
				p.send(w)
			}, noGets)
			if len(sourcetest.List(t, f.source(t, "bucket", "", Options{}), source.Selection{})) == 0 {
				t.Error("nothing is listed")
			}
			layout := false
			for _, r := range f.seen() {
				layout = layout || r.URL.Query().Get("prefix") == c.also && c.also != ""
			}
			if n := len(f.seen()); n > c.most || layout != (c.also != "") {
				t.Errorf("%d requests, want at most %d; layout listed: %v", n, c.most, layout)
			}
		})
	}
}

func TestRegionIsFoundOut(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var hosts []string
	f := serve(t, func(w http.ResponseWriter, _ url.Values, _ int) { page{Contents: keys("a")}.send(w) }, func(w http.ResponseWriter, r *http.Request, _ int) {
		w.Header().Set("X-Amz-Bucket-Region", "eu-west-3")
		w.WriteHeader(http.StatusMovedPermanently)
	})
	to, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	src, err := New(t.Context(), "bucket", "", Options{Region: "us-west-2", tweak: func(o *awss3.Options) {
		impatient(o)
		o.HTTPClient = roundTrip(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			hosts = append(hosts, r.URL.Host)
			mu.Unlock()
			r.URL.Scheme, r.URL.Host = to.Scheme, to.Host
			return http.DefaultTransport.RoundTrip(r)
		})
	}})
	if err != nil {
		t.Fatal(err)
	}
	if got := sourcetest.List(t, src, source.Selection{}); len(got) != 1 {
		t.Errorf("%v", got)
	}
	if fmt.Sprint(hosts) != "[bucket.s3.us-west-2.amazonaws.com bucket.s3.eu-west-3.amazonaws.com]" {
		t.Errorf("asked %v", hosts)
	}
	if auth := f.seen()[1].Header.Get("Authorization"); !strings.Contains(auth, "/eu-west-3/s3/") {
		t.Error(auth)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) Do(r *http.Request) (*http.Response, error) { return f(r) }

// Sets the environment, and so runs alone.
func TestCredentials(t *testing.T) {
	f := serve(t, func(w http.ResponseWriter, _ url.Values, _ int) { page{Contents: keys("a")}.send(w) }, noGets)
	var form url.Values
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		form = r.Form
		if r.Form.Get("RoleArn") != "arn:aws:iam::111122223333:role/reader" {
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>not for you</Message></Error></ErrorResponse>`)
			return
		}
		fmt.Fprint(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>`+
			`<SessionToken>role-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>`)
	}))
	defer sts.Close()
	conf := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(conf, []byte("[profile other]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = s\nregion = ap-south-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("AWS_CONFIG_FILE", conf)
	t.Setenv("AWS_ENDPOINT_URL_STS", sts.URL)

	list := func(opts Options) (string, error) {
		err := f.source(t, "bucket", "", opts).List(t.Context(), source.Selection{}, func(source.Object, string) error { return nil })
		if err != nil {
			return "", err
		}
		r := f.seen()[len(f.seen())-1]
		return r.Header.Get("Authorization") + " " + r.Header.Get("X-Amz-Security-Token"), nil
	}
	if auth, err := list(Options{Profile: "other"}); err != nil || !strings.Contains(auth, "Credential=AKIAPROFILE/") || !strings.Contains(auth, "/ap-south-1/") {
		t.Error(auth, err)
	}
	if auth, err := list(Options{RoleARN: "arn:aws:iam::111122223333:role/reader", ExternalID: "secret handshake"}); err != nil ||
		!strings.Contains(auth, "Credential=ASIAROLE/") || !strings.HasSuffix(auth, " role-token") || form.Get("ExternalId") != "secret handshake" || form.Get("RoleSessionName") != "spoor" {
		t.Error(auth, err, form)
	}
	if _, err := list(Options{RoleARN: "arn:aws:iam::111122223333:role/closed"}); err == nil || !strings.Contains(err.Error(), "assume role arn:aws:iam::111122223333:role/closed") ||
		!strings.Contains(err.Error(), "not for you") || form.Has("ExternalId") {
		t.Error(err, form)
	}
	if _, err := New(t.Context(), "bucket", "", Options{Profile: "missing"}); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Error(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	before := len(f.seen())
	if _, err := list(Options{}); err == nil || !strings.Contains(err.Error(), "list s3://bucket/: no usable AWS credentials") {
		t.Error(err)
	}
	err := f.source(t, "bucket", "", Options{}).Open(t.Context(), source.Object{Name: "s3://bucket/a"}, nil)
	if err == nil || !strings.Contains(err.Error(), "open s3://bucket/a: no usable AWS credentials") || len(f.seen()) != before {
		t.Error(err)
	}
}

func TestParseURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"s3://bucket":        {"bucket", ""},
		"s3://bucket/":       {"bucket", ""},
		"s3://bucket/a/b/":   {"bucket", "a/b/"},
		"s3://bucket//a":     {"bucket", "/a"},
		"s3://bucket/a%20b?": {"bucket", "a%20b?"},
		"s3://arn:aws:s3:us-east-1:111122223333:accesspoint/reader/a/b": {"arn:aws:s3:us-east-1:111122223333:accesspoint/reader", "a/b"},
		"s3://arn:aws:s3:us-east-1:111122223333:accesspoint/reader":     {"arn:aws:s3:us-east-1:111122223333:accesspoint/reader", ""},
	} {
		bucket, prefix, err := ParseURL(in)
		if err != nil || bucket != want[0] || prefix != want[1] {
			t.Errorf("%s: %q %q %v", in, bucket, prefix, err)
		}
	}
	for _, in := range []string{"", "bucket/a", "s3://", "s3:///a", "S3://bucket"} {
		if _, _, err := ParseURL(in); err == nil {
			t.Errorf("%q is taken", in)
		}
	}
}

// The cost of listing on this side: pages of 1,000 keys from a store that answers at once.
func BenchmarkList(b *testing.B) {
	const perDay, days = 10_000, 8
	base := "AWSLogs/111122223333/CloudTrail/us-east-1/2026/01/"
	pages := map[string][]byte{}
	answer := func(q url.Values) []byte {
		var sb strings.Builder
		prefix, delimiter, token := q.Get("prefix"), q.Get("delimiter"), q.Get("continuation-token")
		p := page{}
		if delimiter != "" {
			for i := range days {
				full := fmt.Sprintf("%s%02d/", base, i+1)
				if rest, ok := strings.CutPrefix(full, prefix); ok {
					next := folder{prefix + rest[:strings.IndexByte(rest, '/')+1]}
					if len(p.Prefixes) == 0 || p.Prefixes[len(p.Prefixes)-1] != next {
						p.Prefixes = append(p.Prefixes, next)
					}
				}
			}
		} else {
			from, _ := strconv.Atoi(token)
			for i := from; i < from+1000; i++ {
				p.Contents = append(p.Contents, entry{fmt.Sprintf("%s111122223333_CloudTrail_us-east-1_202601%sT0915Z_%016d.json.gz", prefix, strings.TrimSuffix(prefix[len(base):], "/"), i), 700, "2026-01-10T09:15:00Z"})
			}
			if from+1000 < perDay {
				p.More, p.Next = true, strconv.Itoa(from+1000)
			}
		}
		p.send(&sb)
		return []byte(sb.String())
	}
	var mu sync.Mutex
	f := serve(b, func(w http.ResponseWriter, q url.Values, _ int) {
		id := q.Get("prefix") + "|" + q.Get("continuation-token") + "|" + q.Get("delimiter")
		mu.Lock()
		body := pages[id]
		if body == nil {
			body = answer(q)
			pages[id] = body
		}
		mu.Unlock()
		_, _ = w.Write(body)
	}, noGets)
	src := f.source(b, "bucket", "", Options{})
	since := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for b.Loop() {
		n := 0
		// A selection that ends inside of the month is listed by day.
		err := src.List(b.Context(), source.Selection{Since: since, Until: since.AddDate(0, 0, 20)}, func(source.Object, string) error { n++; return nil })
		if err != nil || n != perDay*days {
			b.Fatal(err, n)
		}
	}
	b.ReportMetric(perDay*days*float64(b.N)/b.Elapsed().Seconds(), "objects/s")
}
