package segment

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/apache/arrow-go/v18/parquet/file"

	"spoor/internal/event"
)

// traits say what holds for all rows of a row group, so that rows can be left out by their columns and the answer is
// still that of the records. They stand in the footer of the file, under traitsKey: one text for each row group, with
// commas between.
type traits uint8

const (
	// plainTexts: the records are UTF-8, userIdentity is no array, and every typed text field is a string, a boolean, null or
	// missing. So a text column has exactly what tests of the field see, and null where they see nothing.
	plainTexts traits = 1 << iota
	// smallIDs: eventID and sharedEventID have no capital letters and nothing outside of ASCII.
	smallIDs
	// capitalKeys: access keys have no small letters and nothing outside of ASCII.
	capitalKeys

	allTraits = plainTexts | smallIDs | capitalKeys
)

// traitsKey is the key in the metadata of the file.
const traitsKey = "spoor.groups"

const traitLetters = "pik"

// String writes the traits as in the footer: p, i and k for those that hold.
func (t traits) String() string {
	var b strings.Builder
	for i := range traitLetters {
		if t&(1<<i) != 0 {
			b.WriteByte(traitLetters[i])
		}
	}
	return b.String()
}

func parseTraits(s string) []traits {
	var out []traits
	for _, group := range strings.Split(s, ",") {
		var t traits
		for i := range traitLetters {
			if strings.IndexByte(group, traitLetters[i]) >= 0 {
				t |= 1 << i
			}
		}
		out = append(out, t)
	}
	return out
}

// traitsOf gives the traits of a record, but for the kinds of its typed fields.
func traitsOf(e *event.Event, valid bool) traits {
	t := allTraits
	if !valid || e.Get(event.UserIdentity).Kind() == event.Array {
		t &^= plainTexts
	}
	if !within(e.ID(), 'A', 'Z') || !within(e.Text(event.SharedEventID), 'A', 'Z') {
		t &^= smallIDs
	}
	if !within(e.Text(event.AccessKeyID), 'a', 'z') {
		t &^= capitalKeys
	}
	return t
}

// within reports whether s is ASCII without the letters from low to high.
func within(s string, low, high byte) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || c >= low && c <= high {
			return false
		}
	}
	return true
}

// Known says what holds for all rows of a segment.
type Known struct {
	// PlainTexts says that the records are UTF-8, that userIdentity is no array, and that every typed text field is a string, a
	// boolean, null or missing: a text column has exactly what the record has, and null where that has nothing or null.
	PlainTexts bool
	// SmallIDs says that eventID and sharedEventID, CapitalKeys that access keys are ASCII in small letters, or in capitals.
	SmallIDs, CapitalKeys bool
}

// Knows reads what is known of a segment, by the path of its Parquet file.
func Knows(name string) (k Known, err error) {
	defer damaged(name, &err)
	f, err := os.Open(name)
	if err != nil {
		return k, err
	}
	pq, err := file.NewParquetReader(f)
	if err != nil {
		return k, errors.Join(fmt.Errorf("%w: %w", ErrDamaged, err), f.Close())
	}
	defer pq.Close() // opened for reading
	text := pq.MetaData().KeyValueMetadata().FindValue(traitsKey)
	if text == nil {
		return k, nil
	}
	all, groups := allTraits, parseTraits(*text)
	if len(groups) < pq.NumRowGroups() {
		return k, nil
	}
	for _, t := range groups {
		all &= t
	}
	return Known{PlainTexts: all&plainTexts != 0, SmallIDs: all&smallIDs != 0, CapitalKeys: all&capitalKeys != 0}, nil
}
