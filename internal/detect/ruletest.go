package detect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"bytes"

	"go.yaml.in/yaml/v3"

	"spoor/internal/detect/window"
	"spoor/internal/event"
)

// Rule tests lie beside rule files: dir/name.yml has its cases in dir/name.test.yml. docs/formats/rule-tests.md gives the
// format.

// TestResult is the outcome of one case, or a fault of a test file or rule.
type TestResult struct {
	File   string // the test file, or the rule file where there is none
	Rule   string // title
	Kind   string // fire or quiet; "" for a fault that belongs to no case
	Case   string // its name, or its number among those of its kind
	OK     bool
	Reason string // why it failed
}

func (r TestResult) String() string {
	out := r.File
	if r.Rule != "" {
		out += ": " + r.Rule
	}
	if r.Kind != "" {
		out += ": " + r.Kind + " " + strconv.Quote(r.Case)
	}
	if r.OK {
		return out + ": ok"
	}
	return out + ": " + r.Reason
}

// The bounds of a rule test.
const (
	maxTestFile   = 4 << 20
	maxTestEvents = 100_000
	maxTestDepth  = 100
	maxTestNodes  = 1_000_000
	maxMerges     = 8 // merge keys within merged maps
)

// testStart is the time of the first event of a case that gives none.
var testStart = time.Date(2026, time.March, 2, 10, 0, 0, 0, time.UTC)

// RunTests runs the test cases beside the rules of fsys. Rules of every status are tested. Every rule needs a case in which it
// fires and one in which it stays quiet; a rule that only feeds correlations of its own file is tested by theirs. Results
// come in the order of files, rules and cases. Where a file holds several rules, cases are for the one that does not only feed
// the others, unless they name another. Of opt the placeholders and aliases count. An error means that fsys could not be
// read.
func RunTests(ctx context.Context, fsys fs.FS, opt Options) ([]TestResult, error) {
	rs, problems, err := Load(ctx, Options{
		Sources: []Source{{Name: "test", FS: fsys}}, EnableDeprecated: true, Placeholders: opt.Placeholders, Aliases: opt.Aliases,
	})
	if err != nil {
		return nil, err
	}
	t := tester{rs: rs, worker: NewEngine(rs).NewWorker(), covered: map[string]*[2]int{}}
	for _, p := range problems {
		if p.Fatal {
			t.fault(p.File, p.Title, fmt.Sprintf("document %d could not be loaded: %s", p.Doc, p.Reason))
		}
	}
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if base, ok := testedFile(name); ok && !d.IsDir() {
			data, err := fs.ReadFile(fsys, name)
			if err != nil {
				return err
			}
			t.file(name, base, data)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("run rule tests: %w", err)
	}
	t.untested()
	slices.SortStableFunc(t.results, func(a, b TestResult) int {
		return strings.Compare(testKey(a.File), testKey(b.File))
	})
	return t.results, nil
}

// testKey puts the faults of a rule file beside the results of its test file.
func testKey(file string) string {
	if base, ok := testedFile(file); ok {
		return base
	}
	return strings.TrimSuffix(file, path.Ext(file))
}

// testedFile gives the rule file of a test file, without its extension.
func testedFile(name string) (base string, ok bool) {
	ext := path.Ext(name)
	if ext != ".yml" && ext != ".yaml" {
		return "", false
	}
	return strings.CutSuffix(strings.TrimSuffix(name, ext), ".test")
}

type tester struct {
	rs      *Ruleset
	worker  *Worker
	results []TestResult
	covered map[string]*[2]int // by file and title of a rule: cases of either kind
}

func (t *tester) fault(file, rule, reason string) {
	t.results = append(t.results, TestResult{File: file, Rule: rule, Reason: reason})
}

// subject is a rule under test.
type subject struct {
	info   Rule
	event  *eventRule
	corr   *correlation
	helper bool // it only feeds correlations of its own file
}

func (t *tester) subjects(base string) []subject {
	var out []subject
	in := func(file string) bool { return strings.TrimSuffix(file, path.Ext(file)) == base }
	for _, r := range t.rs.rules {
		if in(r.info.File) && !r.part {
			out = append(out, subject{info: r.info, event: r, helper: t.feedsOwnFile(r)})
		}
	}
	for _, c := range t.rs.correlations {
		if in(c.info.File) {
			out = append(out, subject{info: c.info, corr: c, helper: t.passesToOwnFile(c)})
		}
	}
	return out
}

var kinds = [2]string{"fire", "quiet"}

func (t *tester) file(name, base string, data []byte) {
	if len(data) > maxTestFile {
		t.fault(name, "", fmt.Sprintf("the file has more than %d bytes", maxTestFile))
		return
	}
	subjects := t.subjects(base)
	if len(subjects) == 0 {
		t.fault(name, "", "there is no rule file that could be loaded beside it: "+base+".yml")
		return
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	docs := 0
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.fault(name, "", err.Error())
			return
		}
		docs++
		t.document(name, subjects, &doc)
	}
	if docs == 0 {
		t.fault(name, "", "the file holds no cases")
	}
}

func (t *tester) document(name string, subjects []subject, doc *yaml.Node) {
	top, err := members(doc)
	if err != nil {
		t.fault(name, "", err.Error())
		return
	}
	if bad := unknown(top, "rule", "defaults", "fire", "quiet"); bad != "" {
		t.fault(name, "", fmt.Sprintf("unknown key %q: a test file has rule, defaults, fire and quiet", bad))
		return
	}
	var defaults []member
	if n := find(top, "defaults"); n != nil {
		if defaults, err = members(n); err != nil {
			t.fault(name, "", "defaults: "+err.Error())
			return
		}
	}
	for k, kind := range kinds {
		list := find(top, kind)
		if list == nil || list.ShortTag() == "!!null" {
			continue
		}
		list = resolveAlias(list)
		if list.Kind != yaml.SequenceNode {
			t.fault(name, "", kind+" is not a list of cases")
			continue
		}
		for i, n := range list.Content {
			r := TestResult{File: name, Kind: kind, Case: strconv.Itoa(i + 1)}
			s, err := t.oneCase(&r, subjects, top, defaults, n, k == 0)
			r.Rule = s.info.Title
			if err != nil {
				r.Reason = err.Error()
			}
			r.OK = err == nil
			t.results = append(t.results, r)
			if s.info.Title != "" {
				key := s.info.File + "\x00" + s.info.Title
				if t.covered[key] == nil {
					t.covered[key] = new([2]int)
				}
				t.covered[key][k]++
			}
		}
	}
}

// oneCase reads and runs a case. The error says why it failed.
func (t *tester) oneCase(r *TestResult, subjects []subject, top, defaults []member, n *yaml.Node, fire bool) (subject, error) {
	c, err := members(n)
	if err != nil {
		return subject{}, err
	}
	if bad := unknown(c, "name", "rule", "event", "events", "absent"); bad != "" {
		return subject{}, fmt.Errorf("unknown key %q: a case has name, rule, event or events, and absent", bad)
	}
	if v := find(c, "name"); v != nil {
		r.Case = v.Value
	}
	s, err := pick(subjects, cmp.Or(scalar(find(c, "rule")), scalar(find(top, "rule"))))
	if err != nil {
		return s, err
	}
	events, err := caseEvents(c, defaults)
	if err != nil {
		return s, err
	}
	if s.corr != nil {
		return s, t.runCorrelation(s.corr, events, fire)
	}
	return s, t.runEvents(s.event, events, fire)
}

func pick(subjects []subject, name string) (subject, error) {
	if name == "" {
		if len(subjects) == 1 {
			return subjects[0], nil
		}
		own := slices.DeleteFunc(slices.Clone(subjects), func(s subject) bool { return s.helper })
		if len(own) == 1 {
			return own[0], nil
		}
		var titles []string
		for _, s := range subjects {
			titles = append(titles, strconv.Quote(s.info.Title))
		}
		return subject{}, fmt.Errorf("name the rule with `rule:`, the file has several: %s", strings.Join(titles, ", "))
	}
	for _, s := range subjects {
		if s.info.Title == name || s.info.ID == name {
			return s, nil
		}
	}
	return subject{}, fmt.Errorf("the rule file has no rule %q", name)
}

func (t *tester) runEvents(rule *eventRule, events []*event.Event, fire bool) error {
	var others []string
	for i, e := range events {
		hits := t.worker.run(e)
		if slices.Contains(hits, rule.index) {
			if fire {
				return nil
			}
			var held []string
			for _, m := range explain(t.worker.match.Context(), rule.src.Expr) {
				held = append(held, fmt.Sprintf("%s = %q", m.Path, m.Value))
			}
			if len(events) > 1 {
				return fmt.Errorf("fired on event %d: %s", i+1, strings.Join(held, ", "))
			}
			return fmt.Errorf("fired: %s", strings.Join(held, ", "))
		}
		for _, h := range hits {
			if title := strconv.Quote(t.rs.rules[h].info.Title); !slices.Contains(others, title) {
				others = append(others, title)
			}
		}
	}
	if !fire {
		return nil
	}
	if rule.attempts == attemptsIgnore && events[0].Failed() {
		return errors.New("did not fire: the call failed, and the rule says attempts: ignore")
	}
	if len(others) > 0 {
		return fmt.Errorf("did not fire; these did: %s", strings.Join(others, ", "))
	}
	return errors.New("did not fire")
}

func (t *tester) runCorrelation(c *correlation, events []*event.Event, fire bool) error {
	var fired []string
	k := newCorrelator(t.rs, func(by *correlation, f *window.Firing) {
		if by == c {
			fired = append(fired, observed(c, f))
		}
	}, func(*correlation, string, *window.Entry) {})
	slices.SortStableFunc(events, func(a, b *event.Event) int {
		return cmp.Or(cmp.Compare(a.Time, b.Time), strings.Compare(a.ID(), b.ID()))
	})
	matched := map[string]int{}
	for i, e := range events {
		rules := t.worker.run(e)
		for _, r := range rules {
			matched[t.rs.rules[r].info.Title]++
		}
		o := &occurrence{time: e.Time, id: e.ID(), account: e.Account(), failed: t.worker.failed && len(rules) > 0, record: makeHandle(0, 0, i),
			inputs: cloneInputs(t.worker.inputs(e, rules))}
		k.take(o)
	}
	k.flush()
	switch {
	case fire && len(fired) == 0:
		var seen []string
		for _, r := range c.refs {
			seen = append(seen, fmt.Sprintf("%s: %d", strconv.Quote(r.title), matched[r.title]))
		}
		return fmt.Errorf("did not fire; events that matched its rules: %s", strings.Join(seen, ", "))
	case !fire && len(fired) > 0:
		return fmt.Errorf("fired: %s", fired[0])
	}
	return nil
}

// untested reports the rules without cases.
func (t *tester) untested() {
	miss := func(info Rule) {
		n := t.covered[info.File+"\x00"+info.Title]
		if n == nil {
			n = new([2]int)
		}
		for k, kind := range kinds {
			if n[k] == 0 {
				t.fault(info.File, info.Title, fmt.Sprintf("untested: it has no %s case", kind))
			}
		}
	}
	for _, r := range t.rs.rules {
		if !r.part && !t.feedsOwnFile(r) {
			miss(r.info)
		}
	}
	for _, c := range t.rs.correlations {
		if !t.passesToOwnFile(c) {
			miss(c.info)
		}
	}
	for _, o := range t.rs.off {
		if !strings.HasPrefix(o.Reason, "its log source") {
			t.fault(o.Rule.File, o.Rule.Title, "untested: "+o.Reason)
		}
	}
}

func (t *tester) feedsOwnFile(r *eventRule) bool {
	return !r.alerts && slices.ContainsFunc(r.feeds, func(f feed) bool { return t.rs.correlations[f.corr].info.File == r.info.File })
}

func (t *tester) passesToOwnFile(c *correlation) bool {
	return !c.alerts && slices.ContainsFunc(c.outs, func(f chainFeed) bool { return t.rs.correlations[f.corr].info.File == c.info.File })
}

// caseEvents makes the events of a case.
func caseEvents(c []member, defaults []member) ([]*event.Event, error) {
	absent, err := textList(find(c, "absent"))
	if err != nil {
		return nil, fmt.Errorf("absent: %w", err)
	}
	one, many := find(c, "event"), find(c, "events")
	switch {
	case one != nil && many != nil:
		return nil, errors.New("give either event or events")
	case one == nil && many == nil:
		return nil, errors.New("the case has no event")
	case one != nil:
		fields, err := members(one)
		if err != nil {
			return nil, fmt.Errorf("event: %w", err)
		}
		e, err := makeEvent(fields, defaults, absent, testStart, 0)
		if err != nil {
			return nil, fmt.Errorf("event: %w", err)
		}
		return []*event.Event{e}, nil
	}
	many = resolveAlias(many)
	if many.Kind != yaml.SequenceNode || len(many.Content) == 0 {
		return nil, errors.New("events is not a list of events")
	}
	var out []*event.Event
	for i, n := range many.Content {
		if out, err = repeated(out, n, i, defaults, absent); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
	}
	return out, nil
}

// repeated appends the events of one entry of a list.
func repeated(out []*event.Event, n *yaml.Node, place int, defaults []member, absent []string) ([]*event.Event, error) {
	fields, err := members(n)
	if err != nil {
		return nil, err
	}
	at, err := duration(find(fields, "at"), time.Duration(place)*time.Second)
	if err != nil {
		return nil, fmt.Errorf("at: %w", err)
	}
	every, err := duration(find(fields, "every"), 0)
	if err != nil {
		return nil, fmt.Errorf("every: %w", err)
	}
	repeat := 1
	if v := find(fields, "repeat"); v != nil {
		if repeat, err = strconv.Atoi(v.Value); err != nil || repeat < 1 {
			return nil, fmt.Errorf("repeat: %q is not a number from 1 on", v.Value)
		}
	}
	own, err := textList(find(fields, "absent"))
	if err != nil {
		return nil, fmt.Errorf("absent: %w", err)
	}
	if find(fields, "eventTime") != nil && (find(fields, "at") != nil || repeat > 1) {
		return nil, errors.New("eventTime goes with neither at nor repeat")
	}
	fields = slices.DeleteFunc(slices.Clone(fields), func(m member) bool {
		return m.key == "at" || m.key == "every" || m.key == "repeat" || m.key == "absent"
	})
	if len(out)+repeat > maxTestEvents {
		return nil, fmt.Errorf("a case has more than %d events", maxTestEvents)
	}
	for i := range repeat {
		when := testStart.Add(at + time.Duration(i)*every)
		e, err := makeEvent(fields, defaults, slices.Concat(absent, own), when, len(out))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

// standard are the fields that an event of a test has unless they are written otherwise.
var standard = []struct{ key, value string }{
	{"eventVersion", `"1.11"`},
	{"userIdentity", `{"type":"IAMUser","principalId":"AIDAEXAMPLEANA000001","arn":"arn:aws:iam::111122223333:user/ana","accountId":"111122223333","accessKeyId":"AKIAEXAMPLEANA000001","userName":"ana"}`},
	{"eventTime", ""},
	{"eventSource", ""},
	{"eventName", ""},
	{"awsRegion", `"us-east-1"`},
	{"sourceIPAddress", `"203.0.113.10"`},
	{"userAgent", `"aws-cli/2.17.0 md/awscrt#0.21.2 ua/2.0 os/linux#6.8.0 lang/python#3.11.8"`},
	{"requestParameters", "null"},
	{"responseElements", "null"},
	{"eventID", ""},
	{"eventType", `"AwsApiCall"`},
	{"managementEvent", "true"},
	{"recipientAccountId", `"111122223333"`},
	{"eventCategory", `"Management"`},
}

// makeEvent lays the written fields over the file's defaults over the standard ones. A field is replaced whole; absent ones
// are taken out, unless the case itself writes them.
func makeEvent(fields, defaults []member, absent []string, at time.Time, number int) (*event.Event, error) {
	var b bytes.Buffer
	budget := maxTestNodes
	put := func(key string, n *yaml.Node, text string) error {
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		quoted, err := json.Marshal(key)
		if err != nil {
			return err
		}
		b.Write(quoted)
		b.WriteByte(':')
		if n == nil {
			b.WriteString(text)
			return nil
		}
		if err := writeJSON(&b, n, maxTestDepth, &budget); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	b.WriteByte('{')
	gone := func(key string) bool { return slices.Contains(absent, key) }
	for _, s := range standard {
		text := s.value
		switch s.key {
		case "eventTime":
			text = strconv.Quote(at.Format(time.RFC3339))
		case "eventID":
			text = fmt.Sprintf(`"00000000-0000-4000-8000-%012d"`, number+1)
		}
		n := cmp.Or(find(fields, s.key), find(defaults, s.key))
		if n == nil && text == "" || gone(s.key) && find(fields, s.key) == nil {
			continue
		}
		if err := put(s.key, n, text); err != nil {
			return nil, err
		}
	}
	isStandard := func(key string) bool {
		return slices.ContainsFunc(standard, func(s struct{ key, value string }) bool { return s.key == key })
	}
	for _, m := range defaults {
		if !isStandard(m.key) && find(fields, m.key) == nil && !gone(m.key) {
			if err := put(m.key, m.value, ""); err != nil {
				return nil, err
			}
		}
	}
	for _, m := range fields {
		if !isStandard(m.key) {
			if err := put(m.key, m.value, ""); err != nil {
				return nil, err
			}
		}
	}
	b.WriteByte('}')
	e, err := event.Parse(b.Bytes())
	if err != nil {
		return nil, err
	}
	e.File = "test"
	if e.Time == 0 && !gone("eventTime") {
		return nil, fmt.Errorf("eventTime %q is not a time", e.Text(event.EventTime))
	}
	return e, nil
}

// member is a key of a YAML map with its value.
type member struct {
	key   string
	value *yaml.Node
}

func resolveAlias(n *yaml.Node) *yaml.Node {
	for i := 0; n != nil && i < 100; i++ {
		switch {
		case n.Kind == yaml.AliasNode:
			n = n.Alias
		case n.Kind == yaml.DocumentNode && len(n.Content) == 1:
			n = n.Content[0]
		default:
			return n
		}
	}
	return n
}

// members gives the keys of a map in order, merge keys (<<) included.
func members(n *yaml.Node) ([]member, error) { return membersWithin(n, maxMerges) }

func membersWithin(n *yaml.Node, depth int) ([]member, error) {
	if depth == 0 {
		return nil, errors.New("maps are merged too deep")
	}
	n = resolveAlias(n)
	if n == nil || n.Kind != yaml.MappingNode {
		return nil, errors.New("not a map")
	}
	var out, merged []member
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.ShortTag() == "!!merge" {
			from := []*yaml.Node{v}
			if r := resolveAlias(v); r != nil && r.Kind == yaml.SequenceNode {
				from = r.Content
			}
			for _, f := range from {
				more, err := membersWithin(f, depth-1)
				if err != nil {
					return nil, fmt.Errorf("<<: %w", err)
				}
				merged = append(merged, more...)
			}
			continue
		}
		if find(out, k.Value) != nil {
			return nil, fmt.Errorf("line %d: the key %q is there twice", k.Line, k.Value)
		}
		out = append(out, member{k.Value, v})
	}
	for _, m := range merged {
		if find(out, m.key) == nil {
			out = append(out, m)
		}
	}
	return out, nil
}

func find(ms []member, key string) *yaml.Node {
	for _, m := range ms {
		if m.key == key {
			return resolveAlias(m.value)
		}
	}
	return nil
}

func unknown(ms []member, known ...string) string {
	for _, m := range ms {
		if !slices.Contains(known, m.key) {
			return m.key
		}
	}
	return ""
}

func scalar(n *yaml.Node) string {
	if n == nil {
		return ""
	}
	return n.Value
}

func textList(n *yaml.Node) ([]string, error) {
	if n == nil {
		return nil, nil
	}
	if n.Kind == yaml.ScalarNode {
		return []string{n.Value}, nil
	}
	var out []string
	for _, c := range n.Content {
		if n.Kind != yaml.SequenceNode || c.Kind != yaml.ScalarNode {
			return nil, errors.New("not a list of names")
		}
		out = append(out, c.Value)
	}
	return out, nil
}

func duration(n *yaml.Node, otherwise time.Duration) (time.Duration, error) {
	if n == nil {
		return otherwise, nil
	}
	d, err := time.ParseDuration(n.Value)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration such as 90s, 15m or 36h", n.Value)
	}
	return d, nil
}

// writeJSON writes a YAML value as JSON. Dates stay text; budget bounds what aliases can expand to.
func writeJSON(b *bytes.Buffer, n *yaml.Node, depth int, budget *int) error {
	n = resolveAlias(n)
	if *budget--; depth == 0 || *budget < 0 {
		return errors.New("the value is nested too deep or too large")
	}
	switch n.Kind {
	case yaml.MappingNode:
		ms, err := members(n)
		if err != nil {
			return err
		}
		b.WriteByte('{')
		for i, m := range ms {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeText(b, m.key); err != nil {
				return err
			}
			b.WriteByte(':')
			if err := writeJSON(b, m.value, depth-1, budget); err != nil {
				return err
			}
		}
		b.WriteByte('}')
		return nil
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, c, depth-1, budget); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	switch n.ShortTag() {
	case "!!null":
		b.WriteString("null")
	case "!!bool":
		b.WriteString(strings.ToLower(n.Value))
	case "!!int", "!!float":
		if json.Valid([]byte(n.Value)) {
			b.WriteString(n.Value)
			return nil
		}
		var f float64
		if err := n.Decode(&f); err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("%q is not a number of JSON", n.Value)
		}
		b.WriteString(strconv.FormatFloat(f, 'f', -1, 64))
	default:
		return writeText(b, n.Value)
	}
	return nil
}

func writeText(b *bytes.Buffer, s string) error {
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	b.Write(text)
	return nil
}
