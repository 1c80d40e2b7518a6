package trail

import (
	"testing"

	"spoor/internal/event"
	"spoor/internal/match"
	"spoor/internal/selector"
)

func TestTakes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		home     string
		multi    bool
		global   bool
		account  string
		region   string
		source   string
		want     bool
		accounts []string
	}{
		{region, false, false, account, region, "ec2.amazonaws.com", true, nil},
		{region, false, true, account, "us-east-1", "ec2.amazonaws.com", false, nil},
		{region, true, true, account, "us-east-1", "ec2.amazonaws.com", true, nil},
		{region, true, true, member, region, "ec2.amazonaws.com", false, nil},
		{region, false, false, member, region, "ec2.amazonaws.com", true, []string{account, member}},
		{region, false, true, account, "us-east-1", "iam.amazonaws.com", true, nil},
		{region, false, false, account, "us-east-1", "iam.amazonaws.com", false, nil},
		{"us-east-1", false, false, account, "us-east-1", "iam.amazonaws.com", false, nil},
		{"us-east-1", false, true, account, "us-east-1", "signin.amazonaws.com", true, nil},
		{"us-east-1", false, false, account, "us-east-1", "ec2.amazonaws.com", true, nil},
		{region, false, false, account, region, "sts.amazonaws.com", true, nil}, // a regional endpoint
		{region, true, true, account, "us-east-1", "cloudfront.amazonaws.com", true, nil},
		{region, true, true, "", region, "ec2.amazonaws.com", false, nil},
	} {
		tr := Trail{HomeRegion: c.home, Accounts: []string{account}}
		if c.accounts != nil {
			tr.Accounts = c.accounts
		}
		if got := tr.Takes(Settings{MultiRegion: c.multi, GlobalServiceEvents: c.global}, c.account, c.region, c.source); got != c.want {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

func TestCompileAndAt(t *testing.T) {
	t.Parallel()
	record := func(category, source string) *event.Event {
		e := &event.Event{}
		if err := e.Reset([]byte(`{"eventVersion":"1.11","eventCategory":"` + category + `","eventSource":"` + source + `","eventName":"X","eventTime":"2026-01-01T00:00:00Z","eventID":"x","readOnly":false}`)); err != nil {
			t.Fatal(err)
		}
		return e
	}
	for _, c := range []struct {
		s    Settings
		e    *event.Event
		want bool
	}{
		{Settings{}, record("Management", "ec2.amazonaws.com"), true},
		{Settings{}, record("Data", "s3.amazonaws.com"), false},
		{Settings{}, record("Insight", "s3.amazonaws.com"), false},
		{Settings{}, record("ActivityAuditLog", "wiki.example.com"), false},
		{Settings{Basic: []selector.Basic{{ReadWriteType: "ReadOnly", IncludeManagementEvents: true}}}, record("Management", "ec2.amazonaws.com"), false},
		{Settings{Advanced: advanced(field("eventCategory", "NetworkActivity"), field("eventSource", "kms.amazonaws.com"))}, record("NetworkActivity", "kms.amazonaws.com"), true},
	} {
		set, err := (Trail{ARN: "x"}).Compile(c.s)
		if err != nil {
			t.Error(err)
			continue
		}
		var m match.Context
		if m.Reset(c.e); m.Match(set.Match()) != c.want {
			t.Errorf("%+v %s: %v", c.s, c.e.Raw, err)
		}
	}
	if _, err := (Trail{ARN: "x"}).Compile(Settings{Basic: make([]selector.Basic, 6)}); err == nil {
		t.Error("six selectors")
	}
	tr := Trail{Epochs: []Epoch{{After: 5}, {After: 9}}}
	for seq, want := range map[uint64]int{0: -1, 5: -1, 6: 0, 9: 0, 10: 1, 1 << 40: 1} {
		if got := tr.At(seq); got != want {
			t.Errorf("%d: %d", seq, got)
		}
	}
}
