package lake

import (
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

	"spoor/internal/selector"
	"spoor/internal/statefile"
)

const (
	account = "111122223333"
	member  = "444455556666"
	region  = "eu-west-1"
)

var home = Where{account, region}

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newClock() *clock { return &clock{t: time.Date(2026, 3, 9, 8, 0, 0, 0, time.UTC)} }

func open(t testing.TB, dir string, c *clock, change ...func(*Options)) *Lake {
	t.Helper()
	o := Options{Account: account, Now: c.now}
	for _, f := range change {
		f(&o)
	}
	l, err := Open(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

// code is the code of a refusal, "" for no error.
func code(t testing.TB, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("no refusal: %v", err)
	}
	if e.Message == "" {
		t.Errorf("%s says nothing", e.Code)
	}
	return e.Code
}

func must[T any](t testing.TB) func(v T, _ Undo, err error) T {
	return func(v T, _ Undo, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func of(category string) []selector.Advanced {
	return []selector.Advanced{{FieldSelectors: []selector.FieldSelector{{Field: "eventCategory", Equals: []string{category}}}}}
}

var no, yes = new(false), new(true)

func TestStoreLife(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := filepath.Join(t.TempDir(), "lake")
	l := open(t, dir, c)
	s := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "one", Tags: []Tag{{Key: "b", Value: "2"}, {Key: "a", Value: "1"}}}))
	if s.Status != Created || !s.MultiRegion || !s.Protected || s.Organization || s.Retention != 366 || s.Billing != Extendable || !s.Created.Equal(c.now()) ||
		fmt.Sprint(s.Tags) != "[{a 1} {b 2}]" || s.Selectors[0].FieldSelectors[0].Equals[0] != "Management" {
		t.Errorf("%+v", s)
	}
	arn := l.StoreARN(s)
	if want := "arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/" + s.ID; arn != want {
		t.Errorf("%s, want %s", arn, want)
	}
	status := func() string {
		got, err := l.Store(home, arn)
		if err != nil {
			return code(t, err)
		}
		return string(got.Status)
	}
	step := func(want string, err error, after string) {
		t.Helper()
		if got := code(t, err); got != want || status() != after {
			t.Errorf("%q and then %s, want %q and %s", got, status(), want, after)
		}
	}
	step("", nil, "ENABLED")
	_, _, err := l.SetIngestion(home, s.ID, true)
	step("InvalidEventDataStoreStatusException", err, "ENABLED")
	_, _, err = l.RestoreStore(home, arn)
	step("InvalidEventDataStoreStatusException", err, "ENABLED")
	_, _, err = l.DeleteStore(home, arn)
	step("EventDataStoreTerminationProtectedException", err, "ENABLED")
	c.add(time.Hour)
	_, _, err = l.SetIngestion(home, arn, false)
	step("", err, "STOPPED_INGESTION")
	_, _, err = l.UpdateStore(home, arn, StoreChange{Protected: no})
	step("", err, "STOPPED_INGESTION")
	_, _, err = l.DeleteStore(home, arn)
	step("", err, "PENDING_DELETION")
	for name, err := range map[string]error{
		"delete": last(l.DeleteStore(home, arn)), "update": last(l.UpdateStore(home, arn, StoreChange{Protected: yes})),
		"tag": lastOf(l.AddTags(home, arn, []Tag{{Key: "k", Value: "v"}})), "tags": lastOf(l.Tags(home, arn)),
	} {
		if got := code(t, err); got != "InactiveEventDataStoreException" {
			t.Errorf("%s: %s", name, got)
		}
	}
	_, _, err = l.SetIngestion(home, arn, true)
	step("InvalidEventDataStoreStatusException", err, "PENDING_DELETION")
	if _, err := l.DataStores(t.Context(), account, region, []string{s.ID}); !errors.Is(err, ErrInactive) {
		t.Errorf("a query of a deleted store: %v", err)
	}
	c.add(PendingFor - time.Second)
	_, _, err = l.RestoreStore(home, arn)
	step("", err, "STOPPED_INGESTION")
	_, _, err = l.SetIngestion(home, arn, true)
	step("", err, "ENABLED")
	must[EventDataStore](t)(l.DeleteStore(home, arn))
	c.add(time.Hour)
	must[EventDataStore](t)(l.RestoreStore(home, arn))
	step("", nil, "ENABLED")
	must[EventDataStore](t)(l.DeleteStore(home, arn))
	c.add(PendingFor)
	step("", nil, "EventDataStoreNotFoundException")
	_, _, err = l.RestoreStore(home, arn)
	step("EventDataStoreNotFoundException", err, "EventDataStoreNotFoundException")
	// Its name and its place in the quota are free again, and the next change removes it from the file.
	must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "one"}))
	if b, err := os.ReadFile(filepath.Join(dir, statefile.Name)); err != nil || strings.Contains(string(b), s.ID) {
		t.Errorf("%v\n%s", err, b)
	}
}

func last[T any](_ T, _ Undo, err error) error { return err }
func lastOf[T any](_ T, err error) error       { return err }

func TestCreateStoreRefused(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), newClock())
	must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "taken"}))
	for i, c := range []struct {
		spec       StoreSpec
		code, says string
	}{
		{StoreSpec{Name: "taken"}, "EventDataStoreAlreadyExistsException", "taken"},
		{StoreSpec{Name: "spoor"}, "EventDataStoreAlreadyExistsException", "spoor"},
		{StoreSpec{Name: "ab"}, "InvalidParameterException", "3 to 128"},
		{StoreSpec{Name: "a/b"}, "InvalidParameterException", "name"},
		{StoreSpec{Name: "one", Retention: 6}, "InvalidParameterException", "7 to 3653"},
		{StoreSpec{Name: "one", Retention: 3654}, "InvalidParameterException", "7 to 3653"},
		{StoreSpec{Name: "one", Retention: 2558, Billing: Fixed}, "InvalidParameterException", "7 to 2557, as FIXED_RETENTION_PRICING"},
		{StoreSpec{Name: "one", Billing: "x"}, "InvalidParameterException", "billing mode"},
		{StoreSpec{Name: "one", Selectors: of("Nothing")}, "InvalidEventSelectorsException", "Event selector 1, field eventCategory"},
		{StoreSpec{Name: "one", KMSKeyID: "alias/x"}, "KmsException", "No key service"},
		{StoreSpec{Name: "one", Organization: true}, "OrganizationsNotInUseException", "No organization"},
		{StoreSpec{Name: "one", Selectors: of("ActivityAuditLog"), StartIngestion: no}, "InvalidParameterException", "StartIngestion"},
		{StoreSpec{Name: "one", Tags: []Tag{{Key: "aws:x", Value: "1"}}}, "InvalidTagParameterException", "aws:"},
		{StoreSpec{Name: "one", Tags: []Tag{{Key: "x", Value: "1"}, {Key: "x", Value: "2"}}}, "InvalidTagParameterException", "twice"},
		{StoreSpec{Name: "one", Tags: []Tag{{Key: "", Value: "1"}}}, "InvalidTagParameterException", "1 to 128"},
		{StoreSpec{Name: "one", Tags: []Tag{{Key: "x", Value: strings.Repeat("é", 257)}}}, "InvalidTagParameterException", "256"},
		{StoreSpec{Name: "one", Tags: tagsN(51)}, "InvalidTagParameterException", "51 tags"},
	} {
		_, _, err := l.CreateStore(home, c.spec)
		if got := code(t, err); got != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("case %d: %s %v; want %s, %s", i, got, err, c.code, c.says)
		}
	}
	for i := range MaxStores - 1 {
		must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: fmt.Sprintf("store-%d", i), StartIngestion: no, Billing: Fixed, Tags: tagsN(50)}))
	}
	if _, _, err := l.CreateStore(home, StoreSpec{Name: "one"}); code(t, err) != "EventDataStoreMaxLimitExceededException" {
		t.Error(err)
	}
	// The quota is that of a Region and an account.
	for _, w := range []Where{{account, "us-east-1"}, {member, region}} {
		s := must[EventDataStore](t)(l.CreateStore(w, StoreSpec{Name: "taken"}))
		if _, err := l.Store(home, s.ID); code(t, err) != "EventDataStoreNotFoundException" {
			t.Errorf("%v: %v", w, err)
		}
		if _, err := l.Store(home, l.StoreARN(s)); code(t, err) != "EventDataStoreNotFoundException" {
			t.Errorf("%v: %v", w, err)
		}
		if _, err := l.DataStores(t.Context(), home.Account, home.Region, []string{s.ID}); !errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), s.ID) {
			t.Errorf("%v: %v", w, err)
		}
	}
	for _, ref := range []string{"x", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/x", "arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/x", "arn:x", ""} {
		if _, err := l.Store(home, ref); code(t, err) != "EventDataStoreARNInvalidException" {
			t.Errorf("%q: %v", ref, err)
		}
	}
}

func tagsN(n int) []Tag {
	out := make([]Tag, n)
	for i := range out {
		out[i] = Tag{Key: fmt.Sprintf("k%d", i), Value: "v"}
	}
	return out
}

func TestUpdateStore(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := open(t, t.TempDir(), c, func(o *Options) { o.Management, o.Accounts = account, []string{account, member} })
	must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "other"}))
	s := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "one", Billing: Fixed, Organization: true}))
	outside := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "outside", Selectors: of("ActivityAuditLog")}))
	config := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "config", Selectors: of("ConfigurationItem")}))
	extendable := Extendable
	fixed := Fixed
	c.add(time.Minute)
	got := must[EventDataStore](t)(l.UpdateStore(home, s.ID, StoreChange{Name: new("two"), MultiRegion: no, Organization: no, Retention: new(3000), Billing: &extendable}))
	if got.Name != "two" || got.MultiRegion || got.Organization || got.Retention != 3000 || got.Billing != Extendable || !got.Updated.Equal(c.now()) || !got.Protected || got.Updated.Equal(got.Created) {
		t.Errorf("%+v", got)
	}
	for i, x := range []struct {
		id     string
		change StoreChange
		code   string
	}{
		{s.ID, StoreChange{}, "InvalidParameterException"},
		{s.ID, StoreChange{Billing: &fixed}, "InvalidParameterException"},
		{s.ID, StoreChange{Name: new("other")}, "EventDataStoreAlreadyExistsException"},
		{s.ID, StoreChange{Name: new("a b")}, "InvalidParameterException"},
		{s.ID, StoreChange{Retention: new(5000)}, "InvalidParameterException"},
		{s.ID, StoreChange{Selectors: of("x")}, "InvalidEventSelectorsException"},
		{s.ID, StoreChange{Selectors: of("ActivityAuditLog")}, "InvalidEventSelectorsException"},
		{outside.ID, StoreChange{Selectors: of("Management")}, "InvalidEventSelectorsException"},
		{config.ID, StoreChange{Selectors: of("Management")}, "InvalidEventSelectorsException"},
		{s.ID, StoreChange{Selectors: of("ConfigurationItem")}, "InvalidEventSelectorsException"},
		{s.ID, StoreChange{KMSKeyID: new("k")}, "KmsException"},
		{BuiltInID(account), StoreChange{Protected: no}, "OperationNotPermittedException"},
		{BuiltInID(member), StoreChange{Protected: no}, "EventDataStoreNotFoundException"},
	} {
		if _, _, err := l.UpdateStore(home, x.id, x.change); code(t, err) != x.code {
			t.Errorf("case %d: %v, want %s", i, err, x.code)
		}
	}
	if _, _, err := l.CreateStore(Where{member, region}, StoreSpec{Name: "org", Organization: true}); code(t, err) != "NotOrganizationMasterAccountException" {
		t.Error(err)
	}
	if _, _, err := l.SetIngestion(home, outside.ID, false); code(t, err) != "InvalidEventDataStoreCategoryException" {
		t.Error(err)
	}
	must[EventDataStore](t)(l.SetIngestion(home, config.ID, false))
}

func TestBuiltIn(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), newClock())
	page, next, err := l.Stores(home, "", 0)
	if err != nil || next != "" || len(page) != 1 || page[0].Name != BuiltIn || page[0].Status != Enabled || !page[0].Protected {
		t.Fatalf("%+v %q %v", page, next, err)
	}
	id := page[0].ID
	if got, err := l.Store(Where{account, "us-east-1"}, strings.ToUpper(id)); err != nil || got.ID != id || got.Region != "us-east-1" {
		t.Errorf("%+v %v", got, err)
	}
	for name, err := range map[string]error{
		"delete": last(l.DeleteStore(home, id)), "restore": last(l.RestoreStore(home, id)), "stop": last(l.SetIngestion(home, id, false)),
		"tag": lastOf(l.AddTags(home, l.StoreARN(page[0]), []Tag{{Key: "k", Value: "v"}})),
	} {
		if got := code(t, err); got != "OperationNotPermittedException" {
			t.Errorf("%s: %s", name, got)
		}
	}
	if tags, err := l.Tags(home, l.StoreARN(page[0])); err != nil || len(tags) != 0 {
		t.Errorf("%v %v", tags, err)
	}
	if ds, err := l.DataStores(t.Context(), account, region, []string{id}); err != nil || len(ds) != 1 || ds[0].ID != id || ds[0].Where != "" || ds[0].Audit {
		t.Errorf("%+v %v", ds, err)
	}
	// Another account has its own, of its own events.
	if ds, err := l.DataStores(t.Context(), member, region, []string{BuiltInID(member)}); err != nil || !strings.Contains(ds[0].Where, member) {
		t.Errorf("%+v %v", ds, err)
	}
	if _, err := l.DataStores(t.Context(), member, region, []string{id}); !errors.Is(err, ErrNotFound) {
		t.Errorf("the built-in store of another account: %v", err)
	}
}

func channelOf(t testing.TB, l *Lake, name, source string, stores ...EventDataStore) Channel {
	t.Helper()
	var to []string
	for _, s := range stores {
		to = append(to, l.StoreARN(s))
	}
	return must[Channel](t)(l.CreateChannel(home, ChannelSpec{Name: name, Source: source, Destinations: to}))
}

func TestChannels(t *testing.T) {
	t.Parallel()
	c := newClock()
	l := open(t, t.TempDir(), c)
	a := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "aaa", Selectors: of("ActivityAuditLog"), Protected: no}))
	b := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "bbb", Selectors: of("ActivityAuditLog"), Protected: no}))
	m := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "management"}))
	gone := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "gone", Selectors: of("ActivityAuditLog"), Protected: no}))
	must[EventDataStore](t)(l.DeleteStore(home, gone.ID))
	ch := channelOf(t, l, "wiki", Custom, b, a)
	arn := l.ChannelARN(ch)
	want := []string{a.ID, b.ID}
	slices.Sort(want)
	if !slices.Equal(ch.Destinations, want) || arn != "arn:aws:cloudtrail:eu-west-1:111122223333:channel/"+ch.ID {
		t.Errorf("%+v %s", ch, arn)
	}
	missing := strings.Replace(l.StoreARN(a), a.ID, "00000000-0000-4000-8000-000000000000", 1)
	for i, x := range []struct {
		spec ChannelSpec
		code string
	}{
		{ChannelSpec{"wi", "Other", []string{a.ID}, nil}, "InvalidParameterException"},
		{ChannelSpec{"wiki", "Other", []string{a.ID}, nil}, "ChannelAlreadyExistsException"},
		{ChannelSpec{"wiki2", Custom, []string{a.ID}, nil}, "ChannelAlreadyExistsException"},
		{ChannelSpec{"wiki2", "aws-config", []string{a.ID}, nil}, "InvalidSourceException"},
		{ChannelSpec{"wiki2", "Amazon X", []string{a.ID}, nil}, "InvalidSourceException"},
		{ChannelSpec{"wiki2", "<b>", []string{a.ID}, nil}, "InvalidSourceException"},
		{ChannelSpec{"wiki2", "Other", nil, nil}, "InvalidParameterException"},
		{ChannelSpec{"wiki2", "Other", []string{a.ID, l.StoreARN(a)}, nil}, "InvalidParameterException"},
		{ChannelSpec{"wiki2", "Other", []string{"x"}, nil}, "EventDataStoreARNInvalidException"},
		{ChannelSpec{"wiki2", "Other", []string{missing}, nil}, "EventDataStoreNotFoundException"},
		{ChannelSpec{"wiki2", "Other", []string{m.ID}, nil}, "InvalidEventDataStoreCategoryException"},
		{ChannelSpec{"wiki2", "Other", []string{BuiltInID(account)}, nil}, "InvalidEventDataStoreCategoryException"},
		{ChannelSpec{"wiki2", "Other", []string{gone.ID}, nil}, "InactiveEventDataStoreException"},
		{ChannelSpec{"wiki2", "Other", []string{a.ID}, tagsN(51)}, "TagsLimitExceededException"},
		{ChannelSpec{"wiki2", "Other", []string{a.ID}, []Tag{{Key: "AWS:x"}}}, "InvalidTagParameterException"},
	} {
		if _, _, err := l.CreateChannel(home, x.spec); code(t, err) != x.code {
			t.Errorf("case %d: %v, want %s", i, err, x.code)
		}
	}
	if _, _, err := l.DeleteStore(home, a.ID); code(t, err) != "ChannelExistsForEDSException" {
		t.Error(err)
	}
	c.add(time.Minute)
	if got := must[Channel](t)(l.UpdateChannel(home, arn, ChannelChange{Name: new("renamed"), Destinations: []string{b.ID}})); got.Name != "renamed" || !slices.Equal(got.Destinations, []string{b.ID}) || !got.Updated.Equal(c.now()) {
		t.Errorf("%+v", got)
	}
	must[EventDataStore](t)(l.DeleteStore(home, a.ID))
	channelOf(t, l, "second", "Second", b)
	for i, x := range []struct {
		change ChannelChange
		code   string
	}{
		{ChannelChange{}, "InvalidParameterException"}, {ChannelChange{Name: new("second")}, "ChannelAlreadyExistsException"}, {ChannelChange{Name: new("a")}, "InvalidParameterException"},
		{ChannelChange{Destinations: []string{a.ID}}, "InactiveEventDataStoreException"}, {ChannelChange{Destinations: []string{m.ID}}, "InvalidEventDataStoreCategoryException"},
	} {
		if _, _, err := l.UpdateChannel(home, ch.ID, x.change); code(t, err) != x.code {
			t.Errorf("update %d: %v, want %s", i, err, x.code)
		}
	}
	for _, ref := range []string{"x", l.StoreARN(b), "arn:aws:cloudtrail:eu-west-1:111122223333:channel/x"} {
		if _, err := l.Channel(home, ref); code(t, err) != "ChannelARNInvalidException" {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, w := range []Where{{account, "us-east-1"}, {member, region}} {
		if _, err := l.Channel(w, arn); code(t, err) != "ChannelNotFoundException" {
			t.Errorf("%v: %v", w, err)
		}
		if _, err := l.DeleteChannel(w, ch.ID); code(t, err) != "ChannelNotFoundException" {
			t.Errorf("%v: %v", w, err)
		}
	}
	for i := range MaxChannels - 2 {
		channelOf(t, l, fmt.Sprintf("more-%d", i), fmt.Sprintf("More %d", i), b)
	}
	if _, _, err := l.CreateChannel(home, ChannelSpec{"toomany", "Too many", []string{b.ID}, nil}); code(t, err) != "ChannelMaxLimitExceededException" {
		t.Error(err)
	}
	if _, err := l.DeleteChannel(home, arn); err != nil {
		t.Error(err)
	}
	if _, err := l.Channel(home, arn); code(t, err) != "ChannelNotFoundException" {
		t.Error(err)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	l := open(t, t.TempDir(), newClock())
	s := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "aaa", Selectors: of("ActivityAuditLog")}))
	ch := channelOf(t, l, "wiki", Custom, s)
	for _, arn := range []string{l.StoreARN(s), l.ChannelARN(ch)} {
		if _, err := l.AddTags(home, arn, []Tag{{Key: "b", Value: "1"}, {Key: "a", Value: ""}}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.AddTags(home, arn, []Tag{{Key: "b", Value: "2"}, {Key: "c", Value: "3"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.RemoveTags(home, arn, []string{"a", "zzz"}); err != nil {
			t.Fatal(err)
		}
		if tags, err := l.Tags(home, arn); err != nil || fmt.Sprint(tags) != "[{b 2} {c 3}]" {
			t.Errorf("%v %v", tags, err)
		}
		if _, err := l.AddTags(home, arn, tagsN(49)); code(t, err) != "TagsLimitExceededException" {
			t.Error(err)
		}
		if _, err := l.AddTags(home, arn, []Tag{{Key: "aws:b", Value: "1"}}); code(t, err) != "InvalidTagParameterException" {
			t.Error(err)
		}
	}
	for arn, want := range map[string]string{
		"x": "CloudTrailARNInvalidException", s.ID: "CloudTrailARNInvalidException", "arn:aws:cloudtrail:eu-west-1:111122223333:trail/x": "ResourceNotFoundException",
		"arn:aws:cloudtrail:eu-west-1:111122223333:dashboard/x":                                         "ResourceTypeNotSupportedException",
		"arn:aws:cloudtrail:eu-west-1:111122223333:eventdatastore/00000000-0000-4000-8000-000000000000": "EventDataStoreNotFoundException",
		"arn:aws:cloudtrail:eu-west-1:111122223333:channel/00000000-0000-4000-8000-000000000000":        "ChannelNotFoundException",
		"arn:aws:cloudtrail:eu-west-1:111122223333:channel/x":                                           "ChannelARNInvalidException",
	} {
		for _, err := range []error{lastOf(l.Tags(home, arn)), lastOf(l.AddTags(home, arn, nil)), lastOf(l.RemoveTags(home, arn, nil))} {
			if code(t, err) != want {
				t.Errorf("%s: %v, want %s", arn, err, want)
			}
		}
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	dir, c := t.TempDir(), newClock()
	l := open(t, dir, c)
	for i := range 9 {
		must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: fmt.Sprintf("store-%d", i), Protected: no}))
		c.add(time.Duration(i%3) * time.Second) // some in one second
	}
	list := func(w Where, size int, between func(n int)) (names []string) {
		t.Helper()
		for token, n := "", 0; ; n++ {
			page, next, err := l.Stores(w, token, size)
			if err != nil || len(page) > size || len(next) > 1000 || next != "" && len(next) < 4 {
				t.Fatal(len(page), next, err)
			}
			for _, s := range page {
				names = append(names, s.Name)
			}
			if token = next; token == "" {
				return names
			}
			between(n)
		}
	}
	all := list(home, 100, func(int) {})
	if len(all) != 10 || all[0] != BuiltIn {
		t.Fatal(all)
	}
	for size := 1; size < 11; size++ {
		if got := list(home, size, func(int) {}); !slices.Equal(got, all) {
			t.Errorf("pages of %d: %v, want %v", size, got, all)
		}
	}
	// What goes between pages moves nothing else: neither behind nor before the place.
	_, next, err := l.Stores(home, "", 3)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range all[2:4] {
		page, _, err := l.Stores(home, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(page, func(s EventDataStore) bool { return s.Name == name })
		must[EventDataStore](t)(l.DeleteStore(home, page[i].ID))
	}
	c.add(PendingFor)
	if page, _, err := l.Stores(home, next, 2); err != nil || page[0].Name != all[4] {
		t.Errorf("%v %v", page, err)
	}
	// A token counts for its list alone, as it was given, and after a restart.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir, c)
	if _, _, err := l.Stores(home, next, 2); err != nil {
		t.Error(err)
	}
	bad := []string{"x", "====", next + "A", next[:len(next)-1], strings.Repeat("A", 60)}
	for i := range next {
		b := []byte(next)
		if b[i] = 'A'; string(b) != next {
			bad = append(bad, string(b))
		}
	}
	for _, token := range bad {
		if _, _, err := l.Stores(home, token, 2); code(t, err) != "InvalidNextTokenException" {
			t.Errorf("token %q: %v", token, err)
		}
	}
	for _, w := range []Where{{account, "us-east-1"}, {member, region}} {
		if _, _, err := l.Stores(w, next, 2); code(t, err) != "InvalidNextTokenException" {
			t.Errorf("%v: %v", w, err)
		}
	}
	if _, _, err := l.Channels(home, next, 2); code(t, err) != "InvalidNextTokenException" {
		t.Error(err)
	}
}

// state is everything but when it was written.
func (l *Lake) text(t *testing.T) string {
	t.Helper()
	f := *l.file.Get()
	f.Written = time.Time{}
	b, err := f.encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestUndo: every change can be taken back, in memory and on disk, whatever came after it.
func TestUndo(t *testing.T) {
	t.Parallel()
	c := newClock()
	dir := t.TempDir()
	l := open(t, dir, c)
	s := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "aaa", Selectors: of("ActivityAuditLog"), Protected: no, Tags: tagsN(2)}))
	m := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "management", Protected: no}))
	pending := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "pending", Protected: no}))
	must[EventDataStore](t)(l.DeleteStore(home, pending.ID))
	stopped := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "stopped", StartIngestion: no}))
	ch := channelOf(t, l, "wiki", Custom, s)
	c.add(time.Hour)
	second := func(_ EventDataStore, u Undo, err error) (Undo, error) { return u, err }
	channel := func(_ Channel, u Undo, err error) (Undo, error) { return u, err }
	changes := map[string]func() (Undo, error){
		"create": func() (Undo, error) { return second(l.CreateStore(home, StoreSpec{Name: "new"})) },
		"update": func() (Undo, error) {
			return second(l.UpdateStore(home, s.ID, StoreChange{Name: new("x.y"), Retention: new(30)}))
		},
		"delete":  func() (Undo, error) { return second(l.DeleteStore(home, m.ID)) },
		"restore": func() (Undo, error) { return second(l.RestoreStore(home, pending.ID)) },
		"start":   func() (Undo, error) { return second(l.SetIngestion(home, stopped.ID, true)) },
		"stop":    func() (Undo, error) { return second(l.SetIngestion(home, m.ID, false)) },
		"create channel": func() (Undo, error) {
			return channel(l.CreateChannel(home, ChannelSpec{"new", "New", []string{s.ID}, tagsN(1)}))
		},
		"update channel": func() (Undo, error) { return channel(l.UpdateChannel(home, ch.ID, ChannelChange{Name: new("other")})) },
		"delete channel": func() (Undo, error) { return l.DeleteChannel(home, ch.ID) },
		"tag store":      func() (Undo, error) { return l.AddTags(home, l.StoreARN(s), tagsN(3)) },
		"untag store":    func() (Undo, error) { return l.RemoveTags(home, l.StoreARN(s), []string{"k0"}) },
		"tag channel":    func() (Undo, error) { return l.AddTags(home, l.ChannelARN(ch), tagsN(3)) },
	}
	before := l.text(t)
	onDisk := func() string {
		b, err := os.ReadFile(filepath.Join(dir, statefile.Name))
		if err != nil {
			t.Fatal(err)
		}
		f, err := decodeState(b)
		if err != nil {
			t.Fatal(err)
		}
		f.Written = time.Time{}
		b, err = f.encode()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	for name, change := range changes {
		undo, err := change()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if l.text(t) == before {
			t.Errorf("%s changed nothing", name)
		}
		if err := undo(); err != nil || l.text(t) != before || onDisk() != before {
			t.Errorf("%s was not taken back: %v\n%s\n%s", name, err, l.text(t), before)
		}
		if err := undo(); err == nil || l.text(t) != before {
			t.Errorf("%s was taken back twice: %v", name, err)
		}
	}
	// The first of two is taken back, then the other; what stood on it goes with it.
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		var undos []Undo
		for _, n := range []int{10, 20} {
			undo, err := second(l.UpdateStore(home, s.ID, StoreChange{Retention: &n}))
			if err != nil {
				t.Fatal(err)
			}
			undos = append(undos, undo)
		}
		if err := undos[order[0]](); err != nil {
			t.Fatal(err)
		}
		if got, err := l.Store(home, s.ID); err != nil || got.Retention != []int{20, 10}[order[0]] {
			t.Errorf("%v: %d %v", order, got.Retention, err)
		}
		if err := undos[order[1]](); err != nil || l.text(t) != before {
			t.Errorf("%v: %v\n%s", order, err, l.text(t))
		}
	}
	made, undo, err := l.CreateStore(home, StoreSpec{Name: "base"})
	if err != nil {
		t.Fatal(err)
	}
	must[EventDataStore](t)(l.UpdateStore(home, made.ID, StoreChange{Retention: new(10)}))
	kept := must[EventDataStore](t)(l.CreateStore(home, StoreSpec{Name: "kept"}))
	if err := undo(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Store(home, made.ID); code(t, err) != "EventDataStoreNotFoundException" {
		t.Error(err)
	}
	if _, err := l.Store(home, kept.ID); err != nil {
		t.Error(err)
	}
}

// TestUnwritten: a change that cannot be written is not seen, and one that is taken back is, as soon as it can be.
func TestUnwritten(t *testing.T) {
	t.Parallel()
	if os.Getuid() == 0 {
		t.Log("root may write everywhere: the folder is removed instead")
	}
	c, dir := newClock(), filepath.Join(t.TempDir(), "lake")
	l := open(t, dir, c)
	before := l.text(t)
	_, undo, err := l.CreateStore(home, StoreSpec{Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.CreateStore(home, StoreSpec{Name: "two"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a folder: %v", err)
	}
	if page, _, err := l.Stores(home, "", 0); err != nil || len(page) != 2 {
		t.Errorf("%v %v", page, err)
	}
	if err := undo(); !errors.Is(err, fs.ErrNotExist) || l.text(t) != before {
		t.Errorf("taken back: %v\n%s", err, l.text(t))
	}
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := l.CreateStore(home, StoreSpec{Name: "three"}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	l = open(t, dir, c)
	if l.text(t) != before {
		t.Errorf("%s\nwant\n%s", l.text(t), before)
	}
}
