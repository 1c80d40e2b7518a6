package lake

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"spoor/internal/refusal"
	"spoor/internal/selector"
	"spoor/internal/tag"
)

// Channel lets events of another system in.
type Channel struct {
	ID           string    `json:"id"` // a UUID
	Account      string    `json:"account"`
	Region       string    `json:"region"`
	Name         string    `json:"name"`
	Source       string    `json:"source"`       // Custom, or the name of a system; one channel each
	Destinations []string  `json:"destinations"` // ids of stores, sorted
	Created      time.Time `json:"created"`
	Updated      time.Time `json:"updated"`
	Tags         []Tag     `json:"tags,omitempty"` // by key
	// Ingestion is how the last calls went. It is written with changes and by Close, so that a crash may lose it.
	Ingestion Ingestion `json:"ingestion,omitzero"`
}

// Ingestion is the last event that a channel took, and the last that it was offered.
type Ingestion struct {
	Success   time.Time `json:"success,omitzero"`
	SuccessID string    `json:"successId,omitempty"`
	Attempt   time.Time `json:"attempt,omitzero"`
	AttemptID string    `json:"attemptId,omitempty"`
	ErrorCode string    `json:"errorCode,omitempty"` // of the attempt
}

// ingested is the Ingestion of a channel while it changes.
type ingested struct {
	mu sync.Mutex
	is Ingestion
}

func (i *ingested) get() Ingestion {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.is
}

func (i *ingested) set(is Ingestion) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.is = is
}

func (l *Lake) status(id string) *ingested {
	v, ok := l.ingestion.Load(id)
	if !ok {
		v, _ = l.ingestion.LoadOrStore(id, &ingested{})
	}
	return v.(*ingested)
}

// Custom is the source of channels for anything.
const Custom = "Custom"

var sourceForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 ._-]{0,255}$`)

// checkSource refuses names that are not plain, and those of AWS, whose own channels nobody can make.
func checkSource(source string) error {
	if lower := strings.ToLower(source); !sourceForm.MatchString(source) || strings.HasPrefix(lower, "aws") || strings.HasPrefix(lower, "amazon") {
		return refuse(codeSource, "%.80s cannot be the source of a channel; it is %s, or the name of a system that is not AWS's.", source, Custom)
	}
	return nil
}

// destinations gives the ids of stores that outside events can go to.
func (l *Lake) destinations(f *file, w Where, arns []string) ([]string, error) {
	ids := make([]string, 0, len(arns))
	for _, a := range arns {
		id, err := l.storeID(w, a)
		if err != nil {
			return nil, err
		}
		if id == BuiltInID(w.Account) {
			return nil, refuse(codeCategory, "The event data store %s is no destination: it has all events as they are.", BuiltIn)
		}
		i, err := f.store(w, id)
		if err != nil {
			return nil, err
		}
		s := &f.Stores[i]
		if err := s.active(); err != nil {
			return nil, err
		}
		if !s.Audit() {
			return nil, refuse(codeCategory, "The event data store %s is not one for the category %s.", id, selector.ActivityAuditLog)
		}
		if slices.Contains(ids, id) {
			return nil, refuse(codeParameter, "The destination %s is there twice.", id)
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 || len(ids) > MaxStores {
		return nil, refuse(codeParameter, "A channel has 1 to %d destinations.", MaxStores)
	}
	slices.Sort(ids)
	return ids, nil
}

func (f *file) channelNameFree(w Where, name, but string) error {
	if slices.ContainsFunc(f.Channels, func(c Channel) bool {
		return c.Name == name && c.Account == w.Account && c.Region == w.Region && c.ID != but
	}) {
		return refuse(codeChannelExists, "A channel with the name %s exists already in the account %s and the Region %s.", name, w.Account, w.Region)
	}
	return nil
}

func checkChannelName(name string) error {
	if !nameForm.MatchString(name) {
		return refuse(codeParameter, "The name has to have 3 to 128 letters, digits, and characters of ._-.")
	}
	return nil
}

// ChannelSpec says what channel to make.
type ChannelSpec struct {
	Name, Source string
	Destinations []string // ARNs or ids of stores
	Tags         []Tag
}

// CreateChannel makes a channel.
func (l *Lake) CreateChannel(w Where, spec ChannelSpec) (made Channel, _ Undo, _ error) {
	if err := checkChannelName(spec.Name); err != nil {
		return made, nil, err
	}
	if err := checkSource(spec.Source); err != nil {
		return made, nil, err
	}
	c := Channel{ID: uuid.NewString(), Account: w.Account, Region: w.Region, Name: spec.Name, Source: spec.Source, Tags: tag.Sorted(spec.Tags)}
	if len(c.Tags) > MaxTags {
		return made, nil, tooManyTags(len(c.Tags))
	}
	if err := tag.Check(c.Tags); err != nil {
		return made, nil, refuse(codeTag, "%s", refusal.Sentence(err.Error()))
	}
	undo, err := l.change(func(f *file, now time.Time) error {
		c := c
		c.Created, c.Updated = now, now
		var err error
		if c.Destinations, err = l.destinations(f, w, spec.Destinations); err != nil {
			return err
		}
		if err := f.channelNameFree(w, c.Name, ""); err != nil {
			return err
		}
		n := 0
		for _, o := range f.Channels {
			if o.Account != w.Account || o.Region != w.Region {
				continue
			}
			if n++; o.Source == c.Source {
				return refuse(codeChannelExists, "The source %s has a channel already: %s.", c.Source, o.Name)
			}
		}
		if n >= MaxChannels {
			return refuse(codeChannelLimit, "The account %s has %d channels in %s, as many as it may.", w.Account, n, w.Region)
		}
		f.Channels = append(f.Channels, c)
		made = c
		return nil
	})
	return made, undo, err
}

// channelID gives the id that an ARN or id names. There need be no such channel.
func (l *Lake) channelID(w Where, ref string) (string, error) {
	id, here, ok := l.ref(w, channelKind, ref)
	switch {
	case !ok:
		return "", refuse(codeChannelARN, "%.256s is neither the ARN nor the id of a channel.", ref)
	case !here:
		return "", refuse(codeChannelNotFound, "The channel %.256s was not found.", ref)
	}
	return id, nil
}

func (f *file) channel(w Where, id string) (int, error) {
	i := slices.IndexFunc(f.Channels, func(c Channel) bool { return c.ID == id && c.Account == w.Account && c.Region == w.Region })
	if i < 0 {
		return 0, refuse(codeChannelNotFound, "The channel %s was not found.", id)
	}
	return i, nil
}

// Channel gives a channel by its ARN or id.
func (l *Lake) Channel(w Where, ref string) (Channel, error) {
	id, err := l.channelID(w, ref)
	if err != nil {
		return Channel{}, err
	}
	f := l.file.Get()
	i, err := f.channel(w, id)
	if err != nil {
		return Channel{}, err
	}
	c := f.Channels[i]
	c.Ingestion = l.status(id).get()
	return c, nil
}

// ChannelARN is the ARN of a channel.
func (l *Lake) ChannelARN(c Channel) string {
	return l.arn(Where{c.Account, c.Region}, channelKind, c.ID)
}

// Channels lists a page of the channels of an account in a Region, in the order in which they were made.
func (l *Lake) Channels(w Where, token string, most int) (page []Channel, next string, err error) {
	f := l.file.Get()
	all := slices.DeleteFunc(slices.Clone(f.Channels), func(c Channel) bool { return c.Account != w.Account || c.Region != w.Region })
	return paged(f, w, channelKind, token, most, all, func(c Channel) (time.Time, string) { return c.Created, c.ID })
}

// ChannelChange says what to change of a channel; nil members stay as they are.
type ChannelChange struct {
	Name         *string
	Destinations []string
}

// UpdateChannel changes a channel. Events that came in go on belonging to the stores that were destinations then.
func (l *Lake) UpdateChannel(w Where, ref string, change ChannelChange) (changed Channel, _ Undo, _ error) {
	id, err := l.channelID(w, ref)
	if err != nil {
		return changed, nil, err
	}
	undo, err := l.change(func(f *file, now time.Time) error {
		i, err := f.channel(w, id)
		if err != nil {
			return err
		}
		c := f.Channels[i]
		if change.Name == nil && change.Destinations == nil {
			return refuse(codeParameter, "There is nothing to change: at least one optional parameter is needed.")
		}
		if change.Name != nil {
			if err := cmp.Or(checkChannelName(*change.Name), f.channelNameFree(w, *change.Name, id)); err != nil {
				return err
			}
			c.Name = *change.Name
		}
		if change.Destinations != nil {
			if c.Destinations, err = l.destinations(f, w, change.Destinations); err != nil {
				return err
			}
		}
		c.Updated = now
		f.Channels[i], changed = c, c
		return nil
	})
	return changed, undo, err
}

// DeleteChannel deletes a channel. The events that came in by it stay.
func (l *Lake) DeleteChannel(w Where, ref string) (Undo, error) {
	id, err := l.channelID(w, ref)
	if err != nil {
		return nil, err
	}
	return l.change(func(f *file, _ time.Time) error {
		i, err := f.channel(w, id)
		if err != nil {
			return err
		}
		f.Channels = slices.Delete(f.Channels, i, i+1)
		return nil
	})
}
