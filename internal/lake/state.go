package lake

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"spoor/internal/durable"
	"spoor/internal/pagetoken"
	"spoor/internal/selector"
	"spoor/internal/tag"
)

const (
	stateFormat  = "spoor-lake"
	stateVersion = 1
	maxState     = 64 << 20
)

// file is the content of the state file.
type file struct {
	Format   string           `json:"format"`
	Version  int              `json:"version"`
	Written  time.Time        `json:"written"`
	Made     time.Time        `json:"made"`   // when the state began
	Key      pagetoken.Key    `json:"key"`    // of the tokens of lists
	Stores   []EventDataStore `json:"stores"` // in the order in which they were made
	Channels []Channel        `json:"channels"`
}

func newState(now time.Time) *file {
	return &file{Format: stateFormat, Version: stateVersion, Made: now, Key: pagetoken.NewKey(), Stores: []EventDataStore{}, Channels: []Channel{}}
}

// clone copies what changes change: stores and channels are replaced as wholes.
func (f *file) clone() *file {
	c := *f
	c.Stores, c.Channels = slices.Clone(f.Stores), slices.Clone(f.Channels)
	return &c
}

// purge removes stores whose time to be restored is over.
func (f *file) purge(now time.Time) {
	f.Stores = slices.DeleteFunc(f.Stores, func(s EventDataStore) bool { return s.gone(now) })
}

// document is the form of the state file.
func document() durable.Document {
	return durable.Document{What: "the lake", Format: stateFormat, Version: stateVersion, Most: maxState, Damaged: ErrDamaged, Newer: ErrNewer}
}

// decodeState reads a state file.
func decodeState(b []byte) (*file, error) {
	f := &file{}
	if err := document().Decode(b, f); err != nil {
		return nil, err
	}
	if f.Version < 1 || len(f.Key) != pagetoken.KeySize {
		return nil, fmt.Errorf("%w: version %d, key of %d bytes", ErrDamaged, f.Version, len(f.Key))
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return f, nil
}

// encode gives the text of a state file.
func (f *file) encode() ([]byte, error) {
	b, err := json.MarshalIndent(f, "", " ")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// check holds what every state has in common.
func (f *file) check() error {
	type place struct{ account, region, name string }
	ids, names, sources := map[string]bool{}, map[place]bool{}, map[place]bool{}
	stores := map[string]*EventDataStore{}
	for i := range f.Stores {
		s := &f.Stores[i]
		if !uuidForm.MatchString(s.ID) || ids[s.ID] || s.ID == BuiltInID(s.Account) || !accountForm.MatchString(s.Account) || !regionForm.MatchString(s.Region) {
			return fmt.Errorf("event data store %.40q: id, account or Region", s.ID)
		}
		at := place{s.Account, s.Region, s.Name}
		if !nameForm.MatchString(s.Name) || names[at] || s.Name == BuiltIn {
			return fmt.Errorf("event data store %s: name %.40q", s.ID, s.Name)
		}
		ids[s.ID], names[at], stores[s.ID] = true, true, s
		if err := selector.CheckAdvanced(selector.DataStore, s.Selectors); err != nil {
			return fmt.Errorf("event data store %s: %w", s.ID, err)
		}
		if err := checkRetention(s.Billing, s.Retention); err != nil {
			return fmt.Errorf("event data store %s: %w", s.ID, err)
		}
		if err := tag.Check(s.Tags); err != nil {
			return fmt.Errorf("event data store %s: %w", s.ID, err)
		}
		open := false
		for k, p := range s.Spans {
			if open || k > 0 && p.From.Before(s.Spans[k-1].Until) || !p.Until.IsZero() && p.Until.Before(p.From) {
				return fmt.Errorf("event data store %s: times of ingestion are not in order", s.ID)
			}
			open = p.Until.IsZero()
		}
		if open != (s.Status == Enabled) || len(s.Spans) > maxSpans {
			return fmt.Errorf("event data store %s: status %.40q, and ingestion is on: %t", s.ID, s.Status, open)
		}
		switch s.Status {
		case Enabled, StoppedIngestion:
			if !s.Deleted.IsZero() || s.Was != "" {
				return fmt.Errorf("event data store %s: deleted, with status %s", s.ID, s.Status)
			}
		case PendingDeletion:
			if s.Deleted.IsZero() || s.Was != Enabled && s.Was != StoppedIngestion || s.Protected {
				return fmt.Errorf("event data store %s: the deletion is pending without a time, of one that was %.40q", s.ID, s.Was)
			}
		default:
			return fmt.Errorf("event data store %s: status %.40q", s.ID, s.Status)
		}
	}
	clear(names)
	for i := range f.Channels {
		c := &f.Channels[i]
		if !uuidForm.MatchString(c.ID) || ids[c.ID] || !accountForm.MatchString(c.Account) || !regionForm.MatchString(c.Region) {
			return fmt.Errorf("channel %.40q: id, account or Region", c.ID)
		}
		at, from := place{c.Account, c.Region, c.Name}, place{c.Account, c.Region, c.Source}
		if !nameForm.MatchString(c.Name) || names[at] || !sourceForm.MatchString(c.Source) || sources[from] {
			return fmt.Errorf("channel %s: name %.40q or source %.40q", c.ID, c.Name, c.Source)
		}
		ids[c.ID], names[at], sources[from] = true, true, true
		if len(c.Destinations) == 0 || len(c.Destinations) > MaxStores || !slices.IsSorted(c.Destinations) || len(slices.Compact(slices.Clone(c.Destinations))) != len(c.Destinations) {
			return fmt.Errorf("channel %s: its destinations are not in order", c.ID)
		}
		for _, d := range c.Destinations {
			if s := stores[d]; s == nil || !audit(s.Selectors) || s.Status == PendingDeletion || s.Account != c.Account || s.Region != c.Region {
				return fmt.Errorf("channel %s: destination %.40q", c.ID, d)
			}
		}
		if err := tag.Check(c.Tags); err != nil {
			return fmt.Errorf("channel %s: %w", c.ID, err)
		}
	}
	return nil
}
