package detect

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"spoor/internal/event"
)

// shared is a path in the folder of data beside the project, or skips the test.
func shared(t testing.TB, path string) string {
	t.Helper()
	if dir := os.Getenv("SPOOR_SHARED"); dir != "" {
		return filepath.Join(dir, path)
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		at := filepath.Join(dir, "shared")
		if _, err := os.Stat(filepath.Join(at, "DESIGN.md")); err == nil {
			return filepath.Join(at, path)
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Skip("no folder shared/ with DESIGN.md above the test; set SPOOR_SHARED")
		}
		dir = up
	}
}

// rulesOf loads one file of rules and fails on fatal problems.
func rulesOf(t testing.TB, text string) *Ruleset {
	t.Helper()
	return mustLoad(t, Options{Sources: []Source{{Name: "test", FS: fstest.MapFS{"rules.yml": {Data: []byte(text)}}}}, Strict: true})
}

func mustLoad(t testing.TB, opt Options) *Ruleset {
	t.Helper()
	rs, problems, err := Load(t.Context(), opt)
	if err != nil {
		t.Fatalf("%v: %+v", err, problems)
	}
	return rs
}

// rule is a rule that matches an eventName.
func rule(title, name string, more ...string) string {
	return fmt.Sprintf("title: %s\nlevel: medium\nlogsource: {product: aws, service: cloudtrail}\ndetection:\n  s: {eventName: %s}\n  condition: s\n%s---\n",
		title, name, strings.Join(more, "\n")+"\n")
}

var start = time.Date(2026, time.March, 2, 10, 0, 0, 0, time.UTC)

// rec is an event of a test.
type rec struct {
	at      time.Duration
	id      string // "" for one made from the place
	name    string
	source  string // x.amazonaws.com by default
	user    string // of account 111122223333 by default
	account string
	ip      string
	failed  bool
	params  string // JSON
	session string // role session, for a role named like the user
}

func (r rec) event(t testing.TB, place int) *event.Event {
	t.Helper()
	def := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	account := def(r.account, "111122223333")
	user := def(r.user, "ana")
	identity := fmt.Sprintf(`{"type":"IAMUser","principalId":"AIDA%[2]s","arn":"arn:aws:iam::%[1]s:user/%[2]s","accountId":"%[1]s","accessKeyId":"AKIA%[2]s","userName":"%[2]s"}`, account, user)
	if r.session != "" {
		identity = fmt.Sprintf(`{"type":"AssumedRole","principalId":"AROA:%[3]s","arn":"arn:aws:sts::%[1]s:assumed-role/%[2]s/%[3]s","accountId":"%[1]s","accessKeyId":"ASIA%[3]s","sessionContext":{"sessionIssuer":{"type":"Role","principalId":"AROA","arn":"arn:aws:iam::%[1]s:role/%[2]s","accountId":"%[1]s","userName":"%[2]s"}}}`, account, user, r.session)
	}
	failed := ""
	if r.failed {
		failed = `"errorCode":"AccessDenied",`
	}
	when := ""
	if r.at >= 0 {
		when = fmt.Sprintf(`"eventTime":"%s",`, start.Add(r.at).Format(time.RFC3339))
	}
	raw := fmt.Sprintf(`{"eventVersion":"1.11","userIdentity":%s,%s"eventSource":"%s","eventName":"%s","awsRegion":"us-east-1","sourceIPAddress":"%s",%s"userAgent":"test","requestParameters":%s,"eventID":"%s","recipientAccountId":"%s"}`,
		identity, when, def(r.source, "x.amazonaws.com"), r.name, def(r.ip, "203.0.113.10"), failed, def(r.params, "null"), def(r.id, fmt.Sprintf("id-%06d", place)), account)
	e, err := event.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	e.File, e.Offset = "log.json", int64(place)
	return e
}

func events(t testing.TB, recs []rec) []*event.Event {
	t.Helper()
	out := make([]*event.Event, len(recs))
	for i, r := range recs {
		out[i] = r.event(t, i)
	}
	return out
}

// batchOf runs events through a batch, dealt over shards.
func batchOf(t testing.TB, rs *Ruleset, opt BatchOptions, shards int, evs []*event.Event) *Result {
	t.Helper()
	opt.Shards = shards
	if opt.TempDir == "" {
		opt.TempDir = t.TempDir()
	}
	b := NewEngine(rs).NewBatch(opt)
	var all []*Shard
	for range shards {
		s, err := b.Shard()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	for i, e := range evs {
		if err := all[i%shards].Event(e); err != nil {
			t.Fatal(err)
		}
	}
	res, err := b.Finish(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(opt.TempDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%d temporary files are left after Close", len(left))
	}
	return res
}
