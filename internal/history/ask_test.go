package history

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"spoor/internal/event"
	"spoor/internal/store"
)

func TestInvalid(t *testing.T) {
	t.Parallel()
	x := newFixture(t)
	m := &maker{Rand: newRand(4)}
	x.put(m.some(300, 3)...)
	at := now
	h := x.history(Options{Now: func() time.Time { return at }})
	extended := x.history(Options{Extended: true})
	good := Query{Account: "111122223333", Region: "us-east-1", MaxResults: 5}
	first, err := extended.Lookup(t.Context(), good)
	if err != nil || first.Next == "" {
		t.Fatal(first.Next, err)
	}
	with := func(change func(*Query)) Query {
		q := good
		change(&q)
		return q
	}
	one := []Attribute{{EventName, "Decrypt"}}
	token := func(change func(b []byte)) string {
		b, err := base64.RawURLEncoding.DecodeString(first.Next)
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		return base64.RawURLEncoding.EncodeToString(b)
	}
	for name, c := range map[string]struct {
		q    Query
		want error
		ok   bool // for the extended one
	}{
		"two attributes":    {with(func(q *Query) { q.Attributes = append(one, Attribute{ReadOnly, "true"}) }), ErrAttributes, true},
		"unknown attribute": {with(func(q *Query) { q.Attributes = []Attribute{{"eventname", "x"}} }), ErrAttributes, false},
		"no attribute":      {with(func(q *Query) { q.Attributes = []Attribute{{"", "x"}} }), ErrAttributes, false},
		"no value":          {with(func(q *Query) { q.Attributes = []Attribute{{EventName, ""}} }), ErrAttributes, false},
		"long value":        {with(func(q *Query) { q.Attributes = []Attribute{{EventName, strings.Repeat("é", 2001)}} }), ErrAttributes, false},
		"longest value":     {with(func(q *Query) { q.Attributes = []Attribute{{EventName, strings.Repeat("é", 2000)}} }), nil, true},
		"insight by user":   {with(func(q *Query) { q.Insight, q.Attributes = true, []Attribute{{Username, "ana"}} }), ErrAttributes, false},
		"insight by name":   {with(func(q *Query) { q.Insight, q.Attributes = true, one }), nil, true},
		"51 results":        {with(func(q *Query) { q.MaxResults = 51 }), ErrMaxResults, false},
		"-1 results":        {with(func(q *Query) { q.MaxResults = -1 }), ErrMaxResults, false},
		"start after end":   {with(func(q *Query) { q.Start, q.End = now, now.Add(-time.Nanosecond) }), ErrTimeRange, false},
		"start is end":      {with(func(q *Query) { q.Start, q.End = now, now }), nil, true},
		"years away":        {with(func(q *Query) { q.Start, q.End = time.Unix(-1<<40, 0), time.Unix(1<<40, 0) }), nil, true},
		"no token":          {with(func(q *Query) { q.Token = "x" }), ErrToken, false},
		"long token":        {with(func(q *Query) { q.Token = strings.Repeat("A", 1<<20) }), ErrToken, false},
		"token, tampered":   {with(func(q *Query) { q.Token = token(func(b []byte) { b[len(b)-3]++ }) }), ErrToken, false},
		"token, other tag":  {with(func(q *Query) { q.Token = token(func(b []byte) { b[3]++ }) }), ErrToken, false},
		"of other events":   {with(func(q *Query) { q.Token, q.Attributes = first.Next, one }), ErrToken, false},
		"of other region":   {with(func(q *Query) { q.Token, q.Region = first.Next, "eu-central-1" }), ErrToken, false},
		"of other account":  {with(func(q *Query) { q.Token, q.Account = first.Next, "444455556666" }), ErrToken, false},
		"of other start":    {with(func(q *Query) { q.Token, q.Start = first.Next, now.Add(-time.Hour) }), ErrToken, false},
		"of other kind":     {with(func(q *Query) { q.Token, q.Insight = first.Next, true }), ErrToken, false},
		"of other number":   {with(func(q *Query) { q.Token, q.MaxResults = first.Next, 50 }), nil, true},
	} {
		if name != "of other number" { // the token is the other one's
			at = at.Add(time.Second)
			if _, err := h.Lookup(t.Context(), c.q); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if _, err := extended.Lookup(t.Context(), c.q); (err == nil) != c.ok || err != nil && !errors.Is(err, c.want) {
			t.Errorf("%s, extended: %v", name, err)
		}
	}
}

// TestTokens: a history that is opened again goes on with the tokens of the one before; another one does not.
func TestTokens(t *testing.T) {
	t.Parallel()
	x := newFixture(t)
	m := &maker{Rand: newRand(4)}
	x.put(m.some(300, 3)...)
	dir := filepath.Join(t.TempDir(), "history")
	q := Query{Account: "111122223333", Region: "us-east-1", MaxResults: 5}
	first, err := x.history(Options{Dir: dir}).Lookup(t.Context(), q)
	if err != nil || first.Next == "" {
		t.Fatal(first.Next, err)
	}
	q.Token = first.Next
	second, err := x.history(Options{Dir: dir}).Lookup(t.Context(), q)
	if err != nil || len(second.Events) != 5 || second.Events[0].Time.After(first.Events[4].Time) {
		t.Fatal(second, err)
	}
	if _, err := x.history(Options{}).Lookup(t.Context(), q); !errors.Is(err, ErrToken) {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, keyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info.Mode(), err)
	}
}

// TestReachStays: an event that was there at the first page is there later, even if 90 days have passed meanwhile.
func TestReachStays(t *testing.T) {
	t.Parallel()
	x := newFixture(t)
	text := func(id string, at time.Time) string {
		return `{"eventTime":"` + at.Format(time.RFC3339) + `","eventSource":"iam.amazonaws.com","eventName":"GetUser","awsRegion":"us-east-1","eventID":"` + id + `","recipientAccountId":"111122223333","eventCategory":"Management"}`
	}
	edge := now.Add(-Reach)
	x.put(text("new", now), text("edge", edge), text("before", edge.Add(-time.Second)))
	at := now
	h := x.history(Options{Now: func() time.Time { return at }})
	q := Query{Account: "111122223333", Region: "us-east-1", MaxResults: 1}
	got := pages(t, h, q, func(int) { at = at.Add(time.Minute) })
	same(t, "", got, []string{text("new", now), text("edge", edge)})
	same(t, "later", pages(t, h, q, nil), []string{text("new", now)})
}

func TestRate(t *testing.T) {
	t.Parallel()
	var l limiter
	at := now
	for i, c := range []struct {
		who  string
		wait time.Duration
		want bool
	}{
		{"a", 0, true}, {"a", 0, true}, {"a", 0, false}, {"b", 0, true}, {"a", 499 * time.Millisecond, false}, {"a", time.Millisecond, true}, {"a", 0, false},
		{"a", 500 * time.Millisecond, true}, {"a", time.Hour, true}, {"a", 0, true}, {"a", 0, false}, {"a", -time.Minute, false},
	} {
		at = at.Add(c.wait)
		if got := l.allow(c.who, at, true); got != c.want {
			t.Errorf("call %d: %v", i, got)
		}
	}
	if !l.allow("a", at, false) {
		t.Error("refused without a limit")
	}
	at = now.Add(time.Hour)
	for i := range 5000 {
		at = at.Add(time.Millisecond)
		l.allow(string(rune('A'+i)), at, true)
	}
	if len(l.of) > 2002 {
		t.Errorf("%d buckets are kept", len(l.of))
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		record string
		want   Event
	}{
		"user": {`{"userIdentity":{"type":"IAMUser","userName":"ana","accessKeyId":"AKIA1"},"eventTime":"2026-01-10T09:12:41Z","eventSource":"cloudtrail.amazonaws.com","eventName":"StopLogging","requestParameters":{"name":"audit"},"responseElements":null,"eventID":"1","readOnly":false}`,
			Event{ID: "1", Name: "StopLogging", Source: "cloudtrail.amazonaws.com", Username: "ana", AccessKeyID: "AKIA1", ReadOnly: "false", Resources: []Resource{{"AWS::CloudTrail::Trail", "audit"}}}},
		"root":          {`{"userIdentity":{"type":"Root","userName":"alias"},"eventTime":"2026-01-10T09:12:41Z"}`, Event{Username: "root"}},
		"role":          {`{"userIdentity":{"type":"AssumedRole","principalId":"AROA1:deploy","userName":"x"},"eventTime":"2026-01-10T09:12:41Z"}`, Event{Username: "deploy"}},
		"role, by arn":  {`{"userIdentity":{"type":"AssumedRole","arn":"arn:aws:sts::1:assumed-role/r/deploy"},"eventTime":"2026-01-10T09:12:41Z"}`, Event{Username: "deploy"}},
		"federated":     {`{"userIdentity":{"type":"FederatedUser","principalId":"111122223333:fed"},"eventTime":"2026-01-10T09:12:41Z"}`, Event{Username: "fed"}},
		"web identity":  {`{"userIdentity":{"type":"WebIdentityUser","userName":"sub"},"eventTime":"2026-01-10T09:12:41Z"}`, Event{Username: "sub"}},
		"service":       {`{"userIdentity":{"type":"AWSService","invokedBy":"ec2.amazonaws.com"},"eventTime":"2026-01-10T09:12:41Z","readOnly":"True"}`, Event{ReadOnly: "true"}},
		"nothing known": {`{"eventTime":"2026-01-10T09:12:41Z","eventSource":"new.amazonaws.com","requestParameters":{"name":"x"},"readOnly":null}`, Event{Source: "new.amazonaws.com"}},
		"its resources": {`{"eventTime":"2026-01-10T09:12:41Z","eventSource":"s3.amazonaws.com","requestParameters":{"bucketName":"b"},"resources":[{"type":"AWS::S3::Object","ARNPrefix":"arn:aws:s3:::b/"},{"ARN":"arn:x"},{"type":"AWS::S3::Bucket"},null,7]}`,
			Event{Source: "s3.amazonaws.com", Resources: []Resource{{"AWS::S3::Object", "arn:aws:s3:::b/"}, {"", "arn:x"}}}},
		"lists": {`{"eventTime":"2026-01-10T09:12:41Z","eventSource":"ec2.amazonaws.com","eventName":"RunInstances","requestParameters":{"instancesSet":{"items":[{"imageId":"ami-1","keyName":"k"},{"imageId":"ami-1"}]}},"responseElements":{"instancesSet":{"items":[{"instanceId":"i-1"},{"instanceId":"i-2"}]}}}`,
			Event{Name: "RunInstances", Source: "ec2.amazonaws.com", Resources: []Resource{{"AWS::EC2::Ami", "ami-1"}, {"AWS::EC2::KeyPair", "k"}, {"AWS::EC2::Instance", "i-1"}, {"AWS::EC2::Instance", "i-2"}}}},
		"of one event": {`{"eventTime":"2026-01-10T09:12:41Z","eventSource":"events.amazonaws.com","eventName":"PutRule","requestParameters":{"name":"nightly","eventBusName":"b"}}`,
			Event{Name: "PutRule", Source: "events.amazonaws.com", Resources: []Resource{{"AWS::Events::Rule", "nightly"}, {"AWS::Events::EventBus", "b"}}}},
		"not of another": {`{"eventTime":"2026-01-10T09:12:41Z","eventSource":"events.amazonaws.com","eventName":"ListRules","requestParameters":{"name":"nightly"}}`, Event{Name: "ListRules", Source: "events.amazonaws.com"}},
	} {
		e, err := event.Parse([]byte(c.record))
		if err != nil {
			t.Fatal(name, err)
		}
		got := eventOf(e, management)
		if string(got.Raw) != c.record {
			t.Errorf("%s: another record: %s", name, got.Raw)
		}
		if !slices.Equal(got.Resources, c.want.Resources) || got.ID != c.want.ID || got.Name != c.want.Name || got.Source != c.want.Source ||
			got.Username != c.want.Username || got.AccessKeyID != c.want.AccessKeyID || got.ReadOnly != c.want.ReadOnly {
			t.Errorf("%s: %+v\nwant %+v", name, got, c.want)
		}
	}
}

func TestTable(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"iam AWS::IAM::Role", "iam Role roleName", "iam AWS::IAM role"} {
		if _, err := parseTable(bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
	if len(resourceTable()) < 50 {
		t.Errorf("only %d services", len(resourceTable()))
	}
}

// TestDamaged: a data file that is damaged is left out and named, an index that is damaged is made again, and indexes of files
// that are gone go.
func TestDamaged(t *testing.T) {
	t.Parallel()
	x := newFixture(t)
	m := &maker{Rand: newRand(11)}
	x.put(m.some(200, 2)...)
	x.flush()
	at := now
	dir := filepath.Join(t.TempDir(), "history")
	h := x.history(Options{Dir: dir, Extended: true, Scope: ScopeAll, Now: func() time.Time { return at }})
	all := readAll(t, records(t, x.store))
	full := want(all, Query{}, ScopeAll, true)
	same(t, "whole", pages(t, h, Query{}, nil), full)
	names, err := filepath.Glob(filepath.Join(dir, "*"+indexSuffix))
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range [][]byte{{}, b[:50], b[:len(b)-1], append(slices.Clone(b), 0), flipped(b, 8), flipped(b, 12), flipped(b, len(b)/2)} {
			if err := os.WriteFile(name, cut, 0o600); err != nil {
				t.Fatal(err)
			}
			h = x.history(Options{Dir: dir, Extended: true, Scope: ScopeAll, Now: func() time.Time { return at }})
			same(t, name, pages(t, h, Query{}, nil), full)
		}
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
		same(t, "removed", pages(t, h, Query{}, nil), full)
	}
	plan, err := x.store.Plan(t.Context(), store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer plan.Release()
	bad := plan.Files[len(plan.Files)-1]
	b, err := os.ReadFile(bad.Path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(b) / 2 {
		b[i+8] ^= 0x55
	}
	if err := os.WriteFile(bad.Path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*History{h, x.history(Options{Extended: true, Scope: ScopeAll})} {
		for range 2 {
			p, err := h.Lookup(t.Context(), Query{MaxResults: 50, End: bad.MaxTime})
			if err != nil || len(p.Damaged) != 1 || p.Damaged[0].File != bad.Name || p.Damaged[0].Rows != bad.Rows {
				t.Fatalf("%+v, %v", p.Damaged, err)
			}
		}
	}
	if _, err := h.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	extra := filepath.Join(dir, "gone"+indexSuffix)
	if err := os.WriteFile(extra, b, 0o600); err != nil {
		t.Fatal(err)
	}
	at = time.Now().Add(2 * keep)
	if _, err := h.catchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(extra); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the index of no file is still there: %v", err)
	}
}

func flipped(b []byte, at int) []byte {
	b = slices.Clone(b)
	b[at] ^= 4
	return b
}
