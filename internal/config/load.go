package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MaxFile is how large a configuration file may be, in bytes; maxSources is how many sources it may have.
const (
	MaxFile    = 1 << 20
	maxSources = 1000
)

// Options say where a configuration comes from.
type Options struct {
	File  string     // path; empty for none
	Text  []byte     // the file's content if it was read already, else nil
	Env   []string   // as of [os.Environ]
	Flags []Override // the later counts
}

// Override is a value from the command line.
type Override struct {
	Key   string // as in the file; sources.NAME.KEY for a setting of a source
	Value string
	From  string // as the user wrote it, such as --listen
}

// Origin says where a value came from.
type Origin struct {
	Kind  OriginKind `json:"kind"`
	Where string     `json:"where,omitempty"` // FILE:LINE:COLUMN, a variable, a flag
}

// OriginKind is a kind of origin. Each overrides those before it.
type OriginKind string

// The kinds of origins.
const (
	FromDefault OriginKind = "default"
	FromFile    OriginKind = "file"
	FromEnv     OriginKind = "env"
	FromFlag    OriginKind = "flag"
)

// Problem is one thing that is wrong.
type Problem struct {
	Where   string `json:"where"` // FILE:LINE:COLUMN, a variable, a flag, or empty
	Key     string `json:"key,omitempty"`
	Message string `json:"message"`
}

// String is the problem in one line.
func (p Problem) String() string {
	var parts []string
	for _, s := range []string{p.Where, p.Key, p.Message} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return strings.Join(parts, ": ")
}

// Error is everything that is wrong with a configuration.
type Error struct{ Problems []Problem }

// Error has a line for each problem.
func (e *Error) Error() string {
	if len(e.Problems) == 1 {
		return "configuration: " + e.Problems[0].String()
	}
	var b strings.Builder
	fmt.Fprintf(&b, "configuration: %d problems", len(e.Problems))
	for _, p := range e.Problems {
		b.WriteString("\n  " + p.String())
	}
	return b.String()
}

// Loaded is a configuration, with where it came from.
type Loaded struct {
	Config   *Config
	Warnings []string // what is probably a mistake

	file  string
	items []*item
}

// item is a setting with its place and origin. Those of sources have the key sources.NAME.KEY.
type item struct {
	*Setting
	origin Origin
	source int // index, -1 for none
}

type loader struct {
	*Loaded
	opts     Options
	problems []Problem
	byKey    map[string]*item
	places   []string // of sources, in their order
}

func (l *loader) problem(where, key, format string, args ...any) {
	l.problems = append(l.problems, Problem{where, key, fmt.Sprintf(format, args...)})
}

// Load puts a configuration together. The error is an [*Error] with all problems, or that of reading the file.
func Load(o Options) (*Loaded, error) {
	if o.File == "" && o.Text != nil {
		o.File = "-"
	}
	l := &loader{Loaded: &Loaded{Config: &Config{}, file: o.File}, opts: o, byKey: map[string]*item{}}
	l.add(l.Config.table(), "", -1)
	if o.File != "" || o.Text != nil {
		if err := l.readFile(); err != nil {
			return nil, err
		}
	}
	l.environment()
	l.flags()
	l.required()
	if len(l.problems) == 0 { // relations between values that are no values tell nothing
		l.check()
	}
	if len(l.problems) > 0 {
		return nil, &Error{l.problems}
	}
	l.Config.derive()
	return l.Loaded, nil
}

// add takes settings into the table, with their defaults.
func (l *loader) add(table []*Setting, prefix string, source int) {
	for _, s := range table {
		if s.Default != "" {
			if err := s.value.set(s.Default); err != nil {
				l.problem("", prefix+s.Key, "default: %v", err)
			}
		}
		it := &item{Setting: s, origin: Origin{Kind: FromDefault}, source: source}
		if source >= 0 {
			s.Key = prefix + s.Key
			s.Env = envName(s.Key)
		}
		l.items = append(l.items, it)
		l.byKey[s.Key] = it
	}
}

// set gives a setting a value that somebody wrote.
func (l *loader) set(it *item, text string, o Origin) {
	if err := it.value.set(text); err != nil {
		l.problem(o.Where, it.Key, "%v", err)
		return
	}
	l.came(it, o)
}

func (l *loader) came(it *item, o Origin) {
	it.origin = o
	if r, ok := it.value.(interface{ rebase(dir string) }); ok && o.Kind == FromFile {
		r.rebase(filepath.Dir(l.opts.File))
	}
}

func (l *loader) readFile() error {
	text := l.opts.Text
	if text == nil {
		f, err := os.Open(l.opts.File)
		if err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
		text, err = io.ReadAll(io.LimitReader(f, MaxFile+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("read configuration: %w", err)
		}
	}
	if len(text) > MaxFile {
		return fmt.Errorf("read configuration %s: larger than %d bytes", l.opts.File, MaxFile)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil // nothing, or comments
	}
	if err != nil {
		l.syntax(err)
		return nil
	}
	if err := dec.Decode(&more); err == nil {
		l.problem(l.at(&more), "", "a second document: want one")
	} else if !errors.Is(err, io.EOF) {
		l.syntax(err)
	}
	if len(doc.Content) != 1 {
		return nil
	}
	if top := doc.Content[0]; !isNull(top) {
		l.mapping(top, "", -1)
	}
	return nil
}

var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:unmarshal errors:\s*)?line (\d+): `)

// syntax tells what is not YAML, with the line if the parser knows it.
func (l *loader) syntax(err error) {
	msg := err.Error()
	where := l.opts.File
	if m := yamlLine.FindStringSubmatch(msg); m != nil {
		where += ":" + m[1]
		msg = msg[len(m[0]):]
	}
	l.problem(where, "", "not YAML: %s", strings.TrimPrefix(msg, "yaml: "))
}

func (l *loader) at(n *yaml.Node) string {
	return fmt.Sprintf("%s:%d:%d", l.opts.File, n.Line, n.Column)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// mapping reads a section. Prefix is what the keys of its settings begin with.
func (l *loader) mapping(n *yaml.Node, prefix string, source int) {
	if n.Kind != yaml.MappingNode {
		l.problem(l.at(n), strings.TrimSuffix(prefix, "."), "want a section with keys, not %s", kindName(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Kind != yaml.ScalarNode {
			l.problem(l.at(k), strings.TrimSuffix(prefix, "."), "a key that is %s", kindName(k))
			continue
		}
		key := prefix + k.Value
		if seen[k.Value] {
			l.problem(l.at(k), key, "set twice")
			continue
		}
		seen[k.Value] = true
		it := l.byKey[key]
		switch {
		case strings.Contains(k.Value, ".") && (it != nil || l.section(key+".", source)):
			l.problem(l.at(k), key, "write sections below each other, without dots")
		case key == "sources" && source < 0:
			l.sources(v)
		case it != nil:
			l.assign(it, v)
		case l.section(key+".", source):
			if isNull(v) { // all that it has is commented out
				continue
			}
			l.mapping(v, key+".", source)
		default:
			l.problem(l.at(k), key, "unknown key%s", l.nearest(k.Value, prefix, source))
		}
	}
}

// section says whether settings begin with prefix.
func (l *loader) section(prefix string, source int) bool {
	return slices.ContainsFunc(l.items, func(it *item) bool { return it.source == source && strings.HasPrefix(it.Key, prefix) })
}

// assign gives a setting the value of a node.
func (l *loader) assign(it *item, n *yaml.Node) {
	o := Origin{FromFile, l.at(n)}
	one, isList := it.value.(interface{ setList([]string) error })
	several, isEntries := it.value.(interface {
		setNode(*yaml.Node) []trouble
	})
	switch {
	case isNull(n):
		l.problem(o.Where, it.Key, "it has no value; leave it out for the default")
	case isList:
		if n.Kind != yaml.SequenceNode {
			l.problem(o.Where, it.Key, "want a list, such as [a, b], not %s", kindName(n))
			return
		}
		items := []string{}
		for _, c := range n.Content {
			if c.Kind != yaml.ScalarNode || isNull(c) || odd(c) {
				l.problem(l.at(c), it.Key, "want text in the list, not %s", kindName(c))
				return
			}
			items = append(items, c.Value)
		}
		if err := one.setList(items); err != nil {
			l.problem(o.Where, it.Key, "%v", err)
			return
		}
		l.came(it, o)
	case isEntries:
		for _, t := range several.setNode(n) {
			l.problem(l.at(t.at), it.Key, "%v", t.err)
			isEntries = false
		}
		if isEntries {
			l.came(it, o)
		}
	case n.Kind != yaml.ScalarNode || odd(n):
		l.problem(o.Where, it.Key, "want %s, not %s", it.Kind, kindName(n))
	default:
		l.set(it, n.Value, o)
	}
}

// odd is a scalar that says itself what it is.
func odd(n *yaml.Node) bool { return n.Style&yaml.TaggedStyle != 0 }

func kindName(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a section"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Kind == yaml.AliasNode:
		return "an alias, which a configuration has not"
	case isNull(n):
		return "nothing"
	case odd(n):
		return "a tagged value"
	}
	return "a single value"
}

// sources reads the list of sources.
func (l *loader) sources(n *yaml.Node) {
	if isNull(n) {
		return
	}
	if n.Kind != yaml.SequenceNode {
		l.problem(l.at(n), "sources", "want a list of sources, each with name and type, not %s", kindName(n))
		return
	}
	if len(n.Content) > maxSources {
		l.problem(l.at(n), "sources", "%d are more than %d", len(n.Content), maxSources)
		return
	}
	// Their places are final before settings point to them.
	l.Config.Sources = make([]Source, len(n.Content))
	names := map[string]bool{}
	for i, c := range n.Content {
		l.places = append(l.places, l.at(c))
		if c.Kind != yaml.MappingNode {
			l.problem(l.at(c), "sources", "want a source with name and type, not %s", kindName(c))
			continue
		}
		name := sourceName(c)
		if checkSourceName(name) != nil || names[name] {
			if names[name] {
				l.problem(l.at(c), "sources", "there is another source %q", name)
			}
			name = fmt.Sprintf("[%d]", i) // its own problem is told with its name
		}
		names[name] = true
		prefix := "sources." + name + "."
		l.add(l.Config.Sources[i].table(), prefix, i)
		l.mapping(c, prefix, i)
	}
}

// sourceName looks up the name of a source, which is part of the keys of its settings.
func sourceName(n *yaml.Node) string {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "name" && n.Content[i+1].Kind == yaml.ScalarNode {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// notSettings are variables of the program that are no settings.
var notSettings = [...]string{"SPOOR_CONFIG", "SPOOR_SERVER", "SPOOR_TOKEN", "SPOOR_SHARED"}

func (l *loader) environment() {
	names := map[string]string{}
	for _, it := range l.items {
		if other, ok := names[it.Env]; ok {
			l.problem("", it.Key, "the variable %s would set %s too: take another name", it.Env, other)
		}
		names[it.Env] = it.Key
	}
	vars := slices.Clone(l.opts.Env)
	slices.Sort(vars)
	for _, v := range vars {
		name, value, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, "SPOOR_") || slices.Contains(notSettings[:], name) || value == "" {
			continue
		}
		if key, ok := names[name]; ok {
			l.set(l.byKey[key], value, Origin{FromEnv, name})
			continue
		}
		// Not an error: others name variables so too, orchestrators for example.
		best, d := "", 4
		for known := range names {
			if n := distance(name, known); n < d || n == d && known < best {
				best, d = known, n
			}
		}
		if best != "" {
			l.Warnings = append(l.Warnings, fmt.Sprintf("the variable %s sets nothing; did you mean %s?", name, best))
		}
	}
}

func (l *loader) flags() {
	for _, f := range l.opts.Flags {
		it, ok := l.byKey[f.Key]
		if !ok {
			l.problem(f.From, f.Key, "unknown key%s", l.nearest(f.Key, "", -1))
			continue
		}
		l.set(it, f.Value, Origin{FromFlag, f.From})
	}
}

// nearest proposes what could have been meant by a key below prefix.
func (l *loader) nearest(key, prefix string, source int) string {
	best, d := "", max(2, len(key)/3)+1
	consider := func(candidate, full string) {
		if n := distance(key, candidate); n < d || n == d && best != "" && full < best {
			best, d = full, n
		}
	}
	if source < 0 && prefix == "" {
		consider("sources", "sources")
	}
	for _, it := range l.items {
		if it.source != source {
			continue
		}
		if rest, ok := strings.CutPrefix(it.Key, prefix); ok {
			first, _, _ := strings.Cut(rest, ".")
			consider(first, first)
			if prefix == "" {
				consider(rest, rest)
			}
		}
	}
	if best == "" { // it may be in another section
		for _, it := range l.items {
			if it.source == source && it.Key[strings.LastIndexByte(it.Key, '.')+1:] == key {
				best = it.Key
				break
			}
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf("; did you mean %s?", best)
}

// distance is how many letters must be changed, added, left out or exchanged with their neighbour to make b of a.
func distance(a, b string) int {
	if len(a) > 200 || len(b) > 200 {
		return max(len(a), len(b))
	}
	before, last, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		next[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next[j+1] = min(last[j]+cost, last[j+1]+1, next[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, last, next = last, next, before
	}
	return last[len(b)]
}

// where is the place of a setting for messages.
func (l *loader) where(key string) string {
	it := l.byKey[key]
	switch {
	case it != nil && it.origin.Where != "":
		return it.origin.Where
	case it != nil && it.source >= 0:
		return l.places[it.source]
	}
	return l.opts.File
}

// given says whether somebody set a setting.
func (l *loader) given(key string) bool {
	it := l.byKey[key]
	return it != nil && it.origin.Kind != FromDefault
}
