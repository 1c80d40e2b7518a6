package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// Member is one of a JSON object.
type Member struct {
	Name  string
	Value any // string, json.Number, bool, nil, []any or []Member
}

// ReadJSON reads JSON of at most most bytes, nested no deeper than nesting, and keeps what the standard library drops: the order
// of members. A member that is there twice is refused. Errors are an *[Error].
func ReadJSON(text []byte, most, nesting int) (any, error) {
	if len(text) > most {
		return nil, wrong("", "%d bytes are more than %d", len(text), most)
	}
	if !utf8.Valid(text) {
		return nil, wrong("", "not UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := (&reader{dec, nesting}).value("", 0)
	if err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, wrong("", "something follows its end")
	}
	return v, nil
}

type reader struct {
	*json.Decoder
	nesting int
}

func (dec *reader) value(place string, depth int) (any, error) {
	tok, err := dec.Token()
	if err != nil {
		return nil, wrong(place, "not JSON: %v", err)
	}
	delim, ok := tok.(json.Delim)
	if !ok {
		return tok, nil
	}
	if depth >= dec.nesting {
		return nil, wrong(place, "nested deeper than %d", dec.nesting)
	}
	members, list := []Member{}, []any{}
	for dec.More() {
		if delim == '[' {
			v, err := dec.value(fmt.Sprintf("%s[%d]", place, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
			continue
		}
		tok, err := dec.Token()
		if err != nil {
			return nil, wrong(place, "not JSON: %v", err)
		}
		m := Member{Name: tok.(string)} // the decoder lets no other be a name
		if slices.ContainsFunc(members, func(o Member) bool { return o.Name == m.Name }) {
			return nil, wrong(place, "%.80q is there twice", m.Name)
		}
		if m.Value, err = dec.value(Under(place, m.Name), depth+1); err != nil {
			return nil, err
		}
		members = append(members, m)
	}
	if _, err := dec.Token(); err != nil {
		return nil, wrong(place, "not JSON: %v", err)
	}
	if delim == '[' {
		return list, nil
	}
	return members, nil
}

// Under is the place of a member, as errors name it.
func Under(place, name string) string {
	if !plainName.MatchString(name) {
		name = strconv.Quote(name[:min(len(name), 80)])
	}
	if place == "" {
		return name
	}
	return place + "." + name
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9:_-]{1,80}$`)

// Texts are one or several values. Numbers and truth values are texts too, as AWS has it.
func Texts(place string, v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, v := range list {
		switch v := v.(type) {
		case string:
			out = append(out, v)
		case json.Number:
			out = append(out, v.String())
		case bool:
			out = append(out, strconv.FormatBool(v))
		default:
			return nil, wrong(place, "want text or a list of texts")
		}
	}
	if len(out) == 0 {
		return nil, wrong(place, "the list is empty")
	}
	return out, nil
}
