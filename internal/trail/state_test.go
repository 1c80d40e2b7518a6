package trail

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"spoor/internal/refusal"
	"spoor/internal/statefile"
)

const goodState = `{"format":"spoor-trails","version":1,"written":"2026-03-09T08:00:00Z","trails":[
 {"name":"audit","account":"111122223333","region":"eu-west-1","organizationId":"o-exampleorgid","created":"2026-03-09T08:00:00Z","updated":"2026-03-09T08:00:00Z","started":"2026-03-09T08:00:00Z",
 "insights":[{"type":"ApiCallRateInsight"}],"aggregations":[{"category":"Data","templates":["API_ACTIVITY"]}],"tags":[{"key":"a","value":"1"}],
 "epochs":[{"id":"11111111-2222-4333-8444-555555555555","after":3,"at":"2026-03-09T08:00:00Z","settings":{"logging":false,"bucket":"logs","prefix":"p","topic":"arn:aws:sns:eu-west-1:111122223333:t",
  "kmsKey":"arn:aws:kms:eu-west-1:111122223333:key/k","validation":true,"multiRegion":true,"globalServiceEvents":true,"organization":true}},
  {"id":"21111111-2222-4333-8444-555555555555","after":7,"at":"2026-03-09T08:00:01Z","settings":{"logging":true,"bucket":"logs","validation":false,"multiRegion":false,"globalServiceEvents":true,"organization":true,
   "basic":[{"ReadWriteType":"All","IncludeManagementEvents":true,"DataResources":null,"ExcludeManagementEventSources":null}]}},
  {"id":"31111111-2222-4333-8444-555555555555","at":"2026-03-09T08:00:02Z","settings":{"logging":false,"bucket":"logs","validation":false,"multiRegion":false,"globalServiceEvents":true,"organization":true},"end":true}]}],
 "delegates":[{"account":"444455556666","since":"2026-03-09T08:00:00Z"}],
 "resources":[{"arn":"arn:aws:cloudtrail:eu-west-1:111122223333:channel/11111111-2222-4333-8444-555555555555","policy":"{\"Version\":\"2012-10-17\",\"Statement\":{\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"cloudtrail-data:PutAuditEvents\",\"Resource\":\"*\"}}"},
  {"arn":"arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/11111111-2222-4333-8444-555555555555","insights":[{"type":"ApiErrorRateInsight"}],
   "destination":"arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/21111111-2222-4333-8444-555555555555","events":{"large":true,"contexts":[{"type":"TagContext","keys":["team"]}]}}]}`

func TestDecodeState(t *testing.T) {
	t.Parallel()
	f, err := decodeState([]byte(goodState))
	if err != nil || len(f.Trails) != 1 || len(f.settled) != 2 || f.Resources[0].parsed == nil {
		t.Fatalf("%+v, %v", f, err)
	}
	for _, c := range []struct {
		old, new string
		want     error
		says     string
	}{
		{"spoor-trails", "other", ErrDamaged, `format is "other"`},
		{`"version":1`, `"version":2`, ErrNewer, "version 2"},
		{`"version":1`, `"version":0`, ErrDamaged, "version 0"},
		{`"name":"audit"`, `"name":"audit","more":1`, ErrDamaged, "unknown field"},
		{`"name":"audit"`, `"name":"a..b"`, ErrDamaged, "name"},
		{`"account":"111122223333"`, `"account":"1111"`, ErrDamaged, "account"},
		{`"region":"eu-west-1"`, `"region":""`, ErrDamaged, "Region"},
		{`o-exampleorgid`, `p-exampleorgid`, ErrDamaged, "organisation"},
		{`"organizationId":"o-exampleorgid",`, ``, ErrDamaged, "organisation"},
		{`"after":7`, `"after":2`, ErrDamaged, "not in order"},
		{`"id":"21111111-2222-4333-8444-555555555555"`, `"id":"11111111-2222-4333-8444-555555555555"`, ErrDamaged, "epoch"},
		{`"id":"21111111-2222-4333-8444-555555555555"`, `"id":""`, ErrDamaged, "epoch"},
		{`"bucket":"logs","prefix"`, `"bucket":"L","prefix"`, ErrDamaged, "bucket"},
		{`"prefix":"p"`, `"prefix":"` + strings.Repeat("p", 201) + `"`, ErrDamaged, "prefix"},
		{`arn:aws:sns:eu-west-1:111122223333:t`, `topic`, ErrDamaged, "topic"},
		{`arn:aws:kms:eu-west-1:111122223333:key/k`, `key`, ErrDamaged, "key"},
		{`"multiRegion":true,"globalServiceEvents":true`, `"multiRegion":true,"globalServiceEvents":false`, ErrDamaged, "global"},
		{`"ReadWriteType":"All"`, `"ReadWriteType":"Some"`, ErrDamaged, "ReadWriteType"},
		{`"basic":[`, `"advanced":[],"basic":[`, ErrDamaged, "basic and advanced"},
		{`"at":"2026-03-09T08:00:02Z","settings":{"logging":false`, `"at":"2026-03-09T08:00:02Z","settings":{"logging":true`, ErrDamaged, "deleted, and logging"},
		{`ApiCallRateInsight`, `Other`, ErrDamaged, "Insight"},
		{`API_ACTIVITY`, `OTHER`, ErrDamaged, "template"},
		{`{"key":"a","value":"1"}`, `{"key":"b"},{"key":"a"}`, ErrDamaged, "not in order"},
		{`"account":"444455556666"`, `"account":"4"`, ErrDamaged, "delegated"},
		{`:channel/`, `:trail/`, ErrDamaged, "resource"},
		{`:channel/`, `:eventdatastore/`, ErrDamaged, "resource"},
		{`\"Effect\"`, `\"Affect\"`, ErrDamaged, "policy"},
		{`"insights":[{"type":"ApiErrorRateInsight"}]`, `"insights":[{"type":"Other"}]`, ErrDamaged, "Insight"},
		{`"destination":"arn`, `"destination":"urn`, ErrDamaged, "destination"},
		{`"keys":["team"]`, `"keys":[]`, ErrDamaged, "keys"},
		{`["team"]}]}}]}`, `["team"]}]}}]}{}`, ErrDamaged, "after top-level value"},
		{`["team"]}]}}]}`, `["team"]}]}}]`, ErrDamaged, "unexpected end"},
	} {
		text := strings.Replace(goodState, c.old, c.new, 1)
		if text == goodState {
			t.Fatalf("%q is not there", c.old)
		}
		if _, err := decodeState([]byte(text)); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.80s for %.80s: %v; want %v, %s", c.new, c.old, err, c.want, c.says)
		}
	}
	// What cannot be read is left as it is, and the folder is given back.
	dir := t.TempDir()
	path := filepath.Join(dir, statefile.Name)
	if err := os.WriteFile(path, []byte(goodState[:100]), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), dir, Options{Account: account, Region: region}); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != goodState[:100] {
		t.Errorf("%q, %v", got, err)
	}
	if err := os.WriteFile(path, []byte(goodState), 0o600); err != nil {
		t.Fatal(err)
	}
	// Nobody knows whether the call of the end was recorded: it is in force.
	r := &rig{t: t, dir: dir, now: time.Now(), seq: 9}
	r.open()
	if got := r.epochs("arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit"); got != "3:false:logs 7:true:logs 9:false:logs deleted" {
		t.Error(got)
	}
	if _, err := Open(t.Context(), dir, Options{Account: account, Region: region}); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for _, o := range []Options{{}, {Account: account}, {Account: "1", Region: region}} {
		if _, err := Open(t.Context(), t.TempDir(), o); err == nil {
			t.Errorf("opened with %+v", o)
		}
	}
	away := errors.New("away")
	r.journal(0, away)
	again := t.TempDir()
	if err := os.WriteFile(filepath.Join(again, statefile.Name), []byte(goodState), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), again, Options{Account: account, Region: region, Position: r.position}); !errors.Is(err, away) {
		t.Error(err)
	}
}

// FuzzDecodeState: no text makes the decoder panic, and what it accepts is written as it was read.
func FuzzDecodeState(f *testing.F) {
	f.Add([]byte(goodState))
	f.Add([]byte(`{"format":"spoor-trails","version":1,"trails":[{"epochs":[]}]}`))
	f.Add([]byte(`{"format":"spoor-trails","version":1,"resources":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Errorf("%v", err)
			}
			return
		}
		one, err := s.encode(time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		if s, err = decodeState(one); err != nil {
			t.Fatalf("%v\n%s", err, one)
		}
		two, err := s.encode(time.Time{})
		if err != nil || !bytes.Equal(one, two) {
			t.Errorf("%v\n%s\n%s", err, one, two)
		}
	})
}

// FuzzNames: what is taken for a name or an ARN is one, and comes back as it was.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"audit", "a..b", "192.168.5.4", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/a/b", "\xff\xff\xff", "aé"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if err := checkName(s); err != nil {
			if e, ok := errors.AsType[*refusal.Error](err); !ok || e.Code != codeName {
				t.Error(err)
			}
		} else if strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != "" || len(s) < 3 || len(s) > 128 {
			t.Errorf("%q is a name", s)
		}
		if a, err := ParseARN(s); err == nil && (a.String() != s || checkName(a.Name) != nil) {
			t.Errorf("%q is %+v", s, a)
		}
		_, _ = bucketName(s), checkPrefix(s)
	})
}
