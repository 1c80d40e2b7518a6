package trail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"spoor/internal/refusal"
	"spoor/internal/selector"
	"spoor/internal/statefile"
	"spoor/internal/tag"
)

const (
	account = "111122223333"
	member  = "444455556666"
	other   = "777788889999"
	region  = "eu-west-1"
	orgID   = "o-exampleorgid"
)

var (
	home = Where{account, region}
	org  = Organization{ID: orgID, Management: account, Accounts: []string{account, member, "000000000001", "000000000002", "000000000003"}}
)

// rig is a book with a clock and a journal that is a number.
type rig struct {
	*Book
	t   testing.TB
	dir string

	mu  sync.Mutex
	now time.Time
	seq uint64
	err error // of the journal
}

func (r *rig) time() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.now
}

func (r *rig) position(context.Context) (uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.seq, r.err
}

// journal sets the last sequence, and the error of asking for it.
func (r *rig) journal(seq uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seq, r.err = seq, err
}

func (r *rig) later(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

func (r *rig) open() {
	r.t.Helper()
	b, err := Open(r.t.Context(), r.dir, Options{Account: account, Region: region, Organization: org, Position: r.position, Now: r.time})
	if err != nil {
		r.t.Fatal(err)
	}
	r.Book = b
}

func (r *rig) reopen() {
	r.t.Helper()
	if err := r.Close(); err != nil {
		r.t.Fatal(err)
	}
	r.open()
}

func newRig(t testing.TB) *rig {
	t.Helper()
	r := &rig{t: t, dir: filepath.Join(t.TempDir(), "trails"), now: time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)}
	r.open()
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// made is a change that was recorded, at a sequence of the journal.
func (r *rig) made(seq uint64) func(i Info, c *Change, err error) Info {
	return func(i Info, c *Change, err error) Info {
		r.t.Helper()
		r.journal(seq, nil)
		if err == nil {
			err = c.Recorded(r.t.Context())
		}
		if err != nil {
			r.t.Fatal(err)
		}
		return i
	}
}

func (r *rig) create(w Where, name string, change ...func(*Spec)) (Info, *Change, error) {
	s := Spec{Name: name, Bucket: "logs"}
	for _, f := range change {
		f(&s)
	}
	return r.Create(r.t.Context(), w, s, nil)
}

func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*refusal.Error](err)
	if !ok {
		t.Fatalf("no refusal: %v", err)
	}
	if e.Message == "" {
		t.Errorf("%s says nothing", e.Code)
	}
	return e.Code
}

// tail is the error of a call of the book.
func tail(_ Info, _ *Change, err error) error { return err }

// epochs are the beginnings and the settings of those of a trail that deliveries see.
func (r *rig) epochs(arn string) (out string) {
	all, _ := r.Deliverable()
	for _, t := range all {
		if t.ARN != arn {
			continue
		}
		for _, e := range t.Epochs {
			out += fmt.Sprintf("%d:%t:%s ", e.After, e.Settings.Logging, e.Settings.Bucket)
		}
		if t.Deleted {
			out += "deleted"
		}
	}
	return strings.TrimSpace(out)
}

func multi(s *Spec)     { s.MultiRegion = true }
func organised(s *Spec) { s.Organization = true }
func in(r string) Where { return Where{account, r} }
func names(is []Info) (out []string) {
	for _, i := range is {
		out = append(out, i.Name)
	}
	return out
}

// TestEpochs: what is changed counts for what comes behind the record of the call, and nothing that is taken back was ever seen.
func TestEpochs(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.journal(10, nil)
	i, c, err := r.create(home, "audit")
	if err != nil || i.ARN != "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit" || i.Settings.Logging || !i.Settings.GlobalServiceEvents {
		t.Fatalf("%+v %v", i, err)
	}
	is := func(want string) {
		t.Helper()
		if got := r.epochs(i.ARN); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	is("")
	_, changed := r.Deliverable()
	r.made(12)(i, c, nil)
	is("12:false:logs")
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	r.made(20)(r.SetLogging(home, "audit", true))
	is("12:false:logs 20:true:logs")
	r.made(25)(r.SetLogging(home, "audit", true)) // it is so already
	is("12:false:logs 20:true:logs")

	// Two at once: what stands on the other waits for it, in whatever order they are recorded.
	_, one, err := r.Update(t.Context(), home, "audit", Update{Bucket: new("one")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err := r.SetLogging(home, i.ARN, false)
	if err != nil {
		t.Fatal(err)
	}
	r.made(30)(i, two, nil)
	is("12:false:logs 20:true:logs")
	r.made(31)(i, one, nil)
	is("12:false:logs 20:true:logs 31:false:one")

	// One is taken back, and the other was recorded before: it begins where deliveries may have come to.
	_, one, err = r.Update(t.Context(), home, "audit", Update{Bucket: new("two")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, two, err = r.SetLogging(home, i.ARN, true)
	if err != nil {
		t.Fatal(err)
	}
	r.made(40)(i, two, nil)
	r.journal(45, nil)
	if err := one.Undo(); err != nil {
		t.Fatal(err)
	}
	is("12:false:logs 20:true:logs 31:false:one 45:true:one")

	// A journal that does not answer: it is in force later.
	_, c, err = r.SetLogging(home, "audit", false)
	if err != nil {
		t.Fatal(err)
	}
	away := errors.New("away")
	r.journal(50, away)
	if err := c.Recorded(t.Context()); !errors.Is(err, away) {
		t.Error(err)
	}
	if err := r.Delivered(20); !errors.Is(err, away) {
		t.Error(err)
	}
	is("12:false:logs 20:true:logs 31:false:one 45:true:one")
	r.journal(51, nil)
	if err := r.Delivered(32); err != nil {
		t.Fatal(err)
	}
	is("31:false:one 45:true:one 51:false:one")

	// A change whose end nobody told is in force after a restart, behind all that is in the journal.
	if _, _, err := r.SetLogging(home, "audit", true); err != nil {
		t.Fatal(err)
	}
	is("31:false:one 45:true:one 51:false:one")
	r.journal(60, nil)
	r.reopen()
	is("31:false:one 45:true:one 51:false:one 60:true:one")

	// A deleted trail stays until deliveries have come to its end, and the name is free at once.
	_, c, err = r.Delete(home, "audit")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Trail(home, "audit"); code(t, err) != "TrailNotFoundException" {
		t.Error(err)
	}
	is("31:false:one 45:true:one 51:false:one 60:true:one")
	r.made(70)(i, c, nil)
	is("31:false:one 45:true:one 51:false:one 60:true:one 70:false:one" + " deleted")
	if err := r.Delivered(69); err != nil {
		t.Fatal(err)
	}
	is("60:true:one 70:false:one deleted")
	r.made(71)(r.create(home, "audit"))
	is("60:true:one 70:false:one 71:false:logs")
	r.made(72)(r.Delete(home, "audit"))
	is("60:true:one 70:false:one 71:false:logs 72:false:logs deleted")
	if err := r.Delivered(72); err != nil {
		t.Fatal(err)
	}
	is("")
	r.reopen()
	if got, _ := r.Deliverable(); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// TestForgetAndUndo: what deliveries have settled stays so, whatever is taken back.
func TestForgetAndUndo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.made(1)(r.create(home, "audit"))
	r.made(2)(r.create(home, "gone"))
	pending, err := r.AddTags(home, i.ARN, []tag.Tag{{Key: "a"}})
	if err != nil {
		t.Fatal(err)
	}
	r.made(3)(r.SetLogging(home, "audit", true))
	r.made(4)(r.Update(t.Context(), home, "audit", Update{Bucket: new("two")}, nil))
	r.made(5)(r.Delete(home, "gone"))
	if err := r.Delivered(10); err != nil {
		t.Fatal(err)
	}
	if got := r.epochs(i.ARN); got != "4:true:two" {
		t.Error(got)
	}
	if err := pending.Undo(); err != nil {
		t.Fatal(err)
	}
	if got := r.epochs(i.ARN); got != "4:true:two" {
		t.Errorf("%q", got)
	}
	if got, err := r.Trail(home, "audit"); err != nil || len(got.Tags) != 0 || !got.Settings.Logging {
		t.Errorf("%+v %v", got, err)
	}
	r.made(11)(r.SetLogging(home, "audit", false))
	if got := r.epochs(i.ARN); got != "4:true:two 11:false:two" {
		t.Errorf("%q", got)
	}
	r.reopen()
	if err := r.Delivered(20); err != nil {
		t.Fatal(err)
	}
	if all, _ := r.Deliverable(); len(all) != 1 || r.epochs(i.ARN) != "11:false:two" {
		t.Errorf("%+v", all)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{
		"abc": "", "a.b-c_d": "", "A1b": "", strings.Repeat("a", 128): "", "1.2.3": "", "192.168.5.4a": "",
		"ab":                     "Trail name too short. Minimum allowed length: 3 characters. Specified name length: 2 characters.",
		"":                       "Specified name length: 0 characters.",
		strings.Repeat("a", 129): "Trail name too long. Maximum allowed length: 128 characters. Specified name length: 129 characters.",
		"-abc":                   "Trail name must starts with a letter or number.",
		"abc_":                   "Trail name must ends with a letter or number.",
		"a b":                    "Trail name or ARN can only contain uppercase letters, lowercase letters, numbers, periods (.), hyphens (-), and underscores (_).",
		"aäb":                    "can only contain",
		"a\x00b":                 "can only contain",
		"a..b":                   "adjacent", "a._b": "adjacent", "a-_-b": "adjacent",
		"192.168.5.4": "IP address",
	} {
		err := checkName(name)
		if says == "" {
			if err != nil {
				t.Errorf("%q: %v", name, err)
			}
			continue
		}
		if code(t, err) != "InvalidTrailNameException" || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for text, want := range map[string]ARN{
		"arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit":         {"aws", "eu-west-1", account, "audit"},
		"arn:aws-us-gov:cloudtrail:us-gov-west-1:111122223333:trail/a1": {},
		"arn:aws-cn:cloudtrail:cn-north-1:111122223333:trail/a.b":       {"aws-cn", "cn-north-1", account, "a.b"},
		"arn:aws:cloudtrail:eu-west-1:11112222333:trail/audit":          {},
		"arn:aws:cloudtrail:eu-west-1:111122223333:channel/audit":       {},
		"arn:aws:s3:::bucket": {}, "arn:aws:cloudtrail::111122223333:trail/audit": {}, ":": {}, "": {},
	} {
		a, err := ParseARN(text)
		switch {
		case want == ARN{}:
			if code(t, err) != "CloudTrailARNInvalidException" {
				t.Errorf("%s: %+v %v", text, a, err)
			}
		case err != nil || a != want || a.String() != text:
			t.Errorf("%s: %+v %v", text, a, err)
		}
	}
	for name, ok := range map[string]bool{"abc": true, "a.b-c": true, "ab": false, "Abc": false, "a..b": false, "192.168.5.4": false, "a_b": false, "-ab": false, strings.Repeat("a", 64): false, "ab\n": false} {
		if bucketName(name) != ok {
			t.Errorf("%q", name)
		}
	}
}

func TestCreateRules(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	many := make([]tag.Tag, 51)
	for i := range many {
		many[i].Key = fmt.Sprint(i)
	}
	r.made(1)(r.create(home, "taken"))
	for want, f := range map[string]func(*Spec){
		"TrailAlreadyExistsException":          func(s *Spec) { s.Name = "taken" },
		"InvalidTrailNameException":            func(s *Spec) { s.Name = "x" },
		"InvalidS3BucketNameException":         func(s *Spec) { s.Bucket = "A_B" },
		"InvalidS3PrefixException":             func(s *Spec) { s.Prefix = strings.Repeat("ä", 201) },
		"InvalidParameterCombinationException": func(s *Spec) { s.MultiRegion, s.GlobalServiceEvents = true, new(false) },
		"InvalidTagParameterException":         func(s *Spec) { s.Tags = []tag.Tag{{Key: "aws:x"}} },
		"TagsLimitExceededException":           func(s *Spec) { s.Tags = many },
	} {
		if err := tail(r.create(home, "audit", f)); code(t, err) != want {
			t.Errorf("%s: %v", want, err)
		}
	}
	for w, want := range map[Where]string{{member, region}: "NotOrganizationMasterAccountException", {other, region}: "OrganizationsNotInUseException"} {
		if err := tail(r.create(w, "audit", organised)); code(t, err) != want {
			t.Errorf("%v: %v", w, err)
		}
	}
	no := errors.New("no")
	if _, _, err := r.Create(t.Context(), home, Spec{Name: "audit", Bucket: "logs", Prefix: "p"}, func(_ context.Context, will Info) error {
		if will.ARN != "arn:aws:cloudtrail:eu-west-1:111122223333:trail/audit" || will.Settings.Prefix != "p" {
			t.Errorf("%+v", will)
		}
		return no
	}); !errors.Is(err, no) {
		t.Error(err)
	}
	if all := r.All(account); !slices.Equal(names(all), []string{"taken"}) {
		t.Errorf("%v", all)
	}
	if err := tail(r.create(home, "long", func(s *Spec) { s.Prefix = strings.Repeat("ä", 200) })); err != nil {
		t.Error(err)
	}
}

// TestLimit: five in a Region, in which those of all Regions count.
func TestLimit(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	full := "MaximumNumberOfTrailsExceededException"
	for i := range 2 {
		r.made(1)(r.create(in("us-east-1"), fmt.Sprintf("all-%d", i), multi))
	}
	for i := range 3 {
		r.made(1)(r.create(home, fmt.Sprintf("one-%d", i)))
	}
	err := tail(r.create(home, "more"))
	if code(t, err) != full || err.Error() != "User: 111122223333 already has 5 trails in eu-west-1." {
		t.Error(err)
	}
	// Where there is room, one of all Regions has none in the full one.
	if err := tail(r.create(in("us-east-1"), "more", multi)); code(t, err) != full {
		t.Error(err)
	}
	r.made(2)(r.create(in("us-east-1"), "single"))
	if err := tail(r.Update(t.Context(), in("us-east-1"), "single", Update{MultiRegion: new(true)}, nil)); code(t, err) != full {
		t.Error(err)
	}
	// One that is in the full Region already can become one of all, and others are not in the way.
	r.made(3)(r.Update(t.Context(), home, "one-0", Update{MultiRegion: new(true)}, nil))
	if err := tail(r.create(Where{member, region}, "theirs")); err != nil {
		t.Error(err)
	}
	r.made(4)(r.Delete(home, "one-1"))
	r.made(5)(r.create(home, "more"))
}

func TestHomeRegionAndShadows(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	all := r.made(1)(r.create(home, "all", multi))
	one := r.made(1)(r.create(home, "one"))
	r.made(1)(r.create(in("us-east-1"), "else"))
	there := in("us-east-1")
	for _, c := range []struct {
		w       Where
		shadows bool
		refs    []string
		want    string
	}{
		{home, true, nil, "[all one]"},
		{there, true, nil, "[all else]"},
		{there, false, nil, "[else]"},
		{in("eu-north-1"), true, nil, "[all]"},
		{Where{member, region}, true, nil, "[]"},
		{there, true, []string{"all"}, "[]"},
		{there, false, []string{all.ARN, one.ARN, "none", "else", all.ARN}, "[all one else]"},
		{Where{member, region}, true, []string{all.ARN}, "[]"},
	} {
		got, err := r.Trails(c.w, c.refs, c.shadows)
		if err != nil || fmt.Sprint(names(got)) != c.want {
			t.Errorf("%v %v %v: %v %v", c.w, c.shadows, c.refs, names(got), err)
		}
	}
	for ref, want := range map[string]string{"x": "InvalidTrailNameException", "arn:x": "CloudTrailARNInvalidException"} {
		if _, err := r.Trails(home, []string{"all", ref}, true); code(t, err) != want {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, c := range []struct {
		w    Where
		ref  string
		read string
		edit string
	}{
		{home, "all", "", ""},
		{home, all.ARN, "", ""},
		{there, "all", "TrailNotFoundException", "InvalidHomeRegionException"},
		{there, all.ARN, "", "InvalidHomeRegionException"},
		{there, "one", "TrailNotFoundException", "TrailNotFoundException"},
		{there, one.ARN, "", "InvalidHomeRegionException"},
		{home, "none", "TrailNotFoundException", "TrailNotFoundException"},
		{Where{member, region}, all.ARN, "TrailNotFoundException", "TrailNotFoundException"},
		{home, strings.Replace(all.ARN, "arn:aws:", "arn:aws-cn:", 1), "TrailNotFoundException", "TrailNotFoundException"},
		{home, "arn:aws:cloudtrail:x", "CloudTrailARNInvalidException", "CloudTrailARNInvalidException"},
		{home, "a b", "InvalidTrailNameException", "InvalidTrailNameException"},
	} {
		if _, err := r.Trail(c.w, c.ref); code(t, err) != c.read {
			t.Errorf("read %s from %v: %v", c.ref, c.w, err)
		}
		for name, err := range map[string]error{
			"update": tail(r.Update(t.Context(), c.w, c.ref, Update{}, nil)), "start": tail(r.SetLogging(c.w, c.ref, true)), "stop": tail(r.SetLogging(c.w, c.ref, false)),
			"selectors": tail(r.PutSelectors(c.w, c.ref, DefaultSelectors(), nil)), "insights": tail(r.PutInsights(c.w, c.ref, nil)), "aggregations": tail(r.PutAggregations(c.w, c.ref, nil)),
		} {
			if code(t, err) != c.edit {
				t.Errorf("%s %s from %v: %v", name, c.ref, c.w, err)
			}
		}
		if c.edit != "" {
			if err := tail(r.Delete(c.w, c.ref)); code(t, err) != c.edit {
				t.Errorf("delete %s from %v: %v", c.ref, c.w, err)
			}
		}
	}
	if _, err := r.Trail(home, "none"); err.Error() != "Unknown trail: none for the user: 111122223333" {
		t.Error(err)
	}
	if got := r.All(account); fmt.Sprint(names(got)) != "[all one else]" {
		t.Error(names(got))
	}
}

// TestGlobalEvents: the rules of global service events.
func TestGlobalEvents(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.made(1)(r.create(home, "one", func(s *Spec) { s.GlobalServiceEvents = new(false) }))
	for i, c := range []struct {
		u    Update
		want string // code, or what is so then
	}{
		{Update{MultiRegion: new(true), GlobalServiceEvents: new(false)}, "InvalidParameterCombinationException"},
		{Update{}, "false false"},
		{Update{MultiRegion: new(true)}, "true true"},
		{Update{GlobalServiceEvents: new(false)}, "InvalidParameterCombinationException"},
		{Update{MultiRegion: new(true)}, "true true"},
		{Update{MultiRegion: new(false)}, "false false"},
		{Update{GlobalServiceEvents: new(true)}, "false true"},
		{Update{MultiRegion: new(true)}, "true true"},
		{Update{MultiRegion: new(false), GlobalServiceEvents: new(true)}, "false true"},
		{Update{Prefix: new("x")}, "false true"},
	} {
		got, ch, err := r.Update(t.Context(), home, "one", c.u, nil)
		is := code(t, err)
		if err == nil {
			is = fmt.Sprint(got.Settings.MultiRegion, " ", got.Settings.GlobalServiceEvents)
			r.made(uint64(i+2))(got, ch, nil)
		}
		if is != c.want {
			t.Errorf("case %d: %s, want %s", i, is, c.want)
		}
	}
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	full := Spec{Name: "one", Bucket: "logs", Prefix: "p", Topic: "arn:aws:sns:eu-west-1:111122223333:t", KMSKey: "arn:aws:kms:eu-west-1:111122223333:key/k", Validation: true}
	r.made(1)(r.Create(t.Context(), home, full, nil))
	got := r.made(2)(r.Update(t.Context(), home, "one", Update{Bucket: new("more")}, func(_ context.Context, will Info) error {
		if will.Settings.Bucket != "more" || will.Settings.Prefix != "p" {
			t.Errorf("%+v", will)
		}
		return nil
	}))
	want := Settings{Bucket: "more", Prefix: "p", Topic: full.Topic, KMSKey: full.KMSKey, Validation: true, GlobalServiceEvents: true}
	if fmt.Sprintf("%+v", got.Settings) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v", got.Settings)
	}
	got = r.made(3)(r.Update(t.Context(), home, "one", Update{Prefix: new(""), Topic: new(""), KMSKey: new(""), Validation: new(false)}, nil))
	if want = (Settings{Bucket: "more", GlobalServiceEvents: true}); fmt.Sprintf("%+v", got.Settings) != fmt.Sprintf("%+v", want) {
		t.Errorf("%+v", got.Settings)
	}
	for want, u := range map[string]Update{"InvalidS3BucketNameException": {Bucket: new("")}, "InvalidS3PrefixException": {Prefix: new(strings.Repeat("x", 201))}} {
		if err := tail(r.Update(t.Context(), home, "one", u, nil)); code(t, err) != want {
			t.Error(err)
		}
	}
	no := errors.New("no")
	if _, _, err := r.Update(t.Context(), home, "one", Update{Bucket: new("third")}, func(context.Context, Info) error { return no }); !errors.Is(err, no) {
		t.Error(err)
	}
	if got, err := r.Trail(home, "one"); err != nil || got.Settings.Bucket != "more" {
		t.Errorf("%+v %v", got, err)
	}
}

// TestOrganization: who makes, sees and changes trails of the organisation.
func TestOrganization(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	all := r.made(1)(r.create(home, "all", organised, multi))
	if all.OrganizationID != orgID || all.Account != account {
		t.Errorf("%+v", all)
	}
	theirs := Where{member, "us-east-1"}
	r.made(1)(r.create(Where{member, region}, "all")) // the same name in another account
	ts, _ := r.Deliverable()
	if fmt.Sprint(ts[0].Accounts) != "[000000000001 000000000002 000000000003 111122223333 444455556666]" || ts[0].OrganizationID != orgID || fmt.Sprint(ts[1].Accounts) != "[444455556666]" {
		t.Errorf("%+v", ts)
	}
	if got, err := r.Trail(theirs, all.ARN); err != nil || got.Name != "all" {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := r.Trail(Where{other, region}, all.ARN); code(t, err) != "TrailNotFoundException" {
		t.Error(err)
	}
	for shadows, want := range map[bool]string{true: "[all]", false: "[]"} {
		if got, err := r.Trails(theirs, nil, shadows); err != nil || fmt.Sprint(names(got)) != want {
			t.Errorf("%v %v", names(got), err)
		}
	}
	if got := r.All(member); len(got) != 2 {
		t.Errorf("%+v", got)
	}
	in := Where{member, region}
	tagIt := func() error { _, err := r.AddTags(in, all.ARN, []tag.Tag{{Key: "a"}}); return err }
	for _, err := range []error{tail(r.Delete(in, all.ARN)), tail(r.SetLogging(in, all.ARN, true)), tail(r.PutSelectors(in, all.ARN, DefaultSelectors(), nil)), tail(r.Update(t.Context(), in, all.ARN, Update{}, nil)), tagIt()} {
		if code(t, err) != "NotOrganizationMasterAccountException" {
			t.Error(err)
		}
	}

	// A delegated administrator does.
	register := func(by, who string) error { _, err := r.Register(Where{by, region}, who); return err }
	deregister := func(by, who string) error { _, err := r.Deregister(Where{by, region}, who); return err }
	for i, c := range []struct {
		err  error
		want string
	}{
		{register(member, member), "NotOrganizationManagementAccountException"},
		{register(other, member), "OrganizationsNotInUseException"},
		{register(account, account), "CannotDelegateManagementAccountException"},
		{register(account, other), "AccountNotFoundException"},
		{deregister(account, member), "AccountNotRegisteredException"},
		{deregister(account, other), "AccountNotFoundException"},
		{deregister(member, member), "NotOrganizationManagementAccountException"},
		{register(account, member), ""},
		{register(account, member), "AccountRegisteredException"},
		{register(account, "000000000001"), ""},
		{register(account, "000000000002"), ""},
		{register(account, "000000000003"), "DelegatedAdminAccountLimitExceededException"},
		{deregister(account, "000000000001"), ""},
	} {
		if code(t, c.err) != c.want {
			t.Errorf("case %d: %v, want %s", i, c.err, c.want)
		}
	}
	if d := r.Delegates(); len(d) != 2 || d[0].Account != member || !d[0].Since.Equal(r.time()) {
		t.Errorf("%+v", d)
	}
	r.made(3)(r.SetLogging(in, all.ARN, true))
	made := r.made(4)(r.create(in, "delegated", organised))
	if made.ARN != "arn:aws:cloudtrail:eu-west-1:111122223333:trail/delegated" || made.Account != account {
		t.Errorf("%+v", made)
	}
	// It makes none of its own trails one of the organisation; the management account does, and back.
	if err := tail(r.Update(t.Context(), in, "all", Update{Organization: new(true)}, nil)); code(t, err) != "NotOrganizationMasterAccountException" {
		t.Error(err)
	}
	r.made(5)(r.create(home, "own"))
	if got := r.made(6)(r.Update(t.Context(), home, "own", Update{Organization: new(true)}, nil)); got.OrganizationID != orgID {
		t.Errorf("%+v", got)
	}
	if got := r.made(7)(r.Update(t.Context(), home, "own", Update{Organization: new(false)}, nil)); got.OrganizationID != "" {
		t.Errorf("%+v", got)
	}
	// Who leaves the organisation sees its trails no more, and its events are not theirs.
	_, told := r.Deliverable()
	r.SetOrganization(Organization{ID: orgID, Management: account, Accounts: []string{account}})
	<-told
	if ts, _ := r.Deliverable(); fmt.Sprint(ts[0].Accounts) != "[111122223333]" {
		t.Errorf("%+v", ts[0])
	}
	if _, err := r.Trail(in, all.ARN); code(t, err) != "TrailNotFoundException" {
		t.Error(err)
	}
	if d := r.Delegates(); len(d) != 0 {
		t.Errorf("%+v", d)
	}
	r.SetOrganization(Organization{})
	if err := tail(r.create(home, "late", organised)); code(t, err) != "OrganizationsNotInUseException" {
		t.Error(err)
	}
}

func advanced(fields ...selector.FieldSelector) []selector.Advanced {
	return []selector.Advanced{{FieldSelectors: fields}}
}

func field(name string, values ...string) selector.FieldSelector {
	return selector.FieldSelector{Field: name, Equals: values}
}

func TestSelectors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.made(1)(r.create(home, "one"))
	objects := []selector.DataResource{{Type: "AWS::S3::Object", Values: []string{"arn:aws:s3"}}}
	put := func(b []selector.Basic, a []selector.Advanced) (Info, error) {
		i, c, err := r.PutSelectors(home, "one", b, a)
		if err == nil {
			r.made(2)(i, c, nil)
		}
		return i, err
	}
	for _, c := range []struct {
		b      []selector.Basic
		a      []selector.Advanced
		custom bool
		logs   Logs
	}{
		{DefaultSelectors(), nil, false, Logs{true, true, false}},
		{[]selector.Basic{{ReadWriteType: "WriteOnly", IncludeManagementEvents: true}}, nil, true, Logs{false, true, false}},
		{[]selector.Basic{{ReadWriteType: "ReadOnly", IncludeManagementEvents: true, DataResources: objects}}, nil, true, Logs{true, false, true}},
		{[]selector.Basic{{ReadWriteType: "All", DataResources: objects}}, nil, true, Logs{false, false, true}},
		{nil, selector.Default(), false, Logs{true, true, false}},
		{nil, advanced(field("eventCategory", "Management"), field("readOnly", "false")), true, Logs{false, true, false}},
		{nil, advanced(field("eventCategory", "Management"), field("readOnly", "true")), true, Logs{true, false, false}},
		{nil, advanced(field("eventCategory", "Data"), field("resources.type", "AWS::S3::Object")), true, Logs{false, false, true}},
		{nil, advanced(field("eventCategory", "NetworkActivity"), field("eventSource", "kms.amazonaws.com")), true, Logs{}},
	} {
		i, err := put(c.b, c.a)
		if err != nil || i.CustomSelectors != c.custom || i.Settings.Logs() != c.logs || (i.Settings.Basic != nil) != (c.b != nil) || (i.Settings.Advanced != nil) != (c.a != nil) {
			t.Errorf("%+v: %+v %v", c, i, err)
		}
	}
	for i, c := range []struct {
		b []selector.Basic
		a []selector.Advanced
	}{{nil, nil}, {DefaultSelectors(), selector.Default()}, {make([]selector.Basic, 6), nil}, {nil, advanced(field("readOnly", "true"))}, {nil, advanced(field("eventCategory", "Insight"))}} {
		if _, err := put(c.b, c.a); code(t, err) != "InvalidEventSelectorsException" {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

func TestInsightsAndConfigurations(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.made(1)(r.create(home, "one"))
	put := func(s ...InsightSelector) error {
		i, c, err := r.PutInsights(home, "one", s)
		if err == nil && len(i.Insights) != len(s) {
			t.Errorf("%+v", i)
		}
		_ = c
		return err
	}
	bad := "InvalidInsightSelectorsException"
	step := func(err error, want string) {
		t.Helper()
		if code(t, err) != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	selectors := func(b selector.Basic) { r.made(2)(r.PutSelectors(home, "one", []selector.Basic{b}, nil)) }
	objects := []selector.DataResource{{Type: "AWS::S3::Object", Values: []string{"arn:aws:s3"}}}
	step(put(InsightSelector{Type: CallRate}, InsightSelector{Type: ErrorRate}), "")
	step(put(InsightSelector{Type: CallRate, Categories: []string{"Data"}}), bad)
	step(put(InsightSelector{Type: "Other"}), bad)
	step(put(InsightSelector{Type: CallRate}, InsightSelector{Type: CallRate}), bad)
	step(put(InsightSelector{Type: CallRate, Categories: []string{"Management", "Management"}}), bad)
	step(put(InsightSelector{Type: CallRate, Categories: []string{"Network"}}), bad)
	aggregate := func(a ...Aggregation) error { return tail(r.PutAggregations(home, "one", a)) }
	good := Aggregation{"Data", []string{"API_ACTIVITY", "USER_ACTIONS"}}
	step(aggregate(good), "InvalidParameterCombinationException")
	selectors(selector.Basic{ReadWriteType: "ReadOnly", IncludeManagementEvents: true, DataResources: objects})
	step(put(InsightSelector{Type: CallRate}), bad)
	step(put(InsightSelector{Type: ErrorRate, Categories: []string{"Data", "Management"}}), "")
	step(aggregate(good), "")
	step(aggregate(good, good), "InvalidParameterException")
	step(aggregate(Aggregation{"Management", good.Templates}), "InvalidParameterException")
	step(aggregate(Aggregation{"Data", []string{"OTHER"}}), "InvalidParameterException")
	step(aggregate(Aggregation{"Data", []string{"API_ACTIVITY", "API_ACTIVITY"}}), "InvalidParameterException")
	selectors(selector.Basic{DataResources: objects})
	step(put(InsightSelector{Type: ErrorRate}), bad)
	step(put(), "")
	if i, err := r.Trail(home, "one"); err != nil || len(i.Insights) != 0 || len(i.Aggregations) != 1 {
		t.Errorf("%+v %v", i, err)
	}

	store, to := "arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/11111111-2222-4333-8444-555555555555", "arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/21111111-2222-4333-8444-555555555555"
	of := func(l Logs, s ...InsightSelector) error { _, err := r.PutStoreInsights(store, to, s, l); return err }
	step(of(Logs{ManagementWrite: true}, InsightSelector{Type: CallRate}), "")
	if s, d := r.StoreInsights(store); len(s) != 1 || d != to {
		t.Errorf("%v %s", s, d)
	}
	step(of(Logs{ManagementRead: true}, InsightSelector{Type: CallRate}), bad)
	step(of(Logs{true, true, true}, InsightSelector{Type: CallRate, Categories: []string{"Data"}}), bad)
	step(of(Logs{}), "")
	if s, d := r.StoreInsights(store); len(s) != 0 || d != "" {
		t.Errorf("%v %s", s, d)
	}
	events := func(e StoreEvents) error { _, err := r.PutStoreEvents(store, e); return err }
	keys := func(kind string, k ...string) StoreEvents {
		return StoreEvents{Large: true, Contexts: []ContextKeys{{kind, k}}}
	}
	many := make([]string, 51)
	for i := range many {
		many[i] = fmt.Sprint("k", i)
	}
	step(events(keys("TagContext", "team")), "")
	step(events(keys("RequestContext", "aws:PrincipalArn", "aws:SecureTransport")), "")
	if e := r.StoreEvents(store); !e.Large || e.Contexts[0].Keys[1] != "aws:SecureTransport" {
		t.Errorf("%+v", e)
	}
	step(events(keys("RequestContext", "s3:prefix")), "InvalidParameterException")
	step(events(keys("Other", "a")), "InvalidParameterException")
	step(events(keys("TagContext")), "InvalidParameterException")
	step(events(keys("TagContext", "a", "a")), "InvalidParameterException")
	step(events(keys("TagContext", many...)), "InvalidParameterException")
	step(events(keys("TagContext", strings.Repeat("k", 129))), "InvalidParameterException")
	step(events(StoreEvents{Contexts: keys("TagContext", "a").Contexts}), "InvalidParameterCombinationException")
	step(events(StoreEvents{Large: true, Contexts: []ContextKeys{{"TagContext", []string{"a"}}, {"TagContext", []string{"b"}}}}), "InvalidParameterException")
	step(events(StoreEvents{}), "")
	if len(r.file.Get().Resources) != 0 {
		t.Errorf("%+v", r.file.Get().Resources)
	}
}

const channel = "arn:aws:cloudtrail:eu-west-1:111122223333:channel/11111111-2222-4333-8444-555555555555"

func goodPolicy(account string) string {
	return `{"Version":"2012-10-17","Statement":[{"Sid":"in","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"cloudtrail-data:PutAuditEvents","Resource":"` + channel + `"}]}`
}

func TestPolicies(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	put := func(text string) error { _, err := r.PutPolicy(channel, text); return err }
	if _, err := r.PolicyText(channel); code(t, err) != "ResourcePolicyNotFoundException" || r.Policy(channel) != nil {
		t.Error(err)
	}
	if _, err := r.DeletePolicy(channel); code(t, err) != "ResourcePolicyNotFoundException" {
		t.Error(err)
	}
	for _, bad := range []string{"", "{", `{"Version":"2012-10-17"}`, goodPolicy(member) + strings.Repeat(" ", MaxPolicy), strings.Replace(goodPolicy(member), "Effect", "Affect", 1)} {
		if err := put(bad); code(t, err) != "ResourcePolicyNotValidException" {
			t.Errorf("%.80s: %v", bad, err)
		}
	}
	if err := put(goodPolicy(member)); err != nil {
		t.Fatal(err)
	}
	r.reopen()
	if text, err := r.PolicyText(channel); err != nil || text != goodPolicy(member) || r.Policy(channel) == nil {
		t.Error(text, err)
	}
	if _, err := r.DeletePolicy(channel); err != nil || r.Policy(channel) != nil {
		t.Error(err)
	}
	if err := put(goodPolicy(member)); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Forget(channel); err != nil || r.Policy(channel) != nil {
		t.Error(err)
	}
}

// text is everything but when it was written.
func (r *rig) text() string {
	r.t.Helper()
	b, err := r.file.Get().encode(time.Time{})
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// TestUndo: every change can be taken back, in memory and on disk.
func TestUndo(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.made(1)(r.create(home, "one", func(s *Spec) { s.Tags = []tag.Tag{{Key: "a", Value: "1"}} }))
	r.made(2)(r.create(home, "two"))
	r.made(3)(r.SetLogging(home, "two", true))
	r.made(4)(r.create(home, "gone"))
	r.made(5)(r.Delete(home, "gone"))
	must := func(c *Change, err error) {
		t.Helper()
		if err == nil {
			err = c.Recorded(t.Context())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	must(r.PutPolicy(channel, goodPolicy(member)))
	must(r.Register(home, member))
	second := func(_ Info, c *Change, err error) (*Change, error) { return c, err }
	r.later(time.Hour)
	objects := []selector.Basic{{ReadWriteType: "All", DataResources: []selector.DataResource{{Type: "AWS::S3::Object", Values: []string{"arn:aws:s3"}}}}}
	store := strings.Replace(channel, "channel", "eventdatastore", 1)
	changes := map[string]func() (*Change, error){
		"create":       func() (*Change, error) { return second(r.create(home, "new")) },
		"create again": func() (*Change, error) { return second(r.create(home, "gone")) },
		"update": func() (*Change, error) {
			return second(r.Update(t.Context(), home, "one", Update{Bucket: new("other")}, nil))
		},
		"delete":    func() (*Change, error) { return second(r.Delete(home, "two")) },
		"start":     func() (*Change, error) { return second(r.SetLogging(home, "one", true)) },
		"stop":      func() (*Change, error) { return second(r.SetLogging(home, "two", false)) },
		"selectors": func() (*Change, error) { return second(r.PutSelectors(home, "one", objects, nil)) },
		"insights": func() (*Change, error) {
			return second(r.PutInsights(home, "one", []InsightSelector{{Type: CallRate}}))
		},
		"tag":          func() (*Change, error) { return r.AddTags(home, i.ARN, []tag.Tag{{Key: "b"}}) },
		"untag":        func() (*Change, error) { return r.RemoveTags(home, i.ARN, []string{"a"}) },
		"policy":       func() (*Change, error) { return r.PutPolicy(channel, goodPolicy(other)) },
		"no policy":    func() (*Change, error) { return r.DeletePolicy(channel) },
		"forget":       func() (*Change, error) { return r.Forget(channel) },
		"register":     func() (*Change, error) { return r.Register(home, "000000000001") },
		"deregister":   func() (*Change, error) { return r.Deregister(home, member) },
		"store events": func() (*Change, error) { return r.PutStoreEvents(store, StoreEvents{Large: true}) },
		"store insight": func() (*Change, error) {
			return r.PutStoreInsights(store, store, []InsightSelector{{Type: ErrorRate}}, Logs{true, true, true})
		},
	}
	before := r.text()
	seen := func() string { all, _ := r.Deliverable(); return fmt.Sprintf("%+v", all) }
	was := seen()
	onDisk := func() string {
		b, err := os.ReadFile(filepath.Join(r.dir, statefile.Name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := decodeState(b)
		if err != nil {
			t.Fatal(err)
		}
		if b, err = f.encode(time.Time{}); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, change := range changes {
		c, err := change()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if r.text() == before || seen() != was {
			t.Errorf("%s: changed %t, and deliveries see it: %t", name, r.text() != before, seen() != was)
		}
		if err := c.Undo(); err != nil || r.text() != before || onDisk() != before || seen() != was {
			t.Errorf("%s was not taken back: %v\n%s\n%s", name, err, r.text(), before)
		}
		if len(r.pending) != 0 {
			t.Errorf("%s: %v", name, r.pending)
		}
	}
}

// TestUnwritten: a change that cannot be written is not seen, and one that is taken back is, as soon as it can be.
func TestUnwritten(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i, c, err := r.create(home, "one")
	if err != nil {
		t.Fatal(err)
	}
	away := r.dir + ".away"
	if err := os.Rename(r.dir, away); err != nil {
		t.Fatal(err)
	}
	if err := tail(r.create(home, "two")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	if err := c.Recorded(t.Context()); !errors.Is(err, fs.ErrNotExist) || r.epochs(i.ARN) != "" {
		t.Errorf("%v %s", err, r.epochs(i.ARN))
	}
	if err := os.Rename(away, r.dir); err != nil {
		t.Fatal(err)
	}
	r.journal(7, nil)
	if err := r.Delivered(0); err != nil || r.epochs(i.ARN) != "7:false:logs" {
		t.Errorf("%v %s", err, r.epochs(i.ARN))
	}
	if len(r.All(account)) != 1 || len(r.pending) != 0 {
		t.Error(r.All(account), r.pending)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := tail(r.create(home, "three")); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	r.open()
}

// TestTogether: many at once, of which some are taken back, leave what the others made, and epochs in order.
func TestTogether(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.made(1)(r.create(home, "one"))
	var wg sync.WaitGroup
	for n := range 24 {
		wg.Go(func() {
			_, c, err := r.SetLogging(home, "one", n%2 == 0)
			if err != nil {
				t.Error(err)
				return
			}
			r.mu.Lock()
			r.seq++
			r.mu.Unlock()
			if n%3 == 0 {
				err = c.Undo()
			} else {
				err = c.Recorded(t.Context())
			}
			if err != nil {
				t.Error(err)
			}
			_ = r.Delivered(uint64(n / 2))
		})
	}
	wg.Wait()
	all, _ := r.Deliverable()
	if len(all) != 1 || all[0].ARN != i.ARN {
		t.Fatalf("%+v", all)
	}
	es := all[0].Epochs
	for k := 1; k < len(es); k++ {
		if es[k].After <= es[k-1].After {
			t.Errorf("%+v", es)
		}
	}
	if got, err := r.Trail(home, "one"); err != nil || got.Settings.Logging != es[len(es)-1].Settings.Logging || len(r.pending) != 0 {
		t.Errorf("%+v %v %v", got, err, r.pending)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	i := r.made(1)(r.create(home, "one", func(s *Spec) { s.Tags = []tag.Tag{{Key: "b", Value: "2"}, {Key: "a", Value: "1"}} }))
	there := in("us-east-1") // tags are there in all Regions
	if _, err := r.AddTags(there, i.ARN, []tag.Tag{{Key: "a", Value: "3"}, {Key: "c"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.RemoveTags(home, i.ARN, []string{"b", "x"}); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Tags(there, i.ARN); err != nil || fmt.Sprint(got) != "[{a 3} {c }]" {
		t.Error(got, err)
	}
	many := make([]tag.Tag, 49)
	for k := range many {
		many[k].Key = fmt.Sprintf("k%d", k)
	}
	none := strings.Replace(i.ARN, "one", "none", 1)
	for arn, want := range map[string]string{i.ARN: "TagsLimitExceededException", none: "ResourceNotFoundException", "arn:x": "CloudTrailARNInvalidException"} {
		if _, err := r.AddTags(home, arn, many); code(t, err) != want {
			t.Errorf("%s: %v", arn, err)
		}
	}
	if _, err := r.AddTags(home, i.ARN, []tag.Tag{{Key: "aws:x"}}); code(t, err) != "InvalidTagParameterException" {
		t.Error(err)
	}
	if _, err := r.Tags(home, none); code(t, err) != "ResourceNotFoundException" {
		t.Error(err)
	}
	if !bytes.Contains([]byte(r.text()), []byte(`"key": "c"`)) {
		t.Error(r.text())
	}
}
