// Package validatetest makes buckets of trails for tests and benchmarks: log files, the hourly digests that list them, and the
// public keys. What it makes is the same for the same options, but for the key pair, unless one is given.
package validatetest

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	rnd "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"spoor/internal/blob"
	"spoor/internal/trail/digest"
)

// Options say what is made. Everything has a default.
type Options struct {
	Bucket, Prefix, Organization string // bucket "trail-bucket"
	Account, Region, Trail, Home string // "111122223333", "us-east-1", "audit", Region
	Start                        time.Time
	Hours                        int   // digests; default as many as Logs need
	Late                         []int // hours, from 0, whose digests are backfill digests; those in a row are made together, two hours after
	Logs, PerHour                int   // log files at all, and of one hour; defaults 10 an hour, none without Hours and Logs
	Records                      int   // of a log file, about 1 KB each; default 20
	Key                          *rsa.PrivateKey
	Previous, PreviousLate       *digest.Link // what the first digest, and the first backfill digest, links to
	Seed                         uint64
	Level                        int // of gzip; default 6
}

func (o Options) defaults() Options {
	o.Bucket, o.Account, o.Region, o.Trail = cmp.Or(o.Bucket, "trail-bucket"), cmp.Or(o.Account, "111122223333"), cmp.Or(o.Region, "us-east-1"), cmp.Or(o.Trail, "audit")
	o.Home = cmp.Or(o.Home, o.Region)
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 1, 10, 9, 0, 31, 0, time.UTC)
	}
	o.PerHour, o.Records, o.Level = cmp.Or(o.PerHour, 10), cmp.Or(o.Records, 20), cmp.Or(o.Level, 6)
	if o.Hours == 0 {
		o.Hours = (o.Logs + o.PerHour - 1) / o.PerHour
	}
	if o.Logs == 0 {
		o.Logs = o.Hours * o.PerHour
	}
	return o
}

// Digest is a digest that was made.
type Digest struct {
	digest.Signed
	Key   string
	Start time.Time
	End   time.Time
	Files []digest.File
	Made  time.Time // of a backfill digest; otherwise zero
}

// Made is what was made.
type Made struct {
	Options  Options // with their defaults
	Digests  []Digest
	Key      *rsa.PrivateKey
	Public   digest.PublicKey
	End      time.Time // of the last digest
	Stored   int64     // bytes of log files, compressed
	Expanded int64     // and not
}

// TrailARN is the ARN of the trail.
func (m *Made) TrailARN() string {
	return fmt.Sprintf("arn:aws:cloudtrail:%s:%s:trail/%s", m.Options.Home, m.Options.Account, m.Options.Trail)
}

// Put takes an object. It is called by one goroutine.
type Put func(bucket, key string, body []byte, metadata map[string]string) error

// NewKey makes a key pair as digests are signed with.
func NewKey() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) }

// PublicKey is the public half of a key, as ListPublicKeys gives it.
func PublicKey(key *rsa.PrivateKey, start, end time.Time) digest.PublicKey {
	der := x509.MarshalPKCS1PublicKey(&key.PublicKey)
	return digest.PublicKey{DER: der, Fingerprint: digest.Fingerprint(der), Start: start, End: end}
}

// Make makes a trail's log files and digests.
func Make(o Options, put Put) (*Made, error) {
	o = o.defaults()
	m := &Made{Options: o, Key: o.Key}
	if m.Key == nil {
		var err error
		if m.Key, err = NewKey(); err != nil {
			return nil, err
		}
	}
	r := rnd.New(rnd.NewPCG(o.Seed, 1))
	previous, late := o.Previous, o.PreviousLate
	made := 0
	for h := range o.Hours {
		start := o.Start.Add(time.Duration(h) * time.Hour)
		d := Digest{Start: start, End: start.Add(time.Hour)}
		n := min(o.PerHour, o.Logs-made)
		if h == o.Hours-1 {
			n = o.Logs - made
		}
		for i := range n {
			at := start.Add(time.Hour * time.Duration(i) / time.Duration(n)).Truncate(time.Minute).Add(time.Minute)
			f, stored, expanded, err := m.log(r, at, put)
			if err != nil {
				return nil, err
			}
			m.Stored, m.Expanded = m.Stored+stored, m.Expanded+expanded
			d.Files = append(d.Files, f)
		}
		made += n
		link := &previous
		if slices.Contains(o.Late, h) {
			link = &late
			for d.Made = d.End.Add(2 * time.Hour); slices.Contains(o.Late, int(d.Made.Sub(o.Start)/time.Hour)-2); {
				d.Made = d.Made.Add(time.Hour)
			}
		}
		if err := m.Sign(&d, *link); err != nil {
			return nil, err
		}
		if err := put(o.Bucket, d.Key, Gzip(d.Text, o.Level), d.Metadata); err != nil {
			return nil, err
		}
		*link = &d.Link
		m.Digests = append(m.Digests, d)
		m.End = d.End
	}
	m.Public = PublicKey(m.Key, o.Start.Add(-24*time.Hour), m.End.Add(24*time.Hour))
	return m, nil
}

// Sign signs a digest from its times and files.
func (m *Made) Sign(d *Digest, previous *digest.Link) (err error) {
	o := m.Options
	d.Key = digest.ObjectKey(o.Prefix, o.Organization, o.Account, o.Region, o.Trail, o.Home, d.End, !d.Made.IsZero())
	d.Signed, err = digest.Sign(digest.Spec{
		Account: o.Account, Start: d.Start, End: d.End, Bucket: o.Bucket, Object: d.Key, Previous: previous, Files: d.Files,
		Backfill: !d.Made.IsZero(), Generated: d.Made,
	}, m.Key)
	return err
}

// LogKey is the key of a log file that is delivered at a time. unique is 16 characters.
func (o Options) LogKey(at time.Time, unique string) string {
	o = o.defaults()
	folder := strings.Replace(digest.Folder(o.Prefix, o.Organization, o.Account, o.Region), "/CloudTrail-Digest/", "/CloudTrail/", 1)
	return fmt.Sprintf("%s%s/%s_CloudTrail_%s_%s_%s.json.gz", folder, at.UTC().Format("2006/01/02"), o.Account, o.Region, at.UTC().Format("20060102T1504Z"), unique)
}

func (m *Made) log(r *rnd.Rand, at time.Time, put Put) (f digest.File, stored, expanded int64, err error) {
	text := Records(r, m.Options.Account, m.Options.Region, at, m.Options.Records)
	sum := sha256.Sum256(text)
	f = digest.File{
		Bucket: m.Options.Bucket, Object: m.Options.LogKey(at, letters(r, 16)), Hash: hex.EncodeToString(sum[:]),
		Newest: at.Add(-time.Minute), Oldest: at.Add(-5 * time.Minute),
	}
	body := Gzip(text, m.Options.Level)
	return f, int64(len(body)), int64(len(text)), put(f.Bucket, f.Object, body, nil)
}

const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func letters(r *rnd.Rand, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.IntN(len(alphabet))]
	}
	return string(b)
}

// Records makes the text of a log file.
func Records(r *rnd.Rand, account, region string, at time.Time, n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Records":[`)
	names := []string{"GetObject", "PutObject", "DescribeInstances", "AssumeRole", "Decrypt", "ListBuckets", "GetCallerIdentity"}
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		user := r.IntN(40)
		fmt.Fprintf(&b, `{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROA%s:worker-%d","arn":"arn:aws:sts::%s:assumed-role/worker/worker-%d",`+
			`"accountId":"%s","accessKeyId":"ASIA%s","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLEWORKER0000","arn":"arn:aws:iam::%s:role/worker",`+
			`"accountId":"%s","userName":"worker"},"attributes":{"creationDate":"%s","mfaAuthenticated":"false"}}},"eventTime":"%s","eventSource":"s3.amazonaws.com","eventName":"%s",`+
			`"awsRegion":"%s","sourceIPAddress":"10.%d.%d.%d","userAgent":"aws-sdk-go-v2/1.30.0 os/linux lang/go#1.26","requestParameters":{"bucketName":"data-%d","key":"in/%s/%s.parquet"},`+
			`"responseElements":null,"requestID":"%s","eventID":"%08x-%04x-4%03x-8%03x-%012x","readOnly":true,"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"%s",`+
			`"eventCategory":"Data","tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":"s3.%s.amazonaws.com"}}`,
			letters(r, 4), user, account, user, account, strings.ToUpper(letters(r, 16)), account, account, at.Format("2006-01-02T15:00:00Z"),
			at.Add(-time.Duration(r.IntN(300))*time.Second).Format("2006-01-02T15:04:05Z"), names[r.IntN(len(names))], region, r.IntN(256), r.IntN(256), r.IntN(256), r.IntN(9),
			at.Format("2006-01-02"), letters(r, 22), strings.ToUpper(letters(r, 16)), r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48), account, region)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// Gzip compresses.
func Gzip(text []byte, level int) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, level)
	if err != nil {
		panic(err) // a mistake of the test
	}
	_, _ = w.Write(text) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

// Folder puts objects into a folder as copies of a bucket lie in it. Their metadata is lost, as it is by aws s3 sync.
func Folder(dir string) Put {
	return func(_, key string, body []byte, _ map[string]string) error {
		path := filepath.Join(dir, filepath.FromSlash(key))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		return os.WriteFile(path, body, 0o644)
	}
}

// Into puts objects into a storage.
func Into(ctx context.Context, s blob.Storage) Put {
	return func(bucket, key string, body []byte, metadata map[string]string) error {
		return s.Put(ctx, bucket, key, body, blob.PutOptions{ContentType: "application/json", ContentEncoding: "gzip", Metadata: metadata})
	}
}

// KeysJSON is the answer of ListPublicKeys with these keys.
func KeysJSON(keys ...digest.PublicKey) []byte {
	type key struct {
		Value             string
		ValidityStartTime float64
		ValidityEndTime   float64
		Fingerprint       string
	}
	list := []key{}
	for _, k := range keys {
		list = append(list, key{base64.StdEncoding.EncodeToString(k.DER), float64(k.Start.Unix()), float64(k.End.Unix()), k.Fingerprint})
	}
	b, err := json.Marshal(map[string]any{"PublicKeyList": list})
	if err != nil {
		panic(err) // cannot be
	}
	return b
}

// Memory is a storage in memory. Its methods may be called concurrently.
type Memory struct {
	mu      sync.RWMutex
	objects map[string]map[string]object
}

type object struct {
	body     []byte
	metadata map[string]string
}

// NewMemory makes an empty one.
func NewMemory() *Memory { return &Memory{objects: map[string]map[string]object{}} }

// Add is a [Put].
func (m *Memory) Add(bucket, key string, body []byte, metadata map[string]string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.objects[bucket] == nil {
		m.objects[bucket] = map[string]object{}
	}
	m.objects[bucket][key] = object{body, metadata}
	return nil
}

// Put implements [blob.Storage].
func (m *Memory) Put(_ context.Context, bucket, key string, body []byte, o blob.PutOptions) error {
	return m.Add(bucket, key, bytes.Clone(body), o.Metadata)
}

// Delete removes an object.
func (m *Memory) Delete(bucket, key string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects[bucket], key)
}

// Object gives an object as it lies.
func (m *Memory) Object(bucket, key string) (body []byte, metadata map[string]string, ok bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	o, ok := m.objects[bucket][key]
	return o.body, o.metadata, ok
}

// Keys lists all keys of a bucket in order.
func (m *Memory) Keys(bucket string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var keys []string
	for k := range m.objects[bucket] {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// Get implements [blob.Storage].
func (m *Memory) Get(ctx context.Context, bucket, key string) (io.ReadCloser, blob.Object, error) {
	info, err := m.Head(ctx, bucket, key)
	if err != nil {
		return nil, info, err
	}
	body, _, _ := m.Object(bucket, key)
	return io.NopCloser(bytes.NewReader(body)), info, nil
}

// Head implements [blob.Storage].
func (m *Memory) Head(ctx context.Context, bucket, key string) (blob.Object, error) {
	if err := ctx.Err(); err != nil {
		return blob.Object{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.objects[bucket] == nil {
		return blob.Object{}, blob.ErrNoBucket
	}
	o, ok := m.objects[bucket][key]
	if !ok {
		return blob.Object{}, blob.ErrNoKey
	}
	return blob.Object{Key: key, Size: int64(len(o.body)), Metadata: o.metadata}, nil
}

// List implements [blob.Storage].
func (m *Memory) List(ctx context.Context, bucket, prefix, after string, most int) ([]blob.Object, bool, error) {
	if err := ctx.Err(); err != nil {
		return nil, false, err
	}
	m.mu.RLock()
	none := m.objects[bucket] == nil
	m.mu.RUnlock()
	if none {
		return nil, false, blob.ErrNoBucket
	}
	var out []blob.Object
	for _, k := range m.Keys(bucket) {
		if !strings.HasPrefix(k, prefix) || k <= after {
			continue
		}
		if len(out) == most {
			return out, true, nil
		}
		body, metadata, _ := m.Object(bucket, k)
		out = append(out, blob.Object{Key: k, Size: int64(len(body)), Metadata: metadata})
	}
	return out, false, nil
}
