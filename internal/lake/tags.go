package lake

import (
	"time"

	"spoor/internal/refusal"
	"spoor/internal/tag"
)

// Codes of what can be tagged.
const (
	codeResourceNotFound = "ResourceNotFoundException"
	codeARN              = "CloudTrailARNInvalidException"
	codeResourceType     = "ResourceTypeNotSupportedException"
)

func tooManyTags(n int) error {
	return refuse(codeTagLimit, "There would be %d tags; at most %d are allowed.", n, MaxTags)
}

// resource finds what an ARN names: a store or a channel.
func (l *Lake) resource(w Where, text string) (kind, id string, err error) {
	a, ok := parseARN(text)
	switch {
	case !ok:
		return "", "", refuse(codeARN, "%.256s is not the ARN of a CloudTrail resource.", text)
	case a.kind == storeKind:
		id, err = l.storeID(w, text)
		return storeKind, id, err
	case a.kind == channelKind:
		id, err = l.channelID(w, text)
		return channelKind, id, err
	case a.kind == "trail":
		return "", "", refuse(codeResourceNotFound, "The resource %.256s was not found.", text)
	}
	return "", "", refuse(codeResourceType, "%.256s is not of a type that can have tags here.", text)
}

// retag changes the tags of a resource.
func (l *Lake) retag(w Where, resource string, fn func(tags []Tag) ([]Tag, error)) (Undo, error) {
	kind, id, err := l.resource(w, resource)
	if err != nil {
		return nil, err
	}
	if kind == storeKind {
		_, undo, err := l.changeStore(w, resource, func(_ *file, s *EventDataStore, _ time.Time) error {
			if err := s.active(); err != nil {
				return err
			}
			tags, err := fn(s.Tags)
			s.Tags = tags
			return err
		})
		return undo, err
	}
	return l.change(func(f *file, _ time.Time) error {
		i, err := f.channel(w, id)
		if err != nil {
			return err
		}
		f.Channels[i].Tags, err = fn(f.Channels[i].Tags)
		return err
	})
}

// AddTags gives a store or channel tags; those with a key that is there already get another value.
func (l *Lake) AddTags(w Where, resource string, tags []Tag) (Undo, error) {
	tags = tag.Sorted(tags)
	if err := tag.Check(tags); err != nil {
		return nil, refuse(codeTag, "%s", refusal.Sentence(err.Error()))
	}
	return l.retag(w, resource, func(had []Tag) ([]Tag, error) {
		all := tag.Add(had, tags)
		if len(all) > MaxTags {
			return nil, tooManyTags(len(all))
		}
		return all, nil
	})
}

// RemoveTags removes tags by their keys. Keys that are not there change nothing.
func (l *Lake) RemoveTags(w Where, resource string, keys []string) (Undo, error) {
	return l.retag(w, resource, func(had []Tag) ([]Tag, error) {
		return tag.Without(had, keys), nil
	})
}

// Tags gives the tags of a store or channel.
func (l *Lake) Tags(w Where, resource string) ([]Tag, error) {
	kind, _, err := l.resource(w, resource)
	if err != nil {
		return nil, err
	}
	if kind == channelKind {
		c, err := l.Channel(w, resource)
		return c.Tags, err
	}
	s, err := l.Store(w, resource)
	if err == nil {
		err = s.active()
	}
	return s.Tags, err
}
