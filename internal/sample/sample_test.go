package sample

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/event"
)

// memory is a Sink that keeps the files.
type memory struct {
	mu    sync.Mutex
	files map[string][]byte // guarded by mu
	// texts and parsed keep what the files hold, once asked for, by one goroutine.
	texts  map[string][]byte
	parsed map[string][]json.RawMessage
}

type memoryFile struct {
	bytes.Buffer
	close func([]byte) error
}

func (f *memoryFile) Close() error { return f.close(f.Bytes()) }

func (m *memory) Create(_ context.Context, key string) (io.WriteCloser, error) {
	return &memoryFile{close: func(b []byte) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.files == nil {
			m.files = map[string][]byte{}
		}
		if _, ok := m.files[key]; ok {
			return fmt.Errorf("%s is created twice", key)
		}
		m.files[key] = b
		return nil
	}}, nil
}

// text gives a file decompressed; it fails unless the file is exactly one gzip member.
func (m *memory) text(t *testing.T, key string) []byte {
	t.Helper()
	data := m.files[key]
	if !strings.HasSuffix(key, ".gz") {
		return data
	}
	if text, ok := m.texts[key]; ok {
		return text
	}
	in := bytes.NewReader(data)
	zr, err := gzip.NewReader(in)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	zr.Multistream(false)
	text, err := io.ReadAll(zr)
	if err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	if in.Len() != 0 {
		t.Fatalf("%s: %d bytes after the first gzip member", key, in.Len())
	}
	if m.texts == nil {
		m.texts = map[string][]byte{}
	}
	m.texts[key] = text
	return text
}

func generate(t *testing.T, o Options) (*memory, Truth) {
	t.Helper()
	m := new(memory)
	o.Sink = m
	truth, err := Generate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return m, truth
}

// records gives the raw records of all files, by key.
func (m *memory) records(t *testing.T) map[string][]json.RawMessage {
	t.Helper()
	if m.parsed != nil {
		return m.parsed
	}
	out := map[string][]json.RawMessage{}
	for key := range m.files {
		var file struct{ Records []json.RawMessage }
		text := m.text(t, key)
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&file); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
		if !bytes.HasPrefix(text, []byte(opening+"{")) || !bytes.HasSuffix(text, []byte("}"+closing)) {
			t.Fatalf("%s: begins %.30q, ends %q", key, text, text[len(text)-5:])
		}
		out[key] = file.Records
	}
	m.parsed = out
	return out
}

func (m *memory) sum() string {
	keys := make([]string, 0, len(m.files))
	for k := range m.files {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	h := sha256.New()
	for _, k := range keys {
		fmt.Fprintf(h, "%s %d\n", k, len(m.files[k]))
		h.Write(m.files[k])
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}

func TestSameBytesWhateverTheWorkers(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"files": {Seed: 7, Events: 5000, Days: 1, Story: true},
		"tiny":  {Seed: 7, Events: 1000, Days: 1, TinyFiles: true},
		"one":   {Seed: 7, Events: 5000, Days: 1, OneFile: true, Accounts: 9},
		"plain": {Seed: 7, Events: 12000, Days: 1, OneFile: true, Plain: true, Accounts: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o.Workers = 1
			one, truthOne := generate(t, o)
			o.Workers = 5
			five, truthFive := generate(t, o)
			if one.sum() != five.sum() {
				t.Error("the files differ between 1 and 5 workers")
			}
			a, _ := json.Marshal(truthOne)
			b, _ := json.Marshal(truthFive)
			if !bytes.Equal(a, b) {
				t.Errorf("the truths differ:\n%s\n%s", a, b)
			}
			o.Seed++
			if other, _ := generate(t, o); other.sum() == one.sum() {
				t.Error("another seed gave the same files")
			}
		})
	}
}

// TestPinned keeps the bytes the same across machines and changes of this package. Whoever changes what is made on
// purpose puts the new sum here; figures in docs/benchmarks.md may then no longer be comparable.
func TestPinned(t *testing.T) {
	t.Parallel()
	m, _ := generate(t, Options{Seed: 1, Events: 5000, Days: 1, Story: true, Plain: true})
	if got := m.sum(); got != pinned {
		t.Errorf("sum %s, want %s", got, pinned)
	}
}

var keyForm = regexp.MustCompile(`^AWSLogs/o-exampleorgid/(\d{12})/CloudTrail/([a-z0-9-]+)/(\d{4})/(\d\d)/(\d\d)/(\d{12})_CloudTrail_([a-z0-9-]+)_(\d{8}T\d{4}Z)_[A-Za-z0-9]{16}\.json\.gz$`)

func TestRecords(t *testing.T) {
	t.Parallel()
	o := Options{Seed: 3, Events: 8000, Days: 1, Story: true, Duplicates: 0.01}
	m, truth := generate(t, o)
	ids := map[string]int{}
	var records, raw, size int64
	byPlace := map[string][2]int64{}
	kinds := map[string]int{}
	sessions := map[string]bool{} // keys that a session's beginning handed out
	late := 0
	largest := 0
	for key, list := range m.records(t) {
		parts := keyForm.FindStringSubmatch(key)
		if parts == nil {
			t.Fatalf("key %s", key)
		}
		account, region := parts[1], parts[2]
		stamp, err := time.Parse("20060102T1504Z", parts[8])
		if err != nil {
			t.Fatalf("key %s: %v", key, err)
		}
		if parts[6] != account || parts[7] != region || stamp.Format("2006/01/02") != parts[3]+"/"+parts[4]+"/"+parts[5] || stamp.Minute()%5 != 0 {
			t.Fatalf("key %s does not agree with itself", key)
		}
		size += int64(len(m.files[key]))
		raw += int64(len(m.text(t, key)))
		p := byPlace[account+" "+region]
		byPlace[account+" "+region] = [2]int64{p[0] + 1, p[1] + int64(len(list))}
		for _, rec := range list {
			records++
			largest = max(largest, len(rec))
			e, err := event.Parse(rec)
			if err != nil {
				t.Fatalf("%s: %v\n%s", key, err, rec)
			}
			if compact := new(bytes.Buffer); json.Compact(compact, rec) != nil || compact.Len() != len(rec) {
				t.Fatalf("%s: not compact: %s", key, rec)
			}
			if e.Text(event.RecipientAccountID) != account || e.Region() != region {
				t.Fatalf("%s holds a record of %s %s", key, e.Text(event.RecipientAccountID), e.Region())
			}
			if age := stamp.Sub(e.When()); age < 0 || age > 30*time.Minute {
				t.Fatalf("%s: a record of %s was delivered after %s", key, e.When(), age)
			} else if age > 15*time.Minute {
				late++
			}
			if begin := e.Text(event.SessionCreationDate); begin > e.Text(event.EventTime) {
				t.Fatalf("a session begins at %s, after %s", begin, rec)
			}
			ids[e.ID()]++
			kinds[e.Text(event.IdentityType)+"/"+e.Text(event.EventCategory)+"/"+e.Text(event.EventType)]++
			checkKeyOrder(t, rec)
			if strings.HasPrefix(e.Name(), "AssumeRole") {
				e.Get(event.ResponseElements).Members(func(k string, v event.Value) bool {
					if k == "credentials" {
						v.Members(func(k string, v event.Value) bool {
							if k == "accessKeyId" {
								sessions[v.Text()] = true
							}
							return true
						})
					}
					return true
				})
			}
		}
	}
	duplicates := int64(0)
	for id, n := range ids {
		if n > 2 || len(id) != 36 {
			t.Fatalf("event id %q occurs %d times", id, n)
		}
		duplicates += int64(n - 1)
	}
	if len(ids) != o.Events || truth.Events != int64(o.Events) {
		t.Errorf("%d distinct events, truth says %d, want %d", len(ids), truth.Events, o.Events)
	}
	if records != truth.Records || duplicates != truth.Duplicates || records != truth.Events+truth.Duplicates {
		t.Errorf("%d records with %d duplicates, truth says %d with %d", records, duplicates, truth.Records, truth.Duplicates)
	}
	if want := int64(float64(o.Events) * o.Duplicates); duplicates < want*7/10 || duplicates > want*13/10 {
		t.Errorf("%d duplicates, want about %d", duplicates, want)
	}
	if int64(len(m.files)) != truth.Files || raw != truth.RawBytes || size != truth.FileBytes {
		t.Errorf("%d files, %d bytes, %d compressed; truth says %d, %d, %d", len(m.files), raw, size, truth.Files, truth.RawBytes, truth.FileBytes)
	}
	for _, a := range truth.Accounts {
		for _, r := range a.Regions {
			if got := byPlace[a.ID+" "+r.Region]; got != [2]int64{r.Files, r.Records} {
				t.Errorf("%s %s: %v files and records, truth says %d and %d", a.Name, r.Region, got, r.Files, r.Records)
			}
		}
	}
	for _, want := range []string{
		"AssumedRole/Management/AwsApiCall", "AssumedRole/Data/AwsApiCall", "IAMUser/Management/AwsApiCall", "AWSService/Management/AwsApiCall",
		"AWSService/Data/AwsApiCall", "WebIdentityUser/Management/AwsApiCall", "SAMLUser/Management/AwsApiCall", "AWSAccount/Management/AwsApiCall",
		"AssumedRole/Management/AwsConsoleSignIn", "IdentityCenterUser/Management/AwsServiceEvent", "/Management/AwsServiceEvent",
		"AWSAccount/NetworkActivity/AwsVpceEvent", "IAMUser/Management/AwsConsoleSignIn", "Root/Management/AwsConsoleSignIn",
	} {
		if kinds[want] == 0 {
			t.Errorf("no record of the kind %s among %v", want, kinds)
		}
	}
	if late == 0 {
		t.Error("nothing was delivered late")
	}
	if largest < 10_000 || largest > 120_000 {
		t.Errorf("the largest record has %d bytes", largest)
	}
	if mean := float64(raw) / float64(records); mean < 1400 || mean > 1800 {
		t.Errorf("records of %.0f bytes on average", mean)
	}

	// Sessions lead back to their beginning, for most of the people and pipelines.
	with, all := 0, 0
	for _, list := range m.records(t) {
		for _, rec := range list {
			e, err := event.Parse(rec)
			if err != nil {
				t.Fatal(err)
			}
			if name := e.Text(event.IssuerUserName); name == "github-terraform" || name == "SecurityAudit" {
				all++
				if sessions[e.Text(event.AccessKeyID)] {
					with++
				}
			}
		}
	}
	if all == 0 || with < all/2 {
		t.Errorf("%d of %d records of pipelines and auditors have a key whose session's beginning is logged", with, all)
	}
}

var keyOrder = []string{
	"eventVersion", "userIdentity", "eventTime", "eventSource", "eventName", "awsRegion", "sourceIPAddress", "userAgent", "errorCode", "errorMessage",
	"requestParameters", "responseElements", "additionalEventData", "requestID", "eventID", "readOnly", "resources", "eventType", "apiVersion",
	"managementEvent", "recipientAccountId", "sharedEventID", "serviceEventDetails", "vpcEndpointId", "vpcEndpointAccountId", "eventCategory",
	"tlsDetails", "sessionCredentialFromConsole",
}

func checkKeyOrder(t *testing.T, rec []byte) {
	t.Helper()
	last := -1
	e, err := event.Parse(rec)
	if err != nil {
		t.Fatal(err)
	}
	e.Root().Members(func(k string, _ event.Value) bool {
		at := slices.Index(keyOrder, k)
		if at <= last {
			t.Fatalf("member %q out of order in %s", k, rec)
		}
		last = at
		return true
	})
}

func TestStory(t *testing.T) {
	t.Parallel()
	m, truth := generate(t, Options{Seed: 11, Events: 4000, Days: 1, Story: true, Plain: true})
	found := map[string]*event.Event{}
	background := 0
	for _, list := range m.records(t) {
		for _, rec := range list {
			e, err := event.Parse(rec)
			if err != nil {
				t.Fatal(err)
			}
			found[e.ID()] = e.Clone()
		}
	}
	inStory := map[string]bool{}
	check := func(s Step) {
		if s.ID == "" || s.Title == "" || s.Expect == "" || len(s.EventIDs) == 0 || s.First.After(s.Last) {
			t.Errorf("step %+v is not whole", s)
		}
		failed := 0
		for i, id := range s.EventIDs {
			e := found[id]
			if e == nil {
				t.Fatalf("step %s: event %s is in no file", s.ID, id)
			}
			if inStory[id] {
				t.Errorf("step %s: event %s belongs to another step too", s.ID, id)
			}
			inStory[id] = true
			if e.When().Before(s.First) || e.When().After(s.Last) || e.When().Before(truth.Start) || e.When().After(truth.End) {
				t.Errorf("step %s: event at %s, not within %s and %s", s.ID, e.When(), s.First, s.Last)
			}
			if !slices.Contains(s.EventNames, e.Name()) || !slices.Contains(s.Accounts, e.Account()) || e.Text(event.SourceIPAddress) != s.Address {
				t.Errorf("step %s does not agree with %s", s.ID, e.Raw)
			}
			if arn := e.Text(event.IdentityARN); arn != s.Actor && (i == 0 || arn != "") {
				t.Errorf("step %s is by %s, its event by %s", s.ID, s.Actor, arn)
			}
			if e.Failed() {
				failed++
			}
		}
		if failed != s.Failed {
			t.Errorf("step %s: %d events failed, truth says %d", s.ID, failed, s.Failed)
		}
	}
	var order []string
	for i, s := range truth.Steps {
		check(s)
		if len(s.Techniques) == 0 {
			t.Errorf("step %s names no technique", s.ID)
		}
		if i > 0 && s.First.Before(truth.Steps[i-1].First) {
			t.Errorf("step %s is out of order", s.ID)
		}
		order = append(order, s.ID)
	}
	want := "leaked-key enumeration key-for-another-user create-user admin-policy assume-role stop-logging disable-guardduty open-security-group share-snapshot " +
		"read-secrets bulk-read versioning-off bulk-delete ransom-note console-brute-force console-success backdoor-role"
	if got := strings.Join(order, " "); got != want {
		t.Errorf("steps\n%s, want\n%s", got, want)
	}
	if hours := truth.Steps[len(truth.Steps)-1].Last.Sub(truth.Steps[0].First).Hours(); hours < 2 || hours > 8 {
		t.Errorf("the attack lasts %.1f hours", hours)
	}
	for _, s := range truth.Benign {
		check(s)
	}
	// Nobody else uses the attacker's network, and the leaked user is at work at its usual address as well.
	usual := 0
	for id, e := range found {
		if strings.HasPrefix(e.Text(event.SourceIPAddress), "192.0.2.") != (inStory[id] && !slices.ContainsFunc(truth.Benign, func(s Step) bool { return slices.Contains(s.EventIDs, id) })) {
			t.Errorf("the attacker's network and the attack disagree about %s", e.Raw)
		}
		if e.Text(event.UserName) == leakedUser && e.Text(event.SourceIPAddress) == runnerAddress {
			usual++
			if e.Text(event.AccessKeyID) != found[truth.Steps[0].EventIDs[0]].Text(event.AccessKeyID) {
				t.Errorf("the leaked key is not the one that its user has: %s", e.Raw)
			}
		}
		if !inStory[id] {
			background++
		}
	}
	if usual == 0 || background == 0 {
		t.Errorf("%d calls of the leaked user from its usual address, %d of the background", usual, background)
	}

	// Without the story there is none.
	quiet, none := generate(t, Options{Seed: 11, Events: 4000, Days: 1, Plain: true})
	if len(none.Steps) != 0 || len(none.Benign) != 0 {
		t.Errorf("a story that was not asked for: %v", none.Steps)
	}
	for key := range quiet.files {
		if bytes.Contains(quiet.text(t, key), []byte(`"192.0.2.`)) {
			t.Fatalf("%s: the attacker's network without an attack", key)
		}
	}
}

func TestTinyFiles(t *testing.T) {
	t.Parallel()
	m, truth := generate(t, Options{Seed: 5, Events: 3000, Days: 1, TinyFiles: true, Duplicates: -1})
	for key, list := range m.records(t) {
		if len(list) < 1 || len(list) > 5 {
			t.Fatalf("%s has %d records", key, len(list))
		}
	}
	if truth.Records != 3000 || truth.Duplicates != 0 || truth.Files < 1000 || truth.Files > 3000 {
		t.Errorf("%d records, %d duplicates, %d files", truth.Records, truth.Duplicates, truth.Files)
	}
}

func TestOneFile(t *testing.T) {
	t.Parallel()
	const size = 16 << 20
	m, truth := generate(t, Options{Seed: 5, Bytes: size, Days: 1, OneFile: true, Plain: true})
	text := m.files["records.json"]
	if len(m.files) != 1 || truth.Files != 1 || int64(len(text)) != truth.RawBytes || truth.FileBytes != truth.RawBytes {
		t.Fatalf("%d files, %d bytes, truth says %+v", len(m.files), len(text), truth)
	}
	if len(text) < size*93/100 || len(text) > size*107/100 {
		t.Errorf("%d bytes, want about %d: meanRecordBytes should be %d", len(text), size, len(text)/int(truth.Records))
	}
	if n := len(m.records(t)["records.json"]); int64(n) != truth.Records {
		t.Errorf("%d records, truth says %d", n, truth.Records)
	}
}

// TestCompression holds the gzip ratio near that of logs that AWS wrote, which the package comment gives.
func TestCompression(t *testing.T) {
	t.Parallel()
	m, truth := generate(t, Options{Seed: 2, Events: 20000, Days: 1})
	ratio := func(lo, hi int) float64 {
		var raw, size float64
		for key, list := range m.records(t) {
			if len(list) >= lo && len(list) <= hi {
				raw += float64(len(m.text(t, key)))
				size += float64(len(m.files[key]))
			}
		}
		return raw / size
	}
	for _, c := range []struct {
		lo, hi    int
		min, most float64
	}{{1, 4, 1.7, 4}, {29, 51, 5.5, 9.5}, {100, 5000, 7, 11}} {
		if r := ratio(c.lo, c.hi); r < c.min || r > c.most {
			t.Errorf("files of %d to %d records: ratio %.2f, want %g to %g", c.lo, c.hi, r, c.min, c.most)
		} else {
			t.Logf("files of %d to %d records: ratio %.2f", c.lo, c.hi, r)
		}
	}
	t.Logf("mean record %.0f bytes, %d files, ratio %.2f", float64(truth.RawBytes)/float64(truth.Records), truth.Files, float64(truth.RawBytes)/float64(truth.FileBytes))
}

// TestRhythm: the office is empty at night and at weekends, the nightly jobs come at night.
func TestRhythm(t *testing.T) {
	t.Parallel()
	m, _ := generate(t, Options{Seed: 4, Events: 20000, Days: 7, Plain: true})
	var people, peopleOff, batch, batchDay, errors, all int
	actors := map[string]int{}
	for _, list := range m.records(t) {
		for _, rec := range list {
			e, err := event.Parse(rec)
			if err != nil {
				t.Fatal(err)
			}
			all++
			if e.Failed() {
				errors++
			}
			when, role := e.When(), e.Text(event.IssuerUserName)
			actors[role]++
			switch {
			case strings.HasPrefix(role, "AWSReservedSSO_"):
				people++
				if d := when.Weekday(); d == time.Saturday || d == time.Sunday || when.Hour() < 6 || when.Hour() > 18 {
					peopleOff++
				}
			case strings.HasSuffix(role, "-batch"):
				batch++
				if when.Hour() != 2 {
					batchDay++
				}
			}
		}
	}
	if people < 300 || peopleOff != 0 {
		t.Errorf("%d calls of people, %d of them out of hours", people, peopleOff)
	}
	if batch < 300 || batchDay > batch/100 {
		t.Errorf("%d calls of nightly jobs, %d of them at other hours", batch, batchDay)
	}
	if share := float64(errors) / float64(all); share < 0.015 || share > 0.08 {
		t.Errorf("%.1f%% of the calls fail", 100*share)
	}
	counts := make([]int, 0, len(actors))
	for _, n := range actors {
		counts = append(counts, n)
	}
	slices.SortFunc(counts, func(a, b int) int { return b - a })
	top := 0
	for _, n := range counts[:10] {
		top += n
	}
	if share := float64(top) / float64(all); len(counts) < 70 || share < 0.4 {
		t.Errorf("the first 10 of %d roles make %.0f%% of the calls", len(counts), 100*share)
	}
}

// counted is a Sink that keeps nothing.
type counted struct{}

func (counted) Create(context.Context, string) (io.WriteCloser, error) { return discard{}, nil }

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Close() error                { return nil }

// TestMemory: what is held does not grow with the events.
func TestMemory(t *testing.T) {
	peak := func(o Options) uint64 {
		runtime.GC()
		var before, stats runtime.MemStats
		runtime.ReadMemStats(&before)
		var top uint64
		o.Sink = watching(func() {
			runtime.ReadMemStats(&stats)
			top = max(top, stats.HeapAlloc)
		})
		o.Seed, o.Workers, o.Plain = 1, 1, true
		if _, err := Generate(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		return top - min(top, before.HeapAlloc)
	}
	const limit = 60 << 20
	for name, o := range map[string]Options{
		"busy files": {Events: 80_000, Days: 1, Accounts: 3},
		"one file":   {Events: 80_000, Days: 1, Accounts: 3, OneFile: true},
	} {
		// All the text is 130 MB.
		many := peak(o)
		t.Logf("%s: %d MB", name, many>>20)
		if many > limit || many == 0 {
			t.Errorf("%s: %d MB held, want at most %d", name, many>>20, limit>>20)
		}
	}
}

// watching is a Sink that keeps nothing and calls a function at every 64th write.
func watching(fn func()) Sink { return &watcher{fn: fn} }

type watcher struct {
	mu sync.Mutex
	n  int // guarded by mu
	fn func()
}

func (w *watcher) Create(context.Context, string) (io.WriteCloser, error) { return w, nil }
func (w *watcher) Close() error                                           { return nil }
func (w *watcher) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.n++; w.n%64 == 0 {
		w.fn()
	}
	return len(b), nil
}

func TestOut(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	truth, err := Generate(t.Context(), Options{Seed: 9, Events: 3000, Days: 1, Story: true, Out: dir})
	if err != nil {
		t.Fatal(err)
	}
	var read Truth
	text, err := os.ReadFile(filepath.Join(dir, "truth.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if len(read.Steps) != len(truth.Steps) || read.Events != 3000 || !read.Steps[0].First.Equal(truth.Steps[0].First) {
		t.Errorf("truth.json says %+v, want %+v", read, truth)
	}
	files := int64(0)
	err = filepath.WalkDir(filepath.Join(dir, "AWSLogs"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files++
		}
		return err
	})
	if err != nil || files != truth.Files {
		t.Errorf("%d files, truth says %d, %v", files, truth.Files, err)
	}
}

type failing struct{}

var errDisk = errors.New("no space left")

func (failing) Create(context.Context, string) (io.WriteCloser, error) { return failing{}, nil }
func (failing) Write([]byte) (int, error)                              { return 0, errDisk }
func (failing) Close() error                                           { return nil }

func TestFailures(t *testing.T) {
	t.Parallel()
	for _, one := range []bool{false, true} {
		if _, err := Generate(t.Context(), Options{Events: 20000, Sink: failing{}, OneFile: one}); !errors.Is(err, errDisk) {
			t.Errorf("OneFile %t: a full disk gives %v", one, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Generate(ctx, Options{Events: 20000, Sink: counted{}, OneFile: one}); !errors.Is(err, context.Canceled) {
			t.Errorf("OneFile %t: a cancelled context gives %v", one, err)
		}
	}
	for want, o := range map[string]Options{
		"nothing to make":           {Sink: counted{}},
		"give either Out or Sink":   {Events: 1},
		"want 3 to 200":             {Events: 1, Sink: counted{}, Accounts: 2},
		"not the beginning":         {Events: 1, Sink: counted{}, Start: time.Date(2026, 1, 1, 3, 0, 0, 0, time.UTC)},
		"exclude each other":        {Events: 1, Sink: counted{}, TinyFiles: true, OneFile: true},
		"want 1 to 9":               {Events: 1, Sink: counted{}, Level: 10},
		"the story alone has":       {Events: 100, Sink: counted{}, Story: true},
		"want at most 0.5":          {Events: 1, Sink: counted{}, Duplicates: 0.6},
		"Days is -1, want 1 to":     {Events: 1, Sink: counted{}, Days: -1},
		"in the year 1999, want 20": {Events: 1, Sink: counted{}, Start: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		if _, err := Generate(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v gives %v, want %q", o, err, want)
		}
	}
}

func TestTemplates(t *testing.T) {
	t.Parallel()
	w, err := newWorld(1, minAccounts)
	if err != nil {
		t.Fatal(err)
	}
	g := &gen{w: w}
	g.begin(1, w.places[0])
	g.epoch++
	for text, want := range map[string]string{
		``:                                `^$`,
		`a`:                               `^a$`,
		`<int:3:3>-<hex:4>`:               `^3-[0-9a-f]{4}$`,
		`[<rep:2:2>"<one:x|y>"</rep>]`:    `^\["[xy]","[xy]"\]$`,
		`<bucket> <bucket>`:               `^(example-prod-\S+) (example-prod-\S+)$`,
		`<rep:1:1>a</rep><rep:1:1></rep>`: `^a$`,
		`<account>/<region>/<uuid>`:       `^\d{12}/us-east-1/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`,
	} {
		c, err := compile(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if got := string(c.append(g, nil)); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%q gives %q", text, got)
		}
	}
	for _, text := range []string{"<nothing>", "<hex>", "<hex:x>", "<int:1>", "<int:2:1>", "<rep:1:2>a", "a</rep>", "<rep:x:1></rep>", "<another:thing>", "a<b", "<uuid:1>"} {
		if _, err := compile(text); err == nil {
			t.Errorf("%q compiles", text)
		}
	}
}

func TestTimes(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z", "2026-03-02T09:12:41Z", "2026-12-31T12:00:00Z", "2100-03-01T00:05:00Z"} {
		when, err := time.Parse(time.RFC3339, s)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendTime(nil, when.Unix())); got != s {
			t.Errorf("%s, want %s", got, s)
		}
		if got, want := string(appendLongTime(nil, when.Unix())), when.UTC().Format("Jan 2, 2006, 3:04:05 PM"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got, want := string(appendStamp(nil, when.Unix())), when.UTC().Format("20060102T1504Z"); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func BenchmarkGenerate(b *testing.B) {
	for name, o := range map[string]Options{
		"files":      {Days: 7},
		"busy":       {Days: 1},
		"tiny":       {Days: 7, TinyFiles: true},
		"plain file": {Days: 7, OneFile: true, Plain: true},
	} {
		b.Run(name, func(b *testing.B) {
			o.Events, o.Seed, o.Sink = 300_000, 1, counted{}
			for b.Loop() {
				t, err := Generate(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(t.RawBytes)
			}
			b.ReportMetric(float64(o.Events)*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
