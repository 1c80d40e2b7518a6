package trail

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"spoor/internal/durable"
	"spoor/internal/policy"
	"spoor/internal/selector"
	"spoor/internal/tag"
)

const (
	stateFormat  = "spoor-trails"
	stateVersion = 1
	maxState     = 64 << 20
	maxEpochs    = 10_000 // of a trail, that wait for deliveries
	maxResources = 1000   // event data stores and channels with a policy, Insight selectors or a configuration
)

var (
	// ErrLocked says that another process has the folder.
	ErrLocked = errors.New("another process has the trails")
	// ErrDamaged says that a state file is not what was written, ErrNewer that a newer version wrote it.
	ErrDamaged = errors.New("the state of the trails is damaged")
	ErrNewer   = errors.New("the state of the trails was written by a newer version")
	// ErrClosed is returned for changes after Close.
	ErrClosed = errors.New("the trails are closed")
)

// file is the content of the state file.
type file struct {
	Format    string     `json:"format"`
	Version   int        `json:"version"`
	Written   time.Time  `json:"written"`
	Trails    []entry    `json:"trails"` // in the order in which they were made
	Delegates []Delegate `json:"delegates"`
	Resources []resource `json:"resources"` // by ARN

	// settled are the beginnings of epochs, by their ids. Encoded they are in the epochs.
	settled map[string]uint64
}

// entry is a trail.
type entry struct {
	Name           string            `json:"name"`
	Account        string            `json:"account"`
	Region         string            `json:"region"`
	OrganizationID string            `json:"organizationId,omitempty"`
	Created        time.Time         `json:"created"`
	Updated        time.Time         `json:"updated"`
	Started        time.Time         `json:"started,omitzero"` // when logging was last started and stopped
	Stopped        time.Time         `json:"stopped,omitzero"`
	Insights       []InsightSelector `json:"insights,omitempty"`
	Aggregations   []Aggregation     `json:"aggregations,omitempty"`
	Tags           []tag.Tag         `json:"tags,omitempty"` // by key
	Epochs         []epoch           `json:"epochs"`
}

// epoch is settings from a change on.
type epoch struct {
	ID       string    `json:"id"`
	After    *uint64   `json:"after,omitempty"` // in the file alone; none while the call that made it is not known to be recorded
	At       time.Time `json:"at"`
	Settings Settings  `json:"settings"`
	End      bool      `json:"end,omitempty"` // with it the trail was deleted
}

// resource is what is kept for an event data store or a channel.
type resource struct {
	ARN         string            `json:"arn"`
	Policy      string            `json:"policy,omitempty"`
	Insights    []InsightSelector `json:"insights,omitempty"`
	Destination string            `json:"destination,omitempty"` // of Insight events: ARN of an event data store
	Events      *StoreEvents      `json:"events,omitempty"`

	parsed *policy.Document // of Policy
}

func (r *resource) empty() bool { return r.Policy == "" && len(r.Insights) == 0 && r.Events == nil }

// is reports whether the trail is that of an ARN.
func (e *entry) is(account, region, name string) bool {
	return e.Name == name && e.Account == account && e.Region == region
}

// deleted reports whether the trail is there for deliveries alone.
func (e *entry) deleted() bool { return e.Epochs[len(e.Epochs)-1].End }

// settings are the newest.
func (e *entry) settings() Settings { return e.Epochs[len(e.Epochs)-1].Settings }

// clone copies what changes change: trails are replaced as wholes.
func (f *file) clone() *file {
	c := *f
	c.Trails, c.Delegates, c.Resources, c.settled = slices.Clone(f.Trails), slices.Clone(f.Delegates), slices.Clone(f.Resources), maps.Clone(f.settled)
	return &c
}

func newState() *file {
	return &file{Trails: []entry{}, Delegates: []Delegate{}, Resources: []resource{}, settled: map[string]uint64{}}
}

// document is the form of the state file.
func document() durable.Document {
	return durable.Document{What: "the trails", Format: stateFormat, Version: stateVersion, Most: maxState, Damaged: ErrDamaged, Newer: ErrNewer}
}

// decodeState reads a state file.
func decodeState(b []byte) (*file, error) {
	f := &file{}
	if err := document().Decode(b, f); err != nil {
		return nil, err
	}
	if f.Version < 1 {
		return nil, fmt.Errorf("%w: version %d", ErrDamaged, f.Version)
	}
	f.settled = map[string]uint64{}
	for i := range f.Trails {
		last := uint64(0)
		for k := range f.Trails[i].Epochs {
			e := &f.Trails[i].Epochs[k]
			if e.After == nil {
				continue
			}
			if *e.After < last {
				return nil, fmt.Errorf("%w: trail %.140s: its epochs are not in order", ErrDamaged, f.Trails[i].Name)
			}
			last = *e.After
			f.settled[e.ID], e.After = last, nil
		}
	}
	for i := range f.Resources {
		if err := f.Resources[i].parse(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f, nil
}

func (r *resource) parse() (err error) {
	if r.parsed = nil; r.Policy != "" {
		if r.parsed, err = policy.Parse("cloudtrail", []byte(r.Policy)); err != nil {
			return fmt.Errorf("policy of %.140s: %w", r.ARN, err)
		}
	}
	return nil
}

// encode gives the text of a state file.
func (f *file) encode(now time.Time) ([]byte, error) {
	out := *f
	out.Format, out.Version, out.Written = stateFormat, stateVersion, now
	out.Trails = slices.Clone(f.Trails)
	for i := range out.Trails {
		t := &out.Trails[i]
		t.Epochs = slices.Clone(t.Epochs)
		for k := range t.Epochs {
			if after, ok := f.settled[t.Epochs[k].ID]; ok {
				t.Epochs[k].After = &after
			}
		}
	}
	b, err := json.MarshalIndent(out, "", " ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// check holds what every state has in common.
func (f *file) check() error {
	seen, ids := map[string]bool{}, map[string]bool{}
	for i := range f.Trails {
		t := &f.Trails[i]
		id := t.Account + " " + t.Region + " " + t.Name
		if !accountForm.MatchString(t.Account) || !regionForm.MatchString(t.Region) || checkName(t.Name) != nil || seen[id] {
			return fmt.Errorf("trail %.140q of %.12q in %.40q: name, account or Region", t.Name, t.Account, t.Region)
		}
		seen[id] = true
		if len(t.Epochs) == 0 || len(t.Epochs) > maxEpochs+1 { // one more for the end
			return fmt.Errorf("trail %s: it has %d epochs", t.Name, len(t.Epochs))
		}
		for _, e := range t.Epochs {
			if !idForm.MatchString(e.ID) || ids[e.ID] {
				return fmt.Errorf("trail %s: epoch %.40q", t.Name, e.ID)
			}
			ids[e.ID] = true
			if e.End && e.Settings.Logging {
				return fmt.Errorf("trail %s: deleted, and logging", t.Name)
			}
			if err := e.Settings.check(); err != nil {
				return fmt.Errorf("trail %s: %w", t.Name, err)
			}
		}
		s := t.settings()
		if s.Organization != (t.OrganizationID != "") || t.OrganizationID != "" && !organizationForm.MatchString(t.OrganizationID) {
			return fmt.Errorf("trail %s: organisation %.40q", t.Name, t.OrganizationID)
		}
		if err := checkInsights(t.Insights); err != nil {
			return fmt.Errorf("trail %s: %w", t.Name, err)
		}
		if err := checkAggregations(t.Aggregations); err != nil {
			return fmt.Errorf("trail %s: %w", t.Name, err)
		}
		if err := tag.Check(t.Tags); err != nil {
			return fmt.Errorf("trail %s: %w", t.Name, err)
		}
	}
	clear(seen)
	for _, d := range f.Delegates {
		if !accountForm.MatchString(d.Account) || seen[d.Account] {
			return fmt.Errorf("delegated administrator %.40q", d.Account)
		}
		seen[d.Account] = true
	}
	if len(f.Resources) > maxResources {
		return fmt.Errorf("there are %d resources", len(f.Resources))
	}
	for i := range f.Resources {
		r := &f.Resources[i]
		if i > 0 && r.ARN <= f.Resources[i-1].ARN || !resourceForm.MatchString(r.ARN) || r.empty() || len(r.Policy) > MaxPolicy {
			return fmt.Errorf("resource %.140q", r.ARN)
		}
		if err := checkInsights(r.Insights); err != nil {
			return fmt.Errorf("resource %s: %w", r.ARN, err)
		}
		if r.Destination != "" && !resourceForm.MatchString(r.Destination) {
			return fmt.Errorf("resource %s: destination %.140q", r.ARN, r.Destination)
		}
		if r.Events != nil {
			if err := r.Events.check(); err != nil {
				return fmt.Errorf("resource %s: %w", r.ARN, err)
			}
		}
	}
	return nil
}

// check holds what settings of every trail have in common.
func (s Settings) check() error {
	switch {
	case !bucketName(s.Bucket):
		return fmt.Errorf("bucket %.80q", s.Bucket)
	case checkPrefix(s.Prefix) != nil:
		return fmt.Errorf("prefix %.80q", s.Prefix)
	case s.Topic != "" && !anyARN.MatchString(s.Topic):
		return fmt.Errorf("topic %.80q", s.Topic)
	case s.KMSKey != "" && !anyARN.MatchString(s.KMSKey):
		return fmt.Errorf("key %.80q", s.KMSKey)
	case s.MultiRegion && !s.GlobalServiceEvents:
		return errors.New("all Regions, and no global service events")
	case s.Basic != nil && s.Advanced != nil:
		return errors.New("basic and advanced event selectors")
	case s.Basic != nil:
		return selector.CheckBasic(s.Basic)
	case s.Advanced != nil:
		return selector.CheckAdvanced(selector.Trail, s.Advanced)
	}
	return nil
}
