// Package sigma reads Sigma rules, correlation rules and filters and compiles them to predicates over CloudTrail events.
//
// The language is that of the Sigma specification 2.1.0, with the retired forms that published rules still use: legacy
// collections (action: global, reset, repeat) and the aggregation behind a pipe in the condition, which becomes a
// correlation. Differences between the specification and what published rules need are told where they are handled.
// References between documents are not resolved here, but for filters ([Documents.ApplyFilters]).
package sigma

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"spoor/internal/event"
	"spoor/internal/match"
)

// Options says how rules are compiled.
type Options struct {
	// Placeholders are the lists that stand for %name% under the modifier expand. Values may hold wildcards. A rule
	// that names another placeholder is rejected.
	Placeholders map[string][]string
	// Aliases say where else to look when an event has nothing at a rule's field. Nil means DefaultAliases.
	Aliases map[string]Alias
}

// Alias stands in for a field that an event lacks. Exactly one of its members is set.
type Alias struct {
	// Path is another field of the event.
	Path string
	// Derive computes a text from the event, and says whether there is one. It must be safe for concurrent use.
	Derive func(*event.Event) (string, bool)
}

// DefaultAliases are the fields of other log sources that rules use: src_ip is the caller's address, user the actor's
// name. Enrichments such as src_country need a data base that a caller adds.
func DefaultAliases() map[string]Alias {
	return map[string]Alias{
		"src_ip": {Path: "sourceIPAddress"},
		"user": {Derive: func(e *event.Event) (string, bool) {
			name := e.Actor().Name
			return name, name != ""
		}},
	}
}

// Place is where a field of a rule or of a correlation is looked for: at its path, and if nothing is there at its alias.
func (o *Options) Place(field string) *match.Place {
	known := o.Aliases
	if known == nil {
		known = DefaultAliases()
	}
	p := match.At(event.ParsePath(field))
	switch alias, ok := known[field]; {
	case !ok:
	case alias.Derive != nil:
		return p.Else(match.Derived(field, alias.Derive))
	case alias.Path != "":
		return p.Else(match.At(event.ParsePath(alias.Path)))
	}
	return p
}

// Documents is what files hold.
type Documents struct {
	Rules        []*Rule
	Correlations []*Correlation
	Filters      []*Filter
}

// Append adds the documents of o to d.
func (d *Documents) Append(o Documents) {
	d.Rules = append(d.Rules, o.Rules...)
	d.Correlations = append(d.Correlations, o.Correlations...)
	d.Filters = append(d.Filters, o.Filters...)
}

// Parse reads the documents of a file. A document that cannot be used is a fatal Problem and does not stop the others;
// remarks on documents that can be used are Problems too.
func Parse(file string, data []byte, opts Options) (Documents, []Problem) {
	p := parser{file: file, opts: opts}
	if p.opts.Aliases == nil {
		p.opts.Aliases = DefaultAliases()
	}
	if len(data) > MaxFile {
		p.problem(0, "", fmt.Sprintf("the file has %d bytes, the limit is %d", len(data), MaxFile), true)
		return p.docs, p.problems
	}
	chunks := split(data)
	if len(chunks) == 0 {
		p.problem(0, "", "the file holds no document", true)
	}
	for i, c := range chunks {
		p.document(i+1, c)
	}
	return p.docs, p.problems
}

// parser reads one file.
type parser struct {
	file     string
	opts     Options
	docs     Documents
	problems []Problem

	global   *mapping // of action: global, for the rules that follow
	previous *mapping // for action: repeat
}

func (p *parser) problem(doc int, title, reason string, fatal bool) {
	p.problems = append(p.problems, Problem{File: p.file, Doc: doc, Title: title, Reason: reason, Fatal: fatal})
}

func (p *parser) document(doc int, c chunk) {
	m, err := c.decode()
	title := ""
	if err == nil {
		title, _ = text(m.get("title"))
		if m, err = p.collect(m); err == nil && m != nil {
			if title == "" {
				title, _ = text(m.get("title"))
			}
			var warnings []string
			warnings, err = p.compile(doc, m)
			for _, w := range warnings {
				p.problem(doc, title, w, false)
			}
		}
	}
	if err != nil {
		p.problem(doc, title, err.Error(), true)
	}
}

// collect applies the actions of legacy collections. It returns nil when the document is no rule of its own.
func (p *parser) collect(m *mapping) (*mapping, error) {
	action, _ := text(m.get("action"))
	if m.has("action") {
		m = without(m, "action")
	}
	switch action {
	case "global":
		if p.global != nil {
			m = merge(p.global, m)
		}
		p.global = m
		return nil, nil
	case "reset":
		p.global, p.previous = nil, nil
		if len(m.keys) == 0 {
			return nil, nil
		}
	case "repeat":
		if p.previous == nil {
			return nil, errors.New("action: repeat without a rule before it")
		}
		m = merge(p.previous, m)
	case "":
	default:
		return nil, fmt.Errorf("unknown action %q", action)
	}
	if m.has("correlation") || m.has("filter") {
		return m, nil
	}
	if p.global != nil && action != "repeat" {
		m = merge(p.global, m)
	}
	p.previous = m
	return m, nil
}

func without(m *mapping, key string) *mapping {
	out := newMapping()
	for _, k := range m.keys {
		if k != key {
			out.set(k, m.vals[k])
		}
	}
	return out
}

func (p *parser) compile(doc int, m *mapping) ([]string, error) {
	meta, warnings, err := readMeta(m)
	if err != nil {
		return nil, err
	}
	meta.File, meta.Doc = p.file, doc
	var w []string
	switch {
	case m.has("correlation"):
		w, err = p.correlation(meta, m)
	case m.has("filter"):
		w, err = p.filter(meta, m)
	case m.has("detection"):
		w, err = p.rule(meta, m)
	default:
		err = errors.New("neither a rule (detection) nor a correlation nor a filter")
	}
	return append(warnings, w...), err
}

func (p *parser) rule(meta Meta, m *mapping) ([]string, error) {
	if meta.Title == "" {
		return nil, errors.New("no title")
	}
	source, err := readLogSource(m)
	if err != nil {
		return nil, err
	}
	detection, ok := m.get("detection").(*mapping)
	if !ok {
		return nil, errors.New("detection is not a map")
	}
	if !detection.has("condition") {
		return nil, errors.New("detection has no condition")
	}
	c := compiler{opts: &p.opts}
	sels, err := c.selections(detection, "condition", "timeframe")
	if err != nil {
		return nil, err
	}
	conditions, err := conditionTexts(detection.get("condition"))
	if err != nil {
		return nil, err
	}
	var xs []match.Expr
	for _, cond := range conditions {
		if before, agg, ok := strings.Cut(cond, "|"); ok {
			if len(conditions) > 1 {
				return nil, errors.New("an aggregation in a list of conditions")
			}
			return c.warnings, p.aggregation(&c, meta, source, sels, before, agg, detection.get("timeframe"))
		}
		x, err := sels.condition(cond)
		if err != nil {
			return nil, err
		}
		xs = append(xs, x)
	}
	if detection.has("timeframe") {
		c.warn("the timeframe is ignored: the condition has no aggregation")
	}
	c.warnings = append(c.warnings, sels.warnings...)
	p.docs.Rules = append(p.docs.Rules, &Rule{Meta: meta, LogSource: source, Expr: match.Or(xs...), Warnings: c.warnings})
	return c.warnings, nil
}

// conditionTexts reads a condition, a text or a list of texts.
func conditionTexts(v any) ([]string, error) {
	if s, ok := v.(string); ok {
		return []string{s}, nil
	}
	if s, ok := text(v); ok {
		return []string{s}, nil
	}
	list, ok := v.([]any)
	if !ok || len(list) == 0 {
		return nil, errors.New("the condition is neither a text nor a list of texts")
	}
	var out []string
	for _, one := range list {
		s, ok := text(one)
		if !ok {
			return nil, errors.New("the condition is neither a text nor a list of texts")
		}
		out = append(out, s)
	}
	return out, nil
}

func readLogSource(m *mapping) (LogSource, error) {
	ls, ok := m.get("logsource").(*mapping)
	if !ok {
		return LogSource{}, errors.New("no logsource")
	}
	var s LogSource
	for key, to := range map[string]*string{"category": &s.Category, "product": &s.Product, "service": &s.Service} {
		v := ls.get(key)
		if v == nil {
			continue
		}
		t, ok := text(v)
		if !ok {
			return LogSource{}, fmt.Errorf("logsource.%s is not a text", key)
		}
		*to = strings.ToLower(strings.TrimSpace(t))
	}
	return s, nil
}

// Applies reports whether documents of this source are about CloudTrail events: product aws and service cloudtrail, of
// which either may be missing, and no category. A source that names nothing is about every log, and applies.
func (s LogSource) Applies() bool {
	return s.Category == "" && (s.Product == "" || s.Product == "aws") && (s.Service == "" || s.Service == "cloudtrail")
}

// fits reports whether a filter of source s is meant for a rule of source r; a missing part matches anything.
func (s LogSource) fits(r LogSource) bool {
	part := func(a, b string) bool { return a == "" || b == "" || a == b }
	return part(s.Category, r.Category) && part(s.Product, r.Product) && part(s.Service, r.Service)
}

// levels and statuses of the specification.
var (
	levels   = []string{"informational", "low", "medium", "high", "critical"}
	statuses = []string{"stable", "test", "experimental", "deprecated", "unsupported"}
)

func readMeta(m *mapping) (Meta, []string, error) {
	var meta Meta
	var warnings []string
	for key, to := range map[string]*string{"id": &meta.ID, "name": &meta.Name, "title": &meta.Title, "status": &meta.Status,
		"description": &meta.Description, "license": &meta.License, "author": &meta.Author, "level": &meta.Level,
		"date": &meta.Date, "modified": &meta.Modified} {
		v := m.get(key)
		if t, ok := text(v); ok {
			*to = strings.TrimSpace(t)
		} else if list := textList(v); len(list) > 0 {
			*to = strings.Join(list, ", ")
		}
	}
	meta.Level, meta.Status = strings.ToLower(meta.Level), strings.ToLower(meta.Status)
	if meta.Level != "" && !slices.Contains(levels, meta.Level) {
		warnings = append(warnings, fmt.Sprintf("unknown level %q is taken as none", meta.Level))
		meta.Level = ""
	}
	if meta.Status != "" && !slices.Contains(statuses, meta.Status) {
		warnings = append(warnings, fmt.Sprintf("unknown status %q is taken as none", meta.Status))
		meta.Status = ""
	}
	meta.References = textList(m.get("references"))
	meta.FalsePositives = textList(m.get("falsepositives"))
	meta.Fields = textList(m.get("fields"))
	for _, t := range textList(m.get("tags")) {
		meta.Tags = append(meta.Tags, strings.ReplaceAll(strings.ToLower(strings.TrimSpace(t)), "_", "-"))
	}
	if list, ok := m.get("related").([]any); ok {
		for _, one := range list {
			if r, ok := one.(*mapping); ok {
				id, _ := text(r.get("id"))
				kind, _ := text(r.get("type"))
				meta.Related = append(meta.Related, Related{ID: id, Type: kind})
			}
		}
	}
	if !m.has("spoor") {
		return meta, warnings, nil
	}
	ext, ok := m.get("spoor").(*mapping)
	if !ok {
		return meta, nil, errors.New("spoor is not a map")
	}
	for _, key := range ext.keys {
		switch v := ext.vals[key]; key {
		case "check":
			meta.Spoor.Check = textList(v)
		case "controls":
			meta.Spoor.Controls = textList(v)
		case "signals":
			meta.Spoor.Signals = textList(v)
		case "attempts":
			meta.Spoor.Attempts, _ = text(v)
			if !slices.Contains([]string{"same", "lower", "ignore"}, meta.Spoor.Attempts) {
				return meta, nil, errors.New("spoor.attempts is none of same, lower, ignore")
			}
		default:
			warnings = append(warnings, fmt.Sprintf("spoor.%s is unknown", key))
		}
	}
	return meta, warnings, nil
}
