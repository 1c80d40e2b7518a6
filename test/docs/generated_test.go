package docs_test

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"spoor/internal/detect"
	"spoor/internal/event"
	"spoor/internal/match/sigma"
	"spoor/rules"
)

// TestFields keeps docs/formats/fields.md equal to the table of typed fields.
func TestFields(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(`# Typed fields

<!-- Written from event.Fields by: go test ./test/docs -update -->

These fields are found in the one pass over a record. Any other path works too, in rules and in ` + "`spoor search`" + `; it is
looked up when asked for. Paths are written as CloudTrail writes them; a key that differs only in case counts where
the exact one is missing. Every field can be missing or null. [record.md](record.md) says how paths are walked.

| path | type | what it is |
|---|---|---|
`)
	for _, f := range event.Fields {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Path, f.Type, cell(f.Doc))
	}
	fmt.Fprintf(&b, "\n%d fields.\n", len(event.Fields))
	generated(t, "docs/formats/fields.md", b.String())
}

// TestPack keeps docs/detection/pack.md equal to the built-in pack.
func TestPack(t *testing.T) {
	t.Parallel()
	set, problems, err := detect.Load(t.Context(), detect.Options{Sources: []detect.Source{{Name: "spoor", FS: rules.FS}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if p.Fatal {
			t.Error(p)
		}
	}
	signals := map[string][]string{}
	err = fs.WalkDir(rules.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.HasSuffix(name, ".test.yml") {
			return err
		}
		text, err := fs.ReadFile(rules.FS, name)
		if err != nil {
			return err
		}
		docs, _ := sigma.Parse(name, text, sigma.Options{})
		for _, r := range docs.Rules {
			signals[r.ID] = r.Spoor.Signals
		}
		for _, c := range docs.Correlations {
			signals[c.ID] = c.Spoor.Signals
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	byFolder := map[string][]detect.RuleState{}
	levels := map[detect.Level]int{}
	for _, r := range set.Rules() {
		if !r.Alerts && path.Dir(r.File) == "correlations" {
			continue // base rules of a correlation in the same file
		}
		byFolder[path.Dir(r.File)] = append(byFolder[path.Dir(r.File)], r)
		levels[r.Level]++
	}
	events, correlations := set.Count()
	var b strings.Builder
	fmt.Fprintf(&b, `# The built-in pack

<!-- Written from rules/ by: go test ./test/docs -update -->

%d event rules and %d correlations, in Sigma, part of the program. Techniques are numbered as in ATT&CK %s;
`+"`spoor rules coverage`"+` gives the earlier numbers too. Controls are those of the CIS AWS Foundations Benchmark's
monitoring section. Signals are the names that other services give to the idea.
[rules/README.md](../../rules/README.md) has the house style and what the levels mean. `+"`spoor rules show TITLE`"+` prints a
rule whole. Event rules that only feed a correlation of their own file are not listed.

| level | rules |
|---|---:|
`, events, correlations, detect.AttackVersion)
	for l := detect.Critical; l >= detect.Informational; l-- {
		fmt.Fprintf(&b, "| %s | %d |\n", l, levels[l])
	}
	folders := make([]string, 0, len(byFolder))
	for f := range byFolder {
		folders = append(folders, f)
	}
	slices.Sort(folders)
	for _, folder := range folders {
		list := byFolder[folder]
		slices.SortFunc(list, func(a, b detect.RuleState) int {
			return cmp.Or(cmp.Compare(b.Level, a.Level), strings.Compare(a.Title, b.Title), strings.Compare(a.ID, b.ID))
		})
		fmt.Fprintf(&b, "\n## %s\n\n| title | level | techniques | controls | signals |\n|---|---|---|---|---|\n", folder)
		for _, r := range list {
			title := "[" + cell(r.Title) + "](../../rules/" + r.File + ")"
			if !r.Alerts {
				title += " (feeds correlations)"
			}
			var ids []string
			for _, technique := range r.Techniques {
				ids = append(ids, technique.ID)
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", title, r.Level, strings.Join(ids, " "), cell(strings.Join(r.Controls, " ")),
				cell(strings.Join(signals[r.ID], ", ")))
		}
	}
	generated(t, "docs/detection/pack.md", b.String())
}

// cell makes text fit for a cell of a table.
func cell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;").Replace(strings.TrimSpace(s))
}
