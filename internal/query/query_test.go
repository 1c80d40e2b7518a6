package query_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/intake"
	"spoor/internal/ledger"
	"spoor/internal/query"
	"spoor/internal/search"
	"spoor/internal/source"
	"spoor/internal/source/open"
	"spoor/internal/source/sourcetest"
	"spoor/internal/store"
)

// asked is a store, the engine that is asked about it, and what the store has.
type asked struct {
	*query.Engine
	store  *store.Store
	dir    string
	events []*event.Event // newest first
	asked  int
}

// newAsked fills a store, one file of logs after the other.
func newAsked(t testing.TB, opts query.Options, paths ...string) *asked {
	t.Helper()
	a := &asked{dir: filepath.Join(t.TempDir(), "store")}
	var err error
	if a.store, err = store.Create(t.Context(), a.dir, store.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.store.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, p := range paths {
		a.ingest(t, p)
	}
	opts.Store, opts.Dir, opts.TempDir = a.store, a.dir, t.TempDir()
	if a.Engine, err = query.Open(t.Context(), opts); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	a.read(t)
	return a
}

func (a *asked) ingest(t testing.TB, path string) {
	t.Helper()
	src, err := open.Resolve(t.Context(), path, open.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.store.Ingest(t.Context(), store.IngestOptions{Intake: intake.Options{Sources: []source.Source{src}, Named: []string{path}, Workers: 1}}); err != nil {
		t.Fatal(err)
	}
}

// keeper is a worker that keeps what it is given.
type keeper struct{ a *asked }

func (k keeper) Event(e *event.Event) error {
	k.a.events = append(k.a.events, e.Clone())
	return nil
}

// read reads what the store has, as everything that reads logs does.
func (a *asked) read(t testing.TB) {
	t.Helper()
	a.events = nil
	src := a.store.Source(store.Filter{})
	if err := intake.Run(t.Context(), intake.Options{Sources: []source.Source{src}, Ledger: ledger.New(), Workers: 1}, func() (intake.Worker, error) { return keeper{a}, nil }); err != nil {
		t.Fatal(err)
	}
	if err := src.Close(); err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(a.events, func(x, y *event.Event) int { return -order(x, y) })
	slices.SortStableFunc(a.events, untimedLast)
}

// order is that of places, for events with a time.
func order(x, y *event.Event) int {
	return cmp.Or(cmp.Compare(micros(x), micros(y)), strings.Compare(x.ID(), y.ID()), strings.Compare(x.File, y.File), cmp.Compare(x.Offset, y.Offset))
}

func untimedLast(x, y *event.Event) int {
	switch {
	case x.Time == 0 && y.Time != 0:
		return 1
	case x.Time != 0 && y.Time == 0:
		return -1
	}
	return 0
}

func micros(e *event.Event) int64 {
	return time.Unix(0, e.Time).UnixMicro()
}

// want gives the records that the terms are for, in order: by the evaluation of spoor search.
func (a *asked) want(t testing.TB, order query.Order, terms ...string) []*event.Event {
	t.Helper()
	q, err := search.Parse(terms)
	if err != nil {
		t.Fatalf("%q: %v", terms, err)
	}
	var out []*event.Event
	for _, e := range a.events {
		if q.Match(e) {
			out = append(out, e)
		}
	}
	if order == query.Oldest {
		slices.Reverse(out)
		slices.SortStableFunc(out, untimedLast)
	}
	return out
}

func raws(events []*event.Event) []string {
	out := make([]string, len(events))
	for i, e := range events {
		out[i] = string(e.Raw)
	}
	return out
}

// pages gives all events of a search.
func (a *asked) pages(t testing.TB, s query.Search) []string {
	t.Helper()
	var out []string
	for n := 0; ; n++ {
		p, err := a.Search(t.Context(), s)
		if err != nil {
			t.Fatalf("%q: %v", s.Terms, err)
		}
		if len(p.Damaged) > 0 {
			t.Fatalf("damaged: %v", p.Damaged)
		}
		for _, e := range p.Events {
			out = append(out, string(e.Raw))
		}
		if p.Next == "" {
			return out
		}
		if len(p.Events) == 0 || n > 10_000 {
			t.Fatalf("%q: page %d has %d events, and there is a next", s.Terms, n, len(p.Events))
		}
		s.Cursor = p.Next
	}
}

// compare asks about terms in all ways.
func (a *asked) compare(t testing.TB, terms ...string) int {
	t.Helper()
	want := a.want(t, query.Newest, terms...)
	same(t, fmt.Sprintf("newest first: %q", terms), a.pages(t, query.Search{Filter: query.Filter{Terms: terms}, Limit: query.MaxPage}), raws(want))
	if a.asked++; a.asked%3 != 0 {
		return len(want)
	}
	h, err := a.Histogram(t.Context(), query.Histogram{Filter: query.Filter{Terms: terms}})
	if err != nil {
		t.Fatalf("%q: %v", terms, err)
	}
	if h.Total != int64(len(want)) {
		t.Errorf("histogram of %q: %d events, want %d", terms, h.Total, len(want))
	}
	return len(want)
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range max(len(got), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("%s: %d events, want %d; the %dth is\n%.300s\nwant\n%.300s", what, len(got), len(want), i, g, w)
			return
		}
	}
}

// writeLog writes records as one log file.
func writeLog(t testing.TB, name string, records ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(`{"Records":[`+strings.Join(records, ",")+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// oddRecords are records on which languages differ.
func oddRecords() (plain, odd []string) {
	id := 0
	record := func(n int, name, rest string) string {
		id++
		return fmt.Sprintf(`{"eventVersion":"1.08","eventTime":"2026-01-05T09:%02d:00Z","eventSource":"s3.amazonaws.com","eventName":%s,"awsRegion":"us-east-1","sourceIPAddress":"198.51.100.%d","userAgent":"agent/%d",%s,"eventID":"00000000-0000-4000-8000-%012d"}`,
			n, name, n, n, rest, id)
	}
	const none = `"requestParameters":null,"responseElements":null`
	for i, name := range []string{
		`"Ask"`, `"ASK"`, `"a\u017fk"`, "\"As\u212a\"", `"Stra\u00dfe"`, "\"STRA\u1e9eE\"", `"STRASSE"`, `"İstanbul"`, `"istanbul"`, `"Istanbul"`, `"ıstanbul"`, `"ΣΊΣΥΦΟΣ"`, `"σίσυφος"`, `"a%b"`, `"a_b"`, `"axb"`,
		`"a\\b"`, `"a*b"`, `"a?b"`, `"a'b"`, `"a\nb"`, `"a\u0000b"`, `""`, `" "`, `"tr\"ue"`, `"5"`, `"5.0"`, `"\ud83d\ude00x"`, `"\ud800"`, `"e\u0301"`, `"null"`, `"true"`,
	} {
		plain = append(plain, record(i, name, none))
	}
	for i, params := range []string{
		`{"a":"Key"}`, `{"A":"key"}`, `{"a":{"b":"x"}}`, `{"a.b":"x"}`, `{"a":[{"b":"x"},{"b":["y","z"]}]}`, `{"a":5}`, `{"a":5.0}`, `{"a":5e0}`, `{"a":"5"}`, `{"a":1e3}`, `{"a":123456789012}`, `{"a":1.23456789012e11}`,
		`{"a":null}`, `{}`, `{"a":true}`, `{"a":"true"}`, `{"a":false}`, `{"a":"{\"b\":\"x\"}"}`, `{"a":"ke\u0079"}`, `{"a" : [ 22 , "x" ]}`, `{"a":"10.1.2.3"}`, `"text"`, `[{"a":"x"}]`, `7`, `{"a":"\\"}`, `{"a":"` + strings.Repeat("x", 5000) + `"}`,
	} {
		plain = append(plain, record(i, `"Params"`, `"requestParameters":`+params+`,"responseElements":{"a":"other"},"readOnly":true`))
	}
	plain = append(plain,
		record(1, `"ReadOnly"`, none+`,"readOnly":"false"`), record(2, `"ReadOnly"`, none+`,"readOnly":false`), record(3, `"ReadOnly"`, none+`,"readOnly":null`), record(4, `"ReadOnly"`, none+`,"managementEvent":true,"readOnly":0`),
		record(5, `"Error"`, none+`,"errorCode":null`), record(6, `"Error"`, none+`,"errorCode":"AccessDenied"`), record(7, `"Error"`, none+`,"errorCode":""`),
		`{"eventVersion":"1.08","eventTime":"2026-01-05T10:00:00Z","eventSource":"sts.amazonaws.com","eventName":"Other","userIdentity":{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/Ana","accessKeyId":"AKIAEXAMPLEKEYS","sessionContext":{"attributes":{"mfaAuthenticated":"false"}}},"eventID":"id-9"}`,
		`{"eventVersion":"1.08","eventTime":"not a time","eventSource":"sts.amazonaws.com","eventName":"Untimed","eventID":"00000000-0000-4000-8000-00000000000u"}`,
		`{"eventVersion":"1.08","eventSource":"sts.amazonaws.com","eventName":"Untimed","eventID":"00000000-0000-4000-8000-00000000000v"}`,
		`{"eventVersion":"1.08","eventTime":"2026-01-05T10:00:00Z","eventSource":"sts.amazonaws.com","eventName":"NoID","requestParameters":{"n":1}}`,
		`{"eventVersion":"1.08","eventTime":"2026-01-05T10:00:00Z","eventSource":"sts.amazonaws.com","eventName":"NoID","requestParameters":{"n":2}}`,
		`{"eventVersion":"1.08","eventTime":"2026-01-05T10:00:00.1234567Z","eventSource":"sts.amazonaws.com","eventName":"Fraction","sourceIPAddress":"2001:DB8::1","eventID":"f1"}`,
		`{"eventVersion":"1.08","eventTime":"2026-01-05T10:00:00.1234561Z","eventSource":"sts.amazonaws.com","eventName":"Fraction","sourceIPAddress":"::ffff:198.51.100.7","eventID":"f2"}`,
	)
	odd = []string{
		record(40, `7`, none), record(41, `["Ask","x"]`, none), record(42, `{"a":"Ask"}`, none), record(43, `true`, none), record(44, `"Ask`+"\xff"+`"`, none),
		`{"eventVersion":"1.08","eventTime":"2026-01-05T09:45:00Z","eventSource":"s3.amazonaws.com","eventName":"Ask","userIdentity":[{"arn":"one"},{"arn":"two"}],"eventID":"ODD-1"}`,
		record(46, `"Ask"`, `"requestParameters":{"a":"x`+"\xfe"+`"},"responseElements":null`),
	}
	return plain, odd
}

// oddTerms are terms on which languages differ.
func oddTerms() []string {
	out := []string{
		"readOnly=false", "readOnly=true", "readOnly!=true", "readOnly=*", "readOnly=f*", "readOnly|exists=true", "readOnly|exists=false", "managementEvent=true",
		"errorCode|exists=true", "errorCode|exists=false", "errorCode=*", "errorCode!=*", "errorCode=", "errorCode!=AccessDenied", "errorCode=access*", "errorCode=*d", "errorCode=?ccess?enied",
		"eventID=ID-9", "eventID=odd-1", "eventID!=odd-1", "eventID=00000000-0000-4000-8000-00000000000U", "eventID=00000000*", "userIdentity.accessKeyId=akiaexamplekeys", "userIdentity.accessKeyId=AKIAEXAMPLE?EYS", "accessKeyId=x",
		"sourceIPAddress|cidr=198.51.100.0/29", "sourceIPAddress|cidr=2001:db8::/32", "sourceIPAddress=198.51.100.7", "sourceIPAddress=2001:db8::1", "sourceIPAddress~^198\\.51\\.100\\.[1-3]$", "sourceIPAddress|startswith=198.51", "sourceIPAddress|endswith=.7",
		"userIdentity.arn=*user/ana", "userIdentity.arn=two", "userIdentity.arn~ana", "userIdentity=*AKIA*", "userIdentity.sessionContext.attributes.mfaAuthenticated=false",
		"requestParameters=*key*", "requestParameters={\"a\":5}", "requestParameters=text", "requestParameters=7", "requestParameters.a=key", "requestParameters.A=KEY", "requestParameters.a.b=x", "requestParameters.a=x", "requestParameters.a.b=z", "requestParameters.a=5", "requestParameters.a=5.0",
		"requestParameters.a=1000", "requestParameters.a=123456789012", "requestParameters.a=*123456789*", "requestParameters.a!=5", "requestParameters.a=true", "requestParameters.a|exists=true", "requestParameters.a|exists=false", "requestParameters.a=22", "requestParameters.a|gte=5", "requestParameters.a~^k.y$",
		"requestParameters.a=10.1.2.3", "requestParameters.a|cidr=10.0.0.0/8", "requestParameters.a=*\\\\*", "requestParameters.a=xxxxx*", "responseElements.a=other", "responseElements=*other*", "requestParameters.a|contains=xxxxxxxxxx",
		"eventTime=2026-01-05T09:0*", "eventTime|startswith=2026-01-05t10", "eventTime|hour=9", "user=ana", "user=*", "src_ip=198.51.100.7", "awsRegion|re=us-(east|west)-1", "nothing.like.it=*", "nothing.like.it!=x", "requestID|exists=false",
		"ask", "key", "other", "requestparameters", "us-east", "10.1.2.3", "123456789012", "1000", "agent/3", "AGENT/?", "a*b", "xxxxxxxx", "eventname", "null", "true", "5", "user/ana", "ana\",\"acc", "tr\"ue", "stra\u00dfe", "\u017f", "id-9", "s3 amazonaws", "198.51.100.7", "s3*amazon*",
		"eventName|base64=x", "eventName|cased=Ask", "eventName|contains|cased=As", "eventName|startswith|cased=\u017f", "eventName|contains=s", "eventName|contains|all=a", "eventName|windash=x", "eventName|re|i=ask", "eventName|fieldref=eventSource", "eventSource|contains=S3",
	}
	for _, name := range []string{
		"Ask", "ask", "a\u017fk", "as\u212a", "Stra\u00dfe", "STRA\u1e9eE", "strasse", "\u0130stanbul", "istanbul", "ISTANBUL", "\u0131stanbul", "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3", "a%b", "a_b", "axb", `a\\b`, `a\b`, `a\*b`, `a\?b`, "a*b", "a?b", "a??b", "a'b", "a\nb", "a\x00b", "", " ", "*", "?", "?*", "**",
		`tr"ue`, "5", "5.0", "\U0001f600x", "?x", "??", "\ufffd", "e\u0301", "null", "true", "7", "as*", "*sk", "*s*", "*K", "\u03c3*", "*\u03c2", "s*e", "str*e", "*ask*", "%", "_", "Params", "params", "P*S", "NoID", "Untimed",
	} {
		out = append(out, "eventName="+name, "eventName!="+name)
	}
	return out
}

// TestOddTerms compares with the evaluation of spoor search, over records and terms on which languages differ.
func TestOddTerms(t *testing.T) {
	t.Parallel()
	plain, odd := oddRecords()
	for name, of := range map[string]struct {
		paths []string
		every int // so many terms one is asked
	}{
		"plain and odd":  {[]string{writeLog(t, "plain.json", plain...), writeLog(t, "odd.json", odd...)}, 1},
		"odd among them": {[]string{writeLog(t, "all.json", append(plain, odd...)...)}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAsked(t, query.Options{}, of.paths...)
			if len(a.events) < len(plain) {
				t.Fatalf("%d events of %d", len(a.events), len(plain))
			}
			some, terms := 0, oddTerms()
			for i, term := range terms {
				if i%of.every != 0 {
					continue
				}
				if _, err := search.Parse([]string{term}); err != nil {
					if _, err := a.Search(t.Context(), query.Search{Filter: query.Filter{Terms: []string{term}}}); !errors.Is(err, query.ErrInvalid) {
						t.Errorf("%q: %v", term, err)
					}
					continue
				}
				if n := a.compare(t, term); n > 0 && n < len(a.events) {
					some++
				}
			}
			if some < len(terms)/2/of.every {
				t.Errorf("only %d of %d terms tell events apart", some, len(terms))
			}
			random := rand.New(rand.NewPCG(1, 2))
			for range 100 / of.every / 4 {
				var pair []string
				for len(pair) < 3 {
					term := terms[random.IntN(len(terms))]
					if _, err := search.Parse([]string{term}); err == nil {
						pair = append(pair, term)
					}
				}
				a.compare(t, pair...)
			}
		})
	}
}

// TestShared compares with the evaluation of spoor search over real logs, with terms that are made of them.
func TestShared(t *testing.T) {
	t.Parallel()
	data := filepath.Join(sourcetest.Shared(t), "data")
	a := newAsked(t, query.Options{}, data)
	random := rand.New(rand.NewPCG(3, 4))
	var terms []string
	for len(terms) < 60 {
		e := a.events[random.IntN(len(a.events))]
		path, text := someLeaf(random, e)
		if text == "" || len(text) > 300 || strings.ContainsAny(text, "\\") {
			continue
		}
		cut := random.IntN(len(text))
		piece := strings.ToValidUTF8(text[cut:min(len(text), cut+3+random.IntN(20))], "")
		switch random.IntN(8) {
		case 0:
			terms = append(terms, path+"="+text)
		case 1:
			terms = append(terms, path+"="+strings.ToUpper(text))
		case 2:
			terms = append(terms, path+"!="+text)
		case 3:
			terms = append(terms, path+"=*"+piece+"*")
		case 4:
			terms = append(terms, path+"="+strings.ToValidUTF8(text[:cut], "")+"*")
		case 5:
			terms = append(terms, path+"|endswith="+piece)
		case 6:
			terms = append(terms, strings.ToLower(piece))
		case 7:
			terms = append(terms, text)
		}
	}
	some := 0
	for _, term := range terms {
		if _, err := search.Parse([]string{term}); err != nil {
			continue
		}
		if n := a.compare(t, term); n > 0 && n < len(a.events) {
			some++
		}
	}
	if some < 40 {
		t.Errorf("only %d of %d terms tell events apart", some, len(terms))
	}
	for i := range 10 {
		a.compare(t, terms[i], terms[i+20])
	}
}

// someLeaf goes down into an event, at random, and gives a path and the text there.
func someLeaf(random *rand.Rand, e *event.Event) (path, text string) {
	var leaves [][2]string
	var walk func(path string, v event.Value)
	walk = func(path string, v event.Value) {
		switch v.Kind() {
		case event.Object:
			v.Members(func(k string, m event.Value) bool {
				walk(strings.TrimPrefix(path+"."+k, "."), m)
				return true
			})
		case event.Array:
			v.Elements(func(m event.Value) bool {
				walk(path, m)
				return true
			})
		default:
			if t := v.Text(); t != "" && !strings.ContainsFunc(path, func(r rune) bool {
				return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r)
			}) {
				leaves = append(leaves, [2]string{path, strings.Clone(t)})
			}
		}
	}
	walk("", e.Root())
	if len(leaves) == 0 {
		return "", ""
	}
	l := leaves[random.IntN(len(leaves))]
	return l[0], l[1]
}

// TestPages goes over small pages, in both orders, within bounds, and while events arrive and files are merged.
func TestPages(t *testing.T) {
	t.Parallel()
	plain, odd := oddRecords()
	a := newAsked(t, query.Options{}, writeLog(t, "plain.json", plain...), writeLog(t, "odd.json", odd...))
	for _, order := range []query.Order{query.Newest, query.Oldest} {
		for _, terms := range [][]string{nil, {"eventName=a*"}, {"requestParameters.a=*"}, {"eventSource=sts*", "eventName!=NoID"}} {
			for _, limit := range []int{1, 7} {
				what := fmt.Sprintf("%s %q by %d", order, terms, limit)
				same(t, what, a.pages(t, query.Search{Filter: query.Filter{Terms: terms}, Order: order, Limit: limit}), raws(a.want(t, order, terms...)))
			}
		}
	}
	first, err := a.Search(t.Context(), query.Search{Limit: 20})
	if err != nil {
		t.Fatal(err)
	}
	want := raws(a.events)
	// One comes before the place of the cursor, one behind it.
	a.ingest(t, writeLog(t, "later.json", `{"eventVersion":"1.08","eventTime":"2027-01-01T00:00:00Z","eventSource":"s3.amazonaws.com","eventName":"Later","eventID":"later"}`))
	const older = `{"eventVersion":"1.08","eventTime":"2020-01-01T00:00:00Z","eventSource":"s3.amazonaws.com","eventName":"Older","eventID":"older"}`
	a.ingest(t, writeLog(t, "older.json", older))
	if _, err := a.store.Compact(t.Context(), store.CompactOptions{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range first.Events {
		got = append(got, string(e.Raw))
	}
	got = append(got, a.pages(t, query.Search{Limit: 20, Cursor: first.Next})...)
	// Behind the place is what is older, and comes once.
	at := slices.Index(got, older)
	if at < 0 {
		t.Fatal("an event behind the cursor is not among the pages")
	}
	same(t, "while events arrive", slices.Delete(got, at, at+1), want)

	bounds := query.Filter{Since: time.Date(2026, 1, 5, 9, 10, 0, 0, time.UTC), Until: time.Date(2026, 1, 5, 9, 20, 0, 0, time.UTC), Regions: []string{"us-east-1"}}
	for _, raw := range a.pages(t, query.Search{Filter: bounds, Limit: 3}) {
		e, err := event.Parse([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		if e.Region() != "us-east-1" || e.When().Before(bounds.Since) || !e.When().Before(bounds.Until) {
			t.Errorf("out of bounds: %s", raw)
		}
	}
}

// TestRefusedQuestions are mistakes of the caller.
func TestRefusedQuestions(t *testing.T) {
	t.Parallel()
	a := newAsked(t, query.Options{}, writeLog(t, "a.json", `{"eventVersion":"1.08","eventTime":"2026-01-05T09:00:00Z","eventSource":"s3.amazonaws.com","eventName":"A","eventID":"1"}`,
		`{"eventVersion":"1.08","eventTime":"2026-01-05T09:00:00Z","eventSource":"s3.amazonaws.com","eventName":"A","eventID":"2"}`))
	ctx := t.Context()
	page, err := a.Search(ctx, query.Search{Limit: 1})
	if err != nil || page.Next == "" {
		t.Fatal(page, err)
	}
	now := time.Now()
	for name, ask := range map[string]func() error{
		"term": func() error {
			_, err := a.Search(ctx, query.Search{Filter: query.Filter{Terms: []string{"a~("}}})
			return err
		},
		"order":  func() error { _, err := a.Search(ctx, query.Search{Order: "random"}); return err },
		"limit":  func() error { _, err := a.Search(ctx, query.Search{Limit: query.MaxPage + 1}); return err },
		"cursor": func() error { _, err := a.Search(ctx, query.Search{Cursor: "x"}); return err },
		"another's": func() error {
			_, err := a.Search(ctx, query.Search{Cursor: page.Next, Order: query.Oldest})
			return err
		},
		"times": func() error {
			_, err := a.Search(ctx, query.Search{Filter: query.Filter{Since: now, Until: now}})
			return err
		},
		"account": func() error {
			_, err := a.Search(ctx, query.Search{Filter: query.Filter{Accounts: []string{"1\x00"}}})
			return err
		},
		"no id":           func() error { _, _, err := a.Event(ctx, ""); return err },
		"no field":        func() error { _, err := a.Top(ctx, query.Top{}); return err },
		"top":             func() error { _, err := a.Top(ctx, query.Top{Field: "eventName", Limit: query.MaxTop + 1}); return err },
		"buckets":         func() error { _, err := a.Histogram(ctx, query.Histogram{Buckets: query.MaxBuckets + 1}); return err },
		"interval":        func() error { _, err := a.Histogram(ctx, query.Histogram{Interval: time.Millisecond}); return err },
		"not SQL":         func() error { _, err := a.SQL(ctx, query.SQL{Query: "SELEC 1"}); return err },
		"no such column":  func() error { _, err := a.SQL(ctx, query.SQL{Query: "SELECT x FROM events"}); return err },
		"no ready query":  func() error { _, err := a.SQL(ctx, query.SQL{Ready: "nonsense"}); return err },
		"ready parameter": func() error { _, err := a.SQL(ctx, query.SQL{Ready: "key"}); return err },
	} {
		if err := ask(); !errors.Is(err, query.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var refused *query.RefusedError
	for _, sql := range []string{"SELECT * FROM read_text('/etc/hosts')", "DROP VIEW events", "SELECT 1; SELECT 2", "SELECT $x"} {
		if _, err := a.SQL(ctx, query.SQL{Query: sql}); !errors.As(err, &refused) {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, _, err := a.Event(ctx, "'\x00\xff'"); !errors.Is(err, query.ErrNotFound) {
		t.Errorf("an odd id: %v", err)
	}
	if _, _, err := a.Event(ctx, "3"); !errors.Is(err, query.ErrNotFound) {
		t.Errorf("an event that is not there: %v", err)
	}
	if e, damaged, err := a.Event(ctx, "2"); err != nil || e.Name != "A" || len(damaged) > 0 || !json.Valid(e.Raw) {
		t.Errorf("an event: %+v, %v, %v", e, damaged, err)
	}
	if s := a.Stats(); s.Running != 0 || s.Waiting != 0 || s.Asked == 0 {
		t.Errorf("afterwards: %+v", s)
	}
}

// TestRenewal: engines are replaced as files come, under questions that are being answered.
func TestRenewal(t *testing.T) {
	t.Parallel()
	a := newAsked(t, query.Options{RenewAfter: 2})
	record := func(n int) string {
		return fmt.Sprintf(`{"eventVersion":"1.08","eventTime":"2026-01-%02dT00:00:00Z","eventSource":"s3.amazonaws.com","eventName":"E%d","eventID":"id %d"}`, n+1, n, n)
	}
	a.ingest(t, writeLog(t, "log.json", record(0)))
	rows, err := a.SQL(t.Context(), query.SQL{Query: "SELECT eventName FROM events"})
	if err != nil {
		t.Fatal(err)
	}
	for n := 1; n < 9; n++ {
		a.ingest(t, writeLog(t, "log.json", record(n)))
		for id := range n + 1 {
			if e, damaged, err := a.Event(t.Context(), fmt.Sprint("id ", id)); err != nil || len(damaged) > 0 || e.Name != fmt.Sprint("E", id) {
				t.Fatalf("event %d of %d: %q %v %v", id, n+1, e.Name, damaged, err)
			}
		}
		if _, _, err := a.Event(t.Context(), "id 9"); !errors.Is(err, query.ErrNotFound) {
			t.Fatalf("an event that is not there: %v", err)
		}
	}
	if values, ok, err := rows.Next(); err != nil || !ok || values[0].Text != "E0" {
		t.Errorf("an answer that was begun before: %v %v %v", values, ok, err)
	}
	if err := rows.Close(); err != nil {
		t.Error(err)
	}
	if n := a.Stats().Renewed; n < 3 {
		t.Errorf("%d engines were replaced", n)
	}
}
