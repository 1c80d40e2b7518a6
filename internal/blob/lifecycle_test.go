package blob

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
)

func document(rules string) string {
	return `<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">` + rules + `</LifecycleConfiguration>`
}

func TestParseLifecycle(t *testing.T) {
	t.Parallel()
	rule := func(s string) string { return document("<Rule>" + s + "</Rule>") }
	const head = "<ID>a</ID><Status>Enabled</Status><Filter><Prefix>x/</Prefix></Filter>"
	for _, c := range []struct{ text, code string }{
		{rule(head + "<Expiration><Days>1</Days></Expiration>"), ""},
		{rule("<Status>Disabled</Status><Prefix></Prefix><Expiration><Days>1</Days></Expiration>"), ""},
		{rule("<Status>Enabled</Status><Filter/><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), ""},
		{rule(head + "<Expiration><Date>2026-03-01T00:00:00.000Z</Date></Expiration><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>"), ""},
		{rule("<Status>Enabled</Status><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag><Tag><Key>l</Key><Value></Value></Tag><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>50</ObjectSizeLessThan></And></Filter><Expiration><Days>1</Days></Expiration>"), ""},
		{rule("<Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Expiration><Days>1</Days></Expiration>"), ""},
		{rule(head + "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), ""},
		{rule(head + "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>"), "NotImplemented"},
		{rule(head + "<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays><StorageClass>GLACIER</StorageClass></NoncurrentVersionTransition>"), "NotImplemented"},
		{rule(head), "InvalidRequest"},
		{rule(head + "<Expiration><Days>0</Days></Expiration>"), "InvalidArgument"},
		{rule(head + "<Expiration><Days>-1</Days></Expiration>"), "InvalidArgument"},
		{rule(head + "<Expiration><Days>9999999999</Days></Expiration>"), "InvalidArgument"},
		{rule(head + "<Expiration><Days>x</Days></Expiration>"), "MalformedXML"},
		{rule(head + "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), "MalformedXML"},
		{rule(head + "<Expiration><Date>2026-03-01T01:00:00Z</Date></Expiration>"), "InvalidArgument"},
		{rule(head + "<Expiration><Date>yesterday</Date></Expiration>"), "MalformedXML"},
		{rule(head + "<Expiration/>"), "MalformedXML"},
		{rule(head + "<Surprise/>"), "MalformedXML"},
		{rule(head + "<Prefix>y</Prefix><Expiration><Days>1</Days></Expiration>"), "MalformedXML"},
		{rule("<Status>On</Status><Filter/><Expiration><Days>1</Days></Expiration>"), "MalformedXML"},
		{rule("<Status>Enabled</Status><Expiration><Days>1</Days></Expiration>"), "MalformedXML"},
		{rule("<Status>Enabled</Status><Filter><Prefix>a</Prefix><ObjectSizeLessThan>5</ObjectSizeLessThan></Filter><Expiration><Days>1</Days></Expiration>"), "MalformedXML"},
		{rule("<Status>Enabled</Status><Filter><And><Prefix>a</Prefix></And></Filter><Expiration><Days>1</Days></Expiration>"), "MalformedXML"},
		{rule("<Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>"), "InvalidRequest"},
		{rule("<Status>Enabled</Status><Filter><Tag><Key>k</Key><Value>v</Value></Tag></Filter><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"), "InvalidRequest"},
		{rule(head + "<NoncurrentVersionExpiration><NewerNoncurrentVersions>2</NewerNoncurrentVersions></NoncurrentVersionExpiration>"), "MalformedXML"},
		{document("<Rule>" + head + "<Expiration><Days>1</Days></Expiration></Rule><Rule>" + head + "<Expiration><Days>2</Days></Expiration></Rule>"), "InvalidArgument"},
		{document(""), "MalformedXML"},
		{document("") + "x", "MalformedXML"},
		{"<Other/>", "MalformedXML"},
		{"", "MalformedXML"},
		{"<LifecycleConfiguration>", "MalformedXML"},
	} {
		l, err := ParseLifecycle([]byte(c.text))
		if Code(err) != c.code || (err == nil) != (c.code == "") {
			t.Errorf("%s: %v (%s), want %q", c.text, err, Code(err), c.code)
			continue
		}
		if err != nil {
			continue
		}
		b, err := l.XML()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseLifecycle(b)
		if err != nil || !reflect.DeepEqual(l, again) {
			t.Errorf("%s became %s: %v", c.text, b, err)
		}
	}
}

func FuzzLifecycle(f *testing.F) {
	f.Add(document("<Rule><ID>a</ID><Status>Enabled</Status><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter><Expiration><Days>1</Days></Expiration></Rule>"))
	f.Add(document("<Rule><Status>Enabled</Status><Filter/><NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>"))
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseLifecycle([]byte(text))
		if err != nil {
			if Code(err) == "" {
				t.Fatalf("no code: %v", err)
			}
			return
		}
		b, err := l.XML()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseLifecycle(b); err != nil || len(again.Rules) != len(l.Rules) {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

// TestLifecycle expires objects, versions, markers and uploads on the day, and nothing else.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := &clock{t: start}
	var mu sync.Mutex
	var told []string
	d := open(t, func(o *LocalOptions) {
		o.Now = now.now
		o.Expired = func(bucket, key, version string) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, bucket+" "+key)
		}
	})
	ctx := t.Context()
	c := d.client()
	plain, versioned := d.bucket("plain"), d.bucket("versioned")
	d.versioned(versioned)
	age := func(bucket, key string) { // as old as the test's clock says
		t.Helper()
		if err := os.Chtimes(filepath.Join(d.dir, "buckets", bucket, key), now.now(), now.now()); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 1100 { // more than a page
		key := fmt.Sprintf("x/%04d", i)
		if err := os.MkdirAll(filepath.Join(d.dir, "buckets", plain, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d.dir, "buckets", plain, key), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		age(plain, key)
	}
	for key, size := range map[string]int{"y/small": 1, "y/large": 100, "y/tagged": 50, "z": 1} {
		d.put(plain, key, strings.Repeat("x", size), PutOptions{KMSKey: keyARN})
		age(plain, key)
	}
	if err := d.store.PutObjectTagging(ctx, plain, "y/tagged", "", map[string]string{"k": "v", "l": "w"}); err != nil {
		t.Fatal(err)
	}
	up, err := c.CreateMultipartUpload(ctx, &awss3.CreateMultipartUploadInput{Bucket: &plain, Key: aws.String("x/upload")})
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(d.dir, "buckets", plain, uploadOf("x/upload", *up.UploadId))
	if err := os.Chtimes(folder, start, start); err != nil {
		t.Fatal(err)
	}
	ninety := int64(90)
	if _, err := d.SetLifecycle(ctx, plain, &Lifecycle{[]LifecycleRule{
		{ID: "1", Enabled: true, Days: 2, Filter: LifecycleFilter{Prefix: "x/"}},
		{ID: "2", Enabled: true, Days: 1, Filter: LifecycleFilter{Prefix: "y/", Larger: &ninety}},
		{ID: "3", Enabled: true, Date: start.Truncate(24*time.Hour).AddDate(0, 0, 5), Filter: LifecycleFilter{Tags: []LifecycleTag{{"k", "v"}}}},
		{ID: "4", Enabled: true, AbortIn: 3, Filter: LifecycleFilter{Prefix: "x/"}},
		{ID: "5", Days: 1}, // disabled
	}}); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		d.put(versioned, "k", strings.Repeat("x", i+1), PutOptions{})
		age(versioned, "k")
	}
	if err := d.Delete(ctx, versioned, "marker", ""); err != nil {
		t.Fatal(err)
	}
	age(versioned, "marker")
	if _, err := d.SetLifecycle(ctx, versioned, &Lifecycle{[]LifecycleRule{
		{ID: "1", Enabled: true, NoncurrentIn: 2, KeepNewer: 2},
		{ID: "2", Enabled: true, LoneMarkers: true},
		{ID: "3", Enabled: true, Days: 4},
		{ID: "4", Enabled: true, NoncurrentIn: 10},
	}}); err != nil {
		t.Fatal(err)
	}
	day := 24 * time.Hour
	for i, s := range []struct {
		at   time.Duration
		want Expirations
	}{
		{0, Expirations{Markers: 1}},
		{day + 11*time.Hour, Expirations{}},           // the day is not over
		{day + 13*time.Hour, Expirations{Objects: 1}}, // y/large
		{2*day + 13*time.Hour, Expirations{Objects: 1100, Versions: 1}},
		{4*day + 11*time.Hour, Expirations{Uploads: 1}},
		{4*day + 13*time.Hour, Expirations{Objects: 2}},  // y/tagged by its date, and k gets a marker
		{4*day + 14*time.Hour, Expirations{Versions: 1}}, // another one was there before the marker
	} {
		now.add(start.Add(s.at).Sub(now.now()))
		got, err := d.ApplyLifecycle(ctx)
		if err != nil || got != s.want {
			t.Errorf("step %d: %+v, %v; want %+v", i, got, err, s.want)
		}
		if i == 5 {
			age(versioned, "k")
		}
	}
	if list, _, err := d.List(ctx, plain, "", "", 0); err != nil || len(list) != 2 || list[0].Key != "y/small" || list[1].Key != "z" {
		t.Errorf("%+v, %v", list, err)
	}
	now.add(30 * day)
	if got, err := d.ApplyLifecycle(ctx); err != nil || got != (Expirations{Versions: 2, Markers: 1}) {
		t.Errorf("%+v, %v", got, err)
	}
	if ok, err := d.store.empty(versioned); err != nil || !ok {
		t.Errorf("%t, %v", ok, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(told) != 1110 || !slices.Contains(told, "plain x/upload") || !slices.Contains(told, "versioned marker") {
		t.Errorf("%d were told", len(told))
	}
}
