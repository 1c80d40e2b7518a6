// Package deliverytest is what tests and benchmarks of deliveries share: a journal in memory, and events to put into it.
package deliverytest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"spoor/internal/journal"
	"spoor/internal/trail/delivery"
)

// Feed is a journal in memory, for one follower at a time. It keeps what is not acknowledged.
type Feed struct {
	Name string // of the journal

	mu      sync.Mutex // guards what follows
	entries []journal.Batch
	last    uint64
	cursor  uint64
	changed chan struct{}
}

// NewFeed makes an empty journal.
func NewFeed(name string) *Feed { return &Feed{Name: name, changed: make(chan struct{})} }

// ID implements [delivery.Feed].
func (f *Feed) ID() string { return f.Name }

// Append adds an entry, and gives its sequence.
func (f *Feed) Append(records []journal.Record) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last++
	f.entries = append(f.entries, journal.Batch{Seq: f.last, First: f.last, Accepted: time.Now(), Records: records})
	close(f.changed)
	f.changed = make(chan struct{})
	return f.last
}

// Waiting is how many entries are not acknowledged.
func (f *Feed) Waiting() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.entries)
}

// Follow implements [delivery.Feed].
func (f *Feed) Follow(_ context.Context, after uint64) (delivery.Follower, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	start := max(after, f.cursor)
	return &follower{f, start, start}, nil
}

type follower struct {
	f           *Feed
	start, next uint64
}

func (w *follower) Start() uint64 { return w.start }
func (w *follower) Close()        {}

func (w *follower) Next(ctx context.Context) (journal.Batch, error) {
	for {
		w.f.mu.Lock()
		changed := w.f.changed
		if n := len(w.f.entries); n > 0 && w.f.last > w.next {
			first := w.f.entries[0].Seq
			b := w.f.entries[max(w.next+1, first)-first]
			w.next = b.Seq
			w.f.mu.Unlock()
			return b, nil
		}
		w.f.mu.Unlock()
		select {
		case <-ctx.Done():
			return journal.Batch{}, ctx.Err()
		case <-changed:
		}
	}
}

func (w *follower) Ack(_ context.Context, seq uint64) error {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.f.cursor = max(w.f.cursor, seq)
	for len(w.f.entries) > 0 && w.f.entries[0].Seq <= seq {
		w.f.entries[0] = journal.Batch{}
		w.f.entries = w.f.entries[1:]
	}
	return nil
}

// Events makes n records as AWS services write them, of an account: management events of several services that read and write,
// and about a third of them data events of S3. The same seed gives the same ones.
func Events(seed uint64, n int, account string, regions ...string) []journal.Record {
	r := rand.New(rand.NewPCG(seed, 7))
	calls := []struct {
		source, name, params string
		write, data          bool
	}{
		{"ec2.amazonaws.com", "DescribeInstances", `{"maxResults":1000,"instancesSet":{},"filterSet":{"items":[{"name":"instance-state-name","valueSet":{"items":[{"value":"running"}]}}]}}`, false, false},
		{"ec2.amazonaws.com", "RunInstances", `{"instancesSet":{"items":[{"imageId":"ami-0abcdef1234567890","minCount":1,"maxCount":1,"keyName":"ops"}]},"instanceType":"m6i.large","subnetId":"subnet-0a1b2c3d4e5f60718","monitoring":{"enabled":true}}`, true, false},
		{"sts.amazonaws.com", "AssumeRole", `{"roleArn":"arn:aws:iam::111122223333:role/deploy","roleSessionName":"ci-4711","durationSeconds":3600}`, false, false},
		{"kms.amazonaws.com", "Decrypt", `{"encryptionAlgorithm":"SYMMETRIC_DEFAULT","encryptionContext":{"aws:s3:arn":"arn:aws:s3:::data-lake/part-0001.parquet"}}`, false, false},
		{"iam.amazonaws.com", "PutRolePolicy", `{"roleName":"deploy","policyName":"inline","policyDocument":"{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"s3:*\",\"Resource\":\"*\"}]}"}`, true, false},
		{"s3.amazonaws.com", "GetObject", `{"bucketName":"data-lake","Host":"data-lake.s3.eu-central-1.amazonaws.com","key":"year=2026/month=01/part-0001.parquet"}`, false, true},
		{"s3.amazonaws.com", "PutObject", `{"bucketName":"data-lake","Host":"data-lake.s3.eu-central-1.amazonaws.com","key":"year=2026/month=01/part-0002.parquet","x-amz-server-side-encryption":"aws:kms"}`, true, true},
		{"lambda.amazonaws.com", "UpdateFunctionCode20150331v2", `{"functionName":"resize","publish":true,"dryRun":false}`, true, false},
		{"logs.amazonaws.com", "DescribeLogStreams", `{"logGroupName":"/aws/lambda/resize","orderBy":"LastEventTime","descending":true}`, false, false},
	}
	out := make([]journal.Record, n)
	for i := range out {
		c := calls[r.IntN(len(calls))]
		user := r.IntN(40)
		at := time.Unix(1_768_000_000+int64(i/50), 0).UTC().Format(time.RFC3339)
		category, resources := "Management", ""
		if c.data {
			category = "Data"
			resources = fmt.Sprintf(`"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::data-lake/year=2026/month=01/part-%04d.parquet"},{"accountId":%q,"type":"AWS::S3::Bucket","ARN":"arn:aws:s3:::data-lake"}],`, r.IntN(5000), account)
		}
		text := fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"AssumedRole","principalId":"AROAEXAMPLE%05d:session-%d","arn":"arn:aws:sts::%s:assumed-role/team-%d/session-%d","accountId":%q,"accessKeyId":"ASIAEXAMPLE%09d","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROAEXAMPLE%05d","arn":"arn:aws:iam::%s:role/team-%d","accountId":%q,"userName":"team-%d"},"attributes":{"creationDate":"2026-01-09T22:58:11Z","mfaAuthenticated":"false"}}},"eventTime":%q,"eventSource":%q,"eventName":%q,"awsRegion":%q,"sourceIPAddress":"198.51.100.%d","userAgent":"aws-sdk-go-v2/1.30.3 os/linux lang/go#1.22.5 md/GOOS#linux md/GOARCH#amd64","requestParameters":%s,"responseElements":null,"requestID":"%08x-%04x-4%03x-8%03x-%012x","eventID":"%08x-%04x-4%03x-9%03x-%012x","readOnly":%t,%s"eventType":"AwsApiCall","managementEvent":%t,"recipientAccountId":%q,"eventCategory":%q,"tlsDetails":{"tlsVersion":"TLSv1.3","cipherSuite":"TLS_AES_128_GCM_SHA256","clientProvidedHostHeader":%q}}`,
			user, user, account, user%7, user, account, user*7919, user, account, user%7, account, user%7, at, c.source, c.name, regions[r.IntN(len(regions))], r.IntN(250), c.params,
			r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48), r.Uint32(), r.IntN(1<<16), r.IntN(1<<12), r.IntN(1<<12), r.Int64N(1<<48),
			!c.write, resources, !c.data, account, category, c.source)
		out[i] = journal.Record{Raw: []byte(text), Origin: journal.Origin{Source: "push", Object: "benchmark", Offset: int64(i)}}
	}
	return out
}
