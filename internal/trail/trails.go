package trail

import (
	"cmp"
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"time"

	"spoor/internal/refusal"
	"spoor/internal/selector"
	"spoor/internal/tag"
)

// MaxTrails is how many trails an account has in a Region at most. Trails of all Regions count in each.
const MaxTrails = 5

// Where is the account and Region that a call is for.
type Where struct{ Account, Region string }

// Info is what there is to know about a trail.
type Info struct {
	Name, ARN           string
	Account, HomeRegion string // of the owner; of a trail of an organisation, the management account
	OrganizationID      string
	Settings            Settings
	CustomSelectors     bool // other event selectors than the default
	Insights            []InsightSelector
	Aggregations        []Aggregation
	Started, Stopped    time.Time // when logging was last started and stopped; zero for never
	Tags                []tag.Tag
}

func (b *Book) info(t *entry) Info {
	s := t.settings()
	return Info{
		Name: t.Name, ARN: b.arn(t), Account: t.Account, HomeRegion: t.Region, OrganizationID: t.OrganizationID, Settings: s,
		CustomSelectors: s.custom(), Insights: t.Insights, Aggregations: t.Aggregations, Started: t.Started, Stopped: t.Stopped, Tags: t.Tags,
	}
}

// custom reports whether the event selectors are others than the default.
func (s Settings) custom() bool {
	switch {
	case s.Advanced != nil:
		return !slices.EqualFunc(s.Advanced, selector.Default(), func(a, b selector.Advanced) bool { return reflect.DeepEqual(a.FieldSelectors, b.FieldSelectors) })
	case s.Basic != nil:
		d := s.Basic[0]
		return len(s.Basic) != 1 || d.ReadWriteType != "All" && d.ReadWriteType != "" || !d.IncludeManagementEvents || len(d.DataResources) > 0 || len(d.ExcludeManagementEventSources) > 0
	}
	return false
}

// Logs is which events selectors select.
type Logs struct{ ManagementRead, ManagementWrite, Data bool }

// Logs tells which events the selectors select.
func (s Settings) Logs() (l Logs) {
	if s.Advanced != nil {
		return LogsOf(s.Advanced)
	}
	basic := s.Basic
	if basic == nil {
		basic = DefaultSelectors()
	}
	for _, b := range basic {
		if b.IncludeManagementEvents {
			l.ManagementRead = l.ManagementRead || b.ReadWriteType != "WriteOnly"
			l.ManagementWrite = l.ManagementWrite || b.ReadWriteType != "ReadOnly"
		}
		l.Data = l.Data || len(b.DataResources) > 0
	}
	return l
}

// LogsOf tells which events advanced selectors select.
func LogsOf(advanced []selector.Advanced) (l Logs) {
	for _, a := range advanced {
		category, read, write := "", true, true
		for _, f := range a.FieldSelectors {
			switch f.Field {
			case "eventCategory":
				category = f.Equals[0]
			case "readOnly":
				read, write = slices.Contains(f.Equals, "true"), slices.Contains(f.Equals, "false")
			}
		}
		switch category {
		case selector.Management:
			l.ManagementRead, l.ManagementWrite = l.ManagementRead || read, l.ManagementWrite || write
		case selector.Data:
			l.Data = true
		}
	}
	return l
}

// Spec says what trail to make.
type Spec struct {
	Name, Bucket, Prefix string
	Topic, KMSKey        string // ARNs, empty for none
	GlobalServiceEvents  *bool  // default true
	MultiRegion          bool
	Validation           bool
	Organization         bool
	Tags                 []tag.Tag
}

// Update says what to change of a trail; nil members stay as they are, and empty texts clear.
type Update struct {
	Bucket, Prefix      *string
	Topic, KMSKey       *string // ARNs
	GlobalServiceEvents *bool
	MultiRegion         *bool
	Validation          *bool
	Organization        *bool
}

// Check looks at what a trail will need: its bucket, its key and its topic. An error refuses the trail.
type Check func(ctx context.Context, will Info) error

// see reports whether an account sees a trail.
func (o Organization) see(account string, t *entry) bool {
	return !t.deleted() && (t.Account == account || t.OrganizationID != "" && t.OrganizationID == o.ID && slices.Contains(o.Accounts, account))
}

// manages reports whether an account may make and change trails of the organisation.
func (f *file) manages(o Organization, account string) bool {
	return o.ID != "" && (account == o.Management || f.delegate(o, account))
}

// checkOrganization refuses accounts that may not make trails of the organisation.
func (f *file) checkOrganization(o Organization, account string) error {
	switch {
	case o.ID == "" || !slices.Contains(o.Accounts, account):
		return refuse(codeNoOrganization, "The account %s is not in an organization.", account)
	case !f.manages(o, account):
		return refuse(codeNotMaster, "The account %s is neither the management account of the organization nor a delegated administrator of it for CloudTrail.", account)
	}
	return nil
}

func notFound(ref, account string) error {
	return refuse(codeNotFound, "Unknown trail: %s for the user: %s", ref, account)
}

// find gives the place of the trail that a name or an ARN names. A name is one of the home Region. change is for calls that
// change it: they have to come from where the trail was made, and from who may.
func (b *Book) find(f *file, w Where, ref string, change bool) (int, error) {
	o := b.organization()
	if !strings.Contains(ref, ":") {
		if err := checkName(ref); err != nil {
			return 0, err
		}
		at := slices.IndexFunc(f.Trails, func(t entry) bool { return !t.deleted() && t.is(w.Account, w.Region, ref) })
		if at >= 0 {
			return at, nil
		}
		shadow := slices.IndexFunc(f.Trails, func(t entry) bool {
			return !t.deleted() && t.Name == ref && t.Account == w.Account && t.settings().MultiRegion
		})
		if change && shadow >= 0 {
			return 0, elsewhere(ref, f.Trails[shadow].Region, w)
		}
		return 0, notFound(ref, w.Account)
	}
	a, err := ParseARN(ref)
	if err != nil {
		return 0, err
	}
	at := slices.IndexFunc(f.Trails, func(t entry) bool { return t.is(a.Account, a.Region, a.Name) })
	if at < 0 || a.Partition != b.o.Partition || !o.see(w.Account, &f.Trails[at]) {
		return 0, notFound(ref, w.Account)
	}
	t := &f.Trails[at]
	switch {
	case !change:
	case t.Account != w.Account && !f.manages(o, w.Account):
		return 0, refuse(codeNotMaster, "The trail %s belongs to the organization: only its management account and delegated administrators for CloudTrail change it.", ref)
	case t.Region != w.Region:
		return 0, elsewhere(ref, t.Region, w)
	}
	return at, nil
}

func elsewhere(ref, home string, w Where) error {
	return refuse(codeHomeRegion, "The home Region of the trail %s is %s: it cannot be changed from %s.", ref, home, w.Region)
}

// room refuses one more trail where there are as many as there may be. But names a trail that does not count.
func (f *file) room(account, region string, multi bool, but string) error {
	count := func(region string) (n int) {
		for i := range f.Trails {
			t := &f.Trails[i]
			if !t.deleted() && t.Account == account && (t.Region == region || t.settings().MultiRegion) && !t.is(account, region, but) {
				n++
			}
		}
		return n
	}
	regions := []string{region}
	for i := range f.Trails {
		if t := &f.Trails[i]; multi && t.Account == account {
			regions = append(regions, t.Region)
		}
	}
	for _, r := range regions {
		if n := count(r); n >= MaxTrails {
			return refuse(codeLimit, "User: %s already has %d trails in %s.", account, n, r)
		}
	}
	return nil
}

// globals decides over global service events: a trail of all Regions has them.
func globals(given *bool, multi, otherwise bool) (bool, error) {
	include := otherwise
	if given != nil {
		include = *given
	}
	if multi && !include {
		return false, refuse(codeCombination, "Multi-Region trail must include global service events.")
	}
	return include, nil
}

func checkBucket(name string) error {
	if !bucketName(name) {
		return refuse(codeBucketName, "%.80q is not the name of a bucket.", name)
	}
	return nil
}

// take waits for the turn to make or update a trail.
func (b *Book) take(ctx context.Context) (give func(), err error) {
	select {
	case b.turn <- struct{}{}:
		return func() { <-b.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// push begins an epoch, where settings are new.
func (t *entry) push(id string, now time.Time, s Settings) error {
	if n := len(t.Epochs); n > 0 && !t.deleted() && reflect.DeepEqual(t.Epochs[n-1].Settings, s) {
		return nil
	}
	if len(t.Epochs) >= maxEpochs {
		return refuse(codeConflict, "The trail was changed %d times, and deliveries have not come to any of it.", maxEpochs)
	}
	t.Epochs = append(slices.Clip(t.Epochs), epoch{ID: id, At: now, Settings: s})
	return nil
}

// Create makes a trail that does not log yet. check is asked for what the trail needs.
func (b *Book) Create(ctx context.Context, w Where, spec Spec, check Check) (Info, *Change, error) {
	give, err := b.take(ctx)
	if err != nil {
		return Info{}, nil, err
	}
	defer give()
	id, tags := newEpoch(), tag.Sorted(spec.Tags)
	make := func(f *file, now time.Time) (entry, error) {
		o := b.organization()
		owner := entry{Name: spec.Name, Account: w.Account, Region: w.Region, Created: now, Updated: now, Tags: tags}
		s := Settings{
			Bucket: spec.Bucket, Prefix: spec.Prefix, Topic: spec.Topic, KMSKey: spec.KMSKey, Validation: spec.Validation, MultiRegion: spec.MultiRegion, Organization: spec.Organization,
		}
		var err error
		if err := cmp.Or(checkName(spec.Name), checkBucket(spec.Bucket), checkPrefix(spec.Prefix)); err != nil {
			return owner, err
		}
		if s.GlobalServiceEvents, err = globals(spec.GlobalServiceEvents, s.MultiRegion, true); err != nil {
			return owner, err
		}
		if err := checkTags(tags); err != nil {
			return owner, err
		}
		if spec.Organization {
			if err := f.checkOrganization(o, w.Account); err != nil {
				return owner, err
			}
			owner.Account, owner.OrganizationID = o.Management, o.ID
		}
		at := slices.IndexFunc(f.Trails, func(t entry) bool { return t.is(owner.Account, owner.Region, owner.Name) })
		if at >= 0 && !f.Trails[at].deleted() {
			return owner, refuse(codeExists, "Trail %s already exists for customer: %s", spec.Name, owner.Account)
		}
		if err := f.room(owner.Account, owner.Region, s.MultiRegion, ""); err != nil {
			return owner, err
		}
		if at >= 0 { // deliveries have not come to its end yet, and know it by its ARN
			owner.Epochs = f.Trails[at].Epochs
			f.Trails = slices.Delete(f.Trails, at, at+1)
		}
		if err := owner.push(id, now, s); err != nil {
			return owner, err
		}
		f.Trails = append(f.Trails, owner)
		return owner, nil
	}
	will, err := make(b.file.Get().clone(), b.now())
	if err == nil && check != nil {
		err = check(ctx, b.info(&will))
	}
	if err != nil {
		return Info{}, nil, err
	}
	made, c, err := change(b, id, make)
	if err != nil {
		return Info{}, nil, err
	}
	return b.info(&made), c, nil
}

func checkTags(tags []tag.Tag) error {
	if n := len(tags); n > tag.Max {
		return tooManyTags(n)
	}
	if err := tag.Check(tags); err != nil {
		return refuse(codeTag, "%s", refusal.Sentence(err.Error()))
	}
	return nil
}

func tooManyTags(n int) error {
	return refuse(codeTagLimit, "There would be %d tags; at most %d are allowed.", n, tag.Max)
}

// edit changes a trail by fn, on a copy.
func (b *Book) edit(w Where, ref, id string, fn func(f *file, t *entry, now time.Time) error) (Info, *Change, error) {
	changed, c, err := change(b, id, b.editing(w, ref, fn))
	if err != nil {
		return Info{}, nil, err
	}
	return b.info(&changed), c, nil
}

func (b *Book) editing(w Where, ref string, fn func(f *file, t *entry, now time.Time) error) func(f *file, now time.Time) (entry, error) {
	return func(f *file, now time.Time) (entry, error) {
		at, err := b.find(f, w, ref, true)
		if err != nil {
			return entry{}, err
		}
		t := f.Trails[at]
		if err := fn(f, &t, now); err != nil {
			return entry{}, err
		}
		t.Updated = now
		f.Trails[at] = t
		return t, nil
	}
}

// Update changes a trail. check is asked for what the trail needs then.
func (b *Book) Update(ctx context.Context, w Where, ref string, u Update, check Check) (Info, *Change, error) {
	give, err := b.take(ctx)
	if err != nil {
		return Info{}, nil, err
	}
	defer give()
	id := newEpoch()
	fn := func(f *file, t *entry, now time.Time) error { return b.update(f, t, w, u, id, now) }
	will, err := b.editing(w, ref, fn)(b.file.Get().clone(), b.now())
	if err == nil && check != nil {
		err = check(ctx, b.info(&will))
	}
	if err != nil {
		return Info{}, nil, err
	}
	return b.edit(w, ref, id, fn)
}

func (b *Book) update(f *file, t *entry, w Where, u Update, id string, now time.Time) error {
	s := t.settings()
	had := s
	for _, c := range []struct {
		to   *string
		from *string
	}{{&s.Bucket, u.Bucket}, {&s.Prefix, u.Prefix}, {&s.Topic, u.Topic}, {&s.KMSKey, u.KMSKey}} {
		if c.from != nil {
			*c.to = *c.from
		}
	}
	for _, c := range []struct {
		to   *bool
		from *bool
	}{{&s.MultiRegion, u.MultiRegion}, {&s.Validation, u.Validation}, {&s.Organization, u.Organization}} {
		if c.from != nil {
			*c.to = *c.from
		}
	}
	if err := cmp.Or(checkBucket(s.Bucket), checkPrefix(s.Prefix)); err != nil {
		return err
	}
	include := s.GlobalServiceEvents
	if s.MultiRegion != had.MultiRegion { // a trail of one Region is not given them, unless it is asked for
		include = s.MultiRegion
	}
	var err error
	if s.GlobalServiceEvents, err = globals(u.GlobalServiceEvents, s.MultiRegion, include); err != nil {
		return err
	}
	if s.MultiRegion && !had.MultiRegion {
		if err := f.room(t.Account, t.Region, true, t.Name); err != nil {
			return err
		}
	}
	if s.Organization != had.Organization {
		o := b.organization()
		if err := f.checkOrganization(o, w.Account); err != nil {
			return err
		}
		if w.Account != o.Management {
			return refuse(codeNotMaster, "Only the management account %s makes a trail of its own one of the organization, and back.", o.Management)
		}
		if t.OrganizationID = ""; s.Organization {
			t.OrganizationID = o.ID
		}
	}
	return t.push(id, now, s)
}

// Delete deletes a trail. The files that it delivered stay.
func (b *Book) Delete(w Where, ref string) (Info, *Change, error) {
	id := newEpoch()
	return b.edit(w, ref, id, func(_ *file, t *entry, now time.Time) error {
		s := t.settings()
		s.Logging = false
		// An epoch of its own, also when nothing else is new: deliveries see the end when that is in force.
		t.Epochs = append(slices.Clip(t.Epochs), epoch{ID: id, At: now, Settings: s, End: true})
		return nil
	})
}

// SetLogging starts or stops logging. What is so already is not changed.
func (b *Book) SetLogging(w Where, ref string, on bool) (Info, *Change, error) {
	id := newEpoch()
	return b.edit(w, ref, id, func(_ *file, t *entry, now time.Time) error {
		s := t.settings()
		switch {
		case s.Logging == on:
			return nil
		case on:
			t.Started = now
		default:
			t.Stopped = now
		}
		s.Logging = on
		return t.push(id, now, s)
	})
}

// PutSelectors replaces the event selectors of a trail: basic or advanced ones.
func (b *Book) PutSelectors(w Where, ref string, basic []selector.Basic, advanced []selector.Advanced) (Info, *Change, error) {
	id := newEpoch()
	return b.edit(w, ref, id, func(_ *file, t *entry, now time.Time) error {
		var err error
		switch {
		case len(basic) > 0 && len(advanced) > 0:
			return refuse(codeSelectors, "Give EventSelectors or AdvancedEventSelectors, not both.")
		case len(advanced) > 0:
			err = selector.CheckAdvanced(selector.Trail, advanced)
		default:
			err = selector.CheckBasic(basic)
		}
		if bad, ok := errors.AsType[*selector.Error](err); ok {
			return refuse(codeSelectors, "%s", refusal.Sentence(bad.Error()))
		}
		if err != nil {
			return err
		}
		s := t.settings()
		if s.Basic, s.Advanced = basic, nil; len(advanced) > 0 {
			s.Basic, s.Advanced = nil, advanced
		}
		return t.push(id, now, s)
	})
}

// Trail gives a trail by its name, of this Region, or its ARN, of any.
func (b *Book) Trail(w Where, ref string) (Info, error) {
	f := b.file.Get()
	at, err := b.find(f, w, ref, false)
	if err != nil {
		return Info{}, err
	}
	return b.info(&f.Trails[at]), nil
}

// Trails gives those that an account has in a Region, in the order in which they were made. refs names some of them; what it
// names and is not there is left out. Without refs, shadows says whether trails of other Regions that are for all, and those of the
// organisation in its members, are among them.
func (b *Book) Trails(w Where, refs []string, shadows bool) ([]Info, error) {
	f, o := b.file.Get(), b.organization()
	if len(refs) > 0 {
		var out []Info
		for _, ref := range refs {
			at, err := b.find(f, w, ref, false)
			if e, ok := errors.AsType[*refusal.Error](err); ok && e.Code == codeNotFound {
				continue
			}
			if err != nil {
				return nil, err
			}
			i := b.info(&f.Trails[at])
			if !slices.ContainsFunc(out, func(had Info) bool { return had.ARN == i.ARN }) {
				out = append(out, i)
			}
		}
		return out, nil
	}
	return b.list(f, func(t *entry) bool {
		return o.see(w.Account, t) && (t.Region == w.Region || t.settings().MultiRegion) && (shadows || t.Region == w.Region && t.Account == w.Account)
	}), nil
}

// All gives the trails that an account has in all Regions.
func (b *Book) All(account string) []Info {
	o := b.organization()
	return b.list(b.file.Get(), func(t *entry) bool { return o.see(account, t) })
}

func (b *Book) list(f *file, want func(*entry) bool) (out []Info) {
	for i := range f.Trails {
		if want(&f.Trails[i]) {
			out = append(out, b.info(&f.Trails[i]))
		}
	}
	return out
}

// tagged finds a trail by its ARN, from any Region.
func (b *Book) tagged(f *file, w Where, arn string, change bool) (int, error) {
	a, err := ParseARN(arn)
	if err != nil {
		return 0, err
	}
	at, err := b.find(f, Where{w.Account, a.Region}, arn, change)
	if e, ok := errors.AsType[*refusal.Error](err); ok && e.Code == codeNotFound {
		err = refuse(codeResourceNotFound, "The resource %.256s was not found.", arn)
	}
	return at, err
}

// Tags gives the tags of a trail.
func (b *Book) Tags(w Where, arn string) ([]tag.Tag, error) {
	f := b.file.Get()
	at, err := b.tagged(f, w, arn, false)
	if err != nil {
		return nil, err
	}
	return f.Trails[at].Tags, nil
}

func (b *Book) retag(w Where, arn string, fn func([]tag.Tag) ([]tag.Tag, error)) (*Change, error) {
	_, c, err := change(b, "", func(f *file, _ time.Time) (entry, error) {
		at, err := b.tagged(f, w, arn, true)
		if err != nil {
			return entry{}, err
		}
		t := f.Trails[at]
		if t.Tags, err = fn(t.Tags); err != nil {
			return entry{}, err
		}
		f.Trails[at] = t
		return t, nil
	})
	return c, err
}

// AddTags gives a trail tags; those with a key that is there already get another value.
func (b *Book) AddTags(w Where, arn string, tags []tag.Tag) (*Change, error) {
	tags = tag.Sorted(tags)
	if err := tag.Check(tags); err != nil {
		return nil, refuse(codeTag, "%s", refusal.Sentence(err.Error()))
	}
	return b.retag(w, arn, func(had []tag.Tag) ([]tag.Tag, error) {
		all := tag.Add(had, tags)
		if len(all) > tag.Max {
			return nil, tooManyTags(len(all))
		}
		return all, nil
	})
}

// RemoveTags removes tags by their keys. Keys that are not there change nothing.
func (b *Book) RemoveTags(w Where, arn string, keys []string) (*Change, error) {
	return b.retag(w, arn, func(had []tag.Tag) ([]tag.Tag, error) { return tag.Without(had, keys), nil })
}
