package arch

import (
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"spoor/test/kit"
)

func TestHouse(t *testing.T) {
	t.Parallel()
	dir, err := kit.Root()
	if err != nil {
		t.Fatal(err)
	}
	pkgs, fset, err := load(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, must := range []string{"cmd/spoor", "internal/cli", "internal/event", "internal/match/sigma", "internal/detect", "rules", "test/arch"} {
		if !slices.ContainsFunc(pkgs, func(p *pkg) bool { return p.dir == must }) {
			t.Errorf("%s was not looked at", must)
		}
	}
	for _, w := range slices.Concat(direction(pkgs), comments(pkgs), state(pkgs, fset)) {
		t.Error(w)
	}
}

// TestCracks shows that each kind of crack is seen.
func TestCracks(t *testing.T) {
	t.Parallel()
	tree := fstest.MapFS{}
	for name, src := range map[string]string{
		"internal/event/a.go":             "// Package event is ours.\npackage event\nimport _ \"spoor/internal/match\"\n",
		"internal/match/a.go":             "// Package match is ours.\npackage match\nimport (\n_ \"spoor/internal/event\"\n_ \"spoor/internal/detect\"\n)\n",
		"internal/match/bus/a.go":         "// Package bus is ours.\npackage bus\nimport (\n_ \"spoor/internal/match\"\n_ \"spoor/internal/event\"\n)\n",
		"internal/detect/a.go":            "// Package detect is ours.\npackage detect\nimport _ \"spoor/internal/store/duckdb\"\n",
		"internal/store/duckdb/a.go":      "// Package duckdb is ours.\npackage duckdb\nimport _ \"spoor/internal/console/page\"\n",
		"internal/console/page/a.go":      "// Package page is ours.\npackage page\n",
		"internal/app/a.go":               "// Package app is ours.\npackage app\nimport _ \"spoor/internal/console/page\"\n",
		"internal/cli/a.go":               "// Package cli is ours.\npackage cli\nimport _ \"spoor/internal/app\"\n",
		"internal/cli/a_test.go":          "package cli\nimport _ \"spoor/test/kit\"\n",
		"cmd/spoor/a.go":                  "// Command spoor is ours.\npackage main\nimport _ \"spoor/internal/cli\"\n",
		"cmd/other/a.go":                  "// Package main is not named by its command.\npackage main\nimport _ \"spoor/internal/event\"\n",
		"rules/a.go":                      "package rules\n",
		"test/kit/a.go":                   "// Package kit is ours.\npackage kit\nimport _ \"spoor/internal/detect\"\n",
		"internal/hunt/a.go":              "// Package hunt is ours.\npackage hunt\nimport _ \"spoor/internal/source/sourcetest\"\n",
		"internal/source/sourcetest/a.go": "// Package sourcetest is ours.\npackage sourcetest\n",
		"internal/state/a.go": `// Package state is ours.
package state
var table = map[string]int{}
var list []int
var local, count, other = 1, 2, struct{ x [2]int }{}
func init() {}
func change() { table["a"] = 1; count++; other.x[0] = 2 }
func keep() { local := 1; local = 2; _ = local; x := table; _ = x }
`,
		"internal/state/b.go":      "package state\nfunc more() { list = append(list, 1); delete(table, \"a\") }\nfunc fine(list []int) { list[0] = 1 }\n",
		"internal/state/a_test.go": "package state\nfunc undo() { table = nil }\n",
	} {
		tree[name] = &fstest.MapFile{Data: []byte(src)}
	}
	pkgs, fset, err := load(tree)
	if err != nil {
		t.Fatal(err)
	}
	got := slices.Concat(direction(pkgs), comments(pkgs), state(pkgs, fset))
	want := []string{
		`cmd/other imports internal/event; below cmd only ["internal/cli"] may be imported`,
		`the tests of internal/cli import test/kit`,
		`internal/detect imports internal/store/duckdb: both follow the journal`,
		`internal/event imports internal/match; below internal/event only ["internal/inflate"] may be imported`,
		`internal/hunt imports internal/source/sourcetest, which only [] may`,
		`internal/match imports internal/detect; below internal/match only ["internal/event"] may be imported`,
		`internal/store/duckdb imports internal/console/page, which only ["internal/app"] may`,
		`cmd/other: the package comment begins with "Package main is not named by i", not with "Command other "`,
		`rules: the package comment begins with "", not with "Package rules "`,
		`internal/state/a.go:6:1: init function`,
		`internal/state/a.go:7:17: changes the package-level variable table`,
		`internal/state/a.go:7:33: changes the package-level variable count`,
		`internal/state/a.go:7:42: changes the package-level variable other`,
		`internal/state/b.go:2:15: changes the package-level variable list`,
		`internal/state/b.go:2:46: changes the package-level variable table`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
