package lake

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"spoor/internal/refusal"
	"spoor/internal/selector"
	"spoor/internal/tag"
)

// Retention, in days.
const (
	minRetention      = 7
	maxExtendable     = 3653
	maxFixed          = 2557
	defaultExtendable = 366
	defaultFixed      = 2557
)

// EventDataStore is what there is to know about a store.
type EventDataStore struct {
	ID           string              `json:"id"` // a UUID
	Account      string              `json:"account"`
	Region       string              `json:"region"`
	Name         string              `json:"name"`
	Selectors    []selector.Advanced `json:"selectors"` // none of the built-in one, which has everything
	MultiRegion  bool                `json:"multiRegion"`
	Organization bool                `json:"organization"`
	Retention    int                 `json:"retention"` // days
	Billing      BillingMode         `json:"billing"`
	Protected    bool                `json:"protected"`          // it cannot be deleted
	KMSKeyID     string              `json:"kmsKeyId,omitempty"` // none: there is no key service yet
	Status       Status              `json:"status"`
	Created      time.Time           `json:"created"`
	Updated      time.Time           `json:"updated"`
	Deleted      time.Time           `json:"deleted,omitzero"` // when its deletion was asked for
	Was          Status              `json:"was,omitempty"`    // the status before that
	Spans        []Span              `json:"spans,omitempty"`  // when ingestion was on; the last one is open while it is
	Tags         []Tag               `json:"tags,omitempty"`   // by key
}

// Span is a time from From up to Until, which is zero while it goes on.
type Span struct {
	From  time.Time `json:"from"`
	Until time.Time `json:"until,omitzero"`
}

// gone reports whether the store can no longer be restored.
func (s EventDataStore) gone(now time.Time) bool {
	return s.Status == PendingDeletion && now.Sub(s.Deleted) >= PendingFor
}

// Audit reports whether the store is for outside events.
func (s EventDataStore) Audit() bool { return audit(s.Selectors) }

// on begins ingestion, off ends it. What lies beyond any retention is forgotten. A clock that went back changes no order.
func (s *EventDataStore) on(now time.Time) {
	s.Spans = slices.DeleteFunc(slices.Clone(s.Spans), func(p Span) bool { return now.Sub(p.Until) > maxExtendable*24*time.Hour })
	if n := len(s.Spans); n > 0 && now.Before(s.Spans[n-1].Until) {
		now = s.Spans[n-1].Until
	}
	s.Spans = append(s.Spans, Span{From: now})
	s.Status = Enabled
}

func (s *EventDataStore) off(now time.Time, status Status) {
	s.Spans = slices.Clone(s.Spans)
	if n := len(s.Spans); n > 0 && s.Spans[n-1].Until.IsZero() {
		if s.Spans[n-1].Until = now; !s.Spans[n-1].From.Before(now) {
			s.Spans = s.Spans[:n-1]
		}
	}
	s.Status = status
}

// StoreSpec says what store to make. Nil and zero members have CloudTrail's defaults.
type StoreSpec struct {
	Name           string
	Selectors      []selector.Advanced // default management events
	MultiRegion    *bool               // default true
	Organization   bool
	Retention      int // days; default by billing mode
	Protected      *bool
	Tags           []Tag
	KMSKeyID       string
	StartIngestion *bool       // default true
	Billing        BillingMode // default [Extendable]
}

// StoreChange says what to change of a store; nil members stay as they are.
type StoreChange struct {
	Name         *string
	Selectors    []selector.Advanced
	MultiRegion  *bool
	Organization *bool
	Retention    *int
	Protected    *bool
	KMSKeyID     *string
	Billing      *BillingMode
}

// Codes of CloudTrail's exceptions.
const (
	codeStoreNotFound   = "EventDataStoreNotFoundException"
	codeStoreARN        = "EventDataStoreARNInvalidException"
	codeStoreExists     = "EventDataStoreAlreadyExistsException"
	codeStoreLimit      = "EventDataStoreMaxLimitExceededException"
	codeProtected       = "EventDataStoreTerminationProtectedException"
	codeInactive        = "InactiveEventDataStoreException"
	codeStatus          = "InvalidEventDataStoreStatusException"
	codeCategory        = "InvalidEventDataStoreCategoryException"
	codeSelectors       = "InvalidEventSelectorsException"
	codeParameter       = "InvalidParameterException"
	codeNotPermitted    = "OperationNotPermittedException"
	codeKMS             = "KmsException"
	codeNotManagement   = "NotOrganizationMasterAccountException"
	codeNoOrganization  = "OrganizationsNotInUseException"
	codeHasChannels     = "ChannelExistsForEDSException"
	codeNextToken       = "InvalidNextTokenException"
	codeTag             = "InvalidTagParameterException"
	codeTagLimit        = "TagsLimitExceededException"
	codeChannelNotFound = "ChannelNotFoundException"
	codeChannelARN      = "ChannelARNInvalidException"
	codeChannelExists   = "ChannelAlreadyExistsException"
	codeChannelLimit    = "ChannelMaxLimitExceededException"
	codeSource          = "InvalidSourceException"
)

func checkRetention(billing BillingMode, days int) error {
	most := maxExtendable
	switch billing {
	case Extendable:
	case Fixed:
		most = maxFixed
	default:
		return fmt.Errorf("%.60q is no billing mode", billing)
	}
	if days < minRetention || days > most {
		return fmt.Errorf("a retention of %d days is not from %d to %d, as %s has it", days, minRetention, most, billing)
	}
	return nil
}

// checkKey refuses keys: nothing would be encrypted with them.
func checkKey(id string) error {
	if id != "" {
		return refuse(codeKMS, "No key service is configured, so that nothing could be encrypted with the key: leave KmsKeyId out. The files of the store are as the disk below them is.")
	}
	return nil
}

func (l *Lake) checkOrganization(w Where) error {
	switch {
	case l.o.Management == "":
		return refuse(codeNoOrganization, "No organization is configured.")
	case w.Account != l.o.Management:
		return refuse(codeNotManagement, "Account %s does not manage the organization; %s does.", w.Account, l.o.Management)
	}
	return nil
}

func checkSelectors(s []selector.Advanced) error {
	err := selector.CheckAdvanced(selector.DataStore, s)
	if bad, ok := errors.AsType[*selector.Error](err); ok {
		return refuse(codeSelectors, "%s", refusal.Sentence(bad.Error()))
	}
	return err
}

// CreateStore makes a store. The answer has status [Created]; from then on it is what StartIngestion says.
func (l *Lake) CreateStore(w Where, spec StoreSpec) (EventDataStore, Undo, error) {
	none := EventDataStore{}
	s := EventDataStore{
		ID: uuid.NewString(), Account: w.Account, Region: w.Region, Name: spec.Name, Selectors: spec.Selectors, MultiRegion: or(spec.MultiRegion, true),
		Organization: spec.Organization, Retention: spec.Retention, Billing: spec.Billing, Protected: or(spec.Protected, true), Tags: tag.Sorted(spec.Tags),
	}
	if s.Billing == "" {
		s.Billing = Extendable
	}
	if s.Retention == 0 {
		s.Retention = map[BillingMode]int{Extendable: defaultExtendable, Fixed: defaultFixed}[s.Billing]
	}
	if len(s.Selectors) == 0 {
		s.Selectors = selector.Default()
	}
	if !nameForm.MatchString(s.Name) {
		return none, nil, refuse(codeParameter, "The name has to have 3 to 128 letters, digits, and characters of ._-.")
	}
	if err := checkSelectors(s.Selectors); err != nil {
		return none, nil, err
	}
	if err := checkRetention(s.Billing, s.Retention); err != nil {
		return none, nil, refuse(codeParameter, "%s", refusal.Sentence(err.Error()))
	}
	if err := tag.Check(s.Tags); err != nil {
		return none, nil, refuse(codeTag, "%s", refusal.Sentence(err.Error()))
	}
	if err := checkKey(spec.KMSKeyID); err != nil {
		return none, nil, err
	}
	if s.Organization {
		if err := l.checkOrganization(w); err != nil {
			return none, nil, err
		}
	}
	start := or(spec.StartIngestion, true)
	if !start && !stoppable(s) {
		return none, nil, refuse(codeParameter, "StartIngestion cannot be false for the category %s.", selector.Categories(s.Selectors)[0])
	}
	var made EventDataStore
	undo, err := l.change(func(f *file, now time.Time) error {
		s := s
		s.Created, s.Updated = now, now
		if s.Status = StoppedIngestion; start {
			s.on(now)
		}
		n := 0
		for _, o := range f.Stores {
			if o.Account == w.Account && o.Region == w.Region {
				n++
			}
		}
		if err := f.nameFree(w, s.Name, ""); err != nil {
			return err
		}
		if n >= MaxStores {
			return refuse(codeStoreLimit, "The account %s has %d event data stores in %s, as many as it may; those whose deletion is pending count.", w.Account, n, w.Region)
		}
		f.Stores = append(f.Stores, s)
		made = s
		return nil
	})
	made.Status = Created
	return made, undo, err
}

func (f *file) nameFree(w Where, name, but string) error {
	if name == BuiltIn || slices.ContainsFunc(f.Stores, func(s EventDataStore) bool {
		return s.Name == name && s.Account == w.Account && s.Region == w.Region && s.ID != but
	}) {
		return refuse(codeStoreExists, "An event data store with the name %s exists already in the account %s and the Region %s.", name, w.Account, w.Region)
	}
	return nil
}

// trailCategories reports whether a store has events of trails, and not those of another kind alone.
func trailCategories(categories []string) bool {
	return !slices.ContainsFunc(categories, func(c string) bool {
		return c != selector.Management && c != selector.Data && c != selector.NetworkActivity
	})
}

// stoppable reports whether the ingestion of a store can be off.
func stoppable(s EventDataStore) bool {
	c := selector.Categories(s.Selectors)
	return trailCategories(c) || slices.Equal(c, []string{selector.ConfigurationItem})
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}

// storeID gives the id that an ARN or id names. There need be no such store.
func (l *Lake) storeID(w Where, ref string) (string, error) {
	id, here, ok := l.ref(w, storeKind, ref)
	switch {
	case !ok:
		return "", refuse(codeStoreARN, "%.256s is neither the ARN nor the id of an event data store.", ref)
	case !here:
		return "", refuse(codeStoreNotFound, "The event data store %.256s was not found.", ref)
	}
	return id, nil
}

// store finds a store that is not the built-in one.
func (f *file) store(w Where, id string) (int, error) {
	i := slices.IndexFunc(f.Stores, func(s EventDataStore) bool { return s.ID == id && s.Account == w.Account && s.Region == w.Region })
	if i < 0 {
		return 0, refuse(codeStoreNotFound, "The event data store %s was not found.", id)
	}
	return i, nil
}

// Store gives a store by its ARN or id.
func (l *Lake) Store(w Where, ref string) (EventDataStore, error) {
	id, err := l.storeID(w, ref)
	if err != nil {
		return EventDataStore{}, err
	}
	if id == BuiltInID(w.Account) {
		return l.builtIn(w), nil
	}
	f := l.state()
	i, err := f.store(w, id)
	if err != nil {
		return EventDataStore{}, err
	}
	return f.Stores[i], nil
}

// StoreARN is the ARN of a store.
func (l *Lake) StoreARN(s EventDataStore) string {
	return l.arn(Where{s.Account, s.Region}, storeKind, s.ID)
}

// Stores lists a page of the stores of an account in a Region, in the order in which they were made, the built-in one first.
// token is that of the page before, or empty; next is empty behind the last page.
func (l *Lake) Stores(w Where, token string, most int) (page []EventDataStore, next string, err error) {
	f := l.state()
	all := []EventDataStore{l.builtIn(w)}
	for _, s := range f.Stores {
		if s.Account == w.Account && s.Region == w.Region {
			all = append(all, s)
		}
	}
	return paged(f, w, storeKind, token, most, all, func(s EventDataStore) (time.Time, string) {
		if s.Name == BuiltIn {
			return time.Time{}, s.ID
		}
		return s.Created, s.ID
	})
}

// changeStore changes a store that is there and not the built-in one.
func (l *Lake) changeStore(w Where, ref string, fn func(f *file, s *EventDataStore, now time.Time) error) (changed EventDataStore, _ Undo, _ error) {
	id, err := l.storeID(w, ref)
	if err != nil {
		return changed, nil, err
	}
	if id == BuiltInID(w.Account) {
		return changed, nil, refuse(codeNotPermitted, "The event data store %s is always there, and cannot be changed or deleted.", BuiltIn)
	}
	undo, err := l.change(func(f *file, now time.Time) error {
		i, err := f.store(w, id)
		if err != nil {
			return err
		}
		s := f.Stores[i]
		if err := fn(f, &s, now); err != nil {
			return err
		}
		if len(s.Spans) > maxSpans {
			return refuse(codeNotPermitted, "Ingestion of the event data store was started more than %d times.", maxSpans)
		}
		f.Stores[i], changed = s, s
		return nil
	})
	return changed, undo, err
}

// active refuses a store whose deletion is pending.
func (s *EventDataStore) active() error {
	if s.Status == PendingDeletion {
		return refuse(codeInactive, "The deletion of the event data store %s is pending.", s.ID)
	}
	return nil
}

// UpdateStore changes a store.
func (l *Lake) UpdateStore(w Where, ref string, c StoreChange) (EventDataStore, Undo, error) {
	return l.changeStore(w, ref, func(f *file, s *EventDataStore, now time.Time) error {
		if err := s.active(); err != nil {
			return err
		}
		if c.Name == nil && c.Selectors == nil && c.MultiRegion == nil && c.Organization == nil && c.Retention == nil && c.Protected == nil && c.KMSKeyID == nil && c.Billing == nil {
			return refuse(codeParameter, "There is nothing to change: at least one optional parameter is needed.")
		}
		if c.Name != nil {
			if !nameForm.MatchString(*c.Name) {
				return refuse(codeParameter, "The name has to have 3 to 128 letters, digits, and characters of ._-.")
			}
			if err := f.nameFree(w, *c.Name, s.ID); err != nil {
				return err
			}
			s.Name = *c.Name
		}
		if c.Selectors != nil {
			if err := checkSelectors(c.Selectors); err != nil {
				return err
			}
			had, next := selector.Categories(s.Selectors), selector.Categories(c.Selectors)
			if (!trailCategories(had) || !trailCategories(next)) && !slices.Equal(had, next) {
				return refuse(codeSelectors, "An event data store for the category %s cannot become one for %s.", strings.Join(had, ", "), strings.Join(next, ", "))
			}
			s.Selectors = c.Selectors
		}
		if c.KMSKeyID != nil {
			if err := checkKey(*c.KMSKeyID); err != nil {
				return err
			}
		}
		if c.Organization != nil && *c.Organization != s.Organization {
			if err := l.checkOrganization(w); err != nil {
				return err
			}
			s.Organization = *c.Organization
		}
		s.MultiRegion, s.Protected = or(c.MultiRegion, s.MultiRegion), or(c.Protected, s.Protected)
		if c.Billing != nil {
			if s.Billing == Extendable && *c.Billing == Fixed {
				return refuse(codeParameter, "The billing mode cannot be changed from %s to %s.", Extendable, Fixed)
			}
			s.Billing = *c.Billing
		}
		s.Retention = or(c.Retention, s.Retention)
		if err := checkRetention(s.Billing, s.Retention); err != nil {
			return refuse(codeParameter, "%s", refusal.Sentence(err.Error()))
		}
		s.Updated = now
		return nil
	})
}

// DeleteStore puts a store into [PendingDeletion], from which it can be restored for [PendingFor]. No event is deleted.
func (l *Lake) DeleteStore(w Where, ref string) (EventDataStore, Undo, error) {
	return l.changeStore(w, ref, func(f *file, s *EventDataStore, now time.Time) error {
		if err := s.active(); err != nil {
			return err
		}
		if s.Protected {
			return refuse(codeProtected, "Termination protection is on for the event data store %s: it cannot be deleted.", s.ID)
		}
		if i := slices.IndexFunc(f.Channels, func(c Channel) bool { return slices.Contains(c.Destinations, s.ID) }); i >= 0 {
			return refuse(codeHasChannels, "The event data store %s is the destination of the channel %s.", s.ID, f.Channels[i].Name)
		}
		s.Was, s.Deleted, s.Updated = s.Status, now, now
		s.off(now, PendingDeletion)
		return nil
	})
}

// RestoreStore takes a deletion back. What happened meanwhile is not in the store.
func (l *Lake) RestoreStore(w Where, ref string) (EventDataStore, Undo, error) {
	return l.changeStore(w, ref, func(_ *file, s *EventDataStore, now time.Time) error {
		if s.Status != PendingDeletion {
			return refuse(codeStatus, "The event data store %s has the status %s; only one whose deletion is pending can be restored.", s.ID, s.Status)
		}
		if s.Status = s.Was; s.Was == Enabled {
			s.on(now)
		}
		s.Was, s.Deleted, s.Updated = "", time.Time{}, now
		return nil
	})
}

// SetIngestion starts or stops ingestion. What happens while it is off is not in the store.
func (l *Lake) SetIngestion(w Where, ref string, on bool) (EventDataStore, Undo, error) {
	return l.changeStore(w, ref, func(_ *file, s *EventDataStore, now time.Time) error {
		need := map[bool]Status{true: StoppedIngestion, false: Enabled}[on]
		if s.Status != need {
			return refuse(codeStatus, "The event data store %s has the status %s, not %s.", s.ID, s.Status, need)
		}
		if !stoppable(*s) {
			return refuse(codeCategory, "Ingestion cannot be started and stopped for the category %s.", selector.Categories(s.Selectors)[0])
		}
		if s.Updated = now; on {
			s.on(now)
		} else {
			s.off(now, StoppedIngestion)
		}
		return nil
	})
}
