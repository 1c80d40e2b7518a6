package detect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"spoor/internal/detect/window"
	"spoor/internal/event"
	"spoor/internal/match/sigma"
)

// Source is where rules are read from. Exactly one of FS and Path is set.
type Source struct {
	Name string // the suite, shown with every rule; for a Path its last element by default
	FS   fs.FS
	Path string // a file or a folder
}

// Options says what is loaded and what of it runs.
type Options struct {
	Sources []Source
	// Strict makes a document that cannot be loaded an error.
	Strict bool
	// EnableDeprecated runs rules of status deprecated and unsupported, which are off otherwise.
	EnableDeprecated bool
	// Enable and Disable list rules by id, name or title, without regard to case. An enabled rule runs whatever its status,
	// and alerts even if a correlation refers to it.
	Enable, Disable []string
	// Placeholders and Aliases are handed to the Sigma compiler.
	Placeholders map[string][]string
	Aliases      map[string]sigma.Alias
}

// MaxRuleFiles bounds the files of all sources.
const MaxRuleFiles = 100_000

// ErrStrict is wrapped by the error of [Load] when documents could not be loaded and Options.Strict is set.
var ErrStrict = errors.New("rules could not be loaded")

// Load reads rules. A document that cannot be used is a problem, named with its file, document and reason, and never stops
// the others. An error means that a source could not be read at all, or, with Options.Strict, that there was a fatal
// problem; then the rule set holds what could be loaded.
func Load(ctx context.Context, opt Options) (*Ruleset, []sigma.Problem, error) {
	l := loader{opt: opt, suite: map[any]string{}, file: map[any]int{}}
	for _, s := range opt.Sources {
		if err := l.read(ctx, s); err != nil {
			return nil, l.problems, err
		}
	}
	rs := l.build()
	rs.problems = l.problems
	if opt.Strict {
		n := 0
		for _, p := range l.problems {
			if p.Fatal {
				n++
			}
		}
		if n > 0 {
			return rs, l.problems, fmt.Errorf("%w: %d problems", ErrStrict, n)
		}
	}
	return rs, l.problems, nil
}

type loader struct {
	opt      Options
	docs     sigma.Documents
	suite    map[any]string // of a *sigma.Rule or *sigma.Correlation
	file     map[any]int    // number of the file that it came from
	files    int
	problems []sigma.Problem
}

// read parses the files of a source, in the order of their names.
func (l *loader) read(ctx context.Context, s Source) error {
	fsys, show := s.FS, func(name string) string { return name }
	if fsys == nil {
		info, err := os.Stat(s.Path)
		if err != nil {
			return fmt.Errorf("read rules: %w", err)
		}
		if s.Name == "" {
			s.Name = filepath.Base(s.Path)
		}
		if !info.IsDir() {
			data, err := os.ReadFile(s.Path)
			if err != nil {
				return fmt.Errorf("read rules: %w", err)
			}
			l.take(s.Name, l.parse(s.Path, data))
			return nil
		}
		fsys = os.DirFS(s.Path)
		show = func(name string) string { return filepath.Join(s.Path, filepath.FromSlash(name)) }
	}
	var found []ruleFile
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			if name == "." {
				return err
			}
			found = append(found, ruleFile{name: name, problems: broken(show(name), err)})
			return nil
		case d.IsDir():
			if name != "." && strings.HasPrefix(d.Name(), ".") {
				return fs.SkipDir
			}
			return nil
		case !isRuleFile(name):
			return nil
		}
		if found = append(found, ruleFile{name: name}); l.files+len(found) > MaxRuleFiles {
			return fmt.Errorf("more than %d files", MaxRuleFiles)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("read rules of %s: %w", cmp.Or(s.Name, s.Path), err)
	}
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range found {
		g.Go(func() error {
			f := &found[i]
			if len(f.problems) > 0 || ctx.Err() != nil {
				return context.Cause(ctx)
			}
			data, err := fs.ReadFile(fsys, f.name)
			if err != nil {
				f.problems = broken(show(f.name), err)
				return nil
			}
			*f = l.parse(show(f.name), data)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("read rules of %s: %w", cmp.Or(s.Name, s.Path), err)
	}
	for _, f := range found {
		l.take(s.Name, f)
	}
	return nil
}

// ruleFile is a file of a source and what was read from it.
type ruleFile struct {
	name     string
	parsed   bool
	docs     sigma.Documents
	problems []sigma.Problem
}

// broken is the problem of a file that could not be read.
func broken(file string, err error) []sigma.Problem {
	return []sigma.Problem{{File: file, Reason: err.Error(), Fatal: true}}
}

// isRuleFile reports whether a file holds rules: YAML, but no test cases.
func isRuleFile(name string) bool {
	ext := path.Ext(name)
	return (ext == ".yml" || ext == ".yaml") && path.Ext(strings.TrimSuffix(name, ext)) != ".test" && !strings.HasPrefix(path.Base(name), ".")
}

func (l *loader) problem(file string, doc int, title, reason string, fatal bool) {
	l.problems = append(l.problems, sigma.Problem{File: file, Doc: doc, Title: title, Reason: reason, Fatal: fatal})
}

func (l *loader) reject(m *sigma.Meta, format string, args ...any) {
	l.problem(m.File, m.Doc, m.Title, fmt.Sprintf(format, args...), true)
}

// parse reads the documents of a file. It is safe for concurrent use.
func (l *loader) parse(file string, data []byte) ruleFile {
	docs, problems := sigma.Parse(file, data, sigma.Options{Placeholders: l.opt.Placeholders, Aliases: l.opt.Aliases})
	return ruleFile{parsed: true, docs: docs, problems: problems}
}

// take adds what was read from a file of a suite.
func (l *loader) take(suite string, f ruleFile) {
	l.problems = append(l.problems, f.problems...)
	if !f.parsed {
		return
	}
	l.files++
	for _, r := range f.docs.Rules {
		l.suite[r], l.file[r] = suite, l.files
	}
	for _, c := range f.docs.Correlations {
		l.suite[c], l.file[c] = suite, l.files
		for _, r := range c.Base {
			l.suite[r], l.file[r] = suite, l.files
		}
	}
	l.docs.Append(f.docs)
}

// candidate is a loaded rule or correlation while it is decided what runs.
type candidate struct {
	meta   *sigma.Meta
	rule   *sigma.Rule
	corr   *sigma.Correlation
	suite  string
	file   int
	part   bool // base rule of a correlation in the same document
	parent *candidate

	off      string // why it does not run by itself
	disabled bool   // by the user
	enabled  bool   // by the user
	noFit    bool

	refs      []*candidate // of a correlation
	state     int          // unseen, resolving, resolved or rejected
	feeds     bool         // a running correlation refers to it
	generates bool         // one of those lets it alert
	index     int          // in the rule set, -1 when it does not run
}

func (c *candidate) String() string {
	if c.meta.Title != "" {
		return fmt.Sprintf("%q", c.meta.Title)
	}
	return cmp.Or(c.meta.ID, c.meta.Name, "a rule without a title")
}

// build decides what runs.
func (l *loader) build() *Ruleset {
	l.problems = append(l.problems, l.docs.ApplyFilters()...)
	rs := &Ruleset{}
	all := l.candidates()
	for _, c := range all {
		l.judge(c)
	}
	byRef := newReferences(all)
	var corrs []*candidate // in the order in which they are resolved
	for _, c := range all {
		if c.corr != nil && c.off == "" {
			l.resolve(c, byRef, &corrs)
		}
	}
	for _, c := range corrs {
		for _, r := range c.refs {
			r.feeds = true
			r.generates = r.generates || c.corr.Generate
		}
	}
	for _, c := range all {
		c.index = -1
		if c.rule != nil && !c.noFit && (c.off == "" && !c.part || c.feeds) {
			c.index = len(rs.rules)
			rs.rules = append(rs.rules, &eventRule{index: c.index, info: ruleInfo(c, false), src: c.rule, part: c.part,
				attempts: parseAttempts(c.meta.Spoor.Attempts), alerts: c.alerts()})
			continue
		}
		if c.off != "" && !c.part {
			rs.off = append(rs.off, Off{Rule: ruleInfo(c, c.corr != nil), Reason: c.off})
		}
	}
	for i, c := range corrs {
		c.index = i
		rs.correlations = append(rs.correlations, &correlation{index: i, info: ruleInfo(c, true), src: c.corr, alerts: c.alerts(),
			attempts: parseAttempts(c.meta.Spoor.Attempts)})
	}
	for i, c := range corrs {
		l.connect(rs, c, rs.correlations[i])
	}
	return rs
}

// alerts reports whether a rule that runs makes findings of its own.
func (c *candidate) alerts() bool {
	if c.part {
		return c.generates
	}
	return c.enabled || c.off == "" && (!c.feeds || c.generates)
}

// candidates lists what was loaded, each id once.
func (l *loader) candidates() []*candidate {
	var all []*candidate
	for _, r := range l.docs.Rules {
		all = append(all, &candidate{meta: &r.Meta, rule: r, suite: l.suite[r], file: l.file[r]})
	}
	for _, c := range l.docs.Correlations {
		all = append(all, &candidate{meta: &c.Meta, corr: c, suite: l.suite[c], file: l.file[c]})
	}
	slices.SortStableFunc(all, func(a, b *candidate) int {
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.meta.Doc, b.meta.Doc))
	})
	first := map[string]*candidate{}
	out := make([]*candidate, 0, len(all))
	for _, c := range all {
		if id := strings.ToLower(c.meta.ID); id != "" {
			if f := first[id]; f != nil {
				l.problem(c.meta.File, c.meta.Doc, c.meta.Title, fmt.Sprintf("the id %s is that of %s in %s: the first is kept", c.meta.ID, f, f.meta.File),
					c.suite == f.suite)
				continue
			}
			first[id] = c
		}
		out = append(out, c)
		if c.corr != nil {
			for _, r := range c.corr.Base {
				out = append(out, &candidate{meta: &r.Meta, rule: r, suite: c.suite, file: c.file, part: true, parent: c})
			}
		}
	}
	return out
}

// judge decides from the document alone whether a rule runs.
func (l *loader) judge(c *candidate) {
	if c.part {
		c.noFit = !c.rule.LogSource.Applies()
		c.off = c.parent.off
		return
	}
	c.enabled, c.disabled = names(l.opt.Enable, c.meta), names(l.opt.Disable, c.meta)
	source := sigma.LogSource{}
	if c.rule != nil {
		source = c.rule.LogSource
	} else if len(c.corr.Base) > 0 {
		source = c.corr.Base[0].LogSource
	}
	switch {
	case !source.Applies():
		c.noFit = true
		c.off = "its log source is not CloudTrail: " + strings.Trim(strings.Join([]string{source.Product, source.Category, source.Service}, "/"), "/")
	case c.disabled:
		c.off = "switched off"
	case (c.meta.Status == "deprecated" || c.meta.Status == "unsupported") && !c.enabled && !l.opt.EnableDeprecated:
		c.off = "status " + c.meta.Status
	}
}

func names(list []string, m *sigma.Meta) bool {
	return slices.ContainsFunc(list, func(s string) bool {
		return s != "" && (strings.EqualFold(s, m.ID) || strings.EqualFold(s, m.Name) || strings.EqualFold(s, m.Title))
	})
}

// references finds rules by id, then name, then title.
type references struct{ by [3]map[string][]*candidate }

func newReferences(all []*candidate) *references {
	r := &references{}
	for i := range r.by {
		r.by[i] = map[string][]*candidate{}
	}
	for _, c := range all {
		keys := [3]string{strings.ToLower(c.meta.ID), c.meta.Name, c.meta.Title}
		if c.part {
			keys[1], keys[2] = "", "" // known by its id alone
		}
		for i, k := range keys {
			if k != "" {
				r.by[i][k] = append(r.by[i][k], c)
			}
		}
	}
	return r
}

// find returns the rule that ref means in a document of c's file: of several with the same name or title, one of the same
// file, or else the first that was loaded.
func (r *references) find(ref string, c *candidate) *candidate {
	for i, key := range []string{strings.ToLower(ref), ref, ref} {
		var found *candidate
		for _, x := range r.by[i][key] {
			if x == c || x.part && x.parent != c {
				continue
			}
			if found == nil || found.file != c.file && x.file == c.file {
				found = x
			}
		}
		if found != nil {
			return found
		}
	}
	for i, key := range []string{strings.ToLower(ref), ref, ref} {
		if slices.Contains(r.by[i][key], c) {
			return c // itself
		}
	}
	return nil
}

const (
	unseen = iota
	resolving
	resolved
	rejected
)

// resolve finds what a correlation refers to, and appends it to done after those that it refers to. It reports whether
// the correlation can run.
func (l *loader) resolve(c *candidate, byRef *references, done *[]*candidate) bool {
	switch c.state {
	case resolved:
		return true
	case rejected:
		return false
	}
	c.state = resolving
	fail := func(format string, args ...any) bool {
		c.state = rejected
		l.reject(c.meta, format, args...)
		return false
	}
	if len(c.corr.Rules) > window.MaxRefs && (c.corr.Type == sigma.Temporal || c.corr.Type == sigma.TemporalOrdered) {
		return fail("it refers to %d rules, more than %d", len(c.corr.Rules), window.MaxRefs)
	}
	for _, ref := range c.corr.Rules {
		r := byRef.find(ref, c)
		switch {
		case r == nil:
			return fail("it refers to %q, which is not loaded", ref)
		case r.noFit:
			return fail("it refers to %s: %s", r, r.off)
		case r.disabled:
			c.state = rejected
			c.off = fmt.Sprintf("it refers to %s, which is switched off", r)
			return false
		case r.corr != nil && r.state == resolving:
			return fail("it refers to itself, by way of %s", r)
		case r.corr != nil && !l.resolve(r, byRef, done):
			if c.state == rejected {
				return false
			}
			if r.off != "" && r.disabled || strings.HasPrefix(r.off, "it refers to") {
				c.state = rejected
				c.off = fmt.Sprintf("it refers to %s, which does not run", r)
				return false
			}
			return fail("it refers to %s, which could not be loaded", r)
		}
		c.refs = append(c.refs, r)
	}
	if _, err := windowSpec(c.corr); err != nil {
		return fail("%v", err)
	}
	c.state = resolved
	*done = append(*done, c)
	return true
}

var windowKinds = map[sigma.CorrelationType]window.Kind{
	sigma.EventCount: window.Count, sigma.ValueCount: window.Distinct, sigma.Temporal: window.Temporal,
	sigma.TemporalOrdered: window.Ordered, sigma.ValueSum: window.Sum, sigma.ValueAvg: window.Avg,
	sigma.ValuePercentile: window.Percentile, sigma.ValueMedian: window.Percentile, sigma.ValueMin: window.Min, sigma.ValueMax: window.Max,
}

var windowOps = map[string]window.Op{"gt": window.GT, "gte": window.GTE, "lt": window.LT, "lte": window.LTE, "eq": window.EQ, "neq": window.NEQ}

// windowSpec translates a correlation.
func windowSpec(c *sigma.Correlation) (window.Spec, error) {
	kind, ok := windowKinds[c.Type]
	if !ok {
		return window.Spec{}, fmt.Errorf("unknown correlation type %q", c.Type)
	}
	s := window.Spec{Kind: kind, Span: c.Timespan, Refs: len(c.Rules), Percent: c.Percentile}
	if c.Type == sigma.ValueMedian {
		s.Percent = 50
	}
	if s.Span <= 0 {
		return s, errors.New("it has no timespan")
	}
	for _, cond := range c.Conditions {
		op, ok := windowOps[cond.Op]
		if !ok {
			return s, fmt.Errorf("unknown comparison %q", cond.Op)
		}
		s.Conds = append(s.Conds, window.Cond{Op: op, Value: cond.Value})
	}
	temporal := kind == window.Temporal || kind == window.Ordered
	measured := kind != window.Count && !temporal
	switch {
	case !temporal && len(s.Conds) == 0:
		return s, errors.New("it has no condition")
	case measured && len(c.Fields) == 0:
		return s, fmt.Errorf("%s has no field in its condition", c.Type)
	case c.Expression != nil && !temporal:
		return s, fmt.Errorf("%s takes no condition in words", c.Type)
	case c.Expression == nil:
		return s, nil
	}
	expr, err := compileExpr(c.Expression, c.Rules, false, &s)
	if err != nil {
		return s, err
	}
	s.Expr = expr
	return s, nil
}

func compileExpr(x *sigma.BoolExpr, rules []string, negated bool, s *window.Spec) (func(uint64) bool, error) {
	list := func(xs []*sigma.BoolExpr) ([]func(uint64) bool, error) {
		var out []func(uint64) bool
		for _, x := range xs {
			f, err := compileExpr(x, rules, negated, s)
			if err != nil {
				return nil, err
			}
			out = append(out, f)
		}
		return out, nil
	}
	switch {
	case x.Not != nil:
		s.AtEnd = true
		f, err := compileExpr(x.Not, rules, !negated, s)
		if err != nil {
			return nil, err
		}
		return func(r uint64) bool { return !f(r) }, nil
	case len(x.And) > 0:
		fs, err := list(x.And)
		if err != nil {
			return nil, err
		}
		return func(r uint64) bool { return !slices.ContainsFunc(fs, func(f func(uint64) bool) bool { return !f(r) }) }, nil
	case len(x.Or) > 0:
		fs, err := list(x.Or)
		if err != nil {
			return nil, err
		}
		return func(r uint64) bool { return slices.ContainsFunc(fs, func(f func(uint64) bool) bool { return f(r) }) }, nil
	}
	i := slices.Index(rules, x.Ref)
	if i < 0 {
		return nil, fmt.Errorf("its condition names %q, which is not among its rules", x.Ref)
	}
	bit := uint64(1) << i
	if !negated {
		s.Asserted |= bit
	}
	return func(r uint64) bool { return r&bit != 0 }, nil
}

// connect lays the ways from the rules to a correlation.
func (l *loader) connect(rs *Ruleset, c *candidate, out *correlation) {
	spec, _ := windowSpec(c.corr) // was checked when it was resolved
	out.spec, out.group, out.missing = spec, c.corr.GroupBy, c.corr.CorrelateMissing
	switch spec.Kind {
	case window.Sum, window.Avg, window.Percentile, window.Min, window.Max:
		out.numeric = true
	}
	for i, r := range c.refs {
		mask := uint64(1) << min(i, window.MaxRefs-1)
		ref := reference{rule: -1, corr: -1, title: r.meta.Title}
		group := fieldsFor(c.corr, c.corr.GroupBy, c.corr.Rules[i])
		values := fieldsFor(c.corr, c.corr.Fields, c.corr.Rules[i])
		if r.rule != nil {
			ref.rule = r.index
			if c.corr.Base != nil {
				ref.title = fmt.Sprintf("selection %d", i+1)
			}
			er := rs.rules[r.index]
			er.feeds = append(er.feeds, feed{corr: c.index, refs: mask, group: paths(group), values: paths(values)})
		} else {
			ref.corr = r.index
			inner := rs.correlations[r.index]
			inner.outs = append(inner.outs, chainFeed{corr: c.index, refs: mask, group: places(group, inner.group), values: places(values, inner.group)})
			d := inner.delay
			if inner.spec.JudgedAtEnd() {
				d += int64(inner.spec.Span)
			}
			out.delay = max(out.delay, d)
		}
		out.refs = append(out.refs, ref)
	}
}

// fieldsFor gives the fields that names stand for in events of a rule: aliases by their rule. A name that is an alias for
// other rules only stands for nothing.
func fieldsFor(c *sigma.Correlation, names []string, ref string) []string {
	var out []string
	for _, n := range names {
		if of, ok := c.Aliases[n]; ok {
			n = of[ref]
		}
		out = append(out, n)
	}
	return out
}

func paths(fields []string) []*event.Path {
	var out []*event.Path
	for _, f := range fields {
		out = append(out, event.ParsePath(f))
	}
	return out
}

func places(fields, group []string) []int {
	var out []int
	for _, f := range fields {
		out = append(out, slices.IndexFunc(group, func(g string) bool { return strings.EqualFold(g, f) }))
	}
	return out
}

func parseAttempts(s string) attempts {
	switch s {
	case "lower":
		return attemptsLower
	case "ignore":
		return attemptsIgnore
	}
	return attemptsSame
}

// DefaultLevel is the level of a rule that gives none.
const DefaultLevel = Medium

// ruleInfo is what findings show of a rule.
func ruleInfo(c *candidate, isCorrelation bool) Rule {
	m := c.meta
	level := DefaultLevel
	if i := slices.Index(Levels[:], m.Level); i >= 0 {
		level = Level(i)
	}
	return Rule{ID: cmp.Or(m.ID, m.Name, m.Title), Title: m.Title, Level: level, Status: m.Status, Description: m.Description, Author: m.Author,
		License: m.License, Suite: c.suite, File: m.File, References: m.References, Tags: m.Tags, FalsePositives: m.FalsePositives,
		Check: m.Spoor.Check, Controls: m.Spoor.Controls, Techniques: Techniques(m.Tags), Correlation: isCorrelation}
}
