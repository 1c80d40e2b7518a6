package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// maxEntries is how many entries a list of sections may have.
const maxEntries = 10_000

// entries is a value that is several sections with the same keys. In the environment and on the command line it is written
// as in the file.
type entries[T any] struct {
	p     *[]T
	table func(*T) []*Setting
}

// trouble is what is wrong at a place of the file.
type trouble struct {
	at  *yaml.Node
	err error
}

func (v entries[T]) set(s string) error {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(s), &doc); err != nil {
		return fmt.Errorf("not YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		*v.p = nil
		return nil
	}
	var errs []error
	for _, t := range v.setNode(doc.Content[0]) {
		errs = append(errs, t.err)
	}
	return errors.Join(errs...)
}

func (v entries[T]) setNode(n *yaml.Node) (wrong []trouble) {
	tell := func(at *yaml.Node, format string, args ...any) {
		wrong = append(wrong, trouble{at, fmt.Errorf(format, args...)})
	}
	if n.Kind != yaml.SequenceNode {
		tell(n, "want a %s, not %s", v.kind(), kindName(n))
		return wrong
	}
	if len(n.Content) > maxEntries {
		tell(n, "%d are more than %d", len(n.Content), maxEntries)
		return wrong
	}
	all := make([]T, len(n.Content))
	for i, c := range n.Content {
		if c.Kind != yaml.MappingNode {
			tell(c, "want {%s}, not %s", v.keys(), kindName(c))
			continue
		}
		table := v.table(&all[i])
		given := map[string]bool{}
		for j := 0; j+1 < len(c.Content); j += 2 {
			k, val := c.Content[j], c.Content[j+1]
			at := slices.IndexFunc(table, func(s *Setting) bool { return s.Key == k.Value })
			switch {
			case k.Kind != yaml.ScalarNode || at < 0:
				tell(k, "unknown key %.40q; want %s", k.Value, v.keys())
			case given[k.Value]:
				tell(k, "%s is set twice", k.Value)
			case val.Kind != yaml.ScalarNode || odd(val) || isNull(val):
				tell(val, "%s: want %s, not %s", k.Value, table[at].Kind, kindName(val))
			case table[at].Need && val.Value == "":
				tell(val, "%s is empty", k.Value)
			default:
				if err := table[at].value.set(val.Value); err != nil {
					tell(val, "%s: %w", k.Value, err)
				}
			}
			given[k.Value] = true
		}
		for _, s := range table {
			if s.Need && !given[s.Key] {
				tell(c, "%s is missing", s.Key)
			}
		}
	}
	if len(wrong) == 0 {
		*v.p = all
	}
	return wrong
}

func (v entries[T]) text() string {
	if len(*v.p) == 0 {
		return ""
	}
	var b strings.Builder
	for i := range *v.p {
		b.WriteString(map[bool]string{true: "[{", false: ", {"}[i == 0])
		first := true
		for _, s := range v.table(&(*v.p)[i]) {
			if text := s.value.text(); text != "" {
				if !first {
					b.WriteString(", ")
				}
				first = false
				b.WriteString(s.Key + ": " + quote(text))
			}
		}
		b.WriteString("}")
	}
	b.WriteString("]")
	return b.String()
}

func (v entries[T]) kind() string { return "list of {" + v.keys() + "}" }

func (v entries[T]) keys() string {
	var zero T
	var keys []string
	for _, s := range v.table(&zero) {
		keys = append(keys, s.Key)
	}
	return strings.Join(keys, ", ")
}

// written says that text is YAML.
func (entries[T]) written() {}

// date is a day, or a moment of one.
type date struct{ p *time.Time }

func (v date) set(s string) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			*v.p = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("%.40q is no date: want one such as 2026-01-31", s)
}

func (v date) text() string {
	if v.p.IsZero() {
		return ""
	}
	return v.p.Format(time.RFC3339)
}

func (v date) kind() string { return "date" }
