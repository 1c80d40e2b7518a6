// Package tag is tags of resources, as CloudTrail has them.
package tag

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Max is how many tags a resource has at most.
const Max = 50

// Lengths of tags, in characters.
const (
	maxKey   = 128
	maxValue = 256
)

// Tag is a tag.
type Tag struct {
	Key   string `json:"key"`
	Value string `json:"value,omitempty"`
}

// Sorted gives tags by their keys.
func Sorted(tags []Tag) []Tag {
	tags = slices.Clone(tags)
	slices.SortStableFunc(tags, func(a, b Tag) int { return strings.Compare(a.Key, b.Key) })
	return tags
}

// Check checks tags that are sorted.
func Check(tags []Tag) error {
	if len(tags) > Max {
		return fmt.Errorf("there are %d tags; at most %d are allowed", len(tags), Max)
	}
	for i, t := range tags {
		switch {
		case t.Key == "" || utf8.RuneCountInString(t.Key) > maxKey || !utf8.ValidString(t.Key):
			return fmt.Errorf("a tag's key has to have 1 to %d characters", maxKey)
		case utf8.RuneCountInString(t.Value) > maxValue || !utf8.ValidString(t.Value):
			return fmt.Errorf("the value of the tag %s is longer than %d characters", t.Key, maxValue)
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

// Add gives tags to what had some; those with a key that is there already get another value. The result is sorted, and may
// have more than [Max].
func Add(had, tags []Tag) []Tag {
	all := slices.Clone(tags)
	for _, t := range had {
		if !slices.ContainsFunc(tags, func(n Tag) bool { return n.Key == t.Key }) {
			all = append(all, t)
		}
	}
	return Sorted(all)
}

// Without removes tags by their keys. Keys that are not there change nothing.
func Without(had []Tag, keys []string) []Tag {
	return slices.DeleteFunc(slices.Clone(had), func(t Tag) bool { return slices.Contains(keys, t.Key) })
}
