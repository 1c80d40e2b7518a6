package story

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// TestSearch looks for the attacker in several ways.
func TestSearch(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	org := theSample(t)
	const address = "192.0.2.66" // nobody else in the sample has it
	var events, denied int
	for _, s := range org.truth.Steps {
		if s.Address == address {
			events += len(s.EventIDs)
			denied += s.Failed
		}
	}
	if events < 40 || denied < 20 {
		t.Fatalf("%d events, %d refused", events, denied)
	}
	for _, c := range []struct {
		terms []string
		want  int
	}{
		{[]string{address}, events},
		{[]string{"sourceIPAddress=" + address}, events},
		{[]string{"sourceIPAddress|cidr=192.0.2.64/28"}, events},
		{[]string{`sourceIPAddress~^192\.0\.2\.66$`}, events},
		{[]string{"sourceIPAddress=" + address, "errorCode=*"}, denied},
		{[]string{"sourceIPAddress=" + address, "errorCode!=*"}, events - denied},
		{[]string{"sourceIPAddress=" + address, "userIdentity.userName=CI-DEPLOY", "userAgent|contains=kali"}, events},
		{[]string{address, "eventName=Create*"}, 4},
		{[]string{"eventname=stoplogging"}, 2},
		{[]string{"eventName=StopLogging", "requestParameters.name|endswith=/organization-trail"}, 1},
	} {
		got := d.spoor(append(append([]string{"search"}, c.terms...), org.dir, "--count")...).exits(clean).quiet()
		if got.out != fmt.Sprintln(c.want) {
			t.Errorf("search %q finds %s want %d", c.terms, got.out, c.want)
		}
	}

	lines := d.spoor("search", "eventName=StopLogging", org.dir).exits(clean).quiet()
	tame(t, "the lines", lines.out)
	if l := lines.lines(); len(l) != 2 || l[0] >= l[1] || !strings.Contains(l[0], "cloudtrail:StopLogging") || !strings.Contains(l[1], "[InsufficientDependencyServiceAccessPermissionException]") {
		t.Errorf("found %q", l)
	}

	raw := d.spoor("search", "--format", "raw", "--", org.dir)
	raw.exits(usage).complains("nothing to look for")
	for _, l := range d.spoor("search", address, "--format", "raw", "--", org.dir).exits(clean).lines() {
		var e struct{ EventID, SourceIPAddress string }
		if err := json.Unmarshal([]byte(l), &e); err != nil || e.SourceIPAddress != address || e.EventID == "" {
			t.Errorf("%v: %.200s", err, l)
		}
	}

	some := d.spoor("search", address, org.dir, "--limit", "7").exits(clean).complains(fmt.Sprintf("%d more matches", events-7))
	if n := len(some.lines()); n != 7 {
		t.Errorf("%d lines shown of 7", n)
	}

	if none := d.spoor("search", "eventName=NoSuchCall", org.dir).exits(findings).quiet(); none.out != "" {
		t.Errorf("no match shows %q", none.out)
	}
	if none := d.spoor("search", "nothing-like-this-anywhere", org.dir, "--count").exits(findings); none.out != "0\n" {
		t.Errorf("no match counts %q", none.out)
	}
	d.spoor("search", "eventName=X", "no-such-folder").exits(usage).complains(`"no-such-folder" is neither a file, a folder, s3:// nor -`)
	d.spoor("search", "eventName|nomodifier=X", org.dir).exits(usage).complains("nomodifier")
	d.spoor("search", "eventName~[", org.dir).exits(usage).complains("cannot search for that")
}
