package history

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/journal"
	"spoor/internal/ledger"
	"spoor/internal/source"
	"spoor/internal/source/open"
	"spoor/internal/source/sourcetest"
	"spoor/internal/store"
	"spoor/internal/store/table"
)

// now is when the history is asked.
var now = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// fixture is a store that follows a journal, and what was put into it.
type fixture struct {
	t       testing.TB
	dir     string
	store   *store.Store
	journal *journal.Journal
	live    *store.Live
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	x := &fixture{t: t, dir: t.TempDir()}
	var err error
	if x.store, err = store.Create(t.Context(), filepath.Join(x.dir, "store"), store.Options{}); err != nil {
		t.Fatal(err)
	}
	if x.journal, err = journal.Open(t.Context(), journal.Options{Dir: filepath.Join(x.dir, "journal"), Followers: []string{store.FollowerName}, MinFree: -1}); err != nil {
		t.Fatal(err)
	}
	x.live, err = x.store.Follow(t.Context(), store.JournalFeed(x.journal), store.LiveOptions{FlushRows: 1 << 40, MaxHotRows: 1 << 50, FlushInterval: 1000 * time.Hour, Publish: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- x.live.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, x.live.Close(), x.store.Close(), x.journal.Close()); err != nil {
			t.Error(err)
		}
	})
	return x
}

// put accepts records, and waits until they are in answers.
func (x *fixture) put(records ...string) {
	x.t.Helper()
	var batch []journal.Record
	for i, r := range records {
		batch = append(batch, journal.Record{Raw: []byte(r), Origin: journal.Origin{Source: "push", Object: "request", Offset: int64(i)}})
	}
	seq, err := x.journal.Append(x.t.Context(), batch)
	if err == nil {
		err = x.live.Wait(x.t.Context(), seq)
	}
	if err != nil {
		x.t.Fatal(err)
	}
}

func (x *fixture) flush() {
	x.t.Helper()
	if err := x.live.Flush(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
}

func (x *fixture) compact() {
	x.t.Helper()
	if _, err := x.store.Compact(x.t.Context(), store.CompactOptions{Closed: -1}); err != nil {
		x.t.Fatal(err)
	}
}

func (x *fixture) history(o Options) *History {
	x.t.Helper()
	o.Store = x.store
	if o.Dir == "" {
		o.Dir = filepath.Join(x.t.TempDir(), "history")
	}
	if o.Now == nil {
		o.Now = func() time.Time { return now }
	}
	h, err := New(o)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() {
		if err := h.Close(); err != nil {
			x.t.Error(err)
		}
	})
	return h
}

// keeper keeps what it is given.
type keeper struct{ into *[]string }

func (k keeper) Event(e *event.Event) error {
	*k.into = append(*k.into, string(e.Raw))
	return nil
}

// records reads everything that a store has, as what reads logs does.
func records(t testing.TB, s *store.Store) (out []string) {
	t.Helper()
	src := s.Source(store.Filter{})
	if err := intake.Run(t.Context(), intake.Options{Sources: []source.Source{src}, Ledger: ledger.New(), Workers: 1}, func() (intake.Worker, error) { return keeper{&out}, nil }); err != nil {
		t.Fatal(err)
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	return out
}

// plain is what a record says, read with nothing of this package.
type plain struct {
	raw, id, account, region, kind string
	time                           time.Time
	attributes                     map[Key][]string
}

func read(t testing.TB, raw string) plain {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(raw), &m); err != nil {
		t.Fatalf("%.100s: %v", raw, err)
	}
	text := func(v any, path ...string) string {
		for _, p := range path {
			o, _ := v.(map[string]any)
			v = o[p]
		}
		s, _ := v.(string)
		return s
	}
	p := plain{raw: raw, id: text(m, "eventID"), account: cmp.Or(text(m, "recipientAccountId"), text(m, "userIdentity", "accountId")), region: text(m, "awsRegion"), kind: text(m, "eventCategory"), attributes: map[Key][]string{}}
	if at := text(m, "eventTime"); at != "" {
		var err error
		if p.time, err = time.Parse(time.RFC3339Nano, at); err != nil {
			t.Fatal(err)
		}
	}
	add := func(k Key, v string) {
		if v != "" {
			p.attributes[k] = append(p.attributes[k], v)
		}
	}
	add(EventID, p.id)
	if p.kind == "Insight" {
		add(EventName, text(m, "insightDetails", "eventName"))
		add(EventSource, text(m, "insightDetails", "eventSource"))
		return p
	}
	add(EventName, text(m, "eventName"))
	add(EventSource, text(m, "eventSource"))
	add(AccessKeyID, text(m, "userIdentity", "accessKeyId"))
	if b, ok := m["readOnly"].(bool); ok {
		add(ReadOnly, fmt.Sprint(b))
	}
	switch text(m, "userIdentity", "type") {
	case "Root":
		add(Username, "root")
	case "AssumedRole":
		_, session, _ := strings.Cut(text(m, "userIdentity", "principalId"), ":")
		add(Username, session)
	default:
		add(Username, text(m, "userIdentity", "userName"))
	}
	if list, _ := m["resources"].([]any); len(list) > 0 {
		for _, r := range list {
			add(ResourceName, text(r, "ARN"))
			add(ResourceType, text(r, "type"))
		}
		return p
	}
	for path, typ := range map[string]string{"userName": "AWS::IAM::User", "roleName": "AWS::IAM::Role", "bucketName": "AWS::S3::Bucket"} {
		service := "iam.amazonaws.com"
		if path == "bucketName" {
			service = "s3.amazonaws.com"
		}
		if name := text(m, "requestParameters", path); name != "" && text(m, "eventSource") == service {
			add(ResourceName, name)
			add(ResourceType, typ)
		}
	}
	return p
}

// want is the answer of a scan of everything: the records in order.
func want(all []plain, q Query, scope Scope, extended bool) (out []string) {
	kind := "Management"
	if q.Insight {
		kind = "Insight"
	}
	var found []plain
	for _, p := range all {
		if p.time.IsZero() || p.kind != kind || scope != ScopeAll && (p.account != q.Account || p.region != q.Region) ||
			!q.Start.IsZero() && p.time.Before(q.Start) || !q.End.IsZero() && p.time.After(q.End) || !extended && p.time.Before(now.Add(-Reach)) ||
			slices.ContainsFunc(q.Attributes, func(a Attribute) bool { return !slices.Contains(p.attributes[a.Key], a.Value) }) {
			continue
		}
		found = append(found, p)
	}
	slices.SortFunc(found, func(a, b plain) int {
		x, y := sha256.Sum256([]byte(a.raw)), sha256.Sum256([]byte(b.raw))
		return cmp.Or(b.time.Compare(a.time), strings.Compare(begin(b.id), begin(a.id)), slices.Compare(y[:], x[:]))
	})
	for _, p := range found {
		out = append(out, p.raw)
	}
	return out
}

// pages goes over all pages; between them, each is called with their number.
func pages(t testing.TB, h *History, q Query, each func(page int)) (out []string) {
	t.Helper()
	for n := 1; ; n++ {
		h.limit.mu.Lock()
		h.limit.of = nil // as if seconds passed
		h.limit.mu.Unlock()
		p, err := h.Lookup(t.Context(), q)
		if err != nil {
			t.Fatalf("page %d of %+v: %v", n, q, err)
		}
		if len(p.Damaged) > 0 {
			t.Fatalf("page %d of %+v: damaged: %v", n, q, p.Damaged)
		}
		if len(p.Events) > cmp.Or(q.MaxResults, MaxResults) || p.Next != "" && len(p.Events) < cmp.Or(q.MaxResults, MaxResults) {
			t.Fatalf("page %d of %+v has %d events", n, q, len(p.Events))
		}
		for _, e := range p.Events {
			out = append(out, string(e.Raw))
		}
		if q.Token = p.Next; q.Token == "" {
			return out
		}
		if each != nil {
			each(n)
		}
	}
}

func same(t testing.TB, what any, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	show := func(s []string) string {
		if at < len(s) {
			return s[at]
		}
		return "nothing"
	}
	t.Fatalf("%+v: %d events, want %d; the first that differs, %d:\n%.600s\nwant\n%.600s", what, len(got), len(want), at, show(got), show(want))
}

// maker makes records with few values, so that many have the same time, id, or names.
type maker struct {
	*rand.Rand
	n int
}

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, seed)) }

func (m *maker) pick(from ...string) string { return from[m.IntN(len(from))] }

func (m *maker) record(day int) string {
	m.n++
	id := fmt.Sprintf("%08x-%04x-4000-8000-%012x", m.Uint32(), m.n&0xffff, m.n)
	switch m.IntN(30) {
	case 0:
		id = ""
	case 1:
		id = "same"
	case 2:
		id = strings.Repeat("long", 150) + m.pick("", "a", "b")
	case 3:
		id = m.pick("Zürich", `with \"quotes\"`, "z", "0")
	}
	at := now.AddDate(0, 0, -day).Truncate(24 * time.Hour).Add(time.Duration(m.IntN(40)) * 20 * time.Minute).Format(time.RFC3339)
	switch m.IntN(25) {
	case 0:
		at = strings.TrimSuffix(at, "Z") + m.pick(".5Z", ".000001Z", ".0000015Z", ".0000012Z", ".999999999Z")
	case 1:
		at = ""
	}
	account, region := m.pick("111122223333", "111122223333", "111122223333", "444455556666"), m.pick("us-east-1", "us-east-1", "eu-central-1")
	kind := m.pick("Management", "Management", "Management", "Management", "Management", "Data")
	var b strings.Builder
	b.WriteString(`{"eventVersion":"1.11"`)
	user := m.pick("ana", "ben", "ci")
	switch m.IntN(3) {
	case 0:
		fmt.Fprintf(&b, `,"userIdentity":{"type":"IAMUser","userName":%q,"accountId":%q,"accessKeyId":"AKIA%s"}`, user, account, strings.ToUpper(user))
	case 1:
		fmt.Fprintf(&b, `,"userIdentity":{"type":"AssumedRole","principalId":"AROAX:%s","accountId":%q,"accessKeyId":"ASIA%03d"}`, m.pick("session", "deploy", user), account, m.IntN(50))
	case 2:
		fmt.Fprintf(&b, `,"userIdentity":{"type":"Root","accountId":%q}`, account)
	}
	if at != "" {
		fmt.Fprintf(&b, `,"eventTime":%q`, at)
	}
	if m.IntN(40) == 0 {
		fmt.Fprintf(&b, `,"awsRegion":%q,"eventID":"%s","eventType":"AwsCloudTrailInsight","recipientAccountId":%q,"insightDetails":{"state":"Start","eventSource":"iam.amazonaws.com","eventName":%q},"eventCategory":"Insight"}`, region, id, account, m.pick("PutRolePolicy", "CreateUser"))
		return b.String()
	}
	source := m.pick("iam.amazonaws.com", "s3.amazonaws.com", "kms.amazonaws.com")
	fmt.Fprintf(&b, `,"eventSource":%q,"eventName":%q,"awsRegion":%q`, source, m.pick("CreateUser", "GetRole", "ListBuckets", "Decrypt", "Decrypt", "Decrypt", fmt.Sprintf("Rare%d", m.IntN(300))), region)
	params := "null"
	switch m.IntN(4) {
	case 0:
		params = fmt.Sprintf(`{"userName":%q,"roleName":"r%d"}`, user, m.IntN(200))
	case 1:
		params = fmt.Sprintf(`{"bucketName":"b%d"}`, m.IntN(5))
	}
	fmt.Fprintf(&b, `,"requestParameters":%s,"responseElements":null`, params)
	if id != "" {
		fmt.Fprintf(&b, `,"requestID":"R%d","eventID":"%s"`, m.n, id)
	}
	if m.IntN(5) > 0 {
		fmt.Fprintf(&b, `,"readOnly":%v`, m.IntN(3) > 0)
	}
	if m.IntN(6) == 0 {
		fmt.Fprintf(&b, `,"resources":[{"ARN":"arn:aws:kms:::key/%d","type":"AWS::KMS::Key"},{"ARN":"arn:aws:kms:::alias/a","type":"AWS::KMS::Alias"}]`, m.IntN(9))
	}
	fmt.Fprintf(&b, `,"recipientAccountId":%q,"eventCategory":%q}`, account, kind)
	return b.String()
}

func (m *maker) some(n, days int) (out []string) {
	for range n {
		day := m.IntN(days)
		if day > 10 {
			day -= day % 13 // of fewer days, so that there are fewer files
		}
		out = append(out, m.record(day))
	}
	return out
}

func readAll(t testing.TB, raws []string) (out []plain) {
	t.Helper()
	for _, r := range raws {
		out = append(out, read(t, r))
	}
	return out
}

// values are all values of attributes, and some that nothing has.
func values(all []plain) (out []Attribute) {
	there := map[Attribute]bool{}
	for _, p := range all {
		for k, vs := range p.attributes {
			there[Attribute{k, "nothing has this"}] = true
			for _, v := range vs {
				there[Attribute{k, v}] = true
			}
		}
	}
	out = slices.Collect(maps.Keys(there))
	slices.SortFunc(out, func(a, b Attribute) int { return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(a.Value, b.Value)) })
	return out
}

// few takes at most so many, of every attribute, the others by chance.
func (m *maker) few(all []Attribute, n int) (out []Attribute) {
	m.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	of := map[Key]int{}
	for _, a := range all {
		if of[a.Key]++; of[a.Key] <= n {
			out = append(out, a)
		}
	}
	return out
}

// TestLookup holds every answer against a scan of everything: from hot rows, data files, merged ones and after retention, with
// indexes made before and by the lookup, by values of every attribute, in pages of several sizes.
func TestLookup(t *testing.T) {
	t.Parallel()
	x := newFixture(t)
	m := &maker{Rand: rand.New(rand.NewPCG(1, 5))}
	dir := filepath.Join(t.TempDir(), "history")
	own := x.history(Options{Dir: dir})
	for i, step := range []struct {
		name string
		do   func()
	}{
		{"hot", func() { x.put(m.some(500, 110)...) }},
		{"flushed", x.flush},
		{"more", func() { x.put(m.some(300, 3)...); x.flush(); x.put(m.some(300, 4)...) }},
		{"merged", func() { x.flush(); x.compact() }},
		{"retained", func() {
			if _, err := x.store.Retain(t.Context(), store.RetainOptions{Ages: map[string]time.Duration{"Management": time.Since(now) + 40*24*time.Hour}}); err != nil {
				t.Fatal(err)
			}
		}},
		{"opened again", func() { own = x.history(Options{Dir: dir}) }},
	} {
		step.do()
		if i%2 == 1 {
			if _, err := own.catchUp(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		raws := records(t, x.store)
		all := readAll(t, raws)
		for n, a := range append([]Attribute{{}}, m.few(values(all), 9)...) {
			for k, q := range []Query{{Account: "111122223333", Region: "us-east-1"}, {Account: "444455556666", Region: "eu-central-1"}, {Account: "111122223333", Region: "us-east-1", Insight: true}} {
				switch {
				case a.Key == "":
				case q.Insight && a.Key != EventID && a.Key != EventName && a.Key != EventSource:
					continue
				default:
					q.Attributes = []Attribute{a}
				}
				if n%3 == 1 {
					q.Start = now.AddDate(0, 0, -50).Truncate(24 * time.Hour)
				}
				if n%5 == 2 {
					q.End = now.AddDate(0, 0, -1).Truncate(24 * time.Hour).Add(20 * time.Minute)
				}
				q.MaxResults = []int{0, 7, 50, 1, 13}[(n+k)%5]
				if q.MaxResults == 1 && a.Key == "" {
					q.MaxResults = 3
				}
				same(t, fmt.Sprintf("%s: %+v", step.name, q), pages(t, own, q, nil), want(all, q, ScopeOwn, false))
			}
		}
	}
}

// TestExtended: several attributes, any time, everybody's events.
func TestExtended(t *testing.T) {
	t.Parallel()
	x := newFixture(t)
	m := &maker{Rand: rand.New(rand.NewPCG(3, 3))}
	x.put(m.some(700, 300)...)
	x.flush()
	x.put(m.some(300, 300)...)
	all := readAll(t, records(t, x.store))
	own := x.history(Options{Extended: true})
	everything := x.history(Options{Extended: true, Scope: ScopeAll, All: func(account string) bool { return account == "111122223333" }})
	attributes := values(all)
	for range 60 {
		q := Query{Account: m.pick("111122223333", "444455556666"), Region: "us-east-1", MaxResults: 1 + m.IntN(50)}
		p := all[m.IntN(len(all))]
		for _, k := range []Key{EventName, EventSource, ReadOnly, Username, ResourceType, AccessKeyID}[m.IntN(5):][:m.IntN(2)+1] {
			if vs := p.attributes[k]; len(vs) > 0 && m.IntN(8) > 0 {
				q.Attributes = append(q.Attributes, Attribute{k, vs[0]})
			} else {
				q.Attributes = append(q.Attributes, attributes[m.IntN(len(attributes))])
			}
		}
		same(t, q, pages(t, own, q, nil), want(all, q, ScopeOwn, true))
		scope := ScopeAll
		if q.Account != "111122223333" {
			scope = ScopeOwn
		}
		same(t, q, pages(t, everything, q, nil), want(all, q, scope, true))
	}
	same(t, "everything", pages(t, everything, Query{Account: "111122223333"}, nil), want(all, Query{}, ScopeAll, true))
}

// TestPagesWhileEventsArrive: no event comes twice, and none is missing that was there at the first page.
func TestPagesWhileEventsArrive(t *testing.T) {
	t.Parallel()
	x := newFixture(t)
	m := &maker{Rand: rand.New(rand.NewPCG(9, 1))}
	x.put(m.some(400, 5)...)
	h := x.history(Options{Extended: true})
	for round := range 2 {
		q := Query{Account: "111122223333", Region: "us-east-1", MaxResults: 23 + 5*round}
		if round%2 == 1 {
			q.Attributes = []Attribute{{EventName, "Decrypt"}}
		}
		before := want(readAll(t, records(t, x.store)), q, ScopeOwn, true)
		got := pages(t, h, q, func(page int) {
			switch page % 4 {
			case 0:
				x.put(m.some(30, 5)...)
			case 1:
				x.flush()
			case 2:
				x.put(m.some(1, 5)...)
			case 3:
				x.compact()
			}
		})
		after := want(readAll(t, records(t, x.store)), q, ScopeOwn, true)
		seen := map[string]bool{}
		for _, r := range got {
			if seen[r] {
				t.Fatalf("round %d: twice: %s", round, r)
			}
			seen[r] = true
		}
		for _, r := range before {
			if !seen[r] {
				t.Fatalf("round %d: missing: %s", round, r)
			}
		}
		// And they came in order.
		same(t, round, got, slices.DeleteFunc(after, func(r string) bool { return !seen[r] }))
	}
}

// TestRealLogs holds answers over real logs against a scan.
func TestRealLogs(t *testing.T) {
	t.Parallel()
	logs := filepath.Join(sourcetest.Shared(t), "data", "cloudtrail")
	s, err := store.Create(t.Context(), filepath.Join(t.TempDir(), "store"), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	src, err := open.Resolve(t.Context(), logs, open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ingest(t.Context(), store.IngestOptions{Intake: intake.Options{Sources: []source.Source{src}, Named: []string{logs}, Workers: 1}}); err != nil {
		t.Fatal(err)
	}
	h, err := New(Options{Store: s, Dir: filepath.Join(t.TempDir(), "history"), Extended: true, Scope: ScopeAll})
	if err != nil {
		t.Fatal(err)
	}
	var all []found
	by := map[Attribute][]int{}
	for _, raw := range records(t, s) {
		e, err := event.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if kindOf(e) != management {
			continue
		}
		attributes(e, management, func(k Key, v string) {
			if a := (Attribute{k, strings.Clone(v)}); len(by[a]) == 0 || by[a][len(by[a])-1] != len(all) {
				by[a] = append(by[a], len(all))
			}
		})
		all = append(all, found{placeOf(e), eventOf(e, management)})
	}
	if len(all) < 100 || len(by) < 1000 {
		t.Fatalf("only %d events with %d attributes", len(all), len(by))
	}
	n := 0
	for a, at := range by {
		if n++; n > 400 || len([]rune(a.Value)) > 2000 {
			continue // each run takes others
		}
		var list []found
		for _, i := range at {
			list = append(list, all[i])
		}
		slices.SortFunc(list, func(a, b found) int { return a.place.compare(&b.place) })
		var want []string
		for _, f := range list {
			want = append(want, string(f.Raw))
		}
		same(t, a, pages(t, h, Query{Attributes: []Attribute{a}}, nil), want)
	}
}

// TestPrepare shows that indexes are there before the files that are flushed and merged are part of the store.
func TestPrepare(t *testing.T) {
	t.Parallel()
	x := newFixture(t)
	h := x.history(Options{})
	told := 0
	x.store.BeforeCommit(func(ctx context.Context, files []table.File) {
		h.Prepare(ctx, files)
		told += len(files)
	})
	ready := func(when string) {
		t.Helper()
		plan, err := x.store.Plan(t.Context(), store.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		defer plan.Release()
		if len(plan.Files) != 1 {
			t.Fatalf("%s: %d files", when, len(plan.Files))
		}
		for _, f := range plan.Files {
			if !h.indexes.has(f) {
				t.Errorf("%s: no index of %s", when, f.Name)
			}
		}
	}
	x.put(simple("a", now.Add(-time.Hour)))
	x.flush()
	ready("flushed")
	x.put(simple("b", now.Add(-time.Hour)))
	x.flush()
	x.compact()
	ready("merged")
	if told != 3 {
		t.Errorf("told of %d files", told)
	}
	x.store.BeforeCommit(nil)
	x.put(simple("c", now.Add(-48*time.Hour)))
	x.flush()
	if told != 3 {
		t.Error("told after the end")
	}
}

// simple is a management event of the account and Region of tests.
func simple(id string, at time.Time) string {
	return `{"eventVersion":"1.11","eventID":"` + id + `","eventTime":"` + at.UTC().Format(time.RFC3339) + `","eventSource":"s3.amazonaws.com","eventName":"ListBuckets","awsRegion":"us-east-1","recipientAccountId":"111122223333","managementEvent":true}`
}
