// Package page cuts lists into the pages in which services of AWS answer.
//
// A token says behind which item the next page begins, so that items that come and go between pages neither repeat nor hide
// others. It belongs to one list: the operation with the parameters that select items. Tokens are no secrets, and nothing is
// kept for them.
package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// ErrToken is the error of a token that is none of this list.
var ErrToken = errors.New("the token is not one of this list")

// tokens is strict: a token has one form.
var tokens = base64.RawURLEncoding.Strict()

const tagSize = 6

// tag tells lists apart.
func tag(list []string) []byte {
	sum := sha256.Sum256([]byte(strings.Join(list, "\x00")))
	return sum[:tagSize]
}

// Cut returns the page behind a token, nil for the first one, of at most so many items, and the token of the page that follows,
// nil for none. Items are sorted by key, in place; keys are unique and not empty. list names the operation, and what else
// selects items. The error is [ErrToken].
func Cut[T any](items []T, key func(T) string, token *string, most int, list ...string) (cut []T, next *string, err error) {
	slices.SortFunc(items, func(a, b T) int { return strings.Compare(key(a), key(b)) })
	from := 0
	if token != nil {
		raw, err := tokens.DecodeString(*token)
		if err != nil || len(raw) <= tagSize || !bytes.Equal(raw[:tagSize], tag(list)) {
			return nil, nil, ErrToken
		}
		last := string(raw[tagSize:])
		for from < len(items) && key(items[from]) <= last {
			from++
		}
	}
	cut = items[from:]
	if len(cut) > most {
		cut = cut[:most]
		text := tokens.EncodeToString(append(tag(list), key(cut[most-1])...))
		next = &text
	}
	return cut, next, nil
}
