package sigma

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Bounds of a rule file. What is beyond them is refused, never cut.
const (
	MaxFile  = 8 << 20 // bytes
	maxDepth = 64      // nested collections of a document
	maxNodes = 200_000 // nodes of a document with its aliases expanded
)

// chunk is the text of one document of a file.
type chunk struct {
	text []byte
	line int // lines before it
}

// split cuts a file at its document markers, so that a document that is not YAML does not take the others with it.
// YAML allows `---` and `...` at the start of a line for nothing else. Documents without content are left out.
func split(data []byte) []chunk {
	var out []chunk
	start, line, first := 0, 0, 0
	directives := false // the text so far holds directives, which belong to the next document
	flush := func(end int) {
		if hasContent(data[start:end]) {
			out = append(out, chunk{data[start:end], first})
		}
	}
	for at := 0; at < len(data); line++ {
		end := len(data)
		if i := bytes.IndexByte(data[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		text := data[at:end]
		switch {
		case marker(text, "---"):
			if !directives {
				flush(at)
				start, first = at, line
			}
			directives = false
		case marker(text, "..."):
			flush(at)
			start, first = end, line+1
		case text[0] == '%' && !hasContent(data[start:at]):
			directives = true
		}
		at = end
	}
	flush(len(data))
	return out
}

func marker(line []byte, m string) bool {
	if !bytes.HasPrefix(line, []byte(m)) {
		return false
	}
	return len(line) == len(m) || line[len(m)] == ' ' || line[len(m)] == '\t' || line[len(m)] == '\n' || line[len(m)] == '\r'
}

func hasContent(text []byte) bool {
	for line := range bytes.Lines(text) {
		line = bytes.TrimSpace(line)
		if marker(line, "---") {
			line = bytes.TrimSpace(line[3:])
		}
		if len(line) > 0 && line[0] != '#' && line[0] != '%' {
			return true
		}
	}
	return false
}

var lineNumber = regexp.MustCompile(`\bline (\d+)`)

// decode reads a chunk into the mapping that it is.
func (c chunk) decode() (*mapping, error) {
	var doc yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(c.text))
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, errors.New("empty document")
		}
		text := lineNumber.ReplaceAllStringFunc(strings.TrimPrefix(err.Error(), "yaml: "), func(s string) string {
			n, err := strconv.Atoi(s[len("line "):])
			if err != nil {
				return s
			}
			return "line " + strconv.Itoa(n+c.line)
		})
		return nil, errors.New("not YAML: " + text)
	}
	t := tree{}
	n, err := t.read(&doc, 0)
	if err != nil {
		return nil, err
	}
	m, ok := n.(*mapping)
	if !ok {
		return nil, errors.New("the document is not a map")
	}
	return m, nil
}

// The values of a document: *mapping, []any, string, number, bool and nil.

// mapping is a map in the order of the text.
type mapping struct {
	keys []string
	vals map[string]any
}

func (m *mapping) get(key string) any {
	if m == nil {
		return nil
	}
	return m.vals[key]
}

func (m *mapping) has(key string) bool {
	_, ok := m.vals[key]
	return ok
}

func (m *mapping) set(key string, val any) {
	if !m.has(key) {
		m.keys = append(m.keys, key)
	}
	m.vals[key] = val
}

func newMapping() *mapping { return &mapping{vals: map[string]any{}} }

// merge gives base with over laid on it: maps join, anything else of over replaces.
func merge(base, over *mapping) *mapping {
	out := newMapping()
	for _, k := range base.keys {
		out.set(k, base.vals[k])
	}
	for _, k := range over.keys {
		val := over.vals[k]
		if under, ok := out.vals[k].(*mapping); ok {
			if on, ok := val.(*mapping); ok {
				val = merge(under, on)
			}
		}
		out.set(k, val)
	}
	return out
}

// number is a YAML number with the text that it was written as.
type number struct {
	val  float64
	text string
}

// tree turns nodes into values by the core schema of YAML 1.2: yes, no, on, off and dates are text.
type tree struct{ nodes int }

func (t *tree) read(n *yaml.Node, depth int) (any, error) {
	if t.nodes++; t.nodes > maxNodes {
		return nil, fmt.Errorf("line %d: the document has more than %d values with its aliases expanded", n.Line, maxNodes)
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("line %d: nested deeper than %d", n.Line, maxDepth)
	}
	switch n.Kind {
	case yaml.DocumentNode:
		if len(n.Content) == 0 {
			return nil, nil
		}
		return t.read(n.Content[0], depth)
	case yaml.AliasNode:
		if n.Alias == nil {
			return nil, fmt.Errorf("line %d: alias of nothing", n.Line)
		}
		return t.read(n.Alias, depth+1)
	case yaml.SequenceNode:
		out := make([]any, 0, len(n.Content))
		for _, sub := range n.Content {
			v, err := t.read(sub, depth+1)
			if err != nil {
				return nil, err
			}
			out = append(out, v)
		}
		return out, nil
	case yaml.MappingNode:
		return t.mapping(n, depth)
	case yaml.ScalarNode:
		return scalar(n)
	}
	return nil, fmt.Errorf("line %d: empty document", n.Line)
}

func (t *tree) mapping(n *yaml.Node, depth int) (*mapping, error) {
	out := newMapping()
	var under []*mapping // of merge keys, which explicit keys override
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		val, err := t.read(v, depth+1)
		if err != nil {
			return nil, err
		}
		for k.Kind == yaml.AliasNode && k.Alias != nil {
			k = k.Alias
		}
		if k.Kind != yaml.ScalarNode {
			return nil, fmt.Errorf("line %d: a key that is not plain text", k.Line)
		}
		if k.Value == "<<" && k.Tag == "!!merge" {
			switch val := val.(type) {
			case *mapping:
				under = append(under, val)
				continue
			case []any:
				for _, one := range val {
					m, ok := one.(*mapping)
					if !ok {
						return nil, fmt.Errorf("line %d: << of something that is not a map", k.Line)
					}
					under = append(under, m)
				}
				continue
			}
			return nil, fmt.Errorf("line %d: << of something that is not a map", k.Line)
		}
		if out.has(k.Value) {
			return nil, fmt.Errorf("line %d: the key %q occurs twice in one map", k.Line, k.Value)
		}
		out.set(k.Value, val)
	}
	for _, m := range under {
		for _, k := range m.keys {
			if !out.has(k) {
				out.set(k, m.vals[k])
			}
		}
	}
	return out, nil
}

var (
	coreInt   = regexp.MustCompile(`^[-+]?[0-9]+$`)
	coreOctal = regexp.MustCompile(`^0o[0-7]+$`)
	coreHex   = regexp.MustCompile(`^0x[0-9a-fA-F]+$`)
	coreFloat = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
)

func scalar(n *yaml.Node) (any, error) {
	s := n.Value
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 && n.Style&yaml.TaggedStyle == 0 {
		return s, nil
	}
	if n.Style&yaml.TaggedStyle != 0 {
		switch n.ShortTag() {
		case "!!null", "!!bool", "!!int", "!!float":
		default:
			return s, nil
		}
	}
	switch s {
	case "", "~", "null", "Null", "NULL":
		return nil, nil
	case "true", "True", "TRUE":
		return true, nil
	case "false", "False", "FALSE":
		return false, nil
	}
	val, isNumber := 0.0, true
	var err error
	switch {
	case coreInt.MatchString(s), coreFloat.MatchString(s):
		val, err = strconv.ParseFloat(s, 64)
	case coreOctal.MatchString(s), coreHex.MatchString(s):
		var u uint64
		u, err = strconv.ParseUint(s, 0, 64)
		val = float64(u)
	default:
		isNumber = false
	}
	if !isNumber || err != nil || math.IsInf(val, 0) {
		return s, nil
	}
	return number{val, s}, nil
}

// texts gives the forms in which a string of an event may spell the number: as the rule wrote it, and shortest. An
// account id with a leading zero and the version 1.10 are texts in an event.
func (n number) texts() []string {
	out := []string{n.text}
	short := ""
	switch {
	case coreInt.MatchString(n.text):
		short = strings.TrimPrefix(n.text, "+")
		sign := ""
		if strings.HasPrefix(short, "-") {
			sign, short = "-", short[1:]
		}
		if short = strings.TrimLeft(short, "0"); short == "" {
			sign, short = "", "0"
		}
		short = sign + short
	case math.Abs(n.val) >= 1e21:
		short = strconv.FormatFloat(n.val, 'g', -1, 64)
	default:
		short = strconv.FormatFloat(n.val, 'f', -1, 64)
	}
	if short != n.text {
		out = append(out, short)
	}
	return out
}

// text gives a scalar as text, false for maps, lists and null.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case number:
		return v.text, true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// textList gives a list of texts, or a single text, leaving out what is neither.
func textList(v any) []string {
	if s, ok := text(v); ok {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	list, ok := v.([]any)
	if !ok {
		return nil
	}
	var out []string
	for _, one := range list {
		if s, ok := text(one); ok {
			out = append(out, s)
		}
	}
	return out
}
