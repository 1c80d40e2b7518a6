package delivery

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/blob"
	"spoor/internal/journal"
	"spoor/internal/selector"
	"spoor/internal/topic"
	"spoor/internal/trail"
	"spoor/internal/trail/digest"
)

const (
	mine  = "111122223333"
	other = "444455556666"
	home  = "eu-central-1"
)

// testKey signs the digests of all tests, and nextKey those of worlds in which keys change.
var testKey, nextKey = sync.OnceValue(newKey), sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// world is everything around deliveries; it outlives them.
type world struct {
	t   testing.TB
	dir string
	o   Options

	mu      sync.Mutex // guards what follows
	entries []journal.Batch
	cursor  uint64
	more    chan struct{}
	trails  []trail.Trail
	changed chan struct{}
	told    uint64
	objects map[string]object // by bucket/key
	order   []string          // in which they came first
	refuse  map[string]error  // by bucket
	topics  map[string]map[string]string
	noTopic error
	dead    bool
	fault   func(step string) error
	steps   []string
	puts    int
	rolled  time.Time // nextKey is valid from then on; zero for never
}

// keyAt is the key that signs at a time.
func (w *world) keyAt(at time.Time) *rsa.PrivateKey {
	if w.rolled.IsZero() || at.Before(w.rolled) {
		return testKey()
	}
	return nextKey()
}

type object struct {
	body []byte
	o    blob.PutOptions
	at   time.Time
}

func newWorld(t testing.TB) *world {
	w := &world{
		t: t, dir: t.TempDir(), more: make(chan struct{}), changed: make(chan struct{}), objects: map[string]object{}, refuse: map[string]error{},
		topics: map[string]map[string]string{},
	}
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() { // no sync to wait for
		if dir, err := os.MkdirTemp("/dev/shm", "spoor-delivery-"); err == nil {
			w.dir = dir
			t.Cleanup(func() { _ = os.RemoveAll(dir) })
		}
	}
	w.o = Options{Account: mine, Region: home, Regions: []string{"us-east-1"}}
	return w
}

var errDead = errors.New("the process is dead")

// step is the hook of faults.
func (w *world) step(name string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.steps = append(w.steps, name)
	if w.dead {
		return errDead
	}
	if w.fault != nil {
		if err := w.fault(name); err != nil {
			w.dead = true
			return err
		}
	}
	return nil
}

// open makes deliveries over the world.
func (w *world) open() *Delivery {
	w.t.Helper()
	o := w.o
	o.Dir, o.Feed, o.Book, o.Storage, o.Signer, o.Topics, o.fault = w.dir, w, (*bookOf)(w), (*storageOf)(w), (*signerOf)(w), (*topicsOf)(w), w.step
	o.Log = slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
	w.mu.Lock()
	w.dead = false
	w.mu.Unlock()
	d, err := New(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

// running is deliveries that run.
type running struct {
	*Delivery
	stop func()
	done chan error
}

func (w *world) start() *running {
	w.t.Helper()
	d := w.open()
	ctx, stop := context.WithCancel(w.t.Context())
	r := &running{d, stop, make(chan error, 1)}
	go func() { r.done <- d.Run(ctx) }()
	return r
}

// end stops deliveries, and gives what Run returned.
func (r *running) end() error {
	r.stop()
	err := <-r.done
	return errors.Join(err, r.Close())
}

// ID, Follow: the journal.
func (w *world) ID() string { return "JOURNAL-1" }

func (w *world) Follow(_ context.Context, after uint64) (Follower, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dead {
		return nil, errDead
	}
	start := max(after, w.cursor)
	return &follower{w, start, start}, nil
}

type follower struct {
	w           *world
	start, next uint64
}

func (f *follower) Start() uint64 { return f.start }
func (f *follower) Close()        {}

func (f *follower) Next(ctx context.Context) (journal.Batch, error) {
	for {
		f.w.mu.Lock()
		more := f.w.more
		for _, b := range f.w.entries {
			if b.Seq > f.next {
				f.next = b.Seq
				f.w.mu.Unlock()
				return b, nil
			}
		}
		f.w.mu.Unlock()
		select {
		case <-ctx.Done():
			return journal.Batch{}, ctx.Err()
		case <-more:
		}
	}
}

func (f *follower) Ack(_ context.Context, seq uint64) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if f.w.dead {
		return errDead
	}
	f.w.cursor = max(f.w.cursor, seq)
	return nil
}

// accept appends an entry to the journal.
func (w *world) accept(records ...journal.Record) uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	seq := w.last() + 2 // with gaps
	w.entries = append(w.entries, journal.Batch{Seq: seq, First: seq, Accepted: time.Now(), Records: records})
	close(w.more)
	w.more = make(chan struct{})
	return seq
}

func (w *world) last() uint64 {
	if n := len(w.entries); n > 0 {
		return w.entries[n-1].Seq
	}
	return 0
}

type bookOf world

func (b *bookOf) Deliverable() ([]trail.Trail, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.trails), b.changed
}

func (b *bookOf) Delivered(seq uint64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dead {
		return errDead
	}
	b.told = max(b.told, seq)
	var left []trail.Trail
	for _, t := range b.trails {
		for len(t.Epochs) > 1 && t.Epochs[1].After <= seq {
			t.Epochs = slices.Clone(t.Epochs[1:])
		}
		if !t.Deleted || t.Epochs[len(t.Epochs)-1].After > seq {
			left = append(left, t)
		}
	}
	b.trails = left
	close(b.changed)
	b.changed = make(chan struct{})
	return nil
}

// change changes the settings of a trail from the next entry on; the trail is made when it is not there.
func (w *world) change(t trail.Trail, s trail.Settings) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := trail.Epoch{After: w.last(), At: time.Now(), Settings: s}
	i := slices.IndexFunc(w.trails, func(o trail.Trail) bool { return o.ARN == t.ARN })
	w.trails = slices.Clone(w.trails)
	if i < 0 {
		t.Epochs = []trail.Epoch{e}
		w.trails = append(w.trails, t)
	} else {
		w.trails[i].Deleted = t.Deleted
		w.trails[i].Epochs = append(slices.Clone(w.trails[i].Epochs), e)
	}
	close(w.changed)
	w.changed = make(chan struct{})
}

type storageOf world

func (s *storageOf) Put(ctx context.Context, bucket, key string, body []byte, o blob.PutOptions) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return errDead
	}
	s.puts++
	if err := s.refuse[bucket]; err != nil {
		return err
	}
	name := bucket + "/" + key
	if had, ok := s.objects[name]; ok {
		if !bytes.Equal(had.body, body) {
			s.t.Errorf("%s is put again with another content", name)
		}
		return nil
	}
	s.objects[name] = object{bytes.Clone(body), o, time.Now()}
	s.order = append(s.order, name)
	return nil
}

type topicsOf world

func (s *topicsOf) Publish(_ context.Context, arn string, m topic.Message) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead {
		return "", errDead
	}
	if s.noTopic != nil {
		return "", s.noTopic
	}
	if s.topics[arn] == nil {
		s.topics[arn] = map[string]string{}
	}
	if had, ok := s.topics[arn][m.Once]; ok && had != m.Body {
		s.t.Errorf("a notice is published again with another content: %s, %s", had, m.Body)
	}
	s.topics[arn][m.Once] = m.Body
	return m.Once, nil
}

type signerOf world

func (s *signerOf) Signing(_ context.Context, _ string, at time.Time) (*rsa.PrivateKey, error) {
	return (*world)(s).keyAt(at), nil
}

// arnOf is the ARN of a trail.
func arnOf(name string) string { return "arn:aws:cloudtrail:" + home + ":" + mine + ":trail/" + name }

func named(name string, accounts ...string) trail.Trail {
	if accounts == nil {
		accounts = []string{mine}
	}
	return trail.Trail{ARN: arnOf(name), Name: name, Account: mine, HomeRegion: home, Accounts: accounts}
}

// kind is a kind of event.
type kind struct {
	account, region, source, name, category string
	readOnly                                bool
}

// record makes an event; n tells it apart.
func (k kind) record(n int) journal.Record {
	text := fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::%s:user/ana","accountId":%q},"eventTime":"2026-01-10T10:%02d:%02dZ","eventSource":%q,"eventName":%q,"awsRegion":%q,"eventID":"id-%d","readOnly":%t,"managementEvent":%t,"recipientAccountId":%q,"eventCategory":%q,"resources":[{"type":"AWS::S3::Object","ARN":"arn:aws:s3:::b/%d"}]}`,
		k.account, k.account, n/60%60, n%60, k.source, k.name, k.region, n, k.readOnly, k.category == "Management", k.account, k.category, n)
	return journal.Record{Raw: []byte(text), Origin: journal.Origin{Source: "push", Object: "o", Offset: int64(n)}}
}

var kinds = []kind{
	{mine, home, "ec2.amazonaws.com", "RunInstances", "Management", false},
	{mine, home, "ec2.amazonaws.com", "DescribeInstances", "Management", true},
	{mine, "us-east-1", "iam.amazonaws.com", "CreateUser", "Management", false},
	{mine, "eu-west-1", "kms.amazonaws.com", "Decrypt", "Management", true},
	{mine, home, "s3.amazonaws.com", "PutObject", "Data", false},
	{mine, "us-west-2", "s3.amazonaws.com", "GetObject", "Data", true},
	{other, home, "ec2.amazonaws.com", "RunInstances", "Management", false},
	{other, "us-east-1", "sts.amazonaws.com", "AssumeRole", "Management", true},
	{mine, home, "x.amazonaws.com", "Put", "ActivityAuditLog", false},
}

// what the selectors of tests take, told apart from them.
type choice uint8

const (
	management choice = iota
	writes
	data
)

func (c choice) settings(s trail.Settings) trail.Settings {
	switch c {
	case writes:
		s.Basic = []selector.Basic{{ReadWriteType: "WriteOnly", IncludeManagementEvents: true}}
	case data:
		s.Advanced = []selector.Advanced{{FieldSelectors: []selector.FieldSelector{
			{Field: "eventCategory", Equals: []string{"Data"}}, {Field: "resources.type", Equals: []string{"AWS::S3::Object"}}}}}
	}
	return s
}

// takes is what the package must decide, written in another way.
func takes(t trail.Trail, s trail.Settings, k kind) bool {
	if !s.Logging || !slices.Contains(t.Accounts, k.account) {
		return false
	}
	global := k.region == "us-east-1" && (k.source == "iam.amazonaws.com" || k.source == "sts.amazonaws.com")
	if global && !s.GlobalServiceEvents || !global && !s.MultiRegion && k.region != t.HomeRegion {
		return false
	}
	switch {
	case len(s.Advanced) > 0:
		return k.category == "Data"
	case len(s.Basic) > 0:
		return k.category == "Management" && !k.readOnly
	}
	return k.category == "Management"
}

// found is what lies in buckets.
type found struct {
	events  map[string]int    // by the place of the folder AWSLogs, and id
	files   map[string]string // hash by bucket/key
	digests []*digest.Digest
	listed  map[string]int

	backfills []*digest.Digest // of the digests
}

// cutOf is the minute in the key of a log file.
func cutOf(t testing.TB, key string) time.Time {
	t.Helper()
	parts := strings.Split(key, "_")
	at, err := time.Parse("20060102T1504Z", parts[len(parts)-2])
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (o *Options) digestInterval() time.Duration { return cmp.Or(o.DigestInterval, time.Hour) }

func gunzip(t testing.TB, body []byte) []byte {
	t.Helper()
	in := bytes.NewReader(body)
	z, err := gzip.NewReader(in)
	if err != nil {
		t.Fatal(err)
	}
	z.Multistream(false)
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	if in.Len() != 0 {
		t.Fatalf("%d bytes behind the gzip member", in.Len())
	}
	return text
}

// look reads all buckets, and checks each object for itself.
func (w *world) look() found {
	t := w.t
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	f := found{events: map[string]int{}, files: map[string]string{}, listed: map[string]int{}}
	type chainOf struct {
		account, region, trail string
		backfill               bool
	}
	chains, last := map[chainOf]*digest.Digest{}, map[chainOf]*digest.Digest{} // the last one of each kind, and of either kind
	for _, name := range w.order {
		ob := w.objects[name]
		if ob.o.ContentType != "application/json" || ob.o.ContentEncoding != "gzip" || ob.o.ACL != "bucket-owner-full-control" {
			t.Errorf("%s is put with %+v", name, ob.o)
		}
		bucket, key, _ := strings.Cut(name, "/")
		if ob.o.KMSKey != "" {
			if c := ob.o.EncryptionContext; len(c) != 2 || c["aws:s3:arn"] != "arn:aws:s3:::"+name || !strings.HasPrefix(c["aws:cloudtrail:arn"], "arn:aws:cloudtrail:") {
				t.Errorf("%s is encrypted with the context %v", name, c)
			}
		}
		text := gunzip(t, ob.body)
		root, rest, _ := strings.Cut(name, "AWSLogs/")
		parts := strings.Split(strings.TrimPrefix(rest, "o-abcdef1234/"), "/")
		if parts[1] != "CloudTrail-Digest" {
			sum := sha256.Sum256(text)
			f.files[name] = hex.EncodeToString(sum[:])
			var log struct{ Records []json.RawMessage }
			if err := json.Unmarshal(text, &log); err != nil {
				t.Fatal(err)
			}
			var all [][]byte
			for _, raw := range log.Records {
				var e struct {
					ID      string `json:"eventID"`
					Region  string `json:"awsRegion"`
					Account string `json:"recipientAccountId"`
				}
				if err := json.Unmarshal(raw, &e); err != nil {
					t.Fatal(err)
				}
				if e.Account != parts[0] || e.Region != parts[2] {
					t.Errorf("%s has an event of %s in %s", name, e.Account, e.Region)
				}
				f.events[root+" "+e.ID]++
				all = append(all, raw)
			}
			if want := `{"Records":[` + string(bytes.Join(all, []byte(","))) + `]}`; want != string(text) {
				t.Errorf("%s is not the records and what stands around them", name)
			}
			continue
		}
		n, ok := digest.SplitKey(key)
		if !ok {
			t.Fatalf("%s is no key of a digest", name)
		}
		dg, err := digest.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		signed := n.End
		if n.Backfill {
			if signed, err = time.Parse(time.RFC3339, ob.o.Metadata[digest.MetaBackfill]); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		der := x509.MarshalPKCS1PublicKey(&w.keyAt(signed).PublicKey)
		v := digest.Verify(text, ob.o.Metadata, digest.Location{Bucket: bucket, Object: key}, func(fingerprint string) (*digest.Verifier, error) {
			if fingerprint != digest.Fingerprint(der) {
				return nil, errors.New("another key")
			}
			return digest.PublicKey{DER: der, Fingerprint: fingerprint}.Verifier()
		})
		if v.Verdict != digest.Valid {
			t.Errorf("%s does not verify: %s, %s", name, v.Verdict, v.Reason)
		}
		c := chainOf{n.Account, n.Region, n.Trail, n.Backfill}
		either := chainOf{n.Account, n.Region, n.Trail, false}
		before := chains[c]
		var made time.Time
		if n.Backfill {
			f.backfills = append(f.backfills, dg)
			if made, err = time.Parse("2006-01-02T15:04:05.000Z", ob.o.Metadata[digest.MetaBackfill]); err != nil || made.Sub(dg.End) <= w.o.digestInterval() || made.After(ob.at) {
				t.Errorf("%s says that it was made at %s, and was put at %s: %v", name, made, ob.at, err)
			}
			if chains[either] == nil {
				t.Errorf("%s comes before the first ordinary digest", name)
			}
		} else if ob.o.Metadata[digest.MetaBackfill] != "" {
			t.Errorf("%s says that it is a backfill digest", name)
		}
		if was := last[either]; (dg.Previous != nil || n.Backfill) && (was == nil || !was.End.Equal(dg.Start)) {
			t.Errorf("%s starts at %s, before it came %+v", name, dg.Start, was)
		} else if was != nil && was.End.After(dg.Start) {
			t.Errorf("%s starts at %s, before the end of the one before it at %s", name, dg.Start, was.End)
		}
		last[either] = dg
		if dg.Previous != nil {
			if before == nil || before.Object != dg.Previous.Object || before.Bucket != dg.Previous.Bucket {
				t.Errorf("%s links to %+v, before it came %+v", name, dg.Previous, before)
			} else {
				was := w.objects[before.Bucket+"/"+before.Object]
				sum := sha256.Sum256(gunzip(t, was.body))
				if hex.EncodeToString(sum[:]) != dg.Previous.Hash || was.o.Metadata[digest.MetaSignature] != dg.Previous.Signature {
					t.Errorf("%s: the link is not to what is there", name)
				}
			}
		}
		chains[c] = dg
		f.digests = append(f.digests, dg)
		for _, l := range dg.Files {
			at := l.Bucket + "/" + l.Object
			f.listed[at]++
			if f.files[at] != l.Hash {
				t.Errorf("%s lists %s with hash %s, at that time there was %q", name, at, l.Hash, f.files[at])
			}
			put := w.objects[at].at
			if n.Backfill && !put.Truncate(time.Millisecond).After(made) {
				put = cutOf(t, l.Object)
			}
			if !put.Before(dg.End) {
				t.Errorf("%s, which ends at %s, lists %s, which was put at %s", name, dg.End, at, w.objects[at].at)
			}
		}
	}
	return f
}

// spool names what is left in the folder of packs.
func (w *world) spool() []string {
	w.t.Helper()
	list, err := filepath.Glob(filepath.Join(w.dir, packsDir, "*"))
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// same compares how often what was found with how often it should be.
func same(t testing.TB, what string, got, want map[string]int) {
	t.Helper()
	bad := 0
	keys := maps.Clone(got)
	maps.Copy(keys, want)
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		if got[k] != want[k] {
			if bad++; bad <= 10 {
				t.Errorf("%s: %s is there %d times, not %d", what, k, got[k], want[k])
			}
		}
	}
	if bad > 10 {
		t.Errorf("%s: and %d more", what, bad-10)
	}
}
