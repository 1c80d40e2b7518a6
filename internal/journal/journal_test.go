package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// open opens a journal that the test's end closes.
func open(t testing.TB, o Options) *Journal {
	t.Helper()
	if o.MinFree == 0 {
		o.MinFree = -1
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	j, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !j.closed {
			if err := j.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return j
}

func closeIt(t testing.TB, j *Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// records makes n records of about a kilobyte, the same for the same seed.
func records(seed uint64, n int) []Record {
	rnd := rand.New(rand.NewPCG(seed, 7))
	list := make([]Record, n)
	for i := range list {
		raw := fmt.Appendf(nil, `{"eventVersion":"1.08","userIdentity":{"type":"AssumedRole","principalId":"AROA%012X:session-%d","arn":"arn:aws:sts::123456789012:assumed-role/app-%d/session-%d","accountId":"123456789012","accessKeyId":"ASIA%012X","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA%012X","arn":"arn:aws:iam::123456789012:role/app-%d","accountId":"123456789012","userName":"app-%d"},"attributes":{"creationDate":"2026-03-01T10:%02d:%02dZ","mfaAuthenticated":"false"}}},"eventTime":"2026-03-01T11:%02d:%02dZ","eventSource":"s3.amazonaws.com","eventName":"GetObject","awsRegion":"eu-central-1","sourceIPAddress":"10.%d.%d.%d","userAgent":"[aws-sdk-go-v2/1.30.3 os/linux lang/go#1.23]","requestParameters":{"bucketName":"data-%d","key":"part/%016x/%d.json","Host":"data.s3.eu-central-1.amazonaws.com"},"responseElements":null,"additionalEventData":{"bytesTransferredOut":%d,"x-amz-id-2":"%032x"},"requestID":"%016X","eventID":"%08x-%04x-4%03x-8%03x-%012x","readOnly":true,"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::data-%d/part"}],"eventType":"AwsApiCall","managementEvent":false,"recipientAccountId":"123456789012","eventCategory":"Data"}`,
			rnd.Uint64()>>16, rnd.IntN(50), rnd.IntN(20), rnd.IntN(50), rnd.Uint64()>>16, rnd.Uint64()>>16, rnd.IntN(20), rnd.IntN(20), rnd.IntN(60), rnd.IntN(60), rnd.IntN(60), rnd.IntN(60),
			rnd.IntN(256), rnd.IntN(256), rnd.IntN(256), rnd.IntN(9), rnd.Uint64(), i, rnd.IntN(1<<20), rnd.Uint64(), rnd.Uint64(),
			rnd.Uint32(), rnd.IntN(1<<16), rnd.IntN(1<<12), rnd.IntN(1<<12), rnd.Uint64()>>16, rnd.IntN(9))
		list[i] = Record{Raw: raw, Origin: Origin{Source: "push", Object: fmt.Sprintf("request-%d", seed), Offset: int64(i), Received: time.Unix(1_770_000_000, int64(seed)).UTC()}}
	}
	return list
}

func appendAll(t testing.TB, j *Journal, list []Record) uint64 {
	t.Helper()
	seq, err := j.Append(t.Context(), list)
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// next reads a batch, which must be there.
func next(t testing.TB, f *Follower) Batch {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	b, err := f.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func follow(t testing.TB, j *Journal, name string, from Start) *Follower {
	t.Helper()
	f, err := j.Follow(t.Context(), name, from)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// drain reads all that is there.
func drain(t testing.TB, f *Follower) (list []Record, lost []Lost, seq uint64) {
	t.Helper()
	for {
		if last, _ := f.j.reach(); f.next > last {
			return list, lost, seq
		}
		b := next(t, f)
		list, lost, seq = append(list, b.Records...), append(lost, b.Lost...), b.Seq
	}
}

func same(a, b []Record) bool {
	return slices.EqualFunc(a, b, func(x, y Record) bool {
		return bytes.Equal(x.Raw, y.Raw) && x.Origin.Source == y.Origin.Source && x.Origin.Object == y.Origin.Object && x.Origin.Offset == y.Origin.Offset && x.Origin.Received.Equal(y.Origin.Received)
	})
}

func stats(t testing.TB, j *Journal) Stats {
	t.Helper()
	s, err := j.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestAppendFollow: what was appended is what a follower gets, byte by byte, also after a restart, from where it was.
func TestAppendFollow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j := open(t, Options{Dir: dir})
	odd := []Record{
		{Raw: []byte("\x00not JSON\xff")},
		{Raw: nil, Origin: Origin{Source: "a", Object: "b", Offset: -1, Received: time.Unix(-5, 3)}},
		{Raw: []byte("{}"), Origin: Origin{Source: "a", Object: "c", Offset: 1 << 62}},
		{Raw: []byte("{ }"), Origin: Origin{Source: "ü", Object: "c", Received: time.Unix(0, 1)}},
	}
	one, two := records(1, 100), records(2, 3)
	if s1, s2, s3 := appendAll(t, j, one), appendAll(t, j, odd), appendAll(t, j, two); s1 != 1 || s2 != 2 || s3 != 3 {
		t.Errorf("sequences %d, %d, %d", s1, s2, s3)
	}
	f := follow(t, j, "store", FromCursor())
	if b := next(t, f); b.Seq != 1 || !same(b.Records, one) || b.Redelivered || b.Lost != nil {
		t.Errorf("first batch: %d, %d records", b.Seq, len(b.Records))
	}
	if b := next(t, f); b.Seq != 2 || !same(b.Records, odd) {
		t.Errorf("second batch: %d, %d records", b.Seq, len(b.Records))
	}
	if err := f.Ack(t.Context(), 3); err == nil {
		t.Error("acknowledged what was not given")
	}
	if err := f.Ack(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Follow(t.Context(), "store", FromCursor()); !errors.Is(err, ErrFollowed) {
		t.Errorf("followed twice: %v", err)
	}
	if st := stats(t, j).Followers[0]; st.Lag != 2 || st.Cursor != 1 || st.Delivered != 2 || st.Age <= 0 || !st.Active {
		t.Errorf("figures %+v", st)
	}
	closeIt(t, j)
	if _, err := f.Next(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if _, err := j.Append(t.Context(), one); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}

	j = open(t, Options{Dir: dir})
	f = follow(t, j, "store", FromCursor())
	if b := next(t, f); b.Seq != 2 || !same(b.Records, odd) || !b.Redelivered {
		t.Errorf("after a restart: %d, %d records, redelivered %v", b.Seq, len(b.Records), b.Redelivered)
	}
	if b := next(t, f); b.Seq != 3 || !same(b.Records, two) || b.Redelivered {
		t.Errorf("after a restart: %d, %d records", b.Seq, len(b.Records))
	}
	if err := f.Ack(t.Context(), 3); err != nil {
		t.Fatal(err)
	}
	if st := stats(t, j); st.Followers[0].Lag != 0 || st.Followers[0].Age != 0 || st.Followers[0].Redelivered != 1 || st.DamagedFiles != 0 {
		t.Errorf("figures %+v", st)
	}
	if list, _, _ := drain(t, follow(t, j, "", After(1))); !same(list, slices.Concat(odd, two)) {
		t.Errorf("after 1: %d records", len(list))
	}
	tail := follow(t, j, "", FromNew())
	appendAll(t, j, odd[:1])
	if b := next(t, tail); b.Seq != 4 || !same(b.Records, odd[:1]) {
		t.Errorf("what is new: %d", b.Seq)
	}
}

// TestConcurrent: many callers share writes; each append is there once, whole, and in its order.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	j := open(t, Options{Dir: t.TempDir(), Linger: time.Millisecond})
	f := follow(t, j, "store", FromCursor())
	const callers, appends, size = 16, 8, 5
	var all sync.WaitGroup
	for c := range uint64(callers) {
		all.Go(func() {
			for i := range uint64(appends) {
				if _, err := j.Append(t.Context(), records(c*100+i, size)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := map[string][]Record{}
	for n := 0; n < callers*appends*size; {
		b := next(t, f)
		for _, r := range b.Records {
			got[r.Origin.Object] = append(got[r.Origin.Object], r)
		}
		n += len(b.Records)
	}
	all.Wait()
	for c := range uint64(callers) {
		for i := range uint64(appends) {
			if want := records(c*100+i, size); !same(got[want[0].Origin.Object], want) {
				t.Errorf("append %d of caller %d is not what was appended", i, c)
			}
		}
	}
	if st := stats(t, j); st.Appends != callers*appends || st.Writes >= st.Appends || st.Records != callers*appends*size {
		t.Errorf("%d appends in %d writes, %d records", st.Appends, st.Writes, st.Records)
	}
}
