package trail

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"spoor/internal/policy"
	"spoor/internal/refusal"
)

// The types of Insight events, the categories they are about, and the templates of aggregations.
const (
	CallRate  = "ApiCallRateInsight"
	ErrorRate = "ApiErrorRateInsight"

	management = "Management"
	data       = "Data"
)

// MaxPolicy is how long the policy of an event data store or channel is at most, in bytes.
const MaxPolicy = 8192

// MaxDelegates is how many delegated administrators an organisation has for CloudTrail.
const MaxDelegates = 3

// InsightSelector selects Insight events. Nothing is computed for it yet.
type InsightSelector struct {
	Type       string   `json:"type"`
	Categories []string `json:"categories,omitempty"` // Management, Data; without any, Management
}

// Aggregation asks for aggregated events. Nothing is computed for it yet.
type Aggregation struct {
	Category  string   `json:"category"`
	Templates []string `json:"templates"`
}

// StoreEvents is the event configuration of an event data store. Nothing is done for it yet.
type StoreEvents struct {
	Large    bool          `json:"large,omitempty"`
	Contexts []ContextKeys `json:"contexts,omitempty"`
}

// ContextKeys are keys of tags or of conditions that events are to be enriched with.
type ContextKeys struct {
	Type string   `json:"type"`
	Keys []string `json:"keys"`
}

// Delegate is a delegated administrator for CloudTrail.
type Delegate struct {
	Account string    `json:"account"`
	Since   time.Time `json:"since"`
}

// categories are those that a selector is about.
func (s InsightSelector) categories() []string {
	if len(s.Categories) == 0 {
		return []string{management}
	}
	return s.Categories
}

func distinct[T any](all []T, key func(T) string) bool {
	seen := map[string]bool{}
	for _, v := range all {
		if seen[key(v)] {
			return false
		}
		seen[key(v)] = true
	}
	return true
}

func itself(s string) string { return s }

// checkInsights checks the form of Insight selectors.
func checkInsights(selectors []InsightSelector) error {
	if !distinct(selectors, func(s InsightSelector) string { return s.Type }) {
		return refuse(codeInsights, "A type of Insight events is there twice.")
	}
	for _, s := range selectors {
		if s.Type != CallRate && s.Type != ErrorRate {
			return refuse(codeInsights, "%.80q is no type of Insight events.", s.Type)
		}
		for _, c := range s.Categories {
			if c != management && c != data {
				return refuse(codeInsights, "%.80q is no category that Insight events are about.", c)
			}
		}
		if !distinct(s.Categories, itself) {
			return refuse(codeInsights, "A category of %s is there twice.", s.Type)
		}
	}
	return nil
}

// logged refuses Insight selectors for events that are not logged.
func logged(selectors []InsightSelector, l Logs) error {
	for _, s := range selectors {
		for _, c := range s.categories() {
			switch {
			case c == data && !l.Data:
				return refuse(codeInsights, "%s for data events needs data events to be logged.", s.Type)
			case c == management && s.Type == CallRate && !l.ManagementWrite:
				return refuse(codeInsights, "%s needs write management events to be logged.", s.Type)
			case c == management && !l.ManagementRead && !l.ManagementWrite:
				return refuse(codeInsights, "%s needs read or write management events to be logged.", s.Type)
			}
		}
	}
	return nil
}

// PutInsights replaces the Insight selectors of a trail.
func (b *Book) PutInsights(w Where, ref string, selectors []InsightSelector) (Info, *Change, error) {
	return b.edit(w, ref, "", func(_ *file, t *entry, _ time.Time) error {
		if err := checkInsights(selectors); err != nil {
			return err
		}
		if err := logged(selectors, t.settings().Logs()); err != nil {
			return err
		}
		t.Insights = selectors
		return nil
	})
}

var templates = []string{"API_ACTIVITY", "RESOURCE_ACCESS", "USER_ACTIONS"}

// checkAggregations checks the form of aggregations.
func checkAggregations(all []Aggregation) error {
	if len(all) > 1 {
		return refuse(codeParameter, "There are %d aggregation configurations; at most one is allowed.", len(all))
	}
	for _, a := range all {
		if a.Category != data {
			return refuse(codeParameter, "%.80q is no category that is aggregated: only Data is.", a.Category)
		}
		if len(a.Templates) == 0 || !distinct(a.Templates, itself) || slices.ContainsFunc(a.Templates, func(t string) bool { return !slices.Contains(templates, t) }) {
			return refuse(codeParameter, "The templates of an aggregation are some of %s, once each.", strings.Join(templates, ", "))
		}
	}
	return nil
}

// PutAggregations replaces the aggregations of a trail.
func (b *Book) PutAggregations(w Where, ref string, all []Aggregation) (Info, *Change, error) {
	return b.edit(w, ref, "", func(_ *file, t *entry, _ time.Time) error {
		if err := checkAggregations(all); err != nil {
			return err
		}
		if len(all) > 0 && !t.settings().Logs().Data {
			return refuse(codeCombination, "Aggregation needs data events to be logged by the trail.")
		}
		t.Aggregations = all
		return nil
	})
}

const (
	tagContext     = "TagContext"
	requestContext = "RequestContext"
	maxContextKeys = 50
	maxContextKey  = 128
)

// check checks an event configuration.
func (e StoreEvents) check() error {
	if len(e.Contexts) > 0 && !e.Large {
		return refuse(codeCombination, "ContextKeySelectors need MaxEventSize Large.")
	}
	if !distinct(e.Contexts, func(c ContextKeys) string { return c.Type }) {
		return refuse(codeParameter, "A type of ContextKeySelectors is there twice.")
	}
	for _, c := range e.Contexts {
		if c.Type != tagContext && c.Type != requestContext {
			return refuse(codeParameter, "%.80q is none of %s, %s.", c.Type, tagContext, requestContext)
		}
		if n := len(c.Keys); n == 0 || n > maxContextKeys || !distinct(c.Keys, itself) {
			return refuse(codeParameter, "%s has 1 to %d keys, once each.", c.Type, maxContextKeys)
		}
		for _, k := range c.Keys {
			if n := utf8.RuneCountInString(k); n == 0 || n > maxContextKey || !utf8.ValidString(k) {
				return refuse(codeParameter, "A key of %s has 1 to %d characters.", c.Type, maxContextKey)
			}
			if c.Type == requestContext && !strings.HasPrefix(k, "aws:") {
				return refuse(codeParameter, "%.128q is not one of IAM's global condition keys.", k)
			}
		}
	}
	return nil
}

// resourceAt is the place of an ARN among the resources.
func (f *file) resourceAt(arn string) (int, bool) {
	return slices.BinarySearchFunc(f.Resources, arn, func(r resource, arn string) int { return strings.Compare(r.ARN, arn) })
}

func (f *file) resource(arn string) resource {
	if at, ok := f.resourceAt(arn); ok {
		return f.Resources[at]
	}
	return resource{ARN: arn}
}

// keep changes what is kept for an event data store or channel.
func (b *Book) keep(arn string, fn func(r *resource) error) (*Change, error) {
	_, c, err := change(b, "", func(f *file, _ time.Time) (struct{}, error) {
		r := f.resource(arn)
		if err := fn(&r); err != nil {
			return struct{}{}, err
		}
		at, had := f.resourceAt(arn)
		switch {
		case had && r.empty():
			f.Resources = slices.Delete(f.Resources, at, at+1)
		case had:
			f.Resources[at] = r
		case len(f.Resources) >= maxResources:
			return struct{}{}, refuse(codeConflict, "As much is kept for %d event data stores and channels as can be.", maxResources)
		case !r.empty():
			f.Resources = slices.Insert(f.Resources, at, r)
		}
		return struct{}{}, nil
	})
	return c, err
}

// PutStoreInsights replaces the Insight selectors of an event data store, and the store that they go to. logs are the events that
// it logs.
func (b *Book) PutStoreInsights(arn, destination string, selectors []InsightSelector, logs Logs) (*Change, error) {
	if err := checkInsights(selectors); err != nil {
		return nil, err
	}
	for _, s := range selectors {
		if slices.Contains(s.Categories, data) {
			return nil, refuse(codeInsights, "Insight events of event data stores are about management events alone.")
		}
	}
	if err := logged(selectors, logs); err != nil {
		return nil, err
	}
	return b.keep(arn, func(r *resource) error {
		if r.Insights, r.Destination = selectors, destination; len(selectors) == 0 {
			r.Insights, r.Destination = nil, ""
		}
		return nil
	})
}

// StoreInsights gives the Insight selectors of an event data store, none where Insights are off, and where they go.
func (b *Book) StoreInsights(arn string) (selectors []InsightSelector, destination string) {
	r := b.file.Get().resource(arn)
	return r.Insights, r.Destination
}

// PutStoreEvents replaces the event configuration of an event data store.
func (b *Book) PutStoreEvents(arn string, e StoreEvents) (*Change, error) {
	if err := e.check(); err != nil {
		return nil, err
	}
	return b.keep(arn, func(r *resource) error {
		if r.Events = nil; e.Large {
			r.Events = &e
		}
		return nil
	})
}

// StoreEvents gives the event configuration of an event data store.
func (b *Book) StoreEvents(arn string) StoreEvents {
	if e := b.file.Get().resource(arn).Events; e != nil {
		return *e
	}
	return StoreEvents{}
}

// PutPolicy replaces the policy of an event data store or channel. Whether the resource is there, the caller knows.
func (b *Book) PutPolicy(arn, text string) (*Change, error) {
	if len(text) > MaxPolicy {
		return nil, refuse(codePolicy, "The policy has %d bytes; at most %d are allowed.", len(text), MaxPolicy)
	}
	doc, err := policy.Parse("cloudtrail", []byte(text))
	if err != nil {
		return nil, refuse(codePolicy, "%s", refusal.Sentence(err.Error()))
	}
	return b.keep(arn, func(r *resource) error {
		r.Policy, r.parsed = text, doc
		return nil
	})
}

// DeletePolicy removes the policy of an event data store or channel.
func (b *Book) DeletePolicy(arn string) (*Change, error) {
	return b.keep(arn, func(r *resource) error {
		if r.Policy == "" {
			return noPolicy(arn)
		}
		r.Policy, r.parsed = "", nil
		return nil
	})
}

func noPolicy(arn string) error {
	return refuse(codePolicyNotFound, "The resource %s has no policy.", arn)
}

// PolicyText gives the policy of an event data store or channel as it was put.
func (b *Book) PolicyText(arn string) (string, error) {
	if r := b.file.Get().resource(arn); r.Policy != "" {
		return r.Policy, nil
	}
	return "", noPolicy(arn)
}

// Policy gives the policy of an event data store or channel, nil for none.
func (b *Book) Policy(arn string) *policy.Document { return b.file.Get().resource(arn).parsed }

// Forget drops all that is kept for an event data store or channel, which was deleted.
func (b *Book) Forget(arn string) (*Change, error) {
	return b.keep(arn, func(r *resource) error { *r = resource{ARN: arn}; return nil })
}

// delegate reports whether an account is a delegated administrator.
func (f *file) delegate(o Organization, account string) bool {
	return slices.Contains(o.Accounts, account) && slices.ContainsFunc(f.Delegates, func(d Delegate) bool { return d.Account == account })
}

// Delegates are the delegated administrators of the organisation, in the order in which they were made.
func (b *Book) Delegates() (out []Delegate) {
	f, o := b.file.Get(), b.organization()
	for _, d := range f.Delegates {
		if f.delegate(o, d.Account) {
			out = append(out, d)
		}
	}
	return out
}

// checkManagement refuses accounts that do not manage the organisation.
func (o Organization) checkManagement(account string) error {
	switch {
	case o.ID == "" || !slices.Contains(o.Accounts, account):
		return refuse(codeNoOrganization, "The account %s is not in an organization.", account)
	case o.Management != account:
		return refuse(codeNotManagement, "The account %s is not the management account of the organization.", account)
	}
	return nil
}

// Register makes a member of the organisation a delegated administrator for CloudTrail.
func (b *Book) Register(w Where, account string) (*Change, error) {
	o := b.organization()
	_, c, err := change(b, "", func(f *file, now time.Time) (struct{}, error) {
		if err := o.checkManagement(w.Account); err != nil {
			return struct{}{}, err
		}
		f.Delegates = slices.DeleteFunc(f.Delegates, func(d Delegate) bool { return !slices.Contains(o.Accounts, d.Account) }) // who left
		switch {
		case account == o.Management:
			return struct{}{}, refuse(codeDelegateManager, "The management account cannot be a delegated administrator.")
		case !slices.Contains(o.Accounts, account):
			return struct{}{}, refuse(codeDelegateAccount, "The account %s is not a member of the organization.", account)
		case f.delegate(o, account):
			return struct{}{}, refuse(codeDelegateExists, "The account %s is a delegated administrator already.", account)
		case len(f.Delegates) >= MaxDelegates:
			return struct{}{}, refuse(codeDelegateLimit, "The organization has %d delegated administrators for CloudTrail, as many as it may.", MaxDelegates)
		}
		f.Delegates = append(f.Delegates, Delegate{account, now})
		return struct{}{}, nil
	})
	return c, err
}

// Deregister takes it back. Trails of the organisation that the account made stay.
func (b *Book) Deregister(w Where, account string) (*Change, error) {
	o := b.organization()
	_, c, err := change(b, "", func(f *file, _ time.Time) (struct{}, error) {
		if err := o.checkManagement(w.Account); err != nil {
			return struct{}{}, err
		}
		if !slices.Contains(o.Accounts, account) {
			return struct{}{}, refuse(codeDelegateAccount, "The account %s is not a member of the organization.", account)
		}
		at := slices.IndexFunc(f.Delegates, func(d Delegate) bool { return d.Account == account })
		if at < 0 {
			return struct{}{}, refuse(codeDelegateMissing, "The account %s is not a delegated administrator.", account)
		}
		f.Delegates = slices.Delete(f.Delegates, at, at+1)
		return struct{}{}, nil
	})
	return c, err
}
