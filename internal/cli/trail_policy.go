package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
)

// grant is a statement of a policy document.
type grant struct {
	Sid       string
	Effect    string
	Principal any `json:",omitempty"`
	Action    any
	Resource  any
	Condition map[string]map[string]any `json:",omitempty"`
	unlessSid bool                      // one of the same Sid is good, whatever it says
}

// mergePolicy gives the document with the wanted statements in it, or "" when they are there. Statements of others stay; one of
// the same Sid that says something else is replaced.
func mergePolicy(text string, wanted []grant) (string, error) {
	var doc struct {
		Version   string
		ID        string `json:"Id,omitempty"`
		Statement []json.RawMessage
	}
	doc.Version = "2012-10-17"
	if text != "" {
		var raw map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &raw); err != nil {
			return "", fmt.Errorf("read the policy that is there: %w", err)
		}
		for name, v := range raw {
			var err error
			switch name {
			case "Version":
				err = json.Unmarshal(v, &doc.Version)
			case "Id":
				err = json.Unmarshal(v, &doc.ID)
			case "Statement":
				if err = json.Unmarshal(v, &doc.Statement); err != nil { // a single one needs no brackets
					doc.Statement, err = []json.RawMessage{v}, nil
				}
			default:
				err = errors.New("no such member")
			}
			if err != nil {
				return "", fmt.Errorf("read the policy that is there: %s: %w", name, err)
			}
		}
	}
	changed := false
	for _, w := range wanted {
		text, err := plainJSON(w)
		if err != nil {
			return "", fmt.Errorf("write statement %s: %w", w.Sid, err)
		}
		want, _, err := canonical(text)
		if err != nil {
			return "", err
		}
		there, same := false, -1
		for i, s := range doc.Statement {
			got, sid, err := canonical(s)
			if err != nil {
				return "", fmt.Errorf("read statement %d of the policy that is there: %w", i+1, err)
			}
			there = there || reflect.DeepEqual(got, want) || w.unlessSid && sid == w.Sid
			if sid == w.Sid {
				same = i
			}
		}
		switch {
		case there:
			continue
		case same >= 0:
			doc.Statement[same] = text
		default:
			doc.Statement = append(doc.Statement, text)
		}
		changed = true
	}
	if !changed {
		return "", nil
	}
	out, err := plainJSON(doc)
	return string(out), err
}

// canonical is a statement without what says nothing: its Sid, the order of values, and brackets around single ones.
func canonical(text []byte) (statement map[string]any, sid string, err error) {
	if err := json.Unmarshal(text, &statement); err != nil {
		return nil, "", err
	}
	sid, _ = statement["Sid"].(string)
	delete(statement, "Sid")
	for name, v := range statement {
		switch name {
		case "Principal", "NotPrincipal":
			if v == "*" {
				v = map[string]any{"AWS": "*"}
			}
			statement[name] = sets(v, 1)
		case "Condition":
			statement[name] = sets(v, 2)
		case "Action", "NotAction", "Resource", "NotResource":
			statement[name] = sets(v, 0)
		}
	}
	return statement, sid, nil
}

// sets makes a sorted list of texts of what lies below so many maps.
func sets(v any, depth int) any {
	if m, ok := v.(map[string]any); ok && depth > 0 {
		for k, x := range m {
			m[k] = sets(x, depth-1)
		}
		return m
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	out := make([]string, len(list))
	for i, x := range list {
		out[i] = fmt.Sprint(x)
	}
	sort.Strings(out)
	return slices.Compact(out)
}
