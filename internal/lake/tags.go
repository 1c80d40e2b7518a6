package lake

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Lengths of tags, in characters.
const (
	maxTagKey   = 128
	maxTagValue = 256
)

// Codes of what can be tagged.
const (
	codeResourceNotFound = "ResourceNotFoundException"
	codeARN              = "CloudTrailARNInvalidException"
	codeResourceType     = "ResourceTypeNotSupportedException"
)

func sortedTags(tags []Tag) []Tag {
	tags = slices.Clone(tags)
	slices.SortStableFunc(tags, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// checkTags checks tags that are sorted.
func checkTags(tags []Tag) error {
	if len(tags) > MaxTags {
		return fmt.Errorf("there are %d tags; at most %d are allowed", len(tags), MaxTags)
	}
	for i, t := range tags {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > maxTagKey || !utf8.ValidString(t.Key):
			return fmt.Errorf("a tag's key has to have 1 to %d characters", maxTagKey)
		case utf8.RuneCountInString(t.Value) > maxTagValue || !utf8.ValidString(t.Value):
			return fmt.Errorf("the value of the tag %s is longer than %d characters", t.Key, maxTagValue)
		case strings.HasPrefix(strings.ToLower(t.Key), "aws:"):
			return fmt.Errorf("the tag %s begins with aws:, which is reserved", t.Key)
		case i > 0 && t.Key == tags[i-1].Key:
			return fmt.Errorf("the tag %s is there twice", t.Key)
		case i > 0 && t.Key < tags[i-1].Key:
			return errors.New("tags are not in order")
		}
	}
	return nil
}

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
	tags = sortedTags(tags)
	if err := checkTags(tags); err != nil {
		return nil, refuse(codeTag, "%s", sentence(err.Error()))
	}
	return l.retag(w, resource, func(had []Tag) ([]Tag, error) {
		all := slices.Clone(tags)
		for _, t := range had {
			if !slices.ContainsFunc(tags, func(n Tag) bool { return n.Key == t.Key }) {
				all = append(all, t)
			}
		}
		if len(all) > MaxTags {
			return nil, tooManyTags(len(all))
		}
		return sortedTags(all), nil
	})
}

// RemoveTags removes tags by their keys. Keys that are not there change nothing.
func (l *Lake) RemoveTags(w Where, resource string, keys []string) (Undo, error) {
	return l.retag(w, resource, func(had []Tag) ([]Tag, error) {
		return slices.DeleteFunc(slices.Clone(had), func(t Tag) bool { return slices.Contains(keys, t.Key) }), nil
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
