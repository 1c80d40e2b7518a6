package detect

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"spoor/internal/match/sigma"
)

func filesOf(texts map[string]string) fs.FS {
	out := fstest.MapFS{}
	for name, text := range texts {
		out[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return out
}

// state tells of each rule whether it runs and alerts ("title", "title (feeds)", "title off: reason").
func state(rs *Ruleset) []string {
	var out []string
	for _, r := range rs.Rules() {
		s := r.Title
		if !r.Alerts {
			s += " (feeds)"
		}
		out = append(out, s)
	}
	for _, o := range rs.Off() {
		out = append(out, o.Rule.Title+" off: "+o.Reason)
	}
	slices.Sort(out)
	return out
}

func reasons(problems []sigma.Problem) []string {
	var out []string
	for _, p := range problems {
		mark := "note "
		if p.Fatal {
			mark = "fatal "
		}
		out = append(out, mark+p.Title+": "+p.Reason)
	}
	slices.Sort(out)
	return out
}

func TestLoad(t *testing.T) {
	t.Parallel()
	count := func(title, rules, rest string) string {
		return correlationDoc(title, "event_count", rules, "  condition: {gte: 2}\n"+rest)
	}
	for _, c := range []struct {
		name     string
		files    map[string]string
		opt      Options
		want     []string
		problems []string
	}{
		{name: "references by id, name and title, whatever the order of documents",
			files: map[string]string{"a.yml": count("X", "ID-1, by_name, By title", ""), "b.yml": rule("One", "A", "id: id-1") + rule("Two", "B", "name: by_name") + rule("By title", "C")},
			want:  []string{"By title (feeds)", "One (feeds)", "Two (feeds)", "X"}},
		{name: "id before name before title",
			files: map[string]string{"a.yml": rule("x", "A", "id: other", "name: y") + rule("T2", "B", "name: x") + rule("T3", "C", "id: x") + count("C", "x", "")},
			want:  []string{"C", "T2", "T3 (feeds)", "x"}},
		{name: "of the same title, the one of the same file",
			files: map[string]string{"a.yml": rule("Same", "A", "id: a1"), "b.yml": count("C", "Same", "") + rule("Same", "B", "id: b1")},
			want:  []string{"C", "Same", "Same (feeds)"}},
		{name: "generate", files: map[string]string{"a.yml": count("X", "A", "  generate: true\n") + rule("A", "A")}, want: []string{"A", "X"}},
		{name: "generate of one of two", files: map[string]string{"a.yml": count("X", "A", "  generate: true\n") + count("Y", "A", "") + rule("A", "A")}, want: []string{"A", "X", "Y"}},
		{name: "an enabled rule keeps alerting", files: map[string]string{"a.yml": count("X", "A", "") + rule("A", "A")}, opt: Options{Enable: []string{"a"}}, want: []string{"A", "X"}},
		{name: "a correlation that is off does not silence", files: map[string]string{"a.yml": strings.Replace(count("X", "A", ""), "level", "status: deprecated\nlevel", 1) + rule("A", "A")},
			want: []string{"A", "X off: status deprecated"}},
		{name: "status", files: map[string]string{"a.yml": rule("A", "A", "status: deprecated") + rule("B", "B", "status: unsupported") + rule("C", "C", "status: experimental")},
			want: []string{"A off: status deprecated", "B off: status unsupported", "C"}},
		{name: "status, enabled", files: map[string]string{"a.yml": rule("A", "A", "status: deprecated", "id: i1") + rule("B", "B", "status: unsupported")}, opt: Options{Enable: []string{"I1"}},
			want: []string{"A", "B off: status unsupported"}},
		{name: "status, all enabled", files: map[string]string{"a.yml": rule("A", "A", "status: deprecated")}, opt: Options{EnableDeprecated: true}, want: []string{"A"}},
		{name: "a deprecated rule still feeds", files: map[string]string{"a.yml": rule("A", "A", "status: deprecated") + count("X", "A", "  generate: true\n")}, want: []string{"A (feeds)", "X"}},
		{name: "disabled", files: map[string]string{"a.yml": rule("A", "A") + rule("B", "B") + count("X", "A", "") + count("Y", "X", "")}, opt: Options{Disable: []string{"A"}},
			want: []string{"A off: switched off", "B", "X off: it refers to \"A\", which is switched off", "Y off: it refers to \"X\", which does not run"}},
		{name: "log source", files: map[string]string{"a.yml": strings.Replace(rule("A", "A"), "product: aws, service: cloudtrail", "product: windows, category: process_creation", 1) +
			strings.Replace(rule("B", "B"), ", service: cloudtrail", "", 1) + count("X", "A", "")},
			want:     []string{"A off: its log source is not CloudTrail: windows/process_creation", "B"},
			problems: []string{"fatal X: it refers to \"A\": its log source is not CloudTrail: windows/process_creation"}},
		{name: "unresolved", files: map[string]string{"a.yml": rule("A", "A") + count("X", "A, nothing", "") + count("Y", "X", "")}, want: []string{"A"},
			problems: []string{`fatal X: it refers to "nothing", which is not loaded`, `fatal Y: it refers to "X", which could not be loaded`}},
		{name: "itself", files: map[string]string{"a.yml": count("X", "X", "")}, problems: []string{`fatal X: it refers to itself, by way of "X"`}},
		{name: "a ring", files: map[string]string{"a.yml": count("X", "Y", "") + count("Y", "Z", "") + count("Z", "X", "")},
			problems: []string{`fatal X: it refers to "Y", which could not be loaded`, `fatal Y: it refers to "Z", which could not be loaded`, `fatal Z: it refers to itself, by way of "X"`}},
		{name: "the same id twice", files: map[string]string{"a.yml": rule("A", "A", "id: i1"), "b.yml": rule("B", "B", "id: I1")}, want: []string{"A"},
			problems: []string{`fatal B: the id I1 is that of "A" in a.yml: the first is kept`}},
		{name: "a broken document", files: map[string]string{"a.yml": "title: Bad\nlogsource: {product: aws}\ndetection: {s: {a|nosuch: 1}, condition: s}\n---\n" + rule("A", "A"), "b.yml": "{{{\n"},
			want: []string{"A"}, problems: nil},
		{name: "tests and hidden files are no rules", files: map[string]string{"a.yml": rule("A", "A"), "a.test.yml": "fire: []\n", ".b.yml": "x", ".git/c.yml": "x", "README.md": "x", "d.test.yaml": "x"}, want: []string{"A"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.opt.Sources = []Source{{Name: "test", FS: filesOf(c.files)}}
			rs, problems, err := Load(t.Context(), c.opt)
			if err != nil {
				t.Fatal(err)
			}
			if got := state(rs); !slices.Equal(got, c.want) {
				t.Errorf("rules\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.want, "\n  "))
			}
			if c.name == "a broken document" {
				if len(problems) != 2 || !problems[0].Fatal || problems[0].File != "a.yml" || problems[0].Doc != 1 || !problems[1].Fatal || problems[1].File != "b.yml" {
					t.Errorf("problems %+v", problems)
				}
				_, _, err := Load(t.Context(), Options{Sources: c.opt.Sources, Strict: true})
				if !errors.Is(err, ErrStrict) {
					t.Errorf("strict: %v", err)
				}
				return
			}
			if got := reasons(problems); !slices.Equal(got, c.problems) {
				t.Errorf("problems\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(c.problems, "\n  "))
			}
		})
	}
}

func TestLoadPaths(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "mine", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"mine/sub/a.yml": rule("A", "A", "id: a"), "one.rule": rule("B", "B", "id: b")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rs := mustLoad(t, Options{Strict: true, Sources: []Source{{Path: filepath.Join(dir, "mine")}, {Path: filepath.Join(dir, "one.rule")},
		{Name: "pack", FS: filesOf(map[string]string{"again.yml": rule("C", "C", "id: A")})}}})
	rules := rs.Rules()
	if len(rules) != 2 || rules[0].Suite != "mine" || rules[0].File != filepath.Join(dir, "mine", "sub", "a.yml") || rules[1].Suite != "one.rule" {
		t.Errorf("%+v", rules)
	}
	if r, ok := rs.Find("b"); !ok || r.Title != "B" {
		t.Errorf("found %+v", r)
	}
	if _, ok := rs.Find("C"); ok {
		t.Error("found a rule that was not kept")
	}
	if p := rs.Problems(); len(p) != 1 || p[0].Fatal || !strings.Contains(p[0].Reason, "the first is kept") {
		t.Errorf("the same rule through two suites: %+v", p)
	}
	if _, _, err := Load(t.Context(), Options{Sources: []Source{{Path: filepath.Join(dir, "none")}}}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder that is not there: %v", err)
	}
}

func TestFiltersApply(t *testing.T) {
	t.Parallel()
	rs := rulesOf(t, rule("A", "A")+rule("B", "B")+correlationDoc("X", "event_count", "A, B", "  condition: {gte: 1}\n  generate: true\n")+
		"title: Not by robots\nlogsource: {product: aws, service: cloudtrail}\nfilter:\n  rules: [A]\n  selection: {userIdentity.userName: robot}\n  condition: not selection\n")
	res := batchOf(t, rs, BatchOptions{}, 1, events(t, []rec{{name: "A", user: "robot"}, {name: "B", user: "robot", at: time.Second}, {name: "A", at: 2 * time.Hour}}))
	var got []string
	for _, f := range res.Findings {
		got = append(got, strings.TrimSpace(f.Rule.Title+" "+f.Actor.Name+" "+strings.Join(f.EventIDs, " ")))
	}
	slices.Sort(got)
	if want := []string{"A ana", "B robot", "X robot id-000001"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Every published rule of the suites beside the project loads; the retired aggregations become correlations.
func TestSharedSigma(t *testing.T) {
	t.Parallel()
	dir := shared(t, "rules/sigma")
	opt := Options{Strict: true, EnableDeprecated: true, Placeholders: map[string][]string{"SourceIPs": {"198.51.100.*"}, "SourceCountries": {"Nowhere"}, "allowed_ips": {"198.51.100.*"}}}
	for _, sub := range []string{"rules", "unsupported"} {
		opt.Sources = append(opt.Sources, Source{Path: filepath.Join(dir, sub)})
	}
	rs := mustLoad(t, opt)
	if rules, corrs := rs.Count(); rules != 34 || corrs != 5 || len(rs.Off()) != 0 {
		t.Errorf("%d rules, %d correlations, off %+v", rules, corrs, rs.Off())
	}
	off := mustLoad(t, Options{Sources: opt.Sources, Strict: true})
	if _, corrs := off.Count(); corrs != 0 || len(off.Off()) != 5 {
		t.Errorf("unsupported rules are on: %d correlations, %d off", corrs, len(off.Off()))
	}
}

func TestRetiredAggregations(t *testing.T) {
	t.Parallel()
	dir := shared(t, "rules/sigma/unsupported")
	rs := mustLoad(t, Options{Sources: []Source{{Path: dir}}, Strict: true, EnableDeprecated: true})
	call := func(n int, every time.Duration, source, name, params string) []rec {
		var out []rec
		for i := range n {
			out = append(out, rec{at: time.Duration(i) * every, name: name, params: params, source: source + ".amazonaws.com"})
		}
		return out
	}
	fired := func(recs []rec) []string {
		evs := events(t, recs)
		var out []string
		for _, f := range batchOf(t, rs, BatchOptions{}, 1, evs).Findings {
			out = append(out, f.Rule.Title)
		}
		slices.Sort(out)
		return out
	}
	for _, c := range []struct {
		name string
		recs []rec
		want []string
	}{
		{"11 user data reads", call(11, time.Minute, "ec2", "DescribeInstanceAttribute", `{"attribute":"userData"}`), []string{"AWS EC2 Download Userdata"}},
		{"10 user data reads", call(10, time.Minute, "ec2", "DescribeInstanceAttribute", `{"attribute":"userData"}`), nil},
		{"11 user data reads over more than the timeframe", call(11, 4*time.Minute, "ec2", "DescribeInstanceAttribute", `{"attribute":"userData"}`), nil},
		{"6 backup questions", call(6, time.Second, "ec2", "DescribeVolumes", "null"), []string{"Potential Backup Enumeration on AWS"}},
		{"5 backup questions", call(5, time.Second, "ec2", "DescribeVolumes", "null"), nil},
		{"6 network questions", call(6, time.Second, "ec2", "DescribeDhcpOptions", "null"), []string{"Potential Network Enumeration on AWS"}},
		{"6 storage questions", call(6, time.Second, "s3", "ListBuckets", "null"), []string{"Potential Storage Enumeration on AWS"}},
		{"created and invoked", append(call(1, 0, "lambda", "CreateFunction", "null"), call(1, 0, "lambda", "Invoke", "null")...), []string{"AWS Lambda Function Created or Invoked"}},
		{"created only", call(3, 0, "lambda", "CreateFunction", "null"), nil},
	} {
		if got := fired(c.recs); !slices.Equal(got, c.want) {
			t.Errorf("%s: fired %q, want %q", c.name, got, c.want)
		}
	}
}
