package delivery_test

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/blob"
	"spoor/internal/journal"
	"spoor/internal/keyring"
	"spoor/internal/trail/delivery"
	"spoor/internal/trail/delivery/deliverytest"
	"spoor/internal/trail/digest"
	"spoor/internal/trail/signing"
)

// parts are the real neighbours of deliveries.
type parts struct {
	ring    *keyring.Ring
	buckets *blob.Local
	keys    *signing.Keys
	kmsKey  string
}

// newParts opens them over a folder, with one bucket and one key.
func newParts(tb testing.TB, dir string) parts {
	tb.Helper()
	must := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	var p parts
	var err error
	p.ring, err = keyring.Open(tb.Context(), filepath.Join(dir, "keys"), keyring.Options{Account: "111122223333", Region: "eu-central-1"})
	must(err)
	key, _, err := p.ring.Create(keyring.Ref{Account: "111122223333", Region: "eu-central-1"}, keyring.Spec{})
	must(err)
	p.kmsKey = key.ARN
	p.buckets, err = blob.OpenLocal(tb.Context(), filepath.Join(dir, "buckets"), blob.LocalOptions{Account: "111122223333", Region: "eu-central-1", Keys: p.ring})
	must(err)
	_, err = p.buckets.CreateBucket(tb.Context(), blob.BucketSpec{Name: "bucket"})
	must(err)
	p.keys, err = signing.Open(filepath.Join(dir, "signing"), p.ring, nil)
	must(err)
	tb.Cleanup(func() {
		if err := errors.Join(p.buckets.Close(), p.ring.Close()); err != nil {
			tb.Error(err)
		}
	})
	return p
}

// read gives the text of an object.
func (p parts) read(t *testing.T, key string) ([]byte, blob.Object) {
	t.Helper()
	body, o, err := p.buckets.Get(t.Context(), "bucket", key)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err = errors.Join(err, body.Close()); err != nil {
		t.Fatal(err)
	}
	return text, o
}

// TestParts delivers from a real journal to a real bucket, encrypted, with the real keys of digests.
func TestParts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newParts(t, dir)
	j, err := journal.Open(t.Context(), journal.Options{Dir: filepath.Join(dir, "journal"), Followers: []string{delivery.FollowerName}, MinFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	trails := trailsOf(1)
	trails[0].Epochs[0].Settings.KMSKey = p.kmsKey
	begin := func() (*delivery.Delivery, func() error) {
		d, err := delivery.New(t.Context(), delivery.Options{Dir: filepath.Join(dir, "delivery"), Feed: delivery.JournalFeed(j), Book: fixedBook{trails}, Storage: p.buckets, Signer: p.keys,
			Account: "111122223333", Region: "eu-central-1", Interval: 100 * time.Millisecond, DigestInterval: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		return d, func() error {
			stop()
			return errors.Join(<-done, d.Close())
		}
	}
	_, stop := begin()
	want := map[string]int{}
	accept := func(seed uint64) {
		records := deliverytest.Events(seed, 300, "111122223333", "eu-central-1", "us-east-1")
		if _, err := j.Append(t.Context(), records); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			if text := string(r.Raw); !strings.Contains(text, `"kms.amazonaws.com","eventName"`) {
				_, id, _ := strings.Cut(text, `"eventID":"`)
				want[id[:36]]++
			}
		}
	}
	accept(1)
	accept(2)
	if err := stop(); err != nil { // what was accepted may be in a file, or not yet taken
		t.Fatal(err)
	}
	d, end := begin()
	until := func(is func(st delivery.Stats) bool) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); !is(d.Stats()); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("stats %+v", d.Stats())
			}
		}
	}
	until(func(st delivery.Stats) bool { return st.Reached >= 2 }) // what follows is in files of its own
	accept(3)
	until(func(st delivery.Stats) bool {
		return len(st.Trails) == 1 && st.Trails[0].Digests >= 4 && st.Trails[0].PendingFiles == 0 && st.Oldest.IsZero() && st.Reached >= 3
	})
	if err := end(); err != nil {
		t.Fatal(err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	objects, more, err := p.buckets.List(t.Context(), "bucket", "", "", 1000)
	if err != nil || more {
		t.Fatal(more, err)
	}
	got, listed, files := map[string]int{}, map[string]string{}, map[string]string{}
	for _, o := range objects {
		text, head := p.read(t, o.Key)
		if head.KMSKey != p.kmsKey || head.ContentType != "application/json" || head.ContentEncoding != "gzip" {
			t.Errorf("%s: %+v", o.Key, head)
		}
		n, ok := digest.SplitKey(o.Key)
		if !ok {
			files[o.Key] = digest.Hash(text)
			for _, part := range strings.Split(string(text), `"eventID":"`)[1:] {
				got[part[:36]]++
			}
			continue
		}
		v := digest.Verify(text, head.Metadata, digest.Location{Bucket: "bucket", Object: o.Key}, func(fingerprint string) (*digest.Verifier, error) {
			for _, k := range p.keys.Public(n.Region, n.End.Add(-time.Hour), n.End) {
				if k.Fingerprint == fingerprint {
					return k.Verifier()
				}
			}
			return nil, nil
		})
		if v.Verdict != digest.Valid {
			t.Errorf("%s: %s, %s", o.Key, v.Verdict, v.Reason)
			continue
		}
		for _, f := range v.Digest.Files {
			if listed[f.Object] != "" {
				t.Errorf("%s is in two digests", f.Object)
			}
			listed[f.Object] = f.Hash
		}
	}
	for id, n := range want {
		if got[id] != n {
			t.Errorf("%s is there %d times, not %d", id, got[id], n)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d events, not %d", len(got), len(want))
	}
	for key, hash := range listed {
		if files[key] != hash {
			t.Errorf("%s has the hash %s, the digest says %s", key, files[key], hash)
		}
	}
	if len(listed) == 0 || len(files) < 4 {
		t.Errorf("%d files, %d in digests", len(files), len(listed))
	}
}
